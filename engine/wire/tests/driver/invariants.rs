//! What must hold for every input, however it was split.

use ringway_wire::{BodyPart, Field, FieldName, FieldSet, Limits, Progress, RequestHead, ResponseHead};

/// Room for what is added on the way.
fn generous() -> Limits {
    Limits { request_line_bytes: 1 << 20, head_bytes: 1 << 20, fields: 256, ..Limits::default() }
}

/// What goes upstream is read again, by the same rules, as the same request, and brings no hop-by-hop field but our own.
pub(crate) fn check_request(head: &RequestHead, buf: &[u8], outgoing: &[u8]) {
    let mut copy = outgoing.to_vec();
    let mut again = RequestHead::new();
    assert_eq!(
        again.read(&mut copy, &generous()),
        Ok(Progress::Done(outgoing.len())),
        "{}",
        outgoing.escape_ascii()
    );
    assert_eq!(copy, outgoing, "a normalised path stays as it is");
    assert_eq!(again.framing(), head.framing());
    assert_eq!(again.method_bytes(&copy), head.method_bytes(buf));
    assert_eq!(again.path(&copy), head.path(buf));
    assert_eq!(again.query(&copy), head.query(buf));
    assert_eq!((again.expect(), again.upgrade()), (head.expect(), head.upgrade()));
    assert!(again.persistent());
    let ours = FieldSet::EMPTY
        .with(FieldName::Connection)
        .with(FieldName::Te)
        .with(FieldName::Upgrade)
        .with(FieldName::TransferEncoding);
    assert!(again.fields.iter().all(|field| !field.hop_by_hop || ours.contains(field.name)));
}

/// What goes to the client is read again, by the same rules, and brings no hop-by-hop field but our own.
pub(crate) fn check_response(head: &ResponseHead, buf: &[u8], outgoing: &[u8]) {
    let mut again = ResponseHead::new();
    assert_eq!(
        again.read(outgoing, &generous()),
        Ok(Progress::Done(outgoing.len())),
        "{}",
        outgoing.escape_ascii()
    );
    assert_eq!(again.status(), head.status());
    assert_eq!(again.reason(outgoing), head.reason(buf));
    let ours = FieldSet::EMPTY
        .with(FieldName::Connection)
        .with(FieldName::Upgrade)
        .with(FieldName::TransferEncoding);
    // A field `Close`, which nobody sends, is named by a `Connection: close` of ours.
    let close = |field: &Field| field.name_span.of(outgoing).eq_ignore_ascii_case(b"close");
    assert!(again.fields.iter().all(|field| !field.hop_by_hop || ours.contains(field.name) || close(field)));
}

/// A part of a body lies inside what was consumed, and that inside the buffer.
pub(crate) fn check_part(part: &BodyPart, buf_len: usize) {
    assert!(part.consumed <= buf_len);
    assert!(part.data.is_empty() || part.data.end as usize <= part.consumed);
    let trailers = part.trailers.map_or(0..0, |section| section.range());
    assert!(trailers.end <= part.consumed && (part.trailers.is_none() || part.complete));
}
