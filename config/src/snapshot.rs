//! What runs: the compiled, immutable configuration. Every value in it was checked, every default filled in and
//! every name resolved to an id. Nothing here says how it was written; nothing here can be half valid.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

mod upstream;

use crate::rewrite::{BadRewrite, Location, Rewrite};
use crate::router::Router;
use crate::scratch::Scratch;

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
    /// Its own rules, in file order; the one that stands for its own `upstream` is not among them.
    pub rules: Vec<RuleId>,
    /// What stands for its own `upstream`: a rule for every path, method and upgrade.
    pub own_upstream: Option<RuleId>,
    /// The project whose rules it uses.
    pub project: Option<ProjectId>,
    /// The project that it is of without using its rules.
    pub project_unused: Option<ProjectId>,
    /// It uses the site-less rules before its own upstream.
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
    /// It changes nothing: no field, timeout or switch.
    pub is_plain: bool,
    /// Its own timeouts, when it sets any: those of the file where it does not.
    pub timeouts: Option<Timeouts>,
    /// Its own switches, when it sets any: those of the file where it does not.
    pub forwarded: Option<ForwardedSwitches>,
}

/// Rules that sites share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its name in the file.
    pub name: String,
    /// Its rules, in file order.
    pub rules: Vec<RuleId>,
}

/// Whose list a rule is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A site.
    Site(SiteId),
    /// A project.
    Project(ProjectId),
    /// The site-less rules.
    Everywhere,
}

/// One line of routing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, unique in its list. A rule that stands for a site's own upstream is called
    /// [`OWN_UPSTREAM`](Self::OWN_UPSTREAM).
    pub name: String,
    /// What it is for, as written.
    pub description: String,
    /// Takes part in matching.
    pub enabled: bool,
    /// Whose list it is in.
    pub owner: Owner,
    /// The paths it takes.
    pub paths: Paths,
    /// The methods it takes; `None` for all.
    pub methods: Option<Vec<String>>,
    /// Takes WebSocket upgrades.
    pub ws: bool,
    /// What becomes of its requests.
    pub action: Action,
    /// Changes of fields, made after those of the site.
    pub edits: Edits,
    /// It changes nothing but the path: no field, timeout or bound; nor has its upstream timeouts of its own.
    pub is_plain: bool,
    /// Its own bound on the time until a response head.
    pub timeout: Option<Duration>,
    /// Its own bound on a request body; 0 is no limit.
    pub max_request_body_bytes: Option<u64>,
    /// Its own number of retries, in place of the upstream's.
    pub retries: Option<u8>,
}

/// What becomes of a request that a rule took.
#[derive(Debug)]
pub enum Fate<'s> {
    /// It goes to a backend, with this path behind the base path.
    Forwarded(&'s Forward, SentPath),
    /// It is answered with a redirect.
    Redirected {
        /// The status.
        status: u16,
        /// Where to.
        location: Vec<u8>,
    },
    /// It is answered with a fixed response.
    Responded(&'s Arc<Respond>),
}

/// Why a request that a rule took cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unserved<'s> {
    /// This environment variable was not set when the configuration was compiled, and the rule or its site needs it.
    Unset(&'s str),
    /// The rule's template makes no path, or no location, of it.
    BadRewrite(BadRewrite),
}

impl Rule {
    /// What the rule is called that stands for a site's own upstream.
    pub const OWN_UPSTREAM: &str = "(upstream)";

    /// What becomes of a request of `path` and `query` that this rule took in `site`. `scratch` is from this rule's snapshot.
    ///
    /// # Errors
    /// Why it cannot be served.
    #[inline]
    pub fn fate<'s>(
        &'s self,
        site: Option<&'s Site>,
        path: &[u8],
        query: Option<&[u8]>,
        scratch: &mut Scratch,
    ) -> Result<Fate<'s>, Unserved<'s>> {
        if let Some(variable) = site.and_then(|site| site.unset.as_deref()) {
            return Err(Unserved::Unset(variable));
        }
        match &self.action {
            Action::Unset(variable) => Err(Unserved::Unset(variable)),
            Action::Forward(forward) => {
                let sent = forward.path.sent(path, scratch).map_err(Unserved::BadRewrite)?;
                Ok(Fate::Forwarded(forward, sent))
            }
            Action::Redirect(redirect) => {
                // `OPTIONS *` asks about the server, whose root is all that it has of a path.
                let path = if path == b"*" { b"/" } else { path };
                let location = redirect.location(path, query, scratch).map_err(Unserved::BadRewrite)?;
                Ok(Fate::Redirected { status: redirect.status, location })
            }
            Action::Respond(respond) => Ok(Fate::Responded(respond)),
        }
    }

    /// Where its requests are forwarded to, when they are.
    pub fn forward(&self) -> Option<&Forward> {
        match &self.action {
            Action::Forward(forward) => Some(forward),
            _ => None,
        }
    }
}

/// The paths that a rule takes, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Paths {
    /// `path`: `/api/*`, `*.json`, `/graphql`, `*`.
    Path(String),
    /// `pattern`: a regular expression.
    Pattern(String),
}

impl Paths {
    /// As it was written.
    pub fn written(&self) -> &str {
        match self {
            Self::Path(text) | Self::Pattern(text) => text,
        }
    }
}

/// What becomes of a rule's requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// They go to a backend.
    Forward(Forward),
    /// They are answered with a redirect.
    Redirect(Redirect),
    /// They are answered with a fixed response.
    Respond(Arc<Respond>),
    /// They cannot go anywhere: this environment variable, which the rule needs, was not set when the configuration was
    /// compiled.
    Unset(String),
}

/// Where a request is forwarded to. The address comes from here alone, whatever the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The upstream.
    pub upstream: UpstreamId,
    /// What stands before the path on the way to the backend: empty, or `/base`, one trailing `/` of what was written left
    /// out.
    pub base_path: String,
    /// What becomes of the path.
    pub path: PathChange,
    /// Host, and Origin where there is one, are the backend's own authority.
    pub change_origin: bool,
}

/// What becomes of a request's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathChange {
    /// It is sent as it was matched.
    Keep,
    /// Its first bytes, a prefix of whole segments, are taken away.
    Strip {
        /// The bytes of the prefix.
        prefix_bytes: usize,
    },
    /// This is sent in its place: the target's own path as it was written.
    Replace(String),
    /// A template makes a new one.
    Rewrite(RewriteTo),
}

impl PathChange {
    /// The path that is sent for `path`, which the rule took. `scratch` is from this rule's snapshot.
    ///
    /// # Errors
    /// [`BadRewrite`] when it would be no request path.
    #[inline]
    pub fn sent(&self, path: &[u8], scratch: &mut Scratch) -> Result<SentPath, BadRewrite> {
        match self {
            Self::Keep => Ok(SentPath::AsMatched),
            changed => changed.made(path, scratch),
        }
    }

    fn made(&self, path: &[u8], scratch: &mut Scratch) -> Result<SentPath, BadRewrite> {
        match self {
            // `OPTIONS *` asks about the server, not about a path.
            _ if path == b"*" => Ok(SentPath::AsMatched),
            Self::Keep => Ok(SentPath::AsMatched),
            Self::Strip { prefix_bytes } => Ok(SentPath::From(*prefix_bytes)),
            Self::Replace(path) => Ok(SentPath::Made(path.as_bytes().to_vec())),
            Self::Rewrite(to) => {
                let mut made = Vec::new();
                to.rewrite.write(path, &mut scratch.groups, &mut made)?;
                Ok(SentPath::Made(made))
            }
        }
    }
}

/// The path that is sent, behind the base path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SentPath {
    /// The one that was matched.
    AsMatched,
    /// What stands behind its first bytes, or `/` when that is nothing.
    From(usize),
    /// Another one.
    Made(Vec<u8>),
}

impl SentPath {
    /// The path, where `matched` is the one that was matched.
    pub fn of<'a>(&'a self, matched: &'a [u8]) -> &'a [u8] {
        match self {
            Self::AsMatched => matched,
            Self::From(at) => matched.get(*at..).filter(|rest| !rest.is_empty()).unwrap_or(b"/"),
            Self::Made(path) => path,
        }
    }
}

/// A rewrite: what was written, ready to be expanded. Two are equal when they were written alike; the groups that they name
/// are those of their rule's pattern.
#[derive(Clone)]
pub struct RewriteTo {
    /// The template.
    pub written: String,
    pub(crate) rewrite: Arc<Rewrite>,
}

impl PartialEq for RewriteTo {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for RewriteTo {}

impl fmt::Debug for RewriteTo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.fmt(out)
    }
}

/// A redirect. Two are equal when they were written alike; the groups that they name are those of their rule's pattern.
#[derive(Clone)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Where to, as written.
    pub written: String,
    pub(crate) to: Arc<Location>,
}

impl Redirect {
    /// Where a request of `path` and `query` is sent. `scratch` is from this rule's snapshot.
    ///
    /// # Errors
    /// [`BadRewrite`] when it would be no URL, or one of another host.
    pub fn location(
        &self,
        path: &[u8],
        query: Option<&[u8]>,
        scratch: &mut Scratch,
    ) -> Result<Vec<u8>, BadRewrite> {
        let mut location = Vec::new();
        self.to.write(path, query, &mut scratch.groups, &mut location)?;
        Ok(location)
    }
}

impl PartialEq for Redirect {
    fn eq(&self, other: &Self) -> bool {
        (self.status, &self.written) == (other.status, &other.written)
    }
}

impl Eq for Redirect {}

impl fmt::Debug for Redirect {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {:?}", self.status, self.written)
    }
}

/// A fixed response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    /// Its body; none for 204 and 304.
    pub body: String,
}

/// Changes of a message's fields on its way, of a rule or a site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Of requests.
    pub request: FieldEdits,
    /// Of responses.
    pub response: FieldEdits,
}

impl Edits {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty()
    }
}

/// Changes of fields in one direction. No name is in both lists, and none twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldEdits {
    /// Set, in place of what came.
    pub set: Vec<FieldSetting>,
    /// Removed, in lower case.
    pub remove: Vec<String>,
}

impl FieldEdits {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }
}

/// A field that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldSetting {
    /// Its name as written: a token.
    pub name: String,
    /// Its value.
    pub value: FieldValue,
}

/// The value of a field that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// This text, without control characters.
    Text(String),
    /// The request's id.
    RequestId,
}
