//! What rules and the sites around them do to requests and responses: each row and sentence of what is promised, as the
//! bytes that the backend and the client received.
//!
//! `patterns` is about which rule wins, `lists` about where it is looked for; `rewrites`, `strips` and `origins` about what is
//! sent where, `redirects` and `responds` about what is answered here; `variables`, `request_fields` and `response_fields`
//! about what is written into heads; `bounds` about time and size; `changes` about a new configuration under load. Hosts,
//! tenants and the simple kinds of paths stand in `routing` and `sites`.

mod bounds;
mod changes;
mod lists;
mod origins;
mod patterns;
mod redirects;
mod request_fields;
mod responds;
mod response_fields;
mod rewrites;
mod strips;
mod variables;

use crate::harness::backend::Backend;
use crate::harness::backends::response;
use crate::harness::client::Response;
use crate::harness::config::{Config, Driver};
use crate::harness::message::Head;
use crate::harness::proxy::Proxy;

/// A proxy and its backends, each of which answers with its name and the target that it was sent.
struct Stage {
    proxy: Proxy,
    backends: Vec<Backend>,
}

impl Stage {
    /// In `sections`, `{name}` is the address of the backend of that name.
    fn new(driver: Driver, names: &[&str], sections: &str) -> Self {
        Stage::of(Config::new(driver), names, sections)
    }

    /// `new`, and what `config` says already.
    fn of(config: Config, names: &[&str], sections: &str) -> Self {
        let backends: Vec<Backend> = names.iter().map(|name| tells(name)).collect();
        let text = names.iter().zip(&backends).fold(sections.to_owned(), |text, (name, backend)| {
            text.replace(&format!("{{{name}}}"), &backend.url())
        });
        Stage { proxy: Proxy::start(&config.section(&text)), backends }
    }

    /// One backend, `{to}`.
    fn on_one(driver: Driver, sections: &str) -> Self {
        Stage::new(driver, &["to"], sections)
    }

    fn ask(&self, request: &str) -> String {
        told(&self.proxy.client().ask(request))
    }

    /// `name target` of the backend that a GET for `target` reached, or the code of an answer of Ringway's own.
    fn get(&self, host: &str, target: &str) -> String {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    }

    /// The target that the first backend was sent, or the code of an answer of Ringway's own.
    fn sent(&self, target: &str) -> String {
        let told = self.get("test", target);
        told.split_once(' ').map_or(told.clone(), |(_, target)| target.to_owned())
    }

    /// What the first backend sees of a GET with these field lines after its Host.
    #[track_caller]
    fn head(&self, target: &str, lines: &str) -> Head {
        self.head_of(&format!("GET {target} HTTP/1.1\r\nHost: test\r\n{lines}\r\n"))
    }

    #[track_caller]
    fn head_of(&self, request: &str) -> Head {
        let answer = self.proxy.client().ask(request);
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.backends[0].last_head()
    }

    /// Requests that came to any backend.
    fn requests(&self) -> usize {
        self.backends.iter().map(Backend::requests).sum()
    }
}

fn tells(name: &str) -> Backend {
    let name = name.to_owned();
    Backend::answers(move |request| {
        response("200 OK", "", format!("{name} {}", request.head.target()).as_bytes())
    })
}

/// `backend target`, or the code of an answer of Ringway's own.
fn told(answer: &Response) -> String {
    if answer.status == 200 { answer.text() } else { answer.json("code") }
}

/// A rule of `[[rules]]` for every site, to the backend `to`.
fn rule(name: &str, path: &str, to: &str, lines: &str) -> String {
    format!("[[rules]]\nname = \"{name}\"\npath = \"{path}\"\ntarget = \"{{{to}}}\"\n{lines}\n")
}

/// A rule with a pattern, whose text stands between single quotes, to the backend `{to}`.
fn pattern(name: &str, pattern: &str, lines: &str) -> String {
    format!("[[rules]]\nname = \"{name}\"\npattern = '{pattern}'\ntarget = \"{{to}}\"\n{lines}\n")
}

/// The head with its Date taken out: the only thing in it that no test knows.
fn without_date(answer: &Response) -> String {
    let head = String::from_utf8(answer.head.raw.clone()).expect("ASCII");
    let date = answer.field("date").expect("a Date");
    head.replace(&format!("Date: {date}\r\n"), "")
}
