//! `forward_credentials`: which of a client's credentials go on to the backend.

use super::{ALICE, CI, House, basic, rule};
use crate::harness::backend::Backend;
use crate::harness::config::Driver;
use crate::harness::message::Fields;
use crate::harness::on_both_drivers;
use crate::harness::websocket::handshake;

on_both_drivers![
    auto_keeps_what_ringway_itself_looks_at,
    auto_lets_everything_else_pass,
    auto_holds_on_public_paths,
    true_lets_everything_pass,
    false_lets_nothing_pass,
    what_the_rule_sets_is_sent,
    a_handshake_is_a_request,
];

const COOKIE: &str = "Cookie: session=1\r\n";

/// What the backend got of a request for `target` with these lines.
#[track_caller]
fn sent(house: &House, target: &str, lines: &str) -> Fields {
    let answer = house.ask("test", target, lines);
    assert_eq!(answer.status, 200, "{}", answer.text());
    house.backend.last_head().fields
}

fn auto_keeps_what_ringway_itself_looks_at(driver: Driver) {
    for lines in ["", "forward_credentials = \"auto\""] {
        let house = House::behind("staff", driver, lines);
        let fields = sent(&house, "/x", &format!("{}{COOKIE}", basic(ALICE)));
        assert!(!fields.has("authorization"));
        assert_eq!(fields.get("cookie"), Some("session=1"));
        let house = House::behind("machines", driver, lines);
        let fields = sent(
            &house,
            "/x",
            &format!("{COOKIE}{}", CI.replace("Authorization: Bearer", "AUTHORIZATION: bEARER")),
        );
        assert!(!fields.has("authorization"));
        assert_eq!(fields.get("cookie"), Some("session=1"));
    }
}

fn auto_lets_everything_else_pass(driver: Driver) {
    // Nobody here looks at it.
    let house = House::new(driver, &rule("all", "/*", ""));
    assert_eq!(sent(&house, "/x", CI).get("authorization"), Some("Bearer ci-token-0123456789"));
    let sites = "[[sites]]\nname = \"a\"\nhosts = [\"*\"]\nauth = \"machines\"\n\
                 [[sites.rules]]\nname = \"open\"\npath = \"/open\"\ntarget = \"{to}\"\nauth = false\n\
                 [[sites.rules]]\nname = \"public\"\npath = \"/public\"\ntarget = \"{to}\"\npublic_routes = { ALL = [\"/public\"] }\n";
    let house = House::new(driver, sites);
    assert!(sent(&house, "/open", CI).has("authorization"));
    // Of another scheme than the provider's.
    assert!(sent(&house, "/public", &basic(ALICE)).has("authorization"));
}

fn auto_holds_on_public_paths(driver: Driver) {
    let house = House::behind("staff", driver, "public_routes = { ALL = [\"/public\"] }");
    for line in [basic(ALICE), basic(("alice", "wrong")), "Authorization: basic\r\n".to_owned()] {
        assert!(!sent(&house, "/public", &line).has("authorization"), "{line}");
    }
    // None of several, if one of them is Ringway's.
    let several = format!("Authorization: Bearer x\r\n{}", basic(ALICE));
    assert!(!sent(&house, "/public", &several).has("authorization"));
}

fn true_lets_everything_pass(driver: Driver) {
    let house =
        House::behind("staff", driver, "forward_credentials = true\npublic_routes = { ALL = [\"/public\"] }");
    for target in ["/x", "/public"] {
        let line = basic(ALICE);
        let fields = sent(&house, target, &format!("{line}{COOKIE}"));
        assert_eq!(fields.get("authorization"), line.trim_end().strip_prefix("Authorization: "));
        assert_eq!(fields.get("cookie"), Some("session=1"));
    }
}

fn false_lets_nothing_pass(driver: Driver) {
    let lines = "forward_credentials = false\npublic_routes = { ALL = [\"/public\"] }";
    let house = House::behind("staff", driver, lines);
    for target in ["/x", "/public"] {
        let fields = sent(&house, target, &format!("{COOKIE}{}{COOKIE}X-Other: 1\r\n", basic(ALICE)));
        assert!(!fields.has("authorization") && !fields.has("cookie") && fields.has("x-other"), "{fields:?}");
    }
    let house = House::new(driver, &rule("all", "/*", "forward_credentials = false"));
    let fields = sent(&house, "/x", &format!("{COOKIE}{CI}cookie: b=2\r\n"));
    assert!(!fields.has("authorization") && !fields.has("cookie"), "{fields:?}");
}

fn what_the_rule_sets_is_sent(driver: Driver) {
    let headers = "headers = { Authorization = \"Bearer backend\", Cookie = \"backend=1\" }";
    let edits = "request_headers = { set = { Authorization = \"Bearer backend\", Cookie = \"backend=1\" } }";
    for set in [headers, edits] {
        for forward in ["false", "\"auto\"", "true"] {
            let house = House::behind("machines", driver, &format!("{set}\nforward_credentials = {forward}"));
            let fields = sent(&house, "/x", &format!("{CI}{COOKIE}"));
            assert_eq!(fields.get("authorization"), Some("Bearer backend"), "{set} {forward}");
            assert_eq!(fields.get("cookie"), Some("backend=1"), "{set} {forward}");
        }
    }
}

fn a_handshake_is_a_request(driver: Driver) {
    for (forward, passes) in [("\"auto\"", false), ("true", true), ("false", false)] {
        let lines = format!("auth = \"staff\"\nforward_credentials = {forward}");
        let house = House::with(Backend::says_hello(), driver, &rule("all", "/*", &lines));
        assert_eq!(house.proxy.client().ask(handshake("/", &basic(ALICE))).status, 200);
        assert_eq!(house.backend.last_head().fields.has("authorization"), passes, "{forward}");
    }
}
