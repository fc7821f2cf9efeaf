//! Pools of backends as people write them: `[[upstreams]]`, and a site's own, which has the same keys but the name.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::seconds;
use crate::snapshot;
use crate::value::{Percent, Span};

/// A pool of backends.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name", "backends"]))]
pub(crate) struct Upstream {
    /// The name that rules use; unique among upstreams, without `/`.
    pub(crate) name: String,
    /// Its servers, at least one. Each address that a host name resolves to is a backend with the weight of the name.
    pub(crate) backends: Vec<Backend>,
    /// How a request's backend is chosen. `"round_robin"`, or `"weighted"`, which is the same: in turn, by weight.
    /// `"random"`: by chance and weight. `"least_connections"`: the one with the fewest running exchanges for its weight, over
    /// all workers. `"p2c"`: of two at random the one with fewer of them. `"ip_hash"`: by the client's address, so that a
    /// client stays with its backend while others come and go. `"least_latency"`: of two at random the one whose responses
    /// begin sooner, what it has to do counted in.
    pub(crate) strategy: Strategy,
    /// How many more backends a request may go to when one fails, each once at most, and only while nothing of a response has
    /// gone to the client. One of which something was sent goes to another only if its method is idempotent (RFC 9110 9.2.2)
    /// or it has an Idempotency-Key. Of an upstream's requests within 10 seconds at most 20 % may be retries, or 10 where that
    /// is more. 0: none.
    #[schemars(range(max = 10))]
    pub(crate) retries: u8,
    /// Idle connections kept open to each backend, divided among the workers. 0: none is kept.
    #[schemars(range(max = 65_536))]
    pub(crate) keepalive: u32,
    /// How long a backend that came back takes until it has its full weight again. `"0s"`: no time.
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "1h"))]
    pub(crate) slow_start: Span,
    /// Exchanges that run at one time, over all workers and exactly; what comes then waits its turn. 0: no limit.
    #[schemars(range(max = 16_777_216))]
    pub(crate) max_active: u32,
    /// Requests that wait at one time, for `max_active` or with `on_no_backend = "wait"`; past it the client gets 503. 0: none
    /// waits.
    #[schemars(range(max = 1_000_000))]
    pub(crate) max_queued: u32,
    /// How long a request waits; past it the client gets 503.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1h"))]
    pub(crate) queue_timeout: Span,
    /// A tunnel (WebSocket) counts as running to its end. With false it does until its 101.
    pub(crate) count_tunnels: bool,
    /// What becomes of a request when no backend is available. `"any"`: it goes to one of those that were ejected; its answer
    /// brings that one back, unless `active` probes decide. `"fail"`: it gets 503. `"wait"`: it waits until one comes back,
    /// as `max_queued` and `queue_timeout` say.
    pub(crate) on_no_backend: OnNoBackend,
    /// How often host names of backends are looked up again. Without this key it is when the TTL of the last answer ends, and
    /// every 30 seconds where the resolver tells no TTL (`dns.resolver`).
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1d"))]
    pub(crate) dns_refresh: Option<Span>,
    /// When a backend is ejected, which is to say that requests no longer go to it, and how it comes back.
    pub(crate) health: Health,
    /// Its own timeouts. Those that it does not set are the site's, or else the file's; a rule's `timeout` is preferred to
    /// `response`.
    pub(crate) timeouts: UpstreamTimeouts,
}

impl Default for Upstream {
    fn default() -> Self {
        let admission = snapshot::Admission::default();
        Self {
            name: String::new(),
            backends: Vec::new(),
            strategy: Strategy::RoundRobin,
            retries: 2,
            keepalive: 64,
            slow_start: seconds(0),
            max_active: admission.max_active,
            max_queued: admission.max_queued,
            queue_timeout: Span(admission.queue_timeout),
            count_tunnels: admission.count_tunnels,
            on_no_backend: OnNoBackend::Any,
            dns_refresh: None,
            health: Health::default(),
            timeouts: UpstreamTimeouts::default(),
        }
    }
}

/// What the schema calls an upstream that stands at a site: every key of [`Upstream`] but its name.
pub(crate) struct InlineUpstream;

impl JsonSchema for InlineUpstream {
    fn schema_name() -> Cow<'static, str> {
        "InlineUpstream".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Upstream::json_schema(generator);
        if let Some(keys) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            keys.retain(|key, _| key != "name");
        }
        if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
            required.retain(|key| key != "name");
        }
        schema.insert("description".to_owned(), "A pool of backends without a name.".into());
        schema
    }
}

/// Where a site's requests go that none of its rules takes.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum UpstreamOf {
    /// The upstream of that name.
    Named(String),
    /// An upstream of its own, without a name.
    Inline(Box<Upstream>),
}

/// One server of a pool.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["url"]))]
pub(crate) struct Backend {
    /// Where it listens: `"http://host:port"` (port 80 when none is given), or `"unix:/path"`. Host names are looked up
    /// beside the request path; one that does not resolve is a backend that is down.
    pub(crate) url: String,
    /// Its share of the requests, as far as the strategy knows weights: twice that of a backend with half the weight.
    #[schemars(range(min = 1, max = 1_000))]
    pub(crate) weight: u16,
    /// It gets requests only while no backend is available that is no backup.
    pub(crate) backup: bool,
}

impl Default for Backend {
    fn default() -> Self {
        Self { url: String::new(), weight: 1, backup: false }
    }
}

/// How a request's backend is chosen.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Strategy {
    RoundRobin,
    Weighted,
    Random,
    LeastConnections,
    P2c,
    IpHash,
    LeastLatency,
}

/// What becomes of a request when no backend is available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum OnNoBackend {
    Any,
    Fail,
    Wait,
}

/// When a backend is ejected, and how it comes back.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Health {
    /// How many failures in a row eject a backend; a success begins the count anew. Without this key it is 1 where no
    /// connection can be made, and 3 for the rest: a connection that breaks before a response head, a timeout, a response that
    /// is no HTTP.
    #[schemars(range(min = 1, max = 1_000))]
    pub(crate) max_failures: Option<u32>,
    /// The share of the pool's backends that failed requests may eject, rounded up; the last one stays in any case. Active
    /// probes are not bound by it.
    #[schemars(extend("x-minimum" = "0%", "x-maximum" = "100%"))]
    pub(crate) max_ejected: Percent,
    /// Statuses that count as failures too: codes such as `"502"`, and `"4xx"` or `"5xx"` for all that begin so.
    #[schemars(inner(regex(pattern = r"^[2-5]([0-9]{2}|xx)$")))]
    pub(crate) unhealthy_status: Vec<String>,
    /// The longest time between two probes of an ejected backend. The first come sooner: after 1, 2, 4, … seconds.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h"))]
    pub(crate) recovery_interval: Span,
    /// What a backend must do to pass a probe. `"tcp"`: take a connection. `"http"`: answer GET of `probe_path` with a status
    /// below 500.
    pub(crate) probe: Probe,
    /// The path that an `"http"` probe asks for, and a query perhaps.
    #[schemars(regex(pattern = "^/"), length(max = 2_048))]
    pub(crate) probe_path: String,
    /// How long a probe may take.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "60s"))]
    pub(crate) probe_timeout: Span,
    /// Probe every backend at all times, not only those that were ejected.
    pub(crate) active: bool,
    /// The time between two active probes of a backend.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h"))]
    pub(crate) probe_interval: Span,
    /// How many active probes in a row an ejected backend must pass to come back.
    #[schemars(range(min = 1, max = 100))]
    pub(crate) rise: u32,
    /// How many active probes in a row eject a backend that does not pass them, be it the last one.
    #[schemars(range(min = 1, max = 100))]
    pub(crate) fall: u32,
}

impl Default for Health {
    fn default() -> Self {
        let health = snapshot::Health::default();
        Self {
            max_failures: health.max_failures,
            max_ejected: Percent(health.max_ejected_percent),
            unhealthy_status: Vec::new(),
            recovery_interval: Span(health.recovery_interval),
            probe: Probe::Tcp,
            probe_path: "/".to_owned(),
            probe_timeout: Span(health.probe_timeout),
            active: false,
            probe_interval: seconds(10),
            rise: 2,
            fall: 3,
        }
    }
}

/// What a backend must do to pass a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Probe {
    Tcp,
    Http,
}

/// An upstream's own timeouts.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct UpstreamTimeouts {
    /// As in `[timeouts]`.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1h"))]
    pub(crate) connect: Option<Span>,
    /// As in `[timeouts]`; a rule's `timeout` is preferred.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1d"))]
    pub(crate) response: Option<Span>,
    /// As `upstream_body` in `[timeouts]`.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1d"))]
    pub(crate) body: Option<Span>,
    /// As `upstream_idle` in `[timeouts]`.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1d"))]
    pub(crate) idle: Option<Span>,
    /// As in `[timeouts]`.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "30d"))]
    pub(crate) tunnel_idle: Option<Span>,
}
