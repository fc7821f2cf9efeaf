//! From a request to its site and rule. Lookup by host is one hash of the exact name, one for each shorter suffix
//! that a wildcard could have, and at last the sites of `*`; a rule list costs one table step for each byte of the
//! path. Nothing is allocated, no lock is taken, and the bytes of a request only ever read.

use std::collections::HashMap;

use ringway_wire::canonical_host;

use crate::list::RuleList;
use crate::scratch::Scratch;
use crate::snapshot::{NoRoute, ProjectId, Route, RouteRequest, RuleId, Site, SiteId};

type ByHost = HashMap<Box<[u8]>, Vec<Candidate>, foldhash::fast::FixedState>;

/// All sites and rule lists of a snapshot, ready to be asked.
#[derive(Debug)]
pub(crate) struct Router {
    hosts: Hosts,
    lists: Lists,
    /// Indexed by [`SiteId`].
    ways: Box<[Way]>,
}

/// The rule lists.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    /// Each site's own rules; indexed by [`SiteId`].
    pub(crate) own: Box<[RuleList]>,
    /// Each project's rules; indexed by [`ProjectId`].
    pub(crate) projects: Box<[RuleList]>,
    /// The site-less rules.
    pub(crate) global: RuleList,
}

/// Which lists a site's requests walk, behind the site's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) project: Option<ProjectId>,
    /// The site-less rules take part, before `fallback`.
    pub(crate) global: bool,
    pub(crate) fallback: Option<RuleId>,
}

impl Router {
    pub(crate) fn new(hosts: Hosts, sites: &[Site], lists: Lists) -> Self {
        let way = |site: &Site| Way {
            project: site.project,
            global: site.inherit_global || site.fallback.is_none(),
            fallback: site.fallback,
        };
        Self { hosts, lists, ways: sites.iter().map(way).collect() }
    }

    #[inline]
    pub(crate) fn route(&self, request: &RouteRequest<'_>, scratch: &mut Scratch) -> Result<Route, NoRoute> {
        let Some(found) = self.hosts.find(request) else {
            let rule = self.lists.global.winner(request, &mut scratch.tables);
            let none =
                if self.lists.global.is_empty() { NoRoute::NoSite } else { NoRoute::NoRule { site: None } };
            return Ok(Route { site: None, rule: rule.ok_or(none)?, tenant: None });
        };
        let site = Some(found.site);
        let rule = self.winner(found.site, request, scratch).ok_or(NoRoute::NoRule { site })?;
        let tenant = (found.tenant_bytes > 0).then_some(0..found.tenant_bytes);
        Ok(Route { site, rule, tenant })
    }

    /// The maps from hosts to sites.
    pub(crate) fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// All rule lists.
    pub(crate) fn lists(&self) -> &Lists {
        &self.lists
    }

    /// Which lists the requests of a site walk behind its own.
    pub(crate) fn way(&self, site: SiteId) -> Option<&Way> {
        self.ways.get(site.index())
    }

    /// The first rule that takes the request, over the lists of its site in their order.
    fn winner(&self, site: SiteId, request: &RouteRequest<'_>, scratch: &mut Scratch) -> Option<RuleId> {
        let way = self.ways.get(site.index())?;
        let tables = &mut scratch.tables;
        if let Some(rule) = self.lists.own.get(site.index()).and_then(|list| list.winner(request, tables)) {
            return Some(rule);
        }
        let project = way.project.and_then(|project| self.lists.projects.get(project.index()));
        if let Some(rule) = project.and_then(|list| list.winner(request, tables)) {
            return Some(rule);
        }
        let global = if way.global { self.lists.global.winner(request, tables) } else { None };
        global.or(way.fallback)
    }
}

/// The sites by their hosts.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    exact: ByHost,
    /// By what follows the star and its dot: `example.com` for `*.example.com`.
    wildcard: ByHost,
    /// The bytes of the longest key of [`Hosts::wildcard`]: no longer suffix needs a look.
    wildcard_bytes_max: usize,
    /// The sites of `*`.
    any: Vec<Candidate>,
}

/// One site under one of its hosts. Those of a host stand by falling length of their prefix.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) site: SiteId,
    /// Without a trailing `/`; empty takes every path.
    pub(crate) path_prefix: Box<[u8]>,
    /// The identities of its listeners; `None` for all.
    pub(crate) listeners: Option<Box<[Box<str>]>>,
}

/// The site that a request meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    site: SiteId,
    /// How much of the host a wildcard's star took; 0 without one.
    tenant_bytes: usize,
}

impl Hosts {
    /// Adds a site under one host, which is in its canonical form: a name, an IP literal, `*.name` or `*`.
    pub(crate) fn add(&mut self, host: &str, candidate: Candidate) {
        let candidates = if host == "*" {
            &mut self.any
        } else if let Some(name) = host.strip_prefix("*.") {
            self.wildcard_bytes_max = self.wildcard_bytes_max.max(name.len());
            self.wildcard.entry(name.as_bytes().into()).or_default()
        } else {
            self.exact.entry(host.as_bytes().into()).or_default()
        };
        let longer = |other: &Candidate| other.path_prefix.len() >= candidate.path_prefix.len();
        let at = candidates.iter().position(|other| !longer(other)).unwrap_or(candidates.len());
        candidates.insert(at, candidate);
    }

    /// The sites under all of their hosts, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Candidate> {
        self.exact.values().chain(self.wildcard.values()).flatten().chain(&self.any)
    }

    /// The sites that a request of `host`, which is in its canonical form, may meet, in the order in which they are
    /// tried.
    pub(crate) fn candidates<'h>(&'h self, host: &'h [u8]) -> impl Iterator<Item = &'h Candidate> {
        let dots = host.iter().enumerate().filter(|(at, byte)| **byte == b'.' && *at > 0).map(|(at, _)| at);
        let names = dots.filter(|_| !host.starts_with(b"[")).filter_map(|dot| host.get(dot + 1..));
        let wildcards = names.filter_map(|name| self.wildcard.get(name));
        self.exact.get(host).into_iter().chain(wildcards).flatten().chain(&self.any)
    }

    /// The sites that a request of `host`, as it was sent, may meet, in the order in which they are tried, each behind the
    /// host that it stands under. For explanations: this allocates.
    pub(crate) fn contenders(&self, host: Option<&[u8]>) -> Vec<(String, &Candidate)> {
        let mut buffer = [0; 256];
        let host = host.and_then(|host| canonical_host(host, &mut buffer)).unwrap_or_default();
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let exact = self.exact.get(host).map(|candidates| (text(host), candidates));
        let dots = host.iter().enumerate().filter(|(at, byte)| **byte == b'.' && *at > 0).map(|(at, _)| at);
        let names = dots.filter(|_| !host.starts_with(b"[")).filter_map(|dot| host.get(dot + 1..));
        let wildcards =
            names.filter_map(|name| Some((format!("*.{}", text(name)), self.wildcard.get(name)?)));
        let by_host = exact.into_iter().chain(wildcards).chain([("*".to_owned(), &self.any)]);
        let contenders = by_host.flat_map(|(host, sites)| sites.iter().map(move |site| (host.clone(), site)));
        contenders.collect()
    }

    /// The best host that has a site for the request's listener and path.
    #[inline]
    fn find(&self, request: &RouteRequest<'_>) -> Option<Found> {
        self.find_named(request).or_else(|| Some(Found { site: pick(&self.any, request)?, tenant_bytes: 0 }))
    }

    #[inline]
    fn find_named(&self, request: &RouteRequest<'_>) -> Option<Found> {
        if self.exact.is_empty() && self.wildcard.is_empty() {
            return None;
        }
        self.look_up(request)
    }

    fn look_up(&self, request: &RouteRequest<'_>) -> Option<Found> {
        let mut buffer = [0; 256];
        let host = canonical_host(request.host?, &mut buffer)?;
        self.find_exact(host, request).or_else(|| self.find_wildcard(host, request))
    }

    fn find_exact(&self, host: &[u8], request: &RouteRequest<'_>) -> Option<Found> {
        let site = pick(self.exact.get(host)?, request)?;
        Some(Found { site, tenant_bytes: 0 })
    }

    /// Takes labels off the front until a wildcard fits: the longest name comes first.
    fn find_wildcard(&self, host: &[u8], request: &RouteRequest<'_>) -> Option<Found> {
        if self.wildcard.is_empty() || host.starts_with(b"[") {
            return None;
        }
        let dots = host.iter().enumerate().filter(|(at, byte)| **byte == b'.' && *at > 0).map(|(at, _)| at);
        let suffixes = dots.map(|dot| (dot, host.get(dot + 1..).unwrap_or_default()));
        let mut short = suffixes.skip_while(|(_, name)| name.len() > self.wildcard_bytes_max);
        short.find_map(|(dot, name)| {
            let site = pick(self.wildcard.get(name)?, request)?;
            Some(Found { site, tenant_bytes: dot })
        })
    }
}

/// The first candidate that is on the listener and whose prefix the path has.
fn pick(candidates: &[Candidate], request: &RouteRequest<'_>) -> Option<SiteId> {
    let fits = |candidate: &&Candidate| candidate.is_on(request.listener) && candidate.takes(request.path);
    candidates.iter().find(fits).map(|candidate| candidate.site)
}

impl Candidate {
    /// Whether it is on the listener of this identity.
    pub(crate) fn is_on(&self, listener: &str) -> bool {
        self.listeners.as_deref().is_none_or(|listeners| listeners.iter().any(|own| **own == *listener))
    }

    /// Whether the path has its prefix.
    pub(crate) fn takes(&self, path: &[u8]) -> bool {
        path.strip_prefix(&*self.path_prefix)
            .is_some_and(|rest| self.path_prefix.is_empty() || matches!(rest.first(), None | Some(b'/')))
    }
}
