//! Hot connections: clients that sent a request a moment ago and will probably send the next one soon. Their next read is
//! posted at once, with its buffer, where waiting first and reading then would be two operations. Who stays silent gives the
//! buffer back and parks, which takes next to no memory.

use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::rc::Rc;

use slab::Slab;

use crate::conn::Client;
use crate::net::buf::Buf;
use crate::net::cancel;
use crate::net::task::Stop;

/// How many reads a worker may have posted for clients that owe nothing: what bounds the memory of their buffers.
const HOT_READS: usize = 1024;
/// For how many ticks a posted read may wait, at least; then it ends at the next tick.
const HOT_TICKS: u64 = 1;
const NOT_WAITING: u64 = u64::MAX;

/// A worker's hot connections.
#[derive(Default)]
pub(crate) struct HotReads {
    entries: RefCell<Slab<Rc<Entry>>>,
}

struct Entry {
    fd: RawFd,
    /// The tick at which the read was posted.
    since: Cell<u64>,
    /// Where a read cannot be ended by its socket.
    stop: Option<Stop>,
}

impl HotReads {
    /// A place for one connection, which must give it up before its socket closes; `None` when all are taken.
    pub(crate) fn enter(self: &Rc<Self>, client: &Client) -> Option<HotRead> {
        let mut entries = self.entries.borrow_mut();
        if entries.len() == HOT_READS {
            return None;
        }
        let stop = if cancel::is_supported() { None } else { Some(Stop::default()) };
        let entry = Rc::new(Entry { fd: client.stream.fd(), since: Cell::new(NOT_WAITING), stop });
        let key = entries.insert(entry.clone());
        drop(entries);
        Some(HotRead { reads: self.clone(), key, entry })
    }

    /// Gives back the table that a peak has left.
    pub(crate) fn age(&self) {
        let mut entries = self.entries.borrow_mut();
        if entries.is_empty() {
            *entries = Slab::new();
        }
    }

    /// Once a tick: ends the reads that have waited for long enough. No byte is lost: a read that was quicker counts.
    pub(crate) fn cool(&self, now: u64) {
        for (_, entry) in &*self.entries.borrow() {
            if entry.since.get() < now.saturating_sub(HOT_TICKS) {
                entry.since.set(NOT_WAITING);
                match &entry.stop {
                    None => cancel::end_pending(entry.fd),
                    Some(stop) => stop.stop(),
                }
            }
        }
    }
}

/// One connection's place.
pub(crate) struct HotRead {
    reads: Rc<HotReads>,
    key: usize,
    entry: Rc<Entry>,
}

impl HotRead {
    /// Waits for the client's next bytes, for not much longer than [`HOT_TICKS`].
    pub(crate) async fn wait(&self, client: &Client, input: &mut Buf, now: u64) -> Next {
        self.entry.since.set(now);
        let read = match &self.entry.stop {
            None => client.read(input).await,
            Some(stop) => client.read_until(input, stop).await,
        };
        self.entry.since.set(NOT_WAITING);
        match read {
            Ok(0) => Next::End,
            Ok(_) => Next::Came,
            // Ended by us; or it failed, and who waits for it after this will find out.
            Err(_) => Next::Silence,
        }
    }
}

/// What came of a wait.
pub(crate) enum Next {
    /// Bytes.
    Came,
    /// Nothing for a tick or two: the connection can park.
    Silence,
    /// The connection, or its time, has ended.
    End,
}

impl Drop for HotRead {
    fn drop(&mut self) {
        self.reads.entries.borrow_mut().remove(self.key);
    }
}
