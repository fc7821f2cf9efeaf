//! Who may come in: the credentials of a request, as its provider looks at them.
//!
//! * `basic`: users and passwords, whose hashes are computed on threads of their own; `verdicts` remembers what came of it.
//! * `bearer`: tokens.
//! * `forward`: an endpoint that is asked.
//! * `complaints`: what the log says when it cannot be found out.
//!
//! What can be said at once is said by [`check`]; the rest waits as [`Pending`]. Whoever cannot be shown to be allowed is
//! denied.

mod authorization;
mod basic;
mod bearer;
mod complaints;
mod forward;
mod verdicts;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use ringway_config::Provider;
use ringway_wire::RequestHead;

use crate::conn::Client;
use crate::error::Error;
use crate::net::patrol::Look;
use crate::upstream::Upstream;
use crate::worker::Worker;

pub(crate) use verdicts::Verdicts;

/// A request whose credentials are looked at.
#[derive(Clone, Copy)]
pub(crate) struct Request<'r> {
    pub(crate) head: &'r RequestHead,
    /// The bytes of the head.
    pub(crate) bytes: &'r [u8],
    /// The client's address, behind trusted proxies too.
    pub(crate) client: Option<IpAddr>,
    /// What the peer says of its client's connection is believed.
    pub(crate) peer_trusted: bool,
    /// The names of the fields of an endpoint's 2xx that go to the backend, in lower case; fewer than the provider's, where
    /// site or rule change some.
    pub(crate) copied_fields: &'r [String],
    /// The head's limits, for the endpoint's answer.
    pub(crate) limits: &'r ringway_wire::Limits,
}

/// What can be said at once.
pub(crate) enum Check {
    Known(Result<Granted, Denied>),
    Pending(Pending),
}

/// It may come in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Granted {
    /// Who it is, for the log.
    pub(crate) user: Option<Arc<str>>,
    /// Fields for the backend, as whole lines.
    pub(crate) fields: Vec<u8>,
}

/// It may not.
#[derive(Debug)]
pub(crate) enum Denied {
    /// Credentials are missing or wrong; `challenge` is the WWW-Authenticate line, its end included.
    Unauthorized { challenge: Vec<u8> },
    /// The endpoint's answer goes to the client.
    Answered(Box<Refusal>),
    /// It could not be found out, or there was no time to.
    Failed(Error),
}

/// An endpoint's answer that goes to the client.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// 300 to 499.
    pub(crate) status: u16,
    /// Its end-to-end fields, as whole lines, without those that Ringway writes itself (Content-Length, Connection, Date
    /// where there is none).
    pub(crate) fields: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

/// Looks at the credentials of `request`; `endpoint` is the upstream of a `forward` provider.
pub(crate) fn check(
    worker: &Worker,
    verdicts: &Rc<Verdicts>,
    provider: &Arc<Provider>,
    endpoint: Option<&Rc<Upstream>>,
    request: &Request<'_>,
) -> Check {
    match &**provider {
        Provider::Basic(basic) => basic::check(worker, verdicts, basic, request),
        Provider::Bearer(bearer) => Check::Known(bearer::check(bearer, request)),
        Provider::Forward(asked) => match endpoint {
            Some(endpoint) => forward::check(worker, verdicts, provider, asked, endpoint, request),
            None => Check::Known(Err(Denied::Failed(Error::AuthUnavailable))),
        },
    }
}

/// What is still to be found out.
pub(crate) enum Pending {
    Password(basic::Pending),
    Endpoint(Box<forward::Question>),
}

impl Pending {
    /// Finds it out. `look` shows when the client has gone.
    pub(crate) async fn verdict(
        self,
        worker: &Worker,
        client: &Client,
        look: Look,
    ) -> Result<Granted, Denied> {
        match self {
            Self::Password(password) => password.verdict(worker, client, look).await,
            Self::Endpoint(question) => question.verdict(worker, client, look).await,
        }
    }
}
