//! The backend: one thread that answers everything that the cases ask for.
//!
//! * `connection.rs`: what one connection of a proxy asks, checked and answered

mod connection;

use crate::Outcome;
use connection::Connection;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;

const LISTENER: Token = Token(usize::MAX);
const STOP: Token = Token(usize::MAX - 1);

/// What is read at once, of all connections one after the other.
const READ_BYTES: usize = 256 << 10;

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
        let thread = std::thread::Builder::new().name("backend".to_owned());
        let thread = thread.spawn(move || serve(poll, listener))?;
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

fn serve(mut poll: Poll, listener: TcpListener) -> io::Result<()> {
    let mut events = Events::with_capacity(1024);
    let mut connections: Slab<Connection> = Slab::new();
    let mut read = vec![0; READ_BYTES];
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
                    let serve = |connection: &mut Connection| connection.serve(event, &mut read).is_ok();
                    if !connections.get_mut(key).is_none_or(serve) {
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
        // Events come at changes only: the wish to write costs nothing while nothing waits to be written.
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(entry.key()), interest)?;
        entry.insert(Connection::new(stream));
    }
}
