//! What all workers know together about upstreams and backends: what runs, who is ill, who waits. It belongs to identities
//! (an upstream's name; within it, a backend's address), not to configurations, and lives on while one names them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex};

use ringway_config::{Backend, BackendAddress, Egress, Forbidden, Snapshot};

use super::budget::RetryBudget;
use super::health::{Health, Standing, Tally};
use super::is_own;
use super::latency::Latency;
use super::queue::{Gate, Line};
use crate::net::dial::Address;
use crate::net::listen::Local;
use crate::view::Names;

/// What is known of one address of one upstream. Aligned so that no two backends share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct BackendState {
    /// Exchanges and tunnels that are there now.
    pub(crate) running: AtomicU32,
    pub(crate) health: Health,
    pub(crate) latency: Latency,
}

/// What is known of one upstream.
#[derive(Debug)]
pub(crate) struct UpstreamState {
    pub(crate) name: Arc<str>,
    /// Its `max_active` and the queue before it.
    pub(crate) gate: Arc<Gate>,
    /// Those who wait for a backend to come back (`on_no_backend = "wait"`).
    pub(crate) absence: Arc<Line>,
    pub(crate) budget: RetryBudget,
    /// How often backends changed; held while it is decided whether one more may be ejected.
    pub(crate) ejecting: Mutex<Tally>,
    /// Requests that were retried, since the start.
    pub(crate) retries: AtomicU64,
}

/// One address of a pool, as a configuration and the names' addresses at one moment make it.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) address: Address,
    /// The Host of requests that bring none.
    pub(crate) authority: Arc<str>,
    pub(crate) weight: u16,
    pub(crate) backup: bool,
    /// Dialling it would come back to us.
    pub(crate) is_own: bool,
    /// Why the upstream's egress policy refuses it.
    pub(crate) forbidden: Option<Forbidden>,
    pub(crate) state: Arc<BackendState>,
}

impl Member {
    /// It is never dialled, and chosen only where there are only such. Then the request meets an error that says why.
    pub(crate) fn is_barred(&self) -> bool {
        self.is_own || self.forbidden.is_some()
    }
}

/// An upstream with all its addresses; shared by the workers, replaced when configuration or names change.
#[derive(Debug)]
pub(crate) struct Roster {
    pub(crate) config: Arc<ringway_config::Upstream>,
    pub(crate) state: Arc<UpstreamState>,
    /// Every address of every backend; empty when no name of theirs resolves.
    pub(crate) members: Vec<Member>,
}

impl Roster {
    /// Whether one of those that are chosen is neither ejected nor dead: of those that are barred, where there are no others. Nobody
    /// waits for what is forbidden.
    pub(crate) fn has_available(&self) -> bool {
        self.has(|health| health.standing() == Standing::Alive)
    }

    /// The same, but for those that are ill and have to stay.
    pub(crate) fn has_well(&self) -> bool {
        self.has(Health::is_well)
    }

    fn has(&self, is_right: impl Fn(&Health) -> bool) -> bool {
        let barred_too = self.all(Member::is_barred);
        let mut chosen = self.members.iter().filter(|member| barred_too || !member.is_barred());
        chosen.any(|member| is_right(&member.state.health)) || self.is_forbidden()
    }

    /// Whether there are addresses, and the egress policy refuses all of them.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.all(|member| member.forbidden.is_some())
    }

    fn all(&self, are: impl Fn(&Member) -> bool) -> bool {
        !self.members.is_empty() && self.members.iter().all(are)
    }

    /// Whether a request's Host may differ from backend to backend.
    pub(crate) fn has_several_authorities(&self) -> bool {
        self.members.windows(2).any(|pair| pair[0].authority != pair[1].authority)
    }
}

/// All that is known, by identity. Lives on the control thread.
#[derive(Debug, Default)]
pub(crate) struct States {
    upstreams: HashMap<String, Known>,
    sites: HashMap<String, Arc<Gate>>,
}

#[derive(Debug)]
struct Known {
    state: Arc<UpstreamState>,
    backends: HashMap<Address, Arc<BackendState>>,
}

impl States {
    /// The upstreams of `snapshot`, by id, with the addresses that `names` gives: what is known of them is found again.
    /// Their limits are those of `snapshot` from now on.
    pub(crate) fn rosters(&mut self, snapshot: &Snapshot, names: &Names, own: &[Local]) -> Vec<Arc<Roster>> {
        let rosters = snapshot.upstreams.iter().map(|config| {
            let known = self.upstreams.entry(config.name.clone()).or_insert_with(|| Known::new(&config.name));
            known.state.gate.limit(&config.admission);
            known.state.absence.limit(config.admission.max_queued);
            let members = config.backends.iter().flat_map(|backend| {
                let authority: Arc<str> = backend.authority.as_str().into();
                addresses(&backend.address, names).map(move |address| (backend, authority.clone(), address))
            });
            let members = members.map(|(backend, authority, address)| Member {
                authority,
                weight: backend.weight,
                backup: backend.backup,
                is_own: own.iter().any(|own| is_own(own, &address)),
                forbidden: forbidden(&config.egress, backend, &address),
                state: known.backends.entry(address.clone()).or_default().clone(),
                address,
            });
            let members = members.collect();
            Arc::new(Roster { config: config.clone(), state: known.state.clone(), members })
        });
        rosters.collect()
    }

    /// The gates of the sites of `snapshot`, by id. Their limits are those of `snapshot` from now on.
    pub(crate) fn gates(&mut self, snapshot: &Snapshot) -> Vec<Arc<Gate>> {
        let gates = snapshot.sites.iter().map(|site| {
            let gate = self.sites.entry(site.name.clone()).or_default().clone();
            gate.limit(&site.admission);
            gate
        });
        gates.collect()
    }
}

impl States {
    /// Forgets what nobody else holds: no publication, no worker's view of an older one, no exchange, no tunnel. Who still goes
    /// by an older one counts where the present one looks, should it name the same again.
    pub(crate) fn forget(&mut self) {
        self.upstreams.retain(|_, known| {
            known.backends.retain(|_, state| is_held(state));
            is_held(&known.state) || is_held(&known.state.gate) || !known.backends.is_empty()
        });
        self.sites.retain(|_, gate| is_held(gate));
    }
}

/// Whether somebody has it beside the registry, from which nobody else takes it.
fn is_held<T>(known: &Arc<T>) -> bool {
    Arc::strong_count(known) > 1
}

impl Known {
    fn new(name: &str) -> Self {
        let state = UpstreamState {
            name: name.into(),
            gate: Arc::default(),
            absence: Arc::default(),
            budget: RetryBudget::default(),
            ejecting: Mutex::default(),
            retries: AtomicU64::new(0),
        };
        Self { state: Arc::new(state), backends: HashMap::new() }
    }
}

/// Why a policy refuses an address of a backend: decided on what is dialled, whatever led to it.
fn forbidden(egress: &Egress, backend: &Backend, address: &Address) -> Option<Forbidden> {
    let permitted = match address {
        Address::Tcp(address) => egress.permits(address.ip(), backend.host_name(), backend.is_https()),
        Address::Unix(_) => egress.permits_socket(),
    };
    permitted.err()
}

fn addresses<'a>(backend: &'a BackendAddress, names: &'a Names) -> Box<dyn Iterator<Item = Address> + 'a> {
    match backend {
        BackendAddress::Socket(address) => Box::new(std::iter::once(Address::Tcp(*address))),
        BackendAddress::Unix(path) => Box::new(std::iter::once(Address::Unix(path.as_path().into()))),
        BackendAddress::Unknown => Box::new(std::iter::empty()),
        BackendAddress::Name { host, port } => {
            let found = names.get(host).map(Vec::as_slice).unwrap_or_default();
            Box::new(found.iter().map(|ip| Address::Tcp(std::net::SocketAddr::new(*ip, *port))))
        }
    }
}

#[cfg(test)]
mod tests {
    use ringway_config::{Compiler, Source};

    use super::*;

    /// What is marked of the members of an upstream, each with its address.
    fn marked(egress: &str, backends: &str, names: &[(&str, &[&str])]) -> (Vec<(String, bool)>, Roster) {
        let text = format!(
            "[egress]\n{egress}\n[[listeners]]\naddress = \":1\"\n\
             [[upstreams]]\nname = \"u\"\nbackends = [{backends}]\n\
             [[rules]]\nname = \"r\"\npath = \"*\"\nupstream = \"u\"\n"
        );
        let compiled = Compiler::new().compile(&Source { name: "test", text: &text });
        let snapshot = compiled.unwrap_or_else(|problems| panic!("{problems:?}")).snapshot;
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let names = names.iter().map(|(name, texts)| ((*name).to_owned(), addresses(texts)));
        let names: Names = Arc::new(names.collect::<HashMap<_, _>>());
        let roster = States::default().rosters(&snapshot, &names, &[]).remove(0);
        let roster = Arc::into_inner(roster).expect("nobody else has it");
        let mark = |member: &Member| (member.address.to_string(), member.forbidden.is_some());
        (roster.members.iter().map(mark).collect(), roster)
    }

    #[test]
    fn each_address_is_judged_by_the_name_that_led_to_it() {
        let backends =
            "{ url = \"http://a.test:1\" }, { url = \"http://b.test.:2\" }, { url = \"http://10.0.0.1:3\" }";
        let both: &[&str] = &["10.0.0.1", "192.168.0.1"];
        let egress = "policy = \"public\"\nallow = [\"10.0.0.1\", \"b.test\"]";
        let (marked, roster) = marked(egress, backends, &[("a.test", both), ("b.test.", both)]);
        let expected = [
            ("10.0.0.1:1", false),
            ("192.168.0.1:1", true),
            ("10.0.0.1:2", false),
            ("192.168.0.1:2", false),
            ("10.0.0.1:3", false),
        ];
        assert_eq!(marked, expected.map(|(address, mark)| (address.to_owned(), mark)));
        assert!(!roster.is_forbidden() && roster.has_available());
    }

    #[test]
    fn where_all_are_refused_nobody_is_waited_for() {
        let secret: &[&str] = &["169.254.169.254", "64:ff9b::a9fe:a9fe"];
        let (marked, roster) = marked("", "{ url = \"http://a.test:1\" }", &[("a.test", secret)]);
        assert!(marked.iter().all(|(_, mark)| *mark) && marked.len() == 2, "{marked:?}");
        assert!(roster.is_forbidden() && roster.has_available());
        let nothing = self::marked("", "{ url = \"http://a.test:1\" }", &[]).1;
        assert!(!nothing.is_forbidden() && !nothing.has_available());
    }
}
