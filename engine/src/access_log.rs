//! The access log: each worker collects finished lines in a buffer of its own and hands full ones to one writer thread.
//! When that does not keep up, lines are dropped and counted; a request never waits for its log.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

use ringway_config::{AccessLog, AccessLogDestination, AccessLogFormat, Rule, Site};
use ringway_wire::{RequestHead, Version};

use crate::conn::Client;
use crate::error::Error;
use crate::respond;
use crate::stats::Counters;
use crate::view::Settings;
use crate::worker::Worker;

/// How many bytes of lines a worker collects before it hands them over; once a tick it does so anyway.
const BUFFER_BYTES: usize = 32 * 1024;
/// How many full buffers may wait for the writer.
const QUEUED_BUFFERS: usize = 256;

/// What the writer thread is told.
pub(crate) enum Message {
    Lines(Vec<u8>),
    /// Where lines go from now on.
    Target(AccessLogDestination),
    /// Opens the file again (after it was rotated).
    Reopen,
    /// Writes what is there and says so.
    Flush(SyncSender<()>),
}

/// Starts the writer thread; it ends when all senders are gone.
///
/// # Errors
/// The system's, when the thread cannot be started.
pub(crate) fn start_writer() -> io::Result<SyncSender<Message>> {
    let (sender, receiver) = sync_channel(QUEUED_BUFFERS);
    thread::Builder::new().name("access-log".into()).spawn(move || write_on(&receiver))?;
    Ok(sender)
}

/// Checks that a destination can be written to, before anything is published.
///
/// # Errors
/// The system's, when the file cannot be opened.
pub(crate) fn check(destination: &AccessLogDestination) -> io::Result<()> {
    open(destination).map(drop)
}

fn write_on(messages: &Receiver<Message>) {
    let mut destination = AccessLogDestination::Off;
    let mut sink: Box<dyn Write> = Box::new(io::sink());
    for message in messages {
        match message {
            Message::Lines(lines) => {
                if let Err(error) = sink.write_all(&lines) {
                    tracing::error!(%error, "cannot write to the access log");
                }
            }
            Message::Target(new) if new == destination => {}
            Message::Target(new) => {
                destination = new;
                reopen(&destination, &mut sink);
            }
            Message::Reopen => reopen(&destination, &mut sink),
            Message::Flush(done) => {
                // Whoever asked may have stopped waiting.
                let _ = sink.flush().and_then(|()| done.send(()).map_err(io::Error::other));
            }
        }
    }
}

fn reopen(destination: &AccessLogDestination, sink: &mut Box<dyn Write>) {
    match open(destination) {
        Ok(opened) => *sink = opened,
        Err(error) => tracing::error!(%error, "cannot open the access log; it goes on where it was"),
    }
}

fn open(destination: &AccessLogDestination) -> io::Result<Box<dyn Write>> {
    Ok(match destination {
        AccessLogDestination::Off => Box::new(io::sink()),
        AccessLogDestination::Stdout => Box::new(io::stdout()),
        AccessLogDestination::Stderr => Box::new(io::stderr()),
        AccessLogDestination::File(path) => Box::new(append_to(path)?),
    })
}

fn append_to(path: &PathBuf) -> io::Result<File> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// A worker's lines on their way to the writer.
pub(crate) struct LogBuffer {
    lines: RefCell<Vec<u8>>,
    writer: SyncSender<Message>,
}

impl LogBuffer {
    pub(crate) fn new(writer: SyncSender<Message>) -> Self {
        Self { lines: RefCell::default(), writer }
    }

    /// Hands over what was collected.
    pub(crate) fn flush(&self, counters: &Counters) {
        let lines = std::mem::take(&mut *self.lines.borrow_mut());
        if lines.is_empty() {
            return;
        }
        if let Err(
            TrySendError::Full(Message::Lines(lines)) | TrySendError::Disconnected(Message::Lines(lines)),
        ) = self.writer.try_send(Message::Lines(lines))
        {
            counters.log_lines_dropped.add(lines.iter().filter(|&&byte| byte == b'\n').count() as u64);
        }
    }

    /// Begins a record, if this exchange is to be logged.
    pub(crate) fn begin(&self, log: &AccessLog) -> Option<Box<Record>> {
        let off = log.destination == AccessLogDestination::Off;
        if off || (log.sample < 1.0 && fastrand::f64() >= log.sample) {
            return None;
        }
        Some(Box::default())
    }

    /// Writes the line of a finished exchange.
    pub(crate) fn end(&self, record: &Record, log: &AccessLog, counters: &Counters) {
        let mut lines = self.lines.borrow_mut();
        match log.format {
            AccessLogFormat::Json => record.json(&mut lines),
            AccessLogFormat::Common => record.common(&mut lines),
        }
        let full = lines.len() >= BUFFER_BYTES;
        drop(lines);
        if full {
            self.flush(counters);
        }
    }

    /// The line of a connection whose bytes never became a request.
    pub(crate) fn refused(&self, worker: &Worker, client: &Client, settings: &Settings, error: Error) {
        let Some(mut record) = self.begin(&settings.access_log) else { return };
        record.client = client.peer;
        record.status = respond::answer(error).status;
        record.error = Some(error);
        self.end(&record, &settings.access_log, &worker.counters);
    }
}

/// What a line says. Collected while the exchange runs, because its head is gone at the end.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) client: Option<IpAddr>,
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) host: Vec<u8>,
    pub(crate) protocol: &'static str,
    pub(crate) status: u16,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    pub(crate) took: Duration,
    pub(crate) site: Option<Arc<Site>>,
    pub(crate) rule: Option<Arc<Rule>>,
    pub(crate) upstream: Option<Rc<str>>,
    pub(crate) backend: Option<String>,
    pub(crate) tries: u32,
    pub(crate) error: Option<Error>,
    pub(crate) request_id: Option<String>,
}

impl Record {
    /// Notes what the head says.
    pub(crate) fn begin(
        &mut self,
        head: &RequestHead,
        bytes: &[u8],
        client: Option<IpAddr>,
        id: Option<&str>,
    ) {
        self.client = client;
        self.method = head.method_bytes(bytes).to_vec();
        self.target = head.path(bytes).to_vec();
        if let Some(query) = head.query(bytes) {
            self.target.push(b'?');
            self.target.extend_from_slice(query);
        }
        self.host = head.authority().map(|authority| authority.whole.of(bytes).to_vec()).unwrap_or_default();
        self.protocol = match head.version() {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        };
        self.request_id = id.map(str::to_owned);
    }

    fn json(&self, out: &mut Vec<u8>) {
        let mut line = JsonLine::new(out);
        line.text("time", humantime::format_rfc3339_millis(SystemTime::now()).to_string().as_bytes());
        line.text("client", self.client_name().as_bytes());
        line.text("method", &self.method);
        line.text("host", &self.host);
        line.text("target", &self.target);
        line.text("protocol", self.protocol.as_bytes());
        line.number("status", u64::from(self.status));
        line.number("request_bytes", self.request_bytes);
        line.number("response_bytes", self.response_bytes);
        line.number("duration_us", u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX));
        let optional = [
            ("site", self.site.as_ref().map(|site| site.name.as_str())),
            ("rule", self.rule.as_ref().map(|rule| rule.name.as_str())),
            ("upstream", self.upstream.as_deref()),
            ("backend", self.backend.as_deref()),
            ("code", self.error.map(|error| respond::answer(error).code)),
            ("detail", self.error.and_then(Error::detail)),
            ("fault", self.error.map(|error| error.fault().name())),
            ("request_id", self.request_id.as_deref()),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                line.text(name, value.as_bytes());
            }
        }
        line.number("tries", u64::from(self.tries));
        line.end();
    }

    /// The Common Log Format.
    fn common(&self, out: &mut Vec<u8>) {
        let (client, time) = (self.client_name(), clf_time(SystemTime::now()));
        out.extend_from_slice(format!("{client} - - [{time}] \"").as_bytes());
        for (separator, part) in
            [("", &self.method[..]), (" ", &self.target), (" ", self.protocol.as_bytes())]
        {
            out.extend_from_slice(separator.as_bytes());
            part.iter().for_each(|&byte| escape_common(out, byte));
        }
        out.extend_from_slice(format!("\" {} {}\n", self.status, self.response_bytes).as_bytes());
    }

    fn client_name(&self) -> String {
        self.client.map_or_else(|| "unix".into(), |client| client.to_string())
    }
}

/// `21/Nov/2026:08:49:37 +0000`, from the fixdate `Sat, 21 Nov 2026 08:49:37 GMT`.
fn clf_time(now: SystemTime) -> String {
    let date = httpdate::fmt_http_date(now);
    let mut words = date.split(' ').skip(1);
    let mut next = || words.next().unwrap_or_default();
    let (day, month, year, time) = (next(), next(), next(), next());
    format!("{day}/{month}/{year}:{time} +0000")
}

fn escape_common(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        0x20..=0x7e => out.push(byte),
        _ => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
    }
}

/// One JSON object on a line.
struct JsonLine<'a> {
    out: &'a mut Vec<u8>,
    separator: u8,
}

impl<'a> JsonLine<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, separator: b'{' }
    }

    fn name(&mut self, name: &str) {
        self.out.push(std::mem::replace(&mut self.separator, b','));
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A string; a byte that is not ASCII stands for the code point of its number, so that every line is valid.
    fn text(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        self.out.push(b'"');
        for &byte in value {
            match byte {
                b'"' | b'\\' => self.out.extend_from_slice(&[b'\\', byte]),
                0x20..=0x7e => self.out.push(byte),
                _ => self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            }
        }
        self.out.push(b'"');
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_cannot_break_a_line() {
        let record = Record { target: b"/\"\\\xff".to_vec(), method: b"GET".to_vec(), ..Record::default() };
        let mut out = Vec::new();
        record.json(&mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(r#""target":"/\"\\\u00ff""#), "{text}");
        let mut out = Vec::new();
        record.common(&mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(r#""GET /\"\\\xff ""#), "{text}");
    }

    #[test]
    fn the_reference_lists_every_field() {
        let reference = include_str!("../../docs/reference.md");
        let record = Record {
            upstream: Some("u".into()),
            backend: Some("b".into()),
            error: Some(Error::BadUpgrade),
            request_id: Some("i".into()),
            ..Record::default()
        };
        let mut out = Vec::new();
        record.json(&mut out);
        let line = String::from_utf8(out).unwrap();
        let names = line.split(['{', ',']).filter_map(|part| part.strip_prefix('"')?.split('"').next());
        for name in names.chain(["site", "rule"]) {
            assert!(reference.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn common_times_are_rearranged_dates() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(clf_time(time), "06/Nov/1994:08:49:37 +0000");
    }
}
