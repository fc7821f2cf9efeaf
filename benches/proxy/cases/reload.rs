//! New configurations of 10,000 rules under load, one after the other.

use super::{CONNECTIONS, RULES};
use crate::Outcome;
use crate::bench::Bench;
use crate::counters::Threads;
use crate::load::{Exchanges, Limit, Load, Requests, Schedule};
use crate::model::{Sample, Setting};
use crate::peers::Proxy;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// No reload takes so long.
const TIME: Duration = Duration::from_secs(120);

/// The cost of a request to the workers under a closed loop, and latencies at half the rate of that, with half of the
/// reloads in each part. The proxy compiles on the CPU on which its worker serves.
pub(super) fn round(bench: &Bench<'_>, proxy: &mut Proxy, setting: &Setting) -> Outcome<Sample> {
    let address = proxy.address();
    let mut load = Exchanges::connect(address, CONNECTIONS, Requests::of_rules(RULES))?;
    load.run(Limit::time(bench.warm_up()))?;
    let meter = bench.meter(proxy, Threads::Workers)?;
    let done = while_reloading(bench, proxy, setting, |stop| {
        load.run(Limit { units: u64::MAX, time: TIME, stop: Some(stop) })
    })?;
    let mut sample = meter.finish(done.units, done.elapsed)?;
    drop(load);

    let rate = done.units as f64 / done.elapsed.as_secs_f64() / 2.0;
    let mut load = Schedule::connect(address, CONNECTIONS, Requests::of_rules(RULES))?;
    load.run(rate, bench.warm_up(), None)?;
    let latencies = while_reloading(bench, proxy, setting, |stop| load.run(rate, TIME, Some(stop)))?;
    sample.extend(latencies.sample());
    Ok(sample)
}

/// Reloads in a thread of its own until it is done, which stops the load.
fn while_reloading<T>(
    bench: &Bench<'_>,
    proxy: &mut Proxy,
    setting: &Setting,
    load: impl FnOnce(&AtomicBool) -> Outcome<T>,
) -> Outcome<T> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reloads = scope.spawn(|| {
            let outcome = reload(bench.reloads() / 2, proxy, setting, &stop);
            stop.store(true, Ordering::Relaxed);
            outcome
        });
        let done = load(&stop);
        // A load that failed ends the reloads too.
        stop.store(true, Ordering::Relaxed);
        reloads.join().map_err(|_| "the thread that reloads panicked".to_owned())??;
        done
    })
}

/// Each configuration differs from the one before, by a rule that nothing asks for.
fn reload(times: usize, proxy: &mut Proxy, setting: &Setting, stop: &AtomicBool) -> Outcome<()> {
    for time in 0..times {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let rules = setting.rules + 1 - time % 2;
        proxy.reload(&Setting { rules, ..setting.clone() })?;
    }
    Ok(())
}
