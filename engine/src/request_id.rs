//! Request ids: made here, or taken from a trusted peer; always of characters that logs and JSON take as they are.

use std::ops::Deref;

use ringway_wire::{RequestHead, is_underscored_twin};

/// The longest id that is taken over, in bytes.
const MAX_ID_BYTES: usize = 128;

/// The length of an id that is made here, in bytes.
const NEW_ID_BYTES: usize = 32;

/// A request's id.
#[derive(Clone, Debug)]
pub(crate) enum RequestId {
    New([u8; NEW_ID_BYTES]),
    Taken(Box<str>),
}

impl RequestId {
    /// A new one.
    pub(crate) fn new() -> Self {
        Self::New(hexadecimal(fastrand::u128(..)))
    }
}

impl Deref for RequestId {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::New(digits) => std::str::from_utf8(digits).unwrap_or_default(),
            Self::Taken(id) => id,
        }
    }
}

/// Takes the field `name` (lower-case), and whatever a backend could mistake for it, out of the head, and gives the id that
/// goes upstream in its place: the one that came when the peer is trusted and it is well-formed, else a new one.
pub(crate) fn take(head: &mut RequestHead, bytes: &[u8], name: &str, peer_trusted: bool) -> RequestId {
    let mut came = None;
    for field in &mut head.fields {
        let field_name = field.name_span.of(bytes);
        if field_name.eq_ignore_ascii_case(name.as_bytes()) {
            came = came.or(Some(field.value));
            field.hop_by_hop = true;
        } else if is_underscored_twin(field_name, name.as_bytes()) {
            field.hop_by_hop = true;
        }
    }
    let kept = came.filter(|_| peer_trusted).and_then(|value| well_formed(value.of(bytes)));
    kept.map_or_else(RequestId::new, |id| RequestId::Taken(id.into()))
}

fn well_formed(id: &[u8]) -> Option<&str> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=".contains(byte);
    let fits = (1..=MAX_ID_BYTES).contains(&id.len()) && id.iter().all(plain);
    std::str::from_utf8(id).ok().filter(|_| fits)
}

/// A number's digits. A new id is 128 random bits: they need to be distinct, not secret.
fn hexadecimal(number: u128) -> [u8; NEW_ID_BYTES] {
    let mut digits = [0; NEW_ID_BYTES];
    for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(number.to_be_bytes()) {
        *pair = [byte >> 4, byte & 0xf];
    }
    digits.map(|digit| digit + if digit < 10 { b'0' } else { b'a' - 10 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_ids_are_taken_over() {
        assert_eq!(well_formed(b"a-b_c.1"), Some("a-b_c.1"));
        for bad in [&b""[..], b"a\"b", b"a b", &[b'x'; MAX_ID_BYTES + 1]] {
            assert_eq!(well_formed(bad), None);
        }
    }

    #[test]
    fn new_ids_are_all_digits_of_a_number() {
        for number in [0, 1, 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210, u128::MAX] {
            let id = RequestId::New(hexadecimal(number));
            assert_eq!(&*id, format!("{number:032x}"));
        }
    }
}
