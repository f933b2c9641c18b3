//! Assertions on the results of probes.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// Checks that a probe got this HTTP status, and returns it as text.
pub(super) fn expect_status(result: &Value, status: u16) -> Result<String> {
    ensure!(result.get("status") == Some(&json!(status)), "expected {status}, got {}", summary(result));
    Ok(status.to_string())
}

/// Checks that a probe got no response.
pub(super) fn expect_no_connection(result: &Value) -> Result<String> {
    ensure!(result.get("error").is_some(), "expected no connection, got {}", summary(result));
    Ok("no connection".to_owned())
}

/// Checks that a probe got no response or a status of 400 or above.
pub(super) fn expect_refused(result: &Value) -> Result<()> {
    let refused = result.get("status").and_then(Value::as_u64).is_some_and(|status| status >= 400);
    ensure!(refused || result.get("error").is_some(), "expected a refusal, got {}", summary(result));
    Ok(())
}

/// True if a log entry has this key with this text.
pub(super) fn has(entry: &Value, key: &str, value: &str) -> bool {
    entry.get(key).and_then(Value::as_str) == Some(value)
}

/// Formats a result: the status and the first line of the body, or the error.
fn summary(result: &Value) -> String {
    let text = |key: &str| match result.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    };
    match result.get("error") {
        Some(_) => format!("no response: {}", text("error")),
        None => format!("{} {}", text("status"), text("body").lines().next().unwrap_or_default()).trim_end().to_owned(),
    }
}
