//! How often a request allocates on a warm connection: not at all.

#![expect(clippy::print_stdout, reason = "the figure is worth seeing")]

use std::alloc::System;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

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

#[test]
fn a_warm_connection_allocates_nothing_for_a_request() {
    for (driver, logs) in [("epoll", false), ("auto", false), ("auto", true)] {
        let directory = tempfile::tempdir().expect("a folder");
        let allocations = allocations_per_request(directory.path(), driver, logs);
        println!("driver {driver}, access log {logs}: {allocations:.3} allocations for each request");
        // What remains is the clock's, ten times a second: the date as text and the like.
        assert!(allocations < 0.5, "{allocations}");
    }
}

fn allocations_per_request(directory: &Path, driver: &str, logs: bool) -> f64 {
    let (front, back) = (directory.join("front"), directory.join("back"));
    let listener = UnixListener::bind(&back).expect("a socket");
    std::thread::spawn(move || answer(&listener));
    let log = if logs { directory.join("log").display().to_string() } else { "off".into() };
    let text = format!(
        "[server]\nworkers = 1\ndriver = \"{driver}\"\n\n[access_log]\npath = \"{log}\"\n\n\
         [[listeners]]\naddress = \"unix:{}\"\n\n\
         [[upstreams]]\nname = \"b\"\nbackends = [{{ url = \"unix:{}\" }}]\n\n\
         [[rules]]\nname = \"all\"\npath = \"/*\"\nupstream = \"b\"\n",
        front.display(),
        back.display()
    );
    let source = Source { name: "test", text: &text };
    let compiled = Compiler::new().compile(&source).unwrap_or_else(|problems| {
        panic!("{}", problems.render(&source, false));
    });
    // Its worker ends with the process.
    let _engine = Engine::start(compiled.snapshot.into(), Names::default()).expect("an engine");
    let mut client = UnixStream::connect(&front).expect("a connection");
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

fn ask(client: &mut UnixStream) {
    client.write_all(REQUEST).expect("the proxy reads");
    let mut response = [0; 4096];
    let mut len = 0;
    while !response[..len].ends_with(b"\r\n\r\nhello") {
        let count = client.read(&mut response[len..]).expect("a response");
        assert!(count > 0, "{}", response[..len].escape_ascii());
        len += count;
    }
}
