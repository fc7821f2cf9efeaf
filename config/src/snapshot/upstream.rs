//! Pools of backends: which of them a request goes to, when one counts as ill, and how much a pool takes at a time.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::egress::Egress;

/// A pool of backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its name in the file; for the implied upstream of a `target`, the target's origin such as
    /// `http://127.0.0.1:3000`, which no named upstream can have.
    pub name: String,
    /// Its servers, at least one.
    pub backends: Vec<Backend>,
    /// Idle connections kept for each backend, divided among the workers.
    pub keepalive: u32,
    /// How a request's backend is chosen.
    pub strategy: Strategy,
    /// How many more backends a request may be sent to when one fails.
    pub retries: u8,
    /// How long a backend that came back takes to reach its full weight; zero: at once.
    pub slow_start: Duration,
    /// When a backend is ejected, and how it comes back.
    pub health: Health,
    /// How many exchanges run and wait at one time.
    pub admission: Admission,
    /// Its own timeouts; those that it does not set are the site's or the file's.
    pub timeouts: UpstreamTimeouts,
    /// How often its host names are looked up, in place of their TTL.
    pub dns_refresh: Option<Duration>,
    /// Which addresses of its backends may be dialled.
    pub egress: Arc<Egress>,
}

/// One server of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// What to dial.
    pub address: BackendAddress,
    /// The Host for requests that bring none: the host as written, with its port unless that is 80; `localhost`
    /// for a Unix socket.
    pub authority: String,
    /// The canonical URL: `http://host:port` with the port always there, or `unix:/path`. A backend of another
    /// snapshot with the same URL is the same backend.
    pub url: String,
    /// Its share of the requests, 1 to 1,000. Each address that its name resolves to has all of it.
    pub weight: u16,
    /// It takes part only when no other is available.
    pub backup: bool,
}

impl Backend {
    /// Whether it is asked by https.
    pub fn is_https(&self) -> bool {
        self.url.starts_with("https:")
    }

    /// The host name that leads to it, where it is written with one; it may have a closing dot.
    pub fn host_name(&self) -> Option<&str> {
        match &self.address {
            BackendAddress::Name { host, .. } => Some(host),
            BackendAddress::Socket(_) | BackendAddress::Unix(_) | BackendAddress::Unknown => None,
        }
    }
}

/// What to dial for a backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BackendAddress {
    /// An IP address and a port.
    Socket(SocketAddr),
    /// A name to resolve, in A-labels, and a port.
    Name {
        /// The host name; with a closing dot, where it was written with one, which makes it absolute.
        host: String,
        /// The port.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// Nothing: its URL needs an environment variable that was not set. The backend is down.
    Unknown,
}

/// How a request's backend is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Smooth weighted round robin, in each worker; written `round_robin` or `weighted`.
    #[default]
    RoundRobin,
    /// At random, by weight.
    Random,
    /// The fewest running exchanges for its weight, over all workers; ties in turn.
    LeastConnections,
    /// Of two at random, the one with fewer running exchanges for its weight.
    P2c,
    /// Consistent over the client's address.
    IpHash,
    /// The lowest peak EWMA of the time to the response head, times the exchanges that run, of two at random.
    LeastLatency,
}

impl Strategy {
    /// Its name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::Random => "random",
            Self::LeastConnections => "least_connections",
            Self::P2c => "p2c",
            Self::IpHash => "ip_hash",
            Self::LeastLatency => "least_latency",
        }
    }
}

/// When a backend is ejected, and how it comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Failures in a row that eject, whatever they are. `None`: one for a connection that cannot be made, three for the
    /// rest.
    pub max_failures: Option<u32>,
    /// The share of a pool that failures may eject, rounded up; never its last backend.
    pub max_ejected_percent: u8,
    /// Status codes that count as failures.
    pub unhealthy_status: StatusSet,
    /// The longest time between two probes of an ejected backend. The first ones come sooner: after 1, 2, 4, … seconds.
    pub recovery_interval: Duration,
    /// How a backend is probed.
    pub probe: Probe,
    /// How long a probe may take.
    pub probe_timeout: Duration,
    /// Probing of all backends, at all times.
    pub active: Option<ActiveProbes>,
    /// What becomes of a request when no backend is available.
    pub on_no_backend: OnNoBackend,
}

/// How a backend is probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A connection that is made is a sign of life.
    Tcp,
    /// A response with a status below 500 to a GET of this path is.
    Http {
        /// The path, and a query perhaps.
        path: String,
    },
}

/// Probing of all backends, at all times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProbes {
    /// The time between two probes of a backend.
    pub interval: Duration,
    /// So many good ones in a row bring it back.
    pub rise: u32,
    /// So many bad ones in a row eject it, even if it is the last one.
    pub fall: u32,
}

/// What becomes of a request when no backend is available.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnNoBackend {
    /// It goes to one of those that were ejected.
    #[default]
    Any,
    /// It gets 503.
    Fail,
    /// It waits for one to come back, as long as `queue_timeout`.
    Wait,
}

/// How many exchanges run and wait at one time, over all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Exchanges that run; 0 is no limit.
    pub max_active: u32,
    /// Requests that wait.
    pub max_queued: u32,
    /// How long one waits.
    pub queue_timeout: Duration,
    /// A tunnel counts as running to its end; otherwise until its 101.
    pub count_tunnels: bool,
}

/// Timeouts of an upstream; `None` where it sets none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// A connection to a backend.
    pub connect: Option<Duration>,
    /// A backend's response head, from the last request byte sent.
    pub response: Option<Duration>,
    /// A response body that stops coming.
    pub body: Option<Duration>,
    /// A pooled connection without work.
    pub idle: Option<Duration>,
    /// A tunnel without bytes either way.
    pub tunnel_idle: Option<Duration>,
}

/// A set of status codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusSet {
    /// A bit for each code from 100 to 599.
    bits: [u64; 8],
}

/// The codes that a [`StatusSet`] tells apart.
const STATUSES: std::ops::RangeInclusive<u16> = 100..=599;

impl StatusSet {
    /// Adds a code; one outside of 100 to 599 is not added.
    pub fn add(&mut self, status: u16) {
        if let Some((word, bit)) = place(status) {
            self.bits[word] |= bit;
        }
    }

    /// Whether a code is in it.
    #[inline]
    pub fn contains(&self, status: u16) -> bool {
        place(status).is_some_and(|(word, bit)| self.bits[word] & bit != 0)
    }
}

fn place(status: u16) -> Option<(usize, u64)> {
    let index = STATUSES.contains(&status).then(|| usize::from(status - STATUSES.start()))?;
    Some((index / 64, 1 << (index % 64)))
}

impl Default for Health {
    fn default() -> Self {
        Self {
            max_failures: None,
            max_ejected_percent: 50,
            unhealthy_status: StatusSet::default(),
            recovery_interval: Duration::from_secs(60),
            probe: Probe::Tcp,
            probe_timeout: Duration::from_secs(5),
            active: None,
            on_no_backend: OnNoBackend::Any,
        }
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self { max_active: 0, max_queued: 100, queue_timeout: Duration::from_secs(30), count_tunnels: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_set_tells_every_code_apart() {
        for status in STATUSES {
            let mut set = StatusSet::default();
            set.add(status);
            assert!((0..=u16::MAX).all(|other| set.contains(other) == (other == status)), "{status}");
        }
        let mut set = StatusSet::default();
        for status in [0, 99, 600, u16::MAX] {
            set.add(status);
        }
        assert_eq!(set, StatusSet::default());
    }
}
