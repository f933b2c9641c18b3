#![no_main]
//! `fuzz::egress_allowlist` under cargo-fuzz.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::egress_allowlist::check(data));
