//! Memory of connections that have nothing to do, and after they have gone.

use super::raise_file_limit;
use crate::harness::backend::Backend;
use crate::harness::client::Client;
use crate::harness::config::{Config, Driver};
use crate::harness::proxy::Proxy;
use crate::harness::{on_both_drivers, size, wait_until};

on_both_drivers![idle_connections_are_small_and_leave_nothing];

/// What one idle connection may take, in bytes. It is 440 with io_uring and 460 with epoll; the rest is for what the
/// allocator's pages, of 64 KiB each, have room for beside.
const IDLE_BYTES: u64 = 512;

/// What may be left of a peak, in KiB.
const LEFT_KIB: u64 = 1024;

fn idle_connections_are_small_and_leave_nothing(driver: Driver) {
    raise_file_limit();
    let count = size(3_000, 9_000);
    let backend = Backend::says_hello();
    let config = Config::to(driver, &backend).workers(1).timeouts("idle = \"300s\"");
    let proxy = Proxy::start(&config);
    // The first peak leaves the runtime's own tables, which stay.
    let peak = idle_clients(&proxy, count);
    let descriptors = proxy.descriptors() - count;
    drop(peak);
    proxy.wait_for_descriptors(descriptors);
    // What it needed it gives back a few seconds later: the least of what is seen meanwhile is what stays.
    let before = settled_kib(&proxy);
    let idle = idle_clients(&proxy, count);
    let most = before + count as u64 * IDLE_BYTES / 1024;
    wait_until(&format!("at most {most} KiB with {count} idle connections, after {before} KiB"), || {
        proxy.memory_kib() <= most
    });
    assert_eq!(proxy.descriptors(), descriptors + count, "all of them are open");
    drop(idle);
    wait_until(&format!("the {before} KiB of before"), || proxy.memory_kib() <= before + LEFT_KIB);
}
