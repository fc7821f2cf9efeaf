//! The plain kinds of path patterns, and the checks of paths that are written out.

use super::Regex;
use crate::problem::Fault;

/// What a rule's `path` or `pattern` takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PathPattern {
    /// `*` and `/*`: every path, and the `*` of `OPTIONS *`.
    All,
    /// `/graphql`: that path.
    Exact(Box<str>),
    /// `/api/*`, kept as `/api`: that path, and all that go on with a `/` behind it.
    Prefix(Box<str>),
    /// `*.json`, kept as `.json`: the paths that end so.
    Suffix(Box<str>),
    /// A `pattern`: the paths in which it is found.
    Regex(Box<Regex>),
}

impl PathPattern {
    /// Reads a rule's `path`.
    ///
    /// # Errors
    /// What is wrong with it, and where it can be guessed what it would be.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        if text == "*" || text == "/*" {
            return Ok(Self::All);
        }
        if let Some(suffix) = text.strip_prefix('*') {
            check_suffix(suffix)?;
            return Ok(Self::Suffix(suffix.into()));
        }
        if let Some(prefix) = text.strip_suffix("/*") {
            check_literal(prefix, "/*")?;
            return Ok(Self::Prefix(prefix.into()));
        }
        if text.starts_with('^') {
            let fault = Fault::new("a path is no regular expression");
            return Err(fault.help(format!("write pattern = '{text}'")));
        }
        check_literal(text, "")?;
        Ok(Self::Exact(text.into()))
    }

    /// The pattern, if it is a `pattern`.
    pub(crate) fn regex(&self) -> Option<&Regex> {
        match self {
            Self::Regex(regex) => Some(regex),
            Self::All | Self::Exact(_) | Self::Prefix(_) | Self::Suffix(_) => None,
        }
    }
}

/// A suffix may begin in the middle of a segment; a letter in front shows what it makes of one.
fn check_suffix(suffix: &str) -> Result<(), Fault> {
    check_characters(suffix)?;
    check_normalised(&format!("/a{suffix}"))
        .map_err(|_| Fault::new(format!("no path that is matched ends in {suffix:?}")))
}

fn check_literal(path: &str, star: &str) -> Result<(), Fault> {
    check_characters(path)?;
    check_path(path).map_err(|bad| match bad {
        BadPath::Slash => Fault::new("a path begins with `/`").help(format!("write \"/{path}{star}\"")),
        BadPath::Dots(Some(normal)) => {
            Fault::new("a path with dot segments is never matched: they are removed first")
                .help(format!("write \"{normal}{star}\""))
        }
        BadPath::Dots(None) => Fault::new("the dot segments of this path climb above the root"),
        BadPath::Other(why) => Fault::new(format!("this is no valid request path: {why}")),
    })
}

/// Why a text is no normalised request path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadPath {
    /// It does not begin with `/`.
    Slash,
    /// It has dot segments; what it is without them, unless they climb above the root.
    Dots(Option<String>),
    /// Anything else that http.md refuses.
    Other(String),
}

/// Checks that a request path could stand so when rules are matched.
///
/// # Errors
/// What is wrong.
pub(crate) fn check_path(path: &str) -> Result<(), BadPath> {
    if !path.starts_with('/') {
        return Err(BadPath::Slash);
    }
    check_normalised(path)
}

fn check_normalised(path: &str) -> Result<(), BadPath> {
    use ringway_wire::HeadErrorKind::PathAboveRoot;
    match ringway_wire::check_path(path.as_bytes()) {
        Ok(()) => {}
        Err(PathAboveRoot) => return Err(BadPath::Dots(None)),
        Err(kind) => return Err(BadPath::Other(kind.detail().replace('_', " "))),
    }
    let mut bytes = path.as_bytes().to_vec();
    let length = ringway_wire::normalise_path(&mut bytes).map_err(|_| BadPath::Dots(None))?;
    bytes.truncate(length);
    if bytes == path.as_bytes() { Ok(()) } else { Err(BadPath::Dots(String::from_utf8(bytes).ok())) }
}

/// The characters that people write and paths cannot have, each with what to write.
fn check_characters(text: &str) -> Result<(), Fault> {
    let Some(c) =
        text.chars().find(|c| matches!(c, '*' | '?' | '#' | ' ') || !c.is_ascii() || c.is_ascii_control())
    else {
        return Ok(());
    };
    Err(match c {
        '*' => Fault::new("a `*` stands at the end after a `/` (\"/api/*\"), or at the front (\"*.json\")"),
        '?' => Fault::new("a path has no query").help("paths are matched without `?` and what follows it"),
        '#' => Fault::new("a path has no fragment").help("clients do not send `#` and what follows it"),
        _ => Fault::new(format!("a path cannot have the character {c:?}"))
            .help(format!("paths are matched as sent: write {}", percent_encoded(c))),
    })
}

/// The bytes of a character as they stand in a path.
pub(crate) fn percent_encoded(c: char) -> String {
    let mut bytes = [0; 4];
    c.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Fault {
        PathPattern::parse(text).expect_err(text)
    }

    #[test]
    fn the_four_kinds() {
        assert_eq!(PathPattern::parse("*"), Ok(PathPattern::All));
        assert_eq!(PathPattern::parse("/*"), Ok(PathPattern::All));
        assert_eq!(PathPattern::parse("/api/*"), Ok(PathPattern::Prefix("/api".into())));
        assert_eq!(PathPattern::parse("*.json"), Ok(PathPattern::Suffix(".json".into())));
        assert_eq!(PathPattern::parse("/graphql"), Ok(PathPattern::Exact("/graphql".into())));
        assert_eq!(PathPattern::parse("/"), Ok(PathPattern::Exact("/".into())));
        assert_eq!(PathPattern::parse("//*"), Ok(PathPattern::Prefix("/".into())));
    }

    #[test]
    fn a_star_anywhere_else_is_refused() {
        for text in ["/api*", "/a/*/b", "/api/**", "**", "*a*", "/*/*", "/*a"] {
            assert!(refused(text).message.contains('*'), "{text}");
        }
    }

    #[test]
    fn dot_segments_are_refused_with_what_they_would_be() {
        assert_eq!(refused("/a/../b/*").help.as_deref(), Some("write \"/b/*\""));
        assert_eq!(refused("/a/%2e/b").help.as_deref(), Some("write \"/a/b\""));
        assert!(refused("/../a").message.contains("above the root"));
        assert!(refused("*/..").message.contains("no path"));
        assert!(PathPattern::parse("*..").is_ok() && PathPattern::parse("/a/.b/..c").is_ok());
    }

    #[test]
    fn what_no_path_has_is_refused_with_a_hint() {
        assert_eq!(refused("api/*").help.as_deref(), Some("write \"/api/*\""));
        assert!(refused("/a?b=c").message.contains("query"));
        assert!(refused("/a#b").message.contains("fragment"));
        assert!(refused("/ä").help.unwrap().contains("%C3%A4"));
        assert!(refused("/a b").help.unwrap().contains("%20"));
        assert!(refused("/a%2").message.contains("no valid request path"));
        assert!(refused("").message.contains("begins with"));
        assert!(refused("^/api/.*$").help.unwrap().contains("pattern"));
    }
}
