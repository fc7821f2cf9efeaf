//! `on_no_backend = "wait"`: who comes while no backend is there waits for one.

use super::{logged, pool};
use crate::access_log::objects;
use crate::harness::client::Client;
use crate::harness::config::Driver;
use crate::harness::proxy::Proxy;
use crate::harness::restarting::Restarting;
use crate::harness::status::number;
use crate::harness::{on_both_drivers, wait_until};

on_both_drivers![
    who_waits_is_served_when_a_backend_returns,
    who_waits_for_a_name_is_served_when_it_has_an_address,
    who_waits_too_long_for_a_backend_is_turned_away,
    so_many_may_wait_for_a_backend,
    a_client_that_stops_waiting_for_a_backend_leaves_nothing,
    a_body_waits_for_a_backend_with_its_request,
];

/// Active probes notice at once that a backend is away, be it the last one, and that it is back.
const PROBED: &str =
    "on_no_backend = \"wait\"\nhealth = { active = true, probe_interval = \"1s\", fall = 1, rise = 1 }";

/// Waits until so many wait for a backend.
fn wait_for_waiting(proxy: &Proxy, count: usize) {
    wait_until(&format!("{count} wait for a backend"), || {
        number(&proxy.upstream_status("u"), "waiting_for_backend") == count
    });
}

/// Waits until every backend of the upstream is out.
fn wait_until_all_are_ejected(proxy: &Proxy) {
    wait_until("every backend is ejected", || {
        let status = proxy.upstream_status("u");
        let backends = status["backends"].as_array().expect("a list").clone();
        backends.iter().all(|backend| backend["state"] == "ejected")
    });
}

fn asking(proxy: &Proxy) -> Client {
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    client
}

/// Two backends that are not there, and a proxy that has noticed it.
fn with_nobody(driver: Driver, lines: &str) -> ([Restarting; 2], Proxy) {
    let backends = ["a", "b"].map(|text| {
        let mut backend = Restarting::says(text);
        backend.kill();
        backend
    });
    let urls = backends.each_ref().map(Restarting::url);
    let proxy = logged(pool(driver, &urls, &format!("{lines}\n{PROBED}")).workers(2));
    wait_until_all_are_ejected(&proxy);
    (backends, proxy)
}

fn who_waits_is_served_when_a_backend_returns(driver: Driver) {
    let (mut backends, proxy) = with_nobody(driver, "");
    let mut clients: Vec<Client> = (0..10).map(|_| asking(&proxy)).collect();
    wait_for_waiting(&proxy, 10);
    backends[1].start();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "b"));
    wait_for_waiting(&proxy, 0);
    proxy.wait_until_nothing_runs();
    for line in objects(&proxy, 10) {
        assert!(line["queued_us"].as_u64() > Some(0), "{line}");
    }
}

fn who_waits_for_a_name_is_served_when_it_has_an_address(driver: Driver) {
    let backend = Restarting::says("here");
    let config = |url: String| pool(driver, &[url], "on_no_backend = \"wait\"");
    let proxy = Proxy::watched(config("http://does-not-exist.invalid:81".to_owned()));
    let mut client = asking(&proxy);
    wait_for_waiting(&proxy, 1);
    proxy.reload_watched(&config(backend.url()));
    assert_eq!(client.response().text(), "here");
    wait_for_waiting(&proxy, 0);
}

fn who_waits_too_long_for_a_backend_is_turned_away(driver: Driver) {
    let (_away, proxy) = with_nobody(driver, "queue_timeout = \"500ms\"");
    let mut clients: Vec<Client> = (0..5).map(|_| asking(&proxy)).collect();
    for client in &mut clients {
        let answer = client.response();
        answer.assert_error(503, "queue_timeout");
        assert!(answer.field("retry-after").is_some());
    }
    wait_for_waiting(&proxy, 0);
    proxy.wait_until_nothing_runs();
    for line in objects(&proxy, 5) {
        assert_eq!((line["code"].as_str(), line["tries"].as_u64()), (Some("queue_timeout"), Some(0)));
        assert!(line["queued_us"].as_u64() >= Some(500_000), "{line}");
    }
}

fn so_many_may_wait_for_a_backend(driver: Driver) {
    let (mut backends, proxy) = with_nobody(driver, "max_queued = 3");
    let mut clients: Vec<Client> = (0..3).map(|_| asking(&proxy)).collect();
    wait_for_waiting(&proxy, 3);
    let answer = asking(&proxy).response();
    answer.assert_error(503, "queue_full");
    assert!(answer.field("retry-after").is_some());
    backends[0].start();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "a"));
}

fn a_client_that_stops_waiting_for_a_backend_leaves_nothing(driver: Driver) {
    let (mut backends, proxy) = with_nobody(driver, "max_active = 20\nmax_queued = 20");
    let before = proxy.descriptors();
    for round in 0..5 {
        let clients: Vec<Client> = (0..10).map(|_| asking(&proxy)).collect();
        wait_for_waiting(&proxy, 10);
        for (number, client) in clients.into_iter().enumerate() {
            if (number + round) % 2 == 0 { drop(client) } else { client.reset() }
        }
        wait_for_waiting(&proxy, 0);
    }
    proxy.wait_until_nothing_runs();
    // A probe may have a descriptor for a moment.
    proxy.wait_for_descriptors(before);
    let mut client = asking(&proxy);
    wait_for_waiting(&proxy, 1);
    backends[0].start();
    assert_eq!(client.response().text(), "a");
    assert_eq!(backends[0].now().requests(), 1, "requests of clients that have gone");
}

fn a_body_waits_for_a_backend_with_its_request(driver: Driver) {
    let mut backend =
        Restarting::answers(|request| crate::harness::backends::response("200 OK", "", &request.body));
    backend.kill();
    let proxy = Proxy::watched(pool(driver, &[backend.url()], PROBED));
    wait_until_all_are_ejected(&proxy);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello");
    wait_for_waiting(&proxy, 1);
    backend.start();
    client.send("world");
    assert_eq!(client.response().text(), "helloworld");
}
