//! The request's side: the client's body to the backend.

use std::net::Shutdown;

use ringway_wire::BodyReader;

use super::Relay;
use crate::conn::{DRAIN_BYTES, LINGER};
use crate::error::Error;
use crate::net::buf::{BUF_BYTES, Buf};
use crate::net::deadline::Ends;

impl Relay<'_> {
    /// Brings the request's body to the backend; when the backend takes no more, or the response is complete, reads the
    /// rest for nothing, up to [`DRAIN_BYTES`], to keep the client's connection.
    pub(super) async fn request_body(&self, input: &mut Buf, body: &mut BodyReader) {
        match self.forward_request_body(input, body).await {
            Ok(true) => self.note_sent(),
            Ok(false) => {}
            Err(error) => {
                self.flow.abort.set(Some(error));
                self.backend.stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// Says whether the whole body was read.
    async fn forward_request_body(&self, input: &mut Buf, body: &mut BodyReader) -> Result<bool, Error> {
        let limits = &self.settings.limits.wire;
        let mut drained = 0;
        self.send_again().await;
        loop {
            if self.flow.deaf.get() && self.replay.is_whole() {
                // What comes now is for the next attempt, should this one have failed.
                self.flow.decided().await;
            }
            if self.flow.failed.get() {
                return Ok(false);
            }
            // Behind a body that an earlier attempt has sent whole stands the client's next request.
            if !body.is_complete() && !input.is_empty() {
                let part = body.read(input.filled_mut(), limits).map_err(|error| Error::Body(error.kind))?;
                self.flow.count_request(part.data.len(), self.terms)?;
                if self.flow.deaf.get() || self.flow.response_done.get() {
                    drained += part.consumed;
                    input.consume(part.consumed);
                    self.replay.lose();
                } else if part.data.is_empty() && !part.complete {
                    input.consume(part.consumed);
                } else {
                    let framed = self.request_writer.frame(&self.worker.bufs, input, &part);
                    self.replay.keep(input.filled());
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

    /// Sends what earlier attempts have sent behind the first buffer.
    async fn send_again(&self) {
        let mut sent = 0;
        while !self.flow.deaf.get() && !self.flow.response_done.get() {
            let mut part = self.worker.bufs.take();
            self.replay.give(sent, BUF_BYTES, |bytes| part.append(bytes));
            if part.is_empty() {
                return;
            }
            sent += part.len();
            self.send_part(&mut part).await;
        }
    }

    async fn send_part(&self, part: &mut Buf) {
        while !part.is_empty() && !self.flow.deaf.get() {
            self.turn(&self.flow.writing_backend, true);
            let written = self.backend.stream.write(part).await;
            self.turn(&self.flow.writing_backend, false);
            match written {
                Ok(bytes) => self.client.spend(bytes).await,
                Err(_) => self.flow.deaf.set(true),
            }
        }
    }

    /// The client's time for its next bytes begins. A backend that takes no more is not kept waiting by them.
    pub(super) fn time_client(&self) {
        self.client.reading.arm(self.terms.timeouts.client_body, Ends::Reading);
        self.flow.owes_since_ms.set(self.worker.now_ms());
        self.turn(&self.flow.client_owes, !self.flow.deaf.get());
    }

    /// Reads more of the body. `false`: the response is complete and no more came, or the attempt has failed.
    async fn read_request(&self, input: &mut Buf) -> Result<bool, Error> {
        if self.flow.failed.get() {
            // That this should stop was said before it could be heard.
            return Ok(false);
        }
        if input.is_empty() {
            self.renew(input);
        }
        input.make_room(self.settings.limits.wire.trailer_bytes as usize + 2);
        match (self.flow.response_done.get(), self.flow.awaits_continue.get()) {
            (true, _) => self.client.reading.arm(LINGER, Ends::Reading),
            // It is the backend's turn to say 100; its own deadline runs.
            (false, true) => {}
            (false, false) => self.time_client(),
        }
        let read = self.client.read_until(input, &self.flow.stop_reading).await;
        self.turn(&self.flow.client_owes, false);
        match read {
            Ok(n) if n > 0 => {
                self.flow.awaits_continue.set(false);
                self.client.reading.disarm();
                Ok(true)
            }
            _ if self.flow.response_done.get() => Ok(false),
            _ if self.client.reading.fired() => Err(Error::RequestTimeout),
            _ if self.flow.failed.get() => {
                // Nobody waits for the client's bytes until the next attempt does.
                self.client.reading.disarm();
                Ok(false)
            }
            _ => Err(Error::ClientGone),
        }
    }
}
