//! CPUs to pin to, and the CPU time that a process has used.

use crate::Outcome;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::fs;
use std::path::Path;

/// The calling thread, to the scheduler's calls.
const THIS_THREAD: Pid = Pid::from_raw(0);

/// Who runs where.
#[derive(Clone, Copy)]
pub(crate) struct Cpus {
    /// The proxies, one at a time.
    pub(crate) proxy: usize,
    /// The backend and the load. The same CPU where there is only one.
    pub(crate) load: usize,
}

impl Cpus {
    /// The first and the second CPU of this process's affinity.
    pub(crate) fn of_this_process() -> Outcome<Self> {
        let set = sched_getaffinity(THIS_THREAD).map_err(|error| format!("no CPU affinity: {error}"))?;
        let mut cpus = (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false));
        let proxy = cpus.next().ok_or("an empty CPU affinity")?;
        Ok(Cpus { proxy, load: cpus.next().unwrap_or(proxy) })
    }
}

/// Pins the calling thread. Threads and processes that it starts from then on inherit that.
pub(crate) fn pin(cpu: usize) -> Outcome<()> {
    let mut set = CpuSet::new();
    let pinned = set.set(cpu).and_then(|()| sched_setaffinity(THIS_THREAD, &set));
    pinned.map_err(|error| format!("CPU {cpu} cannot be pinned to: {error}"))
}

/// What a process has used since it started, or between two moments.
#[derive(Clone, Copy)]
pub(crate) struct CpuTime {
    /// All threads, to the nanosecond.
    pub(crate) total_ns: u64,
    /// In clock ticks (10 ms mostly): good for the ratio of the two, and for nothing finer.
    user_ticks: u64,
    system_ticks: u64,
}

impl CpuTime {
    /// Reads `/proc/PID/task/*/schedstat` and `/proc/PID/stat`. Threads that have ended are not in the total.
    pub(crate) fn of(pid: u32) -> Outcome<Self> {
        read(&Path::new("/proc").join(pid.to_string())).ok_or_else(|| format!("no CPU time of process {pid}"))
    }

    pub(crate) fn since(self, before: CpuTime) -> CpuTime {
        CpuTime {
            total_ns: self.total_ns.saturating_sub(before.total_ns),
            user_ticks: self.user_ticks - before.user_ticks,
            system_ticks: self.system_ticks - before.system_ticks,
        }
    }

    /// The part of the total that was spent in the program itself and not in the kernel for it.
    pub(crate) fn user_share(self) -> f64 {
        self.user_ticks as f64 / (self.user_ticks + self.system_ticks).max(1) as f64
    }
}

fn read(process: &Path) -> Option<CpuTime> {
    let mut total_ns = 0;
    for thread in fs::read_dir(process.join("task")).ok()? {
        total_ns += thread_ns(&thread.ok()?.path()).unwrap_or(0);
    }
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    // The name, in parentheses, may hold spaces. After it: the state (field 3), ..., utime (14), stime (15); proc(5).
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse().ok();
    Some(CpuTime { total_ns, user_ticks: ticks()?, system_ticks: ticks()? })
}

/// The first field: time spent on a CPU, in nanoseconds.
fn thread_ns(thread: &Path) -> Option<u64> {
    fs::read_to_string(thread.join("schedstat")).ok()?.split_whitespace().next()?.parse().ok()
}
