//! What went to a backend behind the first buffer, kept so that it can be sent to another one.

use std::cell::{Cell, RefCell};

/// How much of a body is kept, in bytes.
const REPLAY_BYTES: usize = 64 * 1024;
/// Room for the framing of what is kept, in bytes: a body that comes in tiny pieces may not fit.
const FRAMING_BYTES: usize = 16 * 1024;

/// What was sent behind the first buffer, over all attempts at one request.
pub(crate) struct Replay {
    kept: RefCell<Vec<u8>>,
    /// Something was sent, or read for nothing, that is not kept.
    lost: Cell<bool>,
    wanted: bool,
}

impl Replay {
    /// Keeps what is sent when that is `wanted`, which it is for a request that may be sent again.
    pub(crate) fn new(wanted: bool) -> Self {
        Self { kept: RefCell::default(), lost: Cell::new(false), wanted }
    }

    /// All that went behind the first buffer is here.
    pub(crate) fn is_whole(&self) -> bool {
        !self.lost.get()
    }

    /// Nothing went behind the first buffer.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.borrow().is_empty()
    }

    /// Keeps what is about to be sent, as long as there is room.
    pub(super) fn keep(&self, bytes: &[u8]) {
        let mut kept = self.kept.borrow_mut();
        if !self.wanted || kept.len() + bytes.len() > REPLAY_BYTES + FRAMING_BYTES {
            drop(kept);
            self.lose();
        } else if self.is_whole() {
            kept.extend_from_slice(bytes);
        }
    }

    /// The request cannot be sent again.
    pub(super) fn lose(&self) {
        self.lost.set(true);
        *self.kept.borrow_mut() = Vec::new();
    }

    /// The kept bytes from `at` on, at most `count` of them, by `give`.
    pub(super) fn give(&self, at: usize, count: usize, give: impl FnOnce(&[u8])) {
        let kept = self.kept.borrow();
        let from = kept.get(at..).unwrap_or_default();
        give(from.get(..count).unwrap_or(from));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(replay: &Replay) -> Vec<u8> {
        let mut found = Vec::new();
        replay.give(0, usize::MAX, |bytes| found.extend_from_slice(bytes));
        found
    }

    #[test]
    fn what_was_sent_is_kept_as_long_as_there_is_room() {
        let replay = Replay::new(true);
        assert!(replay.is_whole() && replay.is_empty());
        replay.keep(b"one");
        replay.keep(b"two");
        assert_eq!((all(&replay), replay.is_whole()), (b"onetwo".to_vec(), true));
        replay.give(3, 2, |bytes| assert_eq!(bytes, b"tw"));
        replay.give(7, 2, |bytes| assert_eq!(bytes, b""));
        replay.keep(&vec![0; REPLAY_BYTES + FRAMING_BYTES - 6]);
        assert!(replay.is_whole());
        replay.keep(b"x");
        assert!(!replay.is_whole() && replay.is_empty());
        replay.keep(b"y");
        assert!(replay.is_empty(), "what comes behind a gap is of no use");
    }

    #[test]
    fn what_may_not_be_sent_again_is_not_kept() {
        let replay = Replay::new(false);
        assert!(replay.is_whole());
        replay.keep(b"x");
        assert!(!replay.is_whole() && replay.is_empty());
    }
}
