//! Files on disk: opened below a folder and never outside it, and read without waiting where the kernel has their bytes at hand.
//! All but [`OpenFile::read_at_once`] and [`OpenFile::status_at_once`] may wait for a disk, or a network, and is for threads of its own.

use std::ffi::{CStr, CString};
use std::fs::{File, Metadata};
use std::io;
use std::mem;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::buf::Buf;

/// How often a name is looked for again that somebody moved meanwhile.
const TRIES: usize = 4;
/// `O_NONBLOCK`, so that a FIFO or a device that takes a file's place meanwhile does not hold its opener up.
const READING: libc::c_int = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOCTTY | libc::O_NONBLOCK;
/// To see what it is: nothing is opened yet, so that neither a device nor whoever waits at the other end of a FIFO notices.
const SEEING: libc::c_int = libc::O_PATH | libc::O_CLOEXEC;
/// To look below it, for which it need not be readable.
const FOLDER: libc::c_int = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;

/// An open folder.
pub(crate) struct Folder(OwnedFd);

impl Folder {
    /// The folder at `path`, which may lead over links: whoever configured it trusts them.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        open_at(libc::AT_FDCWD, &path, FOLDER).map(Self)
    }

    /// What is called `name` below it, which may be something that is better not opened. Links are followed as long as they stay
    /// below the folder; where the kernel cannot see to that (before 5.6, or under a filter of system calls), none is followed.
    ///
    /// # Errors
    /// The system's; `EXDEV` where a link leads out.
    pub(crate) fn status_beneath(&self, name: &CStr) -> io::Result<Status> {
        let seen = self.reach(name, SEEING)?;
        File::from(seen).metadata().map(|metadata| Status::of(&metadata))
    }

    /// Opens what is called `name` below it, for reading, and says what that is: it may be another than it was a moment ago. Links
    /// are followed as they are by [`status_beneath`](Self::status_beneath).
    ///
    /// # Errors
    /// The system's; `EXDEV` where a link leads out, `ELOOP` for one that is not followed.
    pub(crate) fn open_beneath(&self, name: &CStr) -> io::Result<(OpenFile, Status)> {
        let file = OpenFile::new(self.reach(name, READING)?);
        let status = file.status()?;
        Ok((file, status))
    }

    fn reach(&self, name: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
        match self.open_resolved(name, flags) {
            Err(error) if is_without_openat2(&error) => self.open_step_by_step(name, flags),
            opened => opened,
        }
    }

    fn open_resolved(&self, name: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
        // SAFETY: `open_how` is plain numbers, for which zero stands for nothing.
        let mut how: libc::open_how = unsafe { mem::zeroed() };
        how.flags = flags as u64;
        how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;
        let mut tried = 0;
        loop {
            tried += 1;
            // SAFETY: the descriptor is open, the name ends with NUL, and the kernel reads `how` and its size alone.
            let fd = unsafe {
                libc::syscall(
                    libc::SYS_openat2,
                    self.0.as_raw_fd(),
                    name.as_ptr(),
                    &raw const how,
                    mem::size_of::<libc::open_how>(),
                )
            };
            match owned(fd as libc::c_int) {
                // Something was moved while a link led upwards, or a signal came.
                Err(error) if tried < TRIES && is_worth_another_try(&error) => {}
                opened => return opened,
            }
        }
    }

    /// One segment after the other, none of which may be a link. `name` has no dot segments.
    fn open_step_by_step(&self, name: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
        let mut segments = name.to_bytes().split(|&byte| byte == b'/').peekable();
        let mut folder = None::<OwnedFd>;
        loop {
            let segment = segments.next().unwrap_or_default();
            // An absolute name would begin at the root, and these two would leave the folder.
            if matches!(segment, b"" | b"." | b"..") {
                return Err(io::Error::from_raw_os_error(libc::ENOENT));
            }
            let at = folder.as_ref().unwrap_or(&self.0).as_raw_fd();
            let segment = CString::new(segment)?;
            if segments.peek().is_none() {
                return open_at(at, &segment, flags | libc::O_NOFOLLOW);
            }
            folder = Some(open_at(at, &segment, FOLDER | libc::O_NOFOLLOW)?);
        }
    }
}

fn open_at(folder: RawFd, name: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    loop {
        // SAFETY: the descriptor is open, or stands for the working directory, and the name ends with NUL.
        match owned(unsafe { libc::openat(folder, name.as_ptr(), flags) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            opened => return opened,
        }
    }
}

/// What a call that opens something has returned.
fn owned(fd: libc::c_int) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn is_without_openat2(error: &io::Error) -> bool {
    // Filters of system calls refuse what they do not know with either.
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
}

fn is_worth_another_try(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR))
}

/// What something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Regular,
    Folder,
    /// A FIFO, a socket, a device.
    Other,
}

/// A point in time, as seconds and nanoseconds since 1970.
pub(crate) type Moment = (i64, i64);

/// What is known of a file. One that is equal at two moments has the same bytes, as far as its times are fine enough to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) kind: Kind,
    pub(crate) length: u64,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// When its bytes changed, or what somebody has set in the place of that.
    pub(crate) modified: Moment,
    /// When anything about it changed. The kernel alone sets it.
    pub(crate) changed: Moment,
}

impl Status {
    /// Whether an open file that was like this, and is like `now`, still has the same bytes. When anything about it changed does
    /// not matter: that is another moment, too, where it was renamed, or a newer version has taken its name.
    pub(crate) fn has_bytes_of(&self, now: &Self) -> bool {
        *self == Self { changed: self.changed, ..*now }
    }

    fn of(metadata: &Metadata) -> Self {
        let kind = match metadata {
            it if it.is_file() => Kind::Regular,
            it if it.is_dir() => Kind::Folder,
            _ => Kind::Other,
        };
        Self {
            kind,
            length: metadata.len(),
            device: metadata.dev(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A file that was opened for reading, whatever it is.
#[derive(Debug)]
pub(crate) struct OpenFile {
    file: File,
    /// Its file system says whether a read would have to wait.
    tells_waits: AtomicBool,
}

impl OpenFile {
    fn new(fd: OwnedFd) -> Self {
        Self { file: fd.into(), tells_waits: AtomicBool::new(true) }
    }

    /// What it is now.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn status(&self) -> io::Result<Status> {
        self.file.metadata().map(|metadata| Status::of(&metadata))
    }

    /// What it is now, where nothing has to be waited for to know that: its file system has said of a read whether it would wait,
    /// which those on other machines do not.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn status_at_once(&self) -> Option<io::Result<Status>> {
        self.tells_waits.load(Ordering::Relaxed).then(|| self.status())
    }

    /// Reads from byte `at` on until `into` is full or the file ends; says how many bytes that were.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(room) = into.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.file.read_at(room, at + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Reads once, up to `at_most` bytes from byte `at` on, behind what `buf` holds: what the kernel has at hand. `None` when there
    /// is nothing at hand, or no room. That may be the end of the file, which [`read_at`](Self::read_at) alone can tell: some kernels
    /// (5.9 and 5.10) answer with 0 bytes where they would have to wait (readv(2), BUGS).
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn read_at_once(
        &self,
        buf: &mut Buf,
        at: u64,
        at_most: u64,
    ) -> io::Result<Option<NonZeroUsize>> {
        let room = buf.spare().min(usize::try_from(at_most).unwrap_or(usize::MAX));
        let Ok(offset) = libc::off_t::try_from(at) else { return Ok(None) };
        if !self.tells_waits.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let into = libc::iovec { iov_base: buf.spare_mut().as_mut_ptr().cast(), iov_len: room };
        // SAFETY: the descriptor is open, and `into` is room of the buffer's, which stays where it is during the call.
        let read =
            unsafe { libc::preadv2(self.file.as_raw_fd(), &raw const into, 1, offset, libc::RWF_NOWAIT) };
        if let Ok(n) = usize::try_from(read) {
            buf.fill(n);
            return Ok(NonZeroUsize::new(n));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) => Ok(None),
            // The file system, the kernel (before 4.14) or a filter does not know the flag, or the call.
            Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EPERM | libc::EINVAL) => {
                self.tells_waits.store(false, Ordering::Relaxed);
                Ok(None)
            }
            _ => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::buf::BufPool;
    use std::fs;
    use std::os::unix::fs::symlink;

    type Open = fn(&Folder, &CStr, libc::c_int) -> io::Result<OwnedFd>;
    /// The kernel's way, and the one without it.
    const WAYS: [Open; 2] = [Folder::open_resolved, Folder::open_step_by_step];

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("www/a/b")).unwrap();
        fs::write(root.path().join("secret"), "secret").unwrap();
        fs::write(root.path().join("www/a/b/c"), "content").unwrap();
        for (link, to) in [
            ("inside", "a/b/c"),
            ("folder", "a"),
            ("out", "../secret"),
            ("absolute", "/etc/passwd"),
            ("up", ".."),
            ("around", "../www/a/b/c"),
            ("a/back", "../a/b/c"),
            ("loop", "loop"),
            ("magic", "/proc/self/cwd"),
        ] {
            symlink(to, root.path().join("www").join(link)).unwrap();
        }
        root
    }

    fn errno(opened: io::Result<OwnedFd>) -> i32 {
        opened.map_or_else(|error| error.raw_os_error().unwrap_or(-1), |_| 0)
    }

    #[test]
    fn nothing_outside_is_opened_either_way() {
        let root = tree();
        let folder = Folder::open(&root.path().join("www")).unwrap();
        for name in [
            "../secret",
            "..",
            "a/../../secret",
            "/etc/passwd",
            "out",
            "absolute",
            "up/secret",
            "around",
            "loop",
            "magic/Cargo.toml",
            "a/b/../../../secret",
        ] {
            let name = CString::new(name).unwrap();
            for open in WAYS {
                assert_ne!(errno(open(&folder, &name, READING)), 0, "{name:?}");
            }
        }
        assert_eq!(errno(folder.open_resolved(c"out", READING)), libc::EXDEV);
        assert_eq!(errno(folder.open_resolved(c"out", SEEING)), libc::EXDEV);
        assert_eq!(errno(folder.open_step_by_step(c"out", READING)), libc::ELOOP);
        // Without following it, the link itself can be seen, which is no file.
        let link = folder.open_step_by_step(c"out", SEEING).unwrap();
        assert_eq!(Status::of(&File::from(link).metadata().unwrap()).kind, Kind::Other);
    }

    #[test]
    fn links_within_are_followed_where_the_kernel_can_watch_over_them() {
        let root = tree();
        let folder = Folder::open(&root.path().join("www")).unwrap();
        for (name, followed) in
            [(c"a/b/c", false), (c"inside", true), (c"folder/b/c", true), (c"a/back", true)]
        {
            assert_eq!(errno(folder.open_resolved(name, READING)), 0, "{name:?}");
            assert_eq!(errno(folder.open_step_by_step(name, READING)) == 0, !followed, "{name:?}");
        }
    }

    #[test]
    fn what_is_no_file_is_told_and_does_not_block() {
        let root = tree();
        let fifo = CString::new(root.path().join("www/fifo").as_os_str().as_bytes()).unwrap();
        // SAFETY: the name ends with NUL.
        assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
        let folder = Folder::open(&root.path().join("www")).unwrap();
        for (name, kind) in [(c"fifo", Kind::Other), (c"a", Kind::Folder), (c"inside", Kind::Regular)] {
            assert_eq!(folder.status_beneath(name).unwrap().kind, kind, "{name:?}");
            assert_eq!(folder.open_beneath(name).unwrap().1.kind, kind, "{name:?}");
        }
        // A writer would be let in by a reader; there is none.
        folder.status_beneath(c"fifo").unwrap();
        // SAFETY: the name ends with NUL.
        let writer = owned(unsafe { libc::open(fifo.as_ptr(), libc::O_WRONLY | libc::O_NONBLOCK) });
        assert_eq!(errno(writer), libc::ENXIO);
    }

    #[test]
    fn both_ways_of_reading_give_the_same() {
        let root = tree();
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n / 7) as u8).collect();
        fs::write(root.path().join("www/long"), &bytes).unwrap();
        let file = Folder::open(&root.path().join("www")).unwrap().open_beneath(c"long").unwrap().0;
        let mut whole = vec![0; bytes.len() + 10];
        assert_eq!(file.read_at(&mut whole, 0).unwrap(), bytes.len());
        assert_eq!(whole.get(..bytes.len()), Some(&bytes[..]));
        let mut buf = BufPool::default().take();
        // Whether the bytes are at hand is the file system's affair; if they are, they are these.
        if let Some(n) = file.read_at_once(&mut buf, 1000, 500).unwrap() {
            let n = n.get();
            assert!(n <= 500);
            assert_eq!(buf.filled(), &bytes[1000..1000 + n]);
            buf.clear();
            // Whether it is the end is not for this to say.
            assert_eq!(file.read_at_once(&mut buf, 100_000, 500).unwrap(), None);
        }
    }

    #[test]
    fn a_change_is_seen() {
        let root = tree();
        let folder = Folder::open(&root.path().join("www")).unwrap();
        let status = || folder.status_beneath(c"a/b/c").unwrap();
        let before = status();
        assert_eq!(before, status());
        fs::write(root.path().join("www/a/b/c"), "other").unwrap();
        assert_ne!(before, status());
    }

    #[test]
    fn a_name_more_or_less_changes_no_bytes() {
        let status =
            Status { kind: Kind::Regular, length: 1, device: 2, inode: 3, modified: (4, 5), changed: (6, 7) };
        let later = Status { changed: (8, 9), ..status };
        assert!(status.has_bytes_of(&status) && status.has_bytes_of(&later));
        for other in [
            Status { length: 2, ..later },
            Status { modified: (4, 6), ..later },
            Status { inode: 4, ..later },
        ] {
            assert!(!status.has_bytes_of(&other), "{other:?}");
        }
    }
}
