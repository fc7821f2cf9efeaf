//! The addresses of backends that are written as host names, looked up beside the data plane by the system's resolver
//! (getaddrinfo: hosts file, nsswitch, DNS), and again every [`REFRESH`].
//!
//! A name that does not resolve is a backend without addresses, never a start or a reload that fails; once it has
//! resolved, its last good answer is kept while lookups fail.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use ringway_config::{BackendAddress, Snapshot};
use ringway_engine::Names;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How often names are looked up again.
pub(crate) const REFRESH: Duration = Duration::from_secs(30);

/// How long a start or a reload waits for names that were never looked up. What comes later is used when it comes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// Lookups that run at one time; each holds a thread while the system's resolver waits.
pub(crate) const LOOKUPS_MAX: usize = 16;

/// The host names of all backends of a configuration.
pub(crate) fn hosts(snapshot: &Snapshot) -> BTreeSet<String> {
    let backends = snapshot.upstreams.iter().flat_map(|upstream| &upstream.backends);
    let names = backends.filter_map(|backend| match &backend.address {
        BackendAddress::Name { host, .. } => Some(host.clone()),
        BackendAddress::Socket(_) | BackendAddress::Unix(_) | BackendAddress::Unknown => None,
    });
    names.collect()
}

/// Looks names up and remembers the answers. Lives on the control thread.
#[derive(Default)]
pub(crate) struct Resolver {
    table: Table,
    /// Hosts that wait for a lookup, each at most once.
    waiting: VecDeque<String>,
    /// Hosts that wait or are being looked up.
    open: HashSet<String>,
    running: JoinSet<(String, Answer)>,
}

impl Resolver {
    /// Takes hosts up and waits for those that are new, for [`PATIENCE`] at most. Returns all addresses known by then.
    pub(crate) async fn learn(&mut self, hosts: &BTreeSet<String>) -> Names {
        let new: Vec<&String> = hosts.iter().filter(|host| self.table.add(host)).collect();
        new.iter().for_each(|host| self.ask(host));
        let deadline = Instant::now() + PATIENCE;
        while new.iter().any(|host| self.open.contains(*host)) {
            if tokio::time::timeout_at(deadline, self.answered()).await.is_err() {
                let late = new.iter().filter(|host| self.open.contains(**host)).count();
                tracing::warn!(late, "host names of backends are still being looked up");
                break;
            }
        }
        self.names()
    }

    /// Forgets all hosts but these.
    pub(crate) fn keep(&mut self, hosts: &BTreeSet<String>) {
        self.table.entries.retain(|host, _| hosts.contains(host));
        let (kept, dropped) = self.waiting.drain(..).partition(|host| hosts.contains(host));
        self.waiting = kept;
        let dropped: VecDeque<String> = dropped;
        dropped.iter().for_each(|host| _ = self.open.remove(host));
    }

    /// Asks for every host again, but for those whose lookup has not ended.
    pub(crate) fn refresh(&mut self) {
        let hosts: Vec<String> = self.table.entries.keys().cloned().collect();
        hosts.iter().for_each(|host| self.ask(host));
    }

    /// Whether a lookup waits or runs.
    pub(crate) fn is_busy(&self) -> bool {
        !self.open.is_empty()
    }

    /// Waits for the next answer; whether it changed the addresses of a host. Loses nothing when it is dropped while it
    /// waits. Ends at once when nothing is asked.
    pub(crate) async fn answered(&mut self) -> bool {
        self.start_lookups();
        let (host, answer) = match self.running.join_next().await {
            Some(Ok(answered)) => answered,
            Some(Err(_panicked)) => return false,
            // Only hosts whose lookup panicked are left: they are asked again at the next refresh.
            None => {
                self.open.clear();
                return false;
            }
        };
        self.open.remove(&host);
        let event = self.table.record(&host, answer);
        event.as_ref().is_some_and(|event| event.log(&host))
    }

    /// Every host with its addresses; those that never resolved have none.
    pub(crate) fn names(&self) -> Names {
        let entries = self.table.entries.iter();
        Arc::new(entries.map(|(host, entry)| (host.clone(), entry.addresses.clone())).collect())
    }

    fn ask(&mut self, host: &str) {
        if self.open.insert(host.to_owned()) {
            self.waiting.push_back(host.to_owned());
        }
    }

    fn start_lookups(&mut self) {
        while self.running.len() < LOOKUPS_MAX
            && let Some(host) = self.waiting.pop_front()
        {
            self.running.spawn_blocking(move || {
                let answer = look_up(&host);
                (host, answer)
            });
        }
    }
}

/// What the system's resolver said: addresses in its order (RFC 6724), or why there are none.
type Answer = Result<Vec<IpAddr>, String>;

#[expect(clippy::disallowed_methods, reason = "runs on a thread that serves nothing else")]
fn look_up(host: &str) -> Answer {
    let found = (host, 0).to_socket_addrs().map_err(|error| error.to_string())?;
    let mut seen = HashSet::new();
    let addresses: Vec<IpAddr> =
        found.map(|address| address.ip()).filter(|address| seen.insert(*address)).collect();
    if addresses.is_empty() { Err("no address".to_owned()) } else { Ok(addresses) }
}

/// What is known of each host.
#[derive(Default)]
struct Table {
    entries: HashMap<String, Entry>,
}

/// ```text
/// Unknown --answer--> Resolves <--answer/failure--> Fails
///    `------failure---------------------------------^
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unknown,
    Resolves,
    Fails,
}

struct Entry {
    addresses: Vec<IpAddr>,
    state: State,
}

/// What an answer changed.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    /// The first addresses, others than before, or the end of failures (with the same addresses, perhaps).
    Found { addresses: Vec<IpAddr>, moved: bool },
    /// Lookups fail from now on; so many addresses are kept.
    Lost { reason: String, kept: usize },
}

impl Table {
    /// Takes a host up; whether it is new.
    fn add(&mut self, host: &str) -> bool {
        if self.entries.contains_key(host) {
            return false;
        }
        self.entries.insert(host.to_owned(), Entry { addresses: Vec::new(), state: State::Unknown });
        true
    }

    /// Takes an answer down. Tells changes of state and of addresses, not their repetition; a host that was forgotten
    /// meanwhile stays so.
    fn record(&mut self, host: &str, answer: Answer) -> Option<Event> {
        let entry = self.entries.get_mut(host)?;
        match answer {
            Ok(addresses) => entry.found(addresses),
            Err(reason) => entry.lost(reason),
        }
    }
}

impl Entry {
    fn found(&mut self, addresses: Vec<IpAddr>) -> Option<Event> {
        let before = std::mem::replace(&mut self.state, State::Resolves);
        // Name servers turn their answers round; the same addresses in another order are no news.
        let moved = !same_set(&self.addresses, &addresses);
        if moved {
            self.addresses.clone_from(&addresses);
        }
        (moved || before != State::Resolves).then_some(Event::Found { addresses, moved })
    }

    fn lost(&mut self, reason: String) -> Option<Event> {
        let before = std::mem::replace(&mut self.state, State::Fails);
        (before != State::Fails).then_some(Event::Lost { reason, kept: self.addresses.len() })
    }
}

fn same_set(a: &[IpAddr], b: &[IpAddr]) -> bool {
    a.iter().collect::<BTreeSet<_>>() == b.iter().collect::<BTreeSet<_>>()
}

impl Event {
    /// Logs it; whether addresses changed.
    fn log(&self, host: &str) -> bool {
        match self {
            Self::Found { addresses, moved } => {
                tracing::info!(host, ?addresses, "backend host name resolves");
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
    use super::*;

    fn addresses(text: &[&str]) -> Vec<IpAddr> {
        text.iter().map(|address| address.parse().unwrap()).collect()
    }

    fn failed() -> Answer {
        Err("it is gone".to_owned())
    }

    fn table(host: &str) -> Table {
        let mut table = Table::default();
        assert!(table.add(host) && !table.add(host));
        table
    }

    #[test]
    fn the_last_good_answer_is_kept_and_each_change_is_told_once() {
        let mut table = table("a.test");
        let one = addresses(&["192.0.2.1", "2001:db8::1"]);
        let found = Event::Found { addresses: one.clone(), moved: true };
        assert_eq!(table.record("a.test", Ok(one.clone())), Some(found));
        assert_eq!(table.record("a.test", Ok(one.clone())), None);
        let lost = Event::Lost { reason: "it is gone".to_owned(), kept: 2 };
        assert_eq!(table.record("a.test", failed()), Some(lost));
        assert_eq!(table.record("a.test", failed()), None);
        assert_eq!(table.entries["a.test"].addresses, one);
        let back = Event::Found { addresses: one.clone(), moved: false };
        assert_eq!(table.record("a.test", Ok(one)), Some(back));
    }

    #[test]
    fn the_order_of_addresses_is_no_news() {
        let mut table = table("a.test");
        table.record("a.test", Ok(addresses(&["192.0.2.1", "192.0.2.2"])));
        assert_eq!(table.record("a.test", Ok(addresses(&["192.0.2.2", "192.0.2.1"]))), None);
        let moved = Event::Found { addresses: addresses(&["192.0.2.2"]), moved: true };
        assert_eq!(table.record("a.test", Ok(addresses(&["192.0.2.2"]))), Some(moved));
    }

    #[test]
    fn a_name_that_never_resolved_has_no_addresses_and_a_forgotten_one_stays_forgotten() {
        let mut table = table("a.test");
        assert_eq!(
            table.record("a.test", failed()),
            Some(Event::Lost { reason: "it is gone".to_owned(), kept: 0 })
        );
        assert!(table.entries["a.test"].addresses.is_empty());
        assert_eq!(table.record("b.test", Ok(addresses(&["192.0.2.1"]))), None);
        assert!(!table.entries.contains_key("b.test"));
    }

    /// Runs on the system's real resolver: `localhost` is in every hosts file, and `.invalid` never resolves (RFC 6761).
    #[test]
    fn names_are_learnt_kept_and_forgotten() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut resolver = Resolver::default();
            let both = BTreeSet::from(["localhost".to_owned(), "no.such.name.invalid".to_owned()]);
            let names = resolver.learn(&both).await;
            assert!(names["localhost"].iter().all(IpAddr::is_loopback) && !names["localhost"].is_empty());
            assert!(names["no.such.name.invalid"].is_empty());
            resolver.keep(&BTreeSet::from(["localhost".to_owned()]));
            assert_eq!(resolver.names().len(), 1);
            resolver.refresh();
            assert!(resolver.is_busy());
            while resolver.is_busy() {
                resolver.answered().await;
            }
            assert!(!resolver.names()["localhost"].is_empty());
        });
        runtime.shutdown_background();
    }
}
