//! Probes: how often they come, what they add up to, and that none outlives its time or its backend.

use super::{HEALTH, HTTP, Moody, address, events, heads, pool, statuses, wait_for};
use crate::harness::backend::Backend;
use crate::harness::backends::response;
use crate::harness::config::Driver;
use crate::harness::proxy::Proxy;
use crate::harness::restarting::Restarting;
use crate::harness::{on_both_drivers, pause, wait_until};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

on_both_drivers![
    an_ejected_one_is_probed_as_often_as_the_file_says,
    fall_and_rise_count_probes_in_a_row,
    without_active_probes_one_that_is_well_is_not_probed,
    a_probe_that_is_answered_without_end_ends,
    a_probe_ends_when_its_backend_leaves,
    many_silent_backends_do_not_keep_others_from_their_probes,
];

/// Of active probes, one a second: the least that can be said.
const ACTIVE: &str = "active = true, probe_interval = \"1s\"";

/// Twice as rarely each time, the fifth probe would come after half a minute.
fn an_ejected_one_is_probed_as_often_as_the_file_says(driver: Driver) {
    let (ill, well) = (Moody::new(503, 500), Backend::says("well"));
    let health =
        format!("{HTTP}, recovery_interval = \"1s\", unhealthy_status = [\"503\"], max_failures = 1");
    let proxy = Proxy::start(&pool(driver, &[ill.backend.url(), well.url()], &health, ""));
    statuses(&mut proxy.client(), 2);
    wait_for(&proxy, "backend_ejected");
    ill.wait_for_probes(5);
}

/// A backend whose probes, one after the other, are answered with these statuses and then with the last.
fn scripted(statuses: &'static [u16]) -> (Backend, Arc<AtomicUsize>) {
    let probes = Arc::new(AtomicUsize::new(0));
    let count = probes.clone();
    let backend = Backend::answers(move |request| {
        let status = match request.head.target() {
            HEALTH => statuses[count.fetch_add(1, Ordering::SeqCst).min(statuses.len() - 1)],
            _ => 200,
        };
        response(&format!("{status} Scripted"), "", b"scripted")
    });
    (backend, probes)
}

fn fall_and_rise_count_probes_in_a_row(driver: Driver) {
    let (backend, probes) = scripted(&[500, 200, 500, 500, 200, 503, 200, 404]);
    let health = format!("{HTTP}, {ACTIVE}, rise = 2, fall = 2");
    let proxy = Proxy::watched(pool(driver, &[backend.url()], &health, ""));
    let mut seen = 0;
    let told = |id| (!events(&proxy, id).is_empty()).then(|| probes.load(Ordering::SeqCst));
    // No more than one probe can come between an answer and the line about it.
    wait_until("it is ejected", || told("backend_ejected").inspect(|probes| seen = *probes).is_some());
    assert!((4..=5).contains(&seen), "after {seen} probes");
    wait_until("it is back", || told("backend_recovered").inspect(|probes| seen = *probes).is_some());
    assert!((8..=9).contains(&seen), "after {seen} probes");
    let status = proxy.upstream_status("u");
    assert_eq!((&status["ejections"], &status["recoveries"]), (&1.into(), &1.into()));
    assert_eq!((events(&proxy, "backend_ejected").len(), events(&proxy, "backend_recovered").len()), (1, 1));
}

fn without_active_probes_one_that_is_well_is_not_probed(driver: Driver) {
    let (mut ill, well) = (Restarting::says("ill"), Moody::new(200, 200));
    let proxy = Proxy::start(&pool(driver, &[ill.url(), well.backend.url()], HTTP, ""));
    ill.kill();
    statuses(&mut proxy.client(), 4);
    ill.start();
    // The probe that brings the other one back would have had the company of one here.
    wait_for(&proxy, "backend_recovered");
    assert_eq!(well.probes(), 0);
}

/// The beginning of an answer, and after it something that does not end. Counts the visits that ended.
fn endless(beginning: &'static str, more: &'static str) -> (Backend, Arc<AtomicUsize>) {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = ended.clone();
    let backend = Backend::script(move |visit| {
        if visit.head().is_none() || !visit.send(beginning) {
            return;
        }
        while !visit.stopping() && visit.send(more) {
            pause(Duration::from_millis(5));
        }
        count.fetch_add(1, Ordering::SeqCst);
    });
    (backend, ended)
}

fn a_probe_that_is_answered_without_end_ends(driver: Driver) {
    let health = format!("{HTTP}, {ACTIVE}, rise = 1, fall = 1");
    // Its status is all that is wanted of an answer.
    let (streams, ended) = endless("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", "body");
    let proxy = Proxy::start(&pool(driver, &[streams.url()], &health, ""));
    wait_until("three probes end", || ended.load(Ordering::SeqCst) >= 3);
    assert!(events(&proxy, "backend_ejected").is_empty());
    for (beginning, more, failed) in [
        ("HTTP/1.1 200 OK\r\nA: ", "b", "no response head in time"),
        ("HTTP/1.1 200 OK\r\n", "A: 1\r\n", "no response head in time"),
        ("", "HTTP/1.1 102 Processing\r\n\r\n", "no response head in time"),
        ("", "garbage\r\n\r\n", "the response is no HTTP"),
    ] {
        let (drips, ended) = endless(beginning, more);
        let proxy = Proxy::start(&pool(driver, &[drips.url()], &health, ""));
        let line = wait_for(&proxy, "backend_ejected");
        assert!(line.contains("cause=\"probe_failed\"") && line.contains(failed), "{more:?}: {line}");
        wait_until("two probes end", || ended.load(Ordering::SeqCst) >= 2);
    }
}

/// Whose answer would be waited for for a minute.
fn patient() -> String {
    format!("{HTTP}, {ACTIVE}").replace("300ms", "60s")
}

fn a_probe_ends_when_its_backend_leaves(driver: Driver) {
    let (silent, well) = (Backend::never_answers(), Backend::says("well"));
    let both = [silent.url(), well.url()];
    let proxy = Proxy::start(&pool(driver, &both, &patient(), ""));
    silent.wait_for_requests(1);
    // One whose backend stays goes on.
    proxy.reload(&pool(driver, &both, &patient(), "keepalive = 7"));
    assert_eq!(silent.open(), 1);
    proxy.reload(&pool(driver, &both[1..], &patient(), ""));
    silent.wait_until_idle();
    assert_eq!(heads(&silent, HEALTH).len(), 1);
    assert!(events(&proxy, "backend_ejected").is_empty(), "it says nothing about one that has gone");
}

/// More than there are places for probes, each of which takes its time.
fn many_silent_backends_do_not_keep_others_from_their_probes(driver: Driver) {
    let silent = Backend::never_answers();
    let mut well = Restarting::says("well");
    let health = format!("{HTTP}, {ACTIVE}, rise = 1, fall = 1").replace("300ms", "2s");
    let mut config = pool(driver, &[well.url()], &health, "");
    for number in 0..100 {
        config = config.upstream(&format!("silent{number}"), &[silent.url()]);
        config = config.section(&format!("health = {{ {health} }}"));
    }
    let proxy = Proxy::start(&config);
    wait_until("all silent ones are ejected", || events(&proxy, "backend_ejected").len() == 100);
    well.kill();
    let gone = address(&well);
    wait_until("the one that died, too", || {
        events(&proxy, "backend_ejected").iter().any(|line| line.contains(&gone))
    });
    well.start();
    wait_for(&proxy, "backend_recovered");
}
