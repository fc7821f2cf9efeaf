//! Request-targets: their forms (RFC 9112 section 3.2), which bytes they may have, and the removal of dot segments.

use crate::authority::{self, Authority};
use crate::chars::{self, HEX, PATH, QUERY};
use crate::error::HeadErrorKind as Kind;
use crate::scan;
use crate::span::Span;
use std::ops::Range;

pub use crate::authority::{canonical_host, parse_authority};

/// In which form a request-target came (RFC 9112 section 3.2); authority-form is CONNECT's and refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`.
    #[default]
    Origin,
    /// `http://host/path?query`.
    Absolute,
    /// `*`, or an absolute-form of OPTIONS without path and query, which means the same (RFC 9112 section 3.2.4).
    Asterisk,
}

/// A request-target as spans into its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) form: TargetForm,
    /// Empty when an absolute-form has no path, and for asterisk-form.
    pub(crate) path: Span,
    pub(crate) query: Option<Span>,
    /// The authority of an absolute-form.
    pub(crate) authority: Option<Authority>,
    /// Whether the path may have dot segments, so that it must be normalised.
    pub(crate) dots: bool,
}

/// A rule that a target breaks, and the offset into it.
type Refused = (Kind, usize);

/// Reads the request-target that stands in `range` of `bytes`; its spans, and the places of errors, are offsets into `bytes`.
/// `options` says whether the method is OPTIONS, the only one that may have `*`.
#[inline]
pub(crate) fn parse(bytes: &[u8], range: Range<usize>, options: bool) -> Result<Target, Refused> {
    let Range { start, end } = range;
    match bytes.get(range).unwrap_or_default() {
        [b'/', ..] => parse_path_and_query(bytes, start, end),
        b"*" if options => Ok(Target { form: TargetForm::Asterisk, ..Target::default() }),
        b"*" => Err((Kind::BadTargetForm, start)),
        target => match parse_absolute(target, options) {
            Ok(read) => Ok(read.shifted(start)),
            Err((kind, at)) => Err((kind, start + at)),
        },
    }
}

/// Path and query of an origin-form that has no escapes, no dot segments, and only bytes that need no closer look; `None` for
/// all other targets, which says nothing about them.
#[inline(always)]
pub(crate) fn plain(bytes: &[u8], target: Span) -> Option<(Span, Option<Span>)> {
    let Range { start, end } = target.range();
    if bytes.get(start) != Some(&b'/') {
        return None;
    }
    let path_end = scan::plain_path(bytes, start, end);
    let path = Span { end: path_end as u32, ..target };
    if path_end == end {
        return Some((path, None));
    }
    let query = path_end + 1;
    let plain = bytes.get(path_end) == Some(&b'?') && scan::plain_query(bytes, query, end) == end;
    plain.then_some((path, Some(Span { start: query as u32, ..target })))
}

impl Target {
    fn shifted(self, by: usize) -> Self {
        Self {
            path: self.path.shifted(by),
            query: self.query.map(|query| query.shifted(by)),
            authority: self.authority.map(|authority| authority.shifted(by)),
            ..self
        }
    }
}

fn parse_absolute(target: &[u8], options: bool) -> Result<Target, Refused> {
    let Some(start) = scheme_len(target) else { return Err(formless(target)) };
    let rest = target.get(start..).unwrap_or_default();
    let len = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let host = rest.get(..len).unwrap_or_default();
    let authority = authority::parse(target, start..start + len).ok_or_else(|| bad_authority(host, start))?;
    let mut read = parse_path_and_query(target, start + len, target.len())?;
    let bare = read.path.is_empty() && read.query.is_none();
    read.form = if options && bare { TargetForm::Asterisk } else { TargetForm::Absolute };
    read.authority = Some(authority);
    Ok(read)
}

/// The length of `http://` or `https://` at the front of an absolute-form (schemes have no case, RFC 3986 section 3.1).
fn scheme_len(target: &[u8]) -> Option<usize> {
    let has =
        |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    [&b"http://"[..], b"https://"].iter().find(|scheme| has(scheme)).map(|scheme| scheme.len())
}

/// Why a target that begins with neither `/` nor a scheme is refused: a wrong byte if it has one, else its form.
fn formless(target: &[u8]) -> Refused {
    match chars::first_not(target, QUERY) {
        Some(at) => (wrong_byte(target.get(at).copied()), at),
        None => (Kind::BadTargetForm, 0),
    }
}

fn bad_authority(host: &[u8], start: usize) -> Refused {
    let kind = if host.contains(&b'@') { Kind::Userinfo } else { Kind::BadTargetAuthority };
    match chars::first_not(host, QUERY) {
        Some(at) => (wrong_byte(host.get(at).copied()), start + at),
        None => (kind, start),
    }
}

/// Reads the path that begins at `start` of `bytes`, which may be empty, and the query behind it up to `end`.
#[inline]
fn parse_path_and_query(bytes: &[u8], start: usize, end: usize) -> Result<Target, Refused> {
    let path = scan_path(bytes, start, end)?;
    let mut query = None;
    if path.end < end {
        let query_start = path.end + 1;
        let plain = scan::plain_query(bytes, query_start, end);
        if let Some(at) = chars::first_not(bytes.get(plain..end).unwrap_or_default(), QUERY) {
            return Err((wrong_byte(bytes.get(plain + at).copied()), plain + at));
        }
        query = Some(Span::new(query_start, end));
    }
    if path.dots {
        check_climb(bytes.get(start..path.end).unwrap_or_default())
            .map_err(|at| (Kind::PathAboveRoot, start + at))?;
    }
    Ok(Target {
        form: TargetForm::Origin,
        path: Span::new(start, path.end),
        query,
        authority: None,
        dots: path.dots,
    })
}

struct PathScan {
    /// Where the path ends: before a `?`, or where it had to.
    end: usize,
    dots: bool,
}

/// Checks the path that begins at `start` of `bytes`, up to `?` or `end`, and notes whether a segment begins with `.` or an
/// escape.
#[inline]
fn scan_path(bytes: &[u8], start: usize, end: usize) -> Result<PathScan, Refused> {
    let plain = scan::plain_path(bytes, start, end);
    if plain == end || bytes.get(plain) == Some(&b'?') {
        return Ok(PathScan { end: plain, dots: false });
    }
    scan_path_from(bytes, start, end, plain)
}

/// Goes on at `at`, before which no segment begins with a dot or an escape.
fn scan_path_from(bytes: &[u8], start: usize, end: usize, at: usize) -> Result<PathScan, Refused> {
    let bytes = bytes.get(..end).unwrap_or(bytes);
    let mut path_end = at;
    loop {
        let rest = bytes.get(path_end..).unwrap_or_default();
        path_end += chars::first_not(rest, PATH).unwrap_or(rest.len());
        match bytes.get(path_end) {
            None | Some(b'?') => break,
            Some(b'%') if is_escape(bytes, path_end) => path_end += 3,
            Some(b'%') => return Err((Kind::BadPercentEscape, path_end)),
            Some(&byte) => return Err((wrong_byte(Some(byte)), path_end)),
        }
    }
    // The slash may stand right before.
    let behind = bytes.get(at.saturating_sub(1).max(start)..path_end).unwrap_or_default();
    let dots = behind.windows(2).any(|pair| matches!(pair, [b'/', b'.' | b'%']));
    Ok(PathScan { end: path_end, dots })
}

fn is_escape(bytes: &[u8], at: usize) -> bool {
    matches!(bytes.get(at + 1..at + 3), Some(&[high, low]) if chars::is(high, HEX) && chars::is(low, HEX))
}

fn wrong_byte(byte: Option<u8>) -> Kind {
    match byte {
        Some(b'#') => Kind::TargetFragment,
        Some(b'\r') => Kind::BareCr,
        Some(byte) if chars::is_control(byte) => Kind::ControlByte,
        _ => Kind::BadTargetByte,
    }
}

/// Whether `path` is a request path that Ringway would take: it begins with `/`, has no byte that a path may not have,
/// no `%` without two hexadecimal digits, and no dot segments that climb above the root.
///
/// # Errors
/// The rule that it breaks.
pub fn check_path(path: &[u8]) -> Result<(), Kind> {
    if path.first() != Some(&b'/') {
        return Err(Kind::BadTargetForm);
    }
    let scan = scan_path(path, 0, path.len()).map_err(|(kind, _)| kind)?;
    if scan.end != path.len() {
        return Err(Kind::BadTargetByte);
    }
    match scan.dots {
        true => check_climb(path).map_err(|_| Kind::PathAboveRoot),
        false => Ok(()),
    }
}

/// The offset of the first segment that climbs above the root, as the error.
fn check_climb(path: &[u8]) -> Result<(), usize> {
    let mut depth = 0usize;
    let mut at = 0;
    for segment in path.split(|&byte| byte == b'/').skip(1) {
        at += 1;
        match dot_segment(segment) {
            Some(Dot::Parent) => depth = depth.checked_sub(1).ok_or(at)?,
            Some(Dot::Here) => {}
            None => depth += 1,
        }
        at += segment.len();
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
enum Dot {
    Here,
    Parent,
}

/// Reads `.` and `..`, each dot also in its escaped spelling `%2e`, which means the same (RFC 3986 section 2.3).
fn dot_segment(segment: &[u8]) -> Option<Dot> {
    let rest = without_dot(segment)?;
    if rest.is_empty() {
        return Some(Dot::Here);
    }
    without_dot(rest)?.is_empty().then_some(Dot::Parent)
}

fn without_dot(segment: &[u8]) -> Option<&[u8]> {
    match segment {
        [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => Some(rest),
        _ => None,
    }
}

/// Removes dot segments in place (RFC 3986 section 5.2.4), those spelt `%2e` too, and changes nothing else: `//`, `%2F`, the
/// case and every other escape stay. Returns the new length; what is behind it is left over from the old path.
///
/// # Errors
/// [`Kind::BadTargetForm`] when `path` does not begin with `/`, [`Kind::PathAboveRoot`] when it climbs above the root.
pub fn normalise_path(path: &mut [u8]) -> Result<usize, Kind> {
    if path.first() != Some(&b'/') {
        return Err(Kind::BadTargetForm);
    }
    // `read` stands on the slash before a segment, `write` after the last byte that is kept.
    let (mut read, mut write) = (0, 0);
    while read < path.len() {
        let segment = path.get(read + 1..).unwrap_or_default();
        let len = memchr::memchr(b'/', segment).unwrap_or(segment.len());
        let dot = dot_segment(segment.get(..len).unwrap_or_default());
        let end = read + 1 + len;
        match dot {
            None => {
                path.copy_within(read..end, write);
                write += end - read;
            }
            Some(Dot::Here) => {}
            Some(Dot::Parent) => {
                let kept = path.get(..write).unwrap_or_default();
                write = memchr::memrchr(b'/', kept).ok_or(Kind::PathAboveRoot)?;
            }
        }
        // A dot segment at the end leaves its slash: `/a/.` and `/a/b/..` are `/a/`.
        if dot.is_some() && end == path.len() {
            path.get_mut(write).into_iter().for_each(|byte| *byte = b'/');
            write += 1;
        }
        read = end;
    }
    Ok(write)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalised(path: &str) -> Result<String, Kind> {
        let mut bytes = path.as_bytes().to_vec();
        let len = normalise_path(&mut bytes)?;
        bytes.truncate(len);
        Ok(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn dot_segments_go_and_nothing_else() {
        let cases = [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/../../c", "/c"),
            ("/a/.", "/a/"),
            ("/a/./", "/a/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/.", "/"),
            ("/./a", "/a"),
            ("/a/%2e/b", "/a/b"),
            ("/a/%2E%2e/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/a/%2e./b", "/b"),
            ("//a", "//a"),
            ("/a//b", "/a//b"),
            ("/a//../b", "/a/b"),
            ("//..", "/"),
            ("/.//a", "//a"),
            ("/...", "/..."),
            ("/.a/..b/c.", "/.a/..b/c."),
            ("/a%2Fb/%2e%2e%2f", "/a%2Fb/%2e%2e%2f"),
            ("/A/%7e", "/A/%7e"),
            ("/a/..;/b", "/a/..;/b"),
        ];
        for (path, expected) in cases {
            assert_eq!(normalised(path).as_deref(), Ok(expected), "{path}");
            assert_eq!(check_path(path.as_bytes()), Ok(()), "{path}");
        }
    }

    #[test]
    fn no_path_climbs_above_the_root() {
        for path in ["/..", "/../", "/%2e%2e/", "/a/../..", "/a/../../b", "/./..", "//../..", "/.%2E"] {
            assert_eq!(normalised(path), Err(Kind::PathAboveRoot), "{path}");
            assert_eq!(check_path(path.as_bytes()), Err(Kind::PathAboveRoot), "{path}");
        }
    }

    #[test]
    fn which_bytes_a_path_has() {
        assert_eq!(check_path(br#"/"<>[]\^{|}`~!$&'()*+,;=:@"#), Ok(()));
        let cases = [
            ("", Kind::BadTargetForm),
            ("a", Kind::BadTargetForm),
            ("/%", Kind::BadPercentEscape),
            ("/%4", Kind::BadPercentEscape),
            ("/%zz", Kind::BadPercentEscape),
            ("/%%41", Kind::BadPercentEscape),
            ("/a?b", Kind::BadTargetByte),
            ("/a b", Kind::BadTargetByte),
            ("/\u{e4}", Kind::BadTargetByte),
            ("/a#b", Kind::TargetFragment),
            ("/a\0", Kind::ControlByte),
            ("/a\x7f", Kind::ControlByte),
        ];
        for (path, kind) in cases {
            assert_eq!(check_path(path.as_bytes()), Err(kind), "{path:?}");
        }
    }

    #[test]
    fn forms() {
        let read =
            |target: &str, options| parse(target.as_bytes(), 0..target.len(), options).map(|read| read.form);
        assert_eq!(read("/a?b", false), Ok(TargetForm::Origin));
        assert_eq!(read("*", true), Ok(TargetForm::Asterisk));
        assert_eq!(read("*", false), Err((Kind::BadTargetForm, 0)));
        assert_eq!(read("http://a", true), Ok(TargetForm::Asterisk));
        assert_eq!(read("http://a/", true), Ok(TargetForm::Absolute));
        assert_eq!(read("http://a?", true), Ok(TargetForm::Absolute));
        assert_eq!(read("http://a", false), Ok(TargetForm::Absolute));
        assert_eq!(read("HTTPS://a:8/x?y", false), Ok(TargetForm::Absolute));
        assert_eq!(read("ftp://a/", false), Err((Kind::BadTargetForm, 0)));
        assert_eq!(read("a:80", false), Err((Kind::BadTargetForm, 0)));
        assert_eq!(read("http:/a", false), Err((Kind::BadTargetForm, 0)));
        assert_eq!(read("http://", false), Err((Kind::BadTargetAuthority, 7)));
        assert_eq!(read("http://u@a/", false), Err((Kind::Userinfo, 7)));
        assert_eq!(read("http://a#b", false), Err((Kind::TargetFragment, 8)));
        assert_eq!(read("http://a b", false), Err((Kind::BadTargetByte, 8)));
        assert_eq!(read("/a#b", false), Err((Kind::TargetFragment, 2)));
        assert_eq!(read("/a?b#c", false), Err((Kind::TargetFragment, 4)));
    }
}
