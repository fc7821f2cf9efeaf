//! The deadline wheel: one coarse timer for each worker ends what takes too long, by `shutdown(2)` on its socket, which
//! completes every operation in flight and gives all buffers back.
//!
//! An entry belongs to a connection for its whole life and is unlinked before the descriptor closes: a stale one would
//! kill a stranger that got the same number. Arming is a store; the entry moves in the wheel only when it must fire
//! earlier than it stands, or when it comes up and is not due yet. So a deadline that is set and lifted with each
//! request costs a few instructions, and a pass over the wheel costs each connection one step now and then.

use std::cell::{Cell, RefCell};
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use slab::Slab;

/// How fine deadlines are. A deadline fires up to one tick late, never early.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// How many ticks the wheel spans; entries that are due later come up once a round and go on.
const SLOTS: usize = 1024;
const NEVER: u64 = u64::MAX;
/// No entry.
const NIL: usize = usize::MAX;

/// Which half of its connection a deadline ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// Reading stops (end of file); the other half can still answer 408.
    Reading,
    /// The connection is over.
    Both,
}

struct Entry {
    fd: RawFd,
    /// The tick at which it fires; [`NEVER`] while it is disarmed.
    due: u64,
    ends: Ends,
    fired: bool,
    /// The tick whose slot it stands in; [`NEVER`] while it stands in none. At most `due` when it is armed.
    linked: u64,
    prev: usize,
    next: usize,
}

/// One worker's wheel.
pub(crate) struct Wheel {
    now: Cell<u64>,
    started: Instant,
    entries: RefCell<Slab<Entry>>,
    /// The first entry of each slot.
    slots: RefCell<Box<[usize]>>,
}

impl Wheel {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            now: Cell::new(0),
            started: Instant::now(),
            entries: RefCell::default(),
            slots: RefCell::new(vec![NIL; SLOTS].into_boxed_slice()),
        })
    }

    /// Ticks since the worker started.
    pub(crate) fn now(&self) -> u64 {
        self.now.get()
    }

    /// How long until the next tick.
    pub(crate) fn until_next_tick(&self) -> Duration {
        let next = TICK * u32::try_from(self.now() + 1).unwrap_or(u32::MAX);
        next.saturating_sub(self.started.elapsed())
    }

    /// Moves on to the present and fires what is due.
    pub(crate) fn advance(&self) {
        let present = (self.started.elapsed().as_millis() / TICK.as_millis()) as u64;
        // After a long stop of the machine one round meets every slot.
        let from = (self.now() + 1).max(present.saturating_sub(SLOTS as u64));
        self.now.set(present.max(self.now()));
        for tick in from..=present {
            self.pass(tick);
        }
    }

    fn pass(&self, tick: u64) {
        let mut key = std::mem::replace(&mut self.slots.borrow_mut()[slot(tick)], NIL);
        while key != NIL {
            let next = self.come_up(key);
            key = next;
        }
    }

    /// Takes the entry out of its slot (whose list was detached) and fires it or links it again. Says which was next.
    fn come_up(&self, key: usize) -> usize {
        let now = self.now();
        let mut entries = self.entries.borrow_mut();
        let entry = &mut entries[key];
        let next = entry.next;
        (entry.linked, entry.prev, entry.next) = (NEVER, NIL, NIL);
        if entry.due <= now {
            entry.due = NEVER;
            entry.fired = true;
            shut(entry.fd, entry.ends);
        } else if entry.due != NEVER {
            self.link(&mut entries, key);
        }
        next
    }

    fn link(&self, entries: &mut Slab<Entry>, key: usize) {
        let tick = entries[key].due.min(self.now() + SLOTS as u64 - 1);
        let head = std::mem::replace(&mut self.slots.borrow_mut()[slot(tick)], key);
        let entry = &mut entries[key];
        (entry.linked, entry.prev, entry.next) = (tick, NIL, head);
        if head != NIL {
            entries[head].prev = key;
        }
    }

    fn unlink(&self, entries: &mut Slab<Entry>, key: usize) {
        let (linked, prev, next) = (entries[key].linked, entries[key].prev, entries[key].next);
        if linked == NEVER {
            return;
        }
        match prev {
            NIL => self.slots.borrow_mut()[slot(linked)] = next,
            prev => entries[prev].next = next,
        }
        if next != NIL {
            entries[next].prev = prev;
        }
        entries[key].linked = NEVER;
    }
}

fn slot(tick: u64) -> usize {
    (tick % SLOTS as u64) as usize
}

fn shut(fd: RawFd, ends: Ends) {
    let how = match ends {
        Ends::Reading => Shutdown::Read,
        Ends::Both => Shutdown::Both,
    };
    // SAFETY: the entry is unlinked before its connection closes the descriptor (`Deadline` is dropped first), so the
    // number still names this connection's socket.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    // The peer may have ended the connection already: then there is nothing left to end.
    let _ = socket2::SockRef::from(&fd).shutdown(how);
}

/// A connection's place in the wheel. Must be dropped before the connection.
pub(crate) struct Deadline {
    wheel: Rc<Wheel>,
    key: usize,
}

impl Deadline {
    /// A disarmed deadline for the socket `fd`, which must stay open as long as the deadline lives.
    pub(super) fn new(wheel: &Rc<Wheel>, fd: RawFd) -> Self {
        let entry =
            Entry { fd, due: NEVER, ends: Ends::Both, fired: false, linked: NEVER, prev: NIL, next: NIL };
        let key = wheel.entries.borrow_mut().insert(entry);
        Self { wheel: wheel.clone(), key }
    }

    /// Ends `ends` of the connection once `after` has passed, in place of what was armed before.
    pub(crate) fn arm(&self, after: Duration, ends: Ends) {
        let wheel = &*self.wheel;
        let ticks = after.as_millis().div_ceil(TICK.as_millis()) as u64;
        let mut entries = wheel.entries.borrow_mut();
        let entry = &mut entries[self.key];
        entry.due = wheel.now().saturating_add(ticks).saturating_add(1);
        entry.ends = ends;
        if entry.due < entry.linked {
            wheel.unlink(&mut entries, self.key);
            wheel.link(&mut entries, self.key);
        }
    }

    /// Lifts the deadline.
    pub(crate) fn disarm(&self) {
        self.wheel.entries.borrow_mut()[self.key].due = NEVER;
    }

    /// Whether it ended its connection.
    pub(crate) fn fired(&self) -> bool {
        self.wheel.entries.borrow()[self.key].fired
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let mut entries = self.wheel.entries.borrow_mut();
        self.wheel.unlink(&mut entries, self.key);
        entries.remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    /// A wheel whose time the test moves.
    fn go(wheel: &Wheel, ticks: u64) {
        for _ in 0..ticks {
            wheel.now.set(wheel.now() + 1);
            wheel.pass(wheel.now());
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
        assert!(wheel.entries.borrow().is_empty());
    }
}
