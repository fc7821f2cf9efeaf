//! WebSocket handshakes (RFC 6455 section 4) as a proxy sees them. What a tunnel carries is none of its business.

use crate::chars::{list, trim};
use crate::head::{Method, RequestHead, ResponseHead, Version};
use crate::name::FieldName;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What Sec-WebSocket-Key is joined with before it is hashed (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a request's Upgrade field asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpgradeRequest {
    /// Nothing that Ringway acts on: no Upgrade, no `Connection: upgrade`, another protocol (h2c too), or HTTP/1.0. The
    /// field is dropped and the request goes on.
    #[default]
    None,
    /// A WebSocket handshake that may be forwarded.
    WebSocket,
    /// A WebSocket handshake of another version than 13 (RFC 6455 section 4.2.2: 426).
    WebSocketVersion,
    /// A WebSocket handshake that breaks the rules (RFC 6455 section 4.2.1: 400).
    WebSocketBroken,
}

/// Reads what `head` asks for; its other facts are settled already.
pub(crate) fn upgrade_of(head: &RequestHead, buf: &[u8]) -> UpgradeRequest {
    let upgrades =
        head.facts.options.upgrade && head.version == Version::Http11 && head.has(FieldName::Upgrade);
    if !upgrades || !values(head, FieldName::Upgrade, buf).any(names_websocket) {
        return UpgradeRequest::None;
    }
    match one(values(head, FieldName::SecWebSocketVersion, buf)) {
        None => UpgradeRequest::WebSocketBroken,
        Some(version) if version != b"13" => UpgradeRequest::WebSocketVersion,
        Some(_) if head.method == Method::Get && head.framing.is_empty() && has_key(head, buf) => {
            UpgradeRequest::WebSocket
        }
        Some(_) => UpgradeRequest::WebSocketBroken,
    }
}

/// The value of Sec-WebSocket-Key of a handshake that may be forwarded.
pub fn key<'a>(head: &RequestHead, buf: &'a [u8]) -> Option<&'a [u8]> {
    head.field(FieldName::SecWebSocketKey).map(|field| field.value.of(buf))
}

/// RFC 6455 section 4.2.1: one key, 16 bytes in base64. The bits of the last character that spell no byte may be set: some
/// clients make a key of 22 random characters.
fn has_key(head: &RequestHead, buf: &[u8]) -> bool {
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    match one(values(head, FieldName::SecWebSocketKey, buf)) {
        Some([digits @ .., b'=', b'=']) => digits.len() == 22 && digits.iter().all(base64),
        _ => false,
    }
}

/// What Sec-WebSocket-Accept must say to a client with `key` (RFC 6455 section 4.2.2): base64 of the SHA-1 of key and GUID.
pub fn accept_value(key: &[u8]) -> [u8; 28] {
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key);
    hash.update(GUID);
    let mut value = [0; 28];
    // 20 bytes are always 28 characters.
    let written = STANDARD.encode_slice(hash.digest().bytes(), &mut value);
    debug_assert_eq!(written, Ok(28));
    value
}

/// Whether a 101 is the right answer to a handshake with `key` (RFC 6455 section 4.1): Upgrade is `websocket` alone, Connection
/// has `upgrade`, and there is one Sec-WebSocket-Accept with the right value.
pub fn accepts(response: &ResponseHead, buf: &[u8], key: &[u8]) -> bool {
    let values = |name| {
        response.fields.iter().filter(move |field| field.name == name).map(|field| field.value.of(buf))
    };
    let protocol = one(values(FieldName::Upgrade));
    response.status == 101
        && response.facts.options.upgrade
        && protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
        && one(values(FieldName::SecWebSocketAccept)) == Some(&accept_value(key)[..])
}

fn names_websocket(value: &[u8]) -> bool {
    list(value).any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}

fn values<'a>(head: &'a RequestHead, name: FieldName, buf: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    head.fields.iter().filter(move |field| field.name == name).map(|field| field.value.of(buf))
}

/// The only value, when there is exactly one.
fn one<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    let first = values.next().map(trim)?;
    values.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_value_of_the_rfc() {
        assert_eq!(&accept_value(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
