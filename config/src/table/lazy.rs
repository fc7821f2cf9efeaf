//! The automaton whose states are made while paths are matched, and kept in a bounded cache: the last resort for
//! patterns whose table would explode. The room it writes to belongs to a worker, never to the snapshot.

use std::sync::{Arc, Weak};

use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Builder, Cache, Config, DFA};
use regex_automata::util::start;
use regex_automata::{Anchored, MatchKind};

use super::automaton::Assembled;
use super::{Meets, NfaTooLarge, automaton};
use crate::pattern::PathPattern;

/// What one worker keeps of the states of one automaton, in bytes; more where five states would not fit. A full cache
/// is emptied and filled again, as often as it takes.
pub(crate) const LAZY_CACHE_BYTES: usize = 2 << 20;
/// The most states of an automaton that one byte may visit. A byte that leads to a state which is not kept visits so
/// many, and a client can see to it that every byte does.
const LAZY_VISITS_MAX: usize = 256;
/// How many automata one worker keeps states of. Whose turn was longest ago gives up its room for another one.
const LAZY_CACHES_MAX: usize = 8;

/// One automaton of many path patterns. A pattern's number is its place in the list.
#[derive(Debug)]
pub(crate) struct LazyTable {
    dfa: DFA,
}

impl LazyTable {
    /// Makes the automaton of `patterns`, whose states may take `cache_bytes` in each worker.
    ///
    /// # Errors
    /// [`NfaTooLarge`], also where one byte may visit too much of it.
    pub(crate) fn build(patterns: &[Arc<PathPattern>], cache_bytes: usize) -> Result<Self, NfaTooLarge> {
        let Assembled { nfa, visits, costliest } = automaton::nfa(patterns, Meets::Path)?;
        if visits > LAZY_VISITS_MAX {
            return Err(NfaTooLarge(costliest));
        }
        let config = Config::new()
            .match_kind(MatchKind::All)
            .cache_capacity(cache_bytes)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(None);
        let dfa = Builder::new().configure(config).build_from_nfa(nfa);
        // The one error left is a number of states that no address space holds.
        dfa.map(|dfa| Self { dfa }).map_err(|_| NfaTooLarge(0))
    }

    /// The lowest pattern that matches `path` and that `accepts` takes.
    pub(crate) fn winner(
        self: &Arc<Self>,
        path: &[u8],
        scratch: &mut TableScratch,
        accepts: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let cache = scratch.cache(self);
        let end = self.end_of(path, cache)?;
        let patterns = (0..self.dfa.match_len(cache, end)).map(|at| self.dfa.match_pattern(cache, end, at));
        patterns.map(|pattern| pattern.as_u32()).filter(|pattern| accepts(*pattern)).min()
    }

    /// The state behind the end of `path`, if something matches there. Its errors cannot come: there is no byte at which
    /// it stops, and no number of times after which it gives up.
    fn end_of(&self, path: &[u8], cache: &mut Cache) -> Option<LazyStateID> {
        let from_the_start = start::Config::new().anchored(Anchored::Yes);
        let mut state = self.dfa.start_state(cache, &from_the_start).ok()?;
        for byte in path {
            state = self.dfa.next_state(cache, state, *byte).ok()?;
            if state.is_dead() {
                return None;
            }
        }
        self.dfa.next_eoi_state(cache, state).ok().filter(|end| end.is_match())
    }
}

/// What walking tables writes to: one for each worker and snapshot.
#[derive(Debug, Default)]
pub(crate) struct TableScratch {
    /// The states of lazy tables; the one that was asked last stands first.
    caches: Vec<Room>,
}

/// The room of one lazy table.
#[derive(Debug)]
struct Room {
    /// Keeps its address from being another one's.
    table: Weak<LazyTable>,
    cache: Cache,
}

impl TableScratch {
    /// The states of `table`, as far as they were made here.
    fn cache(&mut self, table: &Arc<LazyTable>) -> &mut Cache {
        let known = self.caches.iter().position(|room| Weak::as_ptr(&room.table) == Arc::as_ptr(table));
        let place = known.unwrap_or_else(|| self.make_room(table));
        self.caches[..=place].rotate_right(1);
        &mut self.caches[0].cache
    }

    /// A room for a table that has none: a new one, or the last one.
    fn make_room(&mut self, table: &Arc<LazyTable>) -> usize {
        if self.caches.len() < LAZY_CACHES_MAX {
            let room = Room { table: Arc::downgrade(table), cache: table.dfa.create_cache() };
            self.caches.push(room);
        } else if let Some(room) = self.caches.last_mut() {
            room.cache.reset(&table.dfa);
            room.table = Arc::downgrade(table);
        }
        self.caches.len() - 1
    }
}
