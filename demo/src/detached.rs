//! The Envoy that `make up` leaves running.

use std::path::PathBuf;

use anyhow::Result;

/// The folder of the demo's certificates, configuration and logs, which git ignores.
pub(crate) fn folder() -> PathBuf {
    testbed::root().join(".demo")
}

/// Stops Envoy if it is running.
pub(crate) fn stop() -> Result<()> {
    testbed::stop_detached(&folder())
}
