//! Paths that need no credentials.

use super::{ALICE, House, basic, rule};
use crate::harness::backend::{Backend, Request};
use crate::harness::backends::response;
use crate::harness::config::Driver;
use crate::harness::on_both_drivers;
use crate::harness::websocket::{assert_echo, close, connect, handshake};

on_both_drivers![
    globs_are_over_the_whole_path,
    all_and_the_methods_own_add_up,
    get_does_not_cover_head,
    the_path_is_the_one_that_rules_match,
    what_backends_read_in_two_ways_is_never_public,
    those_of_the_rule_that_won_count_alone,
    credentials_do_not_matter_there,
    upgrades_are_public_too,
    no_field_leads_from_there_to_another_path_or_method,
];

const ROUTES: &str = "auth = \"staff\"\npublic_routes = { ALL = [\"/api/health\", \"/v?/*.json\"], GET = [\"/api/config/**\"] }";

fn house(driver: Driver) -> House {
    House::new(driver, &rule("all", "/*", ROUTES))
}

#[track_caller]
fn assert_public(house: &House, target: &str) {
    let answer = house.ask("test", target, "");
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
}

#[track_caller]
fn assert_protected(house: &House, target: &str) {
    let before = house.backend.requests();
    house.ask("test", target, "").assert_error(401, "unauthorized");
    assert_eq!(house.backend.requests(), before);
}

fn globs_are_over_the_whole_path(driver: Driver) {
    let house = house(driver);
    for target in [
        "/api/health",
        "/api/health?x=/y",
        "/api/config/",
        "/api/config/a",
        "/api/config/a/b",
        "/v1/.json",
        "/v1/a.json",
    ] {
        assert_public(&house, target);
    }
    for target in [
        "/",
        "/api/health/",
        "/api/healthz",
        "/x/api/health",
        "/api/Health",
        "/API/health",
        "/api/config",
        "//api/health",
        "/api//health",
        "/v/a.json",
        "/v12/a.json",
        "/v//a.json",
        "/v1/a/b.json",
        "/v1/a.json/",
        "/?/api/health",
        "/x?/api/config/a",
    ] {
        assert_protected(&house, target);
    }
}

fn all_and_the_methods_own_add_up(driver: Driver) {
    let house = house(driver);
    let mut client = house.proxy.client();
    let mut status = |method: &str, target: &str| {
        client.ask(format!("{method} {target} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n")).status
    };
    for method in ["GET", "POST", "DELETE", "OPTIONS", "ALL", "get"] {
        assert_eq!(status(method, "/api/health"), 200, "{method}");
    }
    assert_eq!(status("GET", "/api/config/a"), 200);
    for method in ["POST", "DELETE", "OPTIONS", "ALL", "get", "Get", "GETT"] {
        assert_eq!(status(method, "/api/config/a"), 401, "{method}");
    }
}

fn get_does_not_cover_head(driver: Driver) {
    let house = house(driver);
    let mut client = house.proxy.client();
    let mut status = |target: &str| {
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: test\r\n\r\n")).response_to("HEAD").status
    };
    assert_eq!((status("/api/config/a"), status("/api/health")), (401, 200));
}

fn the_path_is_the_one_that_rules_match(driver: Driver) {
    let house = house(driver);
    // Dot segments are gone, and what is public is what the backend gets.
    for (target, sent) in [
        ("/x/../api/health", "/api/health"),
        ("/api/./health", "/api/health"),
        ("/api/config/%2e%2e/health", "/api/health"),
        ("http://test/api/health", "/api/health"),
    ] {
        assert_eq!(house.get("test", target, ""), sent, "{target}");
    }
    for target in [
        "/api/config/../secret",
        "/api/config/%2e%2e/secret",
        "/api/config/..",
        "/api/config/.%2E/../x",
        "/api/health/..",
        "http://test/secret",
    ] {
        assert_protected(&house, target);
    }
}

fn what_backends_read_in_two_ways_is_never_public(driver: Driver) {
    let house = house(driver);
    for inside in [
        "%2f",
        "%2F..%2Fsecret",
        "%5c",
        "%5C..%5csecret",
        "a%2eb",
        "..%2fsecret",
        "%2e%2e%2fsecret",
        "a\\b",
        "..\\secret",
        "\\",
        "..;/secret",
        "..;x=1/secret",
        "..;",
        ".;/x",
        "%252e%252e/secret",
        "a;b",
        "secret;.css",
        "%e4",
        "%e0%80%ae%e0%80%ae/secret",
        "%f0%80%80%ae/secret",
        "%25",
        "a%00",
        "a%0d%0ab",
        "a%3bb",
        "%c0%ae%c0%ae/secret",
        "%C1%9c",
        "a%3fb",
        "a%23b",
        "a%7f",
    ] {
        assert_protected(&house, &format!("/api/config/{inside}"));
    }
    for inside in ["a%20b", "a%c3%a4", "...", "..a", "~", "a%2Db"] {
        assert_public(&house, &format!("/api/config/{inside}"));
    }
    // With credentials they are as good as any.
    assert_eq!(house.get("test", "/api/config/a%2fb", &basic(ALICE)), "/api/config/a%2fb");
}

fn those_of_the_rule_that_won_count_alone(driver: Driver) {
    let open = "auth = \"staff\"\npublic_routes = { ALL = [\"/**\"] }";
    let sections = rule("first", "/first/*", "auth = \"staff\"")
        + &rule("second", "/second/*", open)
        + &rule("third", "/*", "auth = \"machines\"\npublic_routes = { ALL = [\"/first/x\", \"/third/x\"] }");
    let house = House::new(driver, &sections);
    assert_public(&house, "/second/x");
    assert_public(&house, "/third/x");
    for target in ["/first/x", "/third/y", "/second"] {
        match target {
            "/second" => assert_public(&house, target),
            _ => assert_protected(&house, target),
        }
    }
}

fn credentials_do_not_matter_there(driver: Driver) {
    let house = house(driver);
    for lines in [
        &*basic(("alice", "wrong")),
        &basic(ALICE),
        "Authorization: Basic x\r\n",
        "Authorization: Bearer x\r\n",
    ] {
        assert_eq!(house.get("test", "/api/health", lines), "/api/health");
    }
}

fn upgrades_are_public_too(driver: Driver) {
    let routes = "auth = \"staff\"\npublic_routes = { GET = [\"/chat\"] }";
    let house = House::with(Backend::echoes_messages(), driver, &rule("all", "/*", routes));
    let mut socket = connect(&house.proxy.address(), "/chat");
    assert_echo(&mut socket, "hello");
    close(&mut socket);
    house.proxy.client().ask(handshake("/other", "")).assert_error(401, "unauthorized");
}

fn no_field_leads_from_there_to_another_path_or_method(driver: Driver) {
    let told = |request: &Request| response("200 OK", "", &request.head.raw.to_ascii_lowercase());
    let house = House::with(Backend::answers(told), driver, &rule("all", "/*", ROUTES));
    let lines = "X-Original-URL: /admin\r\nx_original_url: /admin\r\nX-Rewrite-Url: /admin\r\nX-Original-URI: /admin\r\n\
                 X-HTTP-Method-Override: DELETE\r\nX_HTTP_Method_Override: DELETE\r\nX-HTTP-Method: DELETE\r\n\
                 X-Method-Override: DELETE\r\nX-Original-Urls: kept\r\n";
    let public = house.ask("test", "/api/health", lines).text();
    assert!(public.contains("x-original-urls: kept"), "{public}");
    for name in ["original_url", "original-url:", "original-uri", "rewrite", "method"] {
        assert!(!public.contains(name), "{name}: {public}");
    }
    // Who may come in may say what it likes.
    let own = house.ask("test", "/other", &format!("{}{lines}", basic(ALICE))).text();
    assert!(
        own.contains("x-original-url: /admin") && own.contains("x-http-method-override: delete"),
        "{own}"
    );
}
