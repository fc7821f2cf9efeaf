//! `change_origin`: Host and Origin that a backend sees.

use super::{Stage, rule};
use crate::harness::backend::Backend;
use crate::harness::config::{Config, Driver};
use crate::harness::on_both_drivers;
use crate::harness::proxy::Proxy;
use crate::harness::websocket::handshake;

on_both_drivers![
    host_and_origin_stay_as_they_came,
    host_and_origin_become_the_backends,
    each_backend_gets_its_own_host,
    upgrades_change_their_origin,
    a_host_that_is_set_comes_after,
];

const LINES: &str = "Origin: https://app.test\r\nX-Last: 1\r\n";

fn host_and_origin_stay_as_they_came(driver: Driver) {
    let stage = Stage::on_one(driver, &rule("all", "/*", "to", ""));
    let head = stage.head_of(&format!("GET / HTTP/1.1\r\nHost: Test:81\r\n{LINES}\r\n"));
    let values = ["host", "origin", "x-forwarded-host"].map(|name| head.fields.get(name).unwrap());
    assert_eq!(values, ["Test:81", "https://app.test", "Test:81"]);
}

fn host_and_origin_become_the_backends(driver: Driver) {
    let stage = Stage::on_one(driver, &rule("all", "/*", "to", "change_origin = true"));
    let authority = stage.backends[0].address().to_string();
    let origin = format!("http://{authority}");
    for request in ["GET / HTTP/1.1\r\nHost: Test:81\r\n", "GET http://Test:81/ HTTP/1.1\r\nHost: x\r\n"] {
        let head = stage.head_of(&format!("{request}{LINES}\r\n"));
        let values =
            ["host", "origin", "x-forwarded-host", "x-last"].map(|name| head.fields.get(name).unwrap());
        assert_eq!(values, [authority.as_str(), &origin, "Test:81", "1"]);
        let head = stage.head_of(&format!("{request}\r\n"));
        assert_eq!((head.fields.get("host"), head.fields.get("origin")), (Some(&*authority), None));
    }
    let head = stage.head_of("GET / HTTP/1.0\r\nOrigin: null\r\n\r\n");
    assert_eq!((head.fields.get("host"), head.fields.get("origin")), (Some(&*authority), Some(&*origin)));
    let twice = stage.head("/", "Origin: a\r\nOrigin: b\r\n");
    assert_eq!(twice.fields.all("origin"), [origin], "all of them are replaced");
    let named = stage.head("/", "Connection: host, origin\r\nOrigin: a\r\n").fields;
    assert_eq!((named.get("host"), named.get("origin")), (Some(&*authority), None), "hop-by-hop comes first");
}

fn each_backend_gets_its_own_host(driver: Driver) {
    let backends = [Backend::says("one"), Backend::says("two")];
    let urls = backends.each_ref().map(Backend::url);
    let config = Config::new(driver).upstream("pool", &urls).rule_to("all", "/*", "pool");
    let proxy = Proxy::start(&config.section("change_origin = true"));
    let mut client = proxy.client();
    assert!((0..4).all(|_| client.get("/").status == 200));
    for backend in &backends {
        assert_eq!(backend.last_head().fields.get("host"), Some(&*backend.address().to_string()));
        assert_eq!(backend.requests(), 2);
    }
}

fn upgrades_change_their_origin(driver: Driver) {
    let backend = Backend::echoes_messages();
    let text = rule("all", "/*", "to", "change_origin = true").replace("{to}", &backend.url());
    let proxy = Proxy::start(&Config::new(driver).section(&text));
    assert_eq!(proxy.client().send(handshake("/", LINES)).head().status(), 101);
    let fields = backend.last_head().fields;
    assert_eq!(fields.get("host"), Some(&*backend.address().to_string()));
    assert_eq!(fields.get("origin"), Some(&*backend.url()));
    assert_eq!(fields.get("x-forwarded-host"), Some("test"));
}

/// Forwarded fields, then change_origin, then the site, then the rule: a later one wins.
fn a_host_that_is_set_comes_after(driver: Driver) {
    let rule = |name: &str, more: &str| {
        format!(
            "{{ name = \"{name}\", path = \"/{name}\", target = \"{{to}}\", change_origin = true{more} }}"
        )
    };
    let rules = [
        rule("site", ""),
        rule("rule", ", headers = { Host = \"of.rule\", Origin = \"http://of.rule\" }"),
        rule("less", ", request_headers = { remove = [\"Origin\"] }"),
    ];
    let site = format!(
        "[[sites]]\nname = \"s\"\nhosts = [\"*\"]\n\
         headers = {{ host = \"of.site:81\", origin = \"http://of.site\" }}\nrules = [{}]\n",
        rules.join(", ")
    );
    let stage = Stage::on_one(driver, &site);
    let seen = |path: &str| {
        let head = stage.head(path, LINES);
        ["host", "origin", "x-forwarded-host"].map(|name| head.fields.get(name).unwrap_or("-").to_owned())
    };
    assert_eq!(seen("/site"), ["of.site:81", "http://of.site", "test"]);
    assert_eq!(seen("/rule"), ["of.rule", "http://of.rule", "test"]);
    assert_eq!(seen("/less"), ["of.site:81", "-", "test"]);
    let head = stage.head_of("GET /rule HTTP/1.0\r\n\r\n");
    assert_eq!(
        (head.fields.get("host"), head.fields.get("origin")),
        (Some("of.rule"), Some("http://of.rule"))
    );
}
