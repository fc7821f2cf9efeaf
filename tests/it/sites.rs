//! Which backend a request reaches, by host, listener, path and rule: each has one of its own here. How a path is matched
//! and sent on stands in `routing`.

use crate::harness::backend::Backend;
use crate::harness::backends::response;
use crate::harness::client::{Client, Response};
use crate::harness::config::{Config, Driver};
use crate::harness::on_both_drivers;
use crate::harness::proxy::Proxy;
use crate::harness::websocket::{assert_echo, close, connect, handshake};

on_both_drivers![
    hosts_are_names,
    the_table_of_hosts,
    a_tenant_is_told_by_us_alone,
    an_absolute_target_says_the_host,
    a_star_takes_what_no_other_site_does,
    a_site_may_keep_to_its_listeners,
    prefixes_are_whole_segments_of_the_normal_path,
    a_host_whose_prefixes_do_not_fit_is_passed_over,
    at_last_come_the_rules_of_no_site,
    a_site_without_a_fitting_rule_uses_those_of_no_site,
    suffixes_exact_paths_and_prefixes_have_their_borders,
    methods_are_told_apart_by_case,
    upgrades_skip_rules_without_ws,
    upgrades_meet_sites,
    a_base_path_comes_before_the_normal_path,
    a_path_above_the_root_meets_nothing,
    asterisk_meets_catch_alls_of_a_site,
    without_a_host_only_stars_are_met,
];

/// A proxy and its backends, whose names the answers tell.
struct Stage {
    proxy: Proxy,
    backends: Vec<Backend>,
}

impl Stage {
    /// In `sections`, `{name}` is the address of the backend of that name.
    fn new(driver: Driver, names: &[&str], sections: &str) -> Self {
        Stage::listening(driver, &["127.0.0.1:0"], names, sections)
    }

    fn listening(driver: Driver, listeners: &[&str], names: &[&str], sections: &str) -> Self {
        let backends: Vec<Backend> = names.iter().map(|name| tells(name)).collect();
        let mut text = sections.to_owned();
        for (name, backend) in names.iter().zip(&backends) {
            text = text.replace(&format!("{{{name}}}"), &backend.url());
        }
        let proxy = Proxy::start(&Config::new(driver).listeners(listeners).section(&text));
        Stage { proxy, backends }
    }

    fn ask(&self, request: &str) -> String {
        told(&self.proxy.client().ask(request))
    }

    fn get(&self, host: &str, target: &str) -> String {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    }

    /// Requests that came to any backend.
    fn requests(&self) -> usize {
        self.backends.iter().map(Backend::requests).sum()
    }

    /// Asserts what a GET for each host and target is told, and that no backend got more than that.
    #[track_caller]
    fn assert_all(&self, table: &[(&str, &str, &str)]) {
        for (host, target, expected) in table {
            assert_eq!(self.get(host, target), *expected, "{host} {target}");
        }
        let answered = table.iter().filter(|(_, _, expected)| expected.contains(' ')).count();
        assert_eq!(self.requests(), answered, "requests that reached a backend");
    }
}

/// `backend target tenant`, or the code of an answer of Ringway's own.
fn told(answer: &Response) -> String {
    if answer.status == 200 { answer.text() } else { answer.json("code") }
}

fn tells(name: &str) -> Backend {
    let name = name.to_owned();
    Backend::answers(move |request| {
        let fields = &request.head.fields;
        assert!(!fields.has("x_vhost_tenant"));
        let tenant = fields.get("x-vhost-tenant").unwrap_or("-");
        response("200 OK", "", format!("{name} {} {tenant}", request.head.target()).as_bytes())
    })
}

/// A site whose one rule takes everything to the backend of its name.
fn site(name: &str, hosts: &str, lines: &str) -> String {
    let rules = format!("rules = [{{ name = \"all\", path = \"/*\", target = \"{{{name}}}\" }}]");
    format!("[[sites]]\nname = \"{name}\"\nhosts = [{hosts}]\n{lines}\n{rules}\n")
}

fn rule(name: &str, path: &str, lines: &str) -> String {
    format!("[[rules]]\nname = \"{name} {path}\"\npath = \"{path}\"\ntarget = \"{{{name}}}\"\n{lines}\n")
}

fn hosts_are_names(driver: Driver) {
    let sites = site("name", "\"Example.COM\"", "")
        + &site("idna", "\"b\u{fc}cher.example\"", "")
        + &site("four", "\"192.0.2.1\"", "")
        + &site("six", "\"[2001:DB8::1]\"", "");
    let stage = Stage::new(driver, &["name", "idna", "four", "six"], &sites);
    stage.assert_all(&[
        ("example.com", "/", "name / -"),
        ("EXAMPLE.com.", "/", "name / -"),
        ("example.com:80", "/", "name / -"),
        ("Example.Com.:65535", "/", "name / -"),
        ("xn--bcher-kva.example", "/", "idna / -"),
        ("XN--BCHER-KVA.EXAMPLE:8080", "/", "idna / -"),
        ("192.0.2.1", "/", "four / -"),
        ("192.0.2.1:1", "/", "four / -"),
        ("[2001:db8::1]", "/", "six / -"),
        ("[2001:DB8::1]:443", "/", "six / -"),
        ("[2001:db8:0:0:0:0:0:1]", "/", "six / -"),
        ("example.co", "/", "no_site"),
        ("www.example.com", "/", "no_site"),
        ("192.0.2.10", "/", "no_site"),
        ("[2001:db8::2]", "/", "no_site"),
    ]);
}

fn the_table_of_hosts(driver: Driver) {
    let sites = site("exact", "\"sked.ly\"", "")
        + &site("wild", "\"*.sked.ly\"", "")
        + &site("admin", "\"admin.sked.ly\"", "")
        + &site("eu", "\"*.eu.sked.ly\"", "");
    let stage = Stage::new(driver, &["exact", "wild", "admin", "eu"], &sites);
    stage.assert_all(&[
        ("sked.ly", "/", "exact / -"),
        ("admin.sked.ly", "/", "admin / -"),
        ("ADMIN.SKED.LY.:1", "/", "admin / -"),
        ("tenant1.sked.ly:8000", "/", "wild / tenant1"),
        ("us.t1.sked.ly", "/", "wild / us.t1"),
        ("x.admin.sked.ly", "/", "wild / x.admin"),
        ("eu.sked.ly", "/", "wild / eu"),
        ("a.eu.sked.ly", "/", "eu / a"),
        ("a.b.eu.sked.ly.", "/", "eu / a.b"),
        ("aeu.sked.ly", "/", "wild / aeu"),
        ("notsked.ly", "/", "no_site"),
        ("tenant1.sked.ly.evil.com", "/", "no_site"),
        ("ly", "/", "no_site"),
    ]);
    assert_eq!(stage.get("TENANT1.SKED.LY.", "/").to_lowercase(), "wild / tenant1");
}

fn a_tenant_is_told_by_us_alone(driver: Driver) {
    let sites =
        site("wild", "\"*.sked.ly\"", "") + &site("exact", "\"sked.ly\"", "") + &rule("rest", "/*", "");
    let stage = Stage::new(driver, &["wild", "exact", "rest"], &sites);
    let spoofed = "X-Vhost-Tenant: evil\r\nx_vhost_tenant: evil\r\nX-VHOST-TENANT: evil\r\n";
    for (host, expected) in [("a.sked.ly", "wild / a"), ("sked.ly", "exact / -"), ("other", "rest / -")] {
        assert_eq!(stage.ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n{spoofed}\r\n")), expected);
    }
    let named = "GET / HTTP/1.1\r\nHost: a.sked.ly\r\nConnection: x-vhost-tenant\r\n\r\n";
    assert_eq!(stage.ask(named), "wild / a", "it cannot be named away");
}

fn an_absolute_target_says_the_host(driver: Driver) {
    let sites = site("one", "\"one.test\"", "") + &site("two", "\"*.two.test\"", "");
    let stage = Stage::new(driver, &["one", "two"], &sites);
    stage.assert_all(&[
        ("a.two.test", "http://one.test:81/x?y", "one /x?y -"),
        ("one.test", "HTTP://a.TWO.test/../x", "bad_request"),
        ("one.test", "http://b.two.test", "two / b"),
        ("one.test", "https://b.two.test/./x", "two /x b"),
        ("one.test", "http://three.test/", "no_site"),
    ]);
}

fn a_star_takes_what_no_other_site_does(driver: Driver) {
    let sites = site("star", "\"*\"", "") + &site("wild", "\"*.test\"", "") + &site("name", "\"a.test\"", "");
    let stage = Stage::new(driver, &["star", "wild", "name", "rest"], &(sites + &rule("rest", "/*", "")));
    stage.assert_all(&[
        ("a.test", "/", "name / -"),
        ("b.test", "/", "wild / b"),
        ("test", "/", "star / -"),
        ("192.0.2.9", "/", "star / -"),
        ("[::1]:8080", "/", "star / -"),
    ]);
}

const LISTENERS: &str = "[[listeners]]\nname = \"one\"\naddress = \"127.0.0.1:0\"\n\
                         [[listeners]]\nname = \"two\"\naddress = \"127.0.0.2:0\"\n";

fn a_site_may_keep_to_its_listeners(driver: Driver) {
    let sites = site("first", "\"a.test\"", "listeners = [\"one\"]")
        + &site("second", "\"a.test\"", "listeners = [\"two\"]\npath_prefix = \"/two\"")
        + &site("both", "\"*.test\"", "")
        + &site("inner", "\"b\"", "listeners = [\"one\"]");
    let names = ["first", "second", "both", "inner", "rest"];
    let stage =
        Stage::listening(driver, &[], &names, &(LISTENERS.to_owned() + &sites + &rule("rest", "/*", "")));
    let table = [
        ("a.test", "/two/x", "first /two/x -", "second /two/x -"),
        ("a.test", "/x", "first /x -", "both /x a"),
        ("c.test", "/", "both / c", "both / c"),
        ("b", "/", "inner / -", "rest / -"),
    ];
    for (host, target, first, second) in table {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let ask = |address| told(&Client::connect(address).ask(&request));
        let got: Vec<String> = stage.proxy.addresses().iter().map(ask).collect();
        assert_eq!(got, [first, second], "{request}");
    }
}

fn prefixes_are_whole_segments_of_the_normal_path(driver: Driver) {
    let sites = site("rest", "\"a\"", "")
        + &site("admin", "\"a\"", "path_prefix = \"/admin\"")
        + &site("deep", "\"a\"", "path_prefix = \"/admin/deep\"");
    let stage = Stage::new(driver, &["rest", "admin", "deep"], &sites);
    stage.assert_all(&[
        ("a", "/", "rest / -"),
        ("a", "/admin", "admin /admin -"),
        ("a", "/admin/", "admin /admin/ -"),
        ("a", "/admin?x", "admin /admin?x -"),
        ("a", "/admin//x", "admin /admin//x -"),
        ("a", "/administrator", "rest /administrator -"),
        ("a", "/Admin", "rest /Admin -"),
        ("a", "//admin", "rest //admin -"),
        ("a", "/admin%2Fx", "rest /admin%2Fx -"),
        ("a", "/%61dmin", "rest /%61dmin -"),
        ("a", "/?/admin", "rest /?/admin -"),
        ("a", "/admin/deep", "deep /admin/deep -"),
        ("a", "/admin/deeper", "admin /admin/deeper -"),
        ("a", "/admin/../x", "rest /x -"),
        ("a", "/admin/deep/..", "admin /admin/ -"),
        ("a", "/x/%2e%2E/admin/%2e/deep", "deep /admin/deep -"),
    ]);
}

fn a_host_whose_prefixes_do_not_fit_is_passed_over(driver: Driver) {
    let prefix = "path_prefix = \"/p\"";
    let sites = site("name", "\"a.b.test\"", prefix)
        + &site("longer", "\"*.b.test\"", prefix)
        + &site("shorter", "\"*.test\"", "path_prefix = \"/q\"")
        + &site("star", "\"*\"", "path_prefix = \"/r\"");
    let names = ["name", "longer", "shorter", "star", "rest"];
    let stage = Stage::new(driver, &names, &(sites + &rule("rest", "/s", "")));
    stage.assert_all(&[
        ("a.b.test", "/p", "name /p -"),
        ("c.b.test", "/p", "longer /p c"),
        ("a.b.test", "/q", "shorter /q a.b"),
        ("a.b.test", "/r", "star /r -"),
        ("other", "/r", "star /r -"),
        ("a.b.test", "/s", "rest /s -"),
        ("other", "/s", "rest /s -"),
        ("a.b.test", "/t", "no_rule"),
    ]);
}

fn at_last_come_the_rules_of_no_site(driver: Driver) {
    let text = rule("early", "/x", "") + &site("name", "\"a\"", "") + &rule("late", "/*", "");
    let stage = Stage::new(driver, &["early", "late", "name"], &text);
    stage.assert_all(&[("a", "/x", "name /x -"), ("b", "/x", "early /x -"), ("b", "/y", "late /y -")]);
}

fn a_site_without_a_fitting_rule_uses_those_of_no_site(driver: Driver) {
    let own = "[[sites]]\nname = \"s\"\nhosts = [\"*.test\"]\n\
               rules = [{ name = \"one\", path = \"/own/*\", methods = [\"GET\"], target = \"{own}\" }]\n";
    let stage = Stage::new(driver, &["own", "rest"], &(own.to_owned() + &rule("rest", "/own/*", "")));
    stage.assert_all(&[
        ("a.test", "/own/x", "own /own/x a"),
        ("b", "/own/x", "rest /own/x -"),
        ("a.test", "/other", "no_rule"),
    ]);
    let post = "POST /own/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(stage.ask(post), "rest /own/x a", "the site is still the tenant's");
}

fn suffixes_exact_paths_and_prefixes_have_their_borders(driver: Driver) {
    let list = rule("exact", "/graphql", "")
        + &rule("prefix", "/api/*", "")
        + &rule("suffix", "*.json", "")
        + &rule("root", "/", "");
    let stage = Stage::new(driver, &["exact", "prefix", "suffix", "root"], &list);
    stage.assert_all(&[
        ("h", "/graphql?", "exact /graphql? -"),
        ("h", "/x/../graphql", "exact /graphql -"),
        ("h", "/graphql/", "no_rule"),
        ("h", "/graphq", "no_rule"),
        ("h", "/%67raphql", "no_rule"),
        ("h", "/api", "prefix /api -"),
        ("h", "/api/", "prefix /api/ -"),
        ("h", "/api//", "prefix /api// -"),
        ("h", "/api/%2e%2e%2f", "prefix /api/%2e%2e%2f -"),
        ("h", "/api%2Fx", "no_rule"),
        ("h", "/api;x", "no_rule"),
        ("h", "/API/x", "no_rule"),
        ("h", "/api/../apix", "no_rule"),
        ("h", "/.json", "suffix /.json -"),
        ("h", "/a/b.json?c=.xml", "suffix /a/b.json?c=.xml -"),
        ("h", "/a.json/b", "no_rule"),
        ("h", "/a.JSON", "no_rule"),
        ("h", "/a?.json", "no_rule"),
        ("h", "/", "root / -"),
        ("h", "/a/..", "root / -"),
        ("h", "//", "no_rule"),
    ]);
}

fn methods_are_told_apart_by_case(driver: Driver) {
    let list =
        rule("reads", "/*", "methods = [\"GET\", \"HEAD\"]") + &rule("purges", "/*", "methods = [\"PURGE\"]");
    let stage = Stage::new(driver, &["reads", "purges"], &list);
    let ask = |method| stage.ask(&format!("{method} / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"));
    let got = ["GET", "PURGE", "get", "GETS", "PUR", "DELETE"].map(ask);
    assert_eq!(got, ["reads / -", "purges / -", "no_rule", "no_rule", "no_rule", "no_rule"]);
    let mut client = stage.proxy.client();
    let head = client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").response_to("HEAD");
    assert_eq!((head.status, stage.backends[0].requests()), (200, 2));
}

fn upgrades_skip_rules_without_ws(driver: Driver) {
    let (plain, late, chat) = (tells("plain"), tells("late"), Backend::echoes_messages());
    let config = Config::new(driver)
        .rule("plain", "/*", &plain.url())
        .section("ws = false")
        .rule("chat", "/chat/*", &chat.url())
        .rule("late", "/late", &late.url())
        .section("ws = false");
    let proxy = Proxy::start(&config);
    assert_eq!(proxy.client().get("/chat/x").text(), "plain /chat/x -");
    let mut socket = connect(&proxy.address(), "/chat/x");
    assert_echo(&mut socket, "x");
    close(&mut socket);
    proxy.client().ask(handshake("/late", "")).assert_error(404, "no_rule");
    let other = handshake("/late", "").replace("websocket", "other");
    assert_eq!(proxy.client().ask(other).text(), "plain /late -", "what is no WebSocket is no upgrade");
    assert_eq!([plain.requests(), chat.requests(), late.requests()], [2, 1, 0]);
}

fn upgrades_meet_sites(driver: Driver) {
    let chat = Backend::echoes_messages();
    let text = "[[sites]]\nname = \"s\"\nhosts = [\"*.test\"]\n\
                rules = [{ name = \"plain\", path = \"/*\", ws = false, target = \"{plain}\" }]\n";
    let rest = format!("[[rules]]\nname = \"chat\"\npath = \"/chat\"\ntarget = \"{}/base\"\n", chat.url());
    let stage = Stage::new(driver, &["plain"], &(text.to_owned() + &rest));
    assert_eq!(stage.get("a.test", "/chat"), "plain /chat a");
    let request = handshake("/chat?room=1", "").replace("Host: test", "Host: a.test");
    assert_eq!(stage.proxy.client().send(request).head().status(), 101);
    let head = chat.last_head();
    assert_eq!((head.target(), head.fields.get("x-vhost-tenant")), ("/base/chat?room=1", Some("a")));
    let request = handshake("/other", "").replace("Host: test", "Host: a.test");
    assert_eq!(stage.ask(&request), "no_rule");
}

fn a_base_path_comes_before_the_normal_path(driver: Driver) {
    let based = |path: &str, base: &str| {
        format!("[[rules]]\nname = \"{path}\"\npath = \"{path}\"\ntarget = \"{{b}}{base}\"\n")
    };
    let list =
        based("/s/*", "/v1/") + &based("/n/*", "/v1") + &based("/d/*", "/a//b%2F") + &based("/*", "/v1");
    let stage = Stage::new(driver, &["b"], &list);
    stage.assert_all(&[
        ("h", "/s", "b /v1/s -"),
        ("h", "/s/x/../y?q=/..", "b /v1/s/y?q=/.. -"),
        ("h", "/n//x", "b /v1/n//x -"),
        ("h", "/d/%2F?", "b /a//b%2F/d/%2F? -"),
        ("h", "/", "b /v1/ -"),
        ("h", "/.", "b /v1/ -"),
        ("h", "?x", "bad_request"),
        ("h", "http://h?x", "b /v1/?x -"),
    ]);
}

fn a_path_above_the_root_meets_nothing(driver: Driver) {
    let stage = Stage::new(driver, &["b"], &(rule("b", "/*", "") + &rule("b", "*.x", "")));
    for path in ["/..", "/../x", "/a/../../x", "/%2e%2e/x", "/a/.%2E/%2e./b"] {
        let answer = stage.proxy.client().ask(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        answer.assert_error(400, "bad_request");
        assert_eq!(answer.json("detail"), "path_above_root", "{path}");
    }
    assert_eq!(stage.requests(), 0);
}

fn asterisk_meets_catch_alls_of_a_site(driver: Driver) {
    let own = "[[sites]]\nname = \"s\"\nhosts = [\"*.test\"]\nrules = [\n\
               { name = \"one\", path = \"/x/*\", target = \"{one}\" }, { name = \"all\", path = \"/*\", target = \"{all}\" }]\n";
    let prefix = site("two", "\"b.test\"", "path_prefix = \"/b\"");
    let stage = Stage::new(driver, &["one", "two", "all"], &(own.to_owned() + &prefix));
    let ask = |host| stage.ask(&format!("OPTIONS * HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert_eq!(ask("a.test"), "all * a");
    assert_eq!(ask("b.test"), "all * b", "a prefix takes no asterisk");
    assert_eq!(ask("other"), "no_site");
    let based = "[[rules]]\nname = \"all\"\npath = \"*\"\nmethods = [\"OPTIONS\"]\ntarget = \"{b}/base\"\n";
    let stage = Stage::new(driver, &["b"], based);
    assert_eq!(stage.ask("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"), "b * -");
}

fn without_a_host_only_stars_are_met(driver: Driver) {
    let named = site("name", "\"a\", \"*.a\"", "");
    let star = site("star", "\"*\"", "path_prefix = \"/star\"");
    let stage = Stage::new(driver, &["name", "star", "rest"], &(named + &star + &rule("rest", "/r/*", "")));
    let ask = |path| stage.ask(&format!("GET {path} HTTP/1.0\r\n\r\n"));
    assert_eq!(["/star/x", "/r/x", "/x"].map(ask), ["star /star/x -", "rest /r/x -", "no_rule"]);
    assert_eq!(stage.ask("GET /x HTTP/1.0\r\nHost: b.a\r\n\r\n"), "name /x b");
    assert_eq!(stage.ask("GET http://a/x HTTP/1.0\r\n\r\n"), "name /x -", "the target brings one");
}
