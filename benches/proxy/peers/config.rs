//! What each proxy is configured with.

use crate::model::Setting;
use crate::options::{Driver, PeerKind};
use std::fmt::Write as _;
use std::net::SocketAddr;

/// The file's name for each peer's template; Envoy goes by the ending.
pub(crate) const FILE: &str = "config.yaml";
/// The folder whose files are served, below the one in which a proxy runs.
pub(crate) const FOLDER: &str = "www";

/// Ringway's defaults, but for what the harness must choose. Many rules are `/p0/*`, `/p1/*` and so on; one takes all
/// paths.
pub(crate) fn ringway(driver: Driver, setting: &Setting) -> String {
    let Setting { backend, keepalive, rules, access_log, files } = setting;
    let (driver, log) = (driver.name(), if *access_log { "access.log" } else { "off" });
    let mut text = format!(
        "[server]\nworkers = 1\ndriver = \"{driver}\"\ndrain_timeout = \"1s\"\n\n\
         [access_log]\npath = \"{log}\"\n\n\
         [[listeners]]\naddress = \"127.0.0.1:0\"\n\n\
         [[upstreams]]\nname = \"backend\"\nkeepalive = {keepalive}\nbackends = [{{ url = \"http://{backend}\" }}]\n"
    );
    let mut rule = |name: &str, path: &str| {
        let to =
            if *files { format!("static_dir = \"{FOLDER}\"") } else { "upstream = \"backend\"".to_owned() };
        let written = write!(text, "\n[[rules]]\nname = \"{name}\"\npath = \"{path}\"\n{to}\n");
        written.expect("a string takes what is written");
    };
    if *rules == 1 {
        rule("all", "/*");
    }
    for number in (0..*rules).filter(|_| *rules > 1) {
        rule(&format!("rule {number}"), &format!("/p{number}/*"));
    }
    text
}

/// The peer's template with its values.
pub(crate) fn peer(peer: PeerKind, setting: &Setting, address: SocketAddr) -> String {
    let Setting { backend, keepalive, access_log, files, .. } = setting;
    let values = [
        ("@ADDRESS@", address.to_string()),
        ("@HOST@", address.ip().to_string()),
        ("@PORT@", address.port().to_string()),
        ("@BACKEND@", backend.to_string()),
        ("@BACKEND_HOST@", backend.ip().to_string()),
        ("@BACKEND_PORT@", backend.port().to_string()),
        ("@KEEPALIVE@", keepalive.to_string()),
        ("@ACCESS_LOG@", if *access_log { "access.log json buffer=64k flush=1s" } else { "off" }.to_owned()),
        ("@FOLDER@", FOLDER.to_owned()),
        ("@IF_FILES@", if *files { "" } else { "# " }.to_owned()),
        ("@IF_LOGGED@", if *access_log { "" } else { "# " }.to_owned()),
    ];
    // Comments name the placeholders too: they stay as they are.
    let filled = |line: &str| match line.trim_start().starts_with('#') {
        true => line.to_owned(),
        false => values.iter().fold(line.to_owned(), |line, (name, value)| line.replace(name, value)),
    };
    let lines: Vec<_> = template(peer).lines().map(filled).collect();
    lines.join("\n") + "\n"
}

fn template(peer: PeerKind) -> &'static str {
    match peer {
        PeerKind::Nginx => include_str!("../../peers/nginx.conf"),
        PeerKind::Haproxy => include_str!("../../peers/haproxy.cfg"),
        PeerKind::Envoy => include_str!("../../peers/envoy.yaml"),
        PeerKind::Caddy => include_str!("../../peers/Caddyfile"),
    }
}
