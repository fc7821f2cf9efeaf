//! Who takes part in a choice, and with which share.

use std::cell::Cell;
use std::sync::Arc;

use ringway_config::OnNoBackend;

use super::Asking;
use crate::upstream::health::Standing;
use crate::upstream::state::{Member, Roster};

/// The share that a weight of one has in full: how finely `slow_start` goes up.
const FULL: u32 = 1024;
/// The share with which `slow_start` begins, for a weight of one: a sixteenth. It goes up from there in a straight line.
const SLOW_START_FIRST: u32 = FULL / 16;

/// In this order it is chosen: from the first rank in which somebody is whom the request did not try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    Primary,
    Backup,
    /// What was ejected, where `on_no_backend` is `any`.
    Ejected,
    EjectedBackup,
}

const RANKS: [Rank; 4] = [Rank::Primary, Rank::Backup, Rank::Ejected, Rank::EjectedBackup];
/// How many of them have nothing that is ejected.
const ALIVE_RANKS: usize = 2;

impl Rank {
    /// Whether a member stands here. One that came back between two looks is still found among the ejected.
    fn has(self, member: &Member) -> bool {
        let standing = member.state.health.standing();
        match self {
            Self::Primary => !member.backup && standing == Standing::Alive,
            Self::Backup => member.backup && standing == Standing::Alive,
            Self::Ejected => !member.backup && standing != Standing::Dead,
            Self::EjectedBackup => member.backup && standing != Standing::Dead,
        }
    }
}

/// What a roster's members weigh when all are well.
#[derive(Debug)]
pub(super) struct Weights {
    /// The full share of each; 0 for those that are not of the first rank.
    full: Box<[u32]>,
    /// The full shares of all members.
    sum: i64,
    /// Not all members weigh the same.
    pub(super) differ: bool,
    /// 0: there is none.
    slow_start_ms: u64,
    /// Members that may not be dialled take part, because there are only such.
    barred_too: bool,
}

impl Weights {
    pub(super) fn new(roster: &Roster) -> Self {
        let members = &roster.members;
        let barred_too = members.iter().all(Member::is_barred);
        let is_first = |member: &Member| !member.backup && (barred_too || !member.is_barred());
        let share = |member: &Member| if is_first(member) { full_share(member) } else { 0 };
        Self {
            full: members.iter().map(share).collect(),
            sum: members.iter().map(full_share).map(i64::from).sum(),
            differ: members.windows(2).any(|pair| pair[0].weight != pair[1].weight),
            slow_start_ms: roster.config.slow_start.as_millis() as u64,
            barred_too,
        }
    }

    /// The full shares by place; 0 for those that are not of the first rank.
    pub(super) fn full(&self) -> &[u32] {
        &self.full
    }

    /// The full shares of all members.
    pub(super) fn sum(&self) -> i64 {
        self.sum
    }

    /// The share that a member has now.
    #[inline]
    fn share(&self, member: &Member, now_ms: u64) -> u32 {
        if self.is_warming(member, now_ms) {
            return u32::from(member.weight) * self.warmth(member, now_ms);
        }
        full_share(member)
    }

    /// It came back a short time ago.
    #[inline]
    fn is_warming(&self, member: &Member, now_ms: u64) -> bool {
        if self.slow_start_ms == 0 {
            return false;
        }
        let returned_ms = member.state.health.returned_ms();
        returned_ms > 0 && now_ms.saturating_sub(returned_ms) < self.slow_start_ms
    }

    /// The share that a weight of one has, while it is warming.
    fn warmth(&self, member: &Member, now_ms: u64) -> u32 {
        let back_ms = now_ms.saturating_sub(member.state.health.returned_ms());
        let gained = u64::from(FULL - SLOW_START_FIRST) * back_ms / self.slow_start_ms.max(1);
        SLOW_START_FIRST + gained.min(u64::from(FULL - SLOW_START_FIRST)) as u32
    }
}

fn full_share(member: &Member) -> u32 {
    u32::from(member.weight) * FULL
}

/// Who takes part, as the last look saw it; at first, as if all were well.
#[derive(Debug)]
pub(super) struct Shares {
    /// By place; 0 takes no part.
    of: Box<[Cell<u32>]>,
    /// All members of the first rank take part, with their full shares.
    whole: Cell<bool>,
    /// Those who take part have the same share.
    even: Cell<bool>,
}

impl Shares {
    pub(super) fn new(weights: &Weights) -> Self {
        let of = weights.full.iter().map(|&share| Cell::new(share)).collect();
        Self { of, whole: Cell::new(true), even: Cell::new(!weights.differ) }
    }

    pub(super) fn whole(&self) -> bool {
        self.whole.get()
    }

    pub(super) fn even(&self) -> bool {
        self.even.get()
    }

    /// By place; 0 takes no part.
    pub(super) fn all(&self) -> &[Cell<u32>] {
        &self.of
    }

    /// What those who take part have together.
    pub(super) fn sum(&self) -> i64 {
        self.of.iter().map(|share| i64::from(share.get())).sum()
    }

    /// Lets a member take no part.
    pub(super) fn take_out(&self, member: usize) {
        self.of[member].set(0);
        self.whole.set(false);
    }
}

/// Members, as one request finds them.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) roster: &'a Roster,
    pub(super) asking: &'a Asking,
    pub(super) weights: &'a Weights,
    pub(super) shares: &'a Shares,
}

impl Field<'_> {
    /// The request was sent nowhere yet.
    #[inline]
    pub(super) fn is_fresh(&self) -> bool {
        self.asking.tried.count() == 0
    }

    pub(super) fn member(&self, member: usize) -> &Member {
        &self.roster.members[member]
    }

    /// Whether a member is of the first rank.
    #[inline]
    pub(super) fn is_available(&self, member: usize) -> bool {
        self.weights.full[member] > 0 && self.member(member).state.health.standing() == Standing::Alive
    }

    /// Whether its share is less than in full.
    #[inline]
    pub(super) fn is_warming(&self, member: usize) -> bool {
        self.weights.is_warming(self.member(member), self.asking.now_ms)
    }

    /// Whether a member is of the first rank, with its full share.
    #[inline]
    pub(super) fn is_fit(&self, member: usize) -> bool {
        self.is_available(member) && !self.is_warming(member)
    }

    /// The share that a member has now.
    #[inline]
    pub(super) fn share(&self, member: usize) -> u32 {
        self.weights.share(self.member(member), self.asking.now_ms)
    }

    /// Looks at everybody: afterwards the [`Shares`] are those of the rank that it gives. `None`: nobody takes part.
    pub(super) fn look(&self) -> Option<Rank> {
        let any = self.roster.config.health.on_no_backend == OnNoBackend::Any;
        // While one is well, a request that failed there does not find out whether another is again: that is what probes are for.
        let ejected_too = any && (self.is_fresh() || !self.roster.has_well());
        let ranks = if ejected_too { &RANKS[..] } else { &RANKS[..ALIVE_RANKS] };
        ranks.iter().copied().find(|&rank| self.look_at(rank))
    }

    /// Fills in the shares of one rank; `false`: nobody takes part.
    fn look_at(&self, rank: Rank) -> bool {
        let (mut whole, mut even, mut one) = (rank == Rank::Primary, true, 0);
        let members = self.roster.members.iter().zip(&self.weights.full);
        for ((member, &full), place) in members.zip(&self.shares.of) {
            let share = if self.takes_part(member, rank) { self.share_of(member) } else { 0 };
            place.set(share);
            whole &= share == full;
            even &= share == 0 || one == 0 || share == one;
            one = one.max(share);
        }
        self.shares.whole.set(whole);
        self.shares.even.set(even);
        one > 0
    }

    #[inline]
    fn share_of(&self, member: &Member) -> u32 {
        self.weights.share(member, self.asking.now_ms)
    }

    #[inline]
    fn takes_part(&self, member: &Member, rank: Rank) -> bool {
        rank.has(member)
            && (self.weights.barred_too || !member.is_barred())
            && (self.is_fresh() || !self.was_tried(member))
    }

    /// Two names may lead to one address: who tried it by one of them has tried it.
    fn was_tried(&self, member: &Member) -> bool {
        let mut tried = self.asking.tried.members().filter_map(|tried| self.roster.members.get(tried));
        tried.any(|tried| Arc::ptr_eq(&tried.state, &member.state))
    }
}
