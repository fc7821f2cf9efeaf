//! A backend's connection: the interim heads, the head and the body of one response.

use super::{HEAD_ROOM, Outcome, broken, invariants, limits, refused};
use ringway_casefile::{End, Message};
use ringway_wire::{
    BodyReader, FieldName, FieldSet, Framing, Limits, Method, Progress, RequestHead, ResponseHead, Sink,
    UpgradeRequest, Version, encode, forwardable_trailers, websocket,
};

/// More interim responses than this are refused, by the engine.
const INTERIM_MAX: usize = 64;

/// What the client that sent `request` sees of a backend that sends `pieces`, and then closes its side or not. `None` when
/// `request` is no request that would be forwarded.
pub(crate) fn response<'a>(
    request: &[u8],
    pieces: impl IntoIterator<Item = &'a [u8]>,
    closes: bool,
) -> Option<Outcome> {
    let mut request = request.to_vec();
    let mut asked = RequestHead::new();
    let Ok(Progress::Done(_)) = asked.read(&mut request, &limits()) else { return None };
    let mut backend = Backend {
        asked: &asked,
        request: &request,
        buf: Vec::new(),
        head: ResponseHead::new(),
        body: None,
        interim: 0,
        persistent: false,
        trailers: false,
        over: false,
        limits: limits(),
        outcome: Outcome::new(),
    };
    for piece in pieces {
        backend.buf.extend_from_slice(piece);
        while !backend.over && backend.step() {}
    }
    backend.finish(closes);
    Some(backend.outcome)
}

struct Backend<'a> {
    asked: &'a RequestHead,
    request: &'a [u8],
    buf: Vec<u8>,
    head: ResponseHead,
    body: Option<BodyReader>,
    interim: usize,
    persistent: bool,
    trailers: bool,
    over: bool,
    limits: Limits,
    outcome: Outcome,
}

impl Backend<'_> {
    fn step(&mut self) -> bool {
        if self.body.is_some() { self.read_body() } else { self.read_head() }
    }

    fn read_head(&mut self) -> bool {
        match self.head.read(&self.buf, &self.limits) {
            Ok(Progress::Partial) => false,
            Ok(Progress::Done(len)) => {
                assert!(len <= self.buf.len());
                self.take_head(len)
            }
            Err(error) => self.end(refused(error, 502)),
        }
    }

    fn take_head(&mut self, len: usize) -> bool {
        if self.head.is_interim() {
            self.take_interim(len)
        } else if self.head.status() == 101 {
            self.take_switch()
        } else {
            self.take_final(len)
        }
    }

    fn take_interim(&mut self, len: usize) -> bool {
        self.interim += 1;
        if self.interim > INTERIM_MAX {
            return self.end(End::Refused { detail: "too_many_interim_responses".to_owned(), status: 502 });
        }
        if self.asked.version() == Version::Http11 {
            self.pass(Framing::None, b"");
        }
        self.buf.drain(..len);
        self.head.clear();
        true
    }

    fn take_switch(&mut self) -> bool {
        let key = websocket::key(self.asked, self.request).unwrap_or_default();
        let asked = self.asked.upgrade() == UpgradeRequest::WebSocket;
        if !asked || !websocket::accepts(&self.head, &self.buf, key) {
            return self.end(End::Refused { detail: "unrequested_101".to_owned(), status: 502 });
        }
        self.pass(Framing::None, encode::UPGRADE_WEBSOCKET);
        self.end(End::Clean)
    }

    fn take_final(&mut self, len: usize) -> bool {
        let framing = match self.head.framing_for(self.asked.method()) {
            Ok(framing) => framing,
            Err(error) => return self.end(refused(error, 502)),
        };
        let client_framing = self.client_framing(framing);
        let closes = !self.asked.persistent() || client_framing == Framing::UntilClose;
        let connection: &[u8] = match self.asked.version() {
            _ if closes => b"Connection: close\r\n",
            Version::Http10 => b"Connection: keep-alive\r\n",
            Version::Http11 => b"",
        };
        self.pass(client_framing, connection);
        self.trailers = self.asked.te_trailers() && client_framing == Framing::Chunked;
        self.persistent = self.head.persistent() && framing != Framing::UntilClose;
        self.body = Some(BodyReader::for_response(framing));
        self.buf.drain(..len);
        true
    }

    fn client_framing(&self, framing: Framing) -> Framing {
        let announced = self.asked.method() == Method::Head || self.head.status() == 304;
        match (framing, self.asked.version(), self.head.content_length()) {
            (Framing::None, _, Some(length)) if announced => Framing::Length(length),
            (Framing::Chunked | Framing::UntilClose, Version::Http10, _) => Framing::UntilClose,
            (Framing::UntilClose, Version::Http11, _) => Framing::Chunked,
            (framing, ..) => framing,
        }
    }

    fn pass(&mut self, framing: Framing, connection: &[u8]) {
        let mut room = vec![0; HEAD_ROOM];
        let mut out = Sink::new(&mut room);
        encode::status_line(&mut out, self.head.status(), self.head.reason(&self.buf));
        encode::kept_fields(
            &mut out,
            &self.head.fields,
            &self.buf,
            const { FieldSet::EMPTY.with(FieldName::ContentLength) },
        );
        encode::framing(&mut out, framing);
        out.put(connection);
        encode::end(&mut out);
        assert!(!out.overflowed());
        invariants::check_response(&self.head, &self.buf, out.written());
        self.outcome.messages.push(Message { head: out.written().to_vec(), ..Message::default() });
    }

    fn read_body(&mut self) -> bool {
        let Some(body) = &mut self.body else { return false };
        match body.read(&mut self.buf, &self.limits) {
            Ok(part) => {
                invariants::check_part(&part, self.buf.len());
                let message = self.outcome.last();
                message.body.extend_from_slice(part.data.of(&self.buf));
                if let Some(section) = part.trailers.filter(|_| self.trailers) {
                    message.trailers =
                        forwardable_trailers(section.of(&self.buf)).collect::<Vec<_>>().concat();
                }
                self.buf.drain(..part.consumed);
                part.consumed > 0
            }
            Err(error) => self.end(broken(error, 0)),
        }
    }

    fn end(&mut self, end: End) -> bool {
        self.outcome.end = end;
        self.over = true;
        false
    }

    fn finish(&mut self, closes: bool) {
        if self.over {
            return;
        }
        let Some(body) = &self.body else {
            self.outcome.end = End::Incomplete;
            return;
        };
        self.outcome.backend_kept = self.persistent && body.is_complete() && self.buf.is_empty();
        let ended = if closes { body.at_eof() } else { Ok(()) };
        self.outcome.end = match ended {
            Err(error) => broken(error, 0),
            Ok(()) if !closes && !body.is_complete() => End::Incomplete,
            Ok(()) => End::Clean,
        };
    }
}
