//! Everything that touches the runtime or the kernel: the only part of the engine that names monoio's types or holds
//! `unsafe`. It moves bytes and watches deadlines; it knows no HTTP.
//!
//! * `buf`: pooled buffers that may be lent to the kernel; `spares`: what is kept for reuse, and how it gets less again;
//!   `memory`: giving back to the system.
//! * `stream`: one connected socket, TCP or Unix, behind one reader and writer; `dial` makes them towards backends.
//! * `listen`: binding (on the control thread) and accepting (on workers).
//! * `deadline`: the wheel that ends halves of connections which take too long.
//! * `cancel`: ending a read by its socket.
//! * `file`: files below a folder, opened and read.
//! * `patrol`: one poll for many sockets that nobody reads at the moment.
//! * `driver`: which kernel interface runs the loops, and the loop itself; `cpu`: how many there are, and where.
//! * `task`: spawning so that a panic ends one connection; giving way to the neighbours; waiting for two things.
#![expect(
    unsafe_code,
    reason = "buffers are lent to the kernel and descriptors shared with it; here and nowhere else"
)]

pub(crate) mod buf;
pub(crate) mod cancel;
pub(crate) mod cpu;
pub(crate) mod deadline;
pub(crate) mod dial;
pub(crate) mod driver;
pub(crate) mod file;
pub(crate) mod listen;
pub(crate) mod memory;
pub(crate) mod patrol;
pub(crate) mod spares;
pub(crate) mod stream;
pub(crate) mod task;
