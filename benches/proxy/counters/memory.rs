//! How much memory a proxy holds, and how many descriptors.

use crate::Outcome;
use std::fs;
use std::path::{Path, PathBuf};

/// The memory of all processes of a proxy, in KiB.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Memory {
    /// Pages in RAM, those that are shared with other processes too.
    pub(crate) resident_kib: u64,
    /// Pages in RAM, each divided by the number of processes that share it.
    pub(crate) proportional_kib: u64,
}

impl Memory {
    /// Reads `/proc/PID/smaps_rollup`.
    pub(crate) fn of(pids: &[u32]) -> Outcome<Self> {
        let mut sum = Memory::default();
        for &pid in pids {
            let path = folder(pid).join("smaps_rollup");
            let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            let kib = |name| field(&text, name).ok_or_else(|| format!("{} has no {name}", path.display()));
            sum.resident_kib += kib("Rss:")?;
            sum.proportional_kib += kib("Pss:")?;
        }
        Ok(sum)
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// How many descriptors these processes have open: a connection that has ended is no longer among them.
pub(crate) fn descriptors(pids: &[u32]) -> Outcome<usize> {
    let count = |&pid| fs::read_dir(folder(pid).join("fd")).map(Iterator::count);
    let counts: Result<Vec<usize>, _> = pids.iter().map(count).collect();
    counts.map(|counts| counts.iter().sum()).map_err(|error| format!("descriptors of {pids:?}: {error}"))
}

fn folder(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}
