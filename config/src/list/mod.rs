//! One rule list, ready to be asked for the first of its rules that takes a request. `division` decides which of its
//! patterns share a table, and `loose` which of them are likely not to get along; `table` builds and walks them.

mod division;
mod loose;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::sync::Arc;

use crate::pattern::PathPattern;
use crate::snapshot::{RouteRequest, RuleId};
use crate::table::{LazyTable, Refusal, Table, TableCache, TableScratch};

/// The enabled rules of one list.
#[derive(Debug, Default)]
pub(crate) struct RuleList {
    /// Most lists are one part; none is empty.
    parts: Box<[Part]>,
    /// What the next build of this list need not try again.
    _refused: Box<[Arc<Refusal>]>,
}

/// A list that was built, and what there is to say about it.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) list: RuleList,
    /// Rules that share no table with most of the list, since the table would explode: theirs are walked besides.
    pub(crate) split_off: Vec<RuleId>,
    /// Rules that no table within the budget has room for: their states are made while paths are matched.
    pub(crate) lazy: Vec<RuleId>,
}

/// No automaton can be made of a rule's pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListError {
    /// The rule to blame; where all together are too many, the one with the largest pattern.
    pub(crate) rule: RuleId,
}

/// Rules of a list that share an automaton.
#[derive(Debug)]
pub(crate) struct Part {
    matcher: Matcher,
    /// By the automaton's pattern number, in the list's order.
    entries: Box<[Entry]>,
}

#[derive(Debug)]
enum Matcher {
    Dense(Arc<Table>),
    /// A table for beginnings of paths.
    Beginnings(Arc<Table>),
    Lazy(Arc<LazyTable>),
}

/// A rule as far as matching looks at it, beyond its path.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) rule: RuleId,
    /// The methods it takes; `None` for all.
    pub(crate) methods: Option<Box<[Box<[u8]>]>>,
    pub(crate) ws: bool,
}

impl RuleList {
    /// Builds the tables of a list, whose rules are in its order, or finds them among those that are in use. They may
    /// take `budget_bytes` together.
    ///
    /// # Errors
    /// [`ListError`] when a pattern is too large for any automaton.
    pub(crate) fn build(
        rules: Vec<(PathPattern, Entry)>,
        tables: &mut TableCache,
        budget_bytes: usize,
    ) -> Result<Built, ListError> {
        let (patterns, entries): (Vec<_>, Vec<_>) =
            rules.into_iter().map(|(pattern, entry)| (Arc::new(pattern), entry)).unzip();
        let divided = division::divide(&patterns, tables, budget_bytes);
        let divided = divided.map_err(|number| ListError { rule: entries[number].rule })?;
        let ids = |numbers: Vec<usize>| numbers.into_iter().map(|number| entries[number].rule).collect();
        let part = |(matcher, numbers): (Matcher, Vec<usize>)| Part {
            matcher,
            entries: numbers.into_iter().map(|number| entries[number].clone()).collect(),
        };
        Ok(Built {
            list: Self {
                parts: divided.parts.into_iter().map(part).collect(),
                _refused: divided.refused.into(),
            },
            split_off: ids(divided.split_off),
            lazy: ids(divided.lazy),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether every part has a table whose states say all, so that walking them shows what the list can do.
    pub(crate) fn is_complete(&self) -> bool {
        self.parts.iter().all(|part| part.table().is_some())
    }

    /// The parts, each with rules of its own. The list's winner is the lowest rule of all parts' winners.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The first rule that takes the request: ids rise in the list's order.
    #[inline]
    pub(crate) fn winner(&self, request: &RouteRequest<'_>, scratch: &mut TableScratch) -> Option<RuleId> {
        let (first, rest) = self.parts.split_first()?;
        let mut winner = first.winner(request, scratch);
        for part in rest {
            if part.may_precede(winner)
                && let Some(found) = part.winner(request, scratch)
            {
                winner = Some(winner.map_or(found, |winner| winner.min(found)));
            }
        }
        winner
    }

    /// All rules whose paths take `path`, whatever else they want of a request; in no order, some of them twice. For
    /// explanations: this allocates.
    pub(crate) fn matching(&self, path: &[u8], scratch: &mut TableScratch) -> Vec<RuleId> {
        let matching = RefCell::new(Vec::new());
        for part in &self.parts {
            part.find(path, scratch, |entry| {
                matching.borrow_mut().push(entry.rule);
                false
            });
        }
        matching.into_inner()
    }
}

impl Part {
    /// The table whose state after a path says all; `None` where there is none.
    pub(crate) fn table(&self) -> Option<&Table> {
        match &self.matcher {
            Matcher::Dense(table) => Some(table),
            Matcher::Beginnings(_) | Matcher::Lazy(_) => None,
        }
    }

    /// The rules by the table's pattern numbers, in the list's order.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What its table takes, in bytes. A rule's share is not told apart: most of a table's states serve several rules.
    /// What an automaton without a table takes belongs to the workers.
    pub(crate) fn memory_bytes(&self) -> usize {
        match &self.matcher {
            Matcher::Dense(table) | Matcher::Beginnings(table) => table.memory_bytes(),
            Matcher::Lazy(_) => 0,
        }
    }

    /// Whether some rule of this part stands before `winner` in the list.
    fn may_precede(&self, winner: Option<RuleId>) -> bool {
        winner.is_none_or(|winner| self.entries.first().is_some_and(|first| first.rule < winner))
    }

    #[inline]
    fn winner(&self, request: &RouteRequest<'_>, scratch: &mut TableScratch) -> Option<RuleId> {
        self.find(request.path, scratch, |entry| entry.accepts(request))
    }

    /// The first rule whose path takes `path` and that `accepts` takes. It is asked about rules whose paths do, and when it
    /// takes none about all of them.
    #[inline]
    fn find(
        &self,
        path: &[u8],
        scratch: &mut TableScratch,
        accepts: impl Fn(&Entry) -> bool,
    ) -> Option<RuleId> {
        let entry = |pattern: u32| self.entries.get(pattern as usize);
        let accepts = |pattern| entry(pattern).is_some_and(&accepts);
        let pattern = match &self.matcher {
            Matcher::Dense(table) => table.winner(path, accepts),
            Matcher::Beginnings(table) => table.winner_of_beginnings(path, accepts),
            Matcher::Lazy(table) => table.winner(path, scratch, accepts),
        };
        entry(pattern?).map(|entry| entry.rule)
    }
}

impl Entry {
    pub(crate) fn accepts(&self, request: &RouteRequest<'_>) -> bool {
        let method = |methods: &[Box<[u8]>]| methods.iter().any(|method| **method == *request.method);
        (self.ws || !request.websocket) && self.methods.as_deref().is_none_or(method)
    }
}
