//! A request at an upstream: it is counted, runs at a backend, and what comes of that is noted.

use std::cell::Cell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use ringway_config::Strategy;

use super::state::{BackendState, Member};
use super::{Backend, Choice, Failed, Picked, Upstream};
use crate::error::Error;
use crate::worker::Worker;

/// One request in about so many is timed where the strategy does not need each of them: reading the clock has its price. How
/// many are left out is drawn anew each time: a fixed number would meet the same backends again and again.
const TIMED_EACH: u32 = 16;

/// While it lives, an exchange or a tunnel runs at a backend.
pub(crate) struct Running<S: Deref<Target = BackendState>>(S);

impl<S: Deref<Target = BackendState>> Running<S> {
    fn begin(state: S) -> Self {
        state.running.fetch_add(1, Relaxed);
        Self(state)
    }
}

impl<S: Deref<Target = BackendState>> Drop for Running<S> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Relaxed);
    }
}

/// A member's state, by way of the worker's upstream, whose count no other worker touches.
pub(crate) struct StateOf {
    upstream: Rc<Upstream>,
    member: usize,
}

impl Deref for StateOf {
    type Target = BackendState;

    fn deref(&self) -> &BackendState {
        &self.upstream.roster.members[self.member].state
    }
}

/// One try of a request at one member.
pub(crate) struct Try<'a> {
    upstream: &'a Upstream,
    picked: Picked,
    timed: bool,
    /// When the last byte of the request was sent, where it is timed: how slowly a client sends says nothing about a backend.
    sent_at: Cell<Option<Instant>>,
}

impl Try<'_> {
    /// All of the request was sent.
    #[inline]
    pub(crate) fn sent(&self) {
        if self.timed {
            self.sent_at.set(Some(Instant::now()));
        }
    }

    /// The response head came.
    pub(crate) fn answered(&self, worker: &Worker, status: u16) {
        let roster = &self.upstream.roster;
        let now_ms = worker.now_ms();
        self.time(now_ms);
        if roster.config.health.unhealthy_status.contains(status) {
            return self.upstream.failed(worker, self.picked.member, Failed::Status(status));
        }
        if let Some(event) = roster.succeeded(self.picked.member, self.picked.choice, now_ms) {
            worker.shared.events.push(event);
        }
    }

    /// The time ran out: what was measured so far is the least that it takes.
    pub(crate) fn timed_out(&self, worker: &Worker) {
        self.time(worker.now_ms());
    }

    fn time(&self, now_ms: u64) {
        if let (Some(sent_at), Some(member)) = (self.sent_at.get(), self.upstream.member(self.picked.member))
        {
            member.state.latency.sample(sent_at.elapsed(), now_ms);
        }
    }
}

impl Upstream {
    fn member(&self, member: usize) -> Option<&Member> {
        self.roster.members.get(member)
    }

    /// Counts a request; the retry budget hears of it once in a while, and of when it was.
    #[inline]
    pub(crate) fn count_request(&self, now_ms: u64) {
        if self.begun_ms.get() != now_ms {
            self.tell_budget();
            self.begun_ms.set(now_ms);
        }
        self.begun.set(self.begun.get() + 1);
    }

    fn tell_budget(&self) {
        self.roster.state.budget.deposit(self.begun.take(), self.begun_ms.get());
    }

    /// Takes a retry out of the budget; `false` when none is left.
    pub(crate) fn withdraw_retry(&self, now_ms: u64) -> bool {
        self.tell_budget();
        self.roster.state.budget.withdraw(now_ms)
    }

    /// Gives back a retry that was withdrawn at `now_ms` and is not made.
    pub(crate) fn give_back_retry(&self, now_ms: u64) {
        self.roster.state.budget.give_back(now_ms);
    }

    /// A retry is made.
    pub(crate) fn count_retry(&self) {
        self.roster.state.retries.fetch_add(1, Relaxed);
    }

    /// From now on an exchange runs at a member.
    pub(crate) fn run(self: &Rc<Self>, member: usize) -> Running<StateOf> {
        Running::begin(StateOf { upstream: self.clone(), member })
    }

    /// From now on a tunnel runs at a member; it keeps nothing but the count.
    pub(crate) fn run_tunnel(&self, member: usize) -> Option<Running<Arc<BackendState>>> {
        Some(Running::begin(self.member(member)?.state.clone()))
    }

    /// An idle connection to a member.
    pub(crate) fn idle(&self, member: usize) -> Option<Box<Backend>> {
        self.endpoints.get(member)?.pool.take()
    }

    /// Keeps a connection for the next request.
    pub(crate) fn keep(&self, member: usize, backend: Box<Backend>, now: u64) {
        if let Some(endpoint) = self.endpoints.get(member) {
            endpoint.pool.put(backend, now);
        }
    }

    /// A try begins.
    #[inline]
    pub(crate) fn begin_try(&self, picked: Picked) -> Try<'_> {
        let untimed = self.untimed.get();
        let timed = self.roster.config.strategy == Strategy::LeastLatency || untimed == 0;
        self.untimed.set(if timed { fastrand::u32(..2 * TIMED_EACH) } else { untimed - 1 });
        Try { upstream: self, picked, timed, sent_at: Cell::new(None) }
    }

    /// A request failed at a member.
    #[cold]
    pub(crate) fn failed(&self, worker: &Worker, member: usize, failed: Failed) {
        if let Some(event) = self.roster.failed(member, failed, worker.now_ms()) {
            worker.shared.events.push(event);
        }
    }

    /// What a request gets when there is no backend for it.
    pub(crate) fn nobody(&self) -> Error {
        match &*self.roster {
            roster if roster.members.is_empty() => Error::UpstreamDns,
            roster if roster.is_forbidden() => Error::UpstreamForbidden,
            _ => Error::NoBackend,
        }
    }

    /// Why a member was chosen, as the access log says it.
    pub(crate) fn why(&self, choice: Choice) -> &'static str {
        match (choice, self.roster.config.strategy) {
            (Choice::Only, _) => "only",
            (Choice::Backup, _) => "backup",
            (Choice::Ejected, _) => "ejected",
            (Choice::Strategy, strategy) => strategy.name(),
        }
    }
}
