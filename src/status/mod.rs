//! `ringway status`: what the running program tells of itself, through its admin socket. `text` writes it for people, in
//! `table`s, with numbers by `amount`; `screen` is where it goes.

mod amount;
mod screen;
mod table;
mod text;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ringway_admin::api::{self, NoAnswer, STATUS_PATH, Status};
use ringway_admin::{Origin, environment};
use ringway_config::{Compiler, Source};

use crate::logs::stderr_takes_color;
use screen::Screen;

/// Show what the running program does: upstreams and their backends, sites, workers.
///
/// It asks through the admin socket that [admin] data_dir of the configuration file has the program open. Exits with 0 when
/// it was answered, with 1 when the file does not say where the socket is, and with 3 when nobody answers there or the answer
/// cannot be written.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The configuration file; without it ./ringway.toml, or else /etc/ringway/ringway.toml
    #[arg(long, short, value_name = "FILE", conflicts_with = "socket")]
    config: Option<PathBuf>,

    /// The admin socket; then no configuration file is read
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Write the answer as it came: JSON, in one line
    #[arg(long)]
    json: bool,

    /// Ask again and again, every 2 seconds or as it says, until Ctrl-C or until the program ends
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2",
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    watch: Option<u64>,
}

const EXAMPLES: &str = "\
Examples:
  ringway status
  ringway status --config ringway.toml --watch
  ringway status --json | jq '.upstreams[] | select(.backends[].state != \"alive\")'
  ringway status --socket /var/lib/ringway/admin.sock --watch=10";

/// Failures in a row, after an answer, that end `--watch`: a program that ends may cut one exchange.
const FAILURES_MAX: u32 = 2;

pub(crate) fn run(args: &Args) -> ExitCode {
    let socket = match socket(args) {
        Ok(socket) => socket,
        Err(reason) => {
            crate::complain(reason);
            return crate::BAD_CONFIGURATION.into();
        }
    };
    match look(&socket, args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            crate::complain(failure);
            crate::CANNOT_START.into()
        }
    }
}

/// Where to ask.
fn socket(args: &Args) -> Result<PathBuf, String> {
    if let Some(socket) = &args.socket {
        return Ok(socket.clone());
    }
    let path = crate::file::named_or_found(args.config.clone()).map_err(|error| {
        format!("{error}\n\nName one with --config FILE, or the admin socket with --socket PATH.")
    })?;
    let origin = Origin::File(path);
    let text = origin.read().map_err(|error| error.to_string())?;
    socket_in(&origin.name(), &text)
}

/// The socket that a configuration has the program open.
fn socket_in(name: &str, text: &str) -> Result<PathBuf, String> {
    let source = Source { name, text };
    let compiled = Compiler::with_variables(environment()).compile_unexpecting(&source).map_err(|problems| {
        let rendered = problems.render(&source, stderr_takes_color());
        format!(
            "{name} cannot run, and so does not tell where the admin socket is: name it with --socket PATH\n{}",
            rendered.trim_end()
        )
    })?;
    compiled.snapshot.admin.socket().ok_or_else(|| {
        format!(
            "{name} has no [admin] data_dir, so that the program opens no admin socket.\n\n\
             Add these lines, have the program read the file again (kill -HUP), and ask again:\n\n    \
             [admin]\n    data_dir = \"/var/lib/ringway\""
        )
    })
}

/// Asks and shows, once or until it ends.
fn look(socket: &Path, args: &Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(socket, Fault::System(error)))?;
    runtime.block_on(async {
        match args.watch {
            Some(seconds) => watch(socket, args.json, Duration::from_secs(seconds)).await,
            None => {
                let shown = show(&mut Screen::once(), socket, args.json).await;
                shown.map(drop).map_err(|fault| Failure::new(socket, fault))
            }
        }
    })
}

async fn watch(socket: &Path, json: bool, period: Duration) -> Result<(), Failure> {
    let mut screen = Screen::again();
    let (mut answered, mut failures) = (false, 0);
    loop {
        match show(&mut screen, socket, json).await {
            Ok(Shown::Read) => (answered, failures) = (true, 0),
            Ok(Shown::ReaderGone) => return Ok(()),
            Err(fault @ Fault::Unwritten(_)) => return Err(Failure::new(socket, fault)),
            Err(Fault::NoAnswer(NoAnswer::Missing | NoAnswer::Abandoned)) if answered => {
                crate::tell(format_args!(
                    "nobody answers any more at {}: the program has ended, or its data_dir is another one now",
                    socket.display()
                ));
                return Ok(());
            }
            Err(fault) => {
                failures += 1;
                if !answered || failures == FAILURES_MAX {
                    return Err(Failure::new(socket, fault));
                }
            }
        }
        tokio::time::sleep(period).await;
    }
}

/// What became of a status that was written.
enum Shown {
    Read,
    /// Nobody reads stdout any more, as with `head`.
    ReaderGone,
}

async fn show(screen: &mut Screen, socket: &Path, json: bool) -> Result<Shown, Fault> {
    let answer = api::get(socket, STATUS_PATH).await.map_err(Fault::NoAnswer)?;
    let written = if json {
        screen.append(&[answer.trim_ascii_end(), b"\n"].concat())
    } else {
        let status: Status = serde_json::from_slice(&answer).map_err(Fault::Unknown)?;
        screen.show(|page| text::of(&status, page))
    };
    match written {
        Ok(()) => Ok(Shown::Read),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Shown::ReaderGone),
        Err(error) => Err(Fault::Unwritten(error)),
    }
}

/// Why nothing is shown.
#[derive(Debug)]
struct Failure {
    socket: PathBuf,
    fault: Fault,
}

#[derive(Debug)]
enum Fault {
    NoAnswer(NoAnswer),
    /// The answer is no status that this version knows.
    Unknown(serde_json::Error),
    /// stdout takes nothing.
    Unwritten(io::Error),
    System(io::Error),
}

impl Failure {
    fn new(socket: &Path, fault: Fault) -> Self {
        Self { socket: socket.to_owned(), fault }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let socket = self.socket.display();
        match &self.fault {
            Fault::NoAnswer(reason) => write!(out, "{socket}: {reason}{}", advice(reason)),
            Fault::Unknown(error) => write!(
                out,
                "{socket}: the answer is none that this version understands: {error}\n\nTry --json."
            ),
            Fault::Unwritten(error) => write!(out, "cannot write to stdout: {error}"),
            Fault::System(error) => error.fmt(out),
        }
    }
}

/// What to do.
fn advice(reason: &NoAnswer) -> &'static str {
    match reason {
        NoAnswer::Missing => {
            "\n\nDoes the program run, and with this data_dir? One that was started before data_dir was written opens the \
             socket when it reads its file again (kill -HUP). A relative data_dir begins where the program was started."
        }
        NoAnswer::Abandoned => "\n\nThe program that opened it was killed: start it again.",
        NoAnswer::NoSocket => "\n\nThe socket is the file admin.sock in the data_dir.",
        NoAnswer::Forbidden => "\n\nAsk as the user that the program runs as, or as root.",
        NoAnswer::TimedOut => "\n\nThe program is stopped or very busy; its log may tell more.",
        NoAnswer::Refused { .. } | NoAnswer::Io(_) | NoAnswer::Broken(_) => "",
    }
}
