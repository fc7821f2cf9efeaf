//! Which patterns of a list share a table. One table for all is the best: it costs one step for each byte of a path. But
//! the table of patterns that know nothing of each other has to tell apart how far each of them has come, so that
//! its states multiply. Hence, in this order:
//!
//! 1. everything in one table;
//! 2. what begins at the path's first byte apart from what may begin anywhere;
//! 3. of the latter, what must end at the path's end apart from what may be followed by anything: the table has to
//!    remember which of those it has seen, and each one doubles it;
//! 4. those as a table for beginnings of paths, where that is possible, else in groups of a few;
//! 5. any that still do not get along by their looseness, then in halves;
//! 6. the ones that do not even fit alone in one automaton that needs no table.
//!
//! Nothing is waited for long: a table whose states multiply is given up when they are more than its patterns explain,
//! what is known beforehand to multiply is not tried, and all attempts, also those that succeed, bear one bound on work.

use std::sync::Arc;

use super::{Matcher, loose};
use crate::pattern::PathPattern;
use crate::table::{Meets, NfaTooLarge, Outcome, Refusal, Sides, Table, TableCache, Work};

/// The most states that patterns which begin at the first byte and patterns which begin anywhere may cost each other in
/// one table: behind each prefix the table has to tell apart how much of each suffix has been seen. 10,000 prefixes and
/// 5 suffixes of 5 bytes took 322,000 states and 9 s in one table, 33,000 states and 0.2 s in two.
const PRODUCT_STATES_MAX: usize = 32 * 1024;
/// How many patterns that may begin anywhere and be followed by anything share a table. Eight words of five letters take
/// 8,400 states; a ninth doubles them.
const UNBOUND_TOGETHER_MAX: usize = 8;
/// How many of them share one where even they do not fit one table, and have loops of their own: `foo.*bar` has three
/// states to be remembered, and eight of those never fit.
const LOOPING_TOGETHER_MAX: usize = 4;
/// Loose patterns are tried alone, before they could spoil a large table, if they are at most one of so many: the trial
/// is in vain where all is well.
const LOOSE_TRIAL_SHARE: usize = 4;
/// After so many attempts in vain what has no table yet gets none: at some point a list is simply like that.
const REFUSALS_MAX: usize = 48;
/// The work on all tables of a list: one to three seconds. 10,000 regular expressions that get along take from a tenth to a
/// third of it.
const WORK_MAX: Work = Work(150_000_000);
/// An attempt may take one part in so many of the work that is left, so that one in vain leaves enough for the next.
const WORK_SHARE: u64 = 4;
/// With less work left no table is tried any more.
const WORK_MIN: Work = Work(100_000);
/// With less of the budget left, in bytes, no table is tried any more.
const TABLE_BYTES_MIN: usize = 4 * 1024;
/// Whatever they hold, so many tables deserve no warning.
const TABLES_UNNOTICED: usize = 2;

/// The parts of a list, with the numbers of the patterns in each, rising.
#[derive(Debug, Default)]
pub(super) struct Divided {
    pub(super) parts: Vec<(Matcher, Vec<usize>)>,
    pub(super) refused: Vec<Arc<Refusal>>,
    /// Patterns in tables that the list has since they did not get along with others, and that requests notice.
    pub(super) split_off: Vec<usize>,
    pub(super) lazy: Vec<usize>,
}

/// Divides a list, whose tables may take `budget_bytes` together.
///
/// # Errors
/// The number of the pattern that is too large for any automaton.
pub(super) fn divide(
    patterns: &[Arc<PathPattern>],
    tables: &mut TableCache,
    budget_bytes: usize,
) -> Result<Divided, usize> {
    let (left, divided) = (WORK_MAX, Divided::default());
    let mut division = Division { patterns, tables, left_bytes: budget_bytes, left, divided };
    division.all()?;
    Ok(division.divided)
}

/// A list that is being divided.
struct Division<'p, 'c> {
    patterns: &'p [Arc<PathPattern>],
    tables: &'c mut TableCache,
    /// What the tables to come may take.
    left_bytes: usize,
    /// What building them may take.
    left: Work,
    divided: Divided,
}

impl Division<'_, '_> {
    fn all(&mut self) -> Result<(), usize> {
        if self.patterns.is_empty() {
            return Ok(());
        }
        let everything: Vec<_> = (0..self.patterns.len()).collect();
        if !self.share_as_before(&everything) {
            let kinds = Kinds::of(self.patterns);
            if !(kinds.get_along() && self.share_carefully(&everything)?) {
                self.split_rooted(&kinds.rooted)?;
                self.split_floating(&kinds)?;
            }
        }
        self.note_split_off();
        self.run_lazily()
    }

    /// Takes the table of the patterns of these numbers if there is one.
    fn share_as_before(&mut self, numbers: &[usize]) -> bool {
        match self.tables.known(&(self.chosen(numbers), Meets::Path), self.left_bytes) {
            Some(Outcome::Table(table)) => {
                self.charge(table.work());
                self.take(Matcher::Dense(table), numbers);
                true
            }
            Some(Outcome::Refused(_)) | None => false,
        }
    }

    /// Builds one table of the patterns of these numbers, if that is possible.
    fn share(&mut self, numbers: &[usize], meets: Meets) -> Result<bool, usize> {
        let Some(table) = self.attempt(numbers, meets)? else {
            return Ok(false);
        };
        let matcher = match meets {
            Meets::Path => Matcher::Dense(table),
            Meets::Beginning => Matcher::Beginnings(table),
        };
        self.take(matcher, numbers);
        Ok(true)
    }

    /// The table of the patterns of these numbers. `None` when it would be too costly.
    fn attempt(&mut self, numbers: &[usize], meets: Meets) -> Result<Option<Arc<Table>>, usize> {
        if self.is_exhausted() {
            return Ok(None);
        }
        let limit = Work(self.left.0 / WORK_SHARE);
        let outcome = self.tables.table(self.chosen(numbers), meets, self.left_bytes, limit);
        match outcome.map_err(|error| blamed(error, numbers))? {
            Outcome::Table(table) => {
                self.charge(table.work());
                Ok(Some(table))
            }
            Outcome::Refused(refusal) => {
                self.charge(refusal.work());
                self.divided.refused.push(refusal);
                Ok(None)
            }
        }
    }

    fn charge(&mut self, work: Work) {
        self.left = Work(self.left.0.saturating_sub(work.0));
    }

    /// Whether no more tables are tried.
    fn is_exhausted(&self) -> bool {
        self.left_bytes < TABLE_BYTES_MIN
            || self.left < WORK_MIN
            || self.divided.refused.len() >= REFUSALS_MAX
    }

    fn take(&mut self, matcher: Matcher, numbers: &[usize]) {
        if let Matcher::Dense(table) | Matcher::Beginnings(table) = &matcher {
            self.left_bytes = self.left_bytes.saturating_sub(table.memory_bytes());
        }
        self.divided.parts.push((matcher, numbers.to_vec()));
    }

    fn chosen(&self, numbers: &[usize]) -> Box<[Arc<PathPattern>]> {
        numbers.iter().map(|number| Arc::clone(&self.patterns[*number])).collect()
    }

    /// Builds one table of the patterns of these numbers, unless a few of them would spoil it.
    fn share_carefully(&mut self, numbers: &[usize]) -> Result<bool, usize> {
        if self.share_as_before(numbers) {
            return Ok(true);
        }
        let (_, loose) = self.by_looseness(numbers);
        let few = !loose.is_empty() && loose.len() <= numbers.len() / LOOSE_TRIAL_SHARE;
        Ok(!(few && self.attempt(&loose, Meets::Path)?.is_none()) && self.share(numbers, Meets::Path)?)
    }

    fn split_rooted(&mut self, numbers: &[usize]) -> Result<(), usize> {
        if numbers.is_empty() || self.share_carefully(numbers)? {
            return Ok(());
        }
        self.split_further(numbers)
    }

    fn split_floating(&mut self, kinds: &Kinds) -> Result<(), usize> {
        let few = kinds.unbound.len() <= UNBOUND_TOGETHER_MAX;
        let together = merged(&kinds.bound, &kinds.unbound);
        if together.is_empty() || few && self.share(&together, Meets::Path)? {
            return Ok(());
        }
        self.split(&kinds.bound)?;
        self.split_loose(&kinds.unbound, LOOPING_TOGETHER_MAX)
    }

    /// Builds one table of the patterns of these numbers, or as many as it takes.
    fn split(&mut self, numbers: &[usize]) -> Result<(), usize> {
        if numbers.is_empty() || self.share(numbers, Meets::Path)? {
            return Ok(());
        }
        self.split_further(numbers)
    }

    /// Builds the tables of patterns that have none together.
    fn split_further(&mut self, numbers: &[usize]) -> Result<(), usize> {
        let (tight, loose) = self.by_looseness(numbers);
        if loose.is_empty() {
            return self.halve(numbers, Self::split);
        }
        self.split(&tight)?;
        self.split_loose(&loose, loose.len())
    }

    /// Builds the tables of patterns that do not get along, for at most so many of them together.
    fn split_loose(&mut self, numbers: &[usize], together_max: usize) -> Result<(), usize> {
        let is_open = |number: &usize| loose::is_open(&self.patterns[*number]);
        let (open, closed): (Vec<_>, Vec<_>) = numbers.iter().copied().partition(is_open);
        self.split_by_beginnings(&open)?;
        closed.chunks(together_max).try_for_each(|group| self.split_closed(group))
    }

    /// Builds one table, or as many as it takes halving.
    fn split_closed(&mut self, numbers: &[usize]) -> Result<(), usize> {
        if numbers.is_empty() || self.share(numbers, Meets::Path)? {
            return Ok(());
        }
        self.halve(numbers, Self::split_closed)
    }

    /// Builds the tables for beginnings of paths. Of patterns with a loop of their own even such a table has to remember
    /// which loops are running, so that it is not tried for more than a few of them.
    fn split_by_beginnings(&mut self, numbers: &[usize]) -> Result<(), usize> {
        let loops = |number: &usize| loose::is_open_with_loop(&self.patterns[*number]);
        let (looping, plain): (Vec<_>, Vec<_>) = numbers.iter().copied().partition(loops);
        self.split_open(&plain)?;
        looping.chunks(LOOPING_TOGETHER_MAX).try_for_each(|group| self.split_open(group))
    }

    /// Builds one table for beginnings of paths, or as many as it takes.
    fn split_open(&mut self, numbers: &[usize]) -> Result<(), usize> {
        if numbers.is_empty() || self.share(numbers, Meets::Beginning)? {
            return Ok(());
        }
        self.halve(numbers, Self::split_open)
    }

    /// Does `split` with each half of the patterns of these numbers; one alone gets no table.
    fn halve(
        &mut self,
        numbers: &[usize],
        split: fn(&mut Self, &[usize]) -> Result<(), usize>,
    ) -> Result<(), usize> {
        if numbers.len() == 1 || self.is_exhausted() {
            self.divided.lazy.extend_from_slice(numbers);
            return Ok(());
        }
        let (low, high) = numbers.split_at(numbers.len() / 2);
        split(self, low)?;
        split(self, high)
    }

    /// The patterns of these numbers, those apart that are likely not to get along.
    fn by_looseness(&self, numbers: &[usize]) -> (Vec<usize>, Vec<usize>) {
        numbers.iter().copied().partition(|number| !loose::is_loose(&self.patterns[*number]))
    }

    /// Plain patterns are divided for their number alone, and deserve no word.
    fn note_split_off(&mut self) {
        let is_regex = |number: &usize| self.patterns[*number].regex().is_some();
        let parts = self.divided.parts.iter().enumerate();
        let noticed = parts.filter(|(at, (matcher, _))| {
            *at >= TABLES_UNNOTICED || matches!(matcher, Matcher::Beginnings(_))
        });
        let regexes = noticed.map(|(_, (_, numbers))| numbers).filter(|numbers| numbers.iter().any(is_regex));
        let mut split_off: Vec<_> = regexes.flatten().copied().collect();
        split_off.sort_unstable();
        self.divided.split_off = split_off;
    }

    fn run_lazily(&mut self) -> Result<(), usize> {
        self.divided.lazy.sort_unstable();
        let numbers = self.divided.lazy.clone();
        if numbers.is_empty() {
            return Ok(());
        }
        let table = self.tables.lazy(self.chosen(&numbers)).map_err(|error| blamed(error, &numbers))?;
        self.take(Matcher::Lazy(table), &numbers);
        Ok(())
    }
}

/// The number in the list of the pattern to blame, out of those that were tried.
fn blamed(NfaTooLarge(at): NfaTooLarge, numbers: &[usize]) -> usize {
    numbers.get(at).copied().unwrap_or_default()
}

/// A list's patterns by where they may begin and end; each kind rising.
#[derive(Default)]
struct Kinds {
    /// Those that begin at the first byte.
    rooted: Vec<usize>,
    /// Those that begin anywhere and end at the end.
    bound: Vec<usize>,
    /// Those that begin anywhere and of which a table must remember that it has seen a part.
    unbound: Vec<usize>,
    /// How many rooted patterns are followed by anything.
    open: usize,
    /// The texts of those that begin anywhere, in bytes.
    floating_bytes: usize,
}

impl Kinds {
    fn of(patterns: &[Arc<PathPattern>]) -> Self {
        let mut kinds = Self::default();
        for (number, pattern) in patterns.iter().enumerate() {
            kinds.add(number, pattern);
        }
        kinds
    }

    fn add(&mut self, number: usize, pattern: &PathPattern) {
        match pattern {
            PathPattern::Exact(_) | PathPattern::All => self.rooted.push(number),
            PathPattern::Prefix(_) => self.add_rooted(number),
            PathPattern::Suffix(suffix) => {
                self.bound.push(number);
                self.floating_bytes += suffix.len();
            }
            PathPattern::Regex(regex) => match Sides::of(&regex.language()).floating {
                None => self.add_rooted(number),
                Some(floating) => {
                    self.floating_bytes += regex.source.len();
                    if loose::has_loop(&floating) { &mut self.unbound } else { &mut self.bound }.push(number);
                }
            },
        }
    }

    fn add_rooted(&mut self, number: usize) {
        self.rooted.push(number);
        self.open += 1;
    }

    /// Whether one table for all is worth trying.
    fn get_along(&self) -> bool {
        let memories = u32::try_from(self.unbound.len()).ok().and_then(|count| 1_usize.checked_shl(count));
        let floating = memories.and_then(|memories| self.floating_bytes.checked_mul(memories));
        let product = floating.and_then(|states| states.checked_mul(self.open));
        self.unbound.len() <= UNBOUND_TOGETHER_MAX
            && product.is_some_and(|product| product <= PRODUCT_STATES_MAX)
    }
}

/// Two rising lists of numbers as one.
fn merged(one: &[usize], other: &[usize]) -> Vec<usize> {
    let mut all = [one, other].concat();
    all.sort_unstable();
    all
}
