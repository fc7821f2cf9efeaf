//! The response's side: heads and body from the backend to the client. Nothing else writes to the client meanwhile.

use std::net::Shutdown;

use ringway_wire::{BodyReader, FieldName, Framing, Progress, ResponseHead, Version, websocket};

use super::{Ended, Relay};
use crate::body::{BodyWriter, Framed};
use crate::conn::LINGER;
use crate::error::Error;
use crate::net::buf::Buf;
use crate::net::deadline::Ends;
use crate::outgoing::{self, ResponseEdits};

/// Interim responses that a backend may send before the final one.
const INTERIM_RESPONSES: usize = 64;

impl Relay<'_> {
    /// The response while the request's body is still under way; at the end it lets the request's side go.
    pub(super) async fn response_beside(
        &self,
        out: &mut Buf,
        reply: &mut Buf,
        head: &mut ResponseHead,
    ) -> Result<Ended, Error> {
        let result = self.response(out, reply, head).await;
        if !self.flow.request_done.get() {
            self.flow.client_owed.set(self.client_is_slow());
            self.flow.decide(if result.is_ok() { &self.flow.response_done } else { &self.flow.failed });
            // Nobody reads the request any more: its writer wakes up.
            self.backend.stream.shutdown(Shutdown::Both);
            let closes = match &result {
                Ok(Ended::Complete { client_closes, .. }) => *client_closes,
                _ => true,
            };
            match closes {
                true => self.flow.stop_reading.stop(),
                false => self.client.reading.arm(LINGER, Ends::Reading),
            }
        }
        result
    }

    pub(super) async fn response(
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
        // Once for the whole head: one that trickles in gains no time.
        self.turn(&self.flow.reading_backend, true);
        loop {
            if !reply.is_empty() {
                match head.read(reply.filled(), limits) {
                    Ok(Progress::Done(head_bytes)) => {
                        self.turn(&self.flow.reading_backend, false);
                        return Ok(head_bytes);
                    }
                    Ok(Progress::Partial) => {}
                    Err(_) => return Err(Error::UpstreamBadResponse),
                }
            }
            reply.make_room(limits.head_bytes as usize + 4);
            match self.backend.stream.read(reply).await {
                Ok(n) if n > 0 => self.flow.decide(&self.flow.answered),
                _ => return Err(self.why_upstream_ended()),
            }
        }
    }

    /// Passes a 1xx on; HTTP/1.0 does not know them (RFC 9110 section 15.2).
    async fn pass_interim(
        &self,
        out: &mut Buf,
        reply: &mut Buf,
        head: &mut ResponseHead,
        head_bytes: usize,
    ) -> Result<(), Error> {
        if self.asked.version == Version::Http11 {
            let changes = &self.terms.response;
            self.give_up_request(out);
            changes.take_out(&mut head.fields, reply.filled(), false);
            outgoing::interim(out, head, reply.filled(), changes);
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
        head: &mut ResponseHead,
        head_bytes: usize,
    ) -> Result<Ended, Error> {
        if head.status() == 101 {
            self.check_switch(reply, head)?;
            return self.switch(out, reply, head, head_bytes).await;
        }
        let framing = head.framing_for(self.asked.method).map_err(|_| Error::UpstreamBadResponse)?;
        self.begin_answer(out, reply, head);
        let to_client = self.framing_to_client(framing);
        let closes = self.client_closes(to_client);
        self.write_head(out, reply, head, to_client, closes);
        self.flow.looks_complete.set(to_client == Framing::UntilClose);
        // Server-sent events may be silent for long.
        let stall = if is_event_stream(head, reply.filled()) {
            self.terms.timeouts.tunnel_idle
        } else {
            self.terms.timeouts.upstream_body
        };
        reply.consume(head_bytes);
        let writer = BodyWriter::new(to_client, self.asked.te_trailers.then_some(&self.terms.response));
        self.flow.stall.set(stall);
        self.response_body(out, reply, BodyReader::for_response(framing), writer).await?;
        let clean = head.persistent() && framing != Framing::UntilClose && reply.is_empty();
        Ok(Ended::Complete {
            client_closes: closes,
            backend_reusable: clean && self.flow.request_done.get() && !self.flow.deaf.get(),
        })
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
        let edits = ResponseEdits {
            version: self.asked.version,
            framing,
            close,
            upgrade: head.status() == 101,
            via: self.settings.server.via,
            date: &self.worker.date(),
            changes: &self.terms.response,
            request_id: self.request_id,
        };
        outgoing::response(out, head, reply.filled(), &edits);
    }

    /// Empties `out` of the request for what goes to the client: nothing is sent again now.
    fn give_up_request(&self, out: &mut Buf) {
        self.flow.answering.set(true);
        out.clear();
    }

    /// From here on the response is the client's.
    fn begin_answer(&self, out: &mut Buf, reply: &Buf, head: &mut ResponseHead) {
        self.attempt.answered(self.worker, head.status());
        self.flow.status.set(head.status());
        self.give_up_request(out);
        self.terms.response.take_out(&mut head.fields, reply.filled(), false);
    }

    /// A 101 is only for a handshake that went upstream, and with the right answer to its key.
    fn check_switch(&self, reply: &Buf, head: &ResponseHead) -> Result<(), Error> {
        let key = self.asked.websocket_key.ok_or(Error::UpstreamBadResponse)?;
        if websocket::accepts(head, reply.filled(), &key) { Ok(()) } else { Err(Error::UpstreamBadResponse) }
    }

    async fn switch(
        &self,
        out: &mut Buf,
        reply: &mut Buf,
        head: &mut ResponseHead,
        head_bytes: usize,
    ) -> Result<Ended, Error> {
        self.begin_answer(out, reply, head);
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
        writer: BodyWriter<'_>,
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
            if !self.read_response(reply).await? {
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
        writer: BodyWriter<'_>,
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
    async fn read_response(&self, reply: &mut Buf) -> Result<bool, Error> {
        if reply.is_empty() {
            self.renew(reply);
        }
        reply.make_room(self.settings.limits.wire.trailer_bytes as usize + 2);
        self.turn(&self.flow.reading_backend, true);
        let read = self.backend.stream.read(reply).await;
        self.turn(&self.flow.reading_backend, false);
        match read {
            Ok(n) if n > 0 => {
                self.client.spend(n).await;
                Ok(true)
            }
            // An end that we made is none of the backend's.
            Ok(_) if self.why_upstream_ended() == Error::UpstreamClosed => Ok(false),
            _ => Err(self.why_upstream_ended()),
        }
    }

    async fn to_client(&self, buf: &mut Buf) -> Result<(), Error> {
        if buf.is_empty() {
            return Ok(());
        }
        let written = self.client.write_all(buf, self.terms.timeouts.client_write).await;
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
