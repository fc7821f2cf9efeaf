//! Rules: which requests they take, and what becomes of those.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Auth, Credentials, ProjectId, RateLimit, Site, SiteId, UpstreamId};
use crate::public_routes::PublicRoutes;
use crate::rewrite::{BadRewrite, Location, Rewrite};
use crate::scratch::Scratch;

/// Whose list a rule is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A site.
    Site(SiteId),
    /// A project.
    Project(ProjectId),
    /// The site-less rules.
    Everywhere,
}

/// One line of routing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, unique in its list. A rule that stands for a site's own upstream is called
    /// [`OWN_UPSTREAM`](Self::OWN_UPSTREAM), one for its own folder [`OWN_FILES`](Self::OWN_FILES).
    pub name: String,
    /// What it is for, as written.
    pub description: String,
    /// Takes part in matching.
    pub enabled: bool,
    /// Whose list it is in.
    pub owner: Owner,
    /// The paths it takes.
    pub paths: Paths,
    /// The methods it takes; `None` for all.
    pub methods: Option<Vec<String>>,
    /// Takes WebSocket upgrades.
    pub ws: bool,
    /// What becomes of its requests.
    pub action: Action,
    /// Changes of fields, made after those of the site.
    pub edits: Edits,
    /// It changes nothing but the path: no field, timeout or bound; nor has its upstream timeouts of its own. It says nothing
    /// of access.
    pub is_plain: bool,
    /// Its own bound on the time until a response head.
    pub timeout: Option<Duration>,
    /// Its own bound on a request body; 0 is no limit.
    pub max_request_body_bytes: Option<u64>,
    /// Its own number of retries, in place of the upstream's.
    pub retries: Option<u8>,
    /// Whom it lets in.
    pub auth: Auth,
    /// What needs no credentials.
    pub public_routes: PublicRoutes,
    /// Whether its requests bring their credentials to the backend.
    pub credentials: Credentials,
    /// How often clients may come.
    pub rate_limit: Option<RateLimit>,
}

/// What becomes of a request that a rule took.
#[derive(Debug)]
pub enum Fate<'s> {
    /// It goes to a backend, with this path behind the base path.
    Forwarded(&'s Forward, SentPath),
    /// It is answered with a redirect.
    Redirected {
        /// The status.
        status: u16,
        /// Where to.
        location: Vec<u8>,
    },
    /// It is answered with a fixed response.
    Responded(&'s Arc<Respond>),
    /// It is answered with the file of this path, below a folder.
    File(&'s Files, SentPath),
}

/// Why a request that a rule took cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unserved<'s> {
    /// This environment variable was not set when the configuration was compiled, and the rule or its site needs it.
    Unset(&'s str),
    /// The rule's template makes no path, or no location, of it.
    BadRewrite(BadRewrite),
}

impl Rule {
    /// What the rule is called that stands for a site's own upstream.
    pub const OWN_UPSTREAM: &str = "(upstream)";
    /// What the rule is called that stands for a site's own folder.
    pub const OWN_FILES: &str = "(static_dir)";

    /// What becomes of a request of `path` and `query` that this rule took in `site`. `scratch` is from this rule's snapshot.
    ///
    /// # Errors
    /// Why it cannot be served.
    #[inline]
    pub fn fate<'s>(
        &'s self,
        site: Option<&'s Site>,
        path: &[u8],
        query: Option<&[u8]>,
        scratch: &mut Scratch,
    ) -> Result<Fate<'s>, Unserved<'s>> {
        if let Some(variable) = site.and_then(|site| site.unset.as_deref()) {
            return Err(Unserved::Unset(variable));
        }
        match &self.action {
            Action::Unset(variable) => Err(Unserved::Unset(variable)),
            Action::Forward(forward) => {
                let sent = forward.path.sent(path, scratch).map_err(Unserved::BadRewrite)?;
                Ok(Fate::Forwarded(forward, sent))
            }
            Action::Redirect(redirect) => {
                // `OPTIONS *` asks about the server, whose root is all that it has of a path.
                let path = if path == b"*" { b"/" } else { path };
                let location = redirect.location(path, query, scratch).map_err(Unserved::BadRewrite)?;
                Ok(Fate::Redirected { status: redirect.status, location })
            }
            Action::Respond(respond) => Ok(Fate::Responded(respond)),
            Action::Files(files) => {
                let name = files.path.sent(path, scratch).map_err(Unserved::BadRewrite)?;
                Ok(Fate::File(files, name))
            }
        }
    }

    /// Whether it stands for a site's own upstream or folder.
    pub fn is_fallback(&self) -> bool {
        matches!(&*self.name, Self::OWN_UPSTREAM | Self::OWN_FILES)
    }

    /// Where its requests are forwarded to, when they are.
    pub fn forward(&self) -> Option<&Forward> {
        match &self.action {
            Action::Forward(forward) => Some(forward),
            _ => None,
        }
    }
}

/// The paths that a rule takes, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Paths {
    /// `path`: `/api/*`, `*.json`, `/graphql`, `*`.
    Path(String),
    /// `pattern`: a regular expression.
    Pattern(String),
}

impl Paths {
    /// As it was written.
    pub fn written(&self) -> &str {
        match self {
            Self::Path(text) | Self::Pattern(text) => text,
        }
    }
}

/// What becomes of a rule's requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// They go to a backend.
    Forward(Forward),
    /// They are answered with a redirect.
    Redirect(Redirect),
    /// They are answered with a fixed response.
    Respond(Arc<Respond>),
    /// They are answered with files.
    Files(Files),
    /// They cannot go anywhere: this environment variable, which the rule needs, was not set when the configuration was
    /// compiled.
    Unset(String),
}

/// Where a request is forwarded to. The address comes from here alone, whatever the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The upstream.
    pub upstream: UpstreamId,
    /// What stands before the path on the way to the backend: empty, or `/base`, one trailing `/` of what was written left
    /// out.
    pub base_path: String,
    /// What becomes of the path.
    pub path: PathChange,
    /// Host, and Origin where there is one, are the backend's own authority.
    pub change_origin: bool,
}

/// A folder of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The folder; below the working directory when it is relative.
    pub folder: PathBuf,
    /// What becomes of the path, which is looked for below the folder then.
    pub path: PathChange,
}

/// What becomes of a request's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathChange {
    /// It is sent as it was matched.
    Keep,
    /// Its first bytes, a prefix of whole segments, are taken away.
    Strip {
        /// The bytes of the prefix.
        prefix_bytes: usize,
    },
    /// This is sent in its place: the target's own path as it was written.
    Replace(String),
    /// A template makes a new one.
    Rewrite(RewriteTo),
}

impl PathChange {
    /// The path that is sent for `path`, which the rule took. `scratch` is from this rule's snapshot.
    ///
    /// # Errors
    /// [`BadRewrite`] when it would be no request path.
    #[inline]
    pub fn sent(&self, path: &[u8], scratch: &mut Scratch) -> Result<SentPath, BadRewrite> {
        match self {
            Self::Keep => Ok(SentPath::AsMatched),
            changed => changed.made(path, scratch),
        }
    }

    fn made(&self, path: &[u8], scratch: &mut Scratch) -> Result<SentPath, BadRewrite> {
        match self {
            // `OPTIONS *` asks about the server, not about a path.
            _ if path == b"*" => Ok(SentPath::AsMatched),
            Self::Keep => Ok(SentPath::AsMatched),
            Self::Strip { prefix_bytes } => Ok(SentPath::From(*prefix_bytes)),
            Self::Replace(path) => Ok(SentPath::Made(path.as_bytes().to_vec())),
            Self::Rewrite(to) => {
                let mut made = Vec::new();
                to.rewrite.write(path, &mut scratch.groups, &mut made)?;
                Ok(SentPath::Made(made))
            }
        }
    }
}

/// The path that is sent, behind the base path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SentPath {
    /// The one that was matched.
    AsMatched,
    /// What stands behind its first bytes, or `/` when that is nothing.
    From(usize),
    /// Another one.
    Made(Vec<u8>),
}

impl SentPath {
    /// The path, where `matched` is the one that was matched.
    pub fn of<'a>(&'a self, matched: &'a [u8]) -> &'a [u8] {
        match self {
            Self::AsMatched => matched,
            Self::From(at) => matched.get(*at..).filter(|rest| !rest.is_empty()).unwrap_or(b"/"),
            Self::Made(path) => path,
        }
    }
}

/// A rewrite: what was written, ready to be expanded. Two are equal when they were written alike; the groups that they name
/// are those of their rule's pattern.
#[derive(Clone)]
pub struct RewriteTo {
    /// The template.
    pub written: String,
    pub(crate) rewrite: Arc<Rewrite>,
}

impl PartialEq for RewriteTo {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for RewriteTo {}

impl fmt::Debug for RewriteTo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.fmt(out)
    }
}

/// A redirect. Two are equal when they were written alike; the groups that they name are those of their rule's pattern.
#[derive(Clone)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Where to, as written.
    pub written: String,
    pub(crate) to: Arc<Location>,
}

impl Redirect {
    /// Where a request of `path` and `query` is sent. `scratch` is from this rule's snapshot.
    ///
    /// # Errors
    /// [`BadRewrite`] when it would be no URL, or one of another host.
    pub fn location(
        &self,
        path: &[u8],
        query: Option<&[u8]>,
        scratch: &mut Scratch,
    ) -> Result<Vec<u8>, BadRewrite> {
        let mut location = Vec::new();
        self.to.write(path, query, &mut scratch.groups, &mut location)?;
        Ok(location)
    }
}

impl PartialEq for Redirect {
    fn eq(&self, other: &Self) -> bool {
        (self.status, &self.written) == (other.status, &other.written)
    }
}

impl Eq for Redirect {}

impl fmt::Debug for Redirect {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {:?}", self.status, self.written)
    }
}

/// A fixed response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    /// Its body; none for 204 and 304.
    pub body: String,
}

/// Changes of a message's fields on its way, of a rule or a site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Of requests.
    pub request: FieldEdits,
    /// Of responses.
    pub response: FieldEdits,
}

impl Edits {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty()
    }
}

/// Changes of fields in one direction. No name is in both lists, and none twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldEdits {
    /// Set, in place of what came.
    pub set: Vec<FieldSetting>,
    /// Removed, in lower case.
    pub remove: Vec<String>,
}

impl FieldEdits {
    /// Whether the field `name`, in lower case, is set or removed.
    pub fn has(&self, name: &str) -> bool {
        self.set.iter().any(|field| field.name.eq_ignore_ascii_case(name))
            || self.remove.iter().any(|own| own == name)
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }
}

/// A field that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldSetting {
    /// Its name as written: a token.
    pub name: String,
    /// Its value.
    pub value: FieldValue,
}

/// The value of a field that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// This text, without control characters.
    Text(String),
    /// The request's id.
    RequestId,
}
