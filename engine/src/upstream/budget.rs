//! How many retries an upstream may have: so that an ill one is not beaten with more requests than it gets anyway.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

/// The time that is looked back at, in milliseconds.
const WINDOW_MS: u64 = 10_000;
/// The share of the requests in that time that may be retries.
const RETRIES_PERCENT: u64 = 20;
/// So many may be in any case.
const RETRIES_MIN: u64 = 10;
/// What happened in so many milliseconds is counted together.
const BUCKET_MS: u64 = 1_000;
/// Buckets that lie in the window with all they hold, the present one among them.
const BUCKETS_WITHIN: u64 = WINDOW_MS / BUCKET_MS;
/// Buckets that lie in the window at least in part.
const BUCKETS_TOUCHED: u64 = BUCKETS_WITHIN + 1;
/// Buckets that are kept; a power of two, for the division.
const BUCKETS_KEPT: usize = 16;

const _: () = assert!(WINDOW_MS.is_multiple_of(BUCKET_MS));
const _: () = assert!(BUCKETS_KEPT.is_power_of_two() && BUCKETS_KEPT as u64 >= BUCKETS_TOUCHED);

/// At most 20 % of the requests of the last 10 s may be retries, and 10 in any case.
///
/// # What holds exactly
/// With each retry that is let through, those that were let through in the 10 s before it are, with it, at most as many as the
/// requests that were deposited in the last 10 s allow; whatever the number of threads. For that the window of the retries
/// is rounded up to whole buckets, and the window of the requests down.
///
/// A retry is counted before it is looked whether it is one too many, and taken back if so. Of any that meet, the one that is
/// counted last sees all others (hence the sequential consistency). So they never exceed the bound together, but each of
/// two that meet at its edge may see the other and give way.
#[derive(Debug, Default)]
pub(crate) struct RetryBudget {
    requests: Buckets,
    withdrawn: Buckets,
}

impl RetryBudget {
    /// Counts requests that began at `began_ms`, in milliseconds since the process started. A worker tells several at once, and
    /// not at once; those that began long ago count no more.
    pub(crate) fn deposit(&self, requests: u64, began_ms: u64) {
        if requests > 0 {
            self.requests.add_in_time(requests, bucket(began_ms));
        }
    }

    /// Takes a retry out; `false` when none is left. `now_ms` is in milliseconds since the process started.
    pub(crate) fn withdraw(&self, now_ms: u64) -> bool {
        let now = bucket(now_ms);
        let counted_in = self.withdrawn.add(1, now);
        let is_allowed = self.withdrawn.sum(BUCKETS_TOUCHED, now) <= self.allowed(now);
        if !is_allowed {
            self.withdrawn.take_back(counted_in);
        }
        is_allowed
    }

    /// Gives back a retry that was withdrawn at `now_ms` and is not made.
    pub(crate) fn give_back(&self, now_ms: u64) {
        self.withdrawn.take_back(bucket(now_ms));
    }

    /// Retries in the window, which is that of [`withdraw`](Self::withdraw). `now_ms` is in milliseconds since the process started.
    pub(crate) fn withdrawn(&self, now_ms: u64) -> u64 {
        self.withdrawn.sum(BUCKETS_TOUCHED, bucket(now_ms))
    }

    fn allowed(&self, now: u64) -> u64 {
        let share = self.requests.sum(BUCKETS_WITHIN, now) * RETRIES_PERCENT / 100;
        share.max(RETRIES_MIN)
    }
}

/// The number of the bucket for a time; 32 bits hold 136 years.
fn bucket(now_ms: u64) -> u64 {
    now_ms / BUCKET_MS
}

/// Counts by time. Each is one word, so that a count never goes to another time than its own: the number of the bucket above,
/// the count below.
#[derive(Debug, Default)]
struct Buckets([AtomicU64; BUCKETS_KEPT]);

#[derive(Clone, Copy)]
struct Bucket {
    number: u64,
    count: u64,
}

impl Bucket {
    fn unpack(word: u64) -> Self {
        Self { number: word >> 32, count: word & u64::from(u32::MAX) }
    }

    /// With so many more in its own time, or in that of the bucket of this number, if that is later.
    fn and(self, count: u64, number: u64) -> Self {
        let before = if self.number >= number { self } else { Self { number, count: 0 } };
        Self { count: before.count + count, ..before }
    }

    fn pack(self) -> u64 {
        self.number << 32 | self.count.min(u64::from(u32::MAX))
    }
}

impl Buckets {
    /// Adds to a bucket, or to a later one that has taken its place: some worker's clock is behind. Gives the number of that which it
    /// was.
    fn add(&self, count: u64, number: u64) -> u64 {
        let added = |word| Bucket::unpack(word).and(count, number);
        let slot = self.slot(number);
        let (Ok(before) | Err(before)) = slot.fetch_update(SeqCst, Relaxed, |word| Some(added(word).pack()));
        added(before).number
    }

    /// Adds to a bucket, unless a later one has taken its place.
    fn add_in_time(&self, count: u64, number: u64) {
        let in_time = |word| Some(Bucket::unpack(word)).filter(|bucket| bucket.number <= number);
        let added = |word| Some(in_time(word)?.and(count, number).pack());
        // An error says that it came too late.
        let _ = self.slot(number).fetch_update(SeqCst, Relaxed, added);
    }

    /// Takes one back, unless its bucket's time is over.
    fn take_back(&self, number: u64) {
        let fewer = |word| {
            let bucket = Bucket::unpack(word);
            let count = bucket.count.checked_sub(1).filter(|_| bucket.number == number)?;
            Some(Bucket { count, ..bucket }.pack())
        };
        // An error says that it is gone already.
        let _ = self.slot(number).fetch_update(SeqCst, Relaxed, fewer);
    }

    /// What the last `buckets` hold, up to the present one, `now`, and beyond: some worker's clock may be ahead.
    fn sum(&self, buckets: u64, now: u64) -> u64 {
        let all = self.0.iter().map(|word| Bucket::unpack(word.load(SeqCst)));
        all.filter(|bucket| bucket.number + buckets > now).map(|bucket| bucket.count).sum()
    }

    fn slot(&self, number: u64) -> &AtomicU64 {
        &self.0[number as usize % BUCKETS_KEPT]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    fn withdraw_all(budget: &RetryBudget, now_ms: u64) -> u64 {
        (0..100_000).take_while(|_| budget.withdraw(now_ms)).count() as u64
    }

    #[test]
    fn ten_are_always_there() {
        let budget = RetryBudget::default();
        assert_eq!(withdraw_all(&budget, 0), RETRIES_MIN);
        assert_eq!(budget.withdrawn(0), RETRIES_MIN);
        assert_eq!(withdraw_all(&budget, WINDOW_MS), 0);
        assert_eq!(withdraw_all(&budget, WINDOW_MS + BUCKET_MS), RETRIES_MIN);
    }

    #[test]
    fn a_fifth_of_the_requests_is_there() {
        let budget = RetryBudget::default();
        budget.deposit(0, 0);
        budget.deposit(49, 500);
        assert_eq!(withdraw_all(&budget, 500), 10);
        budget.deposit(6, 900);
        assert_eq!(withdraw_all(&budget, 999), 1);
        budget.deposit(1_000, 5_000);
        assert_eq!(withdraw_all(&budget, 9_999), (1_055 / 5) - 11);
        // The requests of the first second are out of the window; the retries of that second may not be yet.
        assert_eq!(withdraw_all(&budget, 10_000), 0);
        assert_eq!(budget.withdrawn(10_000), 1_055 / 5);
        assert_eq!(withdraw_all(&budget, 14_999), 0);
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let budget = RetryBudget::default();
        budget.deposit(u64::from(u32::MAX) * 2, 0);
        assert_eq!(budget.allowed(0), u64::from(u32::MAX) * RETRIES_PERCENT / 100);
        // The slot of that bucket comes round again.
        let round_ms = BUCKETS_KEPT as u64 * BUCKET_MS;
        assert_eq!(budget.allowed(bucket(round_ms)), RETRIES_MIN);
        budget.deposit(100, round_ms);
        assert_eq!(withdraw_all(&budget, round_ms), 20);
        // Who tells of it that late tells nothing new.
        budget.deposit(100, 0);
        assert_eq!(withdraw_all(&budget, round_ms), 0);
        // A retry counts in any case.
        let (began_ms, behind_ms) = (2 * round_ms, round_ms);
        budget.deposit(100, began_ms);
        assert_eq!(withdraw_all(&budget, began_ms), 20);
        assert!(!budget.withdraw(behind_ms));
    }

    /// Every retry against a plain list of all that happened.
    #[test]
    fn no_ten_seconds_have_more() {
        let mut rng = fastrand::Rng::with_seed(1);
        let budget = RetryBudget::default();
        let (mut requests, mut retries) = (VecDeque::new(), VecDeque::new());
        let (mut now_ms, mut given) = (0, 0);
        for step in 0..200_000 {
            now_ms += [0, 0, 0, 3, 40, 700][rng.usize(..6)];
            if rng.u32(..3) > 0 {
                let count = rng.u64(..4);
                budget.deposit(count, now_ms);
                requests.extend((0..count).map(|_| now_ms));
            } else if budget.withdraw(now_ms) {
                retries.push_back(now_ms);
                given += 1;
            }
            for events in [&mut requests, &mut retries] {
                while events.front().is_some_and(|&at| at + WINDOW_MS <= now_ms) {
                    events.pop_front();
                }
            }
            let allowed = (requests.len() as u64 / 5).max(RETRIES_MIN);
            // Those that were let through stay, while requests grow old: a new one is what has to fit.
            let is_new = retries.back() == Some(&now_ms);
            assert!(
                !is_new || retries.len() as u64 <= allowed,
                "step {step}: {} of {allowed}",
                retries.len()
            );
        }
        assert!(given > 1_000, "{given}");
    }

    #[test]
    fn threads_do_not_exceed_it_together() {
        for round in 0..200 {
            let budget = RetryBudget::default();
            budget.deposit(100, 0);
            let meet = std::sync::Barrier::new(4);
            let given: u64 = std::thread::scope(|scope| {
                let withdraw = |thread: u64| {
                    meet.wait();
                    // Two see one second, two the next.
                    (0..40).filter(|_| budget.withdraw(thread / 2 * BUCKET_MS)).count() as u64
                };
                let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || withdraw(thread))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            assert!(given <= 20, "round {round}: {given}");
            // What was taken back is there again.
            assert_eq!(given + withdraw_all(&budget, BUCKET_MS), 20, "round {round}");
        }
    }
}
