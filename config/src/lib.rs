//! Ringway's configuration: TOML text becomes all of its problems, each with its place, or an immutable
//! [`Snapshot`] that routes requests. This crate does no I/O, reads no clock, and panics on no input.
//!
//! * `schema` is the file as people write it, with every doc comment, default and range; `value` has the types TOML
//!   lacks; `shape` checks a file against the schema and reports every unknown key, wrong type and range at once.
//! * `compile` turns what was written into what runs (`snapshot`), or into [`Problems`].
//! * `analysis` proves which rules never win, and what covers them.
//! * `router` finds site and rule; `list` is one rule list, and `table` the automaton that it is asked through, made from
//!   `pattern`'s path languages.
//! * `explain` tells why a request goes where it goes.
//! * `reference` writes the JSON schema and the reference page from the schema.
#![forbid(unsafe_code)]

mod address;
mod analysis;
mod compile;
mod egress;
mod explain;
mod host;
mod list;
mod one_liner;
mod password;
mod pattern;
mod problem;
mod public_routes;
mod reference;
mod rewrite;
mod router;
mod schema;
mod scratch;
mod shape;
mod snapshot;
mod table;
mod value;
mod variables;
mod veil;

pub use analysis::{Analysis, Example, ListTables, Overlap, PartTable, Standing};
pub use compile::{Checked, Compiled, Compiler};
pub use egress::{Egress, EgressPolicy, Forbidden};
pub use explain::{
    AccessMet, Author, BackendMet, CredentialsMet, EgressMet, Explanation, FieldChange, Forwarded, Group,
    Limit, List, ListOwner, ListenerMet, Outcome, ProviderMet, Publicity, Question, RateMet, Refusal,
    Request, Retries, RuleConsidered, SiteConsidered, SiteVerdict, Timeout, Unused, Verdict, Winner,
};
pub use one_liner::one_liner;
pub use password::{BadPassword, PASSWORD_BYTES_MAX, PasswordHash, SALT_BYTES};
pub use problem::{Problem, Problems, Severity, Source};
pub use public_routes::PublicRoutes;
pub use reference::{json_schema, reference_markdown};
pub use rewrite::BadRewrite;
pub use scratch::Scratch;
pub use snapshot::{
    AccessLog, AccessLogDestination, AccessLogFormat, Action, ActiveProbes, Admin, Admission, Auth, AuthId,
    Backend, BackendAddress, Basic, Bearer, Credentials, Dns, DriverChoice, Edits, Fate, FieldEdits,
    FieldSetting, FieldValue, Files, Forward, ForwardAuth, ForwardedSwitches, Health, Limits, ListenAddress,
    Listener, NoRoute, OnNoBackend, Owner, PathChange, Paths, Probe, Project, ProjectId, Provider, RateKey,
    RateLimit, Redirect, Resolver, Respond, RewriteTo, Route, RouteRequest, Rule, RuleId, SentPath, Server,
    Site, SiteId, Snapshot, StatusSet, Strategy, Timeouts, TrustedProxies, Unserved, Upstream, UpstreamId,
    UpstreamTimeouts, Workers,
};
pub use variables::Variables;
