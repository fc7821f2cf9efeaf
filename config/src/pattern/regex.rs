//! Regular expressions in JavaScript's dialect, as far as an automaton can run them: what `new RegExp(text)` finds in a
//! path, without flags.

use std::hash::{Hash, Hasher};

use regex_syntax::hir::Hir;

use super::{parser, unlike, whole};
use crate::problem::Fault;

/// A rule's `pattern`.
#[derive(Clone, Debug)]
pub(crate) struct Regex {
    /// As it was written; two patterns with the same source are the same.
    pub(crate) source: Box<str>,
    /// What is searched for, with its capture groups; nothing is added on its open sides. It is right for the bytes of
    /// paths alone.
    pub(crate) hir: Hir,
    /// Its capture groups; number 1 is the first. One that can never take part, as in `(a){0}`, is not in `hir`.
    pub(crate) groups: Box<[Group]>,
    /// What it says although no path is like that, in the pattern's order; each kind once, where it is first met.
    pub(crate) warnings: Box<[RegexFault]>,
}

/// A capture group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// The name of `(?<name>…)`.
    pub(crate) name: Option<Box<str>>,
    /// Why its text would not be the one that JavaScript gives it, if so: a rewrite must not use it. (What is said of
    /// text holds for it alone: a group that took nothing and one that had no part are not told apart.)
    pub(crate) unlike_javascript: Option<&'static str>,
}

/// Why a pattern is refused, or what is odd about it, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegexFault {
    /// The offset into the pattern, in bytes.
    pub(crate) at: usize,
    pub(crate) fault: Fault,
}

impl RegexFault {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, fault: Fault::new(message) }
    }

    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { fault: self.fault.help(help), ..self }
    }
}

impl Regex {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong, where, and what to write instead.
    pub(crate) fn parse(text: &str) -> Result<Self, RegexFault> {
        let mut read = parser::parse(text)?;
        unlike::mark(&read.hir, &mut read.groups);
        Ok(Self {
            source: text.into(),
            hir: read.hir,
            groups: read.groups.into(),
            warnings: read.warnings.into(),
        })
    }

    /// The language of the whole paths in which it is found.
    pub(crate) fn language(&self) -> Hir {
        whole::language(&self.hir)
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Regex {}

impl Hash for Regex {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> RegexFault {
        Regex::parse(text).expect_err("it is over a bound")
    }

    #[test]
    fn a_pattern_has_a_length() {
        let longest = "a".repeat(8 * 1024);
        assert!(Regex::parse(&longest).is_ok());
        assert_eq!(refused(&(longest + "b")).at, 8 * 1024);
        let text = format!("a{}", "é".repeat(8 * 1024));
        assert!(text.is_char_boundary(refused(&text).at));
    }

    #[test]
    fn groups_have_a_depth() {
        let nested = |depth: usize| format!("{}a{}", "(?:".repeat(depth), ")+".repeat(depth));
        assert!(Regex::parse(&nested(50)).is_ok());
        assert_eq!(refused(&nested(51)).at, 50 * 3);
        assert_eq!(refused(&"(".repeat(8 * 1024)).at, 50);
        assert!(Regex::parse(&"(a)".repeat(51)).is_ok());
    }

    #[test]
    fn repetitions_have_a_size() {
        assert!(Regex::parse("^/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$").is_ok());
        assert!(Regex::parse("a{20001}").is_ok());
        assert!(Regex::parse("(?:a{200}){100}").is_ok());
        for (text, at) in [("a{20002}", 1), ("ab{15000}c{15000}", 10), ("(?:(?:a{100}){100}){100}", 19)] {
            assert_eq!(refused(text).at, at, "{text}");
        }
    }

    #[test]
    fn groups_are_numbered_and_named() {
        let regex = Regex::parse("(a)(?:b)(?<n>c(?<m_1>d))(?i:(e))").expect("a pattern");
        let names: Vec<_> = regex.groups.iter().map(|group| group.name.as_deref()).collect();
        assert_eq!(names, [None, Some("n"), Some("m_1"), None]);
    }

    #[test]
    fn usual_patterns_have_groups_as_in_javascript() {
        for text in [
            "^/api(/.*)?$",
            r"^/v(\d+)/(.*)$",
            "^/(?<tenant>[^/]+)/(a|b)(/.*)?$",
            "^(?:/([^/]+))*/?(.*?)$",
            "(a*)*",
        ] {
            let groups = Regex::parse(text).expect(text).groups;
            assert!(groups.iter().all(|group| group.unlike_javascript.is_none()), "{text}: {groups:?}");
        }
    }

    #[test]
    fn each_kind_of_warning_comes_once() {
        let regex = Regex::parse(r"^a\?b\?c#|^b$c").expect("a pattern");
        let places: Vec<_> = regex.warnings.iter().map(|warning| warning.at).collect();
        assert_eq!(places, [1, 2, 8, 13]);
    }
}
