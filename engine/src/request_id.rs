//! Request ids: made here, or taken from a trusted peer; always of characters that logs and JSON take as they are.

use std::borrow::Cow;

use ringway_wire::{RequestHead, is_underscored_twin};

/// The longest id that is taken over, in bytes.
const MAX_ID_BYTES: usize = 128;

/// Takes the field `name` (lower-case), and whatever a backend could mistake for it, out of the head, and gives the id that
/// goes upstream in its place: the one that came when the peer is trusted and it is well-formed, else a new one.
pub(crate) fn take(
    head: &mut RequestHead,
    bytes: &[u8],
    name: &str,
    peer_trusted: bool,
) -> Cow<'static, str> {
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
    Cow::Owned(kept.map_or_else(new, str::to_owned))
}

fn well_formed(id: &[u8]) -> Option<&str> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=".contains(byte);
    let fits = (1..=MAX_ID_BYTES).contains(&id.len()) && id.iter().all(plain);
    std::str::from_utf8(id).ok().filter(|_| fits)
}

/// 128 random bits in hexadecimal. They need to be distinct, not secret.
fn new() -> String {
    format!("{:032x}", fastrand::u128(..))
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
    fn new_ids_differ() {
        assert_eq!(new().len(), 32);
        assert_ne!(new(), new());
    }
}
