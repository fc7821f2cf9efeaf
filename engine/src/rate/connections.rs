//! The open connections of each client, over all workers: how many a client may have at one time is up to the listener.
//!
//! A count is exact, and there is one for each client that has a connection, and no other. So it stands behind a lock: one of
//! many, held for a look into a map, when a connection is accepted and when it ends. No request takes it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::ClientKey;

/// So many parts, each with its lock: many more than there are workers, so that two hardly meet.
const PARTS_POWER: u32 = 6;
/// The log hears at most so often that a client has too many, in milliseconds: it may try thousands of times a second.
const TELL_EVERY_MS: u64 = 1000;
/// Room for counts that a part keeps when it has less to count.
const SPARE_COUNTS: usize = 64;

/// The open connections of clients.
#[derive(Debug)]
pub(crate) struct Connections {
    /// Peers choose their addresses: without the secret of this hash they cannot choose who is counted with them.
    secret: RandomState,
    parts: [Part; 1 << PARTS_POWER],
    /// When the log is to hear next that a client has too many.
    tells_next_ms: AtomicU64,
}

/// On cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Part(Mutex<Counts>);

/// The keys are hashes already, and this makes good bits of all of theirs.
type Counts = HashMap<u64, u32, foldhash::fast::FixedState>;

/// A client of a listener, as its connections are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted(u64);

impl Default for Connections {
    fn default() -> Self {
        Self {
            secret: RandomState::new(),
            parts: std::array::from_fn(|_| Part::default()),
            tells_next_ms: AtomicU64::new(0),
        }
    }
}

impl Connections {
    /// How the connections of `peer` to the listener of this identity are counted.
    pub(crate) fn key(&self, listener: &str, peer: IpAddr) -> Counted {
        Counted(self.secret.hash_one((listener, ClientKey::of(Some(peer)))))
    }

    /// Counts a connection, unless `at_most` (0: no limit) are open. Says whether it did; then [`leave`](Self::leave) is owed.
    pub(crate) fn enter(&self, key: Counted, at_most: u32) -> bool {
        let mut counts = self.part(key);
        let open = counts.entry(key.0).or_insert(0);
        let enters = at_most == 0 || *open < at_most;
        // A new entry enters: it has none open.
        *open += u32::from(enters);
        enters
    }

    /// A connection that was counted has ended.
    pub(crate) fn leave(&self, key: Counted) {
        let mut counts = self.part(key);
        match counts.get_mut(&key.0) {
            Some(open) if *open > 1 => *open -= 1,
            _ => drop(counts.remove(&key.0)),
        }
        if counts.capacity() > SPARE_COUNTS && counts.len() < counts.capacity() / 4 {
            let room = (2 * counts.len()).max(SPARE_COUNTS / 2);
            counts.shrink_to(room);
        }
    }

    /// Whether the log is to hear of a client that has too many, and not of another one for a while.
    pub(crate) fn tells_at(&self, now_ms: u64) -> bool {
        let next_ms = self.tells_next_ms.load(Relaxed);
        let after_ms = now_ms + TELL_EVERY_MS;
        now_ms >= next_ms && self.tells_next_ms.compare_exchange(next_ms, after_ms, Relaxed, Relaxed).is_ok()
    }

    fn part(&self, Counted(key): Counted) -> MutexGuard<'_, Counts> {
        let Part(counts) = &self.parts[(key >> (u64::BITS - PARTS_POWER)) as usize];
        counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn each_client_of_each_listener_is_counted_by_itself() {
        let connections = Connections::default();
        let key = |listener, text: &str| connections.key(listener, text.parse().unwrap());
        let one = key(":80", "192.0.2.1");
        assert!(connections.enter(one, 2) && connections.enter(one, 2) && !connections.enter(one, 2));
        assert!(!connections.enter(key(":80", "::ffff:192.0.2.1"), 2));
        assert!(
            connections.enter(key(":81", "192.0.2.1"), 1) && connections.enter(key(":80", "192.0.2.2"), 1)
        );
        assert!(connections.enter(one, 3), "a limit that was raised holds at once");
        assert!(!connections.enter(one, 1), "and one that was lowered");
        assert!(connections.enter(one, 0));
        (0..4).for_each(|_| connections.leave(one));
        assert!(connections.enter(one, 1));
    }

    #[test]
    fn only_clients_with_connections_take_memory() {
        let connections = Connections::default();
        let keys: Vec<_> = (0..100_000).map(|number| connections.key(":80", address(number))).collect();
        assert!(keys.iter().all(|&key| connections.enter(key, 1)));
        keys.iter().for_each(|&key| connections.leave(key));
        for Part(counts) in &connections.parts {
            let counts = counts.lock().unwrap();
            assert!(counts.is_empty() && counts.capacity() <= 2 * SPARE_COUNTS, "{}", counts.capacity());
        }
    }

    #[test]
    fn the_log_hears_of_it_once_a_second() {
        let connections = Connections::default();
        let told: Vec<_> = (0..2500).filter(|&now_ms| connections.tells_at(now_ms)).collect();
        assert_eq!(told, [0, 1000, 2000]);
    }

    #[test]
    fn threads_let_in_as_many_as_may() {
        const AT_MOST: u32 = 7;
        let connections = Connections::default();
        let keys: Vec<_> = (0..1000).map(|number| connections.key(":80", address(number))).collect();
        for _ in 0..3 {
            let enter =
                || keys.iter().map(|&key| (0..AT_MOST).filter(|_| connections.enter(key, AT_MOST)).count());
            let entered: usize = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| enter().sum::<usize>())).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            assert_eq!(entered, keys.len() * AT_MOST as usize);
            std::thread::scope(|scope| {
                for _ in 0..AT_MOST {
                    scope.spawn(|| keys.iter().for_each(|&key| connections.leave(key)));
                }
            });
        }
    }
}
