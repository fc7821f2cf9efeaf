//! What may go wrong in an exchange, whose fault it is, and what the client is told. An error is small and `Copy`; only
//! `respond` makes a status from it.

use ringway_wire::{BodyErrorKind, HeadErrorKind};

/// Who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Client,
    Upstream,
    Ringway,
}

impl Fault {
    /// Its name in the access log.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Ringway => "ringway",
        }
    }
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// The request head breaks a rule.
    Head(HeadErrorKind),
    /// The request body breaks a rule.
    Body(BodyErrorKind),
    /// A WebSocket handshake that breaks the rules.
    BadUpgrade,
    /// A WebSocket handshake of another version.
    UpgradeVersion,
    /// TRACE, which is not allowed here.
    Trace,
    /// An expectation other than 100-continue.
    Expectation,
    /// The request body is over its limit.
    BodyTooLarge,
    /// The client took too long to send its request.
    RequestTimeout,
    /// The client went away before its response was complete.
    ClientGone,
    /// No site for this host.
    NoSite,
    /// No rule for this path, method and upgrade.
    NoRule,
    /// The rule's template makes no valid path, or no location, of this request.
    BadRewrite,
    /// Its credentials are missing or wrong.
    Unauthorized,
    /// Whether it may come in could not be found out.
    AuthUnavailable,
    /// It came too often.
    TooManyRequests,
    /// There is no such file.
    NotFound,
    /// The file may not be read.
    Forbidden,
    /// The system cannot read the file, or it became shorter while it was sent.
    FileUnreadable,
    /// Files are read alone.
    NotReadable,
    /// The file is not as the request says (RFC 9110 section 13.1).
    PreconditionFailed,
    /// The file has not that range.
    RangeNotSatisfiable,
    /// Too many files are being asked for.
    FilesBusy,
    /// The request came back to us.
    Loop,
    /// The backend refuses connections or cannot be reached.
    UpstreamRefused,
    /// The backend closed or reset before its response was complete.
    UpstreamClosed,
    /// The backend's response breaks a rule.
    UpstreamBadResponse,
    /// The backend's name has no address.
    UpstreamDns,
    /// The backend's addresses are all among those that egress refuses.
    UpstreamForbidden,
    /// The backend did not accept in time.
    UpstreamConnectTimeout,
    /// The backend did not answer, or stopped, for too long.
    UpstreamTimeout,
    /// We cannot open a connection: out of descriptors or memory.
    Exhausted,
    /// No backend of the upstream is available.
    NoBackend,
    /// As many requests wait as may wait.
    QueueFull,
    /// It waited too long for its turn.
    QueueTimeout,
}

impl Error {
    /// Whose fault it is.
    pub(crate) const fn fault(self) -> Fault {
        match self {
            Self::Head(_)
            | Self::Body(_)
            | Self::BadUpgrade
            | Self::UpgradeVersion
            | Self::Trace
            | Self::Expectation
            | Self::BodyTooLarge
            | Self::RequestTimeout
            | Self::ClientGone
            | Self::NoSite
            | Self::NoRule
            | Self::BadRewrite
            | Self::Unauthorized
            | Self::TooManyRequests
            | Self::NotFound
            | Self::NotReadable
            | Self::PreconditionFailed
            | Self::RangeNotSatisfiable => Fault::Client,
            Self::UpstreamRefused
            | Self::UpstreamClosed
            | Self::UpstreamBadResponse
            | Self::UpstreamDns
            | Self::UpstreamForbidden
            | Self::AuthUnavailable
            | Self::UpstreamConnectTimeout
            | Self::UpstreamTimeout
            | Self::NoBackend => Fault::Upstream,
            Self::Loop
            | Self::Exhausted
            | Self::QueueFull
            | Self::QueueTimeout
            | Self::Forbidden
            | Self::FileUnreadable
            | Self::FilesBusy => Fault::Ringway,
        }
    }

    /// What exactly, from a fixed list, where the code alone does not say.
    pub(crate) const fn detail(self) -> Option<&'static str> {
        match self {
            Self::Head(kind) => Some(kind.detail()),
            Self::Body(kind) => Some(kind.detail()),
            Self::BadUpgrade => Some("bad_websocket_handshake"),
            _ => None,
        }
    }
}
