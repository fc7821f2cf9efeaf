//! From what was written to what runs: one pure step that ends in a [`Snapshot`] or in all problems of the file.
//!
//! * this file reads the text, drives the checks, and gives every finding its place;
//! * `settings` has the tables that stand once: server, limits, timeouts, access log;
//! * `listeners`, `upstreams`, `sites` and `rules` have the lists of those names.
//!
//! Each of them turns its part of the written file into its part of the snapshot and notes what is wrong; where
//! something is, the part is only as good as it can be, and no snapshot is made of it.

mod listeners;
mod rules;
mod settings;
mod sites;
mod upstreams;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Finding, Pointer, Problem, Problems, Severity, Source};
use crate::router::Router;
use crate::schema::Config;
use crate::shape::Shape;
use crate::snapshot::Snapshot;
use crate::table::TableCache;

/// How many syntax errors are shown: what follows the first ones is mostly their echo.
const SYNTAX_ERRORS_SHOWN_MAX: usize = 2;

/// Compiles configurations, and remembers the rule tables that are in use, so that a change builds only the tables
/// of the lists that it touches.
#[derive(Debug, Default)]
pub struct Compiler {
    tables: TableCache,
}

/// A configuration that can run.
#[derive(Debug)]
pub struct Compiled {
    /// What runs.
    pub snapshot: Snapshot,
    /// What its writer hardly meant.
    pub warnings: Problems,
}

impl Compiler {
    /// A compiler that knows no tables yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Compiles a configuration. Depends on nothing but the text: no file, no variable, no clock.
    ///
    /// # Errors
    /// All problems of the text, warnings among them, in the order of their places.
    pub fn compile(&mut self, source: &Source<'_>) -> Result<Compiled, Problems> {
        let file = parse(source)?;
        let (written, shape) = read(&file)?;
        let mut findings = Vec::new();
        let parts = Parts::of(&written, &mut findings);
        findings.retain(|finding| shape.leaves_open(&finding.at));
        findings.extend(shape.findings);
        let snapshot =
            if has_error(&findings) { None } else { parts.snapshot(&mut self.tables, &mut findings) };
        self.tables.sweep();
        let problems = locate(findings, &file);
        match snapshot {
            Some(snapshot) => Ok(Compiled { snapshot, warnings: problems }),
            None => Err(problems),
        }
    }

    /// How many rule tables were built so far; lists that were known did not count.
    pub fn tables_built(&self) -> u64 {
        self.tables.built()
    }
}

fn has_error(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

/// Reads the text as TOML.
fn parse<'t>(source: &Source<'t>) -> Result<Spanned<DeTable<'t>>, Problems> {
    let (file, errors) = DeTable::parse_recoverable(source.text);
    if errors.is_empty() {
        return Ok(file);
    }
    Err(Problems::sorted(errors.iter().take(SYNTAX_ERRORS_SHOWN_MAX).map(syntax_problem).collect()))
}

fn syntax_problem(error: &toml::de::Error) -> Problem {
    Problem {
        severity: Severity::Error,
        path: String::new(),
        message: format!("this is no TOML: {}", error.message()),
        help: None,
        span: error.span(),
    }
}

/// Reads the file as far as its shape is right.
fn read(file: &Spanned<DeTable<'_>>) -> Result<(Config, Shape), Problems> {
    let shape = Shape::of(file.get_ref());
    let mut sound = file.clone();
    shape.prune(sound.get_mut());
    match Config::deserialize(toml::de::Deserializer::from(sound)) {
        Ok(written) => Ok((written, shape)),
        // The shape knows all that serde refuses, and a test holds it to that; should it not, serde's word is enough.
        Err(error) => {
            let mut problems: Vec<_> = located(shape.findings, file).collect();
            problems.push(Problem { message: error.message().to_owned(), ..syntax_problem(&error) });
            Err(Problems::sorted(problems))
        }
    }
}

fn locate(findings: Vec<Finding>, file: &Spanned<DeTable<'_>>) -> Problems {
    Problems::sorted(located(findings, file).collect())
}

fn located(findings: Vec<Finding>, file: &Spanned<DeTable<'_>>) -> impl Iterator<Item = Problem> {
    findings.into_iter().map(|finding| Problem {
        severity: finding.severity,
        span: span(file, &finding.at, finding.at_key),
        path: finding.at.0,
        message: finding.message,
        help: finding.help,
    })
}

/// Where a place stands in the text; for one that is not there, where it would belong. `None` for the whole file.
fn span(file: &Spanned<DeTable<'_>>, at: &Pointer, at_key: bool) -> Option<Range<usize>> {
    let mut steps = at.steps();
    let (key, value) = entry(file.get_ref(), &steps.next()?)?;
    let (mut key_span, mut here) = (key.span(), value);
    for step in steps {
        let next = match here.get_ref() {
            DeValue::Table(table) => entry(table, &step).map(|(key, value)| (key.span(), value)),
            DeValue::Array(array) => {
                step.parse().ok().and_then(|index: usize| array.get(index)).map(|value| (value.span(), value))
            }
            _ => None,
        };
        let Some((next_key, next_value)) = next else {
            return Some(here.span());
        };
        (key_span, here) = (next_key, next_value);
    }
    Some(if at_key { key_span } else { here.span() })
}

type Entry<'t, 'i> = (&'t Spanned<toml::de::DeString<'i>>, &'t Spanned<DeValue<'i>>);

fn entry<'t, 'i>(table: &'t DeTable<'i>, key: &str) -> Option<Entry<'t, 'i>> {
    table.get_key_value(key)
}

/// Everything but the rule tables.
struct Parts {
    settings: settings::Settings,
    listeners: listeners::Listeners,
    upstreams: upstreams::Upstreams,
    sites: sites::Sites,
    rules: rules::Rules,
}

impl Parts {
    fn of(written: &Config, findings: &mut Vec<Finding>) -> Self {
        let settings = settings::Settings::of(written, findings);
        let listeners = listeners::Listeners::of(&written.listeners, findings);
        let mut upstreams = upstreams::Upstreams::of(&written.upstreams, findings);
        let mut sites = sites::Sites::of(&written.sites, &listeners, findings);
        let rules = rules::Rules::of(written, &mut upstreams, &mut sites, findings);
        Self { settings, listeners, upstreams, sites, rules }
    }

    /// Builds the tables of a sound configuration, and notes what it leaves without use. `None`, and a finding for each
    /// of them, when some tables are over their budget.
    fn snapshot(self, tables: &mut TableCache, findings: &mut Vec<Finding>) -> Option<Snapshot> {
        self.upstreams.warn_of_unused(findings);
        self.rules.warn_of_nothing(findings);
        let mut lists = self.rules.lists.into_iter().map(|list| list.build(tables, &self.settings, findings));
        let global = lists.next()?;
        let own: Vec<_> = lists.collect();
        let router = Router::new(self.sites.hosts, own.into_iter().collect::<Option<_>>()?, global?);
        let settings = self.settings;
        Some(Snapshot {
            server: settings.server,
            listeners: shared(self.listeners.list),
            limits: settings.limits,
            timeouts: settings.timeouts,
            forwarded: settings.forwarded,
            access_log: settings.access_log,
            upstreams: shared(self.upstreams.list),
            sites: shared(self.sites.list),
            rules: shared(self.rules.list),
            router,
        })
    }
}

fn shared<T>(list: Vec<T>) -> Vec<Arc<T>> {
    list.into_iter().map(Arc::new).collect()
}

/// A name has at most this many characters; they stand in logs and counters.
const NAME_CHARS_MAX: usize = 128;

/// Checks the names of one list: there, printable, and none twice.
#[derive(Default)]
struct Names<'w> {
    seen: HashMap<&'w str, usize>,
}

impl<'w> Names<'w> {
    /// Notes the name of element `index`, which stands at `at`.
    fn check(&mut self, name: &'w str, index: usize, kind: &str, at: Pointer, findings: &mut Vec<Finding>) {
        if let Some(message) = bad_name(name) {
            findings.push(Finding::error(at, message));
        } else if let Some(first) = self.seen.insert(name, index) {
            self.seen.insert(name, first);
            let message = format!("the name {name:?} is taken by {kind} number {} of this list", first + 1);
            findings.push(Finding::error(at, message));
        }
    }
}

fn bad_name(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("a name has at least one character".to_owned());
    }
    if name.chars().count() > NAME_CHARS_MAX {
        return Some(format!("a name has at most {NAME_CHARS_MAX} characters"));
    }
    if name.chars().any(char::is_control) || name.trim() != name {
        return Some("a name has no control characters and no white space around it".to_owned());
    }
    None
}
