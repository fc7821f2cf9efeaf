//! "Names": backends that are written as host names, looked up at name servers of the test. Workers take no part in that, so
//! that one driver is enough; but in what becomes of their connections when the addresses change.

use crate::harness::backend::{Backend, Visit};
use crate::harness::backends::{HELLO, response};
use crate::harness::client::Client;
use crate::harness::config::{Config, Driver};
use crate::harness::name_server::{NameServer, Said, on_one_port, scripts_on_one_port};
use crate::harness::proxy::Proxy;
use crate::harness::status::number;
use crate::harness::websocket::{handshake, switching};
use crate::harness::{on_both_drivers, wait_until};
use serde_json::Value;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

on_both_drivers![addresses_that_leave_are_drained_and_those_that_stay_keep_what_is_known];

/// Seconds: an answer that is not asked for again while a test runs.
const LONG: u32 = 3600;

/// Addresses of one name: nearly as many as one answer has room for.
const MANY: usize = 4_000;

/// Every path goes to the port of `backend`, at the addresses that `name` has.
fn config(servers: &[&NameServer], name: &str, backend: &Backend) -> Config {
    config_on(Driver::Epoll, servers, name, backend)
}

fn config_on(driver: Driver, servers: &[&NameServer], name: &str, backend: &Backend) -> Config {
    let url = format!("http://{name}:{}", backend.address().port());
    let config = Config::new(driver).section(&NameServer::settings(servers));
    config.upstream("named", &[url]).rule_to("all", "/*", "named")
}

fn ip(backend: &Backend) -> IpAddr {
    backend.address().ip()
}

fn wait_for_answer_of(proxy: &Proxy, text: &str) {
    let mut client = proxy.client();
    wait_until(&format!("{text:?} answers"), || client.get("/").text() == text);
}

#[test]
fn an_answer_that_changes_moves_the_traffic() {
    let [one, two] = on_one_port(["one", "two"]);
    let server = NameServer::start();
    server.has("app.test", 1, &[ip(&one)]);
    let proxy = Proxy::start(&config(&[&server], "app.test", &one));
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "one");
    server.has("app.test", 1, &[ip(&two)]);
    wait_for_answer_of(&proxy, "two");
    assert_eq!(client.get("/").text(), "two");
    let before = one.requests();
    (0..10).for_each(|_| assert_eq!(client.get("/").text(), "two"));
    assert_eq!(one.requests(), before);
}

/// Tunnels send back four bytes, downloads stop half-way until they may go on, and all else is greeted.
fn serve(visit: &mut Visit, go_on: &AtomicBool) {
    while let Some(head) = visit.head() {
        match head.target() {
            "/tunnel" => {
                visit.send(switching(&head));
                while let Some(bytes) = visit.exactly(4) {
                    visit.send(bytes);
                }
                return;
            }
            "/download" => {
                let begin = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 2 * HELLO.len());
                visit.send([begin.as_bytes(), HELLO].concat());
                wait_until("the download goes on", || go_on.load(Ordering::SeqCst) || visit.stopping());
                visit.send(HELLO);
            }
            _ => _ = visit.send(response("200 OK", "", HELLO)),
        }
    }
}

/// What the status says of the address that ends in `last`.
fn at(proxy: &Proxy, last: u8) -> Option<Value> {
    let status = proxy.upstream_status("named");
    let of = |backend: &&Value| {
        backend["address"].as_str().is_some_and(|ip| ip.starts_with(&format!("127.0.0.{last}:")))
    };
    status["backends"].as_array().expect("a list").iter().find(of).cloned()
}

fn addresses_that_leave_are_drained_and_those_that_stay_keep_what_is_known(driver: Driver) {
    let go_on = Arc::new(AtomicBool::new(false));
    let script = || {
        let go_on = go_on.clone();
        move |visit: &mut Visit| serve(visit, &go_on)
    };
    let [leaves, stays, comes] = scripts_on_one_port([script(), script(), script()]);
    // Nobody listens there.
    let ill = IpAddr::from([127, 0, 0, 9]);
    let server = NameServer::start();
    server.has("app.test", 1, &[ip(&leaves), ip(&stays), ill]);
    let proxy = Proxy::watched(config_on(driver, &[&server], "app.test", &leaves));
    let mut client = proxy.client();
    (0..6).for_each(|_| assert_eq!(client.get("/").status, 200));
    proxy.log().wait_for(0, "event=\"backend_ejected\"");
    let begun = |request: String, bytes: &[u8]| -> [Client; 2] {
        [(), ()].map(|()| {
            let mut client = proxy.client();
            assert!(client.send(&request).head().start_line.starts_with("HTTP/1.1 "));
            assert_eq!(client.exactly(bytes.len()), bytes);
            client
        })
    };
    // In turn: one of each at both.
    let downloads = begun("GET /download HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(), HELLO);
    let tunnels = begun(handshake("/tunnel", ""), b"");
    let running = |last| at(&proxy, last).map(|backend| number(&backend, "running"));
    wait_until("both have both", || (running(1), running(2)) == (Some(2), Some(2)));
    let (requests, ejected) = (leaves.requests(), at(&proxy, 9).expect("it is there"));
    assert_eq!(ejected["state"], "ejected");

    server.has("app.test", 1, &[ip(&stays), ip(&comes), ill]);
    wait_until("one has gone", || at(&proxy, 1).is_none() && at(&proxy, 3).is_some());
    assert_eq!(running(2), Some(2), "what runs is counted");
    let still = at(&proxy, 9).expect("it is still there");
    for what in ["state", "since", "cause", "ejections"] {
        assert_eq!(still[what], ejected[what], "{what}");
    }
    (0..10).for_each(|_| assert_eq!(client.get("/").status, 200));
    assert!(leaves.requests() == requests && comes.requests() > 0);
    wait_until("its idle connections close", || leaves.open() == 2);

    go_on.store(true, Ordering::SeqCst);
    for mut client in downloads {
        assert_eq!(client.exactly(HELLO.len()), HELLO);
        assert_eq!(client.get("/").status, 200, "the client's connection goes on");
    }
    wait_until("its last one with a request closes", || leaves.open() == 1);
    for mut client in tunnels {
        assert_eq!(client.send("ping").exactly(4), b"ping");
    }
    leaves.wait_until_idle();
    assert_eq!(leaves.requests(), requests);
    proxy.wait_until_nothing_runs();
}

#[test]
fn the_closing_dot_of_a_name_is_for_the_name_server() {
    let [one] = on_one_port(["one"]);
    let server = NameServer::start();
    server.has("app.test", LONG, &[ip(&one)]);
    let proxy = Proxy::watched(config(&[&server], "app.test.", &one));
    assert_eq!(proxy.client().ask("GET / HTTP/1.0\r\n\r\n").text(), "one");
    let port = one.address().port();
    assert_eq!(one.last_head().fields.get("host"), Some(format!("app.test:{port}").as_str()));
    assert_eq!(at(&proxy, 1).expect("it resolves")["url"], format!("http://app.test.:{port}"));
}

#[test]
fn a_name_that_gets_no_answer_holds_nothing_else_up() {
    let [one, two] = on_one_port(["one", "two"]);
    let server = NameServer::start();
    server.has("app.test", 1, &[ip(&one)]);
    let mut config = config(&[&server], "app.test", &one);
    for number in 0..10 {
        server.say(&format!("silent{number}.test"), Said::Silence);
        config = config.upstream(&format!("u{number}"), &[format!("http://silent{number}.test:1")]);
    }
    let proxy = Proxy::start(&config);
    assert_eq!(proxy.client().get("/").text(), "one");
    server.has("app.test", 1, &[ip(&two)]);
    wait_for_answer_of(&proxy, "two");
    proxy.reload(&config);
    assert_eq!(proxy.client().get("/").text(), "two");
}

#[test]
fn all_addresses_share_the_traffic() {
    let [one, two] = on_one_port(["one", "two"]);
    let server = NameServer::start();
    // What no backend can have is left out.
    let addresses =
        ["0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1"].map(|ip| ip.parse().unwrap());
    server.has("app.test", LONG, &[&[ip(&two), ip(&one)], &addresses[..]].concat());
    let proxy = Proxy::start(&config(&[&server], "app.test", &one));
    let mut client = proxy.client();
    (0..20).for_each(|_| assert_eq!(client.get("/").status, 200));
    assert_eq!((one.requests(), two.requests()), (10, 10));
    proxy.log().wait_for(0, "left_out=5");
}

#[test]
fn the_last_good_answer_is_kept_while_lookups_fail() {
    let [one, two] = on_one_port(["one", "two"]);
    let server = NameServer::start();
    let mut mark = 0;
    server.has("app.test", 1, &[ip(&one)]);
    let proxy = Proxy::start(&config(&[&server], "app.test", &one));
    let mut client = proxy.client();
    for failure in [Said::Failure, Said::Addresses { ttl: 1, addresses: Vec::new() }] {
        server.say("app.test", failure);
        proxy.log().wait_for(mark, "its last addresses are kept");
        assert_eq!(client.get("/").text(), "one");
        mark = proxy.log().mark();
        server.has("app.test", 1, &[ip(&one)]);
        proxy.log().wait_for(mark, "backend host name resolves");
    }
    server.say("app.test", Said::Failure);
    proxy.log().wait_for(mark, "its last addresses are kept");
    server.has("app.test", 1, &[ip(&two)]);
    wait_for_answer_of(&proxy, "two");
}

#[test]
fn a_name_that_does_not_resolve_is_a_backend_that_is_down_until_it_does() {
    let [one] = on_one_port(["one"]);
    let server = NameServer::start();
    let proxy = Proxy::start(&config(&[&server], "app.test", &one));
    proxy.log().wait_for(0, "no requests can go there");
    proxy.client().get("/").assert_error(502, "upstream_dns");
    server.has("app.test", LONG, &[ip(&one)]);
    wait_for_answer_of(&proxy, "one");
}

#[test]
fn a_reload_does_not_fail_for_a_name_that_does_not_resolve() {
    let [one] = on_one_port(["one"]);
    let server = NameServer::start();
    server.has("app.test", LONG, &[ip(&one)]);
    let known = config(&[&server], "app.test", &one);
    let proxy = Proxy::start(&known);
    proxy.reload(&config(&[&server], "absent.test", &one));
    let mut client = proxy.client();
    client.get("/").assert_error(502, "upstream_dns");
    proxy.reload(&known);
    assert_eq!(client.get("/").text(), "one");
}

#[test]
fn an_answer_that_is_cut_off_is_asked_for_over_tcp() {
    let [one] = on_one_port(["one"]);
    let server = NameServer::start();
    server.say("app.test", Said::OverTcp { ttl: LONG, addresses: vec![ip(&one)] });
    let many = (0..MANY).map(|last| IpAddr::from([127, 1, (last / 250) as u8, (last % 250) as u8])).collect();
    server.say("many.test", Said::OverTcp { ttl: LONG, addresses: many });
    let rest = "[[rules]]\nname = \"many\"\npath = \"/many\"\ntarget = \"http://many.test:1\"";
    let proxy = Proxy::start(&config(&[&server], "app.test", &one).section(rest));
    assert_eq!(proxy.client().get("/").text(), "one");
    // So many addresses of one name take part.
    proxy.log().wait_for(0, &format!("left_out={}", MANY - 64));
    assert!(server.asked_over_tcp() >= 4);
}

#[test]
fn a_server_that_is_silent_or_fails_is_passed_over() {
    let [one] = on_one_port(["one"]);
    let [silent, broken, good] = [NameServer::start(), NameServer::start(), NameServer::start()];
    silent.say("app.test", Said::Silence);
    broken.say("app.test", Said::Failure);
    good.has("app.test", 1, &[ip(&one)]);
    let proxy = Proxy::start(&config(&[&silent, &broken, &good], "app.test", &one));
    wait_for_answer_of(&proxy, "one");
    // From then on the one that answered is asked first.
    let (before, asked) = (silent.asked("app.test"), good.asked("app.test"));
    wait_until("the good one is asked again", || good.asked("app.test") >= asked + 4);
    assert_eq!(silent.asked("app.test"), before);
}

#[test]
fn a_reload_changes_the_name_servers() {
    let [one, two] = on_one_port(["one", "two"]);
    let [before, after] = [NameServer::start(), NameServer::start()];
    before.has("app.test", LONG, &[ip(&one)]);
    after.has("app.test", LONG, &[ip(&two)]);
    let proxy = Proxy::start(&config(&[&before], "app.test", &one));
    assert_eq!(proxy.client().get("/").text(), "one");
    let asked = before.asked("app.test");
    proxy.reload(&config(&[&after], "app.test", &one));
    wait_for_answer_of(&proxy, "two");
    assert_eq!((before.asked("app.test"), after.asked("app.test")), (asked, 2));
}

#[test]
fn a_reload_that_is_refused_changes_no_name_server() {
    let [one, two] = on_one_port(["one", "two"]);
    let [before, after] = [NameServer::start(), NameServer::start()];
    before.has("app.test", 1, &[ip(&one)]);
    after.has("app.test", 1, &[ip(&two)]);
    let config = |server| config(&[server], "app.test", &one);
    let proxy = Proxy::start(&config(&before));
    // A listener that cannot be bound refuses the whole, after names were looked up.
    let taken = Backend::says_hello();
    let refused = config(&after).listeners(&["127.0.0.1:0", &taken.address().to_string()]);
    let mark = proxy.reload_text(&refused.text());
    proxy.log().wait_for(mark, "configuration refused");
    let asked = before.asked("app.test");
    wait_until("the old one is asked again", || before.asked("app.test") >= asked + 2);
    assert_eq!((proxy.client().get("/").text().as_str(), after.asked("app.test")), ("one", 0));
}

#[test]
fn a_reload_goes_from_the_system_to_name_servers_and_back() {
    let [one, two] = on_one_port(["one", "two"]);
    let server = NameServer::start();
    server.has("localhost.app.test", LONG, &[ip(&two)]);
    let by_server = config(&[&server], "localhost.app.test", &one);
    let by_system = Config::new(Driver::Epoll)
        .upstream("named", &[format!("http://localhost:{}", one.address().port())])
        .rule_to("all", "/*", "named");
    let proxy = Proxy::start(&by_system);
    wait_for_answer_of(&proxy, "one");
    proxy.reload(&by_server);
    wait_for_answer_of(&proxy, "two");
    proxy.reload(&by_system);
    wait_for_answer_of(&proxy, "one");
}

#[test]
fn a_reload_changes_how_often_a_name_is_asked() {
    let [one, two] = on_one_port(["one", "two"]);
    let server = NameServer::start();
    server.has("app.test", LONG, &[ip(&one)]);
    let config = config(&[&server], "app.test", &one);
    let proxy = Proxy::start(&config);
    assert_eq!(proxy.client().get("/").text(), "one");
    server.has("app.test", LONG, &[ip(&two)]);
    let url = format!("http://app.test:{}", one.address().port());
    let often =
        format!("[[upstreams]]\nname = \"often\"\ndns_refresh = \"1s\"\nbackends = [{{ url = \"{url}\" }}]");
    // The name is asked as often as the upstream wants that wants it most often.
    proxy.reload(&config.section(&often));
    wait_for_answer_of(&proxy, "two");
}

#[test]
fn a_name_is_asked_once_however_many_upstreams_use_it() {
    let [one] = on_one_port(["one"]);
    let server = NameServer::start();
    server.has("app.test", LONG, &[ip(&one)]);
    let url = format!("http://app.test:{}", one.address().port());
    let mut config = config(&[&server], "app.test", &one);
    for number in 0..20 {
        config = config.upstream(&format!("u{number}"), std::slice::from_ref(&url));
    }
    let proxy = Proxy::start(&config);
    assert_eq!(proxy.client().get("/").text(), "one");
    proxy.reload(&config);
    assert_eq!(server.asked("app.test"), 2);
}

#[test]
fn a_name_that_is_no_longer_used_is_not_asked() {
    let [one] = on_one_port(["one"]);
    let server = NameServer::start();
    server.has("stays.test", 1, &[ip(&one)]);
    server.has("goes.test", 1, &[ip(&one)]);
    let stays = config(&[&server], "stays.test", &one);
    let goes = format!("http://goes.test:{}", one.address().port());
    let proxy = Proxy::start(&stays.clone().upstream("goes", &[goes]));
    wait_until("both are asked again", || server.asked("goes.test") >= 4 && server.asked("stays.test") >= 4);
    proxy.reload(&stays);
    // A question that was on its way is there by then.
    let asked = server.asked("stays.test");
    wait_until("the other is asked again", || server.asked("stays.test") >= asked + 2);
    let (gone, asked) = (server.asked("goes.test"), server.asked("stays.test"));
    wait_until("the other is asked again", || server.asked("stays.test") >= asked + 4);
    assert_eq!(server.asked("goes.test"), gone);
}

#[test]
fn a_start_waits_for_names_for_a_bounded_time() {
    let [one] = on_one_port(["one"]);
    // Bound and never read.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = silent.local_addr().unwrap();
    let url = format!("http://app.test:{}", one.address().port());
    let config = Config::new(Driver::Epoll)
        .section(&format!("[dns]\nresolver = \"dns\"\nservers = [\"{address}\"]"))
        .upstream("named", &[url])
        .rule_to("all", "/*", "named");
    let proxy = Proxy::start(&config);
    proxy.log().wait_for(0, "still being looked up");
    proxy.client().get("/").assert_error(502, "upstream_dns");
}
