//! What must hold under load and over time: random bodies, reloads under open connections, backends and clients that go
//! at any moment, and neighbours on one worker.
//!
//! Each of these has two sizes. `tests/run` runs the bounded one; the full one is
//! `RINGWAY_SOAK=1 cargo test --release --test it soak:: -- --test-threads=1`, which takes a while and needs a limit of
//! 20,000 open files (the soft limit is raised here as far as the hard one goes).

mod bodies;
mod cooling;
mod memory;
mod neighbours;
mod reloads;
mod vanishing;
