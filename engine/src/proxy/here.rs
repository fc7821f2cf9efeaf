//! Answers that are made here: to errors, by rules, and to who asks us and not a backend.

use std::sync::Arc;

use ringway_config::Respond;
use ringway_wire::{Method, RequestHead};

use super::Exchange;
use crate::access::Refusal;
use crate::conn::{After, DRAIN_BYTES};
use crate::error::Error;
use crate::net::buf::Buf;
use crate::net::deadline::Ends;
use crate::relay::{Failure, Stage};
use crate::respond::{self, Asker, Written};

/// What a request is answered with here.
pub(super) enum Local {
    /// Its Max-Forwards is used up.
    MaxForwards,
    Redirect {
        status: u16,
        location: Vec<u8>,
    },
    /// As the rule says.
    Respond(Arc<Respond>),
    /// As the endpoint says that was asked whether it may come in.
    Refusal(Box<Refusal>),
}

impl Exchange<'_> {
    /// Turns an error into a response, where one can still be sent.
    pub(super) async fn fail(&mut self, failure: Failure, input: &mut Buf) -> After {
        let Failure { error, stage } = failure;
        self.error = Some(error);
        self.take_head(input);
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
        let written =
            respond::error(&mut out, error, &self.particulars, &self.asker(close, &self.worker.date()));
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
    pub(super) fn must_close(&self, here: usize) -> bool {
        let long = self.body.remaining().is_none_or(|left| left > (DRAIN_BYTES + here) as u64);
        !self.asked.persistent || self.client.closing() || long || self.asked.expects_continue()
    }

    pub(super) fn asker<'d>(&'d self, close: bool, date: &'d [u8]) -> Asker<'d> {
        Asker {
            method: self.asked.method,
            version: self.asked.version,
            close,
            request_id: self.request_id.as_deref(),
            date,
            via: self.settings.server.via,
        }
    }

    pub(super) async fn answer_here(&mut self, answer: Local, input: &mut Buf, head: &RequestHead) -> After {
        let close = self.must_close(input.len() - self.head_bytes);
        let mut out = self.worker.bufs.take();
        let date = self.worker.date();
        let written = self.write_local(&mut out, &answer, head, input.filled(), &self.asker(close, &date));
        self.note_answer(written);
        self.take_head(input);
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
            Local::Refusal(refusal) => respond::refusal(out, refusal, changes, asker),
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
    pub(super) async fn discard_body(&mut self, input: &mut Buf) -> bool {
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
}
