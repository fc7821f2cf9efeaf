//! The status for people: what runs, then every upstream with its backends, the sites, the workers.

use ringway_admin::api::{Backend, BackendState, Gate, Phase, Site, Status, Upstream, Worker};
use ringway_config::Strategy;

use super::amount::{age, bytes, count, latency};
use super::table::{Cell, Column, Look, Page, Side};

/// Writes a status.
pub(super) fn of(status: &Status, page: &Page) -> String {
    let parts = [
        summary(status, page),
        page.table(&UPSTREAM_COLUMNS, &upstreams(status)),
        page.table(&SITE_COLUMNS, &sites(status)),
        page.table(&WORKER_COLUMNS, &workers(status)),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

fn summary(status: &Status, page: &Page) -> String {
    let totals = &status.totals;
    let phase = match status.phase {
        Phase::Serving => ("serving", Look::Title),
        Phase::Draining => ("draining: it ends when the last connection has gone", Look::Warning),
    };
    let first = page.line(&format!("ringway {} {}", status.version, phase.0), phase.1);
    let listeners: Vec<_> = status.listeners.iter().map(|listener| listener.address.as_str()).collect();
    let skew = status.connections_skew.map_or_else(String::new, |skew| format!(", skew {skew:.2}"));
    let refused =
        if totals.refused > 0 { format!(", {} refused", count(totals.refused)) } else { String::new() };
    let lines = [
        ("up", format!("{}, {} on {}", age(status.uptime_s), workers_in_words(status), status.driver)),
        ("revision", format!("{}, applied {}", status.revision, status.applied)),
        ("listening", listeners.join(", ")),
        (
            "connections",
            format!("{} open{skew}, {} accepted{refused}", count(status.connections), count(totals.accepted)),
        ),
        ("requests", requests(status)),
        ("responses", responses(status)),
        ("time", times(status)),
        (
            "traffic",
            format!("{} in, {} out", bytes(totals.bytes_from_clients), bytes(totals.bytes_to_clients)),
        ),
        ("errors", errors(status)),
    ];
    let lines = lines.iter().filter(|(_, text)| !text.is_empty());
    first
        + &lines
            .map(|(label, text)| page.line(&format!("{label:<11}  {text}"), Look::Plain))
            .collect::<String>()
}

fn requests(status: &Status) -> String {
    let (totals, waiting) = (&status.totals, waiting(status));
    let waiting = if waiting > 0 { format!(" ({} waiting)", count(waiting)) } else { String::new() };
    let [active, all, tunnels] = [totals.active, totals.requests, totals.tunnels].map(count);
    format!("{active} active{waiting}, {all} in all, {tunnels} tunnels")
}

/// Requests that wait, for whatever.
fn waiting(status: &Status) -> u64 {
    let at_sites = status.sites.iter().map(|site| u64::from(site.gate.waiting));
    let at_upstreams =
        status.upstreams.iter().map(|of| u64::from(of.gate.waiting) + u64::from(of.waiting_for_backend));
    at_sites.chain(at_upstreams).sum()
}

fn workers_in_words(status: &Status) -> String {
    let number = status.workers.len();
    format!("{number} worker{}", if number == 1 { "" } else { "s" })
}

fn responses(status: &Status) -> String {
    let of = &status.totals.responses;
    let classes = [
        ("1xx", of.informational),
        ("2xx", of.success),
        ("3xx", of.redirection),
        ("4xx", of.client_error),
        ("5xx", of.server_error),
        ("none", of.none),
    ];
    let some = classes.iter().filter(|(_, number)| *number > 0);
    some.map(|(class, number)| format!("{class} {}", count(*number))).collect::<Vec<_>>().join(", ")
}

fn times(status: &Status) -> String {
    status.totals.latency.map_or_else(String::new, |of| {
        let parts =
            [("half within", of.p50_ms), ("90%", of.p90_ms), ("99%", of.p99_ms), ("99.9%", of.p999_ms)];
        parts.map(|(share, ms)| format!("{share} {}", latency(ms))).join(", ")
    })
}

/// The most frequent first.
fn errors(status: &Status) -> String {
    let mut errors: Vec<_> = status.totals.errors.iter().collect();
    errors.sort_by_key(|(_, number)| std::cmp::Reverse(**number));
    errors.iter().map(|(code, number)| format!("{code} {}", count(**number))).collect::<Vec<_>>().join(", ")
}

const fn left(title: &'static str, cut_to: Option<usize>, goes: u8) -> Column {
    Column { title, side: Side::Left, cut_to, goes }
}

const fn right(title: &'static str, goes: u8) -> Column {
    Column { title, side: Side::Right, cut_to: None, goes }
}

const UPSTREAM_COLUMNS: [Column; 10] = [
    left("UPSTREAM", Some(20), 0),
    left("STATE", None, 0),
    right("RUNNING", 0),
    right("WAITING", 4),
    right("RETRIES", 7),
    right("FAILED", 6),
    right("LATENCY", 5),
    right("WEIGHT", 8),
    right("SINCE", 2),
    left("WHY", Some(12), 3),
];

/// A row for each upstream, and below it one for each backend.
fn upstreams(status: &Status) -> Vec<Vec<Cell>> {
    let rows = |upstream: &Upstream| {
        let backends = upstream.backends.iter().map(backend_row).collect::<Vec<_>>();
        std::iter::once(upstream_row(upstream)).chain(backends)
    };
    status.upstreams.iter().flat_map(rows).collect()
}

fn upstream_row(upstream: &Upstream) -> Vec<Cell> {
    let members = upstream.backends.len();
    let alive = upstream.backends.iter().filter(|backend| backend.state == BackendState::Alive).count();
    let look = match alive {
        0 => Look::Bad,
        _ if alive < members => Look::Warning,
        _ => Look::Plain,
    };
    let waiting = upstream.gate.waiting.saturating_add(upstream.waiting_for_backend);
    let retries = upstream.retries.total;
    vec![
        Cell::new(&named(upstream), Look::Title),
        Cell::new(&format!("{alive} of {members}"), look),
        running(&upstream.gate),
        limited(waiting, upstream.gate.max_queued, upstream.gate.max_active > 0 || waiting > 0),
        if retries > 0 { count(retries).into() } else { Cell::default() },
    ]
}

/// Its name, and how it chooses where that is not the usual way or there is nothing to choose.
fn named(upstream: &Upstream) -> String {
    if upstream.backends.len() < 2 || upstream.strategy == Strategy::default().name() {
        return upstream.name.clone();
    }
    format!("{} ({})", upstream.name, upstream.strategy)
}

fn backend_row(backend: &Backend) -> Vec<Cell> {
    let (state, look) = state(backend);
    let name = backend.address.as_ref().unwrap_or(&backend.url);
    let failures = if backend.failures > 0 { Look::Warning } else { Look::Plain };
    vec![
        Cell::new(&format!("  {name}"), Look::Plain),
        Cell::new(state, look),
        count(backend.running.into()).into(),
        Cell::default(),
        Cell::default(),
        Cell::new(&count(backend.failures.into()), failures),
        backend.latency_ms.map_or_else(Cell::default, |ms| latency(ms).into()),
        count(backend.weight.into()).into(),
        backend.since_s.map_or_else(Cell::default, |since_s| age(since_s).into()),
        Cell::new(backend.why.as_deref().unwrap_or_default(), look)
            .or(backend.cause.as_deref().unwrap_or_default()),
    ]
}

fn state(backend: &Backend) -> (&'static str, Look) {
    match backend.state {
        BackendState::Alive if backend.backup => ("backup", Look::Plain),
        BackendState::Alive => ("alive", Look::Plain),
        BackendState::Ejected => ("EJECTED", Look::Bad),
        BackendState::Dead => ("DEAD", Look::Warning),
        BackendState::Unresolved => ("NO ADDR", Look::Bad),
        BackendState::Loop => ("LOOP", Look::Bad),
        BackendState::Forbidden => ("FORBIDDEN", Look::Bad),
    }
}

const SITE_COLUMNS: [Column; 6] = [
    left("SITE", Some(20), 0),
    right("RUNNING", 0),
    right("WAITING", 0),
    right("QUEUED", 3),
    right("FULL", 2),
    right("TIMED OUT", 1),
];

fn sites(status: &Status) -> Vec<Vec<Cell>> {
    let row = |site: &Site| {
        let gate = &site.gate;
        let mut row = vec![Cell::new(&site.name, Look::Title), running(gate)];
        row.push(limited(gate.waiting, gate.max_queued, gate.max_active > 0));
        let past = [gate.queued, gate.queue_full, gate.queue_timeouts];
        row.extend(past.map(|number| {
            if gate.max_active > 0 || number > 0 { count(number).into() } else { Cell::default() }
        }));
        row
    };
    status.sites.iter().map(row).collect()
}

/// What runs, and how much may.
fn running(gate: &Gate) -> Cell {
    limited(gate.running, gate.max_active, true)
}

/// A number and its limit (0: none); full is worth a look.
fn limited(number: u32, limit: u32, is_shown: bool) -> Cell {
    match (is_shown, limit) {
        (false, _) => Cell::default(),
        (true, 0) => count(number.into()).into(),
        (true, limit) => {
            let look = if number >= limit { Look::Warning } else { Look::Plain };
            Cell::new(&format!("{}/{}", count(number.into()), count(limit.into())), look)
        }
    }
}

const WORKER_COLUMNS: [Column; 8] = [
    left("WORKER", None, 0),
    right("CONNECTIONS", 0),
    right("ACCEPTED", 3),
    right("REQUESTS", 1),
    right("ACTIVE", 0),
    right("TUNNELS", 2),
    right("HALF WITHIN", 5),
    right("99% WITHIN", 4),
];

fn workers(status: &Status) -> Vec<Vec<Cell>> {
    let row = |worker: &Worker| {
        let counted = &worker.counted;
        let mut row = vec![Cell::from(worker.index.to_string())];
        let counts =
            [counted.connections, counted.accepted, counted.requests, counted.active, counted.tunnels];
        row.extend(counts.map(|number| Cell::from(count(number))));
        let times = counted.latency.map_or([None; 2], |of| [Some(of.p50_ms), Some(of.p99_ms)]);
        row.extend(times.map(|ms| ms.map_or_else(Cell::default, |ms| latency(ms).into())));
        row
    };
    status.workers.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use unicode_width::UnicodeWidthStr;

    fn backend(address: &str, state: &str, more: Value) -> Value {
        let mut backend = json!({
            "address": address, "url": format!("http://{address}"), "weight": 1, "backup": false, "state": state,
            "since": null, "since_s": null, "cause": null, "why": null, "running": 0, "failures": 0, "ejections": 0,
            "latency_ms": null, "last_probe": null,
        });
        backend.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        backend
    }

    fn gate(running: u32, waiting: u32, max_active: u32) -> Value {
        json!({
            "running": running, "waiting": waiting, "max_active": max_active, "max_queued": 50,
            "queued": 9, "queue_full": 0, "queue_timeouts": 1,
        })
    }

    fn with(mut object: Value, more: Value) -> Value {
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object
    }

    fn upstream(name: &str, gate: Value, backends: Value) -> Value {
        let rest = json!({
            "name": name, "strategy": "least_connections", "waiting_for_backend": 0,
            "retries": { "total": 1234, "last_10_s": 5 }, "ejections": 1, "ejections_held_back": 0, "recoveries": 0,
            "backends": backends,
        });
        with(gate, rest)
    }

    fn status() -> Status {
        let none = json!({ "1xx": 0, "2xx": 1200, "3xx": 0, "4xx": 3, "5xx": 1, "none": 0 });
        let totals = json!({
            "connections": 10, "accepted": 98_000, "refused": 1_200, "requests": 1_234_567, "active": 7, "tunnels": 2,
            "bytes_from_clients": 1_572_864, "bytes_to_clients": 5000, "upstream_connects": 4, "resends": 0, "retries": 0,
            "log_lines_dropped": 0, "panics": 0, "responses": none, "errors": { "no_rule": 3, "upstream_refused": 40 },
            "latency": { "p50_ms": 0.5, "p90_ms": 1.0, "p99_ms": 25.0, "p999_ms": 1200.0 },
        });
        let ejected = json!({
            "since": "2026-11-21T15:00:00Z", "since_s": 125, "cause": "refused", "failures": 3,
            "why": "the connection is refused, or the address cannot be reached",
        });
        let alive = json!({ "running": 6, "latency_ms": 1.234 });
        let app = [backend("10.0.0.1:3000", "alive", alive), backend("10.0.0.2:3000", "ejected", ejected)];
        let hostile = "a\u{1b}[2J\u{202e}name that is very long, so that no terminal of any width shows all of it in one \
                       line, and then some more of it, until there is no room left at all for whatever may come";
        let unresolved = with(
            backend("x", "unresolved", json!({ "cause": "unresolved", "why": "its name has no address" })),
            json!({ "address": null }),
        );
        serde_json::from_value(json!({
            "version": "0.1.0", "phase": "serving", "driver": "io_uring", "started": "2026-11-21T14:00:00Z",
            "uptime_s": 3725, "revision": 3, "applied": "2026-11-21T15:00:00Z", "connections": 10, "connections_skew": 1.2,
            "totals": totals, "workers": [with(totals.clone(), json!({ "index": 0 })), with(totals, json!({ "index": 1 }))],
            "listeners": [{ "name": "web", "address": "127.0.0.1:8080" }],
            "sites": [with(gate(3, 2, 3), json!({ "name": "shop" })), with(gate(0, 0, 0), json!({ "name": hostile }))],
            "upstreams": [
                upstream("app", gate(6, 0, 100), json!(app)),
                upstream(hostile, gate(0, 0, 0), json!([unresolved])),
                upstream("empty", gate(0, 0, 0), json!([])),
            ],
            "a field of another version": true,
        }))
        .unwrap()
    }

    fn text(width: usize) -> String {
        of(&status(), &Page { width, color: false })
    }

    #[test]
    fn a_line_tells_a_backend() {
        let text = text(200);
        let line = |name: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(name));
            line.unwrap_or_else(|| panic!("no {name} in\n{text}"))
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(line("ringway"), "ringway 0.1.0 serving");
        assert_eq!(line("up "), "up 1h 2m, 2 workers on io_uring");
        assert_eq!(line("connections"), "connections 10 open, skew 1.20, 98,000 accepted, 1,200 refused");
        assert_eq!(line("requests"), "requests 7 active (2 waiting), 1,234,567 in all, 2 tunnels");
        assert_eq!(line("errors"), "errors upstream_refused 40, no_rule 3");
        assert_eq!(line("app"), "app (least_connections) 1 of 2 6/100 0/50 1,234");
        assert_eq!(line("10.0.0.1"), "10.0.0.1:3000 alive 6 0 1.23ms 1");
        let why = "the connection is refused, or the address cannot be reached";
        assert_eq!(line("10.0.0.2"), format!("10.0.0.2:3000 EJECTED 0 3 1 2m 5s {why}"));
        assert_eq!(line("http://x"), "http://x NO ADDR 0 0 1 its name has no address");
        assert_eq!(line("shop"), "shop 3/3 2/50 9 0 1");
        assert!(line("0 ").starts_with("0 10 98,000 1,234,567 7 2"), "{text}");
    }

    #[test]
    fn every_width_has_lines_that_fit() {
        for width in [60, 80, 200] {
            let text = text(width);
            for line in text.lines() {
                assert!(line.width() <= width && !line.ends_with(' '), "{width}: {line:?}");
            }
            for part in ["app", "1 of 2", "EJECTED", "10.0.0.2:3000", "NO ADDR", "shop", "3/3", "6/100"] {
                assert!(text.contains(part), "{width}: no {part} in\n{text}");
            }
        }
        assert!(text(60).contains('…') && !text(60).contains("WEIGHT"), "{}", text(60));
        let refused =
            text(80).lines().any(|line| line.contains("10.0.0.2") && line.ends_with("2m 5s  refused"));
        assert!(refused && text(80).contains("SINCE"), "{}", text(80));
        assert!(text(200).contains("cannot be reached") && text(200).contains("WEIGHT"), "{}", text(200));
    }

    #[test]
    fn names_are_text_and_nothing_else() {
        let text = text(200);
        assert!(text.contains("a\\u{1b}[2J\\u{202e}name"), "{text}");
        assert!(!text.contains(|character: char| character.is_control() && character != '\n'));
    }

    #[test]
    fn what_is_ill_stands_out() {
        let colored = of(&status(), &Page { width: 200, color: true });
        assert!(
            colored.contains("\x1b[1;31mEJECTED\x1b[0m") && colored.contains("\x1b[33m1 of 2\x1b[0m"),
            "{colored}"
        );
        assert!(colored.contains("\x1b[33m3/3\x1b[0m"), "{colored}");
    }
}
