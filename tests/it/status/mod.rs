//! Looking inside: the admin socket (`socket`), what it answers (`api`), and `ringway status`, which asks it (`command`).

mod api;
mod command;
mod socket;

use crate::harness::config::Config;
use crate::harness::output::{assert_exit, stderr, stdout};
use crate::harness::proxy::{Proxy, ringway};
use crate::harness::status::admin;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Starts with an admin socket in the folder `data` of the proxy's directory.
fn start(config: Config) -> Proxy {
    let directory = tempfile::tempdir().expect("a directory");
    let section = admin(&directory.path().join("data"));
    Proxy::start_in(directory, &config.section(&section))
}

/// The admin socket of a proxy that [`start`] started.
fn socket(proxy: &Proxy) -> PathBuf {
    proxy.directory().join("data/admin.sock")
}

/// What curl prints when it asks the socket.
fn curl(socket: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20", "--unix-socket"]).arg(socket).args(arguments);
    let output = command.output().expect("curl starts");
    assert!(output.status.success(), "{arguments:?}: {}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

/// The status, as curl gets it.
fn status(socket: &Path) -> Value {
    let text = curl(socket, &["http://localhost/api/v1/status"]);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The one of `list` whose `key` is `value`.
#[track_caller]
fn find<'a>(list: &'a Value, key: &str, value: &str) -> &'a Value {
    let found = list.as_array().expect("a list").iter().find(|entry| entry[key] == value);
    found.unwrap_or_else(|| panic!("no {key} {value:?} in {list:#}"))
}

/// Runs `ringway` in `directory` to its end, without what the environment says of terminals.
fn run_in(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = ringway();
    command.current_dir(directory).args(arguments);
    command.env_remove("RINGWAY_LOG").env_remove("COLUMNS").env_remove("NO_COLOR");
    command.output().expect("the binary starts")
}
