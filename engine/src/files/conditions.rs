//! What a request says about the version of a file that it wants, and about the part of it (RFC 9110 sections 13 and 14).

use std::time::UNIX_EPOCH;

use ringway_wire::{Field, FieldName};

use super::range::{self, Ranges};
use super::validators::Validators;

/// The fields that are looked at, in lower case.
const RANGE: &str = "range";
const IF_MATCH: &str = "if-match";
const IF_RANGE: &str = "if-range";
const IF_NONE_MATCH: &str = "if-none-match";
const ACCEPT_ENCODING: &str = "accept-encoding";
const IF_MODIFIED_SINCE: &str = "if-modified-since";
const IF_UNMODIFIED_SINCE: &str = "if-unmodified-since";

/// The fields of a request.
#[derive(Clone, Copy)]
pub(super) struct Conditions<'h> {
    fields: &'h [Field],
    bytes: &'h [u8],
    /// Most requests have none of those that say on which conditions they are made, or a range.
    any: bool,
}

/// What is sent of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The whole.
    Whole,
    /// These parts: one, or several.
    Parts(Ranges),
    /// The client has this version.
    NotModified,
    /// A condition does not hold.
    Failed,
    /// The parts that are asked for are not there.
    Unsatisfiable,
}

impl<'h> Conditions<'h> {
    /// `bytes` are those of the head that `fields` are of.
    pub(super) fn new(fields: &'h [Field], bytes: &'h [u8]) -> Self {
        let of = |field: &Field| {
            let is = |name: &str| field.name_span.of(bytes).eq_ignore_ascii_case(name.as_bytes());
            match field.name_span.len() {
                5 => is(RANGE),
                8 => is(IF_MATCH) || is(IF_RANGE),
                13 => is(IF_NONE_MATCH),
                17 => is(IF_MODIFIED_SINCE),
                19 => is(IF_UNMODIFIED_SINCE),
                _ => false,
            }
        };
        let any = fields.iter().any(|field| field.name == FieldName::Other && of(field));
        Self { fields, bytes, any }
    }

    /// The lines of Accept-Encoding.
    pub(super) fn accept_encoding(&self) -> impl Iterator<Item = &'h [u8]> {
        self.lines(ACCEPT_ENCODING)
    }

    /// What to send of a file that has these validators and is `length` bytes long. Section 13.2.2 has the order. `ranges`: the
    /// method knows them, which is GET alone.
    pub(super) fn judge(&self, of: &Validators, length: u64, ranges: bool) -> Verdict {
        if !self.any {
            return Verdict::Whole;
        }
        if self.has(IF_MATCH) {
            if !self.lines(IF_MATCH).any(|line| lists(line, of, Comparison::Strong)) {
                return Verdict::Failed;
            }
        } else if let Some((date, modified)) = self.date(IF_UNMODIFIED_SINCE).zip(of.modified_s)
            && modified > date
        {
            return Verdict::Failed;
        }
        if self.has(IF_NONE_MATCH) {
            if self.lines(IF_NONE_MATCH).any(|line| lists(line, of, Comparison::Weak)) {
                return Verdict::NotModified;
            }
        } else if let Some((date, modified)) = self.date(IF_MODIFIED_SINCE).zip(of.modified_s)
            && modified <= date
        {
            return Verdict::NotModified;
        }
        match self.only(RANGE) {
            Some(range) if ranges && self.range_is_of(of) => match range::read(range, length) {
                Ranges::Ignored => Verdict::Whole,
                Ranges::Unsatisfiable => Verdict::Unsatisfiable,
                parts => Verdict::Parts(parts),
            },
            _ => Verdict::Whole,
        }
    }

    /// Whether If-Range, where there is one, names this very version (section 13.1.5). A date never does: the file may have changed
    /// twice within its second. Whoever has one has a tag as well, since every file is sent with one.
    fn range_is_of(&self, of: &Validators) -> bool {
        if !self.has(IF_RANGE) {
            return true;
        }
        match self.only(IF_RANGE) {
            Some(tag @ [b'"', ..]) => lists(tag, of, Comparison::Strong),
            _ => false,
        }
    }

    fn lines(&self, name: &'static str) -> impl Iterator<Item = &'h [u8]> {
        let bytes = self.bytes;
        let named = move |field: &&Field| {
            field.name_span.len() == name.len()
                && field.name_span.of(bytes).eq_ignore_ascii_case(name.as_bytes())
        };
        self.fields.iter().filter(named).map(move |field| field.value.of(bytes))
    }

    fn has(&self, name: &'static str) -> bool {
        self.lines(name).next().is_some()
    }

    /// The value of a field that stands there once.
    fn only(&self, name: &'static str) -> Option<&'h [u8]> {
        let mut lines = self.lines(name);
        lines.next().filter(|_| lines.next().is_none())
    }

    /// The date that a field has, in seconds since 1970; `None` for what is no date, or is more than one.
    fn date(&self, name: &'static str) -> Option<u64> {
        let date = httpdate::parse_http_date(std::str::from_utf8(self.only(name)?).ok()?).ok()?;
        date.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
    }
}

/// How tags are compared (section 8.8.3.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// Both are strong.
    Strong,
    Weak,
}

/// Whether a list of tags has that of a file, or is `*`. What follows something that is no tag does not count.
fn lists(list: &[u8], of: &Validators, comparison: Comparison) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    while let Some((tag, weak, behind)) = first_tag(rest) {
        if tag == of.tag.as_bytes() && (comparison == Comparison::Weak || (of.strong && !weak)) {
            return true;
        }
        rest = behind;
    }
    false
}

/// The first tag of a list with its quotes, whether it is weak, and what stands behind it.
fn first_tag(list: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let start = list.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
    let list = list.get(start..)?;
    let (weak, tag) = list.strip_prefix(b"W/").map_or((false, list), |tag| (true, tag));
    let opaque = tag.strip_prefix(b"\"")?;
    let end = opaque.iter().position(|&byte| byte == b'"')? + 2;
    Some((tag.get(..end)?, weak, tag.get(end..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_wire::{Limits, Progress, RequestHead};

    const DATE: &str = "Tue, 14 Nov 2023 21:13:20 GMT";
    const EARLIER: &str = "Tue, 14 Nov 2023 21:13:19 GMT";
    const LATER: &str = "Tue, 14 Nov 2023 21:13:21 GMT";
    const LENGTH: u64 = 1000;

    fn file(strong: bool) -> Validators {
        Validators { tag: "\"a,b\"".into(), modified_s: Some(1_699_996_400), strong }
    }

    fn judged(fields: &str, of: &Validators) -> Verdict {
        let mut bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes();
        let mut head = RequestHead::new();
        assert!(matches!(head.read(&mut bytes, &Limits::default()), Ok(Progress::Done(_))), "{fields}");
        Conditions::new(&head.fields, &bytes).judge(of, LENGTH, true)
    }

    fn check(fields: &str, strong: Verdict, weak: Verdict) {
        assert_eq!(judged(fields, &file(true)), strong, "strong: {fields}");
        assert_eq!(judged(fields, &file(false)), weak, "weak: {fields}");
    }

    #[test]
    fn tags_are_compared_as_the_rfc_says() {
        use Verdict::{Failed, NotModified, Whole};
        for (fields, strong, weak) in [
            ("", Whole, Whole),
            ("If-None-Match: \"a,b\"\r\n", NotModified, NotModified),
            ("if-none-match: W/\"a,b\"\r\n", NotModified, NotModified),
            ("If-None-Match: *\r\n", NotModified, NotModified),
            ("If-None-Match: \"x\" , W/\"y\",,\"a,b\"\r\n", NotModified, NotModified),
            ("If-None-Match: \"x\"\r\nIf-None-Match: \"a,b\"\r\n", NotModified, NotModified),
            ("If-None-Match: \"a\", \"b\"\r\n", Whole, Whole),
            ("If-None-Match: a,b\r\n", Whole, Whole),
            ("If-None-Match: \r\n", Whole, Whole),
            ("If-None-Match: \"x\", y, \"a,b\"\r\n", Whole, Whole),
            ("If-None-Match: \"a,b\r\n", Whole, Whole),
            ("If-Match: \"a,b\"\r\n", Whole, Failed),
            ("If-Match: W/\"a,b\"\r\n", Failed, Failed),
            ("If-Match: *\r\n", Whole, Whole),
            ("If-Match: \"x\", \"a,b\"\r\n", Whole, Failed),
            ("If-Match: \"x\"\r\n", Failed, Failed),
            ("If-Match: \r\n", Failed, Failed),
        ] {
            check(fields, strong, weak);
        }
    }

    #[test]
    fn dates_count_where_no_tag_does() {
        use Verdict::{Failed, NotModified, Whole};
        for (fields, verdict) in [
            (format!("If-Modified-Since: {DATE}\r\n"), NotModified),
            (format!("If-Modified-Since: {LATER}\r\n"), NotModified),
            (format!("If-Modified-Since: {EARLIER}\r\n"), Whole),
            ("If-Modified-Since: Tuesday, 14-Nov-23 21:13:20 GMT\r\n".into(), NotModified),
            ("If-Modified-Since: Tue Nov 14 21:13:20 2023\r\n".into(), NotModified),
            ("If-Modified-Since: yesterday\r\n".into(), Whole),
            (format!("If-Modified-Since: {DATE}\r\nIf-Modified-Since: {DATE}\r\n"), Whole),
            (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {DATE}\r\n"), Whole),
            (format!("If-None-Match: \"a,b\"\r\nIf-Modified-Since: {EARLIER}\r\n"), NotModified),
            (format!("If-Unmodified-Since: {DATE}\r\n"), Whole),
            (format!("If-Unmodified-Since: {EARLIER}\r\n"), Failed),
            ("If-Unmodified-Since: never\r\n".into(), Whole),
            (format!("If-Match: *\r\nIf-Unmodified-Since: {EARLIER}\r\n"), Whole),
            (format!("If-Unmodified-Since: {EARLIER}\r\nIf-None-Match: \"a,b\"\r\n"), Failed),
        ] {
            check(&fields, verdict.clone(), verdict);
        }
        let timeless = Validators { modified_s: None, ..file(true) };
        for field in ["If-Modified-Since", "If-Unmodified-Since"] {
            assert_eq!(judged(&format!("{field}: {EARLIER}\r\n"), &timeless), Whole);
        }
    }

    #[test]
    fn a_part_is_sent_of_the_version_that_was_meant() {
        use Verdict::{Failed, NotModified, Unsatisfiable, Whole};
        let part = || Verdict::Parts(Ranges::One(0..10));
        for (fields, strong, weak) in [
            ("Range: bytes=0-9\r\n".into(), part(), part()),
            ("Range: bytes=0-9\r\nRange: bytes=0-9\r\n".into(), Whole, Whole),
            ("Range: lines=0-9\r\n".into(), Whole, Whole),
            ("Range: bytes=1000-\r\n".into(), Unsatisfiable, Unsatisfiable),
            ("Range: bytes=0-9\r\nIf-Range: \"a,b\"\r\n".into(), part(), Whole),
            ("Range: bytes=0-9\r\nIf-Range: W/\"a,b\"\r\n".into(), Whole, Whole),
            ("Range: bytes=0-9\r\nIf-Range: \"x\"\r\n".into(), Whole, Whole),
            ("Range: bytes=1000-\r\nIf-Range: \"x\"\r\n".into(), Whole, Whole),
            (format!("Range: bytes=0-9\r\nIf-Range: {DATE}\r\n"), Whole, Whole),
            (format!("Range: bytes=0-9\r\nIf-Range: {LATER}\r\n"), Whole, Whole),
            ("Range: bytes=0-9\r\nIf-Range: \r\n".into(), Whole, Whole),
            ("Range: bytes=0-9\r\nIf-Range: \"a,b\"\r\nIf-Range: \"a,b\"\r\n".into(), Whole, Whole),
            ("Range: bytes=0-9\r\nIf-None-Match: \"a,b\"\r\n".into(), NotModified, NotModified),
            ("Range: bytes=0-9\r\nIf-Match: \"x\"\r\n".into(), Failed, Failed),
            ("If-Range: \"a,b\"\r\n".into(), Whole, Whole),
        ] {
            check(&fields, strong, weak);
        }
    }

    #[test]
    fn other_methods_know_no_parts() {
        let mut bytes = b"HEAD / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n".to_vec();
        let mut head = RequestHead::new();
        assert!(matches!(head.read(&mut bytes, &Limits::default()), Ok(Progress::Done(_))));
        let judged = Conditions::new(&head.fields, &bytes).judge(&file(true), LENGTH, false);
        assert_eq!(judged, Verdict::Whole);
    }
}
