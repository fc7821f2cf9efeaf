//! What changes in a message on its way through (spec: "Fields that change on the way"), as bytes: who the client is, the
//! forwarded fields (RFC 7239 and its older relatives), Via (RFC 9110 section 7.6.3) and Max-Forwards (section 7.6.2). Knows
//! neither sockets nor configuration.

use crate::chars::{is_token, list, trim};
use crate::encode::Sink;
use crate::head::{Field, RequestHead, Version};
use crate::name::{FieldName, FieldSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Ringway's name in Via.
pub const PSEUDONYM: &[u8] = b"ringway";

/// What the forwarded fields of one request are made from.
#[derive(Clone, Copy, Debug)]
pub struct ForwardedPlan {
    /// Whether X-Forwarded-* and X-Real-IP are set.
    pub x_forwarded: bool,
    /// Whether Forwarded is set.
    pub forwarded: bool,
    /// The peer's address; `None` for a Unix socket.
    pub peer: Option<IpAddr>,
    /// Whether what the peer says about clients is believed.
    pub peer_trusted: bool,
    /// What [`client_address`] found.
    pub client: Option<IpAddr>,
    /// Whether the client's connection is encrypted.
    pub https: bool,
    /// Fields that somebody else writes, or that must not be there.
    pub without: FieldSet,
}

/// The fields that [`encode::kept_fields`] must leave out before [`forwarded_fields`] sets its own: from a peer that is not
/// trusted everything that looks like them; from a trusted one only those that are written anew. X-Vhost-Tenant, which only
/// Ringway may set, and twins of its fields with underscores are in it always.
#[inline]
pub fn drop_set(x_forwarded: bool, forwarded: bool, peer_trusted: bool) -> FieldSet {
    const ALWAYS: FieldSet = FieldSet::EMPTY.with(FieldName::XVhostTenant).with(FieldName::Underscored);
    const REWRITTEN: FieldSet = FieldSet::EMPTY.with(FieldName::XForwardedFor).with(FieldName::XRealIp);
    if !peer_trusted {
        return ALWAYS.union(FieldSet::FORWARDED);
    }
    let mut drop = ALWAYS;
    if x_forwarded {
        drop = drop.union(REWRITTEN);
    }
    if forwarded {
        drop = drop.with(FieldName::Forwarded);
    }
    drop
}

/// The client's address: the peer itself unless it is trusted; then the right-most address of X-Forwarded-For (without that
/// field: of Forwarded) that is not trusted. The walk from the right ends at an element that is no address; when all are
/// trusted the left-most is the client.
#[inline]
pub fn client_address(
    head: &RequestHead,
    buf: &[u8],
    peer: Option<IpAddr>,
    peer_trusted: bool,
    is_trusted: &dyn Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let peer = peer.map(|address| address.to_canonical());
    if !peer_trusted || !head.names().intersects(FieldSet::FORWARDED) {
        return peer;
    }
    told_client(head, buf, is_trusted).or(peer)
}

/// The client's address as a trusted peer tells it.
fn told_client(head: &RequestHead, buf: &[u8], is_trusted: &dyn Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let mut chain = Chain { client: None, is_trusted };
    if head.has(FieldName::XForwardedFor) {
        values(&head.fields, FieldName::XForwardedFor, buf).flat_map(list).for_each(|node| chain.add(node));
    } else {
        values(&head.fields, FieldName::Forwarded, buf).for_each(|value| elements(value, &mut chain));
    }
    chain.client
}

/// A list of addresses read from the left, as if it were walked from the right.
struct Chain<'a> {
    client: Option<IpAddr>,
    is_trusted: &'a dyn Fn(IpAddr) -> bool,
}

impl Chain<'_> {
    fn add(&mut self, node: &[u8]) {
        match node_address(node) {
            Some(address) if self.client.is_none() || !(self.is_trusted)(address) => {
                self.client = Some(address)
            }
            Some(_) => {}
            None => self.client = None,
        }
    }
}

/// Reads an address as the two fields spell it: with or without a port, IPv6 with or without brackets (RFC 7239 section 6).
fn node_address(node: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(node).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

/// Hands each element's `for` of a Forwarded value to `chain` (RFC 7239 section 4); an element without one is unknown.
fn elements(value: &[u8], chain: &mut Chain<'_>) {
    for element in split_unquoted(value, b',') {
        let node = split_unquoted(element, b';').find_map(|pair| {
            let equals = memchr::memchr(b'=', pair)?;
            let (name, value) = (pair.get(..equals)?, pair.get(equals + 1..)?);
            trim(name).eq_ignore_ascii_case(b"for").then(|| trim(value))
        });
        let quoted = node.and_then(|node| node.strip_prefix(b"\"")?.strip_suffix(b"\""));
        chain.add(quoted.or(node).unwrap_or_default());
    }
}

/// Splits at each `separator` outside quoted strings (RFC 9110 section 5.6.4).
fn split_unquoted(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |&byte| {
        if escaped {
            escaped = false;
            return false;
        }
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => escaped = true,
            _ => return byte == separator && !quoted,
        }
        false
    })
}

/// Writes the forwarded fields that `plan` asks for, in this order: X-Forwarded-For, X-Real-IP, X-Forwarded-Proto,
/// X-Forwarded-Host, Forwarded. The fields of [`drop_set`] have been left out before.
#[inline]
pub fn forwarded_fields(out: &mut Sink<'_>, head: &RequestHead, buf: &[u8], plan: &ForwardedPlan) {
    if plan.x_forwarded {
        x_forwarded_addresses(out, head, buf, plan);
        let kept = |name| plan.without.contains(name) || (plan.peer_trusted && head.has(name));
        if !kept(FieldName::XForwardedProto) {
            out.put(if plan.https {
                b"X-Forwarded-Proto: https\r\n"
            } else {
                b"X-Forwarded-Proto: http\r\n"
            });
        }
        if let Some(authority) = head.authority().filter(|_| !kept(FieldName::XForwardedHost)) {
            out.put(b"X-Forwarded-Host: ");
            out.put_short(buf, authority.whole);
            out.put(b"\r\n");
        }
    }
    if plan.forwarded && !plan.without.contains(FieldName::Forwarded) {
        forwarded(out, head, buf, plan);
    }
}

/// X-Forwarded-For and X-Real-IP.
#[inline]
fn x_forwarded_addresses(out: &mut Sink<'_>, head: &RequestHead, buf: &[u8], plan: &ForwardedPlan) {
    match plan.peer {
        // As it is for most: without a proxy before us.
        Some(IpAddr::V4(peer))
            if !plan.peer_trusted && plan.client == plan.peer && plan.without == FieldSet::EMPTY =>
        {
            let address = Ipv4Text::new(peer);
            out.put(b"X-Forwarded-For: ");
            out.put_front(&address.bytes, address.len);
            out.put(b"\r\nX-Real-IP: ");
            out.put_front(&address.bytes, address.len);
            out.put(b"\r\n");
        }
        _ => {
            if !plan.without.contains(FieldName::XForwardedFor) {
                x_forwarded_for(out, head, buf, plan);
            }
            if !plan.without.contains(FieldName::XRealIp) {
                x_real_ip(out, plan);
            }
        }
    }
}

fn x_forwarded_for(out: &mut Sink<'_>, head: &RequestHead, buf: &[u8], plan: &ForwardedPlan) {
    let earlier = plan.peer_trusted && has_value(head, FieldName::XForwardedFor, buf);
    if !earlier && plan.peer.is_none() {
        return;
    }
    out.put(b"X-Forwarded-For: ");
    if earlier {
        put_values(out, head, FieldName::XForwardedFor, buf);
    }
    if let Some(peer) = plan.peer {
        out.put(if earlier { b", " } else { b"" });
        put_address(out, peer);
    }
    out.put(b"\r\n");
}

fn x_real_ip(out: &mut Sink<'_>, plan: &ForwardedPlan) {
    if let Some(client) = plan.client {
        out.put(b"X-Real-IP: ");
        put_address(out, client);
        out.put(b"\r\n");
    }
}

/// RFC 7239 section 4: what a trusted peer sent, and an element of our own. IPv6 and what has a colon is quoted.
fn forwarded(out: &mut Sink<'_>, head: &RequestHead, buf: &[u8], plan: &ForwardedPlan) {
    out.put(b"Forwarded: ");
    if plan.peer_trusted && has_value(head, FieldName::Forwarded, buf) {
        put_values(out, head, FieldName::Forwarded, buf);
        out.put(b", ");
    }
    out.put(b"for=");
    match plan.peer.map(|peer| peer.to_canonical()) {
        Some(IpAddr::V4(peer)) => put_address(out, peer.into()),
        Some(IpAddr::V6(peer)) => {
            out.put(b"\"[");
            put_address(out, peer.into());
            out.put(b"]\"");
        }
        None => out.put(b"unknown"),
    }
    if let Some(authority) = head.authority() {
        let host = authority.whole.of(buf);
        // An authority has no quote and no backslash.
        let quote: &[u8] = if is_token(host) { b"" } else { b"\"" };
        [b";host=", quote, host, quote].iter().for_each(|piece| out.put(piece));
    }
    out.put(b";proto=");
    out.put(scheme(plan));
    out.put(b"\r\n");
}

fn scheme(plan: &ForwardedPlan) -> &'static [u8] {
    if plan.https { b"https" } else { b"http" }
}

/// Writes an address; an IPv4 address that came as `::ffff:a.b.c.d` as itself.
pub fn put_address(out: &mut Sink<'_>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let text = Ipv4Text::new(address);
            out.put_front(&text.bytes, text.len);
        }
        // A sink's `write_str` cannot fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

/// An IPv4 address as text.
struct Ipv4Text {
    bytes: [u8; 16],
    len: usize,
}

impl Ipv4Text {
    #[inline]
    fn new(address: Ipv4Addr) -> Self {
        let mut bytes = [0; 16];
        let mut len = 0;
        for octet in address.octets() {
            let (text, text_len) = OCTETS.get(usize::from(octet)).copied().unwrap_or_default();
            if let Some(room) = bytes.get_mut(len..len + 4) {
                room.copy_from_slice(&text);
            }
            len += usize::from(text_len);
        }
        // Without the last dot.
        Self { bytes, len: len - 1 }
    }
}

/// Each octet in decimal with a dot behind it, and how many bytes that makes.
static OCTETS: [([u8; 4], u8); 256] = octets();

#[expect(clippy::indexing_slicing, reason = "runs at compile time, where an index out of range is an error")]
const fn octets() -> [([u8; 4], u8); 256] {
    let mut table = [([0; 4], 0); 256];
    let mut octet = 0;
    while octet < table.len() {
        let digits = [b'0' + (octet / 100) as u8, b'0' + (octet / 10 % 10) as u8, b'0' + (octet % 10) as u8];
        table[octet] = match octet {
            0..10 => ([digits[2], b'.', 0, 0], 2),
            10..100 => ([digits[1], digits[2], b'.', 0], 3),
            _ => ([digits[0], digits[1], digits[2], b'.'], 4),
        };
        octet += 1;
    }
    table
}

/// How often a message has passed a Ringway already, by its Via fields.
pub fn via_count(fields: &[Field], buf: &[u8]) -> usize {
    let ours = |member: &&[u8]| {
        let by = member.split(|&byte| byte == b' ' || byte == b'\t').filter(|word| !word.is_empty()).nth(1);
        by.is_some_and(|by| by.eq_ignore_ascii_case(PSEUDONYM))
    };
    values(fields, FieldName::Via, buf).flat_map(list).filter(ours).count()
}

/// Writes the Via field of a message that came in `version` (RFC 9110 section 7.6.3).
pub fn via(out: &mut Sink<'_>, version: Version) {
    out.put(match version {
        Version::Http10 => b"Via: 1.0 ",
        Version::Http11 => b"Via: 1.1 ",
    });
    out.put(PSEUDONYM);
    out.put(b"\r\n");
}

/// What Max-Forwards asks for, which counts for OPTIONS and TRACE only (RFC 9110 section 7.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxForwards {
    /// Nothing: absent, malformed, or another method. The field passes as it is.
    Unlimited,
    /// 0 came: the request is answered here.
    AnswerHere,
    /// The field is replaced by this number.
    Left(u64),
}

/// Reads Max-Forwards.
#[inline]
pub fn max_forwards(head: &RequestHead, buf: &[u8]) -> MaxForwards {
    use crate::head::Method::{Options, Trace};
    if !matches!(head.method(), Options | Trace) {
        return MaxForwards::Unlimited;
    }
    let number =
        head.field(FieldName::MaxForwards).and_then(|field| crate::chars::decimal(field.value.of(buf)));
    match number {
        None => MaxForwards::Unlimited,
        Some(0) => MaxForwards::AnswerHere,
        Some(number) => MaxForwards::Left(number - 1),
    }
}

fn values<'a>(fields: &'a [Field], name: FieldName, buf: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |field| field.name == name).map(|field| field.value.of(buf))
}

fn has_value(head: &RequestHead, name: FieldName, buf: &[u8]) -> bool {
    head.has(name) && values(&head.fields, name, buf).any(|value| !value.is_empty())
}

/// Writes the values of all fields with `name` as one list.
fn put_values(out: &mut Sink<'_>, head: &RequestHead, name: FieldName, buf: &[u8]) {
    let mut separator: &[u8] = b"";
    for value in values(&head.fields, name, buf).filter(|value| !value.is_empty()) {
        out.put(separator);
        out.put(value);
        separator = b", ";
    }
}
