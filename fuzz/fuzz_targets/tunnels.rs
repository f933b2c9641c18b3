#![no_main]
//! `fuzz::tunnels` under cargo-fuzz.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::tunnels::check(data));
