//! What is known of a name: its last good addresses, and whether lookups succeed.

use std::net::IpAddr;

use super::answer::{ADDRESSES_MAX, Answer, Found};

/// What is known of one name; nothing yet.
#[derive(Default)]
pub(super) struct Known {
    addresses: Vec<IpAddr>,
    state: State,
}

/// ```text
/// Unanswered --answer--> Resolves <--answer/failure--> Fails
///      `------failure----------------------------------^
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Unanswered,
    Resolves,
    Fails,
}

/// What an answer changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The first addresses, others than before, or the end of failures (with the same addresses, perhaps).
    Found { addresses: Vec<IpAddr>, moved: bool, left_out: usize },
    /// Lookups fail from now on; so many addresses are kept.
    Lost { reason: String, kept: usize },
}

impl Known {
    /// The last good ones, in order.
    pub(super) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// No lookup has ended yet.
    pub(super) fn is_unanswered(&self) -> bool {
        self.state == State::Unanswered
    }

    /// Takes an answer down. Tells changes of state and of addresses, not their repetition.
    pub(super) fn record(&mut self, answer: Answer) -> Option<Event> {
        match answer {
            Ok(found) => self.found(found),
            Err(reason) => self.lost(reason),
        }
    }

    fn found(&mut self, found: Found) -> Option<Event> {
        let before = std::mem::replace(&mut self.state, State::Resolves);
        let left_out = found.left_out;
        let addresses = self.with_missing(found);
        let moved = addresses != self.addresses;
        self.addresses.clone_from(&addresses);
        (moved || before != State::Resolves).then_some(Event::Found { addresses, moved, left_out })
    }

    /// What was found, and the last good addresses of the family whose lookup failed.
    fn with_missing(&self, found: Found) -> Vec<IpAddr> {
        let mut addresses = found.addresses;
        if let Some(family) = found.missing {
            addresses.extend(self.addresses.iter().filter(|address| family.has(**address)));
            addresses.sort_unstable();
            addresses.truncate(ADDRESSES_MAX);
        }
        addresses
    }

    fn lost(&mut self, reason: String) -> Option<Event> {
        let before = std::mem::replace(&mut self.state, State::Fails);
        (before != State::Fails).then_some(Event::Lost { reason, kept: self.addresses.len() })
    }
}

impl Event {
    /// Logs it; whether addresses changed.
    pub(super) fn log(&self, host: &str) -> bool {
        match self {
            Self::Found { addresses, moved, left_out } => {
                tracing::info!(host, ?addresses, "backend host name resolves");
                if *left_out > 0 {
                    tracing::warn!(
                        host,
                        left_out,
                        "addresses of a backend host name are left out: at most {ADDRESSES_MAX} are used, and none that no \
                         backend can have"
                    );
                }
                *moved
            }
            Self::Lost { reason, kept: 0 } => {
                tracing::warn!(host, reason, "backend host name does not resolve: no requests can go there");
                false
            }
            Self::Lost { reason, kept } => {
                tracing::warn!(
                    host,
                    reason,
                    kept,
                    "backend host name does not resolve: its last addresses are kept"
                );
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::Family;
    use super::*;

    fn addresses(text: &[&str]) -> Vec<IpAddr> {
        text.iter().map(|address| address.parse().unwrap()).collect()
    }

    fn answer(text: &[&str]) -> Answer {
        Found::of(addresses(text), None)
    }

    fn failed() -> Answer {
        Err("it is gone".to_owned())
    }

    fn found(text: &[&str], moved: bool) -> Option<Event> {
        Some(Event::Found { addresses: addresses(text), moved, left_out: 0 })
    }

    fn lost(kept: usize) -> Option<Event> {
        Some(Event::Lost { reason: "it is gone".to_owned(), kept })
    }

    #[test]
    fn the_last_good_answer_is_kept_and_each_change_is_told_once() {
        let mut known = Known::default();
        assert!(known.is_unanswered());
        let one = ["192.0.2.1", "2001:db8::1"];
        assert_eq!(known.record(answer(&one)), found(&one, true));
        assert!(!known.is_unanswered());
        assert_eq!(known.record(answer(&one)), None);
        assert_eq!(known.record(failed()), lost(2));
        assert_eq!(known.record(failed()), None);
        assert_eq!(known.addresses(), addresses(&one));
        assert_eq!(known.record(answer(&one)), found(&one, false));
    }

    #[test]
    fn the_order_of_addresses_is_no_news() {
        let mut known = Known::default();
        known.record(answer(&["192.0.2.1", "192.0.2.2"]));
        assert_eq!(known.record(answer(&["192.0.2.2", "192.0.2.1"])), None);
        assert_eq!(known.record(answer(&["192.0.2.2"])), found(&["192.0.2.2"], true));
    }

    #[test]
    fn a_name_that_never_resolved_has_no_addresses() {
        let mut known = Known::default();
        assert_eq!(known.record(failed()), lost(0));
        assert!(known.addresses().is_empty() && !known.is_unanswered());
        assert_eq!(known.record(answer(&["192.0.2.1"])), found(&["192.0.2.1"], true));
    }

    #[test]
    fn half_an_answer_keeps_the_other_half() {
        let mut known = Known::default();
        known.record(answer(&["192.0.2.1", "2001:db8::1"]));
        let half =
            |text: &[&str], missing| answer(text).map(|found| Found { missing: Some(missing), ..found });
        assert_eq!(known.record(half(&["192.0.2.1"], Family::V6)), None);
        let both = ["192.0.2.2", "2001:db8::1"];
        assert_eq!(known.record(half(&["192.0.2.2"], Family::V6)), found(&both, true));
        assert_eq!(known.record(half(&["2001:db8::1"], Family::V4)), None);
        assert_eq!(known.record(answer(&["192.0.2.2"])), found(&["192.0.2.2"], true));
    }
}
