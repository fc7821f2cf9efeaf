//! Whether this load and wrk's see the same proxy: the case `get`, driven by both in turn.

use super::{CONNECTIONS, UNITS_COUNTED, closed, counted};
use crate::Outcome;
use crate::bench::Bench;
use crate::counters::Threads;
use crate::load::Done;
use crate::model::{Metric, Sample, Setting};
use crate::peers::{Kind, Proxy, Wrapper};
use crate::report::Report;
use crate::work;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long either load runs; wrk takes whole seconds.
const SECONDS: u64 = 2;
/// How long wrk runs the first time, when valgrind counts.
const SECONDS_BEFORE: u64 = 1;

/// Compares what a request costs each proxy under either load; gives how many comparisons failed.
pub(crate) fn check(bench: &Bench<'_>, report: &mut Report) -> usize {
    let setting = Setting {
        backend: bench.backend(),
        keepalive: CONNECTIONS,
        rules: 1,
        access_log: false,
        files: false,
    };
    let mut failures = 0;
    for kind in bench.kinds() {
        let compared = match counted::refusal(bench, kind) {
            Some(refusal) => Ok(refusal.to_owned()),
            None if bench.counts_exactly() => count(bench, kind, &setting),
            None => bench.start(kind, &setting, Wrapper::None).and_then(|proxy| compare(bench, &proxy)),
        };
        failures += usize::from(compared.is_err());
        let text = compared.unwrap_or_else(|problem| problem);
        report.note(format!("{}, this load against wrk: {text}", kind.name()));
    }
    failures
}

/// In turn, as the rounds of a case.
fn compare(bench: &Bench<'_>, proxy: &Proxy) -> Outcome<String> {
    let (mut own, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..bench.plan.rounds {
        own.push(closed::round(bench, proxy, closed::get, Duration::from_secs(SECONDS))?);
        let meter = bench.meter(proxy, Threads::All)?;
        let done = wrk(proxy.address(), SECONDS)?;
        theirs.push(meter.finish(done.units, done.elapsed)?);
    }
    let figures = [
        (Metric::Instructions, "instructions"),
        (Metric::UserInstructions, "instructions in user mode"),
        (Metric::CpuTime, "us of CPU time"),
    ];
    let both = |metric| median(&own, metric).zip(median(&theirs, metric));
    let compared = figures.into_iter().find_map(|(metric, unit)| Some((both(metric)?, unit)));
    let ((own, theirs), unit) = compared.ok_or("nothing to compare")?;
    Ok(difference(own, theirs, unit))
}

fn count(bench: &Bench<'_>, kind: Kind, setting: &Setting) -> Outcome<String> {
    let own = closed::count(bench, kind, setting, closed::get, UNITS_COUNTED)?;
    let own = median(&[own], Metric::UserInstructions).ok_or("nothing was counted")?;
    let work = |seconds| move |proxy| wrk(proxy, seconds).map(|done| done.units);
    let theirs = counted::count(bench, kind, setting, work(SECONDS_BEFORE), work(SECONDS_BEFORE + SECONDS))?;
    Ok(difference(own, theirs, "instructions in user mode"))
}

fn difference(own: f64, theirs: f64, unit: &str) -> String {
    let percent = (own / theirs - 1.0) * 100.0;
    format!("{own:.2} and {theirs:.2} {unit} per request, {percent:+.1} %")
}

/// Runs on the load's CPU, where the calling thread is pinned.
fn wrk(proxy: SocketAddr, seconds: u64) -> Outcome<Done> {
    let mut command = Command::new("wrk");
    command.args(["--threads", "1", "--connections", &CONNECTIONS.to_string()]);
    command.args(["--duration", &format!("{seconds}s"), "--timeout", "10s"]);
    for line in work::field_lines() {
        command.args(["--header", line]);
    }
    command.arg(format!("http://{proxy}{}", work::TARGET)).stdin(Stdio::null());
    let start = Instant::now();
    let output = command.output().map_err(|error| format!("wrk does not run: {error}"))?;
    let elapsed = start.elapsed();
    let text = String::from_utf8_lossy(&output.stdout);
    let failed = !output.status.success() || text.contains("Socket errors") || text.contains("Non-2xx");
    let units = text.lines().find_map(|line| line.split_once(" requests in ")?.0.trim().parse().ok());
    let problem = || format!("wrk failed: {text}{}", String::from_utf8_lossy(&output.stderr));
    Ok(Done { units: units.filter(|_| !failed).ok_or_else(problem)?, elapsed })
}

fn median(samples: &[Sample], metric: Metric) -> Option<f64> {
    let of = |sample: &Sample| sample.iter().find(|(of, _)| *of == metric).map(|(_, value)| *value);
    let mut values: Vec<f64> = samples.iter().filter_map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
