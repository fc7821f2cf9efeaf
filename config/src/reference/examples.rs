//! The hand-written parts of the reference page: how it begins, and an example for each table. A test compiles them
//! all.

/// How the page begins.
pub(super) const INTRODUCTION: &str = "\
<!-- Generated from config/src/schema.rs: `RINGWAY_UPDATE=1 cargo test -p ringway-config` writes it anew. -->
# The configuration file

Ringway reads one TOML file. `ringway run` without `--config` looks for `./ringway.toml`, then
`/etc/ringway/ringway.toml`. `ringway check FILE` reports every problem of a file at once, with line and column; SIGHUP
applies a changed file as a whole or not at all. This is the smallest useful one:

```toml
[[listeners]]
address = \"0.0.0.0:8080\"

[[rules]]
name = \"api\"
path = \"/api/*\"
target = \"http://127.0.0.1:3000\"
```

* A *duration* is a string of numbers with units, largest first: `\"250ms\"`, `\"30s\"`, `\"1h30m\"`. Units are `d`, `h`, `m`,
  `s`, `ms`, `us` and `ns`.
* A *size* is a string of one number with its unit: `\"512B\"`, `\"32KiB\"`, `\"1MiB\"`, `\"1GiB\"` (1,024 of the smaller
  each), or `\"32kB\"`, `\"1MB\"` (1,000 each).
* A *percentage* is a string of a whole number and its sign: `\"50%\"`.
* Unknown keys are errors: nothing that stands in the file is ignored.
* An editor that knows JSON schemas completes and checks the file with `docs/ringway.schema.json`, which
  `ringway config-schema` prints.

";

/// The example for a table.
pub(super) fn of(table: &str) -> Option<&'static str> {
    EXAMPLES.iter().find(|(name, _)| *name == table).map(|(_, example)| *example)
}

const EXAMPLES: &[(&str, &str)] = &[
    (
        "server",
        r#"[server]
workers = 4
trusted_proxies = ["10.0.0.0/8", "unix"]
request_id = "x-request-id"
"#,
    ),
    (
        "forwarded",
        r#"[forwarded]
x_forwarded = false
forwarded = true
"#,
    ),
    (
        "listeners",
        r#"[[listeners]]
name = "public"
address = ":8080"

[[listeners]]
name = "internal"
address = "unix:/run/ringway.sock"
"#,
    ),
    (
        "limits",
        r#"[limits]
request_head = "64KiB"
max_request_body = "10MiB"
"#,
    ),
    (
        "timeouts",
        r#"[timeouts]
idle = "20s"
response = "2m"
"#,
    ),
    (
        "access_log",
        r#"[access_log]
path = "/var/log/ringway/access.log"
sample = 0.1
"#,
    ),
    (
        "admin",
        r#"[admin]
data_dir = "/var/lib/ringway"
"#,
    ),
    (
        "dns",
        r#"[dns]
resolver = "dns"
servers = ["10.0.0.2", "10.0.0.3"]
"#,
    ),
    (
        "egress",
        r#"[egress]
policy = "any"
allow = ["169.254.20.10"]
"#,
    ),
    (
        "auth",
        r#"[[auth]]
name = "staff"
type = "basic"
users = { alice = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$pxnnMIpjtJWQ54EYPoJnRvhKqbS2kLLXcWJQRrZU3xE" }

[[auth]]
name = "machines"
type = "bearer"
tokens = { deploy = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" }

[[auth]]
name = "login"
type = "forward"
url = "http://127.0.0.1:4180/oauth2/auth"
copy_headers = ["X-Auth-Request-User"]
"#,
    ),
    (
        "upstreams",
        r#"[[upstreams]]
name = "app"
strategy = "least_connections"
backends = [
    { url = "http://10.0.0.11:3000", weight = 2 },
    { url = "http://app2.internal:3000" },
    { url = "unix:/run/app.sock", backup = true },
]
keepalive = 128
max_active = 200
queue_timeout = "10s"

[upstreams.health]
unhealthy_status = ["502", "503"]
probe = "http"
probe_path = "/healthz"

[upstreams.timeouts]
connect = "500ms"
"#,
    ),
    (
        "sites",
        r#"[[sites]]
name = "tenants"
hosts = ["example.com", "*.example.com"]
project = "shared"
upstream = "app"
response_headers = { set = { "X-Frame-Options" = "DENY" }, remove = ["Server"] }

[sites.timeouts]
response = "2m"

[[sites.rules]]
name = "static files"
path = "/assets/*"
methods = ["GET", "HEAD"]
ws = false
target = "http://127.0.0.1:3001"

[[sites]]
name = "admin"
hosts = ["example.com"]
path_prefix = "/admin"
listeners = ["internal"]
upstream = { backends = [{ url = "http://127.0.0.1:3002" }] }
auth = "staff"
rate_limit = { requests = 100, per = "1m", burst = 20 }
"#,
    ),
    (
        "projects",
        r#"[[projects]]
name = "shared"

[[projects.rules]]
name = "reports"
path = "/reports/*"
target = "http://127.0.0.1:3003"
strip_prefix = true
auth = "machines"
"#,
    ),
    (
        "rules",
        r#"[[rules]]
name = "health"
description = "asked by the load balancer in front"
path = "/healthz"
methods = ["GET"]
respond = { status = 200, body = "fine\n" }

[[rules]]
name = "versions"
pattern = '^/v(\d+)/(.*)$'
rewrite = "/api/$2"
target = "http://${API_HOST:-127.0.0.1}:3000"
timeout = "10s"
auth = "login"
public_routes = { GET = ["/v?/status"] }

[rules.request_headers]
set = { "X-Api-Version" = "2" }
remove = ["Cookie"]

[[rules]]
name = "blog"
path = "/blog/*"
redirect = { to = "https://blog.example.com${path}" }
"#,
    ),
    (
        "expect",
        r#"[[expect]]
url = "http://other.example/v2/users?id=1"
rule = "versions"
path = "/api/users?id=1"

[[expect]]
url = "http://other.example/about"
status = 404
"#,
    ),
];

#[cfg(test)]
mod tests {
    use crate::shape::SCHEMA;
    use crate::{Compiler, Source};

    #[test]
    fn the_examples_are_one_sound_file() {
        let text: String = super::EXAMPLES.iter().map(|(_, example)| *example).collect();
        let source = Source { name: "examples.toml", text: &text };
        let compiled = Compiler::new().compile(&source).map_err(|problems| problems.render(&source, false));
        assert_eq!(compiled.map(|compiled| compiled.warnings.render(&source, false)), Ok(String::new()));
    }

    #[test]
    fn every_table_has_an_example() {
        for (name, _) in super::super::properties(&SCHEMA) {
            assert!(super::of(name).is_some(), "{name}");
        }
    }
}
