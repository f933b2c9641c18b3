//! The filters of this repository, built and compiled for [`host`](crate::host).

use anyhow::Result;

use crate::host::Module;

/// Compiles a filter, as in `identity-authz`, from its code as it is now.
pub fn load(filter: &str) -> Result<Module> {
    testbed::build_filters()?;
    Module::load(&testbed::filter_path(filter))
}

/// As [`load`], and [metered](Module::load_metered).
pub fn load_metered(filter: &str) -> Result<Module> {
    testbed::build_filters()?;
    Module::load_metered(&testbed::filter_path(filter))
}
