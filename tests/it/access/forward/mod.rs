//! Providers of type `forward`: what the endpoint is told (`question`), what becomes of its answers (`answers`) and of
//! requests about which it gives none (`failures`), over which connections it is asked (`connections`), and for how long an
//! answer is remembered (`cache`).

mod answers;
mod cache;
mod connections;
mod failures;
mod question;

use crate::harness::backend::{Backend, Request};
use crate::harness::backends::response;
use crate::harness::config::{Config, Driver};
use crate::harness::proxy::Proxy;

/// What a client has that is logged in.
const SESSION: &str = "Cookie: session=ann\r\n";

/// What the endpoint sends to who is not.
const LOGIN: &str = "Location: https://login.test/start?rd=%2Fa\r\nSet-Cookie: _csrf=1; HttpOnly\r\nSet-Cookie: _rd=/a; Path=/\r\n\
                     Cache-Control: no-store\r\nContent-Type: text/html\r\n";

const LOGIN_BODY: &[u8] = b"<a href=\"https://login.test/start\">Found</a>";

/// An endpoint as oauth2-proxy is one: who has a session may come in, who brings other credentials gets 401, and everybody
/// else is sent to the page where one logs in.
fn logs_in() -> Backend {
    Backend::answers(|request| {
        let fields = &request.head.fields;
        if fields.get("cookie") == Some("session=ann") {
            response("202 Accepted", "X-User: ann\r\nX-Email: ann@example.com\r\nX-Internal: 7\r\n", b"")
        } else if fields.has("authorization") {
            response("401 Unauthorized", "WWW-Authenticate: Bearer realm=\"x\"\r\n", b"who?")
        } else {
            response("302 Found", LOGIN, LOGIN_BODY)
        }
    })
}

/// Answers 200 and nothing else.
fn lets_in() -> Backend {
    Backend::answers_with(response("200 OK", "", b""))
}

/// Tells its client the head that it got.
fn tells_head() -> Backend {
    Backend::answers(|request: &Request| response("200 OK", "", &request.head.raw))
}

/// A provider `sso` at `url`, with further lines.
fn provider(url: &str, lines: &str) -> String {
    format!("[[auth]]\nname = \"sso\"\ntype = \"forward\"\nurl = \"{url}\"\n{lines}\n")
}

/// Every path goes to `backend`, and needs what the endpoint at `url` says.
fn config(driver: Driver, url: &str, lines: &str, backend: &Backend) -> Config {
    let rule =
        format!("[[rules]]\nname = \"all\"\npath = \"/*\"\ntarget = \"{}\"\nauth = \"sso\"", backend.url());
    Config::new(driver).section(&provider(url, lines)).section(&rule)
}

/// A proxy that asks `endpoint` about each request for `backend`.
fn guarding(driver: Driver, endpoint: &Backend, lines: &str, backend: &Backend) -> Proxy {
    Proxy::start(&config(driver, &format!("{}/auth", endpoint.url()), lines, backend))
}

/// A GET with these field lines.
fn get(target: &str, lines: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: test\r\n{lines}\r\n")
}
