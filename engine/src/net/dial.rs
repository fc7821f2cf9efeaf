//! Connecting to a backend, with a deadline of its own.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::driver;
use super::stream::Stream;

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

/// Connects to `address` within `timeout`.
pub(crate) async fn dial(address: &Address, timeout: Duration) -> Result<Stream, DialError> {
    let socket = begin(address).map_err(DialError::Failed)?;
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

/// A socket on which a connection is being made.
fn begin(address: &Address) -> io::Result<Socket> {
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
    match socket.connect(&address) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(socket),
    }
}
