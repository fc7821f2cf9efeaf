//! "Fields that change on the way": what the backend and the client see of each other's fields.

use crate::harness::backend::Backend;
use crate::harness::backends::response;
use crate::harness::config::{Config, Driver};
use crate::harness::message::Head;
use crate::harness::on_both_drivers;
use crate::harness::proxy::Proxy;

on_both_drivers![
    hop_by_hop_fields_stay_on_their_hop,
    fields_that_connection_names_are_removed,
    what_carries_the_message_cannot_be_named_away,
    everything_else_passes_unchanged,
    location_cookies_and_coding_are_the_backends_business,
    a_strangers_forwarded_fields_are_replaced,
    our_own_fields_cannot_be_named_away,
    a_trusted_peers_forwarded_fields_are_kept_and_appended_to,
    x_real_ip_is_the_right_most_untrusted_address,
    forwarded_is_written_when_switched_on,
    forwarded_from_a_trusted_peer_is_appended_to,
    both_kinds_can_be_switched_off,
    a_unix_peer_is_trusted_only_when_listed,
    names_with_underscores_do_not_collide_with_ours,
    via_is_added_both_ways,
    via_is_off_by_default,
    a_request_that_has_come_by_ten_times_is_a_loop,
    dialling_our_own_listener_is_a_loop,
    trace_is_refused,
    trace_passes_when_allowed,
    max_forwards_is_counted_down,
    a_response_without_date_gets_one,
    a_date_that_is_there_stays,
    a_request_id_is_made,
    a_request_id_is_kept_from_trusted_peers_only,
    an_absolute_target_rewrites_host,
    the_tenant_field_of_a_client_is_dropped,
];

/// What the backend sees of a GET with these field lines after its Host.
fn seen(config: impl Fn(Config) -> Config, driver: Driver, lines: &str) -> Head {
    let backend = Backend::says_hello();
    let proxy = Proxy::start(&config(Config::to(driver, &backend)));
    let answer = proxy.client().ask(format!("GET /p HTTP/1.1\r\nHost: test\r\n{lines}\r\n"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    backend.last_head()
}

fn same(config: Config) -> Config {
    config
}

fn hop_by_hop_fields_stay_on_their_hop(driver: Driver) {
    let hop = "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\n\
               Upgrade: h2c\r\nProxy-Authenticate: Basic\r\nProxy-Authorization: Basic eA==\r\n";
    let backend = Backend::answers(move |_| response("200 OK", hop, b"x"));
    let proxy = Proxy::to(driver, &backend);
    let answer = proxy.client().ask(format!("GET / HTTP/1.1\r\nHost: test\r\n{hop}X-Kept: 1\r\n\r\n"));
    for name in hop.split("\r\n").filter_map(|line| Some(line.split_once(':')?.0)) {
        assert_eq!(backend.last_head().fields.get(name), None, "upstream");
        assert_eq!(answer.field(name), None, "downstream");
    }
    assert_eq!(backend.last_head().fields.get("X-Kept"), Some("1"));
}

fn fields_that_connection_names_are_removed(driver: Driver) {
    let lines = "Connection: x-one, X-TWO\r\nX-One: 1\r\nConnection: x-three\r\nx-two: 2\r\nX-Three: 3\r\nX-Four: 4\r\n";
    let backend = Backend::answers(move |_| response("200 OK", lines, b"x"));
    let proxy = Proxy::to(driver, &backend);
    let answer = proxy.client().ask(format!("GET / HTTP/1.1\r\nHost: test\r\n{lines}\r\n"));
    for fields in [&backend.last_head().fields, &answer.head.fields] {
        assert_eq!([fields.get("x-one"), fields.get("x-two"), fields.get("x-three")], [None; 3]);
        assert_eq!(fields.get("x-four"), Some("4"));
    }
}

fn what_carries_the_message_cannot_be_named_away(driver: Driver) {
    let backend = Backend::answers(|_| response("200 OK", "Connection: content-length\r\n", b"four"));
    let proxy = Proxy::to(driver, &backend);
    let lines = "Connection: host, content-length, transfer-encoding\r\nContent-Length: 3";
    let answer = proxy.client().ask(format!("POST / HTTP/1.1\r\nHost: test\r\n{lines}\r\n\r\nabc"));
    assert_eq!(answer.field("content-length"), Some("4"));
    assert_eq!(backend.last_head().fields.get("host"), Some("test"));
    assert_eq!(backend.last_head().fields.get("content-length"), Some("3"));
}

fn everything_else_passes_unchanged(driver: Driver) {
    let lines = "x-LOWER: 1\r\nX-Twice: a\r\nAccept: */*\r\nX-Twice:\tb, c \r\nX-Empty:\r\nX-Odd: \"\\ ;=,\t\u{e9}\u{ff}\r\n";
    let lines: Vec<u8> = lines.chars().map(|c| c as u8).collect();
    let answer_head =
        [b"HTTP/1.1 200 Fine By Me\r\n".as_slice(), &lines, b"Content-Length: 0\r\n\r\n"].concat();
    let backend = Backend::answers_with(answer_head.clone());
    let proxy = Proxy::to(driver, &backend);
    let request = [b"GET /%7Ea//b?q=%zz HTTP/1.1\r\nHost: Test:80\r\n".as_slice(), &lines, b"\r\n"].concat();
    let answer = proxy.client().ask(&request);
    let expected = Head::parse(&request);
    let seen = backend.last_head();
    assert_eq!(seen.start_line, expected.start_line);
    assert_eq!(seen.fields.0[..expected.fields.0.len()], expected.fields.0[..]);
    assert_eq!(answer.head.start_line, "HTTP/1.1 200 Fine By Me");
    let expected = Head::parse(&answer_head).fields.0;
    let got: Vec<_> =
        answer.head.fields.0.into_iter().filter(|(name, _)| name != "Date" && name != "date").collect();
    assert_eq!(got[..6], expected[..6]);
}

fn location_cookies_and_coding_are_the_backends_business(driver: Driver) {
    let lines = "Location: http://127.0.0.1:1/x\r\nSet-Cookie: a=1; Domain=b\r\nSet-Cookie: c=2\r\nContent-Encoding: gzip\r\n";
    let backend = Backend::answers(move |_| response("302 Found", lines, b"no gzip at all"));
    let answer = Proxy::to(driver, &backend).client().get("/");
    assert_eq!(answer.field("location"), Some("http://127.0.0.1:1/x"));
    assert_eq!(answer.head.fields.all("set-cookie"), ["a=1; Domain=b", "c=2"]);
    assert_eq!((answer.field("content-encoding"), answer.text().as_str()), (Some("gzip"), "no gzip at all"));
}

const SPOOFED: &str = "X-Forwarded-For: 1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: h\r\n\
                       X-Forwarded-Port: 443\r\nX-Forwarded-Else: e\r\nForwarded: for=1.2.3.4\r\n";

fn a_strangers_forwarded_fields_are_replaced(driver: Driver) {
    let fields = seen(same, driver, SPOOFED).fields;
    assert_eq!(fields.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(fields.get("x-real-ip"), Some("127.0.0.1"));
    assert_eq!(fields.get("x-forwarded-proto"), Some("http"));
    assert_eq!(fields.get("x-forwarded-host"), Some("test"));
    assert_eq!(
        [fields.get("x-forwarded-port"), fields.get("x-forwarded-else"), fields.get("forwarded")],
        [None; 3]
    );
}

fn our_own_fields_cannot_be_named_away(driver: Driver) {
    let lines = "Connection: x-forwarded-for, x-real-ip, x-forwarded-proto, x-forwarded-host\r\n";
    let fields = seen(same, driver, lines).fields;
    assert_eq!(
        (fields.get("x-forwarded-for"), fields.get("x-real-ip")),
        (Some("127.0.0.1"), Some("127.0.0.1"))
    );
    assert_eq!(
        (fields.get("x-forwarded-proto"), fields.get("x-forwarded-host")),
        (Some("http"), Some("test"))
    );
}

fn a_trusted_peers_forwarded_fields_are_kept_and_appended_to(driver: Driver) {
    let fields = seen(|config| config.server("trusted_proxies = [\"127.0.0.0/8\"]"), driver, SPOOFED).fields;
    assert_eq!(fields.all("x-forwarded-for").join(", "), "1.2.3.4, 127.0.0.1");
    assert_eq!(fields.get("x-real-ip"), Some("1.2.3.4"));
    assert_eq!(fields.get("x-forwarded-proto"), Some("https"));
    assert_eq!((fields.get("x-forwarded-host"), fields.get("x-forwarded-port")), (Some("h"), Some("443")));
}

fn x_real_ip_is_the_right_most_untrusted_address(driver: Driver) {
    let trusted = |config: Config| config.server("trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]");
    let real = |line| seen(trusted, driver, line).fields.get("x-real-ip").map(str::to_owned).unwrap();
    assert_eq!(real("X-Forwarded-For: 6.6.6.6, 5.5.5.5, 10.1.1.1\r\n"), "5.5.5.5");
    assert_eq!(real("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7,10.0.0.9\r\n"), "7.7.7.7");
    assert_eq!(real("X-Forwarded-For: 2001:db8::7\r\n"), "2001:db8::7");
}

fn forwarded_is_written_when_switched_on(driver: Driver) {
    let backend = Backend::says_hello();
    let config = Config::to(driver, &backend).section("[forwarded]\nforwarded = true");
    let proxy = Proxy::start(&config);
    let answer = proxy.client().ask("GET / HTTP/1.1\r\nHost: test:81\r\nForwarded: for=1.2.3.4\r\n\r\n");
    assert_eq!(answer.status, 200);
    let head = backend.last_head();
    let value = head.fields.get("forwarded").expect("the field");
    let mut pairs: Vec<&str> = value.split(';').collect();
    pairs.sort_unstable();
    assert_eq!(pairs, ["for=127.0.0.1", "host=\"test:81\"", "proto=http"]);
}

fn forwarded_from_a_trusted_peer_is_appended_to(driver: Driver) {
    let config = |config: Config| {
        config
            .server("trusted_proxies = [\"127.0.0.1\"]")
            .section("[forwarded]\nforwarded = true\nx_forwarded = false")
    };
    let fields = seen(config, driver, "Forwarded: for=\"[2001:db8::1]\";proto=https\r\n").fields;
    let value = fields.all("forwarded").join(", ");
    assert!(value.starts_with("for=\"[2001:db8::1]\";proto=https, for=127.0.0.1"), "{value}");
}

fn both_kinds_can_be_switched_off(driver: Driver) {
    let off = |config: Config| config.section("[forwarded]\nx_forwarded = false\nforwarded = false");
    let fields = seen(off, driver, SPOOFED).fields;
    for name in ["x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-forwarded-host", "forwarded"] {
        assert_eq!(fields.get(name), None, "{name}");
    }
}

fn a_unix_peer_is_trusted_only_when_listed(driver: Driver) {
    for (trusted, expected) in [("[]", None), ("[\"unix\"]", Some("1.2.3.4"))] {
        let backend = Backend::says_hello();
        let directory = tempfile::tempdir().unwrap();
        let listener = format!("unix:{}", directory.path().join("l.sock").display());
        let server = format!("trusted_proxies = {trusted}");
        let proxy =
            Proxy::start_in(directory, &Config::to(driver, &backend).listeners(&[&listener]).server(&server));
        let request = format!("GET / HTTP/1.1\r\nHost: test\r\n{SPOOFED}\r\n");
        assert_eq!(proxy.client().ask(request).status, 200);
        assert_eq!(backend.last_head().fields.get("x-real-ip"), expected, "{trusted}");
    }
}

fn names_with_underscores_do_not_collide_with_ours(driver: Driver) {
    let lines = "X_Forwarded_For: 6.6.6.6\r\nX-Forwarded_For: 6.6.6.6\r\nx_real_ip: 6.6.6.6\r\nX_Other_Thing: kept\r\n";
    let fields = seen(same, driver, lines).fields;
    for name in ["X_Forwarded_For", "X-Forwarded_For", "x_real_ip"] {
        assert_eq!(fields.get(name), None, "{name}");
    }
    assert_eq!(fields.get("x_other_thing"), Some("kept"));
}

fn via_is_added_both_ways(driver: Driver) {
    let backend = Backend::answers(|_| response("200 OK", "Via: 1.0 inner\r\n", b"x"));
    let proxy = Proxy::start(&Config::to(driver, &backend).server("via = true"));
    let answer = proxy.client().ask("GET / HTTP/1.1\r\nHost: test\r\nVia: 1.1 outer\r\n\r\n");
    assert_eq!(backend.last_head().fields.all("via").join(", "), "1.1 outer, 1.1 ringway");
    assert_eq!(answer.head.fields.all("via").join(", "), "1.0 inner, 1.1 ringway");
}

fn via_is_off_by_default(driver: Driver) {
    let fields = seen(same, driver, "Via: 1.1 outer\r\n").fields;
    assert_eq!(fields.all("via"), ["1.1 outer"]);
}

fn a_request_that_has_come_by_ten_times_is_a_loop(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::start(&Config::to(driver, &backend).server("via = true"));
    let ask = |times: usize| {
        let via = vec!["1.1 ringway"; times].join(", ");
        proxy.client().ask(format!("GET / HTTP/1.1\r\nHost: test\r\nVia: {via}\r\n\r\n"))
    };
    assert_eq!(ask(10).status, 200);
    ask(11).assert_error(508, "loop");
    assert_eq!(backend.requests(), 1);
}

fn dialling_our_own_listener_is_a_loop(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::to(driver, &backend);
    proxy.reload(&Config::new(driver).rule("self", "/*", &proxy.url("")));
    proxy.client().get("/").assert_error(508, "loop");
    assert_eq!(backend.accepts(), 0);
}

fn trace_is_refused(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::to(driver, &backend);
    let answer = proxy.client().ask("TRACE / HTTP/1.1\r\nHost: test\r\n\r\n");
    answer.assert_error(405, "method_not_allowed");
    assert!(!answer.field("allow").expect("Allow").contains("TRACE"));
    assert_eq!(backend.accepts(), 0);
}

fn trace_passes_when_allowed(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::start(&Config::to(driver, &backend).server("allow_trace = true"));
    assert_eq!(proxy.client().ask("TRACE / HTTP/1.1\r\nHost: test\r\n\r\n").status, 200);
    assert_eq!(backend.last_head().method(), "TRACE");
    let last = "TRACE /x HTTP/1.1\r\nHost: test\r\nMax-Forwards: 0\r\nCookie: secret\r\n\r\n";
    let answer = proxy.client().ask(last);
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("message/http")));
    assert!(answer.text().starts_with("TRACE /x HTTP/1.1\r\n") && !answer.text().contains("secret"));
    assert_eq!(backend.requests(), 1);
}

fn max_forwards_is_counted_down(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::to(driver, &backend);
    let ask = |method, count| {
        let request = format!("{method} / HTTP/1.1\r\nHost: test\r\nMax-Forwards: {count}\r\n\r\n");
        proxy.client().ask(request)
    };
    assert_eq!(ask("OPTIONS", 0).status, 200);
    assert_eq!(backend.requests(), 0);
    assert_eq!(ask("OPTIONS", 3).status, 200);
    assert_eq!(backend.last_head().fields.get("max-forwards"), Some("2"));
    assert_eq!(ask("GET", 0).status, 200);
    assert_eq!(backend.last_head().fields.get("max-forwards"), Some("0"));
}

fn a_response_without_date_gets_one(driver: Driver) {
    let answer = Proxy::to(driver, &Backend::says_hello()).client().get("/");
    let date = answer.field("date").expect("a Date");
    assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
}

fn a_date_that_is_there_stays(driver: Driver) {
    let backend = Backend::answers(|_| response("200 OK", "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", b"x"));
    let answer = Proxy::to(driver, &backend).client().get("/");
    assert_eq!(answer.field("date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
}

fn a_request_id_is_made(driver: Driver) {
    let config = |config: Config| config.server("request_id = \"X-Request-Id\"");
    let first = seen(config, driver, "").fields;
    let second = seen(config, driver, "").fields;
    let id = first.get("x-request-id").expect("an id");
    assert!(id.len() >= 16 && Some(id) != second.get("x-request-id"), "{id}");
    assert_eq!(seen(same, driver, "").fields.get("x-request-id"), None);
}

fn a_request_id_is_kept_from_trusted_peers_only(driver: Driver) {
    let config = |config: Config| config.server("request_id = \"x-request-id\"");
    let lines = "X-Request-Id: mine\r\n";
    let fields = seen(config, driver, lines).fields;
    assert_ne!(fields.get("x-request-id").expect("one id"), "mine");
    let trusted = |c| config(c).server("trusted_proxies = [\"127.0.0.1\"]");
    assert_eq!(seen(trusted, driver, lines).fields.get("x-request-id"), Some("mine"));
}

fn an_absolute_target_rewrites_host(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::to(driver, &backend);
    let answer = proxy.client().ask("GET http://real:81/a?b HTTP/1.1\r\nHost: other\r\n\r\n");
    assert_eq!(answer.status, 200);
    assert_eq!(backend.last_head().fields.get("host"), Some("real:81"));
    assert_eq!(backend.last_head().start_line, "GET /a?b HTTP/1.1");
}

fn the_tenant_field_of_a_client_is_dropped(driver: Driver) {
    let fields = seen(same, driver, "X-Vhost-Tenant: mine\r\nX_Vhost_Tenant: mine\r\n").fields;
    assert!(!fields.has("x-vhost-tenant") && !fields.has("x_vhost_tenant"));
}
