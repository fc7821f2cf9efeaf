//! Rules for all requests that lead out of the house: whoever reaches the proxy reaches through it what lies behind them.

use super::ground::{self, Ground};
use crate::egress;
use crate::snapshot::{BackendAddress, Rule, RuleId, Snapshot};

/// The ends of names that only a private network resolves (RFC 6761, RFC 6762, RFC 8375, and `internal`, which ICANN
/// keeps for them), and two that are used so.
const INTERNAL: [&str; 7] = ["internal", "local", "localhost", "test", "home.arpa", "lan", "intranet"];

/// The enabled rules that take every path, method and upgrade and forward them to a public address.
pub(super) fn open_doors(snapshot: &Snapshot, ground: &Ground<'_>) -> Vec<RuleId> {
    let ids = (0..snapshot.rules.len()).map(|index| RuleId(index as u32));
    let enabled = ids.zip(&snapshot.rules).filter(|(_, rule)| rule.enabled);
    let leads_out = enabled.filter(|(_, rule)| leads_out(rule, snapshot));
    leads_out.filter(|(id, rule)| ground::is_total(ground, *id, rule)).map(|(id, _)| id).collect()
}

fn leads_out(rule: &Rule, snapshot: &Snapshot) -> bool {
    let upstream = rule.forward().and_then(|forward| snapshot.upstream(forward.upstream));
    upstream.is_some_and(|upstream| upstream.backends.iter().any(|backend| is_public(&backend.address)))
}

fn is_public(address: &BackendAddress) -> bool {
    match address {
        BackendAddress::Socket(address) => egress::is_public(address.ip()),
        BackendAddress::Name { host, .. } => is_public_name(host),
        BackendAddress::Unix(_) | BackendAddress::Unknown => false,
    }
}

/// A name without a dot is found through the search list of the machine's resolver.
fn is_public_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let ends_in = |end: &&str| name.strip_suffix(*end).is_some_and(|rest| rest.ends_with('.'));
    name.contains('.') && !INTERNAL.iter().any(ends_in)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn addresses_and_names() {
        let socket =
            |ip: &str| is_public(&BackendAddress::Socket((ip.parse::<IpAddr>().unwrap(), 80).into()));
        for ip in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1", "::ffff:8.8.8.8"] {
            assert!(socket(ip), "{ip}");
        }
        let inside = "127.0.0.1 10.0.0.1 172.16.0.1 192.168.1.1 169.254.1.1 100.64.0.1 0.0.0.0 192.0.2.1 255.255.255.255 \
                      ::1 fd00::1 fe80::1 :: 2001:db8::1 ::ffff:10.0.0.1";
        for ip in inside.split_whitespace() {
            assert!(!socket(ip), "{ip}");
        }
        for (name, public) in [
            ("example.com", true),
            ("notlocal.example", true),
            ("xlocal", false),
            ("app", false),
            ("app.local", false),
            ("app.local.", false),
            ("example.com.", true),
            ("a.b.internal", false),
            ("x.home.arpa", false),
            ("x.notinternal", true),
        ] {
            assert_eq!(is_public_name(name), public, "{name}");
        }
    }
}
