//! Ringway's data plane: one event loop on each core, which accepts connections, routes requests by the published
//! configuration, and moves bytes to and from backends. It never waits for a disk or a name server on the way of a
//! request, and takes no lock there that another core could hold.
//!
//! The way of a request: `listener` accepts, `conn` reads a head, `proxy` decides, `relay` moves the bytes (or `tunnel`, after
//! a 101), `respond` makes the answers that are our own. `net` is all that touches the kernel.
//!
//! [`Engine`] is the control thread's handle; [`Engine::publish`] is the only way in for configuration.

mod access;
mod access_log;
mod body;
mod clients;
mod conn;
mod engine;
mod error;
mod files;
mod hot;
mod listener;
mod net;
mod outgoing;
mod proxy;
mod rate;
#[doc(hidden)]
pub mod rehearsal;
mod relay;
mod request_id;
mod respond;
mod stats;
mod status;
mod terms;
mod threads;
mod tunnel;
mod upstream;
mod view;
mod worker;

pub use engine::{Engine, StartError};
pub use net::dial::{Address, is_exhaustion};
pub use stats::Stats;
pub use status::{BackendStatus, GateStatus, Observer, SiteStatus, Status, UpstreamStatus};
pub use upstream::{BackendHandle, Bound, Cause, Change, Event, Failed, History, Probed, Standing, Tally};
pub use view::Names;
