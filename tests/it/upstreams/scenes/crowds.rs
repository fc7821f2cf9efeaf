//! A thousand clients before an upstream that takes ten at a time and lets fifty wait.

use super::{Account, Extent, pool};
use crate::harness::backend::Backend;
use crate::harness::backends::response;
use crate::harness::client::Client;
use crate::harness::config::Driver;
use crate::harness::crowd::{crowd, raise_file_limit};
use crate::harness::holding::Holding;
use crate::harness::pause;
use crate::harness::proxy::Proxy;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const CLIENTS: usize = 1_000;
const ACTIVE: usize = 10;
const QUEUED: usize = 50;

const LIMITS: &str = "max_active = 10\nmax_queued = 50";

pub fn a_thousand_at_a_gate(driver: Driver, extent: Extent) -> Account {
    raise_file_limit();
    for _ in 0..extent.of(1, 10) {
        wait_in_order(driver);
    }
    let (answered, refused) = come_and_come_again(driver, extent.of(2, 50));
    vec![
        ("clients at once", CLIENTS),
        ("the most at the backend at one time", ACTIVE),
        ("requests answered by the backend", answered),
        ("requests turned away from a full queue (503)", refused),
    ]
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")
}

/// A client that has sent its request and waits.
fn waiting(proxy: &Proxy, target: &str) -> Client {
    let mut client = proxy.client();
    client.send(get(target));
    client
}

/// Ten come in, fifty wait and nobody else does; then the fifty come in, in their order, each when another is done.
fn wait_in_order(driver: Driver) {
    let backend = Holding::says("in");
    let proxy = Proxy::watched(pool(driver, &[backend.url()], LIMITS).workers(2));
    let mut clients: Vec<Client> = (0..ACTIVE).map(|_| waiting(&proxy, "/first")).collect();
    backend.wait_until_it_holds(ACTIVE);
    for number in 0..QUEUED {
        clients.push(waiting(&proxy, &format!("/{number}")));
        proxy.wait_for_upstream("u", ACTIVE, number + 1);
    }
    crowd(CLIENTS - ACTIVE - QUEUED, |_| {
        let answer = proxy.client().get("/too-many");
        answer.assert_error(503, "queue_full");
        assert!(answer.field("retry-after").is_some(), "{answer:?}");
    });
    for number in 0..QUEUED {
        assert_eq!(backend.requests(), ACTIVE + number, "requests that were let in");
        backend.release(1);
        assert_eq!(backend.head(ACTIVE + number).target(), format!("/{number}"));
    }
    backend.release_all();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().text(), "in"));
    assert_eq!((backend.held_at_most(), backend.requests()), (ACTIVE, ACTIVE + QUEUED));
    proxy.wait_until_nothing_runs();
}

/// How many requests a backend is at.
#[derive(Default)]
struct Busy {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Busy {
    /// A request that takes a while; it is over before its answer is written, on which the proxy may send the next one.
    fn serve(&self) {
        self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        pause(Duration::from_millis(1));
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// All ask at once, `times` each, as fast as they are answered; gives how many were answered and how many refused.
fn come_and_come_again(driver: Driver, times: usize) -> (usize, usize) {
    let busy = Arc::new(Busy::default());
    let backend = Backend::answers({
        let busy = busy.clone();
        move |_| {
            busy.serve();
            response("200 OK", "", b"in")
        }
    });
    let proxy = Proxy::watched(pool(driver, &[backend.url()], LIMITS).workers(2));
    let answered = crowd(CLIENTS, |_| {
        let mut client = proxy.client();
        (0..times).filter(|_| is_let_in(&mut client)).count()
    });
    let answered = answered.into_iter().sum();
    let most = busy.most.load(Ordering::SeqCst);
    assert!((2..=ACTIVE).contains(&most), "the most at the backend at one time: {most}");
    assert_eq!(backend.requests(), answered);
    proxy.wait_until_nothing_runs();
    (answered, CLIENTS * times - answered)
}

fn is_let_in(client: &mut Client) -> bool {
    let answer = client.get("/");
    if answer.status != 200 {
        answer.assert_error(503, "queue_full");
    }
    answer.status == 200
}
