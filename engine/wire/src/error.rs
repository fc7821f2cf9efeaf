//! What may be wrong with a head or a body: small `Copy` errors of a kind and a place. They speak of bytes and rules, never
//! of statuses: the engine maps kinds to answers.

use std::fmt;

/// A head that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadError {
    /// The rule that was broken.
    pub kind: HeadErrorKind,
    /// Where: an offset into the buffer that was read.
    pub offset: u32,
}

/// A body that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyError {
    /// The rule that was broken.
    pub kind: BodyErrorKind,
    /// Where: an offset into the buffer of the read that found it.
    pub offset: u32,
}

macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident => $detail:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every kind, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The kind's name in error answers and logs.
            pub const fn detail(self) -> &'static str {
                match self { $(Self::$variant => $detail,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(self.detail())
            }
        }
    };
}

kinds! {
    /// The rules of RFC 9112 and of Ringway's stricter reading that a head may break.
    HeadErrorKind {
        /// An LF without a CR before it (RFC 9112 section 2.2).
        BareLf => "bare_lf",
        /// A CR without an LF after it (RFC 9112 section 2.2).
        BareCr => "bare_cr",
        /// NUL, another byte below 0x20, or DEL (RFC 9110 section 5.5).
        ControlByte => "control_byte",
        /// More than two empty lines before a request line (RFC 9112 section 2.2 asks for at least one).
        TooManyEmptyLines => "too_many_empty_lines",

        /// The method is no token (RFC 9110 section 9.1).
        BadMethod => "bad_method",
        /// CONNECT, which asks for a tunnel that a reverse proxy does not give (RFC 9110 section 9.3.6).
        ConnectMethod => "connect_method",
        /// A request line without a target (RFC 9112 section 3).
        BadRequestLine => "bad_request_line",
        /// A request line without a version, as HTTP/0.9 had it.
        MissingVersion => "missing_version",
        /// A version that is not spelt `HTTP/DIGIT.DIGIT`, or an HTTP/1 minor version other than 0 and 1.
        BadVersion => "bad_version",
        /// A well-formed version of another major number.
        VersionNotSupported => "version_not_supported",
        /// The request line is over its bound.
        RequestLineTooLong => "request_line_too_long",

        /// A space or a byte over 0x7E in the target (RFC 9112 section 3.2).
        BadTargetByte => "bad_target_byte",
        /// A fragment, which is no part of a request-target (RFC 9110 section 7.1).
        TargetFragment => "target_fragment",
        /// No form of RFC 9112 section 3.2: no path, a scheme other than http and https, `*` without OPTIONS.
        BadTargetForm => "bad_target_form",
        /// The authority of an absolute-form target is none.
        BadTargetAuthority => "bad_target_authority",
        /// A userinfo part in an authority (RFC 9110 section 4.2.4).
        Userinfo => "userinfo",
        /// A `%` in the path without two hexadecimal digits (RFC 3986 section 2.1).
        BadPercentEscape => "bad_percent_escape",
        /// Dot segments that climb above the root (RFC 3986 section 5.2.4).
        PathAboveRoot => "path_above_root",

        /// A status line that is not `HTTP/1.0|1.1 SP 3DIGIT` with 100 to 999 (RFC 9112 section 4).
        BadStatusLine => "bad_status_line",

        /// White space before the first field (RFC 9112 section 2.2).
        SpaceBeforeFirstField => "space_before_first_field",
        /// A line that begins with white space: obs-fold (RFC 9112 section 5.2).
        FoldedLine => "folded_line",
        /// White space between a field's name and its colon (RFC 9112 section 5.1).
        SpaceBeforeColon => "space_before_colon",
        /// A field line that begins with its colon.
        EmptyFieldName => "empty_field_name",
        /// A field name that is no token (RFC 9110 section 5.1).
        BadFieldName => "bad_field_name",
        /// A field line without a colon.
        MissingColon => "missing_colon",
        /// The head is over its bound.
        HeadTooLong => "head_too_long",
        /// More fields than the bound.
        TooManyFields => "too_many_fields",
        /// More connection options than any client sends: each is compared with every field.
        TooManyConnectionOptions => "too_many_connection_options",

        /// No Host in HTTP/1.1 (RFC 9112 section 3.2).
        MissingHost => "missing_host",
        /// More than one Host (RFC 9112 section 3.2).
        RepeatedHost => "repeated_host",
        /// A Host that is no `host [":" port]` (RFC 9112 section 3.2).
        BadHost => "bad_host",

        /// Both Content-Length and Transfer-Encoding in a request (RFC 9112 section 6.1).
        BothFramings => "content_length_and_transfer_encoding",
        /// A Content-Length that is no number of 63 bits (RFC 9110 section 8.6).
        BadContentLength => "bad_content_length",
        /// More than one Content-Length, or a list, in a request (RFC 9110 section 8.6).
        RepeatedContentLength => "repeated_content_length",
        /// Content-Lengths of a response that differ (RFC 9112 section 6.3).
        ContradictingContentLength => "contradicting_content_length",
        /// Transfer-Encoding in an HTTP/1.0 request (RFC 9112 section 6.1).
        TransferEncodingInHttp10 => "transfer_encoding_in_http_1_0",
        /// A Transfer-Encoding that is malformed, or `chunked` more than once (RFC 9112 section 6.1).
        BadTransferEncoding => "bad_transfer_encoding",
        /// A transfer coding other than `chunked` (RFC 9112 section 6.1).
        UnknownTransferCoding => "unknown_transfer_coding",
    }
}

kinds! {
    /// What may be wrong with a body.
    BodyErrorKind {
        /// A chunk size that is not 1 to 16 hexadecimal digits (RFC 9112 section 7.1).
        BadChunkSize => "bad_chunk_size",
        /// A chunk extension that is not `;name[=value]` (RFC 9112 section 7.1.1).
        BadChunkExtension => "bad_chunk_extension",
        /// A chunk's size and extensions are over their bound.
        ChunkLineTooLong => "chunk_line_too_long",
        /// Something other than CRLF after a chunk's data (RFC 9112 section 7.1).
        BadChunkEnd => "bad_chunk_end",
        /// An LF without a CR before it in a chunk line or a trailer.
        BareLf => "bare_lf",
        /// A CR without an LF after it in a chunk line or a trailer.
        BareCr => "bare_cr",
        /// A trailer that is no field line by the rules for heads (RFC 9112 section 7.1.2).
        BadTrailer => "bad_trailer",
        /// The trailer section is over its bound.
        TrailersTooLong => "trailers_too_long",
        /// More trailers than the bound.
        TooManyTrailers => "too_many_trailers",
        /// The connection ended before the body did (RFC 9112 section 8).
        Truncated => "truncated_body",
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} at byte {}", self.kind, self.offset)
    }
}

impl std::error::Error for HeadError {}

impl fmt::Display for BodyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} at byte {}", self.kind, self.offset)
    }
}

impl std::error::Error for BodyError {}

impl HeadErrorKind {
    /// The error of this kind at `offset`.
    pub(crate) fn at(self, offset: usize) -> HeadError {
        HeadError { kind: self, offset: crate::span::offset(offset) }
    }
}

impl BodyErrorKind {
    /// The error of this kind at `offset`.
    pub(crate) fn at(self, offset: usize) -> BodyError {
        BodyError { kind: self, offset: crate::span::offset(offset) }
    }
}
