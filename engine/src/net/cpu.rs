//! The CPUs that this process may use: its affinity, and its control group's quota.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Where control groups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// The CPUs of this process's affinity, in ascending order; CPU 0 when the system does not say.
pub(crate) fn affinity() -> Vec<usize> {
    let this_process = Pid::from_raw(0);
    let cpus: Vec<_> = match sched_getaffinity(this_process) {
        Ok(set) => (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).collect(),
        Err(_) => Vec::new(),
    };
    if cpus.is_empty() { vec![0] } else { cpus }
}

/// Pins the calling thread to a CPU.
///
/// # Errors
/// The system's.
pub(crate) fn pin(cpu: usize) -> nix::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

/// How many CPUs the tightest quota of this process's control groups comes to, rounded up; `None` without a quota.
pub(crate) fn quota() -> Option<NonZeroUsize> {
    let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
    let quotas =
        membership.lines().filter_map(group_of).flat_map(|(root, group)| quotas_above(&root, &group));
    quotas.min()
}

/// A line of `/proc/self/cgroup` as the mount point of the hierarchy that rules CPU time and the group in it.
fn group_of(line: &str) -> Option<(PathBuf, PathBuf)> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, group) = (parts.next()?, parts.next()?.trim_start_matches('/'));
    let root = match controllers {
        "" => PathBuf::from(CGROUPS),
        list if list.split(',').any(|name| name == "cpu") => Path::new(CGROUPS).join(list),
        _ => return None,
    };
    Some((root, PathBuf::from(group)))
}

/// The quotas of a group and of all above it: each of them binds.
fn quotas_above(root: &Path, group: &Path) -> Vec<NonZeroUsize> {
    group.ancestors().filter_map(|group| quota_of(&root.join(group))).collect()
}

fn quota_of(folder: &Path) -> Option<NonZeroUsize> {
    let read = |file| fs::read_to_string(folder.join(file)).ok();
    match read("cpu.max") {
        Some(text) => {
            let (quota, period) = text.trim().split_once(' ')?;
            cpus(quota, period)
        }
        None => cpus(&read("cpu.cfs_quota_us")?, &read("cpu.cfs_period_us")?),
    }
}

/// `quota` of each `period` (both microseconds) as whole CPUs; `max` and `-1` mean none.
fn cpus(quota: &str, period: &str) -> Option<NonZeroUsize> {
    let (quota, period): (usize, usize) = (quota.trim().parse().ok()?, period.trim().parse().ok()?);
    NonZeroUsize::new(quota.checked_add(period - 1)?.checked_div(period)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_round_up() {
        assert_eq!(cpus("150000", "100000"), NonZeroUsize::new(2));
        assert_eq!(cpus("100000", "100000\n"), NonZeroUsize::new(1));
        assert_eq!(cpus("max", "100000"), None);
        assert_eq!(cpus("-1", "100000"), None);
    }

    #[test]
    fn both_hierarchies_are_read() {
        assert_eq!(group_of("0::/a/b"), Some(("/sys/fs/cgroup".into(), "a/b".into())));
        assert_eq!(group_of("4:cpu,cpuacct:/x"), Some(("/sys/fs/cgroup/cpu,cpuacct".into(), "x".into())));
        assert_eq!(group_of("5:memory:/x"), None);
    }

    #[test]
    fn there_is_a_cpu_to_run_on() {
        assert!(!affinity().is_empty());
    }
}
