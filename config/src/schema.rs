//! The configuration file as people write it; `upstream` has the pools of backends. Each field's doc comment, default and
//! range stand here and nowhere else: the checks of `shape`, the reference page and the JSON schema are all made from this.
//!
//! Every field has a default, so that a file with problems can still be read as far as it goes and all of them be
//! reported; what must be there is listed as `required` in the schema. Ranges of durations and sizes are the schema
//! extensions `x-minimum` and `x-maximum`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::snapshot;
use crate::value::{AutoOr, AutoOrBool, Size, Span, TextOrFalse};

mod access;
mod upstream;

pub(crate) use access::{AuthProvider, AuthType, Egress, EgressPolicy, RateLimit};
pub(crate) use upstream::{
    Backend, Health, InlineUpstream, OnNoBackend, Probe, Strategy, Upstream, UpstreamOf, UpstreamTimeouts,
};

/// Keys that the specification has and this version has not, by the table they belong to (its path without
/// indexes). They are refused like any unknown key, but with their own message.
pub(crate) const LATER: &[(&str, &[&str])] = &[
    ("", &["certificates"]),
    ("/listeners", &["tls", "http2", "proxy_protocol"]),
    ("/admin", &["address"]),
    ("/upstreams", &["tls"]),
    ("/sites", &["https_redirect"]),
    ("/sites/upstream", &["tls"]),
    ("/sites/rules", RULE_LATER),
    ("/projects/rules", RULE_LATER),
    ("/rules", RULE_LATER),
];

const RULE_LATER: &[&str] = &["secure"];

/// Ringway's configuration file, `ringway.toml`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["listeners"]), title = "ringway.toml")]
pub(crate) struct Config {
    /// The process: its workers, its driver, and whom it trusts.
    pub(crate) server: Server,
    /// Which fields tell a backend about the client. From a peer in `server.trusted_proxies` they are appended to
    /// or kept; from anyone else what came is dropped.
    pub(crate) forwarded: Forwarded,
    /// The sockets to accept connections on; at least one.
    pub(crate) listeners: Vec<Listener>,
    /// Bounds on what peers may send.
    pub(crate) limits: Limits,
    /// How long each phase of an exchange may take. Sites, upstreams and rules may set their own.
    pub(crate) timeouts: Timeouts,
    /// One line for each exchange, written beside the request path and never blocking it.
    pub(crate) access_log: AccessLog,
    /// Where the running program can be asked what it does.
    pub(crate) admin: Admin,
    /// How host names of backends are looked up.
    pub(crate) dns: Dns,
    /// Where targets may point.
    pub(crate) egress: Egress,
    /// Ways to know whom to let in.
    pub(crate) auth: Vec<AuthProvider>,
    /// Named pools of backends. A rule names one with `upstream`; a rule's `target` is a pool of its own, with the defaults
    /// of these keys.
    pub(crate) upstreams: Vec<Upstream>,
    /// Virtual hosts. The host of a request chooses its site: an exact name first, then the longest wildcard, then
    /// `*`; among sites of one host the longest `path_prefix` that fits.
    pub(crate) sites: Vec<Site>,
    /// Rules that several sites share. A site names its project with `project`.
    pub(crate) projects: Vec<Project>,
    /// Rules for every site, tried after the site's own and its project's and where there is no site. The first enabled
    /// rule that matches path, method and upgrade wins; where none does, the client gets 404.
    pub(crate) rules: Vec<Rule>,
    /// What must become of certain requests. A configuration that breaks an expectation is refused, and told which rule
    /// wins instead.
    pub(crate) expect: Vec<Expect>,
}

/// The process.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Server {
    /// Worker threads, each with its own event loop. `"auto"`: one for each CPU that the process may use, at most its
    /// CPU quota rounded up.
    #[schemars(extend("minimum" = 1, "maximum" = 1024))]
    pub(crate) workers: AutoOr,
    /// Pin each worker to a CPU. With a CPU quota workers are never pinned.
    pub(crate) pin: bool,
    /// The kernel interface under the event loops. `"auto"`: io_uring where the kernel allows it, else epoll.
    pub(crate) driver: Driver,
    /// How long SIGTERM and SIGINT wait for running exchanges before what is left is cut.
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "1d"))]
    pub(crate) drain_timeout: Span,
    /// Client connections at one time, over all workers and listeners. Past it new ones wait in the kernel's accept
    /// queue. 0: no limit but the process's number of open files.
    #[schemars(range(max = 16_777_216))]
    pub(crate) max_connections: u64,
    /// Peers whose `X-Forwarded-*` and Forwarded fields are believed: addresses (`"192.0.2.7"`), networks
    /// (`"10.0.0.0/8"`, `"2001:db8::/32"`), and `"unix"` for every peer on a Unix socket.
    pub(crate) trusted_proxies: Vec<String>,
    /// The field that carries a request id, such as `"x-request-id"`. An id is made for a request that has none; one
    /// that came is kept only from trusted proxies. false: no request ids.
    pub(crate) request_id: TextOrFalse,
    /// Add `Via: 1.1 ringway` both ways. RFC 9110 7.6.3 asks proxies for it; it is off because several servers stop
    /// compressing when they see it.
    pub(crate) via: bool,
    /// Let TRACE through. It is refused with 405 otherwise, since a backend's answer repeats cookies and
    /// credentials.
    pub(crate) allow_trace: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            workers: AutoOr::Auto,
            pin: true,
            driver: Driver::Auto,
            drain_timeout: seconds(30),
            max_connections: 65_536,
            trusted_proxies: Vec::new(),
            request_id: TextOrFalse::False,
            via: false,
            allow_trace: false,
        }
    }
}

/// The kernel interface under the event loops.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Driver {
    Auto,
    IoUring,
    Epoll,
}

/// Fields about the client.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Forwarded {
    /// Set X-Forwarded-For, X-Real-IP, X-Forwarded-Proto and X-Forwarded-Host.
    pub(crate) x_forwarded: bool,
    /// Set `Forwarded` (RFC 7239).
    pub(crate) forwarded: bool,
}

impl Default for Forwarded {
    fn default() -> Self {
        Self { x_forwarded: true, forwarded: false }
    }
}

/// A socket to accept on.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["address"]))]
pub(crate) struct Listener {
    /// The name that sites use; without it, the address is the name.
    pub(crate) name: Option<String>,
    /// Where to listen: `"127.0.0.1:8080"`; `":8080"` and `"[::]:8080"` for every address, IPv4 and IPv6;
    /// `"unix:/path"`. Port 0 lets the system choose.
    pub(crate) address: String,
    /// Connections of one client at one time, over all workers; what is over it is closed at once. The client is the peer's
    /// address (of an IPv6 address, its /64); peers in `server.trusted_proxies` and those of a Unix socket are not counted. 0:
    /// no limit.
    #[schemars(range(max = 16_777_216))]
    pub(crate) max_connections_per_client: u32,
}

/// Bounds on what peers may send.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// A request line; past it the client gets 414. At most `request_head`.
    #[schemars(extend("x-minimum" = "64B", "x-maximum" = "64KiB"))]
    pub(crate) request_line: Size,
    /// A whole request head; past it the client gets 431. A response head from a backend has the same bound; past
    /// it the client gets 502.
    #[schemars(extend("x-minimum" = "256B", "x-maximum" = "256KiB"))]
    pub(crate) request_head: Size,
    /// Fields in a head; past it the client gets 431, or 502 for a response.
    #[schemars(range(min = 1, max = 256))]
    pub(crate) fields: u16,
    /// A chunk's size line in a chunked body, extensions included.
    #[schemars(extend("x-minimum" = "16B", "x-maximum" = "4KiB"))]
    pub(crate) chunk_line: Size,
    /// The trailer section of a chunked body.
    #[schemars(extend("x-minimum" = "64B", "x-maximum" = "64KiB"))]
    pub(crate) trailers: Size,
    /// Fields in a trailer section.
    #[schemars(range(min = 0, max = 256))]
    pub(crate) trailer_fields: u16,
    /// A request body; past it the client gets 413. `"0"`: no limit.
    #[schemars(extend("x-minimum" = "0", "x-maximum" = "1024TiB"))]
    pub(crate) max_request_body: Size,
    /// The longest `timeout` that a rule may set.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1d"))]
    pub(crate) max_timeout: Span,
    /// Memory for the matching tables of one rule list, and again while one is built. Rules that do not fit are matched by
    /// tables that are made as paths come, which costs more per request; a warning names them.
    #[schemars(extend("x-minimum" = "64KiB", "x-maximum" = "4GiB"))]
    pub(crate) rule_table: Size,
    /// Memory for the counts of all rate limits together, 16 bytes for each client that was seen lately. When it is full, those
    /// are forgotten first that would be idle the soonest.
    #[schemars(extend("x-minimum" = "64KiB", "x-maximum" = "4GiB"))]
    pub(crate) rate_limit_memory: Size,
}

impl Default for Limits {
    fn default() -> Self {
        let wire = ringway_wire::Limits::default();
        Self {
            request_line: Size(wire.request_line_bytes.into()),
            request_head: Size(wire.head_bytes.into()),
            fields: wire.fields,
            chunk_line: Size(wire.chunk_line_bytes.into()),
            trailers: Size(wire.trailer_bytes.into()),
            trailer_fields: wire.trailer_fields,
            max_request_body: Size(0),
            max_timeout: seconds(60),
            rule_table: Size(64 << 20),
            rate_limit_memory: Size(32 << 20),
        }
    }
}

/// How long each phase may take.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Timeouts {
    /// A request head, from its first byte to its last; past it the client gets 408.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1h"))]
    pub(crate) head: Span,
    /// A client connection between requests, or before its first; then it is closed without a word.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1d"))]
    pub(crate) idle: Span,
    /// A request body of which nothing comes; past it the client gets 408.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1d"))]
    pub(crate) body: Span,
    /// A client that takes none of what is written to it; then the connection is closed.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1d"))]
    pub(crate) write: Span,
    /// A connection to a backend; past it the client gets 504.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1h"))]
    pub(crate) connect: Span,
    /// A backend's response head, counted from the last byte of the request that was sent; past it the client gets
    /// 504.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1d"))]
    pub(crate) response: Span,
    /// A response body of which nothing comes; then the exchange is cut. For `text/event-stream` it is
    /// `tunnel_idle`.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1d"))]
    pub(crate) upstream_body: Span,
    /// A pooled backend connection without work; then it is closed. Keep it below the backend's own keep-alive time.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1d"))]
    pub(crate) upstream_idle: Span,
    /// A tunnel (WebSocket) in which nothing moves either way; then both sides are closed.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "30d"))]
    pub(crate) tunnel_idle: Span,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: seconds(10),
            idle: seconds(75),
            body: seconds(30),
            write: seconds(30),
            connect: seconds(5),
            response: seconds(30),
            upstream_body: seconds(60),
            upstream_idle: seconds(60),
            tunnel_idle: seconds(3_600),
        }
    }
}

const fn seconds(count: u64) -> Span {
    Span(std::time::Duration::from_secs(count))
}

/// The access log.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AccessLog {
    /// `"off"`, `"stdout"`, `"stderr"`, or a file to append to, which SIGUSR1 reopens. A file with one of these names is
    /// written as `"./off"`. `${NAME}` is an environment variable.
    pub(crate) path: String,
    /// `"json"`: one object in a line, with the fields below. `"common"`: the Common Log Format of old.
    pub(crate) format: LogFormat,
    /// The share of exchanges that are logged, chosen at random.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(crate) sample: f64,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self { path: "off".to_owned(), format: LogFormat::Json, sample: 1.0 }
    }
}

/// What an access log line looks like.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum LogFormat {
    Json,
    Common,
}

/// The control plane.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Admin {
    /// The folder for the admin socket, `admin.sock`, which only the process's own user may open. One that everybody may write
    /// to is refused; one that is not there is made. `${NAME}` is an environment variable. Without this key there is no socket.
    pub(crate) data_dir: Option<String>,
}

/// Looking names up.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Dns {
    /// `"system"`: the system's resolver, with whatever it is set up to ask. It tells no TTL. `"dns"`: Ringway asks name
    /// servers itself, but for names that the hosts file has, and again when the TTL of an answer ends, which counts as 1
    /// second at least and 1 hour at most. With both, a name whose lookup failed is asked again after 1, 2, 4, … 30 seconds
    /// and keeps its last addresses meanwhile, and at most 64 addresses of a name take part.
    pub(crate) resolver: Resolver,
    /// The name servers that `"dns"` asks: `"10.0.0.2"` (port 53), `"10.0.0.2:5353"`, `"[2001:db8::2]:53"`. They are asked in
    /// order, beginning with the one that answered last, and each is waited for 2 seconds at most; every name counts as
    /// absolute. Without this key those of /etc/resolv.conf are asked, with its `search`, `ndots` and `timeout`; a closing
    /// dot (`"http://app.example.:80"`) makes a name absolute.
    pub(crate) servers: Vec<String>,
}

impl Default for Dns {
    fn default() -> Self {
        Self { resolver: Resolver::System, servers: Vec::new() }
    }
}

/// Who looks names up.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Resolver {
    System,
    Dns,
}

/// A virtual host.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name", "hosts"]))]
pub(crate) struct Site {
    /// Its name, unique among sites.
    pub(crate) name: String,
    /// Its hosts, without ports: names (`"example.com"`), wildcards that take one or more labels (`"*.example.com"`,
    /// which is not example.com itself), IP addresses, and `"*"` for every host and none. What a wildcard took goes to
    /// the backend as `x-vhost-tenant`.
    pub(crate) hosts: Vec<String>,
    /// The names of the listeners it is on; without this key, all.
    pub(crate) listeners: Option<Vec<String>>,
    /// The paths it takes, by whole segments: `"/admin"` takes /admin and /admin/x, not /administrator. Without this
    /// key, every path.
    pub(crate) path_prefix: Option<String>,
    /// Its own rules, tried before all others. The keys are those of `[[rules]]`.
    pub(crate) rules: Vec<Rule>,
    /// The project whose rules are tried after the site's own.
    pub(crate) project: Option<String>,
    /// Try the project's rules. With false the site has those of no project.
    pub(crate) inherit_rules: bool,
    /// Where requests go that none of the site's and its project's rules takes: the name of an upstream, or an
    /// upstream without a name, such as `{ backends = [{ url = "http://127.0.0.1:3000" }] }`. A site that has one uses
    /// no rules of `[[rules]]`, unless `inherit_global` says so.
    pub(crate) upstream: Option<UpstreamOf>,
    /// The folder that holds files for requests that none of the site's and its project's rules takes, in place of
    /// `upstream`. `${NAME}` is an environment variable.
    pub(crate) static_dir: Option<String>,
    /// Whom every rule lets in that wins in this site: the name of a provider of `[[auth]]`. false: everybody. A rule's own
    /// `auth` is preferred.
    pub(crate) auth: Option<TextOrFalse>,
    /// How often clients may come to this site.
    pub(crate) rate_limit: Option<RateLimit>,
    /// Try the rules of `[[rules]]` before the site's own `upstream` or `static_dir`. A site without one uses them in any
    /// case.
    pub(crate) inherit_global: bool,
    /// Exchanges of this site that run at one time, over all workers and exactly; what comes then waits its turn, before it
    /// may wait for its upstream's. 0: no limit.
    #[schemars(range(max = 16_777_216))]
    pub(crate) max_active: u32,
    /// Requests that wait for `max_active` at one time; past it the client gets 503. 0: none waits.
    #[schemars(range(max = 1_000_000))]
    pub(crate) max_queued: u32,
    /// How long a request waits for `max_active`; past it the client gets 503.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1h"))]
    pub(crate) queue_timeout: Span,
    /// A tunnel (WebSocket) counts as running to its end. With false it does until its 101.
    pub(crate) count_tunnels: bool,
    /// Send `x-base: /` to backends, and drop one that a client sends.
    pub(crate) base_header: bool,
    /// Fields to set in requests, before those of the rule: the same as `request_headers.set`.
    pub(crate) headers: BTreeMap<String, String>,
    /// Changes of request fields on the way to a backend, made before those of the rule that wins.
    pub(crate) request_headers: FieldEdits,
    /// Changes of response fields on the way to the client, made before those of the rule that wins.
    pub(crate) response_headers: FieldEdits,
    /// Its own timeouts; those that it does not set are the file's.
    pub(crate) timeouts: SiteTimeouts,
    /// Its own choice of forwarded fields; what it does not set is the file's.
    pub(crate) forwarded: SiteForwarded,
}

impl Default for Site {
    fn default() -> Self {
        let admission = snapshot::Admission::default();
        Self {
            name: String::new(),
            hosts: Vec::new(),
            listeners: None,
            path_prefix: None,
            rules: Vec::new(),
            project: None,
            inherit_rules: true,
            upstream: None,
            static_dir: None,
            auth: None,
            rate_limit: None,
            inherit_global: false,
            max_active: admission.max_active,
            max_queued: admission.max_queued,
            queue_timeout: Span(admission.queue_timeout),
            count_tunnels: admission.count_tunnels,
            base_header: false,
            headers: BTreeMap::new(),
            request_headers: FieldEdits::default(),
            response_headers: FieldEdits::default(),
            timeouts: SiteTimeouts::default(),
            forwarded: SiteForwarded::default(),
        }
    }
}

/// Changes of a message's fields.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FieldEdits {
    /// Fields to set, in place of what came: `{ "X-Frame-Options" = "DENY" }`. `${NAME}` is an environment variable. The
    /// value "auto" for the request id field (`server.request_id`, or else x-request-id) is the request's id.
    pub(crate) set: BTreeMap<String, String>,
    /// Fields to remove.
    pub(crate) remove: Vec<String>,
}

impl FieldEdits {
    /// Whether nothing is written.
    pub(crate) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }
}

/// A site's own timeouts.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SiteTimeouts {
    /// As in `[timeouts]`.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1d"))]
    pub(crate) body: Option<Span>,
    /// As in `[timeouts]`.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1d"))]
    pub(crate) write: Option<Span>,
    /// As in `[timeouts]`.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1h"))]
    pub(crate) connect: Option<Span>,
    /// As in `[timeouts]`; the upstream's own is preferred, and a rule's `timeout` to both.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1d"))]
    pub(crate) response: Option<Span>,
    /// As in `[timeouts]`.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1d"))]
    pub(crate) upstream_body: Option<Span>,
    /// As in `[timeouts]`.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "30d"))]
    pub(crate) tunnel_idle: Option<Span>,
}

/// A site's own choice of fields about the client.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SiteForwarded {
    /// As in `[forwarded]`.
    pub(crate) x_forwarded: Option<bool>,
    /// As in `[forwarded]`.
    pub(crate) forwarded: Option<bool>,
}

/// Rules that several sites share.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name"]))]
pub(crate) struct Project {
    /// The name that sites use; unique among projects.
    pub(crate) name: String,
    /// Its rules, tried after a site's own and before those of every site. The keys are those of `[[rules]]`.
    pub(crate) rules: Vec<Rule>,
}

/// What must become of a request that may come in. Every key but `url` and `method` is an expectation; without any, some rule
/// must take it.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["url"]))]
pub(crate) struct Expect {
    /// The request: `"http://example.com/api/users?id=1"`. With a port it comes to the first listener with that port, else
    /// to the first listener. `ws://` asks for a WebSocket.
    pub(crate) url: String,
    /// Its method.
    pub(crate) method: String,
    /// The name of the rule that wins, `(upstream)` for a site's own upstream, `(static_dir)` for its own folder. Rules of different lists may have one name:
    /// `site` and `upstream` tell them apart.
    pub(crate) rule: Option<String>,
    /// The site that the request meets.
    pub(crate) site: Option<String>,
    /// The upstream that it goes to: a name, or the origin of a `target` such as `"http://127.0.0.1:3000"`.
    pub(crate) upstream: Option<String>,
    /// The path and query that the backend gets, a target's base path included.
    pub(crate) path: Option<String>,
    /// The status of a request that is answered here: that of `respond` or `redirect`, 404 when no rule takes it, 400 when
    /// its rewrite makes no valid path, 502 when an environment variable is not set.
    #[schemars(range(min = 100, max = 599))]
    pub(crate) status: Option<u16>,
    /// Who has to let it in: the name of a provider of `[[auth]]`. false: it needs no credentials.
    pub(crate) auth: Option<TextOrFalse>,
}

impl Default for Expect {
    fn default() -> Self {
        Self {
            url: String::new(),
            method: "GET".to_owned(),
            rule: None,
            site: None,
            upstream: None,
            path: None,
            status: None,
            auth: None,
        }
    }
}

/// One line of routing.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name"]))]
pub(crate) struct Rule {
    /// Its name, unique in its list.
    pub(crate) name: String,
    /// What it is for.
    pub(crate) description: String,
    /// Takes part in matching.
    pub(crate) enabled: bool,
    /// The paths it takes: `"/graphql"` exactly that; `"/api/*"` a prefix by whole segments (/api, /api/, /api/x, not
    /// /apix); `"*.json"` a suffix; `"*"` or `"/*"` all. Matched as sent, dot segments removed, nothing decoded. Exactly
    /// one of `path` and `pattern`.
    pub(crate) path: Option<String>,
    /// The paths it takes, as a regular expression in JavaScript's dialect: `'^/v(\d+)/(.*)$'`. It is searched for in the
    /// path, so write `^` and `$` for the whole of it. Matching takes linear time: there is no look-around and no
    /// back-reference. Exactly one of `path` and `pattern`.
    pub(crate) pattern: Option<String>,
    /// The methods it takes, such as `["GET", "HEAD"]`; without this key, all. GET does not cover HEAD.
    pub(crate) methods: Option<Vec<String>>,
    /// Takes WebSocket upgrades. With false it takes no part in matching one.
    pub(crate) ws: bool,
    /// Where its requests go: `"http://host:port/base"` (ws is read as http). The request's path is put after the
    /// base path. `${NAME}` and `${NAME:-default}` are environment variables. Exactly one of `target`, `upstream`,
    /// `static_dir`, `redirect` and `respond`.
    pub(crate) target: Option<String>,
    /// The name of the upstream its requests go to.
    pub(crate) upstream: Option<String>,
    /// The folder that holds the files for its requests: with `"/srv/www"`, /css/a.css is /srv/www/css/a.css. GET and HEAD
    /// alone; no hidden files; nothing outside of the folder. `${NAME}` is an environment variable.
    pub(crate) static_dir: Option<String>,
    /// Answers with a redirect.
    pub(crate) redirect: Option<Redirect>,
    /// Answers with a fixed response.
    pub(crate) respond: Option<Respond>,
    /// The path that is sent in place of the request's: `"/v2/$1"`. `$1` to `$99` and `${name}` are what the pattern's groups
    /// took, `$$` is a dollar. The query is kept.
    pub(crate) rewrite: Option<String>,
    /// Takes the prefix of `path` away before the path is sent: with `"/api/*"`, /api/users becomes /users. With an exact
    /// path, the target's own path is sent.
    pub(crate) strip_prefix: bool,
    /// Send the backend's own authority as Host, and as Origin where the request has one. With false Host stays as it
    /// came.
    pub(crate) change_origin: bool,
    /// How long the backend may take until its response head, all tries together, in place of `response` in the timeouts of
    /// upstream, site and file; at most `limits.max_timeout`.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1d"))]
    pub(crate) timeout: Option<Span>,
    /// How many more backends a request may go to when one fails, in place of the upstream's `retries`.
    #[schemars(range(max = 10))]
    pub(crate) retries: Option<u8>,
    /// The longest request body, in place of `limits.max_request_body`. `"0"`: no limit.
    #[schemars(extend("x-minimum" = "0", "x-maximum" = "1024TiB"))]
    pub(crate) max_request_body: Option<Size>,
    /// Fields to set in requests: the same as `request_headers.set`.
    pub(crate) headers: BTreeMap<String, String>,
    /// Changes of request fields on the way to the backend.
    pub(crate) request_headers: FieldEdits,
    /// Changes of response fields on the way to the client, those of `redirect` and `respond` too.
    pub(crate) response_headers: FieldEdits,
    /// Whom it lets in, in place of its site's `auth`: the name of a provider of `[[auth]]`. false: everybody.
    pub(crate) auth: Option<TextOrFalse>,
    /// Paths that need no credentials, by method, `ALL` for every method: `{ ALL = ["/api/health"], GET = ["/api/config/**"] }`.
    /// Over the whole path, as a rule matches it: `*` is any characters of one segment, `**` any, `?` one character other than
    /// `/`. GET does not cover HEAD. A path that backends could read in two ways (with `%2f`, `%5c`, `%2e`, `\` or `;`, among
    /// others) is never public.
    pub(crate) public_routes: BTreeMap<String, Vec<String>>,
    /// Whether a client's credentials go to the backend. `"auto"`: all but an Authorization that Ringway itself looks at.
    /// true: all. false: no Cookie and no Authorization, unless `headers` sets them.
    pub(crate) forward_credentials: AutoOrBool,
    /// How often clients may come to this rule, beside its site's `rate_limit`.
    pub(crate) rate_limit: Option<RateLimit>,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            name: String::new(),
            description: String::new(),
            enabled: true,
            path: None,
            pattern: None,
            methods: None,
            ws: true,
            target: None,
            upstream: None,
            static_dir: None,
            redirect: None,
            respond: None,
            rewrite: None,
            strip_prefix: false,
            change_origin: false,
            timeout: None,
            retries: None,
            max_request_body: None,
            headers: BTreeMap::new(),
            request_headers: FieldEdits::default(),
            response_headers: FieldEdits::default(),
            auth: None,
            public_routes: BTreeMap::new(),
            forward_credentials: AutoOrBool::Auto,
            rate_limit: None,
        }
    }
}

/// A redirect.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["to"]))]
pub(crate) struct Redirect {
    /// Where to: an http or https URL, or a path. `$1` and `${name}` are what the pattern's groups took, `${path}` is the
    /// request's path, `$$` is a dollar; they stand behind scheme, host and port only. The request's query is kept
    /// unless this has one.
    pub(crate) to: String,
    /// 301, 302, 303, 307 or 308. 307 and 308 keep the method; 301 and 308 are permanent.
    #[schemars(range(min = 301, max = 308))]
    pub(crate) status: u16,
}

impl Default for Redirect {
    fn default() -> Self {
        Self { to: String::new(), status: 308 }
    }
}

/// A fixed response.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["status"]))]
pub(crate) struct Respond {
    /// Its status.
    #[schemars(range(min = 200, max = 599))]
    pub(crate) status: u16,
    /// Its body of at most 64 KiB, sent as `text/plain; charset=utf-8` unless `response_headers` sets a Content-Type.
    pub(crate) body: String,
}

impl Default for Respond {
    fn default() -> Self {
        Self { status: 200, body: String::new() }
    }
}
