//! Lists whose table would explode, through the crate's public face: they compile soon, answer right, and say what they
//! cost.

use ringway_config::{Compiled, Compiler, RouteRequest, Snapshot, Source};

const LISTENER: &str = "listeners = [{ address = \"127.0.0.1:1\" }]\n";

/// One rule for each line: its key, `path` or `pattern`, and what it takes. Their names are their numbers.
fn compile(rules: impl IntoIterator<Item = (&'static str, String)>) -> Compiled {
    let rule = |(number, (key, text)): (usize, (&str, String))| {
        format!("[[rules]]\nname = \"{number}\"\n{key} = '{text}'\ntarget = \"http://127.0.0.1:3000\"\n")
    };
    let text = LISTENER.to_owned() + &rules.into_iter().enumerate().map(rule).collect::<String>();
    let source = Source { name: "test.toml", text: &text };
    Compiler::new().compile(&source).unwrap_or_else(|problems| panic!("{}", problems.render(&source, false)))
}

fn winner(snapshot: &Snapshot, path: &str) -> Option<usize> {
    let request = RouteRequest {
        listener: "127.0.0.1:1",
        host: None,
        path: path.as_bytes(),
        method: b"GET",
        websocket: false,
    };
    let route = snapshot.route(&request, &mut snapshot.scratch()).ok()?;
    snapshot.rule(route.rule)?.name.parse().ok()
}

#[test]
fn plain_rules_deserve_no_word() {
    let prefixes = (0..2_000).map(|at| ("path", format!("/team/service-{at}/*")));
    let suffixes = (0..1_000).map(|at| ("path", format!("*.{at}x")));
    let compiled = compile(prefixes.chain(suffixes));
    assert!(compiled.warnings.is_empty(), "{:?}", compiled.warnings);
    assert_eq!(winner(&compiled.snapshot, "/team/service-7/a.8x"), Some(7));
    assert_eq!(winner(&compiled.snapshot, "/team/a.8x"), Some(2_008));
}

#[test]
fn words_anywhere_are_named_and_answer() {
    let words = (0..200).map(|at| ("pattern", format!("word{at}x")));
    let compiled = compile(words);
    let warnings: Vec<_> = compiled.warnings.iter().collect();
    assert_eq!(warnings.len(), 1, "one for the list: {warnings:?}");
    assert!(warnings[0].message.contains("\"0\", \"1\", \"2\", \"3\", \"4\" and 195 more"), "{warnings:?}");
    assert_eq!(warnings[0].path, "/rules/0/pattern");
    assert_eq!(winner(&compiled.snapshot, "/a/word150x/word20x/b"), Some(20));
    assert_eq!(winner(&compiled.snapshot, "/a/word150/word200x"), None);
}

#[test]
fn one_rule_that_explodes_alone_is_the_one_that_is_named() {
    let rules = (0..100).map(|at| ("pattern", format!("^/svc{at}/v[0-9]+/.*$")));
    let compiled = compile(rules.chain([("pattern", "^/(a|b)*a(a|b){20}$".to_owned())]));
    let places: Vec<_> = compiled.warnings.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(places, ["/rules/100/pattern"]);
    assert_eq!(winner(&compiled.snapshot, "/svc7/v12/x"), Some(7));
    assert_eq!(winner(&compiled.snapshot, &format!("/bba{}", "ab".repeat(10))), Some(100));
    assert_eq!(winner(&compiled.snapshot, &format!("/bbb{}", "ab".repeat(10))), None);
}

#[test]
fn gaps_anywhere_share_tables_a_few_at_a_time() {
    let compiled = compile((0..100).map(|at| ("pattern", format!("f{at}x.*b{at}y"))));
    assert_eq!(compiled.warnings.len(), 1, "none is lazy: {:?}", compiled.warnings);
    assert_eq!(winner(&compiled.snapshot, "/f70x/f31x/b70y"), Some(70));
    assert_eq!(winner(&compiled.snapshot, "/b70y/f70x"), None);
}

/// Neither has a table, and a path could make every byte visit all of it.
#[test]
fn a_rule_that_could_hold_a_worker_is_refused() {
    for pattern in ["^/(?:a|b)*a(?:a|b){9000}$".to_owned(), format!("^/{}", ".*a".repeat(2500))] {
        let text = format!(
            "{LISTENER}[[rules]]\nname = \"a\"\npattern = '{pattern}'\ntarget = \"http://127.0.0.1:3000\"\n"
        );
        let problems =
            Compiler::new().compile(&Source { name: "test.toml", text: &text }).expect_err(&pattern);
        assert!(problems.iter().any(|problem| problem.path == "/rules/0/pattern"), "{pattern}");
    }
}
