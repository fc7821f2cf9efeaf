//! Rules under fire: whatever path, query and fields a request has, its rule alone says which backend is dialled, which fields
//! are set, and where a redirect leads.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};

use ringway_config::{Compiler, Source};
use ringway_engine::rehearsal::{Rehearsal, Rehearsed};
use ringway_wire::{Limits, Progress, RequestHead};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// Each takes every path of a host of its own, `rN.example`, and has a backend of its own, `http://10.0.0.N:80`.
const RULES: &[&str] = &[
    "path = '/*'",
    "pattern = '^/?(.*)$'\nrewrite = '$1'",
    "pattern = '^(.*)$'\nrewrite = '/x/$1'",
    "pattern = '^/([^/]*)(/.*)?$'\nrewrite = '$2/$1/$$2'",
    "pattern = '(?<last>[^/]*)$'\nrewrite = '/a/${last}.${last}'",
    "pattern = '(%|x)?'\nrewrite = '/%2$1/$10'",
    "path = '/*'\nstrip_prefix = true\nchange_origin = true",
    "path = '/*'\nheaders = { Host = 'set.example', 'X-User' = 'a', 'X-Forwarded-Host' = 'b', Cookie = 'c=d' }",
    "path = '/*'\nrequest_headers.remove = ['x-forwarded-for', 'Origin', 'accept']\nchange_origin = true",
];

/// The base path of a rule's target.
fn base(number: usize) -> &'static str {
    if number.is_multiple_of(2) { "" } else { "/base" }
}

/// The same for redirects: where each leads to, and the rule.
const REDIRECTS: &[(&str, &str)] = &[
    ("https://to.example", "pattern = '^/?(.*)$'\nredirect = { to = 'https://to.example$1' }"),
    ("https://to.example:8443", "path = '/*'\nredirect = { to = 'https://to.example:8443/x${path}?y' }"),
    ("", "pattern = '^/?(.*)$'\nredirect = { to = '/$1', status = 302 }"),
    ("", "path = '/*'\nredirect = { to = '${path}#top' }"),
];

/// The fields that Ringway or a rule may set.
const SET: &[&str] = &[
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
    "origin",
    "cookie",
    "x-user",
    "x-vhost-tenant",
    "x-real-ip",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
];

thread_local! {
    static REHEARSAL: RefCell<Rehearsal> = RefCell::new(rehearsal());
}

fn rehearsal() -> Rehearsal {
    let forwards = RULES.iter().enumerate();
    let forwards = forwards
        .map(|(number, rule)| format!("{rule}\ntarget = \"http://10.0.0.{number}:80{}/\"", base(number)));
    let rules: Vec<_> = forwards.chain(REDIRECTS.iter().map(|(_, rule)| rule.to_string())).collect();
    let site = |(number, rule)| {
        format!(
            "[[sites]]\nname = \"s{number}\"\nhosts = [\"r{number}.example\"]\n[[sites.rules]]\nname = \"r\"\n{rule}\n"
        )
    };
    let text = rules.iter().enumerate().map(site).collect::<String>();
    let text = format!("listeners = [{{ address = \"127.0.0.1:1\" }}]\n{text}");
    let source = Source { name: "fuzz.toml", text: &text };
    let compiled = Compiler::new().compile(&source);
    let compiled = compiled.unwrap_or_else(|problems| panic!("{}", problems.render(&source, false)));
    Rehearsal::new(compiled.snapshot)
}

/// An input: which rule, how long the target is, the target, and lines of fields.
pub fn rule(data: &[u8]) {
    let Some((&[number, target_bytes], data)) = data.split_first_chunk() else { return };
    let (target, fields) = data.split_at(usize::from(target_bytes).min(data.len()));
    let number = usize::from(number) % (RULES.len() + REDIRECTS.len());
    let Some((came, outcome)) = rehearse(number, target, fields) else { return };
    match outcome {
        Rehearsed::Refused => {}
        Rehearsed::Answered => panic!("no rule answers"),
        Rehearsed::Redirected(location) => assert_leads_to(REDIRECTS[number - RULES.len()].0, &location),
        Rehearsed::Forwarded { backend, head } => {
            assert_eq!(backend, format!("http://10.0.0.{number}:80"));
            let sent = read(&head);
            assert!(sent.target.starts_with(format!("{}/", base(number)).as_bytes()), "{:?}", sent.target);
            assert_eq!(sent.query, came.query);
            assert!(is_part(&sent.fields, &came.fields), "{sent:?}\n{came:?}");
            // What a harmless path makes of the same fields.
            if let Some((_, Rehearsed::Forwarded { head, .. })) = rehearse(number, b"/", fields) {
                assert_eq!(sent.fields, read(&head).fields);
            }
        }
    }
}

/// A head, taken apart.
#[derive(Debug)]
struct Taken {
    target: Vec<u8>,
    query: Option<Vec<u8>>,
    /// Names in lower case, and values.
    fields: Vec<(String, Vec<u8>)>,
}

/// Reads a head that must be one, and all of `bytes`.
fn read(bytes: &[u8]) -> Taken {
    let mut bytes = bytes.to_vec();
    let mut head = RequestHead::new();
    let done = head.read(&mut bytes, &limits());
    assert_eq!(done, Ok(Progress::Done(bytes.len())), "{:?}", String::from_utf8_lossy(&bytes));
    take_apart(&head, &bytes)
}

/// A head that a rule made longer is still read.
fn limits() -> Limits {
    Limits { request_line_bytes: 1 << 20, head_bytes: 1 << 20, fields: 200, ..Limits::default() }
}

fn take_apart(head: &RequestHead, bytes: &[u8]) -> Taken {
    let name = |span: ringway_wire::Span| String::from_utf8_lossy(span.of(bytes)).to_lowercase();
    let fields = head.fields.iter().map(|field| (name(field.name_span), field.value.of(bytes).to_vec()));
    Taken {
        target: head.path(bytes).to_vec(),
        query: head.query(bytes).map(<[u8]>::to_vec),
        fields: fields.collect(),
    }
}

/// The request as it came, and what becomes of it; `None` for what is no request for this rule's host.
fn rehearse(number: usize, target: &[u8], fields: &[u8]) -> Option<(Taken, Rehearsed)> {
    let host = format!(" HTTP/1.1\r\nHost: r{number}.example\r\n");
    let mut bytes = [b"GET ", target, host.as_bytes(), fields, b"\r\n\r\n"].concat();
    let mut head = RequestHead::new();
    let Ok(Progress::Done(_)) = head.read(&mut bytes, &Limits::default()) else { return None };
    let asked = head.authority()?.host.of(&bytes);
    if !asked.eq_ignore_ascii_case(format!("r{number}.example").as_bytes()) {
        return None;
    }
    let came = take_apart(&head, &bytes);
    let outcome = REHEARSAL.with_borrow_mut(|rehearsal| rehearsal.run(&mut head, &bytes, PEER, false));
    Some((came, outcome))
}

/// Whether what was sent is what came, in its order and less of it; and beside that what Ringway and the rule set, each once.
fn is_part(sent: &[(String, Vec<u8>)], came: &[(String, Vec<u8>)]) -> bool {
    let may_be_set = |field: &&(String, Vec<u8>)| SET.contains(&field.0.as_str());
    let mut rest = came.iter();
    let in_order = sent.iter().filter(|field| !may_be_set(field)).all(|field| rest.any(|came| came == field));
    let only = |name: &str| sent.iter().filter(|field| field.0 == name).count() == 1;
    in_order && sent.iter().filter(may_be_set).all(|field| came.contains(field) || only(&field.0))
}

fn assert_leads_to(origin: &str, location: &[u8]) {
    let text = String::from_utf8(location.to_vec()).expect("a location is ASCII");
    assert!(text.bytes().all(|byte| matches!(byte, 0x21..=0x7e)), "{text:?}");
    let rest = text.strip_prefix(origin).unwrap_or_else(|| panic!("{text:?} leaves {origin}"));
    assert!(rest.starts_with('/'), "{text:?}");
    assert!(!origin.is_empty() || !(rest.starts_with("//") || rest.starts_with("/\\")), "{text:?}");
}
