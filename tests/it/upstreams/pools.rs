//! Idle connections: how many are kept and how long, for whom, and which of them a change leaves alone; and backends behind
//! unix sockets among others.

use super::{pool, pool_of};
use crate::access_log::objects;
use crate::harness::backend::Backend;
use crate::harness::backends::{HELLO, response};
use crate::harness::client::Client;
use crate::harness::config::{Config, Driver};
use crate::harness::holding::Holding;
use crate::harness::proxy::Proxy;
use crate::harness::unreachable::Crowded;
use crate::harness::{on_both_drivers, wait_until};
use std::sync::Mutex;
use std::sync::mpsc::channel;

on_both_drivers![
    keepalive_is_divided_among_the_workers,
    the_newest_connection_is_used_first,
    upstreams_of_one_backend_share_its_connections,
    a_change_keeps_the_connections_of_backends_that_stay,
    a_change_closes_the_connections_of_backends_that_go,
    a_smaller_keepalive_closes_the_surplus,
    unix_backends_take_turns_with_others,
    a_unix_backend_that_goes_is_replaced,
    a_unix_backend_whose_queue_is_full_is_waited_for,
];

/// Runs `count` requests at once, from as many clients, so that there are as many connections to `backend`.
fn all_at_once(proxy: &Proxy, backend: &Holding, count: usize) {
    let mut clients: Vec<Client> = (0..count).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    backend.wait_until_it_holds(count);
    backend.release(count);
    clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
}

fn keepalive_is_divided_among_the_workers(driver: Driver) {
    for (workers, keepalive) in [(1_usize, 6_usize), (2, 6), (2, 7), (2, 1), (2, 0)] {
        let backend = Holding::says("hello");
        let config = pool(driver, &[backend.url()], &format!("keepalive = {keepalive}"));
        let proxy = Proxy::start(&config.workers(workers));
        all_at_once(&proxy, &backend, 40);
        // Shares are rounded up.
        let share = keepalive.div_ceil(workers);
        wait_until("the surplus is closed", || backend.open() <= share * workers);
        // However the clients are spread, one worker has more of them than its share of connections.
        assert!(backend.open() >= share, "{workers} workers keep {} of {keepalive}", backend.open());
    }
}

fn the_newest_connection_is_used_first(driver: Driver) {
    let (tell, told) = channel::<()>();
    let told = Mutex::new(told);
    let backend = Backend::script(move |visit| {
        let number = visit.number.to_string();
        while let Some(request) = visit.request() {
            if request.head.target() == "/held" {
                told.lock().unwrap().recv().ok();
            }
            visit.send(response("200 OK", "", number.as_bytes()));
        }
    });
    let proxy = Proxy::start(&pool(driver, &[backend.url()], ""));
    let (mut first, mut second) = (proxy.client(), proxy.client());
    first.send("GET /held HTTP/1.1\r\nHost: test\r\n\r\n");
    backend.wait_for_requests(1);
    assert_eq!(second.get("/").text(), "1", "the second connection, which is idle first");
    drop(tell);
    assert_eq!(first.response().text(), "0");
    for _ in 0..10 {
        assert_eq!(second.get("/").text(), "0");
    }
    assert_eq!(backend.accepts(), 2);
}

/// They belong to the address.
fn upstreams_of_one_backend_share_its_connections(driver: Driver) {
    let backend = Backend::says_hello();
    let urls = [backend.url()];
    let config = Config::new(driver).upstream("a", &urls).upstream("b", &urls);
    let config = config.rule_to("a", "/a", "a").rule_to("b", "/b", "b").rule("c", "/c", &backend.url());
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    for target in ["/a", "/b", "/c", "/a"] {
        assert_eq!(client.get(target).body, HELLO);
    }
    assert_eq!(backend.accepts(), 1);
}

fn a_change_keeps_the_connections_of_backends_that_stay(driver: Driver) {
    let [stays, other] = ["stays", "other"].map(Backend::says);
    let alone = format!("{{ url = \"{}\" }}", stays.url());
    let both = |weight: usize| {
        format!("{{ url = \"{}\", weight = {weight} }}, {{ url = \"{}\" }}", stays.url(), other.url())
    };
    let proxy = Proxy::start(&pool_of(driver, &alone, ""));
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "stays");
    let changes = [
        (alone.clone(), "strategy = \"ip_hash\"\nmax_active = 10"),
        (both(3), ""),
        (both(1), "strategy = \"least_latency\"\nkeepalive = 10"),
        (both(1), "timeouts = { response = \"10s\" }\nhealth = { max_failures = 7 }"),
        (alone, "retries = 0"),
    ];
    for (backends, lines) in changes {
        proxy.reload(&pool_of(driver, &backends, lines));
        for _ in 0..5 {
            assert_eq!(client.get("/").status, 200);
        }
    }
    assert_eq!(stays.accepts(), 1, "connections that were made");
}

fn a_change_closes_the_connections_of_backends_that_go(driver: Driver) {
    let [stays, goes] = ["stays", "goes"].map(Backend::says);
    let proxy = Proxy::start(&pool(driver, &[stays.url(), goes.url()], ""));
    let mut client = proxy.client();
    for _ in 0..4 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!((stays.open(), goes.open()), (1, 1));
    proxy.reload(&pool(driver, &[stays.url()], ""));
    assert_eq!(client.get("/").text(), "stays");
    goes.wait_until_idle();
    assert_eq!((stays.open(), stays.accepts()), (1, 1));
}

fn a_smaller_keepalive_closes_the_surplus(driver: Driver) {
    let backend = Holding::says("hello");
    let config = |keepalive: usize| pool(driver, &[backend.url()], &format!("keepalive = {keepalive}"));
    let proxy = Proxy::start(&config(8));
    all_at_once(&proxy, &backend, 8);
    wait_until("all are idle", || backend.open() == 8);
    proxy.reload(&config(2));
    backend.release_all();
    // At the next request of the worker at the latest.
    assert_eq!(proxy.client().get("/").text(), "hello");
    wait_until("the surplus is closed", || backend.open() == 2);
    assert_eq!(backend.accepts(), 8);
}

/// A backend on a unix socket in this directory that says where it is.
fn on_unix(directory: &tempfile::TempDir) -> Backend {
    Backend::on_unix(&directory.path().join("backend.sock"), |visit| {
        while visit.request().is_some() {
            visit.send(response("200 OK", "", b"unix"));
        }
    })
}

fn unix_backends_take_turns_with_others(driver: Driver) {
    let directory = tempfile::tempdir().expect("a directory");
    let (unix, tcp) = (on_unix(&directory), Backend::says("tcp"));
    for strategy in ["round_robin", "least_connections"] {
        let lines = format!("strategy = \"{strategy}\"");
        let proxy = Proxy::start(&pool(driver, &[unix.url(), tcp.url()], &lines));
        let (came, mut client) = ([unix.requests(), tcp.requests()], proxy.client());
        for _ in 0..10 {
            assert_eq!(client.get("/").status, 200);
        }
        assert_eq!([unix.requests() - came[0], tcp.requests() - came[1]], [5, 5], "{strategy}");
    }
    assert_eq!(unix.accepts(), 2, "one connection for each proxy");
}

fn a_unix_backend_that_goes_is_replaced(driver: Driver) {
    let directory = tempfile::tempdir().expect("a directory");
    let (unix, tcp) = (on_unix(&directory), Backend::says("tcp"));
    let url = unix.url();
    let backends = format!("{{ url = \"{url}\" }}, {{ url = \"{}\", backup = true }}", tcp.url());
    let proxy = super::logged(pool_of(driver, &backends, ""));
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "unix");
    drop(unix);
    // The path stays, and nobody listens there.
    let answers = [client.get("/").text(), client.get("/").text()];
    assert_eq!(answers, ["tcp", "tcp"]);
    let line = objects(&proxy, 3).remove(1);
    assert_eq!((line["tries"].as_u64(), line["failures"][0]["reason"].as_str()), (Some(2), Some("refused")));
    assert!(line["failures"][0]["backend"].as_str().is_some_and(|backend| backend.contains("backend.sock")));
    std::fs::remove_file(directory.path().join("backend.sock")).expect("the socket's file");
    let _back = on_unix(&directory);
    wait_until("it is back", || client.get("/").text() == "unix");
}

/// As over TCP, where the system waits.
fn a_unix_backend_whose_queue_is_full_is_waited_for(driver: Driver) {
    let directory = tempfile::tempdir().expect("a directory");
    let crowded = Crowded::on_unix(&directory.path().join("socket"));
    let proxy = Proxy::watched(pool(driver, &[crowded.url()], "timeouts = { connect = \"20s\" }"));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    proxy.wait_for_upstream("u", 1, 0);
    crowded.serve(&response("200 OK", "", HELLO));
    assert_eq!(
        (client.response().status, proxy.upstream_status("u")["retries"]["total"].as_u64()),
        (200, Some(0))
    );
    proxy.reload_watched(&pool(driver, &[crowded.url()], "timeouts = { connect = \"300ms\" }"));
    crowded.fill();
    proxy.client().get("/").assert_error(504, "upstream_connect_timeout");
}
