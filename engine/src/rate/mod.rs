//! How often clients may come, and how many connections they may have.
//!
//! * this file: a limit as requests meet it, and the room for what is counted;
//! * `counts`: all limits of an exchange together, and what they count it by;
//! * `table`: what was counted, in memory of fixed size;
//! * `refused`: what a client is told that came too often;
//! * `client`: who a client is;
//! * `connections`: the open connections of each client.
//!
//! Counts belong to identities, not to configurations: a site's name, and a rule's in its list. What changes in a limit holds
//! for what was counted before; a limit elsewhere, or by another key, begins anew.

mod client;
pub(crate) mod connections;
mod counts;
mod refused;
mod table;
#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwapOption;
use ringway_config::{Owner, RateKey, RateLimit, Rule, Site, Snapshot};

pub(crate) use client::ClientKey;
pub(crate) use counts::Counts;
use refused::Policy;
pub(crate) use refused::Refused;
use table::Rate;

/// The log hears at most so often that clients are forgotten, in milliseconds.
const HEARS_EVERY_MS: u64 = 60_000;

/// A limit as requests meet it, made once for each pair of site and rule.
#[derive(Debug)]
pub(crate) struct Limit {
    /// Whose limit it is.
    identity: u64,
    key: RateKey,
    rate: Rate,
    policy: Policy,
}

impl Limit {
    /// That of a site.
    pub(crate) fn of_site(site: &Site, limit: &RateLimit) -> Self {
        Self::new(&site.name, identity_of(("site", &site.name)), limit)
    }

    /// That of a rule, for requests of `site`.
    pub(crate) fn of_rule(snapshot: &Snapshot, site: Option<&Site>, rule: &Rule, limit: &RateLimit) -> Self {
        let owner = match rule.owner {
            Owner::Site(id) => ("site", snapshot.sites.get(id.index()).map(|site| &*site.name)),
            Owner::Project(id) => {
                ("project", snapshot.projects.get(id.index()).map(|project| &*project.name))
            }
            Owner::Everywhere => ("everywhere", None),
        };
        // Several sites may have the rule, and each of them is counted by itself.
        let counted = site.filter(|_| limit.key == RateKey::Site).map(|site| &*site.name);
        Self::new(&rule.name, identity_of(("rule", owner, &rule.name, counted)), limit)
    }

    fn new(name: &str, identity: u64, limit: &RateLimit) -> Self {
        // The compiler bounds it far below.
        let burst_ns = u64::try_from(limit.burst_ns()).unwrap_or(u64::MAX);
        let rate = Rate { interval_ns: limit.interval_ns(), burst_ns };
        Self { identity, key: limit.key.clone(), rate, policy: Policy::new(name, limit) }
    }
}

/// The same for the same names. They are the configuration's: nobody chooses them so that two collide.
fn identity_of(names: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    names.hash(&mut hasher);
    hasher.finish()
}

/// The counts of all limits of the process.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    /// As long as a configuration has limits.
    counts: ArcSwapOption<Counts>,
    /// Of how many forgotten keys the log has heard.
    heard: AtomicU64,
    /// When it is to hear of more.
    hears_next_ms: AtomicU64,
}

impl Rates {
    /// Makes room for what `snapshot` counts; called on the control thread before it is published. Where the room is another
    /// one than before, everyone begins anew.
    pub(crate) fn prepare(&self, snapshot: &Snapshot) {
        let limits_something = snapshot.sites.iter().any(|site| site.rate_limit.is_some())
            || snapshot.rules.iter().any(|rule| rule.rate_limit.is_some());
        let bytes = snapshot.limits.rate_limit_bytes;
        match &*self.counts.load() {
            Some(_) if !limits_something => self.counts.store(None),
            None if !limits_something => {}
            Some(counts) if counts.is_of(bytes) => {}
            _ => {
                self.counts.store(largest(bytes).map(Arc::new));
                self.heard.store(0, Relaxed);
            }
        }
    }

    /// What is counted under the configuration that was prepared last; `None` where it has no limits.
    pub(crate) fn counts(&self) -> Option<Arc<Counts>> {
        self.counts.load_full()
    }

    /// Tells the log, now and then, that clients are forgotten for want of memory. Called on the control thread.
    pub(crate) fn tell_of_loss(&self, now_ms: u64) {
        let forgotten = self.counts.load().as_ref().map_or(0, |counts| counts.forgotten());
        let more = forgotten.saturating_sub(self.heard.load(Relaxed));
        if more > 0 && now_ms >= self.hears_next_ms.load(Relaxed) {
            self.heard.store(forgotten, Relaxed);
            self.hears_next_ms.store(now_ms + HEARS_EVERY_MS, Relaxed);
            tracing::warn!(clients = more, "rate limits forget clients: limits.rate_limit_memory is full");
        }
    }
}

/// Room of `bytes`, or as much as the system gives.
fn largest(bytes: u64) -> Option<Counts> {
    let halves = std::iter::successors(Some(bytes), |bytes| Some(bytes / 2).filter(|half| *half > 0));
    let counts = { halves }.find_map(Counts::new);
    let given = counts.as_ref().map_or(0, Counts::bytes);
    if given < bytes / 2 {
        tracing::error!(asked = bytes, given, "the system does not give the memory that rate limits ask for");
    }
    counts
}
