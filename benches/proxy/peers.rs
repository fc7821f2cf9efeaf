//! The proxies under load, as processes, each with a configuration that asks the same of it: one worker, HTTP/1.1 and
//! keep-alive on both sides, the forwarded fields that Ringway sets, no access log.

use crate::Outcome;
use crate::cpu::{self, Cpus};
use crate::options::{Driver, Plan};
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a proxy may take to serve.
const START: Duration = Duration::from_secs(10);

/// A running proxy; killed when dropped.
pub(crate) struct Proxy {
    name: String,
    child: Child,
    address: SocketAddr,
    /// Its configuration and logs.
    _directory: TempDir,
}

impl Proxy {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts Ringway once for each driver, and the peers. All of them inherit the proxies' CPU; the calling thread is on the
/// load's again when this returns.
pub(crate) fn start_all(plan: &Plan, backend: SocketAddr, cpus: Cpus) -> Outcome<Vec<Proxy>> {
    cpu::pin(cpus.proxy)?;
    let ringway = plan.drivers.iter().map(|&driver| ringway(driver, backend, plan.connections));
    let nginx = plan.nginx.then(|| nginx(backend, plan.connections));
    let proxies = ringway.chain(nginx).collect::<Outcome<Vec<Proxy>>>();
    cpu::pin(cpus.load)?;
    proxies
}

fn ringway(driver: Driver, backend: SocketAddr, keepalive: usize) -> Outcome<Proxy> {
    let driver = driver.name();
    let config = format!(
        "[server]\nworkers = 1\ndriver = \"{driver}\"\n\n\
         [[listeners]]\naddress = \"127.0.0.1:0\"\n\n\
         [[upstreams]]\nname = \"backend\"\nkeepalive = {keepalive}\nbackends = [{{ url = \"http://{backend}\" }}]\n\n\
         [[rules]]\nname = \"all\"\npath = \"/*\"\nupstream = \"backend\"\n"
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.args(["run", "--config"]).env_remove("RUST_LOG").env_remove("RINGWAY_LOG");
    start(&format!("ringway {driver}"), command, &config, listening_address)
}

/// The address in the log once every worker serves.
fn listening_address(log: &str) -> Option<SocketAddr> {
    log.lines().any(|line| line.ends_with("ready")).then_some(())?;
    log.lines().find_map(|line| line.split_once("listening on ")?.1.trim().parse().ok())
}

fn nginx(backend: SocketAddr, keepalive: usize) -> Outcome<Proxy> {
    let address = free_address().map_err(|error| format!("no free port: {error}"))?;
    let mut command = Command::new("nginx");
    command.args(["-e", "stderr", "-c"]);
    let config = nginx_config(address, backend, keepalive);
    start("nginx", command, &config, |_| TcpStream::connect(address).is_ok().then_some(address))
}

/// A port that was free a moment ago: nginx does not tell which one it got.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// One process without a master, so that killing it ends it all; its event loop is a worker's. Paths are relative to the
/// folder of the file. 1.22 closes connections after 1,000 requests by default; Ringway never does.
fn nginx_config(address: SocketAddr, backend: SocketAddr, keepalive: usize) -> String {
    format!(
        "daemon off;\nmaster_process off;\nworker_processes 1;\npid nginx.pid;\nerror_log stderr;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n  \
           access_log off;\n  keepalive_requests 1000000000;\n  \
           client_body_temp_path body;\n  proxy_temp_path proxy;\n  fastcgi_temp_path fastcgi;\n  \
           uwsgi_temp_path uwsgi;\n  scgi_temp_path scgi;\n  \
           upstream backend {{ server {backend}; keepalive {keepalive}; keepalive_requests 1000000000; }}\n  \
           server {{\n    listen {address};\n    location / {{\n      \
             proxy_pass http://backend;\n      proxy_http_version 1.1;\n      \
             proxy_set_header Connection \"\";\n      proxy_set_header Host $http_host;\n      \
             proxy_set_header X-Forwarded-For $remote_addr;\n      proxy_set_header X-Real-IP $remote_addr;\n      \
             proxy_set_header X-Forwarded-Proto $scheme;\n      proxy_set_header X-Forwarded-Host $http_host;\n    \
           }}\n  }}\n}}\n"
    )
}

/// Runs `command` with the path of a file that holds `config` as its last argument, until `serving` finds its address.
fn start(
    name: &str,
    mut command: Command,
    config: &str,
    serving: impl Fn(&str) -> Option<SocketAddr>,
) -> Outcome<Proxy> {
    let failed = |error: io::Error| format!("{name} cannot start: {error}");
    let directory = TempDir::new().map_err(failed)?;
    let (file, log) = (directory.path().join("config"), directory.path().join("log"));
    fs::write(&file, config).map_err(failed)?;
    command.arg(&file).current_dir(directory.path()).stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(File::create(&log).map_err(failed)?);
    let child = command.spawn().map_err(failed)?;
    // From here on dropped, and so killed, whatever happens.
    let address = (Ipv4Addr::UNSPECIFIED, 0).into();
    let mut proxy = Proxy { name: name.to_owned(), child, address, _directory: directory };
    proxy.address =
        wait(&mut proxy.child, &log, serving).map_err(|log| format!("{name} does not serve:\n{log}"))?;
    Ok(proxy)
}

/// The address once it serves; the log when the process has ended or takes too long.
fn wait(child: &mut Child, log: &Path, serving: impl Fn(&str) -> Option<SocketAddr>) -> Outcome<SocketAddr> {
    let deadline = Instant::now() + START;
    loop {
        let text = fs::read_to_string(log).unwrap_or_default();
        if let Some(address) = serving(&text) {
            return Ok(address);
        }
        if Instant::now() > deadline || !matches!(child.try_wait(), Ok(None)) {
            return Err(text);
        }
        #[expect(clippy::disallowed_methods, reason = "between two looks, until a deadline")]
        std::thread::sleep(Duration::from_millis(5));
    }
}
