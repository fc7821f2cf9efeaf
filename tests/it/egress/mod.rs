//! "Where targets may point": what the egress policy refuses is not dialled, by whatever way it was come to. Loopback stands for
//! what is refused, with 127.0.0.1 and whatever else a test says as exceptions; where it would be reached otherwise the backend
//! is there, and counts.

mod addresses;
mod endpoints;
mod probes;
mod rebinding;

use crate::harness::backend::Backend;
use crate::harness::config::{Config, Driver};
use crate::harness::name_server::NameServer;
use crate::harness::proxy::Proxy;
use std::net::IpAddr;

/// Seconds: an answer that is not asked for again while a test runs.
const LONG: u32 = 3600;

/// The policy `public` with these exceptions, names looked up at `server`, and all paths to `app.test` at the port of `backend`.
fn public(driver: Driver, allow: &[&str], server: &NameServer, backend: &Backend) -> Config {
    let port = backend.address().port();
    let config = Config::new(driver).section(&format!("[egress]\npolicy = \"public\"\nallow = {allow:?}"));
    let config = config.section(&NameServer::settings(&[server]));
    config.upstream("named", &[format!("http://app.test:{port}")]).rule_to("all", "/*", "named")
}

fn ip(backend: &Backend) -> IpAddr {
    backend.address().ip()
}

fn warnings(proxy: &Proxy) -> usize {
    proxy.log().text().lines().filter(|line| line.contains("event=\"backend_forbidden\"")).count()
}
