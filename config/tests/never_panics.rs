//! Whatever the text: an answer, and no panic. Problems render, and their places lie in the text. What compiles routes,
//! rewrites and redirects any path.

use proptest::prelude::*;
use ringway_config::{Action, Compiler, Problems, Question, RouteRequest, Snapshot, Source, Variables};

/// Every valid example file, and some that are not.
const SEEDS: &[&str] = &[
    include_str!("../../tests/configs/valid/smallest.toml"),
    include_str!("../../tests/configs/valid/everything.toml"),
    include_str!("../../tests/configs/valid/inline.toml"),
    include_str!("../../tests/configs/valid/same_host.toml"),
    include_str!("../../tests/configs/valid/warnings.toml"),
    include_str!("../../tests/configs/valid/fields.toml"),
    include_str!("../../tests/configs/valid/patterns.toml"),
    include_str!("../../tests/configs/valid/projects.toml"),
    include_str!("../../tests/configs/valid/rewrites.toml"),
    include_str!("../../tests/configs/valid/variables.toml"),
    include_str!("../../tests/configs/valid/no_effect.toml"),
    include_str!("../../tests/configs/valid/auth.toml"),
    include_str!("../../tests/configs/invalid/auth.toml"),
    include_str!("../../tests/configs/invalid/types.toml"),
    include_str!("../../tests/configs/invalid/hosts.toml"),
    include_str!("../../tests/configs/invalid/paths.toml"),
    include_str!("../../tests/configs/invalid/targets.toml"),
    include_str!("../../tests/configs/invalid/patterns.toml"),
    include_str!("../../tests/configs/invalid/rewrites.toml"),
    include_str!("../../tests/configs/invalid/redirects.toml"),
    include_str!("../../tests/configs/invalid/fields.toml"),
    include_str!("../../tests/configs/invalid/expectations.toml"),
    include_str!("../../tests/configs/invalid/upstreams.toml"),
];

/// Pieces that a configuration is made of, and some that break it.
const PIECES: &[&str] = &[
    "[[listeners]]\n",
    "[[sites]]\n",
    "[[sites.rules]]\n",
    "[[rules]]\n",
    "[[upstreams]]\n",
    "[server]\n",
    "[limits]\n",
    "[timeouts]\n",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "\"\"\"",
    "=",
    ",",
    ".",
    "\n",
    " ",
    "#",
    "name = \"a\"\n",
    "address = \":80\"\n",
    "path = \"/a/*\"\n",
    "hosts = [\"*.a\", \"*\"]\n",
    "target = \"http://h/\"\n",
    "upstream = \"a\"\n",
    "backends = [{ url = \"http://h\" }]\n",
    "health = { probe = \"http\", probe_path = \"/a?b\", unhealthy_status = [\"5xx\"], max_ejected = \"7%\" }\n",
    "max_active = 1\n",
    "retries = 1\n",
    "[dns]\nresolver = \"dns\"\nservers = [\"::1\"]\n",
    "[admin]\ndata_dir = \"/${V:-a}\"\n",
    "methods = [\"GET\"]\n",
    "[[auth]]\nname = \"a\"\n",
    "type = \"basic\"\nusers = { a = \"$2b$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a\" }\n",
    "type = \"bearer\"\ntokens = { a = \"sha256:${V:-a}\" }\n",
    "type = \"forward\"\nurl = \"http://h/a?b\"\n",
    "auth = \"a\"\n",
    "public_routes = { ALL = [\"/a/**\", \"/?*\"] }\n",
    "[[projects]]\n",
    "[[projects.rules]]\n",
    "[[expect]]\n",
    "project = \"a\"\n",
    "pattern = '^/(?<n>a)|b+$'\n",
    "rewrite = \"/$1${n}\"\n",
    "strip_prefix = true\n",
    "redirect = { to = \"https://h${path}\" }\n",
    "respond = { status = 204 }\n",
    "headers = { X-A = \"${V:-a}\" }\n",
    "request_headers = { set = { A = \"auto\" }, remove = [\"B\"] }\n",
    "upstream = { backends = [{ url = \"http://${V}\" }] }\n",
    "url = \"http://a/a\"\n",
    "${",
    "$1",
    "(?:",
    "(?<",
    ")",
    "|",
    "*",
    "{2,}",
    "[^",
    "\\",
    "listeners",
    "rules",
    "name",
    "address",
    "path",
    "0x",
    "1e999",
    "nan",
    "-1",
    "1979-05-27",
    "true",
    "\\u0000",
    "\u{0}",
    "\u{fffd}",
    "ä",
    "\u{202e}",
    "\r\n",
    "\u{feff}",
];

fn check(text: &str) -> Result<(), TestCaseError> {
    let source = Source { name: "fuzz.toml", text };
    let problems = |problems: &Problems| {
        for problem in problems {
            let in_text = problem.span.as_ref().is_none_or(|span| text.get(span.clone()).is_some());
            prop_assert!(in_text, "{problem:?}");
        }
        prop_assert_eq!(problems.render(&source, false).is_empty(), problems.is_empty());
        prop_assert_eq!(problems.render(&source, true).is_empty(), problems.is_empty());
        Ok(())
    };
    let variables = [("V", "127.0.0.1"), ("EMPTY", "")].into_iter().collect::<Variables>();
    match Compiler::with_variables(variables).compile(&source) {
        Err(found) => {
            prop_assert!(!found.is_empty());
            problems(&found)
        }
        Ok(compiled) => {
            for path in PATHS {
                follow(&compiled.snapshot, path)?;
            }
            problems(&compiled.warnings)
        }
    }
}

/// Paths that requests may have, and some that wire would refuse.
const PATHS: &[&[u8]] = &[
    b"/a",
    b"*",
    b"",
    b"/api/v1//x",
    b"/v7/%0d%0a",
    b"/a/../%2e%2E/b",
    b"/\xff\0\r\n",
    b"/auth//evil.com/$1${n}",
];

/// Routes a GET of `path`, and makes what its rule sends.
fn follow(snapshot: &Snapshot, path: &[u8]) -> Result<(), TestCaseError> {
    let request = RouteRequest { listener: "", host: Some(b"a.a"), path, method: b"GET", websocket: false };
    let url = format!("http://a.a{}", String::from_utf8_lossy(path));
    let _ = snapshot.explain(&Question { url: &url, method: "GET", websocket: false, listener: None });
    let mut scratch = snapshot.scratch();
    let Ok(route) = snapshot.route(&request, &mut scratch) else { return Ok(()) };
    prop_assert!(snapshot.rule(route.rule).is_some());
    for rule in &snapshot.rules {
        prop_assert!(rule.auth.provider(None).is_none_or(|id| snapshot.provider(id).is_some()));
        let public = rule.public_routes.public_by(b"GET", path);
        prop_assert!(public.is_none() || !path.contains(&b'\\'), "{public:?}");
        match &rule.action {
            Action::Forward(forward) => {
                prop_assert!(snapshot.upstream(forward.upstream).is_some());
                if let Ok(sent) = forward.path.sent(path, &mut scratch) {
                    prop_assert!(path.is_empty() || !sent.of(path).is_empty(), "{:?}", rule);
                }
            }
            Action::Redirect(redirect) => {
                for query in [None, Some(&b"q=%zz\xff"[..])] {
                    let location = redirect.location(path, query, &mut scratch);
                    let is_clean =
                        |location: &Vec<u8>| location.iter().all(|byte| (0x21..0x7F).contains(byte));
                    prop_assert!(location.as_ref().map_or(true, is_clean), "{:?}", location);
                }
            }
            Action::Respond(_) | Action::Files(_) | Action::Unset(_) => {}
        }
    }
    Ok(())
}

/// Takes bytes out, puts pieces in, or says a part twice, at places between characters.
fn mutated() -> impl Strategy<Value = String> {
    let change = (any::<prop::sample::Index>(), 0_usize..12, prop::option::of(prop::sample::select(PIECES)));
    (prop::sample::select(SEEDS), prop::collection::vec(change, 1..6)).prop_map(|(seed, changes)| {
        changes.into_iter().fold(seed.to_owned(), |mut text, (at, length, piece)| {
            let start = text.floor_char_boundary(at.index(text.len() + 1));
            let end = text.ceil_char_boundary((start + length).min(text.len()));
            let part = text[start..end].to_owned();
            text.replace_range(start..end, piece.unwrap_or(&(part.clone() + &part)));
            text
        })
    })
}

/// Patterns and templates, and what comes near them.
fn text() -> impl Strategy<Value = String> {
    let pieces = [
        "/", "a", "b", "(", ")", "(?:", "(?<n>", "(?=", "|", "*", "+", "?", "{2}", "[a-z]", "[^/]", "[", "]",
        ".", "^", "$", "\\d", "\\b", "\\", "\\1", "$1", "$2", "${n}", "${path}", "$$", "%2F", "%", "#", "ä",
        " ", "http://h", "\r",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 300 } else { 20_000 }))]

    #[test]
    fn on_any_text(text in "\\PC{0,200}") {
        check(&text)?;
    }

    #[test]
    fn on_pieces_of_configurations(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        check(&pieces.concat())?;
    }

    #[test]
    fn on_configurations_with_a_change(text in mutated()) {
        check(&text)?;
    }

    #[test]
    fn on_requests_of_any_bytes(
        host in prop::option::of(prop::collection::vec(any::<u8>(), 0..300)),
        path in prop::collection::vec(any::<u8>(), 0..100),
        method in prop::collection::vec(any::<u8>(), 0..10),
        websocket: bool,
    ) {
        let source = Source { name: "fuzz.toml", text: SEEDS[1] };
        let snapshot = Compiler::new().compile(&source).unwrap().snapshot;
        let request = RouteRequest { listener: "[::]:8443", host: host.as_deref(), path: &path, method: &method, websocket };
        if let Ok(route) = snapshot.route(&request, &mut snapshot.scratch()) {
            prop_assert!(snapshot.rule(route.rule).is_some());
            prop_assert!(route.tenant.is_none_or(|tenant| host.unwrap().get(tenant).is_some()));
        }
    }
    #[test]
    fn on_rules_of_any_text(pattern in text(), template in text(), path in prop::collection::vec(any::<u8>(), 0..40)) {
        let file = toml::toml! {
            listeners = [{ address = ":80" }]
            [[rules]]
            name = "rewrite"
            target = "http://127.0.0.1/base"
            [[rules]]
            name = "redirect"
        };
        let mut file = toml::Value::Table(file);
        for (rule, key) in file["rules"].as_array_mut().unwrap().iter_mut().zip(["rewrite", "redirect"]) {
            let rule = rule.as_table_mut().unwrap();
            rule.insert("pattern".to_owned(), pattern.clone().into());
            let to = toml::Table::from_iter([("to".to_owned(), toml::Value::from(template.clone()))]);
            rule.insert(key.to_owned(), if key == "redirect" { to.into() } else { template.clone().into() });
        }
        let text = toml::to_string(&file).unwrap();
        check(&text)?;
        if let Ok(compiled) = Compiler::new().compile(&Source { name: "fuzz.toml", text: &text }) {
            follow(&compiled.snapshot, &path)?;
        }
    }
}
