//! A configuration becomes what runs, as a whole or not at all: read the text, compile it, bind its admin socket, look up
//! the names of its backends, bind its new listeners, swap. Nothing else publishes to the engine.

use std::fmt;
use std::io;
use std::sync::Arc;

use ringway_config::{Compiler, Problems, Snapshot, Source};
use ringway_engine::{Engine, StartError};

use crate::api::{self, Api, NoSocket};
use crate::changes::Changes;
use crate::names::{Resolver, Wanted};
use crate::origin::{Origin, Unreadable, environment};
use crate::signals::Shield;

/// Applies the texts of one origin, and knows what runs.
pub(crate) struct Apply {
    origin: Origin,
    compiler: Compiler,
    /// The number of the configuration that runs; the first is 1. One that was refused takes no number.
    revision: u64,
    running: Option<Arc<Snapshot>>,
    resolver: Resolver,
    api: Api,
}

impl Apply {
    pub(crate) fn new(origin: Origin) -> Self {
        let compiler = Compiler::with_variables(environment());
        Self { origin, compiler, revision: 0, running: None, resolver: Resolver::default(), api: Api::new() }
    }

    /// Starts an engine with revision 1.
    pub(crate) async fn start(&mut self) -> Result<Engine, Refusal> {
        let snapshot = self.compile()?;
        let socket = self.api.prepare(&snapshot.admin)?;
        let names = self.resolver.learn(&Wanted::by(&snapshot)).await;
        let engine = shielded(|| Engine::start(snapshot.clone(), names))?;
        self.applied(snapshot, &engine, socket);
        self.follow_running();
        Ok(engine)
    }

    /// Reads the origin again and makes what it says run. A refusal has changed nothing.
    pub(crate) async fn reload(&mut self, engine: &mut Engine) -> Result<(), Refusal> {
        let snapshot = self.compile()?;
        let socket = self.api.prepare(&snapshot.admin)?;
        let names = self.resolver.learn(&Wanted::by(&snapshot)).await;
        let published = shielded(|| engine.publish(snapshot.clone(), names));
        match &published {
            Ok(()) => self.applied(snapshot, engine, socket),
            // What was learnt meanwhile about the names in use was for nothing otherwise.
            Err(_) => engine.resolve(self.resolver.names()),
        }
        self.follow_running();
        published
    }

    /// The snapshot that runs; `None` before the start.
    pub(crate) fn running(&self) -> Option<&Snapshot> {
        self.running.as_deref()
    }

    /// The names of the backends of what runs.
    pub(crate) fn resolver(&mut self) -> &mut Resolver {
        &mut self.resolver
    }

    /// What the program tells about itself.
    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    fn compile(&mut self) -> Result<Arc<Snapshot>, Refusal> {
        let text = self.origin.read()?;
        let name = self.origin.name();
        let source = Source { name: &name, text: &text };
        match self.compiler.compile(&source) {
            Ok(compiled) => {
                warn(&compiled.warnings, &source);
                Ok(Arc::new(compiled.snapshot))
            }
            Err(problems) => Err(Refusal::Problems(problems.render(&source, false))),
        }
    }

    fn applied(&mut self, snapshot: Arc<Snapshot>, engine: &Engine, socket: api::Change) {
        self.revision += 1;
        self.api.applied(self.revision, &snapshot, engine, socket);
        let changes = Changes::between(self.running(), &snapshot);
        tracing::info!(%changes, "applied revision {}", self.revision);
        self.running = Some(snapshot);
    }

    /// Looks up the names of what runs from now on, and no others.
    fn follow_running(&mut self) {
        if let Some(running) = &self.running {
            self.resolver.follow(&Wanted::by(running));
        }
    }
}

fn warn(warnings: &Problems, source: &Source<'_>) {
    if !warnings.is_empty() {
        tracing::warn!("the configuration has warnings\n{}", warnings.render(source, false).trim_end());
    }
}

/// Threads that the engine starts meanwhile receive no signals.
fn shielded<T>(work: impl FnOnce() -> Result<T, StartError>) -> Result<T, Refusal> {
    let _shield = Shield::raise().map_err(Refusal::Signals)?;
    Ok(work()?)
}

/// Why a configuration does not run.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// There is no text.
    Unreadable(Unreadable),
    /// The text has problems; here they are, rendered.
    Problems(String),
    /// The admin socket cannot be had.
    Api(NoSocket),
    /// The system does not give what it needs.
    Engine(StartError),
    /// The system lets no signal be blocked.
    Signals(io::Error),
}

impl Refusal {
    /// Whether another text would help; otherwise the system is in the way.
    pub(crate) fn is_about_text(&self) -> bool {
        matches!(self, Self::Unreadable(_) | Self::Problems(_))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => error.fmt(out),
            Self::Problems(rendered) => out.write_str(rendered.trim_end()),
            Self::Api(error) => error.fmt(out),
            Self::Engine(error) => error.fmt(out),
            Self::Signals(error) => write!(out, "cannot block signals: {error}"),
        }
    }
}

impl From<Unreadable> for Refusal {
    fn from(error: Unreadable) -> Self {
        Self::Unreadable(error)
    }
}

impl From<NoSocket> for Refusal {
    fn from(error: NoSocket) -> Self {
        Self::Api(error)
    }
}

impl From<StartError> for Refusal {
    fn from(error: StartError) -> Self {
        Self::Engine(error)
    }
}
