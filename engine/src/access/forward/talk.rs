//! One question and its answer over one connection, within the time that is left for both.

use std::cell::Cell;
use std::time::Duration;

use ringway_wire::{BodyReader, Framing, Method, Progress, ResponseHead};

use super::answer::{self, Meaning};
use super::{Answer, Errand, Trouble, question};
use crate::access::Refusal;
use crate::error::Error;
use crate::net::buf::Buf;
use crate::net::deadline::Ends;
use crate::upstream::{Backend, Failed, Picked, Try};

/// Interim responses that an endpoint may send before its answer.
const INTERIM_RESPONSES_MAX: usize = 64;
/// The longest body of an answer that goes to a client, in bytes: it is held until it is whole.
const ANSWER_BODY_BYTES_MAX: usize = 1024 * 1024;

const BAD: Trouble = Trouble::Failed(Failed::BadResponse);
const CLOSED: Trouble = Trouble::Failed(Failed::Closed);

/// A question to one member.
pub(super) struct Talk<'a> {
    errand: &'a Errand<'a>,
    backend: &'a Backend,
    picked: Picked,
    attempt: &'a Try<'a>,
    /// A byte of an answer came.
    answered: Cell<bool>,
    judged: Cell<bool>,
}

/// An answer that came whole.
pub(super) struct Told {
    pub(super) answer: Answer,
    /// The connection is clean.
    pub(super) reusable: bool,
}

impl<'a> Talk<'a> {
    pub(super) fn new(
        errand: &'a Errand<'a>,
        backend: &'a Backend,
        picked: Picked,
        attempt: &'a Try<'a>,
    ) -> Self {
        Self { errand, backend, picked, attempt, answered: Cell::new(false), judged: Cell::new(false) }
    }

    /// The member has been judged by the head of its answer.
    pub(super) fn is_judged(&self) -> bool {
        self.judged.get()
    }

    /// Asks, for `given` at most.
    pub(super) async fn run(&self, given: Duration) -> Result<Told, Trouble> {
        let Errand { worker, client, look, .. } = *self.errand;
        let mut heads = worker.take_heads();
        // Once for all of it: an answer that trickles in gains no time.
        self.backend.deadline.arm(given, Ends::Both);
        let watched = client.registration.waiting(self.backend.stream.fd(), look, worker.wheel.now());
        let result = self.ask(&mut heads.response).await;
        drop(watched);
        self.backend.deadline.disarm();
        worker.give_back_heads(heads);
        if let Err(Trouble::Failed(Failed::Timeout)) = result
            && !self.is_judged()
        {
            self.attempt.timed_out(worker);
        }
        result
    }

    async fn ask(&self, head: &mut ResponseHead) -> Result<Told, Trouble> {
        let mut buf = self.errand.worker.bufs.take();
        self.send(&mut buf).await?;
        self.attempt.sent();
        let head_bytes = self.final_head(&mut buf, head).await?;
        let framing = head.framing_for(Method::Get).map_err(|_| BAD)?;
        if head.status() == 101 {
            return Err(BAD);
        }
        self.attempt.answered(self.errand.worker, head.status());
        self.judged.set(true);
        match Meaning::of(head.status()) {
            Meaning::LetsThrough => self.granted(&mut buf, head, head_bytes, framing).await,
            Meaning::ForClient => self.refused(&mut buf, head, head_bytes, framing).await,
            Meaning::Failure => Err(Trouble::Status),
        }
    }

    async fn send(&self, buf: &mut Buf) -> Result<(), Trouble> {
        let Errand { asked, question, .. } = self.errand;
        let member = question.endpoint.roster.members.get(self.picked.member);
        let authority = member.map_or("", |member| &member.authority);
        buf.append(&question::whole(&asked.path, authority, &question.lines));
        while !buf.is_empty() {
            self.backend.stream.write(buf).await.map_err(|_| self.why_ended())?;
        }
        Ok(())
    }

    /// The head of the answer, behind as many interim ones as may come.
    async fn final_head(&self, buf: &mut Buf, head: &mut ResponseHead) -> Result<usize, Trouble> {
        for _ in 0..=INTERIM_RESPONSES_MAX {
            let head_bytes = self.head(buf, head).await?;
            if !head.is_interim() {
                return Ok(head_bytes);
            }
            buf.consume(head_bytes);
        }
        Err(BAD)
    }

    async fn head(&self, buf: &mut Buf, head: &mut ResponseHead) -> Result<usize, Trouble> {
        let limits = &self.errand.question.limits;
        head.clear();
        loop {
            if !buf.is_empty()
                && let Progress::Done(head_bytes) = head.read(buf.filled(), limits).map_err(|_| BAD)?
            {
                return Ok(head_bytes);
            }
            if !self.read(buf, limits.head_bytes as usize + 4).await? {
                return Err(self.why_ended());
            }
        }
    }

    /// The request goes on once the answer is whole, however little of it is of use: half an answer is none, and one that has
    /// no end is late.
    async fn granted(
        &self,
        buf: &mut Buf,
        head: &ResponseHead,
        head_bytes: usize,
        framing: Framing,
    ) -> Result<Told, Trouble> {
        let lines = answer::for_backend(head, buf.filled(), &self.errand.question.copied_fields);
        buf.consume(head_bytes);
        self.body(buf, framing, |_| Ok(())).await?;
        Ok(Told { answer: Answer::Granted(lines), reusable: is_reusable(buf, head, framing) })
    }

    async fn refused(
        &self,
        buf: &mut Buf,
        head: &ResponseHead,
        head_bytes: usize,
        framing: Framing,
    ) -> Result<Told, Trouble> {
        let fields = answer::for_client(head, buf.filled());
        buf.consume(head_bytes);
        let mut body = Vec::new();
        let hold = |part: &[u8]| {
            if body.len() + part.len() > ANSWER_BODY_BYTES_MAX {
                return Err(Trouble::TooLong);
            }
            body.extend_from_slice(part);
            Ok(())
        };
        self.body(buf, framing, hold).await?;
        let answer = Answer::Refused(Refusal { status: head.status(), fields, body });
        Ok(Told { answer, reusable: is_reusable(buf, head, framing) })
    }

    /// Reads a body to its end and hands its parts to `take`, whose error ends it.
    async fn body(
        &self,
        buf: &mut Buf,
        framing: Framing,
        mut take: impl FnMut(&[u8]) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let limits = &self.errand.question.limits;
        let mut body = BodyReader::for_response(framing);
        while !body.is_complete() {
            if !buf.is_empty() {
                let part = body.read(buf.filled_mut(), limits).map_err(|_| BAD)?;
                take(part.data.of(buf.filled()))?;
                buf.consume(part.consumed);
            }
            if !body.is_complete() && !self.read(buf, limits.trailer_bytes as usize + 2).await? {
                return body.at_eof().map_err(|_| CLOSED);
            }
        }
        Ok(())
    }

    /// Reads behind what `buf` holds, which may be `at_most` bytes. `false`: the endpoint ended its side.
    async fn read(&self, buf: &mut Buf, at_most: usize) -> Result<bool, Trouble> {
        if !buf.make_room(at_most) {
            return Err(BAD);
        }
        match self.backend.stream.read(buf).await {
            Ok(n) if n > 0 => {
                self.answered.set(true);
                self.errand.client.spend(n).await;
                Ok(true)
            }
            // An end that we made is none of the endpoint's, and a reset is none that a body may have.
            Ok(_) if !self.was_ended() => Ok(false),
            _ => Err(self.why_ended()),
        }
    }

    /// The connection was ended on our side.
    fn was_ended(&self) -> bool {
        self.errand.client.registration.gone() || self.backend.deadline.fired()
    }

    fn why_ended(&self) -> Trouble {
        if self.errand.client.registration.gone() {
            Trouble::Other(Error::ClientGone)
        } else if self.backend.deadline.fired() {
            Trouble::Failed(Failed::Timeout)
        } else if self.backend.reused && !self.answered.get() {
            Trouble::IdleClosed
        } else {
            CLOSED
        }
    }
}

/// Whether the connection can be used again after a whole answer.
fn is_reusable(buf: &Buf, head: &ResponseHead, framing: Framing) -> bool {
    head.persistent() && framing != Framing::UntilClose && buf.is_empty()
}
