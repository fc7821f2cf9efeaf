//! Who a client is, as far as limits tell them apart.

use std::net::IpAddr;

/// What limits know of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ClientKey {
    /// It has no address: the other end of a Unix socket that tells none.
    NoAddress,
    /// An IPv4 address; one that is mapped into IPv6 is the same.
    V4(u32),
    /// The first half of an IPv6 address. Who is given addresses is given a whole /64 at least, and may use all of it.
    V6(u64),
}

impl ClientKey {
    /// That of a client's, or a peer's, address.
    pub(crate) fn of(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            None => Self::NoAddress,
            Some(IpAddr::V4(address)) => Self::V4(address.to_bits()),
            Some(IpAddr::V6(address)) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_or_a_network_of_them() {
        let key = |text: &str| ClientKey::of(Some(text.parse().unwrap()));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff:ffff:ffff:ffff"));
        let all = ["192.0.2.1", "192.0.2.2", "2001:db8:0:1::", "2001:db8:0:2::", "::1", "0.0.0.0", "0.0.0.1"];
        let mut keys: Vec<_> = all.iter().map(|text| key(text)).chain([ClientKey::of(None)]).collect();
        keys.sort_by_key(|key| format!("{key:?}"));
        keys.dedup();
        assert_eq!(keys.len(), all.len() + 1);
    }
}
