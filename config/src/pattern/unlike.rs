//! Whose text an automaton would get wrong. It runs all ways through a pattern at once and keeps the one that is
//! preferred, which is the way that JavaScript finds by trying one after the other, with two exceptions:
//!
//! * Each round of a repetition begins with its groups forgotten. An automaton remembers what a group took in an earlier
//!   round, and a group that the last round passed by has its old text.
//! * A round beyond those that must be is tried anew when it took nothing, and then in another way. An automaton takes it
//!   as it is. That decides nothing where the empty way through a part is the last to be tried: all others have failed.
//!
//! Neither changes which paths a pattern takes, so only rewrites are told.

use regex_syntax::hir::{Hir, HirKind, Repetition};

use super::Group;

const FORGOTTEN: &str = "JavaScript forgets what it took when the part around it is repeated without it";
const EMPTY_ROUNDS: &str = "a part that can be empty is repeated around it";
const EMPTY_FIRST: &str = "the pattern repeats a part that prefers to be empty, as in `(|a)*` or `(a*?)*`";

/// Marks the groups of `hir` that need not have the text that JavaScript gives them.
pub(super) fn mark(hir: &Hir, groups: &mut [Group]) {
    if !groups.is_empty() {
        Marker { groups }.visit(hir, Around::Once);
    }
}

/// What stands around a part, as far as it decides whether a repetition forgets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Around {
    /// No repetition of several rounds.
    Once,
    /// One whose every round comes by.
    Repeated,
    /// One with rounds that pass it by.
    Skipped,
}

impl Around {
    /// Inside something that may be passed by.
    fn optional(self) -> Self {
        if self == Self::Once { Self::Once } else { Self::Skipped }
    }

    fn repeated(self) -> Self {
        if self == Self::Once { Self::Repeated } else { self }
    }
}

/// When a part's empty way is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Empty {
    /// It has none.
    Never,
    /// It has no other.
    Only,
    /// Behind all others.
    Last,
    /// Before some other.
    Earlier,
}

struct Marker<'g> {
    groups: &'g mut [Group],
}

impl Marker<'_> {
    fn visit(&mut self, hir: &Hir, around: Around) -> Empty {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => Empty::Only,
            HirKind::Literal(_) | HirKind::Class(_) => Empty::Never,
            HirKind::Capture(capture) => {
                if around == Around::Skipped {
                    self.mark(capture.index, FORGOTTEN);
                }
                self.visit(&capture.sub, around)
            }
            HirKind::Concat(parts) => {
                parts.iter().fold(Empty::Only, |empty, part| empty.then(self.visit(part, around)))
            }
            HirKind::Alternation(branches) => {
                let around = around.optional();
                branches.iter().fold(Empty::Never, |empty, branch| empty.or(self.visit(branch, around)))
            }
            HirKind::Repetition(repetition) => self.visit_repetition(repetition, around),
        }
    }

    fn visit_repetition(&mut self, repetition: &Repetition, around: Around) -> Empty {
        let around = if repetition.min == 0 { around.optional() } else { around };
        let several = repetition.max != Some(1);
        let inside = if several { around.repeated() } else { around };
        let round = self.visit(&repetition.sub, inside);
        let may_be_more = repetition.max != Some(repetition.min);
        match round {
            Empty::Earlier if may_be_more => self.mark_all(),
            Empty::Last if may_be_more && repetition.max.is_some_and(|max| max > 1) => {
                self.mark_inside(&repetition.sub)
            }
            _ => {}
        }
        round.repeated(repetition)
    }

    fn mark(&mut self, number: u32, why: &'static str) {
        let group = (number as usize).checked_sub(1).and_then(|index| self.groups.get_mut(index));
        if let Some(group) = group {
            group.unlike_javascript.get_or_insert(why);
        }
    }

    fn mark_all(&mut self) {
        for group in &mut *self.groups {
            group.unlike_javascript.get_or_insert(EMPTY_FIRST);
        }
    }

    fn mark_inside(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Capture(capture) => {
                self.mark(capture.index, EMPTY_ROUNDS);
                self.mark_inside(&capture.sub);
            }
            HirKind::Repetition(repetition) => self.mark_inside(&repetition.sub),
            HirKind::Concat(parts) | HirKind::Alternation(parts) => {
                parts.iter().for_each(|part| self.mark_inside(part));
            }
            HirKind::Empty | HirKind::Look(_) | HirKind::Literal(_) | HirKind::Class(_) => {}
        }
    }
}

impl Empty {
    /// Of one part and the next.
    fn then(self, next: Self) -> Self {
        match (self, next) {
            (Self::Never, _) | (_, Self::Never) => Self::Never,
            (Self::Earlier, _) | (_, Self::Earlier) => Self::Earlier,
            (Self::Only, other) | (other, Self::Only) => other,
            (Self::Last, Self::Last) => Self::Last,
        }
    }

    /// Of one branch and the next.
    fn or(self, next: Self) -> Self {
        match (self, next) {
            (Self::Never, Self::Only) => Self::Last,
            (Self::Never, other) => other,
            (Self::Earlier, _) | (_, Self::Earlier) => Self::Earlier,
            (Self::Only | Self::Last, Self::Only) => self,
            (Self::Only | Self::Last, Self::Never | Self::Last) => Self::Earlier,
        }
    }

    /// Of a part's repetition.
    fn repeated(self, repetition: &Repetition) -> Self {
        match self {
            Self::Never if repetition.min > 0 => Self::Never,
            Self::Never | Self::Last if repetition.greedy => Self::Last,
            Self::Only => Self::Only,
            _ => Self::Earlier,
        }
    }
}
