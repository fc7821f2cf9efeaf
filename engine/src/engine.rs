//! The control thread's side of the data plane: starts the workers, publishes to them, drains them.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ringway_config::{AccessLogDestination, Action, Provider, Snapshot, Workers};

use crate::access_log::{self, LogBuffer, Message};
use crate::net::cancel;
use crate::net::cpu;
use crate::net::driver::{self, Driver};
use crate::net::listen::{self, Bound, Local};
use crate::stats::{Counters, Stats};
use crate::status::Observer;
use crate::upstream::{BackendHandle, Event, States};
use crate::view::{Names, Published, Shared};
use crate::worker::{self, Command, CommandQueue, Worker};

/// The most threads that hash passwords; fewer where there are fewer CPUs, half of which stay free of them.
const HASHING_THREADS_MAX: usize = 4;
/// Threads that ask the disk. As many as wait for it at one time, on a mount that hangs, say, hold up whoever asks for a file that
/// is not kept; a few must not.
const FILE_THREADS: usize = 16;

/// How long the control thread waits for workers to take up a change of listeners. They do at their next turn.
const TAKE_UP: Duration = Duration::from_secs(5);

/// Why the engine did not start, or a configuration could not be published. Nothing has changed then.
#[derive(Debug)]
pub enum StartError {
    /// A listener's address cannot be bound.
    Bind {
        /// The listener, as the configuration identifies it.
        listener: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The access log cannot be opened.
    AccessLog(io::Error),
    /// The kernel refuses the driver that was asked for.
    Driver(io::Error),
    /// A worker thread cannot be started.
    Worker(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { listener, source } => write!(f, "cannot listen on {listener}: {source}"),
            Self::AccessLog(source) => write!(f, "cannot open the access log: {source}"),
            Self::Driver(source) => write!(f, "io_uring was asked for and cannot be had: {source}"),
            Self::Worker(source) => write!(f, "cannot start a worker: {source}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { source, .. }
            | Self::AccessLog(source)
            | Self::Driver(source)
            | Self::Worker(source) => Some(source),
        }
    }
}

/// The data plane, as the control thread holds it. Dropping it does not stop the workers: they end with the process.
pub struct Engine {
    shared: Arc<Shared>,
    states: States,
    driver: Driver,
    workers: Vec<WorkerHandle>,
    /// Where each listener really is, by identity.
    listeners: HashMap<String, Local>,
    /// What was published before and may still be in use by a worker.
    retired: Vec<Arc<Published>>,
    log: SyncSender<Message>,
    log_destination: AccessLogDestination,
}

struct WorkerHandle {
    thread: JoinHandle<()>,
    commands: CommandQueue,
    signal: UnixStream,
    counters: Arc<Counters>,
}

impl Engine {
    /// Binds every listener, starts the workers, and waits until all of them accept connections. Signals that workers must
    /// not get have to be blocked before.
    ///
    /// # Errors
    /// [`StartError`]; no worker serves then.
    pub fn start(snapshot: Arc<Snapshot>, names: Names) -> Result<Self, StartError> {
        let (driver, why) = driver::choose(snapshot.server.driver).map_err(StartError::Driver)?;
        let cpus = cpu::affinity();
        let quota = cpu::quota();
        let count = match snapshot.server.workers {
            Workers::Count(count) => count.get(),
            Workers::Auto => quota.map_or(cpus.len(), |quota| cpus.len().min(quota.get())),
        };
        let pinned = snapshot.server.pin && quota.is_none();
        let bound = bind_new(&snapshot, &HashMap::new(), count, driver)?;
        access_log::check(&snapshot.access_log.destination).map_err(StartError::AccessLog)?;
        let log = access_log::start_writer().map_err(StartError::Worker)?;
        let own_addresses = bound.iter().map(|(_, bound)| bound.local.clone()).collect();
        let mut states = States::default();
        let shared =
            Shared::new(Arc::new(Published::new(snapshot.clone(), &names, own_addresses, &mut states)));
        let mut engine = Self {
            shared,
            states,
            driver,
            workers: Vec::new(),
            listeners: HashMap::new(),
            retired: Vec::new(),
            log,
            log_destination: AccessLogDestination::Off,
        };
        engine.target_log(&snapshot);
        engine.prepare(&snapshot)?;
        engine.start_workers(count, pinned.then_some(&cpus[..]))?;
        let pinning = if pinned { "pinned" } else { "not pinned" };
        tracing::info!(%why, workers = count, pinning, "driver {driver}");
        engine.listen(bound);
        Ok(engine)
    }

    fn start_workers(&mut self, count: usize, cpus: Option<&[usize]>) -> Result<(), StartError> {
        let (ready, all_ready) = mpsc::channel();
        for index in 0..count {
            let cpu = cpus.map(|cpus| cpus[index % cpus.len()]);
            let handle = self.start_worker(index, count, cpu, ready.clone()).map_err(StartError::Worker)?;
            self.workers.push(handle);
        }
        drop(ready);
        for _ in 0..count {
            let started =
                all_ready.recv().unwrap_or_else(|_| Err(io::Error::other("a worker ended at its start")));
            started.map_err(StartError::Worker)?;
        }
        Ok(())
    }

    fn start_worker(
        &self,
        index: usize,
        workers: usize,
        cpu: Option<usize>,
        ready: mpsc::Sender<io::Result<()>>,
    ) -> io::Result<WorkerHandle> {
        let (signal, signalled) = UnixStream::pair()?;
        let (commands, counters) = (CommandQueue::default(), Counters::new());
        let (shared, driver, log) = (self.shared.clone(), self.driver, self.log.clone());
        let (queue, counted) = (commands.clone(), counters.clone());
        let body = move || {
            if let Some(cpu) = cpu
                && let Err(error) = cpu::pin(cpu)
            {
                tracing::warn!(%error, cpu, "cannot pin a worker");
            }
            let failed = ready.clone();
            let main = async move {
                cancel::prepare();
                let worker = Worker::new(shared, counted, LogBuffer::new(log), workers);
                // The control thread waits for all; it is there. From now on nothing is opened but for clients.
                let _ = ready.send(Ok(()));
                worker::run(worker, signalled, queue).await;
            };
            if let Err(error) = driver::run(driver, main) {
                let _ = failed.send(Err(error));
            }
        };
        let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(body)?;
        Ok(WorkerHandle { thread, commands, signal, counters })
    }

    /// Publishes a configuration: binds the sockets of new listeners, swaps, and tells the workers which listeners came and
    /// went. Returns when they took that up. What cannot change while running (workers, driver, pinning) stays as it was
    /// started; a warning says so.
    ///
    /// # Errors
    /// [`StartError`], when a new listener cannot be bound or the access log cannot be opened; nothing has changed then.
    pub fn publish(&mut self, snapshot: Arc<Snapshot>, names: Names) -> Result<(), StartError> {
        let bound = bind_new(&snapshot, &self.listeners, self.workers.len(), self.driver)?;
        access_log::check(&snapshot.access_log.destination).map_err(StartError::AccessLog)?;
        self.prepare(&snapshot)?;
        self.warn_of_fixed(&snapshot);
        let wanted =
            |identity: &String| snapshot.listeners.iter().any(|listener| listener.identity == *identity);
        let gone: Vec<_> = self.listeners.keys().filter(|identity| !wanted(identity)).cloned().collect();
        let staying =
            self.listeners.iter().filter(|(identity, _)| wanted(identity)).map(|(_, local)| local.clone());
        let own_addresses = staying.chain(bound.iter().map(|(_, bound)| bound.local.clone())).collect();
        self.target_log(&snapshot);
        self.swap(snapshot, &names, own_addresses);
        self.listen(bound);
        self.close(&gone);
        Ok(())
    }

    /// Has what requests of `snapshot` will need beside the workers.
    fn prepare(&self, snapshot: &Snapshot) -> Result<(), StartError> {
        let is_basic = |provider: &Arc<Provider>| matches!(**provider, Provider::Basic(_));
        if snapshot.providers.iter().any(is_basic) {
            let count = cpu::affinity().len().div_ceil(2).min(HASHING_THREADS_MAX);
            self.shared.hashing.start(count).map_err(StartError::Worker)?;
        }
        if snapshot.rules.iter().any(|rule| matches!(rule.action, Action::Files(_))) {
            self.shared.files.start(FILE_THREADS).map_err(StartError::Worker)?;
        }
        self.shared.rates.prepare(snapshot);
        Ok(())
    }

    /// New addresses for the backends' host names; the configuration stays.
    pub fn resolve(&mut self, names: Names) {
        let current = self.shared.published();
        self.swap(current.snapshot.clone(), &names, current.own_addresses.clone());
    }

    fn swap(&mut self, snapshot: Arc<Snapshot>, names: &Names, own_addresses: Vec<Local>) {
        let published = Arc::new(Published::new(snapshot, names, own_addresses, &mut self.states));
        let old = self.shared.publish(published.clone());
        self.retired.push(old);
        self.keep_bounds();
        // Addresses may have come for those who wait for one.
        published.rosters.iter().for_each(|roster| roster.state.absence.call_all());
    }

    /// Brings back who may not be away any more.
    fn keep_bounds(&self) {
        let now_ms = self.shared.now_ms();
        for roster in &self.shared.published().rosters {
            roster.keep_bounds(now_ms).into_iter().for_each(|event| self.shared.events.push(event));
        }
    }

    fn warn_of_fixed(&self, new: &Snapshot) {
        let current = self.shared.published();
        let old = &current.snapshot.server;
        if (old.workers, old.pin, old.driver) != (new.server.workers, new.server.pin, new.server.driver) {
            tracing::warn!("workers, pin and driver take effect at the next start");
        }
    }

    fn target_log(&mut self, snapshot: &Snapshot) {
        let destination = &snapshot.access_log.destination;
        if *destination != self.log_destination {
            self.log_destination = destination.clone();
            self.tell_log(Message::Target(destination.clone()));
        }
    }

    fn tell_log(&self, message: Message) {
        if self.log.send(message).is_err() {
            tracing::error!("the access log's writer has ended");
        }
    }

    fn listen(&mut self, bound: Vec<(String, Bound)>) {
        for (identity, Bound { sockets, local }) in bound {
            for (worker, socket) in self.workers.iter().zip(sockets) {
                worker.tell(Command::Listen { identity: identity.clone(), local: local.clone(), socket });
            }
            tracing::info!("listening on {local}");
            self.listeners.insert(identity, local);
        }
    }

    fn close(&mut self, identities: &[String]) {
        let (done, all_done) = mpsc::channel();
        for identity in identities {
            for worker in &self.workers {
                worker.tell(Command::Close { identity: identity.clone(), done: done.clone() });
            }
        }
        drop(done);
        await_all(&all_done, self.workers.len() * identities.len());
        for identity in identities {
            if let Some(local) = self.listeners.remove(identity) {
                tracing::info!("no longer listening on {local}");
                remove_socket_file(&local);
            }
        }
    }

    /// Begins to drain: stops accepting, closes idle connections, and lets the others end after their response.
    pub fn drain(&mut self) {
        let all: Vec<_> = self.listeners.keys().cloned().collect();
        self.close(&all);
    }

    /// Open client connections over all workers, tunnels included.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Opens the access log's file again, after it was moved away.
    pub fn reopen_logs(&self) {
        self.tell_log(Message::Reopen);
    }

    /// Writes the access log's lines that are on their way; called once at the end.
    pub fn flush_logs(&self) {
        let (done, all_done) = mpsc::channel();
        self.workers.iter().for_each(|worker| worker.tell(Command::FlushLog { done: done.clone() }));
        await_all(&all_done, self.workers.len());
        let (done, flushed) = mpsc::sync_channel(1);
        self.tell_log(Message::Flush(done));
        // A writer that hangs must not keep the process from ending.
        let _ = flushed.recv_timeout(TAKE_UP);
    }

    /// Frees what was published before and no worker uses any more: here, so that no worker spends its time on that. Forgets
    /// upstreams, backends and sites that have gone and that nothing uses any more. Tells the log what rate limits forgot.
    pub fn housekeeping(&mut self) {
        let before = self.retired.len();
        self.retired.retain(|published| Arc::strong_count(published) > 1);
        self.states.forget();
        self.shared.rates.tell_of_loss(self.shared.now_ms());
        if self.retired.len() < before {
            // Until now a worker may have ejected by the bounds of the configuration before.
            self.keep_bounds();
        }
    }

    /// What all workers counted since the start.
    pub fn stats(&self) -> Stats {
        Stats::merge(self.workers.iter().map(|worker| &*worker.counters))
    }

    /// Looks inside while the engine runs, from any thread.
    pub fn observer(&self) -> Observer {
        let counters = self.workers.iter().map(|worker| worker.counters.clone());
        Observer::new(self.shared.clone(), counters.collect(), self.driver)
    }

    /// The address of each listener by its identity: port 0 has become a port.
    pub fn listeners(&self) -> HashMap<String, String> {
        self.listeners.iter().map(|(identity, local)| (identity.clone(), local.to_string())).collect()
    }

    /// Every address of every upstream of what was published last.
    pub fn backends(&self) -> Vec<BackendHandle> {
        let published = self.shared.published();
        published.rosters.iter().flat_map(|roster| BackendHandle::all_of(&self.shared, roster)).collect()
    }

    /// What became of backends since the last call, oldest first, and how many events were dropped because too many waited.
    pub fn take_events(&self) -> (Vec<Event>, u64) {
        self.shared.events.take()
    }

    /// Says what is called, on any thread, whenever events wait to be taken; it must not block. The first call holds.
    pub fn on_event(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.shared.events.on_push(wake);
    }

    /// Whether a worker ended, which none does while the engine lives.
    pub fn worker_failed(&self) -> bool {
        self.workers.iter().any(|worker| worker.thread.is_finished())
    }
}

impl WorkerHandle {
    fn tell(&self, command: Command) {
        self.commands.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(command);
        if let Err(error) = (&self.signal).write_all(&[1]) {
            tracing::error!(%error, "a worker cannot be told");
        }
    }
}

/// Binds what `snapshot` listens on and `listeners` does not have yet.
fn bind_new(
    snapshot: &Snapshot,
    listeners: &HashMap<String, Local>,
    workers: usize,
    driver: Driver,
) -> Result<Vec<(String, Bound)>, StartError> {
    let new = snapshot.listeners.iter().filter(|listener| !listeners.contains_key(&listener.identity));
    let bind = |listener: &Arc<ringway_config::Listener>| {
        let identity = listener.identity.clone();
        match listen::bind(&listener.address, workers, driver) {
            Ok(bound) => Ok((identity, bound)),
            Err(source) => Err(StartError::Bind { listener: identity, source }),
        }
    };
    new.map(bind).collect()
}

fn await_all(done: &Receiver<()>, count: usize) {
    for _ in 0..count {
        if done.recv_timeout(TAKE_UP).is_err() {
            return;
        }
    }
}

fn remove_socket_file(local: &Local) {
    if let Local::Unix(path) = local
        && let Err(error) = std::fs::remove_file(path)
    {
        tracing::warn!(%error, path = %path.display(), "cannot remove a socket's file");
    }
}
