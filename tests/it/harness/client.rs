//! A client that sends the bytes it is told to, however wrong, and reads answers strictly.

use super::DEADLINE;
use super::message::{Body, Cut, Ending, Fields, Framing, Head, Reader, send_until_stalled};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::Write;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Address {
    pub fn tcp(&self) -> SocketAddr {
        match self {
            Address::Tcp(address) => *address,
            Address::Unix(path) => panic!("{} is no TCP address", path.display()),
        }
    }
}

/// One connection to the proxy.
pub struct Client {
    socket: Arc<Socket>,
    reader: Reader,
}

/// A whole response: its interim heads, head, body and trailers.
#[derive(Debug)]
pub struct Response {
    pub interim: Vec<Head>,
    pub status: u16,
    pub head: Head,
    pub framing: Framing,
    pub body: Vec<u8>,
    pub chunks: Vec<usize>,
    pub trailers: Fields,
    /// The trailer lines, byte for byte.
    pub trailer_lines: Vec<u8>,
}

impl Response {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.fields.get(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The member `name` of a JSON body.
    pub fn json(&self, name: &str) -> String {
        assert_eq!(self.field("content-type"), Some("application/json"), "{self:?}");
        let object: serde_json::Value = serde_json::from_slice(&self.body).expect("the body is JSON");
        object[name].as_str().unwrap_or_default().to_owned()
    }

    /// Asserts an answer that Ringway itself gave.
    #[track_caller]
    pub fn assert_error(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.json("code"), code);
    }
}

impl Client {
    pub fn connect(address: &Address) -> Self {
        match address {
            Address::Tcp(address) => {
                Client::dial(Domain::for_address(*address), &SockAddr::from(*address), None)
            }
            Address::Unix(path) => Client::unix(path),
        }
    }

    fn unix(path: &Path) -> Self {
        Client::dial(Domain::UNIX, &SockAddr::unix(path).expect("a short path"), None)
    }

    /// Connects from another address of this machine: as another client.
    pub fn connect_from(source: impl Into<IpAddr>, address: &Address) -> Self {
        let address = address.tcp();
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::new(source.into(), 0).into()).expect("an address of this machine");
        Client::on(socket, &SockAddr::from(address))
    }

    /// Connects with a receive buffer of `bytes`, so that the proxy's writes stall early.
    pub fn with_receive_buffer(address: &Address, bytes: usize) -> Self {
        let address = address.tcp();
        Client::dial(Domain::for_address(address), &SockAddr::from(address), Some(bytes))
    }

    fn dial(domain: Domain, address: &SockAddr, receive_buffer: Option<usize>) -> Self {
        let socket = Socket::new(domain, Type::STREAM, None).expect("a socket");
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes).expect("a receive buffer");
        }
        Client::on(socket, address)
    }

    fn on(socket: Socket, address: &SockAddr) -> Self {
        socket.connect(address).expect("the proxy accepts");
        if !address.is_unix() {
            socket.set_tcp_nodelay(true).expect("no delay");
        }
        socket.set_read_timeout(Some(DEADLINE)).expect("a read timeout");
        socket.set_write_timeout(Some(DEADLINE)).expect("a write timeout");
        let socket = Arc::new(socket);
        let reader = Reader::new(socket.clone(), |_| {});
        Client { socket, reader }
    }

    /// How long one read may wait, where a test expects silence.
    pub fn read_timeout(&self, timeout: Duration) {
        self.socket.set_read_timeout(Some(timeout)).expect("a read timeout");
    }

    /// Sends all of `bytes`. A peer that has closed is the reader's to report.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes.as_ref());
        self
    }

    /// Sends all of `bytes`; false when the peer stopped taking them.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        (&*self.socket).write_all(bytes).is_ok()
    }

    /// Sends `bytes` in writes of `piece` bytes each.
    pub fn send_in_pieces(&mut self, bytes: impl AsRef<[u8]>, piece: usize) -> &mut Self {
        for part in bytes.as_ref().chunks(piece) {
            self.send(part);
        }
        self
    }

    /// Sends up to `most` bytes, until the proxy takes no more; gives their number.
    pub fn send_until_stalled(&mut self, most: usize) -> usize {
        send_until_stalled(&self.socket, most)
    }

    /// Another handle for a thread that writes while this one reads.
    pub fn writer(&self) -> Arc<Socket> {
        self.socket.clone()
    }

    /// Sends a GET with nothing but a Host and reads the answer.
    pub fn get(&mut self, target: &str) -> Response {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")).response()
    }

    /// Sends `request` and reads the answer to a method other than HEAD.
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(request).response()
    }

    /// The next response. Panics when it does not arrive whole.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    #[track_caller]
    pub fn response_to(&mut self, method: &str) -> Response {
        match self.try_response(method) {
            Ok(response) => response,
            Err(cut) => {
                panic!("no whole response: {:?}, head {:?}, {:?}", cut.ending, cut.head, lossy(&cut.bytes))
            }
        }
    }

    pub fn try_response(&mut self, method: &str) -> Result<Response, Cut> {
        let mut interim = Vec::new();
        let head = loop {
            let head = self.reader.head()?;
            match head.status() {
                101 => break head,
                100..200 => interim.push(head),
                _ => break head,
            }
        };
        let framing = framing(&head, method);
        let cut = |cut| Cut { head: Some(head.clone()), ..cut };
        let Body { bytes, chunks, trailers } = self.reader.body(framing).map_err(cut)?;
        let trailer_lines = trailers.raw.strip_prefix(b"0\r\n").and_then(|lines| lines.strip_suffix(b"\r\n"));
        let trailer_lines = trailer_lines.unwrap_or_default().to_vec();
        let (status, trailers) = (head.status(), trailers.fields);
        Ok(Response { interim, status, head, framing, body: bytes, chunks, trailers, trailer_lines })
    }

    /// One head, interim or final; its body stays unread.
    pub fn head(&mut self) -> Head {
        self.reader.head().expect("a head")
    }

    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        self.reader.exactly(count).expect("more bytes")
    }

    /// Up to `most` bytes, whatever they are: as many as come before the read timeout or the end.
    pub fn read_up_to(&mut self, most: usize) -> usize {
        self.reader.exactly(most).map_or_else(|cut| cut.bytes.len(), |bytes| bytes.len())
    }

    /// The next `most` bytes, or as many as come before the read timeout or the end.
    pub fn bytes_up_to(&mut self, most: usize) -> Vec<u8> {
        self.reader.exactly(most).unwrap_or_else(|cut| cut.bytes)
    }

    /// Everything until the proxy closes, and how it did.
    pub fn rest(&mut self) -> (Vec<u8>, Ending) {
        self.reader.rest()
    }

    /// Asserts that the proxy closes the connection, by FIN, without another byte.
    #[track_caller]
    pub fn assert_closed(&mut self) {
        let (bytes, ending) = self.rest();
        assert_eq!((lossy(&bytes).as_str(), ending), ("", Ending::Fin));
    }

    /// Shuts the write side down: FIN.
    pub fn finish(&mut self) -> &mut Self {
        self.socket.shutdown(Shutdown::Write).expect("the connection stands");
        self
    }

    /// Closes with RST.
    pub fn reset(self) {
        self.socket.set_linger(Some(Duration::ZERO)).expect("linger");
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// RFC 9112 section 6.3, for what a proxy that means well sends.
fn framing(head: &Head, method: &str) -> Framing {
    match head.status() {
        101 | 204 | 304 => Framing::None,
        _ if method == "HEAD" => Framing::None,
        _ => Framing::of(&head.fields, Framing::UntilClose),
    }
}
