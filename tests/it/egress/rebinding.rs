//! Addresses that change after a name was looked at, and configurations that do.

use super::{LONG, ip, public, warnings};
use crate::harness::config::{Config, Driver};
use crate::harness::name_server::{NameServer, on_one_port};
use crate::harness::proxy::Proxy;
use crate::harness::{on_both_drivers, wait_until};

on_both_drivers![
    a_name_that_moves_to_a_refused_address_leads_nowhere,
    a_policy_that_becomes_stricter_holds_for_connections_that_are_there,
    a_connection_of_another_upstream_is_not_used,
];

fn a_name_that_moves_to_a_refused_address_leads_nowhere(driver: Driver) {
    let [one, two] = on_one_port(["one", "two"]);
    let server = NameServer::start();
    server.has("app.test", 1, &[ip(&one)]);
    let proxy = Proxy::watched(public(driver, &["127.0.0.1"], &server, &one));
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "one");
    for times in 1..=2 {
        let reached = one.requests();
        server.has("app.test", 1, &[ip(&two)]);
        wait_until("the name has moved", || client.get("/").status != 200);
        (0..20).for_each(|_| client.get("/").assert_error(502, "upstream_forbidden"));
        wait_until("it is told", || warnings(&proxy) == times);
        let backend = &proxy.upstream_status("named")["backends"][0];
        assert_eq!((&backend["state"], &backend["cause"]), (&"forbidden".into(), &"forbidden".into()));
        assert_eq!((&backend["failures"], &backend["ejections"]), (&0.into(), &0.into()), "{backend}");
        assert!(one.requests() >= reached);
        server.has("app.test", 1, &[ip(&one)]);
        wait_until("it is back", || client.get("/").status == 200);
        assert_eq!(client.get("/").text(), "one");
    }
    assert_eq!((two.accepts(), warnings(&proxy)), (0, 2));
    let log = proxy.log().text();
    assert!(log.contains("gets no requests: the egress policy refuses it: its address is loopback"), "{log}");
    assert!(!log.contains("backend_ejected"), "it says nothing about the backend: {log}");
}

fn a_policy_that_becomes_stricter_holds_for_connections_that_are_there(driver: Driver) {
    let [one, two] = on_one_port(["one", "two"]);
    let server = NameServer::start();
    server.has("app.test", LONG, &[ip(&two)]);
    let proxy = Proxy::start(&public(driver, &["127.0.0.0/8"], &server, &one));
    let mut client = proxy.client();
    (0..3).for_each(|_| assert_eq!(client.get("/").text(), "two"));
    assert_eq!((two.accepts(), two.requests()), (1, 3));
    proxy.reload(&public(driver, &["127.0.0.1"], &server, &one));
    client.get("/").assert_error(502, "upstream_forbidden");
    assert_eq!((two.accepts(), two.requests()), (1, 3));
    two.wait_until_idle();
    proxy.reload(&public(driver, &["127.0.0.2"], &server, &one));
    assert_eq!(client.get("/").text(), "two");
    assert_eq!(one.accepts(), 0);
}

/// Idle connections belong to addresses, and policies to upstreams and names.
fn a_connection_of_another_upstream_is_not_used(driver: Driver) {
    let [one, two] = on_one_port(["one", "two"]);
    let server = NameServer::start();
    server.has("app.test", LONG, &[ip(&two)]);
    server.has("good.test", LONG, &[ip(&two)]);
    let good = format!("http://GOOD.test.:{}", two.address().port());
    let config = Config::rule_before(
        public(driver, &["127.0.0.1", "good.test"], &server, &one),
        "good",
        "/good",
        &good,
    );
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    for requests in 1..4 {
        assert_eq!(client.get("/good").text(), "two");
        client.get("/").assert_error(502, "upstream_forbidden");
        assert_eq!((two.accepts(), two.requests(), one.accepts()), (1, requests, 0));
    }
}
