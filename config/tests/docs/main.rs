//! The guides in docs/ are true: each TOML block compiles without a warning and meets its own `[[expect]]`s, and what their
//! tables say is so.

mod access;
mod routing;
mod upstreams;

use std::fs;
use std::path::Path;

use ringway_config::{Compiler, Snapshot, Source};

const LISTENER: &str = "listeners = [{ address = \"127.0.0.1:8080\" }]\n";

/// The guide `docs/NAME`.
fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)).unwrap()
}

/// The guide's TOML blocks.
fn blocks(page: &str) -> impl Iterator<Item = &str> {
    page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next())
}

/// What `ringway check` says of a configuration.
fn told(text: &str) -> String {
    let source = Source { name: "guide.toml", text };
    match Compiler::new().check(&source) {
        Ok(checked) => checked.compiled.warnings.render(&source, false),
        Err(problems) => problems.render(&source, false),
    }
}

#[track_caller]
fn assert_sound(text: &str) {
    let told = told(text);
    assert!(told.is_empty(), "{told}\n{text}");
}

#[track_caller]
fn compile(text: &str) -> Snapshot {
    let source = Source { name: "guide.toml", text };
    let compiled = Compiler::new().compile(&source);
    compiled.unwrap_or_else(|problems| panic!("{}\n{text}", problems.render(&source, false))).snapshot
}

/// The cells of the rows of the table that begins with `header`, without their backquotes' escapes.
#[track_caller]
fn rows(page: &str, header: &str) -> Vec<Vec<String>> {
    let (_, table) = page.split_once(header).unwrap_or_else(|| panic!("there is no table {header}"));
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cell = |text: &str| text.trim().replace('\0', "|");
    let cells = |line: &str| {
        let line = line.replace("\\|", "\0");
        let line = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')).expect("a row");
        line.split('|').map(cell).collect::<Vec<_>>()
    };
    let rows: Vec<_> = lines.map(cells).collect();
    assert!(!rows.is_empty(), "there are no rows under {header}");
    rows
}

/// The texts between backquotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn expect(path: &str, what: &str) -> String {
    format!("[[expect]]\nurl = \"http://example.com{path}\"\n{what}\n")
}

/// What links lead to: the headings in lower case, without punctuation.
fn anchors(page: &str) -> Vec<String> {
    let heading = |line: &str| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let kept: String =
            words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).collect();
        kept.replace(' ', "-")
    };
    page.lines().filter(|line| line.starts_with("##")).map(heading).collect()
}

#[test]
fn links_lead_to_headings() {
    for name in ["access.md", "routing.md", "upstreams.md"] {
        let text = page(name);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let Some((file, anchor)) = link.split_once('#') else {
                assert!(link.contains("://") || !page(link).is_empty(), "{name}: {link}");
                continue;
            };
            let target = if file.is_empty() { text.clone() } else { page(file) };
            assert!(anchors(&target).iter().any(|heading| heading == anchor), "{name}: {link}");
        }
    }
}
