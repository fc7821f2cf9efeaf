//! What the log says of providers that cannot tell who may come in. Every request that is denied so has its own line in the
//! access log: here each provider is named once in a while, so that a log is not filled by asking again and again.

use std::cell::RefCell;
use std::collections::HashMap;

/// How long a worker does not say again that a provider gives no verdicts, in milliseconds.
const QUIET_MS: u64 = 10_000;

/// What a worker has said under one configuration.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    /// When it may be said again, in milliseconds since the process started: by the provider's name, of which there are as many
    /// as the configuration has.
    quiet_until_ms: RefCell<HashMap<Box<str>, u64>>,
}

impl Complaints {
    /// The provider's endpoint gave no verdict; `why` is a name that stays the same from version to version. `now_ms` is in
    /// milliseconds since the process started.
    pub(super) fn of_endpoint(&self, provider: &str, why: &str, now_ms: u64) {
        if self.is_due(provider, now_ms) {
            tracing::warn!(provider, why, "an endpoint gave no verdict: nobody is let in");
        }
    }

    /// A password of the provider was not looked at.
    pub(super) fn of_password(&self, provider: &str, why: &str, now_ms: u64) {
        if self.is_due(provider, now_ms) {
            tracing::warn!(provider, why, "a password was not looked at: nobody is let in by it");
        }
    }

    fn is_due(&self, provider: &str, now_ms: u64) -> bool {
        let mut quiet = self.quiet_until_ms.borrow_mut();
        let is_due = quiet.get(provider).is_none_or(|until_ms| now_ms >= *until_ms);
        if is_due {
            quiet.insert(provider.into(), now_ms + QUIET_MS);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_provider_is_named_once_in_a_while() {
        let complaints = Complaints::default();
        let due = |provider, times: [u64; 4]| times.map(|now_ms| complaints.is_due(provider, now_ms));
        assert_eq!(due("a", [0, 1, QUIET_MS - 1, QUIET_MS]), [true, false, false, true]);
        assert_eq!(due("b", [1, 1, QUIET_MS, QUIET_MS + 1]), [true, false, false, true]);
    }
}
