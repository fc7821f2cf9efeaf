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
    /// How many states a byte may visit behind this text, once a path has come so far.
    visits: usize,
    /// The text, in bytes.
    depth: usize,
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

    /// Adds a text whose end leads to `end`, behind which a byte may visit so many states.
    pub(super) fn add(&mut self, text: &[u8], end: StateID, visits: usize) {
        let mut at = 0;
        for byte in text {
            at = self.child(at, *byte);
        }
        self.nodes[at].ends.push(end);
        self.nodes[at].visits += visits;
    }

    /// How many states a byte may visit where all texts begin at the path's first byte: they are the beginnings of one
    /// path, and each of them may still be running when the last one has come.
    pub(super) fn visits_of_one(&self) -> usize {
        let mut most = vec![0; self.nodes.len()];
        for (at, node) in self.nodes.iter().enumerate().rev() {
            let below = node.children.iter().map(|(_, child)| most[*child]).max();
            most[at] = node.visits + below.unwrap_or(1);
        }
        most[0]
    }

    /// How many states a byte may visit where texts begin anywhere: one text for each byte of the longest, and everything
    /// that stands behind texts.
    pub(super) fn visits_of_all(&self) -> usize {
        let depth = self.nodes.iter().map(|node| node.depth).max().unwrap_or_default();
        depth + self.nodes.iter().map(|node| node.visits).sum::<usize>()
    }

    fn child(&mut self, at: usize, byte: u8) -> usize {
        let (new, depth) = (self.nodes.len(), self.nodes[at].depth + 1);
        let children = &mut self.nodes[at].children;
        match children.binary_search_by_key(&byte, |(byte, _)| *byte) {
            Ok(place) => children[place].1,
            Err(place) => {
                children.insert(place, (byte, new));
                self.nodes.push(Node { depth, ..Node::default() });
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
