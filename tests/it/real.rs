//! Programs that others wrote, at both ends: nginx and Python's server behind the proxy, curl and Python's client before it.

use crate::harness::backend::Backend;
use crate::harness::backends::{HELLO, response};
use crate::harness::config::{Config, Driver};
use crate::harness::message::Framing;
use crate::harness::proxy::Proxy;
use crate::harness::{held_address, on_both_drivers, wait_until};
use socket2::Socket;
use std::fs::{read_to_string, write};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

on_both_drivers![
    a_file_of_nginx_arrives_whole,
    chunks_of_nginx_arrive_whole,
    conditions_and_ranges_of_nginx_pass,
    errors_of_nginx_pass,
    nginx_keeps_its_connection,
    a_file_of_pythons_server_arrives_whole,
    curl_speaks_http_1_0,
    curl_uploads_in_chunks,
    curl_waits_for_100,
    curl_keeps_its_connection,
    curl_reads_both_codings,
    pythons_client_keeps_its_connection,
];

/// A program that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn spawn(command: &mut Command, package: &str) -> Running {
    match command.stdin(Stdio::null()).spawn() {
        Ok(child) => Running(child),
        Err(error) => panic!("{command:?}: {error} (on Debian: apt-get install {package})"),
    }
}

/// Bytes that differ from place to place: a hole, a repetition or an exchange would show.
fn bytes(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(|_| next()).collect()
}

const FILE_BYTES: usize = 5 << 20;
const TEXT_LINES: usize = 20_000;

fn text() -> String {
    (0..TEXT_LINES).map(|line| format!("line {line} of a text that shrinks\n")).collect()
}

/// A folder with a large file, and a text that nginx compresses.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    write(folder.path().join("file.bin"), bytes(FILE_BYTES)).expect("a file");
    write(folder.path().join("text.txt"), text()).expect("a file");
    folder
}

/// nginx in a folder of its own, on a free port.
struct Nginx {
    url: String,
    _running: Running,
    _folder: TempDir,
    _held: Socket,
}

impl Nginx {
    fn start() -> Self {
        let folder = folder();
        let (address, held) = held_address();
        write(folder.path().join("nginx.conf"), nginx_conf(folder.path(), address.port())).expect("a file");
        let mut running = spawn(&mut nginx(folder.path()), "nginx-light");
        if listens(&mut running, &folder.path().join("pid")) {
            return Nginx {
                url: format!("http://{address}"),
                _running: running,
                _folder: folder,
                _held: held,
            };
        }
        let log = read_to_string(folder.path().join("error.log")).unwrap_or_default();
        panic!("nginx does not start: {log}");
    }
}

fn nginx(folder: &Path) -> Command {
    let mut command = Command::new("nginx");
    let file = |name| folder.join(name);
    command.arg("-p").arg(folder).arg("-c").arg(file("nginx.conf")).arg("-e").arg(file("error.log"));
    command
}

fn nginx_conf(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {folder}/{name};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/pid;\nevents {{ worker_connections 64; }}\n\
         http {{\n{temporary}access_log off;\nsendfile on;\ngzip on;\ngzip_types text/plain;\n\
         types {{ text/plain txt; }}\nserver {{\nlisten 127.0.0.1:{port};\nroot {folder};\nport_in_redirect off;\n\
         location /moved {{ return 302 /elsewhere; }}\n\
         location /connection {{ return 200 $connection:$connection_requests; }}\n}}\n}}\n"
    )
}

/// Whether nginx came to write its process id, which it does once it listens.
fn listens(running: &mut Running, pid: &Path) -> bool {
    let mut ended = false;
    wait_until("nginx listens, or ends", || {
        ended = running.0.try_wait().expect("a child").is_some();
        ended || read_to_string(pid).is_ok_and(|text| text.ends_with('\n'))
    });
    !ended
}

fn before(driver: Driver, url: &str) -> Proxy {
    Proxy::start(&Config::new(driver).rule("all", "/*", url))
}

fn get(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n{lines}\r\n")
}

fn a_file_of_nginx_arrives_whole(driver: Driver) {
    let nginx = Nginx::start();
    let proxy = before(driver, &nginx.url);
    let mut client = proxy.client();
    for _ in 0..3 {
        let answer = client.get("/file.bin");
        assert_eq!((answer.status, answer.framing), (200, Framing::Length(FILE_BYTES)));
        assert!(answer.body == bytes(FILE_BYTES), "the file is another");
    }
    let head = client.send(get("/file.bin", "").replace("GET", "HEAD")).response_to("HEAD");
    assert_eq!(head.field("content-length"), Some(FILE_BYTES.to_string().as_str()));
    assert_eq!(client.get("/text.txt").text(), text(), "no byte of a body came behind HEAD's answer");
}

fn chunks_of_nginx_arrive_whole(driver: Driver) {
    let nginx = Nginx::start();
    let proxy = before(driver, &nginx.url);
    let answer = proxy.client().ask(get("/text.txt", "Accept-Encoding: gzip\r\n"));
    assert_eq!((answer.framing, answer.field("content-encoding")), (Framing::Chunked, Some("gzip")));
    let output = curl(&["--compressed", &proxy.url("/text.txt")], b"");
    assert_eq!(String::from_utf8_lossy(&output.stdout), text());
}

fn conditions_and_ranges_of_nginx_pass(driver: Driver) {
    let nginx = Nginx::start();
    let proxy = before(driver, &nginx.url);
    let mut client = proxy.client();
    let whole = client.get("/file.bin");
    let (tag, date) =
        (whole.field("etag").expect("ETag"), whole.field("last-modified").expect("Last-Modified"));
    for condition in [format!("If-None-Match: {tag}\r\n"), format!("If-Modified-Since: {date}\r\n")] {
        let answer = client.ask(get("/file.bin", &condition));
        assert_eq!((answer.status, answer.body.len(), answer.field("etag")), (304, 0, Some(tag)));
    }
    let part = client.ask(get("/file.bin", "Range: bytes=1000000-1000099\r\n"));
    assert_eq!((part.status, part.body.as_slice()), (206, &whole.body[1_000_000..1_000_100]));
    assert_eq!(part.field("content-range"), Some(format!("bytes 1000000-1000099/{FILE_BYTES}").as_str()));
    let parts = client.ask(get("/file.bin", "Range: bytes=0-9,20-29\r\n"));
    assert!(
        parts.field("content-type").is_some_and(|kind| kind.starts_with("multipart/byteranges")),
        "{parts:?}"
    );
    assert_eq!(client.ask(get("/file.bin", "Range: bytes=9999999-\r\n")).status, 416);
}

fn errors_of_nginx_pass(driver: Driver) {
    let nginx = Nginx::start();
    let proxy = before(driver, &nginx.url);
    let mut client = proxy.client();
    let missing = client.get("/missing");
    assert_eq!((missing.status, missing.text().contains("404 Not Found")), (404, true));
    let body = "x".repeat(100_000);
    let post = format!("POST /text.txt HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n{body}");
    assert_eq!(client.ask(post).status, 405);
    let moved = client.get("/moved");
    assert_eq!((moved.status, moved.field("location")), (302, Some("http://test/elsewhere")));
}

fn nginx_keeps_its_connection(driver: Driver) {
    let nginx = Nginx::start();
    let proxy = before(driver, &nginx.url);
    let first = proxy.client().get("/connection").text();
    let (connection, count) = first.split_once(':').expect("two numbers");
    assert_eq!(count, "1");
    for number in 2..30 {
        assert_eq!(proxy.client().get("/connection").text(), format!("{connection}:{number}"));
    }
}

fn python() -> Command {
    let mut command = Command::new("python3");
    command.arg("-u");
    command
}

/// `python3 -m http.server` on a folder, and its port: it speaks HTTP/1.0 and closes after each answer.
fn python_server(folder: &Path) -> (Running, u16) {
    let mut command = python();
    command.args(["-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"]).arg(folder);
    let mut running = spawn(command.stdout(Stdio::piped()).stderr(Stdio::null()), "python3");
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let port = line.split_whitespace().skip_while(|word| *word != "port").nth(1);
    (running, port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("no port: {line:?}")))
}

fn a_file_of_pythons_server_arrives_whole(driver: Driver) {
    let folder = folder();
    let (_running, port) = python_server(folder.path());
    let proxy = before(driver, &format!("http://127.0.0.1:{port}"));
    let mut client = proxy.client();
    for _ in 0..3 {
        let answer = client.get("/file.bin");
        assert_eq!((answer.status, answer.framing), (200, Framing::Length(FILE_BYTES)));
        assert!(answer.body == bytes(FILE_BYTES), "the file is another");
    }
    assert!(client.get("/").text().contains("file.bin"), "a listing of the folder");
    assert_eq!(client.get("/missing").status, 404);
}

/// curl's output, with `input` at its stdin.
fn curl(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*"]).args(arguments);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("curl is installed (on Debian: apt-get install curl)");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    // curl may end before it has read everything.
    let writing = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("curl ends");
    writing.join().expect("a thread");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn curl_speaks_http_1_0(driver: Driver) {
    let backend = Backend::answers(|request| response("200 OK", "", request.head.start_line.as_bytes()));
    let proxy = Proxy::to(driver, &backend);
    let output = curl(&["--http1.0", "--include", &proxy.url("/x?y")], b"");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\nGET /x?y HTTP/1.1"), "{text}");
}

fn curl_uploads_in_chunks(driver: Driver) {
    let backend = Backend::echoes_body();
    let proxy = Proxy::to(driver, &backend);
    let output = curl(&["--upload-file", "-", &proxy.url("/up")], &bytes(FILE_BYTES));
    assert!(output.stdout == bytes(FILE_BYTES), "{} bytes came back", output.stdout.len());
    let head = backend.last_head();
    assert_eq!((head.method(), head.fields.get("transfer-encoding")), ("PUT", Some("chunked")));
}

fn curl_waits_for_100(driver: Driver) {
    let expects = ["--header", "Expect: 100-continue", "--data-binary", "@-", "--expect100-timeout"];
    let calls = Backend::script(|visit| {
        while let Some(head) = visit.head() {
            visit.send("HTTP/1.1 100 Continue\r\n\r\n");
            let length = head.fields.get("content-length").and_then(|length| length.parse().ok());
            let body = visit.exactly(length.expect("a length")).unwrap_or_default();
            visit.send(response("200 OK", "", &body));
        }
    });
    let proxy = Proxy::to(driver, &calls);
    // curl would go on without 100 after a minute, which is longer than it may take.
    let output = curl(&[&expects[..], &["60", &proxy.url("/")]].concat(), &bytes(100_000));
    assert!(output.stdout == bytes(100_000), "{} bytes came back", output.stdout.len());
    let silent = Backend::echoes_body();
    let proxy = Proxy::to(driver, &silent);
    let output = curl(&[&expects[..], &["0.3", &proxy.url("/")]].concat(), &bytes(100_000));
    assert!(output.stdout == bytes(100_000), "{} bytes came back", output.stdout.len());
    let refuses = Backend::answers_early(response("403 Forbidden", "", b"no"));
    let proxy = Proxy::to(driver, &refuses);
    let output = curl(&[&expects[..], &["60", &proxy.url("/")]].concat(), &bytes(100_000));
    assert_eq!(output.stdout, b"no");
}

fn curl_keeps_its_connection(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::to(driver, &backend);
    let url = proxy.url("/");
    let output = curl(&["--write-out", " %{http_code} %{num_connects}\n", &url, &url, &url], b"");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = |connects: u32| format!("{} 200 {connects}\n", String::from_utf8_lossy(HELLO));
    assert_eq!(text, line(1) + &line(0) + &line(0));
    let head = curl(&["--head", &url], b"");
    assert!(String::from_utf8_lossy(&head.stdout).contains("Content-Length: 13\r\n"));
    assert_eq!(backend.accepts(), 1);
}

/// Until close and in chunks, to both versions.
fn curl_reads_both_codings(driver: Driver) {
    let answers = [
        [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), HELLO].concat(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nd\r\nHello, World!\r\n0\r\n\r\n".to_vec(),
    ];
    for answer in answers {
        let backend = Backend::answers_and_closes(answer);
        let proxy = Proxy::to(driver, &backend);
        for version in ["--http1.0", "--http1.1"] {
            assert_eq!(curl(&[version, &proxy.url("/")], b"").stdout, HELLO, "{version}");
        }
    }
}

const CLIENT: &str = "
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], timeout=20)
for size in (0, 1, 100000):
    body = bytes(i % 251 for i in range(size))
    connection.request('POST', '/', body)
    assert connection.getresponse().read() == body
    parts = (body[at:at + 999] for at in range(0, size, 999))
    connection.request('POST', '/', parts, encode_chunked=True, headers={'Transfer-Encoding': 'chunked'})
    assert connection.getresponse().read() == body
    socket = connection.sock
assert socket is connection.sock and socket is not None
print('all came back')
";

fn pythons_client_keeps_its_connection(driver: Driver) {
    let backend = Backend::echoes_body();
    let proxy = Proxy::to(driver, &backend);
    let address = proxy.address().tcp().to_string();
    let output = python()
        .args(["-c", CLIENT, &address])
        .output()
        .expect("python3 (on Debian: apt-get install python3)");
    let (told, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(told, "all came back\n", "{why}");
    assert_eq!((backend.requests(), backend.accepts()), (6, 1));
}
