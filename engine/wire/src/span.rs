//! A piece of a buffer as two offsets. Heads keep spans and not borrows, because the buffer belongs to the kernel while
//! io_uring reads into it.

use std::ops::Range;

/// The bytes `start..end` of a buffer that the reader of the span holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
}

impl Span {
    /// The span `start..end`; offsets past 4 GiB, which no bounded head has, end at that bound.
    #[inline]
    pub fn new(start: usize, end: usize) -> Self {
        Self { start: offset(start), end: offset(end) }
    }

    /// The bytes of the span in `buf`; empty when the span does not lie inside it.
    #[inline]
    pub fn of<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        buf.get(self.range()).unwrap_or_default()
    }

    /// The number of bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// Whether the span holds no byte.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.end <= self.start
    }

    /// The span as a range of `usize`, for slicing.
    #[inline]
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The same bytes seen from a buffer that begins `by` bytes earlier.
    #[inline]
    pub(crate) fn shifted(self, by: usize) -> Self {
        Self::new(self.start as usize + by, self.end as usize + by)
    }

    /// Where `part` lies in `whole`, of which it must be a subslice.
    #[inline]
    pub(crate) fn within(whole: &[u8], part: &[u8]) -> Self {
        let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
        debug_assert!(start <= whole.len() && part.len() <= whole.len() - start);
        Self::new(start, start.wrapping_add(part.len()))
    }
}

/// A buffer offset in the width that spans and errors keep.
#[inline]
pub(crate) fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
