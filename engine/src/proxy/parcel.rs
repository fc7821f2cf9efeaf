//! What is sent to a backend, and sent again to the next: a head that is written for it, and what came of the body.

use ringway_wire::{Framing, RequestHead};

use super::Exchange;
use super::course::Link;
use super::route::Forwarding;
use crate::body::BodyWriter;
use crate::error::Error;
use crate::net::buf::Buf;
use crate::outgoing::{self, RequestEdits};
use crate::relay::Replay;
use crate::terms::take_out_steering;
use crate::worker::Heads;

/// What is sent, and can be sent again.
pub(super) struct Parcel {
    /// The head and the beginning of the body.
    pub(super) out: Buf,
    /// Where they stand in it.
    start: usize,
    end: usize,
    pub(super) writer: BodyWriter<'static>,
    /// What was sent behind it.
    pub(super) replay: Replay,
    /// For backends whose head would be another one.
    renewal: Option<Renewal>,
}

impl Parcel {
    /// Nothing yet of a request whose body is framed as `framing`. Its body is kept when it is `repeatable`.
    pub(super) fn new(out: Buf, framing: Framing, repeatable: bool) -> Self {
        let (writer, replay) = (BodyWriter::new(framing, None), Replay::new(repeatable));
        Self { out, start: 0, end: 0, writer, replay, renewal: None }
    }

    /// What `out` has now is what is sent.
    fn close(&mut self) {
        (self.start, self.end) = (self.out.start(), self.out.start() + self.out.len());
    }

    /// Puts back into `out` what was there when it was closed.
    fn open(&mut self) {
        self.out.rewind(self.start, self.end);
    }
}

/// What it takes to write a head for another backend.
struct Renewal {
    /// The head as it came.
    bytes: Vec<u8>,
    /// How long the head that was written is.
    written_bytes: usize,
}

impl Exchange<'_> {
    /// Writes the request for the backend of `link`, and what came of its body behind it.
    pub(super) fn pack(
        &mut self,
        target: &mut Forwarding,
        link: &Link,
        parcel: &mut Parcel,
        heads: &mut Heads,
        input: &mut Buf,
    ) -> Result<(), Error> {
        self.terms().request.take_out(&mut heads.request.fields, input.filled(), true);
        if self.came_publicly {
            take_out_steering(&mut heads.request.fields, input.filled());
        }
        let authority = link.authority(&target.upstream);
        self.write_request(&mut parcel.out, target, authority, &heads.request, input.filled());
        parcel.renewal = self.renewal(target, &heads.request, input, parcel.out.len());
        if parcel.renewal.is_none() {
            // From here on the exchange keeps its upstream, not the revision.
            target.view = None;
        }
        self.take_head(input);
        self.begin_body(parcel, input)?;
        parcel.close();
        Ok(())
    }

    /// Takes the request's head out of the input, if it is still there.
    pub(super) fn take_head(&mut self, input: &mut Buf) {
        input.consume(std::mem::take(&mut self.head_bytes));
    }

    /// What it takes to write the head again for another backend; nothing, when it would be the same.
    fn renewal(
        &self,
        target: &Forwarding,
        head: &RequestHead,
        input: &Buf,
        written_bytes: usize,
    ) -> Option<Renewal> {
        let names_backend = head.authority().is_none() || target.rule()?.change_origin;
        let differs = names_backend && target.retries > 0 && target.upstream.roster.has_several_authorities();
        let bytes = || input.filled().get(..self.head_bytes).unwrap_or_default().to_vec();
        differs.then(|| Renewal { bytes: bytes(), written_bytes })
    }

    /// Makes the request ready to be sent again, to the backend of `link`.
    pub(super) fn repack(&self, target: &Forwarding, link: &Link, parcel: &mut Parcel, head: &RequestHead) {
        parcel.open();
        let Parcel { out, renewal: Some(Renewal { bytes, written_bytes }), .. } = parcel else { return };
        let body = out.filled().get(*written_bytes..).unwrap_or_default().to_vec();
        out.clear();
        self.write_request(out, target, link.authority(&target.upstream), head, bytes);
        *written_bytes = out.len();
        out.append(&body);
        parcel.close();
    }

    fn write_request(
        &self,
        out: &mut Buf,
        target: &Forwarding,
        authority: &str,
        head: &RequestHead,
        bytes: &[u8],
    ) {
        let rule = target.rule();
        let edits = RequestEdits {
            settings: self.settings,
            terms: self.terms(),
            base_path: rule.map_or("", |rule| &rule.base_path),
            path: &target.path,
            authority,
            change_origin: rule.is_some_and(|rule| rule.change_origin),
            peer: self.client.peer,
            peer_trusted: self.peer_trusted,
            client: self.client_address,
            tenant: target.tenant.as_deref(),
            request_id: self.request_id.as_deref(),
            drops_authorization: self.drops_authorization,
            granted_fields: &self.granted_fields,
            upgrade: self.asked.upgrades(),
        };
        outgoing::request(out, head, bytes, &edits);
    }

    /// Puts what already came of the body behind the head, where it fits, so that both go in one write and can be sent
    /// again.
    fn begin_body(&mut self, parcel: &mut Parcel, input: &mut Buf) -> Result<(), Error> {
        self.flow.set_awaits_continue(self.asked.expects_continue() && input.is_empty());
        if self.body.is_complete() || input.is_empty() || 2 * input.len() > parcel.out.spare() {
            return Ok(());
        }
        let part = self.body.read(input.filled_mut(), &self.settings.limits.wire);
        let part = part.map_err(|error| Error::Body(error.kind))?;
        self.flow.count_request(part.data.len(), self.terms())?;
        if part.data.is_empty() && !part.complete {
            input.consume(part.consumed);
            return Ok(());
        }
        let framed = parcel.writer.frame(&self.worker.bufs, input, &part);
        parcel.out.append(input.filled());
        framed.go_on(input);
        Ok(())
    }
}
