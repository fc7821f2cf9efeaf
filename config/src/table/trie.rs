//! Literal texts as a trie of automaton states. Thousands of texts that begin alike cost one state for each of their
//! first bytes, and making a table of them takes one step for each: with a chain of states for each text, the
//! table's first states consist of as many automaton states as there are texts.

use regex_automata::nfa::thompson::{Builder, Transition};
use regex_automata::util::primitives::StateID;

use super::automaton::Failed;

/// Texts, each with the states that its end leads to.
pub(super) struct Trie {
    /// The first one is the root; a child stands behind its parent.
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    /// By rising byte.
    children: Vec<(u8, usize)>,
    /// Where a text that ends here goes on without a byte more.
    ends: Vec<StateID>,
}

impl Default for Trie {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl Trie {
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.len() == 1 && self.nodes.iter().all(|node| node.ends.is_empty())
    }

    /// Adds a text whose end leads to `end`.
    pub(super) fn add(&mut self, text: &[u8], end: StateID) {
        let mut at = 0;
        for byte in text {
            at = self.child(at, *byte);
        }
        self.nodes[at].ends.push(end);
    }

    fn child(&mut self, at: usize, byte: u8) -> usize {
        let new = self.nodes.len();
        let children = &mut self.nodes[at].children;
        match children.binary_search_by_key(&byte, |(byte, _)| *byte) {
            Ok(place) => children[place].1,
            Err(place) => {
                children.insert(place, (byte, new));
                self.nodes.push(Node::default());
                new
            }
        }
    }

    /// Writes the trie's states, and gives its root.
    ///
    /// # Errors
    /// The builder's limit.
    pub(super) fn write(&self, builder: &mut Builder) -> Result<StateID, Failed> {
        let mut states = vec![StateID::ZERO; self.nodes.len()];
        for (at, node) in self.nodes.iter().enumerate().rev() {
            let transition =
                |(byte, child): &(u8, usize)| Transition { start: *byte, end: *byte, next: states[*child] };
            let mut next = node.ends.clone();
            if !node.children.is_empty() {
                next.push(builder.add_sparse(node.children.iter().map(transition).collect())?);
            }
            states[at] = builder.add_union(next)?;
        }
        Ok(states[0])
    }
}
