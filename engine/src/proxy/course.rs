//! What a request takes with it from try to try: its places, its connection, and what it may still do.

use std::net::IpAddr;
use std::time::Duration;

use crate::error::Error;
use crate::upstream::{Asking, Backend, GateHandle, Picked, Running, StateOf, Tried, Upstream};

/// A place behind a gate, given back when it is dropped.
pub(super) struct Place {
    pub(super) gate: GateHandle,
    /// A tunnel keeps it.
    pub(super) for_tunnels: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.leave();
    }
}

/// The places of an exchange.
pub(super) struct Places {
    pub(super) site: Option<Place>,
    pub(super) upstream: Place,
}

impl Places {
    /// The places that a tunnel keeps.
    pub(super) fn for_tunnel(self) -> [Option<Place>; 2] {
        [self.site, Some(self.upstream)].map(|place| place.filter(|place| place.for_tunnels))
    }
}

/// How a request stands with its tries.
pub(super) struct Course {
    /// What the choice of the next backend looks at.
    asking: Asking,
    /// Retries that are left.
    retries: u8,
    /// How long the tries that failed have kept it waiting. All tries share the time until a response head.
    spent: Duration,
}

impl Course {
    /// A request may be tried `retries` times more than once.
    pub(super) fn begin(retries: u8, client: Option<IpAddr>) -> Self {
        // Each choice sets its time.
        let asking = Asking { client, tried: Tried::default(), now_ms: 0 };
        Self { asking, retries, spent: Duration::ZERO }
    }

    /// Chooses a backend that was not tried, and notes it; `now_ms` is in milliseconds since the process started.
    pub(super) fn choose(&mut self, upstream: &Upstream, now_ms: u64) -> Option<Picked> {
        self.asking.now_ms = now_ms;
        let picked = upstream.picker.pick(&upstream.roster, &self.asking)?;
        self.asking.tried.add(picked.member);
        Some(picked)
    }

    /// All of the upstream's backends were tried.
    pub(super) fn has_tried_all(&self, upstream: &Upstream) -> bool {
        self.asking.tried.count() >= upstream.roster.members.len()
    }

    /// Takes a retry; `false` when none is left.
    pub(super) fn take_retry(&mut self) -> bool {
        let left = self.retries.checked_sub(1);
        self.retries = left.unwrap_or(0);
        left.is_some()
    }

    /// It was tried before.
    pub(super) fn is_retried(&self) -> bool {
        self.asking.tried.count() > 1 || !self.spent.is_zero()
    }

    /// A try has failed for which the request waited since `since_ms`.
    pub(super) fn spend(&mut self, since_ms: u64, now_ms: u64) {
        self.spent += Duration::from_millis(now_ms.saturating_sub(since_ms));
    }

    /// What is left of the time until a response head.
    pub(super) fn left(&self, response: Duration) -> Duration {
        response.saturating_sub(self.spent)
    }

    /// How long a backend may take for something that may take `whole`: no longer than is left of `response`, once other
    /// tries have taken of that.
    pub(super) fn patience(&self, whole: Duration, response: Duration) -> Patience {
        if self.spent.is_zero() {
            return Patience { given: whole, is_fair: true };
        }
        let given = whole.min(self.left(response));
        Patience { given, is_fair: given >= whole / 2 }
    }
}

/// How long a backend may take for something.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    pub(super) given: Duration,
    /// It is judged when it takes longer. Where others have used up most of the time, it is not.
    is_fair: bool,
}

impl Patience {
    /// Whether `error` says something about the backend that had this.
    pub(super) fn judges(self, error: Error) -> bool {
        self.is_fair || !matches!(error, Error::UpstreamConnectTimeout | Error::UpstreamTimeout)
    }
}

/// A connection to a backend, for one try.
pub(super) struct Link {
    pub(super) picked: Picked,
    pub(super) backend: Box<Backend>,
    pub(super) running: Running<StateOf>,
}

impl Link {
    /// The backend's own authority.
    pub(super) fn authority<'u>(&self, upstream: &'u Upstream) -> &'u str {
        upstream.roster.members.get(self.picked.member).map_or("", |member| &member.authority)
    }
}
