//! What can be proved about rules: where each one wins, or that it never does and what covers it, and which rules hide a part
//! of others. Nothing is tried: the tables that serve requests are walked, over every path that rules can see (of any
//! length), every method and upgrade, and every site under each of its hosts and listeners. What could not be walked to
//! its end is said to be unknown.
//!
//! * `contexts` has which requests come to which lists, `ground` the tables and rules by number, `paths` the grammar of
//!   paths;
//! * `walk` goes through all states and finds the distinct sets of rules that match some path; `matched` tells who wins in
//!   them, and `cover` what is left of those that never do;
//! * `warnings` makes findings of it, for `public` those of rules that lead out of the house, for `globs` those of public routes;
//!   `alone` has what one rule takes.

mod alone;
mod contexts;
mod cover;
mod globs;
mod ground;
mod matched;
mod paths;
mod public;
mod walk;
mod warnings;

use std::fmt;
use std::net::SocketAddr;

use crate::list::RuleList;
use crate::router::Lists;
use crate::snapshot::{Owner, ProjectId, RouteRequest, RuleId, SiteId, Snapshot};
use crate::table::Table;
use ground::Ground;
use matched::{Crossings, Spot};
use walk::Walk;

/// What can be proved about the rules of a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Analysis {
    /// Indexed by [`RuleId`].
    pub rules: Vec<Standing>,
    /// Rules of one list of which the earlier one takes a part of what the later one would take, and was not written as an
    /// exception to it: it has paths that the later one does not match. In the order of the later rules.
    pub overlaps: Vec<Overlap>,
    /// What the tables of each list take.
    pub tables: Vec<ListTables>,
    /// Every state that tables have was visited, and every rule looked at that matches there. Without it no rule is said to
    /// win nowhere, and overlaps may be missing.
    pub complete: bool,
    /// No overlap is missing; some may be, however complete the rest is, where very many rules hide something of others.
    pub overlaps_complete: bool,
    /// Rules for all requests that lead to a public address.
    pub(crate) open_doors: Vec<RuleId>,
    /// Public routes that are not as their rule.
    pub(crate) stray_globs: Vec<globs::StrayGlob>,
}

/// Whether a rule ever wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does, here for example: no path at which it wins is shorter. It is `*` where it wins at no other.
    Wins(Example),
    /// Whatever it takes, one of these rules, which are asked before it, would take, too.
    Covered {
        /// By their ids; one alone where one is enough.
        by: Vec<RuleId>,
    },
    /// No path that comes to its list matches.
    NoPath,
    /// No method that it takes comes as far as a rule.
    NoMethod,
    /// No request comes to its list.
    NoRequest,
    /// It is disabled.
    Disabled,
    /// That is not known: its states are made while paths are matched, or there are too many.
    Unknown,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The identity of the listener that it comes to.
    pub listener: String,
    /// Its host.
    pub host: String,
    /// Its method.
    pub method: String,
    /// It asks for a WebSocket.
    pub websocket: bool,
    /// Its path, or `*` for `OPTIONS *`.
    pub path: String,
}

/// Two rules that take some requests both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The earlier one.
    pub winner: RuleId,
    /// The later one.
    pub loser: RuleId,
    /// What both match and the earlier one gets.
    pub lost: Example,
}

/// What one list takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListTables {
    /// Whose list it is.
    pub owner: Owner,
    /// The tables that it is divided into.
    pub parts: Vec<PartTable>,
}

/// One table of a list. Lists with the same paths share theirs, and each of them has it here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartTable {
    /// How many rules are in it.
    pub rules: usize,
    /// Its states; `None` where they do not say all, or are made while paths are matched.
    pub states: Option<usize>,
    /// What it takes, in bytes; 0 where that belongs to the workers.
    pub bytes: usize,
}

/// What an analysis does at most; beyond it something is not known. All of it takes some seconds.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// The states that are visited.
    states: usize,
    /// The rules that are looked at, each for one method in one set of those that match the same paths.
    takers: usize,
    /// The pairs of rules that are noted for overlaps.
    pairs: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { states: walk::STATES_MAX, takers: matched::TAKERS_MAX, pairs: matched::PAIRS_MAX }
    }
}

impl Analysis {
    /// Walks the tables of a snapshot.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        Self::within(snapshot, Bounds::default())
    }

    fn within(snapshot: &Snapshot, bounds: Bounds) -> Self {
        let ground = Ground::of(snapshot);
        let contexts = contexts::contexts(snapshot);
        let mut walk = Walk::run(snapshot, &ground, &contexts, bounds);
        confirm_uncertain(&mut walk, snapshot);
        let rules = cover::standings(&walk, snapshot);
        let complete = !walk.is_unfinished();
        let Crossings { pairs: overlaps, all } = walk.found.crossings();
        let overlap = |(winner, loser, spot): (RuleId, RuleId, &Spot)| Overlap {
            winner,
            loser,
            lost: example(&walk, spot),
        };
        Self {
            rules,
            overlaps: overlaps.into_iter().map(overlap).collect(),
            tables: tables(snapshot.router.lists()),
            complete,
            overlaps_complete: complete && all,
            open_doors: public::open_doors(snapshot, &ground),
            stray_globs: globs::stray(snapshot),
        }
    }

    /// Whether a rule ever wins; `None` for an id of another snapshot.
    pub fn standing(&self, rule: RuleId) -> Option<&Standing> {
        self.rules.get(rule.index())
    }
}

/// Asks the lists themselves where rules may match that cannot be walked.
fn confirm_uncertain(walk: &mut Walk<'_>, snapshot: &Snapshot) {
    let mut scratch = snapshot.scratch();
    let mut found = std::mem::take(&mut walk.found);
    found.judge_uncertain(walk.ground, |rule, spot| {
        let route = snapshot.route(&example(walk, spot).request(), &mut scratch);
        route.is_ok_and(|route| route.rule == rule)
    });
    walk.found = found;
}

/// The request of a spot.
fn example(walk: &Walk<'_>, spot: &Spot) -> Example {
    let (context, path) = walk.path_to(spot.at);
    Example {
        listener: context.listener.clone().into(),
        host: context.host.clone().into(),
        method: (*spot.class.method).to_owned(),
        websocket: spot.class.websocket,
        path,
    }
}

/// The tables of all lists that are not empty, in the order of sites, then projects.
fn tables(lists: &Lists) -> Vec<ListTables> {
    let sites = lists.own.iter().enumerate().map(|(index, list)| (Owner::Site(SiteId(index as u32)), list));
    let projects = lists
        .projects
        .iter()
        .enumerate()
        .map(|(index, list)| (Owner::Project(ProjectId(index as u32)), list));
    let all = sites.chain(projects).chain([(Owner::Everywhere, &lists.global)]);
    let sizes = |(owner, list): (Owner, &RuleList)| ListTables {
        owner,
        parts: list
            .parts()
            .iter()
            .map(|part| PartTable {
                rules: part.entries().len(),
                states: part.table().map(Table::states),
                bytes: part.memory_bytes(),
            })
            .collect(),
    };
    all.filter(|(_, list)| !list.is_empty()).map(sizes).collect()
}

impl Example {
    /// It as routing sees it.
    pub fn request(&self) -> RouteRequest<'_> {
        RouteRequest {
            listener: &self.listener,
            host: Some(self.host.as_bytes()),
            path: self.path.as_bytes(),
            method: self.method.as_bytes(),
            websocket: self.websocket,
        }
    }
}

/// As a method and a URL: `GET http://example.com:8080/a`. That of `OPTIONS *` has no path.
impl fmt::Display for Example {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listener, host, method, websocket, path } = self;
        let scheme = if *websocket { "ws" } else { "http" };
        write!(out, "{method} {scheme}://{host}")?;
        let port = listener.parse::<SocketAddr>().map_or(80, |address| address.port());
        if port != 80 && port != 0 {
            write!(out, ":{port}")?;
        }
        out.write_str(if path == "*" { "" } else { path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Compiler, Source};

    fn snapshot(rules: &[(&str, &str)]) -> Snapshot {
        let rule = |(name, keys): &(&str, &str)| {
            format!("[[rules]]\nname = \"{name}\"\n{keys}\nrespond = {{ status = 204 }}\n")
        };
        let text = rules.iter().map(rule).collect::<String>() + "[[listeners]]\naddress = \":1\"\n";
        let compiled = Compiler::new().compile(&Source { name: "test.toml", text: &text });
        compiled.expect("a sound file").snapshot
    }

    #[test]
    fn what_was_not_visited_is_not_known() {
        let rules =
            [("short", "path = '/a/*'"), ("covered", "path = '/a/b'"), ("long", "path = '/one/long/path'")];
        let snapshot = snapshot(&rules);
        let few = Analysis::within(&snapshot, Bounds { states: 8, ..Bounds::default() });
        assert!(!few.complete && matches!(few.rules[0], Standing::Wins(_)), "{few:?}");
        assert_eq!(few.rules[1..], [Standing::Unknown, Standing::Unknown]);
        let all = Analysis::within(&snapshot, Bounds { states: 100, ..Bounds::default() });
        assert!(all.complete && matches!(all.rules[2], Standing::Wins(_)), "{all:?}");
        assert_eq!(all.rules[1], Standing::Covered { by: vec![RuleId(0)] });
    }

    /// However far it comes, what it says is what it says without a bound, or that it does not know.
    #[test]
    fn rules_that_were_not_looked_at_are_not_known() {
        let rules = [
            ("get", "path = '/*'\nmethods = ['GET']"),
            ("post", "path = '/*'\nmethods = ['POST', 'PUT']"),
            ("a", "path = '/a/*'\nws = false"),
            ("covered", "path = '/a/b'\nmethods = ['GET', 'PUT']"),
            ("later", "path = '/a/b'"),
        ];
        let snapshot = snapshot(&rules);
        let all = Analysis::of(&snapshot);
        assert!(all.complete && all.overlaps_complete, "{all:?}");
        assert_eq!(all.rules[3], Standing::Covered { by: vec![RuleId(0), RuleId(1)] });
        let enough = (0..).find(|takers| {
            let some = Analysis::within(&snapshot, Bounds { takers: *takers, ..Bounds::default() });
            let known = some.rules.iter().zip(&all.rules).filter(|(some, _)| **some != Standing::Unknown);
            known.for_each(|(some, all)| assert_eq!(some, all, "{takers} takers"));
            assert!(some.complete || some.rules[3] == Standing::Unknown, "{takers} takers: {some:?}");
            some.complete
        });
        assert!(enough.is_some_and(|takers| (20..500).contains(&takers)), "{enough:?}");
    }

    #[test]
    fn overlaps_beyond_the_bound_leave_the_rest_known() {
        let rules = [
            ("a", "path = '/a/*'"),
            ("b", "path = '/a/b'"),
            ("json", "path = '*.json'"),
            ("c", "path = '/c/*'"),
        ];
        let (snapshot, bounds) = (snapshot(&rules), Bounds { pairs: 1, ..Bounds::default() });
        let (few, all) = (Analysis::within(&snapshot, bounds), Analysis::of(&snapshot));
        assert!(all.overlaps_complete && all.overlaps.len() == 2, "{all:?}");
        assert!(few.complete && !few.overlaps_complete && few.overlaps.len() < 2, "{few:?}");
        assert_eq!(few.rules, all.rules);
    }
}
