//! How long a proxy takes from its start to its first response.

use crate::Outcome;
use crate::bench::Bench;
use crate::load::{Exchanges, Limit, Load, Requests};
use crate::model::{Metric, Sample, Setting};
use crate::peers::{Kind, Wrapper};

/// Counts from the moment at which the program is executed.
pub(super) fn round(bench: &Bench<'_>, kind: Kind, setting: &Setting) -> Outcome<Sample> {
    let proxy = bench.start(kind, setting, Wrapper::None)?;
    Exchanges::connect(proxy.address(), 1, Requests::of_rules(setting.rules))?.run(Limit::units(1))?;
    Ok(vec![(Metric::FirstResponse, proxy.started().elapsed().as_secs_f64() * 1_000.0)])
}
