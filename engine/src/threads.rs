//! Work that would hold a worker up, such as hashing a password or asking the disk, on threads of its own. The worker's task
//! waits for what comes of it; what may wait is bounded.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::{io, thread};

type Job = Box<dyn FnOnce() + Send>;

/// Threads that do one kind of work, in its order.
pub(crate) struct Threads {
    name: &'static str,
    /// The most jobs that wait at one time.
    waiting_max: usize,
    shared: Arc<Waiting>,
}

#[derive(Default)]
struct Waiting {
    jobs: Mutex<Jobs>,
    came: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    threads: usize,
}

/// As many jobs wait as may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Threads {
    /// No thread yet; each will be called `name`. `waiting_max` jobs may wait.
    pub(crate) fn new(name: &'static str, waiting_max: usize) -> Self {
        Self { name, waiting_max, shared: Arc::default() }
    }

    /// Sees to it that there are `count` threads. Called on the control thread: a worker's would be pinned to its CPU.
    ///
    /// # Errors
    /// When the system gives no more threads; there may be fewer then.
    pub(crate) fn start(&self, count: usize) -> io::Result<()> {
        while self.shared.lock().threads < count {
            let shared = self.shared.clone();
            thread::Builder::new().name(self.name.to_owned()).spawn(move || shared.work())?;
            self.shared.lock().threads += 1;
        }
        Ok(())
    }

    /// Has `work` done. What comes of it is lost when the result is dropped before; the work is done all the same.
    ///
    /// # Errors
    /// [`Full`]; nothing is done then.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Coming<T>, Full> {
        let outcome = Arc::new(Outcome { state: Mutex::new(State::Coming(None)) });
        let told = Telling(outcome.clone());
        let job = move || told.0.tell(catch_unwind(AssertUnwindSafe(work)).ok());
        let mut jobs = self.shared.lock();
        if jobs.waiting.len() >= self.waiting_max {
            return Err(Full);
        }
        jobs.waiting.push_back(Box::new(job));
        drop(jobs);
        self.shared.came.notify_one();
        Ok(Coming { outcome })
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Threads").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never ends: the process ends around it.
    fn work(&self) {
        loop {
            let mut jobs = self.lock();
            let job = loop {
                match jobs.waiting.pop_front() {
                    Some(job) => break job,
                    None => jobs = self.came.wait(jobs).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(jobs);
            job();
        }
    }
}

struct Outcome<T> {
    state: Mutex<State<T>>,
}

enum State<T> {
    /// It is not there yet; who waits for it.
    Coming(Option<Waker>),
    /// `None` when the work panicked.
    There(Option<T>),
}

impl<T> Outcome<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, result: Option<T>) {
        let before = std::mem::replace(&mut *self.lock(), State::There(result));
        if let State::Coming(Some(waker)) = before {
            waker.wake();
        }
    }
}

/// Tells whoever waits that nothing comes, should the job be dropped without being done.
struct Telling<T>(Arc<Outcome<T>>);

impl<T> Drop for Telling<T> {
    fn drop(&mut self) {
        if matches!(*self.0.lock(), State::Coming(_)) {
            self.0.tell(None);
        }
    }
}

/// What comes of work that a thread does.
pub(crate) struct Coming<T> {
    outcome: Arc<Outcome<T>>,
}

impl<T> Coming<T> {
    /// What came of it, once: `None` when the work panicked, or when it was taken already.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Option<T>> {
        match &mut *self.outcome.lock() {
            State::There(result) => Poll::Ready(result.take()),
            State::Coming(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::task::Wake;

    use super::*;

    struct Sends(mpsc::Sender<()>);

    impl Wake for Sends {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(());
        }
    }

    /// Waits as a task does.
    fn wait<T>(coming: &Coming<T>) -> Option<T> {
        let (woken, waking) = mpsc::channel();
        let waker = Arc::new(Sends(woken)).into();
        loop {
            match coming.poll(&Context::from_waker(&waker)) {
                Poll::Ready(result) => return result,
                Poll::Pending => waking.recv_timeout(std::time::Duration::from_secs(60)).unwrap(),
            }
        }
    }

    #[test]
    fn work_is_done_elsewhere_and_what_comes_of_it_is_told() {
        let threads = Threads::new("test", 8);
        threads.start(2).unwrap();
        let here = thread::current().id();
        let coming: Vec<_> =
            (0..8).map(|n| threads.run(move || (n, thread::current().id())).unwrap()).collect();
        for (n, coming) in coming.iter().enumerate() {
            let (number, there) = wait(coming).unwrap();
            assert!(number == n && there != here);
        }
    }

    #[test]
    fn a_panic_ends_one_job_and_not_its_thread() {
        let threads = Threads::new("test", 8);
        threads.start(1).unwrap();
        assert_eq!(wait(&threads.run(|| -> u8 { panic!("as a test") }).unwrap()), None);
        assert_eq!(wait(&threads.run(|| 7).unwrap()), Some(7));
    }

    #[test]
    fn what_may_wait_is_bounded() {
        let threads = Threads::new("test", 2);
        let [first, second] = [1, 2].map(|n| threads.run(move || n).unwrap());
        assert_eq!(threads.run(|| 3).err(), Some(Full));
        threads.start(1).unwrap();
        assert_eq!((wait(&first), wait(&second)), (Some(1), Some(2)));
    }
}
