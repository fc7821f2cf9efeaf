//! What was counted belongs to names, and stays with them when the configuration changes.

use super::{let_in, limit, site};
use crate::harness::config::{Config, Driver};
use crate::harness::proxy::Proxy;
use crate::harness::{on_both_drivers, wait_until};

on_both_drivers![
    what_was_counted_survives_a_change,
    a_limit_that_changes_holds_at_once,
    a_limit_elsewhere_begins_anew,
    a_limit_that_goes_lets_everybody_in,
    another_size_of_the_table_begins_anew,
];

fn what_was_counted_survives_a_change(driver: Driver) {
    let proxy = Proxy::start(&site(driver, &limit(3, ", key = \"site\""), "").workers(2));
    let mut client = proxy.client();
    assert_eq!(let_in(&mut client, "", 2), 2);
    let changed = site(driver, &limit(3, ", key = \"site\""), "description = \"another\"").workers(2);
    proxy.reload(&changed.rule("another", "/x", "http://127.0.0.1:1"));
    assert_eq!((let_in(&mut client, "", 3), let_in(&mut proxy.client(), "", 3)), (1, 0));
}

fn a_limit_that_changes_holds_at_once(driver: Driver) {
    let with = |requests| site(driver, "", &limit(requests, ""));
    let proxy = Proxy::start(&with(10));
    let mut client = proxy.client();
    assert_eq!(let_in(&mut client, "", 5), 5);
    // Half of a burst is used, and half of the next one then.
    proxy.reload(&with(20));
    assert_eq!(let_in(&mut client, "", 30), 10);
    proxy.reload(&with(2));
    assert_eq!(let_in(&mut client, "", 5), 0);
    // The day that it would have to wait under the limit before is over with that limit.
    proxy.reload(&site(driver, "", "rate_limit = { requests = 1000, per = \"1s\", burst = 1 }"));
    wait_until("a request in a millisecond", || let_in(&mut client, "", 1) == 1);
}

fn a_limit_elsewhere_begins_anew(driver: Driver) {
    let rule = |name: &str, key: &str| {
        let lines = limit(1, &format!(", key = \"{key}\""));
        format!("[[rules]]\nname = \"{name}\"\npath = \"/*\"\nrespond = {{ status = 200 }}\n{lines}")
    };
    let everywhere = |name, key| Config::new(driver).section(&rule(name, key));
    let proxy = Proxy::start(&everywhere("r", "client"));
    let mut client = proxy.client();
    let changes = [
        everywhere("r", "site"),
        everywhere("s", "client"),
        site(driver, "", &limit(1, "")),
        site(driver, &limit(1, ""), ""),
    ];
    assert_eq!(let_in(&mut client, "", 3), 1);
    for config in changes {
        proxy.reload(&config);
        assert_eq!(let_in(&mut client, "", 3), 1, "{}", config.text());
    }
    proxy.reload(&everywhere("r", "client"));
    assert_eq!(let_in(&mut client, "", 3), 0, "and where it was before it is still known");
}

fn a_limit_that_goes_lets_everybody_in(driver: Driver) {
    let proxy = Proxy::start(&site(driver, "", &limit(1, "")));
    let mut client = proxy.client();
    assert_eq!(let_in(&mut client, "", 3), 1);
    proxy.reload(&site(driver, "", ""));
    assert_eq!(let_in(&mut client, "", 3), 3);
    proxy.reload(&site(driver, "", &limit(1, "")));
    assert_eq!(let_in(&mut client, "", 3), 1, "nothing was kept while there was no limit");
}

fn another_size_of_the_table_begins_anew(driver: Driver) {
    let with =
        |memory: &str| site(driver, "", &limit(1, "")).limits(&format!("rate_limit_memory = \"{memory}\""));
    let proxy = Proxy::start(&with("64KiB"));
    let mut client = proxy.client();
    assert_eq!(let_in(&mut client, "", 3), 1);
    proxy.reload(&with("128KiB"));
    assert_eq!((let_in(&mut client, "", 3), let_in(&mut client, "", 3)), (1, 0));
}
