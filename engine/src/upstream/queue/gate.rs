//! The gate: counts what runs, exactly, and lets no more than `max_active` in.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringway_config::Admission;

use super::Tally;
use super::fifo::Fifo;
use crate::error::Error;

/// The bits of the state that count what runs.
const RUNNING: u64 = LINE - 1;
/// The bit of the state that says that somebody waits.
const LINE: u64 = 1 << 32;
/// One change of the limit; the bits from here up count them.
const EDITION: u64 = 1 << 33;

/// `max_active` exchanges with one first-come-first-served line before it. Alone on its cache lines, because all workers
/// write to it.
///
/// # Why nobody is forgotten
/// Whoever finds no room takes the lock, sets [`LINE`], and only then looks for room again. All that leave change the same
/// atomic, so each of them came before that bit, and its room is seen, or comes after it, sees the bit, takes the lock in its
/// turn and lets the first in. The bit goes, under the lock, when the line is empty.
///
/// A call is noted under the same lock under which the waker is left there: a task that polls finds the call, or is woken by
/// it.
///
/// # Why nobody overtakes
/// While the bit stands [`try_enter`](Self::try_enter) takes nothing, so that what runs becomes more only under the lock, by
/// letting the first in: the room that a leave made is nobody else's.
///
/// # Why a lower limit holds at once
/// The limit stands beside the state. Each change of it counts an edition up, and so changes the state under whoever has looked
/// at the limit before and not come in yet: that one looks again.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Gate {
    state: AtomicU64,
    /// `u32::MAX` is no limit.
    max: AtomicU32,
    line: Mutex<Waiters>,
    pub(super) tally: Tally,
}

/// Who waits, and what holds for those who come.
#[derive(Debug)]
struct Waiters {
    fifo: Fifo,
    max_queued: usize,
    timeout: Duration,
}

impl Default for Gate {
    /// A gate without a limit.
    fn default() -> Self {
        let Admission { max_queued, queue_timeout: timeout, .. } = Admission::default();
        let line = Waiters { fifo: Fifo::default(), max_queued: max_queued as usize, timeout };
        Self {
            state: AtomicU64::new(0),
            max: AtomicU32::new(u32::MAX),
            line: Mutex::new(line),
            tally: Tally::default(),
        }
    }
}

impl Gate {
    /// Sets its limits. Nothing that runs ends by it, nobody who waits is sent away, and who waits and has room now comes in at
    /// once, in order.
    pub(crate) fn limit(&self, admission: &Admission) {
        let mut line = self.lock();
        line.max_queued = admission.max_queued as usize;
        line.timeout = admission.queue_timeout;
        let max = if admission.max_active == 0 { u32::MAX } else { admission.max_active };
        self.max.store(max, Release);
        self.state.fetch_add(EDITION, AcqRel);
        drop(line);
        self.admit();
    }

    /// Takes a place when one is free and nobody waits.
    #[inline]
    pub(crate) fn try_enter(&self) -> bool {
        let mut state = self.state.load(Acquire);
        loop {
            if state & LINE != 0 || !self.has_room(state) {
                return false;
            }
            match self.state.compare_exchange_weak(state, state + 1, AcqRel, Acquire) {
                Ok(_) => return true,
                Err(present) => state = present,
            }
        }
    }

    /// Gives a place back: to the head of the line, when somebody waits.
    #[inline]
    pub(crate) fn leave(&self) {
        let before = self.state.fetch_sub(1, AcqRel);
        debug_assert!(before & RUNNING != 0, "who leaves has come in");
        if before & LINE != 0 {
            self.admit();
        }
    }

    /// Exchanges that run.
    pub(crate) fn running(&self) -> u32 {
        (self.state.load(Acquire) & RUNNING) as u32
    }

    /// Requests that wait. Takes the lock: for who looks inside, not for requests.
    pub(crate) fn waiting(&self) -> u32 {
        self.lock().fifo.len() as u32
    }

    /// Joins the line, at whose head one comes in; at once, when there is room and nobody waits.
    ///
    /// # Errors
    /// `QueueFull`.
    pub(crate) fn join(self: &Arc<Self>) -> Result<Ticket, Error> {
        let mut line = self.lock();
        let state = self.state.fetch_or(LINE, AcqRel);
        let comes_in = line.fifo.is_empty() && self.has_room(state);
        if !comes_in && line.fifo.len() >= line.max_queued {
            self.open_when_empty(&line);
            self.tally.count_full();
            return Err(Error::QueueFull);
        }
        let (key, timeout) = (line.fifo.join(), line.timeout);
        if comes_in {
            self.admit_first(&mut line);
        } else {
            self.tally.count_queued();
        }
        drop(line);
        Ok(Ticket { gate: self.clone(), key, timeout, entered: false })
    }

    /// Lets in from the line who has room. The lock is given back after each: waking is not its business, and a long line that
    /// a raised limit lets in holds nobody up.
    #[cold]
    fn admit(&self) {
        let mut more = true;
        while more {
            let mut line = self.lock();
            let waker = self.admit_first(&mut line);
            more = !line.fifo.is_empty() && self.has_room(self.state.load(Acquire));
            drop(line);
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// Lets the first of the line in, when there is one and room for it. Gives what wakes it.
    fn admit_first(&self, line: &mut Waiters) -> Option<Waker> {
        if line.fifo.is_empty() || !self.has_room(self.state.load(Acquire)) {
            return None;
        }
        self.state.fetch_add(1, AcqRel);
        let waker = line.fifo.call_first();
        self.open_when_empty(line);
        waker
    }

    fn open_when_empty(&self, line: &Waiters) {
        if line.fifo.is_empty() {
            self.state.fetch_and(!LINE, AcqRel);
        }
    }

    #[inline]
    fn has_room(&self, state: u64) -> bool {
        ((state & RUNNING) as u32) < self.max.load(Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the line before a gate. Dropped, it leaves the line, or hands on the place within that it was granted meanwhile.
#[derive(Debug)]
pub(crate) struct Ticket {
    gate: Arc<Gate>,
    key: usize,
    timeout: Duration,
    entered: bool,
}

impl Ticket {
    /// How long it may wait, as was set when it joined.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A place within is its own.
    pub(crate) fn granted(&self) -> bool {
        self.gate.lock().fifo.was_called(self.key)
    }

    /// Ready once a place within is its own.
    pub(crate) fn poll_granted(&self, cx: &Context<'_>) -> Poll<()> {
        self.gate.lock().fifo.poll_called(self.key, cx)
    }

    /// Takes the place that was granted, which is the caller's then; it must [`leave`](Gate::leave) it. `false` when none was:
    /// then this leaves the line.
    #[must_use]
    pub(crate) fn enter(mut self) -> bool {
        self.entered = self.granted();
        self.entered
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut line = self.gate.lock();
        let left = line.fifo.leave(self.key);
        self.gate.open_when_empty(&line);
        drop(line);
        if left.was_called() && !self.entered {
            self.gate.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    fn admission(max_active: u32, max_queued: u32) -> Admission {
        Admission { max_active, max_queued, ..Admission::default() }
    }

    fn gate(max_active: u32, max_queued: u32) -> Arc<Gate> {
        let gate = Arc::new(Gate::default());
        gate.limit(&admission(max_active, max_queued));
        gate
    }

    /// A gate within which `max_active` run, and so many who wait.
    fn full(max_active: u32, waiting: u32) -> (Arc<Gate>, Vec<Ticket>) {
        let gate = gate(max_active, waiting);
        assert!((0..max_active).all(|_| gate.try_enter()));
        let tickets = (0..waiting).map(|_| gate.join().unwrap()).collect();
        (gate, tickets)
    }

    fn granted(tickets: &[Ticket]) -> Vec<bool> {
        tickets.iter().map(Ticket::granted).collect()
    }

    fn counts(gate: &Gate) -> (u32, u32) {
        (gate.running(), gate.waiting())
    }

    #[test]
    fn as_many_come_in_as_may_run() {
        let gate = gate(2, 0);
        assert!(gate.try_enter() && gate.try_enter());
        assert!(!gate.try_enter());
        gate.leave();
        assert!(gate.try_enter() && !gate.try_enter());
        assert_eq!(counts(&gate), (2, 0));
    }

    #[test]
    fn without_a_limit_all_come_in_and_are_counted() {
        let gate = Arc::new(Gate::default());
        assert!((0..1000).all(|_| gate.try_enter()));
        assert!(gate.join().unwrap().enter());
        assert_eq!(counts(&gate), (1001, 0));
        // Exact from the start.
        gate.limit(&admission(1001, 1));
        assert!(!gate.try_enter());
        (0..1001).for_each(|_| gate.leave());
        assert_eq!(counts(&gate), (0, 0));
    }

    #[test]
    fn a_freed_place_goes_to_the_head_of_the_line() {
        let (gate, mut tickets) = full(2, 3);
        assert!(!gate.try_enter());
        gate.leave();
        assert_eq!(granted(&tickets), [true, false, false]);
        assert!(!gate.try_enter());
        assert_eq!(counts(&gate), (2, 2));
        assert!(tickets.remove(0).enter());
        gate.leave();
        gate.leave();
        assert_eq!(granted(&tickets), [true, true]);
        assert!(tickets.into_iter().all(Ticket::enter));
        assert_eq!(counts(&gate), (2, 0));
    }

    #[test]
    fn nobody_overtakes_while_somebody_waits() {
        let (gate, tickets) = full(1, 2);
        // The moment in which a place was given back and not handed on.
        gate.state.fetch_sub(1, AcqRel);
        assert!(!gate.try_enter());
        assert_eq!(gate.join().err(), Some(Error::QueueFull));
        gate.limit(&admission(1, 3));
        assert!(!gate.join().unwrap().granted());
        assert_eq!(granted(&tickets), [true, false]);
    }

    #[test]
    fn room_that_was_made_before_joining_is_taken() {
        let gate = gate(1, 0);
        let ticket = gate.join().unwrap();
        assert!(ticket.granted());
        assert_eq!(gate.join().err(), Some(Error::QueueFull));
        assert!(ticket.enter());
        assert_eq!(gate.tally.totals().queued, 0);
    }

    #[test]
    fn a_refused_one_leaves_no_sign_of_a_line() {
        let (gate, _none) = full(1, 0);
        assert_eq!(gate.join().err(), Some(Error::QueueFull));
        gate.leave();
        assert!(gate.try_enter());
    }

    #[test]
    fn a_full_line_refuses() {
        let (gate, mut tickets) = full(1, 2);
        assert_eq!(gate.join().err(), Some(Error::QueueFull));
        tickets.pop();
        tickets.extend(gate.join());
        assert_eq!(gate.join().err(), Some(Error::QueueFull));
        let totals = gate.tally.totals();
        assert_eq!((totals.queued, totals.full), (3, 2));
    }

    #[test]
    fn who_leaves_the_line_leaves_no_gap() {
        for leaves in 0..3 {
            let (gate, mut tickets) = full(1, 3);
            drop(tickets.remove(leaves));
            gate.leave();
            assert_eq!(granted(&tickets), [true, false]);
            assert_eq!(counts(&gate), (1, 1));
        }
    }

    #[test]
    fn an_empty_line_is_open_again() {
        let (gate, tickets) = full(1, 3);
        drop(tickets);
        gate.leave();
        assert!(gate.try_enter());
        assert_eq!(counts(&gate), (1, 0));
    }

    #[test]
    fn a_granted_place_that_is_not_taken_is_handed_on() {
        let (gate, mut tickets) = full(1, 2);
        gate.leave();
        drop(tickets.remove(0));
        assert_eq!(granted(&tickets), [true]);
        assert_eq!(counts(&gate), (1, 0));
        drop(tickets);
        assert_eq!(counts(&gate), (0, 0));
    }

    #[test]
    fn a_ticket_that_was_not_granted_takes_nothing() {
        let (gate, mut tickets) = full(1, 1);
        assert!(!tickets.remove(0).enter());
        assert_eq!(counts(&gate), (1, 0));
    }

    #[test]
    fn a_raised_limit_lets_in_as_many_as_fit() {
        let (gate, tickets) = full(1, 4);
        gate.limit(&admission(3, 4));
        assert_eq!(granted(&tickets), [true, true, false, false]);
        assert_eq!(counts(&gate), (3, 2));
        gate.limit(&admission(0, 4));
        assert_eq!(granted(&tickets), [true; 4]);
        assert!(gate.try_enter());
        assert_eq!(counts(&gate), (6, 0));
    }

    #[test]
    fn a_lowered_limit_lets_what_runs_finish() {
        let (gate, tickets) = full(3, 2);
        gate.limit(&admission(1, 2));
        gate.leave();
        gate.leave();
        assert_eq!(granted(&tickets), [false, false]);
        assert_eq!(counts(&gate), (1, 2));
        gate.leave();
        assert_eq!(granted(&tickets), [true, false]);
    }

    #[test]
    fn a_shorter_line_keeps_who_waits() {
        let (gate, mut tickets) = full(1, 3);
        gate.limit(&admission(1, 1));
        assert_eq!(gate.waiting(), 3);
        drop(tickets.remove(0));
        assert_eq!(gate.join().err(), Some(Error::QueueFull));
        gate.leave();
        assert_eq!(granted(&tickets), [true, false]);
    }

    #[test]
    fn a_changed_time_holds_for_who_comes() {
        let (gate, tickets) = full(1, 1);
        let second = Duration::from_secs(1);
        gate.limit(&Admission { queue_timeout: second, ..admission(1, 2) });
        assert_eq!(tickets[0].timeout(), Admission::default().queue_timeout);
        assert_eq!(gate.join().unwrap().timeout(), second);
    }

    #[test]
    fn a_changed_limit_is_looked_at_again() {
        let gate = gate(2, 0);
        let looked_at = gate.state.load(Acquire);
        gate.limit(&admission(1, 0));
        // As in `try_enter`, by one who looked before.
        let comes_in = gate.state.compare_exchange(looked_at, looked_at + 1, AcqRel, Acquire);
        assert!(comes_in.is_err());
        assert_eq!(counts(&gate), (0, 0));
    }

    #[test]
    fn who_is_let_in_is_woken_once() {
        #[derive(Default)]
        struct Woken(AtomicUsize);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, AcqRel);
            }
        }
        let (gate, tickets) = full(1, 2);
        let woken: Vec<_> = tickets.iter().map(|_| Arc::new(Woken::default())).collect();
        for (ticket, woken) in tickets.iter().zip(&woken) {
            let waker = woken.clone().into();
            assert!(ticket.poll_granted(&Context::from_waker(Waker::noop())).is_pending());
            // The last one counts.
            assert!(ticket.poll_granted(&Context::from_waker(&waker)).is_pending());
        }
        gate.leave();
        let times: Vec<_> = woken.iter().map(|woken| woken.0.load(Acquire)).collect();
        assert_eq!(times, [1, 0]);
        assert!(tickets[0].poll_granted(&Context::from_waker(Waker::noop())).is_ready());
    }
}
