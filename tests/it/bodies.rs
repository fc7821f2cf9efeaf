//! "Bodies": framing on both sides, streaming, early answers, Expect, trailers, and bodies that end short.

use crate::harness::backend::Backend;
use crate::harness::backends::{HELLO, chunked, chunked_response, response};
use crate::harness::client::{Client, Response};
use crate::harness::config::{Config, Driver};
use crate::harness::message::{Ending, Framing};
use crate::harness::on_both_drivers;
use crate::harness::proxy::Proxy;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

on_both_drivers![
    each_framing_arrives_as_one_of_ours,
    head_no_content_and_not_modified_have_no_body,
    chunks_pass_through_as_they_come,
    events_flow,
    a_request_body_streams,
    both_directions_run_at_once,
    chunk_extensions_are_dropped,
    request_trailers_are_dropped,
    response_trailers_reach_who_asked_for_them,
    an_http_1_0_client_gets_no_chunks,
    until_close_becomes_chunked,
    a_short_length_is_never_complete,
    a_missing_last_chunk_is_never_complete,
    a_broken_off_body_is_reset_where_a_fin_would_look_complete,
    a_request_that_ends_short_is_cut_at_the_backend,
    continue_is_answered_by_the_backend,
    a_final_answer_instead_of_continue_closes_the_client,
    any_other_expectation_is_refused,
    an_early_answer_streams_while_the_request_goes_on,
    what_is_left_of_a_small_request_is_drained,
    a_long_request_that_nobody_reads_closes,
    what_was_answered_before_a_write_failed_is_passed_on,
    interim_responses_are_relayed,
    interim_responses_are_not_for_http_1_0,
    a_client_that_never_reads_stalls_the_backend,
    a_backend_that_never_reads_stalls_the_client,
    a_body_over_its_limit_by_length_is_refused_before_dialling,
    a_body_over_its_limit_by_count_closes_the_backend,
    a_body_at_its_limit_passes,
];

/// The answer to a GET when the backend answers with `bytes` and closes.
fn answer_of(driver: Driver, bytes: impl AsRef<[u8]>) -> Response {
    let backend = Backend::answers_and_closes(bytes);
    Proxy::to(driver, &backend).client().get("/")
}

fn each_framing_arrives_as_one_of_ours(driver: Driver) {
    let answer = answer_of(driver, response("200 OK", "", HELLO));
    assert_eq!((answer.framing, answer.body.as_slice()), (Framing::Length(13), HELLO));
    let answer = answer_of(driver, chunked_response("", HELLO, 4, ""));
    assert_eq!((answer.framing, answer.body.as_slice()), (Framing::Chunked, HELLO));
    let backend = Backend::echoes_body();
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    let length = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!((length.framing, length.text().as_str()), (Framing::Length(5), "hello"));
    let head = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = client.ask([head.as_bytes(), &chunked(HELLO, 3, "")].concat());
    assert_eq!((chunks.framing, chunks.body.as_slice()), (Framing::Chunked, HELLO));
    assert_eq!(client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").text(), "");
    assert_eq!(backend.accepts(), 1);
}

fn head_no_content_and_not_modified_have_no_body(driver: Driver) {
    let backend = Backend::answers(|request| match request.head.target() {
        "/204" => {
            b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n".to_vec()
        }
        "/304" => b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec(),
    });
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    let head = client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").response_to("HEAD");
    assert_eq!((head.status, head.field("content-length")), (200, Some("5")));
    let none = client.get("/204");
    assert_eq!((none.field("content-length"), none.field("transfer-encoding")), (None, None));
    assert_eq!(client.get("/304").field("etag"), Some("\"x\""));
    assert_eq!(client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").response_to("HEAD").status, 200);
}

/// A backend that sends the head of a chunked response, and then a chunk whenever it is told one.
fn sends_when_told(fields: &'static str) -> (Backend, Sender<&'static str>) {
    let (tell, told) = channel::<&str>();
    let told = Mutex::new(told);
    let backend = Backend::script(move |visit| {
        let told: &Receiver<&str> = &told.lock().expect("one connection");
        visit.request();
        visit.send(format!("HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n"));
        while let Ok(text) = told.recv() {
            visit.send(format!("{:x}\r\n{text}\r\n", text.len()));
        }
        visit.send("0\r\n\r\n");
    });
    (backend, tell)
}

fn chunks_pass_through_as_they_come(driver: Driver) {
    let (backend, tell) = sends_when_told("");
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").head();
    for text in ["one", "and two", "three"] {
        tell.send(text).unwrap();
        let expected = format!("{:x}\r\n{text}\r\n", text.len());
        assert_eq!(client.exactly(expected.len()), expected.as_bytes());
    }
    drop(tell);
    assert_eq!(client.exactly(5), b"0\r\n\r\n");
}

fn events_flow(driver: Driver) {
    let (backend, tell) = sends_when_told("Content-Type: text/event-stream\r\n");
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    let head = client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n").head();
    assert_eq!(head.fields.get("content-type"), Some("text/event-stream"));
    for _ in 0..20 {
        tell.send("data: x\n\n").unwrap();
        assert_eq!(client.exactly(14), b"9\r\ndata: x\n\n\r\n");
    }
}

fn a_request_body_streams(driver: Driver) {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let backend = Backend::script(move |visit| {
        visit.head();
        for _ in 0..3 {
            let text = visit.exactly(4);
            tell.lock().unwrap().send(text).unwrap();
        }
        visit.send(response("200 OK", "", b"x"));
    });
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n");
    for text in ["four", "more", "last"] {
        client.send(text);
        assert_eq!(told.recv().unwrap().as_deref(), Some(text.as_bytes()));
    }
    assert_eq!(client.response().status, 200);
}

fn both_directions_run_at_once(driver: Driver) {
    let backend = Backend::script(|visit| {
        visit.head();
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n");
        for _ in 0..100 {
            let bytes = visit.exactly(4).unwrap_or_default();
            visit.send(bytes);
        }
        visit.request();
        visit.send(response("200 OK", "", HELLO));
    });
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 400\r\n\r\n").head();
    for number in 1000..1100 {
        let text = number.to_string();
        assert_eq!(client.send(&text).exactly(4), text.as_bytes());
    }
    assert_eq!(client.get("/").status, 200);
}

fn chunk_extensions_are_dropped(driver: Driver) {
    let backend = Backend::answers_with(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0;c\r\n\r\n",
    );
    let proxy = Proxy::to(driver, &backend);
    let answer = proxy.client().ask(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;name=\"value\"\r\nhello\r\n0;x\r\n\r\n",
    );
    assert_eq!((answer.text().as_str(), answer.framing), ("hi", Framing::Chunked));
    assert!(backend.received(0).ends_with(b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"));
}

fn request_trailers_are_dropped(driver: Driver) {
    let backend = Backend::echoes_body();
    let proxy = Proxy::to(driver, &backend);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
    let answer = proxy.client().ask([head.as_bytes(), &chunked(HELLO, 99, "X-Sum: 1\r\n")].concat());
    assert_eq!(answer.body, HELLO);
    assert!(backend.received(0).ends_with(b"\r\n0\r\n\r\n"));
}

fn response_trailers_reach_who_asked_for_them(driver: Driver) {
    let trailers = "X-Sum: 1\r\nContent-Length: 9\r\nHost: evil\r\nAuthorization: x\r\nTransfer-Encoding: chunked\r\nX-Last: 2\r\n";
    let backend = Backend::answers(move |_| chunked_response("", HELLO, 9, trailers));
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    let asked = client.ask("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    let names: Vec<&str> = asked.trailers.0.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["X-Sum", "X-Last"]);
    let head = backend.last_head();
    assert_eq!(head.fields.get("te"), Some("trailers"));
    assert!(
        head.fields.get("connection").is_some_and(|options| options.eq_ignore_ascii_case("te")),
        "{head:?}"
    );
    let unasked = client.get("/");
    assert_eq!((unasked.body.as_slice(), unasked.trailers.0.len()), (HELLO, 0));
    assert_eq!(backend.last_head().fields.get("te"), None);
}

fn an_http_1_0_client_gets_no_chunks(driver: Driver) {
    let backend = Backend::answers(|_| chunked_response("", HELLO, 5, ""));
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    let answer = client.ask("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!((answer.framing, answer.body.as_slice()), (Framing::UntilClose, HELLO));
    assert_eq!(answer.field("transfer-encoding"), None);
}

fn until_close_becomes_chunked(driver: Driver) {
    let backend = Backend::answers_and_closes([b"HTTP/1.1 200 OK\r\n\r\n", HELLO].concat());
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    let answer = client.get("/");
    assert_eq!((answer.framing, answer.body.as_slice()), (Framing::Chunked, HELLO));
    assert_eq!(client.get("/").body, HELLO, "the client's connection goes on");
    let answer = proxy.client().ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((answer.framing, answer.body.as_slice()), (Framing::UntilClose, HELLO));
}

fn a_short_length_is_never_complete(driver: Driver) {
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nHello, World!";
    for backend in [Backend::answers_and_closes(short), Backend::answers_and_resets(short)] {
        let proxy = Proxy::to(driver, &backend);
        let cut = proxy.client().send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").try_response("GET").unwrap_err();
        assert_ne!(cut.ending, Ending::Silence);
    }
}

fn a_missing_last_chunk_is_never_complete(driver: Driver) {
    let whole = chunked_response("", HELLO, 13, "");
    for missing in 1..=7 {
        let backend = Backend::answers_and_closes(&whole[..whole.len() - missing]);
        let proxy = Proxy::to(driver, &backend);
        let cut = proxy.client().send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").try_response("GET").unwrap_err();
        assert_ne!(cut.ending, Ending::Silence, "{missing} bytes missing");
    }
}

fn a_broken_off_body_is_reset_where_a_fin_would_look_complete(driver: Driver) {
    let whole = chunked_response("", HELLO, 13, "");
    let backends = [
        Backend::answers_and_closes(&whole[..whole.len() - 5]),
        Backend::answers_and_resets([b"HTTP/1.1 200 OK\r\n\r\n", HELLO].concat()),
    ];
    for backend in backends {
        let proxy = Proxy::to(driver, &backend);
        let cut = proxy.client().send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").try_response("GET").unwrap_err();
        assert_eq!(cut.ending, Ending::Reset);
    }
}

fn a_request_that_ends_short_is_cut_at_the_backend(driver: Driver) {
    for (framing, sent) in [("Content-Length: 9", "four"), ("Transfer-Encoding: chunked", "4\r\nfour\r\n")] {
        let whole = std::sync::Arc::new(Mutex::new(None));
        let backend = Backend::script({
            let whole = whole.clone();
            move |visit| *whole.lock().unwrap() = Some(visit.request().is_some())
        });
        let proxy = Proxy::to(driver, &backend);
        let mut client = proxy.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{sent}"));
        backend.wait_for_requests(1);
        drop(client);
        backend.wait_until_idle();
        assert_eq!(*whole.lock().unwrap(), Some(false), "{framing}");
    }
}

const EXPECTING: &str = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 13\r\n\r\n";

fn continue_is_answered_by_the_backend(driver: Driver) {
    let backend = Backend::script(|visit| {
        while let Some(head) = visit.head() {
            assert_eq!(head.fields.get("expect"), Some("100-continue"));
            visit.send("HTTP/1.1 100 Continue\r\n\r\n");
            let body = visit.exactly(13).unwrap_or_default();
            visit.send(response("200 OK", "", &body));
        }
    });
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    for _ in 0..2 {
        assert_eq!(client.send(EXPECTING).head().status(), 100);
        assert_eq!(client.ask(HELLO).body, HELLO);
    }
}

fn a_final_answer_instead_of_continue_closes_the_client(driver: Driver) {
    let backend = Backend::answers_early(response("403 Forbidden", "", b"no"));
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    let answer = client.ask(EXPECTING);
    assert_eq!((answer.status, answer.field("connection")), (403, Some("close")));
    client.assert_closed();
    backend.wait_until_idle();
}

fn any_other_expectation_is_refused(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::to(driver, &backend);
    let request = EXPECTING.replace("100-continue", "200-maybe");
    proxy.client().ask(request).assert_error(417, "expectation_failed");
    assert_eq!(backend.accepts(), 0);
}

fn an_early_answer_streams_while_the_request_goes_on(driver: Driver) {
    let backend = Backend::script(|visit| {
        visit.head();
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nearly");
        let body = visit.exactly(8).expect("the request goes on");
        assert_eq!(body, b"one, two");
        visit.send("late");
        visit.until_closed();
    });
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n").head();
    assert_eq!(client.exactly(5), b"early");
    assert_eq!(client.send("one, two").exactly(4), b"late");
}

/// A client that has had the whole answer to a POST of `length` bytes of which it has sent none.
fn answered_before_its_body(proxy: &Proxy, length: usize) -> Client {
    let mut client = proxy.client();
    let answer = client.ask(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
    assert_eq!(answer.body, HELLO);
    client
}

fn what_is_left_of_a_small_request_is_drained(driver: Driver) {
    let backend = Backend::answers_early(response("200 OK", "", HELLO));
    let proxy = Proxy::to(driver, &backend);
    let mut client = answered_before_its_body(&proxy, 60_000);
    let body = vec![b'x'; 60_000];
    assert_eq!(client.send(body).get("/").body, HELLO, "the connection serves the next request");
}

fn a_long_request_that_nobody_reads_closes(driver: Driver) {
    let backend = Backend::answers_early(response("200 OK", "", HELLO));
    let proxy = Proxy::to(driver, &backend);
    let mut client = answered_before_its_body(&proxy, 10_000_000);
    let whole = client.try_send(&vec![b'x'; 10_000_000]);
    let (rest, ending) = client.rest();
    assert_eq!((rest.as_slice(), ending != Ending::Silence), (b"".as_slice(), true), "all sent: {whole}");
}

fn what_was_answered_before_a_write_failed_is_passed_on(driver: Driver) {
    let backend = Backend::script(|visit| {
        visit.head();
        visit.send(response("413 Content Too Large", "Connection: close\r\n", b"too much"));
        // Closes with bytes unread: the proxy's next writes fail.
        visit.exactly(100_000);
    });
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    let writer = client.writer();
    let sending = std::thread::spawn(move || {
        use std::io::Write;
        let _ = (&*writer).write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n");
        let _ = (&*writer).write_all(&vec![b'x'; 50_000_000]);
    });
    let answer = client.response();
    assert_eq!((answer.status, answer.text().as_str()), (413, "too much"));
    drop(client);
    sending.join().unwrap();
}

fn interim_responses_are_relayed(driver: Driver) {
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nContent-Length: 3\r\n\r\n";
    let backend = Backend::answers(|_| {
        [b"HTTP/1.1 102 Processing\r\n\r\n", hint.as_bytes(), &response("200 OK", "", HELLO)].concat()
    });
    let proxy = Proxy::to(driver, &backend);
    let answer = proxy.client().get("/");
    let statuses: Vec<u16> = answer.interim.iter().map(|head| head.status()).collect();
    assert_eq!((statuses.as_slice(), answer.body.as_slice()), ([102, 103].as_slice(), HELLO));
    assert_eq!(answer.interim[1].fields.get("link"), Some("</a>; rel=preload"));
    assert_eq!(answer.interim[1].fields.get("content-length"), None);
}

fn interim_responses_are_not_for_http_1_0(driver: Driver) {
    let hint = b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec();
    let backend = Backend::answers(move |_| [hint.clone(), response("200 OK", "", HELLO)].concat());
    let answer = Proxy::to(driver, &backend).client().ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((answer.interim.len(), answer.body.as_slice()), (0, HELLO));
}

/// More than all socket buffers on the way can hold.
const TOO_MUCH: usize = 256 << 20;

fn a_client_that_never_reads_stalls_the_backend(driver: Driver) {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let backend = Backend::script(move |visit| {
        visit.request();
        visit.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {TOO_MUCH}\r\n\r\n"));
        tell.lock().unwrap().send(visit.send_until_stalled(TOO_MUCH)).unwrap();
    });
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let sent = told.recv_timeout(crate::harness::DEADLINE * 3).expect("the backend stalls");
    assert!(sent < TOO_MUCH, "everything was taken though nobody reads");
    assert!(proxy.memory_kib() < 64 * 1024, "{} KiB", proxy.memory_kib());
}

fn a_backend_that_never_reads_stalls_the_client(driver: Driver) {
    let backend = Backend::never_reads();
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {TOO_MUCH}\r\n\r\n"));
    let sent = client.send_until_stalled(TOO_MUCH);
    assert!(sent < TOO_MUCH, "everything was taken though nobody reads");
    assert!(proxy.memory_kib() < 64 * 1024, "{} KiB", proxy.memory_kib());
    // Nobody could tell the proxy that the client has gone: its FIN stands behind what is not read.
    drop((client, backend));
}

fn a_body_over_its_limit_by_length_is_refused_before_dialling(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::start(&Config::to(driver, &backend).limits("max_request_body = \"1KiB\""));
    let answer = proxy.client().ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n");
    answer.assert_error(413, "content_too_large");
    assert_eq!(backend.accepts(), 0);
}

fn a_body_over_its_limit_by_count_closes_the_backend(driver: Driver) {
    let backend = Backend::never_answers();
    let proxy = Proxy::start(&Config::to(driver, &backend).limits("max_request_body = \"1KiB\""));
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..5 {
        client.send(format!("100\r\n{}\r\n", "x".repeat(256)));
    }
    client.response().assert_error(413, "content_too_large");
    client.assert_closed();
    backend.wait_until_idle();
}

fn a_body_at_its_limit_passes(driver: Driver) {
    let backend = Backend::echoes_body();
    let proxy = Proxy::start(&Config::to(driver, &backend).limits("max_request_body = \"1KiB\""));
    let body = vec![b'x'; 1024];
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = proxy.client().ask([head.as_bytes(), &chunked(&body, 100, "")].concat());
    assert_eq!(answer.body, body);
    let proxy = Proxy::to(driver, &backend);
    let long = vec![b'x'; 100_000];
    let answer = proxy
        .client()
        .ask([b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n".as_slice(), &long].concat());
    assert_eq!(answer.body, long, "there is no limit by default");
}
