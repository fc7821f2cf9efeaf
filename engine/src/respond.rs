//! The responses that Ringway makes itself: the one place where an error becomes a status, a code and a body. Nothing
//! that a peer sent goes into them unescaped, no internal address, no text of the system's.

use ringway_config::Respond;
use ringway_wire::{
    FieldName, FieldSet, Framing, HeadErrorKind, Method, RequestHead, Sink, Version, encode, forward,
};

use crate::access::Refusal;
use crate::error::Error;
use crate::net::buf::Buf;
use crate::terms::Edits;

/// What clients and logs call an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
    pub(crate) code: &'static str,
}

/// How many different codes there are.
pub(crate) const CODES: usize = 34;

/// Every code, for counters; [`code_index`] gives places in it.
pub(crate) const CODE_NAMES: [&str; CODES] = [
    "bad_request",
    "bad_rewrite",
    "no_site",
    "no_rule",
    "method_not_allowed",
    "request_timeout",
    "content_too_large",
    "uri_too_long",
    "expectation_failed",
    "upgrade_required",
    "request_header_fields_too_large",
    "client_gone",
    "not_implemented",
    "http_version_not_supported",
    "upstream_refused",
    "upstream_closed",
    "upstream_bad_response",
    "upstream_dns",
    "upstream_connect_timeout",
    "upstream_timeout",
    "loop",
    "no_backend",
    "queue_full",
    "queue_timeout",
    "unauthorized",
    "auth_unavailable",
    "too_many_requests",
    "not_found",
    "forbidden",
    "precondition_failed",
    "range_not_satisfiable",
    "file_unreadable",
    "files_busy",
    "upstream_forbidden",
];

/// The code's place in [`CODE_NAMES`].
pub(crate) fn code_index(code: &str) -> usize {
    CODE_NAMES.iter().position(|&name| name == code).unwrap_or(CODES)
}

/// The answer that an error gets (spec/http.md's table; reasons as in RFC 9110 section 15).
pub(crate) const fn answer(error: Error) -> Answer {
    use HeadErrorKind as Head;
    let (status, reason, code) = match error {
        Error::Head(Head::RequestLineTooLong) => (414, "URI Too Long", "uri_too_long"),
        Error::Head(Head::HeadTooLong | Head::TooManyFields) => {
            (431, "Request Header Fields Too Large", "request_header_fields_too_large")
        }
        Error::Head(Head::UnknownTransferCoding) => (501, "Not Implemented", "not_implemented"),
        Error::Head(Head::VersionNotSupported) => {
            (505, "HTTP Version Not Supported", "http_version_not_supported")
        }
        Error::Head(Head::ConnectMethod) | Error::Trace | Error::NotReadable => {
            (405, "Method Not Allowed", "method_not_allowed")
        }
        Error::Head(_) | Error::Body(_) | Error::BadUpgrade => (400, "Bad Request", "bad_request"),
        Error::BadRewrite => (400, "Bad Request", "bad_rewrite"),
        Error::UpgradeVersion => (426, "Upgrade Required", "upgrade_required"),
        Error::Expectation => (417, "Expectation Failed", "expectation_failed"),
        Error::BodyTooLarge => (413, "Content Too Large", "content_too_large"),
        Error::RequestTimeout => (408, "Request Timeout", "request_timeout"),
        // Never sent: there is nobody to read it. The number is nginx's, which log readers know.
        Error::ClientGone => (499, "Client Closed Request", "client_gone"),
        Error::NoSite => (404, "Not Found", "no_site"),
        Error::NoRule => (404, "Not Found", "no_rule"),
        Error::Unauthorized => (401, "Unauthorized", "unauthorized"),
        Error::Forbidden => (403, "Forbidden", "forbidden"),
        Error::NotFound => (404, "Not Found", "not_found"),
        Error::PreconditionFailed => (412, "Precondition Failed", "precondition_failed"),
        Error::RangeNotSatisfiable => (416, "Range Not Satisfiable", "range_not_satisfiable"),
        Error::TooManyRequests => (429, "Too Many Requests", "too_many_requests"),
        Error::Loop => (508, "Loop Detected", "loop"),
        Error::UpstreamRefused => (502, "Bad Gateway", "upstream_refused"),
        Error::UpstreamClosed => (502, "Bad Gateway", "upstream_closed"),
        Error::UpstreamBadResponse => (502, "Bad Gateway", "upstream_bad_response"),
        Error::UpstreamDns => (502, "Bad Gateway", "upstream_dns"),
        Error::UpstreamForbidden => (502, "Bad Gateway", "upstream_forbidden"),
        Error::UpstreamConnectTimeout => (504, "Gateway Timeout", "upstream_connect_timeout"),
        Error::UpstreamTimeout => (504, "Gateway Timeout", "upstream_timeout"),
        Error::Exhausted | Error::NoBackend => (503, "Service Unavailable", "no_backend"),
        Error::AuthUnavailable => (503, "Service Unavailable", "auth_unavailable"),
        Error::FileUnreadable => (500, "Internal Server Error", "file_unreadable"),
        Error::FilesBusy => (503, "Service Unavailable", "files_busy"),
        Error::QueueFull => (503, "Service Unavailable", "queue_full"),
        Error::QueueTimeout => (503, "Service Unavailable", "queue_timeout"),
    };
    Answer { status, reason, code }
}

/// Who is answered, and how the connection goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    /// HEAD gets no body.
    pub(crate) method: Method,
    pub(crate) version: Version,
    /// The connection closes after this response.
    pub(crate) close: bool,
    /// The request's id, when ids are on; only characters that JSON takes as they are.
    pub(crate) request_id: Option<&'a str>,
    /// The present, as an IMF-fixdate (RFC 9110 section 5.6.7).
    pub(crate) date: &'a [u8],
    pub(crate) via: bool,
}

/// The most bytes that an answer of ours takes, beside the request id.
const ANSWER_BYTES: usize = 1024;

/// What was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) status: u16,
    pub(crate) body_bytes: usize,
}

/// Writes the response to an error behind what `out` holds; `particulars` are further fields of it, as whole lines.
pub(crate) fn error(out: &mut Buf, error: Error, particulars: &[u8], asker: &Asker<'_>) -> Written {
    let answer = answer(error);
    let extra: &[u8] = match error {
        Error::Head(HeadErrorKind::ConnectMethod) | Error::Trace => {
            b"Allow: GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS\r\n"
        }
        Error::NotReadable => b"Allow: GET, HEAD\r\n",
        Error::UpgradeVersion => b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        Error::Exhausted
        | Error::NoBackend
        | Error::QueueFull
        | Error::QueueTimeout
        | Error::AuthUnavailable
        | Error::FilesBusy => b"Retry-After: 1\r\n",
        _ => b"",
    };
    // Every other code says all that there is to say.
    let detail = error.detail().filter(|_| answer.status == 400);
    let body = body(answer, detail, asker.request_id);
    let fields = [b"Content-Type: application/json\r\n", extra, particulars];
    local(out, (answer.status, answer.reason), asker, &fields, body.as_bytes())
}

fn body(answer: Answer, detail: Option<&'static str>, request_id: Option<&str>) -> String {
    let Answer { reason, code, .. } = answer;
    let mut body = format!(r#"{{"error":"{reason}","code":"{code}""#);
    let optional = [("detail", detail), ("request_id", request_id)];
    for (name, value) in optional {
        if let Some(value) = value {
            body.push_str(&format!(r#","{name}":"{value}""#));
        }
    }
    body.push_str("}\n");
    body
}

/// Answers OPTIONS whose Max-Forwards is used up (RFC 9110 section 7.6.2).
pub(crate) fn options(out: &mut Buf, asker: &Asker<'_>) -> Written {
    let allow = b"Allow: GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS, TRACE\r\n";
    local(out, (200, "OK"), asker, &[allow], b"")
}

/// Answers TRACE whose Max-Forwards is used up: the request's head as it came, without what could be secret (RFC 9110
/// section 9.3.8).
pub(crate) fn trace(out: &mut Buf, head: &RequestHead, bytes: &[u8], asker: &Asker<'_>) -> Written {
    let secret = FieldSet::EMPTY
        .with(FieldName::Authorization)
        .with(FieldName::ProxyAuthorization)
        .with(FieldName::Cookie);
    let mut echo = vec![0; bytes.len() + ANSWER_BYTES];
    let mut sink = Sink::new(&mut echo);
    let query = head.query(bytes);
    let target = [head.path(bytes), if query.is_some() { b"?" } else { b"" }, query.unwrap_or_default()];
    encode::request_line(&mut sink, head.method_bytes(bytes), &target);
    encode::kept_fields(&mut sink, &head.fields, bytes, secret);
    encode::end(&mut sink);
    local(out, (200, "OK"), asker, &[b"Content-Type: message/http\r\n"], sink.written())
}

/// Answers with a rule's redirect.
pub(crate) fn redirect(
    out: &mut Buf,
    status: u16,
    location: &[u8],
    changes: &Edits,
    asker: &Asker<'_>,
) -> Written {
    let mut lines = Vec::new();
    if !changes.classes().contains(FieldName::Location) {
        [b"Location: ", location, b"\r\n"].iter().for_each(|piece| lines.extend_from_slice(piece));
    }
    changes.append(&mut lines, asker.request_id);
    local(out, (status, reason(status)), asker, &[&lines], b"")
}

/// Answers as a rule says.
pub(crate) fn fixed(out: &mut Buf, answer: &Respond, changes: &Edits, asker: &Asker<'_>) -> Written {
    let mut lines = Vec::new();
    if !answer.body.is_empty() && !changes.classes().contains(FieldName::ContentType) {
        lines.extend(b"Content-Type: text/plain; charset=utf-8\r\n");
    }
    changes.append(&mut lines, asker.request_id);
    local(out, (answer.status, reason(answer.status)), asker, &[&lines], answer.body.as_bytes())
}

/// Answers as an endpoint does that does not let a request through.
pub(crate) fn refusal(out: &mut Buf, refusal: &Refusal, changes: &Edits, asker: &Asker<'_>) -> Written {
    let mut lines = Vec::new();
    for line in refusal.fields.split_inclusive(|byte| *byte == b'\n') {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        if !changes.changes(name) {
            lines.extend_from_slice(line);
        }
    }
    changes.append(&mut lines, asker.request_id);
    local(out, (refusal.status, reason(refusal.status)), asker, &[&lines], &refusal.body)
}

/// The reason phrase of a status that a configuration chose; empty for one without a name.
fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default()
}

/// Writes a response of `fields`, whole lines in any pieces, and `body`.
fn local(
    out: &mut Buf,
    (status, reason): (u16, &str),
    asker: &Asker<'_>,
    fields: &[&[u8]],
    body: &[u8],
) -> Written {
    let field_bytes: usize = fields.iter().map(|piece| piece.len()).sum();
    out.compact();
    out.grow(out.len() + ANSWER_BYTES + field_bytes + body.len());
    let mut sink = Sink::new(out.spare_mut());
    encode::status_line(&mut sink, status, reason.as_bytes());
    fields.iter().for_each(|piece| sink.put(piece));
    // RFC 9110 section 8.6: no length where there can be no body. A 304 says only what a 200 would have had.
    if !matches!(status, 204 | 304) {
        encode::framing(&mut sink, Framing::Length(body.len() as u64));
    }
    sink.put(connection(asker.close, asker.version));
    encode::field(&mut sink, b"Date", asker.date);
    if asker.via {
        forward::via(&mut sink, Version::Http11);
    }
    encode::end(&mut sink);
    let body = if asker.method == Method::Head { b"" } else { body };
    sink.put(body);
    let written = sink.len();
    out.fill(written);
    Written { status, body_bytes: body.len() }
}

/// The Connection field that tells a client how its connection goes on (RFC 9112 section 9.3).
pub(crate) const fn connection(close: bool, version: Version) -> &'static [u8] {
    match (close, version) {
        (true, _) => b"Connection: close\r\n",
        (false, Version::Http10) => b"Connection: keep-alive\r\n",
        (false, Version::Http11) => b"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::buf::BufPool;

    fn asker(method: Method, request_id: Option<&str>) -> Asker<'_> {
        let date = b"Sun, 06 Nov 1994 08:49:37 GMT";
        Asker { method, version: Version::Http11, close: true, request_id, date, via: false }
    }

    fn answered(of: Error, asker: &Asker<'_>) -> String {
        let mut out = BufPool::default().take();
        error(&mut out, of, b"", asker);
        String::from_utf8(out.filled().to_vec()).unwrap()
    }

    #[test]
    fn an_error_says_what_and_nothing_more() {
        let text = answered(Error::Head(HeadErrorKind::BareLf), &asker(Method::Get, Some("a1")));
        assert_eq!(
            text,
            "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 82\r\n\
             Connection: close\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n\
             {\"error\":\"Bad Request\",\"code\":\"bad_request\",\"detail\":\"bare_lf\",\"request_id\":\"a1\"}\n"
        );
    }

    #[test]
    fn head_gets_the_length_and_no_body() {
        let text = answered(Error::NoSite, &asker(Method::Head, None));
        assert!(text.contains("Content-Length: 39\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    }

    #[test]
    fn the_reference_lists_every_code() {
        let reference = include_str!("../../docs/reference.md");
        for code in CODE_NAMES {
            assert!(reference.contains(&format!("`{code}`")), "{code}");
        }
    }

    #[test]
    fn every_code_has_a_counter() {
        let all = [Error::NoSite, Error::Loop, Error::ClientGone, Error::UpstreamDns, Error::BodyTooLarge];
        assert!(all.iter().all(|&error| code_index(answer(error).code) < CODES));
    }
}
