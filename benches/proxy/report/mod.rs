//! What a run found: a line for each measurement as it comes, then tables, goals, a JSON file and a chart.
//!
//! * `figures.rs`: samples into medians, ranges and ratios; what metrics are called
//! * `goals.rs`: what Ringway was to reach, and whether it did
//! * `table.rs`: all of that as text of at most 120 columns
//! * `json.rs`: all of that for programs
//! * `chart.rs`, `svg.rs`: the main figures as a picture, and how one is drawn

mod chart;
mod figures;
mod goals;
mod json;
mod svg;
mod table;

use crate::Outcome;
use crate::counters::Machine;
use crate::model::{Goal, Metric, Sample};
use crate::options::{CountWith, Plan};
use crate::peers::Kind;
use figures::{Series, number};
use std::fs;
use std::path::Path;

/// What the tables keep to.
const COLUMNS: usize = 120;

/// All that a run has measured so far.
pub(crate) struct Report {
    machine: Machine,
    plan: Plan,
    versions: Vec<Version>,
    cases: Vec<Case>,
    /// The one of them that is measured now.
    current: usize,
    /// What concerns no case in particular.
    notes: Vec<String>,
}

/// Which program stood behind a name.
struct Version {
    name: &'static str,
    /// `None` when the program does not tell.
    version: Option<String>,
}

/// One case: the samples of each proxy, in rounds.
struct Case {
    name: &'static str,
    title: &'static str,
    /// What its work is counted in, such as a request.
    unit: &'static str,
    goals: &'static [Goal],
    series: Vec<Series>,
    notes: Vec<String>,
}

impl Report {
    pub(crate) fn new(machine: Machine, plan: &Plan) -> Self {
        let ringway = plan.drivers.first().map(|&driver| ("ringway", Kind::Ringway(driver)));
        let peers = plan.peers.iter().map(|&peer| (peer.name(), Kind::Peer(peer)));
        let versions = ringway.into_iter().chain(peers);
        let versions = versions.map(|(name, kind)| Version { name, version: kind.version() }).collect();
        let (cases, notes) = (Vec::new(), Vec::new());
        let report = Report { machine, plan: plan.clone(), versions, cases, current: 0, notes };
        println!("{}", report.heading());
        report
    }

    /// What is added from now on belongs to this case, which may have begun before: cases that are compared with each other
    /// take turns. `unit` is what its work is counted in.
    pub(crate) fn begin_case(
        &mut self,
        name: &'static str,
        title: &'static str,
        unit: &'static str,
        goals: &'static [Goal],
    ) {
        println!("\n{name}: {title}");
        self.current = self.cases.iter().position(|case| case.name == name).unwrap_or_else(|| {
            self.cases.push(Case { name, title, unit, goals, series: Vec::new(), notes: Vec::new() });
            self.cases.len() - 1
        });
    }

    /// Adds a round of this proxy, and tells of it. The first rounds of all proxies belong together, and so on.
    pub(crate) fn add(&mut self, proxy: &str, sample: Sample) {
        let case = self.cases.get_mut(self.current).expect("a case has begun");
        let index = case.series.iter().position(|series| series.proxy == proxy).unwrap_or_else(|| {
            case.series.push(Series { proxy: proxy.to_owned(), samples: Vec::new() });
            case.series.len() - 1
        });
        let round = case.series[index].samples.len() + 1;
        let mut line = format!("round {round}  {proxy:<17}");
        for &(metric, value) in &sample {
            let figure = format!("  {} {}", metric.title(case.unit), number(value));
            if line.len() + figure.len() <= COLUMNS {
                line.push_str(&figure);
            }
        }
        println!("{line}");
        case.series[index].samples.push(sample);
    }

    /// Something that did not run, and why.
    pub(crate) fn note(&mut self, text: String) {
        println!("note: {text}");
        self.cases.get_mut(self.current).map_or(&mut self.notes, |case| &mut case.notes).push(text);
    }

    /// Prints the tables; writes the files.
    pub(crate) fn finish(self) -> Outcome<()> {
        println!("\n{}", self.heading());
        table::print(&self);
        for (path, content) in [(&self.plan.json, json::text(&self)?), (&self.plan.svg, chart::draw(&self))] {
            if let Some(path) = path {
                write(path, &content)?;
                println!("written: {}", path.display());
            }
        }
        Ok(())
    }

    fn case(&self, name: &str) -> Option<&Case> {
        self.cases.iter().find(|case| case.name == name)
    }

    /// What the run was done with, in lines.
    fn heading(&self) -> String {
        let versions: Vec<_> = self.versions.iter().map(Version::text).collect();
        format!("{}\n{}; {}", self.machine, versions.join(", "), self.manner())
    }

    /// How thoroughly it was done.
    fn manner(&self) -> String {
        let quick = if self.plan.quick { "quick " } else { "" };
        let counted = match self.plan.count_with {
            CountWith::Auto => "",
            CountWith::Valgrind => ", user instructions counted by cachegrind",
        };
        format!("{} {quick}rounds{counted}", self.plan.rounds)
    }
}

impl Version {
    fn text(&self) -> String {
        format!("{} {}", self.name, self.version.as_deref().unwrap_or("of an unknown version"))
    }
}

impl Case {
    fn of(&self, proxy: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.proxy == proxy)
    }

    fn ringways(&self) -> impl Iterator<Item = &Series> {
        self.series.iter().filter(|series| series.is_ringway())
    }

    fn peers(&self) -> impl Iterator<Item = &Series> {
        self.series.iter().filter(|series| !series.is_ringway())
    }

    /// The peer with the least of something.
    fn best_peer(&self, metric: Metric) -> Option<&Series> {
        let medians = self.peers().filter_map(|peer| Some((peer, peer.spread(metric)?.median)));
        medians.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(peer, _)| peer)
    }

    /// All that was measured, in the order of the first proxy that has it.
    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        for (metric, _) in self.series.iter().flat_map(|series| series.samples.iter().flatten()) {
            if !metrics.contains(metric) {
                metrics.push(*metric);
            }
        }
        metrics
    }

    /// The figure that says most: the first that a goal is about; without one, or when it could not be measured, what
    /// comes closest to the cost of a unit of work.
    fn main_metric(&self) -> Option<Metric> {
        const COSTS: [Metric; 3] = [Metric::Instructions, Metric::UserInstructions, Metric::CpuTime];
        let metrics = self.metrics();
        let wanted = self.goals.iter().map(|goal| goal.metric).chain(COSTS);
        wanted.into_iter().find(|metric| metrics.contains(metric))
    }
}

fn write(path: &Path, content: &str) -> Outcome<()> {
    fs::write(path, content).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}
