//! What upstreams must stand, in full length and against the optimised program:
//! `cargo bench --bench soak -- [io_uring|epoll] [WORD]`.
//!
//! The scenes and what they are made of are those of the integration tests, which play them in a bounded length. Each is
//! played on both drivers, or on the one that is named; a word leaves only those whose names contain it. What was done
//! is told in counts. A scene that panics has met something that must not be: the run goes on and ends with 1.
//!
//! It needs a limit of 20,000 open files (the soft limit is raised as far as the hard one goes).

#![expect(clippy::print_stdout, reason = "the counts are the program's output")]
#![allow(unreachable_pub, reason = "in a program nothing is public")]

#[path = "../../tests/it/harness/mod.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "the tests use more of it")]
mod harness;
#[path = "../../tests/it/upstreams/scenes/mod.rs"]
#[allow(dead_code, reason = "the bounded length is for tests")]
mod scenes;

use harness::config::Driver;
use scenes::{Account, Extent, aborts, addresses, crowds, idle_closers, restarts, silence, vanishing};
use std::panic::catch_unwind;
use std::process::ExitCode;

/// What is played.
struct Scene {
    /// What it shows.
    name: &'static str,
    play: fn(Driver, Extent) -> Account,
}

const fn scene(name: &'static str, play: fn(Driver, Extent) -> Account) -> Scene {
    Scene { name, play }
}

const SCENES: [Scene; 8] = [
    scene("a rolling restart is noticed by nobody", restarts::rolling),
    scene("a backend that never answers is left alone", silence::silent_backend),
    scene("GETs survive a backend that closes idle connections", idle_closers::gets),
    scene("POSTs are not repeated at a backend that closes idle connections", idle_closers::posts),
    scene("a crowd is let in by tens and in order", crowds::a_thousand_at_a_gate),
    scene("clients that vanish leave nothing behind", vanishing::in_each_phase),
    scene("ip_hash moves only the clients of the backend that goes", addresses::one_of_five_goes),
    scene("nine in ten abort and leave nothing behind", aborts::nine_in_ten),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo bench` says so; `cargo test --benches` does not.
    let (bench, words): (Vec<_>, Vec<_>) = arguments.iter().partition(|word| *word == "--bench");
    if bench.is_empty() {
        println!("soak: it runs only under `cargo bench`");
        return ExitCode::SUCCESS;
    }
    let (named, words): (Vec<_>, Vec<_>) = words.into_iter().partition(|word| driver(word).is_some());
    let drivers = match named.as_slice() {
        [] => vec![Driver::IoUring, Driver::Epoll],
        named => named.iter().filter_map(|word| driver(word)).collect(),
    };
    let chosen = |scene: &&Scene| words.iter().all(|word| scene.name.contains(word.as_str()));
    let played: Vec<bool> = SCENES
        .iter()
        .filter(chosen)
        .flat_map(|scene| drivers.iter().map(|&driver| play(scene, driver)))
        .collect();
    let violations = played.iter().filter(|&&stood| !stood).count();
    println!("{} scenes, {violations} violations", played.len());
    if violations == 0 && !played.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn driver(word: &str) -> Option<Driver> {
    [Driver::IoUring, Driver::Epoll].into_iter().find(|driver| driver.name() == word)
}

/// False when it met something that must not be; what that was, the panic has said.
fn play(scene: &Scene, driver: Driver) -> bool {
    println!("{} [{}]", scene.name, driver.name());
    let Ok(account) = catch_unwind(|| (scene.play)(driver, Extent::Full)) else {
        println!("    VIOLATION");
        return false;
    };
    for (what, count) in account {
        println!("{count:>10}  {what}");
    }
    true
}
