//! Rewrites and locations as a whole: the rows of the specification, an ECMAScript engine with a naive expansion, and what a
//! request might try.

use proptest::prelude::*;

use super::*;
use crate::pattern::{self, Regex};

pub(super) fn regex(source: &str) -> Regex {
    Regex::parse(source).unwrap_or_else(|fault| panic!("{source}: {fault:?}"))
}

fn compiled(source: &str, template: &str) -> Rewrite {
    Rewrite::compile(template, Some(&regex(source)), &mut GroupsCache::default())
        .unwrap_or_else(|fault| panic!("{template}: {fault:?}"))
}

fn rewritten(source: &str, template: &str, path: &str) -> Result<String, BadRewrite> {
    let mut out = b"before".to_vec();
    let written = compiled(source, template).write(path.as_bytes(), &mut GroupScratch::default(), &mut out);
    let text = String::from_utf8(out).expect("paths are ASCII");
    if written.is_err() {
        assert_eq!(text, "before");
    }
    written.map(|()| text.strip_prefix("before").expect("appended").to_owned())
}

fn location(source: Option<&str>, to: &str) -> Result<Location, TemplateFault> {
    Location::compile(to, source.map(regex).as_ref(), &mut GroupsCache::default())
}

fn redirected(
    source: Option<&str>,
    to: &str,
    path: &[u8],
    query: Option<&[u8]>,
) -> Result<String, BadRewrite> {
    let mut out = b"before".to_vec();
    let location = location(source, to).unwrap_or_else(|fault| panic!("{to}: {fault:?}"));
    let written = location.write(path, query, &mut GroupScratch::default(), &mut out);
    let text = String::from_utf8(out).expect("URLs are ASCII");
    if written.is_err() {
        assert_eq!(text, "before");
    }
    written.map(|()| text.strip_prefix("before").expect("appended").to_owned())
}

#[test]
fn the_rows_of_the_specification() {
    for (pattern, template, path, sent) in [
        ("^/api(/.*)?$", "/api$1", "/api/users", "/api/users"),
        ("^/backend(/.*)?$", "$1", "/backend/users", "/users"),
        ("^/backend(/.*)?$", "$1", "/backend", "/"),
        ("^/api(/.*)?$", "/v2/api$1", "/api/users", "/v2/api/users"),
        (r"^/v(\d+)/api(/.*)?$", "/version/$1$2", "/v1/api/data", "/version/1/data"),
        ("^/auth(/.*)?$", "$1", "/auth//evil.com/x", "//evil.com/x"),
        ("^/a/(.*)$", "/x/$1", "/a/$2", "/x/$2"),
        ("^/a/(.*)$", "/x/$1", "/a/%0d%0a", "/x/%0d%0a"),
        (r"^/(.)(.*)$", "/$10/${1}"[..4].into(), "/ab", "/a0"),
        ("^/(?<tenant>[^/]+)/(a|b)(/.*)?$", "${tenant}-$2$3", "/t/a/x", "/t-a/x"),
        ("^/x", "/y", "/x/z", "/y"),
        ("^/(a)?", "$1", "/b", "/"),
        ("^/(.*)$", "*$1", "/b", "/*b"),
    ] {
        assert_eq!(rewritten(pattern, template, path).as_deref(), Ok(sent), "{pattern} {template} {path}");
    }
}

#[test]
fn what_a_group_took_changes_nothing_but_its_place() {
    let long = "$1".repeat(4 << 10);
    for taken in [
        "$2",
        "$1",
        "$$",
        "$&",
        "${a}",
        "%0d%0a",
        "//evil.com",
        "..%2f",
        "%2e%2e%2f",
        "\\\\evil",
        "a;b=c",
        &long,
    ] {
        let path = format!("/a/{taken}");
        assert_eq!(rewritten("^/a/(.*)$", "/x/$1/y", &path).as_deref(), Ok(&*format!("/x/{taken}/y")));
        assert_eq!(rewritten("/a/(.*)$", "/x$1$1", &path).as_deref(), Ok(&*format!("/x{taken}{taken}")));
    }
}

#[test]
fn results_that_are_no_path_are_refused() {
    let malformed = BadRewrite::Malformed(HeadErrorKind::BadPercentEscape);
    for (pattern, template, path, expected) in [
        ("^/(.*)$", "/$1.", "/a/.", BadRewrite::DotSegments),
        ("^/(.*)$", "/.$1/b", "/.", BadRewrite::DotSegments),
        ("^/(.*)$", "/.$1/b", "/", BadRewrite::DotSegments),
        ("^/(.*)$", "/a/%2$1", "/e", BadRewrite::DotSegments),
        ("^/(.).(.)", "/$1$2", "/.-./a", BadRewrite::DotSegments),
        ("^/(..)", "/$1", "/%41", malformed),
        ("^/(.*)$", "/%$1", "/x", malformed),
        ("^/(.*)$", "/%4$1", "/", malformed),
        ("^/a(b)$", "/$1", "/c", BadRewrite::Unmatched),
    ] {
        assert_eq!(rewritten(pattern, template, path), Err(expected), "{pattern} {template} {path}");
    }
}

#[test]
fn a_result_has_a_bound() {
    let half = REWRITTEN_PATH_BYTES_MAX / 2;
    let path = format!("/{}", "a".repeat(half));
    assert_eq!(rewritten("^(.*)$", "$1$1", &path[..half]).map(|sent| sent.len()), Ok(2 * half));
    assert_eq!(rewritten("^(.*)$", "$1$1", &path), Err(BadRewrite::TooLong));
    assert_eq!(redirected(Some("^(.*)$"), "$1#$1", path.as_bytes(), None), Err(BadRewrite::TooLong));
    let literal = format!("/{}", "a".repeat(2 * half));
    assert!(Rewrite::compile(&literal[1..], None, &mut GroupsCache::default()).is_ok());
    assert!(Rewrite::compile(&literal, None, &mut GroupsCache::default()).is_err());
    assert!(location(None, &literal).is_err());
}

#[test]
fn a_rule_without_a_pattern_has_a_template_without_groups() {
    let rewrite = Rewrite::compile("x/$$y", None, &mut GroupsCache::default()).unwrap();
    let mut out = Vec::new();
    rewrite.write(b"/a", &mut GroupScratch::default(), &mut out).unwrap();
    assert_eq!(out, b"/x/$y");
    assert!(Rewrite::compile("$1", None, &mut GroupsCache::default()).is_err());
}

#[test]
fn a_pattern_too_large_for_groups_is_refused_only_when_they_are_used() {
    let large = regex(&format!("(a)({})", "x{1000}".repeat(20)));
    let fault = Rewrite::compile("/$1", Some(&large), &mut GroupsCache::default()).unwrap_err();
    assert!(fault.fault.message.contains("too large"), "{fault:?}");
    assert!(Rewrite::compile("/x", Some(&large), &mut GroupsCache::default()).is_ok());
}

#[test]
fn locations() {
    for (pattern, to, path, query, expected) in [
        (None, "/new", "/old", None, "/new"),
        (None, "/new", "/old", Some("a=b"), "/new?a=b"),
        (None, "/new", "/old", Some(""), "/new?"),
        (None, "/new?x", "/old", Some("a=b"), "/new?x"),
        (None, "/new#f", "/old", Some("a=b"), "/new?a=b#f"),
        (None, "/new#f?x", "/old", Some("a=b"), "/new?a=b#f?x"),
        (None, "/new${path}", "/old", Some("a"), "/new/old?a"),
        (None, "${path}#x", "/old", Some("a"), "/old?a#x"),
        (None, "HTTPS://H.Example:8443${path}", "/old", Some("a"), "https://h.example:8443/old?a"),
        (None, "http://bücher.example", "/old", Some("a"), "http://xn--bcher-kva.example/?a"),
        (None, "https://h:?x", "/old", None, "https://h/?x"),
        (None, "https://[0::1]:8/", "/old", None, "https://[::1]:8/"),
        (None, "https://h/a?u=http://x", "/old", None, "https://h/a?u=http://x"),
        (None, "/login?to=${path}", "/a;b", Some("q"), "/login?to=/a;b"),
        (Some("^/(.*)$"), "https://h$1", "/@evil.com", None, "https://h/@evil.com"),
        (Some("^/(.*)$"), "https://h$1", "/:80/x", None, "https://h/:80/x"),
        (Some("^/(.*)$"), "https://h$1", "//x", None, "https://h/x"),
        (Some("^/(.*)$"), "https://h$1/$1#$1", "/a", Some("q"), "https://h/a/a?q#a"),
        (Some("^/o(/.*)?$"), "https://h$1?x", "/o", None, "https://h/?x"),
        (Some("^/o(/.*)?$"), "$1", "/o/a", None, "/a"),
        (Some("^/o(?<path>/.*)?$"), "/n${path}", "/o/a", None, "/n/a"),
        (Some("^/(.*)$"), "/x/$1$$1", "/$1\"<>[]\\^`{|}", None, "/x/$1%22%3C%3E%5B%5D%5C%5E%60%7B%7C%7D$1"),
        (Some("^/(.*)$"), "/$1", "/\\evil.com", None, "/%5Cevil.com"),
        (Some("^/(..)(.*)$"), "/$1$2", "/a%41", None, "/a%41"),
        (None, "/n", "/o", Some("100%&a=%41&b=[c]?\"%4"), "/n?100%25&a=%41&b=%5Bc%5D?%22%254"),
    ] {
        let got = redirected(pattern, to, path.as_bytes(), query.map(str::as_bytes));
        assert_eq!(got.as_deref(), Ok(expected), "{pattern:?} {to} {path}");
    }
}

#[test]
fn locations_that_a_request_spoils_are_refused() {
    let malformed = BadRewrite::Malformed(HeadErrorKind::BadPercentEscape);
    for (pattern, to, path, expected) in [
        ("^/(.*)$", "/$1", "//evil.com", BadRewrite::OtherHost),
        ("^/a(.*)$", "$1", "/a//evil.com", BadRewrite::OtherHost),
        ("^(/?)a?(.*)$", "$1$2", "/a/evil.com", BadRewrite::OtherHost),
        ("^/(.*)$", "/a/.$1/b", "/.", BadRewrite::DotSegments),
        ("^/(..)", "/$1", "/%41", malformed),
        ("^/(..)", "/?$1", "/%41", malformed),
        ("^/(..)", "/#$1", "/%41", malformed),
        ("^/(b)", "/#$1", "/a", BadRewrite::Unmatched),
    ] {
        assert_eq!(
            redirected(Some(pattern), to, path.as_bytes(), None),
            Err(expected),
            "{pattern} {to} {path}"
        );
    }
}

#[test]
fn what_is_no_location_is_refused_with_a_hint() {
    for (to, at, part) in [
        ("", 0, "\"https://host/path\""),
        ("new", 0, "\"/new\""),
        ("example.com/x", 0, "\"https://example.com/x\""),
        ("//evil.com/x", 0, "\"https://evil.com/x\""),
        ("\\\\evil", 0, "\"https://host/path\""),
        ("/\\evil", 1, "`%5C`"),
        ("/${path}", 1, "leave out the `/`"),
        ("ftp://h/", 0, "no scheme for a redirect"),
        ("javascript:alert(1)", 0, "http or https URL"),
        ("$1://h/", 0, "cannot stand in the scheme"),
        ("https://$1/x", 8, "cannot stand in the host"),
        ("https://$1", 8, "cannot stand in the host"),
        ("https://h.$1.example/x", 10, "cannot stand in the host"),
        ("https://h${path}.example", 9, "cannot stand in the host"),
        ("https://h:$1/x", 10, "cannot stand in the host"),
        ("https://h$$", 9, "cannot stand in the host"),
        ("https://u@h/", 8, "no user and password"),
        ("https://h:0/", 8, "from 1 to 65535"),
        ("https://h:+1/", 8, "from 1 to 65535"),
        ("https:///x", 8, "no host name"),
        ("https://127.1/", 8, "neither an IPv4 address"),
        ("https://h/a b", 11, "`%20`"),
        ("https://h/$9", 10, "no group 9"),
    ] {
        let fault = location(Some("^/(.*)$"), to).expect_err(to);
        let told = format!("{}; {}", fault.fault.message, fault.fault.help.unwrap_or_default());
        assert!(fault.at == at && told.contains(part), "{to}: {} {told}", fault.at);
    }
}

/// Even if it is one that no path has.
#[test]
fn no_byte_of_a_request_leaves_its_place_in_a_location() {
    for byte in 0..=u8::MAX {
        let sent = [b'/', b'a', byte, b'b'];
        for to in ["https://h.example:81$1", "/x$1?$1#$1", "/x?${path}", "${path}", "/x"] {
            let url = match redirected(Some("^(.*)$"), to, &sent, Some(&sent)) {
                Ok(url) => url,
                Err(BadRewrite::Malformed(_)) if byte == b'%' => continue,
                Err(BadRewrite::Unmatched) if !matches!(byte, 0x21..0x7F) => continue,
                Err(refused) => panic!("{byte} {to} {refused}"),
            };
            let allowed = |byte| matches!(byte, b'%' | b'?' | b'#') || escape::is_uri_byte(byte);
            assert!(url.bytes().all(allowed), "{url}");
            assert_eq!(url.starts_with("https://h.example:81/"), to.starts_with("https"), "{url}");
            assert_eq!(url.matches('#').count(), to.matches('#').count(), "{url}");
        }
    }
}

/// `template` with the groups that an ECMAScript engine finds in `path`; `None` where it finds no match.
fn naively(source: &str, template: &str, path: &str) -> Option<String> {
    let found = regress::Regex::new(source).expect("a pattern").find(path)?;
    let count = found.captures.len();
    let group = |number: usize| found.group(number).map_or("", |span| &path[span]);
    let mut result = String::new();
    let mut rest = template;
    while let Some((before, reference)) = rest.split_once('$') {
        result += before;
        let digits = |length: usize| reference.get(..length).and_then(|digits| digits.parse::<usize>().ok());
        let taken = [2, 1].into_iter().find(|length| digits(*length).is_some_and(|number| number <= count));
        if let Some(length) = taken {
            result += group(digits(length).expect("digits"));
            rest = &reference[length..];
        } else {
            assert_eq!(&reference[..1], "$");
            result += "$";
            rest = &reference[1..];
        }
    }
    result += rest;
    Some(if result.starts_with('/') { result } else { format!("/{result}") })
}

/// One to twelve groups, none of them inside a repetition, with and without `^` and `$`.
fn patterns() -> impl Strategy<Value = String> {
    let atom = prop::sample::select(vec![
        "a", "b", "/", "%", r"\.", "[^/]", ".", r"\d", "[ab]", "a*", "b+", ".*", ".*?", "[^/]+", "/?",
        r"\d+?", "a??", r"\b", "(?:/a|b)",
    ]);
    let inner = prop::collection::vec(atom.clone(), 1..4).prop_map(|atoms| atoms.concat());
    let group = (inner.clone(), prop::option::of(inner.clone()), prop::sample::select(vec!["", "?", "??"]))
        .prop_map(|(one, other, many)| match other {
            Some(other) => format!("({one}|{other}){many}"),
            None => format!("({one}){many}"),
        });
    let part = prop_oneof![atom.prop_map(str::to_owned), group.clone(), group];
    (any::<bool>(), prop::collection::vec(part, 1..14), any::<bool>()).prop_map(|(begins, parts, ends)| {
        format!("{}{}{}", if begins { "^" } else { "" }, parts.concat(), if ends { "$" } else { "" })
    })
}

fn paths() -> impl Strategy<Value = String> {
    let piece =
        prop::sample::select(vec!["a", "b", "/", "/a", "/b", "1", "22", ".", "%41", "%2e", "$1", "$$", "ab"]);
    let path = prop::collection::vec(piece, 0..10).prop_map(|pieces| format!("/{}", pieces.concat()));
    path.prop_filter("normalised", |path| pattern::check_path(path).is_ok())
}

fn templates() -> impl Strategy<Value = String> {
    let piece =
        prop::sample::select(vec!["/", "x", ".", "0", "$$", "$1", "$2", "$3", "$10", "$11", "%2", "%41"]);
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_result_is_the_naive_expansion_of_an_ecmascript_match(
        source in patterns(),
        template in templates(),
        path in paths(),
    ) {
        let Ok(rewrite) = Rewrite::compile(&template, Some(&regex(&source)), &mut GroupsCache::default()) else {
            return Ok(());
        };
        let mut out = Vec::new();
        let written = rewrite.write(path.as_bytes(), &mut GroupScratch::default(), &mut out);
        match naively(&source, &template, &path) {
            None if template.replace("$$", "").contains('$') => prop_assert_eq!(written, Err(BadRewrite::Unmatched)),
            None => {}
            Some(naive) if pattern::check_path(&naive).is_ok() => {
                prop_assert_eq!(written, Ok(()));
                prop_assert_eq!(out, naive.as_bytes());
            }
            Some(_) => prop_assert!(written.is_err() && out.is_empty()),
        }
    }

    #[test]
    fn templates_are_read_or_refused_and_never_panic(text in "\\PC{0,12}", tail in "[$0-9{}a<&%./?#:@]{0,12}") {
        let text = text + &tail;
        let pattern = regex("^/(a)(?<a>b)");
        for text in [text.clone(), format!("https://{text}"), format!("https://h{text}"), format!("/{text}")] {
            for fault in [
                Rewrite::compile(&text, Some(&pattern), &mut GroupsCache::default()).err(),
                Location::compile(&text, Some(&pattern), &mut GroupsCache::default()).err(),
            ].into_iter().flatten() {
                prop_assert!(text.is_char_boundary(fault.at) && fault.at <= text.len(), "{} {:?}", text, fault);
            }
        }
    }

    #[test]
    fn a_location_leads_where_it_was_written_to(
        source in patterns(),
        path in paths(),
        front in templates(),
        query in prop::option::of("[!-\"$-~]{0,12}"),
    ) {
        // Digits would go on with the port.
        let joint = if front.starts_with(|c: char| c.is_ascii_digit()) { "/" } else { "" };
        let absolute = format!("https://h:81{joint}{front}");
        for (origin, to) in [("https://h:81", absolute), ("", front.clone()), ("", format!("/{front}"))] {
            let Ok(location) = location(Some(&source), &to) else { continue };
            let mut out = Vec::new();
            if location.write(path.as_bytes(), query.as_ref().map(String::as_bytes), &mut GroupScratch::default(), &mut out).is_ok() {
                let rest = out.strip_prefix(origin.as_bytes()).expect("the origin as written");
                prop_assert!(rest.starts_with(b"/") && (!origin.is_empty() || !rest.starts_with(b"//")), "{:?}", out);
                prop_assert!(rest.iter().all(|byte| matches!(byte, b'%' | b'?') || escape::is_uri_byte(*byte)));
            }
        }
    }
}
