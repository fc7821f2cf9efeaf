//! A worker: one thread, one event loop, and all that its connections share. Nothing in it is shared with other workers
//! but what `Shared` publishes and counts.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use ringway_wire::{RequestHead, ResponseHead};
use socket2::Socket;

use crate::access_log::LogBuffer;
use crate::clients::Clients;
use crate::files::Files;
use crate::hot::HotReads;
use crate::listener::Listeners;
use crate::net::buf::BufPool;
use crate::net::deadline::Wheel;
use crate::net::listen::Local;
use crate::net::memory;
use crate::net::spares::Spares;
use crate::net::stream::Stream;
use crate::net::task::{self, Turns};
use crate::stats::Counters;
use crate::upstream::Pools;
use crate::view::{Shared, View};

/// The length of an IMF-fixdate (RFC 9110 section 5.6.7), in bytes.
const DATE_BYTES: usize = 29;
/// How many head objects a worker keeps for connections to come.
const POOLED_HEADS: usize = 256;
/// How often a worker looks for memory that it needs no longer, in ticks. Rarely: what goes must be fetched again.
const AGING_TICKS: u64 = 20;
/// Room for the bytes that say that commands have come.
const SIGNAL_BYTES: usize = 64;

/// What a connection needs while it serves requests; reused, because its tables grow to the size of the heads.
#[derive(Default)]
pub(crate) struct Heads {
    pub(crate) request: RequestHead,
    pub(crate) response: ResponseHead,
}

/// What the control thread tells a worker.
pub(crate) enum Command {
    /// Accept from this socket.
    Listen { identity: String, local: Local, socket: Socket },
    /// Stop accepting; idle connections close, the others after their response. `done` hears when the socket is closed.
    Close { identity: String, done: Sender<()> },
    /// Hand over the log lines that were collected.
    FlushLog { done: Sender<()> },
}

/// Commands on their way; a byte on the worker's channel says that there are some.
pub(crate) type CommandQueue = Arc<Mutex<Vec<Command>>>;

/// One worker's state.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) wheel: Rc<Wheel>,
    pub(crate) bufs: BufPool,
    pub(crate) turns: Rc<Turns>,
    pub(crate) pools: Pools,
    pub(crate) clients: Rc<Clients>,
    pub(crate) hot: Rc<HotReads>,
    pub(crate) files: Files,
    pub(crate) log: LogBuffer,
    /// How many workers there are.
    pub(crate) workers: usize,
    view: RefCell<Rc<View>>,
    heads: Spares<Box<Heads>>,
    date: Cell<[u8; DATE_BYTES]>,
    now_ms: Cell<u64>,
    /// The tick at which it looks next for memory that it needs no longer.
    ages_at: Cell<u64>,
    /// The most connections since memory was given back.
    peak: Cell<usize>,
}

impl Worker {
    pub(crate) fn new(
        shared: Arc<Shared>,
        counters: Arc<Counters>,
        log: LogBuffer,
        workers: usize,
    ) -> Rc<Self> {
        let pools = Pools::default();
        let view = View::new(&shared, &pools, workers, None);
        let now_ms = shared.now_ms();
        Rc::new(Self {
            shared,
            counters,
            wheel: Wheel::new(),
            bufs: BufPool::default(),
            turns: Rc::default(),
            pools,
            clients: Rc::default(),
            hot: Rc::default(),
            files: Files::default(),
            log,
            workers,
            view: RefCell::new(view),
            heads: Spares::new(POOLED_HEADS),
            date: Cell::new(date_now()),
            now_ms: Cell::new(now_ms),
            ages_at: Cell::new(AGING_TICKS),
            peak: Cell::new(0),
        })
    }

    /// The configuration as it is now. A request keeps the view that it got first.
    pub(crate) fn view(&self) -> Rc<View> {
        if self.view.borrow().generation != self.shared.generation() {
            let view = View::new(&self.shared, &self.pools, self.workers, Some(&self.view.borrow()));
            self.view.replace(view);
        }
        self.view.borrow().clone()
    }

    /// Head objects for a connection that serves requests.
    pub(crate) fn take_heads(&self) -> Box<Heads> {
        self.heads.take().unwrap_or_default()
    }

    /// Takes them back.
    pub(crate) fn give_back_heads(&self, heads: Box<Heads>) {
        self.heads.put(heads);
    }

    /// The present as an IMF-fixdate, at most a tick old.
    pub(crate) fn date(&self) -> [u8; DATE_BYTES] {
        self.date.get()
    }

    /// Milliseconds since the process started, at most a tick old: workers may differ by that.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    fn tick(&self) {
        self.wheel.advance();
        self.date.set(date_now());
        self.now_ms.set(self.shared.now_ms());
        self.clients.patrol(self.wheel.now());
        self.hot.cool(self.wheel.now());
        // A new configuration is taken up here where no request comes.
        self.view();
        self.pools.sweep(self.wheel.now());
        self.log.tick(&self.counters);
        if self.wheel.now() >= self.ages_at.get() {
            self.ages_at.set(self.wheel.now() + AGING_TICKS);
            self.age();
        }
    }

    /// After a peak, the memory that it took goes back to the system.
    fn age(&self) {
        let dropped = self.bufs.age() + self.heads.age() + self.files.age();
        self.hot.age();
        self.log.age();
        let connections = self.clients.len();
        let peak = self.peak.get().max(connections);
        // An eighth: who comes and goes all the time is no peak.
        let is_over = connections < peak - peak / 8;
        self.peak.set(if is_over { connections } else { peak });
        if dropped > 0 || is_over {
            memory::give_back();
        }
    }
}

fn date_now() -> [u8; DATE_BYTES] {
    let text = httpdate::fmt_http_date(SystemTime::now());
    // A clock beyond the year 9999 has no fixdate.
    text.as_bytes().try_into().unwrap_or(*b"Thu, 01 Jan 1970 00:00:00 GMT")
}

/// The worker's main future: obeys the control thread until that goes away.
pub(crate) async fn run(worker: Rc<Worker>, commands: std::os::unix::net::UnixStream, queue: CommandQueue) {
    task::spawn(worker.turns.clone().usher(), || {});
    #[expect(
        clippy::disallowed_methods,
        reason = "a worker that has lost its clock must not go on; see tick_on"
    )]
    task::spawn(tick_on(worker.clone()), || std::process::abort());
    let listeners = Listeners::default();
    if let Err(error) = obey(&worker, &listeners, commands, &queue).await {
        tracing::error!(%error, "a worker lost its control channel");
    }
}

/// Without its clock a worker would serve without deadlines, so a panic in a tick must not go unnoticed: it aborts.
async fn tick_on(worker: Rc<Worker>) {
    loop {
        task::sleep(worker.wheel.until_next_tick()).await;
        worker.tick();
    }
}

async fn obey(
    worker: &Rc<Worker>,
    listeners: &Listeners,
    commands: std::os::unix::net::UnixStream,
    queue: &CommandQueue,
) -> io::Result<()> {
    let commands = Stream::from_std_unix(commands)?;
    let mut signal = worker.bufs.apart(SIGNAL_BYTES);
    while commands.read(&mut signal).await? > 0 {
        signal.clear();
        let waiting = std::mem::take(&mut *queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        waiting.into_iter().for_each(|command| listeners.obey(worker, command));
    }
    Ok(())
}
