//! Thousands of random sequences of what may happen to upstreams, with a seed and a clock of their own: requests come, wait,
//! run, fail, are tried again, end, and go away at any moment; backends fall ill and get well, are probed and marked; limits,
//! members, names and whole upstreams change under all of that. After each step what is real is held against a truth
//! that was kept beside it: running counts, places, lines and who was woken, standings, choices, the retry budget, and that
//! what is known of an identity stays known as long as somebody names or uses it, and no longer.
//!
//! * `configs`: files at random, compiled.
//! * `world`, `traffic`: the real parts, driven as `engine` and `probes`, and as `proxy` drive them.
//! * `truth`: what must be so.
//!
//! `RINGWAY_SEED=7 cargo test -p ringway-engine --lib simulation` runs one sequence alone.

mod configs;
mod traffic;
mod truth;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ringway_config::Snapshot;

use world::World;

/// Sequences that are run.
const SEEDS: u64 = 2_000;
/// What happens in one, before all that is there comes to its end.
const STEPS: usize = 120;
/// Configurations that they change between.
const SNAPSHOTS: u64 = 60;
/// Requests that come and go at once, at the most.
const BURST: usize = 100;
/// What must have happened in all of them together: a truth about what does not happen is worth nothing.
const SEEN: [&str; 23] = [
    "a backend came back for it",
    "a request brings one back",
    "a retry by share",
    "a smaller pool brings one back",
    "a tunnel",
    "backup",
    "by strategy",
    "ejected chosen",
    "ejects",
    "fails",
    "forgotten",
    "gone at its turn",
    "gone from a line",
    "gone while it ran",
    "gone while there was no backend",
    "let in from a line",
    "no more retries",
    "nobody",
    "one of the first retries",
    "only",
    "refused",
    "succeeds",
    "too late",
];
/// How often, at the least.
const TIMES: u64 = 20;

#[test]
fn what_is_real_is_true() {
    let snapshots = configs::snapshots(SNAPSHOTS);
    if let Ok(seed) = std::env::var("RINGWAY_SEED") {
        run(seed.parse().expect("a number"), &snapshots);
        return;
    }
    let mut seen = BTreeMap::new();
    for seed in 0..SEEDS {
        match catch_unwind(AssertUnwindSafe(|| run(seed, &snapshots))) {
            Ok(saw) => saw.into_iter().for_each(|(what, times)| *seen.entry(what).or_insert(0) += times),
            Err(_) => panic!("RINGWAY_SEED={seed} fails"),
        }
    }
    let rare: Vec<_> =
        SEEN.into_iter().filter(|what| seen.get(what).is_none_or(|&times| times < TIMES)).collect();
    assert!(rare.is_empty(), "{rare:?} are too rare: {seen:?}");
}

/// Runs one sequence. Gives how often what happened.
fn run(seed: u64, snapshots: &[Arc<Snapshot>]) -> BTreeMap<&'static str, u64> {
    let mut rng = fastrand::Rng::with_seed(seed);
    // What the workers' choosers begin with.
    fastrand::seed(seed);
    let mut world = World::new(rng.choice(snapshots).expect("one").clone(), &configs::names(&mut rng));
    for _ in 0..STEPS {
        step(&mut world, snapshots, &mut rng);
        world.check();
    }
    while !world.requests.is_empty() || !world.tunnels.is_empty() {
        end_something(&mut world, &mut rng);
        world.check();
    }
    world.publish(rng.choice(snapshots).expect("one").clone(), &configs::names(&mut rng), Vec::new());
    world.check_end();
    world.truth.seen
}

fn step(world: &mut World, snapshots: &[Arc<Snapshot>], rng: &mut fastrand::Rng) {
    match rng.u8(..100) {
        0..30 => world.arrive(rng),
        30..62 => if_any(world.requests.len(), rng, |which, rng| world.go_on(which, rng)),
        62..68 => if_any(world.requests.len(), rng, |which, _| world.abort(which)),
        68..71 => if_any(world.tunnels.len(), rng, |which, _| world.end_tunnel(which)),
        71..80 => {
            world.wait([10, 100, 300, 1_000, 3_000, 12_000][rng.usize(..6)], rng);
            world.patrol();
        }
        80..85 => world.turn(rng),
        85..90 => world.probe(rng),
        90..92 => world.mark(rng.bool(), rng),
        92..94 => world.look(rng.usize(..world.workers.len())),
        94..96 => world.housekeeping(),
        96 => world.resolve(&configs::names(rng)),
        97 | 98 => {
            let snapshot = rng.choice(snapshots).expect("one").clone();
            world.publish(snapshot, &configs::names(rng), configs::own_addresses(rng));
        }
        _ => burst(world, rng),
    }
}

/// Many requests come, and each comes to an end at once where it can.
fn burst(world: &mut World, rng: &mut fastrand::Rng) {
    for _ in 0..rng.usize(..BURST) {
        let before = world.requests.len();
        world.arrive(rng);
        while world.requests.len() > before && world.requests.last().is_some_and(|request| request.runs()) {
            world.go_on(before, rng);
        }
    }
}

fn end_something(world: &mut World, rng: &mut fastrand::Rng) {
    match rng.u8(..4) {
        0 => if_any(world.requests.len(), rng, |which, _| world.abort(which)),
        1 | 2 => if_any(world.requests.len(), rng, |which, rng| world.go_on(which, rng)),
        _ => if_any(world.tunnels.len(), rng, |which, _| world.end_tunnel(which)),
    }
}

/// Does something with one of so many.
fn if_any(count: usize, rng: &mut fastrand::Rng, then: impl FnOnce(usize, &mut fastrand::Rng)) {
    if let Some(which) = rng.choice(0..count) {
        then(which, rng);
    }
}
