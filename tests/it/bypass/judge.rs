//! Whether a backend should have got a request. Knows nothing of how Ringway decides: a path counts as public only if it is
//! so for a server that decodes it as often as it can, takes `\` for `/`, cuts parameters and what follows a NUL, folds
//! slashes and dot segments, and does not mind case.

use super::Provider;
use crate::harness::message::Head;

/// A path is decoded so often.
const ROUNDS: usize = 4;

/// What a backend got.
#[derive(Debug)]
pub struct Request {
    method: String,
    path: String,
    fields: Vec<String>,
}

impl Request {
    pub fn of(head: &Head) -> Self {
        let target = head.target();
        let path = target.split('?').next().unwrap_or_default().to_owned();
        let method = head.start_line.split(' ').next().unwrap_or_default().to_owned();
        let lines = |name: &str| {
            head.fields.all(name).into_iter().map(|value| format!("{name}: {value}")).collect::<Vec<_>>()
        };
        Self { method, path, fields: [lines("authorization"), lines("cookie")].concat() }
    }

    /// It is public, or brings the credentials that `provider` wants.
    pub fn may_come(&self, provider: &Provider) -> bool {
        let line = provider.line.trim_end();
        let (name, value) = line.split_once(": ").expect("a field line");
        let wanted = format!("{}: {value}", name.to_lowercase());
        let authorizations = self.fields.iter().filter(|field| field.starts_with("authorization")).count();
        self.is_public() || self.fields.contains(&wanted) && authorizations < 2
    }

    pub fn is_public(&self) -> bool {
        let readings = readings(&self.path);
        readings.iter().all(|path| self.is_public_at(path))
    }

    /// The public routes of the site's rules, as the backend sees their paths.
    fn is_public_at(&self, path: &str) -> bool {
        let one_segment = |rest: &str| !rest.contains('/');
        match path {
            "/api/health" | "/pub" => true,
            _ if path.starts_with("/new/pub/") => path.strip_prefix("/new/pub/").is_some_and(one_segment),
            _ if self.method != "GET" => false,
            _ if path.starts_with("/api/config/") => true,
            _ => path
                .strip_prefix("/static/")
                .and_then(|rest| rest.strip_suffix(".css"))
                .is_some_and(one_segment),
        }
    }
}

/// A path as servers may read it: as it is, and decoded again and again, with parameters and without.
fn readings(path: &str) -> Vec<String> {
    let mut bytes = path.as_bytes().to_vec();
    let mut readings = vec![path.to_owned()];
    for _ in 0..ROUNDS {
        bytes = decoded(&bytes);
        let text = String::from_utf8_lossy(&bytes).replace('\\', "/");
        let cut = text.split(['\0', '?', '#', '\r', '\n']).next().unwrap_or_default().to_owned();
        for text in [text.clone(), cut] {
            readings.push(folded(&text));
            let without: Vec<_> =
                text.split('/').map(|segment| segment.split(';').next().unwrap_or_default()).collect();
            readings.push(folded(&without.join("/")));
        }
    }
    readings
}

/// Percent-decoded, and UTF-8 as a reader that takes overlong forms does.
fn decoded(bytes: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let (mut plain, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let escape = digit(bytes.get(at + 1)).zip(digit(bytes.get(at + 2)));
        match (bytes[at], escape) {
            (b'%', Some((high, low))) => {
                plain.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, _) => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    shortest(&plain)
}

/// Overlong forms of ASCII characters, of two to four bytes, become those characters.
fn shortest(bytes: &[u8]) -> Vec<u8> {
    let (mut plain, mut rest) = (Vec::new(), bytes);
    loop {
        rest = match rest {
            [] => return plain,
            [first @ (0xc0 | 0xc1), last @ 0x80..=0xbf, rest @ ..] => {
                plain.push((first & 1) << 6 | last & 0x3f);
                rest
            }
            [0xe0, middle @ (0x80 | 0x81), last @ 0x80..=0xbf, rest @ ..]
            | [0xf0, 0x80, middle @ (0x80 | 0x81), last @ 0x80..=0xbf, rest @ ..] => {
                plain.push((middle & 1) << 6 | last & 0x3f);
                rest
            }
            [byte, rest @ ..] => {
                plain.push(*byte);
                rest
            }
        };
    }
}

/// Without dot segments and empty ones.
fn folded(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => _ = segments.pop(),
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

#[test]
fn the_judge_sees_through_every_spelling() {
    let is_public = |method: &str, path: &str| {
        Request { method: method.to_owned(), path: path.to_owned(), fields: Vec::new() }.is_public()
    };
    for (method, path) in
        [("PUT", "/api/health"), ("GET", "/api/config/a/b"), ("GET", "/static/a.css"), ("GET", "/new/pub/a")]
    {
        assert!(is_public(method, path), "{method} {path}");
    }
    for (method, path) in [
        ("HEAD", "/api/config/a"),
        ("GET", "/api/secret"),
        ("GET", "/api/config/../secret"),
        ("GET", "/api/config/%252e%252e/secret"),
        ("GET", "/api/config/..%5csecret"),
        ("GET", "/api/config/..;x/secret"),
        ("GET", "/api/config/%c0%ae%c0%ae/secret"),
        ("GET", "/api/config/%e0%80%ae%e0%80%ae/secret"),
        ("GET", "/static/a.key%00.css"),
        ("GET", "/static/a.key;.css"),
        ("GET", "/static/a/b.css"),
    ] {
        assert!(!is_public(method, path), "{method} {path}");
    }
}
