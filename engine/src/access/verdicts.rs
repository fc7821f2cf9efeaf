//! What came of credentials that were looked at, for a while. A worker's verdicts belong to one configuration: a change of it
//! forgets them.

use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use hmac::{Hmac, KeyInit, Mac};
use ringway_config::PasswordHash;
use sha2::Sha256;

use crate::threads::{Coming, Full, Threads};

/// How long a password stays right without being hashed again, in milliseconds.
const GOOD_MS: u64 = 300_000;
/// The most that are remembered of those.
const GOOD_MAX: usize = 4096;
/// How long a wrong one stays wrong.
const BAD_MS: u64 = 10_000;
/// The most of those, apart from the others: who tries passwords does not push the good ones out.
const BAD_MAX: usize = 1024;

/// A worker's verdicts under one configuration.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    /// What passwords were.
    pub(super) passwords: Passwords,
    /// What endpoints answered.
    pub(super) endpoints: RefCell<super::forward::Known>,
    pub(super) complaints: super::complaints::Complaints,
}

/// The process's key, so that what is remembered tells nothing of passwords. `None` where the system gives no random bytes:
/// then nobody comes in.
static SECRET: LazyLock<Option<[u8; 32]>> = LazyLock::new(|| {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).ok().map(|()| secret)
});

/// A keyed hash (HMAC-SHA256) of credentials, or of a user's name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Key")
    }
}

impl Key {
    /// Of what a request says to a provider.
    pub(super) fn of_password(provider: &str, user: &str, password: &str) -> Option<Self> {
        Self::of(b'p', [provider, user, password].map(str::as_bytes))
    }

    /// Of a user alone: the same on all workers, as long as the process runs.
    pub(super) fn of_user(provider: &str, user: &str) -> Option<Self> {
        Self::of(b'u', [provider, user].map(str::as_bytes))
    }

    /// Of the `lines` that a provider's endpoint is told, for an answer of which the fields `copied` are of use.
    pub(super) fn of_question(provider: &str, copied: &[String], lines: &[u8]) -> Option<Self> {
        let copied = copied.iter().map(String::as_bytes);
        Self::of(b'q', [provider.as_bytes()].into_iter().chain(copied).chain([lines]))
    }

    /// Each part stands behind its length, so that no two lists of parts are one text.
    fn of<'p>(purpose: u8, parts: impl IntoIterator<Item = &'p [u8]>) -> Option<Self> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&(*SECRET)?).ok()?;
        mac.update(&[purpose]);
        for part in parts {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        Some(Self(mac.finalize().into_bytes().into()))
    }

    /// A number that is even over all keys.
    pub(super) fn number(&self) -> u64 {
        self.0.first_chunk().copied().map_or(0, u64::from_le_bytes)
    }
}

/// What a password is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The user's.
    Good(Arc<str>),
    Bad,
}

/// What is to be hashed.
pub(super) struct Asked {
    /// The user, when there is one of that name; no password is right otherwise.
    pub(super) user: Option<Arc<str>>,
    pub(super) hash: PasswordHash,
    pub(super) password: Box<str>,
}

/// The passwords that were hashed lately, and those that are being hashed.
#[derive(Debug, Default)]
pub(super) struct Passwords {
    good: RefCell<Remembered<Arc<str>>>,
    bad: RefCell<Remembered<()>>,
    running: RefCell<HashMap<Key, Weak<Hashing>>>,
}

impl Passwords {
    /// What is remembered at `now_ms`.
    pub(super) fn known(&self, key: &Key, now_ms: u64) -> Option<Verdict> {
        if let Some(user) = self.good.borrow().get(key, now_ms) {
            return Some(Verdict::Good(user.clone()));
        }
        self.bad.borrow().get(key, now_ms).map(|()| Verdict::Bad)
    }

    pub(super) fn remember(&self, key: Key, verdict: &Verdict, now_ms: u64) {
        match verdict {
            Verdict::Good(user) => {
                self.good.borrow_mut().insert(key, user.clone(), (now_ms, GOOD_MS), GOOD_MAX)
            }
            Verdict::Bad => self.bad.borrow_mut().insert(key, (), (now_ms, BAD_MS), BAD_MAX),
        }
    }

    /// Has a password hashed by `threads`; once, however many requests wait for it at a time.
    ///
    /// # Errors
    /// [`Full`]: too many passwords wait.
    pub(super) fn hash(&self, key: Key, asked: Asked, threads: &Threads) -> Result<Wait<'_>, Full> {
        let running = self.running.borrow().get(&key).and_then(Weak::upgrade);
        let hashing = match running {
            Some(running) => running,
            None => {
                let begun = Rc::new(Hashing::begin(asked, threads)?);
                self.running.borrow_mut().insert(key, Rc::downgrade(&begun));
                begun
            }
        };
        Ok(Wait { passwords: self, key, hashing })
    }
}

/// A request's wait for its password to be hashed.
pub(super) struct Wait<'p> {
    passwords: &'p Passwords,
    key: Key,
    hashing: Rc<Hashing>,
}

impl Wait<'_> {
    /// Ready once the password is hashed, with what it is; `None` when hashing failed.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Option<Verdict>> {
        self.hashing.poll(cx)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if Rc::strong_count(&self.hashing) == 1 {
            self.passwords.running.borrow_mut().remove(&self.key);
        }
    }
}

/// A password that is being hashed.
struct Hashing {
    /// While it lives, somebody waits: what nobody waits for any longer is not hashed.
    coming: Coming<bool>,
    user: Option<Arc<str>>,
    outcome: OnceCell<Option<Verdict>>,
    crowd: Arc<Crowd>,
    /// What calls the crowd.
    waker: Waker,
}

impl std::fmt::Debug for Hashing {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Hashing")
    }
}

impl Hashing {
    fn begin(asked: Asked, threads: &Threads) -> Result<Self, Full> {
        let Asked { user, hash, password } = asked;
        let coming = threads.run(move || hash.verify(password.as_bytes()))?;
        let crowd = Arc::<Crowd>::default();
        let waker = Waker::from(crowd.clone());
        Ok(Self { coming, user, outcome: OnceCell::new(), crowd, waker })
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Option<Verdict>> {
        if let Some(outcome) = self.outcome.get() {
            return Poll::Ready(outcome.clone());
        }
        // Before it is asked: a call in between is not missed.
        self.crowd.join(cx.waker());
        self.coming.poll(&Context::from_waker(&self.waker)).map(|right| {
            let verdict = |right: bool| match &self.user {
                Some(user) if right => Verdict::Good(user.clone()),
                _ => Verdict::Bad,
            };
            self.outcome.get_or_init(|| right.map(verdict)).clone()
        })
    }
}

/// Those who wait for one hash.
#[derive(Default)]
struct Crowd(Mutex<Vec<Waker>>);

impl Crowd {
    fn join(&self, waker: &Waker) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }
}

impl Wake for Crowd {
    fn wake(self: Arc<Self>) {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// What is remembered for a time that is the same for all: whatever came first goes first.
#[derive(Debug)]
struct Remembered<V> {
    all: HashMap<Key, (V, u64)>,
    order: VecDeque<Key>,
}

impl<V> Default for Remembered<V> {
    fn default() -> Self {
        Self { all: HashMap::new(), order: VecDeque::new() }
    }
}

impl<V> Remembered<V> {
    fn get(&self, key: &Key, now_ms: u64) -> Option<&V> {
        let (value, until_ms) = self.all.get(key)?;
        (now_ms < *until_ms).then_some(value)
    }

    /// Remembers one more, of `at_most`, from `now_ms` on for `for_ms`.
    fn insert(&mut self, key: Key, value: V, (now_ms, for_ms): (u64, u64), at_most: usize) {
        if self.get(&key, now_ms).is_some() {
            return;
        }
        while let Some(oldest) = self.order.front().copied() {
            let is_over = self.all.get(&oldest).is_none_or(|(_, until_ms)| *until_ms <= now_ms);
            if !is_over && self.order.len() < at_most {
                break;
            }
            self.order.pop_front();
            self.all.remove(&oldest);
        }
        self.order.push_back(key);
        self.all.insert(key, (value, now_ms.saturating_add(for_ms)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use ringway_config::{Compiler, Provider, Source};

    use super::*;

    fn key(number: usize) -> Key {
        Key::of_password("staff", "alice", &number.to_string()).unwrap()
    }

    fn alice() -> Verdict {
        Verdict::Good("alice".into())
    }

    #[test]
    fn keys_are_of_all_their_parts() {
        let key = |provider, user, password| Key::of_password(provider, user, password).unwrap();
        assert_eq!(key("a", "b", "c"), key("a", "b", "c"));
        let different = [
            key("a", "b", "c"),
            key("a", "bc", ""),
            key("ab", "", "c"),
            key("a", "", "bc"),
            key("", "ab", "c"),
        ];
        for (index, one) in different.iter().enumerate() {
            assert!(different.iter().skip(index + 1).all(|other| other != one));
        }
        assert_ne!(Key::of_user("a", "b"), Key::of_password("a", "b", ""));
        assert_eq!(format!("{:?}", key("a", "b", "c")), "Key");
    }

    #[test]
    fn verdicts_are_forgotten_in_time() {
        let passwords = Passwords::default();
        passwords.remember(key(1), &alice(), 1_000);
        passwords.remember(key(2), &Verdict::Bad, 1_000);
        assert_eq!(passwords.known(&key(1), 1_000 + GOOD_MS - 1), Some(alice()));
        assert_eq!(passwords.known(&key(1), 1_000 + GOOD_MS), None);
        assert_eq!(passwords.known(&key(2), 1_000 + BAD_MS - 1), Some(Verdict::Bad));
        assert_eq!(passwords.known(&key(2), 1_000 + BAD_MS), None);
        // Hashed once more, it is as good as new.
        passwords.remember(key(1), &alice(), 1_000 + GOOD_MS);
        assert_eq!(passwords.known(&key(1), 1_000 + 2 * GOOD_MS - 1), Some(alice()));
        // Asking does not make it last.
        passwords.remember(key(1), &alice(), 1_000 + 2 * GOOD_MS - 1);
        assert_eq!(passwords.known(&key(1), 1_000 + 2 * GOOD_MS), None);
    }

    #[test]
    fn both_kinds_are_bounded_and_apart() {
        let passwords = Passwords::default();
        passwords.remember(key(0), &alice(), 0);
        for number in 1..=3 * BAD_MAX {
            passwords.remember(key(number), &Verdict::Bad, 0);
        }
        assert_eq!(passwords.bad.borrow().all.len(), BAD_MAX);
        assert_eq!(passwords.bad.borrow().order.len(), BAD_MAX);
        assert_eq!(passwords.known(&key(1), 0), None);
        assert_eq!(passwords.known(&key(3 * BAD_MAX), 0), Some(Verdict::Bad));
        assert_eq!(passwords.known(&key(0), 0), Some(alice()));
        for number in 0..GOOD_MAX + 9 {
            passwords.remember(key(number), &alice(), 0);
        }
        assert_eq!(
            (passwords.good.borrow().all.len(), passwords.good.borrow().order.len()),
            (GOOD_MAX, GOOD_MAX)
        );
        // What is over makes room at once.
        passwords.remember(key(0), &alice(), GOOD_MS);
        assert_eq!(passwords.good.borrow().all.len(), 1);
    }

    struct Sends(mpsc::Sender<()>);

    impl Wake for Sends {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(());
        }
    }

    /// What a file says of alice, whose password is "U*U".
    fn hash() -> PasswordHash {
        let text = r#"
            listeners = [{ address = ":0" }]
            rules = [{ name = "all", path = "/*", respond = { status = 200 }, auth = "staff" }]
            [[auth]]
            name = "staff"
            type = "basic"
            users = { alice = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW" }
        "#;
        let compiled = Compiler::new().compile(&Source { name: "test", text }).unwrap();
        match &**compiled.snapshot.providers.first().unwrap() {
            Provider::Basic(basic) => basic.users.get("alice").unwrap().clone(),
            other => panic!("{other:?}"),
        }
    }

    fn asked(user: Option<&str>, password: &str) -> Asked {
        Asked { user: user.map(Into::into), hash: hash(), password: password.into() }
    }

    fn outcome(wait: &Wait<'_>) -> Option<Verdict> {
        let (called, calls) = mpsc::channel();
        let waker = Arc::new(Sends(called)).into();
        loop {
            match wait.poll(&Context::from_waker(&waker)) {
                Poll::Ready(outcome) => return outcome,
                Poll::Pending => calls.recv_timeout(Duration::from_secs(60)).unwrap(),
            }
        }
    }

    #[test]
    fn a_password_is_hashed_once_for_all_who_wait() {
        let (passwords, threads) = (Passwords::default(), Threads::new("test", 1));
        let first = passwords.hash(key(1), asked(Some("alice"), "U*U"), &threads).unwrap();
        let second = passwords.hash(key(1), asked(Some("alice"), "U*U"), &threads).unwrap();
        assert!(passwords.hash(key(2), asked(Some("alice"), "other"), &threads).is_err());
        let (called, calls) = mpsc::channel();
        let waker = Arc::new(Sends(called)).into();
        assert!(first.poll(&Context::from_waker(&waker)).is_pending());
        assert!(second.poll(&Context::from_waker(Waker::noop())).is_pending());
        threads.start(1).unwrap();
        // Who asked last has gone: the others are called all the same.
        drop(second);
        calls.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(outcome(&first), Some(alice()));
        let third = passwords.hash(key(1), asked(Some("alice"), "U*U"), &threads).unwrap();
        assert_eq!(outcome(&third), Some(alice()));
        drop((first, third));
        assert!(passwords.running.borrow().is_empty());
    }

    #[test]
    fn nobody_is_let_in_who_is_not_there_or_says_something_else() {
        let (passwords, threads) = (Passwords::default(), Threads::new("test", 9));
        threads.start(1).unwrap();
        for asked in [asked(None, "U*U"), asked(Some("alice"), "U*u"), asked(None, "")] {
            assert_eq!(outcome(&passwords.hash(key(1), asked, &threads).unwrap()), Some(Verdict::Bad));
        }
    }

    #[test]
    fn who_goes_leaves_nothing_behind() {
        let (passwords, threads) = (Passwords::default(), Threads::new("test", 9));
        let gone = passwords.hash(key(1), asked(Some("alice"), "U*U"), &threads).unwrap();
        drop(gone);
        assert!(passwords.running.borrow().is_empty());
        threads.start(1).unwrap();
        let next = passwords.hash(key(1), asked(Some("alice"), "U*U"), &threads).unwrap();
        assert_eq!(outcome(&next), Some(alice()));
    }
}
