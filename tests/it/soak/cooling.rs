//! Clients that come back just when their connection gives up the buffer it kept for them (a tick or two after the last
//! response): whichever is quicker, no request and no part of one is lost.

use crate::harness::backend::Backend;
use crate::harness::client::Client;
use crate::harness::config::Driver;
use crate::harness::proxy::Proxy;
use crate::harness::{on_both_drivers, pause, size};
use std::time::Duration;

on_both_drivers![nothing_is_lost_while_connections_cool];

const CLIENTS: usize = 50;

fn nothing_is_lost_while_connections_cool(driver: Driver) {
    let backend = Backend::echoes_body();
    let proxy = Proxy::to(driver, &backend);
    std::thread::scope(|scope| {
        for seed in 0..CLIENTS {
            let mut client = proxy.client();
            scope.spawn(move || come_and_go(&mut client, seed as u64));
        }
    });
    assert_eq!(backend.requests(), CLIENTS * requests());
}

fn requests() -> usize {
    size(15, 1000)
}

/// Pairs of quick requests make the connection hot; what follows comes around the time at which it cools, now and then in
/// two pieces.
fn come_and_go(client: &mut Client, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    for number in 0..requests() {
        let body = format!("{seed} {number}");
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if number % 3 != 0 {
            pause(Duration::from_micros(random.u64(90_000..210_000)));
        }
        let (first, rest) = request.split_at(if random.bool() { request.len() } else { random.usize(1..40) });
        client.send(first);
        if !rest.is_empty() {
            pause(Duration::from_micros(random.u64(90_000..210_000)));
            client.send(rest);
        }
        assert_eq!(client.response_to("POST").text(), body);
    }
}
