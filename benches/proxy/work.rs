//! The work, the same for every proxy, and the checks that it was done.

use std::sync::LazyLock;

/// What follows the target in the small GET: nine fields as browsers send them, about 700 bytes with the request line.
const FIELDS: &str = " HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.9,de-CH;q=0.8,de;q=0.7\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.com/products/overview?category=tools&page=2\r\n\
    Cookie: session=2f7d6c1e9b3a4f58a6d0c4e1b7f29a83; theme=dark; consent=analytics.0-marketing.0\r\n";

const LAST_FIELDS: &str = "Upgrade-Insecure-Requests: 1\r\n\r\n";

/// The target of the small GET. With many rules the first segment is that of a rule.
pub(crate) const TARGET: &str = "/assets/app/main.3f9a1c.js?v=20260714&locale=en";
const BELOW_RULE: &str = "/app/main.3f9a1c.js?v=20260714&locale=en";

/// The field lines of the small GET, for a generator that writes its own requests.
pub(crate) fn field_lines() -> impl Iterator<Item = &'static str> {
    let lines =
        FIELDS.split("\r\n").skip(1).chain(["Connection: keep-alive"]).chain(LAST_FIELDS.split("\r\n"));
    lines.filter(|line| !line.is_empty())
}

/// A small GET on a connection that stays open.
pub(crate) fn get() -> Vec<u8> {
    format!("GET {TARGET}{FIELDS}Connection: keep-alive\r\n{LAST_FIELDS}").into_bytes()
}

/// A small GET on a connection that closes after it.
pub(crate) fn get_and_close() -> Vec<u8> {
    format!("GET {TARGET}{FIELDS}Connection: close\r\n{LAST_FIELDS}").into_bytes()
}

/// A small GET that rule `number` takes, up to the end of its target: the rest is the same for all.
pub(crate) fn write_target_of_rule(number: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let (mut rest, mut first) = (number, digits.len());
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(b"GET /p");
    out.extend_from_slice(&digits[first..]);
}

/// The rest of such a GET.
pub(crate) fn rest_of_rule() -> Vec<u8> {
    format!("{BELOW_RULE}{FIELDS}Connection: keep-alive\r\n{LAST_FIELDS}").into_bytes()
}

/// The backend's response to a small GET: six fields and a body of 13 bytes.
pub(crate) const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: origin\r\n\
    Date: Tue, 14 Jul 2026 08:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\
    Connection: keep-alive\r\nETag: \"65b2-1f\"\r\n\r\nHello, world!";

pub(crate) const BODY: &[u8] = b"Hello, world!";

/// Ends every head.
pub(crate) const HEAD_END: &[u8] = b"\r\n\r\n";

/// Lines that must stand in a head that arrives at the backend, in lower case.
const FORWARDED: [&str; 5] = [
    "\r\nhost: www.example.com\r\n",
    "\r\nx-forwarded-for: 127.0.0.1\r\n",
    "\r\nx-real-ip: 127.0.0.1\r\n",
    "\r\nx-forwarded-proto: http\r\n",
    "\r\nx-forwarded-host: www.example.com\r\n",
];

/// The small GET has these besides.
const FORWARDED_OF_GET: [&str; 2] =
    ["/app/main.3f9a1c.js?v=20260714&locale=en http/1.1\r\n", "\r\nupgrade-insecure-requests: 1\r\n"];

/// What a request turns out to be, at the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Small,
    Download,
    Upload,
    WebSocket,
}

impl Asked {
    pub(crate) fn by(head: &[u8]) -> Self {
        match head {
            [b'P', ..] => Asked::Upload,
            _ if head.starts_with(b"GET /download") => Asked::Download,
            _ if head.starts_with(b"GET /echo") => Asked::WebSocket,
            _ => Asked::Small,
        }
    }

    /// The first line that a proxy failed to forward or to add.
    pub(crate) fn missing_line(self, head: &[u8]) -> Option<&'static str> {
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        let own: &[&str] = match self {
            Asked::Small => &FORWARDED_OF_GET,
            Asked::Download => &[],
            Asked::Upload => &["\r\ncontent-length: 1048576\r\n"],
            Asked::WebSocket => {
                &["\r\nupgrade: websocket\r\n", "\r\nsec-websocket-key: dghlihnhbxbszsbub25jzq==\r\n"]
            }
        };
        FORWARDED.iter().chain(own).copied().find(|line| !head.contains(line))
    }
}

/// The length of a large body.
pub(crate) const BULK_BYTES: usize = 1 << 20;

/// A large body. No stretch of it repeats soon: what is lost, doubled or moved shows.
pub(crate) static BULK: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = fastrand::Rng::with_seed(1);
    (0..BULK_BYTES).map(|_| random.u8(..)).collect()
});

/// The file that the small GET names, below the folder that is served.
pub(crate) const FILE: &str = "assets/app/main.3f9a1c.js";
const FILE_BYTES: usize = 10 << 10;

/// What is in it.
pub(crate) fn file() -> &'static [u8] {
    &BULK[..FILE_BYTES]
}

/// The response with a large body.
pub(crate) static BULK_RESPONSE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let head = b"HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Tue, 14 Jul 2026 08:00:00 GMT\r\n\
        Content-Type: application/octet-stream\r\nContent-Length: 1048576\r\nConnection: keep-alive\r\n\r\n";
    [head, BULK.as_slice()].concat()
});

/// Asks for a large body.
pub(crate) fn download() -> Vec<u8> {
    format!("GET /download{FIELDS}Connection: keep-alive\r\n{LAST_FIELDS}").into_bytes()
}

/// Sends a large body.
pub(crate) fn upload() -> Vec<u8> {
    let head = format!(
        "POST /upload{FIELDS}Connection: keep-alive\r\nContent-Length: {BULK_BYTES}\r\n{LAST_FIELDS}"
    );
    [head.as_bytes(), BULK.as_slice()].concat()
}

/// Asks for a tunnel, with the key of RFC 6455 section 1.3.
pub(crate) fn upgrade() -> Vec<u8> {
    format!(
        "GET /echo{FIELDS}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// Grants it, with the value that belongs to that key.
pub(crate) const UPGRADED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The length of a message in a tunnel.
pub(crate) const MESSAGE_BYTES: usize = 64;
const FRAME_BYTES: usize = 2 + MESSAGE_BYTES;
const MASKED_FRAME_BYTES: usize = 2 + MASK.len() + MESSAGE_BYTES;

/// Clients are to choose it anew for each frame (RFC 6455 section 5.3); that would measure a random generator.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A message as servers send it: final, binary, unmasked.
pub(crate) type Frame = [u8; FRAME_BYTES];
/// A message as clients send it.
pub(crate) type MaskedFrame = [u8; MASKED_FRAME_BYTES];

/// A message that no other tunnel sends, nor this one again.
pub(crate) fn message(tunnel: u64, number: u64) -> Frame {
    let mut frame = [b'-'; FRAME_BYTES];
    frame[..2].copy_from_slice(&[0x82, MESSAGE_BYTES as u8]);
    frame[2..10].copy_from_slice(&tunnel.to_be_bytes());
    frame[10..18].copy_from_slice(&number.to_be_bytes());
    frame
}

/// The same message from a client.
pub(crate) fn masked(frame: &Frame) -> MaskedFrame {
    let mut masked = [0; MASKED_FRAME_BYTES];
    masked[..2].copy_from_slice(&[frame[0], 0x80 | frame[1]]);
    masked[2..6].copy_from_slice(&MASK);
    copy_masked(&frame[2..], &mut masked[6..]);
    masked
}

/// The message of a client, as a server sends it back; nothing when it is not one of `masked`.
pub(crate) fn unmasked(masked: &MaskedFrame) -> Option<Frame> {
    let mut frame = [0; FRAME_BYTES];
    frame[..2].copy_from_slice(&[0x82, MESSAGE_BYTES as u8]);
    copy_masked(&masked[6..], &mut frame[2..]);
    let right = masked[..2] == [0x82, 0x80 | MESSAGE_BYTES as u8] && masked[2..6] == MASK;
    right.then_some(frame)
}

fn copy_masked(from: &[u8], to: &mut [u8]) {
    for (to, (from, mask)) in to.iter_mut().zip(from.iter().zip(MASK.iter().cycle())) {
        *to = from ^ mask;
    }
}

/// The response that a proxy forwards again and again: judged when it changes, only compared as long as it does not.
pub(crate) struct Known {
    body: &'static [u8],
    response: Vec<u8>,
}

impl Default for Known {
    fn default() -> Self {
        Known::of(BODY)
    }
}

impl Known {
    /// One with this body.
    pub(crate) fn of(body: &'static [u8]) -> Self {
        Known { body, response: Vec::new() }
    }

    /// The length of the right response that `bytes` begin with; nothing when more of it is to come.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Option<usize>, Wrong> {
        if !self.response.is_empty() && bytes.starts_with(&self.response) {
            return Ok(Some(self.response.len()));
        }
        let Some(head) = right_head(bytes, self.body.len())? else { return Ok(None) };
        let (response, body) = (head + self.body.len(), &bytes[head..]);
        if !body.starts_with(&self.body[..body.len().min(self.body.len())]) {
            return Err(Wrong);
        }
        Ok(bytes.get(..response).map(|bytes| {
            self.response.clear();
            self.response.extend_from_slice(bytes);
            response
        }))
    }
}

/// A response, or a message, that is not the one that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wrong;

/// The length of the head that `bytes` begin with, if it announces `body` bytes; nothing when more of it is to come.
pub(crate) fn right_head(bytes: &[u8], body: usize) -> Result<Option<usize>, Wrong> {
    let Some(end) = memchr::memmem::find(bytes, HEAD_END) else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..end + 2]).to_ascii_lowercase();
    let right =
        head.starts_with("http/1.1 200 ") && head.contains(&format!("\r\ncontent-length: {body}\r\n"));
    if right { Ok(Some(end + HEAD_END.len())) } else { Err(Wrong) }
}
