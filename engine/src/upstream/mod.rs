//! The upstreams: what all workers know together (`state`), which backend a request goes to (`pick`), who is fit (`health`),
//! who waits (`queue`), how often is tried again (`budget`), what comes of a try (`attempt`); and of one worker its connections
//! (`connect`), and the idle ones that wait for the next request (`pool`).

mod attempt;
mod budget;
mod connect;
mod health;
mod latency;
mod pick;
mod pool;
mod queue;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod simulation;
mod state;

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::access_log::LogName;
use crate::net::dial::Address;
use crate::net::listen::Local;

pub(crate) use attempt::{Running, StateOf, Try};
pub(crate) use connect::{Backend, dial};
pub(crate) use health::Events;
pub use health::{BackendHandle, Bound, Cause, Change, Event, Failed, History, Probed, Standing, Tally};
pub(crate) use pick::{Asking, Choice, Picked, Picker, Tried};
pub(crate) use pool::{Pool, Pools};
pub(crate) use queue::{Gate, Totals, stand};
pub(crate) use state::{Member, Roster, States};

/// A gate, as one worker's exchanges hold it.
pub(crate) type GateHandle = Rc<Arc<Gate>>;

/// What one worker has for one address of a pool.
pub(crate) struct Endpoint {
    pub(crate) name: LogName,
    pub(crate) pool: Rc<Pool>,
}

/// An upstream as one worker sees it.
pub(crate) struct Upstream {
    pub(crate) name: LogName,
    pub(crate) roster: Arc<Roster>,
    pub(crate) gate: GateHandle,
    pub(crate) picker: Picker,
    /// As the roster's members.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Requests that began here and that the retry budget was not told of.
    begun: Cell<u64>,
    /// When that was, in milliseconds since the process started: all in one tick.
    begun_ms: Cell<u64>,
    /// Tries until the next one that is timed.
    untimed: Cell<u32>,
}

impl Upstream {
    /// Builds it for one worker of `workers`, among which its idle connections are divided. `generation` is the
    /// publication's, `idle_timeout` what holds where the upstream has none of its own.
    pub(crate) fn new(
        roster: &Arc<Roster>,
        pools: &Pools,
        workers: usize,
        generation: u64,
        idle_timeout: Duration,
    ) -> Self {
        let idle_timeout = roster.config.timeouts.idle.unwrap_or(idle_timeout);
        let keepalive = (roster.config.keepalive as usize).div_ceil(workers.max(1));
        let endpoint = |member: &Member| Endpoint {
            name: LogName::new(&member.address.to_string()),
            // Pools belong to addresses: another upstream may be allowed what this one is not.
            pool: if member.is_barred() {
                Rc::default()
            } else {
                pools.pool(&member.address, generation, keepalive, idle_timeout)
            },
        };
        Self {
            name: LogName::new(&roster.config.name),
            endpoints: roster.members.iter().map(endpoint).collect(),
            gate: Rc::new(roster.state.gate.clone()),
            picker: Picker::new(roster, fastrand::Rng::new()),
            roster: roster.clone(),
            begun: Cell::new(0),
            begun_ms: Cell::new(0),
            untimed: Cell::new(0),
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
