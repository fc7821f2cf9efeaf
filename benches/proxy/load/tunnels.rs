//! WebSocket tunnels, each of which sends the next message once the last one has come back.

use super::connection::text;
use super::{Done, Limit, Load, Poller, Progress, SILENCE};
use crate::Outcome;
use crate::work::{self, Frame, HEAD_END};
use mio::net::TcpStream;
use mio::{Interest, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

pub(crate) struct Tunnels {
    poller: Poller,
    tunnels: Vec<Tunnel>,
    /// Messages sent so far: each has a number of its own.
    messages: u64,
}

struct Tunnel {
    stream: TcpStream,
    /// The message that is under way.
    expected: Frame,
    /// What came of it.
    read: Frame,
    count: usize,
}

impl Tunnels {
    /// Opens them one after the other.
    pub(crate) fn open(proxy: SocketAddr, tunnels: usize) -> Outcome<Self> {
        let poller = Poller::new().map_err(|error| format!("nothing to wait with: {error}"))?;
        let request = work::upgrade();
        let tunnels = (0..tunnels).map(|token| {
            let mut stream = upgraded(proxy, &request)?;
            let register = poller.poll.registry().register(&mut stream, Token(token), Interest::READABLE);
            register.map_err(|error| format!("a tunnel cannot be waited for: {error}"))?;
            let empty = work::message(0, 0);
            Ok(Tunnel { stream, expected: empty, read: empty, count: 0 })
        });
        let tunnels = tunnels.collect::<Outcome<_>>()?;
        Ok(Tunnels { poller, tunnels, messages: 0 })
    }
}

/// A connection that has become a tunnel.
fn upgraded(proxy: SocketAddr, request: &[u8]) -> Outcome<TcpStream> {
    let failed = |error: io::Error| format!("no tunnel: {error}");
    let mut stream = std::net::TcpStream::connect(proxy).map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    stream.set_read_timeout(Some(SILENCE)).map_err(failed)?;
    stream.write_all(request).map_err(failed)?;
    let mut head = Vec::new();
    let mut read = [0; 4096];
    // Nothing follows the head before the first message, so that no more than it can come.
    while !head.ends_with(HEAD_END) {
        let count = stream.read(&mut read).map_err(failed)?;
        head.extend_from_slice(&read[..count]);
        if count == 0 || head.len() > read.len() {
            return Err(format!("no tunnel but {:?}", text(&head)));
        }
    }
    if !head.starts_with(b"HTTP/1.1 101 ")
        || memchr::memmem::find(&head, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=").is_none()
    {
        return Err(format!("no tunnel but {:?}", text(&head)));
    }
    stream.set_nonblocking(true).map_err(failed)?;
    Ok(TcpStream::from_std(stream))
}

impl Load for Tunnels {
    fn run(&mut self, limit: Limit<'_>) -> Outcome<Done> {
        let Tunnels { poller, tunnels, messages } = self;
        let mut progress = Progress::new(limit);
        for (key, tunnel) in tunnels.iter_mut().enumerate() {
            if progress.begins(1) {
                *messages += 1;
                tunnel.send(key, *messages)?;
            }
        }
        while !progress.is_done() {
            poller.wait()?;
            progress.look();
            for event in &poller.events {
                let Token(key) = event.token();
                if !tunnels[key].receive()? {
                    continue;
                }
                progress.done += 1;
                if progress.begins(1) {
                    *messages += 1;
                    tunnels[key].send(key, *messages)?;
                }
            }
        }
        Ok(progress.finish())
    }
}

impl Tunnel {
    fn send(&mut self, tunnel: usize, number: u64) -> Outcome<()> {
        self.expected = work::message(tunnel as u64, number);
        self.count = 0;
        let sent = self.stream.write_all(&work::masked(&self.expected));
        sent.map_err(|error| format!("a message was not sent: {error}"))
    }

    /// Takes what came; true once the message is whole. What came beyond it is read, and found wrong, with the next.
    fn receive(&mut self) -> Outcome<bool> {
        let room = &mut self.read[self.count..];
        match self.stream.read(room) {
            Ok(0) => return Err("a tunnel was closed".to_owned()),
            Ok(count) => self.count += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(format!("a message was not read: {error}")),
        }
        if self.count < self.read.len() {
            return Ok(false);
        }
        if self.read == self.expected { Ok(true) } else { Err(format!("a wrong message: {:?}", self.read)) }
    }
}
