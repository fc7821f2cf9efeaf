//! From what is searched for to the language of whole paths: any bytes in front unless it begins with `^`, and behind
//! unless it ends with `$`.
//!
//! The bytes are put where they belong branch by branch, through groups: `^a|b` becomes `a.*|.*b.*`. Any bytes in front
//! of all of `^a|b` would be right, too, but an automaton of a thousand such rules took 1.8 s in place of 10 ms.

use regex_syntax::hir::{Dot, Hir, HirKind, Look, Repetition};

/// The language of the whole paths in which `found` is found. It has no captures where it was taken apart.
pub(super) fn language(found: &Hir) -> Hir {
    behind(&in_front(found))
}

/// `found`, with any bytes in front of its matches that need not begin at the start.
fn in_front(found: &Hir) -> Hir {
    let properties = found.properties();
    if properties.look_set_prefix().contains(Look::Start) {
        return without_start(found);
    }
    match found.kind() {
        _ if begins_with_any(found) => found.clone(),
        _ if !properties.look_set_prefix_any().contains(Look::Start) => after_any(found),
        HirKind::Capture(capture) => in_front(&capture.sub),
        HirKind::Alternation(branches) => each(branches, in_front),
        HirKind::Concat(parts) => with_first(parts, in_front),
        _ => after_any(found),
    }
}

/// The alternation of `branches`, each changed. One that takes nothing only kept the others in order, which is nothing to a
/// language.
fn each(branches: &[Hir], change: impl Fn(&Hir) -> Hir) -> Hir {
    Hir::alternation(branches.iter().filter(|branch| **branch != Hir::fail()).map(change).collect())
}

fn begins_with_any(found: &Hir) -> bool {
    match found.kind() {
        HirKind::Concat(parts) => parts.first() == Some(&any_bytes()),
        _ => *found == any_bytes(),
    }
}

fn after_any(found: &Hir) -> Hir {
    Hir::concat(vec![any_bytes(), found.clone()])
}

/// `found`, whose every match begins at the start, without the `^` that say so as far as they can be taken off. They
/// would do no harm, but a table whose patterns have none in front has fewer states.
fn without_start(found: &Hir) -> Hir {
    match found.kind() {
        HirKind::Look(Look::Start) => Hir::empty(),
        HirKind::Capture(capture) => without_start(&capture.sub),
        HirKind::Alternation(branches) => each(branches, without_start),
        HirKind::Concat(parts) => with_first(parts, without_start),
        _ => found.clone(),
    }
}

fn with_first(parts: &[Hir], change: impl Fn(&Hir) -> Hir) -> Hir {
    let Some((first, rest)) = parts.split_first() else { return Hir::empty() };
    Hir::concat(std::iter::once(change(first)).chain(rest.iter().cloned()).collect())
}

/// `found`, with any bytes behind its matches that need not stop at the end.
fn behind(found: &Hir) -> Hir {
    let properties = found.properties();
    if properties.look_set_suffix().contains(Look::End) {
        return without_end(found);
    }
    match found.kind() {
        _ if ends_with_any(found) => found.clone(),
        _ if !properties.look_set_suffix_any().contains(Look::End) => before_any(found),
        HirKind::Capture(capture) => behind(&capture.sub),
        HirKind::Alternation(branches) => each(branches, behind),
        HirKind::Concat(parts) => with_last(parts, behind),
        _ => before_any(found),
    }
}

fn ends_with_any(found: &Hir) -> bool {
    match found.kind() {
        HirKind::Concat(parts) => parts.last() == Some(&any_bytes()),
        _ => *found == any_bytes(),
    }
}

fn before_any(found: &Hir) -> Hir {
    Hir::concat(vec![found.clone(), any_bytes()])
}

/// `found`, whose every match stops at the end, without the `$` that say so as far as they can be taken off.
fn without_end(found: &Hir) -> Hir {
    match found.kind() {
        HirKind::Look(Look::End) => Hir::empty(),
        HirKind::Capture(capture) => without_end(&capture.sub),
        HirKind::Alternation(branches) => each(branches, without_end),
        HirKind::Concat(parts) => with_last(parts, without_end),
        _ => found.clone(),
    }
}

fn with_last(parts: &[Hir], change: impl Fn(&Hir) -> Hir) -> Hir {
    let Some((last, rest)) = parts.split_last() else { return Hir::empty() };
    Hir::concat(rest.iter().cloned().chain(std::iter::once(change(last))).collect())
}

fn any_bytes() -> Hir {
    let any = Hir::dot(Dot::AnyByte);
    Hir::repetition(Repetition { min: 0, max: None, greedy: true, sub: Box::new(any) })
}

#[cfg(test)]
mod tests {
    use regex_syntax::hir::{Hir, HirKind};

    use super::any_bytes;
    use crate::pattern::Regex;

    fn language(pattern: &str) -> Hir {
        Regex::parse(pattern).expect(pattern).language()
    }

    /// Where any bytes are: in front, and behind.
    fn open_sides(hir: &Hir) -> (bool, bool) {
        match hir.kind() {
            HirKind::Concat(parts) => {
                (parts.first() == Some(&any_bytes()), parts.last() == Some(&any_bytes()))
            }
            _ => (*hir == any_bytes(), *hir == any_bytes()),
        }
    }

    #[test]
    fn any_bytes_are_put_on_the_open_sides() {
        for (pattern, sides) in [
            ("/a", (true, true)),
            ("^/a", (false, true)),
            ("a$", (true, false)),
            ("^/a$", (false, false)),
            ("(^/a)", (false, true)),
            ("(?:^/a|^/b$)c", (false, true)),
            ("^((/a)|/b)$", (false, false)),
            ("\\b^/a", (false, true)),
            ("(?:^/a)+b", (false, true)),
            ("(?:^/a)?b", (true, true)),
            ("^/(?:a$|b$)", (false, false)),
            ("", (true, true)),
            ("^", (true, true)),
            ("$", (true, true)),
        ] {
            assert_eq!(open_sides(&language(pattern)), sides, "{pattern}");
        }
    }

    #[test]
    fn each_branch_has_its_own_sides() {
        let HirKind::Alternation(branches) = language("^/a|b$|c").into_kind() else { panic!("no branches") };
        let sides: Vec<_> = branches.iter().map(open_sides).collect();
        assert_eq!(sides, [(false, true), (true, false), (true, true)]);
    }

    #[test]
    fn no_look_around_is_left_where_it_says_nothing() {
        for pattern in ["^/a$", "(?:^|/)a", "a(?:/|$)", "(^/a|^/b$)", "(?:(?:^/a))$"] {
            assert!(language(pattern).properties().look_set().is_empty(), "{pattern}");
        }
    }

    #[test]
    fn what_ends_in_any_bytes_gets_no_more() {
        assert_eq!(language("^/a/.*$"), language("^/a/"));
        assert_eq!(language("^/a/.*"), language("^/a/"));
        assert_eq!(language("^.*a$"), language("a$"));
    }
}
