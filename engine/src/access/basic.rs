//! Users with passwords (RFC 7617). A password is hashed on a thread of its own, and what came of it is remembered for a while.
//! A user who is not there costs what one costs who is.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringway_config::{Basic, PASSWORD_BYTES_MAX, PasswordHash};
use ringway_wire::RequestHead;

use super::authorization::{Authorization, challenge};
use super::verdicts::{Asked, Key, Verdict};
use super::{Check, Denied, Granted, Request, Verdicts};
use crate::conn::Client;
use crate::error::Error;
use crate::net::patrol::Look;
use crate::threads::Full;
use crate::upstream::stand;
use crate::worker::Worker;

/// The longest name of a user, in bytes: a name in the file has at most 128 characters.
const USER_BYTES_MAX: usize = 512;
/// The longest user, colon and password.
const CREDENTIALS_BYTES_MAX: usize = USER_BYTES_MAX + 1 + PASSWORD_BYTES_MAX;

/// How long a request waits for its password to be hashed: as long as a browser's user may.
const HASHING_MAX: Duration = Duration::from_secs(10);

/// A password that is to be hashed.
pub(crate) struct Pending {
    /// Its name.
    provider: Box<str>,
    verdicts: Rc<Verdicts>,
    key: Key,
    asked: Asked,
    challenge: Vec<u8>,
}

/// What the request says, or what is known of it; hashing is left to be waited for.
pub(super) fn check(worker: &Worker, verdicts: &Rc<Verdicts>, basic: &Basic, request: &Request<'_>) -> Check {
    let challenge = || challenge(Basic::SCHEME, &basic.realm, ", charset=\"UTF-8\"");
    let denied = || Check::Known(Err(Denied::Unauthorized { challenge: challenge() }));
    let failed = |why| {
        verdicts.complaints.of_password(&basic.name, why, worker.now_ms());
        Check::Known(Err(Denied::Failed(Error::AuthUnavailable)))
    };
    let mut room = [0; CREDENTIALS_BYTES_MAX];
    let Some((user, password)) = credentials(request.head, request.bytes, &mut room) else { return denied() };
    let Some(key) = Key::of_password(&basic.name, user, password) else { return failed("no_random_bytes") };
    match verdicts.passwords.known(&key, worker.now_ms()) {
        Some(Verdict::Good(user)) => Check::Known(Ok(granted(user))),
        Some(Verdict::Bad) => denied(),
        None => match asked(basic, user, password) {
            Some(asked) => {
                let (provider, verdicts) = (basic.name.as_str().into(), verdicts.clone());
                Check::Pending(super::Pending::Password(Pending {
                    provider,
                    verdicts,
                    key,
                    asked,
                    challenge: challenge(),
                }))
            }
            None => failed("no_hash"),
        },
    }
}

fn granted(user: Arc<str>) -> Granted {
    Granted { user: Some(user), ..Granted::default() }
}

/// The hash that a password is compared with. For a user who is not there that of another one stands in, always the same, so
/// that the time tells nothing even where hashes cost differently; no password is right then.
fn asked(basic: &Basic, user: &str, password: &str) -> Option<Asked> {
    // Looked for in any case: that takes time, too.
    let stand_in = stand_in(basic, user)?;
    let (user, hash) = match basic.users.get_key_value(user) {
        Some((user, hash)) => (Some(user.clone()), hash.clone()),
        None => (None, stand_in),
    };
    Some(Asked { user, hash, password: password.into() })
}

fn stand_in(basic: &Basic, user: &str) -> Option<PasswordHash> {
    let count = basic.users.len() as u64;
    match Key::of_user(&basic.name, user)?.number().checked_rem(count) {
        Some(number) => basic.users.values().nth(number as usize).cloned(),
        None => PasswordHash::decoy(),
    }
}

/// User and password, decoded to `room`. `None` for what is none: too long, no UTF-8, or with control characters, which RFC
/// 7617 section 2 forbids.
fn credentials<'c>(
    head: &RequestHead,
    bytes: &[u8],
    room: &'c mut [u8; CREDENTIALS_BYTES_MAX],
) -> Option<(&'c str, &'c str)> {
    let Authorization::Of(encoded) = Authorization::read(head, bytes, Basic::SCHEME) else { return None };
    decoded(encoded, room)
}

fn decoded<'c>(encoded: &[u8], room: &'c mut [u8; CREDENTIALS_BYTES_MAX]) -> Option<(&'c str, &'c str)> {
    let length = STANDARD.decode_slice(encoded, room).ok()?;
    let text = str::from_utf8(room.get(..length)?).ok()?;
    let (user, password) = text.split_once(':')?;
    let fits = user.len() <= USER_BYTES_MAX && password.len() <= PASSWORD_BYTES_MAX;
    (fits && !text.chars().any(char::is_control)).then_some((user, password))
}

impl Pending {
    /// Waits until the password is hashed. `look` shows when the client has gone.
    pub(super) async fn verdict(
        self,
        worker: &Worker,
        client: &Client,
        look: Look,
    ) -> Result<Granted, Denied> {
        let Self { provider, verdicts, key, asked, challenge } = self;
        let failed = |why| {
            verdicts.complaints.of_password(&provider, why, worker.now_ms());
            Denied::Failed(Error::AuthUnavailable)
        };
        let passwords = &verdicts.passwords;
        let hashing = passwords.hash(key, asked, &worker.shared.hashing);
        let hashing = hashing.map_err(|Full| failed("too_many_wait"))?;
        let now = worker.wheel.now();
        let waited = stand(&client.registration, now, look, HASHING_MAX, |cx| hashing.poll(cx)).await;
        match waited {
            Ok(Some(verdict)) => {
                passwords.remember(key, &verdict, worker.now_ms());
                match verdict {
                    Verdict::Good(user) => Ok(granted(user)),
                    Verdict::Bad => Err(Denied::Unauthorized { challenge }),
                }
            }
            Err(Error::ClientGone) => Err(Denied::Failed(Error::ClientGone)),
            Ok(None) => Err(failed("hashing_failed")),
            Err(_) => Err(failed("hashing_too_late")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: impl AsRef<[u8]>) -> Option<(String, String)> {
        let mut room = [0; CREDENTIALS_BYTES_MAX];
        let read = decoded(STANDARD.encode(text).as_bytes(), &mut room);
        read.map(|(user, password)| (user.to_owned(), password.to_owned()))
    }

    #[test]
    fn user_and_password_are_split_at_the_first_colon() {
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(read("alice:secret"), pair("alice", "secret"));
        assert_eq!(read("alice:se:cr:et"), pair("alice", "se:cr:et"));
        assert_eq!(read("alice:"), pair("alice", ""));
        assert_eq!(read(":"), pair("", ""));
        assert_eq!(read("grüße:pässword"), pair("grüße", "pässword"));
    }

    #[test]
    fn what_is_no_pair_is_none() {
        for text in ["", "alice", "a\0b:c", "a:b\nc", "a:b\u{7f}", "a:\u{85}"] {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert_eq!(read(b"a:\xff"), None);
        let mut room = [0; CREDENTIALS_BYTES_MAX];
        for encoded in ["YTpi=", "YTpi====", "YTo", "YT:i", "YTpi YTpi", "YTpi\n", "YTo=YTo=", "YTq=", "-_-_"]
        {
            assert_eq!(decoded(encoded.as_bytes(), &mut room), None, "{encoded:?}");
        }
    }

    #[test]
    fn both_are_bounded() {
        let (user, password) = ("u".repeat(USER_BYTES_MAX), "p".repeat(PASSWORD_BYTES_MAX));
        assert!(read(format!("{user}:{password}")).is_some());
        assert!(read(format!("{user}u:{}", &password[1..])).is_none());
        assert!(read(format!("{}:{password}p", &user[1..])).is_none());
        assert!(read(format!("{user}:{password}p")).is_none());
    }
}
