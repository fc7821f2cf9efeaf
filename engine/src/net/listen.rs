//! Listening sockets: bound on the control thread, accepted from on every worker.
//!
//! With io_uring one socket is duplicated into every worker: each has an accept pending and they share evenly. epoll
//! wakes them unevenly that way, so there each worker gets a socket of its own by SO_REUSEPORT, after a probing bind
//! without it, so that two daemons never share a port unawares.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd};
use std::path::{Path, PathBuf};

use monoio::net::{TcpListener, UnixListener};
use ringway_config::ListenAddress;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::driver::{self, Driver};
use super::stream::Stream;
use super::task::Stop;

/// Connections that wait to be accepted, per socket; the kernel's `somaxconn` bounds it further.
const BACKLOG: i32 = 4096;

/// A bound address: a listening socket for each worker.
pub(crate) struct Bound {
    /// One socket for each worker.
    pub(crate) sockets: Vec<Socket>,
    /// The real address; port 0 has become a port.
    pub(crate) local: Local,
}

/// Where a listener really is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Local {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl std::fmt::Display for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Binds an address for `workers` workers.
///
/// # Errors
/// The system's: in use, not permitted, no such interface.
pub(crate) fn bind(address: &ListenAddress, workers: usize, driver: Driver) -> io::Result<Bound> {
    match address {
        ListenAddress::Tcp(address) => bind_tcp(*address, workers, driver),
        ListenAddress::Unix(path) => bind_unix(path, workers, driver),
    }
}

fn bind_tcp(address: SocketAddr, workers: usize, driver: Driver) -> io::Result<Bound> {
    let first = match tcp_socket(address, false) {
        // The kernel has no IPv6: the unspecified address stands for all of IPv4 then.
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) && address.ip().is_unspecified() => {
            tcp_socket((Ipv4Addr::UNSPECIFIED, address.port()).into(), false)?
        }
        socket => socket?,
    };
    let local = first.local_addr()?.as_socket().unwrap_or(address);
    let sockets = if driver == Driver::Epoll {
        drop(first);
        (0..workers).map(|_| listening(tcp_socket(local, true)?, driver)).collect::<io::Result<_>>()?
    } else {
        duplicates(listening(first, driver)?, workers)?
    };
    Ok(Bound { sockets, local: Local::Tcp(local) })
}

fn tcp_socket(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    // Accepted sockets inherit it: no system call for each connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn bind_unix(path: &Path, workers: usize, driver: Driver) -> io::Result<Bound> {
    let address = SockAddr::unix(path)?;
    remove_stale(path, &address)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&address)?;
    let sockets = duplicates(listening(socket, driver)?, workers)?;
    Ok(Bound { sockets, local: Local::Unix(path.to_owned()) })
}

/// Removes a socket file that nobody listens on any more; one that somebody listens on stays, and binding fails.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    let refused = Socket::new(Domain::UNIX, Type::STREAM, None)?.connect(address);
    match refused {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Ok(()),
    }
}

fn listening(socket: Socket, driver: Driver) -> io::Result<Socket> {
    socket.set_nonblocking(driver == Driver::Epoll)?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn duplicates(socket: Socket, workers: usize) -> io::Result<Vec<Socket>> {
    let mut sockets: Vec<_> = (1..workers).map(|_| socket.try_clone()).collect::<io::Result<_>>()?;
    sockets.push(socket);
    Ok(sockets)
}

/// A worker's end of a listener.
pub(crate) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    /// Takes over a socket on the worker that will accept from it.
    pub(crate) fn new(socket: Socket, local: &Local) -> io::Result<Self> {
        match local {
            Local::Tcp(_) => TcpListener::from_std(socket.into()).map(Self::Tcp),
            Local::Unix(_) => UnixListener::from_std(socket.into()).map(Self::Unix),
        }
    }

    /// The next connection and its peer's address (none for Unix sockets). Ends with an error when `stop`
    /// is called meanwhile.
    pub(crate) async fn accept(&self, stop: &Stop) -> io::Result<(Stream, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.cancelable_accept(stop.handle()).await?;
                // SAFETY: the descriptor was just released by the stream that owned it, so the socket becomes its only
                // owner.
                let socket = unsafe { Socket::from_raw_fd(stream.into_raw_fd()) };
                Ok((Stream::adopt(socket)?, Some(peer.ip().to_canonical())))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.cancelable_accept(stop.handle()).await?;
                Ok((Stream::new(stream), None))
            }
        }
    }

    /// A connection that waits already, if there is one. For the last look before the socket closes, which would reset
    /// those that wait; makes the socket non-blocking for good.
    pub(crate) fn accept_waiting(&self) -> io::Result<(Stream, Option<IpAddr>)> {
        let fd = match self {
            Self::Tcp(listener) => listener.as_raw_fd(),
            Self::Unix(listener) => listener.as_raw_fd(),
        };
        // SAFETY: the listener owns the descriptor and outlives this borrow.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        let listener = SockRef::from(&fd);
        listener.set_nonblocking(true)?;
        let (socket, peer) = listener.accept()?;
        socket.set_nonblocking(driver::needs_nonblocking())?;
        let peer = peer.as_socket().map(|peer| peer.ip().to_canonical());
        Stream::adopt(socket).map(|stream| (stream, peer))
    }
}
