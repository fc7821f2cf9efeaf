//! `strip_prefix`: what is taken away of a path, and where there is nothing to take away.

use super::{Stage, pattern, rule};
use crate::harness::backend::Backend;
use crate::harness::config::{Config, Driver};
use crate::harness::on_both_drivers;
use crate::harness::proxy::{Proxy, ringway};
use crate::harness::websocket::{assert_echo, close, connect};

on_both_drivers![
    the_matched_prefix_is_taken_away,
    what_is_left_comes_behind_the_base_path,
    an_exact_path_is_replaced_by_the_targets_own,
    a_catch_all_has_no_prefix,
    a_named_upstream_gets_what_is_left,
    upgrades_lose_the_prefix_as_well,
];

const STRIP: &str = "strip_prefix = true";

/// A rule that strips, with a path behind its target.
fn stripping(path: &str, base: &str) -> String {
    rule(path, path, "to", STRIP).replace("{to}", &format!("{{to}}{base}"))
}

fn the_matched_prefix_is_taken_away(driver: Driver) {
    let stage = Stage::on_one(driver, &(stripping("/api/*", "") + &stripping("/a/b%2F/*", "")));
    for (path, sent) in [
        ("/api/users", "/users"),
        ("/api", "/"),
        ("/api/", "/"),
        ("/api?x=/api", "/?x=/api"),
        ("/api/?", "/?"),
        ("/api/api/api", "/api/api"),
        ("/api//evil.com", "//evil.com"),
        ("/api/%2e%2e%2f", "/%2e%2e%2f"),
        ("/x/../api/./y", "/y"),
        ("/apix", "no_rule"),
        ("/API/x", "no_rule"),
        ("/a/b%2F/c", "/c"),
        ("/a/b%2F", "/"),
    ] {
        assert_eq!(stage.sent(path), sent, "{path}");
    }
}

fn what_is_left_comes_behind_the_base_path(driver: Driver) {
    let stage = Stage::on_one(driver, &(stripping("/n/*", "/v1") + &stripping("/s/*", "/v1/")));
    let paths = ["/n/x", "/n", "/n/", "/n//x", "/s/x?y", "/s", "/s/"];
    let sent = ["/v1/x", "/v1/", "/v1/", "/v1//x", "/v1/x?y", "/v1/", "/v1/"];
    assert_eq!(paths.map(|path| stage.sent(path)), sent);
}

fn an_exact_path_is_replaced_by_the_targets_own(driver: Driver) {
    let list =
        stripping("/health", "/internal/status") + &stripping("/slash", "/dir/") + &stripping("/none", "");
    let list =
        list + &stripping("/root", "/") + &rule("kept", "/kept", "to", "").replace("{to}", "{to}/base");
    let stage = Stage::on_one(driver, &list);
    for (path, sent) in [
        ("/health", "/internal/status"),
        ("/health?deep=1", "/internal/status?deep=1"),
        ("/slash", "/dir/"),
        ("/none?", "/?"),
        ("/root", "/"),
        ("/kept", "/base/kept"),
        ("/health/x", "no_rule"),
    ] {
        assert_eq!(stage.sent(path), sent, "{path}");
    }
}

fn a_catch_all_has_no_prefix(driver: Driver) {
    let stage = Stage::on_one(driver, &stripping("/*", "/v1"));
    assert_eq!(["/", "/x/y", "//x"].map(|path| stage.sent(path)), ["/v1/", "/v1/x/y", "/v1//x"]);
    assert_eq!(stage.ask("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"), "to *");
}

fn a_named_upstream_gets_what_is_left(driver: Driver) {
    let rules = ["/api/*", "/exact"].map(|path| {
        format!("[[rules]]\nname = \"{path}\"\npath = \"{path}\"\nupstream = \"pool\"\n{STRIP}\n")
    });
    let pool = "[[upstreams]]\nname = \"pool\"\nbackends = [{ url = \"{to}\" }]\n";
    let stage = Stage::on_one(driver, &(pool.to_owned() + &rules.concat()));
    assert_eq!(["/api/x?y", "/api", "/exact"].map(|path| stage.sent(path)), ["/x?y", "/", "/"]);
}

fn upgrades_lose_the_prefix_as_well(driver: Driver) {
    let backend = Backend::echoes_messages();
    let text = stripping("/chat/*", "").replace("{to}", &backend.url());
    let proxy = Proxy::start(&Config::new(driver).section(&text));
    let mut socket = connect(&proxy.address(), "/chat/room?id=1");
    assert_echo(&mut socket, "x");
    close(&mut socket);
    assert_eq!(backend.last_head().target(), "/room?id=1");
}

/// Each is refused by `ringway check`, with the place of the key.
#[test]
fn without_a_prefix_it_is_a_problem() {
    let wrong = [
        rule("suffix", "*.json", "to", STRIP),
        pattern("pattern", "^/x", STRIP),
        rule("rewrite", "/x/*", "to", &format!("rewrite = '/y'\n{STRIP}")),
        pattern("both", "^/x", &format!("rewrite = '/y'\n{STRIP}")),
    ];
    for text in wrong {
        let text = Config::new(Driver::Epoll).section(&text.replace("{to}", "http://127.0.0.1:1")).text();
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("r.toml"), &text).expect("the file is written");
        let output =
            ringway().current_dir(directory.path()).args(["check", "r.toml"]).output().expect("it runs");
        let told = String::from_utf8(output.stderr).expect("UTF-8");
        let line = text.lines().position(|line| line.starts_with(STRIP)).expect("the key's line") + 1;
        assert_eq!(output.status.code(), Some(1), "{text}\n{told}");
        assert!(told.contains(&format!("r.toml:{line}:")), "{told}");
    }
}
