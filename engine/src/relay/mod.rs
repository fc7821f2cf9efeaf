//! One attempt at an exchange: sends the request, reads the response, and streams both bodies at once, with backpressure.
//! It decides no policy: what may be sent again, and what a client is told, is `proxy`'s.
//!
//! Two futures run side by side: `request` (client to backend) and `response` (backend to client). Only the second
//! writes to the client. What one must know of the other stands in `Flow`; neither is ever dropped half-way, because a
//! dropped read loses bytes: one ends the other by ending its socket.

mod replay;
mod request;
mod response;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::task::{Poll, Waker};
use std::time::Duration;

use ringway_wire::encode::CHUNK_HEAD_MAX;
use ringway_wire::{
    BodyReader, Expect, Method, RequestHead, ResponseHead, UpgradeRequest, Version, websocket,
};

use crate::body::BodyWriter;
use crate::clients::Waiting;
use crate::conn::Client;
use crate::error::Error;
use crate::net::buf::{BULK_BYTES, Buf};
use crate::net::deadline::Ends;
use crate::net::patrol::Look;
use crate::net::task::{Stop, both};
use crate::terms::Terms;
use crate::upstream::{Backend, Try};
use crate::view::Settings;
use crate::worker::Worker;

pub(crate) use replay::Replay;

/// A client that owes bytes of its request for so long, in milliseconds, is the reason when its backend gives up.
const SLOW_CLIENT_MS: u64 = 1_000;

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

    /// What shows that the client has gone while nobody reads from it. One that asked for its connection to close after the
    /// response may end its side at once.
    pub(crate) fn client_look(&self) -> Look {
        let keeps = self.persistent && self.version == Version::Http11;
        if keeps { Look::PeerClosed } else { Look::PeerGone }
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
    /// Something of the request was written, and all that was is kept; no byte of a response went to the client.
    Sent,
    /// More went either way, or was made ready to, but no final response has begun towards the client.
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
    /// How long the backend may be silent: `response` until its final head, then the body's limit.
    stall: Cell<Duration>,
    /// The response's side waits for the backend.
    reading_backend: Cell<bool>,
    /// The request's side waits for the backend to take bytes.
    writing_backend: Cell<bool>,
    /// The request's side waits for the client's next bytes.
    client_owes: Cell<bool>,
    /// Since when it does, or has waited for leave to send; in milliseconds since the process started.
    owes_since_ms: Cell<u64>,
    /// It did, or waited, for some time when the attempt failed: that the backend gave up is the client's doing.
    client_owed: Cell<bool>,
    /// The client still waits for 100.
    awaits_continue: Cell<bool>,
    /// The backend takes no more of the request.
    deaf: Cell<bool>,
    /// The response is complete: the rest of the request is only read to keep the connection.
    response_done: Cell<bool>,
    request_done: Cell<bool>,
    /// When the last byte of the request was sent, or read for nothing, in milliseconds since the process started.
    sent_ms: Cell<Option<u64>>,
    /// A byte of a response came.
    answered: Cell<bool>,
    /// The attempt has failed: what the client sends from now on waits for the next one, or for nobody.
    failed: Cell<bool>,
    /// A head for the client is written where the request was, which so cannot be sent again.
    answering: Cell<bool>,
    /// The request's side, while it waits to hear whether the backend has answered.
    undecided: RefCell<Option<Waker>>,
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
    pub(crate) fn count_request(&self, bytes: usize, terms: &Terms) -> Result<(), Error> {
        let total = self.request_bytes.get() + bytes as u64;
        self.request_bytes.set(total);
        match terms.max_request_body_bytes {
            limit if limit > 0 && total > limit => Err(Error::BodyTooLarge),
            _ => Ok(()),
        }
    }

    /// A byte of a response came from the backend.
    pub(crate) fn is_answered(&self) -> bool {
        self.answered.get()
    }

    /// When the last byte of the request was sent, or read for nothing, in milliseconds since the process started.
    pub(crate) fn sent_ms(&self) -> Option<u64> {
        self.sent_ms.get()
    }

    /// When the attempt failed, the client had owed bytes of its request for some time.
    pub(crate) fn client_owed(&self) -> bool {
        self.client_owed.get()
    }

    /// Forgets an attempt of which no byte of a response went to the client.
    pub(crate) fn begin_again(&mut self) {
        let Self { request_bytes, awaits_continue, .. } = std::mem::take(self);
        *self = Self { request_bytes, awaits_continue, ..Self::default() };
    }

    /// Lets the request's side go on, which may wait to hear of this.
    fn decide(&self, what: &Cell<bool>) {
        what.set(true);
        if let Some(waiting) = self.undecided.take() {
            waiting.wake();
        }
    }

    /// Waits until the backend has answered or the attempt has failed.
    async fn decided(&self) {
        poll_fn(|cx| {
            if self.answered.get() || self.failed.get() || self.response_done.get() {
                return Poll::Ready(());
            }
            *self.undecided.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// One attempt.
pub(crate) struct Relay<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) client: &'a Client,
    pub(crate) settings: &'a Settings,
    pub(crate) terms: &'a Terms,
    pub(crate) request_id: Option<&'a str>,
    pub(crate) backend: &'a Backend,
    /// Hears how the backend does.
    pub(crate) attempt: &'a Try<'a>,
    /// How long the backend may take until its response head.
    pub(crate) response_timeout: Duration,
    pub(crate) asked: Asked,
    pub(crate) flow: &'a Flow,
    /// What earlier attempts sent behind the first buffer, and what this one sends.
    pub(crate) replay: &'a Replay,
    /// How the request's body goes upstream.
    pub(crate) request_writer: BodyWriter<'a>,
}

impl Relay<'_> {
    /// Sends `out` (the head and the beginning of the body), then what earlier attempts sent behind it, then whatever `body`
    /// still has to give from `input` and the client, and brings the response.
    ///
    /// # Errors
    /// With the stage that was reached; `out` can be rewound and all be sent again as long as that is `Unsent` or `Sent`.
    pub(crate) async fn run(
        &self,
        out: &mut Buf,
        input: &mut Buf,
        body: &mut BodyReader,
        head: &mut ResponseHead,
    ) -> Result<Done, Failure> {
        let _watched = self.watch_client();
        self.flow.stall.set(self.response_timeout);
        self.flow.owes_since_ms.set(self.worker.now_ms());
        self.turn(&self.flow.writing_backend, true);
        let whole = out.len();
        if self.send(out).await.is_err() {
            if out.len() == whole {
                return Err(Failure::unsent(self.why_upstream_ended()));
            }
            // It may have answered before it closed: what it said is still read.
            self.flow.deaf.set(true);
        }
        self.turn(&self.flow.writing_backend, false);
        let mut reply = self.worker.bufs.take();
        let result = if body.is_complete() && self.replay.is_empty() {
            self.note_sent();
            self.response(out, &mut reply, head).await
        } else {
            let request = async { self.request_body(input, body).await };
            both(request, self.response_beside(out, &mut reply, head)).await.1
        };
        match result {
            Ok(Ended::Complete { client_closes, backend_reusable }) => {
                let request_read = self.flow.request_done.get();
                Ok(Done::Complete(Complete { client_closes, request_read, backend_reusable }))
            }
            Ok(Ended::Switched) => Ok(Done::Tunnel { from_backend: reply }),
            Err(error) => Err(Failure { error, stage: self.stage() }),
        }
    }

    /// All of the request was sent, or was read for nothing.
    fn note_sent(&self) {
        self.flow.request_done.set(true);
        self.flow.sent_ms.set(Some(self.worker.now_ms()));
        self.attempt.sent();
    }

    /// Watches for the client's going away while nobody reads from it.
    fn watch_client(&self) -> Waiting<'_> {
        let look = self.asked.client_look();
        self.client.registration.waiting(self.backend.stream.fd(), look, self.worker.wheel.now())
    }

    /// An empty buffer for the next read of a body: a bulk one after a read that filled the last.
    fn renew(&self, buf: &mut Buf) {
        if buf.was_full() && buf.capacity() < BULK_BYTES {
            *buf = self.worker.bufs.take_bulk();
        }
        buf.clear_with_front(CHUNK_HEAD_MAX);
    }

    /// Notes that one side begins to wait, or goes on, and settles whose time runs. The backend's does while it is to take
    /// bytes, and while it is to send some, unless the client still owes the next bytes of the request; it begins anew
    /// whenever something moved. While a slow client takes what came, nobody's time runs but the client's own.
    fn turn(&self, what: &Cell<bool>, now: bool) {
        what.set(now);
        let flow = self.flow;
        if flow.writing_backend.get() || (flow.reading_backend.get() && !flow.client_owes.get()) {
            self.backend.deadline.arm(flow.stall.get(), Ends::Both);
        } else {
            self.backend.deadline.disarm();
        }
    }

    /// Whether the client has owed bytes of its request for some time.
    fn client_is_slow(&self) -> bool {
        let owes = self.flow.client_owes.get() || self.flow.awaits_continue.get();
        owes && self.worker.now_ms().saturating_sub(self.flow.owes_since_ms.get()) >= SLOW_CLIENT_MS
    }

    fn stage(&self) -> Stage {
        let flow = self.flow;
        match (flow.started.get(), flow.answering.get() || !self.replay.is_whole()) {
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

/// How the response's side ended.
enum Ended {
    /// As [`Complete`] says; the request's side may still be reading.
    Complete {
        client_closes: bool,
        backend_reusable: bool,
    },
    Switched,
}
