//! Random bodies arrive with equal hashes, in both directions at once: of any size, framed either way, by peers of any pace.

use crate::harness::backend::{Backend, Visit};
use crate::harness::backends::chunked;
use crate::harness::config::{Config, Driver};
use crate::harness::message::{Cut, Framing, Head, Reader};
use crate::harness::proxy::Proxy;
use crate::harness::{on_both_drivers, pause, size};
use fastrand::Rng;
use socket2::Socket;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::io::Write;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

on_both_drivers![random_bodies_arrive_as_they_were_sent];

/// Exchanges run side by side.
const CLIENTS: usize = 6;

const LARGEST: usize = 8 << 20;
/// A body whose bytes are written one by one.
const LARGEST_BYTE_BY_BYTE: usize = 4 << 10;

/// What bodies are cut from: nothing in it repeats, so that a byte at a wrong place changes the hash.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut noise = vec![0; 2 * LARGEST];
    Rng::with_seed(1).fill(&mut noise);
    noise
});

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// How fast a peer writes or reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// As fast as it goes.
    Fast,
    /// In pieces of odd sizes.
    Pieces,
    /// In pieces with pauses, about forty over the whole body.
    Slow,
    /// One byte in each write.
    Bytes,
}

/// One body: what it is, how it is framed, how it is written and how fast it is read at the other end.
#[derive(Clone, Copy, Debug)]
struct Plan {
    length: usize,
    offset: usize,
    /// The size of its chunks; 0 for a body with a length.
    chunk: usize,
    write: Pace,
    read: Pace,
}

impl Plan {
    fn random(rng: &mut Rng) -> Self {
        // Log-uniform: each power of two is as likely as any other.
        let length = match rng.usize(0..=23) {
            0 => 0,
            bits => rng.usize(1 << (bits - 1)..1 << bits).min(LARGEST),
        };
        let write = match rng.u8(0..4) {
            0 if length <= LARGEST_BYTE_BY_BYTE => Pace::Bytes,
            1 => Pace::Slow,
            2 => Pace::Pieces,
            _ => Pace::Fast,
        };
        let chunk_limit = 1 << rng.usize(9..18);
        let chunk = if rng.bool() { 0 } else { rng.usize(1..=chunk_limit) };
        let read = if rng.u8(0..4) == 0 { Pace::Slow } else { Pace::Fast };
        Plan { length, offset: rng.usize(0..LARGEST), chunk, write, read }
    }

    fn body(&self) -> &'static [u8] {
        &NOISE[self.offset..self.offset + self.length]
    }

    /// The framing field and the bytes behind the head.
    fn framed(&self) -> (String, Vec<u8>) {
        match self.chunk {
            0 => (format!("Content-Length: {}\r\n", self.length), self.body().to_vec()),
            chunk => ("Transfer-Encoding: chunked\r\n".to_owned(), chunked(self.body(), chunk, "")),
        }
    }

    /// As a path segment.
    fn text(&self) -> String {
        let pace = |pace| pace as usize;
        let Plan { length, offset, chunk, write, read } = *self;
        format!("{length}-{offset}-{chunk}-{}-{}", pace(write), pace(read))
    }

    fn from_text(text: &str) -> Self {
        let numbers: Vec<_> = text.split('-').map(|part| usize::from_str(part).expect("a number")).collect();
        let [length, offset, chunk, write, read] = numbers[..] else { panic!("no plan: {text}") };
        let pace = |number| [Pace::Fast, Pace::Pieces, Pace::Slow, Pace::Bytes][number];
        Plan { length, offset, chunk, write: pace(write), read: pace(read) }
    }
}

/// Writes at a pace. False when the peer took no more.
fn write(mut socket: &Socket, bytes: &[u8], pace: Pace) -> bool {
    let piece = match pace {
        Pace::Fast => return socket.write_all(bytes).is_ok(),
        Pace::Bytes => 1,
        Pace::Pieces => 1 + bytes.len() % 1789 + bytes.len() / 50,
        Pace::Slow => 1 + bytes.len() / 40,
    };
    bytes.chunks(piece).all(|piece| {
        if pace == Pace::Slow {
            pause(Duration::from_micros(500));
        }
        socket.write_all(piece).is_ok()
    })
}

/// A reader that keeps no record, and pauses while it is told to be slow.
struct PacedReader {
    reader: Reader,
    slow: Arc<AtomicBool>,
}

/// A slow reader pauses so long after so many bytes.
const PAUSE: (Duration, usize) = (Duration::from_millis(2), 32 * 1024);

impl PacedReader {
    fn new(socket: Arc<Socket>) -> Self {
        let slow = Arc::new(AtomicBool::new(false));
        let (is_slow, mut read) = (slow.clone(), 0);
        let pause = move |bytes: &[u8]| {
            read += bytes.len();
            if read >= PAUSE.1 && is_slow.load(Ordering::SeqCst) {
                read = 0;
                pause(PAUSE.0);
            }
        };
        PacedReader { reader: Reader::new(socket, pause), slow }
    }

    /// The body behind `head`, and its hash.
    fn body(&mut self, head: &Head, pace: Pace) -> Result<u64, Cut> {
        self.slow.store(pace == Pace::Slow, Ordering::SeqCst);
        let body = self.reader.body(Framing::of(&head.fields, Framing::None))?;
        Ok(hash(&body.bytes))
    }
}

/// The hashes of request bodies, by exchange, as the backend got them.
type Arrived = Arc<Mutex<HashMap<usize, u64>>>;

/// `/number/plan of the request body/plan of the response body`
fn target(number: usize, up: &Plan, down: &Plan) -> String {
    format!("/{number}/{}/{}", up.text(), down.text())
}

fn from_target(target: &str) -> (usize, Plan, Plan) {
    let parts: Vec<_> = target.split('/').collect();
    let [_, number, up, down] = parts[..] else { panic!("no target of this test: {target}") };
    (number.parse().expect("a number"), Plan::from_text(up), Plan::from_text(down))
}

/// Reads a request while it answers. The answer's last byte waits for the end of the request, so that both bodies are
/// whole when the exchange is over.
fn serve(visit: &mut Visit, arrived: &Arrived) {
    let (socket, _) = visit.socket();
    let mut requests = PacedReader::new(socket.clone());
    while let Ok(head) = requests.reader.head() {
        let (number, up, down) = from_target(head.target());
        let (framing, bytes) = down.framed();
        let answer = [format!("HTTP/1.1 200 OK\r\n{framing}\r\n").into_bytes(), bytes].concat();
        let (last, first) = answer.split_last().expect("a response is not empty");
        let (request, written) = std::thread::scope(|scope| {
            let writing = scope.spawn(|| write(&socket, first, down.write));
            (requests.body(&head, up.read), writing.join().expect("the answering thread"))
        });
        let Ok(request) = request else { return };
        arrived.lock().unwrap().insert(number, request);
        if !(written && write(&socket, &[*last], Pace::Fast)) {
            return;
        }
    }
}

/// Sends a request body and reads a response body, both at once; asserts that both arrived.
fn exchange(
    socket: &Arc<Socket>,
    responses: &mut PacedReader,
    number: usize,
    rng: &mut Rng,
    arrived: &Arrived,
) {
    let (up, down) = (Plan::random(rng), Plan::random(rng));
    let (framing, bytes) = up.framed();
    let head = format!("POST {} HTTP/1.1\r\nHost: a\r\n{framing}\r\n", target(number, &up, &down));
    let response = std::thread::scope(|scope| {
        scope.spawn(|| write(socket, head.as_bytes(), Pace::Fast) && write(socket, &bytes, up.write));
        let head = responses.reader.head()?;
        assert_eq!(head.status(), 200, "exchange {number}: {up:?}, {down:?}");
        responses.body(&head, down.read)
    });
    let response =
        response.unwrap_or_else(|cut| panic!("exchange {number} broke, {:?}: {up:?}, {down:?}", cut.ending));
    assert_eq!(response, hash(down.body()), "the response of exchange {number}: {up:?}, {down:?}");
    let request = arrived.lock().unwrap().remove(&number);
    assert_eq!(request, Some(hash(up.body())), "the request of exchange {number}: {up:?}, {down:?}");
}

/// A client that opens a new connection now and then.
fn client(proxy: &Proxy, numbers: impl Iterator<Item = usize>, mut rng: Rng, arrived: &Arrived) {
    let mut connection = None;
    for number in numbers {
        if rng.u8(0..5) == 0 {
            connection = None;
        }
        let (socket, responses) = connection.get_or_insert_with(|| {
            let socket = proxy.client().writer();
            (socket.clone(), PacedReader::new(socket))
        });
        exchange(socket, responses, number, &mut rng, arrived);
    }
}

fn random_bodies_arrive_as_they_were_sent(driver: Driver) {
    // Of both drivers together: 500, and 10,000.
    let exchanges = size(250, 5_000);
    let arrived = Arrived::default();
    let backend = Backend::script({
        let arrived = arrived.clone();
        move |visit| serve(visit, &arrived)
    });
    let proxy = Proxy::start(&Config::to(driver, &backend).workers(2));
    std::thread::scope(|scope| {
        for first in 0..CLIENTS {
            let (proxy, arrived) = (&proxy, &arrived);
            // The same seeds each time: a failure tells its exchange, and comes again.
            let rng = Rng::with_seed(first as u64);
            scope.spawn(move || client(proxy, (first..exchanges).step_by(CLIENTS), rng, arrived));
        }
    });
    assert!(arrived.lock().unwrap().is_empty(), "a request arrived twice");
}
