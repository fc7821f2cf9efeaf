//! Connections to backends.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Context;
use std::time::Duration;

use super::Upstream;
use super::queue::stand;
use crate::conn::Client;
use crate::error::Error;
use crate::net::deadline::Deadline;
use crate::net::dial::{self, Address, DialError, is_exhaustion};
use crate::net::listen::Local;
use crate::net::patrol::Look;
use crate::net::stream::Stream;
use crate::worker::Worker;

/// A connection to a backend.
pub(crate) struct Backend {
    // First, so that it leaves the wheel before the socket closes.
    pub(crate) deadline: Deadline,
    pub(crate) stream: Stream,
    /// It served an exchange before this one: then its failure may only mean that the backend closed it meanwhile.
    pub(crate) reused: bool,
}

/// Connects to a member of an upstream within `timeout`, for a client whose going away is seen by `look`.
///
/// # Errors
/// What ended it: one of the upstream's errors, `Loop`, `Exhausted`, or `ClientGone`. A member that is barred is not dialled.
pub(crate) async fn dial(
    worker: &Worker,
    client: &Client,
    look: Look,
    upstream: &Upstream,
    member: usize,
    timeout: Duration,
) -> Result<Box<Backend>, Error> {
    let member = upstream.roster.members.get(member).ok_or(Error::NoBackend)?;
    if member.forbidden.is_some() {
        return Err(Error::UpstreamForbidden);
    }
    if member.is_own {
        return Err(Error::Loop);
    }
    // Dropped half-way it loses nothing: no byte is under way.
    let mut dialling = pin!(dial::dial(&member.address, timeout));
    let connected = |cx: &mut Context<'_>| dialling.as_mut().poll(cx);
    let stream = stand(&client.registration, worker.wheel.now(), look, Duration::MAX, connected).await?;
    let stream = stream.map_err(blame)?;
    if comes_back(worker, &stream, &member.address) {
        return Err(Error::Loop);
    }
    worker.counters.upstream_connects.add(1);
    let deadline = stream.deadline(&worker.wheel);
    Ok(Box::new(Backend { deadline, stream, reused: false }))
}

fn blame(error: DialError) -> Error {
    match error {
        DialError::Timeout => Error::UpstreamConnectTimeout,
        DialError::Failed(error) if is_exhaustion(&error) => {
            tracing::warn!(%error, "cannot open a connection to a backend");
            Error::Exhausted
        }
        DialError::Failed(error) if error.kind() == io::ErrorKind::TimedOut => Error::UpstreamConnectTimeout,
        DialError::Failed(_) => Error::UpstreamRefused,
    }
}

/// Whether a connection to another address of this host ended at our own listener on the unspecified address: then both
/// of its ends have the same address.
fn comes_back(worker: &Worker, stream: &Stream, address: &Address) -> bool {
    let Address::Tcp(dialled) = address else { return false };
    let own = worker.view();
    let listens = |own: &Local| is_unspecified_with_port(own, dialled.port());
    let may_be_own = own.published.own_addresses.iter().any(listens);
    may_be_own && stream.local_addr().map(|local| local.ip()) == Some(dialled.ip())
}

fn is_unspecified_with_port(own: &Local, port: u16) -> bool {
    matches!(own, Local::Tcp(own) if SocketAddr::ip(own).is_unspecified() && own.port() == port)
}
