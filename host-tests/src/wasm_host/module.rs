//! Compiled modules.

use std::path::Path;

use anyhow::Result;
use wasmtime::{Config, Engine, Linker};

use super::imports;
use super::state::State;

/// A compiled module, from which instances are made.
#[derive(Clone)]
pub struct Module {
    pub(super) module: wasmtime::Module,
    pub(super) linker: Linker<State>,
}

impl Module {
    /// Compiles a `.wasm` file.
    pub fn load(path: &Path) -> Result<Self> {
        Self::compile(path, &Config::new())
    }

    /// Compiles a `.wasm` file so that its instructions are counted. The count of a request is the same on every
    /// machine, however busy.
    pub fn load_metered(path: &Path) -> Result<Self> {
        Self::compile(path, Config::new().consume_fuel(true))
    }

    fn compile(path: &Path, config: &Config) -> Result<Self> {
        let engine = Engine::new(config)?;
        let module = wasmtime::Module::from_file(&engine, path)?;
        let mut linker = Linker::new(&engine);
        imports::define(&mut linker)?;
        Ok(Self { module, linker })
    }
}
