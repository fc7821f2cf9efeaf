//! Byte ranges (RFC 9110 section 14).

use std::ops::Range;

/// The most ranges that a request may ask for. One with more of them is answered with the whole.
const RANGES: usize = 16;

/// What a Range field comes to for something of a certain length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ranges {
    /// It is not followed: the whole is sent.
    Ignored,
    /// One part, which is not empty.
    One(Range<u64>),
    /// Several, in the order in which they were asked for; no two overlap.
    Several(Vec<Range<u64>>),
    /// None of them begins inside.
    Unsatisfiable,
}

/// Reads `value`, the field's, for something of `length` bytes. What does not follow the grammar, has another unit, or asks for
/// parts that overlap, which a client gains nothing by, is ignored (sections 14.1.1 and 14.2).
pub(super) fn read(value: &[u8], length: u64) -> Ranges {
    let Some((unit, set)) = value.split_at_checked(b"bytes=".len()) else { return Ranges::Ignored };
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return Ranges::Ignored;
    }
    let mut ranges = Vec::new();
    let mut asked = 0;
    for spec in set.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|spec| !spec.is_empty()) {
        asked += 1;
        match one(spec, length) {
            Some(_) if asked > RANGES => return Ranges::Ignored,
            Some(range) if range.is_empty() => {}
            Some(range) => ranges.push(range),
            None => return Ranges::Ignored,
        }
    }
    match ranges.len() {
        _ if asked == 0 || overlap(&ranges) => Ranges::Ignored,
        0 => Ranges::Unsatisfiable,
        1 => ranges.pop().map_or(Ranges::Ignored, Ranges::One),
        _ => Ranges::Several(ranges),
    }
}

/// One range, as far as it lies within `length` bytes: empty when it does not. `None` when it is no range.
fn one(spec: &[u8], length: u64) -> Option<Range<u64>> {
    let dash = spec.iter().position(|&byte| byte == b'-')?;
    let (first, last) = (spec.get(..dash)?, spec.get(dash + 1..)?);
    if first.is_empty() {
        let asked = number(last)?;
        // All of nothing can be had, and no Content-Range can say so.
        return (asked == 0 || length > 0).then(|| length.saturating_sub(asked)..length);
    }
    let first = number(first)?;
    let end = if last.is_empty() { length } else { number(last)?.saturating_add(1) };
    // A last position before the first one breaks the grammar; a first one behind the end is none of this.
    if !last.is_empty() && end <= first {
        return None;
    }
    Some(first..end.min(length).max(first))
}

/// A decimal number; the largest there is in place of a larger one.
fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let value = digits.iter().fold(0_u64, |value, &digit| {
        value.saturating_mul(10).saturating_add(u64::from(digit.wrapping_sub(b'0')))
    });
    is_number.then_some(value)
}

fn overlap(ranges: &[Range<u64>]) -> bool {
    let mut sorted: Vec<_> = ranges.iter().map(|range| (range.start, range.end)).collect();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| matches!(pair, [(_, end), (start, _)] if start < end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(value: &str, length: u64) -> Ranges {
        read(value.as_bytes(), length)
    }

    #[test]
    fn ranges_are_those_of_the_rfc() {
        for (value, expected) in [
            ("bytes=0-499", 0..500),
            ("bytes=500-999", 500..1000),
            ("bytes=-500", 9500..10000),
            ("bytes=9500-", 9500..10000),
            ("bytes=0-0", 0..1),
            ("bytes=-1", 9999..10000),
            ("bytes=-20000", 0..10000),
            ("bytes=9000-99999999999999999999999999", 9000..10000),
            ("BYTES=0-", 0..10000),
            ("bytes= 1-2 ,", 1..3),
            ("bytes=1-2,10000-", 1..3),
        ] {
            assert_eq!(parts(value, 10000), Ranges::One(expected), "{value}");
        }
        assert_eq!(parts("bytes=0-0,-1", 10000), Ranges::Several(vec![0..1, 9999..10000]));
        assert_eq!(parts("bytes=5-6, 1-2,3-3", 10000), Ranges::Several(vec![5..7, 1..3, 3..4]));
    }

    #[test]
    fn what_lies_behind_the_end_is_not_satisfiable() {
        for (value, length) in [
            ("bytes=10000-", 10000),
            ("bytes=-0", 10000),
            ("bytes=-0", 0),
            ("bytes=0-", 0),
            ("bytes=7-8,9-", 7),
        ] {
            assert_eq!(parts(value, length), Ranges::Unsatisfiable, "{value} of {length}");
        }
    }

    #[test]
    fn what_is_no_range_is_ignored() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=2-1",
            "bytes=a-b",
            "bytes=1",
            "bytes=1-2-3",
            "bytes=--1",
            "bytes=+1-2",
            "bytes=1-2;3-4",
            "items=0-1",
            "bytes 0-1",
            "bytes=0x1-2",
            "bytes=1 - 2",
            "bytes=0-1,x",
            "bytes=0-1,1-2",
            "bytes=5-,-10",
            "bytes=0-,0-",
        ] {
            assert_eq!(parts(value, 10), Ranges::Ignored, "{value}");
        }
        assert_eq!(parts("bytes=-5", 0), Ranges::Ignored);
    }

    #[test]
    fn their_number_is_bounded() {
        let asked = |count: u64| {
            let parts: Vec<_> = (0..count).map(|n| format!("{0}-{0}", 2 * n)).collect();
            parts.join(",")
        };
        let several = parts(&format!("bytes={}", asked(RANGES as u64)), 1000);
        assert!(matches!(several, Ranges::Several(list) if list.len() == RANGES));
        assert_eq!(parts(&format!("bytes={}", asked(RANGES as u64 + 1)), 1000), Ranges::Ignored);
        assert_eq!(parts(&format!("bytes={}", asked(100_000)), 10), Ranges::Ignored);
    }
}
