//! Request-targets: their forms (RFC 9112 section 3.2), which bytes they may have, and the removal of dot segments.

use crate::authority::{self, Authority};
use crate::chars::{self, HEX, PATH, QUERY};
use crate::error::HeadErrorKind as Kind;
use crate::span::Span;

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

/// Reads a request-target. `options` says whether the method is OPTIONS, the only one that may have `*`.
pub(crate) fn parse(target: &[u8], options: bool) -> Result<Target, Refused> {
    match target {
        [b'/', ..] => parse_path_and_query(target, 0),
        b"*" if options => Ok(Target { form: TargetForm::Asterisk, ..Target::default() }),
        b"*" => Err((Kind::BadTargetForm, 0)),
        _ => parse_absolute(target, options),
    }
}

fn parse_absolute(target: &[u8], options: bool) -> Result<Target, Refused> {
    let Some(start) = scheme_len(target) else { return Err(formless(target)) };
    let rest = target.get(start..).unwrap_or_default();
    let len = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let host = rest.get(..len).unwrap_or_default();
    let authority = authority::parse_authority(host).ok_or_else(|| bad_authority(host, start))?;
    let mut read = parse_path_and_query(target, start + len)?;
    let bare = read.path.is_empty() && read.query.is_none();
    read.form = if options && bare { TargetForm::Asterisk } else { TargetForm::Absolute };
    read.authority = Some(authority.shifted(start));
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

/// Reads the path and the query that begin at `start`; the path may be empty.
fn parse_path_and_query(target: &[u8], start: usize) -> Result<Target, Refused> {
    let tail = target.get(start..).unwrap_or_default();
    let path = scan_path(tail).map_err(|(kind, at)| (kind, start + at))?;
    let query = match tail.get(path.len..) {
        Some([b'?', query @ ..]) => Some(query),
        _ => None,
    };
    if let Some((query, at)) = query.and_then(|query| Some((query, chars::first_not(query, QUERY)?))) {
        return Err((wrong_byte(query.get(at).copied()), start + path.len + 1 + at));
    }
    if path.dots {
        check_climb(tail.get(..path.len).unwrap_or_default())
            .map_err(|at| (Kind::PathAboveRoot, start + at))?;
    }
    Ok(Target {
        form: TargetForm::Origin,
        path: Span::new(start, start + path.len),
        query: query.map(|_| Span::new(start + path.len + 1, target.len())),
        authority: None,
        dots: path.dots,
    })
}

struct PathScan {
    len: usize,
    dots: bool,
}

/// Checks the path at the front of `bytes` up to `?` or the end, and notes whether a segment begins with `.` or an escape.
fn scan_path(bytes: &[u8]) -> Result<PathScan, Refused> {
    let mut len = 0;
    loop {
        let rest = bytes.get(len..).unwrap_or_default();
        len += chars::first_not(rest, PATH).unwrap_or(rest.len());
        match bytes.get(len) {
            None | Some(b'?') => break,
            Some(b'%') if is_escape(bytes, len) => len += 3,
            Some(b'%') => return Err((Kind::BadPercentEscape, len)),
            Some(&byte) => return Err((wrong_byte(Some(byte)), len)),
        }
    }
    let path = bytes.get(..len).unwrap_or_default();
    let dots = path.windows(2).any(|pair| matches!(pair, [b'/', b'.' | b'%']));
    Ok(PathScan { len, dots })
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
    let scan = scan_path(path).map_err(|(kind, _)| kind)?;
    if scan.len != path.len() {
        return Err(Kind::BadTargetByte);
    }
    check_climb(path).map_err(|_| Kind::PathAboveRoot)
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
        let read = |target: &str, options| parse(target.as_bytes(), options).map(|read| read.form);
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
