//! Resources for Kubernetes, held against the schemas of their CustomResourceDefinitions where those are at hand: in the
//! folder of the variable `CRD_SCHEMAS`, or `shared/schemas` beside the repository.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

fn schemas() -> PathBuf {
    let beside = testbed::root().join("../shared/schemas");
    std::env::var_os("CRD_SCHEMAS").map_or(beside, PathBuf::from)
}

/// Returns the schema of `spec` in a version of a kind.
fn schema(file: &str, version: &str) -> Result<Option<Value>> {
    let path = schemas().join(file);
    if !path.exists() {
        eprintln!("{} is not at hand, nothing is compared", path.display());
        return Ok(None);
    }
    let definition = testbed::read_yaml(&fs::read_to_string(path)?)?;
    let versions = definition.pointer("/spec/versions").and_then(Value::as_array).context("no versions")?;
    let found = versions.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(version));
    Ok(found.and_then(|one| one.pointer("/schema/openAPIV3Schema/properties/spec")).cloned())
}

/// Adds what a value has and its schema does not: unknown fields, other types, words that are none, required fields that
/// are absent.
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
            None if is_open => {}
            None => faults.push(format!("{path}.{key}: unknown")),
        }
    }
    for item in value.as_array().into_iter().flatten() {
        compare(&format!("{path}[]"), item, schema.get("items").unwrap_or(&Value::Null), faults);
    }
}

#[test]
fn resources_for_kubernetes_are_of_their_schemas() -> Result<()> {
    let image = "registry.shop.example/filters";
    let sidecar = ["--workload", "shop/app=orders,version=v2"];
    let gateway = ["--workload", "shop/gateway.networking.k8s.io/gateway-name=edge", "--gateway", "edge"];
    for (place, file, workload) in [
        ("wasmplugin", "istio-WasmPlugin.yaml", sidecar.as_slice()),
        ("wasmplugin", "istio-WasmPlugin.yaml", &gateway),
        ("trafficextension", "istio-TrafficExtension.yaml", &sidecar),
        ("trafficextension", "istio-TrafficExtension.yaml", &gateway),
        ("envoy-gateway", "envoy-gateway-EnvoyExtensionPolicy.yaml", &gateway),
    ] {
        let Some(schema) = schema(file, "v1alpha1")? else { continue };
        let output = Command::new(env!("CARGO_BIN_EXE_sallyport"))
            .current_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/render"))
            .args(["render", "--for", place, "--image", image, "--config", "filters.yaml", "shop"])
            .args(workload)
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        for document in text.split("\n---\n") {
            let mut faults = Vec::new();
            let resource = testbed::read_yaml(document)?;
            compare(place, resource.get("spec").context("no spec")?, &schema, &mut faults);
            ensure!(faults.is_empty(), "{faults:?}\n{document}");
        }
    }
    Ok(())
}
