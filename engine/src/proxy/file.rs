//! Answers that are files.

use ringway_wire::RequestHead;

use super::here::Local;
use super::{Exchange, terms_of};
use crate::conn::After;
use crate::files::{self, Found, Sending};
use crate::net::buf::Buf;
use crate::relay::Failure;

/// What tells a client that a folder's path ends with a slash: the method stays, and it may remember.
const FOLDER_STATUS: u16 = 308;

impl Exchange<'_> {
    /// Answers with a file, or says why not.
    pub(super) async fn serve_file(
        &mut self,
        sought: files::Sought,
        input: &mut Buf,
        head: &RequestHead,
    ) -> Result<After, Failure> {
        let asked = files::Asked { head, bytes: input.filled() };
        let look = self.asked.client_look();
        let terms = terms_of(self.special.as_ref(), self.settings);
        let patience = terms.timeouts.response;
        let told = (&terms.response, &mut self.particulars);
        let found = files::find(self.worker, self.client, sought, asked, (look, patience), told).await;
        let delivery = match found.map_err(Failure::unsent)? {
            Found::Delivery(delivery) => delivery,
            Found::Folder(location) => {
                let answer = Local::Redirect { status: FOLDER_STATUS, location };
                return Ok(self.answer_here(answer, input, head).await);
            }
        };
        let close = self.must_close(input.len() - self.head_bytes);
        let date = self.worker.date();
        let out = delivery.begin(&self.worker.bufs, &self.asker(close, &date), &self.terms().response);
        self.flow.status.set(delivery.status());
        self.take_head(input);
        let sending = Sending {
            worker: self.worker,
            client: self.client,
            look,
            patience,
            client_write: self.terms().timeouts.client_write,
            body_bytes: &self.flow.response_bytes,
        };
        sending.run(delivery, out).await?;
        let goes_on = !close && self.discard_body(input).await;
        Ok(if goes_on { After::KeepAlive } else { After::Linger })
    }
}
