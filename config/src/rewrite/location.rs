//! Where a redirect sends the client: `to`, a template of a URL.

use std::sync::Arc;

use ringway_wire::HeadErrorKind;

use super::groups::{GroupScratch, Groups, GroupsCache, Spans};
use super::template::{Part, Purpose, Template, TemplateFault};
use super::{BadRewrite, REWRITTEN_PATH_BYTES_MAX, begin_with_slash, check_length, check_path, escape};
use crate::host;
use crate::pattern::Regex;
use crate::problem::Fault;

/// The `to` of a redirect.
///
/// Whatever a request sends, the location's scheme, host and port are those that were written, or it has none and leads to
/// the host that was asked: what stands before the path is literal, a path begins with a single `/` where nothing stands
/// before it, and every byte from the request that is none of a URI's is percent-encoded.
#[derive(Debug)]
pub(crate) struct Location {
    /// `https://host:port`, or empty.
    origin: Box<str>,
    /// The path, and the query if one was written.
    front: Template,
    /// `#` and what follows it.
    fragment: Template,
    /// A query was written: the request's is left out.
    own_query: bool,
    /// `None` when no group is used.
    groups: Option<Arc<Groups>>,
    highest_group: usize,
}

impl Location {
    /// Reads a redirect's `to`: an http or https URL, or a path and what follows it. `pattern` is the rule's, if it has
    /// one. `${path}` is the request's path, unless a group has that name.
    ///
    /// # Errors
    /// The first thing that is wrong, where in `to`, and what to write instead.
    pub(crate) fn compile(
        to: &str,
        pattern: Option<&Regex>,
        cache: &mut GroupsCache,
    ) -> Result<Self, TemplateFault> {
        let (origin, rest) = origin(to)?;
        let template = Template::parse(rest, super::groups_of(pattern), Purpose::Location)
            .map_err(|fault| fault.shifted(to.len() - rest.len()))?;
        if template.literal_bytes() > REWRITTEN_PATH_BYTES_MAX {
            return Err(super::too_long());
        }
        if origin.is_empty() && template.begins_with_slash_and_path() {
            let fault = Fault::new("`${path}` brings its own `/`, and two lead a client to another host");
            return Err(TemplateFault::new(1, fault.help("leave out the `/` before it")));
        }
        let groups = super::matcher(&template, pattern, cache)?;
        let highest_group = template.highest_group();
        let (front, fragment) = template.divide('#');
        let own_query = front.has_literal('?');
        Ok(Self { origin: origin.into(), front, fragment, own_query, groups, highest_group })
    }

    /// Appends the location for a request of `path` and `query`. The query is added unless `to` has its own.
    ///
    /// # Errors
    /// [`BadRewrite`] when it would be no URL, or one of another host; then `out` is as it was.
    pub(crate) fn write(
        &self,
        path: &[u8],
        query: Option<&[u8]>,
        scratch: &mut GroupScratch,
        out: &mut Vec<u8>,
    ) -> Result<(), BadRewrite> {
        let start = out.len();
        let written = self.append(path, query, scratch, out);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    fn append(
        &self,
        path: &[u8],
        query: Option<&[u8]>,
        scratch: &mut GroupScratch,
        out: &mut Vec<u8>,
    ) -> Result<(), BadRewrite> {
        let spans = super::spans(self.groups.as_deref(), self.highest_group, path, scratch)?;
        out.extend_from_slice(self.origin.as_bytes());
        let start = out.len();
        append_parts(&self.front, path, spans, out)?;
        begin_with_slash(out, start);
        if self.origin.is_empty() && out.get(start + 1) == Some(&b'/') {
            return Err(BadRewrite::OtherHost);
        }
        if let Some(query) = query.filter(|_| !self.own_query) {
            out.push(b'?');
            append_query(query, out);
        }
        append_parts(&self.fragment, path, spans, out)?;
        check_length(out, start)?;
        check_url(out.get_mut(start..).unwrap_or_default())
    }
}

/// Appends the pieces of `template`; what came from the request can then end neither the path nor the URL.
fn append_parts(
    template: &Template,
    path: &[u8],
    spans: Spans<'_>,
    out: &mut Vec<u8>,
) -> Result<(), BadRewrite> {
    let start = out.len();
    for part in template.parts(path, spans) {
        match part {
            Part::Written(text) => out.extend_from_slice(text),
            // Two groups may share an escape, so this is no place to look at them.
            Part::Sent(text) => text.iter().for_each(|byte| match byte {
                b'%' => out.push(b'%'),
                byte if escape::is_uri_byte(*byte) => out.push(*byte),
                byte => escape::push_escaped(*byte, out),
            }),
        }
        check_length(out, start)?;
    }
    Ok(())
}

/// Appends the request's query. A `%` that escapes nothing, which browsers send, becomes what it stands for.
fn append_query(query: &[u8], out: &mut Vec<u8>) {
    for (at, byte) in query.iter().enumerate() {
        let stands = match byte {
            b'%' => escape::begins_with_escape(query.get(at..).unwrap_or_default()),
            byte => *byte == b'?' || escape::is_uri_byte(*byte),
        };
        if stands {
            out.push(*byte);
        } else {
            escape::push_escaped(*byte, out);
        }
    }
}

/// Checks path, query and fragment, which have no byte but a URI's: escapes are whole, and the path has no dot segments,
/// which clients would resolve.
fn check_url(url: &mut [u8]) -> Result<(), BadRewrite> {
    let path_end = url.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(url.len());
    let (path, behind) = url.split_at_mut(path_end);
    check_path(path)?;
    let mut escapes = behind.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    if escapes.all(|(at, _)| escape::begins_with_escape(behind.get(at..).unwrap_or_default())) {
        Ok(())
    } else {
        Err(BadRewrite::Malformed(HeadErrorKind::BadPercentEscape))
    }
}

/// Divides `to` into its origin, in its canonical spelling, and what follows; the origin of a path is empty.
fn origin(to: &str) -> Result<(String, &str), TemplateFault> {
    let Some((scheme, rest)) = to.split_once("://").filter(|(scheme, _)| !scheme.contains(['/', '?', '#']))
    else {
        return no_origin(to).map(|()| (String::new(), to));
    };
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => "http",
        "https" => "https",
        _ if scheme.contains('$') => return Err(TemplateFault::new(0, in_authority("scheme"))),
        _ => {
            let fault = Fault::new(format!("{scheme:?} is no scheme for a redirect"));
            return Err(TemplateFault::new(0, fault.help("write an http or https URL, or a path")));
        }
    };
    let at = to.len() - rest.len();
    let (authority, behind) = rest.split_at(rest.find(['/', '?', '#', '$']).unwrap_or(rest.len()));
    if behind.starts_with('$')
        && (authority.is_empty() || authority.ends_with(':') || !ends_with_references(behind))
    {
        return Err(TemplateFault::new(at + authority.len(), in_authority("host")));
    }
    let authority = canonical_authority(authority).map_err(|fault| TemplateFault::new(at, fault))?;
    Ok((format!("{scheme}://{authority}"), behind))
}

/// Checks a `to` without scheme and host.
fn no_origin(to: &str) -> Result<(), TemplateFault> {
    let fault = |message: &str, help: String| Err(TemplateFault::new(0, Fault::new(message).help(help)));
    if let Some(rest) = to.strip_prefix("//") {
        let help = format!("write \"https://{rest}\" for another host");
        return fault("a path with two slashes in front is another host to a client", help);
    }
    if to.starts_with(['/', '$']) {
        return Ok(());
    }
    let authority = to.split(['/', '?', '#']).next().unwrap_or_default();
    let help =
        if authority.contains(['.', ':']) && ringway_wire::parse_authority(authority.as_bytes()).is_some() {
            format!("write \"https://{to}\"")
        } else if to.is_empty() || to.starts_with('\\') {
            "write \"/path\" or \"https://host/path\"".to_owned()
        } else {
            format!("write \"/{to}\" or an http or https URL")
        };
    fault("a redirect leads to an http or https URL, or to a path", help)
}

fn in_authority(part: &str) -> Fault {
    Fault::new(format!("a group cannot stand in the {part} of a redirect: requests would choose it"))
        .help("write scheme and host out; groups stand in path, query and fragment")
}

/// Whether the references that `text` begins with are all of it up to the next `/`, `?` or `#`, so that they begin a path. Text
/// behind them would make them part of a host's name.
fn ends_with_references(text: &str) -> bool {
    let mut rest = text;
    while let Some(behind) = rest.strip_prefix('$') {
        rest = match behind.strip_prefix('{') {
            Some(inner) => inner.split_once('}').map_or("", |(_, behind)| behind),
            None if behind.starts_with(|c: char| c.is_ascii_digit()) => {
                behind.trim_start_matches(|c: char| c.is_ascii_digit())
            }
            None => return false,
        };
    }
    rest.is_empty() || rest.starts_with(['/', '?', '#'])
}

/// The canonical spelling of `host[:port]`; an empty port is left out.
fn canonical_authority(authority: &str) -> Result<String, Fault> {
    if authority.contains('@') {
        return Err(Fault::new("a redirect has no user and password"));
    }
    let behind_literal = authority.rfind(']').unwrap_or(0);
    let colon = authority.rfind(':').filter(|colon| *colon > behind_literal).unwrap_or(authority.len());
    let (name, port) = authority.split_at(colon);
    let name = host::host(name)?;
    let port = port.strip_prefix(':').unwrap_or_default();
    if port.is_empty() {
        return Ok(name);
    }
    let number = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse::<u16>().ok()).flatten();
    match number {
        Some(1..) => Ok(format!("{name}:{port}")),
        _ => Err(Fault::new("a port is a number from 1 to 65535")),
    }
}
