//! By what clients and caches know a version of a file again: its entity tag and the time of its last change (RFC 9110
//! section 8.8).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::coding::Coding;
use crate::net::file::{Moment, Status};

/// How coarse the times of a file may be, in seconds: two on FAT. What changed less long ago may change again and keep its time.
const GRANULARITY_S: i64 = 2;
/// Times before this, 2 January 1980, in seconds since 1970, are none: tools that build the same bytes from the same source set
/// every file to 0, to 1 or to the beginning of 1980.
const FIRST_TIME_S: i64 = 315_619_200;

/// What a version of a file is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Validators {
    /// The entity tag, with its quotes and without a `W/`.
    pub(super) tag: String,
    /// When it changed last, in whole seconds since 1970, where that is known.
    pub(super) modified_s: Option<u64>,
    /// Its times tell it from every other version: the tag, and the time, are strong.
    pub(super) strong: bool,
}

impl Validators {
    /// Those of a file, as `coding` gives it, that was seen like this at `now`.
    pub(super) fn new(status: &Status, coding: Coding, now: SystemTime) -> Self {
        let (modified_s, modified_ns) = status.modified;
        let has_time = modified_s >= FIRST_TIME_S;
        let mut tag = format!("\"{modified_s:x}.{modified_ns:x}-{:x}", status.length);
        if !has_time {
            let (changed_s, changed_ns) = status.changed;
            tag += &format!("-{:x}-{changed_s:x}.{changed_ns:x}", status.inode);
        }
        if let Some(token) = coding.token() {
            tag += &format!("-{token}");
        }
        tag.push('"');
        // Section 8.8.2.1: none that lies in the future.
        let modified_s = u64::try_from(modified_s).ok().filter(|&s| has_time && s <= seconds(now));
        let strong = if has_time { is_old(status.modified, now) } else { is_settled(status, now) };
        Self { tag, modified_s, strong }
    }

    /// Last-Modified's value.
    pub(super) fn last_modified(&self) -> Option<String> {
        let since = Duration::from_secs(self.modified_s?);
        Some(httpdate::fmt_http_date(UNIX_EPOCH + since))
    }
}

/// Whether the file has been as it is for so long that another change would show in its times, whoever sets them.
pub(super) fn is_settled(status: &Status, now: SystemTime) -> bool {
    is_old(status.modified, now) && is_old(status.changed, now)
}

fn is_old((at_s, _): Moment, now: SystemTime) -> bool {
    let now = i64::try_from(seconds(now)).unwrap_or(i64::MAX);
    now.abs_diff(at_s) > GRANULARITY_S.unsigned_abs()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::file::Kind;

    const NOW_S: i64 = 1_700_000_000;

    fn status(modified: Moment) -> Status {
        let changed = (NOW_S - 100, 7);
        Status { kind: Kind::Regular, length: 1234, device: 1, inode: 0xabc, modified, changed }
    }

    fn at(modified: Moment) -> Validators {
        let now = UNIX_EPOCH + Duration::from_secs(NOW_S.unsigned_abs());
        Validators::new(&status(modified), Coding::Identity, now)
    }

    #[test]
    fn a_tag_says_time_and_length() {
        let seen = at((NOW_S - 3600, 15));
        assert_eq!(seen.tag, "\"6553e2f0.f-4d2\"");
        assert_eq!(seen.last_modified().as_deref(), Some("Tue, 14 Nov 2023 21:13:20 GMT"));
        assert!(seen.strong);
        assert_ne!(seen.tag, at((NOW_S - 3600, 16)).tag);
        let compressed = Validators::new(&status((NOW_S - 3600, 15)), Coding::Brotli, SystemTime::now());
        assert_eq!(compressed.tag, "\"6553e2f0.f-4d2-br\"");
    }

    #[test]
    fn what_changed_a_moment_ago_is_weak() {
        assert!(!at((NOW_S, 0)).strong);
        assert!(!at((NOW_S - GRANULARITY_S, 0)).strong);
        assert!(at((NOW_S - GRANULARITY_S - 1, 0)).strong);
        // A clock that was set back, or another machine's.
        assert!(!at((NOW_S + 1, 0)).strong);
    }

    #[test]
    fn a_moment_ago_counts_whatever_time_was_set() {
        let now = UNIX_EPOCH + Duration::from_secs(NOW_S.unsigned_abs());
        let replaced = Status { changed: (NOW_S, 0), ..status((NOW_S - 3600, 0)) };
        assert!(!is_settled(&replaced, now));
    }

    #[test]
    fn times_that_are_none_and_those_to_come_are_not_told() {
        for modified in [0, 1, 315_532_800, -5, i64::MIN, NOW_S + 10, i64::MAX] {
            assert_eq!(at((modified, 0)).last_modified(), None, "{modified}");
        }
        // What is left to tell versions by is when and where they were put.
        assert!(at((1, 0)).tag.contains("-abc-"), "{}", at((1, 0)).tag);
    }
}
