//! What became of backends, told to the control thread: each change of a standing once, with its cause.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::net::dial::Address;

/// Events that wait for the control thread. It takes them at once, unless it is held up; what comes then is counted.
const EVENTS_WAITING_MAX: usize = 1024;

/// What kind of failure was met at a backend, by a request or a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The connection was refused, or the address cannot be reached.
    Refused,
    /// The connection was not made in time.
    ConnectTimeout,
    /// Closed or reset before a response head.
    Closed,
    /// What came is no HTTP.
    BadResponse,
    /// No response head in time.
    Timeout,
    /// A status that counts as a failure.
    Status(u16),
}

impl Failed {
    /// A name for programs to look at; it stays the same from version to version.
    pub fn id(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::Closed => "closed",
            Self::BadResponse => "bad_response",
            Self::Timeout => "timeout",
            Self::Status(_) => "status",
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("the connection is refused, or the address cannot be reached"),
            Self::ConnectTimeout => f.write_str("no connection in time"),
            Self::Closed => f.write_str("closed before a response head"),
            Self::BadResponse => f.write_str("the response is no HTTP"),
            Self::Timeout => f.write_str("no response head in time"),
            Self::Status(status) => write!(f, "status {status}"),
        }
    }
}

/// Why a backend's standing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Requests failed in a row; the last one so.
    Request(Failed),
    /// Probes failed in a row; the last one so.
    Probe(Failed),
    /// A probe, or as many in a row as it takes, found it alive.
    ProbeSucceeded,
    /// It answered a request that had nowhere else to go.
    RequestSucceeded,
    /// The pool has become so small that no more than its bound may be away.
    PoolShrank,
    /// A person said so.
    ByHand,
}

impl Cause {
    /// A name for programs to look at; it stays the same from version to version.
    pub fn id(self) -> &'static str {
        match self {
            Self::Request(failed) => failed.id(),
            Self::Probe(_) => "probe_failed",
            Self::ProbeSucceeded => "probe_succeeded",
            Self::RequestSucceeded => "request_succeeded",
            Self::PoolShrank => "pool_shrank",
            Self::ByHand => "by_hand",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(failed) => failed.fmt(f),
            Self::Probe(failed) => write!(f, "probe failed: {failed}"),
            Self::ProbeSucceeded => f.write_str("probe succeeded"),
            Self::RequestSucceeded => f.write_str("it answered a request"),
            Self::PoolShrank => f.write_str("the pool became smaller, and so many may not be away"),
            Self::ByHand => f.write_str("by hand"),
        }
    }
}

/// What keeps an ill backend in its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// No other is available.
    LastAvailable,
    /// As many as `max_ejected` allows are away.
    MaxEjected,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LastAvailable => "no other is available",
            Self::MaxEjected => "max_ejected are away",
        })
    }
}

/// What became of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Failures took it out.
    Ejected,
    /// Failures would have taken it out, and a bound kept it in. Told once until it succeeds or is ejected.
    Spared(Bound),
    /// It takes part again.
    Recovered,
    /// A person took it out.
    MarkedDead,
    /// A person brought it back.
    MarkedAlive,
}

impl Change {
    /// A name for programs to look at; it stays the same from version to version.
    pub fn id(self) -> &'static str {
        match self {
            Self::Ejected => "backend_ejected",
            Self::Spared(_) => "backend_spared",
            Self::Recovered => "backend_recovered",
            Self::MarkedDead => "backend_marked_dead",
            Self::MarkedAlive => "backend_marked_alive",
        }
    }
}

/// A change of a backend's standing, or one that a bound held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The backend's address.
    pub backend: Address,
    /// What became of it.
    pub change: Change,
    /// Why.
    pub cause: Cause,
    /// How many of the upstream's addresses are available since then.
    pub available: usize,
    /// How many addresses the upstream has.
    pub members: usize,
    /// When, in milliseconds since the process started.
    pub at_ms: u64,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { backend, cause, .. } = self;
        match self.change {
            Change::Ejected => write!(f, "backend {backend} ejected: {cause}"),
            Change::Spared(bound) => {
                write!(f, "backend {backend} fails and is not ejected, as {bound}: {cause}")
            }
            Change::Recovered => write!(f, "backend {backend} takes part again: {cause}"),
            Change::MarkedDead => write!(f, "backend {backend} marked dead: {cause}"),
            Change::MarkedAlive => write!(f, "backend {backend} marked alive: {cause}"),
        }
    }
}

/// Events on their way to the control thread. Pushing is for changes of standings alone: rare, whatever comes.
#[derive(Default)]
pub(crate) struct Events {
    waiting: Mutex<VecDeque<Event>>,
    dropped: AtomicU64,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Events {
    /// Hands an event over and wakes the control thread. One too many is dropped and counted.
    pub(crate) fn push(&self, event: Event) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < EVENTS_WAITING_MAX {
            waiting.push_back(event);
        } else {
            self.dropped.fetch_add(1, Relaxed);
        }
        drop(waiting);
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }

    /// All that wait, oldest first, and how many were dropped since the last call.
    pub(crate) fn take(&self) -> (Vec<Event>, u64) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        (waiting.into(), self.dropped.swap(0, Relaxed))
    }

    /// Says what is called, on any thread, whenever an event waits; and calls it, as one may wait already. The first call
    /// holds.
    pub(crate) fn on_push(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.wake.get_or_init(|| Box::new(wake))();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    fn event(at_ms: u64) -> Event {
        Event {
            upstream: "u".into(),
            backend: Address::Tcp("127.0.0.1:1".parse().unwrap()),
            change: Change::Ejected,
            cause: Cause::Request(Failed::Refused),
            available: 1,
            members: 2,
            at_ms,
        }
    }

    #[test]
    fn events_come_in_order_and_too_many_are_counted() {
        let events = Events::default();
        (0..EVENTS_WAITING_MAX as u64 + 3).for_each(|at_ms| events.push(event(at_ms)));
        let (waiting, dropped) = events.take();
        assert_eq!((waiting.len(), dropped), (EVENTS_WAITING_MAX, 3));
        assert!(waiting.iter().map(|event| event.at_ms).eq(0..EVENTS_WAITING_MAX as u64));
        assert_eq!(events.take(), (Vec::new(), 0));
    }

    #[test]
    fn each_event_wakes() {
        let (events, woken) = (Events::default(), Arc::new(AtomicUsize::new(0)));
        events.push(event(1));
        let count = woken.clone();
        events.on_push(move || _ = count.fetch_add(1, Relaxed));
        assert_eq!(woken.load(Relaxed), 1);
        events.push(event(2));
        assert_eq!(woken.load(Relaxed), 2);
    }

    #[test]
    fn an_event_says_what_and_why() {
        let said = |change, cause| Event { change, cause, ..event(0) }.to_string();
        assert_eq!(
            said(Change::Ejected, Cause::Probe(Failed::Status(503))),
            "backend 127.0.0.1:1 ejected: probe failed: status 503"
        );
        assert_eq!(
            said(Change::Spared(Bound::LastAvailable), Cause::Request(Failed::Timeout)),
            "backend 127.0.0.1:1 fails and is not ejected, as no other is available: no response head in time"
        );
        assert_eq!(
            said(Change::Recovered, Cause::ProbeSucceeded),
            "backend 127.0.0.1:1 takes part again: probe succeeded"
        );
    }
}
