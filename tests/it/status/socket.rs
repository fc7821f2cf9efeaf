//! The admin socket: whose it is, and what becomes of it at starts, reloads and ends.

use super::{admin, assert_exit, run_in, socket, start, status, stderr};
use crate::harness::backend::Backend;
use crate::harness::config::{Config, Driver};
use crate::harness::proxy::Proxy;
use nix::sys::signal::Signal;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

/// What stands in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect()
}

fn config() -> Config {
    Config::new(Driver::Epoll).rule("all", "/*", "http://127.0.0.1:9")
}

/// Tries to start on `text`, which must be refused.
#[track_caller]
fn assert_refused(text: &str, code: i32, reason: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("ringway.toml"), text).expect("the file is written");
    let output = run_in(directory.path(), &["run"]);
    assert_exit(&output, code);
    let log = stderr(&output);
    assert!(log.contains(reason) && !log.contains("listening on"), "no {reason:?} in\n{log}");
}

#[test]
fn it_is_its_owners_alone_and_goes_at_the_end() {
    let mut proxy = start(config());
    let socket = socket(&proxy);
    let folder = socket.parent().unwrap();
    assert!(fs::metadata(&socket).unwrap().file_type().is_socket());
    assert_eq!((mode(folder), mode(&socket)), (0o700, 0o600));
    assert_eq!(names(folder), ["admin.sock"]);
    proxy.stop();
    assert_eq!(names(folder), [""; 0]);
}

#[test]
fn without_the_key_there_is_none() {
    let proxy = Proxy::start(&config());
    let mut found = names(proxy.directory());
    found.sort();
    assert_eq!(found, ["ringway.toml", "stdout"]);
}

#[test]
fn a_folder_belongs_to_one_process() {
    let proxy = start(config());
    let folder = proxy.directory().join("data");
    assert_refused(&config().section(&admin(&folder)).text(), 3, "another Ringway uses it");
    assert_refused(&config().section(&admin(&folder.join("../data"))).text(), 3, "another Ringway uses it");
    assert_eq!(status(&socket(&proxy))["phase"], "serving");
}

#[test]
fn a_socket_of_one_that_was_killed_is_taken_over() {
    let home = tempfile::tempdir().expect("a directory");
    let text = config().section(&admin(home.path()));
    let mut killed = Proxy::start(&text);
    killed.signal(Signal::SIGKILL);
    killed.wait();
    assert_eq!(names(home.path()), ["admin.sock"]);
    let mut next = Proxy::start(&text);
    assert_eq!(status(&home.path().join("admin.sock"))["revision"], 1);
    next.stop();
    assert_eq!(names(home.path()), [""; 0]);
}

#[test]
fn a_refused_start_leaves_nothing_behind() {
    let home = tempfile::tempdir().expect("a directory");
    let folder = home.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let busy = config().listeners(&[&address]).section(&admin(&folder));
    assert_refused(&busy.text(), 3, &address);
    assert_eq!(names(home.path()), [""; 0]);
    // One that was there stays, without a socket.
    fs::create_dir(&folder).unwrap();
    assert_refused(&busy.text(), 3, &address);
    assert_eq!(names(&folder), [""; 0]);
}

#[test]
fn what_is_in_the_way_is_told() {
    let home = tempfile::tempdir().expect("a directory");
    let refused = |folder: &Path, code, reason: &str| {
        assert_refused(&config().section(&admin(folder)).text(), code, reason);
    };
    refused(&home.path().join("not/there"), 3, "not/there (admin.data_dir): cannot create it: No such file");
    fs::write(home.path().join("file"), "text").unwrap();
    refused(&home.path().join("file"), 3, "this is no folder");
    fs::write(home.path().join("admin.sock"), "text").unwrap();
    refused(home.path(), 3, "it is no socket");
    assert_eq!(fs::read(home.path().join("admin.sock")).unwrap(), b"text");
    let open = home.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
    refused(&open, 3, "everybody may write to it");
    refused(&home.path().join("x".repeat(120)), 1, "the path of a Unix socket has at most 107 bytes");
}

#[test]
fn a_reload_moves_opens_and_closes_it() {
    let proxy = start(config());
    let folders = ["data", "moved"].map(|name| proxy.directory().join(name));
    let [old, new] = folders.each_ref().map(|folder| folder.join("admin.sock"));
    proxy.reload(&config().section(&admin(&folders[1])));
    assert_eq!(status(&new)["revision"], 2);
    assert_eq!((names(&folders[0]), mode(&new)), (vec![], 0o600));
    // Another way to write the same folder is no move.
    proxy.reload(&config().section(&admin(&folders[1].join("../moved"))));
    assert_eq!(status(&new)["revision"], 3);
    proxy.reload(&config());
    assert_eq!(names(&folders[1]), [""; 0]);
    proxy.reload(&config().section(&admin(&folders[0])));
    assert_eq!(status(&old)["revision"], 5);
}

#[test]
fn a_reload_brings_back_a_file_that_was_removed() {
    let proxy = start(config());
    fs::remove_file(socket(&proxy)).unwrap();
    proxy.reload(&config().section(&admin(&proxy.directory().join("data"))));
    assert_eq!(status(&socket(&proxy))["revision"], 2);
}

#[test]
fn a_reload_that_cannot_have_it_changes_nothing() {
    let backend = Backend::says_hello();
    let proxy = start(Config::to(Driver::Epoll, &backend));
    let other = start(config());
    let refuse = |config: Config, reason: &str| {
        let mark = proxy.reload_text(&config.text());
        proxy.log().wait_for(mark, "configuration refused");
        proxy.log().wait_for(mark, reason);
        assert_eq!(status(&socket(&proxy))["revision"], 1);
        assert_eq!(proxy.client().get("/").status, 200);
    };
    refuse(config().section(&admin(&other.directory().join("data"))), "another Ringway uses it");
    refuse(config().section(&admin(Path::new("/dev/null"))), "this is no folder");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let moved = proxy.directory().join("moved");
    refuse(config().listeners(&[&address]).section(&admin(&moved)), &address);
    assert!(!moved.exists(), "a folder is left of a reload that was refused");
    assert_eq!(status(&socket(&other))["phase"], "serving");
}

#[test]
fn what_another_program_put_in_its_place_stays() {
    let mut proxy = start(config());
    let socket = socket(&proxy);
    fs::remove_file(&socket).unwrap();
    let _other = UnixListener::bind(&socket).unwrap();
    proxy.stop();
    assert!(socket.exists());
}
