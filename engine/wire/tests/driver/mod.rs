//! Connections without sockets: pieces of bytes go through the crate as the engine would take them, and what would be passed
//! on is recorded. Shared by the case tests and the fuzz targets, which split the same bytes in many ways.

mod client;
mod invariants;
mod upstream;

pub(crate) use client::requests;
pub(crate) use upstream::response;

use ringway_casefile::{End, Message};
use ringway_wire::{BodyError, BodyErrorKind, HeadError, HeadErrorKind, Limits};

/// What came of the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What would be passed on.
    pub(crate) messages: Vec<Message>,
    /// What came after that.
    pub(crate) end: End,
    /// Whether a backend's connection could serve another request.
    pub(crate) backend_kept: bool,
}

impl Outcome {
    fn new() -> Self {
        Self { messages: Vec::new(), end: End::Clean, backend_kept: false }
    }

    /// Whether both are the same up to how much of a broken body was passed on, which depends on how the bytes were split.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let (mut one, mut other) = (self.clone(), other.clone());
        if matches!(one.end, End::Broken { .. }) {
            one.messages.last_mut().into_iter().for_each(|message| message.body.clear());
            other.messages.last_mut().into_iter().for_each(|message| message.body.clear());
        }
        one == other
    }

    fn last(&mut self) -> &mut Message {
        self.messages.last_mut().expect("a body comes after its head")
    }
}

/// Room enough for every head and its additions.
const HEAD_ROOM: usize = 128 * 1024;

fn limits() -> Limits {
    Limits::default()
}

/// The status that the engine answers a bad request head with.
fn status_of(kind: HeadErrorKind) -> u16 {
    match kind {
        HeadErrorKind::RequestLineTooLong => 414,
        HeadErrorKind::HeadTooLong | HeadErrorKind::TooManyFields => 431,
        HeadErrorKind::UnknownTransferCoding => 501,
        HeadErrorKind::VersionNotSupported => 505,
        HeadErrorKind::ConnectMethod => 405,
        _ => 400,
    }
}

fn refused(error: HeadError, status: u16) -> End {
    End::Refused { detail: error.kind.detail().to_owned(), status }
}

fn broken(error: BodyError, status: u16) -> End {
    let status = if error.kind == BodyErrorKind::Truncated { 0 } else { status };
    End::Broken { detail: error.kind.detail().to_owned(), status }
}
