//! The table against a map of all keys, on a virtual clock; under threads; and under a million keys.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;

use fastrand::Rng;

use super::{Rate, Table};

const SECOND_NS: u64 = 1_000_000_000;
/// Memory for a million keys.
const MILLION_BYTES: u64 = 16 << 20;

fn rate(interval_ns: u64, burst: u64) -> Rate {
    Rate { interval_ns, burst_ns: interval_ns * burst }
}

fn table(bytes: u64) -> Table {
    Table::new(bytes).unwrap()
}

/// How many of `requests` at one moment are let through.
fn let_through(table: &Table, key: u64, rate: Rate, now_ns: u64, requests: usize) -> usize {
    (0..requests).filter(|_| table.take(key, rate, now_ns).is_ok()).count()
}

#[test]
fn a_burst_and_then_one_an_interval() {
    let (table, rate) = (table(1 << 16), rate(SECOND_NS, 3));
    let passes = |at_ms: u64| let_through(&table, 7, rate, at_ms * 1_000_000, 10);
    assert_eq!(passes(0), 3);
    assert_eq!((passes(999), passes(1000), passes(1001), passes(1999)), (0, 1, 0, 0));
    assert_eq!(passes(4000), 3, "what was not used is saved up");
    assert_eq!(passes(1_000_000), 3, "up to a burst");
}

#[test]
fn a_refusal_says_how_much_too_soon() {
    let (table, rate) = (table(1 << 16), rate(600, 2));
    assert_eq!((table.take(1, rate, 0), table.take(1, rate, 100)), (Ok(()), Ok(())));
    assert_eq!(table.take(1, rate, 150), Err(450));
    assert_eq!(table.take(1, rate, 599), Err(1), "and does not count");
    assert_eq!(table.take(1, rate, 600), Ok(()));
}

#[test]
fn what_is_given_back_may_come_again() {
    let (table, rate) = (table(1 << 16), rate(SECOND_NS, 2));
    assert_eq!(let_through(&table, 1, rate, 0, 5), 2);
    table.give_back(1, rate);
    assert_eq!(let_through(&table, 1, rate, 0, 5), 1);
    table.give_back(2, rate);
    assert_eq!(let_through(&table, 2, rate, 0, 5), 2, "one that is not known has nothing to be given");
    (0..10).for_each(|_| table.give_back(1, rate));
    assert_eq!(let_through(&table, 1, rate, 0, 5), 2, "and nobody gets more than a burst");
}

#[test]
fn a_limit_that_changed_holds_for_what_was_counted() {
    let table = table(1 << 16);
    let (a_minute, an_hour) = (rate(SECOND_NS, 60), rate(3600 * SECOND_NS, 1));
    assert_eq!(let_through(&table, 1, a_minute, 0, 30), 30);
    let tighter = rate(6 * SECOND_NS, 10);
    assert_eq!(let_through(&table, 1, tighter, 0, 10), 5, "half of its burst is half of another one");
    // An hour ahead, under a limit of a second: busy, and no longer than that limit says.
    assert_eq!(let_through(&table, 2, an_hour, 0, 2), 1);
    let quick = rate(SECOND_NS / 10, 10);
    assert_eq!(let_through(&table, 2, quick, 0, 10), 0);
    assert_eq!(let_through(&table, 2, quick, SECOND_NS / 2, 10), 5);
    assert_eq!(let_through(&table, 2, an_hour, 10 * SECOND_NS, 2), 1);
}

#[test]
fn a_table_is_never_stricter_than_a_map_of_all_keys_and_mostly_the_same() {
    let (mut rng, mut forgotten) = (Rng::with_seed(1), 0);
    // A set, whose keys are forgotten all the time; and room for all.
    for (bytes, exact) in [(128, false), (1 << 20, true)] {
        for _ in 0..200 {
            let table = table(bytes);
            let rate = rate(rng.u64(1..1000), rng.u64(1..20));
            let keys: Vec<_> = (0..rng.usize(1..40)).map(|_| rng.u64(1..)).collect();
            let (mut model, mut now_ns) = (HashMap::new(), 0);
            for _ in 0..2000 {
                now_ns += rng.u64(0..rate.interval_ns);
                let key = keys[rng.usize(..keys.len())];
                let arrival_ns: &mut u64 = model.entry(key).or_default();
                let next_ns = now_ns.max(*arrival_ns) + rate.interval_ns;
                let expected = match next_ns.checked_sub(now_ns + rate.burst_ns) {
                    None | Some(0) => Ok(()),
                    Some(early_ns) => Err(early_ns),
                };
                let taken = table.take(key, rate, now_ns);
                if exact {
                    assert_eq!(taken, expected);
                }
                assert!(taken.is_ok() || taken <= expected, "{taken:?} {expected:?}");
                if taken.is_ok() {
                    // What was let through for want of memory counts as far as the model can.
                    *arrival_ns = next_ns.min(now_ns + rate.burst_ns);
                }
            }
            assert!(!exact || table.forgotten() == 0);
            forgotten += table.forgotten();
        }
    }
    assert!(forgotten > 0);
}

#[test]
fn threads_let_through_as_many_as_one_would() {
    const THREADS: usize = 4;
    const TAKES: usize = 200_000;
    const BURST: usize = THREADS * TAKES / 2;
    let (table, rate) = (table(1 << 16), rate(1000, BURST as u64));
    for now_ns in [0, 1000 * BURST as u64] {
        let passed: usize = thread::scope(|scope| {
            let take = || let_through(&table, 7, rate, now_ns, TAKES);
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, BURST);
    }
}

#[test]
fn a_new_key_of_several_threads_is_one_key() {
    const THREADS: usize = 2;
    const ROUNDS: usize = 30_000;
    // So few sets that keys of earlier rounds have to give way, and all of them idle by then.
    let (table, rate, mut rng) = (table(1 << 12), rate(1000, 1), Rng::with_seed(4));
    let keys: Vec<_> = (0..ROUNDS).map(|_| rng.u64(..)).collect();
    let (arrived, passed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let round = |(round, &key): (usize, &u64)| {
        // A barrier that no thread sleeps at: they are to come at the same moment.
        arrived.fetch_add(1, Relaxed);
        while arrived.load(Relaxed) < THREADS * (round + 1) {
            thread::yield_now();
        }
        passed.fetch_add(let_through(&table, key, rate, 1000 * round as u64, 1), Relaxed);
    };
    thread::scope(|scope| {
        (0..THREADS).for_each(|_| drop(scope.spawn(|| keys.iter().enumerate().for_each(round))))
    });
    assert_eq!(passed.load(Relaxed), ROUNDS);
    assert_eq!(table.forgotten(), 0);
}

#[test]
fn threads_whose_clocks_differ_let_through_what_the_rate_says() {
    const THREADS: u64 = 4;
    const TAKES: u64 = 200_000;
    // The clock is as fast as the threads are, and each of them is up to a hundred steps behind.
    let (table, rate, clock) = (table(1 << 16), rate(1000, 10), AtomicU64::new(1_000_000));
    let passed: u64 = thread::scope(|scope| {
        let take = |seed| {
            let mut rng = Rng::with_seed(seed);
            let now_ns = || clock.fetch_add(100, Relaxed) - 100 * rng.u64(0..100);
            std::iter::repeat_with(now_ns)
                .take(TAKES as usize)
                .filter(|&now_ns| table.take(9, rate, now_ns).is_ok())
                .count()
        };
        let threads: Vec<_> = (0..THREADS).map(|seed| scope.spawn(move || take(seed))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap() as u64).sum()
    });
    let expected = THREADS * TAKES * 100 / 1000;
    assert!(passed.abs_diff(expected) <= expected / 50, "{passed} of {expected}");
}

#[test]
fn a_million_keys_neither_free_a_noisy_one_nor_stop_the_others() {
    // Each key may come once a minute, ten times at once: after a request it is busy for a minute.
    let (table, rate) = (table(MILLION_BYTES), rate(60 * SECOND_NS, 10));
    let (mut rng, noisy) = (Rng::with_seed(3), 0xdead_beef_dead_beef);
    let (mut passed, mut refused) = (0, 0);
    for count in 0..1_000_000_u64 {
        // All within a second.
        let now_ns = count * SECOND_NS / 1_000_000;
        refused += u64::from(table.take(rng.u64(..), rate, now_ns).is_err());
        if count % 100 == 0 {
            passed += u64::from(table.take(noisy, rate, now_ns).is_ok());
        }
    }
    assert_eq!((passed, refused), (10, 0));
    assert_eq!(table.bytes(), MILLION_BYTES);
    assert!(table.forgotten() > 0, "as many as there is room for, by chance: some sets have more than eight");
}

#[test]
fn who_is_idle_goes_before_who_is_busy() {
    // One set.
    let (table, rate) = (table(128), rate(SECOND_NS, 10));
    assert_eq!(let_through(&table, 1, rate, 0, 20), 10);
    (2..9).for_each(|key| assert_eq!(let_through(&table, key, rate, 0, 1), 1));
    assert_eq!(table.forgotten(), 0);
    // The others are idle after a second, and give way to others without end; the first is not, and stays.
    for step in 1..9 {
        let now_ns = step * SECOND_NS;
        (0..7).for_each(|key| assert_eq!(let_through(&table, 100 * step + key, rate, now_ns, 1), 1));
        assert_eq!((let_through(&table, 1, rate, now_ns, 2), table.forgotten()), (1, 0));
    }
}
