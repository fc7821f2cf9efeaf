//! Credentials that are not quite right, or not in their place.

use super::{BASIC, BEARER, House, Refused, Served, Try, With};
use crate::harness::config::Driver;
use crate::harness::on_both_drivers;

on_both_drivers![nearly_right_is_wrong];

fn nearly_right_is_wrong(driver: Driver) {
    let with_lines = |&(lines, with): &(&'static str, With)| Try {
        name: lines,
        bytes: format!("GET /api/secret HTTP/1.1\r\nHost: {{host}}\r\n{lines}\r\nConnection: close\r\n\r\n"),
        with,
    };
    let tries: Vec<Try> = LINES.iter().map(with_lines).collect();
    House::new(driver).withstands(&tries, &[BASIC, BEARER]);
}

/// With the right credentials in a line of their own behind it, a line of the same field makes two: that is refused, too.
/// Where `Served` stands, the right ones take the place of the whole line.
const LINES: &[(&str, With)] = &[
    ("Authorization:\r\n{auth}X: y", Refused),
    ("Authorization: {scheme}\r\n{auth}X: y", Refused),
    ("Authorization: {token}\r\n{auth}X: y", Refused),
    ("Authorization: {scheme}{token}\r\n{auth}X: y", Refused),
    ("Authorization: {scheme}s {token}\r\n{auth}X: y", Refused),
    ("Authorization: {scheme}, {token}\r\n{auth}X: y", Refused),
    ("Authorization: {scheme}={token}\r\n{auth}X: y", Refused),
    ("Authorization: {scheme} {token}x\r\n{auth}X: y", Refused),
    ("Authorization: {scheme} x{token}\r\n{auth}X: y", Refused),
    ("Authorization: {scheme} {token} {token}\r\n{auth}X: y", Refused),
    ("Authorization: {good}, {good}\r\n{auth}X: y", Refused),
    ("Authorization: Digest x, {good}\r\n{auth}X: y", Refused),
    ("Authorization: {scheme} \"{token}\"\r\n{auth}X: y", Refused),
    ("Authorization: {scheme} %59{token}\r\n{auth}X: y", Refused),
    ("Authorization: {scheme} null\r\n{auth}X: y", Refused),
    ("Authorization: {scheme} undefined\r\n{auth}X: y", Refused),
    ("Authorization: Basic Og==\r\n{auth}X: y", Refused),
    ("Authorization: Basic YWxpY2U6\r\n{auth}X: y", Refused),
    ("Authorization: Basic YWxpY2U=\r\n{auth}X: y", Refused),
    ("Authorization: Basic OlUqVQ==\r\n{auth}X: y", Refused),
    ("Authorization: Basic QUxJQ0U6VSpV\r\n{auth}X: y", Refused),
    ("Authorization: Basic YWxpY2U6VSpVAA==\r\n{auth}X: y", Refused),
    ("Authorization: Basic YWxpY2U6VSpVCg==\r\n{auth}X: y", Refused),
    ("Authorization: Basic bm9ib2R5OlUqVQ==\r\n{auth}X: y", Refused),
    ("Authorization: Bearer CI-TOKEN-0123456789\r\n{auth}X: y", Refused),
    ("Authorization: Bearer ci-token-012345678\r\n{auth}X: y", Refused),
    ("Authorization: Bearer ci\r\n{auth}X: y", Refused),
    ("Authorization: {good}\r\nAuthorization: {good}", Refused),
    ("Authorization: {scheme} bad\r\nAuthorization: {good}", Refused),
    ("Authorization: {good}\r\nAuthorization: {scheme} bad", Refused),
    ("Authorization: {good}\r\nauthorization:", Refused),
    ("Authorization : {good}", Refused),
    (" Authorization: {good}", Refused),
    ("Authorization:\r\n {good}", Refused),
    ("X: y\nAuthorization: {good}", Refused),
    ("X: y\rAuthorization: {good}", Refused),
    ("Authorization\0: {good}", Refused),
    ("Authorization: {scheme} \0{token}", Refused),
    // What is named so goes no further than to us, and does not count here either.
    ("Connection: authorization\r\n{auth}X: y", Refused),
    ("{auth}X: y", Served),
];
