//! What is sent to one more backend, and what is not: by the kind of failure, the method, the number of tries, the budget
//! and the time. What becomes of bodies stands in `replay`.

use super::{ill_first, pool};
use crate::access_log::{logging, objects};
use crate::harness::backend::Backend;
use crate::harness::backends::{HELLO, response};
use crate::harness::config::{Config, Driver};
use crate::harness::holding::Holding;
use crate::harness::on_both_drivers;
use crate::harness::pause;
use crate::harness::proxy::Proxy;
use crate::harness::status::number;
use crate::harness::unreachable::{Refusing, Unaccepting};
use crate::harness::websocket::{assert_echo, close, connect};
use serde_json::Value;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

on_both_drivers![
    a_refused_request_goes_to_the_next_backend,
    a_connection_that_is_not_made_in_time_goes_to_the_next_backend,
    every_kind_of_failure_is_told_in_the_log,
    a_request_goes_to_as_many_backends_as_it_may,
    a_rule_has_its_own_number_of_retries,
    a_pool_of_one_is_tried_once,
    no_backend_is_tried_twice,
    idempotent_methods_are_repeated_and_others_are_not,
    an_idempotency_key_makes_a_post_repeatable,
    garbage_is_an_answer_to_a_post_and_not_to_a_get,
    a_response_that_breaks_in_its_head_is_repeated,
    a_response_that_breaks_right_behind_its_head_is_not_repeated,
    a_response_that_has_begun_is_not_repeated,
    a_timeout_is_not_repeated,
    all_tries_share_one_timeout,
    a_fresh_connection_in_place_of_an_idle_one_shares_it_too,
    who_got_what_time_was_left_is_not_judged,
    a_slow_upload_takes_nothing_of_it,
    an_ill_one_that_stays_gets_its_turns_and_no_more,
    retries_have_a_budget,
    each_backend_gets_its_own_host,
    a_retry_keeps_its_place,
    a_websocket_finds_another_backend,
];

/// What a line of the access log says of the tries: how many, the reasons why the others failed, why the last one was
/// chosen.
fn told(line: &Value) -> (u64, Vec<String>, String) {
    let failures = line["failures"].as_array().cloned().unwrap_or_default();
    let reasons = failures.iter().map(|failure| failure["reason"].as_str().expect("a reason").to_owned());
    let choice = line["choice"].as_str().unwrap_or("-").to_owned();
    (line["tries"].as_u64().expect("a number"), reasons.collect(), choice)
}

/// `METHOD /` with these field lines and no body.
fn request(method: &str, lines: &str) -> String {
    format!("{method} / HTTP/1.1\r\nHost: test\r\n{lines}\r\n")
}

/// Reads a request's head and goes.
fn goes_after_the_head() -> Backend {
    Backend::script(|visit| drop(visit.head()))
}

fn a_refused_request_goes_to_the_next_backend(driver: Driver) {
    let (refusing, good) = (Refusing::new(), Backend::echoes_body());
    let proxy = logging(ill_first(driver, &[refusing.url()], &good.url(), ""), "");
    let mut client = proxy.client();
    assert_eq!(client.get("/").status, 200);
    // No connection was made, so nothing was sent, and anything may be.
    let post = client.ask("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!((post.status, post.body.as_slice()), (200, b"hello".as_slice()));
    assert_eq!(good.requests(), 2);
    for line in objects(&proxy, 2) {
        assert_eq!(told(&line), (2, vec!["refused".to_owned()], "backup".to_owned()));
        let (failed, at) = (&line["failures"][0]["backend"], &line["backend"]);
        let is = |text: &Value, url: String| {
            text.as_str().is_some_and(|text| url.ends_with(text.trim_start_matches("http://")))
        };
        assert!(is(failed, refusing.url()) && is(at, good.url()), "{line}");
    }
}

fn a_connection_that_is_not_made_in_time_goes_to_the_next_backend(driver: Driver) {
    let (hanging, good) = (Unaccepting::new(), Backend::says_hello());
    let lines = "timeouts = { connect = \"300ms\" }";
    let proxy = logging(ill_first(driver, &[hanging.url()], &good.url(), lines), "");
    assert_eq!(proxy.client().ask(request("POST", "Content-Length: 0\r\n")).body, HELLO);
    let line = objects(&proxy, 1).remove(0);
    assert_eq!(told(&line), (2, vec!["connect_timeout".to_owned()], "backup".to_owned()));
}

fn every_kind_of_failure_is_told_in_the_log(driver: Driver) {
    let resets = Backend::script(|visit| {
        visit.head();
        visit.reset();
    });
    let ill = [goes_after_the_head(), resets, Backend::answers_and_closes("garbage\r\n\r\n")];
    let (refusing, good) = (Refusing::new(), Backend::says_hello());
    let urls: Vec<String> = ill.iter().map(Backend::url).chain([refusing.url()]).collect();
    let proxy = logging(ill_first(driver, &urls, &good.url(), "retries = 4"), "");
    assert_eq!(proxy.client().get("/").body, HELLO);
    let (tries, mut reasons, _) = told(&objects(&proxy, 1)[0]);
    reasons.sort();
    assert_eq!(
        (tries, reasons),
        (5, ["bad_response", "closed", "closed", "refused"].map(str::to_owned).to_vec())
    );
}

fn a_request_goes_to_as_many_backends_as_it_may(driver: Driver) {
    for (retries, lines) in [(2, ""), (0, "retries = 0"), (1, "retries = 1"), (4, "retries = 4")] {
        let ill = [(); 5].map(|()| goes_after_the_head());
        let urls = ill.each_ref().map(Backend::url);
        let proxy = Proxy::start(&pool(driver, &urls, &format!("{lines}\n{NEVER_EJECTED}")));
        proxy.client().get("/").assert_error(502, "upstream_closed");
        let asked: usize = ill.iter().map(Backend::requests).sum();
        assert_eq!(asked, retries + 1, "{lines}");
        assert!(ill.iter().all(|backend| backend.requests() <= 1), "{lines}");
    }
}

/// For tests about one request after another.
const NEVER_EJECTED: &str = "health = { max_failures = 1000 }";

fn a_rule_has_its_own_number_of_retries(driver: Driver) {
    let ill = [(); 4].map(|()| goes_after_the_head());
    let urls = ill.each_ref().map(Backend::url);
    let config = Config::new(driver).upstream("u", &urls).section(NEVER_EJECTED);
    let config = config.rule_to("none", "/none", "u").section("retries = 0");
    let config = config.rule_to("three", "/three", "u").section("retries = 3");
    let proxy = logging(config.rule_to("all", "/*", "u"), "");
    for (target, tries) in [("/none", 1), ("/three", 4), ("/", 3)] {
        proxy.client().get(target).assert_error(502, "upstream_closed");
        let all = ["/none", "/three", "/"].iter().position(|one| *one == target).expect("one of them");
        assert_eq!(told(&objects(&proxy, all + 1)[all]).0, tries, "{target}");
    }
}

fn a_pool_of_one_is_tried_once(driver: Driver) {
    let backend = goes_after_the_head();
    let proxy = logging(Config::new(driver).rule("all", "/*", &backend.url()), "");
    proxy.client().get("/").assert_error(502, "upstream_closed");
    assert_eq!(told(&objects(&proxy, 1)[0]), (1, vec!["closed".to_owned()], "only".to_owned()));
    assert_eq!(backend.requests(), 1);
}

fn no_backend_is_tried_twice(driver: Driver) {
    for strategy in ["round_robin", "random", "least_connections", "p2c", "ip_hash", "least_latency"] {
        let ill = [(); 3].map(|()| goes_after_the_head());
        let urls = ill.each_ref().map(Backend::url);
        let lines = format!("strategy = \"{strategy}\"\nretries = 10\n{NEVER_EJECTED}");
        let proxy = Proxy::start(&pool(driver, &urls, &lines));
        for number in 1..=3 {
            proxy.client().get("/").assert_error(502, "upstream_closed");
            assert_eq!(ill.each_ref().map(Backend::requests), [number; 3], "{strategy}");
        }
    }
}

fn idempotent_methods_are_repeated_and_others_are_not(driver: Driver) {
    let (ill, good) = (goes_after_the_head(), Backend::says_hello());
    let proxy = Proxy::start(&ill_first(driver, &[ill.url()], &good.url(), ""));
    let mut repeated = 0;
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
        let mut client = proxy.client();
        assert_eq!(client.send(request(method, "")).response_to(method).status, 200, "{method}");
        repeated += 1;
    }
    for method in ["POST", "PATCH", "PURGE", "get"] {
        proxy.client().ask(request(method, "Content-Length: 0\r\n")).assert_error(502, "upstream_closed");
    }
    assert_eq!((ill.requests(), good.requests()), (repeated + 4, repeated));
}

fn an_idempotency_key_makes_a_post_repeatable(driver: Driver) {
    let (ill, good) = (goes_after_the_head(), Backend::echoes_body());
    let proxy = Proxy::start(&ill_first(driver, &[ill.url()], &good.url(), ""));
    let with_key =
        "POST / HTTP/1.1\r\nHost: test\r\nIdempotency-Key: \"8e03\"\r\nContent-Length: 5\r\n\r\nhello";
    let answer = proxy.client().ask(with_key);
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"hello".as_slice()));
    assert_eq!(good.last_head().fields.get("idempotency-key"), Some("\"8e03\""));
    proxy.client().ask(request("POST", "Content-Length: 0\r\n")).assert_error(502, "upstream_closed");
    assert_eq!((ill.requests(), good.requests()), (2, 1));
}

fn garbage_is_an_answer_to_a_post_and_not_to_a_get(driver: Driver) {
    let (ill, good) = (Backend::answers_and_closes("garbage\r\n\r\n"), Backend::says_hello());
    let proxy = Proxy::start(&ill_first(driver, &[ill.url()], &good.url(), ""));
    assert_eq!(proxy.client().get("/").body, HELLO);
    let post = proxy.client().ask(request("POST", "Content-Length: 0\r\n"));
    post.assert_error(502, "upstream_bad_response");
    assert_eq!((ill.requests(), good.requests()), (2, 1));
}

/// Nothing of it went to the client.
fn a_response_that_breaks_in_its_head_is_repeated(driver: Driver) {
    let good = Backend::says_hello();
    for half in ["HTTP/1.1 200 OK\r\nX-Half: ", "HTTP/1.1 2", "H"] {
        let ill = Backend::answers_and_closes(half);
        let proxy = Proxy::start(&ill_first(driver, &[ill.url()], &good.url(), ""));
        let answer = proxy.client().get("/");
        assert_eq!((answer.status, answer.body.as_slice()), (200, HELLO), "after {half:?}");
        assert!(!answer.head.fields.has("x-half"));
        assert_eq!(ill.requests(), 1);
    }
}

/// Nothing of it went to the client yet, but its head was made ready to, in the request's place.
fn a_response_that_breaks_right_behind_its_head_is_not_repeated(driver: Driver) {
    for status in ["200 OK", "404 Not Found", "503 Service Unavailable"] {
        let ill = Backend::script(move |visit| {
            visit.head();
            visit.send(format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"));
        });
        let good = Backend::says_hello();
        let proxy = Proxy::start(&ill_first(driver, &[ill.url()], &good.url(), ""));
        proxy.client().get("/").assert_error(502, "upstream_bad_response");
        assert_eq!((ill.requests(), good.requests()), (1, 0), "{status}");
    }
}

fn a_response_that_has_begun_is_not_repeated(driver: Driver) {
    let good = Backend::says_hello();
    let begun = [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n",
    ];
    for half in begun {
        let ill = Backend::answers_and_closes(half);
        let proxy = Proxy::start(&ill_first(driver, &[ill.url()], &good.url(), ""));
        let mut client = proxy.client();
        let cut = client.send(request("GET", "")).try_response("GET").unwrap_err();
        assert_eq!(cut.head.map(|head| head.status()), Some(200), "{half:?}");
    }
    let ill = Backend::answers_and_closes("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    let proxy = Proxy::start(&ill_first(driver, &[ill.url()], &good.url(), ""));
    let answer = proxy.client().get("/");
    answer.assert_error(502, "upstream_closed");
    assert_eq!(answer.interim.len(), 1, "it has gone to the client");
    assert_eq!(good.requests(), 0);
}

fn a_timeout_is_not_repeated(driver: Driver) {
    let (silent, good) = (Backend::never_answers(), Backend::says_hello());
    let lines = "timeouts = { response = \"300ms\" }";
    let proxy = logging(ill_first(driver, &[silent.url()], &good.url(), lines), "");
    proxy.client().get("/").assert_error(504, "upstream_timeout");
    assert_eq!(told(&objects(&proxy, 1)[0]), (1, vec!["timeout".to_owned()], "round_robin".to_owned()));
    assert_eq!(good.requests(), 0);
}

/// Each holds the request for a second and closes; there is time for one and a half of them.
fn all_tries_share_one_timeout(driver: Driver) {
    let holds = || {
        Backend::script(|visit| {
            visit.head();
            pause(Duration::from_secs(1));
        })
    };
    let backends = [(); 4].map(|()| holds());
    let urls = backends.each_ref().map(Backend::url);
    let lines = format!("retries = 3\ntimeouts = {{ response = \"1500ms\" }}\n{NEVER_EJECTED}");
    let proxy = Proxy::start(&pool(driver, &urls, &lines));
    proxy.client().get("/").assert_error(504, "upstream_timeout");
    let asked: usize = backends.iter().map(Backend::requests).sum();
    assert_eq!(asked, 2, "backends that were asked");
}

/// The backend takes half of the time to close an idle connection that got a request, and more than the other half to answer
/// on the next.
fn a_fresh_connection_in_place_of_an_idle_one_shares_it_too(driver: Driver) {
    let backend = Backend::script(|visit| {
        visit.head();
        if visit.number > 0 {
            pause(Duration::from_millis(2_500));
        }
        visit.send(response("200 OK", "", HELLO));
        if visit.head().is_some() {
            pause(Duration::from_millis(1_500));
        }
    });
    let proxy = Proxy::start(&pool(driver, &[backend.url()], "timeouts = { response = \"3s\" }"));
    let mut client = proxy.client();
    assert_eq!(client.get("/").status, 200);
    client.get("/").assert_error(504, "upstream_timeout");
    assert_eq!((backend.requests(), backend.accepts()), (3, 2));
}

/// The first backend uses most of the time up: that the second one does not answer in the rest says nothing about it.
fn who_got_what_time_was_left_is_not_judged(driver: Driver) {
    let slow = Backend::script(|visit| {
        visit.head();
        pause(Duration::from_millis(1_100));
    });
    let silent = Backend::never_answers();
    let lines = "timeouts = { response = \"1500ms\" }";
    for (first, judged) in [(slow.url(), 0), (Refusing::new().url(), 1)] {
        let proxy = Proxy::watched(ill_first(driver, &[first], &silent.url(), lines));
        proxy.client().get("/").assert_error(504, "upstream_timeout");
        assert_eq!(number(&proxy.upstream_status("u")["backends"][1], "failures"), judged);
    }
}

/// It runs from the last byte of a request.
fn a_slow_upload_takes_nothing_of_it(driver: Driver) {
    let ill = Backend::script(|visit| drop(visit.request()));
    let good = Backend::echoes_body();
    let lines = "timeouts = { response = \"2s\" }";
    let proxy = Proxy::start(&ill_first(driver, &[ill.url()], &good.url(), lines));
    let mut client = proxy.client();
    client.send("PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhe");
    for part in ["l", "l", "o"] {
        pause(Duration::from_millis(800));
        client.send(part);
    }
    let answer = client.response();
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    assert_eq!((ill.requests(), good.requests()), (1, 1));
}

/// A request that fails and is not tried again takes nobody else's turn.
fn an_ill_one_that_stays_gets_its_turns_and_no_more(driver: Driver) {
    let (refusing, good) = (Refusing::new(), Backend::says_hello());
    let lines = format!("retries = 0\n{NEVER_EJECTED}");
    let proxy = Proxy::start(&pool(driver, &[refusing.url(), good.url()], &lines));
    let mut client = proxy.client();
    let well = (0..100).filter(|_| client.get("/").status == 200).count();
    assert_eq!(well, 50);
}

/// At most a fifth of an upstream's requests are retries, or ten where that is more.
fn retries_have_a_budget(driver: Driver) {
    let (ill, good) = (goes_after_the_head(), Backend::says_hello());
    let proxy = Proxy::watched(ill_first(driver, &[ill.url()], &good.url(), "").workers(2));
    let ask = |count: usize| (0..count).filter(|_| proxy.client().get("/").status == 200).count();
    assert_eq!(ask(10), 10, "there are ten in any case");
    let answered = 10 + ask(190);
    // Of all that came within 10 s: where 200 requests take longer, there may be ten more.
    assert!((20..=50).contains(&answered), "{answered} of 200 were tried again");
    assert_eq!((ill.requests(), good.requests()), (200, answered));
    assert_eq!(proxy.upstream_status("u")["retries"]["total"], answered);
}

/// With `change_origin`, and for HTTP/1.0 without Host, it is the authority of the backend that is asked.
fn each_backend_gets_its_own_host(driver: Driver) {
    let (ill, refusing, good) = (goes_after_the_head(), Refusing::new(), Backend::echoes_body());
    let upstream = |name: &str, first: &str| {
        let backends = format!("{{ url = \"{first}\" }}, {{ url = \"{}\", backup = true }}", good.url());
        format!("[[upstreams]]\nname = \"{name}\"\nbackends = [{backends}]\n{NEVER_EJECTED}")
    };
    let config = Config::new(driver)
        .section(&upstream("ill", &ill.url()))
        .section(&upstream("refusing", &refusing.url()));
    let config = config.rule_to("changed", "/changed", "ill").section("change_origin = true");
    let config = config.rule_to("refused", "/refused", "refusing").section("change_origin = true");
    let proxy = Proxy::start(&config.rule_to("all", "/*", "ill"));
    let own = good.address().to_string();
    let body = "Content-Length: 5\r\n\r\nhello";
    let requests = [
        (format!("PUT /changed HTTP/1.1\r\nHost: test\r\nOrigin: http://test\r\n{body}"), own.as_str()),
        (format!("PUT /refused HTTP/1.1\r\nHost: test\r\n{body}"), own.as_str()),
        ("GET /old HTTP/1.0\r\n\r\n".to_owned(), own.as_str()),
        (format!("PUT /kept HTTP/1.1\r\nHost: test\r\n{body}"), "test"),
    ];
    for (request, host) in requests {
        let answer = proxy.client().ask(&request);
        let sent = if request.ends_with("hello") { b"hello".as_slice() } else { b"" };
        assert_eq!((answer.status, answer.body.as_slice()), (200, sent), "{request}");
        assert_eq!(good.last_head().fields.get("host"), Some(host), "{request}");
    }
    let origin = good.head(0).fields.get("origin").map(str::to_owned);
    assert_eq!(origin, Some(format!("http://{own}")));
    assert_eq!(ill.head(0).fields.get("host"), Some(ill.address().to_string().as_str()));
}

fn a_retry_keeps_its_place(driver: Driver) {
    let (tell, told) = channel::<()>();
    let told = Mutex::new(told);
    let ill = Backend::script(move |visit| {
        visit.head();
        told.lock().unwrap().recv().ok();
    });
    let good = Holding::says("good");
    let config = ill_first(driver, &[ill.url()], &good.url(), "max_active = 1");
    let proxy = Proxy::watched(config.workers(2));
    let (mut first, mut second) = (proxy.client(), proxy.client());
    first.send(request("GET", ""));
    ill.wait_for_requests(1);
    second.send(request("GET", ""));
    proxy.wait_for_upstream("u", 1, 1);
    tell.send(()).unwrap();
    good.wait_until_it_holds(1);
    proxy.wait_for_upstream("u", 1, 1);
    assert_eq!(ill.requests(), 1, "the second one came in between two tries of the first");
    good.release_all();
    assert_eq!(first.response().text(), "good");
    tell.send(()).unwrap();
    assert_eq!(second.response().text(), "good");
    proxy.wait_until_nothing_runs();
}

fn a_websocket_finds_another_backend(driver: Driver) {
    let (refusing, ill, good) = (Refusing::new(), goes_after_the_head(), Backend::echoes_messages());
    let urls = [refusing.url(), ill.url()];
    let proxy = Proxy::start(&ill_first(driver, &urls, &good.url(), ""));
    let mut socket = connect(&proxy.address(), "/");
    assert_echo(&mut socket, "hello");
    close(&mut socket);
}
