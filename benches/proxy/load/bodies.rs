//! Large bodies on connections that stay open, one at a time on each.

use super::connection::{stream, text};
use super::{Done, Limit, Load, Poller, Progress};
use crate::Outcome;
use crate::work::{self, BULK, Known};
use mio::Interest;
use mio::net::TcpStream;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

/// What is read at once.
const READ_BYTES: usize = 256 << 10;

/// Which way the large body goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Down,
    Up,
}

/// Connections that each send the next request once the response to the last one is whole.
pub(crate) struct Bodies {
    way: Way,
    poller: Poller,
    connections: Vec<Connection>,
    request: Vec<u8>,
    known: Known,
    read: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// What went of the request.
    sent: usize,
    /// The response as far as it has come, without the bytes of a large body.
    head: Vec<u8>,
    /// What came of a large body; nothing before its head is whole.
    body: Option<usize>,
}

impl Bodies {
    /// Asks for large bodies.
    pub(crate) fn down(proxy: SocketAddr, connections: usize) -> Outcome<Self> {
        Bodies::connect(proxy, connections, Way::Down, work::download())
    }

    /// Sends large bodies.
    pub(crate) fn up(proxy: SocketAddr, connections: usize) -> Outcome<Self> {
        Bodies::connect(proxy, connections, Way::Up, work::upload())
    }

    fn connect(proxy: SocketAddr, connections: usize, way: Way, request: Vec<u8>) -> Outcome<Self> {
        let poller = Poller::new().map_err(|error| format!("nothing to wait with: {error}"))?;
        let connect = |token| {
            let stream = stream(&poller, proxy, token, Interest::READABLE | Interest::WRITABLE);
            let stream = stream.map_err(|error| format!("no connection: {error}"))?;
            // All of it counts as sent as long as there is nothing to do.
            Ok(Connection { stream, sent: request.len(), head: Vec::new(), body: None })
        };
        let connections = (0..connections).map(connect).collect::<Outcome<_>>()?;
        Ok(Bodies { way, poller, connections, request, known: Known::default(), read: vec![0; READ_BYTES] })
    }
}

impl Load for Bodies {
    fn run(&mut self, limit: Limit<'_>) -> Outcome<Done> {
        let Bodies { way, poller, connections, request, known, read } = self;
        let mut progress = Progress::new(limit);
        for connection in connections.iter_mut() {
            if progress.begins(1) {
                connection.begin(request)?;
            }
        }
        while !progress.is_done() {
            poller.wait()?;
            progress.look();
            for event in &poller.events {
                let connection = &mut connections[event.token().0];
                if event.is_writable() {
                    connection.send(request)?;
                }
                if !event.is_readable() || !connection.receive(*way, read, known)? {
                    continue;
                }
                if connection.sent < request.len() {
                    return Err("a response before the request was whole".to_owned());
                }
                progress.done += 1;
                if progress.begins(1) {
                    connection.begin(request)?;
                }
            }
        }
        Ok(progress.finish())
    }
}

impl Connection {
    fn begin(&mut self, request: &[u8]) -> Outcome<()> {
        (self.sent, self.body) = (0, None);
        self.head.clear();
        self.send(request)
    }

    fn send(&mut self, request: &[u8]) -> Outcome<()> {
        while self.sent < request.len() {
            match self.stream.write(&request[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(format!("a request was not sent: {error}")),
            }
        }
        Ok(())
    }

    /// Takes what came; true once the response is whole.
    fn receive(&mut self, way: Way, read: &mut [u8], known: &mut Known) -> Outcome<bool> {
        loop {
            let count = match self.stream.read(read) {
                Ok(0) => return Err(format!("a connection was closed after {:?}", text(&self.head))),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(format!("a response was not read: {error}")),
            };
            let whole = match way {
                Way::Down => self.take_large(&read[..count])?,
                Way::Up => self.take_small(&read[..count], known)?,
            };
            // A stream that gave less than it was asked for is empty, and more to come is a new event.
            if whole || count < read.len() {
                return Ok(whole);
            }
        }
    }

    fn take_small(&mut self, bytes: &[u8], known: &mut Known) -> Outcome<bool> {
        self.head.extend_from_slice(bytes);
        let taken = known.take(&self.head).map_err(|_| self.wrong())?;
        taken.map_or(Ok(false), |length| if length == self.head.len() { Ok(true) } else { Err(self.wrong()) })
    }

    fn take_large(&mut self, bytes: &[u8]) -> Outcome<bool> {
        if let Some(received) = self.body {
            return self.compare(received, bytes);
        }
        let held = self.head.len();
        self.head.extend_from_slice(bytes);
        match work::right_head(&self.head, BULK.len()).map_err(|_| self.wrong())? {
            None => Ok(false),
            Some(end) => {
                self.head.truncate(end);
                self.compare(0, &bytes[end - held..])
            }
        }
    }

    /// Compares more of a large body; true once it is whole.
    fn compare(&mut self, received: usize, bytes: &[u8]) -> Outcome<bool> {
        let end = received + bytes.len();
        if BULK.get(received..end) != Some(bytes) {
            return Err(format!("the body differs from byte {received} to {end}"));
        }
        self.body = Some(end);
        Ok(end == BULK.len())
    }

    fn wrong(&self) -> String {
        format!("a wrong response: {:?}", text(&self.head))
    }
}
