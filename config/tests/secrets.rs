//! No problem shows a secret of the file: problems are written to terminals and logs.

use proptest::prelude::*;
use ringway_config::{Compiler, Source};

/// What is said of `text` by a check and by a run, on a terminal and in a log.
fn said(text: &str) -> String {
    let source = Source { name: "secrets.toml", text };
    let checked = match Compiler::new().check(&source) {
        Ok(checked) => checked.compiled.warnings,
        Err(problems) => problems,
    };
    let run = match Compiler::new().compile(&source) {
        Ok(compiled) => compiled.warnings,
        Err(problems) => problems,
    };
    let problems = [checked, run];
    problems.iter().flat_map(|problems| [false, true].map(|color| problems.render(&source, color))).collect()
}

/// What is said of a text in which a byte or two are wrong: once, since there are many of them.
fn said_once(text: &str) -> String {
    let source = Source { name: "secrets.toml", text };
    match Compiler::new().compile(&source) {
        Ok(compiled) => compiled.warnings.render(&source, false),
        Err(problems) => problems.render(&source, false),
    }
}

const REST: &str = r#"
[[listeners]]
address = ":0"

[[rules]]
name = "all"
path = "/*"
target = "http://127.0.0.1:1"
"#;

/// `part`, after and before a file's rest, is a problem, and nothing of it that is secret is said.
#[track_caller]
fn check(part: &str) {
    for text in [format!("{REST}{part}\n"), format!("{part}\n{REST}")] {
        let said = said(&text);
        assert!(said.contains("secrets.toml:"), "{text}\nhas no problem");
        assert!(!said.contains("SECRET"), "{text}\n{said}");
    }
}

#[track_caller]
fn check_provider(of: &str, keys: &str) {
    check(&format!("[[auth]]\nname = \"t\"\ntype = {of:?}\n{keys}"));
}

#[test]
fn where_the_text_is_no_toml() {
    for keys in [
        "tokens = { x = \"SECRET1\" y = \"SECRET2\" }",
        "tokens = { x = \"SECRET1\", x = \"SECRET2\" }",
        "tokens = { x = \"SECRET1\" ",
        "tokens = { x = \"SECRET1\n",
        "tokens = { x = SECRET1 }",
        "tokens.x = \"SECRET1\\q\"",
        "tokens.x = \"\"\"SECRET1\nSECRET2\\q\nSECRET3\"\"\"",
        "tokens.x = '''SECRET1\nSECRET2''' SECRET3",
        "tokens = [\n  \"SECRET1\"\n  \"SECRET2\",\n]",
        "tokens = {\n  x = \"SECRET1\"\n  name = \"SECRET2\",\n}",
        "[auth.tokens]\nx = \"SECRET1\"\nx = \"SECRET2\"\ny = SECRET3",
        "[auth.tokens\nx = \"SECRET1\" \"SECRET2\"",
        "[ auth . tokens ] # x\nname = \"SECRET1\" \"SECRET2\"",
        "[auth.\"tokens\"]\nname = \"SECRET1\" \"SECRET2\"",
        "# auth = \"a\"\nSECRET1",
    ] {
        check_provider("bearer", keys);
    }
    check("[[auth]\nname = \"t\"\ntype = \"bearer\"\ntokens = { x = \"SECRET1\" \"SECRET2\" }");
    check("auth = [{ name = \"t\", type = \"bearer\", tokens = { x = \"SECRET1\" \"SECRET2\" } }]");
    check("auth = [\n  { name = \"t\" },\n  \"SECRET1\"\n  \"SECRET2\"\n]");
    check("#[[auth]]\ntokens = { x = \"SECRET1\" \"SECRET2\" }");
    check("[\"auth\"]\nname = \"SECRET1\" \"SECRET2\"");
    check("[[\"\\u0061uth\"]]\nname = \"SECRET1\" \"SECRET2\"");
}

#[test]
fn where_a_provider_is_not_as_it_should_be() {
    for keys in [
        "tokens = \"SECRET1\"",
        "tokens = [\"SECRET1\"]",
        "tokens = { x = [\"SECRET1\"] }",
        "tokens = { x = { y = \"SECRET1\" } }",
        "tokens = { x = \"SECRET1\", \"SECRET2\" = \"SECRET1\" }",
        "tokens = { x = \"sha256:SECRET1\", y = \"SECRET 2\", z = \"${SECRET\", v = \"${a-SECRET}\" }",
        "tokens = { x = \"${secret_SECRET1}\", y = \"${SECRET:-${A}}\", z = \"${}SECRET\" }",
        "[auth.tokens]\nx = \"SECRET 1\"\ny = [\"SECRET2\"]\nz = \"\"\"SECRET3\nSECRET4 x\"\"\"\n\"SECRET\\n5\" = \"\"",
        "tpye = \"basic\"\nuser = { a = \"SECRET1\" }\ntoken = \"SECRET2\"",
        "password = \"SECRET1\"\n\"b:SECRET2\" = 1\nSECRET3 = 1\nX-SECRET4 = \"\"",
        "realm = \"SECRET1\\u0000\"\nurl = \"http://u:SECRET2@h/\"\ntimeout = \"SECRET3\"\ncache = [\"SECRET4\"]",
        "request_headers = \"SECRET1\"\ncopy_headers = [\"SECRET 2\", 1]",
    ] {
        check_provider("bearer", keys);
    }
    for keys in [
        "users = { a = \"SECRET1\", \"b:SECRET2\" = \"x\", \"SECRET3\\u0000\" = \"\" }",
        "users = \"a:SECRET1\"\nuser = { a = \"SECRET2\" }",
        "users.a = \"$2b$12$SECRET1\"\nusers.b = \"$argon2id$SECRET2\"\nusers.c = 5",
    ] {
        check_provider("basic", keys);
    }
    for url in [
        "http://u:SECRET@h/",
        "http:/u:SECRET@h",
        "u:SECRET@h",
        "SECRET://h",
        "http://h:SECRET/",
        "unix:SECRET",
    ] {
        check_provider("forward", &format!("url = \"{url}\""));
    }
    check_provider("SECRET", "");
    check_provider("forward", "request_headers = [\"SECRET SECRET\", \"SECRET\", \"secret\", \"SECRET\"]");
    check("[auth]\nname = \"t\"\ntokens = { x = \"SECRET1\" }");
}

#[test]
fn where_auth_is_inline() {
    for value in [
        "[{ name = \"t\", tpye = \"bearer\", type = \"basic\", tokens = { x = \"SECRET1\" }, users = { a = \"SECRET9\" } }]",
        "[{ name = \"t\", type = \"bearer\", tokens = { x = \"SECRET1\" }, password = 'SECRET2' }]",
        "[\"SECRET1\", { name = 5, tokens = { a = \"SECRET2\" } }]",
        "\"SECRET1\"",
        "{ tokens = \"SECRET1\" }",
        "[\n  {\n    name = \"t\", type = \"bearer\",\n    tokens = { x = \"SECRET1\", y = [\"SECRET2\"] },\n  },\n]",
    ] {
        let text = format!("auth = {value}\n{REST}");
        let said = said(&text);
        assert!(said.contains("secrets.toml:") && !said.contains("SECRET"), "{text}\n{said}");
    }
    check("auth.tokens.x = \"SECRET1\"");
}

#[test]
fn where_others_have_credentials() {
    for keys in [
        "headers = { Authorization = [\"Bearer SECRET1\"], Cookie = 5 } # SECRET2",
        "headers = { Authorization = \"SECRET1\\r\\n\", X-A = 5 }",
        "headers = \"Authorization: SECRET1\"",
        "headers = { X-A = \"Basic SECRET1\" \"x\" }",
        "request_headers = { set = { \"X-Api-Key\" = \"SECRET1\", X-A = 5 } }",
        "[rules.headers]\nProxy-Authorization = [\n  \"SECRET1\",\n]\nX-Auth-Token = \"SECRET2\\r\"",
        "tokens = { x = \"SECRET1\" }\nusers = { x = \"SECRET2\" }\npassword = \"SECRET3\"",
    ] {
        check(&format!("[[rules]]\nname = \"b\"\npath = \"/b\"\ntarget = \"http://127.0.0.1:1\"\n{keys}"));
    }
    for target in ["http://u:SECRET@h/", "htp://u:SECRET@h", "http://u:SECRET@h/?a", "https://u:SECRET@h"] {
        check(&format!("[[rules]]\nname = \"b\"\npath = \"/b\"\ntarget = \"{target}\""));
        check(&format!("[[upstreams]]\nname = \"b\"\nbackends = [{{ url = \"{target}\" }}]"));
    }
}

#[test]
fn places_and_harmless_keys_are_told() {
    let said = said(&format!(
        "{REST}[[auth]]\nname = \"t\"\ntype = \"bearer\"\npassword = \"SECRET\"\ntokens = \"SECRET\"\n"
    ));
    assert!(said.contains("unknown key `password`\n  --> secrets.toml:12:1"), "{said}");
    assert!(said.contains("13 | tokens = ***\n   |          ^^^"), "{said}");
    assert!(said.contains("expected a table of strings, found a string"), "{said}");
}

/// Files that compile, with secrets wherever a provider may have them.
const SEEDS: [&str; 3] = [
    r#"
auth = [
  { name = "t", type = "bearer", tokens = { x = "SECRET001-SECRET.SECRET", y = 'SECRET002-SECRET+SECRET' } },
  { name = "u", type = "bearer", tokens = { x = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" } },
]
listeners = [{ address = ":0" }]
[[sites]]
name = "s"
hosts = ["s.example", "t.example"]
auth = "t"
[[rules]]
name = "r"
path = "/*"
target = "http://127.0.0.1:1"
headers = { X-A = "b" }
auth = "u"
"#,
    r#"
[[listeners]]
address = ":0" # everywhere

[[auth]]
name = "staff"
type = "bearer"
realm = "Staff"
tokens = { ci = "SECRET003-SECRET.SECRET", name = "SECRET004-SECRET~SECRET", path = "${V:-SECRET005-SECRET/SECRET}" }

[[auth]]
name = "machines"
type = "bearer"
[auth.tokens]
ci = "SECRET006-SECRET/SECRET"
name = """SECRET007-SECRET/SECRET"""
target = """\
  SECRET008-SECRET/SECRET\
  SECRET"""
"path" = '''SECRET009-SECRET/SECRET'''

[[sites]]
name = "s"
hosts = [
  "s.example",
  "t.example",
]
auth = "staff"

[[rules]]
name = "r"
path = "/*"
auth = "machines"
target = "http://127.0.0.1:1"
[rules.headers]
X-A = "b"
"#,
    r#"
[server]
workers = 1
[[listeners]]
address = ":0"
[[rules]]
name = "r"
path = "/*"
auth = "t"
target = "http://127.0.0.1:1"
[[auth]]
type = "bearer"
tokens.x = "SECRET010-SECRET.SECRET"
tokens."y" = "SECRET011-SECRET+SECRET"
name = "t"
[limits]
fields = 100
"#,
];

/// Bytes that change what a text means.
const PIECES: &[&str] = &[
    "\"", "'", "\"\"\"", "'''", "[", "]", "{", "}", "=", ",", ".", "#", "\n", "\r", " ", "\\", "$", "${",
    ":", "@", "a", "0", "-", "\u{0}", "ä",
];

/// Takes bytes out, puts pieces in, or says a part twice.
fn mutated() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(Some(String::new())),
        prop::sample::select(PIECES).prop_map(|piece| Some(piece.to_owned())),
        any::<char>().prop_map(|c| Some(c.to_string())),
        Just(None),
    ];
    let change = (any::<prop::sample::Index>(), 0_usize..20, piece);
    (prop::sample::select(&SEEDS), prop::collection::vec(change, 1..5)).prop_map(|(seed, changes)| {
        changes.into_iter().fold(seed.to_owned(), |mut text, (at, length, piece)| {
            let start = text.floor_char_boundary(at.index(text.len() + 1));
            let end = text.ceil_char_boundary((start + length).min(text.len()));
            let part = text[start..end].to_owned();
            match piece {
                Some(piece) if piece.is_empty() => text.replace_range(start..end, ""),
                Some(piece) => text.insert_str(start, &piece),
                None => text.insert_str(start, &part),
            }
            text
        })
    })
}

#[test]
fn the_seeds_compile() {
    for text in SEEDS {
        let source = Source { name: "secrets.toml", text };
        let compiled = Compiler::new().compile(&source);
        assert!(compiled.is_ok(), "{}", compiled.unwrap_err().render(&source, false));
    }
}

#[test]
fn whatever_single_byte_is_wrong() {
    for text in SEEDS {
        for at in 0..text.len() {
            let (before, after) = text.split_at(at);
            let without = format!("{before}{}", &after[1..]);
            let inserted = ["\"", "\n", "=", "]", "#"].map(|piece| format!("{before}{piece}{after}"));
            for text in inserted.into_iter().chain([without]) {
                let said = said_once(&text);
                assert!(!said.contains("SECRET"), "{text}\n{said}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 2_000 } else { 50_000 }))]

    #[test]
    fn whatever_is_wrong(text in mutated()) {
        let said = said_once(&text);
        prop_assert!(!said.contains("SECRET"), "{text}\n{said}");
    }
}
