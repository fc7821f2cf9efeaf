//! What runs: the compiled, immutable configuration. Every value in it was checked, every default filled in and
//! every name resolved to an id. Nothing here says how it was written; nothing here can be half valid.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::router::Router;
use crate::scratch::Scratch;

/// One whole configuration. Cheap to share behind an `Arc`; never changed after it was made.
#[derive(Debug)]
pub struct Snapshot {
    /// The process: workers, driver, draining, trust.
    pub server: Server,
    /// The sockets to accept on, in file order; at least one.
    pub listeners: Vec<Arc<Listener>>,
    /// Bounds on what peers may send.
    pub limits: Limits,
    /// How long each phase of an exchange may take.
    pub timeouts: Timeouts,
    /// Which fields tell a backend about the client.
    pub forwarded: ForwardedSwitches,
    /// Where the access log goes.
    pub access_log: AccessLog,
    /// Named upstreams in file order, then one for each distinct `target`.
    pub upstreams: Vec<Arc<Upstream>>,
    /// The sites in file order; indexed by [`SiteId`].
    pub sites: Vec<Arc<Site>>,
    /// Every rule, disabled ones too: each site's in file order, then the site-less ones; indexed by [`RuleId`].
    pub rules: Vec<Arc<Rule>>,
    pub(crate) router: Router,
}

impl Snapshot {
    /// The room that [`route`](Self::route) needs: one for each thread that asks this snapshot.
    pub fn scratch(&self) -> Scratch {
        Scratch::default()
    }

    /// Finds the site and the rule for a request. `scratch` is from this snapshot's [`scratch`](Self::scratch). Takes no
    /// lock.
    ///
    /// # Errors
    /// [`NoRoute`] when no rule takes the request; the client gets 404.
    pub fn route(&self, request: &RouteRequest<'_>, scratch: &mut Scratch) -> Result<Route, NoRoute> {
        self.router.route(request, scratch)
    }

    /// The site of an id that this snapshot's [`route`](Self::route) gave; `None` for another snapshot's.
    pub fn site(&self, id: SiteId) -> Option<&Arc<Site>> {
        self.sites.get(id.index())
    }

    /// The rule of an id that this snapshot's [`route`](Self::route) gave; `None` for another snapshot's.
    pub fn rule(&self, id: RuleId) -> Option<&Arc<Rule>> {
        self.rules.get(id.index())
    }

    /// The upstream of an id of this snapshot; `None` for another snapshot's.
    pub fn upstream(&self, id: UpstreamId) -> Option<&Arc<Upstream>> {
        self.upstreams.get(id.index())
    }
}

/// A request as far as routing looks at it.
#[derive(Clone, Copy, Debug)]
pub struct RouteRequest<'a> {
    /// [`Listener::identity`] of the listener that accepted the connection.
    pub listener: &'a str,
    /// The host as sent, in any case, without its port; an IPv6 literal keeps its brackets. `None` when the
    /// request brought none (HTTP/1.0): then only the `*` site and the site-less rules take part.
    pub host: Option<&'a [u8]>,
    /// The normalised path without the query, or `*` for `OPTIONS *`.
    pub path: &'a [u8],
    /// The method as sent; methods are case-sensitive (RFC 9110 9.1).
    pub method: &'a [u8],
    /// The request asks for a WebSocket: rules with `ws = false` take no part.
    pub websocket: bool,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The site, unless only the site-less rules were left.
    pub site: Option<SiteId>,
    /// The rule that won.
    pub rule: RuleId,
    /// What the star of a wildcard host took, as a range of [`RouteRequest::host`]'s bytes; in the case that was
    /// sent, so whoever passes it on lower-cases it.
    pub tenant: Option<Range<usize>>,
}

/// Why no rule took a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// No site has this host, listener and path prefix, and there are no site-less rules.
    NoSite,
    /// A site fits, or there are site-less rules, but no rule of theirs takes the path, method and upgrade.
    NoRule,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// The place in the snapshot's list.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

ids! {
    /// The place of a site in [`Snapshot::sites`]. Means nothing in another snapshot.
    SiteId
    /// The place of a rule in [`Snapshot::rules`]. Means nothing in another snapshot.
    RuleId
    /// The place of an upstream in [`Snapshot::upstreams`]. Means nothing in another snapshot.
    UpstreamId
}

/// The `[server]` table.
#[derive(Clone, Debug)]
pub struct Server {
    /// How many worker threads.
    pub workers: Workers,
    /// Pin each worker to a CPU.
    pub pin: bool,
    /// Which kernel interface drives the event loops.
    pub driver: DriverChoice,
    /// How long a drain may take before what is left is cut.
    pub drain_timeout: Duration,
    /// Client connections at one time over all workers; 0 is no limit.
    pub max_connections: u64,
    /// Peers whose forwarded fields are believed.
    pub trusted_proxies: TrustedProxies,
    /// The lower-case name of the request id field, when request ids are on.
    pub request_id: Option<String>,
    /// Add `Via` both ways.
    pub via: bool,
    /// Let TRACE through; otherwise it gets 405.
    pub allow_trace: bool,
}

/// How many workers to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One for each CPU of the process's affinity, at most its quota.
    Auto,
    /// That many.
    Count(NonZeroUsize),
}

/// Which kernel interface drives the event loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverChoice {
    /// io_uring where the kernel lets us, else epoll.
    Auto,
    /// io_uring, or do not start.
    IoUring,
    /// epoll.
    Epoll,
}

/// Peers whose forwarded fields are believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    pub(crate) networks: Vec<IpNet>,
    /// Peers on Unix sockets are trusted.
    pub unix: bool,
}

impl TrustedProxies {
    /// Whether a peer's address is in one of the networks. An IPv4 address is the same in its IPv6-mapped form, as
    /// a socket on `[::]` gives it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }
}

/// A socket to accept on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The name that sites use; the identity when the file gives none.
    pub name: String,
    /// Where to bind.
    pub address: ListenAddress,
    /// The address in its one canonical spelling: `127.0.0.1:8080`, `[::]:443`, `unix:/run/ringway.sock`. A
    /// listener of another snapshot with the same identity is the same listener.
    pub identity: String,
}

/// Where a listener binds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// An address and a port; port 0 lets the system choose. The unspecified IPv6 address takes IPv4 too.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// Bounds on what peers may send.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The bounds of the HTTP/1 reader, for both directions.
    pub wire: ringway_wire::Limits,
    /// The longest request body; 0 is no limit.
    pub max_request_body_bytes: u64,
}

/// How long each phase of an exchange may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A request head, from its first byte.
    pub client_head: Duration,
    /// A kept-alive client connection between requests.
    pub client_idle: Duration,
    /// A request body that stops coming.
    pub client_body: Duration,
    /// A client that stops reading.
    pub client_write: Duration,
    /// A connection to a backend.
    pub connect: Duration,
    /// A backend's response head, from the last request byte sent.
    pub response: Duration,
    /// A response body that stops coming.
    pub upstream_body: Duration,
    /// A pooled backend connection without work.
    pub upstream_idle: Duration,
    /// A tunnel without bytes either way.
    pub tunnel_idle: Duration,
}

/// Which fields tell a backend about the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardedSwitches {
    /// X-Forwarded-For, X-Real-IP, X-Forwarded-Proto and X-Forwarded-Host.
    pub x_forwarded: bool,
    /// `Forwarded` (RFC 7239).
    pub forwarded: bool,
}

/// The `[access_log]` table.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLog {
    /// Where the lines go.
    pub destination: AccessLogDestination,
    /// What a line looks like.
    pub format: AccessLogFormat,
    /// The share of exchanges that are logged, 0.0 to 1.0.
    pub sample: f64,
}

/// Where access log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogDestination {
    /// Nowhere.
    Off,
    /// The process's standard output.
    Stdout,
    /// The process's standard error.
    Stderr,
    /// Appended to this file, which SIGUSR1 reopens.
    File(PathBuf),
}

/// What an access log line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// One JSON object in a line.
    Json,
    /// The Common Log Format.
    Common,
}

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
}

/// What to dial for a backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BackendAddress {
    /// An IP address and a port.
    Socket(SocketAddr),
    /// A name to resolve, in A-labels, and a port.
    Name {
        /// The host name.
        host: String,
        /// The port.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// A virtual host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its name in the file.
    pub name: String,
    /// Its hosts in their canonical form: lower-case A-labels, `*.example.com`, `*`, or IP literals.
    pub hosts: Vec<String>,
    /// The prefix its paths have, without a trailing `/`; empty when it takes every path.
    pub path_prefix: String,
    /// Its own rules, in file order.
    pub rules: Vec<RuleId>,
}

/// One line of routing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, unique in its list.
    pub name: String,
    /// What it is for, as written.
    pub description: String,
    /// Takes part in matching.
    pub enabled: bool,
    /// The site whose rule it is; `None` for a site-less rule.
    pub site: Option<SiteId>,
    /// The path as written: `/api/*`, `*.json`, `/graphql`, `*`.
    pub path: String,
    /// The methods it takes; `None` for all.
    pub methods: Option<Vec<String>>,
    /// Takes WebSocket upgrades.
    pub ws: bool,
    /// Where its requests go.
    pub upstream: UpstreamId,
    /// What stands before the request's path on the way to the backend: empty, or `/base`, one trailing `/` of what
    /// was written left out.
    pub base_path: String,
}
