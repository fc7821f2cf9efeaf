//! The groups of one pattern: which part of a path each of them took. A list's table has found the rule by then, so
//! this runs for the winner alone, and only when something is to be written with its groups.
//!
//! Most patterns of rewrites only part a path behind a prefix (`^/api(/.*)?$`): there the group's place follows from the path's
//! length. A pattern that begins with `^`, and in which the next byte always decides how it goes on, runs on a one-pass DFA,
//! any other on a Pike VM. All take what JavaScript's search takes: the leftmost match and, of several that begin there,
//! the one that the pattern prefers.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Weak};

use regex_automata::dfa::onepass;
use regex_automata::nfa::thompson::{self, NFA, pikevm};
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::{Dot, Hir, HirKind, Look, Repetition};

use crate::pattern::Regex;
use crate::table::visits_per_byte;

/// The bound on a pattern's NFA.
const NFA_BYTES_MAX: usize = 256 << 10;
/// The bound on a one-pass DFA; most have about a kilobyte. A pattern that needs more runs on the Pike VM.
const ONE_PASS_BYTES_MAX: usize = 64 << 10;
/// The most states of a pattern's NFA that a Pike VM may visit for one byte of a path: `[a-z]{1,200}` takes two for each of
/// its rounds.
const PIKE_VISITS_MAX: usize = 448;
/// The bound on what a Pike VM writes to, which each worker keeps at the size of the largest that it ran.
const PIKE_CACHE_BYTES_MAX: usize = 1 << 20;

/// The matcher of one pattern's groups.
#[derive(Debug)]
pub(crate) struct Groups {
    matcher: Matcher,
    /// How many groups the pattern has, the whole match not counted.
    count: usize,
}

#[derive(Debug)]
enum Matcher {
    Rest(Rest),
    OnePass(Box<onepass::DFA>),
    Pike(Box<pikevm::PikeVM>),
}

/// The pattern is too large to read its groups within the bounds above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// What reading groups writes to: one for each worker and snapshot.
#[derive(Debug, Default)]
pub(crate) struct GroupScratch {
    one_pass: Option<onepass::Cache>,
    pike: Option<pikevm::Cache>,
    /// Two for each group that was asked for: where it begins and where it ends.
    slots: Vec<Option<NonMaxUsize>>,
}

/// Where the groups of one match stand in the path. The default has no groups at all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spans<'a> {
    slots: &'a [Option<NonMaxUsize>],
}

impl Groups {
    /// Builds the matcher of `hir`.
    ///
    /// # Errors
    /// [`TooLarge`] when it would pass its bounds.
    pub(crate) fn build(hir: &Hir) -> Result<Self, TooLarge> {
        let config = thompson::Config::new().utf8(false).nfa_size_limit(Some(NFA_BYTES_MAX));
        let nfa = thompson::Compiler::new().configure(config).build_from_hir(hir).map_err(|_| TooLarge)?;
        let count = nfa.group_info().group_len(regex_automata::PatternID::ZERO).saturating_sub(1);
        let matcher = match Rest::of(hir) {
            Some(rest) => Matcher::Rest(rest),
            None => Matcher::of(nfa)?,
        };
        Ok(Self { matcher, count })
    }

    /// Reads the first `wanted` groups of the match in `path`; a smaller number is less to write down. Group 0, the whole
    /// match, always comes with them. `None` when the pattern does not match.
    pub(crate) fn read<'a>(
        &self,
        path: &[u8],
        wanted: usize,
        scratch: &'a mut GroupScratch,
    ) -> Option<Spans<'a>> {
        let GroupScratch { one_pass, pike, slots } = scratch;
        slots.clear();
        slots.resize(2 * (wanted.min(self.count) + 1), None);
        // Fitting a cache to the pattern that is asked now only sets lengths; it allocates when the pattern is larger than
        // all before it.
        let found = match &self.matcher {
            Matcher::Rest(rest) => return rest.read(path, slots).then_some(Spans { slots }),
            Matcher::OnePass(dfa) => {
                let cache = one_pass.get_or_insert_with(|| dfa.create_cache());
                cache.reset(dfa);
                // The only errors are searches that are not anchored.
                dfa.try_search_slots(cache, &Input::new(path).anchored(Anchored::Yes), slots).ok().flatten()
            }
            Matcher::Pike(vm) => {
                let cache = pike.get_or_insert_with(|| vm.create_cache());
                cache.reset(vm);
                vm.search_slots(cache, &Input::new(path), slots)
            }
        };
        found.map(|_| Spans { slots })
    }
}

impl Matcher {
    fn of(nfa: NFA) -> Result<Self, TooLarge> {
        if nfa.is_always_start_anchored() {
            let config = onepass::Config::new().size_limit(Some(ONE_PASS_BYTES_MAX));
            if let Ok(dfa) = onepass::Builder::new().configure(config).build_from_nfa(nfa.clone()) {
                return Ok(Self::OnePass(Box::new(dfa)));
            }
        }
        if visits_per_byte(&nfa) > PIKE_VISITS_MAX {
            return Err(TooLarge);
        }
        // The largest part of the cache: for each state the slots of its groups, twice.
        let slots = nfa.states().len().saturating_mul(nfa.group_info().slot_len());
        if slots.saturating_mul(2 * size_of::<Option<NonMaxUsize>>()) > PIKE_CACHE_BYTES_MAX {
            return Err(TooLarge);
        }
        let vm = pikevm::Builder::new().build_from_nfa(nfa).map_err(|_| TooLarge)?;
        Ok(Self::Pike(Box::new(vm)))
    }
}

/// The pattern `^prefix(.*)$`, or `^prefix(/.*)?$` with any byte for the slash: a group takes all that stands behind a prefix.
#[derive(Debug)]
struct Rest {
    prefix: Box<[u8]>,
    /// What the group begins with where it takes part; without it, the group always does.
    first: Option<u8>,
}

impl Rest {
    /// `None` for every other pattern. A `$` behind a group that takes all bytes changes nothing, and is needed where the group
    /// may have no part.
    fn of(hir: &Hir) -> Option<Self> {
        let HirKind::Concat(parts) = hir.kind() else { return None };
        let (start, parts) = parts.split_first()?;
        let (ends, parts) = match parts.split_last()? {
            (end, parts) if *end.kind() == HirKind::Look(Look::End) => (true, parts),
            _ => (false, parts),
        };
        let (prefix, group) = match parts {
            [group] => (&[][..], group),
            [prefix, group] => (literal(prefix)?, group),
            _ => return None,
        };
        let first = match group.kind() {
            HirKind::Capture(group) if takes_all(&group.sub) => None,
            HirKind::Repetition(optional) if ends && is_optional(optional) => {
                Some(slash_and_all(&optional.sub)?)
            }
            _ => return None,
        };
        (*start.kind() == HirKind::Look(Look::Start)).then(|| Self { prefix: prefix.into(), first })
    }

    /// Writes down the group's place. Says whether the pattern matches.
    fn read(&self, path: &[u8], slots: &mut [Option<NonMaxUsize>]) -> bool {
        let Some(rest) = path.strip_prefix(&*self.prefix) else { return false };
        let part = [Some(self.prefix.len()), Some(path.len())];
        let group = match (self.first, rest.first()) {
            (None, _) => part,
            (Some(_), None) => [None; 2],
            (Some(first), Some(byte)) if first == *byte => part,
            (Some(_), Some(_)) => return false,
        };
        let places = [Some(0), Some(path.len())].into_iter().chain(group);
        slots.iter_mut().zip(places).for_each(|(slot, place)| *slot = place.and_then(NonMaxUsize::new));
        true
    }
}

fn literal(hir: &Hir) -> Option<&[u8]> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(&literal.0),
        _ => None,
    }
}

/// `.*`: a path has no line breaks.
fn takes_all(hir: &Hir) -> bool {
    let any = Hir::dot(Dot::AnyByte);
    matches!(hir.kind(), HirKind::Repetition(all) if all.min == 0 && all.max.is_none() && all.greedy && *all.sub == any)
}

/// `(…)?`, which takes what it can.
fn is_optional(repetition: &Repetition) -> bool {
    (repetition.min, repetition.max, repetition.greedy) == (0, Some(1), true)
}

/// The byte in front of `.*` in a group of both.
fn slash_and_all(hir: &Hir) -> Option<u8> {
    let HirKind::Capture(group) = hir.kind() else { return None };
    let HirKind::Concat(parts) = group.sub.kind() else { return None };
    match &parts[..] {
        [first, all] if takes_all(all) => literal(first).filter(|first| first.len() == 1)?.first().copied(),
        _ => None,
    }
}

impl Spans<'_> {
    /// What group `number` took, as a range of the path; `None` when it took no part, or was not asked for.
    pub(crate) fn get(&self, number: usize) -> Option<Range<usize>> {
        let slot = |index: usize| self.slots.get(index).copied().flatten().map(NonMaxUsize::get);
        Some(slot(2 * number)?..slot(2 * number + 1)?)
    }
}

/// Matchers by their pattern's source: equal patterns share one, and a change of the configuration builds only what is
/// new. Keeps no matcher alive.
#[derive(Debug, Default)]
pub(crate) struct GroupsCache {
    groups: HashMap<Box<str>, Weak<Groups>, foldhash::fast::FixedState>,
}

impl GroupsCache {
    /// The matcher of `pattern`, a living one or a new one.
    ///
    /// # Errors
    /// [`TooLarge`] when it would pass its bounds.
    pub(crate) fn groups(&mut self, pattern: &Regex) -> Result<Arc<Groups>, TooLarge> {
        if let Some(groups) = self.groups.get(&pattern.source).and_then(Weak::upgrade) {
            return Ok(groups);
        }
        let groups = Arc::new(Groups::build(&pattern.hir)?);
        self.groups.insert(pattern.source.clone(), Arc::downgrade(&groups));
        Ok(groups)
    }

    /// Forgets the matchers that no snapshot holds any more.
    pub(crate) fn sweep(&mut self) {
        self.groups.retain(|_, groups| groups.strong_count() > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::regex;
    use super::*;

    fn groups(pattern: &str) -> Groups {
        Groups::build(&regex(pattern).hir).expect(pattern)
    }

    fn texts<'a>(groups: &Groups, path: &'a str, scratch: &mut GroupScratch) -> Option<Vec<Option<&'a str>>> {
        let spans = groups.read(path.as_bytes(), usize::MAX, scratch)?;
        Some((0..=groups.count).map(|number| spans.get(number).and_then(|span| path.get(span))).collect())
    }

    fn is_one_pass(groups: &Groups) -> bool {
        matches!(groups.matcher, Matcher::OnePass(_))
    }

    #[test]
    fn the_leftmost_match_with_the_pattern_s_preference() {
        let scratch = &mut GroupScratch::default();
        for (pattern, path, one_pass, expected) in [
            (r"^/v(\d+)/api(/.*)?$", "/v12/api", true, &[Some("/v12/api"), Some("12"), None][..]),
            (r"^/v(\d+)/api(/.*)?$", "/v1/api/x", true, &[Some("/v1/api/x"), Some("1"), Some("/x")]),
            (r"^/(.*)/(.*)$", "/a/b/c", false, &[Some("/a/b/c"), Some("a/b"), Some("c")]),
            (r"^/(.*?)/(.*)$", "/a/b/c", false, &[Some("/a/b/c"), Some("a"), Some("b/c")]),
            (r"^(?:/a|/(b))", "/b/c", false, &[Some("/b"), Some("b")]),
            (r"^/a(?:/(b)|/(bc))", "/a/bc", false, &[Some("/a/b"), Some("b"), None]),
            (r"/(b+)", "/a/bb/bbb", false, &[Some("/bb"), Some("bb")]),
            (r"(\d+)\.json$", "/7/12.json", false, &[Some("12.json"), Some("12")]),
            (r"^/a|(b)", "/cb", false, &[Some("b"), Some("b")]),
            (r"^/\b([a-z]+)\b", "/ab.c", true, &[Some("/ab"), Some("ab")]),
        ] {
            let groups = groups(pattern);
            assert_eq!(is_one_pass(&groups), one_pass, "{pattern}");
            assert_eq!(texts(&groups, path, scratch).as_deref(), Some(expected), "{pattern} on {path}");
        }
        assert_eq!(texts(&groups("^/a$"), "/b", scratch), None);
    }

    #[test]
    fn what_stands_behind_a_prefix_is_known_by_its_length() {
        let scratch = &mut GroupScratch::default();
        let paths = ["/", "/api", "/api/", "/api/x/y", "/apix", "/ap", "//"];
        for pattern in
            ["^/api(/.*)?$", "^/(.*)$", "^(.*)$", "^/api(.*)", "^(/.*)?$", "^/api(x.*)?$", "^/api(/.*)$"]
        {
            let groups = groups(pattern);
            assert_eq!(matches!(groups.matcher, Matcher::Rest(_)), pattern != "^/api(/.*)$", "{pattern}");
            let nfa = thompson::Compiler::new().build_from_hir(&regex(pattern).hir).unwrap();
            let slow = Groups { matcher: Matcher::of(nfa).unwrap(), count: 1 };
            for path in paths {
                let (quick, slow) =
                    (texts(&groups, path, scratch), texts(&slow, path, &mut GroupScratch::default()));
                assert_eq!(quick, slow, "{pattern} on {path}");
            }
        }
        for pattern in
            ["^/a(.*?)$", "/a(.*)$", "^/a(/.*)?", "^/a(/.*)??$", "^/a(.*)b$", "^/a(.+)$", "^/a(.*)?$"]
        {
            assert!(!matches!(groups(pattern).matcher, Matcher::Rest(_)), "{pattern}");
        }
    }

    #[test]
    fn one_scratch_serves_every_pattern_in_any_order() {
        let patterns =
            ["^/(a)", "(b)", "^/(.)(.)(.)(.)(.)(.)", "((.)(.))(c)(.*)", "^/(x+)(y?)", "/(/|.{0,40})z"];
        let matchers = patterns.map(groups);
        let paths = ["/a", "/ab", "/abcdefg", "/xxy", "/abcz", "/0123456789z"];
        let mut scratch = GroupScratch::default();
        for (path, (groups, pattern)) in (0..200)
            .map(|index| (paths[index % 6], index * 5 / 3 % 6))
            .map(|(path, index)| (path, (&matchers[index], patterns[index])))
        {
            let fresh = texts(groups, path, &mut GroupScratch::default());
            assert_eq!(texts(groups, path, &mut scratch), fresh, "{pattern} on {path}");
        }
    }

    #[test]
    fn only_what_is_wanted_is_read() {
        let scratch = &mut GroupScratch::default();
        for pattern in ["^/(a)(b)", "(a)(b)"] {
            let groups = groups(pattern);
            let spans = groups.read(b"/ab", 1, scratch).unwrap();
            assert_eq!((spans.get(1), spans.get(2)), (Some(1..2), None), "{pattern}");
        }
    }

    #[test]
    fn what_a_worker_keeps_is_bounded() {
        let mut scratch = GroupScratch::default();
        let mut largest = 0;
        for count in (10..1000).step_by(10) {
            let pattern = format!("{}x{{{count}}}", "(a)".repeat(50));
            let Ok(groups) = Groups::build(&regex(&pattern).hir) else { continue };
            groups.read(b"/abcd", 50, &mut scratch);
            largest = count;
        }
        let kept = scratch.pike.map_or(0, |cache| cache.memory_usage());
        assert!(
            largest >= 200 && kept > PIKE_CACHE_BYTES_MAX / 2 && kept < 2 * PIKE_CACHE_BYTES_MAX,
            "{largest} {kept}"
        );
        assert!(Groups::build(&regex("(a)(?:x{1000}){19}").hir).is_err());
    }

    #[test]
    fn a_byte_visits_a_bounded_part_of_a_pattern() {
        let builds = |pattern: &str| Groups::build(&regex(pattern).hir).is_ok();
        for ordinary in ["([a-z]{1,200})x", "/([0-9a-f]{64})/(.*)", "^/([0-9a-f]{1,200})/(.*)/x"] {
            assert!(builds(ordinary), "{ordinary}");
        }
        assert!(!builds("(.*)a(?:a|b|c?){600}c"));
        // Where each byte decides, its length costs nothing.
        assert!(builds("^/(a{600})$"));
    }

    #[test]
    fn equal_patterns_share_a_matcher_as_long_as_it_lives() {
        let mut cache = GroupsCache::default();
        let first = cache.groups(&regex("^/(a)")).unwrap();
        let again = cache.groups(&regex("^/(a)")).unwrap();
        let other = cache.groups(&regex("^/(b)")).unwrap();
        assert!(Arc::ptr_eq(&first, &again) && !Arc::ptr_eq(&first, &other));
        drop((first, again));
        cache.sweep();
        assert_eq!(cache.groups.len(), 1);
        assert!(Arc::ptr_eq(&other, &cache.groups(&regex("^/(b)")).unwrap()));
    }
}
