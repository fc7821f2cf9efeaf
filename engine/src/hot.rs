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
/// How many reads are ended in a tick: the kernel looks for each of them among all that are pending.
const ENDED_IN_A_TICK: usize = 32;

/// A worker's posted reads.
#[derive(Default)]
pub(crate) struct HotReads {
    posted: RefCell<Slab<Rc<Entry>>>,
}

struct Entry {
    fd: RawFd,
    /// The tick at which the read was posted.
    since: Cell<u64>,
    /// Where a read cannot be ended by its socket.
    stop: Option<Stop>,
}

impl HotReads {
    /// What a hot connection reads with. It must go before the socket closes.
    pub(crate) fn reader(self: &Rc<Self>, client: &Client) -> HotReader {
        let stop = if cancel::is_supported() { None } else { Some(Stop::default()) };
        let entry = Rc::new(Entry { fd: client.stream.fd(), since: Cell::new(0), stop });
        HotReader { reads: self.clone(), entry }
    }

    /// Gives back the table that a peak has left.
    pub(crate) fn age(&self) {
        let mut posted = self.posted.borrow_mut();
        if posted.is_empty() {
            *posted = Slab::new();
        }
    }

    /// Once a tick: ends reads that have waited for long enough, again if need be, since one that the kernel has not got
    /// yet cannot be ended. No byte is lost: a read that was quicker counts.
    pub(crate) fn cool(&self, now: u64) {
        let posted = self.posted.borrow();
        let cold = posted.iter().filter(|(_, entry)| entry.since.get() < now.saturating_sub(HOT_TICKS));
        for (_, entry) in cold.take(ENDED_IN_A_TICK) {
            match &entry.stop {
                None => cancel::end_pending(entry.fd),
                Some(stop) => stop.stop(),
            }
        }
    }

    /// A place for a read; `None` when all are taken.
    fn post(&self, entry: &Rc<Entry>, now: u64) -> Option<Posted<'_>> {
        let mut posted = self.posted.borrow_mut();
        if posted.len() == HOT_READS {
            return None;
        }
        entry.since.set(now);
        Some(Posted { reads: self, key: posted.insert(entry.clone()) })
    }
}

/// A read's place, as long as it is pending.
struct Posted<'a> {
    reads: &'a HotReads,
    key: usize,
}

impl Drop for Posted<'_> {
    fn drop(&mut self) {
        self.reads.posted.borrow_mut().remove(self.key);
    }
}

/// One connection's way to read while it is hot.
pub(crate) struct HotReader {
    reads: Rc<HotReads>,
    entry: Rc<Entry>,
}

impl HotReader {
    /// Waits for the client's next bytes, for not much longer than [`HOT_TICKS`], and not at all when too many wait so.
    pub(crate) async fn wait(&self, client: &Client, input: &mut Buf, now: u64) -> Next {
        let Some(posted) = self.reads.post(&self.entry, now) else { return Next::Silence };
        let read = match &self.entry.stop {
            None => client.read(input).await,
            Some(stop) => client.read_until(input, stop).await,
        };
        drop(posted);
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
