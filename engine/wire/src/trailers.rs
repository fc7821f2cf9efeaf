//! Trailer sections (RFC 9112 section 7.1.2): read with the rules for heads, and which of their fields may be forwarded.

use crate::chars::{self, TCHAR};
use crate::error::{BodyError, BodyErrorKind as Kind, HeadErrorKind};
use crate::field_line::{self, Reading};
use crate::limits::Limits;
use crate::name::{FieldName, FieldSet};

/// A trailer section as far as it has come. Its bytes stay with the caller until the section is complete; offsets count
/// from its beginning.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TrailerScan {
    scanned: usize,
    line_start: usize,
    lines: u16,
}

impl TrailerScan {
    /// Looks at what is new in `section`, which begins behind the last chunk's line. `Some(len)` once the empty line has
    /// come: the length of the field lines before it. Offsets of errors count from the beginning of `section`.
    pub(crate) fn advance(&mut self, section: &[u8], limits: &Limits) -> Result<Option<usize>, BodyError> {
        let bound = limits.trailer_bytes as usize;
        let window = section.get(..section.len().min(bound.saturating_add(2))).unwrap_or_default();
        while let Some(found) = memchr::memchr(b'\n', window.get(self.scanned..).unwrap_or_default()) {
            let feed = self.scanned + found;
            self.scanned = feed + 1;
            if self.end_line(window, feed, limits)? {
                return Ok(Some(self.line_start));
            }
        }
        self.scanned = window.len();
        if window.len() >= bound.saturating_add(2) || self.line_start > bound {
            return Err(Kind::TrailersTooLong.at(bound));
        }
        Ok(None)
    }

    /// Takes the LF at `feed` as the end of a line; true when that line is empty.
    fn end_line(&mut self, section: &[u8], feed: usize, limits: &Limits) -> Result<bool, BodyError> {
        let start = self.line_start;
        let line = section.get(start..feed).unwrap_or_default();
        let Some(line) = line.strip_suffix(b"\r") else { return Err(Kind::BareLf.at(feed)) };
        if line.is_empty() {
            return Ok(true);
        }
        if self.lines >= limits.trailer_fields {
            return Err(Kind::TooManyTrailers.at(start));
        }
        if feed >= limits.trailer_bytes as usize {
            return Err(Kind::TrailersTooLong.at(start));
        }
        let reading = Reading { first: false, blank_before_colon: false };
        field_line::check(line, reading).map_err(|(kind, at)| trailer_kind(kind).at(start + at))?;
        self.lines += 1;
        self.line_start = feed + 1;
        Ok(false)
    }
}

fn trailer_kind(kind: HeadErrorKind) -> Kind {
    if kind == HeadErrorKind::BareCr { Kind::BareCr } else { Kind::BadTrailer }
}

/// The lines, each with its CRLF, of a checked trailer section ([`crate::BodyPart::trailers`]) that may be forwarded: not
/// those of [`FieldSet::NO_TRAILER`].
pub fn forwardable_trailers(section: &[u8]) -> impl Iterator<Item = &[u8]> {
    section.split_inclusive(|&byte| byte == b'\n').filter(|line| {
        let name = chars::first_not(line, TCHAR).and_then(|len| line.get(..len)).unwrap_or_default();
        !name.is_empty() && !FieldSet::NO_TRAILER.contains(FieldName::of(name))
    })
}
