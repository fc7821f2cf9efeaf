//! A worker's client connections, as far as others look at them: which are idle (those close when their listener goes), and
//! which wait for a response, in a line or for a connection (their clients are watched, once a tick, for going away).
//!
//! What a connection does is said with each request, so saying it is a few stores in its own entry. Only those that
//! waited since the last tick are looked at once a tick, however many others are open.

use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;

use crate::error::Error;
use crate::listener::Listener;
use crate::net::deadline::TICK;
use crate::net::patrol::{self, Look, Patrol, trim};

/// Room that is kept for those in lines when there are none.
const SPARE_WAITS: usize = 64;

/// What a client connection does.
#[derive(Clone, Copy)]
enum Phase {
    /// It waits for a request.
    Idle,
    /// It reads a request or is otherwise looked after.
    Busy,
    /// Its request is at a backend, since this tick; nobody reads from the client.
    Waiting { backend: RawFd, look: Look, since: u32 },
    /// Its request waits in a line or for a connection, since this tick, as `wait` of [`Clients::waits`]; nobody reads from the
    /// client.
    InLine { wait: u32, look: Look, since: u32 },
}

/// A wait in a line or for a connection, as far as it may end otherwise than by what is waited for. Kept apart from the
/// entries, which stay small.
struct Wait {
    /// The task that waits; none before its first poll.
    waker: Option<Waker>,
    /// The tick at which its time is over.
    due: u64,
    ended: Option<Error>,
}

struct Entry {
    listener: Rc<Listener>,
    fd: RawFd,
    /// Where it stands in [`Clients::all`]; descriptors are fewer than this counts.
    place: Cell<u32>,
    phase: Cell<Phase>,
    /// It stands in [`Clients::watched`].
    watched: Cell<bool>,
    gone: Cell<bool>,
}

/// A worker's client connections.
#[derive(Default)]
pub(crate) struct Clients {
    all: RefCell<Vec<Rc<Entry>>>,
    /// Those that have begun to wait since the last tick, or wait still. They leave at the next tick after that, even when
    /// their connection is closed meanwhile.
    watched: RefCell<Vec<Rc<Entry>>>,
    waits: RefCell<Slab<Wait>>,
    patrol: RefCell<Patrol>,
}

impl Clients {
    /// Enters a connection of `listener`, busy. The registration must be dropped before the socket closes.
    pub(crate) fn register(fd: RawFd, listener: Rc<Listener>) -> Registration {
        let clients = listener.clients.clone();
        let mut all = clients.all.borrow_mut();
        let entry = Rc::new(Entry {
            listener,
            fd,
            place: Cell::new(all.len() as u32),
            phase: Cell::new(Phase::Busy),
            watched: Cell::new(false),
            gone: Cell::new(false),
        });
        all.push(entry.clone());
        Registration { entry }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.borrow().len()
    }

    /// Wakes the idle connections of a listener that is closing: they see it and close.
    pub(crate) fn wake_idle(&self, listener: &Rc<Listener>) {
        for entry in &*self.all.borrow() {
            if matches!(entry.phase.get(), Phase::Idle) && Rc::ptr_eq(&entry.listener, listener) {
                patrol::end_reading(entry.fd);
            }
        }
    }

    /// Looks after the clients that have been waiting for longer than a tick; of one that has gone the backend
    /// connection is cut, which wakes the exchange, or its wait in a line ends. So does one whose time is over. Quick
    /// exchanges never cost a look.
    pub(crate) fn patrol(&self, now: u64) {
        let mut patrol = self.patrol.borrow_mut();
        let mut watched = self.watched.borrow_mut();
        watched.retain(|entry| entry.stays_watched());
        for (key, entry) in watched.iter().enumerate() {
            entry.mind_time(now);
            if let Some(look) = entry.looked_at(now) {
                patrol.add(key, entry.fd, look);
            }
        }
        patrol.run(|key| watched[key].lose());
        trim(&mut watched);
        trim(&mut self.all.borrow_mut());
    }
}

impl Entry {
    fn stays_watched(&self) -> bool {
        let waiting = matches!(self.phase.get(), Phase::Waiting { .. } | Phase::InLine { .. });
        self.watched.set(waiting);
        waiting
    }

    /// What its client is looked at for now, if it is.
    fn looked_at(&self, now: u64) -> Option<Look> {
        let (Phase::Waiting { look, since, .. } | Phase::InLine { look, since, .. }) = self.phase.get()
        else {
            return None;
        };
        (u64::from(since) < now && !self.gone.get()).then_some(look)
    }

    /// Ends its wait in a line when the time for that is over.
    fn mind_time(&self, now: u64) {
        if let Phase::InLine { wait, .. } = self.phase.get()
            && let Some(wait) = self.listener.clients.waits.borrow_mut().get_mut(wait as usize)
            && wait.due <= now
        {
            wait.end(Error::QueueTimeout);
        }
    }

    fn lose(&self) {
        match self.phase.get() {
            Phase::Idle | Phase::Busy => {}
            Phase::Waiting { backend, .. } => {
                self.gone.set(true);
                patrol::cut(backend);
            }
            Phase::InLine { wait, .. } => {
                self.gone.set(true);
                if let Some(wait) = self.listener.clients.waits.borrow_mut().get_mut(wait as usize) {
                    wait.end(Error::ClientGone);
                }
            }
        }
    }
}

impl Wait {
    fn end(&mut self, error: Error) {
        self.ended = Some(error);
        self.waker.take().into_iter().for_each(Waker::wake);
    }
}

/// One connection's entry.
pub(crate) struct Registration {
    entry: Rc<Entry>,
}

impl Registration {
    /// It waits for a request.
    pub(crate) fn idle(&self) {
        self.entry.phase.set(Phase::Idle);
    }

    /// It does something.
    pub(crate) fn busy(&self) {
        self.entry.phase.set(Phase::Busy);
    }

    /// It waits for the backend connection `backend`, as long as the guard lives, which must go before that connection.
    pub(crate) fn waiting(&self, backend: RawFd, look: Look, now: u64) -> Waiting<'_> {
        // Past that tick it would be looked at a little early.
        let since = now as u32;
        self.entry.phase.set(Phase::Waiting { backend, look, since });
        if !self.entry.watched.get() {
            self.watch();
        }
        Waiting(self)
    }

    #[cold]
    fn watch(&self) {
        self.entry.watched.set(true);
        self.entry.listener.clients.watched.borrow_mut().push(self.entry.clone());
    }

    /// Its request waits, in a line or for a connection, for `at_most`, as long as the guard lives. `now` is the present tick.
    pub(crate) fn in_line(&self, look: Look, now: u64, at_most: Duration) -> InLine<'_> {
        // The tick that is under way has begun already: one more.
        let ticks = at_most.as_nanos().div_ceil(TICK.as_nanos()).saturating_add(1);
        let due = now.saturating_add(u64::try_from(ticks).unwrap_or(u64::MAX));
        let ended = self.gone().then_some(Error::ClientGone);
        let wait = self.entry.listener.clients.waits.borrow_mut().insert(Wait { waker: None, due, ended });
        // There are no more of them than descriptors.
        self.entry.phase.set(Phase::InLine { wait: wait as u32, look, since: now as u32 });
        if !self.entry.watched.get() {
            self.watch();
        }
        InLine { registration: self, wait }
    }

    /// Its client went away while it waited.
    pub(crate) fn gone(&self) -> bool {
        self.entry.gone.get()
    }

    /// Where it was accepted.
    pub(crate) fn listener(&self) -> &Rc<Listener> {
        &self.entry.listener
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // Its entry may be watched until the next tick, when the descriptor's number may name a stranger.
        self.busy();
        let mut all = self.entry.listener.clients.all.borrow_mut();
        let place = self.entry.place.get();
        all.swap_remove(place as usize);
        if let Some(moved) = all.get(place as usize) {
            moved.place.set(place);
        }
    }
}

/// While it lives, the client is watched.
pub(crate) struct Waiting<'a>(&'a Registration);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.busy();
    }
}

/// While it lives, the client is watched, and the time that it may wait in a line or for a connection.
pub(crate) struct InLine<'a> {
    registration: &'a Registration,
    wait: usize,
}

impl InLine<'_> {
    /// Ready once the wait must end, with what ended it: `ClientGone` or `QueueTimeout`.
    pub(crate) fn poll_ended(&self, cx: &Context<'_>) -> Poll<Error> {
        let wait = &mut self.waits().borrow_mut()[self.wait];
        match (wait.ended, &mut wait.waker) {
            (Some(error), _) => return Poll::Ready(error),
            (None, Some(waker)) => waker.clone_from(cx.waker()),
            (None, none) => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn waits(&self) -> &RefCell<Slab<Wait>> {
        &self.registration.entry.listener.clients.waits
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.registration.busy();
        let mut waits = self.waits().borrow_mut();
        waits.remove(self.wait);
        if waits.is_empty() && waits.capacity() > SPARE_WAITS {
            *waits = Slab::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    fn pair() -> (UnixStream, UnixStream) {
        let (here, there) = UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        (here, there)
    }

    fn listener(clients: &Rc<Clients>, identity: &str) -> Rc<Listener> {
        Listener::new(identity.into(), clients.clone())
    }

    fn has_ended(mut here: &UnixStream) -> bool {
        matches!(here.read(&mut [0; 1]), Ok(0))
    }

    #[test]
    fn only_the_idle_of_a_closing_listener_are_woken() {
        let clients = Rc::new(Clients::default());
        let (one, other) = (listener(&clients, "one"), listener(&clients, "other"));
        let pairs: Vec<_> = (0..4).map(|_| pair()).collect();
        let at = [&one, &one, &other, &one];
        let mut entered: Vec<_> = pairs
            .iter()
            .zip(at)
            .map(|((here, _), listener)| Clients::register(here.as_raw_fd(), listener.clone()))
            .collect();
        entered.iter().for_each(Registration::idle);
        // The last takes the place of one that leaves.
        drop(entered.remove(0));
        entered[0].busy();
        clients.wake_idle(&one);
        let ended: Vec<_> = pairs.iter().map(|(here, _)| has_ended(here)).collect();
        assert_eq!(ended, [false, false, false, true]);
        drop(entered);
        assert!(clients.all.borrow().is_empty());
    }

    #[test]
    fn who_goes_while_waiting_loses_the_backend() {
        let clients = Rc::new(Clients::default());
        let listener = listener(&clients, "one");
        let ((client, away), (backend, _far)) = (pair(), pair());
        let registration = Clients::register(client.as_raw_fd(), listener);
        let waiting = registration.waiting(backend.as_raw_fd(), Look::PeerClosed, 5);
        drop(away);
        // Not in the tick in which it began.
        clients.patrol(5);
        assert!(!registration.gone() && !has_ended(&backend));
        clients.patrol(6);
        assert!(registration.gone() && has_ended(&backend));
        drop(waiting);
        clients.patrol(7);
        assert!(clients.watched.borrow().is_empty());
    }

    #[test]
    fn a_second_wait_in_a_tick_is_watched_once_and_as_long_as_it_lasts() {
        let clients = Rc::new(Clients::default());
        let ((client, away), (backend, mut far)) = (pair(), pair());
        let registration = Clients::register(client.as_raw_fd(), listener(&clients, "one"));
        drop(registration.waiting(backend.as_raw_fd(), Look::PeerClosed, 5));
        let waiting = registration.waiting(backend.as_raw_fd(), Look::PeerClosed, 5);
        assert_eq!(clients.watched.borrow().len(), 1);
        clients.patrol(6);
        drop(waiting);
        drop(away);
        // It waits no longer: its backend serves somebody else by now.
        clients.patrol(7);
        far.write_all(b"x").unwrap();
        assert!(!has_ended(&backend) && !registration.gone());
        let _waiting = registration.waiting(backend.as_raw_fd(), Look::PeerClosed, 7);
        clients.patrol(8);
        assert!(registration.gone());
    }

    #[test]
    fn a_connection_that_closed_is_not_looked_at() {
        let clients = Rc::new(Clients::default());
        let ((client, away), (backend, _far)) = (pair(), pair());
        let registration = Clients::register(client.as_raw_fd(), listener(&clients, "one"));
        drop(registration.waiting(backend.as_raw_fd(), Look::PeerClosed, 5));
        drop(registration);
        drop(away);
        clients.patrol(7);
        assert!(clients.watched.borrow().is_empty() && !has_ended(&backend));
    }

    const LONG: Duration = Duration::from_secs(3600);

    fn poll(in_line: &InLine<'_>) -> Poll<Error> {
        in_line.poll_ended(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_goes_while_in_a_line_leaves_it() {
        let clients = Rc::new(Clients::default());
        let (client, away) = pair();
        let registration = Clients::register(client.as_raw_fd(), listener(&clients, "one"));
        let in_line = registration.in_line(Look::PeerClosed, 5, LONG);
        drop(away);
        // Not in the tick in which it began.
        clients.patrol(5);
        assert_eq!(poll(&in_line), Poll::Pending);
        clients.patrol(6);
        assert_eq!(poll(&in_line), Poll::Ready(Error::ClientGone));
        assert!(registration.gone());
        drop(in_line);
        // It goes from line to line in vain.
        assert_eq!(poll(&registration.in_line(Look::PeerClosed, 6, LONG)), Poll::Ready(Error::ClientGone));
        clients.patrol(7);
        assert!(clients.watched.borrow().is_empty() && clients.waits.borrow().is_empty());
    }

    #[test]
    fn time_in_a_line_ends_late_and_never_early() {
        let clients = Rc::new(Clients::default());
        let pairs = [pair(), pair(), pair()];
        let times = [Duration::ZERO, TICK, TICK + Duration::from_nanos(1)];
        let registrations =
            pairs.each_ref().map(|pair| Clients::register(pair.0.as_raw_fd(), listener(&clients, "one")));
        let mut lines: Vec<_> = std::iter::zip(&registrations, times)
            .map(|(registration, time)| registration.in_line(Look::PeerClosed, 5, time))
            .collect();
        for (tick, ended) in [(5, 0), (6, 1), (7, 2), (8, 3)] {
            clients.patrol(tick);
            let over: Vec<_> = lines.iter().map(|line| poll(line).is_ready()).collect();
            assert_eq!(over, [ended > 0, ended > 1, ended > 2]);
        }
        // One that leaves in the midst of others does not take their time with it.
        lines.remove(0);
        assert_eq!(poll(&lines[1]), Poll::Ready(Error::QueueTimeout));
        assert!(!registrations[2].gone());
    }

    #[test]
    fn who_waits_in_a_line_is_woken_once_it_ends() {
        struct Told(std::sync::atomic::AtomicBool);
        impl std::task::Wake for Told {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let clients = Rc::new(Clients::default());
        let (client, _away) = pair();
        let registration = Clients::register(client.as_raw_fd(), listener(&clients, "one"));
        let in_line = registration.in_line(Look::PeerClosed, 5, TICK);
        let told = std::sync::Arc::new(Told(false.into()));
        // The waker that came last counts.
        assert!(poll(&in_line).is_pending());
        assert!(in_line.poll_ended(&Context::from_waker(&told.clone().into())).is_pending());
        clients.patrol(6);
        assert!(!told.0.load(std::sync::atomic::Ordering::Relaxed));
        clients.patrol(7);
        assert!(told.0.load(std::sync::atomic::Ordering::Relaxed));
    }

    #[test]
    fn many_in_lines_leave_no_room_behind() {
        let clients = Rc::new(Clients::default());
        let (client, _away) = pair();
        let register = |_| Clients::register(client.as_raw_fd(), listener(&clients, "one"));
        let registrations: Vec<_> = (0..10 * SPARE_WAITS).map(register).collect();
        let in_line = |registration| Registration::in_line(registration, Look::PeerClosed, 5, LONG);
        drop(registrations.iter().map(in_line).collect::<Vec<_>>());
        assert!(clients.waits.borrow().is_empty() && clients.waits.borrow().capacity() <= SPARE_WAITS);
    }

    #[test]
    fn an_entry_is_small() {
        // With the two counters of its Rc 48 bytes, which `conn` counts on.
        assert!(size_of::<Entry>() <= 32, "{}", size_of::<Entry>());
    }
}
