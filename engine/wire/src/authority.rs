//! `host [":" port]` (RFC 3986 section 3.2, RFC 9110 section 4.2): the authority of an absolute-form target and the value
//! of Host. Two things that RFC 3986 allows in a registered name are refused: percent-escapes and sub-delims (`!$&'()*+,;=`).
//! No DNS name has them, and what they mean differs from one reader to the next.

use crate::chars::{self, HOST};
use crate::encode::Sink;
use crate::scan;
use crate::span::Span;
use std::fmt::Write as _;
use std::net::Ipv6Addr;
use std::ops::Range;

/// An authority as spans into the bytes that it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The host as it was sent; an IPv6 literal with its brackets.
    pub host: Span,
    /// The port, when one is given.
    pub port: Option<u16>,
    /// Host and port together: what goes into a Host field.
    pub whole: Span,
}

impl Authority {
    pub(crate) fn shifted(self, by: usize) -> Self {
        Self { host: self.host.shifted(by), port: self.port, whole: self.whole.shifted(by) }
    }
}

/// Hosts longer than this are refused: DNS names have at most 253 characters, a closing dot not counted.
const HOST_BYTES_MAX: usize = 255;

/// Reads `host [":" port]`, the host being an IPv6 literal in brackets, an IPv4 address or a name. `None` for everything
/// else: an empty host, empty labels, a userinfo part, a port over 65535.
pub fn parse_authority(bytes: &[u8]) -> Option<Authority> {
    parse(bytes, 0..bytes.len())
}

/// Reads the authority that stands in `range` of `bytes`; its spans are offsets into `bytes`.
#[inline(always)]
pub(crate) fn parse(bytes: &[u8], range: Range<usize>) -> Option<Authority> {
    let Range { start, end } = range.clone();
    let host_end = scan::plain_host(bytes, start, end);
    if host_end == end && matches!(end - start, 1..=HOST_BYTES_MAX) {
        let whole = Span::new(start, end);
        return Some(Authority { host: whole, port: None, whole });
    }
    parse_from(bytes, range, host_end)
}

/// The same for every kind of host, which may be a plain name up to `host_end`.
#[inline(never)]
fn parse_from(bytes: &[u8], range: Range<usize>, host_end: usize) -> Option<Authority> {
    let (start, whole) = (range.start, bytes.get(range)?);
    let plain_len = host_end.checked_sub(start)?;
    let plain = whole.get(plain_len) == Some(&b':') && matches!(plain_len, 1..=HOST_BYTES_MAX);
    let host_len = match whole.first()? {
        _ if plain => plain_len,
        b'[' => memchr::memchr(b']', whole)? + 1,
        _ => whole.iter().position(|&byte| byte == b':').unwrap_or(whole.len()),
    };
    let (host, rest) = whole.split_at_checked(host_len)?;
    if !plain && !is_host(host) {
        return None;
    }
    let (host, whole) = (Span::new(0, host_len), Span::new(0, whole.len()));
    Some(Authority { host, port: port(rest)?, whole }.shifted(start))
}

/// Reads what stands after the host: nothing, a colon, or a colon and a port. RFC 3986 section 3.2.3 lets the port be empty.
fn port(rest: &[u8]) -> Option<Option<u16>> {
    match rest {
        [] | [b':'] => Some(None),
        [b':', digits @ ..] => Some(Some(u16::try_from(chars::decimal(digits)?).ok()?)),
        _ => None,
    }
}

fn is_host(host: &[u8]) -> bool {
    match host {
        [b'[', .., b']'] => ipv6_literal(host).is_some(),
        _ => is_name(host),
    }
}

/// A name of DNS: labels of at least one byte, with or without the dot of the root behind them.
fn is_name(host: &[u8]) -> bool {
    let mut previous = b'.';
    for &byte in host {
        if !chars::is(byte, HOST) || byte == b'.' && previous == b'.' {
            return false;
        }
        previous = byte;
    }
    host.len() <= HOST_BYTES_MAX && !host.is_empty()
}

/// The form in which hosts are compared: lower-case, without one trailing dot, an IPv6 literal in its shortest spelling, with
/// its brackets. `None` when `host` is empty or longer than `out`.
pub fn canonical_host<'a>(host: &[u8], out: &'a mut [u8; 256]) -> Option<&'a [u8]> {
    if let Some(address) = ipv6_literal(host) {
        return write_literal(address, out);
    }
    let name = host.strip_suffix(b".").unwrap_or(host);
    let room = out.get_mut(..name.len())?;
    room.copy_from_slice(name);
    room.make_ascii_lowercase();
    (!room.is_empty()).then_some(&*room)
}

/// The address of an IPv6 literal in brackets.
fn ipv6_literal(host: &[u8]) -> Option<Ipv6Addr> {
    let inner = host.strip_prefix(b"[")?.strip_suffix(b"]")?;
    str::from_utf8(inner).ok()?.parse().ok()
}

fn write_literal(address: Ipv6Addr, out: &mut [u8; 256]) -> Option<&[u8]> {
    let mut sink = Sink::new(out);
    write!(sink, "[{address}]").ok()?;
    let written = sink.len();
    out.get(..written)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(String, Option<u16>)> {
        let authority = parse_authority(text.as_bytes())?;
        assert_eq!(authority.whole.of(text.as_bytes()), text.as_bytes());
        Some((String::from_utf8(authority.host.of(text.as_bytes()).to_vec()).unwrap(), authority.port))
    }

    #[test]
    fn hosts_and_ports() {
        let cases = [
            ("example.com", "example.com", None),
            ("example.com:8080", "example.com", Some(8080)),
            ("example.com:", "example.com", None),
            ("EXAMPLE.com.:0", "EXAMPLE.com.", Some(0)),
            ("under_score.example", "under_score.example", None),
            ("127.0.0.1:1", "127.0.0.1", Some(1)),
            ("[::1]:443", "[::1]", Some(443)),
            ("[2001:db8::192.0.2.1]", "[2001:db8::192.0.2.1]", None),
        ];
        for (text, host, port) in cases {
            assert_eq!(read(text), Some((host.to_owned(), port)), "{text}");
        }
    }

    #[test]
    fn what_is_no_authority() {
        for text in [
            "",
            ":",
            ":80",
            "a b",
            "a,b",
            "user@a",
            "user:pw@a",
            "a:65536",
            "a:99999",
            "a:-1",
            "a:+1",
            "a:8o",
            "a:1:2",
            "a/b",
            "a?b",
            "a#b",
            "a%41",
            "a\\b",
            ".",
            "..",
            ".a",
            "a..b",
            "a..",
            "[::1",
            "::1",
            "[::1]a",
            "[::1%25eth0]",
            "[v1.a]",
            "[1.2.3.4]",
            "[]",
            "a\t",
            "\u{e4}",
            "a;b",
            "a=b",
            "'a'",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read(&"a".repeat(256)), None);
    }

    #[test]
    fn canonical_hosts() {
        let mut out = [0; 256];
        assert_eq!(canonical_host(b"WWW.Example.COM.", &mut out), Some(&b"www.example.com"[..]));
        assert_eq!(canonical_host(b"[2001:DB8::1]", &mut out), Some(&b"[2001:db8::1]"[..]));
        assert_eq!(canonical_host(b"[0:0:0:0:0:0:0:1]", &mut out), Some(&b"[::1]"[..]));
        assert_eq!(canonical_host(b"[2001:0db8:0:0::C0:1]", &mut out), Some(&b"[2001:db8::c0:1]"[..]));
        assert_eq!(canonical_host(b".", &mut out), None);
        assert_eq!(canonical_host(&[b'a'; 257], &mut out), None);
    }
}
