//! The changes of fields that rules and sites make: which fields may be changed, and to what.

use std::collections::{BTreeMap, HashSet};

use ringway_wire::FieldName;

use super::settings::Settings;
use super::{Context, is_token};
use crate::problem::{Finding, Pointer};
use crate::schema;
use crate::snapshot::{Edits, FieldEdits, FieldSetting, FieldValue};

/// Fields that belong to the connection or decide where a message ends: they are Ringway's alone.
pub(super) const NEVER: &[&str] = &[
    "connection",
    "content-length",
    "date",
    "expect",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-vhost-tenant",
];

/// The request id field where `server.request_id` names none.
const REQUEST_ID: &str = "x-request-id";

/// A field's name and its value have at most this many bytes each: they are written into every head.
const FIELD_BYTES_MAX: usize = 4096;

/// What a site or a rule says about fields.
#[derive(Default)]
pub(super) struct Read {
    pub(super) edits: Edits,
    /// A variable that a value needs and that is not set.
    pub(super) unset: Option<String>,
}

/// The changes of a rule that stands at `at`.
pub(super) fn of_rule(
    written: &schema::Rule,
    at: &Pointer,
    settings: &Settings,
    context: &mut Context<'_>,
) -> Read {
    read(&written.headers, &written.request_headers, &written.response_headers, at, settings, context)
}

/// The changes of a site that stands at `at`.
pub(super) fn of_site(
    written: &schema::Site,
    at: &Pointer,
    settings: &Settings,
    context: &mut Context<'_>,
) -> Read {
    read(&written.headers, &written.request_headers, &written.response_headers, at, settings, context)
}

fn read(
    headers: &BTreeMap<String, String>,
    request: &schema::FieldEdits,
    response: &schema::FieldEdits,
    at: &Pointer,
    settings: &Settings,
    context: &mut Context<'_>,
) -> Read {
    let id_field = settings.server.request_id.as_deref().unwrap_or(REQUEST_ID);
    let (of_request, of_response) = (at.key("request_headers"), at.key("response_headers"));
    let direction = Direction::Request;
    let mut reader = Reader { id_field, context, direction, seen: HashSet::new(), unset: None };
    let mut edits = Edits::default();
    reader.set(headers, &at.key("headers"), &mut edits.request);
    reader.set(&request.set, &of_request.key("set"), &mut edits.request);
    reader.remove(&request.remove, &of_request.key("remove"), &mut edits.request);
    reader.seen.clear();
    reader.direction = Direction::Response;
    reader.set(&response.set, &of_response.key("set"), &mut edits.response);
    reader.remove(&response.remove, &of_response.key("remove"), &mut edits.response);
    let unset = reader.unset;
    Read { edits, unset }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Response,
}

struct Reader<'c, 'w> {
    id_field: &'c str,
    context: &'c mut Context<'w>,
    direction: Direction,
    /// Names of this direction, in lower case.
    seen: HashSet<String>,
    unset: Option<String>,
}

impl Reader<'_, '_> {
    fn set(&mut self, written: &BTreeMap<String, String>, at: &Pointer, edits: &mut FieldEdits) {
        for (name, value) in written {
            let at = at.key(name);
            let Some(lower) = self.name(name, &at, true) else { continue };
            let value = if value == "auto" && lower == self.id_field {
                FieldValue::RequestId
            } else {
                FieldValue::Text(self.value(value, &at, lower == "host"))
            };
            edits.set.push(FieldSetting { name: name.clone(), value });
        }
    }

    fn remove(&mut self, written: &[String], at: &Pointer, edits: &mut FieldEdits) {
        for (index, name) in written.iter().enumerate() {
            let at = at.index(index);
            let Some(lower) = self.name(name, &at, false) else { continue };
            if name.contains('*') {
                let message = format!("{name} is one field of that name: a `*` stands for nothing else here");
                self.context.findings.push(Finding::warning(at.clone(), message));
            }
            if lower == "host" {
                let message = "a request without Host is not sent (RFC 9112 section 3.2)";
                self.context.findings.push(Finding::error(at, message));
                continue;
            }
            edits.remove.push(lower);
        }
    }

    /// The name in lower case, when it is one that may be changed here.
    fn name(&mut self, name: &str, at: &Pointer, is_key: bool) -> Option<String> {
        let lower = name.to_ascii_lowercase();
        let wrong = if !is_token(name) {
            format!("{name:?} is no field name: it is made of letters, digits and hyphens")
        } else if name.len() > FIELD_BYTES_MAX {
            format!("a field's name has at most {FIELD_BYTES_MAX} bytes")
        } else if NEVER.contains(&&*lower) {
            format!(
                "the field {name} is Ringway's own: it belongs to the connection, or to what Ringway promises"
            )
        } else if let Some(hyphened) = known_twin(&lower) {
            format!("the field {name} would be read as {hyphened} by many backends: write it with hyphens")
        } else if !self.seen.insert(lower.clone()) {
            format!("the field {name} is changed twice here")
        } else if lower == "host" && self.direction == Direction::Response {
            "Host is a field of requests".to_owned()
        } else {
            return Some(lower);
        };
        let finding = Finding::error(at.clone(), wrong);
        self.context.findings.push(if is_key { finding.on_key() } else { finding });
        None
    }

    fn value(&mut self, written: &str, at: &Pointer, is_host: bool) -> String {
        let value = match self.context.expanded(written, at) {
            Ok(value) => value.unwrap_or_default(),
            Err(variable) => {
                self.unset = Some(variable);
                return written.to_owned();
            }
        };
        if value.chars().any(|c| c.is_control() && c != '\t') {
            self.error(at, "a field's value has no control characters".to_owned());
        } else if value.trim() != value {
            self.error(at, "a field's value has no white space around it".to_owned());
        } else if value.len() > FIELD_BYTES_MAX {
            self.error(at, format!("a field's value has at most {FIELD_BYTES_MAX} bytes"));
        } else if is_host && ringway_wire::parse_authority(value.as_bytes()).is_none() {
            self.error(at, format!("{value:?} is no Host: write a host, or a host and a port"));
        }
        value
    }

    fn error(&mut self, at: &Pointer, message: String) {
        self.context.findings.push(Finding::error(at.clone(), message));
    }
}

/// The well-known field that `name`, in lower case, is taken for where `_` is read as `-` (CGI, WSGI, Rack).
pub(super) fn known_twin(name: &str) -> Option<String> {
    let hyphened = name.replace('_', "-");
    let known = FieldName::of(hyphened.as_bytes()) != FieldName::Other || NEVER.contains(&&*hyphened);
    (hyphened != name && known).then_some(hyphened)
}
