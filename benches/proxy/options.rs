//! The command line: what is asked for, within bounds.

use serde::Serialize;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// How to use this program.
pub(crate) const USAGE: &str = "\
Usage: cargo bench --bench proxy -- [OPTIONS]

  --quick               a short run, under two minutes
  --case NAMES          only these cases, with commas, and those that their goals compare them with; a name that
                        there is not lists them all
  --peers NAMES|none    only these of nginx, haproxy, envoy and caddy, which must be on the PATH
                        [all that are found on the PATH]
  --drivers NAMES       only these of io_uring and epoll [both]
  --rounds N            measured rounds of each proxy and case, 1 to 100 [5; 3 with --quick]
  --count-with auto|valgrind
                        auto: instructions by the kernel's counters where it allows them, and CPU time;
                        valgrind: the user instructions of Ringway, nginx and HAProxy under cachegrind [auto]
  --check-generator     compares the load generator with wrk, which must be on the PATH, on the case `get`
  --json FILE           where the figures go [target/tmp/benchmark.json]
  --svg FILE            where the chart goes [target/tmp/benchmark.svg]
  --help                this text";

const ROUNDS: RangeInclusive<usize> = 1..=100;
const ROUNDS_FULL: usize = 5;
const ROUNDS_QUICK: usize = 3;

/// What the command line comes to.
pub(crate) enum Asked {
    /// Not started by `cargo bench`: nothing is to be measured.
    Test,
    Help,
    Wrong(String),
    Run(Plan),
}

/// Ringway's event loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Driver {
    IoUring,
    Epoll,
}

impl Driver {
    const ALL: [Driver; 2] = [Driver::IoUring, Driver::Epoll];

    /// As the configuration file spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Driver::IoUring => "io_uring",
            Driver::Epoll => "epoll",
        }
    }
}

/// A proxy to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PeerKind {
    Nginx,
    Haproxy,
    Envoy,
    Caddy,
}

impl PeerKind {
    const ALL: [PeerKind; 4] = [PeerKind::Nginx, PeerKind::Haproxy, PeerKind::Envoy, PeerKind::Caddy];

    /// The name of its program, and its name here.
    pub(crate) fn name(self) -> &'static str {
        match self {
            PeerKind::Nginx => "nginx",
            PeerKind::Haproxy => "haproxy",
            PeerKind::Envoy => "envoy",
            PeerKind::Caddy => "caddy",
        }
    }
}

/// How instructions are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CountWith {
    /// By the kernel's performance counters where it allows them; otherwise they are not.
    Auto,
    /// By cachegrind, which counts the ones in user mode and makes everything many times slower.
    Valgrind,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Plan {
    pub(crate) quick: bool,
    /// Names of cases; all when empty.
    pub(crate) cases: Vec<String>,
    pub(crate) peers: Vec<PeerKind>,
    pub(crate) drivers: Vec<Driver>,
    /// Measured rounds of each proxy in each case.
    pub(crate) rounds: usize,
    pub(crate) count_with: CountWith,
    /// Whether the load generator is compared with wrk.
    pub(crate) check_generator: bool,
    /// Where the figures go.
    #[serde(skip)]
    pub(crate) json: Option<PathBuf>,
    /// Where the chart goes.
    #[serde(skip)]
    pub(crate) svg: Option<PathBuf>,
}

impl Plan {
    /// Whether this case is asked for.
    pub(crate) fn wants(&self, case: &str) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|name| name == case)
    }

    fn standard() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        Plan {
            quick: false,
            cases: Vec::new(),
            peers: PeerKind::ALL.into_iter().filter(|peer| on_path(peer.name())).collect(),
            drivers: Driver::ALL.to_vec(),
            rounds: ROUNDS_FULL,
            count_with: CountWith::Auto,
            check_generator: false,
            json: Some(folder.join("benchmark.json")),
            svg: Some(folder.join("benchmark.svg")),
        }
    }
}

/// Whether a program of this name is on the PATH.
pub(crate) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Reads the arguments, without the program's name. `cargo bench` adds `--bench`; `cargo test --benches` does not.
pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Asked {
    let arguments: Vec<String> = arguments.collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        return Asked::Help;
    }
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Asked::Test;
    }
    plan(&arguments).map_or_else(Asked::Wrong, Asked::Run)
}

fn plan(arguments: &[String]) -> Result<Plan, String> {
    let mut plan = Plan::standard();
    // Before the others, so that `--rounds` counts wherever it stands.
    if arguments.iter().any(|argument| argument == "--quick") {
        (plan.quick, plan.rounds) = (true, ROUNDS_QUICK);
    }
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(option) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{option} needs a value"));
        match option {
            "--bench" | "--quick" => {}
            "--check-generator" => plan.check_generator = true,
            "--case" => plan.cases.extend(value()?.split(',').map(str::to_owned)),
            "--peers" => plan.peers = peers(value()?)?,
            "--drivers" => plan.drivers = each(value()?, &Driver::ALL, Driver::name)?,
            "--rounds" => plan.rounds = rounds(value()?)?,
            "--count-with" => plan.count_with = count_with(value()?)?,
            "--json" => plan.json = Some(value()?.into()),
            "--svg" => plan.svg = Some(value()?.into()),
            unknown => return Err(format!("unknown argument: {unknown}")),
        }
    }
    if plan.check_generator && !on_path("wrk") {
        return Err("wrk is not on the PATH".into());
    }
    Ok(plan)
}

fn peers(names: &str) -> Result<Vec<PeerKind>, String> {
    if names == "none" {
        return Ok(Vec::new());
    }
    let peers = each(names, &PeerKind::ALL, PeerKind::name)?;
    match peers.iter().find(|peer| !on_path(peer.name())) {
        Some(missing) => Err(format!("{} is not on the PATH", missing.name())),
        None => Ok(peers),
    }
}

fn count_with(name: &str) -> Result<CountWith, String> {
    match name {
        "auto" => Ok(CountWith::Auto),
        "valgrind" if on_path("valgrind") => Ok(CountWith::Valgrind),
        "valgrind" => Err("valgrind is not on the PATH".into()),
        unknown => Err(format!("--count-with takes auto or valgrind, not {unknown}")),
    }
}

fn rounds(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| ROUNDS.contains(number));
    number.ok_or_else(|| format!("--rounds takes a number from {} to {}", ROUNDS.start(), ROUNDS.end()))
}

/// What each of the names, separated by commas, stands for.
fn each<T: Copy>(names: &str, all: &[T], name_of: fn(T) -> &'static str) -> Result<Vec<T>, String> {
    let one = |name: &str| {
        let found = all.iter().copied().find(|&one| name_of(one) == name);
        found.ok_or_else(|| {
            let known: Vec<_> = all.iter().copied().map(name_of).collect();
            format!("{name} is none of {}", known.join(", "))
        })
    };
    names.split(',').map(one).collect()
}
