//! What is told to whoever looks inside: read from what the workers publish and count, on the control thread's time. No worker
//! is asked for it. What stands behind a lock (who waits, since when a backend is ejected) is copied and no more.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use ringway_config::{Backend, BackendAddress, Forbidden, Site};

use crate::net::dial::Address;
use crate::net::driver::Driver;
use crate::stats::{Counters, Stats};
use crate::upstream::{Gate, History, Member, Roster, Standing, Tally, Totals};
use crate::view::Shared;

/// Looks inside a running engine. It may be cloned and kept; it keeps no configuration alive.
#[derive(Clone)]
pub struct Observer {
    shared: Arc<Shared>,
    counters: Arc<[Arc<Counters>]>,
    driver: Driver,
    started: SystemTime,
}

/// What runs at one moment. Its numbers are read one after the other while the workers go on.
#[derive(Clone, Debug)]
pub struct Status {
    /// The kernel interface that drives the event loops.
    pub driver: String,
    /// When the clock of every `_ms` began.
    pub started: SystemTime,
    /// What that clock shows, in milliseconds.
    pub now_ms: u64,
    /// Open client connections over all workers, tunnels included.
    pub connections: u64,
    /// What all workers counted.
    pub totals: Stats,
    /// What each worker counted.
    pub workers: Vec<Stats>,
    /// The sites, in file order.
    pub sites: Vec<SiteStatus>,
    /// The named upstreams in file order, then those of sites and targets.
    pub upstreams: Vec<UpstreamStatus>,
}

/// A site.
#[derive(Clone, Debug)]
pub struct SiteStatus {
    /// How it is configured.
    pub config: Arc<Site>,
    /// Its limit.
    pub gate: GateStatus,
}

/// A limit and the line before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GateStatus {
    /// Exchanges that run.
    pub running: u32,
    /// Requests that wait.
    pub waiting: u32,
    /// Requests that had to wait, since the start; at an upstream those too that waited for a backend.
    pub queued: u64,
    /// Requests that found the line full.
    pub full: u64,
    /// Requests that waited too long.
    pub timed_out: u64,
}

/// An upstream.
#[derive(Clone, Debug)]
pub struct UpstreamStatus {
    /// How it is configured.
    pub config: Arc<ringway_config::Upstream>,
    /// Its limit.
    pub gate: GateStatus,
    /// Requests that wait for a backend to come back.
    pub waiting_for_backend: u32,
    /// Retries since the start.
    pub retries: u64,
    /// Retries in the last 10 s, as the budget counts them.
    pub retries_lately: u64,
    /// Changes of its backends since the start.
    pub tally: Tally,
    /// Its addresses, in the order of the backends in the file.
    pub backends: Vec<BackendStatus>,
    /// Its backends that have no address: names that do not resolve, variables that are not set.
    pub without_address: Vec<Backend>,
}

/// One address of an upstream.
#[derive(Clone, Debug)]
pub struct BackendStatus {
    /// What is dialled.
    pub address: Address,
    /// The URL of the backend that it belongs to.
    pub url: String,
    /// Its share of the requests.
    pub weight: u16,
    /// It takes part only when no other is available.
    pub backup: bool,
    /// Dialling it would come back to us: it gets no requests.
    pub is_own: bool,
    /// Why the upstream's egress policy refuses it: it gets no requests.
    pub forbidden: Option<Forbidden>,
    /// Exchanges and tunnels that are there.
    pub running: u32,
    /// How it stands.
    pub standing: Standing,
    /// Failures of requests since the last success.
    pub failures: u32,
    /// Since when and why it stands so.
    pub history: History,
    /// The peak EWMA of the time to the response head as the last sample left it; `None` without samples.
    pub latency: Option<Duration>,
}

impl Observer {
    pub(crate) fn new(shared: Arc<Shared>, counters: Vec<Arc<Counters>>, driver: Driver) -> Self {
        let started = SystemTime::now() - Duration::from_millis(shared.now_ms());
        Self { shared, counters: counters.into(), driver, started }
    }

    /// What runs now.
    pub fn status(&self) -> Status {
        let published = self.shared.published();
        let now_ms = self.shared.now_ms();
        let sites = published.snapshot.sites.iter().zip(&published.gates);
        let site = |(config, gate): (&Arc<Site>, &Arc<Gate>)| SiteStatus {
            config: config.clone(),
            gate: GateStatus::of(gate),
        };
        Status {
            driver: self.driver.to_string(),
            started: self.started,
            now_ms,
            connections: self.shared.connections.load(Relaxed),
            totals: Stats::merge(self.counters.iter().map(|worker| &**worker)),
            workers: self.counters.iter().map(|worker| Stats::merge(std::iter::once(&**worker))).collect(),
            sites: sites.map(site).collect(),
            upstreams: published.rosters.iter().map(|roster| UpstreamStatus::of(roster, now_ms)).collect(),
        }
    }
}

impl GateStatus {
    fn of(gate: &Gate) -> Self {
        Self { running: gate.running(), waiting: gate.waiting(), ..Self::default() }.with(gate.totals())
    }

    /// Adds what became of those who had to wait.
    fn with(self, Totals { queued, full, timed_out }: Totals) -> Self {
        Self {
            queued: self.queued + queued,
            full: self.full + full,
            timed_out: self.timed_out + timed_out,
            ..self
        }
    }
}

impl UpstreamStatus {
    fn of(roster: &Roster, now_ms: u64) -> Self {
        let (backends, without_address) = backends(roster);
        Self {
            config: roster.config.clone(),
            gate: GateStatus::of(&roster.state.gate).with(roster.state.absence.totals()),
            waiting_for_backend: roster.state.absence.waiting(),
            retries: roster.state.retries.load(Relaxed),
            retries_lately: roster.state.budget.withdrawn(now_ms),
            tally: *roster.state.ejecting.lock().unwrap_or_else(PoisonError::into_inner),
            backends,
            without_address,
        }
    }
}

/// The addresses of a roster, and its backends that have none. One pass: a roster has its addresses in the order of its
/// backends.
fn backends(roster: &Roster) -> (Vec<BackendStatus>, Vec<Backend>) {
    let (mut found, mut without_address) = (Vec::with_capacity(roster.members.len()), Vec::new());
    let mut members = roster.members.iter().peekable();
    for backend in &roster.config.backends {
        let found_before = found.len();
        while let Some(member) = members.next_if(|member| is_address_of(member, backend)) {
            found.push(BackendStatus::of(member, backend));
        }
        if found.len() == found_before {
            without_address.push(backend.clone());
        }
    }
    debug_assert!(members.next().is_none(), "every address is one of a backend");
    (found, without_address)
}

impl BackendStatus {
    fn of(member: &Member, backend: &Backend) -> Self {
        let state = &member.state;
        Self {
            address: member.address.clone(),
            url: backend.url.clone(),
            weight: member.weight,
            backup: member.backup,
            is_own: member.is_own,
            forbidden: member.forbidden,
            running: state.running.load(Relaxed),
            standing: state.health.standing(),
            failures: state.health.failures(),
            history: state.health.history(),
            latency: state.latency.last(),
        }
    }
}

/// Whether a member is an address of this backend; a name's are told by the Host that they share.
fn is_address_of(member: &Member, backend: &Backend) -> bool {
    let is_dialled = match (&backend.address, &member.address) {
        (BackendAddress::Socket(written), Address::Tcp(dialled)) => written == dialled,
        (BackendAddress::Unix(written), Address::Unix(dialled)) => **written == **dialled,
        (BackendAddress::Name { port, .. }, Address::Tcp(dialled)) => *port == dialled.port(),
        _ => false,
    };
    is_dialled && *member.authority == *backend.authority
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::States;
    use crate::view::{Names, Published};
    use ringway_config::{Compiler, Source};
    use std::collections::HashMap;

    /// What is told of the upstreams of a pool of these backends, and of a site.
    fn status(backends: &str, names: &[(&str, &[&str])]) -> Status {
        let text = format!(
            "[[listeners]]\naddress = \":1\"\n\
             [[upstreams]]\nname = \"u\"\nbackends = [{backends}]\nmax_active = 2\n\
             [[sites]]\nname = \"s\"\nhosts = [\"*\"]\nmax_active = 1\n\
             rules = [{{ name = \"r\", path = \"*\", upstream = \"u\" }}]\n"
        );
        let compiled = Compiler::new().compile(&Source { name: "test", text: &text });
        let snapshot = Arc::new(compiled.unwrap_or_else(|problems| panic!("{problems:?}")).snapshot);
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let names = names.iter().map(|(name, texts)| ((*name).to_owned(), addresses(texts)));
        let names: Names = Arc::new(names.collect::<HashMap<_, _>>());
        let published = Published::new(snapshot, &names, Vec::new(), &mut States::default());
        assert!(published.gates[0].try_enter() && published.rosters[0].state.gate.try_enter());
        let observer =
            Observer::new(Shared::new(Arc::new(published)), vec![Counters::new(); 3], Driver::Epoll);
        observer.status()
    }

    #[test]
    fn each_address_has_the_url_that_it_came_from() {
        let backends = r#"{ url = "http://a.test" }, { url = "http://192.0.2.1" }, { url = "unix:/run/x" },
            { url = "http://b.test", weight = 7 }, { url = "http://c.test:80" }"#;
        let both: &[&str] = &["192.0.2.1", "192.0.2.2"];
        let status = status(backends, &[("a.test", both), ("c.test", &[])]);
        let told = status.upstreams[0].backends.iter();
        let told: Vec<_> = told.map(|backend| (backend.address.to_string(), backend.url.as_str())).collect();
        let expected = [
            ("192.0.2.1:80", "http://a.test:80"),
            ("192.0.2.2:80", "http://a.test:80"),
            ("192.0.2.1:80", "http://192.0.2.1:80"),
            ("unix:/run/x", "unix:/run/x"),
        ];
        assert_eq!(told, expected.map(|(address, url)| (address.to_owned(), url)));
        let missing: Vec<_> =
            status.upstreams[0].without_address.iter().map(|backend| backend.url.as_str()).collect();
        assert_eq!(missing, ["http://b.test:80", "http://c.test:80"]);
    }

    #[test]
    fn gates_and_workers_are_told() {
        let status = status(r#"{ url = "http://192.0.2.1" }"#, &[]);
        assert_eq!((status.sites[0].gate.running, status.upstreams[0].gate.running), (1, 1));
        assert_eq!(&*status.sites[0].config.name, "s");
        assert_eq!((status.workers.len(), status.totals.requests, status.driver.as_str()), (3, 0, "epoll"));
    }
}
