//! docs/upstreams.md, played: its own configurations with its own steps, and the lines and the table that it shows are those
//! that the program prints. (That its other blocks compile and its tables are right is tested beside the compiler.)

use crate::access_log::objects;
use crate::harness::backends::response;
use crate::harness::client::Client;
use crate::harness::config::{Config, Driver};
use crate::harness::proxy::{Proxy, ringway};
use crate::harness::restarting::Restarting;
use crate::harness::status::number;
use crate::harness::{on_both_drivers, pause, wait_until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const PAGE: &str = include_str!("../../docs/upstreams.md");

/// Where the pool of three stands that is restarted, and the steps that follow it.
const RESTART: &str = "## Restarting backends one by one";
const BY_THE_FILE: &str = "**By the file.**";
const BY_ITSELF: &str = "**By the backend itself.**";

on_both_drivers![
    a_backend_is_restarted_as_the_page_says,
    a_backend_that_the_file_takes_out_is_missed_by_no_post,
    a_backend_that_says_so_itself_is_missed_by_no_post,
    one_that_must_stay_is_told_as_the_page_says,
    a_request_waits_for_the_only_backend,
    weights_and_backups_hold,
];

/// The first block of this language behind `place`.
#[track_caller]
fn block(language: &str, place: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(place).unwrap_or_else(|| panic!("the page has no {place:?}"));
    let (_, block) = rest.split_once(&format!("```{language}\n")).expect("a block");
    block.split("```").next().expect("its end")
}

/// A backend that the page names: it says its place there, or does what the path asks for.
struct Named {
    /// As the page has it, without `http://`.
    named: &'static str,
    runs: Restarting,
    /// Probes find it so.
    fit: Arc<AtomicBool>,
    /// What is held goes on.
    released: Arc<AtomicBool>,
}

impl Named {
    fn new(named: &'static str) -> Self {
        let (fit, released) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let (is_fit, may_go) = (fit.clone(), released.clone());
        let runs = Restarting::answers(move |request| {
            let status = match request.head.target() {
                "/healthz" | "/readyz" if !is_fit.load(Ordering::SeqCst) => "503 Service Unavailable",
                _ => "200 OK",
            };
            if request.head.target() == "/held" {
                wait_until("it is released", || may_go.load(Ordering::SeqCst));
            }
            response(status, "", named.as_bytes())
        });
        Named { named, runs, fit, released }
    }

    fn address(&self) -> String {
        self.runs.url().replace("http://", "")
    }
}

/// The backends of a block.
struct Pool(Vec<Named>);

impl Pool {
    /// The pool of three that the page restarts.
    fn of_three() -> Self {
        Pool::of(&["127.0.0.1:3001", "127.0.0.1:3002", "127.0.0.1:3003"])
    }

    fn of(names: &[&'static str]) -> Self {
        Pool(names.iter().map(|&named| Named::new(named)).collect())
    }

    /// A text of the page with what stands here for what it names.
    fn real(&self, text: &str, folder: &Path) -> String {
        let text = text.replace("/var/lib/ringway", folder.to_str().expect("UTF-8"));
        let end = |address: &str| format!("//{address}\"");
        self.0.iter().fold(text, |text, backend| text.replace(&end(backend.named), &end(&backend.address())))
    }

    /// What was printed, with the names of the page.
    fn as_on_the_page(&self, printed: &str) -> String {
        self.0
            .iter()
            .fold(printed.to_owned(), |text, backend| text.replace(&backend.address(), backend.named))
    }

    /// The configuration of a block, with a rule for its upstream, an admin socket and an access log.
    fn config(&self, driver: Driver, block: &str, folder: &Path) -> Config {
        let name = block.split("name = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a name");
        let admin = if block.contains("[admin]") { "" } else { "[admin]\ndata_dir = \"/var/lib/ringway\"" };
        let log = "[access_log]\npath = \"/var/lib/ringway/access.log\"";
        let config = Config::new(driver).section(&self.real(&[block, admin, log].join("\n"), folder));
        config.rule_to("everything", "*", name).workers(2)
    }

    fn start(&self, driver: Driver, block: &str) -> Proxy {
        let folder = tempfile::tempdir().expect("a directory");
        let config = self.config(driver, block, folder.path());
        Proxy::start_in(folder, &config)
    }

    /// Has the proxy go over to another block.
    fn reload(&self, proxy: &Proxy, driver: Driver, block: &str) {
        proxy.reload(&self.config(driver, block, proxy.directory()));
    }

    /// The line of the log about an event; it stands on the page.
    #[track_caller]
    fn assert_told(&self, proxy: &Proxy, event: &str) {
        let line = proxy.log().wait_for(0, &format!("event=\"{event}\""));
        let (_time, line) = line.split_once(' ').expect("a level behind the time");
        let line = self.as_on_the_page(line.trim_start());
        assert!(PAGE.contains(&format!("{line}\n")), "{line}");
    }

    /// What the status says of a backend.
    fn status(&self, proxy: &Proxy, place: usize) -> Value {
        proxy.upstream_status("app")["backends"][place].clone()
    }
}

/// GETs and POSTs in turn, each answered with 200: how many came to whom.
fn ask(client: &mut Client, count: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for number in 0..count {
        let method = if number % 2 == 0 { "GET" } else { "POST" };
        let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
        let answer = client.ask(format!("{method} /orders/7 HTTP/1.1\r\nHost: example.com\r\n{length}\r\n"));
        assert_eq!(answer.status, 200, "{method}: {}", answer.text());
        *shares.entry(answer.text()).or_default() += 1;
    }
    shares
}

fn names(shares: &BTreeMap<String, usize>) -> Vec<&str> {
    shares.keys().map(|name| name.rsplit(':').next().expect("a port")).collect()
}

/// The names of a JSON line's fields, in order.
fn fields(line: &str) -> Vec<&str> {
    let before_colons = line.split("\":").map(|text| text.rsplit('"').next().expect("a name"));
    let mut fields: Vec<_> = before_colons.collect();
    fields.pop();
    fields
}

fn a_backend_is_restarted_as_the_page_says(driver: Driver) {
    let mut pool = Pool::of_three();
    let proxy = pool.start(driver, block("toml", RESTART));
    let mut client = proxy.client();
    assert_eq!(names(&ask(&mut client, 12)), ["3001", "3002", "3003"]);
    pool.0[1].runs.finish();
    assert_eq!(names(&ask(&mut client, 12)), ["3001", "3003"]);
    pool.assert_told(&proxy, "backend_ejected");
    assert_eq!(pool.status(&proxy, 1)["state"], "ejected");
    pool.0[1].runs.start();
    pool.assert_told(&proxy, "backend_recovered");
    assert!((0..3).all(|place| pool.status(&proxy, place)["state"] == "alive"));
    assert_eq!(pool.0[1].runs.now().head(0).target(), "/healthz", "a probe comes first, and no client");
    // With a sixteenth of its weight at first.
    wait_until("it takes part again", || names(&ask(&mut client, 4)).contains(&"3002"));
    assert_line_is_as_shown(&pool, &proxy);
}

/// The access log has one request that was sent to the second backend in vain; the page shows its line.
fn assert_line_is_as_shown(pool: &Pool, proxy: &Proxy) {
    let path = proxy.directory().join("access.log");
    let text = || pool.as_on_the_page(&std::fs::read_to_string(&path).unwrap_or_default());
    wait_until("the line is written", || text().contains("failures"));
    let text = text();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("failures")).collect();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let shown = block("json", "## Why did my request go there?").trim();
    assert_eq!(fields(lines[0]), fields(shown));
    let [line, shown] = [lines[0], shown].map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    for field in ["host", "target", "status", "rule", "upstream", "choice", "failures", "tries"] {
        assert_eq!(line[field], shown[field], "{field}");
    }
}

/// Asks over several connections, as long as it lives; nothing may fail.
struct Load {
    over: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn on(proxy: &Proxy) -> Self {
        let (over, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let threads = (0..4).map(|_| {
            let (mut client, over, asked) = (proxy.client(), over.clone(), asked.clone());
            std::thread::spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    asked.fetch_add(ask(&mut client, 4).values().sum(), Ordering::SeqCst);
                    pause(Duration::from_millis(1));
                }
            })
        });
        let threads = threads.collect();
        Load { over, asked, threads }
    }

    /// Waits until it has gone on for a while.
    fn goes_on(&self) {
        let before = self.asked.load(Ordering::SeqCst);
        wait_until("the load goes on", || self.asked.load(Ordering::SeqCst) >= before + 100);
    }

    fn end(mut self) {
        self.over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            assert!(thread.join().is_ok(), "a request has failed");
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

/// The step that both ways have: it has nothing left to do, goes, and is there again.
fn restart_when_idle(pool: &mut Pool, proxy: &Proxy, load: &Load) {
    wait_until("nothing runs there, and nobody waits", || {
        number(&pool.status(proxy, 1), "running") == 0
            && number(&proxy.upstream_status("app"), "waiting") == 0
    });
    let backend = pool.0[1].runs.now();
    let before = backend.requests();
    load.goes_on();
    let came = before..backend.requests();
    assert!(came.map(|index| backend.head(index)).all(|head| head.target() == "/readyz"), "probes alone");
    pool.0[1].runs.kill();
    load.goes_on();
    pool.0[1].fit.store(true, Ordering::SeqCst);
    pool.0[1].runs.start();
}

fn a_backend_that_the_file_takes_out_is_missed_by_no_post(driver: Driver) {
    let mut pool = Pool::of_three();
    let all = block("toml", RESTART);
    let proxy = pool.start(driver, all);
    let load = Load::on(&proxy);
    load.goes_on();
    pool.reload(&proxy, driver, block("toml", BY_THE_FILE));
    restart_when_idle(&mut pool, &proxy, &load);
    pool.reload(&proxy, driver, all);
    pool.0[1].runs.now().wait_for_requests(20);
    load.end();
    assert!(!proxy.log().text().contains("backend_ejected"), "it was not missed");
}

fn a_backend_that_says_so_itself_is_missed_by_no_post(driver: Driver) {
    let mut pool = Pool::of_three();
    let proxy = pool.start(driver, block("toml", BY_ITSELF));
    let load = Load::on(&proxy);
    load.goes_on();
    pool.0[1].fit.store(false, Ordering::SeqCst);
    let line = proxy.log().wait_for(0, "event=\"backend_ejected\"");
    assert!(line.contains("cause=\"probe_failed\"") && line.contains("status 503"), "{line}");
    restart_when_idle(&mut pool, &proxy, &load);
    proxy.log().wait_for(0, "event=\"backend_recovered\"");
    pool.0[1].runs.now().wait_for_requests(20);
    load.end();
}

fn one_that_must_stay_is_told_as_the_page_says(driver: Driver) {
    let mut pool = Pool::of_three();
    let of_three = block("toml", "## A pool of backends").split("\n[[rules]]").next().expect("an upstream");
    let short = format!("{of_three}timeouts = {{ response = \"200ms\" }}\n");
    let proxy = pool.start(driver, &short);
    let mut client = proxy.client();
    pool.0[1].runs.kill();
    pool.0[2].runs.kill();
    ask(&mut client, 6);
    proxy.log().wait_for_nth(0, "event=\"backend_ejected\"", 1);
    for _ in 0..3 {
        client.ask("GET /held HTTP/1.1\r\nHost: example.com\r\n\r\n").assert_error(504, "upstream_timeout");
    }
    pool.assert_told(&proxy, "backend_spared");
    pool.0[0].released.store(true, Ordering::SeqCst);
}

fn a_request_waits_for_the_only_backend(driver: Driver) {
    let mut pool = Pool::of(&["10.0.0.21:3000"]);
    let proxy = pool.start(driver, block("toml", "### When no backend is left"));
    pool.0[0].runs.kill();
    proxy.log().wait_for(0, "event=\"backend_ejected\"");
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 0\r\n\r\n");
    let waiting = || number(&proxy.upstream_status("billing"), "waiting_for_backend");
    wait_until("it waits", || waiting() == 1);
    pool.0[0].runs.start();
    assert_eq!(client.response().status, 200);
    let line = &objects(&proxy, 1)[0];
    assert!(line["queued_us"].as_u64() > Some(0) && line["choice"] == "only", "{line:#}");
}

fn weights_and_backups_hold(driver: Driver) {
    let mut pool = Pool::of(&["10.0.0.11:3000", "10.0.0.12:3000", "10.0.0.99:3000"]);
    let proxy = pool.start(driver, block("toml", "## Weights, backups, slow start"));
    let mut client = proxy.client();
    let shares = ask(&mut client, 50);
    assert_eq!(shares.into_values().collect::<Vec<_>>(), [30, 20]);
    pool.0[0].runs.kill();
    pool.0[1].runs.kill();
    let shares = ask(&mut client, 10);
    assert_eq!(shares, BTreeMap::from([("10.0.0.99:3000".to_owned(), 10)]));
}

/// What shows the status of the page.
const SHOWN: &str = r#"
[admin]
data_dir = "/var/lib/ringway"

[[upstreams]]
name = "app"
backends = [
    { url = "http://127.0.0.1:3001" },
    { url = "http://127.0.0.1:3002" },
    { url = "http://127.0.0.1:3003" },
]
max_active = 200

[[upstreams]]
name = "search"
strategy = "least_latency"
backends = [{ url = "http://search.invalid:3009" }, { url = "http://127.0.0.1:3009", backup = true }]

[[sites]]
name = "shop"
hosts = ["example.com"]
upstream = "app"
max_active = 6
rules = [{ name = "search", path = "/search", upstream = "search" }]

[[sites]]
name = "office"
hosts = ["office.example"]
upstream = "app"
"#;

/// A status without its numbers and the width of its columns.
fn shape(status: &str) -> Vec<String> {
    let word = |word: &str| if word.contains(|c: char| c.is_ascii_digit()) { "#" } else { word }.to_owned();
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    status.trim().lines().map(line).collect()
}

/// All names of fields, but those that are errors' codes and classes of statuses.
fn field_names(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| field_names(value, names)),
        Value::Object(fields) => {
            for (name, value) in fields {
                names.push(name.clone());
                if !["responses", "errors"].contains(&name.as_str()) {
                    field_names(value, names);
                }
            }
        }
        _ => {}
    }
}

fn held(proxy: &Proxy, host: &str) -> Client {
    let mut client = proxy.client();
    client.send(format!("GET /held HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    client
}

/// A proxy in the state that the page shows, with those who are held there.
fn in_the_state_shown(pool: &mut Pool) -> (Proxy, Vec<Client>) {
    let folder = tempfile::tempdir().expect("a directory");
    let config = Config::new(Driver::IoUring).workers(2).section(&pool.real(SHOWN, folder.path()));
    let proxy = Proxy::start_in(folder, &config);
    let mut client = proxy.client();
    wait_until("all are measured", || {
        ask(&mut client, 12);
        (0..3).all(|place| pool.status(&proxy, place)["latency_ms"].is_number())
    });
    let search = "GET /search HTTP/1.1\r\nHost: example.com\r\n\r\n";
    assert_eq!(client.ask(search).text(), "127.0.0.1:3009");
    pool.0[1].runs.finish();
    wait_until("it is ejected", || {
        !ask(&mut client, 1).is_empty() && pool.status(&proxy, 1)["state"] == "ejected"
    });
    wait_until("both workers have served", || {
        ask(&mut proxy.client(), 1);
        let workers = proxy.status()["workers"].clone();
        workers.as_array().expect("a list").iter().all(|worker| number(worker, "requests") > 0)
    });
    let mut clients: Vec<_> = (0..8).map(|_| held(&proxy, "example.com")).collect();
    clients.push(held(&proxy, "office.example"));
    proxy.wait_for_site("shop", 6, 2);
    proxy.wait_for_site("office", 1, 0);
    (proxy, clients)
}

#[test]
fn the_status_is_as_shown() {
    let mut pool = Pool::of(&["127.0.0.1:3001", "127.0.0.1:3002", "127.0.0.1:3003", "127.0.0.1:3009"]);
    let (proxy, mut clients) = in_the_state_shown(&mut pool);
    let mut command = ringway();
    command.args(["status", "--socket"]).arg(proxy.directory().join("admin.sock")).env("COLUMNS", "110");
    let output = command.output().expect("the binary starts");
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(shape(&printed), shape(block("text", "## What runs now")), "{printed}");
    let mut names = Vec::new();
    field_names(&proxy.status(), &mut names);
    names.retain(|name| !PAGE.contains(&format!("`{name}`")));
    assert!(names.is_empty(), "fields that the page does not tell: {names:?}");
    for backend in &pool.0 {
        backend.released.store(true, Ordering::SeqCst);
    }
    clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
}
