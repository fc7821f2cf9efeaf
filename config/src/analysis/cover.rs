//! How each rule stands: where it wins, or why it never does.

use std::collections::{HashMap, HashSet};

use foldhash::fast::FixedState;

use super::matched::{self, Before, Matching};
use super::walk::{Node, Walk};
use super::{Standing, example};
use crate::snapshot::{Rule, RuleId, Snapshot};

/// How each rule stands, by its id.
pub(super) fn standings(walk: &Walk<'_>, snapshot: &Snapshot) -> Vec<Standing> {
    let matching = walk.found.matching(walk.ground, snapshot.rules.len());
    let asked = asked(walk, snapshot);
    let ids = || (0..snapshot.rules.len()).map(|index| RuleId(index as u32));
    let mut standings: Vec<_> = ids()
        .zip(&snapshot.rules)
        .zip(matching)
        .map(|((id, rule), matching)| match walk.found.wins_at(id) {
            Some(spot) => Standing::Wins(example(walk, spot)),
            None => without_a_win(walk, snapshot, id, rule, matching, asked.contains(&id)),
        })
        .collect();
    let covered: Vec<bool> =
        standings.iter().map(|standing| matches!(standing, Standing::Covered { .. })).collect();
    let covers = Covers::of(walk, &covered);
    if walk.is_unfinished() {
        let known = standings.iter_mut().zip(covered).filter(|(_, covered)| *covered);
        known.for_each(|(standing, _)| *standing = Standing::Unknown);
    }
    for (rule, cover) in covers.told() {
        if let Some(Standing::Covered { by }) = standings.get_mut(rule.index()) {
            by.push(cover);
        }
    }
    standings
}

fn without_a_win(
    walk: &Walk<'_>,
    snapshot: &Snapshot,
    id: RuleId,
    rule: &Rule,
    matching: Matching,
    asked: bool,
) -> Standing {
    let served = |method: &String| matched::is_served(method, snapshot.server.allow_trace);
    if !rule.enabled {
        Standing::Disabled
    } else if !asked {
        Standing::NoRequest
    } else if !rule.methods.as_ref().is_none_or(|methods| methods.iter().any(served)) {
        Standing::NoMethod
    } else if walk.is_unfinished() || matching.perhaps_wins || walk.ground.is_lazy(id) {
        Standing::Unknown
    } else if !matching.some_path && walk.ground.list_of(id).is_some() {
        Standing::NoPath
    } else {
        Standing::Covered { by: Vec::new() }
    }
}

/// The rules whose lists some requests walk.
fn asked(walk: &Walk<'_>, snapshot: &Snapshot) -> HashSet<RuleId> {
    let courses: Vec<_> = walk.contexts.iter().map(|context| walk.ground.course(context, snapshot)).collect();
    let lists: HashSet<_> = courses.iter().flat_map(|course| &course.lists).copied().collect();
    let ids = (0..snapshot.rules.len()).map(|index| RuleId(index as u32));
    let in_lists = ids.filter(|id| walk.ground.list_of(*id).is_some_and(|list| lists.contains(&list)));
    in_lists.chain(courses.iter().filter_map(|course| course.fallback)).collect()
}

/// How many rules are tried as the one that is enough to cover another one: the first that match with it at some path.
const ALONE_TRIED_MAX: usize = 16;

/// What covers rules that never win.
#[derive(Default)]
struct Covers {
    /// A rule, and one that takes something of it or stands for those that do.
    pairs: HashSet<(RuleId, RuleId), FixedState>,
    /// The rules of which each would take all of a rule.
    alone: HashMap<RuleId, Vec<RuleId>, FixedState>,
}

impl Covers {
    /// What covers the rules that are marked.
    fn of(walk: &Walk<'_>, covered: &[bool]) -> Self {
        let mut covers = Self::default();
        if !covered.contains(&true) {
            return covers;
        }
        let is_covered = |rule: &RuleId| covered.get(rule.index()).is_some_and(|covered| *covered);
        walk.found.for_each_taken(walk.ground, is_covered, |rule, before| covers.note(rule, before));
        let fallbacks = walk.covered.fallbacks.iter().copied().filter(|(rule, _)| is_covered(rule));
        let behind = behind_other_lists(walk, is_covered);
        fallbacks.chain(behind).for_each(|(rule, cover)| covers.note_alone(rule, cover));
        covers
    }

    /// Notes the rules that would take some of what `rule` takes.
    fn note(&mut self, rule: RuleId, before: &Before<'_>) {
        self.pairs.extend(before.winner().map(|winner| (rule, winner)));
        self.alone
            .entry(rule)
            .and_modify(|alone| alone.retain(|cover| before.contains(*cover)))
            .or_insert_with(|| before.first(ALONE_TRIED_MAX));
    }

    /// Notes the only rule that would take some of what `rule` takes.
    fn note_alone(&mut self, rule: RuleId, cover: RuleId) {
        self.pairs.insert((rule, cover));
        self.alone
            .entry(rule)
            .and_modify(|alone| alone.retain(|rule| *rule == cover))
            .or_insert_with(|| vec![cover]);
    }

    /// The rules, each with what covers it, in order: with one rule where that is enough.
    fn told(&self) -> Vec<(RuleId, RuleId)> {
        let alone = |rule: &RuleId| self.alone.get(rule).and_then(|alone| alone.first());
        let together = self.pairs.iter().copied().filter(|(rule, _)| alone(rule).is_none());
        let alone = self.alone.iter().filter_map(|(rule, alone)| Some((*rule, *alone.first()?)));
        let mut told: Vec<_> = together.chain(alone).collect();
        told.sort_unstable();
        told
    }
}

/// The marked rules that match somewhere behind a state from which on a rule of an earlier list takes everything.
fn behind_other_lists(walk: &Walk<'_>, is_covered: impl Fn(&RuleId) -> bool) -> Vec<(RuleId, RuleId)> {
    let mut matches: HashMap<RuleId, Vec<Node>> = HashMap::new();
    for (node, set) in &walk.covered.sets {
        let rules = walk.found.set(*set).into_iter().flat_map(|set| set.rules.iter());
        rules.filter(|rule| is_covered(rule)).for_each(|rule| matches.entry(*rule).or_default().push(*node));
    }
    let mut back: HashMap<Node, Vec<Node>> = HashMap::new();
    walk.covered.steps.iter().for_each(|(from, to)| back.entry(*to).or_default().push(*from));
    let mut roots: HashMap<Node, Vec<RuleId>> = HashMap::new();
    walk.covered.roots.iter().for_each(|(root, cover)| roots.entry(*root).or_default().push(*cover));
    let covers_of = |(rule, nodes): (RuleId, Vec<Node>)| {
        let before = all_before(nodes, &back);
        let covers: Vec<_> = before.iter().filter_map(|node| roots.get(node)).flatten().copied().collect();
        covers.into_iter().map(move |cover| (rule, cover))
    };
    matches.into_iter().flat_map(covers_of).collect()
}

/// Some nodes, and all that lead to them.
fn all_before(nodes: Vec<Node>, back: &HashMap<Node, Vec<Node>>) -> HashSet<Node> {
    let mut seen: HashSet<Node> = nodes.iter().copied().collect();
    let mut waiting = nodes;
    while let Some(node) = waiting.pop() {
        let before = back.get(&node).into_iter().flatten().copied();
        waiting.extend(before.filter(|node| seen.insert(*node)));
    }
    seen
}
