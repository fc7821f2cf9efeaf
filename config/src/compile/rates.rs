//! How often clients may come: `rate_limit` of sites and rules.

use std::time::Duration;

use ringway_wire::{FieldName, FieldSet};

use super::listeners::Listeners;
use super::rules::Rules;
use super::{Context, is_token};
use crate::problem::{Fault, Finding, Pointer};
use crate::schema;
use crate::snapshot::{ListenAddress, RateKey, RateLimit, Server, Site};

/// The shortest time between two requests that a limit may ask for, in nanoseconds, which are what it is counted in: rounded to
/// one of them it is off by half a percent at most.
const INTERVAL_MIN_NS: u64 = 100;

/// The longest time after which a whole burst may come again.
const BURST_MAX: Duration = Duration::from_secs(365 * 86_400);

/// What a key that names a field begins with.
const HEADER: &str = "header:";

/// Fields that are Ringway's to set: what a client writes into them is nobody's identity.
const NOT_A_CLIENTS: FieldSet = FieldSet::FORWARDED.with(FieldName::XVhostTenant);

/// Reads a limit, which stands at `at`. `None` for one that is missing, or wrong, which a finding says.
pub(super) fn rate_limit(
    written: &Option<schema::RateLimit>,
    at: &Pointer,
    context: &mut Context<'_>,
) -> Option<RateLimit> {
    let schema::RateLimit { requests, per, burst, ref key } = *written.as_ref()?;
    let key = match rate_key(key) {
        Ok(key) => key,
        Err(finding) => {
            context.findings.push(finding(at.key("key")));
            return None;
        }
    };
    warn_of_claims(&key, at, &mut context.findings);
    let limit = RateLimit { requests, per: per.0, burst: burst.unwrap_or(requests), key };
    let fault = fault(&limit);
    let of_burst = burst.is_some() && limit.interval_ns() >= INTERVAL_MIN_NS;
    let place = at.key(if of_burst { "burst" } else { "requests" });
    let is_sound = fault.is_none();
    context.findings.extend(fault.map(|fault| Finding::fault(place, fault)));
    is_sound.then_some(limit)
}

/// What a limit cannot be counted by. Zeros are refused by the schema's ranges.
fn fault(limit: &RateLimit) -> Option<Fault> {
    let RateLimit { requests, burst, .. } = *limit;
    if limit.interval_ns() < INTERVAL_MIN_NS {
        let at_most = 1_000_000_000 / INTERVAL_MIN_NS;
        let message =
            format!("{requests} requests in this time are more than {at_most} a second, which is no limit");
        return Some(Fault::new(message));
    }
    if limit.burst_ns() > BURST_MAX.as_nanos() {
        let message = format!("at this rate {burst} requests may come at once again after more than a year");
        return Some(Fault::new(message).help("write a smaller `burst`"));
    }
    None
}

/// Reads a key; else the finding, which wants its place.
fn rate_key(text: &str) -> Result<RateKey, impl FnOnce(Pointer) -> Finding> {
    let message = match (text, text.strip_prefix(HEADER)) {
        ("client", _) => return Ok(RateKey::Client),
        ("site", _) => return Ok(RateKey::Site),
        (_, Some(name)) if is_token(name) => return Ok(RateKey::Field(name.to_ascii_lowercase())),
        (_, Some(name)) => format!("{name:?} is no field name"),
        (_, None) => format!("{text:?} is nothing to count by"),
    };
    let text = text.to_owned();
    Err(move |at| {
        let known = ["client", "site"];
        let finding = Finding::error(at, message).help("write \"client\", \"site\" or \"header:X-Api-Key\"");
        match text.split_once(':') {
            Some((word, name)) if word.trim().eq_ignore_ascii_case("header") && is_token(name.trim()) => {
                finding.help(format!("did you mean `{HEADER}{}`?", name.trim()))
            }
            Some(_) => finding,
            None => finding.did_you_mean(&text, known),
        }
    })
}

/// What a client claims of itself in a field that others set is no key: it would write another one each time.
fn warn_of_claims(key: &RateKey, at: &Pointer, findings: &mut Vec<Finding>) {
    if let RateKey::Field(name) = key
        && NOT_A_CLIENTS.contains(FieldName::of(name.as_bytes()))
    {
        let message = format!("any client may write what it likes into {name:?}, and so is never limited");
        let help = "write key = \"client\": behind proxies that `server.trusted_proxies` names it is the address that they tell";
        findings.push(Finding::warning(at.key("key"), message).help(help));
    }
}

/// Notes which limits of rules never refuse a request, because their site's does before.
pub(super) fn warn_of_idle(sites: &[Site], rules: &Rules, findings: &mut Vec<Finding>) {
    for site in sites {
        for id in &site.rules {
            let (rule, at) = (&rules.list[id.index()], &rules.places[id.index()]);
            if let (Some(sites), Some(own)) = (&site.rate_limit, &rule.rate_limit)
                && never_refuses(own, sites)
            {
                let message =
                    "this limit is never reached: the site's own is as strict, and counts by the same key";
                findings.push(Finding::warning(at.key("rate_limit"), message).on_key());
            }
        }
    }
}

/// Whether `inner` lets through all that `outer` does: it fills no slower, and holds no less.
fn never_refuses(inner: &RateLimit, outer: &RateLimit) -> bool {
    let times = |requests: u32, per: Duration| u128::from(requests) * per.as_nanos();
    let is_slower = times(outer.requests, inner.per) <= times(inner.requests, outer.per);
    inner.key == outer.key && is_slower && outer.burst <= inner.burst
}

/// Notes the limits by client where all clients are one: those of Unix sockets have no address, unless they are trusted to
/// tell the client's.
pub(super) fn warn_of_one_client(
    written: &schema::Config,
    listeners: &Listeners,
    server: &Server,
    findings: &mut Vec<Finding>,
) {
    let is_unix = |address: &ListenAddress| matches!(address, ListenAddress::Unix(_));
    let all_unix = listeners.complete && listeners.list.iter().all(|listener| is_unix(&listener.address));
    if !all_unix || server.trusted_proxies.unix {
        return;
    }
    let at = Pointer::default();
    let of_rules = |rules: &[schema::Rule], at: Pointer| {
        let limits = rules.iter().enumerate().map(|(index, rule)| (rule.rate_limit.clone(), at.index(index)));
        limits.collect::<Vec<_>>()
    };
    let mut limits = of_rules(&written.rules, at.key("rules"));
    for (index, project) in written.projects.iter().enumerate() {
        limits.extend(of_rules(&project.rules, at.key("projects").index(index).key("rules")));
    }
    for (index, site) in written.sites.iter().enumerate() {
        let at = at.key("sites").index(index);
        limits.extend(of_rules(&site.rules, at.key("rules")));
        limits.push((site.rate_limit.clone(), at));
    }
    for (limit, at) in limits {
        if limit.is_some_and(|limit| limit.key == "client") {
            let message = "every client of a Unix socket is the same client here: it has no address";
            let help = "let `server.trusted_proxies` have \"unix\", when the peer tells addresses; or write key = \"site\"";
            findings.push(Finding::warning(at.key("rate_limit"), message).on_key().help(help));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(requests: u32, per: Duration, burst: u32) -> RateLimit {
        RateLimit { requests, per, burst, key: RateKey::Client }
    }

    #[test]
    fn a_key_is_a_word_or_a_field() {
        let read = |text| rate_key(text).map_err(|_| ());
        assert_eq!(read("client"), Ok(RateKey::Client));
        assert_eq!(read("site"), Ok(RateKey::Site));
        assert_eq!(read("header:X-Api-Key"), Ok(RateKey::Field("x-api-key".to_owned())));
        for text in
            ["", "Client", "header", "header:", "header: X", "header:a b", "headers:X", "ip", "X-Api-Key"]
        {
            assert_eq!(read(text), Err(()), "{text}");
        }
    }

    #[test]
    fn a_key_that_is_nearly_one_gets_a_hint() {
        let help = |text| rate_key(text).err().unwrap()(Pointer::default()).help.unwrap();
        assert_eq!(help("clients"), "did you mean `client`?");
        assert_eq!(help("Header: X-Api-Key"), "did you mean `header:X-Api-Key`?");
        assert_eq!(help("X-Api-Key"), "write \"client\", \"site\" or \"header:X-Api-Key\"");
    }

    #[test]
    fn a_rate_is_one_that_nanoseconds_resolve() {
        let second = Duration::from_secs(1);
        assert_eq!(fault(&limit(10_000_000, second, 1)), None);
        assert!(fault(&limit(10_100_000, second, 1)).is_some());
        assert!(fault(&limit(1_000_000_000, Duration::from_millis(1), 1)).is_some());
        assert_eq!(fault(&limit(1_000_000_000, Duration::from_secs(86_400), 1)), None::<Fault>);
    }

    #[test]
    fn a_burst_comes_again_within_a_year() {
        let day = Duration::from_secs(86_400);
        assert_eq!(fault(&limit(1, day, 365)), None);
        assert!(fault(&limit(1, day, 366)).is_some());
        assert!(fault(&limit(1, day, 1_000_000_000)).is_some());
    }

    #[test]
    fn a_limit_is_idle_behind_one_that_is_as_strict() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        let outer = limit(60, minute, 10);
        for (inner, idle) in [
            (outer.clone(), true),
            (limit(1, second, 10), true),
            (limit(2, second, 20), true),
            (limit(1, second, 9), false),
            (limit(59, minute, 100), false),
            (RateLimit { key: RateKey::Site, ..outer.clone() }, false),
        ] {
            assert_eq!(never_refuses(&inner, &outer), idle, "{inner:?}");
        }
    }
}
