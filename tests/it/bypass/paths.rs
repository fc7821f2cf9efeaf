//! Spellings of paths.

use super::{ALL, House, Refused, Served, Try, path};
use crate::harness::config::Driver;
use crate::harness::on_both_drivers;

on_both_drivers![no_spelling_of_a_path_comes_past_access];

fn no_spelling_of_a_path_comes_past_access(driver: Driver) {
    let tries: Vec<Try> = [DOTS, ENCODINGS, NEIGHBOURS, SUFFIXES, MADE]
        .concat()
        .into_iter()
        .map(|(text, with)| path(text, with))
        .collect();
    assert!(tries.len() > 80, "{}", tries.len());
    House::new(driver).withstands(&tries, &ALL);
}

type Paths = &'static [(&'static str, super::With)];

/// Dot segments, which are taken away before a rule is looked for.
const DOTS: Paths = &[
    ("/api/secret", Served),
    ("/./api/secret", Served),
    ("/api/./secret", Served),
    ("/api/%2e/secret", Served),
    ("/api/health/../secret", Served),
    ("/api/health/%2e%2e/secret", Served),
    ("/api/config/../secret", Served),
    ("/api/config/%2e%2e/secret", Served),
    ("/api/config/%2E%2E/secret", Served),
    ("/api/config/.%2e/secret", Served),
    ("/api/config/%2e./secret", Served),
    ("/api/config/x/../../secret", Served),
    ("/api/config//../..//../secret", Served),
    ("/api/config/..", Served),
    ("/api/config/../", Served),
    ("/api/health/.", Served),
    ("/api/health;/../secret", Served),
    ("/api/health%3f/../secret", Served),
    ("/static/../api/secret", Served),
    ("/static/x.css/../secret.key", Served),
    ("/../api/secret", Refused),
    ("/api/config/../../../secret", Refused),
    ("/%2e%2e/api/secret", Refused),
];

/// What backends may decode once more than Ringway does.
const ENCODINGS: Paths = &[
    ("/api/config/%252e%252e/secret", Served),
    ("/api/config/%25252e%25252e/secret", Served),
    ("/api/config/..%2fsecret", Served),
    ("/api/config/..%2Fsecret", Served),
    ("/api/config/%2e%2e%2fsecret", Served),
    ("/api/config/..%252fsecret", Served),
    ("/api/config/..%5csecret", Served),
    ("/api/config/..%5Csecret", Served),
    ("/api/config/..\\secret", Served),
    ("/api/config/%5c..%5csecret", Served),
    ("/api/config\\..\\secret", Served),
    ("/api/config/..;/secret", Served),
    ("/api/config/..;a=b/secret", Served),
    ("/api/config/.;/../..;/secret", Served),
    ("/api/config/..%3b/secret", Served),
    ("/api/config/..%00/secret", Served),
    ("/api/config/..%0d/secret", Served),
    ("/api/config/..%c0%afsecret", Served),
    ("/api/config/%c0%ae%c0%ae/secret", Served),
    ("/api/config/%c1%9c..%c1%9csecret", Served),
    ("/api/config/%e0%80%ae%e0%80%ae/secret", Served),
    ("/api/config/%f0%80%80%ae%f0%80%80%ae/secret", Served),
    ("/api/config/%%32%65%%32%65/secret", Refused),
    ("/api/config/%u002e%u002e/secret", Refused),
    ("/api/config/%2/secret", Refused),
    ("/api/config/%", Refused),
    ("/api/config/\u{2025}/secret", Refused),
    ("/%61pi/secret", Served),
    ("/api/%68ealth", Served),
    ("/api%2fhealth", Served),
];

/// What is near to a public path, and none.
const NEIGHBOURS: Paths = &[
    ("/api/health/", Served),
    ("/api/health//", Served),
    ("//api/health", Served),
    ("/api//health", Served),
    ("/api//secret", Served),
    ("/API/health", Served),
    ("/api/Health", Served),
    ("/api/health.", Served),
    ("/api/health.json", Served),
    ("/api/health%20", Served),
    ("/api/health%09", Served),
    ("/api/health%0a", Served),
    ("/api/health%00", Served),
    ("/api/health%23", Served),
    ("/api/health;a=b", Served),
    ("/api/health/secret", Served),
    ("/api/health\\", Served),
    ("/api/health#/secret", Refused),
    ("/api/config", Served),
    ("/api/configuration", Served),
    ("/api/config.json", Served),
    ("/api/Config/a", Served),
];

/// Names that end as they should.
const SUFFIXES: Paths = &[
    ("/static/secret.key", Served),
    ("/static/secret.key?.css", Served),
    ("/static/secret.key%00.css", Served),
    ("/static/secret.key%0a.css", Served),
    ("/static/secret.key%3f.css", Served),
    ("/static/secret.key%23.css", Served),
    ("/static/secret.key;.css", Served),
    ("/static/secret.key%3b.css", Served),
    ("/static/secret.key/.css", Served),
    ("/static/secret.key%2f.css", Served),
    ("/static/secret.key\\.css", Served),
    ("/static/x.CSS", Served),
    ("/static/x.css/", Served),
    ("/static/x.css/secret", Served),
    ("/static/..%2fapi%2fsecret.css", Served),
    ("/static/x.css%20", Served),
];

/// Paths of which others are made.
const MADE: Paths = &[
    ("/old/secret", Served),
    ("/old/pub/../secret", Served),
    ("/old/pub/..%2fsecret", Served),
    ("/old/pub/%2e%2e%2f%2e%2e%2fapi%2fsecret", Served),
    ("/old/pub/..;/secret", Served),
    ("/old/pub/a/b", Served),
    ("/old//pub/a", Served),
    ("/old/pub/..\\secret", Served),
    ("/strip/secret", Served),
    ("/strip/api/secret", Served),
    ("/strip//api/secret", Served),
    ("/strip/pub/", Served),
    ("/strip/pub/../api/secret", Served),
    ("/strip/pub%2f..%2fapi%2fsecret", Served),
    ("/strip/pub;/../../api/secret", Served),
    ("/strip/pub;x", Served),
];
