//! "Errors that Ringway answers itself": the JSON body, its codes, and what it never tells.

use crate::harness::backend::Backend;
use crate::harness::backends::HELLO;
use crate::harness::config::{Config, Driver};
use crate::harness::on_both_drivers;
use crate::harness::proxy::Proxy;
use crate::harness::unreachable::Refusing;

on_both_drivers![
    an_error_is_a_json_object,
    a_bad_request_has_a_detail,
    head_gets_no_body,
    connect_is_not_allowed,
    unknown_codings_and_versions_are_told,
    bounds_are_configurable,
    a_name_that_does_not_resolve_is_502,
    nothing_internal_is_told,
    peer_bytes_are_not_repeated,
    a_request_id_is_told,
    no_site_and_no_rule_are_told_apart,
    an_answer_before_the_body_drains_it,
];

fn an_error_is_a_json_object(driver: Driver) {
    let proxy = Proxy::start(&Config::new(driver).rule("all", "/x", &Backend::says_hello().url()));
    let mut client = proxy.client();
    let answer = client.get("/y");
    answer.assert_error(404, "no_rule");
    assert_eq!(answer.json("error"), "Not Found");
    assert!(answer.field("date").is_some() && answer.field("content-length").is_some(), "{answer:?}");
    assert_eq!(client.get("/y").status, 404, "the connection goes on");
}

fn a_bad_request_has_a_detail(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::to(driver, &backend);
    let requests = [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
    ];
    let details = requests.map(|request| {
        let mut client = proxy.client();
        let answer = client.ask(request);
        answer.assert_error(400, "bad_request");
        assert_eq!(answer.field("connection"), Some("close"));
        client.assert_closed();
        answer.json("detail")
    });
    assert!(
        details.iter().all(|detail| detail.chars().all(|c| c.is_ascii_lowercase() || c == '_')),
        "{details:?}"
    );
    assert!(details[0] != details[1] && details[1] != details[2] && !details[0].is_empty(), "{details:?}");
}

fn head_gets_no_body(driver: Driver) {
    let proxy = Proxy::start(&Config::new(driver));
    let mut client = proxy.client();
    let answer = client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").response_to("HEAD");
    assert_eq!(answer.status, 404);
    assert!(answer.field("content-length").is_some_and(|length| length != "0"), "{answer:?}");
    assert_eq!(client.get("/").status, 404, "no byte of a body came");
}

fn connect_is_not_allowed(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::to(driver, &backend);
    let answer = proxy.client().ask("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
    answer.assert_error(405, "method_not_allowed");
    assert!(answer.field("allow").is_some_and(|methods| methods.contains("GET")));
    assert_eq!(backend.accepts(), 0);
}

fn unknown_codings_and_versions_are_told(driver: Driver) {
    let proxy = Proxy::to(driver, &Backend::says_hello());
    let ask = |request| proxy.client().ask(request);
    let coding = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n";
    ask(coding).assert_error(501, "not_implemented");
    ask("GET / HTTP/2.0\r\nHost: a\r\n\r\n").assert_error(505, "http_version_not_supported");
}

fn bounds_are_configurable(driver: Driver) {
    let backend = Backend::says_hello();
    let limits = "request_line = \"100B\"\nrequest_head = \"400B\"\nfields = 5\nchunk_line = \"16B\"";
    let proxy = Proxy::start(&Config::to(driver, &backend).limits(limits));
    let ask = |request: String| proxy.client().ask(request);
    let line = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(length - 14));
    assert_eq!(ask(line(100)).body, HELLO);
    ask(line(101)).assert_error(414, "uri_too_long");
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    assert_eq!(ask(fields(5)).body, HELLO);
    ask(fields(6)).assert_error(431, "request_header_fields_too_large");
    let head = |length: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(length - 32));
    assert_eq!(ask(head(400)).body, HELLO);
    ask(head(401)).assert_error(431, "request_header_fields_too_large");
    let post = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(ask(format!("{post}1;x=y\r\nz\r\n0\r\n\r\n")).body, HELLO);
    ask(format!("{post}1;x={}\r\nz\r\n0\r\n\r\n", "y".repeat(20))).assert_error(400, "bad_request");
}

fn a_name_that_does_not_resolve_is_502(driver: Driver) {
    let config = Config::new(driver).rule("all", "/*", "http://nowhere.invalid:80");
    Proxy::start(&config).client().get("/").assert_error(502, "upstream_dns");
}

fn nothing_internal_is_told(driver: Driver) {
    let refusing = Refusing::new();
    let port = refusing.url().trim_start_matches("http://127.0.0.1:").to_owned();
    let closing = Backend::answers_and_closes("");
    let garbage = Backend::answers_with("garbage\r\n\r\n");
    let config = Config::new(driver)
        .rule("refuses", "/refuses", &refusing.url())
        .rule("closes", "/closes", &closing.url())
        .rule("garbage", "/garbage", &garbage.url());
    let proxy = Proxy::start(&config);
    for (path, code) in [
        ("/refuses", "upstream_refused"),
        ("/closes", "upstream_closed"),
        ("/garbage", "upstream_bad_response"),
    ] {
        let answer = proxy.client().get(path);
        answer.assert_error(502, code);
        let whole = format!("{:?}{}", answer.head, answer.text()).to_lowercase();
        for secret in ["127.0.0.1", "os error", "refused (", "econn", &port, "thread"] {
            assert!(!whole.contains(secret), "{secret}: {whole}");
        }
    }
}

fn peer_bytes_are_not_repeated(driver: Driver) {
    let proxy = Proxy::start(&Config::new(driver));
    let answer = proxy.client().ask("GET /<script>\"marker HTTP/1.1\r\nHost: marker\r\nX: marker\r\n\r\n");
    assert!(!answer.text().contains("marker") && !answer.text().contains("script"), "{}", answer.text());
}

fn a_request_id_is_told(driver: Driver) {
    let config =
        Config::new(driver).server("request_id = \"x-request-id\"\ntrusted_proxies = [\"127.0.0.1\"]");
    let proxy = Proxy::start(&config);
    let answer = proxy.client().ask("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine-1\r\n\r\n");
    answer.assert_error(404, "no_site");
    assert_eq!(answer.json("request_id"), "mine-1");
    assert!(proxy.client().get("/").json("request_id").len() >= 16);
}

fn no_site_and_no_rule_are_told_apart(driver: Driver) {
    let backend = Backend::says_hello();
    let site = format!(
        "[[sites]]\nname = \"s\"\nhosts = [\"known\"]\nrules = [{{ name = \"x\", path = \"/x\", target = \"{}\" }}]",
        backend.url()
    );
    let proxy = Proxy::start(&Config::new(driver).section(&site));
    let ask = |host, path| proxy.client().ask(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert_eq!(ask("known", "/x").body, HELLO);
    ask("known", "/y").assert_error(404, "no_rule");
    ask("unknown", "/x").assert_error(404, "no_site");
}

fn an_answer_before_the_body_drains_it(driver: Driver) {
    let proxy = Proxy::start(&Config::new(driver));
    let mut client = proxy.client();
    let body = "x".repeat(10_000);
    let answer = client.ask(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n{body}"));
    answer.assert_error(404, "no_site");
    assert_eq!(client.get("/").status, 404, "the connection goes on");
    let answer = client.ask(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n{body}"));
    answer.assert_error(404, "no_site");
    client.finish();
    let (rest, _) = client.rest();
    assert!(rest.is_empty());
}
