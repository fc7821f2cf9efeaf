//! The case files of `tests/cases`, each through the real program: what a peer sends, and what the other side sees.
//!
//! Each case has a listener, a site and a backend of its own, so that what reaches that backend came of that case.

use crate::harness::backend::{Backend, Request, Visit};
use crate::harness::backends::response;
use crate::harness::client::{Address, Client, Response};
use crate::harness::config::{Config, Driver};
use crate::harness::message::Ending;
use crate::harness::on_both_drivers;
use crate::harness::proxy::Proxy;
use ringway_casefile::{BACKEND_AUTHORITY, Case, End, Kind, Message};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

on_both_drivers![request_cases, response_cases];

fn request_cases(driver: Driver) {
    run(driver, Kind::Request, RequestStage::backend, request_case);
}

fn response_cases(driver: Driver) {
    run(driver, Kind::Response, response_backend, response_case);
}

/// Listeners in one process.
const CASES_A_PROXY: usize = 50;

fn run<S>(
    driver: Driver,
    kind: Kind,
    stage: impl Fn(&Case) -> (Backend, S),
    check: impl Fn(&Case, &Address, &Backend, &S),
) {
    let cases = ringway_casefile::load(&ringway_casefile::folder()).expect("the case files are read");
    let cases: Vec<Case> = cases.into_iter().filter(|case| case.kind == kind).collect();
    assert!(cases.len() > 100, "{} cases", cases.len());
    let mut failed = Vec::new();
    for some in cases.chunks(CASES_A_PROXY) {
        let stages: Vec<_> = some.iter().map(&stage).collect();
        let proxy = Proxy::start(&config(driver, stages.iter().map(|(backend, _)| backend)));
        for ((case, (backend, stage)), address) in some.iter().zip(&stages).zip(proxy.addresses()) {
            let checked = catch_unwind(AssertUnwindSafe(|| check(case, address, backend, stage)));
            failed.extend(checked.err().map(|_| case.name.clone()));
        }
    }
    assert!(failed.is_empty(), "{} of {} cases fail: {failed:#?}", failed.len(), cases.len());
}

/// A listener, a site and a rule for each backend, in their order.
fn config<'a>(driver: Driver, backends: impl ExactSizeIterator<Item = &'a Backend>) -> Config {
    let mut config = Config::new(driver).listeners(&[]);
    for (number, backend) in backends.enumerate() {
        config = config.section(&format!(
            "[[listeners]]\nname = \"l{number}\"\naddress = \"127.0.0.{}:0\"\n\
             [[sites]]\nname = \"s{number}\"\nhosts = [\"*\"]\nlisteners = [\"l{number}\"]\n\
             rules = [{{ name = \"all\", path = \"/*\", target = \"{}\" }}]",
            number + 1,
            backend.url()
        ));
    }
    config
}

/// What the backend of a request case has seen to its end.
struct RequestStage(Arc<Mutex<Vec<Request>>>);

impl RequestStage {
    fn backend(_: &Case) -> (Backend, Self) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stage = RequestStage(seen.clone());
        let answer = move |request: &Request| {
            seen.lock().expect("a lock").push(request.clone());
            response("200 OK", "", b"")
        };
        (Backend::answers(answer), stage)
    }

    fn seen(&self) -> Vec<Request> {
        self.0.lock().expect("a lock").clone()
    }
}

fn request_case(case: &Case, address: &Address, backend: &Backend, stage: &RequestStage) {
    let mut client = Client::connect(address);
    client.send(&case.input);
    if case.closes {
        client.finish();
    }
    let whole = match case.end {
        End::Broken { .. } => case.messages.len() - 1,
        _ => case.messages.len(),
    };
    for (index, message) in case.messages[..whole].iter().enumerate() {
        let answer = client.response_to(&method(message));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let seen = stage.seen();
        let seen = seen.get(index).expect("the backend has seen it");
        assert_text(&seen.head.raw, &with_authority(&message.head, backend));
        assert_text(&seen.body, &message.body);
        assert!(!seen.body_has_trailers, "trailers of a request are dropped");
    }
    let before = received(backend);
    match &case.end {
        End::Clean => {}
        End::Refused { detail, status } => assert_refused(&mut client, *status, detail),
        End::Answered { status } => {
            assert_eq!(client.response_to(&start_method(&case.input)).status, *status)
        }
        End::Incomplete => {
            client.read_timeout(Duration::from_millis(100));
            let (bytes, ending) = client.rest();
            assert_eq!((bytes.as_slice(), ending), (b"".as_slice(), Ending::Silence));
        }
        End::Broken { status: 0, .. } => drop(client.rest()),
        End::Broken { detail, status } => assert_refused(&mut client, *status, detail),
    }
    if matches!(case.end, End::Broken { .. }) {
        backend.wait_until_idle();
    } else {
        assert_eq!(received(backend), before, "the backend has received more");
    }
    assert_eq!(stage.seen().len(), whole, "the backend has seen another request");
}

fn received(backend: &Backend) -> usize {
    (0..backend.accepts()).map(|number| backend.received(number).len()).sum()
}

/// The method of a request's first line, as a client knows it whose answer is to come.
fn start_method(request: &[u8]) -> String {
    let word: Vec<u8> = request.iter().copied().take_while(|&byte| byte != b' ').collect();
    String::from_utf8_lossy(&word).into_owned()
}

fn method(message: &Message) -> String {
    start_method(&message.head)
}

#[track_caller]
fn assert_refused(client: &mut Client, status: u16, detail: &str) {
    let answer = client.response();
    assert_eq!(answer.status, status, "{}", answer.text());
    if status == 400 {
        assert_eq!((answer.json("code").as_str(), answer.json("detail").as_str()), ("bad_request", detail));
    }
    client.assert_closed();
}

#[track_caller]
fn assert_text(got: &[u8], expected: &[u8]) {
    assert_eq!(got.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

/// `head` with the backend's real authority where the case file says `{backend}`.
fn with_authority(head: &[u8], backend: &Backend) -> Vec<u8> {
    let place = BACKEND_AUTHORITY.as_bytes();
    match head.windows(place.len()).position(|window| window == place) {
        Some(at) => {
            let authority = backend.address().to_string();
            [&head[..at], authority.as_bytes(), &head[at + place.len()..]].concat()
        }
        None => head.to_vec(),
    }
}

/// A backend that sends the case's input as its first answer, and then serves whatever comes on any connection.
fn response_backend(case: &Case) -> (Backend, ()) {
    let (input, closes) = (case.input.clone(), case.closes);
    let backend = Backend::script(move |visit| {
        if visit.number == 0 && !first_answer(visit, &input, closes) {
            return;
        }
        while visit.request().is_some() && visit.send(response("200 OK", "", b"again")) {}
    });
    (backend, ())
}

fn first_answer(visit: &mut Visit, input: &[u8], closes: bool) -> bool {
    let sent = visit.request().is_some() && visit.send(input);
    if closes {
        visit.finish();
        visit.until_closed();
    }
    sent && !closes
}

fn response_case(case: &Case, address: &Address, backend: &Backend, _: &()) {
    let mut client = Client::connect(address);
    client.send(case.client_request());
    let method = start_method(case.client_request());
    match &case.end {
        End::Clean => {
            let answer = client.response_to(&method);
            assert_messages(&answer, &case.messages, &mut client);
        }
        End::Refused { status, .. } => {
            let answer = client.response_to(&method);
            assert_eq!(answer.status, *status, "{}", answer.text());
            assert_interim(&answer, &case.messages);
            if method != "HEAD" {
                assert_eq!(answer.json("code"), "upstream_bad_response");
            }
        }
        End::Broken { status: 0, .. } => {
            // Cut short, or, when the break came in the same read as the head, an answer of Ringway's in its place.
            if let Ok(answer) = client.try_response(&method) {
                answer.assert_error(502, "upstream_bad_response");
            }
        }
        end => panic!("no end of a response: {end:?}"),
    }
    drop(client);
    if let Some(kept) = case.backend_kept {
        assert_eq!(Client::connect(address).get("/again").text(), "again");
        assert_eq!(backend.accepts(), if kept { 1 } else { 2 }, "connections that the backend has accepted");
    }
}

fn assert_messages(answer: &Response, messages: &[Message], client: &mut Client) {
    let (last, interim) = messages.split_last().expect("a message");
    assert_interim(answer, interim);
    assert_text(&answer.head.raw, &last.head);
    let body = if answer.status == 101 { client.exactly(last.body.len()) } else { answer.body.clone() };
    assert_text(&body, &last.body);
    assert_text(&answer.trailer_lines, &last.trailers);
}

fn assert_interim(answer: &Response, messages: &[Message]) {
    let heads: Vec<String> = answer.interim.iter().map(|head| head.raw.escape_ascii().to_string()).collect();
    let expected: Vec<String> =
        messages.iter().map(|message| message.head.escape_ascii().to_string()).collect();
    assert_eq!(heads, expected, "interim heads");
}
