//! Tables and goals as text of at most 120 columns.

use super::figures::{Series, number};
use super::goals::{self, Judgement, Verdict};
use super::{Case, Report};
use crate::model::Metric;

pub(super) fn print(report: &Report) {
    for case in &report.cases {
        print_case(case);
    }
    if !report.cases.is_empty() {
        print_main_figures(report);
    }
    let judgements = goals::judge(report);
    if !judgements.is_empty() {
        println!("goals; the median decides, and in parentheses is where the rounds lie");
        judgements.iter().for_each(|judgement| println!("{}", goal_line(judgement)));
        println!();
    }
    print_notes(&report.notes);
    println!(
        "Ratios are between rounds that ran side by side; they vary less than the figures. CPU time is that of the\n\
         proxy's threads, and varies with what else the machine does. A wrong response would have made the run fail,\n\
         and a note.\n"
    );
}

fn print_case(case: &Case) {
    println!("{}: {}; each {}", case.name, case.title, case.unit);
    let peers: Vec<&Series> = case.peers().collect();
    let against: String = peers.iter().map(|peer| format!("{:>10}", format!("/ {}", peer.proxy))).collect();
    println!("{:<20} {:<17} {:>11} {:>11} {:>11}{against}", "", "", "median", "min", "max");
    for metric in case.metrics() {
        let mut title = metric.title(case.unit);
        for series in &case.series {
            let Some(spread) = series.spread(metric) else { continue };
            let [median, min, max] = [spread.median, spread.min, spread.max].map(number);
            let ratios: String = peers.iter().map(|peer| ratio(series, peer, metric)).collect();
            let line = format!("{title:<20} {:<17} {median:>11} {min:>11} {max:>11}{ratios}", series.proxy);
            println!("{}", line.trim_end());
            title.clear();
        }
    }
    print_notes(&case.notes);
    println!();
}

/// A line for each case: the median of the figure that says most.
fn print_main_figures(report: &Report) {
    let mut proxies: Vec<&str> = Vec::new();
    for series in report.cases.iter().flat_map(|case| &case.series) {
        if !proxies.contains(&series.proxy.as_str()) {
            proxies.push(&series.proxy);
        }
    }
    let width = |proxy: &str| proxy.len().max(10) + 2;
    let names: String = proxies.iter().map(|proxy| format!("{proxy:>0$}", width(proxy))).collect();
    println!("{:<31}{names}", "the main figures, medians");
    for case in &report.cases {
        let Some(metric) = case.main_metric() else { continue };
        let median = |proxy: &str| Some(number(case.of(proxy)?.spread(metric)?.median));
        let medians: String = proxies
            .iter()
            .map(|proxy| format!("{:>1$}", median(proxy).unwrap_or_default(), width(proxy)))
            .collect();
        println!("{}", format!("{:<10} {:<20}{medians}", case.name, metric.title(case.unit)).trim_end());
    }
    println!();
}

/// The median of the ratios of the rounds; nothing for a peer itself.
fn ratio(series: &Series, peer: &Series, metric: Metric) -> String {
    let shown = series.is_ringway() && metric.is_comparable();
    let ratio = shown.then(|| series.ratio(peer, metric)).flatten();
    format!("{:>10}", ratio.map_or_else(String::new, |ratio| format!("{:.2}", ratio.median)))
}

fn goal_line(judgement: &Judgement) -> String {
    let Judgement { case, proxy, goal, verdict, .. } = judgement;
    let (word, found) = match verdict {
        Verdict::Met { .. } => ("met", judgement.found()),
        Verdict::NotMet { .. } => ("NOT MET", judgement.found()),
        Verdict::NotMeasurable { reason } => ("not measurable", reason.clone()),
    };
    format!("{word:<15} {case:<10} {proxy:<17} {goal}: {found}")
}

fn print_notes(notes: &[String]) {
    notes.iter().for_each(|note| println!("note: {note}"));
}
