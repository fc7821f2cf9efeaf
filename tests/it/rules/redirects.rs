//! `redirect`: where a client is sent, and that no request chooses the host.

use super::{Stage, rule, without_date};
use crate::access_log::{logging, objects};
use crate::harness::config::{Config, Driver};
use crate::harness::on_both_drivers;
use crate::harness::proxy::Proxy;
use crate::harness::websocket::handshake;

on_both_drivers![
    the_head_byte_for_byte,
    each_status_of_a_redirect,
    where_it_leads,
    the_query_is_kept_unless_it_has_its_own,
    no_request_chooses_the_host,
    what_makes_no_url_is_refused,
    the_connection_goes_on,
    a_request_body_is_read_to_its_end,
    a_body_of_unknown_or_great_length_closes_the_connection,
    a_handshake_gets_the_plain_answer,
    http_1_0_is_told_as_well,
    fields_are_set_on_it,
    a_line_in_the_access_log,
    rules_around_it_are_tried_in_order,
];

/// A rule that redirects what `takes` (a whole line) takes.
fn redirecting(name: &str, takes: &str, to: &str, more: &str) -> String {
    format!("[[rules]]\nname = \"{name}\"\n{takes}\nredirect = {{ to = '{to}'{more} }}\n")
}

fn all_to(to: &str) -> String {
    redirecting("all", "path = \"/*\"", to, "")
}

fn start(driver: Driver, sections: &str) -> Proxy {
    Proxy::start(&Config::new(driver).section(sections))
}

fn the_head_byte_for_byte(driver: Driver) {
    let proxy = start(driver, &all_to("https://new.test/x"));
    let expected =
        "HTTP/1.1 308 Permanent Redirect\r\nLocation: https://new.test/x\r\nContent-Length: 0\r\n\r\n";
    let mut client = proxy.client();
    assert_eq!(without_date(&client.get("/")), expected);
    let head = client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").response_to("HEAD");
    assert_eq!(without_date(&head), expected);
}

fn each_status_of_a_redirect(driver: Driver) {
    let statuses = [
        (301, "Moved Permanently"),
        (302, "Found"),
        (303, "See Other"),
        (307, "Temporary Redirect"),
        (308, "Permanent Redirect"),
    ];
    let one = |(status, _): &(u16, &str)| {
        redirecting(
            &status.to_string(),
            &format!("path = \"/{status}\""),
            "/x",
            &format!(", status = {status}"),
        )
    };
    let proxy = start(driver, &statuses.iter().map(one).collect::<String>());
    for (status, reason) in statuses {
        let answer = proxy.client().get(&format!("/{status}"));
        assert_eq!(answer.head.start_line, format!("HTTP/1.1 {status} {reason}"));
        assert_eq!((answer.field("location"), answer.body.len()), (Some("/x"), 0));
    }
}

/// What takes a request, where to, and the location for each target.
type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// A site for each row, `r0` and so on, whose one rule redirects; asserts the location, or the code of an error.
fn assert_locations(driver: Driver, table: &[Row<'_>]) {
    let site = |(number, (takes, to, _)): (usize, &Row<'_>)| {
        format!(
            "[[sites]]\nname = \"r{number}\"\nhosts = [\"r{number}\"]\n\
             rules = [{{ name = \"it\", {takes}, redirect = {{ to = '{to}' }} }}]\n"
        )
    };
    let proxy = start(driver, &table.iter().enumerate().map(site).collect::<String>());
    for (number, (takes, to, targets)) in table.iter().enumerate() {
        for (target, expected) in *targets {
            let answer = proxy.client().ask(format!("GET {target} HTTP/1.1\r\nHost: r{number}\r\n\r\n"));
            let told = answer.field("location").map_or_else(|| answer.json("code"), str::to_owned);
            assert_eq!(told, *expected, "{takes} -> {to} of {target}");
        }
    }
}

const ALL: &str = "path = \"/*\"";

fn where_it_leads(driver: Driver) {
    assert_locations(
        driver,
        &[
            ("path = \"/old\"", "/new", &[("/old", "/new"), ("/x/../old", "/new")]),
            (ALL, "https://New.TEST", &[("/", "https://new.test/"), ("/x", "https://new.test/")]),
            (
                ALL,
                "https://new.test${path}",
                &[("/", "https://new.test/"), ("/a//b%2F", "https://new.test/a//b%2F")],
            ),
            (ALL, "http://new.test:8080/to${path}#top", &[("/a", "http://new.test:8080/to/a#top")]),
            (ALL, "/$$1${path}", &[("/a", "/$1/a")]),
            (
                r"pattern = '^/u/(\d+)(?<rest>/.*)?$'",
                "https://new.test/users/$1${rest}",
                &[("/u/7/x", "https://new.test/users/7/x"), ("/u/7", "https://new.test/users/7")],
            ),
            ("pattern = '^/(a+)'", "/n/$10", &[("/aab", "/n/aa0")]),
            ("path = \"*.php\"", "/new${path}", &[("/x.php", "/new/x.php")]),
        ],
    );
}

fn the_query_is_kept_unless_it_has_its_own(driver: Driver) {
    assert_locations(
        driver,
        &[
            (ALL, "/n", &[("/?a=1&b=${x}", "/n?a=1&b=$%7Bx%7D"), ("/?", "/n?"), ("/?%zz?", "/n?%25zz?")]),
            (ALL, "/n#f", &[("/?a", "/n?a#f")]),
            (ALL, "/n?own=1", &[("/?a", "/n?own=1"), ("/", "/n?own=1")]),
            ("pattern = '^/(.*)$'", "/n?q=$1", &[("/a/b?c", "/n?q=a/b"), ("/a&b", "/n?q=a&b")]),
        ],
    );
}

fn no_request_chooses_the_host(driver: Driver) {
    let table: &[Row<'_>] = &[
        (
            "pattern = '^/go(.*)$'",
            "$1",
            &[
                ("/go/x", "/x"),
                ("/go//evil.com", "bad_rewrite"),
                ("/go//evil.com/%2e%2e", "bad_rewrite"),
                ("/go///evil.com", "bad_rewrite"),
                ("/go/\\evil.com", "/%5Cevil.com"),
                ("/go\\\\evil.com", "/%5C%5Cevil.com"),
                ("/gohttp://evil.com", "/http://evil.com"),
                ("/gojavascript:alert(1)", "/javascript:alert(1)"),
                ("/go/%09/evil.com", "/%09/evil.com"),
                ("/go/%2f/evil.com", "/%2f/evil.com"),
                ("/go/%0d%0aSet-Cookie:x=1", "/%0d%0aSet-Cookie:x=1"),
                ("/go/\"<>^`{|}[]", "/%22%3C%3E%5E%60%7B%7C%7D%5B%5D"),
            ],
        ),
        (
            "pattern = '^/(.*)$'",
            "https://good.test$1",
            &[
                ("/x", "https://good.test/x"),
                ("/.evil.com", "https://good.test/.evil.com"),
                ("/@evil.com/", "https://good.test/@evil.com/"),
                ("/:81@evil.com/", "https://good.test/:81@evil.com/"),
                ("//evil.com", "https://good.test/evil.com"),
                ("/?@evil.com", "https://good.test/?@evil.com"),
            ],
        ),
        (ALL, "https://good.test${path}", &[("//evil.com", "https://good.test//evil.com")]),
        (ALL, "${path}", &[("/a//b", "/a//b"), ("//evil.com", "bad_rewrite"), ("//", "bad_rewrite")]),
        ("pattern = '^/(.*)$'", "/$1", &[("//evil.com", "bad_rewrite"), ("/x", "/x")]),
    ];
    assert_locations(driver, table);
    let proxy = start(driver, &all_to("/n"));
    let absolute = proxy.client().ask("GET http://evil.com/x HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(absolute.field("location"), Some("/n"), "the client's own authority is not repeated");
}

fn what_makes_no_url_is_refused(driver: Driver) {
    assert_locations(
        driver,
        &[
            (
                "pattern = '^/dot(.*)$'",
                "/a/.$1",
                &[("/dot", "bad_rewrite"), ("/dot.", "bad_rewrite"), ("/dotx", "/a/.x")],
            ),
            ("pattern = '^/swap/(.)(.)$'", "/%$2$1", &[("/swap/zz", "bad_rewrite"), ("/swap/14", "/%41")]),
            ("pattern = '^/cut/(..)'", "/$1?own", &[("/cut/%41", "bad_rewrite")]),
        ],
    );
}

fn the_connection_goes_on(driver: Driver) {
    let proxy = start(driver, &all_to("/n${path}"));
    let mut client = proxy.client();
    let one = |number: usize| format!("GET /{number} HTTP/1.1\r\nHost: h\r\n\r\n");
    client.send((0..20).map(one).collect::<String>());
    for number in 0..20 {
        let answer = client.response();
        assert_eq!((answer.status, answer.field("location")), (308, Some(&*format!("/n/{number}"))));
        assert_eq!(answer.field("connection"), None);
    }
    let last = client.ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!(last.field("connection"), Some("close"));
    client.assert_closed();
}

/// The next request is read behind the body, not in it.
fn a_request_body_is_read_to_its_end(driver: Driver) {
    let proxy = start(driver, &all_to("/n"));
    let mut client = proxy.client();
    let inner = "GET /inner HTTP/1.1\r\nHost: h\r\n\r\n";
    let length = format!("Content-Length: {}\r\n\r\n{inner}", inner.len());
    let answer = client.ask(format!("POST / HTTP/1.1\r\nHost: h\r\n{length}"));
    assert_eq!((answer.status, answer.field("connection")), (308, None));
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nfour");
    assert_eq!(client.response().status, 308, "the answer does not wait for the body");
    client.send("more");
    assert_eq!(client.get("/").status, 308);
}

fn a_body_of_unknown_or_great_length_closes_the_connection(driver: Driver) {
    let proxy = start(driver, &all_to("/n"));
    for fields in [
        "Content-Length: 10000000\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Expect: 100-continue\r\nContent-Length: 4\r\n",
    ] {
        let mut client = proxy.client();
        let answer = client.ask(format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
        assert_eq!(
            (answer.status, answer.field("connection"), answer.interim.len()),
            (308, Some("close"), 0)
        );
        client.assert_closed();
    }
}

fn a_handshake_gets_the_plain_answer(driver: Driver) {
    let proxy = start(driver, &all_to("https://new.test${path}"));
    let mut client = proxy.client();
    let answer = client.ask(handshake("/chat?x", ""));
    let expected =
        "HTTP/1.1 308 Permanent Redirect\r\nLocation: https://new.test/chat?x\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(without_date(&answer), expected);
    assert_eq!(client.get("/").status, 308, "the connection goes on as HTTP");
}

fn http_1_0_is_told_as_well(driver: Driver) {
    let proxy = start(driver, &all_to("/n"));
    let mut client = proxy.client();
    let kept = client.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!((kept.status, kept.field("connection")), (308, Some("keep-alive")));
    assert_eq!(client.ask("GET / HTTP/1.0\r\n\r\n").field("location"), Some("/n"));
    client.assert_closed();
}

fn fields_are_set_on_it(driver: Driver) {
    let edits = "response_headers = { set = { \"Cache-Control\" = \"no-store\", X-Both = \"rule\", \
                 X-Request-Id = \"auto\" } }\n";
    let site = "[[sites]]\nname = \"s\"\nhosts = [\"*\"]\n\
                response_headers = { set = { X-Site = \"1\", X-Both = \"site\" } }\n[[sites.rules]]\n";
    let rule = all_to("/n").replace("[[rules]]\n", site) + edits;
    let answer = start(driver, &rule).client().get("/");
    let values = ["location", "cache-control", "x-site", "x-both"].map(|name| answer.field(name).unwrap());
    assert_eq!(values, ["/n", "no-store", "1", "rule"]);
    assert!(answer.field("x-request-id").is_some_and(|id| id.len() >= 16));
}

fn a_line_in_the_access_log(driver: Driver) {
    let proxy = logging(Config::new(driver).section(&all_to("/n")), "");
    assert_eq!(proxy.client().get("/x?y").status, 308);
    let line = objects(&proxy, 1).remove(0);
    assert_eq!((line["status"].as_u64(), line["tries"].as_u64()), (Some(308), Some(0)), "{line}");
    assert_eq!((line["rule"].as_str(), line["target"].as_str()), (Some("all"), Some("/x?y")), "{line}");
    let further = ["upstream", "backend", "code", "fault"].map(|name| line.get(name).is_none());
    assert_eq!(further, [true; 4], "{line}");
}

fn rules_around_it_are_tried_in_order(driver: Driver) {
    let list = redirecting("post", "path = \"/*\"\nmethods = [\"POST\"]", "/posted", "")
        + &redirecting("plain", "path = \"/a\"\nws = false", "/plain", "")
        + &redirecting("off", "path = \"/*\"\nenabled = false", "/off", "")
        + &rule("rest", "/*", "to", "");
    let stage = Stage::on_one(driver, &list);
    let location = |request: &str| stage.proxy.client().ask(request).field("location").map(str::to_owned);
    assert_eq!(
        location("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").as_deref(),
        Some("/posted")
    );
    assert_eq!(location("GET /a HTTP/1.1\r\nHost: h\r\n\r\n").as_deref(), Some("/plain"));
    assert_eq!(location("GET /b HTTP/1.1\r\nHost: h\r\n\r\n"), None);
    assert_eq!(location(&handshake("/a", "")), None);
    assert_eq!(stage.requests(), 2);
}
