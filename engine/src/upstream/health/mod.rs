//! Whether a backend is fit: failures in a row eject it, a probe or a success brings it back, and a person may take it out.
//!
//! ```text
//!          failures of requests (bounded), of active probes (not bounded)
//! Alive ----------------------------------------------------------------> Ejected
//!   ^ ^------ a good probe, or `rise` of them; a request that had no other -----'|
//!   |                                                                            |
//!   `--------------- by hand --------------- Dead <---------- by hand -----------'
//! ```
//!
//! Workers tell what their requests met ([`Roster::failed`], [`Roster::succeeded`]); the control thread probes through
//! [`BackendHandle`] (`watch`); what changes becomes an [`Event`] (`event`). A standing changes only while the upstream's
//! `ejecting` is held, so that two workers never eject both of two.

mod event;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use event::Events;
pub use event::{Bound, Cause, Change, Event, Failed};
pub use watch::BackendHandle;

use super::pick::Choice;
use super::state::{Member, Roster};

/// Failures in a row that eject where `max_failures` says nothing: of connections that cannot be made.
const UNMADE_MAX: u32 = 1;

/// The same, of requests on connections that were made.
const UNANSWERED_MAX: u32 = 3;

/// How long a backend is away at least, in milliseconds, unless an active probe finds it well: no other probe comes sooner, and
/// no request that had no other place to go brings it back sooner, so that one which fails now and then does not come and go
/// with each request.
const AWAY_MIN_MS: u64 = 1_000;

/// How long it is not told again that a bound keeps a backend in, in milliseconds.
const SPARED_QUIET_MS: u64 = 10_000;

/// How a backend stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Standing {
    /// It takes part.
    Alive,
    /// Failures of requests or probes took it out.
    Ejected,
    /// A person took it out: it gets no requests and no probes.
    Dead,
}

impl Standing {
    /// A name for programs to look at; it stays the same from version to version.
    pub fn id(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Ejected => "ejected",
            Self::Dead => "dead",
        }
    }
}

/// A backend's standing and its failures in a row in one word, so that all is well with it when that is zero.
#[derive(Clone, Copy)]
struct Mark(u32);

impl Mark {
    const STANDING: u32 = 0b11;
    /// A bound keeps it in its pool, which was told.
    const SPARED: u32 = 0b100;
    const FAILURE: u32 = 0b1000;

    fn standing(self) -> Standing {
        match self.0 & Self::STANDING {
            0 => Standing::Alive,
            1 => Standing::Ejected,
            _ => Standing::Dead,
        }
    }

    fn failures(self) -> u32 {
        self.0 / Self::FAILURE
    }

    fn is_spared(self) -> bool {
        self.0 & Self::SPARED != 0
    }

    /// With one failure more; there is a most that is counted.
    fn after_failure(self) -> Self {
        Self(self.0.checked_add(Self::FAILURE).unwrap_or(self.0))
    }

    fn taken_out(self, standing: Standing) -> Self {
        Self(self.0 & !(Self::STANDING | Self::SPARED) | standing as u32)
    }
}

/// What is told of a backend's past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// When its standing changed last, in milliseconds since the process started; 0: never.
    pub since_ms: u64,
    /// Why; `None`: it never changed.
    pub cause: Option<Cause>,
    /// How often it was ejected.
    pub ejections: u64,
    /// The last probe.
    pub probed: Option<Probed>,
    /// When it was told last that a bound keeps it in, in milliseconds since the process started.
    spared_ms: Option<u64>,
}

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    /// When it ended, in milliseconds since the process started.
    pub at_ms: u64,
    /// What was wrong; `None`: nothing.
    pub failed: Option<Failed>,
}

/// A backend's health.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// A [`Mark`].
    mark: AtomicU32,
    /// When it came back last, in milliseconds since the process started; 0: never away.
    returned_ms: AtomicU64,
    history: Mutex<History>,
}

impl Health {
    /// How it stands now.
    #[inline]
    pub(crate) fn standing(&self) -> Standing {
        self.mark().standing()
    }

    /// It takes part, and not only because a bound keeps it in.
    pub(crate) fn is_well(&self) -> bool {
        self.mark().standing() == Standing::Alive && !self.mark().is_spared()
    }

    /// When it came back last, in milliseconds since the process started; 0: it was never away.
    #[inline]
    pub(crate) fn returned_ms(&self) -> u64 {
        self.returned_ms.load(Relaxed)
    }

    /// Failures of requests since the last success.
    pub(crate) fn failures(&self) -> u32 {
        self.mark().failures()
    }

    /// What is told of its past.
    pub(crate) fn history(&self) -> History {
        *self.past()
    }

    #[inline]
    fn mark(&self) -> Mark {
        Mark(self.mark.load(Relaxed))
    }

    pub(super) fn past(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the mark; gives the one before.
    fn update(&self, change: impl Fn(Mark) -> Mark) -> Mark {
        let before = self.mark.fetch_update(Relaxed, Relaxed, |mark| Some(change(Mark(mark)).0));
        Mark(before.unwrap_or_else(|mark| mark))
    }

    /// A bound keeps it in. Whether that is to be told: not until it succeeded in between, and not all the time.
    fn spare(&self, now_ms: u64) -> bool {
        let begins = !self.update(|mark| Mark(mark.0 | Mark::SPARED)).is_spared();
        let mut past = self.past();
        let is_news =
            begins && past.spared_ms.is_none_or(|told_ms| now_ms.saturating_sub(told_ms) >= SPARED_QUIET_MS);
        if is_news {
            past.spared_ms = Some(now_ms);
        }
        is_news
    }

    /// Forgets failures, unless it is out.
    fn forgive(&self) {
        self.update(|mark| if mark.standing() == Standing::Alive { Mark(0) } else { mark });
    }

    fn take_out(&self, standing: Standing, cause: Cause, now_ms: u64) {
        let mut past = self.past();
        past.ejections += u64::from(standing == Standing::Ejected);
        (past.since_ms, past.cause) = (now_ms, Some(cause));
        self.update(|mark| mark.taken_out(standing));
    }

    fn bring_back(&self, cause: Cause, now_ms: u64) {
        let mut past = self.past();
        (past.since_ms, past.cause) = (now_ms, Some(cause));
        // Zero means that it was never away.
        self.returned_ms.store(now_ms.max(1), Relaxed);
        self.mark.store(0, Relaxed);
    }
}

/// How often backends of an upstream changed, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Taken out by failures or probes.
    pub ejected: u64,
    /// Ill, and kept in by a bound; as often as it was told.
    pub spared: u64,
    /// Brought back by probes, requests, or because the pool shrank.
    pub recovered: u64,
}

/// What workers tell.
impl Roster {
    /// A response head of no unhealthy status came from a member, which was chosen by `choice`; `now_ms` is in
    /// milliseconds since the process started. Gives an event when that brought it back.
    ///
    /// An ejected member comes back by the success of a request that went there because there was no other
    /// (`on_no_backend = "any"`), when it was away for [`AWAY_MIN_MS`]. The success of one that was sent before it was
    /// ejected says nothing: a backend that shuts down refuses connections while it still answers on those that it has.
    /// With `active`, probes alone decide.
    #[inline]
    pub(crate) fn succeeded(&self, member: usize, choice: Choice, now_ms: u64) -> Option<Event> {
        let well = self.members.get(member)?;
        if well.state.health.mark.load(Relaxed) == 0 {
            return None;
        }
        self.succeeded_after_failures(well, choice, now_ms)
    }

    #[cold]
    fn succeeded_after_failures(&self, well: &Member, choice: Choice, now_ms: u64) -> Option<Event> {
        let health = &well.state.health;
        health.forgive();
        if choice != Choice::Ejected || self.config.health.active.is_some() {
            return None;
        }
        let away_ms = now_ms.saturating_sub(health.history().since_ms);
        (away_ms >= AWAY_MIN_MS).then(|| self.recover(well, Cause::RequestSucceeded, now_ms)).flatten()
    }

    /// A request failed at a member; `now_ms` is in milliseconds since the process started. Gives an event when that
    /// ejected it, or would have but for a bound. A pool of one is never ejected by it.
    #[cold]
    pub(crate) fn failed(&self, member: usize, failed: Failed, now_ms: u64) -> Option<Event> {
        let ill = self.members.get(member)?;
        let health = &ill.state.health;
        let mark = health.update(Mark::after_failure).after_failure();
        if mark.standing() != Standing::Alive || mark.failures() < self.max_failures(failed) {
            return None;
        }
        // Workers do not meet in the lock for each request that fails at a backend which has to stay.
        if mark.is_spared() && self.bound(ill).is_some() {
            return None;
        }
        self.eject_or_spare(ill, Cause::Request(failed), now_ms)
    }

    fn max_failures(&self, failed: Failed) -> u32 {
        let by_kind = match failed {
            Failed::Refused | Failed::ConnectTimeout => UNMADE_MAX,
            Failed::Closed | Failed::BadResponse | Failed::Timeout | Failed::Status(_) => UNANSWERED_MAX,
        };
        self.config.health.max_failures.unwrap_or(by_kind)
    }
}

/// Changes of standings.
impl Roster {
    fn eject_or_spare(&self, ill: &Member, cause: Cause, now_ms: u64) -> Option<Event> {
        let mut tally = self.changing();
        if ill.state.health.standing() != Standing::Alive {
            return None;
        }
        if let Some(bound) = self.bound(ill) {
            let is_news = ill.state.health.spare(now_ms);
            tally.spared += u64::from(is_news);
            return is_news.then(|| self.event(ill, Change::Spared(bound), cause, now_ms));
        }
        Some(self.eject(&mut tally, ill, cause, now_ms))
    }

    /// Ejects a member that is alive, without a bound.
    pub(super) fn eject_unbounded(&self, ill: &Member, cause: Cause, now_ms: u64) -> Option<Event> {
        let mut tally = self.changing();
        let is_alive = ill.state.health.standing() == Standing::Alive;
        is_alive.then(|| self.eject(&mut tally, ill, cause, now_ms))
    }

    fn eject(&self, tally: &mut Tally, ill: &Member, cause: Cause, now_ms: u64) -> Event {
        tally.ejected += 1;
        ill.state.health.take_out(Standing::Ejected, cause, now_ms);
        self.event(ill, Change::Ejected, cause, now_ms)
    }

    /// Brings an ejected member back.
    pub(super) fn recover(&self, well: &Member, cause: Cause, now_ms: u64) -> Option<Event> {
        let mut tally = self.changing();
        if well.state.health.standing() != Standing::Ejected {
            return None;
        }
        tally.recovered += 1;
        well.state.health.bring_back(cause, now_ms);
        drop(tally);
        self.state.absence.call_all();
        Some(self.event(well, Change::Recovered, cause, now_ms))
    }

    pub(super) fn mark_dead(&self, member: &Member, now_ms: u64) -> Option<Event> {
        let _changing = self.changing();
        if member.state.health.standing() == Standing::Dead {
            return None;
        }
        member.state.health.take_out(Standing::Dead, Cause::ByHand, now_ms);
        Some(self.event(member, Change::MarkedDead, Cause::ByHand, now_ms))
    }

    pub(super) fn mark_alive(&self, member: &Member, now_ms: u64) -> Option<Event> {
        let changing = self.changing();
        if member.state.health.standing() == Standing::Alive {
            return None;
        }
        member.state.health.bring_back(Cause::ByHand, now_ms);
        drop(changing);
        self.state.absence.call_all();
        Some(self.event(member, Change::MarkedAlive, Cause::ByHand, now_ms))
    }

    /// Brings back members that failures of requests ejected, those first that were away longest, until no more are away
    /// than may be: for a pool that a change of configuration or names made smaller. With `active`, probes find out by
    /// themselves who is well. `now_ms` is in milliseconds since the process started.
    pub(crate) fn keep_bounds(&self, now_ms: u64) -> Vec<Event> {
        if self.config.health.active.is_some() {
            return Vec::new();
        }
        let first_back = || {
            let ejected = self.members.iter().filter(|member| is_out_by_requests(member));
            let longest_away = ejected.min_by_key(|member| member.state.health.history().since_ms);
            longest_away.filter(|member| self.bound(member).is_some())
        };
        let back = || self.recover(first_back()?, Cause::PoolShrank, now_ms);
        std::iter::from_fn(back).collect()
    }

    /// What forbids that this member be away by failures of requests: it is the last that is available, or too many
    /// are away with it.
    fn bound(&self, ill: &Member) -> Option<Bound> {
        let is_other = |member: &&Member| !Arc::ptr_eq(&member.state, &ill.state);
        if !self.members.iter().filter(is_other).any(is_available) {
            return Some(Bound::LastAvailable);
        }
        let others_away = |member: &&Member| member.state.health.standing() == Standing::Ejected;
        let away = self.members.iter().filter(|member| !is_other(member) || others_away(member)).count();
        let may_be_away =
            (self.members.len() * usize::from(self.config.health.max_ejected_percent)).div_ceil(100);
        (away > may_be_away).then_some(Bound::MaxEjected)
    }

    fn changing(&self) -> MutexGuard<'_, Tally> {
        self.state.ejecting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event(&self, member: &Member, change: Change, cause: Cause, now_ms: u64) -> Event {
        Event {
            upstream: self.state.name.clone(),
            backend: member.address.clone(),
            change,
            cause,
            available: self.members.iter().filter(|member| is_available(member)).count(),
            members: self.members.len(),
            at_ms: now_ms,
        }
    }
}

fn is_available(member: &Member) -> bool {
    member.state.health.standing() == Standing::Alive && !member.is_barred()
}

fn is_out_by_requests(member: &Member) -> bool {
    let health = &member.state.health;
    health.standing() == Standing::Ejected && matches!(health.history().cause, Some(Cause::Request(_)))
}
