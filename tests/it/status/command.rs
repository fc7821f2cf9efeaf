//! `ringway status`: what it shows, how it ends, and what it says when there is nothing to show.

use super::{admin, assert_exit, run_in, socket, start, status, stderr, stdout};
use crate::harness::backend::Backend;
use crate::harness::config::{Config, Driver};
use crate::harness::log::Log;
use crate::harness::proxy::{Proxy, ringway};
use crate::harness::wait_until;
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ExitStatus, Output, Stdio};

fn proxy(backend: &Backend) -> Proxy {
    start(Config::to(Driver::Epoll, backend))
}

fn ask(socket: &Path, options: &[&str]) -> Output {
    let socket = socket.to_str().expect("UTF-8");
    run_in(Path::new("."), &[&["status", "--socket", socket], options].concat())
}

/// `ringway status --watch=1` with its output in pipes.
fn watch(socket: &Path, options: &[&str]) -> Child {
    let mut command = ringway();
    command.args(["status", "--watch=1", "--socket"]).arg(socket).args(options);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("COLUMNS").env_remove("NO_COLOR").spawn().expect("the binary starts")
}

fn end_of(child: &mut Child) -> ExitStatus {
    wait_until("it ends", || child.try_wait().expect("a child").is_some());
    child.wait().expect("a child")
}

#[test]
fn it_shows_a_table() {
    let backend = Backend::says_hello();
    let proxy = proxy(&backend);
    proxy.client().get("/");
    let output = ask(&socket(&proxy), &[]);
    assert_exit(&output, 0);
    let text = stdout(&output);
    let address = backend.url().replace("http://", "");
    for part in ["ringway ", " serving", "revision", "UPSTREAM", "backend", &address, "alive", "WORKER"] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    assert!(!text.contains('\x1b') && stderr(&output).is_empty(), "{text:?}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn it_finds_the_socket_by_the_file() {
    let backend = Backend::says_hello();
    let proxy = proxy(&backend);
    let elsewhere = tempfile::tempdir().expect("a directory");
    let config = proxy.config_path();
    assert_exit(&run_in(elsewhere.path(), &["status", "--config", config.to_str().unwrap()]), 0);
    assert_exit(&run_in(proxy.directory(), &["status"]), 0);
}

#[test]
fn json_is_the_answer_as_it_came() {
    let backend = Backend::says_hello();
    let proxy = proxy(&backend);
    let output = ask(&socket(&proxy), &["--json"]);
    assert_exit(&output, 0);
    let text = stdout(&output);
    assert_eq!((text.lines().count(), text.ends_with('\n')), (1, true));
    let told: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let asked = status(&socket(&proxy));
    for key in ["version", "started", "revision", "applied", "listeners", "upstreams", "sites"] {
        assert_eq!(told[key], asked[key], "{key}");
    }
}

#[test]
fn a_table_is_as_wide_as_it_may_be() {
    let backend = Backend::says_hello();
    let longest_name =
        "a name that goes on and on, for as long as a name may be, ".repeat(3)[..128].trim().to_owned();
    let config = Config::to(Driver::Epoll, &backend).upstream(&longest_name, &[backend.url()]);
    let proxy = start(config);
    let longest = |columns: &str| {
        let mut command = ringway();
        command.args(["status", "--socket"]).arg(socket(&proxy)).env("COLUMNS", columns);
        let text = stdout(&command.output().expect("the binary starts"));
        assert!(text.contains('…') == (columns != "400"), "{text}");
        text.lines().map(|line| line.chars().count()).max().expect("lines")
    };
    assert_eq!((longest("60"), longest("80"), longest("120")), (60, 80, 120));
    assert!((128..400).contains(&longest("400")));
    assert_eq!((longest("none"), longest("0")), (80, 80));
}

#[test]
fn a_terminal_gets_colours_its_own_width_and_one_status_over_the_other() {
    let backend = Backend::says_hello();
    let proxy = proxy(&backend);
    let on_terminal = |options: &[&str], no_color: &str| {
        let size = Winsize { ws_row: 12, ws_col: 50, ws_xpixel: 0, ws_ypixel: 0 };
        let terminal = openpty(&size, None).expect("a terminal");
        let mut command = ringway();
        command.args(["status", "--socket"]).arg(socket(&proxy)).args(options);
        command.env_remove("COLUMNS").env("NO_COLOR", no_color).stdout(terminal.slave);
        (command.spawn().expect("the binary starts"), Log::of(File::from(terminal.master)))
    };
    let (mut child, log) = on_terminal(&[], "");
    log.wait_for(0, "WORKER");
    assert!(end_of(&mut child).success());
    assert!(
        log.text().contains("\x1b[1mUPSTREAM\x1b[0m") && !log.text().contains("\x1b[H"),
        "{:?}",
        log.text()
    );
    let (mut child, log) = on_terminal(&["--watch=1"], "1");
    let line = log.wait_for_nth(0, "\x1b[Hringway ", 1);
    // Not SIGINT, which a shell has its background jobs ignore.
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).expect("it runs");
    assert_eq!(end_of(&mut child).signal(), Some(Signal::SIGTERM as i32));
    // Of twelve lines one is the cursor's, and one tells of those for which there is no room.
    let text = log.text();
    let first = text.split("\x1b[J").next().expect("a status");
    assert_eq!(first.lines().filter(|line| line.contains("\x1b[K")).count(), 11, "{text:?}");
    assert!(first.contains(" more lines\x1b[K") && !text.contains("\x1b[1m"), "{line:?}\n{text:?}");
    let shown = |line: &str| line.replace("\x1b[2J", "").replace("\x1b[H", "").replace("\x1b[K", "");
    assert!(text.lines().all(|line| shown(line.trim_end()).chars().count() <= 50), "{text:?}");
}

#[test]
fn watching_ends_with_the_program() {
    let backend = Backend::says_hello();
    let mut proxy = proxy(&backend);
    let mut child = watch(&socket(&proxy), &["--json"]);
    let (shown, told) = (Log::of(child.stdout.take().unwrap()), Log::of(child.stderr.take().unwrap()));
    let second = shown.wait_for_nth(0, "\"phase\":\"serving\"", 1);
    assert!(serde_json::from_str::<serde_json::Value>(&second).is_ok(), "{second}");
    proxy.stop();
    assert_eq!(end_of(&mut child).code(), Some(0));
    assert!(told.wait_for_end().contains("the program has ended"));
}

#[test]
fn what_cannot_be_written_is_told() {
    let backend = Backend::says_hello();
    let proxy = proxy(&backend);
    for options in [&[][..], &["--json"], &["--watch"]] {
        let full = File::options().write(true).open("/dev/full").expect("a device that is always full");
        let mut command = ringway();
        command.args(["status", "--socket"]).arg(socket(&proxy)).args(options);
        let output = command.stdout(full).output().expect("the binary starts");
        assert_exit(&output, 3);
        assert!(stderr(&output).contains("cannot write to stdout: "), "{}", stderr(&output));
    }
}

#[test]
fn watching_ends_when_nobody_reads() {
    let backend = Backend::says_hello();
    let proxy = proxy(&backend);
    let mut child = watch(&socket(&proxy), &[]);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).expect("a line");
    assert!(line.starts_with("ringway "), "{line}");
    assert_eq!(end_of(&mut child).code(), Some(0));
}

#[test]
fn what_is_wrong_is_told_with_what_to_do() {
    let home = tempfile::tempdir().expect("a directory");
    let in_home = |arguments: &[&str], code: i32, parts: &[&str]| {
        let output = run_in(home.path(), arguments);
        assert_exit(&output, code);
        let text = stderr(&output);
        assert!(
            text.starts_with("error: ") && parts.iter().all(|part| text.contains(part)),
            "{parts:?} in\n{text}"
        );
        assert_eq!(stdout(&output), "");
    };
    in_home(&["status"], 1, &["./ringway.toml", "--socket PATH"]);
    in_home(&["status", "--config", "not.toml"], 1, &["not.toml"]);
    let config = Config::new(Driver::Epoll).rule("all", "/*", "http://127.0.0.1:9");
    fs::write(home.path().join("ringway.toml"), config.text()).unwrap();
    in_home(&["status"], 1, &["./ringway.toml has no [admin] data_dir", "data_dir = ", "kill -HUP"]);
    fs::write(home.path().join("ringway.toml"), config.text().replace("path", "pth")).unwrap();
    in_home(&["status"], 1, &["cannot run", "--socket PATH", "`path`"]);
    let config = config.section(&admin(&home.path().join("data")));
    fs::write(home.path().join("ringway.toml"), config.text()).unwrap();
    in_home(&["status"], 3, &["data/admin.sock: there is no such socket", "Does the program run"]);
    in_home(&["status", "--watch"], 3, &["there is no such socket"]);
    drop(UnixListener::bind(home.path().join("old.sock")).unwrap());
    in_home(&["status", "--socket", "old.sock"], 3, &["old.sock: nobody listens", "start it again"]);
    in_home(&["status", "--socket", "."], 3, &[".: this is no socket", "admin.sock in the data_dir"]);
    in_home(&["status", "--socket", &"x".repeat(200)], 3, &["xxx: "]);
}

#[test]
fn a_wrong_command_line_is_refused() {
    for arguments in [
        &["status", "--watch=0"][..],
        &["status", "--watch=-1"],
        &["status", "--watch=often"],
        &["status", "--socket", "a", "--config", "b"],
        &["status", "more"],
    ] {
        assert_exit(&run_in(Path::new("."), arguments), 2);
    }
}

/// Answers once, whatever it is asked.
fn strange(path: &Path, answer: &'static [u8]) {
    let listener = UnixListener::bind(path).expect("a socket");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut head = [0; 1024];
        let _read = stream.read(&mut head).expect("a request");
        stream.write_all(answer).expect("it reads");
    });
}

#[test]
fn strange_answers_are_told() {
    let home = tempfile::tempdir().expect("a directory");
    let answered = |name: &str, answer, options: &[&str]| {
        let path = home.path().join(name);
        strange(&path, answer);
        ask(&path, options)
    };
    let other = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"later\":1}";
    let output = answered("a", other, &[]);
    assert_exit(&output, 3);
    assert!(stderr(&output).contains("none that this version understands"), "{}", stderr(&output));
    let output = answered("b", other, &["--json"]);
    assert_eq!(stdout(&output), "{\"later\":1}\n");
    let output = answered("c", b"220 mail.example.com ESMTP\r\n", &["--watch"]);
    assert_exit(&output, 3);
    assert!(stderr(&output).contains("it does not answer as Ringway does"), "{}", stderr(&output));
    let output = answered("d", b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", &[]);
    assert!(stderr(&output).contains("it answers with status 503"), "{}", stderr(&output));
}

#[test]
fn the_demos_line_shows_the_demo() {
    let home = tempfile::tempdir().expect("a directory");
    let long = home.path().join("x".repeat(100));
    fs::create_dir(&long).expect("a folder");
    // One that a socket can be in, one that is too long for that, and one that is not there.
    [home.path(), &long, Path::new("/not/there")].into_iter().for_each(assert_the_demos_line);
    assert_eq!(fs::read_dir(&long).expect("a folder").count(), 0);
}

fn assert_the_demos_line(temporary: &Path) {
    let mut command = ringway();
    command.args(["demo", "--listen", "127.0.0.1:0"]).env("TMPDIR", temporary);
    let mut proxy = Proxy::run(tempfile::tempdir().unwrap(), &mut command);
    wait_until("the lines to try are printed", || proxy.stdout().contains("Ctrl-C ends the demo"));
    let printed = proxy.stdout();
    let line =
        printed.lines().find(|line| line.starts_with("ringway status --watch ")).expect("a line to try");
    let socket = line.split_whitespace().last().expect("a socket");
    let output = ask(Path::new(socket), &[]);
    assert_exit(&output, 0);
    assert!(stdout(&output).contains("greeters"), "{}", stdout(&output));
    proxy.signal(Signal::SIGINT);
    assert_eq!(proxy.wait().code(), Some(0));
    assert!(!Path::new(socket).parent().unwrap().exists(), "the demo leaves its folder behind");
}
