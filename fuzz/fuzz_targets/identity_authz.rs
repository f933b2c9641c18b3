#![no_main]
//! `fuzz::identity_authz` under cargo-fuzz.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::identity_authz::check(data));
