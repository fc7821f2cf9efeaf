//! HTTP/1 on the wire (RFC 9110, RFC 9112): bytes in, spans and decisions out. This crate reads heads and bodies, decides
//! framing, checks targets and authorities, and writes heads into a caller's buffer. It never does I/O, reads no clock,
//! knows no runtime and no configuration, keeps no borrow of a buffer, and panics on no input.
//!
//! * [`RequestHead`] and [`ResponseHead`] read heads (`parse` over `lines`, `fields`, `target` and `connection`, with
//!   `scan` below; `field_line` where they come in pieces or break a rule); their
//!   `framing` decides a body's length once and for both directions.
//! * [`BodyReader`] takes bodies apart in place (`chunk`, `trailers`).
//! * [`encode`] writes heads and chunks; [`forward`] knows which fields change on the way; [`websocket`] checks handshakes.
//! * [`target`] has what a configuration needs too: paths, authorities, hosts.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod authority;
mod body;
mod chars;
mod chunk;
mod connection;
pub mod encode;
mod error;
mod field_line;
mod fields;
pub mod forward;
mod framing;
mod head;
mod limits;
mod lines;
mod name;
mod parse;
mod scan;
mod span;
pub mod target;
mod trailers;
pub mod websocket;

pub use authority::Authority;
pub use body::{BodyPart, BodyReader};
pub use encode::Sink;
pub use error::{BodyError, BodyErrorKind, HeadError, HeadErrorKind};
pub use framing::Framing;
pub use head::{Expect, Field, Method, Progress, RequestHead, ResponseHead, Version};
pub use limits::{Limits, MAX_FIELDS};
pub use name::{FieldName, FieldSet, is_underscored_twin};
pub use span::Span;
pub use target::{TargetForm, canonical_host, check_path, normalise_path, parse_authority};
pub use trailers::forwardable_trailers;
pub use websocket::UpgradeRequest;
