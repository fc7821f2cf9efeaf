//! When each name is asked: once its answer has aged, sooner after a failure, and not while a lookup runs. The time is told
//! by the caller.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::answer::Answer;
use super::wanted::{REFRESH, Refresh};

/// The time from a lookup that failed to the next one; it doubles with each that fails in a row, up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// The longest time between two lookups of a name that fail, also where its answers are used for longer.
const RETRY_MAX: Duration = REFRESH;

/// When each name is asked.
#[derive(Default)]
pub(super) struct Schedule {
    turns: HashMap<String, Turn>,
    /// The names that wait, by the time at which they are asked.
    waiting: BTreeSet<(Instant, String)>,
}

/// ```text
/// Waiting --due--> Asked --answer, failure, another source--> Waiting
/// ```
struct Turn {
    refresh: Refresh,
    /// When the last answer came, or when the name was taken up.
    since: Instant,
    /// How long the last answer holds, if it said so.
    ttl: Option<Duration>,
    /// Before the first answer nothing is waited for.
    answered: bool,
    /// Lookups in a row that failed, at least for one family.
    failures: u32,
    /// `None` while it is asked.
    due: Option<Instant>,
}

impl Schedule {
    /// Takes a name up; it is due at once.
    pub(super) fn add(&mut self, host: &str, refresh: Refresh, now: Instant) {
        self.remove(host);
        let turn = Turn { refresh, since: now, ttl: None, answered: false, failures: 0, due: None };
        self.turns.insert(host.to_owned(), turn);
        self.wait(host);
    }

    /// Forgets a name.
    pub(super) fn remove(&mut self, host: &str) {
        if let Some(due) = self.turns.remove(host).and_then(|turn| turn.due) {
            self.waiting.remove(&(due, host.to_owned()));
        }
    }

    /// Has a name asked so often from now on, counted from its last answer.
    pub(super) fn set_refresh(&mut self, host: &str, refresh: Refresh) {
        let Some(turn) = self.turns.get_mut(host) else { return };
        turn.refresh = refresh;
        if turn.due.is_some() {
            self.wait(host);
        }
    }

    /// Makes a name due at once, as if it had never been asked. A lookup of it that runs must have been given up.
    pub(super) fn ask_again(&mut self, host: &str, now: Instant) {
        if let Some(refresh) = self.turns.get(host).map(|turn| turn.refresh) {
            self.add(host, refresh, now);
        }
    }

    /// When the next name is due, of those that are not being asked.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.first().map(|(due, _)| *due)
    }

    /// A name that is due: the one that has been for longest. It is being asked from now on.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<String> {
        if self.next_due()? > now {
            return None;
        }
        let (_, host) = self.waiting.pop_first()?;
        if let Some(turn) = self.turns.get_mut(&host) {
            turn.due = None;
        }
        Some(host)
    }

    /// The lookup of a name has ended.
    pub(super) fn answered(&mut self, host: &str, answer: &Answer, now: Instant) {
        let Some(turn) = self.turns.get_mut(host) else { return };
        let whole = answer.as_ref().is_ok_and(|found| found.missing.is_none());
        turn.failures = if whole { 0 } else { turn.failures.saturating_add(1) };
        turn.ttl = answer.as_ref().ok().and_then(|found| found.ttl);
        (turn.since, turn.answered) = (now, true);
        self.wait(host);
    }

    /// Puts a name into the queue, at its place.
    fn wait(&mut self, host: &str) {
        let Some(turn) = self.turns.get_mut(host) else { return };
        let due = turn.since + turn.pause();
        if let Some(before) = turn.due.replace(due) {
            self.waiting.remove(&(before, host.to_owned()));
        }
        self.waiting.insert((due, host.to_owned()));
    }
}

impl Turn {
    /// From the last answer to the next question.
    fn pause(&self) -> Duration {
        let refresh = self.refresh.after(self.ttl);
        match (self.answered, self.failures) {
            (false, _) => Duration::ZERO,
            (true, 0) => refresh,
            (true, failures) => refresh.min(retry(failures)),
        }
    }
}

/// The time to wait after so many failures in a row, at least one.
fn retry(failures: u32) -> Duration {
    let doubled = 1_u32.checked_shl(failures - 1).and_then(|times| RETRY_FIRST.checked_mul(times));
    doubled.unwrap_or(RETRY_MAX).min(RETRY_MAX)
}

#[cfg(test)]
mod tests {
    use super::super::answer::{Family, Found};
    use super::*;

    /// A schedule with a clock of its own.
    struct Clock {
        schedule: Schedule,
        start: Instant,
        now: Instant,
    }

    impl Clock {
        fn new() -> Self {
            let start = Instant::now();
            Self { schedule: Schedule::default(), start, now: start }
        }

        fn add(&mut self, host: &str, dns_refresh: Option<u64>) {
            self.schedule.add(host, refresh(dns_refresh), self.now);
        }

        /// Goes to the time at which the next name is due, and takes it; gives the seconds since the start, and the name.
        fn next(&mut self) -> Option<(u64, String)> {
            let due = self.schedule.next_due()?;
            if due > self.now {
                let nearly = due - Duration::from_nanos(1);
                assert_eq!(self.schedule.take_due(nearly), None, "nothing is asked too soon");
            }
            self.now = self.now.max(due);
            let host = self.schedule.take_due(self.now)?;
            Some(((self.now - self.start).as_secs(), host))
        }

        fn answer(&mut self, host: &str, answer: &Answer) {
            self.schedule.answered(host, answer, self.now);
        }

        /// The times of the next `count` lookups of the one name, all of which end with `answer` at once.
        fn times(&mut self, count: usize, answer: &Answer) -> Vec<u64> {
            let next = |_| {
                let (at, host) = self.next().unwrap();
                self.answer(&host, answer);
                at
            };
            (0..count).map(next).collect()
        }
    }

    fn refresh(dns_refresh: Option<u64>) -> Refresh {
        Refresh::of(dns_refresh.map(Duration::from_secs))
    }

    fn good(ttl: Option<u64>) -> Answer {
        Found::of(["192.0.2.1".parse().unwrap()], ttl.map(Duration::from_secs))
    }

    fn bad() -> Answer {
        Err("it is gone".to_owned())
    }

    #[test]
    fn a_name_is_asked_when_its_answer_has_aged() {
        let cases = [
            (None, Some(5), [0, 5, 10]),
            (None, Some(0), [0, 1, 2]),
            (None, None, [0, 30, 60]),
            (None, Some(1_000_000), [0, 3600, 7200]),
            (Some(20), Some(5), [0, 20, 40]),
            (Some(7), None, [0, 7, 14]),
        ];
        for (dns_refresh, ttl, times) in cases {
            let mut clock = Clock::new();
            clock.add("a.test", dns_refresh);
            assert_eq!(clock.times(3, &good(ttl)), times, "{dns_refresh:?}, {ttl:?}");
        }
    }

    #[test]
    fn a_name_that_fails_is_asked_soon_and_then_more_rarely() {
        let mut clock = Clock::new();
        clock.add("a.test", None);
        assert_eq!(clock.times(8, &bad()), [0, 1, 3, 7, 15, 31, 61, 91]);
        // It is found: its TTL counts, and the next failure is the first one again.
        assert_eq!(clock.times(2, &good(Some(3600))), [121, 3721]);
        assert_eq!(clock.times(3, &bad()), [7321, 7322, 7324]);
    }

    #[test]
    fn failures_are_not_asked_for_more_often_than_answers() {
        let mut often = Clock::new();
        often.add("a.test", Some(2));
        assert_eq!(often.times(5, &bad()), [0, 1, 3, 5, 7]);
        let mut rarely = Clock::new();
        rarely.add("a.test", Some(3600));
        assert_eq!(rarely.times(8, &bad()), [0, 1, 3, 7, 15, 31, 61, 91]);
    }

    #[test]
    fn after_very_many_failures_the_pause_is_the_same() {
        assert_eq!(retry(1), RETRY_FIRST);
        for failures in [32, 33, 64, u32::MAX] {
            assert_eq!(retry(failures), RETRY_MAX);
        }
    }

    #[test]
    fn half_an_answer_is_asked_for_again_soon() {
        let half = |ttl| good(ttl).map(|found| Found { missing: Some(Family::V6), ..found });
        let mut clock = Clock::new();
        clock.add("a.test", None);
        assert_eq!(clock.times(4, &half(Some(3600))), [0, 1, 3, 7]);
        let mut short = Clock::new();
        short.add("a.test", None);
        assert_eq!(short.times(4, &half(Some(2))), [0, 1, 3, 5]);
    }

    #[test]
    fn who_waits_for_longest_comes_first_and_nobody_twice() {
        let mut clock = Clock::new();
        clock.add("b.test", Some(10));
        clock.now += Duration::from_secs(1);
        clock.add("a.test", Some(10));
        assert_eq!(clock.next(), Some((1, "b.test".to_owned())));
        assert_eq!(clock.next(), Some((1, "a.test".to_owned())));
        assert_eq!(clock.next(), None, "both are being asked");
        clock.now += Duration::from_secs(100);
        clock.answer("a.test", &good(None));
        assert_eq!(clock.next(), Some((111, "a.test".to_owned())));
        assert_eq!(clock.next(), None);
    }

    #[test]
    fn another_refresh_counts_from_the_last_answer() {
        let mut clock = Clock::new();
        clock.add("a.test", Some(100));
        assert_eq!(clock.times(1, &good(Some(8))), [0]);
        clock.schedule.set_refresh("a.test", refresh(Some(10)));
        assert_eq!(clock.times(1, &good(Some(8))), [10]);
        clock.schedule.set_refresh("a.test", refresh(None));
        assert_eq!(clock.times(1, &good(Some(8))), [18]);
        // While it is asked, the new one counts from the answer on.
        clock.next().unwrap();
        clock.schedule.set_refresh("a.test", refresh(Some(50)));
        assert_eq!(clock.schedule.next_due(), None);
        clock.answer("a.test", &good(None));
        assert_eq!(clock.times(1, &good(None)), [76]);
    }

    #[test]
    fn what_is_asked_again_is_due_at_once() {
        let mut clock = Clock::new();
        clock.add("a.test", None);
        clock.times(6, &bad());
        clock.schedule.ask_again("a.test", clock.now);
        assert_eq!(clock.times(2, &bad()), [31, 32], "its failures are forgotten");
        // Also while it is being asked.
        clock.next().unwrap();
        clock.schedule.ask_again("a.test", clock.now);
        assert_eq!(clock.next(), Some((34, "a.test".to_owned())));
    }

    #[test]
    fn what_was_removed_is_not_asked() {
        let mut clock = Clock::new();
        clock.add("a.test", None);
        clock.add("b.test", None);
        clock.schedule.remove("a.test");
        assert_eq!(clock.next(), Some((0, "b.test".to_owned())));
        clock.schedule.remove("b.test");
        clock.answer("b.test", &good(None));
        clock.schedule.set_refresh("b.test", refresh(None));
        clock.schedule.ask_again("b.test", clock.now);
        assert_eq!(clock.schedule.next_due(), None);
    }
}
