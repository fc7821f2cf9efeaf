//! Whether a request may come in: how often its client came, and what its credentials say.

use std::rc::Rc;

use ringway_config::{Provider, Route, Rule};
use ringway_wire::{FieldName, RequestHead};

use super::route::Target;
use super::{Exchange, here::Local};
use crate::access::{self, Check, Denied, Granted, Pending, Request};
use crate::error::Error;
use crate::net::buf::Buf;
use crate::view::View;

/// A request of which it is not known yet whether it may come in.
pub(super) struct Unsure {
    pub(super) view: Rc<View>,
    pub(super) route: Route,
    pub(super) pending: Pending,
}

/// What its credentials say of a request.
pub(super) enum Entry {
    Open,
    /// It gets another answer.
    Denied(Local),
    /// It has to wait until that is known.
    Unsure(Pending),
}

impl Exchange<'_> {
    /// Whether the request may come in, where site or rule have anything to say about that: how often its client came first, so
    /// that guessing credentials is limited.
    #[inline]
    pub(super) fn guard(
        &mut self,
        view: &View,
        rule: &Rule,
        head: &RequestHead,
        bytes: &[u8],
    ) -> Result<Entry, Error> {
        let Some(terms) = &self.special else { return Ok(Entry::Open) };
        self.came_publicly = terms.opens;
        let is_guarded = terms.access.is_some();
        if !terms.rates.is_empty() {
            self.count(view, head, bytes)?;
        }
        if is_guarded { self.look_at_credentials(view, rule, head, bytes) } else { Ok(Entry::Open) }
    }

    /// Counts the request with the limits of site and rule.
    fn count(&mut self, view: &View, head: &RequestHead, bytes: &[u8]) -> Result<(), Error> {
        // Without counts there is no limit in this configuration, or in the one that is coming.
        let Some(counts) = &view.counts else { return Ok(()) };
        let now_ns = self.worker.shared.ns_at(self.began);
        let taken = counts.take(&self.terms().rates, self.client_address, head, bytes, now_ns);
        taken.map_err(|refused| {
            self.particulars = refused.fields;
            Error::TooManyRequests
        })
    }

    /// Looks at the request's credentials, for which its rule asks.
    fn look_at_credentials(
        &mut self,
        view: &View,
        rule: &Rule,
        head: &RequestHead,
        bytes: &[u8],
    ) -> Result<Entry, Error> {
        // The terms are shared: what is learnt of this request stands in the exchange.
        let Some(terms) = self.special.clone() else { return Ok(Entry::Open) };
        let Some(access) = &terms.access else { return Ok(Entry::Open) };
        let own_scheme = access.own_scheme();
        self.drops_authorization = own_scheme.is_some_and(|scheme| brings_scheme(head, bytes, scheme));
        if rule.public_routes.is_public(head.method_bytes(bytes), head.path(bytes)) {
            self.came_publicly = true;
            return Ok(Entry::Open);
        }
        let endpoint = match &*access.provider {
            Provider::Forward(forward) => view.upstreams.get(forward.upstream.index()),
            Provider::Basic(_) | Provider::Bearer(_) => None,
        };
        let request = Request {
            head,
            bytes,
            client: self.client_address,
            peer_trusted: self.peer_trusted,
            copied_fields: &access.copied_fields,
            limits: &self.settings.limits.wire,
        };
        match access::check(self.worker, &view.verdicts, &access.provider, endpoint, &request) {
            Check::Known(verdict) => self.settle(verdict),
            Check::Pending(pending) => Ok(Entry::Unsure(pending)),
        }
    }

    /// Waits until it is known whether the request may come in; then where it goes.
    #[cold]
    pub(super) async fn find_out(
        &mut self,
        unsure: Unsure,
        head: &RequestHead,
        input: &Buf,
    ) -> Result<Target, Error> {
        let Unsure { view, route, pending } = unsure;
        let look = self.asked.client_look();
        let verdict = pending.verdict(self.worker, self.client, look).await;
        match self.settle(verdict)? {
            Entry::Denied(answer) => Ok(Target::Here(answer)),
            Entry::Open => self.meet(view, route, head, input),
            // Nobody waits twice.
            Entry::Unsure(_) => Err(Error::AuthUnavailable),
        }
    }

    /// Takes up what credentials came to.
    fn settle(&mut self, verdict: Result<Granted, Denied>) -> Result<Entry, Error> {
        match verdict {
            Ok(Granted { user, fields }) => {
                if let Some(record) = &mut self.record {
                    record.user = user;
                }
                self.granted_fields = fields;
                Ok(Entry::Open)
            }
            Err(Denied::Unauthorized { challenge }) => {
                self.particulars = challenge;
                Err(Error::Unauthorized)
            }
            Err(Denied::Answered(refusal)) => Ok(Entry::Denied(Local::Refusal(refusal))),
            Err(Denied::Failed(error)) => Err(error),
        }
    }
}

/// Whether one of the request's Authorization fields is of `scheme`, whose case does not matter (RFC 9110 section 11.1).
fn brings_scheme(head: &RequestHead, bytes: &[u8], scheme: &[u8]) -> bool {
    if !head.has(FieldName::Authorization) {
        return false;
    }
    let mut fields = head.fields.iter().filter(|field| field.name == FieldName::Authorization);
    fields.any(|field| {
        let value = field.value.of(bytes);
        let end = value.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(value.len());
        value.get(..end).is_some_and(|written| written.eq_ignore_ascii_case(scheme))
    })
}
