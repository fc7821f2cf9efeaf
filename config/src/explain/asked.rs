//! The request that a question is about, read by the reader that reads those of clients: what Ringway refuses there is
//! refused here, and the path is normalised in the same way.

use std::fmt;
use std::sync::Arc;

use ringway_wire::{HeadErrorKind, Method, Progress, RequestHead, UpgradeRequest};

use super::Question;
use crate::snapshot::{ListenAddress, Listener, RouteRequest, Snapshot};

/// The schemes of a URL, and whether each asks for a WebSocket.
const SCHEMES: [(&str, bool); 4] =
    [("http://", false), ("https://", false), ("ws://", true), ("wss://", true)];

/// What a handshake has besides (RFC 6455 section 4.1); any key will do.
const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

/// Why a question's request meets no site and no rule, whatever the configuration says of those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The URL begins with no scheme that it could have.
    Scheme,
    /// Ringway refuses such a request as soon as it has read it.
    Request(HeadErrorKind),
    /// A WebSocket is asked for with another method than GET.
    Handshake,
    /// TRACE, and the configuration does not let it through.
    Trace,
    /// No listener has the name that the question gives.
    ListenerName {
        /// That name.
        name: String,
        /// The listeners that there are: their names and addresses.
        known: Vec<String>,
    },
    /// No listener has the port that the URL gives.
    ListenerPort {
        /// That port.
        port: u16,
        /// The listeners that there are: their names and addresses.
        known: Vec<String>,
    },
}

impl Refusal {
    /// Whether it is the method, not the URL, that is refused.
    pub(crate) fn is_of_method(&self) -> bool {
        use HeadErrorKind::{BadMethod, ConnectMethod};
        matches!(self, Self::Request(BadMethod | ConnectMethod) | Self::Handshake | Self::Trace)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => out.write_str("a URL begins with http://, https://, ws:// or wss://"),
            Self::Request(HeadErrorKind::ConnectMethod) => {
                out.write_str("Ringway refuses CONNECT with status 405: connect_method")
            }
            Self::Request(kind) => {
                write!(out, "Ringway refuses this request before it looks for a site: {kind}")
            }
            Self::Handshake => out.write_str("a WebSocket handshake is a GET: bad_websocket_handshake"),
            Self::Trace => {
                out.write_str("Ringway refuses TRACE with status 405, unless server.allow_trace is set")
            }
            Self::ListenerName { name, known } => {
                write!(out, "there is no listener {name:?}; there are: {}", known.join(", "))
            }
            Self::ListenerPort { port, known } => {
                write!(out, "no listener has the port {port}; there are: {}", known.join(", "))
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// A request that was read, and where it came in.
#[derive(Debug)]
pub(crate) struct Asked {
    bytes: Vec<u8>,
    head: RequestHead,
    /// Its path before it was normalised; empty when there was none.
    pub(crate) path_sent: String,
    pub(crate) listener: Arc<Listener>,
}

impl Asked {
    /// Reads the request of `question`, which comes to a listener of `snapshot`.
    ///
    /// # Errors
    /// [`Refusal`] when it would not come as far as to a site, or no listener is the one that is meant.
    pub(crate) fn read(question: &Question<'_>, snapshot: &Snapshot) -> Result<Self, Refusal> {
        let (rest, upgrades) = without_scheme(question.url).ok_or(Refusal::Scheme)?;
        check_bytes(question.method, rest)?;
        let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let handshake = if upgrades || question.websocket { HANDSHAKE } else { "" };
        let text =
            format!("{} http://{rest} HTTP/1.1\r\nHost: {authority}\r\n{handshake}\r\n", question.method);
        let (mut bytes, mut head) = (text.into_bytes(), RequestHead::new());
        match head.read(&mut bytes, &snapshot.limits.wire) {
            Ok(Progress::Done(_)) => {}
            Ok(Progress::Partial) => return Err(Refusal::Request(HeadErrorKind::BadRequestLine)),
            Err(error) => return Err(Refusal::Request(error.kind)),
        }
        if head.method() == Method::Trace && !snapshot.server.allow_trace {
            return Err(Refusal::Trace);
        }
        if !handshake.is_empty() && head.upgrade() != UpgradeRequest::WebSocket {
            return Err(Refusal::Handshake);
        }
        let port = head.authority().and_then(|authority| authority.port);
        let listener = listener(question.listener, port, snapshot)?;
        let path_sent = behind.split('?').next().unwrap_or_default().to_owned();
        Ok(Self { bytes, head, path_sent, listener })
    }

    /// The request as routing sees it.
    pub(crate) fn route_request(&self) -> RouteRequest<'_> {
        RouteRequest {
            listener: &self.listener.identity,
            host: self.head.authority().map(|authority| authority.host.of(&self.bytes)),
            path: self.head.path(&self.bytes),
            method: self.head.method_bytes(&self.bytes),
            websocket: self.head.upgrade() == UpgradeRequest::WebSocket,
        }
    }

    /// Its query without the `?`.
    pub(crate) fn query(&self) -> Option<&[u8]> {
        self.head.query(&self.bytes)
    }

    /// Its host and port, as they came.
    pub(crate) fn authority(&self) -> &[u8] {
        self.head.authority().map_or(&[], |authority| authority.whole.of(&self.bytes))
    }
}

/// What stands behind a URL's scheme, and whether that asks for a WebSocket. Schemes have no case (RFC 3986 section 3.1).
fn without_scheme(url: &str) -> Option<(&str, bool)> {
    SCHEMES.iter().find_map(|(scheme, upgrades)| {
        let (start, rest) = url.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some((rest, *upgrades))
    })
}

/// Nothing that could end the request line early gets into it.
fn check_bytes(method: &str, url: &str) -> Result<(), Refusal> {
    let kind = match url.bytes().find(|byte| !byte.is_ascii_graphic()) {
        _ if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_graphic()) => {
            HeadErrorKind::BadMethod
        }
        Some(byte) if byte.is_ascii_control() => HeadErrorKind::ControlByte,
        Some(_) => HeadErrorKind::BadTargetByte,
        None => return Ok(()),
    };
    Err(Refusal::Request(kind))
}

/// The listener of that name; else the first with that port; without either, the first.
fn listener(name: Option<&str>, port: Option<u16>, snapshot: &Snapshot) -> Result<Arc<Listener>, Refusal> {
    let known = || snapshot.listeners.iter().map(|listener| shown(listener)).collect();
    let is_meant = |listener: &&Arc<Listener>| match (name, port) {
        (Some(name), _) => listener.name == name || listener.identity == name,
        (None, Some(port)) => port_of(listener) == Some(port),
        (None, None) => true,
    };
    snapshot.listeners.iter().find(is_meant).cloned().ok_or_else(|| match (name, port) {
        (None, Some(port)) => Refusal::ListenerPort { port, known: known() },
        _ => Refusal::ListenerName { name: name.unwrap_or_default().to_owned(), known: known() },
    })
}

fn port_of(listener: &Listener) -> Option<u16> {
    match &listener.address {
        ListenAddress::Tcp(address) => Some(address.port()),
        ListenAddress::Unix(_) => None,
    }
}

fn shown(listener: &Listener) -> String {
    if listener.name == listener.identity {
        return listener.name.clone();
    }
    format!("{} ({})", listener.name, listener.identity)
}
