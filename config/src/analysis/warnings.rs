//! Findings of an analysis, each at its rule's place in the file. Rules that take a part of what a more general one behind
//! them matches are written so on purpose, and nothing is said of them.

use std::collections::BTreeSet;

use super::globs::GlobFault;
use super::{Analysis, Overlap, Standing};
use crate::problem::{Finding, Pointer};
use crate::snapshot::{Owner, Paths, Rule, RuleId, Snapshot};

/// How many rules a message names; the others are counted.
const NAMED_MAX: usize = 3;

impl Analysis {
    /// Adds what a writer of rules hardly meant. `places` has the place of each rule, by its id.
    pub(crate) fn warn(&self, snapshot: &Snapshot, places: &[Pointer], findings: &mut Vec<Finding>) {
        let warnings = Warnings { analysis: self, snapshot, places };
        findings.extend(warnings.without_use());
        findings.extend(warnings.without_requests());
        findings.extend(warnings.partly_hidden());
        findings.extend(warnings.open_doors());
        findings.extend(warnings.stray_globs());
        if !self.complete {
            let message = "the rules have more states or methods together than are looked at: which of them never win is not known";
            findings.push(Finding::warning(Pointer::default(), message));
        } else if !self.overlaps_complete {
            let message =
                "more rules hide a part of others than are noted: not all that are partly hidden are named";
            findings.push(Finding::warning(Pointer::default(), message));
        }
    }
}

struct Warnings<'a> {
    analysis: &'a Analysis,
    snapshot: &'a Snapshot,
    places: &'a [Pointer],
}

impl Warnings<'_> {
    fn without_use(&self) -> impl Iterator<Item = Finding> {
        let standings = self.analysis.rules.iter().zip(&self.snapshot.rules).enumerate();
        standings.filter_map(|(index, (standing, rule))| {
            let id = RuleId(index as u32);
            match standing {
                Standing::Covered { by } => Some(self.covered(id, rule, by)),
                Standing::NoPath => Some(self.no_path(id, rule)),
                Standing::NoMethod => Some(self.no_method(id)),
                _ => None,
            }
        })
    }

    fn covered(&self, id: RuleId, rule: &Rule, by: &[RuleId]) -> Finding {
        let names = self.names(by, rule.owner);
        let message = format!(
            "this rule never wins: {names} before it already cover{} all of it",
            if by.len() == 1 { "s" } else { "" }
        );
        Finding::warning(self.place(id), message).help("move it up, or remove it")
    }

    fn no_path(&self, id: RuleId, rule: &Rule) -> Finding {
        let finding =
            Finding::warning(self.place(id), "this rule never wins: it matches no path that comes to it");
        match rule.owner {
            Owner::Site(site) => match self.snapshot.site(site).map(|site| &*site.path_prefix) {
                None | Some("") => finding,
                Some(prefix) => finding.help(format!(
                    "the paths of this site begin with \"{prefix}\", and rules match them whole"
                )),
            },
            Owner::Project(_) | Owner::Everywhere => finding,
        }
    }

    fn no_method(&self, id: RuleId) -> Finding {
        let at = self.places.get(id.index()).cloned().unwrap_or_default().key("methods");
        let finding = Finding::warning(at, "this rule never wins: the methods that it takes get 405");
        finding.help("TRACE comes to rules with allow_trace = true in [server], CONNECT never does")
    }

    /// Lists to which no request comes, each once.
    fn without_requests(&self) -> impl Iterator<Item = Finding> {
        let rules = self.analysis.rules.iter().zip(&self.snapshot.rules);
        let owners: BTreeSet<Owner> = rules
            .filter(|(standing, _)| **standing == Standing::NoRequest)
            .map(|(_, rule)| rule.owner)
            .collect();
        owners.into_iter().map(|owner| {
            let whole = Pointer::default();
            let (at, message) = match owner {
                Owner::Site(site) => {
                    (whole.key("sites").index(site.index()), "no request comes to the rules of this site")
                }
                Owner::Project(project) => {
                    (whole.key("projects").index(project.index()), "no site uses the rules of this project")
                }
                Owner::Everywhere => (whole, "no request comes to the rules for every site"),
            };
            let at = if owner == Owner::Everywhere { at.key("rules") } else { at.key("name") };
            Finding::warning(at, message)
        })
    }

    /// One finding for each rule of which earlier ones take a part, however many they are.
    fn partly_hidden(&self) -> impl Iterator<Item = Finding> {
        self.analysis.overlaps.chunk_by(|one, other| one.loser == other.loser).filter_map(|overlaps| {
            let Overlap { winner, loser, lost } = overlaps.first()?;
            let Some(Standing::Wins(wins)) = self.analysis.standing(*loser) else { return None };
            let owner = self.snapshot.rule(*loser)?.owner;
            let winner = self.names(&[*winner], owner);
            let more = match overlaps.len() - 1 {
                0 => String::new(),
                1 => ", and one more rule takes a part".to_owned(),
                more => format!(", and {more} more rules take a part"),
            };
            let message =
                format!("this rule is partly hidden: {winner} is asked before it and takes {lost}{more}");
            let help = format!("it takes {wins}; put it first if it should take both");
            Some(Finding::warning(self.place(*loser), message).help(help))
        })
    }

    fn open_doors(&self) -> impl Iterator<Item = Finding> {
        self.analysis.open_doors.iter().map(|rule| {
            let message = "this rule sends every path and method to a public address";
            let finding = Finding::warning(self.place(*rule), message);
            finding.help("name the paths or methods that are meant: whoever reaches the proxy reaches what is behind it")
        })
    }

    fn stray_globs(&self) -> impl Iterator<Item = Finding> {
        self.analysis.stray_globs.iter().map(|stray| {
            let place = self.places.get(stray.rule.index()).cloned().unwrap_or_default();
            let at = place.key("public_routes").key(&stray.method).index(stray.index);
            match &stray.fault {
                GlobFault::Method => Finding::warning(
                    at,
                    format!("this makes nothing public: the rule takes no {}", stray.method),
                ),
                GlobFault::Never => {
                    Finding::warning(at, "this makes nothing public: the rule takes no such path")
                        .help("public routes are over the whole path, as the rule matches it")
                }
                GlobFault::Wider(path) => {
                    let message = format!("this is wider than its rule, which does not take {path}");
                    Finding::warning(at, message).help(
                        "it opens what this rule takes, and nothing else: name the paths that are meant",
                    )
                }
            }
        })
    }

    /// Where a rule says what paths it takes.
    fn place(&self, id: RuleId) -> Pointer {
        let place = self.places.get(id.index()).cloned().unwrap_or_default();
        match self.snapshot.rule(id).map(|rule| (&*rule.name, &rule.paths)) {
            None | Some((Rule::OWN_UPSTREAM, _)) => place,
            Some((_, Paths::Path(_))) => place.key("path"),
            Some((_, Paths::Pattern(_))) => place.key("pattern"),
        }
    }

    /// Names for a message about a rule of `owner`: its neighbours by their names alone.
    fn names(&self, rules: &[RuleId], owner: Owner) -> String {
        let name = |rule: &Rule| match rule.owner {
            _ if rule.owner == owner => format!("{:?}", rule.name),
            other => format!("{:?} of {}", rule.name, self.owner(other)),
        };
        let named = rules.iter().filter_map(|rule| self.snapshot.rule(*rule)).take(NAMED_MAX);
        let mut names: Vec<_> = named.map(|rule| name(rule)).collect();
        match rules.len().saturating_sub(NAMED_MAX) {
            0 => {}
            1 => names.push("one more".to_owned()),
            more => names.push(format!("{more} more")),
        }
        match names.split_last() {
            None => "earlier rules".to_owned(),
            Some((last, [])) => last.clone(),
            Some((last, before)) => format!("{} and {last}", before.join(", ")),
        }
    }

    fn owner(&self, owner: Owner) -> String {
        match owner {
            Owner::Site(site) => {
                format!("site {:?}", self.snapshot.site(site).map_or("", |site| &*site.name))
            }
            Owner::Project(project) => {
                format!("project {:?}", self.snapshot.project(project).map_or("", |project| &*project.name))
            }
            Owner::Everywhere => "the rules for every site".to_owned(),
        }
    }
}
