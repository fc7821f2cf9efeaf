//! Which requests come to which rule lists: each site under each of its hosts on each listener, and what no site takes,
//! with the paths that are left to it. Those that only differ in host and listener are one.

use std::collections::{BTreeSet, HashSet};

use crate::router::Candidate;
use crate::snapshot::{SiteId, Snapshot};

/// The longest host that a request may have, in bytes: the bound of its reader.
const HOST_BYTES_MAX: usize = 255;

/// The requests of one host and listener that meet one site, or none.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) site: Option<SiteId>,
    /// The identity of a listener on which they come.
    pub(super) listener: Box<str>,
    /// A host with which they come.
    pub(super) host: Box<str>,
    pub(super) paths: Share,
}

/// The paths of a context: those with one prefix and none of some longer ones, by whole segments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Share {
    /// Without a `/` at its end; empty for every path, that of `OPTIONS *` too.
    pub(super) prefix: Box<str>,
    /// All of them below `prefix`.
    pub(super) except: Box<[Box<str>]>,
}

/// All contexts of a snapshot: what no site takes, then the sites in their order.
pub(super) fn contexts(snapshot: &Snapshot) -> Vec<Context> {
    let mut found = Found { snapshot, contexts: Vec::new(), known: HashSet::new() };
    let (listeners, classes) = (listeners(snapshot), host_classes(snapshot));
    // A site's own hosts come first, before those that are its own only where a better one has no site for a path.
    for own in [true, false] {
        for class in &classes {
            listeners.iter().for_each(|listener| found.add(class, listener, own));
        }
    }
    found.contexts.sort_by_key(|context| context.site);
    found.contexts
}

/// The identities of the listeners; of the first one where no site cares.
fn listeners(snapshot: &Snapshot) -> Vec<&str> {
    let everywhere = snapshot.router.hosts().iter().all(|candidate| candidate.listeners.is_none());
    let count = if everywhere { 1 } else { snapshot.listeners.len() };
    snapshot.listeners.iter().take(count).map(|listener| &*listener.identity).collect()
}

/// Hosts that the router does not tell apart.
struct HostClass<'s> {
    /// As a site has it.
    written: &'s str,
    /// One of them.
    host: String,
}

fn host_classes(snapshot: &Snapshot) -> Vec<HostClass<'_>> {
    let written = || snapshot.sites.iter().flat_map(|site| &site.hosts).map(|host| &**host);
    let named: HashSet<&str> = written().collect();
    let free = |host: &String| !named.contains(&**host);
    let one_of = |host: &str| match host.strip_prefix('*') {
        None => Some(host.to_owned()),
        // A name without a dot meets no wildcard.
        Some("") => numbered("anyhost", "").find(free),
        Some(end) => {
            let short = ('a'..='z').map(|label| format!("{label}{end}"));
            let fits = |host: &String| host.len() <= HOST_BYTES_MAX;
            numbered("tenant", end).take_while(fits).chain(short.filter(fits)).find(free)
        }
    };
    let mut seen = HashSet::new();
    let distinct = written().chain(["*"]).filter(|host| seen.insert(*host));
    distinct.filter_map(|written| Some(HostClass { written, host: one_of(written)? })).collect()
}

/// `tenant.end`, `tenant2.end`, and so on without end.
fn numbered<'t>(label: &'t str, end: &'t str) -> impl Iterator<Item = String> + 't {
    let more = (2_u64..).map(move |number| format!("{label}{number}{end}"));
    std::iter::once(format!("{label}{end}")).chain(more)
}

/// The contexts so far.
struct Found<'s> {
    snapshot: &'s Snapshot,
    contexts: Vec<Context>,
    known: HashSet<(Option<SiteId>, Share)>,
}

impl Found<'_> {
    /// Adds the contexts of some hosts and a listener: the sites in the order in which the router tries them, each with what
    /// those before it left. Only those that have the hosts as their own, or only the others.
    fn add(&mut self, class: &HostClass<'_>, listener: &str, own: bool) {
        let candidates = self.snapshot.router.hosts().candidates(class.host.as_bytes());
        let mut taken = Taken::default();
        for candidate in candidates.filter(|candidate| candidate.is_on(listener)) {
            let Some(prefix) = prefix(candidate).filter(|prefix| !taken.has(prefix)) else { continue };
            if self.has(candidate.site, class.written) == own {
                self.note(Some(candidate.site), taken.share(prefix), &class.host, listener);
            }
            if prefix.is_empty() {
                return;
            }
            taken.prefixes.insert(prefix);
        }
        if (class.written == "*") == own {
            self.note(None, taken.share(""), &class.host, listener);
        }
    }

    fn has(&self, site: SiteId, host: &str) -> bool {
        self.snapshot.site(site).is_some_and(|site| site.hosts.iter().any(|own| own == host))
    }

    fn note(&mut self, site: Option<SiteId>, paths: Share, host: &str, listener: &str) {
        if self.known.insert((site, paths.clone())) {
            self.contexts.push(Context { site, listener: listener.into(), host: host.into(), paths });
        }
    }
}

/// Prefixes are checked to be ASCII.
fn prefix(candidate: &Candidate) -> Option<&str> {
    std::str::from_utf8(&candidate.path_prefix).ok()
}

/// The prefixes whose paths are gone.
#[derive(Default)]
struct Taken<'p> {
    prefixes: BTreeSet<&'p str>,
}

impl Taken<'_> {
    /// Whether no path of `prefix` is left.
    fn has(&self, prefix: &str) -> bool {
        let ends = prefix.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).chain([prefix.len()]);
        ends.filter_map(|end| prefix.get(..end)).any(|above| self.prefixes.contains(above))
    }

    /// What is left of `prefix`. Of prefixes within each other the shortest is enough.
    fn share(&self, prefix: &str) -> Share {
        let below = format!("{prefix}/");
        let mut except: Vec<&str> = Vec::new();
        for taken in self.prefixes.range(&*below..).take_while(|taken| taken.starts_with(&below)) {
            if !self.has_above(taken) {
                except.push(taken);
            }
        }
        Share { prefix: prefix.into(), except: except.into_iter().map(Into::into).collect() }
    }

    fn has_above(&self, prefix: &str) -> bool {
        prefix
            .rfind('/')
            .and_then(|end| prefix.get(..end))
            .is_some_and(|above| !above.is_empty() && self.has(above))
    }
}
