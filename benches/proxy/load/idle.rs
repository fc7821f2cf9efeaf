//! Connections that each do one small request and wait then.

use super::SILENCE;
use super::connection::text;
use crate::Outcome;
use crate::work::{self, Known};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A response with what a proxy adds must fit.
const READ_BYTES: usize = 4096;

/// Open connections; closed when dropped.
pub(crate) struct Idle {
    /// Held for their being open.
    _streams: Vec<TcpStream>,
}

impl Idle {
    /// Opens one after the other, so that the proxy never has more than one request at a time.
    pub(crate) fn open(proxy: SocketAddr, connections: usize) -> Outcome<Self> {
        let (request, mut known) = (work::get(), Known::default());
        let streams = (0..connections).map(|_| visit(proxy, &request, &mut known));
        Ok(Idle { _streams: streams.collect::<Outcome<_>>()? })
    }
}

fn visit(proxy: SocketAddr, request: &[u8], known: &mut Known) -> Outcome<TcpStream> {
    let failed = |error: io::Error| format!("no connection that waits: {error}");
    let mut stream = TcpStream::connect(proxy).map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    stream.set_read_timeout(Some(SILENCE)).map_err(failed)?;
    stream.write_all(request).map_err(failed)?;
    let (mut read, mut count) = ([0; READ_BYTES], 0);
    loop {
        match stream.read(&mut read[count..]).map_err(failed)? {
            0 => return Err(format!("a connection was closed after {:?}", text(&read[..count]))),
            more => count += more,
        }
        let response = &read[..count];
        let wrong = || format!("a wrong response: {:?}", text(response));
        match known.take(response).map_err(|_| wrong())? {
            None => {}
            Some(length) if length == count => return Ok(stream),
            Some(_) => return Err(wrong()),
        }
    }
}
