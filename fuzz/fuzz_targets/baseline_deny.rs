#![no_main]
//! `fuzz::baseline_deny` under cargo-fuzz.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::baseline_deny::check(data));
