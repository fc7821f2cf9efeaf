//! A backend that closes its idle connections at random moments: some of them just when a request is on its way.

use crate::harness::client::Response;
use crate::harness::config::{Config, Driver};
use crate::harness::message::{Framing, Reader};
use crate::harness::proxy::Proxy;
use crate::harness::{DEADLINE, on_both_drivers, pause, size};
use fastrand::Rng;
use socket2::Socket;
use std::collections::HashMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

on_both_drivers![gets_never_fail, posts_are_never_delivered_twice];

/// How long an idle connection is kept at most, and how long a client waits at most between two requests.
const IDLE_US: u64 = 5_000;

/// Between its decision to close and the close: what comes in between is lost, as it is with real servers.
const CLOSING_US: u64 = 500;

/// Few, so that the connections that they share are idle most of the time.
const CLIENTS: usize = 3;

/// The backend. One of its own, because the harness's keeps a record of every connection, and there are too many here.
#[derive(Clone)]
struct IdleCloser {
    address: SocketAddr,
    /// How often each target came.
    delivered: Arc<Mutex<HashMap<String, usize>>>,
}

impl IdleCloser {
    /// Accepts until the process of the test ends.
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let backend = IdleCloser { address, delivered: Arc::default() };
        let accepting = backend.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let backend = accepting.clone();
                std::thread::spawn(move || backend.serve(&Arc::new(stream.into())));
            }
        });
        backend
    }

    /// Waits for the first request as long as it takes, and for each later one up to 5 ms.
    fn serve(&self, socket: &Arc<Socket>) {
        let mut rng = Rng::new();
        let mut reader = Reader::new(socket.clone(), |_| {});
        let timeout = |time| socket.set_read_timeout(Some(time)).expect("a read timeout");
        timeout(DEADLINE);
        while let Ok(head) = reader.head() {
            *self.delivered.lock().unwrap().entry(head.target().to_owned()).or_default() += 1;
            timeout(DEADLINE);
            let body = reader.body(Framing::of(&head.fields, Framing::None));
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            if body.is_err() || (&**socket).write_all(answer).is_err() {
                return;
            }
            timeout(Duration::from_micros(rng.u64(1..=IDLE_US)));
        }
        pause(Duration::from_micros(rng.u64(0..=CLOSING_US)));
    }
}

/// Sends requests from several clients, with pauses of up to 5 ms, and gives each answer to `check`; returns the log.
fn ask_all(
    driver: Driver,
    backend: &IdleCloser,
    method: &str,
    check: impl Fn(&str, &Response) + Sync,
) -> String {
    let url = format!("http://{}", backend.address);
    let mut proxy = Proxy::start(&Config::new(driver).rule("all", "/*", &url));
    // Of both drivers together: 5,000, and 100,000.
    let each = size(2_500, 50_000) / CLIENTS;
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (proxy, check) = (&proxy, &check);
            scope.spawn(move || {
                let mut rng = Rng::with_seed(number as u64);
                let mut client = proxy.client();
                for request in 0..each {
                    pause(Duration::from_micros(rng.u64(0..=IDLE_US)));
                    let target = format!("/{number}/{request}");
                    let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
                    check(&target, &client.ask(head));
                }
            });
        }
    });
    proxy.stop()
}

fn gets_never_fail(driver: Driver) {
    let backend = IdleCloser::start();
    let log = ask_all(driver, &backend, "GET", |target, answer| {
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{target}");
    });
    assert!(!log.contains(", 0 resends"), "no request met a connection that was closing: nothing was tested");
}

fn posts_are_never_delivered_twice(driver: Driver) {
    let backend = IdleCloser::start();
    let succeeded = Mutex::new(Vec::new());
    let log = ask_all(driver, &backend, "POST", |target, answer| match answer.status {
        200 => succeeded.lock().unwrap().push(target.to_owned()),
        _ => answer.assert_error(502, "upstream_closed"),
    });
    let delivered = backend.delivered.lock().unwrap();
    let twice: Vec<_> = delivered.iter().filter(|&(_, &times)| times > 1).collect();
    assert!(twice.is_empty(), "delivered more than once: {twice:?}");
    let succeeded = succeeded.into_inner().unwrap();
    assert!(succeeded.iter().all(|target| delivered.contains_key(target)), "a success that nobody gave");
    assert!(!succeeded.is_empty());
    assert!(
        log.contains("upstream_closed"),
        "no request met a connection that was closing: nothing was tested"
    );
}
