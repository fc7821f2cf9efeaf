//! The automata of rule lists. Matching costs one step for each byte of the path, whatever the number of rules; after
//! the last byte the end-of-input state has exactly the patterns that match. Which of them wins is the caller's
//! question, since methods and upgrades decide too.
//!
//! * this file is the dense table: asking it for a winner, and walking it state by state, as the analysis does;
//! * `automaton` makes one automaton of many patterns, and `trie` lets those that are plain text share their beginnings;
//! * `lazy` is the automaton whose states are made while paths are matched, for patterns whose table would explode;
//! * `visits` bounds what a step costs where no table spares it;
//! * `cache` keeps both by their content.
//!
//! How a list's patterns are divided into tables is decided in `list`.

mod automaton;
mod cache;
mod lazy;
mod trie;
mod visits;

use std::collections::HashMap;
use std::sync::Arc;

use regex_automata::dfa::{Automaton, dense};
use regex_automata::util::primitives::StateID;

use crate::pattern::PathPattern;

pub(crate) use automaton::{NfaTooLarge, Sides, before_any_bytes, is_any_bytes};
pub(crate) use cache::{Outcome, Refusal, TableCache};
pub(crate) use lazy::{LazyTable, TableScratch};
pub(crate) use visits::visits_per_byte;

/// No pattern: in [`Table::first`].
const NONE: u32 = u32::MAX;

/// The compiled form of one list of path patterns. A pattern's number is its place in the list.
pub(crate) struct Table {
    dfa: dense::DFA<Vec<u32>>,
    start: StateID,
    /// How many states a path can end in.
    states: usize,
    /// By state: the lowest pattern that matches when the path ends there, or [`NONE`].
    first: Box<[u32]>,
    /// By state: where in [`Table::lists`] the patterns stand that match when the path ends there.
    list_at: Box<[u32]>,
    /// The distinct lists, each its length and then its patterns in rising order; the one at 0 is empty.
    lists: Box<[u32]>,
    /// By state: every byte leads back to it, so that the rest of a path decides nothing.
    settled: Box<[bool]>,
    work: Work,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Table").field("states", &self.states).finish_non_exhaustive()
    }
}

/// What building a table takes: states of its automaton that are visited, for each state of the table and each class of
/// bytes. It takes some nanoseconds each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Work(pub(crate) u64);

/// What a table's patterns are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Meets {
    /// The path. The state after its last byte has all that match.
    Path,
    /// Each beginning of the path: for patterns that may be followed by anything, without that anything. A table that
    /// takes them whole has to remember in its states which of them it has seen, so that each doubles them; here whoever
    /// walks remembers.
    Beginning,
}

/// Why a table was not built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableError {
    /// It would take more than it may. With a higher limit it might be built.
    OverLimit,
    /// Its patterns do not get along: its states are far more than theirs explain, whatever it may take; or it is more
    /// work than there may be.
    Explodes,
    /// There is no automaton that it could be made of.
    Nfa(NfaTooLarge),
}

impl Table {
    /// Builds the table of `patterns`, which may take `limit_bytes`, however much work it is.
    ///
    /// # Errors
    /// [`TableError`] when it does not fit.
    pub(crate) fn build(
        patterns: &[Arc<PathPattern>],
        meets: Meets,
        limit_bytes: usize,
    ) -> Result<Self, TableError> {
        Self::build_within(patterns, meets, limit_bytes, Work(u64::MAX)).map_err(|(error, _)| error)
    }

    /// Builds the table of `patterns`, which may take `limit_bytes` and the work `limit`.
    ///
    /// # Errors
    /// [`TableError`] when it does not fit, or should not be waited for, and the work that was in vain.
    pub(crate) fn build_within(
        patterns: &[Arc<PathPattern>],
        meets: Meets,
        limit_bytes: usize,
        limit: Work,
    ) -> Result<Self, (TableError, Work)> {
        let nfa = automaton::nfa(patterns, meets);
        let nfa = nfa.map_err(|error| (TableError::Nfa(error), Work::default()))?;
        let (dfa, work) = automaton::dense(&nfa, limit_bytes, limit)?;
        let table = Self::of(dfa, work).ok_or((TableError::Explodes, work))?;
        if table.memory_bytes() > limit_bytes { Err((TableError::OverLimit, work)) } else { Ok(table) }
    }

    fn of(dfa: dense::DFA<Vec<u32>>, work: Work) -> Option<Self> {
        let start = automaton::start(&dfa)?;
        let mut ends = Ends::default();
        let mut settled = Vec::new();
        let mut states = 0;
        for_each_state(&dfa, start, |index, state, successors| {
            states += 1;
            ends.note(index, &dfa, dfa.next_eoi_state(state));
            if index >= settled.len() {
                settled.resize(index + 1, false);
            }
            settled[index] = successors.iter().all(|successor| *successor == state);
        });
        let Ends { first, list_at, lists, .. } = ends;
        Some(Self {
            dfa,
            start,
            states,
            first: first.into(),
            list_at: list_at.into(),
            lists: lists.into(),
            settled: settled.into(),
            work,
        })
    }

    /// The lowest pattern that matches `path` and that `accepts` takes.
    pub(crate) fn winner(&self, path: &[u8], accepts: impl Fn(u32) -> bool) -> Option<u32> {
        let state = self.number_after(path);
        let first = self.first.get(state).copied().filter(|first| *first != NONE)?;
        if accepts(first) {
            return Some(first);
        }
        self.list(state).iter().copied().find(|pattern| accepts(*pattern))
    }

    /// The lowest pattern that matches a beginning of `path` and that `accepts` takes.
    pub(crate) fn winner_of_beginnings(&self, path: &[u8], accepts: impl Fn(u32) -> bool) -> Option<u32> {
        let mut lowest = NONE;
        let mut state = self.start;
        for at in 0..=path.len() {
            let number = self.number(state);
            if self.first.get(number).is_some_and(|first| *first < lowest) {
                let lower = self.list(number).iter().copied().take_while(|pattern| *pattern < lowest);
                lowest = lower.into_iter().find(|pattern| accepts(*pattern)).unwrap_or(lowest);
            }
            if let Some(byte) = path.get(at) {
                state = self.dfa.next_state(state, *byte);
            }
        }
        (lowest != NONE).then_some(lowest)
    }

    /// The number of the state after the last byte. Apart from what is done with it, the loop has all registers.
    #[inline(never)]
    fn number_after(&self, path: &[u8]) -> usize {
        let mut state = self.start;
        for byte in path {
            let next = self.dfa.next_state(state, *byte);
            // Most rules end in a star: what it takes need not be looked at.
            if next == state && self.settled.get(self.number(state)).is_some_and(|settled| *settled) {
                break;
            }
            state = next;
        }
        self.number(state)
    }

    fn number(&self, state: StateID) -> usize {
        state.as_usize() >> self.dfa.stride2()
    }

    /// All patterns that match a path which ends in the state of this number, in rising order.
    fn list(&self, state: usize) -> &[u32] {
        let at = self.list_at.get(state).map_or(0, |at| *at as usize);
        let length = self.lists.get(at).map_or(0, |length| *length as usize);
        self.lists.get(at + 1..at + 1 + length).unwrap_or_default()
    }
}

/// A state of one [`Table`] that a path can end in. Its number is below [`Table::numbers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State(StateID);

/// Walking a table without a path.
impl Table {
    /// Where every path begins.
    pub(crate) fn start(&self) -> State {
        State(self.start)
    }

    /// Where a byte more leads.
    pub(crate) fn next(&self, state: State, byte: u8) -> State {
        State(self.dfa.next_state(state.0, byte))
    }

    /// The patterns that match a path which ends in `state`, in rising order.
    pub(crate) fn matches(&self, state: State) -> &[u32] {
        self.list(self.number_of(state))
    }

    /// Whether nothing matches, whatever comes.
    pub(crate) fn is_dead(&self, state: State) -> bool {
        self.is_settled(state) && self.matches(state).is_empty()
    }

    /// Whether every byte leads back to `state`, so that what comes decides nothing.
    pub(crate) fn is_settled(&self, state: State) -> bool {
        self.settled.get(self.number_of(state)).is_some_and(|settled| *settled)
    }

    /// A number for `state`, for sets of those that were seen.
    pub(crate) fn number_of(&self, state: State) -> usize {
        self.number(state.0)
    }

    /// All numbers of states are below this one; not each of them is a state's.
    pub(crate) fn numbers(&self) -> usize {
        self.first.len()
    }

    /// The class of `byte`. Bytes of one class lead from every state to the same one.
    pub(crate) fn class_of(&self, byte: u8) -> u8 {
        self.dfa.byte_classes().get(byte)
    }

    /// How many states a path can end in.
    pub(crate) fn states(&self) -> usize {
        self.states
    }

    /// What building the table took.
    pub(crate) fn work(&self) -> Work {
        self.work
    }

    /// What the table takes, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.dfa.memory_usage()
            + 4 * (self.first.len() + self.list_at.len() + self.lists.len())
            + self.settled.len()
    }
}

/// Calls `visit` once with the number of each state that a path can end in, the state, and the states that a byte more
/// leads to.
fn for_each_state(
    dfa: &dense::DFA<Vec<u32>>,
    start: StateID,
    mut visit: impl FnMut(usize, StateID, &[StateID]),
) {
    let bytes: Vec<u8> = dfa.byte_classes().representatives(..).filter_map(|unit| unit.as_u8()).collect();
    let mut seen = vec![false; (dfa.memory_usage() / 4) >> dfa.stride2()];
    let mut waiting = vec![start];
    while let Some(state) = waiting.pop() {
        let index = state.as_usize() >> dfa.stride2();
        if index >= seen.len() {
            seen.resize(index + 1, false);
        }
        if std::mem::replace(&mut seen[index], true) {
            continue;
        }
        let behind = waiting.len();
        waiting.extend(bytes.iter().map(|byte| dfa.next_state(state, *byte)));
        visit(index, state, &waiting[behind..]);
    }
}

/// The tables of what matches at the end, while they are made.
struct Ends {
    first: Vec<u32>,
    list_at: Vec<u32>,
    lists: Vec<u32>,
    known: HashMap<Vec<u32>, u32, foldhash::fast::FixedState>,
}

impl Default for Ends {
    fn default() -> Self {
        Self { first: Vec::new(), list_at: Vec::new(), lists: vec![0], known: HashMap::default() }
    }
}

impl Ends {
    fn note(&mut self, index: usize, dfa: &dense::DFA<Vec<u32>>, end: StateID) {
        if index >= self.first.len() {
            self.first.resize(index + 1, NONE);
            self.list_at.resize(index + 1, 0);
        }
        if !dfa.is_match_state(end) {
            return;
        }
        let mut list: Vec<u32> =
            (0..dfa.match_len(end)).map(|at| dfa.match_pattern(end, at).as_u32()).collect();
        list.sort_unstable();
        self.first[index] = list.first().copied().unwrap_or(NONE);
        self.list_at[index] = self.keep(list);
    }

    /// The place of `list` in [`Ends::lists`]; equal lists share one.
    fn keep(&mut self, list: Vec<u32>) -> u32 {
        if let Some(at) = self.known.get(&list) {
            return *at;
        }
        let at = self.lists.len() as u32;
        self.lists.push(list.len() as u32);
        self.lists.extend_from_slice(&list);
        self.known.insert(list, at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_at_the_end_settles_and_nothing_before_it_does() {
        let patterns =
            ["/a/*", "/a/b/*", "/c"].map(|path| Arc::new(PathPattern::parse(path).expect("a valid path")));
        let table = Table::build(&patterns, Meets::Path, 1 << 20).expect("a small table");
        let settled = |path: &str| table.settled[table.number_after(path.as_bytes())];
        // What can still become a longer rule's is open; what no rule takes is as decided as what a star takes.
        for (path, expected) in
            [("/a/", false), ("/a/b", false), ("/c", false), ("/a/b/", true), ("/d", true)]
        {
            assert_eq!(settled(path), expected, "{path}");
        }
        let winner = |path: &str| table.winner(path.as_bytes(), |_| true);
        assert_eq!(
            [winner("/a/b/c"), winner("/a/b"), winner("/c"), winner("/cc")],
            [Some(0), Some(0), Some(2), None]
        );
    }
}
