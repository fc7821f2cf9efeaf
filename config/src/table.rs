//! The automaton of one rule list: one dense DFA for the paths of all its rules. Matching costs one step for each
//! byte of the path, whatever the number of rules; after the last byte the end-of-input state has exactly the rules
//! that match. Which of them wins is the caller's question, since methods and upgrades decide too.
//!
//! A table over its budget is refused as a whole. Lists are split before they explode where the reason is known
//! beforehand (`compile::rules`); splitting off the regex patterns that turn out to be too costly comes with them.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::primitives::StateID;
use regex_automata::{Anchored, MatchKind};

use crate::pattern::PathPattern;

/// No pattern: in [`Table::first`].
const NONE: u32 = u32::MAX;

/// The compiled form of one list of path patterns. A pattern's number is its place in the list.
pub(crate) struct Table {
    dfa: dense::DFA<Vec<u32>>,
    start: StateID,
    /// By state: the lowest pattern that matches when the path ends there, or [`NONE`].
    first: Box<[u32]>,
    /// By state: where in [`Table::lists`] the patterns stand that match when the path ends there.
    list_at: Box<[u32]>,
    /// The distinct lists, each its length and then its patterns in rising order; the one at 0 is empty.
    lists: Box<[u32]>,
    /// By state: every byte leads back to it, so that the rest of a path decides nothing.
    settled: Box<[bool]>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Table").field("states", &self.first.len()).finish_non_exhaustive()
    }
}

/// What walking tables writes to: one for each worker and snapshot.
#[derive(Debug, Default)]
pub(crate) struct TableScratch {}

/// Why a table was not built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableError {
    /// It would take more memory than its budget.
    OverBudget,
    /// The automaton's own limits, such as 2^31 states.
    TooLarge,
}

impl Table {
    /// Builds the table of `patterns`. The automaton, and its construction, may take `budget_bytes` each.
    ///
    /// # Errors
    /// [`TableError`] when it does not fit.
    pub(crate) fn build(patterns: &[PathPattern], budget_bytes: usize) -> Result<Self, TableError> {
        let dfa = automaton(patterns, budget_bytes)?;
        let start = dfa.universal_start_state(Anchored::Yes).ok_or(TableError::TooLarge)?;
        let mut ends = Ends::default();
        let mut settled = Vec::new();
        for_each_state(&dfa, start, |index, state, successors| {
            ends.note(index, &dfa, dfa.next_eoi_state(state));
            if index >= settled.len() {
                settled.resize(index + 1, false);
            }
            settled[index] = successors.iter().all(|successor| *successor == state);
        });
        let Ends { first, list_at, lists, .. } = ends;
        Ok(Self {
            dfa,
            start,
            first: first.into(),
            list_at: list_at.into(),
            lists: lists.into(),
            settled: settled.into(),
        })
    }

    /// The lowest pattern that matches `path` and that `accepts` takes.
    pub(crate) fn winner(&self, path: &[u8], accepts: impl Fn(u32) -> bool) -> Option<u32> {
        let state = self.state_after(path);
        let first = self.first.get(state).copied().filter(|first| *first != NONE)?;
        if accepts(first) {
            return Some(first);
        }
        self.list(state).iter().copied().find(|pattern| accepts(*pattern))
    }

    /// The number of the state after the last byte.
    fn state_after(&self, path: &[u8]) -> usize {
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

    /// All patterns that match a path which ends in `state`, in rising order.
    fn list(&self, state: usize) -> &[u32] {
        let at = self.list_at.get(state).map_or(0, |at| *at as usize);
        let length = self.lists.get(at).map_or(0, |length| *length as usize);
        self.lists.get(at + 1..at + 1 + length).unwrap_or_default()
    }
}

fn automaton(patterns: &[PathPattern], budget_bytes: usize) -> Result<dense::DFA<Vec<u32>>, TableError> {
    let languages: Vec<_> = patterns.iter().map(PathPattern::language).collect();
    let nfa_config = thompson::Config::new()
        .utf8(false)
        .which_captures(WhichCaptures::None)
        .nfa_size_limit(Some(budget_bytes));
    let nfa = thompson::Compiler::new().configure(nfa_config).build_many_from_hir(&languages);
    let nfa = nfa.map_err(|error| match error.size_limit() {
        Some(_) => TableError::OverBudget,
        None => TableError::TooLarge,
    })?;
    let dfa_config = dense::Config::new()
        .match_kind(MatchKind::All)
        .start_kind(StartKind::Anchored)
        .accelerate(false)
        .dfa_size_limit(Some(budget_bytes))
        .determinize_size_limit(Some(budget_bytes));
    let dfa = dense::Builder::new().configure(dfa_config).build_from_nfa(&nfa);
    dfa.map_err(
        |error| if error.is_size_limit_exceeded() { TableError::OverBudget } else { TableError::TooLarge },
    )
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

/// Tables by their content: equal lists share one, and a change of the configuration builds only the lists that it
/// touches. Keeps no table alive.
#[derive(Debug, Default)]
pub(crate) struct TableCache {
    tables: HashMap<TableKey, Weak<Table>, foldhash::fast::FixedState>,
    built: u64,
}

/// What a table is made of. The budget belongs to it: a smaller one must refuse what a larger one let through.
type TableKey = (Box<[PathPattern]>, usize);

impl TableCache {
    /// The table of `patterns`, a living one or a new one.
    ///
    /// # Errors
    /// [`TableError`] when it does not fit its budget.
    pub(crate) fn table(
        &mut self,
        patterns: Vec<PathPattern>,
        budget_bytes: usize,
    ) -> Result<Arc<Table>, TableError> {
        let key = (patterns.into_boxed_slice(), budget_bytes);
        if let Some(table) = self.tables.get(&key).and_then(Weak::upgrade) {
            return Ok(table);
        }
        let table = Arc::new(Table::build(&key.0, budget_bytes)?);
        self.built += 1;
        self.tables.insert(key, Arc::downgrade(&table));
        Ok(table)
    }

    /// Forgets the tables that no snapshot holds any more.
    pub(crate) fn sweep(&mut self) {
        self.tables.retain(|_, table| table.strong_count() > 0);
    }

    /// How many tables were built so far.
    pub(crate) fn built(&self) -> u64 {
        self.built
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_at_the_end_settles_and_nothing_before_it_does() {
        let patterns = ["/a/*", "/a/b/*", "/c"].map(|path| PathPattern::parse(path).expect("a valid path"));
        let table = Table::build(&patterns, 1 << 20).expect("a small table");
        let settled = |path: &str| table.settled[table.state_after(path.as_bytes())];
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
