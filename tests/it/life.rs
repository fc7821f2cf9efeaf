//! "Life": configurations that change under traffic, and the signals from the first SIGHUP to the last connection.

use crate::harness::backend::{Backend, Visit};
use crate::harness::backends::{HELLO, response};
use crate::harness::client::{Address, Client};
use crate::harness::config::{Config, Driver};
use crate::harness::message::Ending;
use crate::harness::proxy::Proxy;
use crate::harness::websocket::{assert_echo, close, connect};
use crate::harness::{on_both_drivers, wait_until};
use nix::sys::signal::Signal;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

on_both_drivers![
    a_reload_changes_rules_sites_and_upstreams,
    an_unchanged_file_is_a_revision_too,
    a_bad_file_changes_nothing,
    a_file_that_is_gone_changes_nothing,
    a_listener_that_came_serves,
    a_listener_that_went_ends_after_what_runs,
    a_listener_that_cannot_be_bound_refuses_the_whole,
    connections_and_exchanges_survive_the_loss_of_their_rule,
    an_upload_survives_the_loss_of_its_upstream,
    tunnels_survive_the_loss_of_their_rule,
    idle_backend_connections_that_still_belong_are_kept,
    idle_connections_to_a_removed_backend_are_closed,
    timeouts_change_for_connections_that_are_open,
    a_drain_lets_exchanges_end,
    a_drain_waits_for_tunnels,
    a_drain_ends_at_its_limit,
    a_second_signal_ends_at_once,
    a_drain_reads_no_file,
    two_listeners_serve_the_same_rules,
    unix_sockets_on_both_sides,
    a_connection_too_many_waits,
    two_workers_share_the_connections,
    the_last_line_counts,
];

/// Answers each request with 13 bytes once it is told to.
fn answers_when_told() -> (Backend, Sender<()>) {
    let (tell, told) = channel();
    let told = Mutex::new(told);
    let backend = Backend::answers(move |_| {
        told.lock().unwrap_or_else(PoisonError::into_inner).recv().ok();
        response("200 OK", "", HELLO)
    });
    (backend, tell)
}

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

fn refuses(address: &Address) -> bool {
    TcpStream::connect(address.tcp()).is_err()
}

fn a_reload_changes_rules_sites_and_upstreams(driver: Driver) {
    let [a, b, c] = ["a", "b", "c"].map(Backend::says);
    let proxy = Proxy::start(&Config::new(driver).rule("one", "/one", &a.url()));
    let mut client = proxy.client();
    assert_eq!(client.get("/one").text(), "a");
    client.get("/two").assert_error(404, "no_rule");
    // A rule comes, and one changes.
    proxy.reload(&Config::new(driver).rule("one", "/one", &b.url()).rule("two", "/two", &a.url()));
    assert_eq!((client.get("/one").text(), client.get("/two").text()), ("b".into(), "a".into()));
    // A site with rules of its own comes, a rule goes, an upstream comes.
    let site = "[[sites]]\nname = \"s\"\nhosts = [\"site.test\"]\n[[sites.rules]]\nname = \"all\"\npath = \"*\"\nupstream = \"u\"";
    let with_site = |backend: &Backend| {
        Config::new(driver).upstream("u", &[backend.url()]).section(site).rule("two", "/two", &a.url())
    };
    let ask_site = "GET /one HTTP/1.1\r\nHost: site.test\r\n\r\n";
    proxy.reload(&with_site(&b));
    client.get("/one").assert_error(404, "no_rule");
    assert_eq!((client.ask(ask_site).text(), client.get("/two").text()), ("b".into(), "a".into()));
    // The upstream has another backend.
    proxy.reload(&with_site(&c));
    assert_eq!(client.ask(ask_site).text(), "c");
    // Site and upstream go.
    proxy.reload(&Config::new(driver).rule("two", "/two", &a.url()));
    client.ask(ask_site).assert_error(404, "no_rule");
    proxy.log().wait_for(0, "applied revision 5");
}

fn an_unchanged_file_is_a_revision_too(driver: Driver) {
    let backend = Backend::says_hello();
    let config = Config::to(driver, &backend);
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    for revision in 2..=6 {
        proxy.reload(&config);
        assert!(
            proxy.log().wait_for(0, &format!("applied revision {revision}")).contains("nothing changed"),
            "{}",
            proxy.log().text()
        );
        assert_eq!(client.get("/").body, HELLO);
    }
    assert_eq!(backend.accepts(), 1);
}

fn a_bad_file_changes_nothing(driver: Driver) {
    let backend = Backend::says_hello();
    let config = Config::to(driver, &backend);
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    assert_eq!(client.get("/").body, HELLO);
    let good_part = config.text();
    let first_bad = good_part.lines().count() + 1;
    let bad =
        format!("{good_part}pth = \"/x\"\n[[rules]]\nname = \"b\"\npath = \"b\"\nupstream = \"nobody\"\n");
    let mark = proxy.reload_text(&bad);
    proxy.log().wait_for(mark, "configuration refused");
    // Each problem has its place, and all are there.
    for line in [first_bad, first_bad + 3, first_bad + 4] {
        proxy.log().wait_for(mark, &format!("ringway.toml:{line}:"));
    }
    assert_eq!(client.get("/").body, HELLO);
    assert!(!proxy.log().text().contains("applied revision 2"));
    proxy.reload(&config);
    proxy.log().wait_for(mark, "applied revision 2");
    assert_eq!((client.get("/").body.as_slice(), backend.accepts()), (HELLO, 1));
}

fn a_file_that_is_gone_changes_nothing(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::to(driver, &backend);
    std::fs::remove_file(proxy.config_path()).unwrap();
    proxy.signal(Signal::SIGHUP);
    proxy.log().wait_for(0, "configuration refused");
    proxy.log().wait_for(0, "ringway.toml");
    assert_eq!(proxy.client().get("/").body, HELLO);
}

fn a_listener_that_came_serves(driver: Driver) {
    let backend = Backend::says_hello();
    let config = Config::to(driver, &backend);
    let proxy = Proxy::start(&config);
    let mut old = proxy.client();
    assert_eq!(old.get("/").body, HELLO);
    proxy.reload(&config.clone().listeners(&["127.0.0.1:0", "127.0.0.2:0"]));
    let address = proxy.newest_address();
    assert_eq!(address.tcp().ip().to_string(), "127.0.0.2");
    assert_eq!(Client::connect(&address).get("/").body, HELLO);
    assert_eq!((old.get("/").body.as_slice(), proxy.client().get("/").body.as_slice()), (HELLO, HELLO));
    // It goes and comes back.
    proxy.reload(&config);
    wait_until("the listener is gone", || refuses(&address));
    proxy.reload(&config.listeners(&["127.0.0.1:0", "127.0.0.2:0"]));
    assert_eq!(Client::connect(&proxy.newest_address()).get("/").body, HELLO);
}

fn a_listener_that_went_ends_after_what_runs(driver: Driver) {
    let (backend, tell) = answers_when_told();
    let config = Config::to(driver, &backend).listeners(&["127.0.0.1:0", "127.0.0.2:0"]);
    let proxy = Proxy::start(&config);
    let [stays, goes] = proxy.addresses() else { panic!("two listeners") };
    let mut idle = Client::connect(goes);
    tell.send(()).unwrap();
    assert_eq!(idle.get("/").body, HELLO);
    let mut unused = Client::connect(goes);
    let mut busy = Client::connect(goes);
    busy.send(GET);
    let mut elsewhere = Client::connect(stays);
    elsewhere.send(GET);
    backend.wait_for_requests(3);
    proxy.reload(&config.listeners(&["127.0.0.1:0"]));
    idle.assert_closed();
    unused.assert_closed();
    wait_until("the listener is gone", || refuses(goes));
    tell.send(()).unwrap();
    tell.send(()).unwrap();
    let answer = busy.response();
    assert_eq!((answer.body.as_slice(), answer.field("connection")), (HELLO, Some("close")));
    busy.assert_closed();
    let answer = elsewhere.response();
    assert_eq!((answer.body.as_slice(), answer.field("connection")), (HELLO, None));
    tell.send(()).unwrap();
    assert_eq!(elsewhere.get("/").body, HELLO);
}

fn a_listener_that_cannot_be_bound_refuses_the_whole(driver: Driver) {
    let [old, new] = ["old", "new"].map(Backend::says);
    let proxy = Proxy::start(&Config::to(driver, &old));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let descriptors = proxy.descriptors();
    let wanted = Config::to(driver, &new).listeners(&["127.0.0.1:0", "127.0.0.2:0", &address]);
    let mark = proxy.reload_text(&wanted.text());
    proxy.log().wait_for(mark, "configuration refused");
    proxy.log().wait_for(mark, &address);
    assert_eq!(proxy.client().get("/").text(), "old");
    let before = proxy.addresses().len();
    assert_eq!(proxy.log().text().matches("listening on").count(), before, "{}", proxy.log().text());
    // The client's and the backend's connection at most are left open; the socket that could be bound is not.
    drop(taken);
    proxy.wait_for_descriptors(descriptors + 1);
    proxy.reload(&wanted);
    assert_eq!(Client::connect(&proxy.newest_address()).get("/").text(), "new");
}

fn connections_and_exchanges_survive_the_loss_of_their_rule(driver: Driver) {
    let (backend, tell) = answers_when_told();
    let other = Backend::says("other");
    let config = Config::new(driver).rule("other", "/other", &other.url());
    let proxy = Proxy::start(&config.clone().upstream("u", &[backend.url()]).rule_to("all", "/*", "u"));
    let mut client = proxy.client();
    client.send(GET);
    backend.wait_for_requests(1);
    proxy.reload(&config);
    proxy.client().get("/").assert_error(404, "no_rule");
    tell.send(()).unwrap();
    let answer = client.response();
    assert_eq!((answer.body.as_slice(), answer.field("connection")), (HELLO, None));
    client.get("/").assert_error(404, "no_rule");
    assert_eq!(client.get("/other").text(), "other", "the connection is the same");
}

fn an_upload_survives_the_loss_of_its_upstream(driver: Driver) {
    let backend = Backend::answers(|request| response("200 OK", "", &request.body));
    let config = Config::to(driver, &backend);
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n");
    backend.wait_for_requests(1);
    let other = Backend::says_hello();
    for round in 0..4 {
        client.send("0123456789");
        let expected = (round + 1) * 10;
        wait_until("the backend has that piece", || {
            backend.received(0).ends_with(b"0123456789") && body_length(&backend) == expected
        });
        proxy.reload(&if round % 2 == 0 { Config::to(driver, &other) } else { config.clone() });
    }
    assert_eq!(client.response().text(), "0123456789".repeat(4));
    assert_eq!((backend.requests(), other.requests()), (1, 0));
}

/// Bytes of the first connection behind its first head.
fn body_length(backend: &Backend) -> usize {
    let received = backend.received(0);
    received.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |head| received.len() - head - 4)
}

fn tunnels_survive_the_loss_of_their_rule(driver: Driver) {
    let backend = Backend::echoes_messages();
    let config = Config::to(driver, &backend).listeners(&["127.0.0.1:0", "127.0.0.2:0"]);
    let proxy = Proxy::start(&config);
    let mut sockets: Vec<_> = proxy.addresses().iter().map(|address| connect(address, "/")).collect();
    let changes = [
        Config::to(driver, &backend).timeouts("tunnel_idle = \"10m\""),
        Config::to(driver, &Backend::says_hello()),
        Config::new(driver),
        config,
    ];
    for change in changes {
        proxy.reload(&change);
        // The second one's listener goes with the first change; its tunnel stays.
        for (number, socket) in sockets.iter_mut().enumerate() {
            assert_echo(socket, &format!("message {number}"));
        }
    }
    sockets.iter_mut().for_each(close);
    backend.wait_until_idle();
}

fn idle_backend_connections_that_still_belong_are_kept(driver: Driver) {
    let [a, b] = ["a", "b"].map(Backend::says);
    let proxy = Proxy::start(&Config::to(driver, &a));
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "a");
    let changes = [
        Config::to(driver, &a).rule("more", "/more", &b.url()),
        Config::to(driver, &a).listeners(&["127.0.0.1:0", "127.0.0.2:0"]),
        Config::new(driver).upstream("renamed", &[a.url()]).rule_to("all", "/*", "renamed"),
        Config::new(driver).upstream("u", &[a.url(), b.url()]).rule_to("all", "/*", "u"),
        Config::to(driver, &a),
    ];
    for change in changes {
        proxy.reload(&change);
        // Two of them, so that each of two backends has its turn.
        assert!([client.get("/").text(), client.get("/").text()].contains(&"a".to_owned()));
    }
    assert_eq!(a.accepts(), 1, "the connection was kept over every change");
}

fn idle_connections_to_a_removed_backend_are_closed(driver: Driver) {
    let [a, b] = ["a", "b"].map(Backend::says);
    let proxy = Proxy::start(&Config::to(driver, &a));
    assert_eq!(proxy.client().get("/").text(), "a");
    assert_eq!(a.open(), 1);
    proxy.reload(&Config::to(driver, &b));
    a.wait_until_idle();
    assert_eq!(proxy.client().get("/").text(), "b");
}

fn timeouts_change_for_connections_that_are_open(driver: Driver) {
    let backend = Backend::answers(|request| match request.head.target() {
        "/slow" => Vec::new(),
        _ => response("200 OK", "", HELLO),
    });
    let config = Config::to(driver, &backend);
    let proxy = Proxy::start(&config.clone().timeouts("response = \"1h\""));
    let mut client = proxy.client();
    assert_eq!(client.get("/").body, HELLO);
    proxy.reload(&config.timeouts("response = \"200ms\""));
    client.get("/slow").assert_error(504, "upstream_timeout");
}

fn a_drain_lets_exchanges_end(driver: Driver) {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (backend, tell) = answers_when_told();
        let mut proxy = Proxy::to(driver, &backend);
        let address = proxy.address();
        let mut idle = proxy.client();
        tell.send(()).unwrap();
        assert_eq!(idle.get("/").body, HELLO);
        let mut busy = proxy.client();
        // The second request comes too late.
        busy.send([GET, GET].concat());
        backend.wait_for_requests(2);
        proxy.signal(signal);
        proxy.log().wait_for(0, "draining");
        idle.assert_closed();
        wait_until("new connections are refused", || refuses(&address));
        tell.send(()).unwrap();
        let answer = busy.response();
        assert_eq!((answer.body.as_slice(), answer.field("connection")), (HELLO, Some("close")));
        assert_eq!(busy.rest().0, b"");
        assert_eq!(proxy.wait().code(), Some(0));
        let log = proxy.log().wait_for_end();
        assert!(!log.contains("connections cut") && log.contains("stopped"), "{log}");
        assert_eq!(backend.requests(), 2);
    }
}

fn a_drain_waits_for_tunnels(driver: Driver) {
    let backend = Backend::echoes_messages();
    let mut proxy = Proxy::to(driver, &backend);
    let mut socket = connect(&proxy.address(), "/");
    assert_echo(&mut socket, "before");
    proxy.signal(Signal::SIGTERM);
    wait_until("new connections are refused", || refuses(&proxy.address()));
    assert_echo(&mut socket, "after");
    assert!(proxy.runs());
    close(&mut socket);
    drop(socket);
    assert_eq!(proxy.wait().code(), Some(0));
    assert!(!proxy.log().wait_for_end().contains("connections cut"));
}

fn a_drain_ends_at_its_limit(driver: Driver) {
    let backend = Backend::never_answers();
    let mut proxy = Proxy::start(&Config::to(driver, &backend).server("drain_timeout = \"300ms\""));
    let mut client = proxy.client();
    client.send(GET);
    backend.wait_for_requests(1);
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait().code(), Some(0));
    let log = proxy.log().wait_for_end();
    assert!(log.contains("connections cut: server.drain_timeout ran out"), "{log}");
    let (bytes, ending) = client.rest();
    assert_eq!(bytes, b"");
    assert_ne!(ending, Ending::Silence);
}

fn a_second_signal_ends_at_once(driver: Driver) {
    for second in [Signal::SIGTERM, Signal::SIGINT] {
        let backend = Backend::never_answers();
        // A drain that were waited for would take longer than any test waits.
        let mut proxy = Proxy::start(&Config::to(driver, &backend).server("drain_timeout = \"1h\""));
        let mut client = proxy.client();
        client.send(GET);
        backend.wait_for_requests(1);
        proxy.signal(Signal::SIGTERM);
        proxy.log().wait_for(0, "draining");
        assert!(proxy.runs());
        proxy.signal(second);
        assert_eq!(proxy.wait().code(), Some(4));
        assert!(proxy.log().wait_for_end().contains("connections cut: second signal"));
    }
}

fn a_drain_reads_no_file(driver: Driver) {
    let (backend, tell) = answers_when_told();
    let mut proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    client.send(GET);
    backend.wait_for_requests(1);
    proxy.signal(Signal::SIGTERM);
    proxy.log().wait_for(0, "draining");
    proxy.reload_text(&Config::to(driver, &backend).text());
    proxy.log().wait_for(0, "not read again");
    wait_until("connections are refused", || refuses(&proxy.address()));
    tell.send(()).unwrap();
    assert_eq!(client.response().body, HELLO);
    assert_eq!(proxy.wait().code(), Some(0));
}

fn two_listeners_serve_the_same_rules(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::start(&Config::to(driver, &backend).listeners(&["127.0.0.1:0", "127.0.0.2:0"]));
    assert_eq!(proxy.addresses().len(), 2);
    for address in proxy.addresses() {
        assert_eq!(Client::connect(address).get("/").body, HELLO);
    }
    assert_eq!((backend.requests(), backend.accepts()), (2, 1));
}

fn unix_sockets_on_both_sides(driver: Driver) {
    // Not the proxy's directory, since that goes before the backend does.
    let sockets = tempfile::tempdir().unwrap();
    let [front, back] = ["front.sock", "back.sock"].map(|name| sockets.path().join(name));
    let backend = Backend::on_unix(&back, |visit: &mut Visit| {
        while let Some(request) = visit.request() {
            visit.send(response("200 OK", "", &request.body));
        }
    });
    let config = Config::to(driver, &backend).listeners(&[&format!("unix:{}", front.display())]);
    let mut proxy = Proxy::start(&config);
    assert_eq!(proxy.address(), Address::Unix(front.clone()));
    let mut client = proxy.client();
    let body = "x".repeat(300_000);
    for _ in 0..3 {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        assert_eq!(client.ask(request).text(), body);
    }
    assert_eq!(backend.accepts(), 1);
    proxy.reload(&config);
    assert_eq!(proxy.client().get("/").status, 200);
    proxy.stop();
    assert!(!front.exists(), "the socket's file is left behind");
}

fn a_connection_too_many_waits(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::start(&Config::to(driver, &backend).server("max_connections = 2"));
    let mut first = proxy.client();
    assert_eq!(first.get("/").body, HELLO);
    let mut second = proxy.client();
    assert_eq!(second.get("/").body, HELLO);
    let mut third = proxy.client();
    third.send(GET);
    // Too short a wait, and a proxy that is wrong passes; never the other way.
    third.read_timeout(Duration::from_millis(400));
    let cut = third.try_response("GET").expect_err("the third connection was served");
    assert_eq!((cut.ending, backend.requests()), (Ending::Silence, 2));
    assert_eq!(second.get("/").body, HELLO, "the others are served meanwhile");
    drop(first);
    third.read_timeout(crate::harness::DEADLINE);
    assert_eq!(third.response().body, HELLO);
}

/// Each worker has idle connections of its own, so requests one after the other tell how many workers serve.
fn two_workers_share_the_connections(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::start(&Config::to(driver, &backend).workers(2));
    let mut clients = Vec::new();
    wait_until("both workers serve", || {
        let mut client = proxy.client();
        assert_eq!(client.get("/").body, HELLO);
        clients.push(client);
        backend.accepts() == 2
    });
    for client in &mut clients {
        assert_eq!(client.get("/").body, HELLO);
    }
    assert_eq!(backend.accepts(), 2);
}

fn the_last_line_counts(driver: Driver) {
    let backend = Backend::answers(|request| match request.head.target() {
        "/missing" => response("404 Not Found", "", b""),
        _ => response("200 OK", "", HELLO),
    });
    let mut proxy = Proxy::start(&Config::to(driver, &backend).workers(2));
    for _ in 0..3 {
        let mut client = proxy.client();
        assert_eq!((client.get("/").status, client.get("/missing").status), (200, 404));
    }
    proxy.client().ask("GET / HTTP/1.1\r\n\r\n").assert_error(400, "bad_request");
    let log = proxy.stop();
    let line = log.lines().find(|line| line.contains(" requests on ")).expect("a summary");
    assert!(
        line.contains(" on 4 connections") && line.contains("2xx 3,") && line.contains("4xx 4,"),
        "{line}"
    );
    assert!(line.contains(" 6 requests") && line.contains("bad_request 1"), "{line}");
}
