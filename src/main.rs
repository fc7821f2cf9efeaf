//! The `ringway` program: one subcommand for each file, and what they share: logs, exit codes, finding the file.
#![forbid(unsafe_code)]

mod check;
mod demo;
mod explain;
mod file;
mod hash_password;
mod logs;
mod run;
mod schema;
mod standings;
mod status;

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ringway_admin::Ending;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A reverse proxy for HTTP/1.1 and WebSocket.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Check(check::Args),
    Explain(explain::Args),
    Status(status::Args),
    Demo(demo::Args),
    HashPassword(hash_password::Args),
    ConfigSchema(schema::Args),
}

const EXAMPLES: &str = "\
Examples:
  ringway demo                                            see it work; needs nothing
  ringway run --listen :8080 --to http://127.0.0.1:3000   put it in front of a server
  ringway check ringway.toml                              all problems of a file, with their places
  ringway explain http://example.com/api/users            which rule takes a request, and why
  ringway run --config ringway.toml                       serve what the file says
  ringway status --watch                                  what it does: backends, queues, workers
  kill -HUP $(pidof ringway)                              take up the changed file, closing nothing

Exit codes:
  0  done: every connection ended after SIGTERM or SIGINT; the file has no problems; the status is shown
  1  the configuration has problems, or cannot be found or read; there is no password to hash
  2  the command line is wrong, or the request to explain is none that Ringway would take
  3  could not start: an address is taken, a permission is missing; nobody answers at the admin socket
  4  connections were cut, because a second SIGTERM or SIGINT came
  5  a worker thread failed";

/// The configuration has problems.
const BAD_CONFIGURATION: u8 = 1;
/// The system did not let it start; or there is nothing that runs to ask.
const CANNOT_START: u8 = 3;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::HashPassword(args) => hash_password::run(&args),
        Command::ConfigSchema(args) => schema::run(&args),
    }
}

/// What scripts see of the end of `run` and `demo`.
fn exit_code(ending: Ending) -> ExitCode {
    match ending {
        Ending::Drained | Ending::DrainTimeout => ExitCode::SUCCESS,
        Ending::BadConfiguration => BAD_CONFIGURATION.into(),
        Ending::CannotStart => CANNOT_START.into(),
        Ending::Cut => 4.into(),
        Ending::WorkerFailed => 5.into(),
    }
}

/// Says on stderr why a command does not do what it was asked.
fn complain(reason: impl fmt::Display) {
    // Nobody is left to tell when stderr is closed.
    _ = writeln!(std::io::stderr(), "error: {reason}");
}

/// Says on stderr what happened, where it is no error.
fn tell(what: impl fmt::Display) {
    _ = writeln!(std::io::stderr(), "{what}");
}

/// Writes to stdout; whoever reads it may have gone, as `head` does.
fn print(text: impl fmt::Display) {
    _ = write!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_file_and_a_one_liner_exclude_each_other() {
        let parse =
            |line: &str| Cli::try_parse_from(line.split(' ')).map(|_| ()).map_err(|error| error.kind());
        use clap::error::ErrorKind::{ArgumentConflict, MissingRequiredArgument};
        assert_eq!(parse("ringway run"), Ok(()));
        assert_eq!(parse("ringway run --config a.toml"), Ok(()));
        assert_eq!(parse("ringway run --listen :1 --listen :2 --to http://a --to http://b"), Ok(()));
        assert_eq!(parse("ringway run --config a.toml --listen :1 --to http://a"), Err(ArgumentConflict));
        assert_eq!(parse("ringway run --listen :1"), Err(MissingRequiredArgument));
        assert_eq!(parse("ringway run --to http://a"), Err(MissingRequiredArgument));
    }
}
