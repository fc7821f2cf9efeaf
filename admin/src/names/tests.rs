//! The resolver as a whole, on the system's real one: `localhost` is in every hosts file, and `.invalid` never resolves
//! (RFC 6761). And on a name server that is silent.

use std::net::{IpAddr, UdpSocket};

use ringway_config::Resolver as Kind;

use super::*;
use wanted::Refresh;

const ABSENT: &str = "no.such.name.invalid";

fn wanted(dns: &Dns, hosts: &[&str]) -> Wanted {
    let hosts = hosts.iter().map(|host| ((*host).to_owned(), Refresh::of(None)));
    Wanted { dns: dns.clone(), hosts: hosts.collect() }
}

fn by_system() -> Dns {
    Dns::default()
}

/// A socket that is bound and never read, and settings that ask there.
fn by_silent_server() -> (UdpSocket, Dns) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let dns = Dns { resolver: Kind::Dns, servers: vec![socket.local_addr().unwrap()] };
    (socket, dns)
}

/// Runs on a runtime that does not wait for the threads of lookups.
fn on_control_thread(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
    runtime.shutdown_background();
}

fn is_local(addresses: &[IpAddr]) -> bool {
    !addresses.is_empty() && addresses.iter().all(IpAddr::is_loopback)
}

#[test]
fn names_are_learnt_followed_and_forgotten() {
    on_control_thread(async {
        let mut resolver = Resolver::default();
        let names = resolver.learn(&wanted(&by_system(), &["localhost", ABSENT])).await;
        assert!(is_local(&names["localhost"]) && names[ABSENT].is_empty());
        resolver.follow(&wanted(&by_system(), &["localhost"]));
        assert_eq!(resolver.names().len(), 1);
        assert!(resolver.schedule.next_due() > Some(Instant::now()), "nothing is asked again now");
        assert!(resolver.asked.is_empty());
    });
}

#[test]
fn a_name_that_is_late_holds_nothing_up_and_what_comes_later_is_told() {
    on_control_thread(async {
        let (silent, dns) = by_silent_server();
        let mut resolver = Resolver::default();
        let names = resolver.learn(&wanted(&dns, &["localhost"])).await;
        assert!(is_local(&names["localhost"]), "known without a question");
        let names = resolver.learn(&wanted(&dns, &["localhost", "a.test"])).await;
        assert!(is_local(&names["localhost"]) && names["a.test"].is_empty());
        // Only what changes is told.
        resolver.add_new(&wanted(&dns, &["sub.localhost"]));
        let names = resolver.moved().await;
        assert!(is_local(&names["sub.localhost"]) && names["a.test"].is_empty());
        drop(silent);
    });
}

#[test]
fn waiting_for_a_name_that_is_late_is_rest() {
    on_control_thread(async {
        let (silent, dns) = by_silent_server();
        let mut resolver = Resolver::default();
        // The one that is known at once is to be told from then on; the other one is waited for.
        let wanted = wanted(&dns, &["localhost", "a.test"]);
        let (mut learning, mut polls) = (std::pin::pin!(resolver.learn(&wanted)), 0);
        let names = std::future::poll_fn(|context| {
            polls += 1;
            learning.as_mut().poll(context)
        });
        assert!(names.await["a.test"].is_empty());
        assert!(polls < 100, "{polls} looks");
        drop(silent);
    });
}

#[test]
fn another_source_is_asked_at_once_and_what_is_known_stays() {
    on_control_thread(async {
        let (silent, dns) = by_silent_server();
        let mut resolver = Resolver::default();
        resolver.learn(&wanted(&by_system(), &["localhost"])).await;
        resolver.follow(&wanted(&by_system(), &["localhost"]));
        // A configuration that is learnt and then refused changes nothing for the names in use.
        resolver.learn(&wanted(&dns, &["localhost"])).await;
        resolver.follow(&wanted(&by_system(), &["localhost"]));
        assert!(resolver.schedule.next_due() > Some(Instant::now()));
        assert_eq!(resolver.sources.len(), 1);
        // One that comes to run has them asked again, by its own source.
        resolver.follow(&wanted(&dns, &["localhost"]));
        assert!(resolver.schedule.next_due() <= Some(Instant::now()));
        assert!(is_local(&resolver.names()["localhost"]));
        drop(silent);
    });
}

#[test]
fn lookups_are_bounded_and_end_with_the_wish_for_them() {
    on_control_thread(async {
        let (silent, dns) = by_silent_server();
        let hosts: Vec<String> = (0..3 * LOOKUPS_MAX).map(|number| format!("h{number}.test")).collect();
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let mut resolver = Resolver::default();
        resolver.add_new(&wanted(&dns, &hosts));
        resolver.start_lookups();
        assert_eq!((resolver.asked.len(), resolver.running.len()), (LOOKUPS_MAX, LOOKUPS_MAX));
        resolver.follow(&wanted(&dns, &[]));
        assert!(resolver.asked.is_empty() && resolver.schedule.next_due().is_none());
        while let Some(ended) = resolver.running.join_next().await {
            assert!(ended.unwrap_err().is_cancelled());
        }
        drop(silent);
    });
}

#[test]
fn changes_of_many_names_are_told_together() {
    on_control_thread(async {
        let mut resolver = Resolver::default();
        resolver.add_new(&wanted(&by_system(), &["a.test", "b.test"]));
        resolver.names();
        let answer = |ip: &str| answer::Found::of([ip.parse().unwrap()], None);
        resolver.record("a.test", answer("192.0.2.1"));
        let due = resolver.telling_due.unwrap();
        assert!(due >= resolver.told.unwrap() + TELLING_GAP);
        resolver.record("b.test", answer("192.0.2.2"));
        assert_eq!(resolver.telling_due, Some(due));
        let names = resolver.names();
        assert_eq!((names["a.test"].len(), names["b.test"].len()), (1, 1));
        resolver.record("b.test", answer("192.0.2.2"));
        assert_eq!(resolver.telling_due, None, "nothing has changed");
    });
}
