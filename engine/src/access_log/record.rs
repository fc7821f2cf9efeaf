//! What a line says, and the two formats of it. A line is written with each exchange, so the common case is what is quick:
//! strings without anything to escape, and short numbers.

use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringway_config::{Rule, Site};
use ringway_wire::{RequestHead, Version};

use super::clock::TimeText;
use crate::error::Error;
use crate::respond;

/// The most room for a head's texts that a record keeps for the next exchange, in bytes.
const KEPT_TEXT_BYTES: usize = 2048;

/// What a line says. Collected while the exchange runs, because its head is gone at the end.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) client: Option<IpAddr>,
    pub(crate) status: u16,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    pub(crate) took: Duration,
    pub(crate) site: Option<Arc<Site>>,
    pub(crate) rule: Option<Arc<Rule>>,
    pub(crate) upstream: Option<LogName>,
    pub(crate) backend: Option<LogName>,
    pub(crate) tries: u32,
    pub(crate) error: Option<Error>,
    /// Who it is, by its credentials.
    pub(crate) user: Option<Arc<str>>,
    /// How long it waited in lines.
    pub(crate) queued: Duration,
    /// Why the last backend was chosen.
    choice: &'static str,
    /// The backends that failed it, and why.
    failures: Vec<(LogName, &'static str)>,
    head: Head,
}

/// What the request's head says.
#[derive(Default)]
struct Head {
    /// The method, the host, the target, the request's id.
    text: Vec<u8>,
    /// Where the first three of them end.
    method_end: usize,
    host_end: usize,
    target_end: usize,
    /// `None` for what never became a request.
    version: Option<Version>,
}

impl Record {
    /// Notes what the head says.
    pub(crate) fn begin(
        &mut self,
        head: &RequestHead,
        bytes: &[u8],
        client: Option<IpAddr>,
        id: Option<&str>,
    ) {
        self.client = client;
        let noted = &mut self.head;
        noted.text.extend_from_slice(head.method_bytes(bytes));
        noted.method_end = noted.text.len();
        if let Some(authority) = head.authority() {
            noted.text.extend_from_slice(authority.whole.of(bytes));
        }
        noted.host_end = noted.text.len();
        noted.text.extend_from_slice(head.path(bytes));
        if let Some(query) = head.query(bytes) {
            noted.text.push(b'?');
            noted.text.extend_from_slice(query);
        }
        noted.target_end = noted.text.len();
        // An id is never empty.
        noted.text.extend_from_slice(id.unwrap_or_default().as_bytes());
        noted.version = Some(head.version());
    }

    /// Notes the request's id, which was made after [`Record::begin`].
    pub(crate) fn identify(&mut self, id: &str) {
        self.head.text.truncate(self.head.target_end);
        self.head.text.extend_from_slice(id.as_bytes());
    }

    /// Notes a try.
    pub(crate) fn try_at(&mut self, backend: LogName, choice: &'static str) {
        self.tries += 1;
        self.choice = choice;
        self.backend = Some(backend);
    }

    /// Notes one more try at the same backend.
    pub(crate) fn try_again(&mut self) {
        self.tries += 1;
    }

    /// Notes that the last try failed.
    pub(crate) fn fail(&mut self, why: &'static str) {
        self.failures.extend(self.backend.clone().map(|backend| (backend, why)));
    }

    /// Makes it ready for another exchange. The room of its text stays, unless it is unusually large.
    pub(super) fn clear(&mut self) {
        let mut text = std::mem::take(&mut self.head.text);
        text.clear();
        text.shrink_to(KEPT_TEXT_BYTES);
        *self = Self { head: Head { text, ..Head::default() }, ..Self::default() };
    }

    /// One JSON object.
    pub(super) fn json(&self, time: &TimeText, out: &mut Vec<u8>) {
        put(out, b"{\"time\":\"");
        put(out, &time.rfc3339);
        put(out, b"\",\"client\":\"");
        put_client(out, self.client);
        self.head.json(out);
        put(out, b"\",\"status\":");
        put_number(out, u64::from(self.status));
        put(out, b",\"request_bytes\":");
        put_number(out, self.request_bytes);
        put(out, b",\"response_bytes\":");
        put_number(out, self.response_bytes);
        put(out, b",\"duration_us\":");
        put_number(out, u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX));
        if let Some(user) = &self.user {
            put_field(out, b",\"user\":\"", &json_text(user.as_bytes()));
        }
        if let Some(site) = &self.site {
            put_field(out, b",\"site\":\"", &json_text(site.name.as_bytes()));
        }
        if let Some(rule) = &self.rule {
            put_field(out, b",\"rule\":\"", &json_text(rule.name.as_bytes()));
        }
        if let Some(upstream) = &self.upstream {
            put_field(out, b",\"upstream\":\"", &upstream.0);
        }
        if let Some(backend) = &self.backend {
            put_field(out, b",\"backend\":\"", &backend.0);
        }
        if !self.choice.is_empty() {
            put_field(out, b",\"choice\":\"", self.choice.as_bytes());
        }
        if !self.failures.is_empty() {
            self.put_failures(out);
        }
        if !self.queued.is_zero() {
            put(out, b",\"queued_us\":");
            put_number(out, u64::try_from(self.queued.as_micros()).unwrap_or(u64::MAX));
        }
        if let Some(error) = self.error {
            put_error(out, error);
        }
        if let Some(id) = self.head.request_id() {
            put_field(out, b",\"request_id\":\"", &json_text(id));
        }
        put(out, b",\"tries\":");
        put_number(out, u64::from(self.tries));
        put(out, b"}\n");
    }

    #[cold]
    fn put_failures(&self, out: &mut Vec<u8>) {
        put(out, b",\"failures\":[");
        for (index, (backend, why)) in self.failures.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"{" } else { b",{" });
            put_field(out, b"\"backend\":\"", &backend.0);
            put_field(out, b",\"reason\":\"", why.as_bytes());
            out.push(b'}');
        }
        out.push(b']');
    }

    /// The Common Log Format.
    pub(super) fn common(&self, time: &TimeText, out: &mut Vec<u8>) {
        put_client(out, self.client);
        put(out, b" - ");
        match &self.user {
            // A blank would end the field.
            Some(user) => put_blankless(out, &common_text(user.as_bytes())),
            None => put(out, b"-"),
        }
        put(out, b" [");
        put(out, &time.common);
        put(out, b"] \"");
        out.extend_from_slice(&common_text(self.head.method()));
        out.push(b' ');
        out.extend_from_slice(&common_text(self.head.target()));
        out.push(b' ');
        match self.head.version {
            None => put(out, b"\" "),
            Some(Version::Http10) => put(out, b"HTTP/1.0\" "),
            Some(Version::Http11) => put(out, b"HTTP/1.1\" "),
        }
        put_number(out, u64::from(self.status));
        out.push(b' ');
        put_number(out, self.response_bytes);
        out.push(b'\n');
    }
}

impl Head {
    /// Its fields, from the method's value to the protocol's.
    fn json(&self, out: &mut Vec<u8>) {
        let (method, host, target) = (self.method(), self.host(), self.target());
        put(out, b"\",\"method\":\"");
        // All of it is looked at at once.
        if is_plain(&self.text) {
            out.extend_from_slice(method);
            put(out, b"\",\"host\":\"");
            out.extend_from_slice(host);
            put(out, b"\",\"target\":\"");
            out.extend_from_slice(target);
        } else {
            out.extend_from_slice(&json_text(method));
            put(out, b"\",\"host\":\"");
            out.extend_from_slice(&json_text(host));
            put(out, b"\",\"target\":\"");
            out.extend_from_slice(&json_text(target));
        }
        match self.version {
            None => put(out, b"\",\"protocol\":\""),
            Some(Version::Http10) => put(out, b"\",\"protocol\":\"HTTP/1.0"),
            Some(Version::Http11) => put(out, b"\",\"protocol\":\"HTTP/1.1"),
        }
    }

    fn method(&self) -> &[u8] {
        &self.text[..self.method_end]
    }

    fn host(&self) -> &[u8] {
        &self.text[self.method_end..self.host_end]
    }

    fn target(&self) -> &[u8] {
        &self.text[self.host_end..self.target_end]
    }

    fn request_id(&self) -> Option<&[u8]> {
        Some(&self.text[self.target_end..]).filter(|id| !id.is_empty())
    }
}

/// Appends a text of known length, which takes a few instructions where a slice takes a call.
#[inline]
fn put<const N: usize>(out: &mut Vec<u8>, text: &[u8; N]) {
    out.extend_from_slice(text);
}

/// Appends a text, its blanks escaped.
#[cold]
fn put_blankless(out: &mut Vec<u8>, text: &[u8]) {
    for (index, word) in text.split(|byte| *byte == b' ').enumerate() {
        out.extend_from_slice(if index == 0 { b"" } else { b"\\x20" });
        out.extend_from_slice(word);
    }
}

/// Appends a field; `name` is all of it up to its value's quote.
#[inline]
fn put_field<const N: usize>(out: &mut Vec<u8>, name: &[u8; N], value: &[u8]) {
    put(out, name);
    out.extend_from_slice(value);
    out.push(b'"');
}

fn put_error(out: &mut Vec<u8>, error: Error) {
    put_field(out, b",\"code\":\"", respond::answer(error).code.as_bytes());
    if let Some(detail) = error.detail() {
        put_field(out, b",\"detail\":\"", detail.as_bytes());
    }
    put_field(out, b",\"fault\":\"", error.fault().name().as_bytes());
}

#[inline]
fn put_number(out: &mut Vec<u8>, number: u64) {
    match u8::try_from(number) {
        Ok(digit @ 0..10) => out.push(b'0' + digit),
        _ => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
    }
}

fn put_client(out: &mut Vec<u8>, client: Option<IpAddr>) {
    match client {
        Some(IpAddr::V4(address)) => {
            let [first, rest @ ..] = address.octets();
            put_number(out, u64::from(first));
            for octet in rest {
                out.push(b'.');
                put_number(out, u64::from(octet));
            }
        }
        Some(IpAddr::V6(address)) => out.extend_from_slice(address.to_string().as_bytes()),
        None => put(out, b"unix"),
    }
}

/// A configured name, ready for many lines.
#[derive(Clone)]
pub(crate) struct LogName(Rc<[u8]>);

impl LogName {
    pub(crate) fn new(name: &str) -> Self {
        Self(json_text(name.as_bytes()).as_ref().into())
    }
}

/// What goes into a JSON string; a byte that is not ASCII stands for the code point of its number, so that every line is
/// valid.
#[inline]
fn json_text(text: &[u8]) -> Cow<'_, [u8]> {
    if is_plain(text) { Cow::Borrowed(text) } else { Cow::Owned(escaped(text, "\\u00")) }
}

/// What goes between quotes in the Common Log Format.
fn common_text(text: &[u8]) -> Cow<'_, [u8]> {
    if is_plain(text) { Cow::Borrowed(text) } else { Cow::Owned(escaped(text, "\\x")) }
}

/// A byte that is not printable ASCII as its number in hexadecimal behind `escape`.
#[cold]
fn escaped(text: &[u8], escape: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 * text.len());
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x20..=0x7e => out.push(byte),
            _ => out.extend_from_slice(format!("{escape}{byte:02x}").as_bytes()),
        }
    }
    out
}

/// Whether nothing in it must be escaped: printable ASCII without quotes and backslashes. Eight bytes at a step; the last
/// step may look again at what the one before has seen.
fn is_plain(text: &[u8]) -> bool {
    if let Some(&last) = text.last_chunk() {
        let (words, _) = text.as_chunks();
        let strange = |word| strange_bits(u64::from_ne_bytes(word));
        // To the end in any case: so several words are looked at with each instruction.
        return words.iter().fold(strange(last), |bits, &word| bits | strange(word)) == 0;
    }
    let word = match (text.first_chunk(), text.last_chunk()) {
        (Some(&first), Some(&last)) => {
            u64::from(u32::from_ne_bytes(first)) << 32 | u64::from(u32::from_ne_bytes(last))
        }
        // At most three bytes: their first, their middle one and their last.
        _ => match (text.first(), text.get(text.len() / 2), text.last()) {
            (Some(&first), Some(&middle), Some(&last)) => {
                u64::from_ne_bytes([first, middle, last, b' ', b' ', b' ', b' ', b' '])
            }
            _ => return true,
        },
    };
    strange_bits(word) == 0
}

/// Of eight bytes, some bits of those that must be escaped; none, when all are plain. A byte sees a borrow or a carry only
/// from one below it that is not plain itself.
#[inline]
fn strange_bits(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES * 0x80;
    let below_space = word.wrapping_sub(ONES * 0x20);
    let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    let delete = word.wrapping_add(ONES);
    (word | below_space | quote | backslash | delete) & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requested(target: &[u8]) -> Record {
        let text = [b"GET", target].concat();
        let head =
            Head { method_end: 3, host_end: 3, target_end: text.len(), text, version: Some(Version::Http11) };
        Record { head, ..Record::default() }
    }

    fn json(record: &Record) -> String {
        let mut out = Vec::new();
        record.json(&TimeText::new(0), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn peers_cannot_break_a_line() {
        let record = requested(b"/\"\\\xff");
        let text = json(&record);
        assert!(text.contains(r#""target":"/\"\\\u00ff""#), "{text}");
        let mut out = Vec::new();
        record.common(&TimeText::new(0), &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(r#""GET /\"\\\xff HTTP/1.1""#), "{text}");
    }

    #[test]
    fn names_are_escaped_as_well() {
        let record = Record { upstream: Some(LogName::new("a\"b")), ..Record::default() };
        assert!(json(&record).contains(r#""upstream":"a\"b""#));
    }

    #[test]
    fn every_byte_is_escaped_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            let plain = matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\';
            for (len, place) in (1..20).flat_map(|len| (0..len).map(move |place| (len, place))) {
                for filler in [b' ', b'!', b'#', b'[', b']', b'~'] {
                    let mut text = vec![filler; len];
                    text[place] = byte;
                    assert_eq!(is_plain(&text), plain, "{byte:#x} at {place} of {len}");
                }
            }
        }
    }

    #[test]
    fn a_record_forgets_what_it_said() {
        let mut record = requested(&[b'x'; 2 * KEPT_TEXT_BYTES]);
        record.error = Some(Error::NoRule);
        record.tries = 3;
        record.clear();
        assert_eq!(json(&record), json(&Record::default()));
        assert!(record.head.text.capacity() <= KEPT_TEXT_BYTES);
    }

    #[test]
    fn clients_are_named() {
        let name = |client: Option<&str>| {
            let mut out = Vec::new();
            put_client(&mut out, client.map(|client| client.parse().unwrap()));
            String::from_utf8(out).unwrap()
        };
        for address in ["0.0.0.0", "10.20.30.40", "255.9.100.1", "2001:db8::1"] {
            assert_eq!(name(Some(address)), address);
        }
        assert_eq!(name(None), "unix");
    }

    #[test]
    fn the_reference_lists_every_field() {
        let reference = include_str!("../../../docs/reference.md");
        let mut record = requested(b"/");
        record.head.text.extend_from_slice(b"id");
        record.upstream = Some(LogName::new("u"));
        record.try_at(LogName::new("b"), "only");
        record.fail("closed");
        record.queued = Duration::from_secs(1);
        record.error = Some(Error::BadUpgrade);
        let line = json(&record);
        let names = line.split(['{', ',']).filter_map(|part| part.strip_prefix('"')?.split('"').next());
        let names: Vec<_> = names.chain(["site", "rule"]).collect();
        assert!(names.contains(&"request_id") && names.contains(&"detail"));
        for name in names {
            assert!(reference.contains(&format!("`{name}`")), "{name}");
        }
    }
}
