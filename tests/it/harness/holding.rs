//! A backend that holds each request until it is told to answer: what runs at one time is then what the test says.

use super::backend::{Backend, Request};
use super::backends::response;
use super::{DEADLINE, wait_until};
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Answers a request each time it is told to, the oldest first.
pub struct Holding {
    backend: Backend,
    held: Arc<Held>,
}

#[derive(Default)]
struct Held {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    came: usize,
    may_go: usize,
    gone: usize,
    most: usize,
}

impl Held {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the request that comes now may be answered.
    fn hold(&self) {
        let mut state = self.state();
        let number = state.came;
        state.came += 1;
        state.most = state.most.max(state.came - state.gone);
        let waited = self.changed.wait_timeout_while(state, DEADLINE, |state| state.may_go <= number);
        let (mut state, result) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!result.timed_out(), "a request was held and never released");
        // Before the answer is written: the proxy may send the next request as soon as it has seen it.
        state.gone += 1;
    }

    fn release(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }
}

impl Holding {
    /// Answers with `text`.
    pub fn says(text: &str) -> Self {
        let text = text.to_owned();
        Holding::answers(move |_| response("200 OK", "", text.as_bytes()))
    }

    /// Answers with what `answer` makes of a request.
    pub fn answers(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let held = Arc::new(Held::default());
        let holds = held.clone();
        let backend = Backend::answers(move |request| {
            holds.hold();
            answer(request)
        });
        Holding { backend, held }
    }

    /// Lets `count` more requests be answered, those that are there and those that come.
    pub fn release(&self, count: usize) {
        self.held.release(|state| state.may_go = state.may_go.saturating_add(count));
    }

    /// Every request is answered from now on.
    pub fn release_all(&self) {
        self.held.release(|state| state.may_go = usize::MAX);
    }

    /// Requests that are held now.
    pub fn holds(&self) -> usize {
        let state = self.held.state();
        state.came - state.gone
    }

    /// The most that were held at one time.
    pub fn held_at_most(&self) -> usize {
        self.held.state().most
    }

    /// Waits until `count` requests are held.
    pub fn wait_until_it_holds(&self, count: usize) {
        wait_until(&format!("the backend holds {count} requests"), || self.holds() == count);
    }
}

impl Deref for Holding {
    type Target = Backend;

    fn deref(&self) -> &Backend {
        &self.backend
    }
}

impl Drop for Holding {
    /// Its threads must not wait for a release that does not come.
    fn drop(&mut self) {
        self.release_all();
    }
}
