//! Backends that cannot be connected to.

use super::DEADLINE;
use super::message::{Framing, Reader};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A listening socket whose queue is full and stays so: the kernel drops further SYNs to it, and connecting hangs.
pub struct Unaccepting {
    url: String,
    _listener: Socket,
    _queue: Vec<Socket>,
}

impl Unaccepting {
    pub fn new() -> Self {
        Unaccepting::at(ANYWHERE)
    }

    /// At this address, which is free.
    pub fn at(address: SocketAddr) -> Self {
        let (listener, address, url) = bound(address);
        listener.listen(0).expect("a short backlog");
        Unaccepting { url, _queue: fill(&address), _listener: listener }
    }

    /// As a rule's `target` takes it.
    pub fn url(&self) -> String {
        self.url.clone()
    }
}

/// A listening Unix socket whose queue is full until it is told to serve: connecting fails meanwhile, and could not wait.
pub struct Crowded {
    url: String,
    address: SockAddr,
    listener: Socket,
}

impl Crowded {
    pub fn on_unix(path: &Path) -> Self {
        let address = SockAddr::unix(path).expect("a short path");
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        listener.bind(&address).expect("a free path");
        listener.listen(0).expect("a short backlog");
        let crowded = Crowded { url: format!("unix:{}", path.display()), address, listener };
        crowded.fill();
        crowded
    }

    /// Puts into the queue the one that it has room for.
    pub fn fill(&self) {
        let one = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        one.connect(&self.address).expect("room for one");
    }

    /// As a rule's `target` takes it.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Lets go of who is in the queue, answers the next one's first request with `answer`, and gives its body.
    pub fn serve(&self, answer: &[u8]) -> Vec<u8> {
        drop(self.listener.accept().expect("the one in the queue"));
        let (next, _) = self.listener.accept().expect("the next one");
        next.set_read_timeout(Some(DEADLINE)).expect("a read timeout");
        let next = Arc::new(next);
        let mut reader = Reader::new(next.clone(), |_| {});
        let head = reader.head().expect("a request");
        let body = reader.body(Framing::of(&head.fields, Framing::None)).expect("its body");
        (&*next).write_all(answer).expect("room for an answer");
        body.bytes
    }
}

/// A port that is taken and on which nobody listens: the kernel refuses every connection, and nobody else gets the port.
pub struct Refusing {
    url: String,
    _bound: Socket,
}

impl Refusing {
    pub fn new() -> Self {
        let (bound, _, url) = bound(ANYWHERE);
        Refusing { url, _bound: bound }
    }

    /// As a rule's `target` takes it.
    pub fn url(&self) -> String {
        self.url.clone()
    }
}

/// A port that the system chooses.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn bound(address: SocketAddr) -> (Socket, SockAddr, String) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SockAddr::from(address)).expect("a free port");
    let address = socket.local_addr().expect("an address");
    let url = format!("http://{}", address.as_socket().expect("a TCP address"));
    (socket, address, url)
}

/// Connects until a connection hangs.
fn fill(address: &SockAddr) -> Vec<Socket> {
    let mut queue = Vec::new();
    loop {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let hangs = socket.connect_timeout(address, Duration::from_millis(200)).is_err();
        queue.push(socket);
        if hangs {
            return queue;
        }
    }
}
