//! `pattern`: which requests a rule with a regular expression takes.

use super::{Stage, pattern, rule};
use crate::harness::backend::Backend;
use crate::harness::config::{Config, Driver};
use crate::harness::on_both_drivers;
use crate::harness::proxy::Proxy;
use crate::harness::websocket::{assert_echo, close, connect, handshake};

on_both_drivers![
    a_pattern_is_searched_for,
    a_pattern_sees_the_path_as_it_is_sent,
    the_first_pattern_or_path_wins,
    a_pattern_takes_methods_and_upgrades_as_a_path_does,
    asterisk_meets_no_pattern_of_paths,
    a_pattern_that_is_refused_changes_nothing,
    many_patterns_of_one_list,
];

/// A site for each pattern, `r0` and so on, whose one rule it is.
fn sites(patterns: &[&str]) -> String {
    let site = |(number, pattern): (usize, &&str)| {
        format!(
            "[[sites]]\nname = \"r{number}\"\nhosts = [\"r{number}\"]\n\
             rules = [{{ name = \"it\", pattern = '{pattern}', target = \"{{to}}\" }}]\n"
        )
    };
    patterns.iter().enumerate().map(site).collect()
}

/// Asserts for each pattern which paths it takes and which it does not.
fn assert_taken(driver: Driver, table: &[(&str, &[&str], &[&str])]) {
    let patterns: Vec<_> = table.iter().map(|(pattern, ..)| *pattern).collect();
    let stage = Stage::on_one(driver, &sites(&patterns));
    for (number, (pattern, taken, left)) in table.iter().enumerate() {
        let host = format!("r{number}");
        for path in *taken {
            assert_eq!(stage.get(&host, path), format!("to {path}"), "{pattern} takes {path}");
        }
        for path in *left {
            assert_eq!(stage.get(&host, path), "no_rule", "{pattern} leaves {path}");
        }
    }
    let taken: usize = table.iter().map(|(_, taken, _)| taken.len()).sum();
    assert_eq!(stage.requests(), taken, "requests that reached a backend");
}

fn a_pattern_is_searched_for(driver: Driver) {
    assert_taken(
        driver,
        &[
            ("api", &["/api", "/my/api", "/rapid", "/api?x"], &["/", "/API", "/ap/i", "/x?api"]),
            ("^/api", &["/api", "/apix", "/api/x"], &["/my/api", "/"]),
            (
                r"\.json$",
                &["/a.json", "/.json", "/a.json?x"],
                &["/a.json/", "/ajson", "/a.jsonx", "/a?.json"],
            ),
            ("^/exact$", &["/exact", "/exact?", "/exact?x=1"], &["/exact/", "/exac", "//exact"]),
            (r"^/v(\d+)/(.*)$", &["/v1/", "/v12/x/y", "/v1//"], &["/v/x", "/v1", "/vx/", "/V1/"]),
            ("^/(?:a|bc)/[^/]+$", &["/a/x", "/bc/x.y"], &["/a/", "/a/x/y", "/c/x", "/b/x"]),
            ("^/(?<who>[a-z]{2,3})$", &["/ab", "/abc"], &["/a", "/abcd", "/AB"]),
            ("/a|b$", &["/a", "/ax", "/x/ab", "/b"], &["/bx", "/x"]),
        ],
    );
}

/// Where JavaScript's dialect and others part, and what only a path has.
fn a_pattern_sees_the_path_as_it_is_sent(driver: Driver) {
    assert_taken(
        driver,
        &[
            (r"^\/api\/(\w+)$", &["/api/a_1"], &["/api/a-1", "/api/"]),
            (r"^/[^]$", &["/x", "/$"], &["/", "/xy"]),
            (r"^/[\w-]+\b$", &["/a-b"], &["/a-", "/a.b"]),
            (r"^/\x61\u0062$", &["/ab"], &["/x61"]),
            ("^/%2F", &["/%2Fx"], &["//x", "/%2fx", "/x"]),
            ("^//", &["//x"], &["/x", "/%2Fx"]),
            ("^/[{}|^`\"<>]+$", &["/{}", "/|^`", "/\"<>"], &["/{x}"]),
            ("^/a+?b{2}$", &["/aaabb"], &["/aab", "/bb"]),
        ],
    );
    let stage = Stage::on_one(driver, &pattern("secret", "^/secret(/|$)", ""));
    assert_eq!(stage.sent("/x/../secret/%2e/a"), "/secret/a", "the path that was matched is the one sent");
    assert_eq!(stage.sent("/secret/../x"), "no_rule");
}

fn the_first_pattern_or_path_wins(driver: Driver) {
    let list = [
        ("pattern = '^/a/b'", "one"),
        ("path = \"/a/*\"", "two"),
        ("pattern = '/c$'", "three"),
        ("path = \"*.d\"", "four"),
        ("pattern = ''", "five"),
    ];
    let rule = |(takes, name): &(&str, &str)| {
        format!("[[rules]]\nname = \"{name}\"\n{takes}\ntarget = \"{{to}}/{name}\"\n")
    };
    let stage = Stage::on_one(driver, &list.iter().map(rule).collect::<String>());
    for (path, name) in [
        ("/a/b", "one"),
        ("/a/c", "two"),
        ("/x/c", "three"),
        ("/a/b/c", "one"),
        ("/c.d", "four"),
        ("/x", "five"),
    ] {
        assert_eq!(stage.sent(path), format!("/{name}{path}"));
    }
}

fn a_pattern_takes_methods_and_upgrades_as_a_path_does(driver: Driver) {
    let chat = Backend::echoes_messages();
    let list = pattern("posts", "^/x", "methods = [\"POST\"]") + &pattern("plain", "^/x", "ws = false");
    let list = list + &pattern("chat", "^/x/(.*)", "").replace("{to}", &chat.url());
    let stage = Stage::on_one(driver, &list);
    let ask = |method| stage.ask(&format!("{method} /x/y HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(["POST", "GET", "post"].map(ask), ["to /x/y", "to /x/y", "to /x/y"]);
    let mut socket = connect(&stage.proxy.address(), "/x/y");
    assert_echo(&mut socket, "x");
    close(&mut socket);
    assert_eq!((stage.requests(), chat.requests()), (3, 1));
    assert_eq!(stage.ask(&handshake("/x", "")), "no_rule", "only rules that take upgrades are left");
}

fn asterisk_meets_no_pattern_of_paths(driver: Driver) {
    let ask = "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n";
    let some = ["^/", "^/.*$", "/", "x|/$"].iter().enumerate();
    let some: String = some.map(|(number, text)| pattern(&number.to_string(), text, "")).collect();
    assert_eq!(Stage::on_one(driver, &some).ask(ask), "no_rule");
    let stage = Stage::on_one(driver, &(some + &rule("all", "*", "to", "")));
    assert_eq!(stage.ask(ask), "to *");
}

fn a_pattern_that_is_refused_changes_nothing(driver: Driver) {
    let backend = super::tells("old");
    let old = Config::new(driver).rule("old", "/*", &backend.url());
    let proxy = Proxy::start(&old);
    for (wrong, column) in [("^/a(?=b)", 15), ("^/(a", 14), (r"(a)\1", 15), ("^/[b-a]", 15)] {
        let text = old.clone().section(&pattern("new", wrong, "").replace("{to}", &backend.url())).text();
        let line = text.lines().position(|line| line.starts_with("pattern")).expect("the pattern's line") + 1;
        let mark = proxy.reload_text(&text);
        proxy.log().wait_for(mark, "configuration refused");
        proxy.log().wait_for(mark, &format!("ringway.toml:{line}:{column}"));
        assert_eq!(proxy.client().get("/a").text(), "old /a", "{wrong}");
    }
    proxy.reload(&old);
}

/// Patterns of all kinds beside each other: each of them is still found, in its order.
fn many_patterns_of_one_list(driver: Driver) {
    let text = |number: usize| match number % 4 {
        0 => format!("^/t{number}(/.*)?$"),
        1 => format!("/t{number}/"),
        2 => format!(r"\.t{number}$"),
        _ => format!("^/[a-z]+/t{number}$"),
    };
    let path = |number: usize| match number % 4 {
        0 => format!("/t{number}/x"),
        1 => format!("/x/t{number}/x"),
        2 => format!("/x.t{number}"),
        _ => format!("/abc/t{number}"),
    };
    let rule = |number: usize| {
        let list = pattern(&format!("r{number}"), &text(number), "");
        list.replace("{to}", &format!("{{to}}/r{number}"))
    };
    let stage = Stage::on_one(driver, &(0..400).map(rule).collect::<String>());
    for number in 0..400 {
        assert_eq!(stage.sent(&path(number)), format!("/r{number}{}", path(number)));
    }
}
