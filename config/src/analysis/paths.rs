//! The paths that rules see, as an automaton: what can stand in a normalised path, byte by byte. A path begins with `/`,
//! has visible ASCII without `?` and `#`, two hexadecimal digits behind each `%`, and no dot segments, however spelt.
//! The `*` of `OPTIONS *` is none of them.

/// How far a path has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum PathState {
    /// Before its first byte.
    Start,
    /// Within a segment, at a place where the path may end if the segment may.
    In(Segment),
    /// Behind a `%`, with what stood before it.
    Percent(Segment),
    /// Behind `%2`, which may become one more dot.
    PercentTwo(Segment),
    /// Behind the first digit of an escape that is no dot.
    PercentDigit,
}

/// What a segment is so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Segment {
    Empty,
    /// One dot: `.` or `%2e`.
    Dot,
    /// Two of them.
    Dots,
    /// Anything else, which no byte makes a dot segment again.
    Other,
}

/// The bytes of paths, those that read best first: an example has the first one of those that do the same.
pub(super) const BYTES: &[u8] =
    b"abcdefghijklmnopqrstuvwxyz0123456789/-_.ABCDEFGHIJKLMNOPQRSTUVWXYZ~!$&'()*+,;=:@%\"<>[\\]^`{|}";

impl PathState {
    /// Behind one byte more; `None` where no path goes on so.
    pub(super) fn next(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Start, b'/') => Some(Self::In(Segment::Empty)),
            (Self::In(Segment::Empty | Segment::Other), b'/') => Some(Self::In(Segment::Empty)),
            (Self::Start, _) | (Self::In(_), b'/') => None,
            (Self::In(before), b'.') => Some(Self::In(before.and_dot())),
            // Two dots and one more are no dot segment, and what is none stays so.
            (Self::In(Segment::Dots | Segment::Other), b'%') => Some(Self::Percent(Segment::Other)),
            (Self::In(before), b'%') => Some(Self::Percent(before)),
            (Self::In(_), b'?' | b'#') => None,
            (Self::In(_), 0x21..=0x7e) => Some(Self::In(Segment::Other)),
            (Self::In(_), _) => None,
            (Self::Percent(before @ (Segment::Empty | Segment::Dot)), b'2') => Some(Self::PercentTwo(before)),
            (Self::PercentTwo(before), b'e' | b'E') => Some(Self::In(before.and_dot())),
            (Self::Percent(_), digit) => digit.is_ascii_hexdigit().then_some(Self::PercentDigit),
            (Self::PercentTwo(_) | Self::PercentDigit, digit) => {
                digit.is_ascii_hexdigit().then_some(Self::In(Segment::Other))
            }
        }
    }

    /// Whether a path may end here.
    pub(super) fn may_end(self) -> bool {
        matches!(self, Self::In(Segment::Empty | Segment::Other))
    }

    /// A number of its own, for sets of states.
    pub(super) fn number(self) -> u32 {
        let (kind, segment) = match self {
            Self::Start => (0, Segment::Empty),
            Self::In(segment) => (1, segment),
            Self::Percent(segment) => (2, segment),
            Self::PercentTwo(segment) => (3, segment),
            Self::PercentDigit => (4, Segment::Empty),
        };
        4 * kind + segment as u32
    }
}

impl Segment {
    fn and_dot(self) -> Self {
        match self {
            Self::Empty => Self::Dot,
            Self::Dot => Self::Dots,
            Self::Dots | Self::Other => Self::Other,
        }
    }
}

/// The class of a byte of [`BYTES`]: bytes of one class lead from every [`PathState`] to the same one.
pub(super) fn class_of(byte: u8) -> u8 {
    match byte {
        b'/' => 0,
        b'.' => 1,
        b'%' => 2,
        b'2' => 3,
        b'e' | b'E' => 4,
        digit if digit.is_ascii_hexdigit() => 5,
        _ => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_path(text: &[u8]) -> bool {
        let end = text.iter().try_fold(PathState::Start, |state, byte| state.next(*byte));
        end.is_some_and(PathState::may_end)
    }

    /// What the reader of requests makes of it.
    fn stays_as_it_is(text: &[u8]) -> bool {
        let mut normal = text.to_vec();
        ringway_wire::check_path(text).is_ok()
            && ringway_wire::normalise_path(&mut normal).is_ok_and(|length| normal[..length] == *text)
    }

    #[test]
    fn these_are_the_paths_that_normalising_leaves_alone() {
        let bytes = b"/.%2eE0a?#\x7f \x80";
        let mut texts: Vec<Vec<u8>> = vec![Vec::new()];
        for _ in 0..6 {
            texts = texts.iter().flat_map(|text| bytes.map(|byte| [&text[..], &[byte]].concat())).collect();
            texts.retain(|text| {
                text.starts_with(b"/") && text.iter().filter(|byte| **byte == b'a').count() < 2
            });
            for text in &texts {
                assert_eq!(is_path(text), stays_as_it_is(text), "{:?}", String::from_utf8_lossy(text));
            }
        }
    }

    #[test]
    fn the_bytes_are_those_of_paths_each_once_and_their_classes_do_the_same() {
        use PathState::*;
        let mut sorted = BYTES.to_vec();
        sorted.sort_unstable();
        let all: Vec<u8> = (0x21..=0x7e).filter(|byte| !b"?#".contains(byte)).collect();
        assert_eq!(sorted, all);
        let segments = [Segment::Empty, Segment::Dot, Segment::Dots, Segment::Other];
        let states = segments.into_iter().flat_map(|it| [In(it), Percent(it), PercentTwo(it)]);
        for state in states.chain([Start, PercentDigit]) {
            for (one, other) in BYTES.iter().flat_map(|one| BYTES.iter().map(move |other| (*one, *other))) {
                if class_of(one) == class_of(other) {
                    assert_eq!(state.next(one), state.next(other), "{state:?} {one} {other}");
                }
            }
        }
    }
}
