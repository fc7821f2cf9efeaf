//! One connection of a proxy to the backend.
//!
//! The first request of each is looked into, and answered with 500 when the proxy left out work that the others do.
//! Every byte of a large body and of a message is compared.

use crate::work::{
    Asked, BULK, BULK_RESPONSE, HEAD_END, MESSAGE_BYTES, MaskedFrame, RESPONSE, UPGRADED, unmasked,
};
use mio::event::Event;
use mio::net::TcpStream;
use std::io::{self, ErrorKind, Read, Write};

/// A head with what a proxy adds must fit.
const HEAD_BYTES_MAX: usize = 8192;

/// What the next bytes of a connection are.
enum Stage {
    Head,
    /// The rest of a large body, of which so much has come.
    Upload(usize),
    /// Messages, each of which goes back.
    Tunnel,
}

pub(super) struct Connection {
    stream: TcpStream,
    stage: Stage,
    /// The beginning of a head or of a message; empty as long as they come whole.
    held: Vec<u8>,
    checked: bool,
    /// What is to be sent yet of the response with the large body.
    unsent: &'static [u8],
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Connection { stream, stage: Stage::Head, held: Vec::new(), checked: false, unsent: &[] }
    }

    /// Sends what waits and answers what came. An error ends the connection.
    pub(super) fn serve(&mut self, event: &Event, read: &mut [u8]) -> io::Result<()> {
        if event.is_writable() && !self.unsent.is_empty() {
            self.send_unsent()?;
        }
        if !event.is_readable() {
            return Ok(());
        }
        loop {
            match self.stream.read(read) {
                // The proxy closed.
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.take(&read[..count])?;
                    // A stream that gave less than it was asked for is empty, unless its end has come with that;
                    // more to come is a new event.
                    if count < read.len() && !event.is_read_closed() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.held.is_empty() {
            let used = self.answer_all(bytes)?;
            self.held.extend_from_slice(&bytes[used..]);
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(bytes);
            let used = self.answer_all(&held)?;
            held.drain(..used);
            self.held = held;
        }
        if self.held.len() > HEAD_BYTES_MAX { Err(ErrorKind::InvalidData.into()) } else { Ok(()) }
    }

    /// Answers all requests and messages that are whole; gives how many bytes they are.
    fn answer_all(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            let count = match self.stage {
                Stage::Head => self.answer(rest)?,
                Stage::Upload(received) => self.receive(rest, received)?,
                Stage::Tunnel => self.echo(rest)?,
            };
            if count == 0 {
                break;
            }
            used += count;
        }
        Ok(used)
    }

    /// Answers a request; gives the length of its head, 0 as long as that is not whole.
    fn answer(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(end) = memchr::memmem::find(bytes, HEAD_END) else { return Ok(0) };
        let length = end + HEAD_END.len();
        let head = &bytes[..length];
        let asked = Asked::by(head);
        if !self.checked {
            if let Some(line) = asked.missing_line(head) {
                return self.refuse(line);
            }
            self.checked = true;
        }
        match asked {
            Asked::Small => self.stream.write_all(RESPONSE)?,
            Asked::Download => {
                self.unsent = &BULK_RESPONSE;
                self.send_unsent()?;
            }
            Asked::Upload => self.stage = Stage::Upload(0),
            Asked::WebSocket => {
                self.stream.write_all(UPGRADED)?;
                self.stage = Stage::Tunnel;
            }
        }
        Ok(length)
    }

    /// Compares more of a large body, and answers once it is whole.
    fn receive(&mut self, bytes: &[u8], received: usize) -> io::Result<usize> {
        let expected = &BULK[received..];
        let count = bytes.len().min(expected.len());
        if bytes[..count] != expected[..count] {
            return self.refuse("the bytes of the request body");
        }
        if count == expected.len() {
            self.stream.write_all(RESPONSE)?;
            self.stage = Stage::Head;
        } else {
            self.stage = Stage::Upload(received + count);
        }
        Ok(count)
    }

    fn echo(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(frame) = bytes.first_chunk::<{ size_of::<MaskedFrame>() }>() else { return Ok(0) };
        let wrong = || io::Error::new(ErrorKind::InvalidData, format!("no message of {MESSAGE_BYTES} bytes"));
        self.stream.write_all(&unmasked(frame).ok_or_else(wrong)?)?;
        Ok(frame.len())
    }

    fn send_unsent(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(self.unsent) {
                Ok(count) => self.unsent = &self.unsent[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says what is missing, which the client takes for the wrong response that it is, and closes.
    fn refuse(&mut self, missing: &str) -> io::Result<usize> {
        let body = format!("the backend misses {missing:?}");
        let head =
            format!("HTTP/1.1 500 Missing\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        self.stream.write_all((head + &body).as_bytes())?;
        Err(ErrorKind::InvalidData.into())
    }
}
