//! What the egress policy refuses is refused where it is written, however it is spelt: in a rule's target, a backend's URL, a
//! site's own upstream and an endpoint's URL.

use ringway_config::{Compiler, Problems, Source};

/// 169.254.169.254, as resolvers, clients and people write it.
const SECRET: &[&str] = &[
    "169.254.169.254",
    "169.254.169.254.",
    "\u{ff11}\u{ff16}\u{ff19}.254.169.254",
    "169\u{3002}254\u{3002}169\u{3002}254",
    "2852039166",
    "2852039166.",
    "0xa9fea9fe",
    "0XA9FEA9FE",
    "0xa9.0xfe.0xa9.0xfe",
    "0251.0376.0251.0376",
    "025177524776",
    "169.254.43518",
    "169.16689662",
    "169.254.169.0xfe",
    "[::ffff:169.254.169.254]",
    "[::FFFF:A9FE:A9FE]",
    "[0:0:0:0:0:ffff:a9fe:a9fe]",
    "[::169.254.169.254]",
    "[::ffff:0:a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b::169.254.169.254]",
    "[64:ff9b:1::a9fe:a9fe]",
    "[64:ff9b:1:a9fe:a9:fe00::]",
    "[64:ff9b:1:ffa9:fe:a9fe::]",
    "[64:ff9b:1:ffff:a9:fea9:fe00:0]",
    "[2002:a9fe:a9fe::]",
    "[2001:0:808:808::5601:5601]",
    "[2001:0:a9fe:a9fe::]",
    "[fe80::5efe:169.254.169.254]",
    "[2606:4700::200:5efe:a9fe:a9fe]",
    "[fe80::1%25eth0]",
    "169.254.169.254%00.example.com",
    "169.254.169.254:80@example.com",
    "example.com@169.254.169.254",
];

fn problems(text: &str) -> Problems {
    match Compiler::new().compile(&Source { name: "test.toml", text }) {
        Ok(_) => panic!("it compiles:\n{text}"),
        Err(problems) => problems,
    }
}

#[test]
fn no_spelling_of_a_refused_address_compiles_anywhere() {
    for host in SECRET {
        let url = format!("http://{host}:80");
        let places = [
            (
                format!("[[rules]]\nname = \"r\"\npath = \"/x\"\ntarget = \"{url}/latest\"\n"),
                "/rules/0/target",
            ),
            (
                format!("[[upstreams]]\nname = \"u\"\nbackends = [{{ url = \"{url}\" }}]\n"),
                "/upstreams/0/backends/0/url",
            ),
            (
                format!(
                    "[[sites]]\nname = \"s\"\nhosts = [\"*\"]\nupstream = {{ backends = [{{ url = \"{url}\" }}] }}\n"
                ),
                "/sites/0/upstream/backends/0/url",
            ),
            (format!("[[auth]]\nname = \"a\"\ntype = \"forward\"\nurl = \"{url}/auth\"\n"), "/auth/0/url"),
        ];
        for (section, place) in places {
            let problems = problems(&format!("listeners = [{{ address = \":1\" }}]\n{section}"));
            assert!(problems.iter().any(|problem| problem.path == place), "{host}: {problems:?}");
        }
    }
}

#[test]
fn a_variable_hides_no_address() {
    let text = "listeners = [{ address = \":1\" }]\n\
        [[rules]]\nname = \"r\"\npath = \"/x\"\ntarget = \"http://${HOST}/latest\"\n";
    let variables = |host: &str| [("HOST", host.to_owned())].into_iter().collect();
    let compile = |host: &str| {
        Compiler::with_variables(variables(host)).compile(&Source { name: "test.toml", text }).is_ok()
    };
    assert!(compile("192.0.2.1"));
    assert!(!compile("169.254.169.254") && !compile("[::ffff:169.254.169.254]"));
}
