//! Public routes that are not as their rule: those that it never meets, and those that take paths which it does not.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::alone::TABLE_BYTES_MAX;
use super::paths::{BYTES, PathState};
use crate::pattern::{PathPattern, Regex};
use crate::public_routes::is_ambiguous;
use crate::snapshot::{Rule, RuleId, Snapshot};
use crate::table::{Meets, State, Table};

/// So many states of one rule and one glob are looked at. Where there are more, nothing is said of the glob.
const STATES_MAX: usize = 1 << 14;

/// The key of public routes for every method.
const ALL: &str = "ALL";

/// A glob with a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StrayGlob {
    pub(crate) rule: RuleId,
    /// The key of its list.
    pub(crate) method: String,
    /// Its place there.
    pub(crate) index: usize,
    pub(crate) fault: GlobFault,
}

/// What is odd about a glob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GlobFault {
    /// The rule does not take its method.
    Method,
    /// The rule takes none of its paths.
    Never,
    /// The rule does not take this one of its paths.
    Wider(String),
}

/// The globs of enabled rules that have a fault.
pub(super) fn stray(snapshot: &Snapshot) -> Vec<StrayGlob> {
    let ids = (0..snapshot.rules.len()).map(|index| RuleId(index as u32));
    let enabled = ids.zip(&snapshot.rules).filter(|(_, rule)| rule.enabled);
    enabled.flat_map(|(id, rule)| of_rule(id, rule)).collect()
}

fn of_rule(id: RuleId, rule: &Rule) -> Vec<StrayGlob> {
    let pattern = if rule.public_routes.is_empty() { None } else { rule.path_pattern().map(Arc::new) };
    let Some(pattern) = pattern else { return Vec::new() };
    let (mut of, mut index, mut stray) = ("", 0, Vec::new());
    for (method, glob) in rule.public_routes.written() {
        index = if method == of { index + 1 } else { 0 };
        of = method;
        let takes_method = method == ALL
            || rule.methods.as_ref().is_none_or(|methods| methods.iter().any(|own| own == method));
        let fault = if takes_method { fault(&pattern, glob) } else { Some(GlobFault::Method) };
        let of_glob = |fault| StrayGlob { rule: id, method: method.to_owned(), index, fault };
        stray.extend(fault.map(of_glob));
    }
    stray
}

/// What is odd about the paths of a glob, if that can be told.
fn fault(rule: &Arc<PathPattern>, glob: &str) -> Option<GlobFault> {
    let glob = PathPattern::Regex(Regex::parse(&regex(glob)).ok()?.into());
    let table = Table::build(&[rule.clone(), Arc::new(glob)], Meets::Path, TABLE_BYTES_MAX).ok()?;
    let mut walk = Walk { table: &table, steps: Vec::new(), seen: HashSet::new() };
    let Ends { both, glob_alone } = walk.run()?;
    if !both {
        return Some(GlobFault::Never);
    }
    let path = glob_alone.filter(|path| !is_ambiguous(path));
    path.map(|path| GlobFault::Wider(String::from_utf8_lossy(&path).into_owned()))
}

/// A glob as a pattern.
fn regex(glob: &str) -> String {
    let mut regex = "^".to_owned();
    let mut rest = glob;
    while let Some(c) = rest.chars().next() {
        let (piece, length) = match c {
            '*' if rest.starts_with("**") => (".*".to_owned(), 2),
            '*' => ("[^/]*".to_owned(), 1),
            '?' => ("[^/]".to_owned(), 1),
            c if c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '%') => (c.to_string(), 1),
            c => (format!("\\x{:02x}", u32::from(c)), c.len_utf8()),
        };
        regex += &piece;
        rest = rest.get(length..).unwrap_or_default();
    }
    regex + "$"
}

/// What paths a rule and a glob take.
#[derive(Default)]
struct Ends {
    /// There is one that both take.
    both: bool,
    /// A shortest one that the glob takes alone.
    glob_alone: Option<Vec<u8>>,
}

/// Breadth-first through the states of the table and the grammar of paths.
struct Walk<'t> {
    table: &'t Table,
    /// Each step by the one before it, and its byte.
    steps: Vec<(usize, u8)>,
    seen: HashSet<(usize, u32)>,
}

impl Walk<'_> {
    /// `None`: there are too many states.
    fn run(&mut self) -> Option<Ends> {
        let mut ends = Ends::default();
        let mut open = VecDeque::from([(self.table.start(), PathState::Start, 0)]);
        // What a step 0 comes from is never asked for.
        self.steps.push((0, 0));
        while let Some((state, path, step)) = open.pop_front() {
            if path.may_end() {
                match self.table.matches(state) {
                    [0, 1] => ends.both = true,
                    [1] if ends.glob_alone.is_none() => ends.glob_alone = Some(self.path_to(step)),
                    _ => {}
                }
            }
            if ends.both && ends.glob_alone.is_some() {
                break;
            }
            for &byte in BYTES {
                open.extend(self.step(state, path, step, byte));
            }
            if self.steps.len() > STATES_MAX {
                return None;
            }
        }
        Some(ends)
    }

    /// Where a byte more leads, if that is new.
    fn step(
        &mut self,
        state: State,
        path: PathState,
        step: usize,
        byte: u8,
    ) -> Option<(State, PathState, usize)> {
        let (path, state) = (path.next(byte)?, self.table.next(state, byte));
        if self.table.is_dead(state) || !self.seen.insert((self.table.number_of(state), path.number())) {
            return None;
        }
        self.steps.push((step, byte));
        Some((state, path, self.steps.len() - 1))
    }

    fn path_to(&self, step: usize) -> Vec<u8> {
        let before = |step: &usize| self.steps.get(*step).map(|(before, _)| *before);
        let steps = std::iter::successors(Some(step), before).take_while(|step| *step > 0);
        let mut bytes: Vec<_> =
            steps.filter_map(|step| self.steps.get(step).map(|(_, byte)| *byte)).collect();
        bytes.reverse();
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &str, glob: &str) -> Option<GlobFault> {
        let pattern = match path.strip_prefix('^') {
            Some(_) => PathPattern::Regex(Regex::parse(path).unwrap().into()),
            None => PathPattern::parse(path).unwrap(),
        };
        fault(&Arc::new(pattern), glob)
    }

    #[test]
    fn globs_within_their_rule_have_no_fault() {
        for (path, glob) in [
            ("*", "/**"),
            ("/*", "**.css"),
            ("/api/*", "/api/health"),
            ("/api/*", "/api/**"),
            ("/api/*", "/api"),
            ("/graphql", "/graphql"),
            ("*.json", "/data/*.json"),
            (r"^/v\d+/", "/v1/**"),
            ("/a+b/*", "/a+b/?.(x)"),
            ("/a%20b/*", "/a%20b/*"),
        ] {
            assert_eq!(told(path, glob), None, "{path} {glob}");
        }
    }

    #[test]
    fn globs_that_their_rule_never_meets() {
        for (path, glob) in [
            ("/api/*", "/static/**"),
            ("/api/*", "/a?"),
            ("/api/*", "/API/**"),
            ("/graphql", "/graphql/*"),
            ("*.json", "/data/*.css"),
            ("^/v[0-9]+$", "/v*/x"),
            ("/a.b/*", "/axb/*"),
        ] {
            assert_eq!(told(path, glob), Some(GlobFault::Never), "{path} {glob}");
        }
    }

    #[test]
    fn globs_that_are_wider_than_their_rule() {
        for (path, glob, wider) in [
            ("/api/*", "/**", "/"),
            ("/api/*", "/api*", "/apia"),
            ("/graphql", "/graphql**", "/graphqla"),
            ("*.json", "/data/*", "/data/"),
            (r"^/v\d+/", "/v*/health", "/v/health"),
        ] {
            assert_eq!(told(path, glob), Some(GlobFault::Wider(wider.to_owned())), "{path} {glob}");
        }
    }
}
