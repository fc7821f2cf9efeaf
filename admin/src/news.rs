//! What became of backends, in the log: a line for each change of a standing.

use std::sync::Arc;

use ringway_engine::{Change, Engine, Event};
use tokio::sync::Notify;

/// Hears when the engine has events.
pub(crate) struct News {
    come: Arc<Notify>,
}

impl News {
    /// Hears of this engine's events from now on.
    pub(crate) fn of(engine: &Engine) -> Self {
        let come = Arc::new(Notify::new());
        let wake = come.clone();
        engine.on_event(move || wake.notify_one());
        Self { come }
    }

    /// Waits until there may be events. Loses nothing when it is dropped while it waits.
    pub(crate) async fn come(&self) {
        self.come.notified().await;
    }
}

/// Logs the events that wait.
pub(crate) fn tell(engine: &Engine) {
    let (events, dropped) = engine.take_events();
    events.iter().for_each(log);
    if dropped > 0 {
        tracing::warn!(event = "events_dropped", dropped, "more became of backends than could be told");
    }
}

fn log(event: &Event) {
    let Event { upstream, backend, change, cause, available, members, .. } = event;
    let (id, cause) = (change.id(), cause.id());
    match change {
        Change::Ejected | Change::Spared(_) | Change::MarkedDead => {
            tracing::warn!(event = id, upstream = &**upstream, %backend, cause, available, members, "{event}");
        }
        Change::Recovered | Change::MarkedAlive => {
            tracing::info!(event = id, upstream = &**upstream, %backend, cause, available, members, "{event}");
        }
    }
}
