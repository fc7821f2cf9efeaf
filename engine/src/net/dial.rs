//! Connecting to a backend, with a deadline of its own.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::driver;
use super::stream::Stream;
use super::task;

/// Where a backend listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(Arc<Path>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum DialError {
    /// It took longer than the deadline.
    Timeout,
    /// The system says no: refused, unreachable, out of descriptors.
    Failed(io::Error),
}

/// Whether a connection could not be made because the process or the system has run out of something, which says nothing about
/// who was to be connected to.
pub fn is_exhaustion(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EADDRNOTAVAIL)
    )
}

/// Between two looks whether a full queue of connections has room again: at first, and at most.
const FULL_PAUSE: Duration = Duration::from_millis(2);
const FULL_PAUSE_MAX: Duration = Duration::from_millis(64);

/// Connects to `address` within `timeout`.
pub(crate) async fn dial(address: &Address, timeout: Duration) -> Result<Stream, DialError> {
    let began = Instant::now();
    let (socket, address) = prepare(address).map_err(DialError::Failed)?;
    let mut pause = FULL_PAUSE;
    while is_full(&socket, &address).map_err(DialError::Failed)? {
        let left = timeout.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(DialError::Timeout);
        }
        task::sleep(pause.min(left)).await;
        pause = FULL_PAUSE_MAX.min(pause * 2);
    }
    let timeout = timeout.saturating_sub(began.elapsed());
    let probe = socket.try_clone().map_err(DialError::Failed)?;
    let stream = Stream::adopt(socket).map_err(DialError::Failed)?;
    #[expect(
        clippy::disallowed_methods,
        reason = "waiting for room to write takes nothing, so it may be dropped"
    )]
    let waited = monoio::time::timeout(timeout, stream.writable()).await;
    match waited {
        Err(_) => return Err(DialError::Timeout),
        Ok(result) => result.map_err(DialError::Failed)?,
    }
    if let Some(error) = probe.take_error().map_err(DialError::Failed)? {
        return Err(DialError::Failed(error));
    }
    probe.set_nonblocking(driver::needs_nonblocking()).map_err(DialError::Failed)?;
    Ok(stream)
}

/// A socket that can be connected to `address`.
fn prepare(address: &Address) -> io::Result<(Socket, SockAddr)> {
    let (domain, protocol, address) = match address {
        Address::Tcp(address) => {
            (Domain::for_address(*address), Some(Protocol::TCP), SockAddr::from(*address))
        }
        Address::Unix(path) => (Domain::UNIX, None, SockAddr::unix(path)?),
    };
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), protocol)?;
    if protocol.is_some() {
        socket.set_tcp_nodelay(true)?;
    }
    Ok((socket, address))
}

/// Begins to connect; `true` when the listener takes no more until it has accepted one. Over TCP the system waits for that; a
/// Unix socket says so, and has to be asked again (connect(2), EAGAIN).
fn is_full(socket: &Socket, address: &SockAddr) -> io::Result<bool> {
    match socket.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock && address.is_unix() => Ok(true),
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(false),
    }
}
