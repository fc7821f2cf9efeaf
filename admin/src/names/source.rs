//! Who is asked: the system's resolver (getaddrinfo: hosts file, nsswitch, DNS), which tells no TTL, or name servers.

use std::net::ToSocketAddrs;
use std::sync::Arc;

use ringway_config::{Dns, Resolver};
use tokio::task::{AbortHandle, JoinSet};

use super::answer::{Answer, Found};
use super::dns::NameServers;

/// Answers lookups, as `[dns]` says.
pub(super) struct Source {
    settings: Dns,
    kind: Kind,
}

enum Kind {
    System,
    Dns(Arc<NameServers>),
}

impl Source {
    pub(super) fn new(settings: &Dns) -> Self {
        let kind = match settings.resolver {
            Resolver::System => Kind::System,
            Resolver::Dns => Kind::Dns(Arc::new(NameServers::new(&settings.servers))),
        };
        Self { settings: settings.clone(), kind }
    }

    /// Whether it is what these settings ask for.
    pub(super) fn is_of(&self, settings: &Dns) -> bool {
        self.settings == *settings
    }

    /// Starts to look a name up; the answer comes out of `running`. One by the system holds a thread, and does not end
    /// when it is aborted.
    pub(super) fn start_lookup(&self, host: &str, running: &mut JoinSet<Answer>) -> AbortHandle {
        let host = host.to_owned();
        match &self.kind {
            Kind::System => running.spawn_blocking(move || ask_system(&host)),
            Kind::Dns(servers) => {
                let servers = servers.clone();
                running.spawn(async move { servers.look_up(&host).await })
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "runs on a thread that serves nothing else")]
fn ask_system(host: &str) -> Answer {
    let found = (host, 0).to_socket_addrs().map_err(|error| error.to_string())?;
    Found::of(found.map(|address| address.ip()), None)
}
