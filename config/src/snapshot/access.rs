//! Who may come in, and how often.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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
    /// Each token, and what it is called.
    pub tokens: Vec<(TokenDigest, Arc<str>)>,
}

/// The SHA-256 of a token. Compared in constant time, and never shown.
#[derive(Clone, Copy)]
pub struct TokenDigest(pub [u8; 32]);

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

impl Bearer {
    /// The scheme of its credentials (RFC 6750).
    pub const SCHEME: &str = "Bearer";
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
