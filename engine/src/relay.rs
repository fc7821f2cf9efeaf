//! One attempt at an exchange: sends the request, reads the response, and streams both bodies at once, with backpressure.
//! It decides no policy: what may be sent again, and what a client is told, is `proxy`'s.
//!
//! Two futures run side by side: `RequestBody` (client to backend) and `response` (backend to client). Only the second
//! writes to the client. What one must know of the other stands in `Flow`; neither is ever dropped half-way, because a
//! dropped read loses bytes: one ends the other by ending its socket.

use std::cell::Cell;
use std::io;
use std::net::Shutdown;

use ringway_config::Limits;
use ringway_wire::encode::CHUNK_HEAD_MAX;
use ringway_wire::{
    BodyReader, Expect, FieldName, Framing, Method, Progress, RequestHead, ResponseHead, UpgradeRequest,
    Version, websocket,
};

use crate::body::{BodyWriter, Framed};
use crate::conn::{Client, DRAIN_BYTES, LINGER};
use crate::error::Error;
use crate::net::buf::{BULK_BYTES, Buf};
use crate::net::deadline::Ends;
use crate::net::patrol::Look;
use crate::net::task::{Stop, both};
use crate::outgoing::{self, ResponseEdits};
use crate::upstream::Backend;
use crate::view::Settings;
use crate::worker::Worker;

/// Interim responses that a backend may send before the final one.
const INTERIM_RESPONSES: usize = 64;
/// The length of Sec-WebSocket-Key, in bytes (RFC 6455 section 4.1).
const WEBSOCKET_KEY_BYTES: usize = 24;

/// What the response side must know of the request, whose head is gone by then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) version: Version,
    /// The client wants the connection kept.
    pub(crate) persistent: bool,
    te_trailers: bool,
    expects_continue: bool,
    /// The key of a WebSocket handshake that goes upstream.
    websocket_key: Option<[u8; WEBSOCKET_KEY_BYTES]>,
}

impl Asked {
    pub(crate) fn new(head: &RequestHead, bytes: &[u8]) -> Self {
        let upgrades = head.upgrade() == UpgradeRequest::WebSocket;
        Self {
            method: head.method(),
            version: head.version(),
            persistent: head.persistent(),
            te_trailers: head.te_trailers(),
            expects_continue: head.expect() == Expect::Continue && !head.framing().is_empty(),
            websocket_key: websocket::key(head, bytes)
                .filter(|_| upgrades)
                .and_then(|key| key.try_into().ok()),
        }
    }

    /// It is a handshake that may become a tunnel.
    pub(crate) fn upgrades(&self) -> bool {
        self.websocket_key.is_some()
    }

    /// The client waits for leave to send its body.
    pub(crate) fn expects_continue(&self) -> bool {
        self.expects_continue
    }
}

/// Why an attempt failed, and how far it had come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) stage: Stage,
}

/// How far an attempt had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing of the request was written.
    Unsent,
    /// The request's head, and of its body at most what went in the same buffer, was written; no byte of a response came.
    Sent,
    /// More went either way, but no final response has begun towards the client.
    Answering,
    /// The client has a part of the response. `looks_complete`: closing would look like its end.
    Started { looks_complete: bool },
}

impl Failure {
    /// Before anything was sent.
    pub(crate) fn unsent(error: Error) -> Self {
        Self { error, stage: Stage::Unsent }
    }
}

/// How an attempt ended well.
pub(crate) enum Done {
    /// The response is complete.
    Complete(Complete),
    /// The backend switched protocols; `from_backend` holds what came behind its head.
    Tunnel { from_backend: Buf },
}

/// What is left of a complete exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Complete {
    /// The client was told, or knows, that its connection closes.
    pub(crate) client_closes: bool,
    /// The whole request was read from the client, so another may follow.
    pub(crate) request_read: bool,
    /// The backend's connection is clean.
    pub(crate) backend_reusable: bool,
}

/// What the two sides tell each other, and what `proxy` reads afterwards.
#[derive(Default)]
pub(crate) struct Flow {
    /// The final response's status, once its head came.
    pub(crate) status: Cell<u16>,
    pub(crate) request_bytes: Cell<u64>,
    pub(crate) response_bytes: Cell<u64>,
    /// The request side found that the exchange must end.
    abort: Cell<Option<Error>>,
    /// The client still waits for 100.
    awaits_continue: Cell<bool>,
    /// The backend takes no more of the request.
    deaf: Cell<bool>,
    /// The response is complete: the rest of the request is only read to keep the connection.
    response_done: Cell<bool>,
    request_done: Cell<bool>,
    /// More than the first buffer went to the backend.
    sent_more: Cell<bool>,
    /// A byte of a response came.
    answered: Cell<bool>,
    /// The client has a part of the final response.
    started: Cell<bool>,
    looks_complete: Cell<bool>,
    /// Ends the request side's read.
    stop_reading: Stop,
}

impl Flow {
    /// Whether the client waits for 100 before it sends its body.
    pub(crate) fn set_awaits_continue(&self, awaits: bool) {
        self.awaits_continue.set(awaits);
    }

    /// Counts bytes of the request's body, whose limit holds for them whatever the head announced.
    pub(crate) fn count_request(&self, bytes: usize, limits: &Limits) -> Result<(), Error> {
        let total = self.request_bytes.get() + bytes as u64;
        self.request_bytes.set(total);
        match limits.max_request_body_bytes {
            limit if limit > 0 && total > limit => Err(Error::BodyTooLarge),
            _ => Ok(()),
        }
    }

    /// Forgets an attempt of which no byte of a response came.
    pub(crate) fn begin_again(&self) {
        self.deaf.set(false);
        self.response_done.set(false);
    }
}

/// One attempt.
pub(crate) struct Relay<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) client: &'a Client,
    pub(crate) settings: &'a Settings,
    pub(crate) backend: &'a Backend,
    pub(crate) asked: Asked,
    pub(crate) flow: &'a Flow,
    /// How the request's body goes upstream.
    pub(crate) request_writer: BodyWriter,
}

impl Relay<'_> {
    /// Sends `out` (the head and the beginning of the body), then whatever `body` still has to give from `input` and the
    /// client, and brings the response.
    ///
    /// # Errors
    /// With the stage that was reached; `out` can be rewound and sent again as long as that is `Unsent` or `Sent`.
    pub(crate) async fn run(
        &self,
        out: &mut Buf,
        input: &mut Buf,
        body: &mut BodyReader,
        head: &mut ResponseHead,
    ) -> Result<Done, Failure> {
        let _watched = self.watch_client();
        self.backend.deadline.arm(self.settings.timeouts.response, Ends::Both);
        let whole = out.len();
        if self.send(out).await.is_err() {
            if out.len() == whole {
                return Err(Failure::unsent(self.why_upstream_ended()));
            }
            // It may have answered before it closed: what it said is still read.
            self.flow.deaf.set(true);
        }
        let mut reply = self.worker.bufs.take();
        let result = if body.is_complete() {
            self.flow.request_done.set(true);
            self.response(out, &mut reply, head).await
        } else {
            let request = async { self.request_body(input, body).await };
            both(request, self.response_beside(out, &mut reply, head)).await.1
        };
        match result {
            Ok(Ended::Complete(complete)) => {
                let request_read = self.flow.request_done.get();
                Ok(Done::Complete(Complete { request_read, ..complete }))
            }
            Ok(Ended::Switched) => Ok(Done::Tunnel { from_backend: reply }),
            Err(error) => Err(Failure { error, stage: self.stage() }),
        }
    }

    /// Watches for the client's going away while nobody reads from it. One that asked for the connection to close after
    /// the response may end its side at once.
    fn watch_client(&self) -> crate::clients::Waiting<'_> {
        let look = if self.asked.persistent && self.asked.version == Version::Http11 {
            Look::PeerClosed
        } else {
            Look::PeerGone
        };
        self.client.registration.waiting(self.backend.stream.fd(), look, self.worker.wheel.now())
    }

    fn stage(&self) -> Stage {
        let flow = self.flow;
        match (flow.started.get(), flow.answered.get() || flow.sent_more.get()) {
            (true, _) => Stage::Started { looks_complete: flow.looks_complete.get() },
            (false, true) => Stage::Answering,
            (false, false) => Stage::Sent,
        }
    }

    async fn send(&self, out: &mut Buf) -> io::Result<()> {
        while !out.is_empty() {
            self.backend.stream.write(out).await?;
        }
        Ok(())
    }

    /// The backend's connection ended or failed: whose doing that was.
    fn why_upstream_ended(&self) -> Error {
        if let Some(error) = self.flow.abort.get() {
            error
        } else if self.client.registration.gone() {
            Error::ClientGone
        } else if self.backend.deadline.fired() {
            Error::UpstreamTimeout
        } else {
            Error::UpstreamClosed
        }
    }
}

/// The request's side.
impl Relay<'_> {
    /// Brings the request's body to the backend; when the backend takes no more, or the response is complete, reads the
    /// rest for nothing, up to [`DRAIN_BYTES`], to keep the client's connection.
    async fn request_body(&self, input: &mut Buf, body: &mut BodyReader) {
        match self.forward_request_body(input, body).await {
            Ok(whole) => self.flow.request_done.set(whole),
            Err(error) => {
                self.flow.abort.set(Some(error));
                self.backend.stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// Says whether the whole body was read.
    async fn forward_request_body(&self, input: &mut Buf, body: &mut BodyReader) -> Result<bool, Error> {
        let limits = &self.settings.limits;
        let mut drained = 0;
        loop {
            if !input.is_empty() {
                let part =
                    body.read(input.filled_mut(), &limits.wire).map_err(|error| Error::Body(error.kind))?;
                self.flow.count_request(part.data.len(), limits)?;
                if self.flow.deaf.get() || self.flow.response_done.get() {
                    drained += part.consumed;
                    input.consume(part.consumed);
                } else if part.data.is_empty() && !part.complete {
                    input.consume(part.consumed);
                } else {
                    let framed = self.request_writer.frame(&self.worker.bufs, input, &part);
                    self.send_part(input).await;
                    framed.go_on(input);
                }
            }
            if body.is_complete() || drained > DRAIN_BYTES {
                return Ok(body.is_complete());
            }
            if !self.read_request(input).await? {
                return Ok(false);
            }
        }
    }

    async fn send_part(&self, part: &mut Buf) {
        self.flow.sent_more.set(true);
        self.time_response();
        while !part.is_empty() {
            match self.backend.stream.write(part).await {
                Ok(bytes) => {
                    self.time_response();
                    self.client.budget.spend(bytes).await;
                }
                Err(_) => {
                    self.flow.deaf.set(true);
                    return self.time_response();
                }
            }
        }
    }

    /// The time for the response runs from the last byte of the request, until its final head comes.
    fn time_response(&self) {
        if self.flow.status.get() == 0 {
            self.backend.deadline.arm(self.settings.timeouts.response, Ends::Both);
        }
    }

    /// While the client owes the next bytes, no time of the backend's runs.
    fn time_client(&self) {
        self.client.reading.arm(self.settings.timeouts.client_body, Ends::Reading);
        if self.flow.status.get() == 0 && !self.flow.deaf.get() {
            self.backend.deadline.disarm();
        }
    }

    /// Reads more of the body. `false`: the response is complete and no more came.
    async fn read_request(&self, input: &mut Buf) -> Result<bool, Error> {
        if input.is_empty() {
            input.clear_with_front(CHUNK_HEAD_MAX);
        }
        input.make_room(self.settings.limits.wire.trailer_bytes as usize + 2);
        match (self.flow.response_done.get(), self.flow.awaits_continue.get()) {
            (true, _) => self.client.reading.arm(LINGER, Ends::Reading),
            // It is the backend's turn to say 100; its own deadline runs.
            (false, true) => {}
            (false, false) => self.time_client(),
        }
        let read = self.client.read_until(input, &self.flow.stop_reading).await;
        self.flow.awaits_continue.set(false);
        match read {
            Ok(n) if n > 0 => {
                self.client.reading.disarm();
                Ok(true)
            }
            _ if self.flow.response_done.get() => Ok(false),
            _ if self.client.reading.fired() => Err(Error::RequestTimeout),
            _ => Err(Error::ClientGone),
        }
    }
}

/// How the response's side ended.
enum Ended {
    Complete(Complete),
    Switched,
}

/// The response's side.
impl Relay<'_> {
    /// The response while the request's body is still under way; at the end it lets the request's side go.
    async fn response_beside(
        &self,
        out: &mut Buf,
        reply: &mut Buf,
        head: &mut ResponseHead,
    ) -> Result<Ended, Error> {
        let result = self.response(out, reply, head).await;
        if !self.flow.request_done.get() {
            self.flow.response_done.set(true);
            // Nobody reads the request any more: its writer wakes up.
            self.backend.stream.shutdown(Shutdown::Both);
            let closes = match &result {
                Ok(Ended::Complete(complete)) => complete.client_closes,
                _ => true,
            };
            match closes {
                true => self.flow.stop_reading.stop(),
                false => self.client.reading.arm(LINGER, Ends::Reading),
            }
        }
        result
    }

    async fn response(
        &self,
        out: &mut Buf,
        reply: &mut Buf,
        head: &mut ResponseHead,
    ) -> Result<Ended, Error> {
        let mut interim_responses = 0;
        loop {
            let head_bytes = self.read_response_head(reply, head).await?;
            if !head.is_interim() {
                return self.final_response(out, reply, head, head_bytes).await;
            }
            interim_responses += 1;
            if interim_responses > INTERIM_RESPONSES {
                return Err(Error::UpstreamBadResponse);
            }
            self.pass_interim(out, reply, head, head_bytes).await?;
        }
    }

    async fn read_response_head(&self, reply: &mut Buf, head: &mut ResponseHead) -> Result<usize, Error> {
        let limits = &self.settings.limits.wire;
        head.clear();
        loop {
            if !reply.is_empty() {
                match head.read(reply.filled(), limits) {
                    Ok(Progress::Done(head_bytes)) => return Ok(head_bytes),
                    Ok(Progress::Partial) => {}
                    Err(_) => return Err(Error::UpstreamBadResponse),
                }
            }
            reply.make_room(limits.head_bytes as usize + 4);
            match self.backend.stream.read(reply).await {
                Ok(n) if n > 0 => self.flow.answered.set(true),
                _ => return Err(self.why_upstream_ended()),
            }
        }
    }

    /// Passes a 1xx on; HTTP/1.0 does not know them (RFC 9110 section 15.2).
    async fn pass_interim(
        &self,
        out: &mut Buf,
        reply: &mut Buf,
        head: &ResponseHead,
        head_bytes: usize,
    ) -> Result<(), Error> {
        self.time_response();
        if self.asked.version == Version::Http11 {
            out.clear();
            outgoing::interim(out, head, reply.filled());
            self.to_client(out).await?;
        }
        if head.status() == 100 && self.flow.awaits_continue.replace(false) {
            self.time_client();
        }
        reply.consume(head_bytes);
        Ok(())
    }

    async fn final_response(
        &self,
        out: &mut Buf,
        reply: &mut Buf,
        head: &ResponseHead,
        head_bytes: usize,
    ) -> Result<Ended, Error> {
        out.clear();
        if head.status() == 101 {
            return self.switch(out, reply, head, head_bytes).await;
        }
        let framing = head.framing_for(self.asked.method).map_err(|_| Error::UpstreamBadResponse)?;
        let to_client = self.framing_to_client(framing);
        let closes = self.client_closes(to_client);
        self.write_head(out, reply, head, to_client, closes);
        self.flow.looks_complete.set(to_client == Framing::UntilClose);
        // Server-sent events may be silent for long.
        let stall = if is_event_stream(head, reply.filled()) {
            self.settings.timeouts.tunnel_idle
        } else {
            self.settings.timeouts.upstream_body
        };
        reply.consume(head_bytes);
        let writer = BodyWriter::new(to_client, self.asked.te_trailers);
        self.response_body(out, reply, BodyReader::for_response(framing), writer, stall).await?;
        let clean = head.persistent() && framing != Framing::UntilClose && reply.is_empty();
        let request_read = self.flow.request_done.get();
        Ok(Ended::Complete(Complete {
            client_closes: closes,
            request_read,
            backend_reusable: clean && request_read && !self.flow.deaf.get(),
        }))
    }

    /// HTTP/1.0 knows no chunks; to HTTP/1.1 a body until close goes in chunks, so that its end can be told from a break.
    fn framing_to_client(&self, framing: Framing) -> Framing {
        match (framing, self.asked.version) {
            (Framing::Chunked | Framing::UntilClose, Version::Http10) => Framing::UntilClose,
            (Framing::Chunked | Framing::UntilClose, Version::Http11) => Framing::Chunked,
            (known, _) => known,
        }
    }

    fn client_closes(&self, framing: Framing) -> bool {
        !self.asked.persistent
            || framing == Framing::UntilClose
            || self.client.closing()
            // It may send its body or not: there is no telling its next request from it.
            || self.flow.awaits_continue.get()
    }

    fn write_head(&self, out: &mut Buf, reply: &Buf, head: &ResponseHead, framing: Framing, close: bool) {
        self.flow.status.set(head.status());
        let edits = ResponseEdits {
            version: self.asked.version,
            framing,
            close,
            upgrade: head.status() == 101,
            via: self.settings.server.via,
            date: &self.worker.date(),
        };
        outgoing::response(out, head, reply.filled(), &edits);
    }

    /// A 101: only for a handshake that went upstream, and with the right answer to its key.
    async fn switch(
        &self,
        out: &mut Buf,
        reply: &mut Buf,
        head: &ResponseHead,
        head_bytes: usize,
    ) -> Result<Ended, Error> {
        let key = self.asked.websocket_key.ok_or(Error::UpstreamBadResponse)?;
        if !websocket::accepts(head, reply.filled(), &key) {
            return Err(Error::UpstreamBadResponse);
        }
        self.write_head(out, reply, head, Framing::None, false);
        reply.consume(head_bytes);
        self.flow.started.set(true);
        self.to_client(out).await?;
        Ok(Ended::Switched)
    }

    /// Streams the body behind the head in `out`. Each read is passed on at once.
    async fn response_body(
        &self,
        out: &mut Buf,
        reply: &mut Buf,
        mut body: BodyReader,
        writer: BodyWriter,
        stall: std::time::Duration,
    ) -> Result<(), Error> {
        loop {
            let part = self.next_part(reply, &mut body, writer)?;
            if part.is_some() {
                join(out, reply);
            }
            self.flow.started.set(true);
            self.to_client(out).await?;
            if let Some(framed) = part {
                self.to_client(reply).await?;
                framed.go_on(reply);
            }
            if body.is_complete() {
                return Ok(());
            }
            if !self.read_response(reply, stall).await? {
                body.at_eof().map_err(|_| Error::UpstreamClosed)?;
                out.append(writer.end_at_close());
                return self.to_client(out).await;
            }
        }
    }

    /// Makes what came of the body, if that is anything, what goes to the client.
    fn next_part(
        &self,
        reply: &mut Buf,
        body: &mut BodyReader,
        writer: BodyWriter,
    ) -> Result<Option<Framed>, Error> {
        if reply.is_empty() || body.is_complete() {
            return Ok(None);
        }
        let part = body.read(reply.filled_mut(), &self.settings.limits.wire);
        let part = part.map_err(|_| Error::UpstreamBadResponse)?;
        self.flow.response_bytes.set(self.flow.response_bytes.get() + part.data.len() as u64);
        if part.data.is_empty() && !part.complete {
            reply.consume(part.consumed);
            return Ok(None);
        }
        Ok(Some(writer.frame(&self.worker.bufs, reply, &part)))
    }

    /// Reads more of the body. `false`: the backend ended its side.
    async fn read_response(&self, reply: &mut Buf, stall: std::time::Duration) -> Result<bool, Error> {
        if reply.is_empty() {
            self.renew(reply);
        }
        reply.make_room(self.settings.limits.wire.trailer_bytes as usize + 2);
        self.backend.deadline.arm(stall, Ends::Both);
        match self.backend.stream.read(reply).await {
            Ok(n) if n > 0 => {
                self.client.budget.spend(n).await;
                Ok(true)
            }
            // An end that we made is none of the backend's.
            Ok(_) if self.why_upstream_ended() == Error::UpstreamClosed => Ok(false),
            _ => Err(self.why_upstream_ended()),
        }
    }

    /// An empty buffer for the next read: a bulk one after a read that filled the last.
    fn renew(&self, reply: &mut Buf) {
        if reply.was_full() && reply.capacity() < BULK_BYTES {
            *reply = self.worker.bufs.take_bulk();
        }
        reply.clear_with_front(CHUNK_HEAD_MAX);
    }

    async fn to_client(&self, buf: &mut Buf) -> Result<(), Error> {
        if buf.is_empty() {
            return Ok(());
        }
        let written = self.client.write_all(buf, self.settings.timeouts.client_write).await;
        written.map_err(|_| Error::ClientGone)
    }
}

/// Puts a small first part behind the head, so that both go in one write.
fn join(out: &mut Buf, reply: &mut Buf) {
    if !out.is_empty() && reply.len() <= out.spare() {
        out.append(reply.filled());
        reply.clear();
    }
}

fn is_event_stream(head: &ResponseHead, bytes: &[u8]) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    let value = head.field(FieldName::ContentType).map(|field| field.value.of(bytes)).unwrap_or_default();
    value.get(..EVENT_STREAM.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(EVENT_STREAM))
}
