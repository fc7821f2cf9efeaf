//! Counters and latencies. Each worker writes its own block, relaxed and without contention; whoever reads merges them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use histogram::{AtomicHistogram, Histogram};

use crate::respond::{CODE_NAMES, CODES};

/// Status classes 1xx to 5xx, and 0 for what got no status.
const CLASSES: usize = 6;
/// Latencies are kept in microseconds with a relative error below 1 / 2^5, up to 2^36 us (19 hours).
const GROUPING_POWER: u8 = 5;
const MAX_VALUE_POWER: u8 = 36;

/// A counter with one writer.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub(crate) fn sub(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(n), Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One worker's counters. Aligned so that no two workers write to the same cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Counters {
    pub(crate) requests: Counter,
    pub(crate) active: Counter,
    pub(crate) connections: Counter,
    pub(crate) accepted: Counter,
    pub(crate) tunnels: Counter,
    pub(crate) panics: Counter,
    pub(crate) bytes_from_clients: Counter,
    pub(crate) bytes_to_clients: Counter,
    pub(crate) upstream_connects: Counter,
    pub(crate) resends: Counter,
    pub(crate) log_lines_dropped: Counter,
    by_class: [Counter; CLASSES],
    by_code: [Counter; CODES],
    latency: AtomicHistogram,
}

impl Counters {
    pub(crate) fn new() -> Arc<Self> {
        let latency = AtomicHistogram::new(GROUPING_POWER, MAX_VALUE_POWER);
        Arc::new(Self {
            requests: Counter::default(),
            active: Counter::default(),
            connections: Counter::default(),
            accepted: Counter::default(),
            tunnels: Counter::default(),
            panics: Counter::default(),
            bytes_from_clients: Counter::default(),
            bytes_to_clients: Counter::default(),
            upstream_connects: Counter::default(),
            resends: Counter::default(),
            log_lines_dropped: Counter::default(),
            by_class: Default::default(),
            by_code: Default::default(),
            latency: latency.expect("the powers are constants that fit"),
        })
    }

    /// Counts a status that was sent; 0 for an exchange that ended without one.
    pub(crate) fn status(&self, status: u16) {
        self.by_class[usize::from(status / 100).min(CLASSES - 1)].add(1);
    }

    /// Counts the time that an exchange took.
    pub(crate) fn latency(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        // Longer than the histogram spans: it counts as the longest.
        let _ = self.latency.increment(micros.min((1 << MAX_VALUE_POWER) - 1));
    }

    /// Counts an error by its place in the list of codes.
    pub(crate) fn error(&self, code: usize) {
        if let Some(counter) = self.by_code.get(code) {
            counter.add(1);
        }
    }
}

/// What all workers counted, since the start.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Requests whose head was read.
    pub requests: u64,
    /// Exchanges under way.
    pub active: u64,
    /// Open client connections, tunnels included.
    pub connections: u64,
    /// Client connections that were accepted.
    pub accepted: u64,
    /// Open tunnels.
    pub tunnels: u64,
    /// Connections that ended in a panic of ours.
    pub panics: u64,
    /// Bytes read from clients.
    pub bytes_from_clients: u64,
    /// Bytes written to clients.
    pub bytes_to_clients: u64,
    /// Connections made to backends.
    pub upstream_connects: u64,
    /// Requests that were sent once more because a reused connection had gone.
    pub resends: u64,
    /// Access log lines that were dropped because the writer did not keep up.
    pub log_lines_dropped: u64,
    /// Responses by status class; index 0 counts exchanges that got none.
    pub by_class: [u64; CLASSES],
    /// Errors that Ringway answered or saw, by code; those that occurred.
    pub errors: Vec<(&'static str, u64)>,
    /// The 50th, 90th, 99th and 99.9th percentile of an exchange's time in microseconds, when there were any.
    pub latency_us: Option<[u64; 4]>,
}

/// The quantiles of [`Stats::latency_us`].
const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

impl Stats {
    pub(crate) fn merge<'a>(workers: impl Iterator<Item = &'a Counters>) -> Self {
        let mut stats = Self::default();
        let mut codes = [0; CODES];
        let mut latency: Option<Histogram> = None;
        for worker in workers {
            stats.add(worker);
            codes.iter_mut().zip(&worker.by_code).for_each(|(sum, counter)| *sum += counter.get());
            latency = Some(match latency {
                None => worker.latency.load(),
                Some(sum) => sum.wrapping_add(&worker.latency.load()).unwrap_or(sum),
            });
        }
        let occurred = CODE_NAMES.into_iter().zip(codes).filter(|&(_, count)| count > 0);
        stats.errors = occurred.collect();
        stats.latency_us = latency.and_then(|histogram| percentiles(&histogram));
        stats
    }

    fn add(&mut self, worker: &Counters) {
        self.requests += worker.requests.get();
        self.active += worker.active.get();
        self.connections += worker.connections.get();
        self.accepted += worker.accepted.get();
        self.tunnels += worker.tunnels.get();
        self.panics += worker.panics.get();
        self.bytes_from_clients += worker.bytes_from_clients.get();
        self.bytes_to_clients += worker.bytes_to_clients.get();
        self.upstream_connects += worker.upstream_connects.get();
        self.resends += worker.resends.get();
        self.log_lines_dropped += worker.log_lines_dropped.get();
        self.by_class.iter_mut().zip(&worker.by_class).for_each(|(sum, counter)| *sum += counter.get());
    }
}

fn percentiles(histogram: &Histogram) -> Option<[u64; 4]> {
    let mut found = [0; 4];
    for (value, quantile) in found.iter_mut().zip(QUANTILES) {
        *value = histogram.quantile_bucket(quantile).ok()??.end();
    }
    Some(found)
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [none, c1, c2, c3, c4, c5] = self.by_class;
        write!(f, "{} requests on {} connections", self.requests, self.accepted)?;
        write!(f, "; 1xx {c1}, 2xx {c2}, 3xx {c3}, 4xx {c4}, 5xx {c5}, unanswered {none}")?;
        write!(f, "; {} bytes in, {} bytes out", self.bytes_from_clients, self.bytes_to_clients)?;
        write!(f, "; {} upstream connections, {} resends", self.upstream_connects, self.resends)?;
        if let Some([p50, p90, p99, p999]) = self.latency_us {
            write!(f, "; latency p50 {p50} us, p90 {p90} us, p99 {p99} us, p99.9 {p999} us")?;
        }
        for (code, count) in &self.errors {
            write!(f, "; {code} {count}")?;
        }
        for (what, count) in [("panics", self.panics), ("log lines dropped", self.log_lines_dropped)] {
            if count > 0 {
                write!(f, "; {what} {count}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_add_up() {
        let (one, two) = (Counters::new(), Counters::new());
        one.requests.add(2);
        one.status(200);
        one.latency(Duration::from_micros(100));
        two.status(503);
        two.latency(Duration::from_micros(100));
        two.error(0);
        let stats = Stats::merge([&*one, &*two].into_iter());
        assert_eq!((stats.requests, stats.by_class), (2, [0, 0, 1, 0, 0, 1]));
        assert_eq!(stats.errors, [("bad_request", 1)]);
        let [p50, ..] = stats.latency_us.unwrap();
        assert!((100..=104).contains(&p50), "{p50}");
    }
}
