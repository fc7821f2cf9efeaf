//! Requests on their ways through the real thing, as `proxy` takes them there, but without connections; beside each step stands
//! what it does to the truth.

use std::collections::{BTreeSet, HashSet};
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake};
use std::time::Duration;

use ringway_config::{OnNoBackend, Snapshot};

use super::super::health::{Cause, Change, Event, Failed, Standing};
use super::super::queue::{Place as InLine, Ticket};
use super::super::state::{BackendState, Roster, States};
use super::super::{Asking, GateHandle, Picked, Pools, Running, StateOf, Upstream};
use super::truth::{Arrival, Identity, Queue, Truth, identity, places};
use crate::error::Error;
use crate::net::dial::Address;
use crate::net::listen::Local;
use crate::view::{Names, Published, Shared, View};

/// Workers see the time in these, in milliseconds.
const TICK_MS: u64 = 100;
const WORKERS: usize = 3;
const FAILURES: [Failed; 6] = [
    Failed::Refused,
    Failed::ConnectTimeout,
    Failed::Closed,
    Failed::BadResponse,
    Failed::Timeout,
    Failed::Status(507),
];

/// What the control thread and the workers have, without their threads.
pub(super) struct World {
    pub(super) now_ms: u64,
    pub(super) truth: Truth,
    pub(super) requests: Vec<Request>,
    pub(super) tunnels: Vec<Tunnel>,
    pub(super) workers: Vec<Worker>,
    /// Backends at which requests fail.
    pub(super) ill: HashSet<Address>,
    shared: Arc<Shared>,
    states: States,
    retired: Vec<Arc<Published>>,
    /// How many came.
    arrived: u64,
    rung: Arc<Mutex<Vec<(Queue, u64)>>>,
}

pub(super) struct Worker {
    pools: Pools,
    view: Rc<View>,
    now_ms: u64,
}

/// A request that is on its way.
pub(super) struct Request {
    number: u64,
    worker: usize,
    /// Its worker and that one's generation, when it came.
    view: (usize, u64),
    upstream: Rc<Upstream>,
    /// The gates before it, the next one last.
    ahead: Vec<Gateway>,
    /// Those behind which it is.
    held: Vec<Gateway>,
    phase: Phase,
}

/// A gate on a request's way.
pub(super) struct Gateway {
    gate: GateHandle,
    queue: Queue,
    for_tunnels: bool,
}

enum Phase {
    Comes,
    AtGate { gateway: Gateway, ticket: Ticket, until_ms: u64 },
    Absent { place: InLine, until_ms: u64 },
    Runs(Run),
}

struct Run {
    _running: Running<StateOf>,
    picked: Picked,
    tried: Vec<usize>,
    retries: u8,
}

/// A tunnel, which has left its request behind.
pub(super) struct Tunnel {
    number: u64,
    held: Vec<Gateway>,
    at: Identity,
    _running: Running<Arc<BackendState>>,
}

struct Bell {
    queue: Queue,
    number: u64,
    rung: Arc<Mutex<Vec<(Queue, u64)>>>,
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
            Worker { view: View::new(&shared, &pools, WORKERS), pools, now_ms: 0 }
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
            let (name, admission) = (&roster.state.name, &roster.config.admission);
            self.truth.limit_gate(&Queue::Upstream(name.clone()), admission, &roster.state.gate);
            self.truth.limit_line(&Queue::Absence(name.clone()), admission.max_queued);
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
        for roster in &published.rosters {
            let back: Vec<_> = roster.keep_bounds(self.now_ms).into_iter().map(|event| event.backend).collect();
            assert_eq!(back, self.truth.keep_bounds(roster), "who comes back to a smaller pool");
            roster.state.absence.call_all();
            self.truth.call_all(&roster.state.name);
        }
    }

    /// Other addresses for names, with the same configuration.
    pub(super) fn resolve(&mut self, names: &Names) {
        let current = self.shared.published();
        self.publish(current.snapshot.clone(), names, current.own_addresses.clone());
    }

    /// As [`Engine`](crate::Engine) does it.
    pub(super) fn housekeeping(&mut self) {
        self.retired.retain(|published| Arc::strong_count(published) > 1);
        self.states.forget();
        self.forget_truth();
    }

    /// What nobody names or uses is forgotten, and nothing else.
    fn forget_truth(&mut self) {
        let (backends, queues) = self.in_use();
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
            queues.extend(queues_of(&roster.state.name));
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

    /// A probe ends: well, or not.
    pub(super) fn probe(&mut self, rng: &mut fastrand::Rng) {
        let Some((roster, index)) = self.some_member(rng) else { return };
        let (member, now_ms) = (&roster.members[index], self.now_ms);
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
            *view = View::new(&self.shared, pools, WORKERS);
        }
        pools.sweep(0);
    }

    /// A request comes; it goes as far as it gets.
    pub(super) fn arrive(&mut self, rng: &mut fastrand::Rng) {
        let worker = rng.usize(..WORKERS);
        self.look(worker);
        let view = self.workers[worker].view.clone();
        let upstream = rng.choice(&view.upstreams).expect("an upstream").clone();
        let (name, admission) = (&upstream.roster.state.name, &upstream.roster.config.admission);
        let mut ahead = vec![Gateway {
            gate: upstream.gate.clone(),
            queue: Queue::Upstream(name.clone()),
            for_tunnels: admission.count_tunnels,
        }];
        if let Some((site, gate)) = rng.choice(view.published.snapshot.sites.iter().zip(&view.gates)) {
            let (queue, for_tunnels) =
                (Queue::Site(site.name.as_str().into()), site.admission.count_tunnels);
            ahead.push(Gateway { gate: gate.clone(), queue, for_tunnels });
        }
        let number = self.arrived;
        self.arrived += 1;
        self.enter(Request {
            number,
            worker,
            view: (worker, view.generation),
            upstream,
            ahead,
            held: Vec::new(),
            phase: Phase::Comes,
        });
    }

    /// Through the gates that are ahead, then to a backend.
    fn enter(&mut self, mut request: Request) {
        while let Some(gateway) = request.ahead.pop() {
            let expected = self.truth.arrive(&gateway.queue, request.number);
            match self.come_to(&gateway, request.number, expected) {
                Ok(None) => request.held.push(gateway),
                Ok(Some(ticket)) => {
                    let until_ms = self.now_ms + ticket.timeout().as_millis() as u64;
                    request.phase = Phase::AtGate { gateway, ticket, until_ms };
                    return self.requests.push(request);
                }
                Err(error) => {
                    assert_eq!(error, Error::QueueFull);
                    return self.end(request);
                }
            }
        }
        self.find_backend(request);
    }

    fn come_to(
        &self,
        gateway: &Gateway,
        number: u64,
        expected: Arrival,
    ) -> Result<Option<Ticket>, Error> {
        if gateway.gate.try_enter() {
            assert_eq!(expected, Arrival::Enters, "{:?}", gateway.queue);
            return Ok(None);
        }
        let ticket = gateway.gate.join();
        assert_eq!(expected, if ticket.is_ok() { Arrival::Waits } else { Arrival::Refused }, "{:?}", gateway.queue);
        let ticket = ticket?;
        let waker = self.bell(&gateway.queue, number).into();
        assert!(ticket.poll_granted(&Context::from_waker(&waker)).is_pending());
        Ok(Some(ticket))
    }

    fn bell(&self, queue: &Queue, number: u64) -> Arc<Bell> {
        Arc::new(Bell { queue: queue.clone(), number, rung: self.rung.clone() })
    }

    /// It has its places; it waits for a backend, where none is there and the upstream says so.
    fn find_backend(&mut self, mut request: Request) {
        if !self.is_absent(&request.upstream.roster) {
            return self.begin(request);
        }
        let state = request.upstream.roster.state.clone();
        let queue = Queue::Absence(state.name.clone());
        let expected = self.truth.join(&queue, request.number);
        let Ok(place) = state.absence.join() else {
            assert_eq!(expected, Arrival::Refused, "{queue:?}");
            return self.end(request);
        };
        assert_eq!(expected, Arrival::Waits, "{queue:?}");
        let timeout = request.upstream.roster.config.admission.queue_timeout;
        let until_ms = self.now_ms + timeout.as_millis() as u64;
        let waker = self.bell(&queue, request.number).into();
        assert!(place.poll_called(&Context::from_waker(&waker)).is_pending());
        request.phase = Phase::Absent { place, until_ms };
        self.requests.push(request);
    }

    fn is_absent(&self, roster: &Roster) -> bool {
        if roster.config.health.on_no_backend != OnNoBackend::Wait {
            return false;
        }
        let absent = self.truth.permitted(roster, &[]).0.is_empty();
        assert_eq!(roster.has_available(), !absent, "{}", roster.state.name);
        absent
    }

    /// It goes to its first backend.
    fn begin(&mut self, request: Request) {
        let now_ms = self.workers[request.worker].now_ms;
        request.upstream.count_request(now_ms);
        let name = &request.upstream.roster.state.name;
        self.truth.budgets.entry(name.clone()).or_default().count_request(now_ms, request.view);
        let retries = request.upstream.roster.config.retries;
        self.connect(request, Vec::new(), retries);
    }

    /// It goes to a backend that was not tried.
    fn connect(&mut self, mut request: Request, mut tried: Vec<usize>, mut retries: u8) {
        let now_ms = self.workers[request.worker].now_ms;
        let upstream = request.upstream.clone();
        let client = Ipv4Addr::from_bits(request.number as u32 % 50);
        let client = (client.to_bits() > 0).then_some(client.into());
        let picked = upstream.picker.pick(&upstream.roster, &Asking { client, tried: places(&tried), now_ms });
        let (permitted, choice) = self.truth.permitted(&upstream.roster, &tried);
        assert_eq!(picked.map(|picked| picked.choice), choice, "{}", upstream.roster.state.name);
        let Some(picked) = picked else { return self.end(request) };
        assert!(permitted.contains(&picked.member), "{} of {permitted:?}", picked.member);
        if !tried.is_empty() {
            if retries == 0 || !self.withdraw(&request, now_ms) {
                return self.end(request);
            }
            retries -= 1;
        }
        tried.push(picked.member);
        self.truth.of_mut(&upstream.roster, &upstream.roster.members[picked.member]).running += 1;
        let run = Run { _running: upstream.run(picked.member), picked, tried, retries };
        request.phase = Phase::Runs(run);
        self.requests.push(request);
    }

    fn withdraw(&mut self, request: &Request, now_ms: u64) -> bool {
        let granted = request.upstream.withdraw_retry(now_ms);
        let budget = self.truth.budgets.get_mut(&request.upstream.roster.state.name);
        budget.expect("its request was counted").withdraw(granted, now_ms, request.view);
        granted
    }

    /// One who waits looks whether it is its turn; one who runs meets what its backend has for it.
    pub(super) fn go_on(&mut self, which: usize, rng: &mut fastrand::Rng) {
        let mut request = self.requests.swap_remove(which);
        match std::mem::replace(&mut request.phase, Phase::Comes) {
            Phase::Comes => unreachable!("it is somewhere"),
            Phase::AtGate { gateway, ticket, until_ms } if !ticket.granted() => {
                request.phase = Phase::AtGate { gateway, ticket, until_ms };
                self.requests.push(request);
            }
            Phase::AtGate { gateway, ticket, .. } => {
                assert!(ticket.enter());
                request.held.push(gateway);
                self.enter(request);
            }
            Phase::Absent { place, until_ms } => self.look_for_backend(request, place, until_ms),
            Phase::Runs(run) => self.meet(request, run, rng),
        }
    }

    fn look_for_backend(&mut self, mut request: Request, place: InLine, until_ms: u64) {
        let queue = Queue::Absence(request.upstream.roster.state.name.clone());
        let waker = self.bell(&queue, request.number).into();
        let context = Context::from_waker(&waker);
        let called = place.poll_called(&context);
        let line = &mut self.truth.line(&queue).line;
        let known = line.iter_mut().find(|(number, _)| *number == request.number).expect("it is in line");
        assert_eq!(called.is_ready(), std::mem::take(&mut known.1), "{queue:?}");
        if called.is_ready() {
            self.look(request.worker);
            let view = &self.workers[request.worker].view;
            if let Some(upstream) = view.again(&request.upstream) {
                request.view = (request.worker, view.generation);
                request.upstream = upstream;
            }
            if !self.is_absent(&request.upstream.roster) {
                self.leave_line(&queue, request.number);
                drop(place);
                return self.begin(request);
            }
            assert_eq!(place.poll_called(&context), Poll::Pending);
        }
        request.phase = Phase::Absent { place, until_ms };
        self.requests.push(request);
    }

    fn leave_line(&mut self, queue: &Queue, number: u64) {
        self.truth.line(queue).line.retain(|(waiting, _)| *waiting != number);
    }

    /// What comes of a try.
    fn meet(&mut self, mut request: Request, run: Run, rng: &mut fastrand::Rng) {
        let upstream = request.upstream.clone();
        let (roster, now_ms) = (&upstream.roster, self.workers[request.worker].now_ms);
        let member = &roster.members[run.picked.member];
        let is_ill = self.ill.contains(&member.address);
        if rng.u8(..10) < if is_ill { 1 } else { 9 } {
            member.state.latency.sample(Duration::from_micros(rng.u64(..100_000)), now_ms);
            let event = roster.succeeded(run.picked.member, run.picked.choice, now_ms);
            let expected = self.truth.succeeded(roster, run.picked.member, run.picked.choice, now_ms);
            told(event.as_ref(), expected.then_some(Change::Recovered));
            request.phase = Phase::Runs(run);
            return match rng.u8(..8) {
                0 => self.open_tunnel(request),
                // The body is still to come.
                1 => self.requests.push(request),
                _ => self.end(request),
            };
        }
        let failed = rng.choice(FAILURES).expect("a kind");
        let event = roster.failed(run.picked.member, failed, now_ms);
        let expected = self.truth.failed(roster, run.picked.member, failed, now_ms);
        told(event.as_ref(), expected.then_some(Change::Ejected));
        let Run { tried, retries, .. } = run;
        self.truth.of_mut(roster, member).running -= 1;
        match failed {
            Failed::Timeout | Failed::Status(_) => self.end(request),
            _ => self.connect(request, tried, retries),
        }
    }

    /// Its 101 came. A tunnel keeps what is counted for it.
    fn open_tunnel(&mut self, mut request: Request) {
        let Phase::Runs(run) = std::mem::replace(&mut request.phase, Phase::Comes) else { unreachable!() };
        let running = request.upstream.run_tunnel(run.picked.member).expect("a member");
        let roster = &request.upstream.roster;
        let at = identity(roster, &roster.members[run.picked.member]);
        let (held, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut request.held).into_iter().partition(|gateway| gateway.for_tunnels);
        others.into_iter().for_each(|gateway| self.leave(&gateway, request.number));
        self.tunnels.push(Tunnel { number: request.number, held, at, _running: running });
    }

    pub(super) fn end_tunnel(&mut self, which: usize) {
        let tunnel = self.tunnels.swap_remove(which);
        self.truth.backends.get_mut(&tunnel.at).expect("a known backend").running -= 1;
        tunnel.held.iter().for_each(|gateway| self.leave(gateway, tunnel.number));
    }

    /// A client goes away, wherever its request is.
    pub(super) fn abort(&mut self, which: usize) {
        let request = self.requests.swap_remove(which);
        self.end(request);
    }

    /// Those whose time in a line has passed leave it; those who were called meanwhile have their place.
    pub(super) fn patrol(&mut self) {
        let now_ms = self.now_ms;
        let is_late = |request: &mut Request| match &request.phase {
            Phase::AtGate { ticket, until_ms, .. } => *until_ms <= now_ms && !ticket.granted(),
            Phase::Absent { until_ms, .. } => *until_ms <= now_ms,
            _ => false,
        };
        let late: Vec<_> = self.requests.extract_if(.., is_late).collect();
        late.into_iter().for_each(|request| self.end(request));
    }

    /// A request is over, and gives back what it has.
    fn end(&mut self, request: Request) {
        let Request { number, upstream, held, phase, .. } = request;
        match phase {
            Phase::Comes => {}
            Phase::AtGate { gateway, ticket, .. } => {
                drop(ticket);
                self.truth.leave(&gateway.queue, number);
            }
            Phase::Absent { place, .. } => {
                drop(place);
                self.leave_line(&Queue::Absence(upstream.roster.state.name.clone()), number);
            }
            Phase::Runs(run) => {
                let roster = &upstream.roster;
                self.truth.of_mut(roster, &roster.members[run.picked.member]).running -= 1;
            }
        }
        held.iter().for_each(|gateway| self.leave(gateway, number));
    }

    fn leave(&mut self, gateway: &Gateway, number: u64) {
        gateway.gate.leave();
        self.truth.leave(&gateway.queue, number);
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
            let queue = Queue::Absence(roster.state.name.clone());
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
        let rosters = self.shared.published().rosters.clone();
        let named: HashSet<_> = rosters
            .iter()
            .flat_map(|roster| roster.members.iter().map(|member| identity(roster, member)))
            .collect();
        assert!(named.iter().eq(named.iter().filter(|identity| self.truth.backends.contains_key(*identity))));
        assert_eq!(self.truth.backends.len(), named.len());
        assert!(self.truth.backends.values().all(|backend| backend.running == 0));
        assert!(self.truth.gates.values().all(|gate| gate.inside.is_empty() && gate.line.is_empty()));
    }
}

impl Request {
    /// It is at a backend.
    pub(super) fn runs(&self) -> bool {
        matches!(self.phase, Phase::Runs(_))
    }

    fn gateways(&self) -> impl Iterator<Item = &Gateway> {
        let waits_at = match &self.phase {
            Phase::AtGate { gateway, .. } => Some(gateway),
            _ => None,
        };
        self.ahead.iter().chain(&self.held).chain(waits_at)
    }
}

fn queues_of(upstream: &Arc<str>) -> [Queue; 2] {
    [Queue::Upstream(upstream.clone()), Queue::Absence(upstream.clone())]
}

/// A change of standing is told, once, and nothing else is told as one. That a bound spares a backend may be told or not.
fn told(event: Option<&Event>, expected: Option<Change>) {
    let change = event.map(|event| event.change).filter(|change| !matches!(change, Change::Spared(_)));
    assert_eq!(change, expected);
}
