//! The access log: what a line says, where it goes, and that nobody's bytes break it.

use crate::harness::backend::Backend;
use crate::harness::backends::{HELLO, response};
use crate::harness::config::{Config, Driver};
use crate::harness::proxy::Proxy;
use crate::harness::websocket::{close, connect, handshake};
use crate::harness::{on_both_drivers, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

on_both_drivers![
    a_line_has_the_documented_fields,
    an_answer_of_our_own_says_whose_fault_it_was,
    hostile_bytes_do_not_break_a_line,
    a_tunnel_is_logged_when_it_ends,
    the_common_format,
    it_is_off_unless_asked_for,
    it_goes_to_stdout,
    sigusr1_reopens_the_file,
    a_reload_moves_it,
    lines_on_their_way_are_written_at_the_end,
];

fn log_to(path: &str, more: &str) -> String {
    format!("[access_log]\npath = \"{path}\"\n{more}")
}

/// A proxy whose access log is the file `access.log` in its directory.
pub fn logging(config: Config, more: &str) -> Proxy {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    Proxy::start_in(directory, &config.section(&log_to(path.to_str().unwrap(), more)))
}

/// The lines of a file, once there are `count`.
fn lines(path: &Path, count: usize) -> Vec<String> {
    let read = || std::fs::read_to_string(path).unwrap_or_default();
    wait_until(&format!("{count} lines in {}", path.display()), || read().matches('\n').count() >= count);
    let lines: Vec<_> = read().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

/// The lines of such a proxy's access log, once there are `count`.
pub fn objects(proxy: &Proxy, count: usize) -> Vec<Value> {
    let lines = lines(&proxy.directory().join("access.log"), count);
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn names(object: &Value) -> BTreeSet<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// The fields of every line, as the reference has them.
const ALWAYS: [&str; 11] = [
    "time",
    "client",
    "method",
    "host",
    "target",
    "protocol",
    "status",
    "request_bytes",
    "response_bytes",
    "duration_us",
    "tries",
];

fn a_line_has_the_documented_fields(driver: Driver) {
    let backend = Backend::says_hello();
    let site = "[[sites]]\nname = \"shop\"\nhosts = [\"shop.test\"]\n[[sites.rules]]\nname = \"all\"\npath = \"*\"\nupstream = \"pool\"";
    let config = Config::new(driver).server("request_id = \"x-request-id\"");
    let proxy = logging(config.upstream("pool", &[backend.url()]).section(site), "");
    let answer = proxy
        .client()
        .ask("POST /a/./b?q=1 HTTP/1.1\r\nHost: shop.test:99\r\nContent-Length: 5\r\n\r\n12345");
    assert_eq!(answer.body, HELLO);
    let line = objects(&proxy, 1).remove(0);
    let further = ["site", "rule", "upstream", "backend", "choice", "request_id"];
    assert_eq!(names(&line), ALWAYS.into_iter().chain(further).collect());
    let text = |name: &str| line[name].as_str().expect("a string").to_owned();
    let texts =
        ["client", "method", "host", "target", "protocol", "site", "rule", "upstream", "choice"].map(text);
    assert_eq!(
        texts,
        ["127.0.0.1", "POST", "shop.test:99", "/a/b?q=1", "HTTP/1.1", "shop", "all", "pool", "only"]
            .map(str::to_owned)
    );
    let numbers = ["status", "request_bytes", "response_bytes", "tries"].map(|name| line[name].as_u64());
    assert_eq!(numbers, [200, 5, 13, 1].map(Some));
    assert!(
        line["duration_us"].is_u64() && text("backend").contains(&backend.address().to_string()),
        "{line}"
    );
    assert_eq!(Some(text("request_id").as_str()), backend.last_head().fields.get("x-request-id"));
    let (date, millis) = (text("time"), text("time").len());
    assert!(
        date.starts_with("20") && date.ends_with('Z') && millis == "2026-01-01T00:00:00.000Z".len(),
        "{date}"
    );
}

fn an_answer_of_our_own_says_whose_fault_it_was(driver: Driver) {
    let gone = Backend::says_hello().url();
    let silent = Backend::never_answers();
    let proxy =
        logging(Config::new(driver).rule("gone", "/gone", &gone).rule("slow", "/slow", &silent.url()), "");
    let mut client = proxy.client();
    assert_eq!((client.get("/gone").status, client.get("/nowhere").status), (502, 404));
    client.ask("GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n").assert_error(400, "bad_request");
    let mut client = proxy.client();
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    silent.wait_for_requests(1);
    drop(client);
    let told: Vec<_> = objects(&proxy, 4)
        .iter()
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
            (line["status"].as_u64().unwrap(), text("code"), text("fault"), text("rule"))
        })
        .collect();
    let expected = [
        (502, "upstream_refused", "upstream", "gone"),
        (404, "no_rule", "client", "-"),
        (400, "bad_request", "client", "-"),
        (499, "client_gone", "client", "slow"),
    ];
    assert_eq!(
        told,
        expected.map(|(status, code, fault, rule)| (status, code.into(), fault.into(), rule.into()))
    );
}

/// Requests that try to end a line or a string, or to start a field of their own.
const HOSTILE: [&[u8]; 9] = [
    b"GET /\"},{\"status\":200} HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /%0a%0d%00%22?x=\"\\\" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /\\\"\\ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /\xff\xfe\xc3\x28 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /'`|~!{}<>$ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"G!#$%&'*+-.^_`|~ / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\"b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\x1b[31m\r\n\r\n",
    b"\x00\x01\x02\"\r\n\r\n",
];

fn hostile_bytes_do_not_break_a_line(driver: Driver) {
    let backend = Backend::says_hello();
    for format in ["json", "common"] {
        let proxy = logging(Config::to(driver, &backend), &format!("format = \"{format}\""));
        for request in HOSTILE {
            let answer = proxy.client().ask(request);
            assert!([200, 400].contains(&answer.status), "{:?}", String::from_utf8_lossy(request));
        }
        if format == "json" {
            for (object, request) in objects(&proxy, HOSTILE.len()).iter().zip(HOSTILE) {
                let status = object["status"].as_u64();
                assert!(matches!(status, Some(200 | 400)), "{object} for {request:?}");
                assert!(ALWAYS.iter().all(|name| object.get(name).is_some()), "{object}");
            }
        } else {
            let lines = lines(&proxy.directory().join("access.log"), HOSTILE.len());
            lines.iter().for_each(|line| drop(assert_common(line)));
        }
        let log = std::fs::read(proxy.directory().join("access.log")).unwrap();
        assert!(log.iter().all(|byte| matches!(byte, b'\n' | 0x20..=0x7e)), "bytes that are no ASCII text");
    }
}

/// `client - - [day/month/year:time zone] "request line" status bytes`, with quotes inside the request line escaped.
#[track_caller]
fn assert_common(line: &str) -> (String, u16, u64) {
    let rest = line.strip_prefix("127.0.0.1 - - [").unwrap_or_else(|| panic!("{line}"));
    let (time, rest) = rest.split_once("] \"").unwrap_or_else(|| panic!("{line}"));
    assert_eq!(time.len(), "21/Nov/2026:08:49:37 +0000".len(), "{line}");
    let (request, numbers) = rest.rsplit_once("\" ").unwrap_or_else(|| panic!("{line}"));
    let mut escaped = false;
    for character in request.chars() {
        assert!(escaped || character != '"', "an open quote in {line}");
        escaped = !escaped && character == '\\';
    }
    assert!(!escaped, "{line}");
    let (status, bytes) = numbers.split_once(' ').unwrap_or_else(|| panic!("{line}"));
    (request.to_owned(), status.parse().unwrap(), bytes.parse().unwrap())
}

fn the_common_format(driver: Driver) {
    let backend = Backend::answers(|_| response("201 Created", "", HELLO));
    let proxy = logging(Config::to(driver, &backend), "format = \"common\"");
    assert_eq!(proxy.client().get("/a?b").status, 201);
    let line = lines(&proxy.directory().join("access.log"), 1).remove(0);
    assert_eq!(assert_common(&line), ("GET /a?b HTTP/1.1".to_owned(), 201, 13));
}

fn a_tunnel_is_logged_when_it_ends(driver: Driver) {
    let backend = Backend::echoes_messages();
    let proxy = logging(Config::to(driver, &backend), "");
    let mut socket = connect(&proxy.address(), "/chat");
    assert_eq!(proxy.client().send(handshake("/other", "")).head().status(), 101);
    assert_eq!(objects(&proxy, 1)[0]["target"], "/other", "the other tunnel is still open");
    close(&mut socket);
    drop(socket);
    let line = objects(&proxy, 2).remove(1);
    assert_eq!((line["target"].as_str(), line["status"].as_u64()), (Some("/chat"), Some(101)));
}

fn it_is_off_unless_asked_for(driver: Driver) {
    let backend = Backend::says_hello();
    let mut proxy = Proxy::to(driver, &backend);
    for number in 0..10 {
        assert_eq!(proxy.client().get(&format!("/marker-{number}")).body, HELLO);
    }
    let log = proxy.stop();
    assert!(!log.contains("marker"), "{log}");
    assert_eq!(proxy.stdout(), "");
    let files = std::fs::read_dir(proxy.directory()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(files.collect::<BTreeSet<_>>(), ["ringway.toml", "stdout"].map(Into::into).into());
}

fn it_goes_to_stdout(driver: Driver) {
    let backend = Backend::says_hello();
    let mut proxy = Proxy::start(&Config::to(driver, &backend).section(&log_to("stdout", "")));
    assert_eq!(proxy.client().get("/marker").body, HELLO);
    let line = lines(&proxy.directory().join("stdout"), 1).remove(0);
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["target"], "/marker");
    assert!(!proxy.stop().contains("marker"));
}

fn sigusr1_reopens_the_file(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = logging(Config::to(driver, &backend), "");
    let [path, moved] = ["access.log", "access.log.1"].map(|name| proxy.directory().join(name));
    let mut client = proxy.client();
    client.get("/first");
    assert!(lines(&path, 1)[0].contains("/first"));
    std::fs::rename(&path, &moved).unwrap();
    client.get("/second");
    assert!(lines(&moved, 2)[1].contains("/second"), "until the signal the file is the same");
    proxy.signal(Signal::SIGUSR1);
    proxy.log().wait_for(0, "log files reopened");
    client.get("/third");
    assert!(lines(&path, 1)[0].contains("/third"));
    assert_eq!(lines(&moved, 2).len(), 2);
}

fn a_reload_moves_it(driver: Driver) {
    let backend = Backend::says_hello();
    let config = Config::to(driver, &backend);
    let proxy = logging(config.clone(), "");
    let [path, other, impossible] =
        ["access.log", "other.log", "no/such/folder.log"].map(|name| proxy.directory().join(name));
    let mut client = proxy.client();
    client.get("/first");
    lines(&path, 1);
    let to = |path: &Path| config.clone().section(&log_to(path.to_str().unwrap(), ""));
    proxy.reload(&to(&other));
    client.get("/second");
    assert!(lines(&other, 1)[0].contains("/second"));
    let mark = proxy.reload_text(&to(&impossible).text());
    proxy.log().wait_for(mark, "configuration refused");
    client.get("/third");
    assert!(lines(&other, 2)[1].contains("/third"));
    proxy.reload(&config);
    client.get("/unseen");
    proxy.reload(&to(&path));
    client.get("/fourth");
    assert!(lines(&path, 2)[1].contains("/fourth"));
    lines(&other, 2);
}

fn lines_on_their_way_are_written_at_the_end(driver: Driver) {
    let backend = Backend::says_hello();
    let mut proxy = logging(Config::to(driver, &backend).workers(2), "");
    for _ in 0..20 {
        let mut client = proxy.client();
        for _ in 0..10 {
            assert_eq!(client.get("/").body, HELLO);
        }
    }
    proxy.stop();
    let text = std::fs::read_to_string(proxy.directory().join("access.log")).unwrap();
    assert_eq!(text.lines().count(), 200);
}
