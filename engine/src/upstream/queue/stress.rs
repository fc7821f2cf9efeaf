//! The gate under threads: each runs many tasks, as a worker does, that come in, wait, give up at any moment, and leave, while
//! its limits change. Bounded by counts, never by time; a wake that is lost shows as a task that does not come to its end.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::Wake;
use std::thread::{self, Thread};
use std::time::Instant;

use ringway_config::Admission;

use super::*;

const THREADS: usize = 3;
/// How often the tasks of one thread together come in, or give up.
const ROUNDS: usize = 4000;
const DEADLINE: Duration = Duration::from_secs(120);

/// What the tasks of all threads know together.
#[derive(Default)]
struct Yard {
    gate: Arc<Gate>,
    /// For each thread.
    tasks: usize,
    inside: AtomicUsize,
    /// The most that may be inside, while `changes` is even; it is odd during a change.
    bound: AtomicUsize,
    changes: AtomicU64,
    came_in: AtomicUsize,
    gave_up: AtomicUsize,
    refused: AtomicUsize,
    /// How often the number inside was held against the bound.
    checks: AtomicUsize,
}

impl Yard {
    fn new(tasks: usize, max_active: u32, max_queued: u32) -> Arc<Self> {
        let yard = Arc::new(Self { tasks, ..Self::default() });
        yard.gate.limit(&admission(max_active, max_queued));
        yard.bound.store(max_active as usize, SeqCst);
        yard
    }

    async fn visit(self: Arc<Self>, mut rng: fastrand::Rng) {
        let mut rounds = 0;
        while rounds < ROUNDS / self.tasks {
            if self.gate.try_enter() {
                self.stay(&mut rng).await;
                rounds += 1;
                continue;
            }
            let Ok(ticket) = self.gate.join() else {
                self.refused.fetch_add(1, SeqCst);
                give_way(1).await;
                continue;
            };
            rounds += 1;
            if wait(ticket, &mut rng).await {
                self.stay(&mut rng).await;
            } else {
                self.gave_up.fetch_add(1, SeqCst);
            }
        }
    }

    async fn stay(&self, rng: &mut fastrand::Rng) {
        self.check_in();
        give_way(rng.usize(..3)).await;
        self.inside.fetch_sub(1, SeqCst);
        self.gate.leave();
    }

    fn check_in(&self) {
        let changes = self.changes.load(SeqCst);
        let bound = self.bound.load(SeqCst);
        let inside = self.inside.fetch_add(1, SeqCst) + 1;
        if changes.is_multiple_of(2) && changes == self.changes.load(SeqCst) {
            assert!(inside <= bound, "{inside} are inside, {bound} may be");
            self.checks.fetch_add(1, SeqCst);
        }
        self.came_in.fetch_add(1, SeqCst);
    }

    fn change(&self, max_active: u32, max_queued: u32) {
        self.changes.fetch_add(1, SeqCst);
        self.gate.limit(&admission(max_active, max_queued));
        let bound = if max_active == 0 { THREADS * self.tasks } else { max_active as usize };
        until(|| self.gate.running() as usize <= bound);
        self.bound.store(bound, SeqCst);
        self.changes.fetch_add(1, SeqCst);
    }

    /// Lets all tasks visit. `meanwhile` may ask whether some still do.
    fn run(self: &Arc<Self>, seed: u64, meanwhile: impl FnOnce(&dyn Fn() -> bool)) {
        let (done, hears) = mpsc::channel();
        for thread in 0..THREADS {
            let (yard, done) = (self.clone(), done.clone());
            let rng = move |task| fastrand::Rng::with_seed(seed + (thread * ROUNDS + task) as u64);
            thread::spawn(move || {
                run_all(
                    (0..yard.tasks).map(|task| Box::pin(yard.clone().visit(rng(task))) as Task).collect(),
                );
                done.send(()).unwrap();
            });
        }
        let ended = AtomicUsize::new(0);
        let ends = || hears.try_iter().count();
        meanwhile(&|| ended.fetch_add(ends(), SeqCst) < THREADS);
        for _ in ended.load(SeqCst)..THREADS {
            hears.recv_timeout(DEADLINE).expect("all tasks come to their end");
        }
        assert_eq!((self.gate.running(), self.gate.waiting(), self.inside.load(SeqCst)), (0, 0, 0));
        let counts = [&self.came_in, &self.gave_up, &self.refused, &self.checks];
        let [came_in, gave_up, refused, checks] = counts.map(|count| count.load(SeqCst));
        assert_eq!(came_in + gave_up, THREADS * ROUNDS);
        assert!(gave_up > 0 && refused > 0 && checks > 0);
    }
}

/// Whether it came in; half of them give up after a while, at whatever moment that is.
async fn wait(ticket: Ticket, rng: &mut fastrand::Rng) -> bool {
    let mut patience = rng.bool().then(|| rng.usize(..40));
    let granted = poll_fn(|cx| {
        if ticket.poll_granted(cx).is_ready() {
            return Poll::Ready(true);
        }
        match &mut patience {
            None => return Poll::Pending,
            Some(0) => return Poll::Ready(false),
            Some(left) => *left -= 1,
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    granted.await && ticket.enter()
}

fn admission(max_active: u32, max_queued: u32) -> Admission {
    Admission { max_active, max_queued, ..Admission::default() }
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Wakes one task of one thread.
struct Bell {
    rung: AtomicBool,
    thread: Thread,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, SeqCst);
        self.thread.unpark();
    }
}

/// Runs tasks on this thread until all are done; each is polled only when it was woken.
fn run_all(tasks: Vec<Task>) {
    let bell = || Arc::new(Bell { rung: AtomicBool::new(true), thread: thread::current() });
    let mut tasks: Vec<_> = tasks.into_iter().map(|task| (bell(), task)).collect();
    while !tasks.is_empty() {
        let mut idle = true;
        tasks.retain_mut(|(bell, task)| {
            if !bell.rung.swap(false, SeqCst) {
                return true;
            }
            idle = false;
            let waker = bell.clone().into();
            task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
        });
        // Those who were refused try again at once: the others must get the processor for that to help.
        if idle { thread::park() } else { thread::yield_now() }
    }
}

async fn give_way(mut times: usize) {
    poll_fn(|cx| {
        if times == 0 {
            return Poll::Ready(());
        }
        times -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn until(happens: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !happens() {
        assert!(Instant::now() < deadline, "it does not happen");
        thread::yield_now();
    }
}

#[test]
fn no_thread_sees_more_inside_than_may_be() {
    for (seed, tasks, max_active, max_queued) in [(1, 1, 1, 1), (2, 40, 4, 40), (3, 40, 30, 40)] {
        let yard = Yard::new(tasks, max_active, max_queued);
        yard.run(seed, |_| {});
    }
}

#[test]
fn nobody_is_forgotten_when_few_come_at_once_and_no_more_after_them() {
    const TIMES: usize = 5000;
    let gate = Arc::new(Gate::default());
    gate.limit(&admission(1, 1));
    let (together, (done, hears)) = (Arc::new(Barrier::new(THREADS)), mpsc::channel());
    for _ in 0..THREADS {
        let (gate, together, done) = (gate.clone(), together.clone(), done.clone());
        thread::spawn(move || {
            for _ in 0..TIMES {
                together.wait();
                run_all(vec![Box::pin(pass(gate.clone()))]);
            }
            done.send(()).unwrap();
        });
    }
    for _ in 0..THREADS {
        hears.recv_timeout(DEADLINE).expect("who waits comes in");
    }
    assert_eq!((gate.running(), gate.waiting()), (0, 0));
}

/// Comes in, at once or from the line, and leaves; or is refused.
async fn pass(gate: Arc<Gate>) {
    if !gate.try_enter() {
        let Ok(ticket) = gate.join() else { return };
        poll_fn(|cx| ticket.poll_granted(cx)).await;
        assert!(ticket.enter());
    }
    gate.leave();
}

#[test]
fn limits_that_change_hold_all_the_while() {
    let yard = Yard::new(40, 10, 20);
    let mut rng = fastrand::Rng::with_seed(3);
    yard.run(3000, |runs| {
        while runs() {
            let max_active = if rng.u8(..8) == 0 { 0 } else { rng.u32(1..12) };
            yard.change(max_active, rng.u32(1..60));
            let seen = yard.came_in.load(SeqCst);
            until(|| yard.came_in.load(SeqCst) > seen + 50 || !runs());
        }
    });
}

#[test]
fn who_came_first_is_let_in_first_while_others_leave() {
    const WAITING: u32 = 3000;
    let gate = Arc::new(Gate::default());
    gate.limit(&admission(THREADS as u32, WAITING));
    assert!((0..THREADS).all(|_| gate.try_enter()));
    let mut tickets: VecDeque<_> = (0..WAITING).map(|_| gate.join().unwrap()).collect();
    let leavers: Vec<_> = (0..THREADS).map(|_| leaver(gate.clone())).collect();
    let mut rng = fastrand::Rng::with_seed(4);
    while let Some(first) = tickets.front() {
        // The others are looked at before the first: they are granted nothing before it.
        let second = tickets.get(1).is_some_and(Ticket::granted);
        let any = tickets[rng.usize(..tickets.len())].granted();
        if first.granted() {
            assert!(tickets.pop_front().is_some_and(Ticket::enter));
            leavers[rng.usize(..THREADS)].0.send(()).unwrap();
        } else {
            assert!(!second && !any);
        }
        if rng.u8(..4) == 0 && !tickets.is_empty() {
            drop(tickets.remove(rng.usize(..tickets.len())));
        }
    }
    for (leave, left) in leavers {
        drop(leave);
        left.recv_timeout(DEADLINE).expect("it leaves as often as it was told");
    }
    assert_eq!((gate.running(), gate.waiting()), (0, 0));
}

/// A thread that leaves the gate once, and then each time when it is told; it says when it was told for the last time.
fn leaver(gate: Arc<Gate>) -> (Sender<()>, Receiver<()>) {
    let (leave, told) = mpsc::channel();
    let (done, left) = mpsc::channel();
    leave.send(()).unwrap();
    thread::spawn(move || {
        told.iter().for_each(|()| gate.leave());
        done.send(()).unwrap();
    });
    (leave, left)
}
