//! The bytes of URIs (RFC 3986), and how every other byte is written in one.

/// Whether `byte` may stand in a path, a query or a fragment as itself: `pchar` and `/`. `%` and `?` have their own
/// meaning.
pub(super) fn is_uri_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte)
}

/// Appends `byte` as `%XX`.
pub(super) fn push_escaped(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
    out.extend([b'%', digit(byte >> 4), digit(byte & 0xF)]);
}

/// `c` in UTF-8, each byte as `%XX`.
pub(super) fn escaped(c: char) -> String {
    let mut bytes = [0; 4];
    c.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Whether the `%` that `rest` begins with is one of `%XX`.
pub(super) fn begins_with_escape(rest: &[u8]) -> bool {
    matches!(rest, [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

/// Whether `path`, which begins with `/`, has dot segments. To find out they are removed, so that a path which has some is of
/// no use any more.
pub(super) fn has_dot_segments(path: &mut [u8]) -> bool {
    // Few paths come near to one, and each takes at least its own byte with it.
    let bytes = path.len();
    path.windows(2).any(|pair| matches!(pair, [b'/', b'.' | b'%']))
        && ringway_wire::normalise_path(path) != Ok(bytes)
}
