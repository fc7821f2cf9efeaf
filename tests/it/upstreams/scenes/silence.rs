//! One of three backends accepts and never answers.

use super::{Account, Extent, pool};
use crate::harness::backend::Backend;
use crate::harness::config::Driver;
use crate::harness::proxy::Proxy;

/// What ejects by default when the connection was made.
const FAILURES: usize = 3;

pub fn silent_backend(driver: Driver, extent: Extent) -> Account {
    let (silent, others) = (Backend::never_answers(), ["a", "b"].map(Backend::says));
    let urls = [silent.url(), others[0].url(), others[1].url()];
    // A probe that only connects would find it alive.
    let lines = "timeouts = { response = \"300ms\" }\nhealth = { probe = \"http\", probe_path = \"/health\", probe_timeout = \"200ms\" }";
    let proxy = Proxy::start(&pool(driver, &urls, lines));
    let mut client = proxy.client();
    let (mut failed, mut answered) = (0, 0);
    while failed < FAILURES {
        let answer = client.get("/");
        match answer.status {
            200 => answered += 1,
            _ => {
                answer.assert_error(504, "upstream_timeout");
                failed += 1;
            }
        }
        assert!(answered <= 2 * (failed + 1), "the silent one does not get its share");
    }
    for _ in 0..extent.of(300, 10_000) {
        assert_eq!(client.get("/").status, 200, "after {failed} failures");
        answered += 1;
    }
    let reached = silent_requests(&silent);
    assert_eq!(reached, FAILURES, "requests that came to the silent one");
    vec![
        ("requests answered with 504 after the timeout", failed),
        ("requests answered by the others", answered),
    ]
}

/// Those of clients: probes ask for a path of their own.
fn silent_requests(silent: &Backend) -> usize {
    (0..silent.requests()).filter(|&index| silent.head(index).target() == "/").count()
}
