//! Rules that change while requests run: each request meets the old configuration or the new one, whole.

use super::tells;
use crate::harness::backend::Backend;
use crate::harness::backends::response;
use crate::harness::client::Client;
use crate::harness::config::{Config, Driver};
use crate::harness::proxy::Proxy;
use crate::harness::websocket::{assert_echo, close, connect};
use crate::harness::{on_both_drivers, size};
use std::sync::atomic::{AtomicBool, Ordering};

on_both_drivers![
    each_request_meets_one_configuration_whole,
    a_rule_that_goes_takes_nothing_with_it,
    a_new_rule_takes_the_next_request,
    an_expectation_that_breaks_refuses_the_change,
];

/// A backend that answers with all that a rule could have changed.
fn reports() -> Backend {
    Backend::answers(|request| {
        let fields = &request.head.fields;
        let seen = ["host", "x-rule", "x-site"].map(|name| fields.get(name).unwrap_or("-"));
        let text = format!("{} {}", request.head.target(), seen.join(" "));
        response("200 OK", "X-Answer: backend\r\n", text.as_bytes())
    })
}

/// Pattern, rewrite, and fields of site and rule both ways: all of them say `which`.
fn configuration(driver: Driver, which: &str, url: &str) -> Config {
    let group = if which == "old" { "(.*)" } else { "(?<rest>.*)" };
    let rest = if which == "old" { "$1" } else { "${rest}" };
    Config::new(driver).workers(2).section(&format!(
        "[[sites]]\nname = \"s\"\nhosts = [\"*\"]\nheaders = {{ X-Site = \"{which}\" }}\n\
         response_headers = {{ set = {{ X-From = \"{which}\" }} }}\n\
         [[sites.rules]]\nname = \"{which}\"\npattern = '^/any/{group}$'\nrewrite = '/{which}/{rest}'\n\
         target = \"{url}/base\"\n\
         headers = {{ Host = \"{which}.test\", X-Rule = \"{which}\" }}\n\
         response_headers = {{ set = {{ X-Answer = \"{which}\" }} }}\n\
         [[sites.rules]]\nname = \"redirect\"\npath = \"/redirect/*\"\n\
         redirect = {{ to = '/{which}${{path}}' }}\n\
         response_headers = {{ set = {{ X-Answer = \"{which}\" }} }}\n"
    ))
}

/// Asks for one path of a configuration and gives which one it was; panics when it was a mixture.
fn which(client: &mut Client, number: usize) -> String {
    let answer = client.get(&format!("/any/{number}?q"));
    let from = answer.field("x-from").expect("one of both").to_owned();
    assert_eq!(answer.text(), format!("/base/{from}/{number}?q {from}.test {from} {from}"));
    assert_eq!((answer.status, answer.field("x-answer")), (200, Some(&*from)));
    let redirect = client.get(&format!("/redirect/{number}"));
    let from_then = redirect.field("x-from").expect("one of both");
    assert_eq!(redirect.field("location"), Some(&*format!("/{from_then}/redirect/{number}")));
    assert_eq!((redirect.status, redirect.field("x-answer")), (308, Some(from_then)));
    from
}

fn each_request_meets_one_configuration_whole(driver: Driver) {
    let reloads = size(10, 200);
    let backend = reports();
    let proxy = Proxy::start(&configuration(driver, "old", &backend.url()));
    let ended = AtomicBool::new(false);
    let asked: usize = std::thread::scope(|scope| {
        let ask = || {
            let mut client = proxy.client();
            let numbers = (0..).take_while(|_| !ended.load(Ordering::SeqCst));
            numbers.map(|number| which(&mut client, number)).count()
        };
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        let _ends = Ends(&ended);
        let mut client = proxy.client();
        for number in 0..reloads {
            let now = ["new", "old"][number % 2];
            proxy.reload(&configuration(driver, now, &backend.url()));
            backend.wait_for_requests(backend.requests() + 20);
            assert_eq!(which(&mut client, number), now, "a change is in force once it is applied");
        }
        ended.store(true, Ordering::SeqCst);
        clients.into_iter().map(|client| client.join().expect("a client saw a mixture")).sum()
    });
    assert_eq!(backend.requests(), asked + reloads, "each request came once");
}

/// Lets the clients stop when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A download and a tunnel whose rules change and go.
fn a_rule_that_goes_takes_nothing_with_it(driver: Driver) {
    let chat = Backend::echoes_messages();
    let download = Backend::script(|visit| {
        visit.request();
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nX-Gone: 1\r\n\r\nfirst");
        visit.exactly(1);
        visit.until_stopped();
    });
    let rules = format!(
        "[[rules]]\nname = \"chat\"\npattern = '^/chat/(.*)$'\nrewrite = '/$1'\ntarget = \"{}\"\n\
         [[rules]]\nname = \"download\"\npath = \"/download\"\ntarget = \"{}\"\n\
         response_headers = {{ remove = [\"X-Gone\"] }}\n",
        chat.url(),
        download.url()
    );
    let proxy = Proxy::start(&Config::new(driver).section(&rules));
    let without = Config::new(driver).rule("other", "/other", &chat.url());
    let mut socket = connect(&proxy.address(), "/chat/room");
    let mut client = proxy.client();
    let head = client.send("GET /download HTTP/1.1\r\nHost: h\r\n\r\n").head();
    assert_eq!((head.fields.get("x-gone"), client.exactly(5)), (None, b"first".to_vec()));
    for _ in 0..3 {
        proxy.reload(&without);
        assert_echo(&mut socket, "still here");
        proxy.client().get("/chat/room").assert_error(404, "no_rule");
        proxy.reload(&Config::new(driver).section(&rules.replace("chat/", "other/")));
    }
    close(&mut socket);
    drop(client);
}

fn a_new_rule_takes_the_next_request(driver: Driver) {
    let backend = tells("b");
    let all = |lines: &str| {
        let text = format!(
            "[[rules]]\nname = \"all\"\npattern = '^(.*)$'\ntarget = \"{}\"\n{lines}\n",
            backend.url()
        );
        Config::new(driver).section(&text).rule("other", "/other", &backend.url())
    };
    let proxy = Proxy::start(&all(""));
    let mut client = proxy.client();
    for (lines, told) in [
        ("", "b /x"),
        ("rewrite = '/a$1'", "b /a/x"),
        ("rewrite = '/b$1'", "b /b/x"),
        ("methods = [\"POST\"]", ""),
        ("enabled = false", ""),
        ("rewrite = '$1$1'", "b /x/x"),
    ] {
        proxy.reload(&all(lines));
        let answer = client.get("/x");
        if told.is_empty() { answer.assert_error(404, "no_rule") } else { assert_eq!(answer.text(), told) }
    }
    let mark = proxy.reload_text(&all("rewrite = '/${1}'").text());
    proxy.log().wait_for(mark, "configuration refused");
    assert_eq!(client.get("/x").text(), "b /x/x", "what is refused changes nothing");
}

fn an_expectation_that_breaks_refuses_the_change(driver: Driver) {
    let backend = tells("b");
    let rules = |first: &str| {
        let rule = |name: &str, path: &str| {
            format!(
                "[[rules]]\nname = \"{name}\"\npath = \"{path}\"\ntarget = \"{}/{name}\"\n",
                backend.url()
            )
        };
        let expect = "[[expect]]\nurl = \"http://app.test/api/users\"\nrule = \"api\"\n\
                      [[expect]]\nurl = \"http://app.test/secret\"\nstatus = 403\n\
                      [[expect]]\nurl = \"http://app.test/api/users?x\"\nmethod = \"POST\"\n\
                      path = \"/api/api/users?x\"\n";
        let secret = "[[rules]]\nname = \"secret\"\npath = \"/secret\"\nrespond = { status = 403 }\n";
        Config::new(driver).section(&format!(
            "{first}{secret}{}{}{expect}",
            rule("api", "/api/*"),
            rule("rest", "/*")
        ))
    };
    let proxy = Proxy::start(&rules(""));
    let answers = || ["/api/users", "/other"].map(|path| proxy.client().get(path).text());
    let before = ["b /api/api/users", "b /rest/other"];
    assert_eq!(answers(), before);
    let all = format!("[[rules]]\nname = \"catches all\"\npath = \"/*\"\ntarget = \"{}\"\n", backend.url());
    let mark = proxy.reload_text(&rules(&all).text());
    proxy.log().wait_for(mark, "configuration refused");
    proxy.log().wait_for(mark, "expected the rule \"api\", but the rule \"catches all\"");
    assert_eq!(answers(), before, "the old configuration goes on");
    assert_eq!(proxy.client().get("/secret").status, 403);
    proxy.reload(&rules(&all.replace("/*", "/new")));
    assert_eq!(proxy.client().get("/new").text(), "b /new");
}
