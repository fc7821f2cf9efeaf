//! Tables by their content: equal lists share one, and a change of the configuration builds only what it touches. What
//! turned out to be too costly is known as well, as long as a list lives that came to know it, so that a list that had
//! to be divided is not tried as a whole again. Keeps nothing alive itself.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::lazy::LAZY_CACHE_BYTES;
use super::{LazyTable, Meets, NfaTooLarge, Table, TableError, Work};
use crate::pattern::PathPattern;

/// What shares a table, in the list's order.
type Patterns = Box<[Arc<PathPattern>]>;
type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// What is in use, by its patterns.
#[derive(Debug, Default)]
pub(crate) struct TableCache {
    dense: Map<(Patterns, Meets), Known>,
    lazy: Map<Patterns, Weak<LazyTable>>,
    built: u64,
}

#[derive(Debug)]
enum Known {
    Table(Weak<Table>),
    Refused(Weak<Refusal>),
}

/// That some patterns have no table together. Whoever holds it spares the next build the attempt.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// No table was possible within so many bytes.
    limit_bytes: usize,
    work: Work,
}

impl Refusal {
    /// What it took to find out. It counts again for each list that knows, so that what becomes of a list does not depend
    /// on what was known before.
    pub(crate) fn work(&self) -> Work {
        self.work
    }
}

/// What became of patterns that were to share a table.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Their table.
    Table(Arc<Table>),
    /// It would be too costly.
    Refused(Arc<Refusal>),
}

impl TableCache {
    /// The table of `patterns`, which may take `limit_bytes` and the work `limit`: a living one or a new one.
    ///
    /// # Errors
    /// [`NfaTooLarge`] when there is nothing that a table could be made of.
    pub(crate) fn table(
        &mut self,
        patterns: Patterns,
        meets: Meets,
        limit_bytes: usize,
        limit: Work,
    ) -> Result<Outcome, NfaTooLarge> {
        let key = (patterns, meets);
        if let Some(outcome) = self.known(&key, limit_bytes) {
            return Ok(outcome);
        }
        let refused = |limit_bytes, work| Outcome::Refused(Arc::new(Refusal { limit_bytes, work }));
        let outcome = match Table::build_within(&key.0, meets, limit_bytes, limit) {
            Ok(table) => Outcome::Table(Arc::new(table)),
            Err((TableError::OverLimit, work)) => refused(limit_bytes, work),
            Err((TableError::Explodes, work)) => refused(usize::MAX, work),
            Err((TableError::Nfa(error), _)) => return Err(error),
        };
        self.built += u64::from(matches!(outcome, Outcome::Table(_)));
        self.dense.insert(key, Known::from(&outcome));
        Ok(outcome)
    }

    /// What became of patterns, as far as it is known.
    pub(crate) fn known(&self, key: &(Patterns, Meets), limit_bytes: usize) -> Option<Outcome> {
        match self.dense.get(key)? {
            Known::Table(table) => {
                let table = table.upgrade()?;
                // A lower limit refuses what a higher one let through.
                let fits = table.memory_bytes() <= limit_bytes;
                Some(if fits {
                    Outcome::Table(table)
                } else {
                    Outcome::Refused(Arc::new(Refusal { limit_bytes, work: table.work() }))
                })
            }
            Known::Refused(refusal) => {
                refusal.upgrade().filter(|known| limit_bytes <= known.limit_bytes).map(Outcome::Refused)
            }
        }
    }

    /// The automaton of `patterns` that needs no table: a living one or a new one.
    ///
    /// # Errors
    /// [`NfaTooLarge`].
    pub(crate) fn lazy(&mut self, patterns: Patterns) -> Result<Arc<LazyTable>, NfaTooLarge> {
        if let Some(table) = self.lazy.get(&patterns).and_then(Weak::upgrade) {
            return Ok(table);
        }
        let table = Arc::new(LazyTable::build(&patterns, LAZY_CACHE_BYTES)?);
        self.lazy.insert(patterns, Arc::downgrade(&table));
        Ok(table)
    }

    /// Forgets what no snapshot holds any more.
    pub(crate) fn sweep(&mut self) {
        self.dense.retain(|_, known| known.is_alive());
        self.lazy.retain(|_, table| table.strong_count() > 0);
    }

    /// How many tables were built so far.
    pub(crate) fn built(&self) -> u64 {
        self.built
    }
}

impl From<&Outcome> for Known {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Table(table) => Self::Table(Arc::downgrade(table)),
            Outcome::Refused(refusal) => Self::Refused(Arc::downgrade(refusal)),
        }
    }
}

impl Known {
    fn is_alive(&self) -> bool {
        match self {
            Self::Table(table) => table.strong_count() > 0,
            Self::Refused(refusal) => refusal.strong_count() > 0,
        }
    }
}
