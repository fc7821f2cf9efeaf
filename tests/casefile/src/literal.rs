//! Bytes as text: what stands in the indented lines of a case.

/// The backend's own authority, which no file can know.
const BACKEND: &str = "{backend}";

/// Reads one line: printable ASCII stands for itself, `\r \n \t \0 \\ \xHH` for a byte, `{"text" * 9000}` for text so many
/// times, `{forwarded host}` for the fields that Ringway adds for a client at 127.0.0.1 over plain HTTP, `{backend}` for the
/// backend's own authority.
pub(crate) fn read(line: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '\\' => escape(rest, &mut bytes)?,
            '{' if rest.starts_with("{\"") => repetition(rest, &mut bytes)?,
            '{' if rest.starts_with("{forwarded ") => forwarded(rest, &mut bytes)?,
            '{' if rest.starts_with(BACKEND) => {
                bytes.extend_from_slice(crate::BACKEND_AUTHORITY.as_bytes());
                &rest[BACKEND.len()..]
            }
            ' '..='~' => {
                bytes.push(first as u8);
                &rest[1..]
            }
            _ => return Err(format!("{first:?} must be written as an escape")),
        };
    }
    Ok(bytes)
}

fn escape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Result<&'a str, String> {
    let single = match text.as_bytes().get(1) {
        Some(b'r') => b'\r',
        Some(b'n') => b'\n',
        Some(b't') => b'\t',
        Some(b'0') => 0,
        Some(b'\\') => b'\\',
        Some(b'x') => {
            let byte = text.get(2..4).and_then(|digits| u8::from_str_radix(digits, 16).ok());
            bytes.push(byte.ok_or_else(|| format!("no escape: {text}"))?);
            return Ok(&text[4..]);
        }
        _ => return Err(format!("no escape: {text}")),
    };
    bytes.push(single);
    Ok(&text[2..])
}

fn repetition<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Result<&'a str, String> {
    let wrong = || format!("no repetition: {text}");
    let (quoted, behind) = text[2..].split_once("\" * ").ok_or_else(wrong)?;
    let (times, rest) = behind.split_once('}').ok_or_else(wrong)?;
    let times: usize = times.trim().parse().map_err(|_| wrong())?;
    bytes.extend(read(quoted)?.repeat(times));
    Ok(rest)
}

fn forwarded<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Result<&'a str, String> {
    let inner = &text["{forwarded ".len()..];
    let (host, rest) = inner.split_once('}').ok_or_else(|| format!("no end: {text}"))?;
    let address = "X-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n";
    bytes.extend_from_slice(address.as_bytes());
    if host != "nothing" {
        bytes.extend_from_slice(format!("X-Forwarded-Host: {host}\r\n").as_bytes());
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn literals() {
        assert_eq!(read(r"a\r\n\t\0\\\x7f").unwrap(), b"a\r\n\t\0\\\x7f");
        assert_eq!(read(r#"[{"a\x00" * 3}]{"#).unwrap(), b"[a\0a\0a\0]{");
        assert!(read("{forwarded a:8}").unwrap().ends_with(b"\r\nX-Forwarded-Host: a:8\r\n"));
        for wrong in [r"\q", r"\x0", "\t", "\u{e4}", r#"{"a" * }"#, r#"{"a"}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
