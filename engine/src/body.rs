//! Bodies on their way: what was read of one becomes what is written, in the same buffer where that is possible.

use ringway_wire::{BodyPart, Framing, encode, forwardable_trailers};

use crate::net::buf::{Buf, BufPool};
use crate::terms::Edits;

/// How a body goes out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyWriter<'e> {
    chunked: bool,
    trailers: Option<&'e Edits>,
}

impl<'e> BodyWriter<'e> {
    /// For a body that is announced as `framing`. With `trailers` they are passed on, where the framing can carry them: all
    /// but those whose names the edits change.
    pub(crate) fn new(framing: Framing, trailers: Option<&'e Edits>) -> Self {
        Self { chunked: framing == Framing::Chunked, trailers }
    }

    /// Makes `buf`, of which `part` was just taken, what is to be written.
    pub(crate) fn frame(self, pool: &BufPool, buf: &mut Buf, part: &BodyPart) -> Framed {
        let behind = buf.filled().get(part.consumed..).filter(|behind| !behind.is_empty());
        let behind = behind.map(|bytes| {
            let mut behind = pool.take();
            behind.append(bytes);
            behind
        });
        // Before the chunk's end is written over them.
        let trailers = self.trailers.zip(part.trailers);
        let trailers = trailers.map(|(edits, span)| kept_trailers(span.of(buf.filled()), edits));
        buf.narrow(part.data.start as usize, part.data.end as usize);
        if self.chunked {
            self.frame_chunks(buf, part.complete, trailers.as_deref());
        }
        Framed { behind }
    }

    fn frame_chunks(self, buf: &mut Buf, last: bool, trailers: Option<&[u8]>) {
        if !buf.is_empty() {
            buf.prepend(encode::chunk_head(buf.len()).as_bytes());
            buf.append(encode::CHUNK_END);
        }
        match (last, trailers) {
            (false, _) => {}
            (true, None) => buf.append(encode::LAST_CHUNK),
            (true, Some(lines)) => {
                buf.append(b"0\r\n");
                buf.append(lines);
                buf.append(b"\r\n");
            }
        }
    }

    /// What must be written when the body ended with its connection.
    pub(crate) fn end_at_close(self) -> &'static [u8] {
        if self.chunked { encode::LAST_CHUNK } else { b"" }
    }
}

/// The lines of a trailer section that are passed on.
fn kept_trailers(section: &[u8], edits: &Edits) -> Vec<u8> {
    let name = |line: &[u8]| line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
    let kept = |line: &&[u8]| line.get(..name(line)).is_some_and(|name| !edits.changes(name));
    forwardable_trailers(section).filter(kept).collect::<Vec<_>>().concat()
}

/// A part is ready to be written.
pub(crate) struct Framed {
    /// What came behind the part, when anything did: the beginning of the next one, or of the next message.
    behind: Option<Buf>,
}

impl Framed {
    /// The part was written from `buf` (or could not be): what came behind it takes its place.
    pub(crate) fn go_on(self, buf: &mut Buf) {
        match self.behind {
            Some(behind) => *buf = behind,
            None => buf.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_wire::{BodyReader, Limits};

    fn framed(input: &[u8], writer: BodyWriter<'_>) -> (Vec<u8>, Option<Vec<u8>>) {
        let pool = BufPool::default();
        let mut buf = pool.take();
        buf.append(input);
        let part = BodyReader::new(Framing::Chunked).read(buf.filled_mut(), &Limits::default()).unwrap();
        let framed = writer.frame(&pool, &mut buf, &part);
        (buf.filled().to_vec(), framed.behind.map(|behind| behind.filled().to_vec()))
    }

    #[test]
    fn chunks_become_one() {
        let (out, rest) =
            framed(b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\nGET", BodyWriter::new(Framing::Chunked, None));
        assert_eq!(out, b"3\r\nabc\r\n0\r\n\r\n");
        assert_eq!(rest.as_deref(), Some(&b"GET"[..]));
    }

    #[test]
    fn chunks_become_plain_bytes() {
        let (out, rest) = framed(b"2\r\nab\r\n1\r\nc", BodyWriter::new(Framing::UntilClose, None));
        assert_eq!((out.as_slice(), rest), (&b"abc"[..], None));
    }

    #[test]
    fn trailers_go_where_they_are_wanted() {
        let input = b"1\r\na\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\r\n";
        let (out, _) = framed(input, BodyWriter::new(Framing::Chunked, Some(&Edits::default())));
        assert_eq!(out, b"1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n");
        let (out, _) = framed(input, BodyWriter::new(Framing::Chunked, None));
        assert_eq!(out, b"1\r\na\r\n0\r\n\r\n");
    }
}
