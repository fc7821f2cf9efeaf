//! Limits as configurations have them: what they count by, what they refuse, and what stays when they change.

use std::net::IpAddr;

use ringway_config::{Compiler, Source};
use ringway_wire::{Limits, Progress, RequestHead};

use super::*;

const SECOND_NS: u64 = 1_000_000_000;

fn compile(text: &str) -> Snapshot {
    let text = format!("[[listeners]]\naddress = \":1\"\n{text}");
    let compiled = Compiler::new().compile(&Source { name: "test", text: &text });
    compiled.unwrap_or_else(|problems| panic!("{problems:?}")).snapshot
}

/// A site `a` with this limit and a rule `r`, which has the other.
fn of_site_and_rule(site: &str, rule: &str) -> Snapshot {
    let limit =
        |keys: &str| if keys.is_empty() { String::new() } else { format!("rate_limit = {{ {keys} }}") };
    compile(&format!(
        "[[sites]]\nname = \"a\"\nhosts = [\"*\"]\n{}\n[[sites.rules]]\nname = \"r\"\npath = \"/*\"\n\
         target = \"http://127.0.0.1:1\"\n{}\n",
        limit(site),
        limit(rule)
    ))
}

/// The limits of a request to the first site's first rule.
fn limits(snapshot: &Snapshot) -> Vec<Limit> {
    let (site, rule) = (snapshot.sites.first().map(|site| &**site), &snapshot.rules[0]);
    let of_site = site.and_then(|site| Some(Limit::of_site(site, site.rate_limit.as_ref()?)));
    let of_rule = rule.rate_limit.as_ref().map(|limit| Limit::of_rule(snapshot, site, rule, limit));
    of_site.into_iter().chain(of_rule).collect()
}

fn prepared(snapshot: &Snapshot) -> Rates {
    let rates = Rates::default();
    rates.prepare(snapshot);
    rates
}

/// A request is let through where nothing is counted.
fn take(
    rates: &Rates,
    limits: &[Limit],
    client: Option<IpAddr>,
    head: &RequestHead,
    bytes: &[u8],
    now_ns: u64,
) -> Result<(), Refused> {
    rates.counts().map_or(Ok(()), |counts| counts.take(limits, client, head, bytes, now_ns))
}

/// How many of ten requests with these fields are let through at one moment.
fn pass(rates: &Rates, limits: &[Limit], client: &str, fields: &str, now_ns: u64) -> usize {
    let mut bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes();
    let mut head = RequestHead::new();
    assert!(matches!(head.read(&mut bytes, &Limits::default()), Ok(Progress::Done(_))));
    let client = (!client.is_empty()).then(|| client.parse().unwrap());
    (0..10).filter(|_| take(rates, limits, client, &head, &bytes, now_ns).is_ok()).count()
}

#[test]
fn clients_are_counted_by_their_addresses() {
    let snapshot = of_site_and_rule("", "requests = 2, per = '1m'");
    let (rates, limits) = (prepared(&snapshot), limits(&snapshot));
    let pass = |client| pass(&rates, &limits, client, "X-Key: k\r\n", 0);
    assert_eq!((pass("192.0.2.1"), pass("::ffff:192.0.2.1"), pass("192.0.2.2")), (2, 0, 2));
    assert_eq!((pass("2001:db8::1"), pass("2001:db8::2"), pass("2001:db8:0:1::1")), (2, 0, 2));
    assert_eq!((pass(""), pass("")), (2, 0));
}

#[test]
fn all_of_a_site_are_one_where_it_says_so() {
    let snapshot = of_site_and_rule("requests = 3, per = '1m', key = 'site'", "");
    let (rates, limits) = (prepared(&snapshot), limits(&snapshot));
    assert_eq!(pass(&rates, &limits, "192.0.2.1", "", 0), 3);
    assert_eq!(pass(&rates, &limits, "192.0.2.2", "X-Key: k\r\n", 0), 0);
}

#[test]
fn the_values_of_a_field_are_told_apart() {
    let snapshot = of_site_and_rule("", "requests = 1, per = '1m', key = 'header:X-Key'");
    let (rates, limits) = (prepared(&snapshot), limits(&snapshot));
    let pass = |client, fields: &str| pass(&rates, &limits, client, fields, 0);
    let all = [
        "X-Key: a\r\n",
        "X-Key: A\r\n",
        "X-Key: b\r\n",
        "X-Key: ab\r\n",
        "X-Key:\r\n",
        "X-Key: a, b\r\n",
        "",
    ];
    for fields in all {
        assert_eq!(pass("192.0.2.1", fields), 1, "{fields:?}");
        assert_eq!(pass("192.0.2.1", fields), 0, "{fields:?}");
    }
    assert_eq!(pass("192.0.2.2", "x-key: a\r\nX-Other: a\r\n"), 0, "whoever brings it");
    assert_eq!(pass("192.0.2.2", "X-Key-2: a\r\nX_Key: a\r\n"), 1, "without one, by client");
    for fields in ["X-Key: c\r\nX-Key: d\r\n", "X-Key: d\r\nX-Key: e\r\n", "X-Key: c\r\nx-key:\r\n"] {
        assert_eq!(pass("192.0.2.2", fields), 0, "of several, any may be the client's invention: {fields:?}");
    }
    assert_eq!(pass("192.0.2.3", "Connection: x-key\r\nX-Key: a\r\n"), 0, "Connection does not hide it");
}

#[test]
fn what_one_limit_refuses_counts_nowhere() {
    let snapshot = of_site_and_rule("requests = 5, per = '1m', key = 'site'", "requests = 1, per = '1m'");
    let (rates, limits) = (prepared(&snapshot), limits(&snapshot));
    // The first client comes ten times, and is let through once: four are left to the others.
    let passed: usize = (1..9).map(|host| pass(&rates, &limits, &format!("192.0.2.{host}"), "", 0)).sum();
    assert_eq!(passed, 5);
}

#[test]
fn the_refusal_is_that_of_the_limit_that_refuses() {
    let snapshot = of_site_and_rule("requests = 2, per = '1m', key = 'site'", "requests = 1, per = '1h'");
    let (rates, limits) = (prepared(&snapshot), limits(&snapshot));
    let (head, address) = (RequestHead::new(), |host: u8| Some(IpAddr::from([192, 0, 2, host])));
    let refused = |host| take(&rates, &limits, address(host), &head, b"", 0).unwrap_err().fields;
    assert_eq!(pass(&rates, &limits, "192.0.2.1", "", 0), 1);
    assert!(refused(1).starts_with(b"Retry-After: 3600\r\nRateLimit-Policy: \"r\";q=1;w=3600\r\n"));
    assert_eq!(pass(&rates, &limits, "192.0.2.2", "", 0), 1);
    assert!(refused(3).starts_with(b"Retry-After: 30\r\nRateLimit-Policy: \"a\";q=2;w=60\r\n"));
}

#[test]
fn counts_stay_with_names_through_changes() {
    let before = of_site_and_rule("requests = 1, per = '1m'", "requests = 1, per = '1m', key = 'site'");
    let rates = prepared(&before);
    assert_eq!(pass(&rates, &limits(&before), "192.0.2.1", "", 0), 1);
    // The same names; the site's limit alone is another one.
    let after = of_site_and_rule("requests = 60, per = '1m'", "requests = 1, per = '1m', key = 'site'");
    rates.prepare(&after);
    let after = limits(&after);
    assert_eq!(
        pass(&rates, &after[..1], "192.0.2.1", "", 0),
        0,
        "its minute is over with the rate that had it"
    );
    assert_eq!(pass(&rates, &after[..1], "192.0.2.1", "", SECOND_NS), 1);
    assert_eq!(pass(&rates, &after[1..], "192.0.2.1", "", 0), 0);
    // Another name, another list, another key.
    for text in [
        "[[rules]]\nname = \"r\"\npath = \"/*\"\ntarget = \"http://127.0.0.1:1\"\n\
         rate_limit = { requests = 1, per = '1m', key = 'site' }\n",
        "[[rules]]\nname = \"a\"\npath = \"/*\"\ntarget = \"http://127.0.0.1:1\"\n\
         rate_limit = { requests = 1, per = '1m' }\n",
    ] {
        let elsewhere = compile(text);
        rates.prepare(&elsewhere);
        assert_eq!(pass(&rates, &limits(&elsewhere), "192.0.2.1", "", 0), 1, "{text}");
    }
}

#[test]
fn a_rule_that_sites_share_counts_each_of_them_by_itself() {
    let snapshot = compile(
        "[[projects]]\nname = \"p\"\n[[projects.rules]]\nname = \"r\"\npath = \"/*\"\n\
         target = \"http://127.0.0.1:1\"\nrate_limit = { requests = 1, per = '1m', key = 'site' }\n\
         [[sites]]\nname = \"a\"\nhosts = [\"a\"]\nproject = \"p\"\n\
         [[sites]]\nname = \"b\"\nhosts = [\"b\"]\nproject = \"p\"\n",
    );
    let rates = prepared(&snapshot);
    let rule = &snapshot.rules[0];
    let of = |site: usize| {
        [Limit::of_rule(&snapshot, Some(&snapshot.sites[site]), rule, rule.rate_limit.as_ref().unwrap())]
    };
    assert_eq!(pass(&rates, &of(0), "192.0.2.1", "", 0), 1);
    assert_eq!((pass(&rates, &of(1), "192.0.2.1", "", 0), pass(&rates, &of(0), "192.0.2.1", "", 0)), (1, 0));
}

#[test]
fn there_is_a_table_where_there_are_limits() {
    let bytes = |rates: &Rates| rates.counts().map(|counts| counts.bytes());
    let without = of_site_and_rule("", "");
    let rates = prepared(&without);
    assert_eq!(bytes(&rates), None);
    let with = of_site_and_rule("", "requests = 1, per = '1m'");
    rates.prepare(&with);
    let before = rates.counts();
    assert_eq!(bytes(&rates), Some(with.limits.rate_limit_bytes));
    rates.prepare(&with);
    assert!(Arc::ptr_eq(before.as_ref().unwrap(), &rates.counts().unwrap()), "it stays");
    rates.prepare(&compile(
        "[limits]\nrate_limit_memory = '64KiB'\n[[rules]]\nname = 'r'\npath = '/*'\n\
         target = 'http://127.0.0.1:1'\nrate_limit = { requests = 1, per = '1s' }\n",
    ));
    assert_eq!(bytes(&rates), Some(64 << 10));
    rates.prepare(&without);
    assert_eq!(bytes(&rates), None);
    assert_eq!(pass(&rates, &limits(&with), "192.0.2.1", "", 0), 10, "and none where none is wanted");
}
