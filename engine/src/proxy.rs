//! A request, step by step. This page takes every decision about one; what it calls does work and decides no policy.
//! `route` finds where a request goes, `access` whether it may, `course` has what it takes with it from try to try, `parcel` what
//! is sent, `here` the answers that are made here, `file` those from files.

mod access;
mod course;
mod file;
mod here;
mod parcel;
mod route;

use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringway_config::OnNoBackend;
use ringway_wire::forward;
use ringway_wire::{BodyReader, FieldName, RequestHead};

use crate::access_log::Record;
use crate::conn::{After, Client};
use crate::error::Error;
use crate::net::buf::Buf;
use crate::net::patrol::Look;
use crate::relay::{Asked, Complete, Done, Failure, Flow, Relay, Stage};
use crate::request_id::{self, RequestId};
use crate::respond;
use crate::terms::Terms;
use crate::tunnel;
use crate::upstream::{self, Backend, Failed, GateHandle, Picked, Upstream};
use crate::view::{Settings, View};
use crate::worker::{Heads, Worker};

use course::{Course, Link, Patience, Place, Places};
use parcel::Parcel;
use route::{Forwarding, Target};

/// Why a request is sent once more to the same backend.
const IDLE_CLOSED: &str = "idle_closed";

/// A connection that takes so long to make, in milliseconds, says something about its backend: by then the system has asked
/// again.
const SLOW_DIAL_MS: u64 = 1_000;

/// Serves the request whose head, of `head_bytes` bytes, stands at the front of `input`: site, rule, access, backend, relay,
/// answer. Says how the client's connection goes on.
pub(crate) async fn handle(
    worker: &Rc<Worker>,
    client: &Client,
    view: Rc<View>,
    input: &mut Buf,
    heads: &mut Heads,
    head_bytes: usize,
) -> After {
    let settings = view.settings.clone();
    let mut exchange = Exchange::begin(worker, client, &settings, heads, input, head_bytes);
    let mut target = exchange.route(view, &heads.request, input);
    if let Ok(Target::Unsure(unsure)) = target {
        target = Box::pin(exchange.find_out(*unsure, &heads.request, input)).await;
    }
    let result = match target {
        Ok(Target::Backend(target)) => exchange.forward(target, input, heads).await,
        Ok(Target::Here(answer)) => Ok(exchange.answer_here(answer, input, &heads.request).await),
        Ok(Target::File(sought)) => exchange.serve_file(sought, input, &heads.request).await,
        // Nobody waits twice.
        Ok(Target::Unsure(_)) => Err(Failure::unsent(Error::AuthUnavailable)),
        Err(error) => Err(Failure::unsent(error)),
    };
    let after = match result {
        Ok(after) => after,
        Err(failure) => exchange.fail(failure, input).await,
    };
    exchange.end();
    after
}

/// One request and its response, from its head to its line in the log.
struct Exchange<'a> {
    worker: &'a Rc<Worker>,
    client: &'a Client,
    settings: &'a Settings,
    /// What site and rule say, where they say anything.
    special: Option<Rc<Terms>>,
    asked: Asked,
    /// What still stands of the request's head, at the front of the client's input.
    head_bytes: usize,
    body: BodyReader,
    flow: Flow,
    peer_trusted: bool,
    client_address: Option<IpAddr>,
    request_id: Option<RequestId>,
    /// It needs no credentials where others of its rule or site do.
    came_publicly: bool,
    /// Its Authorization is meant for us alone.
    drops_authorization: bool,
    /// What an endpoint says of it to the backend, as whole lines.
    granted_fields: Vec<u8>,
    /// Fields of an answer of ours that depend on the request, as whole lines.
    particulars: Vec<u8>,
    began: Instant,
    /// How long it waited for its turn, or for a backend.
    queued: Duration,
    error: Option<Error>,
    record: Option<Box<Record>>,
}

impl<'a> Exchange<'a> {
    fn begin(
        worker: &'a Rc<Worker>,
        client: &'a Client,
        settings: &'a Settings,
        heads: &mut Heads,
        input: &Buf,
        head_bytes: usize,
    ) -> Self {
        worker.counters.requests.add(1);
        worker.counters.active.add(1);
        let (head, bytes) = (&mut heads.request, input.filled());
        let trusted = &settings.server.trusted_proxies;
        let peer_trusted = client.peer.map_or(trusted.unix, |peer| trusted.contains(peer));
        let client_address =
            forward::client_address(head, bytes, client.peer, peer_trusted, &|ip| trusted.contains(ip));
        let name = settings.server.request_id.as_deref();
        let request_id = name.map(|name| request_id::take(head, bytes, name, peer_trusted));
        let mut record = worker.log.begin(&settings.access_log);
        if let Some(record) = &mut record {
            record.begin(head, bytes, client_address, request_id.as_deref());
        }
        Self {
            asked: Asked::new(head, bytes),
            body: BodyReader::new(head.framing()),
            flow: Flow::default(),
            began: Instant::now(),
            queued: Duration::ZERO,
            error: None,
            head_bytes,
            worker,
            client,
            settings,
            special: None,
            peer_trusted,
            client_address,
            request_id,
            came_publicly: false,
            drops_authorization: false,
            granted_fields: Vec::new(),
            particulars: Vec::new(),
            record,
        }
    }

    /// What site and rule say; until they are known, what holds for all.
    fn terms(&self) -> &Terms {
        terms_of(self.special.as_ref(), self.settings)
    }

    /// Brings the request to a backend and the response to the client: its places, a backend, a connection, the attempt; and
    /// another one when that fails and the request may be sent again.
    async fn forward(
        &mut self,
        mut target: Forwarding,
        input: &mut Buf,
        heads: &mut Heads,
    ) -> Result<After, Failure> {
        if let Some(record) = &mut self.record {
            record.upstream = Some(target.upstream.name.clone());
        }
        let places = self.admit(&mut target).await.map_err(Failure::unsent)?;
        let mut course = Course::begin(target.retries, self.client_address);
        let mut link = self.connect(&target.upstream, &mut course, None).await.map_err(Failure::unsent)?;
        let repeatable = self.asked.method.is_idempotent() || heads.request.has(FieldName::IdempotencyKey);
        let mut parcel = Parcel::new(self.worker.bufs.take(), heads.request.framing(), repeatable);
        self.pack(&mut target, &link, &mut parcel, heads, input).map_err(Failure::unsent)?;
        let upstream = target.upstream.clone();
        loop {
            let response = self.terms().timeouts.response;
            let patience = course.patience(response, response);
            let result = self.attempt(&upstream, &link, patience, &mut parcel, input, heads).await;
            let failure = match result {
                Ok(Done::Complete(complete)) => {
                    if complete.backend_reusable {
                        upstream.keep(link.picked.member, link.backend, self.worker.wheel.now());
                    }
                    return Ok(self.after(complete, &heads.request, input));
                }
                Ok(Done::Tunnel { from_backend }) => {
                    // A tunnel may be silent for hours: nothing that it does not need waits with it.
                    let from_client = std::mem::replace(input, self.worker.bufs.apart(0));
                    let kept = (upstream.run_tunnel(link.picked.member), places.for_tunnel());
                    drop((parcel, target, upstream, link.running));
                    let after = self.tunnel(&link.backend, from_client, from_backend).await;
                    drop(kept);
                    return Ok(after);
                }
                Err(failure) => failure,
            };
            if let Some(sent_ms) = self.flow.sent_ms() {
                course.spend(sent_ms, self.worker.now_ms());
            }
            link = self.next(&upstream, link, &mut course, failure, repeatable, patience).await?;
            self.flow.begin_again();
            self.repack(&target, &link, &mut parcel, &heads.request);
        }
    }

    /// A place at the site and at the upstream, and a backend that is available, where the upstream says to wait for one.
    /// After a wait `target` has the upstream as it is now.
    async fn admit(&mut self, target: &mut Forwarding) -> Result<Places, Error> {
        let mut site = None;
        if let Some((gate, for_tunnels)) = &target.site {
            if !gate.try_enter() {
                self.wait_before(gate).await?;
            }
            site = Some(Place { gate: gate.clone(), for_tunnels: *for_tunnels });
        }
        let at_site = self.queued;
        if !target.upstream.gate.try_enter() {
            self.wait_before(&target.upstream.gate).await?;
        }
        let for_tunnels = target.upstream.roster.config.admission.count_tunnels;
        let upstream = Place { gate: target.upstream.gate.clone(), for_tunnels };
        if !self.queued.is_zero() {
            self.renew(&mut target.upstream);
        }
        if waits_for_backend(&target.upstream) {
            self.wait_for_backend(&mut target.upstream, self.queued - at_site).await?;
        }
        target.upstream.count_request(self.worker.now_ms());
        Ok(Places { site, upstream })
    }

    /// Waits before a gate until there is a place, which is the caller's then.
    #[cold]
    async fn wait_before(&mut self, gate: &GateHandle) -> Result<(), Error> {
        let began = Instant::now();
        let waited = gate.wait(self.worker, self.client, self.asked.client_look()).await;
        if waited != Err(Error::QueueFull) {
            self.queued += began.elapsed();
        }
        waited
    }

    /// Waits for a backend. The request has `waited` at its upstream already.
    #[cold]
    async fn wait_for_backend(&mut self, upstream: &mut Rc<Upstream>, waited: Duration) -> Result<(), Error> {
        let began = Instant::now();
        // Joined before it is looked again: a call in between is not missed.
        let place = upstream.roster.state.absence.join()?;
        let mut result = Ok(());
        while result.is_ok() && waits_for_backend(upstream) {
            let queue_timeout = upstream.roster.config.admission.queue_timeout;
            let left = queue_timeout.saturating_sub(waited + began.elapsed());
            result = place.wait(self.worker, self.client, self.asked.client_look(), left).await;
            self.renew(upstream);
        }
        self.queued += began.elapsed();
        result
    }

    /// An upstream as the present configuration has it, when it still does.
    fn renew(&self, upstream: &mut Rc<Upstream>) {
        if let Some(now) = self.worker.view().again(upstream) {
            *upstream = now;
        }
    }

    /// A connection to a backend that was not tried yet: an idle one, else a fresh one; the next backend while none can be
    /// made. `failed` is why it is tried again; then it takes one of the request's retries.
    async fn connect(
        &mut self,
        upstream: &Rc<Upstream>,
        course: &mut Course,
        mut failed: Option<Error>,
    ) -> Result<Link, Error> {
        loop {
            let now_ms = self.worker.now_ms();
            if let Some(failed) = failed {
                // Before the choice, which is somebody's turn.
                let is_over = course.left(self.terms().timeouts.response).is_zero();
                if is_over
                    || course.has_tried_all(upstream)
                    || !course.take_retry()
                    || !upstream.withdraw_retry(now_ms)
                {
                    return Err(failed);
                }
            }
            let Some(picked) = course.choose(upstream, now_ms) else {
                let Some(failed) = failed else { return Err(upstream.nobody()) };
                upstream.give_back_retry(now_ms);
                return Err(failed);
            };
            if failed.is_some() {
                upstream.count_retry();
                self.worker.counters.retries.add(1);
            }
            let running = upstream.run(picked.member);
            self.note_try(upstream, picked);
            let reached = match upstream.idle(picked.member) {
                Some(backend) => Ok(backend),
                None => self.dial(upstream, picked.member, course).await,
            };
            match reached {
                Ok(backend) => return Ok(Link { picked, backend, running }),
                Err(error) if is_unreachable(error) => failed = Some(error),
                Err(error) => return Err(error),
            }
        }
    }

    /// A fresh connection. That there is none is the backend's failure, where it is its fault.
    async fn dial(
        &mut self,
        upstream: &Upstream,
        member: usize,
        course: &mut Course,
    ) -> Result<Box<Backend>, Error> {
        let timeouts = &self.terms().timeouts;
        let patience = course.patience(timeouts.connect, timeouts.response);
        let began_ms = self.worker.now_ms();
        let look = self.asked.client_look();
        let dialled = upstream::dial(self.worker, self.client, look, upstream, member, patience.given).await;
        let now_ms = self.worker.now_ms();
        // The first connection that is made takes nothing of the time until a response head.
        if dialled.is_err() || course.is_retried() {
            course.spend(began_ms, now_ms);
        }
        if let Err(error) = &dialled {
            // No client makes connecting slow: one that gives up before we do says what the timeout would have.
            let slow = *error == Error::ClientGone && now_ms - began_ms >= SLOW_DIAL_MS;
            let error = if slow { Error::UpstreamConnectTimeout } else { *error };
            self.blame(upstream, member, error, patience.judges(error));
        }
        dialled
    }

    async fn attempt(
        &mut self,
        upstream: &Upstream,
        link: &Link,
        patience: Patience,
        parcel: &mut Parcel,
        input: &mut Buf,
        heads: &mut Heads,
    ) -> Result<Done, Failure> {
        let terms = terms_of(self.special.as_ref(), self.settings);
        let attempt = upstream.begin_try(link.picked);
        let relay = Relay {
            worker: self.worker,
            client: self.client,
            settings: self.settings,
            terms,
            request_id: self.request_id.as_deref(),
            backend: &link.backend,
            attempt: &attempt,
            response_timeout: patience.given,
            asked: self.asked,
            flow: &self.flow,
            replay: &parcel.replay,
            request_writer: parcel.writer,
        };
        let result = relay.run(&mut parcel.out, input, &mut self.body, &mut heads.response).await;
        if let Err(Failure { error: Error::UpstreamTimeout, stage: Stage::Sent | Stage::Answering }) = result
        {
            attempt.timed_out(self.worker);
        }
        result
    }

    /// The connection for the next attempt, after one has failed: a fresh one in place of an idle one that had gone, else one
    /// to another backend.
    ///
    /// # Errors
    /// The failure, when the request may not be sent again, or cannot.
    async fn next(
        &mut self,
        upstream: &Rc<Upstream>,
        mut link: Link,
        course: &mut Course,
        failure: Failure,
        repeatable: bool,
        patience: Patience,
    ) -> Result<Link, Failure> {
        let again = may_repeat(failure, repeatable);
        let mut error = failure.error;
        let was_idle = link.backend.reused && !self.flow.is_answered() && error == Error::UpstreamClosed;
        if again && was_idle && !course.left(self.terms().timeouts.response).is_zero() {
            self.worker.counters.resends.add(1);
            self.note_resend();
            match self.dial(upstream, link.picked.member, course).await {
                Ok(backend) => {
                    link.backend = backend;
                    return Ok(link);
                }
                Err(unreachable) => error = unreachable,
            }
        } else if self.flow.status.get() == 0 {
            // Once its head was there the backend has been judged by that.
            let is_clients = error != Error::UpstreamBadResponse && self.flow.client_owed();
            // Where only the time is missing to replace an idle connection, its end is nobody's failure either.
            let judges = patience.judges(error) && !is_clients && !(again && was_idle);
            self.blame(upstream, link.picked.member, error, judges);
        }
        if !again || !is_retried(error) {
            return Err(Failure { error, ..failure });
        }
        drop(link);
        let next = self.connect(upstream, course, Some(error)).await;
        next.map_err(|error| Failure { error, ..failure })
    }

    /// Notes a failure of the backend's, and lets it be `judged` by it.
    fn blame(&mut self, upstream: &Upstream, member: usize, error: Error, judged: bool) {
        if let Some(failed) = failed(error) {
            if judged {
                upstream.failed(self.worker, member, failed);
            }
            if let Some(record) = &mut self.record {
                record.fail(failed.id());
            }
        }
    }

    /// How the client's connection goes on after a complete exchange.
    fn after(&self, complete: Complete, head: &RequestHead, input: &Buf) -> After {
        match (complete.client_closes, complete.request_read) {
            (false, true) => After::KeepAlive,
            (true, true) if self.has_said_all(head, input) => After::Close,
            _ => After::Linger,
        }
    }

    /// Whether the client announced that it sends no more, and did not. After a body there may be a stray line end; closing on
    /// unread bytes would be a reset, which can destroy the response.
    fn has_said_all(&self, head: &RequestHead, input: &Buf) -> bool {
        let announced = !self.asked.persistent && head.framing().is_empty();
        announced && input.is_empty() && self.client.stream.is_open_and_silent()
    }

    fn note_try(&mut self, upstream: &Upstream, picked: Picked) {
        if let (Some(record), Some(endpoint)) = (&mut self.record, upstream.endpoints.get(picked.member)) {
            record.try_at(endpoint.name.clone(), upstream.why(picked.choice));
        }
    }

    fn note_resend(&mut self) {
        if let Some(record) = &mut self.record {
            record.fail(IDLE_CLOSED);
            record.try_again();
        }
    }

    async fn tunnel(&mut self, backend: &Backend, from_client: Buf, from_backend: Buf) -> After {
        self.worker.counters.tunnels.add(1);
        let idle = self.terms().timeouts.tunnel_idle;
        // Nobody reads from a client whose backend takes nothing: a reset would go unnoticed.
        let _watched =
            self.client.registration.waiting(backend.stream.fd(), Look::PeerReset, self.worker.wheel.now());
        let carried = tunnel::run(self.worker, self.client, backend, idle, from_client, from_backend).await;
        self.worker.counters.tunnels.sub(1);
        self.flow.request_bytes.set(carried.from_client);
        self.flow.response_bytes.set(carried.to_client);
        After::Close
    }

    /// Counts and logs.
    fn end(mut self) {
        let counters = &self.worker.counters;
        let now = Instant::now();
        let took = now - self.began;
        counters.active.sub(1);
        counters.status(self.flow.status.get());
        counters.latency(took);
        if let Some(error) = self.error {
            counters.error(respond::code_index(respond::answer(error).code));
        }
        if let Some(mut record) = self.record.take() {
            let answered = self.error.map(respond::answer).map_or(0, |answer| answer.status);
            record.status = if self.flow.status.get() == 0 { answered } else { self.flow.status.get() };
            record.request_bytes = self.flow.request_bytes.get();
            record.response_bytes = self.flow.response_bytes.get();
            record.took = took;
            record.queued = self.queued;
            record.error = self.error;
            self.worker.log.end(record, &self.settings.access_log, now, counters);
        }
    }
}

fn terms_of<'a>(special: Option<&'a Rc<Terms>>, settings: &'a Settings) -> &'a Terms {
    special.map_or(&settings.plain, |terms| terms)
}

/// Whether a request waits for a backend, because there is none.
fn waits_for_backend(upstream: &Upstream) -> bool {
    upstream.roster.config.health.on_no_backend == OnNoBackend::Wait && !upstream.roster.has_available()
}

/// Whether a request may be sent again after a failed attempt (RFC 9110 section 9.2.2): when nothing of it was written, or
/// when it may be repeated, all that was written is kept, and no byte of a response went to the client.
fn may_repeat(failure: Failure, repeatable: bool) -> bool {
    match failure.stage {
        Stage::Unsent => true,
        Stage::Sent => repeatable,
        Stage::Answering | Stage::Started { .. } => false,
    }
}

/// Whether another backend may do better. After a timeout of the response none is asked: the time is over.
fn is_retried(error: Error) -> bool {
    is_unreachable(error) || matches!(error, Error::UpstreamClosed | Error::UpstreamBadResponse)
}

/// No connection was made, for a reason that lies with the backend.
fn is_unreachable(error: Error) -> bool {
    matches!(error, Error::UpstreamRefused | Error::UpstreamConnectTimeout)
}

/// What an error says about the backend's health, if anything.
fn failed(error: Error) -> Option<Failed> {
    match error {
        Error::UpstreamRefused => Some(Failed::Refused),
        Error::UpstreamConnectTimeout => Some(Failed::ConnectTimeout),
        Error::UpstreamClosed => Some(Failed::Closed),
        Error::UpstreamBadResponse => Some(Failed::BadResponse),
        Error::UpstreamTimeout => Some(Failed::Timeout),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_have_been_served_is_repeated() {
        let failed = |stage| Failure { error: Error::UpstreamClosed, stage };
        assert!(may_repeat(failed(Stage::Unsent), false));
        assert!(may_repeat(failed(Stage::Sent), true));
        assert!(!may_repeat(failed(Stage::Sent), false));
        assert!(!may_repeat(failed(Stage::Answering), true));
        assert!(!may_repeat(failed(Stage::Started { looks_complete: false }), true));
    }

    #[test]
    fn what_lies_with_the_client_or_with_us_is_no_failure_of_a_backend() {
        for error in
            [Error::ClientGone, Error::BodyTooLarge, Error::Exhausted, Error::Loop, Error::RequestTimeout]
        {
            assert!(failed(error).is_none() && !is_retried(error), "{error:?}");
        }
        assert!(failed(Error::UpstreamTimeout).is_some() && !is_retried(Error::UpstreamTimeout));
    }
}
