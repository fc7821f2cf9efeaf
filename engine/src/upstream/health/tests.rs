//! Ejecting and bringing back, over rosters of addresses that nobody dials.

use super::*;
use crate::upstream::samples::{self, member};
use ringway_config::{ActiveProbes, Health as Config};
use std::sync::Barrier;
use std::time::Duration;

const REFUSED: Failed = Failed::Refused;
const TIMEOUT: Failed = Failed::Timeout;

fn roster_with(count: u16, health: Config) -> Roster {
    let mut roster = samples::roster((1..=count).map(|number| member(number, 1)));
    roster.configure(|config| config.health = health);
    roster
}

fn roster(count: u16) -> Roster {
    roster_with(count, Config::default())
}

/// What is left of a pool after members went and others came.
fn changed(old: &Roster, stay: &[usize], new: u16) -> Roster {
    let again = |&index: &usize| {
        let Member { address, state, .. } = &old.members[index];
        Member { address: address.clone(), state: state.clone(), ..member(0, 1) }
    };
    let members = stay.iter().map(again).chain((0..new).map(|number| member(1000 + number, 1)));
    Roster { config: old.config.clone(), state: old.state.clone(), members: members.collect() }
}

impl Roster {
    fn standings(&self) -> Vec<Standing> {
        self.members.iter().map(|member| member.state.health.standing()).collect()
    }

    fn ejected(&self) -> Vec<usize> {
        let ejected = |&index: &usize| self.standings()[index] == Standing::Ejected;
        (0..self.members.len()).filter(ejected).collect()
    }

    fn recovered(&self, member: usize, now_ms: u64) -> Option<Change> {
        let event = self.recover(&self.members[member], Cause::ProbeSucceeded, now_ms);
        event.map(|event| event.change)
    }

    fn tally(&self) -> (u64, u64, u64) {
        let tally = self.changing();
        (tally.ejected, tally.spared, tally.recovered)
    }
}

fn change(event: Option<Event>) -> Option<Change> {
    event.map(|event| event.change)
}

#[test]
fn a_connection_that_cannot_be_made_ejects_at_once_and_the_rest_the_third_time() {
    for (failed, failures) in [
        (REFUSED, 1),
        (Failed::ConnectTimeout, 1),
        (Failed::Closed, 3),
        (Failed::BadResponse, 3),
        (TIMEOUT, 3),
        (Failed::Status(507), 3),
    ] {
        let roster = roster(2);
        for _ in 1..failures {
            assert_eq!(roster.failed(1, failed, 5), None);
        }
        let event = roster.failed(1, failed, 7).expect("an event");
        assert_eq!((event.change, event.cause), (Change::Ejected, Cause::Request(failed)));
        assert_eq!((event.available, event.members, event.at_ms), (1, 2, 7));
        assert_eq!(roster.ejected(), [1]);
        let past = roster.members[1].state.health.history();
        assert_eq!((past.since_ms, past.cause, past.ejections), (7, Some(event.cause), 1));
        assert_eq!(roster.members[1].state.health.failures(), failures);
    }
}

#[test]
fn max_failures_holds_for_every_kind() {
    for failed in [REFUSED, TIMEOUT] {
        let roster = roster_with(2, Config { max_failures: Some(2), ..Config::default() });
        assert_eq!(roster.failed(0, failed, 0), None);
        assert_eq!(change(roster.failed(0, failed, 0)), Some(Change::Ejected));
    }
}

#[test]
fn a_success_sets_the_count_back() {
    let roster = roster(2);
    for _ in 0..5 {
        assert_eq!(roster.failed(0, TIMEOUT, 0), None);
        assert_eq!(roster.failed(0, TIMEOUT, 0), None);
        assert_eq!(roster.succeeded(0, Choice::Strategy, 0), None);
    }
    assert_eq!((roster.ejected(), roster.members[0].state.health.failures()), (vec![], 0));
}

#[test]
fn a_pool_of_one_is_spared_and_that_is_told_once() {
    let roster = roster_with(1, Config { max_ejected_percent: 100, ..Config::default() });
    let spared = Some(Change::Spared(Bound::LastAvailable));
    assert_eq!(change(roster.failed(0, REFUSED, 0)), spared);
    assert!((1..100_000).all(|now_ms| roster.failed(0, REFUSED, now_ms).is_none()));
    assert_eq!((roster.ejected(), roster.tally()), (vec![], (0, 1, 0)));
    roster.succeeded(0, Choice::Only, 100_000);
    assert_eq!(change(roster.failed(0, REFUSED, 100_001)), spared, "another time of failures");
}

#[test]
fn one_that_fails_now_and_then_is_told_now_and_then() {
    let roster = roster(1);
    let told = (0..3 * SPARED_QUIET_MS).filter(|&now_ms| {
        roster.succeeded(0, Choice::Only, now_ms);
        roster.failed(0, REFUSED, now_ms).is_some()
    });
    assert_eq!(told.count(), 3);
}

#[test]
fn the_share_that_may_be_away_is_rounded_up() {
    for (members, percent, may) in
        [(2, 50, 1), (3, 50, 2), (4, 50, 2), (5, 50, 3), (5, 1, 1), (5, 0, 0), (4, 100, 3), (10, 30, 3)]
    {
        let roster = roster_with(members, Config { max_ejected_percent: percent, ..Config::default() });
        let changes: Vec<_> =
            (0..usize::from(members)).map(|index| change(roster.failed(index, REFUSED, 0))).collect();
        assert_eq!(roster.ejected().len(), may, "{members} members, {percent} %");
        assert!(changes[..may].iter().all(|change| *change == Some(Change::Ejected)));
        assert!(changes[may..].iter().all(|change| matches!(change, Some(Change::Spared(_)))));
    }
}

#[test]
fn what_was_spared_is_ejected_once_the_bound_allows() {
    let roster = roster(2);
    roster.failed(0, REFUSED, 0);
    assert_eq!(change(roster.failed(1, REFUSED, 0)), Some(Change::Spared(Bound::LastAvailable)));
    assert_eq!(roster.recovered(0, 1), Some(Change::Recovered));
    assert_eq!(change(roster.failed(1, REFUSED, 2)), Some(Change::Ejected));
    assert_eq!((roster.ejected(), roster.tally()), (vec![1], (2, 1, 1)));
}

#[test]
fn neither_our_own_address_nor_a_dead_one_nor_the_same_twice_counts_as_another() {
    let mut own = roster(2);
    own.members[1].is_own = true;
    assert_eq!(change(own.failed(0, REFUSED, 0)), Some(Change::Spared(Bound::LastAvailable)));
    let dead = roster(2);
    dead.mark_dead(&dead.members[1], 0);
    assert_eq!(change(dead.failed(0, REFUSED, 0)), Some(Change::Spared(Bound::LastAvailable)));
    let mut same = roster(2);
    same.members[1].state = same.members[0].state.clone();
    assert_eq!(change(same.failed(0, REFUSED, 0)), Some(Change::Spared(Bound::LastAvailable)));
}

#[test]
fn what_would_come_back_to_us_is_available_only_where_there_is_nothing_else() {
    let mut roster = roster(2);
    roster.members[1].is_own = true;
    assert!(roster.has_available());
    roster.eject_unbounded(&roster.members[0], Cause::Probe(REFUSED), 0);
    assert!(!roster.has_available(), "a request waits for the other one");
    roster.members[0].is_own = true;
    assert!(roster.has_available(), "it meets an error that says so");
    assert!(!changed(&roster, &[], 0).has_available(), "a name that does not resolve");
}

#[test]
fn failures_of_one_that_is_away_are_no_news() {
    let roster = roster(2);
    roster.failed(0, REFUSED, 0);
    assert!((0..1000).all(|now_ms| roster.failed(0, REFUSED, now_ms).is_none()));
    assert_eq!(roster.tally(), (1, 0, 0));
}

#[test]
fn a_request_that_had_no_other_brings_one_back_after_a_while() {
    let roster = roster(2);
    roster.failed(0, REFUSED, 1000);
    assert_eq!(roster.succeeded(0, Choice::Strategy, 9000), None, "it was sent before");
    assert_eq!(roster.succeeded(0, Choice::Ejected, 1000 + AWAY_MIN_MS - 1), None, "so soon");
    let event = roster.succeeded(0, Choice::Ejected, 1000 + AWAY_MIN_MS).expect("an event");
    assert_eq!((event.change, event.cause), (Change::Recovered, Cause::RequestSucceeded));
    let health = &roster.members[0].state.health;
    assert_eq!((health.standing(), health.failures()), (Standing::Alive, 0));
    assert_eq!(health.returned_ms(), 1000 + AWAY_MIN_MS);
}

#[test]
fn with_active_probes_they_alone_decide() {
    let active = ActiveProbes { interval: Duration::from_secs(1), rise: 2, fall: 3 };
    let roster = roster_with(1, Config { active: Some(active), ..Config::default() });
    let event = roster.eject_unbounded(&roster.members[0], Cause::Probe(TIMEOUT), 0).expect("an event");
    assert_eq!((event.change, event.available), (Change::Ejected, 0), "the last one, too");
    assert_eq!(roster.eject_unbounded(&roster.members[0], Cause::Probe(TIMEOUT), 0), None);
    assert_eq!(roster.succeeded(0, Choice::Ejected, 60_000), None);
    assert_eq!(roster.recovered(0, 60_000), Some(Change::Recovered));
    assert_eq!(roster.recovered(0, 60_000), None);
}

#[test]
fn one_that_is_dead_stays_so_until_a_person_says_otherwise() {
    let roster = roster(3);
    let dead = &roster.members[0];
    roster.failed(0, REFUSED, 0);
    assert_eq!(change(roster.mark_dead(dead, 1)), Some(Change::MarkedDead));
    assert_eq!(roster.mark_dead(dead, 1), None);
    assert_eq!(roster.failed(0, REFUSED, 2), None);
    assert_eq!(roster.succeeded(0, Choice::Ejected, 60_000), None);
    assert_eq!(roster.recovered(0, 60_000), None);
    assert_eq!(roster.eject_unbounded(dead, Cause::Probe(TIMEOUT), 60_000), None);
    assert_eq!(dead.state.health.standing(), Standing::Dead);
    assert_eq!(change(roster.mark_alive(dead, 61_000)), Some(Change::MarkedAlive));
    assert_eq!(roster.mark_alive(dead, 61_000), None);
    assert_eq!((dead.state.health.standing(), dead.state.health.failures()), (Standing::Alive, 0));
    assert_eq!(dead.state.health.returned_ms(), 61_000);
}

#[test]
fn one_that_never_was_away_has_returned_never_and_one_that_was_has() {
    let roster = roster(2);
    assert_eq!(roster.members[0].state.health.returned_ms(), 0);
    roster.failed(0, REFUSED, 0);
    roster.recovered(0, 0);
    assert_eq!(roster.members[0].state.health.returned_ms(), 1);
}

#[test]
fn a_pool_that_becomes_smaller_keeps_its_bounds() {
    let old = roster(4);
    old.failed(1, REFUSED, 10);
    old.failed(0, REFUSED, 20);
    assert!(old.keep_bounds(30).is_empty());
    let fewer = changed(&old, &[0, 1, 2], 0);
    assert!(fewer.keep_bounds(30).is_empty(), "two of three may be away");
    let two = changed(&old, &[0, 1], 0);
    let events = two.keep_bounds(30);
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].cause, &events[0].backend), (Cause::PoolShrank, &old.members[1].address));
    assert_eq!(two.ejected(), [0]);
    let one = changed(&two, &[0], 0);
    assert_eq!(one.keep_bounds(40).len(), 1, "a pool of one");
    assert!(one.ejected().is_empty());
}

#[test]
fn what_active_probes_ejected_stays_away_in_a_smaller_pool() {
    let old = roster(2);
    old.eject_unbounded(&old.members[0], Cause::Probe(REFUSED), 0);
    let one = changed(&old, &[0], 0);
    assert!(one.keep_bounds(10).is_empty());
    assert_eq!(one.ejected(), [0]);
}

#[test]
fn a_member_that_does_not_exist_is_nobody() {
    let roster = roster(1);
    assert_eq!(roster.failed(1, REFUSED, 0), None);
    assert_eq!(roster.succeeded(1, Choice::Only, 0), None);
}

#[test]
fn failures_without_end_are_counted_to_a_most() {
    let mark = Mark(u32::MAX);
    assert_eq!(mark.after_failure().0, u32::MAX);
    assert_eq!(Mark(0).after_failure().failures(), 1);
}

/// Two workers meet the failures of both backends of a pool at the same moment: one is ejected, never both.
#[test]
fn two_workers_never_eject_both_of_two() {
    for _ in 0..500 {
        let (roster, barrier) = (roster(2), Barrier::new(2));
        let changes = std::thread::scope(|scope| {
            let worker = |member| {
                let (roster, barrier) = (&roster, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    change(roster.failed(member, REFUSED, 0))
                })
            };
            [worker(0), worker(1)].map(|worker| worker.join().unwrap())
        });
        assert_eq!(roster.ejected().len(), 1);
        assert!(changes.contains(&Some(Change::Ejected)), "{changes:?}");
        assert!(changes.contains(&Some(Change::Spared(Bound::LastAvailable))), "{changes:?}");
    }
}

/// Several workers fail and bring back at one backend: each change is told as often as it happened.
#[test]
fn changes_that_workers_race_for_are_told_once() {
    let roster = roster(3);
    let worker = |_| {
        let mut told = (0, 0);
        for now_ms in 0..2_000 {
            told.0 += u64::from(change(roster.failed(0, REFUSED, now_ms)) == Some(Change::Ejected));
            told.1 += u64::from(roster.recovered(0, now_ms).is_some());
        }
        told
    };
    let told = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|number| scope.spawn(move || worker(number))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    });
    let (ejected, spared, recovered) = roster.tally();
    assert_eq!((told, spared), ((ejected, recovered), 0));
    let away = roster.ejected().len() as u64;
    assert_eq!(ejected - recovered, away);
}
