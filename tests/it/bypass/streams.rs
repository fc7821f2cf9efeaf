//! Several requests on one connection, bodies that hide one, trailers and upgrades.

use super::{ALL, House, Refused, Served, Try, With};
use crate::harness::config::Driver;
use crate::harness::on_both_drivers;

on_both_drivers![no_request_hides_behind_another];

fn no_request_hides_behind_another(driver: Driver) {
    let tries: Vec<Try> =
        TRIES.iter().map(|&(name, bytes, with)| Try { name, bytes: bytes.to_owned(), with }).collect();
    House::new(driver).withstands(&tries, &ALL);
}

const TRIES: &[(&str, &str, With)] = &[
    (
        "behind a public one",
        "GET /api/health HTTP/1.1\r\nHost: {host}\r\n\r\n\
         GET /api/secret HTTP/1.1\r\nHost: {host}\r\n{auth}Connection: close\r\n\r\n",
        Served,
    ),
    (
        "behind one of an open site",
        "GET / HTTP/1.1\r\nHost: open.test\r\n\r\n\
         GET /api/secret HTTP/1.1\r\nHost: {host}\r\n{auth}Connection: close\r\n\r\n",
        Served,
    ),
    (
        "behind one that was let in",
        "GET /api/one HTTP/1.1\r\nHost: {host}\r\nAuthorization: {good}\r\nCookie: session=good\r\n\r\n\
         GET /api/secret HTTP/1.1\r\nHost: {host}\r\n{auth}Connection: close\r\n\r\n",
        Served,
    ),
    (
        "behind a body",
        "POST /api/health HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\nabcde\
         GET /api/secret HTTP/1.1\r\nHost: {host}\r\n{auth}Connection: close\r\n\r\n",
        Served,
    ),
    (
        "behind chunks",
        "POST /api/health HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n\
         GET /api/secret HTTP/1.1\r\nHost: {host}\r\n{auth}Connection: close\r\n\r\n",
        Served,
    ),
    (
        "in a body",
        "POST /api/health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 48\r\n\r\n\
         GET /api/secret HTTP/1.1\r\nHost: x\r\nA: bcdefg\r\n\r\n{auth}",
        Refused,
    ),
    (
        "a length and chunks",
        "POST /api/health HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\nGET /api/secret HTTP/1.1\r\nHost: {host}\r\n{auth}Connection: close\r\n\r\n",
        Refused,
    ),
    (
        "chunks and a length",
        "POST /api/health HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n\
         GET /api/secret HTTP/1.1\r\nHost: {host}\r\n{auth}Connection: close\r\n\r\n",
        Refused,
    ),
    (
        "two lengths",
        "POST /api/health HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n\
         GET /api/secret HTTP/1.1\r\nHost: {host}\r\n{auth}Connection: close\r\n\r\n",
        Refused,
    ),
    (
        "a length with a sign",
        "POST /api/health HTTP/1.1\r\nHost: {host}\r\nContent-Length: +0\r\n\r\n\
         GET /api/secret HTTP/1.1\r\nHost: {host}\r\n{auth}Connection: close\r\n\r\n",
        Refused,
    ),
    (
        "an unknown coding",
        "POST /api/health HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n\
         GET /api/secret HTTP/1.1\r\nHost: {host}\r\n{auth}Connection: close\r\n\r\n",
        Refused,
    ),
    (
        "chunks that are none of the last coding",
        "POST /api/health HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n\
         GET /api/secret HTTP/1.1\r\nHost: {host}\r\n{auth}Connection: close\r\n\r\n",
        Refused,
    ),
    (
        "chunks announced with a space before the colon",
        "POST /api/health HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n\
         GET /api/secret HTTP/1.1\r\nHost: {host}\r\n{auth}Connection: close\r\n\r\n",
        Refused,
    ),
    (
        "credentials in trailers",
        "POST /api/secret HTTP/1.1\r\nHost: {host}\r\n{auth}Connection: close\r\nTE: trailers\r\n\
         Trailer: Authorization, Cookie\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\
         Authorization: {good}\r\nCookie: session=good\r\n\r\n",
        Served,
    ),
    (
        "credentials in the body",
        "POST /api/secret HTTP/1.1\r\nHost: {host}\r\n{auth}Connection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 20\r\n\r\naccess_token={token}",
        Served,
    ),
    (
        "a body that waits",
        "POST /api/secret HTTP/1.1\r\nHost: {host}\r\n{auth}Connection: close\r\nExpect: 100-continue\r\n\
         Content-Length: 1\r\n\r\na",
        Served,
    ),
    (
        "a websocket",
        "GET /api/secret HTTP/1.1\r\nHost: {host}\r\n{auth}Connection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\
         GET /api/health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
        Served,
    ),
    (
        "behind a websocket that does not come",
        "GET /api/health HTTP/1.1\r\nHost: {host}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\
         GET /api/secret HTTP/1.1\r\nHost: {host}\r\n{auth}Connection: close\r\n\r\n",
        Served,
    ),
    (
        "HTTP/2 in the clear",
        "GET /api/secret HTTP/1.1\r\nHost: {host}\r\n{auth}Connection: Upgrade, HTTP2-Settings, close\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
        Served,
    ),
    (
        "behind a request with a body that nobody asked for",
        "GET /api/secret HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\nabcde\
         GET /api/secret HTTP/1.1\r\nHost: {host}\r\n{auth}Connection: close\r\n\r\n",
        Served,
    ),
];
