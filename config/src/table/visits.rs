//! How many states of an automaton one byte of a path may visit: what a step costs where no table spares it.

use regex_automata::nfa::thompson::{NFA, State};
use regex_automata::util::primitives::StateID;

/// How many of a state's ranges of bytes take as long to look through as a state takes to visit.
const RANGES_PER_VISIT: usize = 8;

/// The most states of `nfa` that one byte may visit, whatever came before it; 0 when it takes no byte. Every state is
/// taken to be reached already, hence this is a bound, and for a loop that what follows it does not end the truth.
pub(crate) fn visits_per_byte(nfa: &NFA) -> usize {
    let takers: Vec<_> = nfa.states().iter().filter(|state| takes_bytes(state)).collect();
    if takers.is_empty() {
        return 0;
    }
    let mut walk = Walk { nfa, round: 0, seen: vec![0; nfa.states().len()], waiting: Vec::new() };
    let bytes = nfa.byte_classes().representatives(..).filter_map(|unit| unit.as_u8());
    bytes.map(|byte| walk.visits(&takers, byte)).max().unwrap_or_default()
}

fn takes_bytes(state: &State) -> bool {
    matches!(state, State::ByteRange { .. } | State::Sparse(_) | State::Dense(_))
}

/// Walks over an automaton, one for each byte.
struct Walk<'n> {
    nfa: &'n NFA,
    /// The number of this walk, from 1.
    round: u32,
    /// By state: the last walk that came by.
    seen: Vec<u32>,
    waiting: Vec<StateID>,
}

impl Walk<'_> {
    /// What is visited when `byte` comes: all that it leads to without a byte more, and the start, which what may begin
    /// anywhere comes back to.
    fn visits(&mut self, takers: &[&State], byte: u8) -> usize {
        self.round += 1;
        self.waiting.push(self.nfa.start_anchored());
        self.waiting.extend(takers.iter().filter_map(|state| after(state, byte)));
        let mut visits = 0;
        while let Some(id) = self.waiting.pop() {
            if std::mem::replace(&mut self.seen[id.as_usize()], self.round) != self.round {
                visits += self.visit(id);
            }
        }
        visits
    }

    fn visit(&mut self, id: StateID) -> usize {
        match self.nfa.state(id) {
            State::Union { alternates } => self.waiting.extend(alternates.iter()),
            State::BinaryUnion { alt1, alt2 } => self.waiting.extend([*alt1, *alt2]),
            State::Look { next, .. } | State::Capture { next, .. } => self.waiting.push(*next),
            State::Sparse(sparse) => return 1 + sparse.transitions.len() / RANGES_PER_VISIT,
            State::ByteRange { .. } | State::Dense(_) | State::Fail | State::Match { .. } => {}
        }
        1
    }
}

fn after(state: &State, byte: u8) -> Option<StateID> {
    match state {
        State::ByteRange { trans } => trans.matches_byte(byte).then_some(trans.next),
        State::Sparse(sparse) => sparse.matches_byte(byte),
        State::Dense(dense) => dense.matches_byte(byte),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visits(pattern: &str) -> usize {
        visits_per_byte(&NFA::new(pattern).expect(pattern))
    }

    #[test]
    fn what_one_byte_leads_to_is_counted_and_nothing_else() {
        assert_eq!(visits_per_byte(&NFA::always_match()), 0);
        let alone = visits("^/a");
        // Words of which a byte continues one at most, and rounds of which it continues all.
        assert!(visits("^/(?:[a-m]x|[n-z]y)") < 2 * alone + 4);
        assert!((200..220).contains(&visits("^/(?:a|b)*a[ab]{200}$")));
        assert!((400..430).contains(&visits("[a-z]{1,200}x")));
        assert!((200..420).contains(&visits("^/(?:a?){100}b")));
    }
}
