//! When a backend is probed, and what the answers add up to. Times are given, in milliseconds since the program started.
//!
//! ```text
//!        ejected                              active = true
//! Rests --------> Recovers (1, 2, 4, … s)   any -----------> Watched (each interval)
//!   ^----------------'  alive or dead again
//! ```

use std::time::Duration;

use ringway_config::{ActiveProbes, Health};
use ringway_engine::{Failed, Standing};

/// How long after its ejection a backend is probed first; each time after that takes twice as long.
const FIRST_PROBE: Duration = Duration::from_secs(1);

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is alive.
    Alive,
    /// Something is wrong with it.
    Ill(Failed),
    /// The probe could not be made, which says nothing about it.
    Unknown,
}

/// What is to be done with a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Nothing,
    Eject(Failed),
    Recover,
}

/// How a backend stands: two looks between which it was ejected again differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) standing: Standing,
    pub(super) ejections: u64,
}

/// What a probe that began belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begun(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// It is not probed.
    Rests,
    /// It is ejected, and probed less and less often.
    Recovers { delay_ms: u64 },
    /// It is probed at all times; so many answers in a row speak against its standing.
    Watched { streak: u32 },
}

/// One backend's.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Where in its interval a watched one is probed, as a fraction of 2^32.
    phase: u32,
    seen: Seen,
    course: Course,
    due_ms: Option<u64>,
    runs: bool,
    /// Counts changes after which the answer to an older probe says nothing.
    turns: u64,
}

impl Schedule {
    /// For the `number`th backend that is followed: consecutive numbers spread over an interval, however many there are.
    pub(super) fn new(number: u64) -> Self {
        /// 2^32 over the golden ratio: its multiples fill the circle evenly.
        const GOLDEN: u32 = 0x9e37_79b9;
        let seen = Seen { standing: Standing::Alive, ejections: 0 };
        let phase = (number as u32).wrapping_mul(GOLDEN);
        Self { phase, seen, course: Course::Rests, due_ms: None, runs: false, turns: 0 }
    }

    /// When the next probe is due. `None`: never, or one runs.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.due_ms.filter(|_| !self.runs)
    }

    /// Follows what the configuration says, and how the backend stands.
    pub(super) fn look(&mut self, health: &Health, seen: Seen, now_ms: u64) {
        let differs = std::mem::replace(&mut self.seen, seen) != seen;
        match (seen.standing, health.active) {
            (Standing::Dead, _) | (Standing::Alive, None) => self.rest(),
            (Standing::Ejected, None) => self.recover(health, differs, now_ms),
            (Standing::Alive | Standing::Ejected, Some(active)) => self.watch(active, differs, now_ms),
        }
    }

    fn rest(&mut self) {
        if self.course != Course::Rests {
            self.turn(Course::Rests, None);
        }
    }

    fn recover(&mut self, health: &Health, differs: bool, now_ms: u64) {
        if differs || !matches!(self.course, Course::Recovers { .. }) {
            let delay_ms = in_ms(FIRST_PROBE.min(health.recovery_interval));
            self.turn(Course::Recovers { delay_ms }, Some(now_ms + delay_ms));
        }
        self.no_later_than(now_ms + in_ms(health.recovery_interval));
    }

    fn watch(&mut self, active: ActiveProbes, differs: bool, now_ms: u64) {
        let interval_ms = in_ms(active.interval);
        if !matches!(self.course, Course::Watched { .. }) {
            // The product of both fits, as an interval has at most 2^32 ms: that is 49 days.
            let into_ms = (interval_ms.min(u64::from(u32::MAX)) * u64::from(self.phase)) >> 32;
            self.turn(Course::Watched { streak: 0 }, Some(now_ms + into_ms));
        } else if differs {
            self.turn(Course::Watched { streak: 0 }, self.due_ms);
        }
        self.no_later_than(now_ms + interval_ms);
    }

    fn turn(&mut self, course: Course, due_ms: Option<u64>) {
        (self.course, self.due_ms) = (course, due_ms);
        self.turns += 1;
    }

    fn no_later_than(&mut self, at_ms: u64) {
        self.due_ms = self.due_ms.map(|due_ms| due_ms.min(at_ms));
    }

    /// A probe begins. It is said to [`ended`](Self::ended) what this gives.
    pub(super) fn begin(&mut self, health: &Health, now_ms: u64) -> Begun {
        self.runs = true;
        // Those that were missed are not made up for.
        let next_ms = |due_ms: u64, active: ActiveProbes| (due_ms + in_ms(active.interval)).max(now_ms);
        self.due_ms = self.due_ms.zip(health.active).map(|(due_ms, active)| next_ms(due_ms, active));
        Begun(self.turns)
    }

    /// The probe ended.
    pub(super) fn ended(&mut self, begun: Begun, found: Found, health: &Health, now_ms: u64) -> Verdict {
        self.runs = false;
        if begun != Begun(self.turns) {
            return Verdict::Nothing;
        }
        match &mut self.course {
            Course::Rests => Verdict::Nothing,
            Course::Recovers { delay_ms } => {
                if matches!(found, Found::Ill(_)) {
                    *delay_ms = (*delay_ms * 2).min(in_ms(health.recovery_interval));
                }
                self.due_ms = Some(now_ms + *delay_ms);
                if found == Found::Alive { Verdict::Recover } else { Verdict::Nothing }
            }
            Course::Watched { streak } => match (self.seen.standing, found, health.active) {
                (Standing::Alive, Found::Ill(failed), Some(active)) => {
                    *streak += 1;
                    if *streak >= active.fall { Verdict::Eject(failed) } else { Verdict::Nothing }
                }
                (Standing::Ejected, Found::Alive, Some(active)) => {
                    *streak += 1;
                    if *streak >= active.rise { Verdict::Recover } else { Verdict::Nothing }
                }
                (_, Found::Alive | Found::Ill(_), _) => {
                    *streak = 0;
                    Verdict::Nothing
                }
                (_, Found::Unknown, _) => Verdict::Nothing,
            },
        }
    }
}

/// At least one, so that time goes on.
fn in_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ILL: Found = Found::Ill(Failed::Refused);
    const ALIVE: Seen = Seen { standing: Standing::Alive, ejections: 0 };
    const DEAD: Seen = Seen { standing: Standing::Dead, ejections: 0 };

    fn ejected(ejections: u64) -> Seen {
        Seen { standing: Standing::Ejected, ejections }
    }

    fn passive(recovery_interval: u64) -> Health {
        Health { recovery_interval: Duration::from_secs(recovery_interval), ..Health::default() }
    }

    fn active(interval_s: u64, rise: u32, fall: u32) -> Health {
        let interval = Duration::from_secs(interval_s);
        Health { active: Some(ActiveProbes { interval, rise, fall }), ..Health::default() }
    }

    /// Probes at once when it is due, and says what was found; gives when that was.
    fn probe(schedule: &mut Schedule, found: Found, health: &Health) -> (u64, Verdict) {
        let due_ms = schedule.due_ms().expect("a probe is due");
        let begun = schedule.begin(health, due_ms);
        assert_eq!(schedule.due_ms(), None, "one at a time");
        (due_ms, schedule.ended(begun, found, health, due_ms))
    }

    #[test]
    fn one_that_is_well_is_not_probed_without_active_probes() {
        let mut schedule = Schedule::new(1);
        schedule.look(&passive(60), ALIVE, 0);
        assert_eq!(schedule.due_ms(), None);
    }

    #[test]
    fn an_ejected_one_is_probed_less_and_less_often_up_to_the_interval() {
        let (mut schedule, health) = (Schedule::new(1), passive(10));
        schedule.look(&health, ejected(1), 5_000);
        let times: Vec<_> = (0..7).map(|_| probe(&mut schedule, ILL, &health).0).collect();
        assert_eq!(times, [6_000, 8_000, 12_000, 20_000, 30_000, 40_000, 50_000]);
        assert_eq!(probe(&mut schedule, Found::Alive, &health), (60_000, Verdict::Recover));
        schedule.look(&health, Seen { standing: Standing::Alive, ejections: 1 }, 60_000);
        assert_eq!(schedule.due_ms(), None);
        schedule.look(&health, ejected(2), 70_000);
        assert_eq!(schedule.due_ms(), Some(71_000), "it begins again");
    }

    #[test]
    fn a_recovery_interval_below_a_second_holds() {
        let mut schedule = Schedule::new(1);
        let health = Health { recovery_interval: Duration::from_millis(200), ..Health::default() };
        schedule.look(&health, ejected(1), 0);
        let times: Vec<_> = (0..3).map(|_| probe(&mut schedule, ILL, &health).0).collect();
        assert_eq!(times, [200, 400, 600]);
    }

    #[test]
    fn one_that_was_ejected_again_between_two_looks_begins_again() {
        let (mut schedule, health) = (Schedule::new(1), passive(60));
        schedule.look(&health, ejected(1), 0);
        for _ in 0..4 {
            probe(&mut schedule, ILL, &health);
        }
        schedule.look(&health, ejected(1), 16_000);
        assert_eq!(schedule.due_ms(), Some(31_000));
        schedule.look(&health, ejected(2), 17_000);
        assert_eq!(schedule.due_ms(), Some(18_000));
    }

    #[test]
    fn an_interval_that_became_shorter_holds_at_once() {
        let mut schedule = Schedule::new(1);
        schedule.look(&passive(600), ejected(1), 0);
        for _ in 0..9 {
            probe(&mut schedule, ILL, &passive(600));
        }
        assert_eq!(schedule.due_ms(), Some(511_000 + 512_000));
        schedule.look(&passive(5), ejected(1), 520_000);
        assert_eq!(schedule.due_ms(), Some(525_000));
    }

    #[test]
    fn one_that_is_dead_is_never_probed() {
        for health in [passive(60), active(1, 1, 1)] {
            let mut schedule = Schedule::new(1);
            schedule.look(&health, ejected(1), 0);
            assert!(schedule.due_ms().is_some());
            schedule.look(&health, DEAD, 0);
            assert_eq!(schedule.due_ms(), None);
        }
    }

    #[test]
    fn an_answer_that_is_late_says_nothing() {
        let (mut schedule, health) = (Schedule::new(1), passive(60));
        schedule.look(&health, ejected(1), 0);
        let begun = schedule.begin(&health, 1_000);
        // Meanwhile it came back by a request, and fell ill again.
        schedule.look(&health, ejected(2), 1_500);
        assert_eq!(schedule.due_ms(), None, "one at a time");
        assert_eq!(schedule.ended(begun, Found::Alive, &health, 1_800), Verdict::Nothing);
        assert_eq!(schedule.due_ms(), Some(2_500));
        schedule.look(&health, DEAD, 2_000);
        assert_eq!(schedule.due_ms(), None);
    }

    #[test]
    fn a_probe_that_could_not_be_made_changes_nothing() {
        let (mut schedule, health) = (Schedule::new(1), passive(60));
        schedule.look(&health, ejected(1), 0);
        assert_eq!(probe(&mut schedule, Found::Unknown, &health), (1_000, Verdict::Nothing));
        assert_eq!(schedule.due_ms(), Some(2_000));
        let (mut schedule, health) = (Schedule::new(0), active(1, 2, 2));
        schedule.look(&health, ALIVE, 0);
        assert_eq!(probe(&mut schedule, ILL, &health).1, Verdict::Nothing);
        assert_eq!(probe(&mut schedule, Found::Unknown, &health).1, Verdict::Nothing);
        assert_eq!(probe(&mut schedule, ILL, &health).1, Verdict::Eject(Failed::Refused));
    }

    #[test]
    fn active_probes_come_each_interval_and_eject_after_fall_and_bring_back_after_rise() {
        let (mut schedule, health) = (Schedule::new(0), active(10, 2, 3));
        schedule.look(&health, ALIVE, 500);
        let found = [ILL, ILL, Found::Alive, ILL, ILL, ILL];
        let told: Vec<_> = found.map(|found| probe(&mut schedule, found, &health)).into();
        assert!(told.iter().map(|told| told.0).eq((0..6).map(|number| 500 + 10_000 * number)), "{told:?}");
        assert!(told[..5].iter().all(|told| told.1 == Verdict::Nothing), "{told:?}");
        assert_eq!(told[5].1, Verdict::Eject(Failed::Refused));
        schedule.look(&health, ejected(1), 50_501);
        let found = [Found::Alive, ILL, Found::Alive, Found::Alive];
        let told = found.map(|found| probe(&mut schedule, found, &health).1);
        assert_eq!(told, [Verdict::Nothing, Verdict::Nothing, Verdict::Nothing, Verdict::Recover]);
    }

    #[test]
    fn good_answers_from_before_an_ejection_do_not_bring_back() {
        let (mut schedule, health) = (Schedule::new(0), active(1, 2, 3));
        schedule.look(&health, ALIVE, 0);
        for _ in 0..5 {
            probe(&mut schedule, Found::Alive, &health);
        }
        let begun = schedule.begin(&health, 5_000);
        // Failures of requests eject it while the probe is on its way.
        schedule.look(&health, ejected(1), 5_100);
        assert_eq!(schedule.ended(begun, Found::Alive, &health, 5_200), Verdict::Nothing);
        assert_eq!(probe(&mut schedule, Found::Alive, &health), (6_000, Verdict::Nothing), "its own rhythm");
        assert_eq!(probe(&mut schedule, Found::Alive, &health), (7_000, Verdict::Recover));
    }

    #[test]
    fn missed_probes_are_not_made_up_for_and_slow_ones_do_not_pile_up() {
        let (mut schedule, health) = (Schedule::new(0), active(1, 1, 1));
        schedule.look(&health, ALIVE, 0);
        let begun = schedule.begin(&health, 0);
        schedule.look(&health, ALIVE, 2_500);
        assert_eq!(schedule.due_ms(), None);
        schedule.ended(begun, Found::Alive, &health, 4_700);
        schedule.begin(&health, 4_700);
        schedule.runs = false;
        assert_eq!(schedule.due_ms(), Some(4_700), "the one that is due meanwhile");
        schedule.begin(&health, 4_700);
        schedule.runs = false;
        assert_eq!(schedule.due_ms(), Some(5_700));
    }

    #[test]
    fn first_probes_are_spread_over_the_interval() {
        let health = active(1, 1, 1);
        for count in [10, 100, 1000] {
            let mut times: Vec<_> = (0..count)
                .map(|number| {
                    let mut schedule = Schedule::new(number);
                    schedule.look(&health, ALIVE, 0);
                    schedule.due_ms().expect("a probe is due")
                })
                .collect();
            times.sort_unstable();
            let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(*times.last().expect("one") < 1_000);
            assert!(gaps.max().expect("some") <= 2_600 / count + 1, "{count}: {times:?}");
        }
    }

    #[test]
    fn switching_active_probes_changes_the_course() {
        let mut schedule = Schedule::new(0);
        schedule.look(&passive(60), ejected(1), 0);
        schedule.look(&active(10, 1, 1), ejected(1), 100);
        assert_eq!(schedule.due_ms(), Some(100));
        schedule.look(&passive(60), ejected(1), 200);
        assert_eq!(schedule.due_ms(), Some(1_200));
        schedule.look(&passive(60), Seen { standing: Standing::Alive, ejections: 1 }, 300);
        assert_eq!(schedule.due_ms(), None);
    }
}
