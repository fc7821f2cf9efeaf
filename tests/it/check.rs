//! `ringway check` on what rules can do: warnings, and the list of paths. The problems of files are in `program`.

use crate::harness::output::{stderr, stdout};
use crate::harness::proxy::ringway;
use std::process::Output;

const FILE: &str = r#"[[listeners]]
address = "127.0.0.1:8080"

[[projects]]
name = "base"
rules = [{ name = "health", path = "/health", respond = { status = 204 } }]

[[sites]]
name = "shop"
hosts = ["shop.example", "*.shop.example"]
project = "base"
upstream = "app"

[[sites.rules]]
name = "api"
path = "/api/*"
upstream = "app"

[[sites.rules]]
name = "users"
pattern = '^/api/users/(\d+)$'
upstream = "app"

[[sites.rules]]
name = "json"
path = "*.json"
methods = ["GET"]
ws = false
upstream = "app"

[[rules]]
name = "rest"
path = "/*"
enabled = false
upstream = "app"

[[rules]]
name = "old"
path = "/old/*"
redirect = { to = "/new", status = 308 }

[[upstreams]]
name = "app"
backends = [{ url = "http://127.0.0.1:3000" }]
"#;

fn check(text: &str, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("r.toml"), text).expect("the file is written");
    let mut command = ringway();
    command.current_dir(directory.path()).arg("check").args(arguments).arg("r.toml");
    command.env_remove("RINGWAY_LOG").output().expect("the binary starts")
}

#[test]
fn rules_that_never_win_are_warnings_at_their_places() {
    let output = check(FILE, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stderr(&output);
    for part in [
        "r.toml:21:11",
        "this rule never wins: \"api\" before it already covers all of it",
        "r.toml:26:8",
        "this rule is partly hidden: \"api\" is asked before it and takes GET http://shop.example:8080/api/.json",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let summary = stdout(&output);
    assert!(summary.ends_with("; 2 warnings\n") && summary.lines().count() == 1, "{summary}");
}

#[test]
fn paths_lists_a_shortest_request_of_each_rule() {
    let output = check(FILE, &["--paths"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let listed: Vec<&str> = text.lines().filter(|line| !line.starts_with("  table: ")).collect();
    assert_eq!(
        listed[..listed.len() - 1],
        [
            "site \"shop\" (shop.example, *.shop.example)",
            "  api         /api/*              GET http://shop.example:8080/api  (7 states alone)",
            "  users       ^/api/users/(\\d+)$  never wins: covered by \"api\"  (14 states alone)",
            "  json        GET *.json no ws    GET http://shop.example:8080/.json  (7 states alone)",
            "  (upstream)  *                   GET http://shop.example:8080/",
            "",
            "project \"base\"",
            "  health  /health  GET http://shop.example:8080/health  (9 states alone)",
            "",
            "rules for every site",
            "  rest  /*      disabled",
            "  old   /old/*  GET http://anyhost:8080/old  (7 states alone)",
            "",
        ],
        "{text}"
    );
    assert_eq!(text.matches("  table: ").count(), 3, "{text}");
    assert!(text.contains("  table: 3 rules in ") && text.contains(" states, "), "{text}");
    assert!(listed.last().is_some_and(|last| last.starts_with("r.toml can run: ")), "{text}");
}

#[test]
fn overlaps_lists_pairs_of_rules_with_a_request_of_each_side() {
    let output = check(FILE, &["--overlaps"]);
    let text = stdout(&output);
    let listed: Vec<&str> = text.lines().collect();
    assert_eq!(
        listed[..listed.len() - 1],
        [
            "overlaps of site \"shop\" (shop.example, *.shop.example)",
            "  \"api\" takes GET http://shop.example:8080/api/.json before \"json\", which is left GET \
             http://shop.example:8080/.json",
            "",
        ],
        "{text}"
    );
}

/// One pair more than are told: each of the first rules takes a part of the last one.
#[test]
fn overlaps_that_are_not_listed_are_counted() {
    let rule = |name: &str, path: &str| {
        format!("[[rules]]\nname = \"{name}\"\npath = \"{path}\"\nrespond = {{ status = 204 }}\n")
    };
    let mut text = "[[listeners]]\naddress = \"127.0.0.1:8080\"\n".to_owned();
    text.extend((0..=1_000).map(|index| rule(&format!("r{index}"), &format!("/r{index}/*"))));
    let output = check(&(text + &rule("js", "*.js")), &["--overlaps"]);
    let listed = stdout(&output);
    assert_eq!(listed.matches(" before \"js\", which is left GET ").count(), 1_000, "{listed}");
    assert!(listed.contains("\n  and 1 more\n\n"), "{listed}");
}

#[test]
fn a_file_with_problems_has_no_paths() {
    let output = check(&FILE.replace("path = \"/old/*\"", "path = \"/o*d\""), &["--paths", "--overlaps"]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), String::new()));
    assert!(!stderr(&output).contains("never wins"), "{}", stderr(&output));
}
