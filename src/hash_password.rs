//! `ringway hash-password`: a password's hash, as the users of a `basic` provider have it.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};
use ringway_config::{PASSWORD_BYTES_MAX, PasswordHash, SALT_BYTES};

/// There is no password, or none that a client could send.
const NO_PASSWORD: u8 = 1;

/// The longest input that is read from a pipe, in bytes: a password that is too long, and the end of its line.
const INPUT_BYTES_MAX: u64 = PASSWORD_BYTES_MAX as u64 + 3;

/// Hash a password for a user of a `basic` provider, with argon2id and a random salt.
///
/// A terminal is asked twice, and shows nothing of it; from a pipe one line is read. Only the hash goes to stdout. Exits with 1
/// when there is no password, or none that a client could send.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

const EXAMPLES: &str = "\
Examples:
  ringway hash-password
  pwgen -s 20 1 | tee password.txt | ringway hash-password
  (then write users = { alice = \"$argon2id$...\" } under [[auth]])";

pub(crate) fn run(_: &Args) -> ExitCode {
    match hashed() {
        Ok(hash) => {
            crate::print(format_args!("{hash}\n"));
            ExitCode::SUCCESS
        }
        Err(reason) => {
            crate::complain(reason);
            NO_PASSWORD.into()
        }
    }
}

fn hashed() -> Result<String, String> {
    let password = if io::stdin().is_terminal() { asked()? } else { piped(io::stdin())? };
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|error| format!("the system gives no random salt: {error}"))?;
    PasswordHash::make(&password, salt).map_err(|bad| bad.to_string())
}

/// The password as two answers that are the same.
fn asked() -> Result<String, String> {
    let unread = |error: io::Error| format!("cannot read from the terminal: {error}");
    let password = answer("Password: ").map_err(unread)?;
    if password.is_empty() {
        return Err("the password is empty".to_owned());
    }
    let again = answer("The same again: ").map_err(unread)?;
    if again == password { Ok(password) } else { Err("these were two different passwords".to_owned()) }
}

/// What is typed, without echo.
fn answer(question: &str) -> io::Result<String> {
    // Where the process has a terminal, it may open that one under any user; stdin's is another user's after `su`.
    let terminal = if File::open("/dev/tty").is_ok() { "/dev/tty" } else { "/dev/stdin" };
    let config = rpassword::ConfigBuilder::new().input_file_path(terminal).output_writer(io::stderr());
    // rpassword reads Ctrl-C itself and raises the signal before it gives the terminal its echo back: it waits until then.
    let interrupt = SigSet::from(Signal::SIGINT);
    interrupt.thread_block()?;
    let typed = rpassword::prompt_password_with_config(question, config.build());
    interrupt.thread_unblock()?;
    typed
}

/// The one line that `input` has.
fn piped(input: impl Read) -> Result<String, String> {
    let mut text = String::new();
    let read = input.take(INPUT_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| format!("cannot read a password from standard input: {error}"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(
            "the password is empty: type it in a terminal, or write one line to standard input".to_owned()
        );
    }
    if line.contains('\n') {
        return Err("there is more than one line: a password is one".to_owned());
    }
    Ok(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_has_one_line() {
        let read = |text: &str| piped(text.as_bytes());
        for text in ["pass word", "pass word\n", "pass word\r\n"] {
            assert_eq!(read(text).as_deref(), Ok("pass word"));
        }
        for (text, why) in
            [("", "empty"), ("\n", "empty"), ("\r\n", "empty"), ("a\nb", "one line"), ("a\n\n", "one line")]
        {
            assert!(read(text).unwrap_err().contains(why), "{text:?}");
        }
        assert!(piped(&b"\xff\n"[..]).unwrap_err().contains("cannot read"));
    }

    #[test]
    fn a_long_line_is_told_from_a_whole_one() {
        let long = "x".repeat(PASSWORD_BYTES_MAX);
        assert_eq!(piped(format!("{long}\r\n").as_bytes()).as_ref(), Ok(&long));
        assert!(piped(format!("{long}xxxxx\n").as_bytes()).is_ok_and(|read| read.len() > PASSWORD_BYTES_MAX));
    }
}
