//! A client connection: waits for requests without holding a buffer, reads their heads, and hands them to `proxy`.
//!
//! ```text
//!           bytes            head              response sent
//! parked ---------> reading ------> exchange ------------------> parked, or reading when more has come
//!   | idle, closing    | bad, slow      | close, broken, tunnel over
//!   v                  v                v
//! closed            answered, lingering, closed
//! ```

use std::io;
use std::net::{IpAddr, Shutdown};
use std::rc::Rc;
use std::time::Duration;

use ringway_wire::{HeadError, Method, Progress, RequestHead, Version};

use crate::clients::Registration;
use crate::error::Error;
use crate::listener::{Listener, Place};
use crate::net::buf::Buf;
use crate::net::deadline::{Deadline, Ends};
use crate::net::stream::Stream;
use crate::net::task::{Budget, Stop};
use crate::proxy;
use crate::respond::{self, Asker};
use crate::stats::Counters;
use crate::view::Settings;
use crate::worker::{Heads, Worker};

/// How long a connection that is closing is read, so that the client gets to read our last words.
pub(crate) const LINGER: Duration = Duration::from_secs(2);
/// How much is read from it, in bytes.
const LINGER_BYTES: usize = 16 * 1024 * 1024;
/// How much of a request body that nobody wants is read to keep the connection, in bytes.
pub(crate) const DRAIN_BYTES: usize = 64 * 1024;

const _: () = assert!(DRAIN_BYTES < LINGER_BYTES);

/// How a connection goes on after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// With the next request.
    KeepAlive,
    /// It closes; the client may still be sending.
    Linger,
    /// It closes at once.
    Close,
}

/// The client's side of a connection. Fields drop in this order: deadlines and registration before the socket.
pub(crate) struct Client {
    /// Of heads, bodies and idle time.
    pub(crate) reading: Deadline,
    /// Of a client that does not read.
    writing: Deadline,
    pub(crate) registration: Registration,
    pub(crate) stream: Stream,
    /// `None` on a Unix socket.
    pub(crate) peer: Option<IpAddr>,
    pub(crate) listener: Rc<Listener>,
    pub(crate) budget: Budget,
    counters: std::sync::Arc<Counters>,
    _place: Place,
}

impl Client {
    /// A connection that was just accepted.
    pub(crate) fn new(
        worker: &Rc<Worker>,
        listener: Rc<Listener>,
        stream: Stream,
        peer: Option<IpAddr>,
        place: Place,
    ) -> Self {
        Self {
            reading: stream.deadline(&worker.wheel),
            writing: stream.deadline(&worker.wheel),
            registration: worker.clients.register(stream.fd(), listener.clone()),
            stream,
            peer,
            listener,
            budget: Budget::new(&worker.turns),
            counters: worker.counters.clone(),
            _place: place,
        }
    }

    /// Reads once behind what `buf` holds; 0 is the end.
    pub(crate) async fn read(&self, buf: &mut Buf) -> io::Result<usize> {
        let n = self.stream.read(buf).await?;
        self.counters.bytes_from_clients.add(n as u64);
        Ok(n)
    }

    /// The same, unless `stop` is called meanwhile.
    pub(crate) async fn read_until(&self, buf: &mut Buf, stop: &Stop) -> io::Result<usize> {
        let n = self.stream.read_until(buf, stop).await?;
        self.counters.bytes_from_clients.add(n as u64);
        Ok(n)
    }

    /// Writes all of `buf`, each step of it within `stall`.
    pub(crate) async fn write_all(&self, buf: &mut Buf, stall: Duration) -> io::Result<()> {
        while !buf.is_empty() {
            self.writing.arm(stall, Ends::Both);
            let n = self.stream.write(buf).await?;
            self.counters.bytes_to_clients.add(n as u64);
        }
        self.writing.disarm();
        Ok(())
    }

    /// The connection will not take another request, whatever the client wishes.
    pub(crate) fn closing(&self) -> bool {
        self.listener.closing.get() || self.reading.fired()
    }
}

/// Serves a connection to its end.
pub(crate) async fn serve(worker: Rc<Worker>, client: Client) {
    // What serves requests is boxed, so that a parked connection does not carry its room.
    while park(&worker, &client).await && Box::pin(serve_requests(&worker, &client)).await {}
}

/// Waits for the first byte of a request, without a buffer. `false` when the connection should close.
async fn park(worker: &Worker, client: &Client) -> bool {
    // One that was accepted in its listener's last moment gets its one response if its request is on the way.
    let idle = worker.view().settings.timeouts.client_idle;
    client.reading.arm(if client.listener.closing.get() { LINGER } else { idle }, Ends::Reading);
    client.registration.idle();
    let readable = client.stream.readable().await;
    client.registration.busy();
    readable.is_ok()
}

/// Serves requests as long as they come without a pause. Says whether the connection stays open.
async fn serve_requests(worker: &Rc<Worker>, client: &Client) -> bool {
    let mut heads = worker.take_heads();
    let mut input = worker.bufs.take();
    let after = loop {
        match serve_request(worker, client, &mut input, &mut heads).await {
            After::KeepAlive if client.closing() => break After::Linger,
            After::KeepAlive if input.is_empty() => break After::KeepAlive,
            After::KeepAlive => client.budget.spend_request().await,
            after => break after,
        }
    };
    worker.give_back_heads(heads);
    if after == After::Linger {
        linger(client, &mut input).await;
    }
    after == After::KeepAlive
}

async fn serve_request(worker: &Rc<Worker>, client: &Client, input: &mut Buf, heads: &mut Heads) -> After {
    let settings = worker.view().settings.clone();
    heads.request.clear();
    match read_head(client, input, &mut heads.request, &settings).await {
        HeadRead::Complete(head_bytes) => {
            client.reading.disarm();
            proxy::handle(worker, client, input, heads, head_bytes).await
        }
        HeadRead::Nothing => After::Close,
        HeadRead::Refused(error) => refuse(worker, client, &settings, error).await,
    }
}

enum HeadRead {
    /// A head, of so many bytes at the front of the input.
    Complete(usize),
    /// The connection ended, or its idle time, before a head was complete.
    Nothing,
    /// No head, or too late.
    Refused(Error),
}

async fn read_head(
    client: &Client,
    input: &mut Buf,
    head: &mut RequestHead,
    settings: &Settings,
) -> HeadRead {
    let limits = &settings.limits.wire;
    // Room for the two empty lines that may come before a head, too.
    let at_most = limits.head_bytes as usize + 4;
    let mut timed = false;
    loop {
        match head.read(input.filled_mut(), limits) {
            Ok(Progress::Done(head_bytes)) => return HeadRead::Complete(head_bytes),
            Err(HeadError { kind, .. }) => return HeadRead::Refused(Error::Head(kind)),
            Ok(Progress::Partial) => {}
        }
        let started = head.started(input.filled());
        if started && !std::mem::replace(&mut timed, true) {
            client.reading.arm(settings.timeouts.client_head, Ends::Reading);
        } else if !started && !input.is_empty() {
            // Empty lines behind the last request: still idle.
            client.reading.arm(settings.timeouts.client_idle, Ends::Reading);
        }
        input.make_room(at_most);
        match client.read(input).await {
            Ok(0) | Err(_) if started && client.reading.fired() => {
                return HeadRead::Refused(Error::RequestTimeout);
            }
            Ok(0) | Err(_) => return HeadRead::Nothing,
            Ok(_) => {}
        }
    }
}

/// Answers what never became a request.
async fn refuse(worker: &Worker, client: &Client, settings: &Settings, error: Error) -> After {
    let answer = respond::answer(error);
    worker.counters.status(answer.status);
    worker.counters.error(respond::code_index(answer.code));
    let date = worker.date();
    let asker = Asker {
        method: Method::Other,
        version: Version::Http11,
        close: true,
        request_id: None,
        date: &date,
        via: settings.server.via,
    };
    let mut out = worker.bufs.take();
    respond::error(&mut out, error, &asker);
    worker.log.refused(worker, client, settings, error);
    match client.write_all(&mut out, settings.timeouts.client_write).await {
        Ok(()) => After::Linger,
        Err(_) => After::Close,
    }
}

/// Ends our side and reads on for a moment: closing on unread bytes would be a reset, which can destroy the response
/// before the client has read it.
async fn linger(client: &Client, input: &mut Buf) {
    client.stream.shutdown(Shutdown::Write);
    client.reading.arm(LINGER, Ends::Both);
    let mut left = LINGER_BYTES;
    loop {
        input.clear();
        match client.read(input).await {
            Ok(n) if n > 0 && n < left => left -= n,
            _ => return,
        }
        client.budget.spend(input.len()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a parked connection's task takes, in bytes. Sockets in the thousands are mostly parked.
    const PARKED_BYTES: usize = 640;

    #[test]
    fn a_parked_connection_is_small() {
        fn size_of_future<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size_of_future(serve);
        assert!(bytes <= PARKED_BYTES, "{bytes}");
    }
}
