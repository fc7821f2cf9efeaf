//! Whoever else connects to backends, for no client: probes.

use super::{LONG, ip};
use crate::harness::backend::{Backend, Visit};
use crate::harness::backends::response;
use crate::harness::config::{Config, Driver};
use crate::harness::name_server::{NameServer, on_one_port, scripts_on_one_port};
use crate::harness::proxy::Proxy;
use crate::harness::{on_both_drivers, wait_until};
use std::net::TcpListener;

on_both_drivers![what_is_refused_is_not_probed, an_ejected_one_that_comes_to_be_refused_is_not_probed];

/// All backends are asked once a second.
const ACTIVE: &str = "active = true, probe = \"http\", probe_interval = \"1s\"";

/// Those that are ejected are.
const RECOVERY: &str =
    "probe = \"http\", recovery_interval = \"1s\", unhealthy_status = [\"503\"], max_failures = 1";

/// All paths go to `app.test` at the port of `backend`.
fn probed(driver: Driver, health: &str, allow: &[&str], server: &NameServer, backend: &Backend) -> Config {
    let port = backend.address().port();
    let config = Config::new(driver).section(&format!("[egress]\npolicy = \"public\"\nallow = {allow:?}"));
    let config = config.section(&NameServer::settings(&[server]));
    let config = config.upstream("named", &[format!("http://app.test:{port}")]);
    config.section(&format!("health = {{ {health} }}")).rule_to("all", "/*", "named")
}

fn what_is_refused_is_not_probed(driver: Driver) {
    let [one, two] = on_one_port(["one", "two"]);
    let server = NameServer::start();
    server.has("app.test", LONG, &[ip(&one), ip(&two)]);
    let proxy = Proxy::start(&probed(driver, ACTIVE, &["127.0.0.1"], &server, &one));
    one.wait_for_requests(3);
    assert_eq!(two.accepts(), 0);
    proxy.reload(&probed(driver, ACTIVE, &["127.0.0.2"], &server, &one));
    two.wait_for_requests(1);
    let before = one.requests();
    two.wait_for_requests(3);
    assert_eq!(one.requests(), before);
}

fn an_ejected_one_that_comes_to_be_refused_is_not_probed(driver: Driver) {
    let script = |status| {
        let answer = response(status, "", b"");
        move |visit: &mut Visit| while visit.request().is_some() && visit.send(&answer) {}
    };
    let [well, goes, ill] = scripts_on_one_port(["200 OK", "200 OK", "503 Ill"].map(script));
    let (address, port) = (ip(&goes), goes.address().port());
    let server = NameServer::start();
    server.has("app.test", LONG, &[ip(&well), address, ip(&ill)]);
    let all = ["127.0.0.0/8"];
    let proxy = Proxy::start(&probed(driver, RECOVERY, &all, &server, &well));
    drop(goes);
    let mut client = proxy.client();
    (0..6).for_each(|_| _ = client.get("/"));
    proxy.log().wait_for_nth(0, "event=\"backend_ejected\"", 1);
    proxy.reload(&probed(driver, RECOVERY, &["127.0.0.1", "127.0.0.3"], &server, &well));
    let back = TcpListener::bind((address, port)).expect("its port is still its own");
    back.set_nonblocking(true).expect("a listener that does not wait");
    // In the time of three probes of the one there is none of the other.
    ill.wait_for_requests(ill.requests() + 3);
    assert!(back.accept().is_err(), "nobody has connected");
    proxy.reload(&probed(driver, RECOVERY, &all, &server, &well));
    wait_until("it is probed again", || back.accept().is_ok());
}
