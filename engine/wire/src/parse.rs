//! Reading heads: httparse finds names and values in one pass, and the stricter rules of Ringway stand around it: the ends
//! of lines, the target, and what each field means, once and for all.
//!
//! httparse takes a head only as a whole, and says neither which rule was broken nor where. Heads that come in pieces, and
//! heads that are refused, are therefore read line by line (`lines`, `field_line`). So an error is always the first one in
//! the order of the bytes, however the head was split, and it is told at the end of its line and not at that of the head.

use crate::chars::{self, TCHAR, VALUE};
use crate::connection;
use crate::error::{HeadError, HeadErrorKind as Kind};
use crate::field_line::{self, Reading};
use crate::framing;
use crate::head::{Expect, Facts, Field, Method, Progress, RequestHead, ResponseHead, Version};
use crate::limits::{Limits, MAX_FIELDS};
use crate::lines::{Bounds, LineScan};
use crate::name::{FieldName, FieldSet};
use crate::span::Span;
use crate::target;
use crate::websocket;
use httparse::{Header, ParserConfig, Status};
use std::mem::MaybeUninit;
use std::ops::Range;

/// Bytes of empty lines that are skipped before a request line: two CRLFs.
const EMPTY_LINES_BYTES: usize = 4;

impl RequestHead {
    /// Reads a head from the front of `buf`. After [`Progress::Partial`] it is called again with the same bytes and more
    /// behind them, and goes on where it stopped. `Done(n)`: the head took `n` bytes, the empty lines before it (at most
    /// two, RFC 9112 section 2.2) included, and its path has been normalised in `buf`, in place.
    ///
    /// # Errors
    /// The first rule that is broken, as early as that is known. The head must then be cleared before it is used again.
    pub fn read(&mut self, buf: &mut [u8], limits: &Limits) -> Result<Progress<usize>, HeadError> {
        if self.lines.in_start_line() && !self.begin(buf)? {
            return Ok(Progress::Partial);
        }
        let bounds = Bounds::of_request(limits);
        let mut done = None;
        if self.lines.is_fresh() {
            done = self.read_whole(buf, bounds)?;
        }
        if done.is_none() {
            done = self.read_lines(buf, bounds)?;
        }
        let Some(end) = done else { return Ok(Progress::Partial) };
        self.normalise(buf)?;
        Ok(Progress::Done(end))
    }

    /// Skips empty lines and checks the first byte behind them; false when more bytes are needed for that.
    fn begin(&mut self, buf: &[u8]) -> Result<bool, HeadError> {
        loop {
            let start = self.lines.start();
            match buf.get(start..).unwrap_or_default() {
                [b'\r', b'\n', ..] if start < EMPTY_LINES_BYTES => self.lines.skip(2),
                [b'\r', b'\n', ..] => return Err(Kind::TooManyEmptyLines.at(start)),
                [b'\r'] | [] => return Ok(false),
                [b'\r', ..] => return Err(Kind::BareCr.at(start)),
                [b'\n', ..] => return Err(Kind::BareLf.at(start)),
                [first, ..] if chars::is(*first, TCHAR) => return Ok(true),
                _ => return Err(Kind::BadMethod.at(start)),
            }
        }
    }

    /// Reads the head line by line, as far as it has come.
    #[cold]
    fn read_lines(&mut self, buf: &[u8], bounds: Bounds) -> Result<Option<usize>, HeadError> {
        let found = self.lines.advance(buf, bounds);
        check_lines(&mut self.lines, buf, false, |line| check_request_line(line).map(|_| ()))?;
        let Some(end) = found? else { return Ok(None) };
        let head = buf.get(..end).unwrap_or_default();
        let done = self.read_whole(head, bounds)?;
        debug_assert_eq!(done, Some(end), "what passed line by line passes as a whole");
        done.map(Some).ok_or(Kind::BadRequestLine.at(self.lines.start()))
    }

    /// Reads the head at once. `None` when it is not complete, breaks a rule of the lines, or is over a bound.
    fn read_whole(&mut self, buf: &[u8], bounds: Bounds) -> Result<Option<usize>, HeadError> {
        let start = self.lines.start();
        let mut headers = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(buf.get(start..).unwrap_or_default(), &mut headers);
        let (Ok(Status::Complete(len)), Some(method), Some(path)) = (parsed, request.method, request.path)
        else {
            return Ok(None);
        };
        if !within(bounds, buf, start..start + len, request.headers) {
            return Ok(None);
        }
        self.version = if request.version == Some(0) { Version::Http10 } else { Version::Http11 };
        self.method = Method::of(method.as_bytes());
        self.method_span = Span::within(buf, method.as_bytes());
        self.take_target(buf, path.as_bytes())?;
        self.facts = collect(&mut self.fields, request.headers, buf, start + len)?;
        self.settle(buf)?;
        Ok(Some(start + len))
    }

    fn take_target(&mut self, buf: &[u8], bytes: &[u8]) -> Result<(), HeadError> {
        let at = Span::within(buf, bytes).start as usize;
        if self.method == Method::Connect {
            return Err(Kind::ConnectMethod.at(self.method_span.start as usize));
        }
        let read = target::parse(bytes, self.method == Method::Options)
            .map_err(|(kind, offset)| kind.at(at + offset))?;
        self.form = read.form;
        self.path = read.path.shifted(at);
        self.query = read.query.map(|query| query.shifted(at));
        self.authority = read.authority.map(|authority| authority.shifted(at));
        self.target_has_authority = read.authority.is_some();
        self.dots = read.dots;
        Ok(())
    }

    /// Decides what the fields mean together.
    fn settle(&mut self, buf: &[u8]) -> Result<(), HeadError> {
        self.settle_host(buf)?;
        let evidence = &self.facts.framing;
        self.framing =
            framing::of_request(self.version, evidence).map_err(|kind| kind.at(evidence.offset()))?;
        if self.facts.seen.intersects(const { FieldSet::EMPTY.with(FieldName::Expect).with(FieldName::Te) }) {
            self.expect = self.expectation(buf);
            self.te_trailers = self.takes_trailers(buf);
        }
        self.upgrade = websocket::upgrade_of(self, buf);
        Ok(())
    }

    /// RFC 9112 section 3.2: exactly one valid Host in HTTP/1.1, in absolute-form too, whose authority then wins.
    fn settle_host(&mut self, buf: &[u8]) -> Result<(), HeadError> {
        let Some(host) = self.field(FieldName::Host) else {
            return match self.version {
                Version::Http11 => Err(Kind::MissingHost.at(self.lines.start())),
                Version::Http10 => Ok(()),
            };
        };
        let value = host.value;
        if self.facts.hosts > 1 {
            return Err(Kind::RepeatedHost.at(value.start as usize));
        }
        let bad = || {
            let userinfo = value.of(buf).contains(&b'@');
            if userinfo { Kind::Userinfo } else { Kind::BadHost }.at(value.start as usize)
        };
        let authority = target::parse_authority(value.of(buf)).ok_or_else(bad)?;
        self.authority.get_or_insert(authority.shifted(value.start as usize));
        Ok(())
    }

    /// RFC 9110 section 10.1.1: ignored from HTTP/1.0 clients.
    fn expectation(&self, buf: &[u8]) -> Expect {
        if self.version == Version::Http10 {
            return Expect::None;
        }
        members_of(&self.fields, FieldName::Expect, buf).fold(Expect::None, |so_far, member| {
            let known = member.eq_ignore_ascii_case(b"100-continue");
            if known && so_far != Expect::Unknown { Expect::Continue } else { Expect::Unknown }
        })
    }

    /// RFC 9110 section 10.1.4.
    fn takes_trailers(&self, buf: &[u8]) -> bool {
        self.version == Version::Http11
            && members_of(&self.fields, FieldName::Te, buf)
                .any(|member| member.eq_ignore_ascii_case(b"trailers"))
    }

    fn normalise(&mut self, buf: &mut [u8]) -> Result<(), HeadError> {
        let Some(path) = buf.get_mut(self.path.range()).filter(|_| self.dots) else { return Ok(()) };
        let start = self.path.start as usize;
        let len = target::normalise_path(path).map_err(|kind| kind.at(start))?;
        self.path = Span::new(start, start + len);
        Ok(())
    }
}

impl ResponseHead {
    /// Reads a head from the front of `buf`. After [`Progress::Partial`] it is called again with the same bytes and more
    /// behind them, and goes on where it stopped. `Done(n)`: the head took `n` bytes.
    ///
    /// # Errors
    /// The first rule that is broken, as early as that is known. The head must then be cleared before it is used again.
    pub fn read(&mut self, buf: &[u8], limits: &Limits) -> Result<Progress<usize>, HeadError> {
        if self.lines.in_start_line() {
            check_status_line_start(buf)?;
        }
        let bounds = Bounds::of_response(limits);
        let mut done = None;
        if self.lines.is_fresh() {
            done = self.read_whole(buf, bounds)?;
        }
        if done.is_none() {
            done = self.read_lines(buf, bounds)?;
        }
        Ok(done.map_or(Progress::Partial, Progress::Done))
    }

    /// Reads the head line by line, as far as it has come.
    #[cold]
    fn read_lines(&mut self, buf: &[u8], bounds: Bounds) -> Result<Option<usize>, HeadError> {
        let found = self.lines.advance(buf, bounds);
        check_lines(&mut self.lines, buf, true, |line| read_status_line(line).map(|_| ()))?;
        let Some(end) = found? else { return Ok(None) };
        let head = buf.get(..end).unwrap_or_default();
        let done = self.read_whole(head, bounds)?;
        debug_assert_eq!(done, Some(end), "what passed line by line passes as a whole");
        done.map(Some).ok_or(Kind::BadStatusLine.at(0))
    }

    /// Reads the head at once. `None` when it is not complete, breaks a rule of the lines, or is over a bound.
    fn read_whole(&mut self, buf: &[u8], bounds: Bounds) -> Result<Option<usize>, HeadError> {
        let mut headers = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut []);
        let parsed = ParserConfig::default()
            .allow_spaces_after_header_name_in_responses(true)
            .parse_response_with_uninit_headers(&mut response, buf, &mut headers);
        let Ok(Status::Complete(len)) = parsed else { return Ok(None) };
        if !within(bounds, buf, 0..len, response.headers) {
            return Ok(None);
        }
        // By hand: httparse skips empty lines before it and drops a reason with obs-text in it.
        let line_end = start_line_end(buf, len, response.headers).saturating_sub(2);
        let line = read_status_line(buf.get(..line_end).unwrap_or_default());
        let Ok(StatusLine { version, status, reason }) = line else { return Ok(None) };
        (self.version, self.status, self.reason) = (version, status, reason);
        self.facts = collect(&mut self.fields, response.headers, buf, len)?;
        Ok(Some(len))
    }
}

/// Whether the head in `range`, whose lines httparse found, is inside its bounds and every line of it ends in CRLF: httparse
/// takes a single LF for a line end, too.
fn within(bounds: Bounds, buf: &[u8], range: Range<usize>, headers: &[Header<'_>]) -> bool {
    let start_line = start_line_end(buf, range.end, headers) - range.start;
    let ends_line = |at: usize| buf.get(at.wrapping_sub(2)..at) == Some(b"\r\n");
    range.len() <= bounds.head
        && start_line.saturating_sub(2) <= bounds.start_line
        && headers.len() <= bounds.fields
        && headers.iter().all(|header| ends_line(Span::within(buf, header.name.as_bytes()).start as usize))
        && ends_line(range.end)
        && ends_line(range.end - 2)
}

/// The offset behind the start line of the head that ends at `end`.
fn start_line_end(buf: &[u8], end: usize, headers: &[Header<'_>]) -> usize {
    headers.first().map_or(end - 2, |first| Span::within(buf, first.name.as_bytes()).start as usize)
}

/// A rule that a line breaks, and the offset into the line.
type Refused = (Kind, usize);

/// Checks the lines that have not been checked, in order.
fn check_lines(
    lines: &mut LineScan,
    buf: &[u8],
    blank_before_colon: bool,
    check_start_line: impl Fn(&[u8]) -> Result<(), Refused>,
) -> Result<(), HeadError> {
    while let Some(line) = lines.next_unchecked() {
        let bytes = buf.get(line.start..line.end).unwrap_or_default();
        let checked = match line.number {
            0 => check_start_line(bytes),
            number => field_line::check(bytes, Reading { first: number == 1, blank_before_colon }),
        };
        checked.map_err(|(kind, offset)| kind.at(line.start + offset))?;
    }
    Ok(())
}

/// RFC 9112 section 3: `method SP request-target SP HTTP-version`, with single spaces.
fn check_request_line(line: &[u8]) -> Result<(), Refused> {
    let method_len = chars::first_not(line, TCHAR).unwrap_or(line.len());
    match line.get(method_len) {
        Some(b' ') if method_len > 0 => {}
        Some(b'\r') => return Err((Kind::BareCr, method_len)),
        Some(_) => return Err((Kind::BadMethod, method_len)),
        None => return Err((Kind::BadRequestLine, method_len)),
    }
    if let Some(at) = memchr::memchr(b'\r', line) {
        return Err((Kind::BareCr, at));
    }
    let method = Method::of(line.get(..method_len).unwrap_or_default());
    if method == Method::Connect {
        return Err((Kind::ConnectMethod, 0));
    }
    let target_start = method_len + 1;
    let target_end = memchr::memrchr(b' ', line).unwrap_or(line.len());
    let Some(target) = line.get(target_start..target_end) else {
        return Err((Kind::MissingVersion, line.len()));
    };
    let version = line.get(target_end + 1..).unwrap_or_default();
    check_version(version).map_err(|kind| (kind, target_end + 1))?;
    if target.is_empty() {
        return Err((Kind::BadRequestLine, target_start));
    }
    target::parse(target, method == Method::Options)
        .map_err(|(kind, offset)| (kind, target_start + offset))?;
    Ok(())
}

/// RFC 9112 section 2.3. HTTP/2 and others are well-formed and not spoken here; HTTP/1 has two minor versions.
fn check_version(version: &[u8]) -> Result<(), Kind> {
    match version {
        b"HTTP/1.0" | b"HTTP/1.1" => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(if *major == b'1' { Kind::BadVersion } else { Kind::VersionNotSupported })
        }
        _ => Err(Kind::BadVersion),
    }
}

struct StatusLine {
    version: Version,
    status: u16,
    reason: Span,
}

/// RFC 9112 section 4. The space before an empty reason may be missing, as old backends have it.
fn read_status_line(line: &[u8]) -> Result<StatusLine, Refused> {
    let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b' ', a, b, c, rest @ ..] = line
    else {
        return Err((Kind::BadStatusLine, 0));
    };
    let status = [a, b, c].iter().try_fold(0u16, |status, digit| {
        digit.is_ascii_digit().then(|| status * 10 + u16::from(**digit - b'0'))
    });
    let (Some(status @ 100..), [] | [b' ', ..]) = (status, rest) else {
        return Err((Kind::BadStatusLine, 9));
    };
    let reason = Span::new((line.len() - rest.len() + 1).min(line.len()), line.len());
    if let Some(at) = chars::first_not(rest, VALUE) {
        let kind = if rest.get(at) == Some(&b'\r') { Kind::BareCr } else { Kind::ControlByte };
        return Err((kind, line.len() - rest.len() + at));
    }
    let version = if *minor == b'0' { Version::Http10 } else { Version::Http11 };
    Ok(StatusLine { version, status, reason })
}

/// Refuses what is no HTTP/1 at its first wrong byte, before a line end comes.
fn check_status_line_start(buf: &[u8]) -> Result<(), HeadError> {
    match b"HTTP/1.".iter().zip(buf).position(|(expected, byte)| expected != byte) {
        Some(at) => Err(Kind::BadStatusLine.at(at)),
        None => Ok(()),
    }
}

/// Turns what httparse found in the head that ends at `end` into fields, each classified, and gathers what they say together.
fn collect(
    fields: &mut Vec<Field>,
    headers: &[Header<'_>],
    buf: &[u8],
    end: usize,
) -> Result<Facts, HeadError> {
    let mut facts = Facts::default();
    fields.reserve(headers.len());
    for header in headers {
        let name = FieldName::of(header.name.as_bytes());
        let name_span = Span::within(buf, header.name.as_bytes());
        let value = Span::within(buf, header.value);
        facts.seen = facts.seen.with(name);
        match name {
            FieldName::Host => facts.hosts += 1,
            FieldName::ContentLength => facts.framing.add_length(header.value, value.start),
            FieldName::TransferEncoding => facts.framing.add_coding(header.value, value.start),
            FieldName::Connection => {
                facts.options.add(header.value).map_err(|kind| kind.at(value.start as usize))?;
            }
            _ => {}
        }
        // A line ends where the next one begins.
        if let Some(previous) = fields.last_mut() {
            previous.line_end = name_span.start;
        }
        fields.push(Field {
            name_span,
            value,
            line_end: crate::span::offset(end - 2),
            name,
            hop_by_hop: FieldSet::HOP_BY_HOP.contains(name),
            blank_before_colon: buf.get(name_span.end as usize) != Some(&b':'),
        });
    }
    connection::mark_named(fields, &mut facts, buf);
    Ok(facts)
}

/// The list members of all fields with `name`.
fn members_of<'a>(fields: &'a [Field], name: FieldName, buf: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |field| field.name == name).flat_map(|field| chars::list(field.value.of(buf)))
}
