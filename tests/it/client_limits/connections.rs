//! `max_connections_per_client`: what is over it is closed at once, and every end of a connection gives its place back.

use super::local;
use crate::harness::backend::Backend;
use crate::harness::client::{Address, Client};
use crate::harness::config::{Config, Driver};
use crate::harness::crowd::crowd;
use crate::harness::message::Ending;
use crate::harness::proxy::Proxy;
use crate::harness::websocket::{assert_echo, close, connect, handshake};
use crate::harness::{on_both_drivers, wait_until};

on_both_drivers![
    what_is_over_the_limit_is_closed_at_once,
    a_crowd_gets_as_many_as_may_be,
    each_client_has_its_own,
    each_listener_has_its_own,
    every_end_gives_the_place_back,
    tunnels_count,
    trusted_proxies_may_have_more,
    clients_of_unix_sockets_are_not_counted,
    a_limit_that_changes_holds_for_new_connections,
    a_limit_that_comes_counts_what_is_open,
    the_log_says_it_once_a_second,
];

/// A rule by which every request gets 200.
const ANSWERS: &str = "[[rules]]\nname = \"r\"\npath = \"/*\"\nrespond = { status = 200 }";

/// A client may have so many connections to the last listener.
fn limited(driver: Driver, at_most: usize) -> Config {
    Config::new(driver).section(&format!("max_connections_per_client = {at_most}")).section(ANSWERS)
}

/// Whether its connection is served.
fn is_served(client: &mut Client) -> bool {
    client.try_send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    match client.try_response("GET") {
        Ok(answer) => answer.status == 200,
        Err(cut) => {
            assert!(cut.head.is_none() && cut.bytes.is_empty() && cut.ending != Ending::Silence, "{cut:?}");
            false
        }
    }
}

/// So many clients, all served.
#[track_caller]
fn served(count: usize, connect: impl Fn() -> Client) -> Vec<Client> {
    let mut clients: Vec<_> = (0..count).map(|_| connect()).collect();
    assert!(clients.iter_mut().all(is_served));
    clients
}

/// Waits until one more is served; gives it.
fn wait_for_place(connect: impl Fn() -> Client) -> Client {
    let mut client = connect();
    wait_until("a place for one more", || {
        let served = is_served(&mut client);
        if !served {
            client = connect();
        }
        served
    });
    client
}

fn what_is_over_the_limit_is_closed_at_once(driver: Driver) {
    let mut proxy = Proxy::watched(limited(driver, 3).workers(2));
    let mut open = served(3, || proxy.client());
    // It has sent nothing: there is nothing unread that would make it a reset.
    (0..5).for_each(|_| proxy.client().assert_closed());
    assert!(open.iter_mut().all(is_served), "the others are not disturbed");
    let status = proxy.status();
    assert_eq!((&status["totals"]["refused"], &status["totals"]["accepted"]), (&5.into(), &3.into()));
    assert_eq!(status["connections"], 3);
    drop(open);
    let log = proxy.stop();
    assert!(log.contains("a client has too many connections") && log.contains("127.0.0.1"), "{log}");
    assert!(log.contains("; connections refused 5"), "{log}");
}

fn a_crowd_gets_as_many_as_may_be(driver: Driver) {
    let proxy = Proxy::watched(limited(driver, 10).workers(4));
    for _ in 0..3 {
        let mut clients: Vec<_> = crowd(60, |_| proxy.client());
        let served = clients.iter_mut().map(is_served).filter(|served| *served).count();
        assert_eq!(served, 10);
        drop(clients);
        wait_until("all have gone", || proxy.status()["connections"] == 0);
    }
}

fn each_client_has_its_own(driver: Driver) {
    let proxy = Proxy::start(&limited(driver, 2));
    let from = |host| local(host, &proxy.address());
    let _open = (served(2, || from(2)), served(2, || from(3)));
    assert!(!is_served(&mut from(2)) && !is_served(&mut from(3)) && is_served(&mut from(4)));
}

fn each_listener_has_its_own(driver: Driver) {
    let listeners = ["127.0.0.1:0", "127.0.0.2:0", "[::1]:0"];
    // The last one alone has a limit.
    let proxy = Proxy::start(&limited(driver, 1).listeners(&listeners));
    let [first, second, third] = proxy.addresses() else { panic!("three listeners") };
    let _open = [first, second].map(|address| served(3, || Client::connect(address)));
    let _last = served(1, || Client::connect(third));
    assert!(!is_served(&mut Client::connect(third)) && is_served(&mut Client::connect(first)));
}

fn every_end_gives_the_place_back(driver: Driver) {
    let backend = Backend::answers_and_closes("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut");
    let config = Config::new(driver).section("max_connections_per_client = 1");
    let config = config.rule("cut", "/cut", &backend.url()).section(ANSWERS);
    let proxy = Proxy::start(&config.timeouts("idle = \"300ms\"\nhead = \"300ms\""));
    let ends: [fn(Client); 8] = [
        drop,
        Client::reset,
        |mut client| client.finish().assert_closed(),
        |mut client| client.assert_closed(),
        |mut client| assert_eq!(client.send("GET / HTT").response().status, 408),
        |mut client| assert_eq!(client.ask("nonsense\r\n\r\n").status, 400),
        |mut client| drop(client.ask("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")),
        |mut client| {
            client
                .send("GET /cut HTTP/1.1\r\nHost: test\r\n\r\n")
                .try_response("GET")
                .expect_err("a cut response");
        },
    ];
    for end in ends {
        end(wait_for_place(|| proxy.client()));
    }
    drop(wait_for_place(|| proxy.client()));
}

fn tunnels_count(driver: Driver) {
    let backend = Backend::echoes_messages();
    let config = Config::new(driver).section("max_connections_per_client = 2");
    let proxy = Proxy::start(&config.rule("all", "/*", &backend.url()));
    let mut tunnels = vec![connect(&proxy.address(), "/"), connect(&proxy.address(), "/")];
    proxy.client().assert_closed();
    tunnels.iter_mut().for_each(|tunnel| assert_echo(tunnel, "still here"));
    close(&mut tunnels.remove(0));
    let mut third = None;
    wait_until("a place for one more", || {
        let mut client = proxy.client();
        client.try_send(handshake("/", "").as_bytes());
        let is_tunnel = client.try_response("GET").is_ok_and(|answer| answer.status == 101);
        third = is_tunnel.then_some(client);
        is_tunnel
    });
    proxy.client().assert_closed();
    close(&mut tunnels.remove(0));
}

fn trusted_proxies_may_have_more(driver: Driver) {
    let proxy = Proxy::start(&limited(driver, 1).server("trusted_proxies = [\"127.0.0.2\"]"));
    let _trusted = served(5, || local(2, &proxy.address()));
    let _other = served(1, || local(3, &proxy.address()));
    assert!(!is_served(&mut local(3, &proxy.address())));
}

fn clients_of_unix_sockets_are_not_counted(driver: Driver) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ringway.sock");
    let config = limited(driver, 1).listeners(&[&format!("unix:{}", path.display())]);
    let _proxy = Proxy::start_in(directory, &config);
    drop(served(5, || Client::connect(&Address::Unix(path.clone()))));
}

fn a_limit_that_changes_holds_for_new_connections(driver: Driver) {
    let proxy = Proxy::start(&limited(driver, 2).workers(2));
    let mut open = served(2, || proxy.client());
    assert!(!is_served(&mut proxy.client()));
    proxy.reload(&limited(driver, 4).workers(2));
    open.extend(served(2, || proxy.client()));
    assert!(!is_served(&mut proxy.client()));
    proxy.reload(&limited(driver, 1).workers(2));
    assert!(!is_served(&mut proxy.client()));
    assert!(open.iter_mut().all(is_served), "who is in stays in");
    proxy.reload(&limited(driver, 0).workers(2));
    open.extend(served(3, || proxy.client()));
}

fn a_limit_that_comes_counts_what_is_open(driver: Driver) {
    let proxy = Proxy::start(&limited(driver, 0));
    let mut open = served(3, || proxy.client());
    proxy.reload(&limited(driver, 3));
    assert!(!is_served(&mut proxy.client()));
    drop(open.pop());
    open.push(wait_for_place(|| proxy.client()));
}

fn the_log_says_it_once_a_second(driver: Driver) {
    let mut proxy = Proxy::start(&limited(driver, 1).workers(2));
    let open = served(1, || proxy.client());
    (0..100).for_each(|_| assert!(!is_served(&mut proxy.client())));
    drop(open);
    let log = proxy.stop();
    let told = log.matches("too many connections").count();
    // Once for each second that a hundred connections may have taken.
    assert!((1..50).contains(&told), "{told} times:\n{log}");
    assert!(log.contains("; connections refused 100"), "{log}");
}
