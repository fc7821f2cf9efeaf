//! All figures of a run for programs. `format` rises when a field changes its meaning or goes.

use super::figures::Spread;
use super::goals::{self, Judgement};
use super::{Case, Report};
use crate::Outcome;
use crate::options::Plan;
use serde::Serialize;

const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    machine: Machine<'a>,
    /// What was asked for.
    plan: &'a Plan,
    programs: Vec<Program<'a>>,
    cases: Vec<CaseFigures<'a>>,
    goals: Vec<Judgement>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Machine<'a> {
    /// Year, month and day, in UTC.
    date: &'a str,
    kernel: &'a str,
    cpu: &'a str,
    cpus: usize,
    is_virtual: bool,
    /// Which counters were in use, and why not more.
    counted: String,
}

#[derive(Serialize)]
struct Program<'a> {
    name: &'a str,
    version: Option<&'a str>,
}

#[derive(Serialize)]
struct CaseFigures<'a> {
    name: &'a str,
    title: &'a str,
    /// What "each" means in figures that are for each unit of work.
    unit: &'a str,
    figures: Vec<Figure<'a>>,
    /// Of Ringway to each peer, round by round.
    ratios: Vec<Ratio<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Figure<'a> {
    proxy: &'a str,
    /// With its unit.
    metric: &'static str,
    #[serde(flatten)]
    spread: Spread,
    rounds: Vec<f64>,
}

#[derive(Serialize)]
struct Ratio<'a> {
    proxy: &'a str,
    peer: &'a str,
    metric: &'static str,
    #[serde(flatten)]
    spread: Spread,
}

pub(super) fn text(report: &Report) -> Outcome<String> {
    let Report { machine, plan, versions, cases, notes, .. } = report;
    let machine = Machine {
        date: &machine.date,
        kernel: &machine.kernel,
        cpu: &machine.cpu,
        cpus: machine.cpus,
        is_virtual: machine.is_virtual,
        counted: machine.counters.to_string(),
    };
    let programs = versions.iter().map(|one| Program { name: one.name, version: one.version.as_deref() });
    let document = Document {
        format: FORMAT,
        machine,
        plan,
        programs: programs.collect(),
        cases: cases.iter().map(figures).collect(),
        goals: goals::judge(report),
        notes,
    };
    let text = serde_json::to_string_pretty(&document).map_err(|error| format!("no JSON: {error}"))?;
    Ok(text + "\n")
}

fn figures(case: &Case) -> CaseFigures<'_> {
    let (mut figures, mut ratios) = (Vec::new(), Vec::new());
    for metric in case.metrics() {
        for series in &case.series {
            let Some(spread) = series.spread(metric) else { continue };
            let (proxy, rounds) = (series.proxy.as_str(), series.values(metric));
            figures.push(Figure { proxy, metric: metric.key(), spread, rounds });
        }
        let pairs = case.ringways().flat_map(|ringway| case.peers().map(move |peer| (ringway, peer)));
        for (ringway, peer) in pairs.filter(|_| metric.is_comparable()) {
            let Some(spread) = ringway.ratio(peer, metric) else { continue };
            ratios.push(Ratio { proxy: &ringway.proxy, peer: &peer.proxy, metric: metric.key(), spread });
        }
    }
    CaseFigures { name: case.name, title: case.title, unit: case.unit, figures, ratios, notes: &case.notes }
}
