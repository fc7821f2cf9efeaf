//! Upstreams, on the wire: how a backend is chosen, what is tried again, who waits, what ends when, and that nothing of it is
//! lost when the configuration changes.
//!
//! `scenes` has what an upstream must stand, in two lengths; this file plays the bounded ones.

mod changes;
mod limits;
mod pools;
mod replay;
mod retries;
mod scenes;
mod strategies;
mod timeouts;
mod waiting;

use crate::harness::config::{Config, Driver};
use crate::harness::proxy::Proxy;
use crate::harness::{on_both_drivers, soak};
use scenes::pool;
use scenes::{Account, Extent, aborts, addresses, crowds, idle_closers, restarts, silence, vanishing};

on_both_drivers![
    a_rolling_restart_is_noticed_by_nobody,
    a_backend_that_never_answers_is_left_alone,
    gets_survive_a_backend_that_closes_idle_connections,
    posts_are_not_repeated_at_a_backend_that_closes_idle_connections,
    a_crowd_is_let_in_by_tens_and_in_order,
    clients_that_vanish_leave_nothing_behind,
    ip_hash_moves_only_the_clients_of_the_backend_that_goes,
    nine_in_ten_abort_and_leave_nothing_behind,
];

/// Bounded, or in full when soaking.
fn play(scene: fn(Driver, Extent) -> Account, driver: Driver) {
    scene(driver, if soak() { Extent::Full } else { Extent::Bounded });
}

fn a_rolling_restart_is_noticed_by_nobody(driver: Driver) {
    play(restarts::rolling, driver);
}

fn a_backend_that_never_answers_is_left_alone(driver: Driver) {
    play(silence::silent_backend, driver);
}

fn gets_survive_a_backend_that_closes_idle_connections(driver: Driver) {
    play(idle_closers::gets, driver);
}

fn posts_are_not_repeated_at_a_backend_that_closes_idle_connections(driver: Driver) {
    play(idle_closers::posts, driver);
}

fn a_crowd_is_let_in_by_tens_and_in_order(driver: Driver) {
    play(crowds::a_thousand_at_a_gate, driver);
}

fn clients_that_vanish_leave_nothing_behind(driver: Driver) {
    play(vanishing::in_each_phase, driver);
}

fn ip_hash_moves_only_the_clients_of_the_backend_that_goes(driver: Driver) {
    play(addresses::one_of_five_goes, driver);
}

fn nine_in_ten_abort_and_leave_nothing_behind(driver: Driver) {
    play(aborts::nine_in_ten, driver);
}

/// Every path goes to the upstream `u`, whose backends are the tables `backends`, and which has the further `lines`.
fn pool_of(driver: Driver, backends: &str, lines: &str) -> Config {
    let upstream = format!("[[upstreams]]\nname = \"u\"\nbackends = [{backends}]\n{lines}");
    Config::new(driver).section(&upstream).rule_to("all", "/*", "u")
}

/// `pool`, where the backends `ill` are asked first and are never ejected, and `good` only after them.
fn ill_first(driver: Driver, ill: &[String], good: &str, lines: &str) -> Config {
    let ill: String = ill.iter().map(|url| format!("{{ url = \"{url}\" }}, ")).collect();
    let lines = format!("health = {{ max_failures = 1000 }}\n{lines}");
    pool_of(driver, &format!("{ill}{{ url = \"{good}\", backup = true }}"), &lines)
}

/// A proxy with an admin socket and an access log, `access.log` in its directory.
fn logged(config: Config) -> Proxy {
    let directory = tempfile::tempdir().expect("a directory");
    let log = format!("[access_log]\npath = \"{}\"", directory.path().join("access.log").display());
    Proxy::watched_in(directory, config.section(&log))
}
