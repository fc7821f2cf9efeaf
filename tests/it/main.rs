//! The integration tests: the real binary, started on a file, between raw clients and scripted backends, all on free ports
//! of 127.0.0.1.
//!
//! One file for each section of what is promised on the wire and in the file. Functions listed in `on_both_drivers!` run
//! once on io_uring and once on epoll. `RINGWAY_SOAK=1` runs the tests that have two sizes in their full one.

#![allow(unreachable_pub, reason = "in a test binary nothing is public")]

mod access;
mod access_log;
mod answers;
mod bodies;
mod bypass;
mod cases;
mod check;
mod client_limits;
mod connections;
mod egress;
mod errors;
mod explain;
mod fields;
mod files;
mod guide;
mod harness;
mod hash_password;
mod health;
mod life;
mod names;
mod program;
mod real;
mod routing;
mod rules;
mod selftest;
mod sites;
mod slow;
mod soak;
mod status;
mod timeouts;
mod upgrades;
mod upstreams;
