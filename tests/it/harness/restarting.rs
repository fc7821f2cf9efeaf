//! Backends that go away and come back on the same port.

use super::backend::{Backend, Request, Visit};
use super::backends::response;
use super::held_address;
use socket2::Socket;
use std::net::SocketAddr;
use std::sync::Arc;

type Script = dyn Fn(&mut Visit) + Send + Sync;

/// A backend that can be ended and started again. While it is away its port refuses connections, and nobody else gets it.
pub struct Restarting {
    address: SocketAddr,
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
        let (address, held) = held_address();
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
