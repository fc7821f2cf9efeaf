//! Reads the pattern grammar of ECMAScript 2025 with its Annex B, as `new RegExp(text)` does without flags, and builds the
//! [`Hir`] of bytes. By recursive descent: `groups` bounds the depth.
//!
//! What an automaton cannot run is refused: looking ahead and behind, and referring to groups. Paths are ASCII in one
//! line, so a character beyond ASCII is its percent-encoding, and the modifiers `m` and `s` change nothing.

use regex_syntax::hir::{Hir, HirKind, Look, Repetition};

use super::classes::{Set, encoded};
use super::groups::GroupCount;
use super::warnings::Progress;
use super::{Group, RegexFault};

/// The most bytes of a pattern.
const PATTERN_BYTES_MAX: usize = 8 * 1024;
/// The most characters that the counts of a pattern's repetitions may add to it, when they are written out.
const WRITTEN_OUT_MAX: u64 = 20_000;

/// What was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) hir: Hir,
    pub(super) groups: Vec<Group>,
    pub(super) warnings: Vec<RegexFault>,
}

/// Reads a pattern.
///
/// # Errors
/// What is wrong, where, and what to write instead.
pub(super) fn parse(text: &str) -> Result<Read, RegexFault> {
    if text.len() > PATTERN_BYTES_MAX {
        let message =
            format!("a pattern has at most {PATTERN_BYTES_MAX} bytes, and this one has {}", text.len());
        let at = text.floor_char_boundary(PATTERN_BYTES_MAX);
        return Err(RegexFault::new(at, message).help("divide it into several rules"));
    }
    let mut parser = Parser::new(text);
    let hir = parser.disjunction()?;
    if parser.peek().is_some() {
        let fault = RegexFault::new(parser.at, "this `)` closes no group");
        return Err(fault.help("write `\\)` for the character"));
    }
    Ok(Read { hir, groups: parser.groups, warnings: parser.warnings })
}

/// A pattern, and how far it was read.
#[derive(Debug)]
pub(super) struct Parser<'t> {
    text: &'t str,
    /// The offset of what is read next, in bytes.
    pub(super) at: usize,
    /// How many groups are open.
    pub(super) depth: usize,
    /// Those that were met so far.
    pub(super) groups: Vec<Group>,
    pub(super) all: GroupCount,
    pub(super) ignore_case: bool,
    /// How many characters the counts of repetitions have added, so far.
    written_out: u64,
    pub(super) warnings: Vec<RegexFault>,
}

/// What can be repeated, and assertions, which cannot.
#[derive(Debug)]
pub(super) enum Atom {
    Byte(u8),
    Part(Hir),
    Assertion(Look),
}

/// `*`, `+`, `?` and `{n,m}`.
#[derive(Clone, Copy, Debug)]
struct Quantifier {
    min: u32,
    max: Option<u32>,
    greedy: bool,
}

/// One alternative, while it is read.
#[derive(Default)]
struct Sequence {
    parts: Vec<Hir>,
    /// Bytes in a row that are not in `parts` yet.
    run: Vec<u8>,
    progress: Progress,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
            groups: Vec::new(),
            all: GroupCount::of(text),
            ignore_case: false,
            written_out: 0,
            warnings: Vec::new(),
        }
    }

    pub(super) fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Goes on behind `c`, which is next.
    pub(super) fn bump(&mut self, c: char) {
        self.at += c.len_utf8();
    }

    /// Goes on behind as many bytes of ASCII.
    pub(super) fn skip_bytes(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Goes on behind `text`, if it is next.
    pub(super) fn skip(&mut self, text: &str) -> bool {
        let is_next = self.rest().starts_with(text);
        self.at += if is_next { text.len() } else { 0 };
        is_next
    }

    /// Alternatives, up to the end or to a `)`.
    pub(super) fn disjunction(&mut self) -> Result<Hir, RegexFault> {
        let mut alternatives = vec![self.alternative()?];
        while self.skip("|") {
            alternatives.push(self.alternative()?);
        }
        Ok(if self.all.captures > 0 { in_order(alternatives) } else { Hir::alternation(alternatives) })
    }

    fn alternative(&mut self) -> Result<Hir, RegexFault> {
        let mut sequence = Sequence::default();
        while let Some(c) = self.peek().filter(|c| !matches!(c, '|' | ')')) {
            let start = self.at;
            match self.atom(c)? {
                Atom::Assertion(look) => {
                    self.meet_assertion(look, start, &mut sequence.progress);
                    sequence.push(Hir::look(look));
                }
                atom => self.quantified(atom, start, &mut sequence)?,
            }
        }
        Ok(sequence.into_hir())
    }

    fn atom(&mut self, c: char) -> Result<Atom, RegexFault> {
        let start = self.at;
        match c {
            '(' => return self.group().map(Atom::Part),
            '[' => return self.class().map(Atom::Part),
            '\\' => return self.escape(),
            '*' | '+' | '?' => return Err(nothing_to_repeat(start, c)),
            '{' if self.braces().is_some() => return Err(nothing_to_repeat(start, c)),
            _ => self.bump(c),
        }
        match c {
            '^' => Ok(Atom::Assertion(Look::Start)),
            '$' => Ok(Atom::Assertion(Look::End)),
            '.' => Ok(Atom::Part(Set::ALL.hir())),
            _ => self.literal(c, start),
        }
    }

    /// One character that stands for itself and was written at `start`.
    ///
    /// # Errors
    /// As [`Parser::check_case`].
    pub(super) fn literal(&mut self, c: char, start: usize) -> Result<Atom, RegexFault> {
        if !c.is_ascii() {
            self.check_case(c, start)?;
            return Ok(Atom::Part(encoded(c)));
        }
        let set = Set::of(c as u8);
        if !set.is_in_paths() {
            self.warn_of_character(c, start);
            return Ok(Atom::Part(Hir::fail()));
        }
        Ok(if self.ignore_case && c.is_ascii_alphabetic() {
            Atom::Part(set.in_both_cases().hir())
        } else {
            Atom::Byte(c as u8)
        })
    }

    /// One character of a set that was written at `start`.
    pub(super) fn set(&mut self, set: Set, start: usize) -> Atom {
        if !set.is_in_paths() {
            self.warn_of_empty(start, false);
        }
        Atom::Part(set.hir())
    }

    /// # Errors
    /// For a character beyond ASCII whose case is to be ignored: its other case is other bytes.
    pub(super) fn check_case(&self, c: char, at: usize) -> Result<(), RegexFault> {
        if !self.ignore_case {
            return Ok(());
        }
        let fault = RegexFault::new(
            at,
            format!("the case of {c:?} cannot be ignored: paths have its bytes in percent-encoding"),
        );
        Err(fault.help("write its forms outside of the group, as in `(?:ä|Ä)`"))
    }

    fn quantified(&mut self, atom: Atom, start: usize, sequence: &mut Sequence) -> Result<(), RegexFault> {
        let quantifier_at = self.at;
        let part = match (self.quantifier()?, atom) {
            (None, Atom::Byte(byte)) => {
                self.meet_byte(byte, start, &mut sequence.progress);
                sequence.run.push(byte);
                return Ok(());
            }
            (None, atom) => atom.into_hir(),
            (Some(quantifier), atom) => {
                let part = atom.into_hir();
                self.write_out(&part, quantifier, quantifier_at)?;
                let Quantifier { min, max, greedy } = quantifier;
                Hir::repetition(Repetition { min, max, greedy, sub: Box::new(part) })
            }
        };
        self.meet_part(&part, start, &mut sequence.progress);
        sequence.push(part);
        Ok(())
    }

    /// Reads what says how often the atom before it is repeated, if something does.
    fn quantifier(&mut self) -> Result<Option<Quantifier>, RegexFault> {
        let start = self.at;
        let (min, max, bytes) = match self.peek() {
            Some('*') => (0, None, 1),
            Some('+') => (1, None, 1),
            Some('?') => (0, Some(1), 1),
            Some('{') => match self.braces() {
                Some(braces) => braces,
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        if max.is_some_and(|max| max < min) {
            return Err(RegexFault::new(start, "the lower count is above the upper one"));
        }
        self.at += bytes;
        Ok(Some(Quantifier { min, max, greedy: !self.skip("?") }))
    }

    /// The counts of `{n}`, `{n,}` or `{n,m}`, and their length in bytes; anything else is a literal `{`.
    fn braces(&self) -> Option<(u32, Option<u32>, usize)> {
        let (inside, _) = self.rest().strip_prefix('{')?.split_once('}')?;
        let (min, max) = match inside.split_once(',') {
            None => (count(inside)?, Some(count(inside)?)),
            Some((min, "")) => (count(min)?, None),
            Some((min, max)) => (count(min)?, Some(count(max)?)),
        };
        Some((min, max, inside.len() + 2))
    }

    /// Counts what a repetition adds.
    ///
    /// # Errors
    /// When it is too much, at `start`.
    fn write_out(&mut self, part: &Hir, quantifier: Quantifier, start: usize) -> Result<(), RegexFault> {
        let times = quantifier.max.unwrap_or(quantifier.min);
        if times > 1 {
            let added = length(part).saturating_mul(u64::from(times - 1));
            self.written_out = self.written_out.saturating_add(added);
        }
        if self.written_out <= WRITTEN_OUT_MAX {
            return Ok(());
        }
        let message =
            format!("written out, the repetitions up to here have over {WRITTEN_OUT_MAX} characters");
        Err(RegexFault::new(start, message).help("repeat less often, or without an upper count: `*` or `+`"))
    }
}

fn nothing_to_repeat(at: usize, c: char) -> RegexFault {
    let fault = RegexFault::new(at, format!("there is nothing that this `{c}` could repeat"));
    fault.help(format!("write `\\{c}` for the character"))
}

/// A count in braces; one that is too large for its type is the largest.
fn count(digits: &str) -> Option<u32> {
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().unwrap_or(u32::MAX))
}

/// How many characters an expression has when its counts are written out.
fn length(hir: &Hir) -> u64 {
    match hir.kind() {
        HirKind::Empty => 0,
        HirKind::Look(_) | HirKind::Class(_) => 1,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Capture(capture) => length(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().fold(0, |sum: u64, part| sum.saturating_add(length(part)))
        }
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min).max(1);
            length(&repetition.sub).saturating_mul(times.into())
        }
    }
}

impl Atom {
    fn into_hir(self) -> Hir {
        match self {
            Self::Byte(byte) => Hir::literal([byte]),
            Self::Part(hir) => hir,
            Self::Assertion(look) => Hir::look(look),
        }
    }
}

impl Sequence {
    fn push(&mut self, part: Hir) {
        self.flush();
        self.parts.push(part);
    }

    fn flush(&mut self) {
        if !self.run.is_empty() {
            self.parts.push(Hir::literal(std::mem::take(&mut self.run)));
        }
    }

    fn into_hir(mut self) -> Hir {
        self.flush();
        Hir::concat(self.parts)
    }
}
/// The alternation of `branches`, of which an earlier one is preferred. [`Hir::alternation`] takes out what all of them begin
/// with: `.*a|.*b` becomes `.*(?:a|b)`, the same language, in which the longest `.*` goes before the first branch. A branch
/// that takes nothing keeps it from that, where it would matter to groups.
fn in_order(mut branches: Vec<Hir>) -> Hir {
    let Some(first) = branches.first() else { return Hir::fail() };
    let first: &[Hir] = match first.kind() {
        HirKind::Concat(parts) => parts,
        _ => &[],
    };
    let shared = |(index, part): &(usize, &Hir)| {
        branches
            .iter()
            .all(|branch| matches!(branch.kind(), HirKind::Concat(parts) if parts.get(*index) == Some(*part)))
    };
    let one_way =
        |part: &Hir| matches!(part.kind(), HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_));
    if branches.len() > 1 && first.iter().enumerate().take_while(shared).any(|(_, part)| !one_way(part)) {
        branches.insert(0, Hir::fail());
    }
    Hir::alternation(branches)
}
