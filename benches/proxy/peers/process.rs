//! A program that runs, its configuration, its log, and all that it started.

use super::config;
use crate::Outcome;
use crate::work;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(1);

/// A running program; killed, with all that it started, when dropped.
pub(super) struct Process {
    child: Child,
    started: Instant,
    /// Where it runs, with its configuration and logs.
    folder: TempDir,
}

impl Process {
    /// Runs `command`, with the path of a file that holds `configuration` as its last argument.
    pub(super) fn start(mut command: Command, configuration: &str) -> Outcome<Self> {
        Process::try_start(&mut command, configuration)
            .map_err(|error| format!("{}: {error}", command.get_program().display()))
    }

    fn try_start(command: &mut Command, configuration: &str) -> io::Result<Self> {
        let folder = TempDir::new()?;
        let served = folder.path().join(config::FOLDER).join(work::FILE);
        fs::create_dir_all(served.parent().unwrap_or(folder.path()))?;
        fs::write(served, work::file())?;
        let file = folder.path().join(config::FILE);
        fs::write(&file, configuration)?;
        command.arg(&file).current_dir(folder.path()).stdin(Stdio::null());
        // Caddy keeps its things below these two; nothing is to be written elsewhere.
        command.env("HOME", folder.path()).env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME");
        command.stdout(File::create(folder.path().join("output"))?);
        command.stderr(File::create(folder.path().join("log"))?);
        let started = Instant::now();
        Ok(Process { child: command.spawn()?, started, folder })
    }

    /// The moment just before the program was executed.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Writes the file that it was started with anew.
    pub(super) fn configure(&self, configuration: &str) -> io::Result<()> {
        fs::write(self.path(config::FILE), configuration)
    }

    /// What it has written to standard error.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(super) fn signal(&self, signal: Signal) -> Outcome<()> {
        kill(pid(self.child.id()), signal).map_err(|error| format!("{signal} cannot be sent: {error}"))
    }

    /// The process, and those that it started and they started.
    pub(super) fn pids(&self) -> Vec<u32> {
        let mut pids = vec![self.child.id()];
        let mut next = 0;
        while let Some(&pid) = pids.get(next) {
            pids.extend(children(pid));
            next += 1;
        }
        pids
    }

    /// Waits until `found`, which looks at the log, finds something. An error when the program ends before, or after
    /// `patience`.
    pub(super) fn wait_until<T>(
        &mut self,
        patience: Duration,
        found: impl Fn(&str) -> Option<T>,
    ) -> Outcome<T> {
        let deadline = Instant::now() + patience;
        loop {
            let log = self.log();
            if let Some(value) = found(&log) {
                return Ok(value);
            }
            if self.has_ended() {
                return Err(format!("it ended:\n{}", self.log()));
            }
            if Instant::now() > deadline {
                return Err(format!("it is not ready after {patience:?}:\n{log}"));
            }
            pause();
        }
    }

    /// Asks it to end with SIGTERM, and waits until it has; gives the log.
    pub(super) fn stop(&mut self, patience: Duration) -> Outcome<String> {
        self.signal(Signal::SIGTERM)?;
        let deadline = Instant::now() + patience;
        while !self.has_ended() {
            if Instant::now() > deadline {
                return Err(format!("it still runs {patience:?} after SIGTERM:\n{}", self.log()));
            }
            pause();
        }
        Ok(self.log())
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Of a process that has ended and been waited for, the number may be another's.
        if !self.has_ended() {
            for number in self.pids() {
                // One that has ended by itself meanwhile is what is wanted.
                let _ = kill(pid(number), Signal::SIGKILL);
            }
            drop(self.child.wait());
        }
    }
}

/// Linux has no process numbers past 2^22.
fn pid(number: u32) -> Pid {
    Pid::from_raw(number.cast_signed())
}

/// What the threads of a process have started, where the kernel tells; none of a process that has ended.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let numbers =
        |list: String| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>();
    lists.flat_map(numbers).collect()
}

fn pause() {
    #[expect(clippy::disallowed_methods, reason = "between two looks, until a deadline")]
    std::thread::sleep(LOOK);
}
