//! Which addresses are refused, and what becomes of those beside them.

use super::{LONG, ip, public};
use crate::harness::backend::Backend;
use crate::harness::config::{Config, Driver};
use crate::harness::name_server::{NameServer, on_one_port};
use crate::harness::on_both_drivers;
use crate::harness::proxy::Proxy;
use std::net::IpAddr;

on_both_drivers![
    what_is_refused_is_never_chosen_while_others_are_there,
    a_form_of_an_address_is_refused_and_allowed_as_the_address_itself,
    the_policy_any_refuses_what_clouds_keep_secret,
    names_of_the_systems_resolver_are_looked_at_too,
    a_unix_socket_is_reached_under_any,
];

fn what_is_refused_is_never_chosen_while_others_are_there(driver: Driver) {
    for strategy in ["round_robin", "random", "least_connections", "p2c", "ip_hash", "least_latency"] {
        let [one, two] = on_one_port(["one", "two"]);
        let server = NameServer::start();
        server.has("app.test", LONG, &[ip(&two), ip(&one)]);
        let port = one.address().port();
        let upstream = format!(
            "[[upstreams]]\nname = \"named\"\nstrategy = {strategy:?}\n\
             backends = [{{ url = \"http://app.test:{port}\" }}]\n"
        );
        let config = Config::new(driver).section("[egress]\npolicy = \"public\"\nallow = [\"127.0.0.1\"]");
        let config = config.section(&NameServer::settings(&[&server])).section(&upstream);
        let proxy = Proxy::start(&config.rule_to("all", "/*", "named"));
        let mut client = proxy.client();
        (0..20).for_each(|_| assert_eq!(client.get("/").text(), "one", "{strategy}"));
        // With the other one ill, it is that one's failure which is told.
        drop(one);
        (0..5).for_each(|_| client.get("/").assert_error(502, "upstream_refused"));
        assert_eq!(two.accepts(), 0, "{strategy}");
    }
}

fn a_form_of_an_address_is_refused_and_allowed_as_the_address_itself(driver: Driver) {
    let [one, two] = on_one_port(["one", "two"]);
    let mapped: IpAddr = "::ffff:127.0.0.2".parse().expect("an address");
    let server = NameServer::start();
    server.has("app.test", LONG, &[mapped]);
    let proxy = Proxy::start(&public(driver, &["127.0.0.1", "::/0"], &server, &one));
    proxy.client().get("/").assert_error(502, "upstream_forbidden");
    assert_eq!(two.accepts(), 0);
    proxy.reload(&public(driver, &["127.0.0.2"], &server, &one));
    assert_eq!(proxy.client().get("/").text(), "two", "this way it is reached");
}

/// Nobody is there. What would be dialled in vain meets another error.
fn the_policy_any_refuses_what_clouds_keep_secret(driver: Driver) {
    let secret = [
        "169.254.169.254",
        "169.254.0.0",
        "169.254.255.255",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "64:ff9b:1:a9fe:a9:fe00::",
        "2002:a9fe:a9fe::1",
        "2001:0:808:808:8000:ffff:5601:5601",
        "2001:0:a9fe:a9fe:8000:ffff:f7f7:f7f7",
        "2606:4700::5efe:169.254.169.254",
    ];
    let server = NameServer::start();
    let mut config = Config::new(driver).section(&NameServer::settings(&[&server]));
    for (number, address) in secret.into_iter().enumerate() {
        let name = format!("secret{number}.test");
        server.has(&name, LONG, &[address.parse().expect("an address")]);
        config = config.rule(&name, &format!("/{number}"), &format!("http://{name}.:80/latest"));
    }
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    for (number, address) in secret.into_iter().enumerate() {
        let answer = client.get(&format!("/{number}"));
        assert_eq!((answer.status, &*answer.json("code")), (502, "upstream_forbidden"), "{address}");
    }
    proxy.log().wait_for(0, "its address carries 169.254.169.254, which is link-local");
}

fn names_of_the_systems_resolver_are_looked_at_too(driver: Driver) {
    let backend = Backend::says_hello();
    let target = format!("http://localhost:{}", backend.address().port());
    let with = |allow: &str| {
        let config =
            Config::new(driver).section(&format!("[egress]\npolicy = \"public\"\nallow = [{allow}]"));
        config.rule("all", "/*", &target)
    };
    let proxy = Proxy::start(&with("\"10.0.0.0/8\""));
    proxy.client().get("/").assert_error(502, "upstream_forbidden");
    assert_eq!(backend.accepts(), 0);
    proxy.reload(&with("\"localhost\""));
    assert_eq!(proxy.client().get("/").status, 200);
}

fn a_unix_socket_is_reached_under_any(driver: Driver) {
    let directory = tempfile::tempdir().expect("a directory");
    let answer = crate::harness::backends::response("200 OK", "", b"unix");
    let backend = Backend::on_unix(&directory.path().join("app.sock"), move |visit| {
        while visit.request().is_some() && visit.send(&answer) {}
    });
    let proxy = Proxy::start(&Config::to(driver, &backend));
    assert_eq!(proxy.client().get("/").text(), "unix");
}
