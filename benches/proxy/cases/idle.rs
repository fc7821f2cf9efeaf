//! The memory of client connections that wait for their next request, and what stays of it once they have gone.

use super::CONNECTIONS;
use crate::Outcome;
use crate::bench::Bench;
use crate::counters::memory::{Memory, descriptors};
use crate::load::{Exchanges, Idle, Limit, Load, Requests};
use crate::model::{Metric, Sample, Setting};
use crate::peers::{Kind, Wrapper};
use std::time::{Duration, Instant};

/// Enough for pools and buffers to have their size.
const WARM_UP_REQUESTS: u64 = 5_000;

/// How long a proxy may take to close connections whose clients have gone.
const CLOSE: Duration = Duration::from_secs(10);
/// How long the memory may take to settle.
const SETTLE: Duration = Duration::from_secs(15);
/// Memory that was the same for so long has settled: proxies give back what they do not need after some seconds only.
const STILL: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

/// A fresh process each time: what an earlier peak has left would hide the growth.
pub(super) fn round(bench: &Bench<'_>, kind: Kind, setting: &Setting) -> Outcome<Sample> {
    let proxy = bench.start(kind, setting, Wrapper::None)?;
    let pids = proxy.pids();
    Exchanges::connect(proxy.address(), CONNECTIONS, Requests::get(1))?
        .run(Limit::units(WARM_UP_REQUESTS))?;
    let before = settled(&pids)?;
    let open = descriptors(&pids)?;
    let connections = bench.idle_connections();
    let idle = Idle::open(proxy.address(), connections)?;
    let peak = settled(&pids)?;
    let grown_bytes = (peak.proportional_kib as f64 - before.proportional_kib as f64) * 1024.0;
    let mut sample = vec![(Metric::BytesPerConnection, grown_bytes / connections as f64)];
    drop(idle);
    // There is no time for it in a quick run.
    if !bench.plan.quick {
        closed(&pids, open)?;
        let after = settled(&pids)?;
        sample.push((Metric::ResidentLeft, after.resident_kib as f64 - before.resident_kib as f64));
    }
    Ok(sample)
}

/// Waits until no more descriptors are open than `open`.
fn closed(pids: &[u32], open: usize) -> Outcome<()> {
    let start = Instant::now();
    while descriptors(pids)? > open {
        if start.elapsed() > CLOSE {
            return Err(format!("connections are still open {CLOSE:?} after their clients have gone"));
        }
        look();
    }
    Ok(())
}

/// The memory once it stays the same.
fn settled(pids: &[u32]) -> Outcome<Memory> {
    let start = Instant::now();
    let (mut since, mut last) = (start, Memory::of(pids)?);
    while since.elapsed() < STILL && start.elapsed() < SETTLE {
        look();
        let now = Memory::of(pids)?;
        if now.resident_kib != last.resident_kib {
            since = Instant::now();
        }
        last = now;
    }
    Ok(last)
}

fn look() {
    #[expect(clippy::disallowed_methods, reason = "between two looks, until a deadline")]
    std::thread::sleep(LOOK);
}
