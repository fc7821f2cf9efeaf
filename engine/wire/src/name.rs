//! Field names that Ringway acts on. Each field is classified once, when its head is read, by the length and the first byte
//! of its name; everything after that compares one byte.

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
    /// The class of `name`, whose case does not matter.
    pub fn of(name: &[u8]) -> Self {
        let Some(first) = name.first() else { return Self::Other };
        // Length and first letter leave at most two candidates; most fields of a browser have none.
        let candidates: &[(&[u8], Self)] = match (name.len(), first.to_ascii_lowercase()) {
            (2, b't') => &[(b"te", Self::Te)],
            (3, b'v') => &[(b"via", Self::Via)],
            (4, b'h') => &[(b"host", Self::Host)],
            (4, b'd') => &[(b"date", Self::Date)],
            (6, b'c') => &[(b"cookie", Self::Cookie)],
            (6, b'e') => &[(b"expect", Self::Expect)],
            (6, b's') => &[(b"server", Self::Server)],
            (7, b't') => &[(b"trailer", Self::Trailer)],
            (7, b'u') => &[(b"upgrade", Self::Upgrade)],
            (8, b'l') => &[(b"location", Self::Location)],
            (9, b'f') => &[(b"forwarded", Self::Forwarded)],
            (9, b'x') => &[(b"x-real-ip", Self::XRealIp)],
            (10, b'c') => &[(b"connection", Self::Connection)],
            (10, b'k') => &[(b"keep-alive", Self::KeepAlive)],
            (10, b's') => &[(b"set-cookie", Self::SetCookie)],
            (12, b'c') => &[(b"content-type", Self::ContentType)],
            (12, b'm') => &[(b"max-forwards", Self::MaxForwards)],
            (13, b'a') => &[(b"authorization", Self::Authorization)],
            (14, b'c') => &[(b"content-length", Self::ContentLength)],
            (14, b'x') => &[(b"x-vhost-tenant", Self::XVhostTenant)],
            (15, b'i') => &[(b"idempotency-key", Self::IdempotencyKey)],
            (15, b'x') => &[(b"x-forwarded-for", Self::XForwardedFor)],
            (16, b'p') => &[(b"proxy-connection", Self::ProxyConnection)],
            (16, b'w') => &[(b"www-authenticate", Self::WwwAuthenticate)],
            (16, b'x') => {
                &[(b"x-forwarded-host", Self::XForwardedHost), (b"x-forwarded-port", Self::XForwardedPort)]
            }
            (17, b's') => &[(b"sec-websocket-key", Self::SecWebSocketKey)],
            (17, b't') => &[(b"transfer-encoding", Self::TransferEncoding)],
            (17, b'x') => &[(b"x-forwarded-proto", Self::XForwardedProto)],
            (18, b'p') => &[(b"proxy-authenticate", Self::ProxyAuthenticate)],
            (19, b'a') => &[(b"authentication-info", Self::AuthenticationInfo)],
            (19, b'p') => &[(b"proxy-authorization", Self::ProxyAuthorization)],
            (20, b's') => &[(b"sec-websocket-accept", Self::SecWebSocketAccept)],
            (21, b's') => &[(b"sec-websocket-version", Self::SecWebSocketVersion)],
            (25, b'p') => &[(b"proxy-authentication-info", Self::ProxyAuthenticationInfo)],
            _ => &[],
        };
        candidates
            .iter()
            .find_map(|&(known, class)| match compare(name, known) {
                Likeness::Same => Some(class),
                Likeness::Twin if FieldSet::SET_BY_RINGWAY.contains(class) => Some(Self::Underscored),
                Likeness::Twin | Likeness::Different => None,
            })
            .unwrap_or_else(|| Self::by_prefix(name))
    }

    fn by_prefix(name: &[u8]) -> Self {
        const PREFIX: &[u8] = b"x-forwarded-";
        match name.get(..PREFIX.len()).map(|start| compare(start, PREFIX)) {
            Some(Likeness::Same) => Self::XForwarded,
            Some(Likeness::Twin) => Self::Underscored,
            Some(Likeness::Different) | None => Self::Other,
        }
    }
}

/// Whether `name` differs from `own`, which has no underscores, but would be read as `own` by a backend that takes `_` for
/// `-` (CGI, WSGI, Rack). For the fields that a configuration sets; the built-in ones are [`FieldName::Underscored`].
pub fn is_underscored_twin(name: &[u8], own: &[u8]) -> bool {
    let lower = |byte: &u8| byte.to_ascii_lowercase();
    let hyphened = |byte: &u8| if *byte == b'_' { b'-' } else { lower(byte) };
    name.contains(&b'_') && name.iter().map(hyphened).eq(own.iter().map(lower))
}

#[derive(PartialEq)]
enum Likeness {
    Same,
    Twin,
    Different,
}

/// Compares `name` with the lower-case `known`, which has the same length.
#[inline]
fn compare(name: &[u8], known: &[u8]) -> Likeness {
    let mut likeness = Likeness::Same;
    for (&byte, &expected) in name.iter().zip(known) {
        if byte.to_ascii_lowercase() == expected {
            continue;
        }
        if byte != b'_' || expected != b'-' {
            return Likeness::Different;
        }
        likeness = Likeness::Twin;
    }
    likeness
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
            ("", FieldName::Other),
        ];
        for (name, class) in cases {
            assert_eq!(FieldName::of(name.as_bytes()), class, "{name}");
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
        assert!(!is_underscored_twin(b"X-Request-ID", b"x-request-id"));
        assert!(!is_underscored_twin(b"X_Request_IDs", b"x-request-id"));
    }

    #[test]
    fn every_name_fits_the_set() {
        assert!((FieldName::Underscored as u8) < 64);
        assert!(FieldSet::HOP_BY_HOP.contains(FieldName::Te));
        assert!(!FieldSet::HOP_BY_HOP.contains(FieldName::Trailer));
    }
}
