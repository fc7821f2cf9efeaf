//! The access log: each worker collects finished lines in a buffer of its own and hands full ones to one writer thread.
//! When that does not keep up, lines are dropped and counted; a request never waits for its log.
//!
//! `record` is what a line says and how it is written, `clock` the time in it.

mod clock;
mod record;

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Instant;

use ringway_config::{AccessLog, AccessLogDestination, AccessLogFormat};

use crate::conn::Client;
use crate::error::Error;
use crate::net::spares::Spares;
use crate::respond::Written;
use crate::stats::Counters;
use crate::view::Settings;
use crate::worker::Worker;

use clock::Clock;
pub(crate) use record::{LogName, Record};

/// How many bytes of lines a worker collects before it hands them over; once a tick it does so anyway.
const BUFFER_BYTES: usize = 32 * 1024;
/// How many full buffers may wait for the writer.
const QUEUED_BUFFERS: usize = 256;
/// Room for the line that fills the buffer, in bytes; a longer one makes it grow.
const LINE_BYTES: usize = 4 * 1024;
/// How many records a worker keeps for exchanges to come.
const POOLED_RECORDS: usize = 256;

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
    clock: RefCell<Clock>,
    records: Spares<Box<Record>>,
    writer: SyncSender<Message>,
}

impl LogBuffer {
    pub(crate) fn new(writer: SyncSender<Message>) -> Self {
        Self {
            lines: RefCell::default(),
            clock: RefCell::new(Clock::new()),
            records: Spares::new(POOLED_RECORDS),
            writer,
        }
    }

    /// Once a tick: hands over what was collected, and looks at the time of day again, which someone may have set.
    pub(crate) fn tick(&self, counters: &Counters) {
        self.clock.borrow_mut().set();
        self.flush(counters);
    }

    /// Drops the free records that were not needed since the last time.
    pub(crate) fn age(&self) {
        self.records.age();
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
        Some(self.records.take().unwrap_or_default())
    }

    /// Writes the line of an exchange that finished at `now`.
    pub(crate) fn end(&self, mut record: Box<Record>, log: &AccessLog, now: Instant, counters: &Counters) {
        let mut clock = self.clock.borrow_mut();
        let time = clock.at(now);
        let mut lines = self.lines.borrow_mut();
        if lines.capacity() == 0 {
            lines.reserve_exact(BUFFER_BYTES + LINE_BYTES);
        }
        match log.format {
            AccessLogFormat::Json => record.json(time, &mut lines),
            AccessLogFormat::Common => record.common(time, &mut lines),
        }
        let full = lines.len() >= BUFFER_BYTES;
        drop(lines);
        if full {
            self.flush(counters);
        }
        record.clear();
        self.records.put(record);
    }

    /// The line of a connection whose bytes never became a request.
    pub(crate) fn refused(
        &self,
        worker: &Worker,
        client: &Client,
        settings: &Settings,
        error: Error,
        written: Written,
    ) {
        let Some(mut record) = self.begin(&settings.access_log) else { return };
        record.client = client.peer;
        record.status = written.status;
        record.response_bytes = written.body_bytes as u64;
        record.error = Some(error);
        self.end(record, &settings.access_log, Instant::now(), &worker.counters);
    }
}
