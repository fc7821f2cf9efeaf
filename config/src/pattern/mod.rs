//! What a rule's `path` or `pattern` takes. A pattern is the language of whole paths: a [`Hir`](regex_syntax::hir::Hir) that
//! matches a path from its first byte to its last, so that only the state after the last byte counts (see `table`).
//!
//! * `path` has the plain kinds, and the checks of paths that are written out.
//! * `regex` is a pattern that was read; `whole` makes the language of whole paths from what it searches for, and `unlike`
//!   tells which groups' text an automaton would get wrong.
//! * `parser` reads JavaScript's dialect, with `groups`, `escapes` for what follows a backslash, `classes` for sets of bytes,
//!   and `warnings` of what no path is like.
//! * `differential` compares it with another engine, and with the specification's matcher in `backtracking`.
//!
//! A path here is a normalised one: ASCII without controls, spaces, `?` and `#`, and it begins with `/` (or is the `*` of
//! `OPTIONS *`).

#[cfg(test)]
mod backtracking;
mod classes;
#[cfg(test)]
mod differential;
mod escapes;
mod groups;
mod parser;
mod path;
mod regex;
mod unlike;
mod warnings;
mod whole;

pub(crate) use path::{BadPath, PathPattern, check_path, percent_encoded};
pub(crate) use regex::{Group, Regex, RegexFault};
