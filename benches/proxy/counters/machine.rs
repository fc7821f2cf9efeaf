//! What the figures of a run were taken on: they mean nothing without it.

use super::cpus;
use super::instructions::Counters;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// The machine of a run.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// When the run started: a date in UTC, as 2026-07-14.
    pub(crate) date: String,
    /// The release of the kernel.
    pub(crate) kernel: String,
    /// The CPU's model.
    pub(crate) cpu: String,
    /// How many CPUs the run may use. With one, load and proxy share it, and no figure but CPU time means much.
    pub(crate) cpus: usize,
    /// Whether the CPU says that it is a virtual one.
    pub(crate) is_virtual: bool,
    /// What is counted, and why not more.
    pub(crate) counters: Counters,
}

impl Machine {
    /// This one. To be asked before anything is pinned.
    pub(crate) fn this() -> Self {
        let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| cpu_info.lines().find(|line| line.starts_with(name))?.split_once(": ");
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Machine {
            date: date(),
            kernel: kernel.trim().to_owned(),
            cpu: field("model name").map_or("of an unknown model", |(_, name)| name.trim()).to_owned(),
            cpus: cpus::affinity().map_or(1, |cpus| cpus.len()),
            is_virtual: field("flags").is_some_and(|(_, flags)| flags.contains(" hypervisor")),
            counters: Counters::find(),
        }
    }
}

impl Display for Machine {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Machine { date, kernel, cpu, cpus, counters, .. } = self;
        let kind = if self.is_virtual { "a virtual machine with " } else { "" };
        let place = if *cpus == 1 { "; load and proxy share it" } else { "" };
        writeln!(out, "{date}, Linux {kernel}, {kind}{cpus} CPU(s), {cpu}{place}")?;
        write!(out, "counted: {counters}")
    }
}

fn date() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The date so many days after 1970-01-01. Years are taken to begin in March, so that a leap day ends one.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}
