//! New paths and locations from a rule's templates.
//!
//! * `template` reads a template and checks its literal text; `groups` finds what the groups of the rule's pattern took.
//! * [`Rewrite`], here, is the path that a backend is sent; `location` is where a redirect sends the client.
//! * `escape` knows the bytes of URIs.
//!
//! All text that comes from a request is copied in one pass and never read as a template. What cannot be known before a
//! request is there is checked after expansion; nothing is repaired.

mod escape;
mod groups;
mod location;
mod template;

use std::fmt;
use std::sync::Arc;

use ringway_wire::HeadErrorKind;

use crate::pattern::Regex;
use crate::problem::Fault;

pub(crate) use groups::{GroupScratch, Groups, GroupsCache, Spans};
pub(crate) use location::Location;
pub(crate) use template::{Purpose, Template, TemplateFault};

/// The bound on a path that a rewrite makes, which groups that stand in it many times could make long.
const REWRITTEN_PATH_BYTES_MAX: usize = 64 << 10;

/// Why a request that a rule took gets 400 `bad_rewrite`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRewrite {
    /// The result is longer than its bound.
    TooLong,
    /// The result is no request path.
    Malformed(HeadErrorKind),
    /// The result has dot segments: it is not normalised a second time, and backends would read it differently.
    DotSegments,
    /// The result would send the client to another host.
    OtherHost,
    /// The rule's pattern does not match the path, which is for the caller to see to.
    Unmatched,
}

impl fmt::Display for BadRewrite {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(out, "the result has more than {REWRITTEN_PATH_BYTES_MAX} bytes"),
            Self::Malformed(kind) => {
                write!(out, "the result is no valid path: {}", kind.detail().replace('_', " "))
            }
            Self::DotSegments => out.write_str("the result has dot segments"),
            Self::OtherHost => out.write_str("the result would lead to another host"),
            Self::Unmatched => out.write_str("the pattern does not match"),
        }
    }
}

/// A rule's `rewrite`.
#[derive(Debug)]
pub(crate) struct Rewrite {
    template: Template,
    /// `None` when the template uses no group.
    groups: Option<Arc<Groups>>,
}

impl Rewrite {
    /// Reads a rule's `rewrite`; `pattern` is the rule's, if it has one.
    ///
    /// # Errors
    /// The first thing that is wrong, where in the template, and what to write instead.
    pub(crate) fn compile(
        text: &str,
        pattern: Option<&Regex>,
        cache: &mut GroupsCache,
    ) -> Result<Self, TemplateFault> {
        let template = Template::parse(text, groups_of(pattern), Purpose::Path)?;
        if template.literal_bytes() > REWRITTEN_PATH_BYTES_MAX {
            return Err(too_long());
        }
        let groups = matcher(&template, pattern, cache)?;
        Ok(Self { template, groups })
    }

    /// Appends the path that a backend is sent for the request path `path`, which the rule's pattern matches; never for the
    /// `*` of `OPTIONS *`, which is no path.
    ///
    /// # Errors
    /// [`BadRewrite`] when it would be no request path; then `out` is as it was.
    pub(crate) fn write(
        &self,
        path: &[u8],
        scratch: &mut GroupScratch,
        out: &mut Vec<u8>,
    ) -> Result<(), BadRewrite> {
        let start = out.len();
        let written = self.append(path, scratch, out);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    fn append(&self, path: &[u8], scratch: &mut GroupScratch, out: &mut Vec<u8>) -> Result<(), BadRewrite> {
        let spans = spans(self.groups.as_deref(), self.template.highest_group(), path, scratch)?;
        let start = out.len();
        out.reserve(self.template.literal_bytes() + path.len());
        for part in self.template.parts(path, spans) {
            out.extend_from_slice(part.text());
            check_length(out, start)?;
        }
        begin_with_slash(out, start);
        check_path(out.get_mut(start..).unwrap_or_default())
    }
}

/// The groups that a template of this rule may use.
fn groups_of(pattern: Option<&Regex>) -> &[crate::pattern::Group] {
    pattern.map_or(&[], |pattern| &pattern.groups)
}

/// The matcher that `template` needs, if it needs one.
fn matcher(
    template: &Template,
    pattern: Option<&Regex>,
    cache: &mut GroupsCache,
) -> Result<Option<Arc<Groups>>, TemplateFault> {
    let Some(pattern) = pattern.filter(|_| template.uses_groups()) else {
        return Ok(None);
    };
    cache.groups(pattern).map(Some).map_err(|_| {
        let fault = Fault::new("the rule's pattern is too large to read groups from");
        TemplateFault::new(0, fault.help("shorten its counted repetitions, such as `{1000}`"))
    })
}

fn too_long() -> TemplateFault {
    TemplateFault::new(0, Fault::new(format!("a path has at most {REWRITTEN_PATH_BYTES_MAX} bytes here")))
}

/// Where the groups up to `highest` stand in `path`.
fn spans<'a>(
    groups: Option<&Groups>,
    highest: usize,
    path: &[u8],
    scratch: &'a mut GroupScratch,
) -> Result<Spans<'a>, BadRewrite> {
    match groups {
        Some(groups) => groups.read(path, highest, scratch).ok_or(BadRewrite::Unmatched),
        None => Ok(Spans::default()),
    }
}

fn check_length(out: &[u8], start: usize) -> Result<(), BadRewrite> {
    if out.len() - start > REWRITTEN_PATH_BYTES_MAX { Err(BadRewrite::TooLong) } else { Ok(()) }
}

/// Adds the `/` that a path at `start` begins with, when it is missing.
fn begin_with_slash(out: &mut Vec<u8>, start: usize) {
    if out.get(start) != Some(&b'/') {
        out.insert(start, b'/');
    }
}

/// Checks a path that begins with `/`. One that is refused may have been changed.
fn check_path(path: &mut [u8]) -> Result<(), BadRewrite> {
    ringway_wire::check_path(path).map_err(|kind| match kind {
        HeadErrorKind::PathAboveRoot => BadRewrite::DotSegments,
        kind => BadRewrite::Malformed(kind),
    })?;
    if escape::has_dot_segments(path) { Err(BadRewrite::DotSegments) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
