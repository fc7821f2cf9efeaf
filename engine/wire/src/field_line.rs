//! The rules for one field line (RFC 9112 section 5), for lines that are looked at one by one: those of heads that come in
//! pieces, those of heads that were refused as a whole (which does not say where or why), and trailers.

use crate::chars::{self, TCHAR, VALUE};
use crate::error::HeadErrorKind as Kind;

/// Where a field line stands, and how strictly it is read.
#[derive(Clone, Copy)]
pub(crate) struct Reading {
    /// The first field after the start line.
    pub(crate) first: bool,
    /// Whether white space may stand before the colon, as RFC 9112 section 5.1 has proxies remove it from responses.
    pub(crate) blank_before_colon: bool,
}

/// Checks a field line without its CRLF. The error is the rule that it breaks and the offset into the line.
pub(crate) fn check(line: &[u8], reading: Reading) -> Result<(), (Kind, usize)> {
    let colon = check_name(line, reading)?;
    let value = line.get(colon + 1..).unwrap_or_default();
    match chars::first_not(value, VALUE) {
        Some(at) => Err((control(value.get(at).copied()), colon + 1 + at)),
        None => Ok(()),
    }
}

/// Checks the name and returns the offset of the colon.
fn check_name(line: &[u8], reading: Reading) -> Result<usize, (Kind, usize)> {
    let Some(end) = chars::first_not(line, TCHAR) else { return Err((Kind::MissingColon, line.len())) };
    match line.get(end) {
        Some(b' ' | b'\t') if end == 0 && reading.first => Err((Kind::SpaceBeforeFirstField, 0)),
        Some(b' ' | b'\t') if end == 0 => Err((Kind::FoldedLine, 0)),
        Some(b':') if end == 0 => Err((Kind::EmptyFieldName, 0)),
        Some(b':') => Ok(end),
        Some(b' ' | b'\t') => colon_after_blanks(line, end, reading),
        Some(&byte) if chars::is_control(byte) => Err((control(Some(byte)), end)),
        _ => Err((Kind::BadFieldName, end)),
    }
}

fn colon_after_blanks(line: &[u8], end: usize, reading: Reading) -> Result<usize, (Kind, usize)> {
    let blanks = line.iter().skip(end).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    match line.get(end + blanks) {
        Some(b':') if reading.blank_before_colon => Ok(end + blanks),
        Some(b':') => Err((Kind::SpaceBeforeColon, end)),
        _ => Err((Kind::BadFieldName, end)),
    }
}

fn control(byte: Option<u8>) -> Kind {
    if byte == Some(b'\r') { Kind::BareCr } else { Kind::ControlByte }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_a_field_line() {
        type Row<'a> = (&'a [u8], Option<(Kind, usize)>);
        let cases: [Row<'_>; 17] = [
            (b"A: b", None),
            (b"A:", None),
            (b"A:\t b \xff\t", None),
            (b"A:b:c", None),
            (b" A: b", Some((Kind::FoldedLine, 0))),
            (b"\tA: b", Some((Kind::FoldedLine, 0))),
            (b"A : b", Some((Kind::SpaceBeforeColon, 1))),
            (b"A\t : b", Some((Kind::SpaceBeforeColon, 1))),
            (b"A b: c", Some((Kind::BadFieldName, 1))),
            (b": b", Some((Kind::EmptyFieldName, 0))),
            (b"A(: b", Some((Kind::BadFieldName, 1))),
            (b"\xc3\xa4: b", Some((Kind::BadFieldName, 0))),
            (b"A", Some((Kind::MissingColon, 1))),
            (b"A\0: b", Some((Kind::ControlByte, 1))),
            (b"A: b\0", Some((Kind::ControlByte, 4))),
            (b"A: b\x7f", Some((Kind::ControlByte, 4))),
            (b"A: b\rc", Some((Kind::BareCr, 4))),
        ];
        for (line, expected) in cases {
            let strict = Reading { first: false, blank_before_colon: false };
            assert_eq!(check(line, strict).err(), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn the_first_line_and_responses_read_differently() {
        let first = Reading { first: true, blank_before_colon: false };
        assert_eq!(check(b" A: b", first), Err((Kind::SpaceBeforeFirstField, 0)));
        let response = Reading { first: false, blank_before_colon: true };
        assert_eq!(check(b"A \t: b", response), Ok(()));
        assert_eq!(check(b"A b: c", response), Err((Kind::BadFieldName, 1)));
    }
}
