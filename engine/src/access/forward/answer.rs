//! What an endpoint's answer means, and what of its head goes on: to the backend when it lets the request through, to the
//! client when it does not.

use ringway_wire::{FieldName, FieldSet, ResponseHead, Sink, encode};

/// What a final answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The request may go on.
    LetsThrough,
    /// This is for the client, in place of what it asked for.
    ForClient,
    /// The endpoint has failed, so nobody is let through.
    Failure,
}

impl Meaning {
    /// Of an answer with `status`. A 101 is one that nobody asked for.
    pub(super) fn of(status: u16) -> Self {
        match status / 100 {
            2 => Self::LetsThrough,
            3 | 4 => Self::ForClient,
            _ => Self::Failure,
        }
    }
}

/// The lines of `head`, which was read from `bytes`, that go to the backend: every field whose name is among `names`, in lower
/// case.
pub(super) fn for_backend(head: &ResponseHead, bytes: &[u8], names: &[String]) -> Vec<u8> {
    let mut lines = Vec::new();
    for field in head.fields.iter().filter(|field| !field.hop_by_hop) {
        let name = field.name_span.of(bytes);
        if names.iter().any(|wanted| wanted.as_bytes().eq_ignore_ascii_case(name)) {
            let pieces = [name, b": ", field.value.of(bytes), b"\r\n"];
            pieces.iter().for_each(|piece| lines.extend_from_slice(piece));
        }
    }
    lines
}

/// The lines of `head`, which was read from `bytes`, that go to the client: without those that are written with each answer of
/// ours, which are framing, Connection and Date.
pub(super) fn for_client(head: &ResponseHead, bytes: &[u8]) -> Vec<u8> {
    const OURS: FieldSet =
        FieldSet::EMPTY.with(FieldName::ContentLength).with(FieldName::Trailer).with(FieldName::Date);
    // No line grows on the way.
    let mut lines = vec![0; bytes.len()];
    let mut sink = Sink::new(&mut lines);
    encode::kept_fields(&mut sink, &head.fields, bytes, OURS);
    let written = sink.len();
    lines.truncate(written);
    lines
}

#[cfg(test)]
mod tests {
    use ringway_wire::{Limits, Progress};

    use super::*;

    fn read(fields: &str) -> (ResponseHead, Vec<u8>) {
        let bytes = format!("HTTP/1.1 401 Unauthorized\r\n{fields}\r\n").into_bytes();
        let mut head = ResponseHead::new();
        assert_eq!(head.read(&bytes, &Limits::default()), Ok(Progress::Done(bytes.len())), "{fields}");
        (head, bytes)
    }

    fn text(lines: Vec<u8>) -> String {
        String::from_utf8(lines).unwrap()
    }

    #[test]
    fn every_status_has_a_meaning() {
        for status in 100..=999 {
            let expected = match status {
                200..=299 => Meaning::LetsThrough,
                300..=499 => Meaning::ForClient,
                _ => Meaning::Failure,
            };
            assert_eq!(Meaning::of(status), expected, "{status}");
        }
    }

    #[test]
    fn the_backend_gets_the_named_fields_alone() {
        let (head, bytes) = read(
            "X-User: ann\r\nX_User: eve\r\nx-groups: a\r\nX-Groups : b, c\r\nX-Empty:\r\nX-Users: x\r\nSet-Cookie: s=1\r\n\
             X-Hop: 1\r\nConnection: X-Hop\r\n",
        );
        let names = ["x-user", "x-groups", "x-empty", "x-hop"].map(str::to_owned);
        let lines = for_backend(&head, &bytes, &names);
        assert_eq!(text(lines), "X-User: ann\r\nx-groups: a\r\nX-Groups: b, c\r\nX-Empty: \r\n");
        assert!(for_backend(&head, &bytes, &[]).is_empty());
    }

    #[test]
    fn the_client_gets_all_that_is_not_about_the_endpoints_connection() {
        let (head, bytes) = read(
            "Set-Cookie: a=1\r\nWWW-Authenticate: Basic realm=\"x\"\r\nset-cookie: b=2\r\nLocation : /login\r\n\
             Content-Type: text/html\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\nDate: now\r\nTrailer: X-Sum\r\n\
             Connection: close, X-Hop\r\nKeep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\nUpgrade: h2c\r\n\
             Proxy-Authenticate: Basic\r\nX-Hop: 1\r\nServer: s\r\n",
        );
        assert_eq!(
            text(for_client(&head, &bytes)),
            "Set-Cookie: a=1\r\nWWW-Authenticate: Basic realm=\"x\"\r\nset-cookie: b=2\r\nLocation: /login\r\n\
             Content-Type: text/html\r\nContent-Encoding: gzip\r\nServer: s\r\n"
        );
    }
}
