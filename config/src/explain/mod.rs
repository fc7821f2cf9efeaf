//! Why a request goes where it goes: the site and the rule that it meets, why others did not, and what is sent. Everything
//! is asked of what serves requests: [`Snapshot::route`] decides, its maps and tables say what else was there.
//!
//! * this file is the explanation, as plain data;
//! * `asked` reads the request as a client's; `course` follows it to its end, and is all that expectations need;
//! * `choice` goes over the sites and rules that were passed over, and says why;
//! * `access` has who may come in, and how often;
//! * `terms` has what site, upstream and rule change on the way: fields, timeouts, retries, limits.

mod access;
mod asked;
mod choice;
mod course;
mod terms;

use std::fmt;

use serde::Serialize;

pub use access::{AccessMet, CredentialsMet, ProviderMet, Publicity, RateMet};
pub(crate) use asked::Asked;
pub use asked::Refusal;
pub(crate) use course::{Course, End};

use crate::egress::Egress;
use crate::pattern::Regex;
use crate::rewrite::Groups;
use crate::snapshot::{Backend, BackendAddress, Owner, Paths, Rule, RuleId, Snapshot, UpstreamId};

/// A request to explain.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// `http://host:port/path?query`; https, ws and wss too. A port chooses the listener.
    pub url: &'a str,
    /// The method; methods are case-sensitive.
    pub method: &'a str,
    /// A WebSocket is asked for, as with a URL of ws or wss.
    pub websocket: bool,
    /// The name or the address of the listener that it comes to; without it the first with the URL's port, and without that
    /// the first.
    pub listener: Option<&'a str>,
}

/// What becomes of a request, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The request, as it was read.
    pub request: Request,
    /// The listener that it comes to.
    pub listener: ListenerMet,
    /// The name of the site that it meets.
    pub site: Option<String>,
    /// What the star of the site's host took, in lower case.
    pub tenant: Option<String>,
    /// The sites with a host that takes the request's, in the order in which they are asked.
    pub sites: Vec<SiteConsidered>,
    /// How many sites have other hosts only.
    pub sites_with_other_hosts: usize,
    /// The rule lists, in the order in which they are asked.
    pub lists: Vec<List>,
    /// The rule that wins.
    pub winner: Option<Winner>,
    /// Who may come in, and how often; `None` where no rule wins.
    pub access: Option<AccessMet>,
    /// What becomes of the request that comes in.
    pub outcome: Outcome,
}

/// A request, as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Its host, without its port, as it came.
    pub host: String,
    /// The path that is matched: without dot segments; `*` for `OPTIONS *`.
    pub path: String,
    /// The path as it came, where that is another one.
    pub path_as_sent: Option<String>,
    /// Its query, without the `?`.
    pub query: Option<String>,
    /// It asks for a WebSocket.
    pub websocket: bool,
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListenerMet {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
}

/// A site under one host that takes the request's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SiteConsidered {
    /// Its name.
    pub site: String,
    /// The host: a name, `*.` and a name, or `*`.
    pub host: String,
    /// The prefix that its paths have; empty for all paths.
    pub path_prefix: String,
    /// Whether the request meets it.
    pub verdict: SiteVerdict,
}

/// Whether a request meets a site, and else why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SiteVerdict {
    /// It does.
    Met,
    /// The site is not on the listener.
    Listener,
    /// The path has not the site's prefix.
    PathPrefix,
    /// A better one was met: one with a more exact host or a longer prefix.
    Later,
}

/// A rule list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct List {
    /// Whose it is.
    pub of: ListOwner,
    /// Why it is not asked, if it is not; then it shows no rules.
    pub unused: Option<Unused>,
    /// Its rules, in order.
    pub rules: Vec<RuleConsidered>,
}

/// Whose list a rule is in, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ListOwner {
    /// The rules of a site.
    Site(String),
    /// The rules of a project.
    Project(String),
    /// The rules for every site: `[[rules]]`.
    EverySite,
    /// What stands for the own `upstream` of a site.
    OwnUpstream(String),
}

/// Why a list is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unused {
    /// The site has `inherit_rules = false`.
    InheritRules,
    /// The site has an `upstream` of its own, and not `inherit_global`.
    OwnUpstream,
}

/// A rule that takes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleConsidered {
    /// Its place in its list; the first is 1.
    pub number: usize,
    /// Its name.
    pub name: String,
    /// Its `path`.
    pub path: Option<String>,
    /// Its `pattern`.
    pub pattern: Option<String>,
    /// Its `methods`; `None` for all.
    pub methods: Option<Vec<String>>,
    /// It takes WebSocket upgrades.
    pub ws: bool,
    /// Whether it wins.
    pub verdict: Verdict,
}

/// Whether a rule wins, and else the first reason why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It does.
    Wins,
    /// It is disabled.
    Disabled,
    /// Its `path` or `pattern` does not match.
    Path,
    /// It does not take the method.
    Method,
    /// It takes no WebSocket.
    Websocket,
    /// It takes the request too, but comes later.
    Later,
}

/// The rule that wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Winner {
    /// Its list.
    pub list: ListOwner,
    /// Its place there; the first is 1.
    pub number: usize,
    /// Its name.
    pub name: String,
    /// What it is for, as written.
    pub description: String,
    /// What the groups of its `pattern` took.
    pub groups: Vec<Group>,
}

/// A group of a `pattern`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Its number; the first is 1.
    pub number: usize,
    /// The name of `(?<name>…)`.
    pub name: Option<String>,
    /// What it took; `None` when it took no part.
    pub text: Option<String>,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// It goes to a backend.
    Forwarded(Box<Forwarded>),
    /// The client is sent elsewhere.
    Redirected {
        /// The status.
        status: u16,
        /// Where to.
        location: String,
        /// The changes of the response's fields, in order.
        response_fields: Vec<FieldChange>,
    },
    /// The client gets a fixed response.
    Responded {
        /// The status.
        status: u16,
        /// The length of the body.
        body_bytes: usize,
        /// The changes of the response's fields, in order.
        response_fields: Vec<FieldChange>,
    },
    /// The client gets a file.
    File {
        /// The folder that it is in.
        folder: String,
        /// Its path below the folder, as it stands in the request.
        path: String,
        /// The changes of the response's fields, in order.
        response_fields: Vec<FieldChange>,
    },
    /// The client gets an error.
    Refused {
        /// The status.
        status: u16,
        /// The code, as the error's body and the log have it.
        code: &'static str,
        /// Why.
        reason: String,
    },
}

/// What is sent to a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Forwarded {
    /// Path and query, the target's base path before them; `*` for `OPTIONS *`.
    pub target: String,
    /// The Host; `None` for the authority of the backend whose turn it is, with `change_origin`.
    pub host: Option<String>,
    /// The upstream's name; the origin of a `target` that implied it.
    pub upstream: String,
    /// How one of its backends is chosen, by the name in the file.
    pub strategy: &'static str,
    /// Its backends.
    pub backends: Vec<BackendMet>,
    /// Which of their addresses may be dialled.
    pub egress: EgressMet,
    /// What site and rule change of the request's fields, in order.
    pub request_fields: Vec<FieldChange>,
    /// The fields that Ringway adds to the request or sets anew by itself.
    pub own_fields: Vec<&'static str>,
    /// The request id field, when ids are on and nothing else changes it.
    pub request_id_field: Option<String>,
    /// What site and rule change of the response's fields, in order.
    pub response_fields: Vec<FieldChange>,
    /// The timeouts that are not the file's.
    pub timeouts: Vec<Timeout>,
    /// The rule's own bound on the request's body; 0 is no limit.
    pub max_request_body_bytes: Option<u64>,
    /// How many more backends the request may go to.
    pub retries: Retries,
    /// The limits that it may have to wait for, in the order in which it does.
    pub limits: Vec<Limit>,
}

/// A backend of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackendMet {
    /// Its URL.
    pub url: String,
    /// Its authority, as a Host field has it.
    pub authority: String,
    /// Its share of the requests.
    pub weight: u16,
    /// It gets requests only while no other is available.
    pub backup: bool,
    /// Its URL needs a variable that is not set: it is down.
    pub unset: bool,
}

/// Where an upstream may point.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EgressMet {
    /// The policy, by its name in the file.
    pub policy: &'static str,
    /// Its exceptions: networks, names, and `*.` with a name.
    pub allow: Vec<String>,
}

/// Who changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    /// The site.
    Site,
    /// The upstream.
    Upstream,
    /// The rule.
    Rule,
}

/// A change of a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// The field's name.
    pub name: String,
    /// What it is set to: `***` where that looks like a secret, `auto` for the request's id; `None` when it is removed.
    pub value: Option<String>,
    /// Who changes it.
    pub by: Author,
    /// A later change of the same field takes the place of this one.
    pub overridden: bool,
}

/// A timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Timeout {
    /// Its key in `[timeouts]`.
    pub name: &'static str,
    /// How long it is.
    pub value_ms: u64,
    /// Who sets it.
    pub by: Author,
}

/// How many more backends a request may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Retries {
    /// How many; the budget of the upstream may allow fewer.
    pub count: u8,
    /// Who sets it; `None` for the default.
    pub by: Option<Author>,
}

/// How many exchanges run and wait at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// Whose exchanges are counted: the site's or the upstream's.
    pub of: Author,
    /// Those that run; 0 is no limit.
    pub max_active: u32,
    /// Those that wait.
    pub max_queued: u32,
    /// How long one waits.
    pub queue_timeout_ms: u64,
    /// A tunnel counts to its end.
    pub count_tunnels: bool,
    /// They also wait while no backend is available.
    pub waits_for_backend: bool,
}

impl Snapshot {
    /// Explains what becomes of a request. This is for people: it looks at every rule that takes part, and allocates.
    ///
    /// # Errors
    /// [`Refusal`] when the request would not come as far as to a site.
    pub fn explain(&self, question: &Question<'_>) -> Result<Explanation, Refusal> {
        let asked = Asked::read(question, self)?;
        let (course, request) = (Course::of(&asked, self, &mut self.scratch()), asked.route_request());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let sites = choice::sites(self, &request);
        let lists = choice::lists(self, &course, &request);
        let path = text(request.path);
        let host = request.host.unwrap_or_default();
        let tenant = course.route.as_ref().ok().and_then(|route| host.get(route.tenant.clone()?));
        Ok(Explanation {
            listener: ListenerMet {
                name: asked.listener.name.clone(),
                address: asked.listener.identity.clone(),
            },
            site: course.site(self).map(|site| site.name.clone()),
            tenant: tenant.map(|tenant| text(tenant).to_ascii_lowercase()),
            sites_with_other_hosts: choice::others(self, &sites),
            sites,
            winner: winner(self, &course, request.path),
            lists,
            access: access::access(self, &course, &request),
            outcome: outcome(self, &asked, course),
            request: Request {
                method: text(request.method),
                host: text(host),
                path_as_sent: Some(asked.path_sent.clone()).filter(|sent| !sent.is_empty() && *sent != path),
                path,
                query: asked.query().map(text),
                websocket: request.websocket,
            },
        })
    }

    /// Whose list a rule is in, by name; `None` for another snapshot's.
    pub(crate) fn list_of(&self, rule: RuleId) -> Option<ListOwner> {
        Some(match self.rule(rule)?.owner {
            Owner::Site(site) => {
                let site = self.site(site)?;
                let is_own_upstream = site.fallback == Some(rule);
                let owner = if is_own_upstream { ListOwner::OwnUpstream } else { ListOwner::Site };
                owner(site.name.clone())
            }
            Owner::Project(project) => ListOwner::Project(self.project(project)?.name.clone()),
            Owner::Everywhere => ListOwner::EverySite,
        })
    }
}

impl fmt::Display for ListOwner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Site(name) => write!(out, "site {name:?}"),
            Self::Project(name) => write!(out, "project {name:?}"),
            Self::EverySite => out.write_str("[[rules]]"),
            Self::OwnUpstream(name) => write!(out, "the own upstream of site {name:?}"),
        }
    }
}

fn winner(snapshot: &Snapshot, course: &Course, path: &[u8]) -> Option<Winner> {
    let (rule, id) = (course.rule(snapshot)?, course.route.as_ref().ok()?.rule);
    let list = snapshot.list_of(id)?;
    let number = choice::rules(snapshot, &list, course).iter().position(|other| *other == id)?;
    let groups = match &rule.paths {
        Paths::Pattern(pattern) => groups(pattern, path),
        Paths::Path(_) => Vec::new(),
    };
    let (name, description) = (rule.name.clone(), rule.description.clone());
    Some(Winner { list, number: number + 1, name, description, groups })
}

/// What the groups of `pattern` took of `path`; nothing for a pattern that is too large to read groups from.
fn groups(pattern: &str, path: &[u8]) -> Vec<Group> {
    let Ok(regex) = Regex::parse(pattern) else { return Vec::new() };
    let Ok(groups) = Groups::build(&regex.hir) else { return Vec::new() };
    let mut scratch = Default::default();
    let Some(spans) = groups.read(path, usize::MAX, &mut scratch) else { return Vec::new() };
    let names = regex.groups.iter().map(|group| group.name.as_deref().map(str::to_owned));
    let text = |number| spans.get(number).and_then(|span| path.get(span));
    let taken = names.zip(1..).map(|(name, number)| {
        let text = text(number).map(|text| String::from_utf8_lossy(text).into_owned());
        Group { number, name, text }
    });
    taken.collect()
}

fn outcome(snapshot: &Snapshot, asked: &Asked, course: Course) -> Outcome {
    let changes = terms::Changes::of(course.site(snapshot), course.rule(snapshot));
    match course.end {
        End::Forwarded { upstream, ref target } => {
            let target = String::from_utf8_lossy(target).into_owned();
            Outcome::Forwarded(Box::new(forwarded(snapshot, asked, &course, upstream, target, changes)))
        }
        End::Redirected { status, location } => {
            let location = String::from_utf8_lossy(&location).into_owned();
            Outcome::Redirected { status, location, response_fields: changes.response }
        }
        End::Responded { status, body_bytes } => {
            Outcome::Responded { status, body_bytes, response_fields: changes.response }
        }
        End::File { folder, path } => Outcome::File {
            folder: folder.display().to_string(),
            path: String::from_utf8_lossy(&path).into_owned(),
            response_fields: changes.response,
        },
        End::Refused { error, why } => {
            Outcome::Refused { status: error.status(), code: error.code(), reason: why }
        }
    }
}

fn forwarded(
    snapshot: &Snapshot,
    asked: &Asked,
    course: &Course,
    upstream: UpstreamId,
    target: String,
    changes: terms::Changes,
) -> Forwarded {
    let (site, rule) = (course.site(snapshot), course.rule(snapshot));
    let upstream = snapshot.upstream(upstream).map(|upstream| &**upstream);
    let change_origin = rule.and_then(Rule::forward).is_some_and(|forward| forward.change_origin);
    let came = || (!change_origin).then(|| String::from_utf8_lossy(asked.authority()).into_owned());
    let id_field = snapshot.server.request_id.as_ref();
    Forwarded {
        target,
        host: terms::host_set(&changes.request).or_else(came),
        upstream: upstream.map_or_else(String::new, |upstream| upstream.name.clone()),
        strategy: upstream.map_or("", |upstream| upstream.strategy.name()),
        backends: upstream.map_or_else(Vec::new, |upstream| upstream.backends.iter().map(backend).collect()),
        egress: upstream.map_or_else(EgressMet::default, |upstream| egress(&upstream.egress)),
        own_fields: terms::own_fields(snapshot, course, change_origin, &changes.request),
        request_id_field: id_field.filter(|name| !terms::changes(&changes.request, name)).cloned(),
        request_fields: changes.request,
        response_fields: changes.response,
        timeouts: terms::timeouts(snapshot, site, upstream, rule),
        max_request_body_bytes: rule.and_then(|rule| rule.max_request_body_bytes),
        retries: terms::retries(upstream, rule),
        limits: terms::limits(site, upstream),
    }
}

fn egress(egress: &Egress) -> EgressMet {
    EgressMet { policy: egress.policy.name(), allow: egress.allowed().collect() }
}

fn backend(backend: &Backend) -> BackendMet {
    BackendMet {
        url: backend.url.clone(),
        authority: backend.authority.clone(),
        weight: backend.weight,
        backup: backend.backup,
        unset: backend.address == BackendAddress::Unknown,
    }
}
