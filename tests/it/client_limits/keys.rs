//! Whose requests are counted together.

use super::{let_in, limit, local, site};
use crate::harness::client::{Address, Client};
use crate::harness::config::{Config, Driver};
use crate::harness::on_both_drivers;
use crate::harness::proxy::Proxy;

on_both_drivers![
    clients_are_told_apart_by_their_addresses,
    who_is_not_trusted_cannot_be_another_client,
    a_trusted_proxy_tells_who_the_client_is,
    keys_of_a_field_are_counted_wherever_they_come_from,
    all_clients_of_a_site_share_its_limit,
    site_and_rule_limit_together,
    who_is_refused_by_its_rule_takes_nothing_from_its_site,
    rules_count_apart,
    clients_of_a_unix_socket_are_one,
];

fn clients_are_told_apart_by_their_addresses(driver: Driver) {
    let proxy = Proxy::start(&site(driver, "", &limit(2, "")).workers(2));
    for host in [2, 3] {
        let passed: usize = (0..4).map(|_| let_in(&mut local(host, &proxy.address()), "", 1)).sum();
        assert_eq!(passed, 2, "on connections of its own, 127.0.0.{host}");
    }
}

fn who_is_not_trusted_cannot_be_another_client(driver: Driver) {
    let proxy = Proxy::start(&site(driver, "", &limit(2, "")));
    let mut client = proxy.client();
    let told = |n: usize| {
        format!("X-Forwarded-For: 192.0.2.{n}\r\nX-Real-IP: 192.0.2.{n}\r\nForwarded: for=192.0.2.{n}\r\n")
    };
    assert_eq!((0..5).map(|n| let_in(&mut client, &told(n), 1)).sum::<usize>(), 2);
}

fn a_trusted_proxy_tells_who_the_client_is(driver: Driver) {
    let config = site(driver, "", &limit(1, "")).server("trusted_proxies = [\"127.0.0.0/8\"]");
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    let mut first = |address: &str| let_in(&mut client, &format!("X-Forwarded-For: {address}\r\n"), 1) == 1;
    assert!(first("192.0.2.1") && !first("192.0.2.1") && !first("::ffff:192.0.2.1"));
    assert!(first("192.0.2.2") && !first("203.0.113.9, 192.0.2.2"), "what is further left is hearsay");
    assert!(first("2001:db8:0:1::1") && !first("2001:db8:0:1:ffff::2"), "a /64 is one client");
    assert!(first("2001:db8:0:2::1"));
    assert_eq!(let_in(&mut client, "", 2), 1, "without the field it is the proxy itself");
}

fn keys_of_a_field_are_counted_wherever_they_come_from(driver: Driver) {
    let proxy = Proxy::start(&site(driver, "", &limit(2, ", key = \"header:X-Api-Key\"")).workers(2));
    let pass = |host, fields: &str| let_in(&mut local(host, &proxy.address()), fields, 3);
    assert_eq!((pass(2, "X-Api-Key: a\r\n"), pass(3, "x-api-key:   a  \r\n")), (2, 0));
    assert_eq!((pass(2, "X-Api-Key: b\r\n"), pass(2, ""), pass(3, "")), (2, 2, 2));
    for fields in ["X-Other: a\r\n", "X_Api_Key: c\r\n", "X-Api-Key: b\r\nX-Api-Key: c\r\n"] {
        assert_eq!(pass(2, fields), 0, "without exactly one, by client: {fields:?}");
    }
}

fn all_clients_of_a_site_share_its_limit(driver: Driver) {
    let of = |name: &str| {
        let lines = limit(3, ", key = \"site\"");
        format!("[[sites]]\nname = \"{name}\"\nhosts = [\"{name}.test\"]\nproject = \"p\"\n{lines}")
    };
    let project = "[[projects]]\nname = \"p\"\n[[projects.rules]]\nname = \"r\"\npath = \"/*\"\nrespond = { status = 200 }";
    let proxy = Proxy::start(&Config::new(driver).section(&[project, &of("a"), &of("b")].join("\n")));
    let pass = |host, site: &str| {
        let mut client = local(host, &proxy.address());
        let request = format!("GET / HTTP/1.1\r\nHost: {site}.test\r\n\r\n");
        (0..2).filter(|_| client.ask(&request).status == 200).count()
    };
    assert_eq!((pass(2, "a"), pass(3, "a"), pass(4, "a")), (2, 1, 0));
    assert_eq!((pass(2, "b"), pass(3, "b")), (2, 1), "the other site has its own");
}

fn site_and_rule_limit_together(driver: Driver) {
    let rule = |name: &str, path: &str, lines: &str| {
        format!(
            "[[sites.rules]]\nname = \"{name}\"\npath = \"{path}\"\nrespond = {{ status = 200 }}\n{lines}"
        )
    };
    let site = format!("[[sites]]\nname = \"a\"\nhosts = [\"*\"]\n{}", limit(5, ""));
    let rules = [rule("x", "/x", ""), rule("r", "/*", &limit(2, ""))];
    let proxy = Proxy::start(&Config::new(driver).section(&site).section(&rules.join("\n")));
    let mut client = proxy.client();
    assert_eq!(let_in(&mut client, "", 4), 2, "the rule's limit");
    assert!(client.get("/").field("ratelimit-policy").unwrap().starts_with("\"r\";q=2;"));
    let statuses: Vec<_> = (0..4).map(|_| client.get("/x").status).collect();
    assert_eq!(statuses, [200, 200, 200, 429], "the site's, of which the refused ones took nothing");
    assert!(client.get("/x").field("ratelimit-policy").unwrap().starts_with("\"a\";q=5;"));
}

fn who_is_refused_by_its_rule_takes_nothing_from_its_site(driver: Driver) {
    let config = site(driver, &limit(6, ", key = \"site\""), &limit(2, "")).workers(2);
    let proxy = Proxy::start(&config);
    assert_eq!(let_in(&mut local(2, &proxy.address()), "", 200), 2);
    let passed: Vec<_> = (3..7).map(|host| let_in(&mut local(host, &proxy.address()), "", 5)).collect();
    assert_eq!(passed, [2, 2, 0, 0]);
}

fn rules_count_apart(driver: Driver) {
    let rule = |name: &str| {
        let lines = limit(2, "");
        format!("[[rules]]\nname = \"{name}\"\npath = \"/{name}\"\nrespond = {{ status = 200 }}\n{lines}")
    };
    let proxy = Proxy::start(&Config::new(driver).section(&[rule("a"), rule("b")].join("\n")));
    let mut client = proxy.client();
    for path in ["/a", "/b"] {
        let statuses: Vec<_> = (0..3).map(|_| client.get(path).status).collect();
        assert_eq!(statuses, [200, 200, 429], "{path}");
    }
}

fn clients_of_a_unix_socket_are_one(driver: Driver) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ringway.sock");
    let listener = format!("unix:{}", path.display());
    let config = site(driver, "", &limit(2, "")).listeners(&[&listener]);
    let proxy = Proxy::start_in(directory, &config);
    let passed: usize =
        (0..3).map(|_| let_in(&mut Client::connect(&Address::Unix(path.clone())), "", 1)).sum();
    assert_eq!(passed, 2);
    drop(proxy);
    // Its peer is trusted to tell who the client is.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ringway.sock");
    let config = site(driver, "", &limit(1, "")).server("trusted_proxies = [\"unix\"]");
    let _proxy = Proxy::start_in(directory, &config.listeners(&[&format!("unix:{}", path.display())]));
    let mut client = Client::connect(&Address::Unix(path));
    let first = |client: &mut Client, n| let_in(client, &format!("X-Forwarded-For: 192.0.2.{n}\r\n"), 2);
    assert_eq!((first(&mut client, 1), first(&mut client, 2)), (1, 1));
}
