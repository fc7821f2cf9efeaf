//! Health of backends: what ejects one, what brings it back, what is bounded, and what becomes of requests meanwhile.

mod probes;

use crate::harness::backend::Backend;
use crate::harness::backends::response;
use crate::harness::client::Client;
use crate::harness::config::{Config, Driver};
use crate::harness::message::Head;
use crate::harness::proxy::Proxy;
use crate::harness::restarting::Restarting;
use crate::harness::status::number;
use crate::harness::unreachable::{Refusing, Unaccepting};
use crate::harness::{held_address, on_both_drivers, pause, wait_until};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

on_both_drivers![
    one_that_refuses_is_ejected_at_once_and_a_probe_brings_it_back,
    one_that_cannot_be_connected_to_is_ejected_at_once,
    a_socket_that_is_not_there_cannot_be_reached,
    one_that_closes_is_ejected_the_third_time,
    one_that_speaks_no_http_is_ejected_the_third_time,
    one_that_is_silent_is_ejected_the_third_time_and_silent_probes_end,
    a_status_counts_where_it_says_so,
    a_status_does_not_count_where_it_does_not_say_so,
    max_failures_holds_for_all,
    a_success_sets_the_count_back,
    what_breaks_after_a_head_is_no_failure,
    clients_that_leave_say_nothing_about_a_backend,
    clients_that_keep_a_backend_waiting_say_nothing_about_it,
    one_that_breaks_uploads_is_judged,
    a_black_hole_is_found_out_however_short_a_response_may_take,
    a_black_hole_is_found_out_by_clients_without_patience,
    a_retry_does_not_ask_an_ejected_one_while_another_is_well,
    each_failure_counts_once,
    an_http_probe_below_500_brings_back,
    a_unix_socket_is_probed,
    a_pool_of_one_is_never_ejected,
    max_ejected_bounds_what_is_away,
    active_probes_eject_and_bring_back_without_a_request,
    without_a_backend_it_is_any,
    without_a_backend_it_fails,
    without_a_backend_it_waits,
    an_answer_where_there_was_no_other_brings_back,
    a_change_of_the_file_keeps_what_is_known_and_the_bounds,
    what_is_known_belongs_to_upstream_and_address,
    one_that_left_the_file_is_probed_no_longer,
    our_own_listener_is_not_probed,
];

/// The probe's path, which no client asks for.
const HEALTH: &str = "/health";

/// For `health`: a probe that one which only takes connections does not pass.
const HTTP: &str = "probe = \"http\", probe_path = \"/health\", probe_timeout = \"300ms\"";

/// Every path goes to `urls`; `health` has its lines, and the upstream further ones.
fn pool(driver: Driver, urls: &[String], health: &str, lines: &str) -> Config {
    let lines = format!("health = {{ {health} }}\n{lines}");
    Config::new(driver).upstream("u", urls).section(&lines).rule_to("all", "/*", "u")
}

/// The log's lines about an event.
fn events(proxy: &Proxy, id: &str) -> Vec<String> {
    let text = proxy.log().text();
    text.lines().filter(|line| line.contains(&event(id))).map(str::to_owned).collect()
}

fn event(id: &str) -> String {
    format!("event=\"{id}\"")
}

fn wait_for(proxy: &Proxy, id: &str) -> String {
    proxy.log().wait_for(0, &event(id))
}

/// As the log has it.
fn address(backend: &Restarting) -> String {
    backend.url().trim_start_matches("http://").to_owned()
}

/// What backends answered to `count` requests, one after the other: their statuses.
fn statuses(client: &mut Client, count: usize) -> Vec<u16> {
    (0..count).map(|_| client.get("/").status).collect()
}

fn heads(backend: &Backend, path: &str) -> Vec<Head> {
    let heads = (0..backend.requests()).map(|index| backend.head(index));
    heads.filter(|head| head.target() == path).collect()
}

/// A backend whose answers to requests and to probes have the statuses that the test says.
struct Moody {
    backend: Backend,
    requests: Arc<AtomicU16>,
    probes: Arc<AtomicU16>,
}

impl Moody {
    fn new(requests: u16, probes: u16) -> Self {
        let (requests, probes) = (Arc::new(AtomicU16::new(requests)), Arc::new(AtomicU16::new(probes)));
        let of = (requests.clone(), probes.clone());
        let backend = Backend::answers(move |request| {
            let status = if request.head.target() == HEALTH { &of.1 } else { &of.0 };
            response(&format!("{} Mood", status.load(Ordering::SeqCst)), "", b"moody")
        });
        Moody { backend, requests, probes }
    }

    fn set(&self, requests: u16, probes: u16) {
        self.requests.store(requests, Ordering::SeqCst);
        self.probes.store(probes, Ordering::SeqCst);
    }

    fn probes(&self) -> usize {
        heads(&self.backend, HEALTH).len()
    }

    /// Waits until `count` more probes have come.
    fn wait_for_probes(&self, count: usize) {
        let before = self.probes();
        wait_until(&format!("{count} more probes"), || self.probes() >= before + count);
    }
}

fn one_that_refuses_is_ejected_at_once_and_a_probe_brings_it_back(driver: Driver) {
    let (mut ill, well) = (Restarting::says("ill"), Backend::says("well"));
    let proxy = Proxy::start(&pool(driver, &[ill.url(), well.url()], "", "").workers(2));
    let mut client = proxy.client();
    assert!((0..10).any(|_| client.get("/").text() == "ill"), "both take part");
    ill.kill();
    assert_eq!(statuses(&mut client, 20), [200; 20], "the other takes over");
    let line = wait_for(&proxy, "backend_ejected");
    for field in [
        "upstream=\"u\"",
        &format!("backend={}", address(&ill)),
        "cause=\"refused\"",
        "available=1",
        "members=2",
    ] {
        assert!(line.contains(field), "{field}: {line}");
    }
    ill.start();
    assert!(wait_for(&proxy, "backend_recovered").contains("cause=\"probe_succeeded\""));
    wait_until("it takes part again", || client.get("/").text() == "ill");
    assert_eq!((events(&proxy, "backend_ejected").len(), events(&proxy, "backend_recovered").len()), (1, 1));
}

/// `ill` is ejected when `failures` requests in a row met it, of which clients see `statuses`; its probes fail, so that it
/// stays away, and no further request comes to it.
fn is_ejected(driver: Driver, ill: &Backend, health: &str, cause: &str, failures: usize, seen: &[u16]) {
    let well = Backend::says("well");
    let health = [HTTP, health].join(", ").trim_end_matches(", ").to_owned();
    let config =
        pool(driver, &[ill.url(), well.url()], &health, "timeouts = { response = \"300ms\" }").workers(2);
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    let answered = statuses(&mut client, 6 * failures);
    let other: Vec<u16> = answered.into_iter().filter(|&status| status != 200).collect();
    assert_eq!(other, seen);
    let line = wait_for(&proxy, "backend_ejected");
    assert!(line.contains(&format!("cause=\"{cause}\"")), "{line}");
    assert_eq!(statuses(&mut client, 50), [200; 50]);
    assert_eq!(heads(ill, "/").len(), failures);
    let probes = || heads(ill, HEALTH).len();
    wait_until("a probe, and another one after the first has failed", || probes() >= 2);
    assert_eq!(statuses(&mut client, 50), [200; 50]);
    assert_eq!((heads(ill, "/").len(), events(&proxy, "backend_recovered").len()), (failures, 0));
}

fn one_that_closes_is_ejected_the_third_time(driver: Driver) {
    is_ejected(driver, &Backend::answers_and_closes(""), "", "closed", 3, &[]);
    is_ejected(driver, &Backend::answers_and_closes("HTTP/1.1 200 OK\r\nA: b"), "", "closed", 3, &[]);
    is_ejected(driver, &Backend::answers_and_resets(""), "", "closed", 3, &[]);
}

fn one_that_speaks_no_http_is_ejected_the_third_time(driver: Driver) {
    is_ejected(driver, &Backend::answers_and_closes("garbage\r\n\r\n"), "", "bad_response", 3, &[]);
}

fn one_that_is_silent_is_ejected_the_third_time_and_silent_probes_end(driver: Driver) {
    is_ejected(driver, &Backend::never_answers(), "", "timeout", 3, &[504; 3]);
}

fn a_status_counts_where_it_says_so(driver: Driver) {
    let says = "unhealthy_status = [\"418\", \"5xx\"]";
    for status in [418, 503] {
        is_ejected(driver, &Moody::new(status, 500).backend, says, "status", 3, &[status; 3]);
    }
}

fn max_failures_holds_for_all(driver: Driver) {
    is_ejected(driver, &Backend::answers_and_closes(""), "max_failures = 1", "closed", 1, &[]);
    let (refusing, well) = (Refusing::new(), Backend::says("well"));
    let urls = [refusing.url(), well.url()];
    let proxy = Proxy::watched(pool(driver, &urls, "max_failures = 4", ""));
    let mut client = proxy.client();
    let failures = || proxy.upstream_status("u")["backends"][0]["failures"].as_u64();
    while failures() < Some(3) {
        assert_eq!(client.get("/").status, 200);
    }
    assert!(events(&proxy, "backend_ejected").is_empty());
    assert_eq!(statuses(&mut client, 2), [200; 2]);
    wait_for(&proxy, "backend_ejected");
}

/// Failures of the upstream's backends since each one's last success, in the order of the file.
fn failures(proxy: &Proxy) -> Vec<usize> {
    let status = proxy.upstream_status("u");
    let backends = status["backends"].as_array().expect("a list");
    backends.iter().map(|backend| number(backend, "failures")).collect()
}

/// How the backend at this place stands.
fn state(proxy: &Proxy, place: usize) -> String {
    proxy.upstream_status("u")["backends"][place]["state"].as_str().expect("a state").to_owned()
}

fn a_success_sets_the_count_back(driver: Driver) {
    let (moody, well) = (Moody::new(503, 500), Backend::says("well"));
    let urls = [moody.backend.url(), well.url()];
    let mut proxy = Proxy::watched(pool(driver, &urls, "unhealthy_status = [\"503\"]", ""));
    let mut client = proxy.client();
    for _ in 0..3 {
        moody.set(503, 500);
        statuses(&mut client, 4);
        assert_eq!(failures(&proxy), [2, 0], "one less than it takes");
        moody.set(404, 500);
        statuses(&mut client, 2);
        assert_eq!(failures(&proxy), [0, 0], "any other status is a success");
    }
    assert!(!proxy.stop().contains(&event("backend_ejected")));
}

/// A response that is begun and broken in the same breath, or later: its status is what counts.
fn what_breaks_after_a_head_is_no_failure(driver: Driver) {
    let later = "5\r\nhello\r\n";
    for (status, body, failed) in [(200, later, 0), (200, "zz\r\n", 0), (503, later, 5), (503, "zz\r\n", 5)] {
        let begins = format!("HTTP/1.1 {status} Well\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let closes = Backend::answers_and_closes(&begins);
        let resets = Backend::answers_and_resets(&begins);
        let health = "max_failures = 6, unhealthy_status = [\"503\"]";
        let proxy = Proxy::watched(pool(driver, &[closes.url(), resets.url()], health, ""));
        for _ in 0..10 {
            proxy.client().send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").rest();
        }
        assert_eq!((closes.requests(), resets.requests()), (5, 5));
        assert_eq!(failures(&proxy), [failed, failed], "{begins:?}");
    }
}

fn clients_that_leave_say_nothing_about_a_backend(driver: Driver) {
    let silent = [Backend::never_answers(), Backend::never_answers()];
    let urls = silent.each_ref().map(Backend::url);
    let mut proxy = Proxy::watched(pool(driver, &urls, "max_failures = 1", ""));
    for count in 1..=5 {
        let clients = [proxy.client(), proxy.client()].map(|mut client| {
            client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
            client
        });
        silent.iter().for_each(|backend| backend.wait_for_requests(count));
        let [leaves, resets] = clients;
        drop(leaves);
        resets.reset();
        proxy.wait_until_nothing_runs();
    }
    assert_eq!(failures(&proxy), [0, 0]);
    assert!(!proxy.stop().contains(&event("backend_ejected")));
}

/// One backend reads on where the client waits for leave to send, the other hangs up when a body has stopped for long.
fn clients_that_keep_a_backend_waiting_say_nothing_about_it(driver: Driver) {
    let hangs_up = Backend::script(|visit| {
        drop((visit.head(), visit.exactly(2)));
        pause(Duration::from_millis(1_500));
    });
    let lines = "timeouts = { response = \"1500ms\" }\nretries = 0";
    for (backend, field, body, answer) in [
        (Backend::never_answers(), "Expect: 100-continue\r\n", "", (504, "upstream_timeout")),
        (hangs_up, "", "he", (502, "upstream_closed")),
    ] {
        let proxy = Proxy::watched(pool(driver, &[backend.url()], "", lines));
        let mut client = proxy.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{field}Content-Length: 5\r\n\r\n{body}"));
        client.response().assert_error(answer.0, answer.1);
        assert_eq!(failures(&proxy), [0], "{answer:?}");
    }
}

/// However the client's pieces come.
fn one_that_breaks_uploads_is_judged(driver: Driver) {
    for answer in ["", "XXXX nonsense\r\n\r\n"] {
        let breaks = Backend::script(move |visit| {
            visit.head();
            visit.send(answer);
        });
        let proxy = Proxy::watched(pool(driver, &[breaks.url()], "", ""));
        for count in 1..=3 {
            let mut client = proxy.client();
            client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhe");
            assert_eq!(client.response().status, 502);
            assert_eq!(failures(&proxy), [count], "{answer:?}");
        }
    }
}

/// The time until a response has not begun while nobody is connected to.
fn a_black_hole_is_found_out_however_short_a_response_may_take(driver: Driver) {
    let (hole, well) = (Unaccepting::new(), Backend::says("well"));
    let lines = "timeouts = { connect = \"1s\", response = \"300ms\" }";
    let proxy = Proxy::watched(pool(driver, &[hole.url(), well.url()], "", lines));
    let mut client = proxy.client();
    let mut statuses: Vec<u16> = (0..2).map(|_| client.get("/").status).collect();
    statuses.sort_unstable();
    // What was left for the other one was nothing.
    assert_eq!(statuses, [200, 504]);
    assert_eq!(state(&proxy, 0), "ejected");
}

/// Who gives up before the timeout is over.
fn a_black_hole_is_found_out_by_clients_without_patience(driver: Driver) {
    let (hole, well) = (Unaccepting::new(), Backend::says("well"));
    let proxy =
        Proxy::watched(pool(driver, &[hole.url(), well.url()], "", "timeouts = { connect = \"1m\" }"));
    wait_until("it is ejected", || {
        let mut client = proxy.client();
        client.read_timeout(Duration::from_secs(2));
        drop(client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").try_response("GET"));
        state(&proxy, 0) == "ejected"
    });
    assert_eq!(proxy.client().get("/").text(), "well");
}

fn a_retry_does_not_ask_an_ejected_one_while_another_is_well(driver: Driver) {
    let moody = Backend::script(|visit| {
        while visit.head().is_some_and(|head| head.target() == "/") {
            visit.send(response("200 OK", "", b"well"));
        }
    });
    let silent = Backend::never_answers();
    let health = format!("{HTTP}, max_failures = 2");
    let lines = "timeouts = { response = \"300ms\" }";
    let proxy = Proxy::watched(pool(driver, &[moody.url(), silent.url()], &health, lines));
    let mut client = proxy.client();
    wait_until("the silent one is ejected", || {
        client.get("/");
        state(&proxy, 1) == "ejected"
    });
    let asked = silent.requests();
    client.get("/moody").assert_error(502, "upstream_closed");
    assert_eq!(state(&proxy, 1), "ejected");
    assert!(silent.requests() - asked <= 1, "a probe may have come, but no request");
    assert_eq!(client.get("/").text(), "well");
}

/// However often a request is tried: at each backend as often as that had it.
fn each_failure_counts_once(driver: Driver) {
    let closes = Backend::answers_and_closes("");
    let moody = Moody::new(503, 500);
    let well = Backend::says("well");
    let urls = [closes.url(), moody.backend.url(), well.url()];
    let health = "unhealthy_status = [\"503\"], max_failures = 1000";
    let proxy = Proxy::watched(pool(driver, &urls, health, "retries = 2"));
    let mut client = proxy.client();
    statuses(&mut client, 30);
    assert_eq!(failures(&proxy), [closes.requests(), moody.backend.requests(), 0]);
    assert!(closes.requests() >= 10 && moody.backend.requests() >= 10);
}

fn a_status_does_not_count_where_it_does_not_say_so(driver: Driver) {
    let (ill, well) = (Moody::new(503, 503), Backend::says("well"));
    let urls = [ill.backend.url(), well.url()];
    let health = format!("{HTTP}, unhealthy_status = [\"502\"]");
    let mut proxy = Proxy::start(&pool(driver, &urls, &health, ""));
    let answered = statuses(&mut proxy.client(), 40);
    assert_eq!(answered.iter().filter(|&&status| status == 503).count(), 20);
    assert!(!proxy.stop().contains(&event("backend_ejected")));
}

fn one_that_cannot_be_connected_to_is_ejected_at_once(driver: Driver) {
    let (ill, well) = (Unaccepting::new(), Backend::says("well"));
    let proxy =
        Proxy::start(&pool(driver, &[ill.url(), well.url()], "", "timeouts = { connect = \"300ms\" }"));
    assert_eq!(statuses(&mut proxy.client(), 10), [200; 10]);
    assert!(wait_for(&proxy, "backend_ejected").contains("cause=\"connect_timeout\""));
}

fn a_socket_that_is_not_there_cannot_be_reached(driver: Driver) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("backend.sock");
    let well = Backend::says("well");
    let urls = [format!("unix:{}", path.display()), well.url()];
    let proxy = Proxy::start_in(directory, &pool(driver, &urls, "", ""));
    let mut client = proxy.client();
    assert_eq!(statuses(&mut client, 4), [200; 4]);
    let line = wait_for(&proxy, "backend_ejected");
    assert!(line.contains("cause=\"refused\"") && line.contains("backend=unix:"), "{line}");
    let _there = Backend::on_unix(&path, |visit| {
        while visit.request().is_some() && visit.send(response("200 OK", "", b"unix")) {}
    });
    wait_for(&proxy, "backend_recovered");
    wait_until("it takes part", || client.get("/").text() == "unix");
}

fn an_http_probe_below_500_brings_back(driver: Driver) {
    let (ill, well) = (Moody::new(503, 500), Backend::says("well"));
    let health = format!("{HTTP}, unhealthy_status = [\"503\"], max_failures = 1");
    let proxy = Proxy::start(&pool(driver, &[ill.backend.url(), well.url()], &health, ""));
    let mut client = proxy.client();
    statuses(&mut client, 2);
    wait_for(&proxy, "backend_ejected");
    ill.wait_for_probes(2);
    assert!(events(&proxy, "backend_recovered").is_empty());
    assert_eq!(statuses(&mut client, 10), [200; 10]);
    let probe = heads(&ill.backend, HEALTH).remove(0);
    assert_eq!(probe.start_line, "GET /health HTTP/1.1");
    assert_eq!(probe.fields.get("host"), Some(ill.backend.address().to_string().as_str()));
    assert_eq!(probe.fields.get("connection"), Some("close"));
    // Any answer below 500 is a sign of life.
    ill.set(200, 404);
    wait_for(&proxy, "backend_recovered");
    wait_until("it takes part again", || client.get("/").text() == "moody");
}

fn a_unix_socket_is_probed(driver: Driver) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("backend.sock");
    let hello = |request: &mut crate::harness::backend::Visit| {
        while request.request().is_some() && request.send(response("200 OK", "", b"unix")) {}
    };
    let ill = Backend::on_unix(&path, hello);
    let well = Backend::says("well");
    let proxy = Proxy::start_in(directory, &pool(driver, &[ill.url(), well.url()], HTTP, ""));
    let mut client = proxy.client();
    assert!((0..10).any(|_| client.get("/").text() == "unix"));
    drop(ill);
    assert_eq!(statuses(&mut client, 10), [200; 10]);
    wait_for(&proxy, "backend_ejected");
    std::fs::remove_file(&path).expect("the socket's file");
    let back = Backend::on_unix(&path, hello);
    wait_for(&proxy, "backend_recovered");
    wait_until("it takes part again", || client.get("/").text() == "unix");
    assert_eq!(heads(&back, HEALTH)[0].fields.get("host"), Some("localhost"));
}

fn a_pool_of_one_is_never_ejected(driver: Driver) {
    let mut only = Restarting::says("only");
    let config = pool(driver, &[only.url()], "max_ejected = \"100%\"", "on_no_backend = \"fail\"");
    let mut proxy = Proxy::start(&config);
    let mut client = proxy.client();
    only.kill();
    for _ in 0..20 {
        client.get("/").assert_error(502, "upstream_refused");
    }
    let line = wait_for(&proxy, "backend_spared");
    assert!(line.contains("no other is available") && line.contains("available=1"), "{line}");
    only.start();
    assert_eq!(client.get("/").text(), "only", "at once");
    only.kill();
    client.get("/").assert_error(502, "upstream_refused");
    let log = proxy.stop();
    let told = |id: &str| log.matches(&event(id)).count();
    assert_eq!((told("backend_spared"), told("backend_ejected")), (1, 0));
}

fn max_ejected_bounds_what_is_away(driver: Driver) {
    let ill: Vec<Refusing> = (0..4).map(|_| Refusing::new()).collect();
    let well = Backend::says("well");
    let urls: Vec<String> = ill.iter().map(Refusing::url).chain([well.url()]).collect();
    let mut proxy = Proxy::start(&pool(driver, &urls, "max_ejected = \"40%\"", "retries = 4").workers(2));
    let mut client = proxy.client();
    // All are met, until the retry budget is spent.
    statuses(&mut client, 100);
    wait_for(&proxy, "backend_spared");
    proxy.log().wait_for_nth(0, &event("backend_ejected"), 1);
    let log = proxy.stop();
    let spared: Vec<&str> = log.lines().filter(|line| line.contains(&event("backend_spared"))).collect();
    assert!(spared.iter().all(|line| line.contains("max_ejected are away")), "{spared:?}");
    assert_eq!(
        (log.matches(&event("backend_ejected")).count(), spared.len()),
        (2, 2),
        "of four that are ill"
    );
}

fn active_probes_eject_and_bring_back_without_a_request(driver: Driver) {
    let mut backends = ["a", "b"].map(Restarting::says);
    let urls = [backends[0].url(), backends[1].url()];
    let health = "active = true, probe_interval = \"1s\", rise = 2, fall = 2";
    let proxy = Proxy::start(&pool(driver, &urls, health, "on_no_backend = \"fail\""));
    backends[0].kill();
    let line = wait_for(&proxy, "backend_ejected");
    assert!(line.contains("cause=\"probe_failed\"") && line.contains(&address(&backends[0])));
    let mut client = proxy.client();
    assert!((0..10).all(|_| client.get("/").text() == "b"));
    backends[1].kill();
    let line = proxy.log().wait_for_nth(0, &event("backend_ejected"), 1);
    assert!(line.contains("available=0"), "even the last one: {line}");
    client.get("/").assert_error(503, "no_backend");
    backends.iter_mut().for_each(Restarting::start);
    proxy.log().wait_for_nth(0, &event("backend_recovered"), 1);
    assert_eq!(statuses(&mut client, 10), [200; 10]);
    assert!(backends.iter().all(|backend| backend.now().accepts() >= 2), "rise");
}

/// A proxy whose only backend answers requests and is ejected by its probes.
fn without_a_backend(driver: Driver, on_no_backend: &str) -> (Proxy, Moody) {
    let backend = Moody::new(200, 500);
    let health = format!("{HTTP}, active = true, probe_interval = \"1s\", rise = 1, fall = 1");
    let lines = format!("on_no_backend = \"{on_no_backend}\"");
    let proxy = Proxy::watched(pool(driver, &[backend.backend.url()], &health, &lines));
    wait_for(&proxy, "backend_ejected");
    (proxy, backend)
}

fn without_a_backend_it_is_any(driver: Driver) {
    let (mut proxy, backend) = without_a_backend(driver, "any");
    assert_eq!(statuses(&mut proxy.client(), 10), [200; 10]);
    backend.wait_for_probes(2);
    assert_eq!(statuses(&mut proxy.client(), 10), [200; 10]);
    let log = proxy.stop();
    assert!(!log.contains(&event("backend_recovered")), "with active probes they alone decide: {log}");
    assert_eq!(log.matches(&event("backend_ejected")).count(), 1);
}

fn without_a_backend_it_fails(driver: Driver) {
    let (proxy, backend) = without_a_backend(driver, "fail");
    let mut client = proxy.client();
    client.get("/").assert_error(503, "no_backend");
    assert!(heads(&backend.backend, "/").is_empty());
    backend.set(200, 200);
    wait_for(&proxy, "backend_recovered");
    assert_eq!(client.get("/").status, 200);
}

fn without_a_backend_it_waits(driver: Driver) {
    let (proxy, backend) = without_a_backend(driver, "wait");
    let mut clients: Vec<Client> = (0..3).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    let waiting = || proxy.upstream_status("u")["waiting_for_backend"].as_u64();
    wait_until("three wait", || waiting() == Some(3));
    assert!(heads(&backend.backend, "/").is_empty());
    backend.set(200, 200);
    assert!(clients.iter_mut().all(|client| client.response().status == 200));
}

fn an_answer_where_there_was_no_other_brings_back(driver: Driver) {
    let mut backends = [0, 1].map(|_| {
        Restarting::answers(|request| {
            let status = if request.head.target() == HEALTH { "500 No" } else { "200 OK" };
            response(status, "", b"there")
        })
    });
    let urls = [backends[0].url(), backends[1].url()];
    let proxy = Proxy::start(&pool(driver, &urls, HTTP, ""));
    let mut client = proxy.client();
    backends.iter_mut().for_each(Restarting::kill);
    client.get("/").assert_error(502, "upstream_refused");
    let line = wait_for(&proxy, "backend_ejected");
    let ejected = usize::from(line.contains(&address(&backends[1])));
    wait_for(&proxy, "backend_spared");
    // The one that was spared goes on to refuse, and the probes of the other fail.
    backends[ejected].start();
    wait_until("a request that it answered brings it back", || {
        // The first that are refused are tried again, until the retry budget is spent.
        client.get("/");
        !events(&proxy, "backend_recovered").is_empty()
    });
    assert!(wait_for(&proxy, "backend_recovered").contains("cause=\"request_succeeded\""));
}

fn a_change_of_the_file_keeps_what_is_known_and_the_bounds(driver: Driver) {
    let (mut ill, well) = (Restarting::says("ill"), Backend::says("well"));
    let (both, alone) = ([ill.url(), well.url()], [ill.url()]);
    let mut proxy = Proxy::watched(pool(driver, &both, "", ""));
    ill.kill();
    assert_eq!(statuses(&mut proxy.client(), 10), [200; 10]);
    wait_for(&proxy, "backend_ejected");
    proxy.reload_watched(&pool(driver, &both, "", "keepalive = 7"));
    assert_eq!(proxy.upstream_status("u")["backends"][0]["state"], "ejected");
    proxy.reload_watched(&pool(driver, &alone, "", "on_no_backend = \"fail\""));
    assert!(wait_for(&proxy, "backend_recovered").contains("cause=\"pool_shrank\""));
    proxy.client().get("/").assert_error(502, "upstream_refused");
    assert_eq!(proxy.stop().matches(&event("backend_ejected")).count(), 1);
}

/// What the status says of one backend.
fn at(proxy: &Proxy, upstream: &str, url: &str) -> serde_json::Value {
    let status = proxy.upstream_status(upstream);
    let backends = status["backends"].as_array().expect("a list").clone();
    backends
        .into_iter()
        .find(|backend| backend["url"] == url)
        .unwrap_or_else(|| panic!("no {url}: {status:#}"))
}

fn what_is_known_belongs_to_upstream_and_address(driver: Driver) {
    let (ill, moody, well) = (Restarting::says("ill"), Moody::new(503, 500), Backend::says("well"));
    let [ill_url, moody_url, well_url] = [ill.url(), moody.backend.url(), well.url()];
    let health = "unhealthy_status = [\"503\"]";
    let config = |name: &str, urls: &[&String]| {
        let urls: Vec<String> = urls.iter().map(|url| (*url).clone()).collect();
        // The same addresses in another upstream, which gets no request.
        let other = Config::new(driver).upstream("other", &urls);
        other.upstream(name, &urls).section(&format!("health = {{ {health} }}")).rule_to("all", "/*", name)
    };
    let mut ill = ill;
    let proxy = Proxy::watched(config("u", &[&ill_url, &moody_url, &well_url]));
    ill.kill();
    let mut client = proxy.client();
    let failing = || number(&at(&proxy, "u", &moody_url), "failures");
    wait_until("one is ejected, and another one on its way", || {
        client.get("/");
        at(&proxy, "u", &ill_url)["state"] == "ejected" && failing() > 0
    });
    let (gone, failed) = (at(&proxy, "u", &ill_url), failing());
    assert!(failed < 3, "it is not there yet");
    for url in [&ill_url, &moody_url] {
        let elsewhere = at(&proxy, "other", url);
        assert_eq!((&elsewhere["state"], &elsewhere["failures"]), (&"alive".into(), &0.into()));
    }
    // In another order, and beside a new one.
    let new = Backend::says("new");
    proxy.reload_watched(&config("u", &[&new.url(), &moody_url, &well_url, &ill_url]));
    let kept = at(&proxy, "u", &ill_url);
    for what in ["state", "since", "cause", "ejections"] {
        assert_eq!(kept[what], gone[what], "{what}");
    }
    assert_eq!(failing(), failed);
    // Another name is another upstream.
    proxy.reload_watched(&config("renamed", &[&ill_url, &moody_url, &well_url]));
    let anew = at(&proxy, "renamed", &ill_url);
    assert_eq!((&anew["state"], &anew["ejections"]), (&"alive".into(), &0.into()));
}

fn one_that_left_the_file_is_probed_no_longer(driver: Driver) {
    let (goes, stays) = (Moody::new(200, 200), Moody::new(200, 200));
    let health = format!("{HTTP}, active = true, probe_interval = \"1s\"");
    let (both, one) = ([goes.backend.url(), stays.backend.url()], [stays.backend.url()]);
    let proxy = Proxy::start(&pool(driver, &both, &health, ""));
    goes.wait_for_probes(1);
    stays.wait_for_probes(1);
    proxy.reload(&pool(driver, &one, &health, ""));
    // One that was on its way may still come.
    stays.wait_for_probes(1);
    let probes = goes.probes();
    stays.wait_for_probes(2);
    assert_eq!(goes.probes(), probes);
}

fn our_own_listener_is_not_probed(driver: Driver) {
    let backend = Moody::new(200, 200);
    let (own, _held) = held_address();
    let own = own.to_string();
    let active = "active = true, probe_interval = \"1s\"";
    let looping = format!("health = {{ probe = \"http\", probe_path = \"/looped\", {active} }}");
    let config = pool(driver, &[backend.backend.url()], &format!("{HTTP}, {active}"), "")
        .listeners(&[&own])
        .upstream("own", &[format!("http://{own}")])
        .section(&looping)
        .rule_to("own", "/own", "own");
    let mut proxy = Proxy::start(&config);
    backend.wait_for_probes(4);
    assert!(heads(&backend.backend, "/looped").is_empty());
    assert!(!proxy.stop().contains(&event("backend_ejected")));
}
