//! In turn: smooth weighted round robin.

use std::cell::Cell;

use super::field::{Field, Rank, Shares, Weights};

/// How many members are looked at to find a random place to begin at, where weights differ.
const BEGINNING_MEMBERS: usize = 4096;

/// Whose turn it is.
///
/// Members of the same weight come one after the other. Where weights differ, or `slow_start` makes them differ, each turn is
/// divided among those who take part, as credit, by their shares, and then paid by the one who has most, whose turn it is.
/// The credits of all together stay zero. So of as many turns as the weights have units each member gets exactly its own, and
/// evenly spread.
///
/// Who takes no part keeps its credit, which is about a turn at most: one who comes back is that much early or late. A turn
/// is worth the same however many take part, or those who pay in small rounds would have more than their share.
#[derive(Debug)]
pub(super) struct Turns {
    /// Where to begin looking; always a member's place, unless there is none.
    next: Cell<usize>,
    weighted: bool,
    /// What a turn is worth: what all of the first rank have together, or all, when there are only backups.
    turn: i64,
    credits: Box<[Cell<i64>]>,
}

impl Turns {
    /// Turns that begin at a random place. `shares` are those of a pool where all are well.
    pub(super) fn new(weights: &Weights, shares: &Shares, rng: &mut fastrand::Rng) -> Self {
        let members = weights.full().len();
        let credits = (0..members).map(|_| Cell::new(0)).collect();
        let next = Cell::new(rng.usize(..members.max(1)));
        let turn = if shares.sum() > 0 { shares.sum() } else { weights.sum() };
        let turns = Self { next, weighted: weights.differ, turn, credits };
        if turns.weighted {
            let round = turns_of_a_round(weights.full()).min(BEGINNING_MEMBERS / members);
            for _ in 0..rng.usize(..round.max(1)) {
                turns.by_credit(shares);
            }
        }
        turns
    }

    /// The next one.
    #[inline]
    pub(super) fn pick(&self, field: &Field<'_>) -> Option<(usize, Rank)> {
        if let Some(member) = self.quick(field) {
            return Some((member, Rank::Primary));
        }
        let rank = field.look()?;
        Some((self.take(field.shares)?, rank))
    }

    #[inline]
    fn quick(&self, field: &Field<'_>) -> Option<usize> {
        if !field.is_fresh() {
            return None;
        }
        if self.weighted {
            let member = if field.shares.whole() { self.by_credit(field.shares)? } else { return None };
            if !field.is_fit(member) {
                self.take_back(field.shares, member);
                return None;
            }
            return Some(member);
        }
        if !field.shares.even() {
            return None;
        }
        let member = self.following(|member| field.is_available(member))?;
        if field.is_warming(member) {
            self.next.set(member);
            return None;
        }
        Some(member)
    }

    /// The next one of those who take part.
    pub(super) fn take(&self, shares: &Shares) -> Option<usize> {
        if self.weighted || !shares.even() {
            return self.by_credit(shares);
        }
        self.following(|member| shares.all()[member].get() > 0)
    }

    /// The first, from the present place on, who is right.
    #[inline]
    fn following(&self, is_right: impl Fn(usize) -> bool) -> Option<usize> {
        let members = self.credits.len();
        let mut member = self.next.get();
        for _ in 0..members {
            let after = if member + 1 < members { member + 1 } else { 0 };
            if is_right(member) {
                self.next.set(after);
                return Some(member);
            }
            member = after;
        }
        None
    }

    fn by_credit(&self, shares: &Shares) -> Option<usize> {
        let sum = if shares.whole() { self.turn } else { shares.sum() };
        let (mut chosen, mut most, mut divided) = (None, i64::MIN, 0);
        let first = self.next.get();
        for member in (first..self.credits.len()).chain(0..first) {
            let share = i64::from(shares.all()[member].get());
            if share == 0 {
                continue;
            }
            let part = if sum == self.turn { share } else { share * self.turn / sum };
            let credit = self.credits[member].get() + part;
            self.credits[member].set(credit);
            divided += part;
            if credit > most {
                (chosen, most) = (Some(member), credit);
            }
        }
        let chosen = chosen?;
        self.credits[chosen].set(most - divided);
        if !self.weighted {
            self.next.set(if chosen + 1 < self.credits.len() { chosen + 1 } else { 0 });
        }
        Some(chosen)
    }

    /// Takes back a turn that was divided among all.
    #[cold]
    fn take_back(&self, shares: &Shares, chosen: usize) {
        for (credit, share) in self.credits.iter().zip(shares.all()) {
            credit.set(credit.get() - i64::from(share.get()));
        }
        self.credits[chosen].set(self.credits[chosen].get() + self.turn);
    }
}

/// After so many turns they are where they began.
fn turns_of_a_round(shares: &[u32]) -> usize {
    let sum: u64 = shares.iter().copied().map(u64::from).sum();
    let divisor = shares.iter().copied().map(u64::from).fold(0, greatest_common_divisor);
    sum.checked_div(divisor).unwrap_or(0) as usize
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ringway_config::Strategy::RoundRobin;

    use super::super::tests::{asking, counts, roster};
    use super::super::{Asking, Picker};
    use crate::upstream::state::Roster;

    fn sequence(roster: &Roster, picker: &Picker, requests: u32) -> Vec<usize> {
        let pick = |_| picker.pick(roster, &asking(0, 0)).expect("one is available").member;
        (0..requests).map(pick).collect()
    }

    fn counted(sequence: &[usize], members: usize) -> Vec<usize> {
        (0..members).map(|member| sequence.iter().filter(|&&picked| picked == member).count()).collect()
    }

    #[track_caller]
    fn every_round_is(weights: &[u16], round: &[usize]) {
        let roster = roster(RoundRobin, weights);
        let length = round.iter().sum();
        for seed in 0..20 {
            let picks = sequence(&roster, &roster.picker(seed), 4 * length as u32);
            for window in picks.windows(length) {
                assert_eq!(counted(window, round.len()), round, "{weights:?}, seed {seed}");
            }
        }
    }

    #[test]
    fn every_round_has_each_by_its_weight() {
        every_round_is(&[3, 2], &[3, 2]);
        every_round_is(&[300, 200], &[3, 2]);
        every_round_is(&[1; 1], &[1]);
        every_round_is(&[9; 7], &[1; 7]);
        every_round_is(&[5, 1, 1], &[5, 1, 1]);
        every_round_is(&[1, 7, 3, 2], &[1, 7, 3, 2]);
        every_round_is(&[100, 1, 33], &[100, 1, 33]);
        every_round_is(&[6, 10, 15], &[6, 10, 15]);
    }

    #[test]
    fn turns_are_spread_evenly() {
        let roster = roster(RoundRobin, &[5, 1, 1]);
        let picks = sequence(&roster, &roster.picker(1), 70);
        assert!(picks.windows(2).all(|pair| pair[0] == 0 || pair[1] == 0), "{picks:?}");
        let weights = [10, 7, 4, 3, 1];
        let roster = super::super::tests::roster(RoundRobin, &weights);
        let (picker, mut had) = (roster.picker(2), [0.0; 5]);
        for (turn, member) in sequence(&roster, &picker, 250).into_iter().enumerate() {
            had[member] += 1.0;
            for (had, weight) in had.iter().zip(weights) {
                let due = (turn + 1) as f64 * f64::from(weight) / 25.0;
                assert!((had - due).abs() < 2.0, "turn {turn}: {had} of {due}");
            }
        }
    }

    #[test]
    fn workers_begin_at_random_places() {
        for weights in [[1, 1, 1, 1], [3, 2, 2, 1], [1000, 999, 1000, 998]] {
            let roster = roster(RoundRobin, &weights);
            let first = |seed| sequence(&roster, &roster.picker(seed), 1)[0];
            let firsts: Vec<_> = (0..400).map(first).collect();
            let least = counted(&firsts, 4).into_iter().min();
            assert!(least > Some(20), "{weights:?}: {:?}", counted(&firsts, 4));
        }
    }

    #[test]
    fn two_workers_have_exact_shares_together() {
        let roster = roster(RoundRobin, &[3, 2]);
        let workers = [roster.picker(1), roster.picker(2)];
        assert_eq!(counts(&roster, &workers, 2 * 5 * 100, 0), [600, 400]);
    }

    /// Nothing that others do meanwhile makes one who comes back wait, or get all.
    #[test]
    fn who_comes_back_neither_starves_nor_bursts() {
        for weights in [[1, 1, 1, 1], [4, 3, 2, 1]] {
            let roster = roster(RoundRobin, &weights);
            let sum = weights.iter().sum::<u16>() as usize;
            for seed in 0..50 {
                let mut rng = fastrand::Rng::with_seed(seed);
                let picker = roster.picker(seed);
                sequence(&roster, &picker, rng.u32(0..20));
                let away = rng.usize(..4);
                roster.take_away(away);
                let without = sequence(&roster, &picker, rng.u32(1..300));
                assert!(!without.contains(&away));
                roster.bring_back(away, 1);
                let picks = sequence(&roster, &picker, 3 * sum as u32);
                for (turns, had) in picks.chunks(sum).map(|round| counted(round, 4)).enumerate() {
                    for (had, weight) in had.into_iter().zip(weights) {
                        let late = had.abs_diff(usize::from(weight));
                        assert!(late <= 1, "seed {seed}, round {turns}: {had} of {weight}");
                    }
                }
            }
        }
    }

    /// Members that come and go all the time have what is theirs of the turns in which they are there. A little more, for each
    /// time that it is seen only at their turn that they went.
    #[test]
    fn shares_hold_while_members_come_and_go() {
        let weights = [4, 3, 2, 1];
        for (seed, each) in [(1, 1), (2, 3), (3, 10), (4, 100)] {
            let roster = roster(RoundRobin, &weights);
            let (picker, mut rng) = (roster.picker(seed), fastrand::Rng::with_seed(seed));
            let (mut had, mut due) = ([0.0; 4], [0.0; 4]);
            for turn in 0..40_000 {
                if turn % each == 0 {
                    let member = rng.usize(..3);
                    if rng.bool() { roster.take_away(member) } else { roster.bring_back(member, 1) }
                }
                let sum: u16 =
                    (0..4).filter(|&member| is_there(&roster, member)).map(|member| weights[member]).sum();
                for member in (0..4).filter(|&member| is_there(&roster, member)) {
                    due[member] += f64::from(weights[member]) / f64::from(sum);
                }
                had[picker.pick(&roster, &asking(0, 0)).unwrap().member] += 1.0;
                let near = |(had, due): (&f64, &f64)| (had - due).abs() < 5.0 + 0.03 * due;
                assert!(had.iter().zip(&due).all(near), "seed {seed}, turn {turn}: {had:?} of {due:?}");
            }
        }
    }

    fn is_there(roster: &Roster, member: usize) -> bool {
        roster.members[member].state.health.standing() == crate::upstream::health::Standing::Alive
    }

    #[test]
    fn retries_are_shared_like_requests() {
        for weights in [[1, 1, 1], [3, 2, 1]] {
            let roster = roster(RoundRobin, &weights);
            let picker = roster.picker(1);
            // The first one always fails, and is not ejected: all that it gets is tried again elsewhere.
            let mut served = [0_u32; 3];
            for _ in 0..600 {
                let first = picker.pick(&roster, &asking(0, 0)).unwrap().member;
                let mut again = asking(0, 0);
                again.tried.add(0);
                let last = if first == 0 { picker.pick(&roster, &again).unwrap().member } else { first };
                served[last] += 1;
            }
            let due = 600 * u32::from(weights[1]) / u32::from(weights[1] + weights[2]);
            assert!(served[0] == 0 && served[1].abs_diff(due) <= 1, "{served:?}");
        }
    }

    /// Turn by turn: while one warms up, those of full weight stay even.
    #[test]
    fn those_who_stayed_are_even_while_one_comes_back() {
        let mut roster = roster(RoundRobin, &[1, 1, 1]);
        roster.configure(|config| config.slow_start = Duration::from_secs(10));
        let picker = roster.picker(1);
        roster.take_away(1);
        sequence(&roster, &picker, 11);
        roster.bring_back(1, 1_000);
        let mut had = [0_u32; 3];
        for now_ms in (1_000..12_000).step_by(10) {
            had[picker.pick(&roster, &Asking { now_ms, ..asking(0, 0) }).unwrap().member] += 1;
            assert!(had[0].abs_diff(had[2]) <= 2, "{had:?}");
        }
        assert!(had[1] < had[0] * 7 / 10, "{had:?}");
    }
}
