//! The same client, the same backend: rendezvous hashing over the client's address.
//!
//! Every pair of client and member has a number that looks random and depends on nothing else, and the member with the best one is
//! chosen. So a member that goes moves only its own clients, each to its own next choice, and they return when it does;
//! a weight that changes moves as many as it must. Members are told apart by their addresses: their order does not matter.
//!
//! The numbers come from a fixed function of the client's address, the upstream's name and the member's address. It has no secret of
//! the process: then a restart would move all clients, and two proxies beside each other would not agree. Who knows the
//! configuration can therefore find addresses that lead to one backend. Who does not know it cannot, except by watching
//! which backend answers, which would help him against a secret just as well.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::field::{Field, Rank};
use super::turn::Turns;
use crate::net::dial::Address;
use crate::upstream::state::Roster;

/// What makes members' numbers.
#[derive(Debug)]
pub(super) struct Keys {
    of: Box<[u64]>,
    /// For those without an address, who come by a Unix socket: there is nothing that tells one of them from another.
    turns: Turns,
}

impl Keys {
    pub(super) fn new(roster: &Roster, turns: Turns) -> Self {
        let pool = absorb(0, roster.state.name.as_bytes());
        let mut seen: HashMap<&Address, u64> = HashMap::new();
        let key = |address| {
            // An address that is there twice counts twice.
            let times = seen.entry(address).or_insert(0);
            *times += 1;
            absorb_word(absorb_address(pool, address), *times)
        };
        Self { of: roster.members.iter().map(|member| &member.address).map(key).collect(), turns }
    }

    #[inline]
    pub(super) fn pick(&self, field: &Field<'_>) -> Option<(usize, Rank)> {
        let Some(client) = field.asking.client else { return self.turns.pick(field) };
        let client = client_key(client);
        // Full shares suffice to see who is first, if that one has its full share: those of others can only be less.
        let first = if field.is_fresh() { self.first(field, client) } else { None };
        if let Some(member) = first.filter(|&member| field.is_fit(member)) {
            return Some((member, Rank::Primary));
        }
        let rank = field.look()?;
        let shares = field.shares.all().iter().map(|share| share.get());
        Some((self.nearest(client, shares)?, rank))
    }

    #[inline]
    fn first(&self, field: &Field<'_>, client: u64) -> Option<usize> {
        let shares = field.weights.full().iter().copied();
        if field.weights.differ { self.nearest(client, shares) } else { self.highest(client, shares) }
    }

    /// The first choice of a client by shares: each member's chance to have the least distance is as its share.
    fn nearest(&self, client: u64, shares: impl Iterator<Item = u32>) -> Option<usize> {
        let (mut nearest, mut least) = (None, f64::INFINITY);
        for (member, (key, share)) in self.of.iter().zip(shares).enumerate() {
            if share == 0 {
                continue;
            }
            let number = uniform(mix(key ^ client));
            // A logarithm costs more than all the rest, and -ln(x) is never below 1 - x.
            if (1.0 - number) >= least * f64::from(share) {
                continue;
            }
            let distance = -number.ln() / f64::from(share);
            if distance < least {
                (nearest, least) = (Some(member), distance);
            }
        }
        nearest
    }

    /// The same, where all shares are the same: the highest number has the least distance.
    #[inline]
    fn highest(&self, client: u64, shares: impl Iterator<Item = u32>) -> Option<usize> {
        let (mut highest, mut most) = (None, 0);
        for (member, (key, share)) in self.of.iter().zip(shares).enumerate() {
            // With the bits that a distance is made of, so that both choose alike; and never 0.
            let number = mix(key ^ client) >> SHIFT | 1 << 63;
            if share > 0 && number > most {
                (highest, most) = (Some(member), number);
            }
        }
        highest
    }
}

/// The bits of a number that do not count: what is left and a half more is a float, exactly.
const SHIFT: u32 = 12;

/// Between 0 and 1, and neither of them.
#[inline]
fn uniform(number: u64) -> f64 {
    ((number >> SHIFT) as f64 + 0.5) / (1_u64 << (u64::BITS - SHIFT)) as f64
}

/// A client's part of the numbers. An IPv4 address is the same client in its IPv6-mapped form.
#[inline]
fn client_key(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(client) => absorb_word(4, u64::from(client.to_bits())),
        IpAddr::V6(client) => {
            let bits = client.to_bits();
            absorb_word(absorb_word(6, (bits >> 64) as u64), bits as u64)
        }
    }
}

fn absorb_address(state: u64, address: &Address) -> u64 {
    match address {
        Address::Tcp(SocketAddr::V4(address)) => {
            absorb(absorb_word(state, u64::from(address.port())), &address.ip().octets())
        }
        Address::Tcp(SocketAddr::V6(address)) => {
            absorb(absorb_word(state, u64::from(address.port())), &address.ip().octets())
        }
        Address::Unix(path) => absorb(state, path.as_os_str().as_encoded_bytes()),
    }
}

fn absorb(state: u64, bytes: &[u8]) -> u64 {
    let word = |bytes: &[u8]| bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
    bytes.chunks(8).map(word).fold(absorb_word(state, bytes.len() as u64), absorb_word)
}

/// Sebastiano Vigna's SplitMix64 step, from a state that depends on all words before.
#[inline]
fn absorb_word(state: u64, word: u64) -> u64 {
    mix((state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15))
}

/// SplitMix64's output function: every bit of the number that comes moves about half of those that go.
#[inline]
fn mix(mut number: u64) -> u64 {
    number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::Ipv6Addr;
    use std::time::Duration;

    use ringway_config::Strategy::IpHash;

    use super::super::tests::{asking, counts, floats, is_by_chance, roster};
    use super::super::{Asking, Tried};
    use super::*;
    use crate::upstream::samples::member;
    use crate::upstream::state::Member;

    const CLIENTS: u32 = 1_000;

    fn choices_at(roster: &Roster, now_ms: u64) -> Vec<usize> {
        let picker = roster.picker(1);
        (0..CLIENTS).map(|client| picker.pick(roster, &asking(client, now_ms)).unwrap().member).collect()
    }

    fn choices(roster: &Roster) -> Vec<usize> {
        choices_at(roster, 0)
    }

    /// As the numbers of the members, which stay theirs when the list changes.
    fn chosen_addresses(roster: &Roster) -> Vec<Address> {
        choices(roster).into_iter().map(|member| roster.members[member].address.clone()).collect()
    }

    #[test]
    fn one_of_five_gone_moves_only_its_own_clients() {
        for weights in [[1, 1, 1, 1, 1], [1, 2, 3, 2, 1]] {
            for gone in 0..5 {
                let roster = roster(IpHash, &weights);
                let picker = roster.picker(1);
                let request = |request| picker.pick(&roster, &asking(request % CLIENTS, 0)).unwrap().member;
                let before: Vec<_> = (0..10_000).map(request).collect();
                roster.take_away(gone);
                let without: Vec<_> = (0..10_000).map(request).collect();
                roster.bring_back(gone, 1);
                let after: Vec<_> = (0..10_000).map(request).collect();
                assert_eq!(before, after);
                for (before, without) in before.iter().zip(&without) {
                    assert!(if *before == gone { *without != gone } else { without == before });
                }
            }
        }
    }

    #[test]
    fn clients_are_balanced_by_weight() {
        for weights in [[1, 1, 1, 1, 1], [1, 2, 3, 2, 1], [1, 1000, 10, 100, 1]] {
            let roster = roster(IpHash, &weights);
            let picked = counts(&roster, &[roster.picker(1)], 100_000, 0);
            is_by_chance(&picked, &weights.map(f64::from));
        }
        // 1,000 addresses, 200 for each of five: within 3.5 standard deviations of 12.6.
        let roster = roster(IpHash, &[1; 5]);
        let picked = counts(&roster, &[roster.picker(1)], CLIENTS, 0);
        assert!(picked.iter().all(|&clients| clients.abs_diff(200) <= 44), "{picked:?}");
    }

    #[test]
    fn those_who_move_are_spread_over_all_others() {
        let roster = roster(IpHash, &[1; 5]);
        let before = choices(&roster);
        roster.take_away(0);
        let after = choices(&roster);
        let mut moved = [0; 5];
        before.iter().zip(after).filter(|(before, _)| **before == 0).for_each(|(_, after)| moved[after] += 1);
        is_by_chance(&moved, &[0.0, 1.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn the_list_may_change() {
        for weight in [1, 3] {
            let mut listed = roster(IpHash, &[1, 1, weight, 1]);
            let before = chosen_addresses(&listed);
            listed.members.reverse();
            assert_eq!(chosen_addresses(&listed), before);
            let gone = listed.members.remove(2).address;
            let without = chosen_addresses(&listed);
            for (before, without) in before.iter().zip(&without) {
                assert!((*before == gone) == (without != before));
            }
            listed.members.insert(0, member(77, weight));
            let new = listed.members[0].address.clone();
            for (without, with) in without.iter().zip(chosen_addresses(&listed)) {
                assert!(with == new || with == *without);
            }
        }
    }

    /// As many as its share, within four standard deviations, from all others alike.
    #[test]
    fn a_new_one_takes_its_share_and_no_more() {
        for (weights, new) in [(&[1, 1, 1, 1][..], 1), (&[2, 1, 3], 4), (&[5, 5], 1)] {
            let mut listed = roster(IpHash, weights);
            let before = choices(&listed);
            listed.members.push(member(77, new));
            let mut lost = vec![0; weights.len()];
            for (before, after) in before.iter().zip(choices(&listed)) {
                assert!(after == *before || after == weights.len());
                lost[*before] += u64::from(after != *before);
            }
            let share = f64::from(new) / f64::from(weights.iter().sum::<u16>() + new);
            let clients = f64::from(CLIENTS);
            let (moved, deviation) =
                (lost.iter().sum::<u64>() as f64, (clients * share * (1.0 - share)).sqrt());
            assert!((moved - clients * share).abs() < 4.0 * deviation, "{moved} of {share}");
            is_by_chance(&lost, &floats(weights));
        }
    }

    #[test]
    fn clients_with_ipv6_addresses_are_balanced_too() {
        let roster = roster(IpHash, &[1, 2, 3]);
        let picker = roster.picker(1);
        // Networks of which each has one client, and clients of one network.
        for place in [64, 0] {
            let mut picked = [0; 3];
            for number in 0..20_000_u128 {
                let client = Ipv6Addr::from_bits(0x2001_0db8 << 96 | number << place);
                let asking = Asking { client: Some(client.into()), ..asking(0, 0) };
                picked[picker.pick(&roster, &asking).unwrap().member] += 1;
            }
            is_by_chance(&picked, &[1.0, 2.0, 3.0]);
        }
    }

    #[test]
    fn a_weight_that_changes_moves_clients_in_one_direction() {
        let light = roster(IpHash, &[1, 2, 2]);
        let heavy = roster(IpHash, &[3, 2, 2]);
        for (light, heavy) in choices(&light).into_iter().zip(choices(&heavy)) {
            assert!(heavy == light || heavy == 0);
        }
    }

    #[test]
    fn clients_return_one_after_the_other_with_slow_start() {
        for weights in [[1, 1, 1], [3, 1, 2]] {
            let mut roster = roster(IpHash, &weights);
            roster.configure(|config| config.slow_start = Duration::from_secs(10));
            let home = choices(&roster);
            roster.take_away(0);
            let mut present = choices(&roster);
            roster.bring_back(0, 1_000);
            for now_ms in (1_000..=11_000).step_by(500) {
                let next = choices_at(&roster, now_ms);
                for ((present, next), home) in present.iter().zip(&next).zip(&home) {
                    assert!(next == present || (*next == 0 && *home == 0));
                }
                present = next;
            }
            assert_eq!(present, home);
        }
    }

    #[test]
    fn an_ipv4_client_is_the_same_in_its_mapped_form() {
        for number in 0..CLIENTS {
            let (IpAddr::V4(client), key) = (super::super::tests::client(number), client_key) else {
                panic!()
            };
            assert_eq!(key(client.into()), key(client.to_ipv6_mapped().into()));
        }
    }

    #[test]
    fn every_part_of_an_address_counts() {
        let near = |bit: u32| IpAddr::from(Ipv6Addr::from_bits(1 << bit));
        let keys: HashSet<_> =
            (0..128).map(near).chain([IpAddr::from(Ipv6Addr::UNSPECIFIED)]).map(client_key).collect();
        assert_eq!(keys.len(), 129);
        let unix = |path: &str| Address::Unix(std::path::Path::new(path).into());
        let tcp = |address: &str| Address::Tcp(address.parse().unwrap());
        let addresses = [
            tcp("10.0.0.1:80"),
            tcp("10.0.0.1:81"),
            tcp("10.0.0.2:80"),
            tcp("[::1]:80"),
            tcp("[::1]:81"),
            tcp("[1::1]:80"),
            unix("/a"),
            unix("/a/very/long/path"),
            unix("/a/very/long/path/b"),
        ];
        let keys: HashSet<_> = addresses.iter().map(|address| absorb_address(1, address)).collect();
        assert_eq!(keys.len(), addresses.len());
    }

    /// The same for each process and version: a restart moves nobody.
    #[test]
    fn choices_are_the_same_for_ever() {
        let roster = roster(IpHash, &[1, 1, 1, 1]);
        assert_eq!(choices(&roster)[..16], [0, 1, 1, 3, 3, 2, 0, 3, 0, 0, 2, 1, 2, 3, 2, 3]);
    }

    #[test]
    fn all_workers_agree() {
        let mut roster = roster(IpHash, &[2, 1, 1]);
        roster.configure(|config| config.slow_start = Duration::from_secs(10));
        let workers = [roster.picker(1), roster.picker(2)];
        let agree = |now_ms| {
            for client in 0..CLIENTS {
                let choices = workers.each_ref().map(|worker| worker.pick(&roster, &asking(client, now_ms)));
                assert_eq!(choices[0], choices[1]);
            }
        };
        agree(0);
        roster.take_away(1);
        agree(0);
        roster.bring_back(1, 1_000);
        agree(5_000);
    }

    #[test]
    fn a_retry_goes_to_the_next_choice() {
        let roster = roster(IpHash, &[1, 1, 1]);
        let (picker, first) = (roster.picker(1), choices(&roster));
        for client in 0..CLIENTS {
            let mut tried = Tried::default();
            tried.add(first[client as usize]);
            let next = picker.pick(&roster, &Asking { tried, ..asking(client, 0) }).unwrap().member;
            roster.take_away(first[client as usize]);
            assert_eq!(next, picker.pick(&roster, &asking(client, 0)).unwrap().member);
            roster.bring_back(first[client as usize], 1);
        }
    }

    #[test]
    fn those_without_an_address_come_in_turn() {
        let roster = roster(IpHash, &[1, 1]);
        let picker = roster.picker(1);
        let asking = Asking { client: None, ..asking(0, 0) };
        let picks: Vec<_> = (0..10).map(|_| picker.pick(&roster, &asking).unwrap().member).collect();
        assert!(picks.windows(2).all(|pair| pair[0] != pair[1]), "{picks:?}");
    }

    #[test]
    fn an_address_that_is_there_twice_counts_twice() {
        let mut roster = roster(IpHash, &[1, 1, 1]);
        let twin = &roster.members[0];
        roster.members[1] =
            Member { address: twin.address.clone(), state: twin.state.clone(), ..member(0, 1) };
        is_by_chance(&counts(&roster, &[roster.picker(1)], 30_000, 0), &[1.0, 1.0, 1.0]);
    }
}
