//! CPUs to pin to.

use crate::Outcome;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

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
        let mut cpus = affinity()?.into_iter();
        let proxy = cpus.next().ok_or("an empty CPU affinity")?;
        Ok(Cpus { proxy, load: cpus.next().unwrap_or(proxy) })
    }
}

/// The CPUs that the calling thread may run on.
pub(crate) fn affinity() -> Outcome<Vec<usize>> {
    let set = sched_getaffinity(THIS_THREAD).map_err(|error| format!("no CPU affinity: {error}"))?;
    Ok((0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).collect())
}

/// Pins the calling thread. Threads and processes that it starts from then on inherit that.
pub(crate) fn pin(cpu: usize) -> Outcome<()> {
    let mut set = CpuSet::new();
    let pinned = set.set(cpu).and_then(|()| sched_setaffinity(THIS_THREAD, &set));
    pinned.map_err(|error| format!("CPU {cpu} cannot be pinned to: {error}"))
}
