//! The form of every answer of Ringway's own, field by field, and how the connection goes on after it; loops; backends that
//! take over from others. What each code means stands in `errors`.

use crate::harness::backend::Backend;
use crate::harness::backends::HELLO;
use crate::harness::client::{Address, Client, Response};
use crate::harness::config::{Config, Driver};
use crate::harness::message::Framing;
use crate::harness::on_both_drivers;
use crate::harness::proxy::Proxy;
use crate::harness::unreachable::{Refusing, Unaccepting};
use crate::harness::websocket::{KEY, handshake};
use std::process::Command;

on_both_drivers![
    every_answer_has_its_form,
    a_late_head_has_its_form_too,
    an_unknown_site_has_its_form_too,
    out_of_descriptors_is_an_answer_too,
    head_gets_the_same_without_a_body,
    a_client_of_http_1_0_is_told_how_it_goes_on,
    the_request_id_is_the_one_that_the_backend_got,
    a_hostile_request_id_breaks_no_json,
    a_listener_on_every_address_is_no_target,
    a_listener_on_a_unix_socket_is_no_target,
    a_round_through_two_proxies_is_a_loop,
    max_forwards_0_is_answered_here,
    the_next_backend_takes_over,
    the_next_backend_gets_the_whole_body,
    the_last_failure_is_told_when_none_takes_over,
    a_refused_body_is_drained_up_to_64_kib,
    a_client_that_sends_a_mebibyte_still_reads_the_answer,
];

/// Field lines, lower-case names, beside those that every answer has.
type More = &'static [(&'static str, &'static str)];

const ALLOW: More = &[("allow", "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS")];
const WEBSOCKET: More = &[("sec-websocket-version", "13"), ("upgrade", "websocket")];

/// An answer of Ringway's own.
#[derive(Clone, Copy, Debug)]
struct Expected {
    status_line: &'static str,
    code: &'static str,
    /// What exactly is wrong, in a 400 alone.
    detail: Option<&'static str>,
    more: More,
    closes: bool,
}

const fn stays(status_line: &'static str, code: &'static str) -> Expected {
    Expected { status_line, code, detail: None, more: &[], closes: false }
}

const fn closes(status_line: &'static str, code: &'static str) -> Expected {
    Expected { status_line, code, detail: None, more: &[], closes: true }
}

impl Expected {
    const fn with(self, more: More) -> Self {
        Expected { more, ..self }
    }

    const fn detail(self, detail: &'static str) -> Self {
        Expected { detail: Some(detail), ..self }
    }

    /// Asserts the whole answer, and that the connection goes on, or ends, as it says.
    #[track_caller]
    fn assert(self, client: &mut Client, answer: &Response) {
        self.assert_head(answer);
        self.assert_body(answer);
        if self.closes {
            client.assert_closed();
        } else {
            assert_eq!(client.get("/ok").status, 200, "the connection goes on after {self:?}");
        }
    }

    #[track_caller]
    fn assert_head(self, answer: &Response) {
        assert_eq!(answer.head.start_line, format!("HTTP/1.1 {}", self.status_line));
        let mut names: Vec<String> =
            answer.head.fields.0.iter().map(|(name, _)| name.to_lowercase()).collect();
        names.sort();
        let mut expected = vec!["content-length", "content-type", "date"];
        expected.extend(self.closes.then_some("connection"));
        expected.extend(self.more.iter().map(|(name, _)| *name));
        expected.sort_unstable();
        assert_eq!(names, expected, "{self:?}");
        for (name, value) in self.more {
            assert_eq!(answer.field(name), Some(*value), "{self:?}");
        }
        assert_eq!(answer.field("connection"), self.closes.then_some("close"));
        assert_eq!(answer.field("content-type"), Some("application/json"));
        let date = answer.field("date").expect("a Date");
        assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
    }

    #[track_caller]
    fn assert_body(self, answer: &Response) {
        let body: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&answer.body).expect("a JSON object");
        let text = |name: &str| body.get(name).map(|value| value.as_str().expect("text"));
        assert_eq!(text("code"), Some(self.code));
        assert_eq!(text("error"), self.status_line.get(4..));
        assert_eq!(text("detail"), self.detail, "{self:?}");
        assert_eq!(body.len(), 2 + usize::from(self.detail.is_some()), "{body:?}");
        assert_eq!(answer.framing, Framing::Length(answer.body.len()));
    }
}

/// A proxy with a path for everything that may go wrong behind it.
struct Stage {
    proxy: Proxy,
    internal: Vec<String>,
    _backends: [Backend; 4],
    _unreachable: (Refusing, Unaccepting),
}

impl Stage {
    fn new(driver: Driver, server: &str) -> Self {
        let backends = [
            Backend::says_hello(),
            Backend::answers_and_closes(""),
            Backend::answers_with("garbage\r\n\r\n"),
            Backend::never_answers(),
        ];
        let (refuses, hangs) = (Refusing::new(), Unaccepting::new());
        let [ok, closes, garbage, silent] = backends.each_ref().map(Backend::url);
        let targets = [
            ("ok", &ok),
            ("closes", &closes),
            ("garbage", &garbage),
            ("silent", &silent),
            ("refuses", &refuses.url()),
            ("hangs", &hangs.url()),
            ("nowhere", &"http://does-not-exist.invalid:81".to_owned()),
        ];
        let limits = "response = \"300ms\"\nconnect = \"300ms\"\nbody = \"300ms\"";
        let mut config =
            Config::new(driver).server(server).timeouts(limits).limits("max_request_body = \"1KiB\"");
        for (name, target) in targets {
            config = config.rule(name, &format!("/{name}"), target);
        }
        let ports = targets.iter().filter_map(|(_, url)| Some(url.rsplit_once(':')?.1.to_owned()));
        let internal =
            ports.filter(|port| port != "81").chain(["127.0.0.1".into(), "does-not".into()]).collect();
        Stage { proxy: Proxy::start(&config), internal, _backends: backends, _unreachable: (refuses, hangs) }
    }

    #[track_caller]
    fn ask(&self, request: impl AsRef<[u8]>, expected: Expected) {
        let mut client = self.proxy.client();
        let answer = client.ask(request);
        expected.assert(&mut client, &answer);
        let whole = format!("{:?}{}", answer.head.fields, answer.text());
        for secret in &self.internal {
            assert!(!whole.contains(secret), "{secret} stands in {whole}");
        }
    }
}

const GATEWAY: &str = "502 Bad Gateway";
const TIMEOUT: &str = "504 Gateway Timeout";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")
}

fn post(path: &str, lines: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: test\r\n{lines}")
}

const fn bad(detail: &'static str) -> Expected {
    closes("400 Bad Request", "bad_request").detail(detail)
}

/// What Ringway answers to a head that it cannot take.
fn refused_heads() -> Vec<(String, Expected)> {
    let many = "X: y\r\n".repeat(101);
    let not_allowed = closes("405 Method Not Allowed", "method_not_allowed").with(ALLOW);
    let too_large = closes("431 Request Header Fields Too Large", "request_header_fields_too_large");
    let version = closes("505 HTTP Version Not Supported", "http_version_not_supported");
    vec![
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), bad("missing_host")),
        ("GET / HTTP/1.1\r\nHost: <script>\"\r\n\r\n".to_owned(), bad("bad_host")),
        ("CONNECT test:1 HTTP/1.1\r\nHost: test:1\r\n\r\n".to_owned(), not_allowed),
        (get(&format!("/{}", "x".repeat(9000))), closes("414 URI Too Long", "uri_too_long")),
        (post("/ok", &format!("{many}\r\n")), too_large),
        (post("/ok", &format!("X: {}\r\n\r\n", "y".repeat(33_000))), too_large),
        (
            post("/ok", "Transfer-Encoding: br, chunked\r\n\r\n"),
            closes("501 Not Implemented", "not_implemented"),
        ),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n".to_owned(), version),
    ]
}

/// What it answers to a request that it does not forward.
fn refused_requests() -> Vec<(String, Expected)> {
    let via = "1.1 ringway, ".repeat(11);
    let not_allowed = stays("405 Method Not Allowed", "method_not_allowed").with(ALLOW);
    vec![
        (handshake("/ok", "").replace(KEY, "\"short\""), bad("bad_websocket_handshake")),
        (get("/none"), stays("404 Not Found", "no_rule")),
        (get("/ok").replace("GET", "TRACE"), not_allowed),
        (post("/ok", "Content-Length: 1025\r\n\r\n"), closes("413 Content Too Large", "content_too_large")),
        (
            get("/ok").replace("\r\n\r\n", "\r\nExpect: tea\r\n\r\n"),
            stays("417 Expectation Failed", "expectation_failed"),
        ),
        (
            handshake("/ok", "").replace("Version: 13", "Version: 12"),
            stays("426 Upgrade Required", "upgrade_required").with(WEBSOCKET),
        ),
        (
            post("/ok", &format!("Via: {via}1.1 x\r\nContent-Length: 0\r\n\r\n")),
            stays("508 Loop Detected", "loop"),
        ),
    ]
}

/// What it answers when the rest of a request, or the backend, does not do what it should.
fn failures() -> Vec<(String, Expected)> {
    vec![
        (post("/silent", "Transfer-Encoding: chunked\r\n\r\nxyz\r\n"), bad("bad_chunk_size")),
        (post("/silent", "Content-Length: 9\r\n\r\nfour"), closes("408 Request Timeout", "request_timeout")),
        (get("/refuses"), stays(GATEWAY, "upstream_refused")),
        (get("/closes"), stays(GATEWAY, "upstream_closed")),
        (get("/garbage"), stays(GATEWAY, "upstream_bad_response")),
        (get("/nowhere"), stays(GATEWAY, "upstream_dns")),
        (get("/hangs"), stays(TIMEOUT, "upstream_connect_timeout")),
        (get("/silent"), stays(TIMEOUT, "upstream_timeout")),
    ]
}

fn every_answer_has_its_form(driver: Driver) {
    let stage = Stage::new(driver, "");
    for (request, expected) in [refused_heads(), refused_requests(), failures()].concat() {
        stage.ask(request, expected);
    }
}

fn a_late_head_has_its_form_too(driver: Driver) {
    let proxy = Proxy::start(&Config::new(driver).timeouts("head = \"300ms\""));
    let mut client = proxy.client();
    let answer = client.ask("GET /secret");
    closes("408 Request Timeout", "request_timeout").assert(&mut client, &answer);
}

fn an_unknown_site_has_its_form_too(driver: Driver) {
    let backend = Backend::says_hello();
    let site = format!(
        "[[sites]]\nname = \"s\"\nhosts = [\"test\"]\nrules = [{{ name = \"ok\", path = \"/ok\", target = \"{}\" }}]",
        backend.url()
    );
    let proxy = Proxy::start(&Config::new(driver).section(&site));
    let mut client = proxy.client();
    let answer = client.ask("GET /ok HTTP/1.1\r\nHost: other\r\n\r\n");
    stays("404 Not Found", "no_site").assert(&mut client, &answer);
}

/// A proxy that may open descriptors for as many clients as it has, and none for a backend.
fn out_of_descriptors_is_an_answer_too(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::start(&Config::to(driver, &backend));
    let limit = proxy.descriptors_end() + 1;
    let parked = limit - proxy.descriptors() - 1;
    let pid = proxy.pid().to_string();
    let prlimit = |soft: &str| {
        let status = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={soft}:")]).status();
        assert!(status.expect("prlimit is there").success());
    };
    let _parked: Vec<Client> = (0..parked).map(|_| proxy.client()).collect();
    prlimit(&limit.to_string());
    let mut client = proxy.client();
    let answer = client.get("/");
    prlimit("1024");
    let more: More = &[("retry-after", "1")];
    stays("503 Service Unavailable", "no_backend").with(more).assert(&mut client, &answer);
}

fn head_gets_the_same_without_a_body(driver: Driver) {
    let stage = Stage::new(driver, "");
    let mut client = stage.proxy.client();
    for path in ["/none", "/refuses", "/closes", "/garbage", "/nowhere", "/silent"] {
        let whole = client.get(path);
        let head = client.send(get(path).replace("GET", "HEAD")).response_to("HEAD");
        let fields = |answer: &Response| {
            let kept = answer.head.fields.0.iter().filter(|(name, _)| name != "Date");
            kept.cloned().collect::<Vec<_>>()
        };
        assert_eq!((head.status, fields(&head)), (whole.status, fields(&whole)), "{path}");
    }
    assert_eq!(client.get("/ok").body, HELLO, "no body came behind the last head");
}

fn a_client_of_http_1_0_is_told_how_it_goes_on(driver: Driver) {
    let stage = Stage::new(driver, "");
    let mut client = stage.proxy.client();
    for _ in 0..2 {
        let answer = client.ask("GET /none HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!((answer.status, answer.field("connection")), (404, Some("keep-alive")));
    }
    let answer = client.ask("GET /none HTTP/1.0\r\n\r\n");
    assert_eq!((answer.status, answer.field("connection")), (404, Some("close")));
    client.assert_closed();
}

fn the_request_id_is_the_one_that_the_backend_got(driver: Driver) {
    let backend = Backend::answers_and_closes("");
    let proxy = Proxy::start(&Config::to(driver, &backend).server("request_id = \"x-request-id\""));
    let answer = proxy.client().get("/");
    answer.assert_error(502, "upstream_closed");
    let id = answer.json("request_id");
    assert_eq!(Some(id.as_str()), backend.last_head().fields.get("x-request-id"));
    assert!(id.len() >= 16, "{id}");
}

fn a_hostile_request_id_breaks_no_json(driver: Driver) {
    let server = "request_id = \"x-request-id\"\ntrusted_proxies = [\"127.0.0.1\"]";
    let stage = Stage::new(driver, server);
    for id in ["\",\"code\":\"none", "\\", "a\tb", "<script>", "\u{e9}\u{ff}"] {
        let id: Vec<u8> = id.chars().map(|c| c as u8).collect();
        let request =
            [b"GET /none HTTP/1.1\r\nHost: test\r\nX-Request-Id: ", id.as_slice(), b"\r\n\r\n"].concat();
        let answer = stage.proxy.client().ask(request);
        answer.assert_error(404, "no_rule");
        let body: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&answer.body).unwrap();
        let mut names: Vec<&String> = body.keys().collect();
        names.sort();
        assert_eq!(names, ["code", "error", "request_id"]);
        assert!(!answer.text().contains('<') && answer.text().is_ascii(), "{}", answer.text());
    }
}

/// A configuration whose only rule goes to `target`.
fn goes_to(driver: Driver, listeners: &[&str], target: &str) -> Config {
    Config::new(driver).listeners(listeners).rule("all", "/*", target)
}

fn a_listener_on_every_address_is_no_target(driver: Driver) {
    let listeners = ["0.0.0.0:0", "127.0.0.1:0"];
    let elsewhere = Backend::says_hello();
    let proxy = Proxy::start(&goes_to(driver, &listeners, &elsewhere.url()));
    let ports: Vec<u16> = proxy.addresses().iter().map(|address| address.tcp().port()).collect();
    let own =
        ["127.0.0.1", "127.1.2.3", "0.0.0.0", "localhost"].map(|host| format!("http://{host}:{}", ports[0]));
    for target in own.into_iter().chain([format!("http://127.0.0.1:{}", ports[1])]) {
        proxy.reload(&goes_to(driver, &listeners, &target));
        let mut client = Client::connect(&Address::Tcp(([127, 0, 0, 1], ports[1]).into()));
        let answer = client.get("/");
        assert_eq!((answer.status, answer.json("code").as_str()), (508, "loop"), "{target}");
    }
    proxy.reload(&goes_to(driver, &listeners, &elsewhere.url()));
    assert_eq!(Client::connect(&proxy.addresses()[1]).get("/").body, HELLO);
}

fn a_listener_on_a_unix_socket_is_no_target(driver: Driver) {
    let directory = tempfile::tempdir().unwrap();
    let own = format!("unix:{}", directory.path().join("own.sock").display());
    let config = Config::new(driver)
        .listeners(&[&own])
        .upstream("own", std::slice::from_ref(&own))
        .rule_to("all", "/*", "own");
    let proxy = Proxy::start_in(directory, &config);
    proxy.client().get("/").assert_error(508, "loop");
}

/// Each knows the other only, so that Via alone can end it.
fn a_round_through_two_proxies_is_a_loop(driver: Driver) {
    let elsewhere = Backend::says_hello();
    let config = |target: &str| goes_to(driver, &["127.0.0.1:0"], target).server("via = true");
    let one = Proxy::start(&config(&elsewhere.url()));
    let two = Proxy::start(&config(&one.url("")));
    one.reload(&config(&two.url("")));
    let answer = one.client().get("/");
    answer.assert_error(508, "loop");
    assert_eq!(elsewhere.accepts(), 0);
    // At the end of the round, and once more on each of the eleven ways back.
    assert_eq!(answer.head.fields.all("via").join(", "), ["1.1 ringway"; 12].join(", "));
}

fn max_forwards_0_is_answered_here(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::start(&Config::to(driver, &backend).server("allow_trace = true"));
    let mut client = proxy.client();
    for target in ["/x", "*"] {
        let answer =
            client.ask(format!("OPTIONS {target} HTTP/1.1\r\nHost: test\r\nMax-Forwards: 0\r\n\r\n"));
        assert_eq!((answer.status, answer.framing), (200, Framing::Length(0)));
        assert!(answer.field("allow").is_some_and(|methods| methods.contains("OPTIONS")), "{answer:?}");
    }
    let secrets = "Authorization: secret\r\nCookie: secret\r\nProxy-Authorization: secret\r\nX-Kept: yes\r\n";
    let answer = client.ask(format!("TRACE /x?y HTTP/1.1\r\nHost: test\r\nMax-Forwards: 0\r\n{secrets}\r\n"));
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("message/http")));
    let text = answer.text();
    assert!(
        text.starts_with("TRACE /x?y HTTP/1.1\r\nHost: test\r\n") && text.contains("X-Kept: yes\r\n"),
        "{text}"
    );
    assert!(!text.contains("secret"), "{text}");
    assert_eq!(backend.accepts(), 0);
}

fn upstream(driver: Driver, urls: &[String]) -> Config {
    Config::new(driver).upstream("u", urls).rule_to("all", "/*", "u").timeouts("connect = \"300ms\"")
}

fn the_next_backend_takes_over(driver: Driver) {
    let (serves, refuses, hangs) = (Backend::says_hello(), Refusing::new(), Unaccepting::new());
    for other in [refuses.url(), hangs.url(), "http://does-not-exist.invalid:81".to_owned()] {
        let before = serves.requests();
        let proxy = Proxy::start(&upstream(driver, &[other.clone(), serves.url()]));
        for _ in 0..10 {
            assert_eq!(proxy.client().get("/").status, 200, "{other}");
        }
        assert_eq!(serves.requests() - before, 10);
    }
}

fn the_next_backend_gets_the_whole_body(driver: Driver) {
    let (refuses, echoes) = (Refusing::new(), Backend::echoes_body());
    let proxy = Proxy::start(&upstream(driver, &[refuses.url(), echoes.url()]));
    let body = "x".repeat(200_000);
    for _ in 0..4 {
        let request =
            format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let answer = proxy.client().ask(request);
        assert_eq!((answer.status, answer.text() == body), (200, true));
    }
}

fn the_last_failure_is_told_when_none_takes_over(driver: Driver) {
    let (one, two) = (Refusing::new(), Refusing::new());
    let proxy = Proxy::start(&upstream(driver, &[one.url(), two.url()]));
    proxy.client().get("/").assert_error(502, "upstream_refused");
}

fn a_refused_body_is_drained_up_to_64_kib(driver: Driver) {
    let proxy = Proxy::start(&Config::new(driver));
    let mut client = proxy.client();
    for length in [1, 60_000] {
        let answer =
            client.ask(post("/", &format!("Content-Length: {length}\r\n\r\n{}", "x".repeat(length))));
        assert_eq!((answer.status, answer.field("connection")), (404, None));
    }
    let answer = client.ask(post("/", &format!("Content-Length: 200000\r\n\r\n{}", "x".repeat(200_000))));
    assert_eq!((answer.status, answer.field("connection")), (404, Some("close")));
    client.assert_closed();
}

/// It reads only once it has sent all that the proxy takes.
fn a_client_that_sends_a_mebibyte_still_reads_the_answer(driver: Driver) {
    let refuses = Refusing::new();
    let config = Config::new(driver).rule("refuses", "/refuses", &refuses.url());
    let limited = Proxy::start(&config.clone().limits("max_request_body = \"1KiB\""));
    let proxy = Proxy::start(&config);
    let mebibyte = vec![b'x'; 1 << 20];
    let (length, chunk) = ("Content-Length: 1048576\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n100000\r\n");
    let heads = [
        (&proxy, 404, post("/none", length)),
        (&proxy, 404, post("/none", chunk)),
        (&proxy, 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_owned()),
        (&proxy, 502, post("/refuses", length)),
        (&limited, 413, post("/refuses", length)),
    ];
    for (proxy, status, head) in heads.iter().cycle().take(25) {
        let mut client = proxy.client();
        client.send(head);
        assert!(client.try_send(&mebibyte), "{head}");
        let answer = client.response();
        assert_eq!((answer.status, answer.field("connection")), (*status, Some("close")), "{head}");
        client.assert_closed();
    }
}
