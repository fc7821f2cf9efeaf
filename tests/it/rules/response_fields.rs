//! What sites and rules change of a response's fields, whatever kind of response it is.

use super::rule;
use crate::harness::backend::Backend;
use crate::harness::backends::{HELLO, chunked_response, response};
use crate::harness::client::Response;
use crate::harness::config::{Config, Driver};
use crate::harness::message::Framing;
use crate::harness::on_both_drivers;
use crate::harness::proxy::Proxy;
use crate::harness::websocket::{handshake, switching};

on_both_drivers![
    fields_are_set_and_removed,
    everything_else_stays_byte_for_byte,
    every_field_of_that_name_is_replaced,
    the_rule_wins_over_the_site,
    a_field_that_connection_names_is_set_all_the_same,
    responses_without_a_body_are_changed,
    every_framing_is_changed_and_stays_what_it_was,
    interim_responses_lose_what_is_changed,
    a_101_is_changed,
    trailers_lose_what_is_changed,
    errors_of_our_own_are_no_response_of_the_backends,
];

/// What the client gets from a backend that answers `bytes` through a rule with these lines.
fn answered(driver: Driver, bytes: Vec<u8>, lines: &str) -> Response {
    let backend = Backend::answers_with(bytes);
    start(driver, &backend, lines).client().get("/")
}

fn start(driver: Driver, backend: &Backend, lines: &str) -> Proxy {
    let text = rule("all", "/*", "to", lines).replace("{to}", &backend.url());
    Proxy::start(&Config::new(driver).section(&text))
}

const EDITS: &str = "response_headers = { set = { X-Set = \"set\", Server = \"us\" }, \
                     remove = [\"X-Gone\", \"set-cookie\"] }";
const CAME: &str =
    "X-Gone: 1\r\nServer: them\r\nSet-Cookie: a=b\r\nX-Set: came\r\nSet-Cookie: c=d\r\nX-Stays: 1\r\n";

#[track_caller]
fn assert_edited(answer: &Response) {
    let values = ["x-set", "server", "x-stays", "x-gone", "set-cookie"].map(|name| answer.field(name));
    assert_eq!(values, [Some("set"), Some("us"), Some("1"), None, None]);
}

fn fields_are_set_and_removed(driver: Driver) {
    let answer = answered(driver, response("200 OK", CAME, HELLO), EDITS);
    assert_edited(&answer);
    assert_eq!((answer.status, answer.body.as_slice()), (200, HELLO));
}

fn everything_else_stays_byte_for_byte(driver: Driver) {
    let kept = "x-LOWER: 1\r\nX-Twice: a\r\nVary: *\r\nX-Twice: b, c\r\nX-Empty:\r\nX-Goner: \"$1 ${x}\"\r\n";
    let answer = answered(driver, response("200 Fine By Me", &format!("{kept}X-Gone: 1\r\n"), b""), EDITS);
    let raw = String::from_utf8(answer.head.raw).unwrap();
    assert!(raw.starts_with(&format!("HTTP/1.1 200 Fine By Me\r\n{kept}")), "{raw}");
    assert!(!raw.contains("X-Gone:") && raw.matches("X-Set: set\r\n").count() == 1, "{raw}");
}

fn every_field_of_that_name_is_replaced(driver: Driver) {
    let lines = "response_headers = { set = { X-One = \"new\", Content-Type = \"text/x\", \
                 Location = \"/l\", Set-Cookie = \"e=f\" } }";
    let came = "X-One: 1\r\nContent-Type: a\r\nx-one: 2\r\nLocation: //evil.com\r\nSet-Cookie: a\r\n\
                Set-Cookie: b\r\n"
        .repeat(5);
    let answer = answered(driver, response("302 Found", &came, b""), lines);
    let values = ["x-one", "content-type", "location", "set-cookie"].map(|name| answer.field(name).unwrap());
    assert_eq!(values, ["new", "text/x", "/l", "e=f"]);
}

fn the_rule_wins_over_the_site(driver: Driver) {
    let backend = Backend::answers_with(response(
        "200 OK",
        "X-Back: b\r\nX-Off: b\r\nX-Both: b\r\nX-Taken: b\r\n",
        b"",
    ));
    let text = "[[sites]]\nname = \"s\"\nhosts = [\"*\"]\n\
                response_headers = { set = { X-Site = \"s\", X-Both = \"s\", X-Taken = \"s\" }, \
                remove = [\"X-Back\", \"X-Off\"] }\n\
                [[sites.rules]]\nname = \"all\"\npath = \"/*\"\ntarget = \"{to}\"\n\
                response_headers = { set = { x-both = \"r\", X-Back = \"r\" }, remove = [\"X-TAKEN\"] }\n";
    let proxy = Proxy::start(&Config::new(driver).section(&text.replace("{to}", &backend.url())));
    let answer = proxy.client().get("/");
    let values = ["x-site", "x-both", "x-back", "x-off", "x-taken"].map(|name| answer.field(name));
    assert_eq!(values, [Some("s"), Some("r"), Some("r"), None, None]);
}

fn a_field_that_connection_names_is_set_all_the_same(driver: Driver) {
    let came = "Connection: x-set, X-Other\r\nX-Set: came\r\nX-Other: 1\r\n";
    let answer = answered(driver, response("200 OK", came, HELLO), EDITS);
    let values = ["x-set", "x-other", "connection"].map(|name| answer.field(name));
    assert_eq!((values, answer.body.as_slice()), ([Some("set"), None, None], HELLO));
}

fn responses_without_a_body_are_changed(driver: Driver) {
    let answers = [
        ("GET", format!("HTTP/1.1 204 No Content\r\n{CAME}\r\n")),
        ("GET", format!("HTTP/1.1 304 Not Modified\r\n{CAME}Content-Length: 13\r\n\r\n")),
        ("HEAD", format!("HTTP/1.1 200 OK\r\n{CAME}Content-Length: 13\r\n\r\n")),
    ];
    for (method, bytes) in answers {
        let backend = Backend::answers_with(&bytes);
        let proxy = start(driver, &backend, EDITS);
        let mut client = proxy.client();
        for _ in 0..2 {
            let answer = client.send(format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n")).response_to(method);
            assert_edited(&answer);
            let length = bytes.contains("Content-Length").then_some("13");
            assert_eq!(answer.field("content-length"), length, "{bytes}");
        }
        assert_eq!(backend.accepts(), 1, "the connection was used again");
    }
}

fn every_framing_is_changed_and_stays_what_it_was(driver: Driver) {
    let chunked = answered(driver, chunked_response(CAME, HELLO, 5, ""), EDITS);
    assert_edited(&chunked);
    assert_eq!((chunked.body.as_slice(), chunked.framing), (HELLO, Framing::Chunked));
    let backend =
        Backend::answers_and_closes([format!("HTTP/1.1 200 OK\r\n{CAME}\r\n").as_bytes(), HELLO].concat());
    let until_close = start(driver, &backend, EDITS).client().get("/");
    assert_edited(&until_close);
    assert_eq!(until_close.body, HELLO);
}

fn interim_responses_lose_what_is_changed(driver: Driver) {
    let hints = format!("HTTP/1.1 103 Early Hints\r\n{CAME}\r\n");
    let answer = answered(driver, [hints.as_bytes(), &response("200 OK", CAME, HELLO)].concat(), EDITS);
    assert_edited(&answer);
    let interim: Vec<_> = answer.interim.iter().map(|head| String::from_utf8_lossy(&head.raw)).collect();
    assert_eq!(interim, ["HTTP/1.1 103 Early Hints\r\nX-Stays: 1\r\n\r\n"]);
}

fn a_101_is_changed(driver: Driver) {
    let backend = Backend::script(|visit| {
        let head = visit.head().expect("a handshake");
        let lines = format!("\r\n{CAME}\r\nfirst bytes");
        visit.send(switching(&head).replacen("\r\n\r\n", &lines, 1));
        visit.until_closed();
    });
    let proxy = start(driver, &backend, EDITS);
    let mut client = proxy.client();
    let head = client.send(handshake("/", "")).head();
    let values = ["x-set", "server", "x-gone", "set-cookie", "upgrade"].map(|name| head.fields.get(name));
    assert_eq!((head.status(), values), (101, [Some("set"), Some("us"), None, None, Some("websocket")]));
    assert!(head.fields.has("sec-websocket-accept"));
    assert_eq!(client.exactly(11), b"first bytes");
}

fn trailers_lose_what_is_changed(driver: Driver) {
    let backend = Backend::answers_with(chunked_response(
        CAME,
        HELLO,
        5,
        "x-gone: 1\r\nX-Sum: 2\r\nSERVER: 3\r\nX-Set: 4\r\n",
    ));
    let proxy = start(driver, &backend, EDITS);
    let answer = proxy.client().ask("GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    assert_edited(&answer);
    assert_eq!(answer.trailer_lines, b"X-Sum: 2\r\n");
}

fn errors_of_our_own_are_no_response_of_the_backends(driver: Driver) {
    let answer = answered(driver, b"no HTTP\r\n\r\n".to_vec(), EDITS);
    answer.assert_error(502, "upstream_bad_response");
    assert_eq!(answer.field("x-set"), None);
}
