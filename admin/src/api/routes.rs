//! Every path of the API, and what is answered where there is none. What goes wrong is told as a problem (RFC 9457).

use std::any::Any;

use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper::body::Body as _;
use ringway_engine::Observer;
use serde::Serialize;
use tokio::sync::watch;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use super::Facts;
use super::status::Status;

/// Where the status is.
pub const STATUS_PATH: &str = "/api/v1/status";

/// What answers are made from.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) observer: Observer,
    pub(super) facts: watch::Receiver<Facts>,
}

/// The whole API.
pub(super) fn router(sources: Sources) -> Router {
    guarded(Router::new().route(STATUS_PATH, get(status)).with_state(sources))
}

/// What holds for every path: nothing else exists, no body is taken, nothing is kept by caches, and a panic ends one exchange.
fn guarded(routes: Router) -> Router {
    routes
        .method_not_allowed_fallback(|| async { METHOD_NOT_ALLOWED })
        .fallback(|| async { NOT_FOUND })
        .layer(from_fn(without_body))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(SetResponseHeaderLayer::overriding(CACHE_CONTROL, HeaderValue::from_static("no-store")))
}

async fn status(State(sources): State<Sources>) -> Json<Status> {
    let facts = sources.facts.borrow().clone();
    Json(Status::new(&facts, sources.observer.status()))
}

async fn without_body(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() { next.run(request).await } else { BODY_NOT_TAKEN.into_response() }
}

fn panicked(_reason: Box<dyn Any + Send>) -> Response {
    PANICKED.into_response()
}

/// What is answered when something is wrong.
#[derive(Clone, Copy, Debug, Serialize)]
struct Problem {
    title: &'static str,
    status: u16,
    /// For programs; it stays the same from version to version.
    code: &'static str,
    detail: &'static str,
}

const NOT_FOUND: Problem = Problem {
    title: "Not Found",
    status: 404,
    code: "not_found",
    detail: "There is nothing at this path. The status is at /api/v1/status.",
};

const METHOD_NOT_ALLOWED: Problem = Problem {
    title: "Method Not Allowed",
    status: 405,
    code: "method_not_allowed",
    detail: "The field Allow lists the methods of this path.",
};

const BODY_NOT_TAKEN: Problem = Problem {
    title: "Content Too Large",
    status: 413,
    code: "body_not_taken",
    detail: "This API takes no request bodies.",
};

const PANICKED: Problem = Problem {
    title: "Internal Server Error",
    status: 500,
    code: "internal_error",
    detail: "The answer could not be made, by a fault of Ringway's. Its log has the place.",
};

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(CONTENT_TYPE, "application/problem+json")], Json(self)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::exchange;
    use super::*;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;
    use tokio::sync::Semaphore;

    async fn told() -> &'static str {
        "told"
    }

    async fn fails() -> &'static str {
        panic!("as it should, in a test")
    }

    /// What a client of a small API reads until the end, when it sends `request`.
    fn answer(request: &str) -> String {
        exchanged(request, false)
    }

    /// The same; it may close its side when it has sent all.
    fn exchanged(request: &str, closes: bool) -> String {
        let routes = Router::new().route("/told", get(told)).route("/fails", get(fails));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut client, served) = UnixStream::pair().unwrap();
            let seat = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
            tokio::spawn(exchange(served, guarded(routes), seat));
            // It may be answered and closed before all of it is written.
            _ = client.write_all(request.as_bytes()).await;
            if closes {
                _ = client.shutdown().await;
            }
            let mut read = Vec::new();
            _ = client.read_to_end(&mut read).await;
            String::from_utf8(read).unwrap().to_ascii_lowercase()
        })
    }

    #[track_caller]
    fn assert_answer(request: &str, parts: &[&str]) {
        let answer = answer(request);
        for part in parts {
            assert!(answer.contains(part), "{request:?}: no {part:?} in\n{answer}");
        }
    }

    #[test]
    fn paths_methods_and_bodies() {
        let problem = "content-type: application/problem+json";
        let no_store = "cache-control: no-store";
        assert_answer(
            "GET /told HTTP/1.1\r\nHost: a\r\n\r\n",
            &["http/1.1 200 ok", no_store, "\r\n\r\ntold"],
        );
        assert_answer("GET /other HTTP/1.1\r\nHost: a\r\n\r\n", &["404 not found", no_store, problem]);
        let not_allowed =
            ["405 method not allowed", "allow: get,head", problem, "\"code\":\"method_not_allowed\""];
        assert_answer("POST /told HTTP/1.1\r\nHost: a\r\n\r\n", &not_allowed);
        let body = "GET /told HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
        assert_answer(body, &["413 ", problem, "\"code\":\"body_not_taken\""]);
        let chunked = "GET /told HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_answer(chunked, &["413 "]);
    }

    #[test]
    fn a_head_request_gets_the_fields_alone() {
        let answer = answer("HEAD /told HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(answer.starts_with("http/1.1 200 ok") && answer.contains("content-length: 4"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    }

    #[test]
    fn a_panic_is_an_answer() {
        assert_answer(
            "GET /fails HTTP/1.1\r\nHost: a\r\n\r\n",
            &["500 internal server error", "\"code\":\"internal_error\"", "cache-control: no-store"],
        );
    }

    #[test]
    fn one_connection_has_one_exchange() {
        let twice = answer(&"GET /told HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2));
        assert_eq!(twice.matches("200 ok").count(), 1, "{twice}");
        assert!(twice.contains("connection: close"), "{twice}");
    }

    #[test]
    fn a_client_that_has_said_all_hears_the_answer() {
        let asked = "GET /told HTTP/1.1\r\nHost: a\r\n\r\n";
        assert!(exchanged(asked, true).ends_with("\r\n\r\ntold"));
        assert_eq!(exchanged("GET /told HTTP/1.1\r\n", true), "");
    }

    #[test]
    fn heads_are_bounded() {
        let long = format!("GET /told HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(20_000));
        let many = format!("GET /told HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: x\r\n".repeat(100));
        for request in [long, many] {
            assert_answer(&request, &["http/1.1 431 "]);
        }
        assert_answer("what is this\r\n\r\n", &["http/1.1 400 "]);
    }
}
