//! Serves the API on a socket: a few connections at one time, one exchange for each, and none that lasts.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::socket::{Place, Socket};

/// Connections at one time; others wait to be accepted.
const CONNECTIONS_MAX: usize = 16;

/// The longest time for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest time for a whole exchange, and with it for a connection.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest request head, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The most fields of a request head.
const HEAD_FIELDS_MAX: usize = 64;

/// How long nothing is accepted after the system refused: it has run out of descriptors, perhaps.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// A socket that is served. Dropped, its file goes and nothing is accepted any more; exchanges under way end by themselves.
pub(super) struct Server {
    pub(super) place: Place,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Serves from now on. Needs a tokio runtime around it.
    pub(super) fn start(socket: Socket, router: Router) -> Self {
        let (listener, place) = socket.settle();
        Self { place, accepting: tokio::spawn(accept(listener, router)) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: UnixListener, router: Router) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(seat) = seats.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(exchange(stream, router.clone(), seat))),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the admin socket");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Reads one request and answers it. What goes wrong here is the client's to see.
pub(super) async fn exchange(stream: UnixStream, router: Router, _seat: OwnedSemaphorePermit) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEAD_FIELDS_MAX)
        .keep_alive(false)
        // Who has said all may close its side and still hear the answer.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match timeout(EXCHANGE_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an exchange on the admin socket failed"),
        Err(_) => tracing::debug!("an exchange on the admin socket took too long"),
    }
}
