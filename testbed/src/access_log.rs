//! Envoy's JSON access log, one entry per line.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::wait;

/// Time limit for Envoy to write an entry.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Parses the entries of a log; lines that are not JSON are skipped.
pub fn entries(text: &str) -> impl Iterator<Item = Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok())
}

/// Waits for an entry that satisfies `predicate` and returns the first. Fails if Envoy writes none within 30 seconds.
pub fn find(log: &Path, predicate: impl Fn(&Value) -> bool) -> Result<Value> {
    wait::until("an access log entry", WRITE_TIMEOUT, || Ok(entries(&fs::read_to_string(log)?).find(&predicate)))
}
