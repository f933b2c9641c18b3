#![no_main]
//! `fuzz::tokens` under cargo-fuzz.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::tokens::check(data));
