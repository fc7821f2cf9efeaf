//! `static_dir`: files of a folder, as clients get them, and everything that they do not get.
//!
//! `serving` is about what is found and how it is described, `versions` about conditions and ranges, `compressed` about
//! siblings, `bypass` about ways out of the folder, `changing` about files that change while they are served, `long` about those
//! that are sent for a while, and `many` about memory.

mod bypass;
mod changing;
mod compressed;
mod long;
mod many;
mod serving;
mod versions;

use crate::harness::client::{Client, Response};
use crate::harness::config::{Config, Driver};
use crate::harness::proxy::Proxy;
use crate::harness::wait_until;
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// When the files were last changed, in seconds since 1970, and in words.
const MODIFIED_S: u64 = 1_577_836_800;
const MODIFIED: &str = "Wed, 01 Jan 2020 00:00:00 GMT";
const SECOND_LATER: &str = "Wed, 01 Jan 2020 00:00:01 GMT";
const SECOND_EARLIER: &str = "Tue, 31 Dec 2019 23:59:59 GMT";

/// The entity tag of the file at `path`.
fn tag(path: &Path) -> String {
    let seen = fs::metadata(path).expect("a file");
    format!("\"{:x}.{:x}-{:x}-{:x}\"", seen.ctime(), seen.ctime_nsec(), seen.ino(), seen.len())
}

/// Waits until the file at `target` has been as it is for so long that its tag is strong.
fn wait_until_strong(client: &mut Client, target: &str) {
    wait_until("the tag is strong", || {
        client.get(target).field("etag").is_none_or(|tag| tag.starts_with('"'))
    });
}

/// A proxy that serves the folder `www` of a folder of its own.
struct Stage {
    proxy: Proxy,
    root: TempDir,
}

impl Stage {
    /// With these files.
    fn new(driver: Driver, files: &[(&str, &str)]) -> Self {
        Stage::of(Config::new(driver), files)
    }

    /// `new`, and what `config` says already.
    fn of(config: Config, files: &[(&str, &str)]) -> Self {
        let root = folder(files);
        let proxy = Proxy::start(&serving(config, &root.path().join("www")));
        Stage { proxy, root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("www").join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        write(&self.path(name), content);
    }

    /// The entity tag of the file.
    fn tag(&self, name: &str) -> String {
        tag(&self.path(name))
    }

    /// Waits until the file's tag is strong.
    fn wait_until_strong(&self, name: &str) {
        wait_until_strong(&mut self.proxy.client(), &format!("/{name}"));
    }

    fn get(&self, target: &str) -> Response {
        self.proxy.client().get(target)
    }

    /// A GET with these field lines after its Host.
    fn with(&self, target: &str, lines: &str) -> Response {
        self.proxy.client().ask(format!("GET {target} HTTP/1.1\r\nHost: test\r\n{lines}\r\n"))
    }
}

/// A folder with these files below `www`.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().expect("a folder");
    fs::create_dir(root.path().join("www")).expect("a folder");
    files.iter().for_each(|(name, content)| write(&root.path().join("www").join(name), content));
    root
}

/// Every path is a file of `folder`.
fn serving(config: Config, folder: &Path) -> Config {
    let folder = folder.display();
    config.section(&format!("[[rules]]\nname = \"files\"\npath = \"/*\"\nstatic_dir = \"{folder}\""))
}

/// Writes a file that was changed long ago.
fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, content).expect("a file");
    set_modified(path, UNIX_EPOCH + Duration::from_secs(MODIFIED_S));
}

fn set_modified(path: &Path, time: SystemTime) {
    let file = File::options().write(true).open(path).expect("a file");
    file.set_times(FileTimes::new().set_modified(time)).expect("its times can be set");
}
