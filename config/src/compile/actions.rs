//! What becomes of a rule's requests: forwarded to an upstream with the path as it is, cut or rewritten; redirected; or
//! answered.

use std::path::PathBuf;

use super::Context;
use super::settings::Settings;
use super::upstreams::Upstreams;
use crate::address;
use crate::pattern::PathPattern;
use crate::problem::{Finding, Pointer};
use crate::rewrite::{GroupsCache, Location, Rewrite, TemplateFault};
use crate::schema::{self, UpstreamOf};
use crate::snapshot::{Action, Files, Forward, PathChange, Redirect, Respond, RewriteTo, UpstreamId};
use crate::value::AutoOrBool;

/// The statuses of a redirect that sends a client to one place (RFC 9110 section 15.4).
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

/// The longest body of a `respond`, in bytes.
const RESPOND_BODY_BYTES_MAX: usize = 64 << 10;

/// The upstream of what has a problem: no snapshot will show it.
const NOWHERE: UpstreamId = UpstreamId(0);

/// Reads actions, and collects the upstreams that they imply.
pub(super) struct Actions<'c> {
    pub(super) upstreams: &'c mut Upstreams,
    pub(super) groups: &'c mut GroupsCache,
}

impl Actions<'_> {
    /// The action of a rule whose paths are `pattern`, if they could be read.
    pub(super) fn of(
        &mut self,
        written: &schema::Rule,
        pattern: Option<&PathPattern>,
        at: &Pointer,
        context: &mut Context<'_>,
    ) -> Action {
        check_only_one(written, at, &mut context.findings);
        if let Some(redirect) = &written.redirect {
            check_not_forwarded(written, "redirects", at, &mut context.findings);
            return self.redirect(redirect, pattern, &at.key("redirect"), &mut context.findings);
        }
        if let Some(respond) = &written.respond {
            check_not_forwarded(written, "answers", at, &mut context.findings);
            return respond_with(respond, &at.key("respond"), &mut context.findings);
        }
        if let Some(folder) = &written.static_dir {
            check_not_forwarded(written, "serves files", at, &mut context.findings);
            let path = self.path_change(written, pattern, "/", at, &mut context.findings);
            return match static_dir(folder, &at.key("static_dir"), context) {
                Ok(folder) => Action::Files(Files { folder, path }),
                Err(variable) => Action::Unset(variable),
            };
        }
        let (upstream, target) = match self.destination(written, at, context) {
            Ok(destination) => destination,
            Err(variable) => return Action::Unset(variable),
        };
        let own_path = target.as_ref().map_or("/", |target| &target.path);
        let path = self.path_change(written, pattern, own_path, at, &mut context.findings);
        let base_path = match path {
            // It is the target's whole path already.
            PathChange::Replace(_) => String::new(),
            _ => target.map(|target| target.base_path).unwrap_or_default(),
        };
        Action::Forward(Forward { upstream, base_path, path, change_origin: written.change_origin })
    }

    /// Where a site's own `upstream` sends what no rule takes.
    pub(super) fn own_upstream(
        &mut self,
        written: &UpstreamOf,
        site: &str,
        at: &Pointer,
        context: &mut Context<'_>,
    ) -> Forward {
        let upstream = match written {
            UpstreamOf::Named(name) => {
                let instead = |url: &str| format!("write upstream = {{ backends = [{{ url = {url:?} }}] }}");
                self.named(name, at, instead, &mut context.findings)
            }
            UpstreamOf::Inline(inline) => self.upstreams.of_site(inline, site, at, context),
        };
        Forward { upstream, base_path: String::new(), path: PathChange::Keep, change_origin: false }
    }

    /// The upstream, and the target if it was one; or the variable that is not set.
    fn destination(
        &mut self,
        written: &schema::Rule,
        at: &Pointer,
        context: &mut Context<'_>,
    ) -> Result<(UpstreamId, Option<address::Target>), String> {
        match (&written.target, &written.upstream) {
            (Some(target), _) => {
                let at = at.key("target");
                let Some(text) = context.expanded(target, &at)? else {
                    return Ok((NOWHERE, None));
                };
                match address::target(&text) {
                    Ok(target) => {
                        let backend = target.backend.clone();
                        Ok((self.upstreams.implied(backend, &at, &mut context.findings), Some(target)))
                    }
                    Err(fault) => {
                        context.findings.push(Finding::fault(at, fault));
                        Ok((NOWHERE, None))
                    }
                }
            }
            (None, Some(name)) => {
                let instead = |url: &str| format!("write target = {url:?}");
                Ok((self.named(name, &at.key("upstream"), instead, &mut context.findings), None))
            }
            (None, None) => Ok((NOWHERE, None)),
        }
    }

    /// The upstream called `name`; a URL is none, and `instead` is what to write then.
    fn named(
        &mut self,
        name: &str,
        at: &Pointer,
        instead: fn(&str) -> String,
        findings: &mut Vec<Finding>,
    ) -> UpstreamId {
        self.upstreams.named(name).unwrap_or_else(|| {
            if self.upstreams.complete() {
                let finding = Finding::error(at.clone(), format!("there is no upstream {name:?}"));
                findings.push(match name.contains("://") {
                    true => finding.help(instead(name)),
                    false => finding.did_you_mean(name, self.upstreams.names()),
                });
            }
            NOWHERE
        })
    }

    fn path_change(
        &mut self,
        written: &schema::Rule,
        pattern: Option<&PathPattern>,
        own_path: &str,
        at: &Pointer,
        findings: &mut Vec<Finding>,
    ) -> PathChange {
        if let Some(template) = &written.rewrite {
            if written.strip_prefix {
                let message = "a rule has either a `rewrite` or `strip_prefix`, not both";
                findings.push(Finding::error(at.key("strip_prefix"), message));
            }
            if let Some(finding) = check_is_path(template, &at.key("rewrite")) {
                findings.push(finding);
            }
            let regex = pattern.and_then(PathPattern::regex);
            if regex.is_none() && written.pattern.is_some() {
                return PathChange::Keep;
            }
            let rewrite = Rewrite::compile(template, regex, self.groups);
            return match rewrite {
                Ok(rewrite) => {
                    PathChange::Rewrite(RewriteTo { written: template.clone(), rewrite: rewrite.into() })
                }
                Err(fault) => {
                    findings.push(template_finding(&at.key("rewrite"), fault));
                    PathChange::Keep
                }
            };
        }
        if !written.strip_prefix {
            return PathChange::Keep;
        }
        match pattern {
            Some(PathPattern::Prefix(prefix)) => PathChange::Strip { prefix_bytes: prefix.len() },
            Some(PathPattern::All) | None => PathChange::Keep,
            Some(PathPattern::Exact(_)) => PathChange::Replace(own_path.to_owned()),
            Some(PathPattern::Suffix(_) | PathPattern::Regex(_)) => {
                let finding = Finding::error(at.key("strip_prefix"), "there is no prefix to take away");
                findings.push(
                    finding.help("`path` is a prefix when it ends in `/*`; with a `pattern`, use `rewrite`"),
                );
                PathChange::Keep
            }
        }
    }

    fn redirect(
        &mut self,
        written: &schema::Redirect,
        pattern: Option<&PathPattern>,
        at: &Pointer,
        findings: &mut Vec<Finding>,
    ) -> Action {
        if !REDIRECTS.contains(&written.status) {
            let finding = Finding::error(at.key("status"), format!("{} is no redirect", written.status));
            findings.push(finding.help("write 301, 302, 303, 307 or 308"));
        }
        let nowhere = Action::Unset(String::new());
        match Location::compile(&written.to, pattern.and_then(PathPattern::regex), self.groups) {
            Ok(to) => {
                let (status, written) = (written.status, written.to.clone());
                Action::Redirect(Redirect { status, written, to: to.into() })
            }
            Err(fault) => {
                if pattern.is_some() {
                    findings.push(template_finding(&at.key("to"), fault));
                }
                nowhere
            }
        }
    }
}

/// A URL would be sent as a path, with a `/` in front: its writer meant another backend.
fn check_is_path(template: &str, at: &Pointer) -> Option<Finding> {
    let (scheme, _) = template.split_once("://")?;
    let is_scheme = matches!(&*scheme.to_ascii_lowercase(), "http" | "https" | "ws" | "wss" | "unix");
    let finding = Finding::error(at.clone(), "a rewrite is a path: it cannot choose the backend");
    is_scheme
        .then(|| finding.help("`target` or `upstream` has the backend; the path that it is sent stands here"))
}

fn template_finding(at: &Pointer, fault: TemplateFault) -> Finding {
    Finding::fault(at.clone(), fault.fault).within(fault.at)
}

fn respond_with(written: &schema::Respond, at: &Pointer, findings: &mut Vec<Finding>) -> Action {
    if written.body.len() > RESPOND_BODY_BYTES_MAX {
        let message =
            format!("a body has at most {RESPOND_BODY_BYTES_MAX} bytes here: each response has a copy");
        findings.push(Finding::error(at.key("body"), message));
    }
    if matches!(written.status, 204 | 205 | 304) && !written.body.is_empty() {
        let message = format!("a response with status {} has no body (RFC 9110 section 15)", written.status);
        findings.push(Finding::error(at.key("body"), message));
    }
    Action::Respond(Respond { status: written.status, body: written.body.clone() }.into())
}

/// The folder that `static_dir`, which stands at `at`, names.
///
/// # Errors
/// The variable that is not set.
pub(super) fn static_dir(written: &str, at: &Pointer, context: &mut Context<'_>) -> Result<PathBuf, String> {
    let folder = context.expanded(written, at)?.unwrap_or_default();
    if written.is_empty() || folder.contains('\0') {
        let finding = Finding::error(at.clone(), "this is no name of a folder");
        context.findings.push(finding.help("static_dir = \"/srv/www\""));
    }
    Ok(folder.into())
}

/// Exactly one of the ways that a rule can go.
fn check_only_one(written: &schema::Rule, at: &Pointer, findings: &mut Vec<Finding>) {
    let ways = [
        ("target", written.target.is_some()),
        ("upstream", written.upstream.is_some()),
        ("static_dir", written.static_dir.is_some()),
        ("redirect", written.redirect.is_some()),
        ("respond", written.respond.is_some()),
    ];
    let mut chosen = ways.iter().filter(|(_, there)| *there).map(|(key, _)| *key);
    let Some(first) = chosen.next() else {
        let message = "a rule has a `target`, an `upstream`, a `static_dir`, a `redirect` or a `respond`";
        let help = "target = \"http://127.0.0.1:3000\", upstream = \"name\", static_dir = \"/srv/www\", \
                    redirect = { to = \"/new\" } or respond = { status = 404 }";
        findings.push(Finding::error(at.clone(), message).help(help));
        return;
    };
    for further in chosen {
        let message = format!("a rule has either `{first}` or `{further}`, not both");
        findings.push(Finding::error(at.key(further), message).on_key());
    }
}

/// What only a forwarded request can have. Files are found by a changed path, too.
fn check_not_forwarded(written: &schema::Rule, does: &str, at: &Pointer, findings: &mut Vec<Finding>) {
    let has_path = written.static_dir.is_some();
    let keys = [
        ("rewrite", written.rewrite.is_some() && !has_path),
        ("strip_prefix", written.strip_prefix && !has_path),
        ("change_origin", written.change_origin),
        ("timeout", written.timeout.is_some()),
        ("retries", written.retries.is_some()),
        ("max_request_body", written.max_request_body.is_some()),
        ("headers", !written.headers.is_empty()),
        ("request_headers", !written.request_headers.is_empty()),
        ("forward_credentials", written.forward_credentials != AutoOrBool::Auto),
    ];
    for (key, _) in keys.iter().filter(|(_, there)| *there) {
        let message = format!("this rule {does} by itself: `{key}` is for rules with a backend");
        findings.push(Finding::error(at.key(key), message).on_key());
    }
}

/// The bounds that a rule sets itself.
pub(super) fn check_terms(
    written: &schema::Rule,
    at: &Pointer,
    settings: &Settings,
    findings: &mut Vec<Finding>,
) {
    if let Some(timeout) = written.timeout.filter(|timeout| *timeout > settings.max_timeout) {
        let message =
            format!("a timeout of {timeout} is longer than limits.max_timeout, {}", settings.max_timeout);
        findings.push(Finding::error(at.key("timeout"), message).help("raise `max_timeout` in [limits]"));
    }
}
