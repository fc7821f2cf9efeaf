//! Files of a folder, as responses.
//!
//! * `name`: which name below the folder a path has; `media`: what a file of this name is of.
//! * `look`: looking for it, on a thread that may wait for the disk; `form`: what is read of it.
//! * `cache`: short files that a worker has read and is asked for again.
//! * `conditions`, `range`, `validators`, `coding`: what the request says about the version, the part and the coding that it
//!   wants, and by what versions are known.
//! * `delivery`: the response, its head and its body's plan; `sending`: the bytes on their way to the client.
//!
//! A worker itself opens nothing and waits for no disk: it sends what it has, or what the kernel has at hand, and asks
//! [`threads`](crate::threads) for the rest.

mod cache;
mod coding;
mod conditions;
mod delivery;
mod form;
mod look;
mod media;
mod name;
mod range;
mod sending;
mod validators;

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use ringway_config::SentPath;
use ringway_wire::{Method, RequestHead};

use crate::conn::Client;
use crate::error::Error;
use crate::net::patrol;
use crate::terms::Edits;
use crate::upstream::stand;
use crate::worker::Worker;
use cache::{Cache, Hit};
use coding::Preference;
use conditions::Conditions;
use delivery::Delivery;
use form::Form;
use look::{Look, Seen};
use name::Asks;

pub(crate) use sending::Sending;

/// How often a worker ages until its cache does.
const AGINGS: u32 = 15;

/// How long a request waits for a look at a file that is kept, before it gets what is kept.
const STAND_IN_PATIENCE: Duration = Duration::from_secs(1);
/// How long ago what is kept may have been looked at for that, in milliseconds.
const STAND_IN_MS: u64 = 10_000;

/// What a worker keeps for files.
#[derive(Default)]
pub(crate) struct Files {
    cache: RefCell<Cache>,
    /// Where keys are made.
    key: RefCell<Vec<u8>>,
    agings: Cell<u32>,
}

/// A request for a file.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) head: &'a RequestHead,
    /// Those of the head.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Asked<'a> {
    fn conditions(&self) -> Conditions<'a> {
        Conditions::new(&self.head.fields, self.bytes)
    }

    fn preference(&self) -> Preference {
        Preference::new(self.conditions().accept_encoding())
    }

    /// Its own path with a slash behind it, and its query: where a folder is. `None` where browsers would take that for another
    /// host's, and where there is a slash already, which a rule's rewrite has dropped: that would lead in a circle.
    fn with_slash(&self) -> Option<Vec<u8>> {
        let (path, query) = (self.head.path(self.bytes), self.head.query(self.bytes));
        let is_anothers = matches!(path, [b'/', b'/' | b'\\', ..]);
        let mark: &[u8] = if query.is_some() { b"?" } else { b"" };
        (!is_anothers && !path.ends_with(b"/"))
            .then(|| [path, b"/", mark, query.unwrap_or_default()].concat())
    }
}

/// What a request asks for, as far as it is known without waiting.
pub(crate) enum Sought {
    /// It is at hand.
    Kept(Kept),
    /// It is a folder, and the path has no slash at its end.
    Folder,
    /// Somebody has to look.
    Wanted(Box<Wanted>),
}

/// What is at hand of a file.
pub(crate) struct Kept(Rc<Form>);

/// What has to be looked for.
pub(crate) struct Wanted {
    key: Box<[u8]>,
    look: Look,
    /// What was there when somebody looked last, and when that was.
    stale: Option<(Rc<Form>, u64)>,
    since_ms: u64,
}

/// What was found.
pub(crate) enum Found {
    Delivery(Delivery),
    /// A folder, which is at this location.
    Folder(Vec<u8>),
}

impl Files {
    /// What a request asks for whose path is `path` below `folder`; `now_ms` is the worker's clock.
    ///
    /// # Errors
    /// `NotReadable` or `NotFound`.
    pub(crate) fn seek(
        &self,
        folder: &Path,
        path: &SentPath,
        asked: Asked<'_>,
        now_ms: u64,
    ) -> Result<Sought, Error> {
        if !matches!(asked.head.method(), Method::Get | Method::Head) {
            return Err(Error::NotReadable);
        }
        let own = asked.head.path(asked.bytes);
        if matches!(path, SentPath::From(prefix) if *prefix == own.len()) {
            return Ok(Sought::Folder);
        }
        let mut key = self.key.borrow_mut();
        let (asks, name) = write_key(&mut key, folder, path.of(own)).map_err(|_| Error::NotFound)?;
        let stale = match self.cache.borrow_mut().get(&key, || asked.preference(), now_ms) {
            Some(Hit::Fresh(form)) => return Ok(Sought::Kept(Kept(form))),
            Some(Hit::Stale(form, seen_ms)) => Some((form, seen_ms)),
            None => None,
        };
        let name = key.get(name).unwrap_or_default().to_vec();
        let known = stale.as_ref().and_then(|(form, _)| form.known());
        let look = Look { folder: folder.into(), name, asks, preference: asked.preference(), known };
        let wanted = Wanted { key: key.as_slice().into(), look, stale, since_ms: now_ms };
        Ok(Sought::Wanted(Box::new(wanted)))
    }

    /// Forgets now and then what was not asked for. Says how many files that were.
    pub(crate) fn age(&self) -> usize {
        self.agings.set((self.agings.get() + 1) % AGINGS);
        if self.agings.get() == 0 { self.cache.borrow_mut().age() } else { 0 }
    }

    /// Keeps what came of a look, where it is worth it.
    fn learn(&self, wanted: &Wanted, seen: Result<Seen, Error>) -> Result<Option<Rc<Form>>, Error> {
        let Wanted { key, stale, since_ms, .. } = wanted;
        let mut cache = self.cache.borrow_mut();
        match seen {
            Ok(Seen::Same) => {
                let (same, _) = stale.as_ref().ok_or(Error::NotFound)?;
                cache.renew(key, same, *since_ms);
                Ok(Some(same.clone()))
            }
            Ok(Seen::File(mut form)) => {
                form.bring_here();
                let form = Rc::new(form);
                match form.kept_bytes() {
                    Some(_) => cache.keep(key, &form, *since_ms),
                    None => cache.forget(key),
                }
                Ok(Some(form))
            }
            Ok(Seen::Folder) => {
                cache.forget(key);
                Ok(None)
            }
            Err(error) => {
                cache.forget(key);
                Err(error)
            }
        }
    }
}

/// Makes the key of what is at `path` below `folder`, of which the range that it gives is the name.
fn write_key(key: &mut Vec<u8>, folder: &Path, path: &[u8]) -> Result<(Asks, Range<usize>), name::NoName> {
    key.clear();
    key.extend_from_slice(folder.as_os_str().as_bytes());
    // Neither of the two has it.
    key.push(0);
    let begin = key.len();
    let asks = name::append(path, key)?;
    let name = begin..key.len();
    if asks == Asks::Index {
        key.push(b'/');
    }
    Ok((asks, name))
}

/// Has it looked for where need be, for at most `patience`, and says what the request gets, to which `changes` are made. `look` is
/// what shows that the client has gone meanwhile; `particulars` gets the fields of an error.
///
/// # Errors
/// `NotFound`, `Forbidden`, `FilesBusy`, `FileUnreadable`, `PreconditionFailed`, `RangeNotSatisfiable`, or `ClientGone`.
pub(crate) async fn find(
    worker: &Worker,
    client: &Client,
    sought: Sought,
    asked: Asked<'_>,
    waits: (patrol::Look, Duration),
    (changes, particulars): (&Edits, &mut Vec<u8>),
) -> Result<Found, Error> {
    let form = match sought {
        Sought::Kept(Kept(form)) => Some(form),
        Sought::Folder => None,
        Sought::Wanted(wanted) => look_for(worker, client, *wanted, waits).await?,
    };
    let Some(form) = form else {
        return asked.with_slash().map(Found::Folder).ok_or(Error::NotFound);
    };
    let length = form.length();
    let delivery = Delivery::new(form, &asked.conditions(), asked.head.method(), changes);
    if let Err(Error::RangeNotSatisfiable) = delivery {
        *particulars = format!("Content-Range: bytes */{length}\r\n").into_bytes();
    }
    delivery.map(Found::Delivery)
}

/// Has it looked for. Where the disk takes its time and what is kept is not too old, that is what the request gets. `None` for a
/// folder.
async fn look_for(
    worker: &Worker,
    client: &Client,
    mut wanted: Wanted,
    (look, patience): (patrol::Look, Duration),
) -> Result<Option<Rc<Form>>, Error> {
    let looking = std::mem::take(&mut wanted.look);
    let closers = worker.shared.files.clone();
    let work = move || looking.run().map(|seen| seen.closed_by(&closers));
    let stand_in = wanted.stand_in(worker.now_ms());
    let patience = if stand_in.is_some() { patience.min(STAND_IN_PATIENCE) } else { patience };
    match elsewhere(worker, client, (look, patience), work).await {
        Err(Error::FilesBusy) | Ok(Err(Error::FilesBusy)) if stand_in.is_some() => Ok(stand_in),
        seen => worker.files.learn(&wanted, seen?),
    }
}

impl Wanted {
    /// What can be sent where nobody can look at `now_ms`.
    fn stand_in(&self, now_ms: u64) -> Option<Rc<Form>> {
        let (form, seen_ms) = self.stale.as_ref()?;
        (now_ms.saturating_sub(*seen_ms) < STAND_IN_MS).then(|| form.clone())
    }
}

/// Has `work` done on a thread that may wait for the disk, and waits for it for at most `patience`, and as long as the client is
/// there.
///
/// # Errors
/// `FilesBusy`, `ClientGone`, or `FileUnreadable` when the work panicked.
async fn elsewhere<T: Send + 'static>(
    worker: &Worker,
    client: &Client,
    (look, patience): (patrol::Look, Duration),
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let coming = worker.shared.files.run(work).map_err(|_| Error::FilesBusy)?;
    let came = |cx: &mut Context<'_>| coming.poll(cx);
    let waited = stand(&client.registration, worker.wheel.now(), look, patience, came).await;
    let result = waited.map_err(|error| match error {
        Error::QueueTimeout => Error::FilesBusy,
        error => error,
    });
    result?.ok_or(Error::FileUnreadable)
}
