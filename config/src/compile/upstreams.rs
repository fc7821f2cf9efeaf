//! The `[[upstreams]]`, and those that rules' targets imply: one of one backend for each distinct origin.

use std::collections::HashMap;
use std::time::Duration;

use super::{Context, Names, bad_name};
use crate::address;
use crate::problem::{Finding, Pointer};
use crate::schema;
use crate::snapshot::{Admission, Backend, Health, Strategy, Upstream, UpstreamId, UpstreamTimeouts};

/// The upstreams while rules are being read.
#[derive(Default)]
pub(super) struct Upstreams {
    /// The named ones in file order, then the implied ones.
    pub(super) list: Vec<Upstream>,
    /// How many are named; the rest are implied.
    named: usize,
    by_name: HashMap<String, UpstreamId>,
    used: Vec<bool>,
}

impl Upstreams {
    pub(super) fn of(written: &[schema::Upstream], context: &mut Context<'_>) -> Self {
        let (mut read, mut names) = (Self::default(), Names::default());
        for (index, upstream) in written.iter().enumerate() {
            let at = Pointer::default().key("upstreams").index(index);
            names.check(&upstream.name, index, "upstream", at.key("name"), &mut context.findings);
            if upstream.name.contains('/') {
                context.findings.push(Finding::error(at.key("name"), "an upstream's name has no `/`"));
            }
            let backends = backends(&upstream.backends, &at.key("backends"), context);
            read.add(Upstream { keepalive: upstream.keepalive, ..implied(upstream.name.clone(), backends) });
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

    /// The upstream of a target's server: its own if it is new, else the one of equal targets.
    pub(super) fn implied(&mut self, backend: Backend) -> UpstreamId {
        if let Some(id) = self.by_name.get(&backend.url) {
            return *id;
        }
        let keepalive = schema::Upstream::default().keepalive;
        self.add(Upstream { keepalive, ..implied(backend.url.clone(), vec![backend]) })
    }

    /// The upstream that only one site has; no named one can have its name.
    pub(super) fn of_site(
        &mut self,
        written: &schema::InlineUpstream,
        site: &str,
        at: &Pointer,
        context: &mut Context<'_>,
    ) -> UpstreamId {
        let backends = backends(&written.backends, &at.key("backends"), context);
        self.add(Upstream { keepalive: written.keepalive, ..implied(format!("site/{site}"), backends) })
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

fn backends(written: &[schema::Backend], at: &Pointer, context: &mut Context<'_>) -> Vec<Backend> {
    if written.is_empty() {
        context.findings.push(Finding::error(at.clone(), "an upstream has at least one backend"));
    }
    let mut read: Vec<Backend> = Vec::with_capacity(written.len());
    let mut seen = HashMap::new();
    for (index, backend) in written.iter().enumerate() {
        let at = at.index(index).key("url");
        let Some(backend) = self::backend(&backend.url, &at, context) else { continue };
        if let Some(first) = seen.insert(backend.url.clone(), index) {
            let message = format!("this is backend number {} of this upstream already", first + 1);
            context.findings.push(Finding::error(at, message));
        }
        read.push(backend);
    }
    read
}

fn backend(url: &str, at: &Pointer, context: &mut Context<'_>) -> Option<Backend> {
    let text = match context.expanded(url, at) {
        Ok(text) => text?,
        Err(_) => return Some(address::unknown_backend(url)),
    };
    let read = address::backend(&text);
    read.map_err(|fault| context.findings.push(Finding::fault(at.clone(), fault))).ok()
}

fn implied(name: String, backends: Vec<Backend>) -> Upstream {
    Upstream {
        name,
        backends,
        keepalive: schema::Upstream::default().keepalive,
        strategy: Strategy::default(),
        retries: 2,
        slow_start: Duration::ZERO,
        health: Health::default(),
        admission: Admission::default(),
        timeouts: UpstreamTimeouts::default(),
        dns_refresh: None,
    }
}
