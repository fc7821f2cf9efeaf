//! What the compiler does not check: how long files and functions are, where `unsafe` and the runtime stand, which way the
//! crates depend on each other, and that texts are clean. `cargo test --test tidy -- --nocapture` lists the longest of each.
//!
//! It looks at what lies below the root, except for what `.gitignore` names, and so needs no version control.

#![expect(clippy::print_stdout, reason = "the lists of the longest are there to be read")]

use std::fs;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 100;
/// How many of the longest are listed.
const LISTED: usize = 10;
/// How far above `unsafe` its reason may begin.
const SAFETY_LINES: usize = 6;

/// The one folder that holds `unsafe` and names the runtime.
const NET: &str = "engine/src/net/";
/// The one file in which an error becomes a status.
const RESPOND: &str = "engine/src/respond.rs";

/// Which of our own crates each may depend on. One that is not named may depend on none.
const ARROWS: [(&str, &[&str]); 6] = [
    ("engine/wire/Cargo.toml", &[]),
    ("config/Cargo.toml", &["ringway-wire"]),
    ("engine/Cargo.toml", &["ringway-wire", "ringway-config"]),
    ("admin/Cargo.toml", &["ringway-wire", "ringway-config", "ringway-engine"]),
    ("Cargo.toml", &["ringway-wire", "ringway-config", "ringway-engine", "ringway-admin"]),
    ("fuzz/Cargo.toml", &["ringway-wire", "ringway-config", "ringway-engine", "ringway-casefile"]),
];
/// For the tests of every crate.
const FOR_TESTS: &str = "ringway-casefile";

/// The crates that do no I/O and read no clock, and what they would do it with.
const PURE: [&str; 2] = ["engine/wire/", "config/"];
const RUNTIMES: [&str; 14] = [
    "async-io",
    "async-std",
    "compio",
    "futures",
    "futures-util",
    "glommio",
    "io-uring",
    "libc",
    "mio",
    "monoio",
    "nix",
    "smol",
    "socket2",
    "tokio",
];
const IMPURE: [&str; 8] =
    ["fs", "Instant", "SystemTime", "TcpListener", "TcpStream", "UdpSocket", "UnixListener", "UnixStream"];

/// Names that say nothing of what is in a file.
const EMPTY_NAMES: [&str; 8] = ["common", "helper", "helpers", "manager", "misc", "stuff", "util", "utils"];
/// In halves, as this file is looked at too.
const LEFT_BEHIND: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
const HOMES: [&str; 3] = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/")];

#[test]
fn files_are_short() {
    let files = sources();
    let mut lengths: Vec<_> = files.iter().map(|file| (file.text.lines().count(), &file.path)).collect();
    lengths.sort();
    println!("the longest files, in lines:");
    for (lines, path) in lengths.iter().rev().take(LISTED) {
        println!("{lines:6}  {path}");
    }
    let long = lengths.iter().filter(|(lines, _)| *lines > FILE_LINES_MAX);
    report(long.map(|(lines, path)| format!("{path}: {lines} lines; divide it")).collect());
}

#[test]
fn functions_are_short() {
    let mut functions: Vec<_> = sources().iter().flat_map(Text::functions).collect();
    functions.sort();
    println!("the longest functions, in lines:");
    for (lines, name) in functions.iter().rev().take(LISTED) {
        println!("{lines:6}  {name}");
    }
    let long = functions.iter().filter(|(lines, _)| *lines > FUNCTION_LINES_MAX);
    report(long.map(|(lines, name)| format!("{name}: {lines} lines; it does more than one thing")).collect());
}

#[test]
fn sources_say_what_they_are() {
    report(sources().iter().flat_map(header).collect());
}

#[test]
fn names_say_what_is_inside() {
    report(texts().iter().flat_map(empty_name).collect());
}

#[test]
fn texts_are_clean() {
    report(texts().iter().flat_map(unclean).collect());
}

#[test]
fn unsafe_stands_in_net_beside_its_reason() {
    report(sources().iter().flat_map(misplaced_unsafe).collect());
}

#[test]
fn the_runtime_stands_in_net() {
    report(sources().iter().flat_map(misplaced_runtime).collect());
}

#[test]
fn only_respond_makes_a_status_of_an_error() {
    let sources = sources();
    let respond = sources.iter().find(|file| file.path == RESPOND).expect("respond.rs");
    let statuses = error_statuses(respond);
    assert!(statuses.len() > 10, "respond.rs has the statuses: {statuses:?}");
    report(sources.iter().flat_map(|file| misplaced_status(file, &statuses)).collect());
}

#[test]
fn wire_and_config_do_no_io_and_read_no_clock() {
    report(sources().iter().flat_map(impurity).collect());
}

#[test]
fn dependencies_point_one_way() {
    let manifests: Vec<_> = texts().into_iter().filter(Text::is_manifest).collect();
    for (path, _) in ARROWS {
        assert!(manifests.iter().any(|manifest| manifest.path == path), "{path} is gone");
    }
    report(manifests.iter().flat_map(wrong_arrows).collect());
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    // The fuzz targets are a workspace of their own, as cargo-fuzz wants it.
    let manifests = texts().into_iter().filter(|text| text.is_manifest() && !text.path.starts_with("fuzz/"));
    report(manifests.flat_map(|manifest| own_lints(&manifest)).collect());
}

/// Each check finds what it is for, and leaves alone what is right.
#[test]
fn the_checks_see() {
    type Check = fn(&Text) -> Vec<String>;
    let net = "engine/src/net/a.rs";
    let cases: [(Check, &str, &str, bool); 29] = [
        (header, "src/a.rs", "//! What it is.\n", true),
        (header, "src/a.rs", "fn a() {}\n", false),
        (empty_name, "src/utils.rs", "", false),
        (empty_name, "tests/common/mod.rs", "", false),
        (empty_name, "src/util_linux.rs", "", true),
        (unclean, "a.md", "a \n", false),
        (unclean, "a.md", "a\r\n", false),
        (unclean, "a.md", concat!("# TO", "DO: all\n"), false),
        (unclean, "a.md", concat!("see /ho", "me/me/a\n"), false),
        (unclean, "a.md", concat!("mktemp aXX", "XXXX\n"), true),
        (misplaced_unsafe, "src/a.rs", "// SAFETY: it is.\nfn a() { unsafe { b() } }", false),
        (misplaced_unsafe, net, "// SAFETY: it is.\nfn a() { unsafe { b() } }", true),
        (misplaced_unsafe, net, "fn a() { unsafe {\n// SAFETY: it is.\nb() } }", true),
        (misplaced_unsafe, net, "// SAFETY: it is.\n\nfn a() { unsafe { b() } }", false),
        (misplaced_unsafe, net, "unsafe impl Send for A {}", false),
        (misplaced_unsafe, net, "macro_rules! a { () => { unsafe { b() } } }", false),
        (misplaced_runtime, "engine/src/a.rs", "use monoio::spawn;", false),
        (misplaced_runtime, "engine/src/a.rs", "// monoio does that", true),
        (misplaced_runtime, net, "use monoio::spawn;", true),
        (|text| misplaced_status(text, &[502]), "engine/src/a.rs", "fn a() { b(502) }", false),
        (|text| misplaced_status(text, &[502]), "engine/src/a.rs", "\n#[cfg(test)]\nmod a { 502 }", true),
        (|text| misplaced_status(text, &[502]), "engine/src/a.rs", "fn a() { b(500) }", true),
        (impurity, "config/src/a.rs", "use std::fs;", false),
        (impurity, "admin/src/a.rs", "use std::fs;", true),
        (wrong_arrows, "engine/wire/Cargo.toml", "[dependencies]\nringway-config.workspace = true", false),
        (wrong_arrows, "engine/wire/Cargo.toml", "[target.'cfg(unix)'.dependencies]\ntokio = '1'", false),
        (wrong_arrows, "config/Cargo.toml", "[dependencies]\nringway-wire = { path = '..' }", true),
        (own_lints, "config/Cargo.toml", "[package]\n[lints]\nworkspace = true", true),
        (own_lints, "config/Cargo.toml", "[package]", false),
    ];
    for (check, path, text, fine) in cases {
        let problems = check(&Text { path: path.into(), text: text.into() });
        assert_eq!(problems.is_empty(), fine, "{path}: {text}\n{problems:?}");
    }
    let long =
        Text { path: "a.rs".into(), text: "impl A {\n\n    fn b() {\n        c();\n    }\n}\n".into() };
    assert_eq!(long.functions(), [(3, "a.rs:3: b".to_owned())]);
}

fn report(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

fn header(file: &Text) -> Vec<String> {
    let missing = !file.text.starts_with("//! ");
    missing.then(|| file.at(1, "no `//!` that says what the file is")).into_iter().collect()
}

fn empty_name(file: &Text) -> Vec<String> {
    let says_nothing = |part: &&str| EMPTY_NAMES.contains(&part.split('.').next().unwrap_or_default());
    file.path
        .split('/')
        .filter(says_nothing)
        .map(|part| file.at(1, &format!("`{part}` says nothing")))
        .collect()
}

fn unclean(file: &Text) -> Vec<String> {
    let mut problems = Vec::new();
    for (line, number) in file.text.split('\n').zip(1..) {
        if line.ends_with(char::is_whitespace) {
            problems.push(file.at(number, "white space at the end of the line"));
        }
        let words = || line.split(|c: char| !c.is_ascii_alphanumeric());
        if LEFT_BEHIND.iter().any(|left| words().any(|word| word == *left)) {
            problems.push(file.at(number, "something left to do: do it, or write an issue"));
        }
        if HOMES.iter().any(|home| line.contains(home)) {
            problems.push(file.at(number, "a path of somebody's machine"));
        }
    }
    problems
}

fn misplaced_unsafe(file: &Text) -> Vec<String> {
    let tokens = file.tokens();
    let lines: Vec<_> = file.text.lines().collect();
    let mut problems = Vec::new();
    for (token, next) in tokens.iter().zip(tokens.iter().skip(1)).filter(|(token, _)| token.text == "unsafe")
    {
        if !file.path.starts_with(NET) {
            problems.push(file.at(token.line, &format!("`unsafe` outside {NET}")));
        }
        let above =
            lines[..token.line].iter().rev().take(SAFETY_LINES + 1).take_while(|line| !line.is_empty());
        let within = &lines[token.line - 1..next.last_line];
        let mut reasons = above.chain(within).filter(|line| line.contains("// SAFETY: "));
        // An `unsafe fn` asks something of its callers; what it does itself stands in blocks.
        if next.text != "fn" && reasons.next().is_none() {
            problems.push(file.at(token.line, "`unsafe` without `// SAFETY: ` just above it or inside"));
        }
    }
    problems
}

fn misplaced_runtime(file: &Text) -> Vec<String> {
    if file.path.starts_with(NET) {
        return Vec::new();
    }
    let named = file.tokens().into_iter().filter(|token| token.text == "monoio");
    named.map(|token| file.at(token.line, &format!("the runtime is named outside {NET}"))).collect()
}

/// The statuses of errors that a file writes as numbers, tests apart.
fn error_statuses(file: &Text) -> Vec<u16> {
    let numbers = file.shipped_tokens().into_iter().filter_map(|token| token.text.parse().ok());
    numbers.filter(|number| (400..600).contains(number)).collect()
}

fn misplaced_status(file: &Text, statuses: &[u16]) -> Vec<String> {
    if !file.path.starts_with("engine/src/") || file.path == RESPOND {
        return Vec::new();
    }
    let written = error_statuses(file).into_iter().filter(|status| statuses.contains(status));
    written.map(|status| file.at(1, &format!("{status} is written outside {RESPOND}"))).collect()
}

fn impurity(file: &Text) -> Vec<String> {
    if !PURE.iter().any(|home| file.path.starts_with(&format!("{home}src/"))) {
        return Vec::new();
    }
    let named = file.shipped_tokens().into_iter().filter(|token| IMPURE.contains(&token.text.as_str()));
    named.map(|token| file.at(token.line, &format!("`{}`: I/O or a clock", token.text))).collect()
}

fn wrong_arrows(manifest: &Text) -> Vec<String> {
    let allowed =
        ARROWS.iter().find(|(path, _)| *path == manifest.path).map_or(&[][..], |(_, allowed)| allowed);
    let pure = PURE.iter().any(|home| manifest.path.starts_with(home));
    let mut problems = Vec::new();
    for Dependency { name, tests_only } in dependencies(&manifest.toml()) {
        let ours = name.starts_with("ringway-");
        if ours && !allowed.contains(&name.as_str()) && !(tests_only && name == FOR_TESTS) {
            problems
                .push(manifest.at(1, &format!("{name}: dependencies point from src to wire, never back")));
        }
        if pure && RUNTIMES.contains(&name.as_str()) {
            problems.push(manifest.at(1, &format!("{name}: a runtime, where there is no I/O")));
        }
    }
    problems
}

fn own_lints(manifest: &Text) -> Vec<String> {
    let toml = manifest.toml();
    let taken = toml.get("lints").and_then(|lints| lints.get("workspace")?.as_bool()) == Some(true);
    (!taken).then(|| manifest.at(1, "no `[lints] workspace = true`")).into_iter().collect()
}

struct Dependency {
    name: String,
    tests_only: bool,
}

/// What a manifest depends on, on any platform.
fn dependencies(manifest: &toml::Table) -> Vec<Dependency> {
    let platforms =
        manifest.get("target").and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::values);
    let tables: Vec<_> =
        std::iter::once(manifest).chain(platforms.filter_map(toml::Value::as_table)).collect();
    let kinds = [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)];
    let named = |(kind, tests_only): (&str, bool)| {
        let found = tables.iter().filter_map(|table| table.get(kind)?.as_table()).flat_map(toml::Table::keys);
        found.map(|name| Dependency { name: name.clone(), tests_only }).collect::<Vec<_>>()
    };
    kinds.into_iter().flat_map(named).collect()
}

/// A file of the repository.
struct Text {
    /// From the root, with `/`.
    path: String,
    text: String,
}

/// A leaf of the syntax, or a group, whose contents follow it.
struct Token {
    text: String,
    line: usize,
    last_line: usize,
}

impl Text {
    fn at(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }

    fn is_source(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_manifest(&self) -> bool {
        self.path == "Cargo.toml" || self.path.ends_with("/Cargo.toml")
    }

    fn toml(&self) -> toml::Table {
        self.text.parse().unwrap_or_else(|error| panic!("{}: {error}", self.path))
    }

    /// The tokens of a source, those in macros too.
    fn tokens(&self) -> Vec<Token> {
        let stream = self.text.parse().unwrap_or_else(|error| panic!("{}: {error}", self.path));
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        tokens
    }

    /// The tokens before the tests, which stand last in a file, or in a file of that name.
    fn shipped_tokens(&self) -> Vec<Token> {
        if self.path.ends_with("/tests.rs") {
            return Vec::new();
        }
        let tests = self.text.lines().zip(1..).find(|(line, _)| *line == "#[cfg(test)]");
        let end = tests.map_or(usize::MAX, |(_, number)| number);
        self.tokens().into_iter().filter(|token| token.line < end).collect()
    }

    /// Each function: how many lines it has, and its place and name.
    fn functions(&self) -> Vec<(usize, String)> {
        let file = syn::parse_file(&self.text).unwrap_or_else(|error| panic!("{}: {error}", self.path));
        let mut functions = Functions { file: self, found: Vec::new() };
        functions.visit_file(&file);
        functions.found
    }
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let span = tree.span();
        let (line, last_line) = (span.start().line, span.end().line);
        match tree {
            TokenTree::Group(group) => {
                tokens.push(Token { text: format!("{:?}", group.delimiter()), line, last_line });
                flatten(group.stream(), tokens);
            }
            leaf => tokens.push(Token { text: leaf.to_string(), line, last_line }),
        }
    }
}

struct Functions<'a> {
    file: &'a Text,
    found: Vec<(usize, String)>,
}

impl Functions<'_> {
    fn add(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let first = signature.fn_token.span.start().line;
        let last = body.brace_token.span.close().end().line;
        self.found.push((last - first + 1, self.file.at(first, &signature.ident.to_string())));
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.add(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

fn sources() -> Vec<Text> {
    texts().into_iter().filter(Text::is_source).collect()
}

/// Every text of the repository.
fn texts() -> Vec<Text> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ignored = fs::read_to_string(root.join(".gitignore")).expect("a .gitignore");
    let ignored: Vec<_> = ignored.lines().filter_map(|line| line.strip_prefix('/')).collect();
    let mut texts = Vec::new();
    collect(root, "", &ignored, &mut texts);
    assert!(texts.len() > 100, "the repository is there");
    texts
}

fn collect(root: &Path, folder: &str, ignored: &[&str], texts: &mut Vec<Text>) {
    for entry in fs::read_dir(root.join(folder)).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let kind = entry.file_type().expect("a kind");
        // A build folder under another name says what it is.
        let skipped = || {
            name == ".git" || ignored.contains(&path.as_str()) || entry.path().join("CACHEDIR.TAG").exists()
        };
        if kind.is_dir() && !skipped() {
            collect(root, &path, ignored, texts);
        } else if kind.is_file()
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            texts.push(Text { path, text });
        }
    }
}
