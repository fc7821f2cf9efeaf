//! Ringway's control plane: one thread that applies configurations to the engine and answers signals. It is never on the
//! path of a request, and the engine goes on serving whatever happens here.
//!
//! * `control` is the loop of that thread, from start to drain; `signals` is what it hears.
//! * `apply` makes a configuration run, as a whole or not at all, and alone publishes; `origin` is where its text comes
//!   from; `changes` says what a new one brings.
//! * `names` knows the addresses of backends that are written as host names.
//! * `probes` asks ejected backends whether they are back, and all of them where they are to be watched; `news` logs what
//!   became of them.
//! * `api` is what the running program answers to who looks inside.
//! * `unix` connects to Unix sockets.
//! * `service` tells the service manager what goes on.
#![forbid(unsafe_code)]

pub mod api;
mod apply;
mod changes;
mod control;
mod names;
mod news;
mod origin;
mod probes;
mod refusals;
mod service;
mod signals;
mod unix;

pub use control::{Ending, serve};
pub use origin::{Origin, environment};
