//! "Connections": keep-alive, pipelining, pools, the one transparent resend, and clients that go away.

use crate::harness::backend::{Backend, Visit};
use crate::harness::backends::{HELLO, response};
use crate::harness::config::{Config, Driver};
use crate::harness::message::Ending;
use crate::harness::on_both_drivers;
use crate::harness::proxy::Proxy;
use crate::harness::wait_until;
use std::sync::Mutex;
use std::sync::mpsc::channel;

on_both_drivers![
    connections_are_kept_on_both_sides,
    pipelined_requests_are_answered_in_order_one_at_a_time,
    pipelined_requests_with_bodies_keep_their_borders,
    connection_close_is_honoured,
    an_http_1_0_client_is_kept_when_it_asks,
    a_client_that_half_closes_has_gone,
    a_client_that_resets_has_gone,
    who_announced_to_close_may_half_close,
    a_backend_that_says_close_is_not_used_again,
    bytes_after_a_response_close_the_backend,
    bytes_on_an_idle_connection_close_it,
    a_closed_idle_connection_leaves_the_pool_at_once,
    a_failed_reused_connection_is_replaced_once,
    a_post_is_never_sent_twice,
    a_fresh_connection_that_fails_is_not_replaced,
    a_resend_that_fails_too_is_an_error,
    idle_connections_are_bounded,
    nothing_is_kept_when_keepalive_is_off,
    an_error_is_read_although_the_client_goes_on_sending,
    empty_lines_before_a_request_are_skipped,
    a_request_arrives_byte_by_byte,
    backends_take_turns,
];

fn connections_are_kept_on_both_sides(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    for _ in 0..100 {
        assert_eq!(client.get("/").body, HELLO);
    }
    assert_eq!(proxy.client().get("/").body, HELLO, "another client uses the same backend connection");
    assert_eq!((backend.accepts(), backend.requests()), (1, 101));
}

fn pipelined_requests_are_answered_in_order_one_at_a_time(driver: Driver) {
    let (tell, told) = channel();
    let told = Mutex::new(told);
    let backend = Backend::answers(move |request| {
        told.lock().unwrap().recv().ok();
        response("200 OK", "", request.head.target().as_bytes())
    });
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    let requests: String =
        (0..20).map(|number| format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.send(requests);
    for number in 0..20 {
        backend.wait_for_requests(number + 1);
        assert_eq!(backend.requests(), number + 1, "the next request came before this one was answered");
        tell.send(()).unwrap();
        assert_eq!(client.response().text(), format!("/{number}"));
    }
}

fn pipelined_requests_with_bodies_keep_their_borders(driver: Driver) {
    let backend = Backend::echoes_body();
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    let length = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nfirst";
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nsecond\r\n0\r\n\r\n";
    let none = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send([length, chunked, none, length].concat());
    let texts = [(); 4].map(|()| client.response().text());
    assert_eq!(texts, ["first", "second", "", "first"]);
}

fn connection_close_is_honoured(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!((answer.body.as_slice(), answer.field("connection")), (HELLO, Some("close")));
    client.assert_closed();
    let mut client = proxy.client();
    assert_eq!(client.ask("GET / HTTP/1.0\r\n\r\n").body, HELLO);
    client.assert_closed();
    assert_eq!(backend.accepts(), 1, "the backend's connection is another matter");
}

fn an_http_1_0_client_is_kept_when_it_asks(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    for _ in 0..3 {
        let answer = client.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert!(answer.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("keep-alive")));
    }
    assert_eq!(backend.last_head().start_line, "GET / HTTP/1.1");
    assert_eq!(backend.last_head().fields.get("host"), Some(backend.address().to_string().as_str()));
}

fn a_client_that_half_closes_has_gone(driver: Driver) {
    let backend = Backend::never_answers();
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    backend.wait_for_requests(1);
    client.finish();
    backend.wait_until_idle();
    assert_eq!(client.rest().0, b"");
}

fn a_client_that_resets_has_gone(driver: Driver) {
    let backend = Backend::never_answers();
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    backend.wait_for_requests(1);
    client.reset();
    backend.wait_until_idle();
}

fn who_announced_to_close_may_half_close(driver: Driver) {
    let (tell, told) = channel();
    let told = Mutex::new(told);
    let backend = Backend::answers(move |_| {
        told.lock().unwrap().recv().ok();
        response("200 OK", "", HELLO)
    });
    let proxy = Proxy::to(driver, &backend);
    let requests = ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"];
    for (number, request) in requests.into_iter().enumerate() {
        let mut client = proxy.client();
        client.send(request).finish();
        backend.wait_for_requests(number + 1);
        tell.send(()).unwrap();
        assert_eq!(client.response().body, HELLO, "{request:?}");
    }
}

fn a_backend_that_says_close_is_not_used_again(driver: Driver) {
    let backend = Backend::answers(|_| response("200 OK", "Connection: close\r\n", HELLO));
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    for number in 1..=3 {
        let answer = client.get("/");
        assert_eq!((answer.field("connection"), backend.accepts()), (None, number));
    }
    let old = Backend::answers_with("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx");
    let proxy = Proxy::to(driver, &old);
    let mut client = proxy.client();
    assert_eq!((client.get("/").text(), client.get("/").text()), ("x".to_owned(), "x".to_owned()));
    assert_eq!(old.accepts(), 2, "a server of HTTP/1.0 closes unless it says keep-alive");
}

fn bytes_after_a_response_close_the_backend(driver: Driver) {
    let extra = [response("200 OK", "", HELLO), response("200 OK", "", b"nobody asked")].concat();
    let backend = Backend::answers_with(extra);
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    for number in 1..=3 {
        assert_eq!((client.get("/").body.as_slice(), backend.accepts()), (HELLO, number));
    }
    backend.wait_until_idle();
}

fn bytes_on_an_idle_connection_close_it(driver: Driver) {
    let (tell, told) = channel::<()>();
    let told = Mutex::new(told);
    let backend = Backend::script(move |visit| {
        visit.request();
        visit.send(response("200 OK", "", HELLO));
        if visit.number == 0 {
            told.lock().unwrap().recv().ok();
            visit.send(response("200 OK", "", b"stray"));
        }
        visit.until_closed();
    });
    let proxy = Proxy::to(driver, &backend);
    assert_eq!(proxy.client().get("/").body, HELLO);
    tell.send(()).unwrap();
    backend.wait_until_idle();
    assert_eq!(proxy.client().get("/").body, HELLO);
}

fn a_closed_idle_connection_leaves_the_pool_at_once(driver: Driver) {
    let backend = Backend::answers_and_closes(response("200 OK", "", HELLO));
    let proxy = Proxy::to(driver, &backend);
    let before = proxy.descriptors();
    for number in 1..=20 {
        let mut client = proxy.client();
        // A POST would get 502 if it met a connection that its backend has closed.
        let answer = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
        assert_eq!((answer.status, backend.accepts()), (200, number));
        drop(client);
        proxy.wait_for_descriptors(before);
    }
}

/// Answers `good` requests on its first connection, reads one more there and closes; other connections run `then`.
fn fails_when_reused(good: usize, then: impl Fn(&mut Visit) + Send + Sync + 'static) -> Backend {
    Backend::script(move |visit| {
        if visit.number > 0 {
            return then(visit);
        }
        for _ in 0..good {
            visit.request();
            visit.send(response("200 OK", "", HELLO));
        }
        visit.request();
    })
}

fn serves(visit: &mut Visit) {
    while visit.request().is_some() && visit.send(response("200 OK", "", b"fresh")) {}
}

fn a_failed_reused_connection_is_replaced_once(driver: Driver) {
    let backend = fails_when_reused(1, serves);
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    assert_eq!(client.get("/").body, HELLO);
    assert_eq!(client.get("/").text(), "fresh");
    assert_eq!((backend.accepts(), backend.requests()), (2, 3));
}

fn a_post_is_never_sent_twice(driver: Driver) {
    let backend = fails_when_reused(1, serves);
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    assert_eq!(client.get("/").body, HELLO);
    client
        .ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
        .assert_error(502, "upstream_closed");
    assert_eq!((backend.accepts(), backend.requests()), (1, 2));
}

fn a_fresh_connection_that_fails_is_not_replaced(driver: Driver) {
    let backend = Backend::answers_and_closes("");
    let proxy = Proxy::to(driver, &backend);
    proxy.client().get("/").assert_error(502, "upstream_closed");
    assert_eq!(backend.requests(), 1);
}

fn a_resend_that_fails_too_is_an_error(driver: Driver) {
    let backend = fails_when_reused(1, |visit| drop(visit.request()));
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    assert_eq!(client.get("/").body, HELLO);
    client.get("/").assert_error(502, "upstream_closed");
    assert_eq!((backend.accepts(), backend.requests()), (2, 3));
}

/// Runs `count` requests at once against a backend with this `keepalive`; gives the connections it still has afterwards.
fn kept_after(driver: Driver, keepalive: usize, count: usize) -> usize {
    let backend = Backend::says_hello_once_all_have_come(count);
    let upstream = format!(
        "[[upstreams]]\nname = \"u\"\nbackends = [{{ url = \"{}\" }}]\nkeepalive = {keepalive}",
        backend.url()
    );
    let proxy = Proxy::start(&Config::new(driver).section(&upstream).rule_to("all", "/*", "u"));
    let mut clients: Vec<_> = (0..count).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.response().body, HELLO);
    }
    wait_until("the surplus is closed", || backend.open() <= keepalive);
    backend.open()
}

fn idle_connections_are_bounded(driver: Driver) {
    assert_eq!(kept_after(driver, 3, 10), 3);
}

fn nothing_is_kept_when_keepalive_is_off(driver: Driver) {
    assert_eq!(kept_after(driver, 0, 4), 0);
}

fn an_error_is_read_although_the_client_goes_on_sending(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::to(driver, &backend);
    for _ in 0..20 {
        let mut client = proxy.client();
        let request =
            [b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n".to_vec(), vec![b'y'; 50_000]].concat();
        let answer = client.ask(request);
        assert_eq!((answer.status, answer.field("connection")), (400, Some("close")));
        assert_eq!(client.rest(), (Vec::new(), Ending::Fin));
    }
    assert_eq!(backend.accepts(), 0);
}

fn empty_lines_before_a_request_are_skipped(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    for empty in ["", "\r\n", "\r\n\r\n"] {
        assert_eq!(client.ask(format!("{empty}GET / HTTP/1.1\r\nHost: a\r\n\r\n")).body, HELLO);
    }
    assert_eq!(client.ask("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 400);
}

fn a_request_arrives_byte_by_byte(driver: Driver) {
    let backend = Backend::echoes_body();
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    let request =
        "POST /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nd\r\nHello, World!\r\n0\r\n\r\n";
    assert_eq!(client.send_in_pieces(request, 1).response().body, HELLO);
    assert_eq!(client.send_in_pieces(request, 2).response().body, HELLO);
}

fn backends_take_turns(driver: Driver) {
    let backends = ["a", "b", "c"].map(Backend::says);
    let config =
        Config::new(driver).upstream("u", &backends.each_ref().map(Backend::url)).rule_to("all", "/*", "u");
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    for _ in 0..30 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(backends.each_ref().map(Backend::requests), [10, 10, 10]);
}
