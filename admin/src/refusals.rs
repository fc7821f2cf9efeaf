//! What the egress policy refuses, in the log: a line when an address comes to be refused, and none while it stays so.

use std::collections::HashSet;
use std::sync::Arc;

use ringway_engine::{Address, BackendHandle};

/// The addresses that were refused when it was looked last, each with its upstream.
#[derive(Default)]
pub(crate) struct Refusals {
    refused: HashSet<(Arc<str>, Address)>,
}

impl Refusals {
    /// Looks at what was published, and tells what is refused since then.
    pub(crate) fn look(&mut self, backends: &[BackendHandle]) {
        let before = std::mem::take(&mut self.refused);
        for backend in backends {
            let Some(why) = backend.forbidden() else { continue };
            let (upstream, address) = (backend.upstream(), backend.address());
            let identity = (upstream.clone(), address.clone());
            let is_known = before.contains(&identity);
            if self.refused.insert(identity) && !is_known {
                tracing::warn!(
                    event = "backend_forbidden",
                    upstream = &**upstream,
                    backend = %address,
                    "backend {address} gets no requests: the egress policy refuses it: {why}"
                );
            }
        }
    }
}
