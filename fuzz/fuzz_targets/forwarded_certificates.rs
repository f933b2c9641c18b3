#![no_main]
//! `fuzz::forwarded_certificates` under cargo-fuzz.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::forwarded_certificates::check(data));
