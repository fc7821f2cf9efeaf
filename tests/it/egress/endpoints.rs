//! Endpoints of a `forward` provider are dialled as backends are.

use super::ip;
use crate::harness::backend::Backend;
use crate::harness::config::{Config, Driver};
use crate::harness::name_server::{NameServer, on_one_port};
use crate::harness::proxy::Proxy;
use crate::harness::{on_both_drivers, wait_until};

on_both_drivers![an_endpoint_that_moves_to_a_refused_address_is_not_asked];

fn an_endpoint_that_moves_to_a_refused_address_is_not_asked(driver: Driver) {
    let [one, two] = on_one_port(["", ""]);
    let backend = Backend::says_hello();
    let server = NameServer::start();
    server.has("auth.test", 1, &[ip(&one)]);
    let (port, target) = (one.address().port(), backend.url());
    let text = format!(
        "[egress]\npolicy = \"public\"\nallow = [\"127.0.0.1\"]\n\
         [[auth]]\nname = \"sso\"\ntype = \"forward\"\nurl = \"http://auth.test:{port}/auth\"\n\
         [[rules]]\nname = \"all\"\npath = \"/*\"\ntarget = \"{target}\"\nauth = \"sso\"\n"
    );
    let config = Config::new(driver).section(&text).section(&NameServer::settings(&[&server]));
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    assert_eq!(client.get("/").status, 200);
    server.has("auth.test", 1, &[ip(&two)]);
    wait_until("the endpoint has moved", || client.get("/").status != 200);
    let served = backend.requests();
    (0..10).for_each(|_| client.get("/").assert_error(503, "auth_unavailable"));
    assert_eq!((two.accepts(), backend.requests()), (0, served));
    server.has("auth.test", 1, &[ip(&one)]);
    wait_until("it is back", || client.get("/").status == 200);
    assert!(!proxy.log().text().contains("backend_ejected"), "{}", proxy.log().text());
}
