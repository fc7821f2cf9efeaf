//! `${NAME}` in targets, field values and backends: set, by default, and not at all.

use super::tells;
use crate::access_log::objects;
use crate::harness::backend::Backend;
use crate::harness::config::{Config, Driver};
use crate::harness::message::Head;
use crate::harness::on_both_drivers;
use crate::harness::proxy::{Proxy, ringway};

on_both_drivers![
    a_target_is_made_of_variables,
    a_fields_value_is_made_of_variables,
    a_backends_url_is_a_variable,
    a_value_is_read_once,
    an_unset_variable_is_a_rule_that_is_down,
    a_sites_unset_variable_takes_the_site_down,
    an_unset_backend_leaves_the_others,
];

fn start(driver: Driver, sections: &str, variables: &[(&str, &str)]) -> Proxy {
    let directory = tempfile::tempdir().expect("a directory");
    let log = format!("[access_log]\npath = \"{}\"\n", directory.path().join("access.log").display());
    Proxy::start_with(directory, &Config::new(driver).section(&(log + sections)), variables)
}

/// A rule for `/name` with this target.
fn rule(name: &str, target: &str, lines: &str) -> String {
    format!("[[rules]]\nname = \"{name}\"\npath = \"/{name}\"\ntarget = \"{target}\"\n{lines}\n")
}

fn a_target_is_made_of_variables(driver: Driver) {
    let backend = tells("b");
    let (url, port) = (backend.url(), backend.address().port().to_string());
    let list = rule("whole", "${APP_URL}", "")
        + &rule("parts", "${SCHEME}://${APP_HOST}:${APP_PORT}/${BASE:-v1}", "")
        + &rule("default", &format!("${{NOT_SET:-{url}}}/d"), "")
        + &rule("empty", &format!("${{EMPTY:-{url}}}"), "");
    let variables =
        [("APP_URL", &*url), ("APP_HOST", "127.0.0.1"), ("APP_PORT", &port), ("SCHEME", "ws"), ("EMPTY", "")];
    let proxy = start(driver, &list, &variables);
    let told = ["/whole", "/parts", "/default", "/empty"].map(|path| proxy.client().get(path).text());
    assert_eq!(told, ["b /whole", "b /v1/parts", "b /d/default", "b /empty"]);
    assert!(!proxy.log().text().contains("warning"), "{}", proxy.log().text());
}

/// What the backend sees of a request that meets the rule `it` with these lines.
fn seen(driver: Driver, lines: &str, variables: &[(&str, &str)]) -> Head {
    let backend = Backend::says_hello();
    let proxy = start(driver, &rule("it", &backend.url(), lines), variables);
    assert_eq!(proxy.client().get("/it").status, 200);
    backend.last_head()
}

fn a_fields_value_is_made_of_variables(driver: Driver) {
    let lines = "headers = { X-One = \"a ${ONE} ${TWO:-two} c\", X-Escaped = \"$${ONE}\" }\n\
                 request_headers = { set = { X-Other = \"${ONE}\" } }";
    let fields = seen(driver, lines, &[("ONE", "1")]).fields;
    let values = ["x-one", "x-escaped", "x-other"].map(|name| fields.get(name).unwrap());
    assert_eq!(values, ["a 1 two c", "${ONE}", "1"]);
    let backend = Backend::says_hello();
    let lines = "response_headers = { set = { X-One = \"${ONE}\" } }";
    let proxy = start(driver, &rule("it", &backend.url(), lines), &[("ONE", "1")]);
    assert_eq!(proxy.client().get("/it").field("x-one"), Some("1"));
}

fn a_backends_url_is_a_variable(driver: Driver) {
    let backend = tells("b");
    let text = "[[upstreams]]\nname = \"pool\"\nbackends = [{ url = \"${APP_URL}\" }]\n\
                [[sites]]\nname = \"s\"\nhosts = [\"s\"]\n\
                upstream = { backends = [{ url = \"http://${APP:-localhost}\" }] }\n\
                [[rules]]\nname = \"all\"\npath = \"/*\"\nupstream = \"pool\"\n";
    let address = backend.address().to_string();
    let proxy = start(driver, text, &[("APP_URL", &backend.url()), ("APP", &address)]);
    assert_eq!(proxy.client().get("/x").text(), "b /x");
    assert_eq!(proxy.client().ask("GET /y HTTP/1.1\r\nHost: s\r\n\r\n").text(), "b /y");
}

fn a_value_is_read_once(driver: Driver) {
    let variables = [("ONE", "${TWO} $1 $$ ${"), ("TWO", "2")];
    let fields = seen(driver, "headers = { X-One = \"${ONE}\" }", &variables).fields;
    assert_eq!(fields.get("x-one"), Some("${TWO} $1 $$ ${"));
}

fn an_unset_variable_is_a_rule_that_is_down(driver: Driver) {
    let backend = tells("b");
    let url = backend.url();
    let list = rule("target", "http://${NOT_SET_HOST}:81/x", "")
        + &rule("field", &url, "headers = { X-One = \"${NOT_SET_FIELD}\" }")
        + &rule("answer", &url, "response_headers = { set = { X-One = \"${NOT_SET_ANSWER}\" } }")
        + &rule("works", &url, "");
    let proxy = start(driver, &list, &[]);
    for name in ["NOT_SET_HOST", "NOT_SET_FIELD", "NOT_SET_ANSWER"] {
        proxy.log().wait_for(0, name);
    }
    let mut client = proxy.client();
    for path in ["/target", "/field", "/answer"] {
        client.get(path).assert_error(502, "upstream_dns");
    }
    assert_eq!((client.get("/works").text().as_str(), backend.requests()), ("b /works", 1));
    let line = objects(&proxy, 4).remove(0);
    assert_eq!(
        (line["rule"].as_str(), line["code"].as_str()),
        (Some("target"), Some("upstream_dns")),
        "{line}"
    );
}

fn a_sites_unset_variable_takes_the_site_down(driver: Driver) {
    let backend = tells("b");
    let site = "[[sites]]\nname = \"s\"\nhosts = [\"s\"]\n\
                response_headers = { set = { X-One = \"${NOT_SET}\" } }\n\
                rules = [{ name = \"here\", path = \"/here\", respond = { status = 200, body = \"here\" } }]\n";
    let proxy = start(driver, &(site.to_owned() + &rule("it", &backend.url(), "")), &[]);
    proxy.log().wait_for(0, "NOT_SET");
    let ask = |host, path| proxy.client().ask(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    ask("s", "/it").assert_error(502, "upstream_dns");
    ask("s", "/here").assert_error(502, "upstream_dns");
    assert_eq!((ask("other", "/it").text().as_str(), backend.requests()), ("b /it", 1));
}

fn an_unset_backend_leaves_the_others(driver: Driver) {
    let backend = tells("b");
    let pool = |name: &str, backends: &str| {
        format!(
            "[[upstreams]]\nname = \"{name}\"\nbackends = [{{ url = \"http://${{NOT_SET}}\" }}{backends}]\n\
             [[rules]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = \"{name}\"\n"
        )
    };
    let list = pool("alone", "") + &pool("two", &format!(", {{ url = \"{}\" }}", backend.url()));
    let proxy = start(driver, &list, &[]);
    proxy.log().wait_for(0, "NOT_SET");
    let mut client = proxy.client();
    client.get("/alone").assert_error(502, "upstream_dns");
    assert!((0..4).all(|_| client.get("/two").text() == "b /two"));
}

/// The environment puts no line into a head and no other host into a target.
#[test]
fn a_variables_value_is_checked() {
    let good = rule("it", "${URL}", "headers = { X-One = \"${ONE}\" }");
    for (url, one, code) in [
        ("http://127.0.0.1:1", "1", 0),
        ("http://127.0.0.1:1", "1\r\nX-Two: 2", 1),
        ("http://127.0.0.1:1", "1\n", 1),
        ("http://user@127.0.0.1:1", "1", 1),
        ("http://127.0.0.1:1?q", "1", 1),
        ("http://127.0.0.1:x", "1", 1),
        ("nowhere", "1", 1),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let text = Config::new(Driver::Epoll).section(&good).text();
        std::fs::write(directory.path().join("r.toml"), text).expect("the file is written");
        let mut command = ringway();
        command.current_dir(directory.path()).args(["check", "r.toml"]).envs([("URL", url), ("ONE", one)]);
        let output = command.output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{url:?} {one:?}\n{told}");
    }
}
