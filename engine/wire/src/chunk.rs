//! Chunk lines (RFC 9112 section 7.1): `1*HEXDIG [chunk-ext] CRLF`, byte by byte, so that a line may come in any number of
//! pieces. Extensions are checked and dropped.

use crate::chars::{self, TCHAR, VALUE};
use crate::error::BodyErrorKind as Kind;
use crate::limits::Limits;

/// 16 hexadecimal digits are 64 bits.
const DIGITS_MAX: u8 = 16;

/// A chunk line as far as it has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ChunkLine {
    size: u64,
    digits: u8,
    /// Bytes so far, for the bound on the line.
    len: u32,
    place: Place,
}

/// Where in the line the next byte stands:
///
/// ```text
/// Size ──BWS──> Blank ──;──> NameStart ──> Name ──BWS──> AfterName ──=──> ValueStart ──> Value / Quoted <──> Escaped
///   └─────────────;────────────^  ^──────────────────;──────┴────────────────────────────────┴──> AfterValue
/// and CR leads to Feed from Size, Name, AfterName, Value and AfterValue.
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Place {
    #[default]
    Size,
    /// White space after the size.
    Blank,
    NameStart,
    Name,
    AfterName,
    ValueStart,
    Value,
    Quoted,
    Escaped,
    AfterValue,
    /// After the CR.
    Feed,
}

impl ChunkLine {
    /// Takes the next byte. `Some(size)` when it ends the line. `trailing_blanks`: white space may end the line, as some old
    /// servers pad their chunk sizes.
    pub(crate) fn push(
        &mut self,
        byte: u8,
        limits: &Limits,
        trailing_blanks: bool,
    ) -> Result<Option<u64>, Kind> {
        if self.place == Place::Feed {
            return if byte == b'\n' { Ok(Some(self.size)) } else { Err(Kind::BareCr) };
        }
        if byte == b'\n' {
            return Err(Kind::BareLf);
        }
        if byte != b'\r' {
            self.len += 1;
            if self.len > limits.chunk_line_bytes {
                return Err(Kind::ChunkLineTooLong);
            }
        }
        self.place = match self.place {
            Place::Size => self.size_byte(byte)?,
            place => place.after(byte, trailing_blanks).ok_or(Kind::BadChunkExtension)?,
        };
        Ok(None)
    }

    fn size_byte(&mut self, byte: u8) -> Result<Place, Kind> {
        let digit = char::from(byte).to_digit(16);
        match (byte, digit) {
            (_, Some(digit)) if self.digits < DIGITS_MAX => {
                self.digits += 1;
                self.size = self.size << 4 | u64::from(digit);
                Ok(Place::Size)
            }
            (b'\r', _) if self.digits > 0 => Ok(Place::Feed),
            (b';', _) if self.digits > 0 => Ok(Place::NameStart),
            (b' ' | b'\t', _) if self.digits > 0 => Ok(Place::Blank),
            _ => Err(Kind::BadChunkSize),
        }
    }
}

impl Place {
    /// The place after `byte`, by the grammar of RFC 9112 section 7.1.1; `None` where it allows no such byte.
    fn after(self, byte: u8, trailing_blanks: bool) -> Option<Self> {
        let token = chars::is(byte, TCHAR);
        match (self, byte) {
            (Self::Blank, b'\r') if trailing_blanks => Some(Self::Feed),
            (Self::Name | Self::AfterName | Self::Value | Self::AfterValue, b'\r') => Some(Self::Feed),
            (Self::Blank, b' ' | b'\t') => Some(Self::Blank),
            (Self::NameStart | Self::ValueStart, b' ' | b'\t') => Some(self),
            (Self::Name | Self::AfterName, b' ' | b'\t') => Some(Self::AfterName),
            (Self::Value | Self::AfterValue, b' ' | b'\t') => Some(Self::AfterValue),
            (Self::Blank | Self::Name | Self::AfterName | Self::Value | Self::AfterValue, b';') => {
                Some(Self::NameStart)
            }
            (Self::Name | Self::AfterName, b'=') => Some(Self::ValueStart),
            (Self::NameStart | Self::Name, _) if token => Some(Self::Name),
            (Self::ValueStart, b'"') => Some(Self::Quoted),
            (Self::ValueStart | Self::Value, _) if token => Some(Self::Value),
            (Self::Quoted, b'"') => Some(Self::AfterValue),
            (Self::Quoted, b'\\') => Some(Self::Escaped),
            (Self::Quoted | Self::Escaped, _) if chars::is(byte, VALUE) => Some(Self::Quoted),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[u8], trailing_blanks: bool) -> Result<Option<u64>, Kind> {
        let mut state = ChunkLine::default();
        for (at, &byte) in line.iter().enumerate() {
            if let Some(size) = state.push(byte, &Limits::default(), trailing_blanks)? {
                assert_eq!(at + 1, line.len(), "{}", line.escape_ascii());
                return Ok(Some(size));
            }
        }
        Ok(None)
    }

    #[test]
    fn sizes_and_extensions() {
        let lines: [(&[u8], u64); 11] = [
            (b"0\r\n", 0),
            (b"5\r\n", 5),
            (b"aF\r\n", 0xaf),
            (b"000000000000000a\r\n", 10),
            (b"ffffffffffffffff\r\n", u64::MAX),
            (b"5;a\r\n", 5),
            (b"5;a=b;c=\"d\"\r\n", 5),
            (b"5 ; a = b ; c\r\n", 5),
            (b"5\t;a\r\n", 5),
            (b"5;a=\"x;y=\\\"z\\\\\"\r\n", 5),
            (b"5;a=\"\"\r\n", 5),
        ];
        for (line, size) in lines {
            assert_eq!(read(line, false), Ok(Some(size)), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_chunk_line() {
        let lines: [(&[u8], Kind); 21] = [
            (b"\r\n", Kind::BadChunkSize),
            (b" 5\r\n", Kind::BadChunkSize),
            (b"+5\r\n", Kind::BadChunkSize),
            (b"-5\r\n", Kind::BadChunkSize),
            (b"0x5\r\n", Kind::BadChunkSize),
            (b"5g\r\n", Kind::BadChunkSize),
            (b"5\0\r\n", Kind::BadChunkSize),
            (b"00000000000000005\r\n", Kind::BadChunkSize),
            (b"5\n", Kind::BareLf),
            (b"5\r5\r\n", Kind::BareCr),
            (b"5 \r\n", Kind::BadChunkExtension),
            (b"5 a\r\n", Kind::BadChunkExtension),
            (b"5;\r\n", Kind::BadChunkExtension),
            (b"5;;a\r\n", Kind::BadChunkExtension),
            (b"5;a=\r\n", Kind::BadChunkExtension),
            (b"5;a=b c\r\n", Kind::BadChunkExtension),
            (b"5;a=\"b\r\n", Kind::BadChunkExtension),
            (b"5;a=\"b\"c\r\n", Kind::BadChunkExtension),
            (b"5;a=\"b\0\"\r\n", Kind::BadChunkExtension),
            (b"5;a\n", Kind::BareLf),
            (b"5;a=\"\n\"\r\n", Kind::BareLf),
        ];
        for (line, kind) in lines {
            assert_eq!(read(line, false), Err(kind), "{}", line.escape_ascii());
        }
        assert_eq!(read(b"5 \t\r\n", true), Ok(Some(5)));
        let long = [b"5;", &[b'a'; 255][..], b"\r\n"].concat();
        assert_eq!(read(&long, false), Err(Kind::ChunkLineTooLong));
        let fits = [b"5;", &[b'a'; 254][..], b"\r\n"].concat();
        assert_eq!(read(&fits, false), Ok(Some(5)));
    }
}
