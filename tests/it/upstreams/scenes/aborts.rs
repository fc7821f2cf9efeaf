//! Nine clients in ten go away at a random moment, in the middle of whatever they are at.

use super::{Account, Before, Extent, pool};
use crate::harness::backends::{HELLO, chunked, response};
use crate::harness::client::Client;
use crate::harness::config::Driver;
use crate::harness::crowd::{crowd, raise_file_limit};
use crate::harness::forgetful::{Call, Forgetful};
use crate::harness::pause;
use crate::harness::proxy::Proxy;
use fastrand::Rng;
use std::time::Duration;

/// Clients at one time: more than have places, so that some are always waiting.
const CLIENTS: usize = 20;

/// No idle connection is kept: every descriptor belongs to somebody. There is room in the line for all: that one has gone is
/// found out some moments later.
const LINES: &str = "max_active = 10\nmax_queued = 10000\nkeepalive = 0";

const DOWNLOAD_BYTES: usize = 200_000;
const UPLOAD_BYTES: usize = 90_000;

/// Answers slowly enough to be left in the middle.
fn serve(call: &mut Call) {
    while let Some(head) = call.head() {
        pause(Duration::from_micros(fastrand::u64(0..1_000)));
        if call.body(&head).is_none() {
            return;
        }
        let answer = match head.target() {
            "/download" => response("200 OK", "", &[b'x'; DOWNLOAD_BYTES]),
            _ => response("200 OK", "", HELLO),
        };
        let sent = answer.chunks(20_000).all(|piece| {
            pause(Duration::from_micros(fastrand::u64(0..300)));
            call.send(piece)
        });
        if !sent {
            return;
        }
    }
}

/// A request, and the length of the body that answers it.
fn request(rng: &mut Rng) -> (Vec<u8>, usize) {
    let upload = vec![b'x'; UPLOAD_BYTES];
    let with_body = |framing: &str, body: &[u8]| {
        let head = format!("PUT /upload HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
        [head.as_bytes(), body].concat()
    };
    match rng.u8(0..4) {
        0 => (b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), HELLO.len()),
        1 => (b"GET /download HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), DOWNLOAD_BYTES),
        2 => (with_body(&format!("Content-Length: {UPLOAD_BYTES}"), &upload), HELLO.len()),
        _ => (with_body("Transfer-Encoding: chunked", &chunked(&upload, 7_000, "")), HELLO.len()),
    }
}

/// Sends a part of a request, perhaps all of it; waits a while; reads a part of what came; and goes.
fn abort(mut client: Client, rng: &mut Rng) {
    let (request, length) = request(rng);
    let part = if rng.bool() { request.len() } else { rng.usize(0..request.len()) };
    client.send(&request[..part]);
    pause(Duration::from_micros(rng.u64(0..3_000)));
    if part == request.len() && rng.bool() {
        // Its turn may come late; then it goes without a byte.
        client.read_timeout(Duration::from_millis(20));
        client.read_up_to(rng.usize(1..length + 100));
    }
    if rng.bool() { drop(client) } else { client.reset() }
}

/// One in ten stays, and has its answer.
fn stay(mut client: Client, rng: &mut Rng) {
    let (request, length) = request(rng);
    let answer = client.ask(request);
    assert_eq!((answer.status, answer.body.len()), (200, length));
}

/// `count` clients, twenty at a time, of which every tenth stays.
fn play(proxy: &Proxy, count: usize, seed: u64) {
    crowd(CLIENTS, |number| {
        let mut rng = Rng::with_seed(seed ^ number as u64);
        for turn in (number..count).step_by(CLIENTS) {
            let client = proxy.client();
            // In each round two stay, and each client in every tenth round.
            if turn / CLIENTS % 10 == number % 10 { stay(client, &mut rng) } else { abort(client, &mut rng) }
        }
    });
}

pub fn nine_in_ten(driver: Driver, extent: Extent) -> Account {
    raise_file_limit();
    let backend = Forgetful::script(serve);
    let proxy = Proxy::watched(pool(driver, &[backend.url()], LINES).workers(2));
    let descriptors = proxy.descriptors();
    // What the first ones find missing is made once.
    play(&proxy, 400, 1);
    proxy.wait_for_descriptors(descriptors);
    proxy.wait_until_nothing_runs();
    let (before, count) = (Before::of(&proxy), extent.of(600, 10_000));
    play(&proxy, count, 2);
    before.assert_found_again(&proxy);
    vec![
        ("clients", count),
        ("of these aborted", count - count / 10),
        ("requests that came to the backend", backend.requests()),
    ]
}
