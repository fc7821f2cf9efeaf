//! Three backends are restarted one by one, in an orderly way and abruptly in turn, while clients go on asking.

use super::{Account, Extent, pool};
use crate::harness::backend::Visit;
use crate::harness::backends::response;
use crate::harness::client::Client;
use crate::harness::config::Driver;
use crate::harness::proxy::Proxy;
use crate::harness::restarting::Restarting;
use crate::harness::{pause, wait_until};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const CLIENTS: usize = 6;

/// Answers that the others must have given before a backend comes back.
const MEANWHILE: usize = 200;

/// How often each target came, over all backends.
type Deliveries = Arc<Mutex<HashMap<String, usize>>>;

/// A while passes between a request and its answer, so that a restart finds requests in between.
fn serve(visit: &mut Visit, delivered: &Deliveries) {
    while let Some(head) = visit.head() {
        *delivered.lock().unwrap().entry(head.target().to_owned()).or_default() += 1;
        pause(Duration::from_micros(500));
        if !visit.send(response("200 OK", "", head.target().as_bytes())) {
            return;
        }
    }
}

/// What the clients have come to.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    gets: AtomicUsize,
    posts: AtomicUsize,
    posts_failed: AtomicUsize,
}

impl Load {
    fn answers(&self) -> usize {
        self.gets.load(Ordering::SeqCst) + self.posts.load(Ordering::SeqCst)
    }

    /// Asks until it is over, GET and POST in turn, each with a target of its own.
    fn ask(&self, mut client: Client, number: usize) {
        let mut request = 0;
        while !self.over.load(Ordering::SeqCst) {
            let target = format!("/{number}/{request}");
            request += 1;
            self.get(&mut client, &target);
            self.post(&mut client, &format!("{target}/post"));
        }
    }

    fn get(&self, client: &mut Client, target: &str) {
        let answer = client.get(target);
        assert_eq!((answer.status, answer.text().as_str()), (200, target), "a GET");
        self.gets.fetch_add(1, Ordering::SeqCst);
    }

    /// A POST may fail when its backend goes with it.
    fn post(&self, client: &mut Client, target: &str) {
        let head = format!("POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
        let answer = client.ask(head);
        match answer.status {
            200 => assert_eq!(answer.text(), target, "a POST"),
            _ => {
                answer.assert_error(502, "upstream_closed");
                self.posts_failed.fetch_add(1, Ordering::SeqCst);
            }
        }
        self.posts.fetch_add(1, Ordering::SeqCst);
    }
}

/// Ends the load, even when the scene fails.
struct EndsLoad<'a>(&'a Load);

impl Drop for EndsLoad<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
    }
}

/// Takes a backend away, waits until the others have answered for it, and brings it back into the pool.
fn restart(backend: &mut Restarting, orderly: bool, load: &Load) {
    if orderly {
        backend.finish()
    } else {
        backend.kill()
    }
    let before = load.answers();
    wait_until("the others answer", || load.answers() >= before + MEANWHILE);
    backend.start();
    backend.now().wait_for_requests(1);
}

pub fn rolling(driver: Driver, extent: Extent) -> Account {
    let delivered = Deliveries::default();
    let mut backends: Vec<Restarting> = (0..3)
        .map(|_| {
            let delivered = delivered.clone();
            Restarting::script(move |visit| serve(visit, &delivered))
        })
        .collect();
    let urls: Vec<String> = backends.iter().map(Restarting::url).collect();
    let proxy = Proxy::start(&pool(driver, &urls, "").workers(2));
    let (load, rounds) = (Load::default(), extent.of(1, 20));
    std::thread::scope(|scope| {
        let ends = EndsLoad(&load);
        for number in 0..CLIENTS {
            let (client, load) = (proxy.client(), &load);
            scope.spawn(move || load.ask(client, number));
        }
        backends.iter().for_each(|backend| backend.now().wait_for_requests(1));
        for round in 0..rounds {
            for (number, backend) in backends.iter_mut().enumerate() {
                restart(backend, (round + number) % 2 == 0, &load);
            }
        }
        drop(ends);
    });
    let posts_twice =
        delivered.lock().unwrap().iter().filter(|(id, times)| id.ends_with("post") && **times > 1).count();
    assert_eq!(posts_twice, 0, "POSTs that were delivered more than once");
    let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
    vec![
        ("restarts", 3 * rounds),
        ("GETs, all of them answered with 200", count(&load.gets)),
        ("POSTs, none of them delivered twice", count(&load.posts)),
        ("POSTs that were cut off with their backend (502)", count(&load.posts_failed)),
    ]
}
