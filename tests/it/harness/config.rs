//! Writes configuration files: a listener on a free port and a rule are there before a test says anything.

use super::backend::Backend;

/// What `[server] driver` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    IoUring,
    Epoll,
}

impl Driver {
    pub fn name(self) -> &'static str {
        match self {
            Driver::IoUring => "io_uring",
            Driver::Epoll => "epoll",
        }
    }
}

/// A configuration in the making. `text()` is the file.
#[derive(Clone, Debug)]
pub struct Config {
    driver: Driver,
    workers: usize,
    server: String,
    listeners: Vec<String>,
    sections: String,
}

impl Config {
    /// One worker, one listener on a free port of 127.0.0.1, no rule.
    pub fn new(driver: Driver) -> Self {
        let listeners = vec!["127.0.0.1:0".to_owned()];
        Config { driver, workers: 1, server: String::new(), listeners, sections: String::new() }
    }

    /// `new`, and every path goes to `backend`.
    pub fn to(driver: Driver, backend: &Backend) -> Self {
        Config::new(driver).upstream("backend", &[backend.url()]).rule_to("all", "/*", "backend")
    }

    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Lines for `[server]`.
    pub fn server(mut self, lines: &str) -> Self {
        self.server += &format!("{lines}\n");
        self
    }

    /// Replaces the listeners.
    pub fn listeners(mut self, addresses: &[&str]) -> Self {
        self.listeners = addresses.iter().map(|address| (*address).to_owned()).collect();
        self
    }

    /// Lines for `[timeouts]`. Once at most.
    pub fn timeouts(self, lines: &str) -> Self {
        self.section(&format!("[timeouts]\n{lines}"))
    }

    /// Lines for `[limits]`. Once at most.
    pub fn limits(self, lines: &str) -> Self {
        self.section(&format!("[limits]\n{lines}"))
    }

    /// A rule with a `target`.
    pub fn rule(self, name: &str, path: &str, target: &str) -> Self {
        self.section(&format!("[[rules]]\nname = \"{name}\"\npath = \"{path}\"\ntarget = \"{target}\""))
    }

    /// The same before all that is there already: it takes what a rule of those would.
    pub fn rule_before(mut self, name: &str, path: &str, target: &str) -> Self {
        let rest = std::mem::take(&mut self.sections);
        self.rule(name, path, target).section(&rest)
    }

    /// A named upstream of these backends.
    pub fn upstream(self, name: &str, urls: &[String]) -> Self {
        let backends: Vec<String> = urls.iter().map(|url| format!("{{ url = \"{url}\" }}")).collect();
        self.section(&format!("[[upstreams]]\nname = \"{name}\"\nbackends = [{}]", backends.join(", ")))
    }

    /// A rule that goes to a named upstream.
    pub fn rule_to(self, name: &str, path: &str, upstream: &str) -> Self {
        self.section(&format!("[[rules]]\nname = \"{name}\"\npath = \"{path}\"\nupstream = \"{upstream}\""))
    }

    /// Any further text: whole tables, or lines that belong to the table before.
    pub fn section(mut self, text: &str) -> Self {
        self.sections += &format!("{text}\n");
        self
    }

    /// The whole file.
    pub fn text(&self) -> String {
        let mut text = format!("[server]\ndriver = \"{}\"\nworkers = {}\n", self.driver.name(), self.workers);
        // Many proxies run at once: pinned, they would all sit on the first CPU.
        text += "pin = false\n";
        if !self.server.contains("drain_timeout") {
            text += "drain_timeout = \"15s\"\n";
        }
        text += &self.server;
        for address in &self.listeners {
            text += &format!("\n[[listeners]]\naddress = \"{address}\"\n");
        }
        text += &format!("\n{}", self.sections);
        text
    }
}
