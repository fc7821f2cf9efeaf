//! Idle connections to backends, of one worker: newest first, closed after their idle time or as soon as the backend
//! closes them or sends what nobody asked for.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use super::Backend;
use crate::net::deadline::TICK;
use crate::net::dial::Address;
use crate::net::patrol::{Look, Patrol};

/// The idle connections to one address.
#[derive(Default)]
pub(crate) struct Pool {
    /// How many may be idle, for the upstream that wants most.
    keepalive: Cell<usize>,
    /// How long one may be idle, in ticks, for the upstream that wants least.
    idle_ticks: Cell<u64>,
    /// The configuration that these two are of.
    generation: Cell<u64>,
    /// Oldest first.
    idle: RefCell<Vec<Idle>>,
}

struct Idle {
    backend: Box<Backend>,
    /// The tick at which it came.
    since: u64,
}

impl Pool {
    /// The newest connection that is still open and silent. Bytes that came meanwhile are the answer to nothing, so the
    /// connection that has them is of no use; looking costs one system call and never takes a wrong response.
    pub(crate) fn take(&self) -> Option<Box<Backend>> {
        loop {
            let mut backend = self.idle.borrow_mut().pop()?.backend;
            if backend.stream.is_open_and_silent() {
                backend.reused = true;
                return Some(backend);
            }
        }
    }

    /// Puts a connection back after a complete, clean exchange; over the limit the oldest one closes.
    pub(crate) fn put(&self, backend: Box<Backend>, now: u64) {
        backend.deadline.disarm();
        let mut idle = self.idle.borrow_mut();
        idle.push(Idle { backend, since: now });
        let surplus = idle.len().saturating_sub(self.keepalive.get());
        idle.drain(..surplus);
    }
}

/// A worker's pools, by address.
#[derive(Default)]
pub(crate) struct Pools {
    by_address: RefCell<HashMap<Address, Rc<Pool>, foldhash::fast::RandomState>>,
    patrol: RefCell<Patrol>,
}

impl Pools {
    /// The pool of an address, for `keepalive` connections that are idle for `idle_timeout` at most. Several upstreams of one
    /// configuration (its `generation`) share it: the largest number and the shortest time hold.
    pub(crate) fn pool(
        &self,
        address: &Address,
        generation: u64,
        keepalive: usize,
        idle_timeout: Duration,
    ) -> Rc<Pool> {
        let mut pools = self.by_address.borrow_mut();
        let pool = pools.entry(address.clone()).or_default().clone();
        let ticks = (idle_timeout.as_millis() / TICK.as_millis()) as u64;
        if pool.generation.replace(generation) == generation {
            pool.keepalive.set(pool.keepalive.get().max(keepalive));
            pool.idle_ticks.set(pool.idle_ticks.get().min(ticks));
        } else {
            pool.keepalive.set(keepalive);
            pool.idle_ticks.set(ticks);
        }
        pool
    }

    /// Once a tick: closes what is idle for too long, what the backend closed or wrote to, and what goes to addresses that
    /// no configuration names any more.
    pub(crate) fn sweep(&self, now: u64) {
        self.by_address.borrow_mut().retain(|_, pool| {
            let mut idle = pool.idle.borrow_mut();
            if !idle.is_empty() {
                idle.retain(|idle| now.saturating_sub(idle.since) <= pool.idle_ticks.get());
                close_those_that_stir(&mut idle, &mut self.patrol.borrow_mut());
            }
            drop(idle);
            Rc::strong_count(pool) > 1
        });
    }
}

fn close_those_that_stir(idle: &mut Vec<Idle>, patrol: &mut Patrol) {
    for (index, idle) in idle.iter().enumerate() {
        patrol.add(index, idle.backend.stream.fd(), Look::Anything);
    }
    let mut stirred = Vec::new();
    patrol.run(|index| stirred.push(index));
    // From the back, so that the places of the others stay.
    stirred.into_iter().rev().for_each(|index| drop(idle.remove(index)));
}
