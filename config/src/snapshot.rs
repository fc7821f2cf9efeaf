//! What runs: the compiled, immutable configuration. Every value in it was checked, every default filled in and
//! every name resolved to an id. Nothing here says how it was written; nothing here can be half valid.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

mod access;
mod rule;
mod upstream;

use crate::router::Router;
use crate::scratch::Scratch;

pub(crate) use access::TokenDigest;
pub use access::{Auth, AuthId, Basic, Bearer, Credentials, ForwardAuth, Provider, RateKey, RateLimit};
pub use rule::{
    Action, Edits, Fate, FieldEdits, FieldSetting, FieldValue, Files, Forward, Owner, PathChange, Paths,
    Redirect, Respond, RewriteTo, Rule, SentPath, Unserved,
};
pub use upstream::{
    ActiveProbes, Admission, Backend, BackendAddress, Health, OnNoBackend, Probe, StatusSet, Strategy,
    Upstream, UpstreamTimeouts,
};

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
    /// Where the running program can be asked.
    pub admin: Admin,
    /// How backends' host names are looked up.
    pub dns: Dns,
    /// Who knows whom to let in, in file order; indexed by [`AuthId`].
    pub providers: Vec<Arc<Provider>>,
    /// Named upstreams in file order, then one for each distinct `target`.
    pub upstreams: Vec<Arc<Upstream>>,
    /// The sites in file order; indexed by [`SiteId`].
    pub sites: Vec<Arc<Site>>,
    /// The projects in file order; indexed by [`ProjectId`].
    pub projects: Vec<Arc<Project>>,
    /// Every rule, disabled ones too: each site's in file order with the one that stands for its own upstream behind them,
    /// then each project's, then the site-less ones; indexed by [`RuleId`].
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
    #[inline]
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

    /// The project of an id of this snapshot; `None` for another snapshot's.
    pub fn project(&self, id: ProjectId) -> Option<&Arc<Project>> {
        self.projects.get(id.index())
    }

    /// Who has to let a request in that met `route`: `None` where everybody may come, because site and rule say nothing, or
    /// because the path is public for this method.
    pub fn guard(&self, route: &Route, method: &[u8], path: &[u8]) -> Option<&Arc<Provider>> {
        let rule = self.rule(route.rule)?;
        let of_site = route.site.and_then(|site| self.site(site)?.auth);
        let provider = self.provider(rule.auth.provider(of_site)?)?;
        (!rule.public_routes.is_public(method, path)).then_some(provider)
    }

    /// The provider of an id of this snapshot; `None` for another snapshot's.
    pub fn provider(&self, id: AuthId) -> Option<&Arc<Provider>> {
        self.providers.get(id.index())
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
    NoRule {
        /// The site, if one fits.
        site: Option<SiteId>,
    },
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
    /// The place of a project in [`Snapshot::projects`]. Means nothing in another snapshot.
    ProjectId
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
    /// Connections of one client at one time; 0 is no limit.
    pub max_connections_per_client: u32,
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
    /// Memory for the counts of all rate limits.
    pub rate_limit_bytes: u64,
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

/// The `[admin]` table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// The folder that the admin socket stands in. `None`: there is no socket.
    pub data_dir: Option<PathBuf>,
}

impl Admin {
    /// What the socket is called in its folder.
    pub const SOCKET_NAME: &str = "admin.sock";

    /// The path of the socket, when there is one. It is no longer than the kernel takes.
    pub fn socket(&self) -> Option<PathBuf> {
        self.data_dir.as_ref().map(|folder| folder.join(Self::SOCKET_NAME))
    }
}

/// The `[dns]` table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Who looks names up.
    pub resolver: Resolver,
    /// The name servers to ask, in order, with [`Resolver::Dns`] alone. None: those of the system.
    pub servers: Vec<SocketAddr>,
}

/// Who looks backends' host names up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resolver {
    /// The system's resolver (getaddrinfo), with all that it is configured to ask. It tells no TTL.
    #[default]
    System,
    /// Ringway itself asks name servers, and sees the TTL of what they answer.
    Dns,
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
    /// Its own rules, in file order; the one that stands for its own `upstream` or `static_dir` is not among them.
    pub rules: Vec<RuleId>,
    /// What stands for its own `upstream` or `static_dir`: a rule for every path, method and upgrade.
    pub fallback: Option<RuleId>,
    /// The project whose rules it uses.
    pub project: Option<ProjectId>,
    /// The project that it is of without using its rules.
    pub project_unused: Option<ProjectId>,
    /// It uses the site-less rules before its fallback.
    pub inherit_global: bool,
    /// Sends `x-base: /`.
    pub base_header: bool,
    /// Changes of fields, made before those of the rule that wins.
    pub edits: Edits,
    /// An environment variable that its fields need and that was not set when the configuration was compiled: nothing can
    /// be served.
    pub unset: Option<String>,
    /// How many of its exchanges run and wait at one time.
    pub admission: Admission,
    /// It changes nothing: no field, timeout or switch; and it lets everybody in, however often.
    pub is_plain: bool,
    /// Its own timeouts, when it sets any: those of the file where it does not.
    pub timeouts: Option<Timeouts>,
    /// Its own switches, when it sets any: those of the file where it does not.
    pub forwarded: Option<ForwardedSwitches>,
    /// Whom its rules let in that say nothing themselves; `None`: everybody.
    pub auth: Option<AuthId>,
    /// How often clients may come.
    pub rate_limit: Option<RateLimit>,
}

/// Rules that sites share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its name in the file.
    pub name: String,
    /// Its rules, in file order.
    pub rules: Vec<RuleId>,
}
