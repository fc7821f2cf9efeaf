//! Connecting to a Unix socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::sleep;

/// How often it is tried whether a socket to which too many connect has room.
const ROOM_CHECK: Duration = Duration::from_millis(50);

/// Connects, as soon as there is room among those who wait to be accepted: until then the system refuses to wait. Ends by
/// itself only when there is an answer; the caller sets a bound.
///
/// # Errors
/// As connect(2) has them, without `EAGAIN`.
pub(crate) async fn connect(socket: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(socket).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(ROOM_CHECK).await,
            connected => return connected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, SockAddr, Socket, Type};

    #[test]
    fn a_socket_to_which_too_many_connect_is_waited_for() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        socket.listen(0).unwrap();
        let _before = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let refused = runtime.block_on(UnixStream::connect(&path)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        let accepted = async {
            _ = socket.accept().unwrap();
        };
        let (connected, ()) = runtime.block_on(async { tokio::join!(connect(&path), accepted) });
        connected.unwrap();
    }
}
