//! The rules: each site's own and the site-less ones, their patterns, methods, and where they go.

use super::Names;
use super::settings::Settings;
use super::sites::Sites;
use super::upstreams::Upstreams;
use crate::address;
use crate::list::{Entry, RuleList};
use crate::pattern::PathPattern;
use crate::problem::{Finding, Pointer};
use crate::schema;
use crate::snapshot::{Rule, RuleId, SiteId, UpstreamId};
use crate::table::{TableCache, TableError};

/// All rules and their lists.
#[derive(Default)]
pub(super) struct Rules {
    /// Every rule: each site's in file order, then the site-less ones.
    pub(super) list: Vec<Rule>,
    /// The site-less list, then each site's.
    pub(super) lists: Vec<Draft>,
}

/// A rule list before its table is built: its enabled rules, in order.
pub(super) struct Draft {
    /// Where the list stands.
    at: Pointer,
    rules: Vec<(PathPattern, Entry)>,
}

impl Rules {
    pub(super) fn of(
        written: &schema::Config,
        upstreams: &mut Upstreams,
        sites: &mut Sites,
        findings: &mut Vec<Finding>,
    ) -> Self {
        let mut read = Self::default();
        for (index, (site, compiled)) in written.sites.iter().zip(&mut sites.list).enumerate() {
            let at = Pointer::default().key("sites").index(index);
            let first = read.list.len();
            read.add_list(&site.rules, Some(SiteId(index as u32)), at.key("rules"), upstreams, findings);
            compiled.rules = (first..read.list.len()).map(|index| RuleId(index as u32)).collect();
        }
        read.add_list(&written.rules, None, Pointer::default().key("rules"), upstreams, findings);
        read.lists.rotate_right(1);
        read
    }

    fn add_list(
        &mut self,
        written: &[schema::Rule],
        site: Option<SiteId>,
        at: Pointer,
        upstreams: &mut Upstreams,
        findings: &mut Vec<Finding>,
    ) {
        let mut names = Names::default();
        let mut draft = Draft { at: at.clone(), rules: Vec::new() };
        for (index, written) in written.iter().enumerate() {
            let at = at.index(index);
            names.check(&written.name, index, "rule", at.key("name"), findings);
            let id = RuleId(self.list.len() as u32);
            let pattern = pattern(written, &at, findings);
            let rule = rule(written, site, &at, upstreams, findings);
            if let Some(pattern) = pattern.filter(|_| rule.enabled) {
                draft.rules.push((pattern, entry(id, &rule)));
            }
            self.list.push(rule);
        }
        self.lists.push(draft);
    }

    /// Where nothing can be routed, every request gets 404.
    pub(super) fn warn_of_nothing(&self, findings: &mut Vec<Finding>) {
        let Some((global, own)) = self.lists.split_first() else {
            return;
        };
        if !global.rules.is_empty() {
            return;
        }
        if own.is_empty() {
            let message = "there is no enabled rule: every request gets 404";
            findings.push(Finding::warning(global.at.clone(), message));
        }
        for draft in own.iter().filter(|draft| draft.rules.is_empty()) {
            let at = draft.at.parent().unwrap_or_default().key("name");
            findings.push(Finding::warning(
                at,
                "this site has no enabled rule, and there is none for every site: it answers 404",
            ));
        }
    }
}

impl Draft {
    /// Builds the list's tables, or finds them among those that are in use.
    pub(super) fn build(
        self,
        tables: &mut TableCache,
        settings: &Settings,
        findings: &mut Vec<Finding>,
    ) -> Option<RuleList> {
        let count = self.rules.len();
        let built = RuleList::build(self.rules, tables, settings.rule_table_bytes);
        built.map_err(|error| findings.push(no_table(self.at, count, error))).ok()
    }
}

fn no_table(at: Pointer, count: usize, error: TableError) -> Finding {
    match error {
        TableError::OverBudget => {
            let message =
                format!("the table of these {count} rules needs more memory than limits.rule_table");
            Finding::error(at, message).help("raise `rule_table` in [limits], or make the list shorter")
        }
        TableError::TooLarge => {
            Finding::error(at, format!("the table of these {count} rules cannot be built: they are too many"))
        }
    }
}

fn pattern(written: &schema::Rule, at: &Pointer, findings: &mut Vec<Finding>) -> Option<PathPattern> {
    let read = PathPattern::parse(&written.path);
    read.map_err(|fault| findings.push(Finding::fault(at.key("path"), fault))).ok()
}

fn rule(
    written: &schema::Rule,
    site: Option<SiteId>,
    at: &Pointer,
    upstreams: &mut Upstreams,
    findings: &mut Vec<Finding>,
) -> Rule {
    check_methods(written, at, findings);
    let (upstream, base_path) = destination(written, at, upstreams, findings);
    Rule {
        name: written.name.clone(),
        description: written.description.clone(),
        enabled: written.enabled,
        site,
        path: written.path.clone(),
        methods: written.methods.clone(),
        ws: written.ws,
        upstream,
        base_path,
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
        if method.is_empty() || !method.bytes().all(is_token) {
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

/// A byte of a token (RFC 9110 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Where a rule's requests go. With a problem it is the first upstream, which no snapshot will show.
fn destination(
    written: &schema::Rule,
    at: &Pointer,
    upstreams: &mut Upstreams,
    findings: &mut Vec<Finding>,
) -> (UpstreamId, String) {
    let nowhere = (UpstreamId(0), String::new());
    match (&written.target, &written.upstream) {
        (Some(target), None) => match address::target(target) {
            Ok(target) => (upstreams.implied(target.backend), target.base_path),
            Err(fault) => {
                findings.push(Finding::fault(at.key("target"), fault));
                nowhere
            }
        },
        (None, Some(name)) => match upstreams.named(name) {
            Some(upstream) => (upstream, String::new()),
            None => {
                if upstreams.complete() {
                    let finding =
                        Finding::error(at.key("upstream"), format!("there is no upstream {name:?}"));
                    findings.push(finding.did_you_mean(name, upstreams.names()));
                }
                nowhere
            }
        },
        (None, None) => {
            let finding = Finding::error(at.clone(), "a rule has a `target` or an `upstream`");
            findings.push(
                finding.help("target = \"http://127.0.0.1:3000\", or upstream = a name of [[upstreams]]"),
            );
            nowhere
        }
        (Some(_), Some(name)) => {
            upstreams.named(name);
            findings.push(Finding::error(
                at.key("upstream"),
                "a rule has either a `target` or an `upstream`, not both",
            ));
            nowhere
        }
    }
}
