//! Where upstreams may point: which addresses may be dialled, and which not.
//!
//! What is refused is decided on the address that is dialled, never on how it was written: a name is judged by each address
//! that it has at the moment. An IPv6 address that carries an IPv4 address, because something on the way translates or tunnels
//! it, is judged by what it carries as well. A translator with a prefix of its provider's own cannot be told from any other
//! network; who has one leaves it out of his routes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::host;
use crate::problem::Fault;

/// In IPv6, IPv4 addresses have this prefix: ::ffff:0:0/96 (RFC 4291 2.5.5.2).
const MAPPED_PREFIX_BITS: u8 = 96;

/// A policy and its exceptions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// What is refused.
    pub policy: EgressPolicy,
    /// What is not, all the same.
    pub(crate) allowed: Vec<Allowed>,
}

/// What is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EgressPolicy {
    /// Nothing but 169.254.0.0/16, where clouds give a machine's secrets to whoever asks from that machine.
    #[default]
    Any,
    /// Everything that is not asked by https, and everything that is no address of the public Internet.
    Public,
}

impl EgressPolicy {
    /// Its name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Public => "public",
        }
    }
}

/// An exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// The addresses of a network.
    Network(IpNet),
    /// A host name, in A-labels: whatever its addresses are.
    Name(String),
    /// The names below this one.
    Below(String),
}

/// Why an address may not be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// It is not asked by https, as `public` wants it.
    NotHttps,
    /// It is a Unix socket, which is none of the public Internet.
    Socket,
    /// It is not for this policy.
    Address {
        /// What it is, such as "link-local".
        kind: &'static str,
        /// The IPv4 address that it carries and that is meant, where it is not the address itself.
        carried: Option<Ipv4Addr>,
    },
}

impl fmt::Display for Forbidden {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttps => out.write_str("it is not asked by https"),
            Self::Socket => out.write_str("it is a Unix socket"),
            Self::Address { kind, carried: None } => write!(out, "its address is {kind}"),
            Self::Address { kind, carried: Some(carried) } => {
                write!(out, "its address carries {carried}, which is {kind}")
            }
        }
    }
}

impl Allowed {
    /// Reads an exception: an address, a network, a host name, or the names below one (`*.corp.internal`). Bits behind a network's
    /// prefix do not count.
    ///
    /// # Errors
    /// What is wrong, and where it can be guessed what was meant.
    pub(crate) fn read(text: &str) -> Result<Self, Fault> {
        let address = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = address.parse::<IpAddr>() {
            return Ok(Self::Network(IpNet::from(address.to_canonical())));
        }
        refuse_what_is_no_host(text)?;
        if let Some((address, _)) = text.split_once('/') {
            return network(text, address).map(Self::Network);
        }
        let host = host::site_host(text)?;
        Ok(match (host.strip_prefix("*."), host.parse::<Ipv4Addr>()) {
            (Some(above), _) => Self::Below(above.to_owned()),
            // With a closing dot, or in digits that IDNA knows.
            (None, Ok(address)) => Self::Network(IpNet::from(IpAddr::V4(address))),
            (None, Err(_)) => Self::Name(host),
        })
    }
}

/// The mistakes that have a better message than "no host name".
fn refuse_what_is_no_host(text: &str) -> Result<(), Fault> {
    if text == "*" {
        return Err(Fault::new("`*` would allow everything")
            .help("write the networks and names that may be reached: \"10.1.0.0/16\", \"*.corp.internal\""));
    }
    if let Some((_, rest)) = text.split_once("://") {
        let name = rest.split(['/', '?', '#', ':']).next().unwrap_or_default();
        return Err(Fault::new("a host is allowed with all that it has: no scheme and no path stand here")
            .help(format!("write {name:?}")));
    }
    match text.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() && (!name.contains(':') || name.ends_with(']')) => {
            let name = name.trim_matches(['[', ']']);
            Err(Fault::new("a host is allowed with all of its ports").help(format!("write {name:?}")))
        }
        _ => Ok(()),
    }
}

/// Reads a network that begins with `address`. One of IPv4 addresses in IPv6 is read as what it is.
fn network(text: &str, address: &str) -> Result<IpNet, Fault> {
    let Ok(network) = text.parse::<IpNet>() else {
        let fault = Fault::new(format!("{text:?} is no network"));
        return Err(if address.parse::<IpAddr>().is_err() && host::host(address).is_ok() {
            fault.help(format!("a host is allowed with all of its paths: write {address:?}"))
        } else {
            fault.help("write \"10.1.0.0/16\" or \"2001:db8:1::/48\"")
        });
    };
    Ok(match network.trunc() {
        IpNet::V6(mapped) if mapped.prefix_len() >= MAPPED_PREFIX_BITS => {
            let inner = mapped.network().to_ipv4_mapped();
            let inner = inner.and_then(|ip| Ipv4Net::new(ip, mapped.prefix_len() - MAPPED_PREFIX_BITS).ok());
            inner.map_or(IpNet::V6(mapped), IpNet::V4)
        }
        network => network,
    })
}

impl Egress {
    /// Whether `address` may be dialled for a backend that is written with the host `name`, or with the address itself, and
    /// that is asked by `https` or in the clear.
    ///
    /// # Errors
    /// Why not.
    pub fn permits(&self, address: IpAddr, name: Option<&str>, https: bool) -> Result<(), Forbidden> {
        if name.is_some_and(|name| self.allows_name(name)) {
            return Ok(());
        }
        let is_exempt = match address.to_canonical() {
            IpAddr::V4(address) => self.judge_v4(address, None)?,
            IpAddr::V6(address) => self.judge_v6(address)?,
        };
        if is_exempt || self.takes(https) { Ok(()) } else { Err(Forbidden::NotHttps) }
    }

    /// Whether some address of a host called `name` might be dialled: what can be said before they are known.
    ///
    /// # Errors
    /// Why not.
    pub fn permits_some_of(&self, name: &str, https: bool) -> Result<(), Forbidden> {
        let may_be_exempt = self.allowed.iter().any(|allowed| matches!(allowed, Allowed::Network(_)));
        if may_be_exempt || self.takes(https) || self.allows_name(name) {
            return Ok(());
        }
        Err(Forbidden::NotHttps)
    }

    /// Whether a Unix socket may be dialled.
    ///
    /// # Errors
    /// Why not.
    pub fn permits_socket(&self) -> Result<(), Forbidden> {
        match self.policy {
            EgressPolicy::Any => Ok(()),
            EgressPolicy::Public => Err(Forbidden::Socket),
        }
    }

    /// The exceptions, in their canonical spelling.
    pub fn allowed(&self) -> impl Iterator<Item = String> {
        self.allowed.iter().map(|allowed| match allowed {
            Allowed::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                network.addr().to_string()
            }
            Allowed::Network(network) => network.to_string(),
            Allowed::Name(name) => name.clone(),
            Allowed::Below(above) => format!("*.{above}"),
        })
    }

    fn takes(&self, https: bool) -> bool {
        https || self.policy == EgressPolicy::Any
    }

    /// Whether an address is an exception; carried by another one, when that is `carried`.
    fn judge_v4(&self, address: Ipv4Addr, carried: Option<Ipv4Addr>) -> Result<bool, Forbidden> {
        let is_exempt = self.allows(address.into());
        let kind = match self.policy {
            EgressPolicy::Any => address.is_link_local().then_some(LINK_LOCAL),
            EgressPolicy::Public => kind(&V4, address.to_bits().into(), 32),
        };
        match kind {
            Some(kind) if !is_exempt => Err(Forbidden::Address { kind, carried }),
            _ => Ok(is_exempt),
        }
    }

    /// Whether an address is an exception, by itself or because it leads to nothing but such.
    fn judge_v6(&self, address: Ipv6Addr) -> Result<bool, Forbidden> {
        let (mut leads_on, mut leads_to_exempt) = (false, true);
        for carried in translated(address) {
            leads_on = true;
            leads_to_exempt &= self.judge_v4(carried, Some(carried))?;
        }
        // A host of the public Internet may have such an interface identifier by chance: what this carries exempts nothing.
        if let Some(carried) = isatap(address) {
            self.judge_v4(carried, Some(carried))?;
        }
        let is_exempt = self.allows(address.into());
        let kind = match self.policy {
            EgressPolicy::Any => None,
            EgressPolicy::Public => kind(&V6, address.to_bits(), 128),
        };
        match kind {
            Some(kind) if !is_exempt => Err(Forbidden::Address { kind, carried: None }),
            _ => Ok(is_exempt || leads_on && leads_to_exempt),
        }
    }

    fn allows(&self, address: IpAddr) -> bool {
        let has = |allowed: &Allowed| match allowed {
            Allowed::Network(network) => network.contains(&address),
            Allowed::Name(_) | Allowed::Below(_) => false,
        };
        self.allowed.iter().any(has)
    }

    /// A closing dot says only how a name is looked up.
    fn allows_name(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        let has = |allowed: &Allowed| match allowed {
            Allowed::Network(_) => false,
            Allowed::Name(allowed) => name == allowed,
            Allowed::Below(above) => {
                name.strip_suffix(&**above).is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
            }
        };
        self.allowed.iter().any(has)
    }
}

/// Whether an address is one of the public Internet.
pub(crate) fn is_public(address: IpAddr) -> bool {
    let policy = Egress { policy: EgressPolicy::Public, allowed: Vec::new() };
    policy.permits(address, None, true).is_ok()
}

/// Addresses that have something in common.
struct Block {
    /// The first of them.
    first: u128,
    prefix_bits: u32,
    kind: &'static str,
}

const fn v4(first: [u8; 4], prefix_bits: u32, kind: &'static str) -> Block {
    Block { first: u32::from_be_bytes(first) as u128, prefix_bits, kind }
}

const fn v6(first: [u16; 4], prefix_bits: u32, kind: &'static str) -> Block {
    let [a, b, c, d] = first;
    Block { first: Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_bits(), prefix_bits, kind }
}

const LINK_LOCAL: &str = "link-local";

/// The special-purpose addresses of IPv4 (RFC 6890 and its registry) that are none of the public Internet.
const V4: [Block; 15] = [
    v4([0, 0, 0, 0], 8, "unspecified"),
    v4([10, 0, 0, 0], 8, "private"),
    v4([100, 64, 0, 0], 10, "shared by the customers of a provider"),
    v4([127, 0, 0, 0], 8, "loopback"),
    v4([169, 254, 0, 0], 16, LINK_LOCAL),
    v4([172, 16, 0, 0], 12, "private"),
    v4([192, 0, 0, 0], 24, "kept for protocols"),
    v4([192, 0, 2, 0], 24, "for documentation"),
    // Relays of 6to4, which are no more (RFC 7526).
    v4([192, 88, 99, 0], 24, "kept for protocols"),
    v4([192, 168, 0, 0], 16, "private"),
    v4([198, 18, 0, 0], 15, "for benchmarks"),
    v4([198, 51, 100, 0], 24, "for documentation"),
    v4([203, 0, 113, 0], 24, "for documentation"),
    v4([224, 0, 0, 0], 4, "multicast"),
    // 255.255.255.255, broadcast, among them.
    v4([240, 0, 0, 0], 4, "reserved"),
];

/// The same of IPv6, without those that carry an IPv4 address.
const V6: [Block; 13] = [
    Block { first: 0, prefix_bits: 128, kind: "unspecified" },
    Block { first: 1, prefix_bits: 128, kind: "loopback" },
    v6([0x100, 0, 0, 0], 64, "for discarding"),
    v6([0x100, 0, 0, 1], 64, "for discarding"),
    v6([0x2001, 2, 0, 0], 48, "for benchmarks"),
    // ORCHID, which is no more (RFC 4843).
    v6([0x2001, 0x10, 0, 0], 28, "kept for protocols"),
    v6([0x2001, 0xdb8, 0, 0], 32, "for documentation"),
    v6([0x3fff, 0, 0, 0], 20, "for documentation"),
    // Segments of segment routing (RFC 9602).
    v6([0x5f00, 0, 0, 0], 16, "kept for protocols"),
    v6([0xfc00, 0, 0, 0], 7, "private"),
    v6([0xfe80, 0, 0, 0], 10, LINK_LOCAL),
    // Site-local, which is no more (RFC 3879) and still routed in places.
    v6([0xfec0, 0, 0, 0], 10, "private"),
    v6([0xff00, 0, 0, 0], 8, "multicast"),
];

/// What is special about an address of `bits` bits, if anything.
fn kind(blocks: &[Block], address: u128, bits: u32) -> Option<&'static str> {
    let is_in = |block: &&Block| (address ^ block.first) >> (bits - block.prefix_bits) == 0;
    blocks.iter().find(is_in).map(|block| block.kind)
}

/// The IPv4 addresses to which an IPv6 address may lead by its prefix.
fn translated(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let o = address.octets();
    let last = Ipv4Addr::new(o[12], o[13], o[14], o[15]);
    let one = |carried| [Some(carried), None, None, None];
    let carried = match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => [None; 4],
        // IPv4-compatible (RFC 4291 2.5.5.1). What is IPv4-mapped (2.5.5.2) is IPv4 by now.
        [0, 0, 0, 0, 0, 0, _, _] => one(last),
        // IPv4-translated (RFC 2765 2.1).
        [0, 0, 0, 0, 0xffff, 0, _, _] => one(last),
        // NAT64 with the well-known prefix (RFC 6052 2.1).
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => one(last),
        [0x64, 0xff9b, 1, ..] => local_nat64(o),
        // 6to4 (RFC 3056 2).
        [0x2002, ..] => one(Ipv4Addr::new(o[2], o[3], o[4], o[5])),
        // Teredo: its server, and its client with all bits turned round (RFC 4380 4).
        [0x2001, 0, ..] => {
            let server = Ipv4Addr::new(o[4], o[5], o[6], o[7]);
            [Some(server), Some(Ipv4Addr::from_bits(!last.to_bits())), None, None]
        }
        _ => [None; 4],
    };
    carried.into_iter().flatten()
}

/// What NAT64 with a prefix in 64:ff9b:1::/48 may make of an address (RFC 8215). How long the prefix is can only be guessed, and so
/// each of its lengths is read (RFC 6052 2.2). 0.0.0.0/8 is where nothing is, and counts only where nothing else was read.
fn local_nat64(o: [u8; 16]) -> [Option<Ipv4Addr>; 4] {
    let last = Ipv4Addr::new(o[12], o[13], o[14], o[15]);
    // The ninth byte belongs to no address.
    let longer_prefixes =
        [[o[6], o[7], o[9], o[10]], [o[7], o[9], o[10], o[11]], [o[9], o[10], o[11], o[12]]];
    let [a, b, c] =
        longer_prefixes.map(Ipv4Addr::from).map(|read| Some(read).filter(|read| read.octets()[0] > 0));
    let is_only = [a, b, c].iter().all(Option::is_none);
    [a, b, c, Some(last).filter(|last| is_only || last.octets()[0] > 0)]
}

/// The IPv4 address in an interface identifier of ISATAP (RFC 5214 6.1), whatever the network.
fn isatap(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [.., 0 | 0x200, 0x5efe, high, low] => {
            Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
