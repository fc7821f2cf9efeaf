//! The proxies under load, as processes, each with a configuration that asks the same of it: one worker, HTTP/1.1 and
//! keep-alive on both sides, the forwarded fields that Ringway sets.
//!
//! * `config.rs`: what each is configured with; the peers' templates, with their reasons, are in `benches/peers/`
//! * `process.rs`: a program that runs, its log, and all that it started

mod config;
mod process;

use crate::Outcome;
use crate::model::Setting;
use crate::options::{Driver, PeerKind};
use nix::sys::signal::Signal;
use process::Process;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a proxy may take to serve, to apply a configuration, or to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same under Valgrind.
const PATIENCE_WITH_VALGRIND: Duration = Duration::from_secs(60);

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ringway(Driver),
    Peer(PeerKind),
}

impl Kind {
    /// In the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Ringway(Driver::IoUring) => "ringway io_uring",
            Kind::Ringway(Driver::Epoll) => "ringway epoll",
            Kind::Peer(peer) => peer.name(),
        }
    }

    /// As the program tells it; `None` when it does not.
    pub(crate) fn version(self) -> Option<String> {
        let Kind::Peer(peer) = self else { return Some(env!("CARGO_PKG_VERSION").to_owned()) };
        let argument = match peer {
            PeerKind::Nginx | PeerKind::Haproxy => "-v",
            PeerKind::Envoy => "--version",
            PeerKind::Caddy => "version",
        };
        let output = Command::new(peer.name()).arg(argument).output().ok()?;
        // nginx tells it on standard error.
        version_in(&String::from_utf8_lossy(&[output.stdout, output.stderr].concat()))
    }
}

/// The first numbers with dots between them.
fn version_in(text: &str) -> Option<String> {
    let mut words = text.split(|c: char| !c.is_ascii_digit() && c != '.').map(|word| word.trim_matches('.'));
    words.find(|word| word.contains('.')).map(str::to_owned)
}

/// What a proxy runs under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrapper {
    None,
    /// Cachegrind, which counts instructions in user mode; its sum stands in what [`Proxy::stop`] gives.
    Valgrind,
}

impl Wrapper {
    /// Why it cannot run this proxy; `None` when it can.
    pub(crate) fn problem_with(self, kind: Kind) -> Option<&'static str> {
        match kind {
            _ if self == Wrapper::None => None,
            Kind::Ringway(Driver::Epoll) | Kind::Peer(PeerKind::Nginx | PeerKind::Haproxy) => None,
            // Seen with Valgrind 3.19: a start takes minutes, or does not end.
            Kind::Ringway(Driver::IoUring) => {
                Some("Valgrind lets no other thread run while one waits in io_uring_enter")
            }
            Kind::Peer(PeerKind::Envoy | PeerKind::Caddy) => {
                Some("of the peers, nginx and HAProxy alone are run under Valgrind")
            }
        }
    }

    fn command(self, program: &str) -> Command {
        match self {
            Wrapper::None => Command::new(program),
            Wrapper::Valgrind => {
                let mut command = Command::new("valgrind");
                command.args([
                    "--tool=cachegrind",
                    "--cache-sim=no",
                    "--cachegrind-out-file=/dev/null",
                    program,
                ]);
                command
            }
        }
    }

    fn patience(self) -> Duration {
        match self {
            Wrapper::None => PATIENCE,
            Wrapper::Valgrind => PATIENCE_WITH_VALGRIND,
        }
    }
}

/// Whether this proxy can be set up so. Only Ringway is asked for many rules, Envoy and Caddy for no access log, and of the
/// peers nginx alone for files.
pub(crate) fn supports(kind: Kind, setting: &Setting) -> bool {
    match kind {
        Kind::Ringway(_) => true,
        Kind::Peer(peer) => {
            let logs = matches!(peer, PeerKind::Nginx | PeerKind::Haproxy);
            let serves = peer == PeerKind::Nginx || !setting.files;
            setting.rules == 1 && serves && (logs || !setting.access_log)
        }
    }
}

/// A running proxy; killed, with all that it started, when dropped.
pub(crate) struct Proxy {
    kind: Kind,
    process: Process,
    address: SocketAddr,
    patience: Duration,
}

impl Proxy {
    /// Returns once it serves. It inherits the CPU affinity of the calling thread.
    pub(crate) fn start(kind: Kind, setting: &Setting, wrapper: Wrapper) -> Outcome<Self> {
        let patience = wrapper.patience();
        if let Some(problem) = wrapper.problem_with(kind) {
            return Err(problem.to_owned());
        }
        let (process, address) = match kind {
            Kind::Ringway(driver) => start_ringway(driver, setting, wrapper),
            Kind::Peer(peer) => start_peer(peer, setting, wrapper),
        }
        .map_err(|problem| format!("{} does not start: {problem}", kind.name()))?;
        Ok(Proxy { kind, process, address, patience })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// All processes that do its work.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.process.pids()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The moment just before its program was executed.
    pub(crate) fn started(&self) -> Instant {
        self.process.started()
    }

    /// Applies another configuration while it serves; returns once its log says that it runs. Only Ringway is asked for
    /// that.
    pub(crate) fn reload(&mut self, setting: &Setting) -> Outcome<()> {
        const APPLIED: &str = "applied revision ";
        const REFUSED: &str = "configuration refused";
        let Kind::Ringway(driver) = self.kind else { return Err("not supported".into()) };
        let count = |log: &str| log.matches(APPLIED).count();
        let before = count(&self.process.log());
        self.process.configure(&config::ringway(driver, setting)).map_err(|error| error.to_string())?;
        self.process.signal(Signal::SIGHUP)?;
        let applied = |log: &str| (count(log) > before || log.contains(REFUSED)).then_some(());
        self.process.wait_until(self.patience, applied)?;
        let log = self.process.log();
        if log.contains(REFUSED) { Err(log) } else { Ok(()) }
    }

    /// Ends it as its service manager would; gives all that it logged.
    pub(crate) fn stop(mut self) -> Outcome<String> {
        self.process.stop(self.patience)
    }
}

fn start_ringway(driver: Driver, setting: &Setting, wrapper: Wrapper) -> Outcome<(Process, SocketAddr)> {
    let mut command = wrapper.command(env!("CARGO_BIN_EXE_ringway"));
    command.args(["run", "--config"]).env_remove("RINGWAY_LOG");
    let mut process = Process::start(command, &config::ringway(driver, setting))?;
    let address = process.wait_until(wrapper.patience(), listening_address)?;
    Ok((process, address))
}

/// The address in the log once every worker serves.
fn listening_address(log: &str) -> Option<SocketAddr> {
    log.lines().any(|line| line.ends_with("ready")).then_some(())?;
    log.lines().find_map(|line| line.split_once("listening on ")?.1.trim().parse().ok())
}

fn start_peer(peer: PeerKind, setting: &Setting, wrapper: Wrapper) -> Outcome<(Process, SocketAddr)> {
    let address = free_address().map_err(|error| format!("no free port: {error}"))?;
    let mut command = wrapper.command(peer.name());
    match peer {
        PeerKind::Nginx => command.args(["-e", "stderr", "-p", ".", "-c"]),
        PeerKind::Haproxy => command.args(["-db", "-f"]),
        PeerKind::Envoy => command.args([
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--log-level",
            "warn",
            "--config-path",
        ]),
        PeerKind::Caddy => command.env("GOMAXPROCS", "1").args(["run", "--adapter", "caddyfile", "--config"]),
    };
    let mut process = Process::start(command, &config::peer(peer, setting, address))?;
    process.wait_until(wrapper.patience(), |_| TcpStream::connect(address).is_ok().then_some(()))?;
    Ok((process, address))
}

/// A port that was free a moment ago: the peers do not tell which one they got.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
