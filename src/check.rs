//! `ringway check`: all problems of a configuration, each with its place, without running anything.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use ringway_admin::{Origin, environment};
use ringway_config::{Analysis, Checked, Compiled, Compiler, Severity, Snapshot, Source};

use crate::logs::stderr_takes_color;
use crate::standings::{Overlaps, Standings};

/// Check a configuration file: all of its problems, with their places, and rules that can never win.
///
/// Exits with 0 and a summary when the file could run (warnings go to stderr), and with 1 when it could not.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The configuration file; without it ./ringway.toml, or else /etc/ringway/ringway.toml
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// List the rules of each site and project, each with a shortest request that it wins, or why there is none
    #[arg(long)]
    paths: bool,
    /// List the rules of which an earlier one takes a part, with a request that each side gets
    #[arg(long)]
    overlaps: bool,
}

const EXAMPLES: &str = "\
Examples:
  ringway check ringway.toml
  ringway check --paths --overlaps ringway.toml
  ringway check ringway.toml && kill -HUP $(pidof ringway)";

pub(crate) fn run(args: &Args) -> ExitCode {
    match read(args) {
        Ok((origin, text)) => tell(check(&origin.name(), &text, args.listed(), stderr_takes_color())),
        Err(reason) => {
            crate::complain(reason);
            crate::BAD_CONFIGURATION.into()
        }
    }
}

fn read(args: &Args) -> Result<(Origin, String), String> {
    let path = crate::file::named_or_found(args.file.clone()).map_err(|error| error.to_string())?;
    let origin = Origin::File(path);
    let text = origin.read().map_err(|error| error.to_string())?;
    Ok((origin, text))
}

/// What is listed of the rules of a file that can run.
#[derive(Clone, Copy, Debug, Default)]
struct Listed {
    paths: bool,
    overlaps: bool,
}

impl Args {
    fn listed(&self) -> Listed {
        Listed { paths: self.paths, overlaps: self.overlaps }
    }
}

impl Listed {
    fn text(self, snapshot: &Snapshot, analysis: &Analysis) -> String {
        let paths = self.paths.then(|| Standings::new(snapshot, analysis).to_string());
        let overlaps = self.overlaps.then(|| Overlaps::new(snapshot, analysis).to_string());
        [paths, overlaps].into_iter().flatten().collect()
    }
}

/// What is said about a file.
struct Report {
    /// Its problems and warnings, rendered.
    rendered: String,
    /// What was asked for of its rules, if it can run.
    listed: String,
    /// The summary of a file that can run, or how many problems another one has.
    outcome: Result<String, String>,
}

fn check(name: &str, text: &str, listed: Listed, color: bool) -> Report {
    let source = Source { name, text };
    match Compiler::with_variables(environment()).check(&source) {
        Ok(Checked { compiled: Compiled { snapshot, warnings }, analysis }) => Report {
            rendered: warnings.render(&source, color),
            listed: listed.text(&snapshot, &analysis),
            outcome: Ok(summary(name, &snapshot, warnings.len())),
        },
        Err(problems) => {
            let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
            let warned = warned(problems.len() - errors);
            let outcome = Err(format!("{name} cannot run: {}{warned}", Count(errors, "problem")));
            Report { rendered: problems.render(&source, color), listed: String::new(), outcome }
        }
    }
}

fn tell(report: Report) -> ExitCode {
    // Nobody is left to tell when stderr is closed; the exit code says it all the same.
    _ = std::io::stderr().write_all(report.rendered.as_bytes());
    match report.outcome {
        Ok(summary) => {
            crate::print(format_args!("{}{summary}\n", report.listed));
            ExitCode::SUCCESS
        }
        Err(counts) => {
            crate::complain(counts);
            crate::BAD_CONFIGURATION.into()
        }
    }
}

fn summary(name: &str, snapshot: &Snapshot, warnings: usize) -> String {
    let backends: usize = snapshot.upstreams.iter().map(|upstream| upstream.backends.len()).sum();
    let counts = [
        Count(snapshot.listeners.len(), "listener"),
        Count(snapshot.sites.len(), "site"),
        Count(snapshot.rules.len(), "rule"),
        Count(snapshot.upstreams.len(), "upstream"),
        Count(backends, "backend"),
    ];
    let counts = counts.map(|count| count.to_string()).join(", ");
    format!("{name} can run: {counts}{}", warned(warnings))
}

fn warned(warnings: usize) -> String {
    if warnings == 0 { String::new() } else { format!("; {}", Count(warnings, "warning")) }
}

/// A number of things, in the singular where it is one.
struct Count(usize, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(text: &str) -> Result<String, String> {
        check("a.toml", text, Listed::default(), false).outcome
    }

    const GOOD: &str = "[[listeners]]\naddress = \":8080\"\n\
        [[rules]]\nname = \"all\"\npath = \"*\"\ntarget = \"http://127.0.0.1:3000\"\n";

    #[test]
    fn a_good_file_is_summed_up() {
        let told = outcome(GOOD).unwrap();
        assert_eq!(told, "a.toml can run: 1 listener, 0 sites, 1 rule, 1 upstream, 1 backend");
    }

    #[test]
    fn a_bad_file_has_its_problems_shown_and_counted() {
        let report = check(
            "a.toml",
            &GOOD.replace("path", "pth").replace("http:", "gopher:"),
            Listed::default(),
            false,
        );
        assert_eq!(report.outcome.unwrap_err(), "a.toml cannot run: 2 problems");
        assert!(
            report.rendered.contains("a.toml:5:1") && report.rendered.contains("`path`"),
            "{}",
            report.rendered
        );
    }

    #[test]
    fn warnings_are_no_problems() {
        let disabled = GOOD.to_owned() + "enabled = false\n";
        let told = "a.toml can run: 1 listener, 0 sites, 1 rule, 1 upstream, 1 backend; 1 warning";
        assert_eq!(outcome(&disabled).unwrap(), told);
        let broken = disabled + "x = 1\n";
        assert_eq!(outcome(&broken).unwrap_err(), "a.toml cannot run: 1 problem");
    }

    #[test]
    fn a_missing_file_is_named() {
        let told =
            read(&Args { file: Some("not/there.toml".into()), paths: false, overlaps: false }).unwrap_err();
        assert!(told.contains("not/there.toml"), "{told}");
    }
}
