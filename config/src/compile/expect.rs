//! The `[[expect]]`s: requests that are followed through the snapshot before it may run, and what each must come to.

use crate::address;
use crate::explain::{Asked, Course, End, Question, Refusal};
use crate::problem::{Finding, Pointer};
use crate::schema;
use crate::scratch::Scratch;
use crate::snapshot::{Rule, Snapshot};
use crate::value::TextOrFalse;

/// Notes every expectation that `snapshot` does not meet.
pub(super) fn check(written: &[schema::Expect], snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let mut scratch = snapshot.scratch();
    for (index, written) in written.iter().enumerate() {
        let at = Pointer::default().key("expect").index(index);
        match Met::by(written, snapshot, &mut scratch) {
            Ok(met) => met.check(&at, findings),
            Err(refusal) => {
                let at = at.key(if refusal.is_of_method() { "method" } else { "url" });
                findings.push(Finding::error(at, refusal.to_string()));
            }
        }
    }
}

/// What the request of an expectation meets.
struct Met<'s> {
    written: &'s schema::Expect,
    snapshot: &'s Snapshot,
    course: Course,
    /// The provider that has to let it in.
    guard: Option<&'s str>,
    /// The same for a WebSocket handshake to its URL, where a rule takes one.
    upgraded: Option<Option<&'s str>>,
}

impl<'s> Met<'s> {
    fn by(
        written: &'s schema::Expect,
        snapshot: &'s Snapshot,
        scratch: &mut Scratch,
    ) -> Result<Self, Refusal> {
        let question =
            Question { url: &written.url, method: &written.method, websocket: false, listener: None };
        let asked = Asked::read(&question, snapshot)?;
        let course = Course::of(&asked, snapshot, scratch);
        let (method, path) = (written.method.as_bytes(), asked.route_request().path);
        let guard = course.route.as_ref().ok().and_then(|route| snapshot.guard(route, method, path));
        let guard = guard.map(|provider| provider.name());
        let handshake = Asked::read(&Question { websocket: true, ..question }, snapshot).ok();
        let upgraded = handshake.and_then(|asked| snapshot.route(&asked.route_request(), scratch).ok());
        let upgraded =
            upgraded.map(|route| snapshot.guard(&route, method, path).map(|provider| provider.name()));
        Ok(Self { written, snapshot, course, guard, upgraded })
    }

    fn check(&self, at: &Pointer, findings: &mut Vec<Finding>) {
        let schema::Expect { rule, site, upstream, path, status, auth, .. } = self.written;
        let unmet = [
            rule.as_ref().and_then(|name| self.check_rule(name, at.key("rule"))),
            site.as_ref().and_then(|name| self.check_site(name, at.key("site"))),
            upstream.as_ref().and_then(|name| self.check_upstream(name, at.key("upstream"))),
            path.as_ref().and_then(|path| self.check_path(path, at.key("path"))),
            status.and_then(|status| self.check_status(status, at.key("status"))),
            auth.as_ref().and_then(|auth| self.check_auth(auth, at.key("auth"))),
        ];
        findings.extend(unmet.into_iter().flatten());
        let texts = [rule, site, upstream, path];
        let nothing = texts.iter().all(|text| text.is_none()) && status.is_none() && auth.is_none();
        if nothing && self.course.route.is_err() {
            findings.push(self.unmet(at.key("url"), "a rule that takes this request"));
        }
    }

    fn check_rule(&self, name: &str, at: Pointer) -> Option<Finding> {
        if self.course.rule(self.snapshot).is_some_and(|rule| rule.name == *name) {
            return None;
        }
        let names = || self.snapshot.rules.iter().map(|rule| &*rule.name);
        Some(
            self.unknown("rule", name, names, &at)
                .unwrap_or_else(|| self.unmet(at, &format!("the rule {name:?}"))),
        )
    }

    fn check_site(&self, name: &str, at: Pointer) -> Option<Finding> {
        let site = self.course.site(self.snapshot);
        if site.is_some_and(|site| site.name == *name) {
            return None;
        }
        let names = || self.snapshot.sites.iter().map(|site| &*site.name);
        let unmet = || {
            let instead =
                site.map_or_else(|| "no site".to_owned(), |site| format!("the site {:?}", site.name));
            let message =
                format!("expected the site {name:?}, but this request meets {instead}: {}", self.fate());
            self.finding(at.clone(), message)
        };
        Some(self.unknown("site", name, names, &at).unwrap_or_else(unmet))
    }

    fn check_upstream(&self, name: &str, at: Pointer) -> Option<Finding> {
        // An origin may be written without its port.
        let url = address::backend(name).map(|backend| backend.url);
        let name = url.as_deref().unwrap_or(name);
        if self.upstream() == Some(name) {
            return None;
        }
        let names = || self.snapshot.upstreams.iter().map(|upstream| &*upstream.name);
        let expected = format!("the upstream {name:?}");
        Some(self.unknown("upstream", name, names, &at).unwrap_or_else(|| self.unmet(at, &expected)))
    }

    fn check_path(&self, path: &str, at: Pointer) -> Option<Finding> {
        let is_sent = matches!(&self.course.end, End::Forwarded { target, .. } if *target == path.as_bytes());
        (!is_sent).then(|| self.unmet(at, &format!("{path:?} at the backend")))
    }

    fn check_status(&self, status: u16, at: Pointer) -> Option<Finding> {
        let answered = match &self.course.end {
            // Whether there is such a file is only known when somebody asks for it.
            End::Forwarded { .. } | End::File { .. } => None,
            End::Redirected { status, .. } | End::Responded { status, .. } => Some(*status),
            End::Refused { error, .. } => Some(error.status()),
        };
        (answered != Some(status)).then(|| self.unmet(at, &format!("the status {status}")))
    }

    fn check_auth(&self, auth: &TextOrFalse, at: Pointer) -> Option<Finding> {
        let expected = match auth {
            TextOrFalse::False => None,
            TextOrFalse::Text(name) => Some(&**name),
        };
        // Nobody has to be let in to what there is not.
        let is_met = self.guard == expected && self.course.route.is_ok();
        if is_met && expected.is_some() && self.upgraded.is_some_and(|guard| guard != expected) {
            let message = "expected it of a WebSocket handshake, too, which another rule takes: one with `ws = false` lets it pass";
            return Some(self.finding(at, message.to_owned()));
        }
        if is_met {
            return None;
        }
        let names = || self.snapshot.providers.iter().map(|provider| provider.name());
        let unmet = || {
            let guard = |name: Option<&str>| match name {
                Some(name) => format!("{name:?} to let this request in"),
                None => "it to need no credentials".to_owned(),
            };
            let found = match self.guard {
                Some(name) => format!("{name:?} has to"),
                None => "it needs none".to_owned(),
            };
            self.finding(at.clone(), format!("expected {}, but {found}: {}", guard(expected), self.fate()))
        };
        let unknown = expected.and_then(|name| self.unknown("provider", name, names, &at));
        Some(unknown.unwrap_or_else(unmet))
    }

    /// The upstream that the request goes to.
    fn upstream(&self) -> Option<&str> {
        match &self.course.end {
            End::Forwarded { upstream, .. } => {
                self.snapshot.upstream(*upstream).map(|upstream| &*upstream.name)
            }
            _ => None,
        }
    }

    /// The finding for a name that nothing has.
    fn unknown<'n, N: Iterator<Item = &'n str>>(
        &self,
        kind: &str,
        name: &str,
        names: impl Fn() -> N,
        at: &Pointer,
    ) -> Option<Finding> {
        if names().any(|known| known == name) {
            return None;
        }
        Some(Finding::error(at.clone(), format!("there is no {kind} {name:?}")).did_you_mean(name, names()))
    }

    fn unmet(&self, at: Pointer, expected: &str) -> Finding {
        self.finding(at, format!("expected {expected}, but {}", self.fate()))
    }

    fn finding(&self, at: Pointer, message: String) -> Finding {
        let method = match &*self.written.method {
            "GET" => String::new(),
            method => format!("--method {} ", shell_word(method)),
        };
        let url = shell_word(&self.written.url);
        Finding::error(at, message).help(format!("`ringway explain {method}{url}` says why"))
    }

    /// What becomes of the request, with the rule that is to blame.
    fn fate(&self) -> String {
        let rule = match (&self.course.route, self.course.rule(self.snapshot)) {
            (Ok(route), Some(rule)) => {
                let list = self.snapshot.list_of(route.rule);
                named(rule, list.map(|list| list.to_string()).unwrap_or_default())
            }
            _ => String::new(),
        };
        match &self.course.end {
            End::Forwarded { target, .. } => {
                let target = String::from_utf8_lossy(target);
                let upstream = self.upstream().unwrap_or_default();
                format!("{rule} wins and sends {target:?} to the upstream {upstream:?}")
            }
            End::Redirected { status, location } => {
                let location = String::from_utf8_lossy(location);
                format!("{rule} wins and redirects to {location:?} with status {status}")
            }
            End::File { folder, path } => {
                let path = String::from_utf8_lossy(path);
                format!("{rule} wins and answers with the file {path:?} below {folder:?}")
            }
            End::Responded { status, .. } => format!("{rule} wins and answers with status {status}"),
            End::Refused { error, why } if rule.is_empty() => {
                format!("{why}: it gets {} `{}`", error.status(), error.code())
            }
            End::Refused { error, why } => {
                format!("{rule} wins and {why}: it gets {} `{}`", error.status(), error.code())
            }
        }
    }
}

/// A rule as messages call it.
fn named(rule: &Rule, list: String) -> String {
    if rule.is_fallback() { list } else { format!("the rule {:?} of {list}", rule.name) }
}

/// `text` as a shell reads it back.
fn shell_word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:,@%+=".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
