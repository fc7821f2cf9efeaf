//! Reads HTTP/1 messages from a socket, for client and backend alike: strictly, since what the proxy writes leaves no room
//! for two readings. A malformed message panics; one that ends too early is a `Cut`.

use super::DEADLINE;
use socket2::Socket;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;

/// How a peer's bytes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Fin,
    Reset,
    /// Nothing came within the deadline.
    Silence,
}

/// A message that ended before it was complete.
#[derive(Debug)]
pub struct Cut {
    pub ending: Ending,
    pub head: Option<Head>,
    /// What came of the body, or of the head when there is none.
    pub bytes: Vec<u8>,
}

/// Field lines in the order in which they came; values byte for byte, as Latin-1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// The value of the only field of that name. Panics when there are several.
    pub fn get(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} stands more than once: {values:?}");
        values.first().copied()
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.0.iter().filter(same).map(|(_, value)| value.as_str()).collect()
    }

    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }
}

/// A start line and its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Byte for byte, the empty line included.
    pub raw: Vec<u8>,
    pub start_line: String,
    pub fields: Fields,
}

impl Head {
    /// Reads `raw`, a whole head with its empty line.
    pub fn parse(raw: &[u8]) -> Self {
        let text = latin1(raw);
        let lines = text.strip_suffix("\r\n\r\n").expect("a head ends with an empty line");
        let mut lines = lines.split("\r\n");
        let start_line = lines.next().unwrap_or_default().to_owned();
        Head {
            raw: raw.to_vec(),
            start_line,
            fields: Fields(lines.map(|line| field_line(line, &text)).collect()),
        }
    }

    /// The `index`th word of the start line.
    fn word(&self, index: usize) -> &str {
        self.start_line.split(' ').nth(index).unwrap_or_default()
    }

    pub fn method(&self) -> &str {
        self.word(0)
    }

    pub fn target(&self) -> &str {
        self.word(1)
    }

    pub fn status(&self) -> u16 {
        assert!(self.start_line.starts_with("HTTP/1.1 "), "status line {:?}", self.start_line);
        self.word(1).parse().expect("a status is a number")
    }
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

fn field_line(line: &str, head: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no colon in {line:?} of {head:?}"));
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    assert!(!name.is_empty() && name.chars().all(token), "field name {name:?} in {head:?}");
    assert!(!value.contains(['\r', '\n', '\0']), "field value {value:?} in {head:?}");
    (name.to_owned(), value.trim_matches([' ', '\t']).to_owned())
}

/// Sends up to `most` bytes, until the peer takes none for a while; gives their number.
pub fn send_until_stalled(socket: &Socket, most: usize) -> usize {
    socket.set_write_timeout(Some(STALL)).expect("a write timeout");
    let bytes = vec![b'x'; 256 * 1024];
    let mut sent = 0;
    while sent < most {
        match (&*socket).write(&bytes) {
            Ok(count) => sent += count,
            Err(_) => break,
        }
    }
    socket.set_write_timeout(Some(DEADLINE)).expect("a write timeout");
    sent
}

/// A peer that takes no byte for so long has stalled. Too short, and a test that should fail may pass; never the other way.
const STALL: Duration = Duration::from_millis(700);

/// How a body's end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

impl Framing {
    /// Of a message with these fields; `unframed` is what it means to have neither field.
    pub fn of(fields: &Fields, unframed: Framing) -> Self {
        match (fields.get("transfer-encoding"), fields.get("content-length")) {
            (None, None) => unframed,
            (None, Some(length)) => Framing::Length(length.parse().expect("Content-Length is a number")),
            (Some("chunked"), None) => Framing::Chunked,
            both => panic!("no one can tell where this body ends: {both:?}"),
        }
    }
}

/// A body as it arrived.
#[derive(Clone, Debug, Default)]
pub struct Body {
    pub bytes: Vec<u8>,
    /// The size of each chunk, when it came in chunks.
    pub chunks: Vec<usize>,
    /// The trailer section, with the last chunk's line in front.
    pub trailers: Head,
}

/// Reads from a socket and keeps what it has read too far.
pub struct Reader {
    socket: Arc<Socket>,
    unread: Vec<u8>,
    record: Box<Record>,
}

type Record = dyn FnMut(&[u8]) + Send;

impl Reader {
    /// Tells `record` each byte that comes, when it comes.
    pub fn new(socket: Arc<Socket>, record: impl FnMut(&[u8]) + Send + 'static) -> Self {
        Reader { socket, unread: Vec::new(), record: Box::new(record) }
    }

    /// Waits for more bytes, until the socket's read timeout.
    pub fn fill(&mut self) -> Result<(), Ending> {
        let mut bytes = [0; 64 * 1024];
        let count = loop {
            match (&*self.socket).read(&mut bytes) {
                Ok(0) => return Err(Ending::Fin),
                Ok(count) => break count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(Ending::Silence),
                Err(_) => return Err(Ending::Reset),
            }
        };
        (self.record)(&bytes[..count]);
        self.unread.extend_from_slice(&bytes[..count]);
        Ok(())
    }

    fn cut(&mut self, ending: Ending) -> Cut {
        Cut { ending, head: None, bytes: std::mem::take(&mut self.unread) }
    }

    /// What has been read and not been taken.
    pub fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Everything up to and with `end`.
    fn through(&mut self, end: &[u8]) -> Result<Vec<u8>, Cut> {
        let mut searched = 0;
        loop {
            let found = self.unread[searched..].windows(end.len()).position(|window| window == end);
            if let Some(at) = found {
                return Ok(self.unread.drain(..searched + at + end.len()).collect());
            }
            searched = (self.unread.len() + 1).saturating_sub(end.len());
            self.fill().map_err(|ending| self.cut(ending))?;
        }
    }

    pub fn head(&mut self) -> Result<Head, Cut> {
        Ok(Head::parse(&self.through(b"\r\n\r\n")?))
    }

    pub fn exactly(&mut self, count: usize) -> Result<Vec<u8>, Cut> {
        while self.unread.len() < count {
            self.fill().map_err(|ending| self.cut(ending))?;
        }
        Ok(self.unread.drain(..count).collect())
    }

    /// Everything until the peer ends.
    pub fn rest(&mut self) -> (Vec<u8>, Ending) {
        loop {
            if let Err(ending) = self.fill() {
                return (std::mem::take(&mut self.unread), ending);
            }
        }
    }

    pub fn body(&mut self, framing: Framing) -> Result<Body, Cut> {
        let of = |bytes| Body { bytes, ..Body::default() };
        match framing {
            Framing::None => Ok(Body::default()),
            Framing::Length(count) => self.exactly(count).map(of),
            Framing::Chunked => self.chunks(),
            Framing::UntilClose => match self.rest() {
                (bytes, Ending::Fin) => Ok(of(bytes)),
                (bytes, ending) => Err(Cut { ending, head: None, bytes }),
            },
        }
    }

    fn chunks(&mut self) -> Result<Body, Cut> {
        let mut body = Body::default();
        loop {
            match self.chunk(&mut body) {
                Ok(true) => {}
                Ok(false) => return Ok(body),
                Err(cut) => return Err(Cut { bytes: [body.bytes, cut.bytes].concat(), ..cut }),
            }
        }
    }

    /// Adds one chunk to `body`, or its trailers; false when that was the end.
    fn chunk(&mut self, body: &mut Body) -> Result<bool, Cut> {
        let line = latin1(&self.through(b"\r\n")?);
        let digits = line.trim_end_matches("\r\n");
        assert!(digits.chars().all(|c| c.is_ascii_hexdigit()), "chunk line {line:?}");
        let size = usize::from_str_radix(digits, 16).expect("a chunk line is a hexadecimal number");
        if size == 0 {
            body.trailers = self.trailers()?;
            return Ok(false);
        }
        let mut bytes = self.exactly(size + 2)?;
        assert!(bytes.ends_with(b"\r\n"), "a chunk of {size} bytes has no CRLF after it");
        bytes.truncate(size);
        body.bytes.append(&mut bytes);
        body.chunks.push(size);
        Ok(true)
    }

    /// The trailer section, read as a head whose start line is the last chunk.
    fn trailers(&mut self) -> Result<Head, Cut> {
        let mut section = b"0\r\n".to_vec();
        while !section.ends_with(b"\r\n\r\n") {
            section.extend(self.through(b"\r\n")?);
        }
        Ok(Head::parse(&section))
    }
}
