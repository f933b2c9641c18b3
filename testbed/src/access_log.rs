//! An access log that Envoy writes in JSON, an entry a line.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::wait;

/// How long Envoy may take to write an entry.
const LIMIT: Duration = Duration::from_secs(30);

/// What Envoy has written, without what it says beside the log.
pub fn entries(text: &str) -> impl Iterator<Item = Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok())
}

/// Waits for an entry that the condition holds for, and gives the first. Fails if Envoy writes none.
pub fn find(log: &Path, holds: impl Fn(&Value) -> bool) -> Result<Value> {
    wait::until("the access log", LIMIT, || Ok(entries(&fs::read_to_string(log)?).find(&holds)))
}
