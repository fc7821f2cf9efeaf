//! A request's way to its backend without a socket: the same route, terms and outgoing head as in `proxy`, for fuzz targets. It
//! neither waits, logs nor counts.

use std::net::IpAddr;

use ringway_config::{Fate, RouteRequest, Scratch, Snapshot};
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
        Self { settings, scratch, terms: KnownTerms::default(), snapshot }
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
        let site = route.site.and_then(|site| self.snapshot.site(site)).map(|site| &**site);
        let special = self.terms.special(&self.snapshot, &route, site, rule);
        let terms = special.as_deref().unwrap_or(&self.settings.plain);
        let (forward, path) = match rule.fate(site, request.path, head.query(bytes), &mut self.scratch) {
            Err(_) => return Rehearsed::Refused,
            Ok(Fate::Redirected { location, .. }) => return Rehearsed::Redirected(location),
            Ok(Fate::Responded(_) | Fate::File(..)) => return Rehearsed::Answered,
            Ok(Fate::Forwarded(forward, path)) => (forward, path),
        };
        let upstream = self.snapshot.upstream(forward.upstream);
        let Some(backend) = upstream.and_then(|upstream| upstream.backends.first()) else {
            return Rehearsed::Refused;
        };
        let request_id = request_id.or_else(|| terms.needs_request_id().then(RequestId::new));
        terms.request.take_out(&mut head.fields, bytes, true);
        let edits = RequestEdits {
            settings: &self.settings,
            terms,
            base_path: &forward.base_path,
            path: &path,
            authority: &backend.authority,
            change_origin: forward.change_origin,
            peer: Some(peer),
            peer_trusted,
            client: Some(peer),
            tenant: route.tenant.and_then(|range| host?.get(range)),
            request_id: request_id.as_deref(),
            drops_authorization: false,
            granted_fields: b"",
            upgrade,
        };
        let mut out = BufPool::default().take();
        outgoing::request(&mut out, head, bytes, &edits);
        Rehearsed::Forwarded { backend: backend.url.clone(), head: out.filled().to_vec() }
    }
}
