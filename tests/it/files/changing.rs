//! Files that change while they are served: what a client gets is one version of them, or is cut so that it does not look
//! complete.

use super::{Stage, folder, serving, write};
use crate::harness::client::Client;
use crate::harness::config::{Config, Driver};
use crate::harness::message::Ending;
use crate::harness::proxy::Proxy;
use crate::harness::{on_both_drivers, wait_until};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

on_both_drivers![
    a_change_is_seen_soon,
    a_deployment_moves_a_link,
    no_short_file_is_ever_mixed,
    a_long_file_that_is_replaced_ends_as_it_began,
    a_long_file_that_is_deleted_ends_as_it_began,
    a_long_file_that_becomes_shorter_is_cut,
    a_long_file_that_grows_is_cut,
    a_long_file_that_is_overwritten_is_cut,
    a_long_file_that_gets_another_name_goes_on,
    a_download_survives_the_loss_of_its_rule,
];

/// More than the sockets between take.
const LONG: usize = 24 << 20;

fn a_change_is_seen_soon(driver: Driver) {
    let stage = Stage::new(driver, &[("a", "first")]);
    let mut client = stage.proxy.client();
    assert_eq!(client.get("/a").text(), "first");
    stage.write("a", "other");
    wait_until("the change is seen", || client.get("/a").text() == "other");
    fs::remove_file(stage.path("a")).expect("a file");
    wait_until("it is seen that it has gone", || client.get("/a").status == 404);
    stage.write("a", "again");
    assert_eq!(client.get("/a").text(), "again");
    fs::remove_file(stage.path("a")).expect("a file");
    stage.write("a/index.html", "");
    wait_until("it is seen that it is a folder", || client.get("/a").status == 308);
}

fn a_deployment_moves_a_link(driver: Driver) {
    let root = folder(&[]);
    let current = root.path().join("current");
    let deploy = |version: &str| {
        write(&root.path().join(version).join("a"), version);
        symlink(version, root.path().join("next")).expect("a link");
        fs::rename(root.path().join("next"), &current).expect("a name");
    };
    deploy("v1");
    let proxy = Proxy::start(&serving(Config::new(driver), &current));
    let mut client = proxy.client();
    assert_eq!(client.get("/a").text(), "v1");
    // The same length, and the same time of its last change.
    deploy("v2");
    wait_until("the new version is served", || client.get("/a").text() == "v2");
}

fn no_short_file_is_ever_mixed(driver: Driver) {
    const BYTES: usize = 100_000;
    let content = |turn: u8| vec![b'a' + turn % 26; BYTES - usize::from(turn) % 3];
    let stage = Stage::new(driver, &[]);
    stage.write("a", content(0));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for turn in (0..=u8::MAX).cycle() {
                // As deployments do: a new file takes the name of the old one.
                stage.write("next", content(turn));
                fs::rename(stage.path("next"), stage.path("a")).expect("a name");
                if done.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        let mut clients: Vec<Client> = (0..4).map(|_| stage.proxy.client()).collect();
        for _ in 0..100 {
            for client in &mut clients {
                let body = client.get("/a").body;
                let first = *body.first().expect("a byte");
                assert!(body.len() > BYTES - 3 && body.iter().all(|&byte| byte == first));
            }
        }
        done.store(true, Ordering::SeqCst);
    });
}

/// A client that has read the head and some bytes of a long file, of which the rest is still to be sent.
fn begun(stage: &Stage) -> (Client, Vec<u8>) {
    stage.write("long", noise(LONG));
    let mut client = Client::with_receive_buffer(&stage.proxy.address(), 64 * 1024);
    client.send("GET /long HTTP/1.1\r\nHost: t\r\n\r\n");
    let head = client.head();
    assert_eq!(head.fields.get("content-length"), Some(LONG.to_string().as_str()));
    (client, noise(LONG))
}

/// Bytes that do not repeat soon.
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(3).fill(&mut bytes);
    bytes
}

fn a_long_file_that_is_replaced_ends_as_it_began(driver: Driver) {
    let stage = Stage::new(driver, &[]);
    let (mut client, content) = begun(&stage);
    stage.write("next", vec![b'x'; LONG]);
    fs::rename(stage.path("next"), stage.path("long")).expect("a name");
    assert!(client.bytes_up_to(LONG) == content);
}

fn a_long_file_that_is_deleted_ends_as_it_began(driver: Driver) {
    let stage = Stage::new(driver, &[]);
    let (mut client, content) = begun(&stage);
    fs::remove_file(stage.path("long")).expect("a file");
    assert!(client.bytes_up_to(LONG) == content);
    stage.get("/long").assert_error(404, "not_found");
}

fn a_long_file_that_becomes_shorter_is_cut(driver: Driver) {
    let stage = Stage::new(driver, &[]);
    let (mut client, content) = begun(&stage);
    let file = File::options().write(true).open(stage.path("long")).expect("a file");
    file.set_len(1 << 20).expect("it can be shorter");
    let body = client.bytes_up_to(LONG);
    assert!(body.len() < LONG, "it is not complete");
    assert!(content.starts_with(&body), "what came is of the file");
    assert_ne!(client.rest().1, Ending::Silence);
}

/// It may have been written anew as well as been added to.
fn a_long_file_that_grows_is_cut(driver: Driver) {
    let stage = Stage::new(driver, &[]);
    let (mut client, content) = begun(&stage);
    let file = File::options().write(true).open(stage.path("long")).expect("a file");
    file.set_len(2 * LONG as u64).expect("it can be longer");
    let body = client.bytes_up_to(LONG);
    assert!(body.len() < LONG && content.starts_with(&body));
    assert_ne!(client.rest().1, Ending::Silence);
}

fn a_long_file_that_is_overwritten_is_cut(driver: Driver) {
    let stage = Stage::new(driver, &[]);
    let (mut client, _) = begun(&stage);
    // Its length is as it was.
    let mut file = File::options().write(true).open(stage.path("long")).expect("a file");
    file.write_all(&vec![b'x'; LONG]).expect("room");
    assert!(client.bytes_up_to(LONG).len() < LONG, "it is not complete");
    assert_ne!(client.rest().1, Ending::Silence);
}

/// As backups, rotation and deployments do it: its bytes are the same.
fn a_long_file_that_gets_another_name_goes_on(driver: Driver) {
    let rename = |from: &Path, to: &Path| fs::rename(from, to).expect("a name");
    let link = |from: &Path, to: &Path| fs::hard_link(from, to).expect("a name");
    let link_for_a_moment = |from: &Path, to: &Path| {
        fs::hard_link(from, to).and_then(|()| fs::remove_file(to)).expect("a name");
    };
    let restrict = |from: &Path, _: &Path| {
        fs::set_permissions(from, fs::Permissions::from_mode(0o640)).expect("rights");
    };
    for change in [&rename as &dyn Fn(&Path, &Path), &link, &link_for_a_moment, &restrict] {
        let stage = Stage::new(driver, &[]);
        let (mut client, content) = begun(&stage);
        change(&stage.path("long"), &stage.path("other"));
        assert!(client.bytes_up_to(LONG) == content);
        // The connection goes on behind it.
        assert_eq!(client.get("/missing").status, 404);
    }
}

fn a_download_survives_the_loss_of_its_rule(driver: Driver) {
    let stage = Stage::new(driver, &[]);
    let (mut client, content) = begun(&stage);
    stage.proxy.reload(&Config::new(driver));
    stage.proxy.client().get("/long").assert_error(404, "no_site");
    assert!(client.bytes_up_to(LONG) == content);
}
