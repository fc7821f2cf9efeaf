//! Clients that vanish, in each phase of an exchange: nothing of theirs stays open.

use crate::harness::backend::{Backend, Visit};
use crate::harness::backends::{HELLO, response};
use crate::harness::client::Client;
use crate::harness::config::{Config, Driver};
use crate::harness::crowd::raise_file_limit;
use crate::harness::proxy::Proxy;
use crate::harness::websocket::{handshake, switching};
use crate::harness::{on_both_drivers, size};

on_both_drivers![clients_that_vanish_leave_nothing_open];

/// Does what the target says.
fn serve(visit: &mut Visit) {
    while let Some(head) = visit.head() {
        match head.target() {
            "/silent" | "/upload" => visit.until_closed(),
            "/endless" => {
                visit.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
                while visit.send([b'x'; 16 * 1024]) {}
            }
            "/half" => {
                visit.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
                visit.until_closed();
            }
            "/tunnel" => {
                visit.send(switching(&head) + "hello");
                visit.until_closed();
            }
            _ => {
                visit.send(response("200 OK", "", HELLO));
            }
        }
    }
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// How far a client comes before it goes.
type Phase = fn(&mut Client);

const PHASES: [(&str, Phase); 11] = [
    ("connected", |_| {}),
    ("in an empty line", |client| {
        client.send("\r");
    }),
    ("in a head", |client| {
        client.send("GET / HTTP/1.1\r\nHos");
    }),
    ("after a request it did not wait for", |client| {
        client.send(get("/"));
    }),
    ("between requests", |client| assert_eq!(client.get("/").body, HELLO)),
    ("waiting for a response", |client| {
        client.send(get("/silent"));
    }),
    ("in an upload", |client| {
        client.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nthe beginning");
    }),
    ("in a chunk", |client| {
        client.send("POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nthe begin");
    }),
    ("in a response that stalls", |client| {
        assert_eq!(client.send(get("/half")).head().status(), 200);
        assert_eq!(client.exactly(4), b"half");
    }),
    ("in a response that it does not read", |client| {
        assert_eq!(client.send(get("/endless")).head().status(), 200);
        client.exactly(1_000_000);
    }),
    ("in a tunnel", |client| {
        assert_eq!(client.send(handshake("/tunnel", "")).head().status(), 101);
        assert_eq!(client.exactly(5), b"hello");
    }),
];

fn clients_that_vanish_leave_nothing_open(driver: Driver) {
    raise_file_limit();
    let backend = Backend::script(serve);
    let upstream =
        format!("[[upstreams]]\nname = \"u\"\nbackends = [{{ url = \"{}\" }}]\nkeepalive = 0", backend.url());
    let proxy = Proxy::start(&Config::new(driver).section(&upstream).rule_to("all", "/*", "u"));
    // With no connection yet, and none kept idle later.
    let before = proxy.descriptors();
    for (phase, reach) in PHASES {
        for round in 0..size(10, 500) {
            let mut client = proxy.client();
            reach(&mut client);
            if round % 2 == 0 { drop(client) } else { client.reset() }
        }
        assert_eq!(proxy.client().get("/").body, HELLO, "after clients that went {phase}");
        proxy.wait_for_descriptors(before);
        backend.wait_until_idle();
    }
}
