//! docs/routing.md is true: each TOML block compiles without a warning and meets its own `[[expect]]`s, and what its tables
//! say of paths and patterns is so.

use std::fs;
use std::path::Path;

use ringway_config::{Compiler, Source};

const LISTENER: &str = "listeners = [{ address = \"127.0.0.1:8080\" }]\n";

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/routing.md")).unwrap()
}

/// What `ringway check` says of a configuration.
fn told(text: &str) -> String {
    let source = Source { name: "routing.md", text };
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

/// The cells of the rows of the table that begins with `header`, without their backquotes' escapes.
#[track_caller]
fn rows(page: &str, header: &str) -> Vec<Vec<String>> {
    let (_, table) = page.split_once(header).unwrap_or_else(|| panic!("there is no table {header}"));
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cell = |text: &str| text.trim().replace('\0', "|");
    let cells = |line: &str| {
        let line = line.replace("\\|", "\0");
        line.trim_matches('|').split('|').map(cell).collect::<Vec<_>>()
    };
    let rows: Vec<_> = lines.map(cells).collect();
    assert!(rows.len() > 2, "{rows:?}");
    rows
}

/// The texts between backquotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn expect(path: &str, what: &str) -> String {
    format!("[[expect]]\nurl = \"http://example.com{path}\"\n{what}\n")
}

#[test]
fn every_block_is_a_configuration_that_does_what_it_says() {
    let page = page();
    let blocks: Vec<_> =
        page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() > 10, "{} blocks", blocks.len());
    for block in blocks {
        let has_listener = block.contains("[[listeners]]");
        assert_sound(&if has_listener { block.to_owned() } else { format!("{LISTENER}{block}") });
        assert!(block.contains("[[expect]]"), "it shows nothing:\n{block}");
    }
}

#[test]
fn the_forms_of_paths_take_what_the_table_says() {
    for row in rows(&page(), "| `path` | form | takes | does not take |") {
        let [forms, _, takes, takes_not] = &row[..] else { panic!("{row:?}") };
        for form in quoted(forms) {
            let rule =
                format!("[[rules]]\nname = \"r\"\npath = \"{form}\"\ntarget = \"http://127.0.0.1:3000\"\n");
            let takes = quoted(takes).into_iter().map(|path| expect(path, "rule = \"r\""));
            let takes_not = quoted(takes_not).into_iter().map(|path| expect(path, "status = 404"));
            assert_sound(&format!("{LISTENER}{rule}{}", takes.chain(takes_not).collect::<String>()));
        }
    }
}

#[test]
fn rewrites_make_what_the_table_says() {
    for row in rows(&page(), "| `pattern` | `rewrite` | path | sent |") {
        let cells: Vec<_> = row.iter().map(|cell| quoted(cell)[0]).collect();
        let [pattern, rewrite, path, sent] = cells[..] else { panic!("{row:?}") };
        let rule = format!(
            "[[rules]]\nname = \"r\"\npattern = '{pattern}'\nrewrite = '{rewrite}'\ntarget = \"http://127.0.0.1:3000\"\n"
        );
        assert_sound(&format!("{LISTENER}{rule}{}", expect(path, &format!("path = '{sent}'"))));
    }
}

#[test]
fn what_is_not_there_is_refused_and_what_to_write_is_not() {
    let rule = |pattern: &str| {
        format!(
            "{LISTENER}[[rules]]\nname = \"r\"\npattern = '{pattern}'\ntarget = \"http://127.0.0.1:3000\"\n"
        )
    };
    for row in rows(&page(), "| not there | why | write |") {
        let refused = told(&rule(quoted(&row[0])[0]));
        assert!(refused.starts_with("error: "), "{row:?}: {refused}");
        let instead = quoted(&row[2]);
        for pattern in instead.iter().filter(|text| text.contains(['^', '('])) {
            assert_sound(&rule(pattern));
        }
    }
}

#[test]
fn links_inside_the_page_lead_to_headings() {
    let page = page();
    let headings = page.lines().filter(|line| line.starts_with("##")).map(|line| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let kept: String =
            words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).collect();
        kept.replace(' ', "-")
    });
    let headings: Vec<_> = headings.collect();
    for link in page.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(headings.iter().any(|heading| heading == link), "{link}");
    }
}

#[test]
fn an_expectation_that_is_not_met_is_told_as_the_page_shows() {
    let rule = |name: &str, path: &str, port: u16| {
        format!("[[rules]]\nname = \"{name}\"\npath = \"{path}\"\ntarget = \"http://127.0.0.1:{port}\"\n\n")
    };
    let text = format!(
        "[[listeners]]\naddress = \"127.0.0.1:8080\"\n\n{}{}{}",
        rule("catch-all", "*", 3001),
        rule("api", "/api/*", 3000),
        expect("/api/users", "rule = \"api\"")
    );
    let source = Source { name: "ringway.toml", text: &text };
    let problems = Compiler::new().compile(&source).unwrap_err().render(&source, false);
    assert!(page().contains(&problems), "{problems}");
}
