//! One worker, and clients that send as fast as they can: nobody beside them starves.

use crate::harness::backend::{Backend, Visit};
use crate::harness::backends::{HELLO, response};
use crate::harness::config::Driver;
use crate::harness::proxy::Proxy;
use crate::harness::{on_both_drivers, size, wait_until};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

on_both_drivers![greedy_clients_starve_nobody];

/// Swallows what comes behind `/upload` without keeping it; answers everything else.
fn serve(visit: &mut Visit) {
    while let Some(head) = visit.head() {
        if head.target() == "/upload" {
            let (socket, _) = visit.socket();
            let mut bytes = vec![0; 256 * 1024];
            while matches!((&*socket).read(&mut bytes), Ok(1..)) {}
            return;
        }
        visit.send(response("200 OK", "", HELLO));
    }
}

/// What the greedy ones have got done.
#[derive(Default)]
struct Greed {
    stop: AtomicBool,
    answered: AtomicUsize,
    uploaded: AtomicUsize,
}

impl Greed {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    fn done(&self) -> (usize, usize) {
        (self.answered.load(Ordering::SeqCst), self.uploaded.load(Ordering::SeqCst))
    }
}

/// Writes requests without waiting for answers, which another thread takes as they come.
fn pipeline(proxy: &Proxy, greed: &Greed) {
    let mut client = proxy.client();
    let writer = client.writer();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let batch = "GET /greedy HTTP/1.1\r\nHost: a\r\n\r\n".repeat(64);
            while greed.goes_on() && (&*writer).write_all(batch.as_bytes()).is_ok() {}
            drop(writer.shutdown(std::net::Shutdown::Both));
        });
        while client.try_response("GET").is_ok() {
            greed.answered.fetch_add(1, Ordering::SeqCst);
        }
        assert!(!greed.goes_on(), "the greedy client was turned away");
    });
}

fn upload(proxy: &Proxy, greed: &Greed) {
    let mut client = proxy.client();
    client.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n");
    let bytes = vec![b'x'; 256 * 1024];
    while greed.goes_on() {
        assert!(client.try_send(&bytes), "the upload was turned away");
        greed.uploaded.fetch_add(bytes.len(), Ordering::SeqCst);
    }
}

/// Ends the greedy ones, even when the test fails.
struct StopsGreed<'a>(&'a Greed);

impl Drop for StopsGreed<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::SeqCst);
    }
}

fn greedy_clients_starve_nobody(driver: Driver) {
    let backend = Backend::script(serve);
    let proxy = Proxy::to(driver, &backend);
    let greed = Greed::default();
    std::thread::scope(|scope| {
        let stops = StopsGreed(&greed);
        scope.spawn(|| pipeline(&proxy, &greed));
        scope.spawn(|| pipeline(&proxy, &greed));
        scope.spawn(|| upload(&proxy, &greed));
        wait_until("the greedy ones are at work", || {
            let (answered, uploaded) = greed.done();
            answered > 100 && uploaded > 1 << 20
        });
        let before = greed.done();
        let mut neighbour = proxy.client();
        for _ in 0..size(200, 2_000) {
            assert_eq!(neighbour.get("/").body, HELLO);
        }
        let after = greed.done();
        assert!(
            after.0 > before.0 && after.1 > before.1,
            "the greedy ones stood still: {before:?}, {after:?}"
        );
        drop(stops);
    });
}
