//! Fuzz target: bodies in every framing, whole and in pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringway_fuzz::body(data));
