//! What a worker keeps for reuse, and how it gets less again after a peak.

use std::cell::{Cell, RefCell};

/// Free things of one kind, for whoever needs one next. The last that came goes first: the processor's cache knows it.
pub(crate) struct Spares<T> {
    free: RefCell<Vec<T>>,
    at_most: usize,
    /// How few there were at any moment since the last [`age`](Self::age): so many were not needed in all that time.
    fewest: Cell<usize>,
}

impl<T> Spares<T> {
    /// Room for `at_most`.
    pub(crate) const fn new(at_most: usize) -> Self {
        Self { free: RefCell::new(Vec::new()), at_most, fewest: Cell::new(0) }
    }

    pub(crate) fn take(&self) -> Option<T> {
        let mut free = self.free.borrow_mut();
        let taken = free.pop();
        self.fewest.set(self.fewest.get().min(free.len()));
        taken
    }

    /// Keeps it, unless there are enough.
    pub(crate) fn put(&self, spare: T) {
        let mut free = self.free.borrow_mut();
        if free.len() < self.at_most {
            free.push(spare);
        }
    }

    /// Drops what was not needed since the last time, and says how many that were.
    pub(crate) fn age(&self) -> usize {
        let mut free = self.free.borrow_mut();
        // Those at the front have been here for longest.
        let unneeded = self.fewest.get().min(free.len());
        free.drain(..unneeded);
        self.fewest.set(free.len());
        if free.is_empty() {
            *free = Vec::new();
        }
        unneeded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_period_did_not_need_goes() {
        let spares = Spares::new(4);
        (0..6).for_each(|spare| spares.put(spare));
        // They came in this period.
        spares.age();
        assert_eq!((spares.take(), spares.take()), (Some(3), Some(2)));
        spares.put(2);
        spares.put(3);
        spares.age();
        assert_eq!(*spares.free.borrow(), [2, 3]);
        spares.age();
        assert_eq!(spares.take(), None);
    }
}
