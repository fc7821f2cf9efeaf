//! The backend: one thread that answers every request with the same bytes.
//!
//! It looks into the first request of each connection, and answers 500 when the proxy left out work that the others do.

use crate::Outcome;
use crate::work::{HEAD_END, RESPONSE, missing_line};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;

const LISTENER: Token = Token(usize::MAX);
const STOP: Token = Token(usize::MAX - 1);

/// A head with what a proxy adds must fit.
const HEAD_BYTES: usize = 4096;

/// A running backend; ends when dropped.
pub(crate) struct Backend {
    address: SocketAddr,
    stop: Waker,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Backend {
    /// Listens on a free port. Its thread runs where the calling one is pinned.
    pub(crate) fn start() -> Outcome<Self> {
        Backend::try_start().map_err(|error| format!("the backend cannot start: {error}"))
    }

    fn try_start() -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = listener.local_addr()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let stop = Waker::new(poll.registry(), STOP)?;
        let thread = std::thread::spawn(move || serve(poll, listener));
        Ok(Backend { address, stop, thread: Some(thread) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // Without the wake-up the thread would not end: then it ends with the process.
        if self.stop.wake().is_ok() {
            drop(self.thread.take().map(JoinHandle::join));
        }
    }
}

/// One connection of a proxy.
struct Connection {
    stream: TcpStream,
    head: [u8; HEAD_BYTES],
    len: usize,
    checked: bool,
}

fn serve(mut poll: Poll, listener: TcpListener) -> io::Result<()> {
    let mut events = Events::with_capacity(1024);
    let mut connections: Slab<Connection> = Slab::new();
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            match event.token() {
                STOP => return Ok(()),
                LISTENER => accept(&poll, &listener, &mut connections)?,
                Token(key) => {
                    let open = connections.get_mut(key).is_none_or(|connection| connection.answer().is_ok());
                    if !open {
                        connections.remove(key);
                    }
                }
            }
        }
    }
}

fn accept(poll: &Poll, listener: &TcpListener, connections: &mut Slab<Connection>) -> io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nodelay(true)?;
        let entry = connections.vacant_entry();
        poll.registry().register(&mut stream, Token(entry.key()), Interest::READABLE)?;
        entry.insert(Connection { stream, head: [0; HEAD_BYTES], len: 0, checked: false });
    }
}

impl Connection {
    /// Takes what came, and answers when it ends a request.
    ///
    /// One read is enough: a stream that gave less than it was asked for is empty, and more to come is a new event.
    fn answer(&mut self) -> io::Result<()> {
        let room = self.head.get_mut(self.len..).unwrap_or_default();
        match self.stream.read(room) {
            // The proxy closed, or its head is longer than any that this work makes.
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.len += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        let head = &self.head[..self.len];
        if !head.ends_with(HEAD_END) {
            return Ok(());
        }
        let missing = if self.checked { None } else { missing_line(head) };
        self.len = 0;
        self.checked = true;
        match missing {
            None => self.stream.write_all(RESPONSE),
            Some(line) => self.stream.write_all(refusal(line).as_bytes()),
        }
    }
}

fn refusal(line: &str) -> String {
    let body = format!("the backend misses {line:?}");
    format!("HTTP/1.1 500 Missing\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
