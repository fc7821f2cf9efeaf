//! Tries to come past access: bytes that a client sends without credentials to sites behind each type of provider, whose rules
//! have public globs, rewrites and prefixes that are stripped. The backend keeps what it gets, and `judge` says whether it
//! should have: it reads paths as the most lenient server would.
//!
//! Each try stands in a table with what the same bytes come to with credentials, so that one which could never be served
//! at all does not pass for one that was withstood.

mod credentials;
mod endpoints;
mod fields;
mod judge;
mod lines;
mod paths;
mod streams;

use crate::harness::backend::Backend;
use crate::harness::backends::response;
use crate::harness::client::Client;
use crate::harness::config::{Config, Driver};
use crate::harness::proxy::Proxy;

/// A user, tokens, and an endpoint.
const PROVIDERS: &str = r#"
[[auth]]
name = "basic"
type = "basic"
users = { alice = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW" }
[[auth]]
name = "bearer"
type = "bearer"
tokens = { ci = "ci-token-0123456789" }
[[auth]]
name = "sso"
type = "forward"
url = "{endpoint}/auth"
request_headers = ["Authorization", "Cookie", "X-User"]
copy_headers = ["X-User"]
timeout = "2s"
"#;

/// A site behind a provider. Its backend sees the credentials, so that what it gets can be judged.
const SITE: &str = r#"
[[sites]]
name = "{provider}"
hosts = ["{provider}.test"]
auth = "{provider}"
[[sites.rules]]
name = "api"
path = "/api/*"
target = "{to}"
public_routes = { ALL = ["/api/health"], GET = ["/api/config/**"] }
forward_credentials = true
[[sites.rules]]
name = "static"
path = "/static/*"
target = "{to}"
public_routes = { GET = ["/static/*.css"] }
forward_credentials = true
[[sites.rules]]
name = "old"
pattern = '^/old/(.*)$'
rewrite = '/new/$1'
target = "{to}"
public_routes = { ALL = ["/old/pub/*"] }
forward_credentials = true
[[sites.rules]]
name = "strip"
path = "/strip/*"
strip_prefix = true
target = "{to}"
public_routes = { ALL = ["/strip/pub"] }
forward_credentials = true
[[sites.rules]]
name = "all"
path = "/*"
target = "{to}"
forward_credentials = true
"#;

/// Nobody is kept out there.
const OPEN: &str = r#"
[[sites]]
name = "open"
hosts = ["open.test"]
[[sites.rules]]
name = "open"
path = "/*"
target = "{open}"
"#;

/// A provider, its credentials as a field line, and as a value where it takes an Authorization.
#[derive(Clone, Copy)]
struct Provider {
    name: &'static str,
    line: &'static str,
    scheme: &'static str,
    token: &'static str,
}

const BASIC: Provider = Provider {
    name: "basic",
    line: "Authorization: Basic YWxpY2U6VSpV\r\n",
    scheme: "Basic",
    token: "YWxpY2U6VSpV",
};
const BEARER: Provider = Provider {
    name: "bearer",
    line: "Authorization: Bearer ci-token-0123456789\r\n",
    scheme: "Bearer",
    token: "ci-token-0123456789",
};
const SSO: Provider =
    Provider { name: "sso", line: "Cookie: session=good\r\n", scheme: "Basic", token: "YWxpY2U6VSpV" };

const ALL: [Provider; 3] = [BASIC, BEARER, SSO];

/// What bytes come to with credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum With {
    /// The backend gets them.
    Served,
    /// Nobody does: they are refused as a request, or lead elsewhere.
    Refused,
}
use With::{Refused, Served};

/// Bytes to try. `{host}` is the site's, `{auth}` where credentials would stand, `{good}` a value of Authorization that would do.
struct Try {
    name: &'static str,
    bytes: String,
    with: With,
}

/// A GET of a path.
fn path(path: &'static str, with: With) -> Try {
    let bytes = format!("GET {path} HTTP/1.1\r\nHost: {{host}}\r\n{{auth}}Connection: close\r\n\r\n");
    Try { name: path, bytes, with }
}

/// All that is behind a proxy, and the proxy.
struct House {
    proxy: Proxy,
    backend: Backend,
    /// The backend of the open site.
    open: Backend,
    _endpoint: Backend,
}

impl House {
    fn new(driver: Driver) -> Self {
        let endpoint = Backend::answers(|request| {
            let good = request.head.fields.all("cookie").contains(&"session=good");
            let status = if good { "200 OK" } else { "401 Unauthorized" };
            response(status, "X-User: alice\r\n", b"")
        });
        House::with(driver, endpoint)
    }

    fn with(driver: Driver, endpoint: Backend) -> Self {
        let nothing = |_: &_| response("200 OK", "", b"");
        let (backend, open) = (Backend::answers(nothing), Backend::answers(nothing));
        let sites: String = ALL.iter().map(|provider| SITE.replace("{provider}", provider.name)).collect();
        let text = format!("{PROVIDERS}{sites}{OPEN}");
        let text = text.replace("{to}", &backend.url()).replace("{open}", &open.url());
        let text = text.replace("{endpoint}", &endpoint.url());
        let proxy = Proxy::start(&Config::new(driver).section(&text));
        House { proxy, backend, open, _endpoint: endpoint }
    }

    /// Sends bytes until the proxy closes; gives all that it answered, and the requests that came of it.
    fn send(&self, bytes: &str) -> (String, Vec<judge::Request>) {
        let before = self.backend.requests();
        let mut client = Client::connect(&self.proxy.address());
        let answer = client.send(bytes).rest().0;
        let came =
            (before..self.backend.requests()).map(|index| judge::Request::of(&self.backend.head(index)));
        (String::from_utf8_lossy(&answer).into_owned(), came.collect())
    }

    /// Tries all, at each provider, without and with credentials.
    fn withstands(&self, tries: &[Try], providers: &[Provider]) {
        let all = providers.iter().flat_map(|provider| tries.iter().map(move |attempt| (provider, attempt)));
        let faults: Vec<_> = all.filter_map(|(provider, attempt)| self.fault(attempt, provider)).collect();
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    }

    /// What is wrong with what comes of a try.
    fn fault(&self, attempt: &Try, provider: &Provider) -> Option<String> {
        let bytes = provider.bytes(&attempt.bytes);
        let fault = |what: &str, came: &[judge::Request], answer: &str| {
            Some(format!("{:?} at {}: {what}: {came:?}\n{answer}", attempt.name, provider.name))
        };
        let (answer, came) = self.send(&bytes.replace("{auth}", ""));
        if came.iter().any(|request| !request.may_come(provider)) {
            return fault("it came through", &came, &answer);
        }
        if answer.is_empty() {
            return fault("it is not answered", &came, &answer);
        }
        let (answer, came) = self.send(&bytes.replace("{auth}", provider.line));
        let served = came.iter().any(|request| !request.is_public());
        match attempt.with {
            Served if !served => fault("with credentials it is not served", &came, &answer),
            Refused if served => fault("with credentials it is served", &came, &answer),
            Served | Refused => None,
        }
    }
}

impl Provider {
    /// The bytes of a try at this provider's site, but for its credentials.
    fn bytes(&self, written: &str) -> String {
        let host = format!("{}.test", self.name);
        let good = format!("{} {}", self.scheme, self.token);
        let parts = [("{host}", &*host), ("{HOST}", &host.to_uppercase()), ("{good}", &good)];
        let parts = parts.into_iter().chain([("{scheme}", self.scheme), ("{token}", self.token)]);
        parts.fold(written.to_owned(), |bytes, (name, value)| bytes.replace(name, value))
    }
}
