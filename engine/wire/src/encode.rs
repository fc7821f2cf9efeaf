//! Writing heads and chunk framing into a caller's buffer. Kept fields are copied as runs of whole lines, byte for byte.

use crate::framing::Framing;
use crate::head::Field;
use crate::name::FieldSet;
use crate::span::Span;
use std::fmt;

/// A bounded writer. Once something did not fit nothing more is written, and [`Sink::overflowed`] says so: callers check
/// once, at the end.
#[derive(Debug)]
pub struct Sink<'a> {
    /// Ends behind what was written once something did not fit.
    room: &'a mut [u8],
    len: usize,
    overflowed: bool,
}

impl<'a> Sink<'a> {
    /// A writer into `room`, from its beginning.
    pub fn new(room: &'a mut [u8]) -> Self {
        Self { room, len: 0, overflowed: false }
    }

    /// Writes `bytes`, or nothing when they do not fit.
    #[inline(always)]
    pub fn put(&mut self, bytes: &[u8]) {
        match self.room.get_mut(self.len..).and_then(|room| room.get_mut(..bytes.len())) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.overflow(),
        }
    }

    /// Writes the first `len` of `bytes`. They are copied all, where there is room, which is quicker than to copy a few bytes
    /// whose number is not known.
    #[inline(always)]
    pub(crate) fn put_front<const N: usize>(&mut self, bytes: &[u8; N], len: usize) {
        match self.room.get_mut(self.len..).and_then(|room| room.first_chunk_mut()) {
            Some(room) if len <= N => {
                *room = *bytes;
                self.len += len;
            }
            _ => self.put(bytes.get(..len).unwrap_or(bytes)),
        }
    }

    /// Writes the bytes of `span` in `buf`, which are expected to be few.
    #[inline(always)]
    pub(crate) fn put_short(&mut self, buf: &[u8], span: Span) {
        match buf.get(span.range().start..).and_then(|rest| rest.first_chunk::<32>()) {
            Some(bytes) if span.len() <= bytes.len() => self.put_front(bytes, span.len()),
            _ => self.put(span.of(buf)),
        }
    }

    #[cold]
    fn overflow(&mut self) {
        self.overflowed = true;
        let room = std::mem::take(&mut self.room);
        self.room = room.get_mut(..self.len).unwrap_or_default();
    }

    /// Writes `number` in decimal.
    #[inline]
    pub fn put_u64(&mut self, number: u64) {
        match u32::try_from(number) {
            Ok(number @ 0..10_000) => {
                let digits = [number / 1000, number / 100 % 10, number / 10 % 10, number % 10];
                let word = u32::from_le_bytes(digits.map(|digit| digit as u8));
                let leading = word.trailing_zeros().min(24) / 8;
                let text = (word | 0x3030_3030) >> (8 * leading);
                self.put_front(&text.to_le_bytes(), 4 - leading as usize);
            }
            _ => self.put_long(number),
        }
    }

    fn put_long(&mut self, number: u64) {
        let mut digits = [0u8; 20];
        let mut rest = number;
        let mut start = digits.len();
        for (at, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            start = at;
            if rest == 0 {
                break;
            }
        }
        self.put(digits.get(start..).unwrap_or_default());
    }

    /// The number of bytes written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What has been written.
    pub fn written(&self) -> &[u8] {
        self.room.get(..self.len).unwrap_or_default()
    }

    /// Whether something did not fit.
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }
}

impl fmt::Write for Sink<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

/// Writes a request line (RFC 9112 section 3); the version is always HTTP/1.1. `target` is written piece by piece.
pub fn request_line(out: &mut Sink<'_>, method: &[u8], target: &[&[u8]]) {
    out.put(method);
    out.put(b" ");
    target.iter().for_each(|piece| out.put(piece));
    out.put(b" HTTP/1.1\r\n");
}

/// Writes a status line (RFC 9112 section 4); the version is always HTTP/1.1.
pub fn status_line(out: &mut Sink<'_>, status: u16, reason: &[u8]) {
    out.put(b"HTTP/1.1 ");
    out.put_u64(u64::from(status));
    out.put(b" ");
    out.put(reason);
    out.put(b"\r\n");
}

/// Copies the fields of the head in `buf` that are neither hop-by-hop nor in `drop`, in their order and as they came:
/// each run of adjacent lines that are kept is one copy. `fields` are all that the head has.
pub fn kept_fields(out: &mut Sink<'_>, fields: &[Field], buf: &[u8], drop: FieldSet) {
    let start = fields.first().map_or(0, |field| field.name_span.start);
    kept_lines(out, Span { start, end: start }, fields, buf, drop);
}

/// The same behind the start line of the head, which is kept too.
#[inline]
pub fn kept_lines(out: &mut Sink<'_>, start_line: Span, fields: &[Field], buf: &[u8], drop: FieldSet) {
    let mut run = start_line;
    for field in fields {
        let goes = field.hop_by_hop || drop.contains(field.name);
        if goes || field.blank_before_colon {
            run.end = field.name_span.start;
            // Where one line after the other goes, there is none.
            if !run.is_empty() {
                out.put(run.of(buf));
            }
            run.start = field.line_end;
            if !goes {
                self::field(out, field.name_span.of(buf), field.value.of(buf));
            }
        }
    }
    run.end = fields.last().map_or(run.end, |field| field.line_end);
    out.put(run.of(buf));
}

/// Writes `name: value` and CRLF.
#[inline]
pub fn field(out: &mut Sink<'_>, name: &[u8], value: &[u8]) {
    out.put(name);
    out.put(b": ");
    out.put(value);
    out.put(b"\r\n");
}

/// Writes the field that announces `framing` (RFC 9112 section 6); nothing for no body and for a body until close.
pub fn framing(out: &mut Sink<'_>, framing: Framing) {
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Chunked => out.put(b"Transfer-Encoding: chunked\r\n"),
        Framing::Length(length) => {
            out.put(b"Content-Length: ");
            out.put_u64(length);
            out.put(b"\r\n");
        }
    }
}

/// What tells a backend that the client takes trailers (RFC 9110 section 10.1.4).
pub const TE_TRAILERS: &[u8] = b"TE: trailers\r\nConnection: TE\r\n";

/// What makes a head a WebSocket handshake, or the answer to one (RFC 6455 section 4).
pub const UPGRADE_WEBSOCKET: &[u8] = b"Connection: upgrade\r\nUpgrade: websocket\r\n";

/// Writes the empty line that ends a head.
pub fn end(out: &mut Sink<'_>) {
    out.put(b"\r\n");
}

/// The most bytes that a chunk's line takes: 16 digits and CRLF.
pub const CHUNK_HEAD_MAX: usize = 18;

/// What stands behind a chunk's data.
pub const CHUNK_END: &[u8] = b"\r\n";

/// The last chunk and an empty trailer section.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The line before a chunk's data.
#[derive(Clone, Copy, Debug)]
pub struct ChunkHead {
    bytes: [u8; CHUNK_HEAD_MAX],
    start: u8,
}

impl ChunkHead {
    /// The line.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(usize::from(self.start)..).unwrap_or_default()
    }
}

/// The line before a chunk of `len` bytes, which must not be 0: that would be the last chunk.
pub fn chunk_head(len: usize) -> ChunkHead {
    debug_assert!(len > 0);
    let mut bytes = *b"0000000000000000\r\n";
    let mut rest = len;
    let mut start = 0;
    for (at, digit) in bytes.iter_mut().enumerate().take(CHUNK_HEAD_MAX - 2).rev() {
        *digit = char::from_digit((rest & 15) as u32, 16).map_or(b'0', |digit| digit as u8);
        rest >>= 4;
        start = at as u8;
        if rest == 0 {
            break;
        }
    }
    ChunkHead { bytes, start }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Sink<'_>)) -> String {
        let mut room = [0; 256];
        let mut out = Sink::new(&mut room);
        write(&mut out);
        assert!(!out.overflowed());
        String::from_utf8(out.written().to_vec()).unwrap()
    }

    #[test]
    fn lines_and_fields() {
        assert_eq!(written(|out| request_line(out, b"GET", &[b"/a", b"?", b"b"])), "GET /a?b HTTP/1.1\r\n");
        assert_eq!(written(|out| status_line(out, 204, b"")), "HTTP/1.1 204 \r\n");
        assert_eq!(written(|out| field(out, b"A", b"b")), "A: b\r\n");
        assert_eq!(
            written(|out| framing(out, Framing::Length(u64::MAX))),
            "Content-Length: 18446744073709551615\r\n"
        );
        assert_eq!(written(|out| framing(out, Framing::Chunked)), "Transfer-Encoding: chunked\r\n");
        assert_eq!(written(|out| framing(out, Framing::UntilClose)), "");
    }

    #[test]
    fn numbers_are_decimal() {
        for number in (0..20_000).chain([99_999_999, u64::from(u32::MAX), u64::MAX]) {
            assert_eq!(written(|out| out.put_u64(number)), number.to_string());
        }
    }

    #[test]
    fn chunk_heads_are_shortest_hexadecimal() {
        for len in [1, 9, 15, 16, 255, 4096, usize::MAX] {
            assert_eq!(chunk_head(len).as_bytes(), format!("{len:x}\r\n").as_bytes());
        }
    }

    #[test]
    fn a_full_sink_stays_full() {
        let mut room = [0; 4];
        let mut out = Sink::new(&mut room);
        out.put(b"abc");
        out.put(b"de");
        out.put(b"f");
        out.put_u64(7);
        out.put_short(b"0123", Span::new(1, 2));
        assert!(out.overflowed());
        assert_eq!(out.written(), b"abc");
    }

    #[test]
    fn what_just_fits_is_written() {
        let buf = [b'.'; 40];
        for len in 0..=40 {
            for spare in 0..40 {
                let mut room = vec![b'x'; 2 + len + spare];
                let mut out = Sink::new(&mut room);
                out.put(b"a");
                out.put_short(&buf, Span::new(40 - len, 40));
                out.put(b"b");
                assert!(!out.overflowed(), "{len} {spare}");
                assert_eq!(out.written(), [b"a", &buf[40 - len..], b"b"].concat(), "{len} {spare}");
            }
            let mut room = vec![b'x'; len];
            let mut out = Sink::new(&mut room);
            out.put_short(&[b'.'; 80], Span::new(0, len + 1));
            assert!(out.overflowed() && out.is_empty(), "{len}");
        }
    }
}
