//! Who may come in with a request, how often, and which of its credentials go on: what its site and the rule that won say.

use serde::Serialize;

use super::Author;
use super::course::Course;
use crate::public_routes::is_ambiguous;
use crate::snapshot::{
    Auth, Basic, Bearer, Credentials, Provider, RateKey, RateLimit, RouteRequest, Rule, Site, Snapshot,
};

/// Who may come in, how often, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccessMet {
    /// Who knows whom to let in; `None` lets everybody in.
    pub provider: Option<ProviderMet>,
    /// Who says so; `None`: nobody says anything.
    pub by: Option<Author>,
    /// Whether the request needs credentials; `None` where nobody does.
    pub public: Option<Publicity>,
    /// Which of the client's credentials go to a backend.
    pub credentials: CredentialsMet,
    /// How often clients may come, in the order in which they are counted.
    pub rate_limits: Vec<RateMet>,
}

/// A provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProviderMet {
    /// Its name.
    pub name: String,
    /// Its type: `basic`, `bearer` or `forward`.
    pub kind: &'static str,
    /// What a `forward` provider asks: the upstream's name and the path.
    pub endpoint: Option<String>,
    /// The fields that come from that endpoint alone.
    pub copied_fields: Vec<String>,
}

/// Whether a path needs no credentials, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Publicity {
    /// It needs none: this glob of the rule takes it.
    Public(String),
    /// The rule has no public routes.
    NoRoutes,
    /// A glob takes it, but for another method: this one.
    OtherMethod(String),
    /// Backends could read it in another way than it is matched.
    Ambiguous,
    /// No glob takes it.
    NoGlob,
}

/// Which of a client's credentials go to a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialsMet {
    /// All of them.
    All,
    /// All but an Authorization of this scheme, which is for Ringway itself.
    AllBut(&'static str),
    /// No Cookie and no Authorization.
    None,
}

/// How often clients may come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RateMet {
    /// So many requests.
    pub requests: u32,
    /// In this time.
    pub per_ms: u64,
    /// So many at once.
    pub burst: u32,
    /// Whose requests are counted together, as in the file.
    pub key: String,
    /// Who says so.
    pub by: Author,
}

/// What holds for a request; `None` where no rule takes it.
pub(super) fn access(snapshot: &Snapshot, course: &Course, request: &RouteRequest<'_>) -> Option<AccessMet> {
    let (site, rule) = (course.site(snapshot), course.rule(snapshot)?);
    let of_site = site.and_then(|site| site.auth);
    let provider = rule.auth.provider(of_site).and_then(|id| snapshot.provider(id));
    let provider = provider.map(|provider| &**provider);
    let by = match rule.auth {
        Auth::OfSite => of_site.map(|_| Author::Site),
        Auth::Open | Auth::Provider(_) => Some(Author::Rule),
    };
    Some(AccessMet {
        provider: provider.map(|provider| provider_met(provider, snapshot)),
        by,
        public: provider.map(|_| publicity(rule, request)),
        credentials: credentials(rule.credentials, provider),
        rate_limits: rate_limits(site, rule),
    })
}

fn provider_met(provider: &Provider, snapshot: &Snapshot) -> ProviderMet {
    let (kind, endpoint) = match provider {
        Provider::Basic(_) => ("basic", None),
        Provider::Bearer(_) => ("bearer", None),
        Provider::Forward(forward) => {
            let upstream = snapshot.upstream(forward.upstream).map_or("", |upstream| &*upstream.name);
            ("forward", Some(format!("{upstream}{}", forward.path)))
        }
    };
    let copied_fields = provider.copied_fields().to_vec();
    ProviderMet { name: provider.name().to_owned(), kind, endpoint, copied_fields }
}

fn publicity(rule: &Rule, request: &RouteRequest<'_>) -> Publicity {
    let routes = &rule.public_routes;
    if let Some(glob) = routes.public_by(request.method, request.path) {
        return Publicity::Public(glob.to_owned());
    }
    let mut methods = routes.written().map(|(method, _)| method);
    let other = methods.find(|method| routes.public_by(method.as_bytes(), request.path).is_some());
    match other {
        _ if routes.is_empty() => Publicity::NoRoutes,
        Some(method) => Publicity::OtherMethod(method.to_owned()),
        None if is_ambiguous(request.path) => Publicity::Ambiguous,
        None => Publicity::NoGlob,
    }
}

fn credentials(written: Credentials, provider: Option<&Provider>) -> CredentialsMet {
    match (written, provider) {
        (Credentials::Dropped, _) => CredentialsMet::None,
        (Credentials::Auto, Some(Provider::Basic(_))) => CredentialsMet::AllBut(Basic::SCHEME),
        (Credentials::Auto, Some(Provider::Bearer(_))) => CredentialsMet::AllBut(Bearer::SCHEME),
        (Credentials::Auto, Some(Provider::Forward(_)) | None) | (Credentials::Forwarded, _) => {
            CredentialsMet::All
        }
    }
}

fn rate_limits(site: Option<&Site>, rule: &Rule) -> Vec<RateMet> {
    let of_site = site.and_then(|site| site.rate_limit.as_ref()).map(|limit| rate(limit, Author::Site));
    let of_rule = rule.rate_limit.as_ref().map(|limit| rate(limit, Author::Rule));
    of_site.into_iter().chain(of_rule).collect()
}

fn rate(limit: &RateLimit, by: Author) -> RateMet {
    let key = match &limit.key {
        RateKey::Client => "client".to_owned(),
        RateKey::Site => "site".to_owned(),
        RateKey::Field(name) => format!("header:{name}"),
    };
    let per_ms = u64::try_from(limit.per.as_millis()).unwrap_or(u64::MAX);
    RateMet { requests: limit.requests, per_ms, burst: limit.burst, key, by }
}
