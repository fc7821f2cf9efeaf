//! Groups: how they begin, and how many a pattern has.

use regex_syntax::hir::{Capture, Hir};

use super::parser::Parser;
use super::{Group, RegexFault};

/// How many groups may stand in one another.
const NESTED_GROUPS_MAX: usize = 50;

/// What the whole pattern has in groups: it decides what `\1` and `\k` mean before they are met.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GroupCount {
    pub(super) captures: usize,
    pub(super) has_names: bool,
}

impl Parser<'_> {
    /// Reads a group, from its `(` to its `)`.
    ///
    /// # Errors
    /// What is wrong with it or in it, and what an automaton cannot run.
    pub(super) fn group(&mut self) -> Result<Hir, RegexFault> {
        let start = self.at;
        if self.depth == NESTED_GROUPS_MAX {
            return Err(RegexFault::new(
                start,
                format!("groups stand in one another at most {NESTED_GROUPS_MAX} deep"),
            ));
        }
        let before = self.ignore_case;
        let captured = self.group_head(start)?;
        self.depth += 1;
        let inside = self.disjunction()?;
        self.depth -= 1;
        self.ignore_case = before;
        if !self.skip(")") {
            let fault = RegexFault::new(start, "this group has no end");
            return Err(fault.help("write `)` behind it, or `\\(` for the character"));
        }
        Ok(match captured {
            None => inside,
            Some(index) => {
                let name = self.groups.get(index as usize - 1).and_then(|group| group.name.clone());
                Hir::capture(Capture { index, name, sub: Box::new(inside) })
            }
        })
    }

    /// Reads how a group begins; gives its number when it captures.
    fn group_head(&mut self, start: usize) -> Result<Option<u32>, RegexFault> {
        self.skip("(");
        let name = match self.rest() {
            rest if !rest.starts_with('?') => None,
            rest if ["?=", "?!", "?<=", "?<!"].iter().any(|look| rest.starts_with(look)) => {
                return Err(look_around(start, rest));
            }
            rest if rest.starts_with("?<") => Some(self.group_name(start)?),
            _ => {
                self.modifiers(start)?;
                return Ok(None);
            }
        };
        self.groups.push(Group { name, unlike_javascript: None });
        Ok(Some(self.groups.len() as u32))
    }

    fn group_name(&mut self, start: usize) -> Result<Box<str>, RegexFault> {
        self.skip("?<");
        let at = self.at;
        let name = self.rest().split_once('>').map(|(name, _)| name);
        let Some(name) = name.filter(|name| is_name(name)) else {
            let fault = RegexFault::new(
                at,
                "a group's name has letters and digits of ASCII, `_` and `$`, and ends with `>`",
            );
            return Err(fault.help("write `(?<name>…)`; a name begins with no digit"));
        };
        if self.groups.iter().any(|group| group.name.as_deref() == Some(name)) {
            let fault = RegexFault::new(start, format!("the name {name:?} is another group's"));
            return Err(fault.help("give each group a name of its own, in different branches, too"));
        }
        self.at += name.len() + 1;
        Ok(name.into())
    }

    /// Reads `?:`, `?i:`, `?i-s:` and the like. `m` and `s` are about line ends, of which paths have none.
    fn modifiers(&mut self, start: usize) -> Result<(), RegexFault> {
        let head = self.rest().strip_prefix('?').and_then(|rest| rest.split_once(':')).map(|(head, _)| head);
        let head = head.filter(|head| are_modifiers(head));
        let Some(head) = head else { return Err(unknown_group(start, self.rest())) };
        let (on, off) = head.split_once('-').unwrap_or((head, ""));
        self.ignore_case = (self.ignore_case || on.contains('i')) && !off.contains('i');
        self.at += head.len() + 2;
        Ok(())
    }
}

fn look_around(start: usize, rest: &str) -> RegexFault {
    let behind = rest.starts_with("?<");
    let way = if behind { "behind" } else { "ahead" };
    let fault = RegexFault::new(start, format!("a pattern cannot look {way}: it runs in linear time"));
    let must_not = rest.starts_with("?!") || rest.starts_with("?<!");
    fault.help(if must_not {
        "put a rule for the paths that it must not take in front of this one: the first that matches wins"
    } else if behind {
        "write what stands before as a part of the pattern, before a group of what a rewrite needs"
    } else {
        "write what follows as a part of the pattern, behind a group of what a rewrite needs"
    })
}

fn unknown_group(start: usize, rest: &str) -> RegexFault {
    let fault = RegexFault::new(start, "JavaScript has no group that begins so");
    if rest.starts_with("?P<") {
        return fault.help("write `(?<name>…)`");
    }
    let flags = rest.strip_prefix('?').and_then(|rest| rest.split_once(')')).map(|(flags, _)| flags);
    match flags.filter(|flags| are_modifiers(flags)) {
        Some(flags) => fault.help(format!("write `(?{flags}:…)` around what it is for")),
        None => fault.help("write `(?:…)` for a group that takes nothing, or `\\(` for the character"),
    }
}

/// Whether this may stand between `(?` and `:`.
fn are_modifiers(head: &str) -> bool {
    let (on, off) = head.split_once('-').map_or((head, None), |(on, off)| (on, Some(off)));
    let letters = || on.chars().chain(off.into_iter().flat_map(str::chars));
    let known = letters().all(|c| matches!(c, 'i' | 'm' | 's'));
    let once = ['i', 'm', 's'].iter().all(|flag| letters().filter(|c| c == flag).count() <= 1);
    known && once && off.is_none_or(|off| !on.is_empty() || !off.is_empty())
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$');
    name.chars().all(fits) && name.starts_with(|c: char| !c.is_ascii_digit())
}

impl GroupCount {
    pub(super) fn of(text: &str) -> Self {
        let mut count = Self::default();
        let mut in_class = false;
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
            match c {
                '\\' => {
                    let mut escaped = rest.chars();
                    escaped.next();
                    rest = escaped.as_str();
                }
                '[' => in_class = true,
                ']' => in_class = false,
                '(' if !in_class => count.add(rest),
                _ => {}
            }
        }
        count
    }

    /// Counts the group whose `(` is before `rest`.
    fn add(&mut self, rest: &str) {
        let is_named = rest.starts_with("?<") && !rest.starts_with("?<=") && !rest.starts_with("?<!");
        self.has_names |= is_named;
        self.captures += usize::from(is_named || !rest.starts_with('?'));
    }
}
