//! All that can become of a path, state by state: breadth-first over the product of the tables that a request walks, the
//! grammar of paths, and the prefixes of its site. What it finds are the distinct sets of rules that match some path, each
//! with a shortest one.
//!
//! Contexts share what they have in common. A table in which nothing can match any more is left out of the state, so that
//! behind the own rules of a thousand sites the site-less rules are walked once; a rule that matches whatever comes is
//! noted and its table left out. Behind a rule that takes every request the lists after its own decide nothing: they are
//! walked apart, and once, to know what it covers.

use std::collections::HashMap;
use std::rc::Rc;

use super::Bounds;
use super::contexts::Context;
use super::ground::{self, Ground, ListNumber, PartNumber};
use super::matched::{At, MatchedSets};
use super::paths::{self, PathState};
use crate::snapshot::{RuleId, Snapshot};
use crate::table::{State, Table};

/// How many states of the product one analysis visits at most. A state takes 130 bytes, and 1.5 microseconds with its
/// successors: 3 s and 280 MB for all of them.
pub(super) const STATES_MAX: usize = 2 << 20;

type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;
/// One byte of each class, to go on with.
type Bytes = Rc<[u8]>;

/// The tables that are still undecided at some point of a path, and what is decided already.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lineup {
    /// The number of the table that tells which paths are the context's own, while that is open.
    mask: Option<u32>,
    /// The undecided parts.
    live: Vec<PartNumber>,
    /// Lists with parts that cannot be walked.
    lazy: Vec<ListNumber>,
    /// What matches, whatever comes; in the order of the rules.
    decided: Vec<RuleId>,
    /// What takes the rest.
    fallback: Option<RuleId>,
    /// A rule of an earlier list takes all of this.
    covered: bool,
}

/// A number in [`Walk::lineups`].
type LineupNumber = u32;
/// A number in [`Walk::nodes`].
pub(super) type Node = u32;

/// One state of the product.
#[derive(Clone, Copy)]
struct Visited {
    lineup: LineupNumber,
    path: PathState,
    from: From,
    /// Where its states begin in [`Walk::states`]: that of the mask, if there is one, then those of the live parts.
    states_at: usize,
}

/// How a state was first reached.
#[derive(Clone, Copy)]
enum From {
    Start(u32),
    Node(Node, u8),
}

/// A place that may be new.
#[derive(Clone)]
struct Place {
    lineup: Lineup,
    path: PathState,
    states: Vec<State>,
}

/// A walk over all contexts.
pub(super) struct Walk<'s> {
    pub(super) ground: &'s Ground<'s>,
    pub(super) contexts: &'s [Context],
    masks: Vec<Table>,
    lineups: Vec<Rc<Lineup>>,
    numbers: Map<Rc<Lineup>, LineupNumber>,
    /// By lineup.
    bytes: Vec<Bytes>,
    bytes_of: Map<(Option<u32>, Vec<PartNumber>), Bytes>,
    nodes: Vec<Visited>,
    states: Vec<State>,
    known: Map<Box<[u32]>, Node>,
    /// Room for the states behind a step, and for a key of [`Walk::known`].
    next: Vec<State>,
    key: Vec<u32>,
    pub(super) found: MatchedSets,
    pub(super) covered: CoveredStates,
    states_max: usize,
    /// Something was left out: too many states, or a context without a mask.
    unfinished: bool,
}

/// The states behind a rule that takes everything: what matches there never wins there.
#[derive(Default)]
pub(super) struct CoveredStates {
    /// A rule takes all that goes on from a covered state.
    pub(super) roots: Vec<(Node, RuleId)>,
    /// The steps between covered states.
    pub(super) steps: Vec<(Node, Node)>,
    /// The sets of rules that match at covered states.
    pub(super) sets: Vec<(Node, usize)>,
    /// Own upstreams, each with a rule that leaves nothing to it in some context.
    pub(super) fallbacks: Vec<(RuleId, RuleId)>,
}

impl<'s> Walk<'s> {
    /// Walks all contexts to their ends, or as far as `bounds` allow.
    pub(super) fn run(
        snapshot: &'s Snapshot,
        ground: &'s Ground<'s>,
        contexts: &'s [Context],
        bounds: Bounds,
    ) -> Self {
        let mut walk = Self {
            ground,
            contexts,
            masks: Vec::new(),
            lineups: Vec::new(),
            numbers: HashMap::default(),
            bytes: Vec::new(),
            bytes_of: HashMap::default(),
            nodes: Vec::new(),
            states: Vec::new(),
            known: HashMap::default(),
            next: Vec::new(),
            key: Vec::new(),
            found: MatchedSets::new(snapshot, bounds),
            covered: CoveredStates::default(),
            states_max: bounds.states,
            unfinished: false,
        };
        let starts: Vec<_> = (0..)
            .zip(contexts)
            .filter_map(|(number, context)| walk.start(number, context, snapshot))
            .collect();
        let mut next = 0;
        while let Some(node) = walk.nodes.get(next).copied().filter(|_| !walk.found.is_full()) {
            walk.visit(next as Node, node);
            next += 1;
        }
        // Last, so that a rule that takes a path, too, has that as its example.
        starts.iter().for_each(|(number, place)| walk.visit_asterisk(*number, place));
        walk
    }

    /// Whether something was left out: states, a context, or sets of rules.
    pub(super) fn is_unfinished(&self) -> bool {
        self.unfinished || self.found.is_full()
    }

    /// Adds the state before the first byte of a context's paths. Returns it with all of its lists, if `OPTIONS *` comes
    /// there, too.
    fn start(&mut self, number: u32, context: &Context, snapshot: &Snapshot) -> Option<(u32, Place)> {
        let course = self.ground.course(context, snapshot);
        let Ok(mask) = ground::mask(&context.paths) else {
            self.unfinished = true;
            return None;
        };
        let parts = course.lists.iter().flat_map(|list| self.ground.parts_of(*list));
        let lineup = Lineup {
            mask: mask.is_some().then_some(self.masks.len() as u32),
            live: parts.collect(),
            lazy: course.lists.iter().copied().filter(|list| self.ground.has_lazy(*list)).collect(),
            decided: Vec::new(),
            fallback: course.fallback,
            covered: false,
        };
        let tables = lineup.live.iter().map(|part| self.ground.part(*part).table);
        let states = mask.iter().chain(tables).map(Table::start).collect();
        self.masks.extend(mask);
        let place = Place { lineup, path: PathState::Start, states };
        let total = course.lists.iter().find_map(|list| self.ground.total_of(*list));
        let whole = context.paths.prefix.is_empty().then(|| (number, place.clone()));
        self.add(place, From::Start(number), total);
        whole
    }

    fn visit_asterisk(&mut self, context: u32, place: &Place) {
        let Lineup { mask, live, lazy, fallback, .. } = &place.lineup;
        let states = place.states.get(usize::from(mask.is_some())..).unwrap_or_default();
        let parts = live.iter().map(|part| self.ground.part(*part)).zip(states);
        let mut rules: Vec<_> =
            parts.flat_map(|(part, state)| part.matches(part.table.next(*state, b'*'))).collect();
        rules.sort_unstable();
        rules.extend(*fallback);
        self.found.note(self.ground, &rules, lazy, false, At::Asterisk { context });
    }

    /// Adds a place that is not known yet, without the lists that a rule leaves nothing to: `total`, or one of those that
    /// match whatever comes.
    fn add(&mut self, mut place: Place, from: From, total: Option<RuleId>) -> Option<Node> {
        if !place.lineup.covered {
            let decided = place.lineup.decided.iter().copied().find(|rule| self.ground.takes_all(*rule));
            if let Some(cover) = total.or(decided) {
                self.cut(&mut place, from, cover);
            }
            place.lineup.fallback = place.lineup.fallback.filter(|rule| !self.found.has_won(*rule));
        }
        let Lineup { live, decided, fallback, .. } = &place.lineup;
        if live.is_empty() && decided.is_empty() && fallback.is_none() {
            return None;
        }
        let lineup = self.number_of(place.lineup);
        self.reach(lineup, place.path, &place.states, from)
    }

    /// Takes the lists behind that of `cover` off a place, and has them walked apart.
    fn cut(&mut self, place: &mut Place, from: From, cover: RuleId) {
        if let Some(fallback) = place.lineup.fallback.take() {
            self.covered.fallbacks.push((fallback, cover));
        }
        let Some(list) = self.ground.list_of(cover) else { return };
        place.lineup.lazy.retain(|lazy| *lazy <= list);
        let Lineup { live, mask, .. } = &mut place.lineup;
        let keep = live.iter().take_while(|part| self.ground.part(**part).list <= list).count();
        let behind = live.split_off(keep);
        let mask_states = usize::from(mask.is_some());
        let states_behind = place.states.split_off(mask_states + keep);
        if behind.is_empty() {
            return;
        }
        let mask_state = place.states.iter().copied().take(mask_states);
        let lineup = Lineup {
            mask: *mask,
            live: behind,
            lazy: Vec::new(),
            decided: Vec::new(),
            fallback: None,
            covered: true,
        };
        let states = mask_state.chain(states_behind).collect();
        let root = self.add(Place { lineup, path: place.path, states }, from, None);
        self.covered.roots.extend(root.map(|root| (root, cover)));
    }

    fn number_of(&mut self, lineup: Lineup) -> LineupNumber {
        if let Some(number) = self.numbers.get(&lineup) {
            return *number;
        }
        let number = self.lineups.len() as LineupNumber;
        let lineup = Rc::new(lineup);
        let bytes = self.bytes_for(&lineup);
        self.bytes.push(bytes);
        self.lineups.push(Rc::clone(&lineup));
        self.numbers.insert(lineup, number);
        number
    }

    /// One byte of each class that the tables of a lineup and the grammar of paths tell apart.
    fn bytes_for(&mut self, lineup: &Lineup) -> Bytes {
        let key = (lineup.mask, lineup.live.clone());
        if let Some(bytes) = self.bytes_of.get(&key) {
            return Rc::clone(bytes);
        }
        let tables: Vec<&Table> = self.tables(lineup).collect();
        let class_of = |byte| -> Vec<u8> {
            let classes = tables.iter().map(|table| table.class_of(byte));
            classes.chain([paths::class_of(byte)]).collect()
        };
        let bytes: Bytes = ground::representatives(paths::BYTES.iter().copied(), class_of).into();
        self.bytes_of.insert(key, Rc::clone(&bytes));
        bytes
    }

    /// The tables of a lineup, in the order of its states.
    fn tables(&self, lineup: &Lineup) -> impl Iterator<Item = &Table> {
        let mask = lineup.mask.and_then(|mask| self.masks.get(mask as usize));
        mask.into_iter().chain(lineup.live.iter().map(|part| self.ground.part(*part).table))
    }

    /// The node of a place, which may be known.
    fn reach(&mut self, lineup: LineupNumber, path: PathState, states: &[State], from: From) -> Option<Node> {
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        key.extend([lineup, path.number()]);
        let tables = self.lineups.get(lineup as usize).map(|lineup| self.tables(lineup));
        let numbers = tables.into_iter().flatten().zip(states);
        key.extend(numbers.map(|(table, state)| table.number_of(*state) as u32));
        let node = self.known.get(&*key).copied().or_else(|| self.add_node(&key, lineup, path, states, from));
        self.key = key;
        node
    }

    fn add_node(
        &mut self,
        key: &[u32],
        lineup: LineupNumber,
        path: PathState,
        states: &[State],
        from: From,
    ) -> Option<Node> {
        if self.nodes.len() >= self.states_max {
            self.unfinished = true;
            return None;
        }
        let node = self.nodes.len() as Node;
        self.nodes.push(Visited { lineup, path, from, states_at: self.states.len() });
        self.states.extend_from_slice(states);
        self.known.insert(key.into(), node);
        Some(node)
    }

    /// Notes what matches at a node, and goes on from it.
    fn visit(&mut self, number: Node, node: Visited) {
        let Some(lineup) = self.lineups.get(node.lineup as usize).map(Rc::clone) else { return };
        let width = usize::from(lineup.mask.is_some()) + lineup.live.len();
        let states = self.states.get(node.states_at..node.states_at + width).unwrap_or_default().to_vec();
        if node.path.may_end() {
            self.note(number, &lineup, &states);
            // Whatever comes, nothing changes any more.
            if width == 0 {
                return;
            }
        }
        let Some(bytes) = self.bytes.get(node.lineup as usize).map(Rc::clone) else { return };
        for byte in bytes.iter() {
            let next = self.step(&node, &lineup, &states, *byte, From::Node(number, *byte));
            if let Some(next) = next.filter(|_| lineup.covered) {
                self.covered.steps.push((number, next));
            }
        }
    }

    fn note(&mut self, number: Node, lineup: &Lineup, states: &[State]) {
        let mut states = states.iter().copied();
        if let Some(mask) = lineup.mask.and_then(|mask| self.masks.get(mask as usize)) {
            let passes = states.next().is_some_and(|state| ground::passes(mask, state));
            if !passes {
                return;
            }
        }
        let parts = lineup.live.iter().map(|part| self.ground.part(*part)).zip(states);
        let mut rules = lineup.decided.clone();
        rules.extend(parts.flat_map(|(part, state)| part.matches(state)));
        rules.sort_unstable();
        rules.extend(lineup.fallback);
        let at = At::Node { node: number };
        let set = self.found.note(self.ground, &rules, &lineup.lazy, lineup.covered, at);
        if let Some(set) = set.filter(|_| lineup.covered) {
            self.covered.sets.push((number, set));
        }
    }

    /// Where one byte more leads; `None` where nothing is left to learn.
    fn step(
        &mut self,
        node: &Visited,
        lineup: &Lineup,
        states: &[State],
        byte: u8,
        from: From,
    ) -> Option<Node> {
        let path = node.path.next(byte)?;
        let mut next = std::mem::take(&mut self.next);
        next.clear();
        next.extend(self.tables(lineup).zip(states).map(|(table, state)| table.next(*state, byte)));
        let open = !self.tables(lineup).zip(&next).any(|(table, state)| table.is_settled(*state));
        let reached = if open && lineup.fallback.is_none_or(|rule| !self.found.has_won(rule)) {
            self.reach(node.lineup, path, &next, from)
        } else if self.is_dead(lineup, &next) {
            None
        } else {
            self.settle(lineup, path, &next).and_then(|place| self.add(place, from, None))
        };
        self.next = next;
        reached
    }

    /// Whether nothing can match any more. Most steps end so.
    fn is_dead(&self, lineup: &Lineup, states: &[State]) -> bool {
        let nothing_else = lineup.decided.is_empty() && lineup.fallback.is_none();
        nothing_else && self.tables(lineup).zip(states).all(|(table, state)| table.is_dead(*state))
    }

    /// Takes off a lineup what is decided. `None` where the path is another context's.
    fn settle(&self, lineup: &Lineup, path: PathState, states: &[State]) -> Option<Place> {
        let mut settled = Lineup { mask: None, live: Vec::new(), ..lineup.clone() };
        let mut left = Vec::new();
        let mut states = states.iter().copied();
        if let Some(number) = lineup.mask {
            let (mask, state) = (self.masks.get(number as usize)?, states.next()?);
            if !mask.is_settled(state) {
                settled.mask = Some(number);
                left.push(state);
            } else if !ground::passes(mask, state) {
                return None;
            }
        }
        for (number, state) in lineup.live.iter().zip(states) {
            let part = self.ground.part(*number);
            if part.table.is_settled(state) {
                settled.decided.extend(part.matches(state));
            } else {
                settled.live.push(*number);
                left.push(state);
            }
        }
        settled.decided.sort_unstable();
        Some(Place { lineup: settled, path, states: left })
    }

    /// A shortest path to a place, and a context in which it comes.
    pub(super) fn path_to(&self, at: At) -> (&'s Context, String) {
        match at {
            At::Asterisk { context } => (&self.contexts[context as usize], "*".to_owned()),
            At::Node { node } => {
                let (context, bytes) = self.bytes_to(node);
                (&self.contexts[context as usize], String::from_utf8_lossy(&bytes).into_owned())
            }
        }
    }

    fn bytes_to(&self, node: Node) -> (u32, Vec<u8>) {
        let mut bytes = Vec::new();
        let mut from = self.nodes[node as usize].from;
        loop {
            match from {
                From::Node(before, byte) => {
                    bytes.push(byte);
                    from = self.nodes[before as usize].from;
                }
                From::Start(context) => {
                    bytes.reverse();
                    return (context, bytes);
                }
            }
        }
    }
}
