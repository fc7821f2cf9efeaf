//! Memory of connections that have nothing to do, and what is left of it once they have gone.

use crate::harness::backend::Backend;
use crate::harness::client::Client;
use crate::harness::config::{Config, Driver};
use crate::harness::crowd::raise_file_limit;
use crate::harness::proxy::Proxy;
use crate::harness::{on_both_drivers, size, wait_until};

on_both_drivers![idle_connections_are_small_and_leave_little];

/// What an idle connection may take, in bytes. What it does take is 416 with io_uring and 440 with epoll, of which 224 are
/// its task (`conn` says what the rest is), and in the allocator's pages there is some room that nobody has.
const IDLE_BYTES: u64 = 512;

/// What a first peak may leave, in KiB: the tables of the runtime do not shrink all the way, and the allocator keeps a
/// page of 64 KiB for each size that is in use.
const LEFT_KIB: u64 = 1536;

fn idle_connections_are_small_and_leave_little(driver: Driver) {
    raise_file_limit();
    let count = size(3_000, 9_000);
    let backend = Backend::says_hello();
    let config = Config::to(driver, &backend).workers(1).timeouts("idle = \"300s\"");
    let proxy = Proxy::start(&config);
    let mut first = proxy.client();
    first.get("/");
    let start = proxy.anonymous_kib();
    let descriptors = proxy.descriptors();
    let memory_is_at_most = |kib: u64, when: &str| {
        wait_until(&format!("at most {kib} KiB {when}, from {start} KiB"), || proxy.anonymous_kib() <= kib);
    };
    // The second peak finds what the first has left.
    for _ in 0..2 {
        let clients = idle_clients(&proxy, count);
        assert_eq!(proxy.descriptors(), descriptors + count, "all are open");
        let most = start + LEFT_KIB + count as u64 * IDLE_BYTES / 1024;
        memory_is_at_most(most, "with idle connections");
        drop(clients);
        proxy.wait_for_descriptors(descriptors);
        memory_is_at_most(start + LEFT_KIB, "after them");
    }
    first.get("/");
}

/// Clients that have all sent one request and are silent since then.
fn idle_clients(proxy: &Proxy, count: usize) -> Vec<Client> {
    let one = || {
        let mut client = proxy.client();
        client.get("/");
        client
    };
    (0..count).map(|_| one()).collect()
}
