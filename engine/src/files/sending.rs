//! The bytes of a file on their way to a client.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use super::delivery::{Delivery, Filled, Missing};
use super::elsewhere;
use crate::conn::Client;
use crate::error::Error;
use crate::net::buf::{BUF_BYTES, Buf};
use crate::net::deadline::TICK;
use crate::net::{patrol, task};
use crate::relay::{Failure, Stage};
use crate::worker::Worker;

/// How long one waits before it asks again where too much is asked of the disk.
const PAUSE: Duration = TICK;

/// How many small buffers a client takes at once before it gets a large one.
const BRISK: u32 = 16;

/// How a response is sent.
pub(crate) struct Sending<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) client: &'a Client,
    /// What shows that the client has gone while nothing is written to it.
    pub(crate) look: patrol::Look,
    /// How long the disk may take for a piece.
    pub(crate) patience: Duration,
    /// How long the client may take to take one.
    pub(crate) client_write: Duration,
    /// The bytes of the body that were sent.
    pub(crate) body_bytes: &'a Cell<u64>,
}

impl Sending<'_> {
    /// Sends what `out` holds, a head of [`Delivery::begin`]'s, and the body behind it.
    ///
    /// # Errors
    /// `ClientGone`, `FilesBusy` or `FileUnreadable`, with what the client has by then. Its length was announced: what is cut
    /// short does not look complete.
    pub(crate) async fn run(&self, mut delivery: Delivery, mut out: Buf) -> Result<(), Failure> {
        let mut head_bytes = out.len();
        let mut stage = Stage::Unsent;
        let mut pace = 0;
        loop {
            let filled = delivery.fill(&mut out);
            let filled = filled.map_err(|_| Failure { error: Error::FileUnreadable, stage })?;
            if let Filled::Unconfirmed(file) = filled {
                let now = match file.status_at_once() {
                    Some(status) => status.map_err(|_| Error::FileUnreadable),
                    None => {
                        let status = || {
                            let file = file.clone();
                            move || file.status()
                        };
                        self.ask(status).await
                    }
                };
                let confirmed = now.and_then(|now| delivery.confirm(&now).map_err(|_| Error::FileUnreadable));
                confirmed.map_err(|error| Failure { error, stage })?;
                continue;
            }
            let mut took_back = false;
            if !out.is_empty() && !is_worth_waiting(&filled, &out, head_bytes) {
                stage = Stage::Started { looks_complete: false };
                let bytes = out.len();
                let written = self.write(&mut delivery, &mut out, &mut pace).await;
                let back = written.map_err(|_| Failure { error: Error::ClientGone, stage })?;
                took_back = back > 0;
                let bytes = bytes - back;
                self.body_bytes.set(self.body_bytes.get() + (bytes - std::mem::take(&mut head_bytes)) as u64);
                self.client.spend(bytes).await;
            }
            match filled {
                _ if took_back => {}
                Filled::End => return Ok(()),
                Filled::Room | Filled::Unconfirmed(_) => {}
                Filled::Wait(missing) => {
                    let read = self.read(missing, out.spare()).await;
                    let came = read
                        .and_then(|bytes| delivery.came(&bytes, &mut out).map_err(|_| Error::FileUnreadable));
                    came.map_err(|error| Failure { error, stage })?;
                }
            }
        }
    }

    /// Writes what `out` holds. A client that does not take all of it at once may take long for the rest: what goes beyond a small
    /// buffer is given back to `delivery` then, to be read again, so that who waits does not hold a large one. Says how many bytes
    /// that were. `pace` counts the small buffers that were taken at once since then.
    async fn write(&self, delivery: &mut Delivery, out: &mut Buf, pace: &mut u32) -> io::Result<usize> {
        let was_small = out.capacity() <= BUF_BYTES;
        let mut back = if was_small || self.client.takes_more() { 0 } else { self.shrink(delivery, out) };
        self.client.write_some(out, self.client_write).await?;
        if out.is_empty() {
            *pace = if was_small { *pace + 1 } else { 0 };
            if *pace >= BRISK {
                *out = self.worker.bufs.take_bulk();
            }
            return Ok(back);
        }
        *pace = 0;
        if out.capacity() > BUF_BYTES {
            back += self.shrink(delivery, out);
        }
        self.client.write_all(out, self.client_write).await?;
        Ok(back)
    }

    /// Puts the beginning of what `out` holds into a small buffer and gives the rest back; says how many bytes that were.
    fn shrink(&self, delivery: &mut Delivery, out: &mut Buf) -> usize {
        let mut small = self.worker.bufs.take();
        let kept = out.len().min(small.spare());
        let back = out.len() - kept;
        if !delivery.take_back(back as u64) {
            return 0;
        }
        out.narrow(0, kept);
        small.append(out.filled());
        *out = small;
        back
    }

    /// What is missing, up to `at_most` bytes.
    async fn read(&self, missing: Missing, at_most: usize) -> Result<Vec<u8>, Error> {
        let Missing { file, at, bytes } = missing;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(at_most);
        self.ask(|| {
            let file = file.clone();
            move || {
                let mut read = vec![0; bytes];
                let length = file.read_at(&mut read, at)?;
                read.truncate(length);
                Ok(read)
            }
        })
        .await
    }

    /// Has work done that `work` makes, as soon as there is somebody to do it.
    async fn ask<T: Send + 'static, W>(&self, work: impl Fn() -> W) -> Result<T, Error>
    where
        W: FnOnce() -> io::Result<T> + Send + 'static,
    {
        let until = self.worker.now_ms() + self.patience.as_millis() as u64;
        loop {
            let done = elsewhere(self.worker, self.client, (self.look, self.patience), work()).await;
            match done {
                // One that has begun is not given up because others came meanwhile.
                Err(Error::FilesBusy) if self.worker.now_ms() < until => task::sleep(PAUSE).await,
                done => return done?.map_err(|_| Error::FileUnreadable),
            }
        }
    }
}

/// A head alone waits for the first bytes of its body: if there are none, something else can still be said.
fn is_worth_waiting(filled: &Filled, out: &Buf, head_bytes: usize) -> bool {
    matches!(filled, Filled::Wait(_)) && out.len() == head_bytes
}
