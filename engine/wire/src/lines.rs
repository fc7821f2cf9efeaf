//! Finding the lines of a head. The scan goes on where it stopped, so that a peer that sends byte by byte costs linear
//! work, and refuses a bare LF and what is over a bound as soon as that is known. A head that has come whole is taken at once.

use crate::error::{HeadError, HeadErrorKind as Kind};
use crate::limits::{Limits, MAX_FIELDS};
use crate::scan::Unusual;

/// The lines of one head, as far as they have come.
#[derive(Debug, Default)]
pub(crate) struct LineScan {
    /// Where the start line begins: behind the empty lines that were skipped.
    start: usize,
    /// How far the scan has come.
    position: usize,
    /// The offset behind each complete line: the start line, then one for each field. There is always room for as many as a
    /// head may have; `len` of them are set.
    ends: Vec<u32>,
    len: usize,
    /// How many of `ends` have been checked line by line.
    checked: usize,
}

/// The bounds of one kind of head, in bytes and fields.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Of the start line, without its CRLF.
    pub(crate) start_line: usize,
    pub(crate) head: usize,
    pub(crate) fields: usize,
}

impl Bounds {
    pub(crate) fn of_request(limits: &Limits) -> Self {
        Self { start_line: limits.request_line_bytes as usize, ..Self::of_response(limits) }
    }

    pub(crate) fn of_response(limits: &Limits) -> Self {
        Self { start_line: usize::MAX, head: limits.head_bytes as usize, fields: limits.field_count() }
    }
}

impl Bounds {
    /// What a head that begins at `start` may take of `buf`; offsets into it are of 32 bits.
    #[inline]
    pub(crate) fn window(self, buf: &[u8], start: usize) -> &[u8] {
        let end = start.saturating_add(self.head).min(u32::MAX as usize);
        buf.get(..end).unwrap_or(buf)
    }
}

/// A complete line that has not been checked yet.
pub(crate) struct Line {
    /// Where it begins.
    pub(crate) start: usize,
    /// Where it ends, its CRLF not counted.
    pub(crate) end: usize,
    /// 0 for the start line.
    pub(crate) number: usize,
}

impl LineScan {
    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.position = 0;
        self.len = 0;
        self.checked = 0;
    }

    /// Where the start line begins.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// Whether no line is complete yet.
    pub(crate) fn in_start_line(&self) -> bool {
        self.len == 0
    }

    /// Whether no byte has been looked at yet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.position == self.start
    }

    /// Moves the beginning of the head behind an empty line that is skipped.
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.start += bytes;
        self.position = self.start;
    }

    /// Finds all lines of a head at once. `None` when it has not come whole, has a byte that no line may have, or is over a
    /// bound; then nothing has changed.
    #[inline]
    pub(crate) fn whole(&mut self, buf: &[u8], bounds: Bounds) -> Option<usize> {
        let bytes = bounds.window(buf, self.start);
        let mut unusual = Unusual::new(bytes, self.start);
        let mut len = 0;
        self.make_room();
        let room = self.ends.get_mut(..bounds.fields + 1)?;
        let mut line = self.start;
        while let Some(end) = unusual.line_end(line) {
            if end == line {
                self.len = len;
                return Some(end + 2);
            }
            line = end + 2;
            // One more than fields: the start line.
            match room.get_mut(len) {
                Some(end) => *end = line as u32,
                None => break,
            }
            len += 1;
        }
        None
    }

    /// Undoes [`LineScan::whole`].
    pub(crate) fn forget_ends(&mut self) {
        self.len = 0;
    }

    /// The length of the start line, which has come, without its CRLF.
    #[inline]
    pub(crate) fn start_line_bytes(&self) -> usize {
        self.ends.first().map_or(0, |end| (*end as usize).saturating_sub(self.start + 2))
    }

    /// The offsets behind the start line and behind each field line.
    #[inline]
    pub(crate) fn ends(&self) -> Option<(usize, &[u32])> {
        let (first, rest) = self.ends.get(..self.len)?.split_first()?;
        Some((*first as usize, rest))
    }

    /// Looks at the bytes that are new in `buf`. `Some(end)` once the empty line that ends the head has come.
    pub(crate) fn advance(&mut self, buf: &[u8], bounds: Bounds) -> Result<Option<usize>, HeadError> {
        let window_end = buf.len().min(self.start.saturating_add(bounds.head));
        let from = self.position;
        let window = buf.get(from..window_end).unwrap_or_default();
        self.make_room();
        let mut line_start = self.end_of_last();
        for found in memchr::memchr_iter(b'\n', window) {
            let feed = from + found;
            self.position = feed + 1;
            // RFC 9112 section 2.2 would let a recipient take a single LF as a line end; two recipients that differ in that
            // see two different messages.
            match buf.get(line_start..feed) {
                Some([b'\r']) if self.len > 0 => return Ok(Some(feed + 1)),
                Some([.., b'\r']) => self.end_line(line_start, feed, bounds)?,
                _ => return Err(self.bare_lf(feed, bounds)),
            }
            line_start = feed + 1;
        }
        self.position = window_end.max(from);
        self.check_unfinished(bounds)?;
        Ok(None)
    }

    /// Takes the line whose LF stands at `feed`.
    #[inline]
    fn end_line(&mut self, line_start: usize, feed: usize, bounds: Bounds) -> Result<(), HeadError> {
        if self.len == 0 {
            self.check_start_line(feed, bounds)?;
        }
        // One more than fields: the start line.
        match self.ends.get_mut(self.len).filter(|_| self.len <= bounds.fields) {
            Some(end) => *end = crate::span::offset(feed + 1),
            None => return Err(Kind::TooManyFields.at(line_start)),
        }
        self.len += 1;
        Ok(())
    }

    fn make_room(&mut self) {
        if self.ends.is_empty() {
            self.ends.resize(MAX_FIELDS + 1, 0);
        }
    }

    /// The offset behind the line that was found last.
    fn end_of_last(&self) -> usize {
        let last = self.len.checked_sub(1).and_then(|last| self.ends.get(last));
        last.map_or(self.start, |&end| end as usize)
    }

    #[cold]
    fn bare_lf(&self, feed: usize, bounds: Bounds) -> HeadError {
        let too_long = (self.len == 0).then(|| self.check_start_line(feed, bounds).err()).flatten();
        too_long.unwrap_or(Kind::BareLf.at(feed))
    }

    fn check_start_line(&self, feed: usize, bounds: Bounds) -> Result<(), HeadError> {
        if feed + 1 - self.start > bounds.start_line.saturating_add(2) {
            return Err(Kind::RequestLineTooLong.at(self.start));
        }
        Ok(())
    }

    fn check_unfinished(&self, bounds: Bounds) -> Result<(), HeadError> {
        let scanned = self.position - self.start;
        if self.len == 0 && scanned >= bounds.start_line.saturating_add(2) {
            return Err(Kind::RequestLineTooLong.at(self.start));
        }
        if scanned >= bounds.head {
            return Err(Kind::HeadTooLong.at(self.position));
        }
        Ok(())
    }

    /// The next complete line that has not been checked.
    pub(crate) fn next_unchecked(&mut self) -> Option<Line> {
        let number = self.checked;
        let end = *self.ends.get(..self.len)?.get(number)? as usize;
        let start = match number.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => self.start,
        };
        self.checked += 1;
        Some(Line { start, end: end.saturating_sub(2), number })
    }
}
