//! A client connection: waits for requests, for long ones without holding a buffer, reads their heads, and hands them to
//! `proxy`.
//!
//! ```text
//!           bytes            head              response sent
//! parked ---------> reading ------> exchange ------------------> hot; reading when more has come; parked after a tick
//!   | idle, closing    | bad, slow      | close, broken, tunnel over
//!   v                  v                v
//! closed            answered, lingering, closed
//! ```

use std::io;
use std::net::{IpAddr, Shutdown};
use std::rc::Rc;
use std::time::Duration;

use ringway_wire::{HeadError, Method, Progress, RequestHead, Version};

use crate::clients::{Clients, Registration};
use crate::error::Error;
use crate::hot::{HotReader, Next};
use crate::listener::{self, Listener, Place};
use crate::net::buf::{BUF_BYTES, Buf};
use crate::net::deadline::{Deadline, Ends};
use crate::net::stream::Stream;
use crate::net::task::{Budget, Stop};
use crate::proxy;
use crate::respond::{self, Asker};
use crate::view::View;
use crate::worker::{Heads, Worker};

/// How long a connection that is closing is read, so that the client gets to read our last words.
pub(crate) const LINGER: Duration = Duration::from_secs(2);
/// How much is read from it, in bytes.
const LINGER_BYTES: usize = 16 * 1024 * 1024;
/// How much of a request body that nobody wants is read to keep the connection, in bytes.
pub(crate) const DRAIN_BYTES: usize = 64 * 1024;
/// Who was silent for at most so many ticks will probably not be silent for long the next time.
const BRIEF_TICKS: u64 = 1;
/// No tick: the connection is new.
const NEVER_PARKED: u32 = u32::MAX;

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
    pub(crate) reading: Deadline<0>,
    /// Of a client that does not read.
    writing: Deadline<1>,
    pub(crate) registration: Registration,
    pub(crate) stream: Stream,
    budget: Budget,
    place: Place,
    /// `None` on a Unix socket.
    pub(crate) peer: Option<IpAddr>,
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
        let (reading, writing) = stream.two_deadlines(&worker.wheel);
        Self {
            reading,
            writing,
            registration: Clients::register(stream.fd(), listener),
            stream,
            budget: Budget::new(),
            place,
            peer,
        }
    }

    /// Whose connection it is.
    fn worker(&self) -> &Rc<Worker> {
        self.place.worker()
    }

    /// Reads once behind what `buf` holds; 0 is the end.
    pub(crate) async fn read(&self, buf: &mut Buf) -> io::Result<usize> {
        let n = self.stream.read(buf).await?;
        self.worker().counters.bytes_from_clients.add(n as u64);
        Ok(n)
    }

    /// The same, unless `stop` is called meanwhile.
    pub(crate) async fn read_until(&self, buf: &mut Buf, stop: &Stop) -> io::Result<usize> {
        let n = self.stream.read_until(buf, stop).await?;
        self.worker().counters.bytes_from_clients.add(n as u64);
        Ok(n)
    }

    /// Writes all of `buf`, each step of it within `stall`.
    pub(crate) async fn write_all(&self, buf: &mut Buf, stall: Duration) -> io::Result<()> {
        while !buf.is_empty() {
            self.write_some(buf, stall).await?;
        }
        Ok(())
    }

    /// Writes once, within `stall`, and says how many bytes went.
    pub(crate) async fn write_some(&self, buf: &mut Buf, stall: Duration) -> io::Result<usize> {
        self.writing.arm(stall, Ends::Both);
        let n = self.stream.write(buf).await?;
        self.worker().counters.bytes_to_clients.add(n as u64);
        self.writing.disarm();
        Ok(n)
    }

    /// Whether a write would not have to wait.
    pub(crate) fn takes_more(&self) -> bool {
        self.stream.has_room()
    }

    /// Counts bytes that were moved; gives way when the turn is used up.
    pub(crate) async fn spend(&self, bytes: usize) {
        self.budget.spend(&self.worker().turns, bytes).await;
    }

    /// The connection will not take another request, whatever the client wishes.
    pub(crate) fn closing(&self) -> bool {
        self.registration.listener().closing.get() || self.reading.fired()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(peer) = self.peer {
            listener::leave(self.worker(), self.registration.listener(), peer);
        }
    }
}

/// Serves a connection to its end. While it is parked it holds no buffer, and its task nothing that it can do without: there
/// may be ten thousand of them. That is why it parks here and not in a function of its own.
#[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
pub(crate) fn serve(client: Client) -> impl Future<Output = ()> {
    async move {
        // Half as wide as ticks are elsewhere, so that it fits beside the future's state.
        let mut parked_at = NEVER_PARKED;
        loop {
            let arrival = match parked_at {
                NEVER_PARKED => Arrival::Accepted,
                tick => {
                    Arrival::Readable { brief: client.worker().wheel.now() - u64::from(tick) <= BRIEF_TICKS }
                }
            };
            // Boxed, so that a parked connection does not carry the room of one that serves requests.
            if !Box::pin(serve_requests(client.worker(), &client, arrival)).await {
                return;
            }
            parked_at = client.worker().wheel.now() as u32;
            await_request(client.worker(), &client);
            if client.stream.readable().await.is_err() {
                return;
            }
            client.registration.busy();
        }
    }
}

/// How a connection comes to be served.
#[derive(Clone, Copy)]
enum Arrival {
    /// It is new: its first request is mostly on the way.
    Accepted,
    /// Something can be read from it. `brief`: the client was not silent for long, so it probably will not be after its next
    /// request.
    Readable { brief: bool },
}

/// The client owes nothing: it may be silent for its idle time.
fn await_request(worker: &Worker, client: &Client) {
    // One that was accepted in its listener's last moment gets its one response if its request is on the way.
    let idle = worker.view().settings.plain.timeouts.client_idle;
    client
        .reading
        .arm(if client.registration.listener().closing.get() { LINGER } else { idle }, Ends::Reading);
    client.registration.idle();
}

/// Serves requests as long as they come in quick succession. Says whether the connection stays open.
async fn serve_requests(worker: &Rc<Worker>, client: &Client, arrival: Arrival) -> bool {
    let hot = match arrival {
        Arrival::Readable { brief: false } => None,
        _ => Some(worker.hot.reader(client)),
    };
    let mut heads = worker.take_heads();
    let mut input = worker.bufs.take();
    let mut waits = matches!(arrival, Arrival::Accepted);
    let after = loop {
        if waits {
            match next_bytes(worker, client, hot.as_ref(), &mut input).await {
                Next::Came => {}
                Next::Silence => break After::KeepAlive,
                Next::End => break After::Close,
            }
        }
        match serve_request(worker, client, &mut input, &mut heads).await {
            After::KeepAlive if client.closing() => break After::Linger,
            After::KeepAlive => {}
            after => break after,
        }
        client.budget.spend_request(&worker.turns).await;
        waits = input.is_empty();
        if waits && input.capacity() > BUF_BYTES {
            // A large body is over.
            input = worker.bufs.take();
        }
    };
    worker.give_back_heads(heads);
    if after == After::Linger {
        linger(client, &mut input).await;
    }
    after == After::KeepAlive
}

/// Waits for the next request's first bytes, for a moment.
async fn next_bytes(worker: &Worker, client: &Client, hot: Option<&HotReader>, input: &mut Buf) -> Next {
    let Some(hot) = hot else { return Next::Silence };
    await_request(worker, client);
    let next = hot.wait(client, input, worker.wheel.now()).await;
    client.registration.busy();
    next
}

async fn serve_request(worker: &Rc<Worker>, client: &Client, input: &mut Buf, heads: &mut Heads) -> After {
    heads.request.clear();
    match read_head(worker, client, input, &mut heads.request).await {
        HeadRead::Complete { view, head_bytes } => {
            client.reading.disarm();
            proxy::handle(worker, client, view, input, heads, head_bytes).await
        }
        HeadRead::Nothing => After::Close,
        HeadRead::Refused(error) => refuse(worker, client, error).await,
    }
}

enum HeadRead {
    /// A head, of so many bytes at the front of the input, and the configuration that it was read under.
    Complete { view: Rc<View>, head_bytes: usize },
    /// The connection ended, or its idle time, before a head was complete.
    Nothing,
    /// No head, or too late.
    Refused(Error),
}

async fn read_head(worker: &Worker, client: &Client, input: &mut Buf, head: &mut RequestHead) -> HeadRead {
    let mut timed = false;
    loop {
        let view = worker.view();
        let limits = &view.settings.limits.wire;
        match head.read(input.filled_mut(), limits) {
            Ok(Progress::Done(head_bytes)) => return HeadRead::Complete { view, head_bytes },
            Err(HeadError { kind, .. }) => return HeadRead::Refused(Error::Head(kind)),
            Ok(Progress::Partial) => {}
        }
        let started = head.started(input.filled());
        if started && !std::mem::replace(&mut timed, true) {
            client.reading.arm(view.settings.plain.timeouts.client_head, Ends::Reading);
        } else if !started && !input.is_empty() {
            // Empty lines behind the last request: still idle.
            client.reading.arm(view.settings.plain.timeouts.client_idle, Ends::Reading);
        }
        // Room for the two empty lines that may come before a head, too.
        input.make_room(limits.head_bytes as usize + 4);
        // A new configuration may come while the client sends.
        drop(view);
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
async fn refuse(worker: &Worker, client: &Client, error: Error) -> After {
    let answer = respond::answer(error);
    worker.counters.status(answer.status);
    worker.counters.error(respond::code_index(answer.code));
    let settings = worker.view().settings.clone();
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
    let written = respond::error(&mut out, error, b"", &asker);
    worker.log.refused(worker, client, &settings, error, written);
    match client.write_all(&mut out, settings.plain.timeouts.client_write).await {
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
        client.spend(input.len()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a parked connection's future takes, in bytes. monoio's task adds 48, which makes 224: a size that the
    /// allocator has, and the next one is 256. Beside it a parked connection has its row in the wheel (48), its entry
    /// among the clients (48) and a place in their table (8); monoio keeps its descriptor (64) and its operation (24).
    const PARKED_BYTES: usize = 176;

    fn size<F: Future>(_: impl FnOnce() -> F) -> usize {
        size_of::<F>()
    }

    fn any<T>() -> T {
        unreachable!("only types are looked at")
    }

    #[test]
    #[expect(
        clippy::print_stdout,
        reason = "for who looks for memory: cargo test -p ringway-engine parked -- --nocapture"
    )]
    fn a_parked_connection_is_small() {
        let parked = size(|| serve(any()));
        println!("{parked:6} serve (parked), with its Client of {}", size_of::<Client>());
        println!("{:6} serve_requests", size(|| serve_requests(any(), any(), any())));
        println!("{:6} proxy::handle", size(|| proxy::handle(any(), any(), any(), any(), any(), any())));
        assert!(parked <= PARKED_BYTES, "{parked}");
    }
}
