//! Whatever the text: an answer, and no panic. Problems render, and their places lie in the text.

use proptest::prelude::*;
use ringway_config::{Compiler, Problems, RouteRequest, Source};

/// Every valid example file, and some that are not.
const SEEDS: &[&str] = &[
    include_str!("../../tests/configs/valid/smallest.toml"),
    include_str!("../../tests/configs/valid/everything.toml"),
    include_str!("../../tests/configs/valid/inline.toml"),
    include_str!("../../tests/configs/valid/same_host.toml"),
    include_str!("../../tests/configs/valid/warnings.toml"),
    include_str!("../../tests/configs/invalid/types.toml"),
    include_str!("../../tests/configs/invalid/hosts.toml"),
    include_str!("../../tests/configs/invalid/paths.toml"),
    include_str!("../../tests/configs/invalid/targets.toml"),
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
    "methods = [\"GET\"]\n",
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
    match Compiler::new().compile(&source) {
        Err(found) => {
            prop_assert!(!found.is_empty());
            problems(&found)
        }
        Ok(compiled) => {
            let request = RouteRequest {
                listener: "",
                host: Some(b"a.a"),
                path: b"/a",
                method: b"GET",
                websocket: false,
            };
            let _ = compiled.snapshot.route(&request, &mut compiled.snapshot.scratch());
            problems(&compiled.warnings)
        }
    }
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
}
