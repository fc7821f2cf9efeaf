//! Where the text of a configuration comes from, and what its variables stand for.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::PathBuf;

use ringway_config::Variables;

/// The environment that the program was started with, for `${NAME}` in a configuration. Variables that are not UTF-8 are left
/// out: no value of a configuration could hold them.
pub fn environment() -> Variables {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Where the text of a configuration comes from; asked again at each reload.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A TOML file.
    File(PathBuf),
    /// A text that was made by the program, and stays as it is.
    Text {
        /// What messages call it.
        name: String,
        /// The TOML text.
        text: String,
    },
}

impl Origin {
    /// What messages call it: the file's path as it was given, or the text's name.
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            Self::File(path) => path.to_string_lossy(),
            Self::Text { name, .. } => name.into(),
        }
    }

    /// The text as it is now.
    ///
    /// # Errors
    /// The file cannot be read, or is not UTF-8.
    pub fn read(&self) -> Result<String, Unreadable> {
        match self {
            Self::File(path) => std::fs::read_to_string(path)
                .map_err(|error| Unreadable { name: path.to_string_lossy().into_owned(), error }),
            Self::Text { text, .. } => Ok(text.clone()),
        }
    }
}

/// A file that cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    name: String,
    error: io::Error,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "cannot read {}: {}", self.name, self.error)
    }
}

impl std::error::Error for Unreadable {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_anew_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ringway.toml");
        let origin = Origin::File(path.clone());
        let missing = origin.read().unwrap_err().to_string();
        assert!(missing.contains("ringway.toml"), "{missing}");
        std::fs::write(&path, "a = 1").unwrap();
        assert_eq!(origin.read().unwrap(), "a = 1");
        std::fs::write(&path, "a = 2").unwrap();
        assert_eq!(origin.read().unwrap(), "a = 2");
        std::fs::write(&path, b"a = \"\xff\"").unwrap();
        assert!(origin.read().is_err());
    }
}
