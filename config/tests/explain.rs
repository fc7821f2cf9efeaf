//! Explanations: what they say of one file in full, and, for random files and requests, that they say what routing does.

use proptest::prelude::*;
use ringway_config::{
    Action, Compiler, Explanation, ListOwner, NoRoute, Outcome, Question, RouteRequest, Rule, SiteVerdict,
    Snapshot, Source, Unused, Variables, Verdict,
};
use serde_json::json;

#[track_caller]
fn compile(text: &str) -> Snapshot {
    let source = Source { name: "test.toml", text };
    match Compiler::with_variables(Variables::from_iter([("TOKEN", "s3cret")])).compile_unexpecting(&source) {
        Ok(compiled) => compiled.snapshot,
        Err(problems) => panic!("{}{text}", problems.render(&source, false)),
    }
}

fn get(url: &str) -> Question<'_> {
    Question { url, method: "GET", websocket: false, listener: None }
}

#[track_caller]
fn explain(snapshot: &Snapshot, question: &Question<'_>) -> Explanation {
    snapshot.explain(question).unwrap_or_else(|refusal| panic!("{question:?}: {refusal}"))
}

/// Sites, a project, a site's own upstream, and every way that a rule can go.
const SHOP: &str = r#"
server = { request_id = "x-request-id", via = true }

[[listeners]]
name = "public"
address = "127.0.0.1:8080"

[[listeners]]
name = "inside"
address = "127.0.0.1:9090"

[[upstreams]]
name = "app"
backends = [{ url = "http://127.0.0.1:3000" }, { url = "http://app.internal" }]

[[sites]]
name = "shop"
hosts = ["*.shop.test", "shop.test"]
project = "team"
upstream = "app"
base_header = true
headers = { "X-Env" = "shop", "X-Api-Token" = "${TOKEN}" }
response_headers = { set = { "X-Frame-Options" = "DENY" } }
timeouts = { response = "7s", connect = "2s" }

[[sites.rules]]
name = "off"
path = "/*"
enabled = false
respond = { status = 410 }

[[sites.rules]]
name = "users"
description = "the second version"
pattern = '^/api/(?<kind>\w+)/(\d+)(/.*)?$'
methods = ["GET", "POST"]
target = "http://api.internal:8080/base/"
rewrite = "/v2/${kind}/$2"
change_origin = true
timeout = "5s"
max_request_body = "1MiB"
request_headers = { set = { "X-Env" = "users" }, remove = ["Cookie", "X-Forwarded-Host"] }

[[sites.rules]]
name = "live"
path = "/live"
ws = false
redirect = { to = "https://live.test" }

[[sites]]
name = "admin"
hosts = ["a.shop.test"]
path_prefix = "/admin"
project = "team"
inherit_rules = false
rules = [{ name = "all", path = "/*", respond = { status = 403, body = "no" } }]

[[sites]]
name = "inside"
hosts = ["a.shop.test", "*"]
listeners = ["inside"]

[[projects]]
name = "team"
rules = [{ name = "users", path = "/api/*", upstream = "app" }, { name = "posts", path = "/*", methods = ["POST"], upstream = "app" }]

[[rules]]
name = "health"
path = "/health"
respond = { status = 204 }
"#;

fn shop() -> Snapshot {
    compile(SHOP)
}

#[test]
fn a_forwarded_request_in_full() {
    let explanation = explain(&shop(), &get("http://A.shop.test:8080/x/../api/things/12?q=1&r"));
    let expected = json!({
        "request": {
            "method": "GET", "host": "A.shop.test", "path": "/api/things/12",
            "path_as_sent": "/x/../api/things/12", "query": "q=1&r", "websocket": false,
        },
        "listener": { "name": "public", "address": "127.0.0.1:8080" },
        "site": "shop",
        "tenant": "a",
        "sites": [
            { "site": "admin", "host": "a.shop.test", "path_prefix": "/admin", "verdict": "path_prefix" },
            { "site": "inside", "host": "a.shop.test", "path_prefix": "", "verdict": "listener" },
            { "site": "shop", "host": "*.shop.test", "path_prefix": "", "verdict": "met" },
            { "site": "inside", "host": "*", "path_prefix": "", "verdict": "listener" },
        ],
        "sites_with_other_hosts": 0,
        "lists": [
            { "of": { "site": "shop" }, "unused": null, "rules": [
                {
                    "number": 1, "name": "off", "path": "/*", "pattern": null, "methods": null, "ws": true,
                    "verdict": "disabled",
                },
                {
                    "number": 2, "name": "users", "path": null, "pattern": r"^/api/(?<kind>\w+)/(\d+)(/.*)?$",
                    "methods": ["GET", "POST"], "ws": true, "verdict": "wins",
                },
                {
                    "number": 3, "name": "live", "path": "/live", "pattern": null, "methods": null, "ws": false,
                    "verdict": "path",
                },
            ] },
            { "of": { "project": "team" }, "unused": null, "rules": [
                {
                    "number": 1, "name": "users", "path": "/api/*", "pattern": null, "methods": null, "ws": true,
                    "verdict": "later",
                },
                {
                    "number": 2, "name": "posts", "path": "/*", "pattern": null, "methods": ["POST"], "ws": true,
                    "verdict": "method",
                },
            ] },
            { "of": "every_site", "unused": "own_upstream", "rules": [] },
            { "of": { "own_upstream": "shop" }, "unused": null, "rules": [
                {
                    "number": 1, "name": "(upstream)", "path": "*", "pattern": null, "methods": null, "ws": true,
                    "verdict": "later",
                },
            ] },
        ],
        "winner": {
            "list": { "site": "shop" }, "number": 2, "name": "users", "description": "the second version",
            "groups": [
                { "number": 1, "name": "kind", "text": "things" },
                { "number": 2, "name": null, "text": "12" },
                { "number": 3, "name": null, "text": null },
            ],
        },
        "access": { "provider": null, "by": null, "public": null, "credentials": "all", "rate_limits": [] },
        "outcome": {
            "kind": "forwarded",
            "target": "/base/v2/things/12?q=1&r",
            "host": null,
            "upstream": "http://api.internal:8080",
            "strategy": "round_robin",
            "backends": [
                {
                    "url": "http://api.internal:8080", "authority": "api.internal:8080", "weight": 1,
                    "backup": false, "unset": false,
                },
            ],
            "egress": { "policy": "any", "allow": [] },
            "request_fields": [
                { "name": "x-base", "value": "/", "by": "site", "overridden": false },
                { "name": "X-Api-Token", "value": "***", "by": "site", "overridden": false },
                { "name": "X-Env", "value": "shop", "by": "site", "overridden": true },
                { "name": "X-Env", "value": "users", "by": "rule", "overridden": false },
                { "name": "cookie", "value": null, "by": "rule", "overridden": false },
                { "name": "x-forwarded-host", "value": null, "by": "rule", "overridden": false },
            ],
            "own_fields":
                ["X-Forwarded-For", "X-Real-IP", "X-Forwarded-Proto", "Origin", "x-vhost-tenant", "Via"],
            "request_id_field": "x-request-id",
            "response_fields":
                [{ "name": "X-Frame-Options", "value": "DENY", "by": "site", "overridden": false }],
            "timeouts": [
                { "name": "connect", "value_ms": 2000, "by": "site" },
                { "name": "response", "value_ms": 5000, "by": "rule" },
            ],
            "max_request_body_bytes": 1 << 20,
            "retries": { "count": 2, "by": null },
            "limits": [],
        },
    });
    assert_eq!(serde_json::to_value(&explanation).unwrap(), expected);
}

/// An upstream, a site and rules that set the same things.
const BUSY: &str = r#"
listeners = [{ address = "127.0.0.1:8080" }]

[timeouts]
connect = "1s"
response = "10s"
tunnel_idle = "2h"

[[upstreams]]
name = "app"
strategy = "p2c"
backends = [{ url = "http://a", weight = 3 }, { url = "http://b" }, { url = "unix:/b", backup = true }]
retries = 4
max_active = 10
max_queued = 20
queue_timeout = "1500ms"
on_no_backend = "wait"
timeouts = { connect = "1s", response = "12s", body = "13s", idle = "14s" }

[[upstreams]]
name = "quiet"
backends = [{ url = "http://c" }]

[[sites]]
name = "busy"
hosts = ["busy.test"]
upstream = "app"
max_active = 5
count_tunnels = true
timeouts = { connect = "3s", response = "4s", upstream_body = "5s", tunnel_idle = "6s", write = "7s" }
rules = [
    { name = "quick", path = "/quick", upstream = "app", timeout = "2s", retries = 0 },
    { name = "quiet", path = "/quiet", upstream = "quiet" },
]

[[rules]]
name = "nobody's"
path = "/*"
upstream = "quiet"
max_request_body = "1KiB"
"#;

#[track_caller]
fn forwarded(snapshot: &Snapshot, url: &str) -> serde_json::Value {
    serde_json::to_value(explain(snapshot, &get(url))).unwrap()["outcome"].take()
}

#[test]
fn timeouts_are_the_rules_then_the_upstreams_then_the_sites() {
    let snapshot = compile(BUSY);
    let timeouts = |url| {
        let outcome = forwarded(&snapshot, url);
        let timeouts = outcome["timeouts"].as_array().unwrap().iter();
        let told = timeouts.map(|timeout| {
            let by = timeout["by"].as_str().unwrap();
            format!("{} {} {by}", timeout["name"].as_str().unwrap(), timeout["value_ms"])
        });
        told.collect::<Vec<_>>()
    };
    // The upstream's `connect` is the file's, but not the site's.
    let of_upstream = ["write 7000 site", "connect 1000 upstream", "response 12000 upstream"];
    let rest = ["upstream_body 13000 upstream", "upstream_idle 14000 upstream", "tunnel_idle 6000 site"];
    assert_eq!(timeouts("http://busy.test/x"), [of_upstream, rest].concat());
    let of_rule = ["write 7000 site", "connect 1000 upstream", "response 2000 rule"];
    assert_eq!(timeouts("http://busy.test/quick"), [of_rule, rest].concat());
    let of_site = ["write 7000 site", "connect 3000 site", "response 4000 site"];
    let rest = ["upstream_body 5000 site", "tunnel_idle 6000 site"];
    assert_eq!(timeouts("http://busy.test/quiet"), [&of_site[..], &rest].concat());
    assert_eq!(timeouts("http://other.test/"), [""; 0]);
}

#[test]
fn an_upstream_is_told_with_its_limits() {
    let snapshot = compile(BUSY);
    let outcome = forwarded(&snapshot, "http://busy.test/x");
    assert_eq!(outcome["strategy"], "p2c");
    let backend = |url, authority, weight, backup| json!({ "url": url, "authority": authority, "weight": weight, "backup": backup, "unset": false });
    let backends = [
        backend("http://a:80", "a", 3, false),
        backend("http://b:80", "b", 1, false),
        backend("unix:/b", "localhost", 1, true),
    ];
    assert_eq!(outcome["backends"], json!(backends));
    assert_eq!(outcome["retries"], json!({ "count": 4, "by": "upstream" }));
    let of_site = json!({
        "of": "site", "max_active": 5, "max_queued": 100, "queue_timeout_ms": 30_000, "count_tunnels": true,
        "waits_for_backend": false,
    });
    let of_upstream = json!({
        "of": "upstream", "max_active": 10, "max_queued": 20, "queue_timeout_ms": 1_500, "count_tunnels": false,
        "waits_for_backend": true,
    });
    assert_eq!(outcome["limits"], json!([of_site, of_upstream]));
    let quick = forwarded(&snapshot, "http://busy.test/quick");
    assert_eq!(quick["retries"], json!({ "count": 0, "by": "rule" }));
    let others = forwarded(&snapshot, "http://other.test/");
    assert_eq!((&others["retries"]["by"], &others["limits"]), (&json!(null), &json!([])));
}

/// Site and winner, then what becomes of the request.
fn told(explanation: &Explanation) -> String {
    let site = explanation.site.as_deref().unwrap_or("-");
    let winner = explanation.winner.as_ref().map_or("-", |winner| &*winner.name);
    let outcome = match &explanation.outcome {
        Outcome::Forwarded(forwarded) => {
            format!("{} to {} as {:?}", forwarded.target, forwarded.upstream, forwarded.host)
        }
        Outcome::Redirected { status, location, .. } => format!("{status} {location}"),
        Outcome::Responded { status, body_bytes, .. } => format!("{status} {body_bytes}"),
        Outcome::File { folder, path, .. } => format!("{path} below {folder}"),
        Outcome::Refused { status, code, .. } => format!("{status} {code}"),
    };
    format!("{site}/{winner}: {outcome}")
}

#[test]
fn every_way_that_a_request_can_go() {
    let snapshot = shop();
    for (url, expected) in [
        ("http://shop.test/x", "shop/(upstream): /x to app as Some(\"shop.test\")"),
        ("ws://shop.test:8080/live?x", "shop/(upstream): /live?x to app as Some(\"shop.test:8080\")"),
        ("http://shop.test/live", "shop/live: 308 https://live.test/"),
        ("https://SHOP.test./api", "shop/users: /api to app as Some(\"SHOP.test.\")"),
        ("http://a.shop.test/admin", "admin/all: 403 2"),
        ("http://other.test/health", "-/health: 204 0"),
        ("http://other.test/healthy", "-/-: 404 no_rule"),
        ("http://other.test:9090/", "inside/-: 404 no_rule"),
        ("http://a.shop.test:9090/admin/x", "admin/all: 403 2"),
        ("http://a.shop.test:9090/health", "inside/health: 204 0"),
    ] {
        assert_eq!(told(&explain(&snapshot, &get(url))), expected, "{url}");
    }
    let on_listener = Question { listener: Some("127.0.0.1:9090"), ..get("http://a.shop.test:8080/health") };
    assert_eq!(told(&explain(&snapshot, &on_listener)), "inside/health: 204 0");
    let no_site = compile(
        "[[listeners]]\naddress = \":1\"\n[[sites]]\nname = \"s\"\nhosts = [\"s.test\"]\nupstream = { backends = [{ url = \"http://h\" }] }",
    );
    assert_eq!(told(&explain(&no_site, &get("http://h/"))), "-/-: 404 no_site");
    let options = Question { method: "OPTIONS", ..get("http://s.test") };
    assert_eq!(told(&explain(&no_site, &options)), "s/(upstream): * to site/s as Some(\"s.test\")");
}

#[test]
fn lists_that_are_not_asked_say_why() {
    let explanation = explain(&shop(), &get("http://a.shop.test/admin"));
    let lists: Vec<_> = explanation.lists.iter().map(|list| (list.of.clone(), list.unused)).collect();
    let team = ListOwner::Project("team".to_owned());
    let expected = [
        (ListOwner::Site("admin".to_owned()), None),
        (team, Some(Unused::InheritRules)),
        (ListOwner::EverySite, None),
    ];
    assert_eq!(lists, expected);
    assert_eq!(explanation.sites.iter().filter(|site| site.verdict == SiteVerdict::Later).count(), 1);
}

#[test]
fn what_needs_a_variable_that_is_not_set_answers_502() {
    let with = |rest: &str| compile(&format!("listeners = [{{ address = \":1\" }}]\n{rest}"));
    let rule = |keys: &str| with(&format!("[[rules]]\nname = \"r\"\npath = \"*\"\n{keys}"));
    let site = "[[sites]]\nname = \"s\"\nhosts = [\"*\"]\n";
    let unset = "-/r: 502 upstream_dns";
    for (snapshot, expected) in [
        (rule("target = \"http://${NONE}\""), unset),
        (rule("target = \"http://h\"\nheaders = { a = \"${NONE}\" }"), unset),
        (rule("redirect = { to = \"/x\" }\nresponse_headers = { set = { a = \"${NONE}\" } }"), unset),
        (
            with(&format!("{site}upstream = {{ backends = [{{ url = \"http://${{NONE}}\" }}] }}")),
            "s/(upstream): 502 upstream_dns",
        ),
        (
            with(&format!(
                "{site}headers = {{ a = \"${{NONE}}\" }}\nrules = [{{ name = \"r\", path = \"*\", target = \"http://h\" }}]"
            )),
            "s/r: 502 upstream_dns",
        ),
        (
            with(&format!(
                "{site}headers = {{ a = \"${{NONE}}\" }}\nrules = [{{ name = \"r\", path = \"*\", respond = {{ status = 200 }} }}]"
            )),
            "s/r: 502 upstream_dns",
        ),
    ] {
        assert_eq!(told(&explain(&snapshot, &get("http://h/"))), expected);
    }
}

#[test]
fn what_ringway_refuses_is_refused_here() {
    let snapshot = shop();
    let asked = |url: &'static str, method: &'static str| Question { method, ..get(url) };
    for (question, expected) in [
        (asked("shop.test/", "GET"), "a URL begins with http://, https://, ws:// or wss://"),
        (asked("http://shop.test/../x", "GET"), "path_above_root"),
        (asked("http://shop.test/%zz", "GET"), "bad_percent_escape"),
        (asked("http://shop.test/#top", "GET"), "target_fragment"),
        (asked("http://shop.test/a b", "GET"), "bad_target_byte"),
        (asked("http://shop.test/ä", "GET"), "bad_target_byte"),
        (asked("http://shop.test/ HTTP/1.1\r\nX: y", "GET"), "bad_target_byte"),
        (asked("http://shop.test/\r\nX: y", "GET"), "control_byte"),
        (asked("http://u@shop.test/", "GET"), "userinfo"),
        (asked("http:///x", "GET"), "bad_target_authority"),
        (asked("http://shop.test/", "GE T"), "bad_method"),
        (asked("http://shop.test/", ""), "bad_method"),
        (asked("http://shop.test/", "GET / HTTP/1.1\r\nX:"), "bad_method"),
        (asked("http://shop.test/", "CONNECT"), "connect_method"),
        (asked("http://shop.test/", "TRACE"), "unless server.allow_trace is set"),
        (asked("ws://shop.test/", "POST"), "bad_websocket_handshake"),
        (
            asked("http://shop.test:81/", "GET"),
            "no listener has the port 81; there are: public (127.0.0.1:8080), inside (127.0.0.1:9090)",
        ),
    ] {
        let refusal = snapshot.explain(&question).expect_err(question.url).to_string();
        assert!(refusal.ends_with(expected), "{question:?}: {refusal}");
    }
    let nowhere = Question { listener: Some("nowhere"), ..get("http://shop.test/") };
    assert!(
        snapshot.explain(&nowhere).unwrap_err().to_string().starts_with("there is no listener \"nowhere\"; ")
    );
}

/// What a rule says of paths, and the same as plain string operations.
type Paths = (&'static str, fn(&str) -> bool);

const PATHS: [Paths; 8] = [
    ("path = \"/*\"", |_| true),
    ("path = \"/a\"", |path| path == "/a"),
    ("path = \"/a/*\"", |path| path == "/a" || path.starts_with("/a/")),
    ("path = \"/a/b/*\"", |path| path == "/a/b" || path.starts_with("/a/b/")),
    ("path = \"*.x\"", |path| path.ends_with(".x")),
    ("pattern = 'b'", |path| path.contains('b')),
    ("pattern = '^/(a)(/.*)?$'", |path| path == "/a" || path.starts_with("/a/")),
    ("pattern = '(.)$'", |_| true),
];

/// What becomes of a rule's requests. Those behind the fourth need a `pattern` with a group.
const ACTIONS: [&str; 8] = [
    "target = \"http://t:1\"",
    "target = \"http://t:2/base/\"",
    "redirect = { to = \"https://elsewhere.test${path}\", status = 302 }",
    "respond = { status = 418, body = \"no\" }",
    "target = \"http://t:3\"\nrewrite = \"/r/$1\"",
    "target = \"http://t:4/base\"\nrewrite = \"$1./\"",
    "redirect = { to = \"/r/$1?x\" }",
    "target = \"http://${NONE}\"",
];

const METHODS: [&str; 3] = ["", "methods = [\"GET\"]", "methods = [\"POST\", \"PUT\"]"];

#[derive(Clone, Debug)]
struct Written {
    paths: usize,
    action: usize,
    methods: usize,
    ws: bool,
    enabled: bool,
}

impl Written {
    fn text(&self, table: &str, number: usize) -> String {
        let paths = PATHS[self.paths].0;
        let action = if paths.contains('(') { self.action } else { self.action % 4 };
        let (action, methods) = (ACTIONS[action], METHODS[self.methods]);
        let Self { ws, enabled, .. } = self;
        format!(
            "[[{table}]]\nname = \"{number}\"\nws = {ws}\nenabled = {enabled}\n{paths}\n{action}\n{methods}\n\n"
        )
    }

    /// Why the rule would not take a request, if it would not.
    fn verdict(&self, path: &str, method: &str, websocket: bool) -> Option<Verdict> {
        if !self.enabled {
            Some(Verdict::Disabled)
        } else if !PATHS[self.paths].1(path) {
            Some(Verdict::Path)
        } else if self.methods > 0 && !METHODS[self.methods].contains(method) {
            Some(Verdict::Method)
        } else {
            (websocket && !self.ws).then_some(Verdict::Websocket)
        }
    }
}

fn rules() -> impl Strategy<Value = Vec<Written>> {
    let rule = (0..PATHS.len(), 0..ACTIONS.len(), 0..METHODS.len(), any::<bool>(), prop::bool::weighted(0.8));
    let rule = rule.prop_map(|(paths, action, methods, ws, enabled)| Written {
        paths,
        action,
        methods,
        ws,
        enabled,
    });
    prop::collection::vec(rule, 0..5)
}

/// Every pair of host and prefix that a site may have, so that no two sites are the same.
const PLACES: [(&str, &str); 6] =
    [("s.test", ""), ("s.test", "/a"), ("*.test", ""), ("*.test", "/a/b"), ("*", "/a"), ("*", "")];

#[derive(Clone, Debug)]
struct WrittenSite {
    rules: Vec<Written>,
    project: bool,
    own_upstream: bool,
    inherit_rules: bool,
    inherit_global: bool,
}

fn site() -> impl Strategy<Value = Option<WrittenSite>> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let site =
        (rules(), flags).prop_map(|(rules, (project, own_upstream, inherit_rules, inherit_global))| {
            WrittenSite { rules, project, own_upstream, inherit_rules, inherit_global }
        });
    prop::option::of(site)
}

#[derive(Clone, Debug)]
struct File {
    sites: Vec<Option<WrittenSite>>,
    project: Vec<Written>,
    global: Vec<Written>,
}

impl File {
    fn text(&self) -> String {
        let mut text = "[[listeners]]\naddress = \"127.0.0.1:1\"\n\n".to_owned();
        for (index, (site, (host, prefix))) in self.sites.iter().zip(PLACES).enumerate() {
            let Some(site) = site else { continue };
            text += &format!("[[sites]]\nname = \"{index}\"\nhosts = [\"{host}\"]\n");
            let keys = [
                (!prefix.is_empty(), format!("path_prefix = \"{prefix}\"\n")),
                (site.project, "project = \"p\"\n".to_owned()),
                (site.own_upstream, "upstream = { backends = [{ url = \"http://own\" }] }\n".to_owned()),
            ];
            text.extend(keys.into_iter().filter(|(is_there, _)| *is_there).map(|(_, key)| key));
            let WrittenSite { inherit_rules, inherit_global, .. } = site;
            text += &format!("inherit_rules = {inherit_rules}\ninherit_global = {inherit_global}\n");
            text.extend(site.rules.iter().enumerate().map(|(number, rule)| rule.text("sites.rules", number)));
        }
        text += "[[projects]]\nname = \"p\"\n";
        text.extend(
            self.project.iter().enumerate().map(|(number, rule)| rule.text("projects.rules", number)),
        );
        text.extend(self.global.iter().enumerate().map(|(number, rule)| rule.text("rules", number)));
        text
    }

    fn rules(&self, of: &ListOwner) -> &[Written] {
        match of {
            ListOwner::Site(name) => {
                let site = name.parse().ok().and_then(|index: usize| self.sites[index].as_ref());
                site.map_or(&[], |site| &site.rules)
            }
            ListOwner::Project(_) => &self.project,
            ListOwner::EverySite => &self.global,
            ListOwner::OwnUpstream(_) => &[],
        }
    }
}

fn file() -> impl Strategy<Value = File> {
    let sites = prop::collection::vec(site(), PLACES.len());
    (sites, rules(), rules()).prop_map(|(sites, project, global)| File { sites, project, global })
}

/// What `route` and the methods of the rule that won say, without `explain`.
fn routed(snapshot: &Snapshot, request: &RouteRequest<'_>, query: Option<&str>) -> String {
    let scratch = &mut snapshot.scratch();
    let site_name = |site| snapshot.site(site).map_or("-", |site| &*site.name);
    let route = match snapshot.route(request, scratch) {
        Ok(route) => route,
        Err(NoRoute::NoSite) => return "-/-: 404 no_site".to_owned(),
        Err(NoRoute::NoRule { site }) => return format!("{}/-: 404 no_rule", site.map_or("-", site_name)),
    };
    let rule = snapshot.rule(route.rule).unwrap();
    let mark = if query.is_some() { "?" } else { "" };
    let outcome = match &rule.action {
        Action::Forward(forward) => match forward.path.sent(request.path, scratch) {
            Ok(sent) => {
                let path = String::from_utf8_lossy(sent.of(request.path)).into_owned();
                let upstream = &snapshot.upstream(forward.upstream).unwrap().name;
                let host = String::from_utf8_lossy(request.host.unwrap()).into_owned();
                let query = query.unwrap_or_default();
                format!("{}{path}{mark}{query} to {upstream} as {:?}", forward.base_path, Some(host))
            }
            Err(_) => "400 bad_rewrite".to_owned(),
        },
        Action::Redirect(redirect) => {
            match redirect.location(request.path, query.map(str::as_bytes), scratch) {
                Ok(location) => format!("{} {}", redirect.status, String::from_utf8_lossy(&location)),
                Err(_) => "400 bad_rewrite".to_owned(),
            }
        }
        Action::Respond(respond) => format!("{} {}", respond.status, respond.body.len()),
        Action::Files(files) => {
            format!("{} below {}", String::from_utf8_lossy(request.path), files.folder.display())
        }
        Action::Unset(_) => "502 upstream_dns".to_owned(),
    };
    format!("{}/{}: {outcome}", route.site.map_or("-", site_name), rule.name)
}

const REQUEST_PATHS: [&str; 10] =
    ["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/a.x", "/a/b.x", "/a//x", "/b"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn an_explanation_says_what_routing_does(
        file in file(),
        host in prop::sample::select(vec!["s.test", "t.test", "u.v.test", "other"]),
        path in prop::sample::select(REQUEST_PATHS.to_vec()),
        query in prop::option::of(Just("q=1")),
        method in prop::sample::select(vec!["GET", "POST", "PATCH"]),
        websocket: bool,
    ) {
        let (snapshot, websocket) = (compile(&file.text()), websocket && method == "GET");
        let url = format!("http://{host}{path}{}", query.map_or(String::new(), |query| format!("?{query}")));
        let explanation = explain(&snapshot, &Question { method, websocket, ..get(&url) });
        let request = RouteRequest {
            listener: "127.0.0.1:1",
            host: Some(host.as_bytes()),
            path: path.as_bytes(),
            method: method.as_bytes(),
            websocket,
        };
        prop_assert_eq!(told(&explanation), routed(&snapshot, &request, query));
        let met = explanation.sites.iter().find(|site| site.verdict == SiteVerdict::Met);
        prop_assert_eq!(met.map(|site| &site.site), explanation.site.as_ref());
        let mut won = false;
        for list in &explanation.lists {
            let written = file.rules(&list.of);
            if list.unused.is_none() && list.of != ListOwner::OwnUpstream(explanation.site.clone().unwrap_or_default()) {
                prop_assert_eq!(list.rules.len(), written.len());
            }
            for (rule, written) in list.rules.iter().zip(written) {
                let takes = if won { Verdict::Later } else { Verdict::Wins };
                prop_assert_eq!(rule.verdict, written.verdict(path, method, websocket).unwrap_or(takes));
                won |= rule.verdict == Verdict::Wins;
            }
            for rule in list.rules.iter().filter(|rule| rule.name == Rule::OWN_UPSTREAM) {
                prop_assert_eq!(rule.verdict, if won { Verdict::Later } else { Verdict::Wins });
                won = true;
            }
        }
        prop_assert_eq!(won, explanation.winner.is_some());
    }
}
