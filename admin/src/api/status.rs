//! What `GET /api/v1/status` answers. Numbers are those of one moment, read while the workers go on, so two that belong
//! together may differ by what happened in between. Clients skip fields that they do not know: more may come.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use ringway_config::BackendAddress;
use ringway_engine::{BackendStatus, GateStatus, Probed, SiteStatus, Standing, Stats, UpstreamStatus};
use serde::{Deserialize, Serialize};

use super::Facts;

/// The whole program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Ringway's version.
    pub version: String,
    /// What it does.
    pub phase: Phase,
    /// The kernel interface that drives the event loops.
    pub driver: String,
    /// When it started (RFC 3339).
    pub started: String,
    /// How long ago, in seconds.
    pub uptime_s: u64,
    /// The number of the configuration that runs: 1 at the start, one more with each that was applied.
    pub revision: u64,
    /// When that was applied (RFC 3339).
    pub applied: String,
    /// Open client connections over all workers, tunnels included.
    pub connections: u64,
    /// Open connections of the worker with the most over the mean of all: 1.0 is even. `null` without connections.
    pub connections_skew: Option<f64>,
    /// What all workers counted since the start.
    pub totals: Totals,
    /// The workers, each with what it counted.
    pub workers: Vec<Worker>,
    /// Where it listens, in file order; nowhere while it drains.
    pub listeners: Vec<Listener>,
    /// The sites, in file order.
    pub sites: Vec<Site>,
    /// The named upstreams in file order, then those of sites and targets.
    pub upstreams: Vec<Upstream>,
}

/// What the program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It takes requests.
    Serving,
    /// It was asked to end, and lets what runs end.
    Draining,
}

/// One worker, or all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Open client connections, tunnels included.
    pub connections: u64,
    /// Client connections that were accepted.
    pub accepted: u64,
    /// Client connections that were closed at once, because their client had as many as it may.
    pub refused: u64,
    /// Requests whose head was read.
    pub requests: u64,
    /// Exchanges under way, with those that wait for a place or a backend.
    pub active: u64,
    /// Open tunnels.
    pub tunnels: u64,
    /// Bytes read from clients.
    pub bytes_from_clients: u64,
    /// Bytes written to clients.
    pub bytes_to_clients: u64,
    /// Connections made to backends.
    pub upstream_connects: u64,
    /// Requests that were sent once more because a reused connection had gone.
    pub resends: u64,
    /// Tries at one more backend.
    pub retries: u64,
    /// Access log lines that were dropped because the writer did not keep up.
    pub log_lines_dropped: u64,
    /// Connections that ended in a panic of Ringway's.
    pub panics: u64,
    /// Responses by the class of their status.
    pub responses: Responses,
    /// Errors that Ringway answered or saw, by their code.
    pub errors: Errors,
    /// Percentiles of an exchange's time; `null` without exchanges.
    pub latency: Option<Latency>,
}

/// Errors by their code; those that occurred.
pub type Errors = BTreeMap<String, u64>;

/// Responses by the class of their status.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Responses {
    /// 100 to 199: tunnels.
    #[serde(rename = "1xx")]
    pub informational: u64,
    /// 200 to 299.
    #[serde(rename = "2xx")]
    pub success: u64,
    /// 300 to 399.
    #[serde(rename = "3xx")]
    pub redirection: u64,
    /// 400 to 499.
    #[serde(rename = "4xx")]
    pub client_error: u64,
    /// 500 and above.
    #[serde(rename = "5xx")]
    pub server_error: u64,
    /// Exchanges that ended without a response.
    pub none: u64,
}

/// Percentiles of an exchange's time, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// Half of all took no longer.
    pub p50_ms: f64,
    /// Nine of ten.
    pub p90_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// 999 of 1,000.
    pub p999_ms: f64,
}

/// One worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Worker {
    /// Its number, from 0: its thread is called `worker-0`.
    pub index: usize,
    /// What it counted.
    #[serde(flatten)]
    pub counted: Totals,
}

/// A socket that is listened on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Its name in the file, or its address as it is written there.
    pub name: String,
    /// Where it really is.
    pub address: String,
}

/// A virtual host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Site {
    /// Its name.
    pub name: String,
    /// Its limit, and who waits.
    #[serde(flatten)]
    pub gate: Gate,
}

/// A limit and the line before it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Gate {
    /// Exchanges that run.
    pub running: u32,
    /// Requests that wait for one of them to end.
    pub waiting: u32,
    /// The most that run; 0 is no limit.
    pub max_active: u32,
    /// The most that wait.
    pub max_queued: u32,
    /// Requests that had to wait, since the start.
    pub queued: u64,
    /// Requests that found the line full and got 503, since the start.
    pub queue_full: u64,
    /// Requests that waited too long and got 503, since the start.
    pub queue_timeouts: u64,
}

/// A pool of backends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Upstream {
    /// Its name: as in the file, `site/NAME` for a site's own, the origin for a rule's `target`.
    pub name: String,
    /// How a request's backend is chosen.
    pub strategy: String,
    /// Its limit, and who waits.
    #[serde(flatten)]
    pub gate: Gate,
    /// Requests that wait for a backend to come back (`on_no_backend = "wait"`); not among `waiting`.
    pub waiting_for_backend: u32,
    /// Requests that were sent to one more backend.
    pub retries: Retries,
    /// How often its backends were ejected, since the start.
    pub ejections: u64,
    /// How often one should have been, and a bound kept it in.
    pub ejections_held_back: u64,
    /// How often one came back.
    pub recoveries: u64,
    /// Its addresses in the order of the file, and behind them what has none.
    pub backends: Vec<Backend>,
}

/// Requests that were sent to one more backend.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Retries {
    /// Since the start.
    pub total: u64,
    /// In the last 10 s, as the budget counts them.
    pub last_10_s: u64,
}

/// One address of a backend.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Backend {
    /// What is dialled; `null` for a name that does not resolve.
    pub address: Option<String>,
    /// The backend's URL in the file, in its canonical form.
    pub url: String,
    /// Its share of the requests.
    pub weight: u16,
    /// It takes part only when no other is available.
    pub backup: bool,
    /// How it stands.
    pub state: BackendState,
    /// Since when (RFC 3339); `null`: always, or it is not known.
    pub since: Option<String>,
    /// How long, in seconds.
    pub since_s: Option<u64>,
    /// Why, for programs: an id that stays the same from version to version.
    pub cause: Option<String>,
    /// Why, for people.
    pub why: Option<String>,
    /// Exchanges and tunnels that are there.
    pub running: u32,
    /// Failures of requests since the last success.
    pub failures: u32,
    /// How often it was ejected, since the start.
    pub ejections: u64,
    /// The moving average of the time to its response heads as the last of them left it, in milliseconds; `null` without any.
    /// With `least_latency` each counts, otherwise one in some.
    pub latency_ms: Option<f64>,
    /// The last probe; `null` without any.
    pub last_probe: Option<Probe>,
}

/// A probe that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// When (RFC 3339).
    pub at: String,
    /// How long ago, in seconds.
    pub age_s: u64,
    /// What was wrong, for programs, as in a backend's `cause`; `null`: nothing.
    pub failure: Option<String>,
}

/// How a backend stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendState {
    /// It takes part.
    Alive,
    /// Failures of requests or probes took it out.
    Ejected,
    /// A person took it out.
    Dead,
    /// Its name has no address.
    Unresolved,
    /// Its address is one of our own listeners: requests would come back to us, so it gets none.
    Loop,
    /// The egress policy refuses its address, so it gets no requests and no probes.
    Forbidden,
}

impl Status {
    pub(super) fn new(facts: &Facts, engine: ringway_engine::Status) -> Self {
        let at = |since_ms| engine.started + Duration::from_millis(since_ms);
        let workers = engine.workers.iter().enumerate();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            phase: facts.phase,
            driver: engine.driver,
            started: rfc3339(at(0)),
            uptime_s: engine.now_ms / 1000,
            revision: facts.revision,
            applied: rfc3339(facts.applied),
            connections: engine.connections,
            connections_skew: skew(&engine.workers),
            totals: Totals::of(&engine.totals),
            workers: workers.map(|(index, stats)| Worker { index, counted: Totals::of(stats) }).collect(),
            listeners: facts.listeners.clone(),
            sites: engine.sites.iter().map(Site::of).collect(),
            upstreams: engine
                .upstreams
                .iter()
                .map(|upstream| Upstream::of(upstream, engine.now_ms, at))
                .collect(),
        }
    }
}

impl Totals {
    fn of(stats: &Stats) -> Self {
        let [none, informational, success, redirection, client_error, server_error] = stats.by_class;
        Self {
            connections: stats.connections,
            accepted: stats.accepted,
            refused: stats.refused,
            requests: stats.requests,
            active: stats.active,
            tunnels: stats.tunnels,
            bytes_from_clients: stats.bytes_from_clients,
            bytes_to_clients: stats.bytes_to_clients,
            upstream_connects: stats.upstream_connects,
            resends: stats.resends,
            retries: stats.retries,
            log_lines_dropped: stats.log_lines_dropped,
            panics: stats.panics,
            responses: Responses { informational, success, redirection, client_error, server_error, none },
            errors: stats.errors.iter().map(|(code, count)| ((*code).to_owned(), *count)).collect(),
            latency: stats.latency_us.map(|latency_us| {
                let [p50_ms, p90_ms, p99_ms, p999_ms] = latency_us.map(milliseconds);
                Latency { p50_ms, p90_ms, p99_ms, p999_ms }
            }),
        }
    }
}

impl Site {
    fn of(site: &SiteStatus) -> Self {
        Self { name: site.config.name.clone(), gate: Gate::of(&site.gate, &site.config.admission) }
    }
}

impl Gate {
    fn of(gate: &GateStatus, limits: &ringway_config::Admission) -> Self {
        Self {
            running: gate.running,
            waiting: gate.waiting,
            max_active: limits.max_active,
            max_queued: limits.max_queued,
            queued: gate.queued,
            queue_full: gate.full,
            queue_timeouts: gate.timed_out,
        }
    }
}

impl Upstream {
    fn of(upstream: &UpstreamStatus, now_ms: u64, at: impl Fn(u64) -> SystemTime) -> Self {
        let config = &upstream.config;
        let found = upstream.backends.iter().map(|backend| Backend::of(backend, now_ms, &at));
        let missing = upstream.without_address.iter().map(Backend::without_address);
        Self {
            name: config.name.clone(),
            strategy: config.strategy.name().to_owned(),
            gate: Gate::of(&upstream.gate, &config.admission),
            waiting_for_backend: upstream.waiting_for_backend,
            retries: Retries { total: upstream.retries, last_10_s: upstream.retries_lately },
            ejections: upstream.tally.ejected,
            ejections_held_back: upstream.tally.spared,
            recoveries: upstream.tally.recovered,
            backends: found.chain(missing).collect(),
        }
    }
}

impl Backend {
    fn of(backend: &BackendStatus, now_ms: u64, at: impl Fn(u64) -> SystemTime) -> Self {
        let history = &backend.history;
        let told = Self {
            address: Some(backend.address.to_string()),
            url: backend.url.clone(),
            weight: backend.weight,
            backup: backend.backup,
            state: BackendState::of(backend),
            since: None,
            since_s: None,
            cause: None,
            why: None,
            running: backend.running,
            failures: backend.failures,
            ejections: history.ejections,
            latency_ms: backend.latency.map(|latency| rounded(latency.as_secs_f64() * 1000.0)),
            last_probe: history.probed.map(|probed| Probe::of(probed, now_ms, &at)),
        };
        match history.cause {
            _ if let Some(why) = backend.forbidden => {
                told.because("forbidden", &format!("the egress policy refuses it: {why}"))
            }
            _ if backend.is_own => told.because("loop", "it is one of Ringway's own listeners"),
            Some(cause) => Self {
                since: Some(rfc3339(at(history.since_ms))),
                since_s: Some(seconds_ago(history.since_ms, now_ms)),
                ..told.because(cause.id(), &cause.to_string())
            },
            // It never changed.
            None => told,
        }
    }

    fn without_address(written: &ringway_config::Backend) -> Self {
        let told = Self {
            address: None,
            url: written.url.clone(),
            weight: written.weight,
            backup: written.backup,
            state: BackendState::Unresolved,
            since: None,
            since_s: None,
            cause: None,
            why: None,
            running: 0,
            failures: 0,
            ejections: 0,
            latency_ms: None,
            last_probe: None,
        };
        match written.address {
            BackendAddress::Unknown => {
                told.because("not_set", "an environment variable of its URL is not set")
            }
            _ => told.because("unresolved", "its name has no address"),
        }
    }

    fn because(self, cause: &str, why: &str) -> Self {
        Self { cause: Some(cause.to_owned()), why: Some(why.to_owned()), ..self }
    }
}

impl Probe {
    fn of(probed: Probed, now_ms: u64, at: impl Fn(u64) -> SystemTime) -> Self {
        Self {
            at: rfc3339(at(probed.at_ms)),
            age_s: seconds_ago(probed.at_ms, now_ms),
            failure: probed.failed.map(|failed| failed.id().to_owned()),
        }
    }
}

impl BackendState {
    fn of(backend: &BackendStatus) -> Self {
        match backend.standing {
            _ if backend.forbidden.is_some() => Self::Forbidden,
            _ if backend.is_own => Self::Loop,
            Standing::Alive => Self::Alive,
            Standing::Ejected => Self::Ejected,
            Standing::Dead => Self::Dead,
        }
    }
}

/// The most over the mean.
fn skew(workers: &[Stats]) -> Option<f64> {
    let connections = || workers.iter().map(|worker| worker.connections);
    let (most, sum) = (connections().max()?, connections().sum::<u64>());
    (sum > 0).then(|| rounded(most as f64 * workers.len() as f64 / sum as f64))
}

/// What happens meanwhile is now.
fn seconds_ago(then_ms: u64, now_ms: u64) -> u64 {
    now_ms.saturating_sub(then_ms) / 1000
}

fn milliseconds(micros: u64) -> f64 {
    rounded(micros as f64 / 1000.0)
}

/// To three places: microseconds, where it is milliseconds.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// The last moment that RFC 3339 can write, in seconds since 1970.
const LAST_MOMENT_S: u64 = 253_402_300_799;

/// To the second. A clock that is far off shows the nearest moment that can be written.
fn rfc3339(moment: SystemTime) -> String {
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(LAST_MOMENT_S);
    humantime::format_rfc3339_seconds(moment.clamp(SystemTime::UNIX_EPOCH, last)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_config::{Compiler, Forbidden, Source};
    use ringway_engine::{Address, Cause, Failed, History};

    fn stats(connections: u64) -> Stats {
        Stats { connections, ..Stats::default() }
    }

    #[test]
    fn skew_is_the_most_over_the_mean() {
        assert_eq!(skew(&[]), None);
        assert_eq!(skew(&[stats(0), stats(0)]), None);
        assert_eq!(skew(&[stats(7), stats(7)]), Some(1.0));
        assert_eq!(skew(&[stats(9), stats(1)]), Some(1.8));
        assert_eq!(skew(&[stats(1), stats(0), stats(0)]), Some(3.0));
    }

    #[test]
    fn moments_are_written_whatever_the_clock_says() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(rfc3339(at(1_700_000_000)), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(at(u64::MAX / 4)), "9999-12-31T23:59:59Z");
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH - Duration::from_secs(5)), "1970-01-01T00:00:00Z");
    }

    fn ejected() -> BackendStatus {
        let mut history = History::default();
        (history.since_ms, history.ejections) = (61_000, 5);
        history.cause = Some(Cause::Request(Failed::Refused));
        history.probed = Some(Probed { at_ms: 62_500, failed: Some(Failed::ConnectTimeout) });
        BackendStatus {
            address: Address::Tcp("192.0.2.1:80".parse().unwrap()),
            url: "http://a.test:80".to_owned(),
            weight: 2,
            backup: true,
            is_own: false,
            forbidden: None,
            running: 3,
            standing: Standing::Ejected,
            failures: 4,
            history,
            latency: Some(Duration::from_micros(1_234)),
        }
    }

    #[test]
    fn a_backend_says_since_when_and_why() {
        let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        let told = serde_json::to_value(Backend::of(&ejected(), 63_999, at)).unwrap();
        let expected = serde_json::json!({
            "address": "192.0.2.1:80", "url": "http://a.test:80", "weight": 2, "backup": true,
            "state": "ejected", "since": "1970-01-01T00:01:01Z", "since_s": 2, "cause": "refused",
            "why": "the connection is refused, or the address cannot be reached",
            "running": 3, "failures": 4, "ejections": 5, "latency_ms": 1.234,
            "last_probe": { "at": "1970-01-01T00:01:02Z", "age_s": 1, "failure": "connect_timeout" },
        });
        assert_eq!(told, expected);
        let always = BackendStatus { standing: Standing::Alive, history: History::default(), ..ejected() };
        let always = Backend::of(&always, 63_999, at);
        assert_eq!((always.since, always.since_s, always.cause), (None, None, None));
        let own = Backend::of(&BackendStatus { is_own: true, ..ejected() }, 0, at);
        assert_eq!((own.state, own.cause.as_deref(), own.since), (BackendState::Loop, Some("loop"), None));
        let forbidden = BackendStatus { forbidden: Some(Forbidden::Socket), ..ejected() };
        let forbidden = Backend::of(&forbidden, 0, at);
        assert_eq!(
            (forbidden.state, forbidden.cause.as_deref()),
            (BackendState::Forbidden, Some("forbidden"))
        );
        assert_eq!(forbidden.why.as_deref(), Some("the egress policy refuses it: it is a Unix socket"));
    }

    #[test]
    fn what_does_not_resolve_is_a_backend_without_an_address() {
        let text = "[[listeners]]\naddress = \":1\"\n[[upstreams]]\nname = \"u\"\n\
            backends = [{ url = \"http://a.test\", weight = 7 }, { url = \"http://${NOT_SET}\" }]\n\
            [[rules]]\nname = \"r\"\npath = \"*\"\nupstream = \"u\"\n";
        let compiled = Compiler::new().compile(&Source { name: "test", text }).unwrap();
        let told = compiled.snapshot.upstreams[0].backends.iter().map(Backend::without_address);
        let told = told.map(|told| (told.address, told.state, told.weight, told.cause.unwrap()));
        let without = |weight, cause: &str| (None, BackendState::Unresolved, weight, cause.to_owned());
        assert!(told.eq([without(7, "unresolved"), without(1, "not_set")]));
    }
}
