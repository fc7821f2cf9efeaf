//! How long and how large, by site and by rule. The file's own limits are an hour in most of these tests, so that only the
//! site's or the rule's can have ended what ended; nothing is said about how long it took.

use super::rule;
use crate::harness::backend::Backend;
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
    a_sites_response_limit,
    a_sites_limit_may_be_longer,
    a_rules_timeout_is_preferred,
    a_rules_timeout_may_be_longer,
    a_sites_connect_limit,
    a_sites_body_limit,
    a_sites_write_limit,
    a_sites_response_body_limit,
    a_sites_tunnel_limit,
    a_rules_body_size_may_be_smaller,
    a_rules_body_size_may_be_larger,
    a_chunked_body_is_cut_at_the_rules_size,
];

/// Long enough that a test which waits for it has failed.
const NEVER: &str = "head = \"1h\"\nidle = \"1h\"\nbody = \"1h\"\nwrite = \"1h\"\nconnect = \"1h\"\n\
                     response = \"1h\"\n\
                     upstream_body = \"1h\"\ntunnel_idle = \"1h\"";

/// A site for every host with these timeouts, and one rule to `target` with these lines.
fn site(timeouts: &str, target: &str, lines: &str) -> String {
    format!(
        "[[sites]]\nname = \"s\"\nhosts = [\"*\"]\ntimeouts = {{ {timeouts} }}\n\
         [[sites.rules]]\nname = \"all\"\npath = \"/*\"\ntarget = \"{target}\"\n{lines}\n"
    )
}

fn limited(driver: Driver, timeouts: &str, target: &str) -> Proxy {
    Proxy::start(&Config::new(driver).timeouts(NEVER).section(&site(timeouts, target, "")))
}

/// Answers after a time that is longer than the short limits here and much shorter than the others.
fn takes_its_time() -> Backend {
    Backend::answers(|_| {
        pause(Duration::from_millis(700));
        response("200 OK", "", HELLO)
    })
}

fn a_sites_response_limit(driver: Driver) {
    let backend = Backend::never_answers();
    let proxy = limited(driver, "response = \"300ms\"", &backend.url());
    proxy.client().get("/").assert_error(504, "upstream_timeout");
    backend.wait_until_idle();
}

fn a_sites_limit_may_be_longer(driver: Driver) {
    let backend = takes_its_time();
    let sections = site("response = \"1h\"", &backend.url(), "").replace("\"*\"", "\"slow\"")
        + &rule("quick", "/*", "to", "").replace("{to}", &backend.url());
    let proxy = Proxy::start(&Config::new(driver).timeouts("response = \"200ms\"").section(&sections));
    let ask = |host| proxy.client().ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert_eq!(ask("slow").body, HELLO);
    ask("other").assert_error(504, "upstream_timeout");
}

fn a_rules_timeout_is_preferred(driver: Driver) {
    let backend = Backend::never_answers();
    let sections = site("response = \"1h\"", &backend.url(), "timeout = \"1s\"");
    let proxy = Proxy::start(&Config::new(driver).timeouts(NEVER).section(&sections));
    proxy.client().get("/").assert_error(504, "upstream_timeout");
}

fn a_rules_timeout_may_be_longer(driver: Driver) {
    let backend = takes_its_time();
    let sections = site("response = \"200ms\"", &backend.url(), "timeout = \"1m\"");
    let proxy = Proxy::start(&Config::new(driver).timeouts("response = \"200ms\"").section(&sections));
    assert_eq!(proxy.client().get("/").body, HELLO);
}

fn a_sites_connect_limit(driver: Driver) {
    let hangs = Unaccepting::new();
    let proxy = limited(driver, "connect = \"300ms\"", &hangs.url());
    proxy.client().get("/").assert_error(504, "upstream_connect_timeout");
}

fn a_sites_body_limit(driver: Driver) {
    let backend = Backend::never_answers();
    let proxy = limited(driver, "body = \"300ms\"", &backend.url());
    let mut client = proxy.client();
    let request = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nfour";
    client.ask(request).assert_error(408, "request_timeout");
    client.assert_closed();
    backend.wait_until_idle();
}

fn a_sites_write_limit(driver: Driver) {
    let backend = Backend::script(|visit| {
        visit.request();
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
        while visit.send(vec![b'x'; 64 * 1024]) {}
    });
    let proxy = limited(driver, "write = \"300ms\"", &backend.url());
    let mut client = Client::with_receive_buffer(&proxy.address(), 4096);
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    backend.wait_for_requests(1);
    backend.wait_until_idle();
    assert_ne!(client.rest().1, Ending::Silence);
}

fn a_sites_response_body_limit(driver: Driver) {
    let backend = Backend::script(|visit| {
        visit.request();
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour");
        visit.until_closed();
    });
    let proxy = limited(driver, "upstream_body = \"300ms\"", &backend.url());
    let cut = proxy.client().send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").try_response("GET").unwrap_err();
    assert_eq!((cut.bytes.as_slice(), cut.head.map(|head| head.status())), (&b"four"[..], Some(200)));
    assert_ne!(cut.ending, Ending::Silence);
    backend.wait_until_idle();
}

fn a_sites_tunnel_limit(driver: Driver) {
    let backend = Backend::switches(|visit| visit.until_closed());
    let proxy = limited(driver, "tunnel_idle = \"300ms\"", &backend.url());
    let mut client = proxy.client();
    assert_eq!(client.send(handshake("/", "")).head().status(), 101);
    assert_ne!(client.rest().1, Ending::Silence);
    backend.wait_until_idle();
}

/// A proxy whose file allows `limit` bytes, with rules `/less` (4), `/more` (1,000), `/all` (without a limit) and `/file`.
fn sized(driver: Driver, backend: &Backend, limit: &str) -> Proxy {
    let one = |path: &str, lines: &str| rule(path, path, "to", lines).replace("{to}", &backend.url());
    let list = one("/less", "max_request_body = \"4B\"")
        + &one("/more", "max_request_body = \"1000B\"")
        + &one("/all", "max_request_body = \"0\"")
        + &one("/file", "");
    let limits = format!("max_request_body = \"{limit}\"");
    Proxy::start(&Config::new(driver).limits(&limits).section(&list))
}

fn post(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length))
}

fn chunked(path: &str, length: usize) -> String {
    let body = "x".repeat(length);
    format!(
        "POST {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
    )
}

fn a_rules_body_size_may_be_smaller(driver: Driver) {
    let backend = Backend::echoes_body();
    let proxy = sized(driver, &backend, "10B");
    for request in [post("/less", 5), post("/file", 11), post("/more", 1001)] {
        let mut client = proxy.client();
        client.ask(request).assert_error(413, "content_too_large");
    }
    let expecting = post("/less", 5).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    proxy.client().ask(expecting.trim_end_matches('x')).assert_error(413, "content_too_large");
    assert_eq!(backend.accepts(), 0, "no backend was dialled");
    assert_eq!(proxy.client().ask(post("/less", 4)).text(), "xxxx");
}

fn a_rules_body_size_may_be_larger(driver: Driver) {
    let backend = Backend::echoes_body();
    let proxy = sized(driver, &backend, "10B");
    let mut client = proxy.client();
    for (path, length) in [("/more", 1000), ("/all", 100_000), ("/file", 10)] {
        assert_eq!(client.ask(post(path, length)).body.len(), length, "{path}");
        assert_eq!(client.ask(chunked(path, length)).body.len(), length, "{path} in chunks");
    }
    let proxy = sized(driver, &backend, "0");
    assert_eq!(proxy.client().ask(post("/file", 100_000)).body.len(), 100_000);
    proxy.client().ask(post("/less", 5)).assert_error(413, "content_too_large");
}

fn a_chunked_body_is_cut_at_the_rules_size(driver: Driver) {
    let backend = Backend::never_answers();
    let proxy = sized(driver, &backend, "0");
    let mut client = proxy.client();
    client.send("POST /less HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n");
    backend.wait_for_requests(1);
    client.send("1\r\n5\r\n");
    client.response().assert_error(413, "content_too_large");
    client.assert_closed();
    backend.wait_until_idle();
    let received = String::from_utf8(backend.received(0)).expect("ASCII");
    assert!(received.ends_with("\r\n4\r\nfour\r\n"), "nothing past the limit came: {received}");
}
