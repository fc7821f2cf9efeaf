//! The time of day in log lines: the monotonic clock's reading, which an exchange takes anyway, against the time of day
//! that was read at the last tick; its text is kept as long as it holds.

use std::time::{Duration, Instant, SystemTime};

/// The length of `2026-11-21T08:49:37.123Z`, in bytes.
const RFC3339_BYTES: usize = 24;
/// The length of `21/Nov/2026:08:49:37 +0000`, in bytes.
const COMMON_BYTES: usize = 26;
/// Where the milliseconds stand in the first of them.
const MILLIS: std::ops::Range<usize> = 20..23;

/// The last millisecond of the year 9999: neither form goes further.
const LAST_MILLIS: u64 = 253_402_300_799_999;

/// A moment's texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeText {
    /// RFC 3339, in UTC, with milliseconds.
    pub(super) rfc3339: [u8; RFC3339_BYTES],
    /// The Common Log Format's.
    pub(super) common: [u8; COMMON_BYTES],
}

/// One worker's time of day.
pub(super) struct Clock {
    /// One moment by both clocks.
    read: Instant,
    read_micros: u64,
    /// The millisecond since 1970 that `text` says.
    millis: u64,
    text: TimeText,
}

impl Clock {
    pub(super) fn new() -> Self {
        let micros = since_1970(SystemTime::now());
        let millis = micros / 1000;
        Self { read: Instant::now(), read_micros: micros, millis, text: TimeText::new(millis) }
    }

    /// Looks at the time of day.
    pub(super) fn set(&mut self) {
        (self.read, self.read_micros) = (Instant::now(), since_1970(SystemTime::now()));
    }

    /// The texts of a moment after the last look.
    pub(super) fn at(&mut self, moment: Instant) -> &TimeText {
        let passed = moment.saturating_duration_since(self.read).as_micros() as u64;
        self.say((self.read_micros + passed) / 1000)
    }

    fn say(&mut self, millis: u64) -> &TimeText {
        if millis != self.millis {
            if millis / 1000 == self.millis / 1000 {
                let millis = millis % 1000;
                let digits = [millis / 100, millis / 10 % 10, millis % 10].map(|digit| b'0' + digit as u8);
                self.text.rfc3339[MILLIS].copy_from_slice(&digits);
            } else {
                self.text = TimeText::new(millis);
            }
            self.millis = millis;
        }
        &self.text
    }
}

/// Microseconds since 1970; a time before that counts as then.
fn since_1970(wall: SystemTime) -> u64 {
    wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

impl TimeText {
    pub(super) fn new(millis: u64) -> Self {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_millis(millis.min(LAST_MILLIS));
        // `Sat, 21 Nov 2026 08:49:37 GMT`
        let date = httpdate::fmt_http_date(wall);
        let mut words = date.split(' ').skip(1);
        let mut next = || words.next().unwrap_or_default();
        let (day, month, year, time) = (next(), next(), next(), next());
        let rfc3339 = humantime::format_rfc3339_millis(wall).to_string();
        let common = format!("{day}/{month}/{year}:{time} +0000");
        Self { rfc3339: fixed(&rfc3339), common: fixed(&common) }
    }
}

/// A text of a known length.
fn fixed<const N: usize>(text: &str) -> [u8; N] {
    text.as_bytes().try_into().unwrap_or([b'0'; N])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_moment() {
        let text = TimeText::new(784_111_777_042);
        assert_eq!(&text.rfc3339, b"1994-11-06T08:49:37.042Z");
        assert_eq!(&text.common, b"06/Nov/1994:08:49:37 +0000");
    }

    #[test]
    fn a_kept_text_goes_with_the_time() {
        let mut clock = Clock::new();
        for millis in [784_111_777_042, 784_111_777_042, 784_111_777_999, 784_111_778_000, 784_111_777_007] {
            assert_eq!(*clock.say(millis), TimeText::new(millis));
        }
        let (read, wall) = (clock.read, clock.read_micros / 1000);
        assert_eq!(*clock.at(read + Duration::from_secs(2)), TimeText::new(wall + 2000));
    }

    #[test]
    fn no_time_of_day_is_out_of_range() {
        assert_eq!(since_1970(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), 0);
        assert_eq!(&TimeText::new(u64::MAX).rfc3339, b"9999-12-31T23:59:59.999Z");
    }
}
