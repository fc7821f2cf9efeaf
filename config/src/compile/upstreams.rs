//! The `[[upstreams]]`, those of sites, and those that rules' targets imply: one of one backend for each distinct origin.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Context, Names, admission, bad_name, egress, health};
use crate::address;
use crate::egress::Egress;
use crate::problem::{Finding, Pointer};
use crate::schema;
use crate::snapshot::{Backend, Strategy, Upstream, UpstreamId, UpstreamTimeouts};

/// The upstreams while rules are being read.
#[derive(Default)]
pub(super) struct Upstreams {
    /// The named ones in file order, then the implied ones.
    pub(super) list: Vec<Upstream>,
    /// How many are named; the rest are implied.
    named: usize,
    by_name: HashMap<String, UpstreamId>,
    used: Vec<bool>,
    /// Where they may point.
    egress: Arc<Egress>,
}

impl Upstreams {
    pub(super) fn of(written: &[schema::Upstream], egress: Arc<Egress>, context: &mut Context<'_>) -> Self {
        let (mut read, mut names) = (Self { egress, ..Self::default() }, Names::default());
        for (index, upstream) in written.iter().enumerate() {
            let at = Pointer::default().key("upstreams").index(index);
            names.check(&upstream.name, index, "upstream", at.key("name"), &mut context.findings);
            if upstream.name.contains('/') {
                context.findings.push(Finding::error(at.key("name"), "an upstream's name has no `/`"));
            }
            read.add_written(upstream.name.clone(), upstream, &at, context);
        }
        read.named = read.list.len();
        read
    }

    fn add(&mut self, upstream: Upstream) -> UpstreamId {
        let id = UpstreamId(self.list.len() as u32);
        self.by_name.entry(upstream.name.clone()).or_insert(id);
        self.list.push(upstream);
        self.used.push(false);
        id
    }

    fn add_written(
        &mut self,
        name: String,
        written: &schema::Upstream,
        at: &Pointer,
        context: &mut Context<'_>,
    ) -> UpstreamId {
        let backends = self.backends(&written.backends, &at.key("backends"), context);
        health::check(&written.health, &at.key("health"), &mut context.findings);
        admission::check_upstream(written, at, &mut context.findings);
        self.add(upstream(name, written, backends, &self.egress))
    }

    /// The upstream of the server of a target that stands at `at`: its own if it is new, else the one of equal targets.
    pub(super) fn implied(
        &mut self,
        backend: Backend,
        at: &Pointer,
        findings: &mut Vec<Finding>,
    ) -> UpstreamId {
        egress::check(&self.egress, &backend, at, findings);
        if let Some(id) = self.by_name.get(&backend.url) {
            return *id;
        }
        self.add(upstream(backend.url.clone(), &schema::Upstream::default(), vec![backend], &self.egress))
    }

    /// The upstream that only one site has; no named one can have its name.
    pub(super) fn of_site(
        &mut self,
        written: &schema::Upstream,
        site: &str,
        at: &Pointer,
        context: &mut Context<'_>,
    ) -> UpstreamId {
        self.add_written(format!("site/{site}"), written, at, context)
    }

    fn backends(&self, written: &[schema::Backend], at: &Pointer, context: &mut Context<'_>) -> Vec<Backend> {
        if written.is_empty() {
            context.findings.push(Finding::error(at.clone(), "an upstream has at least one backend"));
        } else if written.iter().all(|backend| backend.backup) {
            let message = "every backend is a backup: there is none that they stand in for";
            let finding = Finding::error(at.clone(), message);
            context.findings.push(finding.help("leave `backup` out where requests go at first"));
        }
        let mut read: Vec<Backend> = Vec::with_capacity(written.len());
        let mut seen = HashMap::new();
        for (index, written) in written.iter().enumerate() {
            let at = at.index(index).key("url");
            let Some(backend) = backend(&written.url, &at, context) else { continue };
            if let Some(first) = seen.insert(backend.url.clone(), index) {
                let message = format!("this is backend number {} of this upstream already", first + 1);
                context.findings.push(Finding::error(at.clone(), message));
            }
            egress::check(&self.egress, &backend, &at, &mut context.findings);
            read.push(Backend { weight: written.weight, backup: written.backup, ..backend });
        }
        read
    }

    /// The upstream that a rule calls `name`, and notes that it is used.
    pub(super) fn named(&mut self, name: &str) -> Option<UpstreamId> {
        let id = self.by_name.get(name).copied().filter(|id| id.index() < self.named)?;
        if let Some(used) = self.used.get_mut(id.index()) {
            *used = true;
        }
        Some(id)
    }

    /// The names that a rule could mean.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().take(self.named).map(|upstream| &*upstream.name)
    }

    /// Whether an upstream leaves all timeouts to its users.
    pub(super) fn is_plain(&self, id: UpstreamId) -> bool {
        let own = self.list.get(id.index()).map(|upstream| upstream.timeouts);
        own.is_none_or(|own| own == UpstreamTimeouts::default())
    }

    /// Whether every upstream has a readable name, so that one which is not among them is really unknown.
    pub(super) fn complete(&self) -> bool {
        self.names().all(|name| bad_name(name).is_none())
    }

    pub(super) fn warn_of_unused(&self, findings: &mut Vec<Finding>) {
        let named = self.list.iter().zip(&self.used).take(self.named).enumerate();
        for (index, (upstream, _)) in named.filter(|(_, (_, used))| !**used) {
            let at = Pointer::default().key("upstreams").index(index).key("name");
            findings.push(Finding::warning(at, format!("no rule names the upstream {:?}", upstream.name)));
        }
    }
}

/// What `written` says, with its name and its backends.
fn upstream(
    name: String,
    written: &schema::Upstream,
    backends: Vec<Backend>,
    egress: &Arc<Egress>,
) -> Upstream {
    Upstream {
        name,
        backends,
        keepalive: written.keepalive,
        strategy: match written.strategy {
            schema::Strategy::RoundRobin | schema::Strategy::Weighted => Strategy::RoundRobin,
            schema::Strategy::Random => Strategy::Random,
            schema::Strategy::LeastConnections => Strategy::LeastConnections,
            schema::Strategy::P2c => Strategy::P2c,
            schema::Strategy::IpHash => Strategy::IpHash,
            schema::Strategy::LeastLatency => Strategy::LeastLatency,
        },
        retries: written.retries,
        slow_start: written.slow_start.0,
        health: health::of(written),
        admission: admission::of_upstream(written),
        timeouts: timeouts(&written.timeouts),
        dns_refresh: written.dns_refresh.map(|refresh| refresh.0),
        egress: egress.clone(),
    }
}

fn timeouts(written: &schema::UpstreamTimeouts) -> UpstreamTimeouts {
    let schema::UpstreamTimeouts { connect, response, body, idle, tunnel_idle } = *written;
    UpstreamTimeouts {
        connect: connect.map(|timeout| timeout.0),
        response: response.map(|timeout| timeout.0),
        body: body.map(|timeout| timeout.0),
        idle: idle.map(|timeout| timeout.0),
        tunnel_idle: tunnel_idle.map(|timeout| timeout.0),
    }
}

fn backend(url: &str, at: &Pointer, context: &mut Context<'_>) -> Option<Backend> {
    let text = match context.expanded(url, at) {
        Ok(text) => text?,
        Err(_) => return Some(address::unknown_backend(url)),
    };
    let read = address::backend(&text);
    read.map_err(|fault| context.findings.push(Finding::fault(at.clone(), fault))).ok()
}
