//! `ringway explain`: what becomes of a request, and why, without running anything. `text` writes it for people.

mod text;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use ringway_admin::{Origin, environment};
use ringway_config::{Compiler, Question, Refusal, Source};

use crate::logs::stderr_takes_color;

/// Explain what becomes of a request: its site, its rule and why others did not win, and what is sent where.
///
/// Nothing is sent: the configuration is compiled and asked as the running program asks it. Exits with 0 when the request
/// was explained, whatever becomes of it, with 1 when the configuration has problems, and with 2 when the request is none
/// that Ringway would take. Expectations of the file that are not met are no problems here.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The configuration file; without it ./ringway.toml, or else /etc/ringway/ringway.toml
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The request's method
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    method: String,

    /// The request asks for a WebSocket, as it does with a URL of ws:// or wss://
    #[arg(long)]
    ws: bool,

    /// The name or the address of the listener; without it the first with the URL's port, or else the first
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,

    /// Show every rule of long lists
    #[arg(long)]
    all: bool,

    /// Write JSON
    #[arg(long, conflicts_with = "all")]
    json: bool,

    /// The request: http://host:port/path?query
    #[arg(value_name = "URL")]
    url: String,
}

const EXAMPLES: &str = "\
Examples:
  ringway explain http://example.com/api/users
  ringway explain --config ringway.toml --method POST 'http://example.com/api/users?id=1'
  ringway explain --listener public --ws http://example.com/live";

/// The request is none that Ringway would take.
const BAD_REQUEST: u8 = 2;

pub(crate) fn run(args: &Args) -> ExitCode {
    match read(args) {
        Ok((origin, text)) => explain(&origin.name(), &text, args),
        Err(reason) => {
            crate::complain(reason);
            crate::BAD_CONFIGURATION.into()
        }
    }
}

fn read(args: &Args) -> Result<(Origin, String), String> {
    let path = crate::file::named_or_found(args.config.clone())
        .map_err(|error| format!("{error}\n\nName one with --config FILE."))?;
    let origin = Origin::File(path);
    let text = origin.read().map_err(|error| error.to_string())?;
    Ok((origin, text))
}

fn explain(name: &str, text: &str, args: &Args) -> ExitCode {
    let source = Source { name, text };
    let compiled = match Compiler::with_variables(environment()).compile_unexpecting(&source) {
        Ok(compiled) => compiled,
        Err(problems) => {
            // Nobody is left to tell when stderr is closed; the exit code says it all the same.
            _ = std::io::stderr().write_all(problems.render(&source, stderr_takes_color()).as_bytes());
            crate::complain(format_args!("{name} cannot run: there is nothing to explain"));
            return crate::BAD_CONFIGURATION.into();
        }
    };
    let question = Question {
        url: &args.url,
        method: &args.method,
        websocket: args.ws,
        listener: args.listener.as_deref(),
    };
    let explained = compiled.snapshot.explain(&question).map(|explanation| {
        if args.json {
            format!("{:#}\n", serde_json::json!(explanation))
        } else {
            text::of(&explanation, args.all)
        }
    });
    tell(explained)
}

fn tell(explained: Result<String, Refusal>) -> ExitCode {
    match explained {
        Ok(explanation) => {
            crate::print(explanation);
            ExitCode::SUCCESS
        }
        Err(refusal) => {
            crate::complain(refusal);
            BAD_REQUEST.into()
        }
    }
}
