//! The configuration file as people write it. Each field's doc comment, default and range stand here and nowhere
//! else: the checks of `shape`, the reference page and the JSON schema are all made from this file.
//!
//! Every field has a default, so that a file with problems can still be read as far as it goes and all of them be
//! reported; what must be there is listed as `required` in the schema. Ranges of durations and sizes are the schema
//! extensions `x-minimum` and `x-maximum`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::{AutoOr, Size, Span, TextOrFalse};

/// Keys that the specification has and this version has not, by the table they belong to (its path without
/// indexes). They are refused like any unknown key, but with their own message.
pub(crate) const LATER: &[(&str, &[&str])] = &[
    ("", &["egress", "admin", "projects", "auth", "certificates"]),
    ("/limits", &["max_timeout"]),
    ("/listeners", &["tls", "http2", "proxy_protocol"]),
    ("/upstreams", UPSTREAM_LATER),
    ("/upstreams/backends", &["weight", "backup"]),
    ("/sites", SITE_LATER),
    ("/sites/rules", RULE_LATER),
    ("/rules", RULE_LATER),
];

const UPSTREAM_LATER: &[&str] = &[
    "strategy",
    "retries",
    "health",
    "limits",
    "tls",
    "timeouts",
    "slow_start",
    "max_failures",
    "max_ejected",
    "unhealthy_status",
    "recovery_interval",
    "probe",
    "probe_path",
    "probe_interval",
    "active",
    "rise",
    "fall",
    "on_no_backend",
    "max_active",
    "max_queued",
    "queue_timeout",
    "count_tunnels",
    "dns_refresh",
];

const SITE_LATER: &[&str] = &[
    "project",
    "inherit_rules",
    "inherit_global",
    "base_header",
    "auth",
    "https_redirect",
    "static_dir",
    "upstream",
    "strategy",
    "backends",
    "max_active",
    "max_queued",
    "queue_timeout",
    "headers",
    "request_headers",
    "response_headers",
    "timeouts",
    "forwarded",
    "count_tunnels",
];

const RULE_LATER: &[&str] = &[
    "pattern",
    "rewrite",
    "strip_prefix",
    "static_dir",
    "redirect",
    "respond",
    "change_origin",
    "secure",
    "timeout",
    "headers",
    "request_headers",
    "response_headers",
    "forward_credentials",
    "auth",
    "public_routes",
    "retries",
    "max_request_body",
];

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
    /// How long each phase of an exchange may take.
    pub(crate) timeouts: Timeouts,
    /// One line for each exchange, written beside the request path and never blocking it.
    pub(crate) access_log: AccessLog,
    /// Named pools of backends, taken in turn. A rule names one with `upstream`.
    pub(crate) upstreams: Vec<Upstream>,
    /// Virtual hosts. The host of a request chooses its site: an exact name first, then the longest wildcard, then
    /// `*`; among sites of one host the longest `path_prefix` that fits.
    pub(crate) sites: Vec<Site>,
    /// Rules for every site, tried after the site's own and where there is no site. The first enabled rule that
    /// matches path, method and upgrade wins; where none does, the client gets 404.
    pub(crate) rules: Vec<Rule>,
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
    /// Memory for the matching table of one rule list, and again while it is built. A list that needs more is
    /// refused.
    #[schemars(extend("x-minimum" = "64KiB", "x-maximum" = "4GiB"))]
    pub(crate) rule_table: Size,
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
            rule_table: Size(64 << 20),
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
    /// written as `"./off"`.
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

/// A pool of backends.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name", "backends"]))]
pub(crate) struct Upstream {
    /// The name that rules use; unique among upstreams, without `/`.
    pub(crate) name: String,
    /// Its servers, at least one; requests go to them in turn.
    pub(crate) backends: Vec<Backend>,
    /// Idle connections kept open to each backend, divided among the workers. 0: none is kept.
    #[schemars(range(max = 65_536))]
    pub(crate) keepalive: u32,
}

impl Default for Upstream {
    fn default() -> Self {
        Self { name: String::new(), backends: Vec::new(), keepalive: 64 }
    }
}

/// One server of a pool.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["url"]))]
pub(crate) struct Backend {
    /// Where it listens: `"http://host:port"` (port 80 when none is given), or `"unix:/path"`. Host names are looked up
    /// beside the request path; one that does not resolve is a backend that is down.
    pub(crate) url: String,
}

/// A virtual host.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
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
    /// Its own rules, tried before those of every site. The keys are those of `[[rules]]`.
    pub(crate) rules: Vec<Rule>,
}

/// One line of routing.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name", "path"]))]
pub(crate) struct Rule {
    /// Its name, unique in its list.
    pub(crate) name: String,
    /// What it is for.
    pub(crate) description: String,
    /// Takes part in matching.
    pub(crate) enabled: bool,
    /// The paths it takes: `"/graphql"` exactly that; `"/api/*"` a prefix by whole segments (/api, /api/, /api/x, not
    /// /apix); `"*.json"` a suffix; `"*"` or `"/*"` all. Matched as sent, dot segments removed, nothing decoded.
    pub(crate) path: String,
    /// The methods it takes, such as `["GET", "HEAD"]`; without this key, all. GET does not cover HEAD.
    pub(crate) methods: Option<Vec<String>>,
    /// Takes WebSocket upgrades. With false it takes no part in matching one.
    pub(crate) ws: bool,
    /// Where its requests go: `"http://host:port/base"` (ws is read as http). The request's path is put after the
    /// base path. Exactly one of `target` and `upstream`.
    pub(crate) target: Option<String>,
    /// The name of the upstream its requests go to. Exactly one of `target` and `upstream`.
    pub(crate) upstream: Option<String>,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            name: String::new(),
            description: String::new(),
            enabled: true,
            path: String::new(),
            methods: None,
            ws: true,
            target: None,
            upstream: None,
        }
    }
}
