//! The `[[listeners]]`: addresses in their one spelling, none twice.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::Names;
use crate::address;
use crate::problem::{Finding, Pointer};
use crate::schema;
use crate::snapshot::{ListenAddress, Listener};

/// The listeners that are sound, and the names of all.
#[derive(Default)]
pub(super) struct Listeners {
    pub(super) list: Vec<Listener>,
    /// Whether every one could be read, so that a name which is not among them is really unknown.
    pub(super) complete: bool,
}

impl Listeners {
    pub(super) fn of(written: &[schema::Listener], findings: &mut Vec<Finding>) -> Self {
        let at = Pointer::default().key("listeners");
        if written.is_empty() {
            findings.push(
                Finding::error(at.clone(), "there is no listener").help("add [[listeners]] with an address"),
            );
        }
        let mut read = Self { list: Vec::new(), complete: true };
        let (mut names, mut places) = (Names::default(), HashMap::new());
        for (index, listener) in written.iter().enumerate() {
            let at = at.index(index);
            if let Some(name) = &listener.name {
                names.check(name, index, "listener", at.key("name"), findings);
            }
            match address::listen_address(&listener.address) {
                Err(fault) => {
                    findings.push(Finding::fault(at.key("address"), fault));
                    read.complete = false;
                }
                Ok(address) => {
                    let overlap = places.insert(place(&address), index);
                    if let Some(first) = overlap {
                        let message = format!("listener number {} listens there already", first + 1);
                        findings.push(Finding::error(at.key("address"), message));
                    }
                    let at_most = listener.max_connections_per_client;
                    if at_most > 0 && matches!(address, ListenAddress::Unix(_)) {
                        let message = "`max_connections_per_client` does nothing: clients of a Unix socket have no address";
                        let at = at.key("max_connections_per_client");
                        findings.push(Finding::warning(at, message).on_key());
                    }
                    read.list.push(listener_of(listener.name.clone(), address, at_most));
                }
            }
        }
        read
    }

    /// The identity of the listener that a site calls `name`.
    pub(super) fn identity(&self, name: &str) -> Option<&str> {
        self.list.iter().find(|listener| listener.name == name).map(|listener| &*listener.identity)
    }
}

fn listener_of(name: Option<String>, address: ListenAddress, max_connections_per_client: u32) -> Listener {
    let identity = match &address {
        ListenAddress::Tcp(address) => address.to_string(),
        ListenAddress::Unix(path) => format!("unix:{}", path.display()),
    };
    let name = name.unwrap_or_else(|| identity.clone());
    Listener { name, address, identity, max_connections_per_client }
}

/// What can be bound once: `[::]` takes IPv4 too, so it is the same place as `0.0.0.0`.
fn place(address: &ListenAddress) -> ListenAddress {
    match address {
        ListenAddress::Tcp(tcp) if tcp.ip().is_unspecified() => {
            ListenAddress::Tcp(SocketAddr::new(IpAddr::from([0, 0, 0, 0]), tcp.port()))
        }
        other => other.clone(),
    }
}
