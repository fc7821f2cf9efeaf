//! The control thread's hold on a backend: what a probe needs to know, and what it found.

use std::fmt;
use std::sync::Arc;

use ringway_config::Forbidden;

use super::{Cause, Event, Failed, History, Member, Probed, Roster, Standing};
use crate::net::dial::Address;
use crate::view::Shared;

/// One address of an upstream, as one publication has it. What is known of it belongs to upstream and address: another
/// publication's handle for the same two sees and changes the same.
#[derive(Clone)]
pub struct BackendHandle {
    shared: Arc<Shared>,
    roster: Arc<Roster>,
    member: usize,
}

impl fmt::Debug for BackendHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.address(), self.upstream())
    }
}

impl BackendHandle {
    /// All addresses of a roster.
    pub(crate) fn all_of<'a>(
        shared: &'a Arc<Shared>,
        roster: &'a Arc<Roster>,
    ) -> impl Iterator<Item = Self> + 'a {
        let handle = |member| Self { shared: shared.clone(), roster: roster.clone(), member };
        (0..roster.members.len()).map(handle)
    }

    /// The upstream's name.
    pub fn upstream(&self) -> &Arc<str> {
        &self.roster.state.name
    }

    /// How its upstream is configured.
    pub fn config(&self) -> &ringway_config::Upstream {
        &self.roster.config
    }

    /// What is dialled.
    pub fn address(&self) -> &Address {
        &self.member().address
    }

    /// The Host of requests that bring none.
    pub fn authority(&self) -> &str {
        &self.member().authority
    }

    /// Dialling it would come back to us.
    pub fn is_own(&self) -> bool {
        self.member().is_own
    }

    /// Why the upstream's egress policy refuses it: then it is not to be dialled, for a probe neither.
    pub fn forbidden(&self) -> Option<Forbidden> {
        self.member().forbidden
    }

    /// How it stands now.
    pub fn standing(&self) -> Standing {
        self.member().state.health.standing()
    }

    /// Failures of requests since the last success.
    pub fn failures(&self) -> u32 {
        self.member().state.health.failures()
    }

    /// What is told of its past.
    pub fn history(&self) -> History {
        self.member().state.health.history()
    }

    /// Takes down what a probe found. The standing stays.
    pub fn note_probe(&self, failed: Option<Failed>) {
        let at_ms = self.shared.now_ms();
        self.member().state.health.past().probed = Some(Probed { at_ms, failed });
    }

    /// Probes found it alive: it comes back, if it was ejected.
    pub fn recover(&self) {
        self.tell(self.roster.recover(self.member(), Cause::ProbeSucceeded, self.shared.now_ms()));
    }

    /// Active probes found it ill: it is ejected, even if it is the last one.
    pub fn eject(&self, failed: Failed) {
        self.tell(self.roster.eject_unbounded(self.member(), Cause::Probe(failed), self.shared.now_ms()));
    }

    /// Takes it out for maintenance: no new request goes there, what runs ends by itself.
    pub fn mark_dead(&self) {
        let now_ms = self.shared.now_ms();
        self.tell(self.roster.mark_dead(self.member(), now_ms));
        self.roster.keep_bounds(now_ms).into_iter().for_each(|event| self.shared.events.push(event));
    }

    /// Brings it back, whatever took it out.
    pub fn mark_alive(&self) {
        self.tell(self.roster.mark_alive(self.member(), self.shared.now_ms()));
    }

    fn tell(&self, event: Option<Event>) {
        if let Some(event) = event {
            self.shared.events.push(event);
        }
    }

    fn member(&self) -> &Member {
        &self.roster.members[self.member]
    }
}
