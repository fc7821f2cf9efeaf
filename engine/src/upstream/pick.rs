//! Choosing a backend: in turn.

use super::{Endpoint, Upstream};

impl Upstream {
    /// All endpoints once, beginning with the one whose turn it is: the rest are for when it cannot be connected to.
    pub(crate) fn in_turn(&self) -> impl Iterator<Item = &Endpoint> {
        let count = self.endpoints.len();
        let first = if self.next.get() < count { self.next.get() } else { 0 };
        self.next.set(first + 1);
        let (before, from) = self.endpoints.split_at(first);
        from.iter().chain(before)
    }
}
