//! Which patterns are likely not to get along with others in one table: those in which something repeats, and a byte may
//! be one more round as well as what follows. While such a loop runs, a table has to keep every guess of when it ended.

use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, Hir, HirKind};

use crate::pattern::PathPattern;
use crate::table::{Sides, before_any_bytes, is_any_bytes};

/// Whether a pattern has a loop that what follows it does not end.
pub(super) fn is_loose(pattern: &PathPattern) -> bool {
    let Some(regex) = pattern.regex() else {
        return matches!(pattern, PathPattern::Suffix(_));
    };
    let mut search = Search { loose: false };
    search.first(&regex.language(), ClassBytes::empty());
    search.loose
}

/// Whether a path matches a pattern as soon as one of its beginnings does.
pub(super) fn is_open(pattern: &PathPattern) -> bool {
    pattern.regex().is_some_and(|regex| before_any_bytes(&regex.language()).is_some())
}

/// Whether a pattern that is open, and may begin anywhere, has a loop before a path is known to match.
pub(super) fn is_open_with_loop(pattern: &PathPattern) -> bool {
    let decisive = pattern.regex().and_then(|regex| before_any_bytes(&regex.language()));
    decisive.and_then(|decisive| Sides::of(&decisive).floating).is_some_and(|floating| has_loop(&floating))
}

/// Whether anything in an expression repeats without end.
pub(super) fn has_loop(expression: &Hir) -> bool {
    match expression.kind() {
        HirKind::Repetition(repetition) => repetition.max.is_none() || has_loop(&repetition.sub),
        HirKind::Capture(capture) => has_loop(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(has_loop),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => false,
    }
}

/// Reads an expression from its end, with the bytes that may follow.
struct Search {
    loose: bool,
}

impl Search {
    /// The bytes that `expression`, or what follows it, may begin with.
    fn first(&mut self, expression: &Hir, follows: ClassBytes) -> ClassBytes {
        match expression.kind() {
            HirKind::Empty | HirKind::Look(_) => follows,
            HirKind::Literal(literal) => literal.0.first().map_or(follows, |byte| one_byte(*byte)),
            HirKind::Class(Class::Bytes(class)) => class.clone(),
            HirKind::Class(Class::Unicode(_)) => any_byte(),
            HirKind::Capture(capture) => self.first(&capture.sub, follows),
            HirKind::Concat(parts) => {
                parts.iter().rev().fold(follows, |follows, part| self.first(part, follows))
            }
            HirKind::Alternation(branches) => {
                let mut all = ClassBytes::empty();
                branches.iter().for_each(|branch| all.union(&self.first(branch, follows.clone())));
                all
            }
            HirKind::Repetition(_) if is_any_bytes(expression) && follows.ranges().is_empty() => any_byte(),
            HirKind::Repetition(repetition) => {
                if repetition.max.is_none_or(|max| max > repetition.min.max(1)) {
                    self.loose |= meet(&bytes_of(&repetition.sub), &follows);
                }
                let mut first = self.first(&repetition.sub, follows.clone());
                if repetition.min == 0 {
                    first.union(&follows);
                }
                first
            }
        }
    }
}

/// The bytes that stand anywhere in an expression.
fn bytes_of(expression: &Hir) -> ClassBytes {
    let mut bytes = ClassBytes::empty();
    match expression.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => literal.0.iter().for_each(|byte| bytes.union(&one_byte(*byte))),
        HirKind::Class(Class::Bytes(class)) => bytes.union(class),
        HirKind::Class(Class::Unicode(_)) => bytes.union(&any_byte()),
        HirKind::Repetition(repetition) => bytes.union(&bytes_of(&repetition.sub)),
        HirKind::Capture(capture) => bytes.union(&bytes_of(&capture.sub)),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().for_each(|part| bytes.union(&bytes_of(part)));
        }
    }
    bytes
}

fn one_byte(byte: u8) -> ClassBytes {
    ClassBytes::new([ClassBytesRange::new(byte, byte)])
}

fn any_byte() -> ClassBytes {
    ClassBytes::new([ClassBytesRange::new(0, u8::MAX)])
}

fn meet(one: &ClassBytes, other: &ClassBytes) -> bool {
    let mut both = one.clone();
    both.intersect(other);
    !both.ranges().is_empty()
}
