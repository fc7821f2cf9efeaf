//! Which kernel interface runs a worker's loop: io_uring with every flag that helps, plain io_uring, or epoll (several
//! distributions and container profiles refuse io_uring). The ladder is ours, because monoio's own check does not
//! cover the flags.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;

use io_uring::{IoUring, Probe, opcode};
use monoio::time::TimeDriver;
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use ringway_config::DriverChoice;

/// Submission queue entries of a worker's ring.
const RING_ENTRIES: u32 = 4096;
/// Enough to see whether a ring can be made.
const PROBE_ENTRIES: u32 = 8;

/// A kernel interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// io_uring with `SINGLE_ISSUER`, `DEFER_TASKRUN` and `COOP_TASKRUN`.
    IoUring,
    /// io_uring without flags (kernels before 6.1).
    PlainIoUring,
    /// epoll.
    Epoll,
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IoUring => "io_uring",
            Self::PlainIoUring => "io_uring without flags",
            Self::Epoll => "epoll",
        })
    }
}

/// Takes the first step of the ladder that works here, and says why it was not a higher one.
///
/// # Errors
/// The kernel's, when io_uring was asked for by name and cannot be had.
pub(crate) fn choose(choice: DriverChoice) -> io::Result<(Driver, String)> {
    if choice == DriverChoice::Epoll {
        return Ok((Driver::Epoll, "as configured".into()));
    }
    let refused = match try_ring(&ring_builder(Driver::IoUring)) {
        Ok(()) => return Ok((Driver::IoUring, "all flags".into())),
        Err(error) => error,
    };
    if try_ring(&ring_builder(Driver::PlainIoUring)).is_ok() {
        return Ok((Driver::PlainIoUring, format!("the kernel refuses the flags: {refused}")));
    }
    match choice {
        DriverChoice::IoUring => Err(refused),
        _ => Ok((Driver::Epoll, format!("io_uring cannot be had: {refused}"))),
    }
}

fn try_ring(builder: &io_uring::Builder) -> io::Result<()> {
    let ring = builder.build(PROBE_ENTRIES)?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let needed = [
        opcode::Accept::CODE,
        opcode::AsyncCancel::CODE,
        opcode::Close::CODE,
        opcode::PollAdd::CODE,
        opcode::Recv::CODE,
        opcode::Send::CODE,
    ];
    match needed.iter().all(|&code| probe.is_supported(code)) {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel's io_uring lacks operations")),
    }
}

fn ring_builder(driver: Driver) -> io_uring::Builder {
    let mut builder = IoUring::builder();
    if driver == Driver::IoUring {
        builder.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun();
    }
    builder
}

thread_local! {
    /// What runs this thread's loop, if it is a worker's.
    static RUNNING: Cell<Option<Driver>> = const { Cell::new(None) };
}

/// Whether sockets of this worker must be non-blocking: epoll needs it; to io_uring it means "do not wait".
pub(crate) fn needs_nonblocking() -> bool {
    RUNNING.get() == Some(Driver::Epoll)
}

/// Whether this worker's ring takes operations from its own thread alone.
pub(super) fn is_single_issuer() -> bool {
    RUNNING.get() == Some(Driver::IoUring)
}

/// Runs a worker's main future on this thread until it is done.
///
/// # Errors
/// The kernel's, when the ring or the epoll descriptor cannot be made.
pub(crate) fn run(driver: Driver, future: impl Future<Output = ()>) -> io::Result<()> {
    RUNNING.set(Some(driver));
    match driver {
        Driver::Epoll => RuntimeBuilder::<TimeDriver<LegacyDriver>>::new().build()?.block_on(future),
        ring => RuntimeBuilder::<TimeDriver<IoUringDriver>>::new()
            .with_entries(RING_ENTRIES)
            .uring_builder(ring_builder(ring))
            .build()?
            .block_on(future),
    }
    Ok(())
}
