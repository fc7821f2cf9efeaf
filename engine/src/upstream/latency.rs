//! How quickly a backend answers: a peak EWMA of the time to the response head.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// After so long without a sample an e-th is left of it, in milliseconds.
const DECAY_MS: f64 = 10_000.0;
/// A point in time is told in these, in milliseconds; 32 bits hold 13 years.
const MOMENT_MS: u64 = 100;
/// A latency is told in these, in nanoseconds; 32 bits hold four minutes, and longer ones count as that. Finer than a
/// microsecond, because an average that moves by less than its grain does not move.
const GRAIN_NS: u64 = 64;

/// A peak EWMA, shared by the workers: what is higher is believed at once, what is lower as time passes. Without samples it decays,
/// so that a backend that nobody asks because it was slow is asked again.
///
/// One word: the latency above, the moment of the last change below; zero is no sample. Two workers that sample at once
/// come one after the other, as nothing else is written with it.
#[derive(Debug, Default)]
pub(crate) struct Latency(AtomicU64);

/// The word's two halves.
#[derive(Clone, Copy)]
struct Average {
    grains: u32,
    moment: u32,
}

impl Latency {
    /// Takes a sample; `now_ms` is in milliseconds since the process started. A request that failed has one, too: it would
    /// have taken at least so long.
    pub(crate) fn sample(&self, took: Duration, now_ms: u64) {
        let came = Average::of(took, now_ms);
        // Not written when nothing changes: others read this cache line all the time.
        let changed = |word| Some(Average::unpack(word)?.with(came).pack()).filter(|&new| new != word);
        let next = |word| if word == 0 { Some(came.pack()) } else { changed(word) };
        // Whatever it says, the word holds what it should.
        let _ = self.0.fetch_update(Relaxed, Relaxed, next);
    }

    /// What it is now, decayed; `None` without samples, and when nothing is left of them. `now_ms` is in milliseconds since the
    /// process started.
    pub(crate) fn now(&self, now_ms: u64) -> Option<Duration> {
        let grains = Average::unpack(self.0.load(Relaxed))?.decayed(moment(now_ms));
        (grains > 0).then(|| grained(grains))
    }

    /// What the last sample made of it; `None` without samples. For people, whom a latency that falls while nobody asks the
    /// backend would mislead.
    pub(crate) fn last(&self) -> Option<Duration> {
        Average::unpack(self.0.load(Relaxed)).map(|average| grained(average.grains))
    }
}

impl Average {
    fn of(took: Duration, now_ms: u64) -> Self {
        let grains = took.as_nanos() / u128::from(GRAIN_NS);
        // At least one, so that the word is never zero.
        let grains = u32::try_from(grains).unwrap_or(u32::MAX).max(1);
        Self { grains, moment: moment(now_ms) }
    }

    fn unpack(word: u64) -> Option<Self> {
        (word != 0).then_some(Self { grains: (word >> 32) as u32, moment: word as u32 })
    }

    fn pack(self) -> u64 {
        u64::from(self.grains) << 32 | u64::from(self.moment)
    }

    /// With a sample: the peak at once, else as much nearer to it as time has passed.
    fn with(self, came: Self) -> Self {
        let moment = self.moment.max(came.moment);
        if came.grains >= self.grains {
            return Self { grains: came.grains, moment };
        }
        let kept = f64::from(self.grains - came.grains) * remains(self.moment, came.moment);
        Self { grains: came.grains + kept as u32, moment }
    }

    fn decayed(self, moment: u32) -> u32 {
        (f64::from(self.grains) * remains(self.moment, moment)) as u32
    }
}

fn grained(grains: u32) -> Duration {
    Duration::from_nanos(u64::from(grains) * GRAIN_NS)
}

fn moment(now_ms: u64) -> u32 {
    u32::try_from(now_ms / MOMENT_MS).unwrap_or(u32::MAX)
}

/// What is left of an average after the time between two moments, from 0 to 1; all of it, if the second comes first, as another
/// worker's clock may be a tick ahead.
fn remains(since: u32, until: u32) -> f64 {
    let passed_ms = f64::from(until.saturating_sub(since)) * MOMENT_MS as f64;
    (-passed_ms / DECAY_MS).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn ms(latency: &Latency, now_ms: u64) -> f64 {
        latency.now(now_ms).expect("a sample").as_secs_f64() * 1000.0
    }

    fn is_near(value: f64, expected: f64) {
        assert!((value - expected).abs() <= expected * 0.001, "{value} is not {expected}");
    }

    #[test]
    fn without_samples_there_is_none() {
        assert_eq!(Latency::default().now(0), None);
        assert_eq!(Latency::default().now(1 << 40), None);
        assert_eq!(Latency::default().last(), None);
    }

    #[test]
    fn a_peak_counts_at_once_and_less_as_time_passes() {
        let latency = Latency::default();
        latency.sample(10 * MS, 0);
        latency.sample(200 * MS, 0);
        is_near(ms(&latency, 0), 200.0);
        latency.sample(10 * MS, 0);
        is_near(ms(&latency, 0), 200.0);
        latency.sample(10 * MS, 10_000);
        is_near(ms(&latency, 10_000), 10.0 + 190.0 / std::f64::consts::E);
    }

    #[test]
    fn many_samples_weigh_as_much_as_few_in_the_same_time() {
        let (often, once) = (Latency::default(), Latency::default());
        for latency in [&often, &once] {
            latency.sample(100 * MS, 0);
        }
        (1..=100).for_each(|moment| (0..50).for_each(|_| often.sample(MS, moment * MOMENT_MS)));
        once.sample(MS, 10_000);
        is_near(ms(&often, 10_000), ms(&once, 10_000));
    }

    #[test]
    fn small_differences_are_seen_in_time() {
        let latency = Latency::default();
        latency.sample(Duration::from_micros(100), 0);
        (1..=600).for_each(|moment| latency.sample(Duration::from_micros(90), moment * MOMENT_MS));
        assert!(ms(&latency, 60_000) < 0.0903, "{}", ms(&latency, 60_000));
    }

    #[test]
    fn an_idle_one_decays() {
        let latency = Latency::default();
        latency.sample(1000 * MS, 5_000);
        is_near(ms(&latency, 15_000), 1000.0 / std::f64::consts::E);
        is_near(ms(&latency, 35_000), 1000.0 / std::f64::consts::E.powi(3));
        assert_eq!(latency.now(1_000_000), None);
        // Looking changes nothing.
        is_near(ms(&latency, 5_000), 1000.0);
        assert_eq!(latency.last(), latency.now(5_000));
    }

    #[test]
    fn a_clock_that_is_behind_changes_nothing() {
        let latency = Latency::default();
        latency.sample(100 * MS, 10_000);
        latency.sample(10 * MS, 9_900);
        is_near(ms(&latency, 9_800), 100.0);
        latency.sample(200 * MS, 9_000);
        // The later moment holds.
        is_near(ms(&latency, 20_000), 200.0 / std::f64::consts::E);
    }

    #[test]
    fn the_ends_hold() {
        let latency = Latency::default();
        latency.sample(Duration::ZERO, 0);
        assert_eq!(latency.now(0), Some(Duration::from_nanos(GRAIN_NS)));
        latency.sample(Duration::MAX, u64::MAX);
        let most = Duration::from_nanos(u64::from(u32::MAX) * GRAIN_NS);
        assert_eq!(latency.now(u64::MAX), Some(most));
        assert!(most > Duration::from_secs(4 * 60));
    }

    #[test]
    fn a_peak_is_not_lost_between_threads() {
        let latency = Latency::default();
        std::thread::scope(|scope| {
            for thread in 1..=4u32 {
                let latency = &latency;
                scope.spawn(move || (1..=10_000).for_each(|i| latency.sample(i * thread * MS / 100, 0)));
            }
        });
        is_near(ms(&latency, 0), 400.0);
    }
}
