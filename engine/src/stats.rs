//! Counters and latencies. Each worker writes its own block, relaxed and without contention; whoever reads merges them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use histogram::{Config, Histogram};

use crate::respond::{CODE_NAMES, CODES};

/// Status classes 1xx to 5xx, and 0 for what got no status.
const CLASSES: usize = 6;
/// Latencies are kept in microseconds with a relative error below 1 / 2^5, up to 2^36 us (19 hours).
const GROUPING_POWER: u8 = 5;
const MAX_VALUE_POWER: u8 = 36;
/// The longest latency that is told from others, in microseconds; longer ones count as this one.
const MAX_LATENCY_US: u64 = (1 << MAX_VALUE_POWER) - 1;
const BUCKETS: usize = latency_bucket(MAX_LATENCY_US) + 1;

const _: () = match Config::new(GROUPING_POWER, MAX_VALUE_POWER) {
    Ok(config) => assert!(config.total_buckets() == BUCKETS),
    Err(_) => panic!("the powers are constants that fit"),
};

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
    pub(crate) refused: Counter,
    pub(crate) tunnels: Counter,
    pub(crate) panics: Counter,
    pub(crate) bytes_from_clients: Counter,
    pub(crate) bytes_to_clients: Counter,
    pub(crate) upstream_connects: Counter,
    pub(crate) resends: Counter,
    pub(crate) retries: Counter,
    pub(crate) log_lines_dropped: Counter,
    by_class: [Counter; CLASSES],
    by_code: [Counter; CODES],
    latency: [Counter; BUCKETS],
}

impl Counters {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            requests: Counter::default(),
            active: Counter::default(),
            connections: Counter::default(),
            accepted: Counter::default(),
            refused: Counter::default(),
            tunnels: Counter::default(),
            panics: Counter::default(),
            bytes_from_clients: Counter::default(),
            bytes_to_clients: Counter::default(),
            upstream_connects: Counter::default(),
            resends: Counter::default(),
            retries: Counter::default(),
            log_lines_dropped: Counter::default(),
            by_class: Default::default(),
            by_code: std::array::from_fn(|_| Counter::default()),
            latency: [const { Counter(AtomicU64::new(0)) }; BUCKETS],
        })
    }

    /// Counts a status that was sent; 0 for an exchange that ended without one.
    pub(crate) fn status(&self, status: u16) {
        self.by_class[usize::from(status / 100).min(CLASSES - 1)].add(1);
    }

    /// Counts the time that an exchange took.
    pub(crate) fn latency(&self, took: Duration) {
        // Seconds that do not fit are beyond the longest.
        let micros = took.as_secs().saturating_mul(1_000_000).saturating_add(took.subsec_micros().into());
        self.latency[latency_bucket(micros.min(MAX_LATENCY_US))].add(1);
    }

    /// Counts an error by its place in the list of codes.
    pub(crate) fn error(&self, code: usize) {
        if let Some(counter) = self.by_code.get(code) {
            counter.add(1);
        }
    }
}

/// The place of a latency among the buckets, as the histogram has it: exact at first, then 2^[`GROUPING_POWER`] for each
/// power of two. Here and not there, because there an increment is locked.
const fn latency_bucket(micros: u64) -> usize {
    // The bits that a bucket does not tell apart.
    let vague = (63 - (micros | 1).leading_zeros()).saturating_sub(GROUPING_POWER as u32);
    ((vague as usize) << GROUPING_POWER) + (micros >> vague) as usize
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
    /// Client connections that were closed at once: their client had as many as it may.
    pub refused: u64,
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
    /// Requests that were tried at another backend; one may be several times.
    pub retries: u64,
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
        let mut latency = vec![0; BUCKETS];
        for worker in workers {
            stats.add(worker);
            codes.iter_mut().zip(&worker.by_code).for_each(|(sum, counter)| *sum += counter.get());
            latency.iter_mut().zip(&worker.latency).for_each(|(sum, counter)| *sum += counter.get());
        }
        let occurred = CODE_NAMES.into_iter().zip(codes).filter(|&(_, count)| count > 0);
        stats.errors = occurred.collect();
        let latency = Histogram::from_buckets(GROUPING_POWER, MAX_VALUE_POWER, latency);
        stats.latency_us = percentiles(&latency.expect("the buckets are the histogram's"));
        stats
    }

    fn add(&mut self, worker: &Counters) {
        self.requests += worker.requests.get();
        self.active += worker.active.get();
        self.connections += worker.connections.get();
        self.accepted += worker.accepted.get();
        self.refused += worker.refused.get();
        self.tunnels += worker.tunnels.get();
        self.panics += worker.panics.get();
        self.bytes_from_clients += worker.bytes_from_clients.get();
        self.bytes_to_clients += worker.bytes_to_clients.get();
        self.upstream_connects += worker.upstream_connects.get();
        self.resends += worker.resends.get();
        self.retries += worker.retries.get();
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
        write!(f, "; {} upstream connections", self.upstream_connects)?;
        write!(f, ", {} resends, {} retries", self.resends, self.retries)?;
        if let Some([p50, p90, p99, p999]) = self.latency_us {
            write!(f, "; latency p50 {p50} us, p90 {p90} us, p99 {p99} us, p99.9 {p999} us")?;
        }
        for (code, count) in &self.errors {
            write!(f, "; {code} {count}")?;
        }
        let rare = [
            ("connections refused", self.refused),
            ("panics", self.panics),
            ("log lines dropped", self.log_lines_dropped),
        ];
        for (what, count) in rare {
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
    fn buckets_are_the_histograms() {
        let powers = (0..MAX_VALUE_POWER).map(|power| 1_u64 << power);
        let micros = powers.flat_map(|power| [power - 1, power, power + power / 3, 2 * power - 1]);
        for micros in micros {
            let mut histogram = Histogram::new(GROUPING_POWER, MAX_VALUE_POWER).unwrap();
            histogram.increment(micros).unwrap();
            assert_eq!(histogram.as_slice()[latency_bucket(micros)], 1, "{micros}");
        }
        let counters = Counters::new();
        counters.latency(Duration::MAX);
        assert_eq!(counters.latency[BUCKETS - 1].get(), 1);
    }

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
