//! Over which connections the endpoint is asked, what becomes of its health, and of clients that do not wait.

use super::{SESSION, config, get, guarding, lets_in, logs_in};
use crate::harness::backend::{Backend, Visit};
use crate::harness::backends::{HELLO, response};
use crate::harness::config::{Config, Driver};
use crate::harness::holding::Holding;
use crate::harness::name_server::{NameServer, on_one_port};
use crate::harness::proxy::Proxy;
use crate::harness::status::number;
use crate::harness::unreachable::Unaccepting;
use crate::harness::{on_both_drivers, wait_until};
use std::net::{IpAddr, SocketAddr};

on_both_drivers![
    one_connection_serves_many_questions,
    each_kind_of_answer_leaves_it_usable,
    one_that_must_not_be_used_again_is_not,
    one_that_was_closed_meanwhile_is_replaced_once,
    a_fresh_one_that_closes_is_not_replaced,
    an_answer_that_breaks_is_not_asked_for_again,
    the_next_address_is_asked_when_one_refuses,
    the_next_address_is_asked_when_one_does_not_accept,
    when_all_refuse_each_was_asked_once,
    the_endpoint_is_an_upstream_like_any,
    a_client_that_leaves_takes_its_question_back,
    a_client_that_leaves_ends_the_connecting,
    a_question_does_not_hold_up_others,
    a_new_configuration_asks_the_new_endpoint,
];

fn one_connection_serves_many_questions(driver: Driver) {
    let (endpoint, backend) = (lets_in(), Backend::says_hello());
    let proxy = guarding(driver, &endpoint, "", &backend);
    for _ in 0..10 {
        let mut client = proxy.client();
        (0..3).for_each(|_| assert_eq!(client.get("/").body, HELLO));
    }
    assert_eq!((endpoint.requests(), endpoint.accepts()), (30, 1));
}

fn each_kind_of_answer_leaves_it_usable(driver: Driver) {
    let (endpoint, backend) = (logs_in(), Backend::says_hello());
    let proxy = guarding(driver, &endpoint, "", &backend);
    let mut client = proxy.client();
    for _ in 0..5 {
        for (lines, status) in [(SESSION, 200), ("", 302), ("Authorization: Basic eA==\r\n", 401)] {
            assert_eq!(client.ask(get("/", lines)).status, status);
        }
    }
    assert_eq!((endpoint.requests(), endpoint.accepts()), (15, 1));
}

fn one_that_must_not_be_used_again_is_not(driver: Driver) {
    let answers: [&[u8]; 6] = [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nX-User: eve\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n",
    ];
    for answer in answers {
        let (endpoint, backend) = (Backend::answers_with(answer), Backend::says_hello());
        let proxy = guarding(driver, &endpoint, "copy_headers = [\"X-User\"]", &backend);
        let mut client = proxy.client();
        (0..3).for_each(|_| drop(client.get("/")));
        assert_eq!((endpoint.requests(), endpoint.accepts()), (3, 3), "{}", String::from_utf8_lossy(answer));
        wait_until("its connections are closed", || endpoint.open() == 0);
        assert!(!(0..backend.requests()).any(|index| backend.head(index).fields.has("x-user")));
    }
}

/// Answers the first question of each connection and closes once the next one has come.
fn closes_on_the_second() -> Backend {
    Backend::script(|visit: &mut Visit| {
        if visit.head().is_some() {
            visit.send(response("200 OK", "", b""));
            visit.head();
        }
    })
}

fn one_that_was_closed_meanwhile_is_replaced_once(driver: Driver) {
    let (endpoint, backend) = (closes_on_the_second(), Backend::says_hello());
    let proxy = Proxy::watched(config(driver, &endpoint.url(), "", &backend));
    let mut client = proxy.client();
    (0..5).for_each(|_| assert_eq!(client.get("/").body, HELLO));
    assert_eq!((endpoint.accepts(), endpoint.requests(), backend.requests()), (5, 9, 5));
    let status = proxy.upstream_status(&endpoint.url());
    assert_eq!(status["backends"][0]["state"], "alive", "that is nobody's failure: {status}");
}

fn a_fresh_one_that_closes_is_not_replaced(driver: Driver) {
    let (endpoint, backend) = (Backend::script(|visit| drop(visit.head())), Backend::says_hello());
    let proxy = guarding(driver, &endpoint, "", &backend);
    proxy.client().get("/").assert_error(503, "auth_unavailable");
    assert_eq!((endpoint.accepts(), endpoint.requests(), backend.accepts()), (1, 1, 0));
}

fn an_answer_that_breaks_is_not_asked_for_again(driver: Driver) {
    let endpoint = Backend::script(|visit| {
        if visit.head().is_some() && visit.send(response("200 OK", "", b"")) && visit.head().is_some() {
            visit.send("HTTP/1.1 200 OK\r\n");
        }
    });
    let backend = Backend::says_hello();
    let proxy = guarding(driver, &endpoint, "", &backend);
    let mut client = proxy.client();
    assert_eq!(client.get("/").body, HELLO);
    client.get("/").assert_error(503, "auth_unavailable");
    assert_eq!((endpoint.accepts(), endpoint.requests(), backend.requests()), (1, 2, 1));
}

/// Every path needs what an endpoint at `app.test` says, at the port of `endpoint` and the addresses that the name has.
fn named(driver: Driver, server: &NameServer, endpoint: &Backend, backend: &Backend, lines: &str) -> Config {
    let url = format!("http://app.test:{}/auth", endpoint.address().port());
    config(driver, &url, lines, backend).section(&NameServer::settings(&[server]))
}

fn the_next_address_is_asked_when_one_refuses(driver: Driver) {
    let [endpoint] = on_one_port(["yes"]);
    let (server, backend) = (NameServer::start(), Backend::says_hello());
    // Nobody listens at the first two.
    let addresses = [IpAddr::from([127, 0, 0, 8]), IpAddr::from([127, 0, 0, 9]), endpoint.address().ip()];
    server.has("app.test", 3600, &addresses);
    let proxy = Proxy::start(&named(driver, &server, &endpoint, &backend, ""));
    let mut client = proxy.client();
    (0..6).for_each(|_| assert_eq!(client.get("/").body, HELLO));
    assert_eq!((endpoint.requests(), endpoint.accepts()), (6, 1));
    let told = endpoint.last_head();
    let host = format!("app.test:{}", endpoint.address().port());
    assert_eq!((told.fields.get("host"), told.target()), (Some(host.as_str()), "/auth"));
}

/// Connecting to one of several does not take all of the time: half of it is left for the next one, which is long enough for a
/// machine that has other things to do.
fn the_next_address_is_asked_when_one_does_not_accept(driver: Driver) {
    let [endpoint] = on_one_port(["yes"]);
    let ip = IpAddr::from([127, 0, 0, 8]);
    let _unaccepting = Unaccepting::at(SocketAddr::new(ip, endpoint.address().port()));
    let (server, backend) = (NameServer::start(), Backend::says_hello());
    server.has("app.test", 3600, &[ip, endpoint.address().ip()]);
    let proxy = Proxy::start(&named(driver, &server, &endpoint, &backend, "timeout = \"10s\""));
    let mut client = proxy.client();
    (0..4).for_each(|_| assert_eq!(client.get("/").body, HELLO));
    let ejected = proxy.log().wait_for(0, "event=\"backend_ejected\"");
    assert!(ejected.contains("cause=\"connect_timeout\"") && ejected.contains("127.0.0.8"), "{ejected}");
}

fn when_all_refuse_each_was_asked_once(driver: Driver) {
    let [endpoint] = on_one_port(["yes"]);
    let (server, backend) = (NameServer::start(), Backend::says_hello());
    server.has("app.test", 3600, &[IpAddr::from([127, 0, 0, 8]), IpAddr::from([127, 0, 0, 9])]);
    let proxy = Proxy::start(&named(driver, &server, &endpoint, &backend, ""));
    proxy.client().get("/").assert_error(503, "auth_unavailable");
    assert_eq!((endpoint.accepts(), backend.accepts()), (0, 0));
}

/// Failures are counted, and what runs there is seen.
fn the_endpoint_is_an_upstream_like_any(driver: Driver) {
    let endpoint = Holding::answers(|_| response("200 OK", "", b""));
    let backend = Backend::says_hello();
    let proxy = Proxy::watched(config(driver, &format!("{}/auth", endpoint.url()), "", &backend));
    let mut client = proxy.client();
    client.send(get("/", ""));
    endpoint.wait_until_it_holds(1);
    let running = || number(&proxy.upstream_status(&endpoint.url())["backends"][0], "running");
    assert_eq!(running(), 1);
    endpoint.release_all();
    assert_eq!(client.response().body, HELLO);
    assert_eq!(running(), 0);
    proxy.wait_until_nothing_runs();
}

fn a_client_that_leaves_takes_its_question_back(driver: Driver) {
    let (endpoint, backend) = (Backend::never_answers(), Backend::says_hello());
    let proxy = Proxy::watched(config(driver, &endpoint.url(), "timeout = \"1h\"", &backend));
    for number in 1..=5 {
        let mut client = proxy.client();
        client.send(get("/", SESSION));
        endpoint.wait_for_requests(number);
        if number % 2 == 0 {
            client.reset()
        } else {
            drop(client)
        }
        wait_until("the question is taken back", || endpoint.open() == 0);
    }
    proxy.wait_until_nothing_runs();
    assert_eq!(backend.accepts(), 0);
    let status = proxy.upstream_status(&endpoint.url());
    assert_eq!(
        status["backends"][0]["state"], "alive",
        "its client's going is no failure of an endpoint: {status}"
    );
}

fn a_client_that_leaves_ends_the_connecting(driver: Driver) {
    let (endpoint, backend) = (Unaccepting::new(), Backend::says_hello());
    let proxy = Proxy::watched(config(driver, &endpoint.url(), "timeout = \"1h\"", &backend));
    let mut client = proxy.client();
    client.send(get("/", SESSION));
    let running = || number(&proxy.upstream_status(&endpoint.url())["backends"][0], "running");
    wait_until("it is being connected to", || running() == 1);
    drop(client);
    proxy.wait_until_nothing_runs();
    assert_eq!(backend.accepts(), 0);
}

fn a_question_does_not_hold_up_others(driver: Driver) {
    let (endpoint, backend) = (Holding::answers(|_| response("200 OK", "", b"")), Backend::says_hello());
    let config = config(driver, &endpoint.url(), "", &backend);
    let proxy = Proxy::start(&config.rule_before("open", "/open", &backend.url()));
    let mut clients: Vec<_> = (0..20).map(|_| proxy.client()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.send(get("/", ""));
        endpoint.wait_until_it_holds(index + 1);
    }
    assert_eq!(proxy.client().get("/open").body, HELLO);
    assert_eq!((endpoint.accepts(), backend.requests()), (20, 1));
    endpoint.release_all();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().body, HELLO));
}

fn a_new_configuration_asks_the_new_endpoint(driver: Driver) {
    let (first, second) = (Holding::answers(|_| response("200 OK", "", b"")), logs_in());
    let backend = Backend::says_hello();
    let proxy = Proxy::start(&config(driver, &first.url(), "", &backend));
    let mut waiting = proxy.client();
    waiting.send(get("/", ""));
    first.wait_until_it_holds(1);
    proxy.reload(&config(driver, &second.url(), "", &backend));
    assert_eq!(proxy.client().get("/").status, 302);
    first.release_all();
    // Who was being asked about comes in under the configuration that it met.
    assert_eq!(waiting.response().body, HELLO);
    assert_eq!(waiting.get("/").status, 302);
    assert_eq!((first.requests(), second.requests()), (1, 2));
}
