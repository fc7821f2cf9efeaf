//! Which bytes may stand where, as one table of class bits.

/// `tchar` of RFC 9110 section 5.6.2: methods, field names, options, codings.
pub(crate) const TCHAR: u8 = 1;
/// A byte that stands for itself in a path: `pchar` and `/` of RFC 3986 section 3.3, and ``"<>[]\^{|}` `` which browsers
/// send raw. `%`, `?` and `#` have their own meaning.
pub(crate) const PATH: u8 = 1 << 1;
/// A byte of a query: 0x21 to 0x7E except `#`; a stray `%` too, since browsers send it.
pub(crate) const QUERY: u8 = 1 << 2;
/// A byte of a host name: what DNS names are made of, and `_` and `~`, which RFC 3986 leaves unreserved.
pub(crate) const HOST: u8 = 1 << 3;
/// A byte of a field value or of a reason: `field-vchar`, SP and HTAB (RFC 9110 section 5.5), obs-text included.
pub(crate) const VALUE: u8 = 1 << 4;
/// `HEXDIG` of RFC 5234, both cases.
pub(crate) const HEX: u8 = 1 << 5;

const CLASSES: [u8; 256] = classes();

#[expect(clippy::indexing_slicing, reason = "runs at compile time, where an index out of range is an error")]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = class_of(byte as u8);
        byte += 1;
    }
    table
}

const fn class_of(byte: u8) -> u8 {
    let visible = byte > 0x20 && byte < 0x7f;
    let token = byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
    let path = visible && !matches!(byte, b'#' | b'?' | b'%');
    let host = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let value = visible || byte >= 0x80 || matches!(byte, b' ' | b'\t');
    bit(token, TCHAR)
        | bit(path, PATH)
        | bit(visible && byte != b'#', QUERY)
        | bit(host, HOST)
        | bit(value, VALUE)
        | bit(byte.is_ascii_hexdigit(), HEX)
}

const fn bit(set: bool, class: u8) -> u8 {
    if set { class } else { 0 }
}

/// Whether `byte` belongs to `class`, one of this module's bits.
#[inline]
pub(crate) fn is(byte: u8, class: u8) -> bool {
    CLASSES.get(usize::from(byte)).is_some_and(|bits| bits & class != 0)
}

/// The offset of the first byte that is not of `class`.
#[inline]
pub(crate) fn first_not(bytes: &[u8], class: u8) -> Option<usize> {
    bytes.iter().position(|&byte| !is(byte, class))
}

/// A control byte: below 0x20 or DEL.
#[inline]
pub(crate) fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

/// White space within a line.
#[inline]
pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Whether `bytes` is a `token` of RFC 9110 section 5.6.2.
#[inline]
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && first_not(bytes, TCHAR).is_none()
}

/// `bytes` without the white space (SP and HTAB) around it: `OWS` of RFC 9110 section 5.6.3.
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|&byte| !is_blank(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|&byte| !is_blank(byte)).map_or(start, |last| last + 1);
    bytes.get(start..end).unwrap_or_default()
}

/// The members of a comma-separated list, trimmed; empty ones are left out (RFC 9110 section 5.6.1.2).
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|member| !member.is_empty())
}

/// This many digits never make more than 63 bits.
const DIGITS_OF_63_BITS: usize = 18;

/// The number that `1*DIGIT` spells, `None` for anything else and for what does not fit 63 bits.
pub(crate) fn decimal(bytes: &[u8]) -> Option<u64> {
    if matches!(bytes.len(), 1..=DIGITS_OF_63_BITS) {
        return bytes
            .iter()
            .try_fold(0, |number, byte| byte.is_ascii_digit().then(|| 10 * number + u64::from(byte - b'0')));
    }
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        let next = number.checked_mul(10)?.checked_add(digit)?;
        (next <= i64::MAX as u64).then_some(next)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_the_grammars() {
        let of = |class| (0..=255u8).filter(|&byte| is(byte, class)).map(char::from).collect::<String>();
        assert_eq!(
            of(TCHAR),
            "!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~"
        );
        assert_eq!(of(PATH).len(), 0x7e - 0x20 - 3);
        assert_eq!(of(QUERY).len(), 0x7e - 0x20 - 1);
        assert_eq!(of(HEX), "0123456789ABCDEFabcdef");
        assert_eq!(of(VALUE).chars().count(), 256 - 32 - 1 + 1);
    }

    #[test]
    fn decimals_are_digits_of_63_bits() {
        let read = |text: &str| decimal(text.as_bytes());
        assert_eq!(
            (read("0"), read("007"), read("9223372036854775807")),
            (Some(0), Some(7), Some(i64::MAX as u64))
        );
        for wrong in ["", "+5", "-0", "5 ", "0x5", "9223372036854775808", "99999999999999999999999"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn lists_skip_empty_members() {
        let members: Vec<_> = list(b", a ,,\tb c\t,").collect();
        assert_eq!(members, [&b"a"[..], b"b c"]);
    }
}
