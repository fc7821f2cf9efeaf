//! The Authorization field, and what asks for it.

use ringway_wire::{FieldName, RequestHead};

/// What a request's Authorization says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Authorization<'r> {
    /// Credentials of the scheme that was asked for.
    Of(&'r [u8]),
    /// There is none, there are several, or it is of another scheme: each reader could take another one for the request's.
    Unusable,
}

impl<'r> Authorization<'r> {
    /// Reads the credentials of `scheme`, in any case (RFC 9110 section 11.4): what stands behind it and its spaces, one word.
    pub(super) fn read(head: &RequestHead, bytes: &'r [u8], scheme: &str) -> Self {
        if !head.has(FieldName::Authorization) {
            return Self::Unusable;
        }
        let mut fields = head.fields.iter().filter(|field| field.name == FieldName::Authorization);
        match (fields.next(), fields.next()) {
            (Some(only), None) => Self::of(only.value.of(bytes), scheme),
            _ => Self::Unusable,
        }
    }

    fn of(value: &'r [u8], scheme: &str) -> Self {
        let Some((written, rest)) = value.split_at_checked(scheme.len()) else { return Self::Unusable };
        let credentials = rest.trim_ascii_start();
        let is_word = !credentials.is_empty() && credentials.iter().all(u8::is_ascii_graphic);
        if written.eq_ignore_ascii_case(scheme.as_bytes()) && rest.first() == Some(&b' ') && is_word {
            Self::Of(credentials)
        } else {
            Self::Unusable
        }
    }
}

/// The line that asks for credentials of `scheme`, its end included; `more` are further parameters, each behind a comma.
pub(super) fn challenge(scheme: &str, realm: &str, more: &str) -> Vec<u8> {
    let mut quoted = String::with_capacity(realm.len());
    for c in realm.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    format!("WWW-Authenticate: {scheme} realm=\"{quoted}\"{more}\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_one_word_behind_their_scheme() {
        let read = |value: &'static str| Authorization::of(value.as_bytes(), "basic");
        for value in ["Basic YTpi", "basic YTpi", "BASIC   YTpi"] {
            assert_eq!(read(value), Authorization::Of(b"YTpi"), "{value}");
        }
        for value in [
            "",
            "Basic",
            "Basic ",
            "Basic\tYTpi",
            "BasicYTpi",
            "Basically YTpi",
            "Bearer YTpi",
            "YTpi",
            "Basic YTpi x",
            "Basic YTpi, Bearer x",
            "Basic\u{a0}YTpi",
            "Basic YT\u{fc}pi",
            " Basic YTpi",
        ] {
            assert_eq!(read(value), Authorization::Unusable, "{value:?}");
        }
    }

    #[test]
    fn a_realm_is_quoted() {
        let line = challenge("Basic", r#"a "b" \c"#, ", charset=\"UTF-8\"");
        let expected = "WWW-Authenticate: Basic realm=\"a \\\"b\\\" \\\\c\", charset=\"UTF-8\"\r\n";
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }
}
