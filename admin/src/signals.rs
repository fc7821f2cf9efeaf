//! The signals that the control thread hears, and the shield that keeps them away from all other threads.
//!
//! tokio's handler only writes to a pipe, so it may run on any thread; but a worker that waits in the kernel would be
//! woken for nothing. Threads inherit the mask of the thread that starts them, hence: raise the shield, start threads,
//! drop it. What arrives meanwhile stays pending and is heard afterwards; nothing is lost once [`Shield::raise`] was
//! called, provided that [`Signals::hear`] is called before the shield falls.

use std::io;

use nix::sys::signal::{SigSet, SigmaskHow, Signal as Number};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the control thread is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGTERM or SIGINT: drain; the second one: end at once.
    Stop,
    /// SIGUSR1: reopen log files.
    ReopenLogs,
}

/// The signals that are answered.
const HEARD: [Number; 4] = [Number::SIGHUP, Number::SIGTERM, Number::SIGINT, Number::SIGUSR1];

/// The open ears of the control thread.
pub(crate) struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    user: Signal,
}

impl Signals {
    /// Takes the signals over from the system's defaults. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// The system refuses a handler.
    pub(crate) fn hear() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    /// Waits for the next one. Loses none when it is dropped while it waits.
    pub(crate) async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => Request::Stop,
            _ = self.interrupt.recv() => Request::Stop,
            _ = self.hangup.recv() => Request::Reload,
            _ = self.user.recv() => Request::ReopenLogs,
        }
    }
}

/// While it lives, this thread and those that it starts receive none of the signals.
pub(crate) struct Shield {
    before: SigSet,
}

impl Shield {
    /// Blocks the signals for this thread.
    ///
    /// # Errors
    /// The system refuses; it never does for signals that exist.
    pub(crate) fn raise() -> io::Result<Self> {
        let heard: SigSet = HEARD.into_iter().collect();
        Ok(Self { before: heard.thread_swap_mask(SigmaskHow::SIG_BLOCK)? })
    }
}

impl Drop for Shield {
    fn drop(&mut self) {
        if let Err(error) = self.before.thread_set_mask() {
            tracing::error!(%error, "cannot receive signals any more");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::pthread::{pthread_kill, pthread_self};
    use std::time::Duration;

    #[test]
    fn a_signal_behind_the_shield_is_heard_when_it_falls() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let shield = Shield::raise().unwrap();
            let mut signals = Signals::hear().unwrap();
            // To this thread alone: the other threads of a test program hold no shield.
            pthread_kill(pthread_self(), Number::SIGUSR1).unwrap();
            let early = tokio::time::timeout(Duration::from_millis(20), signals.next()).await;
            assert!(early.is_err(), "{early:?} came through the shield");
            drop(shield);
            let request = tokio::time::timeout(Duration::from_secs(20), signals.next()).await;
            assert_eq!(request, Ok(Request::ReopenLogs));
        });
    }

    #[test]
    fn threads_inherit_the_shield() {
        let shield = Shield::raise().unwrap();
        let inherited = std::thread::spawn(|| SigSet::thread_get_mask().unwrap()).join().unwrap();
        drop(shield);
        assert!(HEARD.iter().all(|signal| inherited.contains(*signal)));
        let afterwards = SigSet::thread_get_mask().unwrap();
        assert!(!HEARD.iter().any(|signal| afterwards.contains(*signal)));
    }
}
