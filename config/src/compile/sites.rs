//! The `[[sites]]`: their hosts, listeners and prefixes, and the map from hosts to them.

use std::collections::HashMap;
use std::time::Duration;

use super::auth::Providers;
use super::listeners::Listeners;
use super::settings::Settings;
use super::{Context, Names, admission, edits, rates};
use crate::host;
use crate::pattern::{self, BadPath};
use crate::problem::{Fault, Finding, Pointer};
use crate::router::{Candidate, Hosts};
use crate::schema;
use crate::snapshot::{ForwardedSwitches, Project, ProjectId, Site, SiteId, Timeouts};
use crate::value::Span;

/// The sites while rules are being read; their own rules are added then.
#[derive(Default)]
pub(super) struct Sites {
    pub(super) list: Vec<Site>,
    pub(super) hosts: Hosts,
}

/// What sites name.
pub(super) struct Known<'k> {
    pub(super) listeners: &'k Listeners,
    pub(super) projects: &'k [Project],
    pub(super) providers: &'k Providers,
}

impl Sites {
    pub(super) fn of(
        written: &schema::Config,
        known: Known<'_>,
        settings: &Settings,
        context: &mut Context<'_>,
    ) -> Self {
        let Known { listeners, projects, providers } = known;
        let (mut read, mut names, mut taken) = (Self::default(), Names::default(), Taken::default());
        for (index, site) in written.sites.iter().enumerate() {
            let at = Pointer::default().key("sites").index(index);
            let edits = edits::of_site(site, &at, settings, context);
            let auth = providers.of_site(&site.auth, &at.key("auth"), context);
            let rate_limit = rates::rate_limit(&site.rate_limit, &at.key("rate_limit"), context);
            let findings = &mut context.findings;
            names.check(&site.name, index, "site", at.key("name"), findings);
            let path_prefix = path_prefix(site, &at, findings);
            let candidate = Candidate {
                site: SiteId(index as u32),
                path_prefix: path_prefix.as_bytes().into(),
                listeners: on_listeners(site, &at, listeners, findings),
            };
            let hosts = hosts(site, &at, findings);
            for (host, at) in &hosts {
                taken.check(host, &candidate, listeners, at, findings);
                read.hosts.add(host, candidate.clone());
            }
            let hosts = hosts.into_iter().map(|(host, _)| host).collect();
            let project = project(site, projects, &at, findings);
            let timeouts = timeouts(&site.timeouts, &settings.timeouts);
            let forwarded = forwarded(&site.forwarded, &settings.forwarded);
            let access = auth.is_some() || rate_limit.is_some();
            let changes =
                [timeouts.is_some(), forwarded.is_some(), site.base_header, edits.unset.is_some(), access];
            read.list.push(Site {
                name: site.name.clone(),
                hosts,
                path_prefix,
                rules: Vec::new(),
                fallback: None,
                project: project.filter(|_| site.inherit_rules),
                project_unused: project.filter(|_| !site.inherit_rules),
                inherit_global: site.inherit_global,
                base_header: site.base_header,
                is_plain: edits.edits.is_empty() && !changes.contains(&true),
                edits: edits.edits,
                unset: edits.unset,
                timeouts,
                forwarded,
                admission: admission::of_site(site, &at, findings),
                auth,
                rate_limit,
            });
        }
        read
    }
}

/// The projects, without their rules.
pub(super) fn projects(written: &[schema::Project], findings: &mut Vec<Finding>) -> Vec<Project> {
    let mut names = Names::default();
    for (index, project) in written.iter().enumerate() {
        let at = Pointer::default().key("projects").index(index).key("name");
        names.check(&project.name, index, "project", at, findings);
    }
    written.iter().map(|project| Project { name: project.name.clone(), rules: Vec::new() }).collect()
}

/// The project that a site is of.
fn project(
    site: &schema::Site,
    projects: &[Project],
    at: &Pointer,
    findings: &mut Vec<Finding>,
) -> Option<ProjectId> {
    if site.project.is_none() && !site.inherit_rules {
        let message = "this site is of no project: there are no rules to leave out";
        findings.push(Finding::warning(at.key("inherit_rules"), message));
    }
    if site.upstream.is_none() && site.static_dir.is_none() && site.inherit_global {
        let message = "a site without an `upstream` or `static_dir` of its own uses the rules for every site in any case";
        findings.push(Finding::warning(at.key("inherit_global"), message));
    }
    let name = site.project.as_ref()?;
    let Some(index) = projects.iter().position(|project| project.name == *name) else {
        let finding = Finding::error(at.key("project"), format!("there is no project {name:?}"));
        findings.push(finding.did_you_mean(name, projects.iter().map(|project| &*project.name)));
        return None;
    };
    Some(ProjectId(index as u32))
}

fn timeouts(written: &schema::SiteTimeouts, file: &Timeouts) -> Option<Timeouts> {
    let schema::SiteTimeouts { body, write, connect, response, upstream_body, tunnel_idle } = *written;
    let or = |own: Option<Span>, file: Duration| own.map_or(file, |own| own.0);
    let own = Timeouts {
        client_body: or(body, file.client_body),
        client_write: or(write, file.client_write),
        connect: or(connect, file.connect),
        response: or(response, file.response),
        upstream_body: or(upstream_body, file.upstream_body),
        tunnel_idle: or(tunnel_idle, file.tunnel_idle),
        ..*file
    };
    (own != *file).then_some(own)
}

fn forwarded(written: &schema::SiteForwarded, file: &ForwardedSwitches) -> Option<ForwardedSwitches> {
    let own = ForwardedSwitches {
        x_forwarded: written.x_forwarded.unwrap_or(file.x_forwarded),
        forwarded: written.forwarded.unwrap_or(file.forwarded),
    };
    (own != *file).then_some(own)
}

fn hosts(site: &schema::Site, at: &Pointer, findings: &mut Vec<Finding>) -> Vec<(String, Pointer)> {
    let at = at.key("hosts");
    if site.hosts.is_empty() {
        let help = "\"*\" takes every host; rules for every site stand in [[rules]]";
        findings.push(Finding::error(at.clone(), "a site has at least one host").help(help));
    }
    let mut read = Vec::with_capacity(site.hosts.len());
    for (index, text) in site.hosts.iter().enumerate() {
        match host::site_host(text) {
            Ok(host) => read.push((host, at.index(index))),
            Err(fault) => findings.push(Finding::fault(at.index(index), fault)),
        }
    }
    read
}

fn path_prefix(site: &schema::Site, at: &Pointer, findings: &mut Vec<Finding>) -> String {
    let Some(written) = &site.path_prefix else {
        return String::new();
    };
    if let Err(fault) = check_prefix(written) {
        findings.push(Finding::fault(at.key("path_prefix"), fault));
    }
    written.clone()
}

fn check_prefix(written: &str) -> Result<(), Fault> {
    if written == "/" {
        return Err(Fault::new("every path begins with `/`").help("leave `path_prefix` out"));
    }
    if let Some(prefix) = written.strip_suffix("/*").or_else(|| written.strip_suffix('*')) {
        return Err(
            Fault::new("a path prefix takes whole segments without a star").help(format!("write {prefix:?}"))
        );
    }
    if written.contains(['*', '?', '#']) {
        return Err(Fault::new("a path prefix has no `*`, `?` and `#`"));
    }
    if let Some(prefix) = written.strip_suffix('/').filter(|prefix| !prefix.is_empty()) {
        return Err(Fault::new("a path prefix does not end in `/`").help(format!("write {prefix:?}")));
    }
    pattern::check_path(written).map_err(|bad| match bad {
        BadPath::Slash => Fault::new("a path prefix begins with `/`").help(format!("write \"/{written}\"")),
        BadPath::Dots(Some(normal)) => {
            Fault::new("a prefix with dot segments is never matched: they are removed first")
                .help(format!("write {normal:?}"))
        }
        BadPath::Dots(None) => Fault::new("the dot segments of this prefix climb above the root"),
        BadPath::Other(why) => Fault::new(format!("this is no valid request path: {why}")),
    })
}

/// The identities of a site's listeners; `None` for all.
fn on_listeners(
    site: &schema::Site,
    at: &Pointer,
    listeners: &Listeners,
    findings: &mut Vec<Finding>,
) -> Option<Box<[Box<str>]>> {
    let written = site.listeners.as_ref()?;
    let at = at.key("listeners");
    if written.is_empty() {
        let help = "leave `listeners` out for all of them";
        findings.push(Finding::error(at.clone(), "a site is on at least one listener").help(help));
    }
    let mut identities: Vec<Box<str>> = Vec::with_capacity(written.len());
    for (index, name) in written.iter().enumerate() {
        match listeners.identity(name) {
            Some(identity) => identities.push(identity.into()),
            None if !listeners.complete => {}
            None => {
                let known = listeners.list.iter().map(|listener| &*listener.name);
                let finding = Finding::error(at.index(index), format!("there is no listener {name:?}"));
                findings.push(finding.did_you_mean(name, known));
            }
        }
    }
    identities.sort_unstable();
    identities.dedup();
    Some(identities.into())
}

/// Which host, prefix and listener belong to which site.
#[derive(Default)]
struct Taken {
    places: HashMap<(String, Box<[u8]>, String), SiteId>,
}

impl Taken {
    fn check(
        &mut self,
        host: &str,
        candidate: &Candidate,
        listeners: &Listeners,
        at: &Pointer,
        findings: &mut Vec<Finding>,
    ) {
        let all = || listeners.list.iter().map(|listener| listener.identity.clone()).collect();
        let own = |own: &[Box<str>]| own.iter().map(|identity| identity.to_string()).collect();
        let on: Vec<String> = candidate.listeners.as_deref().map_or_else(all, own);
        let places =
            on.into_iter().map(|listener| (host.to_owned(), candidate.path_prefix.clone(), listener));
        let before: Vec<_> = places.filter_map(|place| self.places.insert(place, candidate.site)).collect();
        if let Some(first) = before.first() {
            findings.push(Finding::error(at.clone(), twice(*first, candidate)));
        }
    }
}

fn twice(first: SiteId, candidate: &Candidate) -> String {
    if first == candidate.site {
        return "this site has this host already".to_owned();
    }
    let what = if candidate.path_prefix.is_empty() { "host" } else { "host and path prefix" };
    format!("site number {} has this {what} on the same listener", first.index() + 1)
}
