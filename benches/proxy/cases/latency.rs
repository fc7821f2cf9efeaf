//! Latency at a rate that every proxy of the run can bear: half of the saturation of the slowest.

use super::CONNECTIONS;
use crate::Outcome;
use crate::bench::Bench;
use crate::counters::Threads;
use crate::load::{Exchanges, Limit, Load, Requests, Schedule};
use crate::model::Sample;
use crate::peers::Proxy;

/// Requests per second of a closed loop.
pub(super) fn saturation(bench: &Bench<'_>, proxy: &Proxy) -> Outcome<f64> {
    let mut load = Exchanges::connect(proxy.address(), CONNECTIONS, Requests::get(1))?;
    load.run(Limit::time(bench.warm_up()))?;
    let done = load.run(Limit::time(bench.measured()))?;
    Ok(done.units as f64 / done.elapsed.as_secs_f64())
}

/// Latencies, and what a request costs while the proxy has time left.
pub(super) fn round(bench: &Bench<'_>, proxy: &Proxy, rate: f64) -> Outcome<Sample> {
    let mut load = Schedule::connect(proxy.address(), CONNECTIONS, Requests::get(1))?;
    load.run(rate, bench.warm_up(), None)?;
    let meter = bench.meter(proxy, Threads::All)?;
    let latencies = load.run(rate, bench.measured(), None)?;
    let mut sample = latencies.sample();
    sample.extend(meter.finish(latencies.count(), latencies.elapsed)?);
    Ok(sample)
}
