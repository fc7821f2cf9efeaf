//! A client connection that sends small requests.

use super::Poller;
use crate::Outcome;
use crate::work::Known;
use mio::net::TcpStream;
use mio::{Interest, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

/// What is read at once: 16 responses, with what proxies add, fit well.
pub(super) const READ_BYTES: usize = 64 << 10;

pub(super) struct Connection {
    stream: TcpStream,
    /// The beginning of a response; empty as long as they come whole.
    held: Vec<u8>,
}

/// What a read has brought.
pub(super) struct Received {
    /// Whole responses, all of them right.
    pub(super) responses: u64,
    /// The proxy has closed.
    pub(super) end: bool,
}

impl Connection {
    /// Connects, waiting for it: on the loopback interface that takes no longer than the call.
    pub(super) fn open(poller: &Poller, proxy: SocketAddr, token: usize) -> Outcome<Self> {
        let stream = stream(poller, proxy, token, Interest::READABLE)
            .map_err(|error| format!("no connection: {error}"))?;
        Ok(Connection { stream, held: Vec::new() })
    }

    /// Sends requests. No other ones are under way here, so the socket has room for them.
    pub(super) fn send(&mut self, requests: &[u8]) -> Outcome<()> {
        self.stream.write_all(requests).map_err(|error| format!("a request was not sent: {error}"))
    }

    /// Takes what came. One read is enough: a stream that gave less than it was asked for is empty.
    pub(super) fn receive(&mut self, read: &mut [u8], known: &mut Known) -> Outcome<Received> {
        let held = self.held.len();
        read[..held].copy_from_slice(&self.held);
        self.held.clear();
        let count = match self.stream.read(&mut read[held..]) {
            Ok(0) if held > 0 => {
                return Err(format!("a connection was closed after {:?}", text(&read[..held])));
            }
            Ok(0) => return Ok(Received { responses: 0, end: true }),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(format!("a response was not read: {error}")),
        };
        let (mut rest, mut responses) = (&read[..held + count], 0);
        let wrong = |rest: &[u8]| format!("a wrong response: {:?}", text(rest));
        while let Some(length) = known.take(rest).map_err(|_| wrong(rest))? {
            rest = &rest[length..];
            responses += 1;
        }
        if rest.len() >= READ_BYTES / 2 {
            return Err(format!("a response without an end: {:?}", text(rest)));
        }
        self.held.extend_from_slice(rest);
        Ok(Received { responses, end: false })
    }
}

/// A connected stream that waits for nothing.
pub(super) fn stream(
    poller: &Poller,
    proxy: SocketAddr,
    token: usize,
    interest: Interest,
) -> io::Result<TcpStream> {
    let stream = std::net::TcpStream::connect(proxy)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let mut stream = TcpStream::from_std(stream);
    poller.poll.registry().register(&mut stream, Token(token), interest)?;
    Ok(stream)
}

/// The beginning of what came, for a message.
pub(super) fn text(bytes: &[u8]) -> String {
    const SHOWN_BYTES: usize = 1000;
    String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES)]).into_owned()
}
