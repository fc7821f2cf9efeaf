//! What a lookup says: the addresses of a name, or why there are none.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

/// Addresses of one name that take part. Of more, those that come first in their order do.
pub(super) const ADDRESSES_MAX: usize = 64;

/// What a lookup found, or why it failed.
pub(super) type Answer = Result<Found, String>;

/// What a lookup found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// In order, each once: IPv4 first. At least one, at most [`ADDRESSES_MAX`].
    pub(super) addresses: Vec<IpAddr>,
    /// How long they hold; `None` from who does not tell.
    pub(super) ttl: Option<Duration>,
    /// The family whose lookup failed, so that nothing is known of its addresses.
    pub(super) missing: Option<Family>,
    /// Addresses that were left out.
    pub(super) left_out: usize,
}

/// The kinds of addresses, each asked for by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn has(self, address: IpAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}

impl Found {
    /// Sorts what was said, and leaves out what is no backend's address.
    ///
    /// # Errors
    /// When nothing is left.
    pub(super) fn of(said: impl IntoIterator<Item = IpAddr>, ttl: Option<Duration>) -> Answer {
        let said: BTreeSet<IpAddr> = said.into_iter().map(|address| address.to_canonical()).collect();
        let usable = said.iter().copied().filter(|address| is_target(*address));
        let addresses: Vec<IpAddr> = usable.take(ADDRESSES_MAX).collect();
        match (addresses.len(), said.len()) {
            (0, 0) => Err("the name has no address".to_owned()),
            (0, _) => Err("the name has no address that can be a backend's".to_owned()),
            (used, all) => Ok(Self { addresses, ttl, missing: None, left_out: all - used }),
        }
    }
}

/// Whether an address that a name has can be dialled as a backend's. The unspecified one would be this host, whatever the
/// name says; one of a link needs a zone, which names do not have.
fn is_target(address: IpAddr) -> bool {
    let of_many = match address {
        IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_multicast() || address.is_unicast_link_local(),
    };
    !address.is_unspecified() && !of_many
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(said: &[&str]) -> Answer {
        Found::of(said.iter().map(|address| address.parse().unwrap()), None)
    }

    #[test]
    fn addresses_have_one_order_and_stand_once() {
        let answer = found(&["2001:db8::1", "192.0.2.9", "::ffff:192.0.2.9", "192.0.2.1", "192.0.2.9"]);
        let answer = answer.unwrap();
        let spelled: Vec<String> = answer.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(spelled, ["192.0.2.1", "192.0.2.9", "2001:db8::1"]);
        assert_eq!(answer.left_out, 0);
    }

    #[test]
    fn what_is_no_target_is_left_out() {
        let nonsense =
            ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "fe80::1", "::ffff:0.0.0.0"];
        for one in nonsense {
            assert!(found(&[one]).unwrap_err().contains("no address that can be"), "{one}");
            let answer = found(&[one, "127.0.0.1"]).unwrap();
            assert_eq!((answer.addresses, answer.left_out), (vec!["127.0.0.1".parse().unwrap()], 1), "{one}");
        }
        assert_eq!(found(&[]).unwrap_err(), "the name has no address");
    }

    #[test]
    fn so_many_addresses_take_part_and_always_the_same() {
        let all: Vec<IpAddr> = (0..=255).map(|last| IpAddr::from([10, 0, 0, last])).collect();
        let (forward, backward) = (Found::of(all.clone(), None), Found::of(all.into_iter().rev(), None));
        assert_eq!(forward, backward);
        let forward = forward.unwrap();
        assert_eq!((forward.addresses.len(), forward.left_out), (ADDRESSES_MAX, 256 - ADDRESSES_MAX));
    }
}
