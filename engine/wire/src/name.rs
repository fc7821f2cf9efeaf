//! Field names that Ringway acts on. Each field is classified once, when its head is read, by a table; everything after that
//! compares one byte.

use crate::chars::is_token;
use crate::scan;

/// What a field's name means to a proxy. Fields that [`FieldName::Other`] stands for pass unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "each variant is the field of that name")]
pub enum FieldName {
    /// A name without a meaning here, or one that a Connection option took out of the message's end-to-end fields.
    #[default]
    Other,
    Host,
    Connection,
    ContentLength,
    TransferEncoding,
    Te,
    Trailer,
    Upgrade,
    KeepAlive,
    ProxyConnection,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyAuthenticationInfo,
    Expect,
    Date,
    Via,
    MaxForwards,
    Forwarded,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
    XForwardedPort,
    /// Any other `X-Forwarded-*`.
    XForwarded,
    XRealIp,
    XVhostTenant,
    SecWebSocketKey,
    SecWebSocketVersion,
    SecWebSocketAccept,
    Authorization,
    WwwAuthenticate,
    AuthenticationInfo,
    Cookie,
    SetCookie,
    Location,
    Origin,
    Server,
    ContentType,
    IdempotencyKey,
    /// A name that becomes one of the fields that Ringway sets once `_` is read as `-`, which is what CGI-like backends do.
    Underscored,
}

/// A set of field names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldSet(u64);

impl FieldSet {
    /// The empty set.
    pub const EMPTY: Self = Self(0);

    /// `Forwarded`, `X-Real-IP` and every `X-Forwarded-*`.
    pub const FORWARDED: Self = Self::EMPTY
        .with(FieldName::Forwarded)
        .with(FieldName::XForwardedFor)
        .with(FieldName::XForwardedHost)
        .with(FieldName::XForwardedProto)
        .with(FieldName::XForwardedPort)
        .with(FieldName::XForwarded)
        .with(FieldName::XRealIp);

    /// The fields that are about one connection and never forwarded (RFC 9110 section 7.6.1): Connection itself, those that
    /// are hop-by-hop whether or not it names them, and Transfer-Encoding, since each connection has its own framing.
    pub const HOP_BY_HOP: Self = Self::EMPTY
        .with(FieldName::Connection)
        .with(FieldName::KeepAlive)
        .with(FieldName::ProxyConnection)
        .with(FieldName::ProxyAuthenticate)
        .with(FieldName::ProxyAuthorization)
        .with(FieldName::ProxyAuthenticationInfo)
        .with(FieldName::Te)
        .with(FieldName::TransferEncoding)
        .with(FieldName::Upgrade);

    /// What no trailer may bring (RFC 9110 section 6.5.1): fields of framing, routing and authentication, and those that
    /// [`FieldSet::HOP_BY_HOP`] has.
    pub const NO_TRAILER: Self = Self::HOP_BY_HOP
        .union(Self::FORWARDED)
        .with(FieldName::Host)
        .with(FieldName::ContentLength)
        .with(FieldName::Trailer)
        .with(FieldName::Expect)
        .with(FieldName::MaxForwards)
        .with(FieldName::Via)
        .with(FieldName::XVhostTenant)
        .with(FieldName::Authorization)
        .with(FieldName::WwwAuthenticate)
        .with(FieldName::AuthenticationInfo)
        .with(FieldName::Cookie)
        .with(FieldName::SetCookie)
        .with(FieldName::Location)
        .with(FieldName::Underscored);

    /// Those that Connection cannot name away: what decides where a message goes and where it ends.
    pub(crate) const NOT_NAMEABLE: Self =
        Self::EMPTY.with(FieldName::Host).with(FieldName::ContentLength).with(FieldName::TransferEncoding);

    /// The fields that Ringway sets upstream, whose twins with underscores are dropped.
    const SET_BY_RINGWAY: Self = Self::FORWARDED
        .with(FieldName::XVhostTenant)
        .with(FieldName::ContentLength)
        .with(FieldName::TransferEncoding)
        .with(FieldName::MaxForwards);

    /// The set with `name` in it.
    #[inline]
    pub const fn with(self, name: FieldName) -> Self {
        Self(self.0 | 1 << name as u8)
    }

    /// What is in either set.
    #[inline]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `name` is in the set.
    #[inline]
    pub const fn contains(self, name: FieldName) -> bool {
        self.0 & (1 << name as u8) != 0
    }

    /// Whether the two sets share a name.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl FieldName {
    /// The class of `name`, a token whose case does not matter.
    pub fn of(name: &[u8]) -> Self {
        let mut line = [b':'; WINDOW];
        let front = line.iter_mut().take(LONGEST);
        front.zip(name).for_each(|(to, from)| *to = *from);
        match name.len() {
            SHORTEST..=LONGEST => Self::known(&line, name.len()).unwrap_or_else(|| Self::of_unknown(name)),
            _ => Self::of_unknown(name),
        }
    }

    /// The class of the name that stands at the front of `line` with a colon behind it; `None` for what is not in the table. In
    /// `line` no control byte but HTAB may stand before the CRLF that ends it, and a name that reaches over that is none of the
    /// table's. So what is found here is a token and needs no look at each of its bytes.
    #[inline(always)]
    pub(crate) fn known(line: &[u8; WINDOW], len: usize) -> Option<Self> {
        let slot = *TABLE.slots.get(slot_of(line.get(..len)?)?)?;
        let Known(name) = TABLE.names.get(usize::from(slot))?;
        let mask = TABLE.masks.get(usize::from(slot))?;
        if scan::same_letters(line, name) & mask == *mask {
            TABLE.classes.get(usize::from(slot)).copied()
        } else {
            None
        }
    }

    /// The class of `name`; `None` when it is no token.
    #[inline(never)]
    pub(crate) fn of_token(name: &[u8]) -> Option<Self> {
        is_token(name).then(|| Self::of(name))
    }

    /// The class of a name that is not in the table.
    fn of_unknown(name: &[u8]) -> Self {
        const PREFIX: &[u8] = b"x-forwarded-";
        let start = name.get(..PREFIX.len()).unwrap_or_default();
        match name {
            [b't' | b'T', b'e' | b'E'] => Self::Te,
            [b'v' | b'V', b'i' | b'I', b'a' | b'A'] => Self::Via,
            _ if start.eq_ignore_ascii_case(PREFIX) => Self::XForwarded,
            _ if is_underscored_twin(start, PREFIX) => Self::Underscored,
            _ if FieldSet::SET_BY_RINGWAY.contains(Self::hyphened(name)) => Self::Underscored,
            _ => Self::Other,
        }
    }

    /// The class of `name` with hyphens for its underscores.
    fn hyphened(name: &[u8]) -> Self {
        let mut hyphened = [0; LONGEST];
        match hyphened.get_mut(..name.len()) {
            Some(hyphened) if name.contains(&b'_') => {
                let swapped = name.iter().map(|&byte| if byte == b'_' { b'-' } else { byte });
                hyphened.iter_mut().zip(swapped).for_each(|(to, byte)| *to = byte);
                Self::of(hyphened)
            }
            _ => Self::Other,
        }
    }
}

/// How many bytes of a line are looked at for its name and the colon behind it.
pub(crate) const WINDOW: usize = 32;

/// The shortest and the longest name that the table may have.
const SHORTEST: usize = 4;
const LONGEST: usize = WINDOW - 1;

/// Names that are looked up, in lower case, of 4 to [`LONGEST`] letters, digits and hyphens. The second half means nothing to a
/// proxy; it is here because most heads are made of it.
const NAMES: &[(&[u8], FieldName)] = &[
    (b"host", FieldName::Host),
    (b"date", FieldName::Date),
    (b"cookie", FieldName::Cookie),
    (b"expect", FieldName::Expect),
    (b"server", FieldName::Server),
    (b"trailer", FieldName::Trailer),
    (b"upgrade", FieldName::Upgrade),
    (b"location", FieldName::Location),
    (b"forwarded", FieldName::Forwarded),
    (b"x-real-ip", FieldName::XRealIp),
    (b"connection", FieldName::Connection),
    (b"keep-alive", FieldName::KeepAlive),
    (b"set-cookie", FieldName::SetCookie),
    (b"content-type", FieldName::ContentType),
    (b"max-forwards", FieldName::MaxForwards),
    (b"authorization", FieldName::Authorization),
    (b"content-length", FieldName::ContentLength),
    (b"x-vhost-tenant", FieldName::XVhostTenant),
    (b"idempotency-key", FieldName::IdempotencyKey),
    (b"x-forwarded-for", FieldName::XForwardedFor),
    (b"proxy-connection", FieldName::ProxyConnection),
    (b"www-authenticate", FieldName::WwwAuthenticate),
    (b"x-forwarded-host", FieldName::XForwardedHost),
    (b"x-forwarded-port", FieldName::XForwardedPort),
    (b"sec-websocket-key", FieldName::SecWebSocketKey),
    (b"transfer-encoding", FieldName::TransferEncoding),
    (b"x-forwarded-proto", FieldName::XForwardedProto),
    (b"proxy-authenticate", FieldName::ProxyAuthenticate),
    (b"authentication-info", FieldName::AuthenticationInfo),
    (b"proxy-authorization", FieldName::ProxyAuthorization),
    (b"sec-websocket-accept", FieldName::SecWebSocketAccept),
    (b"sec-websocket-version", FieldName::SecWebSocketVersion),
    (b"proxy-authentication-info", FieldName::ProxyAuthenticationInfo),
    (b"accept", FieldName::Other),
    (b"accept-encoding", FieldName::Other),
    (b"accept-language", FieldName::Other),
    (b"accept-ranges", FieldName::Other),
    (b"access-control-allow-headers", FieldName::Other),
    (b"access-control-allow-methods", FieldName::Other),
    (b"access-control-allow-origin", FieldName::Other),
    (b"alt-svc", FieldName::Other),
    (b"cache-control", FieldName::Other),
    (b"content-encoding", FieldName::Other),
    (b"content-language", FieldName::Other),
    (b"content-range", FieldName::Other),
    (b"content-security-policy", FieldName::Other),
    (b"etag", FieldName::Other),
    (b"expires", FieldName::Other),
    (b"if-modified-since", FieldName::Other),
    (b"if-none-match", FieldName::Other),
    (b"last-modified", FieldName::Other),
    (b"link", FieldName::Other),
    (b"origin", FieldName::Origin),
    (b"permissions-policy", FieldName::Other),
    (b"pragma", FieldName::Other),
    (b"priority", FieldName::Other),
    (b"range", FieldName::Other),
    (b"referer", FieldName::Other),
    (b"referrer-policy", FieldName::Other),
    (b"sec-ch-ua", FieldName::Other),
    (b"sec-ch-ua-mobile", FieldName::Other),
    (b"sec-ch-ua-platform", FieldName::Other),
    (b"sec-fetch-dest", FieldName::Other),
    (b"sec-fetch-mode", FieldName::Other),
    (b"sec-fetch-site", FieldName::Other),
    (b"sec-fetch-user", FieldName::Other),
    (b"sec-websocket-extensions", FieldName::Other),
    (b"sec-websocket-protocol", FieldName::Other),
    (b"strict-transport-security", FieldName::Other),
    (b"traceparent", FieldName::Other),
    (b"upgrade-insecure-requests", FieldName::Other),
    (b"user-agent", FieldName::Other),
    (b"vary", FieldName::Other),
    (b"x-content-type-options", FieldName::Other),
    (b"x-frame-options", FieldName::Other),
    (b"x-powered-by", FieldName::Other),
    (b"x-request-id", FieldName::Other),
    (b"x-requested-with", FieldName::Other),
];

/// A name of the table and the colon behind it.
#[derive(Clone, Copy)]
#[repr(align(32))]
struct Known([u8; WINDOW]);

const SLOT_BITS: u32 = 9;
const KNOWN_MAX: usize = 1 << u8::BITS;

/// For each value of [`slot_of`] the place of its name in `names`; 0, where none stands, for the free ones.
struct Table {
    names: [Known; KNOWN_MAX],
    /// A bit for each byte of the name and its colon.
    masks: [u32; KNOWN_MAX],
    classes: [FieldName; KNOWN_MAX],
    slots: [u8; 1 << SLOT_BITS],
}

static TABLE: Table = table();

/// Found by trying: with it no two names share a slot.
const MULTIPLIER: u32 = 0x72c3_9a29;

#[expect(clippy::indexing_slicing, reason = "runs at compile time, where an index out of range is an error")]
const fn table() -> Table {
    let mut table = Table {
        names: [Known([0; WINDOW]); KNOWN_MAX],
        // No byte is a 0 in lower case: nothing equals the name of the free slots.
        masks: [u32::MAX; KNOWN_MAX],
        classes: [FieldName::Other; KNOWN_MAX],
        slots: [0; 1 << SLOT_BITS],
    };
    let mut index = 0;
    while index < NAMES.len() {
        let (name, class) = NAMES[index];
        index += 1;
        let mut len = 0;
        while len < name.len() {
            table.names[index].0[len] = name[len];
            len += 1;
        }
        table.names[index].0[len] = b':';
        table.masks[index] = (2 << len) - 1;
        table.classes[index] = class;
        let Some(slot) = slot_of(name) else { panic!("a name that is too short") };
        assert!(table.slots[slot] == 0, "two names in one slot: take another MULTIPLIER");
        table.slots[slot] = index as u8;
    }
    table
}

/// The slot of a name, from its last four bytes and its length, which differ for all names of the table.
#[inline(always)]
const fn slot_of(name: &[u8]) -> Option<usize> {
    let Some(last) = name.last_chunk() else { return None };
    let word = (u32::from_le_bytes(*last) | 0x2020_2020).wrapping_add(name.len() as u32 * 8);
    Some((word.wrapping_mul(MULTIPLIER) >> (u32::BITS - SLOT_BITS)) as usize)
}

/// Whether `name` differs from `own` by underscores alone, so that a backend that takes `_` for `-` (CGI, WSGI, Rack) would read
/// it as `own`. For the fields that a configuration sets; the built-in ones are [`FieldName::Underscored`].
pub fn is_underscored_twin(name: &[u8], own: &[u8]) -> bool {
    let hyphened = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    (name.contains(&b'_') || own.contains(&b'_'))
        && name.len() == own.len()
        && !name.eq_ignore_ascii_case(own)
        && name.iter().map(hyphened).eq(own.iter().map(hyphened))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case() {
        let cases = [
            ("Host", FieldName::Host),
            ("hOsT", FieldName::Host),
            ("TE", FieldName::Te),
            ("X-Forwarded-Port", FieldName::XForwardedPort),
            ("x-forwarded-host", FieldName::XForwardedHost),
            ("X-FORWARDED-PREFIX", FieldName::XForwarded),
            ("X-Forwarded-Client_Cert", FieldName::XForwarded),
            ("Proxy-Authentication-Info", FieldName::ProxyAuthenticationInfo),
            ("Hosts", FieldName::Other),
            ("Hast", FieldName::Other),
            ("X-Forwarded", FieldName::Other),
            ("tE", FieldName::Te),
            ("VIA", FieldName::Via),
            ("Vi", FieldName::Other),
            ("X-Forwarded-", FieldName::XForwarded),
            ("Access-Control-Allow-Credentials", FieldName::Other),
            ("", FieldName::Other),
        ];
        for (name, class) in cases {
            assert_eq!(FieldName::of(name.as_bytes()), class, "{name}");
        }
    }

    #[test]
    fn the_table_finds_its_names_and_no_others() {
        for (name, class) in NAMES {
            let text = String::from_utf8(name.to_vec()).unwrap();
            assert_eq!(FieldName::of(name), *class, "{text}");
            assert_eq!(FieldName::of(text.to_uppercase().as_bytes()), *class, "{text}");
            let mut line = [b'x'; WINDOW];
            line[..name.len()].copy_from_slice(name);
            line[name.len()] = b':';
            assert_eq!(FieldName::known(&line, name.len()), Some(*class), "{text}");
            for at in 0..name.len() {
                for byte in (0x20..=0xff).chain(*b"\t\n").filter(|byte| !byte.eq_ignore_ascii_case(&name[at]))
                {
                    let mut other = line;
                    other[at] = byte;
                    let found = FieldName::known(&other, name.len());
                    let named = |(name, _): &&(&[u8], _)| other[..name.len()].eq_ignore_ascii_case(name);
                    assert!(
                        found.is_none() || NAMES.iter().any(|known| named(&known)),
                        "{text} {at} {byte:#x}"
                    );
                }
            }
        }
    }

    #[test]
    fn underscored_twins_of_our_own_fields_are_known() {
        for name in [
            "X_Forwarded_For",
            "x-forwarded_proto",
            "X_Real_IP",
            "X_Forwarded_Anything",
            "X_VHOST_TENANT",
            "Content_Length",
        ] {
            assert_eq!(FieldName::of(name.as_bytes()), FieldName::Underscored, "{name}");
        }
        for name in ["Set_Cookie", "X_Custom", "Keep_Alive_", "_"] {
            assert_eq!(FieldName::of(name.as_bytes()), FieldName::Other, "{name}");
        }
    }

    #[test]
    fn configured_fields_have_twins_too() {
        assert!(is_underscored_twin(b"X_Request-ID", b"x-request-id"));
        assert!(is_underscored_twin(b"X-Request-ID", b"x_request_id"));
        assert!(is_underscored_twin(b"X_Request-ID", b"x-request_id"));
        assert!(!is_underscored_twin(b"X-Request-ID", b"x-request-id"));
        assert!(!is_underscored_twin(b"X_Request-ID", b"x_request-id"));
        assert!(!is_underscored_twin(b"X_Request_IDs", b"x-request-id"));
    }

    #[test]
    fn every_name_fits_the_set() {
        assert!((FieldName::Underscored as u8) < 64);
        assert!(FieldSet::HOP_BY_HOP.contains(FieldName::Te));
        assert!(!FieldSet::HOP_BY_HOP.contains(FieldName::Trailer));
    }
}
