//! The bytes of a file on their way to a client.

use std::cell::Cell;
use std::time::Duration;

use super::delivery::{Delivery, Filled, Missing};
use super::elsewhere;
use crate::conn::Client;
use crate::error::Error;
use crate::net::buf::Buf;
use crate::net::deadline::TICK;
use crate::net::{patrol, task};
use crate::relay::{Failure, Stage};
use crate::worker::Worker;

/// How long one waits before it asks again where too much is asked of the disk.
const PAUSE: Duration = TICK;

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
        loop {
            let filled = delivery.fill(&mut out);
            let filled = filled.map_err(|_| Failure { error: Error::FileUnreadable, stage })?;
            if !out.is_empty() && !is_worth_waiting(&filled, &out, head_bytes) {
                stage = Stage::Started { looks_complete: false };
                let bytes = out.len();
                let written = self.client.write_all(&mut out, self.client_write).await;
                written.map_err(|_| Failure { error: Error::ClientGone, stage })?;
                self.body_bytes.set(self.body_bytes.get() + (bytes - std::mem::take(&mut head_bytes)) as u64);
                self.client.spend(bytes).await;
            }
            match filled {
                Filled::End => return Ok(()),
                Filled::Room => {}
                Filled::Wait(missing) => {
                    let read = self.read(missing, out.spare()).await;
                    let came = read
                        .and_then(|bytes| delivery.came(&bytes, &mut out).map_err(|_| Error::FileUnreadable));
                    came.map_err(|error| Failure { error, stage })?;
                }
            }
        }
    }

    /// What is missing, up to `at_most` bytes.
    async fn read(&self, missing: Missing, at_most: usize) -> Result<Vec<u8>, Error> {
        let Missing { file, at, bytes } = missing;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(at_most);
        let until = self.worker.now_ms() + self.patience.as_millis() as u64;
        loop {
            let file = file.clone();
            let work = move || {
                let mut read = vec![0; bytes];
                let length = file.read_at(&mut read, at);
                length.map(|length| {
                    read.truncate(length);
                    read
                })
            };
            let read = elsewhere(self.worker, self.client, (self.look, self.patience), work).await;
            match read {
                // One that has begun is not given up because others came meanwhile.
                Err(Error::FilesBusy) if self.worker.now_ms() < until => task::sleep(PAUSE).await,
                read => return read?.map_err(|_| Error::FileUnreadable),
            }
        }
    }
}

/// A head alone waits for the first bytes of its body: if there are none, something else can still be said.
fn is_worth_waiting(filled: &Filled, out: &Buf, head_bytes: usize) -> bool {
    matches!(filled, Filled::Wait(_)) && out.len() == head_bytes
}
