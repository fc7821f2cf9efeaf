//! Small requests at a fixed rate: an open loop.
//!
//! Each request has a moment at which it is to start, and its latency counts from then: when the proxy stands still,
//! the requests that could not start meanwhile have waited too, as the users behind them would have. A closed loop
//! would not send them at all, and so leave the worst out (coordinated omission).

use super::connection::{Connection, READ_BYTES};
use super::{Poller, Requests};
use crate::Outcome;
use crate::model::{Metric, Sample};
use crate::work::Known;
use mio::unix::SourceFd;
use mio::{Interest, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const TIMER: Token = Token(usize::MAX);

/// The fewest nanoseconds between two ticks of the timer: what is due between them starts together.
const TICK_NS_MIN: u64 = 20_000;

/// Connections that start requests by a schedule, each on whichever is free.
pub(crate) struct Schedule {
    poller: Poller,
    timer: TimerFd,
    connections: Vec<Connection>,
    /// In turn, so that all of them are used.
    free: VecDeque<usize>,
    /// When the request was to start that each connection waits for, in nanoseconds since the start of the run.
    due_ns: Vec<u64>,
    requests: Requests,
    known: Known,
    read: Vec<u8>,
}

impl Schedule {
    pub(crate) fn connect(proxy: SocketAddr, connections: usize, requests: Requests) -> Outcome<Self> {
        let poller = Poller::new().map_err(|error| format!("nothing to wait with: {error}"))?;
        let open = |token| Connection::open(&poller, proxy, token);
        let connections = (0..connections).map(open).collect::<Outcome<Vec<_>>>()?;
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC);
        let timer = timer.map_err(|error| format!("no timer: {error}"))?;
        let descriptor = timer.as_fd().as_raw_fd();
        let register = poller.poll.registry().register(&mut SourceFd(&descriptor), TIMER, Interest::READABLE);
        register.map_err(|error| format!("the timer cannot be waited for: {error}"))?;
        let (free, due_ns) = ((0..connections.len()).collect(), vec![0; connections.len()]);
        let read = vec![0; READ_BYTES];
        Ok(Schedule { poller, timer, connections, free, due_ns, requests, known: Known::default(), read })
    }

    /// Starts `rate` requests per second, evenly, for `time` or until it is stopped, and waits for all responses.
    pub(crate) fn run(&mut self, rate: f64, time: Duration, stop: Option<&AtomicBool>) -> Outcome<Latencies> {
        let interval_ns = 1e9 / rate;
        let mut total = (time.as_secs_f64() * rate) as u64;
        let mut latencies = Latencies { nanos: Vec::with_capacity(total as usize), elapsed: Duration::ZERO };
        let start = Instant::now();
        self.tick(interval_ns as u64)?;
        let mut begun = 0;
        loop {
            let now_ns = start.elapsed().as_nanos() as u64;
            if stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                total = begun;
            }
            while begun < total && (begun as f64 * interval_ns) as u64 <= now_ns {
                let Some(key) = self.free.pop_front() else { break };
                self.due_ns[key] = (begun as f64 * interval_ns) as u64;
                self.connections[key].send(self.requests.next())?;
                begun += 1;
            }
            if begun == total && latencies.nanos.len() as u64 == total {
                break;
            }
            self.poller.wait()?;
            self.receive(start, &mut latencies)?;
        }
        latencies.elapsed = start.elapsed();
        latencies.nanos.sort_unstable();
        // Stays as it is when that fails: ticks that nobody waits for.
        let _ = self.timer.unset();
        Ok(latencies)
    }

    fn tick(&self, interval_ns: u64) -> Outcome<()> {
        let interval = TimeSpec::from_duration(Duration::from_nanos(interval_ns.max(TICK_NS_MIN)));
        let set = self.timer.set(Expiration::Interval(interval), TimerSetTimeFlags::empty());
        set.map_err(|error| format!("the timer cannot be set: {error}"))
    }

    fn receive(&mut self, start: Instant, latencies: &mut Latencies) -> Outcome<()> {
        for event in &self.poller.events {
            let Token(key) = event.token();
            if event.token() == TIMER {
                // The next tick comes only after this; an error says that it was read already.
                let _ = self.timer.wait();
                continue;
            }
            let received = self.connections[key].receive(&mut self.read, &mut self.known)?;
            match (received.end, received.responses) {
                (false, 0) => {}
                (false, 1) => {
                    let now_ns = start.elapsed().as_nanos() as u64;
                    latencies.nanos.push(now_ns - self.due_ns[key]);
                    self.free.push_back(key);
                }
                _ => {
                    return Err(
                        "a connection was closed, or brought a response that nobody asked for".to_owned()
                    );
                }
            }
        }
        Ok(())
    }
}

/// The latencies of a run.
pub(crate) struct Latencies {
    /// In order.
    nanos: Vec<u64>,
    pub(crate) elapsed: Duration,
}

impl Latencies {
    pub(crate) fn count(&self) -> u64 {
        self.nanos.len() as u64
    }

    /// Their percentiles, in microseconds.
    pub(crate) fn sample(&self) -> Sample {
        let figures =
            [(Metric::P50, 0.5), (Metric::P99, 0.99), (Metric::P999, 0.999), (Metric::Slowest, 1.0)];
        figures.into_iter().filter_map(|(metric, part)| Some((metric, self.at(part)?))).collect()
    }

    /// The latency that this part of all requests did not exceed.
    fn at(&self, part: f64) -> Option<f64> {
        let rank = (self.nanos.len() as f64 * part).ceil() as usize;
        self.nanos.get(rank.saturating_sub(1)).map(|&nanos| nanos as f64 / 1_000.0)
    }
}
