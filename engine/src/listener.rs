//! Accepting connections on a worker, and closing listeners without losing one.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::mpsc::Sender;

use crate::clients::Clients;
use crate::conn::{self, Client};
use crate::net::deadline::TICK;
use crate::net::listen::Acceptor;
use crate::net::stream::Stream;
use crate::net::task::{self, Stop};
use crate::view::View;
use crate::worker::{Command, Worker};

/// One listener of this worker, as its connections see it.
pub(crate) struct Listener {
    /// The configuration's name for it (`config::Listener::identity`).
    pub(crate) identity: String,
    /// Its connections close after their response.
    pub(crate) closing: Cell<bool>,
    /// Where its connections are entered.
    pub(crate) clients: Rc<Clients>,
    /// Connections that a client may have, as the configuration says that had it last; 0 is no limit.
    max_per_client: Cell<u32>,
    stop: Stop,
    /// Hears when the socket is closed.
    closed: RefCell<Option<Sender<()>>>,
}

impl Listener {
    /// One that accepts nothing yet.
    pub(crate) fn new(identity: String, clients: Rc<Clients>) -> Rc<Self> {
        Rc::new(Self {
            identity,
            closing: Cell::new(false),
            clients,
            max_per_client: Cell::new(0),
            stop: Stop::default(),
            closed: RefCell::default(),
        })
    }

    /// How many connections `peer` may have; 0 is no limit.
    fn max_connections_of(&self, peer: IpAddr, view: &View) -> u32 {
        if view.settings.server.trusted_proxies.contains(peer) {
            return 0;
        }
        let mut listeners = view.published.snapshot.listeners.iter();
        // One that is closing is in no configuration any more.
        if let Some(listener) = listeners.find(|listener| listener.identity == self.identity) {
            self.max_per_client.set(listener.max_connections_per_client);
        }
        self.max_per_client.get()
    }
}

/// A worker's listeners, by identity.
#[derive(Default)]
pub(crate) struct Listeners(RefCell<HashMap<String, Rc<Listener>>>);

impl Listeners {
    /// Does what the control thread says.
    pub(crate) fn obey(&self, worker: &Rc<Worker>, command: Command) {
        match command {
            Command::Listen { identity, local, socket } => match Acceptor::new(socket, &local) {
                Ok(acceptor) => self.open(worker, identity, acceptor),
                Err(error) => tracing::error!(%local, %error, "a worker cannot accept"),
            },
            Command::Close { identity, done } => self.close(worker, &identity, done),
            Command::FlushLog { done } => {
                worker.log.flush(&worker.counters);
                // The control thread may have stopped waiting.
                let _ = done.send(());
            }
        }
    }

    fn open(&self, worker: &Rc<Worker>, identity: String, acceptor: Acceptor) {
        let listener = Listener::new(identity.clone(), worker.clients.clone());
        self.0.borrow_mut().insert(identity, listener.clone());
        task::spawn(accept(worker.clone(), listener, acceptor), || {
            tracing::error!("an accept loop panicked");
        });
    }

    fn close(&self, worker: &Rc<Worker>, identity: &str, done: Sender<()>) {
        // Unknown: then there is nothing to close, and dropping `done` says so.
        let Some(listener) = self.0.borrow_mut().remove(identity) else { return };
        listener.closing.set(true);
        *listener.closed.borrow_mut() = Some(done);
        listener.stop.stop();
        worker.clients.wake_idle(&listener);
    }
}

/// Accepts until the listener closes; then takes those that wait already, whom closing the socket would reset.
async fn accept(worker: Rc<Worker>, listener: Rc<Listener>, acceptor: Acceptor) {
    while !listener.closing.get() {
        match acceptor.accept(&listener.stop).await {
            Ok((stream, peer)) => admit(&worker, &listener, stream, peer).await,
            Err(_) if listener.closing.get() => {}
            Err(error) => {
                // Out of descriptors, mostly: trying at once would only spin.
                tracing::warn!(%error, listener = listener.identity, "cannot accept a connection");
                task::sleep(TICK).await;
            }
        }
    }
    while let Ok((stream, peer)) = acceptor.accept_waiting() {
        admit(&worker, &listener, stream, peer).await;
    }
    drop(acceptor);
    // The control thread may have stopped waiting.
    let _ = listener.closed.take().map(|closed| closed.send(()));
}

/// Lets a connection in; over `max_connections` it waits, and the listener with it, until there is room. One of a client that
/// has as many as it may is closed.
async fn admit(worker: &Rc<Worker>, listener: &Rc<Listener>, stream: Stream, peer: Option<IpAddr>) {
    if let Some(peer) = peer
        && !enter(worker, listener, peer)
    {
        worker.counters.refused.add(1);
        return;
    }
    while !worker.shared.admit(worker.view().settings.server.max_connections) {
        task::sleep(TICK).await;
    }
    worker.counters.accepted.add(1);
    worker.counters.connections.add(1);
    let place = Place(worker.clone());
    let client = Client::new(worker, listener.clone(), stream, peer, place);
    // `Place` tells of panics: it is at hand, and what is kept here would be kept for each connection.
    task::spawn(conn::serve(client), || {});
}

/// Counts a connection of `peer`, unless it has as many as it may; [`leave`] is owed then.
fn enter(worker: &Worker, listener: &Listener, peer: IpAddr) -> bool {
    let per_client = &worker.shared.per_client;
    let at_most = listener.max_connections_of(peer, &worker.view());
    let enters = per_client.enter(per_client.key(&listener.identity, peer), at_most);
    if !enters && per_client.tells_at(worker.now_ms()) {
        let client = peer.to_canonical();
        tracing::warn!(%client, listener = listener.identity, at_most, "a client has too many connections");
    }
    enters
}

/// A connection of `peer` to `listener` has ended.
pub(crate) fn leave(worker: &Worker, listener: &Listener, peer: IpAddr) {
    let per_client = &worker.shared.per_client;
    per_client.leave(per_client.key(&listener.identity, peer));
}

/// A place among the open connections, given back when the connection ends, however it does.
pub(crate) struct Place(Rc<Worker>);

impl Place {
    /// Whose connection it is.
    pub(crate) fn worker(&self) -> &Rc<Worker> {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.shared.leave();
        self.0.counters.connections.sub(1);
        if std::thread::panicking() {
            self.0.counters.panics.add(1);
            tracing::error!("a connection panicked and was closed");
        }
    }
}
