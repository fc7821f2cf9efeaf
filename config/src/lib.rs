//! Ringway's configuration: TOML text becomes all of its problems, each with its place, or an immutable
//! [`Snapshot`] that routes requests. This crate does no I/O, reads no clock, and panics on no input.
//!
//! * `schema` is the file as people write it, with every doc comment, default and range; `value` has the types TOML
//!   lacks; `shape` checks a file against the schema and reports every unknown key, wrong type and range at once.
//! * `compile` turns what was written into what runs (`snapshot`), or into [`Problems`].
//! * `router` finds site and rule; `list` is one rule list, and `table` the automaton that it is asked through, made from
//!   `pattern`'s path languages.
//! * `reference` writes the JSON schema and the reference page from the schema.
#![forbid(unsafe_code)]

mod address;
mod compile;
mod host;
mod list;
mod one_liner;
mod pattern;
mod problem;
mod reference;
mod router;
mod schema;
mod scratch;
mod shape;
mod snapshot;
mod table;
mod value;

pub use compile::{Compiled, Compiler};
pub use one_liner::one_liner;
pub use problem::{Problem, Problems, Severity, Source};
pub use reference::{json_schema, reference_markdown};
pub use scratch::Scratch;
pub use snapshot::{
    AccessLog, AccessLogDestination, AccessLogFormat, Backend, BackendAddress, DriverChoice,
    ForwardedSwitches, Limits, ListenAddress, Listener, NoRoute, Route, RouteRequest, Rule, RuleId, Server,
    Site, SiteId, Snapshot, Timeouts, TrustedProxies, Upstream, UpstreamId, Workers,
};
