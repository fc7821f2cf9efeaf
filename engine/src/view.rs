//! What a worker sees of the configuration: the published snapshot, and beside it what the worker itself keeps for it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use ringway_config::{AccessLog, Limits, Scratch, Server, Snapshot};

use crate::access::Verdicts;
use crate::net::listen::Local;
use crate::rate::connections::Connections;
use crate::rate::{Counts, Rates};
use crate::terms::{KnownTerms, Terms};
use crate::threads::Threads;
use crate::upstream::{Events, Gate, GateHandle, Pools, Roster, States, Upstream};

/// The addresses of the backends' host names, as `BackendAddress::Name` spells them. A name without addresses, or one
/// that is missing, is a backend that is down.
pub type Names = Arc<HashMap<String, Vec<IpAddr>>>;

/// What is swapped as one.
pub(crate) struct Published {
    pub(crate) snapshot: Arc<Snapshot>,
    /// The upstreams with their addresses, by upstream id.
    pub(crate) rosters: Vec<Arc<Roster>>,
    /// The gates of the sites, by site id.
    pub(crate) gates: Vec<Arc<Gate>>,
    /// Where we listen ourselves: dialling there is a loop.
    pub(crate) own_addresses: Vec<Local>,
}

impl Published {
    /// What `snapshot` says with the addresses that `names` gives; what is known of its upstreams and sites is in `states`.
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        names: &Names,
        own_addresses: Vec<Local>,
        states: &mut States,
    ) -> Self {
        let rosters = states.rosters(&snapshot, names, &own_addresses);
        let gates = states.gates(&snapshot);
        Self { snapshot, rosters, gates, own_addresses }
    }
}

/// Passwords that wait to be hashed at one time, over all workers. Each takes its thread some 30 ms.
const HASHING_WAITING_MAX: usize = 256;
/// Files that wait to be looked at at one time, over all workers.
const FILES_WAITING_MAX: usize = 4096;

/// What all threads share.
pub(crate) struct Shared {
    published: ArcSwap<Published>,
    /// Counts publications, so that a worker's check is one load.
    generation: AtomicU64,
    /// Open client connections over all workers.
    pub(crate) connections: AtomicU64,
    /// What became of backends.
    pub(crate) events: Events,
    /// How often clients came.
    pub(crate) rates: Rates,
    /// Open connections of each client.
    pub(crate) per_client: Connections,
    /// Hashes passwords.
    pub(crate) hashing: Threads,
    /// Asks the disk.
    pub(crate) files: Threads,
    /// When the process's clock began.
    started: Instant,
}

impl Shared {
    pub(crate) fn new(published: Arc<Published>) -> Arc<Self> {
        Arc::new(Self {
            published: ArcSwap::new(published),
            generation: AtomicU64::new(1),
            connections: AtomicU64::new(0),
            events: Events::default(),
            rates: Rates::default(),
            per_client: Connections::default(),
            hashing: Threads::new("hashing", HASHING_WAITING_MAX),
            files: Threads::new("files", FILES_WAITING_MAX),
            started: Instant::now(),
        })
    }

    /// Swaps; gives back what was published until now, which workers may still use.
    pub(crate) fn publish(&self, published: Arc<Published>) -> Arc<Published> {
        let old = self.published.swap(published);
        self.generation.fetch_add(1, Ordering::Release);
        old
    }

    pub(crate) fn published(&self) -> Arc<Published> {
        self.published.load_full()
    }

    /// Milliseconds since the process started.
    pub(crate) fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Nanoseconds since the process started, at `moment`.
    pub(crate) fn ns_at(&self, moment: Instant) -> u64 {
        moment.saturating_duration_since(self.started).as_nanos() as u64
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Takes a place among the client connections, unless `at_most` (0: no limit) are open.
    pub(crate) fn admit(&self, at_most: u64) -> bool {
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        let admitted = at_most == 0 || before < at_most;
        if !admitted {
            self.leave();
        }
        admitted
    }

    /// Gives the place back.
    pub(crate) fn leave(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The parts of a snapshot that an exchange needs to its end. Small, so that a long exchange does not keep the rules of
/// an old revision alive.
pub(crate) struct Settings {
    pub(crate) server: Server,
    pub(crate) limits: Limits,
    /// What holds for requests whose site and rule say nothing, and for all until they are known.
    pub(crate) plain: Terms,
    pub(crate) access_log: AccessLog,
}

impl Settings {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        Self {
            server: snapshot.server.clone(),
            limits: snapshot.limits,
            plain: Terms::plain(snapshot),
            access_log: snapshot.access_log.clone(),
        }
    }
}

/// A worker's view of one publication.
pub(crate) struct View {
    pub(crate) generation: u64,
    pub(crate) published: Arc<Published>,
    /// For [`Snapshot::route`]; borrowed for that call alone.
    pub(crate) scratch: RefCell<Scratch>,
    pub(crate) settings: Rc<Settings>,
    pub(crate) terms: KnownTerms,
    /// By upstream id.
    pub(crate) upstreams: Vec<Rc<Upstream>>,
    /// By site id.
    pub(crate) gates: Vec<GateHandle>,
    /// What rate limits have counted, where there are any.
    pub(crate) counts: Option<Arc<Counts>>,
    /// What came of credentials under this snapshot.
    pub(crate) verdicts: Rc<Verdicts>,
}

impl View {
    /// Builds a worker's view; idle connections of backends that live on are found again in `pools`. `before` is the one that it
    /// takes the place of.
    pub(crate) fn new(shared: &Shared, pools: &Pools, workers: usize, before: Option<&Self>) -> Rc<Self> {
        // Read before what it counts: a publication in between is seen at the next look.
        let generation = shared.generation();
        let published = shared.published();
        let counts = shared.rates.counts();
        let snapshot = &published.snapshot;
        let upstreams = published.rosters.iter().map(|roster| {
            Rc::new(Upstream::new(roster, pools, workers, generation, snapshot.timeouts.upstream_idle))
        });
        let upstreams = upstreams.collect();
        let gates = published.gates.iter().cloned().map(Rc::new).collect();
        let settings = Rc::new(Settings::of(snapshot));
        let terms = KnownTerms::default();
        let scratch = RefCell::new(snapshot.scratch());
        // Where only addresses have changed, whoever was allowed still is.
        let same = before.filter(|before| Arc::ptr_eq(&before.published.snapshot, snapshot));
        let verdicts = same.map(|before| before.verdicts.clone()).unwrap_or_default();
        Rc::new(Self { generation, scratch, settings, terms, upstreams, gates, counts, verdicts, published })
    }

    /// The same upstream as this configuration has it, perhaps with other addresses.
    pub(crate) fn again(&self, upstream: &Upstream) -> Option<Rc<Upstream>> {
        let same = |other: &&Rc<Upstream>| Arc::ptr_eq(&other.roster.state, &upstream.roster.state);
        self.upstreams.iter().find(same).cloned()
    }
}
