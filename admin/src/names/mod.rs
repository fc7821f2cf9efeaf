//! The addresses of backends that are written as host names, looked up beside the data plane and again as time passes.
//!
//! A name that does not resolve is a backend without addresses, never a start or a reload that fails; once it has
//! resolved, its last good answer is kept while lookups fail.
//!
//! * `wanted` is what a configuration asks for: which names, how often, of whom.
//! * `schedule` says when each name is asked, `known` what is known of it; neither waits or reads a clock.
//! * `source` is who is asked: the system's resolver, or name servers (`dns`, with the `search` list and the `files` of the
//!   system). `answer` is what it says.

mod answer;
mod dns;
mod files;
mod known;
mod schedule;
mod search;
mod source;
mod wanted;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ringway_config::Dns;
use ringway_engine::Names;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};

use answer::Answer;
use known::Known;
use schedule::Schedule;
use source::Source;
pub(crate) use wanted::Wanted;

/// How long a start or a reload waits for names that were never looked up. What comes later is used when it comes.
const PATIENCE: Duration = Duration::from_secs(2);

/// Lookups that run at one time. One by the system's resolver holds a thread while it waits.
pub(crate) const LOOKUPS_MAX: usize = 16;

/// Changed addresses are told at most this often, those of many names at once: each time every worker builds its view.
const TELLING_GAP: Duration = Duration::from_millis(100);

/// Looks names up and remembers the answers. Lives on the control thread.
#[derive(Default)]
pub(crate) struct Resolver {
    hosts: HashMap<String, Host>,
    schedule: Schedule,
    /// The lookups whose answer is waited for.
    asked: Vec<Asked>,
    /// Those, and what is left of lookups that were given up.
    running: JoinSet<Answer>,
    /// Who is asked; before [`follow`](Self::follow) has settled on a configuration that was learnt, its source stands
    /// behind the one in use.
    sources: Vec<Arc<Source>>,
    /// When changed addresses are to be told.
    telling_due: Option<Instant>,
    told: Option<Instant>,
}

struct Host {
    known: Known,
    /// Who is asked for it.
    source: Arc<Source>,
}

struct Asked {
    host: String,
    lookup: AbortHandle,
}

impl Resolver {
    /// Takes up the names of a configuration that may come to run, and waits for those that are new, for [`PATIENCE`] at
    /// most. Returns all addresses known by then. Names that were known stay as they are until [`follow`](Self::follow).
    pub(crate) async fn learn(&mut self, wanted: &Wanted) -> Names {
        let new = self.add_new(wanted);
        let deadline = Instant::now() + PATIENCE;
        while new.iter().any(|host| self.is_unanswered(host)) {
            self.start_lookups();
            // What is to be told is told by what this gives.
            if timeout_at(deadline, self.next_event(None)).await.is_err() {
                let late = new.iter().filter(|host| self.is_unanswered(host)).count();
                tracing::warn!(late, "host names of backends are still being looked up");
                break;
            }
        }
        self.names()
    }

    /// Looks up what the configuration that runs wants from now on, and nothing else. Where it has other name servers than
    /// before, all names are asked again at once; until the answers are there, the addresses stay.
    pub(crate) fn follow(&mut self, wanted: &Wanted) {
        let source = self.source(&wanted.dns);
        let gone: Vec<String> =
            self.hosts.keys().filter(|host| !wanted.hosts.contains_key(*host)).cloned().collect();
        gone.iter().for_each(|host| self.forget(host));
        for (host, refresh) in &wanted.hosts {
            self.schedule.set_refresh(host, *refresh);
            self.ask_of(host, &source);
        }
        self.sources = vec![source];
    }

    /// Waits until addresses have changed, and gives those of all names. Loses nothing when it is dropped while it waits.
    pub(crate) async fn moved(&mut self) -> Names {
        loop {
            self.start_lookups();
            if self.telling_due.is_some_and(|due| due <= Instant::now()) {
                return self.names();
            }
            self.next_event(self.telling_due).await;
        }
    }

    /// Every name with its addresses; those that never resolved have none. They count as told.
    pub(crate) fn names(&mut self) -> Names {
        self.telling_due = None;
        self.told = Some(Instant::now());
        let addresses = |(name, host): (&String, &Host)| (name.clone(), host.known.addresses().to_vec());
        Arc::new(self.hosts.iter().map(addresses).collect())
    }

    /// Takes up the names that are new; gives them.
    fn add_new(&mut self, wanted: &Wanted) -> Vec<String> {
        let source = self.source(&wanted.dns);
        let new = wanted.hosts.iter().filter(|(host, _)| !self.hosts.contains_key(*host));
        let new: Vec<_> = new.map(|(host, refresh)| (host.clone(), *refresh)).collect();
        for (host, refresh) in &new {
            self.schedule.add(host, *refresh, Instant::now());
            self.hosts.insert(host.clone(), Host { known: Known::default(), source: source.clone() });
        }
        new.into_iter().map(|(host, _)| host).collect()
    }

    fn is_unanswered(&self, host: &str) -> bool {
        self.hosts.get(host).is_some_and(|host| host.known.is_unanswered())
    }

    /// The source of these settings, kept from before if it is known.
    fn source(&mut self, dns: &Dns) -> Arc<Source> {
        if let Some(source) = self.sources.iter().find(|source| source.is_of(dns)) {
            return source.clone();
        }
        let source = Arc::new(Source::new(dns));
        self.sources.push(source.clone());
        source
    }

    /// Has a name asked of `source` from now on: at once, if it was another until now.
    fn ask_of(&mut self, host: &str, source: &Arc<Source>) {
        let Some(entry) = self.hosts.get_mut(host).filter(|entry| !Arc::ptr_eq(&entry.source, source)) else {
            return;
        };
        entry.source = source.clone();
        self.give_up(host);
        self.schedule.ask_again(host, Instant::now());
    }

    fn forget(&mut self, host: &str) {
        self.give_up(host);
        self.schedule.remove(host);
        self.hosts.remove(host);
    }

    /// Ends the lookup of a name, if one runs. One by the system's resolver goes on, and its answer is not heard.
    fn give_up(&mut self, host: &str) {
        if let Some(at) = self.asked.iter().position(|asked| asked.host == host) {
            self.asked.swap_remove(at).lookup.abort();
        }
    }

    fn start_lookups(&mut self) {
        let now = Instant::now();
        while self.asked.len() < LOOKUPS_MAX
            && let Some(host) = self.schedule.take_due(now)
        {
            if let Some(entry) = self.hosts.get(&host) {
                let lookup = entry.source.start_lookup(&host, &mut self.running);
                self.asked.push(Asked { host, lookup });
            }
        }
    }

    /// Waits until a lookup ends, until one may start, and until `at_last` at most.
    async fn next_event(&mut self, at_last: Option<Instant>) {
        let lookup_due = self.schedule.next_due().filter(|_| self.asked.len() < LOOKUPS_MAX);
        let due = [lookup_due, at_last].into_iter().flatten().min();
        tokio::select! {
            Some(ended) = self.running.join_next_with_id() => self.take_answer(ended),
            () = until(due) => {}
        }
    }

    fn take_answer(&mut self, ended: Result<(Id, Answer), JoinError>) {
        let (id, answer) =
            ended.unwrap_or_else(|error| (error.id(), Err("the lookup ended unexpectedly".to_owned())));
        // One that was given up is not waited for.
        if let Some(at) = self.asked.iter().position(|asked| asked.lookup.id() == id) {
            let host = self.asked.swap_remove(at).host;
            self.record(&host, answer);
        }
    }

    fn record(&mut self, host: &str, answer: Answer) {
        let Some(entry) = self.hosts.get_mut(host) else { return };
        let now = Instant::now();
        self.schedule.answered(host, &answer, now);
        if entry.known.record(answer).is_some_and(|event| event.log(host)) && self.telling_due.is_none() {
            let earliest = self.told.map_or(now, |told| told + TELLING_GAP);
            self.telling_due = Some(earliest.max(now));
        }
    }
}

/// Waits for a moment; for ever when there is none.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
