//! Patterns under fire, against `regress`, another engine for JavaScript's dialect: what it refuses is refused, a path matches for
//! both or for none, and the first group takes the same text.

use ringway_config::{Compiled, Compiler, PathChange, Problems, RouteRequest, Snapshot, Source};

/// Longer ones keep an engine that tries one way after the other busy for too long.
const COMPARED_PATTERN_BYTES_MAX: usize = 100;
const COMPARED_PATH_BYTES_MAX: usize = 16;

/// An input: the path's length, the path without its `/`, and the pattern.
pub fn pattern(data: &[u8]) {
    let Some((&path_bytes, data)) = data.split_first() else { return };
    let (path, pattern) = data.split_at(usize::from(path_bytes).min(data.len()));
    let Ok(pattern) = std::str::from_utf8(pattern) else { return };
    let theirs = regress::Regex::new(pattern);
    let compiled = match (compile(pattern, ""), &theirs) {
        (Ok(compiled), Ok(_)) => compiled,
        (Ok(_), Err(refused)) => panic!("{pattern:?} is taken, but {refused}"),
        (Err(problems), theirs) => {
            // What an automaton cannot run has to come with what to write instead.
            let has_help = problems.iter().all(|problem| problem.help.is_some());
            assert!(theirs.is_err() || has_help, "{pattern:?}: {problems:?}");
            return;
        }
    };
    let Some(path) = normalised(path).filter(|path| is_compared(pattern, path)) else { return };
    let expected = theirs.ok().and_then(|theirs| theirs.find_ascii(&path));
    let takes = sent(&compiled.snapshot, &path).is_some();
    assert_eq!(takes, expected.is_some(), "{pattern:?} on {path}");
    // A rewrite that uses a group whose text would not be JavaScript's is refused.
    let (Some(expected), Ok(rewriting)) = (expected, compile(pattern, "rewrite = '/_$1'")) else { return };
    let group = expected.group(1).map_or("", |span| &path[span]);
    if let Some(Ok(sent)) = sent(&rewriting.snapshot, &path) {
        assert_eq!(sent, format!("/_{group}"), "{pattern:?} on {path}");
    }
}

fn compile(pattern: &str, keys: &str) -> Result<Compiled, Problems> {
    let text = format!(
        "listeners = [{{ address = '127.0.0.1:1' }}]\nlimits.rule_table = '64KiB'\n\
         [[rules]]\nname = 'r'\npattern = \"{}\"\ntarget = 'http://127.0.0.1:2'\n{keys}",
        escaped(pattern)
    );
    Compiler::new().compile(&Source { name: "fuzz.toml", text: &text })
}

/// As it stands between quotes in TOML.
fn escaped(text: &str) -> String {
    let escape = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// A path as rules see it, if these bytes are one's.
fn normalised(path: &[u8]) -> Option<String> {
    let mut path = [b"/", path].concat();
    ringway_wire::check_path(&path).ok()?;
    let length = ringway_wire::normalise_path(&mut path).ok()?;
    path.truncate(length);
    String::from_utf8(path).ok()
}

/// Whether `regress` says something about a pattern on a path, and in time. It knows nothing of percent-encoding, never comes
/// to an end with some repetitions of what can be empty in others, and goes through all rounds of a large count.
fn is_compared(pattern: &str, path: &str) -> bool {
    let is_ascii =
        pattern.is_ascii() && ["\\u", "\\x", "\\2", "\\3"].iter().all(|escape| !pattern.contains(escape));
    let bytes = pattern.as_bytes();
    let repeated_groups =
        bytes.windows(2).filter(|pair| pair[0] == b')' && b"*+?{".contains(&pair[1])).count();
    let has_large_count =
        bytes.windows(2).any(|pair| pair.iter().all(u8::is_ascii_digit)) && pattern.contains('{');
    let is_small = pattern.len() <= COMPARED_PATTERN_BYTES_MAX && path.len() <= COMPARED_PATH_BYTES_MAX;
    is_ascii && is_small && repeated_groups <= 1 && !has_large_count
}

/// What is sent when the rule takes `path`; an error when the rewrite makes no path of it.
fn sent(snapshot: &Snapshot, path: &str) -> Option<Result<String, ()>> {
    let request = RouteRequest {
        listener: "127.0.0.1:1",
        host: None,
        path: path.as_bytes(),
        method: b"GET",
        websocket: false,
    };
    let mut scratch = snapshot.scratch();
    let route = snapshot.route(&request, &mut scratch).ok()?;
    let change: &PathChange = &snapshot.rule(route.rule)?.forward()?.path;
    let sent = change.sent(path.as_bytes(), &mut scratch).map_err(drop);
    Some(sent.map(|sent| String::from_utf8_lossy(sent.of(path.as_bytes())).into_owned()))
}
