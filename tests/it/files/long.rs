//! Files that are sent for a while: no more of them is in memory than is on its way, whoever reads them, and how slowly.

use super::{Stage, folder, serving};
use crate::access_log::{logging, objects};
use crate::harness::client::Client;
use crate::harness::config::{Config, Driver};
use crate::harness::message::{Ending, Head};
use crate::harness::{on_both_drivers, wait_until};
use nix::sys::signal::Signal;
use std::fs::File;
use std::io::Write;

on_both_drivers![
    a_long_file_is_never_in_memory,
    slow_readers_hold_a_small_buffer_each,
    who_does_not_read_is_cut_in_time,
    who_goes_away_leaves_nothing,
    a_drain_lets_a_download_end,
    neighbours_are_served_meanwhile,
];

const MIB: usize = 1 << 20;
const LONG: usize = 100 * MIB;
/// What is on its way of a file, with what the allocator rounds up, in KiB.
const ON_ITS_WAY_KIB: u64 = 4096;

/// A part of the file; it is not a power of two long, so that each place of the file looks different.
fn part() -> Vec<u8> {
    let mut bytes = vec![0; MIB - 7];
    fastrand::Rng::with_seed(5).fill(&mut bytes);
    bytes
}

fn write_long(stage: &Stage, length: usize) {
    let (mut file, part) = (File::create(stage.path("long")).expect("a file"), part());
    let mut left = length;
    while left > 0 {
        let n = left.min(part.len());
        file.write_all(&part[..n]).expect("room");
        left -= n;
    }
}

const GET: &str = "GET /long HTTP/1.1\r\nHost: t\r\n\r\n";

/// Reads the whole response, whose body must be what was written.
fn read_all(client: &mut Client, length: usize, seen: impl FnMut()) {
    let head = client.head();
    read_body(client, &head, length, seen);
}

fn read_body(client: &mut Client, head: &Head, length: usize, mut seen: impl FnMut()) {
    assert_eq!(head.fields.get("content-length"), Some(length.to_string().as_str()));
    let part = part();
    let mut left = length;
    while left > 0 {
        let n = left.min(part.len());
        assert!(client.exactly(n) == part[..n], "with {left} bytes left");
        left -= n;
        seen();
    }
}

fn a_long_file_is_never_in_memory(driver: Driver) {
    let stage = Stage::new(driver, &[("small", "x")]);
    write_long(&stage, LONG);
    let mut client = stage.proxy.client();
    client.get("/small");
    let before = stage.proxy.anonymous_kib();
    let mut most = 0;
    client.send(GET);
    read_all(&mut client, LONG, || most = most.max(stage.proxy.anonymous_kib()));
    assert!(most <= before + ON_ITS_WAY_KIB, "{most} KiB, {before} KiB before");
    assert_eq!(client.get("/small").text(), "x");
}

fn slow_readers_hold_a_small_buffer_each(driver: Driver) {
    const READERS: u64 = 60;
    /// What a connection that sends to a full socket takes, in KiB: a small buffer, and what is around it.
    const READER_KIB: u64 = 48;
    let stage = Stage::new(driver, &[("small", "x")]);
    write_long(&stage, 16 * MIB);
    stage.get("/small");
    let (before, descriptors) = (stage.proxy.anonymous_kib(), stage.proxy.descriptors());
    let mut clients: Vec<Client> =
        (0..READERS).map(|_| Client::with_receive_buffer(&stage.proxy.address(), 4096)).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.send(GET).head().status(), 200));
    wait_until("all have a file open", || {
        stage.proxy.descriptors() >= descriptors + 2 * READERS as usize - 2
    });
    let most = before + ON_ITS_WAY_KIB + READERS * READER_KIB;
    wait_until("each holds a small buffer", || stage.proxy.anonymous_kib() <= most);
    drop(clients);
    stage.proxy.wait_for_descriptors(descriptors);
}

fn who_does_not_read_is_cut_in_time(driver: Driver) {
    let root = folder(&[]);
    let config = Config::new(driver).timeouts("write = \"300ms\"");
    let stage = Stage { proxy: logging(serving(config, &root.path().join("www")), ""), root };
    write_long(&stage, 32 * MIB);
    let descriptors = stage.proxy.descriptors();
    let mut client = Client::with_receive_buffer(&stage.proxy.address(), 4096);
    client.send(GET);
    let line = objects(&stage.proxy, 1).remove(0);
    assert_eq!((line["status"].as_u64(), line["code"].as_str()), (Some(200), Some("client_gone")));
    assert!(line["response_bytes"].as_u64() < Some(32 * MIB as u64));
    assert_ne!(client.rest().1, Ending::Silence);
    drop(client);
    stage.proxy.wait_for_descriptors(descriptors);
}

fn who_goes_away_leaves_nothing(driver: Driver) {
    let stage = Stage::new(driver, &[]);
    write_long(&stage, 32 * MIB);
    let descriptors = stage.proxy.descriptors();
    for turn in 0..6 {
        let mut client = Client::with_receive_buffer(&stage.proxy.address(), 4096);
        client.send(GET);
        client.head();
        if turn % 2 == 0 { client.reset() } else { drop(client) }
    }
    stage.proxy.wait_for_descriptors(descriptors);
}

fn a_drain_lets_a_download_end(driver: Driver) {
    let mut stage = Stage::new(driver, &[]);
    write_long(&stage, 24 * MIB);
    let mut client = Client::with_receive_buffer(&stage.proxy.address(), 64 * 1024);
    client.send(GET);
    let head = client.head();
    stage.proxy.signal(Signal::SIGTERM);
    read_body(&mut client, &head, 24 * MIB, || {});
    drop(client);
    assert!(stage.proxy.wait().success());
}

fn neighbours_are_served_meanwhile(driver: Driver) {
    let stage = Stage::new(driver, &[("small", "x")]);
    write_long(&stage, 64 * MIB);
    let mut slow = Client::with_receive_buffer(&stage.proxy.address(), 4096);
    slow.send(GET);
    slow.head();
    let address = stage.proxy.address();
    std::thread::scope(|scope| {
        let download = scope.spawn(|| {
            let mut client = Client::connect(&address);
            client.send(GET);
            read_all(&mut client, 64 * MIB, || {});
        });
        let mut neighbour = stage.proxy.client();
        let mut served = 0;
        while !download.is_finished() {
            assert_eq!(neighbour.get("/small").text(), "x");
            served += 1;
        }
        assert!(served > 10, "{served}");
    });
}
