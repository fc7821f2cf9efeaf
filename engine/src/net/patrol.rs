//! One `poll(2)` for many sockets that nobody reads at the moment, once a tick: clients that wait for their response, and
//! idle backend connections. It costs one system call a tick, where an operation for each of them would cost one a
//! request.

use std::os::fd::RawFd;

/// Room that a table keeps in any case, in rows.
const SPARE_ROWS: usize = 64;

/// Sockets to look at and what was seen.
#[derive(Default)]
pub(crate) struct Patrol {
    fds: Vec<libc::pollfd>,
    looks: Vec<(usize, Look)>,
}

/// What to look for on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// The peer will send no more, or is gone.
    PeerClosed,
    /// The peer is gone; that it will send no more is fine.
    PeerGone,
    /// The peer has reset the connection. An end of both halves is fine: bytes may still be on their way out of our buffers.
    PeerReset,
    /// Anything at all: bytes, an end, an error.
    Anything,
}

impl Look {
    fn events(self) -> libc::c_short {
        match self {
            Self::PeerClosed => libc::POLLRDHUP,
            // Errors and hang-ups are always reported.
            Self::PeerGone | Self::PeerReset => 0,
            Self::Anything => libc::POLLIN | libc::POLLRDHUP,
        }
    }

    fn sees(self, events: libc::c_short) -> bool {
        match self {
            Self::PeerReset => events & libc::POLLERR != 0,
            _ => events != 0,
        }
    }
}

impl Patrol {
    /// Adds a socket; `key` is what [`run`](Self::run) calls it.
    pub(crate) fn add(&mut self, key: usize, fd: RawFd, look: Look) {
        self.fds.push(libc::pollfd { fd, events: look.events(), revents: 0 });
        self.looks.push((key, look));
    }

    /// Looks at all sockets that were added, without waiting, calls `seen` for those where it is so, and forgets them
    /// all.
    pub(crate) fn run(&mut self, mut seen: impl FnMut(usize)) {
        if !self.fds.is_empty() && self.poll() > 0 {
            let hits = self.fds.iter().zip(&self.looks).filter(|(fd, (_, look))| look.sees(fd.revents));
            hits.for_each(|(_, &(key, _))| seen(key));
        }
        trim(&mut self.fds);
        trim(&mut self.looks);
        self.fds.clear();
        self.looks.clear();
    }

    fn poll(&mut self) -> i32 {
        // SAFETY: the pointer and the length describe the vector's initialised elements.
        unsafe { libc::poll(self.fds.as_mut_ptr(), self.fds.len() as libc::nfds_t, 0) }
    }
}

/// Gives back the room that a peak has left in a table, once less than a quarter of it is used.
pub(crate) fn trim<T>(table: &mut Vec<T>) {
    if table.capacity() > SPARE_ROWS && table.len() < table.capacity() / 4 {
        table.shrink_to(SPARE_ROWS.max(table.len() * 2));
    }
}

/// Cuts a connection both ways; whoever reads or writes it wakes up. The descriptor must be open: callers name one that
/// a connection of this worker owns at this moment.
pub(crate) fn cut(fd: RawFd) {
    shutdown(fd, libc::SHUT_RDWR);
}

/// Ends reading from a connection: whoever waits for it gets what came already, then the end. As for [`cut`], the
/// descriptor must be open.
pub(crate) fn end_reading(fd: RawFd) {
    shutdown(fd, libc::SHUT_RD);
}

fn shutdown(fd: RawFd, how: libc::c_int) {
    // SAFETY: a plain system call; on a closed or reused number it would hit a stranger, which callers rule out. That
    // the peer has ended the connection already is fine.
    let _ = unsafe { libc::shutdown(fd, how) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    fn seen(fd: RawFd, look: Look) -> bool {
        let mut patrol = Patrol::default();
        let mut hit = false;
        patrol.add(7, fd, look);
        patrol.run(|key| hit = key == 7);
        hit
    }

    #[test]
    fn each_look_sees_what_it_says() {
        let (here, mut there) = UnixStream::pair().unwrap();
        assert!(!seen(here.as_raw_fd(), Look::Anything));
        there.write_all(b"x").unwrap();
        assert!(seen(here.as_raw_fd(), Look::Anything));
        assert!(!seen(here.as_raw_fd(), Look::PeerClosed));
        there.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(seen(here.as_raw_fd(), Look::PeerClosed));
        assert!(!seen(here.as_raw_fd(), Look::PeerGone));
        drop(there);
        assert!(seen(here.as_raw_fd(), Look::PeerGone));
        assert!(!seen(here.as_raw_fd(), Look::PeerReset));
    }
}
