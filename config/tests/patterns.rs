//! Patterns by the crate's public face, against a table that Node made (`patterns/table.mjs` says how): which paths match, what
//! each group took, which warnings there are, and what is refused at which place. Node is not needed for it.

use ringway_config::{Compiled, Compiler, Forward, PathChange, Problems, RouteRequest, Snapshot, Source};
use serde::Deserialize;

const TABLE: &str = include_str!("patterns/table.json");

#[derive(Deserialize)]
struct Table {
    patterns: Vec<Row>,
    refused: Vec<Refused>,
}

/// A pattern, and what it does on paths.
#[derive(Deserialize)]
struct Row {
    pattern: String,
    /// The numbers of groups that a rewrite must not use.
    unlike: Vec<usize>,
    /// Where the first warning points, in bytes.
    warns: Option<usize>,
    paths: Vec<Tried>,
}

#[derive(Deserialize)]
struct Tried {
    path: String,
    /// What each group took; `None` where nothing is found.
    groups: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Refused {
    pattern: String,
    /// Where the error points, in bytes.
    at: usize,
    /// Node refuses it, too.
    by_node: bool,
}

fn table() -> Table {
    serde_json::from_str(TABLE).expect("the table is what table.mjs writes")
}

/// Compiles a file of one rule, in which the pattern stands as it is.
fn compile(pattern: &str, keys: &str) -> (String, Result<Compiled, Problems>) {
    let text = format!(
        "listeners = [{{ name = \"a\", address = \"127.0.0.1:1\" }}]\n\
         [[rules]]\nname = \"r\"\npattern = '{pattern}'\ntarget = \"http://127.0.0.1:3\"\n{keys}"
    );
    let compiled = Compiler::new().compile(&Source { name: "test.toml", text: &text });
    (text, compiled)
}

#[track_caller]
fn compiled(pattern: &str, keys: &str) -> (String, Compiled) {
    match compile(pattern, keys) {
        (text, Ok(compiled)) => (text, compiled),
        (text, Err(problems)) => {
            panic!("{}", problems.render(&Source { name: "test.toml", text: &text }, false))
        }
    }
}

/// The path that is sent when the rule takes `path`.
fn sent(snapshot: &Snapshot, path: &str) -> Option<String> {
    let request = RouteRequest {
        listener: "127.0.0.1:1",
        host: None,
        path: path.as_bytes(),
        method: b"GET",
        websocket: false,
    };
    let mut scratch = snapshot.scratch();
    let route = snapshot.route(&request, &mut scratch).ok()?;
    let change =
        snapshot.rule(route.rule).and_then(|rule| rule.forward()).map(|forward: &Forward| &forward.path);
    let change: &PathChange = change.expect("the rule forwards");
    let sent = change.sent(path.as_bytes(), &mut scratch).expect("a valid path");
    Some(String::from_utf8_lossy(sent.of(path.as_bytes())).into_owned())
}

/// Where the problems of the pattern point, in bytes of the pattern.
fn offsets(text: &str, problems: &Problems) -> Vec<usize> {
    let pattern_at = text.find("pattern = '").expect("the key is there") + "pattern = '".len();
    let of_pattern = problems.iter().filter(|problem| problem.path == "/rules/0/pattern");
    let starts = of_pattern.filter_map(|problem| problem.span.as_ref().map(|span| span.start));
    starts.filter_map(|start| start.checked_sub(pattern_at)).collect()
}

#[test]
fn paths_match_as_in_node() {
    for row in table().patterns {
        let (_, compiled) = compiled(&row.pattern, "");
        for Tried { path, groups } in row.paths {
            let found = sent(&compiled.snapshot, &path);
            assert_eq!(found.is_some(), groups.is_some(), "{} on {path}", row.pattern);
        }
    }
}

#[test]
fn groups_take_what_they_take_in_node() {
    for row in table().patterns {
        let groups = row.paths.iter().filter_map(|tried| tried.groups.as_ref()).map(Vec::len).max();
        for number in 1..=groups.unwrap_or_default() {
            // The text in front keeps what a group takes from being read as a segment of dots.
            let rewrite = format!("rewrite = \"/_${number}\"");
            if row.unlike.contains(&number) {
                let (text, refused) = compile(&row.pattern, &rewrite);
                let refused = refused.err().unwrap_or_else(|| panic!("group {number}: {text}"));
                assert!(refused.iter().any(|problem| problem.path == "/rules/0/rewrite"), "{refused:?}");
                continue;
            }
            let (_, compiled) = compiled(&row.pattern, &rewrite);
            for Tried { path, groups } in &row.paths {
                let expected = groups.as_ref().map(|groups| format!("/_{}", groups[number - 1]));
                let found = sent(&compiled.snapshot, path).filter(|_| path != "*");
                assert_eq!(found, expected, "group {number} of {} on {path}", row.pattern);
            }
        }
    }
}

#[test]
fn warnings_stand_at_their_places() {
    for row in table().patterns {
        let (text, compiled) = compiled(&row.pattern, "");
        let first = offsets(&text, &compiled.warnings).into_iter().next();
        let warnings = compiled.warnings.render(&Source { name: "test.toml", text: &text }, false);
        assert_eq!(first, row.warns, "{}: {warnings}", row.pattern);
    }
}

#[test]
fn what_is_refused_is_refused_at_its_place() {
    for Refused { pattern, at, by_node } in table().refused {
        let (text, refused) = compile(&pattern, "");
        let refused = refused.err().unwrap_or_else(|| panic!("{pattern} is taken; by Node: {}", !by_node));
        assert_eq!(offsets(&text, &refused), [at], "{pattern}: {refused:?}");
    }
}

/// Where JavaScript takes a pattern, the error says what to write instead.
#[test]
fn what_javascript_takes_is_refused_with_help() {
    for Refused { pattern, .. } in table().refused.into_iter().filter(|refused| !refused.by_node) {
        let (_, refused) = compile(&pattern, "");
        let problems = refused.err().unwrap_or_else(|| panic!("{pattern} is taken"));
        assert!(problems.iter().all(|problem| problem.help.is_some()), "{pattern}: {problems:?}");
    }
}
