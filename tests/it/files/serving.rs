//! What is found, and how it is described.

use super::{MODIFIED, Stage, folder, serving, tag};
use crate::access_log::{logging, objects};
use crate::harness::config::{Config, Driver};
use crate::harness::proxy::Proxy;
use crate::harness::websocket::handshake;
use crate::harness::{on_both_drivers, wait_until};
use std::process::Command;

on_both_drivers![
    the_response_byte_for_byte,
    types_follow_the_name,
    names_are_decoded_once,
    indexes_of_folders,
    a_folder_is_behind_its_slash,
    a_redirect_never_leads_to_another_host,
    the_path_is_changed_as_for_a_target,
    a_site_of_its_own,
    head_gets_what_get_would,
    other_methods_are_refused,
    the_connection_goes_on,
    http_1_0_is_served,
    what_is_left_of_the_request_is_read,
    a_handshake_gets_the_file,
    fields_can_be_set_and_removed,
    a_line_in_the_access_log,
    a_folder_that_is_missing,
    curl_gets_a_file,
];

fn without_date(answer: &crate::harness::client::Response) -> String {
    let head = String::from_utf8(answer.head.raw.clone()).expect("ASCII");
    head.replace(&format!("Date: {}\r\n", answer.field("date").expect("a Date")), "")
}

fn the_response_byte_for_byte(driver: Driver) {
    let stage = Stage::new(driver, &[("a.html", "<p>hello")]);
    let mut client = stage.proxy.client();
    stage.wait_until_strong("a.html");
    // From the disk, and from memory.
    for _ in 0..3 {
        let answer = client.get("/a.html");
        let expected = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nETag: {}\r\nLast-Modified: {MODIFIED}\r\n\
             Accept-Ranges: bytes\r\nContent-Length: 8\r\n\r\n",
            stage.tag("a.html")
        );
        assert_eq!((without_date(&answer), answer.text().as_str()), (expected, "<p>hello"));
    }
}

fn types_follow_the_name(driver: Driver) {
    let types = [
        ("a.html", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.JS", "text/javascript; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.json", "application/json; charset=utf-8"),
        ("a.svg", "image/svg+xml; charset=utf-8"),
        ("a.wasm", "application/wasm"),
        ("a.woff2", "font/woff2"),
        ("a.png", "image/png"),
        ("a.tar.gz", "application/gzip"),
        ("a", "application/octet-stream"),
        ("a.unheard-of", "application/octet-stream"),
    ];
    let stage = Stage::new(driver, &types.map(|(name, _)| (name, "")));
    for (name, media) in types {
        let answer = stage.get(&format!("/{name}"));
        assert_eq!((answer.status, answer.field("content-type")), (200, Some(media)), "{name}");
    }
}

fn names_are_decoded_once(driver: Driver) {
    let stage = Stage::new(
        driver,
        &[("a b", "space"), ("%61", "percent"), ("\u{fc}", "letter"), ("a;b=c+d", "marks")],
    );
    for (target, text) in [
        ("/a%20b", "space"),
        ("/%61%20%62", "space"),
        ("/%2561", "percent"),
        ("/%c3%bc", "letter"),
        ("/%C3%BC?query=/../x", "letter"),
        ("/a;b=c+d", "marks"),
    ] {
        assert_eq!(stage.get(target).text(), text, "{target}");
    }
}

fn indexes_of_folders(driver: Driver) {
    let files = [
        ("index.html", "top"),
        ("a/index.htm", "older"),
        ("b/index.html", "first"),
        ("b/index.htm", "second"),
    ];
    let stage = Stage::new(driver, &[&files[..], &[("c/x", ""), ("d/index.html/x", "")]].concat());
    let got = |target: &str| (stage.get(target).status, stage.get(target).text());
    assert_eq!(got("/"), (200, "top".into()));
    assert_eq!(got("/?x"), (200, "top".into()));
    assert_eq!(got("/a/"), (200, "older".into()));
    assert_eq!(got("/b/"), (200, "first".into()));
    assert_eq!(stage.get("/a/").field("content-type"), Some("text/html; charset=utf-8"));
    for target in ["/c/", "/d/", "/e/", "/index.html/", "/e", "/c/y", "/index.html/x"] {
        stage.get(target).assert_error(404, "not_found");
    }
}

fn a_folder_is_behind_its_slash(driver: Driver) {
    let stage = Stage::new(driver, &[("a/index.html", ""), ("b c/d/x", "")]);
    for (target, location) in [
        ("/a", "/a/"),
        ("/a?x=1&y", "/a/?x=1&y"),
        ("/b%20c/d", "/b%20c/d/"),
        ("/%61?", "/%61/?"),
        ("/x/../a", "/a/"),
    ] {
        let answer = stage.get(target);
        assert_eq!((answer.status, answer.field("location")), (308, Some(location)), "{target}");
    }
    let head = stage.proxy.client().send("HEAD /a HTTP/1.1\r\nHost: t\r\n\r\n").response_to("HEAD");
    assert_eq!((head.status, head.field("location")), (308, Some("/a/")));
}

fn a_redirect_never_leads_to_another_host(driver: Driver) {
    let root = folder(&[("evil.com/x", ""), ("x", "")]);
    let folder = root.path().join("www");
    let rule = "[[rules]]\nname = \"slashes\"\npattern = '^/+\\\\?(.*)$'\nrewrite = '/$1'\n";
    let config = Config::new(driver).section(&format!("{rule}static_dir = \"{}\"", folder.display()));
    let proxy = Proxy::start(&config);
    assert_eq!(proxy.client().get("/evil.com").field("location"), Some("/evil.com/"));
    for target in ["//evil.com", "///evil.com", "//evil.com?x"] {
        proxy.client().get(target).assert_error(404, "not_found");
    }
    // A rewrite that drops the slash leads nowhere, rather than to the same path again.
    let config = Config::new(driver).section(&format!(
        "[[rules]]\nname = \"no slash\"\npattern = '^/(.*)/$'\nrewrite = '/$1'\nstatic_dir = \"{}\"",
        folder.display()
    ));
    Proxy::start(&config).client().get("/evil.com/").assert_error(404, "not_found");
    let answer = proxy.client().get("/\\evil.com");
    assert!(answer.status == 400 || answer.status == 404, "{answer:?}");
    // Where the path is as it came, it has an empty segment.
    let stage = Stage::new(driver, &[("evil.com/x", "")]);
    stage.get("//evil.com").assert_error(404, "not_found");
    stage.get("//evil.com/x").assert_error(404, "not_found");
}

fn the_path_is_changed_as_for_a_target(driver: Driver) {
    let root = folder(&[("index.html", "top"), ("a/b.txt", "deep"), ("v2/b.txt", "second")]);
    let folder = root.path().join("www");
    let rule = |name: &str, lines: &str| {
        format!("[[rules]]\nname = \"{name}\"\nstatic_dir = \"{}\"\n{lines}\n", folder.display())
    };
    let list = rule("stripped", "path = \"/static/*\"\nstrip_prefix = true")
        + &rule("rewritten", "pattern = '^/new/(.*)$'\nrewrite = '/v2/$1'")
        + &rule("one", "pattern = '^/app(/.*)?$'\nrewrite = '/index.html'");
    let proxy = Proxy::start(&Config::new(driver).section(&list));
    let got = |target: &str| proxy.client().get(target);
    assert_eq!(got("/static/a/b.txt").text(), "deep");
    assert_eq!(got("/static/").text(), "top");
    assert_eq!(got("/new/b.txt").text(), "second");
    assert_eq!(got("/app/any/thing").text(), "top");
    // The client's own path, not the one that is looked for.
    assert_eq!(got("/static/a?q").field("location"), Some("/static/a/?q"));
    assert_eq!(got("/static?q").field("location"), Some("/static/?q"));
    got("/a/b.txt").assert_error(404, "no_rule");
    got("/static/%2e%2e%2fsecret").assert_error(404, "not_found");
}

fn a_site_of_its_own(driver: Driver) {
    let root = folder(&[("a", "file")]);
    let site = format!(
        "[[sites]]\nname = \"www\"\nhosts = [\"www.test\"]\nstatic_dir = \"{}\"\n\
         [[sites.rules]]\nname = \"one\"\npath = \"/b\"\nrespond = {{ status = 200, body = \"rule\" }}\n",
        root.path().join("www").display()
    );
    let proxy = Proxy::start(&Config::new(driver).section(&site));
    let ask = |target: &str| proxy.client().ask(format!("GET {target} HTTP/1.1\r\nHost: www.test\r\n\r\n"));
    assert_eq!((ask("/a").text(), ask("/b").text()), ("file".into(), "rule".into()));
    ask("/c").assert_error(404, "not_found");
    proxy.client().get("/a").assert_error(404, "no_site");
}

fn head_gets_what_get_would(driver: Driver) {
    let long = "x".repeat(300_000);
    let stage = Stage::new(driver, &[("a.txt", "hello"), ("long", &long), ("empty", "")]);
    let mut client = stage.proxy.client();
    for target in ["/a.txt", "/long", "/empty", "/a.txt"] {
        let head = client.send(format!("HEAD {target} HTTP/1.1\r\nHost: t\r\n\r\n")).response_to("HEAD");
        let get = client.get(target);
        assert_eq!(without_date(&head), without_date(&get));
        assert_eq!(get.field("content-length"), Some(get.body.len().to_string().as_str()));
    }
    // HEAD knows no ranges.
    let head = client.send("HEAD /a.txt HTTP/1.1\r\nHost: t\r\nRange: bytes=0-1\r\n\r\n").response_to("HEAD");
    assert_eq!((head.status, head.field("content-length")), (200, Some("5")));
    let missing = client.send("HEAD /b HTTP/1.1\r\nHost: t\r\n\r\n").response_to("HEAD");
    assert_eq!(missing.status, 404);
}

fn other_methods_are_refused(driver: Driver) {
    let stage = Stage::new(driver, &[("a", "file")]);
    let mut client = stage.proxy.client();
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "get"] {
        for target in ["/a", "/missing"] {
            let answer =
                client.ask(format!("{method} {target} HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nab"));
            answer.assert_error(405, "method_not_allowed");
            assert_eq!(answer.field("allow"), Some("GET, HEAD"), "{method}");
        }
    }
    assert_eq!(client.get("/a").text(), "file");
    assert_eq!(client.ask("OPTIONS * HTTP/1.1\r\nHost: t\r\n\r\n").status, 405);
}

fn the_connection_goes_on(driver: Driver) {
    let long = "y".repeat(400_000);
    let stage = Stage::new(driver, &[("a", "file"), ("long", &long), ("empty", "")]);
    let mut client = stage.proxy.client();
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: t\r\n\r\n");
    client.send((get("/a") + &get("/long") + &get("/b") + &get("/empty")).repeat(5));
    for _ in 0..5 {
        assert_eq!(client.response().text(), "file");
        assert!(client.response().text() == long);
        client.response().assert_error(404, "not_found");
        assert_eq!(client.response().text(), "");
    }
    client.send_in_pieces(get("/a"), 3);
    assert_eq!(client.response().text(), "file");
    let last = client.ask("GET /a HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    assert_eq!((last.field("connection"), last.text().as_str()), (Some("close"), "file"));
    client.assert_closed();
}

fn http_1_0_is_served(driver: Driver) {
    let stage = Stage::new(driver, &[("a", "file")]);
    let mut client = stage.proxy.client();
    let answer = client.ask("GET /a HTTP/1.0\r\n\r\n");
    assert_eq!((answer.text().as_str(), answer.field("content-length")), ("file", Some("4")));
    client.assert_closed();
    let mut client = stage.proxy.client();
    for _ in 0..2 {
        let answer = client.ask("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!((answer.text().as_str(), answer.field("connection")), ("file", Some("keep-alive")));
    }
}

fn what_is_left_of_the_request_is_read(driver: Driver) {
    let stage = Stage::new(driver, &[("a", "file")]);
    let mut client = stage.proxy.client();
    for _ in 0..3 {
        let answer = client.ask("GET /a HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!((answer.text().as_str(), answer.field("connection")), ("file", None));
    }
    // Where there is no telling how long it goes on, and from who waits for leave to send, nothing is read.
    for rest in [
        "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    ] {
        let mut client = stage.proxy.client();
        let answer = client.ask(format!("GET /a HTTP/1.1\r\nHost: t\r\n{rest}"));
        assert_eq!((answer.text().as_str(), answer.field("connection")), ("file", Some("close")));
        client.assert_closed();
    }
}

fn a_handshake_gets_the_file(driver: Driver) {
    let stage = Stage::new(driver, &[("a", "file")]);
    let answer = stage.proxy.client().ask(handshake("/a", ""));
    assert_eq!((answer.status, answer.text().as_str()), (200, "file"));
}

fn fields_can_be_set_and_removed(driver: Driver) {
    let root = folder(&[("a.txt", "file")]);
    let lines = "response_headers = { set = { Cache-Control = \"max-age=60\", Content-Type = \"text/x\" }, \
                 remove = [\"Accept-Ranges\", \"etag\"] }";
    let config = serving(Config::new(driver), &root.path().join("www")).section(lines);
    let proxy = Proxy::start(&config);
    let expected = |start: &str, length: &str| {
        format!(
            "HTTP/1.1 {start}\r\nLast-Modified: {MODIFIED}\r\n{length}Content-Type: text/x\r\nCache-Control: max-age=60\r\n\r\n"
        )
    };
    let sorted = |head: String| {
        let mut lines: Vec<_> = head.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    wait_until("its time is told", || proxy.client().get("/a.txt").field("last-modified").is_some());
    let answer = proxy.client().get("/a.txt");
    assert_eq!(sorted(without_date(&answer)), sorted(expected("200 OK", "Content-Length: 4\r\n")));
    let tag = tag(&root.path().join("www/a.txt"));
    let answer =
        proxy.client().ask(format!("GET /a.txt HTTP/1.1\r\nHost: t\r\nIf-None-Match: {tag}\r\n\r\n"));
    assert_eq!((answer.status, answer.field("cache-control")), (304, Some("max-age=60")));
}

fn a_line_in_the_access_log(driver: Driver) {
    let root = folder(&[("a", "file")]);
    let proxy = logging(serving(Config::new(driver), &root.path().join("www")), "");
    let mut client = proxy.client();
    client.get("/a");
    client.get("/b");
    let lines = objects(&proxy, 2);
    let told: Vec<_> = lines
        .iter()
        .map(|line| (line["status"].as_u64(), line["response_bytes"].as_u64(), line["rule"].as_str()))
        .collect();
    assert_eq!(told[0], (Some(200), Some(4), Some("files")));
    assert_eq!(
        (told[1].0, lines[1]["code"].as_str(), lines[1]["fault"].as_str()),
        (Some(404), Some("not_found"), Some("client"))
    );
}

fn a_folder_that_is_missing(driver: Driver) {
    let root = folder(&[]);
    let proxy = Proxy::start(&serving(Config::new(driver), &root.path().join("elsewhere")));
    proxy.client().get("/").assert_error(404, "not_found");
    // It may come later.
    super::write(&root.path().join("elsewhere/index.html"), "here");
    assert_eq!(proxy.client().get("/").text(), "here");
}

fn curl_gets_a_file(driver: Driver) {
    let content = "line\n".repeat(50_000);
    let stage = Stage::new(driver, &[("a/long.txt", &content)]);
    let saved = stage.root.path().join("saved");
    for range in ["--silent", "--range=100-", "--range=-77", "--range=5-300000"] {
        let mut command = Command::new("curl");
        let arguments =
            ["--silent", "--fail", "--location", "--max-time", "20", "--noproxy", "*", "--remote-time"];
        command.args(arguments).args(range.split('=')).arg("--output").arg(&saved);
        assert!(command.arg(stage.proxy.url("/a/long.txt")).status().expect("curl is installed").success());
        let expected = match range {
            "--range=100-" => &content[100..],
            "--range=-77" => &content[content.len() - 77..],
            "--range=5-300000" => &content[5..],
            _ => &content[..],
        };
        assert!(std::fs::read(&saved).expect("a file") == expected.as_bytes(), "{range}");
    }
}
