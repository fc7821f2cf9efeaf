//! In which lists a rule is looked for, and in which order: the site's own, its project's, its own upstream, those of no site.

use super::{Stage, rule};
use crate::access_log::{logging, objects};
use crate::harness::backend::Backend;
use crate::harness::config::{Config, Driver};
use crate::harness::on_both_drivers;
use crate::harness::proxy::Proxy;
use crate::harness::websocket::{assert_echo, close, connect, handshake};

on_both_drivers![
    site_then_project_then_own_upstream,
    site_then_project_then_those_of_no_site,
    a_site_may_inherit_no_rules,
    a_site_may_inherit_those_of_no_site,
    a_project_alone_is_enough,
    an_upstream_without_a_name,
    an_own_upstream_takes_everything,
    a_rule_that_does_not_fit_leaves_the_next_list_its_turn,
    disabled_rules_of_a_project_take_no_part,
    two_sites_share_a_project,
    a_request_that_no_rule_takes_tells_its_site,
    the_access_log_names_the_rule,
];

const NAMES: &[&str] = &["site", "project", "own", "global"];

/// The lists of one site, each with a rule of the same paths that lead to the backend of its name: `/1` is in all, `/2` in
/// all but the site's, `/3` in that of no site alone. `lines` stand in the site.
fn lists(lines: &str) -> String {
    let rules = |table: &str, to: &str, paths: &[&str]| -> String {
        let one = |path: &&str| {
            format!("[[{table}]]\nname = \"{to} {path}\"\npath = \"{path}\"\ntarget = \"{{{to}}}\"\n")
        };
        paths.iter().map(one).collect()
    };
    format!(
        "[[upstreams]]\nname = \"own\"\nbackends = [{{ url = \"{{own}}\" }}]\n\
         [[sites]]\nname = \"s\"\nhosts = [\"s\"]\n{lines}\n{}\
         [[projects]]\nname = \"p\"\n{}{}",
        rules("sites.rules", "site", &["/1"]),
        rules("projects.rules", "project", &["/1", "/2"]),
        rules("rules", "global", &["/1", "/2", "/3"]),
    )
}

/// Asserts who answers `/1` to `/4` for the site.
#[track_caller]
fn assert_answers(driver: Driver, lines: &str, expected: [&str; 4]) {
    let stage = Stage::new(driver, NAMES, &lists(lines));
    let told = ["/1", "/2", "/3", "/4"].map(|path| stage.get("s", path));
    let names = told.each_ref().map(|told| told.split(' ').next().unwrap_or_default());
    assert_eq!(names, expected, "{lines}");
    assert_eq!(stage.get("other", "/1"), "global /1", "without a site there are no other rules");
}

fn site_then_project_then_own_upstream(driver: Driver) {
    assert_answers(driver, "project = \"p\"\nupstream = \"own\"", ["site", "project", "own", "own"]);
}

fn site_then_project_then_those_of_no_site(driver: Driver) {
    assert_answers(driver, "project = \"p\"", ["site", "project", "global", "no_rule"]);
    assert_answers(driver, "", ["site", "global", "global", "no_rule"]);
}

fn a_site_may_inherit_no_rules(driver: Driver) {
    let off = "project = \"p\"\ninherit_rules = false";
    assert_answers(driver, off, ["site", "global", "global", "no_rule"]);
    assert_answers(driver, &format!("{off}\nupstream = \"own\""), ["site", "own", "own", "own"]);
}

fn a_site_may_inherit_those_of_no_site(driver: Driver) {
    let on = "upstream = \"own\"\ninherit_global = true";
    assert_answers(driver, on, ["site", "global", "global", "own"]);
    assert_answers(driver, &format!("{on}\nproject = \"p\""), ["site", "project", "global", "own"]);
    assert_answers(driver, "inherit_global = true", ["site", "global", "global", "no_rule"]);
}

fn a_project_alone_is_enough(driver: Driver) {
    let text = "[[sites]]\nname = \"s\"\nhosts = [\"*.test\"]\nproject = \"p\"\n\
                [[projects]]\nname = \"p\"\n[[projects.rules]]\nname = \"r\"\npattern = '^/api(/.*)?$'\n\
                rewrite = '$1'\ntarget = \"{to}/v1\"\n";
    let stage = Stage::on_one(driver, text);
    assert_eq!(stage.get("a.test", "/api/x?y"), "to /v1/x?y");
    assert_eq!(stage.backends[0].last_head().fields.get("x-vhost-tenant"), Some("a"));
    assert_eq!([stage.get("a.test", "/x"), stage.get("other", "/api")], ["no_rule", "no_site"]);
}

fn an_upstream_without_a_name(driver: Driver) {
    let inline = "upstream = { backends = [{ url = \"{own}\" }, { url = \"{global}\" }], keepalive = 4 }";
    let stage = Stage::new(driver, NAMES, &lists(inline));
    let mut told: Vec<_> = (0..4).map(|_| stage.get("s", "/9?x")).collect();
    told.sort();
    assert_eq!(told, ["global /9?x", "global /9?x", "own /9?x", "own /9?x"], "in turn");
    assert_eq!(stage.get("s", "/1"), "site /1");
}

/// Methods, upgrades, the asterisk and every path; the path as it is, and the site's changes of fields.
fn an_own_upstream_takes_everything(driver: Driver) {
    let lines =
        "upstream = \"own\"\nheaders = { X-Site = \"s\" }\nresponse_headers = { set = { X-Answer = \"s\" } }";
    let stage = Stage::new(driver, NAMES, &lists(lines));
    for (method, target) in [("PURGE", "/a/../x//y%2F?z"), ("OPTIONS", "*"), ("GET", "/")] {
        let answer = stage
            .proxy
            .client()
            .ask(format!("{method} {target} HTTP/1.1\r\nHost: s\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(answer.text(), format!("own {}", target.trim_start_matches("/a/..")));
        assert_eq!(answer.field("x-answer"), Some("s"));
        assert_eq!(stage.backends[2].last_head().fields.get("x-site"), Some("s"));
    }
    let chat = Backend::echoes_messages();
    let text = format!(
        "[[sites]]\nname = \"s\"\nhosts = [\"*\"]\nupstream = {{ backends = [{{ url = \"{}\" }}] }}\n",
        chat.url()
    );
    let proxy = Proxy::start(&Config::new(driver).section(&text));
    let mut socket = connect(&proxy.address(), "/chat");
    assert_echo(&mut socket, "x");
    close(&mut socket);
}

fn a_rule_that_does_not_fit_leaves_the_next_list_its_turn(driver: Driver) {
    let text = "[[sites]]\nname = \"s\"\nhosts = [\"s\"]\nproject = \"p\"\n\
                [[sites.rules]]\nname = \"posts\"\npath = \"/*\"\nmethods = [\"POST\"]\ntarget = \"{site}\"\n\
                [[projects]]\nname = \"p\"\n\
                [[projects.rules]]\nname = \"gets\"\npattern = '^/x'\nmethods = [\"GET\"]\nws = false\n\
                target = \"{project}\"\n";
    let stage = Stage::new(driver, NAMES, &(text.to_owned() + &rule("rest", "/*", "global", "")));
    let ask = |method| stage.ask(&format!("{method} /x HTTP/1.1\r\nHost: s\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(["POST", "GET", "PUT"].map(ask), ["site /x", "project /x", "global /x"]);
    let request = handshake("/x", "").replace("Host: test", "Host: s");
    assert_eq!(stage.ask(&request), "global /x");
}

fn disabled_rules_of_a_project_take_no_part(driver: Driver) {
    let text = lists("project = \"p\"")
        .replace("target = \"{project}\"\n", "target = \"{project}\"\nenabled = false\n");
    let stage = Stage::new(driver, NAMES, &text);
    assert_eq!(["/1", "/2"].map(|path| stage.get("s", path)), ["site /1", "global /2"]);
}

fn two_sites_share_a_project(driver: Driver) {
    let site = |name: &str, lines: &str| {
        format!(
            "[[sites]]\nname = \"{name}\"\nhosts = [\"{name}\"]\nproject = \"p\"\n\
             headers = {{ X-Site = \"{name}\" }}\n{lines}\n"
        )
    };
    let project = "[[projects]]\nname = \"p\"\n[[projects.rules]]\nname = \"r\"\npath = \"/shared/*\"\n\
                   target = \"{to}\"\nheaders = { X-Rule = \"r\" }\n";
    let own =
        "rules = [{ name = \"own\", path = \"/shared/own\", target = \"{to}/own\" }]\nbase_header = true";
    let stage = Stage::on_one(driver, &(site("one", "") + &site("two", own) + project));
    let seen = |host: &str, path: &str| {
        let told = stage.get(host, path);
        let fields = stage.backends[0].last_head().fields;
        let values = ["x-site", "x-rule", "x-base"].map(|name| fields.get(name).unwrap_or("-").to_owned());
        format!("{told} {}", values.join(" "))
    };
    assert_eq!(seen("one", "/shared/own"), "to /shared/own one r -");
    assert_eq!(seen("two", "/shared/own"), "to /own/shared/own two - /");
    assert_eq!(seen("two", "/shared/x"), "to /shared/x two r /");
}

fn a_request_that_no_rule_takes_tells_its_site(driver: Driver) {
    let text = "[[sites]]\nname = \"s\"\nhosts = [\"s\"]\n\
                rules = [{ name = \"r\", path = \"/r\", respond = { status = 200 } }]\n";
    let proxy = logging(Config::new(driver).section(text), "");
    let ask = |host, path| proxy.client().ask(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).status;
    assert_eq!([ask("s", "/x"), ask("other", "/r"), ask("s", "/r")], [404, 404, 200]);
    let told: Vec<_> = objects(&proxy, 3)
        .iter()
        .map(|line| {
            ["code", "site", "rule"].map(|name| line[name].as_str().unwrap_or("-").to_owned()).join(" ")
        })
        .collect();
    assert_eq!(told, ["no_rule s -", "no_site - -", "- s r"]);
}

fn the_access_log_names_the_rule(driver: Driver) {
    let backend = Backend::says_hello();
    let text = NAMES.iter().fold(lists("project = \"p\"\nupstream = \"own\""), |text, name| {
        text.replace(&format!("{{{name}}}"), &backend.url())
    });
    let proxy = logging(Config::new(driver).section(&text), "");
    for path in ["/1", "/2", "/3"] {
        assert_eq!(
            proxy.client().ask(format!("GET {path} HTTP/1.1\r\nHost: s\r\n\r\n")).body,
            b"Hello, World!"
        );
    }
    let lines = objects(&proxy, 3);
    let rules: Vec<_> = lines.iter().map(|line| line["rule"].as_str()).collect();
    assert_eq!(rules[..2], [Some("site /1"), Some("project /2")]);
    assert_eq!(
        (lines[2]["site"].as_str(), lines[2]["upstream"].as_str()),
        (Some("s"), Some("own")),
        "{}",
        lines[2]
    );
}
