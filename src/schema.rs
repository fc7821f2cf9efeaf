//! `ringway config-schema`: the JSON schema of the configuration file.

use std::process::ExitCode;

/// Print the JSON schema of the configuration file, for editors and generators.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

const EXAMPLES: &str = "\
Examples:
  ringway config-schema > ringway.schema.json
  (then begin ringway.toml with the line `#:schema ./ringway.schema.json`)";

pub(crate) fn run(_: &Args) -> ExitCode {
    let schema = ringway_config::json_schema();
    crate::print(format_args!("{}\n", schema.trim_end()));
    ExitCode::SUCCESS
}
