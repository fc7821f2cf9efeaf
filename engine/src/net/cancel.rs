//! Ending a read from outside it, by its socket, at no cost for the reads that nobody ends. monoio's own cancelling enters
//! each operation in a table beforehand, which costs several hundred instructions; the kernel (6.0 and later) can find the
//! operation by its descriptor. For that it must be told the ring, which monoio does not tell us: it is the one among the
//! process's rings that answers this thread.

use std::cell::OnceCell;
use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::path::Path;

use super::driver;

/// `IORING_REGISTER_SYNC_CANCEL` of io_uring_register(2).
const REGISTER_SYNC_CANCEL: libc::c_uint = 24;
/// `IORING_ASYNC_CANCEL_FD`: the operation is named by its descriptor.
const CANCEL_BY_FD: u32 = 1 << 1;
/// Stands for no operation at all: monoio numbers its own from 0, and uses the last few numbers for other things.
const NO_OPERATION: u64 = u64::MAX - 9;

/// `struct io_uring_sync_cancel_reg`.
#[repr(C)]
struct SyncCancel {
    user_data: u64,
    fd: i32,
    flags: u32,
    timeout_s: i64,
    timeout_ns: i64,
    opcode: u8,
    reserved: [u8; 7],
    reserved_too: [u64; 3],
}

thread_local! {
    static RING: OnceCell<Option<RawFd>> = const { OnceCell::new() };
}

/// Finds this worker's ring, for which it reads a folder: once, before connections come.
pub(crate) fn prepare() {
    ring();
}

/// Whether this worker can end reads by their socket. Not with epoll, nor with kernels before 6.1, whose rings do not know
/// their thread.
pub(crate) fn is_supported() -> bool {
    ring().is_some()
}

/// Ends the operation that is pending on the socket `fd`, if one is: it completes with an error, unless it was quicker. The
/// descriptor must be open.
pub(crate) fn end_pending(fd: RawFd) {
    if let Some(ring) = ring() {
        // An operation that is not pending any more needs no end.
        let _ = cancel(ring, NO_OPERATION, fd, CANCEL_BY_FD);
    }
}

fn ring() -> Option<RawFd> {
    let find = || {
        // The others answer every thread.
        let has_one_thread = driver::is_single_issuer();
        rings().into_iter().find(|ring| has_one_thread && is_ours(*ring))
    };
    RING.with(|ring| *ring.get_or_init(find))
}

/// The descriptors of this process that are rings.
fn rings() -> Vec<RawFd> {
    let Ok(descriptors) = fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let is_ring = |path: &Path| fs::read_link(path).is_ok_and(|to| to.as_os_str() == "anon_inode:[io_uring]");
    let descriptors = descriptors.flatten().filter(|entry| is_ring(&entry.path()));
    descriptors.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// A ring that was made for a single thread refuses all others; to its own it says that there is no such operation.
fn is_ours(ring: RawFd) -> bool {
    let answer = cancel(ring, NO_OPERATION, -1, 0);
    answer.is_err_and(|error| error.raw_os_error() == Some(libc::ENOENT))
}

fn cancel(ring: RawFd, user_data: u64, fd: RawFd, flags: u32) -> io::Result<()> {
    // Without a timeout the call would wait for an operation that is being done at this moment.
    let (timeout_s, timeout_ns) = (0, 0);
    let request = SyncCancel {
        user_data,
        fd,
        flags,
        timeout_s,
        timeout_ns,
        opcode: 0,
        reserved: [0; 7],
        reserved_too: [0; 3],
    };
    // SAFETY: the kernel reads one `io_uring_sync_cancel_reg`, whose layout this is, and keeps no pointer to it.
    let result = unsafe {
        libc::syscall(libc::SYS_io_uring_register, ring, REGISTER_SYNC_CANCEL, &raw const request, 1)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::buf::BufPool;
    use crate::net::driver::Driver;
    use crate::net::stream::Stream;
    use crate::net::task;
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;

    #[test]
    fn a_read_ends_and_loses_nothing() {
        if driver::choose(ringway_config::DriverChoice::IoUring)
            .is_ok_and(|(driver, _)| driver == Driver::IoUring)
        {
            driver::run(Driver::IoUring, end_and_read_on()).unwrap();
        }
    }

    async fn end_and_read_on() {
        let (here, there) = UnixStream::pair().unwrap();
        let stream = Rc::new(Stream::from_std_unix(here).unwrap());
        assert!(is_supported());
        let fd = stream.fd();
        task::spawn(
            async move {
                task::sleep(std::time::Duration::from_millis(20)).await;
                end_pending(fd);
            },
            || {},
        );
        let mut buf = BufPool::default().take();
        assert!(stream.read(&mut buf).await.is_err());
        io::Write::write_all(&mut &there, b"later").unwrap();
        // Nothing is pending: nothing ends.
        end_pending(fd);
        assert_eq!(stream.read(&mut buf).await.unwrap(), 5);
        assert_eq!(buf.filled(), b"later");
    }

    #[test]
    fn an_end_that_comes_too_early_can_come_again() {
        if driver::choose(ringway_config::DriverChoice::IoUring)
            .is_ok_and(|(driver, _)| driver == Driver::IoUring)
        {
            driver::run(Driver::IoUring, end_twice()).unwrap();
        }
    }

    async fn end_twice() {
        let (here, _there) = UnixStream::pair().unwrap();
        let stream = Stream::from_std_unix(here).unwrap();
        let mut buf = BufPool::default().take();
        let ends = async {
            // The read is queued, and the kernel has not got it.
            end_pending(stream.fd());
            task::sleep(std::time::Duration::from_millis(1)).await;
            end_pending(stream.fd());
        };
        assert!(task::both(stream.read(&mut buf), ends).await.0.is_err());
    }

    #[test]
    fn without_a_ring_nothing_is_supported() {
        let main = async { assert!(!is_supported()) };
        driver::run(Driver::Epoll, main).unwrap();
    }
}
