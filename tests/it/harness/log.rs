//! What the program under test writes to stderr, line by line, while it runs.

use super::DEADLINE;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

/// Lines read so far; a thread of its own goes on reading until the program closes its stderr.
#[derive(Clone)]
pub struct Log(Arc<Shared>);

struct Shared {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    read: Vec<String>,
    closed: bool,
}

impl Log {
    pub fn of(source: impl Read + Send + 'static) -> Self {
        let log = Log(Arc::new(Shared { lines: Mutex::default(), changed: Condvar::new() }));
        let reader = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n') {
                let Ok(line) = line else { break };
                reader.change(|lines| lines.read.push(String::from_utf8_lossy(&line).into_owned()));
            }
            reader.change(|lines| lines.closed = true);
        });
        log
    }

    fn change(&self, change: impl FnOnce(&mut Lines)) {
        change(&mut self.0.lines.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.changed.notify_all();
    }

    /// How many lines have come: a place to wait from.
    pub fn mark(&self) -> usize {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).read.len()
    }

    /// Everything so far, as one text.
    pub fn text(&self) -> String {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).read.join("\n")
    }

    /// Waits for a line that contains `text`, from line number `mark` on; returns the line.
    pub fn wait_for(&self, mark: usize, text: &str) -> String {
        self.wait_for_nth(mark, text, 0)
    }

    /// Waits for the `nth` (0 is the first) line that contains `text`, from line number `mark` on; returns the line.
    pub fn wait_for_nth(&self, mark: usize, text: &str, nth: usize) -> String {
        let deadline = Instant::now() + DEADLINE;
        let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(line) = lines.read[mark..].iter().filter(|line| line.contains(text)).nth(nth) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let over = lines.closed || left.is_zero();
            assert!(!over, "the log has no line {text:?} after line {mark}:\n{}", lines.read.join("\n"));
            lines = self.0.changed.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the program has closed its stderr; returns everything it wrote.
    pub fn wait_for_end(&self) -> String {
        let lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.changed.wait_timeout_while(lines, DEADLINE, |lines| !lines.closed);
        let (lines, result) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!result.timed_out(), "the program did not close its log:\n{}", lines.read.join("\n"));
        lines.read.join("\n")
    }
}
