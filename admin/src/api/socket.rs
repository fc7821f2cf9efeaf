//! The admin socket in its folder: who holds the folder holds its lock, so that no two programs answer in one place, and what
//! lies there of a program that was killed is known to be nobody's.

use std::fmt;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fchmod};
use ringway_config::Admin;
use socket2::{Domain, SockAddr, Socket as RawSocket, Type};
use tokio::net::UnixListener;

/// Rights of a folder that is created.
const FOLDER_MODE: u32 = 0o700;

/// The right of everybody to put something of their own in a folder (POSIX `S_IWOTH`).
const WRITABLE_BY_ALL: u32 = 0o002;

/// Connections that wait to be accepted; whoever finds it full and does not wait for room is refused.
const BACKLOG: i32 = 128;

/// A socket that listens. Dropped, it leaves nothing behind: neither its file nor the folder that was created for it.
pub(crate) struct Socket {
    // In this order: the file goes before the folder that it stands in, and the lock last.
    file: SocketFile,
    created: Option<CreatedFolder>,
    listener: UnixListener,
    folder: Arc<Folder>,
}

/// The socket's place, held for as long as the socket is served.
pub(super) struct Place {
    file: SocketFile,
    folder: Arc<Folder>,
}

impl Socket {
    /// Listens in the folder `path`, which is created when it is missing; its parent is not. `held` is the place of the
    /// socket that is served now: the same folder is not locked twice. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// [`NoSocket`]; nothing is left behind then.
    pub(super) fn bind(path: &Path, held: Option<&Place>) -> Result<Self, NoSocket> {
        let fault =
            |what| move |error| NoSocket { folder: path.to_owned(), fault: Fault::System(what, error) };
        let created = CreatedFolder::create(path).map_err(fault("cannot create it"))?;
        let folder = match held.map(|place| &place.folder).filter(|folder| folder.is_at(path)) {
            Some(folder) => folder.clone(),
            None => Arc::new(Folder::lock(path)?),
        };
        let file = path.join(Admin::SOCKET_NAME);
        remove_stale(&file).map_err(fault("cannot put the old admin.sock away"))?;
        let socket = bound(&file).map_err(fault("cannot make admin.sock"))?;
        let file = SocketFile::at(file).map_err(fault("cannot look at admin.sock"))?;
        let listener = listening(socket).map_err(fault("cannot listen on admin.sock"))?;
        Ok(Self { file, created, listener, folder })
    }

    /// Gives the parts, for good: the folder stays from now on.
    pub(super) fn settle(self) -> (UnixListener, Place) {
        let Self { file, created, listener, folder } = self;
        if let Some(created) = created {
            created.keep();
        }
        (listener, Place { file, folder })
    }
}

impl Place {
    /// Whether it is in the folder `path`, however that is written, and its file is still there.
    pub(super) fn is_in(&self, path: &Path) -> bool {
        self.folder.is_at(path) && self.file.is_there()
    }
}

/// The folder, locked.
struct Folder {
    lock: File,
}

impl Folder {
    fn lock(path: &Path) -> Result<Self, NoSocket> {
        let refused = |fault| NoSocket { folder: path.to_owned(), fault };
        // Nothing but a folder is opened: what waits for a writer, as a pipe does, would hold the thread up.
        let lock = OpenOptions::new().read(true).custom_flags(OFlag::O_DIRECTORY.bits()).open(path);
        let lock = lock.map_err(|error| match error.kind() {
            io::ErrorKind::NotADirectory => refused(Fault::NoFolder),
            _ => refused(Fault::System("cannot open it", error)),
        })?;
        if lock.metadata().is_ok_and(|metadata| metadata.mode() & WRITABLE_BY_ALL != 0) {
            return Err(refused(Fault::OpenToAll));
        }
        match lock.try_lock() {
            Ok(()) => Ok(Self { lock }),
            Err(TryLockError::WouldBlock) => Err(refused(Fault::InUse)),
            Err(TryLockError::Error(error)) => Err(refused(Fault::System("cannot lock it", error))),
        }
    }

    fn is_at(&self, path: &Path) -> bool {
        self.lock.metadata().is_ok_and(|own| fs::metadata(path).is_ok_and(|there| is_same(&own, &there)))
    }
}

/// A folder that was not there before. Dropped, it goes again, unless something else stands in it by now.
struct CreatedFolder(Option<PathBuf>);

impl CreatedFolder {
    /// `None`: it was there.
    fn create(path: &Path) -> io::Result<Option<Self>> {
        match DirBuilder::new().mode(FOLDER_MODE).create(path) {
            Ok(()) => Ok(Some(Self(Some(path.to_owned())))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for CreatedFolder {
    fn drop(&mut self) {
        if let Some(path) = &self.0
            && let Err(error) = fs::remove_dir(path)
        {
            tracing::warn!(%error, path = %path.display(), "cannot remove the folder that was created");
        }
    }
}

/// The socket's file. Dropped, it is removed, unless another stands there by now: a socket that is bound keeps its inode, so
/// that no other can have the same.
struct SocketFile {
    path: PathBuf,
    metadata: Metadata,
}

impl SocketFile {
    fn at(path: PathBuf) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(&path)?;
        Ok(Self { path, metadata })
    }

    fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|there| is_same(&self.metadata, &there))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_there()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove the admin socket's file");
        }
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Removes a socket's file, which is nobody's where the folder is ours. What is no socket stays, and is an error.
fn remove_stale(file: &Path) -> io::Result<()> {
    match fs::symlink_metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(there) if there.file_type().is_socket() => fs::remove_file(file),
        Ok(_) => Err(io::Error::other("it is no socket")),
    }
}

/// The file that `bind` makes has the rights that the socket has then (less those of the umask), so that there is no moment at
/// which others may connect.
fn bound(file: &Path) -> io::Result<RawSocket> {
    let socket = RawSocket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    socket.bind(&SockAddr::unix(file)?)?;
    Ok(socket)
}

fn listening(socket: RawSocket) -> io::Result<UnixListener> {
    socket.listen(BACKLOG)?;
    UnixListener::from_std(StdUnixListener::from(OwnedFd::from(socket)))
}

/// Why there is no admin socket.
#[derive(Debug)]
pub(crate) struct NoSocket {
    folder: PathBuf,
    fault: Fault,
}

#[derive(Debug)]
enum Fault {
    InUse,
    NoFolder,
    /// Others could put a socket of theirs in the place of ours, and answer for us.
    OpenToAll,
    System(&'static str, io::Error),
}

impl fmt::Display for NoSocket {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the data folder {} (admin.data_dir): ", self.folder.display())?;
        match &self.fault {
            Fault::InUse => out.write_str("another Ringway uses it; each needs a folder of its own"),
            Fault::NoFolder => out.write_str("this is no folder"),
            Fault::OpenToAll => out.write_str(
                "everybody may write to it; name a folder in it that is not there yet, which is made for one user alone",
            ),
            Fault::System(what, error) => write!(out, "{what}: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::mkfifo;
    use std::os::unix::fs::PermissionsExt;

    /// Runs a test in an empty folder, within a runtime.
    fn in_folder(test: impl FnOnce(&Path)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _within = runtime.enter();
        test(tempfile::tempdir().unwrap().path());
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn bind(path: &Path) -> Result<Socket, String> {
        Socket::bind(path, None).map_err(|refused| refused.to_string())
    }

    #[test]
    fn folder_and_socket_are_for_their_owner_alone() {
        in_folder(|parent| {
            let folder = parent.join("data");
            let socket = bind(&folder).unwrap();
            assert_eq!((mode(&folder), mode(&folder.join("admin.sock"))), (0o700, 0o600));
            drop(socket);
            assert!(!folder.exists(), "the folder that was created stays");
        });
    }

    #[test]
    fn a_folder_that_was_there_stays_as_it_was() {
        in_folder(|folder| {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
            let socket = bind(folder).unwrap();
            assert_eq!((mode(folder), mode(&folder.join("admin.sock"))), (0o755, 0o600));
            drop(socket);
            assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
        });
    }

    #[test]
    fn once_settled_the_folder_stays_and_the_socket_goes() {
        in_folder(|parent| {
            let folder = parent.join("data");
            let (listener, place) = bind(&folder).unwrap().settle();
            assert!(place.is_in(&folder) && place.is_in(&parent.join("./data/")) && !place.is_in(parent));
            drop(place);
            drop(listener);
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        });
    }

    #[test]
    fn a_folder_that_is_everybodys_is_refused() {
        in_folder(|folder| {
            for mode in [0o777, 0o1777, 0o702] {
                fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
                let refused = bind(folder).err().unwrap();
                assert!(refused.contains("everybody may write to it"), "{refused}");
                assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
            }
            bind(&folder.join("own")).unwrap();
        });
    }

    #[test]
    fn a_folder_has_one_holder() {
        in_folder(|folder| {
            let first = bind(folder).unwrap();
            let refused = bind(folder).err().unwrap();
            assert!(refused.contains("another Ringway uses it"), "{refused}");
            assert!(first.file.is_there());
            drop(first);
            bind(folder).unwrap();
        });
    }

    #[test]
    fn a_socket_of_the_dead_is_taken_over_and_nothing_else() {
        in_folder(|folder| {
            let file = folder.join("admin.sock");
            drop(StdUnixListener::bind(&file).unwrap());
            drop(bind(folder).unwrap());
            fs::write(&file, "text").unwrap();
            let refused = bind(folder).err().unwrap();
            assert!(refused.contains("it is no socket"), "{refused}");
            assert_eq!(fs::read(&file).unwrap(), b"text");
        });
    }

    #[test]
    fn a_socket_whose_file_has_gone_is_bound_anew_in_the_same_folder() {
        in_folder(|folder| {
            let (listener, place) = bind(folder).unwrap().settle();
            fs::remove_file(folder.join("admin.sock")).unwrap();
            assert!(!place.is_in(folder));
            let (_new_listener, new) = Socket::bind(folder, Some(&place)).unwrap().settle();
            drop((place, listener));
            assert!(new.is_in(folder), "the old one removed what was not its own");
            assert!(bind(folder).is_err(), "the lock has gone with the old one");
        });
    }

    #[test]
    fn what_is_in_the_way_is_told_and_nothing_is_left() {
        in_folder(|folder| {
            fs::write(folder.join("file"), "").unwrap();
            let refused = bind(&folder.join("file")).err().unwrap();
            assert!(refused.contains("this is no folder"), "{refused}");
            mkfifo(&folder.join("pipe"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
            let refused = bind(&folder.join("pipe")).err().unwrap();
            assert!(refused.contains("this is no folder"), "{refused}");
            let refused = bind(&folder.join("not/there")).err().unwrap();
            assert!(refused.contains("not/there (admin.data_dir): cannot create it"), "{refused}");
            let long = folder.join("x".repeat(120));
            let refused = bind(&long).err().unwrap();
            assert!(refused.contains("cannot make admin.sock"), "{refused}");
            assert!(!long.exists());
        });
    }
}
