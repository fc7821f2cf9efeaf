//! From what was written to what runs: one pure step that ends in a [`Snapshot`] or in all problems of the file.
//!
//! * this file reads the text, drives the checks, and gives every finding its place;
//! * `settings` has the tables that stand once: server, limits, timeouts, access log, admin, dns;
//! * `listeners`, `upstreams`, `sites` and `rules` have the lists of those names;
//! * `egress` has where upstreams may point;
//! * `health` has when backends of an upstream are ejected, `admission` how much an upstream or a site takes at a time;
//! * `actions` has what becomes of a rule's requests, `edits` what rules and sites change of fields;
//! * `auth` has whom sites and rules let in, `rates` how often;
//! * `expect` asks the finished snapshot whether it does what the file expects of it.
//!
//! Each of them turns its part of the written file into its part of the snapshot and notes what is wrong; where
//! something is, the part is only as good as it can be, and no snapshot is made of it.

mod actions;
mod admission;
mod auth;
mod edits;
mod egress;
mod expect;
mod health;
mod listeners;
mod rates;
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

use crate::analysis::Analysis;
use crate::problem::{Finding, Pointer, Problem, Problems, Severity, Source};
use crate::rewrite::GroupsCache;
use crate::router::{Lists, Router};
use crate::schema::Config;
use crate::shape::Shape;
use crate::snapshot::{Project, Snapshot};
use crate::table::TableCache;
use crate::variables::{Variables, expanded};

/// How many syntax errors are shown: what follows the first ones is mostly their echo.
const SYNTAX_ERRORS_SHOWN_MAX: usize = 2;

/// Compiles configurations, and remembers the rule tables that are in use, so that a change builds only the tables
/// of the lists that it touches.
#[derive(Debug, Default)]
pub struct Compiler {
    variables: Variables,
    tables: TableCache,
    groups: GroupsCache,
}

/// What becomes of the file's expectations.
#[derive(Clone, Copy, Debug)]
enum Expectations {
    Checked,
    Ignored,
}

/// A configuration that can run.
#[derive(Debug)]
pub struct Compiled {
    /// What runs.
    pub snapshot: Snapshot,
    /// What its writer hardly meant.
    pub warnings: Problems,
}

/// A configuration that can run, and what its rules can do.
#[derive(Debug)]
pub struct Checked {
    /// What runs. Its warnings have those of the analysis among them.
    pub compiled: Compiled,
    /// Which rules win, where, and what hides the others.
    pub analysis: Analysis,
}

impl Compiler {
    /// A compiler that knows no tables yet, and no environment variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// A compiler for which `${NAME}` is what `variables` says.
    pub fn with_variables(variables: Variables) -> Self {
        Self { variables, ..Self::default() }
    }

    /// Compiles a configuration. Depends on nothing but the text and the variables: no file, no clock.
    ///
    /// # Errors
    /// All problems of the text, warnings among them, in the order of their places.
    pub fn compile(&mut self, source: &Source<'_>) -> Result<Compiled, Problems> {
        let compiled = self.compile_with(source, Expectations::Checked, |_, _, _| ());
        compiled.map(|(compiled, ())| compiled)
    }

    /// Compiles a configuration and looks at what its rules can do: more warnings, at the price of a walk over all tables. A
    /// configuration with problems is none that [`compile`](Self::compile) takes.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub fn check(&mut self, source: &Source<'_>) -> Result<Checked, Problems> {
        let checked = self.compile_with(source, Expectations::Checked, |snapshot, places, findings| {
            let analysis = Analysis::of(snapshot);
            analysis.warn(snapshot, places, findings);
            analysis
        });
        checked.map(|(compiled, analysis)| Checked { compiled, analysis })
    }

    /// Compiles a configuration whether its expectations (`[[expect]]`) are met or not: for those who want to know why one is
    /// not.
    ///
    /// # Errors
    /// As [`compile`](Self::compile), without the problems of expectations.
    pub fn compile_unexpecting(&mut self, source: &Source<'_>) -> Result<Compiled, Problems> {
        let compiled = self.compile_with(source, Expectations::Ignored, |_, _, _| ());
        compiled.map(|(compiled, ())| compiled)
    }

    /// Compiles, and has `look` see what came of it, with the place of each rule, by its id.
    fn compile_with<T>(
        &mut self,
        source: &Source<'_>,
        expectations: Expectations,
        look: impl FnOnce(&Snapshot, &[Pointer], &mut Vec<Finding>) -> T,
    ) -> Result<(Compiled, T), Problems> {
        let file = parse(source)?;
        let (written, shape) = read(&file)?;
        let mut context = Context { variables: &self.variables, findings: Vec::new() };
        let parts = Parts::of(&written, &mut self.groups, &mut context);
        let mut findings = context.findings;
        findings.retain(|finding| shape.leaves_open(&finding.at));
        findings.extend(shape.findings);
        let built = if has_error(&findings) { None } else { parts.snapshot(&mut self.tables, &mut findings) };
        if let (Some((snapshot, _)), Expectations::Checked) = (&built, expectations) {
            expect::check(&written.expect, snapshot, &mut findings);
        }
        let sound = built.filter(|_| !has_error(&findings));
        let seen = sound.map(|(snapshot, places)| {
            let seen = look(&snapshot, &places, &mut findings);
            (snapshot, seen)
        });
        self.tables.sweep();
        self.groups.sweep();
        let problems = locate(findings, &file);
        match seen {
            Some((snapshot, seen)) => Ok((Compiled { snapshot, warnings: problems }, seen)),
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
        span: span(file, &finding.at, finding.at_key, finding.within),
        path: finding.at.0,
        message: finding.message,
        help: finding.help,
    })
}

/// Where a place stands in the text; for one that is not there, where it would belong. `None` for the whole file.
fn span(
    file: &Spanned<DeTable<'_>>,
    at: &Pointer,
    at_key: bool,
    within: Option<usize>,
) -> Option<Range<usize>> {
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
    let inside = within.and_then(|offset| inside(here, offset));
    inside.or_else(|| Some(if at_key { key_span } else { here.span() }))
}

/// The place of one character of a text; `None` for a text that is written with escapes or on several lines, whose bytes stand
/// elsewhere.
fn inside(value: &Spanned<DeValue<'_>>, offset: usize) -> Option<Range<usize>> {
    let DeValue::String(text) = value.get_ref() else { return None };
    let Range { start, end } = value.span();
    let one_quote = end - start == text.len() + 2;
    let character = text.get(offset..)?.chars().next().map_or(0, char::len_utf8);
    one_quote.then_some(start + 1 + offset..start + 1 + offset + character)
}

type Entry<'t, 'i> = (&'t Spanned<toml::de::DeString<'i>>, &'t Spanned<DeValue<'i>>);

fn entry<'t, 'i>(table: &'t DeTable<'i>, key: &str) -> Option<Entry<'t, 'i>> {
    table.get_key_value(key)
}

/// What all checks see and add to.
struct Context<'w> {
    variables: &'w Variables,
    findings: Vec<Finding>,
}

impl Context<'_> {
    /// `text`, which stands at `at`, with its variables replaced. `None`, and a finding, when it cannot be read.
    ///
    /// # Errors
    /// The first variable that is not set and has no default; a warning for each of them says so.
    fn expanded(&mut self, text: &str, at: &Pointer) -> Result<Option<String>, String> {
        let expanded = match expanded(text, self.variables) {
            Ok(expanded) => expanded,
            Err(fault) => {
                self.findings.push(Finding::fault(at.clone(), fault));
                return Ok(None);
            }
        };
        let unset = |variable: &String| unset(variable, ": what needs it answers 502", at).into_warning();
        self.findings.extend(expanded.unset.iter().map(unset));
        match expanded.unset.into_iter().next() {
            None => Ok(Some(expanded.text)),
            Some(first) => Err(first),
        }
    }
}

/// That a variable which the text at `at` needs is not set, and what comes of it.
fn unset(variable: &str, consequence: &str, at: &Pointer) -> Finding {
    let message = format!("the environment variable {variable} is not set{consequence}");
    Finding::error(at.clone(), message).help(format!("set it, or write ${{{variable}:-default}}"))
}

/// Everything but the rule tables.
struct Parts {
    settings: settings::Settings,
    listeners: listeners::Listeners,
    upstreams: upstreams::Upstreams,
    providers: auth::Providers,
    sites: sites::Sites,
    projects: Vec<Project>,
    rules: rules::Rules,
}

impl Parts {
    fn of(written: &Config, groups: &mut GroupsCache, context: &mut Context<'_>) -> Self {
        let settings = settings::Settings::of(written, context);
        let listeners = listeners::Listeners::of(&written.listeners, &mut context.findings);
        let egress = egress::of(&written.egress, &mut context.findings);
        let mut upstreams = upstreams::Upstreams::of(&written.upstreams, egress, context);
        let providers = auth::Providers::of(&written.auth, &settings.server, &mut upstreams, context);
        let mut projects = sites::projects(&written.projects, &mut context.findings);
        let known = sites::Known { listeners: &listeners, projects: &projects, providers: &providers };
        let mut sites = sites::Sites::of(written, known, &settings, context);
        let actions = actions::Actions { upstreams: &mut upstreams, groups };
        let mut around = rules::Surroundings { context, actions, settings: &settings, providers: &providers };
        let rules = rules::Rules::of(written, &mut sites.list, &mut projects, &mut around);
        rates::warn_of_one_client(written, &listeners, &settings.server, &mut context.findings);
        Self { settings, listeners, upstreams, providers, sites, projects, rules }
    }

    /// Builds the tables of a sound configuration, and notes what it leaves without use. The places are those of the rules, by
    /// their ids. `None`, and a finding for each of them, when some tables cannot be built.
    fn snapshot(
        self,
        tables: &mut TableCache,
        findings: &mut Vec<Finding>,
    ) -> Option<(Snapshot, Vec<Pointer>)> {
        self.upstreams.warn_of_unused(findings);
        self.providers.warn_of_pointless(&self.sites.list, &self.rules.list, &self.rules.places, findings);
        self.rules.warn_of_nothing(&self.sites.list, findings);
        self.rules.warn_of_handshakes(&self.sites.list, findings);
        rates::warn_of_idle(&self.sites.list, &self.rules, findings);
        let known = (&*self.rules.list, &*self.rules.places);
        let mut build = |draft: rules::Draft| draft.build(tables, &self.settings, known, findings);
        let global = build(self.rules.global);
        let own: Vec<_> = self.rules.own.into_iter().map(&mut build).collect();
        let projects: Vec<_> = self.rules.projects.into_iter().map(&mut build).collect();
        let lists = Lists {
            own: own.into_iter().collect::<Option<_>>()?,
            projects: projects.into_iter().collect::<Option<_>>()?,
            global: global?,
        };
        let router = Router::new(self.sites.hosts, &self.sites.list, lists);
        let settings = self.settings;
        let snapshot = Snapshot {
            server: settings.server,
            listeners: shared(self.listeners.list),
            limits: settings.limits,
            timeouts: settings.timeouts,
            forwarded: settings.forwarded,
            access_log: settings.access_log,
            admin: settings.admin,
            dns: settings.dns,
            providers: shared(self.providers.list),
            upstreams: shared(self.upstreams.list),
            sites: shared(self.sites.list),
            projects: shared(self.projects),
            rules: shared(self.rules.list),
            router,
        };
        Some((snapshot, self.rules.places))
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

/// Whether `text` is a token, such as a method or a field's name (RFC 9110 5.6.2).
fn is_token(text: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(token)
}
