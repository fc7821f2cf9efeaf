//! What must be so: plain lists of who is where, kept beside the real thing by the rules as the documents tell them, without
//! atomics, locks or short cuts.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ringway_config::{Admission, OnNoBackend};

use super::super::health::{Failed, Standing};
use super::super::queue::Gate;
use super::super::state::{BackendState, Member, Roster};
use super::super::{Choice, Tried};
use crate::net::dial::Address;

/// Failures in a row that eject, where nothing is configured.
const MAX_UNMADE: u32 = 1;
const MAX_UNANSWERED: u32 = 3;
/// An ejected backend stays away at least so long, unless a probe brings it back.
const AWAY_MIN_MS: u64 = 1_000;
/// The retry budget.
const BUDGET_MS: u64 = 10_000;
const BUDGET_PERCENT: usize = 20;
const BUDGET_MIN: usize = 10;
/// It may count retries longer, and requests shorter, by so much: it counts in seconds, and workers' clocks differ.
const BUDGET_BLUR_MS: u64 = 1_300;

/// A line, by what it stands before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Queue {
    Site(Arc<str>),
    Upstream(Arc<str>),
    /// Before no backend at all.
    Absence(Arc<str>),
}

/// An upstream's name, and an address.
pub(super) type Identity = (Arc<str>, Address);

/// What becomes of a request that comes to a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    Enters,
    Waits,
    Refused,
}

/// All of it. Requests have numbers in the order in which they came.
#[derive(Default)]
pub(super) struct Truth {
    pub(super) gates: BTreeMap<Queue, TrueGate>,
    pub(super) lines: BTreeMap<Queue, TrueLine>,
    pub(super) backends: HashMap<Identity, TrueBackend>,
    pub(super) budgets: BTreeMap<Arc<str>, TrueBudget>,
    /// Who must have been woken since it was looked last.
    pub(super) woken: Vec<(Queue, u64)>,
    /// How often things happened.
    pub(super) seen: BTreeMap<&'static str, u64>,
}

impl Truth {
    pub(super) fn see(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }
}

/// A gate: who is within, and who stands before it.
#[derive(Default)]
pub(super) struct TrueGate {
    max_active: usize,
    max_queued: usize,
    pub(super) timeout: Duration,
    pub(super) inside: BTreeSet<u64>,
    pub(super) line: VecDeque<u64>,
    pub(super) gate: Weak<Gate>,
}

impl TrueGate {
    fn has_room(&self) -> bool {
        self.max_active == 0 || self.inside.len() < self.max_active
    }

    fn arrive(&mut self, number: u64) -> Arrival {
        if self.line.is_empty() && self.has_room() {
            self.inside.insert(number);
            Arrival::Enters
        } else if self.line.len() < self.max_queued {
            self.line.push_back(number);
            Arrival::Waits
        } else {
            Arrival::Refused
        }
    }

    /// Lets in who has room, in order; gives them.
    fn admit(&mut self) -> Vec<u64> {
        let mut admitted = Vec::new();
        while !self.line.is_empty() && self.has_room() {
            admitted.extend(self.line.pop_front());
            self.inside.extend(admitted.last());
        }
        admitted
    }
}

/// A line before no backend: who stands in it, and whether each was called since it looked last.
#[derive(Default)]
pub(super) struct TrueLine {
    max_queued: usize,
    pub(super) line: VecDeque<(u64, bool)>,
}

/// A backend.
pub(super) struct TrueBackend {
    pub(super) running: u32,
    pub(super) standing: Standing,
    pub(super) failures: u32,
    /// It is ill, and has to stay.
    spared: bool,
    since_ms: u64,
    /// Failures of requests took it out.
    by_requests: bool,
    pub(super) state: Weak<BackendState>,
}

impl TrueBackend {
    fn new(state: &Arc<BackendState>) -> Self {
        Self {
            running: 0,
            standing: Standing::Alive,
            failures: 0,
            spared: false,
            since_ms: 0,
            by_requests: false,
            state: Arc::downgrade(state),
        }
    }

    fn take_out(&mut self, standing: Standing, by_requests: bool, now_ms: u64) {
        (self.standing, self.by_requests, self.since_ms) = (standing, by_requests, now_ms);
        self.spared = false;
    }

    fn bring_back(&mut self) {
        (self.standing, self.failures) = (Standing::Alive, 0);
    }
}

/// What began and was retried at an upstream, by the clock of its worker.
#[derive(Default)]
pub(super) struct TrueBudget {
    /// When, and at which worker's view of which generation.
    requests: Vec<(u64, (usize, u64))>,
    retries: Vec<u64>,
}

impl TrueBudget {
    pub(super) fn count_request(&mut self, now_ms: u64, view: (usize, u64)) {
        self.requests.push((now_ms, view));
    }

    /// The retry that was withdrawn last is not made.
    pub(super) fn give_back(&mut self) {
        self.retries.pop();
    }

    /// Holds the budget's answer to a view's worker against what was begun and retried. Whether more were retried than may be
    /// in any case.
    pub(super) fn withdraw(&mut self, granted: bool, now_ms: u64, view: (usize, u64)) -> bool {
        let retried = |within_ms| self.retries.iter().filter(|&&at_ms| at_ms + within_ms > now_ms).count();
        let requested = |within_ms, of_all| {
            let recent = self.requests.iter().filter(|(at_ms, _)| at_ms + within_ms > now_ms);
            recent.filter(|(_, of)| of_all || *of == view).count()
        };
        let allowed = |requests: usize| (requests * BUDGET_PERCENT / 100).max(BUDGET_MIN);
        if granted {
            let allowed = allowed(requested(BUDGET_MS, true));
            assert!(retried(BUDGET_MS) < allowed, "one retry more than {allowed}");
        } else {
            // The worker has told of all that began at its view; of others the budget may not have heard yet.
            let allowed = allowed(requested(BUDGET_MS - BUDGET_BLUR_MS, false));
            let retried = retried(BUDGET_MS + BUDGET_BLUR_MS);
            assert!(retried >= allowed, "{retried} retries were let through, and no more of {allowed}");
        }
        let beyond_the_first = retried(BUDGET_MS) >= BUDGET_MIN;
        self.retries.extend(granted.then_some(now_ms));
        beyond_the_first
    }
}

/// Queues.
impl Truth {
    /// A publication says what a gate's limits are now.
    pub(super) fn limit_gate(&mut self, queue: &Queue, admission: &Admission, gate: &Arc<Gate>) {
        let known = self.gates.entry(queue.clone()).or_default();
        if known.gate.strong_count() > 0 {
            assert!(std::ptr::eq(known.gate.as_ptr(), Arc::as_ptr(gate)), "{queue:?} has another gate");
        }
        known.gate = Arc::downgrade(gate);
        known.max_active = admission.max_active as usize;
        known.max_queued = admission.max_queued as usize;
        known.timeout = admission.queue_timeout;
        self.admit(queue);
    }

    pub(super) fn limit_line(&mut self, queue: &Queue, max_queued: u32) {
        self.lines.entry(queue.clone()).or_default().max_queued = max_queued as usize;
    }

    pub(super) fn arrive(&mut self, queue: &Queue, number: u64) -> Arrival {
        self.gate(queue).arrive(number)
    }

    /// A request leaves a gate, or the line before it.
    pub(super) fn leave(&mut self, queue: &Queue, number: u64) {
        let gate = self.gate(queue);
        if !gate.inside.remove(&number) {
            gate.line.retain(|&waiting| waiting != number);
        }
        self.admit(queue);
    }

    fn admit(&mut self, queue: &Queue) {
        let admitted = self.gate(queue).admit();
        self.woken.extend(admitted.into_iter().map(|number| (queue.clone(), number)));
    }

    pub(super) fn gate(&mut self, queue: &Queue) -> &mut TrueGate {
        self.gates.get_mut(queue).expect("a known gate")
    }

    pub(super) fn line(&mut self, queue: &Queue) -> &mut TrueLine {
        self.lines.get_mut(queue).expect("a known line")
    }

    pub(super) fn join(&mut self, queue: &Queue, number: u64) -> Arrival {
        let line = self.line(queue);
        if line.line.len() >= line.max_queued {
            return Arrival::Refused;
        }
        line.line.push_back((number, false));
        Arrival::Waits
    }

    /// Everybody may look again.
    pub(super) fn call_all(&mut self, upstream: &Arc<str>) {
        let queue = Queue::Absence(upstream.clone());
        for (number, called) in &mut self.lines.get_mut(&queue).expect("a known line").line {
            if !std::mem::replace(called, true) {
                self.woken.push((queue.clone(), *number));
            }
        }
    }
}

/// Backends.
impl Truth {
    /// A publication names them: those that are known are the same as before, the others are new.
    pub(super) fn name(&mut self, roster: &Roster) {
        for member in &roster.members {
            let known = self.backends.entry(identity(roster, member));
            let known = known.or_insert_with(|| TrueBackend::new(&member.state));
            let same = std::ptr::eq(known.state.as_ptr(), Arc::as_ptr(&member.state));
            assert!(same, "{} is not what it was", member.address);
        }
    }

    pub(super) fn of(&self, roster: &Roster, member: &Member) -> &TrueBackend {
        &self.backends[&identity(roster, member)]
    }

    pub(super) fn of_mut(&mut self, roster: &Roster, member: &Member) -> &mut TrueBackend {
        self.backends.get_mut(&identity(roster, member)).expect("a known backend")
    }

    /// The members that a request may go to, and what is said of the choice.
    pub(super) fn permitted(&self, roster: &Roster, tried: &[usize]) -> (Vec<usize>, Option<Choice>) {
        let members = &roster.members;
        let only_barred = members.iter().all(Member::is_barred);
        let is_well = |member: &Member| {
            let backend = self.of(roster, member);
            backend.standing == Standing::Alive && !backend.spared && (only_barred || !member.is_barred())
        };
        let any = roster.config.health.on_no_backend == OnNoBackend::Any
            && (tried.is_empty() || !members.iter().any(is_well));
        let was_tried = |member: &Member| tried.iter().any(|&tried| members[tried].address == member.address);
        let ranks = [
            (Standing::Alive, false, Choice::Strategy),
            (Standing::Alive, true, Choice::Backup),
            (Standing::Ejected, false, Choice::Ejected),
            (Standing::Ejected, true, Choice::Ejected),
        ];
        for (standing, backup, choice) in ranks.into_iter().take(if any { 4 } else { 2 }) {
            let is_there = |&member: &usize| {
                let member = &members[member];
                (self.of(roster, member).standing, member.backup) == (standing, backup)
                    && (only_barred || !member.is_barred())
                    && !was_tried(member)
            };
            let rank: Vec<_> = (0..members.len()).filter(is_there).collect();
            if !rank.is_empty() {
                let only = members.len() == 1 && choice != Choice::Ejected;
                return (rank, Some(if only { Choice::Only } else { choice }));
            }
        }
        (Vec::new(), None)
    }

    /// A request failed; whether that ejects the backend.
    pub(super) fn failed(&mut self, roster: &Roster, member: usize, failed: Failed, now_ms: u64) -> bool {
        let member = &roster.members[member];
        let unmade = matches!(failed, Failed::Refused | Failed::ConnectTimeout);
        let by_kind = if unmade { MAX_UNMADE } else { MAX_UNANSWERED };
        let max_failures = roster.config.health.max_failures.unwrap_or(by_kind);
        let backend = self.of_mut(roster, member);
        backend.failures += 1;
        let is_due = backend.standing == Standing::Alive && backend.failures >= max_failures;
        if !is_due {
            return false;
        }
        if !self.may_be_away(roster, member) {
            self.of_mut(roster, member).spared = true;
            return false;
        }
        self.of_mut(roster, member).take_out(Standing::Ejected, true, now_ms);
        true
    }

    /// Whether the pool can do without a member: another is available, and not too many are away with it.
    fn may_be_away(&self, roster: &Roster, member: &Member) -> bool {
        let others = || roster.members.iter().filter(|other| other.address != member.address);
        let standing = |other: &Member| self.of(roster, other).standing;
        let available =
            others().filter(|other| standing(other) == Standing::Alive && !other.is_barred()).count();
        let away = others().filter(|other| standing(other) == Standing::Ejected).count();
        let itself = roster.members.len() - others().count();
        let percent = 100 * (away + itself);
        // Rounded up: as long as the one before the last of them is within the share.
        let within =
            percent < roster.members.len() * usize::from(roster.config.health.max_ejected_percent) + 100;
        available > 0 && within
    }

    /// A request succeeded; whether that brings the backend back.
    pub(super) fn succeeded(&mut self, roster: &Roster, member: usize, choice: Choice, now_ms: u64) -> bool {
        let active = roster.config.health.active.is_some();
        let backend = self.of_mut(roster, &roster.members[member]);
        match backend.standing {
            Standing::Alive => (backend.failures, backend.spared) = (0, false),
            Standing::Ejected if choice == Choice::Ejected && !active => {
                let back = backend.since_ms + AWAY_MIN_MS <= now_ms;
                return back && self.recovered(roster, member);
            }
            _ => {}
        }
        false
    }

    /// A probe or a request says that it is alive; whether that changes anything.
    pub(super) fn recovered(&mut self, roster: &Roster, member: usize) -> bool {
        self.change(roster, member, |standing| standing == Standing::Ejected, TrueBackend::bring_back)
    }

    /// Active probes failed; whether that changes anything.
    pub(super) fn ejected(&mut self, roster: &Roster, member: usize, now_ms: u64) -> bool {
        let eject = |backend: &mut TrueBackend| backend.take_out(Standing::Ejected, false, now_ms);
        self.change(roster, member, |standing| standing == Standing::Alive, eject)
    }

    /// By hand; whether that changes anything.
    pub(super) fn marked(&mut self, roster: &Roster, member: usize, dead: bool, now_ms: u64) -> bool {
        let mark = |backend: &mut TrueBackend| match dead {
            true => backend.take_out(Standing::Dead, false, now_ms),
            false => backend.bring_back(),
        };
        let marked = if dead { Standing::Dead } else { Standing::Alive };
        self.change(roster, member, |standing| standing != marked, mark)
    }

    /// Changes a backend, if its standing is right. Those who wait are called when it is there again.
    fn change(
        &mut self,
        roster: &Roster,
        member: usize,
        is_right: impl Fn(Standing) -> bool,
        change: impl FnOnce(&mut TrueBackend),
    ) -> bool {
        let backend = self.of_mut(roster, &roster.members[member]);
        let changes = is_right(backend.standing);
        if changes {
            change(backend);
            if backend.standing == Standing::Alive {
                self.call_all(&name(roster));
            }
        }
        changes
    }

    /// A pool became smaller: those who were away longest come back until its bounds hold. Gives them.
    pub(super) fn keep_bounds(&mut self, roster: &Roster) -> Vec<Address> {
        let mut back = Vec::new();
        if roster.config.health.active.is_some() {
            return back;
        }
        loop {
            let away = (0..roster.members.len()).filter(|&member| {
                let backend = self.of(roster, &roster.members[member]);
                backend.standing == Standing::Ejected && backend.by_requests
            });
            let first = away.min_by_key(|&member| self.of(roster, &roster.members[member]).since_ms);
            let first = first.filter(|&member| !self.may_be_away(roster, &roster.members[member]));
            let Some(first) = first else { return back };
            back.push(roster.members[first].address.clone());
            self.recovered(roster, first);
        }
    }
}

/// The upstream's name, as it was configured.
pub(super) fn name(roster: &Roster) -> Arc<str> {
    roster.config.name.as_str().into()
}

/// What a member's state belongs to.
pub(super) fn identity(roster: &Roster, member: &Member) -> Identity {
    (name(roster), member.address.clone())
}

/// The members that were tried, as places.
pub(super) fn places(tried: &[usize]) -> Tried {
    let mut places = Tried::default();
    tried.iter().for_each(|&member| places.add(member));
    places
}
