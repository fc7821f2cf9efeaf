//! Instructions in user mode, counted exactly by valgrind, for machines without counters.
//!
//! A proxy runs twice, from its start to its end, with more work the second time: the difference is that of the work,
//! and what start and end cost cancels out. It runs some 30 times slower meanwhile, which shifts how much of the work
//! is ready at once.

use crate::Outcome;
use crate::bench::Bench;
use crate::model::Setting;
use crate::peers::{Kind, Wrapper};
use std::net::SocketAddr;

/// Why a proxy cannot run so, where that is asked for.
pub(super) fn refusal(bench: &Bench<'_>, kind: Kind) -> Option<&'static str> {
    let wrapper = if bench.counts_exactly() { Wrapper::Valgrind } else { Wrapper::None };
    wrapper.problem_with(kind)
}

/// Instructions for a unit of work. `few` and `many` do work and give how many units that were.
pub(super) fn count(
    bench: &Bench<'_>,
    kind: Kind,
    setting: &Setting,
    few: impl FnOnce(SocketAddr) -> Outcome<u64>,
    many: impl FnOnce(SocketAddr) -> Outcome<u64>,
) -> Outcome<f64> {
    let (few, few_units) = of_a_life(bench, kind, setting, few)?;
    let (many, many_units) = of_a_life(bench, kind, setting, many)?;
    let units = many_units.checked_sub(few_units).filter(|units| *units > 0);
    Ok((many - few) / units.ok_or("the longer run has done no more than the shorter one")? as f64)
}

/// The instructions of a proxy from its start to its end, and the units of work that it did.
fn of_a_life(
    bench: &Bench<'_>,
    kind: Kind,
    setting: &Setting,
    work: impl FnOnce(SocketAddr) -> Outcome<u64>,
) -> Outcome<(f64, u64)> {
    let proxy = bench.start(kind, setting, Wrapper::Valgrind)?;
    let units = work(proxy.address())?;
    let log = proxy.stop()?;
    let count = total(&log).ok_or_else(|| format!("valgrind has counted nothing:\n{log}"))?;
    Ok((count, units))
}

/// The sum over all processes of lines such as `==123== I   refs:      1,234,567`.
fn total(log: &str) -> Option<f64> {
    let counts = log.lines().filter_map(|line| line.strip_prefix("==")?.split_once("refs:"));
    let numbers = counts.filter_map(|(_, number)| number.trim().replace(',', "").parse::<f64>().ok());
    numbers.reduce(|sum, number| sum + number)
}
