//! What follows a backslash. Most characters stand for themselves then, as they do in JavaScript without the `u` flag:
//! `\A`, `\z` and `\Q` are letters there. What means something else in a pattern with that flag, `\p{L}` and `\u{61}`, is
//! refused: nobody writes it for `p{L}`, and for 61 times `u`.

use regex_syntax::hir::Look;

use super::RegexFault;
use super::classes::Set;
use super::parser::{Atom, Parser};

/// What an escape stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Escaped {
    Char(char),
    Set(Set),
}

/// The most octal digits of an escape, and its highest value.
const OCTAL_DIGITS_MAX: usize = 3;
const OCTAL_MAX: u32 = 0o377;

impl Parser<'_> {
    /// Reads an escape outside of classes, from its backslash on.
    ///
    /// # Errors
    /// What it is that an automaton cannot run, or that it ends too early.
    pub(super) fn escape(&mut self) -> Result<Atom, RegexFault> {
        let start = self.at;
        if self.skip("\\b") {
            return Ok(Atom::Assertion(Look::WordAscii));
        }
        if self.skip("\\B") {
            return Ok(Atom::Assertion(Look::WordAsciiNegate));
        }
        self.skip("\\");
        let escaped = match self.peek() {
            Some('1'..='9') if self.is_backreference() => return Err(backreference(start)),
            Some('c') => self.control(|c| c.is_ascii_alphabetic()),
            _ => self.character(start)?,
        };
        Ok(match escaped {
            Escaped::Char(c) => self.literal(c, start)?,
            Escaped::Set(set) => self.set(set, start),
        })
    }

    /// Reads an escape in a class, from its backslash on.
    ///
    /// # Errors
    /// As [`Parser::escape`].
    pub(super) fn class_escape(&mut self) -> Result<Escaped, RegexFault> {
        let start = self.at;
        self.skip("\\");
        match self.peek() {
            Some('b') => {
                self.skip("b");
                Ok(Escaped::Char('\u{8}'))
            }
            Some('c') => Ok(self.control(|c| c.is_ascii_alphanumeric() || c == '_')),
            _ => self.character(start),
        }
    }

    /// `\cA` is a control character. Where no letter follows, the backslash is one itself, and the `c` is read again.
    fn control(&mut self, is_letter: impl Fn(char) -> bool) -> Escaped {
        let letter = self.rest().chars().nth(1).filter(|c| is_letter(*c));
        let Some(letter) = letter else { return Escaped::Char('\\') };
        self.skip("c");
        self.bump(letter);
        Escaped::Char(char::from(letter as u8 % 32))
    }

    /// What escapes mean in classes and outside.
    fn character(&mut self, start: usize) -> Result<Escaped, RegexFault> {
        let Some(c) = self.peek() else {
            let fault = RegexFault::new(start, "a `\\` at the end escapes nothing");
            return Err(fault.help("write `\\\\` for the character"));
        };
        if let '0'..='7' = c {
            return Ok(Escaped::Char(self.octal()));
        }
        self.bump(c);
        Ok(match c {
            'd' => Escaped::Set(Set::DIGITS),
            'D' => Escaped::Set(Set::DIGITS.not()),
            's' => Escaped::Set(Set::SPACE),
            'S' => Escaped::Set(Set::SPACE.not()),
            'w' => Escaped::Set(Set::WORD),
            'W' => Escaped::Set(Set::WORD.not()),
            'f' => Escaped::Char('\u{C}'),
            'n' => Escaped::Char('\n'),
            'r' => Escaped::Char('\r'),
            't' => Escaped::Char('\t'),
            'v' => Escaped::Char('\u{B}'),
            'x' => Escaped::Char(self.hex(2).and_then(char::from_u32).unwrap_or('x')),
            'u' => Escaped::Char(self.unicode(start)?),
            'k' if self.all.has_names => return Err(backreference(start)),
            'p' | 'P' if self.rest().starts_with('{') => {
                let message =
                    format!("`\\{c}{{…}}` is the text `{c}{{…}}` to JavaScript without the `u` flag");
                return Err(RegexFault::new(start, message).help("list what you mean, as in `[A-Za-z]`"));
            }
            _ => Escaped::Char(c),
        })
    }

    fn octal(&mut self) -> char {
        let mut value = 0;
        for _ in 0..OCTAL_DIGITS_MAX {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else { break };
            if value * 8 + digit > OCTAL_MAX {
                break;
            }
            value = value * 8 + digit;
            self.skip_bytes(1);
        }
        char::from_u32(value).unwrap_or_default()
    }

    /// `\u0061`, with the `u` read. Without four digits it is the letter.
    fn unicode(&mut self, start: usize) -> Result<char, RegexFault> {
        if self.rest().starts_with('{') {
            let fault =
                RegexFault::new(start, "`\\u{…}` repeats the letter `u` in JavaScript without the `u` flag");
            return Err(fault.help("write `\\u` and four hexadecimal digits, or the character itself"));
        }
        let Some(code) = self.hex(4) else { return Ok('u') };
        char::from_u32(code).ok_or_else(|| {
            let fault = RegexFault::new(start, "this is half a character");
            fault.help("write the character itself; paths are matched as its UTF-8 in percent-encoding")
        })
    }

    /// Reads exactly this many hexadecimal digits, or nothing.
    fn hex(&mut self, digits: usize) -> Option<u32> {
        let text =
            self.rest().get(..digits).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        let value = u32::from_str_radix(text, 16).ok()?;
        self.skip_bytes(digits);
        Some(value)
    }

    /// Whether the number here is a group's; any other is an octal escape.
    fn is_backreference(&self) -> bool {
        let rest = self.rest();
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number = rest.get(..digits).and_then(|digits| digits.parse::<usize>().ok());
        number.is_some_and(|number| number <= self.all.captures)
    }
}

fn backreference(start: usize) -> RegexFault {
    let fault = RegexFault::new(start, "a pattern cannot refer to what a group took: it runs in linear time");
    fault.help("write the group's expression again, or a branch for each text: `(?:a/a|b/b)`")
}
