//! Backends that go away and come back on the same port.

use super::backend::{Backend, Request, Visit};
use super::backends::response;
use socket2::{Domain, SockAddr, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

type Script = dyn Fn(&mut Visit) + Send + Sync;

/// A backend that can be ended and started again. While it is away its port refuses connections, and nobody else gets it.
pub struct Restarting {
    address: SocketAddr,
    /// Bound and not listening. Several sockets that reuse addresses may be bound to one port, of which one may listen.
    _held: Socket,
    script: Arc<Script>,
    running: Option<Backend>,
}

impl Restarting {
    /// Runs `script` on each connection, like `Backend::script`. It runs at once.
    pub fn script(script: impl Fn(&mut Visit) + Send + Sync + 'static) -> Self {
        let mut backend = Restarting::away(script);
        backend.start();
        backend
    }

    /// `script`, not yet started.
    pub fn away(script: impl Fn(&mut Visit) + Send + Sync + 'static) -> Self {
        let held = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        held.set_reuse_address(true).expect("an address that may be used again");
        held.bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).expect("a free port");
        let address = held.local_addr().expect("an address").as_socket().expect("a TCP address");
        Restarting { address, _held: held, script: Arc::new(script), running: None }
    }

    /// Answers each request with `text`.
    pub fn says(text: &str) -> Self {
        let text = text.to_owned();
        Restarting::answers(move |_| response("200 OK", "", text.as_bytes()))
    }

    /// Reads each request to its end and answers with what `answer` makes of it.
    pub fn answers(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Restarting::script(move |visit| {
            while let Some(request) = visit.request() {
                if !visit.send(answer(&request)) {
                    return;
                }
            }
        })
    }

    pub fn start(&mut self) {
        assert!(self.running.is_none(), "it runs already");
        let script = self.script.clone();
        self.running = Some(Backend::at(self.address, move |visit| script(visit)));
    }

    /// Ends it as an orderly server ends: what it has begun it finishes.
    pub fn finish(&mut self) {
        self.running.take().expect("it runs").finish();
    }

    /// Ends it at once: its connections close, whatever they are at.
    pub fn kill(&mut self) {
        drop(self.running.take().expect("it runs"));
    }

    /// What runs now; what it has counted begins with its start.
    pub fn now(&self) -> &Backend {
        self.running.as_ref().expect("it runs")
    }

    /// As a rule's `target` takes it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
