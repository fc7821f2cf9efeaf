//! What is walked: the tables of all lists by numbers of their own, and the rules behind their patterns.

use std::ops::Range;
use std::sync::Arc;

use super::contexts::{Context, Share};
use super::paths::BYTES;
use crate::list::{Entry, RuleList};
use crate::pattern::PathPattern;
use crate::router::Lists;
use crate::snapshot::{Rule, RuleId, Snapshot};
use crate::table::{Meets, State, Table};

/// The number of a list: the sites' own ones, then the projects', then the site-less one. They rise in the order in
/// which a request walks them.
pub(super) type ListNumber = u32;
/// The number of a part among those of all lists.
pub(super) type PartNumber = u32;

/// The lists of a snapshot.
pub(super) struct Ground<'s> {
    /// Those that have a table.
    parts: Vec<Part<'s>>,
    lists: Vec<List>,
    /// The first number of a project's list.
    projects: ListNumber,
    /// By rule; `None` for those that are disabled, and for a site's own upstream.
    rules: Vec<Option<Standing<'s>>>,
}

/// A list as far as it can be walked.
struct List {
    parts: Range<PartNumber>,
    /// It has parts whose states are made while paths are matched.
    lazy: bool,
}

/// A part of a list that has a table.
pub(super) struct Part<'s> {
    pub(super) list: ListNumber,
    pub(super) table: &'s Table,
    entries: &'s [Entry],
    /// Its first rule that takes whatever begins with `/`.
    total: Option<RuleId>,
}

/// Where a rule stands.
#[derive(Clone, Copy)]
struct Standing<'s> {
    entry: &'s Entry,
    list: ListNumber,
    lazy: bool,
}

/// The lists that the requests of a context walk.
pub(super) struct Course {
    pub(super) lists: Vec<ListNumber>,
    pub(super) fallback: Option<RuleId>,
}

impl<'s> Ground<'s> {
    pub(super) fn of(snapshot: &'s Snapshot) -> Self {
        let Lists { own, projects, global } = snapshot.router.lists();
        let mut ground = Self {
            parts: Vec::new(),
            lists: Vec::new(),
            projects: own.len() as ListNumber,
            rules: vec![None; snapshot.rules.len()],
        };
        own.iter().chain(projects).chain([global]).for_each(|list| ground.add(list));
        ground
    }

    fn add(&mut self, list: &'s RuleList) {
        let number = self.lists.len() as ListNumber;
        let first = self.parts.len() as PartNumber;
        for part in list.parts() {
            for entry in part.entries() {
                let standing = Standing { entry, list: number, lazy: part.table().is_none() };
                if let Some(rule) = self.rules.get_mut(entry.rule.index()) {
                    *rule = Some(standing);
                }
            }
            if let Some(table) = part.table() {
                let total = total(table, part.entries());
                self.parts.push(Part { list: number, table, entries: part.entries(), total });
            }
        }
        let parts = first..self.parts.len() as PartNumber;
        self.lists.push(List { parts, lazy: !list.is_complete() });
    }

    /// The lists that the requests of `context` walk, in order.
    pub(super) fn course(&self, context: &Context, snapshot: &Snapshot) -> Course {
        let global = self.lists.len().saturating_sub(1) as ListNumber;
        let way = context.site.and_then(|site| Some((site, snapshot.router.way(site)?)));
        let Some((site, way)) = way else { return Course { lists: vec![global], fallback: None } };
        let project = way.project.map(|project| self.projects + project.0);
        let lists = [Some(site.0), project, way.global.then_some(global)].into_iter().flatten().collect();
        Course { lists, fallback: way.fallback }
    }

    /// The numbers of a list's parts.
    pub(super) fn parts_of(&self, list: ListNumber) -> Range<PartNumber> {
        self.lists.get(list as usize).map(|list| list.parts.clone()).unwrap_or_default()
    }

    /// Whether a list has rules that cannot be walked.
    pub(super) fn has_lazy(&self, list: ListNumber) -> bool {
        self.lists.get(list as usize).is_some_and(|list| list.lazy)
    }

    pub(super) fn part(&self, number: PartNumber) -> &Part<'s> {
        &self.parts[number as usize]
    }

    /// The first rule of a list that takes whatever begins with `/`.
    pub(super) fn total_of(&self, list: ListNumber) -> Option<RuleId> {
        self.parts_of(list).filter_map(|part| self.part(part).total).min()
    }

    /// The list of an enabled rule; `None` for a site's own upstream.
    pub(super) fn list_of(&self, rule: RuleId) -> Option<ListNumber> {
        self.standing(rule).map(|standing| standing.list)
    }

    /// Whether a rule is matched by a part that cannot be walked.
    pub(super) fn is_lazy(&self, rule: RuleId) -> bool {
        self.standing(rule).is_some_and(|standing| standing.lazy)
    }

    /// The methods that a rule takes; `None` for all.
    pub(super) fn methods(&self, rule: RuleId) -> Option<&'s [Box<[u8]>]> {
        self.standing(rule).and_then(|standing| standing.entry.methods.as_deref())
    }

    /// Whether a rule takes WebSockets.
    pub(super) fn takes_websockets(&self, rule: RuleId) -> bool {
        self.standing(rule).is_none_or(|standing| standing.entry.ws)
    }

    /// Whether a rule takes every request whose path it matches.
    pub(super) fn takes_all(&self, rule: RuleId) -> bool {
        self.methods(rule).is_none() && self.takes_websockets(rule)
    }

    fn standing(&self, rule: RuleId) -> Option<Standing<'s>> {
        self.rules.get(rule.index()).copied().flatten()
    }
}

impl Part<'_> {
    /// The rules that match a path which ends in `state`, in their order.
    pub(super) fn matches(&self, state: State) -> impl Iterator<Item = RuleId> {
        let rule = |pattern: &u32| self.entries.get(*pattern as usize).map(|entry| entry.rule);
        self.table.matches(state).iter().filter_map(rule)
    }
}

/// The first rule of a table that takes whatever begins with `/`.
fn total(table: &Table, entries: &[Entry]) -> Option<RuleId> {
    let takes_all = |entry: &Entry| entry.methods.is_none() && entry.ws;
    let rules = entries.iter().enumerate().filter(|(_, entry)| takes_all(entry));
    let start = table.next(table.start(), b'/');
    let mut left: Vec<u32> = table.matches(start).to_vec();
    let candidates: Vec<u32> = rules.map(|(number, _)| number as u32).collect();
    left.retain(|pattern| candidates.binary_search(pattern).is_ok());
    let everywhere = always(table, start, left);
    everywhere.first().and_then(|number| entries.get(*number as usize)).map(|entry| entry.rule)
}

/// Those of `patterns` that match wherever a path ends from `start` on.
fn always(table: &Table, start: State, mut patterns: Vec<u32>) -> Vec<u32> {
    let bytes = representatives(BYTES.iter().copied(), |byte| table.class_of(byte));
    let mut seen = vec![false; table.numbers()];
    let mut waiting = vec![start];
    while let Some(state) = waiting.pop() {
        let known = seen.get_mut(table.number_of(state)).is_none_or(|seen| std::mem::replace(seen, true));
        if known {
            continue;
        }
        patterns.retain(|pattern| table.matches(state).binary_search(pattern).is_ok());
        if patterns.is_empty() {
            break;
        }
        waiting.extend(bytes.iter().map(|byte| table.next(state, *byte)));
    }
    patterns
}

/// The first byte of each class.
pub(super) fn representatives<C: std::hash::Hash + Eq>(
    bytes: impl Iterator<Item = u8>,
    class_of: impl Fn(u8) -> C,
) -> Vec<u8> {
    let mut seen = std::collections::HashSet::new();
    bytes.filter(|byte| seen.insert(class_of(*byte))).collect()
}

/// The table of a context's paths: pattern 0 takes what has the prefix, the others what is excepted. `None` where every
/// path is the context's.
///
/// # Errors
/// No table can be built; there is too much that is excepted.
pub(super) fn mask(share: &Share) -> Result<Option<Table>, ()> {
    if *share == Share::default() {
        return Ok(None);
    }
    let prefix = |prefix: &str| {
        Arc::new(if prefix.is_empty() { PathPattern::All } else { PathPattern::Prefix(prefix.into()) })
    };
    let all: Vec<_> = std::iter::once(&share.prefix).chain(&share.except).map(|text| prefix(text)).collect();
    Table::build(&all, Meets::Path, usize::MAX).map(Some).map_err(|_| ())
}

/// Whether the table of a [`mask`] lets a path pass that ends in `state`.
pub(super) fn passes(mask: &Table, state: State) -> bool {
    mask.matches(state) == [0]
}

/// Whether a rule takes every path, method and upgrade; exact but for paths that would need states which no path
/// reaches.
pub(super) fn is_total(ground: &Ground<'_>, rule: RuleId, written: &Rule) -> bool {
    if written.is_fallback() && ground.list_of(rule).is_none() {
        return written.enabled;
    }
    let in_part = |part: &Part<'_>| {
        let start = part.table.next(part.table.start(), b'/');
        let number = part.entries.iter().position(|entry| entry.rule == rule);
        number.is_some_and(|number| !always(part.table, start, vec![number as u32]).is_empty())
    };
    let Some(list) = ground.list_of(rule).filter(|_| ground.takes_all(rule)) else { return false };
    ground.parts_of(list).any(|number| in_part(ground.part(number)))
}
