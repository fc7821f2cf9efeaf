//! One probe: a connection that is made, or a GET on it. What it may cost is bounded by `probe_timeout` and, in bytes, by
//! the limits that hold for heads.

use std::io;

use ringway_config::Probe;
use ringway_engine::{Address, BackendHandle, Failed, is_exhaustion};
use ringway_wire::{Limits, Method, Progress, ResponseHead};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::schedule::Found;
use crate::unix;

/// Statuses from here on say that a backend is ill.
const ILL_STATUS: u16 = 500;

/// How much is read at a time.
const READ_BYTES: usize = 2 * 1024;

/// Probes a backend as its upstream says. Reads no more of an answer than its head.
pub(super) async fn probe(backend: BackendHandle) -> Found {
    let health = &backend.config().health;
    let mut is_connected = false;
    let attempt = attempt(&backend, &health.probe, &mut is_connected);
    match tokio::time::timeout(health.probe_timeout, attempt).await {
        Ok(found) => found,
        Err(_) if is_connected => Found::Ill(Failed::Timeout),
        Err(_) => Found::Ill(Failed::ConnectTimeout),
    }
}

async fn attempt(backend: &BackendHandle, probe: &Probe, is_connected: &mut bool) -> Found {
    if backend.forbidden().is_some() {
        return Found::Unknown;
    }
    match backend.address() {
        Address::Tcp(address) => match TcpStream::connect(address).await {
            Ok(stream) => talk(stream, backend.authority(), probe, is_connected).await,
            Err(error) => unreached(backend, &error),
        },
        Address::Unix(path) => match unix::connect(path).await {
            Ok(stream) => talk(stream, backend.authority(), probe, is_connected).await,
            Err(error) => unreached(backend, &error),
        },
    }
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    authority: &str,
    probe: &Probe,
    is_connected: &mut bool,
) -> Found {
    *is_connected = true;
    match probe {
        Probe::Tcp => Found::Alive,
        Probe::Http { path } => match get(stream, path, authority).await {
            Ok(status) if status < ILL_STATUS => Found::Alive,
            Ok(status) => Found::Ill(Failed::Status(status)),
            Err(failed) => Found::Ill(failed),
        },
    }
}

/// Asks for `path`; gives the status of the answer.
async fn get<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    path: &str,
    authority: &str,
) -> Result<u16, Failed> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: ringway\r\nConnection: close\r\n\r\n"
    );
    // One that answers without reading may have closed already, and its answer counts: the read tells what became of it.
    let _ = stream.write_all(request.as_bytes()).await;
    read_status(&mut stream).await
}

/// Reads heads until one is final. All of them together may have as many bytes as one.
async fn read_status(stream: &mut (impl AsyncRead + Unpin)) -> Result<u16, Failed> {
    let limits = Limits::default();
    let (mut bytes, mut head) = (Vec::with_capacity(READ_BYTES), ResponseHead::new());
    let mut start = 0;
    loop {
        match head.read(&bytes[start..], &limits).map_err(|_| Failed::BadResponse)? {
            Progress::Done(head_bytes) if head.is_interim() => {
                start += head_bytes;
                head.clear();
                continue;
            }
            Progress::Done(_) => return final_status(&head),
            Progress::Partial if bytes.len() >= limits.head_bytes as usize => {
                return Err(Failed::BadResponse);
            }
            Progress::Partial => {}
        }
        bytes.reserve(READ_BYTES);
        match stream.read_buf(&mut bytes).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Err(Failed::Closed),
        }
    }
}

/// The same that makes a request's response none counts here.
fn final_status(head: &ResponseHead) -> Result<u16, Failed> {
    const SWITCHING_PROTOCOLS: u16 = 101;
    let is_http = head.status() != SWITCHING_PROTOCOLS && head.framing_for(Method::Get).is_ok();
    is_http.then(|| head.status()).ok_or(Failed::BadResponse)
}

fn unreached(backend: &BackendHandle, error: &io::Error) -> Found {
    if is_exhaustion(error) {
        tracing::warn!(%error, upstream = &**backend.upstream(), backend = %backend.address(), "cannot probe");
        return Found::Unknown;
    }
    let timed_out = error.kind() == io::ErrorKind::TimedOut;
    Found::Ill(if timed_out { Failed::ConnectTimeout } else { Failed::Refused })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use tokio::io::ReadBuf;

    /// A peer whose bytes come in pieces; then it closes.
    struct Pieces<'a>(Vec<&'a [u8]>);

    impl AsyncRead for Pieces<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if !self.0.is_empty() {
                buf.put_slice(self.0.remove(0));
            }
            Poll::Ready(Ok(()))
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    fn status_of(pieces: &[&[u8]]) -> Result<u16, Failed> {
        runtime().block_on(read_status(&mut Pieces(pieces.to_vec())))
    }

    #[test]
    fn the_status_is_the_final_heads() {
        for (answer, status) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Ok(200)),
            ("HTTP/1.0 404 Not Found\r\nContent-Length: 3\r\n\r\nabc", Ok(404)),
            ("HTTP/1.1 500 No\r\n\r\n", Ok(500)),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
                Ok(204),
            ),
            (
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
                Err(Failed::BadResponse),
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Err(Failed::BadResponse)),
            ("SSH-2.0-OpenSSH\r\n\r\n", Err(Failed::BadResponse)),
            ("HTTP/1.1 200 OK\r\nA: b\r\n", Err(Failed::Closed)),
            ("", Err(Failed::Closed)),
        ] {
            assert_eq!(status_of(&[answer.as_bytes()]), status, "{answer:?}");
            let bytes: Vec<&[u8]> = answer.as_bytes().chunks(1).collect();
            assert_eq!(status_of(&bytes), status, "{answer:?}, byte by byte");
        }
    }

    #[test]
    fn heads_without_end_are_none() {
        let interim = b"HTTP/1.1 102 Processing\r\n\r\n".as_slice();
        assert_eq!(status_of(&vec![interim; 10_000]), Err(Failed::BadResponse));
        let field = b"A-Field: with a value\r\n".as_slice();
        let endless: Vec<&[u8]> =
            [b"HTTP/1.1 200 OK\r\n".as_slice()].into_iter().chain(vec![field; 10_000]).collect();
        assert_eq!(status_of(&endless), Err(Failed::BadResponse));
        let long =
            [b"HTTP/1.1 200 OK\r\nA: ".as_slice()].into_iter().chain(vec![[b'x'; 50].as_slice(); 1_000]);
        assert_eq!(status_of(&long.collect::<Vec<_>>()), Err(Failed::BadResponse));
    }

    #[test]
    fn the_request_names_path_and_authority_and_wants_no_more_than_one_answer() {
        runtime().block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(1024);
            let mut connected = false;
            let http = Probe::Http { path: "/health?deep=1".to_owned() };
            let peer = async {
                let mut request = vec![0; 1024];
                let length = theirs.read(&mut request).await.unwrap();
                theirs.write_all(b"HTTP/1.1 503 Starting\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                String::from_utf8(request[..length].to_vec()).unwrap()
            };
            let (found, request) = tokio::join!(talk(ours, "backend:81", &http, &mut connected), peer);
            assert_eq!((found, connected), (Found::Ill(Failed::Status(503)), true));
            let lines: Vec<_> = request.split("\r\n").collect();
            assert_eq!(lines[0], "GET /health?deep=1 HTTP/1.1");
            assert!(lines.contains(&"Host: backend:81") && lines.contains(&"Connection: close"), "{request}");
            assert!(request.ends_with("\r\n\r\n"), "{request}");
        });
    }

    #[test]
    fn what_the_system_lacks_says_nothing_about_a_backend() {
        let error = |errno: Errno| io::Error::from_raw_os_error(errno as i32);
        assert!(
            [Errno::EMFILE, Errno::ENFILE, Errno::EADDRNOTAVAIL].iter().all(|e| is_exhaustion(&error(*e)))
        );
        assert!(
            [Errno::ECONNREFUSED, Errno::EHOSTUNREACH, Errno::EACCES]
                .iter()
                .all(|e| !is_exhaustion(&error(*e)))
        );
    }
}
