//! The words that the rooms share: what a case measures, what it asks of a proxy, and what it should come to.

use std::net::SocketAddr;

/// A figure that a run can give, with its unit.
#[derive(Debug, PartialEq, Eq, Hash, Clone, Copy)]
pub(crate) enum Metric {
    /// User and kernel instructions for one unit of the case's work.
    Instructions,
    /// The part of them in user mode.
    UserInstructions,
    /// The part of them in the kernel.
    KernelInstructions,
    /// CPU time for one unit of work, in microseconds.
    CpuTime,
    /// The part of it in user mode.
    UserTime,
    /// The part of it in the kernel.
    SystemTime,
    /// Units of work per second.
    Rate,
    /// How much of its CPU the proxy used, in percent: below 100 the load, or somebody else, was what it waited for.
    Busy,
    /// Latency percentiles in microseconds, from the moment at which a request was to start.
    P50,
    P99,
    P999,
    /// The slowest, in microseconds.
    Slowest,
    /// Growth of the proportional set size for each connection, in bytes.
    BytesPerConnection,
    /// Growth of the resident set from before a peak of connections until after it, in KiB.
    ResidentLeft,
    /// From the start of the process to its first response, in milliseconds.
    FirstResponse,
}

/// What a case asks of a proxy's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) backend: SocketAddr,
    /// Idle connections that the proxy may keep to the backend.
    pub(crate) keepalive: usize,
    /// How many rules choose the backend; 1 is a rule for everything.
    pub(crate) rules: usize,
    /// Whether it writes a JSON access log to a file.
    pub(crate) access_log: bool,
    /// Whether it answers with the files of a folder, and not with what the backend says.
    pub(crate) files: bool,
}

/// One measurement of one proxy: each figure at most once.
pub(crate) type Sample = Vec<(Metric, f64)>;

/// A bound on a figure of Ringway in a case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    pub(crate) metric: Metric,
    pub(crate) bound: Bound,
}

/// What a goal compares with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    /// At most so much, in the metric's unit.
    AtMost(f64),
    /// At most so many times the figure of this peer, in the same round.
    TimesPeer(f64, &'static str),
    /// At most so many times the figure of the best peer.
    TimesBestPeer(f64),
    /// At most so many times Ringway's own figure in another case.
    TimesCase(f64, &'static str),
}
