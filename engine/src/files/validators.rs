//! By what clients and caches know a version of a file again: its entity tag and the time of its last change (RFC 9110
//! section 8.8).
//!
//! The tag says when, and where, anything about the file was changed last, which nobody can set. When its bytes changed can be
//! set, and is: whatever unpacks an archive, or copies with times, gives two versions the same. The price: the same bytes, put
//! there twice or on two machines, have two tags.

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
    /// When its bytes changed last, in whole seconds since 1970, where that is known and could not happen again unseen.
    pub(super) modified_s: Option<u64>,
    /// The tag tells it from every other version: whatever changes from now on shows in the file's times.
    pub(super) strong: bool,
}

impl Validators {
    /// Those of a file, as `coding` gives it, that was seen like this at `now`.
    pub(super) fn new(status: &Status, coding: Coding, now: SystemTime) -> Self {
        let (changed_s, changed_ns) = status.changed;
        let coded = coding.token().map(|token| format!("-{token}")).unwrap_or_default();
        let tag = format!("\"{changed_s:x}.{changed_ns:x}-{:x}-{:x}{coded}\"", status.inode, status.length);
        let strong = is_old(status.changed, now);
        let (modified_s, _) = status.modified;
        // Section 8.8.2.1: none that lies in the future.
        let is_told = strong && is_old(status.modified, now) && modified_s >= FIRST_TIME_S;
        let modified_s = u64::try_from(modified_s).ok().filter(|&s| is_told && s <= seconds(now));
        Self { tag, modified_s, strong }
    }

    /// Last-Modified's value.
    pub(super) fn last_modified(&self) -> Option<String> {
        let since = Duration::from_secs(self.modified_s?);
        Some(httpdate::fmt_http_date(UNIX_EPOCH + since))
    }
}

/// Whether a change would show, were there another one: the last is further back than times are coarse.
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

    fn status(modified: Moment, changed: Moment) -> Status {
        Status { kind: Kind::Regular, length: 1234, device: 1, inode: 0xabc, modified, changed }
    }

    fn at(modified_s: i64, changed: Moment) -> Validators {
        let now = UNIX_EPOCH + Duration::from_secs(NOW_S.unsigned_abs());
        Validators::new(&status((modified_s, 5), changed), Coding::Identity, now)
    }

    #[test]
    fn a_tag_says_when_and_where_it_was_put() {
        let seen = at(NOW_S - 3600, (NOW_S - 100, 15));
        assert_eq!(seen.tag, "\"6553f09c.f-abc-4d2\"");
        assert_eq!(seen.last_modified().as_deref(), Some("Tue, 14 Nov 2023 21:13:20 GMT"));
        assert!(seen.strong);
        // The time of its bytes can be set.
        assert_eq!(seen.tag, at(1, (NOW_S - 100, 15)).tag);
        assert_ne!(seen.tag, at(NOW_S - 3600, (NOW_S - 100, 16)).tag);
        let file = status((NOW_S, 0), (NOW_S - 100, 15));
        let tag = |file: &Status, coding| Validators::new(file, coding, SystemTime::now()).tag;
        assert_eq!(tag(&file, Coding::Brotli), "\"6553f09c.f-abc-4d2-br\"");
        for other in [Status { inode: 1, ..file }, Status { length: 1, ..file }] {
            assert_ne!(tag(&other, Coding::Identity), seen.tag);
        }
    }

    #[test]
    fn what_changed_a_moment_ago_is_weak_whatever_time_was_set() {
        let at = |changed_s| at(NOW_S - 3600, (changed_s, 0));
        assert!(at(NOW_S - GRANULARITY_S - 1).strong);
        for changed_s in [
            NOW_S,
            NOW_S - GRANULARITY_S,
            // A clock that was set back, or another machine's.
            NOW_S + 1,
        ] {
            let seen = at(changed_s);
            assert!(!seen.strong && seen.last_modified().is_none(), "{changed_s}");
        }
    }

    #[test]
    fn times_that_are_none_and_those_to_come_are_not_told() {
        for modified_s in [0, 1, 315_532_800, -5, i64::MIN, NOW_S, NOW_S + 10, i64::MAX] {
            assert_eq!(at(modified_s, (NOW_S - 100, 0)).last_modified(), None, "{modified_s}");
        }
    }
}
