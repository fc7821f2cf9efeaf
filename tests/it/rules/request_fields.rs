//! What sites and rules change of a request's fields, and which change wins: hop-by-hop, then forwarded fields, then
//! change_origin (`origins` has that one), then the site's, then the rule's.

use super::{Stage, rule};
use crate::harness::backend::Backend;
use crate::harness::backends::{HELLO, response};
use crate::harness::config::{Config, Driver};
use crate::harness::on_both_drivers;
use crate::harness::proxy::Proxy;
use crate::harness::websocket::handshake;

on_both_drivers![
    fields_are_set_and_removed,
    everything_else_stays_byte_for_byte,
    every_field_of_that_name_is_replaced,
    twins_with_underscores_are_dropped,
    a_field_that_connection_names_is_set_all_the_same,
    forwarded_fields_can_be_set_and_removed,
    the_rule_wins_over_the_site,
    the_tenant_is_never_spoofed,
    the_base_field_is_told_by_us_where_it_is_on,
    an_automatic_request_id,
    an_automatic_request_id_under_its_own_name,
    sites_choose_their_forwarded_fields,
    upgrades_have_the_same_fields,
    what_frames_a_body_stays,
    a_request_that_is_sent_again_is_the_same,
    the_next_request_is_as_it_came,
    fields_of_any_length_fit,
];

/// A stage whose rule takes all with these lines.
fn with(driver: Driver, lines: &str) -> Stage {
    Stage::on_one(driver, &rule("all", "/*", "to", lines))
}

/// A site for every host with these lines, and one rule with those.
fn site(lines: &str, rule_lines: &str) -> String {
    format!(
        "[[sites]]\nname = \"s\"\nhosts = [\"*\"]\n{lines}\n\
         [[sites.rules]]\nname = \"all\"\npath = \"/*\"\ntarget = \"{{to}}\"\n{rule_lines}\n"
    )
}

fn fields_are_set_and_removed(driver: Driver) {
    let lines = "headers = { X-One = \"1\", x-CASE = \"as written\", X-Empty = \"\" }\n\
                 request_headers = { set = { X-Two = \"two, 2\", Cookie = \"a=b\" }, \
                 remove = [\"X-Gone\", \"AUTHORIZATION\"] }";
    let stage = with(driver, lines);
    let head = stage.head("/", "X-Gone: 1\r\nAuthorization: Basic eA==\r\nCookie: c=d\r\nX-Stays: 1\r\n");
    let value = |name| head.fields.get(name);
    assert_eq!([value("x-gone"), value("authorization")], [None; 2]);
    assert_eq!(
        [value("x-one"), value("x-case"), value("x-empty")],
        [Some("1"), Some("as written"), Some("")]
    );
    assert_eq!([value("x-two"), value("cookie"), value("x-stays")], [Some("two, 2"), Some("a=b"), Some("1")]);
    assert!(head.fields.0.iter().any(|(name, _)| name == "x-CASE"), "the name is sent as it is written");
}

fn everything_else_stays_byte_for_byte(driver: Driver) {
    let stage = with(driver, "headers = { X-New = \"new\" }\nrequest_headers = { remove = [\"X-Gone\"] }");
    let kept = "x-LOWER: 1\r\nX-Twice: a\r\nAccept: */*\r\nX-Twice: b, c\r\nX-Empty:\r\n\
                X-Goner: \"$1 ${x}\"\r\nX-Gon: \t1\r\n";
    let head = stage.head("/p?q", &format!("{kept}X-Gone: 1\r\n"));
    let raw = String::from_utf8(head.raw).unwrap();
    assert!(raw.starts_with(&format!("GET /p?q HTTP/1.1\r\nHost: test\r\n{kept}")), "{raw}");
    assert_eq!(raw.matches("X-New: new\r\n").count(), 1);
    assert!(!raw.contains("X-Gone:"));
}

fn every_field_of_that_name_is_replaced(driver: Driver) {
    let lines =
        "headers = { X-User = \"me\", Accept-Language = \"en\", Content-Type = \"text/x\", Origin = \"o\" }";
    let stage = with(driver, lines);
    let many = "X-User: 1\r\nAccept-Language: de\r\nx-user: 2\r\nContent-Type: a\r\nX-USER: 3\r\n\
                Origin: p\r\nOrigin: q\r\n";
    let fields = stage.head("/", &many.repeat(8)).fields;
    let values =
        ["x-user", "accept-language", "content-type", "origin"].map(|name| fields.get(name).unwrap());
    assert_eq!(values, ["me", "en", "text/x", "o"]);
}

fn twins_with_underscores_are_dropped(driver: Driver) {
    let stage =
        with(driver, "headers = { X-User = \"me\" }\nrequest_headers = { remove = [\"X-Secret-Name\"] }");
    let lines = "X_User: you\r\nx_user: you\r\nX-Secret_Name: 1\r\nX_Secret-Name: 1\r\nX_Users: kept\r\n\
                 X_Other: kept\r\n";
    let fields = stage.head("/", lines).fields;
    assert_eq!(fields.get("x-user"), Some("me"));
    assert_eq!(["x_user", "x-secret_name", "x_secret-name"].map(|name| fields.has(name)), [false; 3]);
    assert_eq!(["x_users", "x_other"].map(|name| fields.get(name)), [Some("kept"); 2]);
    let plain = with(driver, "").head("/", lines).fields;
    assert_eq!(plain.all("x_user").len(), 2, "nobody sets X-User there");
}

fn a_field_that_connection_names_is_set_all_the_same(driver: Driver) {
    let stage = with(driver, "headers = { X-User = \"me\", Accept = \"text/x\" }");
    let lines = "Connection: X-User, accept, x-other\r\nX-User: you\r\nAccept: */*\r\nX-Other: 1\r\n";
    let fields = stage.head("/", lines).fields;
    let values = ["x-user", "accept", "x-other", "connection"].map(|name| fields.get(name));
    assert_eq!(values, [Some("me"), Some("text/x"), None, None]);
}

const SPOOFED: &str = "X-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Forwarded-Proto: ftp\r\n\
                       X-Forwarded-Host: h\r\n\
                       Forwarded: for=6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\n";

fn forwarded_fields_can_be_set_and_removed(driver: Driver) {
    let lines = "headers = { X-Forwarded-Proto = \"https\", X-Forwarded-Port = \"443\", \
                 X-Forwarded-Prefix = \"/p\" }\n\
                 request_headers = { remove = [\"X-Forwarded-For\", \"x-real-ip\", \"Forwarded\", \
                 \"X-Forwarded-User\"] }";
    for trusted in ["[]", "[\"127.0.0.1\"]"] {
        let config = Config::new(driver).server(&format!("trusted_proxies = {trusted}"));
        let config = config.section("[forwarded]\nforwarded = true");
        let stage = Stage::of(config, &["to"], &rule("all", "/*", "to", lines));
        let more = "X-Forwarded-Prefix: /evil\r\nX-Forwarded-User: evil\r\nX_Forwarded_Prefix: /evil\r\n";
        let fields = stage.head("/", &format!("{SPOOFED}{more}")).fields;
        assert!(!fields.has("x_forwarded_prefix"));
        let gone = ["x-forwarded-for", "x-real-ip", "forwarded", "x_forwarded_for", "x-forwarded-user"];
        assert_eq!(gone.map(|name| fields.get(name)), [None; 5], "trusted {trusted}");
        assert_eq!(fields.get("x-forwarded-prefix"), Some("/p"));
        assert_eq!(fields.get("x-forwarded-proto"), Some("https"));
        assert_eq!(fields.get("x-forwarded-port"), Some("443"));
        let host = if trusted == "[]" { "test" } else { "h" };
        assert_eq!(fields.get("x-forwarded-host"), Some(host));
    }
}

/// Set and removed by the site, then by the rule.
fn the_rule_wins_over_the_site(driver: Driver) {
    let site_lines = "headers = { X-Site = \"s\", X-Both = \"s\", X-Forwarded-Host = \"s\" }\n\
                      request_headers = { set = { X-Taken = \"s\" }, remove = [\"X-Back\", \
                      \"X-Real-IP\", \"X-Off\"] }";
    let rule_lines = "headers = { x-both = \"r\", X-Back = \"r\", X-Real-IP = \"r\" }\n\
                      request_headers = { set = { X-Rule = \"r\" }, remove = [\"x-taken\"] }";
    let stage = Stage::on_one(driver, &site(site_lines, rule_lines));
    let fields = stage.head("/", "X-Back: c\r\nX-Off: c\r\nX-Both: c\r\nX-Rule: c\r\nX-Taken: c\r\n").fields;
    for (name, expected) in [
        ("x-site", Some("s")),
        ("x-both", Some("r")),
        ("x-forwarded-host", Some("s")),
        ("x-taken", None),
        ("x-back", Some("r")),
        ("x-real-ip", Some("r")),
        ("x-off", None),
        ("x-rule", Some("r")),
        ("x-forwarded-for", Some("127.0.0.1")),
    ] {
        assert_eq!(fields.get(name), expected, "{name}");
    }
}

fn the_tenant_is_never_spoofed(driver: Driver) {
    let lines =
        "headers = { X-One = \"1\", X-Vhost = \"2\" }\nrequest_headers = { remove = [\"X-Vhost-Tenants\"] }";
    let text = site(lines, lines).replace("\"*\"", "\"*.test\", \"plain\"");
    let stage = Stage::on_one(driver, &text);
    let spoofed = "X-Vhost-Tenant: evil\r\nX_Vhost_Tenant: evil\r\nx-vhost_tenant: evil\r\n";
    for (host, tenant) in [("a.test", Some("a")), ("plain", None)] {
        for more in ["", "Connection: x-vhost-tenant\r\n"] {
            let head = stage.head_of(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n{spoofed}{more}\r\n"));
            assert_eq!(head.fields.get("x-vhost-tenant"), tenant);
            assert!(!head.fields.has("x_vhost_tenant") && !head.fields.has("x-vhost_tenant"));
            assert_eq!((head.fields.get("x-one"), head.fields.get("x-vhost")), (Some("1"), Some("2")));
        }
    }
}

fn the_base_field_is_told_by_us_where_it_is_on(driver: Driver) {
    let on = site("base_header = true", "").replace("\"*\"", "\"on\"");
    let changed = site("base_header = true", "headers = { X-Base = \"/r\" }").replace("\"*\"", "\"changed\"");
    let off = site("", "").replace("\"*\"", "\"off\"");
    let sites = [on, changed.replace("\"s\"", "\"t\""), off.replace("\"s\"", "\"u\"")].concat();
    let stage = Stage::on_one(driver, &sites);
    for lines in ["", "X-Base: /evil\r\nx-base: /evil\r\nX_Base: /evil\r\n", "Connection: x-base\r\n"] {
        let head =
            |host: &str| stage.head_of(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n")).fields;
        assert_eq!([head("on").get("x-base"), head("changed").get("x-base")], [Some("/"), Some("/r")]);
        assert!(!head("on").has("x_base"));
        let own = lines.to_lowercase().matches("x-base:").count();
        assert_eq!(head("off").all("x-base").len(), own, "only where it is on");
    }
}

fn an_automatic_request_id(driver: Driver) {
    let lines = "headers = { X-Request-Id = \"auto\", X-Other = \"auto\" }\n\
                 response_headers = { set = { X-Request-ID = \"auto\" } }";
    let stage = with(driver, lines);
    let mut seen = Vec::new();
    for spoofed in ["", "X-Request-Id: mine\r\nX_Request_Id: mine\r\n"] {
        let answer = stage.proxy.client().ask(format!("GET / HTTP/1.1\r\nHost: h\r\n{spoofed}\r\n"));
        let fields = stage.backends[0].last_head().fields;
        let id = fields.get("x-request-id").expect("one id").to_owned();
        assert!(id.len() >= 16 && !id.contains("mine") && !fields.has("x_request_id"), "{id}");
        assert_eq!(answer.field("x-request-id"), Some(&*id), "the client is told the same");
        assert_eq!(fields.get("x-other"), Some("auto"), "only the field of the id has one made");
        seen.push(id);
    }
    assert_ne!(seen[0], seen[1]);
}

fn an_automatic_request_id_under_its_own_name(driver: Driver) {
    let lines = "headers = { X-Trace = \"auto\" }\nresponse_headers = { set = { x-trace = \"auto\" } }";
    let server = "request_id = \"X-Trace\"\ntrusted_proxies = [\"127.0.0.1\"]";
    let stage = Stage::of(Config::new(driver).server(server), &["to"], &rule("all", "/*", "to", lines));
    let ask = |lines: &str| {
        let answer = stage.proxy.client().ask(format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n"));
        let sent = stage.backends[0].last_head().fields.get("x-trace").expect("one id").to_owned();
        assert_eq!(answer.field("x-trace"), Some(&*sent));
        sent
    };
    assert!(ask("").len() >= 16);
    assert_eq!(ask("X-Trace: theirs\r\n"), "theirs", "a trusted peer's is kept");
}

fn sites_choose_their_forwarded_fields(driver: Driver) {
    let one = |host: &str, forwarded: &str| {
        site(&format!("forwarded = {{ {forwarded} }}"), "")
            .replace("\"*\"", &format!("\"{host}\""))
            .replace("\"s\"", &format!("\"{host}\""))
    };
    let sites = one("file", "")
        + &one("none", "x_forwarded = false")
        + &one("new", "x_forwarded = false, forwarded = true");
    let stage = Stage::on_one(driver, &(sites + &one("both", "forwarded = true")));
    for (host, x_forwarded, forwarded) in
        [("file", true, false), ("none", false, false), ("new", false, true), ("both", true, true)]
    {
        let head = stage.head_of(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n{SPOOFED}\r\n"));
        for name in ["x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-forwarded-host"] {
            assert_eq!(head.fields.has(name), x_forwarded, "{host}: {name}");
        }
        assert_eq!(head.fields.has("forwarded"), forwarded, "{host}");
        let raw = String::from_utf8(head.raw).unwrap();
        assert!(!raw.contains("6.6.6.6"), "a stranger's are dropped in any case: {raw}");
    }
}

fn upgrades_have_the_same_fields(driver: Driver) {
    let backend = Backend::echoes_messages();
    let text = site(
        "headers = { X-Site = \"s\" }",
        "headers = { X-User = \"me\" }\nrequest_headers = { remove = [\"Cookie\"] }",
    );
    let proxy = Proxy::start(&Config::new(driver).section(&text.replace("{to}", &backend.url())));
    let lines = "X-User: you\r\nX_User: you\r\nCookie: a=b\r\nSec-WebSocket-Protocol: chat\r\n";
    assert_eq!(proxy.client().send(handshake("/chat", lines)).head().status(), 101);
    let fields = backend.last_head().fields;
    let values =
        ["x-site", "x-user", "cookie", "x_user", "sec-websocket-protocol"].map(|name| fields.get(name));
    assert_eq!(values, [Some("s"), Some("me"), None, None, Some("chat")]);
}

fn what_frames_a_body_stays(driver: Driver) {
    let backend = Backend::echoes_body();
    let text =
        rule("all", "/*", "to", "headers = { X-One = \"1\" }\nrequest_headers = { remove = [\"X-Two\"] }");
    let config = Config::new(driver).section(&text.replace("{to}", &backend.url()));
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    let fields = "X-Two: 2\r\nConnection: x-two\r\n";
    for body in
        ["Content-Length: 5\r\n\r\n12345", "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n"]
    {
        let answer = client.ask(format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}{body}"));
        assert_eq!(answer.text(), "12345");
        assert_eq!(backend.last_head().fields.get("x-one"), Some("1"));
        assert!(!backend.last_head().fields.has("x-two"));
    }
}

/// A pooled connection that its backend closes as the next request comes: the second attempt has all that the first had.
fn a_request_that_is_sent_again_is_the_same(driver: Driver) {
    let backend = Backend::script(|visit| {
        for _ in 0..=visit.number {
            if visit.request().is_none() {
                return;
            }
            visit.send(response("200 OK", "", HELLO));
        }
        visit.request();
    });
    let lines =
        "rewrite = '/it'\nchange_origin = true\nheaders = { X-User = \"me\", X-Request-Id = \"auto\" }";
    let text = rule("all", "/*", "to", lines).replace("{to}", &backend.url());
    let proxy = Proxy::start(&Config::new(driver).section(&text));
    let mut client = proxy.client();
    for _ in 0..2 {
        let request = "GET /x HTTP/1.1\r\nHost: h\r\nX-User: you\r\nX_User: you\r\nX-Stays: 1\r\n\r\n";
        assert_eq!(client.ask(request).body, HELLO);
    }
    let [first, again] = [1, 2].map(|number| backend.head(number));
    assert_eq!((backend.accepts(), first.raw == again.raw), (2, true), "{first:?} {again:?}");
    let values = ["x-user", "x_user", "x-stays"].map(|name| again.fields.get(name));
    assert_eq!((again.target(), values), ("/it", [Some("me"), None, Some("1")]));
}

/// What one rule takes out of a request, the next request of the connection keeps.
fn the_next_request_is_as_it_came(driver: Driver) {
    let edits = "headers = { X-User = \"me\" }\nrequest_headers = { remove = [\"X-Gone\", \"Cookie\"] }";
    let list = rule("edits", "/edits", "to", edits) + &rule("plain", "/*", "to", "");
    let stage = Stage::on_one(driver, &list);
    let mut client = stage.proxy.client();
    let lines = "X-User: you\r\nX-Gone: 1\r\nCookie: a=b\r\nX_User: you\r\n";
    for _ in 0..3 {
        for (path, expected) in [
            ("/edits", [Some("me"), None, None, None]),
            ("/x", [Some("you"), Some("1"), Some("a=b"), Some("you")]),
        ] {
            client.ask(format!("GET {path} HTTP/1.1\r\nHost: h\r\n{lines}\r\n"));
            let fields = stage.backends[0].last_head().fields;
            assert_eq!(["x-user", "x-gone", "cookie", "x_user"].map(|name| fields.get(name)), expected);
        }
    }
}

/// More than a buffer holds, both ways.
fn fields_of_any_length_fit(driver: Driver) {
    let value = "v".repeat(4096);
    let set: Vec<_> = (0..20).map(|number| format!("X-Set-{number} = \"{value}\"")).collect();
    let set = set.join(", ");
    let lines = format!("headers = {{ {set} }}\nresponse_headers = {{ set = {{ {set} }} }}");
    let stage = with(driver, &lines);
    let came = format!("X-Came: {}\r\n", "c".repeat(30_000));
    let answer = stage.proxy.client().ask(format!("GET / HTTP/1.1\r\nHost: h\r\n{came}\r\n"));
    let seen = stage.backends[0].last_head().fields;
    for fields in [&seen, &answer.head.fields] {
        assert!((0..20).all(|number| fields.get(&format!("X-Set-{number}")) == Some(&value)));
    }
    assert_eq!((answer.text().as_str(), seen.get("x-came").map(str::len)), ("to /", Some(30_000)));
}
