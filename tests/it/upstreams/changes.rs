//! Changes of the configuration while upstreams are at work: nothing that runs or waits ends by them, and what is known of
//! backends that stay is kept.

use super::{logged, pool, pool_of};
use crate::access_log::objects;
use crate::harness::backend::Backend;
use crate::harness::backends::response;
use crate::harness::client::Client;
use crate::harness::config::{Config, Driver};
use crate::harness::holding::Holding;
use crate::harness::proxy::Proxy;
use crate::harness::status::number;
use crate::harness::unreachable::Refusing;
use crate::harness::websocket::{assert_echo, close, connect};
use crate::harness::{on_both_drivers, pause, wait_until};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

on_both_drivers![
    changes_under_load_are_noticed_by_nobody,
    who_waits_goes_on_waiting,
    who_waits_goes_where_the_new_file_says,
    what_runs_is_counted_on,
    who_was_ejected_stays_so,
    what_was_measured_is_known_on,
    counters_go_on,
    what_is_not_named_any_more_is_forgotten,
];

/// Ends the load, even when the test fails.
struct EndsLoad<'a>(&'a AtomicBool);

impl Drop for EndsLoad<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// GETs and POSTs until it is over, all of which succeed; what it returns is how many.
fn ask_until(over: &AtomicBool, asked: &AtomicUsize, mut client: Client) {
    while !over.load(Ordering::SeqCst) {
        assert_eq!(client.get("/get").status, 200);
        let post = client.ask("POST /post HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(post.status, 200, "{}", post.text());
        asked.fetch_add(2, Ordering::SeqCst);
    }
}

/// One of several files that differ in everything that an upstream has; the tunnel's rule is in all of them but one.
fn revision(number: usize, driver: Driver, backends: &[Backend; 3], chat: &Backend) -> Config {
    let url = |index: usize| backends[index].url();
    let config = match number % 5 {
        0 => pool(driver, &[url(0), url(1), url(2)], ""),
        1 => pool(driver, &[url(1)], "strategy = \"least_latency\"\nmax_active = 2"),
        2 => {
            let backends =
                format!("{{ url = \"{}\", weight = 5 }}, {{ url = \"{}\", backup = true }}", url(2), url(0));
            pool_of(driver, &backends, "strategy = \"random\"\nkeepalive = 1")
        }
        3 => pool(driver, &[url(0), url(2)], "strategy = \"ip_hash\"\nretries = 0\nkeepalive = 0"),
        _ => pool(driver, &[url(2), url(1)], "strategy = \"p2c\"\nmax_active = 1\ncount_tunnels = true"),
    };
    if number % 5 == 2 { config } else { config.rule_before("chat", "/chat", &chat.url()) }
}

fn changes_under_load_are_noticed_by_nobody(driver: Driver) {
    let backends = ["a", "b", "c"].map(|text| {
        Backend::answers(move |_| {
            pause(Duration::from_micros(300));
            response("200 OK", "", text.as_bytes())
        })
    });
    let chat = Backend::echoes_messages();
    let file = |number: usize| revision(number, driver, &backends, &chat).workers(2);
    let proxy = Proxy::watched(file(0));
    let mut socket = connect(&proxy.address(), "/chat");
    let (over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let ends = EndsLoad(&over);
        for _ in 0..4 {
            let (client, over, asked) = (proxy.client(), &over, &asked);
            scope.spawn(move || ask_until(over, asked, client));
        }
        for number in 1..=20 {
            proxy.reload_watched(&file(number));
            let before = asked.load(Ordering::SeqCst);
            wait_until("the load goes on", || asked.load(Ordering::SeqCst) >= before + 20);
            assert_echo(&mut socket, &format!("after change {number}"));
        }
        drop(ends);
    });
    close(&mut socket);
    drop(socket);
    proxy.wait_until_nothing_runs();
}

fn asking(proxy: &Proxy, target: &str) -> Client {
    let mut client = proxy.client();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
    client
}

/// One that runs and five that wait, in this order.
fn one_and_five(proxy: &Proxy, backend: &Holding) -> Vec<Client> {
    let mut clients = vec![asking(proxy, "/runs")];
    backend.wait_until_it_holds(1);
    for number in 0..5 {
        clients.push(asking(proxy, &format!("/{number}")));
        proxy.wait_for_upstream("u", 1, number + 1);
    }
    clients
}

fn who_waits_goes_on_waiting(driver: Driver) {
    let (backend, other) = (Holding::says("in"), Backend::says("other"));
    let file = |lines: &str| {
        let lines = format!("max_active = 1\n{lines}");
        pool(driver, &[backend.url()], &lines).rule_before("other", "/other", &other.url()).workers(2)
    };
    let proxy = Proxy::watched(file(""));
    let mut clients = one_and_five(&proxy, &backend);
    for lines in ["strategy = \"p2c\"", "max_queued = 1", "queue_timeout = \"20s\"\nmax_queued = 7", ""] {
        proxy.reload_watched(&file(lines));
        assert_eq!(proxy.client().get("/other").text(), "other");
        proxy.wait_for_upstream("u", 1, 5);
    }
    for number in 0..5 {
        backend.release(1);
        assert_eq!(backend.head(number + 1).target(), format!("/{number}"));
    }
    backend.release_all();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "in"));
    proxy.wait_until_nothing_runs();
}

/// Or where the old one said, which it was told already: it is served in any case.
fn who_waits_goes_where_the_new_file_says(driver: Driver) {
    let (backend, other) = (Holding::says("old"), Backend::says("new"));
    let proxy = Proxy::watched(pool(driver, &[backend.url()], "max_active = 1").workers(2));
    let mut clients = one_and_five(&proxy, &backend);
    proxy.reload_watched(&pool(driver, &[other.url()], "max_active = 1").workers(2));
    proxy.wait_for_upstream("u", 1, 5);
    backend.release_all();
    assert_eq!(clients[0].response().text(), "old");
    for client in &mut clients[1..] {
        assert!(["old", "new"].contains(&client.response().text().as_str()));
    }
    let mut clients = {
        proxy.reload_watched(&pool(driver, &[backend.url()], "max_active = 1").workers(2));
        let held = Holding::says("held");
        proxy.reload_watched(&pool(driver, &[held.url()], "max_active = 1").workers(2));
        let clients = one_and_five(&proxy, &held);
        // The upstream is in no file any more.
        proxy.reload_watched(&Config::new(driver).rule("all", "/*", &other.url()).workers(2));
        assert_eq!(proxy.client().get("/").text(), "new");
        held.release_all();
        clients.into_iter().map(|mut client| client.response().text()).collect::<Vec<_>>()
    };
    assert_eq!(clients.remove(0), "held");
    assert_eq!(clients, ["held"; 5]);
    proxy.wait_until_nothing_runs();
}

/// `least_connections` sees, after a change, what began before it.
fn what_runs_is_counted_on(driver: Driver) {
    let (busy, free) = (Holding::says("busy"), Backend::says("free"));
    let file = |urls: &[String]| pool(driver, urls, "strategy = \"least_connections\"").workers(2);
    let proxy = Proxy::watched(file(&[busy.url()]));
    let mut clients: Vec<Client> = (0..3).map(|_| asking(&proxy, "/")).collect();
    busy.wait_until_it_holds(3);
    proxy.reload_watched(&file(&[busy.url(), free.url()]));
    proxy.wait_for_upstream("u", 3, 0);
    let status = proxy.upstream_status("u");
    let running: Vec<usize> =
        status["backends"].as_array().expect("a list").iter().map(|one| number(one, "running")).collect();
    assert_eq!(running, [3, 0]);
    for _ in 0..10 {
        assert_eq!(proxy.client().get("/").text(), "free");
    }
    busy.release_all();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "busy"));
    proxy.wait_until_nothing_runs();
}

/// The state of the first backend.
fn state(proxy: &Proxy) -> String {
    proxy.upstream_status("u")["backends"][0]["state"].as_str().expect("a state").to_owned()
}

fn who_was_ejected_stays_so(driver: Driver) {
    let (refusing, good) = (Refusing::new(), Backend::says("good"));
    let file = |lines: &str| pool(driver, &[refusing.url(), good.url()], lines).workers(2);
    let proxy = logged(file(""));
    let log = format!("[access_log]\npath = \"{}\"", proxy.directory().join("access.log").display());
    let mut client = proxy.client();
    let mut asked = 0;
    while state(&proxy) == "alive" {
        assert_eq!(client.get("/").text(), "good");
        asked += 1;
    }
    let tries = |count: usize| -> Vec<u64> {
        objects(&proxy, count).iter().map(|line| line["tries"].as_u64().expect("a number")).collect()
    };
    assert_eq!(tries(asked).iter().filter(|&&tries| tries == 2).count(), 1, "it is tried once");
    for lines in ["strategy = \"random\"", "max_active = 10", "strategy = \"ip_hash\"\nretries = 1"] {
        proxy.reload_watched(&file(lines).section(&log));
        assert_eq!(state(&proxy), "ejected", "after {lines}");
        for _ in 0..10 {
            assert_eq!(client.get("/").text(), "good");
            asked += 1;
        }
    }
    assert_eq!(tries(asked).iter().filter(|&&tries| tries == 2).count(), 1, "it is tried no more");
}

fn what_was_measured_is_known_on(driver: Driver) {
    let (quick, slow) = (
        Backend::says("quick"),
        Backend::answers(|_| {
            pause(Duration::from_secs(1));
            response("200 OK", "", b"slow")
        }),
    );
    let file = |lines: &str| {
        let lines = format!("strategy = \"least_latency\"\n{lines}");
        pool(driver, &[quick.url(), slow.url()], &lines).workers(2)
    };
    let proxy = Proxy::start(&file(""));
    let mut client = proxy.client();
    client.get("/");
    client.get("/");
    assert_eq!((quick.requests(), slow.requests()), (1, 1));
    for lines in ["retries = 1", "max_active = 5", ""] {
        proxy.reload(&file(lines));
        for _ in 0..10 {
            assert_eq!(client.get("/").text(), "quick", "after {lines:?}");
        }
    }
}

fn counters_go_on(driver: Driver) {
    let (ill, good) = (Backend::script(|visit| drop(visit.head())), Backend::says("good"));
    let file = |lines: &str| super::ill_first(driver, &[ill.url()], &good.url(), lines);
    let proxy = Proxy::watched(file(""));
    for number in 1..=6 {
        assert_eq!(proxy.client().get("/").text(), "good");
        if number % 2 == 0 {
            proxy.reload_watched(&file(&format!("max_active = {number}")));
        }
        let status = proxy.upstream_status("u");
        assert_eq!(status["retries"]["total"], number, "{status:#}");
        assert_eq!(status["backends"][0]["failures"], number, "{status:#}");
    }
}

fn what_is_not_named_any_more_is_forgotten(driver: Driver) {
    let (refusing, good) = (Refusing::new(), Backend::says("good"));
    let with = pool(driver, &[refusing.url(), good.url()], "");
    let without = pool(driver, &[good.url()], "");
    let proxy = Proxy::watched(with.clone());
    let mut client = proxy.client();
    wait_until("it is ejected", || client.get("/").status == 200 && state(&proxy) == "ejected");
    // Once nobody uses what was there before.
    wait_until("it comes back as if it were new", || {
        proxy.reload_watched(&without);
        assert_eq!(client.get("/").text(), "good");
        proxy.reload_watched(&with);
        state(&proxy) == "alive"
    });
}
