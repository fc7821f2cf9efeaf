//! What routing writes to, so that a snapshot itself is only ever read.

use crate::rewrite::GroupScratch;
use crate::table::TableScratch;

/// The room in which one worker asks one snapshot. Its size does not depend on the requests.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) tables: TableScratch,
    pub(crate) groups: GroupScratch,
}
