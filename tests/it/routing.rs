//! Which site and which rule, through the real program: the tables of the specification, and 10,000 rules.

use crate::harness::backend::Backend;
use crate::harness::backends::response;
use crate::harness::client::{Client, Response};
use crate::harness::config::{Config, Driver};
use crate::harness::on_both_drivers;
use crate::harness::proxy::Proxy;

on_both_drivers![
    sites_by_host,
    sites_by_listener,
    sites_by_path_prefix,
    the_longer_wildcard_wins,
    a_wildcard_tells_its_tenant,
    ip_literals_are_hosts,
    rules_of_a_site_come_before_those_of_every_site,
    each_kind_of_path,
    the_first_rule_that_fits_wins,
    methods_take_part,
    a_disabled_rule_takes_no_part,
    the_path_is_matched_and_sent_in_one_form,
    a_base_path_goes_in_front,
    without_host_only_catch_all_sites_answer,
    options_asterisk_meets_catch_all_rules,
    ten_thousand_rules,
];

/// A backend that answers with the request line that it got and a tenant, if it was told one.
fn reports() -> Backend {
    Backend::answers(|request| {
        let tenant = request.head.fields.get("x-vhost-tenant").unwrap_or("-");
        let text = format!("{} {} {tenant}", request.head.method(), request.head.target());
        response("200 OK", "", text.as_bytes())
    })
}

/// A proxy with one backend, where each rule puts its name in front of the path as a base path.
struct Stage {
    proxy: Proxy,
    _backend: Backend,
}

impl Stage {
    /// `sections` name the backend as `{to}`.
    fn new(driver: Driver, listeners: &[&str], sections: &str) -> Self {
        let backend = reports();
        let config =
            Config::new(driver).listeners(listeners).section(&sections.replace("{to}", &backend.url()));
        Stage { proxy: Proxy::start(&config), _backend: backend }
    }

    fn on_one(driver: Driver, sections: &str) -> Self {
        Stage::new(driver, &["127.0.0.1:0"], sections)
    }

    /// `GET path` for `host`: what the backend reports, or the error's code.
    fn get(&self, host: &str, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    }

    fn ask(&self, request: &str) -> String {
        told(&self.proxy.client().ask(request))
    }
}

fn told(answer: &Response) -> String {
    if answer.status == 200 { answer.text() } else { answer.json("code") }
}

fn site(name: &str, hosts: &str, more: &str) -> String {
    format!(
        "[[sites]]\nname = \"{name}\"\nhosts = {hosts}\n{more}\nrules = [{{ name = \"all\", path = \"/*\", target = \"{{to}}/{name}\" }}]\n"
    )
}

fn sites_by_host(driver: Driver) {
    let sites = site("exact", r#"["sked.ly"]"#, "")
        + &site("wild", r#"["*.sked.ly"]"#, "")
        + &site("admin", r#"["admin.sked.ly"]"#, "");
    let stage = Stage::on_one(driver, &sites);
    let table = [
        ("sked.ly", "GET /exact/ -"),
        ("admin.sked.ly", "GET /admin/ -"),
        ("tenant1.sked.ly:8000", "GET /wild/ tenant1"),
        ("TENANT1.SKED.LY.", "GET /wild/ tenant1"),
        ("us.t1.sked.ly", "GET /wild/ us.t1"),
        ("tenant1.sked.ly.evil.com", "no_site"),
        ("notsked.ly", "no_site"),
    ];
    for (host, expected) in table {
        assert_eq!(stage.get(host, "/").to_lowercase(), expected.to_lowercase(), "{host}");
    }
}

fn sites_by_listener(driver: Driver) {
    let listeners = "[[listeners]]\nname = \"one\"\naddress = \"127.0.0.1:0\"\n[[listeners]]\nname = \"two\"\naddress = \"127.0.0.2:0\"\n";
    let sites = site("first", r#"["*"]"#, "listeners = [\"one\"]")
        + &site("second", r#"["*"]"#, "listeners = [\"two\"]");
    let stage = Stage::new(driver, &[], &(listeners.to_owned() + &sites));
    let paths = stage.proxy.addresses().iter().map(|address| told(&Client::connect(address).get("/")));
    assert_eq!(paths.collect::<Vec<_>>(), ["GET /first/ -", "GET /second/ -"]);
}

fn sites_by_path_prefix(driver: Driver) {
    let host = r#"["a"]"#;
    let sites = site("rest", host, "")
        + &site("admin", host, "path_prefix = \"/admin\"")
        + &site("deep", host, "path_prefix = \"/admin/deep\"")
        + &site("only", r#"["b"]"#, "path_prefix = \"/only\"")
        + &site("star", r#"["*"]"#, "");
    let stage = Stage::on_one(driver, &sites);
    assert_eq!(stage.get("a", "/admin"), "GET /admin/admin -");
    assert_eq!(stage.get("a", "/admin/x"), "GET /admin/admin/x -");
    assert_eq!(stage.get("a", "/admin/deep/x"), "GET /deep/admin/deep/x -");
    assert_eq!(stage.get("a", "/administrator"), "GET /rest/administrator -");
    assert_eq!(stage.get("b", "/only/x"), "GET /only/only/x -");
    assert_eq!(stage.get("b", "/other"), "GET /star/other -", "the next best host");
}

fn the_longer_wildcard_wins(driver: Driver) {
    let sites = site("wide", r#"["*.sked.ly"]"#, "") + &site("eu", r#"["*.eu.sked.ly"]"#, "");
    let stage = Stage::on_one(driver, &sites);
    assert_eq!(stage.get("a.eu.sked.ly", "/"), "GET /eu/ a");
    assert_eq!(stage.get("eu.sked.ly", "/"), "GET /wide/ eu");
}

fn a_wildcard_tells_its_tenant(driver: Driver) {
    let stage = Stage::on_one(driver, &site("wild", r#"["*.sked.ly"]"#, ""));
    let request = "GET / HTTP/1.1\r\nHost: mine.sked.ly\r\nX-Vhost-Tenant: yours\r\n\r\n";
    assert_eq!(stage.ask(request), "GET /wild/ mine", "a client cannot say whose it is");
}

fn ip_literals_are_hosts(driver: Driver) {
    let sites = site("four", r#"["192.0.2.1"]"#, "") + &site("six", r#"["[2001:db8::1]"]"#, "");
    let stage = Stage::on_one(driver, &sites);
    assert_eq!(stage.get("192.0.2.1:8080", "/"), "GET /four/ -");
    assert_eq!(stage.get("[2001:db8::1]:8080", "/"), "GET /six/ -");
    assert_eq!(stage.get("192.0.2.2", "/"), "no_site");
}

fn rules_of_a_site_come_before_those_of_every_site(driver: Driver) {
    let sections = "[[rules]]\nname = \"global\"\npath = \"/*\"\ntarget = \"{to}/global\"\n\
                    [[sites]]\nname = \"s\"\nhosts = [\"a\"]\nrules = [{ name = \"own\", path = \"/own/*\", target = \"{to}/site\" }]\n";
    let stage = Stage::on_one(driver, sections);
    assert_eq!(stage.get("a", "/own/x"), "GET /site/own/x -");
    assert_eq!(stage.get("a", "/other"), "GET /global/other -");
    assert_eq!(stage.get("b", "/own/x"), "GET /global/own/x -");
}

/// Rules in this order, each with a base path that is its name.
fn rules(list: &[(&str, &str, &str)]) -> String {
    let one = |(name, path, more): &(&str, &str, &str)| {
        format!("[[rules]]\nname = \"{name}\"\npath = \"{path}\"\ntarget = \"{{to}}/{name}\"\n{more}\n")
    };
    list.iter().map(one).collect()
}

fn each_kind_of_path(driver: Driver) {
    let list = [("exact", "/graphql", ""), ("prefix", "/api/*", ""), ("suffix", "*.json", "")];
    let stage = Stage::on_one(driver, &rules(&list));
    let table = [
        ("/graphql", "GET /exact/graphql -"),
        ("/graphql?q=1", "GET /exact/graphql?q=1 -"),
        ("/graphql/", "no_rule"),
        ("/GraphQL", "no_rule"),
        ("/api", "GET /prefix/api -"),
        ("/api/", "GET /prefix/api/ -"),
        ("/api/x/y.json", "GET /prefix/api/x/y.json -"),
        ("/apix", "no_rule"),
        ("/a/b.json", "GET /suffix/a/b.json -"),
        ("/a/b.json/", "no_rule"),
        ("/", "no_rule"),
    ];
    for (path, expected) in table {
        // Without any site there is no host to be wrong about.
        assert_eq!(stage.get("any", path), expected, "{path}");
    }
}

fn the_first_rule_that_fits_wins(driver: Driver) {
    let list = [("one", "/a/b/*", ""), ("two", "/a/*", ""), ("three", "/a/b/c", ""), ("four", "*", "")];
    let stage = Stage::on_one(driver, &rules(&list));
    let paths = ["/a/b/c", "/a/c", "/x"].map(|path| stage.get("any", path));
    assert_eq!(paths, ["GET /one/a/b/c -", "GET /two/a/c -", "GET /four/x -"]);
}

fn methods_take_part(driver: Driver) {
    let list = [("read", "/*", "methods = [\"GET\"]"), ("write", "/*", "methods = [\"POST\", \"PURGE\"]")];
    let stage = Stage::on_one(driver, &rules(&list));
    let ask = |method| stage.ask(&format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(
        ["GET", "POST", "PURGE", "PUT"].map(ask),
        ["GET /read/ -", "POST /write/ -", "PURGE /write/ -", "no_rule"]
    );
    let mut client = stage.proxy.client();
    let head = client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").response_to("HEAD");
    assert_eq!(head.status, 404, "GET does not cover HEAD");
}

fn a_disabled_rule_takes_no_part(driver: Driver) {
    let list = [("off", "/*", "enabled = false"), ("on", "/*", "")];
    let stage = Stage::on_one(driver, &rules(&list));
    assert_eq!(stage.get("any", "/"), "GET /on/ -");
}

fn the_path_is_matched_and_sent_in_one_form(driver: Driver) {
    let list = [("secret", "/secret/*", ""), ("rest", "/*", "")];
    let stage = Stage::on_one(driver, &rules(&list));
    let table = [
        ("/x/../secret/a", "GET /secret/secret/a -"),
        ("/x/%2e%2E/secret/a", "GET /secret/secret/a -"),
        ("/./secret", "GET /secret/secret -"),
        ("//secret/a", "GET /rest//secret/a -"),
        ("/%73ecret/a", "GET /rest/%73ecret/a -"),
        ("/secret%2Fa", "GET /rest/secret%2Fa -"),
        ("/rest?/../secret", "GET /rest/rest?/../secret -"),
    ];
    for (path, expected) in table {
        assert_eq!(stage.get("any", path), expected, "{path}");
    }
}

fn a_base_path_goes_in_front(driver: Driver) {
    let sections = "[[rules]]\nname = \"slash\"\npath = \"/s/*\"\ntarget = \"{to}/v1/\"\n\
                    [[rules]]\nname = \"root\"\npath = \"/r/*\"\ntarget = \"{to}/\"\n";
    let stage = Stage::on_one(driver, sections);
    assert_eq!(stage.get("any", "/s/x?q=/../"), "GET /v1/s/x?q=/../ -");
    assert_eq!(stage.get("any", "/r//x"), "GET /r//x -");
}

fn without_host_only_catch_all_sites_answer(driver: Driver) {
    let named = Stage::on_one(driver, &site("named", r#"["a"]"#, ""));
    assert_eq!(named.ask("GET / HTTP/1.0\r\n\r\n"), "no_site");
    assert_eq!(named.ask("GET / HTTP/1.0\r\nHost: a\r\n\r\n"), "GET /named/ -");
    let star = Stage::on_one(driver, &(site("named", r#"["a"]"#, "") + &site("star", r#"["*"]"#, "")));
    assert_eq!(star.ask("GET / HTTP/1.0\r\n\r\n"), "GET /star/ -");
    let rule = Stage::on_one(driver, &rules(&[("rule", "/*", "")]));
    assert_eq!(rule.ask("GET / HTTP/1.0\r\n\r\n"), "GET /rule/ -");
}

fn options_asterisk_meets_catch_all_rules(driver: Driver) {
    let request = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";
    let stage = Stage::on_one(driver, "[[rules]]\nname = \"all\"\npath = \"*\"\ntarget = \"{to}\"\n");
    assert_eq!(stage.ask(request), "OPTIONS * -");
    let stage = Stage::on_one(driver, &rules(&[("some", "/api/*", ""), ("json", "*.json", "")]));
    assert_eq!(stage.ask(request), "no_rule");
}

const RULES: usize = 10_000;

/// The path of rule `number`, exact, by prefix, and now and then by suffix; and one that meets it and no other.
fn pattern_and_path(number: usize) -> (String, String) {
    match number {
        _ if number % 500 == 7 => (format!("*.r{number}"), format!("/any/thing.r{number}")),
        _ if number.is_multiple_of(2) => (format!("/exact/{number}/end"), format!("/exact/{number}/end")),
        _ => (format!("/tenants/t{number}/api/*"), format!("/tenants/t{number}/api/v1/x")),
    }
}

/// Each rule's own path meets that rule. (How fast such a file compiles is measured on an optimised build.)
fn ten_thousand_rules(driver: Driver) {
    let rule = |number| {
        let (name, (path, _)) = (format!("r{number}"), pattern_and_path(number));
        format!("[[rules]]\nname = \"{name}\"\npath = \"{path}\"\ntarget = \"{{to}}/{name}\"\n")
    };
    let stage = Stage::on_one(driver, &(0..RULES).map(rule).collect::<String>());
    let mut client = stage.proxy.client();
    for number in 0..RULES {
        let (_, path) = pattern_and_path(number);
        assert_eq!(client.get(&path).text(), format!("GET /r{number}{path} -"));
    }
}
