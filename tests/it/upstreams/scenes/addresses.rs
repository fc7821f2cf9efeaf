//! `ip_hash` over a thousand addresses and five backends, of which one dies and comes back, and then leaves the file.

use super::{Account, Extent};
use crate::harness::client::Client;
use crate::harness::config::{Config, Driver};
use crate::harness::proxy::Proxy;
use crate::harness::restarting::Restarting;
use crate::harness::wait_until;

const BACKENDS: usize = 5;

/// The backend that goes.
const GOING: usize = 2;

/// Where each address went.
type Places = Vec<usize>;

fn config(driver: Driver, backends: &[&Restarting]) -> Config {
    let urls: Vec<String> = backends.iter().map(|backend| backend.url()).collect();
    super::pool(driver, &urls, "strategy = \"ip_hash\"")
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .workers(2)
}

/// The backend that a request from an address, as a trusted peer tells it, comes to.
fn place(client: &mut Client, number: usize) -> usize {
    let address = format!("10.{}.{}.7", number / 250, number % 250);
    let request = format!("GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: {address}\r\n\r\n");
    let answer = client.ask(request);
    assert_eq!(answer.status, 200, "{address}: {}", answer.text());
    answer.text().parse().expect("a backend's number")
}

/// Where the addresses go; each asks `times`, and goes to the same place each time.
fn places(proxy: &Proxy, addresses: usize, times: usize) -> Places {
    // On several connections, so that both workers choose.
    let mut clients: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
    let mut ask = |number: usize, time: usize| place(&mut clients[(number + time) % 8], number);
    let first: Places = (0..addresses).map(|number| ask(number, 0)).collect();
    for time in 1..times {
        let again: Places = (0..addresses).map(|number| ask(number, time)).collect();
        assert_eq!(again, first, "the same addresses, time {time}");
    }
    first
}

/// Only those who were at the one that went have moved; gives how many.
fn assert_only_its_own_moved(before: &Places, after: &Places) -> usize {
    let moved = || before.iter().zip(after).filter(|(before, after)| before != after);
    assert!(moved().all(|(before, _)| *before == GOING), "a client of another backend was moved");
    assert!(!after.contains(&GOING), "a client went where nobody is");
    moved().count()
}

pub fn one_of_five_goes(driver: Driver, extent: Extent) -> Account {
    let (addresses, times) = (extent.of(200, 1_000), extent.of(2, 10));
    let mut backends: Vec<Restarting> =
        (0..BACKENDS).map(|number| Restarting::says(&number.to_string())).collect();
    let proxy = Proxy::start(&config(driver, &backends.iter().collect::<Vec<_>>()));
    let at_first = places(&proxy, addresses, times);
    assert!((0..BACKENDS).all(|number| at_first.contains(&number)), "each has clients: {at_first:?}");
    backends[GOING].kill();
    let while_dead = places(&proxy, addresses, times);
    let moved = assert_only_its_own_moved(&at_first, &while_dead);
    backends[GOING].start();
    let its_own = at_first.iter().position(|&place| place == GOING).expect("it had clients");
    let mut client = proxy.client();
    wait_until("its clients come back", || place(&mut client, its_own) == GOING);
    assert_eq!(places(&proxy, addresses, times), at_first, "everybody is where they were");
    let left: Vec<&Restarting> = backends.iter().filter(|one| one.url() != backends[GOING].url()).collect();
    proxy.reload(&config(driver, &left));
    let without = places(&proxy, addresses, times);
    assert_eq!(assert_only_its_own_moved(&at_first, &without), moved);
    vec![
        ("requests, by ip_hash", 4 * addresses * times),
        ("addresses", addresses),
        ("addresses that moved when their backend died, and when it left the file", moved),
        ("addresses of other backends that moved", 0),
    ]
}
