//! Fuzz target: what both ends of a forwarded exchange send.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringway_fuzz::connection(data));
