//! The cases: what is measured, under which load, and what it should come to.
//!
//! * `closed.rs`: the closed loops, which give the cost of a request, a body, a message or a connection
//! * `latency.rs`: latency at a fixed rate
//! * `idle.rs`: the memory of idle connections
//! * `reload.rs`: new configurations under load
//! * `start.rs`: how long a start takes
//! * `counted.rs`: instructions in user mode, counted by valgrind
//! * `generator.rs`: whether this load and wrk's see the same proxy

mod closed;
mod counted;
mod generator;
mod idle;
mod latency;
mod reload;
mod start;

pub(crate) use generator::check;

use crate::Outcome;
use crate::bench::Bench;
use crate::model::{Bound, Goal, Metric, Sample, Setting};
use crate::peers::{self, Kind, Proxy, Wrapper};
use crate::report::Report;

/// Client connections of most cases.
const CONNECTIONS: usize = 64;
const BODY_CONNECTIONS: usize = 4;
const RULES: usize = 10_000;
/// Requests or messages that valgrind counts.
const UNITS_COUNTED: u64 = 10_240;

/// A kind of work.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    title: &'static str,
    unit: &'static str,
    goals: &'static [Goal],
    rules: usize,
    access_log: bool,
    files: bool,
    measure: Measure,
}

/// How it is measured.
enum Measure {
    /// By a closed loop, which this opens; how many units valgrind is to count.
    Closed(closed::Open, u64),
    Latency,
    Idle,
    Reload,
    Start,
}

/// All cases, in the order in which they run.
pub(crate) const CASES: [Case; 13] = [
    Case {
        name: "get",
        title: "small GET, 64 connections",
        unit: "request",
        goals: &[
            goal(Metric::Instructions, Bound::AtMost(36_000.0)),
            goal(Metric::Instructions, Bound::TimesPeer(0.63, "nginx")),
            goal(Metric::Instructions, Bound::TimesPeer(0.53, "haproxy")),
            goal(Metric::CpuTime, Bound::TimesPeer(0.63, "nginx")),
            goal(Metric::CpuTime, Bound::TimesPeer(0.53, "haproxy")),
        ],
        rules: 1,
        access_log: false,
        files: false,
        measure: Measure::Closed(closed::get, UNITS_COUNTED),
    },
    Case {
        name: "log",
        title: "the same with the JSON access log",
        unit: "request",
        goals: &[
            goal(Metric::Instructions, Bound::TimesCase(1.05, "get")),
            goal(Metric::CpuTime, Bound::TimesCase(1.05, "get")),
        ],
        rules: 1,
        access_log: true,
        files: false,
        measure: Measure::Closed(closed::get, UNITS_COUNTED),
    },
    Case {
        name: "rules",
        title: "the same with 10,000 rules, random paths over all of them",
        unit: "request",
        goals: &[
            goal(Metric::Instructions, Bound::TimesCase(1.03, "get")),
            goal(Metric::CpuTime, Bound::TimesCase(1.10, "get")),
        ],
        rules: RULES,
        access_log: false,
        files: false,
        measure: Measure::Closed(closed::rules, UNITS_COUNTED),
    },
    Case {
        name: "reload",
        title: "reloads of 10,000 rules under load; cost of the workers",
        unit: "request",
        goals: &[
            goal(Metric::Instructions, Bound::TimesCase(1.05, "rules")),
            goal(Metric::CpuTime, Bound::TimesCase(1.05, "rules")),
        ],
        rules: RULES,
        access_log: false,
        files: false,
        measure: Measure::Reload,
    },
    Case {
        name: "pipeline",
        title: "small GET, 16 at once on each of 64 connections",
        unit: "request",
        goals: &[],
        rules: 1,
        access_log: false,
        files: false,
        measure: Measure::Closed(closed::pipeline, UNITS_COUNTED),
    },
    Case {
        name: "connect",
        title: "small GET, a new connection for each, 64 at once",
        unit: "connection",
        goals: &[],
        rules: 1,
        access_log: false,
        files: false,
        measure: Measure::Closed(closed::connect, UNITS_COUNTED),
    },
    Case {
        name: "body-down",
        title: "response body of 1 MiB, 4 connections",
        unit: "body",
        goals: &[goal(Metric::CpuTime, Bound::TimesPeer(0.8, "haproxy"))],
        rules: 1,
        access_log: false,
        files: false,
        measure: Measure::Closed(closed::body_down, 200),
    },
    Case {
        name: "body-up",
        title: "request body of 1 MiB, 4 connections",
        unit: "body",
        goals: &[],
        rules: 1,
        access_log: false,
        files: false,
        measure: Measure::Closed(closed::body_up, 200),
    },
    Case {
        name: "static",
        title: "a file of 10 KiB, 64 connections",
        unit: "request",
        goals: &[
            goal(Metric::Instructions, Bound::TimesPeer(0.8, "nginx")),
            goal(Metric::CpuTime, Bound::TimesPeer(0.8, "nginx")),
        ],
        rules: 1,
        access_log: false,
        files: true,
        measure: Measure::Closed(closed::file, UNITS_COUNTED),
    },
    Case {
        name: "websocket",
        title: "1,000 WebSocket tunnels echoing messages of 64 bytes",
        unit: "message",
        goals: &[
            goal(Metric::Instructions, Bound::TimesBestPeer(0.8)),
            goal(Metric::CpuTime, Bound::TimesBestPeer(0.8)),
        ],
        rules: 1,
        access_log: false,
        files: false,
        measure: Measure::Closed(closed::websocket, UNITS_COUNTED),
    },
    Case {
        name: "latency",
        title: "latency at half the saturation of the slowest",
        unit: "request",
        goals: &[goal(Metric::P99, Bound::TimesBestPeer(1.0))],
        rules: 1,
        access_log: false,
        files: false,
        measure: Measure::Latency,
    },
    Case {
        name: "idle",
        title: "memory of idle client connections that each did one request",
        unit: "connection",
        goals: &[goal(Metric::BytesPerConnection, Bound::AtMost(512.0))],
        rules: 1,
        access_log: false,
        files: false,
        measure: Measure::Idle,
    },
    Case {
        name: "start",
        title: "from the start to the first response, 10,000 rules",
        unit: "start",
        goals: &[goal(Metric::FirstResponse, Bound::AtMost(1_000.0))],
        rules: RULES,
        access_log: false,
        files: false,
        measure: Measure::Start,
    },
];

const fn goal(metric: Metric, bound: Bound) -> Goal {
    Goal { metric, bound }
}

/// Cases whose goals name each other: their rounds take turns too. The others have a turn of their own.
const COMPARED: [&str; 4] = ["get", "log", "rules", "reload"];

/// Runs these cases; gives how often something went wrong, which is noted.
pub(crate) fn run(cases: &[&'static Case], bench: &Bench<'_>, report: &mut Report) -> usize {
    let compared = |case: &&Case| COMPARED.contains(&case.name);
    let groups = cases.chunk_by(|a, b| compared(a) && compared(b));
    groups.map(|group| run_together(group, bench, report)).sum()
}

fn run_together(cases: &[&'static Case], bench: &Bench<'_>, report: &mut Report) -> usize {
    let mut tables: Vec<_> = cases.iter().map(|case| Table::begin(case, bench, report)).collect();
    for round in 0..bench.rounds() {
        for table in tables.iter_mut().filter(|table| round < table.case.rounds(bench)) {
            table.round(bench, report);
        }
    }
    tables.iter().map(|table| table.failures).sum()
}

impl Case {
    fn begin(&self, report: &mut Report) {
        report.begin_case(self.name, self.title, self.unit, self.goals);
    }

    /// How many rounds it has.
    fn rounds(&self, bench: &Bench<'_>) -> usize {
        match self.measure {
            Measure::Idle => bench.rounds().min(bench.idle_rounds()),
            _ => bench.rounds(),
        }
    }

    /// Whether a goal needs the figures of that case.
    pub(crate) fn is_compared_with(&self, case: &str) -> bool {
        self.goals.iter().any(|goal| matches!(goal.bound, Bound::TimesCase(_, name) if name == case))
    }

    /// Whether there is something to measure when valgrind counts.
    pub(crate) fn is_countable(&self) -> bool {
        matches!(self.measure, Measure::Closed(..))
    }
}

/// The rounds of one case.
struct Table {
    case: &'static Case,
    setting: Setting,
    proxies: Vec<Measured>,
    /// Requests per second, where they start by a schedule.
    rate: f64,
    failures: usize,
}

/// What is measured once a round.
enum Measured {
    /// Runs until the last round; while others are measured it has nothing to do.
    Running(Proxy),
    /// Is started for each round.
    Fresh(Kind),
}

impl Measured {
    fn kind(&self) -> Kind {
        match self {
            Measured::Running(proxy) => proxy.kind(),
            Measured::Fresh(kind) => *kind,
        }
    }
}

impl Table {
    /// Starts the proxies where they run all the time.
    fn begin(case: &'static Case, bench: &Bench<'_>, report: &mut Report) -> Self {
        case.begin(report);
        let Case { rules, access_log, files, .. } = *case;
        let setting = Setting { backend: bench.backend(), keepalive: CONNECTIONS, rules, access_log, files };
        let kinds: Vec<Kind> = bench.kinds().filter(|&kind| peers::supports(kind, &setting)).collect();
        let mut table = Table { case, setting, proxies: Vec::new(), rate: 0.0, failures: 0 };
        for kind in kinds {
            if let Some(refusal) = counted::refusal(bench, kind) {
                report.note(format!("{}: {refusal}", kind.name()));
                continue;
            }
            match table.prepare(kind, bench) {
                Ok(proxy) => table.proxies.push(proxy),
                Err(problem) => table.fail(kind, &problem, report),
            }
        }
        match case.measure {
            Measure::Latency => table.find_rate(bench, report),
            Measure::Idle => bench.note_on_idle_connections().into_iter().for_each(|note| report.note(note)),
            Measure::Closed(..) | Measure::Reload | Measure::Start => {}
        }
        table
    }

    fn prepare(&self, kind: Kind, bench: &Bench<'_>) -> Outcome<Measured> {
        match self.case.measure {
            Measure::Closed(..) | Measure::Latency | Measure::Reload if !bench.counts_exactly() => {
                bench.start(kind, &self.setting, Wrapper::None).map(Measured::Running)
            }
            _ => Ok(Measured::Fresh(kind)),
        }
    }

    /// Measures each proxy once, one after the other, so that what a busy machine does to one it does to all. One with
    /// which something goes wrong is left out from then on.
    fn round(&mut self, bench: &Bench<'_>, report: &mut Report) {
        self.case.begin(report);
        for mut proxy in std::mem::take(&mut self.proxies) {
            let kind = proxy.kind();
            match self.measure(&mut proxy, bench) {
                Ok(sample) => {
                    report.add(kind.name(), sample);
                    self.proxies.push(proxy);
                }
                Err(problem) => self.fail(kind, &problem, report),
            }
        }
    }

    fn measure(&self, proxy: &mut Measured, bench: &Bench<'_>) -> Outcome<Sample> {
        let setting = &self.setting;
        match (&self.case.measure, proxy) {
            (Measure::Closed(open, _), Measured::Running(proxy)) => {
                closed::round(bench, proxy, *open, bench.measured())
            }
            (Measure::Closed(open, units), Measured::Fresh(kind)) => {
                closed::count(bench, *kind, setting, *open, *units)
            }
            (Measure::Latency, Measured::Running(proxy)) => latency::round(bench, proxy, self.rate),
            (Measure::Reload, Measured::Running(proxy)) => reload::round(bench, proxy, setting),
            (Measure::Idle, Measured::Fresh(kind)) => idle::round(bench, *kind, setting),
            (Measure::Start, Measured::Fresh(kind)) => start::round(bench, *kind, setting),
            (_, proxy) => Err(format!("{} is not prepared for this", proxy.kind().name())),
        }
    }

    fn fail(&mut self, kind: Kind, problem: &str, report: &mut Report) {
        self.failures += 1;
        report.note(format!("{}: {problem}", kind.name()));
    }

    /// Half of the rate at which the slowest is saturated.
    fn find_rate(&mut self, bench: &Bench<'_>, report: &mut Report) {
        let mut slowest = f64::INFINITY;
        for proxy in std::mem::take(&mut self.proxies) {
            let Measured::Running(running) = &proxy else { continue };
            match latency::saturation(bench, running) {
                Ok(rate) => {
                    slowest = slowest.min(rate);
                    self.proxies.push(proxy);
                }
                Err(problem) => self.fail(proxy.kind(), &problem, report),
            }
        }
        self.rate = slowest / 2.0;
        report.note(format!("all at {:.0} requests per second", self.rate));
    }
}
