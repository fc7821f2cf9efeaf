//! What routing and compiling cost: one rule against thousands, a host among a thousand sites, and the compilation
//! of a file with ten thousand rules.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ringway_config::{Compiler, RouteRequest, Snapshot, Source};

const LISTENER: &str = "listeners = [{ address = \"127.0.0.1:1\" }]\n";

fn path(index: usize) -> String {
    format!("/team-{}/service-{index}/v{}", index % 97, index % 7)
}

fn rules(count: usize) -> String {
    let rule = |index| {
        format!(
            "[[rules]]\nname = \"r{index}\"\npath = \"{}/*\"\ntarget = \"http://127.0.0.1:3000\"\n",
            path(index)
        )
    };
    format!("{LISTENER}{}", (0..count).map(rule).collect::<String>())
}

/// The same as regular expressions.
fn patterns(count: usize) -> String {
    let rule = |index| {
        format!(
            "[[rules]]\nname = \"r{index}\"\npattern = '^/svc{index}/v[0-9]+/.*$'\n\
             target = \"http://127.0.0.1:3000\"\n"
        )
    };
    format!("{LISTENER}{}", (0..count).map(rule).collect::<String>())
}

/// What no table has room for as whole paths: each word doubles it.
fn words(count: usize) -> String {
    let rule = |index| {
        format!(
            "[[rules]]\nname = \"r{index}\"\npattern = 'word{index}x'\ntarget = \"http://127.0.0.1:3000\"\n"
        )
    };
    format!("{LISTENER}{}", (0..count).map(rule).collect::<String>())
}

/// What makes one table of prefixes and suffixes explode.
fn rules_with_suffixes(count: usize) -> String {
    let rule = |end: &str| {
        format!("[[rules]]\nname = \"{end}\"\npath = \"*.{end}\"\ntarget = \"http://127.0.0.1:3000\"\n")
    };
    rules(count) + &["css", "js", "json", "png", "svg", "woff2"].map(rule).concat()
}

fn sites(count: usize) -> String {
    let site = |index| {
        format!(
            "[[sites]]\nname = \"s{index}\"\nhosts = [\"site-{index}.example\", \"*.tenant-{index}.example\"]\n\
             rules = [{{ name = \"all\", path = \"/*\", target = \"http://127.0.0.1:3000\" }}]\n"
        )
    };
    format!("{LISTENER}{}", (0..count).map(site).collect::<String>())
}

fn compiled(text: &str) -> Snapshot {
    let compiled = Compiler::new().compile(&Source { name: "bench.toml", text });
    compiled.unwrap_or_else(|problems| panic!("{problems:?}")).snapshot
}

fn request<'a>(host: &'a str, path: &'a str) -> RouteRequest<'a> {
    RouteRequest {
        listener: "127.0.0.1:1",
        host: Some(host.as_bytes()),
        path: path.as_bytes(),
        method: b"GET",
        websocket: false,
    }
}

fn among_rules(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route among rules");
    for count in [1, 1_000, 10_000] {
        let snapshot = compiled(&rules(count));
        let paths: Vec<String> = (0..1_024).map(|step| path(step * 7_919 % count) + "/items/1234").collect();
        let mut next = paths.iter().cycle();
        let mut scratch = snapshot.scratch();
        group.bench_function(count.to_string(), |bench| {
            bench.iter(|| {
                snapshot.route(&request("example.com", black_box(next.next().unwrap())), &mut scratch)
            });
        });
    }
    for count in [1, 1_000, 10_000] {
        let snapshot = compiled(&patterns(count));
        let path_of = |step: usize| format!("/svc{}/v17/items/1234/abcdefg", step * 7_919 % count);
        let paths: Vec<String> = (0..1_024).map(path_of).collect();
        let mut next = paths.iter().cycle();
        let mut scratch = snapshot.scratch();
        group.bench_function(format!("{count} patterns"), |bench| {
            bench.iter(|| {
                snapshot.route(&request("example.com", black_box(next.next().unwrap())), &mut scratch)
            });
        });
    }
    let snapshot = compiled(&words(200));
    let mut scratch = snapshot.scratch();
    group.bench_function("200 words anywhere", |bench| {
        bench.iter(|| {
            snapshot.route(&request("example.com", black_box("/items/word77x/1234/abcdefg")), &mut scratch)
        });
    });
    let snapshot = compiled(&rules_with_suffixes(10_000));
    let path = path(77) + "/items/1234.woff2";
    let mut scratch = snapshot.scratch();
    group.bench_function("10000 and suffixes", |bench| {
        bench.iter(|| snapshot.route(&request("example.com", black_box(&path)), &mut scratch));
    });
    group.finish();
}

fn among_sites(criterion: &mut Criterion) {
    let snapshot = compiled(&sites(1_000));
    let mut scratch = snapshot.scratch();
    let mut group = criterion.benchmark_group("route among 1000 sites");
    for (name, host) in [
        ("exact", "site-500.example"),
        ("wildcard", "a.b.tenant-500.example"),
        ("unknown", "a.b.c.d.nowhere.example"),
    ] {
        group.bench_function(name, |bench| {
            bench.iter(|| snapshot.route(&request(black_box(host), "/items/1234"), &mut scratch))
        });
    }
    group.finish();
}

fn compile(criterion: &mut Criterion) {
    let text = rules(10_000);
    let source = Source { name: "bench.toml", text: &text };
    let mut group = criterion.benchmark_group("compile 10000 rules");
    group.sample_size(10);
    group.bench_function("anew", |bench| {
        bench.iter_batched(Compiler::new, |mut compiler| compiler.compile(&source), BatchSize::PerIteration);
    });
    let with_suffixes = rules_with_suffixes(10_000);
    let with_suffixes = Source { name: "bench.toml", text: &with_suffixes };
    group.bench_function("anew, with suffixes", |bench| {
        bench.iter_batched(
            Compiler::new,
            |mut compiler| compiler.compile(&with_suffixes),
            BatchSize::PerIteration,
        );
    });
    for (name, text) in [("anew, patterns", patterns(10_000)), ("anew, 200 words anywhere", words(200))] {
        let source = Source { name: "bench.toml", text: &text };
        group.bench_function(name, |bench| {
            bench.iter_batched(
                Compiler::new,
                |mut compiler| compiler.compile(&source),
                BatchSize::PerIteration,
            );
        });
    }
    let mut compiler = Compiler::new();
    let _held = compiler.compile(&source);
    group.bench_function("unchanged", |bench| bench.iter(|| compiler.compile(&source)));
    group.finish();
}

criterion_group!(benches, among_rules, among_sites, compile);
criterion_main!(benches);
