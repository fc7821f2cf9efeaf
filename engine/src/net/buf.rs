//! Buffers that the kernel may hold while it reads or writes: a heap block that never moves, two cursors, and a pool
//! of them for each worker.
//!
//! ```text
//! 0 ........ start ........ end ........ capacity
//!   consumed        filled        spare
//! ```

use std::cell::RefCell;
use std::rc::Rc;

use monoio::buf::{IoBuf, IoBufMut};

/// The size of a pooled buffer in bytes: a head and a small body fit.
pub(crate) const BUF_BYTES: usize = 16 * 1024;
/// The size of a buffer for a body that keeps filling the small ones, in bytes.
pub(crate) const BULK_BYTES: usize = 256 * 1024;
/// What reads leave free at the end of a buffer, in bytes: the end of a chunk and the last chunk go there.
pub(crate) const TAIL_BYTES: usize = 16;
/// How many free small buffers a worker keeps.
const POOLED_BUFS: usize = 256;
/// How many free bulk buffers a worker keeps.
const POOLED_BULK_BUFS: usize = 16;

const _: () = assert!(BUF_BYTES < BULK_BYTES);
const _: () =
    assert!(TAIL_BYTES >= ringway_wire::encode::CHUNK_END.len() + ringway_wire::encode::LAST_CHUNK.len());

/// One buffer. Reads append to `end`; writes and parsers take from `start`.
pub(crate) struct Buf {
    memory: Box<[u8]>,
    start: usize,
    end: usize,
    was_full: bool,
    pool: Rc<Free>,
}

impl Buf {
    /// The bytes that were read and not consumed.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    /// The same, to be changed in place.
    pub(crate) fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.end]
    }

    /// How many bytes are filled.
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Nothing is filled.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The room behind the filled bytes.
    pub(crate) fn spare_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.end..]
    }

    /// How many bytes a read may add: the room behind the filled bytes, less [`TAIL_BYTES`].
    pub(crate) fn spare(&self) -> usize {
        (self.memory.len() - self.end).saturating_sub(TAIL_BYTES)
    }

    /// How many bytes the block has in all.
    pub(crate) fn capacity(&self) -> usize {
        self.memory.len()
    }

    /// Where the filled bytes begin; [`rewind`](Self::rewind) takes it to show bytes again that were consumed.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// Takes `n` bytes from the front; an emptied buffer begins anew.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start += n.min(self.len());
        if self.is_empty() {
            self.clear();
        }
    }

    /// Says that `n` bytes of the room behind were filled.
    pub(crate) fn fill(&mut self, n: usize) {
        self.end += n.min(self.memory.len() - self.end);
    }

    /// Appends `bytes`; the block grows where there is no room.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        if self.memory.len() - self.end < bytes.len() {
            self.compact();
            self.grow(self.len() + bytes.len());
        }
        self.memory[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// The last read left no room: there is probably more to come.
    pub(crate) fn was_full(&self) -> bool {
        self.was_full
    }

    /// Forgets all bytes.
    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Empty, with `room` bytes left free in front for [`prepend`](Self::prepend).
    pub(crate) fn clear_with_front(&mut self, room: usize) {
        self.start = room.min(self.memory.len());
        self.end = self.start;
    }

    /// Keeps only `from..to` of the filled bytes.
    pub(crate) fn narrow(&mut self, from: usize, to: usize) {
        let len = self.len();
        let (from, to) = (from.min(len), to.min(len));
        self.end = self.start + to.max(from);
        self.start += from;
    }

    /// Puts bytes in front of the filled ones, over what was consumed there; without enough room in front all moves.
    pub(crate) fn prepend(&mut self, bytes: &[u8]) {
        if self.start < bytes.len() {
            self.make_front(bytes.len());
        }
        let start = self.start - bytes.len();
        self.memory[start..self.start].copy_from_slice(bytes);
        self.start = start;
    }

    fn make_front(&mut self, room: usize) {
        let len = self.len();
        self.compact();
        self.grow(len + room);
        self.memory.copy_within(..len, room);
        (self.start, self.end) = (room, room + len);
    }

    /// Shows `start..end` of the block again; both were this buffer's cursors before.
    pub(crate) fn rewind(&mut self, start: usize, end: usize) {
        debug_assert!(start <= end && end <= self.memory.len());
        self.start = start.min(end);
        self.end = end.min(self.memory.len());
    }

    /// Moves the filled bytes to the front of the block, to make room behind them.
    pub(crate) fn compact(&mut self) {
        self.memory.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
    }

    /// Makes room for at least one more byte to be read, by moving and then by growing, up to `at_most` bytes in all.
    /// `false` when the buffer is full at that size.
    pub(crate) fn make_room(&mut self, at_most: usize) -> bool {
        if self.spare() == 0 && self.start > 0 {
            self.compact();
        }
        if self.spare() == 0 && self.len() < at_most {
            self.grow((2 * self.capacity()).min(at_most + TAIL_BYTES));
        }
        self.spare() > 0
    }

    /// Takes the buffer out of its place to lend it to the kernel, and leaves one without memory there.
    pub(super) fn lend(&mut self) -> Buf {
        let hollow =
            Buf { memory: Box::default(), start: 0, end: 0, was_full: false, pool: self.pool.clone() };
        std::mem::replace(self, hollow)
    }

    /// Makes the block at least `capacity` bytes large; what is filled stays.
    pub(crate) fn grow(&mut self, capacity: usize) {
        if capacity <= self.memory.len() {
            return;
        }
        let mut memory = vec![0; capacity].into_boxed_slice();
        memory[..self.len()].copy_from_slice(self.filled());
        self.end -= self.start;
        self.start = 0;
        self.pool.give_back(std::mem::replace(&mut self.memory, memory));
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.memory));
    }
}

// SAFETY: the block is on the heap and stays where it is while the `Buf` moves; `start..end` is always inside it and
// initialised (blocks are made zeroed).
unsafe impl IoBuf for Buf {
    fn read_ptr(&self) -> *const u8 {
        self.memory[self.start..].as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: as above; the writable part is `end..capacity`, and `set_init` gets the number of bytes written there.
unsafe impl IoBufMut for Buf {
    fn write_ptr(&mut self) -> *mut u8 {
        self.memory[self.end..].as_mut_ptr()
    }

    fn bytes_total(&mut self) -> usize {
        self.spare()
    }

    unsafe fn set_init(&mut self, n: usize) {
        self.fill(n);
        self.was_full = self.spare() == 0;
    }
}

/// Free blocks of one worker.
#[derive(Default)]
struct Free {
    small: RefCell<Vec<Box<[u8]>>>,
    bulk: RefCell<Vec<Box<[u8]>>>,
}

impl Free {
    fn give_back(&self, memory: Box<[u8]>) {
        match memory.len() {
            BUF_BYTES => keep(&mut self.small.borrow_mut(), memory, POOLED_BUFS),
            BULK_BYTES => keep(&mut self.bulk.borrow_mut(), memory, POOLED_BULK_BUFS),
            // A head that outgrew its buffer, or a block that was taken out: not worth keeping.
            _ => {}
        }
    }
}

fn keep(free: &mut Vec<Box<[u8]>>, memory: Box<[u8]>, at_most: usize) {
    if free.len() < at_most {
        free.push(memory);
    }
}

/// A worker's pool. Buffers come back to it when they are dropped, from wherever they are.
#[derive(Clone, Default)]
pub(crate) struct BufPool(Rc<Free>);

impl BufPool {
    /// An empty buffer of [`BUF_BYTES`].
    pub(crate) fn take(&self) -> Buf {
        self.buf(self.0.small.borrow_mut().pop(), BUF_BYTES)
    }

    /// An empty buffer of [`BULK_BYTES`].
    pub(crate) fn take_bulk(&self) -> Buf {
        self.buf(self.0.bulk.borrow_mut().pop(), BULK_BYTES)
    }

    fn buf(&self, memory: Option<Box<[u8]>>, capacity: usize) -> Buf {
        let memory = memory.unwrap_or_else(|| vec![0; capacity].into_boxed_slice());
        Buf { memory, start: 0, end: 0, was_full: false, pool: self.0.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_keep_their_order() {
        let mut buf = BufPool::default().take();
        buf.append(b"hello world");
        buf.consume(6);
        assert_eq!(buf.filled(), b"world");
        buf.prepend(b"my ");
        assert_eq!(buf.filled(), b"my world");
        buf.narrow(3, 5);
        assert_eq!(buf.filled(), b"wo");
        buf.consume(2);
        assert_eq!((buf.start(), buf.spare()), (0, BUF_BYTES - TAIL_BYTES));
    }

    #[test]
    fn growing_keeps_what_is_filled() {
        let mut buf = BufPool::default().take();
        buf.append(&[7; BUF_BYTES]);
        buf.consume(1);
        buf.grow(2 * BUF_BYTES);
        assert_eq!(buf.len(), BUF_BYTES - 1);
        assert_eq!(buf.spare(), BUF_BYTES + 1 - TAIL_BYTES);
    }

    #[test]
    fn what_does_not_fit_moves_or_grows() {
        let mut buf = BufPool::default().take();
        buf.append(&[7; BUF_BYTES]);
        buf.append(b"end");
        buf.prepend(b"front");
        assert!(buf.filled().starts_with(b"front\x07") && buf.filled().ends_with(b"\x07end"));
        assert_eq!(buf.len(), BUF_BYTES + 8);
        assert!(!buf.make_room(BUF_BYTES));
        assert!(buf.make_room(2 * BUF_BYTES));
    }

    #[test]
    fn dropped_buffers_are_used_again() {
        let pool = BufPool::default();
        let first = pool.take();
        let at = first.memory.as_ptr();
        drop(first);
        assert_eq!(pool.take().memory.as_ptr(), at);
    }
}
