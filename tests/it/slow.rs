//! Where the clocks of the limits start, stop and start again, and that whoever runs into one leaves nothing behind. What
//! is answered at each limit stands in `timeouts`.

use crate::harness::backend::{Backend, Visit};
use crate::harness::backends::{HELLO, response};
use crate::harness::client::Client;
use crate::harness::config::{Config, Driver};
use crate::harness::message::Ending;
use crate::harness::proxy::Proxy;
use crate::harness::unreachable::Unaccepting;
use crate::harness::websocket::handshake;
use crate::harness::{on_both_drivers, pause};
use std::time::Duration;

on_both_drivers![
    silent_clients_leave_nothing,
    slow_heads_leave_nothing,
    slow_bodies_leave_nothing,
    connections_that_hang_leave_nothing,
    answers_that_never_come_leave_nothing,
    answers_that_stall_leave_nothing,
    idle_connections_leave_nothing,
    idle_tunnels_leave_nothing,
    the_response_limit_waits_for_the_client,
    the_response_limit_runs_once_the_request_is_sent,
    the_response_limit_goes_on_after_an_interim_response,
    who_is_asked_to_wait_for_100_waits_that_long,
    a_body_that_was_called_for_and_does_not_come_gets_408,
    no_limit_of_the_clients_runs_while_it_waits,
    a_stalled_answer_is_never_complete,
    an_event_stream_may_be_silent,
    a_silent_event_stream_ends_at_the_tunnels_limit,
    one_way_is_enough_to_keep_a_tunnel,
    a_client_that_reads_slowly_has_all_the_time,
];

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// Ten connections run into a limit at once; afterwards the proxy has the descriptors that it had before.
struct Stage {
    proxy: Proxy,
    backend: Backend,
    before: usize,
}

impl Stage {
    fn new(driver: Driver, backend: Backend, timeouts: &str) -> Self {
        let proxy = Proxy::start(&Config::to(driver, &backend).timeouts(timeouts));
        let before = proxy.descriptors();
        Stage { proxy, backend, before }
    }

    /// Sends `request` on each and has `end` read what comes of it.
    fn ten(&self, request: &str, end: impl Fn(&mut Client)) {
        let mut clients: Vec<Client> = (0..10).map(|_| self.proxy.client()).collect();
        for client in &mut clients {
            client.send(request);
        }
        clients.iter_mut().for_each(end);
        // What is kept for another request, and what lingers, ends when the client does.
        drop(clients);
        self.backend.wait_until_idle();
        self.proxy.wait_for_descriptors(self.before);
    }
}

fn silent_clients_leave_nothing(driver: Driver) {
    let stage = Stage::new(driver, Backend::says_hello(), "idle = \"300ms\"");
    stage.ten("", Client::assert_closed);
    assert_eq!(stage.backend.accepts(), 0);
}

fn slow_heads_leave_nothing(driver: Driver) {
    let stage = Stage::new(driver, Backend::says_hello(), "head = \"300ms\"");
    stage.ten("GET / HTTP/1.1\r\nHost: te", |client| {
        client.response().assert_error(408, "request_timeout");
        client.assert_closed();
    });
    assert_eq!(stage.backend.accepts(), 0);
}

fn slow_bodies_leave_nothing(driver: Driver) {
    let stage = Stage::new(driver, Backend::never_answers(), "body = \"300ms\"");
    stage.ten("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nfour", |client| {
        client.response().assert_error(408, "request_timeout");
        client.assert_closed();
    });
    assert_eq!(stage.backend.accepts(), 10);
}

fn connections_that_hang_leave_nothing(driver: Driver) {
    let backend = Unaccepting::new();
    let config = Config::new(driver).rule("all", "/*", &backend.url()).timeouts("connect = \"300ms\"");
    let proxy = Proxy::start(&config);
    let before = proxy.descriptors();
    let mut clients: Vec<Client> = (0..10).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    for client in &mut clients {
        client.response().assert_error(504, "upstream_connect_timeout");
    }
    drop(clients);
    proxy.wait_for_descriptors(before);
}

fn answers_that_never_come_leave_nothing(driver: Driver) {
    let stage = Stage::new(driver, Backend::never_answers(), "response = \"300ms\"");
    stage.ten(GET, |client| client.response().assert_error(504, "upstream_timeout"));
}

fn answers_that_stall_leave_nothing(driver: Driver) {
    let stage = Stage::new(driver, begins(CHUNKED, "4\r\nfour\r\n"), "upstream_body = \"300ms\"");
    stage.ten(GET, |client| {
        client.try_response("GET").expect_err("half an answer");
    });
}

fn idle_connections_leave_nothing(driver: Driver) {
    let stage = Stage::new(driver, Backend::says_hello(), "idle = \"300ms\"\nupstream_idle = \"300ms\"");
    stage.ten(GET, |client| {
        assert_eq!(client.response().body, HELLO);
        client.assert_closed();
    });
}

fn idle_tunnels_leave_nothing(driver: Driver) {
    let stage = Stage::new(driver, Backend::switches(Visit::until_closed), "tunnel_idle = \"300ms\"");
    stage.ten(&handshake("/", ""), |client| {
        assert_eq!(client.head().status(), 101);
        let (bytes, ending) = client.rest();
        assert_eq!((bytes, ending != Ending::Silence), (Vec::new(), true));
    });
}

/// The proxy alone, with these timeouts.
fn limited(driver: Driver, backend: &Backend, timeouts: &str) -> Proxy {
    Proxy::start(&Config::to(driver, backend).timeouts(timeouts))
}

/// More than every limit that is short here.
const LONG: Duration = Duration::from_millis(1000);

fn the_response_limit_waits_for_the_client(driver: Driver) {
    let backend = Backend::echoes_body();
    let proxy = limited(driver, &backend, "response = \"300ms\"\nbody = \"10s\"");
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 8\r\n\r\nhalf");
    pause(LONG);
    assert_eq!(client.send("half").response().text(), "halfhalf");
}

fn the_response_limit_runs_once_the_request_is_sent(driver: Driver) {
    let backend = Backend::never_answers();
    let proxy = limited(driver, &backend, "response = \"300ms\"\nbody = \"10s\"");
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    pause(LONG);
    client.ask("4\r\nhalf\r\n0\r\n\r\n").assert_error(504, "upstream_timeout");
    backend.wait_until_idle();
    assert!(backend.received(0).ends_with(b"4\r\nhalf\r\n0\r\n\r\n"));
}

fn the_response_limit_goes_on_after_an_interim_response(driver: Driver) {
    let backend = Backend::script(|visit| {
        visit.request();
        visit.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        visit.until_closed();
    });
    let proxy = limited(driver, &backend, "response = \"300ms\"");
    let answer = proxy.client().get("/");
    answer.assert_error(504, "upstream_timeout");
    assert_eq!(answer.interim.len(), 1);
    backend.wait_until_idle();
}

const EXPECTING: &str = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 13\r\n\r\n";

fn who_is_asked_to_wait_for_100_waits_that_long(driver: Driver) {
    let backend = Backend::never_answers();
    let proxy = limited(driver, &backend, "response = \"300ms\"\nbody = \"10s\"");
    let mut client = proxy.client();
    client.ask(EXPECTING).assert_error(504, "upstream_timeout");
    client.assert_closed();
    backend.wait_until_idle();
}

fn a_body_that_was_called_for_and_does_not_come_gets_408(driver: Driver) {
    let backend = Backend::script(|visit| {
        visit.head();
        visit.send("HTTP/1.1 100 Continue\r\n\r\n");
        visit.until_closed();
    });
    let proxy = limited(driver, &backend, "response = \"10s\"\nbody = \"300ms\"");
    let mut client = proxy.client();
    let answer = client.ask(EXPECTING);
    answer.assert_error(408, "request_timeout");
    assert_eq!(answer.interim.len(), 1);
    client.assert_closed();
    backend.wait_until_idle();
}

fn no_limit_of_the_clients_runs_while_it_waits(driver: Driver) {
    let backend = Backend::answers(|_| {
        pause(LONG);
        response("200 OK", "", HELLO)
    });
    let short = "head = \"300ms\"\nidle = \"300ms\"\nbody = \"300ms\"\nwrite = \"300ms\"";
    let proxy = limited(driver, &backend, short);
    assert_eq!(proxy.client().get("/").body, HELLO);
    let post = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(proxy.client().ask(post).body, HELLO);
}

const LENGTH: &str = "Content-Length: 9\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// Sends the beginning of a body and keeps the connection.
fn begins(framing: &'static str, beginning: &'static str) -> Backend {
    Backend::script(move |visit| {
        visit.request();
        visit.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n{beginning}"));
        visit.until_closed();
    })
}

fn a_stalled_answer_is_never_complete(driver: Driver) {
    // The last chunk alone is missing, and of the last answer only the end.
    let answers =
        [(LENGTH, "four"), (CHUNKED, "4\r\nfour\r\n"), (CHUNKED, "4\r\nfour\r\n0\r\n"), ("", "four")];
    for (framing, beginning) in answers {
        let backend = begins(framing, beginning);
        let proxy = limited(driver, &backend, "upstream_body = \"300ms\"");
        for request in [GET, "GET / HTTP/1.0\r\n\r\n"] {
            let cut = proxy.client().send(request).try_response("GET").expect_err("half an answer");
            assert_eq!(cut.head.map(|head| head.status()), Some(200), "{framing}");
            assert_ne!(cut.ending, Ending::Silence, "{framing}");
        }
        backend.wait_until_idle();
    }
}

const EVENTS: &str = "Content-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n";

fn an_event_stream_may_be_silent(driver: Driver) {
    let backend = Backend::script(|visit| {
        visit.request();
        visit.send(format!("HTTP/1.1 200 OK\r\n{EVENTS}\r\n"));
        pause(LONG);
        visit.send("5\r\ndata:\r\n0\r\n\r\n");
    });
    let proxy = limited(driver, &backend, "upstream_body = \"300ms\"\nresponse = \"300ms\"");
    assert_eq!(proxy.client().get("/").text(), "data:");
}

fn a_silent_event_stream_ends_at_the_tunnels_limit(driver: Driver) {
    let backend = begins(EVENTS, "5\r\ndata:\r\n");
    let proxy = limited(driver, &backend, "upstream_body = \"1h\"\ntunnel_idle = \"300ms\"");
    let cut = proxy.client().send(GET).try_response("GET").expect_err("half an answer");
    assert_eq!((cut.bytes.as_slice(), cut.ending != Ending::Silence), (b"data:".as_slice(), true));
    backend.wait_until_idle();
}

/// Below every limit that must not run out.
const SHORT: Duration = Duration::from_millis(100);

fn one_way_is_enough_to_keep_a_tunnel(driver: Driver) {
    let backend = Backend::switches(|visit| {
        for _ in 0..20 {
            pause(SHORT);
            visit.send("x");
        }
        visit.exactly(20);
        visit.send("end");
    });
    let proxy = limited(driver, &backend, "tunnel_idle = \"1s\"");
    let mut client = proxy.client();
    assert_eq!(client.send(handshake("/", "")).head().status(), 101);
    assert_eq!(client.exactly(20), [b'x'; 20]);
    for _ in 0..20 {
        pause(SHORT);
        client.send("y");
    }
    assert_eq!(client.rest(), (b"end".to_vec(), Ending::Fin));
}

/// 16 MiB, more than the sockets on the way hold, in reads of 256 KiB.
fn a_client_that_reads_slowly_has_all_the_time(driver: Driver) {
    let backend = Backend::answers(|_| response("200 OK", "", &vec![b'x'; 16 << 20]));
    let proxy = limited(driver, &backend, "write = \"1500ms\"");
    let mut client = Client::with_receive_buffer(&proxy.address(), 256 << 10);
    client.send(GET).head();
    for _ in 0..64 {
        pause(SHORT / 2);
        assert_eq!(client.exactly(256 << 10).len(), 256 << 10);
    }
    assert_eq!(client.get("/").body.len(), 16 << 20, "and so the connection goes on");
}
