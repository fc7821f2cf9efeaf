//! Memory of which the system is told: giving it back after a peak, and having much of it of which little may be used.

use std::alloc::{Layout, alloc_zeroed};
use std::sync::atomic::AtomicU64;

/// Gives back what this thread, or any, has freed and the allocator still holds. mimalloc does that by itself only as long as
/// the program goes on to allocate and free; after a peak it may stay silent for hours. Costs system calls, and page faults
/// where the memory is soon needed again.
pub(crate) fn give_back() {
    // SAFETY: touches nothing but free memory. In a program whose allocator is another one there is nothing to do.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

/// Numbers in one cache line.
pub(crate) const LINE_NUMBERS: usize = 8;

/// Two cache lines side by side, which processors mostly fetch together.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct LinePair {
    pub(crate) first: [AtomicU64; LINE_NUMBERS],
    pub(crate) second: [AtomicU64; LINE_NUMBERS],
}

/// `count` pairs, all numbers zero; `None` when the system does not give so much. It gives pages as they are written to: those
/// that never are cost nothing.
pub(crate) fn zeroed_lines(count: usize) -> Option<Box<[LinePair]>> {
    let layout = Layout::array::<LinePair>(count).ok().filter(|layout| layout.size() > 0)?;
    // SAFETY: the layout has a size.
    let first = unsafe { alloc_zeroed(layout) }.cast::<LinePair>();
    let lines = std::ptr::slice_from_raw_parts_mut(first, count);
    // SAFETY: the memory came from the global allocator, with the layout of `count` pairs, to which nobody else has a pointer;
    // and an AtomicU64 whose bytes are zero is one.
    (!first.is_null()).then(|| unsafe { Box::from_raw(lines) })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    #[test]
    fn lines_are_zero_and_go_again() {
        let lines = zeroed_lines(1000).unwrap();
        let numbers = lines.iter().flat_map(|pair| pair.first.iter().chain(&pair.second));
        assert_eq!(numbers.map(|number| number.fetch_add(1, Relaxed)).max(), Some(0));
        assert_eq!((lines.len(), lines.as_ptr().addr() % 128), (1000, 0));
    }

    #[test]
    fn what_cannot_be_had_is_none() {
        assert!(zeroed_lines(0).is_none() && zeroed_lines(usize::MAX).is_none());
        assert!(zeroed_lines(isize::MAX as usize / size_of::<LinePair>()).is_none());
    }
}
