//! Fields that some servers believe, in place of credentials or of the request line.

use super::{ALL, House, Served, Try};
use crate::harness::config::Driver;
use crate::harness::on_both_drivers;

on_both_drivers![no_field_stands_in_for_credentials];

fn no_field_stands_in_for_credentials(driver: Driver) {
    let with_field = |line: &&'static str| Try {
        name: line,
        bytes: format!(
            "GET /api/secret HTTP/1.1\r\nHost: {{host}}\r\n{line}\r\n{{auth}}Connection: close\r\n\r\n"
        ),
        with: Served,
    };
    let tries: Vec<Try> = LINES.iter().map(with_field).collect();
    House::new(driver).withstands(&tries, &ALL);
}

const LINES: &[&str] = &[
    "X-Original-URL: /api/health",
    "X-Original-URI: /api/health",
    "X-Rewrite-URL: /api/health",
    "X-Forwarded-Uri: /api/health",
    "X-Forwarded-Path: /api/health",
    "X-Forwarded-Prefix: /api/health",
    "X-Forwarded-Method: GET",
    "X-Forwarded-Host: open.test",
    "X-Forwarded-Server: open.test",
    "X-Forwarded-For: 127.0.0.1",
    "X-Forwarded-Proto: https",
    "X-Real-IP: 127.0.0.1",
    "X-Host: open.test",
    "Forwarded: for=127.0.0.1;host=open.test;proto=https",
    "X-HTTP-Method-Override: OPTIONS",
    "X-Method-Override: OPTIONS",
    "X-User: alice",
    "X_User: alice",
    "X-Forwarded-User: alice",
    "X-Remote-User: alice",
    "X-Auth-Request-User: alice",
    "X-Authenticated: true",
    "Proxy-Authorization: {good}",
    "X-Authorization: {good}",
    "X-Original-Authorization: {good}",
    "Cookie: Authorization={good}",
    "Cookie: session=bad",
    "Cookie: session=bad; x=session=good",
    "Connection: x-user",
    "Expect: 100-continue",
    "Via: 1.1 ringway",
    "Referer: http://{host}/api/health",
    "X-Vhost-Tenant: open",
];
