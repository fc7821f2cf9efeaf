//! The `[[auth]]` providers, and what sites and rules say of access. No finding repeats a value of a provider but for its name:
//! findings are written to logs. The place of one about a user or a token is its key, and not said: people write passwords
//! there, too.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::edits::{NEVER, known_twin};
use super::upstreams::Upstreams;
use super::{Context, NAME_CHARS_MAX, Names, bad_name, is_token, unset};
use crate::address;
use crate::password::PasswordHash;
use crate::problem::{Fault, Finding, Pointer};
use crate::public_routes::{GLOBS_MAX, Glob, GlobFault, PublicRoutes};
use crate::schema::{self, AuthType};
use crate::snapshot::{
    Auth, AuthId, Basic, Bearer, Credentials, ForwardAuth, Owner, Provider, Rule, Server, Site, TokenDigest,
    UpstreamId,
};
use crate::value::{AutoOrBool, TextOrFalse};
use crate::variables::expanded;

/// A token with fewer characters is guessed sooner or later.
const TOKEN_CHARS_WARNED: usize = 16;
/// The longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 4096;
/// What stands before a token's digest.
const SHA256: &str = "sha256:";

/// The client's fields that an endpoint gets when `request_headers` is not there.
const ASKED_WITH: [&str; 2] = ["authorization", "cookie"];
/// The fields in which Ringway tells backends about the client; and an endpoint about the request, too.
const TOLD: [&str; 7] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-forwarded-method",
    "x-forwarded-uri",
];
/// The field by which `base_header` tells backends where they stand.
const BASE: &str = "x-base";

/// The upstream of an endpoint that has a problem: no snapshot will show it.
const NOWHERE: UpstreamId = UpstreamId(0);

/// The providers while sites and rules are being read.
#[derive(Default)]
pub(super) struct Providers {
    /// In file order.
    pub(super) list: Vec<Provider>,
    by_name: HashMap<String, AuthId>,
}

impl Providers {
    /// Reads `[[auth]]`; a `forward` endpoint is an upstream like a rule's target.
    pub(super) fn of(
        written: &[schema::AuthProvider],
        server: &Server,
        upstreams: &mut Upstreams,
        context: &mut Context<'_>,
    ) -> Self {
        let (mut read, mut names) = (Self::default(), Names::default());
        for (index, written) in written.iter().enumerate() {
            let at = Pointer::default().key("auth").index(index);
            names.check(&written.name, index, "provider", at.key("name"), &mut context.findings);
            check_foreign_keys(written, &at, &mut context.findings);
            let provider = match written.r#type {
                AuthType::Basic => Provider::Basic(basic(written, &at, context)),
                AuthType::Bearer => Provider::Bearer(bearer(written, &at, context)),
                AuthType::Forward => Provider::Forward(forward(written, &at, server, upstreams, context)),
            };
            read.by_name.entry(written.name.clone()).or_insert(AuthId(index as u32));
            read.list.push(provider);
        }
        read
    }

    /// The provider that a site names; `at` is the name's place.
    pub(super) fn of_site(
        &self,
        written: &Option<TextOrFalse>,
        at: &Pointer,
        context: &mut Context<'_>,
    ) -> Option<AuthId> {
        match written {
            Some(TextOrFalse::Text(name)) => self.named(name, at, &mut context.findings),
            Some(TextOrFalse::False) | None => None,
        }
    }

    /// What a rule says; `at` is the rule.
    pub(super) fn of_rule(&self, written: &schema::Rule, at: &Pointer, context: &mut Context<'_>) -> Auth {
        match &written.auth {
            None => Auth::OfSite,
            Some(TextOrFalse::False) => Auth::Open,
            // Where the name is unknown there is an error, and no snapshot.
            Some(TextOrFalse::Text(name)) => {
                self.named(name, &at.key("auth"), &mut context.findings).map_or(Auth::OfSite, Auth::Provider)
            }
        }
    }

    fn named(&self, name: &str, at: &Pointer, findings: &mut Vec<Finding>) -> Option<AuthId> {
        let found = self.by_name.get(name).copied();
        // One whose name cannot be read may be the one that is meant.
        if found.is_none() && self.list.iter().all(|provider| bad_name(provider.name()).is_none()) {
            let finding = Finding::error(at.clone(), format!("there is no provider {name:?} in [[auth]]"));
            let finding = match name {
                "none" | "off" | "false" | "" => finding.help("write auth = false to let everybody in"),
                _ => finding.did_you_mean(name, self.list.iter().map(Provider::name)),
            };
            findings.push(finding);
        }
        found
    }

    /// Warns of providers that nobody names, and of public routes where nothing else is asked for. `places` are those of the
    /// rules.
    pub(super) fn warn_of_pointless(
        &self,
        sites: &[Site],
        rules: &[Rule],
        places: &[Pointer],
        findings: &mut Vec<Finding>,
    ) {
        let of_rules = rules.iter().filter_map(|rule| rule.auth.provider(None));
        let used: HashSet<AuthId> = sites.iter().filter_map(|site| site.auth).chain(of_rules).collect();
        for (index, provider) in self.list.iter().enumerate() {
            if !used.contains(&AuthId(index as u32)) {
                let at = Pointer::default().key("auth").index(index).key("name");
                let message = format!("no site and no rule names the provider {:?}", provider.name());
                findings.push(Finding::warning(at, message));
            }
        }
        for (rule, place) in rules.iter().zip(places) {
            if !rule.public_routes.is_empty() && !is_ever_protected(rule, sites) {
                let finding =
                    Finding::warning(place.key("public_routes"), "this rule lets everybody in anyway");
                findings
                    .push(finding.on_key().help("name a provider with `auth`, in the rule or in its site"));
            }
        }
    }
}

/// Whether there is a site in which this rule asks for credentials.
fn is_ever_protected(rule: &Rule, sites: &[Site]) -> bool {
    let mut users = sites.iter().enumerate().filter(|(index, site)| match rule.owner {
        Owner::Site(owner) => owner.index() == *index,
        Owner::Project(project) => site.project == Some(project),
        Owner::Everywhere => true,
    });
    rule.auth.provider(None).is_some() || users.any(|(_, site)| rule.auth.provider(site.auth).is_some())
}

/// The keys that belong to another type.
fn check_foreign_keys(written: &schema::AuthProvider, at: &Pointer, findings: &mut Vec<Finding>) {
    use AuthType::{Basic, Bearer, Forward};
    let default = schema::AuthProvider::default();
    let keys: [(&str, bool, &[AuthType]); 8] = [
        ("realm", written.realm.is_some(), &[Basic, Bearer]),
        ("users", !written.users.is_empty(), &[Basic]),
        ("tokens", !written.tokens.is_empty(), &[Bearer]),
        ("url", written.url.is_some(), &[Forward]),
        ("request_headers", written.request_headers.is_some(), &[Forward]),
        ("copy_headers", !written.copy_headers.is_empty(), &[Forward]),
        ("timeout", written.timeout != default.timeout, &[Forward]),
        ("cache", written.cache != default.cache, &[Forward]),
    ];
    for (key, _, types) in keys.iter().filter(|(_, there, types)| *there && !types.contains(&written.r#type))
    {
        let types =
            types.iter().map(|of| format!("\"{}\"", type_name(*of))).collect::<Vec<_>>().join(" and ");
        let message = format!("`{key}` is a key of providers of type {types}");
        findings.push(Finding::error(at.key(key), message).on_key());
    }
}

fn type_name(of: AuthType) -> &'static str {
    match of {
        AuthType::Basic => "basic",
        AuthType::Bearer => "bearer",
        AuthType::Forward => "forward",
    }
}

/// What credentials are for: the name of the provider, unless it says something else.
fn realm(written: &schema::AuthProvider, at: &Pointer, findings: &mut Vec<Finding>) -> String {
    let realm = written.realm.as_ref().unwrap_or(&written.name);
    if written.realm.is_some() && realm.chars().any(char::is_control) {
        findings.push(Finding::error(at.key("realm"), "a realm has no control characters"));
    } else if realm.chars().count() > NAME_CHARS_MAX {
        let message = format!("a realm has at most {NAME_CHARS_MAX} characters");
        findings.push(Finding::error(at.key("realm"), message));
    }
    realm.clone()
}

fn basic(written: &schema::AuthProvider, at: &Pointer, context: &mut Context<'_>) -> Basic {
    let realm = realm(written, at, &mut context.findings);
    let at = at.key("users");
    if written.users.is_empty() {
        let finding = Finding::error(at.clone(), "a `basic` provider has at least one user");
        let help = "users = { alice = \"$argon2id$…\" }; `ringway hash-password` makes such a hash";
        context.findings.push(finding.help(help));
    }
    let mut users = BTreeMap::new();
    for (name, hash) in &written.users {
        let at = at.key(name);
        if let Some(message) = bad_user(name) {
            context.findings.push(Finding::error(at, message).on_key());
            continue;
        }
        let Some(hash) = secret(hash, &at, context) else { continue };
        match PasswordHash::parse(&hash) {
            Ok(hash) => {
                users.insert(name.as_str().into(), hash);
            }
            Err(fault) => context.findings.push(Finding::fault(at, fault).on_key()),
        }
    }
    Basic { name: written.name.clone(), realm, users }
}

/// Why nobody can be called so.
fn bad_user(name: &str) -> Option<String> {
    if name.contains(':') {
        return Some("a user's name has no `:`: it ends there (RFC 7617 section 2)".to_owned());
    }
    bad_name(name)
}

/// That a variable is not set. It is named if it is called as variables are: what else stands in `${…}` may be a secret.
fn unset_here(variable: &str, consequence: &str, at: &Pointer) -> Finding {
    let is_usual = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if variable.bytes().all(is_usual) {
        return unset(variable, consequence, at).into_warning();
    }
    let message = format!("the environment variable that this needs is not set{consequence}");
    Finding::warning(at.clone(), message).help("set it, or write a default: ${NAME:-default}")
}

/// A fault of variables without their names.
fn untold(fault: Fault) -> Fault {
    Fault { message: "a `${` of this value begins no variable".to_owned(), ..fault }
}

/// A value with its variables replaced. `None`, and a finding, when it cannot be known.
fn secret(written: &str, at: &Pointer, context: &mut Context<'_>) -> Option<String> {
    match expanded(written, context.variables) {
        Ok(expanded) if expanded.unset.is_empty() => Some(expanded.text),
        Ok(expanded) => {
            context.findings.extend(
                expanded
                    .unset
                    .iter()
                    .map(|variable| unset_here(variable, ": nobody comes in by this name", at).on_key()),
            );
            None
        }
        Err(fault) => {
            context.findings.push(Finding::fault(at.clone(), untold(fault)).on_key());
            None
        }
    }
}

fn bearer(written: &schema::AuthProvider, at: &Pointer, context: &mut Context<'_>) -> Bearer {
    let realm = realm(written, at, &mut context.findings);
    let at = at.key("tokens");
    if written.tokens.is_empty() {
        let finding = Finding::error(at.clone(), "a `bearer` provider has at least one token");
        context.findings.push(finding.help("tokens = { ci = \"${CI_TOKEN}\" }, or its digest: \"sha256:…\""));
    }
    let mut tokens: Vec<(TokenDigest, Arc<str>)> = Vec::new();
    let mut places = HashMap::new();
    for (name, token) in &written.tokens {
        let at = at.key(name);
        if let Some(message) = bad_name(name) {
            context.findings.push(Finding::error(at, message).on_key());
            continue;
        }
        let Some(token) = secret(token, &at, context) else { continue };
        let digest = match digest(&token) {
            Ok(digest) => digest,
            Err(fault) => {
                context.findings.push(Finding::fault(at, fault).on_key());
                continue;
            }
        };
        let before = places.insert(digest.first_word(), tokens.len()).and_then(|place| tokens.get(place));
        if before.is_some_and(|(known, _)| *known == digest) {
            let message = "this token has another name in this provider, too";
            context.findings.push(Finding::error(at.clone(), message).on_key());
        }
        if !is_digest(&token) && token.len() < TOKEN_CHARS_WARNED {
            let message = format!("a token of fewer than {TOKEN_CHARS_WARNED} characters can be guessed");
            let finding = Finding::warning(at, message).on_key();
            context.findings.push(finding.help("`openssl rand -hex 32` makes one that cannot"));
        }
        tokens.push((digest, name.as_str().into()));
    }
    Bearer::new(written.name.clone(), realm, tokens)
}

fn is_digest(token: &str) -> bool {
    token.get(..SHA256.len()).is_some_and(|start| start.eq_ignore_ascii_case(SHA256))
}

/// The digest that a token's text says, or the one of the text.
fn digest(token: &str) -> Result<TokenDigest, Fault> {
    if is_digest(token) {
        let digits = token.get(SHA256.len()..).and_then(from_hexadecimal);
        let fault = || Fault::new("a token's digest has 64 hexadecimal digits behind `sha256:`");
        return digits
            .map(TokenDigest::from_bytes)
            .ok_or_else(|| fault().help("`printf %s TOKEN | sha256sum` writes them"));
    }
    if token.is_empty() {
        return Err(Fault::new("an empty token would be none"));
    }
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Fault::new(format!("a token has at most {TOKEN_BYTES_MAX} bytes")));
    }
    if token.starts_with("$argon2") || token.starts_with("$2") {
        let fault = Fault::new("this is the hash of a password, which no token is compared with");
        return Err(fault.help("write \"sha256:\" and the token's SHA-256, or the token itself"));
    }
    // `b64token` of RFC 6750 section 2.1, and what else clients get away with.
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Fault::new("a token has letters, digits and `-._~+/=`, and no white space"));
    }
    Ok(TokenDigest::of(token.as_bytes()))
}

fn from_hexadecimal(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?;
    }
    Some(bytes)
}

fn forward(
    written: &schema::AuthProvider,
    at: &Pointer,
    server: &Server,
    upstreams: &mut Upstreams,
    context: &mut Context<'_>,
) -> ForwardAuth {
    let (upstream, path) = endpoint(written, at, upstreams, context);
    let asked_with = match &written.request_headers {
        Some(names) => fields(names, &at.key("request_headers"), &mut context.findings),
        None => ASKED_WITH.map(str::to_owned).to_vec(),
    };
    ForwardAuth {
        name: written.name.clone(),
        upstream,
        path,
        request_fields: asked_with,
        copied_fields: copied(&written.copy_headers, at.key("copy_headers"), server, &mut context.findings),
        timeout: written.timeout.0,
        cache: written.cache.0,
    }
}

/// Where an endpoint is, and the path and query to ask for.
fn endpoint(
    written: &schema::AuthProvider,
    at: &Pointer,
    upstreams: &mut Upstreams,
    context: &mut Context<'_>,
) -> (UpstreamId, String) {
    let nowhere = (NOWHERE, "/".to_owned());
    let at = at.key("url");
    let Some(url) = &written.url else {
        let finding = Finding::error(at, "a `forward` provider has a `url`");
        context.findings.push(finding.help("url = \"http://127.0.0.1:4180/oauth2/auth\""));
        return nowhere;
    };
    let backend = match expanded(url, context.variables) {
        Err(fault) => Err(untold(fault)),
        Ok(text) => match text.unset.first() {
            None => self::url(&text.text),
            Some(variable) => {
                let consequence = ": who asks for credentials here gets 503";
                context.findings.push(unset_here(variable, consequence, &at));
                Ok((address::unknown_backend(url), "/".to_owned()))
            }
        },
    };
    match backend {
        Ok((backend, path)) => (upstreams.implied(backend, &at, &mut context.findings), path),
        Err(fault) => {
            context.findings.push(Finding::fault(at, fault));
            nowhere
        }
    }
}

/// The server of an endpoint's URL, and its path and query. A fault repeats nothing of it.
fn url(text: &str) -> Result<(crate::snapshot::Backend, String), Fault> {
    if text.starts_with("unix:") {
        return Err(
            Fault::new("an endpoint is an http URL").help("write \"http://127.0.0.1:4180/oauth2/auth\"")
        );
    }
    let (before, query) = match text.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (text, None),
    };
    let Ok(target) = address::target(before) else { return Err(bad_url(before)) };
    let Some(query) = query else { return Ok((target.backend, target.path)) };
    if !query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(Fault::new("a query has no white space, no `#` and only ASCII characters"));
    }
    Ok((target.backend, format!("{}?{query}", target.path)))
}

fn bad_url(text: &str) -> Fault {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("https" | "wss") => Fault::new("TLS to backends is not supported yet").help("write an http URL"),
        Some(_) if text.contains('@') => Fault::new("an endpoint's URL has no user and password"),
        _ => Fault::new("this is no http URL of an endpoint")
            .help("write a host, a port perhaps, and a path: \"http://127.0.0.1:4180/oauth2/auth\""),
    }
}

/// The names of fields, in lower case.
fn fields(names: &[String], at: &Pointer, findings: &mut Vec<Finding>) -> Vec<String> {
    let mut read: Vec<String> = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let lower = name.to_ascii_lowercase();
        let wrong = if !is_token(name) {
            "this is no field name: it is made of letters, digits and hyphens".to_owned()
        } else if lower == "host" || NEVER.contains(&&*lower) {
            format!(
                "the field {name} is Ringway's own: it belongs to the connection, or to what Ringway promises"
            )
        } else if TOLD.contains(&&*lower) {
            format!("the field {name} is Ringway's to set: it tells who asks, and for what")
        } else if let Some(hyphened) = known_twin(&lower) {
            format!("this field would be read as {hyphened} by many backends: write it with hyphens")
        } else if read.contains(&lower) {
            "this field stands in this list already".to_owned()
        } else {
            read.push(lower);
            continue;
        };
        findings.push(Finding::error(at.index(index), wrong));
    }
    read
}

/// The names of the fields that an endpoint sets: none that Ringway writes beside it, so that a backend gets one of them.
/// Fields without which a request, or its body, would be read as something else: what is copied, clients do not send.
const OF_THE_REQUEST: [&str; 5] =
    ["Content-Type", "Content-Encoding", "Content-Range", "Range", "Accept-Encoding"];

fn copied(names: &[String], at: Pointer, server: &Server, findings: &mut Vec<Finding>) -> Vec<String> {
    let ours = [Some(BASE), server.request_id.as_deref()];
    for (index, name) in names.iter().enumerate() {
        if OF_THE_REQUEST.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            let message = format!("the field {name} says what the request is: no endpoint can");
            findings.push(Finding::error(at.index(index), message));
        }
        if ours.into_iter().flatten().any(|own| own.eq_ignore_ascii_case(name)) {
            let message = format!("the field {name} is Ringway's to set: backends get it from nobody else");
            findings.push(Finding::error(at.index(index), message));
        }
    }
    fields(names, &at, findings)
}

/// The paths of a rule that need no credentials; `at` is the rule.
pub(super) fn public_routes(written: &schema::Rule, at: &Pointer, context: &mut Context<'_>) -> PublicRoutes {
    let (at, findings) = (at.key("public_routes"), &mut context.findings);
    let mut routes = PublicRoutes::default();
    if written.public_routes.values().map(Vec::len).sum::<usize>() > GLOBS_MAX {
        let message =
            format!("a rule has at most {GLOBS_MAX} public routes: each request is compared with them");
        findings.push(Finding::error(at.clone(), message).on_key());
    }
    for (method, globs) in &written.public_routes {
        let at = at.key(method);
        check_method(method, &at, findings);
        for (index, glob) in globs.iter().enumerate() {
            match Glob::parse(glob) {
                Ok(glob) => routes.add(method, glob),
                Err(GlobFault { fault, at: offset }) => {
                    findings.push(Finding::fault(at.index(index), fault).within(offset));
                }
            }
        }
    }
    routes
}

fn check_method(method: &str, at: &Pointer, findings: &mut Vec<Finding>) {
    if !is_token(method) {
        findings.push(Finding::error(at.clone(), format!("{method:?} is no method")).on_key());
    } else if method.bytes().any(|byte| byte.is_ascii_lowercase()) {
        let message = "methods are case-sensitive, and clients send them in capitals";
        let finding = Finding::warning(at.clone(), message).on_key();
        findings.push(finding.help(format!("write {}", method.to_ascii_uppercase())));
    }
}

/// Whether a rule's requests bring their credentials to the backend.
pub(super) fn credentials(written: &schema::Rule) -> Credentials {
    match written.forward_credentials {
        AutoOrBool::Auto => Credentials::Auto,
        AutoOrBool::Bool(true) => Credentials::Forwarded,
        AutoOrBool::Bool(false) => Credentials::Dropped,
    }
}
