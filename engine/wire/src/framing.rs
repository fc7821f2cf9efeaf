//! The length of a body, decided once, before a byte of it is forwarded: RFC 9112 section 6.3 with every ambiguity refused.
//! One function for requests and one for responses, one branch for each rule; nothing else decides where a body ends.

use crate::chars::{decimal, is_token, list};
use crate::error::HeadErrorKind as Kind;
use crate::head::{Method, Version};

/// Where a body ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    #[default]
    None,
    /// After this many bytes, which may be 0.
    Length(u64),
    /// After the last chunk and the trailers (RFC 9112 section 7.1).
    Chunked,
    /// When the connection closes; responses only.
    UntilClose,
}

impl Framing {
    /// Whether no byte of a body follows.
    pub fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}

/// What a head's Content-Length and Transfer-Encoding fields say together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Evidence {
    length: Length,
    coding: Coding,
    /// The first field that spoke, for error offsets.
    offset: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Length {
    #[default]
    Absent,
    Once(u64),
    /// The same number more than once, in several fields or in a list.
    Agreeing(u64),
    Contradicting,
    Malformed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Coding {
    #[default]
    Absent,
    Chunked,
    /// `chunked` more than once, an empty list, parameters, or no token.
    Malformed,
    /// A coding that is not `chunked`.
    Unknown,
}

/// The body of a request (RFC 9112 section 6.3).
#[inline(always)]
pub(crate) fn of_request(version: Version, evidence: &Evidence) -> Result<Framing, Kind> {
    // Rule 7, for most requests.
    if !evidence.has_length() && !evidence.has_coding() {
        return Ok(Framing::None);
    }
    of_request_with_fields(version, evidence)
}

fn of_request_with_fields(version: Version, evidence: &Evidence) -> Result<Framing, Kind> {
    match (evidence.length, evidence.coding) {
        // Rule 3, read strictly: the message "might indicate an attempt to perform request smuggling".
        (length, coding) if length != Length::Absent && coding != Coding::Absent => Err(Kind::BothFramings),
        // Section 6.1: the framing of an HTTP/1.0 message with Transfer-Encoding is faulty.
        (_, coding) if coding != Coding::Absent && version == Version::Http10 => {
            Err(Kind::TransferEncodingInHttp10)
        }
        // Rule 4: a final coding other than chunked has no length; any other one we could not take off.
        (_, Coding::Unknown) => Err(Kind::UnknownTransferCoding),
        (_, Coding::Malformed) => Err(Kind::BadTransferEncoding),
        (_, Coding::Chunked) => Ok(Framing::Chunked),
        // Rule 5, without its exception for equal values.
        (Length::Malformed, _) => Err(Kind::BadContentLength),
        (Length::Agreeing(_) | Length::Contradicting, _) => Err(Kind::RepeatedContentLength),
        // Rule 6.
        (Length::Once(length), _) => Ok(Framing::Length(length)),
        // Rule 7.
        (Length::Absent, Coding::Absent) => Ok(Framing::None),
    }
}

/// The body of a response with `status` to a request with `method` (RFC 9112 section 6.3).
pub(crate) fn of_response(status: u16, method: Method, evidence: &Evidence) -> Result<Framing, Kind> {
    match (evidence.length, evidence.coding) {
        // Rule 1 for interim responses, whatever fields they carry.
        _ if matches!(status, 100..=199) => Ok(Framing::None),
        // Rule 4 and section 6.1: what is not understood cannot be passed on unchunked.
        (_, Coding::Unknown) => Err(Kind::UnknownTransferCoding),
        (_, Coding::Malformed) => Err(Kind::BadTransferEncoding),
        // Rule 5.
        (Length::Malformed, _) => Err(Kind::BadContentLength),
        (Length::Contradicting, _) => Err(Kind::ContradictingContentLength),
        // Rule 1.
        _ if method == Method::Head || matches!(status, 204 | 304) => Ok(Framing::None),
        // Rule 3: Transfer-Encoding overrides Content-Length.
        (_, Coding::Chunked) => Ok(Framing::Chunked),
        // Rules 5 and 6.
        (Length::Once(length) | Length::Agreeing(length), Coding::Absent) => Ok(Framing::Length(length)),
        // Rule 8.
        (Length::Absent, Coding::Absent) => Ok(Framing::UntilClose),
    }
}

impl Evidence {
    /// Adds the value of a Content-Length field that begins at `offset`.
    pub(crate) fn add_length(&mut self, value: &[u8], offset: u32) {
        self.note(offset);
        if let (Length::Absent, Some(length)) = (self.length, decimal(value)) {
            self.length = Length::Once(length);
            return;
        }
        for member in value.split(|&byte| byte == b',').map(crate::chars::trim) {
            self.length = self.length.and(decimal(member));
        }
    }

    /// Adds the value of a Transfer-Encoding field that begins at `offset`.
    pub(crate) fn add_coding(&mut self, value: &[u8], offset: u32) {
        self.note(offset);
        let coding =
            if value.eq_ignore_ascii_case(b"chunked") { Coding::Chunked } else { Coding::of_list(value) };
        self.coding = match (self.coding, coding) {
            (Coding::Absent, coding) => coding,
            (Coding::Unknown, _) | (_, Coding::Unknown) => Coding::Unknown,
            _ => Coding::Malformed,
        };
    }

    fn note(&mut self, offset: u32) {
        if self.length == Length::Absent && self.coding == Coding::Absent {
            self.offset = offset;
        }
    }

    /// Where the first of the fields stands.
    pub(crate) fn offset(&self) -> usize {
        self.offset as usize
    }

    /// The number that all Content-Lengths agree on.
    pub(crate) fn length(&self) -> Option<u64> {
        match self.length {
            Length::Once(length) | Length::Agreeing(length) => Some(length),
            Length::Absent | Length::Contradicting | Length::Malformed => None,
        }
    }

    pub(crate) fn has_length(&self) -> bool {
        self.length != Length::Absent
    }

    pub(crate) fn has_coding(&self) -> bool {
        self.coding != Coding::Absent
    }
}

impl Length {
    fn and(self, number: Option<u64>) -> Self {
        match (self, number) {
            (Self::Malformed, _) | (_, None) => Self::Malformed,
            (Self::Absent, Some(length)) => Self::Once(length),
            (Self::Once(known) | Self::Agreeing(known), Some(length)) if known == length => {
                Self::Agreeing(known)
            }
            _ => Self::Contradicting,
        }
    }
}

impl Coding {
    /// Reads a value that is not exactly `chunked`: it is refused in any case, and this says why.
    fn of_list(value: &[u8]) -> Self {
        let unknown = |coding: &[u8]| {
            let name = coding.split(|&byte| byte == b';').next().map(crate::chars::trim).unwrap_or_default();
            is_token(name) && !name.eq_ignore_ascii_case(b"chunked")
        };
        if list(value).any(unknown) { Self::Unknown } else { Self::Malformed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(lengths: &[&str], codings: &[&str]) -> Evidence {
        let mut evidence = Evidence::default();
        lengths.iter().for_each(|value| evidence.add_length(value.as_bytes(), 0));
        codings.iter().for_each(|value| evidence.add_coding(value.as_bytes(), 0));
        evidence
    }

    #[test]
    fn requests() {
        type Row<'a> = (&'a [&'a str], &'a [&'a str], Result<Framing, Kind>);
        let rows: &[Row<'_>] = &[
            (&[], &[], Ok(Framing::None)),
            (&["0"], &[], Ok(Framing::Length(0))),
            (&["007"], &[], Ok(Framing::Length(7))),
            (&["5", "5"], &[], Err(Kind::RepeatedContentLength)),
            (&["5, 5"], &[], Err(Kind::RepeatedContentLength)),
            (&["5", "6"], &[], Err(Kind::RepeatedContentLength)),
            (&["5,"], &[], Err(Kind::BadContentLength)),
            (&[""], &[], Err(Kind::BadContentLength)),
            (&["+5"], &[], Err(Kind::BadContentLength)),
            (&["9223372036854775808"], &[], Err(Kind::BadContentLength)),
            (&[], &["chunked"], Ok(Framing::Chunked)),
            (&[], &["Chunked"], Ok(Framing::Chunked)),
            (&["5"], &["chunked"], Err(Kind::BothFramings)),
            (&["x"], &["y"], Err(Kind::BothFramings)),
            (&[], &["chunked", "chunked"], Err(Kind::BadTransferEncoding)),
            (&[], &["chunked, chunked"], Err(Kind::BadTransferEncoding)),
            (&[], &[",chunked"], Err(Kind::BadTransferEncoding)),
            (&[], &["chunked;q=1"], Err(Kind::BadTransferEncoding)),
            (&[], &["\"chunked\""], Err(Kind::BadTransferEncoding)),
            (&[], &[""], Err(Kind::BadTransferEncoding)),
            (&[], &["xchunked"], Err(Kind::UnknownTransferCoding)),
            (&[], &["identity"], Err(Kind::UnknownTransferCoding)),
            (&[], &["chunked, identity"], Err(Kind::UnknownTransferCoding)),
            (&[], &["gzip, chunked"], Err(Kind::UnknownTransferCoding)),
            (&[], &["chunked", "gzip;q=1"], Err(Kind::UnknownTransferCoding)),
        ];
        for (lengths, codings, expected) in rows {
            let evidence = evidence(lengths, codings);
            assert_eq!(of_request(Version::Http11, &evidence), *expected, "{lengths:?} {codings:?}");
        }
        assert_eq!(
            of_request(Version::Http10, &evidence(&[], &["chunked"])),
            Err(Kind::TransferEncodingInHttp10)
        );
    }

    #[test]
    fn responses() {
        let both = evidence(&["5"], &["chunked"]);
        assert_eq!(of_response(200, Method::Get, &both), Ok(Framing::Chunked));
        assert_eq!(of_response(200, Method::Get, &evidence(&["5", "5, 5"], &[])), Ok(Framing::Length(5)));
        assert_eq!(of_response(200, Method::Get, &evidence(&[], &[])), Ok(Framing::UntilClose));
        for (status, method) in
            [(204, Method::Get), (304, Method::Get), (200, Method::Head), (101, Method::Get)]
        {
            assert_eq!(of_response(status, method, &both), Ok(Framing::None), "{status} {method:?}");
        }
        assert_eq!(of_response(100, Method::Get, &evidence(&["x"], &["gzip"])), Ok(Framing::None));
        assert_eq!(
            of_response(304, Method::Get, &evidence(&["5", "6"], &[])),
            Err(Kind::ContradictingContentLength)
        );
        assert_eq!(of_response(200, Method::Get, &evidence(&["5,"], &[])), Err(Kind::BadContentLength));
        assert_eq!(
            of_response(200, Method::Get, &evidence(&[], &["gzip"])),
            Err(Kind::UnknownTransferCoding)
        );
    }
}
