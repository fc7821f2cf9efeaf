//! Tokens (RFC 6750). A token is looked for by its SHA-256.

use ringway_config::Bearer;

use super::authorization::{Authorization, challenge};
use super::{Denied, Granted, Request};

pub(super) fn check(bearer: &Bearer, request: &Request<'_>) -> Result<Granted, Denied> {
    let denied =
        |why: &str| Denied::Unauthorized { challenge: challenge(Bearer::SCHEME, &bearer.realm, why) };
    let Authorization::Of(token) = Authorization::read(request.head, request.bytes, Bearer::SCHEME) else {
        return Err(denied(""));
    };
    match bearer.holder(token) {
        Some(name) => Ok(Granted { user: Some(name.clone()), ..Granted::default() }),
        None => Err(denied(", error=\"invalid_token\"")),
    }
}
