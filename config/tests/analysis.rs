//! What an analysis says of rules: golden texts, files of many rules, and random configurations against an oracle that
//! tries each rule alone, with plain string operations or an ECMAScript engine, on every short path and on many others.

use std::collections::BTreeSet;

use proptest::prelude::*;
use ringway_config::{
    Checked, Compiler, NoRoute, Owner, Paths, RouteRequest, Rule, RuleId, SiteId, Snapshot, Source, Standing,
};

const LISTENERS: &str = "listeners = [{ name = \"a\", address = \"127.0.0.1:8080\" }, { name = \"b\", address = \"127.0.0.1:80\" }]\n";

#[track_caller]
fn check(rest: &str) -> Checked {
    let text = format!("{LISTENERS}{rest}");
    let source = Source { name: "test.toml", text: &text };
    match Compiler::new().check(&source) {
        Ok(checked) => checked,
        Err(problems) => panic!("{}{text}", problems.render(&source, false)),
    }
}

/// Site-less rules: name, `path = ".."` or `pattern = '..'`, and further keys.
fn rules(rules: &[(&str, &str)]) -> String {
    rules.iter().map(|(name, keys)| rule("rules", name, keys)).collect()
}

fn rule(list: &str, name: &str, keys: &str) -> String {
    format!("[[{list}]]\nname = \"{name}\"\ntarget = \"http://127.0.0.1:3\"\n{keys}\n\n")
}

/// The place of each warning, its message and its help.
fn warnings(checked: &Checked) -> Vec<String> {
    let warning = |problem: &ringway_config::Problem| {
        format!("{}: {}; {}", problem.path, problem.message, problem.help.as_deref().unwrap_or("-"))
    };
    checked.compiled.warnings.iter().map(warning).collect()
}

/// How each rule stands: its example, or the names of what covers it.
fn standings(checked: &Checked) -> Vec<String> {
    let rules = &checked.compiled.snapshot.rules;
    let standing = |(rule, standing): (&std::sync::Arc<Rule>, &Standing)| match standing {
        Standing::Wins(example) => format!("{}: {example}", rule.name),
        Standing::Covered { by } => {
            let names: Vec<_> = by.iter().map(|rule| &*rules[rule.index()].name).collect();
            format!("{}: covered by {}", rule.name, names.join(", "))
        }
        other => format!("{}: {other:?}", rule.name),
    };
    rules.iter().zip(&checked.analysis.rules).map(standing).collect()
}

#[test]
fn a_rule_that_never_wins_is_told_with_what_covers_it() {
    let checked = check(&rules(&[
        ("api", "path = \"/api/*\""),
        ("exact", "path = \"/api/x\""),
        ("get", "path = \"/g\"\nmethods = [\"GET\"]"),
        ("not ws", "path = \"/g\"\nws = false"),
        ("ws", "path = \"/g\""),
        ("post", "path = \"/g\"\nmethods = [\"POST\"]"),
        ("digits", "pattern = '^/v\\d+/'"),
        ("letters", "pattern = '^/v[^/\\d]'"),
        ("versions", "pattern = '^/v(1|a)/'"),
        ("dots", "pattern = '^/\\.\\./'"),
        ("escapes", "pattern = '^/%2[eE]$'"),
        ("trace", "path = \"/t\"\nmethods = [\"TRACE\"]"),
        ("rest", "path = \"*\""),
        ("nothing", "pattern = '.'"),
        ("off", "path = \"*\"\nenabled = false"),
    ]));
    let expected = [
        "api: GET http://anyhost:8080/api",
        "exact: covered by api",
        "get: GET http://anyhost:8080/g",
        "not ws: POST http://anyhost:8080/g",
        "ws: Covered",
    ];
    let told = standings(&checked);
    assert_eq!(told[..4], expected[..4]);
    assert_eq!(
        told[4..],
        [
            "ws: covered by get, not ws",
            "post: covered by not ws",
            "digits: GET http://anyhost:8080/v0/",
            "letters: GET http://anyhost:8080/va",
            "versions: covered by digits, letters",
            "dots: NoPath",
            "escapes: NoPath",
            "trace: NoMethod",
            "rest: GET http://anyhost:8080/",
            "nothing: covered by rest",
            "off: Disabled",
        ]
    );
    assert_eq!(
        warnings(&checked),
        [
            "/rules/1/path: this rule never wins: \"api\" before it already covers all of it; move it up, or remove it",
            "/rules/4/path: this rule never wins: \"get\" and \"not ws\" before it already cover all of it; move it up, or remove it",
            "/rules/5/path: this rule never wins: \"not ws\" before it already covers all of it; move it up, or remove it",
            "/rules/8/pattern: this rule never wins: \"digits\" and \"letters\" before it already cover all of it; move it up, or remove it",
            "/rules/9/pattern: this rule never wins: it matches no path that comes to it; -",
            "/rules/10/pattern: this rule never wins: it matches no path that comes to it; -",
            "/rules/11/methods: this rule never wins: the methods that it takes get 405; TRACE comes to rules with allow_trace = true in [server], CONNECT never does",
            "/rules/13/pattern: this rule never wins: \"rest\" before it already covers all of it; move it up, or remove it",
        ]
    );
}

#[test]
fn exceptions_are_no_warning_and_rules_that_cross_are_one_each() {
    let checked = check(&rules(&[
        ("exception", "path = \"/api/secret/*\""),
        ("method", "path = \"/api/*\"\nmethods = [\"GET\"]"),
        ("api", "path = \"/api/*\""),
        ("img", "path = \"/img/*\""),
        ("json", "path = \"*.json\""),
        ("rest", "path = \"*\""),
    ]));
    assert_eq!(
        warnings(&checked),
        ["/rules/4/path: this rule is partly hidden: \"exception\" is asked before it and takes GET \
          http://anyhost:8080/api/secret/.json, and 3 more rules take a part; it takes GET http://anyhost:8080/.json; put it \
          first if it should take both"]
    );
    let pairs: Vec<_> = checked.analysis.overlaps.iter().map(|it| (it.winner.0, it.loser.0)).collect();
    assert_eq!(pairs, [(0, 4), (1, 4), (2, 4), (3, 4)]);
}

#[test]
fn each_site_is_looked_at_under_its_hosts_and_prefixes() {
    let site = |name: &str, keys: &str| format!("[[sites]]\nname = \"{name}\"\n{keys}\n");
    let text = site("shop", "hosts = [\"shop.example\", \"*.shop.example\"]\nproject = \"p\"")
        + &rule("sites.rules", "own", "path = \"/own/*\"")
        + &site("admin", "hosts = [\"shop.example\"]\npath_prefix = \"/admin\"")
        + &rule("sites.rules", "inside", "path = \"/admin/x\"")
        + &rule("sites.rules", "outside", "path = \"/x\"")
        + &site(
            "up",
            "hosts = [\"up.example\"]\nupstream = \"u\"\nlisteners = [\"b\"]\ninherit_global = true",
        )
        + &site("full", "hosts = [\"full.example\"]\nupstream = \"u\"")
        + &rule("sites.rules", "all", "path = \"/*\"")
        + &site("last", "hosts = [\"*\"]\nupstream = \"u\"")
        + "[[projects]]\nname = \"p\"\n"
        + &rule("projects.rules", "hidden", "path = \"/own/deep/*\"")
        + &rule("projects.rules", "admins", "path = \"/admin\"")
        + "[[projects]]\nname = \"unused\"\n"
        + &rule("projects.rules", "nobody", "path = \"/*\"")
        + &rules(&[("site-less", "path = \"/own/*\""), ("get", "path = \"/*\"\nmethods = [\"GET\"]")])
        + "[[upstreams]]\nname = \"u\"\nbackends = [{ url = \"http://127.0.0.1:4\" }]\n";
    let checked = check(&text);
    assert_eq!(
        standings(&checked),
        [
            "own: GET http://shop.example:8080/own",
            "inside: GET http://shop.example:8080/admin/x",
            "outside: NoPath",
            "(upstream): POST http://up.example/",
            "all: GET http://full.example:8080/",
            "(upstream): covered by all",
            "(upstream): GET http://anyhost:8080/",
            "hidden: covered by own",
            // On shop.example they are the other site's.
            "admins: GET http://tenant.shop.example:8080/admin",
            "nobody: NoRequest",
            // Site `up` is on listener b, whose port needs no telling; the star site takes all other hosts.
            "site-less: GET http://up.example/own",
            "get: GET http://shop.example:8080/",
        ]
    );
    let warnings = warnings(&checked);
    assert_eq!(
        warnings[..],
        [
            "/sites/1/rules/1/path: this rule never wins: it matches no path that comes to it; the paths of this site begin \
             with \"/admin\", and rules match them whole",
            "/sites/3/upstream: this rule never wins: \"all\" before it already covers all of it; move it up, or remove it",
            "/projects/0/rules/0/path: this rule never wins: \"own\" of site \"shop\" before it already covers all of it; \
             move it up, or remove it",
            "/projects/1/name: no site uses the rules of this project; -",
        ]
    );
}

#[test]
fn what_all_sites_take_for_themselves_never_comes_to_the_rules_behind_them() {
    let site = |index: usize, path: &str| {
        format!("[[sites]]\nname = \"s{index}\"\nhosts = [\"s{index}.example\"]\n")
            + &rule("sites.rules", &format!("own{index}"), &format!("path = \"{path}\""))
    };
    let text = site(0, "/*")
        + &site(1, "/a/*")
        + &site(2, "/b/*")
        + "[[sites]]\nname = \"rest\"\nhosts = [\"*\"]\n"
        + &rule("sites.rules", "rest", "pattern = '^/(a|b|c/)'")
        + &rules(&[("a", "path = \"/a/x\""), ("c", "path = \"/c/y\""), ("d", "path = \"/d\"")]);
    let checked = check(&text);
    assert_eq!(
        standings(&checked)[4..],
        [
            "a: GET http://s2.example:8080/a/x",
            "c: GET http://s1.example:8080/c/y",
            "d: GET http://s1.example:8080/d"
        ]
    );
    let text = text.replace("/b/*", "/a/*").replace("\"/a/*\"", "\"/a/x/*\"");
    assert_eq!(standings(&check(&text))[4], "a: covered by own0, own1, own2, rest");
}

#[test]
fn open_doors_are_told() {
    let to = |target: &str, keys: &str| {
        let all = rules(&[("a", keys)]).replace("http://127.0.0.1:3", target);
        warnings(&check(&all)).iter().filter(|warning| warning.contains("public address")).count()
    };
    assert_eq!(to("http://example.com", "path = \"*\""), 1);
    assert_eq!(to("http://8.8.8.8", "pattern = '^/'"), 1);
    assert_eq!(to("http://8.8.8.8", "pattern = '^/a'"), 0);
    assert_eq!(to("http://8.8.8.8", "path = \"*\"\nmethods = [\"GET\"]"), 0);
    assert_eq!(to("http://app.internal", "path = \"*\""), 0);
    assert_eq!(to("http://[::1]", "path = \"*\""), 0);
}

/// Unoptimised, walking is twenty times slower.
const MANY_RULES: usize = if cfg!(debug_assertions) { 1_000 } else { 10_000 };
const MANY_SITES: usize = if cfg!(debug_assertions) { 200 } else { 1_000 };

/// Thousands of prefixes and a few suffixes: more states than any one table of theirs has.
#[test]
fn many_rules_are_walked_to_the_end() {
    let path = |index: usize| format!("/team-{}/service-{index}/v{}", index % 97, index % 7);
    let mut text: String = (0..MANY_RULES)
        .map(|index| rule("rules", &format!("r{index}"), &format!("path = \"{}/*\"", path(index))))
        .collect();
    text +=
        &rules(&["css", "js", "json", "png", "svg"].map(|end| (end, &*format!("path = \"*.{end}\"").leak())));
    text += &rules(&[("late", &format!("path = \"{}/late\"", path(77)))]);
    let checked = check(&text);
    assert!(checked.analysis.complete);
    let told = standings(&checked);
    assert_eq!(told[MANY_RULES], "css: GET http://anyhost:8080/.css");
    assert_eq!(told[MANY_RULES + 5], "late: covered by r77");
    assert_eq!(checked.compiled.warnings.len(), 6, "{:#?}", warnings(&checked));
}

/// Rules for every path, each with a method of its own, before as many paths: a set of many methods for each path.
#[test]
fn many_methods_are_looked_at_to_the_end() {
    let count = MANY_SITES;
    let method =
        |index| rule("rules", &format!("m{index}"), &format!("path = \"/*\"\nmethods = [\"M{index}\"]"));
    let path = |index| rule("rules", &format!("p{index}"), &format!("path = \"/x{index}\""));
    let rest = rules(&[("late", "path = \"/x7\"\nmethods = [\"M7\", \"GET\"]")]);
    let all = (0..count).map(method).chain((0..count).map(path)).collect::<String>() + &rest;
    let checked = check(&all);
    assert!(checked.analysis.complete);
    let told = standings(&checked);
    assert_eq!(told[count - 1], format!("m{0}: M{0} http://anyhost:8080/", count - 1));
    assert_eq!(told[count + 7], "p7: GET http://anyhost:8080/x7");
    assert_eq!(told[count * 2], "late: covered by p7");
    // A thousand methods before a thousand paths are more pairs than are noted.
    let pairs = count * count;
    assert_eq!(checked.analysis.overlaps_complete, checked.analysis.overlaps.len() == pairs);
    assert!(checked.analysis.overlaps_complete || pairs > 256 << 10);
}

/// The rules of many sites, with as many that all of them share.
#[test]
fn many_sites_share_the_rules_behind_their_own() {
    let site = |index: usize| {
        let own = |name: &str, keys: &str| rule("sites.rules", name, keys);
        format!("[[sites]]\nname = \"s{index}\"\nhosts = [\"s{index}.example\", \"*.s{index}.example\"]\n")
            + if index.is_multiple_of(2) { "" } else { "upstream = \"u\"\ninherit_global = true\n" }
            + &own("a", &format!("path = \"/own-{index}/*\""))
            + &own("b", &format!("path = \"/own-{index}/b\""))
            + &if index.is_multiple_of(10) { own("c", "path = \"/*\"") } else { String::new() }
    };
    let mut text: String = (0..MANY_SITES).map(site).collect();
    text += "[[upstreams]]\nname = \"u\"\nbackends = [{ url = \"http://127.0.0.1:4\" }]\n";
    let shared = |index| rule("rules", &format!("g{index}"), &format!("path = \"/shared-{index}/*\""));
    text += &(0..MANY_SITES).map(shared).collect::<String>();
    let checked = check(&text);
    assert!(checked.analysis.complete);
    let told = standings(&checked);
    assert_eq!(told.iter().filter(|told| *told == "b: covered by a").count(), MANY_SITES);
    assert_eq!(told.iter().filter(|told| told.contains("covered")).count(), MANY_SITES);
}

/// Rules that begin and end anywhere are too many for one table: what cannot be walked is not known, and what is said of
/// the others is right.
#[test]
fn what_cannot_be_walked_is_not_known() {
    let unbound = |index: u8| {
        let (one, other) = (char::from(b'a' + index % 2), char::from(b'a' + index / 7));
        (format!("u{index}"), format!("pattern = '{one}{{{}}}.*{other}.*/'", 1 + index % 3))
    };
    let mut all = vec![
        ("first".to_owned(), "path = \"/a/*\"".to_owned()),
        ("covered".to_owned(), "path = \"/a/b\"".to_owned()),
        ("open".to_owned(), "pattern = '^/b'".to_owned()),
    ];
    all.extend((0..14).map(unbound));
    all.extend(
        [("late", "path = \"/ab/b/*\""), ("rest", "path = \"*\""), ("never", "pattern = '^/c'")]
            .map(|(name, path)| (name.to_owned(), path.to_owned())),
    );
    let all: Vec<_> = all.iter().map(|(name, path)| (&**name, &**path)).collect();
    let checked = check(&rules(&all));
    check_examples(&checked);
    let told = standings(&checked);
    assert_eq!(told.iter().filter(|told| told.starts_with('u') && told.ends_with(": Unknown")).count(), 14);
    assert_eq!(told[1], "covered: covered by first");
    assert_eq!(told[17..], ["late: Unknown", "rest: GET http://anyhost:8080/", "never: covered by rest"]);
    let mut seen = Seen { unknown: true, ..Seen::default() };
    for path in short_paths(b"abc/", 5) {
        requests(&path).take(5).for_each(|request| seen.try_request(&checked, &request));
    }
}

/// The oracle: whether a rule takes a request.
fn takes_request(rule: &Rule, request: &RouteRequest<'_>) -> bool {
    let path = std::str::from_utf8(request.path).unwrap();
    let by_path = match &rule.paths {
        Paths::Pattern(pattern) => regress::Regex::new(pattern).unwrap().find(path).is_some(),
        Paths::Path(all) if all == "*" || all == "/*" => true,
        Paths::Path(pattern) => match (pattern.strip_prefix('*'), pattern.strip_suffix("/*")) {
            (Some(suffix), _) => path.ends_with(suffix),
            (_, Some(prefix)) => path == prefix || path.starts_with(&format!("{prefix}/")),
            _ => path == pattern,
        },
    };
    let by_method =
        rule.methods.as_ref().is_none_or(|methods| methods.iter().any(|m| m.as_bytes() == request.method));
    rule.enabled && by_path && by_method && (rule.ws || !request.websocket)
}

/// The rules that a request walks.
fn walked(snapshot: &Snapshot, site: Option<SiteId>) -> Vec<RuleId> {
    let ids = (0..snapshot.rules.len()).map(|index| RuleId(index as u32));
    let global = ids.filter(|id| snapshot.rule(*id).unwrap().owner == Owner::Everywhere);
    let Some(site) = site.and_then(|site| snapshot.site(site)) else { return global.collect() };
    let mut walked = site.rules.clone();
    walked.extend(site.project.iter().flat_map(|project| &snapshot.project(*project).unwrap().rules));
    if site.inherit_global || site.fallback.is_none() {
        walked.extend(global);
    }
    walked.extend(site.fallback);
    walked
}

/// What trying requests has shown.
#[derive(Default)]
struct Seen {
    /// Some rules have no table that could be walked.
    unknown: bool,
    wins: BTreeSet<RuleId>,
    /// The first took what the second takes, too.
    took: BTreeSet<(RuleId, RuleId)>,
    /// The first took a path that the second does not match.
    alone: BTreeSet<(RuleId, RuleId)>,
}

impl Seen {
    /// Tries a request, and holds what becomes of it against the analysis.
    fn try_request(&mut self, checked: &Checked, request: &RouteRequest<'_>) {
        let Checked { compiled, analysis } = checked;
        let snapshot = &compiled.snapshot;
        let (site, winner) = match snapshot.route(request, &mut snapshot.scratch()) {
            Ok(route) => (route.site, Some(route.rule)),
            Err(NoRoute::NoRule { site }) => (site, None),
            Err(NoRoute::NoSite) => (None, None),
        };
        let walked = walked(snapshot, site);
        let takers: Vec<_> =
            walked.iter().copied().filter(|id| takes_request(snapshot.rule(*id).unwrap(), request)).collect();
        assert_eq!(takers.first().copied(), winner, "the oracle and the router disagree");
        let Some(winner) = winner else { return };
        self.wins.insert(winner);
        match analysis.standing(winner).unwrap() {
            Standing::Wins(example) => {
                assert!(example.path.len() <= request.path.len() || request.path == b"*")
            }
            Standing::Unknown if self.unknown => {}
            other => panic!("{winner:?} wins at {request:?}, but is said to be {other:?}"),
        }
        let owner = |id: RuleId| snapshot.rule(id).unwrap();
        for id in walked.iter().copied().filter(|id| *id != winner && owner(*id).enabled) {
            let is_neighbour = owner(id).owner == owner(winner).owner && owner(id).name != Rule::OWN_UPSTREAM;
            let takes = takers.contains(&id);
            match analysis.standing(id).unwrap() {
                Standing::Wins(_) => {}
                Standing::Unknown if self.unknown => {}
                Standing::Covered { by } => {
                    assert!(!takes || takers.iter().any(|taker| by.contains(taker)), "{by:?}")
                }
                other => assert!(!takes, "{id:?} matches {request:?}, but is said to be {other:?}"),
            }
            let anyhow = Rule { methods: None, ws: true, ..Rule::clone(owner(id)) };
            if is_neighbour && takes {
                self.took.insert((winner, id));
            } else if is_neighbour && !takes_request(&anyhow, request) && request.path != b"*" {
                self.alone.insert((winner, id));
            }
        }
    }

    /// The pairs that must have been found to cross.
    fn crossings(&self) -> impl Iterator<Item = (RuleId, RuleId)> {
        self.took.intersection(&self.alone).copied().filter(|(_, loser)| self.wins.contains(loser))
    }
}

/// Holds every example and every pair against the router and the oracle.
fn check_examples(checked: &Checked) {
    let Checked { compiled, analysis } = checked;
    let snapshot = &compiled.snapshot;
    let winner =
        |request: &RouteRequest<'_>| snapshot.route(request, &mut snapshot.scratch()).ok().map(|it| it.rule);
    for (index, standing) in analysis.rules.iter().enumerate() {
        if let Standing::Wins(example) = standing {
            assert_eq!(winner(&example.request()), Some(RuleId(index as u32)), "{example}");
        }
    }
    for overlap in &analysis.overlaps {
        let lost = overlap.lost.request();
        assert_eq!(winner(&lost), Some(overlap.winner), "{overlap:?}");
        assert!(takes_request(snapshot.rule(overlap.loser).unwrap(), &lost), "{overlap:?}");
        assert!(matches!(analysis.standing(overlap.loser), Some(Standing::Wins(_))));
    }
}

fn random_rule() -> impl Strategy<Value = String> {
    let paths = "/ /* /a /a/* /a/b /a/b/* /b /b/* //* /a/ /ab/* *a *b *.b */ *ab *.a /.a /a.b/* /..a/*";
    let paths: Vec<_> = paths.split(' ').map(|path| format!("path = {path:?}")).collect();
    let patterns = r"^/a ^/b$ b$ ^/(a|b)/?$ a.b ^/[^a] \. ^/a*$ ^/a+/ ^/\.\./ (a|b)(/.*)?$ ^/.{2}$ ^\* \bb\b ^/(?!x)? a{2} ^/$ .* ^/a/.+ [.]b$ ^$ ab|^/b/";
    let patterns = patterns.split(' ').filter(|pattern| !pattern.contains("(?"));
    let patterns: Vec<_> = patterns.map(|pattern| format!("pattern = '{pattern}'")).collect();
    let what = prop_oneof![3 => prop::sample::select(paths), 2 => prop::sample::select(patterns)];
    let methods =
        prop::option::weighted(0.3, prop::sample::subsequence(vec!["GET", "POST", "PATCH", "OPTIONS"], 1..3));
    (what, methods, prop::bool::weighted(0.9), prop::bool::weighted(0.85)).prop_map(
        |(what, methods, enabled, ws)| {
            let methods = methods.map_or(String::new(), |methods| format!("methods = {methods:?}\n"));
            format!("{what}\nenabled = {enabled}\nws = {ws}\n{methods}")
        },
    )
}

fn list(name: &'static str, rules: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    prop::collection::vec(random_rule(), rules).prop_map(move |rules| {
        let rules = rules.iter().enumerate();
        rules.map(|(index, keys)| rule(name, &format!("r{index}"), keys)).collect()
    })
}

fn site((host, prefix): (&'static str, &'static str)) -> impl Strategy<Value = String> {
    let listeners = prop::option::of(prop::sample::select(vec!["a", "b"]));
    let keys = (0..3_usize, any::<bool>(), any::<bool>(), listeners);
    (keys, list("sites.rules", 0..5)).prop_map(move |((project, upstream, inherit, listener), rules)| {
        let mut text = format!(
            "[[sites]]\nname = \"{host}{prefix}\"\nhosts = [\"{host}\"]\ninherit_global = {inherit}\n"
        );
        text += &if prefix.is_empty() { String::new() } else { format!("path_prefix = {prefix:?}\n") };
        text += if upstream { "upstream = \"u\"\n" } else { "" };
        text += &if project < 2 { format!("project = \"{project}\"\n") } else { String::new() };
        text += &listener.map_or(String::new(), |listener| format!("listeners = [{listener:?}]\n"));
        text + &rules
    })
}

/// A configuration of sites of which no two have host and prefix in common, two projects, and site-less rules.
fn configuration() -> impl Strategy<Value = String> {
    let places = ["h", "*.h", "x.h", "*"].map(|host| ["", "/a", "/a/b"].map(|prefix| (host, prefix)));
    let places = prop::sample::subsequence(places.concat(), 0..5);
    let sites = places.prop_flat_map(|places| places.into_iter().map(site).collect::<Vec<_>>());
    let lists = (list("projects.rules", 0..4), list("projects.rules", 0..4), list("rules", 0..8));
    (sites, lists).prop_map(|(sites, (first, second, global))| {
        format!(
            "{}[[projects]]\nname = \"0\"\n{first}[[projects]]\nname = \"1\"\n{second}{global}[[upstreams]]\nname = \"u\"\n\
             backends = [{{ url = \"http://127.0.0.1:4\" }}]\n",
            sites.concat()
        )
    })
}

/// Every path of at most so many of these bytes that a rule could see.
fn short_paths(bytes: &[u8], length: usize) -> Vec<String> {
    let mut all = vec!["*".to_owned()];
    let mut longest = vec![String::from("/")];
    for _ in 0..length {
        all.extend(longest.iter().cloned());
        let longer = |path: &String| {
            bytes.iter().map(|byte| format!("{path}{}", char::from(*byte))).collect::<Vec<_>>()
        };
        longest = longest.iter().flat_map(longer).collect();
    }
    all.retain(|path| path == "*" || !path.split('/').any(|segment| segment == "." || segment == ".."));
    all
}

fn requests<'p>(path: &'p str) -> impl Iterator<Item = RouteRequest<'p>> {
    let classes: &[(&[u8], bool)] = if path == "*" {
        &[(b"OPTIONS", false)]
    } else {
        &[(b"GET", false), (b"GET", true), (b"POST", false), (b"PUT", false), (b"OPTIONS", false)]
    };
    let hosts: [Option<&[u8]>; 5] = [Some(b"h"), Some(b"x.h"), Some(b"y.h"), Some(b"other"), None];
    let listeners = ["127.0.0.1:8080", "127.0.0.1:80"];
    listeners.into_iter().flat_map(move |listener| {
        hosts.into_iter().flat_map(move |host| {
            classes.iter().map(move |(method, websocket)| RouteRequest {
                listener,
                host,
                path: path.as_bytes(),
                method,
                websocket: *websocket,
            })
        })
    })
}

/// A path of what stands in the rules, and of what nearly does, normalised as requests are.
fn boundary_path() -> impl Strategy<Value = String> {
    let pieces = [
        "/", "/", "/", "a", "b", "ab", "aa", ".", "..", "%2e", "%2E", "%2F", "%41", "*", "~", "a.b", "/a/b/",
        "/admin",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..10).prop_filter_map("no path", |pieces| {
        let mut path = format!("/{}", pieces.concat()).into_bytes();
        ringway_wire::check_path(&path).ok()?;
        let length = ringway_wire::normalise_path(&mut path).ok()?;
        path.truncate(length);
        String::from_utf8(path).ok()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 24 } else { 1_000 }))]

    /// A million paths, where the build is optimised.
    #[test]
    fn many_paths_become_what_is_said_of_them(
        text in configuration(),
        paths in prop::collection::vec((boundary_path(), any::<prop::sample::Selector>()), 1_000),
    ) {
        let checked = check(&text);
        let mut seen = Seen::default();
        for (path, chosen) in &paths {
            seen.try_request(&checked, &chosen.select(requests(path)));
        }
    }

    #[test]
    fn every_short_path_becomes_what_is_said_of_it(text in configuration()) {
        let checked = check(&text);
        prop_assert!(checked.analysis.complete);
        check_examples(&checked);
        let mut seen = Seen::default();
        for path in short_paths(b"ab/.", 4) {
            requests(&path).for_each(|request| seen.try_request(&checked, &request));
        }
        let found: BTreeSet<_> = checked.analysis.overlaps.iter().map(|it| (it.winner, it.loser)).collect();
        for pair in seen.crossings() {
            prop_assert!(found.contains(&pair), "{:?} cross, and only {:?} are known to\n{}", pair, found, text);
        }
    }
}
