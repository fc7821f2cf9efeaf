//! Fuzz target: a rule, a target and fields.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringway_fuzz::rule(data));
