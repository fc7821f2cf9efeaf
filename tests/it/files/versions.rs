//! Conditions and ranges (RFC 9110 sections 13 and 14).

use super::{MODIFIED, SECOND_EARLIER, SECOND_LATER, Stage, folder};
use crate::harness::client::Response;
use crate::harness::config::{Config, Driver};
use crate::harness::proxy::Proxy;
use crate::harness::{on_both_drivers, wait_until};
use std::fs;

on_both_drivers![
    what_the_client_has_is_not_sent_again,
    conditions_that_do_not_hold,
    one_part,
    several_parts,
    parts_that_are_not_there,
    what_is_no_range_gets_the_whole,
    a_range_of_the_version_that_was_meant,
    what_changed_a_moment_ago_has_a_weak_tag,
    versions_of_the_same_time_and_length_differ,
    all_of_an_empty_file,
    parts_with_a_type_that_is_set,
    parts_of_a_long_file,
];

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";

fn letters(driver: Driver) -> Stage {
    let stage = Stage::new(driver, &[("a.txt", LETTERS), ("empty", "")]);
    stage.wait_until_strong("a.txt");
    stage
}

fn status(stage: &Stage, lines: &str) -> u16 {
    let mut client = stage.proxy.client();
    let answer = client.ask(format!("GET /a.txt HTTP/1.1\r\nHost: t\r\n{lines}\r\n"));
    // Whatever it was, the next answer is where it belongs.
    assert_eq!(client.get("/a.txt").text(), LETTERS);
    answer.status
}

fn what_the_client_has_is_not_sent_again(driver: Driver) {
    let stage = letters(driver);
    let tag = stage.tag("a.txt");
    for (lines, expected) in [
        (format!("If-None-Match: {tag}\r\n"), 304),
        (format!("If-None-Match: \"x\", W/{tag}\r\n"), 304),
        ("If-None-Match: *\r\n".into(), 304),
        ("If-None-Match: \"x\"\r\n".into(), 200),
        (format!("If-Modified-Since: {MODIFIED}\r\n"), 304),
        (format!("If-Modified-Since: {SECOND_LATER}\r\n"), 304),
        (format!("If-Modified-Since: {SECOND_EARLIER}\r\n"), 200),
        ("If-Modified-Since: now\r\n".into(), 200),
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {MODIFIED}\r\n"), 200),
        (format!("If-None-Match: {tag}\r\nRange: bytes=0-1\r\n"), 304),
    ] {
        assert_eq!(status(&stage, &lines), expected, "{lines}");
    }
    let answer = stage.with("/a.txt", &format!("If-None-Match: {tag}\r\n"));
    let date = answer.field("date").expect("a Date");
    let head = String::from_utf8(answer.head.raw.clone()).expect("ASCII");
    assert_eq!(head, format!("HTTP/1.1 304 Not Modified\r\nETag: {tag}\r\nDate: {date}\r\n\r\n"));
    let head = format!("HEAD /a.txt HTTP/1.1\r\nHost: t\r\nIf-None-Match: {tag}\r\n\r\n");
    assert_eq!(stage.proxy.client().send(head).response_to("HEAD").status, 304);
}

fn conditions_that_do_not_hold(driver: Driver) {
    let stage = letters(driver);
    let tag = stage.tag("a.txt");
    for (lines, expected) in [
        (format!("If-Match: {tag}\r\n"), 200),
        ("If-Match: *\r\n".into(), 200),
        ("If-Match: \"x\"\r\n".into(), 412),
        (format!("If-Match: W/{tag}\r\n"), 412),
        (format!("If-Unmodified-Since: {MODIFIED}\r\n"), 200),
        (format!("If-Unmodified-Since: {SECOND_EARLIER}\r\n"), 412),
        (format!("If-Match: {tag}\r\nIf-Unmodified-Since: {SECOND_EARLIER}\r\n"), 200),
        (format!("If-Match: \"x\"\r\nIf-None-Match: {tag}\r\n"), 412),
    ] {
        assert_eq!(status(&stage, &lines), expected, "{lines}");
    }
    stage.with("/a.txt", "If-Match: \"x\"\r\n").assert_error(412, "precondition_failed");
    stage.with("/b.txt", "If-Match: \"x\"\r\n").assert_error(404, "not_found");
}

fn one_part(driver: Driver) {
    let stage = letters(driver);
    for (range, content_range, text) in [
        ("0-0", "0-0", "a"),
        ("0-25", "0-25", LETTERS),
        ("2-4", "2-4", "cde"),
        ("20-", "20-25", "uvwxyz"),
        ("20-99", "20-25", "uvwxyz"),
        ("-3", "23-25", "xyz"),
        ("-99", "0-25", LETTERS),
        ("1-2, 30-", "1-2", "bc"),
    ] {
        let answer = stage.with("/a.txt", &format!("Range: bytes={range}\r\n"));
        let told = answer.field("content-range").unwrap_or_default().to_owned();
        assert_eq!((answer.status, told), (206, format!("bytes {content_range}/26")), "{range}");
        assert_eq!((answer.text().as_str(), answer.field("etag")), (text, Some(stage.tag("a.txt").as_str())));
        assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"));
    }
}

fn several_parts(driver: Driver) {
    let stage = letters(driver);
    let answer = stage.with("/a.txt", "Range: bytes=0-1,5-5,-2\r\n");
    assert_eq!((answer.status, answer.field("content-range")), (206, None));
    let parts = [("0-1", "ab"), ("5-5", "f"), ("24-25", "yz")];
    assert_eq!(answer.text(), multipart(&answer, &parts, "text/plain; charset=utf-8", 26));
    // In the order in which they were asked for.
    let answer = stage.with("/a.txt", "Range: bytes=24-25, 0-0\r\n");
    let parts = [("24-25", "yz"), ("0-0", "a")];
    assert_eq!(answer.text(), multipart(&answer, &parts, "text/plain; charset=utf-8", 26));
}

fn parts_with_a_type_that_is_set(driver: Driver) {
    let root = folder(&[("a.txt", LETTERS)]);
    let path = root.path().join("www").display().to_string();
    let rule = |set: &str| {
        let rule = format!("[[rules]]\nname = \"files\"\npath = \"/*\"\nstatic_dir = \"{path}\"\n");
        Proxy::start(&Config::new(driver).section(&format!("{rule}response_headers = {{ {set} }}")))
    };
    const RANGE: &str = "GET /a.txt HTTP/1.1\r\nHost: t\r\nRange: bytes=0-1,-2\r\n\r\n";
    let proxy = rule("set = { content-type = \"text/x\", X-A = \"b\" }");
    let answer = proxy.client().ask(RANGE);
    let head = String::from_utf8(answer.head.raw.clone()).expect("ASCII").to_ascii_lowercase();
    assert_eq!((head.matches("\r\ncontent-type:").count(), answer.field("x-a")), (1, Some("b")));
    let parts = [("0-1", "ab"), ("24-25", "yz")];
    let expected = multipart(&answer, &parts, "text/x", 26);
    assert_eq!(answer.text().to_ascii_lowercase(), expected.to_ascii_lowercase());
    let answer = rule("remove = [\"Content-Type\"]").client().ask(RANGE);
    let expected = multipart(&answer, &parts, "", 26).replace("Content-Type: \r\n", "");
    assert_eq!(answer.text(), expected);
}

fn multipart(answer: &Response, parts: &[(&str, &str)], media: &str, length: usize) -> String {
    let told = answer.field("content-type").expect("a type");
    let boundary = told.strip_prefix("multipart/byteranges; boundary=").expect("a boundary");
    let part = |(range, bytes): &(&str, &str)| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: {media}\r\nContent-Range: bytes {range}/{length}\r\n\r\n{bytes}"
        )
    };
    parts.iter().map(part).collect::<String>() + &format!("\r\n--{boundary}--\r\n")
}

fn parts_that_are_not_there(driver: Driver) {
    let stage = letters(driver);
    for (target, range, length) in [
        ("/a.txt", "26-", 26),
        ("/a.txt", "-0", 26),
        ("/a.txt", "99-100,200-", 26),
        ("/empty", "0-", 0),
        ("/empty", "-0", 0),
    ] {
        let answer = stage.with(target, &format!("Range: bytes={range}\r\n"));
        answer.assert_error(416, "range_not_satisfiable");
        assert_eq!(answer.field("content-range"), Some(format!("bytes */{length}").as_str()), "{range}");
    }
}

fn what_is_no_range_gets_the_whole(driver: Driver) {
    let stage = letters(driver);
    let many: Vec<_> = (0..17).map(|n| format!("{n}-{n}")).collect();
    for range in [
        "bytes=",
        "bytes=5-4",
        "bytes=a-",
        "lines=0-1",
        "bytes=0-5,3-9",
        &format!("bytes={}", many.join(",")),
    ] {
        let answer = stage.with("/a.txt", &format!("Range: {range}\r\n"));
        assert_eq!((answer.status, answer.text().as_str()), (200, LETTERS), "{range}");
    }
    let sixteen = format!("Range: bytes={}\r\n", many[..16].join(","));
    assert_eq!(stage.with("/a.txt", &sixteen).status, 206);
    let answer = stage.with("/a.txt", "Range: bytes=0-1\r\nRange: bytes=0-1\r\n");
    assert_eq!(answer.status, 200);
}

fn a_range_of_the_version_that_was_meant(driver: Driver) {
    let stage = letters(driver);
    let tag = stage.tag("a.txt");
    for (condition, expected) in [
        (tag.as_str(), 206),
        (&format!("W/{tag}"), 200),
        ("\"x\"", 200),
        // The file may have changed twice within that second.
        (MODIFIED, 200),
        (SECOND_LATER, 200),
        (SECOND_EARLIER, 200),
        ("x", 200),
    ] {
        assert_eq!(
            status(&stage, &format!("Range: bytes=0-1\r\nIf-Range: {condition}\r\n")),
            expected,
            "{condition}"
        );
    }
}

fn what_changed_a_moment_ago_has_a_weak_tag(driver: Driver) {
    let stage = letters(driver);
    // Whatever time was set.
    stage.write("new", "fresh");
    let answer = stage.get("/new");
    assert_eq!(answer.field("last-modified"), None);
    let tag = answer.field("etag").expect("a tag").to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    assert_eq!(stage.with("/new", &format!("If-None-Match: {tag}\r\n")).status, 304);
    assert_eq!(stage.with("/new", &format!("If-Match: {tag}\r\n")).status, 412);
    assert_eq!(stage.with("/new", &format!("Range: bytes=0-1\r\nIf-Range: {tag}\r\n")).status, 200);
}

fn versions_of_the_same_time_and_length_differ(driver: Driver) {
    let stage = Stage::new(driver, &[("a", "first")]);
    let bare = || stage.get("/a").field("etag").expect("a tag").trim_start_matches("W/").to_owned();
    let first = bare();
    assert_eq!(first, stage.tag("a"));
    // As an archive is unpacked.
    stage.write("next", "other");
    fs::rename(stage.path("next"), stage.path("a")).expect("a name");
    wait_until("the other version is served", || stage.get("/a").text() == "other");
    assert_ne!(bare(), first);
    assert_eq!(stage.with("/a", &format!("If-None-Match: {first}\r\n")).status, 200);
    assert_eq!(stage.with("/a", &format!("If-None-Match: W/{}\r\n", stage.tag("a"))).status, 304);
    assert_eq!(stage.with("/a", &format!("If-Modified-Since: {MODIFIED}\r\n")).status, 200);
}

fn all_of_an_empty_file(driver: Driver) {
    let answer = letters(driver).with("/empty", "Range: bytes=-5\r\n");
    assert_eq!((answer.status, answer.field("content-range"), answer.text().as_str()), (200, None, ""));
}

fn parts_of_a_long_file(driver: Driver) {
    let content: String = (0..60_000).map(|n| format!("{n:010}")).collect();
    let stage = Stage::new(driver, &[("long.bin", &content)]);
    for (from, to) in [(0, 1), (299_990, 300_010), (1, 599_999), (599_999, 600_000)] {
        let answer = stage.with("/long.bin", &format!("Range: bytes={from}-{}\r\n", to - 1));
        assert!(answer.status == 206 && answer.text() == content[from..to], "{from} to {to}");
    }
    let answer = stage.with("/long.bin", "Range: bytes=0-299999,300010-\r\n");
    let parts = [("0-299999", &content[..300_000]), ("300010-599999", &content[300_010..])];
    assert!(answer.text() == multipart(&answer, &parts, "application/octet-stream", 600_000));
}
