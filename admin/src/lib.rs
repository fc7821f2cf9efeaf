//! Ringway's control plane: one thread that applies configurations to the engine and answers signals. It is never on the
//! path of a request, and the engine goes on serving whatever happens here.
//!
//! * `control` is the loop of that thread, from start to drain; `signals` is what it hears.
//! * `apply` makes a configuration run, as a whole or not at all, and alone publishes; `origin` is where its text comes
//!   from; `changes` says what a new one brings.
//! * `names` knows the addresses of backends that are written as host names.
//! * `service` tells the service manager what goes on.
#![forbid(unsafe_code)]

mod apply;
mod changes;
mod control;
mod names;
mod origin;
mod service;
mod signals;

pub use control::{Ending, serve};
pub use origin::{Origin, environment};
