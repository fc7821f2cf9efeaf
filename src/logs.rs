//! The program's own log, on stderr. (The access log is the engine's, and configured in the file.)

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// The environment variable that says what is logged.
const FILTER_VARIABLE: &str = "RINGWAY_LOG";

/// What is logged when it does not say. The DNS client would have a line for each forged datagram, whoever sent it; what a
/// lookup comes to is logged by ourselves.
const USUAL_FILTER: &str = "info,hickory_net=error,hickory_resolver=error";

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
    let filter = filter.and_then(Result::ok).unwrap_or_else(|| EnvFilter::new(USUAL_FILTER));
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
    takes_color(&std::io::stderr())
}

/// The same for stdout.
pub(crate) fn stdout_takes_color() -> bool {
    takes_color(&std::io::stdout())
}

fn takes_color(stream: &impl IsTerminal) -> bool {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !plain && stream.is_terminal()
}
