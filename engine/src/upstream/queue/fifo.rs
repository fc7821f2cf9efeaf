//! First come, first served: who stands in a line, in which order, and who was called. It knows no limits; its owner locks it,
//! and wakes the wakers that it hands out only after that, because waking is somebody else's code.
//!
//! The places are linked within a slab: joining and leaving cost the same wherever one stands and however long the line is, and
//! nothing is left behind.

use std::task::{Context, Poll, Waker};

use slab::Slab;

/// Ends the links.
const NONE: usize = usize::MAX;
/// Room that is kept for places when the line is empty.
const SPARE_PLACES: usize = 64;

/// A line. Places that were called out of it stay known until they are left.
#[derive(Debug)]
pub(super) struct Fifo {
    places: Slab<Standing>,
    first: usize,
    last: usize,
    waiting: usize,
}

/// One who waits, or was called.
#[derive(Debug)]
pub(super) struct Standing {
    before: usize,
    behind: usize,
    in_line: bool,
    called: bool,
    /// To be woken with the call; none before the first poll.
    waker: Option<Waker>,
}

impl Standing {
    /// It was called.
    pub(super) fn was_called(&self) -> bool {
        self.called
    }
}

impl Default for Fifo {
    fn default() -> Self {
        Self { places: Slab::new(), first: NONE, last: NONE, waiting: 0 }
    }
}

impl Fifo {
    /// How many stand in the line.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Nobody stands in the line.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Joins at the end. The place must be [left](Self::leave).
    pub(super) fn join(&mut self) -> usize {
        let place = Standing { before: self.last, behind: NONE, in_line: true, called: false, waker: None };
        let key = self.places.insert(place);
        match self.last {
            NONE => self.first = key,
            last => self.places[last].behind = key,
        }
        self.last = key;
        self.waiting += 1;
        key
    }

    /// Calls the first out of the line. Gives what wakes it, if it sleeps.
    pub(super) fn call_first(&mut self) -> Option<Waker> {
        if self.is_empty() {
            return None;
        }
        let key = self.first;
        self.unlink(key);
        self.call(key)
    }

    /// Calls all; they stay in the line. Gives what wakes those that sleep, in order.
    pub(super) fn call_all(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        let mut key = self.first;
        while key != NONE {
            wakers.extend(self.call(key));
            key = self.places[key].behind;
        }
        wakers
    }

    fn call(&mut self, key: usize) -> Option<Waker> {
        let place = &mut self.places[key];
        place.called = true;
        place.waker.take()
    }

    /// Whether a place was called.
    pub(super) fn was_called(&self, key: usize) -> bool {
        self.places[key].called
    }

    /// Whether a place was called; if it was not, `cx` is woken when it is.
    pub(super) fn poll_called(&mut self, key: usize, cx: &Context<'_>) -> Poll<()> {
        let place = &mut self.places[key];
        if place.called {
            return Poll::Ready(());
        }
        match &mut place.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Lets a place wait for its next call.
    pub(super) fn answer(&mut self, key: usize) {
        self.places[key].called = false;
    }

    /// Gives a place up.
    pub(super) fn leave(&mut self, key: usize) -> Standing {
        if self.places[key].in_line {
            self.unlink(key);
        }
        let left = self.places.remove(key);
        if self.places.is_empty() && self.places.capacity() > SPARE_PLACES {
            self.places = Slab::new();
        }
        left
    }

    fn unlink(&mut self, key: usize) {
        let place = &mut self.places[key];
        let (before, behind) = (place.before, place.behind);
        place.in_line = false;
        match before {
            NONE => self.first = behind,
            before => self.places[before].behind = behind,
        }
        match behind {
            NONE => self.last = before,
            behind => self.places[behind].before = before,
        }
        self.waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    const SEED: u64 = 7;
    const STEPS: usize = 20_000;

    #[test]
    fn it_does_what_a_plain_queue_does() {
        let mut rng = fastrand::Rng::with_seed(SEED);
        let mut fifo = Fifo::default();
        let (mut waiting, mut called) = (VecDeque::new(), Vec::new());
        for _ in 0..STEPS {
            match rng.u32(..5) {
                0 | 1 => waiting.push_back(fifo.join()),
                2 => {
                    fifo.call_first();
                    called.extend(waiting.pop_front());
                }
                3 if !waiting.is_empty() => {
                    let key = waiting.remove(rng.usize(..waiting.len())).unwrap();
                    assert!(!fifo.leave(key).was_called());
                }
                _ if !called.is_empty() => {
                    let key = called.swap_remove(rng.usize(..called.len()));
                    assert!(fifo.leave(key).was_called());
                }
                _ => {}
            }
            assert_eq!(fifo.len(), waiting.len());
            assert!(called.iter().all(|key| fifo.was_called(*key)));
            assert!(waiting.front().is_none_or(|key| !fifo.was_called(*key)));
            assert_eq!(order(&fifo), waiting);
        }
    }

    fn order(fifo: &Fifo) -> VecDeque<usize> {
        let next = |key: &usize| Some(fifo.places.get(*key)?.behind);
        std::iter::successors(Some(fifo.first), next).take_while(|key| *key != NONE).collect()
    }

    #[test]
    fn a_long_line_leaves_no_room_behind() {
        let mut fifo = Fifo::default();
        let keys: Vec<_> = (0..100 * SPARE_PLACES).map(|_| fifo.join()).collect();
        keys.into_iter().for_each(|key| drop(fifo.leave(key)));
        assert!(fifo.is_empty() && fifo.places.capacity() <= SPARE_PLACES);
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_place_is_small() {
        assert_eq!(size_of::<Standing>(), 40);
    }
}
