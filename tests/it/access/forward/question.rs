//! What the endpoint is told, and when.

use super::{config, get, guarding, lets_in, logs_in, provider, tells_head};
use crate::harness::backend::Backend;
use crate::harness::backends::{HELLO, response};
use crate::harness::client::Client;
use crate::harness::config::{Config, Driver};
use crate::harness::holding::Holding;
use crate::harness::message::Head;
use crate::harness::on_both_drivers;
use crate::harness::proxy::Proxy;
use crate::harness::websocket::handshake;
use std::sync::{Arc, OnceLock};

on_both_drivers![
    it_is_told_what_routing_saw_and_the_named_fields,
    the_fields_that_are_named_are_named_in_the_file,
    nothing_that_is_told_is_the_clients_to_say,
    a_trusted_proxy_tells_the_client_and_the_scheme_and_not_the_host,
    the_path_is_the_one_that_the_backend_gets,
    the_host_is_the_one_by_which_the_site_was_found,
    a_question_that_comes_back_by_way_of_others_ends,
    a_client_on_a_unix_socket_has_no_address,
    it_is_told_nothing_of_a_body,
    nothing_of_a_body_is_read_before_the_answer,
    a_client_that_waits_for_leave_gets_it_from_the_backend,
    what_is_answered_here_is_asked_about_too,
    a_request_that_no_rule_takes_is_not_asked_about,
    a_site_may_name_it_and_a_rule_may_leave_it_out,
];

/// The question that was asked last, as text.
fn asked(endpoint: &Backend) -> String {
    String::from_utf8(endpoint.last_head().raw).expect("ASCII")
}

fn field<'h>(head: &'h Head, name: &str) -> &'h str {
    head.fields.get(name).unwrap_or_default()
}

fn it_is_told_what_routing_saw_and_the_named_fields(driver: Driver) {
    let (endpoint, backend) = (lets_in(), Backend::says_hello());
    let url = format!("{}/oauth2/auth?allowed=staff", endpoint.url());
    let proxy = Proxy::start(&config(driver, &url, "", &backend));
    let lines = "cookie: a=1\r\nAccept: */*\r\nAuthorization: Basic eA==\r\nX-User: eve\r\nCookie: b=2\r\nUser-Agent: u\r\n";
    let request = format!("DELETE /a/b?c=d&e HTTP/1.1\r\nHost: WWW.Test.:8080\r\n{lines}\r\n");
    assert_eq!(proxy.client().ask(request).body, HELLO);
    assert_eq!(
        asked(&endpoint),
        format!(
            "GET /oauth2/auth?allowed=staff HTTP/1.1\r\nHost: {}\r\nX-Forwarded-Method: DELETE\r\nX-Forwarded-Proto: http\r\n\
             X-Forwarded-Host: www.test:8080\r\nX-Forwarded-Uri: /a/b?c=d&e\r\nX-Forwarded-For: 127.0.0.1\r\n\
             X-Real-IP: 127.0.0.1\r\ncookie: a=1\r\nAuthorization: Basic eA==\r\nCookie: b=2\r\nVia: 1.1 ringway\r\n\r\n",
            endpoint.address()
        )
    );
}

fn the_fields_that_are_named_are_named_in_the_file(driver: Driver) {
    let (endpoint, backend) = (lets_in(), Backend::says_hello());
    let proxy = guarding(driver, &endpoint, "request_headers = [\"X-Api-Key\", \"accept\"]", &backend);
    let lines = "x-api-key: 1\r\nCookie: a=1\r\nX_Api_Key: 2\r\nX-API-KEY: 3\r\nX-Api-Key2: 4\r\nAccept: text/html\r\n";
    assert_eq!(proxy.client().ask(get("/", lines)).status, 200);
    let told = asked(&endpoint);
    assert!(
        told.ends_with("X-Real-IP: 127.0.0.1\r\nx-api-key: 1\r\nX-API-KEY: 3\r\nAccept: text/html\r\nVia: 1.1 ringway\r\n\r\n"),
        "{told}"
    );
}

const SPOOFED: &str = "X-Forwarded-Method: HEAD\r\nX-Forwarded-Uri: /public\r\nX-Forwarded-Host: open.test\r\n\
                       X-Forwarded-Proto: https\r\nX-Forwarded-For: 10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\n\
                       Forwarded: for=10.0.0.1\r\nX_Forwarded_Uri: /public\r\nX-Original-URL: /public\r\n";

fn nothing_that_is_told_is_the_clients_to_say(driver: Driver) {
    let (endpoint, backend) = (lets_in(), Backend::says_hello());
    let proxy = guarding(driver, &endpoint, "", &backend);
    assert_eq!(proxy.client().ask(get("/secret", SPOOFED)).status, 200);
    assert_eq!(
        asked(&endpoint),
        format!(
            "GET /auth HTTP/1.1\r\nHost: {}\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: test\r\n\
             X-Forwarded-Uri: /secret\r\nX-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\nVia: 1.1 ringway\r\n\r\n",
            endpoint.address()
        )
    );
}

fn a_trusted_proxy_tells_the_client_and_the_scheme_and_not_the_host(driver: Driver) {
    let (endpoint, backend) = (lets_in(), Backend::says_hello());
    let config = config(driver, &endpoint.url(), "", &backend).server("trusted_proxies = [\"127.0.0.1\"]");
    let proxy = Proxy::start(&config);
    assert_eq!(proxy.client().ask(get("/secret", SPOOFED)).status, 200);
    let told = endpoint.last_head();
    let names = ["method", "proto", "host", "uri", "for"].map(|name| format!("x-forwarded-{name}"));
    let values = names.each_ref().map(|name| field(&told, name));
    assert_eq!(values, ["GET", "https", "test", "/secret", "10.0.0.1"]);
    assert_eq!((told.target(), field(&told, "x-real-ip")), ("/", "10.0.0.1"));
    assert!(!told.fields.has("forwarded"));
}

fn the_path_is_the_one_that_the_backend_gets(driver: Driver) {
    let (endpoint, backend) = (lets_in(), Backend::says_hello());
    let proxy = guarding(driver, &endpoint, "", &backend);
    let targets = [
        "/a/../b",
        "/%2e%2E/b",
        "/a/./%2e/b?x=/../y",
        "//evil.com/x",
        "/a%2Fb",
        "/a%2e%2e%2fb",
        "/\\..\\b",
        "/?",
        "/b;..;/c",
        "http://other.test/x/../y?z",
        "http://other.test",
    ];
    for target in targets {
        let answer = proxy.client().ask(get(target, ""));
        if answer.status != 200 {
            assert_eq!(answer.status, 400, "{target}");
            continue;
        }
        let (told, got) = (endpoint.last_head(), backend.last_head());
        assert_eq!(
            (field(&told, "x-forwarded-uri"), field(&told, "x-forwarded-host")),
            (got.target(), field(&got, "host"))
        );
    }
    assert_eq!(proxy.client().ask("OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n").status, 200);
    assert_eq!(field(&endpoint.last_head(), "x-forwarded-uri"), "*");
    assert_eq!(proxy.client().ask("GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").status, 200);
    assert!(!endpoint.last_head().fields.has("x-forwarded-host"));
}

fn the_host_is_the_one_by_which_the_site_was_found(driver: Driver) {
    let (endpoint, backend) = (lets_in(), Backend::says_hello());
    let site = format!(
        "[[sites]]\nname = \"six\"\nhosts = [\"[::1]\"]\nauth = \"sso\"\nupstream = {{ backends = [{{ url = \"{}\" }}] }}",
        backend.url()
    );
    let proxy = Proxy::start(&Config::new(driver).section(&provider(&endpoint.url(), "")).section(&site));
    for (host, told) in [("[0:0:0:0:0:0:0:1]", "[::1]"), ("[::0001]:8080", "[::1]:8080")] {
        assert_eq!(proxy.client().ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).body, HELLO);
        assert_eq!(field(&endpoint.last_head(), "x-forwarded-host"), told);
    }
}

/// How often a request may have passed a Ringway.
const PASSES_MAX: usize = 10;

/// A load balancer that passes questions on to the proxy which asks them.
fn a_question_that_comes_back_by_way_of_others_ends(driver: Driver) {
    let front = Arc::new(OnceLock::new());
    let known = front.clone();
    let balancer = Backend::script(move |visit| {
        if let (Some(head), Some(address)) = (visit.head(), known.get()) {
            let answer = Client::connect(address).ask(head.raw);
            visit.send(response(&format!("{} Passed On", answer.status), "", &answer.body));
        }
    });
    let backend = Backend::says_hello();
    let config = config(driver, &balancer.url(), "timeout = \"1h\"", &backend).server("via = false");
    let proxy = Proxy::start(&config);
    front.set(proxy.address()).expect("one proxy");
    proxy.client().get("/").assert_error(503, "auth_unavailable");
    assert_eq!((balancer.requests(), backend.accepts()), (PASSES_MAX + 1, 0));
    let vias = balancer.last_head().fields.all("via").len();
    assert_eq!(vias, PASSES_MAX + 1, "each passing was told");
    // Who passed as often before it came is one of them.
    let lines = "Via: 1.1 ringway\r\n".repeat(PASSES_MAX);
    proxy.client().ask(get("/", &lines)).assert_error(503, "auth_unavailable");
    assert_eq!(balancer.requests(), PASSES_MAX + 2);
}

fn a_client_on_a_unix_socket_has_no_address(driver: Driver) {
    let (endpoint, backend) = (lets_in(), Backend::says_hello());
    let directory = tempfile::tempdir().unwrap();
    let address = format!("unix:{}/front.sock", directory.path().display());
    let proxy =
        Proxy::start_in(directory, &config(driver, &endpoint.url(), "", &backend).listeners(&[&address]));
    assert_eq!(proxy.client().ask(get("/", SPOOFED)).status, 200);
    let told = endpoint.last_head();
    assert!(!told.fields.has("x-forwarded-for") && !told.fields.has("x-real-ip"), "{told:?}");
}

fn it_is_told_nothing_of_a_body(driver: Driver) {
    let (endpoint, backend) = (lets_in(), Backend::echoes_body());
    let proxy = guarding(driver, &endpoint, "", &backend);
    let mut client = proxy.client();
    let framings =
        ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"];
    for framing in framings {
        let answer =
            client.ask(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain\r\n{framing}"));
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
        let told = endpoint.last_head();
        let names = ["content-length", "transfer-encoding", "content-type", "expect"];
        assert!(!names.iter().any(|name| told.fields.has(name)), "{told:?}");
    }
    let received = String::from_utf8(endpoint.received(0)).unwrap();
    assert!(!received.contains("hello") && endpoint.accepts() == 1, "{received}");
}

/// More than the sockets between client and proxy hold.
const LARGE_BYTES: usize = 64 * 1024 * 1024;

fn nothing_of_a_body_is_read_before_the_answer(driver: Driver) {
    let endpoint = Holding::answers(|_| response("200 OK", "", b""));
    let backend =
        Backend::answers(|request| response("200 OK", "", request.body.len().to_string().as_bytes()));
    let proxy = guarding(driver, &endpoint, "", &backend);
    let mut client = proxy.client();
    client.send(format!("PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: {LARGE_BYTES}\r\n\r\n"));
    endpoint.wait_until_it_holds(1);
    let sent = client.send_until_stalled(LARGE_BYTES);
    assert!(sent < LARGE_BYTES / 2, "{sent} bytes were taken");
    assert_eq!(backend.accepts(), 0);
    endpoint.release_all();
    client.send(vec![b'x'; LARGE_BYTES - sent]);
    assert_eq!(client.response().text(), LARGE_BYTES.to_string());
}

fn a_client_that_waits_for_leave_gets_it_from_the_backend(driver: Driver) {
    let endpoint = logs_in();
    let backend = Backend::script(|visit| {
        visit.head();
        visit.send("HTTP/1.1 100 Continue\r\n\r\n");
        visit.exactly(5);
        visit.send(response("200 OK", "", HELLO));
    });
    let proxy = guarding(driver, &endpoint, "", &backend);
    let request = |lines: &str| {
        format!("POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n{lines}\r\n")
    };
    let mut client = proxy.client();
    assert_eq!(client.send(request(super::SESSION)).head().status(), 100);
    assert_eq!(client.send("hello").response().body, HELLO);
    let mut client = proxy.client();
    let denied = client.ask(request(""));
    assert_eq!((denied.status, denied.interim.len(), denied.field("connection")), (302, 0, Some("close")));
    client.assert_closed();
    assert_eq!(backend.accepts(), 1);
}

fn what_is_answered_here_is_asked_about_too(driver: Driver) {
    let (endpoint, backend) = (logs_in(), Backend::says_hello());
    let rule = |path: &str, what: &str| {
        format!("[[rules]]\nname = \"{path}\"\npath = \"{path}\"\nauth = \"sso\"\n{what}\n")
    };
    let rules = rule("/old", "redirect = { to = \"https://new.test/\" }")
        + &rule("/fixed", "respond = { status = 200, body = \"secret\" }")
        + &rule("/unset", "target = \"http://${NOBODY_SETS_THIS}\"");
    let proxy = Proxy::start(&Config::new(driver).section(&provider(&endpoint.url(), "")).section(&rules));
    for (target, status) in [("/old", 308), ("/fixed", 200), ("/unset", 502)] {
        assert_eq!(proxy.client().get(target).status, 302, "{target}");
        assert_eq!(proxy.client().ask(get(target, super::SESSION)).status, status, "{target}");
    }
    assert_eq!((endpoint.requests(), backend.requests()), (6, 0));
}

fn a_request_that_no_rule_takes_is_not_asked_about(driver: Driver) {
    let (endpoint, backend) = (lets_in(), Backend::says_hello());
    let site = format!(
        "[[sites]]\nname = \"a\"\nhosts = [\"test\"]\nauth = \"sso\"\n[[sites.rules]]\nname = \"api\"\npath = \"/api/*\"\ntarget = \"{}\"\nws = false",
        backend.url()
    );
    let proxy = Proxy::start(&Config::new(driver).section(&provider(&endpoint.url(), "")).section(&site));
    let mut client = proxy.client();
    client.get("/other").assert_error(404, "no_rule");
    client.ask(handshake("/api/x", "")).assert_error(404, "no_rule");
    client.ask("GET /api/x HTTP/1.1\r\nHost: other\r\n\r\n").assert_error(404, "no_site");
    assert_eq!(endpoint.requests(), 0);
    assert_eq!(client.get("/api/x").status, 200);
    assert_eq!(endpoint.requests(), 1);
}

fn a_site_may_name_it_and_a_rule_may_leave_it_out(driver: Driver) {
    let (endpoint, backend) = (logs_in(), tells_head());
    let rule = |table: &str, path: &str, lines: &str| {
        format!(
            "[[{table}]]\nname = \"{path}\"\npath = \"{path}\"\ntarget = \"{}\"\n{lines}\n",
            backend.url()
        )
    };
    let sections = "[[sites]]\nname = \"a\"\nhosts = [\"test\"]\nauth = \"sso\"\n".to_owned()
        + &rule("sites.rules", "/open/*", "auth = false")
        + &rule("sites.rules", "/*", "")
        + &rule("rules", "/elsewhere", "");
    let proxy = Proxy::start(&Config::new(driver).section(&provider(&endpoint.url(), "")).section(&sections));
    let status = |target: &str| proxy.client().get(target).status;
    assert_eq!([status("/open/x"), status("/x"), status("/openx")], [200, 302, 302]);
    assert_eq!(proxy.client().ask("GET /elsewhere HTTP/1.1\r\nHost: other\r\n\r\n").status, 200);
    assert_eq!(endpoint.requests(), 2);
}
