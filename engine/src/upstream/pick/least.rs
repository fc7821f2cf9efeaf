//! The fewest running exchanges for its weight, over all workers.

use std::cmp::Ordering::{self, Equal, Greater, Less};
use std::sync::atomic::Ordering::Relaxed;

use super::field::{Field, Rank};
use super::turn::Turns;

/// Chooses those with the fewest; of several that are equal, the one whose turn it is.
#[derive(Debug)]
pub(super) struct Least {
    turns: Turns,
}

impl Least {
    pub(super) fn new(turns: Turns) -> Self {
        Self { turns }
    }

    pub(super) fn pick(&self, field: &Field<'_>) -> Option<(usize, Rank)> {
        let rank = field.look()?;
        keep_least(field);
        Some((self.turns.take(field.shares)?, rank))
    }
}

/// Leaves only those take part that have the fewest exchanges for their share.
fn keep_least(field: &Field<'_>) {
    let shares = field.shares.all();
    let mut least: Option<(usize, Load)> = None;
    for (member, share) in shares.iter().enumerate().filter(|(_, share)| share.get() > 0) {
        let load = Load::of(field, member, share.get());
        match least.map_or(Less, |(_, least)| load.compare(least)) {
            Greater => field.shares.take_out(member),
            Equal => {}
            Less => {
                let first = least.map_or(member, |(first, _)| first);
                (first..member).for_each(|more| field.shares.take_out(more));
                least = Some((member, load));
            }
        }
    }
}

/// Running exchanges for a share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    running: u32,
    share: u32,
}

impl Load {
    #[inline]
    pub(super) fn of(field: &Field<'_>, member: usize, share: u32) -> Self {
        Self { running: field.member(member).state.running.load(Relaxed), share }
    }

    /// Compares the quotients, without dividing.
    #[inline]
    pub(super) fn compare(self, other: Self) -> Ordering {
        let one = u64::from(self.running) * u64::from(other.share);
        one.cmp(&(u64::from(other.running) * u64::from(self.share)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ringway_config::Strategy::LeastConnections;

    use super::super::tests::{asking, counts, is_by_chance, roster};
    use super::*;
    use crate::upstream::state::Roster;

    /// So many exchanges that begin at the workers in turn and do not end.
    fn pile_up(roster: &Roster, seeds: &[u64], exchanges: usize) -> Vec<u32> {
        let workers: Vec<_> = seeds.iter().map(|&seed| roster.picker(seed)).collect();
        for exchange in 0..exchanges {
            let picked = workers[exchange % workers.len()].pick(roster, &asking(0, 0)).unwrap();
            roster.members[picked.member].state.running.fetch_add(1, Relaxed);
        }
        roster.members.iter().map(|member| member.state.running.load(Relaxed)).collect()
    }

    #[test]
    fn what_runs_is_exactly_by_weight_over_all_workers() {
        for (weights, running) in [
            (&[1, 1, 1][..], &[100, 100, 100][..]),
            (&[3, 2], &[180, 120]),
            (&[10, 5, 1, 4], &[150, 75, 15, 60]),
        ] {
            assert_eq!(pile_up(&roster(LeastConnections, weights), &[1], 300), running);
            assert_eq!(pile_up(&roster(LeastConnections, weights), &[1, 2], 300), running);
        }
    }

    #[test]
    fn the_fewest_for_its_weight_is_chosen() {
        let roster = roster(LeastConnections, &[1, 3, 2]);
        let picker = roster.picker(1);
        for (running, member) in
            [([1, 2, 2], 1), ([0, 1, 1], 0), ([2, 7, 3], 2), ([5, 14, 10], 1), ([9, 26, 17], 2)]
        {
            for (member, running) in roster.members.iter().zip(running) {
                member.state.running.store(running, Relaxed);
            }
            assert_eq!(picker.pick(&roster, &asking(0, 0)).unwrap().member, member, "{running:?}");
        }
    }

    #[test]
    fn those_that_are_equal_come_in_turn_by_weight() {
        assert_eq!(
            counts(
                &roster(LeastConnections, &[1, 1, 1]),
                &[roster(LeastConnections, &[1, 1, 1]).picker(1)],
                300,
                0
            ),
            [100; 3]
        );
        let weighted = roster(LeastConnections, &[3, 2, 5]);
        assert_eq!(counts(&weighted, &[weighted.picker(1), weighted.picker(2)], 200, 0), [60, 40, 100]);
        weighted.members[2].state.running.store(1, Relaxed);
        assert_eq!(counts(&weighted, &[weighted.picker(1)], 100, 0), [60, 40, 0]);
    }

    #[test]
    fn who_comes_back_is_not_given_all_at_once() {
        let mut roster = roster(LeastConnections, &[1, 1, 1]);
        roster.configure(|config| config.slow_start = Duration::from_secs(16));
        roster.take_away(0);
        roster.bring_back(0, 1_000);
        let picker = roster.picker(1);
        for (number, member) in roster.members.iter().enumerate() {
            member.state.running.store(if number == 0 { 0 } else { 64 }, Relaxed);
        }
        let mut running = 0;
        for _ in 0..50 {
            let picked = picker.pick(&roster, &asking(0, 1_000)).unwrap();
            running += u32::from(picked.member == 0);
            roster.members[picked.member].state.running.fetch_add(1, Relaxed);
        }
        // A sixteenth of the weight carries a sixteenth of the load.
        assert!((4..=6).contains(&running), "{running}");
    }

    /// When exchanges end at random, those that run stay even.
    #[test]
    fn a_moving_load_is_even() {
        let weights = [1, 2, 4];
        let roster = roster(LeastConnections, &weights);
        let (workers, mut rng) = ([roster.picker(1), roster.picker(2)], fastrand::Rng::with_seed(1));
        let (mut running, mut began) = (Vec::new(), [0; 3]);
        for request in 0..20_000 {
            let member = workers[request % 2].pick(&roster, &asking(0, 0)).unwrap().member;
            began[member] += 1;
            running.push(member);
            roster.members[member].state.running.fetch_add(1, Relaxed);
            if running.len() >= 140 {
                let ended = running.swap_remove(rng.usize(..running.len()));
                roster.members[ended].state.running.fetch_sub(1, Relaxed);
                for (member, weight) in roster.members.iter().zip(weights) {
                    let now = member.state.running.load(Relaxed);
                    assert!(now.abs_diff(20 * u32::from(weight)) <= 6, "{now} of {weight}");
                }
            }
        }
        is_by_chance(&began, &[1.0, 2.0, 4.0]);
    }
}
