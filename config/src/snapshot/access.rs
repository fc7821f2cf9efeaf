//! Who may come in, and how often.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::UpstreamId;
use crate::password::PasswordHash;

/// The place of a provider in [`Snapshot::providers`](super::Snapshot::providers). Means nothing in another snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthId(pub u32);

impl AuthId {
    /// The place in the snapshot's list.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Whom a rule lets in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Whom its site lets in.
    #[default]
    OfSite,
    /// Everybody.
    Open,
    /// Whom this provider knows.
    Provider(AuthId),
}

impl Auth {
    /// The provider that holds for a rule with this in a site that has `site`'s.
    pub fn provider(self, site: Option<AuthId>) -> Option<AuthId> {
        match self {
            Self::OfSite => site,
            Self::Open => None,
            Self::Provider(own) => Some(own),
        }
    }
}

/// Who knows whom to let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Users with passwords (RFC 7617).
    Basic(Basic),
    /// Tokens (RFC 6750).
    Bearer(Bearer),
    /// An HTTP endpoint that is asked about each request.
    Forward(ForwardAuth),
}

/// Users with passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basic {
    /// Its name in the file.
    pub name: String,
    /// What the password is for, as the client shows it.
    pub realm: String,
    /// The users, by their names.
    pub users: BTreeMap<Arc<str>, PasswordHash>,
}

/// Tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// Its name in the file.
    pub name: String,
    /// What the tokens are for.
    pub realm: String,
    /// Each token, and what it is called; by the first words of their digests.
    pub(crate) tokens: Vec<(TokenDigest, Arc<str>)>,
}

impl Bearer {
    /// The scheme of its credentials (RFC 6750).
    pub const SCHEME: &str = "Bearer";

    /// Tokens, in any order.
    pub(crate) fn new(name: String, realm: String, mut tokens: Vec<(TokenDigest, Arc<str>)>) -> Self {
        tokens.sort_unstable_by_key(|(digest, _)| digest.first_word());
        Self { name, realm, tokens }
    }

    /// What `token` is called, when it is one of these. How long that takes tells where its digest stands among theirs by the
    /// first word, from which nobody gets to a token; the digests themselves are compared in constant time.
    pub fn holder(&self, token: &[u8]) -> Option<&Arc<str>> {
        let digest = TokenDigest::of(token);
        let begin = self.tokens.partition_point(|(known, _)| known.first_word() < digest.first_word());
        let from_there = self.tokens.get(begin..).unwrap_or_default().iter();
        let mut alike = from_there.take_while(|(known, _)| known.first_word() == digest.first_word());
        alike.find(|(known, _)| *known == digest).map(|(_, name)| name)
    }
}

/// The SHA-256 of a token. Compared in constant time, and never shown.
#[derive(Clone, Copy)]
pub(crate) struct TokenDigest([u64; 4]);

impl TokenDigest {
    /// That of `token`.
    pub(crate) fn of(token: &[u8]) -> Self {
        Self::from_bytes(Sha256::digest(token).into())
    }

    /// These bytes.
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        let (words, _) = bytes.as_chunks();
        let mut digest = Self([0; 4]);
        digest.0.iter_mut().zip(words).for_each(|(word, bytes)| *word = u64::from_be_bytes(*bytes));
        digest
    }

    pub(crate) fn first_word(&self) -> u64 {
        let [first, ..] = self.0;
        first
    }
}

impl PartialEq for TokenDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenDigest {}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("TokenDigest")
    }
}

/// An endpoint that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardAuth {
    /// Its name in the file.
    pub name: String,
    /// Where it is.
    pub upstream: UpstreamId,
    /// The path and query to ask for.
    pub path: String,
    /// The names of the client's fields that it gets, in lower case.
    pub request_fields: Vec<String>,
    /// The names of the fields of a 2xx that go to the backend, in lower case.
    pub copied_fields: Vec<String>,
    /// The bound on connecting, asking and the answer, together.
    pub timeout: Duration,
    /// How long a 2xx is remembered; zero: not at all.
    pub cache: Duration,
}

impl Basic {
    /// The scheme of its credentials (RFC 7617).
    pub const SCHEME: &str = "Basic";
}

impl Provider {
    /// The names of the fields of an endpoint's 2xx that go to the backend, in lower case.
    pub fn copied_fields(&self) -> &[String] {
        match self {
            Self::Basic(_) | Self::Bearer(_) => &[],
            Self::Forward(forward) => &forward.copied_fields,
        }
    }

    /// Its name in the file.
    pub fn name(&self) -> &str {
        match self {
            Self::Basic(basic) => &basic.name,
            Self::Bearer(bearer) => &bearer.name,
            Self::Forward(forward) => &forward.name,
        }
    }
}

/// Whether a client's credentials go to the backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// All but an Authorization that Ringway itself looks at.
    #[default]
    Auto,
    /// All.
    Forwarded,
    /// No Cookie and no Authorization.
    Dropped,
}

/// How often a client may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// So many requests in `per`, evenly.
    pub requests: u32,
    /// The time for `requests`.
    pub per: Duration,
    /// The requests that may come at once, after a pause.
    pub burst: u32,
    /// Whose requests are counted together.
    pub key: RateKey,
}

impl RateLimit {
    /// The time between two requests that come evenly, in nanoseconds; at least one.
    pub fn interval_ns(&self) -> u64 {
        let requests = u128::from(self.requests.max(1));
        let nearest = (self.per.as_nanos() + requests / 2) / requests;
        u64::try_from(nearest).unwrap_or(u64::MAX).max(1)
    }

    /// The time after which a whole burst may come again, in nanoseconds.
    pub fn burst_ns(&self) -> u128 {
        u128::from(self.interval_ns()) * u128::from(self.burst)
    }
}

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RateKey {
    /// Those of a client's address; of an IPv6 address, its /64.
    Client,
    /// All of a site.
    Site,
    /// Those with the same value of this field, its name in lower case; those without one, by client.
    Field(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_is_found_and_no_other() {
        let name = |number: u32| Arc::from(format!("n{number}"));
        let tokens = (0..1000).map(|number| (TokenDigest::of(format!("t{number}").as_bytes()), name(number)));
        let bearer = Bearer::new(String::new(), String::new(), tokens.collect());
        for number in 0..1000 {
            assert_eq!(bearer.holder(format!("t{number}").as_bytes()), Some(&name(number)));
        }
        for other in ["", "t", "t1000", "T1", "t1 ", "n1"] {
            assert_eq!(bearer.holder(other.as_bytes()), None, "{other:?}");
        }
        let none = Bearer::new(String::new(), String::new(), Vec::new());
        assert_eq!(none.holder(b"t1"), None);
    }

    #[test]
    fn digests_that_begin_alike_are_told_apart() {
        let digest =
            |last: u8| TokenDigest::from_bytes(std::array::from_fn(|at| if at == 31 { last } else { 7 }));
        assert!(digest(1) == digest(1) && digest(1) != digest(2));
        assert_eq!(digest(1).first_word(), digest(2).first_word());
    }
}
