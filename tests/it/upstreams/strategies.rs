//! Which backend a request goes to: every strategy, by the counts of what came to real sockets. Where chance decides, the
//! bounds are so wide that a sound choice leaves them less than once in 10^9 times.

use super::{pool, pool_of};
use crate::harness::backend::Backend;
use crate::harness::backends::response;
use crate::harness::client::Client;
use crate::harness::config::{Config, Driver};
use crate::harness::holding::Holding;
use crate::harness::proxy::Proxy;
use crate::harness::restarting::Restarting;
use crate::harness::{on_both_drivers, pause, wait_until};
use std::collections::BTreeMap;
use std::time::Duration;

on_both_drivers![
    round_robin_gives_each_its_weight_in_every_turn,
    weighted_is_round_robin,
    random_keeps_to_the_weights,
    least_connections_fills_up_by_weight,
    least_connections_goes_to_whoever_is_done,
    idle_backends_take_turns_by_least_connections,
    p2c_takes_the_less_busy_of_two,
    p2c_fills_up_by_weight,
    p2c_is_even_where_nobody_is_busy,
    ip_hash_is_about_the_client_and_not_about_what_it_says,
    ip_hash_keeps_to_the_weights,
    least_latency_prefers_the_quick_one,
    least_latency_measures_the_slow_one_again,
    least_latency_measures_no_client,
    a_backup_gets_requests_only_while_nobody_else_is_there,
    a_backend_that_came_back_starts_slowly,
    a_reload_changes_weights_at_once,
];

/// How often each answer came.
type Shares = BTreeMap<String, usize>;

/// Asks `times` on one connection, which is to say one worker.
fn ask(client: &mut Client, times: usize) -> Shares {
    let mut shares = Shares::new();
    for _ in 0..times {
        let answer = client.get("/");
        assert_eq!(answer.status, 200, "{}", answer.text());
        *shares.entry(answer.text()).or_default() += 1;
    }
    shares
}

fn share(shares: &Shares, name: &str) -> usize {
    shares.get(name).copied().unwrap_or(0)
}

/// `{ url, weight }` of each, as the file has it.
fn weighted(backends: &[(&Backend, usize)]) -> String {
    let entry = |(backend, weight): &(&Backend, usize)| {
        format!("{{ url = \"{}\", weight = {weight} }}", backend.url())
    };
    backends.iter().map(entry).collect::<Vec<_>>().join(", ")
}

/// `count` requests of chance `p` each: how far their number may be from what is expected. Six and a half standard
/// deviations, which is 10^-10 on both sides together.
fn deviation(count: usize, p: f64) -> f64 {
    6.5 * (count as f64 * p * (1.0 - p)).sqrt()
}

/// Asserts that `name` has a share of about `p`.
#[track_caller]
fn assert_about(shares: &Shares, name: &str, p: f64) {
    let count: usize = shares.values().sum();
    let off = (share(shares, name) as f64 - count as f64 * p).abs();
    assert!(off <= deviation(count, p), "{name} is to have {p} of {shares:?}");
}

/// Two backends, `a` with weight 3 and `b` with weight 2: every five requests on a connection, wherever they begin.
fn assert_three_to_two(driver: Driver, strategy: &str, workers: usize) {
    let [a, b] = ["a", "b"].map(Backend::says);
    let config = pool_of(driver, &weighted(&[(&a, 3), (&b, 2)]), strategy).workers(workers);
    let proxy = Proxy::start(&config);
    for round in 0..8 {
        let mut client = proxy.client();
        for _ in 0..4 {
            let shares = ask(&mut client, 5);
            assert_eq!((share(&shares, "a"), share(&shares, "b")), (3, 2), "connection {round}");
        }
    }
    assert_eq!((a.requests(), b.requests()), (96, 64));
}

fn round_robin_gives_each_its_weight_in_every_turn(driver: Driver) {
    for workers in [1, 2] {
        assert_three_to_two(driver, "", workers);
        assert_three_to_two(driver, "strategy = \"round_robin\"", workers);
    }
}

fn weighted_is_round_robin(driver: Driver) {
    for workers in [1, 2] {
        assert_three_to_two(driver, "strategy = \"weighted\"", workers);
    }
}

fn random_keeps_to_the_weights(driver: Driver) {
    let [a, b, c] = ["a", "b", "c"].map(Backend::says);
    for workers in [1, 2] {
        let backends = weighted(&[(&a, 5), (&b, 3), (&c, 2)]);
        let config = pool_of(driver, &backends, "strategy = \"random\"").workers(workers);
        let proxy = Proxy::start(&config);
        let mut shares = Shares::new();
        for _ in 0..4 {
            for (name, count) in ask(&mut proxy.client(), 300) {
                *shares.entry(name).or_default() += count;
            }
        }
        for (name, p) in [("a", 0.5), ("b", 0.3), ("c", 0.2)] {
            assert_about(&shares, name, p);
        }
    }
}

/// Sends `count` requests on connections of their own, each once the one before it is at a backend.
fn fill(proxy: &Proxy, backends: &[&Holding], count: usize) -> Vec<Client> {
    let held = || backends.iter().map(|backend| backend.holds()).sum::<usize>();
    let mut clients = Vec::new();
    for _ in 0..count {
        let before = held();
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        wait_until("the request is at a backend", || held() == before + 1);
        clients.push(client);
    }
    clients
}

fn least_connections_fills_up_by_weight(driver: Driver) {
    for workers in [1, 2] {
        let [a, b, c] = ["a", "b", "c"].map(Holding::says);
        let backends = weighted(&[(&a, 1), (&b, 1), (&c, 2)]);
        let config = pool_of(driver, &backends, "strategy = \"least_connections\"").workers(workers);
        let proxy = Proxy::start(&config);
        let mut clients = Vec::new();
        for round in 1..=5 {
            clients.extend(fill(&proxy, &[&a, &b, &c], 4));
            assert_eq!([&a, &b, &c].map(Holding::holds), [round, round, 2 * round], "{workers} workers");
        }
        [&a, &b, &c].into_iter().for_each(Holding::release_all);
        clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    }
}

fn least_connections_goes_to_whoever_is_done(driver: Driver) {
    let [a, b] = ["a", "b"].map(Holding::says);
    let urls = [a.url(), b.url()];
    let proxy = Proxy::start(&pool(driver, &urls, "strategy = \"least_connections\"").workers(2));
    let clients = fill(&proxy, &[&a, &b], 6);
    assert_eq!((a.holds(), b.holds()), (3, 3));
    b.release_all();
    b.wait_until_it_holds(0);
    // On several connections, and so on both workers.
    for _ in 0..6 {
        let shares = ask(&mut proxy.client(), 5);
        assert_eq!(share(&shares, "b"), 5, "the other is busy: {shares:?}");
    }
    a.release_all();
    drop(clients);
}

fn idle_backends_take_turns_by_least_connections(driver: Driver) {
    let backends = ["a", "b", "c"].map(Backend::says);
    let urls = backends.each_ref().map(Backend::url);
    let proxy = Proxy::start(&pool(driver, &urls, "strategy = \"least_connections\"").workers(2));
    for _ in 0..4 {
        ask(&mut proxy.client(), 30);
    }
    assert_eq!(backends.each_ref().map(Backend::requests), [40, 40, 40]);
}

fn p2c_takes_the_less_busy_of_two(driver: Driver) {
    for workers in [1, 2] {
        let [busy, b, c] = ["busy", "b", "c"].map(Holding::says);
        [&b, &c].into_iter().for_each(Holding::release_all);
        let urls = [busy.url(), b.url(), c.url()];
        let proxy = Proxy::start(&pool(driver, &urls, "strategy = \"p2c\"").workers(workers));
        // Until one is held: there is always another of the two that has less to do.
        let mut clients = Vec::new();
        let came = || busy.requests() + b.requests() + c.requests();
        while busy.requests() == 0 {
            assert!(clients.len() < 100, "it is never chosen");
            let (before, mut client) = (came(), proxy.client());
            client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
            wait_until("it came", || came() > before);
            clients.push(client);
        }
        busy.wait_until_it_holds(1);
        let shares = ask(&mut proxy.client(), 50);
        assert_eq!((share(&shares, "busy"), busy.holds()), (0, 1), "{workers} workers: {shares:?}");
        // That one of two gets nothing of fifty happens once in 10^15 times.
        assert!(share(&shares, "b") > 0 && share(&shares, "c") > 0, "{shares:?}");
        busy.release_all();
    }
}

/// Of two backends it always looks at both.
fn p2c_fills_up_by_weight(driver: Driver) {
    let [a, b] = ["a", "b"].map(Holding::says);
    let config = pool_of(driver, &weighted(&[(&a, 1), (&b, 3)]), "strategy = \"p2c\"").workers(2);
    let proxy = Proxy::start(&config);
    let mut clients = Vec::new();
    for round in 1..=4 {
        clients.extend(fill(&proxy, &[&a, &b], 4));
        assert_eq!((a.holds(), b.holds()), (round, 3 * round));
    }
    [&a, &b].into_iter().for_each(Holding::release_all);
    clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
}

fn p2c_is_even_where_nobody_is_busy(driver: Driver) {
    let backends = ["a", "b", "c"].map(Backend::says);
    for workers in [1, 2] {
        let urls = backends.each_ref().map(Backend::url);
        let proxy = Proxy::start(&pool(driver, &urls, "strategy = \"p2c\"").workers(workers));
        let shares = ask(&mut proxy.client(), 900);
        for name in ["a", "b", "c"] {
            assert_about(&shares, name, 1.0 / 3.0);
        }
    }
}

/// Asks once for each of `count` client addresses, as a trusted peer tells them.
fn ask_from(client: &mut Client, count: usize) -> Shares {
    let mut shares = Shares::new();
    for number in 0..count {
        let address = format!("10.{}.{}.7", number / 250, number % 250);
        let answer =
            client.ask(format!("GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: {address}\r\n\r\n"));
        *shares.entry(answer.text()).or_default() += 1;
    }
    shares
}

fn ip_hash_is_about_the_client_and_not_about_what_it_says(driver: Driver) {
    let backends = ["a", "b", "c"].map(Backend::says);
    let urls = backends.each_ref().map(Backend::url);
    let config = pool(driver, &urls, "strategy = \"ip_hash\"").workers(2);
    let proxy = Proxy::start(&config);
    let mut all = Shares::new();
    for _ in 0..4 {
        // Nobody trusts this client.
        all.extend(ask_from(&mut proxy.client(), 25));
    }
    assert_eq!(all.len(), 1, "one client, several backends: {all:?}");
    proxy.reload(&config.server("trusted_proxies = [\"127.0.0.1\"]"));
    let all = ask_from(&mut proxy.client(), 100);
    assert_eq!(all.len(), 3, "a hundred clients: {all:?}");
}

/// The addresses of the backends are by chance, and so is where the clients go.
fn ip_hash_keeps_to_the_weights(driver: Driver) {
    let [a, b] = ["a", "b"].map(Backend::says);
    let backends = weighted(&[(&a, 3), (&b, 1)]);
    let config = pool_of(driver, &backends, "strategy = \"ip_hash\"");
    let proxy = Proxy::start(&config.server("trusted_proxies = [\"127.0.0.1\"]"));
    assert_about(&ask_from(&mut proxy.client(), 1_000), "a", 0.75);
}

/// Takes its time for each answer.
fn takes(name: &str, time: Duration) -> Backend {
    let name = name.to_owned();
    Backend::answers(move |_| {
        pause(time);
        response("200 OK", "", name.as_bytes())
    })
}

fn least_latency_prefers_the_quick_one(driver: Driver) {
    for workers in [1, 2] {
        let (quick, slow) = (Backend::says("quick"), takes("slow", Duration::from_secs(1)));
        let urls = [quick.url(), slow.url()];
        let proxy = Proxy::start(&pool(driver, &urls, "strategy = \"least_latency\"").workers(workers));
        // Without a sample each is tried first, and then the workers share what they know.
        ask(&mut proxy.client(), 2);
        assert_eq!((quick.requests(), slow.requests()), (1, 1));
        for _ in 0..4 {
            let shares = ask(&mut proxy.client(), 25);
            assert_eq!(share(&shares, "quick"), 25, "{workers} workers: {shares:?}");
        }
    }
}

/// What the slow one was measured to take loses weight with time, until it is measured again.
fn least_latency_measures_the_slow_one_again(driver: Driver) {
    let (quick, slow) = (takes("quick", Duration::from_millis(20)), takes("slow", Duration::from_millis(30)));
    let urls = [quick.url(), slow.url()];
    let proxy = Proxy::start(&pool(driver, &urls, "strategy = \"least_latency\""));
    let mut client = proxy.client();
    // Half of it is gone in seven seconds; here the bound is a number of requests, a minute's at least.
    let bound = 3_000;
    let asked = (0..bound).take_while(|_| {
        ask(&mut client, 1);
        slow.requests() < 2
    });
    assert!(asked.count() < bound, "the slow one was forgotten");
}

/// How slowly a body comes says nothing about who gets it.
fn least_latency_measures_no_client(driver: Driver) {
    let backend = Backend::echoes_body();
    let proxy = Proxy::watched(pool(driver, &[backend.url()], "strategy = \"least_latency\""));
    let mut client = proxy.client();
    client.send("PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhe");
    for part in ["l", "lo"] {
        pause(Duration::from_secs(1));
        client.send(part);
    }
    assert_eq!(client.response().text(), "hello");
    let latency_ms = proxy.upstream_status("u")["backends"][0]["latency_ms"].as_f64();
    assert!(latency_ms.is_some_and(|latency_ms| latency_ms < 1_000.0), "{latency_ms:?}");
}

fn a_backup_gets_requests_only_while_nobody_else_is_there(driver: Driver) {
    let mut first = ["a", "b"].map(Restarting::says);
    let spare = Backend::says("spare");
    let backends = format!(
        "{{ url = \"{}\" }}, {{ url = \"{}\", backup = true }}, {{ url = \"{}\" }}",
        first[0].url(),
        spare.url(),
        first[1].url()
    );
    let proxy = Proxy::start(&pool_of(driver, &backends, "").workers(2));
    let mut clients = [(); 4].map(|()| proxy.client());
    let mut all = |times: usize| {
        clients.iter_mut().fold(Shares::new(), |mut all, client| {
            ask(client, times).into_iter().for_each(|(name, count)| *all.entry(name).or_default() += count);
            all
        })
    };
    assert_eq!(share(&all(10), "spare"), 0);
    first[0].kill();
    let shares = all(10);
    assert_eq!((share(&shares, "b"), share(&shares, "spare")), (40, 0), "one is left: {shares:?}");
    first[1].kill();
    let shares = all(10);
    assert_eq!(share(&shares, "spare"), 40, "nobody is left: {shares:?}");
    first[0].start();
    wait_until("the first one is back", || share(&all(1), "a") == 4);
    assert_eq!(share(&all(10), "a"), 40);
}

fn a_backend_that_came_back_starts_slowly(driver: Driver) {
    let mut backend = Restarting::says("a");
    let other = Backend::says("b");
    let proxy = Proxy::start(&pool(driver, &[backend.url(), other.url()], "slow_start = \"5s\""));
    let mut client = proxy.client();
    assert_eq!(share(&ask(&mut client, 40), "a"), 20);
    backend.kill();
    assert_eq!(share(&ask(&mut client, 10), "b"), 10);
    backend.start();
    wait_until("it is back", || share(&ask(&mut client, 1), "a") == 1);
    // Within its first second it has a fifth of its weight at most, and a sixth of the requests.
    let at_first = share(&ask(&mut client, 40), "a");
    assert!(at_first < 15, "{at_first} of 40 just after it came back");
    let mut seen = vec![at_first];
    wait_until("it has its full share", || {
        pause(Duration::from_millis(100));
        seen.push(share(&ask(&mut client, 40), "a"));
        seen.ends_with(&[20, 20])
    });
    assert!(seen.iter().any(|count| (at_first + 1..20).contains(count)), "it rises: {seen:?}");
}

fn a_reload_changes_weights_at_once(driver: Driver) {
    let [a, b] = ["a", "b"].map(Backend::says);
    let config = |weights: [usize; 2]| -> Config {
        pool_of(driver, &weighted(&[(&a, weights[0]), (&b, weights[1])]), "").workers(2)
    };
    let proxy = Proxy::start(&config([1, 1]));
    let mut clients = [(); 4].map(|()| proxy.client());
    for weights in [[3, 2], [1, 4], [2, 1], [1, 1]] {
        proxy.reload(&config(weights));
        for client in &mut clients {
            let shares = ask(client, 4 * (weights[0] + weights[1]));
            assert_eq!([share(&shares, "a"), share(&shares, "b")], weights.map(|weight| 4 * weight));
        }
    }
}
