//! Name servers that do as they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use hickory_resolver::proto::op::{Message, Query};
use hickory_resolver::proto::rr::{RData, Record, rdata};
use tempfile::TempDir;
use tokio::net::UdpSocket;

use super::*;

/// What a server says of a name and a kind: a code, and records.
type Script = BTreeMap<(&'static str, RecordType), (ResponseCode, Vec<Record>)>;

/// A server that answers over UDP from its script, with NXDOMAIN to all else.
struct Scripted {
    address: SocketAddr,
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl Scripted {
    async fn start(script: Script) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(Mutex::default());
        tokio::spawn(serve(socket, script, asked.clone()));
        Self { address, asked }
    }

    /// What was asked since this was last called. (A busy machine may have sent a question twice.)
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap()).into_iter().collect()
    }
}

async fn serve(socket: UdpSocket, script: Script, asked: Arc<Mutex<BTreeSet<String>>>) {
    let mut buffer = [0; 2048];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
        let question = Message::from_vec(&buffer[..length]).unwrap();
        let query = question.queries[0].clone();
        asked.lock().unwrap().insert(format!("{} {}", query.name(), query.query_type()));
        socket.send_to(&answer(&script, &question, &query), peer).await.unwrap();
    }
}

fn answer(script: &Script, question: &Message, query: &Query) -> Vec<u8> {
    let name = query.name().to_string();
    let said = script.iter().find(|((of, kind), _)| *of == name && *kind == query.query_type());
    let (code, records) = said.map_or((ResponseCode::NXDomain, Vec::new()), |(_, said)| said.clone());
    let mut response = Message::response(question.id, question.op_code);
    response.metadata.response_code = code;
    response.add_query(query.clone());
    response.add_answers(records);
    response.to_vec().unwrap()
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn address(of: &str, ttl: u32, ip: &str) -> Record {
    let data = match ip.parse().unwrap() {
        IpAddr::V4(ip) => RData::A(ip.into()),
        IpAddr::V6(ip) => RData::AAAA(ip.into()),
    };
    Record::from_rdata(name(of), ttl, data)
}

fn alias(of: &str, ttl: u32, to: &str) -> Record {
    Record::from_rdata(name(of), ttl, RData::CNAME(rdata::CNAME(name(to))))
}

const OK: ResponseCode = ResponseCode::NoError;
const A: RecordType = RecordType::A;
const AAAA: RecordType = RecordType::AAAA;

/// Servers given by the configuration, and no files.
fn given(servers: &[SocketAddr]) -> (TempDir, NameServers) {
    let folder = tempfile::tempdir().unwrap();
    let servers = NameServers::with_files(servers, files(&folder));
    (folder, servers)
}

fn files(folder: &TempDir) -> Files {
    Files { resolv_conf: folder.path().join("resolv.conf"), hosts: folder.path().join("hosts") }
}

fn found(addresses: &[&str], ttl: Option<u64>) -> Answer {
    Found::of(addresses.iter().map(|ip| ip.parse().unwrap()), ttl.map(Duration::from_secs))
}

#[tokio::test]
async fn both_families_take_part_and_the_shortest_ttl_counts() {
    let script = Script::from([
        (
            ("a.test.", A),
            (OK, vec![address("a.test.", 60, "192.0.2.2"), address("a.test.", 70, "192.0.2.1")]),
        ),
        (("a.test.", AAAA), (OK, vec![address("a.test.", 50, "2001:db8::1")])),
        (("four.test.", A), (OK, vec![address("four.test.", 9, "192.0.2.4")])),
        (("four.test.", AAAA), (OK, vec![])),
        (("none.test.", A), (OK, vec![])),
        (("none.test.", AAAA), (OK, vec![])),
    ]);
    let server = Scripted::start(script).await;
    let (_folder, servers) = given(&[server.address]);
    assert_eq!(servers.look_up("a.test").await, found(&["192.0.2.1", "192.0.2.2", "2001:db8::1"], Some(50)));
    assert_eq!(servers.look_up("four.test").await, found(&["192.0.2.4"], Some(9)));
    assert_eq!(servers.look_up("none.test").await.unwrap_err(), "the name has no address");
    assert_eq!(servers.look_up("absent.test").await.unwrap_err(), "the name does not exist");
    assert_eq!(server.asked().len(), 8);
    servers.look_up("a.test").await.unwrap();
    assert_eq!(server.asked(), ["a.test. A", "a.test. AAAA"], "nothing is remembered");
}

#[tokio::test]
async fn the_ttl_of_an_alias_counts() {
    let target = || address("target.test.", 300, "192.0.2.1");
    let script = Script::from([
        (("whole.test.", A), (OK, vec![alias("whole.test.", 5, "target.test."), target()])),
        (("part.test.", A), (OK, vec![alias("part.test.", 7, "target.test.")])),
        (("target.test.", A), (OK, vec![target()])),
        (("round.test.", A), (OK, vec![alias("round.test.", 7, "about.test.")])),
        (("about.test.", A), (OK, vec![alias("about.test.", 7, "round.test.")])),
    ]);
    let server = Scripted::start(script).await;
    let (_folder, servers) = given(&[server.address]);
    assert_eq!(servers.look_up("whole.test").await, found(&["192.0.2.1"], Some(5)));
    assert_eq!(servers.look_up("part.test").await, found(&["192.0.2.1"], Some(7)));
    assert!(servers.look_up("round.test").await.is_err(), "a circle of aliases ends");
}

#[tokio::test]
async fn what_a_server_says_of_other_names_is_not_heard() {
    let own = || address("own.test.", 60, "192.0.2.1");
    let other = || address("other.test.", 1, "192.0.2.66");
    let long = |last: usize| {
        (0..last).map(|number| alias(&format!("c{number}.test."), 60, &format!("c{}.test.", number + 1)))
    };
    let end = |last: usize| address(&format!("c{last}.test."), 60, "192.0.2.1");
    let script = Script::from([
        (("own.test.", A), (OK, vec![other(), alias("other.test.", 1, "own.test."), own(), other()])),
        (("else.test.", A), (OK, vec![other(), alias("x.test.", 60, "other.test.")])),
        (("c0.test.", A), (OK, long(ALIASES_MAX).chain([end(ALIASES_MAX)]).collect())),
    ]);
    let server = Scripted::start(script).await;
    let (_folder, servers) = given(&[server.address]);
    assert_eq!(servers.look_up("own.test").await, found(&["192.0.2.1"], Some(60)));
    assert_eq!(servers.look_up("else.test").await.unwrap_err(), "the name has no address");
    assert_eq!(servers.look_up("c0.test").await, found(&["192.0.2.1"], Some(60)), "so many aliases");
    let more: Vec<Record> = long(ALIASES_MAX + 1).chain([end(ALIASES_MAX + 1)]).collect();
    assert_eq!(Said::by(&more, &name("c0.test."), A), Said::NoRecord);
    let around: Vec<Record> = [alias("c1.test.", 60, "c0.test.")].into_iter().chain(long(1)).collect();
    assert_eq!(with_aliased(&name("c0.test."), &around).len(), 2, "a circle");
}

/// What answers nothing that was asked: no message, one of another question, and what somebody else was told.
fn lies(question: &Message) -> [Vec<u8>; 4] {
    let query = question.queries[0].clone();
    let lie = |id: u16, of: &str| {
        let mut response = Message::response(id, question.op_code);
        response.add_query(Query::query(name(of), query.query_type()));
        response.add_answers([address(of, 60, "192.0.2.66")]);
        response.to_vec().unwrap()
    };
    let asked = query.name().to_string();
    [
        b"garbage".to_vec(),
        Vec::new(),
        lie(question.id.wrapping_add(1), &asked),
        lie(question.id, "other.test."),
    ]
}

#[tokio::test]
async fn lies_are_passed_over_and_end_when_the_time_is_over() {
    for truth in [false, true] {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let liar = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 2048];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                let question = Message::from_vec(&buffer[..length]).unwrap();
                for lie in lies(&question) {
                    socket.send_to(&lie, peer).await.unwrap();
                }
                if truth {
                    let query = question.queries[0].clone();
                    let script =
                        Script::from([(("a.test.", A), (OK, vec![address("a.test.", 60, "192.0.2.1")]))]);
                    socket.send_to(&answer(&script, &question, &query), peer).await.unwrap();
                }
            }
        });
        let timeout = if truth { SERVER_TIMEOUT } else { Duration::from_millis(200) };
        let setup = Setup::new(&[liar], Search::default(), timeout, Hosts::default()).unwrap();
        let answer = setup.look_up("a.test").await;
        assert_eq!(answer.ok(), found(&["192.0.2.1"], Some(60)).ok().filter(|_| truth));
    }
}

#[tokio::test]
async fn a_server_that_cuts_off_and_has_no_tcp_has_failed() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let cuts_off = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let question = Message::from_vec(&buffer[..length]).unwrap();
            let mut response = Message::response(question.id, question.op_code);
            response.metadata.truncation = true;
            response.add_query(question.queries[0].clone());
            socket.send_to(&response.to_vec().unwrap(), peer).await.unwrap();
        }
    });
    let good = Script::from([(("a.test.", A), (OK, vec![address("a.test.", 60, "192.0.2.1")]))]);
    let good = Scripted::start(good).await;
    let (_folder, alone) = given(&[cuts_off]);
    assert!(alone.look_up("a.test").await.unwrap_err().starts_with(&format!("name server {cuts_off}: ")));
    let (_folder, both) = given(&[cuts_off, good.address]);
    assert_eq!(both.look_up("a.test").await, found(&["192.0.2.1"], Some(60)));
}

#[tokio::test]
async fn a_family_that_fails_is_missing_and_two_are_a_failure() {
    let refused = || (ResponseCode::Refused, vec![]);
    let script = Script::from([
        (("half.test.", A), (OK, vec![address("half.test.", 60, "192.0.2.1")])),
        (("half.test.", AAAA), (ResponseCode::ServFail, vec![])),
        (("empty.test.", A), (ResponseCode::ServFail, vec![])),
        (("empty.test.", AAAA), (OK, vec![])),
        (("both.test.", A), refused()),
        (("both.test.", AAAA), refused()),
    ]);
    let server = Scripted::start(script).await;
    let (_folder, servers) = given(&[server.address]);
    let half = servers.look_up("half.test").await.unwrap();
    assert_eq!(half, Found { missing: Some(Family::V6), ..found(&["192.0.2.1"], Some(60)).unwrap() });
    for host in ["empty.test", "both.test"] {
        let reason = servers.look_up(host).await.unwrap_err();
        assert!(reason.starts_with(&format!("name server {}: ", server.address)), "{reason}");
    }
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_fails_and_the_one_that_answers_stays_first() {
    let broken = Scripted::start(Script::from([
        (("a.test.", A), (ResponseCode::ServFail, vec![])),
        (("a.test.", AAAA), (ResponseCode::ServFail, vec![])),
    ]));
    let good = Script::from([(("a.test.", A), (OK, vec![address("a.test.", 60, "192.0.2.1")]))]);
    let (broken, good) = (broken.await, Scripted::start(good).await);
    // Bound and never read: questions get no answer.
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (_folder, servers) = given(&[silent.local_addr().unwrap(), broken.address, good.address]);
    let questions = ["a.test. A", "a.test. AAAA"];
    assert_eq!(servers.look_up("a.test").await, found(&["192.0.2.1"], Some(60)));
    assert_eq!(broken.asked(), questions);
    assert_eq!(good.asked(), questions);
    assert_eq!(servers.look_up("a.test").await, found(&["192.0.2.1"], Some(60)));
    assert!(broken.asked().is_empty());
    assert_eq!(good.asked(), questions);
}

#[tokio::test]
async fn the_search_list_is_tried_until_a_name_exists_or_something_fails() {
    let script = Script::from([
        (("a.two.test.", A), (OK, vec![address("a.two.test.", 60, "192.0.2.2")])),
        (("a.", A), (OK, vec![address("a.", 60, "192.0.2.66")])),
        (("b.one.test.", A), (ResponseCode::ServFail, vec![])),
        (("b.one.test.", AAAA), (ResponseCode::ServFail, vec![])),
        (("b.two.test.", A), (OK, vec![address("b.two.test.", 60, "192.0.2.66")])),
    ]);
    let server = Scripted::start(script).await;
    let search = Search { domains: vec![name("one.test."), name("two.test.")], dots: 1 };
    let setup = Setup::new(&[server.address], search, SERVER_TIMEOUT, Hosts::default()).unwrap();
    assert_eq!(setup.look_up("a").await, found(&["192.0.2.2"], Some(60)));
    let questions = ["a.one.test. A", "a.one.test. AAAA", "a.two.test. A", "a.two.test. AAAA"];
    assert_eq!(server.asked(), questions);
    assert_eq!(setup.look_up("a.").await, found(&["192.0.2.66"], Some(60)), "an absolute name");
    assert_eq!(server.asked(), ["a. A", "a. AAAA"]);
    assert!(setup.look_up("b").await.is_err(), "b.two.test is another host");
    assert_eq!(setup.look_up("c").await.unwrap_err(), "the name does not exist");
}

#[tokio::test]
async fn the_hosts_file_comes_first_and_is_read_again_when_it_changes() {
    let script = Script::from([(("a.test.", A), (OK, vec![address("a.test.", 60, "192.0.2.1")]))]);
    let server = Scripted::start(script).await;
    let (folder, servers) = given(&[server.address]);
    assert_eq!(servers.look_up("a.test").await, found(&["192.0.2.1"], Some(60)));
    fs::write(folder.path().join("hosts"), "192.0.2.7 A.test\n2001:db8::7 a.test\n").unwrap();
    assert_eq!(servers.look_up("a.test").await, found(&["192.0.2.7", "2001:db8::7"], None));
    assert_eq!(server.asked().len(), 2, "only the first time");
    fs::remove_file(folder.path().join("hosts")).unwrap();
    assert_eq!(servers.look_up("a.test").await, found(&["192.0.2.1"], Some(60)));
}

#[tokio::test]
async fn without_resolv_conf_or_servers_there_is_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let servers = NameServers::with_files(&[], files(&folder));
    assert!(servers.look_up("a.test").await.unwrap_err().contains("resolv.conf"));
    fs::write(folder.path().join("resolv.conf"), "search one.test\n").unwrap();
    assert!(servers.look_up("a.test").await.unwrap_err().contains("no nameservers"));
    fs::write(folder.path().join("hosts"), "192.0.2.7 a.test\n").unwrap();
    fs::write(folder.path().join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
    assert_eq!(servers.look_up("a.test").await, found(&["192.0.2.7"], None));
}

#[tokio::test]
async fn localhost_is_never_asked_for() {
    let server = Scripted::start(Script::new()).await;
    let (_folder, servers) = given(&[server.address]);
    let local = servers.look_up("localhost").await.unwrap();
    assert!(local.addresses.iter().all(IpAddr::is_loopback) && local.addresses.len() == 2);
    assert!(servers.look_up("no.such.name.invalid").await.is_err());
    assert!(server.asked().is_empty());
}
