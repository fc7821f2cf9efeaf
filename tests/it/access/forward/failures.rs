//! Requests about which the endpoint has nothing to say that could be understood: whatever it does, nobody is let in.

use super::{config, get, guarding};
use crate::access_log::{logging, objects};
use crate::harness::backend::{Backend, Visit};
use crate::harness::backends::{HELLO, chunked_response, response};
use crate::harness::config::{Config, Driver};
use crate::harness::name_server::NameServer;
use crate::harness::proxy::Proxy;
use crate::harness::unreachable::{Refusing, Unaccepting};
use crate::harness::websocket::handshake;
use crate::harness::{held_address, on_both_drivers, pause};
use std::net::IpAddr;
use std::time::Duration;

on_both_drivers![
    who_refuses,
    who_does_not_accept,
    who_has_no_address,
    where_egress_does_not_lead,
    what_would_come_back_to_us,
    who_closes_or_resets,
    who_is_silent_or_slow,
    who_speaks_no_http,
    who_fails,
    who_switches_protocols,
    whose_body_breaks,
    who_does_not_end,
    a_long_body_of_a_2xx_is_read_to_its_end,
    an_upgrade_is_denied_too,
    the_connection_goes_on,
    it_is_told_in_both_logs,
];

/// Enough for a request that is not denied to come through.
const SHORT: &str = "timeout = \"300ms\"";

/// Asserts that a request is denied and that nothing of it reaches a backend.
#[track_caller]
fn assert_denied(driver: Driver, what: &str, url: &str, lines: &str) {
    let backend = Backend::says_hello();
    let proxy = Proxy::start(&config(driver, url, lines, &backend));
    let answer = proxy.client().ask(get("/", super::SESSION));
    assert_eq!(answer.status, 503, "{what}");
    answer.assert_error(503, "auth_unavailable");
    assert_eq!(backend.accepts(), 0, "{what}");
}

#[track_caller]
fn assert_all_denied<const COUNT: usize>(driver: Driver, lines: &str, endpoints: [(&str, Backend); COUNT]) {
    for (what, endpoint) in endpoints {
        assert_denied(driver, what, &endpoint.url(), lines);
        assert!(endpoint.requests() >= 1, "{what}");
    }
}

fn who_refuses(driver: Driver) {
    let refusing = Refusing::new();
    assert_denied(driver, "refuses", &refusing.url(), "");
}

fn who_does_not_accept(driver: Driver) {
    let unaccepting = Unaccepting::new();
    assert_denied(driver, "does not accept", &unaccepting.url(), SHORT);
}

fn who_has_no_address(driver: Driver) {
    assert_denied(driver, "an unset variable", "http://${NOBODY_SETS_THIS}/auth", "");
    assert_denied(driver, "no such name", "http://nowhere.invalid/auth", SHORT);
}

/// The name is harmless when the file is read; what it leads to is not.
fn where_egress_does_not_lead(driver: Driver) {
    let (server, backend) = (NameServer::start(), Backend::says_hello());
    server.has("app.test", 3600, &[IpAddr::from([169, 254, 169, 254])]);
    let config =
        config(driver, "http://app.test/auth", "", &backend).section(&NameServer::settings(&[&server]));
    Proxy::start(&config).client().get("/").assert_error(503, "auth_unavailable");
    assert_eq!(backend.accepts(), 0);
}

fn what_would_come_back_to_us(driver: Driver) {
    let (address, held) = held_address();
    let backend = Backend::says_hello();
    let url = format!("http://{address}/auth");
    let config = config(driver, &url, "", &backend).listeners(&[&address.to_string()]);
    drop(held);
    let proxy = Proxy::start(&config);
    proxy.client().get("/").assert_error(503, "auth_unavailable");
    assert_eq!(backend.accepts(), 0);
}

/// Reads a head, sends `bytes`, and does `then`.
fn begins(bytes: impl AsRef<[u8]>, then: impl Fn(&mut Visit) + Send + Sync + 'static) -> Backend {
    let bytes = bytes.as_ref().to_vec();
    Backend::script(move |visit| {
        if visit.head().is_some() {
            visit.send(&bytes);
            then(visit);
        }
    })
}

fn closes(bytes: impl AsRef<[u8]>) -> Backend {
    begins(bytes, |_| {})
}

fn resets(bytes: impl AsRef<[u8]>) -> Backend {
    begins(bytes, Visit::reset)
}

fn hangs(bytes: impl AsRef<[u8]>) -> Backend {
    begins(bytes, Visit::until_closed)
}

fn who_closes_or_resets(driver: Driver) {
    assert_all_denied(
        driver,
        "",
        [
            ("closes", closes("")),
            ("resets", resets("")),
            ("closes in its head", closes("HTTP/1.1 200 OK\r\nX-User: ann\r\n")),
            ("resets in its head", resets("HTTP/1.1 200 OK\r\nX-User: ann\r\n")),
            ("closes behind an interim head", closes("HTTP/1.1 100 Continue\r\n\r\n")),
            ("closes in its body", closes("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell")),
            ("resets in its body", resets("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell")),
            ("closes in a chunk", closes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhell")),
            (
                "closes before the last chunk",
                closes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n"),
            ),
            ("resets a body until close", resets("HTTP/1.1 200 OK\r\n\r\nhello")),
            ("closes in a body for the client", closes("HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nhell")),
            ("resets in a body for the client", resets("HTTP/1.1 403 No\r\n\r\nhell")),
        ],
    );
}

/// Sends `bytes` one by one, each long before its own silence would be too long.
fn trickles(bytes: impl AsRef<[u8]>) -> Backend {
    let bytes = bytes.as_ref().to_vec();
    Backend::script(move |visit| {
        visit.head();
        for byte in &bytes {
            pause(Duration::from_millis(50));
            if !visit.send([*byte]) {
                return;
            }
        }
    })
}

fn who_is_silent_or_slow(driver: Driver) {
    let long = format!("HTTP/1.1 200 OK\r\nX-User: {}\r\n\r\n", "a".repeat(500));
    let body = format!("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{}", "a".repeat(500));
    assert_all_denied(
        driver,
        SHORT,
        [
            ("never answers", Backend::never_answers()),
            ("hangs in its head", hangs("HTTP/1.1 200 OK\r\nX-User: ann\r\n")),
            ("hangs behind an interim head", hangs("HTTP/1.1 103 Early Hints\r\n\r\n")),
            ("hangs behind its head", hangs("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")),
            ("hangs in its body", hangs("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell")),
            ("hangs in a body until close", hangs("HTTP/1.1 200 OK\r\n\r\nhello")),
            (
                "hangs in its trailers",
                hangs("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n"),
            ),
            ("hangs in a body for the client", hangs("HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nhell")),
            ("hangs in a body for the client until close", hangs("HTTP/1.1 403 No\r\n\r\nhello")),
            ("trickles its head", trickles(long)),
            ("trickles its body", trickles(body.clone())),
            ("trickles a body for the client", trickles(body.replace("200 OK", "403 No"))),
        ],
    );
    let unread = Backend::never_reads();
    assert_denied(driver, "never reads", &unread.url(), SHORT);
}

fn who_speaks_no_http(driver: Driver) {
    let heads = [
        "garbage\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-User: a\nX-Admin: 1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-User: a\0\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 403 No\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    ];
    for head in heads {
        assert_all_denied(driver, SHORT, [(head, Backend::answers_with(head))]);
    }
}

fn who_fails(driver: Driver) {
    for status in [500, 501, 502, 503, 504, 511, 599, 600, 799, 999] {
        let endpoint =
            Backend::answers_with(response(&format!("{status} Broken"), "X-User: ann\r\n", b"stack trace"));
        assert_all_denied(driver, "copy_headers = [\"X-User\"]", [("fails", endpoint)]);
    }
}

fn who_switches_protocols(driver: Driver) {
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    assert_all_denied(driver, SHORT, [("switches", Backend::answers_with(head))]);
}

fn whose_body_breaks(driver: Driver) {
    let broken = [
        "zz\r\n",
        "5\r\nhello!\r\n",
        "5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
        "-1\r\n",
        "fffffffffffffffff\r\n",
    ];
    for chunk in broken {
        for status in ["200 OK", "403 No"] {
            let answer = format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
            assert_all_denied(driver, SHORT, [(chunk, Backend::answers_with(answer))]);
        }
    }
}

/// Sends `bytes` again and again behind `head`, until the proxy has gone.
fn goes_on(head: &str, bytes: &str) -> Backend {
    let (head, bytes) = (head.to_owned(), bytes.repeat(100));
    Backend::script(move |visit| {
        visit.head();
        visit.send(&head);
        while visit.send(&bytes) {}
    })
}

fn who_does_not_end(driver: Driver) {
    assert_all_denied(
        driver,
        "",
        [
            ("interim heads", goes_on("", "HTTP/1.1 100 Continue\r\n\r\n")),
            ("a head", goes_on("HTTP/1.1 200 OK\r\n", "X-User: ann\r\n")),
            ("a line", goes_on("HTTP/1.1 200 OK\r\nX-User: ", "aaaaaaaaaaaaaaaa")),
            ("trailers", goes_on("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "A: b\r\n")),
            (
                "a chunk's line",
                goes_on("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", "aaaaaaaaaaaaaaaa"),
            ),
            ("a body that nobody gets", goes_on("HTTP/1.1 200 OK\r\n\r\n", "aaaaaaaaaaaaaaaa")),
            ("a body for the client", goes_on("HTTP/1.1 403 No\r\n\r\n", "aaaaaaaaaaaaaaaa")),
            (
                "chunks for the client",
                goes_on("HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n"),
            ),
        ],
    );
}

/// The head says all; but an answer is one once it is whole.
fn a_long_body_of_a_2xx_is_read_to_its_end(driver: Driver) {
    let (backend, body) = (Backend::says_hello(), vec![b'x'; 4 * 1024 * 1024]);
    for answer in [response("200 OK", "", &body), chunked_response("", &body, 100_000, "")] {
        let endpoint = Backend::answers_with(&answer);
        let proxy = guarding(driver, &endpoint, "", &backend);
        (0..3).for_each(|_| assert_eq!(proxy.client().get("/").body, HELLO));
        assert_eq!(endpoint.accepts(), 1, "the connection is kept");
        let cut = Backend::answers_and_closes(&answer[..answer.len() - 1]);
        let proxy = guarding(driver, &cut, "", &backend);
        proxy.client().get("/").assert_error(503, "auth_unavailable");
    }
}

fn an_upgrade_is_denied_too(driver: Driver) {
    let backend = Backend::echoes_messages();
    for endpoint in [closes(""), Backend::answers_with(response("500 Broken", "", b""))] {
        let proxy = guarding(driver, &endpoint, "", &backend);
        proxy.client().ask(handshake("/", "")).assert_error(503, "auth_unavailable");
    }
    assert_eq!(backend.accepts(), 0);
}

fn the_connection_goes_on(driver: Driver) {
    let endpoint = Backend::answers(|request| match request.head.fields.get("x-forwarded-uri") {
        Some("/broken") => response("500 Broken", "", b""),
        _ => response("200 OK", "", b""),
    });
    let backend = Backend::says_hello();
    let proxy = guarding(driver, &endpoint, "", &backend);
    let mut client = proxy.client();
    for _ in 0..3 {
        client.get("/broken").assert_error(503, "auth_unavailable");
        let post = client.ask("POST /broken HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello");
        post.assert_error(503, "auth_unavailable");
        assert_eq!(client.get("/").body, HELLO);
    }
    assert_eq!(backend.requests(), 3);
}

fn it_is_told_in_both_logs(driver: Driver) {
    let (endpoint, backend) = (closes(""), Backend::says_hello());
    let of = |name: &str, path: &str| {
        format!(
            "[[auth]]\nname = \"{name}\"\ntype = \"forward\"\nurl = \"{}\"\n\
             [[rules]]\nname = \"{name}\"\npath = \"{path}\"\ntarget = \"{}\"\nauth = \"{name}\"\n",
            endpoint.url(),
            backend.url()
        )
    };
    let config = Config::new(driver).section(&of("other", "/other")).section(&of("sso", "/"));
    let proxy = logging(config, "");
    for target in ["/", "/", "/other", "/other", "/"] {
        proxy.client().get(target).assert_error(503, "auth_unavailable");
    }
    for line in objects(&proxy, 5) {
        assert_eq!((line["code"].as_str(), line["status"].as_u64()), (Some("auth_unavailable"), Some(503)));
        assert_eq!(line["rule"].as_str(), Some(if line["target"] == "/" { "sso" } else { "other" }));
    }
    let log = proxy.log().text();
    let said: Vec<_> = log.lines().filter(|line| line.contains("an endpoint gave no verdict")).collect();
    assert_eq!(said.len(), 2, "a log is not filled by asking again and again: {said:?}");
    assert!(said[0].contains("provider=\"sso\"") && said[1].contains("provider=\"other\""), "{said:?}");
}
