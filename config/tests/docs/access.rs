//! docs/access.md.

use ringway_config::reference_markdown;

use super::{LISTENER, assert_sound, blocks, expect, quoted, rows};

fn page() -> String {
    super::page("access.md")
}

#[test]
fn every_block_is_a_configuration_that_does_what_it_says() {
    let page = page();
    assert!(blocks(&page).count() > 7);
    for block in blocks(&page) {
        let has_listener = block.contains("[[listeners]]");
        assert_sound(&if has_listener { block.to_owned() } else { format!("{LISTENER}{block}") });
        assert!(block.contains("[[expect]]"), "it shows nothing:\n{block}");
    }
}

#[test]
fn error_codes_are_those_of_the_reference() {
    let reference = rows(&reference_markdown(), "| status | code | |");
    for row in rows(&page(), "| status | `code` | what happened | what to do |") {
        let is_same = |known: &&Vec<String>| known[..2] == row[..2];
        assert!(reference.iter().any(|known| is_same(&known)), "{row:?}");
    }
}

/// Every spelling that the page says is never public, behind a glob that would take it.
#[test]
fn what_could_be_read_in_two_ways_is_never_public() {
    let page = page();
    let (_, told) = page.split_once("A path is never public when").expect("the sentence");
    let told = told.split("\n\n").next().unwrap();
    let spellings: Vec<_> = quoted(told).into_iter().filter(|text| *text != "%").collect();
    assert!(spellings.len() >= 9, "{spellings:?}");
    let rules = "[[auth]]\nname = \"staff\"\ntype = \"bearer\"\ntokens = { a = \"0123456789abcdef\" }\n\
                 [[rules]]\nname = \"r\"\npath = \"*\"\ntarget = \"http://127.0.0.1:3000\"\nauth = \"staff\"\n\
                 public_routes = { ALL = [\"/open/**\"] }\n";
    let open = expect("/open/a", "auth = false");
    let path = |text: &&str| format!("/open/b{}a", text.replace('\\', "\\\\"));
    let closed = spellings.iter().map(|text| expect(&path(text), "auth = \"staff\""));
    assert_sound(&format!("{LISTENER}{rules}{open}{}", closed.collect::<String>()));
}
