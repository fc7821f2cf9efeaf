//! Fuzz target: request heads, whole and in pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringway_fuzz::request_head(data));
