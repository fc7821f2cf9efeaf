//! Instructions of a proxy's threads, by `perf_event_open`: in user mode and in the kernel apart.

use super::threads::Threads;
use crate::Outcome;
use perf_event::events::Hardware;
use perf_event::{Builder, Counter};
use std::fmt::{self, Display, Formatter};
use std::io;

/// Which counters this machine has for this user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Counters {
    /// Instructions in user mode and in the kernel.
    Instructions,
    /// Instructions in user mode; why not the kernel's.
    UserInstructions(String),
    /// CPU time alone; why there are no instructions.
    CpuTime(String),
}

impl Counters {
    /// Tries them on the calling thread.
    pub(crate) fn find() -> Self {
        match (open(0, Mode::User), open(0, Mode::Kernel)) {
            (Ok(_), Ok(_)) => Counters::Instructions,
            (Ok(_), Err(error)) => Counters::UserInstructions(error.to_string()),
            (Err(error), _) => Counters::CpuTime(error.to_string()),
        }
    }
}

impl Display for Counters {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Counters::Instructions => write!(out, "instructions (perf_event_open), CPU time (/proc)"),
            Counters::UserInstructions(why) => write!(
                out,
                "instructions in user mode (perf_event_open), CPU time (/proc); none of the kernel's: {why}"
            ),
            Counters::CpuTime(why) => {
                write!(out, "CPU time (/proc); no instructions, perf_event_open has no counter here: {why}")
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Mode {
    User,
    Kernel,
}

/// A counter that runs already. Threads that the observed one starts from now on are counted with it.
fn open(thread: i32, mode: Mode) -> io::Result<Counter> {
    let mut builder = Builder::new(Hardware::INSTRUCTIONS);
    match mode {
        Mode::User => builder.exclude_kernel(true),
        Mode::Kernel => builder.exclude_user(true).exclude_kernel(false),
    };
    builder.observe_pid(thread).any_cpu().inherit(true).enabled(true).build()
}

/// Counters on the threads of a proxy.
pub(super) struct Instructions {
    user: Vec<Counter>,
    /// Empty where the kernel does not let itself be counted.
    kernel: Vec<Counter>,
}

impl Instructions {
    /// Nothing where there are no counters.
    pub(super) fn attach(counters: &Counters, pids: &[u32], threads: Threads) -> Outcome<Option<Self>> {
        if matches!(counters, Counters::CpuTime(_)) {
            return Ok(None);
        }
        let mut attached = Instructions { user: Vec::new(), kernel: Vec::new() };
        let failed = |error| format!("no counter on a thread of {pids:?}: {error}");
        for (thread, _) in threads.of(pids)? {
            attached.user.push(open(thread, Mode::User).map_err(failed)?);
            if *counters == Counters::Instructions {
                attached.kernel.push(open(thread, Mode::Kernel).map_err(failed)?);
            }
        }
        Ok(Some(attached))
    }

    pub(super) fn read(&mut self) -> Outcome<Count> {
        let kernel = if self.kernel.is_empty() { None } else { Some(sum(&mut self.kernel)?) };
        Ok(Count { user: sum(&mut self.user)?, kernel })
    }
}

/// Where more is counted than the CPU has counters for, the kernel takes turns: a count is scaled to the whole time then.
fn sum(counters: &mut [Counter]) -> Outcome<f64> {
    let mut sum = 0.0;
    for counter in counters {
        let read =
            counter.read_count_and_time().map_err(|error| format!("a counter is not read: {error}"))?;
        if read.time_running > 0 {
            sum += read.count as f64 * read.time_enabled as f64 / read.time_running as f64;
        }
    }
    Ok(sum)
}

/// Instructions so far, or between two moments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count {
    pub(super) user: f64,
    pub(super) kernel: Option<f64>,
}

impl Count {
    pub(super) fn since(self, before: Count) -> Count {
        let kernel = self.kernel.zip(before.kernel).map(|(now, before)| now - before);
        Count { user: self.user - before.user, kernel }
    }
}
