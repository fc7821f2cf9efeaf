//! Clients that vanish while they wait, and in each phase of an exchange.

use super::{Account, Before, Extent, pool};
use crate::harness::client::Client;
use crate::harness::config::Driver;
use crate::harness::crowd::raise_file_limit;
use crate::harness::forgetful::{Call, Forgetful};
use crate::harness::proxy::Proxy;
use crate::harness::wait_until;

/// Places at the backend; so many clients vanish at a time.
const ACTIVE: usize = 10;

/// No idle connection is kept: every descriptor belongs to somebody.
const LINES: &str = "max_active = 10\nmax_queued = 50\nkeepalive = 0";

/// A body of which a half is read or sent, and then nothing.
const BODY_BYTES: usize = 100_000;

/// Does what the target says.
fn serve(call: &mut Call) {
    while let Some(head) = call.head() {
        match head.target() {
            "/half" => {
                call.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES}\r\n\r\n"));
                call.send(vec![b'x'; BODY_BYTES / 2]);
                call.until_closed();
            }
            _ => call.until_closed(),
        }
    }
}

/// How far a client comes before it goes.
type Reach = fn(&mut Client);

/// Sending and reading is all that they do: none of them waits for something that comes only when it has gone.
const PHASES: [(&str, Reach); 3] = [
    ("clients that vanished when their head was sent", |client| {
        client.send("GET /silent HTTP/1.1\r\nHost: a\r\n\r\n");
    }),
    ("clients that vanished when half of their body was sent", |client| {
        let head = format!("POST /silent HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
        client.send(head).send(vec![b'x'; BODY_BYTES / 2]);
    }),
    ("clients that vanished when half of their response was read", |client| {
        client.send("GET /half HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.head().status(), 200);
        client.exactly(BODY_BYTES / 2);
    }),
];

/// As many clients as have places, all of them at the backend.
fn all_at_the_backend(proxy: &Proxy, backend: &Forgetful, reach: Reach) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..ACTIVE).map(|_| proxy.client()).collect();
    let wanted = backend.requests() + ACTIVE;
    clients.iter_mut().for_each(reach);
    wait_until("all have their places", || backend.requests() == wanted);
    clients
}

/// By FIN and by RST in turn.
fn vanish(clients: Vec<Client>) {
    for (number, client) in clients.into_iter().enumerate() {
        if number % 2 == 0 { drop(client) } else { client.reset() }
    }
}

/// Fifty wait behind ten, and go; gives how many that were.
fn vanish_from_the_queue(proxy: &Proxy, backend: &Forgetful) -> usize {
    let silent = PHASES[0].1;
    let inside = all_at_the_backend(proxy, backend, silent);
    let requests = backend.requests();
    let mut queued: Vec<Client> = (0..5 * ACTIVE).map(|_| proxy.client()).collect();
    queued.iter_mut().for_each(silent);
    proxy.wait_for_upstream("u", ACTIVE, queued.len());
    let count = queued.len();
    vanish(queued);
    proxy.wait_for_upstream("u", ACTIVE, 0);
    assert_eq!(backend.requests(), requests, "requests of clients that went while they waited");
    vanish(inside);
    wait_until("the backend is free", || backend.open() == 0);
    count
}

fn vanish_from_the_backend(proxy: &Proxy, backend: &Forgetful, reach: Reach) -> usize {
    vanish(all_at_the_backend(proxy, backend, reach));
    wait_until("the backend is free", || backend.open() == 0);
    ACTIVE
}

/// All places are there: ten come in at once, and the eleventh waits.
fn assert_all_places_are_free(proxy: &Proxy, backend: &Forgetful) {
    let mut clients = all_at_the_backend(proxy, backend, PHASES[0].1);
    let mut next = proxy.client();
    PHASES[0].1(&mut next);
    proxy.wait_for_upstream("u", ACTIVE, 1);
    clients.push(next);
    vanish(clients);
}

pub fn in_each_phase(driver: Driver, extent: Extent) -> Account {
    raise_file_limit();
    let backend = Forgetful::script(serve);
    let proxy = Proxy::watched(pool(driver, &[backend.url()], LINES).workers(2));
    let round = || {
        let queued = vanish_from_the_queue(&proxy, &backend);
        (queued, PHASES.map(|(_, reach)| vanish_from_the_backend(&proxy, &backend, reach)))
    };
    let descriptors = proxy.descriptors();
    // What the first ones find missing is made once.
    round();
    proxy.wait_for_descriptors(descriptors);
    let before = Before::of(&proxy);
    let mut account = vec![("clients that vanished from the queue", 0)];
    account.extend(PHASES.map(|(what, _)| (what, 0)));
    for _ in 0..extent.of(4, 125) {
        let (queued, others) = round();
        account[0].1 += queued;
        account[1..].iter_mut().zip(others).for_each(|((_, sum), count)| *sum += count);
    }
    before.assert_found_again(&proxy);
    assert_all_places_are_free(&proxy, &backend);
    before.assert_found_again(&proxy);
    account
}
