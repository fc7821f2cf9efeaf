//! What site and rule together say about an exchange: how long it may take, how long its body may be, and what changes of its
//! fields. Worked out once for each pair of them that is met; most have nothing to say and share one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use ringway_config::{
    Basic, Bearer, Credentials, FieldEdits, FieldValue, ForwardedSwitches, Provider, Route, Rule, RuleId,
    Site, SiteId, Snapshot, Timeouts, UpstreamTimeouts,
};
use ringway_wire::{Field, FieldName, FieldSet, Sink, encode, is_underscored_twin};

use crate::rate::Limit;

/// The pairs of site and rule whose terms a worker remembers for each site and rule that there is, and at least. Past it all are
/// forgotten, and worked out again as they are met.
const REMEMBERED_EACH: usize = 4;
const REMEMBERED_MIN: usize = 4096;

/// What holds for one exchange.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) timeouts: Timeouts,
    pub(crate) forwarded: ForwardedSwitches,
    /// 0 is no limit.
    pub(crate) max_request_body_bytes: u64,
    pub(crate) request: Edits,
    pub(crate) response: Edits,
    /// Whom it lets in, where not everybody.
    pub(crate) access: Option<Access>,
    /// The rule lets everybody in, where its site does not.
    pub(crate) opens: bool,
    /// How often clients may come: to the site, to the rule.
    pub(crate) rates: Vec<Limit>,
}

/// Whom an exchange lets in.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) provider: Arc<Provider>,
    /// The fields of an endpoint's 2xx that go to the backend: those of the provider that neither site nor rule changes.
    pub(crate) copied_fields: Vec<String>,
    /// An Authorization that Ringway itself looks at goes to the backend all the same.
    pub(crate) keeps_authorization: bool,
}

impl Access {
    fn of(snapshot: &Snapshot, site: Option<&Site>, rule: &Rule) -> Option<Self> {
        let id = rule.auth.provider(site.and_then(|site| site.auth))?;
        let provider = snapshot.provider(id)?.clone();
        let edits = [site.map(|site| &site.edits.request), Some(&rule.edits.request)];
        let is_changed = |name: &String| edits.iter().flatten().any(|edits| edits.has(name));
        let copied_fields =
            provider.copied_fields().iter().filter(|name| !is_changed(name)).cloned().collect();
        let keeps_authorization = rule.credentials == Credentials::Forwarded;
        Some(Self { provider, copied_fields, keeps_authorization })
    }

    /// The scheme of the Authorization that does not go to the backend, because it is Ringway's own.
    pub(crate) fn own_scheme(&self) -> Option<&'static [u8]> {
        let scheme = match &*self.provider {
            Provider::Basic(_) => Basic::SCHEME,
            Provider::Bearer(_) => Bearer::SCHEME,
            Provider::Forward(_) => return None,
        };
        (!self.keeps_authorization).then_some(scheme.as_bytes())
    }
}

/// The fields by which some backends serve another path, or by another method, than the request line says.
const STEERING: [&[u8]; 6] = [
    b"x-original-url",
    b"x-original-uri",
    b"x-rewrite-url",
    b"x-http-method-override",
    b"x-http-method",
    b"x-method-override",
];

/// Takes those out of `fields`, and what a backend could mistake for one: what they lead to may not be public.
#[cold]
pub(crate) fn take_out_steering(fields: &mut [Field], bytes: &[u8]) {
    for field in fields {
        let name = field.name_span.of(bytes);
        let is = |own: &&[u8]| own.eq_ignore_ascii_case(name) || is_underscored_twin(name, own);
        field.hop_by_hop |= STEERING.iter().any(is);
    }
}

impl Terms {
    /// Those of requests whose site and rule say nothing.
    pub(crate) fn plain(snapshot: &Snapshot) -> Self {
        Self { request: without_claims(snapshot).edits(), ..Self::bare(snapshot) }
    }

    fn bare(snapshot: &Snapshot) -> Self {
        Self {
            timeouts: snapshot.timeouts,
            forwarded: snapshot.forwarded,
            max_request_body_bytes: snapshot.limits.max_request_body_bytes,
            request: Edits::default(),
            response: Edits::default(),
            access: None,
            opens: false,
            rates: Vec::new(),
        }
    }

    fn of(snapshot: &Snapshot, site: Option<&Site>, rule: &Rule) -> Self {
        let mut terms = Self::bare(snapshot);
        let (mut request, mut response) = (without_claims(snapshot), Changes::default());
        terms.access = Access::of(snapshot, site, rule);
        if let Some(access) = &terms.access {
            access.provider.copied_fields().iter().for_each(|name| request.add(name, Change::Remove));
        }
        terms.opens = terms.access.is_none() && site.is_some_and(|site| site.auth.is_some());
        if rule.credentials == Credentials::Dropped {
            ["cookie", "authorization"].iter().for_each(|name| request.add(name, Change::Remove));
        }
        let of_site = site.and_then(|site| Some(Limit::of_site(site, site.rate_limit.as_ref()?)));
        let of_rule = rule.rate_limit.as_ref().map(|limit| Limit::of_rule(snapshot, site, rule, limit));
        terms.rates = of_site.into_iter().chain(of_rule).collect();
        if let Some(site) = site {
            terms.timeouts = site.timeouts.unwrap_or(terms.timeouts);
            terms.forwarded = site.forwarded.unwrap_or(terms.forwarded);
            if site.base_header {
                request.add("x-base", Change::Set("x-base", Value::Text("/")));
            }
            request.add_all(&site.edits.request);
            response.add_all(&site.edits.response);
        }
        request.add_all(&rule.edits.request);
        response.add_all(&rule.edits.response);
        if let Some(upstream) = rule.forward().and_then(|forward| snapshot.upstream(forward.upstream)) {
            prefer(&mut terms.timeouts, &upstream.timeouts);
        }
        terms.timeouts.response = rule.timeout.unwrap_or(terms.timeouts.response);
        terms.max_request_body_bytes = rule.max_request_body_bytes.unwrap_or(terms.max_request_body_bytes);
        Self { request: request.edits(), response: response.edits(), ..terms }
    }

    /// Whether a field that is written needs the request's id.
    pub(crate) fn needs_request_id(&self) -> bool {
        !self.request.ids.is_empty() || !self.response.ids.is_empty()
    }
}

/// What a client says about itself is no endpoint's word: on no rule, guarded or open, since any of them may lead to a backend
/// that trusts these fields. Credentials are a client's own to bring, but where an endpoint has a say.
fn without_claims(snapshot: &Snapshot) -> Changes<'_> {
    let mut changes = Changes::default();
    let claims = snapshot.providers.iter().flat_map(|provider| provider.copied_fields());
    let claims = claims.filter(|name| !matches!(&***name, "authorization" | "cookie"));
    claims.for_each(|name| changes.add(name, Change::Remove));
    changes
}

/// An upstream's own timeouts are preferred to those of the site and the file: whoever runs the backends knows best.
fn prefer(timeouts: &mut Timeouts, own: &UpstreamTimeouts) {
    let UpstreamTimeouts { connect, response, body, idle, tunnel_idle } = *own;
    timeouts.connect = connect.unwrap_or(timeouts.connect);
    timeouts.response = response.unwrap_or(timeouts.response);
    timeouts.upstream_body = body.unwrap_or(timeouts.upstream_body);
    timeouts.upstream_idle = idle.unwrap_or(timeouts.upstream_idle);
    timeouts.tunnel_idle = tunnel_idle.unwrap_or(timeouts.tunnel_idle);
}

/// The terms that a worker has met.
#[derive(Debug, Default)]
pub(crate) struct KnownTerms {
    pairs: RefCell<Pairs>,
}

type Pairs = HashMap<(Option<SiteId>, RuleId), Rc<Terms>, foldhash::fast::FixedState>;

impl KnownTerms {
    /// Those of a request that met `route`, the site and rule of which are these; `None` where the plain ones hold.
    #[inline]
    pub(crate) fn special(
        &self,
        snapshot: &Snapshot,
        route: &Route,
        site: Option<&Site>,
        rule: &Rule,
    ) -> Option<Rc<Terms>> {
        let plain = rule.is_plain && site.is_none_or(|site| site.is_plain);
        (!plain).then(|| self.of_pair(snapshot, route, site, rule))
    }

    fn of_pair(&self, snapshot: &Snapshot, route: &Route, site: Option<&Site>, rule: &Rule) -> Rc<Terms> {
        let mut pairs = self.pairs.borrow_mut();
        let things = snapshot.sites.len() + snapshot.rules.len();
        if pairs.len() >= REMEMBERED_MIN.max(REMEMBERED_EACH * things) {
            pairs.clear();
        }
        let terms = pairs.entry((route.site, route.rule));
        terms.or_insert_with(|| Rc::new(Terms::of(snapshot, site, rule))).clone()
    }
}

/// Changes by name, a later one in the place of an earlier one.
#[derive(Default)]
struct Changes<'a> {
    list: Vec<(String, Change<'a>)>,
}

enum Change<'a> {
    Set(&'a str, Value<'a>),
    Remove,
}

enum Value<'a> {
    Text(&'a str),
    RequestId,
}

impl<'a> Changes<'a> {
    fn add_all(&mut self, edits: &'a FieldEdits) {
        for field in &edits.set {
            let value = match &field.value {
                FieldValue::Text(text) => Value::Text(text),
                FieldValue::RequestId => Value::RequestId,
            };
            self.add(&field.name, Change::Set(&field.name, value));
        }
        edits.remove.iter().for_each(|name| self.add(name, Change::Remove));
    }

    fn add(&mut self, name: &str, change: Change<'a>) {
        let name = name.to_ascii_lowercase();
        self.list.retain(|(known, _)| *known != name);
        self.list.push((name, change));
    }

    fn edits(self) -> Edits {
        let mut edits = Edits::default();
        for (name, change) in self.list {
            let class = FieldName::of(name.as_bytes());
            if is_precise(class) {
                edits.classes = edits.classes.with(class);
            }
            edits.lengths |= length_bit(name.len());
            edits.names.push(name.into_bytes().into());
            match change {
                Change::Set(_, Value::Text(text)) if class == FieldName::Host => {
                    edits.host = Some(text.as_bytes().into());
                }
                Change::Set(name, Value::Text(text)) => {
                    [name, ": ", text, "\r\n"].iter().for_each(|piece| edits.lines.extend(piece.as_bytes()));
                }
                Change::Set(name, Value::RequestId) => edits.ids.push(name.as_bytes().into()),
                Change::Remove => {}
            }
        }
        edits
    }
}

/// The changes of one direction's fields, in the form in which heads are written.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    /// The classes of the names that are changed.
    classes: FieldSet,
    /// All names that are changed, in lower case.
    names: Vec<Box<[u8]>>,
    /// A bit for each length of a name.
    lengths: u64,
    /// The fields that are set, as lines.
    lines: Vec<u8>,
    /// The names under which the request's id is sent.
    ids: Vec<Box<[u8]>>,
    /// The Host that is set.
    host: Option<Box<[u8]>>,
}

/// Whether the class has one name alone.
fn is_precise(class: FieldName) -> bool {
    !matches!(class, FieldName::Other | FieldName::XForwarded | FieldName::Underscored)
}

/// All lengths from 63 share the last bit.
fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}

impl Edits {
    /// The classes of fields that nobody else writes.
    pub(crate) fn classes(&self) -> FieldSet {
        self.classes
    }

    /// The Host that is set.
    pub(crate) fn host(&self) -> Option<&[u8]> {
        self.host.as_deref()
    }

    /// Whether the field `name` is changed, which has no class of its own.
    pub(crate) fn changes(&self, name: &[u8]) -> bool {
        self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// Takes those of `fields` out that are changed and have no class of their own; with `twins` also what a backend could
    /// mistake for one.
    #[inline]
    pub(crate) fn take_out(&self, fields: &mut [Field], bytes: &[u8], twins: bool) {
        if self.lengths != 0 {
            self.take_out_changed(fields, bytes, twins);
        }
    }

    fn take_out_changed(&self, fields: &mut [Field], bytes: &[u8], twins: bool) {
        for field in fields {
            // Most names are as long as none that is changed.
            if self.lengths & length_bit(field.name_span.len()) != 0 && !is_precise(field.name) {
                let name = field.name_span.of(bytes);
                let is =
                    |own: &[u8]| own.eq_ignore_ascii_case(name) || (twins && is_underscored_twin(name, own));
                field.hop_by_hop |= self.names.iter().any(|own| own.len() == name.len() && is(own));
            }
        }
    }

    /// Appends the fields that are set.
    pub(crate) fn append(&self, lines: &mut Vec<u8>, request_id: Option<&str>) {
        lines.extend_from_slice(&self.lines);
        for name in &self.ids {
            let id = request_id.unwrap_or_default().as_bytes();
            [name, &b": "[..], id, b"\r\n"].iter().for_each(|piece| lines.extend_from_slice(piece));
        }
    }

    /// Writes the fields that are set, all but Host.
    #[inline]
    pub(crate) fn write(&self, sink: &mut Sink<'_>, request_id: Option<&str>) {
        if self.lengths == 0 {
            return;
        }
        sink.put(&self.lines);
        for name in &self.ids {
            encode::field(sink, name, request_id.unwrap_or_default().as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use ringway_config::FieldSetting;
    use ringway_wire::{Limits, Progress, RequestHead};

    use super::*;

    fn edits(set: &[(&str, &str)], remove: &[&str]) -> FieldEdits {
        let setting = |(name, value): &(&str, &str)| FieldSetting {
            name: name.to_string(),
            value: FieldValue::Text(value.to_string()),
        };
        FieldEdits {
            set: set.iter().map(setting).collect(),
            remove: remove.iter().map(|name| name.to_string()).collect(),
        }
    }

    fn both(site: &FieldEdits, rule: &FieldEdits) -> Edits {
        let mut changes = Changes::default();
        changes.add_all(site);
        changes.add_all(rule);
        changes.edits()
    }

    fn lines(edits: &Edits) -> String {
        let mut lines = Vec::new();
        edits.append(&mut lines, Some("id"));
        String::from_utf8(lines).unwrap()
    }

    /// The names of the fields of `fields` that are left, but Host.
    fn left(edits: &Edits, fields: &str) -> Vec<String> {
        let mut bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes();
        let mut head = RequestHead::new();
        assert!(matches!(head.read(&mut bytes, &Limits::default()), Ok(Progress::Done(_))));
        edits.take_out(&mut head.fields, &bytes, true);
        let stays = |field: &&Field| !field.hop_by_hop && !edits.classes().contains(field.name);
        let names = head.fields.iter().skip(1).filter(stays).map(|field| field.name_span.of(&bytes));
        names.map(|name| String::from_utf8(name.to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_later_change_takes_the_place_of_an_earlier_one() {
        let site = edits(&[("X-A", "site"), ("X-B", "site")], &["x-c", "x-d"]);
        let rule = edits(&[("x-a", "rule"), ("X-C", "rule")], &["x-b"]);
        let merged = both(&site, &rule);
        assert_eq!(lines(&merged), "x-a: rule\r\nX-C: rule\r\n");
        assert_eq!(left(&merged, "X-A: 1\r\nX-B: 1\r\nX-C: 1\r\nX-D: 1\r\nX-E: 1\r\n"), ["X-E"]);
    }

    #[test]
    fn a_changed_field_with_underscores_has_twins_too() {
        let changed = both(&edits(&[("X_User", "a")], &["y_z"]), &edits(&[], &[]));
        assert_eq!(left(&changed, "X-User: 1\r\nX_User: 2\r\nY-Z: 3\r\nY_Z: 4\r\nYZ: 5\r\n"), ["YZ"]);
    }

    #[test]
    fn every_spelling_of_a_changed_field_goes_and_nothing_else() {
        let changed = both(
            &edits(&[("X-User", "a"), ("Cookie", "b"), ("X-Forwarded-Prefix", "/")], &[]),
            &edits(&[], &[]),
        );
        let fields = "x-user: 1\r\nX_USER: 2\r\nX-Users: 3\r\nX-Use: 4\r\ncookie: 5\r\nCookie: 6\r\n\
                      X-Forwarded-Prefix: 7\r\nX-Forwarded-Suffix: 8\r\nAccept: 9\r\n";
        assert_eq!(left(&changed, fields), ["X-Users", "X-Use", "X-Forwarded-Suffix", "Accept"]);
    }
}
