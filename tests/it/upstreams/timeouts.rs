//! Timeouts at every level that may set them: the rule's is preferred to the upstream's, that to the site's, and that to the
//! file's. What each of them does to an exchange, and where its clock starts, stands in `crate::timeouts` and `crate::slow`;
//! here each ends one for every level, and leaves nothing.

use super::pool;
use crate::harness::backend::Backend;
use crate::harness::backends::{HELLO, response};
use crate::harness::client::Client;
use crate::harness::config::{Config, Driver};
use crate::harness::message::Ending;
use crate::harness::proxy::Proxy;
use crate::harness::unreachable::{Crowded, Unaccepting};
use crate::harness::websocket::{assert_echo, close, connect, handshake, switching};
use crate::harness::{on_both_drivers, pause};
use std::time::Duration;

on_both_drivers![
    connecting_ends_at_the_nearest_limit,
    who_goes_away_ends_connecting,
    a_silent_backend_ends_at_the_nearest_limit,
    a_stalled_response_ends_at_the_nearest_limit,
    a_silent_tunnel_ends_at_the_nearest_limit,
    an_idle_connection_ends_at_the_nearest_limit,
    a_stalled_request_ends_at_the_nearest_limit,
    a_client_that_does_not_read_ends_at_the_nearest_limit,
    the_nearest_limit_may_be_the_longest,
    a_reload_changes_the_limits_of_the_next_exchange,
];

/// Who may set a timeout, from far to near.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    File,
    Site,
    Upstream,
    Rule,
}

/// A timeout by the names that it has at the levels; `None` where it cannot be set.
struct Timeout {
    names: [Option<&'static str>; 4],
}

const CONNECT: Timeout = Timeout { names: [Some("connect"), Some("connect"), Some("connect"), None] };
const RESPONSE: Timeout =
    Timeout { names: [Some("response"), Some("response"), Some("response"), Some("timeout")] };
const UPSTREAM_BODY: Timeout =
    Timeout { names: [Some("upstream_body"), Some("upstream_body"), Some("body"), None] };
const UPSTREAM_IDLE: Timeout = Timeout { names: [Some("upstream_idle"), None, Some("idle"), None] };
const TUNNEL_IDLE: Timeout =
    Timeout { names: [Some("tunnel_idle"), Some("tunnel_idle"), Some("tunnel_idle"), None] };
const BODY: Timeout = Timeout { names: [Some("body"), Some("body"), None, None] };
const WRITE: Timeout = Timeout { names: [Some("write"), Some("write"), None, None] };

const LEVELS: [Level; 4] = [Level::File, Level::Site, Level::Upstream, Level::Rule];

/// What a timeout is set to where it is to run out; a rule cannot have less than a second.
fn short(level: Level) -> &'static str {
    if level == Level::Rule { "1s" } else { "300ms" }
}

impl Timeout {
    /// The levels that can set it, from far to near.
    fn levels(&self) -> impl Iterator<Item = Level> {
        LEVELS.into_iter().filter(|&level| self.names[level as usize].is_some())
    }

    /// Everything goes to `url`, through a site and a rule; `value` is what the timeout is at each level.
    fn config(&self, driver: Driver, url: &str, value: impl Fn(Level) -> Option<&'static str>) -> Config {
        let line = |level: Level| {
            let name = self.names[level as usize];
            name.zip(value(level)).map_or(String::new(), |(name, value)| format!("{name} = \"{value}\""))
        };
        let own = |level| format!("timeouts = {{ {} }}", line(level));
        let rule = "[[sites.rules]]\nname = \"all\"\npath = \"/*\"\nupstream = \"u\"";
        Config::new(driver)
            .timeouts(&line(Level::File))
            .upstream("u", &[url.to_owned()])
            .section(&own(Level::Upstream))
            .section(&format!("[[sites]]\nname = \"s\"\nhosts = [\"*\"]\n{}", own(Level::Site)))
            .section(&format!("{rule}\n{}", line(Level::Rule)))
    }

    /// For each level: it is short there, long at the farther ones and not set at the nearer ones. `run` must see it run out;
    /// afterwards nothing is left.
    fn runs_out_at_each_level(&self, driver: Driver, url: &str, run: impl Fn(&Proxy, Level)) {
        for nearest in self.levels() {
            let value = |level: Level| match level {
                _ if level < nearest => Some("60s"),
                _ if level == nearest => Some(short(level)),
                _ => None,
            };
            let proxy = Proxy::watched(self.config(driver, url, value));
            let before = proxy.descriptors();
            run(&proxy, nearest);
            proxy.wait_until_nothing_runs();
            proxy.wait_for_descriptors(before);
        }
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// Three at once, each of which `end` sees out.
fn three(proxy: &Proxy, request: &str, end: impl Fn(&mut Client)) {
    let mut clients = [(); 3].map(|()| proxy.client());
    for client in &mut clients {
        client.send(request);
    }
    clients.iter_mut().for_each(end);
}

fn connecting_ends_at_the_nearest_limit(driver: Driver) {
    let backend = Unaccepting::new();
    CONNECT.runs_out_at_each_level(driver, &backend.url(), |proxy, _| {
        three(proxy, GET, |client| client.response().assert_error(504, "upstream_connect_timeout"));
    });
}

/// Long before its limit.
fn who_goes_away_ends_connecting(driver: Driver) {
    let directory = tempfile::tempdir().expect("a directory");
    let (hole, crowded) = (Unaccepting::new(), Crowded::on_unix(&directory.path().join("socket")));
    for url in [hole.url(), crowded.url()] {
        let proxy = Proxy::watched(pool(driver, &[url], "max_active = 1").timeouts("connect = \"10m\""));
        for reset in [false, true] {
            let mut client = proxy.client();
            client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
            proxy.wait_for_upstream("u", 1, 0);
            if reset {
                client.reset()
            } else {
                drop(client)
            }
            proxy.wait_until_nothing_runs();
        }
    }
}

fn a_silent_backend_ends_at_the_nearest_limit(driver: Driver) {
    let backend = Backend::never_answers();
    RESPONSE.runs_out_at_each_level(driver, &backend.url(), |proxy, _| {
        three(proxy, GET, |client| client.response().assert_error(504, "upstream_timeout"));
        let put = "PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello";
        three(proxy, put, |client| client.response().assert_error(504, "upstream_timeout"));
        backend.wait_until_idle();
    });
}

fn a_stalled_response_ends_at_the_nearest_limit(driver: Driver) {
    let backend = Backend::script(|visit| {
        visit.request();
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour");
        visit.until_closed();
    });
    UPSTREAM_BODY.runs_out_at_each_level(driver, &backend.url(), |proxy, level| {
        three(proxy, GET, |client| {
            let cut = client.try_response("GET").unwrap_err();
            assert_eq!(cut.bytes, b"four", "{level:?}");
            assert_ne!(cut.ending, Ending::Silence, "{level:?}");
        });
        backend.wait_until_idle();
    });
}

fn a_silent_tunnel_ends_at_the_nearest_limit(driver: Driver) {
    let backend = Backend::script(|visit| {
        if let Some(head) = visit.head() {
            visit.send(switching(&head));
            visit.until_closed();
        }
    });
    TUNNEL_IDLE.runs_out_at_each_level(driver, &backend.url(), |proxy, level| {
        three(proxy, &handshake("/", ""), |client| {
            assert_eq!(client.head().status(), 101);
            assert_ne!(client.rest().1, Ending::Silence, "{level:?}");
        });
        backend.wait_until_idle();
    });
}

fn an_idle_connection_ends_at_the_nearest_limit(driver: Driver) {
    let backend = Backend::says_hello();
    UPSTREAM_IDLE.runs_out_at_each_level(driver, &backend.url(), |proxy, _| {
        three(proxy, GET, |client| assert_eq!(client.response().body, HELLO));
        backend.wait_until_idle();
    });
}

fn a_stalled_request_ends_at_the_nearest_limit(driver: Driver) {
    let backend = Backend::never_answers();
    BODY.runs_out_at_each_level(driver, &backend.url(), |proxy, _| {
        let post = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nfour";
        three(proxy, post, |client| client.response().assert_error(408, "request_timeout"));
        backend.wait_until_idle();
    });
}

fn a_client_that_does_not_read_ends_at_the_nearest_limit(driver: Driver) {
    let backend = Backend::script(|visit| {
        visit.request();
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
        while visit.send(vec![b'x'; 64 * 1024]) {}
    });
    WRITE.runs_out_at_each_level(driver, &backend.url(), |proxy, _| {
        let came = backend.requests();
        let clients = [(); 3].map(|()| {
            let mut client = Client::with_receive_buffer(&proxy.address(), 4096);
            client.send(GET);
            client
        });
        backend.wait_for_requests(came + 3);
        backend.wait_until_idle();
        clients.into_iter().for_each(|mut client| assert_ne!(client.rest().1, Ending::Silence));
    });
}

/// Longer than every short timeout.
const WHILE: Duration = Duration::from_millis(1_500);

/// What is set far away is not to end what is allowed nearby.
fn the_nearest_limit_may_be_the_longest(driver: Driver) {
    let late = Backend::script(|visit| {
        while let Some(head) = visit.head() {
            if head.fields.has("upgrade") {
                visit.send(switching(&head));
                return crate::harness::websocket::echo(visit);
            }
            if head.method() == "POST" {
                drop(visit.exactly(4));
            }
            pause(WHILE);
            visit.send("HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello");
            pause(WHILE);
            visit.send(", World!");
        }
    });
    let nearest_is_long = |timeout: &Timeout| {
        let nearest = timeout.levels().last().expect("a level");
        let config = timeout
            .config(driver, &late.url(), |level| Some(if level == nearest { "30s" } else { short(level) }));
        Proxy::start(&config)
    };
    let proxies = [&RESPONSE, &UPSTREAM_BODY].map(nearest_is_long);
    let mut clients = proxies.each_ref().map(Proxy::client);
    for client in &mut clients {
        client.send(GET);
    }
    let (tunnels, uploads) = (nearest_is_long(&TUNNEL_IDLE), nearest_is_long(&BODY));
    let mut socket = connect(&tunnels.address(), "/");
    let mut upload = uploads.client();
    upload.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nfo");
    pause(WHILE);
    upload.send("ur");
    assert_echo(&mut socket, "still there");
    close(&mut socket);
    clients.iter_mut().for_each(|client| assert_eq!(client.response().body, HELLO));
    assert_eq!(upload.response().body, HELLO);
}

fn a_reload_changes_the_limits_of_the_next_exchange(driver: Driver) {
    let backend = Backend::script(|visit| {
        while visit.request().is_some() {
            pause(WHILE);
            visit.send(response("200 OK", "", HELLO));
        }
    });
    let config = |value: &'static str| {
        RESPONSE.config(driver, &backend.url(), move |level| (level == Level::Upstream).then_some(value))
    };
    let proxy = Proxy::watched(config("30s"));
    let mut patient = proxy.client();
    patient.send(GET);
    backend.wait_for_requests(1);
    proxy.reload_watched(&config("300ms"));
    proxy.client().get("/").assert_error(504, "upstream_timeout");
    assert_eq!(patient.response().body, HELLO, "it began with another limit");
    proxy.reload_watched(&config("30s"));
    assert_eq!(proxy.client().get("/").body, HELLO);
}
