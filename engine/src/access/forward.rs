//! An HTTP endpoint that is asked about each request. A 2xx lets the request through; a 3xx or 4xx goes to the client in place
//! of what it asked for; whatever else comes, or does not come in time, denies with 503.
//!
//! * `question`: what it is told.
//! * `talk`: the question and the answer, over one connection.
//! * `answer`: what an answer means, and what of it goes on.
//! * `known`: the answers that are remembered.
//!
//! Here is where the question goes: to one member of the endpoint's upstream after the other, until one can be reached, over the
//! worker's pooled connections.

mod answer;
mod known;
mod question;
mod talk;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_config::{ForwardAuth, Provider};
use ringway_wire::Limits;

use self::talk::{Talk, Told};
use super::verdicts::Key;
use super::{Check, Denied, Granted, Refusal, Request, Verdicts};
use crate::conn::Client;
use crate::error::Error;
use crate::net::patrol::Look;
use crate::respond;
use crate::upstream::{self, Asking, Backend, Failed, Picked, Tried, Upstream};
use crate::worker::Worker;

pub(super) use self::known::Known;

/// A question to the endpoint. It holds all that it needs of the request.
pub(crate) struct Question {
    provider: Arc<Provider>,
    endpoint: Rc<Upstream>,
    verdicts: Rc<Verdicts>,
    lines: Vec<u8>,
    /// The names of the answer's fields that go to the backend, in lower case.
    copied_fields: Vec<String>,
    /// Under which the answer is remembered, if it is.
    key: Option<Key>,
    client: Option<IpAddr>,
    limits: Limits,
}

/// What the endpoint `asked` answered to the same question, where that is remembered; else the question.
pub(super) fn check(
    worker: &Worker,
    verdicts: &Rc<Verdicts>,
    provider: &Arc<Provider>,
    asked: &ForwardAuth,
    endpoint: &Rc<Upstream>,
    request: &Request<'_>,
) -> Check {
    let lines = question::lines(request, &asked.request_fields);
    let mut key = None;
    if !asked.cache.is_zero() {
        key = Key::of_question(&asked.name, request.copied_fields, &lines);
        let known = &mut *verdicts.endpoints.borrow_mut();
        if let Some(fields) = key.and_then(|key| known.get(key, worker.now_ms())) {
            return Check::Known(Ok(Granted { user: None, fields }));
        }
    }
    Check::Pending(super::Pending::Endpoint(Box::new(Question {
        provider: provider.clone(),
        endpoint: endpoint.clone(),
        verdicts: verdicts.clone(),
        lines,
        copied_fields: request.copied_fields.to_vec(),
        key,
        client: request.client,
        limits: *request.limits,
    })))
}

impl Question {
    /// Asks. `look` shows when the client has gone.
    pub(super) async fn verdict(
        self,
        worker: &Worker,
        client: &Client,
        look: Look,
    ) -> Result<Granted, Denied> {
        let Provider::Forward(asked) = &*self.provider else {
            return Err(Denied::Failed(Error::AuthUnavailable));
        };
        let errand = Errand { worker, client, look, asked, question: &self, began: Instant::now() };
        match errand.run().await {
            Ok(Answer::Granted(fields)) => {
                self.remember(worker, asked.cache, &fields);
                Ok(Granted { user: None, fields })
            }
            Ok(Answer::Refused(refusal)) => Err(Denied::Answered(Box::new(refusal))),
            Err(Trouble::Other(Error::ClientGone)) => Err(Denied::Failed(Error::ClientGone)),
            Err(trouble) => {
                self.verdicts.complaints.of_endpoint(&asked.name, trouble.name(), worker.now_ms());
                Err(Denied::Failed(Error::AuthUnavailable))
            }
        }
    }

    fn remember(&self, worker: &Worker, cache: Duration, fields: &[u8]) {
        if let Some(key) = self.key {
            let until_ms = worker.now_ms().saturating_add(cache.as_millis() as u64);
            self.verdicts.endpoints.borrow_mut().remember(key, fields, until_ms);
        }
    }
}

/// What the endpoint has to say.
enum Answer {
    /// Fields for the backend, as whole lines.
    Granted(Vec<u8>),
    Refused(Refusal),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// The endpoint has failed.
    Failed(Failed),
    /// A connection that had been idle was closed before a byte of an answer came. That is nobody's failure.
    IdleClosed,
    /// Neither a 2xx nor one that is for the client.
    Status,
    /// The body is longer than one that is passed on.
    TooLong,
    /// The client has gone, or it could not be tried to connect.
    Other(Error),
}

impl Trouble {
    /// Of a connection that could not be made.
    fn unreached(error: Error) -> Self {
        match error {
            Error::UpstreamRefused => Self::Failed(Failed::Refused),
            Error::UpstreamConnectTimeout => Self::Failed(Failed::ConnectTimeout),
            other => Self::Other(other),
        }
    }

    /// Whether another member may be reached.
    fn is_unreachable(self) -> bool {
        matches!(self, Self::Failed(Failed::Refused | Failed::ConnectTimeout))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Failed(failed) => failed.id(),
            Self::IdleClosed => Failed::Closed.id(),
            Self::Status => "status",
            Self::TooLong => "answer_too_long",
            Self::Other(error) => respond::answer(error).code,
        }
    }
}

/// A question on its way.
struct Errand<'a> {
    worker: &'a Worker,
    client: &'a Client,
    look: Look,
    asked: &'a ForwardAuth,
    question: &'a Question,
    began: Instant,
}

impl Errand<'_> {
    /// Asks one member after the other, until one can be reached.
    async fn run(&self) -> Result<Answer, Trouble> {
        self.endpoint().count_request(self.worker.now_ms());
        let mut asking = Asking { client: self.question.client, tried: Tried::default(), now_ms: 0 };
        let mut failed = None;
        loop {
            let picked = self.choose(&mut asking, failed)?;
            match self.ask(picked, self.has_others(&asking)).await {
                Err(trouble) if trouble.is_unreachable() => failed = Some(trouble),
                result => return result,
            }
        }
    }

    fn endpoint(&self) -> &Rc<Upstream> {
        &self.question.endpoint
    }

    /// What is left of the provider's time.
    fn left(&self) -> Duration {
        self.asked.timeout.saturating_sub(self.began.elapsed())
    }

    /// Some members were not tried.
    fn has_others(&self, asking: &Asking) -> bool {
        asking.tried.count() < self.endpoint().roster.members.len()
    }

    /// Chooses a member that was not tried, and notes it. After another one has `failed` it takes a retry.
    fn choose(&self, asking: &mut Asking, failed: Option<Trouble>) -> Result<Picked, Trouble> {
        let endpoint = self.endpoint();
        asking.now_ms = self.worker.now_ms();
        if let Some(failed) = failed {
            let may_retry = asking.tried.count() <= usize::from(endpoint.roster.config.retries);
            let goes_on = may_retry && self.has_others(asking) && !self.left().is_zero();
            if !goes_on || !endpoint.withdraw_retry(asking.now_ms) {
                return Err(failed);
            }
        }
        let Some(picked) = endpoint.picker.pick(&endpoint.roster, asking) else {
            let Some(failed) = failed else { return Err(Trouble::Other(endpoint.nobody())) };
            endpoint.give_back_retry(asking.now_ms);
            return Err(failed);
        };
        if failed.is_some() {
            endpoint.count_retry();
            self.worker.counters.retries.add(1);
        }
        asking.tried.add(picked.member);
        Ok(picked)
    }

    /// Asks a member: over an idle connection, and over a fresh one where there is none or it had been closed. While it
    /// `has_others` beside it, connecting takes half of the time that is left at most.
    async fn ask(&self, picked: Picked, has_others: bool) -> Result<Answer, Trouble> {
        let _running = self.endpoint().run(picked.member);
        if let Some(idle) = self.endpoint().idle(picked.member) {
            match self.ask_over(picked, idle).await {
                Err(Trouble::IdleClosed) => self.worker.counters.resends.add(1),
                result => return result,
            }
        }
        let fresh = self.dial(picked, has_others).await?;
        self.ask_over(picked, fresh).await
    }

    async fn dial(&self, picked: Picked, has_others: bool) -> Result<Box<Backend>, Trouble> {
        let (endpoint, left) = (self.endpoint(), self.left());
        let given = if has_others { left / 2 } else { left };
        let dialled =
            upstream::dial(self.worker, self.client, self.look, endpoint, picked.member, given).await;
        dialled.map_err(Trouble::unreached).inspect_err(|trouble| self.blame(picked, *trouble, given))
    }

    async fn ask_over(&self, picked: Picked, backend: Box<Backend>) -> Result<Answer, Trouble> {
        let (endpoint, given) = (self.endpoint(), self.left());
        let attempt = endpoint.begin_try(picked);
        let talk = Talk::new(self, &backend, picked, &attempt);
        let result = talk.run(given).await;
        let judged = talk.is_judged();
        match result {
            Ok(Told { answer, reusable }) => {
                if reusable {
                    endpoint.keep(picked.member, backend, self.worker.wheel.now());
                }
                Ok(answer)
            }
            Err(trouble) => {
                if !judged {
                    self.blame(picked, trouble, given);
                }
                Err(trouble)
            }
        }
    }

    /// Tells the endpoint's health of a failure. A member that had less than a quarter of the provider's time is not judged by
    /// not being quick enough.
    fn blame(&self, picked: Picked, trouble: Trouble, given: Duration) {
        let Trouble::Failed(failed) = trouble else { return };
        let is_late = matches!(failed, Failed::ConnectTimeout | Failed::Timeout);
        if !is_late || given >= self.asked.timeout / 4 {
            self.endpoint().failed(self.worker, picked.member, failed);
        }
    }
}
