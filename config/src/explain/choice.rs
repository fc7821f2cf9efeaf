//! The sites and rules that could have been a request's, in the order in which they are asked, and why each of them is or is
//! not.

use std::collections::HashSet;

use super::course::Course;
use super::{List, ListOwner, RuleConsidered, SiteConsidered, SiteVerdict, Unused, Verdict};
use crate::list::RuleList;
use crate::scratch::Scratch;
use crate::snapshot::{Owner, Paths, RouteRequest, Rule, RuleId, Site, Snapshot};

/// The sites under hosts that take the request's, best first.
pub(super) fn sites(snapshot: &Snapshot, request: &RouteRequest<'_>) -> Vec<SiteConsidered> {
    let mut met = false;
    let contenders =
        snapshot.router.hosts().contenders(request.host).into_iter().filter_map(|(host, candidate)| {
            let site = snapshot.site(candidate.site)?;
            let verdict = if !candidate.is_on(request.listener) {
                SiteVerdict::Listener
            } else if !candidate.takes(request.path) {
                SiteVerdict::PathPrefix
            } else if std::mem::replace(&mut met, true) {
                SiteVerdict::Later
            } else {
                SiteVerdict::Met
            };
            Some(SiteConsidered {
                site: site.name.clone(),
                host,
                path_prefix: site.path_prefix.clone(),
                verdict,
            })
        });
    contenders.collect()
}

/// How many sites are not among those that were considered.
pub(super) fn others(snapshot: &Snapshot, considered: &[SiteConsidered]) -> usize {
    let names: HashSet<&str> = considered.iter().map(|considered| &*considered.site).collect();
    snapshot.sites.iter().filter(|site| !names.contains(&*site.name)).count()
}

/// The rule lists of the request's site, in the order in which they are asked.
pub(super) fn lists(snapshot: &Snapshot, course: &Course, request: &RouteRequest<'_>) -> Vec<List> {
    let mut view = View { snapshot, course, request, scratch: snapshot.scratch() };
    let Some((id, site)) = course.site_id().and_then(|id| Some((id, snapshot.site(id)?))) else {
        return vec![view.list(ListOwner::EverySite, None)];
    };
    let project = |id| snapshot.project(id).map_or_else(String::new, |project| project.name.clone());
    let mut owners = vec![(ListOwner::Site(site.name.clone()), None)];
    owners.extend(site.project.map(|id| (ListOwner::Project(project(id)), None)));
    owners
        .extend(site.project_unused.map(|id| (ListOwner::Project(project(id)), Some(Unused::InheritRules))));
    let global = snapshot.router.way(id).is_some_and(|way| way.global);
    owners.push((ListOwner::EverySite, (!global).then_some(Unused::OwnUpstream)));
    owners.extend(site.fallback.map(|_| (ListOwner::OwnUpstream(site.name.clone()), None)));
    owners.into_iter().map(|(of, unused)| view.list(of, unused)).collect()
}

/// The rules of one of the lists of the request's site, in order.
pub(super) fn rules(snapshot: &Snapshot, of: &ListOwner, course: &Course) -> Vec<RuleId> {
    let site = course.site(snapshot);
    match of {
        ListOwner::Site(_) => site.map_or_else(Vec::new, |site| site.rules.clone()),
        ListOwner::OwnUpstream(_) => site.and_then(|site| site.fallback).into_iter().collect(),
        ListOwner::Project(_) => {
            let project = site.and_then(|site: &Site| snapshot.project(site.project?));
            project.map_or_else(Vec::new, |project| project.rules.clone())
        }
        ListOwner::EverySite => {
            let rules = snapshot.rules.iter().zip(0..);
            rules.filter(|(rule, _)| rule.owner == Owner::Everywhere).map(|(_, id)| RuleId(id)).collect()
        }
    }
}

/// One request, looked at from every rule.
struct View<'a> {
    snapshot: &'a Snapshot,
    course: &'a Course,
    request: &'a RouteRequest<'a>,
    scratch: Scratch,
}

impl View<'_> {
    fn list(&mut self, of: ListOwner, unused: Option<Unused>) -> List {
        if unused.is_some() {
            return List { of, unused, rules: Vec::new() };
        }
        let ids = rules(self.snapshot, &of, self.course);
        let matching = self.matching(&of, &ids);
        let considered = ids.iter().zip(1..).filter_map(|(id, number)| {
            let rule = self.snapshot.rule(*id)?;
            Some(considered(rule, number, self.verdict(*id, rule, &matching)))
        });
        let rules = considered.collect();
        List { of, unused, rules }
    }

    /// Those of a list whose paths match.
    fn matching(&mut self, of: &ListOwner, ids: &[RuleId]) -> HashSet<RuleId> {
        let lists = self.snapshot.router.lists();
        let owner = ids.first().and_then(|id| self.snapshot.rule(*id)).map(|rule| rule.owner);
        let list: Option<&RuleList> = match (of, owner) {
            // No table has it: it takes every path.
            (ListOwner::OwnUpstream(_), _) => return ids.iter().copied().collect(),
            (_, Some(Owner::Site(site))) => lists.own.get(site.index()),
            (_, Some(Owner::Project(project))) => lists.projects.get(project.index()),
            (_, Some(Owner::Everywhere)) => Some(&lists.global),
            (_, None) => None,
        };
        let matching = list.map(|list| list.matching(self.request.path, &mut self.scratch.tables));
        matching.into_iter().flatten().collect()
    }

    fn verdict(&self, id: RuleId, rule: &Rule, matching: &HashSet<RuleId>) -> Verdict {
        let is_method = |method: &String| method.as_bytes() == self.request.method;
        if self.course.route.as_ref().is_ok_and(|route| route.rule == id) {
            Verdict::Wins
        } else if !rule.enabled {
            Verdict::Disabled
        } else if !matching.contains(&id) {
            Verdict::Path
        } else if rule.methods.as_ref().is_some_and(|methods| !methods.iter().any(is_method)) {
            Verdict::Method
        } else if self.request.websocket && !rule.ws {
            Verdict::Websocket
        } else {
            Verdict::Later
        }
    }
}

fn considered(rule: &Rule, number: usize, verdict: Verdict) -> RuleConsidered {
    let (path, pattern) = match &rule.paths {
        Paths::Path(path) => (Some(path.clone()), None),
        Paths::Pattern(pattern) => (None, Some(pattern.clone())),
    };
    RuleConsidered {
        number,
        name: rule.name.clone(),
        path,
        pattern,
        methods: rule.methods.clone(),
        ws: rule.ws,
        verdict,
    }
}
