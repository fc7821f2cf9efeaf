//! What the lines of a head say: each field's name and value, and what the fields mean together. Refuses whatever breaks a rule
//! and does not say why: `field_line` does.

use crate::chars::{is_blank, trim};
use crate::connection;
use crate::error::HeadError;
use crate::head::{Facts, Field};
use crate::name::{FieldName, FieldSet, WINDOW};
use crate::scan;
use crate::span::Span;

/// Fields that are acted on while they are read.
const SPEAKING: FieldSet = FieldSet::EMPTY
    .with(FieldName::Host)
    .with(FieldName::Connection)
    .with(FieldName::ContentLength)
    .with(FieldName::TransferEncoding);

/// Reads the fields whose lines begin at `start` of `bytes`, each ending at one of `ends`, its CRLF included: lines without
/// control bytes but HTAB. `lenient`: white space may stand before the colon, as RFC 9112 section 5.1 has proxies remove it
/// from responses. `None` when a line breaks a rule; then `facts` are as they were.
#[inline(always)]
pub(crate) fn read(
    fields: &mut Vec<Field>,
    facts: &mut Facts,
    bytes: &[u8],
    start: usize,
    ends: &[u32],
    lenient: bool,
) -> Option<()> {
    let mut seen = FieldSet::EMPTY;
    let mut line = start as u32;
    fields.resize(ends.len(), Field::default());
    for (field, &line_end) in fields.iter_mut().zip(ends) {
        if !usual_field(field, bytes, line, line_end) {
            *field = any_field(bytes, line, line_end, lenient)?;
        }
        line = line_end;
        seen = seen.with(field.name);
    }
    facts.seen = seen;
    if seen.intersects(SPEAKING) {
        for field in fields.iter().filter(|field| SPEAKING.contains(field.name)) {
            facts.hear(field, bytes);
        }
    }
    Some(())
}

/// Reads a line that has a name from the table, one space behind the colon, and no white space at its end; false for others.
#[inline(always)]
fn usual_field(field: &mut Field, bytes: &[u8], line: u32, line_end: u32) -> bool {
    let window: Option<&[u8; WINDOW]> = bytes.get(line as usize..).and_then(|rest| rest.first_chunk());
    let Some(window) = window else { return false };
    let len = scan::colons(window).trailing_zeros();
    let Some(name) = FieldName::known(window, len as usize) else { return false };
    let Some(&[b' ', first]) = window.get(len as usize + 1..len as usize + 3) else { return false };
    let last = bytes.get((line_end as usize).wrapping_sub(3));
    // The first byte is the CR where the value is empty.
    if first <= b' ' || last.is_none_or(|last| *last <= b' ') {
        return false;
    }
    let colon = line + len;
    field.name_span = Span { start: line, end: colon };
    field.value = Span { start: colon + 2, end: line_end - 2 };
    field.line_end = line_end;
    field.name = name;
    field.hop_by_hop = FieldSet::HOP_BY_HOP.contains(name);
    field.blank_before_colon = false;
    true
}

/// The field of any line.
#[cold]
fn any_field(bytes: &[u8], start: u32, line_end: u32, lenient: bool) -> Option<Field> {
    let line = bytes.get(start as usize..(line_end as usize).checked_sub(2)?)?;
    let (before, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
    let blanks = if lenient { before.iter().rev().take_while(|byte| is_blank(**byte)).count() } else { 0 };
    let name = before.get(..before.len() - blanks)?;
    let class = FieldName::of_token(name)?;
    Some(Field {
        name_span: Span::within(bytes, name),
        value: Span::within(bytes, trim(value.get(1..)?)),
        line_end,
        name: class,
        hop_by_hop: FieldSet::HOP_BY_HOP.contains(class),
        blank_before_colon: blanks > 0,
    })
}

impl Facts {
    /// Takes what a field of `SPEAKING` says.
    #[inline(always)]
    fn hear(&mut self, field: &Field, bytes: &[u8]) {
        let value = field.value.of(bytes);
        match field.name {
            FieldName::Host => {
                self.host.get_or_insert(field.value);
                self.hosts += 1
            }
            FieldName::ContentLength => self.framing.add_length(value, field.value.start),
            FieldName::TransferEncoding => self.framing.add_coding(value, field.value.start),
            _ => self.options.add(value, field.value.start),
        }
    }

    /// Finishes what the fields say together, once all of them have been read.
    ///
    /// # Errors
    /// Too many connection options.
    #[inline(always)]
    pub(crate) fn conclude(&mut self, fields: &mut [Field], bytes: &[u8]) -> Result<(), HeadError> {
        self.options.check()?;
        connection::mark_named(fields, self, bytes);
        Ok(())
    }
}
