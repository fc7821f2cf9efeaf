//! What the control thread and the workers have, and what the control thread does, as `engine` and `probes` do it; beside each
//! step stands what it does to the truth. And that the one is as the other says.

use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::Wake;

use ringway_config::Snapshot;

use super::super::Pools;
use super::super::health::{Cause, Change, Event, Failed, Standing};
use super::super::state::{Roster, States};
use super::traffic::{Phase, Request, Tunnel};
use super::truth::{Identity, Queue, Truth, identity, name};
use crate::net::dial::Address;
use crate::net::listen::Local;
use crate::view::{Names, Published, Shared, View};

/// Workers see the time in these, in milliseconds.
const TICK_MS: u64 = 100;
pub(super) const WORKERS: usize = 3;

/// What the control thread and the workers have, without their threads.
pub(super) struct World {
    pub(super) now_ms: u64,
    pub(super) truth: Truth,
    pub(super) requests: Vec<Request>,
    pub(super) tunnels: Vec<Tunnel>,
    pub(super) workers: Vec<Worker>,
    /// Backends at which requests fail.
    pub(super) ill: HashSet<Address>,
    pub(super) shared: Arc<Shared>,
    states: States,
    retired: Vec<Arc<Published>>,
    /// How many came.
    pub(super) arrived: u64,
    pub(super) rung: Arc<Mutex<Vec<(Queue, u64)>>>,
}

pub(super) struct Worker {
    pools: Pools,
    pub(super) view: Rc<View>,
    pub(super) now_ms: u64,
}

/// Notes who is woken.
pub(super) struct Bell {
    pub(super) queue: Queue,
    pub(super) number: u64,
    pub(super) rung: Arc<Mutex<Vec<(Queue, u64)>>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.lock().unwrap().push((self.queue.clone(), self.number));
    }
}

/// The control thread.
impl World {
    pub(super) fn new(snapshot: Arc<Snapshot>, names: &Names) -> Self {
        let mut states = States::default();
        let published = Arc::new(Published::new(snapshot, names, Vec::new(), &mut states));
        let shared = Shared::new(published.clone());
        let worker = |_| {
            let pools = Pools::default();
            Worker { view: View::new(&shared, &pools, WORKERS, None), pools, now_ms: 0 }
        };
        let mut world = Self {
            now_ms: 0,
            truth: Truth::default(),
            requests: Vec::new(),
            tunnels: Vec::new(),
            workers: (0..WORKERS).map(worker).collect(),
            ill: HashSet::new(),
            shared: shared.clone(),
            states,
            retired: Vec::new(),
            arrived: 0,
            rung: Arc::default(),
        };
        world.note(&published);
        world
    }

    /// The truth of what was published.
    fn note(&mut self, published: &Published) {
        for roster in &published.rosters {
            let (name, admission) = (name(roster), &roster.config.admission);
            self.truth.limit_gate(&Queue::Upstream(name.clone()), admission, &roster.state.gate);
            self.truth.limit_line(&Queue::Absence(name), admission.max_queued);
            self.truth.name(roster);
        }
        for (site, gate) in published.snapshot.sites.iter().zip(&published.gates) {
            self.truth.limit_gate(&Queue::Site(site.name.as_str().into()), &site.admission, gate);
        }
    }

    /// As [`Engine`](crate::Engine) does it.
    pub(super) fn publish(&mut self, snapshot: Arc<Snapshot>, names: &Names, own: Vec<Local>) {
        let published = Arc::new(Published::new(snapshot, names, own, &mut self.states));
        self.note(&published);
        self.retired.push(self.shared.publish(published.clone()));
        self.keep_bounds();
        for roster in &published.rosters {
            roster.state.absence.call_all();
            self.truth.call_all(&name(roster));
        }
    }

    fn keep_bounds(&mut self) {
        for roster in &self.shared.published().rosters {
            let back: Vec<_> =
                roster.keep_bounds(self.now_ms).into_iter().map(|event| event.backend).collect();
            assert_eq!(back, self.truth.keep_bounds(roster), "who comes back to a smaller pool");
            back.iter().for_each(|_| self.truth.see("a smaller pool brings one back"));
        }
    }

    /// Other addresses for names, with the same configuration.
    pub(super) fn resolve(&mut self, names: &Names) {
        let current = self.shared.published();
        self.publish(current.snapshot.clone(), names, current.own_addresses.clone());
    }

    /// As [`Engine`](crate::Engine) does it.
    pub(super) fn housekeeping(&mut self) {
        let before = self.retired.len();
        self.retired.retain(|published| Arc::strong_count(published) > 1);
        self.states.forget();
        self.forget_truth();
        if self.retired.len() < before {
            self.keep_bounds();
        }
    }

    /// What nobody names or uses is forgotten, and nothing else.
    fn forget_truth(&mut self) {
        let (backends, queues) = self.in_use();
        if backends.len() < self.truth.backends.len() {
            self.truth.see("forgotten");
        }
        self.truth.backends.retain(|identity, backend| {
            let stays = backends.contains(identity);
            assert_eq!(backend.state.strong_count() > 0, stays, "{identity:?} is known");
            stays
        });
        self.truth.gates.retain(|queue, gate| {
            let stays = queues.contains(queue);
            assert_eq!(gate.gate.strong_count() > 0, stays, "{queue:?} is known");
            stays
        });
        self.truth.lines.retain(|queue, _| queues.contains(queue));
        self.truth.budgets.retain(|name, _| queues.contains(&Queue::Upstream(name.clone())));
    }

    fn in_use(&self) -> (HashSet<Identity>, BTreeSet<Queue>) {
        let (mut backends, mut queues) = (HashSet::new(), BTreeSet::new());
        let current = self.shared.published();
        let views = self.workers.iter().map(|worker| &worker.view.published);
        let published: Vec<_> = views.chain(&self.retired).chain([&current]).collect();
        let sites = published.iter().flat_map(|published| &published.snapshot.sites);
        queues.extend(sites.map(|site| Queue::Site(site.name.as_str().into())));
        let of_requests = self.requests.iter().map(|request| &request.upstream.roster);
        for roster in published.iter().flat_map(|published| &published.rosters).chain(of_requests) {
            backends.extend(roster.members.iter().map(|member| identity(roster, member)));
            queues.extend(queues_of(&name(roster)));
        }
        for tunnel in &self.tunnels {
            backends.insert(tunnel.at.clone());
            queues.extend(queues_of(&tunnel.at.0));
        }
        let requests = self.requests.iter().flat_map(Request::gateways);
        let tunnels = self.tunnels.iter().flat_map(|tunnel| &tunnel.held);
        queues.extend(requests.chain(tunnels).map(|gateway| gateway.queue.clone()));
        (backends, queues)
    }

    /// An address of what was published last, if there is one.
    fn some_member(&self, rng: &mut fastrand::Rng) -> Option<(Arc<Roster>, usize)> {
        let rosters = self.shared.published().rosters.clone();
        let roster = rng.choice(rosters)?;
        let member = rng.choice(0..roster.members.len())?;
        Some((roster, member))
    }

    /// A round of probes ends: well, or not.
    pub(super) fn probe(&mut self, rng: &mut fastrand::Rng) {
        let Some((roster, _)) = self.some_member(rng) else { return };
        for (index, member) in roster.members.iter().enumerate() {
            let now_ms = self.now_ms;
            if !self.ill.contains(&member.address) {
                let event = roster.recover(member, Cause::ProbeSucceeded, now_ms);
                let expected = self.truth.recovered(&roster, index);
                told(event.as_ref(), expected.then_some(Change::Recovered));
            } else if roster.config.health.active.is_some() {
                let event = roster.eject_unbounded(member, Cause::Probe(Failed::Refused), now_ms);
                let expected = self.truth.ejected(&roster, index, now_ms);
                told(event.as_ref(), expected.then_some(Change::Ejected));
            }
        }
    }

    /// A person marks a backend.
    pub(super) fn mark(&mut self, dead: bool, rng: &mut fastrand::Rng) {
        let Some((roster, index)) = self.some_member(rng) else { return };
        let (member, now_ms) = (&roster.members[index], self.now_ms);
        let expected = self.truth.marked(&roster, index, dead, now_ms);
        if dead {
            told(roster.mark_dead(member, now_ms).as_ref(), expected.then_some(Change::MarkedDead));
            let back: Vec<_> = roster.keep_bounds(now_ms).into_iter().map(|event| event.backend).collect();
            assert_eq!(back, self.truth.keep_bounds(&roster), "who comes back when another is dead");
        } else {
            told(roster.mark_alive(member, now_ms).as_ref(), expected.then_some(Change::MarkedAlive));
        }
    }

    /// A backend falls ill, or gets well.
    pub(super) fn turn(&mut self, rng: &mut fastrand::Rng) {
        let Some((roster, index)) = self.some_member(rng) else { return };
        let address = &roster.members[index].address;
        if !self.ill.remove(address) {
            self.ill.insert(address.clone());
        }
    }
}

/// Workers.
impl World {
    /// Time passes. Some workers see it a tick late.
    pub(super) fn wait(&mut self, passes_ms: u64, rng: &mut fastrand::Rng) {
        self.now_ms += passes_ms;
        for worker in &mut self.workers {
            let late_ms = if rng.u8(..4) == 0 { TICK_MS } else { 0 };
            let ticked_ms = self.now_ms.saturating_sub(late_ms) / TICK_MS * TICK_MS;
            worker.now_ms = worker.now_ms.max(ticked_ms);
        }
    }

    /// A worker sees what was published last.
    pub(super) fn look(&mut self, worker: usize) {
        let Worker { pools, view, .. } = &mut self.workers[worker];
        if view.generation != self.shared.generation() {
            *view = View::new(&self.shared, pools, WORKERS, Some(view));
        }
        pools.sweep(0);
    }
}

/// The invariants.
impl World {
    /// What is real is true.
    pub(super) fn check(&mut self) {
        let mut rung = std::mem::take(&mut *self.rung.lock().unwrap());
        let mut woken = std::mem::take(&mut self.truth.woken);
        // Each line has an order; there is none among them.
        rung.sort_by(|one, other| one.0.cmp(&other.0));
        woken.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(rung, woken, "who is woken");
        for (queue, known) in &self.truth.gates {
            let real = known.gate.upgrade().map_or((0, 0), |gate| (gate.running(), gate.waiting()));
            let known = (known.inside.len() as u32, known.line.len() as u32);
            assert_eq!(real, known, "{queue:?}: who runs and who waits");
        }
        for roster in &self.shared.published().rosters {
            let queue = Queue::Absence(name(roster));
            let known = self.truth.line(&queue).line.len() as u32;
            assert_eq!(roster.state.absence.waiting(), known, "{queue:?}");
        }
        for request in &self.requests {
            if let Phase::AtGate { gateway, ticket, .. } = &request.phase {
                let inside = self.truth.gates[&gateway.queue].inside.contains(&request.number);
                assert_eq!(ticket.granted(), inside, "{:?}: whose turn it is", gateway.queue);
            }
        }
        self.check_backends();
    }

    fn check_backends(&self) {
        for (identity, known) in &self.truth.backends {
            let Some(state) = known.state.upgrade() else {
                assert_eq!(known.running, 0, "{identity:?} is forgotten");
                continue;
            };
            let running = state.running.load(std::sync::atomic::Ordering::Relaxed);
            assert_eq!(running, known.running, "{identity:?}: what runs");
            assert_eq!(state.health.standing(), known.standing, "{identity:?}");
            if known.standing == Standing::Alive {
                assert_eq!(state.health.failures(), known.failures, "{identity:?}: failures in a row");
            }
        }
    }

    /// Everything is over: nothing is left of it but what is named.
    pub(super) fn check_end(&mut self) {
        assert!(self.requests.is_empty() && self.tunnels.is_empty());
        (0..WORKERS).for_each(|worker| self.look(worker));
        self.housekeeping();
        let published = self.shared.published();
        let members = |roster: &Arc<Roster>| {
            roster.members.iter().map(|member| identity(roster, member)).collect::<Vec<_>>()
        };
        let named: HashSet<_> = published.rosters.iter().flat_map(members).collect();
        assert_eq!(self.truth.backends.keys().cloned().collect::<HashSet<_>>(), named);
        assert!(self.truth.backends.values().all(|backend| backend.running == 0));
        assert!(self.truth.gates.values().all(|gate| gate.inside.is_empty() && gate.line.is_empty()));
    }
}

fn queues_of(upstream: &Arc<str>) -> [Queue; 2] {
    [Queue::Upstream(upstream.clone()), Queue::Absence(upstream.clone())]
}

/// A change of standing is told, once, and nothing else is told as one. That a bound spares a backend may be told or not.
pub(super) fn told(event: Option<&Event>, expected: Option<Change>) {
    let change = event.map(|event| event.change).filter(|change| !matches!(change, Change::Spared(_)));
    assert_eq!(change, expected);
}
