//! What the tests are made of. Each piece blocks on std sockets and threads, so that a test reads in the order in which
//! things happen, and each wait has a deadline, so that no test hangs.
//!
//! `config` writes the file, `proxy` runs the real binary on it and `log` reads what it says. `client` speaks to it byte by
//! byte, `backend` is what it forwards to, and `message` reads heads and bodies for both, strictly.

pub mod backend;
pub mod backends;
pub mod client;
pub mod config;
pub mod crowd;
pub mod forgetful;
pub mod holding;
pub mod log;
pub mod message;
pub mod name_server;
pub mod output;
pub mod proxy;
pub mod restarting;
pub mod status;
pub mod unreachable;
pub mod websocket;

use socket2::{Domain, SockAddr, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// How long anything that must happen may take. Only a failing test waits that long.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds. Panics with `what` when the deadline has passed.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "did not happen within {DEADLINE:?}: {what}");
        pause(Duration::from_millis(5));
    }
}

/// Lets time pass, for clocks under test; what is waited for has `wait_until`.
pub fn pause(duration: Duration) {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's own thread, whose time is what the test is about"
    )]
    std::thread::sleep(duration);
}

/// The full sizes are wanted (`RINGWAY_SOAK=1`), not the bounded ones of `tests/run`.
pub fn soak() -> bool {
    std::env::var_os("RINGWAY_SOAK").is_some_and(|value| value == "1")
}

/// `full` when soaking, `bounded` otherwise.
pub fn size(bounded: usize, full: usize) -> usize {
    if soak() { full } else { bounded }
}

/// Makes a test for each driver out of each function named: `name::io_uring` and `name::epoll`.
macro_rules! on_both_drivers {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use crate::harness::config::Driver;

            #[test]
            fn io_uring() {
                super::$name(Driver::IoUring);
            }

            #[test]
            fn epoll() {
                super::$name(Driver::Epoll);
            }
        }
    )+};
}
pub(crate) use on_both_drivers;

/// An address of 127.0.0.1 for configurations that must name their port, and what keeps it from others: bound and not
/// listening. Several sockets that reuse addresses may be bound to one port, of which one may listen.
pub fn held_address() -> (SocketAddr, Socket) {
    let held = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    held.set_reuse_address(true).expect("an address that may be used again");
    held.bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).expect("a free port");
    let address = held.local_addr().expect("an address").as_socket().expect("a TCP address");
    (address, held)
}
