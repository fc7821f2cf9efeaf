//! Bodies: which of the bytes that came are payload, and where a body ends (RFC 9112 sections 6 and 7). The reader is
//! resumable at every byte and works in place; it never allocates and keeps no byte of the peer's.

use crate::chunk::ChunkLine;
use crate::error::{BodyError, BodyErrorKind as Kind};
use crate::framing::Framing;
use crate::limits::Limits;
use crate::span::Span;
use crate::trailers::TrailerScan;

/// Reads one body.
#[derive(Clone, Debug)]
pub struct BodyReader {
    state: State,
    /// See [`BodyReader::for_response`].
    trailing_blanks: bool,
}

/// What comes next:
///
/// ```text
/// ChunkLine ──size──> ChunkData ──> ChunkEnd ──> ChunkFeed ──┐      Length, UntilClose ──> Complete
///   ^  └──0──> Trailers ──> Complete                         │
///   └────────────────────────────────────────────────────────┘
/// ```
#[derive(Clone, Copy, Debug)]
enum State {
    /// So many bytes are left.
    Length(u64),
    UntilClose,
    ChunkLine(ChunkLine),
    /// So many bytes of the chunk are left.
    ChunkData(u64),
    /// The CR after a chunk's data.
    ChunkEnd,
    /// The LF after that CR.
    ChunkFeed,
    Trailers(TrailerScan),
    Complete,
}

/// What a read took from the front of the buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyPart {
    /// The payload within the buffer.
    pub data: Span,
    /// The number of bytes taken; the caller takes them away before it reads again.
    pub consumed: usize,
    /// Whether the body is complete. What is behind `consumed` belongs to the next message.
    pub complete: bool,
    /// The field lines of the trailer section, checked; set with `complete`, and only when there are any.
    pub trailers: Option<Span>,
}

/// The payload of a read: one span, to whose end later pieces are moved.
#[derive(Default)]
struct Payload {
    start: usize,
    end: usize,
}

impl BodyReader {
    /// A reader for the body that `framing` describes.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Complete,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkLine(ChunkLine::default()),
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, trailing_blanks: false }
    }

    /// The same for a response: white space after a chunk size is let pass, since old servers pad their sizes with it.
    pub fn for_response(framing: Framing) -> Self {
        Self { trailing_blanks: true, ..Self::new(framing) }
    }

    /// Takes what it can from the front of `buf`. Chunk framing is taken out: the payload of several chunks is moved together,
    /// so that it is one span. Only an incomplete trailer section stays unconsumed: the caller keeps it in front and adds
    /// bytes, for which a buffer needs room for [`Limits::trailer_bytes`] and two more.
    ///
    /// # Errors
    /// A body that breaks the rules for chunks or trailers; the reader is of no use afterwards.
    pub fn read(&mut self, buf: &mut [u8], limits: &Limits) -> Result<BodyPart, BodyError> {
        let mut payload = Payload::default();
        let mut at = 0;
        while at < buf.len() {
            match &mut self.state {
                State::UntilClose => at += payload.take(buf, at, u64::MAX),
                State::Length(left) => {
                    let taken = payload.take(buf, at, *left);
                    at += taken;
                    *left -= taken as u64;
                    if *left == 0 {
                        self.state = State::Complete;
                    }
                }
                State::ChunkData(left) => {
                    let taken = payload.take(buf, at, *left);
                    at += taken;
                    *left -= taken as u64;
                    if *left == 0 {
                        self.state = State::ChunkEnd;
                    }
                }
                State::Trailers(scan) => {
                    let section = buf.get(at..).unwrap_or_default();
                    let found = scan.advance(section, limits).map_err(|error| error.shifted(at))?;
                    let Some(len) = found else { break };
                    self.state = State::Complete;
                    let trailers = (len > 0).then(|| Span::new(at, at + len));
                    return Ok(self.part(&payload, at + len + 2, trailers));
                }
                State::Complete => break,
                State::ChunkLine(_) | State::ChunkEnd | State::ChunkFeed => {
                    let byte = buf.get(at).copied().unwrap_or_default();
                    self.frame_byte(byte, limits).map_err(|kind| kind.at(at))?;
                    at += 1;
                }
            }
        }
        Ok(self.part(&payload, at, None))
    }

    /// Takes a byte of chunk framing.
    fn frame_byte(&mut self, byte: u8, limits: &Limits) -> Result<(), Kind> {
        self.state = match (&mut self.state, byte) {
            (State::ChunkLine(line), byte) => match line.push(byte, limits, self.trailing_blanks)? {
                None => return Ok(()),
                Some(0) => State::Trailers(TrailerScan::default()),
                Some(size) => State::ChunkData(size),
            },
            (State::ChunkEnd, b'\r') => State::ChunkFeed,
            (State::ChunkFeed, b'\n') => State::ChunkLine(ChunkLine::default()),
            _ => return Err(Kind::BadChunkEnd),
        };
        Ok(())
    }

    fn part(&self, payload: &Payload, consumed: usize, trailers: Option<Span>) -> BodyPart {
        let data = Span::new(payload.start, payload.end);
        BodyPart { data, consumed, complete: self.is_complete(), trailers }
    }

    /// Whether the body has ended.
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    /// How many payload bytes are still to come, where that is known: the rest of a length, 0 when complete.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            State::Complete => Some(0),
            _ => None,
        }
    }

    /// The peer has closed its side.
    ///
    /// # Errors
    /// [`Kind::Truncated`] unless that ends the body, or the body was complete already (RFC 9112 section 8).
    pub fn at_eof(&self) -> Result<(), BodyError> {
        match self.state {
            State::UntilClose | State::Complete => Ok(()),
            _ => Err(Kind::Truncated.at(0)),
        }
    }
}

impl Payload {
    /// Takes at most `most` bytes from `at` on, and moves them behind what was taken before.
    fn take(&mut self, buf: &mut [u8], at: usize, most: u64) -> usize {
        let taken = (buf.len() - at).min(usize::try_from(most).unwrap_or(usize::MAX));
        if self.start == self.end {
            (self.start, self.end) = (at, at);
        }
        if self.end != at {
            buf.copy_within(at..at + taken, self.end);
        }
        self.end += taken;
        taken
    }
}

impl BodyError {
    fn shifted(self, by: usize) -> Self {
        self.kind.at(self.offset as usize + by)
    }
}
