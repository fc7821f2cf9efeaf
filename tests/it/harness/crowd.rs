//! Many clients at once.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::thread::{Builder, scope};

/// Runs `client` for each number below `count`, all at once, each on a thread of its own; gives what they return, in the
/// order of their numbers. Panics when one of them does.
pub fn crowd<T: Send>(count: usize, client: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let client = &client;
    // A small stack: there may be a thousand.
    let thread = || Builder::new().stack_size(256 * 1024);
    scope(|scope| {
        let one = |number| thread().spawn_scoped(scope, move || client(number)).expect("a thread");
        let clients: Vec<_> = (0..count).map(one).collect();
        clients.into_iter().map(|client| client.join().expect("a client of the crowd")).collect()
    })
}

/// Raises the soft limit of open files to the hard one, for this process and for those that it starts from now on.
pub fn raise_file_limit() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the hard limit may be reached");
}
