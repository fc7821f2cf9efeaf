//! An explanation as text for a terminal, at most about 100 columns wide where nothing is lost by it. Of long lists it shows
//! what is near to the decision and counts the rest.

mod access;

use std::fmt::{self, Write};

use ringway_config::{
    Author, BackendMet, EgressMet, Explanation, FieldChange, Forwarded, Group, Limit, List, ListOwner,
    Outcome, Retries, RuleConsidered, SiteConsidered, SiteVerdict, Timeout, Unused, Verdict, Winner,
};

/// Lists of so many rules or sites are shown as a whole.
const SHORT_LIST: usize = 20;
/// How many rules before and behind the winner a long list shows.
const AROUND: usize = 2;
/// How many rules whose path matches, but that do not win, a long list shows.
const NEAR_SHOWN: usize = 10;

/// The widths of columns, in characters.
const NAME_WIDTH: usize = 18;
const PATH_WIDTH: usize = 34;
const WANTS_WIDTH: usize = 14;

/// Writes an explanation; `all` shows every rule of long lists.
pub(super) fn of(explanation: &Explanation, all: bool) -> String {
    let mut text = String::new();
    block(&mut text, "request", request(explanation));
    let listener = &explanation.listener;
    let alias =
        if listener.name == listener.address { String::new() } else { format!(" ({})", listener.address) };
    block(&mut text, "listener", [format!("{}{alias}", listener.name)]);
    block(&mut text, "site", sites(explanation, all));
    for list in &explanation.lists {
        text += "\n";
        write_list(&mut text, list, all);
    }
    text += "\n";
    if let Some(won) = &explanation.winner {
        block(&mut text, "winner", winner(won));
        block(&mut text, "groups", won.groups.iter().map(group));
    }
    if let Some(met) = &explanation.access {
        access::write(&mut text, met, matches!(explanation.outcome, Outcome::Forwarded(_)));
    }
    write_outcome(&mut text, &explanation.outcome, &explanation.request.method);
    text
}

/// Lines under one label; nothing without lines.
fn block(text: &mut String, label: &str, lines: impl IntoIterator<Item = String>) {
    for (index, line) in lines.into_iter().enumerate() {
        let label = if index == 0 { label } else { "" };
        *text += format!("{label:<10} {}", Clean(&line)).trim_end();
        *text += "\n";
    }
}

fn request(explanation: &Explanation) -> Vec<String> {
    let request = &explanation.request;
    let query = request.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
    let upgrade = if request.websocket { ", asking for a WebSocket" } else { "" };
    let mut lines = vec![format!("{} {}{query} of {}{upgrade}", request.method, request.path, request.host)];
    lines.extend(request.path_as_sent.as_ref().map(|path| format!("its path came as {path}")));
    lines
}

/// The site and why, and those that were passed over.
fn sites(explanation: &Explanation, all: bool) -> Vec<String> {
    let is_met = |considered: &&SiteConsidered| considered.verdict == SiteVerdict::Met;
    let mut lines = vec![match explanation.sites.iter().find(is_met) {
        Some(considered) => site_met(considered, explanation.tenant.as_deref()),
        None => "none".to_owned(),
    }];
    let others: Vec<_> = explanation.sites.iter().filter(|considered| !is_met(considered)).collect();
    let shown = if all { others.len() } else { others.len().min(SHORT_LIST) };
    lines.extend(others.iter().take(shown).map(|considered| site_passed_over(considered)));
    if others.len() > shown {
        lines.push(format!("… {} of its host", count(others.len() - shown, "more site")));
    }
    if explanation.sites_with_other_hosts > 0 {
        lines.push(format!("{} of other hosts", count(explanation.sites_with_other_hosts, "site")));
    }
    lines
}

fn site_met(considered: &SiteConsidered, tenant: Option<&str>) -> String {
    let SiteConsidered { site, host, path_prefix, .. } = considered;
    let by_host = match (&**host, tenant) {
        ("*", _) => "its host * takes every host".to_owned(),
        (host, Some(tenant)) => format!("its host {host} takes this one, tenant {tenant:?}"),
        (host, None) if host.starts_with("*.") => format!("its host {host} takes this one"),
        (host, None) => format!("its host is {host}"),
    };
    let by_prefix =
        if path_prefix.is_empty() { String::new() } else { format!(", its paths begin with {path_prefix}") };
    format!("{site}: {by_host}{by_prefix}")
}

fn site_passed_over(considered: &SiteConsidered) -> String {
    let SiteConsidered { site, host, path_prefix, verdict } = considered;
    let why = match verdict {
        SiteVerdict::Met => "met".to_owned(),
        SiteVerdict::Listener => "it is not on this listener".to_owned(),
        SiteVerdict::PathPrefix => format!("the path is not under {path_prefix}"),
        SiteVerdict::Later => "it fits less exactly".to_owned(),
    };
    format!("not {site} ({host}{path_prefix}): {why}")
}

fn write_list(text: &mut String, list: &List, all: bool) {
    let unused = match list.unused {
        None if list.rules.is_empty() => ": there are none",
        None => "",
        Some(Unused::InheritRules) => ": not asked, since the site has inherit_rules = false",
        Some(Unused::OwnUpstream) => {
            ": not asked, since the site has an upstream of its own and not inherit_global"
        }
    };
    let heading = match &list.of {
        ListOwner::OwnUpstream(_) => list.of.to_string(),
        ListOwner::Site(_) | ListOwner::Project(_) | ListOwner::EverySite => format!("rules of {}", list.of),
    };
    *text += &format!("{}{unused}\n", Clean(&heading));
    let columns = Columns::of(&list.rules);
    for row in rows(&list.rules, all) {
        match row {
            Row::Rule(rule) => *text += &columns.row(rule),
            Row::Left(rules) => *text += &format!("     … {}\n", left(rules)),
        }
    }
}

/// A line of a list.
enum Row<'a> {
    Rule(&'a RuleConsidered),
    /// Rules that are only counted; at least one.
    Left(&'a [RuleConsidered]),
}

fn rows(rules: &[RuleConsidered], all: bool) -> Vec<Row<'_>> {
    let winner = rules.iter().position(|rule| rule.verdict == Verdict::Wins);
    let mut near = 0;
    let shown: Vec<bool> = (0..)
        .zip(rules)
        .map(|(index, rule): (usize, _)| {
            near +=
                usize::from(matches!(rule.verdict, Verdict::Method | Verdict::Websocket | Verdict::Later));
            let is_near = !matches!(rule.verdict, Verdict::Path | Verdict::Disabled) && near <= NEAR_SHOWN;
            let around = winner.is_some_and(|winner| index.abs_diff(winner) <= AROUND);
            all || rules.len() <= SHORT_LIST || is_near || around
        })
        .collect();
    let mut rows = Vec::new();
    let mut at = 0;
    for run in shown.chunk_by(PartialEq::eq) {
        let run_rules = rules.get(at..at + run.len()).unwrap_or_default();
        at += run.len();
        match run.first() {
            Some(true) => rows.extend(run_rules.iter().map(Row::Rule)),
            _ => rows.push(Row::Left(run_rules)),
        }
    }
    rows
}

/// How many rules were left out, by their verdicts.
fn left(rules: &[RuleConsidered]) -> String {
    let kinds = [
        (Verdict::Path, "whose path does not match"),
        (Verdict::Disabled, "disabled"),
        (Verdict::Method, "not for this method"),
        (Verdict::Websocket, "without WebSocket"),
        (Verdict::Later, "that would come later"),
    ];
    let counts = kinds.into_iter().filter_map(|(verdict, what)| {
        let number = rules.iter().filter(|rule| rule.verdict == verdict).count();
        (number > 0).then(|| format!("{} {what}", count(number, "rule")))
    });
    counts.collect::<Vec<_>>().join(", ")
}

fn why(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Wins => "wins",
        Verdict::Disabled => "disabled",
        Verdict::Path => "path does not match",
        Verdict::Method => "not for this method",
        Verdict::Websocket => "takes no WebSocket",
        Verdict::Later => "comes later",
    }
}

/// The widths of a list's columns: as wide as they must be, and no wider than they may be.
struct Columns {
    number: usize,
    name: usize,
    path: usize,
    wants: usize,
}

impl Columns {
    fn of(rules: &[RuleConsidered]) -> Self {
        let widest = |most: usize, of: &dyn Fn(&RuleConsidered) -> String| {
            rules.iter().map(|rule| cut(&of(rule), most).chars().count()).max().unwrap_or(0)
        };
        Self {
            number: rules.len().to_string().len(),
            name: widest(NAME_WIDTH, &|rule| rule.name.clone()),
            path: widest(PATH_WIDTH, &paths),
            wants: widest(WANTS_WIDTH, &wants),
        }
    }

    fn row(&self, rule: &RuleConsidered) -> String {
        let mark = if rule.verdict == Verdict::Wins { "=>" } else { "" };
        let mut row = format!("  {mark:<2} {:>1$}", rule.number, self.number);
        let columns = [(&rule.name, self.name), (&paths(rule), self.path), (&wants(rule), self.wants)];
        for (text, width) in columns.into_iter().filter(|(_, width)| *width > 0) {
            row += &format!("  {:<width$}", cut(text, width));
        }
        format!("{row}  {}\n", why(rule.verdict))
    }
}

fn paths(rule: &RuleConsidered) -> String {
    rule.path.clone().or_else(|| rule.pattern.clone()).unwrap_or_default()
}

/// What a rule wants of a request besides its path.
fn wants(rule: &RuleConsidered) -> String {
    let methods = rule.methods.as_ref().map(|methods| methods.join(" "));
    let upgrade = (!rule.ws).then(|| "no ws".to_owned());
    methods.into_iter().chain(upgrade).collect::<Vec<_>>().join(", ")
}

fn winner(winner: &Winner) -> Vec<String> {
    let mut lines = vec![match &winner.list {
        ListOwner::OwnUpstream(_) => winner.list.to_string(),
        list => format!("{}, rule {} of {list}", winner.name, winner.number),
    }];
    lines.extend(winner.description.lines().map(str::to_owned));
    lines
}

fn group(group: &Group) -> String {
    let name = group.name.as_ref().map_or_else(String::new, |name| format!(" ${{{name}}}"));
    match &group.text {
        Some(text) => format!("${}{name} = {text:?}", group.number),
        None => format!("${}{name} took no part", group.number),
    }
}

fn write_outcome(text: &mut String, outcome: &Outcome, method: &str) {
    match outcome {
        Outcome::Forwarded(forwarded) => write_forwarded(text, forwarded, method),
        Outcome::Redirected { status, location, response_fields } => {
            block(text, "answer", [format!("{status}, Location: {location}")]);
            block(text, "response", response_fields.iter().map(field));
        }
        Outcome::Responded { status, body_bytes, response_fields } => {
            block(text, "answer", [format!("{status}, with a body of {}", count(*body_bytes, "byte"))]);
            block(text, "response", response_fields.iter().map(field));
        }
        Outcome::File { folder, path, response_fields } => {
            block(text, "answer", [format!("the file {path} below {folder}")]);
            block(text, "response", response_fields.iter().map(field));
        }
        Outcome::Refused { status, code, reason } => {
            block(text, "answer", [format!("{status} {code}: {reason}")]);
        }
    }
}

fn write_forwarded(text: &mut String, forwarded: &Forwarded, method: &str) {
    block(text, "sent", [format!("{method} {}", forwarded.target)]);
    block(text, "Host", [host(forwarded)]);
    write_upstream(text, forwarded);
    block(text, "egress", egress(&forwarded.egress));
    let own = forwarded.own_fields.join(", ");
    block(text, "sets", Some(own).filter(|own| !own.is_empty()));
    block(text, "", forwarded.request_id_field.as_ref().map(|name| format!("{name}: the request's id")));
    block(text, "request", forwarded.request_fields.iter().map(field));
    block(text, "response", forwarded.response_fields.iter().map(field));
    block(text, "timeouts", forwarded.timeouts.iter().map(timeout));
    block(text, "body", forwarded.max_request_body_bytes.map(body));
    block(text, "retries", retries(&forwarded.retries));
    block(text, "limits", forwarded.limits.iter().flat_map(limit));
}

/// The upstream of a target is its one backend, and has nothing to choose.
fn write_upstream(text: &mut String, forwarded: &Forwarded) {
    let Forwarded { upstream, strategy, backends, .. } = forwarded;
    if backends.iter().all(|backend| backend.url == *upstream) {
        block(text, "upstream", [upstream.clone()]);
        return;
    }
    block(text, "upstream", [format!("{upstream}: {strategy}")]);
    block(text, "", backends.iter().map(backend));
}

/// Where addresses may be, where the file says something.
fn egress(egress: &EgressMet) -> Option<String> {
    match (egress.policy, &*egress.allow) {
        ("any", []) => None,
        (policy, []) => Some(policy.to_owned()),
        (policy, allow) => Some(format!("{policy}, and {}", allow.join(", "))),
    }
}

fn host(forwarded: &Forwarded) -> String {
    match (&forwarded.host, &*forwarded.backends) {
        (Some(host), _) => host.clone(),
        (None, [backend]) => format!("{}  (the backend's own)", backend.authority),
        (None, _) => "the backend's own".to_owned(),
    }
}

fn backend(backend: &BackendMet) -> String {
    let BackendMet { url, weight, backup, unset, .. } = backend;
    let weight = if *weight == 1 { String::new() } else { format!(", weight {weight}") };
    let backup = if *backup { ", backup" } else { "" };
    let unset = if *unset { ": down, since a variable is not set" } else { "" };
    format!("{url}{weight}{backup}{unset}")
}

fn field(change: &FieldChange) -> String {
    let overridden = if change.overridden { ", changed again below" } else { "" };
    let by = author(change.by);
    match &change.value {
        Some(value) => format!("set    {}: {value}  ({by}{overridden})", change.name),
        None => format!("remove {}  ({by}{overridden})", change.name),
    }
}

fn author(author: Author) -> &'static str {
    match author {
        Author::Site => "site",
        Author::Upstream => "upstream",
        Author::Rule => "rule",
    }
}

fn timeout(timeout: &Timeout) -> String {
    let Timeout { name, value_ms, by } = timeout;
    format!("{name} = {}  ({})", time(*value_ms), author(*by))
}

fn time(milliseconds: u64) -> String {
    match milliseconds % 1000 {
        0 => format!("{}s", milliseconds / 1000),
        _ => format!("{milliseconds}ms"),
    }
}

/// What is not the default.
fn retries(retries: &Retries) -> Option<String> {
    let by = author(retries.by?);
    Some(match retries.count {
        0 => format!("none  ({by})"),
        count => format!("at most {count}  ({by})"),
    })
}

/// How many run, and how many wait for that or for a backend.
fn limit(limit: &Limit) -> Vec<String> {
    let Limit { max_active, max_queued, queue_timeout_ms, count_tunnels, .. } = limit;
    let by = author(limit.of);
    let wait = |more: &str| match max_queued {
        0 => "none waits".to_owned(),
        count => format!("{count}{more} wait for {} at most", time(*queue_timeout_ms)),
    };
    let tunnels = if *count_tunnels { ", tunnels too" } else { "" };
    let running = || format!("at most {max_active} run{tunnels}, {}  ({by})", wait(" more"));
    let without_backend = || format!("without a backend {}  ({by})", wait(""));
    let lines = [(*max_active > 0).then(running), limit.waits_for_backend.then(without_backend)];
    lines.into_iter().flatten().collect()
}

fn body(bytes: u64) -> String {
    match bytes {
        0 => "of any length  (rule)".to_owned(),
        bytes => format!("at most {bytes} bytes  (rule)"),
    }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The first `most` characters of a longer text, their last one an ellipsis; without control characters.
fn cut(text: &str, most: usize) -> String {
    let text = Clean(text).to_string();
    if text.chars().count() <= most {
        return text;
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// A text whose control characters are shown and not done.
struct Clean<'a>(&'a str);

impl fmt::Display for Clean<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            character if character.is_control() => write!(out, "{}", character.escape_default()),
            character => out.write_char(character),
        })
    }
}

#[cfg(test)]
mod tests {
    use ringway_config::{Compiler, Question, Source};

    const BUSY: &str = r#"
listeners = [{ address = "127.0.0.1:8080" }]
[[upstreams]]
name = "app"
strategy = "least_connections"
backends = [{ url = "http://a", weight = 3 }, { url = "unix:/b", backup = true }]
retries = 1
max_active = 10
queue_timeout = "1500ms"
on_no_backend = "wait"
timeouts = { connect = "1s" }
[[upstreams]]
name = "alone"
backends = [{ url = "http://c" }]
on_no_backend = "wait"
[[sites]]
name = "busy"
hosts = ["busy.test"]
upstream = "app"
max_active = 5
max_queued = 0
count_tunnels = true
timeouts = { tunnel_idle = "6s" }
rules = [{ name = "once", path = "/once", target = "http://d", retries = 0, timeout = "2s" }]
[[rules]]
name = "alone"
path = "/*"
upstream = "alone"
"#;

    /// What is told of the request from its upstream on.
    fn told(url: &str) -> String {
        let compiled = Compiler::new().compile(&Source { name: "test.toml", text: BUSY }).unwrap();
        let question = Question { url, method: "GET", websocket: false, listener: None };
        let told = super::of(&compiled.snapshot.explain(&question).unwrap(), false);
        told.lines()
            .skip_while(|line| !line.starts_with("upstream"))
            .filter(|line| !line.starts_with("sets"))
            .map(|line| format!("{line}\n"))
            .collect()
    }

    #[test]
    fn upstreams_are_told_with_what_is_not_the_default() {
        let of_site = "at most 5 run, tunnels too, none waits  (site)";
        let expected = format!(
            "upstream   app: least_connections
           http://a:80, weight 3
           unix:/b, backup
timeouts   connect = 1s  (upstream)
           tunnel_idle = 6s  (site)
retries    at most 1  (upstream)
limits     {of_site}
           at most 10 run, 100 more wait for 1500ms at most  (upstream)
           without a backend 100 wait for 1500ms at most  (upstream)
"
        );
        assert_eq!(told("http://busy.test/"), expected);
        let expected = format!(
            "upstream   http://d:80
timeouts   response = 2s  (rule)
           tunnel_idle = 6s  (site)
retries    none  (rule)
limits     {of_site}
"
        );
        assert_eq!(told("http://busy.test/once"), expected);
        let expected = "upstream   alone: round_robin
           http://c:80
limits     without a backend 100 wait for 30s at most  (upstream)
";
        assert_eq!(told("http://other.test/"), expected);
    }
}
