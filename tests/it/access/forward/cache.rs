//! `cache`: which answers are remembered, for whom, and for how long.

use super::{SESSION, config, get, guarding, lets_in, logs_in, tells_head};
use crate::harness::backend::Backend;
use crate::harness::backends::{HELLO, response};
use crate::harness::config::Driver;
use crate::harness::proxy::Proxy;
use crate::harness::websocket::handshake;
use crate::harness::{on_both_drivers, wait_until};
use std::sync::atomic::{AtomicUsize, Ordering};

on_both_drivers![
    nothing_is_remembered_unless_it_is_asked_for,
    the_same_question_is_put_once,
    another_one_is_put,
    only_what_lets_through_is_remembered,
    it_is_forgotten_in_time,
    another_configuration_forgets_it,
    what_a_rule_copies_is_its_own,
];

const CACHED: &str = "cache = \"1h\"\ncopy_headers = [\"X-User\"]";

fn nothing_is_remembered_unless_it_is_asked_for(driver: Driver) {
    for lines in ["", "cache = \"0s\""] {
        let (endpoint, backend) = (lets_in(), Backend::says_hello());
        let proxy = guarding(driver, &endpoint, lines, &backend);
        (0..3).for_each(|_| assert_eq!(proxy.client().get("/").body, HELLO));
        assert_eq!(endpoint.requests(), 3);
    }
}

fn the_same_question_is_put_once(driver: Driver) {
    let (endpoint, backend) = (logs_in(), tells_head());
    let proxy = guarding(driver, &endpoint, CACHED, &backend);
    for number in 0..5 {
        // What the endpoint is not told makes no difference.
        let lines = format!("{SESSION}X-Number: {number}\r\nX-User: root\r\n");
        let answer = proxy.client().ask(get("/a?b", &lines));
        assert_eq!(answer.status, 200);
        assert_eq!(backend.last_head().fields.all("x-user"), ["ann"]);
    }
    assert_eq!((endpoint.requests(), backend.requests()), (1, 5));
}

fn another_one_is_put(driver: Driver) {
    let (endpoint, backend) = (lets_in(), Backend::says_hello());
    let proxy = guarding(driver, &endpoint, CACHED, &backend);
    let requests = [
        get("/", ""),
        get("/", SESSION),
        get("/", "Cookie: session=eve\r\n"),
        get("/", "Cookie: session=ann\r\nCookie: a=b\r\n"),
        get("/", "Authorization: Basic eA==\r\n"),
        get("/x", SESSION),
        get("/?", SESSION),
        get("/", SESSION).replace("Host: test", "Host: other"),
        get("/", SESSION).replace("Host: test", "Host: test:81"),
        get("/", SESSION).replace("GET", "POST"),
        get("/", SESSION).replace("GET", "get"),
    ];
    for round in 0..2 {
        for (index, request) in requests.iter().enumerate() {
            assert_eq!(proxy.client().ask(request).status, 200);
            assert_eq!(endpoint.requests(), if round == 0 { index + 1 } else { requests.len() }, "{request}");
        }
    }
    // An upgrade is asked about as its GET is.
    proxy.client().ask(handshake("/", SESSION));
    assert_eq!(endpoint.requests(), requests.len());
}

fn only_what_lets_through_is_remembered(driver: Driver) {
    let asked = AtomicUsize::new(0);
    let endpoint = Backend::answers(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => response("403 No", "", b""),
        1 => response("500 Broken", "", b""),
        2 => response("302 Found", "Location: /\r\n", b""),
        3 => response("200 OK", "", b""),
        _ => response("403 No", "", b""),
    });
    let backend = Backend::says_hello();
    let proxy = guarding(driver, &endpoint, CACHED, &backend);
    let statuses: Vec<u16> = (0..6).map(|_| proxy.client().get("/").status).collect();
    assert_eq!(statuses, [403, 503, 302, 200, 200, 200]);
    assert_eq!((endpoint.requests(), backend.requests()), (4, 3));
}

fn it_is_forgotten_in_time(driver: Driver) {
    let asked = AtomicUsize::new(0);
    let endpoint = Backend::answers(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => response("200 OK", "", b""),
        _ => response("403 No", "", b""),
    });
    let backend = Backend::says_hello();
    let proxy = guarding(driver, &endpoint, "cache = \"200ms\"", &backend);
    let mut client = proxy.client();
    assert_eq!(client.get("/").status, 200);
    wait_until("who was let in is not any more", || client.get("/").status == 403);
    assert_eq!(endpoint.requests(), 2);
}

fn another_configuration_forgets_it(driver: Driver) {
    let (endpoint, backend) = (lets_in(), Backend::says_hello());
    let first = config(driver, &endpoint.url(), CACHED, &backend);
    let proxy = Proxy::start(&first);
    (0..2).for_each(|_| assert_eq!(proxy.client().get("/").status, 200));
    assert_eq!(endpoint.requests(), 1);
    proxy.reload(&first.clone().section("description = \"the same but for this\""));
    (0..2).for_each(|_| assert_eq!(proxy.client().get("/").status, 200));
    assert_eq!(endpoint.requests(), 2);
}

/// Two rules may leave different fields of one answer.
fn what_a_rule_copies_is_its_own(driver: Driver) {
    let (endpoint, backend) = (logs_in(), tells_head());
    let config = config(driver, &endpoint.url(), CACHED, &backend)
        .section("ws = false\nrequest_headers = { set = { X-User = \"fixed\" } }")
        .section(&format!(
            "[[rules]]\nname = \"upgrades\"\npath = \"/*\"\ntarget = \"{}\"\nauth = \"sso\"",
            backend.url()
        ));
    let proxy = Proxy::start(&config);
    for _ in 0..2 {
        assert_eq!(proxy.client().ask(get("/", SESSION)).status, 200);
        assert_eq!(backend.last_head().fields.all("x-user"), ["fixed"]);
        proxy.client().ask(handshake("/", SESSION));
        assert_eq!(backend.last_head().fields.all("x-user"), ["ann"]);
    }
}
