#![no_main]
//! `fuzz::header_maps` under cargo-fuzz.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::header_maps::check(data));
