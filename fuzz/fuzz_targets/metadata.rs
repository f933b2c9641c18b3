#![no_main]
//! `fuzz::metadata` under cargo-fuzz.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::metadata::check(data));
