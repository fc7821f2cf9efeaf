//! Backends that do as their script says and record every byte that they receive.
//!
//! `Backend::script` is the general one; the others are named after what they do.

use super::message::{Body, Framing, Head, Reader, send_until_stalled};
use super::{DEADLINE, wait_until};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// A listening backend; dropped, it closes its connections and joins its threads.
pub struct Backend {
    url: String,
    listening: SockAddr,
    listener: Arc<Socket>,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    requests: AtomicUsize,
    connections: Mutex<Vec<Connection>>,
    heads: Mutex<Vec<Head>>,
}

struct Connection {
    /// Weak, so that the end of the script closes the connection.
    socket: Weak<Socket>,
    received: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request as the backend saw it.
#[derive(Clone, Debug)]
pub struct Request {
    pub head: Head,
    pub framing: Framing,
    pub body: Vec<u8>,
    pub body_has_trailers: bool,
}

/// One accepted connection, for the length of its script.
pub struct Visit {
    /// Which accepted connection this is; the first is 0.
    pub number: usize,
    socket: Arc<Socket>,
    reader: Reader,
    shared: Arc<Shared>,
}

impl Visit {
    /// The next head; `None` once the proxy has closed.
    pub fn head(&mut self) -> Option<Head> {
        let head = self.reader.head().ok()?;
        lock(&self.shared.heads).push(head.clone());
        self.shared.requests.fetch_add(1, Ordering::SeqCst);
        Some(head)
    }

    /// The next request with its body; `None` once the proxy has closed.
    pub fn request(&mut self) -> Option<Request> {
        let head = self.head()?;
        let framing = Framing::of(&head.fields, Framing::None);
        let Body { bytes, trailers, .. } = self.reader.body(framing).ok()?;
        Some(Request { head, framing, body: bytes, body_has_trailers: !trailers.fields.0.is_empty() })
    }

    /// Exactly `count` bytes; `None` when fewer come.
    pub fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        self.reader.exactly(count).ok()
    }

    /// False once the proxy has gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        (&*self.socket).write_all(bytes.as_ref()).is_ok()
    }

    /// Sends up to `most` bytes, until the proxy takes no more; gives their number.
    pub fn send_until_stalled(&mut self, most: usize) -> usize {
        send_until_stalled(&self.socket, most)
    }

    /// Waits until the proxy closes the connection; what it sent until then is recorded.
    pub fn until_closed(&mut self) {
        self.reader.rest();
    }

    /// Shuts the write side down: FIN.
    pub fn finish(&mut self) {
        // The proxy may have closed first; then there is nothing left to shut down.
        drop(self.socket.shutdown(Shutdown::Write));
    }

    /// Makes the close that ends this visit an RST.
    pub fn reset(&mut self) {
        self.socket.set_linger(Some(Duration::ZERO)).expect("linger");
    }

    /// The proxy's writes stall after a few KiB that nobody reads.
    pub fn small_receive_buffer(&self) {
        self.socket.set_recv_buffer_size(4096).expect("a receive buffer");
    }

    /// The backend is being dropped: scripts that loop end.
    pub fn stopping(&self) -> bool {
        self.shared.stopping.load(Ordering::SeqCst)
    }

    /// Holds the connection without reading, until the backend is dropped.
    pub fn until_stopped(&self) {
        while !self.stopping() {
            super::pause(Duration::from_millis(5));
        }
    }

    /// The connection itself, for scripts that read while they write and for protocols of their own. The bytes that were
    /// read ahead are given too.
    pub fn socket(&self) -> (Arc<Socket>, Vec<u8>) {
        (self.socket.clone(), self.reader.unread().to_vec())
    }
}

impl Backend {
    /// Runs `script` on a thread of its own for each connection, which closes when the script returns.
    pub fn script(script: impl Fn(&mut Visit) + Send + Sync + 'static) -> Self {
        let address = SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        Backend::listen(Domain::IPV4, &address, script)
    }

    /// `script` on an address whose port nobody else gets: see `Restarting`.
    pub(super) fn at(address: SocketAddr, script: impl Fn(&mut Visit) + Send + Sync + 'static) -> Self {
        Backend::listen(Domain::IPV4, &SockAddr::from(address), script)
    }

    /// `script` on a unix socket.
    pub fn on_unix(path: &Path, script: impl Fn(&mut Visit) + Send + Sync + 'static) -> Self {
        Backend::listen(Domain::UNIX, &SockAddr::unix(path).expect("a short path"), script)
    }

    fn listen(
        domain: Domain,
        address: &SockAddr,
        script: impl Fn(&mut Visit) + Send + Sync + 'static,
    ) -> Self {
        let listener = Socket::new(domain, Type::STREAM, None).expect("a socket");
        // Connections of a backend that had the port before may linger.
        listener.set_reuse_address(true).expect("an address that may be used again");
        listener.bind(address).unwrap_or_else(|error| panic!("binding {address:?}: {error}"));
        listener.listen(4096).expect("a backlog");
        let listening = listener.local_addr().expect("an address");
        let url = match listening.as_socket() {
            Some(address) => format!("http://{address}"),
            None => format!("unix:{}", listening.as_pathname().expect("a path").display()),
        };
        let (listener, shared) = (Arc::new(listener), Arc::new(Shared::default()));
        let accepting = std::thread::spawn({
            let (listener, shared) = (listener.clone(), shared.clone());
            let script: Arc<Script> = Arc::new(script);
            move || accept(&listener, &shared, &script)
        });
        Backend { url, listening, listener, shared, accepting: Some(accepting) }
    }

    /// As a rule's `target` takes it.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    pub fn address(&self) -> SocketAddr {
        self.listening.as_socket().expect("a TCP address")
    }

    /// Connections accepted so far.
    pub fn accepts(&self) -> usize {
        lock(&self.shared.connections).len()
    }

    /// Request heads read so far.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Waits until `count` request heads have come.
    pub fn wait_for_requests(&self, count: usize) {
        wait_until(&format!("{count} requests at the backend"), || self.requests() >= count);
    }

    /// The `index`th request head of all connections.
    pub fn head(&self, index: usize) -> Head {
        self.wait_for_requests(index + 1);
        lock(&self.shared.heads)[index].clone()
    }

    /// The last request head that came.
    pub fn last_head(&self) -> Head {
        lock(&self.shared.heads).last().expect("a request came").clone()
    }

    /// Every byte that connection `number` has received.
    pub fn received(&self, number: usize) -> Vec<u8> {
        let received = lock(&self.shared.connections)[number].received.clone();
        let bytes = lock(&received);
        bytes.clone()
    }

    /// Connections whose script runs.
    pub fn open(&self) -> usize {
        lock(&self.shared.connections).iter().filter(|one| !one.thread.is_finished()).count()
    }

    /// Waits until each connection that was accepted has run its script to the end.
    pub fn wait_until_idle(&self) {
        wait_until("every connection of the backend ends", || self.open() == 0);
    }

    /// Accepts no more and reads no further request, and finishes those that it has: what a server does that is told to end.
    pub fn finish(mut self) {
        self.end(Shutdown::Read);
    }

    /// Stops accepting, shuts every connection down, and joins the threads. The second time it does nothing.
    fn end(&mut self, how: Shutdown) {
        let Some(accepting) = self.accepting.take() else { return };
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the accepting thread: its accept fails.
        self.listener.shutdown(Shutdown::Both).expect("the listener listens");
        if std::thread::panicking() {
            // A script may wait for the test that has just failed.
            return;
        }
        assert!(accepting.join().is_ok(), "a backend's accepting thread panicked");
        let connections = std::mem::take(&mut *lock(&self.shared.connections));
        let sockets = connections.iter().filter_map(|connection| connection.socket.upgrade());
        // One that the proxy has closed already cannot be shut down.
        sockets.for_each(|socket| drop(socket.shutdown(how)));
        for connection in connections {
            assert!(connection.thread.join().is_ok(), "a backend's script panicked");
        }
    }
}

type Script = dyn Fn(&mut Visit) + Send + Sync;

fn accept(listener: &Socket, shared: &Arc<Shared>, script: &Arc<Script>) {
    while let Ok((socket, peer)) = listener.accept() {
        socket.set_read_timeout(Some(DEADLINE)).expect("a read timeout");
        socket.set_write_timeout(Some(DEADLINE)).expect("a write timeout");
        if !peer.is_unix() {
            socket.set_tcp_nodelay(true).expect("no delay");
        }
        let mut connections = lock(&shared.connections);
        let received = Arc::new(Mutex::new(Vec::new()));
        let visit = visit(socket, connections.len(), received.clone(), shared.clone());
        let socket = Arc::downgrade(&visit.socket);
        connections.push(Connection { socket, received, thread: run(visit, script.clone()) });
    }
}

fn visit(socket: Socket, number: usize, received: Arc<Mutex<Vec<u8>>>, shared: Arc<Shared>) -> Visit {
    let socket = Arc::new(socket);
    let reader = Reader::new(socket.clone(), move |bytes| lock(&received).extend_from_slice(bytes));
    Visit { number, socket, reader, shared }
}

/// A small stack, since some tests have thousands of connections.
fn run(mut visit: Visit, script: Arc<Script>) -> JoinHandle<()> {
    let thread = std::thread::Builder::new().stack_size(256 * 1024);
    thread.spawn(move || script(&mut visit)).expect("a thread")
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.end(Shutdown::Both);
    }
}
