//! Tokens.

use super::{ALICE, CI, CRON, House, MACHINES, basic, config, rule};
use crate::access_log::{logging, objects};
use crate::harness::backend::Backend;
use crate::harness::config::{Config, Driver};
use crate::harness::on_both_drivers;

on_both_drivers![
    who_has_a_token_comes_in,
    who_has_none_is_asked_for_one,
    a_wrong_one_is_said_to_be_invalid,
    what_cannot_be_read_is_no_token,
    the_log_has_the_tokens_name,
    a_token_may_come_from_the_environment,
    what_is_removed_is_out_at_once,
    the_connection_goes_on_behind_a_body,
];

const CHALLENGE: &str = "Bearer realm=\"machines\"";
const INVALID: &str = "Bearer realm=\"machines\", error=\"invalid_token\"";

fn who_has_a_token_comes_in(driver: Driver) {
    let house = House::behind("machines", driver, "");
    for line in [CI, CRON, &CI.replace("Bearer", "bearer"), &CRON.replace("Bearer", "BEARER  ")] {
        assert_eq!(house.get("test", "/x", line), "/x", "{line}");
    }
}

#[track_caller]
fn assert_asked(house: &House, lines: &str, challenge: &str) {
    let answer = house.ask("test", "/x", lines);
    answer.assert_error(401, "unauthorized");
    assert_eq!(answer.field("www-authenticate"), Some(challenge), "{lines}");
    assert_eq!(house.backend.requests(), 0, "{lines}");
}

fn who_has_none_is_asked_for_one(driver: Driver) {
    let house = House::behind("machines", driver, "");
    assert_asked(&house, "", CHALLENGE);
    assert_asked(&house, &basic(ALICE), CHALLENGE);
    // Nor is there another place for it (RFC 6750 sections 2.2 and 2.3).
    let answer = house.ask("test", "/x?access_token=ci-token-0123456789", "");
    answer.assert_error(401, "unauthorized");
    assert_asked(&house, &CI.replace("Authorization", "Proxy-Authorization"), CHALLENGE);
    assert_asked(&house, "Cookie: Bearer=ci-token-0123456789\r\n", CHALLENGE);
}

fn a_wrong_one_is_said_to_be_invalid(driver: Driver) {
    let house = House::behind("machines", driver, "");
    for token in [
        "ci-token-012345678",
        "ci-token-01234567890",
        "CI-TOKEN-0123456789",
        "ci",
        "cron",
        "cron-token-0123456788",
        // The digest is no token.
        MACHINES.split("sha256:").nth(1).unwrap().split('"').next().unwrap(),
        &format!("sha256:{}", MACHINES.split("sha256:").nth(1).unwrap().split('"').next().unwrap()),
        &"x".repeat(4000),
    ] {
        assert_asked(&house, &format!("Authorization: Bearer {token}\r\n"), INVALID);
    }
}

fn what_cannot_be_read_is_no_token(driver: Driver) {
    let house = House::behind("machines", driver, "");
    for line in [
        "Authorization:\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: ci-token-0123456789\r\n",
        "Authorization: Bearer\tci-token-0123456789\r\n",
        "Authorization: Bearer ci-token-0123456789 x\r\n",
        "Authorization: Bearer ci-token-0123456789, Basic x\r\n",
        &format!("{CI}{CI}"),
        &format!("{CI}{}", CI.replace("ci-", "")),
        &format!("{}{CI}", basic(ALICE)),
        &format!("Connection: authorization\r\n{CI}"),
    ] {
        assert_asked(&house, line, CHALLENGE);
    }
}

fn the_log_has_the_tokens_name(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = logging(config(&backend, driver, &rule("all", "/*", "auth = \"machines\"")), "");
    let mut client = proxy.client();
    for lines in [CI, CRON, "", &CI.replace("ci-", "")] {
        client.ask(format!("GET /x HTTP/1.1\r\nHost: test\r\n{lines}\r\n"));
    }
    let users: Vec<_> =
        objects(&proxy, 4).iter().map(|line| (line["status"].clone(), line["user"].clone())).collect();
    let expected = serde_json::json!([[200, "ci"], [200, "cron"], [401, null], [401, null]]);
    assert_eq!(serde_json::to_value(users).unwrap(), expected);
    let text = std::fs::read_to_string(proxy.directory().join("access.log")).unwrap();
    assert!(!text.contains("token"), "{text}");
}

fn a_token_may_come_from_the_environment(driver: Driver) {
    use crate::harness::proxy::Proxy;
    let backend = Backend::says_hello();
    let provider = "[[auth]]\nname = \"own\"\ntype = \"bearer\"\n\
                    tokens = { set = \"${RINGWAY_TEST_TOKEN}\", unset = \"${RINGWAY_TEST_UNSET}\" }\n";
    let rule = rule("all", "/*", "auth = \"own\"").replace("{to}", &backend.url());
    let directory = tempfile::tempdir().unwrap();
    let variables = [("RINGWAY_TEST_TOKEN", "from-the-environment")];
    let proxy =
        Proxy::start_with(directory, &Config::new(driver).section(&format!("{provider}{rule}")), &variables);
    let ask = |token: &str| {
        let lines = format!("Authorization: Bearer {token}\r\n");
        proxy.client().ask(format!("GET / HTTP/1.1\r\nHost: test\r\n{lines}\r\n")).status
    };
    assert_eq!(ask("from-the-environment"), 200);
    for token in ["${RINGWAY_TEST_TOKEN}", "${RINGWAY_TEST_UNSET}", "RINGWAY_TEST_UNSET"] {
        assert_eq!(ask(token), 401, "{token}");
    }
    assert!(!proxy.log().text().contains("from-the-environment"));
}

fn what_is_removed_is_out_at_once(driver: Driver) {
    let house = House::behind("machines", driver, "");
    let mut client = house.proxy.client();
    let request = |line: &str| format!("GET /x HTTP/1.1\r\nHost: test\r\n{line}\r\n");
    assert_eq!((client.ask(request(CI)).status, client.ask(request(CRON)).status), (200, 200));
    let text = MACHINES.replace("ci = \"ci-token-0123456789\", ", "");
    let rule = rule("all", "/*", "auth = \"machines\"").replace("{to}", &house.backend.url());
    house.proxy.reload(&Config::new(driver).section(&text).section(&rule));
    client.ask(request(CI)).assert_error(401, "unauthorized");
    assert_eq!(client.ask(request(CRON)).status, 200);
}

fn the_connection_goes_on_behind_a_body(driver: Driver) {
    let house = House::behind("machines", driver, "");
    let mut client = house.proxy.client();
    for _ in 0..3 {
        let post =
            |line: &str| format!("POST /x HTTP/1.1\r\nHost: test\r\n{line}Content-Length: 5\r\n\r\nhello");
        client.ask(post("")).assert_error(401, "unauthorized");
        client.ask(post(&CI.replace("ci-", ""))).assert_error(401, "unauthorized");
        assert_eq!(client.ask(post(CI)).text(), "/x");
    }
}
