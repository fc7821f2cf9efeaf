//! A name server that says what it is told to say, over UDP and TCP, and remembers what it was asked.

use super::DEADLINE;
use super::backend::{Backend, Visit};
use super::backends::response;
use socket2::{Domain, SockAddr, Socket, Type};
use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Kinds of records (RFC 1035 3.2.2, RFC 3596 2.1).
const A: u16 = 1;
const AAAA: u16 = 28;

/// The bytes of a message before its question.
const HEAD_BYTES: usize = 12;

/// A running name server; dropped, it ends.
pub struct NameServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    names: HashMap<String, Said>,
    /// The ids of questions, by name: one that is sent again for want of an answer has the same.
    asked: HashMap<String, HashSet<u16>>,
    asked_over_tcp: usize,
    connections: Vec<TcpStream>,
}

/// What the server says of a name; of all others, that they do not exist.
#[derive(Clone, Debug)]
pub enum Said {
    /// It has these addresses, for so many seconds.
    Addresses { ttl: u32, addresses: Vec<IpAddr> },
    /// The same, but over UDP only that the answer is too long.
    OverTcp { ttl: u32, addresses: Vec<IpAddr> },
    /// The server has failed (SERVFAIL).
    Failure,
    /// Nothing, not even an answer.
    Silence,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp,
}

impl NameServer {
    /// Knows no name.
    pub fn start() -> Self {
        let (udp, tcp) = sockets();
        let address = udp.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let (for_udp, for_tcp) = (shared.clone(), shared.clone());
        let threads = vec![
            std::thread::spawn(move || serve_udp(&udp, &for_udp)),
            std::thread::spawn(move || serve_tcp(&tcp, &for_tcp)),
        ];
        NameServer { address, shared, threads }
    }

    /// The `[dns]` table that asks these servers.
    pub fn settings(servers: &[&NameServer]) -> String {
        let servers: Vec<String> = servers.iter().map(|server| format!("\"{}\"", server.address)).collect();
        format!("[dns]\nresolver = \"dns\"\nservers = [{}]", servers.join(", "))
    }

    /// What it says of `name` from now on.
    pub fn say(&self, name: &str, said: Said) {
        self.state().names.insert(name.to_owned(), said);
    }

    /// `name` has these addresses, for `ttl` seconds.
    pub fn has(&self, name: &str, ttl: u32, addresses: &[IpAddr]) {
        self.say(name, Said::Addresses { ttl, addresses: addresses.to_vec() });
    }

    /// Questions for a name so far, those for IPv4 and those for IPv6 addresses together.
    pub fn asked(&self, name: &str) -> usize {
        self.state().asked.get(name).map_or(0, HashSet::len)
    }

    /// Questions over TCP so far.
    pub fn asked_over_tcp(&self) -> usize {
        self.state().asked_over_tcp
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// The answer to a question, if there is one.
    fn answer(&self, question: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let (name, kind, end) = parse(question);
        let mut state = self.state();
        let id = u16::from_be_bytes([question[0], question[1]]);
        state.asked.entry(name.clone()).or_default().insert(id);
        state.asked_over_tcp += usize::from(transport == Transport::Tcp);
        let message =
            |flags, addresses: &[IpAddr], ttl| message(&question[..end], kind, flags, addresses, ttl);
        match state.names.get(&name) {
            None => Some(message(flags::NO_NAME, &[], 0)),
            Some(Said::Silence) => None,
            Some(Said::Failure) => Some(message(flags::FAILURE, &[], 0)),
            Some(Said::OverTcp { .. }) if transport == Transport::Udp => {
                Some(message(flags::CUT_OFF, &[], 0))
            }
            Some(Said::Addresses { ttl, addresses } | Said::OverTcp { ttl, addresses }) => {
                Some(message(flags::FINE, addresses, *ttl))
            }
        }
    }
}

/// The second line of a message's head: a response that recursion was available for (RFC 1035 4.1.1).
mod flags {
    pub const FINE: u16 = 0x8180;
    pub const CUT_OFF: u16 = FINE | 0x0200;
    pub const FAILURE: u16 = FINE | 2;
    pub const NO_NAME: u16 = FINE | 3;
}

/// Both protocols on one port.
fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().expect("an address")) {
            return (udp, tcp);
        }
    }
    panic!("no port that is free for UDP and TCP");
}

fn serve_udp(socket: &UdpSocket, shared: &Shared) {
    let mut buffer = [0; 2048];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
        if shared.stopping() {
            return;
        }
        if let Some(answer) = shared.answer(&buffer[..length], Transport::Udp) {
            // Whoever asked may have gone.
            drop(socket.send_to(&answer, peer));
        }
    }
}

fn serve_tcp(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads = Vec::new();
    while let Ok((connection, _)) = listener.accept() {
        if shared.stopping() {
            break;
        }
        connection.set_read_timeout(Some(DEADLINE)).expect("a read timeout");
        shared.state().connections.push(connection.try_clone().expect("a descriptor"));
        let shared = shared.clone();
        threads.push(std::thread::spawn(move || serve_connection(connection, &shared)));
    }
    for thread in threads {
        assert!(thread.join().is_ok(), "a name server's connection panicked");
    }
}

/// Each message has its length in front (RFC 1035 4.2.2).
fn serve_connection(mut connection: TcpStream, shared: &Shared) {
    let mut length = [0; 2];
    while connection.read_exact(&mut length).is_ok() {
        let mut question = vec![0; u16::from_be_bytes(length).into()];
        if connection.read_exact(&mut question).is_err() {
            return;
        }
        if let Some(answer) = shared.answer(&question, Transport::Tcp) {
            let length = u16::try_from(answer.len()).expect("an answer below 64 KiB");
            drop(connection.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat()));
        }
    }
}

/// The name and the kind of a message's one question, and where it ends.
fn parse(message: &[u8]) -> (String, u16, usize) {
    let mut labels = Vec::new();
    let mut at = HEAD_BYTES;
    while message[at] != 0 {
        let end = at + 1 + usize::from(message[at]);
        labels.push(String::from_utf8_lossy(&message[at + 1..end]).to_ascii_lowercase());
        at = end;
    }
    let kind = u16::from_be_bytes([message[at + 1], message[at + 2]]);
    (labels.join("."), kind, at + 5)
}

/// A response to a question, with those of the addresses that were asked for.
fn message(question: &[u8], kind: u16, flags: u16, addresses: &[IpAddr], ttl: u32) -> Vec<u8> {
    let of_kind = |address: &&IpAddr| kind == if address.is_ipv4() { A } else { AAAA };
    let records: Vec<Vec<u8>> =
        addresses.iter().filter(of_kind).map(|address| record(address, ttl)).collect();
    let count = u16::try_from(records.len()).expect("a number of records");
    let counts = [1, count, 0, 0].map(u16::to_be_bytes).concat();
    [&question[..2], &flags.to_be_bytes(), &counts, &question[HEAD_BYTES..], &records.concat()].concat()
}

/// A record of the name in the question, which it points back to (RFC 1035 4.1.4).
fn record(address: &IpAddr, ttl: u32) -> Vec<u8> {
    let (kind, data) = match address {
        IpAddr::V4(address) => (A, address.octets().to_vec()),
        IpAddr::V6(address) => (AAAA, address.octets().to_vec()),
    };
    let length = u16::try_from(data.len()).expect("the length of an address");
    let head = [0xc000 | HEAD_BYTES as u16, kind, 1].map(u16::to_be_bytes).concat();
    [head, ttl.to_be_bytes().to_vec(), length.to_be_bytes().to_vec(), data].concat()
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the threads that wait for a datagram and for a connection.
        let waker = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        waker.send_to(&[], self.address).expect("the server is there");
        drop(TcpStream::connect(self.address));
        for connection in self.shared.state().connections.drain(..) {
            // One that the proxy has closed already cannot be shut down.
            drop(connection.shutdown(Shutdown::Both));
        }
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(std::thread::panicking() || ended.is_ok(), "a name server's thread panicked");
        }
    }
}

/// Backends on one port of 127.0.0.1, 127.0.0.2 and so on, each of which says its text: what a name may have as addresses.
pub fn on_one_port<const COUNT: usize>(texts: [&str; COUNT]) -> [Backend; COUNT] {
    scripts_on_one_port(texts.map(|text| {
        let answer = response("200 OK", "", text.as_bytes());
        move |visit: &mut Visit| while visit.request().is_some() && visit.send(&answer) {}
    }))
}

/// The same with a script for each.
pub fn scripts_on_one_port<const COUNT: usize>(
    scripts: [impl Fn(&mut Visit) + Send + Sync + 'static; COUNT],
) -> [Backend; COUNT] {
    // Bound on all addresses and not listening, so that the port is free on each until the backends have it.
    let held = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    held.set_reuse_address(true).expect("an address that may be used again");
    held.bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))).expect("a free port");
    let port = held.local_addr().ok().and_then(|address| address.as_socket()).expect("an address").port();
    let mut last = 0;
    scripts.map(|script| {
        last += 1;
        Backend::at(SocketAddr::from(([127, 0, 0, last], port)), script)
    })
}
