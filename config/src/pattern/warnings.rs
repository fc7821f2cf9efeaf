//! What a pattern says although no path is like that. Only what is certain is told, and each kind of it where it is first met.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

use super::RegexFault;
use super::parser::Parser;
use super::path::percent_encoded;

/// What a path begins with; the second is all of the path of `OPTIONS *`.
const FIRST: [u8; 2] = [b'/', b'*'];

/// Where in a path an alternative must have come to, as far as it says so itself.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing is known.
    #[default]
    Anywhere,
    /// Right behind a `^`.
    AtStart,
    /// Behind at least a byte.
    Inside,
    /// Behind a `$`.
    AtEnd,
}

impl Parser<'_> {
    /// An assertion is next in an alternative, at `start`.
    pub(super) fn meet_assertion(&mut self, look: Look, start: usize, progress: &mut Progress) {
        match (look, *progress) {
            (Look::Start, Progress::Inside) => {
                self.warn(
                    start,
                    "this never matches: nothing stands before a path's beginning",
                    "write `\\^` for the character",
                );
            }
            (Look::Start, Progress::Anywhere) => *progress = Progress::AtStart,
            (Look::End, _) => *progress = Progress::AtEnd,
            _ => {}
        }
    }

    /// A part that can be repeated is next.
    pub(super) fn meet_part(&mut self, part: &Hir, start: usize, progress: &mut Progress) {
        match part.properties().minimum_len() {
            Some(0) if *progress == Progress::AtStart => *progress = Progress::Anywhere,
            // What never matches is warned of where it is read.
            Some(0) | None => {}
            Some(_) => self.meet_bytes(may_begin_path(part), start, progress),
        }
    }

    /// At least a byte is taken next.
    fn meet_bytes(&mut self, may_begin_path: bool, start: usize, progress: &mut Progress) {
        match progress {
            Progress::AtStart if !may_begin_path => {
                self.warn(start, "this never matches: a path begins with `/`", "write `^/`");
            }
            Progress::AtEnd => {
                self.warn(
                    start,
                    "this never matches: nothing follows a path's end",
                    "write `\\$` for the character",
                );
                return;
            }
            _ => {}
        }
        *progress = Progress::Inside;
    }

    /// A byte is next that stands for itself.
    pub(super) fn meet_byte(&mut self, byte: u8, start: usize, progress: &mut Progress) {
        self.meet_bytes(is_first(byte), start, progress);
    }

    /// Warns of a character that no path has.
    pub(super) fn warn_of_character(&mut self, c: char, start: usize) {
        match c {
            '?' => self.warn(
                start,
                "this never matches: a path has no query",
                "patterns see neither `?` nor what follows it",
            ),
            '#' => self.warn(
                start,
                "this never matches: a path has no fragment",
                "clients do not send `#` and what follows it",
            ),
            _ => {
                let help = format!("paths are matched as sent: write {}", percent_encoded(c));
                self.warn(start, format!("this never matches: a path cannot have the character {c:?}"), help);
            }
        }
    }

    /// Warns of a class, or of a set's name. With nothing in it, it was hardly meant as a class.
    pub(super) fn warn_of_empty(&mut self, start: usize, nothing_inside: bool) {
        if nothing_inside {
            self.warn(
                start,
                "this never matches: `[]` is a class without characters",
                "write `\\[\\]` for the characters",
            );
        } else {
            self.warn(
                start,
                "this never matches: no path has one of these characters",
                "paths are matched without their query, and spaces are `%20` in them",
            );
        }
    }

    fn warn(&mut self, at: usize, message: impl Into<String>, help: impl Into<String>) {
        let warning = RegexFault::new(at, message).help(help);
        if !self.warnings.iter().any(|known| known.fault == warning.fault) {
            self.warnings.push(warning);
        }
    }
}

/// Whether the first byte that an expression takes may be a path's first one; it takes at least one.
fn may_begin_path(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => false,
        HirKind::Literal(literal) => literal.0.first().is_some_and(|byte| is_first(*byte)),
        HirKind::Class(class) => FIRST.iter().any(|byte| has(class, *byte)),
        HirKind::Repetition(repetition) => may_begin_path(&repetition.sub),
        HirKind::Capture(capture) => may_begin_path(&capture.sub),
        HirKind::Alternation(branches) => branches.iter().any(may_begin_path),
        HirKind::Concat(parts) => {
            let optional = parts.iter().take_while(|part| part.properties().minimum_len() == Some(0)).count();
            parts.iter().take(optional + 1).any(may_begin_path)
        }
    }
}

fn is_first(byte: u8) -> bool {
    FIRST.contains(&byte)
}

fn has(class: &Class, byte: u8) -> bool {
    match class {
        Class::Bytes(class) => class.iter().any(|range| (range.start()..=range.end()).contains(&byte)),
        // An alternation of single characters, as `a|b`, is made into this.
        Class::Unicode(class) => {
            class.iter().any(|range| (range.start()..=range.end()).contains(&char::from(byte)))
        }
    }
}
