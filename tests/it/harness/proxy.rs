//! Runs the real binary on a configuration in a directory of its own.
//!
//! Dropped, it is told to drain and must then exit with 0: whatever a test did, once its clients have gone no exchange may
//! be left. Its log must not hold a panic.

use super::backend::Backend;
use super::client::{Address, Client};
use super::config::{Config, Driver};
use super::log::Log;
use super::{DEADLINE, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// The binary under test.
pub fn ringway() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ringway"))
}

/// A running proxy.
pub struct Proxy {
    child: Child,
    log: Log,
    addresses: Vec<Address>,
    directory: TempDir,
    ended: bool,
}

impl Proxy {
    /// Starts with one listener, and every path goes to `backend`.
    pub fn to(driver: Driver, backend: &Backend) -> Self {
        Proxy::start(&Config::to(driver, backend))
    }

    /// Starts with one file and waits until every worker serves.
    pub fn start(config: &Config) -> Self {
        Proxy::start_in(tempfile::tempdir().expect("a directory"), config)
    }

    /// Starts in a directory that the configuration names: for unix sockets and log files.
    pub fn start_in(directory: TempDir, config: &Config) -> Self {
        Proxy::start_with(directory, config, &[])
    }

    /// Starts in a directory and with these environment variables.
    pub fn start_with(directory: TempDir, config: &Config, variables: &[(&str, &str)]) -> Self {
        let path = directory.path().join("ringway.toml");
        std::fs::write(&path, config.text()).expect("the file is written");
        let mut command = ringway();
        command.arg("run").arg("--config").arg(&path).envs(variables.iter().copied());
        Proxy::run(directory, &mut command)
    }

    /// Starts `command`, which must come to listen and be ready.
    pub fn run(directory: TempDir, command: &mut Command) -> Self {
        let stdout = File::create(directory.path().join("stdout")).expect("a file for stdout");
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
        // A filter from outside must not hide the lines that are waited for.
        let mut child = command.env_remove("RINGWAY_LOG").spawn().expect("the binary starts");
        let log = Log::of(child.stderr.take().expect("a pipe"));
        let mut proxy = Proxy { child, log, addresses: Vec::new(), directory, ended: false };
        proxy.log.wait_for(0, "ready");
        proxy.addresses = listening(&proxy.log.text());
        proxy
    }

    /// The address of the first listener.
    pub fn address(&self) -> Address {
        self.addresses.first().expect("a listener").clone()
    }

    /// Every listener's address, in the order of the log.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// `http://address` of the first listener, with `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address().tcp())
    }

    /// A client connected to the first listener.
    pub fn client(&self) -> Client {
        Client::connect(&self.address())
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        std::fs::read_to_string(self.directory().join("stdout")).expect("a file for stdout")
    }

    /// The address of the listener that was last to be announced: after a reload, the new one.
    pub fn newest_address(&self) -> Address {
        listening(&self.log.text()).pop().expect("a listener")
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn config_path(&self) -> PathBuf {
        self.directory().join("ringway.toml")
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the proxy runs");
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().expect("a process id"))
    }

    /// Replaces the file, sends SIGHUP, and waits until the change is applied.
    pub fn reload(&self, config: &Config) {
        let mark = self.reload_text(&config.text());
        self.log.wait_for(mark, "applied revision");
    }

    /// Replaces the file and sends SIGHUP; gives the log's place before that.
    pub fn reload_text(&self, text: &str) -> usize {
        std::fs::write(self.config_path(), text).expect("the file is written");
        let mark = self.log.mark();
        self.signal(Signal::SIGHUP);
        mark
    }

    /// Open descriptors of the process.
    pub fn descriptors(&self) -> usize {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("the process runs");
        entries.count()
    }

    /// The first number above every open descriptor.
    pub fn descriptors_end(&self) -> usize {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("the process runs");
        let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<usize>().ok());
        numbers.max().map_or(0, |last| last + 1)
    }

    /// Waits until no more than `count` descriptors are open.
    pub fn wait_for_descriptors(&self, count: usize) {
        wait_until(&format!("at most {count} open descriptors"), || self.descriptors() <= count);
    }

    /// Memory of the process alone, in KiB: PSS.
    pub fn memory_kib(&self) -> u64 {
        self.memory_of("Pss:")
    }

    /// What it has allocated, in KiB: without the pages of its file, whose share changes as other tests' proxies come
    /// and go.
    pub fn anonymous_kib(&self) -> u64 {
        self.memory_of("Anonymous:")
    }

    fn memory_of(&self, kind: &str) -> u64 {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let text = std::fs::read_to_string(path).expect("the process runs");
        let line = text.lines().find_map(|line| line.strip_prefix(kind)).expect("a line of this kind");
        line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
    }

    /// The process has not ended.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Waits for the process to end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("a child") {
                self.ended = true;
                return status;
            }
            super::pause(std::time::Duration::from_millis(2));
        }
        panic!("the proxy did not end:\n{}", self.log.text());
    }

    /// Drains and asserts a clean end; gives the whole log.
    pub fn stop(&mut self) -> String {
        self.signal(Signal::SIGTERM);
        let status = self.wait();
        let log = self.log.wait_for_end();
        assert_eq!(status.code(), Some(0), "exit status after SIGTERM:\n{log}");
        assert!(!log.contains("panicked"), "{log}");
        assert!(!log.contains("connections cut"), "exchanges or tunnels were left:\n{log}");
        log
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if std::thread::panicking() {
            drop(self.child.kill());
            drop(self.child.wait());
            #[expect(clippy::print_stderr, reason = "the test harness shows it with the test that failed")]
            {
                eprintln!("the proxy's log:\n{}", self.log.text());
            }
            return;
        }
        self.stop();
    }
}

/// The addresses in `listening on …` lines.
fn listening(log: &str) -> Vec<Address> {
    let lines = log.lines().filter_map(|line| line.split_once("listening on ")).map(|(_, rest)| rest.trim());
    lines.map(|text| address(text.split_whitespace().next().unwrap_or(text))).collect()
}

fn address(text: &str) -> Address {
    match text.strip_prefix("unix:") {
        Some(path) => Address::Unix(path.into()),
        None => Address::Tcp(text.parse().unwrap_or_else(|_| panic!("no address: {text:?}"))),
    }
}
