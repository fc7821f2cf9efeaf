//! What a stretch of work costs a proxy.

use super::instructions::{Count, Counters, Instructions};
use super::threads::{CpuTime, Threads};
use crate::Outcome;
use crate::model::{Metric, Sample};
use std::time::Duration;

/// Counts what the threads of a proxy do from its attaching on.
pub(crate) struct Meter {
    pids: Vec<u32>,
    threads: Threads,
    instructions: Option<Instructions>,
    cpu_time: CpuTime,
    count: Option<Count>,
}

impl Meter {
    pub(crate) fn attach(counters: &Counters, pids: Vec<u32>, threads: Threads) -> Outcome<Self> {
        let mut instructions = Instructions::attach(counters, &pids, threads)?;
        let count = instructions.as_mut().map(Instructions::read).transpose()?;
        let cpu_time = CpuTime::of(&pids, threads)?;
        Ok(Meter { pids, threads, instructions, cpu_time, count })
    }

    /// What `units` of work that took `elapsed` have cost.
    pub(crate) fn finish(mut self, units: u64, elapsed: Duration) -> Outcome<Sample> {
        let cpu_time = CpuTime::of(&self.pids, self.threads)?.since(self.cpu_time);
        let count = self.instructions.as_mut().map(Instructions::read).transpose()?;
        let each = |sum: f64| sum / units.max(1) as f64;
        let mut sample = Sample::new();
        if let Some((now, before)) = count.zip(self.count) {
            let Count { user, kernel } = now.since(before);
            sample.extend(kernel.map(|kernel| (Metric::Instructions, each(user + kernel))));
            sample.push((Metric::UserInstructions, each(user)));
            sample.extend(kernel.map(|kernel| (Metric::KernelInstructions, each(kernel))));
        }
        let micros = each(cpu_time.total_ns as f64 / 1_000.0);
        sample.push((Metric::CpuTime, micros));
        if let Some(user) = cpu_time.user_share() {
            sample.push((Metric::UserTime, micros * user));
            sample.push((Metric::SystemTime, micros * (1.0 - user)));
        }
        sample.push((Metric::Rate, units as f64 / elapsed.as_secs_f64()));
        sample.push((Metric::Busy, cpu_time.total_ns as f64 / elapsed.as_nanos() as f64 * 100.0));
        Ok(sample)
    }
}
