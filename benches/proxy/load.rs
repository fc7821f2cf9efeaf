//! The load: connections that each send the next request once the last response has come (a closed loop).

use crate::Outcome;
use crate::work::{Answer, REQUEST, judge};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Of all connections together; one exchange takes microseconds.
const SILENCE: Duration = Duration::from_secs(10);

/// A response with what a proxy adds must fit.
const ANSWER_BYTES: usize = 4096;

/// Client connections to one proxy.
pub(crate) struct Load {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
}

impl Load {
    pub(crate) fn connect(proxy: SocketAddr, connections: usize) -> Outcome<Self> {
        Load::try_connect(proxy, connections).map_err(|error| format!("no connection: {error}"))
    }

    fn try_connect(proxy: SocketAddr, connections: usize) -> io::Result<Self> {
        let poll = Poll::new()?;
        let connect = |key| Connection::open(&poll, proxy, Token(key));
        let connections = (0..connections).map(connect).collect::<io::Result<_>>()?;
        Ok(Load { poll, events: Events::with_capacity(1024), connections })
    }

    /// Sends `requests` and reads as many responses, all of them right ones; gives the time that took.
    pub(crate) fn run(&mut self, requests: u64) -> Outcome<Duration> {
        let start = Instant::now();
        let (mut sent, mut answered) = (0, 0);
        for connection in &mut self.connections {
            if sent < requests {
                connection.send()?;
                sent += 1;
            }
        }
        while answered < requests {
            self.wait()?;
            for event in &self.events {
                let connection = &mut self.connections[event.token().0];
                if !connection.receive()? {
                    continue;
                }
                answered += 1;
                if sent < requests {
                    connection.send()?;
                    sent += 1;
                }
            }
        }
        Ok(start.elapsed())
    }

    /// Waits for events; there may be none after a signal.
    fn wait(&mut self) -> Outcome<()> {
        match self.poll.poll(&mut self.events, Some(SILENCE)) {
            Ok(()) if self.events.is_empty() => Err(format!("no answer in {SILENCE:?}")),
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(format!("waiting failed: {error}")),
        }
    }
}

/// One client connection.
struct Connection {
    stream: TcpStream,
    answer: [u8; ANSWER_BYTES],
    len: usize,
}

impl Connection {
    fn open(poll: &Poll, proxy: SocketAddr, token: Token) -> io::Result<Self> {
        let stream = std::net::TcpStream::connect(proxy)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, token, Interest::READABLE)?;
        Ok(Connection { stream, answer: [0; ANSWER_BYTES], len: 0 })
    }

    /// Sends a request. No other one is under way here, so the socket has room for it.
    fn send(&mut self) -> Outcome<()> {
        self.len = 0;
        self.stream.write_all(REQUEST).map_err(|error| format!("a request was not sent: {error}"))
    }

    /// Takes what came; true once it is the whole response. One read is enough, as in the backend.
    fn receive(&mut self) -> Outcome<bool> {
        match self.stream.read(&mut self.answer[self.len..]) {
            Ok(0) => return Err(format!("a connection was closed after {:?}", self.text())),
            Ok(count) => self.len += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(format!("a response was not read: {error}")),
        }
        match judge(&self.answer[..self.len]) {
            Answer::Right => Ok(true),
            Answer::Partial => Ok(false),
            Answer::Wrong => Err(format!("a wrong response: {:?}", self.text())),
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.answer[..self.len]).into_owned()
    }
}
