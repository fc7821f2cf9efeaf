//! WebSockets and downloads that are open while the configuration changes again and again, their own rules, sites and
//! backends among it.

use crate::harness::backend::{Backend, Visit};
use crate::harness::client::Client;
use crate::harness::config::{Config, Driver};
use crate::harness::crowd::raise_file_limit;
use crate::harness::proxy::Proxy;
use crate::harness::websocket::{assert_echo, close, connect};
use crate::harness::{on_both_drivers, size, wait_until};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};
use tungstenite::WebSocket;

on_both_drivers![open_connections_survive_many_reloads];

/// Of a download, between two reloads.
const BLOCK: usize = 4096;

/// Memory is compared to within a tenth, as promised, and so much more in KiB. The process has less than 30 MiB here, so
/// a tenth is little more than a few of the allocator's pages of 64 KiB for each thread, which come and go.
const SLACK_KIB: u64 = 1024;

/// How many blocks the downloads may have sent: they go on in step with the test, not with a clock.
#[derive(Default)]
struct Pace {
    blocks: Mutex<usize>,
    changed: Condvar,
}

impl Pace {
    fn allow(&self, blocks: usize) {
        *self.blocks.lock().unwrap() = blocks;
        self.changed.notify_all();
    }

    fn wait_for(&self, blocks: usize) {
        drop(self.changed.wait_while(self.blocks.lock().unwrap(), |allowed| *allowed < blocks));
    }
}

/// Lets the downloads go on when the test fails, so that their threads end.
struct EndsDownloads(Arc<Pace>);

impl Drop for EndsDownloads {
    fn drop(&mut self) {
        self.0.blocks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone_from(&usize::MAX);
        self.0.changed.notify_all();
    }
}

/// Block `number` of each download: no two are the same.
fn block(number: usize) -> Vec<u8> {
    (0..BLOCK).map(|index| (index.wrapping_mul(31) ^ number.wrapping_mul(17) ^ (number >> 3)) as u8).collect()
}

/// A backend of downloads of `blocks` blocks.
fn downloads(blocks: usize, pace: Arc<Pace>) -> Backend {
    Backend::script(move |visit: &mut Visit| {
        while visit.request().is_some() {
            visit.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blocks * BLOCK));
            for number in 0..blocks {
                pace.wait_for(number + 1);
                if !visit.send(block(number)) {
                    return;
                }
            }
        }
    })
}

/// What takes part.
struct Stage {
    driver: Driver,
    chat: Backend,
    downloads: Backend,
    /// Two that only say which they are.
    markers: [Backend; 2],
}

impl Stage {
    /// What stands in every file: a rule that tells by its backend which file is in force.
    fn base(&self, revision: usize) -> Config {
        let marker = &self.markers[revision % 2];
        Config::new(self.driver).workers(2).rule("marker", "/marker", &marker.url())
    }

    /// The rules, sites and upstreams of the open connections, all there.
    fn whole(&self, revision: usize) -> Config {
        let sites = "[[sites]]\nname = \"files\"\nhosts = [\"files.test\"]\n\
             [[sites.rules]]\nname = \"downloads\"\npath = \"/download/*\"\nupstream = \"downloads\"";
        self.base(revision)
            .upstream("chat", &[self.chat.url()])
            .upstream("downloads", &[self.downloads.url()])
            .rule_to("chat", "/chat", "chat")
            .section(sites)
    }

    /// The file of a revision: in turn with all, without the rules and sites of what is open, with these pointing
    /// elsewhere, and with many more.
    fn file(&self, revision: usize) -> Config {
        match revision % 4 {
            0 => self.whole(revision),
            1 => self.base(revision),
            2 => {
                let elsewhere = [self.markers[0].url()];
                let config =
                    self.base(revision).upstream("chat", &elsewhere).rule_to("chat", "/chat", "chat");
                config.timeouts("tunnel_idle = \"30m\"").listeners(&["127.0.0.1:0", "127.0.0.2:0"])
            }
            _ => (0..50).fold(self.whole(revision), |config, number| {
                let site = format!("[[sites]]\nname = \"s{number}\"\nhosts = [\"s{number}.test\"]");
                config
                    .rule(&format!("r{number}"), &format!("/r{number}/*"), &self.markers[0].url())
                    .section(&site)
            }),
        }
    }
}

/// What is open.
struct Open {
    sockets: Vec<WebSocket<TcpStream>>,
    downloads: Vec<Client>,
}

impl Open {
    fn all(proxy: &Proxy, sockets: usize, downloads: usize) -> Self {
        let download = |number: usize| {
            let mut client = proxy.client();
            client.send(format!("GET /download/{number} HTTP/1.1\r\nHost: files.test\r\n\r\n"));
            assert_eq!(client.head().status(), 200);
            client
        };
        let sockets = (0..sockets).map(|_| connect(&proxy.address(), "/chat")).collect();
        Open { sockets, downloads: (0..downloads).map(download).collect() }
    }

    /// Each download gives its next block, and every tenth WebSocket, others each time, gives a message back.
    fn assert_unharmed(&mut self, pace: &Pace, round: usize) {
        pace.allow(round + 1);
        for download in &mut self.downloads {
            assert!(download.exactly(BLOCK) == block(round), "block {round} of a download is another");
        }
        for (number, socket) in self.sockets.iter_mut().enumerate().skip(round % 10).step_by(10) {
            assert_echo(socket, &format!("message {round} of {number}"));
        }
    }

    /// Every one of them has lived; then they end as they should.
    fn end(mut self) {
        for (number, socket) in self.sockets.iter_mut().enumerate() {
            assert_echo(socket, &format!("the last message of {number}"));
            close(socket);
        }
        for download in &mut self.downloads {
            // The download was whole: the next answer is on the same connection.
            assert!([200, 404].contains(&download.get("/marker").status));
        }
    }
}

/// Applies the file of a revision and asserts that it is in force.
fn reload(proxy: &Proxy, stage: &Stage, revision: usize) {
    proxy.reload(&stage.file(revision));
    assert_eq!(proxy.client().get("/marker").text(), ["even", "odd"][revision % 2]);
}

fn open_connections_survive_many_reloads(driver: Driver) {
    raise_file_limit();
    let (sockets, downloads_open) = (size(100, 1_000), size(20, 200));
    let (warm_up, reloads) = (size(5, 20), size(20, 200));
    let pace = Arc::new(Pace::default());
    let stage = Stage {
        driver,
        chat: Backend::echoes_messages(),
        downloads: downloads(reloads, pace.clone()),
        markers: ["even", "odd"].map(Backend::says),
    };
    let _ends = EndsDownloads(pace.clone());
    let proxy = Proxy::start(&stage.base(0));
    assert_eq!(proxy.client().get("/marker").text(), "even");
    let descriptors = proxy.descriptors();
    proxy.reload(&stage.whole(0));
    let mut open = Open::all(&proxy, sockets, downloads_open);
    let mut memory = 0;
    for round in 0..reloads {
        reload(&proxy, &stage, round + 1);
        open.assert_unharmed(&pace, round);
        if round + 1 == warm_up {
            memory = proxy.memory_kib();
        }
    }
    let most = memory + memory / 10 + SLACK_KIB;
    wait_until(&format!("memory of at most {most} KiB after {memory} KiB"), || proxy.memory_kib() <= most);
    open.end();
    // Without the upstreams, whose idle connections go with them; one for each marker and worker may stay.
    proxy.reload(&stage.base(0));
    proxy.wait_for_descriptors(descriptors + 1);
}
