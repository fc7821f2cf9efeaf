//! A backend that closes each connection that has been idle for 5 ms: some of them just when a request is on its way.

use super::{Account, Extent};
use crate::harness::backends::response;
use crate::harness::client::Response;
use crate::harness::config::{Config, Driver};
use crate::harness::forgetful::{Call, Forgetful};
use crate::harness::proxy::Proxy;
use crate::harness::{DEADLINE, pause};
use fastrand::Rng;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long an idle connection is kept.
const IDLE_US: u64 = 5_000;

/// How long a client waits at most between two requests: mostly it comes before the backend's patience ends, and often
/// just then.
const PAUSE_US: u64 = 7_000;

/// Between its decision to close and the close: what comes in between is lost, as it is with real servers.
const CLOSING_US: u64 = 500;

/// Few, so that the connections that they share are idle most of the time.
const CLIENTS: usize = 3;

/// One request in so many finds for certain a connection that closes, however the machine deals with the times.
const SURE_EACH: u32 = 20;

/// Waits for the first request as long as it takes, and for each later one 5 ms; or closes just when that one has come.
fn serve(call: &mut Call) {
    call.wait(DEADLINE);
    while let Some(head) = call.delivery() {
        call.wait(DEADLINE);
        if call.body(&head).is_none() || !call.send(response("200 OK", "", b"ok")) {
            return;
        }
        if fastrand::u32(..SURE_EACH) == 0 {
            return call.until_something_comes();
        }
        call.wait(Duration::from_micros(IDLE_US));
    }
    pause(Duration::from_micros(fastrand::u64(0..=CLOSING_US)));
}

/// Sends `count` requests from several clients, with pauses, and gives each answer to `check`; returns the log.
fn ask_all(
    driver: Driver,
    backend: &Forgetful,
    method: &str,
    count: usize,
    check: impl Fn(&str, &Response) + Sync,
) -> String {
    let mut proxy = Proxy::start(&Config::new(driver).rule("all", "/*", &backend.url()));
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (proxy, check) = (&proxy, &check);
            scope.spawn(move || {
                let mut rng = Rng::with_seed(number as u64);
                let mut client = proxy.client();
                for request in (number..count).step_by(CLIENTS) {
                    pause(Duration::from_micros(rng.u64(0..=PAUSE_US)));
                    let target = format!("/{request}");
                    let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
                    check(&target, &client.ask(head));
                }
            });
        }
    });
    proxy.stop()
}

pub fn gets(driver: Driver, extent: Extent) -> Account {
    let (backend, count) = (Forgetful::script(serve), extent.of(2_500, 100_000));
    let log = ask_all(driver, &backend, "GET", count, |target, answer| {
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{target}");
    });
    assert!(!log.contains(", 0 resends"), "no request met a connection that was closing: nothing was tested");
    let closed = backend.accepts();
    vec![("GETs, all of them answered with 200", count), ("connections that the backend closed", closed)]
}

pub fn posts(driver: Driver, extent: Extent) -> Account {
    let (backend, count) = (Forgetful::script(serve), extent.of(2_500, 100_000));
    let succeeded = AtomicUsize::new(0);
    let log = ask_all(driver, &backend, "POST", count, |_, answer| match answer.status {
        200 => drop(succeeded.fetch_add(1, Ordering::SeqCst)),
        _ => answer.assert_error(502, "upstream_closed"),
    });
    let (delivered, succeeded) = (backend.delivered(), succeeded.into_inner());
    let twice: Vec<_> = delivered.iter().filter(|&(_, &times)| times > 1).collect();
    assert!(twice.is_empty(), "delivered more than once: {twice:?}");
    assert!((1..=delivered.len()).contains(&succeeded), "successes that nobody gave");
    assert!(
        log.contains("upstream_closed"),
        "no request met a connection that was closing: nothing was tested"
    );
    vec![
        ("POSTs, none of them delivered twice", count),
        ("of these answered with 200", succeeded),
        ("of these cut off by a connection that closed (502)", count - succeeded),
    ]
}
