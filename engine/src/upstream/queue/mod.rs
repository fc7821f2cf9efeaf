//! Who may come in, and who waits, over all workers.
//!
//! * `fifo`: first come, first served, and nothing else.
//! * `gate`: `max_active` exchanges, and the line before it.
//! * `line`: those who wait for a backend to come back.
//!
//! Those are pure: they can be driven without a runtime. Here is the waiting itself, which ends with a call (from any thread),
//! with its time, or with its client; the last two are noticed by the patrol of [`clients`](crate::clients), once a tick, so
//! that one who waits has no timer and no operation of its own.

mod fifo;
mod gate;
mod line;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

pub(crate) use gate::Gate;
#[cfg(test)]
pub(crate) use gate::Ticket;
pub(crate) use line::{Line, Place};

use crate::clients::Registration;
use crate::conn::Client;
use crate::error::Error;
use crate::net::patrol::Look;
use crate::worker::Worker;

impl Gate {
    /// Waits for a place, which is the caller's then; it must [`leave`](Self::leave).
    ///
    /// # Errors
    /// `QueueFull`, `QueueTimeout`, or `ClientGone`; no place is taken then.
    #[cold]
    pub(crate) async fn wait(
        self: &Arc<Self>,
        worker: &Worker,
        client: &Client,
        look: Look,
    ) -> Result<(), Error> {
        self.wait_for(&client.registration, worker.wheel.now(), look).await
    }

    async fn wait_for(self: &Arc<Self>, client: &Registration, now: u64, look: Look) -> Result<(), Error> {
        let ticket = self.join()?;
        let granted = |cx: &mut Context<'_>| ticket.poll_granted(cx);
        let waited = stand(client, now, look, ticket.timeout(), granted).await;
        waited.inspect_err(|error| self.tally.count_end(*error))?;
        let entered = ticket.enter();
        debug_assert!(entered, "a place that was granted stays so");
        Ok(())
    }

    /// What became of those who had to wait, since the start.
    pub(crate) fn totals(&self) -> Totals {
        self.tally.totals()
    }
}

impl Line {
    /// What became of those who had to wait, since the start.
    pub(crate) fn totals(&self) -> Totals {
        self.tally.totals()
    }
}

impl Place {
    /// Waits to be called, for `at_most`; not at all, when it was called since it joined or waited last.
    ///
    /// # Errors
    /// `QueueTimeout` or `ClientGone`.
    #[cold]
    pub(crate) async fn wait(
        &self,
        worker: &Worker,
        client: &Client,
        look: Look,
        at_most: Duration,
    ) -> Result<(), Error> {
        self.wait_for(&client.registration, worker.wheel.now(), look, at_most).await
    }

    async fn wait_for(
        &self,
        client: &Registration,
        now: u64,
        look: Look,
        at_most: Duration,
    ) -> Result<(), Error> {
        let waited = stand(client, now, look, at_most, |cx| self.poll_called(cx)).await;
        waited.inspect_err(|error| self.line.tally.count_end(*error))
    }
}

/// Waits until `called`, or until `client` has gone or `at_most` has passed.
pub(crate) async fn stand<T>(
    client: &Registration,
    now: u64,
    look: Look,
    at_most: Duration,
    mut called: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Result<T, Error> {
    let in_line = client.in_line(look, now, at_most);
    // Both are asked each time, so that each wakes this task. Who is called and gone at once does not come in.
    poll_fn(|cx| match in_line.poll_ended(cx) {
        Poll::Ready(error) => Poll::Ready(Err(error)),
        Poll::Pending => called(cx).map(Ok),
    })
    .await
}

/// What became of those who had to wait, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// They waited.
    pub(crate) queued: u64,
    /// They found the line full.
    pub(crate) full: u64,
    /// They waited too long.
    pub(crate) timed_out: u64,
}

/// Counts them; only those who had to wait, or could not, pass here.
#[derive(Debug, Default)]
struct Tally {
    queued: AtomicU64,
    full: AtomicU64,
    timed_out: AtomicU64,
}

impl Tally {
    fn count_queued(&self) {
        self.queued.fetch_add(1, Relaxed);
    }

    fn count_full(&self) {
        self.full.fetch_add(1, Relaxed);
    }

    fn count_end(&self, error: Error) {
        if error == Error::QueueTimeout {
            self.timed_out.fetch_add(1, Relaxed);
        }
    }

    fn totals(&self) -> Totals {
        Totals {
            queued: self.queued.load(Relaxed),
            full: self.full.load(Relaxed),
            timed_out: self.timed_out.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod stress;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::pin::{Pin, pin};
    use std::rc::Rc;
    use std::sync::mpsc;
    use std::task::Waker;
    use std::thread;

    use ringway_config::{Admission, DriverChoice};

    use crate::clients::Clients;
    use crate::listener::Listener;
    use crate::net::driver::{self, Driver};
    use crate::net::task;

    /// A wake that is lost would never end a test.
    const DEADLINE: Duration = Duration::from_secs(60);
    const TICK: Duration = Duration::from_millis(5);

    /// A client, the far end of its connection, and the worker's clients.
    struct Setting {
        clients: Rc<Clients>,
        client: Registration,
        _here: UnixStream,
        there: UnixStream,
    }

    impl Setting {
        fn new() -> Self {
            let (here, there) = UnixStream::pair().unwrap();
            let clients = Rc::<Clients>::default();
            let client = Clients::register(here.as_raw_fd(), Listener::new("one".into(), clients.clone()));
            Self { clients, client, _here: here, there }
        }

        /// Ticks without end.
        fn tick(&self) {
            let clients = self.clients.clone();
            let ticks = async move {
                for now in 1.. {
                    task::sleep(TICK).await;
                    clients.patrol(now);
                }
            };
            task::spawn(ticks, || {});
        }
    }

    /// A gate for one, with one within.
    fn held(queue_timeout: Duration) -> Arc<Gate> {
        let gate = Arc::new(Gate::default());
        gate.limit(&Admission { max_active: 1, max_queued: 9, queue_timeout, ..Admission::default() });
        assert!(gate.try_enter());
        gate
    }

    /// Runs it on a worker's loop, with each driver that can be had here.
    fn on_each_driver<F: Future<Output = ()> + 'static>(main: fn() -> F) {
        let best = driver::choose(DriverChoice::Auto).unwrap().0;
        for driver in [Driver::Epoll, best] {
            let (done, hears) = mpsc::channel();
            thread::spawn(move || {
                driver::run(driver, main()).unwrap();
                done.send(()).unwrap();
            });
            hears.recv_timeout(DEADLINE).expect("it comes to its end");
        }
    }

    fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_place_that_another_thread_gives_back_ends_the_wait() {
        on_each_driver(|| async {
            let setting = Setting::new();
            let gate = held(DEADLINE);
            let theirs = gate.clone();
            // Nothing else wakes this loop: it has no tick.
            let leaves = thread::spawn(move || {
                while theirs.waiting() == 0 {
                    thread::yield_now();
                }
                theirs.leave();
            });
            assert_eq!(gate.wait_for(&setting.client, 0, Look::PeerClosed).await, Ok(()));
            assert_eq!((gate.running(), gate.waiting()), (1, 0));
            leaves.join().unwrap();
        });
    }

    #[test]
    fn a_call_from_another_thread_ends_the_wait() {
        on_each_driver(|| async {
            let setting = Setting::new();
            let line = Arc::new(Line::default());
            let place = line.join().unwrap();
            for _ in 0..100 {
                let theirs = line.clone();
                let calls = thread::spawn(move || theirs.call_all());
                assert_eq!(place.wait_for(&setting.client, 0, Look::PeerClosed, DEADLINE).await, Ok(()));
                calls.join().unwrap();
            }
        });
    }

    #[test]
    fn time_ends_the_wait() {
        on_each_driver(|| async {
            let setting = Setting::new();
            let gate = held(Duration::from_millis(1));
            setting.tick();
            let waited = gate.wait_for(&setting.client, 0, Look::PeerClosed).await;
            assert_eq!(waited, Err(Error::QueueTimeout));
            assert_eq!((gate.running(), gate.waiting(), gate.totals().timed_out), (1, 0, 1));
        });
    }

    #[test]
    fn a_client_that_goes_ends_the_wait() {
        on_each_driver(|| async {
            let Setting { clients, client, _here, there } = &mut Setting::new();
            let gate = held(DEADLINE);
            let ticks = async {
                drop(std::mem::replace(there, UnixStream::pair().unwrap().0));
                (1..3).for_each(|now| clients.patrol(now));
            };
            let (waited, ()) = task::both(gate.wait_for(client, 0, Look::PeerClosed), ticks).await;
            assert_eq!(waited, Err(Error::ClientGone));
            assert!(client.gone());
            let totals = Totals { queued: 1, full: 0, timed_out: 0 };
            assert_eq!((gate.running(), gate.waiting(), gate.totals()), (1, 0, totals));
        });
    }

    #[test]
    fn a_wait_that_is_dropped_leaves_nothing() {
        let (first, second) = (Setting::new(), Setting::new());
        let gate = held(DEADLINE);
        {
            let mut wait = pin!(gate.wait_for(&first.client, 0, Look::PeerClosed));
            let mut next = pin!(gate.wait_for(&second.client, 0, Look::PeerClosed));
            assert!(poll_once(wait.as_mut()).is_pending() && poll_once(next.as_mut()).is_pending());
            gate.leave();
            assert_eq!((gate.running(), gate.waiting()), (1, 1));
        }
        assert_eq!((gate.running(), gate.waiting()), (0, 0));
    }

    #[test]
    fn who_is_called_and_gone_does_not_come_in() {
        let Setting { clients, client, _here, there } = Setting::new();
        let gate = held(DEADLINE);
        let mut wait = pin!(gate.wait_for(&client, 0, Look::PeerClosed));
        assert!(poll_once(wait.as_mut()).is_pending());
        gate.leave();
        drop(there);
        clients.patrol(1);
        assert_eq!(poll_once(wait.as_mut()), Poll::Ready(Err(Error::ClientGone)));
        assert_eq!((gate.running(), gate.waiting()), (0, 0));
    }
}
