//! When an upstream's backends are ejected and how they come back: statuses, probes, thresholds.

use std::ops::RangeInclusive;

use crate::address;
use crate::problem::{Fault, Finding, Pointer};
use crate::schema;
use crate::snapshot::{ActiveProbes, Health, OnNoBackend, Probe, StatusSet};

/// What `written` says of health; what is wrong in it is left out, and told by [`check`].
pub(super) fn of(written: &schema::Upstream) -> Health {
    let schema::Upstream { health, on_no_backend, .. } = written;
    let (interval, rise, fall) = (health.probe_interval.0, health.rise, health.fall);
    Health {
        max_failures: health.max_failures,
        max_ejected_percent: health.max_ejected.0,
        unhealthy_status: status_set(&health.unhealthy_status),
        recovery_interval: health.recovery_interval.0,
        probe: match health.probe {
            schema::Probe::Tcp => Probe::Tcp,
            schema::Probe::Http => Probe::Http { path: health.probe_path.clone() },
        },
        probe_timeout: health.probe_timeout.0,
        active: health.active.then_some(ActiveProbes { interval, rise, fall }),
        on_no_backend: match on_no_backend {
            schema::OnNoBackend::Any => OnNoBackend::Any,
            schema::OnNoBackend::Fail => OnNoBackend::Fail,
            schema::OnNoBackend::Wait => OnNoBackend::Wait,
        },
    }
}

/// Notes what is wrong with `written`, which stands at `at`, and which of its keys do nothing.
pub(super) fn check(written: &schema::Health, at: &Pointer, findings: &mut Vec<Finding>) {
    let of_statuses = at.key("unhealthy_status");
    for (index, text) in written.unhealthy_status.iter().enumerate() {
        if let Err(fault) = statuses(text) {
            findings.push(Finding::fault(of_statuses.index(index), fault));
        }
    }
    if let Err(fault) = address::probe_path(&written.probe_path) {
        findings.push(Finding::fault(at.key("probe_path"), fault));
    }
    let default = schema::Health::default();
    if written.probe == schema::Probe::Tcp && written.probe_path != default.probe_path {
        let message = "`probe_path` does nothing: a \"tcp\" probe asks for no path";
        findings.push(
            Finding::warning(at.key("probe_path"), message).on_key().help("write probe = \"http\" beside it"),
        );
    }
    let of_active = [
        ("probe_interval", written.probe_interval != default.probe_interval),
        ("rise", written.rise != default.rise),
        ("fall", written.fall != default.fall),
    ];
    for (key, _) in of_active.iter().filter(|(_, is_set)| *is_set && !written.active) {
        let message = format!("`{key}` does nothing: it is for active probes");
        findings.push(Finding::warning(at.key(key), message).on_key().help("write active = true beside it"));
    }
}

fn status_set(written: &[String]) -> StatusSet {
    let mut set = StatusSet::default();
    written.iter().filter_map(|text| statuses(text).ok()).flatten().for_each(|status| set.add(status));
    set
}

/// Reads a code, or a class of codes. Those below 200 are none that a response can end with (RFC 9110 section 15.2).
fn statuses(text: &str) -> Result<RangeInclusive<u16>, Fault> {
    let fault = |message| {
        Fault::new(message).help("write a code such as \"502\", or \"5xx\" for all from 500 to 599")
    };
    let class = text.strip_suffix("xx").filter(|class| class.len() == 1);
    let digits = class.unwrap_or(text);
    let number =
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u16>().ok()).flatten();
    let range = match (class, number) {
        (Some(_), Some(class)) => Some(class * 100..=class * 100 + 99),
        (None, number) => number.map(|code| code..=code),
        (Some(_), None) => None,
    };
    match range.filter(|range| (100..=599).contains(range.start())) {
        Some(range) if *range.start() < 200 => {
            Err(fault(format!("{text:?} is never the status of a final response")))
        }
        Some(range) => Ok(range),
        None => Err(fault(format!("{text:?} is no status"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_codes_and_classes() {
        for (text, expected) in [
            ("200", 200..=200),
            ("502", 502..=502),
            ("599", 599..=599),
            ("2xx", 200..=299),
            ("5xx", 500..=599),
        ] {
            assert_eq!(statuses(text), Ok(expected), "{text}");
        }
        for text in [
            "", "xx", "x", "0xx", "6xx", "55xx", "5x", "5XX", "5xxx", "99", "600", "+502", " 502", "²xx",
            "65536",
        ] {
            assert!(statuses(text).expect_err(text).message.ends_with("is no status"), "{text}");
        }
        for text in ["1xx", "100", "101", "199"] {
            assert!(statuses(text).expect_err(text).message.contains("final response"), "{text}");
        }
    }

    #[test]
    fn a_set_has_what_its_texts_say() {
        let set = status_set(&["429".to_owned(), "5xx".to_owned(), "nonsense".to_owned()]);
        for status in 0..=700 {
            assert_eq!(set.contains(status), status == 429 || (500..600).contains(&status), "{status}");
        }
    }

    #[test]
    fn what_is_not_written_is_as_the_snapshot_has_it() {
        assert_eq!(of(&schema::Upstream::default()), Health::default());
    }
}
