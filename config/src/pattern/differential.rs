//! Patterns of every kind against another engine that reads the same dialect, `regress`, and against the specification's own
//! matcher: the same patterns are refused, the same paths match, and the groups have the same text unless they are marked.

use std::ops::Range;

use proptest::prelude::*;
use regex_automata::nfa::thompson::{self, pikevm::PikeVM};
use regex_automata::{Anchored, Input};
use regex_syntax::hir::{Hir, HirKind, Look};

use super::backtracking::{self, Groups};
use super::{Regex, RegexFault};

/// What an automaton cannot run, or would hardly be meant: refused although JavaScript takes it. By words of the message.
const BEYOND: &[&str] = &[
    "cannot look",
    "cannot refer",
    "to JavaScript without the `u` flag",
    "in JavaScript without the `u` flag",
    "half a character",
    "is several bytes in a path",
    "cannot be ignored",
    "written out",
    "deep",
    "is another group's",
    "a group's name",
];

fn is_beyond(refused: &RegexFault) -> bool {
    BEYOND.iter().any(|words| refused.fault.message.contains(words))
}

/// `regress` 0.12 takes `\\b*`, which is a syntax error in JavaScript.
fn is_repeated_border(text: &str, refused: &RegexFault) -> bool {
    let before = text.get(..refused.at).unwrap_or_default();
    refused.fault.message.contains("nothing that this")
        && (before.ends_with("\\b") || before.ends_with("\\B"))
}

/// Both automata of a pattern, as an engine that keeps groups.
struct Automata {
    /// Of the language of whole paths.
    whole: PikeVM,
    /// Of what is searched for.
    found: PikeVM,
}

impl Automata {
    fn of(regex: &Regex) -> Self {
        let whole = Hir::concat(vec![regex.language(), Hir::look(Look::End)]);
        Self { whole: automaton(&whole), found: automaton(&regex.hir) }
    }

    fn takes(&self, path: &str) -> bool {
        self.whole.is_match(&mut self.whole.create_cache(), Input::new(path).anchored(Anchored::Yes))
    }

    /// What is found in a path, with as many groups as the pattern has.
    fn groups(&self, path: &str, groups: usize) -> Option<Groups> {
        let mut captures = self.found.create_captures();
        self.found.captures(&mut self.found.create_cache(), path, &mut captures);
        let span = |number| captures.get_group(number).map(|span| span.range());
        captures.is_match().then(|| (0..=groups).map(span).collect())
    }
}

fn automaton(hir: &Hir) -> PikeVM {
    let config = thompson::Config::new().utf8(false);
    let nfa = thompson::Compiler::new().configure(config).build_from_hir(hir).expect("a small expression");
    PikeVM::new_from_nfa(nfa).expect("an automaton")
}

/// Checks one pattern on paths.
fn check(text: &str, paths: &[String]) -> Result<(), TestCaseError> {
    let (ours, theirs) = match (Regex::parse(text), regress::Regex::new(text)) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(refused), theirs) => {
            let known = theirs.is_err() || is_beyond(&refused) || is_repeated_border(text, &refused);
            prop_assert!(known, "{text:?} is refused: {refused:?}");
            prop_assert!(text.is_char_boundary(refused.at), "{text:?}: {refused:?}");
            return Ok(());
        }
        (Ok(_), Err(refused)) => {
            return Err(TestCaseError::fail(format!("{text:?} is taken, but {refused}")));
        }
    };
    for warning in &ours.warnings {
        prop_assert!(text.is_char_boundary(warning.at), "{text:?}: {warning:?}");
    }
    let automata = Automata::of(&ours);
    let ask_regress = !may_overwhelm_regress(text, &ours.hir) && is_like_javascript(text);
    for path in paths {
        let found = automata.groups(path, ours.groups.len());
        prop_assert_eq!(automata.takes(path), found.is_some(), "{:?} on {}", text, path);
        if let Ok(expected) = backtracking::find(&ours.hir, ours.groups.len(), path.as_bytes()) {
            compare(&ours, path, found.as_ref(), expected.as_ref())?;
        }
        if ask_regress {
            let expected = theirs.find_ascii(path).map(|found| found.groups().collect());
            compare(&ours, path, found.as_ref(), expected.as_ref())?;
        }
    }
    Ok(())
}

/// Not so is a character beyond ASCII, which is percent-encoded in a path. (The table of patterns has those.)
fn is_like_javascript(text: &str) -> bool {
    text.is_ascii() && ["\\u", "\\x", "\\2", "\\3"].iter().all(|escape| !text.contains(escape))
}

/// `regress` 0.12 goes through the rounds of `(?:){9999999999}` one by one, and never comes to an end of
/// `(?:(?:a*)?)*b`: a repetition of what can be empty in one more.
fn may_overwhelm_regress(text: &str, hir: &Hir) -> bool {
    fn repeats_empty(hir: &Hir) -> bool {
        let is_one = matches!(hir.kind(), HirKind::Repetition(repetition)
            if repetition.sub.properties().minimum_len() == Some(0));
        is_one || hir.kind().subs().iter().any(repeats_empty)
    }
    // Once, and of nothing: such a repetition is not in the expression any more.
    text.contains("9999") || text.contains("{1}") || text.contains("{2}") || repeats_empty(hir)
}

/// Compares whether there is a match, and the texts of groups that are not marked.
fn compare(
    ours: &Regex,
    path: &str,
    found: Option<&Groups>,
    expected: Option<&Groups>,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.is_some(), expected.is_some(), "{:?} on {}", &ours.source, path);
    let (Some(found), Some(expected)) = (found, expected) else { return Ok(()) };
    let text_of = |span: Option<Range<usize>>| span.map_or("", |span| &path[span]);
    for (number, _) in (1..).zip(&ours.groups).filter(|(_, group)| group.unlike_javascript.is_none()) {
        let (took, expected) = (text_of(found[number].clone()), text_of(expected[number].clone()));
        prop_assert_eq!(took, expected, "group {} of {:?} on {}", number, &ours.source, path);
    }
    Ok(())
}

/// Something that takes one character, mostly.
fn atom() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(&["a", "b", "/", "1", "-", "A", "_", "%", ",", "]", "{", "}", "=", "!", ":", "<"][..]).prop_map(str::to_owned),
        2 => prop::sample::select(&[".", "\\d", "\\w", "\\W", "\\D", "\\S", "\\s", "\\/", "\\.", "\\-", "\\*", "\\a", "\\A", "\\z", "\\Q"][..]).prop_map(str::to_owned),
        1 => prop::sample::select(&["\\0", "\\1", "\\7", "\\8", "\\101", "\\cA", "\\c", "\\x61", "\\x6", "\\u0061", "\\u6", "\\e", "\\k", "\\_", "\\p", "\\]", "a{,3}", "a{", "{x}"][..]).prop_map(str::to_owned),
        2 => class(),
    ]
}

fn class() -> impl Strategy<Value = String> {
    let members = prop::sample::select(
        &[
            "a", "b", "-", "^", "a-b", "/", "1", "0-9", "A-Z", "\\d", "\\w", "\\W", "\\S", "\\s", "\\-",
            "\\]", "\\b", "\\1", "&&", "[", "~~", "--", "\\cA", "\\c", "\\c1", "\\x61", ".", "!-~", "%", "(",
            "\\B",
        ][..],
    );
    (any::<bool>(), prop::collection::vec(members, 0..4))
        .prop_map(|(negated, members)| format!("[{}{}]", if negated { "^" } else { "" }, members.concat()))
}

fn quantifier() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &[
            "*", "+", "?", "*?", "+?", "??", "{0}", "{1}", "{2}", "{0,1}", "{0,2}", "{1,3}?", "{2,}",
            "{1,}?", "{0,}", "{2,1}",
        ][..],
    )
}

/// Patterns by the grammar; a few of them are refused.
fn pattern() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        8 => atom(),
        1 => prop::sample::select(&["^", "$", "\\b", "\\B", ""][..]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            4 => prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            2 => prop::collection::vec(inner.clone(), 1..4).prop_map(|branches| format!("({})", branches.join("|"))),
            2 => (prop::sample::select(&["(", "(?:", "(?:", "(?i:", "(?-i:", "(?s:", "(?m-i:", "(?<n>"][..]), inner.clone())
                .prop_map(|(open, inside)| format!("{open}{inside})")),
            3 => (prop::sample::select(&["(", "(?:"][..]), inner.clone(), quantifier()).prop_map(|(open, inside, times)| format!("{open}{inside}){times}")),
            2 => (atom(), quantifier()).prop_map(|(atom, times)| format!("{atom}{times}")),
            1 => (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("{one}|{other}")),
            1 => inner.prop_map(|inside| format!("^{inside}$")),
        ]
    })
}

/// Repetitions in one another whose rounds can be empty.
fn empty_rounds() -> impl Strategy<Value = String> {
    let leaves = ["a", "b", "/", "a*", "b*?", "a?", "", "a|", "|b", "ab", "^", "$", "\\b", "(a*)", "(b?)"];
    prop::sample::select(leaves.to_vec()).prop_map(str::to_owned).prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| parts.concat()),
            2 => (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one}|{other})")),
            3 => (prop::sample::select(&["(", "(?:"][..]), inner, quantifier())
                .prop_map(|(open, inside, times)| format!("{open}{inside}){times}")),
        ]
    })
}

/// Patterns with a place changed: pieces of syntax put in, or a part taken out or said twice.
fn mutated() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "*",
        "+",
        "?",
        "|",
        "^",
        "$",
        "\\",
        "-",
        ",",
        "1",
        "99999999999",
        "(?",
        "(?<",
        "(?=",
        "(?<!",
        "<n>",
        ":",
        "\\k<n>",
        "\\2",
        "\\u{61}",
        "\\p{L}",
        "(?i:",
        "(?ii:",
        "(?-:",
        "é",
        "😀",
        "\\xe9",
        "\\ud83d",
        "\n",
        " ",
        "#",
        "\u{0}",
    ];
    let change = (any::<prop::sample::Index>(), 0_usize..3, prop::option::of(prop::sample::select(PIECES)));
    (pattern(), prop::collection::vec(change, 1..4)).prop_map(|(pattern, changes)| {
        changes.into_iter().fold(pattern, |mut text, (at, length, piece)| {
            let start = text.floor_char_boundary(at.index(text.len() + 1));
            let end = text.ceil_char_boundary((start + length).min(text.len()));
            let part = text[start..end].to_owned();
            text.replace_range(start..end, piece.unwrap_or(&(part.clone() + &part)));
            text
        })
    })
}

fn paths() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("/[abAB/1_%.,{}<!-]{0,9}", 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 500 } else { 20_000 }))]

    #[test]
    fn patterns_by_the_grammar(pattern in pattern(), paths in paths()) {
        check(&pattern, &paths)?;
    }

    #[test]
    fn patterns_with_empty_rounds(pattern in empty_rounds(), paths in prop::collection::vec("/[ab]{0,6}", 1..8)) {
        check(&pattern, &paths)?;
    }

    #[test]
    fn patterns_with_a_change(pattern in mutated(), paths in paths()) {
        check(&pattern, &paths)?;
    }

    #[test]
    fn any_text(pattern in "\\PC{0,40}", paths in paths()) {
        check(&pattern, &paths)?;
    }
}
