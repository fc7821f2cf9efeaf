//! Tasks: spawning so that a panic ends one task and not its worker, ending an operation that is pending, giving way to the
//! neighbours, and waiting for two things at once.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use monoio::io::{CancelHandle, Canceller};

/// Runs a future as a task of this worker. A panic in it is reported to `on_panic` and goes no further.
pub(crate) fn spawn(future: impl Future<Output = ()> + 'static, on_panic: impl FnOnce() + 'static) {
    // The task goes on without its handle.
    #[expect(clippy::disallowed_methods, reason = "here its panics are caught")]
    drop(monoio::spawn(Caught { future, on_panic: Some(on_panic) }));
}

/// A future whose panics end it. A struct and not an async block, which would keep room for the future twice.
struct Caught<F, P> {
    future: F,
    on_panic: Option<P>,
}

impl<F: Future<Output = ()>, P: FnOnce()> Future for Caught<F, P> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // SAFETY: `future` is pinned with the struct and never moved out of it; `on_panic` is not pinned.
        let (future, on_panic) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.future), &mut this.on_panic)
        };
        // What a panic leaves behind belongs to the task that ends with it: workers hold no borrow across an await.
        match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(poll) => poll,
            Err(_) => {
                if let Some(on_panic) = on_panic.take() {
                    on_panic();
                }
                Poll::Ready(())
            }
        }
    }
}

/// Waits, coarsely; for rare waits only (a timer of its own each time).
#[expect(clippy::disallowed_methods, reason = "the rare waits")]
pub(crate) async fn sleep(duration: Duration) {
    monoio::time::sleep(duration).await;
}

/// Ends an operation that is pending, from outside it. The operation must be awaited after that: it says whether it was
/// quicker, and a dropped one loses bytes, or a connection.
#[derive(Default)]
pub(crate) struct Stop {
    /// Made for the first operation, because most have none.
    canceller: RefCell<Option<Canceller>>,
}

impl Stop {
    /// Ends what is pending; the next operation is not touched.
    pub(crate) fn stop(&self) {
        let pending = self.canceller.take();
        self.canceller.replace(pending.map(Canceller::cancel));
    }

    pub(super) fn handle(&self) -> CancelHandle {
        self.canceller.borrow_mut().get_or_insert_default().handle()
    }
}

/// How many bytes a task may move before it must let others run.
const BYTES_PER_TURN: u32 = 256 * 1024;
/// What a request costs of a turn, in bytes: so that one who pipelines without end gives way too.
const REQUEST_COST_BYTES: u32 = 16 * 1024;

/// Gives way. A task that wakes itself while it runs goes to the *front* of monoio's queue, so it is woken by another
/// task, which puts it behind everyone who is ready now; the runtime looks at its sockets between the rounds.
#[derive(Default)]
pub(crate) struct Turns {
    waiting: RefCell<Vec<Waker>>,
    usher: RefCell<Option<Waker>>,
}

impl Turns {
    /// The task that wakes those who gave way. Never ends.
    pub(crate) async fn usher(self: Rc<Self>) {
        poll_fn(|cx| {
            *self.usher.borrow_mut() = Some(cx.waker().clone());
            let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
            waiting.into_iter().for_each(Waker::wake);
            Poll::<()>::Pending
        })
        .await;
    }

    async fn give_way(&self) {
        let mut gave_way = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut gave_way, true) {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(cx.waker().clone());
            if let Some(usher) = &*self.usher.borrow() {
                usher.wake_by_ref();
            }
            Poll::Pending
        })
        .await;
    }
}

/// One connection's share of a turn.
pub(crate) struct Budget {
    left_bytes: Cell<u32>,
}

impl Budget {
    /// A whole turn.
    pub(crate) fn new() -> Self {
        Self { left_bytes: Cell::new(BYTES_PER_TURN) }
    }

    /// Counts bytes that were moved; gives way when the turn is used up.
    pub(crate) async fn spend(&self, turns: &Turns, bytes: usize) {
        let left = self.left_bytes.get().saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.left_bytes.set(left);
        if left == 0 {
            turns.give_way().await;
            self.left_bytes.set(BYTES_PER_TURN);
        }
    }

    /// Counts a request.
    pub(crate) async fn spend_request(&self, turns: &Turns) {
        self.spend(turns, REQUEST_COST_BYTES as usize).await;
    }
}

/// Runs two futures at once until both are done.
pub(crate) async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut first, mut second) = (None, None);
    poll_fn(|cx| {
        poll_into(&mut first, cx, |cx| a.as_mut().poll(cx));
        poll_into(&mut second, cx, |cx| b.as_mut().poll(cx));
        match (first.take(), second.take()) {
            (Some(one), Some(two)) => Poll::Ready((one, two)),
            (one, two) => {
                (first, second) = (one, two);
                Poll::Pending
            }
        }
    })
    .await
}

fn poll_into<T>(slot: &mut Option<T>, cx: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) {
    if slot.is_none()
        && let Poll::Ready(value) = poll(cx)
    {
        *slot = Some(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll_once<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_spent_turn_gives_way_once() {
        let turns = Turns::default();
        let budget = Budget::new();
        assert!(poll_once(pin!(budget.spend(&turns, 1000))).is_ready());
        let mut spend = pin!(budget.spend(&turns, BYTES_PER_TURN as usize));
        assert!(poll_once(spend.as_mut()).is_pending());
        assert_eq!(turns.waiting.borrow().len(), 1);
        assert!(poll_once(spend.as_mut()).is_ready());
    }

    #[test]
    fn a_panic_ends_its_task_alone() {
        struct Witness(Rc<Cell<bool>>);
        impl Drop for Witness {
            fn drop(&mut self) {
                self.0.set(std::thread::panicking());
            }
        }
        let (seen, after) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
        let (reported, went_on) = (seen.clone(), after.clone());
        let told = Rc::new(Cell::new(false));
        let witness = Witness(told.clone());
        let main = async move {
            let panics = async move {
                let _kept = &witness;
                panic!("on purpose")
            };
            spawn(panics, move || reported.set(true));
            spawn(async move { went_on.set(true) }, || {});
            sleep(Duration::from_millis(1)).await;
        };
        crate::net::driver::run(crate::net::driver::Driver::Epoll, main).unwrap();
        assert!(seen.get() && after.get());
        // What a task keeps is dropped on its way out and can tell: connections count their panics so.
        assert!(told.get());
    }

    #[test]
    fn both_waits_for_the_slower() {
        let mut polls = 0;
        let slow = poll_fn(|_| {
            polls += 1;
            if polls == 3 { Poll::Ready("slow") } else { Poll::Pending }
        });
        let mut both = pin!(both(async { "quick" }, slow));
        assert!(poll_once(both.as_mut()).is_pending());
        assert!(poll_once(both.as_mut()).is_pending());
        assert!(matches!(poll_once(both.as_mut()), Poll::Ready(("quick", "slow"))));
    }
}
