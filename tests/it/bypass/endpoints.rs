//! Endpoints of a `forward` provider that fail, in every way: nobody comes in by that, and what is public stays so.

use super::House;
use crate::harness::backend::{Backend, Visit};
use crate::harness::config::Driver;
use crate::harness::on_both_drivers;

on_both_drivers![an_endpoint_that_fails_lets_nobody_in];

/// What it does, and the statuses that its client may get for it.
type Failure = (&'static str, fn(&mut Visit), &'static [u16]);

const FAILURES: &[Failure] = &[
    ("closes", |_| {}, &[503]),
    ("closes when it was asked", |visit| _ = visit.request(), &[503]),
    ("resets", |visit| _ = (visit.request(), visit.reset()), &[503]),
    ("is silent", |visit| _ = (visit.request(), visit.until_closed()), &[503]),
    ("says half a head", |visit| says(visit, "HTTP/1.1 200 OK\r\nX-User: al"), &[503]),
    ("says half a status", |visit| says(visit, "HTTP/1.1 20"), &[503]),
    ("is no HTTP", |visit| says(visit, "200 OK\r\n\r\n"), &[503]),
    ("is SSH", |visit| says(visit, "SSH-2.0-OpenSSH_9\r\n\r\n"), &[503]),
    ("is of another version", |visit| says(visit, "HTTP/2.0 200 OK\r\n\r\n"), &[503]),
    ("has no version", |visit| says(visit, "ICY 200 OK\r\n\r\n"), &[503]),
    (
        "has two lengths",
        |visit| says(visit, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na"),
        &[503],
    ),
    (
        "upgrades",
        |visit| says(visit, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        &[503],
    ),
    (
        "says only what comes before",
        |visit| says(visit, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n"),
        &[503],
    ),
    (
        "has a status of two digits",
        |visit| says(visit, "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
        &[503],
    ),
    (
        "has a status of four digits",
        |visit| says(visit, "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
        &[503],
    ),
    ("has status 600", |visit| says(visit, "HTTP/1.1 600 What\r\nContent-Length: 0\r\n\r\n"), &[503]),
    ("fails", |visit| says(visit, "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"), &[503]),
    (
        "is not there",
        |visit| says(visit, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
        &[503],
    ),
    (
        "says that something else has failed",
        |visit| says(visit, "HTTP/1.1 502 Bad Gateway\r\nX-User: alice\r\nContent-Length: 0\r\n\r\n"),
        &[503],
    ),
    ("finds nothing", |visit| says(visit, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), &[404]),
    (
        "wants credentials",
        |visit| says(visit, "HTTP/1.1 401 No\r\nX-User: alice\r\nContent-Length: 0\r\n\r\n"),
        &[401],
    ),
    (
        "sends elsewhere",
        |visit| says(visit, "HTTP/1.1 302 Found\r\nLocation: /api/health\r\nContent-Length: 0\r\n\r\n"),
        &[302],
    ),
    ("has changed nothing", |visit| says(visit, "HTTP/1.1 304 Not Modified\r\n\r\n"), &[304]),
    (
        "has too long a head",
        |visit| {
            says(
                visit,
                &format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "a".repeat(200_000)),
            )
        },
        &[503],
    ),
];

fn says(visit: &mut Visit, bytes: &str) {
    if visit.head().is_some() {
        visit.send(bytes);
    }
}

fn an_endpoint_that_fails_lets_nobody_in(driver: Driver) {
    for &(name, fails, statuses) in FAILURES {
        let house = House::with(driver, Backend::script(fails));
        let ask = |path: &str| {
            let line = super::SSO.line;
            house.send(&format!("GET {path} HTTP/1.1\r\nHost: sso.test\r\n{line}Connection: close\r\n\r\n"))
        };
        let (answer, came) = ask("/api/secret");
        assert!(came.is_empty(), "{name}: {came:?}\n{answer}");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        assert!(status.is_some_and(|status| statuses.contains(&status)), "{name}: {answer}");
        let (answer, came) = ask("/api/health");
        assert_eq!(came.len(), 1, "{name}: what is public needs no endpoint\n{answer}");
    }
    let (answer, came) = House::new(driver).send(&format!(
        "GET /api/secret HTTP/1.1\r\nHost: sso.test\r\n{}Connection: close\r\n\r\n",
        super::SSO.line
    ));
    assert_eq!(came.len(), 1, "one that does not fail lets it in:\n{answer}");
}
