//! The demo's configuration: each feature of the file once, with a word on what it does.

use std::net::SocketAddr;
use std::path::Path;

use super::backends::Addresses;

/// The folder of the admin socket in a copy of the demo's file: below the one that the program is started in.
pub(super) const EXAMPLE_FOLDER: &str = "ringway-data";

/// The folder of files, in the one of the admin socket.
pub(super) const FILES_FOLDER: &str = "files";

/// That of the password "ringway".
const PASSWORD_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$E+r8RE1uCadxyaUbc8mpxg$mrv8rR1jHgdZYBUnKduIRIyyyRuQZ/x+NW+/Po0s354";

/// The text, for a proxy at `listen` in front of these backends, with its admin socket in `folder`.
pub(super) fn text(listen: SocketAddr, folder: &Path, backends: &Addresses) -> String {
    front(listen, folder, backends) + &sites(backends) + &rules(backends) + &access(folder, backends)
}

/// A path as TOML writes it: what JSON has for a string TOML has, too.
fn quoted(path: &Path) -> String {
    serde_json::json!(path.to_string_lossy()).to_string()
}

/// The process, its socket, and a pool.
fn front(listen: SocketAddr, folder: &Path, Addresses { greeters: [one, two], .. }: &Addresses) -> String {
    let folder = quoted(folder);
    format!(
        r#"# What `ringway demo` runs. `ringway demo --print-config > ringway.toml` gives you a copy.

[server]
request_id = "x-request-id"         # every request gets an id; backends and error answers tell it
drain_timeout = "2s"                # how long Ctrl-C waits for what still runs

[access_log]
path = "stdout"                     # one JSON object for each request

[admin]
data_dir = {folder}            # `ringway status` asks through admin.sock in this folder

[[listeners]]
address = "{listen}"

[[upstreams]]                       # a named pool: requests go to its backends in turn
name = "greeters"
backends = [
    {{ url = "http://{one}" }},
    {{ url = "http://{two}" }},
]

"#
    )
}

/// What hosts have for themselves.
fn sites(Addresses { echo, .. }: &Addresses) -> String {
    format!(
        r#"[[sites]]                           # a virtual host: its own rules are tried first
name = "api"
hosts = ["api.localhost"]
response_headers = {{ set = {{ "Cache-Control" = "no-store" }}, remove = ["X-Powered-By"] }}

[[sites.rules]]
name = "read-items"
path = "/items/*"                   # a prefix by whole segments: /items and /items/7, not /itemsale
methods = ["GET", "HEAD"]           # other methods look for another rule
target = "http://{echo}/v1"  # a base path: the request's path is put after it

[[sites.rules]]
name = "versions"
pattern = '^/v(\d+)/(?<rest>.*)$'   # a regular expression, as JavaScript has them
rewrite = "/api/${{rest}}/version-$1"
target = "http://{echo}"

[[sites]]
name = "tenants"
hosts = ["*.tenants.localhost"]     # one or more labels; they go to the backend as x-vhost-tenant
upstream = {{ backends = [{{ url = "http://{echo}" }}] }}   # takes what none of its rules takes

[[sites.rules]]
name = "documents"
path = "*.json"                     # a suffix
methods = ["GET"]
target = "http://{echo}/documents"

"#
    )
}

/// What all hosts share, and what must be so.
fn rules(Addresses { echo, live, .. }: &Addresses) -> String {
    format!(
        r#"[[rules]]                           # rules for every site, in this order; the first that matches wins
name = "page"
path = "/"                          # exactly that
target = "http://{live}"

[[rules]]
name = "greeting"
path = "/hello/*"
upstream = "greeters"

[[rules]]
name = "echo"
path = "/echo/*"
target = "http://{echo}"

[[rules]]
name = "events"
path = "/events"
ws = false                          # takes no part when a WebSocket is asked for
target = "http://{live}"

[[rules]]
name = "chat"
path = "/chat"
target = "ws://{live}"

[[rules]]
name = "moved"
path = "/old/*"
redirect = {{ to = "/echo${{path}}", status = 301 }}

[[rules]]
name = "private"
path = "/internal/*"
respond = {{ status = 403, body = "not from here\n" }}

[[rules]]
name = "broken"
path = "/broken"
target = "http://127.0.0.1:9"       # nobody listens there

[[expect]]                          # what must become of a request: a file that breaks this is refused
url = "http://api.localhost/v2/users?page=1"
rule = "versions"
path = "/api/users/version-2?page=1"

[[expect]]
url = "http://localhost/internal/metrics"
status = 403
"#
    )
}

/// Who may come in, how often, and files.
fn access(folder: &Path, Addresses { echo, .. }: &Addresses) -> String {
    let files = quoted(&folder.join(FILES_FOLDER));
    format!(
        r#"
[[auth]]                            # who may come in: the password is "ringway"
name = "staff"
type = "basic"
users = {{ demo = "{PASSWORD_HASH}" }}

[[rules]]
name = "staff-only"
path = "/staff/*"
target = "http://{echo}"
auth = "staff"                      # Authorization ends here: the backend does not see it
public_routes = {{ GET = ["/staff/door"] }}

[[rules]]
name = "limited"
path = "/limited"
respond = {{ status = 200, body = "welcome\n" }}
rate_limit = {{ requests = 3, per = "1m" }}

[[rules]]
name = "files"
path = "/files/*"
static_dir = {files}
strip_prefix = true                 # /files/letter.txt is letter.txt in that folder

[[expect]]
url = "http://localhost/staff/list"
auth = "staff"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_config::{Compiler, Source};

    #[test]
    fn it_compiles_without_a_warning() {
        let text = text("127.0.0.1:8080".parse().unwrap(), Path::new(EXAMPLE_FOLDER), &Addresses::EXAMPLES);
        let source = Source { name: "demo", text: &text };
        match Compiler::new().check(&source) {
            Ok(checked) => {
                let warnings = checked.compiled.warnings;
                assert!(warnings.is_empty(), "{}", warnings.render(&source, false));
            }
            Err(problems) => panic!("{}", problems.render(&source, false)),
        }
    }
}
