//! The rules: each site's own, each project's and the site-less ones; their paths, methods, and lists. What becomes of a
//! rule's requests is read in `actions`.

use super::actions::{self, Actions};
use super::auth::{self, Providers};
use super::edits;
use super::settings::Settings;
use super::{Context, Names, is_token, rates};
use crate::list::{Entry, RuleList};
use crate::pattern::{PathPattern, Regex, RegexFault};
use crate::problem::{Finding, Pointer};
use crate::public_routes::PublicRoutes;
use crate::schema;
use crate::snapshot::{
    Action, Auth, Credentials, Edits, Files, Owner, PathChange, Paths, Project, ProjectId, Rule, RuleId,
    Site, SiteId,
};
use crate::table::TableCache;

/// All rules and their lists.
#[derive(Default)]
pub(super) struct Rules {
    /// Every rule, in the order of [`Snapshot::rules`](crate::snapshot::Snapshot::rules).
    pub(super) list: Vec<Rule>,
    /// Where each of them stands in the file.
    pub(super) places: Vec<Pointer>,
    /// Each site's list.
    pub(super) own: Vec<Draft>,
    /// Each project's list.
    pub(super) projects: Vec<Draft>,
    /// The site-less list.
    pub(super) global: Draft,
}

/// A rule list before its table is built: its enabled rules, in order.
#[derive(Default)]
pub(super) struct Draft {
    /// Where the list stands.
    at: Pointer,
    rules: Vec<(PathPattern, Entry)>,
}

/// What reading rules needs of the rest of the file, and adds to it.
pub(super) struct Surroundings<'c, 'w> {
    pub(super) context: &'c mut Context<'w>,
    pub(super) actions: Actions<'c>,
    pub(super) settings: &'c Settings,
    pub(super) providers: &'c Providers,
}

impl Rules {
    pub(super) fn of(
        written: &schema::Config,
        sites: &mut [Site],
        projects: &mut [Project],
        around: &mut Surroundings<'_, '_>,
    ) -> Self {
        let mut read = Self::default();
        for (index, (site, compiled)) in written.sites.iter().zip(sites).enumerate() {
            let at = Pointer::default().key("sites").index(index);
            let owner = Owner::Site(SiteId(index as u32));
            let (draft, ids) = read.add_list(&site.rules, owner, at.key("rules"), around);
            read.own.push(draft);
            compiled.rules = ids;
            compiled.fallback = read.add_fallback(site, owner, &at, around);
        }
        for (index, (project, compiled)) in written.projects.iter().zip(projects).enumerate() {
            let at = Pointer::default().key("projects").index(index).key("rules");
            let owner = Owner::Project(ProjectId(index as u32));
            let (draft, ids) = read.add_list(&project.rules, owner, at, around);
            read.projects.push(draft);
            compiled.rules = ids;
        }
        let at = Pointer::default().key("rules");
        (read.global, _) = read.add_list(&written.rules, Owner::Everywhere, at, around);
        read
    }

    fn add(&mut self, rule: Rule, at: Pointer) -> RuleId {
        self.list.push(rule);
        self.places.push(at);
        RuleId((self.list.len() - 1) as u32)
    }

    fn add_list(
        &mut self,
        written: &[schema::Rule],
        owner: Owner,
        at: Pointer,
        around: &mut Surroundings<'_, '_>,
    ) -> (Draft, Vec<RuleId>) {
        let mut names = Names::default();
        let mut draft = Draft { at: at.clone(), ..Draft::default() };
        let mut ids = Vec::with_capacity(written.len());
        for (index, written) in written.iter().enumerate() {
            let at = at.index(index);
            names.check(&written.name, index, "rule", at.key("name"), &mut around.context.findings);
            let pattern = pattern(written, &at, &mut around.context.findings);
            let rule = rule(written, pattern.as_ref(), owner, &at, around);
            let id = RuleId(self.list.len() as u32);
            if let Some(pattern) = pattern.filter(|_| rule.enabled) {
                draft.rules.push((pattern, entry(id, &rule)));
            }
            ids.push(self.add(rule, at));
        }
        (draft, ids)
    }

    /// A site's own upstream or folder is a rule that takes what is left.
    fn add_fallback(
        &mut self,
        site: &schema::Site,
        owner: Owner,
        at: &Pointer,
        around: &mut Surroundings<'_, '_>,
    ) -> Option<RuleId> {
        let (name, at, action) = fallback(site, at, around)?;
        let is_plain = match &action {
            Action::Forward(forward) => around.actions.upstreams.is_plain(forward.upstream),
            _ => true,
        };
        let rule = Rule {
            name: name.to_owned(),
            description: String::new(),
            enabled: true,
            owner,
            paths: Paths::Path("*".to_owned()),
            methods: None,
            ws: true,
            action,
            edits: Edits::default(),
            is_plain,
            timeout: None,
            max_request_body_bytes: None,
            retries: None,
            auth: Auth::OfSite,
            public_routes: PublicRoutes::default(),
            credentials: Credentials::Auto,
            rate_limit: None,
        };
        Some(self.add(rule, at))
    }

    /// A guarded rule that takes no part when a WebSocket is asked for leaves the handshake to others, which may be open; and a
    /// backend may answer one as any GET.
    pub(super) fn warn_of_handshakes(&self, sites: &[Site], findings: &mut Vec<Finding>) {
        let guards = |rule: &Rule| {
            let of_site = match rule.owner {
                Owner::Site(id) => sites.get(id.index()).and_then(|site| site.auth),
                Owner::Project(_) | Owner::Everywhere => None,
            };
            rule.enabled && !rule.ws && matches!(rule.auth, Auth::Provider(_)) && of_site.is_none()
        };
        for (_, place) in self.list.iter().zip(&self.places).filter(|(rule, _)| guards(rule)) {
            let message = "a WebSocket handshake passes this rule by, and needs no credentials unless another rule asks for some";
            let finding = Finding::warning(place.key("ws"), message);
            findings.push(finding.help("leave `ws` out, or put `auth` on the site"));
        }
    }

    /// Where nothing can be routed, every request gets 404.
    pub(super) fn warn_of_nothing(&self, sites: &[Site], findings: &mut Vec<Finding>) {
        if !self.global.rules.is_empty() {
            return;
        }
        if sites.is_empty() {
            let message = "there is no enabled rule: every request gets 404";
            findings.push(Finding::warning(self.global.at.clone(), message));
        }
        for (draft, site) in self.own.iter().zip(sites) {
            let project = site.project.and_then(|project| self.projects.get(project.index()));
            let shared = project.is_some_and(|draft| !draft.rules.is_empty());
            if draft.rules.is_empty() && !shared && site.fallback.is_none() {
                let at = draft.at.parent().unwrap_or_default().key("name");
                findings.push(Finding::warning(
                    at,
                    "this site has no enabled rule, and there is none for every site: it answers 404",
                ));
            }
        }
    }
}

/// What a site does with what no rule takes: what that is called, its place, and the action.
fn fallback(
    site: &schema::Site,
    at: &Pointer,
    around: &mut Surroundings<'_, '_>,
) -> Option<(&'static str, Pointer, Action)> {
    if let Some(written) = &site.upstream {
        let at = at.key("upstream");
        if site.static_dir.is_some() {
            let message = "a site has either an `upstream` or a `static_dir`, not both";
            around.context.findings.push(Finding::error(at.clone(), message).on_key());
        }
        let forward = around.actions.own_upstream(written, &site.name, &at, around.context);
        return Some((Rule::OWN_UPSTREAM, at, Action::Forward(forward)));
    }
    let at = at.key("static_dir");
    let action = match actions::static_dir(site.static_dir.as_ref()?, &at, around.context) {
        Ok(folder) => Action::Files(Files { folder, path: PathChange::Keep }),
        Err(variable) => Action::Unset(variable),
    };
    Some((Rule::OWN_FILES, at, action))
}

/// Rules that a warning names before it says how many more there are.
const NAMES_SHOWN: usize = 5;

impl Draft {
    /// Builds the list's tables, or finds them among those that are in use. Warns of the rules that cost more than their
    /// share. `rules` and `places` are those of the whole file.
    pub(super) fn build(
        self,
        tables: &mut TableCache,
        settings: &Settings,
        (rules, places): (&[Rule], &[Pointer]),
        findings: &mut Vec<Finding>,
    ) -> Option<RuleList> {
        let at =
            |rule: RuleId| places.get(rule.index()).map(|place| place.key("pattern")).unwrap_or_default();
        let mut warn = |costly: &[RuleId], what: &str, help: &str| {
            let Some(first) = costly.first() else { return };
            let message = format!("{} {what}", named(costly, rules));
            findings.push(Finding::warning(at(*first), message).help(help));
        };
        match RuleList::build(self.rules, tables, settings.rule_table_bytes) {
            Ok(built) => {
                let what =
                    "apart from the list's table, which would explode: each request walks one table more";
                warn(&built.split_off, what, "begin patterns with `^`");
                let what =
                    "matched by a table that is made as paths come, since limits.rule_table has no room";
                warn(&built.lazy, what, "begin patterns with `^`, or raise `rule_table` in [limits]");
                Some(built.list)
            }
            Err(error) => {
                let finding = Finding::error(
                    at(error.rule),
                    "no table can be built of this rule: it is too large, alone or with others like it",
                );
                findings
                    .push(finding.help("shorten counted repetitions such as `{1000}`, and use fewer `.*`"));
                None
            }
        }
    }
}

/// `the rules "a", "b" and 3 more are`.
fn named(some: &[RuleId], rules: &[Rule]) -> String {
    let names = some.iter().take(NAMES_SHOWN).filter_map(|id| rules.get(id.index()));
    let names = names.map(|rule| format!("{:?}", rule.name)).collect::<Vec<_>>().join(", ");
    match some.len() {
        1 => format!("the rule {names} is"),
        count if count <= NAMES_SHOWN => format!("the rules {names} are"),
        count => format!("the rules {names} and {} more are", count - NAMES_SHOWN),
    }
}

fn pattern(written: &schema::Rule, at: &Pointer, findings: &mut Vec<Finding>) -> Option<PathPattern> {
    match (&written.path, &written.pattern) {
        (Some(path), None) => {
            let read = PathPattern::parse(path);
            read.map_err(|fault| findings.push(Finding::fault(at.key("path"), fault))).ok()
        }
        (None, Some(pattern)) => {
            let at = at.key("pattern");
            let regex = Regex::parse(pattern);
            let regex = regex.map_err(|fault| findings.push(regex_finding(&at, fault))).ok()?;
            for warning in &regex.warnings {
                findings.push(regex_finding(&at, warning.clone()).into_warning());
            }
            Some(PathPattern::Regex(regex.into()))
        }
        (None, None) => {
            let finding = Finding::error(at.clone(), "a rule has a `path` or a `pattern`");
            findings.push(finding.help("path = \"/api/*\", or pattern = '^/v(\\d+)/'"));
            None
        }
        (Some(_), Some(_)) => {
            findings.push(Finding::error(
                at.key("pattern"),
                "a rule has either a `path` or a `pattern`, not both",
            ));
            None
        }
    }
}

fn regex_finding(at: &Pointer, fault: RegexFault) -> Finding {
    Finding::fault(at.clone(), fault.fault).within(fault.at)
}

fn rule(
    written: &schema::Rule,
    pattern: Option<&PathPattern>,
    owner: Owner,
    at: &Pointer,
    around: &mut Surroundings<'_, '_>,
) -> Rule {
    check_methods(written, at, &mut around.context.findings);
    let read = edits::of_rule(written, at, around.settings, around.context);
    let mut action = around.actions.of(written, pattern, at, around.context);
    if let Some(variable) = read.unset {
        action = Action::Unset(variable);
    }
    actions::check_terms(written, at, around.settings, &mut around.context.findings);
    let plain_upstream = match &action {
        Action::Forward(forward) => around.actions.upstreams.is_plain(forward.upstream),
        Action::Redirect(_) | Action::Respond(_) | Action::Files(_) | Action::Unset(_) => true,
    };
    let auth = around.providers.of_rule(written, at, around.context);
    let public_routes = auth::public_routes(written, at, around.context);
    let credentials = auth::credentials(written);
    let rate_limit = rates::rate_limit(&written.rate_limit, &at.key("rate_limit"), around.context);
    let says_access = auth != Auth::OfSite || credentials != Credentials::Auto || rate_limit.is_some();
    let own_bounds = written.timeout.is_some() || written.max_request_body.is_some();
    Rule {
        name: written.name.clone(),
        description: written.description.clone(),
        enabled: written.enabled,
        owner,
        paths: match &written.pattern {
            Some(pattern) => Paths::Pattern(pattern.clone()),
            None => Paths::Path(written.path.clone().unwrap_or_default()),
        },
        methods: written.methods.clone(),
        ws: written.ws,
        action,
        is_plain: read.edits.is_empty() && !own_bounds && plain_upstream && !says_access,
        edits: read.edits,
        timeout: written.timeout.map(|timeout| timeout.0),
        max_request_body_bytes: written.max_request_body.map(|size| size.0),
        retries: written.retries,
        auth,
        public_routes,
        credentials,
        rate_limit,
    }
}

fn entry(id: RuleId, rule: &Rule) -> Entry {
    let bytes = |methods: &Vec<String>| methods.iter().map(|method| method.as_bytes().into()).collect();
    Entry { rule: id, methods: rule.methods.as_ref().map(bytes), ws: rule.ws }
}

fn check_methods(written: &schema::Rule, at: &Pointer, findings: &mut Vec<Finding>) {
    let Some(methods) = &written.methods else {
        return;
    };
    let at = at.key("methods");
    if methods.is_empty() {
        let finding = Finding::error(at.clone(), "a rule takes at least one method");
        findings.push(finding.help("leave `methods` out to take all"));
    }
    for (index, method) in methods.iter().enumerate() {
        let at = at.index(index);
        if !is_token(method) {
            findings.push(Finding::error(at, format!("{method:?} is no method")));
        } else if method == "CONNECT" {
            findings.push(Finding::warning(at, "CONNECT never meets a rule: it gets 405"));
        } else if method.bytes().any(|byte| byte.is_ascii_lowercase()) {
            let finding =
                Finding::warning(at, "methods are case-sensitive, and clients send them in capitals");
            findings.push(finding.help(format!("write \"{}\"", method.to_ascii_uppercase())));
        } else if methods.iter().take(index).any(|earlier| earlier == method) {
            findings.push(Finding::warning(at, format!("{method} stands in this list already")));
        }
    }
}
