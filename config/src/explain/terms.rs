//! What site, upstream and rule change of a request on its way and of its response: fields in their order, timeouts, retries
//! and limits; and the fields that Ringway writes by itself.

use std::time::Duration;

use super::course::Course;
use super::{Author, FieldChange, Limit, Retries, Timeout};
use crate::schema;
use crate::snapshot::{Admission, FieldEdits, FieldValue, OnNoBackend, Rule, Site, Snapshot, Upstream};

/// Fields whose values are not shown: they are there to be kept secret.
const SECRET_FIELDS: &[&str] = &["authorization", "cookie", "set-cookie"];
/// Parts of names that say the same.
const SECRET_PARTS: &[&str] =
    &["auth", "credential", "key", "password", "secret", "session", "signature", "token"];
/// What a secret is shown as.
const MASK: &str = "***";

/// The changes of fields in the order in which they are made.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) request: Vec<FieldChange>,
    pub(super) response: Vec<FieldChange>,
}

impl Changes {
    pub(super) fn of(site: Option<&Site>, rule: Option<&Rule>) -> Self {
        let mut changes = Self::default();
        if let Some(site) = site {
            if site.base_header {
                let value = Some("/".to_owned());
                add(
                    &mut changes.request,
                    FieldChange { name: "x-base".to_owned(), value, ..by(Author::Site) },
                );
            }
            add_all(&mut changes.request, &site.edits.request, Author::Site);
            add_all(&mut changes.response, &site.edits.response, Author::Site);
        }
        if let Some(rule) = rule {
            add_all(&mut changes.request, &rule.edits.request, Author::Rule);
            add_all(&mut changes.response, &rule.edits.response, Author::Rule);
        }
        changes
    }
}

fn by(author: Author) -> FieldChange {
    FieldChange { name: String::new(), value: None, by: author, overridden: false }
}

fn add_all(changes: &mut Vec<FieldChange>, edits: &FieldEdits, author: Author) {
    for field in &edits.set {
        let value = match &field.value {
            FieldValue::Text(_) if is_secret(&field.name) => MASK,
            FieldValue::Text(text) => text,
            FieldValue::RequestId => "auto",
        };
        let (name, value) = (field.name.clone(), Some(value.to_owned()));
        add(changes, FieldChange { name, value, ..by(author) });
    }
    edits.remove.iter().for_each(|name| add(changes, FieldChange { name: name.clone(), ..by(author) }));
}

fn add(changes: &mut Vec<FieldChange>, change: FieldChange) {
    let earlier = changes.iter_mut().filter(|earlier| earlier.name.eq_ignore_ascii_case(&change.name));
    earlier.for_each(|earlier| earlier.overridden = true);
    changes.push(change);
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_FIELDS.contains(&&*name) || SECRET_PARTS.iter().any(|part| name.contains(part))
}

/// Whether the field `name` is among what is changed.
pub(super) fn changes(changes: &[FieldChange], name: &str) -> bool {
    changes.iter().any(|change| change.name.eq_ignore_ascii_case(name))
}

/// The Host that is set.
pub(super) fn host_set(changes: &[FieldChange]) -> Option<String> {
    let of_host = |change: &&FieldChange| change.name.eq_ignore_ascii_case("host") && !change.overridden;
    changes.iter().find(of_host).and_then(|change| change.value.clone())
}

/// The fields that Ringway writes by itself and that neither site nor rule changes. What a trusted proxy sent may stay in
/// place of some of them.
pub(super) fn own_fields(
    snapshot: &Snapshot,
    course: &Course,
    change_origin: bool,
    changed: &[FieldChange],
) -> Vec<&'static str> {
    let site = course.site(snapshot);
    let switches = site.and_then(|site| site.forwarded).unwrap_or(snapshot.forwarded);
    let tenant = course.route.as_ref().is_ok_and(|route| route.tenant.is_some());
    let fields = [
        (switches.x_forwarded, "X-Forwarded-For"),
        (switches.x_forwarded, "X-Real-IP"),
        (switches.x_forwarded, "X-Forwarded-Proto"),
        (switches.x_forwarded, "X-Forwarded-Host"),
        (switches.forwarded, "Forwarded"),
        (change_origin, "Origin"),
        (tenant, "x-vhost-tenant"),
        (snapshot.server.via, "Via"),
    ];
    let own = fields.into_iter().filter(|(is_on, name)| *is_on && !changes(changed, name));
    own.map(|(_, name)| name).collect()
}

/// The timeouts that are not the file's: the rule's, or else the upstream's, or else the site's.
pub(super) fn timeouts(
    snapshot: &Snapshot,
    site: Option<&Site>,
    upstream: Option<&Upstream>,
    rule: Option<&Rule>,
) -> Vec<Timeout> {
    let file = &snapshot.timeouts;
    let of_site = site.and_then(|site| site.timeouts).unwrap_or(*file);
    let of_upstream = upstream.map(|upstream| upstream.timeouts).unwrap_or_default();
    let of_rule = rule.and_then(|rule| rule.timeout);
    let keys = [
        ("body", of_site.client_body, file.client_body, None),
        ("write", of_site.client_write, file.client_write, None),
        ("connect", of_site.connect, file.connect, of_upstream.connect),
        ("response", of_site.response, file.response, of_upstream.response),
        ("upstream_body", of_site.upstream_body, file.upstream_body, of_upstream.body),
        ("upstream_idle", of_site.upstream_idle, file.upstream_idle, of_upstream.idle),
        ("tunnel_idle", of_site.tunnel_idle, file.tunnel_idle, of_upstream.tunnel_idle),
    ];
    let set = keys.into_iter().filter_map(|(name, of_site, of_file, of_upstream)| {
        let of_rule = of_rule.filter(|_| name == "response").map(|timeout| (timeout, Author::Rule));
        let of_upstream = of_upstream.map(|timeout| (timeout, Author::Upstream));
        let of_site = (of_site != of_file).then_some((of_site, Author::Site));
        let (timeout, by) = of_rule.or(of_upstream).or(of_site)?;
        Some(Timeout { name, value_ms: milliseconds(timeout), by })
    });
    set.collect()
}

/// How many more backends a request may go to: as the rule says, or else as the upstream does.
pub(super) fn retries(upstream: Option<&Upstream>, rule: Option<&Rule>) -> Retries {
    let default = schema::Upstream::default().retries;
    let of_upstream = upstream.map_or(default, |upstream| upstream.retries);
    match rule.and_then(|rule| rule.retries) {
        Some(count) => Retries { count, by: Some(Author::Rule) },
        None => Retries { count: of_upstream, by: (of_upstream != default).then_some(Author::Upstream) },
    }
}

/// What a request may have to wait for.
pub(super) fn limits(site: Option<&Site>, upstream: Option<&Upstream>) -> Vec<Limit> {
    let of_site = site.map(|site| limit(&site.admission, Author::Site, false));
    let of_upstream = upstream.map(|upstream| {
        let waits = upstream.health.on_no_backend == OnNoBackend::Wait;
        limit(&upstream.admission, Author::Upstream, waits)
    });
    let limits = of_site.into_iter().chain(of_upstream);
    limits.filter(|limit| limit.max_active > 0 || limit.waits_for_backend).collect()
}

fn limit(admission: &Admission, of: Author, waits_for_backend: bool) -> Limit {
    let Admission { max_active, max_queued, queue_timeout, count_tunnels } = *admission;
    let queue_timeout_ms = milliseconds(queue_timeout);
    Limit { of, max_active, max_queued, queue_timeout_ms, count_tunnels, waits_for_backend }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
