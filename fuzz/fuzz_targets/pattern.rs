//! Fuzz target: a pattern, and a path.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringway_fuzz::pattern(data));
