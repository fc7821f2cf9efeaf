//! A worker's client connections, as far as others look at them: which are idle (those close when their listener goes), and
//! which wait for a response (their clients are watched, once a tick, for going away).

use std::cell::RefCell;
use std::os::fd::RawFd;
use std::rc::Rc;

use slab::Slab;

use crate::listener::Listener;
use crate::net::patrol::{self, Look, Patrol};

/// What a client connection does.
#[derive(Clone, Copy)]
enum Phase {
    /// It waits for a request.
    Idle,
    /// It reads a request or is otherwise looked after.
    Busy,
    /// Its request is at a backend, since this tick; nobody reads from the client.
    Waiting { backend: RawFd, look: Look, since: u64 },
}

struct Entry {
    fd: RawFd,
    listener: Rc<Listener>,
    phase: Phase,
    gone: bool,
}

/// A worker's client connections.
#[derive(Default)]
pub(crate) struct Clients {
    entries: RefCell<Slab<Entry>>,
    patrol: RefCell<Patrol>,
}

impl Clients {
    /// Enters a connection, busy. The registration must be dropped before the socket closes.
    pub(crate) fn register(self: &Rc<Self>, fd: RawFd, listener: Rc<Listener>) -> Registration {
        let entry = Entry { fd, listener, phase: Phase::Busy, gone: false };
        let key = self.entries.borrow_mut().insert(entry);
        Registration { clients: self.clone(), key }
    }

    /// Wakes the idle connections of a listener that is closing: they see it and close.
    pub(crate) fn wake_idle(&self, listener: &Rc<Listener>) {
        for (_, entry) in &*self.entries.borrow() {
            if matches!(entry.phase, Phase::Idle) && Rc::ptr_eq(&entry.listener, listener) {
                patrol::end_reading(entry.fd);
            }
        }
    }

    /// Looks after the clients that have been waiting for longer than a tick; of one that has gone the backend
    /// connection is cut, which wakes the exchange. Quick exchanges never cost a look.
    pub(crate) fn patrol(&self, now: u64) {
        let mut patrol = self.patrol.borrow_mut();
        for (key, entry) in &*self.entries.borrow() {
            if let Phase::Waiting { look, since, .. } = entry.phase
                && since < now
                && !entry.gone
            {
                patrol.add(key, entry.fd, look);
            }
        }
        patrol.run(|key| self.lose(key));
    }

    fn lose(&self, key: usize) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(key)
            && let Phase::Waiting { backend, .. } = entry.phase
        {
            entry.gone = true;
            patrol::cut(backend);
        }
    }
}

/// One connection's entry.
pub(crate) struct Registration {
    clients: Rc<Clients>,
    key: usize,
}

impl Registration {
    /// It waits for a request.
    pub(crate) fn idle(&self) {
        self.set(Phase::Idle);
    }

    /// It does something.
    pub(crate) fn busy(&self) {
        self.set(Phase::Busy);
    }

    /// It waits for the backend connection `backend`, as long as the guard lives, which must go before that connection.
    pub(crate) fn waiting(&self, backend: RawFd, look: Look, now: u64) -> Waiting<'_> {
        self.set(Phase::Waiting { backend, look, since: now });
        Waiting(self)
    }

    /// Its client went away while it waited.
    pub(crate) fn gone(&self) -> bool {
        self.clients.entries.borrow()[self.key].gone
    }

    fn set(&self, phase: Phase) {
        self.clients.entries.borrow_mut()[self.key].phase = phase;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.clients.entries.borrow_mut().remove(self.key);
    }
}

/// While it lives, the client is watched.
pub(crate) struct Waiting<'a>(&'a Registration);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.busy();
    }
}
