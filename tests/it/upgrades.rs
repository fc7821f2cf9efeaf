//! "Upgrades": what makes a tunnel, what does not, and what a tunnel carries.

use crate::harness::backend::Backend;
use crate::harness::backends::{HELLO, response};
use crate::harness::client::Client;
use crate::harness::config::{Config, Driver};
use crate::harness::message::Ending;
use crate::harness::proxy::Proxy;
use crate::harness::websocket::{KEY, assert_echo, close, connect, handshake, switching};
use crate::harness::{on_both_drivers, pause};
use tungstenite::Message;

on_both_drivers![
    a_websocket_client_talks_to_a_websocket_server,
    large_messages_pass,
    the_backend_is_asked_first,
    bytes_right_behind_the_101_arrive,
    bytes_right_behind_the_handshake_arrive,
    query_cookies_and_custom_fields_travel,
    a_wrong_accept_value_makes_no_tunnel,
    another_protocol_makes_no_tunnel,
    upgrade_without_connection_is_no_upgrade,
    a_broken_handshake_is_refused,
    another_version_is_told_ours,
    rules_without_ws_do_not_take_part,
    no_rule_with_ws_is_not_found,
    other_protocols_go_on_as_http,
    http_1_0_neither_upgrades_nor_expects,
    half_close_passes_both_ways,
    a_reset_passes,
    a_tunnel_has_backpressure,
    an_idle_tunnel_ends_at_its_limit,
    a_busy_tunnel_does_not,
];

fn a_websocket_client_talks_to_a_websocket_server(driver: Driver) {
    let backend = Backend::echoes_messages();
    let proxy = Proxy::to(driver, &backend);
    let mut socket = connect(&proxy.address(), "/chat");
    for number in 0..50 {
        assert_echo(&mut socket, &format!("message {number}"));
    }
    close(&mut socket);
    backend.wait_until_idle();
}

fn large_messages_pass(driver: Driver) {
    let backend = Backend::echoes_messages();
    let proxy = Proxy::to(driver, &backend);
    let mut socket = connect(&proxy.address(), "/");
    for size in [0, 1, 125, 126, 65_535, 65_536, 3_000_000] {
        let bytes: Vec<u8> = (0..size).map(|index: u32| (index % 251) as u8).collect();
        socket.send(Message::binary(bytes.clone())).unwrap();
        assert_eq!(socket.read().unwrap(), Message::binary(bytes));
    }
    close(&mut socket);
}

fn the_backend_is_asked_first(driver: Driver) {
    let backend = Backend::answers(|_| response("403 Forbidden", "X-Why: no\r\n", HELLO));
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    let answer = client.ask(handshake("/", ""));
    assert_eq!((answer.status, answer.field("x-why"), answer.body.as_slice()), (403, Some("no"), HELLO));
    assert_eq!(client.get("/").status, 403, "the connection goes on as HTTP");
    let fields = backend.head(0).fields;
    assert!(fields.get("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")));
    assert!(fields.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")));
    assert_eq!(fields.get("sec-websocket-key"), Some(KEY));
}

/// A client behind the 101 that answered its handshake.
fn tunnelled(proxy: &Proxy) -> Client {
    let mut client = proxy.client();
    let head = client.send(handshake("/", "")).head();
    assert_eq!(head.status(), 101, "{head:?}");
    assert_eq!(head.fields.get("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert!(head.fields.get("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")));
    assert!(head.fields.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")));
    client
}

fn bytes_right_behind_the_101_arrive(driver: Driver) {
    let backend = Backend::script(|visit| {
        let head = visit.head().expect("a handshake");
        visit.send(switching(&head) + "first bytes");
        visit.until_closed();
    });
    let proxy = Proxy::to(driver, &backend);
    assert_eq!(tunnelled(&proxy).exactly(11), b"first bytes");
}

fn bytes_right_behind_the_handshake_arrive(driver: Driver) {
    let backend = Backend::switches(|visit| {
        let bytes = visit.exactly(6).expect("what came with the handshake");
        visit.send(bytes);
    });
    let proxy = Proxy::to(driver, &backend);
    let mut client = proxy.client();
    assert_eq!(client.send(handshake("/", "") + "hasty!").head().status(), 101);
    assert_eq!(client.exactly(6), b"hasty!");
}

fn query_cookies_and_custom_fields_travel(driver: Driver) {
    let backend = Backend::echoes_messages();
    let proxy = Proxy::to(driver, &backend);
    let lines = "Cookie: a=b\r\nX-Custom: yes\r\nSec-WebSocket-Protocol: chat\r\nOrigin: http://test\r\n";
    assert_eq!(proxy.client().send(handshake("/chat?room=1&x", lines)).head().status(), 101);
    let head = backend.last_head();
    assert_eq!(head.target(), "/chat?room=1&x");
    let names = ["cookie", "x-custom", "sec-websocket-protocol", "origin", "x-forwarded-for", "host"];
    let values = names.map(|name| head.fields.get(name).unwrap_or_default());
    assert_eq!(values, ["a=b", "yes", "chat", "http://test", "127.0.0.1", "test"]);
}

fn a_wrong_accept_value_makes_no_tunnel(driver: Driver) {
    let wrong = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: eA==\r\n\r\n";
    let backend = Backend::answers_with(wrong);
    Proxy::to(driver, &backend).client().ask(handshake("/", "")).assert_error(502, "upstream_bad_response");
    backend.wait_until_idle();
}

fn another_protocol_makes_no_tunnel(driver: Driver) {
    let backend = Backend::script(|visit| {
        let head = visit.head().expect("a handshake");
        visit.send(switching(&head).replace("websocket", "h2c"));
        visit.until_closed();
    });
    let proxy = Proxy::to(driver, &backend);
    proxy.client().ask(handshake("/", "")).assert_error(502, "upstream_bad_response");
    backend.wait_until_idle();
}

fn upgrade_without_connection_is_no_upgrade(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::to(driver, &backend);
    let request = handshake("/", "").replace("Connection: Upgrade", "Connection: keep-alive");
    assert_eq!(proxy.client().ask(request).body, HELLO);
    assert_eq!(backend.last_head().fields.get("upgrade"), None);
}

fn a_broken_handshake_is_refused(driver: Driver) {
    let backend = Backend::echoes_messages();
    let proxy = Proxy::to(driver, &backend);
    let whole = handshake("/", "");
    let broken = [
        whole.replace(KEY, "eA=="),
        whole.replace(KEY, "dGhlIHNhbXBsZSBub25jZQ"),
        whole.replace(&format!("Sec-WebSocket-Key: {KEY}\r\n"), ""),
        whole.replace("Sec-WebSocket-Version: 13\r\n", ""),
        whole.replace("GET", "POST"),
        handshake("/", "Content-Length: 4\r\n") + "body",
    ];
    for request in broken {
        let answer = proxy.client().ask(&request);
        assert_eq!((answer.status, answer.json("code").as_str()), (400, "bad_request"), "{request}");
    }
    assert_eq!(backend.accepts(), 0);
}

fn another_version_is_told_ours(driver: Driver) {
    let backend = Backend::echoes_messages();
    let proxy = Proxy::to(driver, &backend);
    let answer = proxy.client().ask(handshake("/", "").replace("Version: 13", "Version: 8"));
    answer.assert_error(426, "upgrade_required");
    assert_eq!(
        (answer.field("upgrade"), answer.field("sec-websocket-version")),
        (Some("websocket"), Some("13"))
    );
    assert_eq!(backend.accepts(), 0);
}

fn rules_without_ws_do_not_take_part(driver: Driver) {
    let (plain, chat) = (Backend::says_hello(), Backend::echoes_messages());
    let config = Config::new(driver).rule("plain", "/*", &plain.url()).section("ws = false").rule(
        "chat",
        "/*",
        &chat.url(),
    );
    let proxy = Proxy::start(&config);
    assert_eq!(proxy.client().get("/").body, HELLO);
    assert_echo(&mut connect(&proxy.address(), "/"), "x");
    assert_eq!((plain.requests(), chat.requests()), (1, 1));
}

fn no_rule_with_ws_is_not_found(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::start(&Config::new(driver).rule("plain", "/*", &backend.url()).section("ws = false"));
    proxy.client().ask(handshake("/", "")).assert_error(404, "no_rule");
    assert_eq!(backend.accepts(), 0);
}

fn other_protocols_go_on_as_http(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::to(driver, &backend);
    let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    let answer = proxy.client().ask(format!("GET / HTTP/1.1\r\nHost: a\r\n{h2c}\r\n"));
    assert_eq!(answer.body, HELLO);
    let fields = backend.last_head().fields;
    assert_eq!([fields.get("upgrade"), fields.get("http2-settings")], [None, None]);
    assert_eq!(backend.last_head().start_line, "GET / HTTP/1.1");
}

fn http_1_0_neither_upgrades_nor_expects(driver: Driver) {
    let backend = Backend::says_hello();
    let proxy = Proxy::to(driver, &backend);
    let upgrade = handshake("/", "").replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(proxy.client().ask(upgrade).body, HELLO);
    assert_eq!(backend.last_head().fields.get("upgrade"), None);
    let expect = "POST / HTTP/1.0\r\nExpect: 100-continue, and more\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(proxy.client().ask(expect).body, HELLO);
}

fn half_close_passes_both_ways(driver: Driver) {
    let backend = Backend::switches(|visit| {
        assert_eq!(visit.exactly(5).as_deref(), Some(b"hello".as_slice()));
        visit.until_closed();
        visit.send("and good bye");
    });
    let proxy = Proxy::to(driver, &backend);
    let mut client = tunnelled(&proxy);
    client.send("hello").finish();
    assert_eq!(client.rest(), (b"and good bye".to_vec(), Ending::Fin));

    let backend = Backend::switches(|visit| {
        visit.send("no more");
        visit.finish();
        assert_eq!(visit.exactly(4).as_deref(), Some(b"late".as_slice()));
    });
    let proxy = Proxy::to(driver, &backend);
    let mut client = tunnelled(&proxy);
    assert_eq!(client.rest(), (b"no more".to_vec(), Ending::Fin));
    client.send("late");
    backend.wait_until_idle();
}

fn a_reset_passes(driver: Driver) {
    let backend = Backend::switches(|visit| visit.until_closed());
    let proxy = Proxy::to(driver, &backend);
    tunnelled(&proxy).reset();
    backend.wait_until_idle();
    let backend = Backend::switches(|visit| visit.reset());
    let proxy = Proxy::to(driver, &backend);
    assert_eq!(tunnelled(&proxy).rest().0, b"");
}

fn a_tunnel_has_backpressure(driver: Driver) {
    const TOO_MUCH: usize = 256 << 20;
    let backend = Backend::switches(|visit| visit.until_stopped());
    let proxy = Proxy::to(driver, &backend);
    let sent = tunnelled(&proxy).send_until_stalled(TOO_MUCH);
    assert!(sent < TOO_MUCH, "everything was taken though nobody reads");
    assert!(proxy.memory_kib() < 64 * 1024, "{} KiB", proxy.memory_kib());
    // The client has gone, but its FIN stands behind what is not read.
    drop(backend);
}

fn an_idle_tunnel_ends_at_its_limit(driver: Driver) {
    let backend = Backend::switches(|visit| visit.until_closed());
    let proxy = Proxy::start(&Config::to(driver, &backend).timeouts("tunnel_idle = \"300ms\""));
    let mut client = tunnelled(&proxy);
    assert_ne!(client.rest().1, Ending::Silence);
    backend.wait_until_idle();
}

fn a_busy_tunnel_does_not(driver: Driver) {
    let backend = Backend::echoes_messages();
    let proxy = Proxy::start(&Config::to(driver, &backend).timeouts("tunnel_idle = \"2s\""));
    let mut socket = connect(&proxy.address(), "/");
    let start = std::time::Instant::now();
    while start.elapsed() < std::time::Duration::from_secs(3) {
        assert_echo(&mut socket, "still here");
        pause(std::time::Duration::from_millis(50));
    }
    close(&mut socket);
}
