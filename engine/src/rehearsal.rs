//! A request's way to its backend without a socket: the same route, terms and outgoing head as in `proxy`, for fuzz targets. It
//! neither waits, logs nor counts.

use std::net::IpAddr;

use ringway_config::{Action, RouteRequest, Scratch, Snapshot};
use ringway_wire::{RequestHead, UpgradeRequest};

use crate::net::buf::BufPool;
use crate::outgoing::{self, RequestEdits};
use crate::request_id::{self, RequestId};
use crate::terms::KnownTerms;
use crate::view::Settings;

/// What would become of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rehearsed {
    /// No rule takes it, or its rule makes no path or location of it.
    Refused,
    /// It is answered with a redirect to this location.
    Redirected(Vec<u8>),
    /// It is answered with a fixed response.
    Answered,
    /// This head goes to the backend of this URL.
    Forwarded {
        /// The backend's URL.
        backend: String,
        /// The head.
        head: Vec<u8>,
    },
}

/// A configuration to rehearse requests with.
pub struct Rehearsal {
    snapshot: Snapshot,
    settings: Settings,
    scratch: Scratch,
    terms: KnownTerms,
}

impl Rehearsal {
    /// For requests that come to the first listener of `snapshot`.
    pub fn new(snapshot: Snapshot) -> Self {
        let (settings, scratch) = (Settings::of(&snapshot), snapshot.scratch());
        Self { settings, scratch, terms: KnownTerms::new(&snapshot), snapshot }
    }

    /// What would become of the request whose `head` was read from `bytes`, from a peer that is trusted or not.
    pub fn run(
        &mut self,
        head: &mut RequestHead,
        bytes: &[u8],
        peer: IpAddr,
        peer_trusted: bool,
    ) -> Rehearsed {
        let upgrade = head.upgrade() == UpgradeRequest::WebSocket;
        let name = self.settings.server.request_id.as_deref();
        let request_id = name.map(|name| request_id::take(head, bytes, name, peer_trusted));
        let host = head.authority().map(|authority| authority.host.of(bytes));
        let request = RouteRequest {
            listener: self.snapshot.listeners.first().map_or("", |listener| &listener.identity),
            host,
            path: head.path(bytes),
            method: head.method_bytes(bytes),
            websocket: upgrade,
        };
        let Ok(route) = self.snapshot.route(&request, &mut self.scratch) else { return Rehearsed::Refused };
        let Some(rule) = self.snapshot.rule(route.rule) else { return Rehearsed::Refused };
        let special = self.terms.special(&self.snapshot, &route, rule);
        let terms = special.unwrap_or_else(|| self.terms.plain());
        let forward = match &rule.action {
            Action::Forward(forward) => forward,
            Action::Redirect(redirect) => {
                let location = redirect.location(request.path, head.query(bytes), &mut self.scratch);
                return location.map_or(Rehearsed::Refused, Rehearsed::Redirected);
            }
            Action::Respond(_) => return Rehearsed::Answered,
            Action::Unset(_) => return Rehearsed::Refused,
        };
        let Ok(path) = forward.path.sent(request.path, &mut self.scratch) else { return Rehearsed::Refused };
        let upstream = self.snapshot.upstream(forward.upstream);
        let Some(backend) = upstream.and_then(|upstream| upstream.backends.first()) else {
            return Rehearsed::Refused;
        };
        let request_id = request_id.or_else(|| terms.needs_request_id().then(RequestId::new));
        terms.request.take_out(&mut head.fields, bytes, true);
        let edits = RequestEdits {
            settings: &self.settings,
            terms: &terms,
            base_path: &forward.base_path,
            path: &path,
            authority: &backend.authority,
            change_origin: forward.change_origin,
            peer: Some(peer),
            peer_trusted,
            client: Some(peer),
            tenant: route.tenant.and_then(|range| host?.get(range)),
            request_id: request_id.as_deref(),
            upgrade,
        };
        let mut out = BufPool::default().take();
        outgoing::request(&mut out, head, bytes, &edits);
        Rehearsed::Forwarded { backend: backend.url.clone(), head: out.filled().to_vec() }
    }
}
