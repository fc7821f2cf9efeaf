//! Reads the case files of `tests/cases`: what a peer sends, byte for byte, and what must come of it. The same files serve
//! ringway-wire's tests (whole, and split at every byte), the fuzzers as seeds, and the end-to-end tests. The format is
//! described in `tests/cases/README.md`.

mod literal;
mod parse;

use std::fs;
use std::path::{Path, PathBuf};

pub use parse::parse;

/// Whose bytes a case is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A client's; the expectation is what the upstream must see.
    Request,
    /// A backend's; the expectation is what the client must see.
    Response,
}

/// One case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Whose bytes `input` are.
    pub kind: Kind,
    /// The file and the case's name, for messages: `request/host.case: no-host`.
    pub name: String,
    /// The line of the file at which the case begins.
    pub line: usize,
    /// The rule and its source.
    pub rule: String,
    /// What the peer sends.
    pub input: Vec<u8>,
    /// Response cases: what the client sent; a plain GET of HTTP/1.1 unless the case says otherwise.
    pub request: Vec<u8>,
    /// Whether the peer closes its side after `input`.
    pub closes: bool,
    /// What the other side must see, in order.
    pub messages: Vec<Message>,
    /// What follows the messages.
    pub end: End,
    /// Response cases: whether the backend's connection may serve another request, when the case says so.
    pub backend_kept: Option<bool>,
}

/// A message that is passed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The head, byte for byte, the empty line at its end included.
    pub head: Vec<u8>,
    /// The payload of the body, whatever its framing.
    pub body: Vec<u8>,
    /// The trailer lines, each with its CRLF.
    pub trailers: Vec<u8>,
}

/// What comes after the messages of a case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// Nothing: the input is used up, or the connection ends after the last message.
    #[default]
    Clean,
    /// A head that is refused: nothing of it is passed on.
    Refused {
        /// The `detail` of the error's kind.
        detail: String,
        /// What the client gets.
        status: u16,
    },
    /// The body of the last message is refused: it must never look complete to the other side.
    Broken {
        /// The `detail` of the error's kind.
        detail: String,
        /// What the client gets when no response has begun; 0: its connection is broken off.
        status: u16,
    },
    /// A head that Ringway answers itself although it is well-formed.
    Answered {
        /// What the client gets.
        status: u16,
    },
    /// A head that has begun and not ended.
    Incomplete,
}

/// The request of response cases that bring none.
pub const DEFAULT_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// What `{backend}` in a case file stands for: end-to-end tests put their backend's authority in its place.
pub const BACKEND_AUTHORITY: &str = "backend.test:80";

/// The folder of the repository's case files.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../cases")
}

/// Reads every `.case` file under `folder`, in the order of their paths.
///
/// # Errors
/// What is wrong with the first file that cannot be read, with its line.
pub fn load(folder: &Path) -> Result<Vec<Case>, String> {
    let mut files = Vec::new();
    find(folder, &mut files).map_err(|error| format!("{}: {error}", folder.display()))?;
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let name = file.strip_prefix(folder).unwrap_or(&file).display().to_string();
        let text = fs::read_to_string(&file).map_err(|error| format!("{name}: {error}"))?;
        cases.extend(parse(&name, &text)?);
    }
    Ok(cases)
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "case") {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_repositorys_cases_are_read() {
        let cases = super::load(&super::folder()).unwrap();
        assert!(cases.len() > 300, "{}", cases.len());
    }
}
