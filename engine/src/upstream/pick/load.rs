//! That what runs, and how long it takes, is followed: exactly, load by load; and over time, by clients that each wait for
//! an answer before they ask again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ringway_config::Strategy::{self, LeastConnections, LeastLatency, P2c};

use super::tests::{asking, roster};
use super::{Asking, Picker};
use crate::upstream::state::Roster;

const FOLLOWING: [Strategy; 3] = [LeastConnections, P2c, LeastLatency];

/// A pool under a load that was drawn, and what each member would bear for its weight with one request more.
struct Loaded {
    roster: Roster,
    workers: [Picker; 2],
    burdens: Vec<f64>,
}

impl Loaded {
    fn new(strategy: Strategy, members: usize, rng: &mut fastrand::Rng) -> Self {
        let weights: Vec<_> = (0..members).map(|_| rng.u16(1..5)).collect();
        let roster = roster(strategy, &weights);
        let burden = |(member, &weight): (usize, &u16)| {
            let (running, latency_ms) = (rng.u32(0..20), rng.u64(1..50));
            let state = &roster.members[member].state;
            state.running.store(running, Relaxed);
            state.latency.sample(Duration::from_millis(latency_ms), 0);
            let borne =
                if strategy == LeastLatency { latency_ms * u64::from(running + 1) } else { running.into() };
            borne as f64 / f64::from(weight)
        };
        let burdens = weights.iter().enumerate().map(burden).collect();
        let workers = [roster.picker(rng.u64(..)), roster.picker(rng.u64(..))];
        Self { roster, workers, burdens }
    }

    /// What the next one of each worker bears.
    fn chosen(&self) -> impl Iterator<Item = f64> {
        let pick = |worker: &Picker| worker.pick(&self.roster, &asking(0, 0)).expect("one").member;
        self.workers.iter().map(move |worker| self.burdens[pick(worker)])
    }

    fn least(&self) -> f64 {
        self.burdens.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// There is one that bears more than each other one; how much.
    fn alone_at_the_end(&self) -> Option<f64> {
        let most = self.burdens.iter().copied().fold(0.0, f64::max);
        (self.burdens.iter().filter(|&&burden| burden == most).count() == 1).then_some(most)
    }
}

#[test]
fn the_least_burdened_is_chosen() {
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..2_000 {
        // Two at random are always the same two, of two.
        for (strategy, members) in [(LeastConnections, rng.usize(1..8)), (P2c, 2), (LeastLatency, 2)] {
            let loaded = Loaded::new(strategy, members, &mut rng);
            assert!(loaded.chosen().all(|burden| burden == loaded.least()), "{strategy:?}");
        }
    }
}

#[test]
fn the_most_burdened_of_several_is_never_chosen() {
    let mut rng = fastrand::Rng::with_seed(2);
    for _ in 0..2_000 {
        for strategy in FOLLOWING {
            let members = rng.usize(2..8);
            let loaded = Loaded::new(strategy, members, &mut rng);
            if let Some(most) = loaded.alone_at_the_end() {
                assert!((0..5).all(|_| loaded.chosen().all(|burden| burden < most)), "{strategy:?}");
            }
        }
    }
}

/// Clients of two workers, in the time of a clock of their own.
struct Traffic {
    roster: Roster,
    workers: [Picker; 2],
    now_us: u64,
    /// When each exchange ends, where, and when it began.
    running: BinaryHeap<Reverse<(u64, usize, u64)>>,
    rng: fastrand::Rng,
    asked: usize,
}

impl Traffic {
    fn new(strategy: Strategy, weights: &[u16]) -> Self {
        let roster = roster(strategy, weights);
        let workers = [roster.picker(11), roster.picker(12)];
        let rng = fastrand::Rng::with_seed(13);
        Self { workers, roster, now_us: 0, running: BinaryHeap::new(), rng, asked: 0 }
    }

    /// Lets so many clients ask until a time. Each exchange takes its backend's mean, give or take four tenths of it.
    /// Gives how many each answered.
    fn run<const N: usize>(&mut self, clients: usize, until_ms: u64, means_ms: [u64; N]) -> [u64; N] {
        let mut answered = [0; N];
        while self.now_us < until_ms * 1_000 {
            while self.running.len() < clients {
                self.ask(&means_ms);
            }
            let Reverse((end_us, member, began_us)) = self.running.pop().expect("one runs");
            self.now_us = end_us;
            let state = &self.roster.members[member].state;
            state.latency.sample(Duration::from_micros(end_us - began_us), end_us / 1_000);
            state.running.fetch_sub(1, Relaxed);
            answered[member] += 1;
        }
        answered
    }

    fn ask(&mut self, means_ms: &[u64]) {
        self.asked += 1;
        let asking = Asking { now_ms: self.now_us / 1_000, ..asking(0, 0) };
        let member = self.workers[self.asked % 2].pick(&self.roster, &asking).expect("one").member;
        self.roster.members[member].state.running.fetch_add(1, Relaxed);
        let took_us = means_ms[member] * self.rng.u64(600..1_400);
        self.running.push(Reverse((self.now_us + took_us, member, self.now_us)));
    }
}

fn share(answered: &[u64], member: usize) -> f64 {
    answered[member] as f64 / answered.iter().sum::<u64>() as f64
}

/// It takes ten times as long, so where as many run at each it answers one in 21. By its costs it gets fewer yet. In turn
/// it would get a third.
#[test]
fn a_slow_backend_gets_as_much_as_it_can_bear() {
    for (strategy, bounds) in
        [(LeastConnections, 0.045..0.051), (P2c, 0.045..0.07), (LeastLatency, 0.0005..0.02)]
    {
        let answered = Traffic::new(strategy, &[1, 1, 1]).run(30, 60_000, [10, 100, 10]);
        let (slow, quick) = (share(&answered, 1), [share(&answered, 0), share(&answered, 2)]);
        assert!(bounds.contains(&slow), "{strategy:?}: {slow}");
        assert!((quick[0] - quick[1]).abs() < 0.02, "{strategy:?}: {quick:?}");
    }
}

/// Of backends that take as long each gets by its weight.
#[test]
fn backends_that_are_alike_share_by_weight() {
    for strategy in FOLLOWING {
        let answered = Traffic::new(strategy, &[1, 2, 3]).run(60, 60_000, [10, 10, 10]);
        for (member, due) in [1.0 / 6.0, 2.0 / 6.0, 3.0 / 6.0].into_iter().enumerate() {
            let had = share(&answered, member);
            assert!((had - due).abs() < 0.1 * due, "{strategy:?}: {had} of {due}");
        }
    }
}

#[test]
fn who_becomes_slow_loses_its_share_and_gets_it_back() {
    for strategy in FOLLOWING {
        let mut traffic = Traffic::new(strategy, &[1, 1, 1]);
        let well = traffic.run(12, 20_000, [10, 10, 10]);
        assert!((0.28..0.39).contains(&share(&well, 0)), "{strategy:?}: {well:?}");
        // What was on its way when it became slow is over soon.
        traffic.run(12, 21_000, [200, 10, 10]);
        let slow = traffic.run(12, 41_000, [200, 10, 10]);
        assert!(slow[0] > 0 && share(&slow, 0) < 0.05, "{strategy:?}: {slow:?}");
        // A peak decays to a twentieth in 30 s, if nothing is measured meanwhile.
        traffic.run(12, 81_000, [10, 10, 10]);
        let again = traffic.run(12, 101_000, [10, 10, 10]);
        assert!((0.28..0.39).contains(&share(&again, 0)), "{strategy:?}: {again:?}");
    }
}
