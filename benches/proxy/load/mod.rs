//! The load: clients of one proxy, in one thread that waits for all of them at once.
//!
//! Most are closed loops: each connection does the next unit of work once the last one is done, so that a proxy works
//! as much as it can. One is open: requests start when a schedule says so, whether or not the proxy is done with the
//! others.
//!
//! * `connection.rs`: a client connection that sends small requests and judges the responses
//! * `exchanges.rs`: small requests on connections that stay open, one or several at once
//! * `connects.rs`: a new connection for each request
//! * `bodies.rs`: large bodies, down or up
//! * `tunnels.rs`: messages in WebSocket tunnels
//! * `idle.rs`: connections that wait
//! * `schedule.rs`: small requests at a fixed rate

mod bodies;
mod connection;
mod connects;
mod exchanges;
mod idle;
mod schedule;
mod tunnels;

pub(crate) use bodies::Bodies;
pub(crate) use connects::Connects;
pub(crate) use exchanges::{Exchanges, Requests};
pub(crate) use idle::Idle;
pub(crate) use schedule::Schedule;
pub(crate) use tunnels::Tunnels;

use crate::Outcome;
use mio::{Events, Poll};
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Of all connections together; one unit of work takes microseconds, under an instrumenting tool milliseconds.
const SILENCE: Duration = Duration::from_secs(10);

/// A closed loop.
pub(crate) trait Load {
    /// Works until the limit is reached, and ends what has begun: every unit of it is right, or this is an error.
    fn run(&mut self, limit: Limit<'_>) -> Outcome<Done>;
}

/// When no more work is begun: whichever comes first.
#[derive(Clone, Copy)]
pub(crate) struct Limit<'a> {
    pub(crate) units: u64,
    pub(crate) time: Duration,
    pub(crate) stop: Option<&'a AtomicBool>,
}

impl Limit<'_> {
    pub(crate) fn time(time: Duration) -> Self {
        Limit { units: u64::MAX, time, stop: None }
    }

    /// So many units, which must be done within a time that is never reached unless something is broken.
    pub(crate) fn units(units: u64) -> Self {
        Limit { units, time: Duration::from_secs(300), stop: None }
    }
}

/// What a load did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Done {
    pub(crate) units: u64,
    pub(crate) elapsed: Duration,
}

/// Counts the units of a run against its limit.
struct Progress<'a> {
    limit: Limit<'a>,
    start: Instant,
    begun: u64,
    done: u64,
    over: bool,
}

impl<'a> Progress<'a> {
    fn new(limit: Limit<'a>) -> Self {
        Progress { limit, start: Instant::now(), begun: 0, done: 0, over: false }
    }

    /// Whether `units` more are to begin, which counts them.
    fn begins(&mut self, units: u64) -> bool {
        let begins = !self.over && self.begun < self.limit.units;
        if begins {
            self.begun += units;
        }
        begins
    }

    /// Whether all is done that has begun.
    fn is_done(&self) -> bool {
        self.done >= self.begun
    }

    /// Looks at the clock: once for all events that came together.
    fn look(&mut self) {
        let stopped = self.limit.stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
        self.over = stopped || self.start.elapsed() >= self.limit.time;
    }

    fn finish(self) -> Done {
        Done { units: self.done, elapsed: self.start.elapsed() }
    }
}

/// Waits for the events of all connections of a load.
struct Poller {
    poll: Poll,
    events: Events,
}

impl Poller {
    fn new() -> io::Result<Self> {
        Ok(Poller { poll: Poll::new()?, events: Events::with_capacity(1024) })
    }

    /// There may be no events after a signal.
    fn wait(&mut self) -> Outcome<()> {
        match self.poll.poll(&mut self.events, Some(SILENCE)) {
            Ok(()) if self.events.is_empty() => Err(format!("nothing came for {SILENCE:?}")),
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(format!("waiting failed: {error}")),
        }
    }
}
