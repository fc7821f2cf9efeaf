//! What is sent of a file: its bytes as they are or as a sibling has them compressed, and the fields that describe them.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use super::coding::{Coding, Siblings};
use super::look::Known;
use super::media;
use super::validators::Validators;
use crate::net::file::{OpenFile, Status};
use crate::threads::Threads;

/// What is longer, in bytes, is read when it is sent. What is not is read whole and can be kept.
pub(super) const WHOLE_BYTES_MAX: u64 = 128 * 1024;
/// How often a file is read that changes meanwhile, before it is sent as it comes.
const TRIES: usize = 3;

/// A file in one of its codings, at one moment.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) coding: Coding,
    pub(super) siblings: Siblings,
    pub(super) status: Status,
    pub(super) validators: Validators,
    pub(super) media: &'static str,
    pub(super) is_text: bool,
    pub(super) fields: Vec<FieldLine>,
    pub(super) content: Content,
}

/// A field as it is written, with its CRLF.
#[derive(Debug)]
pub(super) struct FieldLine {
    pub(super) name: &'static str,
    pub(super) line: Box<[u8]>,
    /// It goes with a 304 too (RFC 9110 section 15.4.5).
    pub(super) is_for_304: bool,
}

impl FieldLine {
    fn new(name: &'static str, value: &str) -> Self {
        let line = format!("{name}: {value}\r\n").into_bytes().into();
        Self { name, line, is_for_304: matches!(name, "ETag" | "Vary") }
    }
}

/// The bytes.
#[derive(Debug)]
pub(super) enum Content {
    /// All of them, as they were at one moment.
    Whole(Box<[u8]>),
    /// They are read from here.
    File(Source),
}

/// An open file. The last to close one that was deleted has the kernel free all that it took, which is not for a worker to wait for.
#[derive(Debug)]
pub(super) struct Source {
    /// Until it is closed.
    file: Option<Arc<OpenFile>>,
    /// Who closes it.
    closers: Option<Threads>,
}

impl Source {
    fn new(file: OpenFile) -> Self {
        Self { file: Some(Arc::new(file)), closers: None }
    }

    /// The file.
    ///
    /// # Errors
    /// None, as long as it is not dropped.
    pub(super) fn file(&self) -> io::Result<&Arc<OpenFile>> {
        self.file.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some((closers, file)) = self.closers.take().zip(self.file.take()) {
            closers.let_go(file);
        }
    }
}

impl Form {
    /// Reads what is to be sent of `file`, which has this status, or describes it, where it is long. `name` is that of the file
    /// itself, which says what it is of in any coding.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn read(
        name: &[u8],
        coding: Coding,
        siblings: Siblings,
        file: OpenFile,
        status: Status,
    ) -> io::Result<Self> {
        let (content, status) = contents(file, status)?;
        Ok(Self::of(name, (coding, siblings), content, status))
    }

    /// What is sent of a file that has this status now.
    pub(super) fn of(
        name: &[u8],
        (coding, siblings): (Coding, Siblings),
        content: Content,
        status: Status,
    ) -> Self {
        let validators = Validators::new(&status, coding, SystemTime::now());
        let (media, is_text) = media::content_type(name);
        let fields = fields(&validators, media, is_text, coding, siblings);
        Self { coding, siblings, status, validators, media, is_text, fields, content }
    }

    /// In bytes.
    pub(super) fn length(&self) -> u64 {
        self.status.length
    }

    /// What a look must find for this to be still what is sent; `None` where it may have changed and look the same.
    pub(super) fn known(&self) -> Option<Known> {
        let Self { coding, siblings, status, .. } = *self;
        self.validators.strong.then_some(Known { coding, siblings, status })
    }

    /// Has `closers` close what is open of it.
    pub(super) fn closed_by(&mut self, closers: &Threads) {
        if let Content::File(source) = &mut self.content {
            source.closers = Some(closers.clone());
        }
    }

    /// Moves the bytes into memory of this thread's: what another one has allocated, and is let go here, would be that one's
    /// until it asks for more.
    pub(super) fn bring_here(&mut self) {
        if let Content::Whole(bytes) = &mut self.content {
            *bytes = bytes.clone();
        }
    }

    /// What it takes in memory, in bytes, when it can be kept.
    pub(super) fn kept_bytes(&self) -> Option<usize> {
        match &self.content {
            Content::Whole(bytes) => {
                let lines = self.fields.iter().map(|field| size_of::<FieldLine>() + field.line.len());
                Some(size_of::<Self>() + self.validators.tag.len() + lines.sum::<usize>() + bytes.len())
            }
            Content::File(_) => None,
        }
    }
}

/// The bytes of a file that was found to be like this, and how it was when they were read: of a short one those of one moment, where
/// one can be had.
fn contents(file: OpenFile, mut status: Status) -> io::Result<(Content, Status)> {
    for _ in 0..TRIES {
        if status.length > WHOLE_BYTES_MAX {
            break;
        }
        let bytes = whole(&file, status.length)?;
        let after = file.status()?;
        if let Some(bytes) = bytes.filter(|_| after == status) {
            return Ok((Content::Whole(bytes), status));
        }
        status = after;
    }
    Ok((Content::File(Source::new(file)), status))
}

/// The bytes, if they are as many.
fn whole(file: &OpenFile, length: u64) -> io::Result<Option<Box<[u8]>>> {
    let Ok(length) = usize::try_from(length) else { return Ok(None) };
    // One more, to see whether it ends there.
    let mut bytes = vec![0; length + 1];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok((read == length).then(|| bytes.into_boxed_slice()))
}

fn fields(
    validators: &Validators,
    media: &str,
    is_text: bool,
    coding: Coding,
    siblings: Siblings,
) -> Vec<FieldLine> {
    let mut fields = vec![FieldLine::new("Content-Type", &content_type(media, is_text))];
    if let Some(token) = coding.token() {
        fields.push(FieldLine::new("Content-Encoding", token));
    }
    if siblings.any() {
        fields.push(FieldLine::new("Vary", "Accept-Encoding"));
    }
    let weak = if validators.strong { "" } else { "W/" };
    fields.push(FieldLine::new("ETag", &format!("{weak}{}", validators.tag)));
    if let Some(date) = validators.last_modified() {
        fields.push(FieldLine::new("Last-Modified", &date));
    }
    fields.push(FieldLine::new("Accept-Ranges", "bytes"));
    fields
}

/// Content-Type's value.
pub(super) fn content_type(media: &str, is_text: bool) -> String {
    let charset = if is_text { "; charset=utf-8" } else { "" };
    format!("{media}{charset}")
}
