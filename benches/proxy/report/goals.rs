//! What Ringway was to reach, and whether it did. The median of the rounds decides.

use super::figures::{Series, Spread, number};
use super::{Case, Report};
use crate::model::{Bound, Goal};
use serde::Serialize;

/// A goal, held against what one driver of Ringway did.
#[derive(Serialize)]
pub(super) struct Judgement {
    pub(super) case: &'static str,
    pub(super) proxy: String,
    metric: &'static str,
    /// The goal, as a sentence.
    pub(super) goal: String,
    /// What `figure` may come to: in the metric's unit, or as a multiple.
    at_most: f64,
    is_multiple: bool,
    #[serde(flatten)]
    pub(super) verdict: Verdict,
}

impl Judgement {
    /// What it came to, with its range; multiples with three decimals, as goals are a few hundredths apart.
    pub(super) fn found(&self) -> String {
        let (Verdict::Met { figure } | Verdict::NotMet { figure }) = &self.verdict else {
            return String::new();
        };
        let text = |value| if self.is_multiple { format!("{value:.3}") } else { number(value) };
        format!("{} ({} to {})", text(figure.median), text(figure.min), text(figure.max))
    }
}

/// How a goal stands.
#[derive(Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub(super) enum Verdict {
    Met { figure: Spread },
    NotMet { figure: Spread },
    NotMeasurable { reason: String },
}

/// All goals of all cases, for each driver of Ringway that ran.
pub(super) fn judge(report: &Report) -> Vec<Judgement> {
    let of_case = |case: &Case| {
        let judged = |ringway| case.goals.iter().map(move |goal| judgement(report, case, ringway, goal));
        case.ringways().flat_map(judged).collect::<Vec<_>>()
    };
    report.cases.iter().flat_map(of_case).collect()
}

fn judgement(report: &Report, case: &Case, ringway: &Series, goal: &Goal) -> Judgement {
    let (at_most, what) = match goal.bound {
        Bound::AtMost(most) => (most, number(most)),
        Bound::TimesPeer(times, peer) => (times, format!("{times} x {peer}")),
        Bound::TimesBestPeer(times) => {
            let best = case.best_peer(goal.metric).map(|peer| format!(", {}", peer.proxy));
            (times, format!("{times} x the best peer{}", best.unwrap_or_default()))
        }
        Bound::TimesCase(times, other) => (times, format!("{times} x case {other}")),
    };
    let verdict = match figure(report, case, ringway, goal) {
        Ok(figure) if figure.median <= at_most => Verdict::Met { figure },
        Ok(figure) => Verdict::NotMet { figure },
        Err(reason) => Verdict::NotMeasurable { reason },
    };
    Judgement {
        case: case.name,
        proxy: ringway.proxy.clone(),
        metric: goal.metric.key(),
        goal: format!("{} at most {what}", goal.metric.title(case.unit)),
        at_most,
        is_multiple: !matches!(goal.bound, Bound::AtMost(_)),
        verdict,
    }
}

/// What the bound is about: the figure itself, or how many times another it is.
fn figure(report: &Report, case: &Case, ringway: &Series, goal: &Goal) -> Result<Spread, String> {
    let metric = goal.metric;
    let own =
        ringway.spread(metric).ok_or_else(|| format!("{} not measured here", metric.title(case.unit)))?;
    match goal.bound {
        Bound::AtMost(_) => Ok(own),
        Bound::TimesPeer(_, name) => {
            let peer = case.of(name).ok_or_else(|| format!("{name} did not run"))?;
            ringway.ratio(peer, metric).ok_or_else(|| format!("not measured for {name}"))
        }
        Bound::TimesBestPeer(_) => {
            let peer = case.best_peer(metric).ok_or("no peer ran")?;
            ringway.ratio(peer, metric).ok_or_else(|| format!("not measured for {}", peer.proxy))
        }
        Bound::TimesCase(_, name) => {
            let other = report.case(name).and_then(|case| case.of(&ringway.proxy));
            let other = other.ok_or_else(|| format!("case {name} did not run"))?.spread(metric);
            let other = other.ok_or_else(|| format!("not measured in case {name}"))?.median;
            // The rounds of different cases did not run side by side: all of them are held against one median.
            Ok(Spread { median: own.median / other, min: own.min / other, max: own.max / other })
        }
    }
}
