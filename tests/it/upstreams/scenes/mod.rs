//! What an upstream must stand, each as one scene that plays in two lengths: bounded as a test, and full as
//! `cargo bench --bench soak`, which takes this folder and the harness in by their paths.
//!
//! A scene panics when something happens that must not; what it gives is what it did, in numbers.

pub mod aborts;
pub mod addresses;
pub mod crowds;
pub mod idle_closers;
pub mod restarts;
pub mod silence;
pub mod vanishing;

use crate::harness::config::{Config, Driver};
use crate::harness::proxy::Proxy;
use crate::harness::wait_until;

/// How long a scene plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Bounded,
    Full,
}

impl Extent {
    /// The size that goes with it.
    fn of(self, bounded: usize, full: usize) -> usize {
        match self {
            Extent::Bounded => bounded,
            Extent::Full => full,
        }
    }
}

/// What was done and counted.
pub type Account = Vec<(&'static str, usize)>;

/// Every path goes to the upstream `u` of these backends, whose table has the further `lines`.
pub fn pool(driver: Driver, urls: &[String], lines: &str) -> Config {
    Config::new(driver).upstream("u", urls).section(lines).rule_to("all", "/*", "u")
}

/// What a proxy had before a scene, to be found again afterwards.
struct Before {
    descriptors: usize,
    memory_kib: u64,
}

/// What the allocator may hold back of a peak that has passed, in KiB: a page of 64 KiB for each size that is in use.
const LEFT_KIB: u64 = 2048;

impl Before {
    fn of(proxy: &Proxy) -> Self {
        Before { descriptors: proxy.descriptors(), memory_kib: proxy.anonymous_kib() }
    }

    /// No descriptor, no place and no buffer is left of what has passed.
    fn assert_found_again(&self, proxy: &Proxy) {
        proxy.wait_for_descriptors(self.descriptors);
        proxy.wait_until_nothing_runs();
        let most = self.memory_kib + LEFT_KIB;
        wait_until(&format!("memory of at most {most} KiB"), || proxy.anonymous_kib() <= most);
    }
}
