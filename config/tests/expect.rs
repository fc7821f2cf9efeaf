//! Expectations: those that hold say nothing, and those that do not name what happens instead, at their place.

use ringway_config::{Compiler, Problems, Source};

const FILE: &str = r#"
[[listeners]]
name = "public"
address = "127.0.0.1:8080"

[[upstreams]]
name = "app"
backends = [{ url = "http://127.0.0.1:3000" }]

[[sites]]
name = "shop"
hosts = ["shop.test"]
project = "team"
upstream = "app"
rules = [{ name = "old", path = "/old/*", redirect = { to = "/new", status = 301 } }]

[[projects]]
name = "team"
rules = [
    { name = "api", path = "/api/*", methods = ["GET"], target = "http://api.test/base", strip_prefix = true },
    { name = "teapot", path = "/tea", respond = { status = 418 } },
    { name = "unset", path = "/unset", target = "http://${NONE}" },
]

[[rules]]
name = "live"
path = "/live"
ws = true
upstream = "app"

[[rules]]
name = "rewritten"
pattern = '^/dots/(.*)$'
rewrite = "/$1./"
upstream = "app"
"#;

fn compile(expect: &str) -> Result<(), Problems> {
    let text = format!("{FILE}\n[[expect]]\n{expect}\n");
    Compiler::new().compile(&Source { name: "test.toml", text: &text }).map(|_| ())
}

#[test]
fn expectations_that_hold_say_nothing() {
    for expect in [
        "url = \"http://shop.test/x\"",
        "url = \"http://shop.test/x\"\nrule = \"(upstream)\"\nsite = \"shop\"\nupstream = \"app\"\npath = \"/x\"",
        "url = \"http://shop.test:8080/api/a/../users?id=1\"\nrule = \"api\"\npath = \"/base/users?id=1\"\nupstream = \"http://api.test:80\"",
        "url = \"http://SHOP.test/api\"\nupstream = \"http://api.test\"\npath = \"/base/\"",
        "url = \"http://shop.test/api\"\nmethod = \"POST\"\nrule = \"(upstream)\"",
        "url = \"http://shop.test/old/x\"\nstatus = 301",
        "url = \"http://shop.test/tea\"\nstatus = 418\nrule = \"teapot\"",
        "url = \"http://shop.test/unset\"\nstatus = 502\nrule = \"unset\"",
        "url = \"http://other.test/dots/a/\"\nstatus = 400\nrule = \"rewritten\"",
        "url = \"http://other.test/x\"\nstatus = 404",
        "url = \"ws://other.test/live\"\nrule = \"live\"",
    ] {
        compile(expect).unwrap_or_else(|problems| panic!("{expect}: {problems:?}"));
    }
}

#[test]
fn expectations_that_do_not_hold_say_what_happens_instead() {
    let (shop, other) = ("url = \"http://shop.test", "url = \"http://other.test");
    let own = "the own upstream of site \"shop\" wins and sends \"/x\" to the upstream \"app\"";
    let none = "no rule takes this request: it gets 404 `no_rule`";
    let api = "the rule \"api\" of project \"team\" wins and sends \"/base/a?b\" to the upstream \"http://api.test:80\"";
    for (expect, key, message) in [
        (format!("{shop}/x\"\nrule = \"old\""), "rule", format!("expected the rule \"old\", but {own}")),
        (format!("{shop}/x\"\nrule = \"apo\""), "rule", "there is no rule \"apo\"".to_owned()),
        (format!("{shop}/x\"\nsite = \"shpo\""), "site", "there is no site \"shpo\"".to_owned()),
        (format!("{shop}/x\"\nupstream = \"ap\""), "upstream", "there is no upstream \"ap\"".to_owned()),
        (format!("{shop}/x\"\nstatus = 404"), "status", format!("expected the status 404, but {own}")),
        (format!("{shop}/x\"\npath = \"/y\""), "path", format!("expected \"/y\" at the backend, but {own}")),
        (
            format!("{shop}/api/a?b\"\nupstream = \"app\""),
            "upstream",
            format!("expected the upstream \"app\", but {api}"),
        ),
        (
            format!("{shop}/old/\"\npath = \"/old/\""),
            "path",
            "expected \"/old/\" at the backend, but the rule \"old\" of site \"shop\" wins and redirects to \"/new\" with \
             status 301"
                .to_owned(),
        ),
        (
            format!("{shop}/tea\"\nstatus = 200"),
            "status",
            "expected the status 200, but the rule \"teapot\" of project \"team\" wins and answers with status 418"
                .to_owned(),
        ),
        (
            format!("{other}/dots/a/\"\nupstream = \"app\""),
            "upstream",
            "expected the upstream \"app\", but the rule \"rewritten\" of [[rules]] wins and the result has dot segments: it \
             gets 400 `bad_rewrite`"
                .to_owned(),
        ),
        (
            format!("{other}/x\""),
            "url",
            format!("expected a rule that takes this request, but {none}"),
        ),
        (
            format!("{other}/x\"\nsite = \"shop\""),
            "site",
            format!("expected the site \"shop\", but this request meets no site: {none}"),
        ),
        (
            format!("{other}/..\""),
            "url",
            "Ringway refuses this request before it looks for a site: path_above_root".to_owned(),
        ),
        (
            format!("{other}:81/\""),
            "url",
            "no listener has the port 81; there are: public (127.0.0.1:8080)".to_owned(),
        ),
        (
            format!("{other}/\"\nmethod = \"G T\""),
            "method",
            "Ringway refuses this request before it looks for a site: bad_method".to_owned(),
        ),
    ] {
        let problems = compile(&expect).expect_err(&expect);
        let found: Vec<_> =
            problems.iter().filter(|problem| problem.path.starts_with("/expect/")).map(|problem| (&*problem.path, &*problem.message)).collect();
        assert_eq!(found, [(&*format!("/expect/0/{key}"), &*message)], "{expect}");
    }
}

#[test]
fn the_help_is_a_command_that_can_be_pasted() {
    let help = |expect: &str| {
        let problems = compile(expect).expect_err(expect);
        problems
            .iter()
            .find(|problem| problem.path.starts_with("/expect/"))
            .and_then(|problem| problem.help.clone())
    };
    let told = help("url = \"http://other.test/x\"");
    assert_eq!(told.as_deref(), Some("`ringway explain http://other.test/x` says why"));
    let told = help("url = \"http://other.test/x?a=1&b='2'\"\nmethod = \"POST\"");
    let expected = r"`ringway explain --method POST 'http://other.test/x?a=1&b='\''2'\'''` says why";
    assert_eq!(told.as_deref(), Some(expected));
    assert_eq!(
        help("url = \"http://shop.test/\"\nrule = \"teepot\"").as_deref(),
        Some("did you mean `teapot`?")
    );
}

#[test]
fn every_unmet_expectation_is_told_and_the_caret_is_at_its_key() {
    let text = format!(
        "{FILE}\n[[expect]]\nurl = \"http://other.test/live\"\nrule = \"old\"\nstatus = 404\n\n[[expect]]\nurl = \"http://other.test/x\"\n"
    );
    let source = Source { name: "test.toml", text: &text };
    let problems = Compiler::new().compile(&source).unwrap_err();
    let paths: Vec<_> =
        problems.iter().map(|problem| &*problem.path).filter(|path| path.starts_with("/expect")).collect();
    assert_eq!(paths, ["/expect/0/rule", "/expect/0/status", "/expect/1/url"]);
    for problem in problems.iter().filter(|problem| problem.path == "/expect/0/rule") {
        assert_eq!(text.get(problem.span.clone().unwrap()), Some("\"old\""));
    }
    assert!(Compiler::new().compile_unexpecting(&source).is_ok());
}
