//! Connecting to a backend, with a deadline of its own.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use monoio::net::{TcpStream, UnixStream};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::driver;
use super::stream::Stream;

/// Where a backend listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(Rc<Path>),
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
    let stream = adopt(socket, address).map_err(DialError::Failed)?;
    // Waiting for room to write has no side effect, so it may be dropped when the time is up.
    let writable = async {
        match &stream {
            Adopted::Tcp(stream) => stream.writable(true).await,
            Adopted::Unix(stream) => stream.writable(true).await,
        }
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "waiting for room to write takes nothing, so it may be dropped"
    )]
    let waited = monoio::time::timeout(timeout, writable).await;
    match waited {
        Err(_) => return Err(DialError::Timeout),
        Ok(result) => result.map_err(DialError::Failed)?,
    }
    if let Some(error) = probe.take_error().map_err(DialError::Failed)? {
        return Err(DialError::Failed(error));
    }
    probe.set_nonblocking(driver::needs_nonblocking()).map_err(DialError::Failed)?;
    Ok(match stream {
        Adopted::Tcp(stream) => Stream::tcp(stream),
        Adopted::Unix(stream) => Stream::unix(stream),
    })
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

enum Adopted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

fn adopt(socket: Socket, address: &Address) -> io::Result<Adopted> {
    let fd = socket.into_raw_fd();
    // SAFETY: `fd` was just released by the socket that owned it, so the std stream becomes its only owner.
    match address {
        Address::Tcp(_) => {
            TcpStream::from_std(unsafe { std::net::TcpStream::from_raw_fd(fd) }).map(Adopted::Tcp)
        }
        Address::Unix(_) => {
            // SAFETY: as above.
            UnixStream::from_std(unsafe { std::os::unix::net::UnixStream::from_raw_fd(fd) })
                .map(Adopted::Unix)
        }
    }
}
