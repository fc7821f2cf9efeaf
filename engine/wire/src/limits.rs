//! The bounds on what a peer may send before a body.

/// No head may have more fields than this, whatever its limits say.
pub const MAX_FIELDS: usize = 256;

/// Bounds on heads, chunk lines and trailers; each is a number of bytes or of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request line, its CRLF not counted (past it: 414).
    pub request_line_bytes: u32,
    /// Bytes of a whole head, its start line and the empty line that ends it included (past it: 431, 502 for responses).
    pub head_bytes: u32,
    /// Fields of a head; at most [`MAX_FIELDS`] count, whatever stands here.
    pub fields: u16,
    /// Bytes of a chunk's size and extensions, the CRLF not counted.
    pub chunk_line_bytes: u32,
    /// Bytes of a trailer section, the empty line that ends it not counted.
    pub trailer_bytes: u32,
    /// Fields of a trailer section.
    pub trailer_fields: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_line_bytes: 8 * 1024,
            head_bytes: 32 * 1024,
            fields: 100,
            chunk_line_bytes: 256,
            trailer_bytes: 8 * 1024,
            trailer_fields: 32,
        }
    }
}

impl Limits {
    /// The number of fields that a head may really have.
    pub(crate) fn field_count(&self) -> usize {
        usize::from(self.fields).min(MAX_FIELDS)
    }
}
