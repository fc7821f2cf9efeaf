//! Timeouts: slow heads, slow bodies, peers that never read, backends that never answer. Each ends at its limit with the
//! right status, and gives back what it held.
//!
//! Limits are short here, and only the outcome is asserted, never how long it took.

use crate::harness::backend::Backend;
use crate::harness::backends::{HELLO, response};
use crate::harness::client::Client;
use crate::harness::config::{Config, Driver};
use crate::harness::message::Ending;
use crate::harness::proxy::Proxy;
use crate::harness::unreachable::{Refusing, Unaccepting};
use crate::harness::{on_both_drivers, pause};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

on_both_drivers![
    a_client_that_says_nothing_is_closed_silently,
    an_idle_client_is_closed_silently,
    a_slow_head_gets_408,
    a_head_that_drips_gets_408,
    empty_lines_are_no_head,
    a_slow_body_gets_408,
    a_body_that_keeps_moving_has_all_the_time,
    a_client_that_never_reads_is_cut_off,
    many_clients_that_never_read_give_everything_back,
    a_connection_that_is_not_accepted_is_504,
    a_refused_connection_is_502,
    a_backend_that_never_answers_is_504,
    a_body_on_its_way_restarts_the_response_limit,
    each_interim_response_restarts_the_response_limit,
    a_response_that_stalls_is_cut,
    a_response_that_keeps_moving_has_all_the_time,
    an_idle_backend_connection_is_closed,
    a_backend_that_never_reads_is_504,
];

/// A proxy in front of `backend` with these timeouts.
fn limited(driver: Driver, backend: &Backend, timeouts: &str) -> Proxy {
    Proxy::start(&Config::to(driver, backend).timeouts(timeouts))
}

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// Below every limit that must not run out.
const PAUSE: Duration = Duration::from_millis(100);

fn a_client_that_says_nothing_is_closed_silently(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = limited(driver, &backend, "head = \"300ms\"\nidle = \"300ms\"");
    proxy.client().assert_closed();
}

fn an_idle_client_is_closed_silently(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = limited(driver, &backend, "idle = \"300ms\"");
    let mut client = proxy.client();
    assert_eq!(client.get("/").body, HELLO);
    client.assert_closed();
}

fn a_slow_head_gets_408(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = limited(driver, &backend, "head = \"300ms\"");
    for start in ["G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: test\r\n\r"] {
        let mut client = proxy.client();
        client.ask(start).assert_error(408, "request_timeout");
        client.assert_closed();
    }
    let mut client = proxy.client();
    assert_eq!(client.get("/").body, HELLO);
    client.ask("GET").assert_error(408, "request_timeout");
    assert_eq!(backend.requests(), 1);
}

fn a_head_that_drips_gets_408(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = limited(driver, &backend, "head = \"500ms\"");
    let mut client = proxy.client();
    let writer = client.writer();
    // Bytes come all the time: the limit is for the whole head, from its first byte.
    let dripping = std::thread::spawn(move || {
        use std::io::Write;
        let mut drops = b"GET / HTTP/1.1\r\nHost: test\r\nX: ".iter().chain(std::iter::repeat(&b'x'));
        while (&*writer).write_all(&[*drops.next().expect("no end")]).is_ok() {
            pause(PAUSE / 10);
        }
    });
    client.response().assert_error(408, "request_timeout");
    drop(client);
    dripping.join().unwrap();
    assert_eq!(backend.accepts(), 0);
}

fn empty_lines_are_no_head(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = limited(driver, &backend, "head = \"300ms\"\nidle = \"300ms\"");
    proxy.client().send("\r\n").assert_closed();
}

fn a_slow_body_gets_408(driver: Driver) {
    let backend = Backend::never_answers();
    let proxy = limited(driver, &backend, "body = \"300ms\"");
    for start in ["Content-Length: 9\r\n\r\nfour", "Transfer-Encoding: chunked\r\n\r\n4\r\nfo"] {
        let mut client = proxy.client();
        client.ask(format!("POST / HTTP/1.1\r\nHost: test\r\n{start}")).assert_error(408, "request_timeout");
        client.assert_closed();
    }
    backend.wait_until_idle();
}

fn a_body_that_keeps_moving_has_all_the_time(driver: Driver) {
    let backend = Backend::echoes_body();
    let proxy = limited(driver, &backend, "body = \"1s\"\nhead = \"1s\"\nresponse = \"1s\"");
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 20\r\n\r\n");
    for _ in 0..20 {
        pause(PAUSE);
        client.send("x");
    }
    assert_eq!(client.response().body, [b'x'; 20]);
}

/// Sends without end.
fn floods() -> Backend {
    Backend::script(|visit| {
        visit.request();
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
        while visit.send(vec![b'x'; 64 * 1024]) {}
    })
}

fn a_client_that_never_reads_is_cut_off(driver: Driver) {
    let backend = floods();
    let proxy = limited(driver, &backend, "write = \"300ms\"");
    let mut client = Client::with_receive_buffer(&proxy.address(), 4096);
    client.send(GET);
    backend.wait_for_requests(1);
    backend.wait_until_idle();
    assert_ne!(client.rest().1, Ending::Silence);
}

fn many_clients_that_never_read_give_everything_back(driver: Driver) {
    let backend = floods();
    let proxy = limited(driver, &backend, "write = \"300ms\"");
    let round = || {
        let mut clients: Vec<_> =
            (0..50).map(|_| Client::with_receive_buffer(&proxy.address(), 4096)).collect();
        for client in &mut clients {
            client.send(GET);
        }
        clients
    };
    let before = proxy.descriptors();
    let mut memory = Vec::new();
    for number in 1..=16 {
        let clients = round();
        backend.wait_for_requests(number * 50);
        backend.wait_until_idle();
        drop(clients);
        proxy.wait_for_descriptors(before);
        memory.push(proxy.memory_kib());
    }
    // The allocator's own ups and downs are half of that; a buffer of 64 KiB that each of the later ones kept, 38 MiB.
    let (warm, end) = (memory[..4].iter().max().expect("four rounds"), memory[15]);
    assert!(end < warm + 30 * 1024, "memory grows: {memory:?} KiB");
}

fn a_connection_that_is_not_accepted_is_504(driver: Driver) {
    let backend = Unaccepting::new();
    let config = Config::new(driver).rule("all", "/*", &backend.url()).timeouts("connect = \"300ms\"");
    let proxy = Proxy::start(&config);
    proxy.client().get("/").assert_error(504, "upstream_connect_timeout");
}

fn a_refused_connection_is_502(driver: Driver) {
    let backend = Refusing::new();
    let proxy = Proxy::start(&Config::new(driver).rule("all", "/*", &backend.url()));
    proxy.client().get("/").assert_error(502, "upstream_refused");
}

fn a_backend_that_never_answers_is_504(driver: Driver) {
    let backend = Backend::never_answers();
    let proxy = limited(driver, &backend, "response = \"300ms\"");
    let mut client = proxy.client();
    client.get("/").assert_error(504, "upstream_timeout");
    backend.wait_until_idle();
    client
        .ask("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi")
        .assert_error(504, "upstream_timeout");
    let half = Backend::script(|visit| {
        visit.request();
        visit.send("HTTP/1.1 200 OK\r\nX-Half: ");
        visit.until_closed();
    });
    let proxy = limited(driver, &half, "response = \"300ms\"");
    proxy.client().get("/").assert_error(504, "upstream_timeout");
}

fn a_body_on_its_way_restarts_the_response_limit(driver: Driver) {
    let backend = Backend::echoes_body();
    let proxy = limited(driver, &backend, "response = \"1s\"");
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..20 {
        pause(PAUSE);
        client.send("1\r\nx\r\n");
    }
    assert_eq!(client.ask("0\r\n\r\n").body, [b'x'; 20]);
}

fn each_interim_response_restarts_the_response_limit(driver: Driver) {
    let backend = Backend::script(|visit| {
        visit.request();
        for _ in 0..20 {
            pause(PAUSE);
            visit.send("HTTP/1.1 102 Processing\r\n\r\n");
        }
        visit.send(response("200 OK", "", HELLO));
    });
    let proxy = limited(driver, &backend, "response = \"1s\"");
    let answer = proxy.client().get("/");
    assert_eq!((answer.interim.len(), answer.body.as_slice()), (20, HELLO));
}

fn a_response_that_stalls_is_cut(driver: Driver) {
    let backend = Backend::script(|visit| {
        visit.request();
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour");
        visit.until_closed();
    });
    let proxy = limited(driver, &backend, "upstream_body = \"300ms\"");
    let cut = proxy.client().send(GET).try_response("GET").unwrap_err();
    assert_eq!((cut.head.map(|head| head.status()), cut.bytes.as_slice()), (Some(200), b"four".as_slice()));
    assert_ne!(cut.ending, Ending::Silence);
    backend.wait_until_idle();
}

fn a_response_that_keeps_moving_has_all_the_time(driver: Driver) {
    let backend = Backend::script(|visit| {
        visit.request();
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n");
        for _ in 0..20 {
            pause(PAUSE);
            visit.send("x");
        }
    });
    let proxy = limited(driver, &backend, "upstream_body = \"1s\"\nresponse = \"1s\"\nidle = \"1s\"");
    assert_eq!(proxy.client().get("/").body, [b'x'; 20]);
}

fn an_idle_backend_connection_is_closed(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = limited(driver, &backend, "upstream_idle = \"300ms\"");
    let mut client = proxy.client();
    assert_eq!(client.get("/").body, HELLO);
    backend.wait_until_idle();
    assert_eq!(client.get("/").body, HELLO);
    assert_eq!(backend.accepts(), 2);
}

fn a_backend_that_never_reads_is_504(driver: Driver) {
    let (tell, told) = channel::<()>();
    let told = Mutex::new(told);
    let backend = Backend::script(move |visit| {
        visit.small_receive_buffer();
        told.lock().unwrap().recv().ok();
    });
    let proxy = limited(driver, &backend, "write = \"300ms\"\nresponse = \"300ms\"\nbody = \"10s\"");
    let mut client = proxy.client();
    let writer = client.writer();
    let sending = std::thread::spawn(move || {
        use std::io::Write;
        let head = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 256000000\r\n\r\n";
        let _ = (&*writer).write_all(head);
        let _ = (&*writer).write_all(&vec![b'x'; 256_000_000]);
    });
    client.response().assert_error(504, "upstream_timeout");
    drop(client);
    sending.join().unwrap();
    drop(tell);
}
