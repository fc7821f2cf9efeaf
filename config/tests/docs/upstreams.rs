//! docs/upstreams.md.

use std::collections::BTreeSet;

use ringway_config::{Author, Forwarded, Outcome, Question, Snapshot, json_schema, reference_markdown};
use serde_json::Value;

use super::{LISTENER, assert_sound, blocks, compile, quoted, rows};

fn page() -> String {
    super::page("upstreams.md")
}

/// A block with a listener, and with a rule for its upstream where it has none.
fn whole(block: &str) -> String {
    let name = block.split_once("[[upstreams]]\nname = ").and_then(|(_, rest)| rest.lines().next());
    let rule =
        format!("\n[[rules]]\nname = \"r\"\npath = \"*\"\nupstream = {}\n", name.expect("an upstream"));
    let has_rule = ["[[rules]]", "[[sites]]"].iter().any(|table| block.contains(table));
    format!("{LISTENER}{block}{}", if has_rule { "" } else { &rule })
}

/// The block that stands last before the table with this header.
#[track_caller]
fn block_before(page: &str, header: &str) -> Snapshot {
    let (before, _) = page.split_once(header).unwrap_or_else(|| panic!("there is no table {header}"));
    compile(&whole(blocks(before).last().expect("a block")))
}

#[track_caller]
fn forwarded(snapshot: &Snapshot, url: &str) -> Box<Forwarded> {
    let explained = snapshot.explain(&Question { url, method: "GET", websocket: false, listener: None });
    match explained.map(|explanation| explanation.outcome) {
        Ok(Outcome::Forwarded(forwarded)) => forwarded,
        other => panic!("{url}: {other:?}"),
    }
}

fn author(name: &str) -> Author {
    match name {
        "site" => Author::Site,
        "upstream" => Author::Upstream,
        "rule" => Author::Rule,
        _ => panic!("{name}"),
    }
}

/// The keys of a table of the schema.
fn keys(schema: &Value, table: &str) -> serde_json::Map<String, Value> {
    let keys = &schema["$defs"][table]["properties"];
    keys.as_object().unwrap_or_else(|| panic!("no table {table}")).clone()
}

fn schema() -> Value {
    serde_json::from_str(&json_schema()).unwrap()
}

/// The words that a key takes, as the schema has them.
fn words(table: &str, key: &str) -> BTreeSet<String> {
    let keys = keys(&schema(), table);
    let words = keys[key]["enum"].as_array().unwrap_or_else(|| panic!("{key} takes no words"));
    words.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// `30s`, `30 seconds`, `1m` in seconds; a plain number as it is.
fn amount(text: &str) -> u64 {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().unwrap_or_else(|_| panic!("{text}"));
    match unit.trim() {
        "" | "s" | "seconds" => number,
        "m" => number * 60,
        "h" => number * 3_600,
        _ => panic!("{text}"),
    }
}

fn default(key: &Value) -> Option<u64> {
    match key.get("default")? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) if text.starts_with(|c: char| c.is_ascii_digit()) && !text.ends_with('%') => {
            Some(amount(text))
        }
        _ => None,
    }
}

#[test]
fn every_block_is_a_configuration_that_works() {
    let page = page();
    assert!(blocks(&page).count() > 10);
    blocks(&page).for_each(|block| assert_sound(&whole(block)));
}

#[test]
fn the_strategies_are_those_that_there_are() {
    let names: Vec<_> = rows(&page(), "| `strategy` | which backend | when to take it |")
        .iter()
        .map(|row| quoted(&row[0])[0].to_owned())
        .collect();
    assert_eq!(BTreeSet::from_iter(names.clone()), words("Upstream", "strategy"));
    assert_eq!(names[0], keys(&schema(), "Upstream")["strategy"]["default"]);
}

#[test]
fn what_may_become_of_a_request_without_a_backend_is_told() {
    let rows = rows(&page(), "| `on_no_backend` | what becomes of a request | when to take it |");
    let told = rows.iter().map(|row| quoted(&row[0])[0].trim_matches('"').to_owned());
    assert_eq!(BTreeSet::from_iter(told), words("Upstream", "on_no_backend"));
}

#[test]
fn retries_are_those_of_the_table() {
    let (page, header) = (page(), "| request | retries | set by |");
    let snapshot = block_before(&page, header);
    for row in rows(&page, header) {
        let [request, count, by] = &row[..] else { panic!("{row:?}") };
        let retries = forwarded(&snapshot, quoted(request)[0]).retries;
        assert_eq!((u64::from(retries.count), retries.by), (amount(count), Some(author(by))), "{row:?}");
    }
}

#[test]
fn timeouts_are_those_of_the_table() {
    let (page, header) = (page(), "| request | response | set by |");
    let snapshot = block_before(&page, header);
    for row in rows(&page, header) {
        let [request, seconds, by] = &row[..] else { panic!("{row:?}") };
        let timeouts = forwarded(&snapshot, quoted(request)[0]).timeouts;
        let response = timeouts.iter().find(|timeout| timeout.name == "response");
        let found = response.map(|timeout| (timeout.value_ms, timeout.by));
        assert_eq!(found, Some((amount(seconds) * 1_000, author(by))), "{row:?}");
    }
}

#[test]
fn timeouts_have_the_keys_and_defaults_that_are_told() {
    let (page, schema) = (page(), schema());
    let header = page.lines().find(|line| line.starts_with("| what may take so long |")).unwrap();
    for row in rows(&page, header) {
        let of = |table: &str, cell: usize| {
            let key = *quoted(&row[cell]).first()?;
            let keys = keys(&schema, table);
            Some(keys.get(key).unwrap_or_else(|| panic!("{table} has no {key}")).clone())
        };
        let in_file = of("Timeouts", 1).expect("the file has all");
        assert_eq!(default(&in_file), Some(amount(&row[4])), "{row:?}");
        let site_has = keys(&schema, "SiteTimeouts").contains_key(quoted(&row[1])[0]);
        assert_eq!(of("SiteTimeouts", 2).is_some(), site_has, "{row:?}");
        of("UpstreamTimeouts", 3);
    }
}

/// Where a key has a default behind it in parentheses, as in "`retries` (2)", it is its default.
#[test]
fn defaults_are_as_told() {
    let (page, schema) = (page(), schema());
    let mut told = 0;
    for (key, written) in keys(&schema, "Upstream").into_iter().chain(keys(&schema, "Health")) {
        for rest in page.split(&format!("`{key}` (")).skip(1) {
            let amount = amount(rest.split(')').next().unwrap());
            assert_eq!(default(&written), Some(amount), "{key}");
            told += 1;
        }
    }
    assert!(told >= 7, "{told}");
}

#[test]
fn error_codes_are_those_of_the_reference() {
    let (page, reference) = (page(), reference_markdown());
    let codes = |rows: Vec<Vec<String>>| {
        let code = |row: &Vec<String>| (row[0].clone(), quoted(&row[1])[0].to_owned());
        rows.iter().map(code).collect::<BTreeSet<_>>()
    };
    let told = codes(rows(&page, "| status | `code` | what happened | what to do |"));
    let all = codes(rows(&reference, "| status | code | |"));
    assert!(told.is_subset(&all), "{told:?}");
    // The guide to access has those that come before a backend is chosen.
    let of_access = ["auth_unavailable", "files_busy"];
    let of_upstreams = all
        .iter()
        .filter(|(status, code)| matches!(&**status, "502" | "503" | "504") && !of_access.contains(&&**code));
    of_upstreams.for_each(|code| assert!(told.contains(code), "{code:?} is missing"));
}

/// A try fails for the reasons for which backends are ejected, but for a status; and when an idle connection had gone.
#[test]
fn reasons_are_those_of_the_reference() {
    let first = |rows: Vec<Vec<String>>, cell: usize| {
        rows.iter().map(|row| quoted(&row[cell])[0].to_owned()).collect::<BTreeSet<_>>()
    };
    let mut reasons = first(rows(&page(), "| what happened | called | so many in a row eject |"), 1);
    assert!(reasons.remove("status") && reasons.insert("idle_closed".to_owned()));
    assert_eq!(reasons, first(rows(&reference_markdown(), "| `reason` | |"), 0));
}

#[test]
fn the_log_line_has_fields_of_the_reference() {
    let (page, reference) = (page(), reference_markdown());
    let line = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    for field in line.as_object().unwrap().keys() {
        assert!(reference.contains(&format!("`{field}`")), "{field}");
    }
}
