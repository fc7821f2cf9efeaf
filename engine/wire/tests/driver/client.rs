//! A client's connection: heads and bodies of requests, one after the other.

use super::{HEAD_ROOM, Outcome, broken, invariants, limits, refused, status_of};
use ringway_casefile::{BACKEND_AUTHORITY, End, Message};
use ringway_wire::forward::{self, ForwardedPlan};
use ringway_wire::{
    BodyReader, Expect, FieldName, FieldSet, Limits, Method, Progress, RequestHead, Sink, UpgradeRequest,
    encode,
};
use std::net::{IpAddr, Ipv4Addr};

/// What the upstream sees of a client that sends `pieces`, and then closes its side or not.
pub(crate) fn requests<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, closes: bool) -> Outcome {
    let mut client = Client {
        buf: Vec::new(),
        head: RequestHead::new(),
        body: None,
        last: false,
        over: false,
        limits: limits(),
        outcome: Outcome::new(),
    };
    for piece in pieces {
        client.buf.extend_from_slice(piece);
        while !client.over && client.step() {}
    }
    client.finish(closes);
    client.outcome
}

struct Client {
    buf: Vec<u8>,
    head: RequestHead,
    body: Option<BodyReader>,
    /// The connection ends after the current request.
    last: bool,
    over: bool,
    limits: Limits,
    outcome: Outcome,
}

impl Client {
    /// Takes what it can; false when nothing more can be taken.
    fn step(&mut self) -> bool {
        if self.body.is_some() { self.read_body() } else { self.read_head() }
    }

    fn read_head(&mut self) -> bool {
        match self.head.read(&mut self.buf, &self.limits) {
            Ok(Progress::Partial) => false,
            Ok(Progress::Done(len)) => {
                assert!(len <= self.buf.len());
                self.take_head(len);
                true
            }
            Err(error) => self.end(refused(error, status_of(error.kind))),
        }
    }

    fn take_head(&mut self, len: usize) {
        if let Some(status) = answered_here(&self.head) {
            self.end(End::Answered { status });
            return;
        }
        let head = outgoing(&self.head, &self.buf);
        invariants::check_request(&self.head, &self.buf, &head);
        self.outcome.messages.push(Message { head, ..Message::default() });
        self.body = Some(BodyReader::new(self.head.framing()));
        self.over = self.head.upgrade() == UpgradeRequest::WebSocket;
        self.last = !self.head.persistent();
        self.buf.drain(..len);
        self.head.clear();
        self.end_of_body();
    }

    fn read_body(&mut self) -> bool {
        let Some(body) = &mut self.body else { return false };
        match body.read(&mut self.buf, &self.limits) {
            Ok(part) => {
                invariants::check_part(&part, self.buf.len());
                self.outcome.last().body.extend_from_slice(part.data.of(&self.buf));
                self.buf.drain(..part.consumed);
                self.end_of_body();
                part.consumed > 0
            }
            Err(error) => self.end(broken(error, 400)),
        }
    }

    fn end_of_body(&mut self) {
        if self.body.as_ref().is_some_and(BodyReader::is_complete) {
            self.body = None;
            self.over |= self.last;
        }
    }

    fn end(&mut self, end: End) -> bool {
        self.outcome.end = end;
        self.over = true;
        false
    }

    fn finish(&mut self, closes: bool) {
        let unfinished = match &self.body {
            _ if self.over => None,
            Some(body) if closes => body.at_eof().err().map(|error| broken(error, 400)),
            Some(_) => Some(End::Incomplete),
            None => self.head.started(&self.buf).then_some(End::Incomplete),
        };
        if let Some(end) = unfinished {
            self.outcome.end = end;
        }
    }
}

/// What Ringway answers itself by default.
fn answered_here(head: &RequestHead) -> Option<u16> {
    match (head.method(), head.expect(), head.upgrade()) {
        (Method::Trace, ..) => Some(405),
        (_, Expect::Unknown, _) => Some(417),
        (_, _, UpgradeRequest::WebSocketVersion) => Some(426),
        (_, _, UpgradeRequest::WebSocketBroken) => Some(400),
        _ => None,
    }
}

/// The head as it goes upstream with default settings, from a client at 127.0.0.1 over plain HTTP.
fn outgoing(head: &RequestHead, buf: &[u8]) -> Vec<u8> {
    let mut room = vec![0; HEAD_ROOM];
    let mut out = Sink::new(&mut room);
    let query = head.query(buf);
    let mark: &[u8] = if query.is_some() { b"?" } else { b"" };
    encode::request_line(
        &mut out,
        head.method_bytes(buf),
        &[head.path(buf), mark, query.unwrap_or_default()],
    );
    let mut drop =
        forward::drop_set(true, false, false).union(FieldSet::EMPTY.with(FieldName::ContentLength));
    match head.authority() {
        Some(authority) if head.target_has_authority() => {
            encode::field(&mut out, b"Host", authority.whole.of(buf))
        }
        Some(_) => {}
        None => encode::field(&mut out, b"Host", BACKEND_AUTHORITY.as_bytes()),
    }
    if head.target_has_authority() {
        drop = drop.with(FieldName::Host);
    }
    if head.expect() == Expect::None {
        drop = drop.with(FieldName::Expect);
    }
    encode::kept_fields(&mut out, &head.fields, buf, drop);
    encode::framing(&mut out, head.framing());
    if head.te_trailers() {
        out.put(encode::TE_TRAILERS);
    }
    if head.upgrade() == UpgradeRequest::WebSocket {
        out.put(encode::UPGRADE_WEBSOCKET);
    }
    forward::forwarded_fields(&mut out, head, buf, &plan());
    encode::end(&mut out);
    assert!(!out.overflowed());
    out.written().to_vec()
}

fn plan() -> ForwardedPlan {
    let peer = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    ForwardedPlan {
        x_forwarded: true,
        forwarded: false,
        peer,
        peer_trusted: false,
        client: peer,
        https: false,
        without: FieldSet::EMPTY,
    }
}
