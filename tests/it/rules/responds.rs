//! `respond`: fixed answers, as the client gets them.

use super::{Stage, rule, without_date};
use crate::access_log::{logging, objects};
use crate::harness::config::{Config, Driver};
use crate::harness::on_both_drivers;
use crate::harness::proxy::Proxy;
use crate::harness::websocket::handshake;

on_both_drivers![
    the_answer_byte_for_byte,
    statuses_without_a_body,
    head_gets_the_length_alone,
    bodies_of_every_size,
    the_type_and_other_fields_can_be_set,
    the_connection_goes_on,
    what_is_left_of_the_request_is_read_or_the_connection_closes,
    a_handshake_gets_the_plain_answer,
    a_line_in_the_access_log,
    it_takes_part_in_order,
];

/// A rule for `path` that answers; `lines` stand in `respond`.
fn answering(path: &str, respond: &str) -> String {
    format!("[[rules]]\nname = \"{path}\"\npath = \"{path}\"\nrespond = {{ {respond} }}\n")
}

fn start(driver: Driver, sections: &str) -> Proxy {
    Proxy::start(&Config::new(driver).section(sections))
}

const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\n";

fn the_answer_byte_for_byte(driver: Driver) {
    let list = answering("/403", "status = 403, body = \"no way\\r\\n\"")
        + &answering("/200", "status = 200, body = \"\u{fc}\"")
        + &answering("/404", "status = 404")
        + &answering("/599", "status = 599, body = \"$1 ${path}\"")
        + &answering("*", "status = 503, body = \"later\"");
    let proxy = start(driver, &list);
    let mut client = proxy.client();
    for (path, start_line, fields, body) in [
        ("/403", "403 Forbidden", TEXT, "no way\r\n"),
        ("/200", "200 OK", TEXT, "\u{fc}"),
        ("/404", "404 Not Found", "", ""),
        ("/599", "599 ", TEXT, "$1 ${path}"),
        ("/any", "503 Service Unavailable", TEXT, "later"),
    ] {
        let answer = client.get(path);
        let expected = format!("HTTP/1.1 {start_line}\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
        assert_eq!((without_date(&answer), answer.text()), (expected, body.to_owned()));
    }
    assert_eq!(client.ask("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").text(), "later");
}

fn statuses_without_a_body(driver: Driver) {
    let list = answering("/204", "status = 204") + &answering("/304", "status = 304");
    let proxy = start(driver, &list);
    let mut client = proxy.client();
    for _ in 0..2 {
        let heads = ["/204", "/304"].map(|path| without_date(&client.get(path)));
        assert_eq!(heads, ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 304 Not Modified\r\n\r\n"]);
    }
}

fn head_gets_the_length_alone(driver: Driver) {
    let proxy = start(driver, &answering("/*", "status = 200, body = \"hello\""));
    let mut client = proxy.client();
    for _ in 0..2 {
        let answer = client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").response_to("HEAD");
        assert_eq!(without_date(&answer), format!("HTTP/1.1 200 OK\r\n{TEXT}Content-Length: 5\r\n\r\n"));
    }
    assert_eq!(client.get("/").text(), "hello");
}

fn bodies_of_every_size(driver: Driver) {
    let sizes = [1, 4000, 4096, 16_384, 65_535, 65_536];
    let body = |size: usize| ('a'..='z').cycle().take(size).collect::<String>();
    let one =
        |size: &usize| answering(&format!("/{size}"), &format!("status = 200, body = \"{}\"", body(*size)));
    let proxy = start(driver, &sizes.iter().map(one).collect::<String>());
    let mut client = proxy.client();
    for size in sizes {
        assert_eq!(client.get(&format!("/{size}")).text(), body(size), "{size} bytes");
    }
}

fn the_type_and_other_fields_can_be_set(driver: Driver) {
    let set = "response_headers = { set = { \"Content-Type\" = \"application/json\", \
               \"Retry-After\" = \"5\" }, remove = [\"X-Site\"] }\n";
    let bare = "response_headers = { remove = [\"content-type\"] }\n";
    let site = "[[sites]]\nname = \"s\"\nhosts = [\"*\"]\nresponse_headers = { set = { X-Site = \"1\" } }\n";
    let list = answering("/set", "status = 503, body = \"{}\"")
        + set
        + &answering("/bare", "status = 200, body = \"x\"")
        + bare;
    let proxy = start(driver, &(site.to_owned() + &list.replace("[[rules]]", "[[sites.rules]]")));
    let heads = ["/set", "/bare"].map(|path| without_date(&proxy.client().get(path)));
    assert_eq!(
        heads,
        [
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 5\r\n\
             Content-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX-Site: 1\r\nContent-Length: 1\r\n\r\n",
        ]
    );
}

fn the_connection_goes_on(driver: Driver) {
    let proxy = start(driver, &answering("/*", "status = 403, body = \"no\""));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(20));
    assert!((0..20).all(|_| client.response().text() == "no"));
    assert_eq!(
        client.ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").field("connection"),
        Some("close")
    );
    client.assert_closed();
    let mut client = proxy.client();
    assert_eq!(client.ask("GET / HTTP/1.0\r\n\r\n").text(), "no");
    client.assert_closed();
}

fn what_is_left_of_the_request_is_read_or_the_connection_closes(driver: Driver) {
    let proxy = start(driver, &answering("/*", "status = 403, body = \"no\""));
    let mut client = proxy.client();
    let answer = client.ask("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n12345");
    assert_eq!((answer.status, answer.field("connection")), (403, None));
    assert_eq!(client.get("/").status, 403);
    let chunked = "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let long = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10000000\r\n\r\n";
    for request in [long.to_owned(), format!("{chunked}5\r\n12345\r\n0\r\n\r\n"), format!("{chunked}none")] {
        let mut client = proxy.client();
        let answer = client.ask(request);
        assert_eq!((answer.text().as_str(), answer.field("connection")), ("no", Some("close")));
        client.assert_closed();
    }
}

fn a_handshake_gets_the_plain_answer(driver: Driver) {
    let proxy = start(driver, &answering("/*", "status = 403, body = \"no\""));
    let mut client = proxy.client();
    let answer = client.ask(handshake("/chat", ""));
    assert_eq!(without_date(&answer), format!("HTTP/1.1 403 Forbidden\r\n{TEXT}Content-Length: 2\r\n\r\n"));
    assert_eq!(client.get("/").text(), "no", "the connection goes on as HTTP");
}

fn a_line_in_the_access_log(driver: Driver) {
    let proxy = logging(Config::new(driver).section(&answering("/*", "status = 403, body = \"no\"")), "");
    assert_eq!(proxy.client().get("/").status, 403);
    let line = objects(&proxy, 1).remove(0);
    assert_eq!((line["status"].as_u64(), line["tries"].as_u64()), (Some(403), Some(0)), "{line}");
    assert_eq!((line["rule"].as_str(), line["response_bytes"].as_u64()), (Some("/*"), Some(2)), "{line}");
    let further = ["upstream", "backend", "code", "fault"].map(|name| line.get(name).is_none());
    assert_eq!(further, [true; 4], "{line}");
}

fn it_takes_part_in_order(driver: Driver) {
    let list = answering("/a/*", "status = 403")
        + "methods = [\"POST\"]\n"
        + &answering("/b", "status = 404")
        + "ws = false\n";
    let stage = Stage::on_one(driver, &(list + &rule("rest", "/*", "to", "")));
    let status = |request: &str| stage.proxy.client().ask(request).status;
    assert_eq!(status("POST /a/x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"), 403);
    assert_eq!(status("GET /a/x HTTP/1.1\r\nHost: h\r\n\r\n"), 200);
    assert_eq!(status("GET /b HTTP/1.1\r\nHost: h\r\n\r\n"), 404);
    assert_eq!(status(&handshake("/b", "")), 200);
    assert_eq!(stage.requests(), 2);
}
