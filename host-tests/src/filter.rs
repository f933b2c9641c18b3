//! The filters of this repository, built and compiled for [`host`](crate::host).

use std::path::PathBuf;

use anyhow::Result;

use crate::host::Module;

/// The filters that are run by the tests and not shipped, written with the crate `proxy-wasm`.
pub const GUESTS: [&str; 1] = ["auth-by-header"];

/// Compiles a filter, as in `identity-authz`, or a guest, from its code as it is now.
pub fn load(filter: &str) -> Result<Module> {
    build(filter)?;
    Module::load(&path(filter))
}

/// As [`load`], and [metered](Module::load_metered).
pub fn load_metered(filter: &str) -> Result<Module> {
    build(filter)?;
    Module::load_metered(&path(filter))
}

/// The built module of a filter or a guest.
pub fn path(filter: &str) -> PathBuf {
    match GUESTS.contains(&filter) {
        true => testbed::guest_path(filter),
        false => testbed::filter_path(filter),
    }
}

fn build(filter: &str) -> Result<()> {
    match GUESTS.contains(&filter) {
        true => testbed::build_guests(),
        false => testbed::build_filters(),
    }
}
