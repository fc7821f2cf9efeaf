//! Configurations at random, as files and compiled: upstreams and sites that come, go and change.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ringway_config::{Compiler, Snapshot, Source};

use crate::net::listen::Local;
use crate::view::Names;

const URLS: [&str; 7] = [
    "http://10.0.0.1",
    "http://10.0.0.2",
    "http://10.0.0.3",
    "http://10.0.0.4:81",
    "http://a.test",
    "http://b.test",
    "unix:/run/backend",
];
const HOSTS: [&str; 2] = ["a.test", "b.test"];
const STRATEGIES: [&str; 7] =
    ["round_robin", "weighted", "random", "least_connections", "p2c", "ip_hash", "least_latency"];

/// So many of them, always the same ones.
pub(super) fn snapshots(count: u64) -> Vec<Arc<Snapshot>> {
    let snapshot = |seed| {
        let text = text(&mut fastrand::Rng::with_seed(seed));
        let source = Source { name: "simulation", text: &text };
        let compiled = Compiler::new().compile(&source);
        compiled.unwrap_or_else(|problems| panic!("{}", problems.render(&source, false))).snapshot.into()
    };
    (0..count).map(snapshot).collect()
}

fn text(rng: &mut fastrand::Rng) -> String {
    let mut names: Vec<_> = ["u0", "u1", "u2"].into_iter().filter(|_| rng.u8(..4) > 0).collect();
    if names.is_empty() {
        names.push("u0");
    }
    let mut text = "[[listeners]]\naddress = \":1\"\n\n".to_owned();
    for name in &names {
        upstream(&mut text, name, rng);
    }
    for name in ["s0", "s1"] {
        if rng.u8(..3) == 0 {
            continue;
        }
        let upstream = names[0];
        writeln!(text, "[[sites]]\nname = \"{name}\"\nhosts = [\"{name}.test\"]\nupstream = \"{upstream}\"")
            .unwrap();
        admission(&mut text, rng);
    }
    text
}

fn upstream(text: &mut String, name: &str, rng: &mut fastrand::Rng) {
    let count = rng.usize(1..=5);
    let urls = rng.choose_multiple(URLS, count);
    let heaviest = [1, 4][rng.usize(..2)];
    let backend = |(index, url)| {
        // The first is none: there must be somebody that backups stand in for.
        let (weight, backup) = (rng.u16(1..=heaviest), index > 0 && rng.u8(..5) == 0);
        format!("{{ url = \"{url}\", weight = {weight}, backup = {backup} }}")
    };
    let backends = urls.into_iter().enumerate().map(backend).collect::<Vec<_>>().join(", ");
    let strategy = STRATEGIES[rng.usize(..STRATEGIES.len())];
    let (retries, slow_start) = (rng.u8(..4), rng.u8(..2) * 10);
    let on_no_backend = ["any", "fail", "wait"][rng.usize(..3)];
    writeln!(
        text,
        "[[upstreams]]\nname = \"{name}\"\nbackends = [{backends}]\nstrategy = \"{strategy}\"\n\
         retries = {retries}\nslow_start = \"{slow_start}s\"\non_no_backend = \"{on_no_backend}\""
    )
    .unwrap();
    admission(text, rng);
    let (max_ejected, active) = ([0, 30, 50, 100][rng.usize(..4)], rng.u8(..4) == 0);
    let max_failures = ["", "max_failures = 1, ", "max_failures = 2, "][rng.usize(..3)];
    writeln!(
        text,
        "health = {{ {max_failures}max_ejected = \"{max_ejected}%\", unhealthy_status = [\"5xx\"], \
         active = {active} }}\n"
    )
    .unwrap();
}

fn admission(text: &mut String, rng: &mut fastrand::Rng) {
    let max_active = [0, 0, 1, 4, 20][rng.usize(..5)];
    let (max_queued, queue_timeout_s, count_tunnels) = (rng.u8(..7), rng.u8(1..20), rng.bool());
    writeln!(
        text,
        "max_active = {max_active}\nmax_queued = {max_queued}\nqueue_timeout = \"{queue_timeout_s}s\"\n\
         count_tunnels = {count_tunnels}"
    )
    .unwrap();
}

/// What the egress policy refuses.
const FORBIDDEN: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 1);

/// Addresses for the hosts, some of which others have, too, and some of which are forbidden; or none.
pub(super) fn names(rng: &mut fastrand::Rng) -> Names {
    let mut addresses = || -> Vec<IpAddr> {
        let backends = (1..=4).map(|last| Ipv4Addr::new(10, 0, 0, last));
        backends.chain([FORBIDDEN]).filter(|_| rng.u8(..3) == 0).map(IpAddr::from).collect()
    };
    Arc::new(HOSTS.iter().map(|&host| (host.to_owned(), addresses())).collect::<HashMap<_, _>>())
}

/// Where we listen ourselves; now and then one of the backends' addresses is among that.
pub(super) fn own_addresses(rng: &mut fastrand::Rng) -> Vec<Local> {
    let own = |last| Local::Tcp((Ipv4Addr::new(10, 0, 0, last), 80).into());
    (1..=3).filter(|_| rng.u8(..20) == 0).map(own).collect()
}
