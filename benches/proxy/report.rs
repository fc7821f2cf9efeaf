//! What a run found: each round as it ends, then medians, ranges, and ratios between proxies.

use crate::cpu::{CpuTime, Cpus};
use crate::options::Plan;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// One measured round of one proxy.
pub(crate) struct Round {
    pub(crate) requests: u64,
    pub(crate) elapsed: Duration,
    pub(crate) cpu_time: CpuTime,
}

/// A figure of a round, with its unit.
struct Figure {
    title: &'static str,
    of: fn(&Round) -> f64,
    decimals: usize,
}

const FIGURES: [Figure; 5] = [
    Figure {
        title: "requests/s",
        of: |round| round.requests as f64 / round.elapsed.as_secs_f64(),
        decimals: 0,
    },
    Figure { title: "CPU us/request", of: Round::cpu_us, decimals: 2 },
    Figure { title: "  user", of: |round| round.cpu_us() * round.cpu_time.user_share(), decimals: 2 },
    Figure {
        title: "  system",
        of: |round| round.cpu_us() * (1.0 - round.cpu_time.user_share()),
        decimals: 2,
    },
    Figure { title: "CPU busy %", of: Round::busy_percent, decimals: 0 },
];

impl Round {
    fn cpu_us(&self) -> f64 {
        self.cpu_time.total_ns as f64 / 1_000.0 / self.requests as f64
    }

    /// How much of its CPU the proxy took: below 100 the load, or somebody else, was what it waited for.
    fn busy_percent(&self) -> f64 {
        self.cpu_time.total_ns as f64 / self.elapsed.as_nanos() as f64 * 100.0
    }
}

/// All rounds of all proxies.
pub(crate) struct Report {
    proxies: Vec<(String, Vec<Round>)>,
}

impl Report {
    pub(crate) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        Report { proxies: names.map(|name| (name.to_owned(), Vec::new())).collect() }
    }

    /// Adds a round of the proxy at `index`; gives a line about it.
    pub(crate) fn add(&mut self, index: usize, round: Round) -> String {
        let (name, rounds) = &mut self.proxies[index];
        let figures = FIGURES.iter().map(|figure| {
            let value = (figure.of)(&round);
            format!("{} {value:.*}", figure.title.trim(), figure.decimals)
        });
        let line = format!("{name:<18} {}", figures.collect::<Vec<_>>().join("  "));
        rounds.push(round);
        line
    }

    fn table(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "{:<18} {:<16} {:>10} {:>10} {:>10}", "", "", "median", "min", "max")?;
        for (name, rounds) in &self.proxies {
            for (index, figure) in FIGURES.iter().enumerate() {
                let name = if index == 0 { name } else { "" };
                let [median, min, max] = spread(rounds.iter().map(figure.of));
                let decimals = figure.decimals;
                writeln!(
                    out,
                    "{name:<18} {:<16} {median:>10.decimals$} {min:>10.decimals$} {max:>10.decimals$}",
                    figure.title
                )?;
            }
        }
        Ok(())
    }

    /// Each proxy against the last one, which is the peer where there is one: of rounds that ran next to each other.
    fn ratios(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Some(((peer, peer_rounds), others)) = self.proxies.split_last() else { return Ok(()) };
        for (name, rounds) in others {
            for figure in &FIGURES[..2] {
                let pairs = rounds.iter().zip(peer_rounds);
                let [median, min, max] = spread(pairs.map(|(a, b)| (figure.of)(a) / (figure.of)(b)));
                let title = format!("{name} / {peer}, {}", figure.title);
                writeln!(out, "{title:<46} {median:>5.2} {min:>8.2} {max:>8.2}")?;
            }
        }
        Ok(())
    }
}

impl Display for Report {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        self.table(out)?;
        writeln!(out)?;
        self.ratios(out)?;
        write!(
            out,
            "\nErrors: none; the first one would have ended the run.\n\
             CPU time is that of the proxy's process, from /proc/PID/task/*/schedstat, split by the ticks in\n\
             /proc/PID/stat. It varies with what else the machine does. Instructions are not counted."
        )
    }
}

/// What the run is about to do.
pub(crate) fn heading(plan: &Plan, cpus: Cpus) -> String {
    let Plan { rounds, requests, connections, .. } = plan;
    let place = if cpus.proxy == cpus.load {
        format!("all on CPU {}, the only one: no figure but CPU time means much", cpus.proxy)
    } else {
        format!("proxy on CPU {}, backend and load on CPU {}", cpus.proxy, cpus.load)
    };
    format!("{rounds} rounds of {requests} requests on {connections} connections; {place}\n")
}

/// Median, minimum and maximum.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let middle = values.len() / 2;
    let median =
        if values.len() % 2 == 1 { at(middle) } else { (at(middle.wrapping_sub(1)) + at(middle)) / 2.0 };
    [median, at(0), at(values.len().wrapping_sub(1))]
}
