//! A response that is a file, or parts of one: its head, and the plan of its body.

use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use ringway_wire::{Framing, Method, Sink, Version, encode, forward};

use super::conditions::{Conditions, Verdict};
use super::form::{Content, Form, content_type};
use super::range::Ranges;
use crate::error::Error;
use crate::net::buf::{BUF_BYTES, Buf, BufPool};
use crate::net::file::{OpenFile, Status};
use crate::outgoing::write_growing;
use crate::respond::{self, Asker};
use crate::terms::Edits;

/// What most heads take at most, in bytes: a body for which so much less than a small buffer is enough goes with its head.
const HEAD_BYTES: usize = 1024;
const CONTENT_TYPE: &str = "Content-Type";
/// The length of the text between the parts of a body, in digits.
const BOUNDARY_DIGITS: usize = 20;

/// What is sent of a file.
pub(crate) struct Delivery {
    form: Rc<Form>,
    shape: Shape,
    /// What is left of the body.
    plan: Plan,
    /// Bytes were read of the open file, and nobody has seen since then whether they are those of one version.
    unconfirmed: bool,
}

/// Which response it is.
enum Shape {
    Whole,
    NotModified,
    Part(Range<u64>),
    /// Several, in a body of this length.
    Parts {
        boundary: String,
        body_bytes: u64,
    },
}

/// A body in the making.
#[derive(Default)]
struct Plan {
    now: Piece,
    /// The byte of the file at which it began, if it is a part of that.
    since: u64,
    /// What follows, the last one first.
    then: Vec<Piece>,
}

/// A piece of a body.
enum Piece {
    /// These bytes of the file.
    Span(Range<u64>),
    /// A text of ours, from this byte on.
    Text(Vec<u8>, usize),
}

impl Default for Piece {
    fn default() -> Self {
        Self::Span(0..0)
    }
}

/// How far a buffer was filled.
#[derive(Debug)]
pub(super) enum Filled {
    /// It is full, and there is more.
    Room,
    /// The body is over.
    End,
    /// What comes next has to be waited for.
    Wait(Missing),
    /// All is there. Before the last of it goes, [`confirm`](Delivery::confirm) is to be told what the file is by now.
    Unconfirmed(Arc<OpenFile>),
}

/// Bytes of a file that are not at hand.
#[derive(Debug)]
pub(super) struct Missing {
    pub(super) file: Arc<OpenFile>,
    pub(super) at: u64,
    pub(super) bytes: u64,
}

impl Delivery {
    /// What a request under these conditions gets. `changes` are made to what the file's fields say.
    ///
    /// # Errors
    /// `PreconditionFailed` or `RangeNotSatisfiable`.
    pub(super) fn new(
        form: Rc<Form>,
        conditions: &Conditions<'_>,
        method: Method,
        changes: &Edits,
    ) -> Result<Self, Error> {
        let length = form.length();
        let is_get = method == Method::Get;
        let shape = match conditions.judge(&form.validators, length, is_get) {
            Verdict::Failed => return Err(Error::PreconditionFailed),
            Verdict::Unsatisfiable => return Err(Error::RangeNotSatisfiable),
            Verdict::NotModified => Shape::NotModified,
            Verdict::Parts(Ranges::One(span)) => Shape::Part(span),
            Verdict::Parts(Ranges::Several(spans)) => return Ok(Self::of_parts(form, spans, changes)),
            Verdict::Whole | Verdict::Parts(_) => Shape::Whole,
        };
        let span = match &shape {
            Shape::Whole if is_get => 0..length,
            Shape::Part(span) => span.clone(),
            _ => 0..0,
        };
        let plan = Plan { since: span.start, now: Piece::Span(span), then: Vec::new() };
        Ok(Self { form, shape, plan, unconfirmed: false })
    }

    /// RFC 9110 section 14.6. Each part has its Content-Type, or what is set in its place.
    fn of_parts(form: Rc<Form>, spans: Vec<Range<u64>>, changes: &Edits) -> Self {
        let boundary: String = (0..BOUNDARY_DIGITS).map(|_| fastrand::digit(16)).collect();
        let media = if changes.changes(CONTENT_TYPE.as_bytes()) {
            let lines = set_lines(changes, None);
            lines_of(&lines).filter(|line| is_content_type(line)).flatten().copied().collect()
        } else {
            format!("{CONTENT_TYPE}: {}\r\n", content_type(form.media, form.is_text)).into_bytes()
        };
        let mut pieces = Vec::with_capacity(2 * spans.len() + 1);
        for span in spans {
            let range = content_range(&span, form.length());
            let begin = format!("\r\n--{boundary}\r\n");
            let end = format!("Content-Range: {range}\r\n\r\n");
            pieces.push(Piece::Text([begin.as_bytes(), &media, end.as_bytes()].concat(), 0));
            pieces.push(Piece::Span(span));
        }
        pieces.push(Piece::Text(format!("\r\n--{boundary}--\r\n").into_bytes(), 0));
        let body_bytes = pieces.iter().map(Piece::left).sum();
        pieces.reverse();
        let plan = Plan { then: pieces, ..Plan::default() };
        Self { form, shape: Shape::Parts { boundary, body_bytes }, plan, unconfirmed: false }
    }

    /// The status.
    pub(crate) fn status(&self) -> u16 {
        match self.shape {
            Shape::Whole => 200,
            Shape::Part(_) | Shape::Parts { .. } => 206,
            Shape::NotModified => 304,
        }
    }

    /// A buffer with the head in it, and room for as much of the body as there is, or as goes at once. `changes` are those of
    /// [`new`](Self::new).
    pub(crate) fn begin(&self, pool: &BufPool, asker: &Asker<'_>, changes: &Edits) -> Buf {
        let left: u64 = self.plan.then.iter().map(Piece::left).sum::<u64>() + self.plan.now.left();
        let is_small = left <= (BUF_BYTES - HEAD_BYTES) as u64;
        let mut out = if is_small { pool.take() } else { pool.take_bulk() };
        write_growing(&mut out, |sink| self.write_head(sink, asker, changes));
        out
    }

    fn write_head(&self, sink: &mut Sink<'_>, asker: &Asker<'_>, changes: &Edits) {
        let status = self.status();
        encode::status_line(sink, status, reason(status));
        for field in self.form.fields.iter().filter(|field| status != 304 || field.is_for_304) {
            // Of several parts each has its own.
            let is_elsewhere = matches!(self.shape, Shape::Parts { .. }) && field.name == CONTENT_TYPE;
            // What else a response varies by is said besides: a cache has to know of both.
            let is_changed = field.name != "Vary" && changes.changes(field.name.as_bytes());
            if !is_elsewhere && !is_changed {
                sink.put(&field.line);
            }
        }
        match &self.shape {
            Shape::Whole => encode::framing(sink, Framing::Length(self.form.length())),
            Shape::NotModified => {}
            Shape::Part(span) => {
                let range = content_range(span, self.form.length());
                encode::field(sink, b"Content-Range", range.as_bytes());
                encode::framing(sink, Framing::Length(span.end - span.start));
            }
            Shape::Parts { boundary, body_bytes } => {
                sink.put(b"Content-Type: multipart/byteranges; boundary=");
                sink.put(boundary.as_bytes());
                sink.put(b"\r\n");
                encode::framing(sink, Framing::Length(*body_bytes));
            }
        }
        match &self.shape {
            Shape::Parts { .. } if changes.changes(CONTENT_TYPE.as_bytes()) => {
                let lines = set_lines(changes, asker.request_id);
                lines_of(&lines).filter(|line| !is_content_type(line)).for_each(|line| sink.put(line));
            }
            _ => changes.write(sink, asker.request_id),
        }
        sink.put(respond::connection(asker.close, asker.version));
        encode::field(sink, b"Date", asker.date);
        if asker.via {
            forward::via(sink, Version::Http11);
        }
        encode::end(sink);
    }

    /// Fills the room behind what `out` holds with the body, as far as that is at hand.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn fill(&mut self, out: &mut Buf) -> io::Result<Filled> {
        loop {
            if self.plan.now.left() == 0 {
                match self.plan.then.pop() {
                    Some(next) => self.plan.begin(next),
                    None => return self.end(),
                }
            }
            if out.spare() == 0 {
                return Ok(Filled::Room);
            }
            if let Some(missing) = self.add(out)? {
                return Ok(Filled::Wait(missing));
            }
        }
    }

    fn end(&self) -> io::Result<Filled> {
        match &self.form.content {
            Content::File(source) if self.unconfirmed => Ok(Filled::Unconfirmed(source.file()?.clone())),
            _ => Ok(Filled::End),
        }
    }

    /// The file is like `now` after all of its bytes were read.
    ///
    /// # Errors
    /// That it has changed: what was read may be of two versions.
    pub(super) fn confirm(&mut self, now: &Status) -> io::Result<()> {
        self.unconfirmed = false;
        if self.form.status.has_bytes_of(now) { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    /// Adds some of the present piece to `out`, which has room.
    fn add(&mut self, out: &mut Buf) -> io::Result<Option<Missing>> {
        match (&mut self.plan.now, &self.form.content) {
            (Piece::Text(text, from), _) => {
                *from += copy(text.get(*from..).unwrap_or_default(), out);
            }
            (Piece::Span(span), Content::Whole(bytes)) => {
                // It is no longer than memory.
                let (from, to) = (span.start as usize, span.end as usize);
                span.start += copy(bytes.get(from..to).ok_or_else(shorter)?, out) as u64;
            }
            (Piece::Span(span), Content::File(source)) => {
                let (file, bytes) = (source.file()?, span.end - span.start);
                self.unconfirmed = true;
                match file.read_at_once(out, span.start, bytes)? {
                    Some(n) => span.start += n.get() as u64,
                    None => return Ok(Some(Missing { file: file.clone(), at: span.start, bytes })),
                }
            }
        }
        Ok(None)
    }

    /// The last `bytes` that were added are not sent, and come again. `false` when that cannot be: they are not all of the piece that
    /// was added to last.
    pub(super) fn take_back(&mut self, bytes: u64) -> bool {
        match &mut self.plan.now {
            Piece::Span(span) if span.start - self.plan.since >= bytes => {
                span.start -= bytes;
                true
            }
            _ => false,
        }
    }

    /// The bytes that were missing came.
    ///
    /// # Errors
    /// That there are none: the file has become shorter.
    pub(super) fn came(&mut self, bytes: &[u8], out: &mut Buf) -> io::Result<()> {
        let Piece::Span(span) = &mut self.plan.now else { return Err(shorter()) };
        if bytes.is_empty() {
            return Err(shorter());
        }
        out.append(bytes);
        span.start += bytes.len() as u64;
        Ok(())
    }
}

impl Plan {
    fn begin(&mut self, piece: Piece) {
        if let Piece::Span(span) = &piece {
            self.since = span.start;
        }
        self.now = piece;
    }
}

impl Piece {
    /// In bytes.
    fn left(&self) -> u64 {
        match self {
            Self::Span(span) => span.end - span.start,
            Self::Text(text, from) => (text.len() - from) as u64,
        }
    }
}

/// The fields that `changes` sets, as lines.
fn set_lines(changes: &Edits, request_id: Option<&str>) -> Vec<u8> {
    let mut lines = Vec::new();
    changes.append(&mut lines, request_id);
    lines
}

fn lines_of(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines.split_inclusive(|&byte| byte == b'\n')
}

fn is_content_type(line: &[u8]) -> bool {
    let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
    name.eq_ignore_ascii_case(CONTENT_TYPE.as_bytes())
}

/// Copies as much as there is room for; says how much that was.
fn copy(bytes: &[u8], out: &mut Buf) -> usize {
    let n = bytes.len().min(out.spare());
    if let (Some(room), Some(bytes)) = (out.spare_mut().get_mut(..n), bytes.get(..n)) {
        room.copy_from_slice(bytes);
    }
    out.fill(n);
    n
}

fn shorter() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

/// Content-Range's value.
fn content_range(span: &Range<u64>, length: u64) -> String {
    format!("bytes {}-{}/{length}", span.start, span.end.saturating_sub(1))
}

fn reason(status: u16) -> &'static [u8] {
    match status {
        206 => b"Partial Content",
        304 => b"Not Modified",
        _ => b"OK",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::form::WHOLE_BYTES_MAX;
    use crate::files::look::{Look, Seen};
    use ringway_wire::{Limits, Progress, RequestHead};
    use std::fs::{self, File};

    const TAG: &str = "\"2ebc8d00.5-7-1a\"";
    /// When the file was changed, in seconds since 1970.
    const MODIFIED_S: u32 = 784_108_800;

    fn asker(method: Method) -> Asker<'static> {
        let date = b"Sun, 06 Nov 1994 08:49:37 GMT";
        Asker { method, version: Version::Http11, close: false, request_id: None, date, via: false }
    }

    fn form(content: &[u8]) -> (Rc<Form>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, content).unwrap();
        let look = Look { folder: folder.path().into(), name: b"a.txt".to_vec(), ..Look::default() };
        match look.run() {
            Ok(Seen::File(form)) => (Rc::new(as_if_old(form)), folder),
            other => panic!("{other:?}"),
        }
    }

    /// The file as it would be, had it been there for long.
    fn as_if_old(form: Form) -> Form {
        let then = i64::from(MODIFIED_S);
        let status = Status { inode: 7, modified: (then, 0), changed: (then, 5), ..form.status };
        Form::of(b"a.txt", (form.coding, form.siblings), form.content, status)
    }

    /// The whole response, written with buffers of any size.
    fn response(content: &[u8], request: &str) -> Result<Vec<u8>, Error> {
        let (form, _folder) = form(content);
        let mut bytes = request.as_bytes().to_vec();
        let mut head = RequestHead::new();
        assert!(matches!(head.read(&mut bytes, &Limits::default()), Ok(Progress::Done(_))), "{request}");
        let conditions = Conditions::new(&head.fields, &bytes);
        let status = form.status;
        let mut delivery = Delivery::new(form, &conditions, head.method(), &Edits::default())?;
        let mut out = delivery.begin(&BufPool::default(), &asker(head.method()), &Edits::default());
        let mut response = Vec::new();
        loop {
            let filled = delivery.fill(&mut out).unwrap();
            response.extend_from_slice(out.filled());
            out.clear();
            match filled {
                Filled::End => return Ok(response),
                Filled::Room => {}
                Filled::Unconfirmed(_) => delivery.confirm(&status).unwrap(),
                Filled::Wait(Missing { file, at, bytes }) => {
                    let mut read = vec![0; out.spare().min(bytes as usize)];
                    let n = file.read_at(&mut read, at).unwrap();
                    delivery.came(&read[..n], &mut out).unwrap();
                }
            }
        }
    }

    fn text(request: &str) -> String {
        String::from_utf8(response(b"abcdefghijklmnopqrstuvwxyz", request).unwrap()).unwrap()
    }

    const DESCRIBED: &str = "Last-Modified: Sun, 06 Nov 1994 08:00:00 GMT\r\nAccept-Ranges: bytes\r\n";
    const ENDING: &str = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";

    #[test]
    fn a_file_byte_for_byte() {
        let got = text("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nETag: {TAG}\r\n{DESCRIBED}\
             Content-Length: 26\r\n{ENDING}"
        );
        assert_eq!(got, head.clone() + "abcdefghijklmnopqrstuvwxyz");
        assert_eq!(text("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"), head);
    }

    #[test]
    fn a_part_byte_for_byte() {
        let got = text("GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=2-4\r\n\r\n");
        assert_eq!(
            got,
            format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Type: text/plain; charset=utf-8\r\nETag: {TAG}\r\n\
                 {DESCRIBED}Content-Range: bytes 2-4/26\r\nContent-Length: 3\r\n{ENDING}cde"
            )
        );
    }

    #[test]
    fn what_the_client_has_is_not_sent() {
        let got = text(&format!("GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: {TAG}\r\n\r\n"));
        assert_eq!(got, format!("HTTP/1.1 304 Not Modified\r\nETag: {TAG}\r\n{ENDING}"));
    }

    #[test]
    fn several_parts_stand_between_boundaries() {
        let got = text("GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1,-3\r\n\r\n");
        let (head, body) = got.split_once("\r\n\r\n").unwrap();
        let boundary =
            head.split_once("multipart/byteranges; boundary=").unwrap().1.split_once("\r\n").unwrap().0;
        let part = |range: &str, bytes: &str| {
            format!(
                "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\
                 Content-Range: bytes {range}/26\r\n\r\n{bytes}"
            )
        };
        assert_eq!(body, part("0-1", "ab") + &part("23-25", "xyz") + &format!("\r\n--{boundary}--\r\n"));
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
        assert_eq!(head.matches("Content-Type").count(), 1);
    }

    #[test]
    fn errors_are_the_callers() {
        let of =
            |fields: &str| response(b"abc", &format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n")).err();
        assert_eq!(of("Range: bytes=3-"), Some(Error::RangeNotSatisfiable));
        assert_eq!(of("If-Match: \"x\""), Some(Error::PreconditionFailed));
    }

    #[test]
    fn long_files_come_in_pieces() {
        let content: Vec<u8> = (0..3 * WHOLE_BYTES_MAX as u32 + 77).map(|n| (n % 251) as u8).collect();
        let whole = response(&content, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert!(whole.ends_with(&content));
        let (from, to) = (99_999, 300_001);
        let part = response(
            &content,
            &format!("GET / HTTP/1.1\r\nHost: a\r\nRange: bytes={from}-{}\r\n\r\n", to - 1),
        );
        assert!(part.unwrap().ends_with(&[b"\r\n\r\n", &content[from..to]].concat()));
    }

    #[test]
    fn what_is_taken_back_comes_again() {
        let content: Vec<u8> = (0..2 * WHOLE_BYTES_MAX as u32).map(|n| (n % 251) as u8).collect();
        let (form, _folder) = form(&content);
        let part = 1000..WHOLE_BYTES_MAX;
        let plan = Plan { since: part.start, now: Piece::Span(part.clone()), then: Vec::new() };
        let mut delivery = Delivery { form, shape: Shape::Part(part), plan, unconfirmed: false };
        let mut out = BufPool::default().take();
        let _ = delivery.fill(&mut out).unwrap();
        let filled = out.len() as u64;
        assert!(!delivery.take_back(filled + 1));
        assert!(delivery.take_back(filled));
        out.clear();
        let _ = delivery.fill(&mut out).unwrap();
        assert!(content[1000..].starts_with(out.filled()));
    }

    #[test]
    fn what_changed_meanwhile_is_not_confirmed() {
        let (form, _folder) = form(b"abc");
        let status = form.status;
        let (shape, plan) = (Shape::Whole, Plan::default());
        let mut delivery = Delivery { form, shape, plan, unconfirmed: true };
        assert!(delivery.confirm(&status).is_ok());
        assert!(delivery.confirm(&Status { modified: (1, 2), ..status }).is_err());
    }

    #[test]
    fn a_file_that_becomes_shorter_ends_in_an_error() {
        let (form, folder) = form(&vec![1; 2 * WHOLE_BYTES_MAX as usize]);
        let (mut bytes, mut head) = (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), RequestHead::new());
        assert!(matches!(head.read(&mut bytes, &Limits::default()), Ok(Progress::Done(_))));
        let conditions = Conditions::new(&head.fields, &bytes);
        let mut delivery = Delivery::new(form, &conditions, Method::Get, &Edits::default()).unwrap();
        let path = folder.path().join("a.txt");
        File::options().write(true).open(path).unwrap().set_len(10).unwrap();
        let mut out = BufPool::default().take_bulk();
        let mut rounds = 0;
        loop {
            rounds += 1;
            match delivery.fill(&mut out) {
                Ok(Filled::Wait(Missing { file, at, bytes })) => {
                    let mut read = vec![0; bytes as usize];
                    let n = file.read_at(&mut read, at).unwrap();
                    if delivery.came(&read[..n], &mut out).is_err() {
                        break;
                    }
                }
                other => panic!("it is not whole: {other:?}"),
            }
            assert!(rounds < 5);
        }
    }
}
