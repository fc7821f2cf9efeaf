//! Connection options (RFC 9110 section 7.6.1): whether the connection goes on, and which fields end here.

use crate::chars::{is_token, list};
use crate::error::{HeadError, HeadErrorKind as Kind};
use crate::head::{Facts, Field, Version};
use crate::name::{FieldName, FieldSet};

/// More options than this are refused: each is compared with the name of every field, and no client sends ten.
const OPTIONS_MAX: u16 = 64;

/// What the Connection fields of a head ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
    /// Options that may be the name of a field.
    named: u16,
    /// Where the field stands that brought more of them than [`OPTIONS_MAX`].
    excess: Option<u32>,
}

impl Options {
    /// Takes the value of a Connection field that begins at `offset`.
    #[inline(always)]
    pub(crate) fn add(&mut self, value: &[u8], offset: u32) {
        if value == b"keep-alive" {
            self.keep_alive = true;
        } else {
            self.add_list(value, offset);
        }
    }

    #[inline(never)]
    fn add_list(&mut self, value: &[u8], offset: u32) {
        for option in list(value) {
            match option {
                name if name.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                name if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
                name => {
                    self.close |= name.eq_ignore_ascii_case(b"close");
                    self.named += 1;
                }
            }
            if self.named > OPTIONS_MAX {
                self.excess.get_or_insert(offset);
                return;
            }
        }
    }

    /// Refuses what has more options than any client sends.
    #[inline(always)]
    pub(crate) fn check(&self) -> Result<(), HeadError> {
        self.excess.map_or(Ok(()), |offset| Err(Kind::TooManyConnectionOptions.at(offset as usize)))
    }

    /// Whether the connection goes on after the message (RFC 9112 section 9.3).
    pub(crate) fn persistent(&self, version: Version) -> bool {
        match version {
            _ if self.close => false,
            Version::Http11 => true,
            Version::Http10 => self.keep_alive,
        }
    }
}

/// Marks the fields that Connection options name. They lose their meaning: nothing finds them by name any more. Host and
/// the fields of framing cannot be named away, since the message would become another one.
#[inline(always)]
pub(crate) fn mark_named(fields: &mut [Field], facts: &mut Facts, buf: &[u8]) {
    if facts.options.named > 0 {
        mark_all(fields, facts, buf);
    }
}

#[inline(never)]
fn mark_all(fields: &mut [Field], facts: &mut Facts, buf: &[u8]) {
    for index in 0..fields.len() {
        let Some(connection) = fields.get(index).filter(|field| field.name == FieldName::Connection) else {
            continue;
        };
        let value = connection.value.of(buf);
        // These two name no other fields, and nobody has counted them.
        let names = |option: &&[u8]| {
            is_token(option)
                && !option.eq_ignore_ascii_case(b"keep-alive")
                && !option.eq_ignore_ascii_case(b"upgrade")
        };
        for option in list(value).filter(names) {
            mark(fields, option, buf);
        }
    }
    facts.seen = fields.iter().fold(FieldSet::EMPTY, |seen, field| seen.with(field.name));
}

fn mark(fields: &mut [Field], option: &[u8], buf: &[u8]) {
    let named = |field: &&mut Field| {
        field.name_span.len() == option.len()
            && !FieldSet::NOT_NAMEABLE.union(FieldSet::HOP_BY_HOP).contains(field.name)
            && field.name_span.of(buf).eq_ignore_ascii_case(option)
    };
    for field in fields.iter_mut().filter(named) {
        field.hop_by_hop = true;
        field.name = FieldName::Other;
    }
}
