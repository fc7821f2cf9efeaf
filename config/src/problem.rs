//! What is wrong with a configuration: every problem with its place in the file, for a person (`render`) and for a
//! program (a JSON pointer).

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::veil;

/// The text of a configuration and what messages call it.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The file's name for messages; nothing is read from it.
    pub name: &'a str,
    /// The TOML text.
    pub text: &'a str,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The configuration cannot run.
    Error,
    /// It can run, but it says something that its writer hardly meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where it is in the configuration, as a JSON pointer (RFC 6901): `/rules/3/path`; empty for the whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Where it is in the text, in bytes.
    pub span: Option<Range<usize>>,
}

/// Problems in the order of their places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    /// The problems, by their places in the text.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Writes every problem with file, line, column and a caret under the place. `source` is what was compiled;
    /// `color` adds ANSI escapes.
    pub fn render(&self, source: &Source<'_>, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let lines = LineStarts::of(source.text);
        let rendered =
            self.list.iter().map(|problem| renderer.render(&[problem.report(source, &lines)]) + "\n");
        rendered.collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn sorted(mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| problem.span.as_ref().map_or((0, 0), |span| (span.start, span.end)));
        Self { list }
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Problem {
    fn report<'a>(&'a self, source: &Source<'a>, lines: &LineStarts) -> Group<'a> {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(veil::without_userinfo(&self.message));
        let group = match &self.span {
            None => title.element(Origin::path(source.name)),
            Some(span) => title.element(self.snippet(source, lines, span)),
        };
        match &self.help {
            Some(help) => group.element(Level::HELP.message(veil::without_userinfo(help))),
            None => group,
        }
    }

    /// The line that `span` begins in, as far as it may be shown, with carets under the part of the span that is in it.
    fn snippet<'a>(
        &self,
        source: &Source<'a>,
        lines: &LineStarts,
        span: &Range<usize>,
    ) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let text = source.text;
        let start = text.floor_char_boundary(span.start);
        let (number, line_start) = lines.line_of(start);
        let line = text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
        let from = (start - line_start).min(line.len());
        let to = (text.ceil_char_boundary(span.end).saturating_sub(line_start)).clamp(from, line.len());
        let shown = veil::shown(text, line_start, &self.path, from..to);
        let place = AnnotationKind::Primary.span(shown.place);
        Snippet::source(shown.line).path(source.name).line_start(number).annotation(place)
    }
}

/// Where each line of a text begins.
struct LineStarts(Vec<usize>);

impl LineStarts {
    fn of(text: &str) -> Self {
        let after_breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(after_breaks).collect())
    }

    /// The number (from 1) and the start of the line that has `offset`.
    fn line_of(&self, offset: usize) -> (usize, usize) {
        let number = self.0.partition_point(|start| *start <= offset).max(1);
        (number, self.0.get(number - 1).copied().unwrap_or(0))
    }
}

/// A JSON pointer in the making.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Pointer(pub(crate) String);

impl Pointer {
    /// The member `key` of the table here.
    pub(crate) fn key(&self, key: &str) -> Self {
        Self(format!("{}/{}", self.0, key.replace('~', "~0").replace('/', "~1")))
    }

    /// The element `index` of the array here.
    pub(crate) fn index(&self, index: usize) -> Self {
        Self(format!("{}/{index}", self.0))
    }

    /// The keys and indexes, unescaped.
    pub(crate) fn steps(&self) -> impl Iterator<Item = String> {
        self.0.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~"))
    }

    /// The table or array that this is in; `None` for the whole.
    pub(crate) fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }

    /// The tables and arrays that this is in, the nearest first, the whole last.
    pub(crate) fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.parent(), Self::parent)
    }

    /// The way through tables alone: `/sites/rules` for `/sites/1/rules/0`.
    pub(crate) fn without_indexes(&self) -> String {
        let keys = self.0.split('/').skip(1).filter(|step| !step.bytes().all(|byte| byte.is_ascii_digit()));
        keys.flat_map(|key| ["/", key]).collect()
    }
}

/// Why a value is refused, by checks that do not know where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// The part of a problem that checks know: its place gets its span later, from the parsed file.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    pub(crate) at: Pointer,
    /// The key is the place, not its value.
    pub(crate) at_key: bool,
    /// The place is this many bytes into the text that the value is.
    pub(crate) within: Option<usize>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Finding {
    pub(crate) fn error(at: Pointer, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            at,
            at_key: false,
            within: None,
            message: message.into(),
            help: None,
        }
    }

    pub(crate) fn fault(at: Pointer, fault: Fault) -> Self {
        Self { help: fault.help, ..Self::error(at, fault.message) }
    }

    pub(crate) fn warning(at: Pointer, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(at, message) }
    }

    pub(crate) fn into_warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    /// Points into the value, a text, at an offset in bytes.
    pub(crate) fn within(self, offset: usize) -> Self {
        Self { within: Some(offset), ..self }
    }

    pub(crate) fn on_key(self) -> Self {
        Self { at_key: true, ..self }
    }

    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Adds "did you mean" when one of `known` is near to `written`.
    pub(crate) fn did_you_mean<'a>(self, written: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(written, known) {
            Some(near) => self.help(format!("did you mean `{near}`?")),
            None => self,
        }
    }
}

/// The word of `known` with the smallest edit distance to `written`, when that is small for its length.
pub(crate) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer texts are no misspelt names, and the distance costs their product.
    const WORD_CHARS_MAX: usize = 64;
    let length = written.chars().count();
    if length > WORD_CHARS_MAX {
        return None;
    }
    let allowed = (length / 3).min(3);
    let known = known.into_iter().filter(|word| word.chars().count().abs_diff(length) <= allowed);
    let distances =
        known.map(|word| (strsim::osa_distance(&written.to_lowercase(), &word.to_lowercase()), word));
    distances
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        let known = ["listeners", "limits", "path", "methods"];
        assert_eq!(nearest("listenrs", known), Some("listeners"));
        assert_eq!(nearest("pth", known), Some("path"));
        assert_eq!(nearest("Methods", known), Some("methods"));
        assert_eq!(nearest("color", known), None);
        assert_eq!(nearest("xy", known), None);
    }

    #[test]
    fn pointers_escape_and_climb() {
        let pointer = Pointer::default().key("a/b~").index(3).key("c");
        assert_eq!(pointer.0, "/a~1b~0/3/c");
        assert_eq!(pointer.steps().collect::<Vec<_>>(), ["a/b~", "3", "c"]);
        assert_eq!(pointer.parent(), Some(Pointer("/a~1b~0/3".into())));
        assert_eq!(pointer.without_indexes(), "/a~1b~0/c");
        assert_eq!(Pointer::default().parent(), None);
    }

    #[test]
    fn spans_beyond_the_text_or_inside_a_character_do_no_harm() {
        let source = Source { name: "f.toml", text: "a = \"ä\"\nb = 1\n" };
        for start in 0..20 {
            for end in start..20 {
                let span = Some(start..end);
                let problem = Problem {
                    severity: Severity::Error,
                    path: String::new(),
                    message: "m".into(),
                    help: None,
                    span,
                };
                assert!(Problems::sorted(vec![problem]).render(&source, false).contains("f.toml:"));
            }
        }
    }
}
