//! Paths that need no credentials: globs over the whole path, by method. Each is an automaton of at most 128 states, run all
//! at once as the bits of a word: the time is that of the path, whatever the glob. Nothing is decoded, and a path that
//! backends could read in another way than it is matched is never public.

use std::fmt;

use crate::pattern::percent_encoded;
use crate::problem::Fault;

/// The longest glob, in bytes: it has a state more than bytes, and a word has a bit for each.
pub(crate) const GLOB_BYTES_MAX: usize = 127;

/// The globs of one rule: each is tried for a path of its method.
pub(crate) const GLOBS_MAX: usize = 256;

/// The key that stands for every method.
const ALL: &str = "ALL";

/// Paths that need no credentials, by method.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublicRoutes {
    /// Each method, or [`ALL`], with a glob of its list.
    globs: Vec<(String, Glob)>,
}

impl PublicRoutes {
    /// Whether no path is public.
    pub fn is_empty(&self) -> bool {
        self.globs.is_empty()
    }

    /// Whether a request of this method may come to this path without credentials. `path` is the one that rules match, without
    /// the query; an [ambiguous](is_ambiguous) one is never public. Methods are case-sensitive, and GET does not cover HEAD.
    pub fn is_public(&self, method: &[u8], path: &[u8]) -> bool {
        self.public_by(method, path).is_some()
    }

    /// The glob that makes it public, as written.
    pub fn public_by(&self, method: &[u8], path: &[u8]) -> Option<&str> {
        let covers = |of: &str| of == ALL || of.as_bytes() == method;
        let mut taking = self.globs.iter().filter(|(of, glob)| covers(of) && glob.takes(path));
        let (_, glob) = taking.next().filter(|_| !is_ambiguous(path))?;
        Some(&glob.written)
    }

    /// Each method, `ALL` for every one, with a glob of its list, as written.
    pub fn written(&self) -> impl Iterator<Item = (&str, &str)> {
        self.globs.iter().map(|(method, glob)| (&**method, &*glob.written))
    }

    /// Makes what `glob` takes public for `method`, or for every one if that is `ALL`.
    pub(crate) fn add(&mut self, method: &str, glob: Glob) {
        self.globs.push((method.to_owned(), glob));
    }
}

/// Whether backends could read `path` in another way than Ringway matches it: because they decode it before they split it
/// (`%2f`, `%5c`, `%2e`, `%3f`, `%23`) or twice (`%25`), cut it (`%00` and other control characters), take parameters of
/// segments away (`;` and `%3b`, and so `..;` segments), take `\` for `/`, or know more than one spelling of a character
/// (escapes that are no UTF-8, overlong forms such as `%c0%af` among them; a `%` without two hexadecimal digits).
pub(crate) fn is_ambiguous(path: &[u8]) -> bool {
    path.iter().any(|byte| matches!(byte, b'\\' | b';')) || path.contains(&b'%') && escapes_ambiguously(path)
}

fn escapes_ambiguously(mut path: &[u8]) -> bool {
    let mut text = Vec::with_capacity(path.len());
    while let Some((byte, behind)) = path.split_first() {
        path = behind;
        if *byte != b'%' {
            text.push(*byte);
            continue;
        }
        match decoded(behind).filter(|byte| !is_ambiguous_escaped(*byte)) {
            Some(byte) => text.push(byte),
            None => return true,
        }
        path = behind.get(2..).unwrap_or_default();
    }
    str::from_utf8(&text).is_err()
}

/// The byte of the two hexadecimal digits that `text` begins with.
fn decoded(text: &[u8]) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let [high, low, ..] = text else { return None };
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Whether an escape of this byte alone is enough. UTF-8 has none of the last ones (RFC 3629 section 3).
fn is_ambiguous_escaped(byte: u8) -> bool {
    let is_special = matches!(byte, b'/' | b'\\' | b'.' | b'%' | b';' | b'?' | b'#');
    is_special || byte.is_ascii_control() || matches!(byte, 0xc0 | 0xc1 | 0xf5..)
}

/// A path with wildcards: `*` is any characters of one segment, none too; `**` any; `?` one character other than `/`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Glob {
    written: Box<str>,
    /// For each byte, its place in `steps`; bytes that no state waits for share the first one.
    classes: Box<[u8; 256]>,
    /// For each class of bytes: the states that one of them leads to the next.
    steps: Box<[u128]>,
    /// The states that a byte leaves as they are: those at a `*`, unless it is a `/`.
    within_segment: u128,
    /// The states that any byte leaves as they are: those at a `**`.
    anywhere: u128,
    /// The state behind the last character.
    end: u128,
}

impl fmt::Debug for Glob {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.fmt(out)
    }
}

/// What is wrong with a glob, and where: an offset in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GlobFault {
    pub(crate) fault: Fault,
    pub(crate) at: usize,
}

impl Glob {
    /// Reads a glob.
    ///
    /// # Errors
    /// What is wrong with it. A glob that could take no path, or none that may be public, is a mistake.
    pub(crate) fn parse(text: &str) -> Result<Self, GlobFault> {
        check(text)?;
        Ok(Self::of(text))
    }

    /// The automaton of a text of at most [`GLOB_BYTES_MAX`] bytes.
    fn of(text: &str) -> Self {
        let mut glob = Self {
            written: text.into(),
            classes: Box::new([0; 256]),
            steps: Box::default(),
            within_segment: 0,
            anywhere: 0,
            end: 1,
        };
        // The first is of bytes without a class of their own, the second of `/`: no wildcard of one segment takes it.
        let mut steps = vec![0, 0];
        glob.class(b'/', 1);
        let mut bytes = text.bytes().peekable();
        while let Some(byte) = bytes.next() {
            match byte {
                b'*' if bytes.next_if_eq(&b'*').is_some() => glob.anywhere |= glob.end,
                b'*' => glob.within_segment |= glob.end,
                b'?' => glob.end <<= 1,
                literal => {
                    if glob.class_of(literal) == 0 {
                        glob.class(literal, steps.len() as u8);
                        steps.push(0);
                    }
                    let class = usize::from(glob.class_of(literal));
                    steps.get_mut(class).into_iter().for_each(|step| *step |= glob.end);
                    glob.end <<= 1;
                }
            }
        }
        glob.steps = steps.into();
        glob.allow_any_character();
        glob
    }

    /// Gives every class but that of `/` the states at a `?`.
    fn allow_any_character(&mut self) {
        let mut state = 1;
        for byte in self.written.bytes().filter(|byte| *byte != b'*') {
            let others = self.steps.iter_mut().enumerate().filter(|(class, _)| byte == b'?' && *class != 1);
            others.for_each(|(_, step)| *step |= state);
            state <<= 1;
        }
    }

    fn class(&mut self, byte: u8, class: u8) {
        self.classes.get_mut(usize::from(byte)).into_iter().for_each(|of| *of = class);
    }

    fn class_of(&self, byte: u8) -> u8 {
        self.classes.get(usize::from(byte)).copied().unwrap_or(0)
    }

    /// Whether it takes the whole of `path`.
    fn takes(&self, path: &[u8]) -> bool {
        // Once a `**` at the end is reached, whatever follows is taken.
        let sure = self.end & self.anywhere;
        let mut states: u128 = 1;
        for &byte in path {
            let step = self.steps.get(usize::from(self.class_of(byte))).copied().unwrap_or(0);
            let stay = if byte == b'/' { self.anywhere } else { self.anywhere | self.within_segment };
            states = (states & step) << 1 | states & stay;
            if states == 0 || states & sure != 0 {
                break;
            }
        }
        states & self.end != 0
    }
}

fn check(text: &str) -> Result<(), GlobFault> {
    let fault = |at: usize, fault: Fault| Err(GlobFault { fault, at });
    if text.len() > GLOB_BYTES_MAX {
        return fault(GLOB_BYTES_MAX, Fault::new(format!("a glob has at most {GLOB_BYTES_MAX} bytes")));
    }
    if !text.starts_with('/') && !text.starts_with("**") {
        let slash = Fault::new("a glob is over the whole path, which begins with `/`");
        return fault(0, slash.help(format!("write \"/{text}\"")));
    }
    if let Some((at, wrong)) =
        text.char_indices().find_map(|(at, c)| Some((at, wrong_character(text, at, c)?)))
    {
        return fault(at, wrong);
    }
    let mut at = 0;
    for segment in text.split('/') {
        if matches!(segment, "." | "..") {
            return fault(
                at,
                Fault::new("a path with dot segments is never matched: they are removed first"),
            );
        }
        at += segment.len() + 1;
    }
    Ok(())
}

/// What is wrong with the character `c`, which stands at `at`.
fn wrong_character(text: &str, at: usize, c: char) -> Option<Fault> {
    let behind = text.get(at + 1..).unwrap_or_default().as_bytes();
    match c {
        '#' => Some(Fault::new("a path has no fragment").help("clients do not send `#` and what follows it")),
        '\\' | ';' => Some(never_public(&format!("`{c}`"))),
        '%' => match decoded(behind) {
            None => Some(Fault::new("a `%` has two hexadecimal digits behind it")),
            Some(byte) => is_ambiguous_escaped(byte).then(|| never_public(&format!("`%{byte:02x}`"))),
        },
        ' ' => Some(not_in_a_path(c)),
        _ if !c.is_ascii() || c.is_ascii_control() => Some(not_in_a_path(c)),
        _ => None,
    }
}

fn not_in_a_path(c: char) -> Fault {
    let fault = Fault::new(format!("a path cannot have the character {c:?}"));
    fault.help(format!("paths are matched as sent: write {}", percent_encoded(c)))
}

fn never_public(what: &str) -> Fault {
    Fault::new(format!("a path with {what} is never public: backends read it in different ways"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn routes(written: &[(&str, &[&str])]) -> PublicRoutes {
        let mut routes = PublicRoutes::default();
        for (method, globs) in written {
            globs.iter().for_each(|glob| routes.add(method, Glob::parse(glob).expect(glob)));
        }
        routes
    }

    fn takes(glob: &str, path: &str) -> bool {
        routes(&[("ALL", &[glob])]).is_public(b"GET", path.as_bytes())
    }

    #[test]
    fn wildcards() {
        for (glob, taken, not) in [
            (
                "/api/health",
                &["/api/health"][..],
                &["/api/health/", "/api/healthz", "/API/health", "/api/healt"][..],
            ),
            ("/api/*", &["/api/", "/api/x"], &["/api", "/api/x/", "/api/x/y", "/apix"]),
            ("/api/**", &["/api/", "/api/x", "/api/x/y", "/api//"], &["/api", "/apix"]),
            ("/api**", &["/api", "/apix", "/api/x/y"], &["/ap", "/xapi"]),
            ("/*/health", &["/a/health", "//health"], &["/health", "/a/b/health", "/a/health/"]),
            ("/**/health", &["/a/b/health", "//health"], &["/health", "/health/x"]),
            ("**", &["/", "/a/b", "*"], &[]),
            ("**/health", &["/health", "/a/b/health"], &["/healthz"]),
            ("/v?/x", &["/v1/x", "/vv/x"], &["/v/x", "/v12/x", "/v//x"]),
            ("/a*b*c", &["/abc", "/axxbxxc", "/abbcc"], &["/ab/c", "/a/bc", "/abcd"]),
            ("/a***c", &["/ac", "/a/x/c"], &["/a/x/d"]),
            ("/*.css", &["/.css", "/a.css"], &["/a/b.css", "/a.csss"]),
            ("/%7e*", &["/%7ea"], &["/%7Ea", "/~a"]),
            ("/", &["/"], &["//", "/a"]),
        ] {
            taken.iter().for_each(|path| assert!(takes(glob, path), "{glob} {path}"));
            not.iter().for_each(|path| assert!(!takes(glob, path), "{glob} {path}"));
        }
    }

    #[test]
    fn all_and_a_methods_own_add_up() {
        let routes = routes(&[("ALL", &["/health"]), ("GET", &["/config/**", "/x"]), ("POST", &["/hook"])]);
        let public = |method: &str, path: &str| routes.is_public(method.as_bytes(), path.as_bytes());
        assert!(public("GET", "/health") && public("DELETE", "/health") && public("get", "/health"));
        assert!(public("GET", "/config/a") && public("GET", "/x") && public("POST", "/hook"));
        assert!(
            !public("HEAD", "/x") && !public("get", "/x") && !public("POST", "/x") && !public("GET", "/hook")
        );
        assert_eq!(routes.public_by(b"GET", b"/config/a"), Some("/config/**"));
        assert_eq!(routes.written().count(), 4);
        assert!(!routes.is_empty() && PublicRoutes::default().is_empty());
    }

    #[test]
    fn the_method_all_has_no_list_of_its_own() {
        let routes = routes(&[("GET", &["/x"])]);
        assert!(!routes.is_public(b"ALL", b"/x"));
    }

    #[test]
    fn what_backends_read_in_two_ways_is_never_public() {
        let separators = [
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a%5C",
            "/%2e",
            "/%2E%2e/x",
            "/a%2eb",
            "/a\\b",
            "/a%3fb",
            "/a%23b",
        ];
        let parameters =
            ["/..;/x", "/a/..;", "/a/..;x=1/b", "/.;/a", "/a;b", "/secret;.css", "/;", "/a%3b", "/a%3Bx"];
        let controls = ["/a%00", "/a%0d%0a", "/a%1f", "/a%7f"];
        let broken =
            ["/a%252fb", "/a%25", "/a%", "/a%2", "/a%zz", "/a%u002f", "/a%%32%66", "/a%+2", "/%\u{e4}"];
        let no_utf8 = [
            "/%c0%af",
            "/%C1%1c",
            "/%e0%80%af",
            "/%e0%9f%bf",
            "/%f0%80%80%ae",
            "/%F0%8f%bf%bf",
            "/%ed%a0%80",
            "/%f4%90%80%80",
            "/%f8%80%80%80%af",
            "/%ff",
            "/a%e4",
            "/%80",
            "/%c3",
            "/%c3/%a4",
            "/%c3%c3%a4",
            "/%e2%82",
        ];
        for path in [&separators[..], &parameters, &controls, &broken, &no_utf8].concat() {
            assert!(!takes("**", path), "{path}");
        }
        for path in [
            "/...",
            "/..a",
            "/a%20b",
            "/a.b",
            "/~",
            "/a%2Db",
            "/a%c3%a4",
            "/%e2%82%ac",
            "/%F0%9F%8D%8E.png",
            "/a,b",
        ] {
            assert!(takes("**", path), "{path}");
        }
    }

    #[test]
    fn globs_that_take_nothing_are_refused() {
        let refused = |glob: &str| Glob::parse(glob).expect_err(glob);
        for (glob, at, said) in [
            ("api", 0, "begins with `/`"),
            ("", 0, "begins with `/`"),
            ("*", 0, "begins with `/`"),
            ("?a", 0, "begins with `/`"),
            ("/a#b", 2, "fragment"),
            ("/a b", 2, "' '"),
            ("/ä", 1, "'ä'"),
            ("/a\\b", 2, "never public"),
            ("/a%2Fb", 2, "`%2f` is never public"),
            ("/a%2x", 2, "two hexadecimal digits"),
            ("/a%*", 2, "two hexadecimal digits"),
            ("/a/../b", 3, "dot segments"),
            ("/./b", 1, "dot segments"),
            ("**/..", 3, "dot segments"),
            ("/a/..;/b", 5, "`;` is never public"),
        ] {
            let fault = refused(glob);
            assert!(fault.at == at && fault.fault.message.contains(said), "{glob}: {fault:?}");
        }
        assert_eq!(refused("api/*").fault.help.as_deref(), Some("write \"/api/*\""));
        assert_eq!(refused("/ä").fault.help.as_deref(), Some("paths are matched as sent: write %C3%A4"));
    }

    #[test]
    fn the_longest_glob() {
        let path = format!("/{}", "a".repeat(GLOB_BYTES_MAX - 1));
        assert!(takes(&path, &path) && !takes(&path, &format!("{path}a")));
        let any = "/".to_owned() + &"?".repeat(GLOB_BYTES_MAX - 1);
        assert!(takes(&any, &path) && !takes(&any, &format!("{path}a")) && !takes(&any, "/a"));
        assert_eq!(Glob::parse(&format!("{path}a")).unwrap_err().at, GLOB_BYTES_MAX);
        let stars = "/".to_owned() + &"*a".repeat((GLOB_BYTES_MAX - 1) / 2);
        assert!(takes(&stars, &path) && !takes(&stars, &"/a".repeat(1000)));
    }

    /// The wildcards as they are told, one after the other.
    fn naive(glob: &[u8], path: &[u8]) -> bool {
        match (glob, path) {
            ([b'*', b'*', glob @ ..], _) => (0..=path.len()).any(|taken| naive(glob, &path[taken..])),
            ([b'*', glob @ ..], _) => {
                let segment = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
                (0..=segment).any(|taken| naive(glob, &path[taken..]))
            }
            ([b'?', glob @ ..], [byte, path @ ..]) => *byte != b'/' && naive(glob, path),
            ([literal, glob @ ..], [byte, path @ ..]) => literal == byte && naive(glob, path),
            (glob, path) => glob.is_empty() && path.is_empty(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn as_the_naive_matcher(glob in "(/|\\*\\*)[ab/*?]{0,8}", path in "/[abc/]{0,10}") {
            prop_assert_eq!(Glob::of(&glob).takes(path.as_bytes()), naive(glob.as_bytes(), path.as_bytes()));
        }

        #[test]
        fn no_text_panics(glob in "\\PC{0,140}", path in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(glob) = Glob::parse(&glob) {
                glob.takes(&path);
            }
            is_ambiguous(&path);
        }
    }
}
