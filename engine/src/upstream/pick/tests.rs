//! What every strategy keeps to: ranks, what was tried, and how choices are spread. What is a strategy's own is tested beside it.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ringway_config::{Forbidden, OnNoBackend};

use super::*;
use crate::upstream::health::{Cause, Failed, Standing};
use crate::upstream::samples;
use crate::upstream::state::Member;

pub(super) const STRATEGIES: [Strategy; 6] = [
    Strategy::RoundRobin,
    Strategy::Random,
    Strategy::LeastConnections,
    Strategy::P2c,
    Strategy::IpHash,
    Strategy::LeastLatency,
];

/// Members of these weights, numbered from 0.
pub(super) fn roster(strategy: Strategy, weights: &[u16]) -> Roster {
    let members = weights.iter().enumerate().map(|(number, &weight)| samples::member(number as u16, weight));
    let mut roster = samples::roster(members);
    roster.configure(|config| config.strategy = strategy);
    roster
}

impl Roster {
    pub(super) fn take_away(&self, member: usize) {
        self.eject_unbounded(&self.members[member], Cause::Probe(Failed::Refused), 1);
    }

    pub(super) fn bring_back(&self, member: usize, now_ms: u64) {
        self.recover(&self.members[member], Cause::ProbeSucceeded, now_ms);
    }

    pub(super) fn picker(&self, seed: u64) -> Picker {
        Picker::new(self, fastrand::Rng::with_seed(seed))
    }
}

pub(super) fn client(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0xc0a8_0000 + number).into()
}

/// A request of a client, at a time, that was sent nowhere yet.
pub(super) fn asking(number: u32, now_ms: u64) -> Asking {
    Asking { client: Some(client(number)), tried: Tried::default(), now_ms }
}

fn asking_after(tried: &[usize]) -> Asking {
    let mut asking = asking(0, 0);
    tried.iter().for_each(|&member| asking.tried.add(member));
    asking
}

/// How often each member is chosen by so many requests, each of another client, that begin at the workers in turn.
pub(super) fn counts(roster: &Roster, workers: &[Picker], requests: u32, now_ms: u64) -> Vec<u64> {
    let mut counts = vec![0; roster.members.len()];
    for request in 0..requests {
        let worker = &workers[request as usize % workers.len()];
        counts[worker.pick(roster, &asking(request, now_ms)).expect("one is available").member] += 1;
    }
    counts
}

/// Fails when counts are further from what was expected than one in 30,000 that chance makes of it (the chi-square test; its
/// bound by Wilson and Hilferty).
pub(super) fn is_by_chance(counts: &[u64], expected: &[f64]) {
    let sum: f64 = counts.iter().map(|&count| count as f64).sum();
    let parts: f64 = expected.iter().sum();
    let mut distance = 0.0;
    for (&count, part) in counts.iter().zip(expected) {
        let mean = sum * part / parts;
        assert!(mean > 0.0 || count == 0, "{counts:?} is not by {expected:?}");
        distance += if mean > 0.0 { (count as f64 - mean).powi(2) / mean } else { 0.0 };
    }
    let freedom = expected.iter().filter(|&&part| part > 0.0).count() as f64 - 1.0;
    let ninth = 2.0 / (9.0 * freedom);
    let bound = freedom * (1.0 - ninth + 4.0 * ninth.sqrt()).powi(3);
    assert!(freedom == 0.0 || distance < bound, "{counts:?} is not by {expected:?}: {distance} > {bound}");
}

pub(super) fn floats(weights: &[u16]) -> Vec<f64> {
    weights.iter().copied().map(f64::from).collect()
}

/// The members that may be chosen, and what is said of the choice.
fn permitted(roster: &Roster, tried: &[usize]) -> (HashSet<usize>, Option<Choice>) {
    let nobody_is_well = !roster.members.iter().any(|member| member.state.health.is_well());
    let any = roster.config.health.on_no_backend == OnNoBackend::Any && (tried.is_empty() || nobody_is_well);
    let mut ranks = [const { Vec::new() }; 4];
    for (index, member) in roster.members.iter().enumerate().filter(|(index, _)| !tried.contains(index)) {
        let ejected = match member.state.health.standing() {
            Standing::Alive => 0,
            Standing::Ejected if any => 2,
            _ => continue,
        };
        ranks[ejected + usize::from(member.backup)].push(index);
    }
    let choices = [Choice::Strategy, Choice::Backup, Choice::Ejected, Choice::Ejected];
    match ranks.into_iter().zip(choices).find(|(rank, _)| !rank.is_empty()) {
        None => (HashSet::new(), None),
        Some((rank, choice)) => {
            let is_only = roster.members.len() == 1 && choice != Choice::Ejected;
            (rank.into_iter().collect(), Some(if is_only { Choice::Only } else { choice }))
        }
    }
}

/// Pools of all kinds, with members that come and go: whoever is chosen may be chosen, and somebody is, if there is one.
#[test]
fn the_first_rank_that_has_somebody_is_chosen_from() {
    for seed in 0..2_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let strategy = rng.choice(STRATEGIES).unwrap();
        let heaviest = rng.choice([1, 3, 1000]).unwrap();
        let weights: Vec<u16> = (0..rng.usize(1..=7)).map(|_| rng.u16(1..=heaviest)).collect();
        let mut roster = roster(strategy, &weights);
        roster.configure(|config| {
            config.health.on_no_backend = rng.choice([OnNoBackend::Any, OnNoBackend::Fail]).unwrap();
            config.slow_start = Duration::from_secs(rng.u64(0..2) * 10);
        });
        let backups = rng.u8(0..4);
        roster.members.iter_mut().for_each(|member| member.backup = rng.u8(0..4) < backups);
        let workers = [roster.picker(rng.u64(..)), roster.picker(rng.u64(..))];
        for step in 0..60 {
            change_something(&roster, &mut rng, step * 500);
            let tried: Vec<_> = (0..rng.usize(0..3)).map(|_| rng.usize(..weights.len())).collect();
            let asking = Asking {
                client: Some(client(rng.u32(..1_000))).filter(|_| rng.bool()),
                now_ms: step * 500,
                ..asking_after(&tried)
            };
            let picked = workers[rng.usize(..2)].pick(&roster, &asking);
            let (members, choice) = permitted(&roster, &tried);
            assert_eq!(picked.map(|picked| picked.choice), choice, "seed {seed}, step {step}");
            assert!(picked.is_none_or(|picked| members.contains(&picked.member)), "seed {seed}, step {step}");
        }
    }
}

fn change_something(roster: &Roster, rng: &mut fastrand::Rng, now_ms: u64) {
    let index = rng.usize(..roster.members.len());
    let member = &roster.members[index];
    match rng.u8(0..8) {
        0 | 1 => roster.take_away(index),
        2 => drop(roster.mark_dead(member, now_ms)),
        3 | 4 => drop(roster.mark_alive(member, now_ms)),
        5 => member.state.running.store(rng.u32(0..5), Relaxed),
        6 => member.state.latency.sample(Duration::from_micros(rng.u64(1..1_000)), now_ms),
        _ => {}
    }
}

/// Those that leave nothing to chance.
const EXACT: [Strategy; 2] = [Strategy::RoundRobin, Strategy::LeastConnections];

/// One worker, and two.
fn one_and_two(roster: &Roster) -> [Vec<Picker>; 2] {
    let mut seeds = fastrand::Rng::with_seed(1);
    let mut worker = || roster.picker(seeds.u64(..));
    [vec![worker()], vec![worker(), worker()]]
}

/// Fails when so many requests are not shared as expected: by the strategies that are exact to the request, up to a turn for
/// each worker; else by chance. Nothing runs anywhere, so that every strategy has only weights to go by.
///
/// Where not all take part with what they weigh, parts of a turn are rounded, by less than a 1,024th of it.
#[track_caller]
fn are_shared(roster: &Roster, workers: &[Picker], requests: u32, now_ms: u64, expected: &[f64]) {
    let counts = counts(roster, workers, requests, now_ms);
    if !EXACT.contains(&roster.config.strategy) {
        return is_by_chance(&counts, expected);
    }
    let (parts, requests): (f64, _) = (expected.iter().sum(), f64::from(requests));
    let whole = roster.members.iter().zip(expected).all(|(member, &part)| f64::from(member.weight) == part);
    let tolerance = workers.len() as f64 + if whole { 0.0 } else { requests / 1024.0 };
    for (&count, part) in counts.iter().zip(expected) {
        let off = (count as f64 - requests * part / parts).abs();
        let is_right = if *part == 0.0 { count == 0 } else { off <= tolerance };
        assert!(is_right, "{:?}: {counts:?} is not by {expected:?}", roster.config.strategy);
    }
}

#[test]
fn shares_are_by_weight() {
    for weights in [&[1, 1][..], &[3, 2], &[5, 1, 1], &[1, 1, 1, 1], &[1, 2, 3, 4], &[1000, 1, 500, 20]] {
        for strategy in STRATEGIES {
            let roster = roster(strategy, weights);
            for workers in one_and_two(&roster) {
                are_shared(&roster, &workers, 20_000, 0, &floats(weights));
            }
        }
    }
}

/// Whole rounds have each exactly by its weight, however the requests come to the workers.
#[test]
fn whole_rounds_are_exact_over_two_workers() {
    for weights in [&[3, 2][..], &[1, 1, 1], &[7, 1, 4], &[100, 1, 33]] {
        let round: u32 = weights.iter().copied().map(u32::from).sum();
        for strategy in EXACT {
            let roster = roster(strategy, weights);
            let (workers, mut rng) = ([roster.picker(1), roster.picker(2)], fastrand::Rng::with_seed(3));
            let mut left = [20 * round; 2];
            let mut had = vec![0; weights.len()];
            while left != [0, 0] {
                let worker = rng.usize(..2);
                if left[worker] > 0 {
                    left[worker] -= 1;
                    had[workers[worker].pick(&roster, &asking(0, 0)).unwrap().member] += 1;
                }
            }
            let due: Vec<_> = weights.iter().map(|&weight| 40 * weight).collect();
            assert_eq!(had, due, "{strategy:?}");
        }
    }
}

/// Neither the choice before nor that of another worker says anything of the next one.
#[test]
fn random_choices_are_independent() {
    let weights = [1, 2, 3];
    for strategy in [Strategy::Random, Strategy::P2c, Strategy::LeastLatency] {
        let roster = roster(strategy, &weights);
        for workers in one_and_two(&roster) {
            let next = |worker: &Picker| worker.pick(&roster, &asking(0, 0)).unwrap().member;
            let mut pairs = [0; 9];
            for _ in 0..30_000 {
                pairs[3 * next(&workers[0]) + next(workers.last().unwrap())] += 1;
            }
            let products = weights.iter().flat_map(|one| weights.iter().map(move |other| one * other));
            is_by_chance(&pairs, &floats(&products.collect::<Vec<_>>()));
        }
    }
}

#[test]
fn who_is_away_leaves_its_share_to_the_others_by_weight() {
    let weights = [5, 1, 2, 4];
    for strategy in STRATEGIES {
        for away in 0..weights.len() {
            let roster = roster(strategy, &weights);
            roster.take_away(away);
            let mut expected = floats(&weights);
            expected[away] = 0.0;
            for workers in one_and_two(&roster) {
                are_shared(&roster, &workers, 30_000, 0, &expected);
            }
        }
    }
}

#[test]
fn backups_share_by_weight_when_no_other_is_available() {
    for strategy in STRATEGIES {
        let mut roster = roster(strategy, &[7, 3, 1]);
        roster.members[1].backup = true;
        roster.members[2].backup = true;
        for workers in one_and_two(&roster) {
            assert_eq!(counts(&roster, &workers, 100, 0), [100, 0, 0]);
            roster.take_away(0);
            are_shared(&roster, &workers, 10_000, 0, &[0.0, 3.0, 1.0]);
            roster.bring_back(0, 1);
            assert_eq!(counts(&roster, &workers, 100, 0), [100, 0, 0]);
        }
    }
}

/// With `on_no_backend = "any"`: first those that are no backups, and never one that is dead.
#[test]
fn when_all_are_ejected_they_share_by_weight() {
    for strategy in STRATEGIES {
        let mut roster = roster(strategy, &[2, 5, 1, 3]);
        roster.members[3].backup = true;
        (0..4).for_each(|member| roster.take_away(member));
        for workers in one_and_two(&roster) {
            are_shared(&roster, &workers, 20_000, 0, &[2.0, 5.0, 1.0, 0.0]);
        }
        roster.mark_dead(&roster.members[1], 0);
        for workers in one_and_two(&roster) {
            are_shared(&roster, &workers, 20_000, 0, &[2.0, 0.0, 1.0, 0.0]);
        }
        [0, 2].into_iter().for_each(|member| drop(roster.mark_dead(&roster.members[member], 0)));
        assert_eq!(counts(&roster, &[roster.picker(1)], 10, 0), [0, 0, 0, 10], "{strategy:?}");
    }
}

/// With `slow_start` a share goes up in a straight line, from a sixteenth.
#[test]
fn who_came_back_gets_its_share_little_by_little() {
    for strategy in STRATEGIES {
        for weights in [[1, 1, 1], [2, 1, 3]] {
            let mut roster = roster(strategy, &weights);
            roster.configure(|config| config.slow_start = Duration::from_secs(30));
            for workers in one_and_two(&roster) {
                roster.take_away(2);
                counts(&roster, &workers, 100, 0);
                roster.bring_back(2, 1_000);
                for (after_ms, part) in
                    [(0, 1.0 / 16.0), (10_000, 3.0 / 8.0), (20_000, 11.0 / 16.0), (30_000, 1.0)]
                {
                    let mut expected = floats(&weights);
                    expected[2] *= part;
                    are_shared(&roster, &workers, 20_000, 1_000 + after_ms, &expected);
                }
            }
        }
    }
}

#[test]
fn without_slow_start_who_came_back_has_its_share_at_once() {
    for strategy in STRATEGIES {
        let roster = roster(strategy, &[1, 1, 2]);
        for workers in one_and_two(&roster) {
            roster.take_away(2);
            counts(&roster, &workers, 100, 0);
            roster.bring_back(2, 1_000);
            are_shared(&roster, &workers, 20_000, 1_000, &[1.0, 1.0, 2.0]);
        }
    }
}

/// However few turns it has while it comes back, a pool that consists of it alone goes on.
#[test]
fn who_is_alone_gets_all_while_it_comes_back() {
    for strategy in STRATEGIES {
        for members in 1..3 {
            let mut roster = roster(strategy, &vec![1; members]);
            roster.configure(|config| config.slow_start = Duration::from_secs(30));
            (0..members).for_each(|member| roster.take_away(member));
            roster.bring_back(0, 1_000);
            let mut expected = vec![0; members];
            expected[0] = 100;
            assert_eq!(counts(&roster, &[roster.picker(1)], 100, 1_000), expected, "{strategy:?}");
        }
    }
}

#[test]
fn a_pool_of_backups_shares_by_weight() {
    for strategy in STRATEGIES {
        let mut roster = roster(strategy, &[3, 2, 5]);
        roster.members.iter_mut().for_each(|member| member.backup = true);
        for workers in one_and_two(&roster) {
            are_shared(&roster, &workers, 10_000, 0, &[3.0, 2.0, 5.0]);
        }
    }
}

/// Who takes part is looked at without asking those who change it: a choice goes on while somebody decides on an ejection.
#[test]
fn choosing_takes_no_lock() {
    for strategy in STRATEGIES {
        let mut roster = roster(strategy, &[1, 2, 3]);
        roster.configure(|config| config.slow_start = Duration::from_secs(30));
        roster.take_away(2);
        roster.bring_back(2, 1_000);
        roster.take_away(0);
        let picker = roster.picker(1);
        let _ejecting = roster.state.ejecting.lock().unwrap();
        let _pasts: Vec<_> = roster.members.iter().map(|member| member.state.health.past()).collect();
        let mut asking = asking(0, 2_000);
        let first = picker.pick(&roster, &asking).expect("one").member;
        asking.tried.add(first);
        assert!(picker.pick(&roster, &asking).is_some());
    }
}

#[test]
fn nobody_is_tried_twice() {
    for strategy in STRATEGIES {
        for weights in [&[1, 1, 1][..], &[1, 9, 1000]] {
            let roster = roster(strategy, weights);
            let picker = roster.picker(7);
            for number in 0..100 {
                let mut asking = asking(number, 0);
                let mut members = HashSet::new();
                for _ in weights {
                    let member = picker.pick(&roster, &asking).expect("one is left").member;
                    assert!(members.insert(member), "{strategy:?} {weights:?}");
                    asking.tried.add(member);
                }
                assert_eq!(picker.pick(&roster, &asking), None);
            }
        }
    }
}

#[test]
fn an_address_under_two_names_is_tried_once() {
    for strategy in STRATEGIES {
        let mut roster = roster(strategy, &[1, 1]);
        roster.members[1].address = roster.members[0].address.clone();
        roster.members[1].state = roster.members[0].state.clone();
        assert_eq!(roster.picker(1).pick(&roster, &asking_after(&[1])), None, "{strategy:?}");
    }
}

/// Those that may not be dialled are chosen when there is nothing else, as the error that comes of it says what is wrong.
#[test]
fn who_is_barred_takes_part_only_if_there_are_only_such() {
    let bars: [fn(&mut Member); 2] =
        [|member| member.is_own = true, |member| member.forbidden = Some(Forbidden::NotHttps)];
    for (strategy, bar) in STRATEGIES.into_iter().flat_map(|strategy| bars.map(|bar| (strategy, bar))) {
        let mut roster = roster(strategy, &[1, 1]);
        bar(&mut roster.members[0]);
        assert_eq!(counts(&roster, &[roster.picker(1)], 10, 0), [0, 10], "{strategy:?}");
        roster.take_away(1);
        assert_eq!(counts(&roster, &[roster.picker(1)], 10, 0), [0, 10], "{strategy:?}");
        roster.configure(|config| config.health.on_no_backend = OnNoBackend::Fail);
        assert_eq!(roster.picker(1).pick(&roster, &asking(0, 0)), None);
        roster.members.pop();
        assert_eq!(counts(&roster, &[roster.picker(1)], 10, 0), [10], "{strategy:?}");
    }
}

#[test]
fn without_members_there_is_none() {
    for strategy in STRATEGIES {
        let roster = roster(strategy, &[]);
        assert_eq!(roster.picker(1).pick(&roster, &asking(0, 0)), None, "{strategy:?}");
    }
}
