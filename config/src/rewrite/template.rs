//! Templates: literal text and references to the groups of a rule's pattern. A template is read once, when the
//! configuration is compiled; what a group took is only ever copied, so that no request can put a reference in.

use crate::pattern::Group;
use crate::problem::{Fault, nearest};

use super::escape;
use super::groups::Spans;

/// A template in its pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// The text of the group with this number.
    Group(usize),
    /// The request's whole path.
    Path,
}

/// A piece with its text filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// From the template.
    Written(&'a [u8]),
    /// From the request.
    Sent(&'a [u8]),
}

impl<'a> Part<'a> {
    pub(super) fn text(self) -> &'a [u8] {
        match self {
            Self::Written(text) | Self::Sent(text) => text,
        }
    }
}

/// What a template makes, which decides what may stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The path of a request to a backend.
    Path,
    /// Path, query and fragment of a redirect's location, where `${path}` is the request's path.
    Location,
}

/// Why a template is refused, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TemplateFault {
    /// The offset into the template, in bytes.
    pub(crate) at: usize,
    pub(crate) fault: Fault,
}

impl TemplateFault {
    pub(super) fn new(at: usize, fault: Fault) -> Self {
        Self { at, fault }
    }

    /// The same fault in a text that has `by` bytes in front.
    pub(super) fn shifted(self, by: usize) -> Self {
        Self { at: self.at + by, ..self }
    }
}

impl Template {
    /// Reads a template: `$1` to `$99` and `${name}` are groups, `$$` is a dollar sign. `groups` are those of the rule's
    /// pattern, in order; none when it has a `path`.
    ///
    /// # Errors
    /// The first thing that is wrong, where, and what to write instead.
    pub(crate) fn parse(text: &str, groups: &[Group], purpose: Purpose) -> Result<Self, TemplateFault> {
        let mut reader = Reader { groups, purpose, pieces: Vec::new(), literals: Vec::new() };
        while let Some(rest) = text.get(reader.at()..).filter(|rest| !rest.is_empty()) {
            match rest.find('$') {
                Some(0) => reader.reference(rest)?,
                end => reader.literal(rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()),
            }
        }
        check_literals(text, &reader.literals, purpose)?;
        Ok(Self { pieces: reader.pieces })
    }

    /// Whether a group stands in it, so that expanding it needs a matcher.
    pub(crate) fn uses_groups(&self) -> bool {
        self.highest_group() > 0
    }

    /// The highest number of a group in it; 0 without.
    pub(super) fn highest_group(&self) -> usize {
        let numbers =
            self.pieces.iter().map(|piece| if let Piece::Group(number) = piece { *number } else { 0 });
        numbers.max().unwrap_or(0)
    }

    /// How long its literal text is.
    pub(super) fn literal_bytes(&self) -> usize {
        let lengths =
            self.pieces.iter().map(|piece| if let Piece::Literal(text) = piece { text.len() } else { 0 });
        lengths.sum()
    }

    /// Whether it begins with a `/` that is followed by the request's whole path.
    pub(super) fn begins_with_slash_and_path(&self) -> bool {
        matches!(&*self.pieces, [Piece::Literal(slash), Piece::Path, ..] if slash == "/")
    }

    /// Divides it before the first literal `mark`, if it has one.
    pub(super) fn divide(mut self, mark: char) -> (Self, Self) {
        let place = self.pieces.iter().enumerate().find_map(|(index, piece)| match piece {
            Piece::Literal(text) => text.find(mark).map(|at| (index, at)),
            _ => None,
        });
        let Some((index, at)) = place else {
            return (self, Self::default());
        };
        let mut behind = self.pieces.split_off(index);
        if let Some(Piece::Literal(text)) = behind.first_mut() {
            let tail = text.split_off(at);
            self.pieces.push(Piece::Literal(std::mem::replace(text, tail)));
        }
        (self, Self { pieces: behind })
    }

    /// Whether `mark` stands in its literal text.
    pub(super) fn has_literal(&self, mark: char) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Literal(text) if text.contains(mark)))
    }

    /// Its pieces in order, with the text that `path` and `spans`, which are places in it, give them. A group that took no
    /// part is empty.
    pub(super) fn parts<'a>(
        &'a self,
        path: &'a [u8],
        spans: Spans<'a>,
    ) -> impl Iterator<Item = Part<'a>> + 'a {
        self.pieces.iter().map(move |piece| match piece {
            Piece::Literal(text) => Part::Written(text.as_bytes()),
            Piece::Path => Part::Sent(path),
            Piece::Group(number) => {
                Part::Sent(spans.get(*number).and_then(|span| path.get(span)).unwrap_or_default())
            }
        })
    }
}

struct Reader<'a> {
    groups: &'a [Group],
    purpose: Purpose,
    pieces: Vec<Piece>,
    /// The bytes of the template that were read so far; `None` where a reference stands, whose text is not known yet.
    literals: Vec<Option<u8>>,
}

impl Reader<'_> {
    fn at(&self) -> usize {
        self.literals.len()
    }

    fn fault(&self, fault: Fault) -> TemplateFault {
        TemplateFault::new(self.at(), fault)
    }

    fn literal(&mut self, text: &str) {
        self.literals.extend(text.bytes().map(Some));
        self.push_text(text);
    }

    fn push_text(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Literal(before)) => before.push_str(text),
            _ => self.pieces.push(Piece::Literal(text.to_owned())),
        }
    }

    /// Reads what `rest`, which begins with `$`, begins with.
    fn reference(&mut self, rest: &str) -> Result<(), TemplateFault> {
        let behind = rest.get(1..).unwrap_or_default();
        match behind.bytes().next() {
            Some(b'$') => {
                self.literals.extend([Some(b'$'); 2]);
                self.push_text("$");
                Ok(())
            }
            Some(b'0'..=b'9') => self.number(behind),
            Some(b'{') => self.name(behind),
            _ => Err(self.fault(no_reference(behind))),
        }
    }

    /// Reads `$1` to `$99`: the longest number that a group has.
    fn number(&mut self, behind: &str) -> Result<(), TemplateFault> {
        let digits: String = behind.chars().take(2).take_while(char::is_ascii_digit).collect();
        if digits.starts_with('0') {
            return Err(self.fault(no_group_zero(&digits)));
        }
        for length in (1..=digits.len()).rev() {
            let number = digits.get(..length).and_then(|digits| digits.parse().ok()).unwrap_or(usize::MAX);
            if number <= self.groups.len() {
                return self.group(number, 1 + length);
            }
        }
        Err(self.fault(no_such_number(&digits, self.groups.len())))
    }

    /// Reads `${name}`.
    fn name(&mut self, behind: &str) -> Result<(), TemplateFault> {
        let Some((name, _)) = behind.strip_prefix('{').and_then(|inner| inner.split_once('}')) else {
            return Err(self.fault(Fault::new("this `${` has no `}`").help(DOLLAR_HELP)));
        };
        let length = "${}".len() + name.len();
        let named = |group: &Group| group.name.as_deref() == Some(name);
        match self.groups.iter().position(named) {
            Some(index) => self.group(index + 1, length),
            None if name == "path" && self.purpose == Purpose::Location => {
                self.refer(Piece::Path, length);
                Ok(())
            }
            None => Err(self.fault(no_such_name(name, self.groups, self.purpose))),
        }
    }

    /// Takes group `number`, whose reference has `length` bytes.
    fn group(&mut self, number: usize, length: usize) -> Result<(), TemplateFault> {
        let reason = number.checked_sub(1).and_then(|index| self.groups.get(index)?.unlike_javascript);
        if let Some(reason) = reason {
            let fault = Fault::new(format!("group {number} cannot be used: {reason}"));
            return Err(self.fault(fault));
        }
        self.refer(Piece::Group(number), length);
        Ok(())
    }

    fn refer(&mut self, piece: Piece, length: usize) {
        self.pieces.push(piece);
        self.literals.extend(std::iter::repeat_n(None, length));
    }
}

const DOLLAR_HELP: &str = "write `$1` or `${name}` for a group, `$$` for a dollar sign";

/// What the `$` before `behind` was meant to be.
fn no_reference(behind: &str) -> Fault {
    match behind.chars().next() {
        Some('&') => Fault::new("`$&`, the whole match, is not supported")
            .help("put the whole pattern in a group: `pattern = '(…)'` and `$1`"),
        Some('`') => Fault::new("`` $` ``, what stands before the match, is not supported")
            .help("let a group of the pattern take it: '^(.*?)…' and `$1`"),
        Some('\'') => Fault::new("`$'`, what stands behind the match, is not supported")
            .help("let a group of the pattern take it: '…(.*)$' and `$1`"),
        Some('<') => match behind.split_once('>') {
            Some((name, _)) => {
                let name = name.trim_start_matches('<');
                Fault::new("a named group stands in braces").help(format!("write `${{{name}}}`"))
            }
            None => Fault::new("`$<` is no reference").help(DOLLAR_HELP),
        },
        Some(c) => Fault::new(format!("`${c}` is no reference to a group")).help(DOLLAR_HELP),
        None => Fault::new("a single `$` at the end").help(DOLLAR_HELP),
    }
}

fn no_group_zero(digits: &str) -> Fault {
    let fault = Fault::new(format!("`${digits}` is no group: they are counted from 1"));
    match digits.trim_start_matches('0') {
        "" => fault.help("for the whole match, put the whole pattern in a group: `pattern = '(…)'` and `$1`"),
        number => fault.help(format!("write `${number}`")),
    }
}

fn no_such_number(digits: &str, groups: usize) -> Fault {
    let fault = Fault::new(format!("there is no group {digits}"));
    match groups {
        0 => fault.help(format!(
            "a group is a part of `pattern` in parentheses, and there is none; write `$${digits}` for the text ${digits}"
        )),
        1 => fault.help("the pattern has one group, `$1`"),
        _ => fault.help(format!("the pattern has {groups} groups, `$1` to `${}`", groups.min(99))),
    }
}

fn no_such_name(name: &str, groups: &[Group], purpose: Purpose) -> Fault {
    let fault = Fault::new(format!("there is no group {name:?}"));
    if name.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() {
        return fault.help(format!("a number has no braces: write `${name}`"));
    }
    let path = (purpose == Purpose::Location).then_some("path");
    let known = groups.iter().filter_map(|group| group.name.as_deref()).chain(path);
    match nearest(name, known) {
        Some(near) => fault.help(format!("did you mean `${{{near}}}`?")),
        None if name == "path" => {
            fault.help("`${path}` is for redirects; here, let a group of the pattern take it")
        }
        None => {
            fault.help("a group gets its name in the pattern: `(?<name>…)`; variables are not expanded here")
        }
    }
}

/// Checks the literal text of a template, so that only what groups take can still make a result invalid. `literals` has the
/// template's bytes, `None` where a reference stands.
fn check_literals(text: &str, literals: &[Option<u8>], purpose: Purpose) -> Result<(), TemplateFault> {
    let fragment = literals.iter().position(|byte| *byte == Some(b'#'));
    for (at, byte) in literals.iter().enumerate() {
        let right = match (byte, purpose) {
            (None, _) | (Some(b'?'), Purpose::Location) => true,
            (Some(b'?' | b'#'), Purpose::Path) => false,
            (Some(b'#'), Purpose::Location) => fragment == Some(at),
            (Some(b'%'), _) => may_be_escape(literals, at),
            (Some(byte), Purpose::Path) => (0x21..0x7F).contains(byte),
            (Some(byte), Purpose::Location) => escape::is_uri_byte(*byte),
        };
        if !right {
            let c = text.get(at..).and_then(|rest| rest.chars().next()).unwrap_or_default();
            return Err(TemplateFault::new(at, wrong_character(c, purpose)));
        }
    }
    check_dots(literals)
}

/// Why `c` cannot stand where it does.
fn wrong_character(c: char, purpose: Purpose) -> Fault {
    match (c, purpose) {
        ('%', _) => {
            Fault::new("a `%` is followed by two hexadecimal digits").help("write `%25` for a percent sign")
        }
        ('?', Purpose::Path) => {
            Fault::new("a path has no query").help("leave it out: the query is kept as it is")
        }
        ('#', Purpose::Path) => {
            Fault::new("a path has no fragment").help("leave it out: backends get no fragments")
        }
        (_, Purpose::Path) => Fault::new(format!("a path cannot have the character {c:?}"))
            .help(format!("write `{}`", escape::escaped(c))),
        (_, Purpose::Location) => Fault::new(format!("the character {c:?} cannot stand there in a URL"))
            .help(format!("write `{}`", escape::escaped(c))),
    }
}

/// Whether the `%` at `at` is followed by two hexadecimal digits, or by groups that may bring them.
fn may_be_escape(literals: &[Option<u8>], at: usize) -> bool {
    for place in at + 1..at + 3 {
        match literals.get(place) {
            Some(Some(byte)) if byte.is_ascii_hexdigit() => {}
            Some(None) => return true,
            _ => return false,
        }
    }
    true
}

/// Refuses dot segments that are there whatever the groups take.
fn check_dots(literals: &[Option<u8>]) -> Result<(), TemplateFault> {
    let end = literals.iter().position(|byte| matches!(byte, Some(b'?' | b'#'))).unwrap_or(literals.len());
    let mut at = 0;
    for segment in literals.get(..end).unwrap_or_default().split(|byte| *byte == Some(b'/')) {
        let text: Option<Vec<u8>> = segment.iter().copied().collect();
        if text.is_some_and(|text| escape::has_dot_segments(&mut [b"/", &*text].concat())) {
            let fault = Fault::new("a dot segment is not resolved here, and what it makes would be refused");
            return Err(TemplateFault::new(at, fault.help("write the path that it stands for")));
        }
        at += segment.len() + 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups with these names, where they have one.
    fn groups(names: &[&str]) -> Vec<Group> {
        let name = |name: &str| Some(name).filter(|name| !name.is_empty()).map(Box::from);
        names.iter().map(|group| Group { name: name(group), unlike_javascript: None }).collect()
    }

    /// The template with each group written as its number in angle brackets.
    fn read(text: &str, names: &[&str]) -> String {
        let template = Template::parse(text, &groups(names), Purpose::Path).expect(text);
        let piece = |piece: &Piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Group(number) => format!("<{number}>"),
            Piece::Path => "<path>".to_owned(),
        };
        template.pieces.iter().map(piece).collect()
    }

    fn refused(text: &str, names: &[&str], purpose: Purpose) -> (usize, String) {
        let fault = Template::parse(text, &groups(names), purpose).expect_err(text);
        (fault.at, format!("{}; {}", fault.fault.message, fault.fault.help.unwrap_or_default()))
    }

    #[test]
    fn the_longest_number_that_exists() {
        assert_eq!(read("/a$10", &[""]), "/a<1>0");
        assert_eq!(read("/a$10$11", &[""; 10]), "/a<10><1>1");
        assert_eq!(read("/$100$99", &[""; 99]), "/<10>0<99>");
        assert_eq!(read("$1$2/$2$1x", &["", ""]), "<1><2>/<2><1>x");
    }

    #[test]
    fn names_and_dollars() {
        assert_eq!(read("/${tenant}/${a}$1", &["a", "tenant"]), "/<2>/<1><1>");
        assert_eq!(read("/$$1$$$$x$$$1$$", &[""]), "/$1$$x$<1>$");
        assert_eq!(read("/${path}", &["path"]), "/<1>");
        assert!(!Template::parse("/$$1", &[], Purpose::Path).unwrap().uses_groups());
    }

    #[test]
    fn references_to_nothing_are_refused_with_a_hint() {
        for (text, names, at, hint) in [
            ("/a$1", &[][..], 2, "`$$1` for the text $1"),
            ("/$3", &["", ""], 1, "2 groups, `$1` to `$2`"),
            ("/$2", &[""], 1, "one group, `$1`"),
            ("/$0", &[""], 1, "the whole pattern in a group"),
            ("/$01", &[""], 1, "write `$1`"),
            ("/$1/${tennant}", &["tenant"], 4, "did you mean `${tenant}`?"),
            ("/${1}", &[""], 1, "write `$1`"),
            ("/${path}", &[""], 1, "is for redirects"),
            ("/${HOME}", &[""], 1, "variables are not expanded here"),
            ("/${", &["a"], 1, "`$$` for a dollar sign"),
            ("/${}", &["a"], 1, "`(?<name>…)`"),
            ("/$<a>", &["a"], 1, "write `${a}`"),
            ("/$<a", &["a"], 1, "`$$` for a dollar sign"),
            ("/$&", &[""], 1, "`$&`, the whole match"),
            ("/$`", &[""], 1, "before the match"),
            ("/$'", &[""], 1, "behind the match"),
            ("/$x", &[""], 1, "`$$` for a dollar sign"),
            ("/a$", &[""], 2, "`$$` for a dollar sign"),
            ("/$ä", &[""], 1, "`$$` for a dollar sign"),
        ] {
            let (place, told) = refused(text, names, Purpose::Path);
            assert!(place == at && told.contains(hint), "{text}: {place} {told}");
        }
    }

    #[test]
    fn text_that_no_path_has_is_refused_with_a_hint() {
        for (text, at, hint) in [
            ("/a?b=c", 2, "the query is kept as it is"),
            ("/$1#b", 3, "fragment"),
            ("/a b", 2, "`%20`"),
            ("/ä", 1, "`%C3%A4`"),
            ("/$1\r\n", 3, "`%0D`"),
            ("/\0", 1, "`%00`"),
            ("/100%", 4, "`%25`"),
            ("/%4", 1, "`%25`"),
            ("/%$$", 1, "`%25`"),
            ("/%zz", 1, "`%25`"),
            ("/a/../b", 3, "dot segment"),
            ("../b", 0, "dot segment"),
            ("/$1/%2E", 4, "dot segment"),
            (".", 0, "dot segment"),
        ] {
            let (place, told) = refused(text, &[""], Purpose::Path);
            assert!(place == at && told.contains(hint), "{text}: {place} {told}");
        }
        for text in ["/%$1", "/%4$1", "/%41", "/$1..", "/..$1/a", "/a..b/.c/...", "", "/{a}|[b]\\<\"^`>"] {
            assert!(Template::parse(text, &groups(&[""]), Purpose::Path).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_url_has_fewer_characters_and_a_query() {
        for (text, at, hint) in [
            ("/a?b#c#d", 6, "`%23`"),
            ("/[a]", 1, "`%5B`"),
            ("/\\evil.com", 1, "`%5C`"),
            ("/a?b=\"", 5, "`%22`"),
            ("/a/../b", 3, "dot segment"),
            ("/${pth}", 1, "did you mean `${path}`?"),
        ] {
            let (place, told) = refused(text, &[], Purpose::Location);
            assert!(place == at && told.contains(hint), "{text}: {place} {told}");
        }
        assert!(Template::parse("/a?b=/../c??#/../d?", &[], Purpose::Location).is_ok());
    }

    #[test]
    fn a_group_unlike_javascripts_is_refused_with_its_reason() {
        let mut groups = groups(&["a", "b"]);
        groups[1].unlike_javascript = Some("it is inside a repetition");
        assert!(Template::parse("/$1${a}", &groups, Purpose::Path).is_ok());
        for text in ["/x$2", "/x${b}"] {
            let fault = Template::parse(text, &groups, Purpose::Path).unwrap_err();
            assert_eq!(fault.at, 2);
            assert_eq!(fault.fault.message, "group 2 cannot be used: it is inside a repetition");
        }
    }

    #[test]
    fn dividing_keeps_every_piece() {
        let template = Template::parse("/a$1?b#c$2", &groups(&["", ""]), Purpose::Location).unwrap();
        let (front, behind) = template.divide('#');
        assert!(front.has_literal('?') && !behind.has_literal('?'));
        assert_eq!(behind.pieces, [Piece::Literal("#c".into()), Piece::Group(2)],);
        assert_eq!(front.pieces, [Piece::Literal("/a".into()), Piece::Group(1), Piece::Literal("?b".into())],);
    }
}
