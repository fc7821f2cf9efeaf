//! The sets of rules that match some path, and who wins in them for which method and upgrade: everything that is said about
//! rules follows from the distinct sets.

use std::collections::HashMap;

use super::ground::{Ground, ListNumber};
use super::walk::Node;
use crate::snapshot::{RuleId, Snapshot};

/// Methods for examples, those that are known best first.
const METHODS: [&str; 7] = ["GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"];

/// How many rules all distinct sets have together at most; each takes 8 bytes.
const RULES_NOTED_MAX: usize = 16 << 20;

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
    pub(super) method: Box<str>,
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
pub(super) struct MatchedSets {
    allow_trace: bool,
    sets: Vec<Set>,
    rules_noted: usize,
    /// A set was left out: there were too many.
    pub(super) full: bool,
    known: HashMap<(Kind, bool, Box<[RuleId]>), usize, foldhash::fast::FixedState>,
    /// By rule: where it wins first, if it is certain.
    wins: Vec<Option<Spot>>,
    /// Rules of one list: where the first takes a path that the second matches, too.
    hidden: HashMap<(RuleId, RuleId), Spot, foldhash::fast::FixedState>,
}

impl MatchedSets {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        Self {
            allow_trace: snapshot.server.allow_trace,
            sets: Vec::new(),
            rules_noted: 0,
            full: false,
            known: HashMap::default(),
            wins: vec![None; snapshot.rules.len()],
            hidden: HashMap::default(),
        }
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
        if rules.is_empty() {
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
            self.full = true;
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
        for class in classes(ground, set, self.allow_trace) {
            let mut takers = takers(ground, set, &class);
            let Some(winner) = takers.next() else { continue };
            let spot = Spot { at: set.at, class: class.clone() };
            if !confirm(winner, &spot) {
                continue;
            }
            for loser in takers.filter(|loser| ground.list_of(*loser) == ground.list_of(winner)) {
                self.hidden.entry((winner, loser)).or_insert_with(|| spot.clone());
            }
            if let Some(wins) = self.wins.get_mut(winner.index()) {
                wins.get_or_insert(spot);
            }
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

    fn winners(&self, ground: &Ground<'_>, set: &Set) -> impl Iterator<Item = RuleId> {
        let classes = classes(ground, set, self.allow_trace);
        classes.into_iter().filter_map(|class| takers(ground, set, &class).next())
    }

    /// Calls `visit` for each class of requests that some of the rules take that `is_covered` names, with all that take
    /// it, in their order.
    pub(super) fn for_each_taken(
        &self,
        ground: &Ground<'_>,
        is_covered: impl Fn(&RuleId) -> bool,
        mut visit: impl FnMut(&[RuleId]),
    ) {
        let sets = self.sets.iter().filter(|set| set.kind != Kind::Covered);
        for set in sets.filter(|set| set.rules.iter().any(&is_covered)) {
            for class in classes(ground, set, self.allow_trace) {
                visit(&takers(ground, set, &class).collect::<Vec<_>>());
            }
        }
    }

    /// The rules of one list of which the first takes something that the second would take, although not all paths of the
    /// first are the second's: it was not written as an exception to the second. With where that is.
    pub(super) fn crossings(&self) -> Vec<(RuleId, RuleId, &Spot)> {
        let mut within: HashMap<RuleId, Vec<RuleId>> = HashMap::new();
        for (first, second) in self.hidden.keys() {
            within.entry(*first).or_default().push(*second);
        }
        let asked = self.sets.iter().filter(|set| set.kind != Kind::Covered);
        let paths = asked.filter(|set| !matches!(set.at, At::Asterisk { .. }));
        for set in paths {
            for first in &set.rules {
                if let Some(seconds) = within.get_mut(first) {
                    seconds.retain(|second| set.rules.contains(second));
                }
            }
        }
        let crossing = |(first, second): &(RuleId, RuleId)| {
            self.has_won(*second) && !within.get(first).is_some_and(|seconds| seconds.contains(second))
        };
        let mut found: Vec<_> = self.hidden.iter().filter(|(pair, _)| crossing(pair)).collect();
        found.sort_unstable_by_key(|((first, second), _)| (*second, *first));
        found.into_iter().map(|((first, second), spot)| (*first, *second, spot)).collect()
    }
}

/// What the walk says of a rule that wins nowhere for certain.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Matching {
    pub(super) some_path: bool,
    /// Of all rules that can be walked it is the first one at some path.
    pub(super) perhaps_wins: bool,
}

/// The rules of a set that take a class of requests, in their order.
fn takers<'a>(ground: &'a Ground<'_>, set: &'a Set, class: &'a Class) -> impl Iterator<Item = RuleId> + 'a {
    set.rules.iter().copied().filter(|rule| takes(ground, *rule, class))
}

fn takes(ground: &Ground<'_>, rule: RuleId, class: &Class) -> bool {
    let method = |methods: &[Box<[u8]>]| methods.iter().any(|method| **method == *class.method.as_bytes());
    (ground.takes_websockets(rule) || !class.websocket) && ground.methods(rule).is_none_or(method)
}

/// The classes of requests that the rules of a set tell apart: each method that one of them names, one that none names, and
/// a WebSocket.
fn classes(ground: &Ground<'_>, set: &Set, allow_trace: bool) -> Vec<Class> {
    let class = |method: &str| Class { method: method.into(), websocket: false };
    if matches!(set.at, At::Asterisk { .. }) {
        return vec![class("OPTIONS")];
    }
    if set.rules.iter().all(|rule| ground.takes_all(*rule)) {
        return vec![class("GET")];
    }
    let mut methods: Vec<&str> = Vec::new();
    let named = set.rules.iter().filter_map(|rule| ground.methods(*rule)).flatten();
    methods.extend(named.filter_map(|method| std::str::from_utf8(method).ok()));
    let other = unnamed(&methods);
    methods.push(&other);
    methods.retain(|method| is_served(method, allow_trace));
    methods.sort_unstable_by_key(|method| (place(method), *method));
    methods.dedup();
    let mut classes: Vec<_> = methods.into_iter().map(class).collect();
    if !set.rules.iter().all(|rule| ground.takes_websockets(*rule)) {
        classes.push(Class { websocket: true, ..class("GET") });
    }
    classes
}

/// Whether requests of a method come as far as a rule.
pub(super) fn is_served(method: &str, allow_trace: bool) -> bool {
    method != "CONNECT" && (allow_trace || method != "TRACE")
}

fn place(method: &str) -> usize {
    METHODS.iter().position(|known| *known == method).unwrap_or(METHODS.len())
}

/// A method that is none of `named`.
fn unnamed(named: &[&str]) -> String {
    let known = METHODS.iter().map(|method| (*method).to_owned());
    let mut all = known.chain((0_u64..).map(|number| format!("OTHER{number}")));
    all.find(|method| !named.contains(&&**method)).unwrap_or_default()
}
