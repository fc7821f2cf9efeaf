//! Sets of bytes: `.`, `\w` and the like, and what stands in brackets.
//!
//! A path has 92 of the 256 bytes, so a set may hold or lack the others as it likes. What it likes is few and long ranges:
//! then a table has fewer classes of bytes, and one that has every byte of a path ends the walk along it.

use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, Dot, Hir};

use super::RegexFault;
use super::escapes::Escaped;
use super::parser::Parser;
use super::path::percent_encoded;

/// A set of ASCII characters, a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Set(u128);

const UPPER: Set = Set::range(b'A', b'Z');
const LOWER: Set = Set::range(b'a', b'z');
/// From a capital letter to its small one.
const CASE_DISTANCE: u32 = (b'a' - b'A') as u32;
const LAST: u8 = 0x7F;

impl Set {
    pub(super) const EMPTY: Self = Self(0);
    pub(super) const ALL: Self = Self(u128::MAX);
    /// `\d`
    pub(super) const DIGITS: Self = Self::range(b'0', b'9');
    /// `\w`
    pub(super) const WORD: Self = UPPER.or(LOWER).or(Self::DIGITS).or(Self::of(b'_'));
    /// `\s`
    pub(super) const SPACE: Self = Self::range(b'\t', b'\r').or(Self::of(b' '));
    /// What a path can have.
    const PATH: Self = Self::range(b'!', b'~').without(Self::of(b'?').or(Self::of(b'#')));

    /// One ASCII byte; nothing for another.
    pub(super) const fn of(byte: u8) -> Self {
        Self::range(byte, byte)
    }

    /// The ASCII bytes from `first` to `last`.
    pub(super) const fn range(first: u8, last: u8) -> Self {
        let last = if last < LAST { last } else { LAST };
        if first > last {
            return Self::EMPTY;
        }
        let length = last - first + 1;
        Self(u128::MAX >> (128 - length as u32) << first)
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn not(self) -> Self {
        Self(!self.0)
    }

    const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// With each letter's other case.
    pub(super) const fn in_both_cases(self) -> Self {
        let small = self.and(UPPER).0 << CASE_DISTANCE;
        let capital = self.and(LOWER).0 >> CASE_DISTANCE;
        Self(self.0 | small | capital)
    }

    /// Whether a path can have one of them.
    pub(super) const fn is_in_paths(self) -> bool {
        self.and(Self::PATH).0 != 0
    }

    const fn has_all(self, bytes: Self) -> bool {
        bytes.without(self).0 == 0
    }

    /// What takes one byte of a path that is in the set.
    pub(super) fn hir(self) -> Hir {
        let members = self.and(Self::PATH);
        match members.0.count_ones() {
            0 => Hir::fail(),
            1 => Hir::literal([members.0.trailing_zeros() as u8]),
            _ if members == Self::PATH => Hir::dot(Dot::AnyByte),
            _ => Hir::class(Class::Bytes(ClassBytes::new(members.widened().ranges()))),
        }
    }

    /// With the bytes that no path has, where that makes two ranges one or a range longer.
    fn widened(self) -> Self {
        let gaps = [
            (Self::of(b'"').or(Self::of(b'$')), Self::of(b'#')),
            (Self::of(b'>').or(Self::of(b'@')), Self::of(b'?')),
        ];
        let ends = [(Self::of(b'!'), Self::range(0, b' ')), (Self::of(b'~'), Self::of(LAST))];
        gaps.into_iter().chain(ends).fold(
            self,
            |set, (neighbours, bytes)| {
                if set.has_all(neighbours) { set.or(bytes) } else { set }
            },
        )
    }

    /// The set's ranges; one that goes to the last of ASCII goes to the last byte.
    fn ranges(self) -> impl Iterator<Item = ClassBytesRange> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let first = rest.trailing_zeros() as u8;
            let length = rest.checked_shr(first.into())?.trailing_ones() as u8;
            let last = first + length.checked_sub(1)?;
            rest &= !Self::range(first, last).0;
            Some(ClassBytesRange::new(first, if last == LAST { u8::MAX } else { last }))
        })
    }
}

/// A character beyond ASCII as it stands in a path, with the hexadecimal digits in either case.
pub(super) fn encoded(c: char) -> Hir {
    let bytes = percent_encoded(c);
    Hir::concat(bytes.bytes().map(|byte| Set::of(byte).in_both_cases().hir()).collect())
}

/// What stands in brackets, while it is read.
#[derive(Default)]
struct Members {
    set: Set,
    /// Those beyond ASCII.
    beyond: Vec<char>,
}

impl Parser<'_> {
    /// Reads a class, from its `[` to its `]`.
    ///
    /// # Errors
    /// What is wrong in it.
    pub(super) fn class(&mut self) -> Result<Hir, RegexFault> {
        let start = self.at;
        self.skip("[");
        let negated = self.skip("^");
        let mut members = Members::default();
        while !self.skip("]") {
            self.class_member(&mut members, start, negated)?;
        }
        let set = if self.ignore_case { members.set.in_both_cases() } else { members.set };
        let set = if negated { set.not() } else { set };
        if !set.is_in_paths() && members.beyond.is_empty() {
            self.warn_of_empty(start, self.at - start == 2);
        }
        Ok(members.hir(set))
    }

    /// Reads one member, or a range.
    fn class_member(&mut self, members: &mut Members, start: usize, negated: bool) -> Result<(), RegexFault> {
        let first_at = self.at;
        let first = self.class_atom(start)?;
        let is_range = self.rest().starts_with('-') && !self.rest().starts_with("-]");
        if !is_range {
            return self.add(members, first, first_at, negated);
        }
        self.skip("-");
        let last_at = self.at;
        let last = self.class_atom(start)?;
        match (first, last) {
            (Escaped::Char(first), Escaped::Char(last)) => {
                members.set = members.set.or(range(first, last, first_at)?);
                Ok(())
            }
            // With a set on either side, the `-` stands for itself.
            (first, last) => {
                members.set = members.set.or(Set::of(b'-'));
                self.add(members, first, first_at, negated)?;
                self.add(members, last, last_at, negated)
            }
        }
    }

    fn class_atom(&mut self, start: usize) -> Result<Escaped, RegexFault> {
        match self.peek() {
            None => Err(RegexFault::new(start, "this class has no end")
                .help("write `]` behind it, or `\\[` for the character")),
            Some('\\') => self.class_escape(),
            Some(c) => {
                self.bump(c);
                Ok(Escaped::Char(c))
            }
        }
    }

    fn add(
        &self,
        members: &mut Members,
        member: Escaped,
        at: usize,
        negated: bool,
    ) -> Result<(), RegexFault> {
        match member {
            Escaped::Set(set) => members.set = members.set.or(set),
            Escaped::Char(c) if c.is_ascii() => members.set = members.set.or(Set::of(c as u8)),
            Escaped::Char(c) if negated => {
                let message = format!("{c:?} is several bytes in a path, and this class takes one");
                return Err(RegexFault::new(at, message)
                    .help("leave it out: `[^…]` takes the `%` that it begins with"));
            }
            Escaped::Char(c) => {
                self.check_case(c, at)?;
                members.beyond.push(c);
            }
        }
        Ok(())
    }
}

fn range(first: char, last: char, at: usize) -> Result<Set, RegexFault> {
    if first > last {
        let message = format!("the range {first}-{last} goes down");
        return Err(
            RegexFault::new(at, message).help(format!("write `{last}-{first}`, or `\\-` for the character"))
        );
    }
    if !last.is_ascii() {
        let message = format!("{last:?} is several bytes in a path, and a range is of single ones");
        return Err(RegexFault::new(at, message).help("write the characters one by one, or a range of ASCII"));
    }
    Ok(Set::range(first as u8, last as u8))
}

impl Members {
    /// Those beyond ASCII are tried first: they begin with a `%`, which the set may have, too.
    fn hir(self, set: Set) -> Hir {
        if self.beyond.is_empty() {
            return set.hir();
        }
        let beyond = self.beyond.into_iter().map(encoded);
        let set = set.is_in_paths().then(|| set.hir());
        Hir::alternation(beyond.chain(set).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(set: Set) -> Vec<(u8, u8)> {
        set.widened().ranges().map(|range| (range.start(), range.end())).collect()
    }

    #[test]
    fn sets_have_the_bytes_that_they_are_named_after() {
        let members = |set: Set| {
            (0..=LAST).filter(|byte| set.has_all(Set::of(*byte))).map(char::from).collect::<String>()
        };
        assert_eq!(members(Set::DIGITS), "0123456789");
        assert_eq!(members(Set::SPACE), "\t\n\u{b}\u{c}\r ");
        assert_eq!(members(Set::WORD).len(), 63);
        assert_eq!(members(Set::PATH).len(), 92);
        assert_eq!(members(Set::range(b'b', b'a')), "");
        assert_eq!(members(Set::range(0x7E, 0xFF)), "~\u{7f}");
        assert_eq!(members(Set::range(b'X', b'b').in_both_cases()), "ABXYZ[\\]^_`abxyz");
    }

    #[test]
    fn bytes_that_no_path_has_make_ranges_longer_and_fewer() {
        assert_eq!(ranges(Set::of(b'/').not()), [(0, b'.'), (b'0', 255)]);
        assert_eq!(ranges(Set::PATH), [(0, 255)]);
        assert_eq!(ranges(Set::range(b'a', b'z')), [(b'a', b'z')]);
        assert_eq!(ranges(Set::of(b'>').or(Set::of(b'A'))), [(b'>', b'>'), (b'A', b'A')]);
    }

    #[test]
    fn a_set_of_all_that_paths_have_is_any_byte() {
        for set in [Set::ALL, Set::SPACE.not(), Set::of(b'\n').not(), Set::PATH] {
            assert_eq!(set.hir(), Hir::dot(Dot::AnyByte));
        }
        assert_eq!(Set::SPACE.hir(), Hir::fail());
        assert_eq!(Set::of(b'a').hir(), Hir::literal(*b"a"));
    }
}
