//! The rules of a configuration, list by list, each with a shortest request that it wins, or why there is none; and which
//! of them hide a part of others.

use std::fmt;

use ringway_config::{
    Analysis, ListTables, Overlap, Owner, PartTable, ProjectId, Rule, RuleId, SiteId, Snapshot, Standing,
};

/// A column is at most so wide, in characters; what is longer moves the rest of its line.
const COLUMN_CHARS_MAX: usize = 40;

/// How many overlaps of one list are told; the others are counted.
const OVERLAPS_TOLD_MAX: usize = 1_000;

/// Tells how the rules of a snapshot stand.
pub(crate) struct Standings<'a> {
    snapshot: &'a Snapshot,
    analysis: &'a Analysis,
}

/// One list under its title.
struct List {
    owner: Owner,
    title: String,
    rules: Vec<RuleId>,
}

impl<'a> Standings<'a> {
    /// `analysis` is that of `snapshot`.
    pub(crate) fn new(snapshot: &'a Snapshot, analysis: &'a Analysis) -> Self {
        Self { snapshot, analysis }
    }

    /// A rule's columns: its name, what it takes, how it stands and what its paths alone need.
    fn row(&self, id: RuleId) -> Option<[String; 3]> {
        let rule = self.snapshot.rule(id)?;
        let standing = self.standing(self.analysis.standing(id)?);
        // What is in no table takes none.
        let tabled = rule.enabled && !rule.is_fallback();
        let alone = if tabled { format!("  ({})", alone(rule)) } else { String::new() };
        Some([rule.name.clone(), taken(rule), standing + &alone])
    }

    fn standing(&self, standing: &Standing) -> String {
        match standing {
            Standing::Wins(example) => example.to_string(),
            Standing::Covered { by } => {
                let rules = by.iter().filter_map(|rule| self.snapshot.rule(*rule));
                let names: Vec<_> = rules.map(|rule| format!("{:?}", rule.name)).collect();
                format!("never wins: covered by {}", names.join(", "))
            }
            Standing::NoPath => "never wins: it matches no path that comes to it".to_owned(),
            Standing::NoMethod => "never wins: the methods that it takes get 405".to_owned(),
            Standing::NoRequest => "never wins: no request comes to this list".to_owned(),
            Standing::Disabled => "disabled".to_owned(),
            Standing::Unknown => {
                "not known: its list has more states or methods than are looked at".to_owned()
            }
        }
    }
}

/// What a rule's paths need in a table of their own.
fn alone(rule: &Rule) -> String {
    match rule.states_alone() {
        Some(states) => format!("{states} states alone"),
        None => "too large for a table alone".to_owned(),
    }
}

/// What a rule takes, as it is written.
fn taken(rule: &Rule) -> String {
    let methods = rule.methods.as_ref().map(|methods| methods.join(","));
    let ws = (!rule.ws).then(|| "no ws".to_owned());
    let parts = [methods, Some(rule.paths.written().to_owned()), ws];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Standings<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for list in lists(self.snapshot) {
            writeln!(out, "{}", list.title)?;
            let rows: Vec<_> = list.rules.iter().filter_map(|rule| self.row(*rule)).collect();
            let width = |column: fn(&[String; 3]) -> &String| {
                let widths = rows.iter().map(|row| column(row).chars().count());
                widths.max().unwrap_or_default().min(COLUMN_CHARS_MAX)
            };
            let (names, taken) = (width(|[name, _, _]| name), width(|[_, taken, _]| taken));
            for [name, what, standing] in &rows {
                writeln!(out, "  {name:names$}  {what:taken$}  {standing}")?;
            }
            let tables = self.analysis.tables.iter().find(|tables| tables.owner == list.owner);
            tables.map_or(Ok(()), |tables| writeln!(out, "  {}", Tables(tables)))?;
            writeln!(out)?;
        }
        Ok(())
    }
}

/// Tells which rules of a snapshot hide a part of others, with a request of each side.
pub(crate) struct Overlaps<'a> {
    snapshot: &'a Snapshot,
    analysis: &'a Analysis,
}

impl<'a> Overlaps<'a> {
    /// `analysis` is that of `snapshot`.
    pub(crate) fn new(snapshot: &'a Snapshot, analysis: &'a Analysis) -> Self {
        Self { snapshot, analysis }
    }

    /// The overlaps of a list, in the order of their later rules.
    fn of(&self, owner: Owner) -> impl Iterator<Item = &'a Overlap> {
        let is_own = move |overlap: &&Overlap| {
            self.snapshot.rule(overlap.loser).is_some_and(|rule| rule.owner == owner)
        };
        self.analysis.overlaps.iter().filter(is_own)
    }

    fn write(&self, out: &mut fmt::Formatter<'_>, overlap: &Overlap) -> fmt::Result {
        let name = |rule| self.snapshot.rule(rule).map_or("", |rule| &*rule.name);
        let Overlap { winner, loser, lost } = overlap;
        write!(out, "  {:?} takes {lost} before {:?}", name(*winner), name(*loser))?;
        match self.analysis.standing(*loser) {
            Some(Standing::Wins(left)) => writeln!(out, ", which is left {left}"),
            _ => writeln!(out),
        }
    }
}

impl fmt::Display for Overlaps<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for list in lists(self.snapshot) {
            let count = self.of(list.owner).count();
            if count == 0 {
                continue;
            }
            writeln!(out, "overlaps of {}", list.title)?;
            self.of(list.owner).take(OVERLAPS_TOLD_MAX).try_for_each(|overlap| self.write(out, overlap))?;
            match count.saturating_sub(OVERLAPS_TOLD_MAX) {
                0 => {}
                more => writeln!(out, "  and {more} more")?,
            }
            writeln!(out)?;
        }
        match self.analysis.overlaps_complete {
            true => Ok(()),
            false => writeln!(out, "not all overlaps are known: there are more than are noted\n"),
        }
    }
}

/// The lists that have rules: the sites', the projects', and the site-less one.
fn lists(snapshot: &Snapshot) -> impl Iterator<Item = List> {
    let site_less = snapshot.rules.iter().zip(0..).filter(|(rule, _)| rule.owner == Owner::Everywhere);
    let sites = snapshot.sites.iter().zip(0..).map(|(site, index)| List {
        owner: Owner::Site(SiteId(index)),
        title: format!("site {:?} ({})", site.name, site.hosts.join(", ")),
        rules: site.rules.iter().copied().chain(site.fallback).collect(),
    });
    let projects = snapshot.projects.iter().zip(0..).map(|(project, index)| List {
        owner: Owner::Project(ProjectId(index)),
        title: format!("project {:?}", project.name),
        rules: project.rules.clone(),
    });
    let everywhere = std::iter::once_with(|| List {
        owner: Owner::Everywhere,
        title: "rules for every site".to_owned(),
        rules: site_less.map(|(_, index)| RuleId(index)).collect(),
    });
    sites.chain(projects).chain(everywhere).filter(|list| !list.rules.is_empty())
}

/// What a list's tables take.
struct Tables<'a>(&'a ListTables);

impl fmt::Display for Tables<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.0.parts.len() == 1 { "table: " } else { "tables: " })?;
        for (index, part) in self.0.parts.iter().enumerate() {
            let PartTable { rules, states, bytes } = part;
            let plural = if *rules == 1 { "" } else { "s" };
            write!(out, "{}{rules} rule{plural}", if index == 0 { "" } else { "; " })?;
            match states {
                Some(states) => write!(out, " in {states} states, {bytes} bytes")?,
                None if *bytes > 0 => write!(out, " that are looked for along the path, {bytes} bytes")?,
                None => write!(out, " whose states are made while paths are matched")?,
            }
        }
        Ok(())
    }
}
