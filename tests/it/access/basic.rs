//! Users with passwords.

use super::{ALICE, BOB, House, STAFF, basic, config, rule};
use crate::access_log::{logging, objects};
use crate::harness::backend::Backend;
use crate::harness::client::Client;
use crate::harness::config::{Config, Driver};
use crate::harness::proxy::Proxy;
use crate::harness::{on_both_drivers, wait_until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::sync::Barrier;

on_both_drivers![
    who_knows_a_password_comes_in,
    who_does_not_is_asked_for_one,
    what_cannot_be_read_is_no_password,
    several_fields_are_none,
    the_connection_goes_on,
    a_body_is_read_to_its_end,
    a_password_may_have_colons_and_other_letters,
    no_password_is_right_by_its_beginning,
    the_log_says_who,
    the_common_log_says_who,
    who_is_removed_is_out_at_once,
    a_new_password_holds_at_once,
    a_crowd_with_one_password_comes_in,
    a_variable_that_is_not_set_lets_nobody_in,
    too_many_passwords_at_a_time_are_refused_and_the_rest_goes_on,
];

const CHALLENGE: &str = "Basic realm=\"Staff only\", charset=\"UTF-8\"";

fn who_knows_a_password_comes_in(driver: Driver) {
    let house = House::behind("staff", driver, "");
    let mut client = house.proxy.client();
    for user in [ALICE, BOB, ALICE, BOB] {
        assert_eq!(client.ask(format!("GET /x HTTP/1.1\r\nHost: test\r\n{}\r\n", basic(user))).text(), "/x");
    }
    for scheme in ["basic", "BASIC", "bAsIc", "Basic  "] {
        let line = basic(ALICE).replace("Basic", scheme);
        assert_eq!(house.get("test", "/x", &line), "/x", "{line}");
    }
}

#[track_caller]
fn assert_asked(house: &House, lines: &str) {
    let answer = house.ask("test", "/x", lines);
    answer.assert_error(401, "unauthorized");
    assert_eq!(answer.field("www-authenticate"), Some(CHALLENGE), "{lines}");
    assert_eq!(house.backend.requests(), 0, "{lines}");
}

fn who_does_not_is_asked_for_one(driver: Driver) {
    let house = House::behind("staff", driver, "");
    assert_asked(&house, "");
    for pair in [
        ("alice", "U*u"),
        ("alice", ""),
        ("alice", "U*U "),
        ("Alice", "U*U"),
        ("bob", "U*U"),
        ("", "U*U"),
        ("carol", "U*U"),
        ("alice", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
        (&*"a".repeat(2000), "U*U"),
        ("alice", &*"U*U".repeat(1000)),
    ] {
        // Hashed, and remembered.
        assert_asked(&house, &basic(pair));
        assert_asked(&house, &basic(pair));
    }
}

fn what_cannot_be_read_is_no_password(driver: Driver) {
    let house = House::behind("staff", driver, "");
    let right = STANDARD.encode("alice:U*U");
    for value in [
        "",
        "Basic",
        "Basic ",
        &format!("Basic{right}"),
        &format!("Basic\t{right}"),
        &format!("Basic {right} x"),
        &format!("Basic {right}, Bearer x"),
        &format!("Basic realm=x, {right}"),
        &format!("Basic {right}=="),
        &format!("Basic {}", STANDARD.encode("alice U*U")),
        &format!("Basic {}", STANDARD.encode("alice:U*U\0")),
        &format!("Basic {}", STANDARD.encode("alice:U*U\n")),
        &format!("Basic {}", STANDARD.encode(b"alice:\xff")),
        &format!("Basic {}", STANDARD.encode(&right)),
        "Basic alice:U*U",
        &format!("Bearer {right}"),
        &format!("Digest {right}"),
        &format!("\"Basic\" {right}"),
    ] {
        assert_asked(&house, &format!("Authorization: {value}\r\n"));
    }
    assert_asked(&house, &basic(ALICE).replace("Authorization", "Proxy-Authorization"));
    assert_asked(&house, &basic(ALICE).replace("Authorization", "X-Authorization"));
    assert_asked(&house, &format!("Connection: Authorization\r\n{}", basic(ALICE)));
    assert_asked(&house, &format!("Cookie: {}", basic(ALICE)));
}

fn several_fields_are_none(driver: Driver) {
    let house = House::behind("staff", driver, "");
    assert_asked(&house, &format!("{}{}", basic(ALICE), basic(ALICE)));
    assert_asked(&house, &format!("{}{}", basic(ALICE), basic(("alice", "wrong"))));
    assert_asked(&house, &format!("{}{}", basic(("alice", "wrong")), basic(ALICE)));
    assert_asked(&house, &format!("{}Authorization: Bearer x\r\n", basic(ALICE)));
    assert_asked(&house, &format!("Authorization:\r\n{}", basic(ALICE)));
}

fn the_connection_goes_on(driver: Driver) {
    let house = House::behind("staff", driver, "");
    let mut client = house.proxy.client();
    for _ in 0..3 {
        client.get("/x").assert_error(401, "unauthorized");
        assert_eq!(client.ask(format!("GET /x HTTP/1.1\r\nHost: test\r\n{}\r\n", basic(ALICE))).text(), "/x");
        let wrong = format!("GET /x HTTP/1.1\r\nHost: test\r\n{}\r\n", basic(("alice", "wrong")));
        client.ask(wrong).assert_error(401, "unauthorized");
    }
}

fn a_body_is_read_to_its_end(driver: Driver) {
    let house = House::behind("staff", driver, "");
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";
    let mut client = house.proxy.client();
    let length = smuggled.len();
    let post = |lines: &str| {
        format!("POST /x HTTP/1.1\r\nHost: test\r\n{lines}Content-Length: {length}\r\n\r\n{smuggled}")
    };
    client.ask(post("")).assert_error(401, "unauthorized");
    client.ask(post(&basic(("alice", "wrong")))).assert_error(401, "unauthorized");
    assert_eq!(client.ask(post(&basic(ALICE))).text(), "/x");
    // How long this one is nobody knows: the connection closes.
    for credentials in ["", &basic(("alice", "wrong"))] {
        let mut client = house.proxy.client();
        let head =
            format!("POST /x HTTP/1.1\r\nHost: test\r\n{credentials}Transfer-Encoding: chunked\r\n\r\n");
        client.ask(format!("{head}{length:x}\r\n{smuggled}\r\n0\r\n\r\n")).assert_error(401, "unauthorized");
        client.assert_closed();
    }
    assert_eq!(house.backend.requests(), 1);
    // Who waits for a 100 gets its answer and need not send the body.
    let expects = "POST /x HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let answer = house.proxy.client().ask(expects);
    answer.assert_error(401, "unauthorized");
    assert!(answer.interim.is_empty());
}

/// A provider of one user, "eve", with this hash.
fn eve(hash: &str) -> String {
    let provider = format!("[[auth]]\nname = \"own\"\ntype = \"basic\"\nusers = {{ eve = \"{hash}\" }}\n");
    provider + &rule("all", "/*", "auth = \"own\"")
}

/// As `ringway hash-password` writes it.
fn hashed(password: &str) -> String {
    crate::hash_password::hash(password)
}

fn a_password_may_have_colons_and_other_letters(driver: Driver) {
    let password = "grüße: an:\"alle\" \\ ☃";
    let house = House::new(driver, &eve(&hashed(password)));
    assert_eq!(house.get("test", "/x", &basic(("eve", password))), "/x");
    for wrong in ["grüße", "grüße: an:\"alle\" \\ ", "gru\u{308}ße: an:\"alle\" \\ ☃"] {
        assert_eq!(house.get("test", "/x", &basic(("eve", wrong))), "unauthorized");
    }
    // The realm is the provider's name where it has none.
    assert_eq!(
        house.ask("test", "/x", "").field("www-authenticate"),
        Some("Basic realm=\"own\", charset=\"UTF-8\"")
    );
}

fn no_password_is_right_by_its_beginning(driver: Driver) {
    let long = "x".repeat(1024);
    let house = House::new(driver, &eve(&hashed(&long)));
    assert_eq!(house.get("test", "/x", &basic(("eve", &long))), "/x");
    for wrong in [&*format!("{long}x"), &long[1..], &long[..72]] {
        assert_eq!(house.get("test", "/x", &basic(("eve", wrong))), "unauthorized");
    }
    // 72 bytes of "0123456789abcdef…", and what bcrypt would take for them.
    let longest = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let house = House::new(driver, &eve("$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui"));
    assert_eq!(house.get("test", "/x", &basic(("eve", longest))), "/x");
    for wrong in [&*format!("{longest}c"), &format!("{longest}chars after 72 are ignored"), &longest[1..]] {
        assert_eq!(house.get("test", "/x", &basic(("eve", wrong))), "unauthorized");
    }
}

fn the_log_says_who(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = logging(config(&backend, driver, &rule("all", "/*", "auth = \"staff\"")), "");
    let mut client = proxy.client();
    for lines in [&*basic(ALICE), "", &basic(("alice", "wrong")), &basic(BOB)] {
        client.ask(format!("GET /x HTTP/1.1\r\nHost: test\r\n{lines}\r\n"));
    }
    let users: Vec<_> =
        objects(&proxy, 4).iter().map(|line| (line["status"].clone(), line["user"].clone())).collect();
    let expected = serde_json::json!([[200, "alice"], [401, null], [401, null], [200, "bob"]]);
    assert_eq!(serde_json::to_value(users).unwrap(), expected);
    let text = std::fs::read_to_string(proxy.directory().join("access.log")).unwrap();
    assert!(!text.contains("wrong") && !text.contains("Basic"), "{text}");
}

fn the_common_log_says_who(driver: Driver) {
    let backend = Backend::says_hello();
    let user = "[[auth]]\nname = \"own\"\ntype = \"basic\"\n[auth.users]\n\"a b\\\"c\" = \"$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\"\n";
    let sections = format!("{user}{}", rule("all", "/*", "auth = \"own\""));
    let proxy = logging(config(&backend, driver, &sections), "format = \"common\"");
    let mut client = proxy.client();
    client.ask(format!("GET /x HTTP/1.1\r\nHost: test\r\n{}\r\n", basic(("a b\"c", "U*U"))));
    client.get("/y");
    let read = || std::fs::read_to_string(proxy.directory().join("access.log")).unwrap_or_default();
    wait_until("two lines", || read().lines().count() == 2);
    let text = read();
    let third = |line: &str| line.split(' ').nth(2).map(str::to_owned);
    let users: Vec<_> = text.lines().filter_map(third).collect();
    assert_eq!(users, ["a\\x20b\\\"c", "-"], "{text}");
}

/// What `STAFF` says, with one line for its users.
fn staff_of(house: &House, driver: Driver, users: &str) -> Config {
    let text = STAFF.lines().map(|line| if line.starts_with("users") { users } else { line });
    let text = text.collect::<Vec<_>>().join("\n");
    let rule = rule("all", "/*", "auth = \"staff\"").replace("{to}", &house.backend.url());
    Config::new(driver).section(&text).section(&rule)
}

const ONLY_BOB: &str = "users = { bob = \"$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc\" }";

fn who_is_removed_is_out_at_once(driver: Driver) {
    let house = House::behind("staff", driver, "");
    let mut client = house.proxy.client();
    let ask = |client: &mut Client, user| {
        client.ask(format!("GET /x HTTP/1.1\r\nHost: test\r\n{}\r\n", basic(user)))
    };
    assert_eq!((ask(&mut client, ALICE).status, ask(&mut client, BOB).status), (200, 200));
    house.proxy.reload(&staff_of(&house, driver, ONLY_BOB));
    ask(&mut client, ALICE).assert_error(401, "unauthorized");
    assert_eq!(ask(&mut client, BOB).status, 200);
}

fn a_new_password_holds_at_once(driver: Driver) {
    let house = House::behind("staff", driver, "");
    assert_eq!(house.get("test", "/x", &basic(BOB)), "/x");
    assert_eq!(house.get("test", "/x", &basic(("bob", "U*U*U"))), "unauthorized");
    let users = "users = { bob = \"$2b$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a\" }";
    house.proxy.reload(&staff_of(&house, driver, users));
    assert_eq!(house.get("test", "/x", &basic(BOB)), "unauthorized");
    assert_eq!(house.get("test", "/x", &basic(("bob", "U*U*U"))), "/x");
}

fn a_crowd_with_one_password_comes_in(driver: Driver) {
    const CROWD: usize = 400;
    let backend = Backend::says_hello();
    let proxy = Proxy::start(&config(&backend, driver, &rule("all", "/*", "auth = \"staff\"")).workers(2));
    let (address, start) = (proxy.address(), Barrier::new(CROWD));
    std::thread::scope(|scope| {
        for _ in 0..CROWD {
            scope.spawn(|| {
                let mut client = Client::connect(&address);
                start.wait();
                let answer = client.ask(format!("GET /x HTTP/1.1\r\nHost: test\r\n{}\r\n", basic(ALICE)));
                assert_eq!(answer.status, 200, "{}", answer.text());
            });
        }
    });
}

fn a_variable_that_is_not_set_lets_nobody_in(driver: Driver) {
    let house = House::new(driver, &eve("${RINGWAY_TEST_UNSET}"));
    for password in ["", "${RINGWAY_TEST_UNSET}", "RINGWAY_TEST_UNSET"] {
        assert_eq!(house.get("test", "/x", &basic(("eve", password))), "unauthorized");
    }
    assert_eq!(house.get("test", "/x", ""), "unauthorized");
}

/// More passwords than are hashed and wait at one time.
const FLOOD: usize = 300;

fn too_many_passwords_at_a_time_are_refused_and_the_rest_goes_on(driver: Driver) {
    // Each takes a second or more.
    let slow = "[[auth]]\nname = \"slow\"\ntype = \"basic\"\nusers = { sam = \"$2b$15$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\" }\n";
    let rules = rule("slow", "/slow", "auth = \"slow\"") + &rule("all", "/*", "auth = \"staff\"");
    let house = House::new(driver, &format!("{slow}{rules}"));
    assert_eq!(house.get("test", "/x", &basic(ALICE)), "/x");
    // Half of them ask for a user who is not there: that costs the same.
    let flood: Vec<Client> = (0..FLOOD)
        .map(|number| {
            let user = if number % 2 == 0 { "sam" } else { "nobody" };
            let mut client = house.proxy.client();
            client.send(format!(
                "GET /slow HTTP/1.1\r\nHost: test\r\n{}\r\n",
                basic((user, &number.to_string()))
            ));
            client
        })
        .collect();
    let refused = |user: &str| {
        let answer = house.ask("test", "/slow", &basic((user, "one more")));
        answer.assert_error(503, "auth_unavailable");
        assert_eq!(answer.field("retry-after"), Some("1"));
    };
    refused("sam");
    refused("nobody");
    refused("somebody");
    let said = house.proxy.log().wait_for(0, "a password was not looked at");
    assert!(said.contains("provider=\"slow\" why=\"too_many_wait\""), "{said}");
    // Whose password was hashed lately need not wait, nor who brings none.
    assert_eq!(house.get("test", "/x", &basic(ALICE)), "/x");
    assert_eq!(house.get("test", "/x", ""), "unauthorized");
    assert_eq!(house.backend.requests(), 2);
    // They go, and what they asked for is not hashed: who comes now waits for those alone that are being hashed.
    drop(flood);
    wait_until("a password is hashed again", || house.get("test", "/x", &basic(BOB)) == "/x");
    house.proxy.client().get("/x").assert_error(401, "unauthorized");
}
