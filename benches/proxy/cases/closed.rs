//! The closed loops.

use super::{BODY_CONNECTIONS, CONNECTIONS, RULES, counted};
use crate::Outcome;
use crate::bench::Bench;
use crate::counters::Threads;
use crate::load::{Bodies, Connects, Exchanges, Limit, Load, Requests, Tunnels};
use crate::model::{Metric, Sample, Setting};
use crate::peers::{Kind, Proxy};
use std::net::SocketAddr;
use std::time::Duration;

/// Requests at once on each connection of `pipeline`.
const PIPELINED: usize = 16;
const TUNNELS: usize = 1_000;

/// Of the work that valgrind counts, so much is done before.
const NOT_COUNTED: f64 = 0.2;

type Opened = Outcome<Box<dyn Load>>;
pub(super) type Open = fn(SocketAddr) -> Opened;

pub(super) fn get(proxy: SocketAddr) -> Opened {
    Ok(Box::new(Exchanges::connect(proxy, CONNECTIONS, Requests::get(1))?))
}

pub(super) fn file(proxy: SocketAddr) -> Opened {
    Ok(Box::new(Exchanges::connect(proxy, CONNECTIONS, Requests::file())?))
}

pub(super) fn rules(proxy: SocketAddr) -> Opened {
    Ok(Box::new(Exchanges::connect(proxy, CONNECTIONS, Requests::of_rules(RULES))?))
}

pub(super) fn pipeline(proxy: SocketAddr) -> Opened {
    Ok(Box::new(Exchanges::connect(proxy, CONNECTIONS, Requests::get(PIPELINED))?))
}

pub(super) fn connect(proxy: SocketAddr) -> Opened {
    Ok(Box::new(Connects::to(proxy, CONNECTIONS)?))
}

pub(super) fn body_down(proxy: SocketAddr) -> Opened {
    Ok(Box::new(Bodies::down(proxy, BODY_CONNECTIONS)?))
}

pub(super) fn body_up(proxy: SocketAddr) -> Opened {
    Ok(Box::new(Bodies::up(proxy, BODY_CONNECTIONS)?))
}

pub(super) fn websocket(proxy: SocketAddr) -> Opened {
    Ok(Box::new(Tunnels::open(proxy, TUNNELS)?))
}

/// What a unit of work costs, after a warm-up on the same connections: caches, pools and buffers have their size then.
pub(super) fn round(bench: &Bench<'_>, proxy: &Proxy, open: Open, time: Duration) -> Outcome<Sample> {
    let mut load = open(proxy.address())?;
    load.run(Limit::time(bench.warm_up()))?;
    let meter = bench.meter(proxy, Threads::All)?;
    let done = load.run(Limit::time(time))?;
    meter.finish(done.units, done.elapsed)
}

/// The same, by valgrind.
pub(super) fn count(
    bench: &Bench<'_>,
    kind: Kind,
    setting: &Setting,
    open: Open,
    units: u64,
) -> Outcome<Sample> {
    let work = |units| move |proxy| open(proxy)?.run(Limit::units(units)).map(|done| done.units);
    let few = (units as f64 * NOT_COUNTED) as u64;
    let count = counted::count(bench, kind, setting, work(few), work(few + units))?;
    Ok(vec![(Metric::UserInstructions, count)])
}
