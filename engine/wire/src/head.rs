//! What a head is once it has been read: spans over the buffer that it came in, and what its fields decide. Heads are
//! reused: `clear` keeps their allocation, so that a connection allocates for its first head only. `parse.rs` fills them.

use crate::authority::Authority;
use crate::connection::Options;
use crate::error::{HeadError, HeadErrorKind};
use crate::framing::{self, Evidence, Framing};
use crate::lines::LineScan;
use crate::name::{FieldName, FieldSet};
use crate::span::Span;
use crate::target::TargetForm;
use crate::websocket::UpgradeRequest;

/// What a resumable reader has to say: nothing yet, or the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<T> {
    /// More bytes are needed.
    Partial,
    /// The result.
    Done(T),
}

/// The versions of HTTP/1 (RFC 9112 section 2.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

/// Request methods that mean something to a proxy. Case matters (RFC 9110 section 9.1): `get` is [`Method::Other`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is the method of that name")]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Trace,
    Connect,
    Patch,
    /// Any other token.
    Other,
}

impl Method {
    /// The method that `name` spells.
    pub fn of(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"CONNECT" => Self::Connect,
            b"PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }

    /// Safe methods ask for no change (RFC 9110 section 9.2.1).
    pub fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }

    /// Idempotent methods may be sent again (RFC 9110 section 9.2.2).
    pub fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self, Self::Put | Self::Delete)
    }
}

/// What the client expects before it sends its body (RFC 9110 section 10.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Nothing; always so for HTTP/1.0.
    #[default]
    None,
    /// `100-continue`.
    Continue,
    /// Something that Ringway does not know.
    Unknown,
}

/// One field line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// The name as it was sent.
    pub name_span: Span,
    /// The value without the white space around it.
    pub value: Span,
    /// The offset behind the line, its CRLF included.
    pub line_end: u32,
    /// What the name means; [`FieldName::Other`] too for a field that a Connection option names.
    pub name: FieldName,
    /// Whether the field ends here: hop-by-hop by its name, or named by a Connection option (RFC 9110 section 7.6.1).
    pub hop_by_hop: bool,
    /// White space before the colon, which is taken out on the way (responses only, RFC 9112 section 5.1).
    pub(crate) blank_before_colon: bool,
}

impl Field {
    /// The whole line, from the name to behind its CRLF.
    #[inline]
    pub fn line(&self) -> Span {
        Span { start: self.name_span.start, end: self.line_end }
    }
}

/// What the fields of a head say together, gathered while they are read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) seen: FieldSet,
    pub(crate) framing: Evidence,
    pub(crate) options: Options,
    /// The value of the first Host.
    pub(crate) host: Option<Span>,
    /// How often Host came.
    pub(crate) hosts: u16,
}

/// A request head.
#[derive(Debug, Default)]
pub struct RequestHead {
    /// The fields in the order in which they came.
    pub fields: Vec<Field>,
    pub(crate) lines: LineScan,
    pub(crate) facts: Facts,
    /// The request line with its CRLF.
    pub(crate) line: Span,
    pub(crate) method: Method,
    pub(crate) method_span: Span,
    pub(crate) version: Version,
    pub(crate) form: TargetForm,
    pub(crate) path: Span,
    pub(crate) query: Option<Span>,
    /// Whether the path must be normalised.
    pub(crate) dots: bool,
    pub(crate) authority: Option<Authority>,
    pub(crate) target_has_authority: bool,
    pub(crate) framing: Framing,
    pub(crate) expect: Expect,
    pub(crate) te_trailers: bool,
    pub(crate) upgrade: UpgradeRequest,
}

impl RequestHead {
    /// An empty head.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the head that was read and keeps the allocations; the next [`RequestHead::read`] begins a new one.
    pub fn clear(&mut self) {
        // Field by field, since moving the whole in and out again costs more; and all of them by name, so that none is forgotten.
        let Self {
            fields,
            lines,
            facts,
            line,
            method,
            method_span,
            version,
            form,
            path,
            query,
            dots,
            authority,
            target_has_authority,
            framing,
            expect,
            te_trailers,
            upgrade,
        } = self;
        fields.clear();
        lines.clear();
        *facts = Facts::default();
        (*line, *method, *method_span, *version) = Default::default();
        (*form, *path, *query, *dots) = Default::default();
        (*authority, *target_has_authority, *framing) = Default::default();
        (*expect, *te_trailers, *upgrade) = Default::default();
    }

    /// Whether a byte of a request line has come; the empty lines before one do not count.
    pub fn started(&self, buf: &[u8]) -> bool {
        let mut rest = buf.get(self.lines.start()..).unwrap_or_default();
        while let Some(behind) = rest.strip_prefix(b"\r\n") {
            rest = behind;
        }
        !matches!(rest, [] | [b'\r'])
    }

    /// The request line with its CRLF, where it can go to a backend as it came: an origin-form whose path is as it was, in
    /// HTTP/1.1.
    #[inline]
    pub fn forwardable_line(&self) -> Option<Span> {
        let plain = self.version == Version::Http11 && self.form == TargetForm::Origin && !self.dots;
        plain.then_some(self.line)
    }

    /// The method's class.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The method as it was sent.
    pub fn method_bytes<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        self.method_span.of(buf)
    }

    /// The version that the client speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The form in which the target came.
    pub fn form(&self) -> TargetForm {
        self.form
    }

    /// The normalised path; `/` when an absolute-form had none, `*` for asterisk-form.
    pub fn path<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        match self.form {
            TargetForm::Asterisk => b"*",
            _ if self.path.is_empty() => b"/",
            _ => self.path.of(buf),
        }
    }

    /// The query without its `?`.
    pub fn query<'a>(&self, buf: &'a [u8]) -> Option<&'a [u8]> {
        self.query.map(|query| query.of(buf))
    }

    /// The authority of an absolute-form target, else of Host; `None` only for HTTP/1.0 without Host.
    pub fn authority(&self) -> Option<Authority> {
        self.authority
    }

    /// Whether the target brought the authority, so that Host must be rewritten to it (RFC 9112 section 3.2.2).
    pub fn target_has_authority(&self) -> bool {
        self.target_has_authority
    }

    /// Where the body ends.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether the client wants the connection to go on (RFC 9112 section 9.3).
    pub fn persistent(&self) -> bool {
        self.facts.options.persistent(self.version)
    }

    /// What the client expects.
    pub fn expect(&self) -> Expect {
        self.expect
    }

    /// Whether the client takes trailers (`TE: trailers`, RFC 9110 section 10.1.4).
    pub fn te_trailers(&self) -> bool {
        self.te_trailers
    }

    /// Whether this asks for an upgrade that Ringway knows.
    pub fn upgrade(&self) -> UpgradeRequest {
        self.upgrade
    }

    /// The first field with this name. Fields that a Connection option names are not found by their name.
    pub fn field(&self, name: FieldName) -> Option<&Field> {
        first(&self.fields, self.facts.seen, name)
    }

    /// Whether there is a field with this name.
    pub fn has(&self, name: FieldName) -> bool {
        self.facts.seen.contains(name)
    }

    /// The names of all fields.
    pub fn names(&self) -> FieldSet {
        self.facts.seen
    }
}

/// A response head.
#[derive(Debug, Default)]
pub struct ResponseHead {
    /// The fields in the order in which they came.
    pub fields: Vec<Field>,
    pub(crate) lines: LineScan,
    pub(crate) facts: Facts,
    /// The status line with its CRLF.
    pub(crate) line: Span,
    pub(crate) version: Version,
    pub(crate) status: u16,
    pub(crate) reason: Span,
}

impl ResponseHead {
    /// An empty head.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the head that was read and keeps the allocations; the next [`ResponseHead::read`] begins a new one.
    pub fn clear(&mut self) {
        let Self { fields, lines, facts, line, version, status, reason } = self;
        fields.clear();
        lines.clear();
        *facts = Facts::default();
        (*line, *version, *status, *reason) = Default::default();
    }

    /// The status line with its CRLF, where it can go to a client as it came: in HTTP/1.1, with the space before the reason.
    #[inline]
    pub fn forwardable_line(&self) -> Option<Span> {
        /// Of the version, a space and the status.
        const BYTES: u32 = 12;
        (self.version == Version::Http11 && self.reason.start > BYTES).then_some(self.line)
    }

    /// The status code, 100 to 999.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether this is an interim response (1xx), which another head follows; 101 ends HTTP on the connection instead.
    pub fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199)
    }

    /// The version that the backend speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The reason phrase, which may be empty.
    pub fn reason<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        self.reason.of(buf)
    }

    /// Where the body ends, for a response to a request with `method`.
    ///
    /// # Errors
    /// Content-Lengths that contradict each other or are malformed, and unknown or malformed transfer codings; an interim
    /// response has no body whatever it carries.
    pub fn framing_for(&self, method: Method) -> Result<Framing, HeadError> {
        let evidence = &self.facts.framing;
        framing::of_response(self.status, method, evidence)
            .map_err(|kind: HeadErrorKind| kind.at(evidence.offset()))
    }

    /// The number that the Content-Length fields agree on: what HEAD and 304 pass on although no body follows.
    pub fn content_length(&self) -> Option<u64> {
        self.facts.framing.length().filter(|_| !self.facts.framing.has_coding())
    }

    /// Whether the backend lets the connection go on. Not after both framings, nor after Transfer-Encoding in HTTP/1.0,
    /// which RFC 9112 section 6.1 takes for faulty framing.
    pub fn persistent(&self) -> bool {
        let framing = &self.facts.framing;
        let faulty = framing.has_coding() && (framing.has_length() || self.version == Version::Http10);
        self.facts.options.persistent(self.version) && !faulty
    }

    /// The value of Upgrade, when Connection has the option `upgrade` (RFC 9110 section 7.8).
    pub fn upgrade_protocol<'a>(&self, buf: &'a [u8]) -> Option<&'a [u8]> {
        let field = self.field(FieldName::Upgrade).filter(|_| self.facts.options.upgrade)?;
        Some(field.value.of(buf))
    }

    /// The first field with this name. Fields that a Connection option names are not found by their name.
    pub fn field(&self, name: FieldName) -> Option<&Field> {
        first(&self.fields, self.facts.seen, name)
    }

    /// Whether there is a field with this name.
    pub fn has(&self, name: FieldName) -> bool {
        self.facts.seen.contains(name)
    }

    /// The names of all fields.
    pub fn names(&self) -> FieldSet {
        self.facts.seen
    }
}

fn first(fields: &[Field], seen: FieldSet, name: FieldName) -> Option<&Field> {
    if !seen.contains(name) {
        return None;
    }
    fields.iter().find(|field| field.name == name)
}
