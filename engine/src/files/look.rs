//! Looking for a file, on a thread that may wait for the disk.

use std::ffi::CString;
use std::io;
use std::path::PathBuf;

use super::coding::{Coding, Preference, Siblings};
use super::form::Form;
use super::name::Asks;
use crate::error::Error;
use crate::net::file::{Folder, Kind, OpenFile, Status};
use crate::threads::Threads;

/// What is served for a folder: the first of them that is there.
const INDEXES: [&str; 2] = ["index.html", "index.htm"];

/// What is looked for.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) folder: PathBuf,
    /// Below the folder, as [`append`](super::name::append) makes it.
    pub(super) name: Vec<u8>,
    pub(super) asks: Asks,
    pub(super) preference: Preference,
    /// What is there already.
    pub(super) known: Option<Known>,
}

/// What is known of a file, which need not be read again when it is still so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) coding: Coding,
    pub(super) siblings: Siblings,
    pub(super) status: Status,
}

/// What was found.
#[derive(Debug)]
pub(super) enum Seen {
    /// What is known.
    Same,
    /// A folder, whose name was asked for as that of a file.
    Folder,
    File(Form),
}

impl Seen {
    /// Has `closers` close what is open of it.
    pub(super) fn closed_by(mut self, closers: &Threads) -> Self {
        if let Self::File(form) = &mut self {
            form.closed_by(closers);
        }
        self
    }
}

impl Look {
    /// Looks. The folder itself is looked up each time: it may be a link that a deployment moves.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`, `FilesBusy`, or `FileUnreadable`.
    pub(super) fn run(&self) -> Result<Seen, Error> {
        self.find().map_err(|error| error_of(&error))
    }

    fn find(&self) -> io::Result<Seen> {
        let folder = Folder::open(&self.folder)?;
        let Some((name, status)) = self.file(&folder)? else { return Ok(Seen::Folder) };
        let (brotli, gzip) = (
            sibling(&folder, &name, Coding::Brotli, &status)?,
            sibling(&folder, &name, Coding::Gzip, &status)?,
        );
        let mut siblings = Siblings { brotli: brotli.is_some(), gzip: gzip.is_some() };
        loop {
            let coding = self.preference.choose(siblings);
            let chosen = match coding {
                Coding::Identity => None,
                Coding::Brotli => brotli,
                Coding::Gzip => gzip,
            };
            let status = chosen.unwrap_or(status);
            if self.known == Some(Known { coding, siblings, status }) {
                return Ok(Seen::Same);
            }
            match open(&folder, &with_extension(&name, coding)) {
                Ok((file, status)) => {
                    return Form::read(&name, coding, siblings, file, status).map(Seen::File);
                }
                // It cannot be read, or has gone meanwhile.
                Err(error) if coding != Coding::Identity && is_as_good_as_none(&error) => {
                    siblings.lose(coding)
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The name of the file, and what it is; `None` for a folder.
    fn file(&self, folder: &Folder) -> io::Result<Option<(Vec<u8>, Status)>> {
        if self.asks == Asks::Named {
            let status = status(folder, &self.name)?;
            return match status.kind {
                Kind::Regular => Ok(Some((self.name.clone(), status))),
                Kind::Folder => Ok(None),
                Kind::Other => Err(io::ErrorKind::NotFound.into()),
            };
        }
        for index in INDEXES {
            let below: &[u8] = if self.name.is_empty() { b"" } else { b"/" };
            let name = [&self.name, below, index.as_bytes()].concat();
            match status(folder, &name) {
                Ok(status) if status.kind == Kind::Regular => return Ok(Some((name, status))),
                Err(error) if error_of(&error) != Error::NotFound => return Err(error),
                _ => {}
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }
}

fn status(folder: &Folder, name: &[u8]) -> io::Result<Status> {
    folder.status_beneath(&CString::new(name)?)
}

/// Opens what was a file when it was looked at.
fn open(folder: &Folder, name: &[u8]) -> io::Result<(OpenFile, Status)> {
    let opened = folder.open_beneath(&CString::new(name)?)?;
    if opened.1.kind == Kind::Regular { Ok(opened) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// The sibling of the file `name` in this coding. One that is older than the file, which is like `of`, was made of another version.
/// Whole seconds count: tools that give a sibling the time of its file cut the rest off.
fn sibling(folder: &Folder, name: &[u8], coding: Coding, of: &Status) -> io::Result<Option<Status>> {
    match status(folder, &with_extension(name, coding)) {
        Ok(status) => {
            let is_sibling = status.kind == Kind::Regular && status.modified.0 >= of.modified.0;
            Ok(Some(status).filter(|_| is_sibling))
        }
        Err(error) if is_as_good_as_none(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn with_extension(name: &[u8], coding: Coding) -> Vec<u8> {
    [name, coding.extension()].concat()
}

/// Whether a sibling of which the system says this is as good as none. Where it has no more descriptors, nobody knows whether there
/// is one; without it, a cache would give the file itself to all.
fn is_as_good_as_none(error: &io::Error) -> bool {
    error_of(error) != Error::FilesBusy
}

/// What a client is told of an error of the system's: that a link leads out of the folder is nobody's business.
pub(super) fn error_of(error: &io::Error) -> Error {
    match error.raw_os_error() {
        None if error.kind() == io::ErrorKind::NotFound => Error::NotFound,
        Some(
            libc::ENOENT
            | libc::ENOTDIR
            | libc::ELOOP
            | libc::EXDEV
            | libc::ENAMETOOLONG
            | libc::ENXIO
            | libc::ENODEV
            | libc::ESTALE,
        ) => Error::NotFound,
        Some(libc::EACCES | libc::EPERM) => Error::Forbidden,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EAGAIN) => Error::FilesBusy,
        _ => Error::FileUnreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::form::{Content, WHOLE_BYTES_MAX};
    use std::fs::{self, File, FileTimes};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    /// A folder of these files, whose content is their name.
    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, name).unwrap();
        }
        folder
    }

    fn look(folder: &Path, name: &str, asks: Asks, accepts: &str) -> Look {
        Look {
            folder: folder.into(),
            name: name.into(),
            asks,
            preference: Preference::new(std::iter::once(accepts.as_bytes())),
            known: None,
        }
    }

    /// The content, the Content-Type, and the codings that there are.
    fn seen(look: &Look) -> Result<(String, &'static str, Siblings), Error> {
        match look.run()? {
            Seen::File(Form { content: Content::Whole(bytes), media, siblings, .. }) => {
                Ok((String::from_utf8(bytes.to_vec()).unwrap(), media, siblings))
            }
            other => Ok((format!("{other:?}"), "", Siblings::default())),
        }
    }

    #[test]
    fn files_indexes_and_folders_are_found() {
        let folder = folder(&[
            "a.txt",
            "sub/index.htm",
            "both/index.html",
            "both/index.htm",
            "none/x",
            "odd/index.html/x",
        ]);
        let none = Siblings::default();
        let at = |name, asks| seen(&look(folder.path(), name, asks, "br"));
        assert_eq!(at("a.txt", Asks::Named), Ok(("a.txt".into(), "text/plain", none)));
        assert_eq!(at("sub", Asks::Named), Ok(("Folder".into(), "", none)));
        assert_eq!(at("sub", Asks::Index), Ok(("sub/index.htm".into(), "text/html", none)));
        assert_eq!(at("both", Asks::Index), Ok(("both/index.html".into(), "text/html", none)));
        for (name, asks) in [
            ("none", Asks::Index),
            ("odd", Asks::Index),
            ("", Asks::Index),
            ("a.txt", Asks::Index),
            ("a.txt/b", Asks::Named),
            ("missing", Asks::Named),
            ("missing", Asks::Index),
        ] {
            assert_eq!(at(name, asks), Err(Error::NotFound), "{name}");
        }
    }

    #[test]
    fn siblings_are_found_where_they_are_files_of_the_folder() {
        let folder = folder(&["a.js", "a.js.br", "a.js.gz", "b.js", "b.js.gz/x", "c.js.br", "secret"]);
        let below = folder.path().join("below");
        fs::create_dir(&below).unwrap();
        fs::write(below.join("d.js"), "d.js").unwrap();
        symlink("../secret", below.join("d.js.br")).unwrap();
        let both = Siblings { brotli: true, gzip: true };
        let none = Siblings::default();
        let at = |name, accepts| seen(&look(folder.path(), name, Asks::Named, accepts));
        assert_eq!(at("a.js", "br, gzip"), Ok(("a.js.br".into(), "text/javascript", both)));
        assert_eq!(at("a.js", "gzip"), Ok(("a.js.gz".into(), "text/javascript", both)));
        assert_eq!(at("a.js", ""), Ok(("a.js".into(), "text/javascript", both)));
        assert_eq!(at("b.js", "br, gzip"), Ok(("b.js".into(), "text/javascript", none)));
        // There is no such file, though there is a sibling.
        assert_eq!(at("c.js", "br"), Err(Error::NotFound));
        assert_eq!(
            seen(&look(&below, "d.js", Asks::Named, "br")),
            Ok(("d.js".into(), "text/javascript", none))
        );
    }

    #[test]
    fn the_folder_may_be_a_link_that_moves() {
        let root = folder(&["one/a", "two/a"]);
        let current = root.path().join("current");
        for target in ["one", "two"] {
            symlink(target, root.path().join("next")).unwrap();
            fs::rename(root.path().join("next"), &current).unwrap();
            assert_eq!(seen(&look(&current, "a", Asks::Named, "")).unwrap().0, format!("{target}/a"));
        }
        fs::remove_file(&current).unwrap();
        assert_eq!(seen(&look(&current, "a", Asks::Named, "")), Err(Error::NotFound));
    }

    #[test]
    fn what_is_known_is_not_read_again() {
        let folder = folder(&["a"]);
        let path = folder.path().join("a");
        set_modified(&path, 3600);
        let mut look = look(folder.path(), "a", Asks::Named, "");
        let Ok(Seen::File(mut form)) = look.run() else { panic!("there is a file") };
        // It was made a moment ago, so it may change unseen.
        assert_eq!(form.known(), None);
        form.validators.strong = true;
        look.known = form.known();
        assert!(matches!(look.run(), Ok(Seen::Same)));
        fs::write(&path, "b").unwrap();
        set_modified(&path, 3600);
        assert!(matches!(look.run(), Ok(Seen::File(_))));
    }

    /// The file changed so many seconds ago.
    fn set_modified(path: &Path, ago_s: u64) {
        let times = FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(ago_s));
        File::options().write(true).open(path).unwrap().set_times(times).unwrap();
    }

    #[test]
    fn a_sibling_of_an_older_version_is_none() {
        let folder = folder(&["a", "a.br", "a.gz"]);
        let siblings = || {
            let looked = look(folder.path(), "a", Asks::Named, "br, gzip").run();
            let Ok(Seen::File(form)) = looked else { panic!("there is a file") };
            (form.siblings.brotli, form.siblings.gzip)
        };
        for (file_s, brotli_s, gzip_s, expected) in
            [(100, 100, 50, (true, true)), (100, 102, 100, (false, true)), (0, 1000, 1000, (false, false))]
        {
            for (name, ago_s) in [("a", file_s), ("a.br", brotli_s), ("a.gz", gzip_s)] {
                set_modified(&folder.path().join(name), ago_s);
            }
            assert_eq!(siblings(), expected);
        }
    }

    #[test]
    fn what_is_not_known_of_a_sibling_is_not_taken_for_none() {
        for (errno, is_none) in
            [(libc::ENOENT, true), (libc::EACCES, true), (libc::EMFILE, false), (libc::ENFILE, false)]
        {
            assert_eq!(is_as_good_as_none(&io::Error::from_raw_os_error(errno)), is_none);
        }
    }

    #[test]
    fn a_long_file_stays_open_and_a_short_one_is_read() {
        let folder = folder(&[]);
        for (extra, whole) in [(0, true), (1, false)] {
            fs::write(folder.path().join("a"), vec![0; WHOLE_BYTES_MAX as usize + extra]).unwrap();
            let Ok(Seen::File(form)) = look(folder.path(), "a", Asks::Named, "").run() else {
                panic!("a file")
            };
            assert_eq!(matches!(form.content, Content::Whole(_)), whole);
            assert_eq!(form.length(), WHOLE_BYTES_MAX + extra as u64);
        }
    }

    #[test]
    fn what_may_not_be_read_is_forbidden() {
        let folder = folder(&["a"]);
        fs::set_permissions(folder.path().join("a"), fs::Permissions::from_mode(0o000)).unwrap();
        // Root may read all.
        if File::open(folder.path().join("a")).is_err() {
            assert_eq!(seen(&look(folder.path(), "a", Asks::Named, "")), Err(Error::Forbidden));
        }
        for (errno, error) in [
            (libc::EACCES, Error::Forbidden),
            (libc::EXDEV, Error::NotFound),
            (libc::ELOOP, Error::NotFound),
            (libc::EMFILE, Error::FilesBusy),
            (libc::EIO, Error::FileUnreadable),
        ] {
            assert_eq!(error_of(&io::Error::from_raw_os_error(errno)), error);
        }
    }
}
