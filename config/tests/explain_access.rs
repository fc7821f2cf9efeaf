//! What explanations say of access, limits and egress; and the warnings about public routes.

use ringway_config::{Compiler, CredentialsMet, Explanation, Outcome, Publicity, Question, Source};

const FILE: &str = r#"
listeners = [{ address = ":8080" }]

[egress]
allow = ["10.1.0.0/16", "192.0.2.7", "*.Corp.internal", "app.internal."]

[[auth]]
name = "staff"
type = "basic"
users = { a = "$2b$04$......................PTGdVSHLU2TuuQwplcM0QyF0DFK4DzC" }

[[auth]]
name = "sso"
type = "forward"
url = "http://127.0.0.1:4180/oauth2/auth"
copy_headers = ["X-User"]

[[sites]]
name = "shop"
hosts = ["shop.test"]
auth = "staff"
rate_limit = { requests = 100, per = "1m", burst = 20 }
upstream = { backends = [{ url = "http://127.0.0.1:1" }] }

[[sites.rules]]
name = "api"
path = "/api/*"
target = "http://127.0.0.1:2"
public_routes = { GET = ["/api/config/**"], ALL = ["/api/health"] }
rate_limit = { requests = 5, per = "1500ms", key = "header:X-Api-Key" }

[[sites.rules]]
name = "sso"
path = "/sso/*"
target = "http://127.0.0.1:3"
auth = "sso"
forward_credentials = false

[[sites.rules]]
name = "open"
path = "/open"
auth = false
respond = { status = 204 }
"#;

#[track_caller]
fn explain(method: &str, path: &str) -> Explanation {
    let source = Source { name: "test.toml", text: FILE };
    let compiled = Compiler::new()
        .compile(&source)
        .unwrap_or_else(|problems| panic!("{}", problems.render(&source, false)));
    let url = format!("http://shop.test:8080{path}");
    compiled.snapshot.explain(&Question { url: &url, method, websocket: false, listener: None }).unwrap()
}

fn publicity(method: &str, path: &str) -> Publicity {
    explain(method, path).access.unwrap().public.unwrap()
}

#[test]
fn whether_a_path_is_public_and_why() {
    let glob = |glob: &str| Publicity::Public(glob.to_owned());
    for (method, path, expected) in [
        ("GET", "/api/health", glob("/api/health")),
        ("DELETE", "/api/health", glob("/api/health")),
        ("GET", "/api/config/a/b", glob("/api/config/**")),
        ("HEAD", "/api/config/a", Publicity::OtherMethod("GET".to_owned())),
        ("GET", "/api/config/a%2fb", Publicity::Ambiguous),
        ("GET", "/api/health/", Publicity::NoGlob),
        ("GET", "/sso/", Publicity::NoRoutes),
        ("GET", "/", Publicity::NoRoutes),
    ] {
        assert_eq!(publicity(method, path), expected, "{method} {path}");
    }
}

#[test]
fn who_says_it_and_what_goes_on() {
    let api = explain("GET", "/api/x").access.unwrap();
    let provider = api.provider.unwrap();
    assert_eq!((&*provider.name, provider.kind, provider.endpoint), ("staff", "basic", None));
    assert_eq!(api.credentials, CredentialsMet::AllBut("Basic"));
    let json = serde_json::to_value(&api.rate_limits).unwrap();
    let expected = serde_json::json!([
        { "requests": 100, "per_ms": 60_000, "burst": 20, "key": "client", "by": "site" },
        { "requests": 5, "per_ms": 1_500, "burst": 5, "key": "header:x-api-key", "by": "rule" },
    ]);
    assert_eq!((json, serde_json::json!(api.by)), (expected, serde_json::json!("site")));
    let sso = explain("GET", "/sso/x").access.unwrap();
    let provider = sso.provider.unwrap();
    assert_eq!(provider.endpoint.as_deref(), Some("http://127.0.0.1:4180/oauth2/auth"));
    assert_eq!((provider.copied_fields, sso.credentials), (vec!["x-user".to_owned()], CredentialsMet::None));
    let open = explain("GET", "/open").access.unwrap();
    assert_eq!(
        (open.provider, open.public, serde_json::json!(open.by)),
        (None, None, serde_json::json!("rule"))
    );
    assert_eq!(open.credentials, CredentialsMet::All);
}

#[test]
fn where_targets_may_point() {
    let Outcome::Forwarded(forwarded) = explain("GET", "/").outcome else { panic!("it is forwarded") };
    assert_eq!(forwarded.egress.policy, "any");
    assert_eq!(forwarded.egress.allow, ["10.1.0.0/16", "192.0.2.7", "*.corp.internal", "app.internal"]);
}

#[test]
fn public_routes_that_are_not_as_their_rule_have_warnings() {
    let text = FILE.replace(
        r#"{ GET = ["/api/config/**"], ALL = ["/api/health"] }"#,
        r#"{ ALL = ["/api/health", "/api/*", "/**"], GET = ["/health"], POST = ["/api/x"] }
methods = ["GET", "HEAD"]"#,
    );
    let checked = Compiler::new().check(&Source { name: "test.toml", text: &text }).unwrap();
    let warnings = checked.compiled.warnings.iter();
    let told: Vec<_> = warnings.map(|warning| (&*warning.path, &*warning.message)).collect();
    let at = "/sites/0/rules/0/public_routes";
    let expected = [
        (format!("{at}/ALL/2"), "this is wider than its rule, which does not take /"),
        (format!("{at}/GET/0"), "this makes nothing public: the rule takes no such path"),
        (format!("{at}/POST/0"), "this makes nothing public: the rule takes no POST"),
    ];
    for (path, message) in &expected {
        assert!(told.contains(&(path, message)), "{path}: {told:#?}");
    }
    let stray = told.iter().filter(|(path, _)| path.contains("public_routes")).count();
    assert_eq!(stray, expected.len(), "{told:#?}");
}
