#![no_main]
//! `fuzz::paths` under cargo-fuzz.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::paths::check(data));
