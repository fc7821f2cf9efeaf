//! What the keys of upstreams, and those of sites and rules that go with them, become in a snapshot.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ringway_config::{
    ActiveProbes, Admission, Compiler, Dns, Health, OnNoBackend, Probe, Resolver, Rule, Snapshot, Source,
    StatusSet, Strategy, Upstream, UpstreamTimeouts, Variables,
};

#[track_caller]
fn compile(text: &str) -> Snapshot {
    let source = Source { name: "test.toml", text };
    match Compiler::with_variables(Variables::from_iter([("STATE", "/state")])).compile(&source) {
        Ok(compiled) => compiled.snapshot,
        Err(problems) => panic!("{}{text}", problems.render(&source, false)),
    }
}

#[track_caller]
fn with(rest: &str) -> Snapshot {
    compile(&format!("listeners = [{{ address = \":8080\" }}]\n{rest}"))
}

/// The one upstream of a snapshot in which it has these keys.
#[track_caller]
fn upstream(keys: &str) -> Upstream {
    let named = format!("[[upstreams]]\nname = \"u\"\n{keys}");
    let snapshot = with(&named);
    Upstream::clone(&snapshot.upstreams[0])
}

const ONE: &str = "backends = [{ url = \"http://a\" }]\n";

const EVERY_KEY: &str = r#"
strategy = "least_connections"
backends = [{ url = "http://a", weight = 1000 }, { url = "http://b", backup = true }]
retries = 7
keepalive = 3
slow_start = "90s"
max_active = 10
max_queued = 11
queue_timeout = "12s"
count_tunnels = true
on_no_backend = "wait"
dns_refresh = "13s"

[upstreams.health]
max_failures = 14
max_ejected = "15%"
unhealthy_status = ["404", "5xx"]
recovery_interval = "16s"
probe = "http"
probe_path = "/healthz?q"
probe_timeout = "17ms"
active = true
probe_interval = "18s"
rise = 19
fall = 20

[upstreams.timeouts]
connect = "21s"
response = "22s"
body = "23s"
idle = "24s"
tunnel_idle = "25s"
"#;

fn expected() -> Upstream {
    let seconds = Duration::from_secs;
    let mut unhealthy_status = StatusSet::default();
    (500..600).chain([404]).for_each(|status| unhealthy_status.add(status));
    Upstream {
        strategy: Strategy::LeastConnections,
        retries: 7,
        keepalive: 3,
        slow_start: seconds(90),
        health: Health {
            max_failures: Some(14),
            max_ejected_percent: 15,
            unhealthy_status,
            recovery_interval: seconds(16),
            probe: Probe::Http { path: "/healthz?q".to_owned() },
            probe_timeout: Duration::from_millis(17),
            active: Some(ActiveProbes { interval: seconds(18), rise: 19, fall: 20 }),
            on_no_backend: OnNoBackend::Wait,
        },
        admission: Admission {
            max_active: 10,
            max_queued: 11,
            queue_timeout: seconds(12),
            count_tunnels: true,
        },
        timeouts: UpstreamTimeouts {
            connect: Some(seconds(21)),
            response: Some(seconds(22)),
            body: Some(seconds(23)),
            idle: Some(seconds(24)),
            tunnel_idle: Some(seconds(25)),
        },
        dns_refresh: Some(seconds(13)),
        egress: Default::default(),
        ..upstream(ONE)
    }
}

#[test]
fn every_key_has_its_place() {
    let read = upstream(EVERY_KEY);
    let backends: Vec<_> =
        read.backends.iter().map(|backend| (&*backend.url, backend.weight, backend.backup)).collect();
    assert_eq!(backends, [("http://a:80", 1000, false), ("http://b:80", 1, true)]);
    assert_eq!(Upstream { backends: Vec::new(), ..read }, Upstream { backends: Vec::new(), ..expected() });
}

#[test]
fn an_upstream_at_a_site_has_the_same_keys() {
    let text = format!("[[sites]]\nname = \"s\"\nhosts = [\"*\"]\n[sites.upstream]\n{EVERY_KEY}");
    let snapshot = with(&text.replace("[upstreams.", "[sites.upstream."));
    let named = upstream(EVERY_KEY);
    assert_eq!(*snapshot.upstreams[0], Upstream { name: "site/s".to_owned(), ..named });
}

#[test]
fn a_target_has_the_defaults_of_all_keys() {
    let rule = "[[rules]]\nname = \"r\"\npath = \"*\"\n";
    let implied = with(&format!("{rule}target = \"http://a\""));
    assert_eq!(*implied.upstreams[0], Upstream { name: "http://a:80".to_owned(), ..upstream(ONE) });
    let Upstream {
        keepalive, strategy, retries, slow_start, health, admission, timeouts, dns_refresh, ..
    } = upstream(ONE);
    assert_eq!((keepalive, strategy, retries), (64, Strategy::RoundRobin, 2));
    assert_eq!((slow_start, dns_refresh), (Duration::ZERO, None));
    assert_eq!((health, admission), (Health::default(), Admission::default()));
    assert_eq!(timeouts, UpstreamTimeouts::default());
}

#[test]
fn strategies_are_called_by_their_names() {
    for (name, expected) in [
        ("round_robin", Strategy::RoundRobin),
        ("random", Strategy::Random),
        ("least_connections", Strategy::LeastConnections),
        ("p2c", Strategy::P2c),
        ("ip_hash", Strategy::IpHash),
        ("least_latency", Strategy::LeastLatency),
    ] {
        assert_eq!(upstream(&format!("strategy = \"{name}\"\n{ONE}")).strategy, expected);
        assert_eq!(expected.name(), name);
    }
    assert_eq!(upstream(&format!("strategy = \"weighted\"\n{ONE}")).strategy, Strategy::RoundRobin);
}

/// The rules of a snapshot by their names.
fn rules(snapshot: &Snapshot) -> impl Fn(&str) -> Arc<Rule> {
    |name| snapshot.rules.iter().find(|rule| rule.name == name).unwrap().clone()
}

#[test]
fn a_rule_is_plain_only_where_its_upstream_has_no_timeouts() {
    let snapshot = with(
        r#"
        [[upstreams]]
        name = "patient"
        backends = [{ url = "http://a" }]
        timeouts = { idle = "1s" }
        [[upstreams]]
        name = "plain"
        backends = [{ url = "http://b" }]
        retries = 0
        [[sites]]
        name = "named"
        hosts = ["a.test"]
        upstream = "patient"
        rules = [
            { name = "patient", path = "/a", upstream = "patient" },
            { name = "plain", path = "/b", upstream = "plain", retries = 3 },
            { name = "target", path = "/c", target = "http://a" },
            { name = "answer", path = "/d", respond = { status = 200 } },
            { name = "bounded", path = "/e", upstream = "plain", timeout = "3s" },
        ]
        [[sites]]
        name = "inline"
        hosts = ["b.test"]
        upstream = { backends = [{ url = "http://a" }], timeouts = { connect = "1s" } }
        [[sites]]
        name = "inline and plain"
        hosts = ["c.test"]
        upstream = { backends = [{ url = "http://a" }], retries = 0 }
        "#,
    );
    let rule = rules(&snapshot);
    for (name, is_plain) in
        [("patient", false), ("plain", true), ("target", true), ("answer", true), ("bounded", false)]
    {
        assert_eq!(rule(name).is_plain, is_plain, "{name}");
    }
    assert_eq!((rule("plain").retries, rule("target").retries), (Some(3), None));
    let own = |site: usize| snapshot.rule(snapshot.sites[site].fallback.unwrap()).unwrap().is_plain;
    assert_eq!([own(0), own(1), own(2)], [false, false, true]);
}

#[test]
fn a_site_has_limits_of_its_own() {
    let site =
        "[[sites]]\nname = \"s\"\nhosts = [\"*\"]\nupstream = { backends = [{ url = \"http://a\" }] }\n";
    let keys = "max_active = 16777216\nmax_queued = 1000000\nqueue_timeout = \"1h\"\ncount_tunnels = true";
    let snapshot = with(&format!("{site}{keys}"));
    let expected = Admission {
        max_active: 1 << 24,
        max_queued: 1_000_000,
        queue_timeout: Duration::from_secs(3_600),
        count_tunnels: true,
    };
    assert_eq!(snapshot.sites[0].admission, expected);
    assert_eq!(snapshot.upstreams[0].admission, Admission::default());
    assert_eq!(with(site).sites[0].admission, Admission::default());
}

#[test]
fn names_are_looked_up_by_the_system_unless_the_file_says_otherwise() {
    assert_eq!(with("").dns, Dns { resolver: Resolver::System, servers: Vec::new() });
    let servers = ["10.0.0.2:53", "[2001:db8::2]:5353"].map(|server| server.parse().unwrap());
    let own = with("[dns]\nresolver = \"dns\"\nservers = [\"10.0.0.2\", \"[2001:db8::2]:5353\"]").dns;
    assert_eq!(own, Dns { resolver: Resolver::Dns, servers: servers.to_vec() });
}

#[test]
fn the_admin_socket_stands_in_the_data_folder() {
    assert_eq!(with("").admin.socket(), None);
    let admin = with("[admin]\ndata_dir = \"${STATE}/ringway\"").admin;
    assert_eq!(admin.socket().as_deref(), Some(Path::new("/state/ringway/admin.sock")));
    let text = "listeners = [{ address = \":8080\" }]\n[admin]\ndata_dir = \"${UNSET}/ringway\"";
    let problems = Compiler::new().compile(&Source { name: "test.toml", text }).unwrap_err();
    assert!(problems.iter().any(|problem| problem.path == "/admin/data_dir"), "{problems:?}");
}
