//! The filters of this repository, built and compiled for [`wasm_host`](crate::wasm_host).

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::Result;

use crate::wasm_host::Module;

/// The modules that were compiled, by filter and whether they are metered: compiling one takes longer than most tests.
static COMPILED: LazyLock<Mutex<BTreeMap<(String, bool), Module>>> = LazyLock::new(Mutex::default);

/// Builds a filter, as in `identity-authz`, from the current sources and compiles it, once a process.
pub fn load(filter: &str) -> Result<Module> {
    compile_once(filter, false)
}

/// Loads a filter as [`load`] does, with [instruction counting](Module::load_metered).
pub fn load_metered(filter: &str) -> Result<Module> {
    compile_once(filter, true)
}

fn compile_once(filter: &str, metered: bool) -> Result<Module> {
    // Tests that start together wait for the first of them instead of compiling the same module each. A test that
    // panicked meanwhile has inserted a whole module or none.
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (filter.to_owned(), metered);
    if let Some(module) = compiled.get(&key) {
        return Ok(module.clone());
    }
    testbed::build_filters()?;
    let path = testbed::filter_path(filter);
    let module = if metered { Module::load_metered(&path)? } else { Module::load(&path)? };
    compiled.insert(key, module.clone());
    Ok(module)
}
