//! Addresses in a configuration: where a listener binds, the URLs of targets and backends, what a probe asks for, and name
//! servers.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::host;
use crate::pattern::{self, BadPath};
use crate::problem::Fault;
use crate::snapshot::{Backend, BackendAddress, ListenAddress};

/// The kernel's bound on the path of a Unix socket (`sun_path` of 108 bytes, one for its closing NUL).
const UNIX_PATH_BYTES_MAX: usize = 107;
/// The port of `http` (RFC 9110 4.2.1).
const HTTP_PORT: u16 = 80;
/// The port of name servers (RFC 1035 4.2).
const DNS_PORT: u16 = 53;
/// The longest path of a probe, its query included.
const PROBE_PATH_BYTES_MAX: usize = 2_048;

/// Reads a listener's address: `127.0.0.1:8080`, `:8080`, `[::]:443`, `unix:/path`.
///
/// # Errors
/// What is wrong, and where it can be guessed what was meant.
pub(crate) fn listen_address(text: &str) -> Result<ListenAddress, Fault> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path(path).map(ListenAddress::Unix);
    }
    if let Some(port) = text.strip_prefix(':').and_then(decimal_port) {
        return Ok(ListenAddress::Tcp(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))));
    }
    text.parse().map(ListenAddress::Tcp).map_err(|_| no_listen_address(text))
}

fn no_listen_address(text: &str) -> Fault {
    let fault = Fault::new(format!("{text:?} is no address to listen on"));
    if text.contains("://") {
        return fault.help("an address has no scheme: write \"127.0.0.1:8080\", \":8080\" or \"unix:/path\"");
    }
    if decimal_port(text).is_some() {
        return fault.help(format!("write \":{text}\" to listen on every address"));
    }
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => return fault.help(format!("a port is missing: write \"{address}:8080\"")),
        Ok(IpAddr::V6(_)) => return fault.help("an IPv6 address stands in brackets: \"[::1]:8080\""),
        Err(_) => {}
    }
    match text.rsplit_once(':') {
        Some(("localhost", port)) => fault.help(format!("write the address itself: \"127.0.0.1:{port}\"")),
        Some(("*", port)) => fault.help(format!("write \":{port}\" to listen on every address")),
        _ => fault.help("write \"127.0.0.1:8080\", \":8080\", \"[::1]:8080\" or \"unix:/path\""),
    }
}

fn unix_path(path: &str) -> Result<PathBuf, Fault> {
    if !path.starts_with('/') {
        return Err(
            Fault::new("the path of a Unix socket begins with `/`").help(format!("write \"unix:/{path}\""))
        );
    }
    if path.contains('\0') {
        return Err(Fault::new("the path of a Unix socket has no NUL"));
    }
    let path = PathBuf::from(path);
    check_socket_path(&path)?;
    Ok(path)
}

/// Checks that the kernel takes the path of a Unix socket.
///
/// # Errors
/// It is too long.
pub(crate) fn check_socket_path(path: &Path) -> Result<(), Fault> {
    if path.as_os_str().len() <= UNIX_PATH_BYTES_MAX {
        return Ok(());
    }
    Err(Fault::new(format!("the path of a Unix socket has at most {UNIX_PATH_BYTES_MAX} bytes")))
}

/// Digits only: `u16::from_str` would take a sign.
fn decimal_port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// What a target's URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The server.
    pub(crate) backend: Backend,
    /// The path that goes in front: empty, or `/base`.
    pub(crate) base_path: String,
    /// The path as it was written; `/` when there was none.
    pub(crate) path: String,
}

/// Reads a rule's `target`: an http or ws URL, with a base path or without.
///
/// # Errors
/// What is wrong, and where it can be guessed what was meant.
pub(crate) fn target(text: &str) -> Result<Target, Fault> {
    if text.starts_with("unix:") {
        let help = "name an upstream: [[upstreams]] with backends = [{ url = \"unix:/path\" }], and `upstream` in the rule";
        return Err(Fault::new("a target is an http URL").help(help));
    }
    let (authority, path) = split(text)?;
    let (backend, base_path) = (http_backend(authority)?, base_path(path)?);
    let path = if path.is_empty() { "/" } else { path };
    Ok(Target { backend, base_path, path: path.to_owned() })
}

/// Reads a backend's `url`: an http or ws URL without a path, or "unix:/path".
///
/// # Errors
/// What is wrong, and where it can be guessed what was meant.
pub(crate) fn backend(text: &str) -> Result<Backend, Fault> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = unix_path(path)?;
        let url = format!("unix:{}", path.display());
        return Ok(Backend {
            address: BackendAddress::Unix(path),
            authority: "localhost".to_owned(),
            url,
            weight: 1,
            backup: false,
        });
    }
    let (authority, path) = split(text)?;
    if !matches!(path, "" | "/") {
        return Err(
            Fault::new("a backend's URL has no path").help("a base path belongs to a rule's `target`")
        );
    }
    http_backend(authority)
}

/// The backend whose URL, as written, needs a variable that is not set: a name that is never found.
pub(crate) fn unknown_backend(url: &str) -> Backend {
    let address = BackendAddress::Unknown;
    Backend { address, authority: "localhost".to_owned(), url: url.to_owned(), weight: 1, backup: false }
}

/// Splits a URL into its authority and its path.
fn split(text: &str) -> Result<(&str, &str), Fault> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(no_url(text));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => {}
        "https" | "wss" => {
            return Err(Fault::new("TLS to backends is not supported yet").help("write an http URL"));
        }
        _ => {
            return Err(
                Fault::new(format!("{scheme:?} is no scheme for a backend")).help("write an http URL")
            );
        }
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    match path.find(['?', '#']).and_then(|at| path.as_bytes().get(at)) {
        Some(b'?') => Err(Fault::new("a URL of a backend has no query: the request's own is sent")),
        Some(_) => Err(Fault::new("a URL of a backend has no fragment")),
        None => Ok((authority, path)),
    }
}

fn no_url(text: &str) -> Fault {
    let fault = Fault::new(format!("{text:?} is no URL"));
    let authority = text.split('/').next().unwrap_or_default();
    if ringway_wire::parse_authority(authority.as_bytes()).is_some() {
        fault.help(format!("write \"http://{text}\""))
    } else {
        fault.help("write a URL such as \"http://127.0.0.1:3000\"")
    }
}

fn http_backend(authority: &str) -> Result<Backend, Fault> {
    if authority.contains('@') {
        return Err(Fault::new("a URL of a backend has no user and password"));
    }
    let (written, port) = host_and_port(authority)?;
    let name = host::host(written)?;
    let (host, address) = match name.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) => (name.clone(), BackendAddress::Socket(SocketAddr::new(ip, port))),
        Err(_) => {
            // A closing dot says that no search list is tried. It is another backend than the name without it may be, and
            // not of the name that the backend itself knows.
            let host = if written.ends_with('.') { format!("{name}.") } else { name.clone() };
            (host.clone(), BackendAddress::Name { host, port })
        }
    };
    let url = format!("http://{host}:{port}");
    let authority = if port == HTTP_PORT { name } else { format!("{name}:{port}") };
    Ok(Backend { address, authority, url, weight: 1, backup: false })
}

/// Splits `host[:port]`; an empty port is the default one (RFC 3986 3.2.3).
fn host_and_port(authority: &str) -> Result<(&str, u16), Fault> {
    let behind_literal = authority.rfind(']').unwrap_or(0);
    let colon = authority.rfind(':').filter(|colon| *colon > behind_literal);
    let Some((name, port)) =
        colon.and_then(|colon| Some((authority.get(..colon)?, authority.get(colon + 1..)?)))
    else {
        return Ok((authority, HTTP_PORT));
    };
    if port.is_empty() {
        return Ok((name, HTTP_PORT));
    }
    let port = decimal_port(port).filter(|port| *port > 0);
    port.map(|port| (name, port)).ok_or_else(|| Fault::new("a backend's port is a number from 1 to 65535"))
}

/// One trailing `/` is left out, since the request's path brings its own.
fn base_path(path: &str) -> Result<String, Fault> {
    let base = path.strip_suffix('/').unwrap_or(path);
    if base.is_empty() {
        return Ok(String::new());
    }
    match pattern::check_path(base) {
        Ok(()) => Ok(base.to_owned()),
        Err(BadPath::Dots(Some(normal))) => {
            Err(Fault::new("the base path has dot segments").help(format!("write \"{normal}\"")))
        }
        Err(BadPath::Dots(None)) => Err(Fault::new("the base path climbs above the root")),
        Err(BadPath::Slash) => Err(Fault::new("a base path begins with `/`")),
        Err(BadPath::Other(why)) => Err(Fault::new(format!("the base path is no valid path: {why}"))),
    }
}

/// Checks what a probe asks for: a path without dot segments, and a query perhaps.
///
/// # Errors
/// What is wrong, and where it can be guessed what was meant.
pub(crate) fn probe_path(text: &str) -> Result<(), Fault> {
    if text.len() > PROBE_PATH_BYTES_MAX {
        return Err(Fault::new(format!("the path of a probe has at most {PROBE_PATH_BYTES_MAX} bytes")));
    }
    let (path, query) = text.split_at(text.find('?').unwrap_or(text.len()));
    // What is visible but `#`, as in the query of a request.
    if let Some(c) = query.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
        return Err(Fault::new(format!("a query cannot have the character {c:?}")));
    }
    pattern::check_path(path).map_err(|bad| match bad {
        BadPath::Slash if text.contains("://") => {
            Fault::new("a probe asks each backend itself: its path stands here, without a host")
        }
        BadPath::Slash => {
            Fault::new("the path of a probe begins with `/`").help(format!("write {:?}", format!("/{text}")))
        }
        BadPath::Dots(Some(normal)) => {
            Fault::new("the path of a probe has dot segments").help(format!("write {:?}", normal + query))
        }
        BadPath::Dots(None) => Fault::new("the path of a probe climbs above the root"),
        BadPath::Other(why) => Fault::new(format!("this is no valid request path: {why}")),
    })
}

/// Reads the address of a name server: `10.0.0.2`, `10.0.0.2:53`, `2001:db8::2`, `[2001:db8::2]:53`.
///
/// # Errors
/// What is wrong.
pub(crate) fn name_server(text: &str) -> Result<SocketAddr, Fault> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, DNS_PORT));
    }
    let address = text.parse::<SocketAddr>().ok().filter(|address| address.port() > 0);
    address.ok_or_else(|| {
        Fault::new(format!("{text:?} is no address of a name server"))
            .help("write \"10.0.0.2\", \"10.0.0.2:53\" or \"[2001:db8::2]:53\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listens(text: &str) -> String {
        match listen_address(text) {
            Ok(ListenAddress::Tcp(address)) => address.to_string(),
            Ok(ListenAddress::Unix(path)) => format!("unix:{}", path.display()),
            Err(fault) => format!("{} ({})", fault.message, fault.help.unwrap_or_default()),
        }
    }

    #[test]
    fn listeners_have_one_spelling() {
        for (written, canonical) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            (":8080", "[::]:8080"),
            ("[0::0]:443", "[::]:443"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
            ("127.0.0.1:0", "127.0.0.1:0"),
        ] {
            assert_eq!(listens(written), canonical);
        }
    }

    #[test]
    fn what_is_no_listener_is_refused_with_a_hint() {
        for (written, hint) in [
            ("8080", "\":8080\""),
            ("127.0.0.1", "\"127.0.0.1:8080\""),
            ("::1:80", "\"[::1]:8080\""),
            ("localhost:80", "\"127.0.0.1:80\""),
            ("*:80", "\":80\""),
            ("http://127.0.0.1:80", "no scheme"),
            ("unix:a.sock", "\"unix:/a.sock\""),
            (":65536", "write"),
            (":+80", "write"),
            ("", "write"),
        ] {
            assert!(listens(written).contains(hint), "{written}: {}", listens(written));
        }
    }

    #[test]
    fn targets_have_an_origin_and_a_base_path() {
        for (written, url, authority, base) in [
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000", "127.0.0.1:3000", ""),
            ("http://h/", "http://h:80", "h", ""),
            ("ws://H.Example:8080/v1/", "http://h.example:8080", "h.example:8080", "/v1"),
            ("HTTP://[0::1]/a/b", "http://[::1]:80", "[::1]", "/a/b"),
            ("http://h:/x//", "http://h:80", "h", "/x/"),
            ("http://bücher.example", "http://xn--bcher-kva.example:80", "xn--bcher-kva.example", ""),
        ] {
            let target = target(written).expect(written);
            assert_eq!(
                (&*target.backend.url, &*target.backend.authority, &*target.base_path),
                (url, authority, base)
            );
        }
        assert_eq!(
            target("http://[::1]:9").unwrap().backend.address,
            BackendAddress::Socket("[::1]:9".parse().unwrap())
        );
    }

    #[test]
    fn the_closing_dot_of_a_backends_name_is_for_those_who_look_it_up() {
        for (written, url, authority, host) in [
            ("http://API.example.", "http://api.example.:80", "api.example", "api.example."),
            (
                "http://bücher.example.:81/",
                "http://xn--bcher-kva.example.:81",
                "xn--bcher-kva.example:81",
                "xn--bcher-kva.example.",
            ),
            ("http://app", "http://app:80", "app", "app"),
        ] {
            let read = backend(written).expect(written);
            assert_eq!((&*read.url, &*read.authority), (url, authority));
            let BackendAddress::Name { host: looked_up, .. } = &read.address else { panic!("{read:?}") };
            assert_eq!(looked_up, host);
            assert_eq!(backend(&read.url), Ok(read), "{written}: its own URL says the same");
        }
        // An address has no search list.
        assert_eq!(backend("http://127.0.0.1.:80"), backend("http://127.0.0.1"));
        for written in ["http://.", "http://a..", "http://.:80"] {
            assert!(backend(written).is_err(), "{written}");
        }
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for (written, part) in [
            ("https://h", "TLS to backends is not supported yet"),
            ("wss://h", "TLS to backends is not supported yet"),
            ("ftp://h", "no scheme for a backend"),
            ("127.0.0.1:3000", "no URL"),
            ("http://", "no host name"),
            ("http://h:0", "port"),
            ("http://h:65536", "port"),
            ("http://h:+1", "port"),
            ("http://u:p@h", "user and password"),
            ("http://h?a=b", "no query"),
            ("http://h/x#y", "no fragment"),
            ("http://h/../x", "climbs"),
            ("http://h/a/./b", "dot segments"),
            ("http://h/%zz", "no valid path"),
            ("http://127.1/", "neither an IPv4 address"),
            ("unix:/run/x", "http URL"),
        ] {
            let message = target(written).expect_err(written).message;
            assert!(message.contains(part), "{written}: {message}");
        }
        assert_eq!(
            target("localhost:3000").unwrap_err().help.as_deref(),
            Some("write \"http://localhost:3000\"")
        );
    }

    #[test]
    fn backends_have_no_path() {
        assert_eq!(backend("http://h:81/").unwrap().url, "http://h:81");
        assert_eq!(backend("unix:/run/x").unwrap().authority, "localhost");
        assert!(backend("http://h/v1").is_err());
        assert!(backend("unix:x").is_err());
    }

    #[test]
    fn probes_ask_for_paths() {
        let longest = format!("/{}", "a".repeat(PROBE_PATH_BYTES_MAX - 1));
        for path in ["/", "/healthz", "/a//b%20c", "/ready?full=1&x=%", "/?", &longest] {
            assert_eq!(probe_path(path), Ok(()), "{path}");
        }
        for (path, part) in [
            ("", "begins with"),
            ("healthz", "\"/healthz\""),
            ("http://h/healthz", "without a host"),
            ("?a", "begins with"),
            ("/a/../b?c", "\"/b?c\""),
            ("/../b", "climbs"),
            ("/a b", "no valid request path"),
            ("/a#b", "no valid request path"),
            ("/a\r\nX: y", "no valid request path"),
            ("/ä", "no valid request path"),
            ("/a?b c", "query"),
            ("/a?b#c", "query"),
            ("/a?\n", "query"),
            ("/a?ä", "query"),
            (&*format!("{longest}a"), "at most"),
        ] {
            let fault = probe_path(path).expect_err(path);
            let told = format!("{} {}", fault.message, fault.help.unwrap_or_default());
            assert!(told.contains(part), "{path}: {told}");
        }
    }

    #[test]
    fn name_servers_have_port_53_where_none_is_given() {
        for (written, expected) in [
            ("10.0.0.2", "10.0.0.2:53"),
            ("10.0.0.2:5353", "10.0.0.2:5353"),
            ("2001:db8::2", "[2001:db8::2]:53"),
            ("[2001:db8::2]:54", "[2001:db8::2]:54"),
        ] {
            assert_eq!(name_server(written).unwrap().to_string(), expected);
        }
        for written in [
            "",
            "dns.example",
            "10.0.0.2:0",
            "10.0.0.2:",
            "10.0.0.2:65536",
            "2001:db8::2:x",
            "udp://10.0.0.2",
        ] {
            assert!(name_server(written).is_err(), "{written}");
        }
    }
}
