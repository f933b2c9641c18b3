//! Schemas of CustomResourceDefinitions, where those of Istio and Envoy Gateway are at hand.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::configuration::read_yaml;
use crate::repository::root;

/// Returns what a resource has that its CustomResourceDefinition does not: unknown fields, which a cluster drops without a
/// word, other types, words that are none, lengths out of bounds, and required fields that are absent. `None` where the
/// definition is not at hand, in the folder of the variable `CRD_SCHEMAS` or in `shared/schemas` beside the repository.
pub fn schema_faults(resource: &Value) -> Result<Option<Vec<String>>> {
    let text = |key: &str| resource.get(key).and_then(Value::as_str).with_context(|| format!("no {key}: {resource}"));
    let (kind, (group, version)) = (text("kind")?, text("apiVersion")?.split_once('/').context("a kind of the core")?);
    let folder = std::env::var_os("CRD_SCHEMAS").map_or_else(|| root().join("../shared/schemas"), PathBuf::from);
    let product = if group.ends_with("istio.io") { "istio" } else { "envoy-gateway" };
    let path = folder.join(format!("{product}-{kind}.yaml"));
    if !path.exists() {
        eprintln!("{} is not at hand, nothing is compared", path.display());
        return Ok(None);
    }
    let definition = read_yaml(&fs::read_to_string(&path)?)?;
    let mut faults = Vec::new();
    if definition.pointer("/spec/group").and_then(Value::as_str) != Some(group) {
        faults.push(format!("{kind} is not of {group}"));
    }
    let versions = definition.pointer("/spec/versions").and_then(Value::as_array).context("no versions")?;
    let served = versions.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(version));
    let Some(schema) = served.and_then(|one| one.pointer("/schema/openAPIV3Schema")) else {
        faults.push(format!("{kind} has no version {version}"));
        return Ok(Some(faults));
    };
    for (key, value) in resource.as_object().into_iter().flatten() {
        match schema.pointer(&format!("/properties/{key}")) {
            Some(of_key) if key == "spec" => compare(key, value, of_key, &mut faults),
            // The metadata of every object, which schemas leave out.
            _ if ["apiVersion", "kind", "metadata"].contains(&key.as_str()) => {}
            _ => faults.push(format!("{key}: unknown")),
        }
    }
    Ok(Some(faults))
}

fn compare(path: &str, value: &Value, schema: &Value, faults: &mut Vec<String>) {
    let is_type = match schema.get("type").and_then(Value::as_str) {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some(_) | None => true,
    };
    let words = schema.get("enum").and_then(Value::as_array);
    if !is_type || words.is_some_and(|words| !words.contains(value)) {
        faults.push(format!("{path}: {value}"));
    }
    let length = value.as_array().map(Vec::len).or_else(|| value.as_str().map(|text| text.chars().count()));
    let bound = |keys: [&str; 2]| keys.iter().find_map(|key| schema.get(*key)).and_then(Value::as_u64);
    let length = length.and_then(|length| u64::try_from(length).ok());
    let is_short = length.zip(bound(["minItems", "minLength"])).is_some_and(|(length, least)| length < least);
    let is_long = length.zip(bound(["maxItems", "maxLength"])).is_some_and(|(length, most)| length > most);
    if is_short || is_long {
        faults.push(format!("{path}: {} long", length.unwrap_or_default()));
    }
    for key in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        if value.get(key).is_none() {
            faults.push(format!("{path}: no {key}"));
        }
    }
    let is_open = schema.get("x-kubernetes-preserve-unknown-fields").is_some();
    for (key, inner) in value.as_object().into_iter().flatten() {
        let of_key = schema.get("properties").and_then(|known| known.get(key)).or(schema.get("additionalProperties"));
        match of_key {
            Some(of_key) => compare(&format!("{path}.{key}"), inner, of_key, faults),
            // A schema without properties says nothing of them, as of EnvoyExtensionPolicy's `config`.
            None if is_open || (schema.get("properties").is_none() && schema.get("type").is_none()) => {}
            None => faults.push(format!("{path}.{key}: unknown")),
        }
    }
    for item in value.as_array().into_iter().flatten() {
        compare(&format!("{path}[]"), item, schema.get("items").unwrap_or(&Value::Null), faults);
    }
}
