//! What the fuzz targets do with their bytes. The first two bytes of an input say how the rest is cut into pieces; whatever
//! comes of it must be the same as in one piece, and what is passed on must be read again as the same message.
//!
//! A crash becomes a case in `tests/cases`. Seeds come from there: `cargo run --example seeds`.

#[path = "../../engine/wire/tests/driver/mod.rs"]
mod driver;

mod pattern;
mod rule;

pub use pattern::pattern;
pub use rule::rule;

use ringway_wire::{
    BodyErrorKind, BodyReader, Framing, HeadError, Limits, Progress, RequestHead, ResponseHead,
    canonical_host, check_path, encode, forwardable_trailers, normalise_path, parse_authority,
};

/// Requests that responses are read for.
const REQUESTS: [&[u8]; 6] = [
    ringway_casefile::DEFAULT_REQUEST,
    b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
];

/// An input: bytes, and how they are cut.
struct Cut<'a> {
    bytes: &'a [u8],
    sizes: [u8; 2],
}

impl<'a> Cut<'a> {
    fn new(data: &'a [u8]) -> Option<Self> {
        let (sizes, bytes) = data.split_first_chunk()?;
        Some(Self { bytes, sizes: *sizes })
    }

    /// The bytes in pieces of two sizes that take turns; 0 stands for all.
    fn pieces(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut sizes = self.sizes.into_iter().cycle();
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let size = match sizes.next() {
                Some(0) | None => rest.len(),
                Some(size) => rest.len().min(size.into()),
            };
            let (piece, behind) = rest.split_at(size);
            rest = behind;
            (!piece.is_empty()).then_some(piece)
        })
    }
}

/// A request head: in pieces it is the same head, or the same error at the same place.
pub fn request_head(data: &[u8]) {
    let Some(cut) = Cut::new(data) else { return };
    let (whole, split) = (read_request([cut.bytes]), read_request(cut.pieces()));
    assert_eq!(whole, split);
    driver::requests([cut.bytes], false);
}

type Read = Result<Progress<(usize, String)>, HeadError>;

fn read_request<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let mut head = RequestHead::new();
    read(pieces, |buf| {
        let done = head.read(buf, &Limits::default())?;
        Ok(match done {
            Progress::Partial => Progress::Partial,
            Progress::Done(len) => Progress::Done((
                len,
                format!("{:?} {:?} {:?} {:?}", head.path(buf), head.query(buf), head.framing(), head.fields),
            )),
        })
    })
}

fn read_response<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let mut head = ResponseHead::new();
    read(pieces, |buf| {
        Ok(match head.read(buf, &Limits::default())? {
            Progress::Partial => Progress::Partial,
            Progress::Done(len) => {
                Progress::Done((len, format!("{} {:?} {:?}", head.status(), head.reason(buf), head.fields)))
            }
        })
    })
}

/// Feeds pieces until there is a result.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, mut step: impl FnMut(&mut [u8]) -> Read) -> Read {
    let mut buf = Vec::new();
    for piece in pieces {
        buf.extend_from_slice(piece);
        match step(&mut buf) {
            Ok(Progress::Partial) => {}
            result => return result,
        }
    }
    Ok(Progress::Partial)
}

/// A response head: in pieces it is the same head, or the same error at the same place.
pub fn response_head(data: &[u8]) {
    let Some(cut) = Cut::new(data) else { return };
    assert_eq!(read_response([cut.bytes]), read_response(cut.pieces()));
    driver::response(REQUESTS[0], [cut.bytes], false);
}

/// A body: in pieces it has the same payload and the same end, and chunked anew it is the same again.
pub fn body(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else { return };
    let Some(cut) = Cut::new(data) else { return };
    let framing = match kind {
        0..=127 => Framing::Chunked,
        128 => Framing::UntilClose,
        length => Framing::Length(u64::from(length - 128)),
    };
    let whole = read_body(framing, [cut.bytes]);
    let split = read_body(framing, cut.pieces());
    assert_eq!((whole.end, whole.left), (split.end, split.left));
    if whole.end.is_some_and(|end| end.is_err()) {
        return;
    }
    assert_eq!((&whole.payload, &whole.trailers), (&split.payload, &split.trailers));
    if whole.end.is_some() && framing == Framing::Chunked {
        let again = read_body(framing, [&chunked_anew(&whole)[..]]);
        assert_eq!((again.payload, again.end, again.left), (whole.payload, Some(Ok(())), 0));
    }
}

#[derive(Default)]
struct Body {
    payload: Vec<u8>,
    trailers: Vec<u8>,
    /// How it ended; `None` when it has not.
    end: Option<Result<(), BodyErrorKind>>,
    /// Bytes behind a complete body.
    left: usize,
}

fn read_body<'a>(framing: Framing, pieces: impl IntoIterator<Item = &'a [u8]>) -> Body {
    let mut reader = BodyReader::new(framing);
    let mut buf = Vec::new();
    let mut body = Body::default();
    for piece in pieces {
        buf.extend_from_slice(piece);
        let part = match reader.read(&mut buf, &Limits::default()) {
            Ok(part) => part,
            Err(error) => {
                assert!(error.offset as usize <= buf.len());
                body.end = Some(Err(error.kind));
                return body;
            }
        };
        body.payload.extend_from_slice(part.data.of(&buf));
        body.trailers.extend_from_slice(part.trailers.unwrap_or_default().of(&buf));
        assert_eq!(part.complete, reader.is_complete());
        buf.drain(..part.consumed);
    }
    if reader.is_complete() {
        body.end = Some(Ok(()));
        body.left = buf.len();
    }
    body
}

fn chunked_anew(body: &Body) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in body.payload.chunks(7) {
        bytes.extend_from_slice(encode::chunk_head(chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(encode::CHUNK_END);
    }
    bytes.extend_from_slice(b"0\r\n");
    forwardable_trailers(&body.trailers).for_each(|line| bytes.extend_from_slice(line));
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// Targets: paths, authorities, and a request line around them.
pub fn target(data: &[u8]) {
    path(data);
    authority(data);
    let request = [b"OPTIONS ", data, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    driver::requests([&request[..]], false);
}

fn path(data: &[u8]) {
    let mut path = data.to_vec();
    let normalised = normalise_path(&mut path);
    let checked = check_path(data);
    assert!(checked.is_err() || normalised.is_ok());
    let Ok(len) = normalised else { return };
    path.truncate(len);
    assert!(path.starts_with(b"/") && path.len() <= data.len());
    assert!(checked.is_err() || check_path(&path).is_ok());
    let once = path.clone();
    assert_eq!(normalise_path(&mut path), Ok(len));
    assert_eq!(path, once);
}

fn authority(data: &[u8]) {
    let Some(authority) = parse_authority(data) else { return };
    let host = authority.host.of(data);
    assert_eq!(authority.whole.of(data), data);
    assert!(data.starts_with(host) && !host.is_empty() && !host.contains(&b'@'));
    let mut room = [0; 256];
    let canonical = canonical_host(host, &mut room).expect("every valid host fits").to_vec();
    let again = parse_authority(&canonical).expect("a canonical host is one");
    assert_eq!(again.host.len(), canonical.len());
}

/// A connection: the client's bytes, and the bytes of the backend that gets its first request, each cut.
pub fn connection(data: &[u8]) {
    let Some((&[high, low], data)) = data.split_first_chunk() else { return };
    let (client, backend) =
        data.split_at(usize::from(u16::from_be_bytes([high & 0x7f, low])).min(data.len()));
    let closes = high & 0x80 != 0;
    let mut upstream = REQUESTS[usize::from(low) % REQUESTS.len()].to_vec();
    if let Some(cut) = Cut::new(client) {
        let whole = driver::requests([cut.bytes], closes);
        let split = driver::requests(cut.pieces(), closes);
        assert!(whole.is_like(&split), "{whole:?}\n{split:?}");
        upstream = whole.messages.first().map_or(upstream, |message| message.head.clone());
    }
    let Some(cut) = Cut::new(backend) else { return };
    let whole = driver::response(&upstream, [cut.bytes], closes);
    let split = driver::response(&upstream, cut.pieces(), closes);
    match (whole, split) {
        (Some(whole), Some(split)) => assert!(whole.is_like(&split), "{whole:?}\n{split:?}"),
        (None, None) => {}
        _ => panic!("a request is one or is none"),
    }
}
