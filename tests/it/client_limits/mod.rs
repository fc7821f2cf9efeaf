//! How often a client may come and how many connections it may have, on the wire.

mod connections;
mod keys;
mod rates;
mod reloads;

use crate::harness::client::{Address, Client, Response};
use crate::harness::config::{Config, Driver};

/// A time in which nothing is gained by waiting, as long as a test takes.
const NO_REFILL: &str = "per = \"1d\"";

/// The site `a` of every host, with these lines, and its rule `r`, which answers everything with 200, with those.
fn site(driver: Driver, site: &str, rule: &str) -> Config {
    Config::new(driver).section(&format!(
        "[[sites]]\nname = \"a\"\nhosts = [\"*\"]\n{site}\n[[sites.rules]]\nname = \"r\"\npath = \"/*\"\n\
         respond = {{ status = 200, body = \"in\" }}\n{rule}"
    ))
}

/// A limit of so many requests, and not soon any more.
fn limit(requests: usize, more: &str) -> String {
    format!("rate_limit = {{ requests = {requests}, {NO_REFILL}{more} }}")
}

/// How many of `count` requests with these field lines are let through, on one connection.
#[track_caller]
fn let_in(client: &mut Client, fields: &str, count: usize) -> usize {
    let request = format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
    (0..count).filter(|_| is_let_in(&client.ask(&request))).count()
}

/// 200 or 429, and nothing else.
#[track_caller]
fn is_let_in(answer: &Response) -> bool {
    if answer.status == 200 {
        return true;
    }
    answer.assert_error(429, "too_many_requests");
    false
}

/// A client at 127.0.0.`host`.
fn local(host: u8, address: &Address) -> Client {
    Client::connect_from([127, 0, 0, host], address)
}
