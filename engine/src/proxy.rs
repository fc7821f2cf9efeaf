//! A request, step by step. This page takes every decision about one; what it calls does work and decides no policy.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use ringway_config::{Fate, Forward, NoRoute, Respond, RouteRequest, RuleId, SentPath, Snapshot, Unserved};
use ringway_wire::forward::{self, MaxForwards};
use ringway_wire::{BodyReader, Expect, FieldName, Framing, Method, RequestHead, UpgradeRequest};

use crate::access_log::Record;
use crate::body::BodyWriter;
use crate::conn::{After, Client, DRAIN_BYTES};
use crate::error::Error;
use crate::net::buf::Buf;
use crate::net::deadline::Ends;
use crate::net::patrol::Look;
use crate::outgoing::{self, RequestEdits};
use crate::relay::{Asked, Complete, Done, Failure, Flow, Relay, Stage};
use crate::request_id::{self, RequestId};
use crate::respond::{self, Asker, Written};
use crate::terms::Terms;
use crate::tunnel;
use crate::upstream::{self, Backend, Endpoint, Upstream};
use crate::view::{Settings, View};
use crate::worker::{Heads, Worker};

/// Backends that are dialled for one request before it fails.
const DIALS: usize = 3;
/// How often a request may have passed us already (by Via) before it counts as a loop.
const VIA_PASSES: usize = 10;

/// Serves the request whose head, of `head_bytes` bytes, stands at the front of `input`: site, rule, backend, relay,
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
    let mut exchange = Exchange::begin(worker, client, &settings, heads, input);
    let result = match exchange.route(view, &heads.request, input) {
        Ok(Target::Backend(target)) => exchange.forward(target, input, heads, head_bytes).await,
        Ok(Target::Here(answer)) => Ok(exchange.answer_here(answer, input, &heads.request, head_bytes).await),
        Err(error) => {
            input.consume(head_bytes);
            Err(Failure::unsent(error))
        }
    };
    let after = match result {
        Ok(after) => after,
        Err(failure) => exchange.fail(failure, input).await,
    };
    exchange.end();
    after
}

/// Where a request goes.
enum Target {
    Backend(Forwarding),
    /// It is answered here.
    Here(Local),
}

/// What a request is answered with here.
enum Local {
    /// Its Max-Forwards is used up.
    MaxForwards,
    Redirect {
        status: u16,
        location: Vec<u8>,
    },
    /// As the rule says.
    Respond(Arc<Respond>),
}

/// What a rule makes of a request.
struct Forwarding {
    /// Keeps the revision that `rule` belongs to; goes as soon as the request's head is written.
    view: Rc<View>,
    rule: RuleId,
    upstream: Rc<Upstream>,
    path: SentPath,
    tenant: Option<Vec<u8>>,
}

impl Forwarding {
    fn rule(&self) -> Option<&Forward> {
        self.view.published.snapshot.rule(self.rule)?.forward()
    }
}

/// One request and its response, from its head to its line in the log.
struct Exchange<'a> {
    worker: &'a Rc<Worker>,
    client: &'a Client,
    settings: &'a Settings,
    /// What site and rule say, where they say anything.
    special: Option<Rc<Terms>>,
    asked: Asked,
    body: BodyReader,
    flow: Flow,
    peer_trusted: bool,
    client_address: Option<IpAddr>,
    request_id: Option<RequestId>,
    began: Instant,
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
            error: None,
            worker,
            client,
            settings,
            special: None,
            peer_trusted,
            client_address,
            request_id,
            record,
        }
    }

    /// What site and rule say; until they are known, what holds for all.
    fn terms(&self) -> &Terms {
        terms_of(self.special.as_ref(), self.settings)
    }

    /// What is wrong with the request, else where it goes.
    fn route(&mut self, view: Rc<View>, head: &RequestHead, input: &Buf) -> Result<Target, Error> {
        let bytes = input.filled();
        self.acceptable(head, bytes)?;
        if forward::max_forwards(head, bytes) == MaxForwards::AnswerHere {
            return Ok(Target::Here(Local::MaxForwards));
        }
        let (path, query) = (head.path(bytes), head.query(bytes));
        let host = head.authority().map(|authority| authority.host.of(bytes));
        let request = RouteRequest {
            listener: &self.client.registration.listener().identity,
            host,
            path,
            method: head.method_bytes(bytes),
            websocket: self.asked.upgrades(),
        };
        let snapshot = &view.published.snapshot;
        let route = snapshot.route(&request, &mut view.scratch.borrow_mut());
        let route = route.map_err(|none| self.unrouted(none, snapshot))?;
        let rule = snapshot.rule(route.rule).ok_or(Error::NoRule)?;
        let site = route.site.and_then(|site| snapshot.site(site));
        if let Some(record) = &mut self.record {
            record.site = site.cloned();
            record.rule = Some(rule.clone());
        }
        let site = site.map(|site| &**site);
        if let Some(terms) = view.terms.special(snapshot, &route, site, rule) {
            self.special = Some(terms);
            self.identify();
        }
        self.check_length(head)?;
        let fate = rule.fate(site, path, query, &mut view.scratch.borrow_mut());
        match fate.map_err(unserved)? {
            Fate::Forwarded(forward, path) => {
                let upstream = view.upstreams.get(forward.upstream.index()).ok_or(Error::NoRule)?.clone();
                let tenant = route.tenant.and_then(|range| host?.get(range)).map(<[u8]>::to_vec);
                Ok(Target::Backend(Forwarding { rule: route.rule, upstream, path, tenant, view }))
            }
            Fate::Redirected { status, location } => Ok(Target::Here(Local::Redirect { status, location })),
            Fate::Responded(fixed) => Ok(Target::Here(Local::Respond(fixed.clone()))),
        }
    }

    /// No rule took the request.
    fn unrouted(&mut self, none: NoRoute, snapshot: &Snapshot) -> Error {
        match none {
            NoRoute::NoSite => Error::NoSite,
            NoRoute::NoRule { site } => {
                if let Some(record) = &mut self.record {
                    record.site = site.and_then(|site| snapshot.site(site)).cloned();
                }
                Error::NoRule
            }
        }
    }

    /// Makes the request's id where site or rule send one and none is there.
    fn identify(&mut self) {
        if self.request_id.is_some() || !self.terms().needs_request_id() {
            return;
        }
        let id = self.request_id.insert(RequestId::new());
        if let Some(record) = &mut self.record {
            record.identify(id);
        }
    }

    /// A body that is announced to be longer than it may be.
    fn check_length(&self, head: &RequestHead) -> Result<(), Error> {
        let limit = self.terms().max_request_body_bytes;
        match head.framing() {
            Framing::Length(length) if limit > 0 && length > limit => Err(Error::BodyTooLarge),
            _ => Ok(()),
        }
    }

    /// What no rule could allow.
    fn acceptable(&self, head: &RequestHead, bytes: &[u8]) -> Result<(), Error> {
        if head.method() == Method::Trace && !self.settings.server.allow_trace {
            return Err(Error::Trace);
        }
        match head.upgrade() {
            UpgradeRequest::None | UpgradeRequest::WebSocket => {}
            UpgradeRequest::WebSocketVersion => return Err(Error::UpgradeVersion),
            UpgradeRequest::WebSocketBroken => return Err(Error::BadUpgrade),
        }
        if head.expect() == Expect::Unknown {
            return Err(Error::Expectation);
        }
        if head.has(FieldName::Via) && forward::via_count(&head.fields, bytes) > VIA_PASSES {
            return Err(Error::Loop);
        }
        Ok(())
    }

    /// Brings the request to a backend and the response to the client. A *reused* connection that fails before a byte of
    /// the response came is replaced once by a fresh one, where the request may be sent again.
    async fn forward(
        &mut self,
        target: Forwarding,
        input: &mut Buf,
        heads: &mut Heads,
        head_bytes: usize,
    ) -> Result<After, Failure> {
        let (mut backend, endpoint) = self.connect(&target.upstream).await.map_err(|error| {
            input.consume(head_bytes);
            Failure::unsent(error)
        })?;
        let mut out = self.worker.bufs.take();
        self.terms().request.take_out(&mut heads.request.fields, input.filled(), true);
        self.write_request(&mut out, &target, endpoint, &heads.request, input.filled());
        // From here on the exchange keeps its upstream, not the revision.
        drop(target.view);
        let repeatable = self.asked.method.is_idempotent() || heads.request.has(FieldName::IdempotencyKey);
        input.consume(head_bytes);
        let writer = BodyWriter::new(heads.request.framing(), None);
        let sent = self.begin_body(&mut out, input, writer);
        let (start, end) = (out.start(), out.start() + out.len());
        sent.map_err(Failure::unsent)?;
        // All of it is in `out` now, or it cannot be sent again: what an attempt reads beyond that is gone.
        let repeatable = repeatable && self.body.is_complete();
        loop {
            let relay = Relay {
                worker: self.worker,
                client: self.client,
                settings: self.settings,
                terms: terms_of(self.special.as_ref(), self.settings),
                request_id: self.request_id.as_deref(),
                backend: &backend,
                asked: self.asked,
                flow: &self.flow,
                request_writer: writer,
            };
            match relay.run(&mut out, input, &mut self.body, &mut heads.response).await {
                Ok(Done::Complete(complete)) => {
                    if complete.backend_reusable {
                        endpoint.pool.put(backend, self.worker.wheel.now());
                    }
                    return Ok(self.after(complete, &heads.request, input));
                }
                Ok(Done::Tunnel { from_backend }) => {
                    // A tunnel may be silent for hours: nothing that it does not need waits with it.
                    let from_client = std::mem::replace(input, self.worker.bufs.apart(0));
                    drop((out, target.upstream));
                    return Ok(self.tunnel(&backend, from_client, from_backend).await);
                }
                Err(failure) if backend.reused && may_repeat(failure, repeatable) => {
                    self.worker.counters.resends.add(1);
                    self.flow.begin_again();
                    out.rewind(start, end);
                    backend = self.dial(endpoint).await.map_err(Failure::unsent)?;
                }
                Err(failure) => return Err(failure),
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

    /// A connection to the backend whose turn it is: an idle one, else a fresh one; the next backends when it cannot be
    /// reached, since nothing was sent yet.
    async fn connect<'u>(&mut self, upstream: &'u Upstream) -> Result<(Box<Backend>, &'u Endpoint), Error> {
        let mut error = Error::UpstreamDns;
        if let Some(record) = &mut self.record {
            record.upstream = Some(upstream.name.clone());
        }
        for endpoint in upstream.in_turn().take(DIALS) {
            let connected = match endpoint.pool.take() {
                Some(backend) => {
                    self.note_try(endpoint);
                    Ok(backend)
                }
                None => self.dial(endpoint).await,
            };
            match connected {
                Ok(backend) => return Ok((backend, endpoint)),
                Err(failed) => error = failed,
            }
        }
        Err(error)
    }

    async fn dial(&mut self, endpoint: &Endpoint) -> Result<Box<Backend>, Error> {
        self.note_try(endpoint);
        upstream::dial(self.worker, endpoint, self.terms().timeouts.connect).await
    }

    fn note_try(&mut self, endpoint: &Endpoint) {
        if let Some(record) = &mut self.record {
            record.tries += 1;
            record.backend = Some(endpoint.name.clone());
        }
    }

    fn write_request(
        &self,
        out: &mut Buf,
        target: &Forwarding,
        endpoint: &Endpoint,
        head: &RequestHead,
        bytes: &[u8],
    ) {
        let rule = target.rule();
        let edits = RequestEdits {
            settings: self.settings,
            terms: self.terms(),
            base_path: rule.map_or("", |rule| &rule.base_path),
            path: &target.path,
            authority: &endpoint.authority,
            change_origin: rule.is_some_and(|rule| rule.change_origin),
            peer: self.client.peer,
            peer_trusted: self.peer_trusted,
            client: self.client_address,
            tenant: target.tenant.as_deref(),
            request_id: self.request_id.as_deref(),
            upgrade: self.asked.upgrades(),
        };
        outgoing::request(out, head, bytes, &edits);
    }

    /// Puts what already came of the body behind the head, where it fits, so that both go in one write and can be sent
    /// again.
    fn begin_body(&mut self, out: &mut Buf, input: &mut Buf, writer: BodyWriter<'_>) -> Result<(), Error> {
        self.flow.set_awaits_continue(self.asked.expects_continue() && input.is_empty());
        if self.body.is_complete() || input.is_empty() || 2 * input.len() > out.spare() {
            return Ok(());
        }
        let part = self.body.read(input.filled_mut(), &self.settings.limits.wire);
        let part = part.map_err(|error| Error::Body(error.kind))?;
        self.flow.count_request(part.data.len(), self.terms())?;
        if part.data.is_empty() && !part.complete {
            input.consume(part.consumed);
            return Ok(());
        }
        let framed = writer.frame(&self.worker.bufs, input, &part);
        out.append(input.filled());
        framed.go_on(input);
        Ok(())
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

    /// Turns an error into a response, where one can still be sent.
    async fn fail(&mut self, failure: Failure, input: &mut Buf) -> After {
        let Failure { error, stage } = failure;
        self.error = Some(error);
        match (error, stage) {
            (_, Stage::Started { looks_complete }) => {
                // A body that ends short must not look complete: where a FIN would, a reset does not.
                if looks_complete {
                    self.client.stream.reset_on_close();
                }
                return After::Close;
            }
            (Error::ClientGone, _) => return After::Close,
            _ => {}
        }
        let close = self.must_close_after(error, stage, input);
        let mut out = self.worker.bufs.take();
        let written = respond::error(&mut out, error, &self.asker(close, &self.worker.date()));
        self.note_answer(written);
        self.finish_local(&mut out, input, close).await
    }

    /// Whether the client's connection closes after an answer of ours: when its framing is in doubt, or too much of the
    /// request is still to come.
    fn must_close_after(&self, error: Error, stage: Stage, input: &Buf) -> bool {
        let in_doubt =
            matches!(error, Error::Body(_) | Error::RequestTimeout | Error::BodyTooLarge | Error::BadUpgrade);
        // Once the relay has begun with a body, nobody else goes on with it.
        let begun = stage != Stage::Unsent && !self.body.is_complete();
        in_doubt || begun || self.must_close(input.len())
    }

    /// Whether the client's connection closes after any answer of ours: because of one side's wish, or because too much of the
    /// body, of which `here` bytes came, is still to come.
    fn must_close(&self, here: usize) -> bool {
        let long = self.body.remaining().is_none_or(|left| left > (DRAIN_BYTES + here) as u64);
        !self.asked.persistent || self.client.closing() || long || self.asked.expects_continue()
    }

    fn asker<'d>(&'d self, close: bool, date: &'d [u8]) -> Asker<'d> {
        Asker {
            method: self.asked.method,
            version: self.asked.version,
            close,
            request_id: self.request_id.as_deref(),
            date,
            via: self.settings.server.via,
        }
    }

    async fn answer_here(
        &mut self,
        answer: Local,
        input: &mut Buf,
        head: &RequestHead,
        head_bytes: usize,
    ) -> After {
        let close = self.must_close(input.len() - head_bytes);
        let mut out = self.worker.bufs.take();
        let date = self.worker.date();
        let written = self.write_local(&mut out, &answer, head, input.filled(), &self.asker(close, &date));
        self.note_answer(written);
        input.consume(head_bytes);
        // It may hold the revision.
        drop(answer);
        self.finish_local(&mut out, input, close).await
    }

    fn note_answer(&self, written: Written) {
        self.flow.status.set(written.status);
        self.flow.response_bytes.set(written.body_bytes as u64);
    }

    /// Writes an answer of ours that is no error.
    fn write_local(
        &self,
        out: &mut Buf,
        answer: &Local,
        head: &RequestHead,
        bytes: &[u8],
        asker: &Asker<'_>,
    ) -> Written {
        let changes = &self.terms().response;
        match answer {
            Local::MaxForwards if head.method() == Method::Trace => respond::trace(out, head, bytes, asker),
            Local::MaxForwards => respond::options(out, asker),
            Local::Redirect { status, location } => respond::redirect(out, *status, location, changes, asker),
            Local::Respond(fixed) => respond::fixed(out, fixed, changes, asker),
        }
    }

    /// Sends an answer of ours, and reads what is left of the request when the connection goes on.
    async fn finish_local(&mut self, out: &mut Buf, input: &mut Buf, close: bool) -> After {
        if self.client.write_all(out, self.terms().timeouts.client_write).await.is_err() {
            return After::Close;
        }
        if close || !self.discard_body(input).await { After::Linger } else { After::KeepAlive }
    }

    /// Reads the rest of a body for nothing. `false` when it did not come in time or breaks a rule.
    async fn discard_body(&mut self, input: &mut Buf) -> bool {
        loop {
            if self.body.is_complete() {
                self.client.reading.disarm();
                return true;
            }
            match self.body.read(input.filled_mut(), &self.settings.limits.wire) {
                Ok(part) => input.consume(part.consumed),
                Err(_) => return false,
            }
            if self.body.is_complete() {
                continue;
            }
            self.client.reading.arm(self.terms().timeouts.client_body, Ends::Reading);
            if !input.make_room(input.capacity()) || !matches!(self.client.read(input).await, Ok(n) if n > 0)
            {
                return false;
            }
        }
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
            record.error = self.error;
            self.worker.log.end(record, &self.settings.access_log, now, counters);
        }
    }
}

fn terms_of<'a>(special: Option<&'a Rc<Terms>>, settings: &'a Settings) -> &'a Terms {
    special.map_or(&settings.plain, |terms| terms)
}

/// What a request meets that its rule takes and cannot serve.
fn unserved(why: Unserved<'_>) -> Error {
    match why {
        Unserved::Unset(_) => Error::UpstreamDns,
        Unserved::BadRewrite(_) => Error::BadRewrite,
    }
}

/// Whether a request whose reused connection failed may be sent again, on a fresh one (RFC 9110 section 9.2.2): when
/// nothing of it was written, or when it may be repeated and all that was written is still in its first buffer.
fn may_repeat(failure: Failure, repeatable: bool) -> bool {
    let connection_failed = failure.error == Error::UpstreamClosed;
    match failure.stage {
        Stage::Unsent => connection_failed,
        Stage::Sent => connection_failed && repeatable,
        Stage::Answering | Stage::Started { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_have_been_served_is_repeated() {
        let failed = |error, stage| Failure { error, stage };
        assert!(may_repeat(failed(Error::UpstreamClosed, Stage::Unsent), false));
        assert!(may_repeat(failed(Error::UpstreamClosed, Stage::Sent), true));
        assert!(!may_repeat(failed(Error::UpstreamClosed, Stage::Sent), false));
        assert!(!may_repeat(failed(Error::UpstreamTimeout, Stage::Sent), true));
        assert!(!may_repeat(failed(Error::UpstreamClosed, Stage::Answering), true));
    }
}
