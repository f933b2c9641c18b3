//! What an answer is held to.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// Holds an answer to a status.
pub(super) fn expect(answer: &Value, status: u16) -> Result<String> {
    ensure!(answer.get("status") == Some(&json!(status)), "expected {status}, got {}", told(answer));
    Ok(status.to_string())
}

/// Holds a try to having got no answer at all.
pub(super) fn no_connection(answer: &Value) -> Result<String> {
    ensure!(answer.get("error").is_some(), "expected no connection, got {}", told(answer));
    Ok("no connection".to_owned())
}

/// Holds a try to having got nothing, or an error.
pub(super) fn not_open(answer: &Value) -> Result<()> {
    let refused = answer.get("status").and_then(Value::as_u64).is_some_and(|status| status >= 400);
    ensure!(refused || answer.get("error").is_some(), "expected to be refused, got {}", told(answer));
    Ok(())
}

/// Whether a key of a log entry is this text.
pub(super) fn is(entry: &Value, key: &str, value: &str) -> bool {
    entry.get(key).and_then(Value::as_str) == Some(value)
}

/// Status and the beginning of the body, or why there is none.
fn told(answer: &Value) -> String {
    let text = |key: &str| match answer.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    };
    match answer.get("error") {
        Some(_) => format!("no answer: {}", text("error")),
        None => format!("{} {}", text("status"), text("body").lines().next().unwrap_or_default()).trim_end().to_owned(),
    }
}
