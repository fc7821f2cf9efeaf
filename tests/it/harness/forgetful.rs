//! A backend for tens of thousands of connections: it keeps counts where `Backend` keeps a record.

use super::DEADLINE;
use super::message::{Body, Framing, Head, Reader};
use socket2::{Domain, SockAddr, Socket, Type};
use std::collections::HashMap;
use std::io::Write;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A listening backend that counts what came. Dropped, it accepts no more; its connections end with their scripts.
pub struct Forgetful {
    address: SocketAddr,
    listener: Arc<Socket>,
    counts: Arc<Counts>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    accepted: AtomicUsize,
    open: AtomicUsize,
    requests: AtomicUsize,
    panicked: AtomicBool,
    /// How often each target came.
    delivered: Mutex<HashMap<String, usize>>,
}

/// One accepted connection, for the length of its script.
pub struct Call {
    socket: Arc<Socket>,
    reader: Reader,
    counts: Arc<Counts>,
}

impl Call {
    /// The next head, counted; `None` when the proxy has closed, or after the time that `wait` allows.
    pub fn head(&mut self) -> Option<Head> {
        let head = self.reader.head().ok()?;
        self.counts.requests.fetch_add(1, Ordering::SeqCst);
        Some(head)
    }

    /// The next head, counted and remembered by its target.
    pub fn delivery(&mut self) -> Option<Head> {
        let head = self.head()?;
        let mut delivered = self.counts.delivered.lock().unwrap_or_else(PoisonError::into_inner);
        *delivered.entry(head.target().to_owned()).or_default() += 1;
        drop(delivered);
        Some(head)
    }

    /// The body behind `head`; `None` when it does not come whole.
    pub fn body(&mut self, head: &Head) -> Option<Body> {
        self.reader.body(Framing::of(&head.fields, Framing::None)).ok()
    }

    /// How long each read waits from now on.
    pub fn wait(&self, at_most: Duration) {
        self.socket.set_read_timeout(Some(at_most)).expect("a read timeout");
    }

    /// False once the proxy has gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        (&*self.socket).write_all(bytes.as_ref()).is_ok()
    }

    /// Waits until something has come, or the time is over that `wait` allows, and leaves it unread.
    pub fn until_something_comes(&self) {
        drop(self.socket.peek(&mut [MaybeUninit::uninit()]));
    }

    /// Waits until the proxy closes the connection.
    pub fn until_closed(&mut self) {
        self.reader.rest();
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.counts.panicked.store(true, Ordering::SeqCst);
        }
        self.counts.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Forgetful {
    /// Runs `script` on a thread of its own for each connection, which closes when the script returns.
    pub fn script(script: impl Fn(&mut Call) + Send + Sync + 'static) -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        listener.bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).expect("a free port");
        listener.listen(4096).expect("a backlog");
        let address = listener.local_addr().expect("an address").as_socket().expect("a TCP address");
        let (listener, counts) = (Arc::new(listener), Arc::new(Counts::default()));
        let accepting = std::thread::spawn({
            let (listener, counts) = (listener.clone(), counts.clone());
            let script = Arc::new(script);
            move || accept(&listener, &counts, &script)
        });
        Forgetful { address, listener, counts, accepting: Some(accepting) }
    }

    /// As a rule's `target` takes it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections accepted so far.
    pub fn accepts(&self) -> usize {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    /// Connections whose script runs.
    pub fn open(&self) -> usize {
        self.counts.open.load(Ordering::SeqCst)
    }

    /// Request heads read so far.
    pub fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }

    /// How often each target came to `Call::delivery`.
    pub fn delivered(&self) -> HashMap<String, usize> {
        self.counts.delivered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A small stack: many may run at once.
fn accept(listener: &Socket, counts: &Arc<Counts>, script: &Arc<impl Fn(&mut Call) + Send + Sync + 'static>) {
    while let Ok((socket, _)) = listener.accept() {
        socket.set_read_timeout(Some(DEADLINE)).expect("a read timeout");
        socket.set_write_timeout(Some(DEADLINE)).expect("a write timeout");
        socket.set_tcp_nodelay(true).expect("no delay");
        counts.accepted.fetch_add(1, Ordering::SeqCst);
        counts.open.fetch_add(1, Ordering::SeqCst);
        let socket = Arc::new(socket);
        let reader = Reader::new(socket.clone(), |_| {});
        let (mut call, script) = (Call { socket, reader, counts: counts.clone() }, script.clone());
        let thread = std::thread::Builder::new().stack_size(256 * 1024);
        thread.spawn(move || script(&mut call)).expect("a thread");
    }
}

impl Drop for Forgetful {
    fn drop(&mut self) {
        // Wakes the accepting thread: its accept fails.
        self.listener.shutdown(Shutdown::Both).expect("the listener listens");
        let accepted = self.accepting.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(accepted, Some(Ok(()))), "a backend's accepting thread panicked");
            assert!(!self.counts.panicked.load(Ordering::SeqCst), "a backend's script panicked");
        }
    }
}
