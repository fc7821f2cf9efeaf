//! How many exchanges of a site or an upstream run and wait at one time.

use crate::problem::{Finding, Pointer};
use crate::schema;
use crate::snapshot::Admission;

/// What a site says.
pub(super) fn of_site(written: &schema::Site, at: &Pointer, findings: &mut Vec<Finding>) -> Admission {
    let schema::Site { max_active, max_queued, queue_timeout, count_tunnels, .. } = *written;
    let admission = Admission { max_active, max_queued, queue_timeout: queue_timeout.0, count_tunnels };
    check(&admission, false, at, findings);
    admission
}

/// What an upstream says.
pub(super) fn of_upstream(written: &schema::Upstream) -> Admission {
    let schema::Upstream { max_active, max_queued, queue_timeout, count_tunnels, .. } = *written;
    Admission { max_active, max_queued, queue_timeout: queue_timeout.0, count_tunnels }
}

/// Notes which keys of an upstream do nothing, or not what they are for.
pub(super) fn check_upstream(written: &schema::Upstream, at: &Pointer, findings: &mut Vec<Finding>) {
    let waits = written.on_no_backend == schema::OnNoBackend::Wait;
    check(&of_upstream(written), waits, at, findings);
    if waits && written.max_queued == 0 {
        let message = "no request waits for a backend: `max_queued` is 0";
        findings.push(
            Finding::warning(at.key("on_no_backend"), message).help("write \"fail\", or let some wait"),
        );
    }
}

/// `waits`: requests may wait without a limit, too.
fn check(written: &Admission, waits: bool, at: &Pointer, findings: &mut Vec<Finding>) {
    let default = Admission::default();
    let keys = [
        ("max_queued", written.max_queued != default.max_queued && !waits),
        ("queue_timeout", written.queue_timeout != default.queue_timeout && !waits),
        ("count_tunnels", written.count_tunnels != default.count_tunnels),
    ];
    for (key, _) in keys.iter().filter(|(_, is_set)| *is_set && written.max_active == 0) {
        let message = format!("`{key}` does nothing: without `max_active` there is no limit");
        findings.push(Finding::warning(at.key(key), message).on_key());
    }
}
