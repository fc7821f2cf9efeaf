//! How often clients may come, and how many connections they may have.
//!
//! * `table`: what all limits have counted, in memory of fixed size;
//! * this file: what a limit counts by, and all limits of an exchange together;
//! * `refused`: what a client is told that came too often;
//! * `client`: who a client is;
//! * `connections`: the open connections of each client.
//!
//! Counts belong to identities, not to configurations: a site's name, and a rule's in its list. What changes in a limit holds
//! for what was counted before; a limit elsewhere, or by another key, begins anew.

mod client;
pub(crate) mod connections;
mod refused;
mod table;

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwapOption;
use ringway_config::{Owner, RateKey, RateLimit, Rule, Site, Snapshot};
use ringway_wire::RequestHead;

pub(crate) use client::ClientKey;
use refused::Policy;
pub(crate) use refused::Refused;
use table::{Rate, Table};

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
    /// Clients choose what they are counted by: without the secret of this hash they cannot choose who shares it with them.
    secret: RandomState,
    /// As long as a configuration has limits.
    table: ArcSwapOption<Table>,
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
        match &*self.table.load() {
            Some(_) if !limits_something => self.table.store(None),
            None if !limits_something => {}
            Some(table) if table.is_of(bytes) => {}
            _ => {
                self.table.store(largest(bytes).map(Arc::new));
                self.heard.store(0, Relaxed);
            }
        }
    }

    /// Tells the log, now and then, that clients are forgotten for want of memory. Called on the control thread.
    pub(crate) fn tell_of_loss(&self, now_ms: u64) {
        let forgotten = self.table.load().as_ref().map_or(0, |table| table.forgotten());
        let more = forgotten.saturating_sub(self.heard.load(Relaxed));
        if more > 0 && now_ms >= self.hears_next_ms.load(Relaxed) {
            self.heard.store(forgotten, Relaxed);
            self.hears_next_ms.store(now_ms + HEARS_EVERY_MS, Relaxed);
            tracing::warn!(clients = more, "rate limits forget clients: limits.rate_limit_memory is full");
        }
    }

    /// Counts a request of `client`, at `now_ns` nanoseconds since the process started, with each of its limits.
    ///
    /// # Errors
    /// [`Refused`], by the first limit that refuses it; then it counts nowhere.
    pub(crate) fn take(
        &self,
        limits: &[Limit],
        client: Option<IpAddr>,
        head: &RequestHead,
        bytes: &[u8],
        now_ns: u64,
    ) -> Result<(), Refused> {
        if limits.is_empty() {
            return Ok(());
        }
        // Without one the limits are those of a configuration before, and going.
        let table = self.table.load();
        let Some(table) = &*table else { return Ok(()) };
        let key_of = |limit: &Limit| self.key(limit, client, head, bytes);
        for (index, limit) in limits.iter().enumerate() {
            if let Err(early_ns) = table.take(key_of(limit), limit.rate, now_ns) {
                // Else whoever is refused by a limit of its own would use up one that all of a site share.
                limits[..index].iter().for_each(|before| table.give_back(key_of(before), before.rate));
                return Err(limit.policy.refused(early_ns));
            }
        }
        Ok(())
    }

    /// What a request is counted by under `limit`.
    fn key(&self, limit: &Limit, client: Option<IpAddr>, head: &RequestHead, bytes: &[u8]) -> u64 {
        let mut hasher = self.secret.build_hasher();
        let (kind, number) = match &limit.key {
            RateKey::Site => (SITE, 0),
            RateKey::Field(name) if hash_values(name.as_bytes(), head, bytes, &mut hasher) => (FIELD, 0),
            RateKey::Field(_) | RateKey::Client => numbers_of(ClientKey::of(client)),
        };
        // In one piece: the hasher's way in costs more than what it does with so few bytes.
        let whose = limit.identity.wrapping_add(kind).to_ne_bytes();
        let number: [u8; 8] = number.to_ne_bytes();
        hasher.write([whose, number].as_flattened());
        hasher.finish()
    }
}

/// What tells keys of one limit apart that come of different things.
const SITE: u64 = 3;
const FIELD: u64 = 4;

fn numbers_of(client: ClientKey) -> (u64, u64) {
    match client {
        ClientKey::NoAddress => (0, 0),
        ClientKey::V4(address) => (1, address.into()),
        ClientKey::V6(network) => (2, network),
    }
}

/// Hashes the values of all fields of this name, in their order. Says whether there is one.
fn hash_values(name: &[u8], head: &RequestHead, bytes: &[u8], hasher: &mut DefaultHasher) -> bool {
    let mut is_there = false;
    for field in &head.fields {
        if field.name_span.len() == name.len() && field.name_span.of(bytes).eq_ignore_ascii_case(name) {
            // With its length, so that two values are not one in two parts.
            field.value.of(bytes).hash(hasher);
            is_there = true;
        }
    }
    is_there
}

/// A table of `bytes`, or the largest that the system gives.
fn largest(bytes: u64) -> Option<Table> {
    let table = std::iter::successors(Some(bytes), |bytes| Some(bytes / 2).filter(|half| *half > 0))
        .find_map(Table::new);
    let given = table.as_ref().map_or(0, Table::bytes);
    if given < bytes / 2 {
        tracing::error!(asked = bytes, given, "the system does not give the memory that rate limits ask for");
    }
    table
}

#[cfg(test)]
mod tests {
    use ringway_config::{Compiler, Source};
    use ringway_wire::{Limits, Progress};

    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn compile(text: &str) -> Snapshot {
        let text = format!("[[listeners]]\naddress = \":1\"\n{text}");
        let compiled = Compiler::new().compile(&Source { name: "test", text: &text });
        compiled.unwrap_or_else(|problems| panic!("{problems:?}")).snapshot
    }

    /// A site `a` with this limit and a rule `r`, which has the other.
    fn of_site_and_rule(site: &str, rule: &str) -> Snapshot {
        let limit =
            |keys: &str| if keys.is_empty() { String::new() } else { format!("rate_limit = {{ {keys} }}") };
        compile(&format!(
            "[[sites]]\nname = \"a\"\nhosts = [\"*\"]\n{}\n[[sites.rules]]\nname = \"r\"\npath = \"/*\"\n\
             target = \"http://127.0.0.1:1\"\n{}\n",
            limit(site),
            limit(rule)
        ))
    }

    /// The limits of a request to the first site's first rule.
    fn limits(snapshot: &Snapshot) -> Vec<Limit> {
        let (site, rule) = (snapshot.sites.first().map(|site| &**site), &snapshot.rules[0]);
        let of_site = site.and_then(|site| Some(Limit::of_site(site, site.rate_limit.as_ref()?)));
        let of_rule = rule.rate_limit.as_ref().map(|limit| Limit::of_rule(snapshot, site, rule, limit));
        of_site.into_iter().chain(of_rule).collect()
    }

    fn prepared(snapshot: &Snapshot) -> Rates {
        let rates = Rates::default();
        rates.prepare(snapshot);
        rates
    }

    /// How many of ten requests with these fields are let through at one moment.
    fn pass(rates: &Rates, limits: &[Limit], client: &str, fields: &str, now_ns: u64) -> usize {
        let mut bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes();
        let mut head = RequestHead::new();
        assert!(matches!(head.read(&mut bytes, &Limits::default()), Ok(Progress::Done(_))));
        let client = (!client.is_empty()).then(|| client.parse().unwrap());
        (0..10).filter(|_| rates.take(limits, client, &head, &bytes, now_ns).is_ok()).count()
    }

    #[test]
    fn clients_are_counted_by_their_addresses() {
        let snapshot = of_site_and_rule("", "requests = 2, per = '1m'");
        let (rates, limits) = (prepared(&snapshot), limits(&snapshot));
        let pass = |client| pass(&rates, &limits, client, "X-Key: k\r\n", 0);
        assert_eq!((pass("192.0.2.1"), pass("::ffff:192.0.2.1"), pass("192.0.2.2")), (2, 0, 2));
        assert_eq!((pass("2001:db8::1"), pass("2001:db8::2"), pass("2001:db8:0:1::1")), (2, 0, 2));
        assert_eq!((pass(""), pass("")), (2, 0));
    }

    #[test]
    fn all_of_a_site_are_one_where_it_says_so() {
        let snapshot = of_site_and_rule("requests = 3, per = '1m', key = 'site'", "");
        let (rates, limits) = (prepared(&snapshot), limits(&snapshot));
        assert_eq!(pass(&rates, &limits, "192.0.2.1", "", 0), 3);
        assert_eq!(pass(&rates, &limits, "192.0.2.2", "X-Key: k\r\n", 0), 0);
    }

    #[test]
    fn the_values_of_a_field_are_told_apart() {
        let snapshot = of_site_and_rule("", "requests = 1, per = '1m', key = 'header:X-Key'");
        let (rates, limits) = (prepared(&snapshot), limits(&snapshot));
        let pass = |client, fields: &str| pass(&rates, &limits, client, fields, 0);
        let all = [
            "X-Key: a\r\n",
            "X-Key: A\r\n",
            "X-Key: b\r\n",
            "X-Key: ab\r\n",
            "X-Key:\r\n",
            "X-Key: a, b\r\n",
            "X-Key: a\r\nX-Key: b\r\n",
            "X-Key: b\r\nX-Key: a\r\n",
            "X-Key: a\r\nX-Key:\r\n",
            "",
        ];
        for fields in all {
            assert_eq!(pass("192.0.2.1", fields), 1, "{fields:?}");
            assert_eq!(pass("192.0.2.1", fields), 0, "{fields:?}");
        }
        assert_eq!(pass("192.0.2.2", "x-key: a\r\nX-Other: a\r\n"), 0, "whoever brings it");
        assert_eq!(pass("192.0.2.2", "X-Key-2: a\r\nX_Key: a\r\n"), 1, "without one, by client");
        assert_eq!(pass("192.0.2.3", "Connection: x-key\r\nX-Key: a\r\n"), 0, "Connection does not hide it");
    }

    #[test]
    fn what_one_limit_refuses_counts_nowhere() {
        let snapshot = of_site_and_rule("requests = 5, per = '1m', key = 'site'", "requests = 1, per = '1m'");
        let (rates, limits) = (prepared(&snapshot), limits(&snapshot));
        // The first client comes ten times, and is let through once: four are left to the others.
        let passed: usize = (1..9).map(|host| pass(&rates, &limits, &format!("192.0.2.{host}"), "", 0)).sum();
        assert_eq!(passed, 5);
    }

    #[test]
    fn the_refusal_is_that_of_the_limit_that_refuses() {
        let snapshot = of_site_and_rule("requests = 2, per = '1m', key = 'site'", "requests = 1, per = '1h'");
        let (rates, limits) = (prepared(&snapshot), limits(&snapshot));
        let (head, take) = (RequestHead::new(), |host: u8| Some(IpAddr::from([192, 0, 2, host])));
        let refused = |host| rates.take(&limits, take(host), &head, b"", 0).unwrap_err().fields;
        assert_eq!(pass(&rates, &limits, "192.0.2.1", "", 0), 1);
        assert!(refused(1).starts_with(b"Retry-After: 3600\r\nRateLimit-Policy: \"r\";q=1;w=3600\r\n"));
        assert_eq!(pass(&rates, &limits, "192.0.2.2", "", 0), 1);
        assert!(refused(3).starts_with(b"Retry-After: 30\r\nRateLimit-Policy: \"a\";q=2;w=60\r\n"));
    }

    #[test]
    fn counts_stay_with_names_through_changes() {
        let before = of_site_and_rule("requests = 1, per = '1m'", "requests = 1, per = '1m', key = 'site'");
        let rates = prepared(&before);
        assert_eq!(pass(&rates, &limits(&before), "192.0.2.1", "", 0), 1);
        // The same names; the site's limit alone is another one.
        let after = of_site_and_rule("requests = 60, per = '1m'", "requests = 1, per = '1m', key = 'site'");
        rates.prepare(&after);
        let after = limits(&after);
        assert_eq!(
            pass(&rates, &after[..1], "192.0.2.1", "", 0),
            0,
            "its minute is over with the rate that had it"
        );
        assert_eq!(pass(&rates, &after[..1], "192.0.2.1", "", SECOND_NS), 1);
        assert_eq!(pass(&rates, &after[1..], "192.0.2.1", "", 0), 0);
        // Another name, another list, another key.
        for text in [
            "[[rules]]\nname = \"r\"\npath = \"/*\"\ntarget = \"http://127.0.0.1:1\"\n\
             rate_limit = { requests = 1, per = '1m', key = 'site' }\n",
            "[[rules]]\nname = \"a\"\npath = \"/*\"\ntarget = \"http://127.0.0.1:1\"\n\
             rate_limit = { requests = 1, per = '1m' }\n",
        ] {
            let elsewhere = compile(text);
            rates.prepare(&elsewhere);
            assert_eq!(pass(&rates, &limits(&elsewhere), "192.0.2.1", "", 0), 1, "{text}");
        }
    }

    #[test]
    fn a_rule_that_sites_share_counts_each_of_them_by_itself() {
        let snapshot = compile(
            "[[projects]]\nname = \"p\"\n[[projects.rules]]\nname = \"r\"\npath = \"/*\"\n\
             target = \"http://127.0.0.1:1\"\nrate_limit = { requests = 1, per = '1m', key = 'site' }\n\
             [[sites]]\nname = \"a\"\nhosts = [\"a\"]\nproject = \"p\"\n\
             [[sites]]\nname = \"b\"\nhosts = [\"b\"]\nproject = \"p\"\n",
        );
        let rates = prepared(&snapshot);
        let rule = &snapshot.rules[0];
        let of = |site: usize| {
            [Limit::of_rule(&snapshot, Some(&snapshot.sites[site]), rule, rule.rate_limit.as_ref().unwrap())]
        };
        assert_eq!(pass(&rates, &of(0), "192.0.2.1", "", 0), 1);
        assert_eq!(
            (pass(&rates, &of(1), "192.0.2.1", "", 0), pass(&rates, &of(0), "192.0.2.1", "", 0)),
            (1, 0)
        );
    }

    #[test]
    fn there_is_a_table_where_there_are_limits() {
        let bytes = |rates: &Rates| rates.table.load().as_ref().map(|table| table.bytes());
        let without = of_site_and_rule("", "");
        let rates = prepared(&without);
        assert_eq!(bytes(&rates), None);
        let with = of_site_and_rule("", "requests = 1, per = '1m'");
        rates.prepare(&with);
        let before = rates.table.load_full();
        assert_eq!(bytes(&rates), Some(with.limits.rate_limit_bytes));
        rates.prepare(&with);
        assert!(Arc::ptr_eq(before.as_ref().unwrap(), rates.table.load().as_ref().unwrap()), "it stays");
        rates.prepare(&compile(
            "[limits]\nrate_limit_memory = '64KiB'\n[[rules]]\nname = 'r'\npath = '/*'\n\
             target = 'http://127.0.0.1:1'\nrate_limit = { requests = 1, per = '1s' }\n",
        ));
        assert_eq!(bytes(&rates), Some(64 << 10));
        rates.prepare(&without);
        assert_eq!(bytes(&rates), None);
        assert_eq!(pass(&rates, &limits(&with), "192.0.2.1", "", 0), 10, "and none where none is wanted");
    }
}
