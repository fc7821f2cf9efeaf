//! Ways out of the folder, and to what is hidden in it. None of them leads there.

use super::{Stage, write};
use crate::harness::client::Client;
use crate::harness::config::{Config, Driver};
use crate::harness::message::Ending;
use crate::harness::on_both_drivers;
use crate::harness::proxy::Proxy;
use nix::sys::stat::Mode;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::thread;

on_both_drivers![
    nothing_outside_or_hidden_is_shown,
    links_within_the_folder_are_followed,
    what_is_no_file_is_not_opened,
    a_stripped_or_made_path_is_no_way_out,
    curl_finds_no_way_out_either,
    a_link_that_moves_while_it_is_asked_for,
];

/// What must never be in an answer.
const SECRET: &str = "SECRET";

/// Each with the status that it gets: 400 where the path is none, or leads above the root.
const TARGETS: [(&str, u16); 74] = [
    // Dot segments, plain and encoded, once and twice.
    ("/../secret", 400),
    ("/../../secret", 400),
    ("/a/../../secret", 400),
    ("/./../secret", 400),
    ("/%2e%2e/secret", 400),
    ("/%2E%2E/secret", 400),
    ("/.%2e/secret", 400),
    ("/%2e./secret", 400),
    ("/a/%2e%2e/%2e%2e/secret", 400),
    ("/%252e%252e/secret", 404),
    ("/%25%32%65%25%32%65/secret", 404),
    ("/%%32%65%%32%65/secret", 400),
    ("/%c0%ae%c0%ae/secret", 404),
    ("/%c0%2e%c0%2e/secret", 404),
    ("/%e0%80%ae%e0%80%ae/secret", 404),
    ("/%uff0e%uff0e/secret", 400),
    ("/..;/secret", 404),
    ("/..;x=y/secret", 404),
    ("/a/..;/..;/secret", 404),
    ("/.../secret", 404),
    ("/....//secret", 404),
    ("/a/../.././../secret", 400),
    ("/..", 400),
    ("/..%00/secret", 404),
    ("/.. /secret", 400),
    ("/..%20/secret", 404),
    ("/..%09/secret", 404),
    // Slashes that are none, and none that are.
    ("/..%2fsecret", 404),
    ("/..%2Fsecret", 404),
    ("/%2e%2e%2fsecret", 404),
    ("/a%2f..%2f..%2fsecret", 404),
    ("/a/..%252f..%252fsecret", 404),
    ("/%2fetc%2fpasswd", 404),
    ("//etc/passwd", 404),
    ("///etc/passwd", 404),
    ("/a//../../secret", 404),
    ("/a//file", 404),
    ("/..%c0%afsecret", 404),
    ("/..%ef%bc%8fsecret", 404),
    // Backslashes.
    ("/..\\secret", 404),
    ("/..%5csecret", 404),
    ("/..%5Csecret", 404),
    ("/a%5c..%5c..%5csecret", 404),
    ("/%5c..%5csecret", 404),
    ("/%5c%5chost%5cshare", 404),
    ("/a/..%255c..%255csecret", 404),
    // NUL.
    ("/%00", 404),
    ("/a/file%00", 404),
    ("/a/file%00.html", 404),
    ("/../secret%00.html", 400),
    ("/link%00/../secret", 404),
    // What is hidden.
    ("/.hidden", 404),
    ("/%2ehidden", 404),
    ("/%2Ehidden", 404),
    ("/.git/config", 404),
    ("/a/.env", 404),
    ("/a/%2eenv", 404),
    ("/a/./.env", 404),
    ("/a/.well-known/x", 404),
    ("/.well-known/.hidden", 404),
    ("/.well-known/../.hidden", 404),
    ("/.well-known%2f..%2f.hidden", 404),
    // Links that lead out.
    ("/link", 404),
    ("/link-absolute", 404),
    ("/link-folder/secret", 404),
    ("/link-folder/", 404),
    ("/link-up/secret", 404),
    ("/link-chain", 404),
    ("/a/link-deep", 404),
    ("/link-out-and-in", 404),
    ("/link-proc/etc/passwd", 404),
    ("/link-loop", 404),
    // What a URL may say beside its path.
    ("http://test/../secret", 400),
    ("http://test/%2e%2e/secret", 400),
];

fn tree(driver: Driver) -> Stage {
    let files = [
        ("a/file", "shown"),
        (".well-known/x", "shown"),
        (".hidden", SECRET),
        (".git/config", SECRET),
        ("a/.env", SECRET),
        ("a/.well-known/x", SECRET),
        (".well-known/.hidden", SECRET),
    ];
    let stage = Stage::new(driver, &files);
    write(&stage.root.path().join("secret"), SECRET);
    write(&stage.root.path().join("outside/secret"), SECRET);
    write(&stage.root.path().join("outside/index.html"), SECRET);
    let secret = stage.root.path().join("secret");
    for (link, to) in [
        ("link", "../secret"),
        ("link-absolute", secret.to_str().expect("a name")),
        ("link-folder", "../outside"),
        ("link-up", ".."),
        ("link-chain", "a/link-deep"),
        ("a/link-deep", "../../secret"),
        ("link-out-and-in", "../www/a/file"),
        ("link-proc", "/proc/self/root"),
        ("link-loop", "link-loop"),
        ("inside", "a/file"),
        ("folder", "a"),
        ("a/up-and-down", "../a/file"),
    ] {
        symlink(to, stage.path(link)).expect("a link");
    }
    stage
}

/// The status of the answer, which must not have the secret.
#[track_caller]
fn refusal(client: &mut Client, target: &str) -> u16 {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"));
    let (bytes, ending) = client.rest();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert_ne!(ending, Ending::Silence, "{target}");
    assert!(!text.contains(SECRET) && !text.contains("root:"), "{target}: {text}");
    text.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{target}: {text:?}"))
}

fn nothing_outside_or_hidden_is_shown(driver: Driver) {
    let stage = tree(driver);
    for (target, status) in TARGETS {
        assert_eq!(refusal(&mut stage.proxy.client(), target), status, "{target}");
    }
    let long = "a".repeat(256);
    for target in
        [format!("/{long}"), format!("/{}", "%61".repeat(256)), format!("/{}file", "a/".repeat(2100))]
    {
        assert_eq!(refusal(&mut stage.proxy.client(), &target), 404, "{target}");
    }
    for shown in ["/a/file", "/.well-known/x", "/%2ewell-known/x", "/a/../a/file", "/a/%66ile"] {
        assert_eq!(stage.get(shown).text(), "shown", "{shown}");
    }
}

fn links_within_the_folder_are_followed(driver: Driver) {
    let stage = tree(driver);
    for target in ["/inside", "/folder/file", "/a/up-and-down", "/folder/up-and-down"] {
        assert_eq!(stage.get(target).text(), "shown", "{target}");
    }
    assert_eq!(stage.get("/folder").field("location"), Some("/folder/"));
}

fn what_is_no_file_is_not_opened(driver: Driver) {
    let stage = tree(driver);
    nix::unistd::mkfifo(&stage.path("fifo"), Mode::S_IRWXU).expect("a FIFO");
    nix::unistd::mkfifo(&stage.path("a/index.html"), Mode::S_IRWXU).expect("a FIFO");
    nix::unistd::mkfifo(&stage.path("a/file.br"), Mode::S_IRWXU).expect("a FIFO");
    let _socket = UnixListener::bind(stage.path("socket")).expect("a socket");
    symlink("/dev/zero", stage.path("device")).expect("a link");
    // Waits for a reader, and must not find one in Ringway.
    let fifo = stage.path("fifo");
    let writer = thread::spawn(move || fs::File::options().write(true).open(fifo).expect("a FIFO"));
    for target in ["/fifo", "/a/", "/socket", "/device", "/fifo/", "/socket/x"] {
        stage.get(target).assert_error(404, "not_found");
    }
    assert!(!writer.is_finished());
    drop(fs::File::options().read(true).open(stage.path("fifo")).expect("a FIFO"));
    drop(writer.join().expect("it was let in"));
    let answer = stage.with("/a/file", "Accept-Encoding: br\r\n");
    assert_eq!((answer.text().as_str(), answer.field("content-encoding")), ("shown", None));
}

fn a_stripped_or_made_path_is_no_way_out(driver: Driver) {
    let stage = tree(driver);
    let folder = stage.path("a");
    let rule =
        |lines: &str| format!("[[rules]]\nname = \"{lines}\"\nstatic_dir = \"{}\"\n", folder.display());
    let list = rule("stripped").replace("\nstatic", "\npath = \"/s/*\"\nstrip_prefix = true\nstatic")
        + &rule("made").replace("\nstatic", "\npattern = '^/m/(.*)$'\nrewrite = '/$1'\nstatic")
        + &rule("rest").replace("\nstatic", "\npattern = '^/r(.*)$'\nrewrite = '$1'\nstatic");
    let proxy = Proxy::start(&Config::new(driver).section(&list));
    assert_eq!(proxy.client().get("/s/file").text(), "shown");
    assert_eq!(proxy.client().get("/m/file").text(), "shown");
    for prefix in ["/s", "/m", "/r", "/r/"] {
        for rest in [
            "/%2e%2e/secret",
            "/..%2f..%2fsecret",
            "//etc/passwd",
            "/.env",
            "/%2eenv",
            "/link-deep",
            "/..;/secret",
            "/..%5csecret",
        ] {
            let status = refusal(&mut proxy.client(), &format!("{prefix}{rest}"));
            assert!((400..500).contains(&status), "{prefix}{rest}: {status}");
        }
    }
}

fn curl_finds_no_way_out_either(driver: Driver) {
    let stage = tree(driver);
    for (target, status) in [
        ("/../secret", 400),
        ("/a/../../secret", 400),
        ("/%2e%2e/secret", 400),
        ("/..%2fsecret", 404),
        ("/.hidden", 404),
        ("/link", 404),
    ] {
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--path-as-is",
            "--max-time",
            "20",
            "--noproxy",
            "*",
            "--write-out",
            "%{http_code}",
        ]);
        let output = command.arg(stage.proxy.url(target)).output().expect("curl is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.ends_with(&status.to_string()) && !text.contains(SECRET), "{target}: {text}");
    }
}

fn a_link_that_moves_while_it_is_asked_for(driver: Driver) {
    let stage = tree(driver);
    let (link, next) = (stage.path("moving"), stage.path("next"));
    let mut client = stage.proxy.client();
    for turn in 0..200 {
        symlink(["a", "../outside", ".."][turn % 3], &next).expect("a link");
        fs::rename(&next, &link).expect("a name");
        let answer = client.get(["/moving/file", "/moving/secret", "/moving/"][turn / 3 % 3]);
        assert!(!answer.text().contains(SECRET), "{answer:?}");
    }
}

#[test]
fn the_table_has_no_target_twice() {
    let mut targets: Vec<_> = TARGETS.iter().map(|(target, _)| target).collect();
    targets.sort_unstable();
    targets.dedup();
    assert_eq!(targets.len(), TARGETS.len());
}
