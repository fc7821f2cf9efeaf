//! What a configuration asks for: the host names of its backends, how often each, and of whom.

use std::collections::BTreeMap;
use std::time::Duration;

use ringway_config::{BackendAddress, Dns, Snapshot};

/// How often a name is asked for whose answer tells no TTL: one of the system's resolver, or of the hosts file.
pub(super) const REFRESH: Duration = Duration::from_secs(30);

/// The shortest time from an answer to the next question, whatever its TTL is.
pub(super) const REFRESH_MIN: Duration = Duration::from_secs(1);

/// The longest time that a TTL is believed.
pub(super) const TTL_MAX: Duration = Duration::from_secs(3600);

/// What is to be looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(super) dns: Dns,
    pub(super) hosts: BTreeMap<String, Refresh>,
}

impl Wanted {
    /// What the backends of a configuration need, those of upstreams that no rule names too.
    pub(crate) fn by(snapshot: &Snapshot) -> Self {
        let mut hosts = BTreeMap::new();
        for upstream in &snapshot.upstreams {
            for backend in &upstream.backends {
                if let BackendAddress::Name { host, .. } = &backend.address {
                    let refresh = Refresh::of(upstream.dns_refresh);
                    let all: &mut Refresh = hosts.entry(host.clone()).or_insert(refresh);
                    *all = all.and(refresh);
                }
            }
        }
        Self { dns: snapshot.dns.clone(), hosts }
    }
}

/// How long an answer is used before a name is asked again. A name of several upstreams is asked as often as the one that
/// wants it most often does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refresh {
    /// The shortest `dns_refresh`.
    fixed: Option<Duration>,
    /// An upstream without `dns_refresh` uses it: the TTL decides.
    by_ttl: bool,
}

impl Refresh {
    pub(super) fn of(dns_refresh: Option<Duration>) -> Self {
        Self { fixed: dns_refresh, by_ttl: dns_refresh.is_none() }
    }

    pub(super) fn and(self, other: Self) -> Self {
        let fixed = [self.fixed, other.fixed].into_iter().flatten().min();
        Self { fixed, by_ttl: self.by_ttl || other.by_ttl }
    }

    /// The time until the next question after an answer with this TTL, if it has one.
    pub(super) fn after(self, ttl: Option<Duration>) -> Duration {
        let by_ttl = self.by_ttl.then(|| ttl.map_or(REFRESH, |ttl| ttl.min(TTL_MAX)));
        [self.fixed, by_ttl].into_iter().flatten().min().unwrap_or(REFRESH).max(REFRESH_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_a_name_most_often_decides() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let after = |refreshes: &[Option<Duration>], ttl| {
            let each = refreshes.iter().map(|refresh| Refresh::of(*refresh));
            each.reduce(Refresh::and).map(|refresh| refresh.after(ttl))
        };
        let hour = seconds(3600);
        assert_eq!(after(&[None], seconds(7)), seconds(7));
        assert_eq!(after(&[None], None), Some(REFRESH));
        assert_eq!(after(&[None], seconds(0)), Some(REFRESH_MIN));
        assert_eq!(after(&[None], seconds(86_400)), hour);
        assert_eq!(after(&[seconds(50)], seconds(7)), seconds(50));
        assert_eq!(after(&[seconds(50)], None), seconds(50));
        assert_eq!(after(&[seconds(50), seconds(20)], seconds(7)), seconds(20));
        assert_eq!(after(&[seconds(50), None], seconds(7)), seconds(7));
        assert_eq!(after(&[seconds(50), None], hour), seconds(50));
        assert_eq!(after(&[Some(Duration::from_millis(1))], None), Some(REFRESH_MIN));
    }
}
