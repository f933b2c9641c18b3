#![no_main]
//! `fuzz::destinations` under cargo-fuzz.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::destinations::check(data));
