//! What becomes of a request, step by step as in the engine's `proxy`: its route, then what the rule that won makes of it.

use std::path::PathBuf;

use super::asked::Asked;
use crate::rewrite::BadRewrite;
use crate::scratch::Scratch;
use crate::snapshot::{
    BackendAddress, Fate, Forward, NoRoute, Route, Rule, SentPath, Site, SiteId, Snapshot, Unserved,
    Upstream, UpstreamId,
};

/// What becomes of a request.
#[derive(Debug)]
pub(crate) struct Course {
    pub(crate) route: Result<Route, NoRoute>,
    pub(crate) end: End,
}

/// Where a request ends up.
#[derive(Debug)]
pub(crate) enum End {
    /// At a backend of this upstream, which gets this request-target.
    Forwarded { upstream: UpstreamId, target: Vec<u8> },
    /// The client is sent there.
    Redirected { status: u16, location: Vec<u8> },
    /// The client gets a fixed response.
    Responded { status: u16, body_bytes: usize },
    /// The client gets the file of this path below this folder.
    File { folder: PathBuf, path: Vec<u8> },
    /// The client gets an error.
    Refused { error: Error, why: String },
}

/// An error that a request can get before a backend is dialled: those of specification and engine, by their codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    NoSite,
    NoRule,
    BadRewrite,
    UpstreamDns,
}

impl Error {
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::NoSite | Self::NoRule => 404,
            Self::BadRewrite => 400,
            Self::UpstreamDns => 502,
        }
    }

    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::NoSite => "no_site",
            Self::NoRule => "no_rule",
            Self::BadRewrite => "bad_rewrite",
            Self::UpstreamDns => "upstream_dns",
        }
    }
}

impl Course {
    /// Follows a request through `snapshot`; `scratch` is from it.
    pub(crate) fn of(asked: &Asked, snapshot: &Snapshot, scratch: &mut Scratch) -> Self {
        let route = snapshot.route(&asked.route_request(), scratch);
        let end = match &route {
            Ok(route) => end(asked, snapshot, route, scratch),
            Err(NoRoute::NoSite) => End::refused(
                Error::NoSite,
                "no site has this host, and there are no enabled rules for every site",
            ),
            Err(NoRoute::NoRule { .. }) => End::refused(Error::NoRule, "no rule takes this request"),
        };
        Self { route, end }
    }

    /// The site that the request met, by its id.
    pub(crate) fn site_id(&self) -> Option<SiteId> {
        match &self.route {
            Ok(route) => route.site,
            Err(NoRoute::NoRule { site }) => *site,
            Err(NoRoute::NoSite) => None,
        }
    }

    /// The site that the request met.
    pub(crate) fn site<'s>(&self, snapshot: &'s Snapshot) -> Option<&'s Site> {
        self.site_id().and_then(|site| snapshot.site(site)).map(|site| &**site)
    }

    /// The rule that won.
    pub(crate) fn rule<'s>(&self, snapshot: &'s Snapshot) -> Option<&'s Rule> {
        self.route.as_ref().ok().and_then(|route| snapshot.rule(route.rule)).map(|rule| &**rule)
    }
}

impl End {
    fn refused(error: Error, why: impl Into<String>) -> Self {
        Self::Refused { error, why: why.into() }
    }

    fn bad_rewrite(bad: BadRewrite) -> Self {
        Self::refused(Error::BadRewrite, bad.to_string())
    }

    fn unset(variable: &str) -> Self {
        Self::refused(Error::UpstreamDns, format!("the environment variable {variable} is not set"))
    }
}

fn end(asked: &Asked, snapshot: &Snapshot, route: &Route, scratch: &mut Scratch) -> End {
    let Some(rule) = snapshot.rule(route.rule) else {
        return End::refused(Error::NoRule, "no rule takes this request");
    };
    let site = route.site.and_then(|site| snapshot.site(site)).map(|site| &**site);
    match rule.fate(site, asked.route_request().path, asked.query(), scratch) {
        Ok(Fate::Forwarded(forward, sent)) => forwarded(asked, snapshot, forward, &sent),
        Ok(Fate::Redirected { status, location }) => End::Redirected { status, location },
        Ok(Fate::Responded(respond)) => {
            End::Responded { status: respond.status, body_bytes: respond.body.len() }
        }
        Ok(Fate::File(files, name)) => {
            let path = name.of(asked.route_request().path).to_vec();
            End::File { folder: files.folder.clone(), path }
        }
        Err(Unserved::Unset(variable)) => End::unset(variable),
        Err(Unserved::BadRewrite(bad)) => End::bad_rewrite(bad),
    }
}

fn forwarded(asked: &Asked, snapshot: &Snapshot, forward: &Forward, sent: &SentPath) -> End {
    let path = asked.route_request().path;
    if snapshot.upstream(forward.upstream).is_some_and(|upstream| is_unknown(upstream)) {
        let why = "the URLs of all backends need environment variables that are not set";
        return End::refused(Error::UpstreamDns, why);
    }
    // `OPTIONS *` asks about the server: it has no base path.
    let base = if path == b"*" { "" } else { &forward.base_path };
    let mut target = [base.as_bytes(), sent.of(path)].concat();
    if let Some(query) = asked.query() {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    End::Forwarded { upstream: forward.upstream, target }
}

/// Whether no backend has an address.
fn is_unknown(upstream: &Upstream) -> bool {
    upstream.backends.iter().all(|backend| backend.address == BackendAddress::Unknown)
}
