//! For tests: upstreams at addresses that nobody dials.

use std::net::Ipv4Addr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringway_config::Upstream as Config;

use super::state::{BackendState, Member, Roster, UpstreamState};
use crate::net::dial::Address;

pub(super) fn member(number: u16, weight: u16) -> Member {
    Member {
        address: Address::Tcp((Ipv4Addr::new(10, 0, (number >> 8) as u8, number as u8), 8080).into()),
        authority: "backend".into(),
        weight,
        backup: false,
        is_own: false,
        forbidden: None,
        state: Arc::new(BackendState::default()),
    }
}

/// With what a file has by default.
pub(super) fn roster(members: impl Iterator<Item = Member>) -> Roster {
    let config = Config {
        name: "pool".into(),
        backends: Vec::new(),
        keepalive: 64,
        strategy: Default::default(),
        retries: 2,
        slow_start: Duration::ZERO,
        health: Default::default(),
        admission: Default::default(),
        timeouts: Default::default(),
        dns_refresh: None,
        egress: Arc::default(),
    };
    let state = UpstreamState {
        name: "pool".into(),
        gate: Arc::default(),
        absence: Arc::default(),
        budget: Default::default(),
        ejecting: Mutex::default(),
        retries: AtomicU64::new(0),
    };
    Roster { config: Arc::new(config), state: Arc::new(state), members: members.collect() }
}

impl Roster {
    pub(super) fn configure(&mut self, change: impl FnOnce(&mut Config)) {
        change(Arc::make_mut(&mut self.config));
    }
}
