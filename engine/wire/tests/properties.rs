//! Properties of whole families of inputs: round trips, independence of how bytes were split, and no panic on any bytes.

mod driver;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use ringway_casefile::DEFAULT_REQUEST;
use ringway_wire::{
    BodyReader, FieldName, FieldSet, Framing, Limits, Progress, RequestHead, ResponseHead, Sink, encode,
    normalise_path,
};

const TOKEN: &str = "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}";

/// A field that means nothing to a proxy, with white space around its value.
fn field() -> impl Strategy<Value = (String, String, &'static str, &'static str)> {
    let blank = || select(vec!["", " ", "\t", "  \t "]);
    let name = "x-[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}"
        .prop_filter("a name of ours", |name: &String| FieldName::of(name.as_bytes()) == FieldName::Other);
    (name, "([!-~]([ \t!-~]{0,20}[!-~])?)?", blank(), blank())
}

fn field_lines(fields: &[(String, String, &str, &str)]) -> String {
    fields.iter().map(|(name, value, before, after)| format!("{name}:{before}{value}{after}\r\n")).collect()
}

/// Cuts `bytes` at the given fractions of its length.
fn pieces<'a>(bytes: &'a [u8], cuts: &[f64]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| (cut * bytes.len() as f64) as usize).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(&ends).map(|(start, &end)| &bytes[start..end]).collect()
}

/// A body in chunks of the given sizes, some with extensions, and with trailers.
fn chunked(body: &[u8], sizes: &[usize], trailers: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = body;
    for &size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, behind) = rest.split_at(size.min(rest.len()));
        let extension = if size % 3 == 0 { " ;a=\"b;c\"" } else { "" };
        bytes.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
        rest = behind;
    }
    bytes.extend_from_slice(b"0\r\n");
    bytes.extend_from_slice(trailers.as_bytes());
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// Bytes that look like HTTP, with mistakes.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&[u8]> = vec![
        b"GET ",
        b"POST ",
        b"OPTIONS ",
        b"/",
        b"*",
        b"http://a",
        b"/a/../b",
        b"%2e",
        b"?q",
        b" HTTP/1.1\r\n",
        b" HTTP/1.0\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 204 x\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n",
        b"Host: a\r\n",
        b"Host: a:80\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Connection: close, x\r\n",
        b"Connection: upgrade, TE\r\n",
        b"Upgrade: websocket\r\n",
        b"Sec-WebSocket-Version: 13\r\n",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        b"Sec-WebSocket-Accept: x\r\n",
        b"TE: trailers\r\n",
        b"Expect: 100-continue\r\n",
        b"X-Forwarded-For: 1.2.3.4\r\n",
        b"X : y\r\n",
        b"x: y\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b"\0",
        b":",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"0\r\nA: b\r\n\r\n",
        b"5;a=\"b\"\r\n",
        b"hello",
        b"\xff",
    ];
    let beginnings: Vec<&[u8]> = vec![
        b"",
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"POST / HTTP/1.0\r\n",
        b"POST /a/../b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    ];
    (select(beginnings), vec(select(words), 0..24))
        .prop_map(|(beginning, words)| [beginning, &words.concat()].concat())
}

/// Dot segments removed by a stack of segments, as RFC 3986 section 5.2.4 describes it.
fn normalised(path: &str) -> Option<String> {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path[1..].split('/').collect();
    for (index, segment) in segments.iter().enumerate() {
        let plain = segment.replace("%2e", ".").replace("%2E", ".");
        match plain.as_str() {
            "." => {}
            ".." => {
                kept.pop()?;
            }
            _ => kept.push(segment),
        }
        if index + 1 == segments.len() && matches!(plain.as_str(), "." | "..") {
            kept.push("");
        }
    }
    Some(format!("/{}", kept.join("/")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn request_heads_round_trip(
        method in TOKEN,
        path in "(/[a-zA-Z0-9!$&'()*+,;=:@~\\[\\]{}|\"^`<>_-]{0,8}){1,6}",
        query in proptest::option::of("[!\"$-~]{0,20}"),
        fields in vec(field(), 0..20),
        cuts in vec(0.0..1.0, 0..6),
    ) {
        prop_assume!(method != "CONNECT");
        let target = query.as_ref().map_or(path.clone(), |query| format!("{path}?{query}"));
        let text = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{}\r\n", field_lines(&fields));
        let mut head = RequestHead::new();
        let mut buf = Vec::new();
        let mut read = Progress::Partial;
        for piece in pieces(text.as_bytes(), &cuts) {
            prop_assert_eq!(read, Progress::Partial);
            buf.extend_from_slice(piece);
            read = head.read(&mut buf, &Limits::default()).unwrap();
            if read != Progress::Partial { break; }
        }
        prop_assert_eq!(read, Progress::Done(text.len()));
        prop_assert_eq!(head.method_bytes(&buf), method.as_bytes());
        prop_assert_eq!(head.path(&buf), path.as_bytes());
        prop_assert_eq!(head.query(&buf), query.as_ref().map(|query| query.as_bytes()));
        for (field, (name, value, ..)) in head.fields[1..].iter().zip(&fields) {
            prop_assert_eq!(field.name_span.of(&buf), name.as_bytes());
            prop_assert_eq!(field.value.of(&buf), value.as_bytes());
        }
        let mut room = vec![0; text.len()];
        let mut out = Sink::new(&mut room);
        encode::request_line(&mut out, method.as_bytes(), &[target.as_bytes()]);
        encode::kept_fields(&mut out, &head.fields, &buf, FieldSet::EMPTY);
        encode::end(&mut out);
        prop_assert_eq!(out.written(), text.as_bytes());
    }

    /// httparse, which other servers read heads with, finds the same where we find anything, and never a head where we wait.
    #[test]
    fn another_parser_finds_the_same(bytes in soup(), response: bool) {
        let bytes = [if response { &b"HTTP/1.1 200 OK\r\n"[..] } else { b"" }, &bytes].concat();
        let mut room = [httparse::EMPTY_HEADER; 64];
        let theirs = if response {
            let mut parsed = httparse::Response::new(&mut room);
            httparse::ParserConfig::default()
                .allow_spaces_after_header_name_in_responses(true)
                .parse_response(&mut parsed, &bytes)
                .map(|status| (status, parsed.headers.to_vec()))
        } else {
            let mut parsed = httparse::Request::new(&mut room);
            parsed.parse(&bytes).map(|status| (status, parsed.headers.to_vec()))
        };
        let mut copy = bytes.clone();
        let (mut request, mut answer) = (RequestHead::new(), ResponseHead::new());
        let (ours, fields) = if response {
            (answer.read(&bytes, &Limits::default()), &answer.fields)
        } else {
            (request.read(&mut copy, &Limits::default()), &request.fields)
        };
        match (ours, theirs) {
            (Ok(Progress::Done(len)), Ok((httparse::Status::Complete(their_len), headers))) => {
                prop_assert_eq!(len, their_len);
                prop_assert_eq!(fields.len(), headers.len());
                for (field, header) in fields.iter().zip(headers) {
                    prop_assert_eq!(field.name_span.of(&bytes), header.name.as_bytes());
                    prop_assert_eq!(field.value.of(&bytes), header.value);
                }
            }
            (Ok(Progress::Done(_)), other) => prop_assert!(false, "{:?}", other),
            (Ok(Progress::Partial), Ok((status, _))) => prop_assert!(status.is_partial()),
            _ => {}
        }
    }

    #[test]
    fn response_heads_round_trip(status in 100u16..1000, reason in "[ -~]{0,20}", fields in vec(field(), 0..20)) {
        let text = format!("HTTP/1.1 {status} {reason}\r\n{}\r\n", field_lines(&fields));
        let mut head = ResponseHead::new();
        prop_assert_eq!(head.read(text.as_bytes(), &Limits::default()), Ok(Progress::Done(text.len())));
        let mut room = vec![0; text.len()];
        let mut out = Sink::new(&mut room);
        encode::status_line(&mut out, head.status(), head.reason(text.as_bytes()));
        encode::kept_fields(&mut out, &head.fields, text.as_bytes(), FieldSet::EMPTY);
        encode::end(&mut out);
        prop_assert_eq!(out.written(), text.as_bytes());
    }

    #[test]
    fn chunked_bodies_arrive(
        body in vec(any::<u8>(), 0..2000),
        sizes in vec(1usize..300, 1..8),
        trailers in select(vec!["", "A: b\r\n", "A: b\r\nC:\r\n"]),
        cuts in vec(0.0..1.0, 0..30),
    ) {
        let bytes = chunked(&body, &sizes, trailers);
        let with_more = [&bytes[..], b"GET / HTTP/1.1\r\n"].concat();
        let mut reader = BodyReader::new(Framing::Chunked);
        let (mut buf, mut got, mut section) = (Vec::new(), Vec::new(), Vec::new());
        for piece in pieces(&with_more, &cuts) {
            buf.extend_from_slice(piece);
            let part = reader.read(&mut buf, &Limits::default()).unwrap();
            got.extend_from_slice(part.data.of(&buf));
            section.extend_from_slice(part.trailers.unwrap_or_default().of(&buf));
            buf.drain(..part.consumed);
        }
        prop_assert!(reader.is_complete());
        prop_assert_eq!(got, body);
        prop_assert_eq!(section, trailers.as_bytes());
        prop_assert_eq!(buf, b"GET / HTTP/1.1\r\n");
    }

    #[test]
    fn bodies_by_length_arrive(body in vec(any::<u8>(), 0..2000), cuts in vec(0.0..1.0, 0..30)) {
        let with_more = [&body[..], b"next"].concat();
        let mut reader = BodyReader::new(Framing::Length(body.len() as u64));
        let (mut buf, mut got) = (Vec::new(), Vec::new());
        for piece in pieces(&with_more, &cuts) {
            buf.extend_from_slice(piece);
            let part = reader.read(&mut buf, &Limits::default()).unwrap();
            got.extend_from_slice(part.data.of(&buf));
            buf.drain(..part.consumed);
        }
        prop_assert_eq!((got, reader.is_complete()), (body, true));
        prop_assert_eq!(buf, b"next");
    }

    #[test]
    fn requests_do_not_depend_on_the_split(bytes in soup(), cuts in vec(0.0..1.0, 0..12), closes: bool) {
        let whole = driver::requests([&bytes[..]], closes);
        let split = driver::requests(pieces(&bytes, &cuts), closes);
        prop_assert!(whole.is_like(&split), "{whole:?}\n{split:?}");
    }

    #[test]
    fn responses_do_not_depend_on_the_split(bytes in soup(), cuts in vec(0.0..1.0, 0..12), closes: bool) {
        let bytes = [b"HTTP/1.1 200 OK\r\n", &bytes[..]].concat();
        let whole = driver::response(DEFAULT_REQUEST, [&bytes[..]], closes).unwrap();
        let split = driver::response(DEFAULT_REQUEST, pieces(&bytes, &cuts), closes).unwrap();
        prop_assert!(whole.is_like(&split), "{whole:?}\n{split:?}");
    }

    #[test]
    fn no_bytes_make_a_panic(bytes in vec(any::<u8>(), 0..400)) {
        driver::requests([&bytes[..]], true);
        driver::response(DEFAULT_REQUEST, [&bytes[..]], true);
        let mut body = bytes.clone();
        let _ = BodyReader::new(Framing::Chunked).read(&mut body, &Limits::default());
    }

    #[test]
    fn paths_are_normalised_as_the_rfc_says(path in "(/(a|b|\\.|\\.\\.|%2e|%2E\\.|\\.%2e|\\.\\.\\.|%2f|){1}){1,8}") {
        let mut bytes = path.clone().into_bytes();
        let len = normalise_path(&mut bytes).ok();
        let got = len.map(|len| String::from_utf8(bytes[..len].to_vec()).unwrap());
        prop_assert_eq!(&got, &normalised(&path));
        prop_assert_eq!(ringway_wire::check_path(path.as_bytes()).is_ok(), got.is_some());
        if let Some(once) = got {
            prop_assert_eq!(normalised(&once), Some(once));
        }
    }
}
