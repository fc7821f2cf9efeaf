//! Small requests on connections that stay open.

use super::connection::{Connection, READ_BYTES};
use super::{Done, Limit, Load, Poller, Progress};
use crate::Outcome;
use crate::work::{self, Known};
use std::net::SocketAddr;

/// What is sent at once, on one connection.
pub(crate) struct Requests {
    bytes: Vec<u8>,
    count: u64,
    /// Where every request is for another rule.
    rules: Option<Rules>,
    /// What each is answered with.
    body: &'static [u8],
}

struct Rules {
    count: usize,
    rest: Vec<u8>,
    random: fastrand::Rng,
}

impl Requests {
    /// The same GET, `count` times at once.
    pub(crate) fn get(count: usize) -> Self {
        Requests { bytes: work::get().repeat(count), count: count as u64, rules: None, body: work::BODY }
    }

    /// One GET at a time, for a file.
    pub(crate) fn file() -> Self {
        Requests { body: work::file(), ..Requests::get(1) }
    }

    /// One GET at a time, for any of so many rules.
    pub(crate) fn of_rules(count: usize) -> Self {
        let rules = Rules { count, rest: work::rest_of_rule(), random: fastrand::Rng::with_seed(1) };
        Requests { bytes: Vec::new(), count: 1, rules: Some(rules), body: work::BODY }
    }

    pub(super) fn next(&mut self) -> &[u8] {
        if let Some(Rules { count, rest, random }) = &mut self.rules {
            self.bytes.clear();
            work::write_target_of_rule(random.usize(..*count), &mut self.bytes);
            self.bytes.extend_from_slice(rest);
        }
        &self.bytes
    }
}

/// Connections that send the next requests once all responses to the last ones have come.
pub(crate) struct Exchanges {
    poller: Poller,
    connections: Vec<Connection>,
    /// Responses that each connection waits for.
    due: Vec<u64>,
    requests: Requests,
    known: Known,
    read: Vec<u8>,
}

impl Exchanges {
    pub(crate) fn connect(proxy: SocketAddr, connections: usize, requests: Requests) -> Outcome<Self> {
        let poller = Poller::new().map_err(|error| format!("nothing to wait with: {error}"))?;
        let connections: Outcome<Vec<_>> =
            (0..connections).map(|token| Connection::open(&poller, proxy, token)).collect();
        let connections = connections?;
        let due = vec![0; connections.len()];
        let known = Known::of(requests.body);
        Ok(Exchanges { poller, connections, due, requests, known, read: vec![0; READ_BYTES] })
    }
}

impl Load for Exchanges {
    fn run(&mut self, limit: Limit<'_>) -> Outcome<Done> {
        let Exchanges { poller, connections, due, requests, known, read } = self;
        let mut progress = Progress::new(limit);
        for (connection, due) in connections.iter_mut().zip(due.iter_mut()) {
            if progress.begins(requests.count) {
                connection.send(requests.next())?;
                *due = requests.count;
            }
        }
        while !progress.is_done() {
            poller.wait()?;
            progress.look();
            for event in &poller.events {
                let key = event.token().0;
                let (connection, due) = (&mut connections[key], &mut due[key]);
                let received = connection.receive(read, known)?;
                if received.end || received.responses > *due {
                    return Err(
                        "a connection was closed, or brought a response that nobody asked for".to_owned()
                    );
                }
                *due -= received.responses;
                progress.done += received.responses;
                if received.responses > 0 && *due == 0 && progress.begins(requests.count) {
                    connection.send(requests.next())?;
                    *due = requests.count;
                }
            }
        }
        Ok(progress.finish())
    }
}
