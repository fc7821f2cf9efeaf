//! How often a request allocates on a warm connection: not at all.

#![expect(clippy::print_stdout, reason = "the figure is worth seeing")]

use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ringway_config::{Compiler, Source};
use ringway_engine::{Engine, Names};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

/// Counts what all threads allocate; those of the test do so only before and after.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const WARM_UP: usize = 100;
const REQUESTS: usize = 2_000;
const REQUEST: &[u8] = b"GET /a?b=c HTTP/1.1\r\nHost: www.example.com\r\nAccept: */*\r\n\r\n";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nDate: Tue, 14 Jul 2026 08:00:00 GMT\r\n\r\nhello";

/// A pool of one, whose backend answers.
const ONE: Pool = Pool { strategy: "round_robin", backends: 1, ill: false };

struct Pool {
    strategy: &'static str,
    /// Those that answer.
    backends: usize,
    /// There is another one, which refuses: each choice has to look at everybody.
    ill: bool,
}

#[test]
fn a_warm_connection_allocates_nothing_for_a_request() {
    for (driver, logs) in [("epoll", false), ("auto", false), ("auto", true)] {
        let allocations = allocations_per_request(driver, logs, &ONE);
        println!("driver {driver}, access log {logs}: {allocations:.3} allocations for each request");
        // What remains is the clock's, ten times a second: the date as text and the like.
        assert!(allocations < 0.5, "{allocations}");
    }
}

#[test]
fn choosing_allocates_nothing() {
    for strategy in ["round_robin", "random", "least_connections", "p2c", "ip_hash", "least_latency"] {
        for ill in [false, true] {
            let allocations = allocations_per_request("epoll", false, &Pool { strategy, backends: 2, ill });
            println!("{strategy}, one ejected {ill}: {allocations:.3} allocations for each request");
            assert!(allocations < 0.5, "{strategy}: {allocations}");
        }
    }
}

#[test]
fn a_file_that_is_at_hand_allocates_nothing() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a"), "hello").expect("a file");
    for driver in ["epoll", "auto"] {
        let text = format!(
            "[server]\nworkers = 1\ndriver = \"{driver}\"\n\n[[listeners]]\naddress = \"127.0.0.1:0\"\n\n\
             [[rules]]\nname = \"all\"\npath = \"/*\"\nstatic_dir = \"{}\"\n",
            folder.path().display()
        );
        let allocations = allocations_under(&text);
        println!("driver {driver}, a file: {allocations:.3} allocations for each request");
        // Once a second it is looked at.
        assert!(allocations < 0.5, "{allocations}");
    }
}

/// The other tests must not allocate meanwhile.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn allocations_per_request(driver: &str, logs: bool, pool: &Pool) -> f64 {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let log = if logs { folder.path().join("log").display().to_string() } else { "off".into() };
    let path = |backend: usize| folder.path().join(backend.to_string());
    for backend in 0..pool.backends {
        let listener = UnixListener::bind(path(backend)).expect("a socket");
        std::thread::spawn(move || answer(&listener));
    }
    let backend = |backend| {
        let (path, weight) = (path(backend), 1 + backend % 2);
        format!("{{ url = \"unix:{}\", weight = {weight} }}", path.display())
    };
    let backends: Vec<_> = (0..pool.backends + usize::from(pool.ill)).map(backend).collect();
    let text = format!(
        "[server]\nworkers = 1\ndriver = \"{driver}\"\n\n[access_log]\npath = \"{log}\"\n\n\
         [[listeners]]\naddress = \"127.0.0.1:0\"\n\n\
         [[upstreams]]\nname = \"b\"\nstrategy = \"{}\"\nbackends = [{}]\n\n\
         [[rules]]\nname = \"all\"\npath = \"/*\"\nupstream = \"b\"\n",
        pool.strategy,
        backends.join(", ")
    );
    allocations_under(&text)
}

/// Allocations for a request under this configuration.
fn allocations_under(text: &str) -> f64 {
    let source = Source { name: "test", text };
    let compiled = Compiler::new().compile(&source).unwrap_or_else(|problems| {
        panic!("{}", problems.render(&source, false));
    });
    // Its worker ends with the process.
    let engine = Engine::start(compiled.snapshot.into(), Names::default()).expect("an engine");
    let address = engine.listeners().into_values().next().expect("a listener");
    let mut client = TcpStream::connect(address).expect("a connection");
    (0..WARM_UP).for_each(|_| ask(&mut client));
    let region = Region::new(ALLOCATOR);
    (0..REQUESTS).for_each(|_| ask(&mut client));
    let change = region.change();
    (change.allocations + change.reallocations) as f64 / REQUESTS as f64
}

/// Answers the requests of the first connection.
fn answer(listener: &UnixListener) {
    let (mut proxy, _) = listener.accept().expect("a connection");
    let mut head = [0; 4096];
    let mut len = 0;
    while let Ok(count @ 1..) = proxy.read(&mut head[len..]) {
        len += count;
        if head[..len].ends_with(b"\r\n\r\n") {
            len = 0;
            proxy.write_all(RESPONSE).expect("the proxy reads");
        }
    }
}

fn ask(client: &mut TcpStream) {
    client.write_all(REQUEST).expect("the proxy reads");
    let mut response = [0; 4096];
    let mut len = 0;
    while !response[..len].ends_with(b"\r\n\r\nhello") {
        let count = client.read(&mut response[len..]).expect("a response");
        assert!(count > 0, "{}", response[..len].escape_ascii());
        len += count;
    }
}
