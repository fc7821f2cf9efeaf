//! The sets of rules that match some path, and who wins in them for which method and upgrade: everything that is said about
//! rules follows from the distinct sets.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::Bounds;
use super::ground::{Ground, ListNumber};
use super::walk::Node;
use crate::snapshot::{RuleId, Snapshot};

/// Methods for examples, those that are known best first.
const METHODS: [&str; 7] = ["GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"];

/// How many rules all distinct sets have together at most; each takes 8 bytes.
const RULES_NOTED_MAX: usize = 16 << 20;

/// How many rules are looked at for one method in one set, all methods and sets together. Each takes up to 40 nanoseconds.
pub(super) const TAKERS_MAX: usize = 64 << 20;

/// How many pairs of rules are noted of which the first hides something of the second; each takes 60 bytes, and some 200
/// where it is an overlap.
pub(super) const PAIRS_MAX: usize = 256 << 10;

/// What asking the lists themselves for the winner at a place costs, in takers.
const CONFIRMED_TAKERS: usize = 100;

/// What telling what is before a rule costs, in takers.
const BEFORE_TAKERS: usize = 4;

/// Where a set was first met: at a shortest path.
#[derive(Clone, Copy, Debug)]
pub(super) enum At {
    Node {
        node: Node,
    },
    /// `OPTIONS *`.
    Asterisk {
        context: u32,
    },
}

/// A request as far as its path does not decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Class {
    pub(super) method: Rc<str>,
    /// Only of GET: a handshake has no other method (RFC 6455 section 4.1).
    pub(super) websocket: bool,
}

/// Where something happens.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub(super) at: At,
    pub(super) class: Class,
}

/// Rules that match the same paths, in the order in which they are asked.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) rules: Box<[RuleId]>,
    pub(super) at: At,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// All rules that match.
    Certain,
    /// Rules that cannot be walked may match, too.
    Uncertain,
    /// A rule of an earlier list takes these paths.
    Covered,
}

/// All sets.
#[derive(Default)]
pub(super) struct MatchedSets {
    methods: Rc<Methods>,
    sets: Vec<Set>,
    rules_noted: usize,
    takers_left: Budget,
    pairs_max: usize,
    known: HashMap<(Kind, bool, Box<[RuleId]>), usize, foldhash::fast::FixedState>,
    /// By rule: where it wins first, if it is certain.
    wins: Vec<Option<Spot>>,
    /// Rules of one list: where the first takes a path that the second matches, too.
    hidden: HashMap<(RuleId, RuleId), Spot, foldhash::fast::FixedState>,
    /// A pair was left out of `hidden`: there were too many.
    pairs_left_out: bool,
}

/// Rules that cross, and whether they are all.
pub(super) struct Crossings<'m> {
    pub(super) pairs: Vec<(RuleId, RuleId, &'m Spot)>,
    pub(super) all: bool,
}

impl MatchedSets {
    pub(super) fn new(snapshot: &Snapshot, bounds: Bounds) -> Self {
        Self {
            methods: Rc::new(Methods::of(snapshot)),
            takers_left: Budget::of(bounds.takers),
            pairs_max: bounds.pairs,
            wins: vec![None; snapshot.rules.len()],
            ..Self::default()
        }
    }

    /// Whether something was left out: there were too many sets, or takers in them.
    pub(super) fn is_full(&self) -> bool {
        self.rules_noted > RULES_NOTED_MAX || self.takers_left.is_spent()
    }

    /// Notes which rules match at some place, in their order. Returns the number of their set.
    pub(super) fn note(
        &mut self,
        ground: &Ground<'_>,
        rules: &[RuleId],
        lazy: &[ListNumber],
        covered: bool,
        at: At,
    ) -> Option<usize> {
        if rules.is_empty() || !self.takers_left.spend(rules.len()) {
            return None;
        }
        let kind = match (covered, lazy.is_empty()) {
            (true, _) => Kind::Covered,
            (false, true) => Kind::Certain,
            (false, false) => Kind::Uncertain,
        };
        let key = (kind, matches!(at, At::Asterisk { .. }), Box::from(rules));
        if let Some(number) = self.known.get(&key) {
            return Some(*number);
        }
        self.rules_noted += rules.len();
        if self.rules_noted > RULES_NOTED_MAX {
            return None;
        }
        let number = self.sets.len();
        self.known.insert(key, number);
        let set = Set { rules: rules.into(), at, kind };
        if kind == Kind::Certain {
            self.judge(ground, &set, |_, _| true);
        }
        self.sets.push(set);
        Some(number)
    }

    /// Notes who wins in a set, and what it hides, as far as `confirm` lets it stand.
    fn judge(&mut self, ground: &Ground<'_>, set: &Set, mut confirm: impl FnMut(RuleId, &Spot) -> bool) {
        let confirmed_takers = if set.kind == Kind::Uncertain { CONFIRMED_TAKERS } else { 0 };
        // A winner that takes every method hides the same rules of every method with each: they are told with one.
        let mut told = false;
        let methods = Rc::clone(&self.methods);
        for taken in classes(ground, set, &methods) {
            let Some(winner) = taken.winner() else { continue };
            let any: &[Place] = if taken.is_alike() && told { &[] } else { &taken.any };
            if !self.takers_left.spend(confirmed_takers + taken.named.len() + any.len()) {
                return;
            }
            let spot = Spot { at: set.at, class: taken.class() };
            if confirm(set.rule(winner), &spot) {
                told |= taken.is_alike();
                let losers = taken.named.iter().chain(any).filter(|place| **place > winner);
                self.note_winner(ground, set.rule(winner), losers.map(|place| set.rule(*place)), spot);
            }
        }
    }

    /// Notes where a rule wins, and which of the rules that lose there are its neighbours.
    fn note_winner(
        &mut self,
        ground: &Ground<'_>,
        winner: RuleId,
        losers: impl Iterator<Item = RuleId>,
        spot: Spot,
    ) {
        for loser in losers.filter(|loser| ground.list_of(*loser) == ground.list_of(winner)) {
            if self.hidden.len() < self.pairs_max {
                self.hidden.entry((winner, loser)).or_insert_with(|| spot.clone());
            } else {
                self.pairs_left_out |= !self.hidden.contains_key(&(winner, loser));
            }
        }
        if let Some(wins) = self.wins.get_mut(winner.index()) {
            wins.get_or_insert(spot);
        }
    }

    /// Looks at the sets in which rules may be missing that cannot be walked; `confirm` asks the lists themselves whether
    /// a rule wins at a place.
    pub(super) fn judge_uncertain(
        &mut self,
        ground: &Ground<'_>,
        mut confirm: impl FnMut(RuleId, &Spot) -> bool,
    ) {
        let sets = std::mem::take(&mut self.sets);
        for set in sets.iter().filter(|set| set.kind == Kind::Uncertain) {
            self.judge(ground, set, &mut confirm);
        }
        self.sets = sets;
    }

    pub(super) fn has_won(&self, rule: RuleId) -> bool {
        self.wins_at(rule).is_some()
    }

    /// Where a rule wins.
    pub(super) fn wins_at(&self, rule: RuleId) -> Option<&Spot> {
        self.wins.get(rule.index()).and_then(Option::as_ref)
    }

    pub(super) fn set(&self, number: usize) -> Option<&Set> {
        self.sets.get(number)
    }

    /// The rules that match some path, each with whether it may win there for all that can be walked.
    pub(super) fn matching(&self, ground: &Ground<'_>, rules: usize) -> Vec<Matching> {
        let mut matching = vec![Matching::default(); rules];
        for set in &self.sets {
            for rule in &set.rules {
                if let Some(matching) = matching.get_mut(rule.index()) {
                    matching.some_path = true;
                }
            }
            if set.kind == Kind::Uncertain {
                let winners = self.winners(ground, set);
                winners.for_each(|winner| matching[winner.index()].perhaps_wins = true);
            }
        }
        matching
    }

    fn winners<'a>(&'a self, ground: &'a Ground<'_>, set: &'a Set) -> impl Iterator<Item = RuleId> + 'a {
        let classes = classes(ground, set, &self.methods);
        classes.into_iter().filter_map(|taken| taken.winner()).map(|winner| set.rule(winner))
    }

    /// Calls `visit` for the rules that `is_covered` names, with what takes a class of requests before each that it takes,
    /// too: for as many classes as tell all that covers it. Once [`Self::is_full`] some are missing.
    pub(super) fn for_each_taken(
        &self,
        ground: &Ground<'_>,
        is_covered: impl Fn(&RuleId) -> bool,
        mut visit: impl FnMut(RuleId, &Before<'_>),
    ) {
        let sets = self.sets.iter().filter(|set| set.kind != Kind::Covered);
        for set in sets.filter(|set| set.rules.iter().any(&is_covered)) {
            if !self.takers_left.spend(set.rules.len()) {
                return;
            }
            for taken in classes(ground, set, &self.methods) {
                // No more takes a method that no rule names than another one, and the same rule wins.
                let elsewhere = taken.is_alike() && !taken.named.is_empty() && !set.is_asterisk();
                let any: &[Place] = if elsewhere { &[] } else { &taken.any };
                if !self.takers_left.spend(taken.named.len() + any.len()) {
                    return;
                }
                let losers = taken.named.iter().chain(any).map(|place| (set.rule(*place), *place));
                for (loser, end) in losers.filter(|(rule, _)| is_covered(rule)) {
                    if !self.takers_left.spend(BEFORE_TAKERS) {
                        return;
                    }
                    visit(loser, &Before { set, taken: &taken, end });
                }
            }
        }
    }

    /// The rules of one list of which the first takes something that the second would take, although not all paths of the
    /// first are the second's: it was not written as an exception to the second. With where that is.
    pub(super) fn crossings(&self) -> Crossings<'_> {
        let mut within: HashMap<RuleId, Vec<RuleId>> = HashMap::new();
        for (first, second) in self.hidden.keys() {
            within.entry(*first).or_default().push(*second);
        }
        let looked_at_all = self.retain_within(&mut within);
        let crossing = |(first, second): &(RuleId, RuleId)| {
            self.has_won(*second) && !within.get(first).is_some_and(|seconds| seconds.contains(second))
        };
        let mut found: Vec<_> = self.hidden.iter().filter(|(pair, _)| crossing(pair)).collect();
        found.sort_unstable_by_key(|((first, second), _)| (*second, *first));
        let pairs = found.into_iter().map(|((first, second), spot)| (*first, *second, spot)).collect();
        Crossings { pairs, all: looked_at_all && !self.pairs_left_out }
    }

    /// Leaves those rules to each that match wherever it does. Returns whether all sets were looked at.
    fn retain_within(&self, within: &mut HashMap<RuleId, Vec<RuleId>>) -> bool {
        let asked = self.sets.iter().filter(|set| set.kind != Kind::Covered && !set.is_asterisk());
        let pairs_left = Budget::of(TAKERS_MAX);
        // By rule: the number of the last set that it was in.
        let mut last_in = vec![0; self.wins.len()];
        for (number, set) in (1_usize..).zip(asked) {
            set.rules.iter().for_each(|rule| last_in[rule.index()] = number);
            for first in &set.rules {
                let Some(seconds) = within.get_mut(first) else { continue };
                if !pairs_left.spend(1 + seconds.len()) {
                    return false;
                }
                seconds.retain(|second| last_in[second.index()] == number);
            }
        }
        true
    }
}

/// What the walk says of a rule that wins nowhere for certain.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Matching {
    pub(super) some_path: bool,
    /// Of all rules that can be walked it is the first one at some path.
    pub(super) perhaps_wins: bool,
}

/// How much may still be done.
#[derive(Debug, Default)]
struct Budget {
    /// `None` once more was asked for.
    left: Cell<Option<usize>>,
}

impl Budget {
    fn of(left: usize) -> Self {
        Self { left: Cell::new(Some(left)) }
    }

    /// Whether there is so much, which is then gone. Without it there is nothing any more.
    fn spend(&self, count: usize) -> bool {
        self.left.set(self.left.get().and_then(|left| left.checked_sub(count)));
        !self.is_spent()
    }

    fn is_spent(&self) -> bool {
        self.left.get().is_none()
    }
}

/// A rule's place in its set.
type Place = u32;

impl Set {
    fn is_asterisk(&self) -> bool {
        matches!(self.at, At::Asterisk { .. })
    }

    fn rule(&self, place: Place) -> RuleId {
        self.rules[place as usize]
    }

    fn places(&self) -> impl Iterator<Item = (Place, RuleId)> {
        (0..).zip(self.rules.iter().copied())
    }
}

/// A class of requests, and the rules of a set that take it.
struct Taken<'a> {
    method: &'a str,
    websocket: bool,
    /// Those that name the method, in their order.
    named: Vec<Place>,
    /// Those that take every method, in their order.
    any: Rc<[Place]>,
}

impl Taken<'_> {
    fn class(&self) -> Class {
        Class { method: self.method.into(), websocket: self.websocket }
    }

    fn winner(&self) -> Option<Place> {
        self.named.iter().chain(self.any.first()).min().copied()
    }

    /// Whether the winner is the same for each method that no rule before it names.
    fn is_alike(&self) -> bool {
        !self.websocket && self.winner() == self.any.first().copied()
    }
}

/// What takes a class of requests before a rule that takes it, too.
pub(super) struct Before<'a> {
    set: &'a Set,
    taken: &'a Taken<'a>,
    /// The rule's place.
    end: Place,
}

impl Before<'_> {
    /// The first of them, at most `count`.
    pub(super) fn first(&self, count: usize) -> Vec<RuleId> {
        let Taken { named, any, .. } = self.taken;
        let mut places: Vec<Place> =
            named.iter().take(count).chain(any.iter().take(count)).copied().collect();
        places.sort_unstable();
        places.truncate(count);
        places.into_iter().take_while(|place| *place < self.end).map(|place| self.set.rule(place)).collect()
    }

    /// The one that wins.
    pub(super) fn winner(&self) -> Option<RuleId> {
        self.taken.winner().filter(|place| *place < self.end).map(|place| self.set.rule(place))
    }

    pub(super) fn contains(&self, rule: RuleId) -> bool {
        // Only a site's own upstream stands out of the order of ids, and nothing is asked after it.
        let before = self.set.rules.get(..self.end as usize).unwrap_or_default();
        before.binary_search(&rule).is_ok_and(|place| {
            let place = place as Place;
            self.taken.named.binary_search(&place).is_ok() || self.taken.any.binary_search(&place).is_ok()
        })
    }
}

/// The methods of requests, as far as rules tell them apart.
#[derive(Default)]
struct Methods {
    allow_trace: bool,
    /// None of [`METHODS`], and no rule names it.
    other: String,
}

impl Methods {
    fn of(snapshot: &Snapshot) -> Self {
        let named: HashSet<&str> = snapshot
            .rules
            .iter()
            .filter_map(|rule| rule.methods.as_ref())
            .flatten()
            .map(|it| &**it)
            .collect();
        let mut others = (0_u64..).map(|number| format!("OTHER{number}"));
        let other = others.find(|method| !named.contains(&**method)).unwrap_or_default();
        Self { allow_trace: snapshot.server.allow_trace, other }
    }

    /// A method that is none of `named`, which are in the order of examples.
    fn unnamed<'a>(&'a self, named: &[(usize, &str, Place)]) -> &'a str {
        let is_named = |known: &usize| named.binary_search_by_key(known, |(place, _, _)| *place).is_ok();
        (0..METHODS.len()).find(|known| !is_named(known)).map_or(&*self.other, |known| METHODS[known])
    }
}

/// The classes of requests that the rules of a set tell apart: each method that one of them names, one that none names, and
/// a WebSocket; those for examples first. Each with the rules that take it.
fn classes<'a>(ground: &'a Ground<'_>, set: &Set, methods: &'a Methods) -> Vec<Taken<'a>> {
    let every_method = set.places().filter(|(_, rule)| ground.methods(*rule).is_none());
    let any: Rc<[Place]> = every_method.map(|(place, _)| place).collect();
    let named = named(ground, set, methods);
    let unnamed = if set.is_asterisk() { "OPTIONS" } else { methods.unnamed(&named) };
    let class = |method| Taken { method, websocket: false, named: Vec::new(), any: Rc::clone(&any) };
    let of_method = |rules: &[(usize, &'a str, Place)]| {
        let method = rules.first().map_or(unnamed, |(_, method, _)| *method);
        Taken { named: rules.iter().map(|(_, _, place)| *place).collect(), ..class(method) }
    };
    let mut classes: Vec<_> = named.chunk_by(|one, other| one.1 == other.1).map(of_method).collect();
    if !classes.iter().any(|taken| taken.method == unnamed) {
        let before = classes.partition_point(|taken| order(taken.method) < order(unnamed));
        classes.insert(before, class(unnamed));
    }
    if !set.is_asterisk() {
        classes.extend(websockets(ground, set, &classes));
    }
    classes
}

/// The methods that requests of a set come with and its rules name, in the order of examples, each with a rule that names it.
fn named<'a>(ground: &'a Ground<'_>, set: &Set, methods: &Methods) -> Vec<(usize, &'a str, Place)> {
    let named = set.places().flat_map(|(place, rule)| {
        let methods = ground.methods(rule).into_iter().flatten();
        methods.filter_map(|method| std::str::from_utf8(method).ok()).map(move |method| (method, place))
    });
    let comes =
        |method: &str| is_served(method, methods.allow_trace) && (method == "OPTIONS" || !set.is_asterisk());
    let named = named.filter(|(method, _)| comes(method));
    let mut named: Vec<_> = named.map(|(method, place)| (order(method).0, method, place)).collect();
    named.sort_unstable();
    named.dedup();
    named
}

/// The class of WebSockets, if a rule of the set takes none.
fn websockets<'a>(ground: &Ground<'_>, set: &Set, classes: &[Taken<'a>]) -> Option<Taken<'a>> {
    let takes = |place: &&Place| ground.takes_websockets(set.rule(**place));
    if set.rules.iter().all(|rule| ground.takes_websockets(*rule)) {
        return None;
    }
    let get = classes.iter().find(|taken| taken.method == "GET")?;
    let [named, any] = [&*get.named, &*get.any].map(|places| places.iter().filter(takes).copied().collect());
    Some(Taken { websocket: true, named, any: Vec::into(any), ..*get })
}

/// Whether requests of a method come as far as a rule.
pub(super) fn is_served(method: &str, allow_trace: bool) -> bool {
    method != "CONNECT" && (allow_trace || method != "TRACE")
}

/// Where a method stands in the order of examples.
fn order(method: &str) -> (usize, &str) {
    (METHODS.iter().position(|known| *known == method).unwrap_or(METHODS.len()), method)
}
