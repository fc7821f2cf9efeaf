//! Samples into medians, ranges and ratios; what metrics are called.

use crate::model::{Metric, Sample};
use serde::Serialize;

/// The samples of one proxy in one case, in rounds.
pub(super) struct Series {
    pub(super) proxy: String,
    pub(super) samples: Vec<Sample>,
}

/// Where the middle of several values lies, and how far they reach.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Series {
    pub(super) fn is_ringway(&self) -> bool {
        self.proxy.starts_with("ringway")
    }

    /// This figure of each round that has it.
    pub(super) fn values(&self, metric: Metric) -> Vec<f64> {
        self.rounds(metric).flatten().collect()
    }

    pub(super) fn spread(&self, metric: Metric) -> Option<Spread> {
        Spread::of(self.values(metric))
    }

    /// This figure as a multiple of the other's in the same round; without rounds in which the other's is nothing.
    pub(super) fn ratio(&self, other: &Series, metric: Metric) -> Option<Spread> {
        let rounds = self.rounds(metric).zip(other.rounds(metric));
        let ratios =
            rounds.filter_map(|(ours, theirs)| Some(ours? / theirs.filter(|&theirs| theirs != 0.0)?));
        Spread::of(ratios.collect())
    }

    fn rounds(&self, metric: Metric) -> impl Iterator<Item = Option<f64>> {
        let figure =
            move |sample: &Sample| sample.iter().find(|(found, _)| *found == metric).map(|(_, value)| *value);
        self.samples.iter().map(figure)
    }
}

impl Spread {
    /// `None` of no values.
    pub(super) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let upper = values[values.len() / 2];
        let lower = values[(values.len() - 1) / 2];
        Some(Spread { median: (lower + upper) / 2.0, min, max })
    }

    /// Both ends, as text.
    pub(super) fn range(self) -> String {
        format!("{} to {}", number(self.min), number(self.max))
    }
}

impl Metric {
    /// In tables, with its unit; `work` is what the case counts in.
    pub(super) fn title(self, work: &str) -> String {
        match self {
            Metric::Instructions => "instructions".into(),
            Metric::UserInstructions => "user instructions".into(),
            Metric::KernelInstructions => "kernel instructions".into(),
            Metric::CpuTime => "CPU us".into(),
            Metric::UserTime => "user us".into(),
            Metric::SystemTime => "system us".into(),
            Metric::Rate => format!("{}/s", plural(work)),
            Metric::Busy => "CPU busy %".into(),
            Metric::P50 => "p50 us".into(),
            Metric::P99 => "p99 us".into(),
            Metric::P999 => "p99.9 us".into(),
            Metric::Slowest => "slowest us".into(),
            Metric::BytesPerConnection => "bytes/connection".into(),
            Metric::ResidentLeft => "resident left KiB".into(),
            Metric::FirstResponse => "first response ms".into(),
        }
    }

    /// In a sentence.
    pub(super) fn words(self, work: &str) -> String {
        match self {
            Metric::Instructions => format!("instructions per {work}"),
            Metric::UserInstructions => format!("user instructions per {work}"),
            Metric::KernelInstructions => format!("kernel instructions per {work}"),
            Metric::CpuTime => format!("CPU time per {work}, µs"),
            Metric::UserTime => format!("user time per {work}, µs"),
            Metric::SystemTime => format!("system time per {work}, µs"),
            Metric::Rate => format!("{} per second", plural(work)),
            Metric::Busy => "CPU in use, %".into(),
            Metric::P50 => "median latency, µs".into(),
            Metric::P99 => "99th percentile of latency, µs".into(),
            Metric::P999 => "99.9th percentile of latency, µs".into(),
            Metric::Slowest => "longest latency, µs".into(),
            Metric::BytesPerConnection => "bytes of memory per connection".into(),
            Metric::ResidentLeft => "memory kept afterwards, KiB".into(),
            Metric::FirstResponse => "start to first response, ms".into(),
        }
    }

    /// Its name in the JSON file, with the unit.
    pub(super) fn key(self) -> &'static str {
        match self {
            Metric::Instructions => "instructions",
            Metric::UserInstructions => "user_instructions",
            Metric::KernelInstructions => "kernel_instructions",
            Metric::CpuTime => "cpu_time_us",
            Metric::UserTime => "user_time_us",
            Metric::SystemTime => "system_time_us",
            Metric::Rate => "per_second",
            Metric::Busy => "busy_percent",
            Metric::P50 => "p50_us",
            Metric::P99 => "p99_us",
            Metric::P999 => "p999_us",
            Metric::Slowest => "slowest_us",
            Metric::BytesPerConnection => "bytes_per_connection",
            Metric::ResidentLeft => "resident_left_kib",
            Metric::FirstResponse => "first_response_ms",
        }
    }

    /// Whether one proxy's figure as a multiple of another's says something. The parts of the CPU time come from clock
    /// ticks: a round has few of them.
    pub(super) fn is_comparable(self) -> bool {
        !matches!(self, Metric::UserTime | Metric::SystemTime | Metric::Busy | Metric::ResidentLeft)
    }
}

fn plural(work: &str) -> String {
    work.strip_suffix('y').map_or_else(|| format!("{work}s"), |stem| format!("{stem}ies"))
}

/// With three digits that count, or all that stand before the point, in groups of three.
pub(super) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        0.0..9.995 => 2,
        9.995..99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    let digits = text.find('.').unwrap_or(text.len());
    let mut grouped = String::new();
    for (index, character) in text.char_indices() {
        let left = digits.saturating_sub(index);
        if left > 0 && left % 3 == 0 && grouped.ends_with(|last: char| last.is_ascii_digit()) {
            grouped.push(',');
        }
        grouped.push(character);
    }
    grouped
}
