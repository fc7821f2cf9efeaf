//! What all limits have counted: which key a request is counted by, and all limits of an exchange together.

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::net::IpAddr;

use ringway_config::RateKey;
use ringway_wire::{Field, RequestHead};

use super::table::Table;
use super::{ClientKey, Limit, Refused};

/// What all limits have counted.
#[derive(Debug)]
pub(crate) struct Counts {
    /// Clients choose what they are counted by: without the secret of its hash they cannot choose who shares it with them.
    secret: RandomState,
    table: Table,
}

impl Counts {
    /// Room of `bytes`, and nothing counted. `None` when the system does not give so much.
    pub(super) fn new(bytes: u64) -> Option<Self> {
        Some(Self { secret: RandomState::new(), table: Table::new(bytes)? })
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
        let mut hash = self.secret.build_hasher();
        limit.identity.hash(&mut hash);
        let value = match &limit.key {
            RateKey::Site => return hash.finish(),
            RateKey::Field(name) => only_value(name.as_bytes(), head, bytes),
            RateKey::Client => None,
        };
        match value {
            Some(value) => value.hash(&mut hash),
            None => add_client(ClientKey::of(client), &mut hash),
        }
        hash.finish()
    }
}

/// Two numbers, which are no value's hash: that begins with its length.
fn add_client(client: ClientKey, hash: &mut DefaultHasher) {
    let (kind, number): (u64, u64) = match client {
        ClientKey::NoAddress => (0, 0),
        ClientKey::V4(address) => (1, address.into()),
        ClientKey::V6(network) => (2, network),
    };
    (u64::MAX - kind, number).hash(hash);
}

/// The value of the field of this name, if there is one and no other: of several, which of them a backend goes by, nobody knows,
/// and a client could make a new key of each request by adding another.
fn only_value<'b>(name: &[u8], head: &RequestHead, bytes: &'b [u8]) -> Option<&'b [u8]> {
    let is = |field: &&Field| {
        field.name_span.len() == name.len() && field.name_span.of(bytes).eq_ignore_ascii_case(name)
    };
    let mut fields = head.fields.iter().filter(is);
    let only = fields.next()?;
    fields.next().is_none().then(|| only.value.of(bytes))
}
