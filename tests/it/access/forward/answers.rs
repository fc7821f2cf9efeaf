//! What becomes of the endpoint's answers: a 2xx lets through and adds the named fields, a 3xx or 4xx goes to the client.

use super::{LOGIN_BODY, SESSION, config, get, guarding, lets_in, logs_in, provider, tells_head};
use crate::harness::backend::Backend;
use crate::harness::backends::{HELLO, chunked_response, response};
use crate::harness::client::Response;
use crate::harness::config::{Config, Driver};
use crate::harness::message::Framing;
use crate::harness::on_both_drivers;
use crate::harness::proxy::Proxy;
use crate::harness::websocket::{assert_echo, connect, handshake};

on_both_drivers![
    every_2xx_lets_through,
    the_named_fields_go_to_the_backend,
    what_it_says_is_no_credential_of_the_clients,
    of_each_there_is_one,
    what_clients_send_under_their_names_never_does,
    on_public_routes_neither,
    nor_where_a_rule_opens_what_its_site_closes,
    who_is_not_logged_in_is_sent_to_the_login_page,
    other_credentials_get_the_endpoints_401,
    every_3xx_and_4xx_goes_to_the_client,
    nothing_about_the_endpoints_connection_does,
    head_gets_no_body,
    a_body_of_any_framing_arrives_with_its_length,
    a_body_as_long_as_may_be_arrives_and_a_longer_one_does_not,
    response_fields_are_changed_on_it,
    interim_responses_are_skipped,
    the_connection_goes_on_after_it,
    each_pipelined_request_has_its_own,
    a_body_that_comes_with_a_denied_request_is_no_request,
    http_1_0_is_answered_too,
    an_upgrade_is_let_through_or_denied,
];

fn every_2xx_lets_through(driver: Driver) {
    for status in
        ["200 OK", "201 Created", "202 Accepted", "204 No Content", "206 Partial Content", "299 Fine"]
    {
        let body: &[u8] = if status.starts_with("204") { b"" } else { b"some text" };
        let length = if body.is_empty() { "" } else { "Content-Length: 9\r\n" };
        let answer = [format!("HTTP/1.1 {status}\r\n{length}\r\n").as_bytes(), body].concat();
        let (endpoint, backend) = (Backend::answers_with(answer), Backend::says_hello());
        let proxy = guarding(driver, &endpoint, "", &backend);
        let mut client = proxy.client();
        (0..3).for_each(|_| assert_eq!(client.get("/").body, HELLO, "{status}"));
        assert_eq!((endpoint.requests(), endpoint.accepts(), backend.requests()), (3, 1, 3), "{status}");
    }
}

fn the_named_fields_go_to_the_backend(driver: Driver) {
    let fields = "x-user: ann\r\nX-Groups: a\r\nX_User: eve\r\nX-Other: 1\r\nX-GROUPS: b, c\r\nSet-Cookie: s=2\r\n\
                  X-Odd: \u{e9}\t;\r\nX-Empty:\r\nX-Hop: 1\r\nConnection: X-Hop\r\nAuthorization: Bearer inner\r\n";
    let (endpoint, backend) = (Backend::answers_with(response("200 OK", fields, b"")), tells_head());
    let lines = "copy_headers = [\"X-User\", \"X-Groups\", \"X-Odd\", \"X-Empty\", \"X-Hop\", \"Authorization\", \"X-None\"]";
    let proxy = guarding(driver, &endpoint, lines, &backend);
    let answer =
        proxy.client().ask(get("/", "X-None: spoofed\r\nX-Mine: 1\r\nAuthorization: Basic eA==\r\n"));
    assert_eq!((answer.status, answer.field("set-cookie"), answer.field("x-user")), (200, None, None));
    let got = backend.last_head().fields;
    let expected = [
        ("x-user", vec!["ann"]),
        ("x-groups", vec!["a", "b, c"]),
        ("x-odd", vec!["\u{c3}\u{a9}\t;"]),
        ("x-empty", vec![""]),
        ("authorization", vec!["Bearer inner"]),
        ("x-mine", vec!["1"]),
    ];
    for (name, values) in expected {
        assert_eq!(got.all(name), values, "{name}");
    }
    for name in ["x_user", "x-other", "set-cookie", "x-hop", "x-none"] {
        assert!(!got.has(name), "{name}: {got:?}");
    }
}

/// `forward_credentials = false` keeps what the client brought, and nothing that the endpoint says.
fn what_it_says_is_no_credential_of_the_clients(driver: Driver) {
    let fields = "Authorization: Bearer inner\r\nCookie: inner=1\r\n";
    let backend = tells_head();
    for (fields, sent) in [(fields, [vec!["Bearer inner"], vec!["inner=1"]]), ("", [vec![], vec![]])] {
        let endpoint = Backend::answers_with(response("200 OK", fields, b""));
        let lines = "copy_headers = [\"Authorization\", \"Cookie\"]";
        let config = config(driver, &endpoint.url(), lines, &backend).section("forward_credentials = false");
        let proxy = Proxy::start(&config);
        let own = "Authorization: Basic eA==\r\nCookie: own=1\r\n";
        assert_eq!(proxy.client().ask(get("/", own)).status, 200);
        let got = backend.last_head().fields;
        assert_eq!([got.all("authorization"), got.all("cookie")], sent, "{got:?}");
        assert_eq!(endpoint.last_head().fields.get("cookie"), Some("own=1"), "the endpoint looks at them");
    }
}

/// Whoever else would write one: the client, a proxy before us, Ringway, or the rule, which has the last word.
fn of_each_there_is_one(driver: Driver) {
    let said = "Origin: http://said.test\r\nX-Forwarded-Port: 1\r\nX-User: ann\r\nX-Request-Id: said\r\n";
    let (endpoint, backend) = (Backend::answers_with(response("200 OK", said, b"")), tells_head());
    let names = "copy_headers = [\"Origin\", \"X-Forwarded-Port\", \"X-User\", \"X-Request-Id\"]";
    let rule = "change_origin = true\nheaders = { X-User = \"rule\", X-Request-Id = \"auto\" }";
    let config = config(driver, &endpoint.url(), names, &backend).section(rule);
    let proxy = Proxy::start(&config.server("trusted_proxies = [\"127.0.0.1\"]"));
    let own = "Origin: http://own.test\r\nX-Forwarded-Port: 2\r\nX-User: eve\r\nX-Request-Id: own\r\n";
    assert_eq!(proxy.client().ask(get("/", own)).status, 200);
    let got = backend.last_head().fields;
    let values = ["origin", "x-forwarded-port", "x-user"].map(|name| got.all(name));
    assert_eq!(values, [["http://said.test"], ["1"], ["rule"]]);
    assert!(!got.all("x-request-id").contains(&"said") && got.all("x-request-id").len() == 1, "{got:?}");
}

/// A field of each spelling that a backend could take for the user's name.
const SPOOFED: &str =
    "X-User: root\r\nx-user: root\r\nX_User: root\r\nx_user: root\r\nX-USER: root\r\nX_EMAIL: root\r\n";

const COPIED: &str = "copy_headers = [\"X-User\", \"X-Email\"]";

fn what_clients_send_under_their_names_never_does(driver: Driver) {
    let nobody = lets_in();
    for (endpoint, users) in [(&logs_in(), vec!["ann"]), (&nobody, vec![])] {
        let backend = tells_head();
        let proxy = guarding(driver, endpoint, COPIED, &backend);
        let connection = "Connection: keep-alive, X-User\r\n";
        for lines in [SPOOFED.to_owned(), format!("{connection}{SPOOFED}")] {
            let answer = proxy.client().ask(get("/", &format!("{lines}{SESSION}")));
            assert_eq!(answer.status, 200);
            let got = backend.last_head().fields;
            assert_eq!(got.all("x-user"), users, "{got:?}");
            assert!(!got.has("x_user") && !got.has("x_email") && !answer.text().contains("root"), "{got:?}");
        }
    }
}

fn nor_where_a_rule_opens_what_its_site_closes(driver: Driver) {
    let (endpoint, backend) = (logs_in(), tells_head());
    let sites = format!(
        "[[sites]]\nname = \"s\"\nhosts = [\"*\"]\nauth = \"sso\"\n\
         [[sites.rules]]\nname = \"open\"\npath = \"/open/*\"\ntarget = \"{}\"\nauth = false\n",
        backend.url()
    );
    let config = Config::new(driver).section(&provider(&endpoint.url(), COPIED)).section(&sites);
    let answer = Proxy::start(&config).client().ask(get("/open/a", SPOOFED));
    assert_eq!((answer.status, endpoint.requests()), (200, 0));
    assert!(!answer.text().contains("root"), "{}", answer.text());
}

fn on_public_routes_neither(driver: Driver) {
    let (endpoint, backend) = (logs_in(), tells_head());
    let config = config(driver, &endpoint.url(), COPIED, &backend)
        .section("public_routes = { ALL = [\"/public/**\"], GET = [\"/get\"] }");
    let proxy = Proxy::start(&config);
    for target in ["/public/a", "/get"] {
        let answer = proxy.client().ask(get(target, SPOOFED));
        assert_eq!(answer.status, 200, "{target}");
        assert!(!answer.text().contains("root"), "{}", answer.text());
    }
    assert_eq!(endpoint.requests(), 0);
    for target in ["/public", "/public/..%2fadmin", "/public/../admin", "/gets", "/get/"] {
        assert_eq!(proxy.client().get(target).status, 302, "{target}");
    }
    assert_eq!(
        proxy.client().send("HEAD /get HTTP/1.1\r\nHost: test\r\n\r\n").response_to("HEAD").status,
        302
    );
    assert_eq!(endpoint.requests(), 6);
}

/// The head's lines without its Date.
fn lines_but_date(answer: &Response) -> Vec<String> {
    let head = String::from_utf8(answer.head.raw.clone()).expect("ASCII");
    assert_eq!(answer.head.fields.all("date").len(), 1, "{head}");
    head.lines().filter(|line| !line.starts_with("Date: ") && !line.is_empty()).map(str::to_owned).collect()
}

fn who_is_not_logged_in_is_sent_to_the_login_page(driver: Driver) {
    let (endpoint, backend) = (logs_in(), Backend::says_hello());
    let proxy = guarding(driver, &endpoint, COPIED, &backend);
    let answer = proxy.client().get("/a");
    let mut expected = vec!["HTTP/1.1 302 Found".to_owned()];
    expected.extend(super::LOGIN.lines().map(|line| line.trim().to_owned()));
    expected.push(format!("Content-Length: {}", LOGIN_BODY.len()));
    assert_eq!(lines_but_date(&answer), expected);
    assert_eq!(answer.body, LOGIN_BODY);
    assert_eq!(backend.accepts(), 0);
    assert_eq!(proxy.client().ask(get("/a", SESSION)).body, HELLO);
}

fn other_credentials_get_the_endpoints_401(driver: Driver) {
    let (endpoint, backend) = (logs_in(), Backend::says_hello());
    let proxy = guarding(driver, &endpoint, "", &backend);
    let answer = proxy.client().ask(get("/", "Authorization: Bearer stolen\r\n"));
    let expected = ["HTTP/1.1 401 Unauthorized", "WWW-Authenticate: Bearer realm=\"x\"", "Content-Length: 4"];
    assert_eq!(
        (lines_but_date(&answer), answer.text()),
        (expected.map(str::to_owned).to_vec(), "who?".to_owned())
    );
    assert_eq!(backend.accepts(), 0);
}

fn every_3xx_and_4xx_goes_to_the_client(driver: Driver) {
    let endpoint = Backend::answers(|request| {
        let status = request.head.fields.get("x-forwarded-uri").unwrap_or_default().trim_start_matches('/');
        response(&format!("{status} Because"), "X-Why: not\r\n", b"because")
    });
    let backend = Backend::says_hello();
    let proxy = guarding(driver, &endpoint, "", &backend);
    let mut client = proxy.client();
    for status in (300..=308).chain(400..=431).chain([451, 499]).filter(|status| *status != 304) {
        let answer = client.get(&format!("/{status}"));
        assert_eq!(
            (answer.status, answer.field("x-why"), answer.text().as_str()),
            (status, Some("not"), "because")
        );
    }
    assert_eq!(backend.accepts(), 0);
    let unmodified = Backend::answers_with("HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n");
    let proxy = guarding(driver, &unmodified, "", &backend);
    let answer = proxy.client().get("/");
    assert_eq!((answer.status, answer.field("etag"), answer.body.len()), (304, Some("\"1\""), 0));
    assert_eq!(backend.accepts(), 0);
}

fn nothing_about_the_endpoints_connection_does(driver: Driver) {
    let fields = "Connection: close, X-Hop\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nX-Hop: 1\r\nProxy-Authenticate: Basic\r\n\
                  Trailer: X-Sum\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: e\r\nContent-Type: text/plain\r\n";
    let answer = chunked_response(fields, b"denied", 2, "X-Sum: 1\r\nSet-Cookie: evil=1\r\n");
    let answer = [b"HTTP/1.1 403 No", answer.strip_prefix(b"HTTP/1.1 200 OK").expect("its status")].concat();
    let (endpoint, backend) = (Backend::answers_with(answer), Backend::says_hello());
    let proxy = guarding(driver, &endpoint, "", &backend);
    let mut client = proxy.client();
    for _ in 0..2 {
        let answer = client.get("/");
        let names = ["Server: e", "Content-Type: text/plain", "Content-Length: 6"].map(str::to_owned);
        assert_eq!(lines_but_date(&answer)[1..], names);
        assert_eq!((answer.status, answer.text().as_str()), (403, "denied"));
    }
}

fn head_gets_no_body(driver: Driver) {
    let (endpoint, backend) = (logs_in(), Backend::says_hello());
    let proxy = guarding(driver, &endpoint, "", &backend);
    let mut client = proxy.client();
    let answer = client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n").response_to("HEAD");
    let length = LOGIN_BODY.len().to_string();
    assert_eq!((answer.status, answer.field("content-length")), (302, Some(length.as_str())));
    assert_eq!(client.get("/").status, 302, "no byte of a body was sent");
    assert_eq!(endpoint.head(0).method(), "GET");
    assert_eq!(endpoint.head(0).fields.get("x-forwarded-method"), Some("HEAD"));
}

fn a_body_of_any_framing_arrives_with_its_length(driver: Driver) {
    let body: Vec<u8> = (0..100_000_u32).map(|index| (index % 251) as u8).collect();
    let chunked = chunked_response("", &body, 777, "");
    let chunked =
        [b"HTTP/1.1 403 No", chunked.strip_prefix(b"HTTP/1.1 200 OK").expect("its status")].concat();
    let until_close = [b"HTTP/1.1 403 No\r\n\r\n", body.as_slice()].concat();
    let endpoints = [
        Backend::answers_with(response("403 No", "", &body)),
        Backend::answers_with(chunked),
        Backend::answers_and_closes(until_close),
        Backend::answers_with("HTTP/1.0 403 No\r\nContent-Length: 0\r\n\r\n"),
    ];
    let bodies: [&[u8]; 4] = [&body, &body, &body, b""];
    for (endpoint, body) in endpoints.iter().zip(bodies) {
        let proxy = guarding(driver, endpoint, "", &Backend::says_hello());
        let mut client = proxy.client();
        for _ in 0..2 {
            let answer = client.get("/");
            assert_eq!((answer.status, answer.framing), (403, Framing::Length(body.len())));
            assert!(answer.body == body);
        }
    }
}

/// The longest body that is passed on, in bytes.
const BODY_BYTES_MAX: usize = 1024 * 1024;

fn a_body_as_long_as_may_be_arrives_and_a_longer_one_does_not(driver: Driver) {
    let backend = Backend::says_hello();
    for (length, status) in [(BODY_BYTES_MAX, 403), (BODY_BYTES_MAX + 1, 503)] {
        let body = vec![b'x'; length];
        for answer in [response("403 No", "", &body), [b"HTTP/1.1 403 No\r\n\r\n", body.as_slice()].concat()]
        {
            let endpoint = Backend::answers_and_closes(answer);
            let proxy = guarding(driver, &endpoint, "", &backend);
            let answer = proxy.client().get("/");
            assert_eq!(answer.status, status);
            if status == 503 {
                answer.assert_error(503, "auth_unavailable");
                let line = proxy.log().wait_for(0, "an endpoint gave no verdict");
                assert!(line.contains("answer_too_long") && line.contains("sso"), "{line}");
            } else {
                assert_eq!(answer.body.len(), length);
            }
        }
    }
    assert_eq!(backend.accepts(), 0);
}

fn response_fields_are_changed_on_it(driver: Driver) {
    let (endpoint, backend) = (logs_in(), Backend::says_hello());
    let config = config(driver, &endpoint.url(), "", &backend).section(
        "response_headers = { set = { X-Frame-Options = \"DENY\", cache-control = \"private\" }, remove = [\"Set-Cookie\"] }",
    );
    let answer = Proxy::start(&config).client().get("/");
    let values =
        ["x-frame-options", "cache-control", "set-cookie", "location"].map(|name| answer.field(name));
    assert_eq!(answer.status, 302);
    assert_eq!(values, [Some("DENY"), Some("private"), None, Some("https://login.test/start?rd=%2Fa")]);
}

fn interim_responses_are_skipped(driver: Driver) {
    let interim =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-User: eve\r\n\r\n"
            .repeat(32);
    let (denies, lets) = (response("403 No", "", b"no"), response("200 OK", "X-User: ann\r\n", b""));
    let backend = tells_head();
    for (answer, status) in [(denies, 403), (lets, 200)] {
        let endpoint = Backend::answers_with([interim.as_bytes(), &answer].concat());
        let proxy = guarding(driver, &endpoint, COPIED, &backend);
        let answer = proxy.client().get("/");
        assert_eq!((answer.status, answer.interim.len()), (status, 0));
        assert!(!answer.text().contains("eve"));
    }
    assert_eq!(backend.last_head().fields.get("x-user"), Some("ann"));
}

fn the_connection_goes_on_after_it(driver: Driver) {
    let (endpoint, backend) = (logs_in(), Backend::says_hello());
    let proxy = guarding(driver, &endpoint, "", &backend);
    let mut client = proxy.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").status, 302);
        assert_eq!(client.ask("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello").status, 302);
        assert_eq!(client.ask(get("/", SESSION)).body, HELLO);
        assert_eq!(client.ask(get("/", "Authorization: Basic eA==\r\n")).status, 401);
    }
    let last = client.ask(get("/", "Connection: close\r\n"));
    assert_eq!((last.status, last.field("connection")), (302, Some("close")));
    client.assert_closed();
}

fn each_pipelined_request_has_its_own(driver: Driver) {
    let (endpoint, backend) =
        (logs_in(), Backend::answers(|request| response("200 OK", "", request.head.target().as_bytes())));
    let proxy = guarding(driver, &endpoint, "", &backend);
    let mut client = proxy.client();
    let requests = [
        get("/1", SESSION),
        get("/2", ""),
        get("/3", "Authorization: Basic eA==\r\n"),
        "POST /4 HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nGET".to_owned(),
        get("/5", SESSION),
        get("/6", ""),
    ];
    client.send(requests.concat());
    let answers: Vec<_> = requests.iter().map(|_| client.response()).collect();
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 302, 401, 302, 200, 302]);
    assert_eq!((answers[0].text(), answers[4].text()), ("/1".to_owned(), "/5".to_owned()));
    assert_eq!((endpoint.requests(), backend.requests()), (6, 2));
}

fn a_body_that_comes_with_a_denied_request_is_no_request(driver: Driver) {
    let (endpoint, backend) = (logs_in(), Backend::says_hello());
    let proxy = guarding(driver, &endpoint, "", &backend);
    let smuggled = get("/smuggled", SESSION);
    let mut client = proxy.client();
    let head = |length: usize| format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n");
    client.send(head(smuggled.len()) + &smuggled);
    assert_eq!(client.response().status, 302);
    // One that is too long to be read for nothing ends the connection.
    client.send(head(100_000_000) + &smuggled);
    let answer = client.response();
    assert_eq!((answer.status, answer.field("connection")), (302, Some("close")));
    client.finish().assert_closed();
    assert_eq!((endpoint.requests(), backend.accepts()), (2, 0));
}

fn http_1_0_is_answered_too(driver: Driver) {
    let (endpoint, backend) = (logs_in(), Backend::says_hello());
    let proxy = guarding(driver, &endpoint, "", &backend);
    let mut client = proxy.client();
    let answer = client.ask("GET / HTTP/1.0\r\nHost: test\r\n\r\n");
    assert_eq!(
        (answer.status, answer.field("connection"), answer.body.as_slice()),
        (302, Some("close"), LOGIN_BODY)
    );
    client.assert_closed();
    // It may say at once that it sends no more.
    let mut client = proxy.client();
    client.send(format!("GET / HTTP/1.0\r\nHost: test\r\n{SESSION}\r\n")).finish();
    assert_eq!(client.response().body, HELLO);
}

fn an_upgrade_is_let_through_or_denied(driver: Driver) {
    let (endpoint, backend) = (lets_in(), Backend::echoes_messages());
    let proxy = guarding(driver, &endpoint, COPIED, &backend);
    let mut socket = connect(&proxy.address(), "/chat?room=1");
    assert_echo(&mut socket, "hello");
    let told = endpoint.last_head();
    assert_eq!((told.method(), told.fields.get("x-forwarded-uri")), ("GET", Some("/chat?room=1")));
    for name in ["upgrade", "connection", "sec-websocket-key"] {
        assert!(!told.fields.has(name), "{name}");
    }
    drop(socket);
    let (endpoint, backend) = (logs_in(), Backend::echoes_messages());
    let proxy = guarding(driver, &endpoint, COPIED, &backend);
    let mut client = proxy.client();
    let denied = client.ask(handshake("/chat", SPOOFED));
    assert_eq!((denied.status, denied.body.as_slice(), denied.field("upgrade")), (302, LOGIN_BODY, None));
    assert_eq!(backend.accepts(), 0);
    assert_eq!(client.send(handshake("/chat", &format!("{SPOOFED}{SESSION}"))).head().status(), 101);
    let got = backend.last_head().fields;
    assert_eq!((got.all("x-user"), got.has("x_user")), (vec!["ann"], false));
}
