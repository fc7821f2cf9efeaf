//! Choosing a backend: pure functions over what is known of a pool's members, the clock and chance. No lock, no allocation.
//!
//! * `field`: who takes part, and with which share.
//! * `turn`: in turn, by weight.
//! * `least`: the fewest running exchanges.
//! * `odds`: at random, by weight; and the better of two.
//! * `hash`: the same client, the same backend.
//!
//! Each strategy chooses twice over: first as if all were well, with what was worked out when the chooser was made, and looks
//! at nothing but the standing of the one it chose. Only when that is no good, or the request was sent somewhere before, it looks at
//! everybody and chooses among those who take part.

mod field;
mod hash;
mod least;
#[cfg(test)]
mod load;
mod odds;
#[cfg(test)]
mod tests;
mod turn;

use std::net::IpAddr;

use ringway_config::Strategy;

use self::field::{Field, Rank, Shares, Weights};
use self::hash::Keys;
use self::least::Least;
use self::odds::Odds;
use self::turn::Turns;
use super::state::Roster;

/// The most retries that a request may have.
pub(crate) const RETRIES_MAX: usize = 10;

/// The members that a request was sent to already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tried {
    members: [u32; RETRIES_MAX + 1],
    count: usize,
}

impl Tried {
    /// Notes a member.
    pub(crate) fn add(&mut self, member: usize) {
        if let Some(place) = self.members.get_mut(self.count) {
            *place = member as u32;
            self.count += 1;
        }
    }

    /// How many were tried.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Them, in order.
    fn members(&self) -> impl Iterator<Item = usize> {
        self.members[..self.count].iter().map(|&member| member as usize)
    }
}

/// What a choice looks at beside the pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking {
    /// The client's address, for `ip_hash`; `None` on a Unix socket.
    pub(crate) client: Option<IpAddr>,
    pub(crate) tried: Tried,
    /// Milliseconds since the process started.
    pub(crate) now_ms: u64,
}

/// Why a member was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The pool has no other.
    Only,
    /// The strategy says so.
    Strategy,
    /// A backup, because no other was available.
    Backup,
    /// It is ejected, and no other was well.
    Ejected,
}

/// A choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Picked {
    pub(crate) member: usize,
    pub(crate) choice: Choice,
}

/// One worker's chooser for one roster.
#[derive(Debug)]
pub(crate) struct Picker {
    weights: Weights,
    shares: Shares,
    way: Way,
}

#[derive(Debug)]
enum Way {
    InTurn(Turns),
    Least(Least),
    Random(Odds),
    FewerOfTwo(Odds),
    QuickerOfTwo(Odds),
    Hashed(Keys),
}

impl Picker {
    /// A chooser for these members; it begins at a random place.
    pub(crate) fn new(roster: &Roster, mut rng: fastrand::Rng) -> Self {
        let weights = Weights::new(roster);
        let shares = Shares::new(&weights);
        let turns = |rng| Turns::new(&weights, &shares, rng);
        let way = match roster.config.strategy {
            // Where there is no choice, this is the quickest.
            _ if roster.members.len() == 1 => Way::InTurn(turns(&mut rng)),
            Strategy::RoundRobin => Way::InTurn(turns(&mut rng)),
            Strategy::LeastConnections => Way::Least(Least::new(turns(&mut rng))),
            Strategy::Random => Way::Random(Odds::new(&weights, rng)),
            Strategy::P2c => Way::FewerOfTwo(Odds::new(&weights, rng)),
            Strategy::LeastLatency => Way::QuickerOfTwo(Odds::new(&weights, rng)),
            Strategy::IpHash => Way::Hashed(Keys::new(roster, turns(&mut rng))),
        };
        Self { weights, shares, way }
    }

    /// The member that a request goes to. `None`: none is available that was not tried.
    #[inline]
    pub(crate) fn pick(&self, roster: &Roster, asking: &Asking) -> Option<Picked> {
        let field = Field { roster, asking, weights: &self.weights, shares: &self.shares };
        let (member, rank) = match &self.way {
            Way::InTurn(turns) => turns.pick(&field),
            Way::Least(least) => least.pick(&field),
            Way::Random(odds) => odds.pick(&field),
            Way::FewerOfTwo(odds) => odds.fewer_of_two(&field),
            Way::QuickerOfTwo(odds) => odds.quicker_of_two(&field),
            Way::Hashed(keys) => keys.pick(&field),
        }?;
        Some(Picked { member, choice: choice(rank, roster.members.len()) })
    }
}

fn choice(rank: Rank, members: usize) -> Choice {
    match rank {
        Rank::Ejected | Rank::EjectedBackup => Choice::Ejected,
        Rank::Primary | Rank::Backup if members == 1 => Choice::Only,
        Rank::Primary => Choice::Strategy,
        Rank::Backup => Choice::Backup,
    }
}
