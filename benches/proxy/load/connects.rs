//! A new connection for each request, which the proxy closes after its response.

use super::connection::{Connection, READ_BYTES};
use super::{Done, Limit, Load, Poller, Progress};
use crate::Outcome;
use crate::work::{self, Known};
use std::net::SocketAddr;

/// So many connections at once; where one closes, the next one opens.
pub(crate) struct Connects {
    proxy: SocketAddr,
    poller: Poller,
    /// With what came of the response.
    connections: Vec<Option<(Connection, u64)>>,
    request: Vec<u8>,
    known: Known,
    read: Vec<u8>,
}

impl Connects {
    pub(crate) fn to(proxy: SocketAddr, connections: usize) -> Outcome<Self> {
        let poller = Poller::new().map_err(|error| format!("nothing to wait with: {error}"))?;
        let connections = (0..connections).map(|_| None).collect();
        let (request, read) = (work::get_and_close(), vec![0; READ_BYTES]);
        Ok(Connects { proxy, poller, connections, request, known: Known::default(), read })
    }

    fn begin(&mut self, key: usize) -> Outcome<()> {
        let mut connection = Connection::open(&self.poller, self.proxy, key)?;
        connection.send(&self.request)?;
        self.connections[key] = Some((connection, 0));
        Ok(())
    }

    /// Takes what came; true once the connection is done.
    fn receive(&mut self, key: usize) -> Outcome<bool> {
        // An event may have been on its way when the connection before was closed.
        let Some((connection, responses)) = &mut self.connections[key] else { return Ok(false) };
        // The end may have come together with the response: then there is no event for it.
        loop {
            let received = connection.receive(&mut self.read, &mut self.known)?;
            *responses += received.responses;
            match (received.end, *responses) {
                (true, 1) => return Ok(true),
                (false, 0 | 1) if received.responses == 0 => return Ok(false),
                (false, 1) => {}
                (_, responses) => return Err(format!("{responses} responses on a connection for one")),
            }
        }
    }
}

impl Load for Connects {
    fn run(&mut self, limit: Limit<'_>) -> Outcome<Done> {
        let mut progress = Progress::new(limit);
        for key in 0..self.connections.len() {
            if progress.begins(1) {
                self.begin(key)?;
            }
        }
        let mut ready = Vec::with_capacity(self.connections.len());
        while !progress.is_done() {
            self.poller.wait()?;
            progress.look();
            ready.extend(self.poller.events.iter().map(|event| event.token().0));
            for key in ready.drain(..) {
                if !self.receive(key)? {
                    continue;
                }
                self.connections[key] = None;
                progress.done += 1;
                if progress.begins(1) {
                    self.begin(key)?;
                }
            }
        }
        Ok(progress.finish())
    }
}
