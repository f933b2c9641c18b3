//! `--format sarif`, held against `sarif/schema.json`: what SARIF 2.1.0 says of the objects that are written, and what
//! GitHub's code scanning requires of them beyond that.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

fn tests() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn schema() -> Result<Value> {
    let text = std::fs::read_to_string(tests().join("sarif/schema.json"))?;
    Ok(serde_json::from_str(&text)?)
}

/// Adds what a value has and its schema does not have: unknown keys, other types, words and numbers, and what is required
/// and absent. It reads the part of JSON Schema that the file uses.
fn compare(path: &str, value: &Value, schema: &Value, faults: &mut Vec<String>) {
    let is_type = match schema.get("type").and_then(Value::as_str) {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.as_str().is_some_and(|text| !text.is_empty()),
        Some("integer") => {
            value.as_u64() >= schema.get("minimum").and_then(Value::as_u64).or(Some(0)) && value.is_u64()
        }
        _ => false,
    };
    let words = schema.get("enum").and_then(Value::as_array);
    if !is_type || words.is_some_and(|words| !words.contains(value)) {
        faults.push(format!("{path}: {value}"));
    }
    for key in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        if value.get(key).is_none() {
            faults.push(format!("{path}: no {key}"));
        }
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        match schema.get("properties").and_then(|known| known.get(key)) {
            Some(of_key) => compare(&format!("{path}.{key}"), inner, of_key, faults),
            None => faults.push(format!("{path}.{key}: unknown")),
        }
    }
    let items = value.as_array().into_iter().flatten();
    let count = items.clone().count() as u64;
    if schema.get("minItems").and_then(Value::as_u64).is_some_and(|least| count < least) {
        faults.push(format!("{path}: {count} items"));
    }
    for item in items {
        compare(&format!("{path}[]"), item, schema.get("items").unwrap_or(&Value::Null), faults);
    }
}

fn report(folder: &str, file: &str) -> Result<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_sallyport"))
        .current_dir(tests().join(folder))
        .args(["check", file, "--format", "sarif"])
        .output()?;
    ensure!(output.status.code().is_some_and(|code| code < 2), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn reports_are_of_the_schema() -> Result<()> {
    let schema = schema()?;
    // The last has nothing to report.
    for (folder, file) in [
        ("check", "faults"),
        ("check", "carriers"),
        ("check", "config"),
        ("check", "ignored"),
        ("..", "analysis/tests/lints"),
        ("render/shop", "web.yaml"),
    ] {
        let report = report(folder, file)?;
        let mut faults = Vec::new();
        compare("sarif", &report, &schema, &mut faults);
        ensure!(faults.is_empty(), "{folder}/{file}: {faults:#?}");
        let run = report.pointer("/runs/0").context("a run")?;
        let rules = run.pointer("/tool/driver/rules").and_then(Value::as_array).context("rules")?;
        for result in run.get("results").and_then(Value::as_array).context("results")? {
            let rule = result
                .get("ruleIndex")
                .and_then(Value::as_u64)
                .and_then(|index| rules.get(usize::try_from(index).ok()?));
            ensure!(rule.and_then(|rule| rule.get("id")) == result.get("ruleId"), "{result}");
            let place = result.pointer("/locations/0/physicalLocation").context("a place")?;
            let number = |key: &str| place.pointer(key).and_then(Value::as_u64);
            ensure!(number("/region/endColumn") >= number("/region/startColumn"), "{place}");
            let uri = place.pointer("/artifactLocation/uri").and_then(Value::as_str).context("a uri")?;
            let is_relative = !uri.starts_with('/') && !uri.contains(':');
            let is_uri = uri.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._~%-".contains(&byte));
            ensure!(is_relative && is_uri, "{uri}");
        }
    }
    Ok(())
}

#[test]
fn the_schema_sees_what_is_wrong() -> Result<()> {
    let schema = schema()?;
    let report = report("check", "faults")?;
    for (pointer, wrong) in [
        ("/version", Value::from("2.0.0")),
        ("/runs/0/results/0/level", Value::from("fatal")),
        ("/runs/0/results/0/locations", Value::Array(Vec::new())),
        ("/runs/0/results/0/message", Value::from("text")),
        ("/runs/0/results/0/locations/0/physicalLocation/region/startLine", Value::from(0)),
        ("/runs/0/tool/driver/rules/0/help", serde_json::json!({"text": ""})),
    ] {
        let mut changed = report.clone();
        *changed.pointer_mut(pointer).with_context(|| pointer.to_owned())? = wrong;
        let mut faults = Vec::new();
        compare("sarif", &changed, &schema, &mut faults);
        ensure!(!faults.is_empty(), "{pointer}");
    }
    Ok(())
}
