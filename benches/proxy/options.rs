//! The command line: what is asked for, within bounds.

use std::ops::RangeInclusive;
use std::str::FromStr;

/// How to use this program.
pub(crate) const USAGE: &str = "\
Usage: cargo bench --bench proxy -- [OPTIONS]

  --quick                    a short run, under 30 seconds
  --driver epoll|io_uring    only this driver of Ringway; both, alternating, without it
  --peer nginx               nginx too, which must be on the PATH; prints the ratios
  --requests N               requests in each measured round [200000; 20000 with --quick]
  --connections N            keep-alive client connections, 1 to 200 [64]
  --rounds N                 rounds for each proxy [5]
  --help                     this text";

/// Every proxy may keep a backend connection for each client's, all in this process: 200 stay below the usual limit of
/// 1,024 open files.
const CONNECTIONS: RangeInclusive<usize> = 1..=200;
const REQUESTS: RangeInclusive<u64> = 1_000..=100_000_000;
const ROUNDS: RangeInclusive<usize> = 1..=100;

/// Requests in a measured round.
const FULL: u64 = 200_000;
const QUICK: u64 = 20_000;

/// What the command line comes to.
pub(crate) enum Asked {
    /// Not started by `cargo bench`: nothing is to be measured.
    Test,
    Help,
    Wrong(String),
    Run(Plan),
}

/// Ringway's event loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    IoUring,
    Epoll,
}

impl Driver {
    /// As the configuration file spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Driver::IoUring => "io_uring",
            Driver::Epoll => "epoll",
        }
    }
}

/// One run.
pub(crate) struct Plan {
    pub(crate) drivers: Vec<Driver>,
    pub(crate) nginx: bool,
    pub(crate) requests: u64,
    pub(crate) connections: usize,
    pub(crate) rounds: usize,
}

impl Plan {
    /// Requests before each measured round: caches, pools and buffers have their size after them.
    pub(crate) fn warm_up(&self) -> u64 {
        (self.requests / 10).max(1_000)
    }
}

/// Reads the arguments, without the program's name. `cargo bench` adds `--bench`, which `cargo test --benches` does not.
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
    let drivers = vec![Driver::IoUring, Driver::Epoll];
    let mut plan = Plan { drivers, nginx: false, requests: FULL, connections: 64, rounds: 5 };
    // Before the others, so that `--requests` counts wherever it stands.
    if arguments.iter().any(|argument| argument == "--quick") {
        plan.requests = QUICK;
    }
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        match argument {
            "--bench" | "--quick" => {}
            "--driver" => plan.drivers = vec![driver(value(argument, rest.next())?)?],
            "--peer" => plan.nginx = peer(value(argument, rest.next())?)?,
            "--requests" => plan.requests = number(argument, rest.next(), REQUESTS)?,
            "--connections" => plan.connections = number(argument, rest.next(), CONNECTIONS)?,
            "--rounds" => plan.rounds = number(argument, rest.next(), ROUNDS)?,
            unknown => return Err(format!("unknown argument: {unknown}")),
        }
    }
    Ok(plan)
}

fn value<'a>(option: &str, value: Option<&'a str>) -> Result<&'a str, String> {
    value.ok_or_else(|| format!("{option} needs a value"))
}

fn driver(name: &str) -> Result<Driver, String> {
    let known = [Driver::IoUring, Driver::Epoll].into_iter().find(|driver| driver.name() == name);
    known.ok_or_else(|| format!("unknown driver: {name}"))
}

fn peer(name: &str) -> Result<bool, String> {
    if name == "nginx" { Ok(true) } else { Err(format!("unknown peer: {name}")) }
}

fn number<N>(option: &str, text: Option<&str>, range: RangeInclusive<N>) -> Result<N, String>
where
    N: FromStr + PartialOrd + std::fmt::Display,
{
    let number = value(option, text)?.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("{option} takes a number from {} to {}", range.start(), range.end()))
}
