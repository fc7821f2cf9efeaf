//! What the running program says of itself over its admin socket: what no wire shows.

use super::client::{Address, Client};
use super::config::Config;
use super::proxy::Proxy;
use super::wait_until;
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

impl Proxy {
    /// Starts with an admin socket.
    pub fn watched(config: Config) -> Self {
        Proxy::watched_in(tempfile::tempdir().expect("a directory"), config)
    }

    /// Starts with an admin socket in a directory that the configuration names.
    pub fn watched_in(directory: TempDir, config: Config) -> Self {
        // What a umask of 0 makes is everybody's, and no place for the socket.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).expect("the directory is ours");
        let section = admin(directory.path());
        Proxy::start_in(directory, &config.section(&section))
    }

    /// Replaces the file of a proxy that was started with an admin socket, and waits until the change is applied.
    pub fn reload_watched(&self, config: &Config) {
        self.reload(&config.clone().section(&admin(self.directory())));
    }

    /// `GET /api/v1/status` at the admin socket.
    pub fn status(&self) -> Value {
        let socket = Address::Unix(self.directory().join("admin.sock"));
        let answer = Client::connect(&socket).get("/api/v1/status");
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_slice(&answer.body).expect("the body is JSON")
    }

    /// What the status says of the upstream `name`.
    pub fn upstream_status(&self, name: &str) -> Value {
        named(&self.status()["upstreams"], name)
    }

    /// What the status says of the site `name`.
    pub fn site_status(&self, name: &str) -> Value {
        named(&self.status()["sites"], name)
    }

    /// Waits until the upstream `name` has so many exchanges running and requests waiting.
    pub fn wait_for_upstream(&self, name: &str, running: usize, waiting: usize) {
        let what = format!("upstream {name}: {running} run and {waiting} wait");
        wait_until(&what, || counts(&self.upstream_status(name)) == (running, waiting));
    }

    /// Waits until the site `name` has so many exchanges running and requests waiting.
    pub fn wait_for_site(&self, name: &str, running: usize, waiting: usize) {
        let what = format!("site {name}: {running} run and {waiting} wait");
        wait_until(&what, || counts(&self.site_status(name)) == (running, waiting));
    }

    /// Waits until no site, no upstream and no backend has anything that runs or waits.
    pub fn wait_until_nothing_runs(&self) {
        let what = "nothing runs and nothing waits";
        wait_until(what, || {
            let status = self.status();
            let upstreams = status["upstreams"].as_array().expect("a list of upstreams");
            let sites = status["sites"].as_array().expect("a list of sites");
            let idle = |one: &Value| counts(one) == (0, 0);
            let backends = upstreams.iter().flat_map(|one| one["backends"].as_array().expect("a list"));
            let mut running = backends.map(|backend| number(backend, "running"));
            upstreams.iter().all(idle) && sites.iter().all(idle) && running.all(|count| count == 0)
        });
    }
}

/// The file's section for an admin socket in `folder`.
pub fn admin(folder: &Path) -> String {
    format!("[admin]\ndata_dir = {folder:?}")
}

/// The element of that name.
fn named(list: &Value, name: &str) -> Value {
    let list = list.as_array().expect("a list");
    let found = list.iter().find(|one| one["name"] == name);
    found.unwrap_or_else(|| panic!("nothing is called {name}: {list:#?}")).clone()
}

/// A number of the status.
pub fn number(of: &Value, name: &str) -> usize {
    let number = of[name].as_u64().unwrap_or_else(|| panic!("no number {name}: {of:#}"));
    number.try_into().expect("it fits")
}

/// What runs and what waits.
fn counts(of: &Value) -> (usize, usize) {
    (number(of, "running"), number(of, "waiting"))
}
