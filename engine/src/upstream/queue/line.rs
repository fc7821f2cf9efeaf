//! A line of those who wait for something to happen: for a backend to come back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use ringway_config::Admission;

use super::Tally;
use super::fifo::Fifo;
use crate::error::Error;

/// A bounded line. Who stands in it looks, when called, whether what it waits for has happened, and keeps its place until it
/// leaves: so nobody who came later is called before it, and it never finds the line full.
///
/// A call is never lost: it is noted at every place there is, asleep or not. So join first, then look, then wait.
#[derive(Debug)]
pub(crate) struct Line {
    waiters: Mutex<Waiters>,
    pub(super) tally: Tally,
}

#[derive(Debug)]
struct Waiters {
    fifo: Fifo,
    max_queued: usize,
}

impl Default for Line {
    fn default() -> Self {
        let max_queued = Admission::default().max_queued as usize;
        Self { waiters: Mutex::new(Waiters { fifo: Fifo::default(), max_queued }), tally: Tally::default() }
    }
}

impl Line {
    /// Sets how many may wait. Nobody who waits is sent away.
    pub(crate) fn limit(&self, max_queued: u32) {
        self.lock().max_queued = max_queued as usize;
    }

    /// Calls all who wait, in their order; from any thread.
    pub(crate) fn call_all(&self) {
        let wakers = self.lock().fifo.call_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Requests that wait.
    pub(crate) fn waiting(&self) -> u32 {
        self.lock().fifo.len() as u32
    }

    /// Joins at the end. What is waited for may have happened at this moment: look again before waiting.
    ///
    /// # Errors
    /// `QueueFull`.
    pub(crate) fn join(self: &Arc<Self>) -> Result<Place, Error> {
        let mut waiters = self.lock();
        if waiters.fifo.len() >= waiters.max_queued {
            self.tally.count_full();
            return Err(Error::QueueFull);
        }
        self.tally.count_queued();
        Ok(Place { key: waiters.fifo.join(), line: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a line. Dropped, it is left.
#[derive(Debug)]
pub(crate) struct Place {
    pub(super) line: Arc<Line>,
    key: usize,
}

impl Place {
    /// Ready when it was called since it was ready last, or since it joined.
    pub(crate) fn poll_called(&self, cx: &Context<'_>) -> Poll<()> {
        let fifo = &mut self.line.lock().fifo;
        let called = fifo.poll_called(self.key, cx);
        if called.is_ready() {
            fifo.answer(self.key);
        }
        called
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Its waker is dropped after the lock was given back.
        let _left = self.line.lock().fifo.leave(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Wake;

    fn line(max_queued: u32) -> Arc<Line> {
        let line = Arc::new(Line::default());
        line.limit(max_queued);
        line
    }

    fn is_called(place: &Place) -> bool {
        place.poll_called(&Context::from_waker(Waker::noop())).is_ready()
    }

    /// Notes its number when it is woken.
    struct Named(usize, Arc<Mutex<Vec<usize>>>);

    impl Wake for Named {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    #[test]
    fn a_call_between_joining_and_waiting_is_not_lost() {
        let line = line(2);
        let place = line.join().unwrap();
        line.call_all();
        line.call_all();
        assert!(is_called(&place));
        // Each call is answered once; two at a time are one.
        assert!(!is_called(&place));
        assert!(!is_called(&line.join().unwrap()));
    }

    #[test]
    fn all_are_woken_in_their_order_and_stay() {
        let line = line(9);
        let mut places: Vec<_> = (0..5).map(|_| line.join().unwrap()).collect();
        // A place that is used again does not bring its number along.
        drop(places.remove(1));
        places.push(line.join().unwrap());
        let woken = Arc::default();
        for (number, place) in places.iter().enumerate() {
            let waker = Arc::new(Named(number, Arc::clone(&woken))).into();
            assert!(place.poll_called(&Context::from_waker(&waker)).is_pending());
        }
        line.call_all();
        assert_eq!(*woken.lock().unwrap(), [0, 1, 2, 3, 4]);
        assert!(places.iter().all(is_called));
        assert_eq!(line.waiting(), 5);
        drop(places);
        assert_eq!(line.waiting(), 0);
    }

    #[test]
    fn a_full_line_refuses_and_a_shorter_one_keeps_who_waits() {
        let line = line(2);
        let places = [line.join().unwrap(), line.join().unwrap()];
        assert_eq!(line.join().err(), Some(Error::QueueFull));
        line.limit(1);
        assert_eq!(line.waiting(), 2);
        let [place, _other] = places;
        drop(place);
        assert_eq!(line.join().err(), Some(Error::QueueFull));
        let totals = line.tally.totals();
        assert_eq!((totals.queued, totals.full), (2, 2));
    }
}
