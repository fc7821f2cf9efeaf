//! `[egress]`, where upstreams may point; and whether a backend does, as far as its URL says it.

use std::net::IpAddr;
use std::sync::Arc;

use crate::egress::{Allowed, Egress, EgressPolicy, Forbidden};
use crate::problem::{Finding, Pointer};
use crate::schema;
use crate::snapshot::{Backend, BackendAddress};

/// The policy of the file.
pub(super) fn of(written: &schema::Egress, findings: &mut Vec<Finding>) -> Arc<Egress> {
    let policy = match written.policy {
        schema::EgressPolicy::Any => EgressPolicy::Any,
        schema::EgressPolicy::Public => EgressPolicy::Public,
    };
    let at = Pointer::default().key("egress").key("allow");
    let mut allowed = Vec::with_capacity(written.allow.len());
    for (index, text) in written.allow.iter().enumerate() {
        match Allowed::read(text) {
            Ok(read) => {
                findings.extend(stray_bits(text, &read, &at.index(index)));
                allowed.push(read);
            }
            Err(fault) => findings.push(Finding::fault(at.index(index), fault)),
        }
    }
    Arc::new(Egress { policy, allowed })
}

/// A network of which more was written than its prefix takes.
fn stray_bits(text: &str, read: &Allowed, at: &Pointer) -> Option<Finding> {
    let Allowed::Network(network) = read else { return None };
    let written = text.split_once('/')?.0.parse::<IpAddr>().ok()?.to_canonical();
    let message = format!("{text:?} has bits behind its prefix; the network is {network}");
    (written != network.network()).then(|| Finding::warning(at.clone(), message))
}

/// Checks a backend whose URL stands at `at`. What a name leads to is known only when it is dialled, and checked then.
pub(super) fn check(egress: &Egress, backend: &Backend, at: &Pointer, findings: &mut Vec<Finding>) {
    let https = backend.is_https();
    let permitted = match &backend.address {
        BackendAddress::Socket(address) => egress.permits(address.ip(), None, https),
        BackendAddress::Name { host, .. } => egress.permits_some_of(host, https),
        BackendAddress::Unix(_) => egress.permits_socket(),
        BackendAddress::Unknown => Ok(()),
    };
    if let Err(why) = permitted {
        findings.push(refusal(egress, backend, why, at));
    }
}

fn refusal(egress: &Egress, backend: &Backend, why: Forbidden, at: &Pointer) -> Finding {
    let policy = egress.policy.name();
    let finding =
        Finding::error(at.clone(), format!("egress.policy = {policy:?} refuses this backend: {why}"));
    let exception = match (why, &backend.address) {
        (Forbidden::Socket, _) => return finding.help("write policy = \"any\" in [egress]"),
        (Forbidden::Address { carried: Some(carried), .. }, _) => carried.to_string(),
        (_, BackendAddress::Socket(address)) => address.ip().to_canonical().to_string(),
        (_, BackendAddress::Name { host, .. }) => host.strip_suffix('.').unwrap_or(host).to_owned(),
        (_, BackendAddress::Unix(_) | BackendAddress::Unknown) => return finding,
    };
    finding.help(format!("where it is meant, write allow = [{exception:?}] in [egress]"))
}
