//! What all limits have counted: which key a request is counted by, and all limits of an exchange together.

use std::net::IpAddr;

use ringway_config::RateKey;
use ringway_wire::RequestHead;

use super::secret::{Hash, Secret};
use super::table::Table;
use super::{ClientKey, Limit, Refused};

/// What all limits have counted.
#[derive(Debug)]
pub(crate) struct Counts {
    /// Clients choose what they are counted by: without the secret of its hash they cannot choose who shares it with them.
    secret: Secret,
    table: Table,
}

impl Counts {
    /// Room of `bytes`, and nothing counted. `None` when the system does not give so much.
    pub(super) fn new(bytes: u64) -> Option<Self> {
        Some(Self { secret: Secret::random(), table: Table::new(bytes)? })
    }

    /// How much memory it takes when all of it is used, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.table.bytes()
    }

    /// Whether it is what `new` makes for so many bytes.
    pub(super) fn is_of(&self, bytes: u64) -> bool {
        self.table.is_of(bytes)
    }

    /// How many keys were forgotten for want of room.
    pub(super) fn forgotten(&self) -> u64 {
        self.table.forgotten()
    }

    /// Counts a request of `client`, at `now_ns` nanoseconds since the process started, with each of its limits.
    ///
    /// # Errors
    /// [`Refused`], by the first limit that refuses it; then it counts nowhere.
    pub(crate) fn take(
        &self,
        limits: &[Limit],
        client: Option<IpAddr>,
        head: &RequestHead,
        bytes: &[u8],
        now_ns: u64,
    ) -> Result<(), Refused> {
        let key_of = |limit: &Limit| self.key(limit, client, head, bytes);
        for (index, limit) in limits.iter().enumerate() {
            if let Err(early_ns) = self.table.take(key_of(limit), limit.rate, now_ns) {
                // Else whoever is refused by a limit of its own would use up one that all of a site share.
                limits[..index].iter().for_each(|before| self.table.give_back(key_of(before), before.rate));
                return Err(limit.policy.refused(early_ns));
            }
        }
        Ok(())
    }

    /// What a request is counted by under `limit`.
    #[inline]
    fn key(&self, limit: &Limit, client: Option<IpAddr>, head: &RequestHead, bytes: &[u8]) -> u64 {
        let mut hash = self.secret.hash();
        let (kind, number) = match &limit.key {
            RateKey::Site => (SITE, 0),
            RateKey::Field(name) if add_values(name.as_bytes(), head, bytes, &mut hash) => (FIELD, 0),
            RateKey::Field(_) | RateKey::Client => numbers_of(ClientKey::of(client)),
        };
        hash.add(limit.identity.wrapping_add(kind));
        hash.add(number);
        hash.finish()
    }
}

/// What tells keys of one limit apart that come of different things.
const SITE: u64 = 3;
const FIELD: u64 = 4;

fn numbers_of(client: ClientKey) -> (u64, u64) {
    match client {
        ClientKey::NoAddress => (0, 0),
        ClientKey::V4(address) => (1, address.into()),
        ClientKey::V6(network) => (2, network),
    }
}

/// Adds the values of all fields of this name, in their order. Says whether there is one.
fn add_values(name: &[u8], head: &RequestHead, bytes: &[u8], hash: &mut Hash) -> bool {
    let mut is_there = false;
    for field in &head.fields {
        if field.name_span.len() == name.len() && field.name_span.of(bytes).eq_ignore_ascii_case(name) {
            hash.add_text(field.value.of(bytes));
            is_there = true;
        }
    }
    is_there
}
