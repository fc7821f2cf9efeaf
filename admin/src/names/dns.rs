//! Asking name servers: those that the configuration gives, or those of resolv.conf with its search list. A name that the
//! hosts file has is not asked for. The files are read again when they have changed.
//!
//! Servers are asked one after the other, beginning with the one that answered last: hickory's own pool would spend all of
//! the time on a first server that is silent, and takes a SERVFAIL of one for the answer of all. It has one server each here,
//! to speak the protocol with: over UDP, and over TCP when an answer is cut off.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::time::timeout;

use super::LOOKUPS_MAX;
use super::answer::{Answer, Family, Found};
use super::files::{Files, Hosts, ResolvConf, Stamp};
use super::search::Search;

/// How long a server that the configuration gives is waited for, before the next one is asked.
const SERVER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a lookup may take with all its servers and all names of the search list.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(30);

/// Questions that one TCP connection to a server carries at a time: each lookup asks for both families.
const QUESTIONS_MAX: usize = 4 * LOOKUPS_MAX;

/// Aliases that are followed from a name to its addresses.
const ALIASES_MAX: usize = 16;

/// The name servers of a configuration.
pub(super) struct NameServers {
    /// Those that the configuration gives; none: those of resolv.conf.
    given: Vec<SocketAddr>,
    files: Files,
    current: Mutex<Current>,
}

/// What was made of the files when they were last read.
#[derive(Default)]
struct Current {
    stamps: [Stamp; 2],
    setup: Option<Result<Arc<Setup>, String>>,
}

impl NameServers {
    pub(super) fn new(given: &[SocketAddr]) -> Self {
        Self::with_files(given, Files::default())
    }

    fn with_files(given: &[SocketAddr], files: Files) -> Self {
        Self { given: given.to_vec(), files, current: Mutex::default() }
    }

    /// Looks a name up; the addresses of both families, and the shortest TTL on the way to them.
    pub(super) async fn look_up(&self, host: &str) -> Answer {
        let setup = self.setup()?;
        let answer = timeout(LOOKUP_TIMEOUT, setup.look_up(host)).await;
        answer.unwrap_or_else(|_| Err(format!("no answer within {LOOKUP_TIMEOUT:?}")))
    }

    /// What the files say now.
    fn setup(&self) -> Result<Arc<Setup>, String> {
        let stamps = self.files.stamps();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.stamps != stamps {
            *current = Current { stamps, setup: None };
        }
        current.setup.get_or_insert_with(|| self.read().map(Arc::new)).clone()
    }

    fn read(&self) -> Result<Setup, String> {
        let hosts = Hosts::read(&self.files.hosts)?;
        if !self.given.is_empty() {
            return Setup::new(&self.given, Search::default(), SERVER_TIMEOUT, hosts);
        }
        let conf = ResolvConf::read(&self.files.resolv_conf)?;
        Setup::new(&conf.servers, conf.search, conf.timeout, hosts)
    }
}

/// Everything that a lookup needs.
struct Setup {
    hosts: Hosts,
    search: Search,
    /// In order.
    servers: Vec<Server>,
    /// The place of the server that answered last.
    answered_last: AtomicUsize,
}

struct Server {
    address: SocketAddr,
    resolver: TokioResolver,
}

impl Setup {
    fn new(servers: &[SocketAddr], search: Search, timeout: Duration, hosts: Hosts) -> Result<Self, String> {
        // However many are silent, a lookup comes to the last one.
        let turns = u32::try_from(servers.len() + 1).unwrap_or(u32::MAX);
        let timeout = timeout.min(LOOKUP_TIMEOUT / turns);
        let servers: Result<Vec<Server>, NetError> =
            servers.iter().map(|address| Server::new(*address, timeout)).collect();
        let servers = servers.map_err(|error| error.to_string())?;
        Ok(Self { hosts, search, servers, answered_last: AtomicUsize::new(0) })
    }

    async fn look_up(&self, host: &str) -> Answer {
        if let Some(addresses) = self.hosts.addresses(host) {
            return Found::of(addresses.iter().copied(), None);
        }
        let candidates = self.search.candidates(host).map_err(|error| error.to_string())?;
        let mut exists = false;
        for name in &candidates {
            // What fails ends the search: the next name may be another host.
            match self.both_families(name).await? {
                Said::Records(records) => return records.found(),
                Said::NoRecord => exists = true,
                Said::NoName => {}
            }
        }
        Err(if exists { "the name has no address" } else { "the name does not exist" }.to_owned())
    }

    /// # Errors
    /// When nothing is known of either family, or one has no record and the other failed.
    async fn both_families(&self, name: &Name) -> Result<Said, String> {
        match tokio::join!(self.ask(name, RecordType::A), self.ask(name, RecordType::AAAA)) {
            (Ok(v4), Ok(v6)) => Ok(v4.and(v6)),
            (Ok(said), Err(reason)) => said.without(Family::V6, reason),
            (Err(reason), Ok(said)) => said.without(Family::V4, reason),
            (Err(reason), Err(_)) => Err(reason),
        }
    }

    /// Asks one server after the other until one has an answer.
    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Said, String> {
        let first = self.answered_last.load(Ordering::Relaxed);
        let mut failed = None;
        for place in (first..self.servers.len()).chain(0..first) {
            let Some(server) = self.servers.get(place) else { continue };
            match server.ask(name, kind).await {
                Ok(said) => {
                    self.answered_last.store(place, Ordering::Relaxed);
                    return Ok(said);
                }
                Err(error) => failed = Some(format!("name server {}: {error}", server.address)),
            }
        }
        Err(failed.unwrap_or_else(|| "there is no name server".to_owned()))
    }
}

impl Server {
    fn new(address: SocketAddr, timeout: Duration) -> Result<Self, NetError> {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = address.port();
            connection
        });
        let server = NameServerConfig::new(address.ip(), true, connections.to_vec());
        let config = ResolverConfig::from_name_servers(vec![server]);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        set_options(builder.options_mut(), timeout);
        Ok(Self { address, resolver: builder.build()? })
    }

    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Said, NetError> {
        match self.resolver.lookup(name.clone(), kind).await {
            Ok(lookup) => Ok(Said::by(lookup.answers(), name, kind)),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => match none.response_code {
                ResponseCode::NXDomain => Ok(Said::NoName),
                _ => Ok(Said::NoRecord),
            },
            Err(error) => Err(error),
        }
    }
}

/// What is remembered, retried and looked up in files is decided here, not there.
fn set_options(options: &mut ResolverOpts, timeout: Duration) {
    options.timeout = timeout;
    options.attempts = 0;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.max_active_requests = QUESTIONS_MAX;
    // The TTL of an alias counts, too.
    options.preserve_intermediates = true;
}

/// What a server says of a name.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Records(Records),
    /// The name exists and has no record of this kind.
    NoRecord,
    NoName,
}

/// A name and those that it leads to by aliases, one after the other.
fn with_aliased<'a>(name: &'a Name, records: &'a [Record]) -> Vec<&'a Name> {
    let mut names = vec![name];
    while names.len() <= ALIASES_MAX
        && let Some(next) = names.last().and_then(|last| aliased(last, records))
        && !names.contains(&next)
    {
        names.push(next);
    }
    names
}

fn aliased<'a>(name: &Name, records: &'a [Record]) -> Option<&'a Name> {
    records.iter().find_map(|record| match &record.data {
        RData::CNAME(CNAME(target)) if record.name == *name => Some(target),
        _ => None,
    })
}

#[derive(Debug, PartialEq, Eq)]
struct Records {
    addresses: Vec<IpAddr>,
    ttl: Duration,
    /// The family whose lookup failed.
    missing: Option<Family>,
}

impl Said {
    /// What records say of `name` and of those that it is an alias of; what they say of others was not asked for.
    fn by(records: &[Record], name: &Name, kind: RecordType) -> Self {
        let names = with_aliased(name, records);
        let asked_for = |record: &&Record| names.contains(&&record.name);
        let of_kind = records.iter().filter(asked_for).filter(|record| record.record_type() == kind);
        let addresses: Vec<IpAddr> = of_kind.filter_map(|record| record.data.ip_addr()).collect();
        let on_the_way =
            records.iter().filter(|record| [kind, RecordType::CNAME].contains(&record.record_type()));
        match on_the_way.filter(asked_for).map(|record| record.ttl).min() {
            Some(ttl) if !addresses.is_empty() => {
                Self::Records(Records { addresses, ttl: Duration::from_secs(ttl.into()), missing: None })
            }
            _ => Self::NoRecord,
        }
    }

    /// Both families of one name.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Records(mut records), Self::Records(others)) => {
                records.addresses.extend(others.addresses);
                records.ttl = records.ttl.min(others.ttl);
                Self::Records(records)
            }
            (Self::Records(records), _) | (_, Self::Records(records)) => Self::Records(records),
            // A name that does not exist has no record of any kind (RFC 8020); some servers say so for one kind alone.
            (Self::NoName, Self::NoName) => Self::NoName,
            _ => Self::NoRecord,
        }
    }

    /// One family of a name, where the lookup of the other failed for `reason`.
    fn without(self, family: Family, reason: String) -> Result<Self, String> {
        match self {
            Self::Records(records) => Ok(Self::Records(Records { missing: Some(family), ..records })),
            Self::NoRecord => Err(reason),
            Self::NoName => Ok(Self::NoName),
        }
    }
}

impl Records {
    fn found(self) -> Answer {
        Found::of(self.addresses, Some(self.ttl)).map(|found| Found { missing: self.missing, ..found })
    }
}

#[cfg(test)]
mod tests;
