//! Tokens (RFC 6750). A token is compared by its SHA-256, with that of every token there is, each time all of it.

use ringway_config::{Bearer, TokenDigest};
use sha2::{Digest, Sha256};

use super::authorization::{Authorization, challenge};
use super::{Denied, Granted, Request};

pub(super) fn check(bearer: &Bearer, request: &Request<'_>) -> Result<Granted, Denied> {
    let denied =
        |why: &str| Denied::Unauthorized { challenge: challenge(Bearer::SCHEME, &bearer.realm, why) };
    let Authorization::Of(token) = Authorization::read(request.head, request.bytes, Bearer::SCHEME) else {
        return Err(denied(""));
    };
    let digest = TokenDigest(Sha256::digest(token).into());
    // To the end, whether one was found or not.
    let same = bearer
        .tokens
        .iter()
        .fold(None, |found, (known, name)| if *known == digest { Some(name) } else { found });
    match same {
        Some(name) => Ok(Granted { user: Some(name.clone()), ..Granted::default() }),
        None => Err(denied(", error=\"invalid_token\"")),
    }
}
