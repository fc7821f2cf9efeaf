//! At random, by weight; and the better of two that are chosen so.

use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;

use super::field::{Field, Rank, Shares, Weights};
use super::least::Load;

/// How often is drawn again, as if all were well, before everybody is looked at. It changes no one's chances: each draw
/// that meets one who is away counts for nothing.
const DRAWS: usize = 4;

/// Costs from here on, in nanoseconds, are those of members of which nothing is known and whose first answer is on its way.
const UNKNOWN: u64 = 1 << 63;

/// Everybody's chances.
#[derive(Debug)]
pub(super) struct Odds {
    /// The sum of the full shares up to each member, with its own.
    sums: Box<[u64]>,
    /// The state of the generator.
    seed: Cell<u64>,
}

impl Odds {
    pub(super) fn new(weights: &Weights, rng: fastrand::Rng) -> Self {
        let mut sum = 0;
        let sums = weights.full().iter().map(|&share| {
            sum += u64::from(share);
            sum
        });
        Self { sums: sums.collect(), seed: Cell::new(rng.get_seed()) }
    }

    /// One at random.
    #[inline]
    pub(super) fn pick(&self, field: &Field<'_>) -> Option<(usize, Rank)> {
        if let Some(member) = self.quick(field) {
            return Some((member, Rank::Primary));
        }
        let rank = field.look()?;
        Some((self.among(field.shares)?, rank))
    }

    /// The one of two at random that has fewer running exchanges for its share.
    #[inline]
    pub(super) fn fewer_of_two(&self, field: &Field<'_>) -> Option<(usize, Rank)> {
        let load = |member| Load::of(field, member, field.share(member));
        self.better_of_two(field, |one, other| load(one).compare(load(other)).is_le())
    }

    /// The one of two at random that costs less time for its share.
    #[inline]
    pub(super) fn quicker_of_two(&self, field: &Field<'_>) -> Option<(usize, Rank)> {
        let weighed = |one, other| u128::from(cost(field, one)) * u128::from(field.share(other));
        self.better_of_two(field, |one, other| weighed(one, other) <= weighed(other, one))
    }

    #[inline]
    fn better_of_two(
        &self,
        field: &Field<'_>,
        is_better: impl Fn(usize, usize) -> bool,
    ) -> Option<(usize, Rank)> {
        let (one, rank) = self.pick(field)?;
        let chosen = self.other(field, one, rank).filter(|&other| !is_better(one, other)).unwrap_or(one);
        Some((chosen, rank))
    }

    /// Another one of the same rank, at random; `None`: there is no other.
    #[inline]
    fn other(&self, field: &Field<'_>, one: usize, rank: Rank) -> Option<usize> {
        if rank == Rank::Primary && field.is_fresh() {
            let (before, through) = (self.before(one), self.sums[one]);
            let others = self.sum() - (through - before);
            let draw = || {
                let at = self.below(others);
                self.at(if at < before { at } else { at + (through - before) })
            };
            let found =
                (0..DRAWS).filter(|_| others > 0).map(|_| draw()).find(|&other| self.accepts(field, other));
            if found.is_some() {
                return found;
            }
        }
        self.other_carefully(field, one, rank)
    }

    #[cold]
    fn other_carefully(&self, field: &Field<'_>, one: usize, rank: Rank) -> Option<usize> {
        let found = field.look()?;
        field.shares.take_out(one);
        if found == rank { self.among(field.shares) } else { None }
    }

    #[inline]
    fn quick(&self, field: &Field<'_>) -> Option<usize> {
        if !field.is_fresh() || self.sum() == 0 {
            return None;
        }
        (0..DRAWS).map(|_| self.at(self.below(self.sum()))).find(|&member| self.accepts(field, member))
    }

    /// Whether a draw that met a member counts: always, when it is well; as often as it has a share of its weight, while it is warming.
    #[inline]
    fn accepts(&self, field: &Field<'_>, member: usize) -> bool {
        if !field.is_available(member) {
            return false;
        }
        if !field.is_warming(member) {
            return true;
        }
        let full = self.sums[member] - self.before(member);
        self.below(full) < u64::from(field.share(member))
    }

    /// One of those who take part, at random.
    fn among(&self, shares: &Shares) -> Option<usize> {
        let sum = shares.all().iter().map(|share| u64::from(share.get())).sum();
        let mut at = if sum == 0 { return None } else { self.below(sum) };
        shares.all().iter().position(|share| {
            let share = u64::from(share.get());
            let is_here = at < share;
            at = at.saturating_sub(share);
            is_here
        })
    }

    /// The member at a place of the sum.
    #[inline]
    fn at(&self, at: u64) -> usize {
        self.sums.partition_point(|&sum| sum <= at)
    }

    fn sum(&self) -> u64 {
        self.sums.last().copied().unwrap_or(0)
    }

    fn before(&self, member: usize) -> u64 {
        member.checked_sub(1).map_or(0, |before| self.sums[before])
    }

    #[inline]
    fn below(&self, end: u64) -> u64 {
        let mut rng = fastrand::Rng::with_seed(self.seed.get());
        let drawn = rng.u64(..end);
        self.seed.set(rng.get_seed());
        drawn
    }
}

/// What a request more would cost at a member: the time to its response head, times the exchanges that would run. One without
/// samples costs nothing while nothing runs there, and more than all others until its first answer has come. In nanoseconds.
fn cost(field: &Field<'_>, member: usize) -> u64 {
    let state = &field.member(member).state;
    let running = u64::from(state.running.load(Relaxed));
    match state.latency.now(field.asking.now_ms) {
        None if running == 0 => 0,
        None => UNKNOWN + running,
        Some(latency) => (latency.as_nanos() as u64).saturating_mul(running + 1).min(UNKNOWN - 1),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ringway_config::Strategy::{LeastLatency, P2c};

    use super::super::Picker;
    use super::super::tests::{asking, counts, floats, is_by_chance, roster};
    use super::*;
    use crate::upstream::state::Roster;

    /// The chances of each when two different ones are drawn by their shares, and the one that comes first in `order` is taken.
    fn chances(shares: &[f64], order: &[usize]) -> Vec<f64> {
        let sum: f64 = shares.iter().sum();
        let mut chances = vec![0.0; shares.len()];
        let rank = |member| order.iter().position(|&one| one == member);
        for (one, first) in shares.iter().enumerate() {
            for (other, second) in shares.iter().enumerate().filter(|&(other, _)| other != one) {
                let better = if rank(one) < rank(other) { one } else { other };
                chances[better] += first / sum * second / (sum - first);
            }
        }
        chances
    }

    fn load(roster: &Roster, running: &[u32]) {
        for (member, &running) in roster.members.iter().zip(running) {
            member.state.running.store(running, Relaxed);
        }
    }

    fn two_workers(roster: &Roster) -> [Picker; 2] {
        [roster.picker(11), roster.picker(12)]
    }

    #[test]
    fn two_different_ones_are_drawn_by_weight() {
        for (weights, running, order) in [
            (&[1, 1][..], &[3, 2][..], &[1, 0][..]),
            (&[1, 1, 1], &[3, 1, 2], &[1, 2, 0]),
            (&[1, 2, 3, 4], &[3, 2, 1, 0], &[3, 2, 1, 0]),
            (&[1000, 1, 1, 1], &[0, 1, 2, 3], &[0, 1, 2, 3]),
        ] {
            let roster = roster(P2c, weights);
            load(&roster, running);
            let expected = chances(&floats(weights), order);
            is_by_chance(&counts(&roster, &two_workers(&roster)[..1], 40_000, 0), &expected);
            is_by_chance(&counts(&roster, &two_workers(&roster), 40_000, 0), &expected);
        }
    }

    #[test]
    fn who_is_away_is_not_drawn() {
        let weights = [1, 5, 2, 1, 1];
        let roster = roster(P2c, &weights);
        load(&roster, &[9, 0, 4, 1, 0]);
        roster.take_away(1);
        let mut shares = floats(&weights);
        shares[1] = 0.0;
        is_by_chance(&counts(&roster, &two_workers(&roster), 40_000, 0), &chances(&shares, &[4, 3, 2, 0]));
    }

    #[test]
    fn who_came_back_is_drawn_by_what_it_weighs_now() {
        let mut roster = roster(P2c, &[1, 1, 1]);
        roster.configure(|config| config.slow_start = Duration::from_secs(16));
        roster.take_away(2);
        roster.bring_back(2, 1_000);
        load(&roster, &[1, 2, 0]);
        let expected = chances(&[1.0, 1.0, 1.0 / 16.0], &[2, 0, 1]);
        is_by_chance(&counts(&roster, &two_workers(&roster), 40_000, 1_000), &expected);
    }

    #[test]
    fn of_equal_ones_the_first_draw_counts() {
        for strategy in [P2c, LeastLatency] {
            let roster = roster(strategy, &[1, 1, 1, 1]);
            is_by_chance(&counts(&roster, &two_workers(&roster), 40_000, 0), &[1.0; 4]);
        }
    }

    /// What runs is compared for its weight, so that the heavier one has more.
    #[test]
    fn loads_settle_by_weight() {
        let roster = roster(P2c, &[3, 1]);
        let worker = roster.picker(1);
        for _ in 0..400 {
            let picked = worker.pick(&roster, &asking(0, 0)).unwrap();
            roster.members[picked.member].state.running.fetch_add(1, Relaxed);
        }
        let running: Vec<_> =
            roster.members.iter().map(|member| member.state.running.load(Relaxed)).collect();
        assert!(running[0].abs_diff(300) <= 1, "{running:?}");
    }

    fn answers(roster: &Roster, latencies_ms: &[u64], now_ms: u64) {
        for (member, &latency_ms) in roster.members.iter().zip(latencies_ms) {
            member.state.latency.sample(Duration::from_millis(latency_ms), now_ms);
        }
    }

    #[test]
    fn the_quicker_one_of_two_is_chosen() {
        let roster = roster(LeastLatency, &[1, 1, 1, 1]);
        answers(&roster, &[40, 20, 10, 30], 0);
        let expected = chances(&[1.0; 4], &[2, 1, 3, 0]);
        is_by_chance(&counts(&roster, &two_workers(&roster), 40_000, 0), &expected);
        // 40 x 1, 20 x 3, 10 x 5, 30 x 1.
        load(&roster, &[0, 2, 4, 0]);
        let expected = chances(&[1.0; 4], &[3, 0, 2, 1]);
        is_by_chance(&counts(&roster, &two_workers(&roster), 40_000, 0), &expected);
    }

    #[test]
    fn a_time_counts_for_its_weight() {
        let roster = roster(LeastLatency, &[1, 3]);
        answers(&roster, &[10, 20], 0);
        assert_eq!(counts(&roster, &two_workers(&roster), 100, 0), [0, 100]);
        answers(&roster, &[10, 40], 0);
        assert_eq!(counts(&roster, &two_workers(&roster), 100, 0), [100, 0]);
    }

    #[test]
    fn one_without_samples_is_tried_first_and_not_flooded() {
        let roster = roster(LeastLatency, &[1, 1]);
        roster.members[0].state.latency.sample(Duration::from_micros(1), 0);
        let workers = two_workers(&roster);
        assert_eq!(workers[0].pick(&roster, &asking(0, 0)).unwrap().member, 1);
        // Its first answer is on its way.
        load(&roster, &[1_000_000, 1]);
        assert_eq!(counts(&roster, &workers, 100, 0), [100, 0]);
        // It came.
        load(&roster, &[0, 0]);
        roster.members[1].state.latency.sample(Duration::from_nanos(300), 0);
        assert_eq!(counts(&roster, &workers, 100, 0), [0, 100]);
    }

    #[test]
    fn of_two_without_samples_the_one_with_fewer_first_answers_on_their_way_is_chosen() {
        let roster = roster(LeastLatency, &[1, 1]);
        load(&roster, &[2, 1]);
        assert_eq!(counts(&roster, &two_workers(&roster), 100, 0), [0, 100]);
    }

    #[test]
    fn a_slow_one_is_measured_again_in_time() {
        let roster = roster(LeastLatency, &[1, 1]);
        answers(&roster, &[10, 1_000], 0);
        let workers = two_workers(&roster);
        let mut measured_ms = Vec::new();
        for now_ms in (0..200_000).step_by(100) {
            let member = workers[0].pick(&roster, &asking(0, now_ms)).unwrap().member;
            roster.members[member].state.latency.sample(Duration::from_millis([10, 1_000][member]), now_ms);
            if member == 1 {
                measured_ms.push(now_ms);
            }
        }
        // It takes ln(100) x 10 s until a second has come down to 10 ms.
        let times = measured_ms.len();
        assert!((3..=4).contains(&times) && measured_ms[0] >= 46_000, "{measured_ms:?}");
    }
}
