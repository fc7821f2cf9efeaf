//! Where a request goes, or why nowhere.

use std::rc::Rc;

use ringway_config::{Fate, Forward, NoRoute, Route, RouteRequest, RuleId, SentPath, Snapshot, Unserved};
use ringway_wire::forward::{self, MaxForwards};
use ringway_wire::{Expect, FieldName, Framing, Method, RequestHead, UpgradeRequest};

use super::Exchange;
use super::access::{Entry, Unsure};
use super::here::Local;
use crate::error::Error;
use crate::files;
use crate::net::buf::Buf;
use crate::request_id::RequestId;
use crate::upstream::{GateHandle, Upstream};
use crate::view::View;

/// How often a request may have passed us already (by Via) before it counts as a loop.
const VIA_PASSES: usize = 10;

/// Where a request goes.
pub(super) enum Target {
    Backend(Forwarding),
    /// It is not known yet whether it may go anywhere.
    Unsure(Box<Unsure>),
    /// It is answered here.
    Here(Local),
    /// It is answered with a file.
    File(files::Sought),
}

/// What a rule makes of a request.
pub(super) struct Forwarding {
    /// Keeps the revision that `rule` belongs to; goes as soon as the request's head is written for the last time.
    pub(super) view: Option<Rc<View>>,
    pub(super) rule: RuleId,
    /// The gate of its site, and whether tunnels keep their places there.
    pub(super) site: Option<(GateHandle, bool)>,
    pub(super) upstream: Rc<Upstream>,
    pub(super) retries: u8,
    pub(super) path: SentPath,
    pub(super) tenant: Option<Vec<u8>>,
}

impl Forwarding {
    pub(super) fn rule(&self) -> Option<&Forward> {
        self.view.as_ref()?.published.snapshot.rule(self.rule)?.forward()
    }
}

impl Exchange<'_> {
    /// What is wrong with the request, else where it goes.
    pub(super) fn route(&mut self, view: Rc<View>, head: &RequestHead, input: &Buf) -> Result<Target, Error> {
        let bytes = input.filled();
        self.acceptable(head, bytes)?;
        if forward::max_forwards(head, bytes) == MaxForwards::AnswerHere {
            return Ok(Target::Here(Local::MaxForwards));
        }
        let path = head.path(bytes);
        let host = head.authority().map(|authority| authority.host.of(bytes));
        let request = RouteRequest {
            listener: &self.client.registration.listener().identity,
            host,
            path,
            method: head.method_bytes(bytes),
            websocket: self.asked.upgrades(),
        };
        let snapshot = &view.published.snapshot;
        let route = snapshot.route(&request, &mut view.scratch.borrow_mut());
        let route = route.map_err(|none| self.unrouted(none, snapshot))?;
        let rule = snapshot.rule(route.rule).ok_or(Error::NoRule)?;
        let site = route.site.and_then(|site| snapshot.site(site));
        if let Some(record) = &mut self.record {
            record.site = site.cloned();
            record.rule = Some(rule.clone());
        }
        let site = site.map(|site| &**site);
        if let Some(terms) = view.terms.special(snapshot, &route, site, rule) {
            self.special = Some(terms);
            self.identify();
        }
        match self.guard(&view, rule, head, bytes)? {
            Entry::Open => self.meet(view, route, head, input),
            Entry::Denied(answer) => Ok(Target::Here(answer)),
            Entry::Unsure(pending) => Ok(Target::Unsure(Box::new(Unsure { view, route, pending }))),
        }
    }

    /// What becomes of a request that `route` takes and that may come in.
    pub(super) fn meet(
        &mut self,
        view: Rc<View>,
        route: Route,
        head: &RequestHead,
        input: &Buf,
    ) -> Result<Target, Error> {
        let bytes = input.filled();
        let (path, query) = (head.path(bytes), head.query(bytes));
        let host = head.authority().map(|authority| authority.host.of(bytes));
        let snapshot = &view.published.snapshot;
        let rule = snapshot.rule(route.rule).ok_or(Error::NoRule)?;
        let site = route.site.and_then(|site| snapshot.site(site)).map(|site| &**site);
        self.check_length(head)?;
        let fate = rule.fate(site, path, query, &mut view.scratch.borrow_mut());
        match fate.map_err(unserved)? {
            Fate::Forwarded(forward, path) => {
                let upstream = view.upstreams.get(forward.upstream.index()).ok_or(Error::NoRule)?.clone();
                let tenant = route.tenant.and_then(|range| host?.get(range)).map(<[u8]>::to_vec);
                let gate = route.site.and_then(|site| view.gates.get(site.index())).cloned();
                let site = gate.zip(site.map(|site| site.admission.count_tunnels));
                let retries = rule.retries.unwrap_or(upstream.roster.config.retries);
                let rule = route.rule;
                Ok(Target::Backend(Forwarding {
                    rule,
                    site,
                    upstream,
                    retries,
                    path,
                    tenant,
                    view: Some(view),
                }))
            }
            Fate::Redirected { status, location } => Ok(Target::Here(Local::Redirect { status, location })),
            Fate::File(files, path) => {
                let asked = files::Asked { head, bytes };
                let sought = self.worker.files.seek(&files.folder, &path, asked, self.worker.now_ms())?;
                Ok(Target::File(sought))
            }
            Fate::Responded(fixed) => Ok(Target::Here(Local::Respond(fixed.clone()))),
        }
    }

    /// No rule took the request.
    fn unrouted(&mut self, none: NoRoute, snapshot: &Snapshot) -> Error {
        match none {
            NoRoute::NoSite => Error::NoSite,
            NoRoute::NoRule { site } => {
                if let Some(record) = &mut self.record {
                    record.site = site.and_then(|site| snapshot.site(site)).cloned();
                }
                Error::NoRule
            }
        }
    }

    /// Makes the request's id where site or rule send one and none is there.
    fn identify(&mut self) {
        if self.request_id.is_some() || !self.terms().needs_request_id() {
            return;
        }
        let id = self.request_id.insert(RequestId::new());
        if let Some(record) = &mut self.record {
            record.identify(id);
        }
    }

    /// A body that is announced to be longer than it may be.
    fn check_length(&self, head: &RequestHead) -> Result<(), Error> {
        let limit = self.terms().max_request_body_bytes;
        match head.framing() {
            Framing::Length(length) if limit > 0 && length > limit => Err(Error::BodyTooLarge),
            _ => Ok(()),
        }
    }

    /// What no rule could allow.
    fn acceptable(&self, head: &RequestHead, bytes: &[u8]) -> Result<(), Error> {
        if head.method() == Method::Trace && !self.settings.server.allow_trace {
            return Err(Error::Trace);
        }
        match head.upgrade() {
            UpgradeRequest::None | UpgradeRequest::WebSocket => {}
            UpgradeRequest::WebSocketVersion => return Err(Error::UpgradeVersion),
            UpgradeRequest::WebSocketBroken => return Err(Error::BadUpgrade),
        }
        if head.expect() == Expect::Unknown {
            return Err(Error::Expectation);
        }
        if head.has(FieldName::Via) && forward::via_count(&head.fields, bytes) > VIA_PASSES {
            return Err(Error::Loop);
        }
        Ok(())
    }
}

/// What a request meets that its rule takes and cannot serve.
fn unserved(why: Unserved<'_>) -> Error {
    match why {
        Unserved::Unset(_) => Error::UpstreamDns,
        Unserved::BadRewrite(_) => Error::BadRewrite,
    }
}
