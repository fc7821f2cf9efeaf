//! Probes of backends: of ejected ones until they come back, and of all where an upstream has `active = true`. `schedule`
//! says when and what follows from the answers, `probe` asks, and here both meet the engine. Never is a client's request
//! used as a probe, and never is an address probed that is known for our own listener's or that the egress policy refuses.

mod probe;
mod schedule;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use ringway_engine::{Address, BackendHandle};
use tokio::task::{self, AbortHandle, JoinError, JoinSet};
use tokio::time::{Duration, Instant};

use schedule::{Begun, Found, Schedule, Seen, Verdict};

/// Probes that run at one time; each has a descriptor. Others that are due wait for one of them to end.
const PROBES_MAX: usize = 64;

/// Which backend: health belongs to upstream and address.
type Identity = (Arc<str>, Address);

/// Follows backends and probes those that are to be probed. Lives on the control thread.
pub(crate) struct Prober {
    started: Instant,
    /// By number; a number is never given twice.
    followed: HashMap<u64, Followed>,
    numbers: HashMap<Identity, u64>,
    next_number: u64,
    /// When each probe is due, in milliseconds since the start, with its backend's number.
    due: BTreeSet<(u64, u64)>,
    running: JoinSet<Found>,
    begun: HashMap<task::Id, (u64, Begun)>,
}

struct Followed {
    backend: BackendHandle,
    schedule: Schedule,
    /// As it stands in [`Prober::due`].
    due_ms: Option<u64>,
    /// The probe that runs.
    probe: Option<AbortHandle>,
}

impl Prober {
    /// Follows no backend yet.
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            followed: HashMap::new(),
            numbers: HashMap::new(),
            next_number: 0,
            due: BTreeSet::new(),
            running: JoinSet::new(),
            begun: HashMap::new(),
        }
    }

    /// Follows these backends and no others: after each publication. Those that were followed go on as they were; what probes
    /// run at others end.
    pub(crate) fn follow(&mut self, backends: Vec<BackendHandle>) {
        let mut before = std::mem::take(&mut self.numbers);
        let is_barred = |backend: &BackendHandle| backend.is_own() || backend.forbidden().is_some();
        for backend in backends.into_iter().filter(|backend| !is_barred(backend)) {
            let identity = (backend.upstream().clone(), backend.address().clone());
            if self.numbers.contains_key(&identity) {
                // The same address twice in one pool is one backend.
                continue;
            }
            let number = before.remove(&identity).unwrap_or_else(|| self.new_number());
            self.numbers.insert(identity, number);
            match self.followed.get_mut(&number) {
                Some(followed) => followed.backend = backend,
                None => _ = self.followed.insert(number, Followed::new(backend, number)),
            }
        }
        before.into_values().for_each(|number| self.forget(number));
        self.look();
    }

    /// Looks how the backends stand: after something became of them.
    pub(crate) fn look(&mut self) {
        let now_ms = self.now_ms();
        for (number, followed) in &mut self.followed {
            followed.look(now_ms);
            followed.enter(*number, &mut self.due);
        }
    }

    /// Waits until something is to be done, and does it: begins probes that are due, takes up what one found. Loses nothing
    /// when it is dropped while it waits.
    pub(crate) async fn step(&mut self) {
        self.begin_due();
        let wait = self.until_due();
        tokio::select! {
            Some(ended) = self.running.join_next_with_id() => self.take_up(ended),
            () = wait => {}
        }
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn new_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn forget(&mut self, number: u64) {
        let Some(Followed { due_ms, probe, .. }) = self.followed.remove(&number) else { return };
        if let Some(due_ms) = due_ms {
            self.due.remove(&(due_ms, number));
        }
        if let Some(probe) = probe {
            probe.abort();
        }
    }

    /// Until the next probe may begin.
    fn until_due(&self) -> impl Future<Output = ()> + use<> {
        let may_begin = self.running.len() < PROBES_MAX;
        let due = self.due.first().filter(|_| may_begin);
        let at = due.map(|(due_ms, _)| self.started + Duration::from_millis(*due_ms));
        async move {
            match at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }

    fn begin_due(&mut self) {
        let now_ms = self.now_ms();
        while self.running.len() < PROBES_MAX
            && let Some(&(due_ms, number)) = self.due.first()
            && due_ms <= now_ms
        {
            self.due.pop_first();
            let Some(followed) = self.followed.get_mut(&number) else { continue };
            followed.due_ms = None;
            let begun = followed.schedule.begin(&followed.backend.config().health, now_ms);
            let task = self.running.spawn(probe::probe(followed.backend.clone()));
            self.begun.insert(task.id(), (number, begun));
            followed.probe = Some(task);
        }
    }

    fn take_up(&mut self, ended: Result<(task::Id, Found), JoinError>) {
        // One that panicked found nothing.
        let (id, found) = ended.unwrap_or_else(|error| (error.id(), Found::Unknown));
        let now_ms = self.now_ms();
        let Some((number, begun)) = self.begun.remove(&id) else { return };
        // Its backend may have gone meanwhile.
        let Some(followed) = self.followed.get_mut(&number) else { return };
        followed.probe = None;
        followed.take_up(begun, found, now_ms);
        followed.enter(number, &mut self.due);
    }
}

impl Followed {
    fn new(backend: BackendHandle, number: u64) -> Self {
        Self { backend, schedule: Schedule::new(number), due_ms: None, probe: None }
    }

    fn look(&mut self, now_ms: u64) {
        let seen = Seen { standing: self.backend.standing(), ejections: self.backend.history().ejections };
        self.schedule.look(&self.backend.config().health, seen, now_ms);
    }

    /// Enters when it is due.
    fn enter(&mut self, number: u64, due: &mut BTreeSet<(u64, u64)>) {
        let due_ms = self.schedule.due_ms();
        if let Some(before_ms) = std::mem::replace(&mut self.due_ms, due_ms) {
            due.remove(&(before_ms, number));
        }
        due.extend(due_ms.map(|due_ms| (due_ms, number)));
    }

    fn take_up(&mut self, begun: Begun, found: Found, now_ms: u64) {
        match found {
            Found::Alive => self.backend.note_probe(None),
            Found::Ill(failed) => self.backend.note_probe(Some(failed)),
            Found::Unknown => {}
        }
        // What became of it while the probe ran.
        self.look(now_ms);
        match self.schedule.ended(begun, found, &self.backend.config().health, now_ms) {
            Verdict::Nothing => {}
            Verdict::Eject(failed) => self.backend.eject(failed),
            Verdict::Recover => self.backend.recover(),
        }
        self.look(now_ms);
    }
}
