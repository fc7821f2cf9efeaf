//! Requests on their ways through the real thing, as `proxy` takes them there, but without connections; beside each step stands
//! what it does to the truth.

use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringway_config::OnNoBackend;

use super::super::health::{Change, Failed};
use super::super::queue::{Place as InLine, Ticket};
use super::super::state::{BackendState, Roster};
use super::super::{Asking, Choice, GateHandle, Picked, Running, StateOf, Upstream};
use super::truth::{Arrival, Identity, Queue, identity, name, places};
use super::world::{Bell, WORKERS, World, told};
use crate::error::Error;

const FAILURES: [Failed; 6] = [
    Failed::Refused,
    Failed::ConnectTimeout,
    Failed::Closed,
    Failed::BadResponse,
    Failed::Timeout,
    Failed::Status(507),
];

/// A request that is on its way.
pub(super) struct Request {
    pub(super) number: u64,
    worker: usize,
    /// Its worker and the generation of that one's view that it goes by.
    view: (usize, u64),
    pub(super) upstream: Rc<Upstream>,
    /// The gates before it, the next one last.
    ahead: Vec<Gateway>,
    /// Those behind which it is.
    held: Vec<Gateway>,
    /// It had to wait at a gate.
    waited: bool,
    pub(super) phase: Phase,
}

/// A gate on a request's way.
pub(super) struct Gateway {
    gate: GateHandle,
    pub(super) queue: Queue,
    for_tunnels: bool,
}

pub(super) enum Phase {
    Comes,
    AtGate { gateway: Gateway, ticket: Ticket, until_ms: u64 },
    Absent { place: InLine, until_ms: u64 },
    Runs(Run),
}

pub(super) struct Run {
    _running: Running<StateOf>,
    picked: Picked,
    tried: Vec<usize>,
    retries: u8,
}

/// A tunnel, which has left its request behind.
pub(super) struct Tunnel {
    number: u64,
    pub(super) held: Vec<Gateway>,
    pub(super) at: Identity,
    _running: Running<Arc<BackendState>>,
}

/// Requests.
impl World {
    /// A request comes; it goes as far as it gets.
    pub(super) fn arrive(&mut self, rng: &mut fastrand::Rng) {
        let worker = rng.usize(..WORKERS);
        self.look(worker);
        let view = self.workers[worker].view.clone();
        let upstream = rng.choice(&view.upstreams).expect("an upstream").clone();
        let (name, admission) = (name(&upstream.roster), &upstream.roster.config.admission);
        let mut ahead = vec![Gateway {
            gate: upstream.gate.clone(),
            queue: Queue::Upstream(name),
            for_tunnels: admission.count_tunnels,
        }];
        if let Some((site, gate)) = rng.choice(view.published.snapshot.sites.iter().zip(&view.gates)) {
            let (queue, for_tunnels) = (Queue::Site(site.name.as_str().into()), site.admission.count_tunnels);
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
            waited: false,
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
                    assert_eq!(ticket.timeout(), self.truth.gate(&gateway.queue).timeout);
                    request.waited = true;
                    let until_ms = self.now_ms + ticket.timeout().as_millis() as u64;
                    request.phase = Phase::AtGate { gateway, ticket, until_ms };
                    return self.requests.push(request);
                }
                Err(error) => {
                    assert_eq!(error, Error::QueueFull);
                    self.truth.see("refused");
                    return self.end(request);
                }
            }
        }
        if request.waited {
            self.renew(&mut request);
        }
        self.find_backend(request);
    }

    fn come_to(&self, gateway: &Gateway, number: u64, expected: Arrival) -> Result<Option<Ticket>, Error> {
        if gateway.gate.try_enter() {
            assert_eq!(expected, Arrival::Enters, "{:?}", gateway.queue);
            return Ok(None);
        }
        let ticket = gateway.gate.join();
        assert_eq!(
            expected,
            if ticket.is_ok() { Arrival::Waits } else { Arrival::Refused },
            "{:?}",
            gateway.queue
        );
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
        let queue = Queue::Absence(name(&request.upstream.roster));
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
        let absent = self.truth.permitted(roster, &[]).0.is_empty() && !roster.is_forbidden();
        assert_eq!(roster.has_available(), !absent, "{}", roster.config.name);
        absent
    }

    /// It goes to its first backend.
    fn begin(&mut self, request: Request) {
        let now_ms = self.workers[request.worker].now_ms;
        request.upstream.count_request(now_ms);
        let name = name(&request.upstream.roster);
        self.truth.budgets.entry(name).or_default().count_request(now_ms, request.view);
        let retries = request.upstream.roster.config.retries;
        self.connect(request, Vec::new(), retries);
    }

    /// It goes to a backend that was not tried.
    fn connect(&mut self, mut request: Request, mut tried: Vec<usize>, mut retries: u8) {
        let now_ms = self.workers[request.worker].now_ms;
        let upstream = request.upstream.clone();
        let client = Ipv4Addr::from_bits(request.number as u32 % 50);
        let client = (client.to_bits() > 0).then_some(client.into());
        if !tried.is_empty() {
            let is_last = tried.len() >= upstream.roster.members.len();
            if is_last || retries == 0 || !self.withdraw(&request, now_ms) {
                return self.end(request);
            }
            retries -= 1;
        }
        let picked =
            upstream.picker.pick(&upstream.roster, &Asking { client, tried: places(&tried), now_ms });
        let (permitted, choice) = self.truth.permitted(&upstream.roster, &tried);
        assert_eq!(picked.map(|picked| picked.choice), choice, "{}", upstream.roster.config.name);
        self.truth.see(choice.map_or("nobody", |choice| match choice {
            Choice::Only => "only",
            Choice::Strategy => "by strategy",
            Choice::Backup => "backup",
            Choice::Ejected => "ejected chosen",
        }));
        let Some(picked) = picked else {
            if !tried.is_empty() {
                upstream.give_back_retry(now_ms);
                self.truth
                    .budgets
                    .get_mut(&name(&upstream.roster))
                    .expect("it was withdrawn from")
                    .give_back();
            }
            return self.end(request);
        };
        assert!(permitted.contains(&picked.member), "{} of {permitted:?}", picked.member);
        tried.push(picked.member);
        self.truth.of_mut(&upstream.roster, &upstream.roster.members[picked.member]).running += 1;
        let run = Run { _running: upstream.run(picked.member), picked, tried, retries };
        request.phase = Phase::Runs(run);
        self.requests.push(request);
    }

    fn withdraw(&mut self, request: &Request, now_ms: u64) -> bool {
        let granted = request.upstream.withdraw_retry(now_ms);
        let budget = self.truth.budgets.get_mut(&name(&request.upstream.roster));
        let beyond_the_first =
            budget.expect("its request was counted").withdraw(granted, now_ms, request.view);
        self.truth.see(match (granted, beyond_the_first) {
            (true, false) => "one of the first retries",
            (true, true) => "a retry by share",
            (false, _) => "no more retries",
        });
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
                self.truth.see("let in from a line");
                request.held.push(gateway);
                self.enter(request);
            }
            Phase::Absent { place, until_ms } => self.look_for_backend(request, place, until_ms),
            Phase::Runs(run) => self.meet(request, run, rng),
        }
    }

    fn look_for_backend(&mut self, mut request: Request, place: InLine, until_ms: u64) {
        let queue = Queue::Absence(name(&request.upstream.roster));
        let waker = self.bell(&queue, request.number).into();
        let context = Context::from_waker(&waker);
        let called = place.poll_called(&context);
        let line = &mut self.truth.line(&queue).line;
        let known = line.iter_mut().find(|(number, _)| *number == request.number).expect("it is in line");
        assert_eq!(called.is_ready(), std::mem::take(&mut known.1), "{queue:?}");
        if called.is_ready() {
            self.renew(&mut request);
            if !self.is_absent(&request.upstream.roster) {
                self.leave_line(&queue, request.number);
                drop(place);
                self.truth.see("a backend came back for it");
                return self.begin(request);
            }
            assert_eq!(place.poll_called(&context), Poll::Pending);
        }
        request.phase = Phase::Absent { place, until_ms };
        self.requests.push(request);
    }

    /// It sees its upstream as it is now, if there still is one.
    fn renew(&mut self, request: &mut Request) {
        self.look(request.worker);
        let view = &self.workers[request.worker].view;
        if let Some(upstream) = view.again(&request.upstream) {
            request.view = (request.worker, view.generation);
            request.upstream = upstream;
        }
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
            self.truth.see(if expected { "a request brings one back" } else { "succeeds" });
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
        self.truth.see(if expected { "ejects" } else { "fails" });
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
        self.truth.see("a tunnel");
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
        self.truth.see(match &request.phase {
            Phase::AtGate { ticket, .. } if ticket.granted() => "gone at its turn",
            Phase::AtGate { .. } => "gone from a line",
            Phase::Absent { .. } => "gone while there was no backend",
            Phase::Comes | Phase::Runs(_) => "gone while it ran",
        });
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
        late.iter().for_each(|_| self.truth.see("too late"));
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
                self.leave_line(&Queue::Absence(name(&upstream.roster)), number);
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

impl Request {
    /// It is at a backend.
    pub(super) fn runs(&self) -> bool {
        matches!(self.phase, Phase::Runs(_))
    }

    /// The gates that it knows of.
    pub(super) fn gateways(&self) -> impl Iterator<Item = &Gateway> {
        let waits_at = match &self.phase {
            Phase::AtGate { gateway, .. } => Some(gateway),
            _ => None,
        };
        self.ahead.iter().chain(&self.held).chain(waits_at)
    }
}
