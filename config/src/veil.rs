//! What of a file's line may be shown with a problem: problems are written to terminals and logs, and the file holds
//! passwords, tokens and credentials of backends.
//!
//! A line is shown whole when it is known to be harmless, and by no other line's guess: where it stands is known to the
//! schema and is not `[[auth]]`, and it reads as keys and values of which none is or looks like a secret. Of every other
//! line the key is shown, if it is one of this file's, and `***`. Where a text is no TOML, there is no parsed table to ask:
//! the place is then what the lines above say, and from one that says nothing clear to the next clear table header all is
//! in doubt, and hidden.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

use serde_json::Value;

use crate::problem::Pointer;
use crate::shape::{Field, Kind, SCHEMA};

/// What stands in the place of what is hidden.
const MASK: &str = "***";

/// What stands before secrets, in values and in fields, in lower case.
const SECRETS_BEGIN: [&str; 12] = [
    "$argon2",
    "$2a$",
    "$2b$",
    "$2x$",
    "$2y$",
    "$apr1$",
    "sha256:",
    "bearer ",
    "basic ",
    "authorization:",
    "cookie:",
    "api-key:",
];
/// What names of secrets have in them, in lower case.
const SECRET_NAMES: [&str; 8] =
    ["auth", "cookie", "token", "secret", "passw", "api-key", "api_key", "credential"];
/// The keys of this file that have secrets.
const SECRET_KEYS: [&str; 2] = ["users", "tokens"];

/// Every key that there is, of all tables.
static KEYS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let mut keys = HashSet::new();
    gather(&SCHEMA, &mut keys);
    keys
});

fn gather(schema: &'static Value, keys: &mut HashSet<&'static str>) {
    match schema {
        Value::Object(members) => {
            let properties = members.get("properties").and_then(Value::as_object);
            keys.extend(properties.into_iter().flatten().map(|(key, _)| key.as_str()));
            members.values().for_each(|member| gather(member, keys));
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, keys)),
        _ => {}
    }
}

/// Whether a place, a JSON pointer, is in `[[auth]]`.
pub(crate) fn is_of_auth(path: &str) -> bool {
    path.strip_prefix("/auth").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether nothing of the value at a place may be repeated.
pub(crate) fn is_secret_place(path: &str) -> bool {
    is_of_auth(path) || Pointer(path.to_owned()).steps().any(|step| is_secret_name(&step))
}

/// Whether what is called so may be a secret: the fields Authorization and Cookie, `password`. The keys of this file that
/// are known to have none are none.
fn is_secret_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let is_known = KEYS.contains(&*lower) && !SECRET_KEYS.contains(&&*lower);
    !is_known && (SECRET_KEYS.contains(&&*lower) || SECRET_NAMES.iter().any(|part| lower.contains(part)))
}

/// Whether a text has the hash of a password, the digest of a token, or credentials as fields and URLs have them.
pub(crate) fn looks_secret(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let user_and_password = text.rfind('@').is_some_and(|at| text.find(':').is_some_and(|colon| colon < at));
    user_and_password || SECRETS_BEGIN.iter().any(|start| lower.contains(start))
}

/// `message` without the user and the password of any URL in it.
pub(crate) fn without_userinfo(message: &str) -> Cow<'_, str> {
    let Some((before, after)) = message.rfind('@').and_then(|at| message.split_at_checked(at)) else {
        return Cow::Borrowed(message);
    };
    let scheme = before.find("://").map(|colon| colon + "://".len());
    // What is no URL may be meant for one: `http:/user:password@host`.
    let quote = || before.rfind(['"', '`', '\'']).map(|quote| quote + 1);
    let begin = scheme
        .or_else(quote)
        .filter(|begin| before.get(*begin..).is_some_and(|it| scheme.is_some() || it.contains(':')));
    match begin.and_then(|begin| before.get(..begin)) {
        Some(shown) => Cow::Owned(format!("{shown}{MASK}{after}")),
        None => Cow::Borrowed(message),
    }
}

/// What is shown of a line, and which bytes of that have a caret.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown<'t> {
    pub(crate) line: Cow<'t, str>,
    pub(crate) place: Range<usize>,
}

/// What is shown of the line of `text` that begins at `line_start`, for a problem at `path`, which is empty when the text
/// could not be read. `place` is its part of the line, in bytes.
pub(crate) fn shown<'t>(text: &'t str, line_start: usize, path: &str, place: Range<usize>) -> Shown<'t> {
    let line = text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
    let (names, is_harmless) = match path {
        _ if is_header_of_keys(line) => (Names::Known, true),
        _ if is_of_auth(path) => (Names::Known, false),
        "" => {
            let region = Region::at(text.get(..line_start).unwrap_or_default());
            (Names::Known, region.is_harmless(line))
        }
        // The place is the key that is unknown, and the message names it. Where the file has providers it may be one of theirs,
        // whose header got lost.
        _ if !is_known(path) => {
            let is_harmless = !mentions_providers(text) && is_plain(line, Table::Parsed);
            (Names::Place, is_harmless || is_header(line))
        }
        _ => (Names::Any, !is_secret_place(path) && is_plain(line, Table::Parsed)),
    };
    match Line::of(line) {
        Some(Line { end, .. }) if is_harmless && place.start <= end => Shown {
            line: Cow::Borrowed(line.get(..end).unwrap_or_default()),
            place: place.start..place.end.min(end),
        },
        _ => masked(line, place, names),
    }
}

/// Which keys are shown of a line that is hidden.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    /// The first, if it is one of this file's.
    Known,
    /// The first.
    Any,
    /// The first, and the one that is the place.
    Place,
}

/// The key that `line` begins with, if it may be shown, a mask, and the place where it was: columns stay what they are.
fn masked(line: &str, place: Range<usize>, names: Names) -> Shown<'static> {
    let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
    let rest = line.get(indent..).unwrap_or_default();
    let key = rest.get(..rest.find(|c: char| !is_bare(c)).unwrap_or(rest.len())).unwrap_or_default();
    let behind = rest.get(key.len()..).unwrap_or_default();
    let between = behind.len() - behind.trim_start_matches([' ', '\t', '=', '.']).len();
    let is_key = behind.get(..between).is_some_and(|between| between.contains(['=', '.']));
    let is_shown = is_key && (names != Names::Known || KEYS.contains(key));
    let key_end = if is_shown { indent + key.len() } else { indent };
    let mask_start = if is_shown { key_end + between } else { indent };
    let mut masked = line.get(..mask_start).unwrap_or_default().replace('\t', " ") + MASK;
    // What is shown up to here is ASCII.
    let column = line.get(..place.start).unwrap_or_default().chars().count();
    if column < key_end {
        return Shown { line: Cow::Owned(masked), place: column..place.end.clamp(column, key_end) };
    }
    let named = line.get(place).filter(|key| names == Names::Place && key.chars().all(is_bare));
    if let Some(key) = named.filter(|_| column >= mask_start) {
        masked.truncate(if column > masked.len() { masked.len() } else { mask_start });
        masked.push_str(&" ".repeat(column - masked.len()));
        masked.push_str(key);
    } else if column >= masked.len() {
        masked.push_str(&" ".repeat(column - masked.len()));
        masked.push_str(MASK);
    }
    let place = column..masked.len();
    Shown { line: Cow::Owned(masked), place }
}

fn is_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// Whether the schema knows every step of a place.
fn is_known(path: &str) -> bool {
    let pointer = Pointer(path.to_owned());
    pointer.steps().try_fold(Field::of(&SCHEMA), |field, step| below(field, &step)).is_some()
}

/// The member `step` of a table, or the element of an array.
fn below(field: Field, step: &str) -> Option<Field> {
    match field.kind() {
        Kind::Array => step.bytes().all(|byte| byte.is_ascii_digit()).then(|| field.items()),
        Kind::Texts | Kind::Lists => Some(field.values()),
        _ => field.table().inner.get("properties")?.get(step).map(Field::of),
    }
}

/// Whether `line` looks like the header of a table, perhaps of one that is not closed, and has nothing but keys of this
/// file.
fn is_header_of_keys(line: &str) -> bool {
    let line = line.trim_ascii();
    let mut words = line.split(['[', ']', '.']).map(str::trim_ascii).filter(|word| !word.is_empty());
    line.starts_with('[') && words.all(|word| KEYS.contains(word))
}

/// Whether `line` is the header of a table, of whatever keys.
fn is_header(line: &str) -> bool {
    let is_of_header = |token: &Token<'_>| matches!(token, Token::Mark('[' | ']') | Token::Word(_));
    let tokens = Line::of(line).map(|line| line.tokens).unwrap_or_default();
    tokens.first() == Some(&Token::Mark('[')) && tokens.iter().all(is_of_header)
}

/// The table that lines are in where there is no parsed one.
#[derive(Clone, Copy)]
enum Table {
    /// The text is TOML.
    Parsed,
    /// What the last header says.
    Known(Field),
}

impl Table {
    /// Whether the key that a line begins with belongs here, and is no secret's.
    fn takes(self, key: &str) -> bool {
        let key_of = |field: Field| match field.kind() {
            Kind::Texts | Kind::Lists => true,
            _ => below(field, key.split('.').next().unwrap_or_default()).is_some(),
        };
        match self {
            Self::Parsed => true,
            Self::Known(field) => key_of(field),
        }
    }

    /// Whether a key that is not the first of its line is no reason to doubt.
    fn takes_inside(self, key: &str) -> bool {
        matches!(self, Self::Parsed) || key.split('.').all(|key| KEYS.contains(key))
    }
}

/// Where a line stands, as far as the lines above tell: in a table that is not `[[auth]]`, or who knows where.
struct Region(Option<Field>);

impl Region {
    /// Behind the lines of `above`.
    fn at(above: &str) -> Self {
        above.lines().fold(Self(Some(Field::of(&SCHEMA))), |region, line| region.after(line))
    }

    fn after(self, line: &str) -> Self {
        if line.trim_ascii_start().starts_with('[') {
            return Self(table_of(line));
        }
        let is_clear =
            self.0.is_some_and(|table| !mentions_auth(line) && is_plain(line, Table::Known(table)));
        Self(self.0.filter(|_| is_clear))
    }

    fn is_harmless(&self, line: &str) -> bool {
        self.0.is_some_and(|table| is_plain(line, Table::Known(table)))
    }
}

/// The table of a header, when that is clear and not `auth`.
fn table_of(header: &str) -> Option<Field> {
    let header = header.split('#').next()?.trim_ascii();
    let inner = header.strip_prefix('[')?.strip_suffix(']')?;
    let inner = inner.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(inner);
    let mut steps = inner.split('.').map(str::trim_ascii);
    let table = steps.clone().next().filter(|first| *first != "auth").and_then(|_| {
        steps.try_fold(Field::of(&SCHEMA), |field, step| {
            let field = if field.kind() == Kind::Array { field.items() } else { field };
            below(field, step)
        })
    })?;
    Some(if table.kind() == Kind::Array { table.items() } else { table })
}

/// Whether `line` may begin what belongs to `auth`; that a site or a rule names a provider does not.
fn mentions_auth(line: &str) -> bool {
    let value = line.trim_ascii().strip_prefix("auth").map(str::trim_ascii_start);
    let names_provider = value.and_then(|value| value.strip_prefix('=')).is_some_and(|value| {
        let value = value.trim_ascii();
        value == "false" || value.starts_with(['"', '\'']) && !value.contains(['=', '[', '{'])
    });
    !names_provider && line.contains("auth")
}

/// Whether a text has, or may have had, providers.
fn mentions_providers(text: &str) -> bool {
    text.lines().any(|line| mentions_auth(line) || SECRET_KEYS.iter().any(|key| line.contains(key)))
}

/// Whether `line` reads as keys and values, or as some of the elements of an array, and none of them is or looks like a
/// secret.
fn is_plain(line: &str, table: Table) -> bool {
    let Some(Line { tokens, .. }) = Line::of(line) else { return false };
    let mut before = None;
    for (index, token) in tokens.iter().enumerate() {
        let next = tokens.get(index + 1);
        let is_fine = match *token {
            Token::Mark(_) => true,
            // Two values side by side, or a value and the key of what was another line.
            _ if before.is_some_and(|before| !matches!(before, Token::Mark(_))) => false,
            Token::Word(key) | Token::Text(key) if next == Some(&Token::Mark('=')) => {
                !is_secret_name(key) && if index == 0 { table.takes(key) } else { table.takes_inside(key) }
            }
            Token::Text(_) => true,
            // A text without quotes, which is no secret if its key is none's.
            Token::Word(word) => is_literal(word) || before == Some(Token::Mark('=')) && next.is_none(),
        };
        if !is_fine {
            return false;
        }
        before = Some(*token);
    }
    !looks_secret(line)
}

/// Whether a word is a number, a date or a truth value.
fn is_literal(word: &str) -> bool {
    let digits = word.trim_start_matches(['+', '-']);
    matches!(digits, "true" | "false" | "inf" | "nan") || digits.starts_with(|c: char| c.is_ascii_digit())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'l> {
    /// A bare key, dotted perhaps, a number, a date, true or false.
    Word(&'l str),
    /// What stands between quotes.
    Text(&'l str),
    /// `=`, `,` or a bracket.
    Mark(char),
}

/// The tokens of one line, up to its comment.
struct Line<'l> {
    tokens: Vec<Token<'l>>,
    /// Where the comment begins, or the line ends; in bytes.
    end: usize,
}

impl<'l> Line<'l> {
    /// `None` for a line with a text that goes on behind it, and for one that is nothing in TOML.
    fn of(line: &'l str) -> Option<Self> {
        let mut tokens = Vec::new();
        let mut rest = line;
        loop {
            rest = rest.trim_start_matches([' ', '\t', '\r']);
            let (token, behind) = match rest.chars().next() {
                None | Some('#') => break,
                Some(mark @ ('=' | ',' | '[' | ']' | '{' | '}')) => (Token::Mark(mark), rest.get(1..)?),
                Some(quote @ ('"' | '\'')) => {
                    let inner = rest.get(1..)?;
                    let end = closing(inner, quote)?;
                    (Token::Text(inner.get(..end)?), inner.get(end + 1..)?)
                }
                Some(_) => {
                    let end = rest.find(|c: char| !is_bare(c) && !matches!(c, '.' | '+' | ':'));
                    let (word, behind) = rest.split_at(end.unwrap_or(rest.len()));
                    (Token::Word(word), behind)
                }
            };
            if token == Token::Word("") || token == Token::Text("") && behind.starts_with(['"', '\'']) {
                return None;
            }
            tokens.push(token);
            rest = behind;
        }
        let end = line.get(..line.len() - rest.len())?;
        let end = if rest.is_empty() { end.len() } else { end.trim_ascii_end().len() };
        Some(Self { tokens, end })
    }
}

/// Where a text ends that `inner` has the rest of.
fn closing(inner: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    inner.char_indices().find_map(|(at, c)| {
        let ends = c == quote && !is_escaped;
        is_escaped = quote == '"' && c == '\\' && !is_escaped;
        ends.then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown of the last line of `text`, all of which is the place.
    fn last_line(text: &str, path: &str) -> String {
        let start = text.rfind('\n').map_or(0, |at| at + 1);
        shown(text, start, path, 0..text.len() - start).line.trim_end().to_owned()
    }

    #[test]
    fn lines_of_auth_show_their_keys() {
        for (line, expected) in [
            ("tokens = { ci = \"x\" }", "tokens = ***"),
            ("  users={ a = \"x\"", "  users=***"),
            ("password = \"x\"", "***"),
            ("\"tokens\" = \"x\"", "***"),
            ("tokens.ci = \"x\"", "tokens.***"),
            ("x\"\"\"", "***"),
            ("realm", "***"),
            ("[[auth]]", "[[auth]]"),
            ("[auth.tokens]", "[auth.tokens]"),
            ("[auth.tokens.x]", "***"),
        ] {
            assert_eq!(last_line(line, "/auth/0"), expected, "{line}");
            assert_eq!(last_line(&format!("[[auth]]\n{line}"), ""), expected, "{line}");
        }
    }

    #[test]
    fn without_tables_the_lines_above_tell_where_a_line_is() {
        for harmless in [
            "[[listeners]]\naddress = :80",
            "[[listeners]] # one\naddress = \":80\"\nname = api",
            "[[sites]]\nauth = \"staff\"\nhosts = [\n  \"a\", 'b',",
            "[rules.headers]\nX-A = \"b\"",
            "[server]\nworkers = 1",
            "[[rules]]\nretries = { attempts = 5 }",
        ] {
            let line = harmless.rsplit('\n').next().unwrap_or_default();
            let is_of_schema = !harmless.contains("retries");
            assert_eq!(last_line(harmless, "") == line, is_of_schema, "{harmless}");
        }
        for doubtful in [
            "auth = [\n  { name = \"x\" }",
            "auth = [\n  {\n  \"x\",",
            "[[rules]]\npath = \"\"\"/*\nname = \"x\"",
            "[[rules]]\npath = \"/*\"[[auth]]\nname = \"x\"",
            "[[aut]]\nname = \"x\"",
            "#[[auth]]\nname = \"x\"",
            "[[rules]]\ntokens = \"x\"",
            "[[rules]]\nname = \"x\" tokens = { a = \"x\" }",
            "[[rules]]\nname = \"\"a = \"x\"",
            "[rules.headers]\nAuthorization = \"x\"",
            "[rules.headers]\nX-A = \"sha256:x\"",
        ] {
            assert!(last_line(doubtful, "").ends_with("***"), "{doubtful}: {}", last_line(doubtful, ""));
        }
    }

    #[test]
    fn what_looks_like_credentials_is_hidden_where_the_file_can_be_read() {
        for (line, path) in [
            ("Authorization = 5", "/rules/0/headers/Authorization"),
            ("  \"x\"", "/rules/0/headers/Cookie"),
            ("headers = { X-A = 5, \"X-Api-Key\" = \"x\" }", "/rules/0/headers/X-A"),
            ("target = \"http://a:b@h\"", "/rules/0/target"),
            ("name = \"$2b$12$x\"", "/rules/0/name"),
            ("[[auth]]\npth = \"x\"", "/rules/0/pth"),
        ] {
            assert!(last_line(line, path).ends_with("***"), "{line}: {}", last_line(line, path));
        }
        assert_eq!(last_line("pth = \"x\"", "/rules/0/pth"), "pth = \"x\"");
        let line = "headers = { X-A = 5 } # x";
        assert_eq!(last_line(line, "/rules/0/headers/X-A"), "headers = { X-A = 5 }");
    }

    #[test]
    fn columns_stay_and_lengths_do_not() {
        let line = "tokens = { ä = \"x\", b = \"y\" }";
        let at = line.find("b =").unwrap_or_default();
        let shown = shown(line, 0, "/auth/0/tokens/b", at..at + 1);
        assert_eq!(shown, Shown { line: "tokens = ***        ***".into(), place: 20..23 });
        assert_eq!(masked("tokens = 5", 9..10, Names::Known).place, 9..12);
        assert_eq!(masked("tokens = 5", 0..10, Names::Known).place, 0..6);
    }

    #[test]
    fn messages_have_no_userinfo() {
        assert_eq!(without_userinfo("\"x://a:b@h\" is no URL"), "\"x://***@h\" is no URL");
        assert_eq!(without_userinfo("a `@` is no URL"), "a `@` is no URL");
        for written in ["http:/a:b@h", "http//a:b@h", "a:b@h", "http:a:b@h:1"] {
            assert!(!without_userinfo(&format!("{written:?} is no URL")).contains("b@"), "{written}");
        }
    }
}
