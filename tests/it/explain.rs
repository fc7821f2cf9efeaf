//! `ringway explain` and expectations: what is told is what happens, and a change that breaks an expectation is none.

use crate::harness::backend::Backend;
use crate::harness::client::Response;
use crate::harness::config::{Config, Driver};
use crate::harness::message::Head;
use crate::harness::on_both_drivers;
use crate::harness::proxy::{Proxy, ringway};
use serde_json::Value;
use std::process::Output;

on_both_drivers![what_is_explained_is_what_happens, a_change_that_breaks_an_expectation_is_refused];

/// Runs `explain` on a file of this text.
fn explain(text: &str, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("ringway.toml"), text).expect("the file is written");
    let mut command = ringway();
    command.current_dir(directory.path()).arg("explain").args(arguments).env_remove("RINGWAY_LOG");
    command.output().expect("the binary starts")
}

#[track_caller]
fn explained(text: &str, arguments: &[&str]) -> String {
    let output = explain(text, arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The exit code, and what stderr says.
fn refused(text: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let output = explain(text, arguments);
    assert!(output.stdout.is_empty());
    (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
}

const SHOP: &str = r#"
[[listeners]]
name = "public"
address = "127.0.0.1:8080"

[[upstreams]]
name = "app"
backends = [{ url = "http://127.0.0.1:3000" }, { url = "http://app.internal" }]

[[sites]]
name = "shop"
hosts = ["*.shop.test"]
project = "team"
upstream = "app"
headers = { "X-Env" = "shop", "X-Api-Key" = "${HOME}" }

[[sites.rules]]
name = "off"
path = "/*"
enabled = false
respond = { status = 410 }

[[sites.rules]]
name = "things"
description = "the second version"
pattern = '^/api/(?<kind>\w+)/(\d+)(/.*)?$'
methods = ["GET", "POST"]
target = "http://api.internal:8080/base"
rewrite = "/v2/${kind}/$2"
change_origin = true
timeout = "1500ms"
max_request_body = "1KiB"
request_headers = { set = { "X-Env" = "things" }, remove = ["Cookie"] }
response_headers = { set = { "X-Frame-Options" = "DENY" } }

[[sites]]
name = "admin"
hosts = ["a.shop.test"]
path_prefix = "/admin"
rules = [{ name = "gone", path = "/admin/old", redirect = { to = "/admin", status = 301 } }]

[[projects]]
name = "team"
rules = [{ name = "api", path = "/api/*", ws = false, upstream = "app" }]
"#;

#[test]
fn a_request_that_is_forwarded() {
    let told = explained(SHOP, &["http://A.shop.test:8080/x/../api/things/12?q=1"]);
    let expected = r#"request    GET /api/things/12?q=1 of A.shop.test
           its path came as /x/../api/things/12
listener   public (127.0.0.1:8080)
site       shop: its host *.shop.test takes this one, tenant "a"
           not admin (a.shop.test/admin): the path is not under /admin

rules of site "shop"
     1  off     /*                                         disabled
  => 2  things  ^/api/(?<kind>\w+)/(\d+)(/.*)?$  GET POST  wins

rules of project "team"
     1  api  /api/*  no ws  comes later

rules of [[rules]]: not asked, since the site has an upstream of its own and not inherit_global

the own upstream of site "shop"
     1  (upstream)  *  comes later

winner     things, rule 2 of site "shop"
           the second version
groups     $1 ${kind} = "things"
           $2 = "12"
           $3 took no part
sent       GET /base/v2/things/12?q=1
Host       api.internal:8080  (the backend's own)
upstream   http://api.internal:8080
sets       X-Forwarded-For, X-Real-IP, X-Forwarded-Proto, X-Forwarded-Host, Origin, x-vhost-tenant
request    set    X-Api-Key: ***  (site)
           set    X-Env: shop  (site, changed again below)
           set    X-Env: things  (rule)
           remove cookie  (rule)
response   set    X-Frame-Options: DENY  (rule)
timeouts   response = 1500ms  (rule)
body       at most 1024 bytes  (rule)
"#;
    assert!(told == expected, "{told}");
}

#[test]
fn requests_that_are_answered() {
    let answer = |arguments: &[&str]| {
        let told = explained(SHOP, arguments);
        told.lines()
            .find_map(|line| line.strip_prefix("answer     "))
            .unwrap_or_else(|| panic!("{told}"))
            .to_owned()
    };
    assert_eq!(answer(&["http://a.shop.test/admin/old"]), "301, Location: /admin");
    assert_eq!(answer(&["http://a.shop.test/admin"]), "404 no_rule: no rule takes this request");
    let none = "404 no_site: no site has this host, and there are no enabled rules for every site";
    assert_eq!(answer(&["http://other.test"]), none);
    assert_eq!(answer(&["--method", "POST", "--listener", "public", "http://other.test"]), none);
    assert!(
        explained(SHOP, &["--ws", "http://b.shop.test/api"]).contains("/api/*  no ws  takes no WebSocket\n")
    );
}

#[test]
fn long_lists_show_what_is_near_and_count_the_rest() {
    let rule = |number: usize| {
        let methods = if number == 100 { "methods = [\"POST\"]" } else { "" };
        let enabled = number % 10 != 3;
        format!(
            "[[rules]]\nname = \"r{number}\"\npath = \"/{number}/*\"\nenabled = {enabled}\nrespond = {{ status = 200 }}\n{methods}\n"
        )
    };
    let rules: String = (1..=250).map(rule).collect();
    let last = "[[rules]]\nname = \"any\"\npath = \"/100/*\"\nrespond = { status = 404 }\n";
    let text = format!("[[listeners]]\naddress = \"127.0.0.1:1\"\n{rules}{last}");
    let told = explained(&text, &["http://h/100/x"]);
    let list: Vec<_> = told
        .lines()
        .skip_while(|line| !line.starts_with("rules"))
        .take_while(|line| !line.is_empty())
        .collect();
    let expected = [
        "rules of [[rules]]",
        "     … 89 rules whose path does not match, 10 rules disabled",
        "     100  r100  /100/*  POST  not for this method",
        "     … 133 rules whose path does not match, 15 rules disabled",
        "     249  r249  /249/*        path does not match",
        "     250  r250  /250/*        path does not match",
        "  => 251  any   /100/*        wins",
    ];
    assert_eq!(list, expected);
    let all = explained(&text, &["--all", "http://h/100/x"]);
    assert_eq!(all.lines().filter(|line| line.contains("path does not match")).count(), 224);
}

#[test]
fn exit_codes_tell_whose_fault_it_is() {
    let (code, told) = refused(SHOP, &["http://a.shop.test/%2e%2e/x"]);
    assert_eq!(
        (code, &*told),
        (Some(2), "error: Ringway refuses this request before it looks for a site: path_above_root\n")
    );
    let (code, told) = refused(SHOP, &["http://a.shop.test:81/"]);
    assert_eq!(
        (code, &*told),
        (Some(2), "error: no listener has the port 81; there are: public (127.0.0.1:8080)\n")
    );
    let (code, told) = refused(&SHOP.replace("path_prefix", "pathprefix"), &["http://a.shop.test/"]);
    assert!(code == Some(1) && told.contains("ringway.toml:39:1") && told.contains("did you mean"), "{told}");
    let (code, told) = refused(SHOP, &["--config", "none.toml", "http://a.shop.test/"]);
    assert!(code == Some(1) && told.contains("none.toml"), "{told}");
    let (code, _) = refused(SHOP, &[]);
    assert_eq!(code, Some(2));
}

/// What a proxy's own file says of a request.
fn told(proxy: &Proxy, method: &str, url: &str, ws: bool) -> Value {
    let mut command = ringway();
    command.arg("explain").arg("--json").arg("--config").arg(proxy.config_path()).args(["--method", method]);
    let output = command.args(ws.then_some("--ws")).arg(url).output().expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[track_caller]
fn assert_changed<'a>(changes: &Value, get: impl Fn(&str) -> Option<&'a str>) {
    for change in changes.as_array().expect("a list").iter().filter(|change| change["overridden"] == false) {
        let name = change["name"].as_str().expect("a name");
        match change["value"].as_str() {
            Some("auto") => assert_eq!(get(name).map(str::len), Some(32), "{name}"),
            value => assert_eq!(get(name), value, "{name}"),
        }
    }
}

#[track_caller]
fn assert_sent(outcome: &Value, head: &Head, method: &str) {
    assert_eq!((head.method(), Some(head.target())), (method, outcome["target"].as_str()));
    let host = outcome["host"].as_str().or_else(|| outcome["backends"][0]["authority"].as_str());
    assert_eq!(head.fields.get("host"), host);
    assert_changed(&outcome["request_fields"], |name| head.fields.get(name));
    for name in outcome["own_fields"].as_array().expect("a list") {
        assert!(head.fields.has(name.as_str().expect("a name")), "{name}");
    }
}

#[track_caller]
fn assert_answered(outcome: &Value, answer: &Response) {
    assert_eq!(Value::from(answer.status), outcome["status"]);
    match outcome["kind"].as_str().expect("a kind") {
        "redirected" => assert_eq!(answer.field("location"), outcome["location"].as_str()),
        "responded" => assert_eq!(Value::from(answer.body.len()), outcome["body_bytes"]),
        _ => answer.assert_error(answer.status, outcome["code"].as_str().expect("a code")),
    }
}

fn what_is_explained_is_what_happens(driver: Driver) {
    let backend = Backend::says_hello();
    let url = backend.url();
    let site = format!(
        r#"
        [[sites]]
        name = "s"
        hosts = ["*.test"]
        project = "p"
        upstream = {{ backends = [{{ url = "{url}" }}] }}
        base_header = true
        request_headers = {{ set = {{ "X-A" = "site", "X-B" = "site", "X-Request-Id" = "auto" }}, remove = ["X-C"] }}
        response_headers = {{ set = {{ "X-R" = "site" }}, remove = ["Server"] }}
        forwarded = {{ forwarded = true }}
        rules = [
            {{ name = "rewritten", pattern = '^/re/(.*)$', target = "{url}/base/", rewrite = "/$1/x", change_origin = true, headers = {{ "X-A" = "rule" }} }},
            {{ name = "stripped", path = "/strip/*", target = "{url}", strip_prefix = true, headers = {{ Host = "own.test" }} }},
            {{ name = "climbs", pattern = '^/climb/(.*)$', target = "{url}", rewrite = "/$1./" }},
            {{ name = "posts", path = "/posts", methods = ["POST"], target = "{url}/posted" }},
        ]
        [[projects]]
        name = "p"
        rules = [
            {{ name = "moved", path = "/moved/*", redirect = {{ to = "https://new.test${{path}}" }} }},
            {{ name = "closed", path = "/closed", respond = {{ status = 403, body = "no" }}, response_headers = {{ set = {{ "X-R" = "rule" }} }} }},
            {{ name = "unset", path = "/unset", target = "http://${{RINGWAY_NOT_SET}}" }},
        ]
        "#
    );
    let proxy = Proxy::start(&Config::new(driver).section(&site));
    let mut client = proxy.client();
    for (method, host, path) in [
        ("GET", "a.test", "/"),
        ("GET", "A.b.test", "/x/../y//z?q"),
        ("GET", "a.test", "/re/a%2Fb?x=1&y"),
        ("GET", "a.test", "/re/"),
        ("PUT", "a.test:81", "/strip"),
        ("GET", "a.test", "/strip//x?"),
        ("GET", "a.test", "/climb/a/"),
        ("GET", "a.test", "/posts"),
        ("POST", "a.test", "/posts"),
        ("OPTIONS", "a.test", ""),
        ("GET", "a.test", "/moved/1?q=2"),
        ("GET", "a.test", "/closed"),
        ("GET", "a.test", "/unset"),
        ("GET", "a.example", "/"),
    ] {
        // The port of the host is no port of a listener here.
        let bare = host.split(':').next().unwrap_or(host);
        let mut outcome = told(&proxy, method, &format!("http://{bare}{path}"), false)["outcome"].take();
        if outcome["host"] == *bare {
            outcome["host"] = host.into();
        }
        let target = if path.is_empty() { "*" } else { path };
        let lines = "Origin: http://o.test\r\nX-C: 1\r\nX-Base: /mine\r\nContent-Length: 0\r\n";
        let answer = client.ask(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n"));
        match outcome["kind"].as_str() {
            Some("forwarded") => assert_sent(&outcome, &backend.last_head(), method),
            _ => assert_answered(&outcome, &answer),
        }
        if outcome["kind"] != "refused" {
            assert_changed(&outcome["response_fields"], |name| answer.field(name));
        }
    }
    assert_eq!(backend.requests(), 9);
}

fn a_change_that_breaks_an_expectation_is_refused(driver: Driver) {
    let [one, two] = ["one", "two"].map(Backend::says);
    let rules = |first: &Backend, path: &str| {
        let config = Config::new(driver).rule("first", path, &first.url()).rule("rest", "/*", &two.url());
        config.section("[[expect]]\nurl = \"http://test/api/x\"\nrule = \"first\"\npath = \"/api/x\"")
    };
    let proxy = Proxy::start(&rules(&one, "/api/*"));
    let mut client = proxy.client();
    assert_eq!(client.get("/api/x").text(), "one");
    let broken = rules(&one, "/apis/*").text();
    let mark = proxy.reload_text(&broken);
    proxy.log().wait_for(mark, "configuration refused");
    proxy.log().wait_for(
        mark,
        "expected the rule \"first\", but the rule \"rest\" of [[rules]] wins and sends \"/api/x\"",
    );
    assert_eq!((client.get("/api/x").text(), client.get("/apis/x").text()), ("one".into(), "two".into()));
    assert!(!proxy.log().text().contains("applied revision 2"));
    // The command that the message names explains the file that was refused.
    let explained = told(&proxy, "GET", "http://test/api/x", false);
    assert_eq!(
        (&explained["winner"]["name"], &explained["lists"][0]["rules"][0]["verdict"]),
        (&"rest".into(), &"path".into())
    );
    let mut check = ringway();
    let checked = check.arg("check").arg(proxy.config_path()).output().expect("the binary starts");
    assert_eq!(checked.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&checked.stderr).contains("`ringway explain http://test/api/x` says why")
    );
    proxy.reload(&rules(&two, "/api/*"));
    assert_eq!(client.get("/api/x").text(), "two");
}
