//! Reading heads: `lines` finds the lines of a head, `fields` reads what stands in them, and around that stand the target and
//! what each field means, once and for all.
//!
//! A head that comes whole, as most do, is taken whole; that says neither which rule was broken nor where. Heads that come in
//! pieces, and heads that are refused, are therefore read line by line (`field_line`). So an error is always the first one in
//! the order of the bytes, however the head was split, and it is told at the end of its line and not at that of the head.

use crate::authority;
use crate::chars::{self, TCHAR, VALUE};
use crate::error::{HeadError, HeadErrorKind as Kind};
use crate::field_line::{self, Reading};
use crate::fields;
use crate::framing;
use crate::head::{Expect, Field, Method, Progress, RequestHead, ResponseHead, Version};
use crate::limits::Limits;
use crate::lines::{Bounds, LineScan};
use crate::name::{FieldName, FieldSet};
use crate::span::Span;
use crate::target;
use crate::websocket;

/// Bytes of empty lines that are skipped before a request line: two CRLFs.
const EMPTY_LINES_BYTES: usize = 4;

impl RequestHead {
    /// Reads a head from the front of `buf`. After [`Progress::Partial`] it is called again with the same bytes and more
    /// behind them, and goes on where it stopped. `Done(n)`: the head took `n` bytes, the empty lines before it (at most
    /// two, RFC 9112 section 2.2) included, and its path has been normalised in `buf`, in place.
    ///
    /// # Errors
    /// The first rule that is broken, as early as that is known. The head must then be cleared before it is used again.
    #[inline]
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
        let target = self.take_lines(buf);
        debug_assert!(target.is_some(), "what passed line by line passes as a whole");
        let target = target.ok_or(Kind::BadRequestLine.at(self.lines.start()))?;
        self.settle(buf, target)?;
        Ok(Some(end))
    }

    /// Reads the head at once. `None` when it is not complete, breaks a rule of the lines, or is over a bound.
    fn read_whole(&mut self, buf: &[u8], bounds: Bounds) -> Result<Option<usize>, HeadError> {
        let Some(end) = self.lines.whole(buf, bounds) else { return Ok(None) };
        let fits = self.lines.start_line_bytes() <= bounds.start_line;
        let Some(target) = self.take_lines(buf).filter(|_| fits) else {
            self.lines.forget_ends();
            self.fields.clear();
            return Ok(None);
        };
        self.settle(buf, target)?;
        Ok(Some(end))
    }

    /// Takes what stands in the lines, which have been found, and returns the target.
    #[inline]
    fn take_lines(&mut self, buf: &[u8]) -> Option<Span> {
        let start = self.lines.start();
        let (line_end, ends) = self.lines.ends()?;
        let line = buf.get(start..line_end.checked_sub(2)?)?;
        let (before, version) = line.split_last_chunk()?;
        self.version = version_of(version)?;
        let (method, len) = method_of(line)?;
        let target =
            Span { start: (start + len + 1) as u32, end: (start + before.len()).checked_sub(1)? as u32 };
        if before.last() != Some(&b' ') || target.is_empty() {
            return None;
        }
        self.method = method;
        self.method_span = Span { start: start as u32, end: (start + len) as u32 };
        self.line = Span { start: start as u32, end: line_end as u32 };
        fields::read(&mut self.fields, &mut self.facts, buf, line_end, ends, false)?;
        Some(target)
    }

    #[inline(always)]
    fn take_target(&mut self, buf: &[u8], span: Span) -> Result<(), HeadError> {
        match target::plain(buf, span) {
            Some((path, query)) if self.method != Method::Connect => {
                (self.path, self.query) = (path, query);
                Ok(())
            }
            _ => self.take_any_target(buf, span),
        }
    }

    #[inline(never)]
    fn take_any_target(&mut self, buf: &[u8], span: Span) -> Result<(), HeadError> {
        if self.method == Method::Connect {
            return Err(Kind::ConnectMethod.at(self.method_span.start as usize));
        }
        let read = target::parse(buf, span.range(), self.method == Method::Options)
            .map_err(|(kind, at)| kind.at(at))?;
        self.form = read.form;
        self.path = read.path;
        self.query = read.query;
        self.authority = read.authority;
        self.target_has_authority = read.authority.is_some();
        self.dots = read.dots;
        Ok(())
    }

    /// Decides what the lines mean together.
    #[inline]
    fn settle(&mut self, buf: &[u8], target: Span) -> Result<(), HeadError> {
        self.take_target(buf, target)?;
        self.facts.conclude(&mut self.fields, buf)?;
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
    #[inline(always)]
    fn settle_host(&mut self, buf: &[u8]) -> Result<(), HeadError> {
        let Some(value) = self.facts.host else {
            return match self.version {
                Version::Http11 => Err(Kind::MissingHost.at(self.lines.start())),
                Version::Http10 => Ok(()),
            };
        };
        if self.facts.hosts > 1 {
            return Err(Kind::RepeatedHost.at(value.start as usize));
        }
        let Some(authority) = authority::parse(buf, value.range()) else {
            let userinfo = value.of(buf).contains(&b'@');
            return Err(if userinfo { Kind::Userinfo } else { Kind::BadHost }.at(value.start as usize));
        };
        if !self.target_has_authority {
            self.authority = Some(authority);
        }
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
        check_lines(&mut self.lines, buf, true, check_status_line)?;
        let Some(end) = found? else { return Ok(None) };
        let taken = self.take_lines(buf);
        debug_assert!(taken.is_some(), "what passed line by line passes as a whole");
        taken.ok_or(Kind::BadStatusLine.at(0))?;
        self.facts.conclude(&mut self.fields, buf)?;
        Ok(Some(end))
    }

    /// Reads the head at once. `None` when it is not complete, breaks a rule of the lines, or is over a bound.
    fn read_whole(&mut self, buf: &[u8], bounds: Bounds) -> Result<Option<usize>, HeadError> {
        let Some(end) = self.lines.whole(buf, bounds) else { return Ok(None) };
        if self.take_lines(buf).is_none() {
            self.lines.forget_ends();
            self.fields.clear();
            return Ok(None);
        }
        self.facts.conclude(&mut self.fields, buf)?;
        Ok(Some(end))
    }

    /// Takes what stands in the lines, which have been found.
    #[inline]
    fn take_lines(&mut self, buf: &[u8]) -> Option<()> {
        let (line_end, ends) = self.lines.ends()?;
        let line = read_status_line(buf.get(..line_end.checked_sub(2)?)?).ok()?;
        (self.version, self.status, self.reason) = (line.version, line.status, line.reason);
        self.line = Span { start: 0, end: line_end as u32 };
        fields::read(&mut self.fields, &mut self.facts, buf, line_end, ends, true)
    }
}

/// The method at the front of a request line, and its length; `None` when it is no token with a space behind it.
#[inline(always)]
fn method_of(line: &[u8]) -> Option<(Method, usize)> {
    if line.first_chunk() == Some(b"GET ") {
        return Some((Method::Get, 3));
    }
    let len = chars::first_not(line, TCHAR)?;
    let (method, rest) = line.split_at_checked(len)?;
    (len > 0 && rest.first() == Some(&b' ')).then(|| (Method::of(method), len))
}

#[inline(always)]
fn version_of(text: &[u8; 8]) -> Option<Version> {
    // As one word each: matched as arrays they would be compared byte by byte.
    const HTTP_10: u64 = u64::from_le_bytes(*b"HTTP/1.0");
    const HTTP_11: u64 = u64::from_le_bytes(*b"HTTP/1.1");
    match u64::from_le_bytes(*text) {
        HTTP_11 => Some(Version::Http11),
        HTTP_10 => Some(Version::Http10),
        _ => None,
    }
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
    target::parse(line, target_start..target_end, method == Method::Options).map(|_| ())
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

/// RFC 9112 section 4. The space before an empty reason may be missing, as old backends have it. The bytes of the reason are
/// not looked at.
#[inline]
fn read_status_line(line: &[u8]) -> Result<StatusLine, Refused> {
    let Some((version, [b' ', a, b, c, rest @ ..])) = line.split_first_chunk() else {
        return Err((Kind::BadStatusLine, 0));
    };
    let version = version_of(version).ok_or((Kind::BadStatusLine, 0))?;
    let status = [a, b, c].iter().try_fold(0u16, |status, digit| {
        digit.is_ascii_digit().then(|| status * 10 + u16::from(**digit - b'0'))
    });
    let (Some(status @ 100..), [] | [b' ', ..]) = (status, rest) else {
        return Err((Kind::BadStatusLine, 9));
    };
    let reason = Span::new((line.len() - rest.len() + 1).min(line.len()), line.len());
    Ok(StatusLine { version, status, reason })
}

fn check_status_line(line: &[u8]) -> Result<(), Refused> {
    let StatusLine { reason, .. } = read_status_line(line)?;
    let Some(at) = chars::first_not(reason.of(line), VALUE) else { return Ok(()) };
    let at = reason.start as usize + at;
    Err((if line.get(at) == Some(&b'\r') { Kind::BareCr } else { Kind::ControlByte }, at))
}

/// Refuses what is no HTTP/1 at its first wrong byte, before a line end comes.
#[inline]
fn check_status_line_start(buf: &[u8]) -> Result<(), HeadError> {
    const START: &[u8] = b"HTTP/1.";
    if buf.starts_with(START) {
        return Ok(());
    }
    match START.iter().zip(buf).position(|(expected, byte)| expected != byte) {
        Some(at) => Err(Kind::BadStatusLine.at(at)),
        None => Ok(()),
    }
}

/// The list members of all fields with `name`.
fn members_of<'a>(fields: &'a [Field], name: FieldName, buf: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |field| field.name == name).flat_map(|field| chars::list(field.value.of(buf)))
}
