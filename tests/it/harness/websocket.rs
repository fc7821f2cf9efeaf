//! WebSocket on both ends: tungstenite over the harness's sockets, and handshakes written by hand.

use super::backend::{Backend, Visit};
use super::client::Address;
use super::message::Head;
use super::{DEADLINE, wait_until};
use std::io::{Cursor, ErrorKind, Read, Write};
use std::net::TcpStream;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::Role;
use tungstenite::{Error, Message, WebSocket};

/// The key of RFC 6455's example, and what a server makes of it.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A handshake by hand; `lines` are further field lines.
pub fn handshake(target: &str, lines: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{lines}\r\n"
    )
}

/// The 101 that accepts `head`.
pub fn switching(head: &Head) -> String {
    let key = head.fields.get("sec-websocket-key").expect("a key");
    let accept = derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

impl Backend {
    /// Accepts each handshake and runs `tunnel` on the connection after it.
    pub fn switches(tunnel: impl Fn(&mut Visit) + Send + Sync + 'static) -> Self {
        Backend::script(move |visit| {
            if let Some(head) = visit.head() {
                visit.send(switching(&head));
                tunnel(visit);
            }
        })
    }

    /// Sends each message back.
    pub fn echoes_messages() -> Self {
        Backend::switches(echo)
    }
}

/// Sends each message back until the peer closes.
pub fn echo(visit: &mut Visit) {
    let (socket, read_ahead) = visit.socket();
    let stream = Joined { first: Cursor::new(read_ahead), then: socket };
    let mut server = WebSocket::from_raw_socket(stream, Role::Server, None);
    loop {
        match server.read() {
            Ok(message) if message.is_text() || message.is_binary() => {
                if server.send(message).is_err() {
                    return;
                }
            }
            Ok(_) => {}
            // Silence is what an idle tunnel sounds like; its peer or the end of the test closes it.
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock && !visit.stopping() => {}
            Err(_) => return,
        }
    }
}

/// Bytes that were read ahead, then the socket.
struct Joined {
    first: Cursor<Vec<u8>>,
    then: std::sync::Arc<socket2::Socket>,
}

impl Read for Joined {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.first.read(buffer)? {
            0 => (&*self.then).read(buffer),
            count => Ok(count),
        }
    }
}

impl Write for Joined {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        (&*self.then).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A tungstenite client, its handshake done.
pub fn connect(address: &Address, target: &str) -> WebSocket<TcpStream> {
    let address = address.tcp();
    let stream = TcpStream::connect(address).expect("the proxy accepts");
    stream.set_read_timeout(Some(DEADLINE)).expect("a read timeout");
    stream.set_nodelay(true).expect("no delay");
    let (socket, response) =
        tungstenite::client(format!("ws://{address}{target}"), stream).expect("a handshake");
    assert_eq!(response.status(), 101);
    socket
}

/// Sends `text` and asserts that it comes back.
#[track_caller]
pub fn assert_echo(socket: &mut WebSocket<TcpStream>, text: &str) {
    socket.send(Message::text(text)).expect("the tunnel takes a message");
    let message = socket.read().expect("the tunnel gives it back");
    assert_eq!(message, Message::text(text));
}

/// Waits until the peer has answered a close with its own.
pub fn close(socket: &mut WebSocket<TcpStream>) {
    socket.close(None).expect("a close frame is sent");
    wait_until("the WebSocket closes", || matches!(socket.read(), Err(Error::ConnectionClosed)));
}
