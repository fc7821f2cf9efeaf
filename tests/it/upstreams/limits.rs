//! How many exchanges run at one time at a site and at an upstream, and who waits: in which order, how many, how long.

use super::{logged, pool};
use crate::access_log::objects;
use crate::harness::backend::Backend;
use crate::harness::backends::{HELLO, chunked, response};
use crate::harness::client::{Client, Response};
use crate::harness::config::{Config, Driver};
use crate::harness::holding::Holding;
use crate::harness::proxy::Proxy;
use crate::harness::websocket::{assert_echo, close, connect};
use crate::harness::{on_both_drivers, pause};
use nix::sys::signal::Signal;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

on_both_drivers![
    whoever_came_first_goes_first,
    what_runs_is_counted_without_a_limit,
    a_full_line_turns_away,
    nobody_waits_where_nobody_may,
    who_waits_too_long_is_turned_away,
    who_was_turned_away_may_come_again,
    a_client_that_leaves_the_line_frees_its_place,
    a_client_that_has_said_all_may_close_its_side_and_wait,
    a_body_waits_with_its_request,
    no_clock_of_the_exchange_runs_while_it_waits,
    pipelined_requests_take_their_places_one_by_one,
    every_end_frees_the_place,
    a_tunnel_frees_its_place_with_its_101,
    a_tunnel_that_counts_keeps_its_place,
    a_higher_limit_lets_in_at_once,
    a_limit_that_goes_lets_everybody_in,
    a_lower_limit_lets_what_runs_finish,
    a_limit_that_comes_counts_what_runs_already,
    site_and_upstream_limit_together,
    two_sites_share_the_limit_of_their_upstream,
    who_waits_is_served_before_the_end,
    the_log_says_how_long_a_request_waited,
];

/// Where a limit stands.
#[derive(Clone, Copy, Debug)]
enum Scope {
    Site,
    Upstream,
}

const SCOPES: [Scope; 2] = [Scope::Site, Scope::Upstream];

impl Scope {
    /// Everything goes to `url`, and the scope's table has the further `lines`.
    fn config(self, driver: Driver, url: &str, lines: &str) -> Config {
        let urls = [url.to_owned()];
        match self {
            Scope::Upstream => pool(driver, &urls, lines),
            Scope::Site => Config::new(driver).upstream("u", &urls).section(&site("s", "*", lines)),
        }
    }

    /// Waits until so many run and so many wait there.
    #[track_caller]
    fn wait_for(self, proxy: &Proxy, running: usize, waiting: usize) {
        match self {
            Scope::Site => proxy.wait_for_site("s", running, waiting),
            Scope::Upstream => proxy.wait_for_upstream("u", running, waiting),
        }
    }
}

/// A site whose requests go to the upstream `u`.
fn site(name: &str, host: &str, lines: &str) -> String {
    format!("[[sites]]\nname = \"{name}\"\nhosts = [\"{host}\"]\nupstream = \"u\"\n{lines}")
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")
}

/// A client that has sent a GET.
fn asking(proxy: &Proxy, target: &str) -> Client {
    let mut client = proxy.client();
    client.send(get(target));
    client
}

/// One that runs at `backend`, and then `count` that wait in this order, `/0` the first of them.
fn one_and_a_line(proxy: &Proxy, scope: Scope, backend: &Holding, count: usize) -> Vec<Client> {
    let mut clients = vec![asking(proxy, "/runs")];
    backend.wait_until_it_holds(1);
    for number in 0..count {
        clients.push(asking(proxy, &format!("/{number}")));
        scope.wait_for(proxy, 1, number + 1);
    }
    clients
}

/// 503 of this code, which says when to come again.
#[track_caller]
fn assert_turned_away(answer: &Response, code: &str) {
    answer.assert_error(503, code);
    let after = answer.field("retry-after").expect("a Retry-After").parse::<u32>();
    assert!(after.is_ok_and(|seconds| seconds > 0), "{answer:?}");
}

fn whoever_came_first_goes_first(driver: Driver) {
    for scope in SCOPES {
        for workers in [1, 2] {
            let backend = Holding::says("in");
            let config = scope.config(driver, &backend.url(), "max_active = 1");
            let proxy = Proxy::watched(config.workers(workers));
            let mut clients = one_and_a_line(&proxy, scope, &backend, 12);
            for number in 0..12 {
                assert_eq!(backend.requests(), number + 1, "{scope:?}");
                backend.release(1);
                assert_eq!(backend.head(number + 1).target(), format!("/{number}"), "{scope:?}");
            }
            backend.release(1);
            clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "in"));
            assert_eq!(backend.held_at_most(), 1);
            proxy.wait_until_nothing_runs();
        }
    }
}

fn what_runs_is_counted_without_a_limit(driver: Driver) {
    for scope in SCOPES {
        let backend = Holding::says("in");
        let proxy = Proxy::watched(scope.config(driver, &backend.url(), "").workers(2));
        let mut clients: Vec<Client> = (0..20).map(|_| asking(&proxy, "/")).collect();
        backend.wait_until_it_holds(20);
        scope.wait_for(&proxy, 20, 0);
        backend.release_all();
        clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "in"));
        proxy.wait_until_nothing_runs();
    }
}

fn a_full_line_turns_away(driver: Driver) {
    for scope in SCOPES {
        let backend = Holding::says("in");
        let lines = "max_active = 1\nmax_queued = 2";
        let proxy = Proxy::watched(scope.config(driver, &backend.url(), lines).workers(2));
        let mut clients = one_and_a_line(&proxy, scope, &backend, 2);
        for _ in 0..5 {
            assert_turned_away(&proxy.client().get("/late"), "queue_full");
        }
        scope.wait_for(&proxy, 1, 2);
        backend.release_all();
        clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "in"));
        assert_eq!(proxy.client().get("/").text(), "in");
        assert_eq!(backend.requests(), 4);
    }
}

fn nobody_waits_where_nobody_may(driver: Driver) {
    for scope in SCOPES {
        let backend = Holding::says("in");
        let lines = "max_active = 1\nmax_queued = 0";
        let proxy = Proxy::watched(scope.config(driver, &backend.url(), lines));
        let clients = one_and_a_line(&proxy, scope, &backend, 0);
        assert_turned_away(&proxy.client().get("/late"), "queue_full");
        drop(clients);
    }
}

fn who_waits_too_long_is_turned_away(driver: Driver) {
    for scope in SCOPES {
        let backend = Holding::says("in");
        let lines = "max_active = 1\nqueue_timeout = \"300ms\"";
        let proxy = Proxy::watched(scope.config(driver, &backend.url(), lines).workers(2));
        let mut runs = one_and_a_line(&proxy, scope, &backend, 0);
        let mut late: Vec<Client> = (0..5).map(|_| asking(&proxy, "/late")).collect();
        late.iter_mut().for_each(|client| assert_turned_away(&client.response(), "queue_timeout"));
        scope.wait_for(&proxy, 1, 0);
        assert_eq!(backend.requests(), 1, "requests that came to the backend");
        backend.release_all();
        assert_eq!(runs[0].response().text(), "in");
        proxy.wait_until_nothing_runs();
    }
}

/// The connection stays, with a body or without one.
fn who_was_turned_away_may_come_again(driver: Driver) {
    for scope in SCOPES {
        let backend = Holding::says("in");
        let lines = "max_active = 1\nmax_queued = 0";
        let proxy = Proxy::watched(scope.config(driver, &backend.url(), lines));
        let mut runs = one_and_a_line(&proxy, scope, &backend, 0);
        let mut client = proxy.client();
        assert_turned_away(&client.get("/late"), "queue_full");
        let post = "POST /late HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello";
        assert_turned_away(&client.ask(post), "queue_full");
        backend.release_all();
        assert_eq!(runs[0].response().text(), "in");
        assert_eq!(client.get("/again").text(), "in");
    }
}

fn a_client_that_leaves_the_line_frees_its_place(driver: Driver) {
    for scope in SCOPES {
        let backend = Holding::says("in");
        let lines = "max_active = 1\nmax_queued = 3";
        let proxy = Proxy::watched(scope.config(driver, &backend.url(), lines).workers(2));
        let mut clients = one_and_a_line(&proxy, scope, &backend, 3);
        assert_turned_away(&proxy.client().get("/late"), "queue_full");
        // The first, by FIN, and the last, by RST.
        drop(clients.remove(1));
        scope.wait_for(&proxy, 1, 2);
        clients.remove(2).reset();
        scope.wait_for(&proxy, 1, 1);
        clients.push(asking(&proxy, "/next"));
        scope.wait_for(&proxy, 1, 2);
        for (index, target) in ["/1", "/next"].into_iter().enumerate() {
            backend.release(1);
            assert_eq!(backend.head(index + 1).target(), target, "{scope:?}");
        }
        backend.release_all();
        clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "in"));
        assert_eq!(backend.requests(), 3);
        proxy.wait_until_nothing_runs();
    }
}

fn a_client_that_has_said_all_may_close_its_side_and_wait(driver: Driver) {
    for scope in SCOPES {
        let backend = Holding::says("in");
        let proxy = Proxy::watched(scope.config(driver, &backend.url(), "max_active = 1"));
        let mut clients = one_and_a_line(&proxy, scope, &backend, 0);
        let requests =
            ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"];
        for (number, request) in requests.into_iter().enumerate() {
            let mut client = proxy.client();
            client.send(request).finish();
            clients.push(client);
            scope.wait_for(&proxy, 1, number + 1);
        }
        backend.release_all();
        clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "in"));
    }
}

fn a_body_waits_with_its_request(driver: Driver) {
    let body: Vec<u8> = (0..600_000_usize).map(|index| (index ^ (index >> 8)) as u8).collect();
    let framed =
        [("Content-Length: 600000", body.clone()), ("Transfer-Encoding: chunked", chunked(&body, 9_000, ""))];
    for scope in SCOPES {
        for (framing, bytes) in &framed {
            let backend = Holding::answers(|request| response("200 OK", "", &request.body));
            let proxy = Proxy::watched(scope.config(driver, &backend.url(), "max_active = 1"));
            let mut clients = one_and_a_line(&proxy, scope, &backend, 0);
            let mut client = proxy.client();
            let writer = client.writer();
            let answer = std::thread::scope(|threads| {
                threads.spawn(|| {
                    let head = format!("POST / HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n");
                    let request = [head.as_bytes(), bytes].concat();
                    std::io::Write::write_all(&mut &*writer, &request).expect("the proxy takes it");
                });
                scope.wait_for(&proxy, 1, 1);
                backend.release_all();
                client.response()
            });
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(answer.body == body, "another body of {} bytes", answer.body.len());
            assert_eq!(clients[0].response().status, 200);
        }
    }
}

/// Neither those of its client nor those of its backend.
fn no_clock_of_the_exchange_runs_while_it_waits(driver: Driver) {
    for scope in SCOPES {
        let (tell, told) = channel::<()>();
        let told = Mutex::new(told);
        let backend = Backend::script(move |visit| {
            while let Some(request) = visit.request() {
                visit.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nha");
                if request.head.target() == "/runs" {
                    told.lock().unwrap().recv().ok();
                }
                visit.send("lves");
            }
        });
        let clocks =
            "head = \"300ms\"\nidle = \"300ms\"\nbody = \"300ms\"\nwrite = \"300ms\"\nresponse = \"300ms\"";
        let config = scope.config(driver, &backend.url(), "max_active = 1").timeouts(clocks);
        let proxy = Proxy::watched(config);
        let mut clients = [asking(&proxy, "/runs")];
        assert_eq!(clients[0].head().status(), 200);
        let mut post = proxy.client();
        post.send("POST /post HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello");
        scope.wait_for(&proxy, 1, 1);
        let mut waits = asking(&proxy, "/waits");
        scope.wait_for(&proxy, 1, 2);
        pause(Duration::from_secs(1));
        scope.wait_for(&proxy, 1, 2);
        post.send("world");
        drop(tell);
        assert_eq!(clients[0].exactly(6), b"halves");
        assert_eq!((post.response().text(), waits.response().text()), ("halves".into(), "halves".into()));
    }
}

fn pipelined_requests_take_their_places_one_by_one(driver: Driver) {
    let backend = Holding::says("in");
    let proxy = Proxy::watched(pool(driver, &[backend.url()], "max_active = 2"));
    let mut client = proxy.client();
    client.send(["/0", "/1", "/2", "/3"].map(get).concat());
    for number in 0..4 {
        backend.wait_for_requests(number + 1);
        proxy.wait_for_upstream("u", 1, 0);
        backend.release(1);
        assert_eq!(client.response().text(), "in");
    }
    proxy.wait_until_nothing_runs();
}

/// An exchange that ends as it should not.
type End = fn(&Proxy);

/// The first word of the target says what the backend does.
fn ends_badly() -> Backend {
    Backend::script(|visit| {
        while let Some(head) = visit.head() {
            match head.target() {
                "/closes" => return,
                "/garbage" => {
                    visit.send("garbage\r\n\r\n");
                    return;
                }
                "/silent" => visit.until_closed(),
                "/cut" => {
                    visit.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour");
                    return;
                }
                "/stalls" => {
                    visit.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour");
                    visit.until_closed();
                }
                _ => {
                    visit.send("HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, World!");
                }
            }
        }
    })
}

const BAD_ENDS: [(&str, End); 9] = [
    ("the backend closes", |proxy| proxy.client().get("/closes").assert_error(502, "upstream_closed")),
    ("the answer is no HTTP", |proxy| {
        proxy.client().get("/garbage").assert_error(502, "upstream_bad_response");
    }),
    ("the backend is silent", |proxy| proxy.client().get("/silent").assert_error(504, "upstream_timeout")),
    ("the response breaks off", |proxy| {
        proxy.client().send(get("/cut")).try_response("GET").unwrap_err();
    }),
    ("the response stalls", |proxy| {
        proxy.client().send(get("/stalls")).try_response("GET").unwrap_err();
    }),
    ("the client goes at once", |proxy| drop(asking(proxy, "/silent"))),
    ("the client resets in the response", |proxy| {
        let mut client = asking(proxy, "/stalls");
        assert_eq!(client.head().status(), 200);
        client.reset();
    }),
    ("the body is too large", |proxy| {
        let head = "POST /silent HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
        let body = chunked(&[b'x'; 20_000], 5_000, "");
        proxy.client().ask([head.as_bytes(), &body].concat()).assert_error(413, "content_too_large");
    }),
    ("the body stalls", |proxy| {
        let head = "POST /silent HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nfour";
        proxy.client().ask(head).assert_error(408, "request_timeout");
    }),
];

/// With one place: were it not freed, or freed twice, the next ones would tell.
fn every_end_frees_the_place(driver: Driver) {
    for scope in SCOPES {
        let backend = ends_badly();
        let config = scope.config(driver, &backend.url(), "max_active = 1\nqueue_timeout = \"10s\"");
        let timeouts = "response = \"500ms\"\nbody = \"300ms\"\nupstream_body = \"300ms\"";
        let config = config.timeouts(timeouts).limits("max_request_body = \"10KiB\"");
        let proxy = Proxy::watched(config);
        for (what, end) in BAD_ENDS {
            end(&proxy);
            assert_eq!(proxy.client().get("/").body, HELLO, "{scope:?}: {what}");
            scope.wait_for(&proxy, 0, 0);
        }
    }
}

fn a_tunnel_frees_its_place_with_its_101(driver: Driver) {
    for scope in SCOPES {
        let backend = Backend::echoes_messages();
        let proxy = Proxy::watched(scope.config(driver, &backend.url(), "max_active = 1"));
        let mut sockets: Vec<_> = (0..5).map(|_| connect(&proxy.address(), "/")).collect();
        scope.wait_for(&proxy, 0, 0);
        sockets.iter_mut().for_each(|socket| assert_echo(socket, "hello"));
        sockets.iter_mut().for_each(close);
    }
}

fn a_tunnel_that_counts_keeps_its_place(driver: Driver) {
    for scope in SCOPES {
        let backend = Backend::echoes_messages();
        let lines = "max_active = 2\nmax_queued = 0\ncount_tunnels = true";
        let proxy = Proxy::watched(scope.config(driver, &backend.url(), lines));
        let mut sockets: Vec<_> = (0..2).map(|_| connect(&proxy.address(), "/")).collect();
        scope.wait_for(&proxy, 2, 0);
        assert_turned_away(&proxy.client().get("/"), "queue_full");
        sockets.iter_mut().for_each(|socket| assert_echo(socket, "hello"));
        close(&mut sockets.remove(0));
        scope.wait_for(&proxy, 1, 0);
        sockets.push(connect(&proxy.address(), "/"));
        scope.wait_for(&proxy, 2, 0);
        sockets.into_iter().for_each(|mut socket| close(&mut socket));
        proxy.wait_until_nothing_runs();
    }
}

fn a_higher_limit_lets_in_at_once(driver: Driver) {
    for scope in SCOPES {
        let backend = Holding::says("in");
        let config =
            |limit: usize| scope.config(driver, &backend.url(), &format!("max_active = {limit}")).workers(2);
        let proxy = Proxy::watched(config(1));
        let mut clients = one_and_a_line(&proxy, scope, &backend, 5);
        proxy.reload_watched(&config(4));
        backend.wait_until_it_holds(4);
        scope.wait_for(&proxy, 4, 2);
        let came: Vec<String> = (1..4).map(|index| backend.head(index).target().to_owned()).collect();
        // They come in together; which of them is read first is the backend's business.
        assert!(["/0", "/1", "/2"].iter().all(|first| came.iter().any(|one| one == first)), "{came:?}");
        backend.release_all();
        clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "in"));
        assert_eq!(backend.held_at_most(), 4);
    }
}

fn a_limit_that_goes_lets_everybody_in(driver: Driver) {
    for scope in SCOPES {
        let backend = Holding::says("in");
        let proxy = Proxy::watched(scope.config(driver, &backend.url(), "max_active = 1").workers(2));
        let mut clients = one_and_a_line(&proxy, scope, &backend, 5);
        proxy.reload_watched(&scope.config(driver, &backend.url(), "").workers(2));
        backend.wait_until_it_holds(6);
        scope.wait_for(&proxy, 6, 0);
        backend.release_all();
        clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "in"));
    }
}

fn a_lower_limit_lets_what_runs_finish(driver: Driver) {
    for scope in SCOPES {
        let backend = Holding::says("in");
        let config =
            |limit: usize| scope.config(driver, &backend.url(), &format!("max_active = {limit}")).workers(2);
        let proxy = Proxy::watched(config(4));
        let mut clients: Vec<Client> = (0..4).map(|_| asking(&proxy, "/first")).collect();
        backend.wait_until_it_holds(4);
        proxy.reload_watched(&config(2));
        clients.push(asking(&proxy, "/next"));
        scope.wait_for(&proxy, 4, 1);
        for left in [3, 2] {
            backend.release(1);
            scope.wait_for(&proxy, left, 1);
        }
        backend.release(1);
        scope.wait_for(&proxy, 2, 0);
        backend.wait_for_requests(5);
        backend.release_all();
        clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "in"));
        proxy.wait_until_nothing_runs();
    }
}

fn a_limit_that_comes_counts_what_runs_already(driver: Driver) {
    for scope in SCOPES {
        let backend = Holding::says("in");
        let proxy = Proxy::watched(scope.config(driver, &backend.url(), "").workers(2));
        let mut clients: Vec<Client> = (0..3).map(|_| asking(&proxy, "/first")).collect();
        backend.wait_until_it_holds(3);
        proxy.reload_watched(&scope.config(driver, &backend.url(), "max_active = 3").workers(2));
        clients.push(asking(&proxy, "/next"));
        scope.wait_for(&proxy, 3, 1);
        assert_eq!(backend.requests(), 3);
        backend.release_all();
        clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "in"));
        assert_eq!(backend.held_at_most(), 3);
    }
}

fn site_and_upstream_limit_together(driver: Driver) {
    let backend = Holding::says("in");
    let config = Config::new(driver).upstream("u", &[backend.url()]).section("max_active = 1");
    let proxy = Proxy::watched(config.section(&site("s", "*", "max_active = 2\nmax_queued = 1")).workers(2));
    let mut clients = vec![asking(&proxy, "/runs")];
    backend.wait_until_it_holds(1);
    clients.push(asking(&proxy, "/waits-for-the-upstream"));
    proxy.wait_for_upstream("u", 1, 1);
    proxy.wait_for_site("s", 2, 0);
    clients.push(asking(&proxy, "/waits-for-the-site"));
    proxy.wait_for_site("s", 2, 1);
    proxy.wait_for_upstream("u", 1, 1);
    assert_turned_away(&proxy.client().get("/late"), "queue_full");
    for target in ["/waits-for-the-upstream", "/waits-for-the-site"] {
        let count = backend.requests();
        backend.release(1);
        assert_eq!(backend.head(count).target(), target);
    }
    backend.release_all();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "in"));
    assert_eq!(backend.held_at_most(), 1);
    proxy.wait_until_nothing_runs();
}

fn two_sites_share_the_limit_of_their_upstream(driver: Driver) {
    let backend = Holding::says("in");
    let config = Config::new(driver).upstream("u", &[backend.url()]).section("max_active = 2");
    let config = config.section(&site("a", "a.test", "")).section(&site("b", "b.test", "max_active = 1"));
    let proxy = Proxy::watched(config.workers(2));
    let ask = |host: &str| {
        let mut client = proxy.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client
    };
    let mut clients = vec![ask("a.test"), ask("b.test")];
    backend.wait_until_it_holds(2);
    clients.push(ask("a.test"));
    proxy.wait_for_upstream("u", 2, 1);
    clients.push(ask("b.test"));
    proxy.wait_for_site("b", 1, 1);
    proxy.wait_for_site("a", 2, 0);
    backend.release_all();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "in"));
    assert_eq!(backend.held_at_most(), 2);
    proxy.wait_until_nothing_runs();
}

/// SIGTERM: who waits belongs to what runs.
fn who_waits_is_served_before_the_end(driver: Driver) {
    for scope in SCOPES {
        let backend = Holding::says("in");
        let mut proxy = Proxy::watched(scope.config(driver, &backend.url(), "max_active = 1").workers(2));
        let mut clients = one_and_a_line(&proxy, scope, &backend, 3);
        proxy.signal(Signal::SIGTERM);
        proxy.log().wait_for(0, "draining");
        backend.release_all();
        for client in &mut clients {
            assert_eq!(client.response().text(), "in");
            client.assert_closed();
        }
        assert_eq!(proxy.wait().code(), Some(0));
    }
}

fn the_log_says_how_long_a_request_waited(driver: Driver) {
    for scope in SCOPES {
        let backend = Holding::says("in");
        let lines = "max_active = 1\nmax_queued = 1\nqueue_timeout = \"500ms\"";
        let proxy = logged(scope.config(driver, &backend.url(), lines));
        let mut clients = one_and_a_line(&proxy, scope, &backend, 1);
        assert_turned_away(&proxy.client().get("/full"), "queue_full");
        assert_turned_away(&clients[1].response(), "queue_timeout");
        clients.push(asking(&proxy, "/waits"));
        scope.wait_for(&proxy, 1, 1);
        backend.release_all();
        assert_eq!((clients[0].response().text(), clients[2].response().text()), ("in".into(), "in".into()));
        let lines = objects(&proxy, 4);
        let told = |target: &str| {
            let line = lines.iter().find(|line| line["target"] == target).expect("a line");
            let text = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
            (text("code"), text("fault"), line["queued_us"].as_u64(), line["tries"].as_u64())
        };
        assert_eq!(told("/runs"), ("-".into(), "-".into(), None, Some(1)));
        assert_eq!(told("/full"), ("queue_full".into(), "ringway".into(), None, Some(0)));
        let (code, fault, waited, tries) = told("/0");
        assert_eq!((code.as_str(), fault.as_str(), tries), ("queue_timeout", "ringway", Some(0)));
        assert!(waited >= Some(500_000), "{waited:?}");
        assert!(told("/waits").2 > Some(0));
    }
}
