//! Who may come in, as text: what site or rule say of it, and nothing where they say nothing.

use ringway_config::{AccessMet, CredentialsMet, ProviderMet, Publicity, RateMet};

use super::{author, block, time};

/// Writes who may come in, and how often; and what goes on to a backend, where the request is `forwarded`.
pub(super) fn write(text: &mut String, access: &AccessMet, forwarded: bool) {
    block(text, "rate", access.rate_limits.iter().map(rate));
    block(text, "access", provider(access));
    block(text, "", access.public.as_ref().map(public));
    if forwarded {
        block(text, "", access.provider.as_ref().and_then(copied));
        block(text, "", credentials(&access.credentials));
    }
}

fn provider(access: &AccessMet) -> Option<String> {
    let by = author(access.by?);
    Some(match &access.provider {
        None => format!("open  ({by})"),
        Some(ProviderMet { name, kind, endpoint: None, .. }) => format!("{name}: {kind}  ({by})"),
        Some(ProviderMet { name, kind, endpoint: Some(endpoint), .. }) => {
            format!("{name}: {kind}, asks {endpoint}  ({by})")
        }
    })
}

fn public(public: &Publicity) -> String {
    match public {
        Publicity::Public(glob) => format!("needs no credentials: {glob} is public"),
        Publicity::NoRoutes => "needs credentials".to_owned(),
        Publicity::OtherMethod(method) => format!("needs credentials: the path is public for {method} alone"),
        Publicity::Ambiguous => {
            "needs credentials: backends could read such a path in another way, so it is never public"
                .to_owned()
        }
        Publicity::NoGlob => "needs credentials: no public route takes the path".to_owned(),
    }
}

fn copied(provider: &ProviderMet) -> Option<String> {
    let names = provider.copied_fields.join(", ");
    (!names.is_empty()).then(|| format!("to the backend come from there alone: {names}"))
}

fn credentials(credentials: &CredentialsMet) -> Option<String> {
    match credentials {
        CredentialsMet::All => None,
        CredentialsMet::AllBut(scheme) => {
            Some(format!("an Authorization of {scheme} does not go to the backend"))
        }
        CredentialsMet::None => {
            Some("no Cookie and no Authorization of the client's goes to the backend".to_owned())
        }
    }
}

/// How many requests in which time, and whose.
fn rate(rate: &RateMet) -> String {
    let RateMet { requests, per_ms, burst, key, by } = rate;
    let whose = match &**key {
        "client" => "of a client".to_owned(),
        "site" => "of all clients".to_owned(),
        key => format!("with the same {}", key.trim_start_matches("header:")),
    };
    let at_once = if burst == requests { String::new() } else { format!(", {burst} at once") };
    format!("at most {requests} {whose} in {}{at_once}  ({})", time(*per_ms), author(*by))
}

#[cfg(test)]
mod tests {
    use ringway_config::{Compiler, Question, Source};

    const FILE: &str = r#"
listeners = [{ address = ":8080" }]
egress = { policy = "public", allow = ["127.0.0.0/8", "*.internal"] }
[[auth]]
name = "machines"
type = "bearer"
tokens = { ci = "ci-token-0123456789" }
[[auth]]
name = "sso"
type = "forward"
url = "http://127.0.0.1:4180/oauth2/auth"
copy_headers = ["X-User", "X-Email"]
[[sites]]
name = "shop"
hosts = ["shop.test"]
auth = "machines"
rate_limit = { requests = 100, per = "1m", burst = 20 }
[[sites.rules]]
name = "api"
path = "/api/*"
target = "http://127.0.0.1:1"
public_routes = { GET = ["/api/config/**"] }
rate_limit = { requests = 5, per = "1500ms", key = "header:X-Api-Key" }
[[sites.rules]]
name = "sso"
path = "/sso/*"
target = "http://127.0.0.1:1"
auth = "sso"
forward_credentials = false
[[sites.rules]]
name = "open"
path = "/open"
auth = false
respond = { status = 204 }
"#;

    /// What is told between the winner and the answer, or the upstream; and of egress.
    fn told(path: &str) -> Vec<String> {
        let compiled = Compiler::new().compile(&Source { name: "test.toml", text: FILE }).unwrap();
        let url = format!("http://shop.test:8080{path}");
        let question = Question { url: &url, method: "GET", websocket: false, listener: None };
        let text = super::super::of(&compiled.snapshot.explain(&question).unwrap(), false);
        let labels = ["winner", "sent", "Host", "upstream", "sets", "answer"];
        let after = text.lines().skip_while(|line| !line.starts_with("winner"));
        let told = after.filter(|line| !labels.iter().any(|label| line.starts_with(label)));
        told.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn access_is_told_with_its_reasons() {
        let rates = [
            "rate at most 100 of a client in 60s, 20 at once (site)",
            "at most 5 with the same x-api-key in 1500ms (rule)",
        ];
        let machines = "access machines: bearer (site)";
        let stays = "an Authorization of Bearer does not go to the backend";
        let egress = "egress public, and 127.0.0.0/8, *.internal";
        let public = "needs no credentials: /api/config/** is public";
        assert_eq!(told("/api/config/a"), [rates[0], rates[1], machines, public, stays, egress]);
        let ambiguous =
            "needs credentials: backends could read such a path in another way, so it is never public";
        assert_eq!(told("/api/config/a%2fb"), [rates[0], rates[1], machines, ambiguous, stays, egress]);
        let expected = [
            rates[0],
            "access sso: forward, asks http://127.0.0.1:4180/oauth2/auth (rule)",
            "needs credentials",
            "to the backend come from there alone: x-user, x-email",
            "no Cookie and no Authorization of the client's goes to the backend",
            egress,
        ];
        assert_eq!(told("/sso/x"), expected);
        assert_eq!(told("/open"), [rates[0], "access open (rule)"]);
    }
}
