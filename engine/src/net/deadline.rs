//! The deadline wheel: one coarse timer for each worker ends what takes too long, by `shutdown(2)` on its socket, which
//! completes every operation in flight and gives all buffers back.
//!
//! A row belongs to a connection for its whole life and is unlinked before the descriptor closes: a stale one would
//! kill a stranger that got the same number. Arming is a few stores; the row moves in the wheel only when it must come up
//! earlier than it stands, or when it comes up and nothing of it is due yet. So a deadline that is set and lifted with
//! each request costs a few instructions, and a pass over the wheel costs each connection one step now and then.

use std::cell::Cell;
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, RawFd};
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How fine deadlines are. A deadline fires up to one tick late, never early.
pub(crate) const TICK: Duration = Duration::from_millis(100);
const TICK_NANOS: u32 = TICK.subsec_nanos();
const TICKS_PER_SECOND: u32 = 1_000_000_000 / TICK_NANOS;
/// How many ticks the wheel spans; rows that are due later come up once a round and go on.
const SLOTS: u32 = 1024;
const NEVER: u32 = u32::MAX;

const _: () = assert!(TICK.as_secs() == 0 && TICKS_PER_SECOND * TICK_NANOS == 1_000_000_000);

/// Which half of its connection a deadline ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// Reading stops (end of file); the other half can still answer 408.
    Reading,
    /// The connection is over.
    Both,
}

/// A connection in the wheel, with both of its deadlines. Rows are linked by address: there are as many as there are
/// connections, and a table of them would have to be copied when it grows, and would never shrink.
struct Row {
    wheel: Rc<Wheel>,
    prev: Cell<*const Row>,
    next: Cell<*const Row>,
    /// The tick in whose slot it stands; [`NEVER`] while it stands in none. At most the ticks at which it is due.
    linked: Cell<u32>,
    fd: RawFd,
    /// How many deadlines point here. An `Rc` would count in two words, and there are thousands of rows.
    handles: Cell<u8>,
    /// For each of its deadlines, the tick at which it fires; [`NEVER`] while it is disarmed.
    dues: [Cell<u32>; 2],
    ends: [Cell<Ends>; 2],
    fired: [Cell<bool>; 2],
}

impl Row {
    /// The tick at which the first of its deadlines fires; [`NEVER`] when both are disarmed.
    fn due(&self) -> u32 {
        self.dues[0].get().min(self.dues[1].get())
    }

    fn link(&self) {
        let tick = self.due().min(self.wheel.now.get().saturating_add(SLOTS - 1));
        let next = self.wheel.slot(tick).replace(self);
        self.linked.set(tick);
        self.prev.set(ptr::null());
        self.next.set(next);
        // SAFETY: `next` was linked, so it is alive; see `Drop`.
        if let Some(next) = unsafe { next.as_ref() } {
            next.prev.set(self);
        }
    }

    fn unlink(&self) {
        if self.linked.get() == NEVER {
            return;
        }
        let (prev, next) = (self.prev.get(), self.next.get());
        // SAFETY: this row is linked, so its neighbours are, too, and linked rows are alive; see `Drop`.
        match unsafe { prev.as_ref() } {
            None => self.wheel.slot(self.linked.get()).set(next),
            Some(prev) => prev.next.set(next),
        }
        // SAFETY: as above.
        if let Some(next) = unsafe { next.as_ref() } {
            next.prev.set(prev);
        }
        self.linked.set(NEVER);
    }

    #[cold]
    fn move_forward(&self) {
        self.unlink();
        self.link();
    }

    /// Takes the row out of its slot, whose list was detached; fires what is due and links it again for the rest. Says
    /// which was next.
    fn come_up(&self) -> *const Row {
        let next = self.next.get();
        self.linked.set(NEVER);
        for (due, (ends, fired)) in self.dues.iter().zip(self.ends.iter().zip(&self.fired)) {
            if due.get() <= self.wheel.now.get() {
                due.set(NEVER);
                fired.set(true);
                shut(self.fd, ends.get());
            }
        }
        if self.due() != NEVER {
            self.link();
        }
        next
    }
}

impl Drop for Row {
    /// No row goes while it is linked: this is what the wheel's pointers rely on. (One that is leaked stays where it is.)
    fn drop(&mut self) {
        self.unlink();
    }
}

/// One worker's wheel.
pub(crate) struct Wheel {
    now: Cell<u32>,
    started: Instant,
    /// The first row of each slot. Rows keep the wheel alive.
    slots: Box<[Cell<*const Row>]>,
}

impl Wheel {
    pub(crate) fn new() -> Rc<Self> {
        let slots = (0..SLOTS).map(|_| Cell::new(ptr::null())).collect();
        Rc::new(Self { now: Cell::new(0), started: Instant::now(), slots })
    }

    /// Ticks since the worker started.
    pub(crate) fn now(&self) -> u64 {
        self.now.get().into()
    }

    /// How long until the next tick.
    pub(crate) fn until_next_tick(&self) -> Duration {
        (TICK * self.now.get().saturating_add(1)).saturating_sub(self.started.elapsed())
    }

    /// Moves on to the present and fires what is due.
    pub(crate) fn advance(&self) {
        let present = ticks_in(self.started.elapsed());
        // After a long stop of the machine one round meets every slot.
        let from = self.now.get().saturating_add(1).max(present.saturating_sub(SLOTS));
        self.now.set(present.max(self.now.get()));
        for tick in from..=present {
            self.pass(tick);
        }
    }

    fn pass(&self, tick: u32) {
        let mut row = self.slot(tick).replace(ptr::null());
        // SAFETY: rows of a slot are linked and so alive; nobody drops one between two steps of this loop.
        while let Some(up) = unsafe { row.as_ref() } {
            row = up.come_up();
        }
    }

    fn slot(&self, tick: u32) -> &Cell<*const Row> {
        &self.slots[(tick % SLOTS) as usize]
    }
}

/// Whole ticks in a time; more than the wheel can count is as good as never.
fn ticks_in(time: Duration) -> u32 {
    let seconds = u32::try_from(time.as_secs()).unwrap_or(NEVER);
    seconds.saturating_mul(TICKS_PER_SECOND).saturating_add(time.subsec_nanos() / TICK_NANOS)
}

/// Ticks that cover a time. Called with each arming; `Duration::as_millis` would divide 128 bits there.
fn ticks_over(time: Duration) -> u32 {
    let seconds = u32::try_from(time.as_secs()).unwrap_or(NEVER);
    seconds.saturating_mul(TICKS_PER_SECOND).saturating_add(time.subsec_nanos().div_ceil(TICK_NANOS))
}

fn shut(fd: RawFd, ends: Ends) {
    let how = match ends {
        Ends::Reading => Shutdown::Read,
        Ends::Both => Shutdown::Both,
    };
    // SAFETY: a deadline is disarmed and its row unlinked before its connection closes the descriptor (`Deadline` is
    // dropped first), so the number still names this connection's socket.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    // The peer may have ended the connection already: then there is nothing left to end.
    let _ = socket2::SockRef::from(&fd).shutdown(how);
}

/// One of a connection's deadlines: the only one or the first (0), or the second (1). Must be dropped before the
/// connection.
pub(crate) struct Deadline<const NTH: usize = 0> {
    row: NonNull<Row>,
}

impl Deadline {
    /// A disarmed deadline for the socket `fd`, which must stay open as long as the deadline lives.
    pub(super) fn new(wheel: &Rc<Wheel>, fd: RawFd) -> Self {
        let row = Row {
            wheel: wheel.clone(),
            prev: Cell::new(ptr::null()),
            next: Cell::new(ptr::null()),
            linked: Cell::new(NEVER),
            fd,
            handles: Cell::new(1),
            dues: [Cell::new(NEVER), Cell::new(NEVER)],
            ends: [Cell::new(Ends::Both), Cell::new(Ends::Both)],
            fired: [Cell::new(false), Cell::new(false)],
        };
        Self { row: NonNull::from(Box::leak(Box::new(row))) }
    }

    /// The connection's second deadline. There is one only.
    pub(super) fn second(&self) -> Deadline<1> {
        assert_eq!(self.row().handles.replace(2), 1, "a connection has two deadlines at most");
        Deadline { row: self.row }
    }
}

impl<const NTH: usize> Deadline<NTH> {
    fn row(&self) -> &Row {
        // SAFETY: the last handle frees the row, and this is one.
        unsafe { self.row.as_ref() }
    }

    /// Ends `ends` of the connection once `after` has passed, in place of what was armed before.
    pub(crate) fn arm(&self, after: Duration, ends: Ends) {
        let row = self.row();
        // The tick that is under way has begun already: one more.
        let due = row.wheel.now.get().saturating_add(ticks_over(after)).saturating_add(1).min(NEVER - 1);
        row.dues[NTH].set(due);
        row.ends[NTH].set(ends);
        if due < row.linked.get() {
            row.move_forward();
        }
    }

    /// Lifts the deadline.
    pub(crate) fn disarm(&self) {
        self.row().dues[NTH].set(NEVER);
    }

    /// Whether it ended its connection.
    pub(crate) fn fired(&self) -> bool {
        self.row().fired[NTH].get()
    }
}

impl<const NTH: usize> Drop for Deadline<NTH> {
    fn drop(&mut self) {
        self.disarm();
        let left = self.row().handles.get() - 1;
        self.row().handles.set(left);
        if left == 0 {
            // SAFETY: it came out of a box in `new`, and this was the last handle.
            drop(unsafe { Box::from_raw(self.row.as_ptr()) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    /// A wheel whose time the test moves.
    fn go(wheel: &Wheel, ticks: u32) {
        for _ in 0..ticks {
            wheel.now.set(wheel.now.get() + 1);
            wheel.pass(wheel.now.get());
        }
    }

    #[test]
    fn fires_when_due_and_not_before() {
        let (mut one, _other) = UnixStream::pair().unwrap();
        let wheel = Wheel::new();
        let deadline = Deadline::new(&wheel, one.as_raw_fd());
        deadline.arm(TICK * 3, Ends::Reading);
        go(&wheel, 3);
        assert!(!deadline.fired());
        go(&wheel, 1);
        assert!(deadline.fired());
        assert_eq!(one.read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn arming_again_moves_it_both_ways() {
        let (one, _other) = UnixStream::pair().unwrap();
        let wheel = Wheel::new();
        let deadline = Deadline::new(&wheel, one.as_raw_fd());
        deadline.arm(TICK * 3000, Ends::Both);
        deadline.arm(TICK * 5, Ends::Both);
        go(&wheel, 4);
        deadline.arm(TICK * 3000, Ends::Both);
        go(&wheel, 3000);
        assert!(!deadline.fired());
        deadline.disarm();
        go(&wheel, 4000);
        assert!(!deadline.fired());
        deadline.arm(TICK, Ends::Both);
        go(&wheel, 2);
        assert!(deadline.fired());
    }

    #[test]
    fn neighbours_in_a_slot_survive_one_that_leaves() {
        let (one, _other) = UnixStream::pair().unwrap();
        let wheel = Wheel::new();
        let deadlines: Vec<_> = (0..5).map(|_| Deadline::new(&wheel, one.as_raw_fd())).collect();
        deadlines.iter().for_each(|deadline| deadline.arm(TICK * 2, Ends::Reading));
        let mut deadlines = deadlines;
        drop(deadlines.remove(4));
        drop(deadlines.remove(2));
        drop(deadlines.remove(0));
        go(&wheel, 3);
        assert!(deadlines.iter().all(Deadline::fired));
        drop(deadlines);
        assert!(wheel.slots.iter().all(|slot| slot.get().is_null()));
        assert_eq!(Rc::strong_count(&wheel), 1);
    }

    #[test]
    fn two_deadlines_of_a_connection_keep_apart() {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let wheel = Wheel::new();
        let reading = Deadline::new(&wheel, one.as_raw_fd());
        let writing = reading.second();
        // The row stands where the earlier one is due, and goes on to the later one.
        writing.arm(TICK * 2000, Ends::Both);
        reading.arm(TICK * 5, Ends::Reading);
        go(&wheel, 6);
        assert_eq!((reading.fired(), writing.fired()), (true, false));
        assert_eq!(one.read(&mut [0; 1]).unwrap(), 0);
        go(&wheel, 1994);
        assert!(!writing.fired());
        one.write_all(b"x").unwrap();
        other.read_exact(&mut [0; 1]).unwrap();
        go(&wheel, 1);
        assert!(writing.fired());
        assert!(one.write_all(b"x").is_err());
    }

    #[test]
    fn a_dropped_deadline_does_not_fire_while_its_neighbour_lives() {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let wheel = Wheel::new();
        let reading = Deadline::new(&wheel, one.as_raw_fd());
        let writing = reading.second();
        writing.arm(TICK, Ends::Both);
        drop(writing);
        go(&wheel, 3);
        one.write_all(b"x").unwrap();
        other.read_exact(&mut [0; 1]).unwrap();
    }

    #[test]
    fn lists_hold_through_every_order_of_moves() {
        let (one, _other) = UnixStream::pair().unwrap();
        let wheel = Wheel::new();
        let mut random = fastrand::Rng::with_seed(7);
        let mut deadlines: Vec<(Deadline, Option<u32>)> = Vec::new();
        for _ in 0..20_000 {
            let at = random.usize(..deadlines.len().max(1));
            match random.u8(..8) {
                0 if deadlines.len() < 40 => deadlines.push((Deadline::new(&wheel, one.as_raw_fd()), None)),
                1 if !deadlines.is_empty() => drop(deadlines.swap_remove(at)),
                2 => go(&wheel, random.u32(..200)),
                3 if !deadlines.is_empty() && !deadlines[at].0.fired() => {
                    deadlines[at].0.disarm();
                    deadlines[at].1 = None;
                }
                _ if !deadlines.is_empty() && !deadlines[at].0.fired() => {
                    let ticks = random.u32(..3000);
                    deadlines[at].0.arm(TICK * ticks, Ends::Reading);
                    deadlines[at].1 = Some(wheel.now.get() + ticks + 1);
                }
                _ => {}
            }
            for (deadline, due) in &deadlines {
                let due_by_now = due.is_some_and(|due| due <= wheel.now.get());
                assert_eq!(deadline.fired(), due_by_now);
            }
        }
    }

    #[test]
    fn ticks_are_rounded_up_and_never_overflow() {
        assert_eq!(ticks_over(Duration::ZERO), 0);
        assert_eq!(ticks_over(Duration::from_nanos(1)), 1);
        assert_eq!(ticks_over(TICK), 1);
        assert_eq!(ticks_over(Duration::from_millis(1_001)), 11);
        assert_eq!(ticks_over(Duration::MAX), NEVER);
        assert_eq!(ticks_in(Duration::from_millis(1_999)), 19);
    }

    #[test]
    fn a_deadline_for_ever_does_not_fire() {
        let (one, _other) = UnixStream::pair().unwrap();
        let wheel = Wheel::new();
        let deadline = Deadline::new(&wheel, one.as_raw_fd());
        deadline.arm(Duration::MAX, Ends::Both);
        go(&wheel, 3000);
        assert!(!deadline.fired());
    }

    /// A size that the allocator has; the next one is a third more.
    #[test]
    fn a_row_is_small() {
        assert!(size_of::<Row>() <= 48, "{}", size_of::<Row>());
    }
}
