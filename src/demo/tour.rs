//! The lines that the demo has people try, each with what it shows.

use std::fmt;

/// One line to try.
pub(super) struct Stop {
    /// What it shows.
    pub(super) shows: &'static str,
    /// A command for a POSIX shell.
    pub(super) command: String,
}

impl fmt::Display for Stop {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "# {}\n{}\n\n", self.shows, self.command)
    }
}

/// The lines, for a proxy at `base`.
pub(super) fn stops(base: &str) -> Vec<Stop> {
    let stop = |shows, command: String| Stop { shows, command };
    vec![
        stop(
            "Four requests over one connection, two backends in turn:",
            format!("curl -s {base}/hello {base}/hello {base}/hello {base}/hello"),
        ),
        stop(
            "What a backend gets: the path untouched, its own idea of the client dropped, ours set:",
            format!("curl -s '{base}/echo/a%2Fb//c?q=1' -H 'X-Forwarded-For: 6.6.6.6' -d name=ringway"),
        ),
        stop(
            "Dot segments are resolved before any rule looks at the path; climbing out is refused (400):",
            format!("curl -s --path-as-is {base}/echo/x/../y {base}/../etc/passwd"),
        ),
        stop(
            "A site by its host, and a base path (the backend sees /v1/items/7):",
            format!("curl -s -H 'Host: api.localhost' {base}/items/7"),
        ),
        stop(
            "The same with a method that the rule does not take (404, no_rule):",
            format!("curl -si -X DELETE -H 'Host: api.localhost' {base}/items/7"),
        ),
        stop(
            "A wildcard site with an upstream of its own; the backend gets x-vhost-tenant: acme.eu",
            format!("curl -s -H 'Host: acme.eu.tenants.localhost' {base}/any/path"),
        ),
        stop(
            "A rule of the same site by suffix (the backend sees /documents/readme.json):",
            format!("curl -s -H 'Host: acme.eu.tenants.localhost' {base}/readme.json"),
        ),
        stop(
            "A rewrite by a pattern's groups; the backend sees /api/users/version-2?page=1",
            format!("curl -s -H 'Host: api.localhost' '{base}/v2/users?page=1'"),
        ),
        stop(
            "A field of the response that the site sets (Cache-Control: no-store):",
            format!("curl -si -H 'Host: api.localhost' {base}/items/8"),
        ),
        stop(
            "A redirect that keeps path and query; curl follows it:",
            format!("curl -siL '{base}/old/page?q=1'"),
        ),
        stop("An answer without a backend (403):", format!("curl -si {base}/internal/metrics")),
        stop(
            "100 MB of unknown length go up in chunks as they come; nothing is stored on the way:",
            format!("head -c 100000000 /dev/zero | curl -s -T - {base}/echo/upload"),
        ),
        stop(
            "Server-sent events, each when it happens (curl stops after three seconds):",
            format!("curl -sN --max-time 3 {base}/events"),
        ),
        stop(
            "A WebSocket: the backend's 101 comes back, then its first message (the page talks back):",
            format!(
                "curl -siN --max-time 1 --output - -H 'Connection: Upgrade' -H 'Upgrade: websocket' \\\n    \
                 -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: cmluZ3dheSBkZW1vIDE2YQ==' {base}/chat"
            ),
        ),
        stop("A page for staff, without a password (401):", format!("curl -si {base}/staff/list")),
        stop("With it; the backend does not see it:", format!("curl -s -u demo:ringway {base}/staff/list")),
        stop("A public path of the same rule:", format!("curl -s {base}/staff/door")),
        stop(
            "Three a minute and no more (429, with Retry-After):",
            format!("curl -si {base}/limited {base}/limited {base}/limited {base}/limited"),
        ),
        stop("Part of a file (206):", format!("curl -si -r 5-10 {base}/files/letter.txt")),
        stop("A backend that is not there (502, upstream_refused):", format!("curl -si {base}/broken")),
        stop(
            "A malformed request, a body with two lengths, as smugglers write it (400; no backend hears of it):",
            format!("curl -si -H 'Content-Length: 4' -H 'Transfer-Encoding: chunked' -d ring {base}/echo/x"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_goes_to_the_demo_and_says_what_it_shows() {
        for stop in stops("http://127.0.0.1:8080") {
            assert!(stop.command.contains("curl -s") && stop.command.contains("http://127.0.0.1:8080/"));
            assert!(!stop.shows.is_empty() && !stop.shows.contains('\n'));
        }
    }
}
