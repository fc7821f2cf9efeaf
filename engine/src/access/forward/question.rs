//! What an endpoint is told about a request, as bytes. Everything that it could decide by is said as routing saw it, so that
//! nobody is let in to one place because of what was said about another.
//!
//! X-Original-URL, which some endpoints for nginx want, is not among it: each of those has a way that goes by X-Forwarded-*,
//! and there are frameworks that take that field for the path of the request that brings it.

use ringway_wire::forward::PSEUDONYM;
use ringway_wire::{Field, FieldName, FieldSet, canonical_host};

use crate::access::Request;

/// What never goes to an endpoint as it came: what is ours to say, and what is about the request's body or its connection.
const NEVER: FieldSet = FieldSet::HOP_BY_HOP
    .with(FieldName::Host)
    .with(FieldName::ContentLength)
    .with(FieldName::Trailer)
    .with(FieldName::Expect)
    .with(FieldName::MaxForwards)
    .with(FieldName::Via)
    .with(FieldName::Forwarded)
    .with(FieldName::XForwardedFor)
    .with(FieldName::XForwardedHost)
    .with(FieldName::XForwardedProto)
    .with(FieldName::XRealIp)
    .with(FieldName::XVhostTenant)
    .with(FieldName::Underscored);

/// The lines that tell an endpoint about `request`, with the client's fields whose names are `named`, in lower case.
pub(super) fn lines(request: &Request<'_>, named: &[String]) -> Vec<u8> {
    let Request { head, bytes, client, .. } = *request;
    let mut lines = Vec::with_capacity(bytes.len());
    put(&mut lines, b"X-Forwarded-Method", &[head.method_bytes(bytes)]);
    put(&mut lines, b"X-Forwarded-Proto", &[scheme(request)]);
    put_host(&mut lines, request);
    let query = head.query(bytes);
    let mark: &[u8] = if query.is_some() { b"?" } else { b"" };
    put(&mut lines, b"X-Forwarded-Uri", &[head.path(bytes), mark, query.unwrap_or_default()]);
    if let Some(client) = client.map(|client| client.to_canonical().to_string()) {
        put(&mut lines, b"X-Forwarded-For", &[client.as_bytes()]);
        put(&mut lines, b"X-Real-IP", &[client.as_bytes()]);
    }
    put_named(&mut lines, request, named);
    put_via(&mut lines, request);
    lines
}

/// `https` where a trusted peer says so, once and in so many letters.
fn scheme(request: &Request<'_>) -> &'static [u8] {
    let fields = request.head.fields.iter().filter(|field| field.name == FieldName::XForwardedProto);
    let mut told = fields.map(|field| field.value.of(request.bytes));
    match (told.next(), told.next()) {
        (Some(scheme), None) if request.peer_trusted && scheme.eq_ignore_ascii_case(b"https") => b"https",
        _ => b"http",
    }
}

/// The host in the form in which its site was found, also from a trusted peer: by what is said of another host, somebody could
/// be let in who may go there and not here.
fn put_host(lines: &mut Vec<u8>, request: &Request<'_>) {
    let Some(authority) = request.head.authority() else { return };
    let mut room = [0; 256];
    let Some(host) = canonical_host(authority.host.of(request.bytes), &mut room) else { return };
    let port = authority.port.map(|port| format!(":{port}")).unwrap_or_default();
    put(lines, b"X-Forwarded-Host", &[host, port.as_bytes()]);
}

fn put_named(lines: &mut Vec<u8>, request: &Request<'_>, named: &[String]) {
    // As for backends: X-Forwarded-Port and the like are a trusted peer's to say.
    let never = if request.peer_trusted { NEVER } else { NEVER.union(FieldSet::FORWARDED) };
    let goes = |field: &&Field| !field.hop_by_hop && !never.contains(field.name);
    for field in request.head.fields.iter().filter(goes) {
        let name = field.name_span.of(request.bytes);
        if named.iter().any(|wanted| wanted.as_bytes().eq_ignore_ascii_case(name)) {
            put(lines, name, &[field.value.of(request.bytes)]);
        }
    }
}

/// The Via that came, and our own, whatever `server.via` says: an endpoint that is reached through somebody else may stand
/// behind the very site that it guards, where one question would ask the next one without an end.
fn put_via(lines: &mut Vec<u8>, request: &Request<'_>) {
    let came = request.head.fields.iter().filter(|field| field.name == FieldName::Via && !field.hop_by_hop);
    came.for_each(|field| put(lines, b"Via", &[field.value.of(request.bytes)]));
    put(lines, b"Via", &[b"1.1 ", PSEUDONYM]);
}

/// The whole question, for the endpoint `authority` and its `path` with its query; `lines` are those of [`lines`].
pub(super) fn whole(path: &str, authority: &str, lines: &[u8]) -> Vec<u8> {
    [b"GET ", path.as_bytes(), b" HTTP/1.1\r\nHost: ", authority.as_bytes(), b"\r\n", lines, b"\r\n"].concat()
}

fn put(lines: &mut Vec<u8>, name: &[u8], value: &[&[u8]]) {
    lines.extend_from_slice(name);
    lines.extend_from_slice(b": ");
    value.iter().for_each(|piece| lines.extend_from_slice(piece));
    lines.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use ringway_wire::{Limits, Progress, RequestHead};

    use super::*;

    /// What is told of `request` of the client 192.0.2.7, with the fields `named`.
    fn told_by(peer_trusted: bool, request: &str, named: &[&str]) -> String {
        let mut bytes = request.as_bytes().to_vec();
        let mut head = RequestHead::new();
        assert!(matches!(head.read(&mut bytes, &Limits::default()), Ok(Progress::Done(_))), "{request}");
        let (client, limits) = ("192.0.2.7".parse().ok(), &Limits::default());
        let request =
            Request { head: &head, bytes: &bytes, client, peer_trusted, copied_fields: &[], limits };
        let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
        String::from_utf8(lines(&request, &named)).unwrap()
    }

    fn told(request: &str, named: &[&str]) -> String {
        told_by(false, request, named)
    }

    const FIRST: &str = "X-Forwarded-Method: GET\r\nX-Forwarded-Proto: http\r\n";
    const CLIENT: &str = "X-Forwarded-For: 192.0.2.7\r\nX-Real-IP: 192.0.2.7\r\n";
    const LAST: &str = "X-Forwarded-For: 192.0.2.7\r\nX-Real-IP: 192.0.2.7\r\nVia: 1.1 ringway\r\n";

    #[test]
    fn a_question_is_a_get_without_a_body() {
        let lines = told(
            "POST /a?b=%20 HTTP/1.1\r\nHost: x.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
            &[],
        );
        let question = whole("/auth?rd=1", "127.0.0.1:4180", lines.as_bytes());
        assert_eq!(
            String::from_utf8(question).unwrap(),
            "GET /auth?rd=1 HTTP/1.1\r\nHost: 127.0.0.1:4180\r\nX-Forwarded-Method: POST\r\nX-Forwarded-Proto: http\r\n\
             X-Forwarded-Host: x.test\r\nX-Forwarded-Uri: /a?b=%20\r\nX-Forwarded-For: 192.0.2.7\r\nX-Real-IP: 192.0.2.7\r\n\
             Via: 1.1 ringway\r\n\r\n"
        );
    }

    #[test]
    fn host_and_path_are_told_as_they_were_routed() {
        let cases = [
            (
                "GET /a/./b/../c//d%2Fe?f=../g HTTP/1.1\r\nHost: WWW.Example.COM.:8080",
                "www.example.com:8080",
                "/a/c//d%2Fe?f=../g",
            ),
            ("GET http://Other.test/x? HTTP/1.1\r\nHost: h", "other.test", "/x?"),
            ("GET /y/%2e%2E/x HTTP/1.1\r\nHost: [2001:DB8::1]", "[2001:db8::1]", "/x"),
            ("GET / HTTP/1.1\r\nHost: [0:0:0:0:0:0:0:1]:80", "[::1]:80", "/"),
            ("GET /\"<a>`?{} HTTP/1.1\r\nHost: h:", "h", "/\"<a>`?{}"),
        ];
        for (request, host, target) in cases {
            let expected = format!("{FIRST}X-Forwarded-Host: {host}\r\nX-Forwarded-Uri: {target}\r\n{LAST}");
            assert_eq!(told(&format!("{request}\r\n\r\n"), &[]), expected);
        }
        assert_eq!(told("GET / HTTP/1.0\r\n\r\n", &[]), format!("{FIRST}X-Forwarded-Uri: /\r\n{LAST}"));
        let asterisk = told("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", &[]);
        assert!(
            asterisk.contains("X-Forwarded-Uri: *\r\n") && asterisk.contains("Method: OPTIONS\r\n"),
            "{asterisk}"
        );
    }

    #[test]
    fn the_named_fields_go_all_of_them_in_their_order_and_no_other() {
        let fields = "cookie: a=1\r\nX-Other: 1\r\nAuthorization: Basic eA==\r\nCookie: b=2\r\nCookies: 3\r\nX_Key: 4\r\n";
        let lines = told(
            &format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n"),
            &["authorization", "cookie", "x-key"],
        );
        let own = format!("{FIRST}X-Forwarded-Host: h\r\nX-Forwarded-Uri: /\r\n{CLIENT}");
        assert_eq!(
            lines,
            format!("{own}cookie: a=1\r\nAuthorization: Basic eA==\r\nCookie: b=2\r\nVia: 1.1 ringway\r\n")
        );
    }

    #[test]
    fn whom_the_request_passed_is_told_and_that_it_passed_us() {
        let request = |lines: &str| format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        let came = "via: 1.0 a\r\nX-Other: 1\r\nVia: 1.1 ringway, 1.1 b\r\n";
        let expected = "192.0.2.7\r\nVia: 1.0 a\r\nVia: 1.1 ringway, 1.1 b\r\nVia: 1.1 ringway\r\n";
        for (trusted, named) in [(false, &[][..]), (true, &["via"])] {
            let told = told_by(trusted, &request(came), named);
            assert!(told.ends_with(expected), "{told}");
        }
        let named_away = told(&request("Via: 1.0 a\r\nConnection: Via\r\n"), &[]);
        assert!(named_away.ends_with("192.0.2.7\r\nVia: 1.1 ringway\r\n"), "{named_away}");
    }

    #[test]
    fn nothing_of_ours_is_the_clients_to_say() {
        let names = [
            "x-forwarded-uri",
            "x-forwarded-method",
            "x-forwarded-host",
            "x-forwarded-for",
            "x-real-ip",
            "forwarded",
            "host",
            "content-length",
            "expect",
            "te",
            "connection",
            "upgrade",
            "x-forwarded-user",
            "x_forwarded_uri",
        ];
        let fields = "X-Forwarded-Uri: /public\r\nX-Forwarded-Method: HEAD\r\nX-Forwarded-Host: open.test\r\n\
                      X-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\nForwarded: for=127.0.0.1\r\nX_Forwarded_Uri: /p\r\n\
                      X-Forwarded-User: root\r\nX-Forwarded-Proto: https\r\nExpect: 100-continue\r\nContent-Length: 3\r\nTE: trailers\r\n\
                      Connection: TE, Upgrade\r\nUpgrade: websocket\r\n";
        let own = format!("{FIRST}X-Forwarded-Host: h\r\nX-Forwarded-Uri: /\r\n{LAST}");
        assert_eq!(told(&format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n"), &names), own);
    }

    #[test]
    fn further_forwarded_fields_are_a_trusted_peers_to_say() {
        let request =
            "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Port: 444\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n";
        let tells = |trusted| told_by(trusted, request, &["x-forwarded-port", "x-forwarded-for"]);
        assert!(tells(true).contains("X-Forwarded-Port: 444\r\n") && !tells(false).contains("444"));
        assert!(!tells(true).contains("10.0.0.1"));
    }

    #[test]
    fn a_field_that_connection_names_ends_here() {
        let request = "GET / HTTP/1.1\r\nHost: h\r\nCookie: a=1\r\nConnection: Cookie\r\n\r\n";
        assert!(!told(request, &["cookie"]).contains("Cookie"));
    }

    #[test]
    fn the_scheme_is_a_trusted_peers_to_say_and_nothing_else() {
        let request =
            |lines: &str| format!("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Host: open.test\r\n{lines}\r\n");
        let scheme = |trusted: bool, lines: &str| {
            let told = told_by(trusted, &request(lines), &[]);
            assert!(told.contains("X-Forwarded-Host: h\r\n"), "{told}");
            told.contains("X-Forwarded-Proto: https\r\n")
        };
        assert!(scheme(true, "X-Forwarded-Proto: HTTPS\r\n"));
        assert!(!scheme(false, "X-Forwarded-Proto: https\r\n"));
        assert!(!scheme(true, "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n"));
        assert!(!scheme(true, "X-Forwarded-Proto: https, http\r\n"));
        assert!(!scheme(true, ""));
    }
}
