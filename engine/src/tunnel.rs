//! After a 101: bytes both ways, with backpressure and half-close, until both sides have ended or nothing has come for the
//! idle limit. A tunnel knows no configuration and outlives its changes.

use std::cell::Cell;
use std::net::Shutdown;
use std::time::Duration;

use crate::conn::Client;
use crate::net::buf::{Buf, BufPool};
use crate::net::deadline::Ends;
use crate::net::stream::Stream;
use crate::net::task::both;
use crate::upstream::Backend;
use crate::worker::Worker;

/// The bytes that a tunnel carried.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Carried {
    pub(crate) from_client: u64,
    pub(crate) to_client: u64,
}

/// Runs a tunnel to its end. `from_client` and `from_backend` hold what came behind the heads.
pub(crate) async fn run(
    worker: &Worker,
    client: &Client,
    backend: &Backend,
    idle: Duration,
    from_client: Buf,
    from_backend: Buf,
) -> Carried {
    let begin_anew = || {
        client.reading.arm(idle, Ends::Both);
        backend.deadline.arm(idle, Ends::Both);
    };
    begin_anew();
    let armed = Cell::new(worker.wheel.now());
    // Within one tick the deadlines come out the same.
    let alive = || {
        let now = worker.wheel.now();
        if armed.replace(now) != now {
            begin_anew();
        }
    };
    let pool = &worker.bufs;
    let there = Way { pool, from: &client.stream, to: &backend.stream, client, alive: &alive };
    let back = Way { pool, from: &backend.stream, to: &client.stream, client, alive: &alive };
    let (from_client, to_client) = both(there.carry(from_client), back.carry(from_backend)).await;
    Carried { from_client, to_client }
}

/// One direction.
struct Way<'a, F: Fn()> {
    pool: &'a BufPool,
    from: &'a Stream,
    to: &'a Stream,
    client: &'a Client,
    /// Says that something moved.
    alive: &'a F,
}

impl<F: Fn()> Way<'_, F> {
    /// Carries until the sender ends (the receiver then gets that end) or either side fails (then both are cut).
    async fn carry(&self, first: Buf) -> u64 {
        let mut carried = 0;
        let mut buf = Some(first);
        loop {
            // No buffer is held while nothing comes.
            if let Some(mut buf) = buf.take()
                && !buf.is_empty()
            {
                let bytes = buf.len();
                if self.write_all(&mut buf).await.is_err() {
                    self.cut();
                    break;
                }
                carried += bytes as u64;
                self.client.spend(bytes).await;
            }
            if self.from.readable().await.is_err() {
                self.cut();
                break;
            }
            let mut fresh = self.pool.take();
            match self.from.read(&mut fresh).await {
                Ok(0) => {
                    self.to.shutdown(Shutdown::Write);
                    break;
                }
                Ok(_) => (self.alive)(),
                Err(_) => {
                    self.cut();
                    break;
                }
            }
            buf = Some(fresh);
        }
        carried
    }

    async fn write_all(&self, buf: &mut Buf) -> std::io::Result<()> {
        while !buf.is_empty() {
            self.to.write(buf).await?;
            (self.alive)();
        }
        Ok(())
    }

    fn cut(&self) {
        self.from.shutdown(Shutdown::Both);
        self.to.shutdown(Shutdown::Both);
    }
}
