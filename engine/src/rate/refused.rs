//! What a client is told that came too often: the fields of a 429 (RFC 6585 section 4), when it may come again (RFC 9110 section
//! 10.2.3) and what holds for it (draft-ietf-httpapi-ratelimit-headers-10).

use std::fmt::Write;
use std::time::Duration;

use ringway_config::RateLimit;

/// It came too often.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The fields that say when it may come again, as whole lines.
    pub(crate) fields: Vec<u8>,
}

/// A limit, as clients are told of it.
#[derive(Debug)]
pub(super) struct Policy {
    /// The fields of a 429, up to the number of seconds that ends them.
    fields: String,
}

impl Policy {
    /// That of the site or rule called `name`.
    pub(super) fn new(name: &str, limit: &RateLimit) -> Self {
        let mut quoted = String::new();
        quote(name, &mut quoted);
        let (quota, window_s) = in_seconds(limit);
        let policy = format!("RateLimit-Policy: {quoted};q={quota};w={window_s}\r\n");
        Self { fields: format!("{policy}RateLimit: {quoted};r=0;t=") }
    }

    /// The answer to a request that came `early_ns` nanoseconds too soon.
    pub(super) fn refused(&self, early_ns: u64) -> Refused {
        // In whole seconds: one that is told less would come too soon again.
        let seconds = early_ns.div_ceil(1_000_000_000).max(1);
        let fields = format!("Retry-After: {seconds}\r\n{}{seconds}\r\n", self.fields);
        Refused { fields: fields.into_bytes() }
    }
}

/// The requests in a time of whole seconds, which is all that the fields can say.
fn in_seconds(limit: &RateLimit) -> (u128, u128) {
    let second_ns = Duration::from_secs(1).as_nanos();
    let per_ns = limit.per.as_nanos().max(1);
    let window_s = per_ns.div_ceil(second_ns);
    (u128::from(limit.requests) * window_s * second_ns / per_ns, window_s)
}

/// Writes `name` as a String of RFC 9651, section 3.3.3. What such a one cannot have is percent-encoded.
fn quote(name: &str, out: &mut String) {
    out.push('"');
    for byte in name.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            // Writing to a String does not fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use ringway_config::RateKey;

    use super::*;

    fn told(name: &str, requests: u32, per_ms: u64, early_ns: u64) -> String {
        let per = Duration::from_millis(per_ms);
        let limit = RateLimit { requests, per, burst: requests, key: RateKey::Client };
        String::from_utf8(Policy::new(name, &limit).refused(early_ns).fields).unwrap()
    }

    #[test]
    fn a_refusal_says_when_and_why() {
        assert_eq!(
            told("api", 100, 60_000, 600_000_000),
            "Retry-After: 1\r\nRateLimit-Policy: \"api\";q=100;w=60\r\nRateLimit: \"api\";r=0;t=1\r\n"
        );
        assert!(told("api", 1, 60_000, 59_000_000_001).starts_with("Retry-After: 60\r\n"));
        assert!(told("api", 1, 60_000, 59_000_000_000).ends_with(";t=59\r\n"));
        assert!(told("api", 1, 60_000, 0).starts_with("Retry-After: 1\r\n"));
    }

    #[test]
    fn times_are_whole_seconds_at_the_same_rate() {
        for (requests, per_ms, policy) in [
            (10, 1_000, ";q=10;w=1\r\n"),
            (10, 250, ";q=40;w=1\r\n"),
            (3, 1_500, ";q=4;w=2\r\n"),
            (1, 86_400_000, ";q=1;w=86400\r\n"),
            (1_000_000, 1, ";q=1000000000;w=1\r\n"),
        ] {
            let told = told("r", requests, per_ms, 1);
            assert!(told.contains(policy), "{told}");
        }
    }

    #[test]
    fn a_name_does_not_leave_its_quotes() {
        assert!(told(r#"a "b" \c"#, 1, 1000, 1).contains(r#"RateLimit: "a \"b\" \\c";r=0"#));
        assert!(told("é\u{7f}", 1, 1000, 1).contains(r#"RateLimit: "%C3%A9%7F";r=0"#));
    }
}
