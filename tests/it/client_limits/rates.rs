//! `rate_limit`: how many requests are let through, and what the others are told.

use super::{is_let_in, let_in, limit, local, site};
use crate::access_log::{logging, objects};
use crate::harness::backend::Backend;
use crate::harness::client::Client;
use crate::harness::config::{Config, Driver};
use crate::harness::crowd::crowd;
use crate::harness::message::Framing;
use crate::harness::on_both_drivers;
use crate::harness::proxy::Proxy;
use crate::harness::size;
use crate::harness::websocket::{close, connect, handshake};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

on_both_drivers![
    all_workers_together_let_in_a_burst_and_no_more,
    the_rate_is_kept,
    a_burst_may_be_less_and_more_than_the_rate,
    a_refusal_says_when_to_come_again,
    a_refused_client_may_ask_on,
    a_refused_body_is_read_or_the_connection_closes,
    who_waits_for_100_is_refused_before,
    answers_of_rules_are_limited_too,
    a_sites_own_upstream_is_limited,
    upgrades_are_limited,
    guesses_are_limited,
    a_million_clients_take_the_memory_of_the_table,
    the_log_has_what_was_refused,
];

fn all_workers_together_let_in_a_burst_and_no_more(driver: Driver) {
    const BURST: usize = 100;
    let backend = Backend::says_hello();
    let config = Config::to(driver, &backend).section(&limit(BURST, ", key = \"client\"")).workers(4);
    let proxy = Proxy::start(&config);
    let passed: usize = crowd(24, |_| let_in(&mut proxy.client(), "", 20)).into_iter().sum();
    assert_eq!((passed, backend.requests()), (BURST, BURST));
}

fn the_rate_is_kept(driver: Driver) {
    const BURST: usize = 20;
    const WANTED: usize = 220;
    let lines = "rate_limit = { requests = 500, per = \"1s\", burst = 20 }";
    let proxy = Proxy::start(&site(driver, "", lines).workers(2));
    let (began, passed) = (Instant::now(), AtomicUsize::new(0));
    crowd(4, |_| {
        let mut client = proxy.client();
        while passed.load(Relaxed) < WANTED {
            passed.fetch_add(let_in(&mut client, "", 1), Relaxed);
        }
    });
    // However slow the machine is, it cannot have been quicker than the rate; that it ends shows that the rate is given.
    let earliest = Duration::from_secs(1) * (WANTED - BURST) as u32 / 500;
    assert!(began.elapsed() >= earliest.mul_f64(0.98), "{:?}", began.elapsed());
}

fn a_burst_may_be_less_and_more_than_the_rate(driver: Driver) {
    for burst in [1, 7, 30] {
        let proxy = Proxy::start(&site(driver, "", &limit(10, &format!(", burst = {burst}"))));
        assert_eq!(let_in(&mut proxy.client(), "", 40), burst);
    }
}

fn a_refusal_says_when_to_come_again(driver: Driver) {
    let proxy = Proxy::start(&site(driver, "", "rate_limit = { requests = 1, per = \"1h\" }"));
    let mut client = proxy.client();
    assert_eq!(let_in(&mut client, "", 1), 1);
    let refused = client.get("/");
    refused.assert_error(429, "too_many_requests");
    let after = refused.field("retry-after").unwrap();
    // An hour, less what the test took.
    assert!((1..=3600).contains(&after.parse::<u32>().unwrap()), "{after}");
    assert_eq!(refused.field("ratelimit-policy"), Some("\"r\";q=1;w=3600"));
    assert_eq!(refused.field("ratelimit"), Some(&*format!("\"r\";r=0;t={after}")));
    let head = client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n").response_to("HEAD");
    assert_eq!((head.status, head.framing), (429, Framing::None));
    assert!(head.field("retry-after").is_some() && head.field("content-length").is_some());
}

fn a_refused_client_may_ask_on(driver: Driver) {
    let proxy = Proxy::start(&site(driver, "", &limit(2, "")));
    let mut client = proxy.client();
    let request = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    client.send(request.repeat(5));
    let statuses: Vec<_> = (0..5).map(|_| client.response().status).collect();
    assert_eq!(statuses, [200, 200, 429, 429, 429], "on one connection, in their order");
    let last = client.ask("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    assert_eq!((last.status, last.field("connection")), (429, Some("close")));
    client.assert_closed();
}

fn a_refused_body_is_read_or_the_connection_closes(driver: Driver) {
    let proxy = Proxy::start(&site(driver, "", &limit(1, "")));
    let post = |framing: &str| format!("POST / HTTP/1.1\r\nHost: test\r\n{framing}");
    let mut client = proxy.client();
    assert_eq!(let_in(&mut client, "", 1), 1);
    assert!(!is_let_in(&client.ask(post("Content-Length: 5\r\n\r\nhello"))));
    client.send(post("Content-Length: 5\r\n\r\nhe"));
    assert!(!is_let_in(&client.response()));
    assert!(
        !is_let_in(&client.ask("lloGET / HTTP/1.1\r\nHost: test\r\n\r\n")),
        "what is left of a body is no request"
    );
    for too_long in
        ["Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "Content-Length: 1000000000\r\n\r\nhello"]
    {
        let mut client = proxy.client();
        let refused = client.ask(post(too_long));
        assert_eq!((refused.status, refused.field("connection")), (429, Some("close")));
        client.finish().assert_closed();
    }
}

fn who_waits_for_100_is_refused_before(driver: Driver) {
    let proxy = Proxy::start(&site(driver, "", &limit(1, "")));
    let mut client = proxy.client();
    assert_eq!(let_in(&mut client, "", 1), 1);
    let refused =
        client.ask("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!((refused.status, refused.interim.len()), (429, 0));
}

fn answers_of_rules_are_limited_too(driver: Driver) {
    let redirect = "redirect = { to = \"https://example.com/\" }";
    let unset = "target = \"http://${RINGWAY_NEVER_SET}\"";
    for (action, status) in [("respond = { status = 404 }", 404), (redirect, 308), (unset, 502)] {
        let rule = format!("[[rules]]\nname = \"r\"\npath = \"/*\"\n{action}\n{}", limit(1, ""));
        let proxy = Proxy::start(&Config::new(driver).section(&rule));
        let mut client = proxy.client();
        assert_eq!((client.get("/").status, client.get("/").status), (status, 429), "{action}");
    }
}

fn a_sites_own_upstream_is_limited(driver: Driver) {
    let backend = Backend::says_hello();
    let site = format!(
        "[[sites]]\nname = \"a \\\"b\\\"\"\nhosts = [\"*\"]\nupstream = \"u\"\n{}",
        limit(2, ", key = \"site\"")
    );
    let proxy = Proxy::start(&Config::new(driver).upstream("u", &[backend.url()]).section(&site));
    assert_eq!(let_in(&mut proxy.client(), "", 5), 2);
    let refused = proxy.client().get("/");
    assert_eq!(refused.field("ratelimit-policy"), Some(r#""a \"b\"";q=2;w=86400"#));
    assert_eq!(backend.requests(), 2);
}

fn upgrades_are_limited(driver: Driver) {
    let backend = Backend::echoes_messages();
    let proxy = Proxy::start(&Config::to(driver, &backend).section(&limit(1, "")));
    let mut tunnel = connect(&proxy.address(), "/");
    let mut client = proxy.client();
    assert!(!is_let_in(&client.ask(handshake("/", ""))));
    assert!(!is_let_in(&client.get("/")), "the connection goes on as HTTP");
    close(&mut tunnel);
}

fn guesses_are_limited(driver: Driver) {
    let auth = "[[auth]]\nname = \"machines\"\ntype = \"bearer\"\ntokens = { ci = \"0123456789abcdef\" }";
    let config = site(driver, &format!("auth = \"machines\"\n{}", limit(3, "")), "").section(auth);
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    let ask = |client: &mut Client, token: &str| {
        client.ask(format!("GET / HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\n\r\n")).status
    };
    let guesses: Vec<_> = (0..4).map(|guess| ask(&mut client, &format!("guess {guess}"))).collect();
    assert_eq!(guesses, [401, 401, 401, 429]);
    assert_eq!(ask(&mut client, "0123456789abcdef"), 429, "and nothing is told of the right one");
    assert_eq!(ask(&mut local(2, &proxy.address()), "0123456789abcdef"), 200);
}

fn a_million_clients_take_the_memory_of_the_table(driver: Driver) {
    const CLIENTS: usize = 4;
    const AT_ONCE: usize = 50;
    let keys = size(40_000, 1_000_000);
    // Eight times as many keys as there is room for, or as many.
    let (memory, memory_kib) = if keys < 1_000_000 { ("64KiB", 64) } else { ("16MiB", 16 << 10) };
    let lines = limit(10, ", key = \"header:X-Key\"");
    let config = site(driver, "", &lines).limits(&format!("rate_limit_memory = \"{memory}\"")).workers(2);
    let proxy = Proxy::start(&config);
    let noisy = |client: &mut Client| let_in(client, "X-Key: noisy\r\n", 20);
    let mut client = proxy.client();
    assert_eq!(noisy(&mut client), 10);
    let before_kib = proxy.anonymous_kib();
    let refused: usize = crowd(CLIENTS, |number| {
        let mut client = proxy.client();
        let mut keys = number * keys / CLIENTS..(number + 1) * keys / CLIENTS;
        let mut refused = 0;
        while !keys.is_empty() {
            let some: Vec<_> = keys.by_ref().take(AT_ONCE).collect();
            let request = |key: &usize| format!("GET / HTTP/1.1\r\nHost: test\r\nX-Key: {key}\r\n\r\n");
            client.send(some.iter().map(request).collect::<String>());
            refused += some.iter().filter(|_| !is_let_in(&client.response())).count();
        }
        refused
    })
    .into_iter()
    .sum();
    assert_eq!(refused, 0, "who comes once is not refused, whoever comes beside");
    assert_eq!(noisy(&mut client), 0, "and who came too often is not forgotten");
    // The table, and what a few busy connections take.
    let grown_kib = proxy.anonymous_kib().saturating_sub(before_kib);
    assert!(grown_kib <= memory_kib + 8 * 1024, "{grown_kib} KiB");
    proxy.log().wait_for(0, "rate limits forget clients");
}

fn the_log_has_what_was_refused(driver: Driver) {
    let proxy = logging(site(driver, "", &limit(1, "")), "");
    assert_eq!(let_in(&mut proxy.client(), "", 2), 1);
    let line = &objects(&proxy, 2)[1];
    assert_eq!((line["status"].as_u64(), line["code"].as_str()), (Some(429), Some("too_many_requests")));
    assert_eq!((line["site"].as_str(), line["rule"].as_str()), (Some("a"), Some("r")), "{line:#}");
}
