//! The grammar of hosts in a configuration: names (IDNA to A-labels), wildcards, IP literals, each in the one
//! spelling that a request's host is compared with.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::problem::Fault;

/// A DNS name has at most this many characters, a closing dot not counted (RFC 1035 2.3.4).
const NAME_BYTES_MAX: usize = 253;
/// A label of a DNS name has at most this many characters (RFC 1035 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// Reads one of a site's hosts: `*`, `*.name`, a name or an IP literal. Returns its canonical spelling.
///
/// # Errors
/// What is wrong, and where it can be guessed what was meant.
pub(crate) fn site_host(text: &str) -> Result<String, Fault> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    let Some(name) = text.strip_prefix("*.") else {
        return host(text);
    };
    let name = host(name)?;
    if name.starts_with('[') || name.parse::<Ipv4Addr>().is_ok() {
        return Err(Fault::new("a wildcard takes labels of a name; an IP address has none"));
    }
    Ok(format!("*.{name}"))
}

/// Reads a name or an IP literal. Returns its canonical spelling: lower-case A-labels without a closing dot, IPv4 in
/// dotted decimal, IPv6 in brackets.
///
/// # Errors
/// What is wrong, and where it can be guessed what was meant.
pub(crate) fn host(text: &str) -> Result<String, Fault> {
    if let Some(address) = ipv6_literal(text)? {
        return Ok(format!("[{address}]"));
    }
    refuse_what_is_no_name(text)?;
    let name = text.strip_suffix('.').unwrap_or(text);
    let name = idna::domain_to_ascii_cow(name.as_bytes(), idna::AsciiDenyList::URL)
        .map_err(|_| Fault::new(format!("{text:?} is no host name")))?;
    check_name(text, &name)?;
    Ok(name.into_owned())
}

fn ipv6_literal(text: &str) -> Result<Option<Ipv6Addr>, Fault> {
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Err(
            Fault::new("an IPv6 address stands in brackets here").help(format!("write \"[{address}]\""))
        );
    }
    let Some(inner) = text.strip_prefix('[') else {
        return Ok(None);
    };
    if let Some((inner, port)) = inner.split_once("]:") {
        return Err(no_port(&format!("[{inner}]"), port));
    }
    let address = inner.strip_suffix(']').and_then(|inner| inner.parse().ok());
    address.map(Some).ok_or_else(|| Fault::new(format!("{text:?} is no IPv6 address in brackets")))
}

/// The mistakes that have a better message than "no host name".
fn refuse_what_is_no_name(text: &str) -> Result<(), Fault> {
    if let Some((_, rest)) = text.split_once("://") {
        let name = rest.split(['/', '?', '#', ':']).next().unwrap_or_default();
        return Err(Fault::new("a host has no scheme and no path").help(format!("write \"{name}\"")));
    }
    if text.contains('*') {
        return Err(Fault::new("a `*` stands alone, or as the whole first label: \"*.example.com\""));
    }
    if let Some((name, port)) = text.split_once(':') {
        return Err(no_port(name, port));
    }
    if text.contains('/') {
        return Err(
            Fault::new("a host has no path").help("a site takes part of its paths with `path_prefix`")
        );
    }
    Ok(())
}

fn no_port(name: &str, port: &str) -> Fault {
    let fault = Fault::new("a host has no port: requests are matched without it");
    if port.bytes().all(|byte| byte.is_ascii_digit()) {
        fault.help(format!("write \"{name}\""))
    } else {
        fault
    }
}

fn check_name(written: &str, name: &str) -> Result<(), Fault> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || !name.split('.').all(|label| !label.is_empty() && label.bytes().all(allowed)) {
        return Err(Fault::new(format!("{written:?} is no host name")));
    }
    if name.len() > NAME_BYTES_MAX || name.split('.').any(|label| label.len() > LABEL_BYTES_MAX) {
        return Err(Fault::new(format!(
            "a host name has at most {NAME_BYTES_MAX} characters, each label at most {LABEL_BYTES_MAX}"
        )));
    }
    if ends_in_a_number(name) && name.parse::<Ipv4Addr>().is_err() {
        return Err(Fault::new(format!(
            "{written:?} is neither an IPv4 address nor a name: names do not end in a number"
        )));
    }
    Ok(())
}

/// Resolvers read such names as IPv4 addresses in old spellings ("127.1", "0x7f.1").
fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    last.bytes().all(|byte| byte.is_ascii_digit()) || last.strip_prefix("0x").is_some_and(hexadecimal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_one_spelling() {
        for (written, canonical) in [
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("*.Bücher.example", "*.xn--bcher-kva.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("[0:0::1]", "[::1]"),
            ("my_app.local", "my_app.local"),
            ("localhost", "localhost"),
            ("*", "*"),
        ] {
            assert_eq!(site_host(written).as_deref(), Ok(canonical), "{written}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long_label = "a".repeat(64);
        let long_name = "a.".repeat(127) + "a";
        for written in [
            "",
            ".",
            "a..b",
            ".a",
            "a b",
            "a/b",
            "a@b",
            "a%20b",
            "exa*mple.com",
            "a.*.b",
            "**",
            "*a",
            "*.",
            "*.*",
            "127.1",
            "1.2.3.4.5",
            "256.1.1.1",
            "0x7f.0x1",
            "[::1",
            "[1.2.3.4]",
            "::1",
            "*.127.0.0.1",
            "*.[::1]",
            "a!b",
            &long_label,
            &long_name,
        ] {
            assert!(site_host(written).is_err(), "{written}");
        }
    }

    #[test]
    fn common_mistakes_have_hints() {
        let help = |text| site_host(text).unwrap_err().help.unwrap_or_default();
        assert_eq!(help("example.com:8080"), "write \"example.com\"");
        assert_eq!(help("[::1]:80"), "write \"[::1]\"");
        assert_eq!(help("::1"), "write \"[::1]\"");
        assert_eq!(help("https://example.com/x"), "write \"example.com\"");
        assert!(help("example.com/x").contains("path_prefix"));
    }
}
