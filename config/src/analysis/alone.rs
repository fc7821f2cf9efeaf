//! What one rule takes of its list's table, as far as that can be told: the states that its paths need in a table of their
//! own.

use std::sync::Arc;

use crate::pattern::{PathPattern, Regex};
use crate::snapshot::{Paths, Rule};
use crate::table::{Meets, Table};

/// A rule that needs more, in bytes, is not looked at.
pub(super) const TABLE_BYTES_MAX: usize = 4 << 20;

impl Rule {
    /// How many states a table of this rule's paths alone has. What rules cost each other in their list's table comes on top,
    /// and what they share is counted for each. `None` for a rule that has no table of its own because it would be too large.
    pub fn states_alone(&self) -> Option<usize> {
        let table = Table::build(&[Arc::new(self.path_pattern()?)], Meets::Path, TABLE_BYTES_MAX);
        table.ok().map(|table| table.states())
    }

    /// Its `path` or `pattern`, read again.
    pub(super) fn path_pattern(&self) -> Option<PathPattern> {
        Some(match &self.paths {
            Paths::Path(path) => PathPattern::parse(path).ok()?,
            Paths::Pattern(pattern) => PathPattern::Regex(Regex::parse(pattern).ok()?.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{Compiler, Source};

    #[test]
    fn a_rule_that_tells_more_apart_has_more_states() {
        let rule = |at: usize, paths: &str| {
            format!("[[rules]]\nname = \"r{at}\"\n{paths}\ntarget = \"http://127.0.0.1:1\"\n")
        };
        let paths =
            ["path = '*'", "path = '/api/*'", "pattern = '^/v[0-9]{40}/'", "pattern = '^/(a|b)*a(a|b){20}$'"];
        let rules: String = paths.iter().enumerate().map(|(at, paths)| rule(at, paths)).collect();
        let text = format!("listeners = [{{ address = \":1\" }}]\n{rules}");
        let compiled = Compiler::new().compile(&Source { name: "t", text: &text }).unwrap();
        let states: Vec<_> = compiled.snapshot.rules.iter().map(|rule| rule.states_alone()).collect();
        assert!(states[0] < states[1] && states[1] < states[2] && states[2] > Some(40), "{states:?}");
        assert_eq!(states[3], None);
    }
}
