//! The forwarded fields, Via and Max-Forwards, by whom the peer is.

use ringway_wire::forward::{self, ForwardedPlan, MaxForwards};
use ringway_wire::{FieldSet, Limits, Progress, RequestHead, Sink, Version, encode};
use std::net::IpAddr;

fn head(fields: &str) -> (RequestHead, Vec<u8>) {
    request(&format!("GET / HTTP/1.1\r\nHost: example.com:8080\r\n{fields}\r\n"))
}

fn request(text: &str) -> (RequestHead, Vec<u8>) {
    let mut buf = text.as_bytes().to_vec();
    let mut head = RequestHead::new();
    assert_eq!(head.read(&mut buf, &Limits::default()), Ok(Progress::Done(text.len())), "{text}");
    (head, buf)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What `plan` makes of `fields`: the kept lines and the written ones.
fn forwarded(fields: &str, plan: ForwardedPlan) -> String {
    let (head, buf) = head(fields);
    let mut room = [0; 1024];
    let mut out = Sink::new(&mut room);
    let host = FieldSet::EMPTY.with(ringway_wire::FieldName::Host);
    let drop = forward::drop_set(plan.x_forwarded, plan.forwarded, plan.peer_trusted).union(host);
    encode::kept_fields(&mut out, &head.fields, &buf, drop);
    forward::forwarded_fields(&mut out, &head, &buf, &plan);
    String::from_utf8(out.written().to_vec()).unwrap()
}

fn plan(peer: &str, peer_trusted: bool) -> ForwardedPlan {
    let peer = Some(ip(peer));
    ForwardedPlan {
        x_forwarded: true,
        forwarded: false,
        peer,
        peer_trusted,
        client: peer,
        https: false,
        without: FieldSet::EMPTY,
    }
}

const SPOOFED: &str = "X-Forwarded-For: 1.1.1.1, 2.2.2.2\r\nX-Forwarded-For: 3.3.3.3\r\nX-Real-IP: 1.1.1.1\r\n\
     X-Forwarded-Proto: https\r\nX-Forwarded-Host: other\r\nX-Forwarded-Port: 443\r\nX-Forwarded-Prefix: /p\r\n\
     Forwarded: for=1.1.1.1\r\nX_Forwarded_For: 9.9.9.9\r\nX-Vhost-Tenant: t\r\nA: b\r\n";

#[test]
fn an_untrusted_peer_is_not_believed() {
    let expected = "A: b\r\nX-Forwarded-For: 10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\nX-Forwarded-Proto: http\r\n\
                    X-Forwarded-Host: example.com:8080\r\n";
    assert_eq!(forwarded(SPOOFED, plan("10.0.0.1", false)), expected);
    let off = ForwardedPlan { x_forwarded: false, ..plan("10.0.0.1", false) };
    assert_eq!(forwarded(SPOOFED, off), "A: b\r\n");
}

#[test]
fn a_trusted_peer_is_appended_to() {
    let mut trusted = plan("10.0.0.1", true);
    trusted.client = Some(ip("3.3.3.3"));
    let kept = "X-Forwarded-Proto: https\r\nX-Forwarded-Host: other\r\nX-Forwarded-Port: 443\r\nX-Forwarded-Prefix: /p\r\n";
    let own = "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.1\r\nX-Real-IP: 3.3.3.3\r\n";
    assert_eq!(forwarded(SPOOFED, trusted), format!("{kept}Forwarded: for=1.1.1.1\r\nA: b\r\n{own}"));
    trusted.forwarded = true;
    let element = "Forwarded: for=1.1.1.1, for=10.0.0.1;host=\"example.com:8080\";proto=http\r\n";
    assert_eq!(forwarded(SPOOFED, trusted), format!("{kept}A: b\r\n{own}{element}"));
    let off = ForwardedPlan { x_forwarded: false, ..plan("10.0.0.1", true) };
    let everything =
        "X-Forwarded-For: 1.1.1.1, 2.2.2.2\r\nX-Forwarded-For: 3.3.3.3\r\nX-Real-IP: 1.1.1.1\r\n";
    assert_eq!(forwarded(SPOOFED, off), format!("{everything}{kept}Forwarded: for=1.1.1.1\r\nA: b\r\n"));
}

#[test]
fn every_ipv4_address_is_written() {
    let octets = (0..=255u8).map(|octet| [octet, octet.wrapping_mul(7), 255 - octet, octet ^ 0x55]);
    for peer in octets.map(IpAddr::from) {
        let mut room = [0; 15];
        let mut out = Sink::new(&mut room);
        forward::put_address(&mut out, peer);
        assert_eq!(out.written(), peer.to_string().as_bytes());
    }
}

#[test]
fn what_a_trusted_peer_left_out_is_set() {
    let expected = "X-Forwarded-For: ::1\r\nX-Real-IP: ::1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: example.com:8080\r\n";
    assert_eq!(forwarded("", ForwardedPlan { https: true, ..plan("::1", true) }), expected);
}

#[test]
fn forwarded_is_quoted_where_it_must_be() {
    let only = |peer: &str| ForwardedPlan { x_forwarded: false, forwarded: true, ..plan(peer, false) };
    let host = "host=\"example.com:8080\";proto=http\r\n";
    assert_eq!(forwarded("", only("2001:db8::1")), format!("Forwarded: for=\"[2001:db8::1]\";{host}"));
    assert_eq!(forwarded("", only("::ffff:192.0.2.1")), format!("Forwarded: for=192.0.2.1;{host}"));
    let unix = ForwardedPlan { peer: None, client: None, ..only("::1") };
    assert_eq!(forwarded("", unix), format!("Forwarded: for=unknown;{host}"));
}

#[test]
fn a_unix_peer_has_no_address() {
    let unix = |peer_trusted| ForwardedPlan { peer: None, client: None, ..plan("::1", peer_trusted) };
    let rest = "X-Forwarded-Proto: http\r\nX-Forwarded-Host: example.com:8080\r\n";
    assert_eq!(forwarded("X-Forwarded-For: 1.1.1.1\r\n", unix(false)), rest);
    assert_eq!(
        forwarded("X-Forwarded-For: 1.1.1.1\r\n", unix(true)),
        format!("X-Forwarded-For: 1.1.1.1\r\n{rest}")
    );
}

fn client(fields: &str, peer: &str, peer_trusted: bool) -> String {
    let (head, buf) = head(fields);
    let peer = (peer != "unix").then(|| ip(peer));
    let private =
        |address: IpAddr| matches!(address, IpAddr::V4(v4) if v4.is_private()) || address == ip("::1");
    forward::client_address(&head, &buf, peer, peer_trusted, &private)
        .map_or("unknown".to_owned(), |ip| ip.to_string())
}

#[test]
fn the_client_is_the_right_most_untrusted_address() {
    let cases = [
        ("", "10.0.0.1", "10.0.0.1"),
        ("X-Forwarded-For: 1.1.1.1\r\n", "10.0.0.1", "1.1.1.1"),
        ("X-Forwarded-For: 1.1.1.1, 2.2.2.2, 10.0.0.2\r\n", "10.0.0.1", "2.2.2.2"),
        ("X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 10.0.0.3 , 10.0.0.2\r\n", "10.0.0.1", "1.1.1.1"),
        ("X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n", "10.0.0.1", "10.0.0.3"),
        ("X-Forwarded-For: 1.1.1.1, nobody, 10.0.0.2\r\n", "10.0.0.1", "10.0.0.2"),
        ("X-Forwarded-For: 1.1.1.1, nobody\r\n", "10.0.0.1", "10.0.0.1"),
        ("X-Forwarded-For: 2.2.2.2:1234\r\n", "10.0.0.1", "2.2.2.2"),
        ("X-Forwarded-For: [2001:db8::1]:1234\r\n", "10.0.0.1", "2001:db8::1"),
        ("X-Forwarded-For: 2001:db8::1\r\n", "10.0.0.1", "2001:db8::1"),
        ("X-Forwarded-For: ::ffff:2.2.2.2\r\n", "10.0.0.1", "2.2.2.2"),
        (
            "Forwarded: for=1.1.1.1;proto=http, For=\"[2001:db8::1]:80\";by=x, for=10.0.0.2\r\n",
            "10.0.0.1",
            "2001:db8::1",
        ),
        ("Forwarded: host=\"a,b;for=9.9.9.9\\\"\" ; for=1.1.1.1\r\n", "10.0.0.1", "1.1.1.1"),
        ("Forwarded: for=1.1.1.1, proto=http\r\n", "10.0.0.1", "10.0.0.1"),
        ("Forwarded: for=_hidden, for=10.0.0.2\r\n", "10.0.0.1", "10.0.0.2"),
        ("X-Forwarded-For: 1.1.1.1\r\nForwarded: for=2.2.2.2\r\n", "10.0.0.1", "1.1.1.1"),
        ("X-Forwarded-For: 1.1.1.1\r\nConnection: x-forwarded-for\r\n", "10.0.0.1", "10.0.0.1"),
        ("X-Forwarded-For: 1.1.1.1\r\n", "unix", "1.1.1.1"),
        ("", "unix", "unknown"),
    ];
    for (fields, peer, expected) in cases {
        assert_eq!(client(fields, peer, true), expected, "{fields}");
    }
    assert_eq!(client("X-Forwarded-For: 1.1.1.1\r\n", "::ffff:9.9.9.9", false), "9.9.9.9");
}

#[test]
fn via_is_counted_and_written() {
    let (head, buf) =
        head("Via: 1.1 ringway, 1.0 fred (ringway)\r\nvia: HTTP/1.1 Ringway (x), 1.1 ringway.example\r\n");
    assert_eq!(forward::via_count(&head.fields, &buf), 2);
    let mut room = [0; 64];
    let mut out = Sink::new(&mut room);
    forward::via(&mut out, Version::Http11);
    forward::via(&mut out, Version::Http10);
    assert_eq!(out.written(), b"Via: 1.1 ringway\r\nVia: 1.0 ringway\r\n");
}

#[test]
fn max_forwards_counts_for_two_methods() {
    let read = |method: &str, value: &str| {
        let (head, buf) =
            request(&format!("{method} / HTTP/1.1\r\nHost: a\r\nMax-Forwards: {value}\r\n\r\n"));
        forward::max_forwards(&head, &buf)
    };
    assert_eq!(read("OPTIONS", "0"), MaxForwards::AnswerHere);
    assert_eq!(read("TRACE", "10"), MaxForwards::Left(9));
    assert_eq!(read("OPTIONS", "x"), MaxForwards::Unlimited);
    assert_eq!(read("GET", "0"), MaxForwards::Unlimited);
}

#[test]
fn a_head_is_reused() {
    let (mut head, _) = head("X: y\r\nConnection: close\r\n");
    assert!(!head.persistent());
    let room = head.fields.capacity();
    head.clear();
    let mut buf = b"\r\nHEAD http://b/%2e/c HTTP/1.0\r\n\r\n".to_vec();
    assert_eq!(head.read(&mut buf, &Limits::default()), Ok(Progress::Done(buf.len())));
    assert_eq!((head.fields.len(), head.fields.capacity(), head.path(&buf)), (0, room, &b"/c"[..]));
    assert!(head.started(b"\r\nH") && !head.started(b"\r\n\r") && !RequestHead::new().started(b"\r\n"));
}
