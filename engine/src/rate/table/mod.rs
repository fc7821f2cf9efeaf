//! What all limits count, in a table of fixed size: for each key the time at which it will be idle, and nothing else. Threads
//! share it without a lock. It reads no clock.
//!
//! A key is a number of 64 bits, which its owner has from a keyed hash. Its high bits say to which *set* it belongs, a pair of
//! cache lines; there it has one of eight slots, a tag (the whole key) and an arrival time (see [`Rate`]). A slot whose arrival
//! time has passed says no more than one that was never used, so nobody needs to clear old ones.
//!
//! **When a set is full of slots that still say something**, the one goes that would be idle the soonest; its key begins anew.
//! Who comes too often is a whole burst ahead, and so goes last: those go before who have only just come. To be forgotten all
//! the same, it needs a new key that comes to its set while the other seven are as far ahead. Nobody can tell which keys share a
//! set, so that takes as many busy keys as the whole table has room for; and what it brings is one burst for one of them.
//! Times of all limits are compared alike: a key of a limit whose requests are hours apart outlives one of a limit by the minute. Where
//! clients choose the keys of the first they can so have the second forget, at the price of a table full of requests.
//!
//! **What several threads do at once**: a tag that is found is settled by one compare-and-swap on its arrival time, so no
//! request counts twice or not at all. A new key takes its slot by one compare-and-swap on the tag; of two threads that bring
//! the same new key, both choose the same slot, and one finds the other's tag. Only where a third key changes the same set
//! within those nanoseconds may a key get two slots, or an arrival time end up with the next owner of its slot: worth one
//! request, once.

#[cfg(test)]
mod tests;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::net::memory::{LINE_NUMBERS, LinePair, zeroed_lines};

/// No two threads' times of the same moment are so far apart, in nanoseconds.
const SKEW_MAX_NS: u64 = 1_000_000_000;

/// The generic cell rate algorithm (ITU-T I.371): requests are to come `interval_ns` apart, and a key that was idle may be ahead
/// of that by a burst. All that it needs to know of a key is its *arrival time*: when the next request would have to come if
/// all came evenly. A key whose arrival time has passed is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) interval_ns: u64,
    /// `interval_ns` for each request of a burst; at least one.
    pub(super) burst_ns: u64,
}

impl Rate {
    /// The arrival time after one more request at `now_ns`.
    ///
    /// # Errors
    /// For how many nanoseconds it comes too soon.
    fn after_one_more(self, arrival_ns: u64, now_ns: u64) -> Result<u64, u64> {
        let next_ns = arrival_ns.max(now_ns).saturating_add(self.interval_ns);
        let at_most_ns = now_ns.saturating_add(self.burst_ns);
        if next_ns <= at_most_ns { Ok(next_ns) } else { Err(next_ns - at_most_ns) }
    }

    /// An arrival time as this rate may have left it. One that is too far ahead was left by a slower rate, under a configuration
    /// before: what it says is that the key was busy, and for this rate that is a burst, used up.
    fn believed(self, arrival_ns: u64, now_ns: u64) -> u64 {
        let farthest_ns = now_ns.saturating_add(self.burst_ns);
        if arrival_ns > farthest_ns.saturating_add(SKEW_MAX_NS) { farthest_ns } else { arrival_ns }
    }

    /// Counts one request in `arrival`.
    ///
    /// # Errors
    /// For how many nanoseconds it comes too soon; then it does not count.
    fn spend(self, arrival: &AtomicU64, now_ns: u64) -> Result<(), u64> {
        let mut seen_ns = arrival.load(Relaxed);
        loop {
            let believed_ns = self.believed(seen_ns, now_ns);
            let next = self.after_one_more(believed_ns, now_ns);
            // What is not believed is mended even so: else it would be as far ahead at the next look.
            let left_ns = next.unwrap_or(believed_ns);
            if left_ns == seen_ns {
                return next.map(drop);
            }
            match arrival.compare_exchange_weak(seen_ns, left_ns, AcqRel, Relaxed) {
                Ok(_) => return next.map(drop),
                Err(changed_ns) => seen_ns = changed_ns,
            }
        }
    }
}

/// The arrival times of the keys that were seen lately.
#[derive(Debug)]
pub(super) struct Table {
    sets: Box<[LinePair]>,
    /// How many keys were forgotten before they were idle.
    forgotten: AtomicU64,
}

impl Table {
    /// One of `bytes` at most, and at least one set. `None` when the system does not give so much.
    pub(super) fn new(bytes: u64) -> Option<Self> {
        Some(Self { sets: zeroed_lines(sets_in(bytes))?, forgotten: AtomicU64::new(0) })
    }

    /// How much memory it takes when all of it is used, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        size_of_val(&*self.sets) as u64
    }

    /// Whether it is one that `new` makes for so many bytes.
    pub(super) fn is_of(&self, bytes: u64) -> bool {
        self.sets.len() == sets_in(bytes)
    }

    /// How many keys were forgotten before they were idle, for want of room.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten.load(Relaxed)
    }

    /// Counts a request of `key` at `now_ns`.
    ///
    /// # Errors
    /// For how many nanoseconds it comes too soon; then it does not count.
    pub(super) fn take(&self, key: u64, rate: Rate, now_ns: u64) -> Result<(), u64> {
        let set = self.set(key);
        let slot = slot_of(set, key).unwrap_or_else(|| self.new_slot(set, key, now_ns));
        rate.spend(&set.second[slot], now_ns)
    }

    /// Takes back what a request of `key` counted, which was let through here and refused elsewhere.
    pub(super) fn give_back(&self, key: u64, rate: Rate) {
        let set = self.set(key);
        if let Some(slot) = slot_of(set, key) {
            let without = |arrival_ns: u64| Some(arrival_ns.saturating_sub(rate.interval_ns));
            // It changes whatever it finds.
            let _ = set.second[slot].fetch_update(AcqRel, Relaxed, without);
        }
    }

    fn set(&self, key: u64) -> &LinePair {
        // The high part of a product is below its other factor: no division.
        let index = (u128::from(key) * self.sets.len() as u128) >> u64::BITS;
        &self.sets[index as usize]
    }

    /// A slot in its set for a key that has none.
    #[cold]
    fn new_slot(&self, set: &LinePair, key: u64, now_ns: u64) -> usize {
        let LinePair { first: tags, second: arrivals } = set;
        loop {
            let (slot, tag, arrival_ns) = match idlest(set, key) {
                Found::Own(slot) => return slot,
                Found::Idlest { slot, tag, arrival_ns } => (slot, tag, arrival_ns),
            };
            let is_busy = arrival_ns > now_ns;
            // What the last owner owed is not the next one's. First, as nobody else may see it under the new tag.
            if is_busy && arrivals[slot].compare_exchange(arrival_ns, 0, AcqRel, Relaxed).is_err() {
                continue;
            }
            if tags[slot].compare_exchange(tag, key, AcqRel, Relaxed).is_ok() {
                self.forgotten.fetch_add(is_busy.into(), Relaxed);
                return slot;
            }
        }
    }
}

/// How many sets so many bytes have room for; at least one.
fn sets_in(bytes: u64) -> usize {
    (usize::try_from(bytes).unwrap_or(usize::MAX) / size_of::<LinePair>()).max(1)
}

/// Where `key` stands in its set.
fn slot_of(set: &LinePair, key: u64) -> Option<usize> {
    set.first.iter().position(|tag| tag.load(Acquire) == key)
}

/// What a look through a set for a key that is not there has found.
enum Found {
    /// The key all the same.
    Own(usize),
    /// The slot that is, or will be, idle the soonest. It does not depend on the time at which somebody looks, so that two
    /// threads choose the same.
    Idlest { slot: usize, tag: u64, arrival_ns: u64 },
}

fn idlest(set: &LinePair, key: u64) -> Found {
    let LinePair { first: tags, second: arrivals } = set;
    let (mut slot, mut tag, mut arrival_ns) = (0, 0, u64::MAX);
    for candidate in 0..LINE_NUMBERS {
        // In this order: a slot that looks idle and has been taken for `key` meanwhile has its tag by now.
        let its_arrival_ns = arrivals[candidate].load(Acquire);
        let its_tag = tags[candidate].load(Acquire);
        if its_tag == key {
            return Found::Own(candidate);
        }
        if its_arrival_ns < arrival_ns {
            (slot, tag, arrival_ns) = (candidate, its_tag, its_arrival_ns);
        }
    }
    Found::Idlest { slot, tag, arrival_ns }
}
