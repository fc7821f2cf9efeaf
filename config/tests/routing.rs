//! Which site and which rule a request meets, through the crate's public face: the tables of the specification, and
//! random configurations against an oracle that tries everything in turn with plain string operations.

use std::collections::BTreeSet;

use proptest::prelude::*;
use ringway_config::{Compiler, NoRoute, Owner, RouteRequest, SiteId, Snapshot, Source};

/// Written so that both keys and tables may follow.
const LISTENERS: &str = "listeners = [{ name = \"a\", address = \"127.0.0.1:1\" }, { name = \"b\", address = \"127.0.0.1:2\" }]\n";

#[track_caller]
fn compile(rest: &str) -> Snapshot {
    let text = format!("{LISTENERS}{rest}");
    let source = Source { name: "test.toml", text: &text };
    match Compiler::new().compile(&source) {
        Ok(compiled) => compiled.snapshot,
        Err(problems) => panic!("{}{text}", problems.render(&source, false)),
    }
}

/// A GET on the first listener.
fn get<'a>(host: Option<&'a str>, path: &'a str) -> RouteRequest<'a> {
    RouteRequest {
        listener: "127.0.0.1:1",
        host: host.map(str::as_bytes),
        path: path.as_bytes(),
        method: b"GET",
        websocket: false,
    }
}

/// Site, rule and tenant by their names: `site/rule`, with `-` for no site, and ` (tenant)` behind it.
fn routed(snapshot: &Snapshot, request: &RouteRequest<'_>) -> String {
    match snapshot.route(request, &mut snapshot.scratch()) {
        Err(NoRoute::NoSite) => "no site".to_owned(),
        Err(NoRoute::NoRule { .. }) => "no rule".to_owned(),
        Ok(route) => {
            let site = route.site.map_or("-", |id| &*snapshot.site(id).unwrap().name);
            let rule = &snapshot.rule(route.rule).unwrap().name;
            let host = request.host.unwrap_or_default();
            let tenant = route.tenant.map(|range| String::from_utf8_lossy(&host[range]).to_lowercase());
            format!("{site}/{rule}{}", tenant.map_or(String::new(), |tenant| format!(" ({tenant})")))
        }
    }
}

/// Sites with one rule `all` each: name, hosts, and further keys.
fn sites(sites: &[(&str, &[&str], &str)]) -> String {
    let site = |(name, hosts, keys): &(&str, &[&str], &str)| {
        let rule = "rules = [{ name = \"all\", path = \"/*\", target = \"http://127.0.0.1:3\" }]";
        format!("[[sites]]\nname = \"{name}\"\nhosts = {hosts:?}\n{keys}\n{rule}\n\n")
    };
    sites.iter().map(site).collect()
}

/// Site-less rules: name, path, and further keys.
fn rules(rules: &[(&str, &str, &str)]) -> String {
    let rule = |(name, path, keys): &(&str, &str, &str)| {
        format!(
            "[[rules]]\nname = \"{name}\"\npath = \"{path}\"\ntarget = \"http://127.0.0.1:3\"\n{keys}\n\n"
        )
    };
    rules.iter().map(rule).collect()
}

#[test]
fn the_host_table_of_the_specification() {
    let three = compile(&sites(&[
        ("apex", &["sked.ly"], ""),
        ("star", &["*.sked.ly"], ""),
        ("admin", &["admin.sked.ly"], ""),
    ]));
    let nested = compile(&sites(&[("outer", &["*.sked.ly"], ""), ("inner", &["*.eu.sked.ly"], "")]));
    for (snapshot, host, expected) in [
        (&three, "admin.sked.ly", "admin/all"),
        (&three, "sked.ly", "apex/all"),
        (&three, "tenant1.sked.ly", "star/all (tenant1)"),
        (&three, "TENANT1.SKED.LY.", "star/all (tenant1)"),
        (&three, "us.t1.sked.ly", "star/all (us.t1)"),
        (&three, "tenant1.sked.ly.evil.com", "no site"),
        (&three, "notsked.ly", "no site"),
        (&three, ".sked.ly", "no site"),
        (&three, "ly", "no site"),
        (&nested, "a.eu.sked.ly", "inner/all (a)"),
        (&nested, "eu.sked.ly", "outer/all (eu)"),
        (&nested, "sked.ly", "no site"),
    ] {
        assert_eq!(routed(snapshot, &get(Some(host), "/")), expected, "{host}");
    }
}

#[test]
fn names_are_compared_as_a_labels_and_ip_literals_are_names() {
    let snapshot = compile(&sites(&[
        ("idna", &["bücher.example"], ""),
        ("v4", &["192.0.2.1"], ""),
        ("v6", &["[2001:db8::1]"], ""),
    ]));
    for (host, expected) in [
        ("xn--bcher-kva.example", "idna/all"),
        ("XN--BCHER-KVA.Example", "idna/all"),
        ("192.0.2.1", "v4/all"),
        ("[2001:db8::1]", "v6/all"),
        ("[2001:DB8:0:0::1]", "v6/all"),
        ("[2001:db8::2]", "no site"),
    ] {
        assert_eq!(routed(&snapshot, &get(Some(host), "/")), expected, "{host}");
    }
}

#[test]
fn the_longest_prefix_that_fits_wins_and_then_the_next_best_host() {
    let snapshot = compile(&sites(&[
        ("plain", &["*.a.example"], ""),
        ("admin", &["x.a.example"], "path_prefix = \"/admin\""),
        ("users", &["x.a.example"], "path_prefix = \"/admin/users\""),
        ("any", &["*"], "path_prefix = \"/any\""),
    ]));
    for (host, path, expected) in [
        ("x.a.example", "/admin", "admin/all"),
        ("x.a.example", "/admin/", "admin/all"),
        ("x.a.example", "/admin/x", "admin/all"),
        ("x.a.example", "/admin/users/1", "users/all"),
        ("x.a.example", "/administrator", "plain/all (x)"),
        ("x.a.example", "/admin%2Fx", "plain/all (x)"),
        ("other.example", "/any/x", "any/all"),
        ("other.example", "/x", "no site"),
    ] {
        assert_eq!(routed(&snapshot, &get(Some(host), path)), expected, "{host}{path}");
    }
}

#[test]
fn a_site_is_on_its_listeners_only() {
    let snapshot = compile(&sites(&[
        ("on a", &["h.example"], "listeners = [\"a\"]"),
        ("on b", &["h.example"], "listeners = [\"b\"]"),
        ("rest", &["*"], ""),
    ]));
    let on = |listener| routed(&snapshot, &RouteRequest { listener, ..get(Some("h.example"), "/") });
    assert_eq!(on("127.0.0.1:1"), "on a/all");
    assert_eq!(on("127.0.0.1:2"), "on b/all");
    assert_eq!(on("127.0.0.1:3"), "rest/all");
}

#[test]
fn without_a_host_only_the_star_and_the_rules_for_every_site_are_left() {
    let star = compile(&sites(&[("star", &["*"], ""), ("named", &["h.example"], "")]));
    assert_eq!(routed(&star, &get(None, "/")), "star/all");
    let named = sites(&[("named", &["h.example"], "")]);
    assert_eq!(routed(&compile(&named), &get(None, "/")), "no site");
    let with_rules = compile(&(named + &rules(&[("global", "/x", "")])));
    assert_eq!(routed(&with_rules, &get(None, "/x")), "-/global");
    assert_eq!(routed(&with_rules, &get(None, "/y")), "no rule");
}

#[test]
fn hosts_that_cannot_be_one_meet_no_named_site() {
    let snapshot = compile(&(sites(&[("star", &["*.h.example"], ""), ("any", &["*"], "")])));
    let long = "a.".repeat(200) + "h.example";
    for host in ["", ".", "..", "[", "[]", "[::1", "\u{e4}", "h.example..", &long] {
        assert_eq!(routed(&snapshot, &get(Some(host), "/")), "any/all", "{host}");
    }
}

#[test]
fn a_sites_own_rules_come_before_those_for_every_site() {
    let text = r#"
        [[sites]]
        name = "s"
        hosts = ["s.example"]
        [[sites.rules]]
        name = "own"
        path = "/own/*"
        target = "http://127.0.0.1:3"

        [[sites]]
        name = "empty"
        hosts = ["empty.example"]
    "#;
    let snapshot = compile(&format!(
        "{text}\n{}",
        rules(&[("own", "/*", "methods = [\"GET\"]"), ("rest", "/rest", "")])
    ));
    for (host, path, expected) in [
        ("s.example", "/own/x", "s/own"),
        ("s.example", "/other", "s/own"),
        ("empty.example", "/other", "empty/own"),
        ("unknown.example", "/other", "-/own"),
    ] {
        assert_eq!(routed(&snapshot, &get(Some(host), path)), expected, "{host}{path}");
    }
    let post = |host, path| routed(&snapshot, &RouteRequest { method: b"POST", ..get(Some(host), path) });
    assert_eq!(post("s.example", "/own/x"), "s/own");
    assert_eq!(post("s.example", "/rest"), "s/rest");
    assert_eq!(post("s.example", "/other"), "no rule");
    assert_eq!(post("unknown.example", "/other"), "no rule");
}

#[test]
fn the_path_table_of_the_specification() {
    let snapshot =
        compile(&rules(&[("exact", "/graphql", ""), ("suffix", "*.json", ""), ("prefix", "/api/*", "")]));
    for (path, expected) in [
        ("/graphql", "-/exact"),
        ("/graphql/", "no rule"),
        ("/api", "-/prefix"),
        ("/api/", "-/prefix"),
        ("/api/x", "-/prefix"),
        ("/apix", "no rule"),
        ("/API/x", "no rule"),
        ("/api/x.json", "-/suffix"),
        ("/x.json/y", "no rule"),
        ("//api", "no rule"),
        ("/api//x", "-/prefix"),
        ("/api%2Fx", "no rule"),
        ("/", "no rule"),
        ("*", "no rule"),
    ] {
        assert_eq!(routed(&snapshot, &get(None, path)), expected, "{path}");
    }
}

#[test]
fn catch_all_rules_alone_take_the_asterisk_form() {
    for catch_all in ["*", "/*"] {
        let snapshot = compile(&rules(&[("root", "/", ""), ("prefix", "//*", ""), ("all", catch_all, "")]));
        assert_eq!(routed(&snapshot, &RouteRequest { method: b"OPTIONS", ..get(None, "*") }), "-/all");
    }
}

#[test]
fn methods_and_upgrades_pass_to_the_next_rule() {
    let snapshot = compile(&rules(&[
        ("off", "/*", "enabled = false"),
        ("read", "/x/*", "methods = [\"GET\", \"HEAD\"]"),
        ("no ws", "/x/*", "ws = false"),
        ("rest", "/x/y", ""),
    ]));
    let request = |method, websocket| RouteRequest { method, websocket, ..get(None, "/x/y") };
    assert_eq!(routed(&snapshot, &request(b"GET", false)), "-/read");
    assert_eq!(routed(&snapshot, &request(b"GET", true)), "-/read");
    assert_eq!(routed(&snapshot, &request(b"POST", false)), "-/no ws");
    assert_eq!(routed(&snapshot, &request(b"POST", true)), "-/rest");
    assert_eq!(routed(&snapshot, &request(b"get", false)), "-/no ws");
    assert_eq!(routed(&snapshot, &RouteRequest { path: b"/x/z", ..request(b"POST", true) }), "no rule");
}

#[test]
fn ids_of_rules_lead_to_their_sites_and_upstreams() {
    let snapshot = compile(
        &(sites(&[("one", &["one.example"], ""), ("two", &["two.example"], "")])
            + &rules(&[("g", "/*", "")])),
    );
    let owners: Vec<_> = snapshot.rules.iter().map(|rule| rule.owner).collect();
    assert_eq!(owners, [Owner::Site(SiteId(0)), Owner::Site(SiteId(1)), Owner::Everywhere]);
    assert_eq!(snapshot.sites[1].rules.len(), 1);
    assert_eq!(snapshot.rule(snapshot.sites[1].rules[0]).unwrap().name, "all");
    assert_eq!(snapshot.upstreams.len(), 1, "equal targets share their upstream");
}

#[test]
fn each_of_ten_thousand_rules_is_met_by_its_own_path() {
    let path = |index: usize| match index % 3 {
        0 => format!("/service-{index}/v1/items"),
        1 => format!("/team/{}/project/{index}", index % 97),
        _ => format!("/exact/{index}"),
    };
    let star = |index: usize| if index % 3 == 2 { "" } else { "/*" };
    let text: String = (0..10_000)
        .map(|index| {
            let path = path(index) + star(index);
            format!(
                "[[rules]]\nname = \"r{index}\"\npath = \"{path}\"\ntarget = \"http://127.0.0.1:{}\"\n",
                1 + index % 999
            )
        })
        .collect();
    let snapshot = compile(&text);
    for index in 0..10_000 {
        let deeper = path(index) + if star(index).is_empty() { "" } else { "/x.json" };
        assert_eq!(routed(&snapshot, &get(Some("h.example"), &deeper)), format!("-/r{index}"));
        assert_eq!(routed(&snapshot, &get(Some("h.example"), &path(index))), format!("-/r{index}"));
    }
}

#[test]
fn many_prefixes_and_many_suffixes_keep_their_order() {
    let text: String = (0..2_000)
        .map(|index| match index % 20 {
            7 => (format!("s{index}"), format!("*.end-{index}")),
            _ => (format!("p{index}"), format!("/p{index}/*")),
        })
        .map(|(name, path)| rules(&[(&name, &path, "")]))
        .collect();
    let snapshot = compile(&(text + &rules(&[("all", "*", "")])));
    for (path, expected) in [
        ("/p6/x.end-7", "-/p6"),
        ("/p8/x.end-7", "-/s7"),
        ("/p8/x.end-27", "-/p8"),
        ("/p1999", "-/p1999"),
        ("/p1999.end-1987", "-/s1987"),
        ("/p2000", "-/all"),
    ] {
        assert_eq!(routed(&snapshot, &get(None, path)), expected, "{path}");
    }
}

#[test]
fn a_change_builds_only_the_tables_of_the_lists_that_it_touches() {
    let mut compiler = Compiler::new();
    let site = |name: &str, path: &str, target: u16| {
        format!(
            "[[sites]]\nname = \"{name}\"\nhosts = [\"{name}.example\"]\nrules = [{{ name = \"r\", path = \"{path}\", target = \"http://127.0.0.1:{target}\" }}]\n"
        )
    };
    let mut built_by = |sites: String| {
        let text = format!("{LISTENERS}{sites}");
        let before = compiler.tables_built();
        let compiled = compiler.compile(&Source { name: "test.toml", text: &text }).unwrap();
        (compiled, compiler.tables_built() - before)
    };
    let (first, built) = built_by(site("a", "/x", 1) + &site("b", "/x", 2) + &site("c", "/y", 3));
    assert_eq!(built, 2, "two sites have the same list of paths");
    let (second, built) = built_by(site("a", "/x", 9) + &site("b", "/z/*", 2) + &site("c", "/y", 3));
    assert_eq!(built, 1);
    drop((first, second));
    let (_third, built) = built_by(site("a", "/x", 1));
    assert_eq!(built, 1, "tables that nobody holds are forgotten");
}

#[test]
fn a_change_of_one_site_of_a_thousand_builds_one_table() {
    let mut compiler = Compiler::new();
    let text = |changed: &str| {
        let site = |at: usize| {
            let path = if at == 500 { changed.to_owned() } else { format!("^/s{at}/v[0-9]+(/.*)?$") };
            format!(
                "[[sites]]\nname = \"s{at}\"\nhosts = [\"s{at}.example\"]\n\
                 rules = [{{ name = \"r\", pattern = '{path}', target = \"http://127.0.0.1:3\" }}]\n"
            )
        };
        format!("{LISTENERS}{}{}", (0..1_000).map(site).collect::<String>(), rules(&[("all", "/*", "")]))
    };
    let (old, new) = (text("^/old$"), text("^/new$"));
    let _old = compiler.compile(&Source { name: "old.toml", text: &old }).unwrap();
    let built = compiler.tables_built();
    assert_eq!(built, 1_001, "each site's, and the one for all");
    let _new = compiler.compile(&Source { name: "new.toml", text: &new }).unwrap();
    assert_eq!(compiler.tables_built() - built, 1);
}

/// A rule as the oracle sees it.
#[derive(Clone, Debug)]
struct Rule {
    path: String,
    enabled: bool,
    methods: Option<Vec<&'static str>>,
    ws: bool,
}

impl Rule {
    fn takes(&self, request: &RouteRequest<'_>) -> bool {
        let path = std::str::from_utf8(request.path).unwrap();
        let by_path = match &*self.path {
            "*" | "/*" => true,
            pattern => match (pattern.strip_prefix('*'), pattern.strip_suffix("/*")) {
                (Some(suffix), _) => path.ends_with(suffix),
                (_, Some(prefix)) => path == prefix || path.starts_with(&format!("{prefix}/")),
                _ => path == pattern,
            },
        };
        let by_method = self
            .methods
            .as_ref()
            .is_none_or(|methods| methods.iter().any(|m| m.as_bytes() == request.method));
        self.enabled && by_path && by_method && (self.ws || !request.websocket)
    }

    fn toml(&self, index: usize) -> String {
        let methods =
            self.methods.as_ref().map_or(String::new(), |methods| format!(", methods = {methods:?}"));
        let Self { path, enabled, ws, .. } = self;
        format!(
            "{{ name = \"{index}\", path = \"{path}\", enabled = {enabled}, ws = {ws}{methods}, target = \"http://h\" }}"
        )
    }
}

fn first(rules: &[Rule], request: &RouteRequest<'_>) -> Option<usize> {
    rules.iter().position(|rule| rule.takes(request))
}

fn segments() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "", "a.b", "x%2F", "*"]), 0..4)
        .prop_map(|segments| segments.iter().map(|segment| format!("/{segment}")).collect())
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![9 => segments().prop_map(|path| if path.is_empty() { "/".to_owned() } else { path }), 1 => Just("*".to_owned())]
}

fn pattern() -> impl Strategy<Value = String> {
    let literal = || segments().prop_map(|path| path.replace('*', "c"));
    prop_oneof![
        1 => prop::sample::select(vec!["*", "/*"]).prop_map(str::to_owned),
        4 => literal().prop_map(|path| if path.is_empty() { "/".to_owned() } else { path }),
        4 => literal().prop_map(|path| if path.is_empty() { "/a/*".to_owned() } else { format!("{path}/*") }),
        2 => prop::sample::select(vec!["*b", "*.b", "*/ab", "*/", "*F"]).prop_map(str::to_owned),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let methods = prop::option::weighted(0.3, prop::sample::subsequence(vec!["GET", "POST", "PUT"], 1..3));
    (pattern(), prop::bool::weighted(0.9), methods, prop::bool::weighted(0.8))
        .prop_map(|(path, enabled, methods, ws)| Rule { path, enabled, methods, ws })
}

fn list() -> impl Strategy<Value = Vec<Rule>> {
    prop::collection::vec(rule(), 0..12)
}

fn rules_toml(list: &[Rule]) -> String {
    let rules: Vec<_> = list.iter().enumerate().map(|(index, rule)| rule.toml(index)).collect();
    format!("rules = [{}]", rules.join(", "))
}

/// A site as the oracle sees it.
#[derive(Clone, Debug)]
struct Site {
    hosts: Vec<String>,
    prefix: String,
    listeners: Option<Vec<&'static str>>,
    rules: Vec<Rule>,
}

impl Site {
    /// How well a host of this site fits: the longer the name the better, an exact one best. With what a star took.
    fn fit(&self, host: Option<&str>) -> Option<(usize, usize)> {
        let fits = |pattern: &String| match (pattern.strip_prefix('*'), host) {
            (Some(""), _) => Some((1, 0)),
            (Some(end), Some(host)) if host.ends_with(end) && host.len() > end.len() => {
                Some((1 + end.len(), host.len() - end.len()))
            }
            (None, Some(host)) if host == pattern => Some((usize::MAX, 0)),
            _ => None,
        };
        self.hosts.iter().filter_map(fits).max()
    }

    fn takes(&self, listener: &str, path: &str) -> bool {
        let on = self.listeners.as_ref().is_none_or(|on| {
            on.iter()
                .any(|name| if *name == "a" { listener == "127.0.0.1:1" } else { listener == "127.0.0.1:2" })
        });
        on && (self.prefix.is_empty()
            || path == self.prefix
            || path.starts_with(&format!("{}/", self.prefix)))
    }

    fn toml(&self, index: usize) -> String {
        let prefix =
            if self.prefix.is_empty() { String::new() } else { format!("path_prefix = {:?}\n", self.prefix) };
        let listeners =
            self.listeners.as_ref().map_or(String::new(), |names| format!("listeners = {names:?}\n"));
        format!(
            "[[sites]]\nname = \"{index}\"\nhosts = {:?}\n{prefix}{listeners}{}\n",
            self.hosts,
            rules_toml(&self.rules)
        )
    }
}

fn host_pattern() -> impl Strategy<Value = String> {
    let known = ["*", "*.b", "*.a.b", "*.c.a.b", "b", "a.b", "c.a.b", "d.c.a.b", "*.d.b", "1.2.3.4"];
    prop::sample::select(known.to_vec()).prop_map(str::to_owned)
}

fn site() -> impl Strategy<Value = Site> {
    let prefix = prop::sample::select(vec!["", "", "/a", "/a/b", "/ab"]).prop_map(str::to_owned);
    let listeners = prop::option::weighted(0.3, prop::sample::subsequence(vec!["a", "b"], 1..=2));
    (prop::collection::btree_set(host_pattern(), 1..4), prefix, listeners, list()).prop_map(
        |(hosts, prefix, listeners, rules)| Site {
            hosts: hosts.into_iter().collect(),
            prefix,
            listeners,
            rules,
        },
    )
}

/// Sites of which no two have a host, a prefix and a listener in common.
fn sites_apart() -> impl Strategy<Value = Vec<Site>> {
    let places = |site: &Site| -> Vec<(String, String, &'static str)> {
        let on = site.listeners.clone().unwrap_or_else(|| vec!["a", "b"]);
        let place = |host: &String, on| (host.clone(), site.prefix.clone(), on);
        on.iter().flat_map(|on| site.hosts.iter().map(move |host| place(host, *on))).collect()
    };
    prop::collection::vec(site(), 0..8).prop_map(move |mut sites| {
        let mut taken = BTreeSet::new();
        sites.retain(|site| {
            let free = places(site).iter().all(|place| !taken.contains(place));
            if free {
                taken.extend(places(site));
            }
            free
        });
        sites
    })
}

fn host() -> impl Strategy<Value = Option<String>> {
    prop::option::weighted(
        0.9,
        prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "d", "A"]), 1..6)
            .prop_map(|labels| labels.join(".")),
    )
}

fn oracle(sites: &[Site], global: &[Rule], request: &RouteRequest<'_>) -> String {
    let host = request.host.map(|host| String::from_utf8_lossy(host).to_lowercase());
    let path = std::str::from_utf8(request.path).unwrap();
    let fitting = sites.iter().enumerate().filter(|(_, site)| site.takes(request.listener, path));
    let best = fitting
        .filter_map(|(index, site)| Some((site.fit(host.as_deref())?, site.prefix.len(), index)))
        .max_by_key(|(fit, prefix, _)| (fit.0, *prefix));
    let site = best.map(|(fit, _, index)| (index, fit.1));
    let own = site.and_then(|(index, _)| first(&sites[index].rules, request));
    match (own.or_else(|| first(global, request)), site) {
        (None, None) if !global.iter().any(|rule| rule.enabled) => "no site".to_owned(),
        (None, _) => "no rule".to_owned(),
        (Some(rule), None) => format!("-/{rule}"),
        (Some(rule), Some((site, 0))) => format!("{site}/{rule}"),
        (Some(rule), Some((site, took))) => format!("{site}/{rule} ({})", &host.unwrap()[..took]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 200 } else { 5_000 }))]

    #[test]
    fn the_table_names_the_first_rule_that_matches(
        list in list(),
        paths in prop::collection::vec(path(), 1..20),
        method in prop::sample::select(vec!["GET", "POST", "HEAD"]),
        websocket: bool,
    ) {
        let snapshot = compile(&rules_toml(&list));
        for path in &paths {
            let request = RouteRequest { method: method.as_bytes(), websocket, ..get(None, path) };
            prop_assert_eq!(routed(&snapshot, &request), oracle(&[], &list, &request), "{}", path);
        }
    }

    #[test]
    fn the_router_finds_what_trying_every_site_finds(
        sites in sites_apart(),
        global in list(),
        requests in prop::collection::vec((host(), path(), any::<bool>(), any::<bool>()), 1..20),
    ) {
        let text: String = sites.iter().enumerate().map(|(index, site)| site.toml(index)).collect();
        let snapshot = compile(&format!("{}\n{text}", rules_toml(&global)));
        for (host, path, second, websocket) in &requests {
            let listener = if *second { "127.0.0.1:2" } else { "127.0.0.1:1" };
            let request = RouteRequest { listener, websocket: *websocket, ..get(host.as_deref(), path) };
            prop_assert_eq!(routed(&snapshot, &request), oracle(&sites, &global, &request), "{:?} {}", host, path);
        }
    }
}
