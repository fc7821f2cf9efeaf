//! From path patterns to one automaton: what is plain text as tries, the regular expressions as they are, and one loop
//! over any bytes for all that may begin anywhere.

use std::sync::Arc;

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::{
    BuildError, Builder, Compiler, Config, NFA, State, Transition, WhichCaptures,
};
use regex_automata::util::look::Look;
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_automata::{Anchored, MatchKind};
use regex_syntax::hir::{Class, Hir, HirKind, Repetition};

use super::trie::Trie;
use super::visits::visits_per_byte;
use super::{Meets, TableError, Work};
use crate::pattern::PathPattern;

/// The most that the automaton of one pattern may take, in bytes.
const PATTERN_NFA_BYTES_MAX: usize = 2 << 20;
/// The most that the automaton of many patterns may take, in bytes.
const NFA_BYTES_MAX: usize = 256 << 20;

/// How many states a table may have for each state of the automaton that it is made of, beyond
/// [`TABLE_STATES_MIN`]. Patterns that get along need fewer than one.
const TABLE_STATES_PER_NFA_STATE: usize = 1;
/// How many states any table may have: eight words that may stand anywhere in a path need some thousands, since the
/// table must remember which of them it has seen.
const TABLE_STATES_MIN: usize = 8 * 1024;
/// The bytes that may be spent, for each state that a table may have, on telling its states apart while it is built.
const DETERMINIZE_BYTES_PER_STATE: usize = 256;
/// What a state of a table takes besides, in bytes, while it is told apart from others, whatever it consists of.
const STATE_OVERHEAD_BYTES: usize = 64;
/// The work on such a state and one class of bytes, whatever it consists of.
const STATE_OVERHEAD_WORK: usize = 16;

/// How many states a byte visits for `.*` or the end of a path, where nothing else is left to match.
const ANY_BYTES_VISITS: usize = 4;

/// No automaton can be built, for the pattern of this number is too large, or the largest where all are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NfaTooLarge(pub(crate) usize);

/// A table as it is built.
type Dense = dense::DFA<Vec<u32>>;

/// The automaton of some patterns, and what a step costs that no table spares.
pub(super) struct Assembled {
    pub(super) nfa: NFA,
    /// The most states that one byte may visit.
    pub(super) visits: usize,
    /// The pattern that adds the most to them.
    pub(super) costliest: usize,
}

/// The automaton of `patterns`, anchored at the path's first byte. A pattern's number is its place.
///
/// # Errors
/// [`NfaTooLarge`].
pub(super) fn nfa(patterns: &[Arc<PathPattern>], meets: Meets) -> Result<Assembled, NfaTooLarge> {
    let mut assembly = Assembly::new(meets);
    let assembled = assembly.all(patterns);
    let nfa = assembled.map_err(|error| error.0.unwrap_or(NfaTooLarge(assembly.largest.1)))?;
    Ok(Assembled { nfa, visits: assembly.visits(), costliest: assembly.costliest.1 })
}

/// The table of an automaton, which may take `limit_bytes`, with the work that it took.
///
/// # Errors
/// That it takes more, or far more than its patterns explain, or more work than `limit`; with the work that was in vain.
pub(super) fn dense(
    assembled: &Assembled,
    limit_bytes: usize,
    limit: Work,
) -> Result<(Dense, Work), (TableError, Work)> {
    let nfa = &assembled.nfa;
    let classes = nfa.byte_classes().alphabet_len();
    let row_bytes = classes.next_power_of_two() * size_of::<u32>();
    let states = TABLE_STATES_MIN + TABLE_STATES_PER_NFA_STATE * nfa.states().len();
    let affordable = usize::try_from(limit.0).unwrap_or(usize::MAX) / classes;
    // What is told apart takes a byte for each state of the automaton that it consists of.
    let apart_bytes = states
        .saturating_mul(DETERMINIZE_BYTES_PER_STATE)
        .min(states.saturating_mul(STATE_OVERHEAD_BYTES).saturating_add(affordable));
    let fair_bytes = states.saturating_mul(row_bytes);
    let table_bytes = fair_bytes.min(limit_bytes);
    let config = dense::Config::new()
        .match_kind(MatchKind::All)
        .start_kind(StartKind::Anchored)
        .accelerate(false)
        .dfa_size_limit(Some(table_bytes))
        .determinize_size_limit(Some(apart_bytes));
    let built = dense::Builder::new().configure(config).build_from_nfa(nfa);
    let work = |table_bytes: usize| {
        let states = table_bytes / row_bytes;
        let overhead = states.saturating_mul(STATE_OVERHEAD_WORK).saturating_add(affordable);
        Work(states.saturating_mul(assembled.visits).min(overhead).saturating_mul(classes) as u64)
    };
    let error = if fair_bytes > limit_bytes { TableError::OverLimit } else { TableError::Explodes };
    let dfa = built.map_err(|_| (error, work(table_bytes)))?;
    let work = work(dfa.memory_usage());
    Ok((dfa, work))
}

/// The state before a path's first byte.
pub(super) fn start(dfa: &impl Automaton) -> Option<StateID> {
    dfa.start_state(&start::Config::new().anchored(Anchored::Yes)).ok()
}

/// A whole-path language in two: what begins at the path's first byte, and what follows any bytes.
#[derive(Debug, Default)]
pub(crate) struct Sides {
    pub(crate) rooted: Option<Hir>,
    pub(crate) floating: Option<Hir>,
}

impl Sides {
    pub(crate) fn of(language: &Hir) -> Self {
        match language.kind() {
            HirKind::Capture(capture) => Self::of(&capture.sub),
            HirKind::Alternation(branches) => Self::of_branches(branches),
            HirKind::Concat(parts) => Self::of_parts(parts),
            _ => Self { rooted: Some(language.clone()), floating: None },
        }
    }

    fn of_branches(branches: &[Hir]) -> Self {
        let sides: Vec<_> = branches.iter().map(Self::of).collect();
        let either = |side: fn(&Self) -> &Option<Hir>| {
            let branches: Vec<_> = sides.iter().filter_map(|sides| side(sides).clone()).collect();
            (!branches.is_empty()).then(|| Hir::alternation(branches))
        };
        Self { rooted: either(|sides| &sides.rooted), floating: either(|sides| &sides.floating) }
    }

    fn of_parts(parts: &[Hir]) -> Self {
        let Some((first, rest)) = parts.split_first() else {
            return Self { rooted: Some(Hir::empty()), floating: None };
        };
        if is_any_bytes(first) {
            return Self { rooted: None, floating: Some(Hir::concat(rest.to_vec())) };
        }
        let first = Self::of(first);
        let followed = |first| Hir::concat(std::iter::once(first).chain(rest.iter().cloned()).collect());
        Self { rooted: first.rooted.map(followed), floating: first.floating.map(followed) }
    }
}

/// The language without the loop over any bytes that each of its branches ends with: a path is in the language exactly
/// if some beginning of it is in the rest. `None` without such a loop, and with a look-around, which would have to
/// see the byte that follows.
pub(crate) fn before_any_bytes(language: &Hir) -> Option<Hir> {
    if !language.properties().look_set().is_empty() {
        return None;
    }
    match language.kind() {
        HirKind::Capture(capture) => before_any_bytes(&capture.sub),
        HirKind::Alternation(branches) => {
            branches.iter().map(before_any_bytes).collect::<Option<_>>().map(Hir::alternation)
        }
        HirKind::Concat(parts) => {
            let (last, rest) = parts.split_last()?;
            let last = before_any_bytes(last)?;
            Some(Hir::concat(rest.iter().cloned().chain(std::iter::once(last)).collect()))
        }
        _ => is_any_bytes(language).then(Hir::empty),
    }
}

/// Whether an expression is the loop over any bytes.
pub(crate) fn is_any_bytes(hir: &Hir) -> bool {
    let HirKind::Repetition(Repetition { min: 0, max: None, sub, .. }) = hir.kind() else {
        return false;
    };
    let HirKind::Class(Class::Bytes(class)) = sub.kind() else {
        return false;
    };
    class.ranges().iter().any(|range| range.start() == 0 && range.end() == u8::MAX)
}

/// One automaton while it is put together.
struct Assembly {
    meets: Meets,
    builder: Builder,
    compiler: Compiler,
    rooted: Trie,
    floating: Trie,
    /// The bytes of the largest expression so far, and its pattern.
    largest: (usize, usize),
    /// The states that a byte may visit of the costliest expression so far, and its pattern.
    costliest: (usize, usize),
}

/// Why putting an automaton together ended; the one pattern to blame, if it is one.
pub(super) struct Failed(Option<NfaTooLarge>);

impl From<BuildError> for Failed {
    fn from(_: BuildError) -> Self {
        Self(None)
    }
}

impl Assembly {
    fn new(meets: Meets) -> Self {
        let mut builder = Builder::new();
        // Never refused before there are states.
        _ = builder.set_size_limit(Some(NFA_BYTES_MAX));
        let config = Config::new()
            .utf8(false)
            .which_captures(WhichCaptures::None)
            .nfa_size_limit(Some(PATTERN_NFA_BYTES_MAX));
        let mut compiler = Compiler::new();
        compiler.configure(config);
        let (rooted, floating) = Default::default();
        let (largest, costliest) = Default::default();
        Self { meets, builder, compiler, rooted, floating, largest, costliest }
    }

    fn all(&mut self, patterns: &[Arc<PathPattern>]) -> Result<NFA, Failed> {
        for (number, pattern) in patterns.iter().enumerate() {
            self.add(number, pattern)?;
        }
        let root = self.start()?;
        Ok(self.builder.build(root, root)?)
    }

    fn add(&mut self, number: usize, pattern: &PathPattern) -> Result<(), Failed> {
        self.builder.start_pattern()?;
        // Without the look-around a table has a state more for each byte that can follow a match, to tell of it late.
        let matched = self.builder.add_match()?;
        let end = self.builder.add_look(matched, Look::End)?;
        let mut start = end;
        match pattern {
            PathPattern::All => {
                let any = self.any_bytes_before(&[end])?;
                self.rooted.add(b"", any, ANY_BYTES_VISITS);
            }
            PathPattern::Exact(path) => self.rooted.add(path.as_bytes(), end, 0),
            PathPattern::Prefix(path) => {
                let below = self.any_bytes_before(&[end])?;
                self.rooted.add(path.as_bytes(), end, 0);
                self.rooted.add(format!("{path}/").as_bytes(), below, ANY_BYTES_VISITS);
            }
            PathPattern::Suffix(suffix) => self.floating.add(suffix.as_bytes(), end, 0),
            PathPattern::Regex(regex) => {
                let language = regex.language();
                let shorter = before_any_bytes(&language).filter(|_| self.meets == Meets::Beginning);
                start = self.add_expression(number, &shorter.unwrap_or(language), end)?;
            }
        }
        // The start tells which look-arounds a pattern may begin with; texts have none.
        self.builder.finish_pattern(start)?;
        Ok(())
    }

    fn add_expression(&mut self, number: usize, language: &Hir, end: StateID) -> Result<StateID, Failed> {
        let sides = Sides::of(language);
        let mut starts = Vec::new();
        for (side, to) in [(sides.rooted, &mut self.rooted), (sides.floating, &mut self.floating)] {
            let Some(side) = side else { continue };
            let (text, rest) = behind_text(&side);
            let nfa = self.compiler.build_from_hir(&rest);
            let nfa = nfa.map_err(|_| Failed(Some(NfaTooLarge(number))))?;
            self.largest = self.largest.max((nfa.memory_usage(), number));
            let visits = visits_per_byte(&nfa);
            self.costliest = self.costliest.max((visits, number));
            let start = copy(&nfa, &mut self.builder, end)?;
            to.add(text, start, visits);
            starts.push(start);
        }
        Ok(self.builder.add_union(starts)?)
    }

    /// The most states that one byte may visit: of all texts that paths begin with, those that one path can, and of what
    /// floats everything.
    fn visits(&self) -> usize {
        self.rooted.visits_of_one() + self.floating.visits_of_all()
    }

    /// The state before everything: what is rooted, and the loop before what floats.
    fn start(&mut self) -> Result<StateID, Failed> {
        let rooted = self.rooted.write(&mut self.builder)?;
        if self.floating.is_empty() {
            return Ok(rooted);
        }
        let floating = self.floating.write(&mut self.builder)?;
        let anywhere = self.any_bytes_before(&[floating])?;
        Ok(self.builder.add_union(vec![rooted, anywhere])?)
    }

    /// A state that takes any bytes and at any time goes on to `next`.
    fn any_bytes_before(&mut self, next: &[StateID]) -> Result<StateID, Failed> {
        let around = self.builder.add_union(next.to_vec())?;
        let any = self.builder.add_range(Transition { start: 0, end: u8::MAX, next: around })?;
        self.builder.patch(around, any)?;
        Ok(around)
    }
}

/// An expression as the text that it begins with, if any, and the rest.
fn behind_text(expression: &Hir) -> (&[u8], Hir) {
    match expression.kind() {
        HirKind::Literal(literal) => (&literal.0, Hir::empty()),
        HirKind::Concat(parts) => match parts.split_first() {
            Some((first, rest)) if let HirKind::Literal(literal) = first.kind() => {
                (&literal.0, Hir::concat(rest.to_vec()))
            }
            _ => (&[], expression.clone()),
        },
        _ => (&[], expression.clone()),
    }
}

/// Adds the states of `nfa`, whose matches become `end`, and gives the one that it starts with.
fn copy(nfa: &NFA, builder: &mut Builder, end: StateID) -> Result<StateID, Failed> {
    let start = builder.add_empty()?;
    // One state for each of its states, in their order.
    let moved = |state: StateID| StateID::new(start.as_usize() + 1 + state.as_usize()).unwrap_or(start);
    for state in nfa.states() {
        copy_state(state, builder, end, moved)?;
    }
    builder.patch(start, moved(nfa.start_anchored()))?;
    Ok(start)
}

fn copy_state(
    state: &State,
    builder: &mut Builder,
    end: StateID,
    moved: impl Fn(StateID) -> StateID,
) -> Result<StateID, Failed> {
    let transition = |old: &Transition| Transition { next: moved(old.next), ..*old };
    Ok(match state {
        State::ByteRange { trans } => builder.add_range(transition(trans)),
        State::Sparse(sparse) => builder.add_sparse(sparse.transitions.iter().map(transition).collect()),
        State::Dense(dense) => {
            let to = |byte| dense.matches_byte(byte).map(|next| Transition { start: byte, end: byte, next });
            builder.add_sparse((0..=u8::MAX).filter_map(to).map(|old| transition(&old)).collect())
        }
        State::Look { look, next } => builder.add_look(moved(*next), *look),
        State::Union { alternates } => {
            builder.add_union(alternates.iter().map(|next| moved(*next)).collect())
        }
        State::BinaryUnion { alt1, alt2 } => builder.add_union(vec![moved(*alt1), moved(*alt2)]),
        State::Capture { next, .. } => builder.add_union(vec![moved(*next)]),
        State::Fail => builder.add_fail(),
        State::Match { .. } => builder.add_union(vec![end]),
    }?)
}
