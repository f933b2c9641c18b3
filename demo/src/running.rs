//! The Envoy that `make up` has left running.

use std::path::PathBuf;

use anyhow::Result;

/// Where a demo keeps its certificates, configuration and logs; git ignores it.
pub(crate) fn folder() -> PathBuf {
    testbed::root().join(".demo")
}

/// Ends it, if it runs.
pub(crate) fn end() -> Result<()> {
    testbed::end(&folder())
}
