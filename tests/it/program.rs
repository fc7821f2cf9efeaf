//! The command line: what each command says and how it exits. Scripts depend on both.

use crate::harness::backend::Backend;
use crate::harness::backends::HELLO;
use crate::harness::client::Client;
use crate::harness::output::{assert_exit, stderr, stdout};
use crate::harness::proxy::{Proxy, ringway};
use crate::harness::wait_until;
use nix::sys::signal::Signal;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

/// Runs the program in `directory` to its end.
fn run_in(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = ringway();
    command.current_dir(directory).args(arguments).env_remove("RINGWAY_LOG");
    command.output().expect("the binary starts")
}

fn run(arguments: &[&str]) -> Output {
    run_in(tempfile::tempdir().expect("a directory").path(), arguments)
}

/// Runs `check` on `text`, in a directory of its own, with the relative name `r.toml`.
fn check(text: &str) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("r.toml"), text).expect("the file is written");
    run_in(directory.path(), &["check", "r.toml"])
}

const GOOD: &str = r#"[[listeners]]
address = "127.0.0.1:8080"

[[upstreams]]
name = "app"
backends = [{ url = "http://127.0.0.1:3000" }, { url = "http://127.0.0.1:3001" }]

[[rules]]
name = "all"
path = "/*"
upstream = "app"
"#;

#[test]
fn the_version_is_the_packages() {
    let output = run(&["--version"]);
    assert_exit(&output, 0);
    assert_eq!(stdout(&output), format!("ringway {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn help_teaches_by_example() {
    let output = run(&["--help"]);
    assert_exit(&output, 0);
    let text = stdout(&output);
    for part in ["run", "check", "explain", "demo", "config-schema", "Examples:", "Exit codes:"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    for command in ["run", "check", "explain", "demo", "config-schema"] {
        let output = run(&[command, "--help"]);
        assert_exit(&output, 0);
        let example = format!("  ringway {command}");
        assert!(stdout(&output).contains(&example), "no example of {command}:\n{}", stdout(&output));
    }
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    let wrong: [&[&str]; 8] = [
        &[],
        &["serve"],
        &["run", "--port", "1"],
        &["run", "--listen", "127.0.0.1:0"],
        &["run", "--to", "http://127.0.0.1:1"],
        &["run", "--config", "a.toml", "--listen", ":1", "--to", "http://127.0.0.1:1"],
        &["check", "a.toml", "b.toml"],
        &["demo", "--listen", "nowhere"],
    ];
    for arguments in wrong {
        let output = run(arguments);
        assert_exit(&output, 2);
        let text = stderr(&output);
        assert!(
            stdout(&output).is_empty() && (text.contains("Usage:") || text.starts_with("error: ")),
            "{text}"
        );
    }
    assert!(stderr(&run(&["chek"])).contains("'check'"), "the nearest command is named");
}

#[test]
fn a_good_file_is_summed_up() {
    let output = check(GOOD);
    assert_exit(&output, 0);
    assert_eq!(stdout(&output), "r.toml can run: 1 listener, 0 sites, 1 rule, 1 upstream, 2 backends\n");
    assert_eq!(stderr(&output), "");
}

#[test]
fn a_warning_is_told_and_is_no_problem() {
    let output = check(&(GOOD.to_owned() + "enabled = false\n"));
    assert_exit(&output, 0);
    assert!(stdout(&output).contains("1 warning"), "{}", stdout(&output));
    assert!(
        stderr(&output).contains("r.toml:8:1") && stderr(&output).contains("warning"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn every_problem_is_told_with_its_place() {
    let bad = GOOD
        .replace("path = ", "pth = ")
        .replace("upstream = \"app\"", "upstream = \"ap\"")
        .replace("http://127.0.0.1:3001", "gopher://127.0.0.1:3001");
    let output = check(&bad);
    assert_exit(&output, 1);
    let text = stderr(&output);
    for place in ["r.toml:6:", "r.toml:10:1", "r.toml:11:"] {
        assert!(text.contains(place), "{place} is not in\n{text}");
    }
    assert!(text.contains("r.toml cannot run: "), "{text}");
    assert_eq!(stdout(&output), "");
}

#[test]
fn a_problem_is_shown_under_its_line() {
    let output = check(&GOOD.replace("path = ", "pth = "));
    assert_exit(&output, 1);
    let text = stderr(&output);
    let mut lines = text.lines().skip_while(|line| !line.contains("pth = \"/*\""));
    let (line, below) = (lines.next().expect("the line itself"), lines.next().expect("a line below"));
    assert_eq!(below.find("^^^"), line.find("pth"), "the caret is not below the key:\n{text}");
    assert!(text.contains("did you mean") && text.contains("`path`"), "{text}");
    assert!(!text.contains('\x1b'), "colour where nobody sees it: {text:?}");
}

#[test]
fn what_is_no_file_of_text_is_told() {
    for text in ["[[listeners", "x = ", "\u{1}"] {
        let output = check(text);
        assert_exit(&output, 1);
        assert!(stderr(&output).contains("r.toml:1:"), "{}", stderr(&output));
    }
    let output = run(&["check", "not/there.toml"]);
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("not/there.toml"), "{}", stderr(&output));
}

#[test]
fn check_and_run_look_in_the_usual_places() {
    let directory = tempfile::tempdir().unwrap();
    for command in ["run", "check"] {
        let output = run_in(directory.path(), &[command]);
        assert_exit(&output, 1);
        let text = stderr(&output);
        assert!(text.contains("./ringway.toml") && text.contains("/etc/ringway/ringway.toml"), "{text}");
    }
    std::fs::write(directory.path().join("ringway.toml"), GOOD).unwrap();
    let output = run_in(directory.path(), &["check"]);
    assert_exit(&output, 0);
    assert!(stdout(&output).contains("ringway.toml can run"), "{}", stdout(&output));
}

#[test]
fn the_schema_is_json_and_the_one_of_the_documentation() {
    let output = run(&["config-schema"]);
    assert_exit(&output, 0);
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(schema["properties"]["rules"].is_object(), "{schema}");
    let documented = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ringway.schema.json");
    assert_eq!(stdout(&output).trim_end(), std::fs::read_to_string(documented).unwrap().trim_end());
}

#[test]
fn run_does_not_start_on_a_problem() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("r.toml"), GOOD.replace("path = ", "pth = ")).unwrap();
    let output = run_in(directory.path(), &["run", "--config", "r.toml"]);
    assert_exit(&output, 1);
    let text = stderr(&output);
    assert!(text.contains("r.toml:10:1") && !text.contains("listening on"), "{text}");
}

#[test]
fn an_address_in_use_exits_with_3() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for arguments in
        [&["run", "--listen", &address, "--to", "http://127.0.0.1:1"][..], &["demo", "--listen", &address]]
    {
        let output = run(arguments);
        assert_exit(&output, 3);
        assert!(stderr(&output).contains(&address), "{}", stderr(&output));
    }
}

#[test]
fn a_one_liner_serves() {
    let [a, b] = ["a", "b"].map(Backend::says);
    let mut command = ringway();
    command.args(["run", "--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0"]);
    command.args(["--to", &a.url(), "--to", &b.url()]);
    let mut proxy = Proxy::run(tempfile::tempdir().unwrap(), &mut command);
    for address in proxy.addresses() {
        // Each worker has its own turn, so it takes one connection to see both.
        let mut client = Client::connect(address);
        let mut told = [(); 2].map(|()| client.get("/any/path").text());
        told.sort();
        assert_eq!(told, ["a", "b"]);
    }
    proxy.stop();
}

#[test]
fn run_finds_its_file_and_logs_json_when_asked() {
    let backend = Backend::says_hello();
    let directory = tempfile::tempdir().unwrap();
    let text = GOOD.replace("127.0.0.1:8080", "127.0.0.1:0").replace(
        "backends = [{ url = \"http://127.0.0.1:3000\" }, { url = \"http://127.0.0.1:3001\" }]",
        &format!("backends = [{{ url = \"{}\" }}]", backend.url()),
    );
    std::fs::write(directory.path().join("ringway.toml"), &text).unwrap();
    let mut command = ringway();
    command.current_dir(directory.path()).arg("run");
    let proxy = Proxy::run(directory, &mut command);
    assert_eq!(proxy.client().get("/").body, HELLO);
    drop(proxy);
    let output = run(&["run", "--log-format", "json", "--config", "not/there.toml"]);
    assert_exit(&output, 1);
    let text = stderr(&output);
    let lines: Vec<_> = text.lines().collect();
    assert!(!lines.is_empty());
    for line in lines {
        let line: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
}

#[test]
fn the_demos_file_can_run() {
    let directory = tempfile::tempdir().unwrap();
    let output = run_in(directory.path(), &["demo", "--print-config"]);
    assert_exit(&output, 0);
    std::fs::write(directory.path().join("ringway.toml"), &output.stdout).unwrap();
    let output = run_in(directory.path(), &["check"]);
    assert_exit(&output, 0);
    assert_eq!(stderr(&output), "", "the demo's file has warnings");
    let output = run_in(directory.path(), &["explain", "http://api.localhost/v2/users"]);
    assert_exit(&output, 0);
    assert!(stdout(&output).contains("/api/users/version-2"), "{}", stdout(&output));
}

/// What a line of the demo must show, told by a few words of what stands above it.
struct Shows {
    words: &'static str,
    exit: i32,
    /// What comes out, among other things.
    parts: &'static [&'static str],
}

const fn shows(words: &'static str, exit: i32, parts: &'static [&'static str]) -> Shows {
    Shows { words, exit, parts }
}

/// curl's exit code when its --max-time is over.
const TIME_OVER: i32 = 28;

const TOUR: [Shows; 21] = [
    shows("two backends in turn", 0, &["GET /hello"]),
    shows(
        "the path untouched",
        0,
        &[
            "\"target\": \"/echo/a%2Fb//c?q=1\"",
            "x-forwarded-for: 127.0.0.1\"",
            "\"body_begins\": \"name=ringway\"",
        ],
    ),
    shows("Dot segments", 0, &["\"target\": \"/echo/y\"", "\"code\":\"bad_request\""]),
    shows("a base path", 0, &["\"target\": \"/v1/items/7\""]),
    shows("a method that the rule does not take", 0, &["HTTP/1.1 404", "\"code\":\"no_rule\""]),
    shows("A wildcard site", 0, &["x-vhost-tenant: acme.eu\"", "\"target\": \"/any/path\""]),
    shows("by a pattern's groups", 0, &["\"target\": \"/api/users/version-2?page=1\""]),
    shows("that the site sets", 0, &["Cache-Control: no-store", "\"target\": \"/v1/items/8\""]),
    shows(
        "that keeps path and query",
        0,
        &["HTTP/1.1 301", "Location: /echo/old/page?q=1", "\"target\": \"/echo/old/page?q=1\""],
    ),
    shows("without a backend", 0, &["HTTP/1.1 403", "not from here"]),
    shows("by suffix", 0, &["\"target\": \"/documents/readme.json\""]),
    shows("100 MB of unknown length", 0, &["\"body_bytes\": 100000000", "transfer-encoding: chunked"]),
    shows("Server-sent events", TIME_OVER, &["data: tick 1", "data: tick 2", "data: tick 3"]),
    shows("A WebSocket", TIME_OVER, &["HTTP/1.1 101 ", "hello, what you send comes back"]),
    shows(
        "without a password",
        0,
        &["HTTP/1.1 401", "WWW-Authenticate: Basic realm=\"staff\"", "\"code\":\"unauthorized\""],
    ),
    shows("the backend does not see it", 0, &["\"target\": \"/staff/list\""]),
    shows("A public path", 0, &["\"target\": \"/staff/door\""]),
    shows(
        "Three a minute",
        0,
        &["welcome", "HTTP/1.1 429", "Retry-After: ", "RateLimit: \"limited\";r=0;t="],
    ),
    shows("Part of a file", 0, &["HTTP/1.1 206", "Content-Range: bytes 5-10/", "reader"]),
    shows("not there", 0, &["HTTP/1.1 502", "\"code\":\"upstream_refused\""]),
    shows("A malformed request", 0, &["HTTP/1.1 400", "\"code\":\"bad_request\""]),
];

#[test]
fn the_demos_lines_do_what_they_say() {
    let mut command = ringway();
    command.args(["demo", "--listen", "127.0.0.1:0"]);
    let mut proxy = Proxy::run(tempfile::tempdir().unwrap(), &mut command);
    let end = "Ctrl-C ends the demo";
    wait_until("the lines to try are printed", || proxy.stdout().contains(end));
    let printed = proxy.stdout();
    assert!(printed.contains("[[listeners]]") && printed.contains(&proxy.url("")), "{printed}");
    let (_, lines) = printed.split_once("In another terminal:\n\n").expect("lines to try");
    let (lines, _) = lines.split_once("Or open ").expect("the end of the lines");
    let stops: Vec<_> = lines.trim_end().split("\n\n").collect();
    assert_eq!(stops.len(), TOUR.len(), "{stops:#?}");
    for stop in stops {
        let (words, line) = stop.split_once('\n').expect("words and a line");
        let expected = TOUR.iter().find(|one| words.contains(one.words)).unwrap_or_else(|| panic!("{words}"));
        assert_shows(line, expected);
    }
    wait_until("the access log is on stdout", || proxy.stdout().contains("\"code\":\"upstream_refused\""));
    proxy.signal(Signal::SIGINT);
    assert_eq!(proxy.wait().code(), Some(0));
    assert!(!proxy.log().wait_for_end().contains("panicked"));
}

/// Runs a printed line as a reader would, and looks for what it must show.
fn assert_shows(line: &str, expected: &Shows) {
    let output = Command::new("bash").args(["-c", line]).output().expect("bash starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(expected.exit), "{line}\n{text}{}", stderr(&output));
    for part in expected.parts {
        assert!(text.contains(part), "{line}\nshows no {part:?}:\n{text}");
    }
    if expected.words == "the path untouched" {
        assert!(
            !text.contains("6.6.6.6"),
            "what the client claims about itself reached the backend:\n{text}"
        );
    }
    if expected.words == "the backend does not see it" {
        assert!(!text.to_ascii_lowercase().contains("authorization"), "{text}");
    }
    if expected.words == "two backends in turn" {
        let turns = ["one", "two"].map(|name| text.matches(&format!("greeter {name}")).count());
        assert_eq!(turns, [2, 2], "{text}");
    }
}
