//! The heads that go out, written as edits over those that came in: hop-by-hop fields go, Ringway's own are set, all else
//! passes as it is (spec/http.md, "Fields that change on the way").

use std::net::IpAddr;

use ringway_config::SentPath;
use ringway_wire::forward::{self, ForwardedPlan, MaxForwards};
use ringway_wire::{
    FieldName, FieldSet, Framing, RequestHead, ResponseHead, Sink, TargetForm, Version, encode,
};

use crate::net::buf::Buf;
use crate::respond::connection;
use crate::terms::{Edits, Terms};
use crate::view::Settings;

/// What goes upstream besides what came.
pub(crate) struct RequestEdits<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) terms: &'a Terms,
    /// Stands before the path.
    pub(crate) base_path: &'a str,
    pub(crate) path: &'a SentPath,
    /// The backend's authority: the Host of a request that brought none.
    pub(crate) authority: &'a str,
    /// Host, and Origin where there is one, become the backend's authority.
    pub(crate) change_origin: bool,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) peer_trusted: bool,
    pub(crate) client: Option<IpAddr>,
    /// The site's wildcard took this: `x-vhost-tenant`.
    pub(crate) tenant: Option<&'a [u8]>,
    pub(crate) request_id: Option<&'a str>,
    /// Its Authorization stays here.
    pub(crate) drops_authorization: bool,
    /// Whole lines that are added.
    pub(crate) granted_fields: &'a [u8],
    /// The handshake goes on.
    pub(crate) upgrade: bool,
}

/// Writes the request head for a backend into `out`, which is empty and grows as needed.
pub(crate) fn request(out: &mut Buf, head: &RequestHead, bytes: &[u8], edits: &RequestEdits<'_>) {
    write_growing(out, |sink| write_request(sink, head, bytes, edits));
}

fn write_request(sink: &mut Sink<'_>, head: &RequestHead, bytes: &[u8], edits: &RequestEdits<'_>) {
    let server = &edits.settings.server;
    let host = new_host(head, bytes, edits);
    let origin = edits.change_origin && head.has(FieldName::Origin);
    // What is written before the kept fields parts them from their request line.
    let same_path = edits.base_path.is_empty() && matches!(edits.path, SentPath::AsMatched);
    let kept_line = same_path && host.is_none() && !origin;
    let line = head.forwardable_line().filter(|_| kept_line);
    if line.is_none() {
        request_line(sink, head, bytes, edits);
    }
    let (switches, changed) = (edits.terms.forwarded, edits.terms.request.classes());
    let mut drop = forward::drop_set(switches.x_forwarded, switches.forwarded, edits.peer_trusted)
        .union(changed)
        .with(FieldName::ContentLength);
    if let Some(host) = host {
        drop = drop.with(FieldName::Host);
        encode::field(sink, b"Host", host);
    }
    if origin {
        if !changed.contains(FieldName::Origin) {
            [b"Origin: http://", edits.authority.as_bytes(), b"\r\n"]
                .iter()
                .for_each(|piece| sink.put(piece));
        }
        drop = drop.with(FieldName::Origin);
    }
    if edits.drops_authorization {
        drop = drop.with(FieldName::Authorization);
    }
    if head.version() == Version::Http10 {
        // HTTP/1.0 has no expectations; passed on with our version, this one would be one.
        drop = drop.with(FieldName::Expect);
    }
    let max_forwards = forward::max_forwards(head, bytes);
    if let MaxForwards::Left(_) = max_forwards {
        drop = drop.with(FieldName::MaxForwards);
    }
    match line {
        Some(line) => encode::kept_lines(sink, line, &head.fields, bytes, drop),
        None => encode::kept_fields(sink, &head.fields, bytes, drop),
    }
    encode::framing(sink, head.framing());
    if edits.upgrade {
        sink.put(encode::UPGRADE_WEBSOCKET);
    } else if head.te_trailers() {
        sink.put(encode::TE_TRAILERS);
    }
    if let MaxForwards::Left(left) = max_forwards {
        sink.put(b"Max-Forwards: ");
        sink.put_u64(left);
        sink.put(b"\r\n");
    }
    forward::forwarded_fields(sink, head, bytes, &plan(edits));
    if let Some(tenant) = edits.tenant {
        sink.put(b"x-vhost-tenant: ");
        tenant.iter().for_each(|byte| sink.put(&[byte.to_ascii_lowercase()]));
        sink.put(b"\r\n");
    }
    if let (Some(name), Some(id)) = (&server.request_id, edits.request_id)
        && !edits.terms.request.changes(name.as_bytes())
    {
        encode::field(sink, name.as_bytes(), id.as_bytes());
    }
    sink.put(edits.granted_fields);
    edits.terms.request.write(sink, edits.request_id);
    if server.via {
        forward::via(sink, head.version());
    }
    encode::end(sink);
}

/// The Host that goes out in place of the one that came, if another one does: the one that a site or rule sets; else the
/// backend's own where that is asked for or none came; else the target's (RFC 9112 section 3.2.2).
fn new_host<'a>(head: &RequestHead, bytes: &'a [u8], edits: &RequestEdits<'a>) -> Option<&'a [u8]> {
    match edits.terms.request.host() {
        Some(host) => return Some(host),
        None if edits.change_origin => return Some(edits.authority.as_bytes()),
        None => {}
    }
    match head.authority() {
        Some(came) => head.target_has_authority().then(|| came.whole.of(bytes)),
        None => Some(edits.authority.as_bytes()),
    }
}

fn request_line(sink: &mut Sink<'_>, head: &RequestHead, bytes: &[u8], edits: &RequestEdits<'_>) {
    if head.form() == TargetForm::Asterisk {
        return encode::request_line(sink, head.method_bytes(bytes), &[b"*"]);
    }
    let query = head.query(bytes);
    let mark: &[u8] = if query.is_some() { b"?" } else { b"" };
    let path = edits.path.of(head.path(bytes));
    let target = [edits.base_path.as_bytes(), path, mark, query.unwrap_or_default()];
    encode::request_line(sink, head.method_bytes(bytes), &target);
}

fn plan(edits: &RequestEdits<'_>) -> ForwardedPlan {
    ForwardedPlan {
        x_forwarded: edits.terms.forwarded.x_forwarded,
        forwarded: edits.terms.forwarded.forwarded,
        peer: edits.peer,
        peer_trusted: edits.peer_trusted,
        client: edits.client,
        https: false,
        without: edits.terms.request.classes(),
    }
}

/// What goes to the client besides what came.
#[derive(Clone, Copy)]
pub(crate) struct ResponseEdits<'a> {
    /// The client's version.
    pub(crate) version: Version,
    /// How the body goes to the client.
    pub(crate) framing: Framing,
    /// The connection closes after this response.
    pub(crate) close: bool,
    /// The handshake is accepted.
    pub(crate) upgrade: bool,
    pub(crate) via: bool,
    /// The present, for a response without Date.
    pub(crate) date: &'a [u8],
    /// What site and rule change. Those fields of the head that have no class of their own were taken out before.
    pub(crate) changes: &'a Edits,
    pub(crate) request_id: Option<&'a str>,
}

/// Writes a final response head, or that of a 101, behind what `out` holds.
pub(crate) fn response(out: &mut Buf, head: &ResponseHead, bytes: &[u8], edits: &ResponseEdits<'_>) {
    write_growing(out, |sink| write_response(sink, head, bytes, edits));
}

fn write_response(sink: &mut Sink<'_>, head: &ResponseHead, bytes: &[u8], edits: &ResponseEdits<'_>) {
    kept_head(sink, head, bytes, edits.changes.classes());
    encode::framing(sink, announced(head, edits.framing));
    if edits.upgrade {
        sink.put(encode::UPGRADE_WEBSOCKET);
    } else {
        sink.put(connection(edits.close, edits.version));
    }
    // RFC 9110 section 6.6.1; a 101 is no final response.
    if !head.has(FieldName::Date) && !edits.upgrade {
        encode::field(sink, b"Date", edits.date);
    }
    edits.changes.write(sink, edits.request_id);
    if edits.via {
        forward::via(sink, head.version());
    }
    encode::end(sink);
}

/// Writes the status line and the fields that go on: all but those of `changed` and the end-to-end field that announces the
/// framing.
fn kept_head(sink: &mut Sink<'_>, head: &ResponseHead, bytes: &[u8], changed: FieldSet) {
    let drop = changed.with(FieldName::ContentLength);
    match head.forwardable_line() {
        Some(line) => encode::kept_lines(sink, line, &head.fields, bytes, drop),
        None => {
            encode::status_line(sink, head.status(), head.reason(bytes));
            encode::kept_fields(sink, &head.fields, bytes, drop);
        }
    }
}

/// The framing to announce: HEAD and 304 have no body but may say how long it would be (RFC 9110 section 8.6); 1xx and 204
/// must not.
fn announced(head: &ResponseHead, framing: Framing) -> Framing {
    match (framing, head.content_length()) {
        (Framing::None, Some(length)) if head.status() != 204 && head.status() >= 200 => {
            Framing::Length(length)
        }
        _ => framing,
    }
}

/// Writes an interim response head behind what `out` holds, without the fields that site and rule change.
pub(crate) fn interim(out: &mut Buf, head: &ResponseHead, bytes: &[u8], changes: &Edits) {
    write_growing(out, |sink| {
        kept_head(sink, head, bytes, changes.classes());
        encode::end(sink);
    });
}

/// Writes behind what `out` holds; when that does not fit, grows `out` and writes again.
pub(crate) fn write_growing(out: &mut Buf, write: impl Fn(&mut Sink<'_>)) {
    loop {
        let mut sink = Sink::new(out.spare_mut());
        write(&mut sink);
        let (written, overflowed) = (sink.len(), sink.overflowed());
        if !overflowed {
            return out.fill(written);
        }
        out.grow(2 * out.capacity());
    }
}
