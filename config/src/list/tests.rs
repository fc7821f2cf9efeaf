//! Lists against the plain truth: each rule tried alone, in order, by another matcher.

use proptest::prelude::*;
use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::nfa::thompson::{Compiler, Config, WhichCaptures};
use regex_syntax::hir::{Hir, Repetition};

use super::*;
use crate::pattern::Regex;
use crate::table::{Meets, Outcome, Work};

/// No bound that a test meets.
const AMPLE_BYTES: usize = 64 << 20;

fn pattern(text: &str) -> PathPattern {
    match text.strip_prefix("pattern ") {
        Some(regex) => PathPattern::Regex(Box::new(Regex::parse(regex).expect(regex))),
        None => PathPattern::parse(text).expect(text),
    }
}

fn entry(rule: usize) -> Entry {
    Entry { rule: RuleId(rule as u32), methods: None, ws: true }
}

fn rules(texts: &[impl AsRef<str>]) -> Vec<(PathPattern, Entry)> {
    texts.iter().enumerate().map(|(rule, text)| (pattern(text.as_ref()), entry(rule))).collect()
}

fn built(texts: &[impl AsRef<str>], budget_bytes: usize) -> Built {
    RuleList::build(rules(texts), &mut TableCache::default(), budget_bytes).expect("a list")
}

fn request(path: &str) -> RouteRequest<'_> {
    RouteRequest { listener: "", host: None, path: path.as_bytes(), method: b"GET", websocket: false }
}

/// Whether a pattern alone takes a path.
enum Alone {
    Plain(PathPattern),
    Regex(PikeVM),
}

impl Alone {
    fn new(pattern: &PathPattern) -> Self {
        let Some(regex) = pattern.regex() else {
            return Self::Plain(pattern.clone());
        };
        let config = Config::new().utf8(false).which_captures(WhichCaptures::None);
        let nfa = Compiler::new().configure(config).build_from_hir(&regex.hir).expect("a small automaton");
        Self::Regex(PikeVM::new_from_nfa(nfa).expect("an automaton that runs"))
    }

    fn takes(&self, path: &str) -> bool {
        match self {
            Self::Plain(PathPattern::All) => true,
            Self::Plain(PathPattern::Exact(exact)) => path == &**exact,
            Self::Plain(PathPattern::Prefix(prefix)) => {
                path.strip_prefix(&**prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Plain(PathPattern::Suffix(suffix)) => path.ends_with(&**suffix),
            Self::Plain(PathPattern::Regex(_)) => unreachable!("a regex is no plain pattern"),
            Self::Regex(vm) => vm.is_match(&mut vm.create_cache(), path),
        }
    }
}

fn regex_text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "b",
        "ab",
        "/",
        "/a",
        "/b",
        "[ab]",
        "[^/]*",
        "[^/]+",
        ".*",
        ".",
        "(a|b/)",
        "a?",
        "(ab)+",
        r"\b",
        r"\B",
        r"\.",
        "(/.*)?",
        "[ab]{2,4}",
        "(a|b)*a(a|b){6}",
        "(^a|b)",
        "(.*a|b$)",
    ]);
    let pieces = prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat());
    let front = prop::sample::select(vec!["", "^/", "^/a/", "^/.*"]);
    let branch = (front, pieces, prop::sample::select(vec!["", "$"]));
    let branch = branch.prop_map(|(front, pieces, back)| format!("{front}{pieces}{back}"));
    prop_oneof![
        4 => branch.clone(),
        1 => (branch.clone(), branch).prop_map(|(one, other)| format!("{one}|{other}")),
    ]
}

fn rule_text() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => Just("/*".to_owned()),
        2 => "/[ab]{1,2}(/[ab]{1,2}){0,2}",
        4 => "/[ab]{1,2}(/[ab]{1,2}){0,2}/\\*",
        3 => "\\*[ab.][ab]{0,3}",
        8 => regex_text().prop_map(|text| format!("pattern {text}")),
    ]
}

fn rule() -> impl Strategy<Value = (String, Option<&'static str>, bool)> {
    let method = prop::sample::select(vec![None, None, Some("GET"), Some("POST")]);
    (rule_text(), method, any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// However a list is divided, and whatever of it is lazy, the first rule that takes a request wins.
    #[test]
    fn the_first_rule_that_takes_a_request_wins(
        rules in prop::collection::vec(rule(), 1..40),
        budget_bytes in prop::sample::select(vec![0, 6 << 10, 40 << 10, 400 << 10, AMPLE_BYTES]),
        paths in prop::collection::vec("/[ab/.]{0,12}", 20),
        websocket in any::<bool>(),
    ) {
        let patterns: Vec<_> = rules.iter().map(|(text, ..)| pattern(text)).collect();
        let alone: Vec<_> = patterns.iter().map(Alone::new).collect();
        let entries = rules.iter().enumerate().map(|(rule, (_, method, ws))| Entry {
            methods: method.map(|method| Box::from([Box::from(method.as_bytes())])),
            ws: *ws,
            ..entry(rule)
        });
        let list = patterns.into_iter().zip(entries).collect();
        let built = RuleList::build(list, &mut TableCache::default(), budget_bytes);
        // Only what no table has room for can be too much.
        prop_assert!(built.is_ok() || budget_bytes < AMPLE_BYTES);
        let Ok(built) = built else { return Ok(()) };
        let memory_bytes: usize = built.list.parts().iter().map(Part::memory_bytes).sum();
        prop_assert!(memory_bytes <= budget_bytes);
        prop_assert_eq!(built.list.parts().iter().map(|part| part.entries().len()).sum::<usize>(), rules.len());
        let mut scratch = TableScratch::default();
        for path in &paths {
            let takes = |(at, (_, method, ws)): (usize, &(String, Option<&str>, bool))| {
                alone[at].takes(path) && method.is_none_or(|method| method == "GET") && (*ws || !websocket)
            };
            let first = rules.iter().enumerate().position(takes);
            let request = RouteRequest { websocket, ..request(path) };
            let winner = built.list.winner(&request, &mut scratch);
            prop_assert_eq!(winner.map(RuleId::index), first, "{}", path);
        }
    }

    /// What walking shows is what matches.
    #[test]
    fn walking_a_table_shows_all_that_match(
        texts in prop::collection::vec(rule_text(), 1..6),
        paths in prop::collection::vec("/[ab/.]{0,8}", 10),
    ) {
        let list = built(&texts, AMPLE_BYTES).list;
        for part in list.parts() {
            let Some(table) = part.table() else { continue };
            for path in &paths {
                let state = path.bytes().fold(table.start(), |state, byte| table.next(state, byte));
                let all: Vec<_> = table.matches(state).iter().map(|at| part.entries()[*at as usize].rule).collect();
                let takes = |entry: &&Entry| Alone::new(&pattern(&texts[entry.rule.index()])).takes(path);
                let expected: Vec<_> = part.entries().iter().filter(takes).map(|entry| entry.rule).collect();
                prop_assert_eq!(all, expected, "{}", path);
                prop_assert!(table.number_of(state) < table.numbers());
                prop_assert!(table.states() <= table.numbers());
                if table.is_dead(state) {
                    prop_assert!((0..=u8::MAX).all(|byte| table.next(state, byte) == state));
                }
            }
            for byte in 0..=u8::MAX {
                let alike = (0..=u8::MAX).find(|other| table.class_of(*other) == table.class_of(byte));
                let next = |byte| table.next(table.start(), byte);
                prop_assert_eq!(alike.map(next), Some(next(byte)));
            }
        }
    }

    /// A cache that holds next to nothing is emptied over and over, and says the same.
    #[test]
    fn a_tiny_cache_changes_no_answer(
        texts in prop::collection::vec(rule_text(), 1..12),
        paths in prop::collection::vec("/[ab/.]{0,40}", 20),
    ) {
        let patterns: Vec<_> = texts.iter().map(|text| Arc::new(pattern(text))).collect();
        let Ok(lazy) = LazyTable::build(&patterns, 0).map(Arc::new) else { return Ok(()) };
        let alone: Vec<_> = patterns.iter().map(|pattern| Alone::new(pattern)).collect();
        let mut scratch = TableScratch::default();
        for path in &paths {
            let first = alone.iter().position(|alone| alone.takes(path));
            let winner = lazy.winner(path.as_bytes(), &mut scratch, |_| true);
            prop_assert_eq!(winner.map(|winner| winner as usize), first, "{}", path);
        }
    }
}

/// Words that share no letter with their neighbours.
fn words(count: usize) -> Vec<String> {
    let letter = |number: usize| char::from(b'a' + (number % 26) as u8);
    (0..count).map(|at| [at, at / 26 + 7, at * 5 + 3, at * 11 + 1].map(letter).iter().collect()).collect()
}

#[test]
fn words_anywhere_in_a_path_take_one_table_for_beginnings() {
    for count in [14, 40, 200] {
        let words = words(count);
        let texts: Vec<_> = words.iter().map(|word| format!("pattern {word}")).collect();
        let built = built(&texts, AMPLE_BYTES);
        assert_eq!(built.list.parts().len(), 1);
        assert!(built.split_off.len() == count && built.lazy.is_empty() && !built.list.is_complete());
        let mut scratch = TableScratch::default();
        for (one, other) in [(3, 11), (12, 5), (13, 0)] {
            let path = format!("/x/{}/y{}/z", words[one], words[other]);
            let first = words.iter().position(|word| path.contains(word.as_str()));
            assert_eq!(built.list.winner(&request(&path), &mut scratch).map(RuleId::index), first, "{path}");
        }
    }
}

#[test]
fn a_few_words_stay_with_the_rest_and_the_list_complete() {
    let built = built(&["/a/*", "pattern foo", "/b/*", "pattern bar$", "*.js"], AMPLE_BYTES);
    assert!(built.list.parts().len() == 1 && built.list.is_complete());
    assert!(built.split_off.is_empty() && built.lazy.is_empty());
}

#[test]
fn thousands_of_suffixes_and_prefixes_take_two_tables_without_a_word() {
    let suffixes = (0..3_333).map(|at| format!("*.{at}x"));
    let texts: Vec<_> = suffixes.chain((0..6_667).map(|at| format!("/team/service-{at}/*"))).collect();
    let built = built(&texts, AMPLE_BYTES);
    assert!(built.list.parts().len() == 2 && built.list.is_complete());
    assert!(built.split_off.is_empty() && built.lazy.is_empty());
    let mut scratch = TableScratch::default();
    let mut winner = |path: &str| built.list.winner(&request(path), &mut scratch).map(RuleId::index);
    assert_eq!(winner("/team/service-77/a"), Some(3_333 + 77));
    assert_eq!(winner("/team/service-77/a.42x"), Some(42));
    assert_eq!(winner("/team/a.42y"), None);
}

#[test]
fn what_explodes_alone_is_lazy_and_spoils_nothing_else() {
    let bomb = "pattern ^/(a|b)*a(a|b){20}$".to_owned();
    let mut texts: Vec<_> = (0..200).map(|at| format!("pattern ^/svc{at}/v[0-9]+/.*$")).collect();
    texts.push(bomb);
    let built = built(&texts, AMPLE_BYTES);
    assert_eq!(built.lazy, [RuleId(200)]);
    assert!(built.list.parts().len() == 2 && built.split_off.is_empty() && !built.list.is_complete());
    let mut scratch = TableScratch::default();
    let mut winner = |path: &str| built.list.winner(&request(path), &mut scratch).map(RuleId::index);
    assert_eq!(winner("/svc7/v12/x"), Some(7));
    assert_eq!(winner(&format!("/bba{}", "ab".repeat(10))), Some(200));
    assert_eq!(winner(&format!("/bbb{}", "ab".repeat(10))), None);
}

/// The tables of a list bear its budget together; what is left over is lazy, and the list answers as before.
#[test]
fn a_list_over_its_budget_is_lazy_in_part() {
    let texts: Vec<_> = (0..300).map(|at| format!("/team/service-{at}/*")).collect();
    let all_bytes = built(&texts, AMPLE_BYTES).list.parts()[0].memory_bytes();
    let built = built(&texts, all_bytes * 2 / 3);
    assert!(!built.lazy.is_empty() && built.lazy.len() < 300, "{} of 300", built.lazy.len());
    assert!(built.split_off.is_empty());
    let mut scratch = TableScratch::default();
    for at in 0..300 {
        let path = format!("/team/service-{at}/x");
        assert_eq!(built.list.winner(&request(&path), &mut scratch), Some(RuleId(at)));
    }
}

#[test]
fn a_pattern_too_large_for_any_automaton_is_named() {
    let mut rules = rules(&["/a", "pattern ^/[a-z]b", "/b"]);
    if let (PathPattern::Regex(regex), _) = &mut rules[1] {
        let sub = Box::new(regex.hir.clone());
        regex.hir = Hir::repetition(Repetition { min: 100_000, max: None, greedy: true, sub });
    }
    let error = RuleList::build(rules, &mut TableCache::default(), AMPLE_BYTES).expect_err("too large");
    assert_eq!(error, ListError { rule: RuleId(1) });
}

#[test]
fn what_is_lazy_visits_a_bounded_part_of_its_automaton() {
    let lazy = |texts: &[String]| {
        let patterns: Vec<_> = texts.iter().map(|text| Arc::new(pattern(text))).collect();
        LazyTable::build(&patterns, 0).map(|_| ()).map_err(|error| error.0)
    };
    let bomb = |rounds: usize| format!("pattern ^/(a|b)*a(a|b){{{rounds}}}$");
    assert_eq!(lazy(&[bomb(200)]), Ok(()));
    assert_eq!(lazy(&["/a".to_owned(), bomb(1000)]), Err(1));
    // Rules that one path can keep running together count together, and others do not.
    assert_eq!(lazy(&[bomb(100), bomb(120), bomb(90)]), Err(1));
    let apart: Vec<_> = (0..3).map(|at| format!("pattern ^/{at}(a|b)*a(a|b){{100}}$")).collect();
    assert_eq!(lazy(&apart), Ok(()));
    let texts: Vec<_> =
        (0..5_000).flat_map(|at| [format!("/team/service-{at}/*"), format!("*.{at}x")]).collect();
    assert_eq!(lazy(&texts), Ok(()));
}

#[test]
fn work_on_tables_is_bounded_and_counts_again_when_its_result_is_known() {
    let patterns = || Box::from([Arc::new(pattern(&format!("pattern ^/{}", ".*a".repeat(200))))]);
    let mut tables = TableCache::default();
    let mut outcome =
        |limit| tables.table(patterns(), Meets::Path, AMPLE_BYTES, limit).expect("an automaton");
    let Outcome::Table(table) = outcome(Work(u64::MAX)) else { panic!("a table of 200 states") };
    let Outcome::Table(again) = outcome(Work(1)) else { panic!("a table that is known") };
    assert!(Arc::ptr_eq(&table, &again) && table.work() > Work(200 * 200));
}

#[test]
fn building_again_builds_nothing_and_tries_nothing_again() {
    let mut texts: Vec<_> = words(20).iter().map(|word| format!("pattern {word}.*{word}")).collect();
    texts.extend((0..50).map(|at| format!("/a{at}/*")));
    let mut tables = TableCache::default();
    let first = RuleList::build(rules(&texts), &mut tables, AMPLE_BYTES).expect("a list");
    let built = tables.built();
    let second = RuleList::build(rules(&texts), &mut tables, AMPLE_BYTES).expect("a list");
    assert_eq!(tables.built(), built);
    let refused = |built: &Built| built.list._refused.iter().map(Arc::as_ptr).collect::<Vec<_>>();
    assert!(refused(&first) == refused(&second) && first.split_off == second.split_off);
    drop((first, second));
    tables.sweep();
    let key = (Box::from([Arc::new(pattern("/a"))]), Meets::Path);
    assert!(tables.known(&key, AMPLE_BYTES).is_none());
    RuleList::build(rules(&texts), &mut tables, AMPLE_BYTES).expect("a list");
    assert_eq!(tables.built(), 2 * built);
}

#[test]
fn a_worker_keeps_the_states_of_few_lazy_tables() {
    let patterns = |at: usize| [Arc::new(pattern(&format!("/a{at}/*")))];
    let lazy: Vec<_> =
        (0..20).map(|at| Arc::new(LazyTable::build(&patterns(at), 0).expect("an automaton"))).collect();
    let mut scratch = TableScratch::default();
    for round in 0..3 {
        for (at, table) in lazy.iter().enumerate() {
            let path = format!("/a{at}/{round}");
            assert_eq!(table.winner(path.as_bytes(), &mut scratch, |_| true), Some(0));
            assert_eq!(table.winner(b"/b", &mut scratch, |_| true), None);
        }
    }
}
