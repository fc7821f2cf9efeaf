//! `ringway run`: serves until a signal ends it.

use std::path::PathBuf;
use std::process::ExitCode;

use ringway_admin::Origin;

use crate::logs;

/// Serve what a configuration file says, or a one-liner without a file.
///
/// Without --config and --to the file is ./ringway.toml, or else /etc/ringway/ringway.toml.
///
/// SIGHUP reads the file again and applies it as a whole or not at all; no connection is closed by it. SIGTERM and SIGINT
/// stop accepting and wait for what runs (at most server.drain_timeout); a second one ends at once. SIGUSR1 reopens log
/// files.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The configuration file
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["listen", "to"])]
    config: Option<PathBuf>,

    /// Listen here: "127.0.0.1:8080", ":8080" for every address, "unix:/path"; may be given several times
    #[arg(long, value_name = "ADDR", requires = "to")]
    listen: Vec<String>,

    /// Send every request there: "http://host:port"; given several times, to each in turn
    #[arg(long, value_name = "URL", requires = "listen")]
    to: Vec<String>,

    /// What a line of the log on stderr looks like; RINGWAY_LOG=warn has it say less
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: logs::Format,
}

const EXAMPLES: &str = "\
Examples:
  ringway run --config ringway.toml
  ringway run --listen :8080 --to http://127.0.0.1:3000
  ringway run --listen :8080 --to http://10.0.0.1:3000 --to http://10.0.0.2:3000
  RINGWAY_LOG=warn ringway run --config ringway.toml --log-format json";

pub(crate) fn run(args: Args) -> ExitCode {
    logs::start(args.log_format);
    match origin(args) {
        Ok(origin) => crate::exit_code(ringway_admin::serve(origin, || ())),
        Err(reason) => {
            crate::complain(reason);
            crate::BAD_CONFIGURATION.into()
        }
    }
}

fn origin(args: Args) -> Result<Origin, String> {
    if !args.to.is_empty() {
        let text = one_liner(&args.listen, &args.to)?;
        return Ok(Origin::Text { name: "the command line".to_owned(), text });
    }
    let path = crate::file::named_or_found(args.config)
        .map_err(|error| format!("{error}\n\nName one with --config FILE, or try `ringway demo`."))?;
    tracing::info!("reading {}", path.display());
    Ok(Origin::File(path))
}

/// The file that the options stand for.
fn one_liner(listen: &[String], to: &[String]) -> Result<String, String> {
    ringway_config::one_liner(&borrowed(listen), &borrowed(to))
}

fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_config::{Compiler, Source};

    #[test]
    fn a_one_liner_has_all_its_addresses_and_backends() {
        let listen = ["127.0.0.1:1".to_owned(), "unix:/tmp/\"a\".sock".to_owned()];
        let text = one_liner(&listen, &["http://127.0.0.1:3000", "http://127.0.0.1:3001"].map(str::to_owned))
            .unwrap();
        let compiled = Compiler::new().compile(&Source { name: "test", text: &text }).unwrap();
        let identities: Vec<_> =
            compiled.snapshot.listeners.iter().map(|listener| &*listener.identity).collect();
        assert_eq!(identities, ["127.0.0.1:1", "unix:/tmp/\"a\".sock"]);
        assert_eq!(compiled.snapshot.upstreams[0].backends.len(), 2);
    }
}
