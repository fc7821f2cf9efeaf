//! Who may come in, how often, and where targets may point.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::seconds;
use crate::value::Span;

/// A way to know whom to let in; sites and rules name one with `auth`. What a type does not have is refused.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name", "type"]))]
pub(crate) struct AuthProvider {
    /// The name that sites and rules use; unique among providers.
    pub(crate) name: String,
    /// `"basic"`: users with passwords (RFC 7617). `"bearer"`: tokens (RFC 6750). `"forward"`: an HTTP endpoint that is asked
    /// about each request.
    pub(crate) r#type: AuthType,
    /// Of `basic` and `bearer`: what the credentials are for, as a client shows it; without this key, the name.
    pub(crate) realm: Option<String>,
    /// Of `basic`: users and their passwords, hashed with argon2id or bcrypt: `{ alice = "$argon2id$…" }`.
    /// `ringway hash-password` makes such a hash. `${NAME}` is an environment variable.
    pub(crate) users: BTreeMap<String, String>,
    /// Of `bearer`: tokens, each with a name for the log: `{ ci = "sha256:…" }`, the digest in hexadecimal, or the token
    /// itself. `${NAME}` is an environment variable.
    pub(crate) tokens: BTreeMap<String, String>,
    /// Of `forward`: the endpoint, `"http://127.0.0.1:4180/oauth2/auth"`. It gets a GET with the request's method, URI and
    /// host as X-Forwarded-Method, -Uri, -Host and -Proto, and the client's address as X-Forwarded-For. Its 2xx lets the
    /// request through; a 3xx or 4xx goes to the client as it is; everything else denies with 503. `${NAME}` is an
    /// environment variable.
    pub(crate) url: Option<String>,
    /// Of `forward`: the client's fields that the endpoint gets; without this key, Authorization and Cookie.
    pub(crate) request_headers: Option<Vec<String>>,
    /// Of `forward`: the fields of a 2xx that go to the backend. What a client sends under these names never does.
    pub(crate) copy_headers: Vec<String>,
    /// Of `forward`: how long the endpoint may take, connecting included; past it the client gets 503.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1h"))]
    pub(crate) timeout: Span,
    /// Of `forward`: how long a 2xx is remembered for requests about which the endpoint would be told the same. `"0s"`: not
    /// at all.
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "1h"))]
    pub(crate) cache: Span,
}

impl Default for AuthProvider {
    fn default() -> Self {
        Self {
            name: String::new(),
            r#type: AuthType::Basic,
            realm: None,
            users: BTreeMap::new(),
            tokens: BTreeMap::new(),
            url: None,
            request_headers: None,
            copy_headers: Vec::new(),
            timeout: seconds(5),
            cache: seconds(0),
        }
    }
}

/// How a provider knows whom to let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum AuthType {
    Basic,
    Bearer,
    Forward,
}

/// How often a client may come. What comes too often gets 429.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["requests", "per"]))]
pub(crate) struct RateLimit {
    /// So many requests in `per`, evenly.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(crate) requests: u32,
    /// The time for `requests`.
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1d"))]
    pub(crate) per: Span,
    /// The requests that may come at once, after a pause; without this key, `requests`.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(crate) burst: Option<u32>,
    /// Whose requests are counted together: `"client"`, those of an address (of an IPv6 address, its /64); `"site"`, all of
    /// a site; `"header:X-Api-Key"`, those with the same value of this field, and by client where there is none or more than one.
    pub(crate) key: String,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { requests: 1, per: seconds(1), burst: None, key: "client".to_owned() }
    }
}

/// Where targets may point. It is checked when the configuration is read, and on each address that is dialled.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Egress {
    /// `"any"`: everywhere but to 169.254.0.0/16, where clouds keep their secrets. `"public"`: by https alone, and to
    /// addresses of the public Internet alone.
    pub(crate) policy: EgressPolicy,
    /// What may be reached all the same: addresses, networks (`"10.1.0.0/16"`), host names (`"app.internal"`,
    /// `"*.corp.internal"`).
    pub(crate) allow: Vec<String>,
}

impl Default for Egress {
    fn default() -> Self {
        Self { policy: EgressPolicy::Any, allow: Vec::new() }
    }
}

/// Where targets may point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum EgressPolicy {
    Any,
    Public,
}
