//! Request lines, hosts, methods and versions.

use super::{ALL, House, Refused, Served, Try, With};
use crate::harness::config::Driver;
use crate::harness::on_both_drivers;

on_both_drivers![no_request_line_comes_past_access, what_leads_to_an_open_site_does_not_come_here];

fn no_request_line_comes_past_access(driver: Driver) {
    let head = |&(line, hosts, with): &(&'static str, &'static str, With)| Try {
        name: line,
        bytes: format!("{line}\r\n{hosts}{{auth}}Connection: close\r\n\r\n"),
        with,
    };
    let tries: Vec<Try> = METHODS.iter().chain(TARGETS).chain(HOSTS).chain(VERSIONS).map(head).collect();
    House::new(driver).withstands(&tries, &ALL);
}

const HOST: &str = "Host: {host}\r\n";

const METHODS: &[(&str, &str, With)] = &[
    ("HEAD /api/config/a HTTP/1.1", HOST, Served),
    ("POST /api/config/a HTTP/1.1", HOST, Served),
    ("OPTIONS /api/config/a HTTP/1.1", HOST, Served),
    ("get /api/config/a HTTP/1.1", HOST, Served),
    ("Get /api/config/a HTTP/1.1", HOST, Served),
    ("GET2 /api/config/a HTTP/1.1", HOST, Served),
    ("G%45T /api/config/a HTTP/1.1", HOST, Served),
    ("ALL /api/config/a HTTP/1.1", HOST, Served),
    ("all /api/config/a HTTP/1.1", HOST, Served),
    ("PROPFIND /api/secret HTTP/1.1", HOST, Served),
    ("OPTIONS /api/secret HTTP/1.1", HOST, Served),
    ("OPTIONS * HTTP/1.1", HOST, Served),
    ("HEAD /static/x.css HTTP/1.1", HOST, Served),
    (
        "POST /api/config/a HTTP/1.1",
        "Host: {host}\r\nX-HTTP-Method-Override: GET\r\nContent-Length: 0\r\n",
        Served,
    ),
    (
        "OPTIONS /api/secret HTTP/1.1",
        "Host: {host}\r\nOrigin: http://open.test\r\nAccess-Control-Request-Method: GET\r\n",
        Served,
    ),
    ("TRACE /api/secret HTTP/1.1", HOST, Refused),
    ("CONNECT {host}:80 HTTP/1.1", HOST, Refused),
    ("GET /api/health HTTP/1.1 GET /api/secret HTTP/1.1", HOST, Refused),
];

const TARGETS: &[(&str, &str, With)] = &[
    ("GET http://{host}/api/secret HTTP/1.1", HOST, Served),
    ("GET http://{host}/api/secret HTTP/1.1", "Host: open.test\r\n", Served),
    ("GET HTTP://{HOST}/api/secret HTTP/1.1", "Host: open.test\r\n", Served),
    ("GET http://{host}./api/secret HTTP/1.1", HOST, Served),
    ("GET http://{host}:80/api/secret HTTP/1.1", HOST, Served),
    ("GET http://{host}/api/health/../secret HTTP/1.1", HOST, Served),
    ("GET http://{host}/api/config/..%2fsecret HTTP/1.1", HOST, Served),
    ("GET http://open.test@{host}/api/secret HTTP/1.1", HOST, Refused),
    ("GET http://{host}@open.test/api/secret HTTP/1.1", HOST, Refused),
    ("GET http:///api/secret HTTP/1.1", HOST, Refused),
    ("GET http:/api/secret HTTP/1.1", HOST, Refused),
    ("GET file:///api/secret HTTP/1.1", HOST, Refused),
    ("GET //{host}/api/secret HTTP/1.1", HOST, Served),
    ("GET //open.test/api/secret HTTP/1.1", HOST, Served),
    ("GET api/secret HTTP/1.1", HOST, Refused),
    ("GET \\api\\secret HTTP/1.1", HOST, Refused),
    ("GET  /api/secret HTTP/1.1", HOST, Refused),
    ("GET\t/api/secret HTTP/1.1", HOST, Refused),
    ("GET /api/health /../secret HTTP/1.1", HOST, Refused),
    ("GET /api/health\0/../secret HTTP/1.1", HOST, Refused),
    ("GET /api/health\t/../secret HTTP/1.1", HOST, Refused),
    ("GET /api/health\u{b} HTTP/1.1", HOST, Refused),
    ("GET /api/secret?/api/health HTTP/1.1", HOST, Served),
    ("GET /api/secret?access_token={token} HTTP/1.1", HOST, Served),
    ("GET ?/api/health HTTP/1.1", HOST, Refused),
    ("\r\nGET /api/secret HTTP/1.1", HOST, Served),
];

const HOSTS: &[(&str, &str, With)] = &[
    ("GET /api/secret HTTP/1.1", "Host: {host}.\r\n", Served),
    ("GET /api/secret HTTP/1.1", "Host: {HOST}\r\n", Served),
    ("GET /api/secret HTTP/1.1", "Host: {HOST}.:80\r\n", Served),
    ("GET /api/secret HTTP/1.1", "host:\t {host} \r\n", Served),
    ("GET /api/secret HTTP/1.1", "Host: {host}..\r\n", Refused),
    ("GET /api/secret HTTP/1.1", "Host: {host}, open.test\r\n", Refused),
    ("GET /api/secret HTTP/1.1", "Host: {host}\r\nHost: open.test\r\n", Refused),
    ("GET /api/secret HTTP/1.1", "Host: open.test\r\nHost: {host}\r\n", Refused),
    ("GET /api/secret HTTP/1.1", "Host: user@{host}\r\n", Refused),
    ("GET /api/secret HTTP/1.1", "Host: {host}/api/health\r\n", Refused),
    ("GET /api/secret HTTP/1.1", "Host: {host}\0\r\n", Refused),
    ("GET /api/secret HTTP/1.1", "Host: {host}:x\r\n", Refused),
    ("GET /api/secret HTTP/1.1", "Host:\r\n", Refused),
    ("GET /api/secret HTTP/1.1", "", Refused),
];

const VERSIONS: &[(&str, &str, With)] = &[
    ("GET /api/secret HTTP/1.0", HOST, Served),
    ("GET /api/secret HTTP/1.0", "", Refused),
    ("GET http://{host}/api/secret HTTP/1.0", "", Served),
    ("GET /api/secret", HOST, Refused),
    ("GET /api/secret HTTP/0.9", HOST, Refused),
    ("GET /api/secret HTTP/2.0", HOST, Refused),
    ("GET /api/secret http/1.1", HOST, Refused),
    ("PRI * HTTP/2.0", HOST, Refused),
];

/// The authority of a target in absolute-form is the request's, whatever its Host says (RFC 9112 section 3.2.2).
fn what_leads_to_an_open_site_does_not_come_here(driver: Driver) {
    let house = House::new(driver);
    for (line, host) in [
        ("GET http://open.test/api/secret HTTP/1.1", "basic.test"),
        ("GET /api/secret HTTP/1.1", "open.test"),
        ("GET /api/secret HTTP/1.1", "OPEN.test.:80"),
    ] {
        let before = house.open.requests();
        let (answer, came) = house.send(&format!("{line}\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
        assert!(came.is_empty() && answer.starts_with("HTTP/1.1 200 "), "{line}: {came:?}\n{answer}");
        assert_eq!(house.open.requests(), before + 1);
    }
}
