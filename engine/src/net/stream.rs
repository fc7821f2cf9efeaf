//! One connected socket, TCP or Unix, with one way to read and one to write. Both may be under way at once.

use std::cell::UnsafeCell;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use monoio::io::{AsyncReadRent, AsyncWriteRent, CancelableAsyncReadRent};
use monoio::net::UnixStream;
use socket2::SockRef;

use super::buf::Buf;
use super::deadline::{Deadline, Wheel};
use super::task::Stop;

/// A connected socket.
pub(crate) struct Stream {
    /// For TCP, too: monoio receives, sends and polls alike on both, but its `TcpStream` keeps room for two addresses
    /// beside the descriptor, which is more than all else that an idle connection keeps.
    socket: UnsafeCell<UnixStream>,
}

impl Stream {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self { socket: UnsafeCell::new(socket) }
    }

    /// Takes over a socket of either family; its mode must fit the driver.
    pub(super) fn adopt(socket: socket2::Socket) -> io::Result<Self> {
        UnixStream::from_std(socket.into()).map(Self::new)
    }

    fn shared(&self) -> &UnixStream {
        // SAFETY: as below; what is asked of it here starts no transfer.
        unsafe { &*self.socket.get() }
    }

    #[expect(
        clippy::mut_from_ref,
        reason = "monoio's operations ask for a mutable stream and do not touch it"
    )]
    fn socket(&self) -> &mut UnixStream {
        // SAFETY: monoio vouches (`unsafe impl Split`) that one read and one write may be under way at once
        // through mutable borrows of the same stream, as its own halves do; no operation but creating one
        // touches the stream itself, and all of that happens on this thread.
        unsafe { &mut *self.socket.get() }
    }

    /// The control thread's end of a worker's command channel, as a stream of this worker.
    pub(crate) fn from_std_unix(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(super::driver::needs_nonblocking())?;
        UnixStream::from_std(stream).map(Self::new)
    }

    /// A deadline on this socket, not armed. It must be dropped before the stream.
    pub(crate) fn deadline(&self, wheel: &Rc<Wheel>) -> Deadline {
        Deadline::new(wheel, self.fd())
    }

    /// Two of them, under one roof.
    pub(crate) fn two_deadlines(&self, wheel: &Rc<Wheel>) -> (Deadline<0>, Deadline<1>) {
        let first = self.deadline(wheel);
        let second = first.second();
        (first, second)
    }

    /// The descriptor's number, for polling; it closes with the stream.
    pub(crate) fn fd(&self) -> RawFd {
        self.shared().as_raw_fd()
    }

    /// The address on our side of a TCP connection.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        self.sock_ref(|socket| socket.local_addr()).ok()?.as_socket()
    }

    /// Waits until there is something to read, or the end. Holds no buffer meanwhile; may be dropped at any time. Exact on
    /// epoll too (`relaxed` would let a stale readiness through, and the read after it would hold a buffer).
    pub(crate) fn readable(&self) -> impl Future<Output = io::Result<()>> {
        self.shared().readable(false)
    }

    /// Waits until there is room to write, or a connection that is being made is there or has failed. Has no side effect,
    /// so it may be dropped at any time.
    pub(super) fn writable(&self) -> impl Future<Output = io::Result<()>> {
        self.shared().writable(true)
    }

    /// Reads once into the room behind the buffer's filled bytes; 0 is the end of the stream. Dropping it loses what
    /// was read and the buffer: only where the connection closes anyway.
    pub(crate) async fn read(&self, buf: &mut Buf) -> io::Result<usize> {
        debug_assert!(buf.spare() > 0, "a read without room looks like the end of the stream");
        let lent = buf.lend();
        let (result, lent) = self.socket().read(lent).await;
        *buf = lent;
        result
    }

    /// The same, until `stop` is called meanwhile: then an error, unless the read was quicker. Loses nothing.
    pub(crate) async fn read_until(&self, buf: &mut Buf, stop: &Stop) -> io::Result<usize> {
        let lent = buf.lend();
        let (result, lent) = self.socket().cancelable_read(lent, stop.handle()).await;
        *buf = lent;
        result
    }

    /// Writes once from the front of the filled bytes and consumes what went. Dropping it, as with reads.
    pub(crate) async fn write(&self, buf: &mut Buf) -> io::Result<usize> {
        let lent = buf.lend();
        let (result, lent) = self.socket().write(lent).await;
        *buf = lent;
        match result? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            n => {
                buf.consume(n);
                Ok(n)
            }
        }
    }

    /// Whether some bytes can be written at once, or the connection has ended. One system call.
    pub(crate) fn has_room(&self) -> bool {
        let mut asked = libc::pollfd { fd: self.fd(), events: libc::POLLOUT, revents: 0 };
        // SAFETY: the descriptor is open (the stream owns it), and the pointer is to the one entry.
        unsafe { libc::poll(&raw mut asked, 1, 0) > 0 }
    }

    /// Ends one half or both at once; operations in flight complete.
    pub(crate) fn shutdown(&self, how: Shutdown) {
        // The peer may have ended the connection already.
        let _ = self.sock_ref(|socket| socket.shutdown(how));
    }

    /// Makes the coming close a reset, where a FIN would look like a complete end.
    pub(crate) fn reset_on_close(&self) {
        let _ = self.sock_ref(|socket| socket.set_linger(Some(Duration::ZERO)));
    }

    /// Looks, without waiting and without taking anything, whether an idle connection is as it should be: open, and
    /// silent. One system call.
    pub(crate) fn is_open_and_silent(&self) -> bool {
        let mut byte = 0_u8;
        // SAFETY: the descriptor is open (the stream owns it) and the pointer is to one writable byte.
        let n =
            unsafe { libc::recv(self.fd(), (&raw mut byte).cast(), 1, libc::MSG_PEEK | libc::MSG_DONTWAIT) };
        n < 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
    }

    fn sock_ref<T>(&self, f: impl FnOnce(&SockRef<'_>) -> T) -> T {
        // SAFETY: the stream owns the descriptor and outlives this borrow.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd()) };
        f(&SockRef::from(&fd))
    }
}
