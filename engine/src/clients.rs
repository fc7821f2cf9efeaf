//! A worker's client connections, as far as others look at them: which are idle (those close when their listener goes), and
//! which wait for a response (their clients are watched, once a tick, for going away).
//!
//! What a connection does is said with each request, so saying it is a few stores in its own entry. Only those that
//! waited since the last tick are looked at once a tick, however many others are open.

use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::rc::Rc;

use crate::listener::Listener;
use crate::net::patrol::{self, Look, Patrol, trim};

/// What a client connection does.
#[derive(Clone, Copy)]
enum Phase {
    /// It waits for a request.
    Idle,
    /// It reads a request or is otherwise looked after.
    Busy,
    /// Its request is at a backend, since this tick; nobody reads from the client.
    Waiting { backend: RawFd, look: Look, since: u32 },
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
    /// connection is cut, which wakes the exchange. Quick exchanges never cost a look.
    pub(crate) fn patrol(&self, now: u64) {
        let mut patrol = self.patrol.borrow_mut();
        let mut watched = self.watched.borrow_mut();
        watched.retain(|entry| entry.stays_watched());
        for (key, entry) in watched.iter().enumerate() {
            if let Phase::Waiting { look, since, .. } = entry.phase.get()
                && u64::from(since) < now
                && !entry.gone.get()
            {
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
        let waiting = matches!(self.phase.get(), Phase::Waiting { .. });
        self.watched.set(waiting);
        waiting
    }

    fn lose(&self) {
        if let Phase::Waiting { backend, .. } = self.phase.get() {
            self.gone.set(true);
            patrol::cut(backend);
        }
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
}
