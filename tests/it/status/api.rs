//! What the admin socket answers.

use super::{curl, find, socket, start, status};
use crate::harness::backend::Backend;
use crate::harness::config::{Config, Driver};
use crate::harness::holding::Holding;
use crate::harness::{held_address, on_both_drivers, wait_until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::os::unix::net::UnixStream;

on_both_drivers!(it_tells_what_runs);

fn it_tells_what_runs(driver: Driver) {
    let backend = Backend::says_hello();
    let config = Config::to(driver, &backend)
        .workers(2)
        .section("[[listeners]]\nname = \"b\"\naddress = \"127.0.0.2:0\"");
    let proxy = start(config);
    let mut clients: Vec<_> = (0..8).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    let told = status(&socket(&proxy));
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&told["phase"], &told["revision"]), (&json!("serving"), &json!(1)));
    assert!(told["driver"].as_str().unwrap().starts_with(driver.name()), "{told:#}");
    assert!(told["started"].as_str().unwrap() <= told["applied"].as_str().unwrap(), "{told:#}");
    assert_eq!(told["connections"], 8);
    let workers = told["workers"].as_array().unwrap();
    for key in ["connections", "accepted", "refused", "requests", "bytes_from_clients", "bytes_to_clients"] {
        let sum: u64 = workers.iter().map(|worker| worker[key].as_u64().unwrap()).sum();
        assert_eq!(told["totals"][key], sum, "{key} in {told:#}");
    }
    assert_eq!((&told["totals"]["requests"], &told["totals"]["responses"]["2xx"]), (&json!(8), &json!(8)));
    let most = workers.iter().map(|worker| worker["connections"].as_u64().unwrap()).max().unwrap();
    assert_eq!(told["connections_skew"], most as f64 * 2.0 / 8.0);
    let addresses: Vec<_> = proxy.addresses().iter().map(|address| address.tcp().to_string()).collect();
    let listeners =
        json!([{ "name": "127.0.0.1:0", "address": addresses[0] }, { "name": "b", "address": addresses[1] }]);
    assert_eq!(told["listeners"], listeners);
}

#[test]
fn it_tells_the_state_of_backends_and_why() {
    let backend = Backend::says_hello();
    let (dead, _held) = held_address();
    let dead = dead.to_string();
    let pool = [backend.url(), format!("http://{dead}"), "http://no.such.name.invalid:81".to_owned()];
    let config =
        Config::new(Driver::Epoll).upstream("app", &pool).section("strategy = \"least_connections\"");
    let proxy = start(config.rule_to("all", "/*", "app"));
    let app = || find(&status(&socket(&proxy))["upstreams"], "name", "app").clone();
    let before = app();
    assert_eq!((&before["strategy"], &before["max_active"]), (&json!("least_connections"), &json!(0)));
    let quiet = find(&before["backends"], "address", &dead);
    assert_eq!(
        (&quiet["state"], &quiet["since"], &quiet["why"]),
        (&json!("alive"), &Value::Null, &Value::Null)
    );
    let mut client = proxy.client();
    wait_until("the dead backend is ejected", || {
        assert_eq!(client.get("/").status, 200);
        find(&app()["backends"], "address", &dead)["state"] == "ejected"
    });
    let after = app();
    let ejected = find(&after["backends"], "address", &dead);
    assert_eq!((&ejected["cause"], &ejected["url"]), (&json!("refused"), &json!(format!("http://{dead}"))));
    assert!(ejected["since"].as_str().unwrap().ends_with('Z') && ejected["since_s"].is_u64(), "{ejected:#}");
    assert!(ejected["why"].as_str().unwrap().contains("refused") && ejected["failures"].as_u64() > Some(0));
    assert_eq!((&after["ejections"], &after["retries"]["total"]), (&json!(1), &json!(1)));
    let missing = find(&after["backends"], "state", "unresolved");
    assert_eq!(
        (&missing["url"], &missing["address"]),
        (&json!("http://no.such.name.invalid:81"), &Value::Null)
    );
    assert_eq!(missing["cause"], "unresolved");
    // One request in some is timed.
    wait_until("the other's latency is told", || {
        assert_eq!(client.get("/").status, 200);
        find(&app()["backends"], "state", "alive")["latency_ms"].as_f64() > Some(0.0)
    });
}

#[test]
fn it_tells_why_a_backend_gets_nothing() {
    let (address, _held) = held_address();
    let address = address.to_string();
    let pool = [format!("http://{address}"), "http://${RINGWAY_TEST_NOT_SET}:1".to_owned()];
    let config = Config::new(Driver::Epoll).listeners(&[&address]).upstream("app", &pool);
    let proxy = start(config.rule_to("all", "/*", "app"));
    let backends = find(&status(&socket(&proxy))["upstreams"], "name", "app")["backends"].clone();
    let told = |index: usize| {
        ["state", "cause"].map(|key| backends[index][key].as_str().expect("a text").to_owned())
    };
    assert_eq!(
        (told(0), told(1)),
        (["loop", "loop"].map(str::to_owned), ["unresolved", "not_set"].map(str::to_owned))
    );
}

#[test]
fn it_tells_what_the_last_probe_found() {
    let (dead, _held) = held_address();
    let config = Config::new(Driver::Epoll).upstream("app", &[format!("http://{dead}")]);
    let watched = "health = { active = true, probe_interval = \"1s\", fall = 1 }";
    let proxy = start(config.section(watched).rule_to("all", "/*", "app"));
    let backend = || find(&status(&socket(&proxy))["upstreams"], "name", "app")["backends"][0].clone();
    wait_until("it is ejected by a probe", || backend()["cause"] == "probe_failed");
    let told = backend();
    assert_eq!((&told["state"], &told["last_probe"]["failure"]), (&json!("ejected"), &json!("refused")));
    assert!(told["last_probe"]["at"].is_string() && told["last_probe"]["age_s"].is_u64(), "{told:#}");
}

#[test]
fn it_tells_who_runs_and_who_waits() {
    let backend = Holding::says("done");
    let site = format!(
        "[[sites]]\nname = \"shop\"\nhosts = [\"shop.test\"]\nmax_active = 2\nmax_queued = 7\n\
         upstream = {{ backends = [{{ url = \"{}\" }}] }}",
        backend.url()
    );
    let proxy = start(Config::new(Driver::Epoll).section(&site));
    let mut clients: Vec<_> = (0..3).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    }
    backend.wait_until_it_holds(2);
    let shop = || find(&status(&socket(&proxy))["sites"], "name", "shop").clone();
    wait_until("one waits", || shop()["waiting"] == 1);
    let told = status(&socket(&proxy));
    let shop_now = find(&told["sites"], "name", "shop");
    let limits = ["running", "max_active", "max_queued", "queued"].map(|key| shop_now[key].as_u64().unwrap());
    assert_eq!(limits, [2, 2, 7, 1], "{shop_now:#}");
    let own = find(&told["upstreams"], "name", "site/shop");
    assert_eq!((&own["running"], &own["backends"][0]["running"]), (&json!(2), &json!(2)), "{own:#}");
    backend.release_all();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "done"));
    wait_until("nothing runs or waits", || shop()["running"] == 0 && shop()["waiting"] == 0);
}

#[test]
fn other_paths_and_methods_are_problems() {
    let backend = Backend::says_hello();
    let proxy = start(Config::to(Driver::Epoll, &backend));
    let ask = |arguments: &[&str]| curl(&socket(&proxy), &[&["-i"], arguments].concat()).to_ascii_lowercase();
    let assert_has = |answer: String, parts: &[&str]| {
        assert!(parts.iter().all(|part| answer.contains(part)), "{parts:?} in\n{answer}");
    };
    let (status, other) = ("http://x/api/v1/status", "http://x/api/v1/other");
    assert_has(ask(&[status]), &["200 ok", "content-type: application/json", "cache-control: no-store"]);
    let problem = "content-type: application/problem+json";
    for path in [other, "http://x/", "http://x/api/v1/status/", "http://x/api/v1/status/../status%2f"] {
        assert_has(ask(&["--path-as-is", path]), &["404 not found", problem, "\"code\":\"not_found\""]);
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "WHAT"] {
        assert_has(ask(&["-X", method, status]), &["405 method not allowed", "allow: get,head", problem]);
    }
    assert_has(ask(&["-X", "GET", "-d", "x=1", status]), &["413 ", problem, "\"code\":\"body_not_taken\""]);
    let head = ask(&["--head", status]);
    assert!(head.contains("200 ok") && head.ends_with("\r\n\r\n"), "{head}");
    let long = format!("X: {}", "x".repeat(40_000));
    assert_has(ask(&["-H", &long, status]), &["431 "]);
    assert_eq!(
        super::status(&socket(&proxy))["totals"]["requests"],
        0,
        "the API's own requests are counted as traffic"
    );
}

#[test]
fn who_is_silent_gives_way() {
    let backend = Backend::says_hello();
    let proxy = start(Config::to(Driver::Epoll, &backend));
    // More than are served at one time: curl waits until the first of them are cut.
    let silent: Vec<_> =
        (0..20).map(|_| UnixStream::connect(socket(&proxy)).expect("a connection")).collect();
    assert_eq!(status(&socket(&proxy))["phase"], "serving");
    drop(silent);
}

#[test]
fn it_answers_while_connections_drain() {
    let backend = Holding::says("done");
    let mut proxy = start(Config::to(Driver::Epoll, &backend));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    backend.wait_until_it_holds(1);
    proxy.signal(Signal::SIGTERM);
    let told = || status(&socket(&proxy));
    wait_until("the status says that it drains", || told()["phase"] == "draining");
    let draining = told();
    assert_eq!(
        (&draining["totals"]["active"], &draining["listeners"]),
        (&json!(1), &json!([])),
        "{draining:#}"
    );
    backend.release_all();
    assert_eq!(client.response().text(), "done");
    assert_eq!(proxy.wait().code(), Some(0));
    assert!(!socket(&proxy).exists() && socket(&proxy).parent().unwrap().exists());
}

#[test]
fn a_reload_counts_revisions() {
    let backend = Backend::says_hello();
    let config = Config::to(Driver::Epoll, &backend);
    let proxy = start(config.clone());
    let config = config.section(&super::admin(&proxy.directory().join("data")));
    let revision = || status(&socket(&proxy))["revision"].as_u64().unwrap();
    proxy.reload(&config.clone().rule("more", "/more", "http://127.0.0.1:9"));
    assert_eq!(revision(), 2);
    let mark = proxy.reload_text(&config.text().replace("path", "pth"));
    proxy.log().wait_for(mark, "configuration refused");
    assert_eq!(revision(), 2);
    assert_eq!(status(&socket(&proxy))["upstreams"].as_array().unwrap().len(), 2);
}
