//! What a new snapshot brings compared with the one before, in one line for the log.

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::sync::Arc;

use ringway_config::{
    Action, Auth, AuthId, Egress, Forward, Owner, Provider, Rule, Site, Snapshot, Upstream, UpstreamId,
};

/// Names that a list shows before it says how many more there are.
const NAMES_SHOWN: usize = 5;

/// The difference of two snapshots. `Display` gives one line without line breaks, whatever the names contain.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Changes {
    kinds: Vec<Kind>,
    /// Tables of settings that differ.
    settings: Vec<&'static str>,
}

/// Things of one kind, in their order: what each is known by, and all that it says.
type Things = Vec<(String, String)>;

/// What came, went and changed of one kind of thing.
#[derive(Debug, Default, PartialEq, Eq)]
struct Kind {
    name: &'static str,
    came: Vec<String>,
    went: Vec<String>,
    changed: Vec<String>,
    /// Things that stay have another order, where order matters.
    reordered: bool,
}

impl Changes {
    /// What `new` brings after `old`; after nothing, everything came.
    pub(crate) fn between(old: Option<&Snapshot>, new: &Snapshot) -> Self {
        let kind = |name, things: fn(&Snapshot) -> Things| {
            Kind::between(name, &old.map_or_else(Vec::new, things), &things(new))
        };
        let kinds = [
            kind("listeners", listeners),
            kind("sites", sites),
            kind("rules", rules).in_order(&old.map_or_else(Vec::new, rules), &rules(new)),
            kind("upstreams", upstreams),
            Kind { changed: changed_providers(old, new), ..kind("auth", providers) },
        ];
        let settings = old.map_or_else(Vec::new, |old| settings(old, new));
        Self { kinds: kinds.into_iter().filter(|kind| !kind.is_empty()).collect(), settings }
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kinds.is_empty() && self.settings.is_empty() {
            return out.write_str("nothing changed");
        }
        let kinds = self.kinds.iter().map(Kind::to_string);
        let settings =
            (!self.settings.is_empty()).then(|| format!("settings of {}", self.settings.join(", ")));
        out.write_str(&kinds.chain(settings).collect::<Vec<_>>().join("; "))
    }
}

impl Kind {
    fn between(name: &'static str, old: &Things, new: &Things) -> Self {
        let (before, after) = (by_key(old), by_key(new));
        let changes =
            |(key, text): &&(String, String)| before.get(&**key).is_some_and(|before| before != text);
        Self {
            name,
            came: keys(new.iter().filter(|(key, _)| !before.contains_key(&**key))),
            went: keys(old.iter().filter(|(key, _)| !after.contains_key(&**key))),
            changed: keys(new.iter().filter(changes)),
            reordered: false,
        }
    }

    /// Also compares the order of what stays.
    fn in_order(self, old: &Things, new: &Things) -> Self {
        let (before, after) = (by_key(old), by_key(new));
        let stayed_of_old = old.iter().filter(|(key, _)| after.contains_key(&**key)).map(|(key, _)| key);
        let stayed_of_new = new.iter().filter(|(key, _)| before.contains_key(&**key)).map(|(key, _)| key);
        Self { reordered: !stayed_of_old.eq(stayed_of_new), ..self }
    }

    fn is_empty(&self) -> bool {
        self.came.is_empty() && self.went.is_empty() && self.changed.is_empty() && !self.reordered
    }
}

fn by_key(things: &Things) -> HashMap<&str, &str> {
    things.iter().map(|(key, text)| (&**key, &**text)).collect()
}

fn keys<'a>(things: impl Iterator<Item = &'a (String, String)>) -> Vec<String> {
    things.map(|(key, _)| key.clone()).collect()
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name)?;
        for (sign, names) in [('+', &self.came), ('-', &self.went), ('~', &self.changed)] {
            if !names.is_empty() {
                write!(out, " {sign}{} ({})", names.len(), shown(names))?;
            }
        }
        if self.reordered { out.write_str(" reordered") } else { Ok(()) }
    }
}

/// The first names, and how many more there are. Control characters are escaped: names are the file's, lines the log's.
fn shown(names: &[String]) -> String {
    let mut shown: Vec<String> =
        names.iter().take(NAMES_SHOWN).map(|name| name.escape_debug().to_string()).collect();
    if names.len() > NAMES_SHOWN {
        shown.push(format!("{} more", names.len() - NAMES_SHOWN));
    }
    shown.join(", ")
}

fn listeners(snapshot: &Snapshot) -> Things {
    let listeners = snapshot.listeners.iter();
    listeners.map(|listener| (listener.identity.clone(), listener.name.clone())).collect()
}

/// A site is known by its name. Its rules are compared on their own.
fn sites(snapshot: &Snapshot) -> Things {
    let described = |site: &Site| {
        let project = site.project.and_then(|id| snapshot.project(id)).map(|project| &project.name);
        let Site {
            hosts,
            path_prefix,
            inherit_global,
            base_header,
            edits,
            unset,
            admission,
            timeouts,
            forwarded,
            rate_limit,
            ..
        } = site;
        let auth = site.auth.map(|id| provider(snapshot, id));
        format!(
            "{hosts:?} {path_prefix} {project:?} {inherit_global} {base_header} {edits:?} {unset:?} {admission:?} \
             {timeouts:?} {forwarded:?} {rate_limit:?} {auth:?}"
        )
    };
    snapshot.sites.iter().map(|site| (site.name.clone(), described(site))).collect()
}

/// A rule is known by the name of its site or project and its own; ids differ from one snapshot to the next. The lists come
/// in the order of those names, since the sites' own order decides nothing.
fn rules(snapshot: &Snapshot) -> Things {
    let owner = |rule: &Rule| match rule.owner {
        Owner::Site(id) => snapshot.site(id).map(|site| format!("{}/", site.name)),
        Owner::Project(id) => snapshot.project(id).map(|project| format!("project {}/", project.name)),
        Owner::Everywhere => None,
    };
    let owned = snapshot.rules.iter().map(|rule| (owner(rule).unwrap_or_default(), &**rule));
    let mut rules: Vec<(String, &Rule)> = owned.collect();
    rules.sort_by(|(one, _), (other, _)| one.cmp(other));
    rules.into_iter().map(|(owner, rule)| (owner + &rule.name, rule_text(snapshot, rule))).collect()
}

fn rule_text(snapshot: &Snapshot, rule: &Rule) -> String {
    let Rule { description, enabled, paths, methods, ws, edits, .. } = rule;
    let Rule { timeout, max_request_body_bytes, retries, public_routes, credentials, rate_limit, .. } = rule;
    let auth = match rule.auth {
        Auth::Provider(id) => provider(snapshot, id),
        Auth::OfSite => "of its site",
        Auth::Open => "open",
    };
    let action = match &rule.action {
        Action::Forward(Forward { upstream, base_path, path, change_origin }) => {
            let upstream = snapshot.upstream(*upstream).map_or("", |upstream| &upstream.name);
            format!("{upstream} {base_path} {path:?} {change_origin}")
        }
        other => format!("{other:?}"),
    };
    format!(
        "{description:?} {enabled} {paths:?} {methods:?} {ws} {edits:?} {timeout:?} {max_request_body_bytes:?} \
         {retries:?} {auth:?} {public_routes:?} {credentials:?} {rate_limit:?} {action}"
    )
}

fn provider(snapshot: &Snapshot, id: AuthId) -> &str {
    snapshot.provider(id).map_or("", |provider| provider.name())
}

/// What they know is secret and stands in no text.
fn providers(snapshot: &Snapshot) -> Things {
    snapshot.providers.iter().map(|provider| (provider.name().to_owned(), String::new())).collect()
}

/// The providers of both snapshots that know other people, or ask elsewhere.
fn changed_providers(old: Option<&Snapshot>, new: &Snapshot) -> Vec<String> {
    let Some(old) = old else { return Vec::new() };
    let same = |before: &&Arc<Provider>, after: &Provider| before.name() == after.name();
    let is_changed = |after: &&Arc<Provider>| {
        let before = old.providers.iter().find(|before| same(before, after));
        before.is_some_and(|before| comparable(old, before) != comparable(new, after))
    };
    new.providers.iter().filter(is_changed).map(|provider| provider.name().to_owned()).collect()
}

/// A provider with the name of its upstream in place of the id, which differs from one snapshot to the next.
fn comparable<'s>(snapshot: &'s Snapshot, provider: &Provider) -> (Provider, &'s str) {
    let mut provider = provider.clone();
    let mut name = "";
    if let Provider::Forward(forward) = &mut provider {
        let upstream = std::mem::replace(&mut forward.upstream, UpstreamId(0));
        name = snapshot.upstream(upstream).map_or("", |upstream| &upstream.name);
    }
    (provider, name)
}

fn upstreams(snapshot: &Snapshot) -> Things {
    // That of the file is compared with its settings.
    let described =
        |upstream: &Upstream| format!("{:?}", Upstream { egress: Arc::default(), ..upstream.clone() });
    snapshot.upstreams.iter().map(|upstream| (upstream.name.clone(), described(upstream))).collect()
}

fn settings(old: &Snapshot, new: &Snapshot) -> Vec<&'static str> {
    let tables = [
        ("server", differ(&old.server, &new.server)),
        ("limits", differ(&old.limits, &new.limits)),
        ("timeouts", differ(&old.timeouts, &new.timeouts)),
        ("forwarded", differ(&old.forwarded, &new.forwarded)),
        ("access_log", differ(&old.access_log, &new.access_log)),
        ("admin", differ(&old.admin, &new.admin)),
        ("dns", differ(&old.dns, &new.dns)),
        ("egress", egress(old).zip(egress(new)).is_some_and(|(old, new)| old != new)),
    ];
    tables.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

/// The policy of the file, which all of its upstreams have.
fn egress(snapshot: &Snapshot) -> Option<&Egress> {
    snapshot.upstreams.first().map(|upstream| &*upstream.egress)
}

/// Settings are plain data, whose `Debug` shows every field.
fn differ<T: Debug>(old: &T, new: &T) -> bool {
    format!("{old:?}") != format!("{new:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_config::{Compiler, Source};

    fn snapshot(text: &str) -> Snapshot {
        let source = Source { name: "test.toml", text };
        match Compiler::new().compile(&source) {
            Ok(compiled) => compiled.snapshot,
            Err(problems) => panic!("{}", problems.render(&source, false)),
        }
    }

    fn changes(old: &str, new: &str) -> String {
        Changes::between(Some(&snapshot(old)), &snapshot(new)).to_string()
    }

    const LISTENER: &str = "[[listeners]]\naddress = \"127.0.0.1:8080\"\n";

    fn rule(name: &str, path: &str, port: u16) -> String {
        format!("[[rules]]\nname = \"{name}\"\npath = \"{path}\"\ntarget = \"http://127.0.0.1:{port}\"\n")
    }

    fn site(name: &str, host: &str, rules: &[(&str, &str)]) -> String {
        let head = format!("[[sites]]\nname = \"{name}\"\nhosts = [\"{host}\"]\n");
        let rules =
            rules.iter().map(|(name, path)| rule(name, path, 3000).replace("[[rules]]", "[[sites.rules]]"));
        head + &rules.collect::<String>()
    }

    #[test]
    fn at_first_everything_came() {
        let text = LISTENER.to_owned() + &rule("api", "/api/*", 3000);
        let first = Changes::between(None, &snapshot(&text)).to_string();
        assert_eq!(
            first,
            "listeners +1 (127.0.0.1:8080); rules +1 (api); upstreams +1 (http://127.0.0.1:3000)"
        );
        assert_eq!(changes(&text, &(text.clone() + "# a comment\n")), "nothing changed");
    }

    #[test]
    fn what_comes_goes_and_changes_is_told_apart() {
        let old = LISTENER.to_owned() + &rule("a", "/a", 3000) + &rule("b", "/b", 3000);
        let new = LISTENER.replace("8080", "8081") + &rule("a", "/a", 3000) + &rule("b", "/B", 3000);
        let expected = "listeners +1 (127.0.0.1:8081) -1 (127.0.0.1:8080); rules ~1 (b)";
        assert_eq!(changes(&old, &new), expected);
        let swapped = LISTENER.to_owned() + &rule("b", "/b", 3000) + &rule("a", "/a", 3000);
        assert_eq!(changes(&old, &swapped), "rules reordered");
    }

    #[test]
    fn the_order_of_rules_matters_and_that_of_sites_does_not() {
        let second = site("two", "two.example", &[("x", "/x")]) + &rule("all", "*", 3000);
        let old = LISTENER.to_owned() + &site("one", "one.example", &[("x", "/x")]) + &second;
        let new = LISTENER.to_owned() + &site("one", "one.example", &[("y", "/y"), ("x", "/x")]) + &second;
        assert_eq!(changes(&old, &new), "rules +1 (one/y)");
        let moved = LISTENER.to_owned() + &site("one", "1.example", &[("x", "/x")]) + &second;
        assert_eq!(changes(&old, &moved), "sites ~1 (one)");
        let other_order =
            site("two", "two.example", &[("x", "/x")]) + &site("one", "one.example", &[("x", "/x")]);
        let other_order = LISTENER.to_owned() + &other_order + &rule("all", "*", 3000);
        assert_eq!(changes(&old, &other_order), "nothing changed");
    }

    #[test]
    fn long_lists_are_cut_and_line_breaks_are_escaped() {
        let many: String = (0..8).map(|n| rule(&format!("r{n}"), &format!("/{n}"), 3000)).collect();
        let told = changes(&(LISTENER.to_owned() + &rule("r0", "/0", 3000)), &(LISTENER.to_owned() + &many));
        assert_eq!(told, "rules +7 (r1, r2, r3, r4, r5, 2 more)");
        assert_eq!(shown(&["a\nb".to_owned()]), "a\\nb");
    }

    #[test]
    fn what_an_upstream_a_site_and_a_rule_say_of_backends_counts() {
        let with = |upstream: &str, site: &str, rule: &str| {
            let upstream =
                format!("[[upstreams]]\nname = \"u\"\nbackends = [{{ url = \"http://h\" }}]\n{upstream}\n");
            let site = format!("[[sites]]\nname = \"s\"\nhosts = [\"*\"]\nupstream = \"u\"\n{site}\n");
            let rule = format!("[[sites.rules]]\nname = \"r\"\npath = \"/r\"\nupstream = \"u\"\n{rule}\n");
            [LISTENER, &upstream, &site, &rule].concat()
        };
        let old = with("", "", "");
        for upstream in ["strategy = \"p2c\"", "health = { rise = 3, active = true }", "max_active = 1"] {
            assert_eq!(changes(&old, &with(upstream, "", "")), "upstreams ~1 (u)", "{upstream}");
        }
        assert_eq!(changes(&old, &with("", "max_active = 1", "")), "sites ~1 (s)");
        assert_eq!(changes(&old, &with("", "", "retries = 1")), "rules ~1 (s/r)");
    }

    #[test]
    fn access_counts() {
        let with = |provider: &str, site: &str, rule: &str| {
            let provider = format!("[[auth]]\nname = \"p\"\n{provider}\n");
            let site = format!("[[sites]]\nname = \"s\"\nhosts = [\"*\"]\n{site}\n");
            let rule =
                format!("[[sites.rules]]\nname = \"r\"\npath = \"/r\"\ntarget = \"http://h\"\n{rule}\n");
            [LISTENER, &provider, &site, &rule].concat()
        };
        let token =
            |token: &str| format!("type = \"bearer\"\ntokens = {{ ci = \"{token}-0123456789abcdef\" }}");
        let endpoint = |path: &str| format!("type = \"forward\"\nurl = \"http://auth{path}\"");
        let old = with(&token("a"), "", "");
        assert_eq!(changes(&old, &with(&token("b"), "", "")), "auth ~1 (p)");
        assert_eq!(changes(&with(&endpoint("/a"), "", ""), &with(&endpoint("/b"), "", "")), "auth ~1 (p)");
        assert_eq!(changes(&old, &with(&token("a"), "auth = \"p\"", "")), "sites ~1 (s)");
        let limit = "rate_limit = { requests = 1, per = \"1s\" }";
        assert_eq!(changes(&old, &with(&token("a"), limit, "")), "sites ~1 (s)");
        for rule in [limit, "auth = \"p\"", "auth = false", "forward_credentials = false"] {
            assert_eq!(changes(&old, &with(&token("a"), "", rule)), "rules ~1 (s/r)", "{rule}");
        }
        let routes = |glob: &str| format!("auth = \"p\"\npublic_routes = {{ ALL = [\"{glob}\"] }}");
        let (one, other) = (with(&token("a"), "", &routes("/r")), with(&token("a"), "", &routes("/*")));
        assert_eq!(changes(&one, &other), "rules ~1 (s/r)");
    }

    #[test]
    fn settings_are_named_by_their_table() {
        let old = LISTENER.to_owned() + &rule("a", "/a", 3000);
        let new = format!("[server]\nworkers = 3\nvia = true\n[timeouts]\nhead = \"3s\"\n{old}");
        assert_eq!(changes(&old, &new), "settings of server, timeouts");
        let new = format!("[admin]\ndata_dir = \"/run\"\n[dns]\nresolver = \"dns\"\n{old}");
        assert_eq!(changes(&old, &new), "settings of admin, dns");
        let new = format!("[egress]\nallow = [\"10.0.0.0/8\"]\n{old}");
        assert_eq!(changes(&old, &new), "settings of egress");
    }
}
