//! The threads of a proxy, and the CPU time that they have used.

use crate::Outcome;
use std::fs;
use std::path::{Path, PathBuf};

/// Which threads of a proxy count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    All,
    /// Ringway's event loops alone, without the thread that compiles configurations.
    Workers,
}

impl Threads {
    /// The tasks of these processes, as numbers and as folders of `/proc`.
    pub(super) fn of(self, pids: &[u32]) -> Outcome<Vec<(i32, PathBuf)>> {
        let mut found = Vec::new();
        for pid in pids {
            let tasks = Path::new("/proc").join(pid.to_string()).join("task");
            let gone = |error| format!("process {pid} has ended: {error}");
            for task in fs::read_dir(&tasks).map_err(gone)? {
                let path = task.map_err(gone)?.path();
                let number = path.file_name().and_then(|name| name.to_str()?.parse().ok());
                found.extend(number.filter(|_| self.counts(&path)).map(|number| (number, path)));
            }
        }
        if found.is_empty() { Err(format!("no thread of {pids:?} counts")) } else { Ok(found) }
    }

    /// io_uring may have threads of its own, which work for the thread that owns the ring.
    fn counts(self, task: &Path) -> bool {
        let name = || fs::read_to_string(task.join("comm")).unwrap_or_default();
        self == Threads::All || ["worker-", "iou-wrk"].iter().any(|prefix| name().starts_with(prefix))
    }
}

/// What threads have used since they started, or between two moments.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct CpuTime {
    /// To the nanosecond.
    pub(crate) total_ns: u64,
    /// In clock ticks (10 ms mostly): good for the ratio of the two, and for nothing finer.
    user_ticks: u64,
    system_ticks: u64,
}

impl CpuTime {
    /// Reads `/proc/PID/task/*/schedstat` and `stat`. Threads that have ended are not in the total.
    pub(super) fn of(pids: &[u32], threads: Threads) -> Outcome<Self> {
        let mut sum = CpuTime::default();
        for (_, task) in threads.of(pids)? {
            let CpuTime { total_ns, user_ticks, system_ticks } = of_thread(&task).unwrap_or_default();
            sum.total_ns += total_ns;
            sum.user_ticks += user_ticks;
            sum.system_ticks += system_ticks;
        }
        Ok(sum)
    }

    pub(super) fn since(self, before: CpuTime) -> CpuTime {
        CpuTime {
            total_ns: self.total_ns.saturating_sub(before.total_ns),
            user_ticks: self.user_ticks.saturating_sub(before.user_ticks),
            system_ticks: self.system_ticks.saturating_sub(before.system_ticks),
        }
    }

    /// The part of the total that was spent in the program itself and not in the kernel for it; nothing after so short
    /// a time that no tick fell into it.
    pub(super) fn user_share(self) -> Option<f64> {
        let ticks = self.user_ticks + self.system_ticks;
        (ticks > 0).then(|| self.user_ticks as f64 / ticks as f64)
    }
}

fn of_thread(task: &Path) -> Option<CpuTime> {
    // The first field: time spent on a CPU, in nanoseconds.
    let total_ns =
        fs::read_to_string(task.join("schedstat")).ok()?.split_whitespace().next()?.parse().ok()?;
    let stat = fs::read_to_string(task.join("stat")).ok()?;
    // The name, in parentheses, may hold spaces. After it: the state (field 3), ..., utime (14), stime (15); proc(5).
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse().ok();
    Some(CpuTime { total_ns, user_ticks: ticks()?, system_ticks: ticks()? })
}
