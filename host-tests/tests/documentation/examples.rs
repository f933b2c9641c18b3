//! The examples in `envoy-config/`: one set of Prometheus labels, and a line for each TLS handshake that fails.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::read_yaml;

/// The bootstrap files of the examples that have a filter, or labels without one.
fn examples() -> Result<Vec<(PathBuf, Value)>> {
    let mut examples = Vec::new();
    for folder in ["envoy-config", "envoy-config/stack/envoy"] {
        for entry in fs::read_dir(testbed::root().join(folder))? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let text = fs::read_to_string(&path)?;
            let has_labels = text.contains("name: sallyport.") || text.contains("stats_config:");
            if text.contains("static_resources:") && has_labels {
                let value = read_yaml(&text).with_context(|| path.display().to_string())?;
                examples.push((path, value));
            }
        }
    }
    ensure!(examples.len() >= 8, "{} examples", examples.len());
    Ok(examples)
}

#[test]
fn all_examples_export_the_same_labels() -> Result<()> {
    let examples = examples()?;
    let (first, expected) = examples.first().context("no example")?;
    for (path, example) in &examples {
        let differs = || format!("stats_config of {} is not that of {}", path.display(), first.display());
        ensure!(example.get("stats_config").is_some(), "{} has no stats_config", path.display());
        ensure!(example.get("stats_config") == expected.get("stats_config"), differs());
    }
    Ok(())
}

#[test]
fn listeners_that_terminate_tls_log_failed_handshakes() -> Result<()> {
    for (path, example) in examples()? {
        let listeners = example.pointer("/static_resources/listeners").and_then(Value::as_array);
        for listener in listeners.context("no listeners")? {
            let text = listener.to_string();
            let logs_failures = || listener.get("access_log").is_some_and(|log| log.to_string().contains(FAILURE));
            let name = listener.get("name").and_then(Value::as_str).unwrap_or_default();
            ensure!(
                !text.contains("DownstreamTlsContext") || logs_failures(),
                "listener {name} of {} does not log %{FAILURE}%",
                path.display()
            );
        }
    }
    Ok(())
}

/// The operator of Envoy's access log that says why a TLS handshake failed.
const FAILURE: &str = "DOWNSTREAM_TRANSPORT_FAILURE_REASON";
