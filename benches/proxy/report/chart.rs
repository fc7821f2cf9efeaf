//! The main figures as a picture: what a small request costs each proxy, and below it each other case, as multiples of
//! the best peer's figure.

use super::figures::{Series, Spread, number};
use super::svg::{Anchor, Canvas};
use super::{Case, Report, Version};
use crate::model::{Bound, Metric};
use std::iter::repeat;

const WIDTH: f64 = 880.0;
const MARGIN: f64 = 28.0;
/// The case that is shown large.
const FIRST: &str = "get";

const OTHERS: &str =
    "Other work, as multiples of the best peer's figure, or of what is named; less is better";

/// The large panel: the names' width, and what is kept free for the values.
const NAMES: f64 = 120.0;
const VALUES: f64 = 170.0;
const ROW: f64 = 26.0;

/// The small panels.
const ACROSS: usize = 3;
const GAP: f64 = 26.0;
const SMALL_NAMES: f64 = 98.0;
const SMALL_VALUES: f64 = 36.0;
const SMALL_ROW: f64 = 17.0;
/// Multiples past this one are cut off; their values are written beside them.
const MULTIPLE_MAX: f64 = 2.0;

const LINE: f64 = 15.0;

/// Characters that fit on a line of the caption, and on one over a small panel.
const CAPTION_CHARACTERS: usize = 135;
const TITLE_CHARACTERS: usize = 44;

/// One small panel.
struct Panel<'a> {
    case: &'a Case,
    metric: Metric,
    /// What 1 means.
    one: String,
    bars: Vec<(&'a Series, f64)>,
}

impl Panel<'_> {
    /// What stands above the bars.
    fn lines(&self) -> Vec<String> {
        let Panel { case, metric, one, .. } = self;
        let title = wrapped(case.title, TITLE_CHARACTERS);
        let figure = format!("{}; {one}", metric.words(case.unit));
        [vec![case.name.to_owned()], title, vec![figure]].concat()
    }
}

pub(super) fn draw(report: &Report) -> String {
    let mut canvas = Canvas::new(WIDTH);
    let mut y = MARGIN + 12.0;
    canvas.text(MARGIN, y, Anchor::Start, "title", "Ringway beside other reverse proxies");
    if let Some(case) = report.case(FIRST)
        && let Some(metric) = case.main_metric()
    {
        y = large(&mut canvas, y + 24.0, case, metric);
    }
    let panels: Vec<Panel<'_>> = report.cases.iter().filter_map(|case| panel(report, case)).collect();
    if !panels.is_empty() {
        y += 34.0;
        canvas.text(MARGIN, y, Anchor::Start, "heading", OTHERS);
        y += 12.0;
    }
    for row in panels.chunks(ACROSS) {
        let bars = row.iter().map(|panel| panel.bars.len()).max().unwrap_or(0);
        let above = row.iter().map(|panel| panel.lines().len()).max().unwrap_or(0) as f64 * LINE;
        for (panel, column) in row.iter().zip([0.0, 1.0, 2.0]) {
            small(&mut canvas, MARGIN + column * (small_width() + GAP), y, above, panel);
        }
        y += above + bars as f64 * SMALL_ROW + 30.0;
    }
    for line in caption(report) {
        y += 16.0;
        canvas.text(MARGIN, y, Anchor::Start, "faint", &line);
    }
    canvas.finish(
        y + MARGIN - 8.0,
        "Ringway beside other reverse proxies: what each of them needs for the same work",
    )
}

/// A bar for each proxy, with a line from its least to its greatest round; gives where it ends.
fn large(canvas: &mut Canvas, mut y: f64, case: &Case, metric: Metric) -> f64 {
    let rows: Vec<(&Series, Spread)> =
        case.series.iter().filter_map(|series| Some((series, series.spread(metric)?))).collect();
    let greatest = rows.iter().map(|(_, spread)| spread.max).fold(f64::MIN_POSITIVE, f64::max);
    let heading = format!("{}: {}; less is better", case.title, metric.words(case.unit));
    canvas.text(MARGIN, y, Anchor::Start, "heading", &heading);
    y += 10.0;
    let left = MARGIN + NAMES;
    let length = |value: f64| value / greatest * (WIDTH - left - VALUES);
    for (series, spread) in rows {
        let middle = y + ROW / 2.0;
        canvas.text(left - 10.0, middle + 4.0, Anchor::End, "", &series.proxy);
        canvas.bar(left, y + 4.0, length(spread.median), ROW - 8.0, class(series));
        canvas.line((left + length(spread.min), middle), (left + length(spread.max), middle), "range");
        let value = format!("{} ({})", number(spread.median), spread.range());
        canvas.text(left + length(spread.max) + 8.0, middle + 4.0, Anchor::Start, "", &value);
        y += ROW;
    }
    y
}

/// What a case shows below the large panel; `None` when there is nothing to hold its figure against.
fn panel<'a>(report: &'a Report, case: &'a Case) -> Option<Panel<'a>> {
    let metric = case.main_metric().filter(|_| case.name != FIRST)?;
    let (one, multiples): (String, Vec<_>) = if let Some(best) = case.best_peer(metric) {
        let multiple = |series: &'a Series| Some((series, series.ratio(best, metric)?.median));
        (format!("1 = {}", best.proxy), case.series.iter().filter_map(multiple).collect())
    } else {
        let bound = case.goals.iter().find(|goal| goal.metric == metric)?.bound;
        let multiple = |series: &'a Series| {
            let other = match bound {
                Bound::AtMost(most) => most,
                Bound::TimesCase(_, name) => report.case(name)?.of(&series.proxy)?.spread(metric)?.median,
                Bound::TimesPeer(..) | Bound::TimesBestPeer(_) => return None,
            };
            Some((series, series.spread(metric)?.median / other))
        };
        let one = match bound {
            Bound::TimesCase(_, name) => format!("1 = case {name}"),
            Bound::AtMost(most) => format!("1 = the goal, {}", number(most)),
            Bound::TimesPeer(..) | Bound::TimesBestPeer(_) => return None,
        };
        (one, case.series.iter().filter_map(multiple).collect())
    };
    (!multiples.is_empty()).then_some(Panel { case, metric, one, bars: multiples })
}

/// Draws a panel from `y` down, its bars from `above` below that.
fn small(canvas: &mut Canvas, x: f64, y: f64, above: f64, panel: &Panel<'_>) {
    let mut baseline = y + LINE;
    for (line, class) in panel.lines().iter().zip(["heading"].into_iter().chain(repeat("faint"))) {
        canvas.text(x, baseline, Anchor::Start, class, line);
        baseline += LINE;
    }
    let left = x + SMALL_NAMES;
    let length = |multiple: f64| {
        multiple.min(MULTIPLE_MAX) / MULTIPLE_MAX * (small_width() - SMALL_NAMES - SMALL_VALUES)
    };
    let mut top = y + above + 8.0;
    canvas.line(
        (left + length(1.0), top),
        (left + length(1.0), top + panel.bars.len() as f64 * SMALL_ROW + 2.0),
        "one",
    );
    for (series, multiple) in &panel.bars {
        let baseline = top + SMALL_ROW - 5.0;
        canvas.text(left - 8.0, baseline, Anchor::End, "faint", &series.proxy);
        canvas.bar(left, top + 2.0, length(*multiple), SMALL_ROW - 4.0, class(series));
        canvas.text(x + small_width(), baseline, Anchor::End, "faint", &format!("{multiple:.2}"));
        top += SMALL_ROW;
    }
}

fn small_width() -> f64 {
    (WIDTH - 2.0 * MARGIN - (ACROSS - 1) as f64 * GAP) / ACROSS as f64
}

fn class(series: &Series) -> &'static str {
    if series.is_ringway() { "ringway" } else { "peer" }
}

/// When, on what and with what.
fn caption(report: &Report) -> Vec<String> {
    let versions: Vec<_> = report.versions.iter().map(Version::text).collect();
    let machine = report.machine.to_string();
    let rounds = format!(
        "{}; one worker each. {}, alternating between the proxies: bars are medians, lines reach from the least to the \
         greatest round, and multiples are cut off at {MULTIPLE_MAX}.",
        versions.join(", "),
        report.manner()
    );
    machine.lines().chain([rounds.as_str()]).flat_map(|line| wrapped(line, CAPTION_CHARACTERS)).collect()
}

/// Lines of whole words, of at most so many characters.
fn wrapped(text: &str, characters: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= characters => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
