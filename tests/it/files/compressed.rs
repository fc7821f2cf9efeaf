//! Siblings that are compressed already.

use super::{Stage, folder, set_modified, write};
use crate::harness::config::{Config, Driver};
use crate::harness::proxy::Proxy;
use crate::harness::{on_both_drivers, wait_until};
use std::os::unix::fs::symlink;
use std::time::SystemTime;

on_both_drivers![
    what_the_client_likes_best_is_sent,
    each_has_its_own_version,
    where_there_is_none_nothing_varies,
    only_files_of_the_folder_are_siblings,
    siblings_come_and_go,
    siblings_of_an_older_version_are_none,
    what_is_set_to_vary_comes_besides,
];

const FILES: [(&str, &str); 5] = [
    ("a.js", "plain"),
    ("a.js.br", "brotli!"),
    ("a.js.gz", "gzip"),
    ("b/index.html", "plain"),
    ("b/index.html.gz", "gzip"),
];

fn what_the_client_likes_best_is_sent(driver: Driver) {
    let stage = Stage::new(driver, &FILES);
    let mut client = stage.proxy.client();
    for _ in 0..2 {
        for (accepts, text, coding) in [
            ("gzip, deflate, br, zstd", "brotli!", Some("br")),
            ("gzip", "gzip", Some("gzip")),
            ("br;q=0.1, gzip;q=0.2", "gzip", Some("gzip")),
            ("br;q=0, gzip;q=0", "plain", None),
            ("identity", "plain", None),
            ("*", "brotli!", Some("br")),
            ("", "plain", None),
        ] {
            let answer =
                client.ask(format!("GET /a.js HTTP/1.1\r\nHost: t\r\nAccept-Encoding: {accepts}\r\n\r\n"));
            assert_eq!(
                (answer.text().as_str(), answer.field("content-encoding")),
                (text, coding),
                "{accepts}"
            );
            assert_eq!(answer.field("content-type"), Some("text/javascript; charset=utf-8"));
            assert_eq!(answer.field("vary"), Some("Accept-Encoding"));
        }
    }
    let answer = stage.get("/a.js");
    assert_eq!((answer.text().as_str(), answer.field("vary")), ("plain", Some("Accept-Encoding")));
    let answer = stage.with("/b/", "Accept-Encoding: gzip\r\n");
    assert_eq!(
        (answer.text().as_str(), answer.field("content-type")),
        ("gzip", Some("text/html; charset=utf-8"))
    );
}

fn each_has_its_own_version(driver: Driver) {
    let stage = Stage::new(driver, &FILES);
    let tag = |accepts: &str| {
        stage
            .with("/a.js", &format!("Accept-Encoding: {accepts}\r\n"))
            .field("etag")
            .expect("a tag")
            .to_owned()
    };
    let bare = |accepts: &str| tag(accepts).trim_start_matches("W/").to_owned();
    let (plain, gzip, brotli) = (bare("identity"), bare("gzip"), bare("br"));
    assert!(plain != gzip && gzip != brotli && brotli != plain);
    let ask = |accepts: &str, tag: &str| {
        stage.with("/a.js", &format!("Accept-Encoding: {accepts}\r\nIf-None-Match: {tag}\r\n"))
    };
    let answer = ask("br", &brotli);
    assert_eq!((answer.status, answer.field("vary")), (304, Some("Accept-Encoding")));
    assert_eq!((ask("br", &gzip).status, ask("identity", &brotli).status), (200, 200));
    wait_until("the tag is strong", || tag("br").starts_with('"'));
    let brotli = tag("br");
    let part =
        stage.with("/a.js", &format!("Accept-Encoding: br\r\nRange: bytes=0-2\r\nIf-Range: {brotli}\r\n"));
    assert_eq!((part.status, part.text().as_str(), part.field("content-encoding")), (206, "bro", Some("br")));
    assert_eq!(part.field("content-range"), Some("bytes 0-2/7"));
}

fn where_there_is_none_nothing_varies(driver: Driver) {
    let stage = Stage::new(driver, &[("a.js", "plain"), ("b.js.gz", "gzip")]);
    let answer = stage.with("/a.js", "Accept-Encoding: gzip, br\r\n");
    assert_eq!((answer.field("vary"), answer.field("content-encoding")), (None, None));
    stage.with("/b.js", "Accept-Encoding: gzip\r\n").assert_error(404, "not_found");
    // By its own name it is a file like any other.
    let answer = stage.with("/b.js.gz", "Accept-Encoding: gzip\r\n");
    assert_eq!((answer.text().as_str(), answer.field("content-type")), ("gzip", Some("application/gzip")));
    assert_eq!(answer.field("content-encoding"), None);
}

fn only_files_of_the_folder_are_siblings(driver: Driver) {
    let stage = Stage::new(
        driver,
        &[("a.js", "plain"), ("b.js", "plain"), ("b.js.br/x", ""), ("c.js", "plain"), ("real", "inside")],
    );
    write(&stage.root.path().join("secret"), "secret");
    symlink("../secret", stage.path("a.js.br")).expect("a link");
    symlink("real", stage.path("c.js.br")).expect("a link");
    for (target, text) in [("/a.js", "plain"), ("/b.js", "plain"), ("/c.js", "inside")] {
        assert_eq!(stage.with(target, "Accept-Encoding: br\r\n").text(), text, "{target}");
    }
}

fn siblings_come_and_go(driver: Driver) {
    let stage = Stage::new(driver, &[("a.js", "plain")]);
    let mut client = stage.proxy.client();
    let mut told = || client.ask("GET /a.js HTTP/1.1\r\nHost: t\r\nAccept-Encoding: br\r\n\r\n").text();
    assert_eq!(told(), "plain");
    stage.write("a.js.br", "brotli!");
    wait_until("the sibling is seen", || told() == "brotli!");
    std::fs::remove_file(stage.path("a.js.br")).expect("a file");
    wait_until("it is seen that it has gone", || told() == "plain");
}

fn siblings_of_an_older_version_are_none(driver: Driver) {
    let stage = Stage::new(driver, &[("a.js", "plain"), ("a.js.br", "brotli!"), ("a.js.gz", "gzip")]);
    set_modified(&stage.path("a.js"), SystemTime::now());
    set_modified(&stage.path("a.js.gz"), SystemTime::now());
    let answer = stage.with("/a.js", "Accept-Encoding: br, gzip\r\n");
    assert_eq!((answer.text().as_str(), answer.field("vary")), ("gzip", Some("Accept-Encoding")));
}

fn what_is_set_to_vary_comes_besides(driver: Driver) {
    let root = folder(&FILES);
    let config = Config::new(driver).section(&format!(
        "[[rules]]\nname = \"files\"\npath = \"/*\"\nstatic_dir = \"{}\"\n\
         response_headers = {{ set = {{ Vary = \"Origin\" }} }}",
        root.path().join("www").display()
    ));
    let proxy = Proxy::start(&config);
    for _ in 0..2 {
        let answer = proxy.client().get("/a.js");
        let head = String::from_utf8(answer.head.raw).expect("ASCII");
        for line in ["\r\nVary: Accept-Encoding\r\n", "\r\nVary: Origin\r\n"] {
            assert!(head.contains(line), "{head}");
        }
    }
}
