//! Asks a running program through its admin socket, as `ringway status` does.

use std::fmt;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Duration;

use axum::http::header::HOST;
use axum::http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::unix;

/// The longest time until the whole answer is there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer, in bytes: a status of a hundred thousand backends fits.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// There is no socket: nothing runs there, or its file went.
    Missing,
    /// The socket's file is there, and nobody listens: its program was killed.
    Abandoned,
    /// What is there is no socket.
    NoSocket,
    /// The socket, or its folder, is another user's.
    Forbidden,
    /// It took too long.
    TimedOut,
    /// The answer is no success.
    Refused {
        /// Its status.
        status: u16,
    },
    /// The connection failed.
    Io(io::Error),
    /// What came is no HTTP, or longer than any answer.
    Broken(String),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => out.write_str("there is no such socket"),
            Self::Abandoned => out.write_str("nobody listens on it"),
            Self::NoSocket => out.write_str("this is no socket"),
            Self::Forbidden => out.write_str("it belongs to another user"),
            Self::TimedOut => write!(out, "no answer within {} seconds", ANSWER_TIMEOUT.as_secs()),
            Self::Refused { status } => write!(out, "it answers with status {status}"),
            Self::Io(error) => error.fmt(out),
            Self::Broken(reason) => write!(out, "it does not answer as Ringway does: {reason}"),
        }
    }
}

impl std::error::Error for NoAnswer {}

impl From<hyper::Error> for NoAnswer {
    fn from(error: hyper::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// Sends a GET for `path` to the socket; gives the body of the answer. Needs a tokio runtime around it.
///
/// # Errors
/// [`NoAnswer`].
pub async fn get(socket: &Path, path: &str) -> Result<Bytes, NoAnswer> {
    let answer = async {
        let stream = unix::connect(socket).await.map_err(|error| unreached(socket, error))?;
        exchange(stream, path).await
    };
    timeout(ANSWER_TIMEOUT, answer).await.unwrap_or(Err(NoAnswer::TimedOut))
}

fn unreached(socket: &Path, error: io::Error) -> NoAnswer {
    match error.kind() {
        io::ErrorKind::NotFound => NoAnswer::Missing,
        // The system says the same of what was never a socket.
        io::ErrorKind::ConnectionRefused if !is_socket(socket) => NoAnswer::NoSocket,
        io::ErrorKind::ConnectionRefused => NoAnswer::Abandoned,
        io::ErrorKind::PermissionDenied => NoAnswer::Forbidden,
        _ => NoAnswer::Io(error),
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|there| there.file_type().is_socket())
}

async fn exchange(stream: UnixStream, path: &str) -> Result<Bytes, NoAnswer> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path).header(HOST, "localhost").body(Empty::<Bytes>::new());
    let request = request.map_err(|error| NoAnswer::Broken(error.to_string()))?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| NoAnswer::Broken(error.to_string()))?.to_bytes();
        // The connection ends with its sender.
        drop(sender);
        if status == StatusCode::OK { Ok(body) } else { Err(NoAnswer::Refused { status: status.as_u16() }) }
    };
    // What fails in the connection fails in the exchange, too, which says more of it.
    let (answer, _connection) = tokio::join!(answer, connection);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    /// Asks a server that sends `bytes` and closes.
    fn ask(bytes: &'static [u8]) -> Result<Bytes, NoAnswer> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("s");
            let listener = UnixListener::bind(&path).unwrap();
            let server = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = vec![0; 1024];
                let read = stream.read(&mut head).await.unwrap();
                assert!(head[..read].starts_with(b"GET /a HTTP/1.1\r\nhost: localhost\r\n"));
                stream.write_all(bytes).await.unwrap();
            };
            tokio::join!(get(&path, "/a"), server).0
        })
    }

    #[test]
    fn a_whole_answer_is_taken() {
        let body = ask(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        assert_eq!(body, "{}");
    }

    #[test]
    fn other_answers_are_refused() {
        let refused = |bytes| ask(bytes).unwrap_err();
        let problem = refused(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
        assert!(matches!(problem, NoAnswer::Refused { status: 503 }), "{problem}");
        for bytes in
            [&b"220 smtp.example.com\r\n"[..], b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"]
        {
            let broken = refused(bytes);
            assert!(matches!(broken, NoAnswer::Broken(_)), "{broken:?}");
        }
    }

    #[test]
    fn what_is_in_the_way_is_told_apart() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let ask = |path: &Path| runtime.block_on(get(path, "/a")).unwrap_err();
        assert!(matches!(ask(&path), NoAnswer::Missing));
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(matches!(ask(&path), NoAnswer::Abandoned));
        assert!(matches!(ask(folder.path()), NoAnswer::NoSocket));
        assert!(matches!(ask(&folder.path().join("x".repeat(200))), NoAnswer::Io(_)));
    }
}
