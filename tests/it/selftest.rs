//! The pieces of the harness against each other, without a proxy between them.

use crate::harness::backend::Backend;
use crate::harness::backends::{chunked_response, response};
use crate::harness::client::{Address, Client};
use crate::harness::message::{Ending, Framing};
use crate::harness::wait_until;

fn client_of(backend: &Backend) -> Client {
    Client::connect(&Address::Tcp(backend.address()))
}

#[test]
fn client_and_backend_understand_each_other() {
    let backend = Backend::echoes_body();
    let mut client = client_of(&backend);
    let request =
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    client.send_in_pieces(request, 1);
    let response = client.response();
    assert_eq!((response.framing, response.text().as_str()), (Framing::Chunked, "abcde"));
    assert_eq!(backend.received(0), request.as_bytes());
    assert_eq!((backend.accepts(), backend.requests()), (1, 1));
    assert_eq!(client.get("/y").text(), "");
}

#[test]
fn a_truncated_answer_is_a_cut_one() {
    let backend = Backend::answers_and_closes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour");
    let cut = client_of(&backend).send("GET / HTTP/1.1\r\n\r\n").try_response("GET").unwrap_err();
    assert_eq!((cut.ending, cut.bytes.as_slice()), (Ending::Fin, b"four".as_slice()));
    let backend = Backend::answers_and_resets("HTTP/1.1 200 OK\r\n");
    let cut = client_of(&backend).send("GET / HTTP/1.1\r\n\r\n").try_response("GET").unwrap_err();
    assert_eq!(cut.ending, Ending::Reset);
}

#[test]
fn interim_heads_and_trailers_are_kept_apart() {
    let early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".to_vec();
    let backend = Backend::answers_with([early, chunked_response("", b"abc", 2, "X-Sum: 1\r\n")].concat());
    let response = client_of(&backend).get("/");
    assert_eq!(response.interim[0].status(), 103);
    assert_eq!(response.chunks, [2, 1]);
    assert_eq!(response.trailers.get("x-sum"), Some("1"));
}

#[test]
fn a_client_that_resets_is_seen_by_the_backend() {
    let backend = Backend::never_answers();
    let mut client = client_of(&backend);
    client.send("GET / HTTP/1.1\r\n\r\n");
    wait_until("the bytes arrive", || backend.accepts() == 1 && !backend.received(0).is_empty());
    client.reset();
    backend.wait_until_idle();
}

#[test]
fn a_backend_on_a_unix_socket_answers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("b.sock");
    let backend = Backend::on_unix(&path, |visit| {
        visit.request();
        visit.send(response("200 OK", "", b"x"));
    });
    assert_eq!(backend.url(), format!("unix:{}", path.display()));
    assert_eq!(Client::connect(&Address::Unix(path)).get("/").text(), "x");
}
