//! Bodies that are sent again: all of what came, byte for byte, as long as it is kept.

use super::ill_first;
use crate::harness::backend::{Backend, Visit};
use crate::harness::backends::{chunked, response};
use crate::harness::client::Client;
use crate::harness::config::Driver;
use crate::harness::message::Framing;
use crate::harness::proxy::Proxy;
use crate::harness::unreachable::Crowded;
use crate::harness::{on_both_drivers, pause, wait_until};
use std::time::Duration;

on_both_drivers![
    a_body_is_sent_again_whole,
    a_body_that_comes_slowly_is_sent_again_whole,
    a_body_is_sent_again_more_than_once,
    a_body_goes_on_where_the_failure_found_it,
    what_stands_behind_a_body_is_no_part_of_it,
    a_body_that_is_too_long_to_keep_is_not_sent_again,
    a_body_of_64_kib_is_kept,
    trailers_and_extensions_do_not_come_back,
    a_body_that_is_called_for_is_called_for_again,
    a_body_that_was_called_for_is_not_called_for_twice,
    a_body_limit_holds_over_all_tries,
    no_clock_of_the_client_runs_between_two_tries,
    a_client_that_goes_in_between_leaves_nothing,
];

/// Bytes of which no part is like another.
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(length as u64).fill(&mut bytes);
    bytes
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framed {
    Length,
    Chunks(usize),
}

impl Framed {
    /// A PUT of `body`: its head and what follows it.
    fn put(self, body: &[u8]) -> (String, Vec<u8>) {
        let (field, bytes) = match self {
            Framed::Length => (format!("Content-Length: {}", body.len()), body.to_vec()),
            Framed::Chunks(size) => ("Transfer-Encoding: chunked".to_owned(), chunked(body, size, "")),
        };
        (format!("PUT / HTTP/1.1\r\nHost: test\r\n{field}\r\n\r\n"), bytes)
    }
}

/// When the first backend goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goes {
    AfterTheHead,
    /// After so many bytes of the body.
    After(usize),
    AtTheEnd,
}

impl Goes {
    fn serve(self, visit: &mut Visit) {
        match self {
            Goes::AfterTheHead => drop(visit.head()),
            Goes::After(bytes) => drop(visit.head().and_then(|_| visit.exactly(bytes))),
            Goes::AtTheEnd => drop(visit.request()),
        }
    }
}

/// Sends a PUT to a proxy whose first backend goes in the middle, by pieces of `piece` bytes with pauses in between, and
/// asserts that the second one gets it whole.
fn assert_replayed(driver: Driver, body: &[u8], framed: Framed, goes: Goes, piece: usize) {
    let ill = Backend::script(move |visit| goes.serve(visit));
    let good = Backend::echoes_body();
    let proxy = Proxy::start(&ill_first(driver, &[ill.url()], &good.url(), ""));
    let mut client = proxy.client();
    send(&mut client, framed.put(body), piece);
    let answer = client.response();
    assert_eq!(answer.status, 200, "{framed:?}, {goes:?}, {piece}: {}", answer.text());
    assert!(
        answer.body == body,
        "{framed:?}, {goes:?}, {piece}: another body of {} bytes",
        answer.body.len()
    );
    let is_chunked = matches!(framed, Framed::Chunks(_));
    assert_eq!(Framing::of(&good.last_head().fields, Framing::None) == Framing::Chunked, is_chunked);
    assert_eq!((ill.requests(), good.requests()), (1, 1));
    // The connection goes on: nothing of the body was left over or taken too much.
    send(&mut client, framed.put(body), usize::MAX);
    assert!(client.response().body == body, "{framed:?}, {goes:?}, {piece}: another body the second time");
}

fn send(client: &mut Client, (head, body): (String, Vec<u8>), piece: usize) {
    if piece >= body.len() {
        client.send([head.as_bytes(), &body].concat());
        return;
    }
    client.send(head);
    for part in body.chunks(piece) {
        pause(Duration::from_millis(3));
        client.send(part);
    }
}

const FRAMINGS: [Framed; 3] = [Framed::Length, Framed::Chunks(700), Framed::Chunks(60_000)];

fn a_body_is_sent_again_whole(driver: Driver) {
    for length in [1, 5_000, 60_000] {
        for framed in FRAMINGS {
            for goes in [Goes::AfterTheHead, Goes::After(length / 2), Goes::AtTheEnd] {
                assert_replayed(driver, &noise(length), framed, goes, usize::MAX);
            }
        }
    }
}

fn a_body_that_comes_slowly_is_sent_again_whole(driver: Driver) {
    for (length, piece) in [(40, 1), (20_000, 1_300), (60_000, 6_000)] {
        for framed in FRAMINGS {
            for goes in [Goes::AfterTheHead, Goes::After(length / 3), Goes::AtTheEnd] {
                assert_replayed(driver, &noise(length), framed, goes, piece);
            }
        }
    }
}

fn a_body_is_sent_again_more_than_once(driver: Driver) {
    let ends = [Goes::After(10_000), Goes::AtTheEnd, Goes::AfterTheHead];
    let ill = ends.map(|goes| Backend::script(move |visit| goes.serve(visit)));
    let good = Backend::echoes_body();
    let urls = ill.each_ref().map(Backend::url);
    for framed in FRAMINGS {
        let proxy = Proxy::start(&ill_first(driver, &urls, &good.url(), "retries = 3"));
        let mut client = proxy.client();
        let body = noise(50_000);
        send(&mut client, framed.put(&body), 7_000);
        assert!(client.response().body == body, "{framed:?}");
    }
    assert_eq!(ill.each_ref().map(Backend::requests), [3; 3]);
}

/// Little of a long body had come when the backend went: it is sent again, and the rest goes the same way.
fn a_body_goes_on_where_the_failure_found_it(driver: Driver) {
    for (framed, length) in [(Framed::Length, 1_000_000), (Framed::Chunks(10_000), 1_000_000)] {
        let ill = Backend::script(|visit| Goes::After(1_000).serve(visit));
        let good = Backend::echoes_body();
        let proxy = Proxy::start(&ill_first(driver, &[ill.url()], &good.url(), ""));
        let (body, mut client) = (noise(length), proxy.client());
        let (head, bytes) = framed.put(&body);
        let (first, rest) = bytes.split_at(5_000);
        client.send(head).send(first);
        good.wait_for_requests(1);
        let writer = client.writer();
        let answer = std::thread::scope(|scope| {
            scope.spawn(|| std::io::Write::write_all(&mut &*writer, rest).expect("the proxy takes it"));
            client.response()
        });
        assert!(answer.body == body, "{framed:?}: {}", answer.status);
    }
}

/// A body came in two pieces, the second one with the next request, and the first backend went at its end.
fn what_stands_behind_a_body_is_no_part_of_it(driver: Driver) {
    for framed in FRAMINGS {
        let ill = Backend::script(|visit| Goes::AtTheEnd.serve(visit));
        let good = Backend::script(|visit| {
            while let Some(request) = visit.request() {
                let answer = format!("{} with {}", request.head.target(), request.body.len());
                visit.send(response("200 OK", "", answer.as_bytes()));
            }
        });
        let proxy = Proxy::start(&ill_first(driver, &[ill.url()], &good.url(), ""));
        let mut client = proxy.client();
        let (head, body) = framed.put(&noise(3_000));
        let (first, rest) = body.split_at(1_000);
        client.send(head).send(first);
        ill.wait_for_requests(1);
        client.send([rest, b"PUT /next HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nnext"].concat());
        let answers = [client.response().text(), client.response().text()];
        assert_eq!(answers, ["/ with 3000", "/next with 4"], "{framed:?}");
        assert_eq!((ill.requests(), good.requests(), good.accepts()), (2, 2, 1), "{framed:?}");
    }
}

fn a_body_that_is_too_long_to_keep_is_not_sent_again(driver: Driver) {
    for framed in FRAMINGS {
        // More than is kept had gone by then, whatever stands in buffers.
        for goes in [Goes::After(2_000_000), Goes::AtTheEnd] {
            let ill = Backend::script(move |visit| goes.serve(visit));
            let good = Backend::echoes_body();
            let proxy = Proxy::start(&ill_first(driver, &[ill.url()], &good.url(), ""));
            let mut client = proxy.client();
            let (head, body) = framed.put(&noise(3_000_000));
            let writer = client.writer();
            std::thread::scope(|scope| {
                // The answer may come, and the connection close, before all is sent.
                scope.spawn(|| {
                    drop(std::io::Write::write_all(&mut &*writer, &[head.as_bytes(), &body].concat()))
                });
                client.response().assert_error(502, "upstream_closed");
                drop(writer.shutdown(std::net::Shutdown::Both));
            });
            assert_eq!((ill.requests(), good.requests()), (1, 0), "{framed:?}, {goes:?}");
        }
    }
}

fn a_body_of_64_kib_is_kept(driver: Driver) {
    for framed in [Framed::Length, Framed::Chunks(1_000), Framed::Chunks(64 * 1024)] {
        for piece in [usize::MAX, 8_192, 1_500] {
            assert_replayed(driver, &noise(64 * 1024), framed, Goes::AtTheEnd, piece);
        }
    }
}

/// What is kept is the body as it goes upstream.
fn trailers_and_extensions_do_not_come_back(driver: Driver) {
    let ill = Backend::script(|visit| Goes::AtTheEnd.serve(visit));
    let good = Backend::answers(|request| {
        response("200 OK", if request.body_has_trailers { "X-Trailers: yes\r\n" } else { "" }, &request.body)
    });
    let proxy = Proxy::start(&ill_first(driver, &[ill.url()], &good.url(), ""));
    let head = "PUT / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
    let mut client = proxy.client();
    client.send(head);
    for part in ["3;a=\"b\"\r\nab", "c\r\n00", "4\r\ndefg", "\r\n0\r\nX-Sum: 1\r\n", "\r\n"] {
        pause(Duration::from_millis(3));
        client.send(part);
    }
    let answer = client.response();
    assert_eq!((answer.status, answer.text().as_str(), answer.field("x-trailers")), (200, "abcdefg", None));
}

/// The first backend goes before it calls for the body: the second one does.
fn a_body_that_is_called_for_is_called_for_again(driver: Driver) {
    let ill = Backend::script(|visit| Goes::AfterTheHead.serve(visit));
    let good = Backend::script(|visit| {
        let Some(head) = visit.head() else { return };
        assert_eq!(head.fields.get("expect"), Some("100-continue"));
        visit.send("HTTP/1.1 100 Continue\r\n\r\n");
        let body = visit.exactly(5).expect("a body");
        visit.send(response("200 OK", "", &body));
    });
    let proxy = Proxy::start(&ill_first(driver, &[ill.url()], &good.url(), ""));
    let mut client = proxy.client();
    client.send("PUT / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.head().status(), 100);
    let answer = client.ask("hello");
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    assert_eq!((ill.requests(), good.requests()), (1, 1));
}

/// The 100 has gone to the client: that is a byte of a response.
fn a_body_that_was_called_for_is_not_called_for_twice(driver: Driver) {
    let ill = Backend::script(|visit| {
        visit.head();
        visit.send("HTTP/1.1 100 Continue\r\n\r\n");
        visit.exactly(3);
    });
    let good = Backend::echoes_body();
    let proxy = Proxy::start(&ill_first(driver, &[ill.url()], &good.url(), ""));
    let mut client = proxy.client();
    client.send("PUT / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.head().status(), 100);
    client.ask("hello").assert_error(502, "upstream_closed");
    assert_eq!((ill.requests(), good.requests()), (1, 0));
}

/// What is sent again is not counted again.
fn a_body_limit_holds_over_all_tries(driver: Driver) {
    let ill = Backend::script(|visit| Goes::AtTheEnd.serve(visit));
    let good = Backend::echoes_body();
    let config = ill_first(driver, &[ill.url()], &good.url(), "").limits("max_request_body = \"10KiB\"");
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    send(&mut client, Framed::Chunks(1_000).put(&noise(10 * 1024)), 2_000);
    let answer = client.response();
    assert_eq!((answer.status, answer.body == noise(10 * 1024)), (200, true), "{}", answer.text());
    let mut client = proxy.client();
    send(&mut client, Framed::Chunks(1_000).put(&noise(10 * 1024 + 1)), 2_000);
    client.response().assert_error(413, "content_too_large");
}

/// It owed bytes when the first backend went, and sends them while the second one is being connected to, which takes longer
/// than its own time.
fn no_clock_of_the_client_runs_between_two_tries(driver: Driver) {
    let directory = tempfile::tempdir().expect("a directory");
    let ill = Backend::script(|visit| Goes::After(1_000).serve(visit));
    let crowded = Crowded::on_unix(&directory.path().join("socket"));
    let lines = "timeouts = { connect = \"20s\" }";
    let config = ill_first(driver, &[ill.url()], &crowded.url(), lines).timeouts("body = \"300ms\"");
    let proxy = Proxy::watched(config);
    let (body, mut client) = (noise(40_000), proxy.client());
    let (head, _) = Framed::Length.put(&body);
    let (first, rest) = body.split_at(5_000);
    client.send(head).send(first);
    wait_until("the second one is tried", || proxy.upstream_status("u")["retries"]["total"] == 1);
    client.send(rest);
    pause(Duration::from_millis(900));
    assert!(crowded.serve(&response("200 OK", "", b"")) == body);
    assert_eq!(client.response().status, 200);
}

fn a_client_that_goes_in_between_leaves_nothing(driver: Driver) {
    let ill = Backend::script(|visit| Goes::After(1_000).serve(visit));
    let good = Backend::script(|visit| {
        visit.head();
        visit.until_closed();
    });
    let proxy = Proxy::watched(ill_first(driver, &[ill.url()], &good.url(), "retries = 1\nkeepalive = 0"));
    let before = proxy.descriptors();
    for number in 1..=10 {
        let mut client = proxy.client();
        let (head, body) = Framed::Length.put(&noise(40_000));
        client.send(head).send(&body[..20_000]);
        good.wait_for_requests(number);
        if number % 2 == 0 { drop(client) } else { client.reset() }
    }
    good.wait_until_idle();
    proxy.wait_for_descriptors(before);
    proxy.wait_until_nothing_runs();
}
