//! The work, the same for every proxy, and the checks that it was done.

/// A GET with nine fields, about 700 bytes, as browsers send them.
pub(crate) const REQUEST: &[u8] = b"GET /assets/app/main.3f9a1c.js?v=20260714&locale=en HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.9,de-CH;q=0.8,de;q=0.7\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.com/products/overview?category=tools&page=2\r\n\
    Cookie: session=2f7d6c1e9b3a4f58a6d0c4e1b7f29a83; theme=dark; consent=analytics.0-marketing.0\r\n\
    Connection: keep-alive\r\n\
    Upgrade-Insecure-Requests: 1\r\n\r\n";

/// The backend's response: six fields and a body of 13 bytes.
pub(crate) const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: origin\r\n\
    Date: Tue, 14 Jul 2026 08:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\
    Connection: keep-alive\r\nETag: \"65b2-1f\"\r\n\r\nHello, world!";

const BODY: &[u8] = b"Hello, world!";

/// Ends every head; the request has no body, so it ends the request too.
pub(crate) const HEAD_END: &[u8] = b"\r\n\r\n";

/// Lines that must stand in a head that arrives at the backend, in lower case.
const FORWARDED: [&str; 7] = [
    "get /assets/app/main.3f9a1c.js?v=20260714&locale=en http/1.1\r\n",
    "\r\nhost: www.example.com\r\n",
    "\r\nx-forwarded-for: 127.0.0.1\r\n",
    "\r\nx-real-ip: 127.0.0.1\r\n",
    "\r\nx-forwarded-proto: http\r\n",
    "\r\nx-forwarded-host: www.example.com\r\n",
    "\r\nupgrade-insecure-requests: 1\r\n",
];

/// The first line that a proxy failed to forward or to add.
pub(crate) fn missing_line(head: &[u8]) -> Option<&'static str> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    FORWARDED.into_iter().find(|line| !head.contains(line))
}

/// What the bytes of a response come to so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Partial,
    Right,
    Wrong,
}

/// Judges the bytes that came since the request was sent.
pub(crate) fn judge(bytes: &[u8]) -> Answer {
    let Some(head_end) = memchr::memmem::find(bytes, HEAD_END) else { return Answer::Partial };
    let (head, body) = bytes.split_at(head_end + HEAD_END.len());
    if !head.starts_with(b"HTTP/1.1 200 ") || !BODY.starts_with(body) {
        return Answer::Wrong;
    }
    if body.len() == BODY.len() { Answer::Right } else { Answer::Partial }
}
