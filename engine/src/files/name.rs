//! Which name below a folder a request's path has. What is refused here is never looked for: the kernel keeps a name inside its
//! folder in any case, but what is hidden, and names that other programs would read differently, are for this to know.

/// The longest segment of a name, in bytes: NAME_MAX of Linux.
const SEGMENT_BYTES: usize = 255;
/// The longest name, in bytes: PATH_MAX of Linux, less the NUL.
const NAME_BYTES: usize = 4095;
/// The one folder that is served though its name begins with a dot (RFC 8615), at the top alone.
const WELL_KNOWN: &[u8] = b".well-known";

/// What a path asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Asks {
    /// What has this name.
    #[default]
    Named,
    /// The index of the folder of this name: the path ends with a slash.
    Index,
}

/// The path has no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoName;

/// Appends the name of `path` to `name`: without the slashes around it, and percent-decoded once. Any other byte stands for
/// itself, whatever characters it belongs to.
///
/// # Errors
/// [`NoName`] for a path that is none of a file that is shown; what stands in `name` then is of no use.
pub(super) fn append(path: &[u8], name: &mut Vec<u8>) -> Result<Asks, NoName> {
    let mut rest = path.strip_prefix(b"/").ok_or(NoName)?;
    let begin = name.len();
    while let Some(slash) = rest.iter().position(|&byte| byte == b'/') {
        let (segment, behind) = rest.split_at(slash);
        append_segment(segment, begin, name)?;
        rest = behind.get(1..).unwrap_or_default();
    }
    if rest.is_empty() {
        return Ok(Asks::Index);
    }
    append_segment(rest, begin, name)?;
    Ok(Asks::Named)
}

fn append_segment(segment: &[u8], begin: usize, name: &mut Vec<u8>) -> Result<(), NoName> {
    let is_first = name.len() == begin;
    if !is_first {
        name.push(b'/');
    }
    let from = name.len();
    decode(segment, name)?;
    let decoded = name.get(from..).unwrap_or_default();
    // Dot segments begin with a dot, too.
    let is_hidden = decoded.starts_with(b".") && !(is_first && decoded == WELL_KNOWN);
    let is_too_long = decoded.len() > SEGMENT_BYTES || name.len() - begin > NAME_BYTES;
    if decoded.is_empty() || is_hidden || is_too_long { Err(NoName) } else { Ok(()) }
}

fn decode(segment: &[u8], name: &mut Vec<u8>) -> Result<(), NoName> {
    if segment.iter().all(|&byte| byte != b'%' && is_shown(byte)) {
        name.extend_from_slice(segment);
        return Ok(());
    }
    let mut bytes = segment.iter();
    while let Some(&byte) = bytes.next() {
        let byte = if byte == b'%' { 16 * digit(bytes.next())? + digit(bytes.next())? } else { byte };
        if !is_shown(byte) {
            return Err(NoName);
        }
        name.push(byte);
    }
    Ok(())
}

/// NUL ends a name for the kernel, and a slash would be a folder more than the path has. A backslash is an ordinary character here;
/// but where the folder is a mount of another system's, that system may read it as a slash, beyond all that was checked.
fn is_shown(byte: u8) -> bool {
    !matches!(byte, 0 | b'/' | b'\\')
}

fn digit(byte: Option<&u8>) -> Result<u8, NoName> {
    let digit = byte.and_then(|&byte| char::from(byte).to_digit(16)).ok_or(NoName)?;
    // One of 16.
    Ok(digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(path: impl AsRef<[u8]>) -> Result<(Vec<u8>, Asks), NoName> {
        // What stands before it belongs to somebody else.
        let mut name = b"folder\0".to_vec();
        let asks = append(path.as_ref(), &mut name)?;
        Ok((name.split_off(7), asks))
    }

    #[test]
    fn names_are_decoded_once() {
        for (path, expected, asks) in [
            ("/", &b""[..], Asks::Index),
            ("/a.txt", b"a.txt", Asks::Named),
            ("/a/b/c", b"a/b/c", Asks::Named),
            ("/a/b/", b"a/b", Asks::Index),
            ("/%61%2Etxt", b"a.txt", Asks::Named),
            ("/%2561", b"%61", Asks::Named),
            ("/%252e%252e/x", b"%2e%2e/x", Asks::Named),
            ("/a%20b", b"a b", Asks::Named),
            ("/%ff%FE", b"\xff\xfe", Asks::Named),
            ("/a+b;c=d:e", b"a+b;c=d:e", Asks::Named),
            ("/a..b/c.", b"a..b/c.", Asks::Named),
            ("/.well-known/acme", b".well-known/acme", Asks::Named),
            ("/%2ewell-known/", b".well-known", Asks::Index),
            ("/a%0a", b"a\n", Asks::Named),
        ] {
            assert_eq!(name(path), Ok((expected.to_vec(), asks)), "{path}");
        }
        assert_eq!(name(b"/\xc3\xbc"), Ok((b"\xc3\xbc".to_vec(), Asks::Named)));
    }

    #[test]
    fn what_is_hidden_or_no_name_is_refused() {
        for path in [
            "",
            "*",
            "a",
            "//",
            "//a",
            "/a//b",
            "/a//",
            "/.",
            "/..",
            "/../a",
            "/a/..",
            "/a/../b",
            "/%2e",
            "/%2e%2e/a",
            "/.%2e/a",
            "/%2E./a",
            "/a%2fb",
            "/a%2Fb",
            "/%2f",
            "/a%00",
            "/%00",
            "/a%00.txt",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%+1",
            "/%%32%65",
            "/a\\b",
            "/a%5cb",
            "/..\\a",
            "/..%5ca",
            "/.hidden",
            "/%2ehidden",
            "/a/.git/config",
            "/.well-known/.x",
            "/a/.well-known/x",
            "/.well-knownx",
            "/.Well-Known/x",
            "/..;/a",
            "/..;a=b/a",
            "/...",
        ] {
            assert_eq!(name(path), Err(NoName), "{path}");
        }
        assert_eq!(name(b"/a\0"), Err(NoName));
    }

    #[test]
    fn lengths_are_bounded_after_decoding() {
        let segment = "%61".repeat(SEGMENT_BYTES);
        assert!(name(format!("/{segment}")).is_ok());
        assert_eq!(name(format!("/{segment}a")), Err(NoName));
        let whole = format!("/{}", ["a"; NAME_BYTES.div_ceil(2)].join("/"));
        assert_eq!(name(&whole).map(|(name, _)| name.len()), Ok(NAME_BYTES));
        assert_eq!(name(format!("{whole}a")), Err(NoName));
    }
}
