//! The filters of this repository, and the guests that only tests run, built and compiled for
//! [`wasm_host`](crate::wasm_host).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::Result;

use crate::wasm_host::Module;

/// Filters that only tests run.
const GUESTS: [&str; 3] = ["auth-by-header", "every-host-call", "trap-on-demand"];

/// The modules that were compiled, by filter and whether they are metered: compiling one takes longer than most tests.
static COMPILED: LazyLock<Mutex<BTreeMap<(String, bool), Module>>> = LazyLock::new(Mutex::default);

/// Builds a filter, as in `identity-authz`, or a guest from the current sources and compiles it, once a process.
pub fn load(filter: &str) -> Result<Module> {
    compile_once(filter, false)
}

/// Loads a filter as [`load`] does, with [instruction counting](Module::load_metered).
pub fn load_metered(filter: &str) -> Result<Module> {
    compile_once(filter, true)
}

/// Returns the path of the built module of a filter or a guest.
pub(crate) fn path(filter: &str) -> PathBuf {
    match GUESTS.contains(&filter) {
        true => testbed::guest_path(filter),
        false => testbed::filter_path(filter),
    }
}

fn compile_once(filter: &str, metered: bool) -> Result<Module> {
    // Tests that start together wait for the first of them instead of compiling the same module each. A test that
    // panicked meanwhile has inserted a whole module or none.
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (filter.to_owned(), metered);
    if let Some(module) = compiled.get(&key) {
        return Ok(module.clone());
    }
    match GUESTS.contains(&filter) {
        true => testbed::build_guests()?,
        false => testbed::build_filters()?,
    }
    let path = path(filter);
    let module = if metered { Module::load_metered(&path)? } else { Module::load(&path)? };
    compiled.insert(key, module.clone());
    Ok(module)
}
