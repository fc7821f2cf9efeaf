//! Buffers that the kernel may hold while it reads or writes: a heap block that never moves, two cursors, and a pool
//! of them for each worker.
//!
//! ```text
//! 0 ........ start ........ end ........ capacity
//!   consumed        filled        spare
//! ```

use std::rc::Rc;

use monoio::buf::{IoBuf, IoBufMut};

use super::spares::Spares;

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

/// One buffer. Reads append to `end`; writes and parsers take from `start`. A single pointer, because each operation of
/// the kernel moves it several times.
pub(crate) struct Buf {
    /// `None` while the kernel has it: then nobody else may look at it.
    block: Option<Box<Block>>,
}

/// What a buffer is made of; it stays where it is.
struct Block {
    memory: Box<[u8]>,
    start: usize,
    end: usize,
    was_full: bool,
    /// Where it goes back to; `None` while it is there.
    pool: Option<Rc<Free>>,
}

impl Buf {
    fn block(&self) -> &Block {
        self.block.as_deref().expect("the kernel has lent back every buffer that is looked at")
    }

    fn block_mut(&mut self) -> &mut Block {
        self.block.as_deref_mut().expect("the kernel has lent back every buffer that is looked at")
    }

    /// The bytes that were read and not consumed.
    pub(crate) fn filled(&self) -> &[u8] {
        let block = self.block();
        &block.memory[block.start..block.end]
    }

    /// The same, to be changed in place.
    pub(crate) fn filled_mut(&mut self) -> &mut [u8] {
        let block = self.block_mut();
        &mut block.memory[block.start..block.end]
    }

    /// How many bytes are filled.
    pub(crate) fn len(&self) -> usize {
        let block = self.block();
        block.end - block.start
    }

    /// Nothing is filled.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The room behind the filled bytes.
    pub(crate) fn spare_mut(&mut self) -> &mut [u8] {
        let block = self.block_mut();
        &mut block.memory[block.end..]
    }

    /// How many bytes a read may add: the room behind the filled bytes, less [`TAIL_BYTES`].
    pub(crate) fn spare(&self) -> usize {
        let block = self.block();
        (block.memory.len() - block.end).saturating_sub(TAIL_BYTES)
    }

    /// How many bytes the block has in all.
    pub(crate) fn capacity(&self) -> usize {
        self.block().memory.len()
    }

    /// Where the filled bytes begin; [`rewind`](Self::rewind) takes it to show bytes again that were consumed.
    pub(crate) fn start(&self) -> usize {
        self.block().start
    }

    /// Takes `n` bytes from the front; an emptied buffer begins anew.
    pub(crate) fn consume(&mut self, n: usize) {
        let block = self.block_mut();
        block.start += n.min(block.end - block.start);
        if block.start == block.end {
            (block.start, block.end) = (0, 0);
        }
    }

    /// Says that `n` bytes of the room behind were filled.
    pub(crate) fn fill(&mut self, n: usize) {
        let block = self.block_mut();
        block.end += n.min(block.memory.len() - block.end);
    }

    /// Appends `bytes`; the block grows where there is no room.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        if self.block().memory.len() - self.block().end < bytes.len() {
            self.compact();
            self.grow(self.len() + bytes.len());
        }
        self.spare_mut()[..bytes.len()].copy_from_slice(bytes);
        self.block_mut().end += bytes.len();
    }

    /// The last read left no room: there is probably more to come.
    pub(crate) fn was_full(&self) -> bool {
        self.block().was_full
    }

    /// Forgets all bytes.
    pub(crate) fn clear(&mut self) {
        self.clear_with_front(0);
    }

    /// Empty, with `room` bytes left free in front for [`prepend`](Self::prepend).
    pub(crate) fn clear_with_front(&mut self, room: usize) {
        let block = self.block_mut();
        block.start = room.min(block.memory.len());
        block.end = block.start;
    }

    /// Keeps only `from..to` of the filled bytes.
    pub(crate) fn narrow(&mut self, from: usize, to: usize) {
        let len = self.len();
        let (from, to) = (from.min(len), to.min(len));
        let block = self.block_mut();
        block.end = block.start + to.max(from);
        block.start += from;
    }

    /// Puts bytes in front of the filled ones, over what was consumed there; without enough room in front all moves.
    pub(crate) fn prepend(&mut self, bytes: &[u8]) {
        if self.start() < bytes.len() {
            self.make_front(bytes.len());
        }
        let block = self.block_mut();
        let start = block.start - bytes.len();
        block.memory[start..block.start].copy_from_slice(bytes);
        block.start = start;
    }

    fn make_front(&mut self, room: usize) {
        let len = self.len();
        self.compact();
        self.grow(len + room);
        let block = self.block_mut();
        block.memory.copy_within(..len, room);
        (block.start, block.end) = (room, room + len);
    }

    /// Shows `start..end` of the block again; both were this buffer's cursors before.
    pub(crate) fn rewind(&mut self, start: usize, end: usize) {
        let block = self.block_mut();
        debug_assert!(start <= end && end <= block.memory.len());
        block.start = start.min(end);
        block.end = end.min(block.memory.len());
    }

    /// Moves the filled bytes to the front of the block, to make room behind them.
    pub(crate) fn compact(&mut self) {
        let block = self.block_mut();
        block.memory.copy_within(block.start..block.end, 0);
        block.end -= block.start;
        block.start = 0;
    }

    /// Makes room for at least one more byte to be read, by moving and then by growing, up to `at_most` bytes in all.
    /// `false` when the buffer is full at that size.
    pub(crate) fn make_room(&mut self, at_most: usize) -> bool {
        if self.spare() == 0 && self.start() > 0 {
            self.compact();
        }
        if self.spare() == 0 && self.len() < at_most {
            self.grow((2 * self.capacity()).min(at_most + TAIL_BYTES));
        }
        self.spare() > 0
    }

    /// Takes the buffer out of its place to lend it to the kernel; nobody may look at that place until it is back.
    pub(super) fn lend(&mut self) -> Buf {
        Buf { block: self.block.take() }
    }

    /// Makes the block at least `capacity` bytes large; what is filled stays.
    pub(crate) fn grow(&mut self, capacity: usize) {
        if capacity <= self.capacity() {
            return;
        }
        let pool = self.block().pool.clone();
        let mut larger = Block::new(capacity);
        larger.memory[..self.len()].copy_from_slice(self.filled());
        larger.end = self.len();
        larger.pool = pool;
        // The smaller block goes back to the pool.
        *self = Buf { block: Some(Box::new(larger)) };
    }
}

impl Block {
    fn new(capacity: usize) -> Self {
        let memory = vec![0; capacity].into_boxed_slice();
        Self { memory, start: 0, end: 0, was_full: false, pool: None }
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        if let Some(mut block) = self.block.take()
            && let Some(pool) = block.pool.take()
        {
            pool.give_back(block);
        }
    }
}

// SAFETY: the memory is on the heap and stays where it is while the `Buf` moves; `start..end` is always inside it and
// initialised (memory is made zeroed).
unsafe impl IoBuf for Buf {
    fn read_ptr(&self) -> *const u8 {
        self.filled().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: as above; the writable part is `end..capacity`, and `set_init` gets the number of bytes written there.
unsafe impl IoBufMut for Buf {
    fn write_ptr(&mut self) -> *mut u8 {
        self.spare_mut().as_mut_ptr()
    }

    fn bytes_total(&mut self) -> usize {
        self.spare()
    }

    unsafe fn set_init(&mut self, n: usize) {
        self.fill(n);
        self.block_mut().was_full = self.spare() == 0;
    }
}

/// Free blocks of one worker.
struct Free {
    small: Spares<Box<Block>>,
    bulk: Spares<Box<Block>>,
}

impl Default for Free {
    fn default() -> Self {
        Self { small: Spares::new(POOLED_BUFS), bulk: Spares::new(POOLED_BULK_BUFS) }
    }
}

impl Free {
    fn give_back(&self, block: Box<Block>) {
        match block.memory.len() {
            BUF_BYTES => self.small.put(block),
            BULK_BYTES => self.bulk.put(block),
            // It was made for a head that outgrew its buffer: not worth keeping.
            _ => {}
        }
    }
}

/// A worker's pool. Buffers come back to it when they are dropped, from wherever they are.
#[derive(Clone, Default)]
pub(crate) struct BufPool(Rc<Free>);

impl BufPool {
    /// An empty buffer of [`BUF_BYTES`].
    pub(crate) fn take(&self) -> Buf {
        self.buf(self.0.small.take(), BUF_BYTES)
    }

    /// An empty buffer of [`BULK_BYTES`].
    pub(crate) fn take_bulk(&self) -> Buf {
        self.buf(self.0.bulk.take(), BULK_BYTES)
    }

    /// An empty buffer that is not pooled. For what is kept for good: among the others it would keep the pages of its
    /// neighbours, which come and go.
    pub(crate) fn apart(&self, capacity: usize) -> Buf {
        self.buf(None, capacity)
    }

    /// Drops the free buffers that were not needed since the last time, and says how many that were.
    pub(crate) fn age(&self) -> usize {
        self.0.small.age() + self.0.bulk.age()
    }

    fn buf(&self, free: Option<Box<Block>>, capacity: usize) -> Buf {
        let mut block = free.unwrap_or_else(|| Box::new(Block::new(capacity)));
        (block.start, block.end, block.was_full) = (0, 0, false);
        block.pool = Some(self.0.clone());
        Buf { block: Some(block) }
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
        let at = first.block().memory.as_ptr();
        drop(first);
        assert_eq!(pool.take().block().memory.as_ptr(), at);
    }
}
