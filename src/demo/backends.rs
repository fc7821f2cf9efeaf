//! The demo's backends: small servers on free loopback ports, on a thread of their own.
//!
//! Two greeters that say who they are; an echo that answers with the request as it got it; a live one with a page, a
//! stream of events, and a WebSocket that sends back what it gets.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::header::CONTENT_TYPE;
use axum::response::sse::{Event, Sse};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use futures_util::{Stream, StreamExt, stream};

/// How much of a request body the echo shows.
const BODY_SHOWN_BYTES: usize = 1024;

/// Where the backends listen.
pub(super) struct Addresses {
    pub(super) greeters: [SocketAddr; 2],
    pub(super) echo: SocketAddr,
    pub(super) live: SocketAddr,
}

impl Addresses {
    /// For a configuration that is only shown.
    pub(super) const EXAMPLES: Addresses =
        Addresses { greeters: [loopback(3001), loopback(3002)], echo: loopback(3003), live: loopback(3004) };
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Starts the backends. They run until the process ends.
///
/// # Errors
/// The system gives no port, or no thread.
pub(super) fn start() -> io::Result<Addresses> {
    let bind = || TcpListener::bind(loopback(0));
    let (one, two, echoing, living) = (bind()?, bind()?, bind()?, bind()?);
    let addresses = Addresses {
        greeters: [one.local_addr()?, two.local_addr()?],
        echo: echoing.local_addr()?,
        live: living.local_addr()?,
    };
    let servers = vec![
        (one, greeter("one")),
        (two, greeter("two")),
        (echoing, Router::new().fallback(echo)),
        (living, live()),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("demo-backends".to_owned()).spawn(move || {
        if let Err(error) = runtime.block_on(serve(servers)) {
            tracing::error!(%error, "the demo's backends have ended");
        }
    })?;
    Ok(addresses)
}

async fn serve(servers: Vec<(TcpListener, Router)>) -> io::Result<()> {
    let mut tasks = Vec::new();
    for (listener, router) in servers {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tasks.push(tokio::spawn(axum::serve(listener, router).into_future()));
    }
    for task in tasks {
        task.await.map_err(io::Error::other)??;
    }
    Ok(())
}

fn greeter(name: &'static str) -> Router {
    Router::new().fallback(move |request: Request| async move {
        format!("hello from greeter {name}: {} {}\n", request.method(), request.uri())
    })
}

/// The request as it arrived, as JSON. (The fields' names are lower-case because this server's library has them so.)
async fn echo(request: Request) -> impl IntoResponse {
    let (head, body) = request.into_parts();
    let fields = head.headers.iter();
    let fields = fields.map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
    let fields: Vec<String> = fields.collect();
    let mut told = serde_json::json!({
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "fields": fields,
    });
    match read(body).await {
        Ok(body) => {
            told["body_bytes"] = body.bytes.into();
            told["body_begins"] = String::from_utf8_lossy(&body.first).trim_matches('\0').into();
        }
        Err(error) => told["body_error"] = error.to_string().into(),
    }
    ([(CONTENT_TYPE, "application/json")], format!("{told:#}\n"))
}

/// How long a body was, and how it begins.
struct Body {
    bytes: u64,
    first: Vec<u8>,
}

async fn read(body: axum::body::Body) -> Result<Body, axum::Error> {
    let mut read = Body { bytes: 0, first: Vec::new() };
    let mut parts = body.into_data_stream();
    while let Some(part) = parts.next().await {
        let part = part?;
        let wanted = BODY_SHOWN_BYTES.saturating_sub(read.first.len());
        read.bytes += part.len() as u64;
        read.first.extend(part.iter().take(wanted));
    }
    Ok(read)
}

fn live() -> Router {
    Router::new()
        .route("/", get(|| async { Html(include_str!("page.html")) }))
        .route("/events", get(|| async { Sse::new(ticks()) }))
        .route("/chat", get(|upgrade: WebSocketUpgrade| async { upgrade.on_upgrade(chat) }))
}

/// One event each half second, for as long as somebody listens.
fn ticks() -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(1_u64, |tick| async move {
        if tick > 1 {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Some((Ok(Event::default().data(format!("tick {tick}"))), tick + 1))
    })
}

/// Greets, and sends every message back.
async fn chat(mut socket: WebSocket) {
    if socket.send(Message::text("hello, what you send comes back\n")).await.is_err() {
        return;
    }
    while let Some(Ok(message)) = socket.recv().await {
        let is_data = matches!(message, Message::Text(_) | Message::Binary(_));
        if is_data && socket.send(message).await.is_err() {
            return;
        }
    }
}
