//! What all cases share: the plan, the CPUs, the backend, the counters, and how much they do.

use crate::Outcome;
use crate::backend::Backend;
use crate::counters::cpus::{self, Cpus};
use crate::counters::{Counters, Meter, Threads};
use crate::model::Setting;
use crate::options::{CountWith, Plan};
use crate::peers::{Kind, Proxy, Wrapper};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::time::Duration;

/// The goal of the case `idle` is for so many.
const IDLE_CONNECTIONS: usize = 10_000;
const IDLE_CONNECTIONS_QUICK: usize = 2_000;
/// Descriptors that a proxy, or this program, has open besides.
const OTHER_DESCRIPTORS: usize = 500;

/// One run.
pub(crate) struct Bench<'a> {
    pub(crate) plan: &'a Plan,
    cpus: Cpus,
    backend: Backend,
    counters: Counters,
    descriptors: usize,
}

impl<'a> Bench<'a> {
    /// Pins the calling thread to the load's CPU, and starts the backend there.
    pub(crate) fn new(plan: &'a Plan, counters: Counters) -> Outcome<Self> {
        let cpus = Cpus::of_this_process()?;
        cpus::pin(cpus.load)?;
        let descriptors = raise_descriptors()?;
        Ok(Bench { plan, cpus, backend: Backend::start()?, counters, descriptors })
    }

    pub(crate) fn backend(&self) -> SocketAddr {
        self.backend.address()
    }

    /// Ringway with each driver, then the peers.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = Kind> {
        let drivers = self.plan.drivers.iter().map(|&driver| Kind::Ringway(driver));
        drivers.chain(self.plan.peers.iter().map(|&peer| Kind::Peer(peer)))
    }

    /// Starts a proxy on the proxies' CPU. The calling thread is on the load's again when this returns.
    pub(crate) fn start(&self, kind: Kind, setting: &Setting, wrapper: Wrapper) -> Outcome<Proxy> {
        cpus::pin(self.cpus.proxy)?;
        let proxy = Proxy::start(kind, setting, wrapper);
        cpus::pin(self.cpus.load)?;
        proxy
    }

    /// Whether valgrind counts.
    pub(crate) fn counts_exactly(&self) -> bool {
        self.plan.count_with == CountWith::Valgrind
    }

    /// Rounds of each case; counting exactly takes one.
    pub(crate) fn rounds(&self) -> usize {
        if self.counts_exactly() { 1 } else { self.plan.rounds }
    }

    pub(crate) fn meter(&self, proxy: &Proxy, threads: Threads) -> Outcome<Meter> {
        Meter::attach(&self.counters, proxy.pids(), threads)
    }

    /// How long a load runs before it counts.
    pub(crate) fn warm_up(&self) -> Duration {
        Duration::from_millis(if self.plan.quick { 80 } else { 300 })
    }

    /// How long a round counts.
    pub(crate) fn measured(&self) -> Duration {
        Duration::from_millis(if self.plan.quick { 250 } else { 2_000 })
    }

    /// New configurations in a round of `reload`.
    pub(crate) fn reloads(&self) -> usize {
        if self.plan.quick { 4 } else { 20 }
    }

    /// Rounds of `idle`, at most: it repeats well, and most of its time is waiting.
    pub(crate) fn idle_rounds(&self) -> usize {
        if self.plan.quick { 1 } else { 3 }
    }

    /// As many as are wanted and possible.
    pub(crate) fn idle_connections(&self) -> usize {
        self.idle_connections_wanted().min(self.descriptors.saturating_sub(OTHER_DESCRIPTORS))
    }

    fn idle_connections_wanted(&self) -> usize {
        if self.plan.quick { IDLE_CONNECTIONS_QUICK } else { IDLE_CONNECTIONS }
    }

    /// How many connections are idle, where it is not what the goal is for.
    pub(crate) fn note_on_idle_connections(&self) -> Option<String> {
        let (count, wanted, limit) =
            (self.idle_connections(), self.idle_connections_wanted(), self.descriptors);
        if count < wanted {
            return Some(format!("{count} connections, as a process may open only {limit} descriptors"));
        }
        (count < IDLE_CONNECTIONS).then(|| format!("{count} connections; the goal is for {IDLE_CONNECTIONS}"))
    }
}

/// Takes as many descriptors as are allowed, for this process and those that it starts.
fn raise_descriptors() -> Outcome<usize> {
    let failed = |error| format!("no limit of descriptors: {error}");
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(failed)?;
    Ok(usize::try_from(hard).unwrap_or(usize::MAX))
}
