//! The admin API: what the running program answers on the Unix socket `admin.sock` in its data folder. It is served on the
//! control thread, beside the loop in `control`, and goes on while a configuration is applied and while connections drain.
//!
//! * `routes` has every path; `status` is what `GET /api/v1/status` tells.
//! * `server` bounds what a client may do; `socket` is where it comes in.
//! * `client` is the other side, for the program's own commands.

mod client;
mod routes;
mod server;
mod socket;
mod status;

use std::time::SystemTime;

use ringway_config::{Admin, Snapshot};
use ringway_engine::Engine;
use tokio::sync::watch;

pub use client::{NoAnswer, get};
pub use routes::STATUS_PATH;
use routes::Sources;
use server::Server;
pub(crate) use socket::NoSocket;
use socket::Socket;
pub use status::{
    Backend, BackendState, Errors, Gate, Latency, Listener, Phase, Probe, Responses, Retries, Site, Status,
    Totals, Upstream, Worker,
};

/// What the control thread knows and the engine does not.
#[derive(Clone, Debug)]
struct Facts {
    revision: u64,
    applied: SystemTime,
    phase: Phase,
    listeners: Vec<Listener>,
}

/// The API, as the control thread holds it.
pub(crate) struct Api {
    facts: watch::Sender<Facts>,
    server: Option<Server>,
}

/// What a configuration changes about the socket; prepared before that configuration is published. Dropped, it changes
/// nothing and leaves nothing behind.
pub(crate) enum Change {
    Stays,
    Opens(Box<Socket>),
    Closes,
}

impl Api {
    /// Without a socket yet.
    pub(crate) fn new() -> Self {
        let facts = Facts {
            revision: 0,
            applied: SystemTime::UNIX_EPOCH,
            phase: Phase::Serving,
            listeners: Vec::new(),
        };
        Self { facts: watch::Sender::new(facts), server: None }
    }

    /// Binds what `admin` asks for and is not there yet. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// [`NoSocket`]; nothing has changed then.
    pub(crate) fn prepare(&self, admin: &Admin) -> Result<Change, NoSocket> {
        let Some(folder) = &admin.data_dir else { return Ok(Change::Closes) };
        let place = self.server.as_ref().map(|server| &server.place);
        if place.is_some_and(|place| place.is_in(folder)) {
            return Ok(Change::Stays);
        }
        Socket::bind(folder, place).map(|socket| Change::Opens(Box::new(socket)))
    }

    /// `snapshot` runs, as revision `revision`: from now on that is told, at the place that was prepared.
    pub(crate) fn applied(&mut self, revision: u64, snapshot: &Snapshot, engine: &Engine, change: Change) {
        let addresses = engine.listeners();
        let listener = |listener: &ringway_config::Listener| Listener {
            name: listener.name.clone(),
            address: addresses.get(&listener.identity).unwrap_or(&listener.identity).clone(),
        };
        let listeners = snapshot.listeners.iter().map(|config| listener(config)).collect();
        self.facts.send_modify(|facts| {
            *facts = Facts { revision, applied: SystemTime::now(), listeners, phase: facts.phase };
        });
        match change {
            Change::Stays => {}
            Change::Closes => self.server = None,
            Change::Opens(socket) => {
                let sources = Sources { observer: engine.observer(), facts: self.facts.subscribe() };
                self.server = Some(Server::start(*socket, routes::router(sources)));
            }
        }
    }

    /// Nothing is listened on any more, and what runs is let end.
    pub(crate) fn draining(&self) {
        self.facts.send_modify(|facts| {
            facts.phase = Phase::Draining;
            facts.listeners.clear();
        });
    }
}
