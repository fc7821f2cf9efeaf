//! Backends named after what they do.

use super::backend::{Backend, Request, Visit};
use std::sync::Barrier;

/// A response with a length.
pub fn response(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A response in chunks of `size` bytes, with `trailers` (whole lines) after the last one.
pub fn chunked_response(fields: &str, body: &[u8], size: usize, trailers: &str) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n");
    [head.into_bytes(), chunked(body, size, trailers)].concat()
}

/// A chunked body.
pub fn chunked(body: &[u8], size: usize, trailers: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in body.chunks(size) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(format!("0\r\n{trailers}\r\n").into_bytes());
    bytes
}

pub const HELLO: &[u8] = b"Hello, World!";

impl Backend {
    /// Reads each request to its end and answers with what `answer` makes of it; keeps its connections.
    pub fn answers(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Backend::script(move |visit| answer_all(visit, &answer))
    }

    /// Answers each request with 13 bytes.
    pub fn says_hello() -> Self {
        Backend::answers(|_| response("200 OK", "", HELLO))
    }

    /// Answers with 13 bytes, the first time once `count` requests are there.
    pub fn says_hello_once_all_have_come(count: usize) -> Self {
        let all = Barrier::new(count);
        Backend::script(move |visit| {
            if visit.request().is_some() {
                all.wait();
                visit.send(response("200 OK", "", HELLO));
                answer_all(visit, &|_: &Request| response("200 OK", "", HELLO));
            }
        })
    }

    /// Answers each request with `text`: tells several backends apart.
    pub fn says(text: &str) -> Self {
        let text = text.to_owned();
        Backend::answers(move |_| response("200 OK", "", text.as_bytes()))
    }

    /// Answers each request with the same bytes, whatever they are, and keeps the connection.
    pub fn answers_with(bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref().to_vec();
        Backend::answers(move |_| bytes.clone())
    }

    /// Answers the first request of each connection with `bytes` and closes.
    pub fn answers_and_closes(bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref().to_vec();
        Backend::script(move |visit| {
            if visit.request().is_some() {
                visit.send(&bytes);
            }
        })
    }

    /// Answers the first request of each connection with `bytes` and resets.
    pub fn answers_and_resets(bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref().to_vec();
        Backend::script(move |visit| {
            if visit.request().is_some() {
                visit.send(&bytes);
                visit.reset();
            }
        })
    }

    /// Answers each request with its own body, framed as it came.
    pub fn echoes_body() -> Self {
        use super::message::Framing;
        Backend::answers(|request| match request.framing {
            Framing::Chunked => chunked_response("", &request.body, 5000, ""),
            _ => response("200 OK", "", &request.body),
        })
    }

    /// Reads and never answers.
    pub fn never_answers() -> Self {
        Backend::script(|visit| {
            visit.head();
            visit.until_closed();
        })
    }

    /// Accepts and reads nothing, until it is dropped.
    pub fn never_reads() -> Self {
        Backend::script(|visit| {
            visit.small_receive_buffer();
            visit.until_stopped();
        })
    }

    /// Answers once the head has come, without reading the body, and goes on to read it all.
    pub fn answers_early(bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref().to_vec();
        Backend::script(move |visit| {
            if visit.head().is_some() {
                visit.send(&bytes);
                visit.until_closed();
            }
        })
    }
}

fn answer_all(visit: &mut Visit, answer: &impl Fn(&Request) -> Vec<u8>) {
    while let Some(request) = visit.request() {
        if !visit.send(answer(&request)) {
            return;
        }
    }
}
