//! Many files, many names, and more requests than the disk is asked at once.

use super::Stage;
use crate::harness::config::{Config, Driver};
use crate::harness::crowd::crowd;
use crate::harness::on_both_drivers;

on_both_drivers![
    ten_thousand_names_do_not_grow_memory,
    files_that_are_asked_for_once_are_forgotten,
    a_crowd_gets_the_same_file,
];

/// What a worker keeps of files is 16 MiB at most; in KiB, with what the allocator makes of it.
const CACHE_KIB: u64 = 22 * 1024;

fn ten_thousand_names_do_not_grow_memory(driver: Driver) {
    let stage = Stage::new(driver, &[("a", "x")]);
    let mut client = stage.proxy.client();
    let get = |n: usize| format!("GET /missing-{n}-{} HTTP/1.1\r\nHost: t\r\n\r\n", "x".repeat(100));
    let ask = |client: &mut crate::harness::client::Client, from: usize| {
        for hundred in 0..100 {
            let first = from + 100 * hundred;
            client.send((first..first + 100).map(get).collect::<String>());
            (0..100).for_each(|_| assert_eq!(client.response().status, 404));
        }
    };
    ask(&mut client, 0);
    let before = stage.proxy.anonymous_kib();
    ask(&mut client, 10_000);
    let after = stage.proxy.anonymous_kib();
    assert!(after <= before + 512, "{after} KiB, {before} KiB before");
}

fn files_that_are_asked_for_once_are_forgotten(driver: Driver) {
    const FILES: usize = 1_500;
    let stage = Stage::new(driver, &[("a", "x")]);
    let content = vec![b'x'; 40_000];
    for n in 0..FILES {
        std::fs::write(stage.path(&n.to_string()), &content).expect("a file");
    }
    let mut client = stage.proxy.client();
    client.get("/a");
    let before = stage.proxy.anonymous_kib();
    for n in 0..FILES {
        assert_eq!(client.get(&format!("/{n}")).body.len(), content.len());
    }
    let after = stage.proxy.anonymous_kib();
    assert!(after <= before + CACHE_KIB, "{after} KiB, {before} KiB before, {FILES} files");
}

fn a_crowd_gets_the_same_file(driver: Driver) {
    let stage = Stage::of(Config::new(driver).workers(2), &[("a", "hello")]);
    crowd(60, |_| {
        let mut client = stage.proxy.client();
        (0..20).for_each(|_| assert_eq!(client.get("/a").text(), "hello"));
    });
}
