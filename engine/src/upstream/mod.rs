//! A worker's side of the upstreams: which backend a request goes to (`pick`), its connections (`connect`), and the idle
//! ones that wait for the next request (`pool`).

mod connect;
mod pick;
mod pool;

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use ringway_config::BackendAddress;

use crate::access_log::LogName;
use crate::net::dial::Address;
use crate::net::listen::Local;
use crate::view::Names;

pub(crate) use connect::{Backend, dial};
pub(crate) use pool::{Pool, Pools};

/// One address of one backend.
pub(crate) struct Endpoint {
    pub(crate) address: Address,
    pub(crate) name: LogName,
    /// The Host of requests that bring none.
    pub(crate) authority: Rc<str>,
    /// Dialling it would come back to us.
    pub(crate) is_own: bool,
    pub(crate) pool: Rc<Pool>,
}

/// An upstream as one worker sees it.
pub(crate) struct Upstream {
    pub(crate) name: LogName,
    /// Every address of every backend; empty when no name of theirs resolves.
    endpoints: Vec<Endpoint>,
    next: Cell<usize>,
}

impl Upstream {
    /// Builds it for one worker of `workers`, among which its idle connections are divided.
    pub(crate) fn new(
        config: &ringway_config::Upstream,
        names: &Names,
        own: &[Local],
        pools: &Pools,
        workers: usize,
    ) -> Self {
        let keepalive = (config.keepalive as usize).div_ceil(workers.max(1));
        let mut endpoints = Vec::with_capacity(config.backends.len());
        for backend in &config.backends {
            let authority: Rc<str> = backend.authority.as_str().into();
            endpoints.extend(addresses(&backend.address, names).map(|address| Endpoint {
                is_own: own.iter().any(|own| is_own(own, &address)),
                pool: pools.pool(&address, keepalive),
                authority: authority.clone(),
                name: LogName::new(&address.to_string()),
                address,
            }));
        }
        // Workers start at random places, or all would begin with the same backend.
        let next = Cell::new(fastrand::usize(..endpoints.len().max(1)));
        Self { name: LogName::new(&config.name), endpoints, next }
    }
}

fn addresses<'a>(backend: &'a BackendAddress, names: &'a Names) -> Box<dyn Iterator<Item = Address> + 'a> {
    match backend {
        BackendAddress::Socket(address) => Box::new(std::iter::once(Address::Tcp(*address))),
        BackendAddress::Unix(path) => Box::new(std::iter::once(Address::Unix(path.as_path().into()))),
        BackendAddress::Unknown => Box::new(std::iter::empty()),
        BackendAddress::Name { host, port } => {
            let found = names.get(host).map(Vec::as_slice).unwrap_or_default();
            Box::new(found.iter().map(|ip| Address::Tcp(SocketAddr::new(*ip, *port))))
        }
    }
}

/// Whether dialling `address` reaches our own listener. One on the unspecified address is reached by every address of
/// this host; those that are not loopback are recognised once connected.
fn is_own(own: &Local, address: &Address) -> bool {
    match (own, address) {
        (Local::Tcp(own), Address::Tcp(address)) => {
            own.port() == address.port() && reaches(own.ip(), address.ip())
        }
        (Local::Unix(own), Address::Unix(path)) => own == &**path,
        _ => false,
    }
}

fn reaches(own: IpAddr, dialled: IpAddr) -> bool {
    let dialled = dialled.to_canonical();
    own == dialled || dialled.is_unspecified() || (own.is_unspecified() && dialled.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_recognised() {
        let own = Local::Tcp("0.0.0.0:8080".parse().unwrap());
        let tcp = |address: &str| Address::Tcp(address.parse().unwrap());
        assert!(is_own(&own, &tcp("127.0.0.1:8080")));
        assert!(is_own(&own, &tcp("127.3.2.1:8080")));
        assert!(!is_own(&own, &tcp("127.0.0.1:8081")));
        assert!(!is_own(&Local::Tcp("127.0.0.1:8080".parse().unwrap()), &tcp("127.0.0.2:8080")));
        assert!(is_own(&Local::Unix("/run/x".into()), &Address::Unix(std::path::Path::new("/run/x").into())));
    }
}
