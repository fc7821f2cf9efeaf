//! Who may come in, on the wire: which requests are asked for credentials (this file), what the types of providers take
//! (`basic`, `bearer`, `forward`), which paths need none (`public`), and which credentials go on to a backend
//! (`credentials`).

mod basic;
mod bearer;
mod credentials;
mod forward;
mod public;

use crate::harness::backend::Backend;
use crate::harness::backends::response;
use crate::harness::client::Response;
use crate::harness::config::{Config, Driver};
use crate::harness::on_both_drivers;
use crate::harness::proxy::Proxy;
use crate::harness::websocket::{assert_echo, close, handshake};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::net::TcpStream;
use tungstenite::client::IntoClientRequest;

on_both_drivers![
    a_sites_auth_covers_every_rule_that_wins_in_it,
    a_rules_own_auth_replaces_its_sites,
    false_opens_a_rule,
    other_sites_are_not_covered,
    what_is_answered_here_is_covered,
    a_variable_that_is_not_set_is_told_to_nobody_outside,
    where_no_rule_wins_there_is_nothing_to_protect,
    every_method_is_asked,
    a_body_that_would_be_too_long_is_not_judged_first,
    upgrades_are_checked,
    a_reload_without_a_difference_keeps_connections,
    what_endpoints_say_is_no_clients_to_say_on_any_rule,
    what_is_opened_in_a_guarded_site_leads_nowhere_else,
];

/// A provider of users: alice and bob, hashed with bcrypt and argon2id.
const STAFF: &str = r#"
[[auth]]
name = "staff"
type = "basic"
realm = "Staff only"
users = { alice = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", bob = "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc" }
"#;
const ALICE: (&str, &str) = ("alice", "U*U");
const BOB: (&str, &str) = ("bob", "password");

/// A provider of tokens, one as it is and one as its digest.
const MACHINES: &str = r#"
[[auth]]
name = "machines"
type = "bearer"
tokens = { ci = "ci-token-0123456789", cron = "sha256:29ee2a2c9422c807cf90e1ab4614664157f3d82a278f8aaa77e1ee83da801551" }
"#;
const CI: &str = "Authorization: Bearer ci-token-0123456789\r\n";
const CRON: &str = "Authorization: Bearer cron-token-0123456789\r\n";

/// The field line of a user and a password.
fn basic((user, password): (&str, &str)) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{password}")))
}

/// Both providers, a proxy on `sections`, and the backend that these call `{to}`: it answers with the target that it was sent.
struct House {
    proxy: Proxy,
    backend: Backend,
}

impl House {
    fn new(driver: Driver, sections: &str) -> Self {
        House::with(
            Backend::answers(|request| response("200 OK", "", request.head.target().as_bytes())),
            driver,
            sections,
        )
    }

    fn with(backend: Backend, driver: Driver, sections: &str) -> Self {
        let proxy = Proxy::start(&config(&backend, driver, sections));
        House { proxy, backend }
    }

    /// Everything is behind `auth`, but for what `lines` say of the rule.
    fn behind(auth: &str, driver: Driver, lines: &str) -> Self {
        House::new(driver, &rule("all", "/*", &format!("auth = \"{auth}\"\n{lines}")))
    }

    /// Asks on a new connection with these field lines behind the Host.
    fn ask(&self, host: &str, target: &str, lines: &str) -> Response {
        self.proxy.client().ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n"))
    }

    /// The target that the backend was sent, or the code of an answer of Ringway's own.
    fn get(&self, host: &str, target: &str, lines: &str) -> String {
        told(&self.ask(host, target, lines))
    }
}

fn config(backend: &Backend, driver: Driver, sections: &str) -> Config {
    Config::new(driver).section(STAFF).section(MACHINES).section(&sections.replace("{to}", &backend.url()))
}

fn told(answer: &Response) -> String {
    if answer.status == 200 { answer.text() } else { answer.json("code") }
}

fn rule(name: &str, path: &str, lines: &str) -> String {
    format!("[[rules]]\nname = \"{name}\"\npath = \"{path}\"\ntarget = \"{{to}}\"\n{lines}\n")
}

/// A site with rules and an upstream of its own, in a project with one; `a.test` is behind "staff".
const SITES: &str = r#"
[[projects]]
name = "shop"
[[projects.rules]]
name = "project"
path = "/project/*"
target = "{to}"
[[projects.rules]]
name = "project, machines"
path = "/project-machines/*"
target = "{to}"
auth = "machines"

[[sites]]
name = "a"
hosts = ["a.test"]
project = "shop"
auth = "staff"
inherit_global = true
upstream = { backends = [{ url = "{to}" }] }
[[sites.rules]]
name = "site"
path = "/site/*"
target = "{to}"
[[sites.rules]]
name = "site, machines"
path = "/site-machines/*"
target = "{to}"
auth = "machines"
[[sites.rules]]
name = "site, open"
path = "/site-open/*"
target = "{to}"
auth = false

[[sites]]
name = "b"
hosts = ["b.test"]
project = "shop"

[[rules]]
name = "global"
path = "/global/*"
target = "{to}"
[[rules]]
name = "global, staff"
path = "/global-staff/*"
target = "{to}"
auth = "staff"
"#;

fn a_sites_auth_covers_every_rule_that_wins_in_it(driver: Driver) {
    let house = House::new(driver, SITES);
    for target in ["/site/x", "/project/x", "/global/x", "/global-staff/x", "/", "/own/upstream"] {
        assert_eq!(house.get("a.test", target, ""), "unauthorized", "{target}");
        assert_eq!(house.get("a.test", target, CI), "unauthorized", "{target}");
        assert_eq!(house.backend.requests(), 0);
    }
    for target in ["/site/x", "/project/x", "/global/x", "/global-staff/x", "/", "/own/upstream"] {
        assert_eq!(house.get("a.test", target, &basic(ALICE)), target);
    }
}

fn a_rules_own_auth_replaces_its_sites(driver: Driver) {
    let house = House::new(driver, SITES);
    for target in ["/site-machines/x", "/project-machines/x"] {
        assert_eq!(house.get("a.test", target, ""), "unauthorized");
        assert_eq!(house.get("a.test", target, &basic(ALICE)), "unauthorized");
        assert_eq!(house.get("a.test", target, CI), target);
    }
    // Where the site asks for nothing the rule still does.
    assert_eq!(house.get("b.test", "/project-machines/x", ""), "unauthorized");
    assert_eq!(house.get("b.test", "/global-staff/x", ""), "unauthorized");
    assert_eq!(house.get("nowhere.test", "/global-staff/x", ""), "unauthorized");
    assert_eq!(house.get("nowhere.test", "/global-staff/x", &basic(BOB)), "/global-staff/x");
}

fn false_opens_a_rule(driver: Driver) {
    let house = House::new(driver, SITES);
    assert_eq!(house.get("a.test", "/site-open/x", ""), "/site-open/x");
    assert_eq!(house.get("a.test", "/site-open/x", &basic(("alice", "wrong"))), "/site-open/x");
    assert_eq!(house.get("a.test", "/site-openx", ""), "unauthorized");
}

fn other_sites_are_not_covered(driver: Driver) {
    let house = House::new(driver, SITES);
    assert_eq!(house.get("b.test", "/project/x", ""), "/project/x");
    assert_eq!(house.get("b.test", "/global/x", ""), "/global/x");
    assert_eq!(house.get("nowhere.test", "/global/x", ""), "/global/x");
    // The host may be written in many ways: the site is the same.
    for host in ["A.TEST", "a.test.", "a.test:80"] {
        assert_eq!(house.get(host, "/global/x", ""), "unauthorized", "{host}");
    }
}

fn what_is_answered_here_is_covered(driver: Driver) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("secret.txt"), "secret").unwrap();
    let sections = format!(
        "[[sites]]\nname = \"a\"\nhosts = [\"*\"]\nauth = \"staff\"\nstatic_dir = \"{}\"\n\
         [[sites.rules]]\nname = \"moved\"\npath = \"/moved\"\nredirect = {{ to = \"https://secret.test/\" }}\n\
         [[sites.rules]]\nname = \"said\"\npath = \"/said\"\nrespond = {{ status = 200, body = \"secret\" }}\n",
        directory.path().display()
    );
    let house = House::new(driver, &sections);
    for target in ["/moved", "/said", "/secret.txt", "/nothing.txt"] {
        let answer = house.ask("a.test", target, "");
        answer.assert_error(401, "unauthorized");
        assert!(!answer.head.fields.has("location") && !answer.text().contains("secret"));
    }
    assert_eq!(house.ask("a.test", "/moved", &basic(ALICE)).field("location"), Some("https://secret.test/"));
    assert_eq!(house.get("a.test", "/said", &basic(ALICE)), "secret");
    assert_eq!(house.get("a.test", "/secret.txt", &basic(ALICE)), "secret");
    house.ask("a.test", "/nothing.txt", &basic(ALICE)).assert_error(404, "not_found");
}

fn a_variable_that_is_not_set_is_told_to_nobody_outside(driver: Driver) {
    let rule = "[[rules]]\nname = \"all\"\npath = \"/*\"\nauth = \"staff\"\ntarget = \"http://${RINGWAY_TEST_UNSET}\"";
    let house = House::new(driver, rule);
    house.ask("test", "/", "").assert_error(401, "unauthorized");
    house.ask("test", "/", &basic(ALICE)).assert_error(502, "upstream_dns");
}

fn where_no_rule_wins_there_is_nothing_to_protect(driver: Driver) {
    let sections = "[[sites]]\nname = \"a\"\nhosts = [\"*\"]\nauth = \"staff\"\n\
                    [[sites.rules]]\nname = \"x\"\npath = \"/x\"\nmethods = [\"POST\"]\ntarget = \"{to}\"\n";
    let house = House::new(driver, sections);
    for lines in ["", &basic(ALICE), &basic(("alice", "wrong"))] {
        house.ask("a.test", "/x", lines).assert_error(404, "no_rule");
    }
}

fn every_method_is_asked(driver: Driver) {
    let house = House::behind("staff", driver, "");
    let mut client = house.proxy.client();
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "get"] {
        let answer = client.ask(format!("{method} /x HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n"));
        answer.assert_error(401, "unauthorized");
    }
    let answer = client.send("HEAD /x HTTP/1.1\r\nHost: test\r\n\r\n").response_to("HEAD");
    assert_eq!((answer.status, answer.body.len()), (401, 0));
    assert!(answer.head.fields.has("www-authenticate"));
    client.ask("OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n").assert_error(401, "unauthorized");
    client.ask("GET /x HTTP/1.0\r\nHost: test\r\n\r\n").assert_error(401, "unauthorized");
    assert_eq!(house.backend.requests(), 0);
}

fn a_body_that_would_be_too_long_is_not_judged_first(driver: Driver) {
    let house = House::behind("staff", driver, "max_request_body = \"10B\"");
    let post = |lines: &str| {
        let request =
            format!("POST / HTTP/1.1\r\nHost: test\r\n{lines}Content-Length: 11\r\n\r\nhello world");
        house.proxy.client().ask(request)
    };
    post("").assert_error(401, "unauthorized");
    post(&basic(ALICE)).assert_error(413, "content_too_large");
}

fn upgrades_are_checked(driver: Driver) {
    for (auth, credentials) in [("staff", basic(ALICE)), ("machines", CI.to_owned())] {
        let house = House::with(
            Backend::echoes_messages(),
            driver,
            &rule("all", "/*", &format!("auth = \"{auth}\"")),
        );
        let mut client = house.proxy.client();
        client.ask(handshake("/chat", "")).assert_error(401, "unauthorized");
        client.ask(handshake("/chat", &basic(("alice", "wrong")))).assert_error(401, "unauthorized");
        assert_eq!(house.backend.requests(), 0);
        // The connection goes on as HTTP, and to a tunnel.
        let stream = TcpStream::connect(house.proxy.address().tcp()).unwrap();
        let mut request = format!("ws://{}/chat", house.proxy.address().tcp()).into_client_request().unwrap();
        let (_, value) = credentials.trim_end().split_once(": ").unwrap();
        request.headers_mut().insert("authorization", value.parse().unwrap());
        let (mut socket, _) = tungstenite::client(request, stream).expect("a handshake");
        assert_echo(&mut socket, "hello");
        assert!(!house.backend.last_head().fields.has("authorization"));
        close(&mut socket);
    }
}

fn a_reload_without_a_difference_keeps_connections(driver: Driver) {
    let house = House::behind("staff", driver, "");
    let mut client = house.proxy.client();
    let request = format!("GET /x HTTP/1.1\r\nHost: test\r\n{}\r\n", basic(ALICE));
    assert_eq!(client.ask(&request).status, 200);
    let same = config(&house.backend, driver, &rule("all", "/*", "auth = \"staff\"\ndescription = \"new\""));
    house.proxy.reload(&same);
    assert_eq!(client.ask(&request).status, 200);
    client.get("/x").assert_error(401, "unauthorized");
    assert_eq!(client.ask(&request).status, 200);
    assert_eq!(house.backend.accepts(), 1);
}

/// Tells its client the head that it got, in lower case.
fn tells_head() -> Backend {
    Backend::answers(|request| response("200 OK", "", &request.head.raw.to_ascii_lowercase()))
}

fn what_endpoints_say_is_no_clients_to_say_on_any_rule(driver: Driver) {
    let endpoint = Backend::says_hello();
    let sections = format!(
        "[[auth]]\nname = \"sso\"\ntype = \"forward\"\nurl = \"{}\"\ncopy_headers = [\"X-User\", \"Cookie\"]\n{}{}",
        endpoint.url(),
        rule("guarded", "/guarded/*", "auth = \"sso\""),
        rule("open", "/*", "response_headers = { set = { X-A = \"b\" } }"),
    );
    let house = House::with(tells_head(), driver, &sections);
    for target in ["/guarded/x", "/open"] {
        let answer = house.ask("test", target, "X-User: root\r\nx_user: root\r\nX-Users: kept\r\n");
        assert_eq!(answer.status, 200, "{target}");
        let got = answer.text();
        assert!(!got.contains("root") && got.contains("x-users: kept"), "{got}");
    }
    // Credentials are a client's own, but where the endpoint has a say.
    assert!(house.ask("test", "/open", "Cookie: own\r\n").text().contains("cookie: own"));
    assert!(!house.ask("test", "/guarded/x", "Cookie: own\r\n").text().contains("cookie"));
}

fn what_is_opened_in_a_guarded_site_leads_nowhere_else(driver: Driver) {
    let sections = "[[sites]]\nname = \"s\"\nhosts = [\"*\"]\nauth = \"staff\"\n\
                    [[sites.rules]]\nname = \"open\"\npath = \"/open/*\"\ntarget = \"{to}\"\nauth = false\n";
    let house = House::with(tells_head(), driver, sections);
    let got =
        house.ask("test", "/open/a", "X-Original-URL: /admin\r\nX-Http-Method-Override: DELETE\r\n").text();
    assert!(!got.contains("/admin") && !got.contains("delete"), "{got}");
}
