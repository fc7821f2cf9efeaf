//! Work that would hold a worker up, such as hashing a password or asking the disk, on threads of its own. The worker's task
//! waits for what comes of it; what may wait is bounded.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::{io, thread};

/// The stack of a thread, in bytes: what is large in these jobs is on the heap.
const STACK_BYTES: usize = 512 * 1024;

type Job = Box<dyn FnOnce() + Send>;

/// Threads that do one kind of work, in its order. What is cloned of them are the same.
#[derive(Clone)]
pub(crate) struct Threads {
    shared: Arc<Waiting>,
}

struct Waiting {
    /// What each thread is called.
    name: &'static str,
    /// The most jobs that wait at one time.
    waiting_max: usize,
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
        let (jobs, came) = (Mutex::default(), Condvar::default());
        Self { shared: Arc::new(Waiting { name, waiting_max, jobs, came }) }
    }

    /// Sees to it that there are `count` threads. Called on the control thread: a worker's would be pinned to its CPU.
    ///
    /// # Errors
    /// When the system gives no more threads; there may be fewer then.
    pub(crate) fn start(&self, count: usize) -> io::Result<()> {
        while self.shared.lock().threads < count {
            let shared = self.shared.clone();
            let thread = thread::Builder::new().name(self.shared.name.to_owned()).stack_size(STACK_BYTES);
            thread.spawn(move || shared.work())?;
            self.shared.lock().threads += 1;
        }
        Ok(())
    }

    /// Has `work` done, unless what comes of it was dropped before it began: then nobody waits for it.
    ///
    /// # Errors
    /// [`Full`]; nothing is done then.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Coming<T>, Full> {
        let outcome = Arc::new(Outcome { state: Mutex::new(State::Coming(None)) });
        let told = Telling(outcome.clone());
        let job = move || {
            if told.is_wanted() {
                told.0.tell(catch_unwind(AssertUnwindSafe(work)).ok());
            }
        };
        let mut jobs = self.shared.lock();
        if jobs.waiting.len() >= self.shared.waiting_max {
            return Err(Full);
        }
        jobs.waiting.push_back(Box::new(job));
        drop(jobs);
        self.shared.came.notify_one();
        Ok(Coming { outcome })
    }
}

impl Threads {
    /// Has `what` dropped by a thread, which may take long; here, where too much waits already.
    pub(crate) fn let_go(&self, what: impl Send + 'static) {
        // Wanted or not, it goes where the job goes.
        let _ = self.run(move || drop(what));
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Threads").field("name", &self.shared.name).finish_non_exhaustive()
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

impl<T> Telling<T> {
    /// The other half is there.
    fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

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
    fn what_nobody_waits_for_is_not_done_and_goes_elsewhere() {
        struct Tells(mpsc::Sender<thread::ThreadId>);
        impl Drop for Tells {
            fn drop(&mut self) {
                self.0.send(thread::current().id()).unwrap();
            }
        }
        let threads = Threads::new("test", 2);
        let (done, doing) = mpsc::channel();
        drop(threads.run(move || done.send(())).unwrap());
        let (gone, going) = mpsc::channel();
        threads.let_go(Tells(gone.clone()));
        // There is no room for a third.
        threads.let_go(Tells(gone));
        assert_eq!(going.recv(), Ok(thread::current().id()));
        threads.start(1).unwrap();
        assert_ne!(going.recv().unwrap(), thread::current().id());
        assert_eq!(doing.recv(), Err(mpsc::RecvError));
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
