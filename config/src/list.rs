//! One rule list, ready to be asked for the first of its rules that takes a request. It decides into which tables a
//! list's patterns go; `table` builds and walks them.

use std::sync::Arc;

use crate::pattern::PathPattern;
use crate::snapshot::{RouteRequest, RuleId};
use crate::table::{Table, TableCache, TableError, TableScratch};

/// The most states that rules for prefixes and rules for suffixes may cost each other in one table: behind each
/// prefix the table has to tell apart how much of each suffix has been seen. 10,000 prefixes and 5 suffixes of 5 bytes
/// took 322,000 states and 9 s in one table, 33,000 states and 0.2 s in two.
const PRODUCT_STATES_MAX: usize = 32 * 1024;

/// The enabled rules of one list.
#[derive(Debug, Default)]
pub(crate) struct RuleList {
    /// Most lists are one part; none is empty.
    parts: Box<[Part]>,
}

/// Rules of a list that share a table.
#[derive(Debug)]
struct Part {
    table: Arc<Table>,
    /// By the table's pattern number, in the list's order.
    entries: Box<[Entry]>,
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
    /// Builds the tables of a list, whose rules are in its order, or finds them among those that are in use. Two tables
    /// where one would explode. Each table may take `budget_bytes`.
    ///
    /// # Errors
    /// [`TableError`] when a table does not fit.
    pub(crate) fn build(
        rules: Vec<(PathPattern, Entry)>,
        tables: &mut TableCache,
        budget_bytes: usize,
    ) -> Result<Self, TableError> {
        let parts = if product_states(&rules) > PRODUCT_STATES_MAX {
            let (suffixes, rest) = rules.into_iter().partition(|(pattern, _)| is_suffix(pattern));
            vec![rest, suffixes]
        } else {
            vec![rules]
        };
        let parts = parts.into_iter().filter(|rules: &Vec<_>| !rules.is_empty());
        let parts: Result<_, _> = parts.map(|rules| Part::build(rules, tables, budget_bytes)).collect();
        Ok(Self { parts: parts? })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The first rule that takes the request: ids rise in the list's order.
    pub(crate) fn winner(&self, request: &RouteRequest<'_>, _scratch: &mut TableScratch) -> Option<RuleId> {
        self.parts.iter().filter_map(|part| part.winner(request)).min()
    }
}

fn product_states(rules: &[(PathPattern, Entry)]) -> usize {
    let prefixes = rules.iter().filter(|(pattern, _)| matches!(pattern, PathPattern::Prefix(_))).count();
    let suffix_bytes = rules.iter().map(|(pattern, _)| match pattern {
        PathPattern::Suffix(suffix) => suffix.len(),
        _ => 0,
    });
    prefixes.saturating_mul(suffix_bytes.sum())
}

fn is_suffix(pattern: &PathPattern) -> bool {
    matches!(pattern, PathPattern::Suffix(_))
}

impl Part {
    fn build(
        rules: Vec<(PathPattern, Entry)>,
        tables: &mut TableCache,
        budget_bytes: usize,
    ) -> Result<Self, TableError> {
        let (patterns, entries): (Vec<_>, Vec<_>) = rules.into_iter().unzip();
        Ok(Self { table: tables.table(patterns, budget_bytes)?, entries: entries.into() })
    }

    fn winner(&self, request: &RouteRequest<'_>) -> Option<RuleId> {
        let entry = |pattern: u32| self.entries.get(pattern as usize);
        let accepts = |pattern| entry(pattern).is_some_and(|entry| entry.accepts(request));
        entry(self.table.winner(request.path, accepts)?).map(|entry| entry.rule)
    }
}

impl Entry {
    fn accepts(&self, request: &RouteRequest<'_>) -> bool {
        let method = |methods: &[Box<[u8]>]| methods.iter().any(|method| **method == *request.method);
        (self.ws || !request.websocket) && self.methods.as_deref().is_none_or(method)
    }
}
