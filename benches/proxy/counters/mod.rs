//! What proxies cost, counted from outside.
//!
//! * `cpus.rs`: who runs on which CPU
//! * `threads.rs`: a proxy's threads, and their CPU time from `/proc`
//! * `instructions.rs`: instructions of threads, where the kernel counts them
//! * `meter.rs`: both together, from one moment to another, for each unit of work
//! * `memory.rs`: resident and proportional set size, open descriptors
//! * `machine.rs`: what the figures of a run were taken on

pub(crate) mod cpus;
mod instructions;
mod machine;
pub(crate) mod memory;
mod meter;
mod threads;

pub(crate) use instructions::Counters;
pub(crate) use machine::Machine;
pub(crate) use meter::Meter;
pub(crate) use threads::Threads;
