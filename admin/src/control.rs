//! The control thread, from start to end: applies the configuration, answers signals, keeps house, drains.

use std::time::Duration;

use ringway_engine::{Engine, Names};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::apply::{Apply, Refusal};
use crate::names::LOOKUPS_MAX;
use crate::news::{self, News};
use crate::origin::Origin;
use crate::probes::Prober;
use crate::refusals::Refusals;
use crate::service;
use crate::signals::{Request, Shield, Signals};

/// How often what workers leave behind is put away, and their health looked at.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// How often a drain looks whether the last connection has gone.
const DRAIN_CHECK: Duration = Duration::from_millis(20);

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to, and every connection ended by itself.
    Drained,
    /// `server.drain_timeout` ran out, and the connections that were left were cut.
    DrainTimeout,
    /// A second signal asked for the end at once; connections were cut.
    Cut,
    /// It never started: the configuration has problems.
    BadConfiguration,
    /// It never started: the system did not let it, for example bind a listener.
    CannotStart,
    /// A worker ended unexpectedly. What was left was drained, so that a service manager can start a whole one.
    WorkerFailed,
}

/// Runs the proxy on this thread until a signal ends it. `on_ready` is called once, when all workers serve.
///
/// SIGHUP reads `origin` again, SIGTERM and SIGINT drain, a second one ends at once, SIGUSR1 reopens log files; signals
/// that arrive while it starts are answered when it has started. Everything that happens is logged by `tracing`.
pub fn serve(origin: Origin, on_ready: impl FnOnce()) -> Ending {
    match started(origin) {
        Ok((runtime, control)) => {
            on_ready();
            let ending = runtime.block_on(control.run());
            // A lookup that hangs in the system's resolver must not hold the end up.
            runtime.shutdown_background();
            tracing::info!("stopped");
            ending
        }
        Err(ending) => ending,
    }
}

/// Everything up to the moment when all workers serve.
fn started(origin: Origin) -> Result<(tokio::runtime::Runtime, Control), Ending> {
    let cannot_start = |error: std::io::Error| {
        tracing::error!(%error, "cannot start");
        Ending::CannotStart
    };
    let shield = Shield::raise().map_err(cannot_start)?;
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(LOOKUPS_MAX).build().map_err(cannot_start)?;
    let signals = runtime.block_on(async { Signals::hear() }).map_err(cannot_start)?;
    let mut apply = Apply::new(origin);
    let engine = runtime.block_on(apply.start());
    let engine = match engine {
        Ok(engine) => engine,
        Err(refusal) => {
            runtime.shutdown_background();
            return Err(refused_at_start(&refusal));
        }
    };
    tracing::info!("ready");
    service::ready();
    drop(shield);
    Ok((runtime, Control::new(apply, engine, signals)))
}

fn refused_at_start(refusal: &Refusal) -> Ending {
    if refusal.is_about_text() {
        tracing::error!("configuration refused\n{refusal}");
        Ending::BadConfiguration
    } else {
        tracing::error!("cannot start: {refusal}");
        Ending::CannotStart
    }
}

/// ```text
/// Serving --SIGTERM, SIGINT, a lost worker--> Draining --no connection left, deadline, second signal--> end
/// ```
#[derive(Clone, Copy)]
enum Phase {
    Serving,
    Draining { deadline: Instant },
}

struct Control {
    apply: Apply,
    engine: Engine,
    signals: Signals,
    news: News,
    prober: Prober,
    refusals: Refusals,
    phase: Phase,
    worker_failed: bool,
}

impl Control {
    fn new(apply: Apply, engine: Engine, signals: Signals) -> Self {
        let (news, prober, refusals) = (News::of(&engine), Prober::new(), Refusals::default());
        let phase = Phase::Serving;
        let mut control =
            Self { apply, engine, signals, news, prober, refusals, phase, worker_failed: false };
        control.follow_backends();
        control
    }

    async fn run(mut self) -> Ending {
        let ending = self.until_end().await;
        self.engine.flush_logs();
        news::tell(&self.engine);
        tracing::info!("{}", self.engine.stats());
        ending
    }

    async fn until_end(&mut self) -> Ending {
        let mut housekeeping = every(HOUSEKEEPING);
        let mut drain_check = every(DRAIN_CHECK);
        loop {
            let draining = matches!(self.phase, Phase::Draining { .. });
            tokio::select! {
                request = self.signals.next() => if let Some(ending) = self.answer(request).await {
                    return ending;
                },
                names = self.apply.resolver().moved() => self.resolve(names),
                () = self.news.come() => self.hear_news(),
                () = self.prober.step() => {}
                _ = drain_check.tick(), if draining => if let Some(ending) = self.drained() {
                    return ending;
                },
                _ = housekeeping.tick() => self.keep_house(),
            }
        }
    }

    async fn answer(&mut self, request: Request) -> Option<Ending> {
        match (request, self.phase) {
            (Request::ReopenLogs, _) => self.reopen_logs(),
            (Request::Reload, Phase::Serving) => self.reload().await,
            (Request::Reload, Phase::Draining { .. }) => tracing::warn!("not read again: draining"),
            (Request::Stop, Phase::Serving) => self.drain(),
            (Request::Stop, Phase::Draining { .. }) => return Some(self.cut("second signal", Ending::Cut)),
        }
        None
    }

    async fn reload(&mut self) {
        service::reloading();
        if let Err(refusal) = self.apply.reload(&mut self.engine).await {
            tracing::error!("configuration refused\n{refusal}");
        }
        self.follow_backends();
        service::ready();
    }

    fn resolve(&mut self, names: Names) {
        self.engine.resolve(names);
        self.follow_backends();
    }

    /// After each publication.
    fn follow_backends(&mut self) {
        let backends = self.engine.backends();
        self.refusals.look(&backends);
        self.prober.follow(backends);
    }

    fn hear_news(&mut self) {
        news::tell(&self.engine);
        self.prober.look();
    }

    fn reopen_logs(&self) {
        self.engine.reopen_logs();
        tracing::info!("log files reopened");
    }

    fn drain(&mut self) {
        service::stopping();
        let timeout = self.apply.running().map_or(Duration::ZERO, |running| running.server.drain_timeout);
        tracing::info!(connections = self.engine.connections(), ?timeout, "draining");
        self.engine.drain();
        self.apply.api().draining();
        self.phase = Phase::Draining { deadline: Instant::now() + timeout };
    }

    /// How the drain has ended, if it has.
    fn drained(&self) -> Option<Ending> {
        let Phase::Draining { deadline } = self.phase else { return None };
        if self.engine.connections() == 0 {
            return Some(self.or_worker_failed(Ending::Drained));
        }
        (Instant::now() >= deadline).then(|| self.cut("server.drain_timeout ran out", Ending::DrainTimeout))
    }

    fn cut(&self, reason: &str, ending: Ending) -> Ending {
        tracing::warn!(connections = self.engine.connections(), "connections cut: {reason}");
        self.or_worker_failed(ending)
    }

    fn or_worker_failed(&self, ending: Ending) -> Ending {
        if self.worker_failed { Ending::WorkerFailed } else { ending }
    }

    fn keep_house(&mut self) {
        self.engine.housekeeping();
        if !self.worker_failed && self.engine.worker_failed() {
            tracing::error!("a worker ended unexpectedly");
            self.worker_failed = true;
            if matches!(self.phase, Phase::Serving) {
                self.drain();
            }
        }
    }
}

/// Ticks in `period` for the first time. A thread that was held up does not catch up.
fn every(period: Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
