//! `ringway hash-password`: from a pipe and from a terminal.

use crate::harness::log::Log;
use crate::harness::output::{assert_exit, stderr, stdout};
use crate::harness::proxy::ringway;
use crate::harness::{DEADLINE, wait_until};
use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, tcgetattr};
use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Instant;

/// The hash that the command makes of `password`, which is written to its standard input.
pub fn hash(password: &str) -> String {
    let output = piped(format!("{password}\n"));
    assert_exit(&output, 0);
    assert_eq!(stderr(&output), "");
    stdout(&output).strip_suffix('\n').expect("a line").to_owned()
}

fn piped(input: impl AsRef<[u8]>) -> Output {
    let mut command = ringway();
    command.arg("hash-password").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    // One that has complained already reads no more.
    drop(child.stdin.take().expect("a pipe").write_all(input.as_ref()));
    child.wait_with_output().expect("it ends")
}

#[test]
fn a_pipe_brings_one_line() {
    for input in ["correct horse\n", "correct horse", "correct horse\r\n"] {
        let output = piped(input);
        assert_exit(&output, 0);
        let hash = stdout(&output);
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && hash.ends_with('\n'), "{hash:?}");
        assert_eq!(hash.lines().count(), 1);
    }
    assert_ne!(hash("same"), hash("same"), "each has a salt of its own");
}

#[test]
fn what_is_no_password_is_refused() {
    for (input, said) in [
        (&b""[..], "the password is empty"),
        (b"\n", "the password is empty"),
        (b"one\ntwo\n", "more than one line"),
        (b"a\tb\n", "control characters"),
        (b"\xff\n", "cannot read a password"),
        (&[b'x'; 1025], "at most 1024 bytes"),
        (&[b'x'; 100_000], "at most 1024 bytes"),
    ] {
        let output = piped(input);
        assert_exit(&output, 1);
        assert!(stdout(&output).is_empty() && stderr(&output).contains(said), "{}", stderr(&output));
    }
    let output = ringway().arg("hash-password").stdin(Stdio::null()).output().expect("the binary starts");
    assert_exit(&output, 1);
    assert!(stderr(&output).contains("type it in a terminal"), "{}", stderr(&output));
}

/// The command in a terminal that is its own.
struct Terminal {
    child: Child,
    /// Our end.
    end: File,
    /// What the terminal shows: stderr and any echo.
    shown: Log,
    stdout: Log,
}

impl Terminal {
    fn new() -> Self {
        let pty = openpty(None, None).expect("a terminal");
        // The session has no terminal but this one, which is not its controlling one: what the developer's own terminal is
        // must not matter; nor that a shell has its background jobs ignore Ctrl-C, and all that they start.
        let mut command = Command::new("setsid");
        command.args(["env", "--default-signal=INT"]).arg(env!("CARGO_BIN_EXE_ringway")).arg("hash-password");
        let slave = || pty.slave.try_clone().expect("a descriptor");
        command.stdin(slave()).stderr(slave()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("setsid and the binary start");
        let end = File::from(pty.master);
        let shown = Log::of(end.try_clone().expect("a descriptor"));
        let stdout = Log::of(child.stdout.take().expect("a pipe"));
        Terminal { child, end, shown, stdout }
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.end).expect("a terminal").local_flags.contains(LocalFlags::ECHO)
    }

    /// Types `text` once the terminal shows nothing of what is typed.
    fn type_unseen(&mut self, text: &str) {
        wait_until("the terminal has no echo", || !self.echoes());
        self.end.write_all(text.as_bytes()).expect("the terminal takes it");
    }

    /// Types an answer, and waits until the command has read it.
    fn answer(&mut self, line: &str) {
        let mark = self.shown.mark();
        self.type_unseen(&format!("{line}\r"));
        wait_until("the answer was read", || self.shown.mark() > mark);
    }

    fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            crate::harness::pause(std::time::Duration::from_millis(2));
        }
        panic!("the command did not end: {}", self.shown.text());
    }
}

#[test]
fn a_terminal_is_asked_twice_and_shows_nothing() {
    let mut terminal = Terminal::new();
    terminal.answer("correct horse");
    terminal.answer("correct horse");
    assert!(terminal.ended().success());
    assert!(terminal.stdout.wait_for_end().starts_with("$argon2id$"));
    assert!(terminal.echoes(), "the terminal has its echo back");
    let shown = terminal.shown.text();
    assert!(shown.contains("Password: ") && shown.contains("The same again: "), "{shown:?}");
    assert!(!shown.contains("horse"), "{shown:?}");
}

#[test]
fn two_different_passwords_are_none() {
    let mut terminal = Terminal::new();
    terminal.answer("correct horse");
    terminal.answer("correct house");
    assert_eq!(terminal.ended().code(), Some(1));
    assert_eq!(terminal.stdout.wait_for_end(), "");
    assert!(terminal.shown.text().contains("two different passwords"), "{:?}", terminal.shown.text());
}

#[test]
fn an_empty_password_is_not_asked_for_again() {
    let mut terminal = Terminal::new();
    terminal.answer("");
    assert_eq!(terminal.ended().code(), Some(1));
    assert!(terminal.shown.text().contains("the password is empty"), "{:?}", terminal.shown.text());
    assert!(!terminal.shown.text().contains("again"));
}

#[test]
fn ctrl_c_ends_it_and_the_terminal_has_its_echo_back() {
    let mut terminal = Terminal::new();
    terminal.type_unseen("half a pass\x03");
    let status = terminal.ended();
    assert_eq!(status.signal(), Some(nix::sys::signal::Signal::SIGINT as i32), "{status}");
    assert!(terminal.echoes());
}
