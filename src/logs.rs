//! The program's own log, on stderr. (The access log is the engine's, and configured in the file.)

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// The environment variable that says what is logged.
const FILTER_VARIABLE: &str = "RINGWAY_LOG";

/// What a line of the program's log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: time, level, message
    #[default]
    Text,
    /// One JSON object in a line
    Json,
}

/// Logs from now on. To be called once.
pub(crate) fn start(format: Format) {
    let asked = std::env::var(FILTER_VARIABLE).ok().filter(|filter| !filter.is_empty());
    let filter = asked.as_deref().map(EnvFilter::try_new);
    let refused = filter.as_ref().and_then(|filter| filter.as_ref().err().map(ToString::to_string));
    let filter = filter.and_then(Result::ok).unwrap_or_else(|| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Format::Text => logs.with_target(false).with_ansi(stderr_takes_color()).init(),
        Format::Json => logs.json().flatten_event(true).init(),
    }
    if let Some(reason) = refused {
        tracing::warn!(reason, "{FILTER_VARIABLE} is not understood; logging at level info");
    }
}

/// Whether stderr is a terminal whose user has not asked for plain text (<https://no-color.org>).
pub(crate) fn stderr_takes_color() -> bool {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !plain && std::io::stderr().is_terminal()
}
