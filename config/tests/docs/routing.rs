//! docs/routing.md.

use ringway_config::{Compiler, Source};

use super::{LISTENER, assert_sound, blocks, expect, quoted, rows, told};

fn page() -> String {
    super::page("routing.md")
}

#[test]
fn every_block_is_a_configuration_that_does_what_it_says() {
    let page = page();
    assert!(blocks(&page).count() > 10);
    for block in blocks(&page) {
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
