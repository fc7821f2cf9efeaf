//! The matcher of ECMAScript's specification (section 22.2.2, its continuations as closures), over what the parser built. It
//! is here to be compared with, and takes exponential time.

use std::ops::Range;

use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

/// What the groups took, by their numbers; the whole match is the first.
pub(super) type Groups = Vec<Option<Range<usize>>>;

/// How many parts may be tried in one search.
const STEPS_MAX: usize = 10_000;

/// It took too long to find out.
#[derive(Debug)]
pub(super) struct OutOfSteps;

/// Searches `path`.
///
/// # Errors
/// [`OutOfSteps`] after [`STEPS_MAX`].
pub(super) fn find(hir: &Hir, groups: usize, path: &[u8]) -> Result<Option<Groups>, OutOfSteps> {
    let mut run = Run { path, steps_left: STEPS_MAX, groups: vec![None; groups + 1] };
    for start in 0..=path.len() {
        let mut end = start;
        let found = run.matches(hir, start, &mut |_, at| {
            end = at;
            true
        });
        if run.steps_left == 0 {
            return Err(OutOfSteps);
        }
        if found {
            run.groups[0] = Some(start..end);
            return Ok(Some(run.groups));
        }
    }
    Ok(None)
}

struct Run<'p> {
    path: &'p [u8],
    steps_left: usize,
    groups: Groups,
}

/// What comes behind a part: whether it matches from an offset on.
type Behind<'b> = dyn FnMut(&mut Run<'_>, usize) -> bool + 'b;

impl Run<'_> {
    /// Whether `hir` matches at an offset and what is behind it, too. When it does not, the groups are as they were.
    fn matches(&mut self, hir: &Hir, at: usize, behind: &mut Behind<'_>) -> bool {
        self.steps_left = self.steps_left.saturating_sub(1);
        if self.steps_left == 0 {
            return false;
        }
        match hir.kind() {
            HirKind::Empty => behind(self, at),
            HirKind::Look(look) => self.holds(*look, at) && behind(self, at),
            HirKind::Literal(literal) => {
                self.path[at..].starts_with(&literal.0) && behind(self, at + literal.0.len())
            }
            HirKind::Class(class) => self.is_in(class, at) && behind(self, at + 1),
            HirKind::Concat(parts) => self.all(parts, at, behind),
            HirKind::Alternation(branches) => branches.iter().any(|branch| self.matches(branch, at, behind)),
            HirKind::Repetition(repetition) => {
                self.rounds(repetition, repetition.min, repetition.max, at, behind)
            }
            HirKind::Capture(capture) => {
                let index = capture.index as usize;
                self.matches(&capture.sub, at, &mut |run, end| {
                    let before = run.groups[index].replace(at..end);
                    let found = behind(run, end);
                    if !found {
                        run.groups[index] = before;
                    }
                    found
                })
            }
        }
    }

    fn all(&mut self, parts: &[Hir], at: usize, behind: &mut Behind<'_>) -> bool {
        match parts.split_first() {
            None => behind(self, at),
            Some((first, rest)) => self.matches(first, at, &mut |run, at| run.all(rest, at, behind)),
        }
    }

    /// The specification's RepeatMatcher.
    fn rounds(
        &mut self,
        repetition: &Repetition,
        min: u32,
        max: Option<u32>,
        at: usize,
        behind: &mut Behind<'_>,
    ) -> bool {
        if max == Some(0) {
            return behind(self, at);
        }
        if min == 0 && !repetition.greedy && behind(self, at) {
            return true;
        }
        let before = self.groups.clone();
        forget(&repetition.sub, &mut self.groups);
        let found = self.matches(&repetition.sub, at, &mut |run, end| {
            let is_empty_for_nothing = min == 0 && end == at;
            let max = max.map(|max| max - 1);
            !is_empty_for_nothing && run.rounds(repetition, min.saturating_sub(1), max, end, behind)
        });
        if found {
            return true;
        }
        self.groups = before;
        min == 0 && repetition.greedy && behind(self, at)
    }

    fn holds(&self, look: Look, at: usize) -> bool {
        let is_word =
            |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let before = at.checked_sub(1).and_then(|before| self.path.get(before));
        let is_border = is_word(before) != is_word(self.path.get(at));
        match look {
            Look::Start => at == 0,
            Look::End => at == self.path.len(),
            Look::WordAscii => is_border,
            Look::WordAsciiNegate => !is_border,
            other => unreachable!("the parser makes no {other:?}"),
        }
    }

    fn is_in(&self, class: &Class, at: usize) -> bool {
        let has = |byte: u8| match class {
            Class::Bytes(class) => class.iter().any(|range| (range.start()..=range.end()).contains(&byte)),
            Class::Unicode(class) => {
                class.iter().any(|range| (range.start()..=range.end()).contains(&char::from(byte)))
            }
        };
        self.path.get(at).is_some_and(|byte| has(*byte))
    }
}

/// Each round begins without what the groups inside took before.
fn forget(hir: &Hir, groups: &mut Groups) {
    if let HirKind::Capture(capture) = hir.kind() {
        groups[capture.index as usize] = None;
    }
    hir.kind().subs().iter().for_each(|sub| forget(sub, groups));
}
